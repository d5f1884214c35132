//! The node among its peers: links, gossip, calls and publications between nodes, in one state machine.
//!
//! Events and the time come in, [`Action`]s and the next deadline go out. It owns the catalog and the membership;
//! everything that a peer sends is checked against both before it changes anything, and each refusal is an action with
//! its reason. A message that cannot be read never ends a link. Arguments, results and publications pass through
//! unparsed. Other clusters are let in by `Federation`; the ways through them are those of `Routes` and `LinkState`.

mod authority;
mod call;
mod early;
mod event;
pub mod explain;
mod flood;
mod gossip;
mod kin;
mod onward;
mod publish;
mod restore;
mod routing;
mod seen;
mod server;
mod trace;
mod way;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::catalog::{
    Catalog, Delta, FunctionEntry, NodeEntry, SKEW_SECONDS_MAX, Scope, Text, TransportEndpoint, unset,
};
use super::discovery::Policy;
use super::error::CallError;
use super::federation::{self, Federation, LinkFacts};
use super::link_state::{self, LinkState};
use super::membership::{self, Candidate, Chance, Counters, LinkId, Membership, Peer};
use super::reason::Reason;
use super::route::{self, Routes};
use super::time::Now;
use super::trust::{self, Trust};
use crate::wire::fabric::kin::EXTENSION;
use crate::wire::fabric::{Answer, Frame, Malformed, Message, MessageKind, Outline};
use call::Calls;
pub use event::{Action, Call, Event, Execution};
pub use flood::FloodLimits;
use flood::{Floods, Flow};
use gossip::Announcer;
use kin::Kin;
pub use onward::Chosen;
use publish::Publications;
pub use restore::{Dead, Gone, Left, Restored, Teller};
pub use trace::{Decision, Trace, TracedRoute};

/// What a node is among others, and its limits.
#[derive(Debug, Clone)]
pub struct Settings {
    pub membership: membership::Settings,
    pub region: Text,
    /// How far the entry of this node goes; with [`Scope::Local`] nobody is told of it.
    pub scope: Scope,
    pub resources: Vec<Text>,
    pub capabilities: Vec<Text>,
    pub tags: Vec<Text>,
    /// Where others can dial this node; may be empty, then it only dials.
    pub transport_endpoints: Vec<TransportEndpoint>,
    /// Shown to clients.
    pub advertised_urls: Vec<Text>,
    pub catalog_ttl_seconds: f64,
    pub catalog_entries_per_cluster_max: usize,
    /// fabric.routing: whether calls and publications leave this node for another.
    pub routing: bool,
    /// fabric.max_hops: how often a message may be forwarded.
    pub hops_max: i64,
    /// Calls that this node waits for, runs for others, or passes on: each kind at most so many.
    pub calls_max: usize,
    pub floods: FloodLimits,
    /// Gossip is cut into pieces of at most this size. A reference node ends a link that it dialled at 1 MiB.
    pub gossip_bytes_max: usize,
    pub bridging: Bridging,
    /// Whether this node speaks the extension of this program with those that do too; else it is like a reference node.
    pub kin: bool,
    /// Different at each start.
    pub chance_seed: u64,
}

/// What concerns other clusters: who may come in, and the ways through them.
#[derive(Debug, Clone)]
pub struct Bridging {
    pub federation: federation::Settings,
    pub route: route::Settings,
    pub route_rules: route::Rules,
    pub trust: trust::Settings,
    pub link_state: link_state::Settings,
    /// route.security.key_announce_interval
    pub key_announce_interval: Duration,
    /// federation.log.attempts: connections of other clusters are logged.
    pub log_attempts: bool,
    /// federation.log.warnings: calls of other clusters are logged.
    pub log_calls: bool,
}

impl Bridging {
    /// For a cluster that is alone: the defaults of the configuration.
    pub fn none(cluster_id: &Text) -> Bridging {
        Bridging {
            federation: federation::Settings {
                cluster_id: cluster_id.clone(),
                ..federation::Settings::default()
            },
            route: route::Settings::of(cluster_id),
            route_rules: route::Rules::default(),
            trust: trust::Settings {
                cluster_id: cluster_id.clone(),
                allow_unsigned: true,
                ..trust::Settings::default()
            },
            link_state: link_state::Settings {
                cluster_id: cluster_id.clone(),
                ..link_state::Settings::default()
            },
            key_announce_interval: Duration::from_secs(60),
            log_attempts: true,
            log_calls: false,
        }
    }
}

/// The settings that may change while the node runs, all of them anew.
#[derive(Debug, Clone)]
pub struct Revision {
    pub seeds: Vec<Text>,
    pub transport_endpoints: Vec<TransportEndpoint>,
    pub advertised_urls: Vec<Text>,
    pub catalog_entries_per_cluster_max: usize,
    pub calls_max: usize,
    pub floods: FloodLimits,
    pub federation: federation::Settings,
    pub route_rules: route::Rules,
    pub keys: Vec<trust::ConfiguredKey>,
}

/// See the module.
#[derive(Debug)]
pub struct Fabric {
    own: Settings,
    now: Now,
    catalog: Catalog,
    membership: Membership,
    chance: Chance,
    announcer: Announcer,
    calls: Calls,
    publications: Publications,
    federation: Federation,
    /// Which clusters may announce what.
    admission: Policy,
    routes: Routes,
    trust: Trust,
    link_state: LinkState,
    /// When the keys of this cluster are announced next.
    next_keys: Duration,
    /// What the transport knows of each link.
    facts: BTreeMap<LinkId, LinkFacts>,
    /// Links with other clusters, which count against the connections of theirs, and when something came last.
    counted: BTreeMap<LinkId, (Text, Duration)>,
    /// When a STATUS that is not acknowledged yet was sent.
    asked_at: BTreeMap<LinkId, Duration>,
    /// The clusters that each neighbour cluster has been told a route to.
    exported: BTreeMap<Text, BTreeSet<Text>>,
    waiting_for_route: authority::Waiting,
    kin: Kin,
    early: early::Early,
    floods: Floods,
    /// For nodes without a link: the peer that told of them last.
    told_by: way::Tellers,
    /// That many are remembered before those that the catalog has forgotten are too.
    tellers_max: usize,
    active_clients: i64,
    /// Messages of peers, as a STATUS tells of them.
    counters: Counters,
    next_status: Duration,
    /// The earliest deadline of all but calls.
    next_timer: Duration,
    /// Something has changed that may make a dial due.
    look_around: bool,
    /// In a large cluster not before.
    next_look: Duration,
    draining: bool,
    stopping: bool,
}

/// What a node holds for others at the moment; each part has a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Messages of links that have not said STATUS.
    pub early_bytes: usize,
    /// Calls of own clients that are not answered yet.
    pub calls_waiting: usize,
    /// Calls of other nodes that run here.
    pub calls_running: usize,
    pub calls_passed_on: usize,
}

/// A link that other settings would close, and the table of the configuration that is at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    pub link: LinkId,
    pub node: Option<Text>,
    pub table: &'static str,
    pub reason: Option<Reason>,
    pub text: String,
}

impl Fabric {
    /// `now` is the start of the node; the first events and ticks follow it.
    pub fn new(own: Settings, now: Now) -> Fabric {
        let mut chance = Chance::new(own.chance_seed);
        let mut fabric = Fabric {
            now,
            catalog: Catalog::new(own.catalog_entries_per_cluster_max),
            membership: Membership::new(own.membership.clone()),
            announcer: Announcer::new(&own, now, &mut chance),
            calls: Calls::new(own.calls_max),
            publications: Publications::new(),
            federation: Federation::new(own.bridging.federation.clone()),
            admission: Policy::default(),
            routes: Routes::new(own.bridging.route.clone(), own.bridging.route_rules.clone()),
            trust: Trust::new(own.bridging.trust.clone(), now),
            link_state: LinkState::new(own.bridging.link_state.clone()),
            next_keys: now.mono + own.bridging.key_announce_interval,
            facts: BTreeMap::new(),
            counted: BTreeMap::new(),
            asked_at: BTreeMap::new(),
            exported: BTreeMap::new(),
            waiting_for_route: authority::Waiting::default(),
            kin: Kin::new(&own, now),
            early: early::Early::default(),
            floods: Floods::new(own.floods),
            told_by: way::Tellers::default(),
            tellers_max: TELLERS_MIN,
            active_clients: 0,
            counters: Counters::default(),
            next_status: now.mono,
            next_timer: now.mono,
            look_around: true,
            next_look: now.mono,
            draining: false,
            stopping: false,
            chance,
            own,
        };
        let node = fabric.own_node();
        let delta = Delta { nodes: vec![Arc::new(node)], ..Delta::default() };
        fabric.change_own(delta, now, &mut Vec::new());
        fabric
    }

    /// Takes one event in. What is due at `now` is done along with it.
    pub fn handle(&mut self, event: Event, now: Now, out: &mut Vec<Action>) {
        self.now = now;
        let is_call = event.is_call();
        match event {
            Event::LinkOpened { link, dialled, facts } => self.link_opened(link, dialled, facts, now, out),
            Event::LinkClosed { link } => self.link_closed(link, now, out),
            Event::DialFailed { url } => {
                self.membership.dial_failed(&url, now, &mut self.chance);
                self.unreachable(&url, now, out);
                self.look_around = true;
            }
            Event::Message { link, bytes } => self.message(link, &bytes, now, out),
            Event::LocalFunctions(functions) => self.local_functions(functions, now, out),
            Event::Local(delta) => self.local(*delta, now, out),
            Event::ActiveClients(count) => self.active_clients = count,
            Event::Call(call) => self.call(*call, now, out),
            Event::CancelCall { request_id } => self.cancel_call(&request_id, now, out),
            Event::CallDone { execution, outcome } => self.call_done(execution, outcome, now, out),
            Event::Publish { topic, message_id, timestamp, message } => {
                self.publish(&topic, &message_id, timestamp, &message, now, out)
            }
            Event::Draining(draining) => self.drain(draining, now, out),
            Event::PeersFound(found) => {
                self.membership.set_found(found);
                self.look_around = true;
            }
            Event::Revised(revision) => self.revise(*revision, now, out),
            Event::Restored(restored) => self.restore(*restored, now, out),
            Event::Expelled(delta) => self.expel(*delta, now, out),
            Event::Tick => {}
            Event::Stop => self.stop(now, out),
        }
        self.overdue_calls(now, out);
        if self.stopping {
            return;
        }
        // Calls and publications move no deadline but their own.
        if !is_call || now.mono >= self.next_timer {
            self.timers(now, out);
            self.next_timer = self.earliest_timer();
        }
    }

    /// When to send a [`Event::Tick`] if nothing happens before.
    pub fn next_deadline(&self) -> Option<Duration> {
        if self.stopping {
            return self.calls.next_deadline();
        }
        Some(self.calls.next_deadline().map_or(self.next_timer, |call| call.min(self.next_timer)))
    }

    fn earliest_timer(&self) -> Duration {
        let lease = self.catalog.next_expiry().map(|end| {
            let ahead = Duration::try_from_secs_f64(end - self.now.wall).unwrap_or_default();
            // An entry lives until strictly after the end of its lease.
            self.now.mono + ahead + LEASE_SLACK
        });
        let look_around = self.look_around.then_some(self.now.mono.max(self.next_look));
        let others = [
            Some(self.announcer.next()),
            lease,
            look_around,
            self.membership.next_dial(),
            self.own.kin.then(|| self.kin.next()),
            Some(self.next_routing()),
        ];
        others.into_iter().flatten().fold(self.next_status, Duration::min)
    }

    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The peers as `list_peers`, `cluster_map` and the choice of an endpoint see them.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// What the transport knows of a link with another node.
    pub fn facts(&self, link: LinkId) -> Option<&LinkFacts> {
        self.facts.get(&link)
    }

    pub fn federation(&self) -> &Federation {
        &self.federation
    }

    /// Namespace policy on entries of other clusters, from now on. What is in the catalog already is for
    /// [`Event::Expelled`] to take out.
    pub fn set_admission(&mut self, policy: Policy) {
        self.admission = policy;
    }

    pub fn routes(&self) -> &Routes {
        &self.routes
    }

    pub fn link_state(&self) -> &LinkState {
        &self.link_state
    }

    pub fn held(&self) -> Held {
        let [calls_waiting, calls_running, calls_passed_on] = self.calls.counts();
        Held { early_bytes: self.early.bytes(), calls_waiting, calls_running, calls_passed_on }
    }

    /// One number for what all living nodes of this program say; equal where the catalogs are.
    pub fn digest_of_kin(&self) -> u64 {
        self.kin.roster.digest()
    }

    fn timers(&mut self, now: Now, out: &mut Vec<Action>) {
        self.refresh(now, out);
        self.kin_timers(now, out);
        let gone = self.catalog.expire(now.wall);
        if !gone.is_empty() {
            self.look_around = true;
            let own = self.cluster_id().clone();
            let functions = gone.function_removals.iter().map(|k| (&k.cluster_id, &k.node_id));
            for (cluster, node) in
                gone.node_removals.iter().map(|k| (&k.cluster_id, &k.node_id)).chain(functions)
            {
                if self.catalog.node(cluster, node).is_none() {
                    self.told_by.remove(cluster, node);
                    if *cluster == own {
                        self.routes.border_lost(node, now);
                    }
                }
            }
            out.push(Action::CatalogChanged(Box::new(gone)));
        }
        self.routing_timers(now, out);
        if now.mono >= self.next_status {
            self.next_status =
                now.mono + gossip_interval(&self.own).mul_f64(self.chance.jittered(1.0).clamp(0.8, 1.0));
            self.report(now, out);
            self.look_around = true;
        }
        let look_around = self.look_around && now.mono >= self.next_look;
        if look_around || self.membership.next_dial().is_some_and(|at| now.mono >= at) {
            self.look_around = false;
            if self.kin.roster.is_large() {
                self.next_look = now.mono + gossip_interval(&self.own) / LOOKS_PER_INTERVAL;
            }
            let dials = {
                let known = self.dialable();
                let candidates = known.iter().map(|n| Candidate::of(n)).collect();
                let roster = &self.kin.roster;
                let needless = |node: &str| kin::is_needless(roster, node);
                self.membership.dials(candidates, needless, now)
            };
            for url in dials {
                let terms = self.foreign_cluster_behind(&url).map(|cluster| *self.federation.terms(&cluster));
                if let Some(terms) = &terms {
                    self.membership.be_patient(&url, terms.dials_before_backoff);
                }
                let timeout = terms.and_then(|t| Duration::try_from_secs_f64(t.connect_seconds_max).ok());
                out.push(Action::Dial { url, timeout });
            }
        }
    }

    fn message(&mut self, link: LinkId, bytes: &Bytes, now: Now, out: &mut Vec<Action>) {
        if let Some((_, heard)) = self.counted.get_mut(&link) {
            *heard = now.mono;
        }
        let frame = Frame::decode(bytes);
        self.counters.messages_processed += 1;
        match &frame {
            Ok(Frame::Status(..) | Frame::Goodbye(..)) => self.counters.server_messages += 1,
            Ok(Frame::Answer(_)) => self.counters.rpc_responses_skipped += 1,
            _ => self.counters.other_messages += 1,
        }
        match frame {
            Ok(frame) => self.frame(link, frame, bytes, now, out),
            Err(malformed) => self.unreadable(link, bytes, &malformed, out),
        }
    }

    fn frame(&mut self, link: LinkId, frame: Frame, bytes: &Bytes, now: Now, out: &mut Vec<Action>) {
        let is_known = self.membership.speaker(link).is_some();
        if is_known && self.floods(link, &frame, bytes.len(), now, out) {
            return;
        }
        match frame {
            Frame::Status(status, u) => self.status(link, &status, u, now, out),
            Frame::Goodbye(goodbye, u) => self.goodbye(link, &goodbye, u, now, out),
            Frame::Gossip(_) | Frame::Message(_) | Frame::Call(..) if !is_known => {
                self.early(link, bytes, now, out)
            }
            Frame::Gossip(gossip) => self.gossip(link, &gossip, now, out),
            Frame::Message(message) => self.fabric_message(link, &message, None, bytes, now, out),
            Frame::Call(message, rpc) => self.fabric_message(link, &message, Some(rpc), bytes, now, out),
            Frame::Answer(answer) => self.answer(link, &answer, now, out),
            Frame::Other(role, u) => {
                let text = format!("Invalid RPC request role: {}", &*role);
                if !self.membership.is_dialled(link) {
                    out.push(Action::Send { link, bytes: Answer::refused(UNKNOWN_ROLE, &text, u) });
                }
                refuse(out, Reason::UnknownRole, Some(link), text);
            }
        }
    }

    /// Whether a message is one too many of its peer, which is then refused.
    fn floods(&mut self, link: LinkId, frame: &Frame, bytes: usize, now: Now, out: &mut Vec<Action>) -> bool {
        let flow = match frame {
            Frame::Gossip(_) => Flow::Gossip,
            Frame::Message(message) if message.kind() != MessageKind::Rpc => Flow::Publications,
            _ => return false,
        };
        let Some(peer) = self.membership.speaker(link) else { return false };
        match self.floods.spend(peer, flow, bytes, now.mono) {
            Ok(()) => false,
            Err(reason) => {
                refuse(out, reason, Some(link), peer.to_string());
                true
            }
        }
    }

    fn unreadable(&mut self, link: LinkId, bytes: &[u8], malformed: &Malformed, out: &mut Vec<Action>) {
        let outline = Outline::of(bytes);
        let role = outline.as_ref().and_then(|o| o.role.as_deref());
        let reason = match role {
            Some("fabric-gossip") => Reason::GossipMalformed,
            Some(_) => Reason::BadRequest,
            None => Reason::BadFrame,
        };
        if role == Some("server") && !self.membership.is_dialled(link) {
            let u = outline.as_ref().and_then(|o| o.u);
            out.push(Action::Send { link, bytes: Answer::refused(REFUSED, &malformed.to_string(), u) });
        }
        refuse(out, reason, Some(link), malformed.to_string());
    }

    /// The links that would be closed if these settings held.
    pub fn closings(&self, revision: &Revision) -> Vec<Closing> {
        let mut all = Vec::new();
        let federation = Federation::new(revision.federation.clone());
        let plain = LinkFacts::default();
        for (node, peer) in self.membership.connected() {
            for link in peer.links() {
                let facts = self.facts.get(&link).unwrap_or(&plain);
                if let Err(refusal) = federation.admits(&peer.cluster_id, Some(node), facts) {
                    let (reason, text) = (Some(refusal.reason), refusal.message);
                    all.push(Closing { link, node: Some(node.clone()), table: "federation", reason, text });
                }
            }
        }
        for link in self.membership.links_without(&revision.seeds) {
            if !all.iter().any(|closing| closing.link == link) {
                let node = self.membership.speaker(link).cloned();
                let text = "not a static peer any more".to_owned();
                all.push(Closing { link, node, table: "peers", reason: None, text });
            }
        }
        all
    }

    fn revise(&mut self, revision: Revision, now: Now, out: &mut Vec<Action>) {
        for closing in self.closings(&revision) {
            let reason = match closing.reason {
                Some(reason) => {
                    refuse(out, reason, Some(closing.link), closing.text);
                    "not allowed any more"
                }
                None => "not a static peer any more",
            };
            out.push(Action::Close { link: closing.link, code: CLOSE_NORMAL, reason });
        }
        let Revision {
            seeds,
            transport_endpoints,
            advertised_urls,
            catalog_entries_per_cluster_max,
            calls_max,
            floods,
            federation,
            route_rules,
            keys,
        } = revision;
        self.federation.revise(federation);
        self.forget_forbidden();
        for route in self.routes.revise(route_rules) {
            let text =
                format!("the route to {} by {} is not let in any more", route.destination, route.advertiser);
            refuse(out, Reason::RoutePolicyRefused, None, text);
        }
        self.trust.configure(keys, now);
        self.catalog.set_limit(catalog_entries_per_cluster_max);
        self.calls.set_limit(calls_max);
        self.floods.set_limits(floods);
        self.membership.set_seeds(seeds);
        self.look_around = true;
        let is_new = self.own.advertised_urls != advertised_urls
            || self.own.transport_endpoints != transport_endpoints;
        if is_new {
            (self.own.advertised_urls, self.own.transport_endpoints) = (advertised_urls, transport_endpoints);
            let node = Arc::new(self.own_node());
            self.local(Delta { nodes: vec![node], ..Delta::default() }, now, out);
            // The next STATUS, which shows the URLs, is due at once.
            self.next_status = now.mono;
        }
    }

    /// How the node says that it is.
    fn own_word(&self) -> &'static str {
        if self.draining { "draining" } else { "ok" }
    }

    fn expel(&mut self, mut delta: Delta, now: Now, out: &mut Vec<Action>) {
        if delta.is_empty() {
            return;
        }
        delta.sent_at = now.wall + SKEW_SECONDS_MAX; // whatever the clocks of their holders say
        let applied = self.catalog.apply(delta, now.wall);
        if !applied.changed.is_empty() {
            out.push(Action::CatalogChanged(Box::new(applied.changed)));
        }
    }

    fn own_node(&self) -> NodeEntry {
        NodeEntry {
            node_id: self.own.membership.node_id.clone(),
            cluster_id: self.own.membership.cluster_id.clone(),
            scope: self.own.scope,
            resources: self.own.resources.clone(),
            capabilities: self.capabilities(),
            transport_endpoints: self.own.transport_endpoints.clone(),
            tags: self.own.tags.clone(),
            advertised_at: unset(),
            ttl_seconds: self.own.catalog_ttl_seconds,
            region: self.own.region.clone(),
        }
    }

    fn capabilities(&self) -> Vec<Text> {
        let extension = self.own.kin.then(|| EXTENSION.into());
        let mut all: Vec<Text> = self.own.capabilities.iter().cloned().chain(extension).collect();
        all.sort();
        all.dedup();
        all
    }

    fn node_id(&self) -> &Text {
        &self.own.membership.node_id
    }

    fn cluster_id(&self) -> &Text {
        &self.own.membership.cluster_id
    }

    /// Nodes that may be dialled besides the seeds: those of the own cluster that a link is wanted with, and a few of
    /// each cluster that the configuration names or that is a neighbour already. What lies behind a neighbour is reached
    /// through it.
    fn dialable(&mut self) -> Vec<Arc<NodeEntry>> {
        self.list_others();
        let own = self.cluster_id();
        let kin = self.kin.roster.neighbours().iter().filter_map(|node| self.catalog.node(own, node));
        let mut known: Vec<Arc<NodeEntry>> = kin.cloned().collect();
        let mut foreign = BTreeMap::<&Text, Vec<&Arc<NodeEntry>>>::new();
        for node in self.kin.others().filter_map(|key| self.catalog.node(&key.cluster_id, &key.node_id)) {
            match node.cluster_id == *own {
                true => known.push(node.clone()),
                false => foreign.entry(&node.cluster_id).or_default().push(node),
            }
        }
        known.sort_by(|a, b| a.node_id.cmp(&b.node_id));
        for (cluster, mut nodes) in foreign {
            let linked = || self.membership.connected_of(cluster).next().is_some();
            let named = self.federation.settings().mode == federation::Mode::ExplicitBridging;
            if !(named || linked()) {
                continue;
            }
            nodes.retain(|n| self.federation.may_meet(cluster, Some(&n.node_id)).is_ok());
            // Each of our nodes takes others, so that a cluster is not held by one link.
            let near = |n: &Arc<NodeEntry>| {
                let linked = self.membership.link_to(&n.node_id).is_some();
                (!linked, mixed(self.node_id(), &n.node_id))
            };
            nodes.sort_by_key(|n| near(n));
            known.extend(nodes.into_iter().take(FOREIGN_NODES_DIALLED).cloned());
        }
        known
    }

    /// The other cluster that an address leads to, as far as that is known.
    fn foreign_cluster_behind(&self, url: &str) -> Option<Text> {
        let node = self.membership.node_behind(url)?;
        let said = self.membership.peer(&node).filter(|p| p.report.is_some()).map(|p| p.cluster_id.clone());
        let told = || self.catalog.nodes_named(&node).next().map(|n| n.cluster_id.clone());
        said.or_else(told).filter(|cluster| self.is_foreign(cluster))
    }

    fn is_bridging(&self) -> bool {
        self.federation.settings().mode != federation::Mode::StrictIsolation
    }

    fn is_foreign(&self, cluster: &str) -> bool {
        *cluster != **self.cluster_id()
    }
}

/// A number that differs for each pair of nodes, the same at every start (FNV-1a).
fn mixed(a: &str, b: &str) -> u64 {
    let bytes = a.bytes().chain([0]).chain(b.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn gossip_interval(own: &Settings) -> Duration {
    Duration::try_from_secs_f64(own.membership.gossip_interval_seconds).unwrap_or(Duration::from_secs(5))
}

fn refuse(out: &mut Vec<Action>, reason: Reason, link: Option<LinkId>, text: impl Into<String>) {
    out.push(Action::Refused { reason, link, count: 1, text: text.into() });
}

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// Codes of the answers to `server` messages (fabric.md 4.6).
const REFUSED: i64 = 1003;
const UNKNOWN_ROLE: i64 = 1004;
/// WebSocket close codes.
const CLOSE_NORMAL: u16 = 1000;
const CLOSE_GOING_AWAY: u16 = 1001;
/// Nodes of one other cluster that are dialled though nobody configured them.
const FOREIGN_NODES_DIALLED: usize = 2;
/// In a large cluster: while many come, each message is a reason to look.
const LOOKS_PER_INTERVAL: u32 = 20;
/// Who told of which node is looked through when there are more of them.
const TELLERS_MIN: usize = 1024;
/// Leases are looked at this much after their end.
const LEASE_SLACK: Duration = Duration::from_millis(1);

#[cfg(test)]
mod clusters;
#[cfg(test)]
pub(crate) mod simulation;
