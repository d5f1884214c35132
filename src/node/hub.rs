//! What all connections of a node share.
//!
//! The data path reads immutable tables and pushes into outlets; it takes the lock of the control state only for what
//! the control state decides: discovery, and calls and messages for other nodes. Nothing is awaited under a lock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::*};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, Guard};
use smol::Executor;

use super::control::Control;
use super::functions::LocalFunctions;
use super::journal::Journal;
use super::keeper::Keeper;
use super::memory::Memory;
use super::outlet::Outlet;
use super::{start, translate};
use crate::config::Settings;
use crate::core::catalog::{Text, TransportEndpoint};
use crate::core::discovery::{Policy, TenantSettings, rules_value};
use crate::core::error::CallError;
use crate::core::fabric::{Closing, Event};
use crate::core::pubsub::backlog::{Backlog, BacklogLimits};
use crate::core::pubsub::outbound::{OutboundLimits, SlowSubscriber};
use crate::core::pubsub::pattern::Pattern;
use crate::core::pubsub::registry::Subscriptions;
use crate::core::pubsub::{ConnectionId, Message, Target};
use crate::core::reason::Reason;
use crate::core::route::Via;
use crate::core::time::Now;
use crate::core::trust::ConfiguredKey;
use crate::drive::clock::Clock;
use crate::drive::counters::Counters;
use crate::drive::deadlines::Deadlines;
use crate::drive::supervisor::Supervisor;
use crate::drive::worker::Workers;
use crate::wire::client::{Publish, write};

/// See the module.
pub struct Hub {
    pub clock: Clock,
    pub deadlines: Deadlines,
    started_at: f64,
    pub counters: Counters,
    pub journal: Journal,
    pub executor: Arc<Executor<'static>>,
    /// Is told how the node is.
    pub supervisor: Arc<Supervisor>,
    pub(super) control: Mutex<Control>,
    settings: ArcSwap<Settings>,
    functions: ArcSwap<LocalFunctions>,
    workers: Workers,
    /// What survives a restart; `None` where nothing does.
    keeper: Option<Keeper>,
    node_name: Text,
    node_id: Text,
    pub(super) instance_id: Text,
    pub(super) last_own_message: AtomicU64,
    cluster_id: Text,
    /// Where the listeners of this node are dialled.
    listening: Vec<TransportEndpoint>,
    tenants: ArcSwap<TenantSettings>,
    subscriptions: Mutex<Subscriptions>,
    subscriptions_generation: AtomicU64,
    backlog: Mutex<Backlog>,
    memory: Arc<Memory>,
    keeps_backlog: AtomicBool,
    outlets: Mutex<BTreeMap<ConnectionId, Arc<Outlet>>>,
    /// The connections that are bound to a tenant.
    bound: Mutex<BTreeMap<ConnectionId, Text>>,
    last_connection: AtomicU64,
    /// Connections from their first byte to their good end.
    links: AtomicUsize,
    /// Connections that others opened, as clients and peers see them in the load of this node.
    inbound: AtomicUsize,
    pending: AtomicUsize,
    /// Those among them that have not said anything yet.
    newcomers: AtomicUsize,
    stopping: AtomicBool,
    refusing: AtomicBool,
    draining: AtomicBool,
    /// Closed when the node begins to stop: then nobody listens any more.
    listening_ends: (smol::channel::Sender<()>, smol::channel::Receiver<()>),
}

/// What a hub is made of.
pub struct Parts {
    pub clock: Clock,
    pub deadlines: Deadlines,
    pub executor: Arc<Executor<'static>>,
    pub supervisor: Arc<Supervisor>,
    pub settings: Arc<Settings>,
    pub node_id: Text,
    pub instance_id: Text,
    pub listening: Vec<TransportEndpoint>,
    pub control: Control,
    pub functions: LocalFunctions,
    pub workers: Workers,
    pub keeper: Option<Keeper>,
}

/// A connection before it has an outlet; uncounted when dropped.
pub struct Handshake {
    hub: Arc<Hub>,
}

/// A connection before its first message; uncounted when dropped.
pub struct Newcomer {
    hub: Arc<Hub>,
}

/// How much of everything there is at one moment, for those who watch the node.
pub struct Sizes {
    pub clients: usize,
    pub peers: usize,
    pub subscriptions: usize,
    pub subscriptions_remote: usize,
    pub calls_pending: usize,
    pub backlog_bytes: usize,
    pub backlog_messages: usize,
    pub outbound_bytes: usize,
    pub outbound_bytes_max: usize,
    /// Entries of the catalog by type.
    pub catalog: [(&'static str, usize); 7],
    /// With other clusters, where they are to be shown.
    pub federation_connections: BTreeMap<Text, u32>,
    /// By where they came from.
    pub routes: BTreeMap<Text, usize>,
    pub link_state_entries: usize,
}

/// Room for commands under way; given back when dropped.
pub struct Places {
    hub: Arc<Hub>,
    count: usize,
}

impl Hub {
    pub fn new(parts: Parts) -> Arc<Hub> {
        let settings = parts.settings;
        let backlog = Backlog::new(backlog_limits(&settings));
        Arc::new(Hub {
            started_at: parts.clock.now().wall - parts.clock.now().mono.as_secs_f64(),
            clock: parts.clock,
            deadlines: parts.deadlines,
            counters: Counters::default(),
            journal: Journal::default(),
            executor: parts.executor,
            supervisor: parts.supervisor,
            control: Mutex::new(parts.control),
            functions: ArcSwap::from_pointee(parts.functions),
            workers: parts.workers,
            keeper: parts.keeper,
            node_name: settings.node.name.as_str().into(),
            node_id: parts.node_id,
            instance_id: parts.instance_id,
            listening: parts.listening,
            last_own_message: AtomicU64::new(0),
            tenants: ArcSwap::from_pointee(translate::tenants(&settings)),
            cluster_id: settings.node.cluster_id.as_str().into(),
            subscriptions: Mutex::new(Subscriptions::new(settings.limits.subscriptions_per_connection)),
            subscriptions_generation: AtomicU64::new(0),
            keeps_backlog: AtomicBool::new(backlog.is_enabled()),
            backlog: Mutex::new(backlog),
            memory: Arc::new(Memory::new(&settings)),
            outlets: Mutex::default(),
            bound: Mutex::default(),
            last_connection: AtomicU64::new(0),
            links: AtomicUsize::new(0),
            inbound: AtomicUsize::new(0),
            pending: AtomicUsize::new(0),
            newcomers: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            refusing: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            listening_ends: smol::channel::bounded(1),
            settings: ArcSwap::new(settings),
        })
    }

    pub fn settings(&self) -> Guard<Arc<Settings>> {
        self.settings.load()
    }

    pub fn functions(&self) -> Guard<Arc<LocalFunctions>> {
        self.functions.load()
    }

    pub fn workers(&self) -> &Workers {
        &self.workers
    }

    pub fn keeper(&self) -> Option<&Keeper> {
        self.keeper.as_ref()
    }

    pub fn node_name(&self) -> &str {
        &self.node_name
    }

    pub fn node_id(&self) -> &Text {
        &self.node_id
    }

    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    // Connections

    /// A new connection; `inbound` is false for one that this node dialled.
    pub fn open_outlet(&self, inbound: bool) -> Arc<Outlet> {
        let id = ConnectionId(self.last_connection.fetch_add(1, Relaxed) + 1);
        let outlet = Arc::new(Outlet::new(id, outbound_limits(&self.settings()), self.memory.clone()));
        lock(&self.outlets).insert(id, outlet.clone());
        self.links.fetch_add(1, Relaxed);
        if inbound {
            self.inbound.fetch_add(1, Relaxed);
        }
        outlet
    }

    /// The end of a connection: its subscriptions end with it.
    pub fn close_outlet(self: &Arc<Self>, outlet: &Outlet, inbound: bool) {
        lock(&self.outlets).remove(&outlet.id());
        lock(&self.bound).remove(&outlet.id());
        if inbound {
            self.inbound.fetch_sub(1, Relaxed);
        }
        lock(&self.control).discovery.connection_closed(outlet.id().0);
        let ended = self.with_subscriptions(|subscriptions| subscriptions.drop_connection(outlet.id()));
        for target in ended {
            self.announce_subscription(&target.subscription_id);
        }
    }

    /// The connection proved to be of this tenant.
    pub fn bind(&self, connection: ConnectionId, tenant: Text) {
        lock(&self.bound).insert(connection, tenant);
    }

    pub fn tenant_of(&self, connection: ConnectionId) -> Option<Text> {
        lock(&self.bound).get(&connection).cloned()
    }

    /// The tenants of all connections, each once.
    pub fn bound_tenants(&self) -> BTreeSet<Text> {
        lock(&self.bound).values().cloned().collect()
    }

    pub fn outlet(&self, id: ConnectionId) -> Option<Arc<Outlet>> {
        lock(&self.outlets).get(&id).cloned()
    }

    pub fn outlets_of(&self, targets: &[Target]) -> Vec<(Arc<Outlet>, Target)> {
        let outlets = lock(&self.outlets);
        targets.iter().filter_map(|t| Some((outlets.get(&t.connection)?.clone(), t.clone()))).collect()
    }

    pub fn each_outlet(&self, mut visit: impl FnMut(&Outlet)) {
        let all: Vec<Arc<Outlet>> = lock(&self.outlets).values().cloned().collect();
        all.iter().for_each(|outlet| visit(outlet));
    }

    /// Connections that are clients of this node.
    pub fn clients(&self) -> usize {
        lock(&self.outlets).values().filter(|outlet| !outlet.is_peer()).count()
    }

    pub fn inbound_connections(&self) -> usize {
        self.inbound.load(Relaxed)
    }

    // Publish and subscribe

    pub fn with_subscriptions<T>(&self, change: impl FnOnce(&mut Subscriptions) -> T) -> T {
        let mut subscriptions = lock(&self.subscriptions);
        let outcome = change(&mut subscriptions);
        self.subscriptions_generation.store(subscriptions.generation(), Release);
        outcome
    }

    pub fn subscriptions_generation(&self) -> u64 {
        self.subscriptions_generation.load(Acquire)
    }

    pub fn keeps_backlog(&self) -> bool {
        self.keeps_backlog.load(Relaxed)
    }

    /// Stores a message for late subscribers.
    pub fn keep(&self, message: Arc<Message>, now: Now) {
        if self.keeps_backlog() {
            let evicted = lock(&self.backlog).store(message, now).evicted;
            if evicted > 0 {
                self.counters.count_many(Reason::BacklogEvicted, evicted);
            }
        }
    }

    /// Stored messages for a new subscription.
    pub fn kept(&self, patterns: &[Pattern], seconds: f64, now: Now) -> Vec<Arc<Message>> {
        lock(&self.backlog).query(patterns, seconds, now)
    }

    /// Publishes a message of the node itself to clients of this node.
    pub fn publish_own(&self, message: &Publish<'_>, now: Now) {
        let message = Message {
            topic: Text::from(&*message.topic),
            message_id: Text::from(&*message.message_id),
            timestamp: message.timestamp,
            body: write::notification_body(message),
        };
        self.deliver_here(Arc::new(message), now);
    }

    // Calls

    /// Room for that many commands; none where limits.pending_calls_max would be exceeded.
    pub fn take_places(self: &Arc<Self>, count: usize) -> Option<Places> {
        let max = self.settings().limits.pending_calls_max;
        let taken = self.pending.fetch_add(count, AcqRel);
        let places = Places { hub: self.clone(), count };
        (taken + count <= max).then_some(places)
    }

    pub fn count_error(&self, error: &CallError) {
        if let Some(reason) = error.reason {
            self.counters.count(reason);
        }
    }

    /// Counts and logs what a stranger did wrong.
    pub fn refused(&self, reason: Reason, peer: &str, text: &str) {
        self.counters.count(reason);
        self.journal.refused(reason, self.clock.now().wall, &format!("{peer}: {text}"));
        log::warn!(reason = reason.name(), peer = peer; "refused: {text}");
    }

    // For those who watch

    /// What speaks against giving the node work.
    pub fn unready(&self) -> Vec<&'static str> {
        let stopping = self.is_stopping().then_some("the node is stopping and takes no new work");
        let draining = self.is_draining().then_some("the node is draining and takes no new work");
        let failing = self.keeper().is_some_and(Keeper::is_failing);
        let failing = failing.then_some("the store cannot be written; the log says why");
        [stopping, draining, failing].into_iter().flatten().collect()
    }

    /// When the node was started, in seconds since 1970.
    pub fn started_at(&self) -> f64 {
        self.started_at
    }

    /// One look at everything; each lock is held for a few loads.
    pub fn sizes(&self) -> Sizes {
        let shows_federation = self.settings().federation.emit_metrics;
        let (peers, catalog, federation_connections, routes, link_state_entries) = {
            let control = lock(&self.control);
            let catalog = control.fabric.catalog();
            // Lower bounds, which are exact for the tables of a catalog and need no walk through them.
            let catalog = [
                ("function", catalog.functions().size_hint().0),
                ("topic", catalog.topics().size_hint().0),
                ("queue", catalog.queues().size_hint().0),
                ("service", catalog.services().size_hint().0),
                ("cache", catalog.caches().size_hint().0),
                ("cache_profile", catalog.cache_profiles().size_hint().0),
                ("node", catalog.nodes().size_hint().0),
            ];
            let connections = control.fabric.federation().connections().filter(|_| shows_federation);
            let mut routes: BTreeMap<Text, usize> = BTreeMap::new();
            for (via, count) in control.fabric.routes().table().held() {
                let from = match via {
                    Via::Neighbour { cluster } => cluster.clone(),
                    Via::Border { .. } => "own".into(),
                };
                *routes.entry(from).or_default() += count;
            }
            (
                control.fabric.membership().connected().count(),
                catalog,
                connections.map(|(cluster, count)| (cluster.clone(), count)).collect(),
                routes,
                control.fabric.link_state().status().entries,
            )
        };
        let (subscriptions, subscriptions_remote) = {
            let subscriptions = lock(&self.subscriptions);
            (subscriptions.len(), subscriptions.remote_len())
        };
        let (backlog_bytes, backlog_messages) = {
            let backlog = lock(&self.backlog);
            (backlog.bytes(), backlog.len())
        };
        let (outbound_bytes, outbound_bytes_max) = self.memory.bytes();
        Sizes {
            clients: self.clients(),
            peers,
            subscriptions,
            subscriptions_remote,
            calls_pending: self.pending.load(Relaxed),
            backlog_bytes,
            backlog_messages,
            outbound_bytes,
            outbound_bytes_max,
            catalog,
            federation_connections,
            routes,
            link_state_entries,
        }
    }

    // Settings and end

    /// The links that would be closed if these settings held.
    pub fn closings(&self, settings: &Settings) -> Vec<Closing> {
        let control = lock(&self.control);
        let keys = control.route_keys.all();
        control.fabric.closings(&translate::revision(settings, keys, &self.node_id, &self.listening))
    }

    /// The rules in force, where they were applied by RPC and are not those of the configuration.
    pub fn applied_policy(&self) -> Option<Policy> {
        let configured = translate::policy(&self.settings());
        let control = lock(&self.control);
        let policy = control.discovery.policy();
        let parts = |policy: &Policy| (policy.enabled(), policy.default_allow(), rules_value(policy.rules()));
        (parts(policy) != parts(&configured)).then(|| policy.clone())
    }

    /// Puts other settings in force, whose keys that need a restart are those of before. Where that changes the rules,
    /// `applied` holds, or without it those of the settings. What cannot be done stays as it was, and is told.
    pub fn revise(
        self: &Arc<Self>,
        mut settings: Settings,
        keys: Vec<ConfiguredKey>,
        applied: Option<Policy>,
        now: Now,
    ) -> Vec<String> {
        let old = self.settings();
        let mut faults = Vec::new();
        let tenants = translate::tenants(&settings);
        {
            let mut control = lock(&self.control);
            control.discovery.set_rate_limit(translate::rate_limit(&settings));
            control.discovery.set_tenants(tenants.clone());
            control.discovery.set_admin(translate::admin(&settings));
            if old.discovery.policy != settings.discovery.policy {
                match self.replace_policy(&mut control, &settings, applied, now) {
                    Ok(()) => {}
                    Err(fault) => {
                        faults.push(format!("discovery.policy stays as it was: {fault}"));
                        settings.discovery.policy = old.discovery.policy.clone();
                    }
                }
            }
            control.route_keys.configure(keys);
            if old.function != settings.function
                && let Err(fault) = self.revise_functions(&mut control, &settings, now)
            {
                faults.push(format!("function stays as it was: {fault}"));
                settings.function = old.function.clone();
            }
            let keys = control.route_keys.all();
            let revision = translate::revision(&settings, keys, &self.node_id, &self.listening);
            control.local.advertised_urls = revision.advertised_urls.clone();
            control.local.transport_endpoints = revision.transport_endpoints.clone();
            self.control_locked(&mut control, Event::Revised(Box::new(revision)), now);
        }
        self.tenants.store(Arc::new(tenants));
        self.look_for_peers(&settings.peers.discover);
        self.memory.set_limit(&settings);
        let limits = outbound_limits(&settings);
        self.each_outlet(|outlet| outlet.set_limits(limits));
        let evicted = lock(&self.backlog).set_limits(backlog_limits(&settings), now);
        self.counters.count_many(Reason::BacklogEvicted, evicted);
        self.keeps_backlog.store(settings.limits.backlog > 0, Relaxed);
        let per_connection_max = settings.limits.subscriptions_per_connection;
        self.with_subscriptions(|subscriptions| subscriptions.set_limit(per_connection_max));
        self.settings.store(Arc::new(settings));
        faults
    }

    /// Serves the declared functions of these settings: workers first, so that nobody finds one that is not there.
    fn revise_functions(
        self: &Arc<Self>,
        control: &mut Control,
        settings: &Settings,
        now: Now,
    ) -> Result<(), String> {
        control.discovery.set_functions(start::declarations(settings)?).map_err(|(_, text)| text)?;
        self.workers.revise(translate::workers(settings));
        let table = start::local_functions(&self.node_id, &control.discovery, &self.workers);
        self.functions.store(Arc::new(table));
        let entries = control.discovery.registry().entries(&control.local, now.wall);
        let entries = entries.iter().map(|entry| (**entry).clone()).collect();
        self.control_locked(control, Event::LocalFunctions(entries), now);
        Ok(())
    }

    /// Puts the rules of the configuration in force; they replace those that were applied by RPC, stored ones too. Or puts
    /// such rules in force and stores them again.
    fn replace_policy(
        self: &Arc<Self>,
        control: &mut Control,
        settings: &Settings,
        applied: Option<Policy>,
        now: Now,
    ) -> Result<(), String> {
        if let (Some(file), Some(policy)) = (&control.policy_file, &applied) {
            file.store(policy).map_err(|error| {
                format!("node.state_dir: cannot store the policy in {}: {error}", file.path().display())
            })?;
        } else if let Some(file) = &control.policy_file {
            let removed = file.remove().map_err(|error| {
                format!("node.state_dir: cannot remove {}: {error}", file.path().display())
            })?;
            if removed {
                log::warn!("reload: the rules of the configuration replace those that were applied by RPC");
            }
        }
        control.discovery.set_policy(applied.unwrap_or_else(|| translate::policy(settings)));
        self.expel(control, now);
        Ok(())
    }

    /// The keys that route.security.provider says now.
    pub fn provide_route_keys(self: &Arc<Self>, keys: Vec<ConfiguredKey>) {
        let mut control = lock(&self.control);
        if control.route_keys.provide(keys) {
            let keys = control.route_keys.all();
            let revision = translate::revision(&self.settings(), keys, &self.node_id, &self.listening);
            self.control_locked(&mut control, Event::Revised(Box::new(revision)), self.clock.now());
        }
    }

    pub fn tenants(&self) -> Guard<Arc<TenantSettings>> {
        self.tenants.load()
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }

    /// Nobody is let in from now on; who is there already is still served, until `refuse`.
    pub fn stop(self: &Arc<Self>) {
        self.stopping.store(true, Relaxed);
        self.listening_ends.0.close();
        self.control(Event::Draining(true));
    }

    /// No new work from now on; connections end when nothing runs for them.
    pub fn refuse(&self) {
        self.refusing.store(true, Relaxed);
        self.each_outlet(Outlet::wake);
    }

    /// Whether a node that stops takes no work any more either.
    pub fn is_refusing(&self) -> bool {
        self.refusing.load(Relaxed)
    }

    /// No new work while this holds; what is there goes on. False where it held already.
    pub fn drain(self: &Arc<Self>, draining: bool) -> bool {
        let is_new = self.draining.swap(draining, Relaxed) != draining;
        if is_new {
            self.control(Event::Draining(draining || self.is_stopping()));
        }
        is_new
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// Why no new work is taken, in words for whoever brings some; `None` where it is.
    pub fn takes_no_work(&self) -> Option<(Reason, &'static str)> {
        if self.is_refusing() {
            Some((Reason::Stopping, "the node is stopping; use another"))
        } else if self.is_draining() {
            Some((Reason::Draining, "the node is draining; use another"))
        } else {
            None
        }
    }

    /// Ends when nobody is let in any more.
    pub async fn listening_ends(&self) {
        // Nothing is ever sent; the channel is closed.
        while self.listening_ends.1.recv().await.is_ok() {}
    }

    /// Commands of clients and of other nodes that are under way.
    pub fn calls_pending(&self) -> usize {
        self.pending.load(Relaxed)
    }

    /// Calls of other nodes that run here.
    pub fn executing(&self) -> usize {
        lock(&self.control).executing()
    }

    pub fn connections(&self) -> usize {
        self.links.load(Relaxed)
    }

    /// Counts a connection that was just accepted.
    pub fn begin_handshake(self: &Arc<Self>) -> Handshake {
        self.links.fetch_add(1, Relaxed);
        Handshake { hub: self.clone() }
    }

    /// Counts an accepted connection until its first message.
    pub fn newcomer(self: &Arc<Self>) -> Newcomer {
        self.newcomers.fetch_add(1, Relaxed);
        Newcomer { hub: self.clone() }
    }

    /// Connections that were let in and have not said anything yet.
    pub fn newcomers(&self) -> usize {
        self.newcomers.load(Relaxed)
    }

    /// A connection whose outlet is closed has also taken leave of the other end.
    pub fn link_ended(&self) {
        self.links.fetch_sub(1, Relaxed);
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.hub.link_ended();
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        self.hub.newcomers.fetch_sub(1, Relaxed);
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        self.hub.pending.fetch_sub(self.count, AcqRel);
    }
}

/// A lock whose holder cannot have panicked: a release build aborts.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn outbound_limits(settings: &Settings) -> OutboundLimits {
    OutboundLimits {
        link_bytes_max: settings.limits.outbound_per_link as usize,
        subscription_bytes_max: settings.pubsub.outbound_per_subscription as usize,
        slow_subscriber: match settings.pubsub.slow_subscriber {
            crate::config::SlowSubscriber::DropOldest => SlowSubscriber::DropOldest,
            crate::config::SlowSubscriber::DropNewest => SlowSubscriber::DropNewest,
            crate::config::SlowSubscriber::Disconnect => SlowSubscriber::Disconnect,
        },
    }
}

fn backlog_limits(settings: &Settings) -> BacklogLimits {
    BacklogLimits { bytes_max: settings.limits.backlog as usize, window: settings.pubsub.backlog_window }
}
