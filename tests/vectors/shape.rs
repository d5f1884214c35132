//! Whether a message has the members of another, with values of the same types.

use std::collections::BTreeSet;

use serde_json::Value;

/// What may differ between two shapes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Leave<'a> {
    /// Members that were captured and that the message of ours may do without.
    pub less: &'a [&'a str],
    /// Members that only the message of ours has.
    pub more: &'a [&'a str],
    /// Members whose values are looked at no further: what an application or another node put there.
    pub opaque: &'a [&'a str],
}

/// Every difference of `ours` from `captured`, with its place. A null stands for any type, and of lists every item of
/// ours is compared with the first that was captured.
pub fn differences(ours: &Value, captured: &Value, leave: Leave) -> Vec<String> {
    let mut found = Vec::new();
    compare(ours, captured, "", leave, &mut found);
    found
}

fn compare(ours: &Value, captured: &Value, place: &str, leave: Leave, found: &mut Vec<String>) {
    match (ours, captured) {
        (Value::Object(ours), Value::Object(captured)) => {
            let names = |of: &serde_json::Map<String, Value>| of.keys().cloned().collect::<BTreeSet<_>>();
            for name in names(captured).difference(&names(ours)) {
                if !leave.less.contains(&name.as_str()) {
                    found.push(format!("{place}.{name} is missing"));
                }
            }
            for name in names(ours).difference(&names(captured)) {
                if !leave.more.contains(&name.as_str()) {
                    found.push(format!("{place}.{name} was not captured"));
                }
            }
            for (name, value) in ours {
                let Some(other) = captured.get(name) else { continue };
                let place = format!("{place}.{name}");
                if !leave.opaque.contains(&name.as_str()) {
                    compare(value, other, &place, leave, found);
                } else if kind(value) != kind(other) {
                    found.push(format!("{place} is {} and not {}", kind(value), kind(other)));
                }
            }
        }
        (Value::Array(ours), Value::Array(captured)) => {
            for item in ours {
                if let Some(first) = captured.first() {
                    compare(item, first, &format!("{place}[]"), leave, found);
                }
            }
        }
        (Value::Null, _) | (_, Value::Null) => {}
        _ if kind(ours) != kind(captured) => {
            found.push(format!("{place} is {} and not {}", kind(ours), kind(captured)));
        }
        _ => {}
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a float",
        Value::Number(_) => "an integer",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[test]
fn each_difference_is_named() {
    let captured = serde_json::json!({"a": 1, "b": [{"c": 1.5}], "d": null, "e": {"x": 1}});
    let ours = serde_json::json!({"a": 1.0, "b": [{"c": 2.5}, {"c": "t"}], "d": "t", "e": {}, "f": 0});
    let leave = Leave { opaque: &["e"], ..Leave::default() };
    let found = differences(&ours, &captured, leave);
    assert_eq!(
        found,
        [".f was not captured", ".a is a float and not an integer", ".b[].c is a text and not a float"]
    );
    let less = differences(&serde_json::json!({"a": 1}), &captured, Leave { less: &["b", "d"], ..leave });
    assert_eq!(less, [".e is missing"]);
    assert_eq!(differences(&captured, &captured, Leave::default()), [""; 0]);
}
