//! What the operator of the machine may ask of the running node and have done by it: the other end of `mpreg ctl`.
//!
//! One JSON request a line, `{"verb": "status"}`, and one JSON answer a line: `{"ok": true, "result": ...}`, or
//! `{"ok": false, "status": 78, "error": "..."}` with the exit status of cli-config 4.9. Who is not root and not the user
//! of the node is told so and nothing else. Answers are read from counters and from short looks at the core; nothing here
//! keeps a lock while it waits or writes.

pub mod logs;
pub mod reload;
mod socket;
mod status;
mod tables;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::LoadPlan;
use super::hub::Hub;
use super::start::Tls;
use crate::config::{self, Loaded, RuntimePlaces};
use crate::drive::control::{self, ControlBindError, ControlListener};

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
    /// What the log is to tell: `fabric=debug`, `debug`, `fabric=default`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// How long it holds: what is set for the log, or a reload that nobody confirms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// A configuration file, as an absolute path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
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
    plan: LoadPlan,
    /// As an absolute path; `None` for a node without a file.
    config_file: Option<PathBuf>,
    /// Held over a reload, so that one comes after the other.
    state: smol::lock::Mutex<reload::State>,
    shown: Mutex<reload::Shown>,
    scopes: Mutex<logs::Scopes>,
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
    if let Some(user) = places.user.filter(|user| path.starts_with(user)) {
        control::sweep(&user);
    }
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
    /// `loaded` and `tls` are what the node was started with.
    pub fn new(hub: Arc<Hub>, plan: LoadPlan, loaded: Loaded, tls: Tls) -> Arc<Operator> {
        let config_file = plan.path.as_deref().map(absolute);
        let started = concat!("started, version ", env!("CARGO_PKG_VERSION"));
        hub.journal.happened(hub.clock.now().wall, started);
        let state = smol::lock::Mutex::new(reload::State::new(loaded, tls));
        let (shown, scopes) = (Mutex::default(), Mutex::default());
        Arc::new(Operator { hub, plan, config_file, state, shown, scopes })
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
            "log" => self.log(&order.scopes, order.time()?),
            "reload" => self.reload(order.time()?).await,
            "confirm" => self.confirm().await,
            "plan" => self.plan(order.path).await,
            "drain" => Ok(self.drain(true)),
            "resume" => Ok(self.drain(false)),
            other => Err(Refused { status: 2, text: format!("this node knows no order `{other}`") }),
        }
    }

    /// Takes no new work, or does again.
    fn drain(&self, draining: bool) -> Value {
        let hub = &self.hub;
        let is_new = hub.drain(draining);
        if is_new {
            let text = if draining { "drained: no new work is taken" } else { "resumed: new work is taken" };
            log::warn!("{text}");
            hub.journal.happened(hub.clock.now().wall, text);
        }
        json!({
            "draining": draining, "changed": is_new, "clients": hub.clients(),
            "calls_pending": hub.calls_pending(), "executing": hub.executing(),
        })
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

impl Order {
    fn time(&self) -> Result<Option<Duration>, Refused> {
        let wrong = || Refused { status: 2, text: "this is no time".to_owned() };
        let time = |seconds| Duration::try_from_secs_f64(seconds).ok().filter(|time| *time <= TIME_MAX);
        self.seconds.map(|seconds| time(seconds).ok_or_else(wrong)).transpose()
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

/// Nothing that is set for a while is set for longer.
const TIME_MAX: Duration = Duration::from_secs(365 * 86_400);
