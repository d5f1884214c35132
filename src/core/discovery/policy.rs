//! Namespace policy (client.md 6.3): who sees a name, which clusters may announce it, which summaries may leave.
//!
//! The rule with the longest namespace decides alone. Policy is about what discovery shows; it never restricts a
//! call, a publish or a subscription. Reading rules from a request reports every fault at once and changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::filter::literal_prefix;
use super::payload::{float, kind_of, scalar, switch};
use super::reply::{Reply, texts};
use crate::core::catalog::{Delta, Scope, Text};
use crate::core::reason::Reason;

/// What holds for one namespace and everything below it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PolicyRule {
    pub namespace: Text,
    /// Clusters that may announce here; empty is any.
    pub owners: Vec<Text>,
    /// Clusters that may see it; with `visibility_tenants` empty too: everybody.
    pub visibility: Vec<Text>,
    pub visibility_tenants: Vec<Text>,
    /// Scopes in which summaries may leave; empty is any.
    pub export_scopes: Vec<Text>,
    pub allow_summaries: bool,
    pub cutover_windows: Vec<CutoverWindow>,
    pub policy_version: Option<Text>,
}

/// A time in which other export rules hold; both ends belong to it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CutoverWindow {
    /// Seconds since the epoch.
    pub starts_at: f64,
    pub ends_at: Option<f64>,
    pub export_scopes: Vec<Text>,
    pub allow_summaries: Option<bool>,
}

/// A decision and its word.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict<'a> {
    pub allowed: bool,
    pub reason: &'static str,
    pub rule: Option<&'a PolicyRule>,
}

/// The rules in force.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    enabled: bool,
    default_allow: bool,
    rules: Vec<PolicyRule>,
    /// Namespace to the first rule that has it.
    by_namespace: BTreeMap<Text, usize>,
}

/// Rules as they came in a request, with what is wrong with them.
#[derive(Debug, Default)]
pub struct ReadRules {
    pub rules: Vec<PolicyRule>,
    pub count: usize,
    /// In the order of the rules, each naming its place.
    pub errors: Vec<String>,
    /// True where an item of the list is no object.
    pub foreign_items: bool,
}

impl Policy {
    pub fn new(enabled: bool, default_allow: bool, rules: Vec<PolicyRule>) -> Policy {
        let mut by_namespace = BTreeMap::new();
        for (place, rule) in rules.iter().enumerate() {
            by_namespace.entry(rule.namespace.clone()).or_insert(place);
        }
        Policy { enabled, default_allow, rules, by_namespace }
    }

    pub fn enabled(&self) -> bool {
        self.enabled
    }

    pub fn default_allow(&self) -> bool {
        self.default_allow
    }

    pub fn rules(&self) -> &[PolicyRule] {
        &self.rules
    }

    /// The rule that covers `name`: of the namespace itself or the nearest above it.
    pub fn rule_for(&self, name: &str) -> Option<&PolicyRule> {
        let mut namespace = name;
        loop {
            if let Some(place) = self.by_namespace.get(namespace) {
                return self.rules.get(*place);
            }
            namespace = namespace.rsplit_once('.')?.0;
        }
    }

    /// May this viewer see `name`?
    pub fn viewer(&self, name: &str, cluster: &str, tenant: Option<&str>) -> Verdict<'_> {
        if !self.enabled {
            return Verdict { allowed: true, reason: "policy_disabled", rule: None };
        }
        let Some(rule) = self.rule_for(name) else { return self.no_policy() };
        let lists = |list: &[Text], who: &str| list.iter().any(|l| **l == *who);
        let (allowed, reason) = if rule.visibility.is_empty() && rule.visibility_tenants.is_empty() {
            (true, "visibility_unrestricted")
        } else if tenant.is_some_and(|t| lists(&rule.visibility_tenants, t)) {
            (true, "tenant_allowed")
        } else if lists(&rule.visibility, cluster) {
            (true, "viewer_allowed")
        } else {
            (false, "viewer_denied")
        };
        Verdict { allowed, reason, rule: Some(rule) }
    }

    /// May another cluster announce `name` here? The own cluster always may; that is the caller's to know.
    pub fn source(&self, name: &str, cluster: &str) -> Verdict<'_> {
        if !self.enabled {
            return Verdict { allowed: true, reason: "policy_disabled", rule: None };
        }
        let Some(rule) = self.rule_for(name) else { return self.no_policy() };
        let (allowed, reason) = if rule.owners.is_empty() {
            (true, "owners_unrestricted")
        } else if rule.owners.iter().any(|o| **o == *cluster) {
            (true, "owner_allowed")
        } else {
            (false, "owner_denied")
        };
        Verdict { allowed, reason, rule: Some(rule) }
    }

    /// Takes out of a change from elsewhere what the rules do not let into the catalog (owners), with why. Entries of
    /// the own cluster always come in. Removals are never kept out.
    pub fn admit(&self, delta: &mut Delta, own_cluster: &str) -> Vec<(Reason, String)> {
        let mut refused = Vec::new();
        if !self.enabled {
            return refused;
        }
        let mut admit = |name: &str, cluster: &str| {
            let admitted = *cluster == *own_cluster || name.is_empty() || self.source(name, cluster).allowed;
            if !admitted {
                refused.push((Reason::PolicyDenied, format!("{name} announced by cluster {cluster}")));
            }
            admitted
        };
        delta.functions.retain(|f| admit(&f.identity.name, &f.cluster_id));
        delta.queues.retain(|q| admit(&q.queue_name, &q.cluster_id));
        delta.services.retain(|s| admit(&s.namespace, &s.cluster_id));
        // Everybody may listen to what nodes tell each other.
        let system = |prefix: &str| prefix.starts_with("mpreg.discovery.");
        delta.topics.retain(|t| {
            let mut prefixes = t.patterns.iter().map(|p| literal_prefix(p));
            prefixes.all(|prefix| system(prefix) || admit(prefix, &t.cluster_id))
        });
        refused
    }

    /// May summaries of `namespace` leave `cluster` in `scope` at the wall clock `now`?
    pub fn summary_export(
        &self,
        namespace: &str,
        cluster: &str,
        scope: Option<Scope>,
        now: f64,
    ) -> Verdict<'_> {
        if !self.enabled {
            return Verdict { allowed: true, reason: "policy_disabled", rule: None };
        }
        let Some(rule) = self.rule_for(namespace) else { return self.no_policy() };
        let denied = |reason| Verdict { allowed: false, reason, rule: Some(rule) };
        let lists = |scopes: &[Text]| scope.is_some_and(|s| scopes.iter().any(|l| **l == *s.word()));
        if !rule.owners.is_empty() && !rule.owners.iter().any(|o| **o == *cluster) {
            return denied("owner_denied");
        }
        let mut allow_summaries = rule.allow_summaries;
        if !rule.cutover_windows.is_empty() {
            let Some(window) = active_window(&rule.cutover_windows, now) else {
                return denied("cutover_closed");
            };
            allow_summaries = window.allow_summaries.unwrap_or(allow_summaries);
            if !window.export_scopes.is_empty() && !lists(&window.export_scopes) {
                return denied("cutover_scope_denied");
            }
        }
        if !allow_summaries {
            return denied("summaries_disabled");
        }
        if !rule.export_scopes.is_empty() && !lists(&rule.export_scopes) {
            return denied("scope_denied");
        }
        Verdict { allowed: true, reason: "summary_allowed", rule: Some(rule) }
    }

    fn no_policy(&self) -> Verdict<'_> {
        Verdict { allowed: self.default_allow, reason: "no_policy", rule: None }
    }
}

impl PolicyRule {
    /// As namespace_policy_export and namespace_status show it.
    pub fn value(&self) -> Value {
        Reply::new()
            .kept("namespace", &*self.namespace)
            .kept("owners", texts(&self.owners))
            .kept("visibility", texts(&self.visibility))
            .given("visibility_tenants", texts(&self.visibility_tenants))
            .kept("export_scopes", texts(&self.export_scopes))
            .kept("allow_summaries", self.allow_summaries)
            .given(
                "cutover_windows",
                self.cutover_windows.iter().map(CutoverWindow::value).collect::<Vec<_>>(),
            )
            .given("policy_version", self.policy_version.as_deref())
            .done()
    }
}

impl CutoverWindow {
    fn value(&self) -> Value {
        Reply::new()
            .kept("starts_at", self.starts_at)
            .given("ends_at", self.ends_at)
            .given("export_scopes", texts(&self.export_scopes))
            .given("allow_summaries", self.allow_summaries)
            .done()
    }
}

/// The faults of rules wherever they come from, with the words of client.md 4.15.
pub fn faults(rules: &[PolicyRule]) -> Vec<String> {
    let mut errors = Vec::new();
    let mut seen = BTreeSet::new();
    for (i, rule) in rules.iter().enumerate() {
        rule_faults(i, rule, &mut seen, &mut errors);
    }
    errors
}

/// Reads the `rules` of a request: a list, or one object that is one rule. `None` where it is neither.
pub fn read_rules(value: &Value) -> Option<ReadRules> {
    let items = match value {
        Value::Array(items) => items.as_slice(),
        Value::Object(_) => std::slice::from_ref(value),
        _ => return None,
    };
    let mut read = ReadRules { count: items.len(), ..ReadRules::default() };
    let mut seen = BTreeSet::new();
    if items.len() > RULES_MAX {
        read.errors.push(format!("rules has {} items, more than {RULES_MAX}", items.len()));
        return Some(read);
    }
    for (i, item) in items.iter().enumerate() {
        let Value::Object(members) = item else {
            read.errors.push(format!("rules[{i}] is not an object but {}", kind_of(item)));
            read.foreign_items = true;
            continue;
        };
        let rule = read_rule(i, members, &mut read.errors);
        rule_faults(i, &rule, &mut seen, &mut read.errors);
        read.rules.push(rule);
    }
    Some(read)
}

/// The rules in force as one list, in the form that `read_rules` takes; for keeping them over a restart.
pub fn rules_value(rules: &[PolicyRule]) -> Value {
    rules.iter().map(PolicyRule::value).collect()
}

fn rule_faults(i: usize, rule: &PolicyRule, seen: &mut BTreeSet<Text>, errors: &mut Vec<String>) {
    if rule.namespace.is_empty() {
        errors.push(format!("rules[{i}].namespace is empty"));
    } else if !seen.insert(rule.namespace.clone()) {
        errors.push(format!("rules[{i}].namespace duplicate: {}", rule.namespace));
    }
    unknown_scopes(&format!("rules[{i}].export_scopes"), &rule.export_scopes, errors);
    for (j, window) in rule.cutover_windows.iter().enumerate() {
        if window.starts_at <= 0.0 {
            errors.push(format!("rules[{i}].cutover_windows[{j}].starts_at invalid"));
        }
        if window.ends_at.is_some_and(|end| end <= window.starts_at) {
            errors.push(format!("rules[{i}].cutover_windows[{j}].ends_at before starts_at"));
        }
        unknown_scopes(
            &format!("rules[{i}].cutover_windows[{j}].export_scopes"),
            &window.export_scopes,
            errors,
        );
    }
}

fn unknown_scopes(place: &str, scopes: &[Text], errors: &mut Vec<String>) {
    for scope in scopes.iter().filter(|s| Scope::parse(s).is_none()) {
        errors.push(format!("{place} unknown scope: {scope}"));
    }
}

fn read_rule(i: usize, members: &Map<String, Value>, errors: &mut Vec<String>) -> PolicyRule {
    let mut rule = PolicyRule::default();
    for (name, value) in members.iter().filter(|(_, v)| !v.is_null()) {
        let place = format!("rules[{i}].{name}");
        match name.as_str() {
            "namespace" => rule.namespace = read_text(&place, value, errors).unwrap_or_default(),
            "owners" => rule.owners = read_texts(&place, value, errors),
            "visibility" => rule.visibility = read_texts(&place, value, errors),
            "visibility_tenants" => rule.visibility_tenants = read_texts(&place, value, errors),
            "export_scopes" => rule.export_scopes = read_scopes(&place, value, errors),
            "allow_summaries" => rule.allow_summaries = read_switch(&place, value, errors).unwrap_or(false),
            "policy_version" => {
                rule.policy_version = read_text(&place, value, errors).filter(|v| !v.is_empty());
            }
            "cutover_windows" => {
                let windows = match value {
                    Value::Array(windows) => windows.as_slice(),
                    one => std::slice::from_ref(one),
                };
                for (j, window) in windows.iter().enumerate() {
                    rule.cutover_windows.push(read_window(&format!("{place}[{j}]"), window, errors));
                }
            }
            _ => errors.push(format!("{place} is not a member of a rule")),
        }
    }
    rule
}

fn read_window(place: &str, value: &Value, errors: &mut Vec<String>) -> CutoverWindow {
    let mut window = CutoverWindow::default();
    let Value::Object(members) = value else {
        errors.push(format!("{place} is not an object but {}", kind_of(value)));
        return window;
    };
    for (name, value) in members.iter().filter(|(_, v)| !v.is_null()) {
        let place = format!("{place}.{name}");
        match name.as_str() {
            // What is no number counts as 0, which is reported as invalid.
            "starts_at" => window.starts_at = float(value).unwrap_or_default(),
            "ends_at" => match float(value) {
                Some(end) => window.ends_at = Some(end),
                None => errors.push(format!("{place} is not a number but {}", kind_of(value))),
            },
            "export_scopes" => window.export_scopes = read_scopes(&place, value, errors),
            "allow_summaries" => window.allow_summaries = read_switch(&place, value, errors),
            _ => errors.push(format!("{place} is not a member of a window")),
        }
    }
    window
}

fn read_text(place: &str, value: &Value, errors: &mut Vec<String>) -> Option<Text> {
    let text = scalar(value).map(|t| t.trim().into());
    if text.is_none() {
        errors.push(format!("{place} is not a text but {}", kind_of(value)));
    }
    text
}

fn read_texts(place: &str, value: &Value, errors: &mut Vec<String>) -> Vec<Text> {
    let items = match value {
        Value::Array(items) => items.as_slice(),
        one => std::slice::from_ref(one),
    };
    let mut list: Vec<Text> = items.iter().filter_map(|i| read_text(place, i, errors)).collect();
    list.retain(|t| !t.is_empty());
    list
}

/// Scopes in their normal form, so that `Cluster` means what it says; unknown words stay and are reported.
fn read_scopes(place: &str, value: &Value, errors: &mut Vec<String>) -> Vec<Text> {
    let scopes = read_texts(place, value, errors);
    scopes.into_iter().map(|s| Scope::parse(&s).map_or(s, |scope| scope.word().into())).collect()
}

fn read_switch(place: &str, value: &Value, errors: &mut Vec<String>) -> Option<bool> {
    let read = switch(value);
    if read.is_none() {
        errors.push(format!("{place} is neither true nor false"));
    }
    read
}

/// Of the windows that hold now, the one that began last.
fn active_window(windows: &[CutoverWindow], now: f64) -> Option<&CutoverWindow> {
    let mut active: Option<&CutoverWindow> = None;
    for window in windows {
        let holds = window.starts_at <= now && window.ends_at.is_none_or(|end| now <= end);
        if holds && active.is_none_or(|a| window.starts_at > a.starts_at) {
            active = Some(window);
        }
    }
    active
}

/// More would be a mistake, and slow to check.
const RULES_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::super::testing::sample;
    use super::*;
    use serde_json::json;

    fn policy(row: &Value, rules: &Value) -> Policy {
        Policy::new(
            row["enabled"].as_bool().unwrap_or(true),
            row["default_allow"].as_bool().unwrap_or(true),
            read_rules(rules).unwrap().rules,
        )
    }

    #[test]
    fn every_row_of_the_viewer_table_holds() {
        let table = sample("policy_decision_tables");
        let rows = table["viewer"].as_array().unwrap();
        assert!(rows.len() >= 14);
        for row in rows {
            let policy = policy(row, &row["rules"]);
            let verdict = policy.viewer(
                row["namespace"].as_str().unwrap(),
                row["viewer_cluster"].as_str().unwrap(),
                row["viewer_tenant"].as_str(),
            );
            assert_eq!(
                json!([verdict.allowed, verdict.reason]),
                json!([row["allowed"], row["reason"]]),
                "{row}"
            );
        }
    }

    #[test]
    fn every_row_of_the_export_table_holds() {
        let table = sample("policy_decision_tables");
        let rows = table["summary_export"].as_array().unwrap();
        assert!(rows.len() >= 10);
        for row in rows {
            let policy = policy(row, &row["rule"]);
            let verdict = policy.summary_export(
                "a",
                row["source_cluster"].as_str().unwrap(),
                row["export_scope"].as_str().and_then(Scope::parse),
                row["now"].as_f64().unwrap(),
            );
            assert_eq!(
                json!([verdict.allowed, verdict.reason]),
                json!([row["allowed"], row["reason"]]),
                "{row}"
            );
        }
    }

    #[test]
    fn sources_are_owners_where_there_are_any() {
        let rules =
            read_rules(&json!([{"namespace": "a", "owners": ["o"]}, {"namespace": "b"}])).unwrap().rules;
        let on = Policy::new(true, false, rules.clone());
        for (name, cluster, expected) in [
            ("a.x", "o", (true, "owner_allowed")),
            ("a.x", "p", (false, "owner_denied")),
            ("b", "p", (true, "owners_unrestricted")),
            ("c", "p", (false, "no_policy")),
        ] {
            let verdict = on.source(name, cluster);
            assert_eq!((verdict.allowed, verdict.reason), expected, "{name} {cluster}");
        }
        assert_eq!(Policy::new(false, false, rules).source("a", "p").reason, "policy_disabled");
    }

    #[test]
    fn validation_lists_every_fault() {
        for (rules, errors) in [
            (json!([{"namespace": "a"}]), vec![]),
            (json!([]), vec![]),
            (json!({"namespace": "single"}), vec![]),
            (json!([{"namespace": ""}]), vec!["rules[0].namespace is empty"]),
            (json!([{"owners": ["c1"]}]), vec!["rules[0].namespace is empty"]),
            (json!([{"namespace": "a"}, {"namespace": "a"}]), vec!["rules[1].namespace duplicate: a"]),
            (
                json!([{"namespace": "w", "cutover_windows": {"starts_at": 0}}]),
                vec!["rules[0].cutover_windows[0].starts_at invalid"],
            ),
            (
                json!([{"namespace": "a", "cutover_windows": [{"starts_at": 5, "ends_at": 9}, {"starts_at": 10, "ends_at": 5}]}]),
                vec!["rules[0].cutover_windows[1].ends_at before starts_at"],
            ),
            (
                json!([{"namespace": ""}, {"namespace": "b"}, {"namespace": "b"}, {"namespace": "c", "cutover_windows": [{"starts_at": -1}]}]),
                vec![
                    "rules[0].namespace is empty",
                    "rules[2].namespace duplicate: b",
                    "rules[3].cutover_windows[0].starts_at invalid",
                ],
            ),
            (
                json!([{"namespace": "a", "export_scopes": ["planet"]}]),
                vec!["rules[0].export_scopes unknown scope: planet"],
            ),
            (
                json!([{"namespace": "a", "visibilty": ["c1"]}]),
                vec!["rules[0].visibilty is not a member of a rule"],
            ),
            (json!(["a"]), vec!["rules[0] is not an object but a text"]),
        ] {
            assert_eq!(read_rules(&rules).unwrap().errors, errors, "{rules}");
        }
        assert!(read_rules(&json!("everything")).is_none());
    }

    #[test]
    fn a_rule_reads_back_what_it_shows() {
        let shown = sample("namespace_policy_export")["result"]["rules"].clone();
        let read = read_rules(&shown).unwrap();
        assert!(read.errors.is_empty());
        assert_eq!(rules_value(&read.rules).to_string(), shown.to_string());
        assert!(faults(&read.rules).is_empty());
    }
}
