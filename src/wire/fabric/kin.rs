//! What nodes of this program tell each other besides the protocol: payloads of the gossip kinds that a reference node
//! knows and ignores (fabric.md 5.2).
//!
//! They go over one link only, never further by themselves, and only where the other end has said that it understands
//! them. Each message says any number of things; what is absent is not said.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Gossip, Malformed};
use crate::core::catalog::{Delta, Text};

/// The name of the extension, in `extensions` of a STATUS and among the capabilities of a node's descriptor.
pub const EXTENSION: &str = "mpreg-fabric-2";

/// Node ids, each with the version of what that node says of itself.
pub type VersionList = BTreeMap<Text, u64>;

/// Payload of `anti_entropy`: two catalogs become one.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Exchange {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub versions: Option<Versions>,
    /// Send the whole of what these nodes say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pull: Vec<Text>,
    /// What these nodes say, as of these versions, can be had for a `pull`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub offers: VersionList,
    /// All that these nodes say, as of these versions, is in `delta`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub states: VersionList,
    #[serde(skip_serializing_if = "Compact::is_empty")]
    pub delta: Compact,
    /// These versions are believed dead; whoever can reach such a node asks it to say otherwise.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub doubts: VersionList,
    /// Send no news on this link: they come another way first.
    #[serde(skip_serializing_if = "is_false")]
    pub prune: bool,
    /// Send news on this link again.
    #[serde(skip_serializing_if = "is_false")]
    pub graft: bool,
}

/// A catalog in a few numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// Of the versions of all living nodes of this program.
    pub kin: u64,
    /// Of the nodes that are of another program or cluster.
    pub others: u64,
}

/// The versions in some of the [`BUCKETS`] buckets, all of them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Versions {
    /// One sum for each bucket of the sender.
    pub sums: Vec<u64>,
    /// Which buckets are listed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listed: Vec<usize>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub have: VersionList,
    /// The second number of the sender's digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub others_digest: Option<u64>,
    /// Tell of the nodes of other programs too.
    #[serde(skip_serializing_if = "is_false")]
    pub others: bool,
}

/// Payload of `rumor`: what everybody is to know soon.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Rumor {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub news: Option<News>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspect: Option<Suspect>,
}

/// A node says something else than before.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct News {
    pub node: Text,
    /// The version that this changes; 0: it replaces whatever was said before.
    pub from: u64,
    pub to: u64,
    #[serde(default, skip_serializing_if = "Compact::is_empty")]
    pub delta: Compact,
    /// The node has told everybody itself.
    #[serde(default, skip_serializing_if = "is_false")]
    pub direct: bool,
    /// It was the last word of the node.
    #[serde(default, skip_serializing_if = "is_false")]
    pub left: bool,
}

/// A node may be dead.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Suspect {
    pub node: Text,
    pub version: u64,
    /// Who could not reach it.
    pub by: Text,
    /// Its links were closed, not only silent.
    #[serde(default, skip_serializing_if = "is_false")]
    pub lost: bool,
}

/// Payload of `membership_probe`, `membership_indirect_probe` and `membership_ack`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Probe {
    pub number: u64,
    /// Indirect: the node to be probed; in the ack to the one who asked: the node that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<Text>,
    /// In a probe on behalf of another node, and its ack: that node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asker: Option<Text>,
    pub digest: Digest,
    /// Some of those under suspicion.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub suspects: VersionList,
}

/// A delta of which only the lists with something in them are written.
#[derive(Debug, Clone, Default)]
pub struct Compact(pub Delta);

impl Compact {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Compact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        macro_rules! lists {
            ($($list:ident)*) => { $(
                if !self.0.$list.is_empty() {
                    map.serialize_entry(stringify!($list), &self.0.$list)?;
                }
            )* };
        }
        lists! {
            functions function_removals topics topic_removals queues queue_removals services service_removals
            caches cache_removals cache_profiles cache_profile_removals nodes node_removals
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Compact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Compact, D::Error> {
        Delta::deserialize(deserializer).map(Compact)
    }
}

/// The gossip message for a payload of this module; `kind` is its message type.
pub fn encode<T: Serialize>(kind: &'static str, sender: &str, number: u64, payload: &T) -> Bytes {
    #[derive(Serialize)]
    struct Frame<'a, T> {
        role: &'static str,
        payload: Envelope<'a, T>,
    }
    #[derive(Serialize)]
    struct Envelope<'a, T> {
        message_id: String,
        message_type: &'static str,
        sender_id: &'a str,
        payload: &'a T,
        /// Not to be passed on.
        ttl: i64,
        max_hops: i64,
    }
    let message_id = format!("{number:x}");
    let payload =
        Envelope { message_id, message_type: kind, sender_id: sender, payload, ttl: 0, max_hops: 0 };
    super::encode(&Frame { role: "fabric-gossip", payload })
}

/// Reads the payload of a gossip message.
pub fn decode<T: serde::de::DeserializeOwned>(gossip: &Gossip) -> Result<T, Malformed> {
    let payload = gossip.payload.ok_or_else(|| Malformed::new("gossip", "missing field `payload`"))?;
    super::read(payload.get(), "payload")
}

fn is_false(value: &bool) -> bool {
    !value
}

/// Versions are compared bucket by bucket, so that a difference costs about the share of one bucket.
pub const BUCKETS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::fabric::{Frame, GossipKind};

    #[test]
    fn what_is_empty_is_not_written_and_what_is_written_is_read() {
        let delta = Delta { topic_removals: vec!["t".into()], ..Delta::default() };
        let news =
            News { node: "n".into(), from: 1, to: 2, delta: Compact(delta), direct: true, left: false };
        let bytes = encode("rumor", "ws://a:1", 7, &Rumor { news: Some(news), suspect: None });
        let text = std::str::from_utf8(&bytes).unwrap();
        assert_eq!(
            text,
            r#"{"role":"fabric-gossip","payload":{"message_id":"7","message_type":"rumor","sender_id":"ws://a:1","payload":{"news":{"node":"n","from":1,"to":2,"delta":{"topic_removals":["t"]},"direct":true}},"ttl":0,"max_hops":0}}"#
        );
        let Ok(Frame::Gossip(gossip)) = Frame::decode(&bytes) else { panic!("not gossip: {text}") };
        assert_eq!(gossip.kind(), Some(GossipKind::Rumor));
        let rumor: Rumor = decode(&gossip).unwrap();
        assert_eq!(rumor.news.unwrap().delta.0.topic_removals, ["t".into()]);
    }
}
