//! The dull side: sockets, TLS and timers. It does what the core decided and decides nothing itself.

pub mod dial;
pub mod handshake;
pub mod link;
pub mod listen;
mod outbox;
mod stream;
mod tcp;
pub mod tls;
mod upgrade;
mod websocket;
