//! Summaries that this node publishes (discovery.md 5): what, when, on which topics, and what late subscribers may
//! still have. Policy decides per namespace; a namespace that changes too fast shows its last state until its
//! hold-down is over. Functions of other clusters and built-ins are left out unless the settings say otherwise.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use super::Ids;
use super::builtin::is_builtin_name;
use super::filter::{at_or_below, in_any, own_namespace};
use super::query::Context;
use super::reply::Reply;
use super::settings::SummarySettings;
use super::summary::{Summary, summarise};
use super::watch::{DiscoveryMessage, SUMMARY_TOPIC, topic};
use crate::core::catalog::{Scope, Text};
use crate::core::time::Now;

/// The exporter and its store.
#[derive(Debug)]
pub struct Exports {
    settings: SummarySettings,
    next: Option<Duration>,
    shown: BTreeMap<Text, Shown>,
    told: BTreeMap<Text, (u64, f64)>,
    stored: VecDeque<StoredSummary>,
}

/// A published message that is kept for late subscribers.
#[derive(Debug, Clone)]
pub struct StoredSummary {
    pub topic: String,
    pub payload: Arc<RawValue>,
    pub headers: Map<String, Value>,
    pub message_id: Text,
    /// Wall clock of its publication.
    pub timestamp: f64,
}

/// What a namespace shows, and since when.
#[derive(Debug)]
struct Shown {
    summaries: Vec<Summary>,
    changed: Duration,
}

impl Exports {
    pub fn new(settings: SummarySettings) -> Exports {
        Exports {
            next: settings.export.then_some(Duration::ZERO),
            settings,
            shown: BTreeMap::new(),
            told: BTreeMap::new(),
            stored: VecDeque::new(),
        }
    }

    pub fn next_timeout(&self) -> Option<Duration> {
        self.next
    }

    /// The messages of one round, where it is time for one.
    pub fn due(&mut self, context: &Context<'_>, now: Now, ids: &mut Ids) -> Vec<DiscoveryMessage> {
        if self.next.is_none_or(|due| due > now.mono) {
            return Vec::new();
        }
        let interval = self.settings.interval;
        self.next = (!interval.is_zero()).then(|| now.mono + interval);
        let by_namespace = self.collect(context, now);
        let mut messages = Vec::new();
        for (namespace, summaries) in &by_namespace {
            let told = self.told.entry(namespace.clone()).or_default();
            *told = (told.0 + summaries.len() as u64, now.wall);
            let refs: Vec<&Summary> = summaries.iter().collect();
            self.publish(Some(namespace), &refs, context, now, ids, &mut messages);
        }
        if !by_namespace.is_empty() {
            let all: Vec<&Summary> = by_namespace.values().flatten().collect();
            self.publish(None, &all, context, now, ids, &mut messages);
        }
        while self.told.len() > NAMESPACES_MAX {
            let oldest = self.told.iter().min_by(|a, b| a.1.1.total_cmp(&b.1.1)).map(|(n, _)| n.clone());
            let Some(oldest) = oldest else { break };
            self.told.remove(&oldest);
        }
        messages
    }

    /// How many summaries of a namespace and everything below it were exported, and when last.
    pub fn told(&self, namespace: &str) -> Option<(u64, f64)> {
        let below = self.told.iter().filter(|(n, _)| at_or_below(n, namespace)).map(|(_, told)| *told);
        below.reduce(|a, b| (a.0 + b.0, a.1.max(b.1)))
    }

    pub fn stored(
        &self,
        wanted: impl Fn(&str) -> bool,
        backlog_seconds: u64,
        now: Now,
    ) -> Vec<&StoredSummary> {
        let mut window_seconds = self.settings.store_window.as_secs_f64();
        if backlog_seconds > 0 {
            window_seconds = window_seconds.min(backlog_seconds as f64);
        }
        self.stored.iter().filter(|m| now.wall - m.timestamp <= window_seconds && wanted(&m.topic)).collect()
    }

    /// What is to be shown now, by namespace.
    fn collect(&mut self, context: &Context<'_>, now: Now) -> BTreeMap<Text, Vec<Summary>> {
        let settings = &self.settings;
        let own = &context.node.cluster_id;
        let wanted = |name: &str, cluster: &str| {
            let namespace = own_namespace(name);
            (settings.include_foreign || *cluster == **own)
                && (settings.include_builtins || !is_builtin_name(name))
                && in_any(namespace, &settings.namespaces)
                && context.policy.summary_export(namespace, own, settings.scope, now.wall).allowed
        };
        let mut by_namespace: BTreeMap<Text, Vec<Summary>> = BTreeMap::new();
        for summary in summarise(context, settings.scope, wanted) {
            by_namespace.entry(summary.namespace.clone()).or_default().push(summary);
        }
        self.shown.retain(|namespace, _| by_namespace.contains_key(namespace));
        for (namespace, summaries) in &mut by_namespace {
            match self.shown.get_mut(namespace) {
                Some(shown) if same(&shown.summaries, summaries) => {}
                Some(shown) if now.mono < shown.changed + settings.hold_down => {
                    let (ttl_seconds, generated_at) = (context.node.catalog_ttl_seconds, now.wall);
                    *summaries = shown.summaries.clone();
                    summaries
                        .iter_mut()
                        .for_each(|s| (s.ttl_seconds, s.generated_at) = (ttl_seconds, generated_at));
                }
                _ => {
                    let shown = Shown { summaries: summaries.clone(), changed: now.mono };
                    self.shown.insert(namespace.clone(), shown);
                }
            }
        }
        by_namespace
    }

    /// One payload on the topic with the scope, and on the one without it.
    fn publish(
        &mut self,
        namespace: Option<&Text>,
        summaries: &[&Summary],
        context: &Context<'_>,
        now: Now,
        ids: &mut Ids,
        messages: &mut Vec<DiscoveryMessage>,
    ) {
        let scope = self.settings.scope.map(Scope::word);
        let mut namespaces: Vec<&str> = summaries.iter().map(|s| &*s.namespace).collect();
        namespaces.sort_unstable();
        namespaces.dedup();
        let payload = Reply::new()
            .kept("summaries", summaries.iter().map(|s| s.value()).collect::<Vec<_>>())
            .kept("namespaces", namespaces)
            .kept("source_node", &*context.node.node_id)
            .kept("source_cluster", &*context.node.cluster_id)
            .kept("published_at", now.wall)
            .given("scope", scope)
            .done();
        let Ok(payload) = to_raw_value(&payload).map(Arc::<RawValue>::from) else { return };
        let headers = json!({"event": "discovery.summary_export", "cluster_id": &*context.node.cluster_id});
        let Value::Object(headers) = headers else { return };
        let unscoped = (scope.is_none() || self.settings.include_unscoped).then_some(None);
        for scope in scope.map(Some).into_iter().chain(unscoped) {
            let message = DiscoveryMessage {
                topic: topic(SUMMARY_TOPIC, scope, namespace.map(|n| &**n)),
                payload: payload.clone(),
                headers: headers.clone(),
                message_id: Some(ids.uuid().into()),
                forward: true,
            };
            self.store(&message, now);
            messages.push(message);
        }
    }

    fn store(&mut self, message: &DiscoveryMessage, now: Now) {
        let Some(message_id) = message.message_id.clone() else { return };
        if self.settings.store_window.is_zero() || self.settings.store_messages_max == 0 {
            return;
        }
        self.stored.push_back(StoredSummary {
            topic: message.topic.clone(),
            payload: message.payload.clone(),
            headers: message.headers.clone(),
            message_id,
            timestamp: now.wall,
        });
        let window_seconds = self.settings.store_window.as_secs_f64();
        while self.stored.len() > self.settings.store_messages_max
            || self.stored.front().is_some_and(|m| now.wall - m.timestamp > window_seconds)
        {
            self.stored.pop_front();
        }
    }
}

/// Equal but for the times.
fn same(a: &[Summary], b: &[Summary]) -> bool {
    let timeless = |s: &Summary| Summary { generated_at: 0.0, ttl_seconds: 0.0, ..s.clone() };
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| timeless(a) == timeless(b))
}

/// Namespaces whose exports are counted; the one not exported for longest goes first.
const NAMESPACES_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::super::settings::{DiscoverySettings, PolicySettings};
    use super::super::testing::*;
    use super::super::{World, read_rules};
    use super::*;

    fn exporter(summary: SummarySettings) -> Bench {
        let summary = SummarySettings { export: true, ..summary };
        let mut bench = Bench::new(DiscoverySettings { summary, ..DiscoverySettings::default() });
        let at = bench.wall();
        let foreign = entry(
            json!({"identity": {"name": "far.f", "function_id": "far.f", "version": "1"}, "node_id": "ws://far",
            "cluster_id": "c2", "advertised_at": at, "ttl_seconds": 600}),
        );
        bench.functions(vec![
            function("exp.a.f", "ws://f", at),
            function("exp.a.g", "ws://f", at),
            function("exp.b.f", "ws://f", at),
            foreign,
        ]);
        bench
    }

    fn round(bench: &mut Bench) -> Vec<DiscoveryMessage> {
        let world =
            World { catalog: &bench.catalog, node: &bench.node, peers: &bench.peers, now: bench.now() };
        bench.discovery.exports_due(world)
    }

    fn services(message: &DiscoveryMessage) -> Vec<String> {
        let payload: Value = serde_json::from_str(message.payload.get()).unwrap();
        payload["summaries"].as_array().unwrap().iter().map(name_of).collect()
    }

    #[test]
    fn a_round_tells_each_namespace_and_then_all() {
        let mut bench = exporter(SummarySettings::default());
        let told = round(&mut bench);
        let topics: Vec<&str> = told.iter().map(|m| m.topic.as_str()).collect();
        assert_eq!(
            topics,
            [
                "mpreg.discovery.summary.global.exp.a",
                "mpreg.discovery.summary.exp.a",
                "mpreg.discovery.summary.global.exp.b",
                "mpreg.discovery.summary.exp.b",
                "mpreg.discovery.summary.global",
                "mpreg.discovery.summary",
            ]
        );
        assert_eq!(services(&told[4]), ["exp.a.f", "exp.a.g", "exp.b.f"]);
        let payload: Value = serde_json::from_str(told[0].payload.get()).unwrap();
        assert_eq!((&payload["scope"], &payload["namespaces"]), (&json!("global"), &json!(["exp.a"])));
        assert_eq!(told[0].headers["event"], "discovery.summary_export");
        assert!(round(&mut bench).is_empty());
        assert_eq!(bench.discovery.next_timeout(), Some(Duration::from_secs(30)));
        let status = bench.call("namespace_status", json!({"namespace": "exp"}));
        assert_eq!((&status["summaries_exported"], &status["last_export_at"]), (&json!(3), &json!(1e9)));
        assert!(
            bench.call("namespace_status", json!({"namespace": "other"})).get("summaries_exported").is_none()
        );
    }

    #[test]
    fn settings_choose_topics_and_functions() {
        let mut unscoped =
            exporter(SummarySettings { scope: None, namespaces: vec!["exp.b".into()], ..Default::default() });
        let topics: Vec<String> = round(&mut unscoped).into_iter().map(|m| m.topic).collect();
        assert_eq!(topics, ["mpreg.discovery.summary.exp.b", "mpreg.discovery.summary"]);
        let everything = SummarySettings {
            include_unscoped: false,
            include_builtins: true,
            include_foreign: true,
            ..Default::default()
        };
        let mut everything = exporter(everything);
        let told = round(&mut everything);
        assert!(told.iter().all(|m| m.topic.starts_with("mpreg.discovery.summary.global")));
        assert_eq!(services(told.last().unwrap()).len(), 25 + 4);
    }

    #[test]
    fn policy_decides_what_leaves() {
        let rules =
            read_rules(&json!([{"namespace": "exp.a", "allow_summaries": true}, {"namespace": "exp.b"}]))
                .unwrap()
                .rules;
        let policy = PolicySettings { enabled: true, default_allow: false, rules, ..Default::default() };
        let summary = SummarySettings { export: true, ..Default::default() };
        let mut bench = Bench::new(DiscoverySettings { policy, summary, ..Default::default() });
        let at = bench.wall();
        bench.functions(vec![function("exp.a.f", "ws://f", at), function("exp.b.f", "ws://f", at)]);
        assert_eq!(services(round(&mut bench).last().unwrap()), ["exp.a.f"]);
    }

    #[test]
    fn a_hold_down_spaces_changes() {
        let settings = SummarySettings {
            hold_down: Duration::from_secs(60),
            interval: Duration::from_secs(10),
            ..Default::default()
        };
        let mut bench = exporter(settings);
        round(&mut bench);
        let mut shown = Vec::new();
        for seconds in [10.0, 50.0, 60.0] {
            bench.seconds = seconds;
            let at = bench.wall();
            bench.functions(["exp.b.f", "exp.b.new"].map(|n| function(n, "ws://f", at)).into());
            let told = round(&mut bench);
            shown.push(services(told.iter().find(|m| m.topic.ends_with("summary.exp.b")).unwrap()).len());
        }
        assert_eq!(shown, [1, 1, 2]);
    }

    #[test]
    fn exports_are_kept_for_late_subscribers() {
        let settings = SummarySettings {
            store_window: Duration::from_secs(60),
            store_messages_max: 8,
            interval: Duration::from_secs(10),
            ..Default::default()
        };
        let mut bench = exporter(settings);
        for seconds in [0.0, 10.0] {
            bench.seconds = seconds;
            round(&mut bench);
        }
        let count = |bench: &Bench, backlog| {
            bench.discovery.stored_summaries(|t| t.ends_with("global"), backlog, bench.now()).len()
        };
        assert_eq!(bench.discovery.stored_summaries(|_| true, 0, bench.now()).len(), 8);
        assert_eq!(count(&bench, 0), 2);
        bench.seconds = 12.0;
        assert_eq!((count(&bench, 5), count(&bench, 300)), (1, 2));
        bench.seconds = 65.0;
        assert_eq!(count(&bench, 300), 1);
    }
}
