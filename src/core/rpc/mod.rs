//! core/rpc
