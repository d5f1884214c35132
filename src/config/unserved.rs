//! Keys whose module is not part of this build.
//!
//! Such a key passes `config check` with a notice, so that a file for a later version can be written today; a node
//! refuses to start with it, because an option that is silently ignored is worse than none.

use super::fault::{Fault, Faults, Origin};
use super::load::Loaded;
use super::schema::{Kind, join, schema};
use super::value::{Layer, Value};

/// A module that is not there, and the key that switches it off.
struct Missing {
    module: &'static str,
    /// While this key has one of these values the module has nothing to do, in any build, and its other keys are
    /// harmless.
    switch: Option<(&'static str, &'static [&'static str])>,
}

/// The one list: a module that is built in leaves it.
const MISSING: &[Missing] = &[
    missing("queue", Some(("queue.enabled", &["false"]))),
    missing("consensus", None),
    missing("dns", Some(("dns.enabled", &["false"]))),
    missing("cache", Some(("cache.enabled", &["false"]))),
    missing("monitoring-history", Some(("monitoring.enabled", &["false"]))),
    missing("diagnostics", None),
];

/// Every key that no module of this build serves, with the module that would.
pub fn unserved() -> Vec<(&'static str, &'static str)> {
    let keys = schema().iter().filter(|key| !key.in_list || matches!(key.row.kind, Kind::Tables(_)));
    keys.filter(|key| !is_served(key.row.module)).map(|key| (key.path.as_str(), key.row.module)).collect()
}

/// Whether this build has the module of a key.
pub fn is_served(module: &str) -> bool {
    !MISSING.iter().any(|missing| missing.module == module)
}

/// The keys that a node of this build cannot start with, each with its place; `None` if there is none.
///
/// Refused is a key of a missing module that a file, the environment, an option or a role sets to something other
/// than its default, unless the module is switched off. Not refused are built-in defaults and those of the old
/// format.
pub fn refuse_unserved(loaded: &Loaded) -> Option<Faults> {
    let faults: Vec<Fault> = wanted(&loaded.values)
        .into_iter()
        .map(|(origin, key, module)| {
            Fault::new(origin, format!("`{key}` needs the module {module}, which this build does not have"))
        })
        .collect();
    (!faults.is_empty()).then(|| Faults(faults).sorted())
}

/// The same keys, as notices.
pub fn notices(values: &Layer) -> Vec<Fault> {
    let notice = |(origin, key, module)| {
        let text = format!(
            "`{key}` needs the module {module}, which this build does not have; a node does not start"
        );
        Fault::new(origin, text)
    };
    wanted(values).into_iter().map(notice).collect()
}

fn wanted(values: &Layer) -> Vec<(Origin, &'static str, &'static str)> {
    let mut found = Vec::new();
    for (key, module) in unserved() {
        let Some(setting) = values.get(key) else { continue };
        let asked = setting.origin.is_written() || matches!(setting.origin, Origin::Role(_));
        let default = super::schema::key(key).and_then(|key| key.row.default_value());
        let is_default = default.as_ref() == Some(&setting.value);
        let is_off = MISSING.iter().any(|missing| {
            missing.module == module
                && missing.switch.is_some_and(|(switch, off)| off.contains(&word_of(values, switch).as_str()))
        });
        if asked && !is_default && !is_off {
            found.push((setting.origin.clone(), key, module));
        }
    }
    found.extend(wanted_in_elements(values));
    found
}

/// The same of the members of `[[...]]`, where the list itself is served.
fn wanted_in_elements(values: &Layer) -> Vec<(Origin, &'static str, &'static str)> {
    let mut found = Vec::new();
    for (list, setting) in values {
        let Value::Elements(elements) = &setting.value else { continue };
        if super::schema::key(list).is_none_or(|key| !is_served(key.row.module)) {
            continue;
        }
        for (name, member) in elements.iter().flat_map(|element| &element.members) {
            let Some(key) = super::schema::key(&join(list, name)) else { continue };
            let is_default = key.row.default_value().as_ref() == Some(&member.value);
            if !is_served(key.row.module) && !is_default {
                found.push((member.origin.clone(), key.path.as_str(), key.row.module));
            }
        }
    }
    found
}

/// The value of a switch as text.
fn word_of(values: &Layer, key: &str) -> String {
    let default = || super::schema::key(key).and_then(|key| key.row.default_value());
    match values.get(key).map(|setting| setting.value.clone()).or_else(default) {
        Some(Value::Bool(b)) => b.to_string(),
        Some(Value::Word(word)) => word.to_owned(),
        _ => String::new(),
    }
}

const fn missing(module: &'static str, switch: Option<(&'static str, &'static [&'static str])>) -> Missing {
    Missing { module, switch }
}
