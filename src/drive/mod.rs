//! The dull side: sockets, TLS, timers, workers, signals and logs. It does what the core decided and decides nothing
//! itself.

pub mod certificate;
pub mod clock;
pub mod control;
pub mod counters;
pub mod deadlines;
pub mod dial;
pub mod fetch;
pub mod file;
pub mod handshake;
pub mod http;
pub mod key_source;
pub mod link;
pub mod listen;
pub mod log;
mod outbox;
pub mod passed;
pub mod reactor;
pub mod resolve;
pub mod signals;
mod stream;
pub mod supervisor;
mod tcp;
pub mod tls;
mod upgrade;
mod websocket;
pub mod worker;
