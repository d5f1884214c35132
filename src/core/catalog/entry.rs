//! What the catalog holds: the seven entry types and the keys that name them (fabric.md 6.2, 6.3).
//!
//! The order of members is that of the wire. Decoding is as lenient as fabric.md 6.2 says and no more: absent lists
//! and texts have defaults, an unknown scope is `zone`, `null` in place of a list is malformed.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::Identity;

/// Ids and names are shared between the catalog, its snapshots and the entries.
pub type Text = Arc<str>;

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
    #[serde(default, deserialize_with = "endpoints")]
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
    pub metadata: serde_json::Map<String, Value>,
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
    #[serde(default, deserialize_with = "whole")]
    pub port: i64,
    #[serde(default, deserialize_with = "sorted")]
    pub targets: Vec<Text>,
    #[serde(default)]
    pub scope: Scope,
    #[serde(default, deserialize_with = "sorted")]
    pub tags: Vec<Text>,
    #[serde(default, deserialize_with = "sorted")]
    pub capabilities: Vec<Text>,
    #[serde(default, deserialize_with = "plain")]
    pub metadata: serde_json::Map<String, Value>,
    #[serde(default, deserialize_with = "whole")]
    pub priority: i64,
    #[serde(default, deserialize_with = "whole")]
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

/// Names one subscription; on the wire a removal has only the last part.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TopicKey {
    pub cluster_id: Text,
    pub node_id: Text,
    pub subscription_id: Text,
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
    #[serde(deserialize_with = "whole")]
    pub port: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CacheKey {
    pub cluster_id: Text,
    pub node_id: Text,
    pub role: CacheRole,
}

impl TransportEndpoint {
    /// The endpoint that a URL such as `ws://host:1` names, for the connections between nodes.
    pub fn internal(url: &str) -> TransportEndpoint {
        let mut endpoint = TransportEndpoint {
            connection_type: "internal".into(),
            protocol: "".into(),
            host: "".into(),
            port: 0,
            endpoint: url.into(),
        };
        endpoint.complete();
        endpoint
    }

    /// Derives what is missing from the URL, or the URL from the parts.
    fn complete(&mut self) {
        if self.endpoint.is_empty() {
            if !self.protocol.is_empty() && !self.host.is_empty() {
                self.endpoint = format!("{}://{}:{}", self.protocol, self.host, self.port).into();
            }
            return;
        }
        let Some((protocol, rest)) = self.endpoint.split_once("://") else { return };
        let authority = rest.split('/').next().unwrap_or(rest);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().unwrap_or(0)),
            _ => (authority, 0),
        };
        let (protocol, host) = (Text::from(protocol), Text::from(host));
        if self.protocol.is_empty() {
            self.protocol = protocol;
        }
        if self.host.is_empty() {
            self.host = host;
        }
        if self.port == 0 {
            self.port = port;
        }
    }
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

/// What `advertised_at` holds until the catalog fills in the time of arrival.
pub fn unset() -> f64 {
    f64::NEG_INFINITY
}

fn default_ttl() -> f64 {
    30.0
}

/// Lists that are sets on the wire: empties and repeats removed, sorted. A bare text counts as the list of its
/// characters, as the reference reads it.
fn sorted<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Text>, D::Error> {
    struct Set;
    impl<'de> serde::de::Visitor<'de> for Set {
        type Value = Vec<Text>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a list of texts")
        }
        fn visit_str<E>(self, text: &str) -> Result<Vec<Text>, E> {
            Ok(text.chars().map(|c| Text::from(c.encode_utf8(&mut [0; 4]) as &str)).collect())
        }
        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<Text>, A::Error> {
            let mut list = Vec::new();
            while let Some(text) = seq.next_element()? {
                list.push(text);
            }
            Ok(list)
        }
    }
    let mut list = deserializer.deserialize_any(Set)?;
    list.retain(|t| !t.is_empty());
    list.sort_unstable();
    list.dedup();
    Ok(list)
}

/// A whole number, or its text.
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Whole {
        Number(i64),
        Text(String),
    }
    match Whole::deserialize(deserializer)? {
        Whole::Number(n) => Ok(n),
        Whole::Text(t) => t.trim().parse().map_err(serde::de::Error::custom),
    }
}

/// Metadata of a service: nulls dropped, lists and objects turned into text.
fn plain<'de, D: Deserializer<'de>>(deserializer: D) -> Result<serde_json::Map<String, Value>, D::Error> {
    let given = serde_json::Map::<String, Value>::deserialize(deserializer)?;
    let flat = |value: Value| match value {
        Value::Array(_) | Value::Object(_) => Value::String(value.to_string()),
        scalar => scalar,
    };
    Ok(given.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k, flat(v))).collect())
}

fn endpoints<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<TransportEndpoint>, D::Error> {
    let mut list = Vec::<TransportEndpoint>::deserialize(deserializer)?;
    list.iter_mut().for_each(TransportEndpoint::complete);
    list.sort_unstable();
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_function_entry_has_defaults() {
        let text = r#"{"identity":{"name":"f","function_id":"f","version":"1"},"node_id":"n","cluster_id":"c","scope":"Cluster","tags":["b","a","b"]}"#;
        let entry: FunctionEntry = serde_json::from_str(text).unwrap();
        assert_eq!((entry.scope, entry.ttl_seconds, entry.advertised_at), (Scope::Zone, 30.0, unset()));
        assert_eq!(entry.tags.iter().map(|t| &**t).collect::<Vec<_>>(), ["a", "b"]);
    }
}
