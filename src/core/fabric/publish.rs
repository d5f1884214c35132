//! Publications between nodes (fabric.md 14.1).
//!
//! A publication of a client goes once to each node that subscribes, straight where there is a link, else towards it.
//! Each carries in its metadata to whom it has been sent, and a receiver passes it on only to subscribers that are
//! neither in that list nor on its path: between nodes of this program k subscribers cost k messages. A publication
//! without the list (of a reference node, or of one that knows only us) goes to every subscriber that it has not
//! visited, once, because nobody can tell whom its sender has told. What has been here before, by its id, is neither
//! delivered nor passed on.

use serde::Deserialize;
use serde_json::value::to_raw_value;

use super::seen::Seen;
use super::*;
use crate::core::catalog::Kind;
use crate::core::pubsub::pattern::Pattern;
use crate::wire::fabric::{Headers, Message, Str, empty_object};

#[derive(Debug)]
pub(super) struct Publications {
    seen: Seen,
    /// Nodes by topic, as of one version of the subscriptions.
    audiences: BTreeMap<Text, Arc<[Text]>>,
    audiences_version: u64,
}

impl Publications {
    pub fn new() -> Publications {
        Publications {
            seen: Seen::new(PUBLICATIONS_REMEMBERED),
            audiences: BTreeMap::new(),
            audiences_version: 0,
        }
    }

    /// The nodes with a subscription that matches. Answers are kept until any subscription changes.
    fn audience(&mut self, topic: &str, catalog: &Catalog, own: &membership::Settings) -> Arc<[Text]> {
        let version = catalog.version(Kind::Topics);
        if version != self.audiences_version || self.audiences.len() >= AUDIENCES_MAX {
            self.audiences.clear();
            self.audiences_version = version;
        }
        if let Some(known) = self.audiences.get(topic) {
            return known.clone();
        }
        let others = catalog.topics().filter(|t| t.cluster_id == own.cluster_id && t.node_id != own.node_id);
        let mut nodes: Vec<Text> = others
            .filter(|t| t.patterns.iter().any(|p| Pattern::parse(p).matches(topic)))
            .map(|t| t.node_id.clone())
            .collect();
        nodes.sort();
        nodes.dedup();
        let nodes: Arc<[Text]> = nodes.into();
        self.audiences.insert(topic.into(), nodes.clone());
        nodes
    }
}

/// The list of nodes that a publication has been sent to, in its metadata.
#[derive(Default, Deserialize)]
struct SentTo<'a> {
    #[serde(borrow, default)]
    sent_to: Vec<Str<'a>>,
}

impl Fabric {
    /// A client of this node has published.
    pub(super) fn publish(
        &mut self,
        topic: &str,
        message_id: &str,
        timestamp: f64,
        message: &[u8],
        now: Now,
        out: &mut Vec<Action>,
    ) {
        self.publications.seen.add(message_id);
        let Ok(payload) = serde_json::from_slice::<&RawValue>(message) else {
            return refuse(out, Reason::BadRequest, None, format!("publication {message_id} is no JSON"));
        };
        let own = self.node_id().clone();
        let cluster = self.cluster_id().clone();
        let publication = Message {
            message_id: message_id.into(),
            topic: topic.into(),
            message_type: "pubsub".into(),
            delivery: "broadcast".into(),
            payload: Some(payload),
            headers: Headers {
                correlation_id: message_id.into(),
                source_cluster: Some(Str::from(&cluster)),
                target_cluster: None,
                routing_path: vec![Str::from(&own)],
                federation_path: vec![Str::from(&cluster)],
                hop_budget: Some(self.own.hops_max),
                priority: "normal".into(),
                metadata: empty_object(),
            },
            timestamp: if timestamp > 0.0 { timestamp } else { now.wall },
        };
        self.spread(publication, None, out);
    }

    /// A publication came from a peer.
    pub(super) fn publication(
        &mut self,
        link: LinkId,
        message: &Message,
        bytes: &Bytes,
        out: &mut Vec<Action>,
    ) {
        let (raw, publication) = match message.publication() {
            Ok(read) => read,
            Err(malformed) => return refuse(out, Reason::BadRequest, Some(link), malformed.to_string()),
        };
        if !self.publications.seen.add(&publication.message_id) {
            return refuse(out, Reason::MessageRepeated, Some(link), "");
        }
        out.push(Action::Deliver {
            topic: publication.topic.to_text(),
            message_id: publication.message_id.to_text(),
            message: bytes.slice_ref(raw.get().as_bytes()),
        });
        let mut next = message.clone();
        match self.next_headers(&mut next.headers) {
            Ok(()) => self.spread(next, self.membership.speaker(link).cloned(), out),
            Err(reason) => refuse(out, reason, Some(link), "a publication that ends here"),
        }
    }

    /// Sends a publication to everybody who listens and has not had it; its path ends with this node.
    fn spread(&mut self, message: Message, from: Option<Text>, out: &mut Vec<Action>) {
        let audience = self.publications.audience(&message.topic, &self.catalog, &self.own.membership);
        if audience.is_empty() {
            return;
        }
        if !self.own.routing {
            let text = format!("{}: publications stay at home (fabric.routing = false)", &*message.topic);
            return refuse(out, Reason::RoutingOff, None, text);
        }
        let SentTo { mut sent_to } = serde_json::from_str(message.headers.metadata.get()).unwrap_or_default();
        let mut done: Vec<&str> = message.headers.routing_path.iter().map(|n| &**n).collect();
        done.extend(sent_to.iter().map(|n| &**n));
        done.extend(from.as_deref());
        let mut hops: BTreeMap<Text, LinkId> = BTreeMap::new();
        for node in audience.iter().filter(|n| !done.contains(&&***n)) {
            match self.next_hop(node, &done) {
                Some((hop, link)) => drop(hops.insert(hop, link)),
                None => refuse(out, Reason::NoRoute, None, format!("no way to the subscriber {node}")),
            }
        }
        if hops.is_empty() {
            return;
        }
        let new: Vec<Str> = hops.keys().map(Str::from).collect();
        sent_to.extend(new);
        let metadata = with_sent_to(message.headers.metadata, &sent_to);
        let mut next = message.clone();
        next.headers.metadata = &metadata;
        let bytes = next.encode();
        out.extend(hops.values().map(|link| Action::Send { link: *link, bytes: bytes.clone() }));
    }
}

/// The metadata with another list in it; the rest is kept.
fn with_sent_to(metadata: &RawValue, sent_to: &[Str]) -> Box<RawValue> {
    let list = to_raw_value(sent_to).unwrap_or_else(|_| raw("[]"));
    let mut members: BTreeMap<&str, &RawValue> = serde_json::from_str(metadata.get()).unwrap_or_default();
    members.insert("sent_to", &list);
    to_raw_value(&members).unwrap_or_else(|_| raw("{}"))
}

const PUBLICATIONS_REMEMBERED: usize = 10_000;
/// Topics whose audience is remembered.
const AUDIENCES_MAX: usize = 1000;
