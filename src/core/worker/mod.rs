//! Functions that worker processes serve: who gets which call, who waits, when a call has taken too long, when a
//! process that ended may start again, and how its lines are read.
//!
//! Nothing here starts a process or touches a pipe; `drive::worker` does and tells this module what happened.
//! The rules it keeps: a process never has more calls of a function than `in_flight_max`, waiting calls are
//! served in the order they came, every call ends (with an answer, an error or its deadline), and a process that
//! ends again and again is started ever more rarely.

mod answer;
mod backoff;
mod group;
mod lines;
mod words;

pub use answer::{Answer, Unreadable, id_in_prefix, id_in_tail, read_answer};
pub use backoff::Backoff;
pub use group::{Action, Function, FunctionState, Group};
pub use lines::{Line, Lines};
pub use words::{LogLines, Throttle, printable};
