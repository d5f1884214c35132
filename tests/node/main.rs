//! The built node as its users meet it: started from a file, talked to over real sockets, stopped by signals.

// Outside the core sockets, files, clocks and threads are what it is about.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod ctl;
mod discover;
mod functions;
mod kit;
mod logs;
mod monitoring;
mod peering;
mod pubsub;
mod reloads;
mod restart;
mod rpc;
mod signals;
mod start;
mod store_faults;
mod supervised;
mod tenants;
mod transports;
