//! What the operator of the machine may ask of the running node and have done by it: the other end of `mpreg ctl`.
//!
//! One JSON request a line, `{"verb": "status"}`, and one JSON answer a line: `{"ok": true, "result": ...}`, or
//! `{"ok": false, "status": 78, "error": "..."}` with the exit status of cli-config 4.9. Who is not root and not the user
//! of the node is told so and nothing else. Answers are read from counters and from short looks at the core; nothing here
//! keeps a lock while it waits or writes.

mod socket;
mod status;
mod tables;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::LoadPlan;
use super::hub::Hub;
use crate::config::{self, Loaded, RuntimePlaces};
use crate::drive::control::{ControlBindError, ControlListener};

/// What is asked for, with everything that any verb takes.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Order {
    pub verb: String,
    /// Only what contains this text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Only entries of this type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// At most so many rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// What comes of it: the result, or why there is none.
pub type Answer = Result<Value, Refused>;

/// Why an order was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Exit status of cli-config 4.9.
    pub status: u8,
    pub text: String,
}

/// See the module.
pub struct Operator {
    hub: Arc<Hub>,
    /// As an absolute path; `None` for a node without a file.
    config_file: Option<PathBuf>,
}

/// Binds the control socket of a node; `None` where it is off or has no place, which is told.
pub fn bind(loaded: &Loaded) -> Result<Option<ControlListener>, String> {
    let places = RuntimePlaces::of_process();
    let Some(path) = config::control_socket(loaded, &places, std::process::id()) else {
        if loaded.settings.control.enabled {
            log::info!("mpreg ctl cannot reach this node: set control.socket or node.state_dir");
        }
        return Ok(None);
    };
    let is_asked = !loaded.settings.control.socket.is_empty();
    match ControlListener::bind(&path) {
        Ok(listener) => Ok(Some(listener)),
        // A node is worth more than its control, unless somebody said where it should be.
        Err(error @ ControlBindError::Io(..)) if !is_asked => {
            log::warn!("{error}; mpreg ctl cannot reach this node: set control.socket");
            Ok(None)
        }
        Err(error) => Err(error.to_string()),
    }
}

impl Operator {
    pub fn new(hub: Arc<Hub>, plan: &LoadPlan) -> Arc<Operator> {
        let config_file = plan.path.as_deref().map(absolute);
        Arc::new(Operator { hub, config_file })
    }

    /// Carries out one order.
    async fn carry_out(self: &Arc<Self>, order: Order) -> Answer {
        match order.verb.as_str() {
            "who" => Ok(self.who()),
            "status" => Ok(status::status(self).await),
            "peers" => Ok(tables::peers(&self.hub)),
            "links" => Ok(tables::links(&self.hub)),
            "routes" => Ok(tables::routes(&self.hub, &order)),
            "catalog" => tables::catalog(&self.hub, &order).await,
            "functions" => Ok(tables::functions(&self.hub)),
            other => Err(Refused { status: 2, text: format!("this node knows no order `{other}`") }),
        }
    }

    /// Enough to tell nodes of one machine apart.
    fn who(&self) -> Value {
        let hub = &self.hub;
        json!({
            "name": hub.node_name(), "node_id": hub.node_id(), "cluster_id": hub.cluster_id(),
            "pid": std::process::id(), "version": env!("CARGO_PKG_VERSION"), "config_file": self.config_file,
        })
    }
}

impl Refused {
    pub fn failed(text: impl Into<String>) -> Refused {
        Refused { status: 1, text: text.into() }
    }
}

/// The same file under the name that does not depend on where one stands.
pub fn absolute(path: &Path) -> PathBuf {
    path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
}
