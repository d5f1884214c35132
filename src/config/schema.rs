//! What a key is: its name, type, range, default, reload class, module and meaning, and the macro that declares it.
//!
//! A table of keys is declared once (`settings/`); the typed struct, the checks, the suggestions, the output of
//! `config show` and `config example` and the plan of a reload all come from that declaration, so they cannot
//! drift. Defaults are written as TOML and go through the same checks as a file.

use std::sync::LazyLock;
use std::time::Duration;

use super::check;
use super::settings::Settings;
use super::value::{Element, Layer, Secret, Value};

/// What it takes for a changed key to take effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// At once, for what comes next.
    Live,
    /// At once; links that it concerns are closed and made again.
    Link,
    /// Only at the next start.
    Restart,
}

/// The declaration of one key, as a member of its table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    pub name: &'static str,
    /// TOML text; `none`: the key may be absent and then means what its meaning says; `required`: it must be given.
    pub default: &'static str,
    pub kind: Kind,
    pub reload: Reload,
    /// Which part of the program serves it.
    pub module: &'static str,
    pub meaning: &'static str,
}

/// One key with its full path, as others see it. Members of list elements have the path of the list before them.
#[derive(Debug, Clone)]
pub struct Key {
    /// `dns.max_ttl`, `route.policy.weights.hops`.
    pub path: String,
    /// True for a member of an element of `[[...]]`.
    pub in_list: bool,
    pub row: &'static Row,
}

/// Type and range of a value.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Bool,
    Int {
        min: i64,
        max: i64,
    },
    Float {
        min: f64,
        max: f64,
    },
    Text(Rule),
    Texts(Rule),
    Word(&'static Words),
    /// A word, or empty text for none.
    WordOrNone(&'static Words),
    /// A list of words; one word stands for a list of one.
    WordList(&'static Words),
    /// This many numbers.
    Numbers(usize),
    /// At least this long.
    Duration(Duration),
    /// At least this many bytes.
    Size(u64),
    Time,
    /// Text by names of the user's choice.
    Map,
    /// Lists of text by names of the user's choice.
    MapOfLists,
    Secret,
    Table(&'static [Row]),
    /// `[[name]]`.
    Tables(&'static [Row]),
}

/// What a text must look like. Empty text is allowed everywhere but under `Filled`, and means "not set".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    Any,
    Filled,
    /// `ws`, `wss`, `tcp` or `tcps`, a host and a port.
    Url,
    /// `http` or `https`.
    HttpUrl,
    /// A name or an address to bind or dial.
    Host,
    /// `first-last`.
    PortRange,
    /// An address with prefix length.
    Network,
    /// 64 hexadecimal digits.
    Hex32,
    /// One to three groups of digits, then as in semver.
    Version,
}

/// The words that an enumeration knows.
#[derive(Debug)]
pub struct Words {
    pub words: &'static [&'static str],
    /// What each means, in the same order.
    pub meanings: &'static [&'static str],
    /// Other spellings.
    pub aliases: &'static [(&'static str, &'static str)],
    pub any_case: bool,
}

/// A struct whose fields are keys of one table.
pub trait Table: Sized {
    const ROWS: &'static [Row];

    /// From values whose types are right; what the layer leaves out gets its default.
    fn build(layer: &Layer, prefix: &str) -> Self;
}

/// A field that takes its value from a layer.
pub trait Take: Sized {
    fn take(layer: &Layer, path: &str, row: &Row) -> Self;
}

/// Every key of the configuration, members of list elements included, in the order of `config show`.
pub fn schema() -> &'static [Key] {
    static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
        let mut keys = Vec::new();
        collect(Settings::ROWS, "", false, &mut keys);
        keys
    });
    &KEYS
}

/// The key with this full path.
pub fn key(path: &str) -> Option<&'static Key> {
    schema().iter().find(|key| key.path == path)
}

/// The path of a member of the table `prefix`.
pub fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

impl Row {
    /// The default as a checked value; `None` for `none`, `required` and tables.
    pub fn default_value(&self) -> Option<Value> {
        if matches!(self.default, "none" | "required") { None } else { check::default_value(self) }
    }

    /// False for tables, which only hold keys.
    pub fn is_leaf(&self) -> bool {
        !matches!(self.kind, Kind::Table(_))
    }
}

impl Words {
    /// The word that this text means.
    pub fn find(&self, text: &str) -> Option<&'static str> {
        let same = |a: &str, b: &str| if self.any_case { a.eq_ignore_ascii_case(b) } else { a == b };
        let text = if self.any_case { text.trim() } else { text };
        let alias = self.aliases.iter().find(|(other, _)| same(other, text)).map(|(_, word)| *word);
        alias.or_else(|| self.words.iter().find(|word| same(word, text)).copied())
    }
}

fn collect(rows: &'static [Row], prefix: &str, in_list: bool, keys: &mut Vec<Key>) {
    for row in rows {
        let path = join(prefix, row.name);
        match row.kind {
            Kind::Table(rows) => collect(rows, &path, in_list, keys),
            Kind::Tables(rows) => {
                keys.push(Key { path: path.clone(), in_list, row });
                collect(rows, &path, true, keys);
            }
            _ => keys.push(Key { path, in_list, row }),
        }
    }
}

fn look(layer: &Layer, path: &str, row: &Row) -> Option<Value> {
    layer.get(path).map(|setting| setting.value.clone()).or_else(|| row.default_value())
}

macro_rules! take {
    ($($type:ty, $pattern:pat => $value:expr, $otherwise:expr;)*) => {
        $(impl Take for $type {
            fn take(layer: &Layer, path: &str, row: &Row) -> $type {
                match look(layer, path, row) {
                    Some($pattern) => $value,
                    _ => $otherwise,
                }
            }
        }
        impl Take for Option<$type> {
            fn take(layer: &Layer, path: &str, row: &Row) -> Option<$type> {
                match look(layer, path, row) {
                    Some($pattern) => Some($value),
                    _ => None,
                }
            }
        })*
    };
}

take! {
    bool, Value::Bool(b) => b, false;
    f64, Value::Float(x) | Value::Time(x) => x, 0.0;
    String, Value::Text(text) => text, String::new();
    Duration, Value::Duration(duration) => duration, Duration::ZERO;
    u64, ref value => whole(value), 0;
    u32, ref value => u32::try_from(whole(value)).unwrap_or(u32::MAX), 0;
    u16, ref value => u16::try_from(whole(value)).unwrap_or(u16::MAX), 0;
    usize, ref value => usize::try_from(whole(value)).unwrap_or(usize::MAX), 0;
    Vec<String>, Value::List(items) => items.into_iter().filter_map(text).collect(), Vec::new();
    Vec<f64>, Value::List(items) => items.into_iter().filter_map(float).collect(), Vec::new();
    Secret, Value::Secret(secret) => secret, Secret::default();
    std::collections::BTreeMap<String, String>, Value::Map(map) =>
        map.into_iter().filter_map(|(k, v)| Some((k, text(v)?))).collect(), Default::default();
    std::collections::BTreeMap<String, Vec<String>>, Value::Map(map) =>
        map.into_iter().map(|(k, v)| (k, texts(v))).collect(), Default::default();
}

fn whole(value: &Value) -> u64 {
    match value {
        Value::Int(i) => u64::try_from(*i).unwrap_or(0),
        Value::Size(bytes) => *bytes,
        _ => 0,
    }
}

fn text(value: Value) -> Option<String> {
    if let Value::Text(text) = value { Some(text) } else { None }
}

fn texts(value: Value) -> Vec<String> {
    if let Value::List(items) = value { items.into_iter().filter_map(text).collect() } else { Vec::new() }
}

fn float(value: Value) -> Option<f64> {
    if let Value::Float(x) = value { Some(x) } else { None }
}

/// The elements of `[[path]]`.
pub fn elements<'a>(layer: &'a Layer, path: &str) -> &'a [Element] {
    match layer.get(path) {
        Some(super::value::Setting { value: Value::Elements(elements), .. }) => elements,
        _ => &[],
    }
}

/// The name of a key as written in a file: a raw identifier without its mark.
pub const fn plain(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', ..] => name.split_at(2).1,
        _ => name,
    }
}

/// Declares a table of keys:
/// `field: Type = DEFAULT, kind, Reload ["module"], "meaning";` and makes the struct that holds their values.
macro_rules! table {
    ($(#[doc = $doc:literal])+ $name:ident of $module:literal {
        $($field:ident: $type:ty = $default:tt, $kind:expr, $reload:ident $([$own:literal])?, $meaning:literal;)*
    }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $(#[doc = $meaning] pub $field: $type,)*
        }

        impl $crate::config::schema::Table for $name {
            const ROWS: &'static [$crate::config::schema::Row] = &[$($crate::config::schema::Row {
                name: $crate::config::schema::plain(stringify!($field)),
                default: stringify!($default),
                kind: $kind,
                reload: $crate::config::schema::Reload::$reload,
                module: [$($own,)? $module][0],
                meaning: $meaning,
            },)*];

            fn build(layer: &$crate::config::value::Layer, prefix: &str) -> $name {
                let mut rows = Self::ROWS.iter();
                $name {
                    $($field: {
                        // One row for each field, in the same order: both come from the same repetition.
                        let row = rows.next().unwrap_or(&Self::ROWS[0]);
                        let path = $crate::config::schema::join(prefix, row.name);
                        <$type as $crate::config::schema::Take>::take(layer, &path, row)
                    },)*
                }
            }
        }

        impl Default for $name {
            fn default() -> $name {
                <$name as $crate::config::schema::Table>::build(&Default::default(), "")
            }
        }

        impl $crate::config::schema::Take for $name {
            fn take(
                layer: &$crate::config::value::Layer,
                path: &str,
                _: &$crate::config::schema::Row,
            ) -> $name {
                <$name as $crate::config::schema::Table>::build(layer, path)
            }
        }

        impl $crate::config::schema::Take for Vec<$name> {
            fn take(
                layer: &$crate::config::value::Layer,
                path: &str,
                _: &$crate::config::schema::Row,
            ) -> Vec<$name> {
                $crate::config::schema::elements(layer, path)
                    .iter()
                    .map(|element| <$name as $crate::config::schema::Table>::build(&element.members, ""))
                    .collect()
            }
        }
    };
}

/// Declares an enumeration: `Variant = "word" ["other spelling"]* "meaning"`.
macro_rules! words {
    ($(#[doc = $doc:literal])+ $name:ident $(($any_case:ident))? {
        $($variant:ident = $word:literal $([$($alias:literal)*])?, $meaning:literal;)*
    }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $(#[doc = $meaning] $variant,)*
        }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            pub const WORDS: $crate::config::schema::Words = $crate::config::schema::Words {
                words: &[$($word,)*],
                meanings: &[$($meaning,)*],
                aliases: &[$($($(($alias, $word),)*)?)*],
                any_case: words!(@case $($any_case)?),
            };

            /// The word in a file.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)*
                }
            }

            /// The variant of a word of this enumeration.
            pub fn of_word(word: &str) -> Option<$name> {
                let word = $name::WORDS.find(word)?;
                $name::ALL.iter().find(|variant| variant.as_str() == word).copied()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::config::schema::Take for Option<$name> {
            fn take(
                layer: &$crate::config::value::Layer,
                path: &str,
                row: &$crate::config::schema::Row,
            ) -> Option<$name> {
                $crate::config::schema::word(layer, path, row).and_then($name::of_word)
            }
        }

        impl $crate::config::schema::Take for $name {
            fn take(
                layer: &$crate::config::value::Layer,
                path: &str,
                row: &$crate::config::schema::Row,
            ) -> $name {
                // Without a value (a required key that was left out, which is a fault) the first word stands in.
                $crate::config::schema::word(layer, path, row).and_then($name::of_word).unwrap_or($name::ALL[0])
            }
        }

        impl $crate::config::schema::Take for Option<Vec<$name>> {
            fn take(
                layer: &$crate::config::value::Layer,
                path: &str,
                row: &$crate::config::schema::Row,
            ) -> Option<Vec<$name>> {
                let words = $crate::config::schema::word_list(layer, path, row)?;
                Some(words.into_iter().filter_map($name::of_word).collect())
            }
        }

        impl $crate::config::schema::Take for Vec<$name> {
            fn take(
                layer: &$crate::config::value::Layer,
                path: &str,
                row: &$crate::config::schema::Row,
            ) -> Vec<$name> {
                <Option<Vec<$name>> as $crate::config::schema::Take>::take(layer, path, row).unwrap_or_default()
            }
        }
    };
    (@case any_case) => { true };
    (@case) => { false };
}

pub(crate) use {table, words};

/// The word set at `path`, if any.
pub fn word(layer: &Layer, path: &str, row: &Row) -> Option<&'static str> {
    if let Some(Value::Word(word)) = look(layer, path, row) { Some(word) } else { None }
}

/// The words set at `path`, if any list is.
pub fn word_list(layer: &Layer, path: &str, row: &Row) -> Option<Vec<&'static str>> {
    let Some(Value::List(items)) = look(layer, path, row) else { return None };
    Some(items.into_iter().filter_map(|v| if let Value::Word(w) = v { Some(w) } else { None }).collect())
}

// The kinds that most rows use.
pub const BOOL: Kind = Kind::Bool;
pub const TEXT: Kind = Kind::Text(Rule::Any);
pub const NAME: Kind = Kind::Text(Rule::Filled);
pub const TEXTS: Kind = Kind::Texts(Rule::Filled);
pub const HOST: Kind = Kind::Text(Rule::Host);
pub const PORT: Kind = Kind::Int { min: 0, max: 65_535 };
/// Zero is allowed and means "off" or "at once".
pub const SPAN: Kind = Kind::Duration(Duration::ZERO);
/// A period or time-out that cannot be zero.
pub const PERIOD: Kind = Kind::Duration(Duration::from_millis(1));
/// Any number; zero means "none" or "unlimited" as the meaning says.
pub const COUNT: Kind = Kind::Int { min: 0, max: i64::MAX };
/// At least one.
pub const SOME: Kind = Kind::Int { min: 1, max: i64::MAX };
/// Any number of bytes; zero means "unlimited" as the meaning says.
pub const SIZE: Kind = Kind::Size(0);
pub const BYTES: Kind = Kind::Size(1);
pub const ANY_NUMBER: Kind = Kind::Float { min: f64::MIN, max: f64::MAX };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_value_of_its_key() {
        for key in schema() {
            let has_default = !matches!(key.row.default, "none" | "required");
            assert!(!has_default || key.row.default_value().is_some(), "{}: {}", key.path, key.row.default);
            assert!(key.row.meaning.ends_with('.'), "{}: a meaning is a sentence", key.path);
            assert!(
                has_default || key.in_list || matches!(key.row.kind, Kind::Tables(_) | Kind::Secret),
                "{}",
                key.path
            );
        }
    }

    #[test]
    fn names_are_told_once() {
        let mut paths: Vec<&str> = schema().iter().map(|k| k.path.as_str()).collect();
        paths.sort_unstable();
        let before = paths.len();
        paths.dedup();
        assert_eq!(before, paths.len());
        assert!(key("peers.static").is_some() && key("route.policy.weights.hops").is_some());
    }
}
