//! What a function is called: name, id and version, and the namespace that a name lies in (fabric.md 6.9, client.md
//! 2.7, 3.6). A version is read leniently (`v1`, `01.2`) and written as three numbers.

use serde::{Deserialize, Deserializer, Serialize};

use super::Text;

/// Name, id and version of a function; name and id are one-to-one in all that a node knows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Identity {
    pub name: Text,
    pub function_id: Text,
    pub version: FunctionVersion,
}

/// A version on the wire: `a.b.c`, from one to three groups with an optional `v`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FunctionVersion(pub semver::Version);

impl FunctionVersion {
    /// `None` where the text is no version (fabric.md 6.9).
    pub fn parse(text: &str) -> Option<FunctionVersion> {
        let text = text.trim();
        let text = text.strip_prefix('v').unwrap_or(text);
        let (core, pre) = match text.split_once('-') {
            Some((core, pre)) => (core, semver::Prerelease::new(pre).ok().filter(|p| !p.is_empty())?),
            None => (text, semver::Prerelease::EMPTY),
        };
        let mut groups = [0u64; 3];
        for (place, part) in core.split('.').enumerate() {
            if part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            *groups.get_mut(place)? = part.parse().ok()?;
        }
        let mut version = semver::Version::new(groups[0], groups[1], groups[2]);
        version.pre = pre;
        Some(FunctionVersion(version))
    }
}

impl std::fmt::Display for FunctionVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for FunctionVersion {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for FunctionVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<FunctionVersion, D::Error> {
        let text = String::deserialize(deserializer)?;
        FunctionVersion::parse(&text)
            .ok_or_else(|| serde::de::Error::custom(format_args!("Invalid semantic version: {text}")))
    }
}

/// Namespace of a name: the part before the last dot; empty without a dot (client.md 3.6).
pub fn namespace_of(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(namespace, _)| namespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_normalised() {
        for (text, normal) in
            [("1", "1.0.0"), ("v1.2", "1.2.0"), ("01.002.3", "1.2.3"), ("1.0.0-beta.1", "1.0.0-beta.1")]
        {
            assert_eq!(
                FunctionVersion::parse(text).map(|v| v.to_string()).as_deref(),
                Some(normal),
                "{text}"
            );
        }
        for text in ["", "V1", "1.", ".1", "1..2", "1.2.3.4", "1.x", "-1", "1.0.0-", "1.0.0+b"] {
            assert_eq!(FunctionVersion::parse(text), None, "{text}");
        }
    }
}
