//! The documents between a client and a node (client.md 1.5, 2.1, 2.2, 5.1).
//!
//! [`read`] turns one frame into a message whose texts and values are borrowed from the frame. It is as lenient as
//! client.md 1.8 says: unknown members are ignored, of equal names the last counts, scalars may be written in more
//! than one way. A frame that is JSON but not a message of its role becomes a [`Malformed`] that names the member
//! at fault and can be answered; only a frame without a usable `u` is [`Unreadable`].
//! Arguments, payloads and headers stay text. The other direction is in [`write`], the client's side in [`answer`].

pub mod answer;
mod scalar;
mod shape;
#[cfg(test)]
mod tests;
pub mod write;

use std::borrow::Cow;

use serde::de::MapAccess;
use serde_json::value::RawValue;

use crate::core::error::{CallError, TIMED_OUT};
use crate::core::reason::Reason;
use crate::core::rpc::text::clipped;
use crate::wire::json;
use scalar::Fault;
use shape::{Fields, List, Slot, fields};

/// One message to a node.
#[derive(Debug)]
pub enum Message<'a> {
    Rpc(RpcRequest<'a>),
    Publish(Publish<'a>),
    Subscribe(Subscribe),
    Unsubscribe(Unsubscribe<'a>),
    /// Between nodes; its body is for the fabric to read.
    Peer(PeerMessage<'a>),
    Malformed(Malformed<'a>),
    UnknownRole(UnknownRole<'a>),
}

/// A request to run commands (client.md 2.1).
#[derive(Debug, Clone)]
pub struct RpcRequest<'a> {
    pub u: Cow<'a, str>,
    pub commands: Vec<Command<'a>>,
    pub return_intermediate_results: bool,
    pub intermediate_result_callback_topic: Option<Cow<'a, str>>,
    pub include_execution_summary: bool,
    /// How long the client waits, above zero. Not known to clients of the reference.
    pub timeout_seconds: Option<f64>,
}

/// One command of a request. The optional texts are absent when they were null or empty.
#[derive(Debug, Clone)]
pub struct Command<'a> {
    /// Label within the request and name of its result.
    pub name: Cow<'a, str>,
    pub fun: Cow<'a, str>,
    /// An array.
    pub args: Option<&'a RawValue>,
    /// An object.
    pub kwargs: Option<&'a RawValue>,
    /// Resources that the function must carry, sorted, each once.
    pub locs: Vec<Cow<'a, str>>,
    pub function_id: Option<Cow<'a, str>>,
    pub version_constraint: Option<Cow<'a, str>>,
    pub target_cluster: Option<Cow<'a, str>>,
}

/// A message for a topic (client.md 5.1).
#[derive(Debug, Clone)]
pub struct Publish<'a> {
    pub u: Cow<'a, str>,
    pub topic: Cow<'a, str>,
    pub payload: &'a RawValue,
    /// Seconds since the epoch, as the publisher says.
    pub timestamp: f64,
    pub message_id: Cow<'a, str>,
    pub publisher: Cow<'a, str>,
    /// An object.
    pub headers: Option<&'a RawValue>,
    /// An array of strings; carried along.
    pub routing_path: Option<&'a RawValue>,
    /// Carried along.
    pub current_hop: Option<i64>,
}

/// A subscription that a client asks for. Owned, since it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscribe {
    pub u: String,
    pub subscription_id: String,
    pub patterns: Vec<String>,
    pub subscriber: String,
    pub created_at: f64,
    pub get_backlog: bool,
    pub backlog_seconds: i64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Unsubscribe<'a> {
    pub u: Cow<'a, str>,
    pub subscription_id: Cow<'a, str>,
}

/// What a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Rpc,
    Publish,
    Subscribe,
    Unsubscribe,
    Server,
    Gossip,
    Fabric,
    ConsensusProposal,
    ConsensusVote,
}

/// A message of a node. Which of the members must be there is for its reader to say.
#[derive(Debug, Clone)]
pub struct PeerMessage<'a> {
    pub role: Role,
    pub u: Option<Cow<'a, str>>,
    /// Member `server`.
    pub server: Option<&'a RawValue>,
    /// Member `payload`.
    pub payload: Option<&'a RawValue>,
}

/// A message of a client's role that says too little, or something wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Malformed<'a> {
    pub u: Cow<'a, str>,
    pub role: Role,
    /// Path of the member at fault, as in `cmds[0].name`.
    pub member: String,
    /// Names the member and says what is wrong.
    pub text: String,
}

/// A message with a role that a node does not serve.
#[derive(Debug, Clone, PartialEq)]
pub struct UnknownRole<'a> {
    /// `unknown` if the message had none.
    pub u: Cow<'a, str>,
    /// `None` if the message had none, as the reference prints it.
    pub role: Cow<'a, str>,
}

/// A frame that cannot be answered: not JSON, not an object, or without a usable `u`. The link ends with this text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    pub text: String,
}

/// Reads one frame from a client or peer.
pub fn read(frame: &[u8]) -> Result<Message<'_>, Unreadable> {
    let envelope = match json::document::<Slot<Envelope<'_>>>(frame) {
        Ok(Slot::Object(envelope)) => envelope,
        Ok(Slot::Other(kind)) => {
            return Err(Unreadable { text: format!("a message must be an object, not {kind}") });
        }
        Err(text) => return Err(Unreadable { text }),
    };
    let role = match envelope.role {
        None => return envelope.unknown_role(Cow::Borrowed(NO_ROLE)),
        Some(raw) => match json::text(raw) {
            None if raw.get() == "null" => return envelope.unknown_role(Cow::Borrowed(NO_ROLE)),
            None => return envelope.unknown_role(Cow::Owned(clipped(raw.get(), scalar::CLIPPED_CHARS))),
            Some(text) => match Role::from_wire(&text) {
                Some(role) => role,
                None => return envelope.unknown_role(text),
            },
        },
    };
    if !matches!(role, Role::Rpc | Role::Publish | Role::Subscribe | Role::Unsubscribe) {
        let u = envelope.u.and_then(json::text);
        return Ok(Message::Peer(PeerMessage {
            role,
            u,
            server: envelope.server,
            payload: envelope.payload,
        }));
    }
    let u = envelope.usable_u()?;
    let message = match role {
        Role::Publish => envelope.publish(&u).map(Message::Publish),
        Role::Subscribe => envelope.subscribe(&u).map(Message::Subscribe),
        Role::Unsubscribe => envelope.unsubscribe(&u).map(Message::Unsubscribe),
        _ => envelope.rpc(&u).map(Message::Rpc),
    };
    Ok(message
        .unwrap_or_else(|Fault { member, text }| Message::Malformed(Malformed { u, role, member, text })))
}

/// The role of a frame and nothing else, for those who only sort messages.
pub fn role(frame: &[u8]) -> Option<Role> {
    match json::document::<Slot<Envelope<'_>>>(frame) {
        Ok(Slot::Object(envelope)) => Role::from_wire(&json::text(envelope.role?)?),
        _ => None,
    }
}

impl Role {
    pub fn from_wire(name: &str) -> Option<Role> {
        Some(match name {
            "rpc" => Role::Rpc,
            "pubsub-publish" => Role::Publish,
            "pubsub-subscribe" => Role::Subscribe,
            "pubsub-unsubscribe" => Role::Unsubscribe,
            "server" => Role::Server,
            "fabric-gossip" => Role::Gossip,
            "fabric-message" => Role::Fabric,
            "consensus-proposal" => Role::ConsensusProposal,
            "consensus-vote" => Role::ConsensusVote,
            _ => return None,
        })
    }
}

impl Command<'_> {
    /// The positional arguments; an empty array where none were given.
    pub fn args(&self) -> &RawValue {
        self.args.unwrap_or_else(|| constant("[]"))
    }

    /// The named arguments; an empty object where none were given.
    pub fn kwargs(&self) -> &RawValue {
        self.kwargs.unwrap_or_else(|| constant("{}"))
    }
}

impl Malformed<'_> {
    /// The answer to its sender: an error 1003, or an ack that says no.
    pub fn answer(&self, out: &mut Vec<u8>) {
        match self.role {
            Role::Rpc => write::error(out, &self.u, &self.error()),
            _ => write::ack(out, &self.u, Err(&self.text)),
        }
    }

    pub fn error(&self) -> CallError {
        CallError::failed(self.text.clone()).because(Reason::BadRequest)
    }
}

impl UnknownRole<'_> {
    /// The answer to its sender: an error 1004.
    pub fn answer(&self, out: &mut Vec<u8>) {
        write::error(out, &self.u, &self.error());
    }

    pub fn error(&self) -> CallError {
        CallError::new(TIMED_OUT, format!("Invalid RPC request role: {}", self.role), None)
            .because(Reason::UnknownRole)
    }
}

impl Unreadable {
    pub fn reason(&self) -> Reason {
        Reason::BadFrame
    }
}

/// The members of any message, still text; of equal names the last.
#[derive(Default)]
struct Envelope<'a> {
    role: Option<&'a RawValue>,
    u: Option<&'a RawValue>,
    cmds: Option<List<CommandFields<'a>>>,
    return_intermediate_results: Option<&'a RawValue>,
    intermediate_result_callback_topic: Option<&'a RawValue>,
    include_execution_summary: Option<&'a RawValue>,
    debug_mode: Option<&'a RawValue>,
    timeout_seconds: Option<&'a RawValue>,
    subscription: Option<Slot<SubscriptionFields<'a>>>,
    subscription_id: Option<&'a RawValue>,
    message: Option<Slot<MessageFields<'a>>>,
    server: Option<&'a RawValue>,
    payload: Option<&'a RawValue>,
}

impl<'a> Envelope<'a> {
    fn unknown_role(&self, role: Cow<'a, str>) -> Result<Message<'a>, Unreadable> {
        let u = match self.u {
            None => Cow::Borrowed("unknown"),
            Some(_) => self.usable_u()?,
        };
        Ok(Message::UnknownRole(UnknownRole { u, role }))
    }

    fn usable_u(&self) -> Result<Cow<'a, str>, Unreadable> {
        let Some(raw) = self.u else { return Err(Unreadable { text: "a message without u".to_owned() }) };
        json::text(raw)
            .ok_or_else(|| Unreadable { text: format!("u must be a string, not {}", json::kind(raw)) })
    }

    fn rpc(&self, u: &Cow<'a, str>) -> Result<RpcRequest<'a>, Fault> {
        let slots = match &self.cmds {
            None => return Err(Fault::missing("cmds")),
            Some(List::Other(kind)) => return Err(Fault::not_a("cmds", "an array of commands", kind)),
            Some(List::Array(slots)) => slots,
        };
        scalar::few("cmds", slots.len())?;
        let mut commands = Vec::with_capacity(slots.len());
        for (index, slot) in slots.iter().enumerate() {
            match slot {
                Slot::Object(fields) => {
                    commands.push(fields.command().map_err(|fault| fault.below(&format!("cmds[{index}]")))?);
                }
                Slot::Other(kind) => return Err(Fault::not_a(&format!("cmds[{index}]"), "an object", kind)),
            }
        }
        scalar::flag("debug_mode", self.debug_mode, false)?;
        let timeout_seconds = match scalar::given(self.timeout_seconds) {
            None => None,
            Some(raw) => {
                let seconds = scalar::float("timeout_seconds", Some(raw))?;
                if seconds <= 0.0 {
                    return Err(Fault::new("timeout_seconds", "must be above zero"));
                }
                Some(seconds)
            }
        };
        Ok(RpcRequest {
            u: u.clone(),
            commands,
            return_intermediate_results: scalar::flag(
                "return_intermediate_results",
                self.return_intermediate_results,
                false,
            )?,
            intermediate_result_callback_topic: scalar::optional_text(
                "intermediate_result_callback_topic",
                self.intermediate_result_callback_topic,
            )?,
            include_execution_summary: scalar::flag(
                "include_execution_summary",
                self.include_execution_summary,
                false,
            )?,
            timeout_seconds,
        })
    }

    fn publish(&self, u: &Cow<'a, str>) -> Result<Publish<'a>, Fault> {
        match &self.message {
            None => Err(Fault::missing("message")),
            Some(Slot::Other(kind)) => Err(Fault::not_a("message", "an object", kind)),
            Some(Slot::Object(message)) => message.publish(u).map_err(|fault| fault.below("message")),
        }
    }

    fn subscribe(&self, u: &str) -> Result<Subscribe, Fault> {
        match &self.subscription {
            None => Err(Fault::missing("subscription")),
            Some(Slot::Other(kind)) => Err(Fault::not_a("subscription", "an object", kind)),
            Some(Slot::Object(fields)) => fields.subscribe(u).map_err(|fault| fault.below("subscription")),
        }
    }

    fn unsubscribe(&self, u: &Cow<'a, str>) -> Result<Unsubscribe<'a>, Fault> {
        let subscription_id = scalar::text("subscription_id", self.subscription_id)?;
        Ok(Unsubscribe { u: u.clone(), subscription_id })
    }
}

/// The members of one command. `routing_topic` is checked by nobody and ignored.
#[derive(Default)]
struct CommandFields<'a> {
    name: Option<&'a RawValue>,
    fun: Option<&'a RawValue>,
    args: Option<&'a RawValue>,
    kwargs: Option<&'a RawValue>,
    locs: Option<&'a RawValue>,
    function_id: Option<&'a RawValue>,
    version_constraint: Option<&'a RawValue>,
    target_cluster: Option<&'a RawValue>,
}

impl<'a> CommandFields<'a> {
    fn command(&self) -> Result<Command<'a>, Fault> {
        Ok(Command {
            name: scalar::text("name", self.name)?,
            fun: scalar::text("fun", self.fun)?,
            args: scalar::flat("args", scalar::array("args", self.args)?)?,
            kwargs: scalar::flat("kwargs", scalar::map("kwargs", self.kwargs)?)?,
            locs: match self.locs {
                None => Vec::new(),
                // A set: a repeated resource must not cost a comparison with every endpoint.
                Some(raw) => {
                    let mut locs = scalar::texts("locs", raw)?;
                    locs.sort_unstable();
                    locs.dedup();
                    locs
                }
            },
            function_id: scalar::optional_text("function_id", self.function_id)?,
            version_constraint: scalar::optional_text("version_constraint", self.version_constraint)?,
            target_cluster: scalar::optional_text("target_cluster", self.target_cluster)?,
        })
    }
}

#[derive(Default)]
struct MessageFields<'a> {
    topic: Option<&'a RawValue>,
    payload: Option<&'a RawValue>,
    timestamp: Option<&'a RawValue>,
    message_id: Option<&'a RawValue>,
    publisher: Option<&'a RawValue>,
    headers: Option<&'a RawValue>,
    routing_path: Option<&'a RawValue>,
    current_hop: Option<&'a RawValue>,
}

impl<'a> MessageFields<'a> {
    fn publish(&self, u: &Cow<'a, str>) -> Result<Publish<'a>, Fault> {
        let routing_path = scalar::given(self.routing_path);
        if let Some(raw) = routing_path {
            scalar::texts("routing_path", raw)?;
        }
        Ok(Publish {
            u: u.clone(),
            topic: scalar::text("topic", self.topic)?,
            payload: scalar::flat("payload", self.payload)?.ok_or_else(|| Fault::missing("payload"))?,
            timestamp: scalar::float("timestamp", self.timestamp)?,
            message_id: scalar::text("message_id", self.message_id)?,
            publisher: scalar::text("publisher", self.publisher)?,
            headers: scalar::flat("headers", scalar::map("headers", self.headers)?)?,
            routing_path,
            current_hop: scalar::given(self.current_hop)
                .map(|raw| scalar::integer("current_hop", raw))
                .transpose()?,
        })
    }
}

#[derive(Default)]
struct SubscriptionFields<'a> {
    subscription_id: Option<&'a RawValue>,
    patterns: Option<List<PatternFields<'a>>>,
    subscriber: Option<&'a RawValue>,
    created_at: Option<&'a RawValue>,
    get_backlog: Option<&'a RawValue>,
    backlog_seconds: Option<&'a RawValue>,
}

impl<'a> SubscriptionFields<'a> {
    fn subscribe(&self, u: &str) -> Result<Subscribe, Fault> {
        let slots = match &self.patterns {
            None => return Err(Fault::missing("patterns")),
            Some(List::Other(kind)) => return Err(Fault::not_a("patterns", "an array of patterns", kind)),
            Some(List::Array(slots)) => slots,
        };
        scalar::few("patterns", slots.len())?;
        let mut patterns = Vec::with_capacity(slots.len());
        for (index, slot) in slots.iter().enumerate() {
            match slot {
                Slot::Object(fields) => {
                    patterns
                        .push(fields.pattern().map_err(|fault| fault.below(&format!("patterns[{index}]")))?);
                }
                Slot::Other(kind) => {
                    let member = format!("patterns[{index}]");
                    return Err(Fault::not_a(&member, "an object such as {\"pattern\":\"a.*\"}", kind));
                }
            }
        }
        Ok(Subscribe {
            u: u.to_owned(),
            subscription_id: scalar::text("subscription_id", self.subscription_id)?.into_owned(),
            patterns,
            subscriber: scalar::text("subscriber", self.subscriber)?.into_owned(),
            created_at: scalar::float("created_at", self.created_at)?,
            get_backlog: scalar::flag("get_backlog", self.get_backlog, true)?,
            backlog_seconds: match self.backlog_seconds {
                None => BACKLOG_SECONDS,
                Some(raw) => scalar::integer("backlog_seconds", raw)?,
            },
        })
    }
}

#[derive(Default)]
struct PatternFields<'a> {
    pattern: Option<&'a RawValue>,
    exact_match: Option<&'a RawValue>,
}

impl PatternFields<'_> {
    fn pattern(&self) -> Result<String, Fault> {
        // The flag is checked and, as in the reference, has no effect.
        scalar::flag("exact_match", self.exact_match, false)?;
        Ok(scalar::text("pattern", self.pattern)?.into_owned())
    }
}

fields!(Envelope EnvelopeKey: role Role u U cmds Cmds
    return_intermediate_results Intermediate intermediate_result_callback_topic Topic
    include_execution_summary Summary debug_mode Debug timeout_seconds Timeout
    subscription Subscription subscription_id SubscriptionId message Message server Server payload Payload);
fields!(CommandFields CommandKey: name Name fun Fun args Args kwargs Kwargs locs Locs
    function_id FunctionId version_constraint Constraint target_cluster Cluster);
fields!(MessageFields MessageKey: topic Topic payload Payload timestamp Timestamp message_id MessageId
    publisher Publisher headers Headers routing_path Path current_hop Hop);
fields!(SubscriptionFields SubscriptionKey: subscription_id Id patterns Patterns subscriber Subscriber
    created_at CreatedAt get_backlog GetBacklog backlog_seconds BacklogSeconds);
fields!(PatternFields PatternKey: pattern Pattern exact_match Exact);

/// An empty array or object; both texts are JSON.
fn constant(text: &'static str) -> &'static RawValue {
    serde_json::from_str(text).unwrap_or(RawValue::NULL)
}

/// How the reference prints the role of a message that has none.
const NO_ROLE: &str = "None";
/// How far back a subscription reaches that does not say.
const BACKLOG_SECONDS: i64 = 300;
