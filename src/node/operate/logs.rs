//! The log while the node runs: what the configuration says, and above it what an operator has set for a while.
//!
//! What was set stays over a reload, ends with its time or with the process, and is shown in the status.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use log::LevelFilter;
use serde_json::{Value, json};
use smol::Timer;

use super::{Answer, Operator, Refused};
use crate::config::{LogLevel, Settings};
use crate::drive::log as logs;
use crate::node::hub::lock;
use crate::node::translate;

/// What was set, by scope; an empty one stands for everything.
#[derive(Debug, Default)]
pub struct Scopes {
    set: BTreeMap<String, Set>,
    last: u64,
}

#[derive(Debug)]
struct Set {
    level: LevelFilter,
    /// Seconds since 1970.
    until: Option<f64>,
    id: u64,
}

impl Operator {
    /// Sets scopes as in `fabric=debug`, `debug` for everything, and `fabric=default` to take it back; says what holds.
    pub fn log(self: &Arc<Self>, words: &[String], time: Option<Duration>) -> Answer {
        let mut wanted = Vec::new();
        for word in words {
            let (scope, level) = word.split_once('=').unwrap_or(("", word));
            let (scope, level) = (scope.trim(), level_of(level.trim())?);
            if level.is_none() && !scope.is_empty() && !lock(&self.scopes).set.contains_key(scope) {
                return Err(Refused::failed(format!("nothing is set for `{scope}`; see mpreg ctl log")));
            }
            if !scope.is_empty() && !logs::is_known_scope(scope) {
                return Err(unknown(scope));
            }
            wanted.push((scope.to_owned(), level));
        }
        let until = time.map(|time| self.hub.clock.now().wall + time.as_secs_f64());
        for (scope, level) in wanted {
            let mut scopes = lock(&self.scopes);
            scopes.last += 1;
            let id = scopes.last;
            let Some(level) = level else {
                scopes.set.remove(&scope);
                continue;
            };
            if scopes.set.len() >= SCOPES_MAX && !scopes.set.contains_key(&scope) {
                return Err(Refused::failed(format!("{SCOPES_MAX} scopes are set; take one back first")));
            }
            scopes.set.insert(scope.clone(), Set { level, until, id });
            drop(scopes);
            if let Some(time) = time {
                self.take_back_after(scope, id, time);
            }
        }
        if !words.is_empty() {
            self.settle_log();
            log::info!("log: set while the node runs: {}", words.join(" "));
        }
        Ok(self.shown_log())
    }

    /// Puts the log in force that the configuration and the operator want.
    pub fn settle_log(&self) {
        let mut settings = translate::logs(&self.hub.settings());
        let scopes = lock(&self.scopes);
        settings.scopes = scopes.set.iter().map(|(scope, set)| (scope.clone(), set.level)).collect();
        drop(scopes);
        logs::install(settings);
    }

    pub fn shown_log(&self) -> Value {
        let settings = self.hub.settings();
        let now = self.hub.clock.now().wall;
        let scopes = lock(&self.scopes);
        let shown = scopes.set.iter().map(|(scope, set)| {
            json!({
                "scope": scope, "level": word_of(set.level),
                "ends_in_seconds": set.until.map(|until| (until - now).max(0.0)),
            })
        });
        json!({
            "level": settings.log.level.as_str(), "debug_scopes": settings.log.debug_scopes,
            "format": settings.log.format.as_str(), "set": shown.collect::<Vec<_>>(),
        })
    }

    fn take_back_after(self: &Arc<Self>, scope: String, id: u64, time: Duration) {
        let operator = self.clone();
        let ending = async move {
            Timer::after(time).await;
            let mut scopes = lock(&operator.scopes);
            if scopes.set.get(&scope).is_some_and(|set| set.id == id) {
                scopes.set.remove(&scope);
                drop(scopes);
                operator.settle_log();
                log::info!("log: what was set for a while has ended: {scope}");
            }
        };
        self.hub.executor.spawn(ending).detach();
    }
}

/// Tells of modules in the configuration that write nothing: the reference has others.
pub fn warn_of_unknown(settings: &Settings) {
    for scope in settings.log.debug_scopes.iter().filter(|scope| !logs::is_known_scope(scope)) {
        log::warn!("log.debug_scopes: nothing that this program logs is called `{scope}`");
    }
}

fn unknown(scope: &str) -> Refused {
    let (modules, libraries) = (logs::MODULES.join(", "), logs::LIBRARIES.join(", "));
    let text = format!(
        "nothing that this program logs is called `{scope}`; there are {modules}, every part of these names, and the \
         libraries {libraries}"
    );
    Refused { status: 2, text }
}

/// `None` for `default`.
fn level_of(word: &str) -> Result<Option<LevelFilter>, Refused> {
    match word {
        "default" => return Ok(None),
        "off" => return Ok(Some(LevelFilter::Off)),
        _ => {}
    }
    let level = LogLevel::of_word(word).map(translate::level);
    level.map(Some).ok_or_else(|| Refused {
        status: 2,
        text: format!("`{word}` is no level; there are error, warning, info, debug, trace, off and default"),
    })
}

fn word_of(level: LevelFilter) -> &'static str {
    let known = LogLevel::ALL.iter().find(|word| translate::level(**word) == level);
    known.map_or("off", |word| word.as_str())
}

const SCOPES_MAX: usize = 64;
