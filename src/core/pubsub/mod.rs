//! Publish and subscribe of one node, as data structures without clock or socket.
//!
//! `pattern` says when a pattern matches a topic, `trie` answers that for many patterns at once, and `registry` keeps
//! who subscribed: clients of this node, and other nodes on behalf of theirs (`remote`). `backlog` keeps recent
//! messages for late subscribers and `outbound` is what waits for one connection; both stand on `lanes`, a queue
//! from which the oldest of one lane can be taken. `reserved` says which topics belong to the nodes.
//!
//! Everything here is bounded, and whatever is refused or dropped is returned to the caller with its `Reason`.
//! Payloads are never looked at.

mod lanes;

pub mod backlog;
pub mod outbound;
pub mod pattern;
pub mod registry;
pub mod remote;
pub mod reserved;
pub mod trie;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::reason::Reason;

/// A connection of this node; the driver numbers them and never uses a number twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// A subscription of this node, from its first subscribe until it ends. Numbers are never used twice, so a handle
/// kept in a cache can only miss, never hit somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionHandle(pub u64);

/// Where a message goes: one subscription of one connection of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub connection: ConnectionId,
    pub subscription: SubscriptionHandle,
    /// The id that the client chose; unique only within its connection.
    pub subscription_id: Arc<str>,
}

/// Another node that has at least one matching subscription.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RemoteTarget {
    pub node: Arc<str>,
}

/// A published message in the form in which it is delivered, shared by everything that delivers or keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub topic: Arc<str>,
    pub message_id: Arc<str>,
    /// The publisher's own time in Unix seconds, taken as given.
    pub timestamp: f64,
    /// The encoded message. It must not be a slice of a much larger buffer: only its own length is accounted.
    pub body: Bytes,
}

/// Why a pub/sub request was refused: the reason to count, and the text for the `error` member of its ack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub reason: Reason,
    pub text: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Refusal {}
