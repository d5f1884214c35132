//! What crosses a link: serde types, limits, framing. No decisions.

pub mod fabric;
