//! Reload: the configuration read again, and what may change of it put in force without a restart.
//!
//! First everything is read, files of keys and certificates too, apart from the thread that serves; then it is put in
//! force at one go. What is wrong changes nothing and is told in full. A reload with a time to confirm goes back by
//! itself to what held before, certificates, tokens and rules applied by RPC included, unless it is confirmed; after a
//! restart the file holds as it is.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use smol::Timer;

use super::logs::warn_of_unknown;
use super::{Answer, Operator, Refused};
use crate::config::{self, Change, Fault, Faults, Loaded, Reload};
use crate::core::discovery::{Policy, Registry, RpcSpecSettings};
use crate::core::fabric::Closing;
use crate::core::trust::ConfiguredKey;
use crate::drive::tls::{ClientTls, ServerTls, TlsError, TlsTrust};
use crate::node::hub::lock;
use crate::node::start::{self, Tls};
use crate::node::{LoadPlan, fabric_settings, translate};

/// What the node runs with, and what it goes back to.
pub struct State {
    running: Arc<Applied>,
    tls: Tls,
    undo: Option<Undo>,
    last_undo: u64,
}

/// A configuration with the content of all files that it names: it can be put in force without reading any.
pub struct Applied {
    loaded: Loaded,
    keys: Vec<ConfiguredKey>,
    server: Option<Arc<ServerTls>>,
    client: Option<Arc<ClientTls>>,
}

/// What to go back to.
struct Before {
    applied: Arc<Applied>,
    /// Rules that were applied by RPC; a reload that changes rules replaces them.
    policy: Option<Policy>,
}

/// What held before a reload that is not confirmed yet.
struct Undo {
    id: u64,
    before: Before,
    /// Seconds since 1970.
    until: f64,
}

/// What is told of the last reload.
#[derive(Debug, Clone)]
pub struct Told {
    pub at: f64,
    /// Nothing is wrong with it.
    pub is_good: bool,
    pub text: String,
}

/// What a status shows.
#[derive(Debug, Default)]
pub struct Shown {
    pub last: Option<Told>,
    /// Keys that differ from the file, until a restart.
    pub needs_restart: Vec<String>,
    /// Until when a reload is to be confirmed.
    pub confirm_until: Option<f64>,
    pub reloads: u64,
}

/// A configuration that was read, and what it would change.
struct Prepared {
    next: Applied,
    changes: Vec<Change>,
    /// What a restart with it would say.
    unserved: Option<Faults>,
}

impl State {
    pub fn new(loaded: Loaded, tls: Tls) -> State {
        let applied = Applied {
            // They were read a moment ago.
            keys: fabric_settings::keys(&loaded).unwrap_or_default(),
            server: tls.identity.as_ref().map(|identity| identity.current()),
            client: tls.trust.as_ref().map(|trust| trust.current()),
            loaded,
        };
        State { running: Arc::new(applied), tls, undo: None, last_undo: 0 }
    }
}

impl Operator {
    /// Reads the configuration again and puts it in force, for good or until `confirm` is over.
    pub async fn reload(self: &Arc<Self>, confirm: Option<Duration>) -> Answer {
        let supervisor = &self.hub.supervisor;
        supervisor.reloading();
        let answer = self.read_again(confirm).await;
        supervisor.trouble(trouble(&answer));
        supervisor.ready();
        answer
    }

    async fn read_again(self: &Arc<Self>, confirm: Option<Duration>) -> Answer {
        let mut state = self.state.lock().await;
        let now = self.hub.clock.now();
        let running = state.running.clone();
        let prepared = match read(self.plan.clone(), running.clone()).await {
            Ok(prepared) => prepared,
            Err(faults) => {
                let text = listed(&faults);
                log::error!("reload: nothing changed: {text}");
                let first = text.lines().next().unwrap_or_default();
                self.note(now.wall, false, &format!("reload refused, nothing changed: {first}"));
                return Err(Refused { status: 78, text: format!("nothing changed:\n{text}") });
            }
        };
        let Prepared { next, changes, unserved } = prepared;
        if let Some(faults) = &unserved {
            log::error!("reload: with this configuration a restart will fail: {}", listed(faults));
        }
        let closings = self.hub.closings(&next.loaded.settings);
        let rows: Vec<Value> = changes.iter().map(|change| row(change, Some(&closings))).collect();
        let next = Arc::new(next);
        let before = Before { applied: running, policy: self.hub.applied_policy() };
        let faults = self.apply(&mut state, next, None);
        let mut restart = Vec::new();
        for change in &changes {
            match change.reload {
                Reload::Restart => {
                    log::warn!(key = change.key.as_str(); "reload: {} takes effect after a restart", change.key);
                    restart.push(change.key.clone());
                }
                Reload::Live | Reload::Link => {
                    log::info!(key = change.key.as_str(); "reload: {} has changed", change.key)
                }
            }
        }
        let confirmed = self.expect_confirmation(&mut state, before, confirm, now.wall);
        let live = changes.len() - restart.len();
        let mut text = format!("reloaded: {live} keys changed, {} need a restart", restart.len());
        if let Some(time) = confirm {
            text += &format!("; undone in {} s unless confirmed", time.as_secs());
        }
        {
            let mut shown = lock(&self.shown);
            shown.needs_restart = restart.clone();
            shown.reloads += 1;
        }
        self.note(now.wall, faults.is_empty(), &text);
        log::info!("reloaded");
        Ok(json!({
            "changes": rows, "needs_restart": restart, "faults": faults,
            "restart_will_fail": unserved.as_ref().map(listed),
            "warnings": state.running.loaded.warnings.iter().map(Fault::to_string).collect::<Vec<_>>(),
            "confirm_until": lock(&self.shown).confirm_until, "confirmed_former": confirmed,
        }))
    }

    /// What a reload of this file would do; nothing is changed.
    pub async fn plan(self: &Arc<Self>, path: Option<PathBuf>) -> Answer {
        let running = self.state.lock().await.running.clone();
        let mut plan = self.plan.clone();
        plan.path = path.or(plan.path);
        let prepared = read(plan, running).await;
        let Prepared { next, changes, unserved } = prepared.map_err(|faults| Refused {
            status: 78,
            text: format!("it would be refused:\n{}", listed(&faults)),
        })?;
        let closings = self.hub.closings(&next.loaded.settings);
        let rows: Vec<Value> = changes.iter().map(|change| row(change, Some(&closings))).collect();
        Ok(json!({
            "changes": rows, "restart_will_fail": unserved.as_ref().map(listed),
            "warnings": next.loaded.warnings.iter().map(Fault::to_string).collect::<Vec<_>>(),
        }))
    }

    /// The certificate that is shown, and when it ends; `None` where there is none.
    pub async fn certificate(&self) -> Option<Value> {
        let state = self.state.lock().await;
        let server = state.running.server.as_ref()?;
        let file = server.settings().cert_file.clone();
        Some(json!({ "file": file, "expires_at": server.expires_at() }))
    }

    /// What was reloaded last stays.
    pub async fn confirm(&self) -> Answer {
        let mut state = self.state.lock().await;
        if state.undo.take().is_none() {
            return Err(Refused::failed("no reload waits to be confirmed; it may have been undone already"));
        }
        lock(&self.shown).confirm_until = None;
        log::info!("reload: confirmed");
        self.note(self.hub.clock.now().wall, true, "the reload was confirmed");
        Ok(json!({ "confirmed": true }))
    }

    /// Arms the way back, or gives it up; the answer is whether a reload before this one waited for confirmation.
    fn expect_confirmation(
        self: &Arc<Self>,
        state: &mut State,
        before: Before,
        confirm: Option<Duration>,
        now: f64,
    ) -> bool {
        let former = state.undo.take();
        let waited = former.is_some();
        lock(&self.shown).confirm_until = None;
        let Some(time) = confirm else { return waited };
        state.last_undo += 1;
        let id = state.last_undo;
        // Of several that nobody confirmed, what held before the first of them is the last that is known to be good.
        let before = former.map_or(before, |former| former.before);
        let until = now + time.as_secs_f64();
        state.undo = Some(Undo { id, before, until });
        lock(&self.shown).confirm_until = Some(until);
        let operator = self.clone();
        self.hub
            .executor
            .spawn(async move {
                Timer::after(time).await;
                operator.undo(id).await;
            })
            .detach();
        waited
    }

    /// Nobody has confirmed in time.
    async fn undo(self: &Arc<Self>, id: u64) {
        let mut state = self.state.lock().await;
        let Some(undo) = state.undo.take_if(|undo| undo.id == id) else { return };
        log::warn!("reload: not confirmed in time; what held before holds again, and not what the file says");
        let faults = self.apply(&mut state, undo.before.applied, undo.before.policy);
        lock(&self.shown).confirm_until = None;
        let late = self.hub.clock.now().wall - undo.until;
        log::info!("reload: undone {:.1} s after the time to confirm", late.max(0.0));
        let text = "the reload was undone because nobody confirmed it; the file differs from what runs";
        self.note(self.hub.clock.now().wall, faults.is_empty(), text);
        self.hub.supervisor.trouble(Some(text.to_owned()));
    }

    /// Puts a configuration in force, with these rules instead of its own; what could not be done is told.
    fn apply(self: &Arc<Self>, state: &mut State, next: Arc<Applied>, policy: Option<Policy>) -> Vec<String> {
        let hub = &self.hub;
        if let (Some(identity), Some(server)) = (&state.tls.identity, &next.server) {
            identity.install(server.clone());
        }
        match (&state.tls.trust, &next.client) {
            (Some(trust), Some(client)) => trust.install(client.clone()),
            (None, Some(client)) => {
                let trust = Arc::new(TlsTrust::of(client.clone()));
                state.tls.trust = Some(trust.clone());
                lock(&hub.control).trust = Some(trust);
            }
            // Nothing is dialled with it any more.
            (_, None) => {}
        }
        let faults = hub.revise(next.loaded.settings.clone(), next.keys.clone(), policy, hub.clock.now());
        for fault in &faults {
            log::error!("reload: {fault}");
        }
        self.settle_log();
        warn_of_unknown(&next.loaded.settings);
        state.running = next;
        faults
    }

    fn note(&self, at: f64, is_good: bool, text: &str) {
        self.hub.journal.happened(at, text);
        lock(&self.shown).last = Some(Told { at, is_good, text: text.to_owned() });
    }
}

/// What an operator has to mend after a reload, for the service manager to show.
fn trouble(answer: &Answer) -> Option<String> {
    let told = match answer {
        Err(refused) => {
            return Some(format!("reload refused, the old configuration stays in force: {}", refused.text));
        }
        Ok(told) => told,
    };
    let will_fail = told["restart_will_fail"].as_str().map(|text| format!("a restart will fail: {text}"));
    let faults = told["faults"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
    let lines: Vec<String> = faults.chain(will_fail).collect();
    (!lines.is_empty()).then(|| format!("reload: {}", lines.join("\n")))
}

/// Reads everything that a configuration says, apart from the thread that serves.
async fn read(plan: LoadPlan, running: Arc<Applied>) -> Result<Prepared, Faults> {
    smol::unblock(move || prepare(&plan, &running)).await
}

fn prepare(plan: &LoadPlan, running: &Applied) -> Result<Prepared, Faults> {
    let new = plan.read()?;
    let unserved = config::refuse_unserved(&new);
    let changes = config::changes(&running.loaded, &new);
    let loaded = running.loaded.revised(&new)?;
    let keys = fabric_settings::keys(&loaded)?;
    let settings = &loaded.settings;
    let fault = |error: TlsError| Faults(vec![Fault::new(loaded.origin(error.key), error.to_string())]);
    let wanted = translate::tls(settings);
    let has_certificate = wanted.cert_file.is_some();
    let server = match &running.server {
        Some(_) if has_certificate => Some(Arc::new(ServerTls::load(wanted.clone()).map_err(fault)?)),
        // No endpoint needs it, or the checks would have found it missing.
        server => server.clone(),
    };
    let client = match has_certificate || wanted.ca_file.is_some() || start::dials_tls(settings) {
        true => Some(Arc::new(ClientTls::load(wanted).map_err(fault)?)),
        false => None,
    };
    let mut registry = Registry::new(RpcSpecSettings::default());
    let conflict = |text: String| Faults(vec![Fault::new(loaded.origin("function"), text)]);
    for declaration in start::declarations(settings).map_err(conflict)? {
        registry.register(declaration).map_err(|(_, text)| conflict(format!("`function`: {text}")))?;
    }
    Ok(Prepared { next: Applied { keys, server, client, loaded }, changes, unserved })
}

/// All faults, one a line, and their number.
pub fn listed(faults: &Faults) -> String {
    let lines: Vec<String> = faults.0.iter().map(|fault| format!("error: {fault}")).collect();
    let count = match lines.len() {
        1 => "1 error".to_owned(),
        n => format!("{n} errors"),
    };
    format!("{}\n{count}", lines.join("\n"))
}

/// One change, with the links that it closes where that is known.
pub fn row(change: &Change, closings: Option<&[Closing]>) -> Value {
    let class = match change.reload {
        Reload::Live => "live",
        Reload::Link => "link",
        Reload::Restart => "restart",
    };
    let mut row = json!({
        "key": change.key, "class": class, "from": change.from, "to": change.to, "elements": change.elements,
        "origin": change.origin.to_string(),
    });
    if let Some(closings) = closings.filter(|_| change.reload == Reload::Link) {
        let concerned = closings.iter().filter(|closing| {
            change.key.strip_prefix(closing.table).is_some_and(|rest| rest.starts_with('.'))
        });
        let links: Vec<Value> =
            concerned.map(|c| json!({ "link": c.link.0, "node_id": c.node, "why": c.text })).collect();
        row["links"] = links.into();
    }
    row
}
