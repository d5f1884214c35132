//! core/membership
