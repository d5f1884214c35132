//! The error a caller sees: the `error` member of an answer (client.md 2.11).

use serde::{Deserialize, Serialize};

use super::reason::Reason;

/// Nothing matches the name, id, version, resources or cluster that a command asks for.
pub const NOT_FOUND: i64 = 1001;
/// The command was refused, was malformed, or failed while it ran.
pub const FAILED: i64 = 1003;
/// The request took too long; the same number also answers an unknown role.
pub const TIMED_OUT: i64 = 1004;
/// A namespace that policy hides from the viewer.
pub const DENIED: i64 = 403;
/// The viewer asked too often.
pub const RATE_LIMITED: i64 = 429;

/// Why a command failed: short text for its reader, never a stack trace or a path of this machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallError {
    pub code: i64,
    pub message: String,
    pub details: Option<serde_json::Value>,
    /// What to count it under; not part of the answer.
    #[serde(skip)]
    pub reason: Option<Reason>,
}

impl CallError {
    pub fn new(code: i64, message: impl Into<String>, details: Option<String>) -> CallError {
        CallError {
            code,
            message: message.into(),
            details: details.map(serde_json::Value::String),
            reason: None,
        }
    }

    /// 1001 `Command not found`; `details` is null for the empty name.
    pub fn not_found(fun: &str) -> CallError {
        CallError::new(
            NOT_FOUND,
            "Command not found",
            (!fun.is_empty()).then(|| format!("Command not found: {fun}")),
        )
        .because(Reason::FunctionNotFound)
    }

    /// 1003 `RPC execution failed` with a text that says why.
    pub fn failed(details: impl Into<String>) -> CallError {
        CallError::new(FAILED, "RPC execution failed", Some(details.into())).because(Reason::CallFailed)
    }

    /// Whether another node may be asked after this failure: only where nothing can have run, or running twice does no
    /// harm.
    pub fn may_run_elsewhere(&self, is_idempotent: bool) -> bool {
        match self.reason {
            Some(
                Reason::NoRoute
                | Reason::RouteLoop
                | Reason::HopBudget
                | Reason::FunctionNotFound
                | Reason::PeerStopping,
            ) => true,
            Some(Reason::LinkLost) => is_idempotent,
            _ => false,
        }
    }

    pub fn because(mut self, reason: Reason) -> CallError {
        self.reason = Some(reason);
        self
    }
}
