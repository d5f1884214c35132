//! What a client reads from a node (client.md 2.2, 5.1, 7.1): the other end of [`super::write`].
//!
//! Only `u` is mandatory in a response, and the role may be there or not; results stay text.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::core::error::CallError;
use crate::wire::json::{self, Members};

/// One document from a node.
#[derive(Debug)]
pub enum FromNode<'a> {
    Response(Response<'a>),
    Ack(Ack<'a>),
    Notification(Notification<'a>),
    /// A role that no client waits for, such as `server` or `fabric-gossip`.
    Other {
        role: Cow<'a, str>,
    },
}

/// The answer to a request.
#[derive(Debug, Deserialize)]
pub struct Response<'a> {
    /// An object by command name, null beside an error; peers get other values.
    #[serde(borrow, default)]
    pub r: Option<&'a RawValue>,
    #[serde(default)]
    pub error: Option<CallError>,
    #[serde(borrow)]
    pub u: Cow<'a, str>,
    #[serde(borrow, default)]
    pub intermediate_results: Vec<&'a RawValue>,
    #[serde(default)]
    pub execution_summary: Option<ExecutionSummary>,
}

/// One level of a request as `return_intermediate_results` shows it (client.md 2.9).
#[derive(Debug, Deserialize)]
pub struct IntermediateResult<'a> {
    #[serde(borrow)]
    pub request_id: Cow<'a, str>,
    pub level_index: usize,
    #[serde(borrow)]
    pub level_results: Members<'a>,
    #[serde(borrow)]
    pub accumulated_results: Members<'a>,
    pub total_levels: usize,
    pub completed_levels: usize,
    pub timestamp: f64,
    pub execution_time_ms: f64,
}

/// What `include_execution_summary` adds (client.md 2.9).
#[derive(Debug, Clone, PartialEq, Deserialize, serde::Serialize)]
pub struct ExecutionSummary {
    pub request_id: String,
    pub total_execution_time_ms: f64,
    pub total_levels: usize,
    pub level_execution_times: Vec<f64>,
    pub bottleneck_level_index: usize,
    pub average_level_time_ms: f64,
    pub parallel_commands_executed: usize,
    pub cross_cluster_hops: usize,
}

/// The answer to a pub/sub message.
#[derive(Debug, Deserialize)]
pub struct Ack<'a> {
    #[serde(borrow)]
    pub operation_id: Cow<'a, str>,
    pub success: bool,
    #[serde(default)]
    pub error: Option<String>,
    #[serde(borrow)]
    pub u: Cow<'a, str>,
}

/// A published message for one subscription.
#[derive(Debug, Deserialize)]
pub struct Notification<'a> {
    #[serde(borrow)]
    pub message: Published<'a>,
    #[serde(borrow)]
    pub subscription_id: Cow<'a, str>,
    #[serde(borrow)]
    pub u: Cow<'a, str>,
}

/// The message within a notification.
#[derive(Debug, Deserialize)]
pub struct Published<'a> {
    #[serde(borrow)]
    pub topic: Cow<'a, str>,
    #[serde(borrow)]
    pub payload: &'a RawValue,
    pub timestamp: f64,
    #[serde(borrow)]
    pub message_id: Cow<'a, str>,
    #[serde(borrow)]
    pub publisher: Cow<'a, str>,
    #[serde(borrow, default)]
    pub headers: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub routing_path: Option<&'a RawValue>,
    #[serde(default)]
    pub current_hop: Option<i64>,
}

/// Reads one frame from a node; the error says why it is none of its documents.
pub fn read(frame: &[u8]) -> Result<FromNode<'_>, String> {
    let Head { role, u } = json::document(frame)?;
    Ok(match role.as_deref() {
        Some("pubsub-ack") => FromNode::Ack(json::document(frame)?),
        Some("pubsub-notification") => FromNode::Notification(json::document(frame)?),
        None | Some("rpc-response") => FromNode::Response(json::document(frame)?),
        // As the reference's client: whatever has no role of its own and answers a request is a response.
        Some(name) if u.is_some() && super::Role::from_wire(name).is_none() => {
            FromNode::Response(json::document(frame)?)
        }
        Some(_) => FromNode::Other { role: role.unwrap_or_default() },
    })
}

impl<'a> Response<'a> {
    /// The results by command name; `None` if there are none or `r` is something else.
    pub fn results(&self) -> Option<Members<'a>> {
        self.r.and_then(json::members)
    }
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, default)]
    role: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    u: Option<&'a RawValue>,
}
