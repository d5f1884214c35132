//! The little of the mdoc language that is needed to write tables: texts, words and sentences, safely quoted.
//!
//! Whatever goes in is printed as it is: nothing in a text is taken for a macro or an escape, and no input line is
//! longer than the checker of manual pages likes.

/// Text as the lines of a paragraph: a new line for each sentence, none too long.
pub fn paragraph(text: &str) -> String {
    let mut out = String::new();
    for sentence in sentences(text) {
        let mut line = String::new();
        for word in sentence.split_whitespace() {
            if !line.is_empty() && line.len() + word.len() >= LINE_BYTES_MAX {
                push_line(&mut out, &line);
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line += word;
        }
        push_line(&mut out, &line);
    }
    out
}

/// The same with a capital at the beginning, unless a list of words begins there, and a full stop at the end.
pub fn sentence(text: &str) -> String {
    if text.split_whitespace().next().is_some_and(|word| word.ends_with(',')) {
        return paragraph(&format!("{}.", text.trim_end_matches('.')));
    }
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    let text = first + letters.as_str();
    if text.ends_with(['.', '!', '?', ':', ']']) { paragraph(&text) } else { paragraph(&(text + ".")) }
}

/// Words as one argument of a macro.
pub fn argument(text: &str) -> String {
    let escaped = escaped(text).replace('"', "\\(dq").replace('-', "\\-");
    // What looks like a macro or is nothing but punctuation would be taken for it.
    let is_plain = text.len() > 3 && text.starts_with(|c: char| c.is_ascii_lowercase());
    let guard = if is_plain { "" } else { "\\&" };
    if text.contains(char::is_whitespace) {
        format!("\"{guard}{escaped}\"")
    } else {
        format!("{guard}{escaped}")
    }
}

/// A line of a literal display.
pub fn literal(line: &str) -> String {
    let text =
        escaped(line).replace('-', "\\-").replace('\'', "\\(aq").replace('`', "\\(ga").replace('^', "\\(ha");
    let text = text.replace('~', "\\(ti");
    if text.starts_with('.') { format!("\\&{text}") } else { text }
}

/// A command that a person types, in a display of its own.
pub fn command(line: &str) -> String {
    format!(".Dl $ {}\n", literal(line))
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\e"),
            c if c.is_ascii() => out.push(c),
            c => out += &format!("\\[u{:04X}]", u32::from(c)),
        }
    }
    out
}

fn push_line(out: &mut String, line: &str) {
    let line = escaped(line);
    if line.starts_with(['.', '\'']) {
        *out += "\\&";
    }
    *out += &line;
    out.push('\n');
}

/// Cut behind each full stop that a capital follows.
fn sentences(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut start = 0;
    for (at, _) in text.match_indices(". ") {
        let next = text.get(at + 2..).and_then(|rest| rest.chars().next());
        if next.is_some_and(|c| c.is_uppercase() || c == '`')
            && let Some(sentence) = text.get(start..at + 1)
        {
            found.push(sentence);
            start = at + 2;
        }
    }
    found.extend(text.get(start..).filter(|rest| !rest.trim().is_empty()));
    found
}

/// Longer input lines are reported by the checker.
const LINE_BYTES_MAX: usize = 78;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_get_lines_and_nothing_is_taken_for_a_macro() {
        assert_eq!(paragraph("One thing. Another: 1. 5 of it."), "One thing.\nAnother: 1. 5 of it.\n");
        assert_eq!(paragraph(".toml and \\n"), "\\&.toml and \\en\n");
        assert_eq!(sentence("say it"), "Say it.\n");
        assert_eq!(sentence("off, on or in between"), "off, on or in between.\n");
        assert!(paragraph(&"word ".repeat(100)).lines().all(|line| line.len() <= 80));
    }

    #[test]
    fn arguments_and_literals_are_quoted() {
        assert_eq!(argument("No"), "\\&No");
        assert_eq!(argument("a \"b\" c-d"), r#""a \(dqb\(dq c\-d""#);
        assert_eq!(literal("sp\u{f6}ke"), "sp\\[u00F6]ke");
        assert_eq!(argument("listen"), "listen");
        assert_eq!(literal("mpreg --json '^1'"), "mpreg \\-\\-json \\(aq\\(ha1\\(aq");
    }
}
