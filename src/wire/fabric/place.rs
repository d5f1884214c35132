//! Names the member of a JSON text that an error is about: `functions[2].identity.version`. Runs only for messages that
//! are refused, over as much of the text as had been read.

/// Why a message could not be read: which part, where in it, and what was wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed(String);

impl Malformed {
    pub fn new(place: &str, what: impl std::fmt::Display) -> Malformed {
        Malformed(format!("{place}: {what}"))
    }

    /// An error of serde_json about `text`, which is the part of the message called `part`.
    pub(super) fn of(part: &str, text: &str, error: &serde_json::Error) -> Malformed {
        let lines = text.split_inclusive('\n').take(error.line().saturating_sub(1));
        let offset = lines.map(str::len).sum::<usize>() + error.column();
        let full = error.to_string();
        let what = full.rfind(" at line ").and_then(|end| full.get(..end)).unwrap_or(&full);
        let mut members = members_at(text.as_bytes().get(..offset.saturating_sub(1)).unwrap_or_default());
        if what.starts_with("missing field") {
            members.pop(); // the last one that was there says nothing
        }
        Malformed(format!("{part}{}: {what}", members.concat()))
    }
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

enum Level {
    Object(String),
    List(usize),
}

/// The open members at the end of the beginning of a JSON text.
fn members_at(beginning: &[u8]) -> Vec<String> {
    let mut open: Vec<Level> = Vec::new();
    let mut string: Option<Vec<u8>> = None;
    let mut last = Vec::new();
    let mut escaped = false;
    for &byte in beginning {
        if let Some(inside) = &mut string {
            match byte {
                b'"' if !escaped => last = string.take().unwrap_or_default(),
                _ => {
                    escaped = byte == b'\\' && !escaped;
                    if inside.len() < NAME_BYTES_MAX {
                        inside.push(byte);
                    }
                }
            }
            continue;
        }
        match byte {
            b'"' => (string, escaped) = (Some(Vec::new()), false),
            b'{' => open.push(Level::Object(String::new())),
            b'[' => open.push(Level::List(0)),
            b'}' | b']' => drop(open.pop()),
            b':' => {
                if let Some(Level::Object(name)) = open.last_mut() {
                    *name = format!(".{}", String::from_utf8_lossy(&last));
                }
            }
            b',' => {
                if let Some(Level::List(index)) = open.last_mut() {
                    *index += 1;
                }
            }
            _ => {}
        }
    }
    let name = |level| match level {
        Level::Object(name) => name,
        Level::List(index) => format!("[{index}]"),
    };
    open.into_iter().take(LEVELS_MAX).map(name).collect()
}

/// Longer names are cut in the error.
const NAME_BYTES_MAX: usize = 64;
/// Deeper places are named by their beginning.
const LEVELS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_an_error_is_named() {
        #[derive(serde::Deserialize)]
        struct Inner {
            #[allow(dead_code)]
            n: u8,
        }
        #[derive(serde::Deserialize)]
        struct Outer {
            #[allow(dead_code)]
            a: Vec<Inner>,
        }
        for (text, told) in [
            (
                r#"{"a":[{"n":1},{"x":"]}\"","n":"two"}]}"#,
                "m.a[1].n: invalid type: string \"two\", expected u8",
            ),
            ("{\n\"a\": [\n{\"n\": 1},\n{\"k\": 1}]}", "m.a[1]: missing field `n`"),
            (r#"{"a":null}"#, "m.a: invalid type: null, expected a sequence"),
        ] {
            let error = serde_json::from_str::<Outer>(text).err().unwrap();
            assert_eq!(Malformed::of("m", text, &error).to_string(), told);
        }
    }
}
