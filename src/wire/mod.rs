//! What crosses a link: documents and their encoding, size limits, framing. Nothing is decided here, and a part
//! that is only passed on (arguments, results, payloads, headers) is never turned into a tree of values.

pub mod client;
pub mod fabric;
pub mod json;
