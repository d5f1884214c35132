//! The messages a client sends and reads (client.md 2.1, 2.2, 5.1), as serde shapes. Values that belong to the
//! caller stay text: they are neither parsed nor rewritten here.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};

use crate::core::error::CallError;
use crate::wire::client::answer::Published;

/// One command of a request.
#[derive(Debug, Serialize)]
pub struct Command<'a> {
    /// Label inside the request, key of its result, target of references.
    pub name: &'a str,
    pub fun: &'a str,
    /// A JSON array.
    pub args: &'a RawValue,
    pub kwargs: &'a Map<String, Value>,
    pub locs: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_constraint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_cluster: Option<&'a str>,
}

/// A published message as it reached a subscriber.
#[derive(Debug, Deserialize)]
pub struct Notification {
    pub subscription_id: String,
    /// The whole message; `Notification::message` reads it.
    pub message: Box<RawValue>,
}

impl Notification {
    pub fn message(&self) -> Result<Published<'_>, serde_json::Error> {
        serde_json::from_str(self.message.get())
    }
}

#[derive(Serialize)]
pub(super) struct Request<'a> {
    pub role: &'static str,
    pub u: &'a str,
    pub cmds: &'a [Command<'a>],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub return_intermediate_results: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub include_execution_summary: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<f64>,
}

#[derive(Serialize)]
pub(super) struct Subscribe<'a> {
    pub role: &'static str,
    pub u: &'a str,
    pub subscription: SubscriptionBody<'a>,
}

#[derive(Serialize)]
pub(super) struct SubscriptionBody<'a> {
    subscription_id: &'a str,
    patterns: Vec<Pattern<'a>>,
    subscriber: &'static str,
    created_at: f64,
    get_backlog: bool,
    backlog_seconds: u64,
}

impl<'a> SubscriptionBody<'a> {
    pub fn new(
        subscription_id: &'a str,
        patterns: &'a [String],
        created_at: f64,
        backlog_seconds: u64,
    ) -> SubscriptionBody<'a> {
        let exact = |pattern: &str| !pattern.contains(['*', '#']);
        SubscriptionBody {
            subscription_id,
            patterns: patterns
                .iter()
                .map(|pattern| Pattern { pattern, exact_match: exact(pattern) })
                .collect(),
            subscriber: super::PUBLISHER,
            created_at,
            get_backlog: backlog_seconds > 0,
            backlog_seconds,
        }
    }
}

#[derive(Serialize)]
struct Pattern<'a> {
    pattern: &'a str,
    exact_match: bool,
}

#[derive(Serialize)]
pub(super) struct Unsubscribe<'a> {
    pub role: &'static str,
    pub u: &'a str,
    pub subscription_id: &'a str,
}

#[derive(Serialize)]
pub(super) struct Publish<'a> {
    pub role: &'static str,
    pub u: &'a str,
    pub message: PublishBody<'a>,
}

#[derive(Serialize)]
pub(super) struct PublishBody<'a> {
    pub topic: &'a str,
    pub payload: &'a RawValue,
    pub timestamp: f64,
    pub message_id: &'a str,
    pub publisher: &'static str,
    pub headers: &'a Map<String, Value>,
}

/// As much of an incoming message as is needed to find out whom it is for.
#[derive(Deserialize)]
pub(super) struct Envelope<'a> {
    #[serde(borrow, default)]
    pub role: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub u: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub operation_id: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
pub(super) struct Answer<'a> {
    #[serde(borrow, default)]
    pub r: Option<&'a RawValue>,
    #[serde(default)]
    pub error: Option<CallError>,
    #[serde(borrow, default)]
    pub intermediate_results: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub execution_summary: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct Acknowledgement {
    #[serde(default)]
    pub success: bool,
    #[serde(default)]
    pub error: Option<AckError>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum AckError {
    Text(String),
    Call(CallError),
}
