//! What the catalog holds: the seven entry types, their removal keys and the delta that carries them (fabric.md 6).
//!
//! The order of members is that of the wire. Decoding is as lenient as fabric.md 6.2 says and no more: absent lists
//! and texts have defaults, an unknown scope is `zone`, `null` in place of a list is malformed.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// Ids and names are shared between the catalog, its snapshots and the entries.
pub type Text = Arc<str>;

/// Name, id and version of a function; name and id are one-to-one in all that a node knows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Identity {
    pub name: Text,
    pub function_id: Text,
    pub version: FunctionVersion,
}

/// A version on the wire: `a.b.c`, from one to three groups with an optional `v`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FunctionVersion(pub semver::Version);

/// How far an entry wants to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    Local,
    #[default]
    Zone,
    Region,
    Global,
}

/// A function that a node serves. Key: cluster, node, identity and the set of resources.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FunctionEntry {
    pub identity: Identity,
    #[serde(default, deserialize_with = "sorted")]
    pub resources: Vec<Text>,
    #[serde(default)]
    pub node_id: Text,
    #[serde(default)]
    pub cluster_id: Text,
    #[serde(default)]
    pub scope: Scope,
    #[serde(default, deserialize_with = "sorted")]
    pub tags: Vec<Text>,
    #[serde(default = "unset")]
    pub advertised_at: f64,
    #[serde(default = "default_ttl")]
    pub ttl_seconds: f64,
    /// Short description (fabric.md 6.8), passed on as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpc_summary: Option<Arc<RawValue>>,
    /// Full description, only where the announcing node shares it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpc_spec: Option<Arc<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec_digest: Option<Text>,
}

/// A node. Key: cluster, node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NodeEntry {
    #[serde(default)]
    pub node_id: Text,
    #[serde(default)]
    pub cluster_id: Text,
    #[serde(default)]
    pub scope: Scope,
    #[serde(default, deserialize_with = "sorted")]
    pub resources: Vec<Text>,
    #[serde(default, deserialize_with = "sorted")]
    pub capabilities: Vec<Text>,
    #[serde(default)]
    pub transport_endpoints: Vec<TransportEndpoint>,
    #[serde(default, deserialize_with = "sorted")]
    pub tags: Vec<Text>,
    #[serde(default = "unset")]
    pub advertised_at: f64,
    #[serde(default = "default_ttl")]
    pub ttl_seconds: f64,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub region: Text,
}

/// Where a node can be dialled; missing parts are derived from `endpoint`, a URL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TransportEndpoint {
    #[serde(default)]
    pub connection_type: Text,
    #[serde(default)]
    pub protocol: Text,
    #[serde(default)]
    pub host: Text,
    #[serde(default)]
    pub port: u16,
    #[serde(default)]
    pub endpoint: Text,
}

/// A subscription. The reference's key is `subscription_id` alone; ours is cluster, node and id.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TopicEntry {
    #[serde(default)]
    pub subscription_id: Text,
    #[serde(default)]
    pub node_id: Text,
    #[serde(default)]
    pub cluster_id: Text,
    #[serde(default)]
    pub patterns: Vec<Text>,
    #[serde(default)]
    pub scope: Scope,
    #[serde(default, deserialize_with = "sorted")]
    pub tags: Vec<Text>,
    #[serde(default = "unset")]
    pub advertised_at: f64,
    #[serde(default = "default_ttl")]
    pub ttl_seconds: f64,
}

/// A queue. Key: cluster, node, queue name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct QueueEntry {
    #[serde(default)]
    pub queue_name: Text,
    #[serde(default)]
    pub cluster_id: Text,
    #[serde(default)]
    pub node_id: Text,
    #[serde(default)]
    pub delivery_guarantees: Vec<DeliveryGuarantee>,
    #[serde(default)]
    pub health: QueueHealth,
    #[serde(default)]
    pub current_subscribers: i64,
    #[serde(default)]
    pub metadata: serde_json::Map<String, serde_json::Value>,
    #[serde(default)]
    pub scope: Scope,
    #[serde(default, deserialize_with = "sorted")]
    pub tags: Vec<Text>,
    #[serde(default = "unset")]
    pub advertised_at: f64,
    #[serde(default = "default_ttl")]
    pub ttl_seconds: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryGuarantee {
    FireAndForget,
    AtLeastOnce,
    ExactlyOnce,
    Broadcast,
    Quorum,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueueHealth {
    #[default]
    Healthy,
    Degraded,
    Unavailable,
}

/// A service registered for DNS. Key: cluster, node, namespace, name, protocol, port.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServiceEntry {
    #[serde(default)]
    pub name: Text,
    #[serde(default)]
    pub namespace: Text,
    #[serde(default)]
    pub protocol: Text,
    #[serde(default, deserialize_with = "port")]
    pub port: i64,
    #[serde(default, deserialize_with = "sorted")]
    pub targets: Vec<Text>,
    #[serde(default)]
    pub scope: Scope,
    #[serde(default, deserialize_with = "sorted")]
    pub tags: Vec<Text>,
    #[serde(default, deserialize_with = "sorted")]
    pub capabilities: Vec<Text>,
    #[serde(default)]
    pub metadata: serde_json::Map<String, serde_json::Value>,
    #[serde(default)]
    pub priority: i64,
    #[serde(default)]
    pub weight: i64,
    #[serde(default)]
    pub node_id: Text,
    #[serde(default)]
    pub cluster_id: Text,
    #[serde(default = "unset")]
    pub advertised_at: f64,
    #[serde(default = "default_ttl")]
    pub ttl_seconds: f64,
}

/// What part a node plays in the cache. Key: cluster, node, role.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CacheEntry {
    #[serde(default)]
    pub role: CacheRole,
    #[serde(default)]
    pub node_id: Text,
    #[serde(default)]
    pub cluster_id: Text,
    #[serde(default)]
    pub scope: Scope,
    #[serde(default, deserialize_with = "sorted")]
    pub tags: Vec<Text>,
    #[serde(default = "unset")]
    pub advertised_at: f64,
    #[serde(default = "default_ttl")]
    pub ttl_seconds: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheRole {
    #[default]
    Coordinator,
    Invalidator,
    Replica,
    Sync,
    Monitor,
}

/// Where and how big the cache of a node is. Key: cluster, node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CacheProfileEntry {
    #[serde(default)]
    pub node_id: Text,
    #[serde(default)]
    pub cluster_id: Text,
    #[serde(default)]
    pub region: Text,
    #[serde(default)]
    pub coordinates: Coordinates,
    #[serde(default)]
    pub capacity_mb: i64,
    #[serde(default)]
    pub utilization_percent: f64,
    #[serde(default)]
    pub avg_latency_ms: f64,
    #[serde(default)]
    pub reliability_score: f64,
    #[serde(default)]
    pub scope: Scope,
    #[serde(default, deserialize_with = "sorted")]
    pub tags: Vec<Text>,
    #[serde(default = "unset")]
    pub advertised_at: f64,
    #[serde(default = "default_ttl")]
    pub ttl_seconds: f64,
}

/// Degrees.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Coordinates {
    #[serde(default)]
    pub latitude: f64,
    #[serde(default)]
    pub longitude: f64,
}

/// Names one function entry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FunctionKey {
    pub cluster_id: Text,
    pub node_id: Text,
    pub identity: Identity,
    #[serde(default, deserialize_with = "sorted")]
    pub resources: Vec<Text>,
}

/// Names a node, and what a node has only one of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NodeKey {
    pub cluster_id: Text,
    pub node_id: Text,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct QueueKey {
    pub cluster_id: Text,
    pub node_id: Text,
    pub queue_name: Text,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ServiceKey {
    pub cluster_id: Text,
    pub node_id: Text,
    pub namespace: Text,
    pub name: Text,
    pub protocol: Text,
    #[serde(deserialize_with = "port")]
    pub port: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CacheKey {
    pub cluster_id: Text,
    pub node_id: Text,
    pub role: CacheRole,
}

/// A change of the catalog (fabric.md 6.1): what is new and what is gone. All sixteen lists are written.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Delta {
    pub update_id: Text,
    pub cluster_id: Text,
    #[serde(skip_serializing_if = "f64_is_unset")]
    pub sent_at: f64,
    pub functions: Vec<Arc<FunctionEntry>>,
    pub function_removals: Vec<FunctionKey>,
    pub topics: Vec<Arc<TopicEntry>>,
    /// Subscription ids.
    pub topic_removals: Vec<Text>,
    pub queues: Vec<Arc<QueueEntry>>,
    pub queue_removals: Vec<QueueKey>,
    pub services: Vec<Arc<ServiceEntry>>,
    pub service_removals: Vec<ServiceKey>,
    pub caches: Vec<Arc<CacheEntry>>,
    pub cache_removals: Vec<CacheKey>,
    pub cache_profiles: Vec<Arc<CacheProfileEntry>>,
    pub cache_profile_removals: Vec<NodeKey>,
    pub nodes: Vec<Arc<NodeEntry>>,
    pub node_removals: Vec<NodeKey>,
}

impl Scope {
    /// The wire's reading: any case, `cluster` is `zone`, and so is everything unknown.
    pub fn lenient(text: &str) -> Scope {
        Scope::parse(text).unwrap_or_default()
    }

    /// One of the four words, or `cluster` for `zone`; any case, blanks around it ignored.
    pub fn parse(text: &str) -> Option<Scope> {
        match text.trim().to_ascii_lowercase().as_str() {
            "local" => Some(Scope::Local),
            "zone" | "cluster" => Some(Scope::Zone),
            "region" => Some(Scope::Region),
            "global" => Some(Scope::Global),
            _ => None,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Scope::Local => "local",
            Scope::Zone => "zone",
            Scope::Region => "region",
            Scope::Global => "global",
        }
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Scope, D::Error> {
        Ok(Scope::lenient(&String::deserialize(deserializer)?))
    }
}

impl FunctionVersion {
    /// `None` where the text is no version (fabric.md 6.9).
    pub fn parse(text: &str) -> Option<FunctionVersion> {
        let text = text.trim();
        let text = text.strip_prefix('v').unwrap_or(text);
        let (core, pre) = match text.split_once('-') {
            Some((core, pre)) => (core, semver::Prerelease::new(pre).ok().filter(|p| !p.is_empty())?),
            None => (text, semver::Prerelease::EMPTY),
        };
        let mut groups = [0u64; 3];
        for (place, part) in core.split('.').enumerate() {
            if part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            *groups.get_mut(place)? = part.parse().ok()?;
        }
        let mut version = semver::Version::new(groups[0], groups[1], groups[2]);
        version.pre = pre;
        Some(FunctionVersion(version))
    }
}

impl std::fmt::Display for FunctionVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for FunctionVersion {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for FunctionVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<FunctionVersion, D::Error> {
        let text = String::deserialize(deserializer)?;
        FunctionVersion::parse(&text)
            .ok_or_else(|| serde::de::Error::custom(format_args!("Invalid semantic version: {text}")))
    }
}

impl Delta {
    /// True where nothing would change.
    pub fn is_empty(&self) -> bool {
        self.counts().into_iter().all(|(_, n)| n == 0)
    }

    /// The fourteen counters of a delta, in the order and with the names of the discovery topics (client.md 5.8).
    pub fn counts(&self) -> [(&'static str, usize); 14] {
        [
            ("functions_added", self.functions.len()),
            ("functions_removed", self.function_removals.len()),
            ("topics_added", self.topics.len()),
            ("topics_removed", self.topic_removals.len()),
            ("queues_added", self.queues.len()),
            ("queues_removed", self.queue_removals.len()),
            ("services_added", self.services.len()),
            ("services_removed", self.service_removals.len()),
            ("caches_added", self.caches.len()),
            ("caches_removed", self.cache_removals.len()),
            ("cache_profiles_added", self.cache_profiles.len()),
            ("cache_profiles_removed", self.cache_profile_removals.len()),
            ("nodes_added", self.nodes.len()),
            ("nodes_removed", self.node_removals.len()),
        ]
    }
}

/// Namespace of a name: the part before the last dot; empty without a dot (client.md 3.6).
pub fn namespace_of(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(namespace, _)| namespace)
}

/// What `advertised_at` holds until the catalog fills in the time of arrival.
pub fn unset() -> f64 {
    f64::NEG_INFINITY
}

fn f64_is_unset(value: &f64) -> bool {
    *value == unset() || *value == 0.0
}

fn default_ttl() -> f64 {
    30.0
}

/// Lists that are sets on the wire: empties and repeats removed, sorted.
fn sorted<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Text>, D::Error> {
    let mut list = Vec::<Text>::deserialize(deserializer)?;
    list.retain(|t| !t.is_empty());
    list.sort_unstable();
    list.dedup();
    Ok(list)
}

/// A port: a number, or its text.
fn port<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Port {
        Number(i64),
        Text(String),
    }
    match Port::deserialize(deserializer)? {
        Port::Number(n) => Ok(n),
        Port::Text(t) => t.trim().parse().map_err(serde::de::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_normalised() {
        for (text, normal) in
            [("1", "1.0.0"), ("v1.2", "1.2.0"), ("01.002.3", "1.2.3"), ("1.0.0-beta.1", "1.0.0-beta.1")]
        {
            assert_eq!(
                FunctionVersion::parse(text).map(|v| v.to_string()).as_deref(),
                Some(normal),
                "{text}"
            );
        }
        for text in ["", "V1", "1.", ".1", "1..2", "1.2.3.4", "1.x", "-1", "1.0.0-", "1.0.0+b"] {
            assert_eq!(FunctionVersion::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_bare_function_entry_has_defaults() {
        let text = r#"{"identity":{"name":"f","function_id":"f","version":"1"},"node_id":"n","cluster_id":"c","scope":"Cluster","tags":["b","a","b"]}"#;
        let entry: FunctionEntry = serde_json::from_str(text).unwrap();
        assert_eq!((entry.scope, entry.ttl_seconds, entry.advertised_at), (Scope::Zone, 30.0, unset()));
        assert_eq!(entry.tags.iter().map(|t| &**t).collect::<Vec<_>>(), ["a", "b"]);
        assert!(serde_json::from_str::<Delta>(r#"{"functions":null}"#).is_err());
    }
}
