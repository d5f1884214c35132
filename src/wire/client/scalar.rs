//! Members of a message by their type, as leniently as client.md 1.8 says, with a text for each fault that names the
//! member. Everything starts from text that is already known to be JSON.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::core::rpc::text::clipped;
use crate::wire::json::{self, Kind};

/// What is wrong with which member.
#[derive(Debug)]
pub struct Fault {
    pub member: String,
    pub text: String,
}

impl Fault {
    pub fn new(member: &str, text: &str) -> Fault {
        Fault { member: member.to_owned(), text: format!("{member} {text}") }
    }

    pub fn missing(member: &str) -> Fault {
        Fault::new(member, "is missing")
    }

    /// `wanted` reads like "a string".
    pub fn wrong(member: &str, wanted: &str, raw: &RawValue) -> Fault {
        let seen = match json::kind(raw) {
            Kind::Null => "null".to_owned(),
            Kind::Number | Kind::Boolean => clipped(raw.get(), CLIPPED_CHARS),
            kind => kind.to_string(),
        };
        Fault::not_a(member, wanted, &seen)
    }

    pub fn not_a(member: &str, wanted: &str, seen: &str) -> Fault {
        Fault::new(member, &format!("must be {wanted}, not {seen}"))
    }

    /// The same fault seen from the object that holds the member.
    pub fn below(self, parent: &str) -> Fault {
        Fault { member: format!("{parent}.{}", self.member), text: format!("{parent}.{}", self.text) }
    }
}

/// A member that must be there and be a string.
pub fn text<'a>(member: &str, raw: Option<&'a RawValue>) -> Result<Cow<'a, str>, Fault> {
    let raw = raw.ok_or_else(|| Fault::missing(member))?;
    json::text(raw).ok_or_else(|| match json::kind(raw) {
        Kind::String => Fault::new(member, "holds half of a surrogate pair"),
        _ => Fault::wrong(member, "a string", raw),
    })
}

/// A value that is passed on, unless it is nested too deep for those who will read it.
pub fn flat<'a>(member: &str, raw: Option<&'a RawValue>) -> Result<Option<&'a RawValue>, Fault> {
    match raw {
        Some(raw) if json::is_too_deep(raw.get().as_bytes()) => {
            Err(Fault::new(member, &format!("is nested more than {} levels deep", json::DEPTH_MAX)))
        }
        raw => Ok(raw),
    }
}

/// A string that is absent when it is null or empty.
pub fn optional_text<'a>(member: &str, raw: Option<&'a RawValue>) -> Result<Option<Cow<'a, str>>, Fault> {
    match given(raw) {
        None => Ok(None),
        raw => Ok(Some(text(member, raw)?).filter(|text| !text.is_empty())),
    }
}

/// An array of strings, of which there may be so many.
pub fn texts<'a>(member: &str, raw: &'a RawValue) -> Result<Vec<Cow<'a, str>>, Fault> {
    let (elements, count) = json::first_elements(raw, ITEMS_MAX)
        .ok_or_else(|| Fault::wrong(member, "an array of strings", raw))?;
    few(member, count)?;
    let element = |raw| text(member, Some(raw)).map_err(|_| Fault::new(member, "must hold strings"));
    elements.into_iter().map(element).collect()
}

/// Refuses a list that is too long.
pub fn few(member: &str, count: usize) -> Result<(), Fault> {
    match count > ITEMS_MAX {
        true => Err(Fault::new(member, &format!("may hold at most {ITEMS_MAX} items"))),
        false => Ok(()),
    }
}

/// An array, left as it is.
pub fn array<'a>(member: &str, raw: Option<&'a RawValue>) -> Result<Option<&'a RawValue>, Fault> {
    match raw {
        Some(raw) if json::kind(raw) != Kind::Array => Err(Fault::wrong(member, "an array", raw)),
        raw => Ok(raw),
    }
}

/// An object, left as it is.
pub fn map<'a>(member: &str, raw: Option<&'a RawValue>) -> Result<Option<&'a RawValue>, Fault> {
    match raw {
        Some(raw) if json::kind(raw) != Kind::Object => Err(Fault::wrong(member, "an object", raw)),
        raw => Ok(raw),
    }
}

/// A boolean: `true`, 0 or 1, or one of the usual words.
pub fn flag(member: &str, raw: Option<&RawValue>, absent: bool) -> Result<bool, Fault> {
    let Some(raw) = raw else { return Ok(absent) };
    let fault = || Fault::wrong(member, "a boolean", raw);
    match json::kind(raw) {
        Kind::Boolean => Ok(raw.get() == "true"),
        Kind::Number => match raw.get().parse() {
            Ok(0.0) => Ok(false),
            Ok(1.0) => Ok(true),
            _ => Err(fault()),
        },
        Kind::String => {
            let word = json::text(raw).ok_or_else(fault)?;
            let is = |words: &[&str]| words.iter().any(|w| w.eq_ignore_ascii_case(&word));
            match (is(YES), is(NO)) {
                (true, _) => Ok(true),
                (_, true) => Ok(false),
                _ => Err(fault()),
            }
        }
        _ => Err(fault()),
    }
}

/// A float that must be there: a number, a boolean, or a number in a string.
pub fn float(member: &str, raw: Option<&RawValue>) -> Result<f64, Fault> {
    let raw = raw.ok_or_else(|| Fault::missing(member))?;
    number(raw).ok_or_else(|| Fault::wrong(member, "a number", raw))
}

/// An integer: 2, 2.0 and "2", but not 1.5.
pub fn integer(member: &str, raw: &RawValue) -> Result<i64, Fault> {
    if let Ok(exact) = raw.get().trim_matches('"').trim().parse() {
        return Ok(exact);
    }
    match number(raw) {
        // Beyond 2^53 a double no longer says which integer was meant.
        Some(n) if n.fract() == 0.0 && n.abs() <= 9_007_199_254_740_992.0 => Ok(n as i64),
        _ => Err(Fault::wrong(member, "an integer", raw)),
    }
}

/// A member that is there and not null.
pub fn given(raw: Option<&RawValue>) -> Option<&RawValue> {
    raw.filter(|raw| raw.get() != "null")
}

fn number(raw: &RawValue) -> Option<f64> {
    let number = match json::kind(raw) {
        Kind::Number => raw.get().parse().ok()?,
        Kind::Boolean => f64::from(raw.get() == "true"),
        Kind::String => json::text(raw)?.trim().parse().ok()?,
        _ => return None,
    };
    Some(number).filter(|n: &f64| n.is_finite())
}

const YES: &[&str] = &["1", "on", "t", "true", "y", "yes"];
const NO: &[&str] = &["0", "off", "f", "false", "n", "no"];
/// Commands of a request, patterns of a subscription, resources of a command: far more than anybody needs, and few
/// enough that the smallest items cannot fill the memory of a node.
pub const ITEMS_MAX: usize = 10_000;
/// Enough to recognise a value in an error.
pub const CLIPPED_CHARS: usize = 80;
