//! Membership: which nodes this one holds links with, in which direction, and how they do (fabric.md 4).
//!
//! A node becomes a peer by its STATUS, or by being the one this node dialled; never by what it says first. All live
//! links of a peer are alike. Departed instances are kept out for a while, and addresses are dialled for ever, ever
//! slower. It decides about links only: what peers say about the catalog is judged by `fabric`, with
//! [`Membership::speaker`] as the ground.

mod chance;
mod departure;
mod dial;
pub mod overlay;
mod peer;
mod roster;
mod swim;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use chance::Chance;
pub use dial::{Candidate, FOUND_MAX, Wanted};
pub use peer::{Counters, KIN_REPORT_INTERVALS, Peer, PeerState, Report};
pub use roster::{Roster, Standing, version_at};
pub use swim::{Step, Swim};

use super::catalog::Text;
use super::reason::Reason;
use super::time::Now;
use crate::wire::fabric::kin::EXTENSION;
use crate::wire::fabric::{Goodbye, Status};
use departure::Departures;
use dial::Dialling;

/// Names a connection; given by whoever owns the sockets and never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// What membership needs to know of its own node.
#[derive(Debug, Clone)]
pub struct Settings {
    pub node_id: Text,
    pub cluster_id: Text,
    /// New at each start of the process.
    pub instance_id: Text,
    /// Addresses that are always dialled: peers.static and connect.
    pub seeds: Vec<Text>,
    pub gossip_interval_seconds: f64,
    /// How long a departed instance is kept out; 0 or less: not at all.
    pub goodbye_grace_seconds: f64,
    pub dial_backoff_seconds_max: f64,
    pub dial_parallelism_max: usize,
}

/// The links and the peers behind them.
#[derive(Debug)]
pub struct Membership {
    own: Settings,
    links: BTreeMap<LinkId, Link>,
    peers: BTreeMap<Text, Peer>,
    departures: Departures,
    dialling: Dialling,
    /// By their ids; dialled until they are met by other ways or say goodbye.
    remembered: BTreeMap<Text, LastKnown>,
}

/// A peer that was lost, or known before a restart.
#[derive(Debug, Clone, PartialEq)]
pub struct LastKnown {
    pub node: Text,
    pub url: Text,
    pub cluster_id: Text,
    /// Seconds since 1970.
    pub seen_at: f64,
}

#[derive(Debug)]
struct Link {
    /// The address, where this node opened the link.
    dialled: Option<Text>,
    /// The peer, once it is known.
    node: Option<Text>,
    /// The instance that said STATUS on this link.
    instance: Option<Text>,
    opened_at: Duration,
}

/// A peer was accepted on a link.
#[derive(Debug, PartialEq, Eq)]
pub struct Arrival {
    pub node: Text,
    /// This link now leads to the peer and did not before.
    pub new_link: bool,
    /// The peer had no link before, or is a new instance.
    pub new_peer: bool,
    /// Links to a former life of the node; to be closed.
    pub stale: Vec<LinkId>,
}

/// A STATUS or GOODBYE was not accepted.
#[derive(Debug, PartialEq)]
pub struct Refusal {
    pub reason: Reason,
    /// For the sender (4.6).
    pub message: String,
    /// Whether the link ends with it.
    pub closes: bool,
}

/// A link that led to a peer is gone.
#[derive(Debug, PartialEq, Eq)]
pub struct Lost {
    pub node: Text,
    /// No other link leads there.
    pub last: bool,
}

/// A peer has left by GOODBYE.
#[derive(Debug, PartialEq, Eq)]
pub struct Departed {
    pub node: Text,
    /// All its links; to be closed.
    pub links: Vec<LinkId>,
}

impl LastKnown {
    fn candidate(&self) -> Candidate {
        Candidate { node: self.node.clone(), urls: vec![self.url.clone()] }
    }
}

impl Membership {
    pub fn new(own: Settings) -> Membership {
        Membership {
            links: BTreeMap::new(),
            peers: BTreeMap::new(),
            departures: Departures::new(own.goodbye_grace_seconds),
            dialling: Dialling::new(&own),
            remembered: BTreeMap::new(),
            own,
        }
    }

    /// Looks for these until they are found. Where there are too many, those seen last are looked for.
    pub fn remember(&mut self, peers: impl IntoIterator<Item = LastKnown>) {
        for peer in peers.into_iter().filter(|peer| peer.node != self.own.node_id) {
            self.remembered.insert(peer.node.clone(), peer);
        }
        while self.remembered.len() > REMEMBERED_MAX {
            let oldest = self.remembered.values().min_by(|a, b| a.seen_at.total_cmp(&b.seen_at));
            let Some(oldest) = oldest.map(|peer| peer.node.clone()) else { break };
            self.remembered.remove(&oldest);
        }
    }

    /// Those that are looked for.
    pub fn remembered(&self) -> impl Iterator<Item = &LastKnown> {
        self.remembered.values()
    }

    /// Goes on looking only for those of whom `may` says so.
    pub fn forget_unless(&mut self, mut may: impl FnMut(&LastKnown) -> bool) {
        self.remembered.retain(|_, peer| may(peer));
    }

    /// A node was found again, or has left.
    pub fn found(&mut self, node: &str) {
        self.remembered.remove(node);
    }

    /// A link is open. Where this node dialled a member it knows (`knows` says so of a node id, and whether it is or was
    /// a peer of the own cluster), the link leads there from the start.
    pub fn opened(
        &mut self,
        link: LinkId,
        dialled: Option<Text>,
        knows: impl Fn(&str, bool) -> bool,
        now: Now,
    ) -> Option<Arrival> {
        let node = dialled.as_ref().map(|url| self.dialling.opened(url, link, now));
        self.links.insert(link, Link { dialled, node: None, instance: None, opened_at: now.mono });
        let node = node.filter(|n| {
            let peer = self.peers.get(n);
            let elsewhere = peer.is_some_and(|p| p.cluster_id != self.own.cluster_id);
            *n != self.own.node_id && !elsewhere && knows(n, peer.is_some())
        })?;
        Some(self.bind(link, node))
    }

    /// A STATUS came in on a link. `admits` is the federation policy on the cluster and node that it names.
    pub fn status(
        &mut self,
        link: LinkId,
        status: &Status,
        admits: impl FnOnce(&str, &str) -> Result<(), Refusal>,
        now: Now,
    ) -> Result<Arrival, Refusal> {
        let node = status.server_url.to_text();
        let Some(known) = self.links.get(&link) else {
            return Err(Refusal::closing(Reason::BadRequest, "The connection is closed."));
        };
        if node.is_empty() {
            return Err(Refusal::closing(Reason::BadRequest, "STATUS without a server_url."));
        }
        if node == self.own.node_id {
            if *status.instance_id == *self.own.instance_id
                && let Some(url) = &known.dialled
            {
                self.dialling.is_own(url);
            }
            let message = format!("Connection rejected: {node} is the node that you have reached.");
            return Err(Refusal::closing(Reason::NotEntitled, message));
        }
        if self.departures.holds(&node, Some(&status.instance_id), now) {
            return Err(Refusal::closing(Reason::PeerDeparted, "Peer is marked departed"));
        }
        admits(&status.cluster_id, &node)?;
        let moved = self.peers.get(&node).is_some_and(|p| {
            !p.links.is_empty() && !p.instance_id.is_empty() && *p.cluster_id != *status.cluster_id
        });
        if moved && self.peers.get(&node).is_some_and(|p| *p.instance_id == *status.instance_id) {
            let message =
                "Connection rejected: this instance belongs to another cluster_id already.".to_owned();
            return Err(Refusal::closing(Reason::NotEntitled, message));
        }
        let renamed = known.node.as_ref().is_some_and(|n| *n != node);
        if renamed && (known.dialled.is_none() || known.instance.is_some()) {
            let message =
                "Connection rejected: this connection belongs to another server_url already.".to_owned();
            return Err(Refusal::closing(Reason::NotEntitled, message));
        }
        if let Some(url) = &known.dialled {
            self.dialling.answered_as(url, &node);
        }
        if renamed {
            self.unbind(link, now);
        }
        let former = self.former_life(link, &node, &status.instance_id);
        let mut arrival = self.bind(link, node.clone());
        arrival.new_peer |= former.is_some();
        arrival.stale = former.unwrap_or_default();
        if arrival.new_peer {
            self.dialling.appeared(&node, now);
        }
        let instance = status.instance_id.to_text();
        if let Some(link) = self.links.get_mut(&link) {
            link.instance = Some(instance.clone());
        }
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.cluster_id = status.cluster_id.to_text();
            peer.instance_id = instance;
            peer.extends = status.extensions.iter().any(|name| **name == *EXTENSION);
            peer.report = Some(Report::of(status, now));
        }
        Ok(arrival)
    }

    /// The other end of a dialled link acknowledged our STATUS: it is who we dialled, if it has not said otherwise.
    /// `admits` is the policy on such a member of the own cluster; those of others must say who they are.
    pub fn acknowledged(&mut self, link: LinkId, admits: impl Fn(&str) -> bool) -> Option<Arrival> {
        let known = self.links.get(&link)?;
        let node = known.dialled.clone().filter(|n| *n != self.own.node_id && known.node.is_none())?;
        let elsewhere = self.peers.get(&node).is_some_and(|p| p.cluster_id != self.own.cluster_id);
        if elsewhere || !admits(&node) {
            return None;
        }
        Some(self.bind(link, node))
    }

    /// The link leads to nobody any more, until it is closed.
    pub fn disown(&mut self, link: LinkId, now: Now) {
        if let Some(lost) = self.unbind(link, now).filter(|lost| lost.last) {
            self.dialling.disappeared(&lost.node, now);
        }
    }

    /// Whether the peer behind a link has said who it is, and not only answered.
    pub fn is_confirmed(&self, link: LinkId) -> bool {
        self.speaker(link).and_then(|node| self.peers.get(node)).is_some_and(|peer| peer.report.is_some())
    }

    /// The other end of a dialled link refused us: the address is left alone for longer.
    pub fn turned_away(&mut self, link: LinkId) {
        if let Some(url) = self.links.get(&link).and_then(|l| l.dialled.as_ref()) {
            self.dialling.turned_away(url);
        }
    }

    /// A GOODBYE came in. It is obeyed for the node at the other end of that link only.
    pub fn goodbye(&mut self, link: LinkId, goodbye: &Goodbye, now: Now) -> Result<Departed, Refusal> {
        let node = self.speaker(link).cloned().filter(|n| **n == *goodbye.departing_node_url);
        let Some(node) = node else {
            return Err(Refusal {
                reason: Reason::NotEntitled,
                message: format!("GOODBYE for {} must come from that node.", &*goodbye.departing_node_url),
                closes: false,
            });
        };
        let peer = self.peers.remove(&node);
        let known = peer.as_ref().map(|p| p.instance_id.clone()).unwrap_or_default();
        let instance = if goodbye.instance_id.is_empty() { known } else { goodbye.instance_id.to_text() };
        self.departures.add(node.clone(), instance, now);
        let links = peer.map(|p| p.links).unwrap_or_default();
        for link in &links {
            if let Some(link) = self.links.get_mut(link) {
                link.node = None;
            }
        }
        self.dialling.departed(&node);
        self.remembered.remove(&node);
        Ok(Departed { node, links })
    }

    /// A link is gone.
    pub fn closed(&mut self, link: LinkId, now: Now, chance: &mut Chance) -> Option<Lost> {
        let lost = self.unbind(link, now);
        if let Some(url) = self.links.remove(&link).and_then(|l| l.dialled) {
            let linked = self.linked_over(&url);
            self.dialling.closed(&url, link, linked, now, chance);
        }
        if let Some(lost) = lost.as_ref().filter(|l| l.last) {
            self.dialling.disappeared(&lost.node, now);
        }
        lost
    }

    /// How many failures in a row at an address are tried again before the pauses grow.
    pub fn be_patient(&mut self, url: &str, failures: u32) {
        self.dialling.be_patient(url, failures);
    }

    pub fn dial_failed(&mut self, url: &str, now: Now, chance: &mut Chance) {
        let linked = self.linked_over(url);
        self.dialling.failed(url, linked, now, chance);
    }

    /// What is to be dialled now: seeds, `candidates`, and peers of a former life. No link is wanted with the nodes that
    /// are `needless`.
    pub fn dials(
        &mut self,
        mut candidates: Vec<Candidate>,
        needless: impl Fn(&str) -> bool,
        now: Now,
    ) -> Vec<Text> {
        candidates.retain(|c| c.node != self.own.node_id);
        let peers = &self.peers;
        self.remembered.retain(|node, _| peers.get(node).is_none_or(|peer| peer.links.is_empty()));
        if !self.remembered.is_empty() {
            // What the catalog says of a node is younger.
            let told: BTreeSet<Text> = candidates.iter().map(|c| c.node.clone()).collect();
            let others = self.remembered.values().filter(|peer| !told.contains(&peer.node));
            candidates.extend(others.map(LastKnown::candidate));
        }
        self.forget(&candidates, now);
        let Membership { peers, links, departures, dialling, .. } = self;
        dialling.due(candidates, now, |node, url| {
            let bound = peers.get(node).map(|p| p.links.as_slice()).unwrap_or_default();
            let dialled = bound.iter().any(|l| links.get(l).is_some_and(|l| l.dialled.is_some()));
            dial::Reach {
                departed: departures.holds(node, None, now) || departures.holds(url, None, now),
                linked: !bound.is_empty(),
                dialled,
                extends: peers.get(node).is_some_and(|p| p.extends),
                needless: needless(node),
            }
        })
    }

    /// Other addresses are to be dialled always. What leads to the others is to be closed: see
    /// [`Membership::links_without`], to be asked before.
    pub fn set_seeds(&mut self, seeds: Vec<Text>) {
        self.dialling.set_seeds(seeds, &self.own.node_id);
    }

    /// The links that were opened to a seed that is not among these, and that no source of peers tells of.
    pub fn links_without(&self, seeds: &[Text]) -> Vec<LinkId> {
        let dialling = &self.dialling;
        let is_gone = |url: &Text| dialling.is_seed(url) && !seeds.contains(url) && !dialling.is_found(url);
        let of_gone = |l: &Link| l.dialled.as_ref().is_some_and(is_gone);
        self.links.iter().filter(|(_, l)| of_gone(l)).map(|(id, _)| *id).collect()
    }

    /// The address that a link was opened to, where this node opened it.
    pub fn address(&self, link: LinkId) -> Option<&Text> {
        self.links.get(&link)?.dialled.as_ref()
    }

    /// The addresses that a link is wanted to and none leads to: seeds, and others that were tried in vain.
    pub fn unreached(&self, now: Now) -> Vec<Wanted> {
        let mut all = self.dialling.wanted(now);
        all.retain(|w| self.peers.get(&w.node).is_none_or(|peer| peer.links.is_empty()));
        all
    }

    /// How many seeds lead to a peer, and how many there are; not counted is one that leads to this node itself.
    pub fn seeds_reached(&self, now: Now) -> (usize, usize) {
        let seeds = self.dialling.wanted(now).into_iter().filter(|w| w.is_seed);
        let linked = |w: &Wanted| self.peers.get(&w.node).is_some_and(|peer| !peer.links.is_empty());
        seeds.fold((0, 0), |(up, all), seed| (up + usize::from(linked(&seed)), all + 1))
    }

    /// The addresses of each peer that sources of peers tell of now. Links to those that are gone stay.
    pub fn set_found(&mut self, found: Vec<Vec<Text>>) {
        self.dialling.set_found(found, &self.own.node_id);
    }

    /// When `dials` has something to do again without anything else happening.
    pub fn next_dial(&self) -> Option<Duration> {
        self.dialling.next()
    }

    /// The peer that a link leads to: the one that may speak on it.
    pub fn speaker(&self, link: LinkId) -> Option<&Text> {
        self.links.get(&link)?.node.as_ref()
    }

    /// True where this node opened the link.
    pub fn is_dialled(&self, link: LinkId) -> bool {
        self.links.get(&link).is_some_and(|l| l.dialled.is_some())
    }

    /// How long a link is open.
    pub fn age(&self, link: LinkId, now: Now) -> Duration {
        self.links.get(&link).map_or(Duration::ZERO, |l| now.mono.saturating_sub(l.opened_at))
    }

    /// The node that an address was dialled for.
    pub fn node_behind(&self, url: &str) -> Option<Text> {
        self.dialling.node_behind(url)
    }

    /// The link to use towards a peer: one that we dialled if there is one, the youngest.
    pub fn link_to(&self, node: &str) -> Option<LinkId> {
        let bound = &self.peers.get(node)?.links;
        bound.iter().copied().max_by_key(|l| (self.is_dialled(*l), *l))
    }

    /// Peers of one cluster with a link, in the order of their ids.
    pub fn connected_of(&self, cluster: &str) -> impl Iterator<Item = (&Text, &Peer)> {
        self.connected().filter(move |(_, p)| *p.cluster_id == *cluster)
    }

    /// The cluster of the peer that a link leads to.
    pub fn cluster_of(&self, link: LinkId) -> Option<&Text> {
        Some(&self.peers.get(self.speaker(link)?)?.cluster_id)
    }

    /// A STATUS that was sent on `link` has been acknowledged after this long. True while more are needed to know how
    /// far a peer of another cluster is; within a cluster nothing follows from it.
    pub fn measured(&mut self, link: LinkId, round_trip: Duration) -> bool {
        let node = self.speaker(link).cloned();
        let Some(peer) = node.and_then(|n| self.peers.get_mut(&n)) else { return false };
        peer.latency.add(round_trip);
        !peer.latency.is_known && peer.cluster_id != self.own.cluster_id
    }

    /// Peers with a link, in the order of their ids.
    pub fn connected(&self) -> impl Iterator<Item = (&Text, &Peer)> {
        self.peers.iter().filter(|(_, p)| !p.links.is_empty())
    }

    pub fn peer(&self, node: &str) -> Option<&Peer> {
        self.peers.get(node)
    }

    /// All open links, identified or not.
    pub fn links(&self) -> impl Iterator<Item = LinkId> {
        self.links.keys().copied()
    }

    /// Whether `node` left and its grace is not over.
    pub fn is_departed(&mut self, node: &str, now: Now) -> bool {
        self.departures.holds(node, None, now)
    }

    /// The departed that are kept out: node, instance, and until when.
    pub fn departed(&self) -> impl Iterator<Item = (&Text, &Text, Duration)> {
        self.departures.all()
    }

    /// Keeps out an instance that left in a former life, for the rest of its grace.
    pub fn remember_departure(&mut self, node: Text, instance: Text, until: Duration, now: Now) {
        self.departures.add_until(node, instance, until, now);
    }

    /// Load of a node for the choice among several (client.md 4.3): unknown nodes count 1000.
    pub fn load_score(&self, node: &str, now: Now) -> f64 {
        self.peers.get(node).map_or(UNKNOWN_LOAD, |p| p.load_score(&self.own, now))
    }

    /// All peers as questions about them need it, those that are to be hidden left out.
    pub fn states(&self, now: Now) -> Vec<PeerState> {
        let expected = self.dialling.expected();
        let hidden = |p: &Peer| p.hidden(&self.own, expected, now);
        self.peers.iter().filter(|(_, p)| !hidden(p)).map(|(id, p)| p.state(id, &self.own, now)).collect()
    }

    /// Peers that are gone long enough not to be shown any more (client.md 4.2).
    pub fn is_hidden(&self, node: &str, now: Now) -> bool {
        self.peers.get(node).is_some_and(|p| p.hidden(&self.own, self.dialling.expected(), now))
    }

    /// Where a STATUS on `link` shows that the node was started anew: the links to the instance before.
    fn former_life(&self, link: LinkId, node: &Text, instance: &str) -> Option<Vec<LinkId>> {
        let (peer, opened_at) = (self.peers.get(node)?, self.links.get(&link)?.opened_at);
        let old = &peer.instance_id;
        if old.is_empty() || instance.is_empty() || **old == *instance {
            return None;
        }
        let is_old = |id: &LinkId| {
            self.links.get(id).is_some_and(|l| match &l.instance {
                Some(instance) => instance == old,
                None => l.opened_at < opened_at,
            })
        };
        Some(peer.links.iter().copied().filter(|id| *id != link && is_old(id)).collect())
    }

    fn bind(&mut self, link: LinkId, node: Text) -> Arrival {
        let own = &self.own;
        let peer = self.peers.entry(node.clone()).or_insert_with(|| Peer::new(own.cluster_id.clone()));
        let new_peer = peer.links.is_empty();
        let new_link = !peer.links.contains(&link);
        if new_link {
            peer.links.push(link);
        }
        peer.lost_at = None;
        if let Some(link) = self.links.get_mut(&link) {
            link.node = Some(node.clone());
        }
        Arrival { node, new_link, new_peer, stale: Vec::new() }
    }

    fn unbind(&mut self, link: LinkId, now: Now) -> Option<Lost> {
        let node = self.links.get_mut(&link)?.node.take()?;
        let peer = self.peers.get_mut(&node)?;
        peer.links.retain(|l| *l != link);
        let last = peer.links.is_empty();
        if last {
            peer.lost_at = Some(now.mono);
        }
        Some(Lost { node, last })
    }

    /// Whether the node behind an address is linked with us all the same.
    fn linked_over(&self, url: &str) -> bool {
        let node = self.dialling.node_behind(url);
        node.and_then(|n| self.peers.get(&n)).is_some_and(|p| !p.links.is_empty())
    }

    /// Drops peers that are lost for long and nobody tells of.
    fn forget(&mut self, candidates: &[Candidate], now: Now) {
        let lost = |at: Duration| now.mono.saturating_sub(at) > FORGET_AFTER;
        if self.peers.values().any(|peer| peer.lost_at.is_some_and(lost)) {
            let told: BTreeSet<&Text> = candidates.iter().map(|c| &c.node).collect();
            self.peers.retain(|node, peer| !peer.lost_at.is_some_and(lost) || told.contains(node));
        }
        self.departures.expire(now);
    }
}

impl Refusal {
    fn closing(reason: Reason, message: impl Into<String>) -> Refusal {
        Refusal { reason, message: message.into(), closes: true }
    }
}

/// Load of a node that never said how it does.
const UNKNOWN_LOAD: f64 = 1000.0;
/// A lost peer that the catalog does not know either is forgotten after this long.
const FORGET_AFTER: Duration = Duration::from_secs(300);
/// Of a former life; more is not needed to find a cluster again.
pub const REMEMBERED_MAX: usize = 1000;

#[cfg(test)]
mod tests;
