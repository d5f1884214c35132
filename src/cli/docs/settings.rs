//! The list of keys in mpreg.toml(5), from the one table that the loader uses.

use super::mdoc;
use crate::config::{self, Kind, Reload, Role, Row, Rule, Settings, Table, Words};

/// Every table with its keys, in the order of a file.
pub fn reference() -> String {
    let mut out = String::from(".Ss Top of the file\n");
    keys(Settings::ROWS, &mut out);
    tables(Settings::ROWS, "", &mut out);
    out
}

/// What each role presets.
pub fn roles() -> String {
    let mut out = String::from(".Bl -tag -width Ds\n");
    for (role, meaning) in Role::ALL.iter().zip(Role::WORDS.meanings) {
        out += &format!(".It Cm {}\n{}", mdoc::argument(role.as_str()), mdoc::paragraph(meaning));
        out += "It presets\n";
        let unprivileged = config::presets(*role, false);
        let privileged = config::presets(*role, true);
        let count = unprivileged.len();
        for (n, (preset, as_root)) in unprivileged.iter().zip(&privileged).enumerate() {
            let end = if n + 1 == count { "." } else { "," };
            out += &format!(".Li {}", mdoc::argument(&format!("{} = {}", preset.key, preset.value)));
            if as_root.value == preset.value {
                out += &format!(" {end}\n");
            } else {
                out += &format!("\n(where ports below 1024 may be bound: {}){end}\n", as_root.value);
            }
        }
    }
    out + ".El\n"
}

fn tables(rows: &'static [Row], path: &str, out: &mut String) {
    for row in rows {
        let path = if path.is_empty() { row.name.to_owned() } else { format!("{path}.{}", row.name) };
        let (title, inner) = match row.kind {
            Kind::Table(inner) => (format!("[{path}]"), inner),
            Kind::Tables(inner) => (format!("[[{path}]]"), inner),
            _ => continue,
        };
        *out += &format!(".Ss {}\\&\n{}", mdoc::argument(&title), mdoc::sentence(row.meaning));
        if !inner.iter().any(|row| row.is_leaf() && config::is_served(row.module)) {
            *out += "This build does not serve it.\n";
        }
        keys(inner, out);
        tables(inner, &path, out);
    }
}

fn keys(rows: &'static [Row], out: &mut String) {
    let keys: Vec<&Row> =
        rows.iter().filter(|row| !matches!(row.kind, Kind::Table(_) | Kind::Tables(_))).collect();
    if keys.is_empty() {
        return;
    }
    *out += ".Bl -tag -width Ds\n";
    for row in keys {
        *out += &format!(".It Cm {}", mdoc::argument(row.name));
        if let Some(value) = row.default_value() {
            *out += &format!(" No = Li {}", mdoc::argument(&config::toml(&value)));
        }
        out.push('\n');
        *out += &mdoc::sentence(row.meaning);
        *out += ".br\n";
        let mut facts = vec![kind(&row.kind)];
        match row.default {
            "required" => facts.push("required".into()),
            "none" => facts.push("not set by default".into()),
            _ => {}
        }
        facts.push(reload(row.reload).into());
        if !config::is_served(row.module) {
            facts.push("not served by this build".into());
        }
        *out += &mdoc::sentence(&facts.join("; "));
        *out += &meanings(&row.kind);
    }
    *out += ".El\n";
}

fn reload(reload: Reload) -> &'static str {
    match reload {
        Reload::Live => "a reload suffices",
        Reload::Link => "a reload suffices, and resets the links that it concerns",
        Reload::Restart => "takes effect at a restart",
    }
}

/// Type, unit and range.
fn kind(kind: &Kind) -> String {
    match *kind {
        Kind::Bool => "true or false".into(),
        Kind::Int { min, max: i64::MAX } => format!("whole number, at least {min}"),
        Kind::Int { min, max } => format!("whole number from {min} to {max}"),
        Kind::Float { min, max } if min == f64::MIN && max == f64::MAX => "number".into(),
        Kind::Float { min, max } => format!("number from {min} to {max}"),
        Kind::Text(text) => rule(text).0.into(),
        Kind::Texts(text) => format!("list of {}", rule(text).1),
        Kind::Word(_) => "one word of those below".into(),
        Kind::WordOrNone(_) => "one word of those below, or empty".into(),
        Kind::WordList(_) => "one word of those below, or a list of them".into(),
        Kind::Numbers(count) => format!("list of {count} numbers"),
        Kind::Duration(min) if min.is_zero() => "duration".into(),
        Kind::Duration(min) => {
            format!("duration, at least {}", config::duration_text(min))
        }
        Kind::Size(0) => "size in bytes".into(),
        Kind::Size(min) => format!("size in bytes, at least {}", config::size_text(min).trim_matches('"')),
        Kind::Time => "date-time, or seconds since 1970".into(),
        Kind::Map => "table of texts by names of your choice".into(),
        Kind::MapOfLists => "table of lists of texts by names of your choice".into(),
        Kind::Secret => "secret text".into(),
        Kind::Table(_) | Kind::Tables(_) => "table".into(),
    }
}

/// One text under a rule, and many.
fn rule(rule: Rule) -> (&'static str, &'static str) {
    match rule {
        Rule::Any => ("text", "texts"),
        Rule::Filled => ("text, not empty", "texts"),
        Rule::Url => (
            "URL with ws, wss, tcp or tcps, a host and a port",
            "URLs with ws, wss, tcp or tcps, a host and a port",
        ),
        Rule::HttpUrl => ("URL with http or https", "URLs with http or https"),
        Rule::Host => ("host name or IP address", "host names or IP addresses"),
        Rule::PortRange => ("two ports with a hyphen between them", "ranges of ports"),
        Rule::Network => ("IP address with prefix length", "IP addresses with prefix length"),
        Rule::Hex32 => ("64 hexadecimal digits", "texts of 64 hexadecimal digits"),
        Rule::Version => ("version of one to three numbers, then as in semver", "versions"),
    }
}

/// What each word of an enumeration means.
fn meanings(kind: &Kind) -> String {
    let words: &Words = match kind {
        Kind::Word(words) | Kind::WordOrNone(words) | Kind::WordList(words) => words,
        _ => return String::new(),
    };
    let mut out = String::from(".Bl -tag -width Ds -compact\n");
    for (word, meaning) in words.words.iter().zip(words.meanings) {
        out += &format!(".It Li {}\n", mdoc::argument(word));
        out += &mdoc::paragraph(meaning);
        let others: Vec<&str> =
            words.aliases.iter().filter(|(_, name)| name == word).map(|(other, _)| *other).collect();
        if !others.is_empty() {
            out += &mdoc::paragraph(&format!("Also written {}.", others.join(" or ")));
        }
    }
    out + ".El\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_and_table_is_in_it() {
        let text = reference();
        for key in config::schema() {
            let name = key.path.rsplit('.').next().unwrap_or_default();
            let line = match key.row.kind {
                Kind::Tables(_) => format!(".Ss \\&[[{}]]\\&", key.path),
                _ => format!(".It Cm {}", mdoc::argument(name)),
            };
            assert!(text.contains(&line), "{line}");
        }
        assert!(text.contains("Li \\&\\(dq127.0.0.1\\(dq") && text.contains("not served by this build"));
    }
}
