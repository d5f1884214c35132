//! The pages about routes: `/routing/trace`, `/routing/table` and `/routing/link-state` (monitoring.md 3.11, 3.12).

use hyper::StatusCode;
use serde_json::{Value, json};

use super::{error, json};
use crate::core::catalog::Text;
use crate::core::fabric::Fabric;
use crate::core::link_state::Mode;
use crate::core::time::Now;
use crate::drive::http::{Request, Response};
use crate::node::hub::{Hub, lock};

/// `/routing/trace?destination=CLUSTER[&avoid=A,B]`
pub fn trace(hub: &Hub, request: &Request) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let now = hub.clock.now();
    match traced(&mut lock(&hub.control).fabric, query, now) {
        Some(body) => json(StatusCode::OK, &body),
        None => error(hub, StatusCode::BAD_REQUEST, DESTINATION_REQUIRED),
    }
}

/// All routes that are held.
pub fn table(hub: &Hub, _: &Request) -> Response {
    let now = hub.clock.now();
    let routes = lock(&hub.control).fabric.shown_table(now);
    json(
        StatusCode::OK,
        &json!({ "status": "ok", "routes": routes, "total_routes": routes.len(), "timestamp": now.wall }),
    )
}

/// What link state knows, or 503 where it is off.
pub fn link_state(hub: &Hub, _: &Request) -> Response {
    let now = hub.clock.now();
    match linked(&lock(&hub.control).fabric, now) {
        Some(body) => json(StatusCode::OK, &body),
        None => error(hub, StatusCode::SERVICE_UNAVAILABLE, NOT_AVAILABLE),
    }
}

/// `None` where the query names no destination.
fn traced(fabric: &mut Fabric, query: &str, now: Now) -> Option<Value> {
    let destination = parameter(query, "destination").filter(|d| !d.is_empty())?;
    let avoid = parameter(query, "avoid").unwrap_or_default();
    let avoid: Vec<Text> =
        avoid.split(',').map(str::trim).filter(|c| !c.is_empty()).map(Text::from).collect();
    let trace = fabric.trace(&destination.as_str().into(), &avoid, now);
    Some(json!({
        "status": "ok", "destination": destination, "avoid_clusters": avoid, "trace": trace,
        "timestamp": now.wall,
    }))
}

/// `None` where link state is off.
fn linked(fabric: &Fabric, now: Now) -> Option<Value> {
    let status = fabric.link_state().status();
    let is_on = status.mode != Mode::Disabled;
    is_on.then(|| json!({ "status": "ok", "link_state": status, "timestamp": now.wall }))
}

/// The first value of a parameter, with its escapes undone; what is no escape stays as it is.
fn parameter(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| *key == name).map(|(_, value)| unescaped(value)).next()
}

fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let escaped = hex.filter(|_| byte == b'%').and_then(|two| u8::from_str_radix(two, 16).ok());
        match escaped {
            Some(escaped) => {
                bytes.push(escaped);
                rest = &after[2..];
            }
            None => {
                bytes.push(if byte == b'+' { b' ' } else { byte });
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// As the reference (monitoring.md 3.11, 3.12).
const DESTINATION_REQUIRED: &str = "destination required";
const NOT_AVAILABLE: &str = "link-state status not available";

#[cfg(test)]
mod tests;
