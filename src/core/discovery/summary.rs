//! Services in short: `summary_query` with its ways in (client.md 4.10), and the cache of summaries that a summary
//! resolver received from elsewhere (discovery.md 6). A received summary that makes no sense is counted and dropped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::World;
use super::filter::{at_or_below, has_all, in_any, own_namespace, reaches};
use super::payload::{Payload, float, integer};
use super::policy::Policy;
use super::query::Context;
use super::reply::{Reply, texts};
use super::row::Row;
use super::settings::SummaryResolverSettings;
use super::watch::{SUMMARY_TOPIC, topic};
use crate::core::catalog::{Leased, NodeEntry, Scope, Text};
use crate::core::error::CallError;
use crate::core::time::Now;

/// A service as one cluster shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    pub namespace: Text,
    pub service_id: Text,
    pub regions: Vec<Text>,
    pub endpoint_count: i64,
    pub health_band: Text,
    /// Milliseconds, from and to.
    pub latency_band_ms: [f64; 2],
    pub ttl_seconds: f64,
    /// Wall clock of the one who made it.
    pub generated_at: f64,
    pub scope: Option<Scope>,
    pub policy_version: Option<Text>,
    pub source_cluster: Text,
}

/// `summary_query` as it is asked.
#[derive(Debug)]
pub struct SummaryQuery {
    pub scope: Option<Scope>,
    pub namespace: Option<String>,
    pub service_id: Option<String>,
    ingress: Option<Ingress>,
}

/// Which ways in are wanted.
#[derive(Debug)]
struct Ingress {
    urls_max: usize,
    scope: Option<Scope>,
    /// Without a match nothing is shown, instead of everything.
    strict: bool,
    capabilities: Vec<String>,
    tags: Vec<String>,
}

/// Summaries received from elsewhere.
#[derive(Debug)]
pub struct SummaryCache {
    settings: SummaryResolverSettings,
    entries: BTreeMap<SummaryKey, Arc<Summary>>,
    pub counters: SummaryCounters,
    next_prune: Option<Duration>,
}

/// What became of received messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SummaryCounters {
    pub messages_applied: u64,
    pub messages_skipped: u64,
    pub messages_invalid: u64,
    pub summaries_applied: u64,
    pub summaries_expired: u64,
    /// Refused because the cache is full.
    pub summaries_refused: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct SummaryKey {
    namespace: Text,
    service_id: Text,
    source_cluster: Text,
    scope: Option<Scope>,
}

impl SummaryQuery {
    pub fn read(payload: &Payload) -> Result<SummaryQuery, CallError> {
        let scope = payload.scope("scope")?;
        let wide = scope.filter(|s| *s >= Scope::Region);
        let given = payload.text("ingress_scope")?.map(|word| Scope::lenient(&word));
        let ingress = Ingress {
            // Even a limit of 0 shows one way in.
            urls_max: match payload.integer("ingress_limit")? {
                None => usize::MAX,
                Some(n) => usize::try_from(n).unwrap_or(0).max(1),
            },
            scope: given.or(wide),
            strict: given.is_some(),
            capabilities: payload.set("ingress_capabilities")?,
            tags: payload.set("ingress_tags")?,
        };
        Ok(SummaryQuery {
            scope,
            namespace: payload.trimmed("namespace")?,
            service_id: payload.text("service_id")?,
            ingress: payload.truth("include_ingress").then_some(ingress),
        })
    }

    fn fits(&self, namespace: &str, service_id: &str) -> bool {
        self.namespace.as_deref().is_none_or(|n| at_or_below(namespace, n))
            && self.service_id.as_deref().is_none_or(|id| id == service_id)
    }

    /// The functions of the catalog in short, one row for each name, in order.
    pub fn summarised(&self, context: &Context<'_>) -> Vec<Row> {
        let mut rows: Vec<Row> = summarise(context, self.scope, |name, _| {
            self.fits(own_namespace(name), name) && context.shows(name)
        })
        .into_iter()
        .map(|s| Row::Summary(Arc::new(s)))
        .collect();
        rows.sort_unstable_by(Row::order);
        rows
    }

    /// What was received for this scope, in order.
    pub fn received(&self, cache: &SummaryCache, context: &Context<'_>) -> Vec<Row> {
        let mut rows: Vec<Row> = cache
            .entries
            .values()
            .filter(|s| {
                (s.scope.is_none() || s.scope == self.scope)
                    && !s.expired(context.now)
                    && self.fits(&s.namespace, &s.service_id)
                    && context.shows(&s.service_id)
            })
            .map(|s| Row::Summary(s.clone()))
            .collect();
        rows.sort_unstable_by(Row::order);
        rows
    }

    /// The ways into the clusters of these rows; empty where none are wanted.
    pub fn ingress(&self, rows: &[Row], context: &Context<'_>, world: &World<'_>) -> Value {
        let Some(wanted) = &self.ingress else { return Value::Null };
        let mut clusters: Vec<&Text> = rows
            .iter()
            .filter_map(|row| match row {
                Row::Summary(s) => Some(&s.source_cluster),
                _ => None,
            })
            .collect();
        clusters.sort_unstable();
        clusters.dedup();
        let mut nodes = context.nodes();
        nodes.sort_unstable_by(|a, b| a.node_id.cmp(&b.node_id));
        let mut ways = Map::new();
        for cluster in clusters {
            let there: Vec<&NodeEntry> =
                nodes.iter().map(|n| &**n).filter(|n| n.cluster_id == *cluster).collect();
            let urls = wanted.urls(there, world);
            if !urls.is_empty() {
                ways.insert(cluster.to_string(), texts(urls));
            }
        }
        Value::Object(ways)
    }
}

impl Ingress {
    fn urls(&self, there: Vec<&NodeEntry>, world: &World<'_>) -> Vec<Text> {
        let mut fitting: Vec<&NodeEntry> =
            there.iter().copied().filter(|n| self.scope.is_none() || reaches(n.scope, self.scope)).collect();
        if fitting.is_empty() && !self.strict {
            fitting = there;
        }
        let mut urls: Vec<Text> = Vec::new();
        for node in fitting {
            let gone = world.peers.get(&node.node_id).is_some_and(|p| p.hidden);
            if gone || !has_all(&node.capabilities, &self.capabilities) || !has_all(&node.tags, &self.tags) {
                continue;
            }
            for url in world.advertised_urls(node) {
                if urls.len() >= self.urls_max {
                    return urls;
                }
                if !urls.contains(&url) {
                    urls.push(url);
                }
            }
        }
        urls
    }
}

/// Summaries of the functions that `wanted` takes by name and cluster, in the order of their names.
pub fn summarise(
    context: &Context<'_>,
    scope: Option<Scope>,
    wanted: impl Fn(&str, &str) -> bool,
) -> Vec<Summary> {
    let mut counts: BTreeMap<&Text, i64> = BTreeMap::new();
    for function in context.catalog.functions() {
        let name = &function.identity.name;
        if function.expired(context.now) {
            continue;
        }
        if let Some(count) = counts.get_mut(name)
            && wanted(name, &function.cluster_id)
        {
            *count += 1;
        } else if wanted(name, &function.cluster_id) {
            counts.insert(name, 1);
        }
    }
    counts
        .into_iter()
        .map(|(name, count)| Summary {
            namespace: own_namespace(name).into(),
            service_id: name.clone(),
            regions: Some(context.node.region.clone()).filter(|r| !r.is_empty()).into_iter().collect(),
            endpoint_count: count,
            health_band: "healthy".into(),
            latency_band_ms: [0.0, 0.0],
            ttl_seconds: context.node.catalog_ttl_seconds,
            generated_at: context.now,
            scope,
            policy_version: policy_version(context.policy, name),
            source_cluster: context.node.cluster_id.clone(),
        })
        .collect()
}

impl Summary {
    pub fn value(&self) -> Value {
        // Whole numbers are written as such, as everybody else does.
        let band =
            self.latency_band_ms.map(|ms| if ms.fract() == 0.0 { json!(ms as i64) } else { json!(ms) });
        Reply::new()
            .kept("namespace", &*self.namespace)
            .kept("service_id", &*self.service_id)
            .kept("regions", texts(&self.regions))
            .kept("endpoint_count", self.endpoint_count)
            .kept("health_band", &*self.health_band)
            .kept("latency_band_ms", Value::from(band.to_vec()))
            .kept("ttl_seconds", self.ttl_seconds)
            .kept("generated_at", self.generated_at)
            .given("scope", self.scope.map(Scope::word))
            .given("policy_version", self.policy_version.as_deref())
            .given("source_cluster", &*self.source_cluster)
            .done()
    }

    fn expired(&self, now: f64) -> bool {
        now > self.generated_at + self.ttl_seconds
    }

    /// `None` where a member that must be there is not, or is of another type.
    fn read(value: &Value, message_scope: Option<Scope>, message_cluster: &str) -> Option<Summary> {
        let text = |name: &str| value.get(name).and_then(Value::as_str).filter(|t| !t.is_empty());
        let band = value.get("latency_band_ms").and_then(Value::as_array);
        let band_ms = |place: usize| band.and_then(|b| b.get(place)).and_then(float).unwrap_or_default();
        let regions = value.get("regions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        Some(Summary {
            namespace: text("namespace")?.into(),
            service_id: text("service_id")?.into(),
            regions: regions.iter().filter_map(Value::as_str).map(Text::from).collect(),
            endpoint_count: value.get("endpoint_count").and_then(integer).unwrap_or_default(),
            health_band: text("health_band").unwrap_or("healthy").into(),
            latency_band_ms: [band_ms(0), band_ms(1)],
            ttl_seconds: value.get("ttl_seconds").and_then(float)?,
            generated_at: value.get("generated_at").and_then(float)?,
            scope: text("scope").and_then(Scope::parse).or(message_scope),
            policy_version: text("policy_version").map(Text::from),
            source_cluster: text("source_cluster").unwrap_or(message_cluster).into(),
        })
    }

    fn key(&self) -> SummaryKey {
        SummaryKey {
            namespace: self.namespace.clone(),
            service_id: self.service_id.clone(),
            source_cluster: self.source_cluster.clone(),
            scope: self.scope,
        }
    }
}

impl SummaryCache {
    pub fn new(settings: SummaryResolverSettings) -> SummaryCache {
        let next_prune = (!settings.prune_interval.is_zero()).then_some(settings.prune_interval);
        SummaryCache { settings, entries: BTreeMap::new(), counters: SummaryCounters::default(), next_prune }
    }

    /// The patterns of the topics to listen on.
    pub fn patterns(&self) -> Vec<String> {
        let scopes: Vec<Option<&str>> = match self.settings.scopes.as_slice() {
            [] => vec![None],
            scopes => scopes.iter().map(|s| Some(s.word())).collect(),
        };
        let with_below = |scope| [topic(SUMMARY_TOPIC, scope, None), topic(SUMMARY_TOPIC, scope, Some("#"))];
        scopes.into_iter().flat_map(with_below).collect()
    }

    /// Takes over the summaries of one message. The caller has made sure that a node sent it.
    pub fn observe(&mut self, payload: &RawValue, now: Now) {
        let payload: Value = serde_json::from_str(payload.get()).unwrap_or_default();
        let Some(summaries) = payload.get("summaries").and_then(Value::as_array) else {
            self.counters.messages_invalid += 1;
            return;
        };
        let scope = payload.get("scope").and_then(Value::as_str).and_then(Scope::parse);
        let cluster = payload.get("source_cluster").and_then(Value::as_str).unwrap_or_default();
        let scopes = &self.settings.scopes;
        if !scopes.is_empty() && !scope.is_some_and(|s| scopes.contains(&s)) {
            self.counters.messages_skipped += 1;
            return;
        }
        let read: Vec<_> = summaries.iter().map(|s| Summary::read(s, scope, cluster)).collect();
        if read.iter().any(Option::is_none) {
            self.counters.messages_invalid += 1;
        }
        let (mut fitting, any) = (0, read.iter().any(Option::is_some));
        for summary in read.into_iter().flatten() {
            if in_any(&summary.namespace, &self.settings.namespaces) {
                fitting += 1;
                self.insert(summary, now.wall);
            }
        }
        if fitting > 0 {
            self.counters.messages_applied += 1;
        } else if any || summaries.is_empty() {
            self.counters.messages_skipped += 1;
        }
    }

    pub fn next_timeout(&self) -> Option<Duration> {
        self.next_prune
    }

    /// Drops what has outlived its time, when that is due.
    pub fn handle_timeout(&mut self, now: Now) {
        if self.next_prune.is_some_and(|due| due <= now.mono) {
            self.prune(now.wall);
            self.next_prune = Some(now.mono + self.settings.prune_interval.max(INTERVAL_MIN));
        }
    }

    fn prune(&mut self, now: f64) {
        let before = self.entries.len();
        self.entries.retain(|_, s| !s.expired(now));
        self.counters.summaries_expired += (before - self.entries.len()) as u64;
    }

    fn insert(&mut self, summary: Summary, now: f64) {
        if summary.ttl_seconds <= 0.0 || summary.expired(now) {
            return;
        }
        let key = summary.key();
        if let Some(known) = self.entries.get(&key) {
            if known.generated_at >= summary.generated_at {
                return;
            }
        } else if self.entries.len() >= self.settings.entries_max {
            self.prune(now);
            if self.entries.len() >= self.settings.entries_max {
                self.counters.summaries_refused += 1;
                return;
            }
        }
        self.counters.summaries_applied += 1;
        self.entries.insert(key, Arc::new(summary));
    }
}

fn policy_version(policy: &Policy, name: &str) -> Option<Text> {
    if policy.enabled() { policy.rule_for(name)?.policy_version.clone() } else { None }
}

/// Cleaning up more often than this is not worth it.
const INTERVAL_MIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::super::settings::{DiscoverySettings, SummarySettings};
    use super::super::testing::*;
    use super::*;

    #[test]
    fn summaries_have_the_captured_shape() {
        let mut bench = Bench::new(Default::default());
        let at = bench.wall();
        bench.functions(vec![
            function("svc.market.quote", "ws://f", at),
            function("svc.market.eu.quote", OWN, at),
        ]);
        let asked = json!({"namespace": "svc.market", "scope": "global", "include_ingress": true, "ingress_limit": 2});
        let told = bench.call("summary_query", asked);
        same_shape(&told, &in_own_cluster("summary_query"));
        assert_eq!(told["items"][0]["latency_band_ms"].to_string(), "[0,0]");
        assert_eq!(
            bench.names("summary_query", json!({"namespace": "svc.market"})),
            ["svc.market.quote", "svc.market.eu.quote"]
        );
        assert!(bench.names("summary_query", json!({"namespace": "svc.mark"})).is_empty());
        assert_eq!(
            bench.call("summary_query", json!({"service_id": "echo", "scope": "Region"}))["items"][0]["scope"],
            "region"
        );
        let echo = bench.call("summary_query", json!({"service_id": "echo"}));
        assert!(echo.get("ingress").is_none() && echo["items"][0].get("scope").is_none());
        assert_eq!(
            (&echo["items"][0]["namespace"], &echo["items"][0]["regions"]),
            (&json!("echo"), &json!(["local"]))
        );
    }

    /// The captured cluster has another name, which is a member here.
    fn in_own_cluster(name: &str) -> Value {
        let text = sample(name)["result"].to_string().replace("cluster-a", "c1");
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn the_table_of_ways_in_holds() {
        let mut bench = Bench::new(Default::default());
        for (payload, shown) in [
            (json!({"include_ingress": true}), true),
            (json!({"include_ingress": false}), false),
            (json!({"include_ingress": true, "ingress_scope": "zone"}), true),
            (json!({"include_ingress": true, "ingress_scope": "global"}), false),
            (json!({"include_ingress": true, "scope": "global"}), true),
            (json!({"include_ingress": true, "ingress_capabilities": ["rpc"]}), true),
            (json!({"include_ingress": true, "ingress_capabilities": ["fly"]}), false),
            (json!({"include_ingress": true, "ingress_tags": ["edge"]}), false),
            (json!({"include_ingress": true, "ingress_limit": 1}), true),
            (json!({"include_ingress": true, "ingress_limit": 0}), true),
            (json!({"include_ingress": true, "service_id": "nope"}), false),
        ] {
            let mut asked = json!({"service_id": "echo"});
            asked.as_object_mut().unwrap().extend(payload.as_object().unwrap().clone());
            let told = bench.call("summary_query", asked);
            let expected = if shown { json!({"c1": [OWN]}) } else { Value::Null };
            assert_eq!(told.get("ingress").cloned().unwrap_or_default(), expected, "{payload}");
        }
    }

    #[test]
    fn ways_in_are_in_the_order_of_nodes() {
        let mut bench = Bench::new(Default::default());
        let at = bench.wall();
        let node = entry(
            json!({"node_id": "ws://127.0.0.1:5000", "cluster_id": "c1", "advertised_at": at, "ttl_seconds": 60}),
        );
        let delta = super::super::Delta {
            nodes: vec![node],
            functions: vec![function("who", OWN, at), function("who", "ws://127.0.0.1:5000", at)],
            ..Default::default()
        };
        bench.learn(delta);
        let told = bench.call("summary_query", json!({"service_id": "who", "include_ingress": true}));
        same_shape(&told, &in_own_cluster("summary_query_two_nodes_ingress"));
        assert_eq!(told["ingress"]["c1"], json!([OWN, "ws://127.0.0.1:5000"]));
        assert_eq!(told["items"][0]["endpoint_count"], 2);
    }

    fn message(summaries: Value, scope: &str) -> Box<RawValue> {
        RawValue::from_string(
            json!({"summaries": summaries, "namespaces": [], "source_cluster": "far", "scope": scope})
                .to_string(),
        )
        .unwrap()
    }

    fn made(service: &str, at: f64) -> Value {
        json!({"namespace": own_namespace(service), "service_id": service, "regions": ["us-1"], "endpoint_count": 3,
            "health_band": "healthy", "latency_band_ms": [0, 0], "ttl_seconds": 30.0, "generated_at": at})
    }

    fn resolver(settings: SummaryResolverSettings) -> Bench {
        let resolver = SummaryResolverSettings { enabled: true, ..settings };
        Bench::new(DiscoverySettings {
            summary: SummarySettings { resolver, ..SummarySettings::default() },
            ..DiscoverySettings::default()
        })
    }

    #[test]
    fn a_summary_resolver_answers_wide_questions_from_what_it_received() {
        let mut bench = resolver(SummaryResolverSettings::default());
        let (now, at) = (bench.now(), bench.wall());
        bench.discovery.observe_summary(&message(json!([made("svc.a", at)]), "global"), now);
        bench.discovery.observe_summary(&message(json!([made("svc.b", at)]), "region"), now);
        assert_eq!(bench.names("summary_query", json!({"scope": "global"})), ["svc.a"]);
        assert_eq!(bench.names("summary_query", json!({"scope": "region"})), ["svc.b"]);
        assert!(bench.names("summary_query", json!({"namespace": "svc"})).is_empty());
        let item = bench.call("summary_query", json!({"scope": "global"}))["items"][0].clone();
        assert_eq!(
            (&item["source_cluster"], &item["endpoint_count"], &item["scope"]),
            (&json!("far"), &json!(3), &json!("global"))
        );
        bench.seconds = 31.0;
        assert!(bench.names("summary_query", json!({"scope": "global"})).is_empty());
        bench.timeout();
        assert_eq!(bench.discovery.summary_counters().unwrap().summaries_expired, 2);
    }

    #[test]
    fn only_newer_fitting_and_sensible_summaries_are_taken() {
        let settings = SummaryResolverSettings {
            namespaces: vec!["svc".into()],
            scopes: vec![Scope::Global],
            entries_max: 2,
            ..Default::default()
        };
        let mut bench = resolver(settings);
        let (now, at) = (bench.now(), bench.wall());
        let mut older = made("svc.a", at - 5.0);
        older["endpoint_count"] = 9.into();
        let mut dead = made("svc.dead", at);
        dead["ttl_seconds"] = 0.into();
        for (summaries, scope) in [
            (json!([made("svc.a", at)]), "global"),
            (json!([older, dead]), "global"),
            (json!([made("other.x", at)]), "global"),
            (json!([made("svc.r", at)]), "region"),
            (json!(5), "global"),
            (json!([7, {"namespace": "svc"}]), "global"),
            (json!([made("svc.b", at), made("svc.c", at)]), "global"),
        ] {
            bench.discovery.observe_summary(&message(summaries, scope), now);
        }
        assert_eq!(
            bench.discovery.summary_patterns(),
            ["mpreg.discovery.summary.global", "mpreg.discovery.summary.global.#"]
        );
        bench.discovery.observe_summary(&RawValue::from_string("null".into()).unwrap(), now);
        let told = bench.call("summary_query", json!({"scope": "global"}));
        assert_eq!(
            told["items"].as_array().unwrap().iter().map(name_of).collect::<Vec<_>>(),
            ["svc.a", "svc.b"]
        );
        assert_eq!(told["items"][0]["endpoint_count"], 3);
        let expected = SummaryCounters {
            messages_applied: 3,
            messages_skipped: 2,
            messages_invalid: 3,
            summaries_applied: 2,
            summaries_expired: 0,
            summaries_refused: 1,
        };
        assert_eq!(bench.discovery.summary_counters(), Some(expected));
        use crate::core::reason::Reason;
        let notes = [(Reason::SummaryMalformed, 3), (Reason::SummaryLimit, 1)];
        assert_eq!(bench.discovery.take_notes(), notes);
        assert!(bench.discovery.take_notes().is_empty());
    }
}
