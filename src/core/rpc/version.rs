//! Versions of functions and the constraints that commands put on them (client.md 2.7, 2.8).
//!
//! The grammar is that of the reference, plus `^`, `~` and pre-releases. A range matches a pre-release only as semver
//! does: when one of its bounds names a pre-release of the same three numbers. Build parts stay an error.
//! Comparison is left to the `semver` crate; here is only what the reference writes differently.

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
