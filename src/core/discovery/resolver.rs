//! Resolver mode (client.md 4.13): a private copy of the catalog that deltas keep current, and above it a cache of
//! query results. The namespace filter holds for each entry wherever it comes from.
//!
//! Results are kept for one viewer identity only, cluster and tenant, and end with the first change of what entries
//! say; that an entry was merely announced again changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::access::Viewer;
use super::filter::in_any;
use super::page::Listing;
use super::query::{Query, namespace};
use super::reply::Reply;
use super::settings::{QueryCacheSettings, ResolverSettings};
use crate::core::catalog::{
    CacheEntry, CacheProfileEntry, Catalog, Delta, Entry, FunctionEntry, NodeEntry, QueueEntry, ServiceEntry,
    Text, TopicEntry, namespace_of,
};
use crate::core::time::Now;

/// The private catalog with its counters and its cache.
#[derive(Debug)]
pub struct Resolver {
    settings: ResolverSettings,
    catalog: Catalog,
    /// Grows with each change that a query could notice.
    generation: u64,
    stats: Stats,
    cache: Option<QueryCache>,
    next_prune: Option<Duration>,
    next_resync: Option<Duration>,
}

/// What the cache knows about a question.
#[derive(Debug)]
pub enum Known {
    Fresh(Listing),
    /// May be served; it will be computed anew.
    Stale(Listing),
    Nothing,
}

/// A question and who asked it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    pub cluster: Text,
    pub tenant: Option<Text>,
    pub query: Query,
}

#[derive(Debug, Default)]
struct Stats {
    deltas_applied: u64,
    deltas_skipped: u64,
    last_delta: Option<(Text, Text, f64, Map<String, Value>)>,
    last_seed: Option<(f64, Value)>,
    last_prune: Option<(f64, Value)>,
}

#[derive(Debug)]
struct QueryCache {
    settings: QueryCacheSettings,
    kept: BTreeMap<Asked, Kept>,
    /// Entries of all kept results together.
    rows: usize,
    waiting: BTreeSet<Asked>,
    catalog: Counters,
    cluster_map: Counters,
}

#[derive(Debug)]
struct Kept {
    listing: Listing,
    at: Duration,
    generation: u64,
}

#[derive(Debug, Default)]
struct Counters {
    hits: u64,
    misses: u64,
    stale_serves: u64,
    negative_hits: u64,
    refreshes: u64,
}

impl Resolver {
    pub fn new(settings: ResolverSettings) -> Resolver {
        // The first ones are due at once.
        let first = |interval: Duration| (!interval.is_zero()).then_some(Duration::ZERO);
        Resolver {
            catalog: Catalog::new(usize::MAX),
            generation: 0,
            stats: Stats::default(),
            cache: settings.cache.enabled.then(|| QueryCache::new(settings.cache.clone())),
            next_prune: first(settings.prune_interval),
            next_resync: first(settings.resync_interval),
            settings,
        }
    }

    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    pub fn seeds_on_start(&self) -> bool {
        self.settings.seed_on_start
    }

    /// Takes over a change of the main catalog, as far as it lies in the namespaces of this resolver.
    pub fn observe(&mut self, delta: &Delta, now: Now) {
        let taken = self.filtered(delta);
        if taken.is_empty() && !delta.is_empty() {
            self.stats.deltas_skipped += 1;
            return;
        }
        let noticed = self.noticed(&taken);
        let changed = self.catalog.apply(taken, now.wall).changed;
        if noticed && !changed.is_empty() {
            self.generation += 1;
        }
        self.stats.deltas_applied += 1;
        let counts = changed.counts().into_iter().map(|(name, n)| (name.into(), n.into())).collect();
        self.stats.last_delta = Some((delta.update_id.clone(), delta.cluster_id.clone(), now.wall, counts));
    }

    /// Replaces everything by what the main catalog has.
    pub fn seed(&mut self, main: &Catalog, now: Now) {
        let taken = self.filtered(&main.snapshot());
        self.catalog = Catalog::new(usize::MAX);
        self.catalog.apply(taken, now.wall);
        self.generation += 1;
        self.stats.last_seed = Some((now.wall, self.entry_counts()));
    }

    /// Forgets results, not entries: what policy allows has changed.
    pub fn forget_results(&mut self) {
        if let Some(cache) = &mut self.cache {
            cache.kept.clear();
            cache.rows = 0;
            cache.waiting.clear();
        }
    }

    /// What is known of a question, counted.
    pub fn look(&mut self, asked: &Asked, now: Duration) -> Known {
        match &mut self.cache {
            None => Known::Nothing,
            Some(cache) => cache.look(asked, self.generation, now),
        }
    }

    pub fn keep(&mut self, asked: Asked, listing: Listing, now: Duration) {
        if let Some(cache) = &mut self.cache
            && asked.query.text_bytes() <= QUESTION_BYTES_MAX
        {
            cache.keep(asked, listing, self.generation, now);
        }
    }

    /// Questions whose stale result was served since the last call.
    pub fn take_waiting(&mut self) -> BTreeSet<Asked> {
        self.cache.as_mut().map(|c| std::mem::take(&mut c.waiting)).unwrap_or_default()
    }

    /// Stores the new result of a question that was waiting.
    pub fn refresh(&mut self, asked: Asked, listing: Listing, now: Duration) {
        if let Some(cache) = &mut self.cache {
            cache.counters(&asked.query).refreshes += 1;
            cache.keep(asked, listing, self.generation, now);
        }
    }

    /// When something is due; with results to compute anew, at once.
    pub fn next_timeout(&self) -> Option<Duration> {
        if self.cache.as_ref().is_some_and(|c| !c.waiting.is_empty()) {
            return Some(Duration::ZERO);
        }
        [self.next_prune, self.next_resync].into_iter().flatten().min()
    }

    /// Prunes and resynchronises, whatever is due.
    pub fn handle_timeout(&mut self, main: &Catalog, now: Now) {
        if self.next_resync.is_some_and(|due| due <= now.mono) {
            self.seed(main, now);
            self.next_resync = Some(now.mono + self.settings.resync_interval.max(INTERVAL_MIN));
        }
        if self.next_prune.is_some_and(|due| due <= now.mono) {
            let gone = self.catalog.expire(now.wall);
            if !gone.is_empty() {
                self.generation += 1;
            }
            let counts = kinds([
                gone.function_removals.len(),
                gone.topic_removals.len(),
                gone.queue_removals.len(),
                gone.service_removals.len(),
                gone.cache_removals.len(),
                gone.cache_profile_removals.len(),
                gone.node_removals.len(),
            ]);
            self.stats.last_prune = Some((now.wall, counts));
            self.next_prune = Some(now.mono + self.settings.prune_interval.max(INTERVAL_MIN));
        }
    }

    /// The answer of `resolver_cache_stats`.
    pub fn cache_stats(&self, now: Now) -> Value {
        Reply::new()
            .kept("enabled", true)
            .kept("generated_at", now.wall)
            .kept("namespaces", super::reply::texts(&self.settings.namespaces))
            .kept("entry_counts", self.entry_counts())
            .kept("stats", self.stats.value())
            .given("query_cache", self.cache.as_ref().map_or(Value::Null, QueryCache::value))
            .done()
    }

    /// The answer of `resolver_resync`, which does it.
    pub fn resync(&mut self, main: &Catalog, now: Now) -> Value {
        self.seed(main, now);
        Reply::new()
            .kept("enabled", true)
            .kept("generated_at", now.wall)
            .kept("resynced", true)
            .kept("entry_counts", self.entry_counts())
            .kept("stats", self.stats.value())
            .done()
    }

    fn entry_counts(&self) -> Value {
        let c = &self.catalog;
        kinds([
            c.functions().count(),
            c.topics().count(),
            c.queues().count(),
            c.services().count(),
            c.caches().count(),
            c.cache_profiles().count(),
            c.nodes().count(),
        ])
    }

    /// The part of a change that this resolver takes. What has no namespace (nodes, caches) is always taken, since
    /// the answers about functions and services need it.
    fn filtered(&self, delta: &Delta) -> Delta {
        let mut taken = delta.clone();
        let spaces = &self.settings.namespaces;
        if !spaces.is_empty() {
            taken.functions.retain(|f| in_any(&namespace(f), spaces));
            taken.function_removals.retain(|f| {
                let known = self.catalog.function(f).is_some();
                known || in_any(namespace_of(&f.identity.name), spaces)
            });
            taken.queues.retain(|q| in_any(&q.queue_name, spaces));
            taken.queue_removals.retain(|q| in_any(&q.queue_name, spaces));
            taken.services.retain(|s| in_any(&s.namespace, spaces));
            taken.service_removals.retain(|s| in_any(&s.namespace, spaces));
            taken.topics.retain(|t| t.patterns.iter().any(|p| in_any(p, spaces)));
        }
        taken
    }

    /// True where the change is more than the same entries announced again.
    fn noticed(&self, delta: &Delta) -> bool {
        let c = &self.catalog;
        let removals = delta.counts().into_iter().any(|(name, n)| n > 0 && name.ends_with("_removed"));
        removals
            || delta.functions.iter().any(|e| c.function(&e.key()).is_none_or(|k| !same_function(k, e)))
            || delta.nodes.iter().any(|e| c.node(&e.cluster_id, &e.node_id).is_none_or(|k| !same_node(k, e)))
            || delta.topics.iter().any(|e| c.topic(&e.key()).is_none_or(|k| !same_topic(k, e)))
            || delta.queues.iter().any(|e| c.queue(&e.key()).is_none_or(|k| !same_queue(k, e)))
            || delta.services.iter().any(|e| c.service(&e.key()).is_none_or(|k| !same_service(k, e)))
            || delta.caches.iter().any(|e| c.cache(&e.key()).is_none_or(|k| !same_cache(k, e)))
            || delta
                .cache_profiles
                .iter()
                .any(|e| c.cache_profile(&e.key()).is_none_or(|k| !same_profile(k, e)))
    }
}

impl Asked {
    pub fn new(viewer: &Viewer, query: Query) -> Asked {
        Asked { cluster: viewer.cluster_id.clone(), tenant: viewer.tenant.clone(), query }
    }
}

/// The answer of `resolver_cache_stats` where there is no resolver.
pub fn disabled_stats(now: Now) -> Value {
    Reply::new()
        .kept("enabled", false)
        .kept("generated_at", now.wall)
        .kept("namespaces", Value::Array(Vec::new()))
        .kept("entry_counts", kinds([0; 7]))
        .done()
}

/// The answer of `resolver_resync` where there is no resolver.
pub fn disabled_resync(now: Now) -> Value {
    Reply::new()
        .kept("enabled", false)
        .kept("generated_at", now.wall)
        .kept("resynced", false)
        .kept("error", "resolver_mode_disabled")
        .done()
}

impl Stats {
    fn value(&self) -> Value {
        let mut reply = Reply::new()
            .kept("deltas_applied", self.deltas_applied)
            .kept("deltas_skipped", self.deltas_skipped)
            // Deltas come typed from the catalog; there are no malformed ones any more.
            .kept("deltas_invalid", 0);
        if let Some((id, cluster, at, counts)) = &self.last_delta {
            reply = reply
                .kept("last_delta_id", &**id)
                .kept("last_delta_cluster", &**cluster)
                .kept("last_delta_at", *at)
                .kept("last_delta_counts", counts.clone());
        }
        if let Some((at, counts)) = &self.last_seed {
            reply = reply.kept("last_seed_at", *at).kept("last_seed_counts", counts.clone());
        }
        if let Some((at, counts)) = &self.last_prune {
            reply = reply.kept("last_prune_at", *at).kept("last_prune_counts", counts.clone());
        }
        reply.done()
    }
}

impl QueryCache {
    fn new(settings: QueryCacheSettings) -> QueryCache {
        QueryCache {
            settings,
            kept: BTreeMap::new(),
            rows: 0,
            waiting: BTreeSet::new(),
            catalog: Counters::default(),
            cluster_map: Counters::default(),
        }
    }

    fn look(&mut self, asked: &Asked, generation: u64, now: Duration) -> Known {
        let settings = &self.settings;
        let known = match self.kept.get(asked).filter(|k| k.generation == generation) {
            None => Known::Nothing,
            Some(kept) => {
                let negative = kept.listing.rows.is_empty();
                let fresh_until = kept.at + if negative { settings.negative_ttl } else { settings.ttl };
                if now <= fresh_until {
                    Known::Fresh(kept.listing.clone())
                } else if now <= fresh_until + settings.stale {
                    Known::Stale(kept.listing.clone())
                } else {
                    Known::Nothing
                }
            }
        };
        let counters = self.counters(&asked.query);
        match &known {
            Known::Fresh(listing) => {
                counters.hits += 1;
                counters.negative_hits += u64::from(listing.rows.is_empty());
            }
            Known::Stale(_) => {
                counters.stale_serves += 1;
                if self.waiting.len() < self.settings.entries_max {
                    self.waiting.insert(asked.clone());
                }
            }
            Known::Nothing => counters.misses += 1,
        }
        known
    }

    fn keep(&mut self, asked: Asked, listing: Listing, generation: u64, now: Duration) {
        self.rows += listing.rows.len();
        if let Some(before) = self.kept.insert(asked, Kept { listing, at: now, generation }) {
            self.rows -= before.listing.rows.len();
        }
        while self.kept.len() > self.settings.entries_max || self.rows > ROWS_MAX {
            let oldest = self.kept.iter().min_by_key(|(_, k)| k.at).map(|(asked, _)| asked.clone());
            let Some(gone) = oldest.and_then(|oldest| self.kept.remove(&oldest)) else { break };
            self.rows -= gone.listing.rows.len();
        }
    }

    fn counters(&mut self, query: &Query) -> &mut Counters {
        match query {
            Query::Catalog(_) => &mut self.catalog,
            Query::ClusterMap(_) => &mut self.cluster_map,
        }
    }

    fn value(&self) -> Value {
        let catalog = self.kept.keys().filter(|a| matches!(a.query, Query::Catalog(_))).count();
        let mut reply = Reply::new()
            .kept("catalog_entries", catalog)
            .kept("cluster_map_entries", self.kept.len() - catalog);
        for (which, c) in [("catalog", &self.catalog), ("cluster_map", &self.cluster_map)] {
            reply = reply
                .kept(&format!("{which}_hits"), c.hits)
                .kept(&format!("{which}_misses"), c.misses)
                .kept(&format!("{which}_stale_serves"), c.stale_serves)
                .kept(&format!("{which}_negative_hits"), c.negative_hits)
                .kept(&format!("{which}_refreshes"), c.refreshes);
        }
        reply.done()
    }
}

fn kinds(counts: [usize; 7]) -> Value {
    let names = ["functions", "topics", "queues", "services", "caches", "cache_profiles", "nodes"];
    Value::Object(names.into_iter().zip(counts).map(|(name, n)| (name.into(), n.into())).collect())
}

fn same_function(a: &FunctionEntry, b: &FunctionEntry) -> bool {
    a.scope == b.scope
        && a.tags == b.tags
        && a.spec_digest == b.spec_digest
        && a.rpc_summary.as_deref().map(RawValue::get) == b.rpc_summary.as_deref().map(RawValue::get)
        && a.rpc_spec.is_some() == b.rpc_spec.is_some()
}

fn same_node(a: &NodeEntry, b: &NodeEntry) -> bool {
    a.scope == b.scope
        && a.resources == b.resources
        && a.capabilities == b.capabilities
        && a.transport_endpoints == b.transport_endpoints
        && a.tags == b.tags
        && a.region == b.region
}

fn same_topic(a: &TopicEntry, b: &TopicEntry) -> bool {
    a.scope == b.scope && a.patterns == b.patterns && a.tags == b.tags
}

fn same_queue(a: &QueueEntry, b: &QueueEntry) -> bool {
    a.scope == b.scope
        && a.delivery_guarantees == b.delivery_guarantees
        && a.health == b.health
        && a.current_subscribers == b.current_subscribers
        && a.metadata == b.metadata
        && a.tags == b.tags
}

fn same_service(a: &ServiceEntry, b: &ServiceEntry) -> bool {
    a.scope == b.scope
        && a.targets == b.targets
        && a.tags == b.tags
        && a.capabilities == b.capabilities
        && a.metadata == b.metadata
        && (a.priority, a.weight) == (b.priority, b.weight)
}

fn same_cache(a: &CacheEntry, b: &CacheEntry) -> bool {
    a.scope == b.scope && a.tags == b.tags
}

fn same_profile(a: &CacheProfileEntry, b: &CacheProfileEntry) -> bool {
    a.scope == b.scope
        && a.region == b.region
        && a.coordinates == b.coordinates
        && a.capacity_mb == b.capacity_mb
        && a.utilization_percent == b.utilization_percent
        && a.avg_latency_ms == b.avg_latency_ms
        && a.reliability_score == b.reliability_score
        && a.tags == b.tags
}

/// References of 16 bytes in all results of the cache together.
const ROWS_MAX: usize = 2_000_000;
/// Longer questions are answered without the cache.
const QUESTION_BYTES_MAX: usize = 4096;
/// Cleaning up or copying more often than this is not worth it.
const INTERVAL_MIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::super::settings::{DiscoverySettings, PolicySettings};
    use super::super::tenant::TenantSettings;
    use super::super::testing::*;
    use super::super::{Delta, policy};
    use super::*;
    use serde_json::json;

    fn resolver(settings: ResolverSettings) -> Bench {
        Bench::new(DiscoverySettings {
            resolver: ResolverSettings { enabled: true, ..settings },
            ..DiscoverySettings::default()
        })
    }

    fn stats(bench: &mut Bench) -> Value {
        bench.call("resolver_cache_stats", json!({}))
    }

    fn seconds(n: f64) -> Duration {
        Duration::from_secs_f64(n)
    }

    #[test]
    fn answers_have_the_captured_shape() {
        let mut plain = Bench::new(Default::default());
        same_shape(&stats(&mut plain), &sample("resolver_cache_stats_disabled")["result"]);
        same_shape(
            &plain.call("resolver_resync", json!({"ignored": 1})),
            &sample("resolver_resync_disabled")["result"],
        );
        let mut bench = resolver(ResolverSettings { namespaces: vec!["svc".into()], ..Default::default() });
        bench.discovery.start(&bench.catalog, bench.now());
        bench.seconds = 31.0;
        bench.timeout();
        bench.announce();
        same_shape(&stats(&mut bench), &sample("resolver_cache_stats")["result"]);
        same_shape(&bench.call("resolver_resync", json!({})), &sample("resolver_resync")["result"]);
        let mut uncached = resolver(ResolverSettings {
            cache: QueryCacheSettings { enabled: false, ..Default::default() },
            ..Default::default()
        });
        let told = stats(&mut uncached);
        assert!(told.get("query_cache").is_none() && told["stats"].get("last_seed_at").is_none());
        assert!(
            told["stats"]["deltas_applied"].as_u64() > Some(0) && told["entry_counts"]["functions"] == 25
        );
    }

    #[test]
    fn the_namespace_filter_works_per_entry_everywhere() {
        let mut bench =
            resolver(ResolverSettings { namespaces: vec!["market".into()], ..Default::default() });
        let at = bench.wall();
        let delta = Delta {
            services: vec![
                service("a", "market", at, 60.0),
                service("b", "other", at, 60.0),
                service("c", "market.eu", at, 60.0),
                service("d", "markets", at, 60.0),
            ],
            functions: vec![function("market.fn", "ws://f", at), function("other.fn", "ws://f", at)],
            ..Delta::default()
        };
        bench.learn(delta);
        let services = json!({"entry_type": "services"});
        for _ in 0..2 {
            assert_eq!(bench.names("catalog_query", services.clone()), ["a", "c"]);
            assert_eq!(bench.names("rpc_list", json!({})), ["market.fn"]);
            bench.call("resolver_resync", json!({}));
        }
        let skipped = stats(&mut bench)["stats"]["deltas_skipped"].as_u64();
        bench.services(vec![service("e", "other", at, 60.0)]);
        assert_eq!(stats(&mut bench)["stats"]["deltas_skipped"].as_u64(), skipped.map(|n| n + 1));
        bench.learn(Delta {
            service_removals: vec![service("a", "market", at, 60.0).key()],
            ..Delta::default()
        });
        assert_eq!(bench.names("catalog_query", services), ["c"]);
    }

    #[test]
    fn results_are_fresh_then_stale_then_gone() {
        let cache = QueryCacheSettings {
            ttl: seconds(10.0),
            stale: seconds(20.0),
            negative_ttl: seconds(5.0),
            ..Default::default()
        };
        let mut bench =
            resolver(ResolverSettings { cache, prune_interval: Duration::ZERO, ..Default::default() });
        let ask = json!({"entry_type": "functions", "function_name": "echo"});
        let absent = json!({"entry_type": "functions", "function_name": "absent"});
        let count = |bench: &mut Bench, name: &str| stats(bench)["query_cache"][name].as_u64().unwrap();
        let first = bench.call("catalog_query", ask.clone());
        bench.call("catalog_query", absent.clone());
        bench.seconds = 5.0;
        assert_eq!(bench.call("catalog_query", ask.clone()), first);
        bench.call("catalog_query", absent.clone());
        assert_eq!((count(&mut bench, "catalog_hits"), count(&mut bench, "catalog_negative_hits")), (2, 1));
        bench.seconds = 11.0;
        assert_eq!(bench.call("catalog_query", ask.clone())["generated_at"], first["generated_at"]);
        assert_eq!(
            (count(&mut bench, "catalog_stale_serves"), count(&mut bench, "catalog_refreshes")),
            (1, 0)
        );
        assert_eq!(bench.discovery.next_timeout(), Some(Duration::ZERO));
        bench.timeout();
        assert_eq!(count(&mut bench, "catalog_refreshes"), 1);
        assert_eq!(bench.call("catalog_query", ask.clone())["generated_at"], 1e9 + 11.0);
        bench.seconds = 60.0;
        bench.call("catalog_query", ask);
        assert_eq!(count(&mut bench, "catalog_misses"), 3);
        bench.call("cluster_map_v2", json!({}));
        bench.call("cluster_map_v2", json!({}));
        assert_eq!(
            (
                count(&mut bench, "cluster_map_misses"),
                count(&mut bench, "cluster_map_hits"),
                count(&mut bench, "cluster_map_entries")
            ),
            (1, 1, 1)
        );
    }

    #[test]
    fn changes_end_results_and_heartbeats_do_not() {
        let mut bench = resolver(ResolverSettings::default());
        let at = bench.wall();
        bench.services(vec![service("a", "first.query", at, 60.0)]);
        let ask = json!({"entry_type": "services", "namespace": "first.query"});
        assert_eq!(bench.names("catalog_query", ask.clone()), ["a"]);
        bench.seconds = 1.0;
        bench.services(vec![service("a", "first.query", bench.wall(), 60.0)]);
        bench.announce();
        bench.names("catalog_query", ask.clone());
        let told = stats(&mut bench);
        assert_eq!(
            (&told["query_cache"]["catalog_hits"], &told["query_cache"]["catalog_misses"]),
            (&json!(1), &json!(1))
        );
        bench.learn(Delta {
            service_removals: vec![service("a", "first.query", at, 60.0).key()],
            ..Delta::default()
        });
        assert!(bench.names("catalog_query", ask.clone()).is_empty());
        bench.services(vec![service("b", "first.query", bench.wall(), 60.0)]);
        assert_eq!(bench.names("catalog_query", ask), ["b"]);
    }

    #[test]
    fn expired_entries_are_pruned_and_resync_repeats() {
        let settings = ResolverSettings {
            prune_interval: seconds(1.0),
            resync_interval: seconds(5.0),
            seed_on_start: false,
            ..Default::default()
        };
        let mut bench = resolver(settings);
        bench.services(vec![service("p", "prune.me", bench.wall(), 1.5)]);
        bench.timeout();
        assert_eq!(stats(&mut bench)["stats"]["last_seed_counts"]["services"], 1);
        bench.seconds = 2.0;
        assert_eq!(bench.discovery.next_timeout(), Some(seconds(1.0)));
        bench.timeout();
        let told = stats(&mut bench);
        assert_eq!(
            (&told["entry_counts"]["services"], &told["stats"]["last_prune_counts"]["services"]),
            (&json!(0), &json!(1))
        );
        assert_eq!(bench.discovery.next_timeout(), Some(seconds(3.0)));
    }

    #[test]
    fn the_cache_is_bounded() {
        let cache = QueryCacheSettings { entries_max: 3, ..Default::default() };
        let mut bench = resolver(ResolverSettings { cache, ..Default::default() });
        for i in 0..12 {
            bench.seconds += 0.1;
            bench.call("catalog_query", json!({"entry_type": "functions", "function_name": format!("f{i}")}));
            bench.call("cluster_map_v2", json!({"cluster_id": format!("c{i}")}));
        }
        let told = stats(&mut bench)["query_cache"].clone();
        assert_eq!(
            told["catalog_entries"].as_u64().unwrap() + told["cluster_map_entries"].as_u64().unwrap(),
            3
        );
    }

    #[test]
    fn tenants_do_not_share_results() {
        let rules = json!([{"namespace": "owned.a", "visibility_tenants": ["a"]}, {"namespace": "owned.b", "visibility_tenants": ["b"]}]);
        let policy = PolicySettings {
            enabled: true,
            rules: policy::read_rules(&rules).unwrap().rules,
            ..Default::default()
        };
        let tenants = TenantSettings { enabled: true, allow_claimed: false, ..Default::default() };
        let resolver = ResolverSettings { enabled: true, ..Default::default() };
        let mut bench = Bench::new(DiscoverySettings { policy, tenants, resolver, ..Default::default() });
        let at = bench.wall();
        bench.services(vec![service("s-a", "owned.a", at, 60.0), service("s-b", "owned.b", at, 60.0)]);
        for who in [None, Some("a"), Some("b"), None, Some("b"), Some("a")] {
            bench.viewer.tenant = who.map(Text::from);
            let seen = bench.names("catalog_query", json!({"entry_type": "services"}));
            assert_eq!(seen, who.map(|w| format!("s-{w}")).into_iter().collect::<Vec<_>>());
        }
    }
}
