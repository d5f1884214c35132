//! Failures of calls in the words of the wire and of clients (fabric.md 12.6).

use super::*;

/// What our client is told of a failure elsewhere.
pub(super) fn call_error(response: &RpcResponse, command: &str) -> CallError {
    let text = response.error.map_or("", RawValue::get);
    let Ok(error) = serde_json::from_str::<RpcError>(text) else {
        return CallError::failed(clipped(if text.is_empty() { "fabric_rpc_failed" } else { text }));
    };
    let by = &*response.responder;
    match &*error.error {
        "fabric_route_not_found" => {
            let text = format!("Command not found: {command} (fabric_route_not_found at {by})");
            CallError::new(NOT_FOUND, "Command not found", Some(text)).because(Reason::FunctionNotFound)
        }
        fabric if fabric.starts_with("fabric_") => {
            let reason = match fabric {
                "fabric_route_loop" => Reason::RouteLoop,
                "fabric_hop_budget_exhausted" => Reason::HopBudget,
                _ => match error.reason.as_deref() {
                    Some(LINK_LOST) => Reason::LinkLost,
                    Some(word) if STOPPING.iter().any(|r| r.name() == word) => Reason::PeerStopping,
                    Some(word) => NoWay::of_word(word).map_or(Reason::NoRoute, NoWay::reason),
                    None => Reason::NoRoute,
                },
            };
            let why = error.reason.as_ref().map(|r| format!(": {}", &**r)).unwrap_or_default();
            CallError::failed(clipped(&format!("{fabric}{why} (at {by}, for {command})"))).because(reason)
        }
        text => CallError::failed(clipped(&match &error.error_type {
            Some(class) => format!("{}: {text}", &**class),
            None => text.to_owned(),
        })),
    }
}

/// What another node is told of a failure here (12.6).
pub(super) fn error_object(error: &CallError, command: &str) -> Box<RawValue> {
    if error.code == NOT_FOUND {
        return failure("fabric_route_not_found", command);
    }
    if error.reason.is_some_and(|reason| STOPPING.contains(&reason)) {
        return RpcError {
            error: "fabric_forward_failed".into(),
            command: Some(command.into()),
            reason: error.reason.map(|reason| reason.name().into()),
            ..RpcError::default()
        }
        .to_raw();
    }
    let text = match &error.details {
        Some(serde_json::Value::String(details)) => details.as_str(),
        _ => error.message.as_str(),
    };
    let is_class = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_uppercase())
            && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let (class, text) = match text.split_once(": ").filter(|(class, _)| is_class(class)) {
        Some((class, text)) => (class, text),
        None if error.code == TIMED_OUT => ("TimeoutError", text),
        None => ("RuntimeError", text),
    };
    RpcError {
        error: text.into(),
        command: Some(command.into()),
        error_type: Some(class.into()),
        ..RpcError::default()
    }
    .to_raw()
}

pub(super) fn failure(error: &str, command: &str) -> Box<RawValue> {
    RpcError { error: error.into(), command: Some(command.into()), ..RpcError::default() }.to_raw()
}

pub(super) fn forward_failed(command: &str, cluster: &str, reason: &str) -> Box<RawValue> {
    RpcError {
        error: "fabric_forward_failed".into(),
        command: Some(command.into()),
        target_cluster: Some(cluster.into()),
        reason: Some(reason.into()),
        ..RpcError::default()
    }
    .to_raw()
}

pub(super) fn clipped(text: &str) -> String {
    text.chars().take(ERROR_CHARS_MAX).collect()
}

/// Why a call that was passed on has no answer; it may have run.
pub(super) const LINK_LOST: &str = "link_lost";
/// Of an error text from elsewhere.
const ERROR_CHARS_MAX: usize = 4000;
/// Of a node that takes no new work: whoever asked may ask another one.
const STOPPING: [Reason; 2] = [Reason::Stopping, Reason::Draining];
