//! The fabric against vectors and captures of the reference (tests/interop): each case is put to a whole [`Fabric`] with
//! messages written by hand, and what it sends is compared. Where it does otherwise on purpose, the case says which row
//! of fabric.md 20 is the reason, and what is done instead is asserted.

#![allow(clippy::disallowed_methods)] // a rule for the core, not for its tests

mod captures;
mod dialling;
mod forwarding;
mod gossip;
mod selection;
mod shape;
mod table;

use std::path::PathBuf;

use serde_json::Value;

/// A file of `tests/interop`.
fn interop(name: &str) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().unwrap().clone()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}
