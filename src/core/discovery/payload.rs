//! The request object of a built-in: its single positional argument with the named arguments on top, and the
//! conversions of client.md 3.2. Every fault is error 1003 with one line that names the member; nothing is guessed
//! for arrays and objects where a text belongs.

use serde_json::value::RawValue;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::core::catalog::Scope;
use crate::core::error::CallError;
use crate::core::reason::Reason;

/// The members of a request.
#[derive(Debug, Clone, Default)]
pub struct Payload {
    members: Map<String, Value>,
}

/// 1003 `ValueError: <text>`.
pub fn value_error(text: impl std::fmt::Display) -> CallError {
    CallError::failed(format!("ValueError: {text}")).because(Reason::BadRequest)
}

/// 1003 `TypeError: <text>`.
pub fn type_error(text: impl std::fmt::Display) -> CallError {
    CallError::failed(format!("TypeError: {text}")).because(Reason::BadRequest)
}

impl Payload {
    /// `args` is an array, `kwargs` an object; anything else is refused.
    pub fn read(fun: &str, args: &RawValue, kwargs: &RawValue) -> Result<Payload, CallError> {
        let (args, mut named) = arguments(fun, args, kwargs)?;
        let mut args = args.into_iter();
        let positional = args.next();
        if args.len() > 0 {
            return Err(type_error(format_args!(
                "{fun} takes at most 1 positional argument, {} were given",
                args.len() + 1
            )));
        }
        let by_name = if named.get("payload").is_some_and(|p| p.is_object() || p.is_null()) {
            named.shift_remove("payload")
        } else {
            None
        };
        let mut members = match positional.or(by_name) {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(members)) => members,
            Some(Value::Array(list)) if list.is_empty() => Map::new(),
            Some(other) => {
                return Err(type_error(format_args!("{fun} takes one object, not {}", kind_of(&other))));
            }
        };
        members.append(&mut named);
        Ok(Payload { members })
    }

    /// For functions that ignore their one argument, whatever it is.
    pub fn ignore(fun: &str, args: &RawValue, kwargs: &RawValue) -> Result<(), CallError> {
        let (args, _) = arguments(fun, args, kwargs)?;
        if args.len() > 1 {
            return Err(type_error(format_args!(
                "{fun} takes at most 1 positional argument, {} were given",
                args.len()
            )));
        }
        Ok(())
    }

    /// For functions without arguments.
    pub fn none(fun: &str, args: &RawValue, kwargs: &RawValue) -> Result<(), CallError> {
        let (args, named) = arguments(fun, args, kwargs)?;
        if args.is_empty() && named.is_empty() {
            return Ok(());
        }
        Err(type_error(format_args!("{fun} takes no arguments, {} were given", args.len() + named.len())))
    }

    pub fn from_members(members: Map<String, Value>) -> Payload {
        Payload { members }
    }

    /// The member as it came; null counts as absent.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.members.get(name).filter(|v| !v.is_null())
    }

    /// Scalars as text; absent where missing, null or empty.
    pub fn text(&self, name: &str) -> Result<Option<String>, CallError> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => match scalar(value) {
                Some(text) => Ok(Some(text).filter(|t| !t.is_empty())),
                None => Err(type_error(format_args!("{name} is not a text but {}", kind_of(value)))),
            },
        }
    }

    /// As `text`, without blanks around it.
    pub fn trimmed(&self, name: &str) -> Result<Option<String>, CallError> {
        Ok(self.text(name)?.map(|t| t.trim().to_owned()).filter(|t| !t.is_empty()))
    }

    /// One of the four words of client.md 3.4.
    pub fn scope(&self, name: &str) -> Result<Option<Scope>, CallError> {
        match self.trimmed(name)? {
            None => Ok(None),
            Some(word) => match Scope::parse(&word) {
                Some(scope) => Ok(Some(scope)),
                None => Err(value_error(format_args!(
                    "Unsupported discovery scope: {}",
                    shortened(&word.to_lowercase())
                ))),
            },
        }
    }

    /// A list of texts; a single scalar is a list of one. Empties are left out.
    pub fn list(&self, name: &str) -> Result<Vec<String>, CallError> {
        let fault =
            |value: &Value| type_error(format_args!("{name} is not a list of texts: {}", kind_of(value)));
        let mut list = match self.get(name) {
            None => Vec::new(),
            Some(Value::Array(items)) => items
                .iter()
                .filter(|i| !i.is_null())
                .map(|i| scalar(i).ok_or_else(|| fault(i)))
                .collect::<Result<_, _>>()?,
            Some(value) => vec![scalar(value).ok_or_else(|| fault(value))?],
        };
        list.retain(|t| !t.is_empty());
        Ok(list)
    }

    /// As `list`, sorted and without repeats.
    pub fn set(&self, name: &str) -> Result<Vec<String>, CallError> {
        let mut list = self.list(name)?;
        list.sort_unstable();
        list.dedup();
        Ok(list)
    }

    /// Numbers are cut at the point, texts must be whole numbers.
    pub fn integer(&self, name: &str) -> Result<Option<i64>, CallError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        integer(value).map(Some).ok_or_else(|| match scalar(value) {
            Some(text) => value_error(format_args!(
                "invalid literal for int() with base 10: '{}' ({name})",
                shortened(&text)
            )),
            None => type_error(format_args!("{name} is not a number but {}", kind_of(value))),
        })
    }

    /// A finite number or the text of one.
    pub fn float(&self, name: &str) -> Result<Option<f64>, CallError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        float(value).map(Some).ok_or_else(|| match scalar(value) {
            Some(text) => value_error(format_args!(
                "could not convert string to float: '{}' ({name})",
                shortened(&text)
            )),
            None => type_error(format_args!("{name} is not a number but {}", kind_of(value))),
        })
    }

    /// Truthiness: empty, zero and null are false, all else is true, also the text `false`.
    pub fn truth(&self, name: &str) -> bool {
        match self.get(name) {
            None => false,
            Some(Value::Bool(b)) => *b,
            Some(Value::Number(n)) => n.as_f64() != Some(0.0),
            Some(Value::String(s)) => !s.is_empty(),
            Some(Value::Array(list)) => !list.is_empty(),
            Some(Value::Object(map)) => !map.is_empty(),
            Some(Value::Null) => false,
        }
    }

    /// For switches that matter: true and false, 0 and 1, and the words for them; anything else is refused.
    pub fn switch(&self, name: &str) -> Result<Option<bool>, CallError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        switch(value).map(Some).ok_or_else(|| type_error(format_args!("{name} is neither true nor false")))
    }

    /// What asks the same question has the same text here; `limit` and `page_token` do not count.
    pub fn question(&self, fun: &str) -> String {
        let mut text = String::from(fun);
        let mut members: Vec<_> = self
            .members
            .iter()
            .filter(|(name, value)| !matches!(name.as_str(), "limit" | "page_token") && !value.is_null())
            .collect();
        members.sort_unstable_by_key(|(name, _)| *name);
        for (name, value) in members {
            text.push_str(&format!(" {name}={value}"));
        }
        if text.len() > QUESTION_BYTES_MAX {
            // Questions are kept; a digest tells long ones apart just as well.
            text = format!("{fun} {:x?}", Sha256::digest(&text));
        }
        text
    }
}

/// The text of a scalar as the protocol's first implementation writes it; `None` for arrays, objects and null.
pub fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(true) => Some("True".into()),
        Value::Bool(false) => Some("False".into()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

pub fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(n) => match n.as_i64() {
            Some(n) => Some(n),
            // `as` saturates, which is what a limit or a port far out of range should do.
            None => n.as_f64().map(|f| f.trunc() as i64),
        },
        Value::String(text) => text.trim().parse().ok(),
        Value::Bool(b) => Some(i64::from(*b)),
        _ => None,
    }
}

pub fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Number(n) => n.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Bool(b) => Some(f64::from(u8::from(*b))),
        _ => None,
    }
    .filter(|f| f.is_finite())
}

pub fn switch(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(b) => Some(*b),
        Value::Number(n) if n.as_i64() == Some(0) => Some(false),
        Value::Number(n) if n.as_i64() == Some(1) => Some(true),
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Some(true),
            "false" | "no" | "off" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

pub fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// What a client sent, short enough to be sent back in an error.
pub fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(ECHOED_CHARS_MAX).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    short
}

fn arguments(
    fun: &str,
    args: &RawValue,
    kwargs: &RawValue,
) -> Result<(Vec<Value>, Map<String, Value>), CallError> {
    let args = serde_json::from_str(args.get())
        .map_err(|_| type_error(format_args!("the arguments of {fun} are not an array")))?;
    let named = serde_json::from_str(kwargs.get())
        .map_err(|_| type_error(format_args!("the named arguments of {fun} are not an object")))?;
    Ok((args, named))
}

/// Longer ones are kept by their digest.
const QUESTION_BYTES_MAX: usize = 1024;
/// Enough to recognise what was sent, too little to fill a log.
const ECHOED_CHARS_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.into()).unwrap()
    }

    fn payload(members: &str) -> Payload {
        Payload::read("f", &raw(&format!("[{members}]")), &raw("{}")).unwrap()
    }

    #[test]
    fn absent_null_and_empty_are_all_defaults() {
        for args in ["[]", "[null]", "[{}]", "[[]]"] {
            assert!(Payload::read("f", &raw(args), &raw("{}")).unwrap().members.is_empty(), "{args}");
        }
    }

    #[test]
    fn payloads_of_another_form_are_refused() {
        for args in ["[{},{}]", r#"[["qq"]]"#, r#"["text"]"#, "[5]", "[true]"] {
            let error = Payload::read("f", &raw(args), &raw("{}")).unwrap_err();
            assert!(error.code == 1003 && error.message == "RPC execution failed", "{args}");
        }
        assert!(Payload::ignore("f", &raw(r#"["text"]"#), &raw("{}")).is_ok());
        assert!(Payload::ignore("f", &raw("[{},{}]"), &raw("{}")).is_err());
        assert!(Payload::none("f", &raw("[null]"), &raw("{}")).is_err());
        assert!(Payload::none("f", &raw("[]"), &raw("{}")).is_ok());
    }

    #[test]
    fn named_arguments_override_the_payload() {
        let p = Payload::read("f", &raw(r#"[{"a":1,"b":2}]"#), &raw(r#"{"b":3}"#)).unwrap();
        assert_eq!((p.integer("a").unwrap(), p.integer("b").unwrap()), (Some(1), Some(3)));
        let p = Payload::read("f", &raw("[]"), &raw(r#"{"payload":{"a":1}}"#)).unwrap();
        assert_eq!(p.integer("a").unwrap(), Some(1));
    }

    #[test]
    fn scalars_are_converted() {
        let p = payload(
            r#"{"i":"3","f":2.7,"t":5,"e":"","l":"one","m":["a",2,""],"b":"false","n":null,"x":"12.5"}"#,
        );
        assert_eq!(p.integer("i").unwrap(), Some(3));
        assert_eq!(p.integer("f").unwrap(), Some(2));
        assert_eq!(p.text("t").unwrap().as_deref(), Some("5"));
        assert_eq!(p.text("e").unwrap(), None);
        assert_eq!(p.list("l").unwrap(), ["one"]);
        assert_eq!(p.list("m").unwrap(), ["a", "2"]);
        assert!(p.truth("b") && !p.truth("n") && !p.truth("e"));
        assert_eq!(p.switch("b").unwrap(), Some(false));
        assert_eq!(p.float("x").unwrap(), Some(12.5));
    }

    #[test]
    fn faults_name_the_member_and_are_short() {
        let long = "x".repeat(5000);
        let p = payload(&format!(r#"{{"limit":"many","scope":"{long}","entry_type":["functions"]}}"#));
        assert_eq!(
            p.integer("limit").unwrap_err().details.unwrap(),
            "ValueError: invalid literal for int() with base 10: 'many' (limit)"
        );
        assert!(p.scope("scope").unwrap_err().details.unwrap().to_string().len() < 350);
        assert!(p.text("entry_type").unwrap_err().details.unwrap().to_string().contains("entry_type"));
        for bad in ["1x", "0x10", "one hundred", "6.7"] {
            assert!(payload(&format!(r#"{{"limit":"{bad}"}}"#)).integer("limit").is_err(), "{bad}");
        }
    }

    #[test]
    fn the_question_does_not_depend_on_order_or_page() {
        let a = payload(r#"{"tags":["x"],"namespace":"n","limit":3}"#);
        let b = payload(r#"{"page_token":"3:3","namespace":"n","tags":["x"],"scope":null}"#);
        assert_eq!(a.question("rpc_list"), b.question("rpc_list"));
        let long = |n: usize| payload(&format!(r#"{{"query":"{}"}}"#, "x".repeat(n))).question("f");
        assert!(long(100_000).len() < 300 && long(5000) != long(5001) && long(5000) == long(5000));
    }
}
