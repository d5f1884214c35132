//! The text of `--help`, from the declared table: usage, meaning, arguments, options, verbs, examples, notes.
//!
//! argh would make one as well, but with all optional options in the usage line and without wrapping. Nothing is
//! said here that the declaration of a verb does not say.

use argh::{CommandInfoWithArgs, FlagInfo, FlagInfoKind, Optionality, SubCommandInfo};

/// The help of the verb that these words lead to.
pub fn text(path: &[&str], verb: &CommandInfoWithArgs) -> String {
    let name: Vec<&str> = ["mpreg"].iter().chain(path).copied().collect();
    let mut out = format!("Usage: {}", name.join(" "));
    for positional in verb.positionals {
        out += &match positional.optionality {
            Optionality::Required => format!(" {}", positional.name),
            Optionality::Optional => format!(" [{}]", positional.name),
            Optionality::Repeating | Optionality::Greedy => format!(" [{}...]", positional.name),
        };
    }
    let flags: Vec<&FlagInfo> = verb.flags.iter().filter(|flag| !flag.hidden).collect();
    for flag in flags.iter().filter(|flag| matches!(flag.optionality, Optionality::Required)) {
        if let FlagInfoKind::Option { arg_name } = flag.kind {
            out += &format!(" {} {}", flag.long, arg_name.to_uppercase());
        }
    }
    out += if verb.commands.is_empty() { " [OPTIONS]" } else { " VERB ..." };
    out += "\n\n";
    paragraph(&mut out, "", &capital(&unescaped(verb.description)));

    let rows = verb.positionals.iter().map(|p| (p.name.to_owned(), p.description.to_owned()));
    section(&mut out, "Arguments", rows.collect());
    let rows = shown(verb).map(|c| (c.name.to_owned(), unescaped(c.command.description)));
    section(&mut out, "Verbs", rows.collect());
    section(&mut out, "Options", flags.iter().map(|flag| option(flag)).collect());
    if !verb.examples.is_empty() {
        out += "\nExamples:\n";
        for line in verb.examples.iter().flat_map(|example| example.lines()) {
            out += &format!("  {}\n", unescaped(line));
        }
    }
    if !verb.notes.is_empty() {
        out += "\nNotes:\n";
        for note in verb.notes {
            paragraph(&mut out, "  ", &unescaped(note));
        }
    }
    out
}

/// The verbs of a group that everybody is to know; what serves only packaging is left out.
pub fn shown(verb: &CommandInfoWithArgs) -> impl Iterator<Item = &SubCommandInfo> {
    verb.commands.iter().filter(|inner| !HIDDEN.contains(&inner.name))
}

/// argh takes examples and notes as format strings, in which braces are doubled.
pub fn unescaped(text: &str) -> String {
    text.replace("{{", "{").replace("}}", "}")
}

fn option(flag: &FlagInfo) -> (String, String) {
    let mut name = match flag.short {
        Some(short) => format!("-{short}, {}", flag.long),
        None => flag.long.to_owned(),
    };
    if let FlagInfoKind::Option { arg_name } = flag.kind {
        name += &format!(" {}", arg_name.to_uppercase());
    }
    let more = match flag.optionality {
        Optionality::Repeating => "; may be repeated",
        _ => "",
    };
    (name, format!("{}{more}", unescaped(flag.description)))
}

fn section(out: &mut String, title: &str, rows: Vec<(String, String)>) {
    if rows.is_empty() {
        return;
    }
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default().min(NAME_WIDTH_MAX);
    *out += &format!("\n{title}:\n");
    for (name, meaning) in rows {
        let head = format!("  {name:width$}  ");
        let indent = " ".repeat(width + 4);
        let mut text = String::new();
        paragraph(&mut text, &indent, &meaning);
        if name.len() > width {
            *out += &format!("  {name}\n{text}");
        } else {
            *out += &format!("{head}{}", text.strip_prefix(&indent).unwrap_or("\n"));
        }
    }
}

fn paragraph(out: &mut String, indent: &str, text: &str) {
    let mut column = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > WIDTH {
            out.push('\n');
            column = 0;
        }
        let before = if column == 0 { indent } else { " " };
        *out += before;
        *out += word;
        column += before.len() + length;
    }
    if column > 0 {
        out.push('\n');
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().collect::<String>() + letters.as_str())
        .unwrap_or_default()
}

/// Groups that no list of verbs names.
const HIDDEN: &[&str] = &["docs"];
/// Fits a terminal of the usual 100 columns.
const WIDTH: usize = 98;
/// A longer name stands on a line of its own.
const NAME_WIDTH_MAX: usize = 30;
