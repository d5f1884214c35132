//! `echo` and `echos`, the functions that every node has beside discovery (client.md 3.1): text in, text out.

use serde_json::value::RawValue;

use crate::core::error::CallError;
use crate::core::rpc::text::listed;
use crate::wire::json;

/// The one argument, positional or named `arg`.
pub fn echo<'a>(args: &'a RawValue, kwargs: &'a RawValue) -> Result<&'a RawValue, CallError> {
    let (first, positional) =
        json::first_elements(args, 1).ok_or_else(|| CallError::failed(ARGS_NO_ARRAY))?;
    let named = json::first_members(kwargs, NAMES_MAX).ok_or_else(|| CallError::failed(KWARGS_NO_OBJECT))?;
    let given = match (first.first().copied(), named.0.as_slice()) {
        (Some(value), []) if positional == 1 => return Ok(value),
        (None, [(name, value)]) if name == "arg" => return Ok(value),
        (None, []) => "none was given".to_owned(),
        (_, []) => format!("{positional} were given"),
        (_, named) => {
            let names = listed(named.iter().map(|(name, _)| &**name));
            format!("{positional} positional and the named {names} were given")
        }
    };
    let text = format!("TypeError: echo() takes exactly one argument, positional or named arg; {given}");
    Err(CallError::failed(text))
}

/// All positional arguments as an array.
pub fn echos<'a>(args: &'a RawValue, kwargs: &RawValue) -> Result<&'a RawValue, CallError> {
    let named = json::first_members(kwargs, NAMES_MAX).ok_or_else(|| CallError::failed(KWARGS_NO_OBJECT))?;
    if named.0.is_empty() {
        return Ok(args);
    }
    let names = listed(named.0.iter().map(|(name, _)| &**name));
    Err(CallError::failed(format!(
        "TypeError: echos() takes positional arguments only; {names} was given by name"
    )))
}

/// One is right and a few make a good error; of more only these are looked at.
const NAMES_MAX: usize = 8;
const ARGS_NO_ARRAY: &str = "TypeError: args must be an array";
const KWARGS_NO_OBJECT: &str = "TypeError: kwargs must be an object";

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> &RawValue {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn echo_takes_one_argument() {
        for (args, kwargs, value) in [
            ("[1]", "{}", "1"),
            (r#"[ {"a" :[1]} ]"#, "{}", r#"{"a" :[1]}"#),
            ("[]", r#"{"arg":null}"#, "null"),
            ("[[]]", "{}", "[]"),
        ] {
            assert_eq!(echo(raw(args), raw(kwargs)).unwrap().get(), value);
        }
        for (args, kwargs, word) in [
            ("[]", "{}", "none"),
            ("[1,2]", "{}", "2 were given"),
            ("[1]", r#"{"colour":1}"#, "colour"),
            ("[1]", r#"{"arg":2}"#, "1 positional and the named arg"),
            ("[]", r#"{"arg":2,"b":3}"#, "arg, b"),
        ] {
            let error = echo(raw(args), raw(kwargs)).unwrap_err();
            let details = error.details.unwrap().to_string();
            assert_eq!(error.code, 1003);
            assert!(details.contains("exactly one argument") && details.contains(word), "{details}");
        }
    }

    #[test]
    fn echos_takes_positional_arguments() {
        assert_eq!(echos(raw("[1, \"a\"]"), raw("{}")).unwrap().get(), "[1, \"a\"]");
        let many = format!("{{{}\"z\":1}}", (0..5000).map(|i| format!("\"n{i}\":1,")).collect::<String>());
        let details = echos(raw("[]"), raw(&many)).unwrap_err().details.unwrap().to_string();
        assert!(details.contains("n0") && details.len() < 500, "{details}");
    }
}
