//! Results of the discovery functions: members in the order they are put in, without those that are null or empty
//! unless they are kept (client.md 3.3). `false` and `0` are never left out.

use serde_json::{Map, Value};

/// An object under construction.
#[derive(Debug, Default)]
pub struct Reply {
    members: Map<String, Value>,
}

impl Reply {
    pub fn new() -> Reply {
        Reply::default()
    }

    /// Present whatever it is.
    pub fn kept(mut self, name: &str, value: impl Into<Value>) -> Reply {
        self.members.insert(name.into(), value.into());
        self
    }

    /// Left out when null or empty.
    pub fn given(self, name: &str, value: impl Into<Value>) -> Reply {
        let value = value.into();
        let empty = match &value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            Value::Bool(_) | Value::Number(_) => false,
        };
        if empty { self } else { self.kept(name, value) }
    }

    pub fn done(self) -> Value {
        Value::Object(self.members)
    }
}

/// An array of texts.
pub fn texts<T: AsRef<str>>(list: impl IntoIterator<Item = T>) -> Value {
    Value::Array(list.into_iter().map(|t| Value::from(t.as_ref())).collect())
}

/// The value of something that this crate defines and that always can be written; null where a float is not finite.
pub fn value_of(thing: &impl serde::Serialize) -> Value {
    serde_json::to_value(thing).unwrap_or(Value::Null)
}
