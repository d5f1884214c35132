//! Version constraints of queries (client.md 2.8): terms joined by commas, each an operator and a version.

use crate::core::catalog::FunctionVersion;

/// What versions are wanted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct VersionConstraint {
    exact: Option<FunctionVersion>,
    /// The bound, and whether it belongs to the range.
    lower: Option<(FunctionVersion, bool)>,
    upper: Option<(FunctionVersion, bool)>,
}

impl VersionConstraint {
    /// The error is the text after `ValueError: `.
    pub fn parse(text: &str) -> Result<VersionConstraint, String> {
        let text = text.trim().trim_matches(['(', ')']).replace("version", "");
        let mut constraint = VersionConstraint::default();
        for term in text.split(',').map(str::trim).filter(|t| !t.is_empty()) {
            constraint.add(term)?;
        }
        Ok(constraint)
    }

    pub fn matches(&self, version: &FunctionVersion) -> bool {
        let exact = self.exact.as_ref().is_none_or(|exact| exact == version);
        let lower =
            self.lower.as_ref().is_none_or(|(bound, in_it)| version > bound || *in_it && version == bound);
        let upper =
            self.upper.as_ref().is_none_or(|(bound, in_it)| version < bound || *in_it && version == bound);
        exact && lower && upper
    }

    fn add(&mut self, term: &str) -> Result<(), String> {
        let (operator, text) = OPERATORS
            .iter()
            .find_map(|op| term.strip_prefix(op).map(|rest| (*op, rest.trim())))
            .unwrap_or(("==", term));
        let version = FunctionVersion::parse(text)
            .filter(|v| v.0.pre.is_empty())
            .ok_or_else(|| format!("Invalid semantic version: {}", super::payload::shortened(text)))?;
        let inclusive = operator.ends_with('=');
        match operator {
            ">=" | ">" if self.exact.is_some() => {
                Err("Min version cannot be combined with exact version".into())
            }
            "<=" | "<" if self.exact.is_some() => {
                Err("Max version cannot be combined with exact version".into())
            }
            ">=" | ">" => {
                if self.lower.as_ref().is_some_and(|(bound, _)| version < *bound) {
                    return Err("Min version would be downgraded".into());
                }
                self.lower = Some((version, inclusive));
                Ok(())
            }
            "<=" | "<" => {
                if self.upper.as_ref().is_some_and(|(bound, _)| version > *bound) {
                    return Err("Max version would be upgraded".into());
                }
                self.upper = Some((version, inclusive));
                Ok(())
            }
            _ if *self != VersionConstraint::default() => {
                Err("Exact version cannot be combined with range".into())
            }
            _ => {
                self.exact = Some(version);
                Ok(())
            }
        }
    }
}

/// Longer ones first, so that `>=` is not read as `>`.
const OPERATORS: [&str; 6] = [">=", "<=", "==", "=", "<", ">"];

#[cfg(test)]
mod tests {
    use super::super::testing::sample;
    use super::*;

    #[test]
    fn the_table_of_constraints_holds() {
        let table = sample("rpc_version_constraint_table");
        let versions = ["1.0.0", "1.2.0", "1.2.5", "2.0.0"];
        for row in table["rows"].as_array().unwrap() {
            let read = VersionConstraint::parse(row["constraint"].as_str().unwrap());
            match row["error"].as_str() {
                Some(error) => assert_eq!(format!("ValueError: {}", read.unwrap_err()), error, "{row}"),
                None => {
                    let read = read.unwrap();
                    let matching: Vec<_> = versions
                        .iter()
                        .filter(|v| read.matches(&FunctionVersion::parse(v).unwrap()))
                        .collect();
                    assert_eq!(serde_json::json!(matching), row["matches"], "{row}");
                }
            }
        }
    }
}
