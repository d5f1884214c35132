//! Assembly of a node: from a checked configuration to running modules, and its orderly end.

mod connection;
mod control;
mod discover;
mod explain;
pub mod fabric_settings;
mod functions;
mod hub;
mod keeper;
mod memory;
mod monitoring;
mod outlet;
mod policy_file;
mod publish;
mod request;
pub mod route_keys;
mod serve;
mod start;
mod translate;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use smol::{Executor, Timer};

use crate::config::{self, Key, LoadRequest, Loaded, Reload};
use crate::core::fabric::Event;
use crate::drive::link::close_code;
use crate::drive::log as logs;
use crate::drive::signals::{Asked, Asking};
use crate::drive::tls::TlsTrust;
use hub::Hub;
use start::{Started, Tls, settle_logs, start};

/// Where the settings of a node come from.
#[derive(Debug, Clone)]
pub struct LoadPlan {
    pub path: Option<PathBuf>,
    /// (key, text of its value, the option it comes from), lowest first.
    pub overrides: Vec<(String, String, String)>,
    pub legacy_ignore_unknown: bool,
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
    let mut request = LoadRequest::of_process(plan.path.clone());
    request.overrides = plan.overrides.clone();
    request.legacy_ignore_unknown = plan.legacy_ignore_unknown;
    let faults = match config::load(&request) {
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
    let started = match start(&executor, loaded).await {
        Ok(started) => started,
        Err(text) => return failed(&text),
    };
    let Started { hub, mut tls, loaded } = started;
    executor.spawn(settle_logs()).detach();
    loop {
        match asking.next().await {
            Asked::Stop => break,
            Asked::Reload => reload(&hub, &mut tls, &plan, &loaded),
        }
    }
    let stop_timeout = hub.settings().node.stop_timeout;
    log::info!("stopping; at most {} s", stop_timeout.as_secs_f64());
    let workers_grace = WORKERS_GRACE.min(stop_timeout / 3);
    let ended = smol::future::or(
        async {
            drain(&hub, stop_timeout - workers_grace).await;
            hub.workers().stop(workers_grace).await;
            keeper::finish(&hub).await;
            true
        },
        async {
            while asking.next().await != Asked::Stop {}
            false
        },
    );
    if !ended.await {
        log::warn!("told to stop again; ending at once");
    }
    log::info!("stopped");
    ExitCode::SUCCESS
}

fn failed(text: &str) -> ExitCode {
    log::error!("{text}");
    ExitCode::from(EXIT_FAILED)
}

/// No new work; what runs may finish; then the peers hear a farewell and the connections end.
async fn drain(hub: &Arc<Hub>, time: Duration) {
    let finished = async {
        // What runs for clients is finished first, over the links that are still up.
        hub.stop();
        while hub.clients() > 0 {
            Timer::after(DRAIN_LOOK).await;
        }
        hub.control(Event::Stop);
        hub.each_outlet(|outlet| outlet.close(close_code::GOING_AWAY, "the node stops".into()));
        while hub.connections() > 0 {
            Timer::after(DRAIN_LOOK).await;
        }
    };
    smol::future::or(finished, async {
        Timer::after(time).await;
        log::warn!("{} connections did not end in time", hub.connections());
        hub.each_outlet(|outlet| outlet.close(close_code::GOING_AWAY, "the node stops".into()));
    })
    .await;
}

/// Reads the configuration again. What is wrong changes nothing; what cannot change while the node runs is said each
/// time, for as long as it differs from what the node was `started` with.
fn reload(hub: &Arc<Hub>, tls: &mut Tls, plan: &LoadPlan, started: &Loaded) {
    let mut request = LoadRequest::of_process(plan.path.clone());
    request.overrides = plan.overrides.clone();
    request.legacy_ignore_unknown = plan.legacy_ignore_unknown;
    let new = match config::load(&request) {
        Ok(new) => new,
        Err(faults) => return log::error!("reload: nothing changed: {faults}"),
    };
    if let Some(faults) = config::refuse_unserved(&new) {
        log::error!("reload: with this configuration a restart will fail: {faults}");
    }
    // Certificates are read again under the names that the listeners have.
    let renamed = |key: &&'static Key| key.path.starts_with("tls.") && key.row.reload != Reload::Restart;
    let renamed = started.changed(&new).into_iter().filter(renamed);
    for key in started.needs_restart(&new).into_iter().chain(renamed) {
        log::warn!(key = key.path.as_str(); "reload: {} takes effect after a restart", key.path);
    }
    if tls.trust.is_none() && start::dials_tls(&new.settings) {
        match TlsTrust::load(translate::tls(&hub.settings())) {
            Ok(trust) => {
                let trust = Arc::new(trust);
                tls.trust = Some(trust.clone());
                hub::lock(&hub.control).trust = Some(trust);
            }
            Err(error) => log::error!("reload: peers.static: {error}"),
        }
    }
    let certificates = [
        tls.identity.as_ref().map(|identity| identity.reload()),
        tls.trust.as_ref().map(|trust| trust.reload()),
    ];
    for fault in certificates.into_iter().flatten().filter_map(Result::err) {
        log::error!("reload: the old certificates stay in use: {fault}");
    }
    hub.reload(&new, hub.clock.now());
    logs::install(translate::logs(&hub.settings()));
    log::info!("reloaded");
}

/// Workers get this much of node.stop_timeout to end once their calls are done, or a third of it.
const WORKERS_GRACE: Duration = Duration::from_secs(3);
/// How often a stopping node looks whether its connections have ended.
const DRAIN_LOOK: Duration = Duration::from_millis(10);
