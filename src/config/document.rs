//! The text of a file as a tree in which every value knows its place. TOML and JSON become the same tree.
//!
//! Nothing is judged here but syntax: which keys exist and what they may hold is the business of `check`.
//! Syntax faults never quote the text around them, because it may be a secret.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use toml::de::{DeTable, DeValue};

use super::fault::{Faults, Origin, Place, Source};
use super::units;

/// A value as written.
#[derive(Debug, Clone)]
pub struct Node {
    pub raw: Raw,
    pub origin: Origin,
}

/// What a file can hold.
#[derive(Debug, Clone)]
pub enum Raw {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    /// An instant, in seconds since 1970.
    Time(f64),
    /// Something no key can hold; the text says what it is.
    Other(&'static str),
    List(Vec<Node>),
    Table(Vec<Entry>),
}

/// A key of a table and its value.
#[derive(Debug, Clone)]
pub struct Entry {
    pub key: String,
    /// The place of the key.
    pub origin: Origin,
    pub node: Node,
}

/// Reads TOML; every syntax fault is added.
pub fn toml(text: &str, source: &Arc<Source>, faults: &mut Faults) -> Vec<Entry> {
    let places = Places::new(text, source);
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        let name = text.get(span.clone()).filter(|name| error.message() == "duplicate key" && is_bare(name));
        let message = match name {
            Some(name) => format!("duplicate key `{name}`"),
            None => error.message().to_owned(),
        };
        faults.add(&places.at(span), message);
    }
    places.table(table.get_ref())
}

/// Reads one TOML value, as given in the environment or on the command line.
pub fn toml_value(text: &str, origin: &Origin) -> Result<Node, String> {
    let value = DeValue::parse(text).map_err(|error| error.message().to_owned())?;
    let source = Arc::new(Source { path: String::new(), short: String::new(), rank: 0 });
    let mut node = Places::new(text, &source).node(value.get_ref(), value.span());
    node.put_origin(origin);
    Ok(node)
}

/// Reads JSON; the first syntax fault is added.
pub fn json(text: &str, source: &Arc<Source>, faults: &mut Faults) -> Vec<Entry> {
    let places = Places::new(text, source);
    let raw = match serde_json::from_str::<&RawValue>(text) {
        Ok(raw) => raw,
        Err(error) => {
            let place = places.at_line(error.line(), error.column());
            // The text of the error ends in the same position once more.
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or_default();
            faults.add(&place, format!("not JSON: {message}"));
            return Vec::new();
        }
    };
    let node = places.json_node(text, raw.get(), 0, faults);
    match node.raw {
        Raw::Table(entries) => entries,
        _ => {
            faults.add(&node.origin, "the settings must be an object, { ... }");
            Vec::new()
        }
    }
}

impl Node {
    /// What a person calls this kind of value.
    pub fn kind(&self) -> &'static str {
        match self.raw {
            Raw::Bool(_) => "a boolean",
            Raw::Int(_) => "a whole number",
            Raw::Float(_) => "a number",
            Raw::Text(_) => "text",
            Raw::Time(_) => "a date-time",
            Raw::Other(what) => what,
            Raw::List(_) => "a list",
            Raw::Table(_) => "a table",
        }
    }

    /// Puts one origin on a value and everything in it.
    pub fn put_origin(&mut self, origin: &Origin) {
        self.origin = origin.clone();
        match &mut self.raw {
            Raw::List(items) => items.iter_mut().for_each(|item| item.put_origin(origin)),
            Raw::Table(entries) => entries.iter_mut().for_each(|entry| {
                entry.origin = origin.clone();
                entry.node.put_origin(origin);
            }),
            _ => {}
        }
    }
}

/// The value as a fault quotes it; long text is cut.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.raw {
            Raw::Bool(b) => write!(f, "{b}"),
            Raw::Int(i) => write!(f, "{i}"),
            Raw::Float(x) | Raw::Time(x) => write!(f, "{x}"),
            Raw::Text(text) if text.chars().count() > QUOTED_CHARS_MAX => {
                let start: String = text.chars().take(QUOTED_CHARS_MAX).collect();
                write!(f, "{:?}...", start)
            }
            Raw::Text(text) => write!(f, "{text:?}"),
            Raw::Other(_) | Raw::List(_) | Raw::Table(_) => f.write_str(self.kind()),
        }
    }
}

/// Turns byte offsets of one text into places.
struct Places<'a> {
    source: &'a Arc<Source>,
    text: &'a str,
    /// Offset of the start of each line.
    lines: Vec<usize>,
}

impl<'a> Places<'a> {
    fn new(text: &'a str, source: &'a Arc<Source>) -> Places<'a> {
        let lines =
            std::iter::once(0).chain(memchr::memchr_iter(b'\n', text.as_bytes()).map(|i| i + 1)).collect();
        Places { source, text, lines }
    }

    fn at(&self, span: Range<usize>) -> Origin {
        let line = self.lines.partition_point(|start| *start <= span.start);
        let start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let column = self.text.get(start..span.start).map_or(0, |before| before.chars().count()) + 1;
        Origin::File(Place { source: self.source.clone(), line, column, old_key: None })
    }

    fn at_line(&self, line: usize, column: usize) -> Origin {
        Origin::File(Place {
            source: self.source.clone(),
            line: line.max(1),
            column: column.max(1),
            old_key: None,
        })
    }

    fn table(&self, table: &DeTable<'_>) -> Vec<Entry> {
        let mut entries: Vec<(usize, Entry)> = table
            .iter()
            .map(|(key, value)| {
                let origin = self.at(key.span());
                let node = self.node(value.get_ref(), value.span());
                (key.span().start, Entry { key: key.get_ref().to_string(), origin, node })
            })
            .collect();
        entries.sort_by_key(|(start, _)| *start);
        entries.into_iter().map(|(_, entry)| entry).collect()
    }

    fn node(&self, value: &DeValue<'_>, span: Range<usize>) -> Node {
        let raw = match value {
            DeValue::String(text) => Raw::Text(text.to_string()),
            DeValue::Boolean(b) => Raw::Bool(*b),
            DeValue::Integer(i) => i64::from_str_radix(i.as_str(), i.radix())
                .map_or(Raw::Other("a number beyond 64 bits"), Raw::Int),
            DeValue::Float(x) => x.as_str().parse().map_or(Raw::Other("no number"), Raw::Float),
            DeValue::Datetime(time) => units::date_time(time)
                .map_or(Raw::Other("a date-time without an offset such as Z"), Raw::Time),
            DeValue::Array(items) => {
                Raw::List(items.iter().map(|item| self.node(item.get_ref(), item.span())).collect())
            }
            DeValue::Table(table) => Raw::Table(self.table(table)),
        };
        Node { raw, origin: self.at(span) }
    }

    /// `part` is a slice of `text`; its address gives its place.
    fn json_node(&self, text: &str, part: &str, depth: usize, faults: &mut Faults) -> Node {
        let offset = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
        let origin = self.at(offset..offset);
        if depth > JSON_DEPTH_MAX {
            faults.add(&origin, "nested too deeply");
            return Node { raw: Raw::Other("nested too deeply"), origin };
        }
        let raw = match part.as_bytes().first() {
            Some(b'{') => {
                let members =
                    serde_json::Deserializer::from_str(part).deserialize_map(Members).unwrap_or_default();
                let mut seen = BTreeSet::new();
                let mut entries = Vec::with_capacity(members.len());
                for (key, value) in members {
                    let node = self.json_node(text, value.get(), depth + 1, faults);
                    if !seen.insert(key.clone()) {
                        faults.add(&node.origin, format!("duplicate key `{key}`"));
                    }
                    entries.push(Entry { key, origin: node.origin.clone(), node });
                }
                Raw::Table(entries)
            }
            Some(b'[') => {
                let items =
                    serde_json::Deserializer::from_str(part).deserialize_seq(Items).unwrap_or_default();
                Raw::List(
                    items.iter().map(|item| self.json_node(text, item.get(), depth + 1, faults)).collect(),
                )
            }
            Some(b'"') => serde_json::from_str(part).map_or(Raw::Other("no text"), Raw::Text),
            Some(b't') => Raw::Bool(true),
            Some(b'f') => Raw::Bool(false),
            Some(b'n') => Raw::Other("null"),
            _ => match part.parse::<i64>() {
                Ok(i) => Raw::Int(i),
                Err(_) => part.parse().map_or(Raw::Other("no number"), Raw::Float),
            },
        };
        Node { raw, origin }
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}

struct Items;

impl<'de> Visitor<'de> for Items {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(items)
    }
}

/// True for what TOML allows as a key without quotes, dots included.
fn is_bare(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

/// No setting is nested deeper than six levels.
const JSON_DEPTH_MAX: usize = 32;

/// Enough to recognise a value, little enough for one line.
const QUOTED_CHARS_MAX: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str) -> Arc<Source> {
        Arc::new(Source { path: name.into(), short: name.into(), rank: 0 })
    }

    fn place(origin: &Origin) -> (usize, usize) {
        let Origin::File(place) = origin else { panic!("{origin:?}") };
        (place.line, place.column)
    }

    #[test]
    fn toml_and_json_give_the_same_tree_with_places() {
        let mut faults = Faults::default();
        let from_toml = toml("# c\n[dns]\nport = 5\n  zones = [\"a\"]\n", &source("a"), &mut faults);
        let from_json =
            json("{\n \"dns\": {\n  \"port\": 5,\n\"zones\": [\"a\"]}}", &source("a"), &mut faults);
        assert!(faults.is_empty());
        for (tree, places) in [(from_toml, [(3, 1), (4, 3)]), (from_json, [(3, 11), (4, 10)])] {
            let Raw::Table(dns) = &tree[0].node.raw else { panic!() };
            let seen: Vec<_> = dns.iter().map(|e| (e.key.as_str(), place(&e.origin))).collect();
            assert_eq!(seen, [("port", places[0]), ("zones", places[1])]);
        }
    }

    #[test]
    fn syntax_faults_have_a_place_and_quote_nothing() {
        for (text, json_text, line) in [
            ("[node]\nname = \"a\"\nname = \"b\"\n", false, 3),
            ("[node]\nname = \n", false, 2),
            ("{\"dns\": {\"port\": 1,}}", true, 1),
            ("{\"port\": 1,\n\"port\": 2}", true, 2),
            ("[1, 2]", true, 1),
            ("[tenants]\ntoken = hunter2\n", false, 2),
        ] {
            let mut faults = Faults::default();
            if json_text {
                json(text, &source("s"), &mut faults);
            } else {
                toml(text, &source("s"), &mut faults);
            }
            let told = faults.to_string();
            assert!(told.contains(&format!("s:{line}:")), "{told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_without_harm() {
        let mut faults = Faults::default();
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(5000), "]".repeat(5000));
        json(&deep, &source("s"), &mut faults);
        assert_eq!(faults.0.len(), 1);
    }
}
