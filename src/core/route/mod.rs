//! Routes between clusters (fabric.md 7). So far: how good one is, and whether a policy lets it pass. Both are pure
//! functions of the announcement; nothing is stored here.

mod policy;

pub use policy::{Link, Policy, Tiebreaker, Weights, extended};
