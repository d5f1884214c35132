//! What a node sends to a client, appended to a buffer in the order of members of client.md 2.2 and 5.1.
//!
//! Values that are passed on are copied as text. A message for many subscribers is written once
//! ([`message_body`]); each notification is that text between a head and a short tail.

use bytes::Bytes;

use super::Publish;
use crate::core::error::CallError;
use crate::wire::json;

/// A response with results: the pieces of `r` in their order, intermediate results and summary already as JSON.
pub fn response<'p>(
    out: &mut Vec<u8>,
    u: &str,
    results: impl IntoIterator<Item = (&'p str, &'p [u8])>,
    intermediate_results: &[u8],
    execution_summary: Option<&[u8]>,
) {
    out.extend_from_slice(b"{\"r\":");
    object(out, results);
    out.extend_from_slice(b",\"error\":null,\"u\":");
    json::push_text(out, u);
    out.extend_from_slice(b",\"intermediate_results\":[");
    out.extend_from_slice(intermediate_results);
    out.extend_from_slice(b"],\"execution_summary\":");
    out.extend_from_slice(execution_summary.unwrap_or(b"null"));
    out.push(b'}');
}

/// A response to a message of a peer: `r` is one value and not an object by command (client.md 1.6).
pub fn plain_response(out: &mut Vec<u8>, u: &str, r: &[u8]) {
    out.extend_from_slice(b"{\"r\":");
    out.extend_from_slice(r);
    out.extend_from_slice(b",\"error\":null,\"u\":");
    json::push_text(out, u);
    out.extend_from_slice(b",\"intermediate_results\":[],\"execution_summary\":null}");
}

/// A response that says why there are no results.
pub fn error(out: &mut Vec<u8>, u: &str, error: &CallError) {
    out.extend_from_slice(b"{\"r\":null,\"error\":");
    json::push(out, error);
    out.extend_from_slice(b",\"u\":");
    json::push_text(out, u);
    out.extend_from_slice(b",\"intermediate_results\":[],\"execution_summary\":null}");
}

/// The answer to a pub/sub message. `error` is null on success; the reference never says why something failed.
pub fn ack(out: &mut Vec<u8>, u: &str, outcome: Result<(), &str>) {
    out.extend_from_slice(b"{\"role\":\"pubsub-ack\",\"operation_id\":");
    json::push_text(out, u);
    match outcome {
        Ok(()) => out.extend_from_slice(b",\"success\":true,\"error\":null"),
        Err(why) => {
            out.extend_from_slice(b",\"success\":false,\"error\":");
            json::push_text(out, why);
        }
    }
    out.extend_from_slice(b",\"u\":");
    json::push_joined(out, &["ack_", u]);
    out.push(b'}');
}

/// The ack of a publish that made `lost` deliveries to slow subscribers of this node fall out: those of this message,
/// or older ones that made room for it. The member is not there where nothing was lost, and existing clients ignore it.
pub fn ack_with_losses(out: &mut Vec<u8>, u: &str, lost: u64) {
    ack(out, u, Ok(()));
    if lost > 0 {
        out.pop();
        out.extend_from_slice(b",\"dropped\":");
        json::push(out, &lost);
        out.push(b'}');
    }
}

/// The beginning of every notification of one published message: the head and the member `message` with its defaults
/// filled in. What follows is [`notification_tail`].
pub fn notification_body(message: &Publish<'_>) -> Bytes {
    let mut out = Vec::with_capacity(message.payload.get().len() + MESSAGE_ROOM_BYTES);
    out.extend_from_slice(NOTIFICATION_HEAD);
    push_message(&mut out, message);
    // It may be kept for long, so what is not filled is given back.
    out.shrink_to_fit();
    out.into()
}

/// The member `message` in what `notification_body` made.
pub fn message_of(notification_body: &Bytes) -> Bytes {
    notification_body.slice(NOTIFICATION_HEAD.len().min(notification_body.len())..)
}

/// The same from a member `message` that is already there, as other nodes send it.
pub fn notification_body_of(message: &[u8]) -> Bytes {
    [NOTIFICATION_HEAD, message].concat().into()
}

/// The publisher's own time in a member `message`.
pub fn timestamp_of(message: &[u8]) -> Option<f64> {
    let raw = std::str::from_utf8(json::navigate(message, &["timestamp"])?).ok()?;
    raw.trim_matches('"').parse().ok()
}

/// The member `message` of a notification.
pub fn message_body(message: &Publish<'_>) -> Bytes {
    let mut out = Vec::with_capacity(message.payload.get().len() + MESSAGE_ROOM_BYTES);
    push_message(&mut out, message);
    out.into()
}

/// One notification: the shared body, then what belongs to the subscription.
pub fn notification(out: &mut Vec<u8>, body: &[u8], message_id: &str, subscription_id: &str) {
    out.reserve(body.len() + NOTIFICATION_ROOM_BYTES + message_id.len() + 2 * subscription_id.len());
    out.extend_from_slice(NOTIFICATION_HEAD);
    out.extend_from_slice(body);
    notification_tail(out, "notification_", message_id, subscription_id);
}

/// What comes after the body of a notification, for senders that write head, body and tail as separate slices.
/// `prefix` is `notification_`, or `backlog_` for what was kept before the subscription.
pub fn notification_tail(out: &mut Vec<u8>, prefix: &str, message_id: &str, subscription_id: &str) {
    out.extend_from_slice(b",\"subscription_id\":");
    json::push_text(out, subscription_id);
    out.extend_from_slice(b",\"u\":");
    json::push_joined(out, &[prefix, message_id, "_", subscription_id]);
    out.push(b'}');
}

/// Length of what `notification_tail` appends, where no text needs an escape.
pub fn notification_tail_bytes(prefix: &str, message_id: &str, subscription_id: &str) -> usize {
    const NAMES_BYTES: usize = ",\"subscription_id\":\"\",\"u\":\"_\"}".len();
    NAMES_BYTES + prefix.len() + message_id.len() + 2 * subscription_id.len()
}

/// An object from raw pieces.
pub fn object<'p>(out: &mut Vec<u8>, members: impl IntoIterator<Item = (&'p str, &'p [u8])>) {
    out.push(b'{');
    for (index, (name, value)) in members.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        json::push_text(out, name);
        out.push(b':');
        out.extend_from_slice(value);
    }
    out.push(b'}');
}

fn push_message(out: &mut Vec<u8>, message: &Publish<'_>) {
    out.extend_from_slice(b"{\"topic\":");
    json::push_text(out, &message.topic);
    out.extend_from_slice(b",\"payload\":");
    out.extend_from_slice(message.payload.get().as_bytes());
    out.extend_from_slice(b",\"timestamp\":");
    json::push_float(out, message.timestamp);
    out.extend_from_slice(b",\"message_id\":");
    json::push_text(out, &message.message_id);
    out.extend_from_slice(b",\"publisher\":");
    json::push_text(out, &message.publisher);
    out.extend_from_slice(b",\"headers\":");
    out.extend_from_slice(message.headers.map_or("{}", |raw| raw.get()).as_bytes());
    out.extend_from_slice(b",\"routing_path\":");
    out.extend_from_slice(message.routing_path.map_or("null", |raw| raw.get()).as_bytes());
    out.extend_from_slice(b",\"current_hop\":");
    json::push(out, &message.current_hop);
    out.push(b'}');
}

/// What comes before the body of a notification.
pub const NOTIFICATION_HEAD: &[u8] = b"{\"role\":\"pubsub-notification\",\"message\":";
/// Room for the names and ids around a payload of usual size; more is allocated when needed.
const MESSAGE_ROOM_BYTES: usize = 320;
const NOTIFICATION_ROOM_BYTES: usize = 128;
