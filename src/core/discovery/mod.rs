//! Discovery: what clients can ask a node about its cluster, answered by 23 of the 25 built-in functions (client.md
//! 3, 4, 5.8 and 6).
//!
//! It promises exact shapes, lists that every filter sees whole, pages of one list, and errors of one line. It keeps
//! policy, tenants, rate limits and audits for discovery only: none of it ever restricts a call. It reads the catalog
//! and never changes it; what a client registers is handed back for the node to announce.

mod access;
mod builtin;
mod commands;
mod export;
mod filter;
mod functions;
mod nodes;
mod page;
mod payload;
mod policy;
mod query;
mod registry;
mod reply;
mod resolver;
mod row;
mod services;
mod settings;
mod spec;
mod summary;
mod tenant;
#[cfg(test)]
mod testing;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use serde_json::value::RawValue;

pub use access::Viewer;
pub use builtin::{FORCED_LOCAL, is_builtin, is_builtin_name};
pub use export::StoredSummary;
pub use functions::{Answered, Ask, SCATTER_PARALLEL_MAX, ScatterPlan};
pub use nodes::Load;
pub use policy::{CutoverWindow, Policy, PolicyRule, Verdict, faults, read_rules, rules_value};
pub use registry::{Description, FunctionDeclaration, Registry};
pub use settings::*;
pub use spec::{Parameter, ParameterDefault, ParameterKind, spec_digest};
pub use summary::SummaryCounters;
pub use tenant::{Binding, Credential, CredentialScheme, TenantSettings, resolve_tenant};
pub use watch::{DELTA_TOPIC, DiscoveryMessage, SUMMARY_TOPIC, delta_messages};

use crate::core::catalog::{
    Catalog, Delta, Entry, NodeEntry, Scope, ServiceEntry, ServiceKey, Text, TransportEndpoint,
};
use crate::core::reason::Reason;
use crate::core::time::Now;

/// What a question is answered from.
#[derive(Clone, Copy)]
pub struct World<'a> {
    pub catalog: &'a Catalog,
    pub node: &'a LocalNode,
    /// What membership knows of other nodes, by node id.
    pub peers: &'a BTreeMap<Text, PeerView>,
    pub now: Now,
}

/// Facts of the own node.
#[derive(Debug, Clone)]
pub struct LocalNode {
    pub node_id: Text,
    pub cluster_id: Text,
    pub region: Text,
    /// Sorted, as all lists of an entry.
    pub resources: Vec<Text>,
    pub capabilities: Vec<Text>,
    pub tags: Vec<Text>,
    pub scope: Scope,
    pub advertised_urls: Vec<Text>,
    pub transport_endpoints: Vec<TransportEndpoint>,
    /// Inbound connections that are open.
    pub active_clients: u64,
    pub counters: Counters,
    pub gossip_interval_seconds: f64,
    /// Life of the entries that this node announces.
    pub catalog_ttl_seconds: f64,
}

/// Messages on the outgoing peer links of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    pub messages_processed: u64,
    pub rpc_responses_skipped: u64,
    pub server_messages: u64,
    pub other_messages: u64,
}

/// What membership knows of another node.
#[derive(Debug, Clone, Default)]
pub struct PeerView {
    pub status: Option<PeerStatus>,
    /// A link to it is up.
    pub connected: bool,
    /// It has been gone for so long that it is not listed any more.
    pub hidden: bool,
}

/// The last STATUS of another node.
#[derive(Debug, Clone)]
pub struct PeerStatus {
    /// `ok` when all is well.
    pub status: Text,
    pub active_clients: u64,
    pub peer_count: u64,
    /// When it came, or when the link was lost; wall clock.
    pub timestamp: f64,
    pub advertised_urls: Vec<Text>,
    pub counters: Counters,
}

/// What came of a call.
#[derive(Debug)]
pub enum Outcome {
    /// The value of the command.
    Value(Value),
    /// The value, and what the node has to announce and to withdraw.
    Services { value: Value, upsert: Vec<ServiceEntry>, remove: Vec<ServiceKey> },
    /// The value; [`Discovery::policy`] is another one from now on, to be stored and to be applied to the catalog.
    /// Where it cannot be stored, [`Discovery::revert_policy`] takes the former one.
    PolicyChanged { value: Value, former: Policy },
    /// Other nodes have to be asked first.
    Scatter(ScatterPlan),
}

/// All state of discovery.
#[derive(Debug)]
pub struct Discovery {
    page: PageSettings,
    tenants: TenantSettings,
    admin: AdminSettings,
    policy: Policy,
    gate: access::Gate,
    pages: page::Pages,
    registry: Registry,
    services: services::Services,
    resolver: Option<resolver::Resolver>,
    summaries: Option<summary::SummaryCache>,
    exports: export::Exports,
    ids: Ids,
    /// As of the last report.
    summaries_reported: SummaryCounters,
}

/// Ids from a seed.
#[derive(Debug)]
struct Ids {
    state: u64,
}

impl Discovery {
    pub fn new(settings: DiscoverySettings) -> Discovery {
        let PolicySettings { enabled, default_allow, rules, audit_entries_max } = settings.policy;
        Discovery {
            policy: Policy::new(enabled, default_allow, rules),
            gate: access::Gate::new(settings.rate_limit, settings.audit.entries_max, audit_entries_max),
            pages: page::Pages::new(settings.page.clone()),
            page: settings.page,
            tenants: settings.tenants,
            admin: settings.admin,
            registry: Registry::new(settings.rpc_spec),
            services: services::Services::new(settings.services),
            resolver: settings.resolver.enabled.then(|| resolver::Resolver::new(settings.resolver)),
            summaries: settings
                .summary
                .resolver
                .enabled
                .then(|| summary::SummaryCache::new(settings.summary.resolver.clone())),
            exports: export::Exports::new(settings.summary),
            ids: Ids { state: settings.seed },
            summaries_reported: SummaryCounters::default(),
        }
    }

    /// Once, after the own functions are in the catalog: seeds a resolver that is to be seeded.
    pub fn start(&mut self, catalog: &Catalog, now: Now) {
        if let Some(resolver) = &mut self.resolver
            && resolver.seeds_on_start()
        {
            resolver.seed(catalog, now);
        }
    }

    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Puts a policy in force that was read from the configuration or from storage; the answer is the former one.
    pub fn set_policy(&mut self, policy: Policy) -> Policy {
        self.pages.clear();
        if let Some(resolver) = &mut self.resolver {
            resolver.forget_results();
        }
        std::mem::replace(&mut self.policy, policy)
    }

    /// Takes an applied policy back, because of a fault that the audit shows.
    pub fn revert_policy(&mut self, former: Policy, fault: &str, now: Now) {
        self.gate.record_policy("apply", None, former.rules().len(), &[fault.to_owned()], now);
        self.set_policy(former);
    }

    /// Serves these declared functions instead of those of before; on a conflict between them nothing has changed.
    /// Their entries are in [`Registry::entries`] from now on.
    pub fn set_functions(&mut self, functions: Vec<FunctionDeclaration>) -> Result<(), (Reason, String)> {
        let mut registry = Registry::new(self.registry.sharing().clone());
        for function in functions {
            registry.register(function)?;
        }
        self.registry = registry;
        self.pages.clear();
        Ok(())
    }

    /// For a reload.
    pub fn set_tenants(&mut self, tenants: TenantSettings) {
        self.tenants = tenants;
    }

    /// For a reload.
    pub fn set_admin(&mut self, admin: AdminSettings) {
        self.admin = admin;
    }

    /// For a reload.
    pub fn set_rate_limit(&mut self, limit: RateLimitSettings) {
        self.gate.set_limit(limit);
    }

    /// The catalog that questions are answered from: the private one of a resolver, else the main one.
    pub fn source<'a>(&'a self, main: &'a Catalog) -> &'a Catalog {
        self.resolver.as_ref().map_or(main, resolver::Resolver::catalog)
    }

    /// A change of the main catalog, as [`crate::core::catalog::Applied::changed`] or an expiry gives it.
    pub fn observe_delta(&mut self, delta: &Delta, now: Now) {
        if let Some(resolver) = &mut self.resolver {
            resolver.observe(delta, now);
        }
    }

    /// The payload of a summary message that a node (never a client) published.
    pub fn observe_summary(&mut self, payload: &RawValue, now: Now) {
        if let Some(summaries) = &mut self.summaries {
            summaries.observe(payload, now);
        }
    }

    /// `None` where the node is no summary resolver.
    pub fn summary_counters(&self) -> Option<SummaryCounters> {
        self.summaries.as_ref().map(|s| s.counters)
    }

    /// The viewer of a connection that claims nothing.
    pub fn unclaimed(&self, viewer: &Viewer) -> Viewer {
        let nobody = || Viewer { tenant: None, ..viewer.clone() };
        viewer.effective(&payload::Payload::default(), &self.tenants).unwrap_or_else(|_| nobody())
    }

    /// The part of a change that a viewer may see; without policy, all of it.
    pub fn visible(&self, delta: &Delta, viewer: &Viewer) -> Delta {
        let mut shown = delta.clone();
        if !self.policy.enabled() {
            return shown;
        }
        let shows =
            |name: &str| self.policy.viewer(name, &viewer.cluster_id, viewer.tenant.as_deref()).allowed;
        let space = |namespace: &str| namespace.is_empty() || shows(namespace);
        shown.functions.retain(|f| shows(&f.identity.name));
        shown.function_removals.retain(|f| shows(&f.identity.name));
        shown.queues.retain(|q| shows(&q.queue_name));
        shown.queue_removals.retain(|q| shows(&q.queue_name));
        shown.services.retain(|s| space(&s.namespace));
        shown.service_removals.retain(|s| space(&s.namespace));
        shown.topics.retain(|t| t.patterns.iter().all(|p| space(filter::literal_prefix(p))));
        shown
    }

    /// The part of a change from elsewhere that policy lets into the catalog (owners), and what it keeps out.
    /// Entries of the own cluster always come in. Removals are never kept out.
    pub fn admissible(&self, delta: &Delta, own_cluster: &str) -> (Delta, Vec<(Reason, String)>) {
        let mut taken = delta.clone();
        let refused = self.policy.admit(&mut taken, own_cluster);
        (taken, refused)
    }

    /// Removals of what the catalog has and policy does not let in any more; after a change of policy.
    pub fn expelled(&self, catalog: &Catalog, own_cluster: &str) -> Delta {
        let mut gone = Delta::default();
        if !self.policy.enabled() {
            return gone;
        }
        let all = catalog.snapshot();
        let (kept, _) = self.admissible(&all, own_cluster);
        gone.function_removals = without(&all.functions, &kept.functions).map(|f| f.key()).collect();
        gone.queue_removals = without(&all.queues, &kept.queues).map(|q| q.key()).collect();
        gone.service_removals = without(&all.services, &kept.services).map(|s| s.key()).collect();
        gone.topic_removals = without(&all.topics, &kept.topics).map(|t| t.subscription_id.clone()).collect();
        gone
    }

    /// The patterns whose messages belong into [`Self::observe_summary`]; empty where the node is no summary
    /// resolver.
    pub fn summary_patterns(&self) -> Vec<String> {
        self.summaries.as_ref().map(|s| s.patterns()).unwrap_or_default()
    }

    /// The services that clients registered here, as catalog entries of now.
    pub fn own_services(&self, node: &LocalNode, now: Now) -> Vec<ServiceEntry> {
        self.services.entries(node, now)
    }

    /// Those services of which half the life has passed since they were announced; they count as announced then.
    pub fn services_due(&mut self, node: &LocalNode, now: Now) -> Vec<ServiceEntry> {
        self.services.due(node, now)
    }

    /// The summaries to publish, where it is time to. A summary resolver has taken them over already.
    pub fn exports_due(&mut self, world: World<'_>) -> Vec<DiscoveryMessage> {
        let viewer = Viewer::of_cluster(&world.node.cluster_id);
        let context = context(self.resolver.as_ref(), &self.policy, &viewer, &world);
        let messages = self.exports.due(&context, world.now, &mut self.ids);
        if let Some(summaries) = &mut self.summaries {
            messages.iter().for_each(|m| summaries.observe(&m.payload, world.now));
        }
        messages
    }

    /// Exports that a late subscriber may still have: not older than `backlog_seconds` (0 is as long as they are
    /// kept), oldest first. `wanted` says whether a topic matches its patterns.
    pub fn stored_summaries(
        &self,
        wanted: impl Fn(&str) -> bool,
        backlog_seconds: u64,
        now: Now,
    ) -> Vec<&StoredSummary> {
        self.exports.stored(wanted, backlog_seconds, now)
    }

    /// What was dropped or done in another way since the last call, each reason once with its count.
    pub fn take_notes(&mut self) -> Vec<(Reason, u64)> {
        let now = self.summary_counters().unwrap_or_default();
        let before = std::mem::replace(&mut self.summaries_reported, now);
        let mut notes = vec![
            (Reason::PageListEvicted, self.pages.take_evicted()),
            (Reason::BudgetShared, self.gate.take_shared()),
            (Reason::SummaryMalformed, now.messages_invalid - before.messages_invalid),
            (Reason::SummaryLimit, now.summaries_refused - before.summaries_refused),
        ];
        notes.retain(|(_, count)| *count > 0);
        notes
    }

    pub fn connection_closed(&mut self, connection: u64) {
        self.pages.forget_connection(connection);
    }

    /// When [`Self::handle_timeout`], then [`Self::services_due`] and [`Self::exports_due`] have something to do.
    pub fn next_timeout(&self) -> Option<Duration> {
        [
            self.pages.next_timeout(),
            self.resolver.as_ref().and_then(|r| r.next_timeout()),
            self.summaries.as_ref().and_then(|s| s.next_timeout()),
            self.services.next_timeout(),
            self.exports.next_timeout(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub fn handle_timeout(&mut self, world: World<'_>) {
        self.pages.drop_old(world.now.mono);
        if let Some(summaries) = &mut self.summaries {
            summaries.handle_timeout(world.now);
        }
        let Some(resolver) = &mut self.resolver else { return };
        resolver.handle_timeout(world.catalog, world.now);
        for asked in resolver.take_waiting() {
            let viewer = Viewer { tenant: asked.tenant.clone(), ..Viewer::of_cluster(&asked.cluster) };
            let rows = asked.query.run(&context(Some(resolver), &self.policy, &viewer, &world));
            let listing = page::Listing { rows: rows.into(), generated_at: world.now.wall };
            resolver.refresh(asked, listing, world.now.mono);
        }
    }
}

impl LocalNode {
    /// The entry that the node announces for itself.
    pub fn entry(&self, now: f64) -> NodeEntry {
        NodeEntry {
            node_id: self.node_id.clone(),
            cluster_id: self.cluster_id.clone(),
            scope: self.scope,
            resources: self.resources.clone(),
            capabilities: self.capabilities.clone(),
            transport_endpoints: self.transport_endpoints.clone(),
            tags: self.tags.clone(),
            advertised_at: now,
            ttl_seconds: self.catalog_ttl_seconds,
            region: self.region.clone(),
        }
    }
}

impl Ids {
    /// Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A random UUID (RFC 9562, 5.4).
    fn uuid(&mut self) -> String {
        let (high, low) = (self.next(), self.next());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            0x8000 | (low >> 48) & 0x3fff,
            low & 0xffff_ffff_ffff
        )
    }
}

fn context<'a>(
    resolver: Option<&'a resolver::Resolver>,
    policy: &'a Policy,
    viewer: &'a Viewer,
    world: &World<'a>,
) -> query::Context<'a> {
    query::Context {
        catalog: resolver.map_or(world.catalog, resolver::Resolver::catalog),
        node: world.node,
        policy,
        viewer,
        now: world.now.wall,
        with_own_node: resolver.is_none(),
    }
}

/// What is in `all` and not in `kept`, which is a part of it in the same order.
fn without<'a, E>(all: &'a [Arc<E>], kept: &'a [Arc<E>]) -> impl Iterator<Item = &'a Arc<E>> {
    let mut kept = kept.iter().peekable();
    all.iter().filter(move |entry| kept.next_if(|k| Arc::ptr_eq(k, entry)).is_none())
}
