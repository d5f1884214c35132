//! What the tests of this module share: captured answers, and a small world to ask about.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::*;
use crate::core::catalog::{FunctionEntry, FunctionVersion, ServiceEntry, TransportEndpoint};
use crate::core::error::CallError;

macro_rules! samples {
    ($($name:literal)*) => {
        /// A captured answer of the protocol; `result` and `error` where it was a call.
        pub fn sample(name: &str) -> Value {
            let text = match name {
                $($name => include_str!(concat!("samples/", $name, ".json")),)*
                _ => panic!("no sample {name}"),
            };
            serde_json::from_str(text).unwrap()
        }
    };
}

samples! {
    "catalog_query_functions" "catalog_query_nodes" "catalog_query_topics" "catalog_watch_namespace"
    "cluster_map_two_nodes" "cluster_map_v2_page1" "discovery_access_audit"
    "discovery_delta_notification_service_added" "dns_describe" "dns_register" "dns_register_ttl" "dns_unregister"
    "list_peers_disconnected_peer" "list_peers_two_nodes" "namespace_policy_apply" "namespace_policy_audit"
    "namespace_policy_export" "namespace_policy_validate_errors" "namespace_status_denied"
    "policy_decision_tables" "rate_limited_429" "resolver_cache_stats" "resolver_cache_stats_disabled"
    "resolver_resync" "resolver_resync_disabled" "rpc_describe_catalog" "rpc_describe_kw" "rpc_describe_local_fn"
    "rpc_list" "rpc_report" "rpc_version_constraint_table" "summary_query" "summary_query_two_nodes_ingress"
    "summary_watch"
}

/// Member names in their order, all the way down; of arrays the first item stands for all.
pub fn shape(value: &Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(members.iter().map(|(k, v)| (k.clone(), shape(v))).collect()),
        Value::Array(items) => items.first().map(shape).into_iter().collect(),
        Value::Null => json!("null"),
        Value::Bool(_) => json!("bool"),
        Value::Number(_) => json!("number"),
        Value::String(_) => json!("text"),
    }
}

/// Compares shapes as text, since comparing objects does not look at the order of members.
pub fn same_shape(a: &Value, b: &Value) {
    assert_eq!(shape(a).to_string(), shape(b).to_string());
}

pub const OWN: &str = "ws://127.0.0.1:4000";

pub fn viewer() -> Viewer {
    Viewer { cluster_id: "c1".into(), connection: 1, tenant: None, loopback: false, certified: false }
}

pub fn local_node() -> LocalNode {
    LocalNode {
        node_id: OWN.into(),
        cluster_id: "c1".into(),
        region: "local".into(),
        resources: vec!["disk".into(), "rack7".into()],
        capabilities: vec!["rpc".into()],
        tags: Vec::new(),
        scope: Scope::Zone,
        advertised_urls: vec![OWN.into()],
        transport_endpoints: vec![endpoint(OWN, 4000)],
        active_clients: 1,
        counters: Counters::default(),
        gossip_interval_seconds: 1.0,
        catalog_ttl_seconds: 120.0,
    }
}

pub fn endpoint(url: &str, port: u16) -> TransportEndpoint {
    TransportEndpoint {
        connection_type: "internal".into(),
        protocol: "ws".into(),
        host: "127.0.0.1".into(),
        port,
        endpoint: url.into(),
    }
}

pub fn declaration(name: &str) -> FunctionDeclaration {
    FunctionDeclaration {
        name: name.into(),
        function_id: None,
        version: FunctionVersion::parse("1").unwrap(),
        resources: Vec::new(),
        tags: Vec::new(),
        scope: Scope::Zone,
        namespace: None,
        capabilities: Vec::new(),
        summary: "".into(),
        description: "".into(),
        parameters: None,
    }
}

/// A function of another node as gossip would bring it, without a description.
pub fn function(name: &str, node: &str, at: f64) -> Arc<FunctionEntry> {
    entry(json!({"identity": {"name": name, "function_id": name, "version": "1"}, "node_id": node,
        "cluster_id": "c1", "advertised_at": at, "ttl_seconds": 60.0}))
}

pub fn service(name: &str, namespace: &str, at: f64, ttl: f64) -> Arc<ServiceEntry> {
    entry(
        json!({"name": name, "namespace": namespace, "protocol": "tcp", "port": 1, "targets": ["192.0.2.1"],
        "node_id": "ws://f", "cluster_id": "c1", "advertised_at": at, "ttl_seconds": ttl}),
    )
}

pub fn entry<E: serde::de::DeserializeOwned>(value: Value) -> Arc<E> {
    Arc::new(serde_json::from_value(value).unwrap())
}

/// A node with a catalog, to be asked.
pub struct Bench {
    pub discovery: Discovery,
    pub catalog: Catalog,
    pub node: LocalNode,
    pub peers: BTreeMap<Text, PeerView>,
    pub viewer: Viewer,
    pub seconds: f64,
}

impl Bench {
    /// The own functions and the own node are announced at second 0.
    pub fn new(settings: DiscoverySettings) -> Bench {
        let mut bench = Bench {
            discovery: Discovery::new(settings),
            catalog: Catalog::new(100_000),
            node: local_node(),
            peers: BTreeMap::new(),
            viewer: viewer(),
            seconds: 0.0,
        };
        bench.announce();
        bench
    }

    pub fn announce(&mut self) {
        let now = self.now();
        let own = Delta {
            functions: self.discovery.registry().entries(&self.node, now.wall),
            nodes: vec![Arc::new(self.node.entry(now.wall))],
            ..Delta::default()
        };
        self.learn(own);
    }

    /// What gossip brings goes to the catalog, and what changed to discovery.
    pub fn learn(&mut self, delta: Delta) {
        let now = self.now();
        let changed = self.catalog.apply(delta, now.wall).changed;
        self.discovery.observe_delta(&changed, now);
    }

    pub fn functions(&mut self, functions: Vec<Arc<FunctionEntry>>) {
        self.learn(Delta { functions, ..Delta::default() });
    }

    pub fn services(&mut self, services: Vec<Arc<ServiceEntry>>) {
        self.learn(Delta { services, ..Delta::default() });
    }

    pub fn now(&self) -> Now {
        Now::at(1e9, self.seconds)
    }

    pub fn wall(&self) -> f64 {
        self.now().wall
    }

    pub fn outcome(&mut self, fun: &str, args: Value, kwargs: Value) -> Result<Outcome, CallError> {
        let raw = |v: Value| RawValue::from_string(v.to_string()).unwrap();
        let world = World {
            catalog: &self.catalog,
            node: &self.node,
            peers: &self.peers,
            now: Now::at(1e9, self.seconds),
        };
        self.discovery.call(fun, &raw(args), &raw(kwargs), &self.viewer, world)
    }

    /// Calls with one payload; registrations go to the catalog as the node would announce them.
    pub fn try_call(&mut self, fun: &str, payload: Value) -> Result<Value, CallError> {
        match self.outcome(fun, json!([payload]), json!({}))? {
            Outcome::Value(value) | Outcome::PolicyChanged { value, .. } => Ok(value),
            Outcome::Services { value, upsert, remove } => {
                let services = upsert.into_iter().map(Arc::new).collect();
                self.learn(Delta { services, service_removals: remove, ..Delta::default() });
                Ok(value)
            }
            Outcome::Scatter(plan) => panic!("unexpected plan {plan:?}"),
        }
    }

    pub fn call(&mut self, fun: &str, payload: Value) -> Value {
        self.try_call(fun, payload).unwrap()
    }

    pub fn names(&mut self, fun: &str, payload: Value) -> Vec<String> {
        let page = self.call(fun, payload);
        page["items"].as_array().unwrap().iter().map(name_of).collect()
    }

    /// All items page by page, and the number of pages.
    pub fn pages(&mut self, fun: &str, payload: Value) -> (Vec<String>, usize) {
        let (mut names, mut pages, mut payload) = (Vec::new(), 0, payload);
        loop {
            let page = self.call(fun, payload.clone());
            let items = page.get("items").or(page.get("nodes")).unwrap();
            names.extend(items.as_array().unwrap().iter().map(name_of));
            pages += 1;
            match page.get("next_page_token") {
                Some(token) => payload["page_token"] = token.clone(),
                None => return (names, pages),
            }
        }
    }

    pub fn timeout(&mut self) {
        let world = World {
            catalog: &self.catalog,
            node: &self.node,
            peers: &self.peers,
            now: Now::at(1e9, self.seconds),
        };
        self.discovery.handle_timeout(world);
    }
}

/// Whatever an item is called.
pub fn name_of(item: &Value) -> String {
    let name = ["service_id", "queue_name", "name", "subscription_id", "role", "node_id"].iter();
    let text = item["identity"]["name"].as_str().or_else(|| name.filter_map(|n| item[*n].as_str()).next());
    text.unwrap().to_owned()
}
