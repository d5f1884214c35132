//! Assembly of a node: from a checked configuration to running modules, and its orderly end.

mod alone;
mod bootstrap;
mod connection;
mod control;
mod discover;
mod explain;
pub mod fabric_settings;
mod functions;
#[cfg(feature = "test-hooks")]
mod hooks;
mod hub;
mod journal;
mod keeper;
mod memory;
mod monitoring;
pub mod operate;
mod outlet;
mod policy_file;
mod publish;
mod report;
mod request;
pub mod route_keys;
mod serve;
mod start;
mod stop;
mod surroundings;
mod translate;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use smol::Executor;

use crate::config::{self, Faults, LoadRequest, Loaded};
use crate::drive::log as logs;
use crate::drive::reactor;
use crate::drive::signals::{Asked, Asking};
use crate::drive::supervisor::{self, Supervisor};
use operate::Operator;
use start::{Refusal, Started, settle_logs, start};

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
    let supervisor = Arc::new(Supervisor::of_process());
    let loaded = match load(&plan) {
        Ok(loaded) => loaded,
        Err(faults) => {
            supervisor.trouble(Some(format!("configuration refused: {}", faults.summary())));
            // There is nobody to tell when stderr is gone.
            let _ = write!(std::io::stderr(), "{}", supervisor::leveled(&faults.to_string()));
            return ExitCode::from(EXIT_CONFIGURATION);
        }
    };
    logs::install(translate::logs(&loaded.settings));
    for fault in loaded.warnings.iter().chain(&loaded.notices) {
        log::warn!("{fault}");
    }
    operate::logs::warn_of_unknown(&loaded.settings);
    let executor = Arc::new(Executor::new());
    reactor::run(executor.run(run(executor.clone(), plan, loaded, supervisor)))
}

/// Loads the configuration; the error is everything that speaks against a start.
fn load(plan: &LoadPlan) -> Result<Loaded, Faults> {
    let loaded = plan.read()?;
    match config::refuse_unserved(&loaded) {
        Some(faults) => Err(faults),
        None => Ok(loaded),
    }
}

async fn run(
    executor: Arc<Executor<'static>>,
    plan: LoadPlan,
    loaded: Loaded,
    supervisor: Arc<Supervisor>,
) -> ExitCode {
    let mut asking = match Asking::listen() {
        Ok(asking) => asking,
        Err(error) => return failed(&supervisor, &format!("cannot listen for signals: {error}")),
    };
    // First of all: a second node in the same place must not touch anything of the first.
    let control = match operate::bind(&loaded) {
        Ok(control) => control.map(Arc::new),
        Err(text) => return failed(&supervisor, &text),
    };
    let started = match start(&executor, loaded, &supervisor).await {
        Ok(started) => started,
        Err(Refusal::Failed(text)) => return failed(&supervisor, &text),
        Err(Refusal::Configuration(text)) => {
            failed(&supervisor, &text);
            return ExitCode::from(EXIT_CONFIGURATION);
        }
    };
    let Started { hub, tls, loaded } = started;
    executor.spawn(settle_logs()).detach();
    let identity = tls.identity.clone();
    let operator = Operator::new(hub.clone(), plan, loaded, tls);
    if let Some(control) = &control {
        log::info!("mpreg ctl is answered at {}", control.path().display());
        executor.spawn(operator.clone().serve(control.clone())).detach();
    }
    #[cfg(feature = "test-hooks")]
    executor.spawn(hooks::get_stuck_on_signal(hub.clone())).detach();
    supervisor.ready();
    executor.spawn(report::keep_told(hub.clone())).detach();
    executor.spawn(surroundings::keep_looking(hub.clone(), identity)).detach();
    loop {
        match asking.next().await {
            Asked::Stop => break,
            Asked::Reload if reload(&operator, &mut asking).await => break,
            Asked::Reload => {}
        }
    }
    stop::stop(&hub, &mut asking).await;
    if let Some(control) = &control {
        control.remove();
    }
    log::info!("stopped");
    ExitCode::SUCCESS
}

/// Reads the configuration again, once more where that is asked for meanwhile; true when the node is told to stop, for
/// which nobody waits until a slow disk has answered.
async fn reload(operator: &Arc<Operator>, asking: &mut Asking) -> bool {
    let mut again = true;
    while std::mem::take(&mut again) {
        let reloading = async {
            // What becomes of it is in the log.
            let _ = operator.reload(None).await;
            false
        };
        let asked = async {
            while asking.next().await == Asked::Reload {
                again = true;
            }
            true
        };
        if smol::future::or(reloading, asked).await {
            return true;
        }
    }
    false
}

fn failed(supervisor: &Supervisor, text: &str) -> ExitCode {
    log::error!("{text}");
    supervisor.trouble(Some(text.to_owned()));
    ExitCode::from(EXIT_FAILED)
}
