//! Publications between nodes (fabric.md 14.1).
//!
//! A publication of a client goes once to each node that subscribes, straight where there is a link, else towards it,
//! and once to each other cluster with subscribers that no link leads to. Each copy carries in its metadata to whom the
//! publication has been sent, and for whom its receiver is to care: between nodes of this program k subscribers cost k
//! messages. A publication without that (of a reference node, or of one that knows only us) goes to every subscriber
//! that it has not visited, once, because nobody can tell whom its sender has told. What has been here before, by its
//! id, is not delivered again; of what it asks this node to care for, only that is done which no copy has asked before:
//! ways that part may meet again.

use serde::{Deserialize, Serialize};
use serde_json::value::to_raw_value;

use super::seen::{Seen, is_bounded};
use super::way::{Hop, NoWay, Visited};
use super::*;
use crate::core::catalog::Kind;
use crate::core::pubsub::pattern::Pattern;
use crate::wire::fabric::{Headers, Message, Str, empty_object};

/// Cluster and node of everybody with a subscription that matches, in this order.
pub(super) type Audience = Arc<[(Text, Text)]>;

#[derive(Debug)]
pub(super) struct Publications {
    seen: Seen,
    /// What was cared for: an id with a node, a cluster, or nothing where it was everybody.
    cared: Seen,
    /// By topic, as of one version of the subscriptions.
    audiences: BTreeMap<Text, Audience>,
    audiences_version: u64,
}

impl Publications {
    pub fn new() -> Publications {
        Publications {
            seen: Seen::new(PUBLICATIONS_REMEMBERED),
            cared: Seen::new(DUTIES_REMEMBERED),
            audiences: BTreeMap::new(),
            audiences_version: 0,
        }
    }

    /// What is left to be done for a publication, and notes that it is being done.
    fn take_on<'a>(&mut self, id: &str, relay: Option<Relay<'a>>) -> Option<Relay<'a>> {
        let Some(mut relay) = relay else {
            self.cared.add(id);
            return None;
        };
        let all = self.cared.contains(id);
        relay.nodes.retain(|node| !all && self.cared.add(&format!("{id}\nnode {}", &**node)));
        relay.clusters.retain(|cluster| !all && self.cared.add(&format!("{id}\ncluster {}", &**cluster)));
        Some(relay)
    }

    /// Answers are kept until any subscription changes.
    fn audience(&mut self, topic: &str, catalog: &Catalog, own: &membership::Settings) -> Audience {
        let version = catalog.version(Kind::Topics);
        if version != self.audiences_version || self.audiences.len() >= AUDIENCES_MAX {
            self.audiences.clear();
            self.audiences_version = version;
        }
        if let Some(known) = self.audiences.get(topic) {
            return known.clone();
        }
        let others = catalog.topics().filter(|t| t.node_id != own.node_id);
        let mut nodes: Vec<(Text, Text)> = others
            .filter(|t| t.patterns.iter().any(|p| Pattern::parse(p).matches(topic)))
            .map(|t| (t.cluster_id.clone(), t.node_id.clone()))
            .collect();
        nodes.sort();
        nodes.dedup();
        let nodes: Audience = nodes.into();
        self.audiences.insert(topic.into(), nodes.clone());
        nodes
    }
}

/// What the metadata of a publication says of its way.
#[derive(Default, Deserialize)]
struct Itinerary<'a> {
    /// Nodes that it has been sent to.
    #[serde(borrow, default)]
    sent_to: Vec<Str<'a>>,
    /// For whom the receiver is to care; absent: for everybody.
    #[serde(borrow, default)]
    relay: Option<Relay<'a>>,
}

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(super) struct Relay<'a> {
    /// Subscribers that the sender has no link to.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<Str<'a>>,
    /// Clusters with such subscribers.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<Str<'a>>,
}

/// The copies of a publication, by the node that each is sent to.
#[derive(Debug, Default)]
pub(super) struct Copies<'t> {
    pub hops: BTreeMap<Hop, Relay<'t>>,
    /// Cluster and node of those whom no way leads to.
    pub lost: Vec<(&'t Text, &'t Text, NoWay)>,
}

impl<'a> Itinerary<'a> {
    fn of(message: &Message<'a>) -> Itinerary<'a> {
        serde_json::from_str(message.headers.metadata.get()).unwrap_or_default()
    }
}

impl Relay<'_> {
    fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.clusters.is_empty()
    }
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
        let cluster = self.membership.cluster_of(link).unwrap_or(self.cluster_id());
        if let Err(reason) = self.federation.may_publish(cluster, &publication.topic) {
            let text = format!("{cluster} publishes on {}", &*publication.topic);
            return refuse(out, reason, Some(link), text);
        }
        let source = message.headers.source_cluster.as_deref().filter(|source| !source.is_empty());
        if let Some(source) = source.filter(|source| self.may_come_from(cluster, source).is_err()) {
            let text = format!("{cluster} publishes on {} in the name of {source}", &*publication.topic);
            return refuse(out, Reason::NotEntitled, Some(link), text);
        }
        if !is_bounded(&[&publication.message_id], &[]) {
            return refuse(out, Reason::BadRequest, Some(link), "a publication whose id is too long");
        }
        if self.publications.seen.add(&publication.message_id) {
            out.push(Action::Deliver {
                topic: publication.topic.to_text(),
                message_id: publication.message_id.to_text(),
                message: bytes.slice_ref(raw.get().as_bytes()),
            });
        } else if Itinerary::of(message).relay.is_none_or(|relay| relay.is_empty()) {
            return refuse(out, Reason::MessageRepeated, Some(link), "");
        }
        let mut next = message.clone();
        match self.next_headers(&mut next.headers) {
            Ok(()) => self.spread(next, self.membership.speaker(link).cloned(), out),
            Err(reason) => refuse(out, reason, Some(link), "a publication that ends here"),
        }
    }

    /// Sends a publication to everybody who listens and has not had it; its path ends with this node.
    fn spread(&mut self, message: Message, from: Option<Text>, out: &mut Vec<Action>) {
        let audience = self.audience(&message.topic);
        let Itinerary { mut sent_to, relay } = Itinerary::of(&message);
        let relay = self.publications.take_on(&message.message_id, relay);
        let clusters: Vec<Text> = message.headers.federation_path.iter().map(Str::to_text).collect();
        let targets = self.targets(&audience, relay.as_ref(), &clusters);
        if targets.is_empty() {
            return;
        }
        if !self.own.routing {
            let text = format!("{}: publications stay at home (fabric.routing = false)", &*message.topic);
            return refuse(out, Reason::RoutingOff, None, text);
        }
        let mut passed: Vec<&str> = message.headers.routing_path.iter().map(|n| &**n).collect();
        passed.extend(from.as_deref());
        // Who was sent a copy has it, and may still be the way to others.
        let mut done = passed.clone();
        done.extend(sent_to.iter().map(|n| &**n));
        let from_own_cluster = from.as_deref().is_some_and(|peer| self.is_from_own_cluster(peer));
        let visited = Visited { nodes: &passed, clusters: &clusters, from_own_cluster };
        let Copies { hops, lost } = self.copies(&targets, &done, visited, Fabric::way_to);
        for (cluster, node, no_way) in lost {
            let text = format!("no way to the subscriber {node} of {cluster} ({})", no_way.word());
            refuse(out, no_way.reason(), None, text);
        }
        let new: Vec<Str> = hops.keys().map(|(node, _)| Str::from(node)).collect();
        sent_to.extend(new);
        let mut plain: Option<Bytes> = None;
        for ((_, link), relay) in &hops {
            let encode = || {
                let metadata = with_itinerary(message.headers.metadata, &sent_to, relay);
                let mut next = message.clone();
                next.headers.metadata = &metadata;
                next.encode()
            };
            // All who have nobody to care for get the same bytes.
            let bytes = match relay.is_empty() {
                true => plain.get_or_insert_with(encode).clone(),
                false => encode(),
            };
            out.push(Action::Send { link: *link, bytes });
        }
    }

    /// Which nodes get a copy, and for whom each is to care; those of `done` have theirs.
    pub(super) fn copies<'t>(
        &mut self,
        targets: &'t [(Text, Text)],
        done: &[&str],
        visited: Visited,
        mut way: impl FnMut(&mut Fabric, &str, &str, Visited) -> Result<Hop, NoWay>,
    ) -> Copies<'t> {
        let mut copies = Copies::default();
        let mut served: BTreeSet<&str> = BTreeSet::new();
        for (cluster, node) in targets.iter().filter(|(_, n)| !done.contains(&&**n)) {
            if let Some(link) = self.linked(cluster, node) {
                copies.hops.entry((node.clone(), link)).or_default();
                continue;
            }
            let foreign = self.is_foreign(cluster);
            if foreign && !served.insert(cluster) {
                continue;
            }
            match way(self, cluster, node, visited) {
                Ok(hop) if foreign => copies.hops.entry(hop).or_default().clusters.push(Str::from(cluster)),
                Ok(hop) => copies.hops.entry(hop).or_default().nodes.push(Str::from(node)),
                Err(no_way) => copies.lost.push((cluster, node, no_way)),
            }
        }
        copies
    }

    /// Everybody else who listens to a topic.
    pub(super) fn audience(&mut self, topic: &str) -> Audience {
        self.publications.audience(topic, &self.catalog, &self.own.membership)
    }

    /// Subscribers that this node is to send a publication to.
    pub(super) fn targets(
        &self,
        audience: &Audience,
        relay: Option<&Relay>,
        passed: &[Text],
    ) -> Vec<(Text, Text)> {
        let own = self.cluster_id();
        let bridging = self.is_bridging();
        let passed = |cluster: &Text| passed.contains(cluster);
        let wanted = |(cluster, node): &&(Text, Text)| {
            if cluster != own && (!bridging || passed(cluster)) {
                return false;
            }
            relay.is_none_or(|r| {
                r.clusters.iter().any(|c| **c == **cluster) || r.nodes.iter().any(|n| **n == **node)
            })
        };
        let mut targets: Vec<(Text, Text)> = audience.iter().filter(wanted).cloned().collect();
        // Its sender knows of subscribers that this node may not have heard of yet.
        for node in relay.iter().flat_map(|r| &r.nodes).filter(|n| ***n != **self.node_id()) {
            if !targets.iter().any(|(_, known)| **known == **node) {
                targets.push((own.clone(), node.to_text()));
            }
        }
        targets
    }
}

/// The metadata with another itinerary in it; the rest is kept.
fn with_itinerary(metadata: &RawValue, sent_to: &[Str], relay: &Relay) -> Box<RawValue> {
    let sent_to = to_raw_value(sent_to).unwrap_or_else(|_| raw("[]"));
    let relay = to_raw_value(relay).unwrap_or_else(|_| raw("{}"));
    let mut members: BTreeMap<&str, &RawValue> = serde_json::from_str(metadata.get()).unwrap_or_default();
    members.insert("sent_to", &sent_to);
    members.insert("relay", &relay);
    to_raw_value(&members).unwrap_or_else(|_| raw("{}"))
}

const PUBLICATIONS_REMEMBERED: usize = 10_000;
const DUTIES_REMEMBERED: usize = 20_000;
/// Topics whose audience is remembered.
const AUDIENCES_MAX: usize = 1000;
