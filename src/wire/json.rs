//! Tools over JSON as text: what a node only passes on is copied, cut and joined as it came, never parsed into a tree.
//!
//! Everything here except [`Json::parse`] and [`document`] starts from text that `serde_json` has already accepted
//! ([`RawValue`], [`Json`]). No function recurses, so nesting of any depth costs no stack, and none panics on text
//! that is not JSON after all: it only answers with less.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use memchr::{memchr, memchr2};
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// One JSON value as text, shared without copying; a part of a received frame where possible.
#[derive(Clone, PartialEq, Eq)]
pub struct Json(Bytes);

/// The members of an object in their order, values still text; of equal names the last counts.
#[derive(Debug, Clone, Default)]
pub struct Members<'a>(pub Vec<(Cow<'a, str>, &'a RawValue)>);

/// The strings of a JSON text that are values (not names of members), front to back.
#[derive(Debug, Clone)]
pub struct Strings<'a> {
    json: &'a [u8],
    at: usize,
}

/// One string as it stands in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Where it stands, quotes included.
    pub range: Range<usize>,
    /// Whether it holds a backslash, so that it has to be decoded before it can be compared.
    pub escaped: bool,
}

/// What kind of value a text is, for messages to a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Null,
    Boolean,
    Number,
    String,
    Array,
    Object,
}

/// Why a text cannot be sent to a node of the reference, which would close the link over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unportable {
    /// Arrays and objects are nested deeper than the given number.
    Depth,
    /// A `\u` escape names half a surrogate pair.
    Surrogate,
    /// A number is beyond what a double can hold.
    Number,
}

impl Json {
    /// Checks that `text` is exactly one JSON value in UTF-8.
    pub fn parse(text: Bytes) -> Result<Json, serde_json::Error> {
        serde_json::from_slice::<&RawValue>(&text)?;
        Ok(Json(text))
    }

    /// The value `raw`, as a part of `frame` when it stands in it, else copied.
    pub fn within(frame: &Bytes, raw: &RawValue) -> Json {
        let text = raw.get().as_bytes();
        let start = (text.as_ptr() as usize).wrapping_sub(frame.as_ptr() as usize);
        match start.checked_add(text.len()) {
            Some(end) if start <= frame.len() && end <= frame.len() => Json(frame.slice(start..end)),
            _ => Json(Bytes::copy_from_slice(text)),
        }
    }

    /// Any value that can be written as JSON; `None` if it cannot (a map whose names are not text).
    pub fn from_value(value: &impl Serialize) -> Option<Json> {
        serde_json::to_vec(value).ok().map(|text| Json(text.into()))
    }

    pub fn null() -> Json {
        Json(Bytes::from_static(b"null"))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// The same text as a `RawValue`, which costs a pass over it.
    pub fn as_raw(&self) -> &RawValue {
        serde_json::from_slice(&self.0).unwrap_or(RawValue::NULL)
    }
}

impl From<&RawValue> for Json {
    fn from(raw: &RawValue) -> Json {
        Json(Bytes::copy_from_slice(raw.get().as_bytes()))
    }
}

impl From<Box<RawValue>> for Json {
    fn from(raw: Box<RawValue>) -> Json {
        Json(Bytes::from(Box::<str>::from(raw).into_boxed_bytes()))
    }
}

impl From<Arc<RawValue>> for Json {
    fn from(raw: Arc<RawValue>) -> Json {
        Json::from(&*raw)
    }
}

impl std::fmt::Debug for Json {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl Serialize for Json {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_raw().serialize(serializer)
    }
}

/// Reads one document of `T` from a frame: UTF-8 is checked once, then parts may be borrowed.
pub fn document<'a, T: Deserialize<'a>>(frame: &'a [u8]) -> Result<T, String> {
    let text = std::str::from_utf8(frame).map_err(|e| format!("not UTF-8: {e}"))?;
    serde_json::from_str(text).map_err(|e| e.to_string())
}

/// The kind of value that `raw` is.
pub fn kind(raw: &RawValue) -> Kind {
    match raw.get().as_bytes().first() {
        Some(b'n') => Kind::Null,
        Some(b't' | b'f') => Kind::Boolean,
        Some(b'"') => Kind::String,
        Some(b'[') => Kind::Array,
        Some(b'{') => Kind::Object,
        _ => Kind::Number,
    }
}

/// The text of a string value, borrowed unless it holds escapes; `None` for other values and for half a surrogate pair.
pub fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    let inner = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    if memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(raw.get()).ok().map(Cow::Owned)
}

/// The value of a member of an object, the last one of that name; `None` for other values too.
pub fn get<'a>(object: &'a RawValue, name: &str) -> Option<&'a RawValue> {
    serde_json::from_slice(navigate(object.get().as_bytes(), &[name])?).ok()
}

/// The value at the end of a path of member names, in one pass over the text whatever the length of the path.
/// Arrays have no index; of members of one name the last counts, at every step.
pub fn navigate<'a>(root: &'a [u8], path: &[&str]) -> Option<&'a [u8]> {
    if path.is_empty() { Some(root) } else { root.get(walk(root, path)?) }
}

/// The first `max` elements of an array, still text, and how many there are in all; `None` for other values.
pub fn first_elements(array: &RawValue, max: usize) -> Option<(Vec<&RawValue>, usize)> {
    serde_json::Deserializer::from_str(array.get()).deserialize_seq(ElementsVisitor { max }).ok()
}

/// The members of an object; `None` for other values.
pub fn members(object: &RawValue) -> Option<Members<'_>> {
    first_members(object, usize::MAX)
}

/// No more than the first `max` members of an object, for those who only look for a few; `None` for other values.
pub fn first_members(object: &RawValue, max: usize) -> Option<Members<'_>> {
    serde_json::Deserializer::from_str(object.get()).deserialize_map(MembersVisitor { max }).ok()
}

/// The strings in value position of a JSON text.
pub fn strings(json: &[u8]) -> Strings<'_> {
    Strings { json, at: 0 }
}

/// Appends `json` with some of its parts replaced. The parts must be in order and apart, as [`strings`] gives them.
pub fn splice<'r>(json: &[u8], parts: impl IntoIterator<Item = (Range<usize>, &'r [u8])>, out: &mut Vec<u8>) {
    let mut copied = 0;
    for (range, replacement) in parts {
        out.extend_from_slice(json.get(copied..range.start).unwrap_or_default());
        out.extend_from_slice(replacement);
        copied = range.end;
    }
    out.extend_from_slice(json.get(copied..).unwrap_or_default());
}

/// Appends anything that can be written as JSON: numbers, texts, booleans, plain structs.
pub fn push(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    let start = out.len();
    // Writing into memory cannot fail; a value that has no JSON form becomes null rather than half a document.
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.truncate(start);
        out.extend_from_slice(b"null");
    }
}

/// Appends a string with quotes and escapes.
pub fn push_text(out: &mut Vec<u8>, text: &str) {
    push_joined(out, &[text]);
}

/// Appends one string made of several texts.
pub fn push_joined(out: &mut Vec<u8>, texts: &[&str]) {
    out.push(b'"');
    for text in texts {
        // Ids and topics hardly ever need an escape.
        if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
            out.extend_from_slice(text.as_bytes());
            continue;
        }
        let quote = out.len();
        push(out, text);
        // Without the quotes that came with it.
        out.pop();
        out.remove(quote);
    }
    out.push(b'"');
}

/// Appends a float as the reference writes one, always with a point or exponent; what is no number becomes null.
pub fn push_float(out: &mut Vec<u8>, value: f64) {
    push(out, &value);
}

/// Appends a JSON text so that it holds no line break, for protocols of one message a line. Line breaks can only be
/// blanks between tokens: inside strings they are escaped.
pub fn push_one_line(out: &mut Vec<u8>, json: &[u8]) {
    let mut rest = json;
    while let Some(at) = memchr2(b'\n', b'\r', rest) {
        let (line, tail) = rest.split_at(at);
        out.extend_from_slice(line);
        out.push(b' ');
        rest = tail.get(1..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}

/// Whether a value is nested deeper than readers can be expected to follow: the reference's clients fail at about a
/// thousand levels and its nodes at 255 (client.md 1.8), and a client that fails takes its connection along.
pub fn is_too_deep(json: &[u8]) -> bool {
    // Every level opens and closes, so short texts need no look, and few brackets need no second one.
    if json.len() <= 2 * DEPTH_MAX || memchr::memchr2_iter(b'[', b'{', json).nth(DEPTH_MAX).is_none() {
        return false;
    }
    let (mut at, mut depth) = (0, 0usize);
    while let Some(&byte) = json.get(at) {
        match byte {
            b'"' => match string_at(json, at) {
                Some(token) => {
                    at = token.range.end;
                    continue;
                }
                None => return false,
            },
            b'[' | b'{' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return true;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    false
}

/// Levels of arrays and objects that a value may have.
pub const DEPTH_MAX: usize = 500;

/// Checks what JSON's grammar allows but a peer of the reference would close its link over.
pub fn portable(json: &[u8], depth_max: usize) -> Result<(), Unportable> {
    let (mut at, mut depth) = (0, 0usize);
    while let Some(&byte) = json.get(at) {
        match byte {
            b'"' => {
                let Some(token) = string_at(json, at) else { return Ok(()) };
                let part = json.get(token.range.clone()).unwrap_or_default();
                if token.escaped && serde_json::from_slice::<Cow<'_, str>>(part).is_err() {
                    return Err(Unportable::Surrogate);
                }
                at = token.range.end;
                continue;
            }
            b'[' | b'{' => {
                depth += 1;
                if depth > depth_max {
                    return Err(Unportable::Depth);
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'-' | b'0'..=b'9' => {
                let tail = json.get(at..).unwrap_or_default();
                let length = tail.iter().take_while(|b| NUMBER_BYTES.contains(b)).count().max(1);
                let digits = tail.get(..length).unwrap_or_default();
                // Only an exponent or hundreds of digits can leave the range of a double.
                if (length > SHORT_NUMBER || digits.iter().any(|b| matches!(b, b'e' | b'E')))
                    && serde_json::from_slice::<f64>(digits).is_err()
                {
                    return Err(Unportable::Number);
                }
                at += length;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

impl Token {
    /// The text of this string in the JSON it was found in; `None` for half a surrogate pair.
    pub fn text<'a>(&self, json: &'a [u8]) -> Option<Cow<'a, str>> {
        if self.escaped {
            return serde_json::from_slice(json.get(self.range.clone())?).ok().map(Cow::Owned);
        }
        let inner = json.get(self.range.start + 1..self.range.end.checked_sub(1)?)?;
        std::str::from_utf8(inner).ok().map(Cow::Borrowed)
    }
}

impl Iterator for Strings<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        loop {
            // Outside of a string a quote can only open one, so everything else is skipped at the speed of memchr.
            let start = self.at + memchr(b'"', self.json.get(self.at..)?)?;
            let token = string_at(self.json, start)?;
            self.at = token.range.end;
            let after = skip_blanks(self.json, self.at);
            if self.json.get(after) != Some(&b':') {
                return Some(token);
            }
            self.at = after;
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Kind::Null => "null",
            Kind::Boolean => "a boolean",
            Kind::Number => "a number",
            Kind::String => "a string",
            Kind::Array => "an array",
            Kind::Object => "an object",
        })
    }
}

impl std::fmt::Display for Unportable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Unportable::Depth => "a value is nested too deeply",
            Unportable::Surrogate => "a string holds half of a surrogate pair",
            Unportable::Number => "a number is too big for a double",
        })
    }
}

impl<'a> Members<'a> {
    /// The value of a member.
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| *value)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor { max: usize::MAX })
    }
}

struct MembersVisitor {
    max: usize,
}

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut all: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::new();
        while all.len() < self.max
            && let Some(name) = map.next_key::<Name<'de>>()?
        {
            all.push((name.0, map.next_value()?));
        }
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        // Names are compared only once all are known: quadratic work must not be in the gift of a stranger.
        let mut order: Vec<usize> = (0..all.len()).collect();
        let name = |i: usize| all.get(i).map(|(name, _)| name);
        order.sort_by(|&a, &b| name(a).cmp(&name(b)).then(a.cmp(&b)));
        if order.windows(2).any(|pair| matches!(pair, [a, b] if name(*a) == name(*b))) {
            let mut last = vec![None; all.len()];
            for group in order.chunk_by(|&a, &b| name(a) == name(b)) {
                if let (Some(&first), Some(&end)) = (group.first(), group.last())
                    && let (Some(slot), Some((_, value))) = (last.get_mut(first), all.get(end))
                {
                    *slot = Some(*value);
                }
            }
            all = all.into_iter().zip(last).filter_map(|((name, _), last)| Some((name, last?))).collect();
        }
        Ok(Members(all))
    }
}

/// A member name, borrowed unless it holds escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameVisitor)
    }
}

struct NameVisitor;

impl<'de> Visitor<'de> for NameVisitor {
    type Value = Name<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Name<'de>, E> {
        Ok(Name(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Name<'de>, E> {
        Ok(Name(Cow::Owned(text.to_owned())))
    }
}

struct ElementsVisitor {
    max: usize,
}

impl<'de> Visitor<'de> for ElementsVisitor {
    type Value = (Vec<&'de RawValue>, usize);

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut first = Vec::new();
        while first.len() < self.max
            && let Some(element) = seq.next_element()?
        {
            first.push(element);
        }
        let mut count = first.len();
        while seq.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok((first, count))
    }
}

/// Where the value at `path` stands. One pass: the walker keeps how many steps of the path its open objects match.
fn walk(json: &[u8], path: &[&str]) -> Option<Range<usize>> {
    let mut at = skip_blanks(json, 0);
    if json.get(at) != Some(&b'{') {
        return None;
    }
    at += 1;
    let mut matched = 0;
    let mut found = None;
    loop {
        at = skip_blanks(json, at);
        match json.get(at)? {
            b'}' => {
                at += 1;
                if matched == 0 {
                    return found;
                }
                matched -= 1;
            }
            b',' => at += 1,
            b'"' => {
                let name = string_at(json, at)?;
                let colon = skip_blanks(json, name.range.end);
                let value = skip_blanks(json, colon + 1);
                let step = path.get(matched)?;
                if name.text(json).is_none_or(|n| n != *step) {
                    at = skip_value(json, value)?;
                    continue;
                }
                // A later member of the same name takes the place of an earlier one, with all that was below it.
                found = None;
                if matched + 1 == path.len() {
                    at = skip_value(json, value)?;
                    found = Some(value..at);
                } else if json.get(value) == Some(&b'{') {
                    matched += 1;
                    at = value + 1;
                } else {
                    at = skip_value(json, value)?;
                }
            }
            _ => return None,
        }
    }
}

/// Where the value that starts at `at` ends.
fn skip_value(json: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0usize;
    loop {
        match json.get(at)? {
            b'"' => at = string_at(json, at)?.range.end,
            b'[' | b'{' => {
                depth += 1;
                at += 1;
                continue;
            }
            b']' | b'}' => {
                depth = depth.checked_sub(1)?;
                at += 1;
            }
            b',' | b':' | b' ' | b'\n' | b'\r' | b'\t' => {
                at += 1;
                continue;
            }
            _ => {
                let tail = json.get(at..)?;
                at += tail.iter().take_while(|b| !b",:]} \n\r\t".contains(b)).count();
            }
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

/// The string whose opening quote stands at `start`.
fn string_at(json: &[u8], start: usize) -> Option<Token> {
    let mut at = start + 1;
    let mut escaped = false;
    loop {
        at += memchr2(b'"', b'\\', json.get(at..)?)?;
        if json.get(at) == Some(&b'"') {
            return Some(Token { range: start..at + 1, escaped });
        }
        escaped = true;
        at += 2;
    }
}

fn skip_blanks(json: &[u8], mut at: usize) -> usize {
    while matches!(json.get(at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
        at += 1;
    }
    at
}

const NUMBER_BYTES: &[u8] = b"0123456789+-.eE";
/// A number of at most so many bytes without exponent is always within the range of a double (up to 1e308).
const SHORT_NUMBER: usize = 300;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn raw(text: &str) -> &RawValue {
        serde_json::from_str(text).unwrap()
    }

    fn texts(json: &str) -> Vec<String> {
        strings(json.as_bytes()).map(|token| token.text(json.as_bytes()).unwrap().into_owned()).collect()
    }

    #[test]
    fn strings_are_values_and_not_names() {
        assert_eq!(texts(r#"["a",{"k":"b","l" : {"m":["c"]}},"k"]"#), ["a", "b", "c", "k"]);
        assert_eq!(texts(r#" "a\"b\\" "#), ["a\"b\\"]);
        assert_eq!(texts(r#"[1,true,null,{},[],""]"#), [""]);
        assert_eq!(texts("[\"a:\",{\"b\"\n:\n\"c\" }]"), ["a:", "c"]);
    }

    #[test]
    fn nothing_here_needs_a_stack() {
        let deep = format!("{}\"a\"{}", "[".repeat(20_000), "]".repeat(20_000));
        assert_eq!(texts(&deep), ["a"]);
        let objects = format!("{}{deep}{}", "{\"k\":".repeat(20_000), "}".repeat(20_000));
        let path = vec!["k"; 20_000];
        assert_eq!(navigate(objects.as_bytes(), &path), Some(deep.as_bytes()));
        assert_eq!(portable(deep.as_bytes(), 20_000), Ok(()));
        assert_eq!(portable(deep.as_bytes(), 19_999), Err(Unportable::Depth));
        assert_eq!(first_elements(raw(&format!("[{deep},{deep}]")), 1).unwrap().1, 2);
    }

    #[test]
    fn members_are_found_and_the_last_counts() {
        let object = raw(r#" { "a" : [1, 2] , "b":{"c":{"d":"x"}},"b":{"c":{"e":2}} ,"\u0061":3} "#);
        assert_eq!(get(object, "a").unwrap().get(), "3");
        assert!(get(object, "z").is_none() && get(raw("[1]"), "0").is_none());
        let at = |path: &[&str]| navigate(object.get().as_bytes(), path);
        assert_eq!(at(&["b", "c", "e"]), Some(&b"2"[..]));
        assert_eq!((at(&["b", "c", "d"]), at(&["a", "0"]), at(&["b", "c", "e", "f"])), (None, None, None));
        // The later member is no object, so nothing is below it.
        assert_eq!(navigate(br#"{"a":{"b":1},"a":2}"#, &["a", "b"]), None);
        assert_eq!(navigate(br#"{"":{"":5}}"#, &["", ""]), Some(&b"5"[..]));
        assert_eq!(first_members(raw(r#"{"a":1,"b":2}"#), 1).unwrap().0.len(), 1);
        let members = members(raw(r#"{"a":1,"b":2,"a":3}"#)).unwrap();
        let seen: Vec<_> = members.0.iter().map(|(name, value)| (&**name, value.get())).collect();
        assert_eq!(seen, [("a", "3"), ("b", "2")]);
    }

    #[test]
    fn a_part_of_a_frame_is_shared() {
        let frame = Bytes::from_static(br#"{"r":[1,2]}"#);
        let value = document::<Members<'_>>(&frame).unwrap();
        let part = Json::within(&frame, value.get("r").unwrap());
        assert_eq!(part.as_bytes(), b"[1,2]");
        assert!(frame.as_ptr_range().contains(&part.as_bytes().as_ptr()));
        assert_eq!(Json::within(&Bytes::from_static(b"x"), raw("[1,2]")), part);
        assert!(Json::parse(Bytes::from_static(b"[1")).is_err());
        assert_eq!(Json::from(RawValue::from_string("[1,2]".to_owned()).unwrap()), part);
    }

    #[test]
    fn writers() {
        let mut out = Vec::new();
        push_joined(&mut out, &["a\"", "\\ü"]);
        push_float(&mut out, 3.0);
        push_float(&mut out, f64::NAN);
        push(&mut out, &-5);
        push_one_line(&mut out, b"{\n\"a\\n\":\r\n1}");
        assert_eq!(String::from_utf8(out).unwrap(), "\"a\\\"\\\\ü\"3.0null-5{ \"a\\n\":  1}");
    }

    #[test]
    fn portable_refuses_what_closes_links() {
        for fine in
            ["1e308", "[-0.5,18446744073709551616]", r#""\ud83d\ude00""#, r#"{"e1e999":true}"#, "[false]"]
        {
            assert_eq!(portable(fine.as_bytes(), 9), Ok(()), "{fine}");
        }
        assert_eq!(portable(b"[1e400]", 9), Err(Unportable::Number));
        assert_eq!(portable(format!("[{}]", "9".repeat(400)).as_bytes(), 9), Err(Unportable::Number));
        assert_eq!(portable(br#"{"\ud800":1}"#, 9), Err(Unportable::Surrogate));
    }

    fn replace(value: &mut Value) {
        match value {
            Value::String(text) if text.starts_with('a') => *value = serde_json::json!({"was": [text.len()]}),
            Value::Array(items) => items.iter_mut().for_each(replace),
            Value::Object(members) => members.values_mut().for_each(replace),
            _ => {}
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let text = "[ab.\\\\\"\\n:é\u{1f600}]{0,4}";
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            text.prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((text, inner), 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn splice_does_what_a_tree_does(value in any_json(), pretty in any::<bool>()) {
            let json = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            let pieces: Vec<_> = strings(json.as_bytes()).filter_map(|token| {
                let text = token.text(json.as_bytes())?.into_owned();
                text.starts_with('a').then(|| (token.range, format!(r#"{{"was":[{}]}}"#, text.len())))
            }).collect();
            let mut out = Vec::new();
            splice(json.as_bytes(), pieces.iter().map(|(range, text)| (range.clone(), text.as_bytes())), &mut out);
            let mut tree = value;
            replace(&mut tree);
            prop_assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), tree);
        }

        #[test]
        fn navigate_does_what_a_tree_does(value in any_json(), path in prop::collection::vec("[ab]{0,1}", 1..4)) {
            let json = serde_json::to_string(&value).unwrap();
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            let found = navigate(json.as_bytes(), &path).map(|text| serde_json::from_slice::<Value>(text).unwrap());
            let tree = path.iter().try_fold(&value, |at, step| at.as_object()?.get(*step)).cloned();
            prop_assert_eq!(found, tree);
        }

        #[test]
        fn nothing_panics_on_text_that_is_not_json(text in "[\\[\\]{}\":,\\\\a0 .-]{0,40}") {
            let json = text.as_bytes();
            let tokens: Vec<_> = strings(json).collect();
            let mut out = Vec::new();
            splice(json, tokens.iter().map(|token| (token.range.clone(), &b"1"[..])), &mut out);
            let _ = tokens.iter().filter_map(|token| token.text(json)).count();
            let _ = (navigate(json, &["a", ""]), portable(json, 3));
        }
    }
}
