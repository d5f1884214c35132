//! The functions of this node and what they say about themselves: the built-ins and the declared functions. It
//! yields the catalog entries that the node announces. Name and id are one-to-one, and a version exists once.

use std::sync::Arc;

use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::LocalNode;
use super::builtin;
use super::filter::in_any;
use super::settings::RpcSpecSettings;
use super::spec::{Documentation, Parameter, ParameterDefault, ParameterKind, Placement, Spec};
use crate::core::catalog::{FunctionEntry, FunctionVersion, Identity, Scope, Text, namespace_of};
use crate::core::reason::Reason;

/// A function that this node is to serve.
#[derive(Debug, Clone)]
pub struct FunctionDeclaration {
    pub name: Text,
    /// The name, where nothing is said.
    pub function_id: Option<Text>,
    pub version: FunctionVersion,
    pub resources: Vec<Text>,
    pub tags: Vec<Text>,
    pub scope: Scope,
    /// The name up to its last dot, where nothing is said.
    pub namespace: Option<Text>,
    pub capabilities: Vec<Text>,
    /// One line for its reader.
    pub summary: Text,
    pub description: Text,
    /// Any arguments, where nothing is said.
    pub parameters: Option<Vec<Parameter>>,
}

/// One function of this node with its description.
#[derive(Debug)]
pub struct Description {
    pub identity: Identity,
    pub placement: Placement,
    /// The one line of its documentation.
    pub line: Text,
    pub summary: Value,
    pub spec: Value,
    pub digest: Text,
    summary_raw: Option<Arc<RawValue>>,
    /// Set where the description is shared through the catalog.
    spec_raw: Option<Arc<RawValue>>,
}

/// All functions of this node, in the order of their identities.
#[derive(Debug)]
pub struct Registry {
    functions: Vec<Arc<Description>>,
    sharing: RpcSpecSettings,
}

impl Registry {
    /// Holds the 25 built-ins.
    pub fn new(sharing: RpcSpecSettings) -> Registry {
        let mut registry = Registry { functions: Vec::new(), sharing };
        for (identity, placement, about) in builtin::descriptions() {
            registry.add(identity, placement, &about);
        }
        registry
    }

    /// Adds a declared function; refused where its identity is in conflict.
    pub fn register(&mut self, function: FunctionDeclaration) -> Result<Arc<Description>, (Reason, String)> {
        let namespace = function.namespace.unwrap_or_else(|| namespace_of(&function.name).into());
        let function_id = function.function_id.unwrap_or_else(|| function.name.clone());
        let identity = Identity { name: function.name, function_id, version: function.version };
        for known in &self.functions {
            let known = &known.identity;
            let same_name = known.name == identity.name;
            if same_name != (known.function_id == identity.function_id) {
                let text = format!(
                    "{} with id {} is in conflict with {} with id {}",
                    identity.name, identity.function_id, known.name, known.function_id
                );
                return Err((Reason::EntryConflict, text));
            }
            if same_name && known.version == identity.version {
                let text = format!("{} {} exists already", identity.name, identity.version);
                return Err((Reason::EntryConflict, text));
            }
        }
        let about = Documentation {
            summary: function.summary,
            description: function.description,
            parameters: function.parameters.unwrap_or_else(any_arguments),
            return_type: "Any".into(),
            return_doc: "".into(),
        };
        let placement = Placement {
            namespace,
            resources: set(function.resources),
            tags: set(function.tags),
            scope: function.scope,
            capabilities: set(function.capabilities),
        };
        Ok(self.add(identity, placement, &about))
    }

    pub fn sharing(&self) -> &RpcSpecSettings {
        &self.sharing
    }

    pub fn functions(&self) -> &[Arc<Description>] {
        &self.functions
    }

    pub fn find(&self, identity: &Identity) -> Option<&Arc<Description>> {
        let place = self.functions.binary_search_by(|d| d.identity.cmp(identity)).ok()?;
        self.functions.get(place)
    }

    /// The catalog entries of all functions, as of now.
    pub fn entries(&self, node: &LocalNode, now: f64) -> Vec<Arc<FunctionEntry>> {
        self.functions.iter().map(|d| Arc::new(d.entry(node, now))).collect()
    }

    fn add(&mut self, identity: Identity, placement: Placement, about: &Documentation) -> Arc<Description> {
        let Spec { full, summary, digest, canonical_bytes } = Spec::new(&identity, &placement, about);
        let shared = self.sharing.full
            && in_any(&placement.namespace, &self.sharing.namespaces)
            && self.sharing.bytes_max.is_none_or(|max| canonical_bytes <= max);
        let raw = |value: &Value| to_raw_value(value).ok().map(Arc::from);
        let line = summary.get("summary").and_then(Value::as_str).unwrap_or_default().into();
        let description = Arc::new(Description {
            summary_raw: raw(&summary),
            spec_raw: if shared { raw(&full) } else { None },
            identity,
            placement,
            line,
            summary,
            spec: full,
            digest,
        });
        let place = self.functions.partition_point(|d| d.identity < description.identity);
        self.functions.insert(place, description.clone());
        description
    }
}

impl Description {
    /// The entry that `node` announces for this function.
    pub fn entry(&self, node: &LocalNode, now: f64) -> FunctionEntry {
        FunctionEntry {
            identity: self.identity.clone(),
            resources: self.placement.resources.clone(),
            node_id: node.node_id.clone(),
            cluster_id: node.cluster_id.clone(),
            scope: self.placement.scope,
            tags: self.placement.tags.clone(),
            advertised_at: now,
            ttl_seconds: node.catalog_ttl_seconds,
            rpc_summary: self.summary_raw.clone(),
            rpc_spec: self.spec_raw.clone(),
            spec_digest: Some(self.digest.clone()),
        }
    }
}

/// `*args` and `**kwargs`: what is known of a worker that says nothing.
fn any_arguments() -> Vec<Parameter> {
    [("args", ParameterKind::VarPositional), ("kwargs", ParameterKind::VarKeyword)]
        .map(|(name, kind)| Parameter {
            name: name.into(),
            kind,
            type_name: "Any".into(),
            is_optional: false,
            required: false,
            default: ParameterDefault::None,
            doc: "".into(),
        })
        .into()
}

fn set(mut list: Vec<Text>) -> Vec<Text> {
    list.retain(|t| !t.is_empty());
    list.sort_unstable();
    list.dedup();
    list
}

#[cfg(test)]
mod tests {
    use super::super::spec::spec_digest;
    use super::super::testing::{declaration, local_node};
    use super::*;

    #[test]
    fn built_ins_describe_themselves() {
        let registry = Registry::new(RpcSpecSettings::default());
        assert_eq!(registry.functions().len(), 25);
        for description in registry.functions() {
            assert_eq!(spec_digest(&description.spec), &*description.digest);
            assert!(!description.line.is_empty());
        }
        let echo = registry.functions().iter().find(|d| &*d.identity.name == "echo").unwrap();
        let parameter = &echo.spec["parameters"][0];
        assert_eq!(
            serde_json::json!([parameter["name"], parameter["kind"], parameter["required"]]),
            serde_json::json!(["arg", "positional_or_keyword", true])
        );
        let entries = registry.entries(&local_node(), 5.0);
        assert!(
            entries.iter().all(|e| e.rpc_spec.is_none() && e.rpc_summary.is_some() && e.ttl_seconds == 120.0)
        );
    }

    #[test]
    fn identities_stay_one_to_one() {
        let mut registry = Registry::new(RpcSpecSettings::default());
        let version = |v: &str| FunctionVersion::parse(v).unwrap();
        assert!(registry.register(declaration("svc.f")).is_ok());
        assert!(
            registry.register(FunctionDeclaration { version: version("2"), ..declaration("svc.f") }).is_ok()
        );
        for refused in [
            declaration("svc.f"),
            declaration("echo"),
            FunctionDeclaration {
                function_id: Some("other".into()),
                version: version("3"),
                ..declaration("svc.f")
            },
            FunctionDeclaration { function_id: Some("svc.f".into()), ..declaration("svc.g") },
        ] {
            assert_eq!(registry.register(refused).unwrap_err().0, Reason::EntryConflict);
        }
        assert_eq!(registry.functions().len(), 27);
    }

    #[test]
    fn full_descriptions_are_shared_where_the_settings_say_so() {
        let sharing = RpcSpecSettings { full: true, namespaces: vec!["svc".into()], bytes_max: Some(1200) };
        let mut registry = Registry::new(sharing);
        registry.register(declaration("svc.small")).unwrap();
        registry
            .register(FunctionDeclaration { description: "x".repeat(2000).into(), ..declaration("svc.big") })
            .unwrap();
        registry.register(declaration("other.small")).unwrap();
        let shared: Vec<_> = registry
            .entries(&local_node(), 0.0)
            .into_iter()
            .filter(|e| e.rpc_spec.is_some())
            .map(|e| e.identity.name.to_string())
            .collect();
        assert_eq!(shared, ["svc.small"]);
    }
}
