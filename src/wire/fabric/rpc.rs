//! Calls between nodes and their answers (fabric.md 12.1, 12.2, 12.6). Arguments and results stay unparsed.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::{Str, empty_list, empty_object};

/// Payload of a message of kind rpc.
#[derive(Debug)]
pub enum Rpc<'a> {
    Request(Box<RpcRequest<'a>>),
    Response(Box<RpcResponse<'a>>),
}

/// A call (12.1).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RpcRequest<'a> {
    #[serde(borrow)]
    kind: Str<'a>,
    #[serde(borrow, default)]
    pub request_id: Str<'a>,
    #[serde(borrow, default)]
    pub command: Str<'a>,
    #[serde(borrow, default = "empty_list", deserialize_with = "list")]
    pub args: &'a RawValue,
    #[serde(borrow, default = "empty_object", deserialize_with = "object")]
    pub kwargs: &'a RawValue,
    #[serde(borrow, default)]
    pub resources: Vec<Str<'a>>,
    #[serde(borrow, default)]
    pub function_id: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub version_constraint: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub target_cluster: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub target_node: Option<Str<'a>>,
    /// The node that asks; without it nobody is answered.
    #[serde(borrow, default)]
    pub reply_to: Str<'a>,
    #[serde(borrow, default)]
    pub federation_path: Vec<Str<'a>>,
    #[serde(default)]
    pub federation_remaining_hops: Option<i64>,
}

/// The answer to a call (12.2).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RpcResponse<'a> {
    #[serde(borrow)]
    kind: Str<'a>,
    #[serde(borrow, default)]
    pub request_id: Str<'a>,
    #[serde(default)]
    pub success: bool,
    #[serde(borrow, default = "null", deserialize_with = "raw")]
    pub result: &'a RawValue,
    #[serde(borrow, default)]
    pub error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub responder: Str<'a>,
    #[serde(borrow, default)]
    pub reply_to: Str<'a>,
    #[serde(borrow, default)]
    pub reply_cluster: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub routing_path: Vec<Str<'a>>,
}

/// The error object of an answer (12.6), as far as it is one.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RpcError<'a> {
    #[serde(borrow)]
    pub error: Str<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Str<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub error_type: Option<Str<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub target_cluster: Option<Str<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Str<'a>>,
}

impl<'a> RpcRequest<'a> {
    pub fn new(
        request_id: &'a str,
        command: &'a str,
        args: &'a RawValue,
        kwargs: &'a RawValue,
        reply_to: &'a str,
    ) -> Self {
        RpcRequest {
            kind: "rpc-request".into(),
            request_id: request_id.into(),
            command: command.into(),
            args,
            kwargs,
            resources: Vec::new(),
            function_id: None,
            version_constraint: None,
            target_cluster: None,
            target_node: None,
            reply_to: reply_to.into(),
            federation_path: Vec::new(),
            federation_remaining_hops: None,
        }
    }
}

impl<'a> RpcResponse<'a> {
    pub fn new(
        request_id: &'a str,
        responder: &'a str,
        outcome: Result<&'a RawValue, &'a RawValue>,
    ) -> RpcResponse<'a> {
        RpcResponse {
            kind: "rpc-response".into(),
            request_id: request_id.into(),
            success: outcome.is_ok(),
            result: outcome.unwrap_or(RawValue::NULL),
            error: outcome.err(),
            responder: responder.into(),
            reply_to: "".into(),
            reply_cluster: None,
            routing_path: Vec::new(),
        }
    }
}

impl RpcError<'_> {
    pub fn to_raw(&self) -> Box<RawValue> {
        serde_json::value::to_raw_value(self).unwrap_or_else(|_| RawValue::NULL.to_owned())
    }
}

/// A raw member that may be null but is there.
pub(super) fn raw<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<&'a RawValue, D::Error> {
    <&RawValue>::deserialize(deserializer)
}

fn list<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<&'a RawValue, D::Error> {
    starting(deserializer, '[', "a list")
}

fn object<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<&'a RawValue, D::Error> {
    starting(deserializer, '{', "an object")
}

fn starting<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
    sign: char,
    what: &str,
) -> Result<&'a RawValue, D::Error> {
    let raw = <&RawValue>::deserialize(deserializer)?;
    if !raw.get().starts_with(sign) {
        return Err(serde::de::Error::custom(format_args!("expected {what}")));
    }
    Ok(raw)
}

fn null<'a>() -> &'a RawValue {
    RawValue::NULL
}
