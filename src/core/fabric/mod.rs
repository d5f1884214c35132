//! core/fabric
