//! The built node as its users meet it: started from a file, talked to over real sockets, stopped by signals.

// Outside the core sockets, files, clocks and threads are what it is about.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod chains;
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
mod restart_time;
mod rpc;
mod signals;
mod start;
mod store_faults;
mod strangers;
mod supervised;
mod tenants;
mod transports;
