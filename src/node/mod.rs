//! Assembly of a node: from a checked configuration to running modules, and its orderly end.

mod alone;
mod connection;
mod control;
mod discover;
mod explain;
pub mod fabric_settings;
mod functions;
mod hub;
mod journal;
mod keeper;
mod memory;
mod monitoring;
pub mod operate;
mod outlet;
mod policy_file;
mod publish;
mod request;
pub mod route_keys;
mod serve;
mod start;
mod stop;
mod translate;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use smol::Executor;

use crate::config::{self, Faults, LoadRequest, Loaded};
use crate::drive::log as logs;
use crate::drive::signals::{Asked, Asking};
use operate::Operator;
use start::{Started, settle_logs, start};

/// Where the settings of a node come from.
#[derive(Debug, Clone)]
pub struct LoadPlan {
    pub path: Option<PathBuf>,
    /// (key, text of its value, the option it comes from), lowest first.
    pub overrides: Vec<(String, String, String)>,
    pub legacy_ignore_unknown: bool,
}

impl LoadPlan {
    /// What the places of the plan say now.
    pub fn read(&self) -> Result<Loaded, Faults> {
        let mut request = LoadRequest::of_process(self.path.clone());
        request.overrides = self.overrides.clone();
        request.legacy_ignore_unknown = self.legacy_ignore_unknown;
        config::load(&request)
    }
}

/// Exit statuses of cli-config 4.9 that a node uses.
const EXIT_FAILED: u8 = 1;
const EXIT_CONFIGURATION: u8 = 78;

/// Runs a node until it is told to stop; the exit status of cli-config 4.9.
pub fn main(plan: LoadPlan) -> ExitCode {
    let loaded = match load(&plan) {
        Ok(loaded) => loaded,
        Err(status) => return ExitCode::from(status),
    };
    logs::install(translate::logs(&loaded.settings));
    for fault in loaded.warnings.iter().chain(&loaded.notices) {
        log::warn!("{fault}");
    }
    let executor = Arc::new(Executor::new());
    smol::block_on(executor.run(run(executor.clone(), plan, loaded)))
}

/// Loads the configuration; faults go to stderr, all at once.
fn load(plan: &LoadPlan) -> Result<Loaded, u8> {
    let faults = match plan.read() {
        Ok(loaded) => match config::refuse_unserved(&loaded) {
            None => return Ok(loaded),
            Some(faults) => faults,
        },
        Err(faults) => faults,
    };
    // There is nobody to tell when stderr is gone.
    let _ = writeln!(std::io::stderr(), "{faults}");
    Err(EXIT_CONFIGURATION)
}

async fn run(executor: Arc<Executor<'static>>, plan: LoadPlan, loaded: Loaded) -> ExitCode {
    let mut asking = match Asking::listen() {
        Ok(asking) => asking,
        Err(error) => return failed(&format!("cannot listen for signals: {error}")),
    };
    // First of all: a second node in the same place must not touch anything of the first.
    let control = match operate::bind(&loaded) {
        Ok(control) => control.map(Arc::new),
        Err(text) => return failed(&text),
    };
    let started = match start(&executor, loaded).await {
        Ok(started) => started,
        Err(text) => return failed(&text),
    };
    let Started { hub, tls, loaded } = started;
    executor.spawn(settle_logs()).detach();
    let operator = Operator::new(hub.clone(), plan, loaded, tls);
    if let Some(control) = &control {
        log::info!("mpreg ctl is answered at {}", control.path().display());
        executor.spawn(operator.clone().serve(control.clone())).detach();
    }
    loop {
        match asking.next().await {
            Asked::Stop => break,
            Asked::Reload => {
                // What became of it is in the log.
                let _ = operator.reload(None).await;
            }
        }
    }
    stop::stop(&hub, &mut asking).await;
    if let Some(control) = &control {
        control.remove();
    }
    log::info!("stopped");
    ExitCode::SUCCESS
}

fn failed(text: &str) -> ExitCode {
    log::error!("{text}");
    ExitCode::from(EXIT_FAILED)
}
