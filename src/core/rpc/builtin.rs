//! `echo` and `echos`, the functions that every node has beside discovery (client.md 3.1): text in, text out.

use serde_json::value::RawValue;

use crate::core::error::CallError;
use crate::core::rpc::text::listed;
use crate::wire::json;

/// The one argument, positional or named `arg`.
pub fn echo<'a>(args: &'a RawValue, kwargs: &'a RawValue) -> Result<&'a RawValue, CallError> {
    let (first, positional) = json::first_and_count(args).ok_or_else(|| CallError::failed(ARGS_NO_ARRAY))?;
    let named = json::members(kwargs).ok_or_else(|| CallError::failed(KWARGS_NO_OBJECT))?;
    let given = match (first, named.0.as_slice()) {
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
    let named = json::members(kwargs).ok_or_else(|| CallError::failed(KWARGS_NO_OBJECT))?;
    if named.0.is_empty() {
        return Ok(args);
    }
    let names = listed(named.0.iter().map(|(name, _)| &**name));
    Err(CallError::failed(format!(
        "TypeError: echos() takes positional arguments only; {names} was given by name"
    )))
}

const ARGS_NO_ARRAY: &str = "TypeError: args must be an array";
const KWARGS_NO_OBJECT: &str = "TypeError: kwargs must be an object";
