//! core/discovery
