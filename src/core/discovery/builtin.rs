//! The names of the built-in functions and their descriptions. One table: who adds a built-in adds a line here.

use super::spec::{Documentation, Parameter, ParameterDefault, ParameterKind, Placement};
use crate::core::catalog::{FunctionVersion, Identity, Scope};

/// The built-ins that always run on the node that is asked (client.md 2.6), in alphabetical order.
pub const FORCED_LOCAL: [&str; 23] = [
    "catalog_query",
    "catalog_watch",
    "cluster_map",
    "cluster_map_v2",
    "discovery_access_audit",
    "dns_describe",
    "dns_list",
    "dns_register",
    "dns_unregister",
    "list_peers",
    "namespace_policy_apply",
    "namespace_policy_audit",
    "namespace_policy_export",
    "namespace_policy_validate",
    "namespace_status",
    "resolver_cache_stats",
    "resolver_resync",
    "rpc_describe",
    "rpc_describe_local",
    "rpc_list",
    "rpc_report",
    "summary_query",
    "summary_watch",
];

/// How a built-in is called.
enum Takes {
    Nothing,
    OneValue,
    Values,
    /// An optional object, whose members may also be given by name; the text says which ones.
    Payload(&'static str),
}

use Takes::{Nothing, OneValue, Payload, Values};

/// Name, one line, the arguments, type and meaning of the result.
const BUILTINS: [(&str, &str, Takes, &str, &str); 25] = [
    (
        "catalog_query",
        "Search the catalog for entries of one type.",
        Payload(
            "entry_type (required: functions, nodes, queues, topics, services, caches, cache_profiles), namespace, scope, capabilities, resources, tags, cluster_id, node_id, function_name, function_id, version_constraint, queue_name, service_name, service_protocol, service_port, topic, viewer_tenant_id, limit, page_token",
        ),
        "object",
        "One page of entries in a fixed order.",
    ),
    (
        "catalog_watch",
        "Name the topic on which changes of the catalog are told.",
        Payload("namespace, scope, cluster_id, viewer_tenant_id"),
        "object",
        "The topic to subscribe to.",
    ),
    ("cluster_map", "Show every node that this node knows.", Nothing, "object", "All nodes with their load."),
    (
        "cluster_map_v2",
        "Show the nodes that fit, page by page.",
        Payload(
            "scope, namespace_filter, capabilities, resources, cluster_id, viewer_tenant_id, limit, page_token",
        ),
        "object",
        "One page of nodes with their load.",
    ),
    (
        "discovery_access_audit",
        "Show which questions were refused.",
        Payload("limit"),
        "object",
        "The newest refusals, oldest first.",
    ),
    (
        "dns_describe",
        "Look up services that are registered for DNS.",
        Payload(
            "namespace, name, protocol, port, scope, tags, capabilities, cluster_id, node_id, limit, page_token",
        ),
        "object",
        "One page of services.",
    ),
    (
        "dns_list",
        "List services that are registered for DNS.",
        Payload(
            "namespace, name, protocol, port, scope, tags, capabilities, cluster_id, node_id, limit, page_token",
        ),
        "object",
        "One page of services.",
    ),
    (
        "dns_register",
        "Register a service for DNS; the same key again replaces it.",
        Payload(
            "name, namespace, protocol, port, targets, scope, tags, capabilities, metadata, priority, weight, ttl_seconds",
        ),
        "object",
        "The registration as it is kept.",
    ),
    (
        "dns_unregister",
        "Remove a service that this node holds.",
        Payload("name, namespace, protocol, port"),
        "object",
        "Whether there was one.",
    ),
    ("echo", "Give back what was sent.", OneValue, "Any", "The argument."),
    ("echos", "Give back all that was sent, as a list.", Values, "array", "The arguments in their order."),
    (
        "list_peers",
        "List the other nodes with what they offer.",
        Payload("scope, cluster_id"),
        "array",
        "The nodes in the order of their URLs.",
    ),
    (
        "namespace_policy_apply",
        "Replace the namespace policy of this node.",
        Payload("rules, enabled, default_allow, actor"),
        "object",
        "Whether it was applied, and every fault.",
    ),
    (
        "namespace_policy_audit",
        "Show who checked or changed the namespace policy.",
        Payload("limit"),
        "object",
        "The newest changes, oldest first.",
    ),
    (
        "namespace_policy_export",
        "Show the namespace policy in force.",
        Payload("nothing; it is ignored"),
        "object",
        "The rules in their order.",
    ),
    (
        "namespace_policy_validate",
        "Check rules without applying them.",
        Payload("rules, actor"),
        "object",
        "Whether they are valid, and every fault.",
    ),
    (
        "namespace_status",
        "Say whether a namespace is visible, and by which rule.",
        Payload("namespace, viewer_tenant_id"),
        "object",
        "The decision with its reason.",
    ),
    (
        "resolver_cache_stats",
        "Show what the discovery cache of a resolver holds.",
        Payload("nothing; it is ignored"),
        "object",
        "Counters; all zero where the node is no resolver.",
    ),
    (
        "resolver_resync",
        "Fill the discovery cache of a resolver anew.",
        Payload("nothing; it is ignored"),
        "object",
        "Whether it was done.",
    ),
    (
        "rpc_describe",
        "Describe functions wherever they run.",
        Payload(
            "namespace, scope, capabilities, resources, tags, cluster_id, node_id, function_name, function_id, version_constraint, query, mode, detail_level, spec_digests, function_names, function_ids, max_nodes, timeout_seconds, viewer_tenant_id, limit, page_token",
        ),
        "object",
        "One page of descriptions, and the nodes that did not answer.",
    ),
    (
        "rpc_describe_local",
        "Describe the functions of this node.",
        Payload(
            "namespace, scope, capabilities, resources, tags, cluster_id, node_id, function_name, function_id, version_constraint, query, detail_level, spec_digests, function_names, function_ids, viewer_tenant_id, limit, page_token",
        ),
        "object",
        "One page of descriptions.",
    ),
    (
        "rpc_list",
        "List functions with a short description.",
        Payload(
            "namespace, scope, capabilities, resources, tags, cluster_id, node_id, function_name, function_id, version_constraint, query, viewer_tenant_id, limit, page_token",
        ),
        "object",
        "One page of functions.",
    ),
    (
        "rpc_report",
        "Count functions by namespace, cluster and tag.",
        Payload("namespace, scope, viewer_tenant_id"),
        "object",
        "The counts, largest first.",
    ),
    (
        "summary_query",
        "Show services in short, with the way to them.",
        Payload(
            "scope, namespace, service_id, include_ingress, ingress_limit, ingress_scope, ingress_capabilities, ingress_tags, viewer_tenant_id, limit, page_token",
        ),
        "object",
        "One page of summaries.",
    ),
    (
        "summary_watch",
        "Name the topic on which summaries are told.",
        Payload("scope, namespace, cluster_id, viewer_tenant_id"),
        "object",
        "The topic to subscribe to.",
    ),
];

/// True for the 23 that discovery answers.
pub fn is_builtin(fun: &str) -> bool {
    FORCED_LOCAL.binary_search(&fun).is_ok()
}

/// True for all 25.
pub fn is_builtin_name(name: &str) -> bool {
    is_builtin(name) || matches!(name, "echo" | "echos")
}

/// What the registry needs of each.
pub fn descriptions() -> impl Iterator<Item = (Identity, Placement, Documentation)> {
    BUILTINS.iter().map(|(name, line, takes, return_type, return_doc)| {
        let identity = Identity {
            name: (*name).into(),
            function_id: (*name).into(),
            version: FunctionVersion(semver::Version::new(1, 0, 0)),
        };
        let placement = Placement {
            namespace: "".into(),
            resources: Vec::new(),
            tags: Vec::new(),
            scope: Scope::Zone,
            capabilities: Vec::new(),
        };
        let about = Documentation {
            summary: (*line).into(),
            description: "".into(),
            parameters: takes.parameters(),
            return_type: (*return_type).into(),
            return_doc: (*return_doc).into(),
        };
        (identity, placement, about)
    })
}

impl Takes {
    fn parameters(&self) -> Vec<Parameter> {
        let parameter = |name: &str, kind, type_name: &str, doc: &str| Parameter {
            name: name.into(),
            kind,
            type_name: type_name.into(),
            is_optional: false,
            required: false,
            default: ParameterDefault::None,
            doc: doc.into(),
        };
        match self {
            Nothing => Vec::new(),
            OneValue => vec![Parameter {
                required: true,
                ..parameter("arg", ParameterKind::PositionalOrKeyword, "Any", "What to give back.")
            }],
            Values => vec![parameter("args", ParameterKind::VarPositional, "Any", "What to give back.")],
            Payload(members) => vec![
                Parameter {
                    is_optional: true,
                    default: ParameterDefault::Json(serde_json::Value::Null),
                    ..parameter(
                        "payload",
                        ParameterKind::PositionalOrKeyword,
                        "object",
                        &format!("Its members: {members}."),
                    )
                },
                parameter(
                    "fields",
                    ParameterKind::VarKeyword,
                    "Any",
                    "Members of the payload by name; they win over it.",
                ),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_agree_and_are_sorted() {
        assert!(FORCED_LOCAL.is_sorted() && BUILTINS.map(|b| b.0).is_sorted());
        let local: Vec<&str> = BUILTINS.iter().map(|b| b.0).filter(|n| !n.starts_with("echo")).collect();
        assert_eq!(local, FORCED_LOCAL);
        assert!(is_builtin("rpc_list") && !is_builtin("echo") && is_builtin_name("echos"));
    }
}
