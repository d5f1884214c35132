//! One line of a worker as a JSON-RPC 2.0 answer.
//!
//! The result is never looked into: it stays the text the worker wrote. Of an error only the `message` is taken,
//! shortened; its `data` often holds what should not leave the machine. An `id` may come back as a number or as
//! its text.

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::words::printable;

/// What a worker answered to one call.
#[derive(Debug)]
pub enum Answer<'a> {
    Result(&'a RawValue),
    /// The worker's message, ready to be shown.
    Error(String),
    /// It has the id of a call but neither a result nor an error.
    Empty,
}

/// A line that is no answer.
#[derive(Debug, PartialEq)]
pub struct Unreadable;

/// Reads one line; gives the id of the call and what was answered.
pub fn read_answer(line: &[u8]) -> Result<(u64, Answer<'_>), Unreadable> {
    let message: Message<'_> = serde_json::from_slice(line).map_err(|_| Unreadable)?;
    if message.method.is_some() {
        return Err(Unreadable);
    }
    let id = message.id.and_then(id_of).ok_or(Unreadable)?;
    let answer = match (message.error.filter(|e| e.get() != "null"), message.result) {
        (Some(error), _) => Answer::Error(message_of(error)),
        (None, Some(result)) => Answer::Result(result),
        (None, None) => Answer::Empty,
    };
    Ok((id, answer))
}

/// The id of an answer of which only the beginning is known, if it stands before what is too long.
pub fn id_in_prefix(prefix: &[u8]) -> Option<u64> {
    struct Prefix<'a>(&'a mut Option<u64>);

    impl<'de> Visitor<'de> for Prefix<'_> {
        type Value = ();

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an answer")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            while let Some(key) = map.next_key::<String>()? {
                if key == "id" {
                    *self.0 = id_of(map.next_value()?);
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(())
        }
    }

    let mut id = None;
    // It ends in an error, since the rest is missing; what was found until then counts.
    let _ = serde_json::Deserializer::from_slice(prefix).deserialize_map(Prefix(&mut id));
    id
}

/// The id of an answer of which only the end is known, if it is the last member.
pub fn id_in_tail(tail: &[u8]) -> Option<u64> {
    let tail = tail.trim_ascii_end().strip_suffix(b"}")?.trim_ascii_end();
    let (tail, quoted) = match tail.strip_suffix(b"\"") {
        Some(rest) => (rest, true),
        None => (tail, false),
    };
    let digits = tail.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let (before, number) = tail.split_at(tail.len() - digits);
    let before = if quoted { before.strip_suffix(b"\"")? } else { before };
    let key = before.trim_ascii_end().strip_suffix(b":")?.trim_ascii_end().strip_suffix(b"\"id\"")?;
    // A quote within a text would be escaped; a member follows a comma.
    key.trim_ascii_end().strip_suffix(b",")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "even_null")]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    method: Option<IgnoredAny>,
}

/// A result of `null` is a result.
fn even_null<'de, D: Deserializer<'de>>(d: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(d).map(Some)
}

fn id_of(id: &RawValue) -> Option<u64> {
    id.get().trim_matches('"').parse().ok()
}

fn message_of(error: &RawValue) -> String {
    #[derive(Deserialize)]
    struct Object {
        message: Option<String>,
    }
    let message = match serde_json::from_str::<Object>(error.get()) {
        Ok(object) => object.message,
        Err(_) => serde_json::from_str::<String>(error.get()).ok(),
    };
    match message {
        Some(m) if !m.trim().is_empty() => printable(m.as_bytes(), MESSAGE_CHARS_MAX),
        _ => "the worker answered with an error without a message".into(),
    }
}

/// An error is one short text for its reader.
const MESSAGE_CHARS_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<(u64, String), Unreadable> {
        read_answer(line.as_bytes()).map(|(id, a)| match a {
            Answer::Result(r) => (id, r.get().to_owned()),
            Answer::Error(e) => (id, format!("error: {e}")),
            Answer::Empty => (id, "empty".into()),
        })
    }

    #[test]
    fn results_and_errors() {
        assert_eq!(read(r#"{"jsonrpc":"2.0","id":7,"result":{"a": [1]}}"#), Ok((7, r#"{"a": [1]}"#.into())));
        assert_eq!(read(r#"{"id":"7","result":null}"#), Ok((7, "null".into())));
        assert_eq!(read(r#"{"id":7,"result":1,"error":null}"#), Ok((7, "1".into())));
        assert_eq!(
            read(r#"{"id":7,"error":{"code":-1,"message":"no\nluck","data":"secret"}}"#),
            Ok((7, "error: no luck".into()))
        );
        assert_eq!(read(r#"{"id":7,"error":"just words"}"#), Ok((7, "error: just words".into())));
        assert!(read(r#"{"id":7,"error":{"message":9}}"#).unwrap().1.contains("without a message"));
        assert_eq!(read(r#"{"id":7}"#), Ok((7, "empty".into())));
    }

    #[test]
    fn a_long_message_is_cut() {
        let (_, text) = read(&format!(r#"{{"id":1,"error":{{"message":"{}"}}}}"#, "ü".repeat(5000))).unwrap();
        assert!(text.chars().count() < 1100);
    }

    #[test]
    fn what_is_no_answer() {
        for line in [
            "this is not JSON",
            r#"{"half": "#,
            "[1, 2]",
            "null",
            "",
            r#"{"jsonrpc":"2.0","id":"nobody-asked","result":1}"#,
            r#"{"id":null,"error":{"message":"x"}}"#,
            r#"{"id":-1,"result":1}"#,
            r#"{"id":1.5,"result":1}"#,
            r#"{"result":1}"#,
            r#"{"method":"do.it","id":1}"#,
            "{\"id\":1,\"result\":\"\u{1}\"}",
        ] {
            assert_eq!(read(line), Err(Unreadable), "{line}");
        }
    }

    #[test]
    fn id_of_a_line_that_is_too_long() {
        assert_eq!(id_in_prefix(br#"{"jsonrpc": "2.0", "id": 42, "result": "zzzz"#), Some(42));
        assert_eq!(id_in_prefix(br#"{"jsonrpc": "2.0", "result": "zzzz"#), None);
        assert_eq!(id_in_prefix(br#"{"jsonrpc": "2.0", "result": {"id": 4, "a": "zzzz"#), None);
        assert_eq!(id_in_tail(br#"zzzz","id":42}"#), Some(42));
        assert_eq!(id_in_tail(br#"zzzz" , "id" : "42" } "#), Some(42));
        assert_eq!(id_in_tail(br#"zzzz","id":42}}"#), None);
        assert_eq!(id_in_tail(br#"zzzz\",\"id\":42}"}"#), None);
        assert_eq!(id_in_tail(b""), None);
    }
}
