//! Versions of functions and the constraints that commands put on them (client.md 2.7, 2.8).
//!
//! The grammar is that of the reference, plus `^`, `~` and pre-releases. A range matches a pre-release only as semver
//! does: when one of its bounds names a pre-release of the same three numbers. Build parts stay an error.
//! Comparison is left to the `semver` crate; here is only what the reference writes differently.

use std::cmp::Ordering;
use std::fmt;

use semver::{BuildMetadata, Comparator, Op, Prerelease, Version, VersionReq};

use crate::core::error::CallError;
use crate::core::reason::Reason;
use crate::core::rpc::text::clipped;

/// Which versions a command accepts. The default accepts every version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Constraint {
    comparators: VersionReq,
}

/// Why a version or constraint could not be read; the texts are those of the reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadConstraint {
    /// Neither a version nor an operator with a version.
    Version(String),
    ExactAfterRange,
    LowerAfterExact,
    UpperAfterExact,
    LowerDowngraded,
    UpperUpgraded,
}

/// Reads a version: an optional `v`, one to three numbers, and with three numbers an optional pre-release.
pub fn parse_version(text: &str) -> Result<Version, BadConstraint> {
    let parts = Parts::read(text.trim())
        .ok_or_else(|| BadConstraint::Version(clipped(text.trim(), TEXT_CHARS_MAX)))?;
    Ok(parts.version())
}

impl Constraint {
    /// Reads a constraint. A blank text, brackets or the word `version` alone accept everything.
    pub fn parse(text: &str) -> Result<Constraint, BadConstraint> {
        let cleaned = text.trim().trim_matches(['(', ')']).replace("version", "");
        let mut terms = Terms::default();
        for term in cleaned.split(',').map(str::trim).filter(|term| !term.is_empty()) {
            terms.add(term)?;
        }
        Ok(terms.constraint())
    }

    pub fn accepts(&self, version: &Version) -> bool {
        self.is_any() || self.comparators.matches(version)
    }

    /// Whether every version is accepted.
    pub fn is_any(&self) -> bool {
        self.comparators.comparators.is_empty()
    }
}

/// By what is written, for keys of maps; the order means nothing else.
impl Ord for Constraint {
    fn cmp(&self, other: &Constraint) -> Ordering {
        self.to_string().cmp(&other.to_string())
    }
}

impl PartialOrd for Constraint {
    fn partial_cmp(&self, other: &Constraint) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl BadConstraint {
    /// The error of a command with such a constraint.
    pub fn error(&self) -> CallError {
        CallError::failed(format!("ValueError: {self}")).because(Reason::BadVersionConstraint)
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.comparators.fmt(f)
    }
}

impl fmt::Display for BadConstraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadConstraint::Version(text) => write!(f, "Invalid semantic version: {text}"),
            BadConstraint::ExactAfterRange => f.write_str("Exact version cannot be combined with range"),
            BadConstraint::LowerAfterExact => {
                f.write_str("Min version cannot be combined with exact version")
            }
            BadConstraint::UpperAfterExact => {
                f.write_str("Max version cannot be combined with exact version")
            }
            BadConstraint::LowerDowngraded => f.write_str("Min version would be downgraded"),
            BadConstraint::UpperUpgraded => f.write_str("Max version would be upgraded"),
        }
    }
}

impl std::error::Error for BadConstraint {}

/// The terms read so far. Of several bounds on one side only the last counts, so they cannot simply be collected.
#[derive(Default)]
struct Terms {
    exact: Option<Version>,
    lower: Option<(Op, Version)>,
    upper: Option<(Op, Version)>,
    /// `^` and `~`, which may stand beside any bound.
    compatible: Vec<Comparator>,
}

impl Terms {
    fn add(&mut self, term: &str) -> Result<(), BadConstraint> {
        let (op, value) = OPERATORS
            .iter()
            .find_map(|(sign, op)| term.strip_prefix(sign).map(|rest| (*op, rest.trim())))
            .unwrap_or((Op::Exact, term));
        let parts =
            Parts::read(value).ok_or_else(|| BadConstraint::Version(clipped(value, TEXT_CHARS_MAX)))?;
        match op {
            Op::Exact => {
                if self.exact.is_some() || self.is_range() {
                    return Err(BadConstraint::ExactAfterRange);
                }
                self.exact = Some(parts.version());
            }
            Op::Less | Op::LessEq => {
                if self.exact.is_some() {
                    return Err(BadConstraint::UpperAfterExact);
                }
                let version = parts.version();
                if self.upper.as_ref().is_some_and(|(_, before)| version > *before) {
                    return Err(BadConstraint::UpperUpgraded);
                }
                self.upper = Some((op, version));
            }
            _ if self.exact.is_some() => return Err(BadConstraint::LowerAfterExact),
            Op::Greater | Op::GreaterEq => {
                let version = parts.version();
                if self.lower.as_ref().is_some_and(|(_, before)| version < *before) {
                    return Err(BadConstraint::LowerDowngraded);
                }
                self.lower = Some((op, version));
            }
            _ => self.compatible.push(parts.comparator(op)),
        }
        Ok(())
    }

    fn is_range(&self) -> bool {
        self.lower.is_some() || self.upper.is_some() || !self.compatible.is_empty()
    }

    fn constraint(self) -> Constraint {
        let exact = self.exact.map(|version| (Op::Exact, version));
        let bounds = [exact, self.lower, self.upper].into_iter().flatten();
        let whole = bounds.map(|(op, v)| Comparator {
            op,
            major: v.major,
            minor: Some(v.minor),
            patch: Some(v.patch),
            pre: v.pre,
        });
        Constraint { comparators: VersionReq { comparators: whole.chain(self.compatible).collect() } }
    }
}

/// A version as it was written: how many numbers there were matters to `^` and `~`.
struct Parts {
    major: u64,
    minor: Option<u64>,
    patch: Option<u64>,
    pre: Prerelease,
}

impl Parts {
    fn read(text: &str) -> Option<Parts> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let (numbers, pre) = match text.split_once('-') {
            // The semver crate takes an empty pre-release for none.
            Some((_, "")) => return None,
            Some((numbers, pre)) => (numbers, Prerelease::new(pre).ok()?),
            None => (text, Prerelease::EMPTY),
        };
        let mut groups = numbers.split('.');
        let major = number(groups.next()?)?;
        let minor = groups.next().map(number).map_or(Some(None), |n| n.map(Some))?;
        let patch = groups.next().map(number).map_or(Some(None), |n| n.map(Some))?;
        let complete = groups.next().is_none() && (pre.is_empty() || patch.is_some());
        complete.then_some(Parts { major, minor, patch, pre })
    }

    fn version(self) -> Version {
        Version {
            major: self.major,
            minor: self.minor.unwrap_or(0),
            patch: self.patch.unwrap_or(0),
            pre: self.pre,
            build: BuildMetadata::EMPTY,
        }
    }

    fn comparator(self, op: Op) -> Comparator {
        Comparator { op, major: self.major, minor: self.minor, patch: self.patch, pre: self.pre }
    }
}

/// Digits only: no sign, no blank, as many leading zeros as anybody likes.
fn number(group: &str) -> Option<u64> {
    if group.is_empty() || !group.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let significant = group.trim_start_matches('0');
    if significant.is_empty() { Some(0) } else { significant.parse().ok() }
}

/// Longer signs before the ones they begin with.
const OPERATORS: &[(&str, Op)] = &[
    (">=", Op::GreaterEq),
    ("<=", Op::LessEq),
    ("==", Op::Exact),
    ("=", Op::Exact),
    ("<", Op::Less),
    (">", Op::Greater),
    ("^", Op::Caret),
    ("~", Op::Tilde),
];
/// No version that a person wrote is longer.
const TEXT_CHARS_MAX: usize = 80;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    const CLIENT_TABLE: &str =
        include_str!("../../../tests/interop/client/rpc_version_constraint_table.json");
    const FABRIC_TABLE: &str = include_str!("../../../tests/interop/fabric/vectors_versions.json");
    /// Errors in the reference that are legal here.
    const NOW_LEGAL: &[&str] = &["^1.0.0", "~1.2", "1.0.0-beta"];

    fn v(text: &str) -> Version {
        parse_version(text).unwrap()
    }

    fn accepted<'v>(constraint: &str, versions: &[&'v str]) -> Vec<&'v str> {
        let constraint = Constraint::parse(constraint).unwrap();
        versions.iter().copied().filter(|version| constraint.accepts(&v(version))).collect()
    }

    #[test]
    fn table_of_the_client_samples() {
        let table: Value = serde_json::from_str(CLIENT_TABLE).unwrap();
        for row in table["rows"].as_array().unwrap() {
            let text = row["constraint"].as_str().unwrap();
            if NOW_LEGAL.contains(&text) {
                assert!(Constraint::parse(text).is_ok(), "{text}");
            } else if let Some(error) = row["error"].as_str() {
                let details = Constraint::parse(text).unwrap_err().error().details;
                assert_eq!(details, Some(error.into()), "{text}");
            } else {
                let matches: Vec<_> =
                    row["matches"].as_array().unwrap().iter().map(|m| m.as_str().unwrap()).collect();
                assert_eq!(accepted(text, &["1.0.0", "1.2.0", "1.2.5", "2.0.0"]), matches, "{text}");
            }
        }
    }

    #[test]
    fn table_of_the_fabric_samples() {
        let table: Value = serde_json::from_str(FABRIC_TABLE).unwrap();
        for row in table["versions"].as_array().unwrap() {
            let text = row["input"].as_str().unwrap();
            let expected =
                row["normalized"].as_str().map(str::to_owned).ok_or(row["error"].as_str().unwrap_or(""));
            let seen = parse_version(text).map(|v| v.to_string()).map_err(|e| e.to_string());
            if !NOW_LEGAL.contains(&text) {
                assert_eq!(seen, expected.map_err(str::to_owned), "{text}");
            }
        }
        for row in table["constraints"].as_array().unwrap() {
            let text = row["constraint"].as_str().unwrap();
            match Constraint::parse(text) {
                Err(bad) => assert_eq!(bad.to_string(), row["error"].as_str().unwrap(), "{text}"),
                Ok(constraint) => {
                    for (version, expected) in row["matches"].as_object().unwrap() {
                        assert_eq!(
                            constraint.accepts(&v(version)),
                            expected.as_bool().unwrap(),
                            "{text} {version}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn bad_texts_are_errors() {
        let bad = [
            "*",
            "!=1.0.0",
            "1.x",
            "latest",
            "1.0.0+build",
            "1.0.0-a+build",
            "1.0.0.0",
            ">=1.0.0 <2.0.0",
            "1.0.0,2.0.0",
            ">=1.0.0,1.2.0",
            "1.2.0,>=1.0.0",
            "1.2.0,<2",
            "1.2.0,^1",
            "^1,1.2.0",
            ">=1.0.0,>=0.5.0",
            "<2,<3",
            "=>1.0",
            "> = 1.0",
            "V1.0.0",
            ">=",
            "1..2",
            ".1",
            "1.",
            "-1",
            "1 0",
            "^",
            "~",
            "~>1.0",
            "^^1",
            "1.0.0-",
            "1.2-beta",
            "1.0.0-01",
            "1.0.0-a..b",
            "99999999999999999999",
        ];
        for text in bad {
            let error = Constraint::parse(text).unwrap_err().error();
            assert_eq!((error.code, error.reason), (1003, Some(Reason::BadVersionConstraint)), "{text}");
        }
        assert!(Constraint::parse(&"9".repeat(100_000)).unwrap_err().to_string().len() < 200);
    }

    #[test]
    fn compatible_ranges() {
        let all = ["0.1.0", "0.2.0", "0.2.9", "1.0.0", "1.2.0", "1.4.2", "1.4.9", "1.5.0", "2.0.0"];
        let rows: &[(&str, &[&str])] = &[
            ("^1.2", &["1.2.0", "1.4.2", "1.4.9", "1.5.0"]),
            ("^1", &["1.0.0", "1.2.0", "1.4.2", "1.4.9", "1.5.0"]),
            ("^v1.4.2", &["1.4.2", "1.4.9", "1.5.0"]),
            ("^0.2", &["0.2.0", "0.2.9"]),
            ("^0", &["0.1.0", "0.2.0", "0.2.9"]),
            ("~1.4.2", &["1.4.2", "1.4.9"]),
            ("~ 1.4", &["1.4.2", "1.4.9"]),
            ("~1", &["1.0.0", "1.2.0", "1.4.2", "1.4.9", "1.5.0"]),
            ("^1.2,<1.4.9", &["1.2.0", "1.4.2"]),
            ("(^1.2, ~1.4)", &["1.4.2", "1.4.9"]),
            ("^2,<1", &[]),
        ];
        for (constraint, expected) in rows {
            assert_eq!(accepted(constraint, &all), *expected, "{constraint}");
        }
    }

    #[test]
    fn prereleases_match_only_where_one_was_named() {
        let all =
            ["1.0.0-alpha", "1.0.0-beta.1", "1.0.0-beta.2", "1.0.0", "1.1.0-rc.1", "1.1.0", "2.0.0-beta"];
        let rows: &[(&str, &[&str])] = &[
            ("", &all),
            ("1.0.0-beta.1", &["1.0.0-beta.1"]),
            ("=v1.0.0-beta.1", &["1.0.0-beta.1"]),
            ("1.0.0", &["1.0.0"]),
            (">=1.0.0", &["1.0.0", "1.1.0"]),
            ("<2", &["1.0.0", "1.1.0"]),
            (">=1.0.0-beta.1", &["1.0.0-beta.1", "1.0.0-beta.2", "1.0.0", "1.1.0"]),
            (">=1.0.0-beta.1,<1.0.0", &["1.0.0-beta.1", "1.0.0-beta.2"]),
            ("^1.0.0-beta.2", &["1.0.0-beta.2", "1.0.0", "1.1.0"]),
            ("~1.1.0-rc.0", &["1.1.0-rc.1", "1.1.0"]),
        ];
        for (constraint, expected) in rows {
            assert_eq!(accepted(constraint, &all), *expected, "{constraint}");
        }
    }

    proptest! {
        #[test]
        fn bounds_do_what_numbers_do(
            terms in prop::collection::vec((0usize..5, 0u64..4, prop::option::of(0u64..4)), 0..4),
            version in (0u64..4, 0u64..4),
        ) {
            let op = |index: usize| ["", ">=", ">", "<=", "<"][index];
            let text: Vec<String> = terms.iter().map(|(sign, major, minor)| match minor {
                Some(minor) => format!("{} {major}.0{minor}", op(*sign)),
                None => format!("{}v{major}", op(*sign)),
            }).collect();
            let (mut exact, mut lower, mut upper, mut legal) = (None, None, None, true);
            for (sign, major, minor) in terms {
                let at = (major, minor.unwrap_or(0));
                match op(sign) {
                    "" => {
                        legal &= exact.is_none() && lower.is_none() && upper.is_none();
                        exact = Some(at);
                    }
                    sign @ (">=" | ">") => {
                        legal &= exact.is_none() && lower.is_none_or(|(_, before)| at >= before);
                        lower = Some((sign == ">=", at));
                    }
                    sign => {
                        legal &= exact.is_none() && upper.is_none_or(|(_, before)| at <= before);
                        upper = Some((sign == "<=", at));
                    }
                }
            }
            let constraint = Constraint::parse(&text.join(","));
            prop_assert_eq!(constraint.is_ok(), legal);
            if let Ok(constraint) = constraint {
                let naive = exact.is_none_or(|at| version == at)
                    && lower.is_none_or(|(or_equal, at)| version > at || or_equal && version == at)
                    && upper.is_none_or(|(or_equal, at)| version < at || or_equal && version == at);
                prop_assert_eq!(constraint.accepts(&Version::new(version.0, version.1, 0)), naive);
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[0-9v.<>=~^,() +a-]{0,20}") {
            if let Ok(constraint) = Constraint::parse(&text) {
                let _ = constraint.accepts(&Version::new(1, 2, 3));
            }
        }
    }
}
