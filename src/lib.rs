//! mpreg: one routing fabric for RPC, pub/sub, queues and cache.
//!
//! The crate is laid out so that decisions and doing stay apart: `core` decides and never touches a clock, a
//! socket, a file or a thread; `drive` does what it is told; `node` assembles both from a checked `config`;
//! `wire` says what crosses a link; `client` and `cli` are what a person uses.

#![forbid(unsafe_code)]
// Enforced inside `core` only, see `core/mod.rs` and `clippy.toml`.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod cli;
pub mod client;
pub mod config;
pub mod core;
pub mod drive;
pub mod node;
pub mod store;
pub mod wire;
