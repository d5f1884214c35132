//! All decisions of a node, as state machines: an event and the time come in, actions and the next deadline go
//! out. No clock, socket, thread, file or global is touched here, and no order of iteration depends on a hash
//! seed, so that any number of nodes run in one test, in virtual time, from one seed. `clippy.toml` names what is
//! forbidden; the attribute below makes it an error.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod bootstrap;
pub mod catalog;
pub mod discovery;
pub mod error;
pub mod fabric;
pub mod federation;
pub mod link_state;
pub mod membership;
pub mod pubsub;
pub mod reason;
pub mod route;
pub mod rpc;
pub mod time;
pub mod trust;
pub mod worker;
