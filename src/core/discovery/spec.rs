//! Descriptions of functions in the form of the wire (fabric.md 6.8, client.md 4.7) and their digest: SHA-256 over the
//! description without its digest as JSON with sorted keys, no blanks and all but ASCII escaped.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::reply::{texts, value_of};
use crate::core::catalog::{Identity, Scope, Text};

/// One parameter of a function.
#[derive(Debug, Clone)]
pub struct Parameter {
    pub name: Text,
    pub kind: ParameterKind,
    pub type_name: Text,
    /// It may also be null.
    pub is_optional: bool,
    pub required: bool,
    pub default: ParameterDefault,
    pub doc: Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterKind {
    PositionalOnly,
    PositionalOrKeyword,
    VarPositional,
    KeywordOnly,
    VarKeyword,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ParameterDefault {
    None,
    Json(Value),
}

/// What a function says about itself, beside its identity.
#[derive(Debug, Clone)]
pub struct Documentation {
    /// One line; where empty it is the name with blanks for underscores.
    pub summary: Text,
    pub description: Text,
    pub parameters: Vec<Parameter>,
    pub return_type: Text,
    pub return_doc: Text,
}

/// Where a function belongs.
#[derive(Debug, Clone)]
pub struct Placement {
    pub namespace: Text,
    pub resources: Vec<Text>,
    pub tags: Vec<Text>,
    pub scope: Scope,
    pub capabilities: Vec<Text>,
}

/// The three forms of one description.
#[derive(Debug, Clone)]
pub struct Spec {
    /// `spec` of rpc_describe.
    pub full: Value,
    /// `rpc_summary` of a catalog entry.
    pub summary: Value,
    pub digest: Text,
    /// Bytes of the canonical form.
    pub canonical_bytes: usize,
}

impl Spec {
    pub fn new(identity: &Identity, placement: &Placement, about: &Documentation) -> Spec {
        let summary = if about.summary.is_empty() {
            identity.name.replace('_', " ")
        } else {
            about.summary.to_string()
        };
        let param_docs: Vec<Value> = about
            .parameters
            .iter()
            .filter(|p| !p.doc.is_empty())
            .map(|p| json!({"name": &*p.name, "description": &*p.doc}))
            .collect();
        let identity = value_of(identity);
        let return_type = type_spec(&about.return_type, false);
        let mut full = json!({
            "identity": identity,
            "namespace": &*placement.namespace,
            "doc": {
                "summary": summary,
                "description": &*about.description,
                "param_docs": param_docs,
                "return_doc": &*about.return_doc,
            },
            "parameters": about.parameters.iter().map(Parameter::value).collect::<Vec<_>>(),
            "return_spec": {"type_spec": return_type, "doc": &*about.return_doc},
            "resources": texts(&placement.resources),
            "tags": texts(&placement.tags),
            "scope": placement.scope.word(),
            "capabilities": texts(&placement.capabilities),
            "examples": [],
            "spec_version": SPEC_VERSION,
        });
        let canonical = digest_text(&full);
        let digest = hex(&Sha256::digest(&canonical));
        if let Value::Object(members) = &mut full {
            members.insert("spec_digest".into(), digest.as_str().into());
        }
        let summary = json!({
            "identity": identity,
            "namespace": &*placement.namespace,
            "summary": summary,
            "parameter_count": about.parameters.len(),
            "required_parameter_count": about.parameters.iter().filter(|p| p.required).count(),
            "return_type": return_type,
            "spec_version": SPEC_VERSION,
            "spec_digest": digest,
        });
        Spec { full, summary, digest: digest.into(), canonical_bytes: canonical.len() }
    }
}

impl Parameter {
    fn value(&self) -> Value {
        let default = match &self.default {
            ParameterDefault::None => json!({"has_default": false, "encoding": "none"}),
            // A null is left out here but belongs to the digest.
            ParameterDefault::Json(Value::Null) => json!({"has_default": true, "encoding": "json"}),
            ParameterDefault::Json(value) => {
                json!({"has_default": true, "encoding": "json", "json_value": value})
            }
        };
        json!({
            "name": &*self.name,
            "kind": self.kind.word(),
            "type_spec": type_spec(&self.type_name, self.is_optional),
            "required": self.required,
            "default": default,
            "doc": &*self.doc,
        })
    }
}

impl ParameterKind {
    pub fn word(self) -> &'static str {
        match self {
            ParameterKind::PositionalOnly => "positional_only",
            ParameterKind::PositionalOrKeyword => "positional_or_keyword",
            ParameterKind::VarPositional => "var_positional",
            ParameterKind::KeywordOnly => "keyword_only",
            ParameterKind::VarKeyword => "var_keyword",
        }
    }
}

/// The digest of a description in the form of the wire, with or without its `spec_digest`.
pub fn spec_digest(spec: &Value) -> String {
    hex(&Sha256::digest(digest_text(spec)))
}

/// JSON with sorted keys, no blanks, and `\u` escapes for all but ASCII.
pub fn canonical_json(value: &Value) -> String {
    let mut text = String::new();
    write_canonical(value, &mut text);
    text
}

fn digest_text(spec: &Value) -> String {
    let mut spec = spec.clone();
    if let Value::Object(members) = &mut spec {
        members.shift_remove("spec_digest");
    }
    for parameter in spec.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(Value::Object(default)) = parameter.get_mut("default") else { continue };
        if default.get("encoding").is_some_and(|e| e == "json") && !default.contains_key("json_value") {
            default.insert("json_value".into(), Value::Null);
        }
    }
    canonical_json(&spec)
}

fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<(&String, &Value)> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            text.push('{');
            for (place, (name, value)) in members.into_iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                write_text(name, text);
                text.push(':');
                write_canonical(value, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                write_canonical(item, text);
            }
            text.push(']');
        }
        Value::String(s) => write_text(s, text),
        Value::Null | Value::Bool(_) | Value::Number(_) => text.push_str(&value.to_string()),
    }
}

fn write_text(s: &str, text: &mut String) {
    for c in Value::from(s).to_string().chars() {
        if c.is_ascii() {
            text.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
}

fn type_spec(display: &str, is_optional: bool) -> Value {
    let mut members = Map::new();
    members.insert("display".into(), display.into());
    members.insert("args".into(), Value::Array(Vec::new()));
    members.insert("is_optional".into(), is_optional.into());
    Value::Object(members)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

const SPEC_VERSION: &str = "1";

#[cfg(test)]
mod tests {
    use super::super::testing::{sample, shape};
    use super::*;

    const VECTOR: &str = include_str!("../../../tests/interop/fabric/vectors_rpc_spec_digest.json");

    fn vector() -> Value {
        serde_json::from_str(VECTOR).unwrap()
    }

    #[test]
    fn the_vector_is_reproduced() {
        let vector = vector();
        let mut plain = vector["spec"].clone();
        plain.as_object_mut().unwrap().remove("spec_digest");
        assert_eq!(canonical_json(&plain), vector["canonical_utf8"].as_str().unwrap());
        for spec in [&plain, &vector["spec"]] {
            assert_eq!(spec_digest(spec), vector["sha256"].as_str().unwrap());
        }
        assert_eq!(vector["spec"]["spec_digest"], vector["sha256"]);
        assert_eq!(vector["summary"]["spec_digest"], vector["sha256"]);
    }

    #[test]
    fn the_function_of_the_vector_is_described_the_same() {
        let parameter = |name: &str, type_name: &str, default: ParameterDefault| Parameter {
            name: name.into(),
            kind: ParameterKind::PositionalOrKeyword,
            type_name: type_name.into(),
            is_optional: false,
            required: default == ParameterDefault::None,
            default,
            doc: "".into(),
        };
        let about = Documentation {
            summary: "svc.add".into(),
            description: "".into(),
            parameters: vec![
                parameter("x", "int", ParameterDefault::None),
                parameter("y", "float", ParameterDefault::Json(json!(1.5))),
            ],
            return_type: "dict".into(),
            return_doc: "".into(),
        };
        let placement = Placement {
            namespace: "svc".into(),
            resources: ["cpu", "gpu"].map(Text::from).into(),
            tags: ["a", "b"].map(Text::from).into(),
            scope: Scope::Global,
            capabilities: Vec::new(),
        };
        // The classes of Python behind its types are not told of a function that is written in anything.
        fn without_classes(value: &mut Value) {
            match value {
                Value::Object(members) => {
                    members.shift_remove("module");
                    members.shift_remove("qualname");
                    members.values_mut().for_each(without_classes);
                }
                Value::Array(items) => items.iter_mut().for_each(without_classes),
                _ => {}
            }
        }
        let mut vector = vector();
        without_classes(&mut vector);
        let digest = spec_digest(&vector["spec"]);
        for part in ["spec", "summary"] {
            vector[part]["spec_digest"] = json!(digest);
        }
        let identity = serde_json::from_value(vector["spec"]["identity"].clone()).unwrap();
        let spec = Spec::new(&identity, &placement, &about);
        assert_eq!(spec.full.to_string(), vector["spec"].to_string());
        assert_eq!(spec.summary.to_string(), vector["summary"].to_string());
        assert_eq!((&*spec.digest, spec.canonical_bytes), (&*digest, digest_text(&vector["spec"]).len()));
    }

    #[test]
    fn a_captured_description_keeps_its_digest() {
        for name in ["rpc_describe_local_fn", "rpc_describe_kw"] {
            let item = sample(name)["result"]["items"][0].clone();
            assert_eq!(spec_digest(&item["spec"]), item["spec_digest"].as_str().unwrap(), "{name}");
        }
    }

    #[test]
    fn all_but_ascii_is_escaped() {
        assert_eq!(
            canonical_json(&json!({"b": "é\n", "a": ["😀", null, true, 3]})),
            r#"{"a":["\ud83d\ude00",null,true,3],"b":"\u00e9\n"}"#
        );
    }

    #[test]
    fn a_description_has_the_captured_shape() {
        let captured = sample("rpc_describe_kw")["result"]["items"][0].clone();
        let parameter = |name: &str, kind, required| Parameter {
            name: name.into(),
            kind,
            type_name: "Any".into(),
            is_optional: false,
            required,
            default: ParameterDefault::None,
            doc: "".into(),
        };
        let about = Documentation {
            summary: "".into(),
            description: "".into(),
            parameters: vec![
                parameter("a", ParameterKind::PositionalOrKeyword, true),
                parameter("b", ParameterKind::KeywordOnly, false),
            ],
            return_type: "Any".into(),
            return_doc: "".into(),
        };
        let placement = Placement {
            namespace: "".into(),
            resources: Vec::new(),
            tags: Vec::new(),
            scope: Scope::Zone,
            capabilities: Vec::new(),
        };
        let identity = serde_json::from_value(captured["identity"].clone()).unwrap();
        let spec = Spec::new(&identity, &placement, &about);
        let without_types = |mut value: Value| {
            value.as_object_mut().unwrap().shift_remove("parameters");
            value.as_object_mut().unwrap().shift_remove("return_spec");
            value.as_object_mut().unwrap().shift_remove("return_type");
            shape(&value)
        };
        assert_eq!(without_types(spec.full.clone()), without_types(captured["spec"].clone()));
        assert_eq!(without_types(spec.summary), without_types(captured["summary"].clone()));
        assert_eq!(spec_digest(&spec.full), &*spec.digest);
    }
}
