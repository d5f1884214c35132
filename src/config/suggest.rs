//! What a person may have meant by a key or word that does not exist (cli-config 4.7).
//!
//! Keys of the same table come first, then keys of the same name elsewhere, then names of the old flat format with
//! their replacement. At most three are named, and none that is merely somewhere near.

use super::document::Node;
use super::legacy;
use super::schema::{Kind, Row, Words, join, schema};

/// The message for an unknown key `name` of the table `table` (empty at the top).
pub fn unknown_key(rows: &'static [Row], table: &str, name: &str, node: &Node, is_table: bool) -> String {
    let path = join(table, name);
    let what = if is_table { "table" } else { "key" };
    let same_table: Vec<(usize, String)> =
        rows.iter().filter_map(|row| near(name, row.name).map(|d| (d, join(table, row.name)))).collect();
    let elsewhere = tables_with(name);
    // A slip of one letter beats an exact name in another table, and that beats the old format.
    if same_table.iter().all(|(distance, _)| *distance > 1) {
        if !elsewhere.is_empty() {
            return format!("unknown {what} `{path}`; `{name}` belongs to {}", elsewhere.join(", "));
        }
        if let Some(flat) = legacy::flat(name) {
            return format!("`{path}`: `{name}` is a key of the old flat format; {}", flat.write(node));
        }
    }
    if !same_table.is_empty() {
        return format!("unknown {what} `{path}`; did you mean {}?", best(same_table));
    }
    let mut others: Vec<(usize, String)> = schema()
        .iter()
        .filter_map(|key| near(name, key.row.name).map(|distance| (distance, key.path.clone())))
        .collect();
    for flat in legacy::FLAT {
        if let Some(distance) = near(name, flat.name) {
            others.push((distance, flat.key.to_owned()));
        }
    }
    for table in tables() {
        let last = table.rsplit('.').next().unwrap_or(&table);
        if let Some(distance) = near(name, last) {
            others.push((distance, table));
        }
    }
    if others.is_empty() {
        let known: Vec<&str> = rows.iter().map(|row| row.name).collect();
        return format!("unknown {what} `{path}`; known here: {}", known.join(", "));
    }
    format!("unknown {what} `{path}`; did you mean {}?", best(others))
}

/// The names among `names` that are near `name`, as `a, b` in backticks; `None` if there is none.
pub fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let found: Vec<(usize, String)> =
        names.filter_map(|other| near(name, other).map(|d| (d, other.to_owned()))).collect();
    (!found.is_empty()).then(|| best(found))
}

/// The word that a misspelled one is nearest to; a word of which it is a part counts as near.
pub fn nearest_word(words: &Words, text: &str) -> Option<&'static str> {
    let near = words.words.iter().filter_map(|word| near(text, word).map(|distance| (distance, *word)));
    near.min_by_key(|(distance, _)| *distance).map(|(_, word)| word).or_else(|| {
        words
            .words
            .iter()
            .copied()
            .find(|word| text.len() >= 3 && (word.contains(text) || text.contains(word)))
    })
}

/// The distance of two names if it is small enough to be a slip.
fn near(a: &str, b: &str) -> Option<usize> {
    let (a, b) = (plain(a), plain(b));
    let distance = strsim::damerau_levenshtein(&a, &b);
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let prefix = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let suffix = a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count();
    // Two letters of difference make any two words of two letters near: one letter must be right.
    let close = distance <= (a.len() / 4).max(2) && distance < a.len();
    (close || prefix >= SHARED_CHARS_MIN || suffix >= SHARED_CHARS_MIN).then_some(distance)
}

fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
}

fn best(mut found: Vec<(usize, String)>) -> String {
    found.sort();
    found.dedup_by(|a, b| a.1 == b.1);
    let names: Vec<String> = found.into_iter().take(SHOWN_MAX).map(|(_, name)| format!("`{name}`")).collect();
    names.join(", ")
}

/// The tables that have a key or table of exactly this name, as `[table]`.
fn tables_with(name: &str) -> Vec<String> {
    let head = |path: &str| match path.rsplit_once('.') {
        Some((table, last)) if last == name => Some(format!("[{table}]")),
        None if path == name => Some("the top of the file".to_owned()),
        _ => None,
    };
    let mut found: Vec<String> = Vec::new();
    for path in schema().iter().map(|key| key.path.clone()).chain(tables()) {
        if let Some(table) = head(&path).filter(|table| !found.contains(table)) {
            found.push(table);
        }
    }
    found.truncate(SHOWN_MAX);
    found
}

/// The paths of all tables.
fn tables() -> Vec<String> {
    fn walk(rows: &'static [Row], prefix: &str, out: &mut Vec<String>) {
        for row in rows {
            if let Kind::Table(rows) | Kind::Tables(rows) = row.kind {
                let path = join(prefix, row.name);
                walk(rows, &path, out);
                out.push(path);
            }
        }
    }
    let mut out = Vec::new();
    walk(<super::settings::Settings as super::schema::Table>::ROWS, "", &mut out);
    out
}

/// A shared beginning or end of this length counts as near.
const SHARED_CHARS_MIN: usize = 5;

/// More than three guesses help nobody.
const SHOWN_MAX: usize = 3;
