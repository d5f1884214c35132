//! From the tree of a file to checked values: which keys exist, and whether their values have the type and range
//! that the schema declares. Each fault says what was found and what is expected; secrets are never quoted.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::document::{self, Entry, Node, Raw};
use super::fault::{Faults, Origin};
use super::schema::{Kind, Row, Rule, Words, join};
use super::suggest;
use super::units;
use super::value::{Element, Layer, Secret, Setting, Value};

/// Reads the entries of a table of the schema into `layer`, under the path `prefix`.
/// `list` is the full path of the list whose element this is, for messages; empty at the top.
pub fn table(
    rows: &'static [Row],
    entries: &[Entry],
    prefix: &str,
    list: &str,
    layer: &mut Layer,
    faults: &mut Faults,
) {
    for entry in entries {
        let path = join(prefix, &entry.key);
        let shown = if list.is_empty() { path.clone() } else { join(list, &path) };
        let Some(row) = rows.iter().find(|row| row.name == entry.key) else {
            let full = if list.is_empty() { prefix.to_owned() } else { join(list, prefix) };
            let is_table = matches!(entry.node.raw, Raw::Table(_));
            let hint =
                suggest::unknown_key(rows, full.trim_end_matches('.'), &entry.key, &entry.node, is_table);
            faults.add(&entry.origin, hint);
            continue;
        };
        if let Kind::Table(rows) = row.kind {
            match &entry.node.raw {
                Raw::Table(entries) => table(rows, entries, &path, list, layer, faults),
                _ => faults.add(
                    &entry.origin,
                    format!("`{shown}` is {}; expected a table, [{shown}]", entry.node.kind()),
                ),
            }
        } else if let Some(value) = value(row, &entry.node, &shown, faults) {
            // A list of tables has its first head as its place, everything else its key.
            layer.insert(path, Setting { value, origin: entry.origin.clone() });
        }
    }
}

/// Checks one value; adds a fault and answers `None` if it is not right.
pub fn value(row: &'static Row, node: &Node, path: &str, faults: &mut Faults) -> Option<Value> {
    if let Kind::Tables(rows) = row.kind {
        return elements(rows, node, path, faults);
    }
    match plain_value(&row.kind, node) {
        Ok(value) => Some(value),
        Err(expected) => {
            let found = match row.kind {
                Kind::Secret => node.kind().to_owned(),
                _ => node.to_string(),
            };
            faults.add(&node.origin, format!("`{path}` is {found}; expected {expected}"));
            None
        }
    }
}

/// Reads a value that was given as bare text, in the environment or on the command line.
pub fn text_value(
    row: &'static Row,
    text: &str,
    path: &str,
    origin: &Origin,
    faults: &mut Faults,
) -> Option<Value> {
    let as_text = || Node { raw: Raw::Text(text.to_owned()), origin: origin.clone() };
    let as_toml = || document::toml_value(text, origin);
    let node = match row.kind {
        Kind::Text(_)
        | Kind::Word(_)
        | Kind::WordOrNone(_)
        | Kind::Secret
        | Kind::Duration(_)
        | Kind::Size(_) => as_text(),
        // A list may be written as one, or its only item without brackets.
        Kind::Texts(_) | Kind::WordList(_) if !text.trim_start().starts_with('[') => {
            Node { raw: Raw::List(vec![as_text()]), origin: origin.clone() }
        }
        Kind::Tables(_) | Kind::Map | Kind::MapOfLists => match as_toml() {
            Ok(node) => node,
            Err(error) => {
                faults.add(origin, format!("`{path}` must be written as in TOML: {error}"));
                return None;
            }
        },
        _ => as_toml().unwrap_or_else(|_| as_text()),
    };
    value(row, &node, path, faults)
}

/// The default of a row, which is written as TOML in the schema.
pub fn default_value(row: &Row) -> Option<Value> {
    if let Kind::Tables(_) = row.kind {
        return Some(Value::Elements(Vec::new()));
    }
    let node = document::toml_value(row.default, &Origin::Default).ok()?;
    plain_value(&row.kind, &node).ok()
}

/// The parts of `scheme://host:port`, if it is one of the schemes.
pub fn url<'a>(text: &'a str, schemes: &[&str]) -> Option<(&'a str, &'a str, Option<u16>)> {
    let (scheme, rest) = text.split_once("://")?;
    if !schemes.contains(&scheme) || rest.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return None;
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    if authority.contains('@') {
        return None;
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port.parse().ok()?)),
        _ => (authority, None),
    };
    let bare = host.strip_prefix('[').map_or(Some(host), |h| h.strip_suffix(']'))?;
    let is_host = if host.starts_with('[') {
        bare.parse::<std::net::Ipv6Addr>().is_ok()
    } else {
        is_host(bare) && !bare.contains(':')
    };
    is_host.then_some((scheme, bare, port))
}

/// True for an address or a host name.
pub fn is_host(text: &str) -> bool {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    if bare.parse::<IpAddr>().is_ok() {
        return true;
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    !name.is_empty()
        && name.len() <= 253
        && name.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && label.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        })
}

/// The first and last port of `first-last`.
pub fn port_range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-')?;
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first > 0 && first <= last).then_some((first, last))
}

/// A version of a function: one to three groups of digits, an optional `v` before them, then as in semver.
pub fn is_version(text: &str) -> bool {
    let text = text.strip_prefix('v').unwrap_or(text);
    let numbers_end = text.find(['-', '+']).unwrap_or(text.len());
    let (numbers, rest) = text.split_at(numbers_end);
    let mut groups: Vec<&str> = numbers.split('.').collect();
    if groups.len() > 3 || groups.iter().any(|group| group.is_empty()) {
        return false;
    }
    for group in &mut groups {
        // Leading zeros are allowed here, which semver forbids.
        let digits = group.trim_start_matches('0');
        *group = if digits.is_empty() { "0" } else { digits };
    }
    groups.resize(3, "0");
    semver::Version::parse(&format!("{}{rest}", groups.join("."))).is_ok()
}

fn elements(rows: &'static [Row], node: &Node, path: &str, faults: &mut Faults) -> Option<Value> {
    let Raw::List(items) = &node.raw else {
        faults
            .add(&node.origin, format!("`{path}` is {}; expected a list of tables, [[{path}]]", node.kind()));
        return None;
    };
    let mut elements = Vec::with_capacity(items.len());
    for item in items {
        let Raw::Table(entries) = &item.raw else {
            faults.add(&item.origin, format!("`{path}` holds {}; expected a table", item.kind()));
            continue;
        };
        let mut members = Layer::new();
        let before = faults.0.len();
        table(rows, entries, "", path, &mut members, faults);
        for row in rows.iter().filter(|row| row.default == "required") {
            // A member that is there but wrong, or misspelled, has been told.
            let is_there = entries.iter().any(|entry| entry.key == row.name);
            if !is_there && faults.0.len() == before {
                faults.add(&item.origin, format!("`{path}` needs `{}`: {}", row.name, row.meaning));
            }
        }
        elements.push(Element { origin: item.origin.clone(), members });
    }
    Some(Value::Elements(elements))
}

/// The checked value, or what is expected instead.
fn plain_value(kind: &Kind, node: &Node) -> Result<Value, String> {
    match (kind, &node.raw) {
        (Kind::Bool, Raw::Bool(b)) => Ok(Value::Bool(*b)),
        (Kind::Bool, _) => Err("true or false".into()),
        (Kind::Int { min, max }, Raw::Int(i)) if (min..=max).contains(&i) => Ok(Value::Int(*i)),
        (Kind::Int { min, max }, _) => Err(format!("a whole number {}", range(*min, *max))),
        (Kind::Float { min, max }, Raw::Int(_) | Raw::Float(_)) => {
            let x = number(node).filter(|x| x.is_finite() && min <= x && x <= max);
            x.map(Value::Float).ok_or_else(|| float_range(*min, *max))
        }
        (Kind::Float { min, max }, _) => Err(float_range(*min, *max)),
        (Kind::Text(rule), Raw::Text(text)) if rule.admits(text) => Ok(Value::Text(text.clone())),
        (Kind::Text(rule), _) => Err(rule.expected().into()),
        (Kind::Texts(rule), Raw::List(items)) => items
            .iter()
            .map(|item| match &item.raw {
                Raw::Text(text) if rule.admits_item(text) => Ok(Value::Text(text.clone())),
                _ => Err(format!("in it {} instead of {item}", rule.expected())),
            })
            .collect::<Result<_, _>>()
            .map(Value::List),
        (Kind::Texts(_), _) => Err("a list of texts, [\"...\"]".into()),
        (Kind::Word(words), Raw::Text(text)) => word(words, text),
        (Kind::Word(words), _) => Err(one_of(words)),
        (Kind::WordOrNone(_), Raw::Text(text)) if text.is_empty() => Ok(Value::Text(String::new())),
        (Kind::WordOrNone(words), Raw::Text(text)) => word(words, text),
        (Kind::WordOrNone(words), _) => Err(one_of(words)),
        (Kind::WordList(words), Raw::Text(text)) => word(words, text).map(|word| Value::List(vec![word])),
        (Kind::WordList(words), Raw::List(items)) => items
            .iter()
            .map(|item| match &item.raw {
                Raw::Text(text) => {
                    word(words, text).map_err(|expected| format!("{expected} instead of {item}"))
                }
                _ => Err(format!("{} instead of {item}", one_of(words))),
            })
            .collect::<Result<_, _>>()
            .map(Value::List),
        (Kind::WordList(words), _) => Err(format!("a list; each {}", one_of(words))),
        (Kind::Numbers(count), Raw::List(items)) => {
            let numbers: Option<Vec<Value>> = items.iter().map(|i| number(i).map(Value::Float)).collect();
            let numbers = numbers.filter(|numbers| numbers.len() == *count);
            numbers.map(Value::List).ok_or_else(|| format!("a list of {count} numbers"))
        }
        (Kind::Numbers(count), _) => Err(format!("a list of {count} numbers")),
        (Kind::Duration(min), Raw::Int(_) | Raw::Float(_) | Raw::Text(_)) => {
            let duration = match &node.raw {
                Raw::Text(text) => units::duration(text),
                _ => number(node).and_then(units::from_seconds),
            };
            duration.filter(|d| d >= min).map(Value::Duration).ok_or_else(|| duration_range(*min))
        }
        (Kind::Duration(min), _) => Err(duration_range(*min)),
        (Kind::Size(min), Raw::Int(_) | Raw::Text(_)) => {
            let bytes = match &node.raw {
                Raw::Text(text) => units::size(text),
                Raw::Int(i) => u64::try_from(*i).ok(),
                _ => None,
            };
            bytes.filter(|b| b >= min).map(Value::Size).ok_or_else(|| size_range(*min))
        }
        (Kind::Size(min), _) => Err(size_range(*min)),
        (Kind::Time, Raw::Time(x) | Raw::Float(x)) => Ok(Value::Time(*x)),
        (Kind::Time, Raw::Int(i)) => Ok(Value::Time(*i as f64)),
        (Kind::Time, _) => Err("a date-time such as 2030-01-01T00:00:00Z, or seconds since 1970".into()),
        (Kind::Map, Raw::Table(entries)) => map(entries, |node| plain_value(&Kind::Text(Rule::Any), node)),
        (Kind::Map, _) => Err("a table of texts, { NAME = \"...\" }".into()),
        (Kind::MapOfLists, Raw::Table(entries)) => {
            map(entries, |node| plain_value(&Kind::Texts(Rule::Any), node))
        }
        (Kind::MapOfLists, _) => Err("a table of lists, { name = [\"...\"] }".into()),
        (Kind::Secret, Raw::Text(text)) => Ok(Value::Secret(Secret::new(text.clone()))),
        (Kind::Secret, _) => Err("text".into()),
        (Kind::Table(_) | Kind::Tables(_), _) => Err("a table".into()),
    }
}

fn map(entries: &[Entry], read: impl Fn(&Node) -> Result<Value, String>) -> Result<Value, String> {
    let mut map = BTreeMap::new();
    for entry in entries {
        let value = read(&entry.node).map_err(|expected| format!("{expected} for `{}`", entry.key))?;
        map.insert(entry.key.clone(), value);
    }
    Ok(Value::Map(map))
}

fn number(node: &Node) -> Option<f64> {
    match node.raw {
        Raw::Int(i) => Some(i as f64),
        Raw::Float(x) => Some(x),
        _ => None,
    }
}

fn word(words: &Words, text: &str) -> Result<Value, String> {
    words.find(text).map(Value::Word).ok_or_else(|| match suggest::nearest_word(words, text) {
        Some(word) => format!("{}; did you mean \"{word}\"?", one_of(words)),
        None => one_of(words),
    })
}

fn one_of(words: &Words) -> String {
    format!("one of {}", words.words.join(", "))
}

fn range(min: i64, max: i64) -> String {
    match (min, max) {
        (min, i64::MAX) => format!("of at least {min}"),
        (min, max) => format!("from {min} to {max}"),
    }
}

fn float_range(min: f64, max: f64) -> String {
    if min == f64::MIN { "a number".into() } else { format!("a number from {min} to {max}") }
}

fn duration_range(min: std::time::Duration) -> String {
    let least =
        if min.is_zero() { String::new() } else { format!(" of at least {}", units::duration_text(min)) };
    format!("a duration{least}: seconds, or text such as \"250ms\", \"30s\", \"5m\", \"2h\"")
}

fn size_range(min: u64) -> String {
    let least = if min <= 1 { String::new() } else { format!(" of at least {min}") };
    format!("a size{least}: bytes, or text such as \"64KiB\", \"16MiB\"")
}

impl Rule {
    /// Whether a setting may hold this text.
    pub fn admits(self, text: &str) -> bool {
        (text.is_empty() && self != Rule::Filled) || self.admits_item(text)
    }

    /// Whether an item of a list may be this text.
    fn admits_item(self, text: &str) -> bool {
        match self {
            Rule::Any => true,
            Rule::Filled => !text.trim().is_empty(),
            Rule::Url => url(text, &["ws", "wss", "tcp", "tcps"]).is_some_and(|(_, _, port)| port.is_some()),
            Rule::HttpUrl => url(text, &["http", "https"]).is_some(),
            Rule::Host => is_host(text),
            Rule::PortRange => port_range(text).is_some(),
            Rule::Network => text.parse::<ipnet::IpNet>().is_ok() || text.parse::<IpAddr>().is_ok(),
            Rule::Hex32 => text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()),
            Rule::Version => is_version(text),
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Rule::Any => "text",
            Rule::Filled => "text that is not empty",
            Rule::Url => "a URL such as ws://host:port, wss://host:port, tcp://host:port or tcps://host:port",
            Rule::HttpUrl => "a URL that starts with http:// or https://",
            Rule::Host => "an address or a host name",
            Rule::PortRange => "a range of ports such as 10000-16000",
            Rule::Network => "a network such as 10.0.0.0/8 or fd00::/8",
            Rule::Hex32 => "64 hexadecimal digits",
            Rule::Version => "a version such as 1, 1.2 or 1.2.3-beta.1",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_hosts_are_told_from_other_text() {
        for (text, good) in [
            ("ws://127.0.0.1:7000", true),
            ("wss://hub-eu.example.net:7443/path", true),
            ("ws://[::1]:7000", true),
            ("ws://::1:7000", false),
            ("ws://host", false),
            ("ws://host:70000", false),
            ("ws://:7000", false),
            ("http://host:1", false),
            ("not a url", false),
            ("ws://user@host:1", false),
        ] {
            assert_eq!(Rule::Url.admits(text), good, "{text}");
        }
        for (text, good) in [
            ("0.0.0.0", true),
            ("::", true),
            ("[::1]", true),
            ("a.example.net", true),
            ("nowhere at all", false),
            ("a..b", false),
        ] {
            assert_eq!(is_host(text), good, "{text}");
        }
    }

    #[test]
    fn versions_are_read_as_by_callers() {
        for (text, good) in [
            ("1", true),
            ("1.2", true),
            ("v1.2.3", true),
            ("1.2.3-beta.1+build", true),
            ("01.2.3", true),
            ("1.2.3.4", false),
            ("one", false),
            ("", false),
            ("V1", false),
            ("1.", false),
            ("1-", false),
        ] {
            assert_eq!(is_version(text), good, "{text}");
        }
    }
}
