//! What nodes say to each other: the roles `server`, `fabric-gossip` and `fabric-message`, and the unlabelled answers to
//! the first (fabric.md 4.5 to 4.7, 5.1, 6.1, 11.1, 12.1, 12.2, 14.1).
//!
//! Decoding borrows from the frame and leaves arguments, results, publications and the payloads of unknown kinds
//! unparsed; encoding writes the members of the reference in its order. A message that does not fit is a [`Malformed`]
//! that names the place; nothing here decides what becomes of a message.

pub mod compact;
pub mod kin;
pub mod link_state;
mod place;
pub mod route;
mod rpc;
mod text;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

pub use place::Malformed;
use rpc::raw;
pub use rpc::{Rpc, RpcError, RpcRequest, RpcResponse};
pub use text::Str;

use crate::core::catalog::Delta;

/// One message of another node, as far as every receiver must look.
#[derive(Debug)]
pub enum Frame<'a> {
    Status(Box<Status<'a>>, Ask<'a>),
    Goodbye(Goodbye<'a>, Ask<'a>),
    Gossip(Box<Gossip<'a>>),
    Message(Box<Message<'a>>),
    /// A message of kind rpc that was not written as JSON, and its payload.
    Call(Box<Message<'a>>, Rpc<'a>),
    Answer(Answer<'a>),
    /// A role that no node has.
    Other(Str<'a>, Ask<'a>),
}

/// Role and `u` of a message that could not be read, to answer it by.
#[derive(Debug, Deserialize)]
pub struct Outline<'a> {
    #[serde(borrow, default)]
    pub role: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub u: Ask<'a>,
}

/// The `u` of a message that wants an answer, as it was written.
pub type Ask<'a> = Option<&'a RawValue>;

/// Who a node is and how it does (4.5). The lists and metrics inform people and are not looked into.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status<'a> {
    what: What,
    #[serde(borrow)]
    pub server_url: Str<'a>,
    #[serde(borrow)]
    pub cluster_id: Str<'a>,
    #[serde(borrow, default)]
    pub instance_id: Str<'a>,
    /// Wall clock of the sender; absent: 0.
    #[serde(default)]
    pub timestamp: f64,
    #[serde(borrow, default = "ok")]
    pub status: Str<'a>,
    #[serde(default)]
    pub active_clients: i64,
    #[serde(default)]
    pub peer_count: i64,
    #[serde(borrow, default = "empty_list")]
    pub funs: &'a RawValue,
    #[serde(borrow, default = "empty_list")]
    pub locs: &'a RawValue,
    #[serde(borrow, default = "empty_list")]
    pub function_catalog: &'a RawValue,
    #[serde(borrow, default)]
    pub advertised_urls: Vec<Str<'a>>,
    #[serde(borrow, default = "empty_object")]
    pub metrics: &'a RawValue,
    /// What the node understands besides the protocol; a reference node neither sends nor reads it.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<Str<'a>>,
}

/// A node leaves (4.7).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Goodbye<'a> {
    what: What,
    #[serde(borrow)]
    pub departing_node_url: Str<'a>,
    #[serde(borrow)]
    pub cluster_id: Str<'a>,
    pub reason: GoodbyeReason,
    #[serde(borrow, default)]
    pub instance_id: Str<'a>,
    /// Wall clock of the sender; absent: 0.
    #[serde(default)]
    pub timestamp: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GoodbyeReason {
    GracefulShutdown,
    Maintenance,
    ClusterRebalance,
    ManualRemoval,
}

/// The answer to a `server` message (4.6).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Answer<'a> {
    /// `"STATUS"`, `"GOODBYE_PROCESSED"`, or null beside an error.
    #[serde(borrow)]
    pub r: Option<&'a RawValue>,
    #[serde(borrow)]
    pub error: Option<AnswerError<'a>>,
    #[serde(borrow)]
    pub u: Ask<'a>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AnswerError<'a> {
    pub code: i64,
    #[serde(borrow)]
    pub message: Str<'a>,
    #[serde(borrow, default)]
    pub details: Option<&'a RawValue>,
}

/// The gossip envelope (5.1).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Gossip<'a> {
    #[serde(borrow)]
    pub message_id: Str<'a>,
    #[serde(borrow)]
    pub message_type: Str<'a>,
    #[serde(borrow)]
    pub sender_id: Str<'a>,
    /// By type; see [`GossipKind`].
    #[serde(borrow, default)]
    pub payload: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub vector_clock: Clock<'a>,
    #[serde(default)]
    pub sequence_number: i64,
    #[serde(default = "gossip_ttl")]
    pub ttl: i64,
    #[serde(default)]
    pub hop_count: i64,
    #[serde(default = "gossip_max_hops")]
    pub max_hops: i64,
    #[serde(borrow, default)]
    pub digest: Str<'a>,
    #[serde(borrow, default)]
    pub checksum: Str<'a>,
    /// Wall clock; absent: 0.
    #[serde(default)]
    pub created_at: f64,
    /// Wall clock; absent: 0, which means 300 s after its arrival.
    #[serde(default)]
    pub expires_at: f64,
    #[serde(borrow, default)]
    pub propagation_path: Vec<Str<'a>>,
    #[serde(borrow, default)]
    pub seen_by: Vec<Str<'a>>,
}

/// Node ids with their counts, in the order of the wire. Nobody uses them; they are carried.
#[derive(Debug, Clone, Default)]
pub struct Clock<'a>(pub Vec<(Str<'a>, u64)>);

/// What a gossip payload is (5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GossipKind {
    CatalogUpdate,
    RouteAdvertisement,
    RouteWithdrawal,
    LinkStateUpdate,
    RouteKeyAnnouncement,
    /// These are of use between nodes of this program only, see [`kin`].
    AntiEntropy,
    Rumor,
    MembershipProbe,
    MembershipAck,
    MembershipIndirectProbe,
    /// Known to the protocol; nodes send none and do nothing with it.
    Idle,
}

/// The envelope of calls, publications and the rest (11.1).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Message<'a> {
    #[serde(borrow)]
    pub message_id: Str<'a>,
    #[serde(borrow)]
    pub topic: Str<'a>,
    /// See [`MessageKind`]; unknown or absent is data.
    #[serde(borrow, default = "data")]
    pub message_type: Str<'a>,
    #[serde(borrow, default = "fire_and_forget")]
    pub delivery: Str<'a>,
    #[serde(borrow, default)]
    pub payload: Option<&'a RawValue>,
    #[serde(borrow)]
    pub headers: Headers<'a>,
    /// Wall clock; absent: 0.
    #[serde(default)]
    pub timestamp: f64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Headers<'a> {
    #[serde(borrow)]
    pub correlation_id: Str<'a>,
    #[serde(borrow, default)]
    pub source_cluster: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub target_cluster: Option<Str<'a>>,
    /// Nodes that have sent the message, origin first.
    #[serde(borrow, default)]
    pub routing_path: Vec<Str<'a>>,
    #[serde(borrow, default)]
    pub federation_path: Vec<Str<'a>>,
    /// How often the message may be forwarded in all; never counted down.
    #[serde(default)]
    pub hop_budget: Option<i64>,
    #[serde(borrow, default = "normal")]
    pub priority: Str<'a>,
    #[serde(borrow, default = "empty_object")]
    pub metadata: &'a RawValue,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    Rpc,
    Pubsub,
    Queue,
    Cache,
    Control,
    Data,
}

/// What every publication must have (14.1); the rest of it is not looked into.
#[derive(Debug, Clone, Deserialize)]
pub struct Publication<'a> {
    #[serde(borrow)]
    pub topic: Str<'a>,
    #[serde(borrow, deserialize_with = "raw")]
    pub payload: &'a RawValue,
    pub timestamp: f64,
    #[serde(borrow)]
    pub message_id: Str<'a>,
    #[serde(borrow)]
    pub publisher: Str<'a>,
}

impl<'a> Frame<'a> {
    /// Reads one frame of a node. Payloads of gossip and messages are read by what they are for.
    pub fn decode(bytes: &'a [u8]) -> Result<Frame<'a>, Malformed> {
        if bytes.first() == Some(&compact::MARK) {
            return compact::decode(bytes).map(|(message, rpc)| Frame::Call(message, rpc));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Malformed::new("frame", "is not UTF-8"))?;
        if let Some(message) = Message::at_once(text) {
            return Ok(Frame::Message(message));
        }
        let outer: Outer = read(text, "frame")?;
        let Some(role) = outer.role else {
            return Ok(Frame::Answer(Answer {
                r: outer.r,
                error: outer.error.and_then(|e| serde_json::from_str(e.get()).ok()),
                u: outer.u,
            }));
        };
        let inside = |part: Option<&'a RawValue>, name: &str| {
            part.ok_or_else(|| Malformed::new(&role, format!("missing field `{name}`")))
        };
        match &*role {
            "server" => {
                let server = inside(outer.server, "server")?;
                let what: ServerWord = read(server.get(), "server")?;
                match &*what.what {
                    "STATUS" => Ok(Frame::Status(read(server.get(), "STATUS")?, outer.u)),
                    "GOODBYE" => Ok(Frame::Goodbye(read(server.get(), "GOODBYE")?, outer.u)),
                    other => Err(Malformed::new("server.what", format!("unknown word {other:?}"))),
                }
            }
            "fabric-gossip" => Ok(Frame::Gossip(read(inside(outer.payload, "payload")?.get(), "gossip")?)),
            "fabric-message" => {
                let message: Box<Message> = read(inside(outer.payload, "payload")?.get(), "message")?;
                match message.empty_name() {
                    Some(name) => Err(Malformed::new(&format!("message.{name}"), "is empty")),
                    None => Ok(Frame::Message(message)),
                }
            }
            _ => Ok(Frame::Other(role, outer.u)),
        }
    }
}

impl<'a> Outline<'a> {
    pub fn of(bytes: &'a [u8]) -> Option<Outline<'a>> {
        serde_json::from_slice(bytes).ok()
    }
}

impl<'a> Status<'a> {
    /// A status with nothing but the identity of its sender; fill in the rest.
    pub fn new(server_url: &'a str, cluster_id: &'a str, instance_id: &'a str, timestamp: f64) -> Status<'a> {
        Status {
            what: What::Status,
            server_url: server_url.into(),
            cluster_id: cluster_id.into(),
            instance_id: instance_id.into(),
            timestamp,
            status: ok(),
            active_clients: 0,
            peer_count: 0,
            funs: empty_list(),
            locs: empty_list(),
            function_catalog: empty_list(),
            advertised_urls: Vec::new(),
            metrics: empty_object(),
            extensions: Vec::new(),
        }
    }

    pub fn encode(&self, u: &str) -> Bytes {
        encode(&ServerFrame { role: "server", server: self, u })
    }
}

impl<'a> Goodbye<'a> {
    pub fn new(
        node: &'a str,
        cluster_id: &'a str,
        reason: GoodbyeReason,
        instance_id: &'a str,
        now: f64,
    ) -> Self {
        Goodbye {
            what: What::Goodbye,
            departing_node_url: node.into(),
            cluster_id: cluster_id.into(),
            reason,
            instance_id: instance_id.into(),
            timestamp: now,
        }
    }

    pub fn encode(&self, u: &str) -> Bytes {
        encode(&ServerFrame { role: "server", server: self, u })
    }
}

impl Answer<'_> {
    /// The acknowledgement of a `server` message.
    pub fn accepted(word: &'static str, u: Ask) -> Bytes {
        Answer::full(Some(word), None, u)
    }

    /// The refusal of one; the connection is closed after it.
    pub fn refused(code: i64, message: &str, u: Ask) -> Bytes {
        Answer::full(None, Some(AnswerError { code, message: message.into(), details: None }), u)
    }

    fn full(r: Option<&str>, error: Option<AnswerError>, u: Ask) -> Bytes {
        #[derive(Serialize)]
        struct Full<'a> {
            r: Option<&'a str>,
            error: Option<AnswerError<'a>>,
            u: Ask<'a>,
            intermediate_results: [(); 0],
            execution_summary: (),
        }
        encode(&Full { r, error, u, intermediate_results: [], execution_summary: () })
    }

    /// True for the acknowledgement of a STATUS.
    pub fn welcomes(&self) -> bool {
        self.error.is_none() && self.r.is_some_and(|r| r.get() == r#""STATUS""#)
    }
}

impl Gossip<'_> {
    pub fn encode(&self) -> Bytes {
        encode(&Labelled { role: "fabric-gossip", payload: self })
    }

    /// `None` for a type that this protocol does not have.
    pub fn kind(&self) -> Option<GossipKind> {
        Some(match &*self.message_type {
            "catalog_update" => GossipKind::CatalogUpdate,
            "route_advertisement" => GossipKind::RouteAdvertisement,
            "route_withdrawal" => GossipKind::RouteWithdrawal,
            "link_state_update" => GossipKind::LinkStateUpdate,
            "route_key_announcement" => GossipKind::RouteKeyAnnouncement,
            "state_update" | "membership_update" | "config_update" | "heartbeat" | "consensus_proposal"
            | "consensus_vote" => GossipKind::Idle,
            "anti_entropy" => GossipKind::AntiEntropy,
            "rumor" => GossipKind::Rumor,
            "membership_probe" => GossipKind::MembershipProbe,
            "membership_ack" => GossipKind::MembershipAck,
            "membership_indirect_probe" => GossipKind::MembershipIndirectProbe,
            _ => return None,
        })
    }

    /// The payload of a catalog update: what could be read, and what was wrong with single entries.
    pub fn delta(&self) -> Result<(Delta, Vec<Malformed>), Malformed> {
        let payload = self.payload.ok_or_else(|| Malformed::new("gossip", "missing field `payload`"))?;
        match serde_json::from_str(payload.get()) {
            Ok(delta) => Ok((delta, Vec::new())),
            Err(_) => one_by_one(payload.get()),
        }
    }
}

impl Message<'_> {
    pub fn encode(&self) -> Bytes {
        encode(&Labelled { role: "fabric-message", payload: self })
    }

    /// The same with a payload that is not written yet; the own one counts for nothing.
    pub fn encode_with(&self, payload: &impl Serialize) -> Bytes {
        #[derive(Serialize)]
        struct Carrier<'m, 'a, P> {
            message_id: &'m Str<'a>,
            topic: &'m Str<'a>,
            message_type: &'m Str<'a>,
            delivery: &'m Str<'a>,
            payload: &'m P,
            headers: &'m Headers<'a>,
            timestamp: f64,
        }
        let Message { message_id, topic, message_type, delivery, headers, timestamp, .. } = self;
        let timestamp = *timestamp;
        let carrier = Carrier { message_id, topic, message_type, delivery, payload, headers, timestamp };
        encode(&Labelled { role: "fabric-message", payload: &carrier })
    }

    /// Whether a frame plainly holds one: its role says so, as its first member, or it is a compact one. False says
    /// nothing.
    pub fn begins(frame: &[u8]) -> bool {
        frame.first() == Some(&compact::MARK) || begins_with(frame, "role", "fabric-message\"")
    }

    pub fn kind(&self) -> MessageKind {
        match &*self.message_type {
            "rpc" => MessageKind::Rpc,
            "pubsub" => MessageKind::Pubsub,
            "queue" => MessageKind::Queue,
            "cache" => MessageKind::Cache,
            "control" => MessageKind::Control,
            _ => MessageKind::Data,
        }
    }
}

impl<'a> Message<'a> {
    /// Reads a frame that begins as a message does, in one pass; `None` for any other, and for what is wrong.
    fn at_once(text: &'a str) -> Option<Box<Message<'a>>> {
        #[derive(Deserialize)]
        struct Body<'a> {
            #[serde(borrow)]
            payload: Box<Message<'a>>,
        }
        if !Message::begins(text.as_bytes()) {
            return None;
        }
        let message = serde_json::from_str::<Body>(text).ok()?.payload;
        message.empty_name().is_none().then_some(message)
    }

    /// The first of the names that must say something and does not.
    fn empty_name(&self) -> Option<&'static str> {
        let names = [
            ("message_id", &self.message_id),
            ("topic", &self.topic),
            ("headers.correlation_id", &self.headers.correlation_id),
        ];
        names.into_iter().find(|(_, text)| text.is_empty()).map(|(name, _)| name)
    }

    /// The payload of a message of kind rpc.
    pub fn rpc(&self) -> Result<Rpc<'a>, Malformed> {
        #[derive(Deserialize)]
        struct Kind<'a> {
            #[serde(borrow)]
            kind: Str<'a>,
        }
        let payload = self.inside()?;
        // Its writers put the kind first; another order costs one more look.
        if begins_with(payload.as_bytes(), "kind", "rpc-request\"") {
            return Ok(Rpc::Request(read(payload, "rpc-request")?));
        }
        if begins_with(payload.as_bytes(), "kind", "rpc-response\"") {
            return Ok(Rpc::Response(read(payload, "rpc-response")?));
        }
        let Kind { kind } = read(payload, "payload")?;
        match &*kind {
            "rpc-request" => Ok(Rpc::Request(read(payload, "rpc-request")?)),
            "rpc-response" => Ok(Rpc::Response(read(payload, "rpc-response")?)),
            other => Err(Malformed::new("payload.kind", format!("unknown kind {other:?}"))),
        }
    }

    /// The payload of a message of kind pubsub, checked for what it must have.
    pub fn publication(&self) -> Result<(&'a RawValue, Publication<'a>), Malformed> {
        let text = self.inside()?;
        let raw = self.payload.ok_or_else(|| Malformed::new("message", "missing field `payload`"))?;
        Ok((raw, read(text, "publication")?))
    }

    fn inside(&self) -> Result<&'a str, Malformed> {
        self.payload.map(RawValue::get).ok_or_else(|| Malformed::new("message", "missing field `payload`"))
    }
}

impl Clock<'_> {
    /// Counts one more of `node`.
    pub fn tick<'n>(self, node: &'n str) -> Clock<'n>
    where
        Self: 'n,
    {
        let Clock(mut counts) = self;
        match counts.iter_mut().find(|(name, _)| **name == *node) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => counts.push((node.into(), 1)),
        }
        Clock(counts)
    }
}

/// Whether a frame is plainly one of another node: its first member is the role of gossip or of a message, or it
/// is a compact one. False says nothing.
pub fn is_of_a_node(frame: &[u8]) -> bool {
    frame.first() == Some(&compact::MARK) || begins_with(frame, "role", "fabric-")
}

/// Whether an object has the member `name` first, and as its value a text that begins with `beginning`.
fn begins_with(object: &[u8], name: &str, beginning: &str) -> bool {
    let rest = [b"{\"", name.as_bytes(), b"\"", b":", b"\"", beginning.as_bytes()];
    let mut at = object.trim_ascii_start();
    rest.into_iter().all(|part| match at.strip_prefix(part) {
        Some(after) => {
            // Python writes a space after the colon.
            at = if part == b":" { after.trim_ascii_start() } else { after };
            true
        }
        None => false,
    })
}

/// Reads a part of a frame; `what` names it in the error.
fn read<'a, T: Deserialize<'a>>(text: &'a str, what: &str) -> Result<T, Malformed> {
    serde_json::from_str(text).map_err(|error| Malformed::of(what, text, &error))
}

/// The way for a delta with something wrong in it: each entry on its own.
fn one_by_one(text: &str) -> Result<(Delta, Vec<Malformed>), Malformed> {
    let mut bad = Vec::new();
    let lists: DeltaLists = read(text, "payload")?;
    macro_rules! delta {
        ($($list:ident)*) => { Delta {
            update_id: lists.update_id.to_text(),
            cluster_id: lists.cluster_id.to_text(),
            sent_at: lists.sent_at,
            $($list: each(&lists.$list, concat!("payload.", stringify!($list)), &mut bad),)*
        } };
    }
    let delta = delta! {
        functions function_removals topics topic_removals queues queue_removals services service_removals caches
        cache_removals cache_profiles cache_profile_removals nodes node_removals
    };
    Ok((delta, bad))
}

fn each<T: DeserializeOwned>(list: &[&RawValue], what: &str, bad: &mut Vec<Malformed>) -> Vec<T> {
    let read_one = |raw: &&RawValue| read::<T>(raw.get(), what).map_err(|e| bad.push(e)).ok();
    list.iter().filter_map(read_one).collect()
}

fn encode(message: &impl Serialize) -> Bytes {
    let mut out = Vec::with_capacity(ENCODED_BYTES);
    // Encoding of these types fails only for numbers that are not finite, which none of them is given.
    match serde_json::to_writer(&mut out, message) {
        Ok(()) => out.into(),
        Err(_) => Bytes::new(),
    }
}

#[derive(Deserialize)]
struct Outer<'a> {
    #[serde(borrow, default)]
    role: Option<Str<'a>>,
    #[serde(borrow, default)]
    server: Option<&'a RawValue>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
    #[serde(borrow, default)]
    u: Ask<'a>,
    #[serde(borrow, default)]
    r: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ServerWord<'a> {
    #[serde(borrow)]
    what: Str<'a>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum What {
    Status,
    Goodbye,
}

#[derive(Serialize)]
struct ServerFrame<'a, T> {
    role: &'static str,
    server: &'a T,
    u: &'a str,
}

#[derive(Serialize)]
struct Labelled<'a, T> {
    role: &'static str,
    payload: &'a T,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "'de: 'a"), default)]
#[derive(Default)]
struct DeltaLists<'a> {
    #[serde(borrow)]
    update_id: Str<'a>,
    #[serde(borrow)]
    cluster_id: Str<'a>,
    sent_at: f64,
    #[serde(borrow)]
    functions: Vec<&'a RawValue>,
    #[serde(borrow)]
    function_removals: Vec<&'a RawValue>,
    #[serde(borrow)]
    topics: Vec<&'a RawValue>,
    #[serde(borrow)]
    topic_removals: Vec<&'a RawValue>,
    #[serde(borrow)]
    queues: Vec<&'a RawValue>,
    #[serde(borrow)]
    queue_removals: Vec<&'a RawValue>,
    #[serde(borrow)]
    services: Vec<&'a RawValue>,
    #[serde(borrow)]
    service_removals: Vec<&'a RawValue>,
    #[serde(borrow)]
    caches: Vec<&'a RawValue>,
    #[serde(borrow)]
    cache_removals: Vec<&'a RawValue>,
    #[serde(borrow)]
    cache_profiles: Vec<&'a RawValue>,
    #[serde(borrow)]
    cache_profile_removals: Vec<&'a RawValue>,
    #[serde(borrow)]
    nodes: Vec<&'a RawValue>,
    #[serde(borrow)]
    node_removals: Vec<&'a RawValue>,
}

impl Serialize for Clock<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(node, count)| (&**node, count)))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Clock<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Clock<'a>, D::Error> {
        struct Counts;
        impl<'de> serde::de::Visitor<'de> for Counts {
            type Value = Clock<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("node ids with counts")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Clock<'de>, A::Error> {
                let mut counts = Vec::new();
                while let Some((node, count)) = map.next_entry::<Str<'de>, u64>()? {
                    if counts.len() < CLOCK_ENTRIES_MAX {
                        counts.push((node, count));
                    }
                }
                Ok(Clock(counts))
            }
        }
        deserializer.deserialize_map(Counts)
    }
}

fn ok() -> Str<'static> {
    "ok".into()
}

fn normal() -> Str<'static> {
    "normal".into()
}

fn data() -> Str<'static> {
    "data".into()
}

fn fire_and_forget() -> Str<'static> {
    "fire_and_forget".into()
}

fn gossip_ttl() -> i64 {
    10
}

fn gossip_max_hops() -> i64 {
    5
}

pub fn empty_list<'a>() -> &'a RawValue {
    constant("[]")
}

pub fn empty_object<'a>() -> &'a RawValue {
    constant("{}")
}

fn constant(text: &'static str) -> &'static RawValue {
    serde_json::from_str(text).unwrap_or(RawValue::NULL)
}

/// A clock has an entry per node ever seen and no use; a longer one is cut.
const CLOCK_ENTRIES_MAX: usize = 1000;
/// What most messages fit into, so that writing one asks for memory once.
const ENCODED_BYTES: usize = 1024;
