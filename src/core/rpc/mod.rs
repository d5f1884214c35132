//! Calls: from the commands of one request to rounds of calls, their arguments and the answer (client.md 2).
//!
//! [`run`] drives one request from its first command to its answer; [`plan`] orders the commands, [`refs`] fills
//! results into arguments, [`select`] chooses where a command runs and says why it runs nowhere, [`version`] reads
//! constraints, [`builtin`] holds the two functions that every node has. Nothing here waits, sends or parses a payload.

pub mod builtin;
pub mod plan;
pub mod refs;
pub mod run;
pub mod select;
pub mod text;
pub mod version;
