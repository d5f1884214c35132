//! What can go wrong for a client, with the exit status of cli-config 4.9 and a text that says what to do next.
//! Credentials never appear in a text.

use std::{fmt, time::Duration};

use serde_json::Value;

use crate::core::error::{CallError, DENIED, NOT_FOUND, RATE_LIMITED, TIMED_OUT};

#[derive(Debug, Clone)]
pub enum ClientError {
    /// The address cannot be used; the text names it, unless it holds a password.
    BadUrl { why: String },
    /// The token or key cannot be sent.
    BadCredential { why: String },
    /// Nobody answers at the address, or not in this protocol.
    Unreachable { url: String, why: String },
    /// No TLS session, because of a certificate or because there is no TLS at the address.
    TlsFailed { url: String, why: String, remedy: &'static str },
    /// The node refused the connection for who we are.
    Refused { url: String, status: u16 },
    /// The node refused the connection for now.
    Busy { url: String, status: u16 },
    /// The connection ended.
    Lost { url: String, why: String },
    /// No answer in time.
    TimedOut { what: String, after: Duration },
    /// The node answered with an error.
    Answered { what: String, error: Box<CallError> },
    /// A publish or a subscription was not accepted.
    NotAccepted { what: String, why: String },
    /// The request cannot be written as JSON.
    NotSent { what: String, why: String },
    /// The answer is not one of this protocol.
    NotUnderstood { what: String, why: String },
}

impl ClientError {
    /// The exit status of a command that fails with this error.
    pub fn exit_status(&self) -> u8 {
        match self {
            ClientError::BadUrl { .. } | ClientError::BadCredential { .. } => USAGE,
            ClientError::Unreachable { .. } | ClientError::TlsFailed { .. } | ClientError::Lost { .. } => {
                UNREACHABLE
            }
            ClientError::Busy { .. } | ClientError::TimedOut { .. } => TRY_AGAIN,
            ClientError::Refused { .. } => REFUSED,
            ClientError::Answered { error, .. } => match error.code {
                DENIED | UNAUTHENTICATED => REFUSED,
                RATE_LIMITED | TIMED_OUT => TRY_AGAIN,
                _ => FAILED,
            },
            ClientError::NotAccepted { .. }
            | ClientError::NotSent { .. }
            | ClientError::NotUnderstood { .. } => FAILED,
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::BadUrl { why } => {
                write!(f, "cannot use the URL: {why}\nWrite it as in ws://127.0.0.1:7000.")
            }
            ClientError::BadCredential { why } => write!(f, "cannot send the credential: {why}"),
            ClientError::Unreachable { url, why } => write!(
                f,
                "cannot reach {url}: {why}\nCheck that the node runs and listens there (its log names its endpoint)."
            ),
            ClientError::TlsFailed { url, why, remedy } => {
                write!(f, "cannot reach {url}: the TLS handshake failed: {why}\n{remedy}")
            }
            ClientError::Refused { url, status } => write!(
                f,
                "{url} refused the connection ({status}): the token or API key is missing, wrong or not entitled\n\
                 Give one with --token-file, MPREG_TOKEN or MPREG_API_KEY; compare it with the node's [[tenants.credential]]."
            ),
            ClientError::Busy { url, status } => write!(
                f,
                "{url} takes no more connections at the moment ({status})\n\
                 Try again later, or raise listen.max_connections of the node."
            ),
            ClientError::Lost { url, why } => write!(
                f,
                "the connection to {url} ended: {why}\nThe request may or may not have been carried out."
            ),
            ClientError::TimedOut { what, after } => write!(
                f,
                "{what}: no answer within {} s\nTry again, or allow more time with --timeout.",
                after.as_secs_f64()
            ),
            ClientError::Answered { what, error } => {
                write!(f, "{what}: {} ({})", error.message, error.code)?;
                if let Some(details) = details(error) {
                    write!(f, ": {details}")?;
                }
                match remedy(error.code) {
                    Some(remedy) => write!(f, "\n{remedy}"),
                    None => Ok(()),
                }
            }
            ClientError::NotAccepted { what, why } => write!(f, "{what}: not accepted: {why}"),
            ClientError::NotSent { what, why } => write!(f, "{what}: cannot be written as JSON: {why}"),
            ClientError::NotUnderstood { what, why } => write!(
                f,
                "{what}: the answer cannot be understood: {why}\nIs the other end a node of this protocol?"
            ),
        }
    }
}

impl std::error::Error for ClientError {}

/// Details as one text. A node of the older implementation sends a whole stack trace, of which only the last line
/// says what happened.
fn details(error: &CallError) -> Option<String> {
    match error.details.as_ref()? {
        Value::Null => None,
        Value::String(text) if text.starts_with("Traceback") || text.contains("\nTraceback") => {
            text.lines().rev().find(|line| !line.trim().is_empty()).map(|line| line.trim().to_owned())
        }
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        other => Some(other.to_string()),
    }
}

fn remedy(code: i64) -> Option<&'static str> {
    match code {
        NOT_FOUND => Some(
            "Ask `mpreg client functions` what is offered; compare name, version constraint, --locs and target cluster.",
        ),
        DENIED | UNAUTHENTICATED => {
            Some("Give a token or API key that is entitled; see `mpreg client namespace-policy export`.")
        }
        RATE_LIMITED => Some("Try again later, or raise discovery.rate_limit.requests of the node."),
        TIMED_OUT => Some("Try again, or allow more time: --timeout here, fabric.rpc_timeout at the node."),
        _ => None,
    }
}

/// As 403, for a viewer who has not said who it is.
const UNAUTHENTICATED: i64 = 401;

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const UNREACHABLE: u8 = 69;
const TRY_AGAIN: u8 = 75;
const REFUSED: u8 = 77;

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(code: i64, details: &str) -> ClientError {
        let error = CallError::new(code, "m", Some(details.to_owned()));
        ClientError::Answered { what: "f".into(), error: error.into() }
    }

    #[test]
    fn the_code_of_an_answer_decides_the_exit_status() {
        let status = |code| answered(code, "").exit_status();
        assert_eq!([403, 401, 429, 1004, 1001, 1003, 7].map(status), [77, 77, 75, 75, 1, 1, 1]);
    }

    #[test]
    fn of_a_stack_trace_only_the_last_line_is_shown() {
        let text =
            answered(1003, "Traceback (most recent call last):\n  File x\nValueError: no\n").to_string();
        assert_eq!(text, "f: m (1003): ValueError: no");
    }

    #[test]
    fn a_missing_function_is_named_with_what_to_do() {
        let error = CallError::not_found("a.b");
        let text = ClientError::Answered { what: "a.b".into(), error: error.into() }.to_string();
        assert!(
            text.contains("a.b") && text.contains("not found") && text.contains("client functions"),
            "{text}"
        );
    }
}
