//! The configuration: every key declared once, read from all its places, checked as a whole.
//!
//! `settings` holds the declaration, `load` the precedence of places, `check` the types, `checks` what holds
//! between keys, `legacy` the old flat format, `render` what is written back. A configuration with a fault is
//! never returned in part, and no secret is ever shown.

mod check;
mod checks;
mod control;
mod document;
mod fault;
mod legacy;
mod load;
mod places;
mod plan;
mod render;
mod role;
mod schema;
mod secret;
mod settings;
mod suggest;
mod tls;
mod units;
mod unserved;
mod value;

pub use control::{PACKAGE_SOCKET, RuntimePlaces, control_socket, lasting_socket};
pub use fault::{Fault, Faults, Origin, Place, Source};
pub use load::{Alone, LoadRequest, Loaded, load, read_alone};
pub use places::host_and_port;
pub use plan::{Change, changes};
pub use render::{Show, convert, example, show, toml};
pub use role::{Preset, presets};
pub use schema::{Key, Kind, Reload, Row, Rule, Table, Words, key, schema};
pub use settings::*;
pub use units::{duration, duration_text, size_text};
pub use unserved::{is_served, refuse_unserved, unserved};
pub use value::{Element, Layer, Secret, Setting, Value};
