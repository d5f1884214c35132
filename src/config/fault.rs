//! Where a value was written, and what is wrong with it.
//!
//! Every finding names its place (file, line and column, environment variable or option), the key, and what to
//! write instead. Findings are collected, never thrown at the first: a person sees all of them at once. No
//! finding carries the value of a secret.

use std::fmt;
use std::sync::Arc;

use super::settings::Role;

/// A file as it was named, and as `config show` names it beside a value.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// Path as given on the command line; what faults print.
    pub path: String,
    /// Path relative to the directory of the main file: `server.toml`, `server.d/10-a.toml`.
    pub short: String,
    /// Place in the order of reading; faults are told in this order.
    pub rank: usize,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The built-in default, or one derived from another key.
    Default,
    /// A default of the old flat format, which differs from the built-in one (cli-config 4.6).
    OldDefault,
    Role(Role),
    File(Place),
    /// The name of the variable.
    Environment(Arc<str>),
    /// The text of the option, without its value.
    Option(Arc<str>),
}

/// A position in a file; lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub source: Arc<Source>,
    pub line: usize,
    pub column: usize,
    /// The flat key of an old file that this value was written under.
    pub old_key: Option<Arc<str>>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub origin: Origin,
    pub message: String,
}

/// Everything that is wrong. Displayed as one line for each fault and a line with their number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Faults(pub Vec<Fault>);

impl Origin {
    /// True for what a person wrote: a file, the environment or an option.
    pub fn is_written(&self) -> bool {
        matches!(self, Origin::File(_) | Origin::Environment(_) | Origin::Option(_))
    }

    /// True for a value that was written under a flat key of an old file.
    pub fn is_old(&self) -> bool {
        matches!(self, Origin::File(Place { old_key: Some(_), .. }))
    }

    fn rank(&self) -> (usize, usize, usize) {
        match self {
            Origin::File(place) => (place.source.rank, place.line, place.column),
            Origin::Environment(_) => (usize::MAX - 2, 0, 0),
            Origin::Option(_) => (usize::MAX - 1, 0, 0),
            Origin::Default | Origin::OldDefault | Origin::Role(_) => (usize::MAX, 0, 0),
        }
    }
}

/// How `config show` names the origin beside a value.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::OldDefault => f.write_str("default of the old format"),
            Origin::Role(role) => write!(f, "role {}", role.as_str()),
            Origin::File(place) => write!(f, "{}:{}", place.source.short, place.line),
            Origin::Environment(name) => f.write_str(name),
            Origin::Option(text) => f.write_str(text),
        }
    }
}

impl Fault {
    pub fn new(origin: Origin, message: impl Into<String>) -> Fault {
        Fault { origin, message: message.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::File(place) if place.line == 0 => write!(f, "{}: ", place.source.path)?,
            Origin::File(place) => write!(f, "{}:{}:{}: ", place.source.path, place.line, place.column)?,
            Origin::Environment(name) => write!(f, "{name}: ")?,
            Origin::Option(text) => write!(f, "{text}: ")?,
            Origin::Role(role) => write!(f, "role {}: ", role.as_str())?,
            Origin::Default | Origin::OldDefault => {}
        }
        f.write_str(&self.message)
    }
}

impl Faults {
    pub fn add(&mut self, origin: &Origin, message: impl Into<String>) {
        self.0.push(Fault::new(origin.clone(), message));
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them in one line.
    pub fn summary(&self) -> String {
        self.0.iter().map(Fault::to_string).collect::<Vec<_>>().join("; ")
    }

    /// In the order of reading; a fault told twice for the same place is told once.
    pub fn sorted(mut self) -> Faults {
        self.0.sort_by_key(|fault| fault.origin.rank());
        self.0.dedup();
        self
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.0 {
            writeln!(f, "error: {fault}")?;
        }
        match self.0.len() {
            1 => writeln!(f, "1 error, nothing started"),
            n => writeln!(f, "{n} errors, nothing started"),
        }
    }
}

impl std::error::Error for Faults {}
