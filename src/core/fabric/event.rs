//! What happens to the fabric, and what it wants done.

use super::*;

/// What happens to the fabric.
#[derive(Debug)]
pub enum Event {
    /// A connection to another node is open: one that was asked for by [`Action::Dial`], or one that came in and has
    /// sent its first message of a node's role.
    LinkOpened {
        link: LinkId,
        dialled: Option<Text>,
        facts: LinkFacts,
    },
    LinkClosed {
        link: LinkId,
    },
    DialFailed {
        url: Text,
    },
    /// A message of the roles server, fabric-gossip and fabric-message, or without role.
    Message {
        link: LinkId,
        bytes: Bytes,
    },
    /// All functions that this node serves, those of before replaced. Holder and times are filled in.
    LocalFunctions(Vec<FunctionEntry>),
    /// Other entries of this node, new and removed. Holder and times are filled in.
    Local(Box<Delta>),
    /// Connections of this node, for its load.
    ActiveClients(i64),
    /// A command of a client that is to run on another node.
    Call(Box<Call>),
    /// The client has gone; whatever comes is not wanted any more.
    CancelCall {
        request_id: Text,
    },
    /// What became of an [`Action::Execute`].
    CallDone {
        execution: u64,
        outcome: Result<Box<RawValue>, CallError>,
    },
    /// A client of this node has published; local subscribers are served by whoever sends this.
    Publish {
        topic: Text,
        message_id: Text,
        timestamp: f64,
        message: Bytes,
    },
    /// The node takes no new work, or does again: its peers choose others where they can.
    Draining(bool),
    /// Other settings hold from now on.
    Revised(Box<Revision>),
    /// The addresses of each peer that all sources of peers tell of now.
    PeersFound(Vec<Vec<Text>>),
    /// What was known before a restart; the first event of a node that remembers.
    Restored(Box<Restored>),
    /// Policy does not let these entries of others in any more. Only this node takes them out.
    Expelled(Box<Delta>),
    /// The time of `next_deadline` has come.
    Tick,
    /// The node says goodbye; nothing is begun any more.
    Stop,
}

impl Event {
    /// Whether it is about a call or a publication, of which there may be many thousand in a second.
    pub(super) fn is_call(&self) -> bool {
        match self {
            Event::Message { bytes, .. } => Message::begins(bytes),
            Event::Call(_) | Event::CancelCall { .. } | Event::CallDone { .. } | Event::Publish { .. } => {
                true
            }
            _ => false,
        }
    }
}

/// A command for the node that was chosen for it.
#[derive(Debug)]
pub struct Call {
    /// Unique among all nodes, as a ULID or UUID is.
    pub request_id: Text,
    pub command: Text,
    pub function_id: Option<Text>,
    pub version_constraint: Option<Text>,
    pub resources: Vec<Text>,
    pub cluster: Text,
    pub node: Text,
    pub args: Box<RawValue>,
    pub kwargs: Box<RawValue>,
    pub deadline: Duration,
    /// How much later than that it ends here, for whoever ends it in his own words before.
    pub patience: Duration,
}

/// What the fabric wants done.
#[derive(Debug)]
pub enum Action {
    Send {
        link: LinkId,
        bytes: Bytes,
    },
    /// After everything that was sent before it. Reported as closed like any other end of a link.
    Close {
        link: LinkId,
        code: u16,
        reason: &'static str,
    },
    /// To be answered by `LinkOpened` or `DialFailed`.
    Dial {
        url: Text,
        /// How long it may take, where that differs from peers.connect_timeout.
        timeout: Option<Duration>,
    },
    /// To be answered by `CallDone`.
    Execute(Box<Execution>),
    /// Nobody waits for an [`Action::Execute`] any more; it may be given up and is not to be answered.
    CancelExecution {
        execution: u64,
    },
    CallAnswered {
        request_id: Text,
        outcome: Result<Box<RawValue>, CallError>,
    },
    /// For the subscribers of this node.
    Deliver {
        topic: Text,
        message_id: Text,
        message: Bytes,
    },
    /// The catalog is another one now; the delta says in what.
    CatalogChanged(Box<Delta>),
    /// Something was not done, `count` times.
    Refused {
        reason: Reason,
        link: Option<LinkId>,
        count: usize,
        text: String,
    },
    Log {
        level: log::Level,
        text: String,
    },
}

/// A call of another node for a function of this one.
#[derive(Debug)]
pub struct Execution {
    pub execution: u64,
    pub request_id: Text,
    pub command: Text,
    pub function_id: Option<Text>,
    pub version_constraint: Option<Text>,
    pub resources: Vec<Text>,
    pub args: Box<RawValue>,
    pub kwargs: Box<RawValue>,
    /// The cluster that asks, as far as the link vouches for it: the viewer of policies.
    pub caller_cluster: Text,
    /// The node that asks, as it says.
    pub caller: Text,
    /// When it gives up, if it said so.
    pub time_left: Option<Duration>,
}
