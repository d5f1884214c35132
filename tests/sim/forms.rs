//! What nodes are made of: settings, functions, subscriptions, in the forms that the fabric takes.

use std::sync::Arc;

use mpreg::core::catalog::{
    FunctionEntry, FunctionVersion, Identity, Scope, Text, TopicEntry, TransportEndpoint, unset,
};
use mpreg::core::fabric::{Bridging, FloodLimits, Settings};
use mpreg::core::membership;
use serde_json::value::RawValue;

/// What differs between worlds.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub gossip_interval_seconds: f64,
    pub catalog_ttl_seconds: f64,
    pub dial_backoff_seconds_max: f64,
}

impl Shape {
    /// The defaults of the configuration.
    pub fn usual() -> Shape {
        Shape { gossip_interval_seconds: 5.0, catalog_ttl_seconds: 120.0, dial_backoff_seconds_max: 60.0 }
    }

    /// The same five times as fast.
    pub fn fast() -> Shape {
        Shape { gossip_interval_seconds: 1.0, catalog_ttl_seconds: 24.0, dial_backoff_seconds_max: 12.0 }
    }
}

pub fn url(n: usize) -> Text {
    format!("ws://node-{n}:{}", 9000 + n).into()
}

pub fn node_behind(url: &str) -> Option<usize> {
    url.rsplit_once(':')?.1.parse::<usize>().ok()?.checked_sub(9000)
}

pub fn settings(
    n: usize,
    cluster: &Text,
    life: u32,
    seeds: &[usize],
    shape: &Shape,
    chance_seed: u64,
) -> Settings {
    Settings {
        membership: membership::Settings {
            node_id: url(n),
            cluster_id: cluster.clone(),
            instance_id: format!("{n}-{life}").into(),
            seeds: seeds.iter().map(|s| url(*s)).collect(),
            gossip_interval_seconds: shape.gossip_interval_seconds,
            goodbye_grace_seconds: 5.0,
            dial_backoff_seconds_max: shape.dial_backoff_seconds_max,
            dial_parallelism_max: 8,
        },
        region: "local".into(),
        resources: Vec::new(),
        capabilities: vec!["rpc".into()],
        tags: Vec::new(),
        transport_endpoints: vec![TransportEndpoint::internal(&url(n))],
        advertised_urls: vec![url(n)],
        catalog_ttl_seconds: shape.catalog_ttl_seconds,
        catalog_entries_per_cluster_max: 100_000,
        hops_max: 5,
        calls_max: 1000,
        floods: FloodLimits::default(),
        gossip_bytes_max: 900 * 1024,
        bridging: Bridging::none(cluster),
        kin: true,
        chance_seed,
        routing: true,
        scope: mpreg::core::catalog::Scope::Zone,
    }
}

pub fn functions_of(n: usize) -> Vec<FunctionEntry> {
    vec![function(&format!("where.{n}"))]
}

pub fn function(name: &str) -> FunctionEntry {
    let version = FunctionVersion::parse("1").unwrap_or_else(|| panic!("a version"));
    FunctionEntry {
        identity: Identity { name: name.into(), function_id: name.into(), version },
        resources: Vec::new(),
        node_id: "".into(),
        cluster_id: "".into(),
        scope: Scope::Zone,
        tags: Vec::new(),
        advertised_at: unset(),
        ttl_seconds: 0.0,
        rpc_summary: None,
        rpc_spec: None,
        spec_digest: None,
    }
}

pub fn subscription(pattern: &str) -> Arc<TopicEntry> {
    let text = format!(r#"{{"subscription_id":"s-{pattern}","patterns":["{pattern}"]}}"#);
    Arc::new(serde_json::from_str(&text).unwrap_or_else(|e| panic!("{text}: {e}")))
}

pub fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap_or_else(|e| panic!("{text}: {e}"))
}

pub const CLUSTER: &str = "c1";
/// Wall time at the start of the world.
pub const WALL: f64 = 1_700_000_000.0;
