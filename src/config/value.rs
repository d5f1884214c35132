//! A setting's value after its type was checked, and the layers of values that places of different rank supply.
//!
//! A layer maps the dotted path of a key to its value and origin. Laying one over another is all there is to
//! precedence. Secrets are kept apart from text from the moment they are read and show themselves to nobody.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use zeroize::Zeroizing;

use super::fault::Origin;

/// A value whose type and range are right for its key.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Word(&'static str),
    Duration(Duration),
    Size(u64),
    /// Seconds since 1970.
    Time(f64),
    Secret(Secret),
    List(Vec<Value>),
    /// A table with names of the user's choice.
    Map(BTreeMap<String, Value>),
    /// The elements of `[[...]]`.
    Elements(Vec<Element>),
}

/// One element of a list of tables, with the origin of its head.
#[derive(Debug, Clone)]
pub struct Element {
    pub origin: Origin,
    pub members: Layer,
}

/// A value and where it comes from.
#[derive(Debug, Clone)]
pub struct Setting {
    pub value: Value,
    pub origin: Origin,
}

/// Values by dotted path (in an element: by the path below the element).
pub type Layer = BTreeMap<String, Setting>;

/// Text that is shown to nobody, compared in constant time and wiped when it goes. Empty: none is set.
#[derive(Clone, Default)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn new(text: String) -> Secret {
        Secret(Zeroizing::new(text))
    }

    /// The secret itself, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        use subtle::ConstantTimeEq;
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "Secret(none)" } else { "Secret(not shown)" })
    }
}

/// Elements are equal when their values are, wherever they were written.
impl PartialEq for Element {
    fn eq(&self, other: &Element) -> bool {
        same_values(&self.members, &other.members)
    }
}

/// True when both layers say the same, wherever it was written.
pub fn same_values(a: &Layer, b: &Layer) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|((k, v), (l, w))| k == l && v.value == w.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show_itself() {
        let secret = Secret::new("hunter2".into());
        assert!(!format!("{secret:?} {:?}", Value::Secret(secret.clone())).contains("hunter2"));
        assert_eq!(secret.reveal(), "hunter2");
        assert!(secret != Secret::default() && Secret::default().is_empty());
    }
}
