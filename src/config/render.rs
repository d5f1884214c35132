//! The configuration written back as TOML: what is in force, an old file in the new form, and the full example.
//!
//! What is written reads as the same settings. Each value stands on one line, with its origin or old name in a
//! comment. Secrets are written only by `convert`, whose output is a file to be used.

use std::fmt::Write;

use super::fault::{Origin, Place};
use super::schema::{Kind, Row, Table, join};
use super::settings::Settings;
use super::units;
use super::value::{Element, Layer, Setting, Value};

/// How `config show` writes.
#[derive(Debug, Clone, Copy)]
pub struct Show {
    /// Every key; otherwise only those that are not at their built-in default.
    pub all: bool,
    /// Leave out where secrets are kept, too.
    pub redact: bool,
}

/// Every key with the origin of its value.
pub fn show(values: &Layer, show: Show) -> String {
    let mut out = String::new();
    Writer { style: Style::Show(show), out: &mut out }.table(Settings::ROWS, values, "", "");
    out
}

/// The keys that are set, with the old name of each; secrets included.
pub fn convert(values: &Layer) -> String {
    let mut out = String::new();
    Writer { style: Style::Convert, out: &mut out }.table(Settings::ROWS, values, "", "");
    out
}

/// A file with every key at its default, commented out, and its meaning above it.
pub fn example() -> String {
    let mut out = String::from(
        "# Settings of mpreg: every key with its meaning and its default.\n\
         # Take the # away in front of a key to change it. Durations are seconds or text such as \"250ms\", \"30s\",\n\
         # \"5m\", \"2h\"; sizes are bytes or text such as \"64KiB\", \"16MiB\"; times are date-times or Unix seconds.\n",
    );
    example_table(Settings::ROWS, "", "", &mut out);
    out
}

/// A text as TOML, on one line.
pub fn quoted(text: &str) -> String {
    // JSON escapes what TOML asks for, but for one control character.
    serde_json::to_string(text).unwrap_or_default().replace('\u{7f}', "\\u007f")
}

#[derive(Clone, Copy)]
enum Style {
    Show(Show),
    Convert,
}

struct Writer<'a> {
    style: Style,
    out: &'a mut String,
}

impl Writer<'_> {
    /// Keys first, then tables, then lists of tables: the order that TOML asks for.
    /// `prefix` is the path in the layer, `path` the path in the file.
    fn table(&mut self, rows: &'static [Row], values: &Layer, prefix: &str, path: &str) {
        for row in rows {
            match (row.kind, values.get(&join(prefix, row.name))) {
                (Kind::Table(_), _) => {}
                (Kind::Tables(_), Some(Setting { value: Value::Elements(elements), .. }))
                    if !elements.is_empty() => {}
                (_, setting) => self.key(row, setting),
            }
        }
        for row in rows {
            let Kind::Table(inner) = row.kind else { continue };
            let (prefix, path) = (join(prefix, row.name), join(path, row.name));
            let before = self.out.len();
            let _ = writeln!(self.out, "\n[{path}]");
            let head = self.out.len();
            self.table(inner, values, &prefix, &path);
            let has_keys =
                self.out.get(head..).is_some_and(|body| !body.is_empty() && !body.starts_with("\n["));
            if !has_keys {
                self.out.replace_range(before..head, "");
            }
        }
        for row in rows {
            let Kind::Tables(inner) = row.kind else { continue };
            let path = join(path, row.name);
            if let Some(Setting { value: Value::Elements(elements), .. }) =
                values.get(&join(prefix, row.name))
            {
                for Element { origin, members } in elements {
                    let _ = writeln!(self.out, "\n[[{path}]]{}", self.comment(origin));
                    self.table(inner, members, "", &path);
                }
            }
        }
    }

    fn key(&mut self, row: &Row, setting: Option<&Setting>) {
        let (value, origin) = match setting {
            Some(Setting { value, origin }) => (Some(value.clone()), origin.clone()),
            None => (row.default_value(), Origin::Default),
        };
        let is_written = setting.is_some();
        match self.style {
            Style::Convert if !is_written => return,
            Style::Show(Show { all: false, .. }) if origin == Origin::Default => return,
            _ => {}
        }
        let hidden = match (&value, self.style) {
            (Some(Value::Secret(_)), Style::Show(_)) => true,
            (Some(Value::Text(text)), Style::Show(Show { redact: true, .. })) => {
                !text.is_empty() && is_place_of_secret(row.name)
            }
            _ => false,
        };
        let name = row.name;
        let comment = self.comment(&origin);
        let _ = match value {
            Some(_) if hidden => writeln!(self.out, "# {name}: not shown{comment}"),
            Some(value) => writeln!(self.out, "{name} = {}{comment}", toml(&value)),
            None => writeln!(self.out, "# {name}: not set{comment}"),
        };
    }

    fn comment(&self, origin: &Origin) -> String {
        match (self.style, origin) {
            (Style::Convert, Origin::File(Place { old_key: Some(old), .. })) => format!("  # was {old}"),
            (Style::Convert, Origin::OldDefault) => "  # default of the old format".into(),
            (Style::Convert, _) => String::new(),
            (Style::Show(_), origin) => format!("  # {origin}"),
        }
    }
}

/// True for keys that say where a secret is kept.
fn is_place_of_secret(name: &str) -> bool {
    ["token_file", "token_env", "token_sha256", "signing_key_file", "signing_key_env"]
        .iter()
        .any(|place| name.ends_with(place))
}

/// A value in its canonical form.
pub fn toml(value: &Value) -> String {
    match value {
        Value::Bool(b) => b.to_string(),
        Value::Int(i) => i.to_string(),
        Value::Float(x) => format!("{x:?}"),
        Value::Text(text) => quoted(text),
        Value::Word(word) => quoted(word),
        Value::Duration(duration) => quoted(&units::duration_text(*duration)),
        Value::Size(bytes) => units::size_text(*bytes),
        Value::Time(x) if x.fract() == 0.0 && x.abs() < 1e15 => format!("{x:.0}"),
        Value::Time(x) => format!("{x:?}"),
        Value::Secret(secret) => quoted(secret.reveal()),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(toml).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Map(map) => {
            let entries: Vec<String> =
                map.iter().map(|(key, v)| format!("{} = {}", quoted(key), toml(v))).collect();
            if entries.is_empty() { "{}".into() } else { format!("{{ {} }}", entries.join(", ")) }
        }
        // Only empty lists of tables are written as a value.
        Value::Elements(_) => "[]".into(),
    }
}

fn example_table(rows: &'static [Row], path: &str, mark: &str, out: &mut String) {
    for row in rows.iter().filter(|row| !matches!(row.kind, Kind::Table(_) | Kind::Tables(_))) {
        let value = match row.default_value() {
            Some(value) => toml(&value),
            None => sample(row),
        };
        comment(row.meaning, out);
        let _ = writeln!(out, "#{} = {value}", row.name);
    }
    for row in rows {
        let path = join(path, row.name);
        match row.kind {
            Kind::Table(inner) => {
                out.push('\n');
                comment(row.meaning, out);
                let _ = writeln!(out, "{mark}[{path}]");
                example_table(inner, &path, mark, out);
            }
            Kind::Tables(inner) => {
                out.push('\n');
                comment(row.meaning, out);
                let _ = writeln!(out, "#[[{path}]]");
                example_table(inner, &path, "#", out);
            }
            _ => {}
        }
    }
}

/// Something of the right form for a key that has no default.
fn sample(row: &Row) -> String {
    let text = match row.kind {
        Kind::Word(words) | Kind::WordOrNone(words) => return quoted(words.words.first().unwrap_or(&"")),
        // Ends lie behind beginnings.
        Kind::Time if row.name.starts_with("end") => "2031-01-01T00:00:00Z",
        Kind::Time => "2030-01-01T00:00:00Z",
        Kind::Bool => "false",
        Kind::Int { .. } | Kind::Float { .. } | Kind::Size(_) => "5",
        Kind::Duration(_) => "\"1h\"",
        Kind::Texts(_) => "[\"...\"]",
        Kind::WordList(_) | Kind::Numbers(_) => "[]",
        Kind::Map | Kind::MapOfLists => "{}",
        // Two texts of one element may have to differ.
        Kind::Text(_) => return quoted(row.name),
        Kind::Secret | Kind::Table(_) | Kind::Tables(_) => "\"...\"",
    };
    text.to_owned()
}

/// A sentence as comment lines of a bearable width.
fn comment(text: &str, out: &mut String) {
    let mut line = String::from("#");
    for word in text.split(' ') {
        if line.len() + word.len() > COMMENT_WIDTH {
            let _ = writeln!(out, "{line}");
            line = String::from("#");
        }
        let _ = write!(line, " {word}");
    }
    let _ = writeln!(out, "{line}");
}

const COMMENT_WIDTH: usize = 100;
