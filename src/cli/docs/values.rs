//! What may stand behind an option or in the place of an argument, for completions.
//!
//! The table of verbs knows only names; the words of enumerations come from the table of keys where a key has them.

use argh::{FlagInfo, FlagInfoKind};

use crate::config::{self, Kind, PersistenceMode, Scope};

/// What a value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Values {
    /// Nothing that could be proposed.
    Any,
    Files,
    Words(Vec<&'static str>),
    /// `KEY=VALUE` with a key of the configuration.
    Assignment,
}

/// The values of an option; `None` for a switch.
pub fn of_option(flag: &FlagInfo) -> Option<Values> {
    let FlagInfoKind::Option { arg_name } = flag.kind else { return None };
    let name = flag.long.trim_start_matches('-');
    Some(match (name, arg_name) {
        ("set", _) => Values::Assignment,
        ("scope" | "ingress-scope", _) => Values::Words(Scope::WORDS.words.to_vec()),
        ("persistence-mode", _) => Values::Words(PersistenceMode::WORDS.words.to_vec()),
        ("protocol", _) => Values::Words(vec!["tcp", "udp"]),
        ("entry-type", _) => Values::Words(ENTRY_TYPES.to_vec()),
        (_, "path") => Values::Files,
        _ => Values::Any,
    })
}

/// The values of an argument, by its name.
pub fn of_argument(name: &str) -> Values {
    match name.to_lowercase().as_str() {
        "path" | "old" | "new" | "file" | "dir" => Values::Files,
        _ => Values::Any,
    }
}

/// Every key that `--set` takes, with the values that it may have where they are few.
pub fn assignments() -> Vec<(&'static str, Vec<&'static str>)> {
    config::schema()
        .iter()
        .filter(|key| !key.in_list && !matches!(key.row.kind, Kind::Tables(_)))
        .map(|key| {
            let words = match key.row.kind {
                Kind::Bool => vec!["false", "true"],
                Kind::Word(words) | Kind::WordOrNone(words) | Kind::WordList(words) => words.words.to_vec(),
                _ => Vec::new(),
            };
            (key.path.as_str(), words)
        })
        .collect()
}

/// Kinds of catalog entries that `discovery query` lists.
const ENTRY_TYPES: &[&str] =
    &["functions", "nodes", "queues", "topics", "services", "caches", "cache_profiles"];
