//! Kin: nodes of this program in the own cluster, and what is said between them only (`wire::fabric::kin`).
//!
//! Each node speaks for itself under versions that rise ([`Roster`]). What is new is pushed once over the overlay and
//! passed on by those for whom it was news; who gets it twice asks the second sender to be quiet, so that a tree
//! remains. Probes carry a digest of everything: two equal catalogs cost a few numbers, different ones their difference.
//! Entries of living kin need no refreshing between kin. Reference nodes hear of them all the same: every node tells
//! its own refreshes, what it learns of kin, and the leases that it renews for kin to each reference node that it is
//! linked with.

mod exchange;

use std::collections::BTreeSet;

use super::*;
use crate::core::catalog::{Entry, NodeKey};
use crate::core::membership::overlay::{Ways, hash, mix};
use crate::core::membership::{LinkId, Roster, Standing, Step, Swim, version_at};
use crate::wire::fabric::kin::{
    Compact, Digest, EXTENSION, Exchange, News, Probe, Rumor, Suspect, VersionList, Versions, decode, encode,
};
use crate::wire::fabric::{Gossip, GossipKind};

/// What a node knows of its kin.
#[derive(Debug)]
pub(super) struct Kin {
    pub roster: Roster,
    swim: Swim,
    /// Linked kin that get news on another way first, and through whom none come first.
    quiet: BTreeSet<Text>,
    /// When to compare with everybody linked, because much was learned at once.
    compare_at: Option<Duration>,
    /// A suspicion of this node that is to be contradicted, and since when it may be.
    accused: Option<u64>,
    contradict_at: Duration,
    /// To members without a link, and the state that they were found of: members, links and suspicions.
    ways: Ways,
    ways_of: (u64, u64, u64),
    links_changed: u64,
    next_ways_at: Duration,
    others: Others,
    others_told: BTreeMap<Text, Duration>,
    /// Nodes of which a peer was asked, for which version, and until when it is waited for.
    pulling: BTreeMap<Text, (u64, Duration)>,
    /// Messages by sender in the running period.
    heard: BTreeMap<Text, u32>,
    heard_until: Duration,
    last_number: u64,
    next_status: Duration,
    told_clients: i64,
    next_trim: Duration,
}

/// Nodes of other programs and clusters, as far as the catalog knows them.
#[derive(Debug, Default)]
struct Others {
    /// The listing of nodes in the catalog and the generation of the roster that they are of.
    of: Option<(u64, u64)>,
    nodes: Vec<NodeKey>,
    /// Of those that others are told of.
    sum: u64,
}

impl Kin {
    pub fn new(own: &Settings, now: Now) -> Kin {
        Kin {
            roster: Roster::new(own.membership.node_id.clone(), version_at(now.wall)),
            swim: Swim::new(gossip_interval(own), now.mono),
            quiet: BTreeSet::new(),
            compare_at: None,
            accused: None,
            contradict_at: now.mono,
            ways: Ways::default(),
            ways_of: (0, 0, 0),
            links_changed: 0,
            next_ways_at: now.mono,
            others: Others::default(),
            others_told: BTreeMap::new(),
            pulling: BTreeMap::new(),
            heard: BTreeMap::new(),
            heard_until: now.mono,
            last_number: 0,
            next_status: now.mono,
            told_clients: i64::MIN,
            next_trim: now.mono,
        }
    }

    pub fn next(&self) -> Duration {
        let accused = self.accused.map(|_| self.contradict_at);
        let ways = (self.roster.is_large() && self.ways_of != self.ways_now()).then_some(self.next_ways_at);
        [self.compare_at, accused, ways].into_iter().flatten().fold(self.swim.next(), Duration::min)
    }

    /// The neighbours that ways to a member without a link begin with, the shortest first.
    pub fn first_hops(&self, node: &str) -> &[Text] {
        self.ways.to(node)
    }

    /// As of the last [`Fabric::list_others`].
    pub fn others(&self) -> impl Iterator<Item = &NodeKey> {
        self.others.nodes.iter()
    }

    fn ways_now(&self) -> (u64, u64, u64) {
        (self.roster.generation(), self.links_changed, self.swim.turns())
    }

    /// Whether a STATUS to kin is due: when it says another load, else seldom.
    pub fn status_due(&mut self, active_clients: i64, interval: Duration, now: Now) -> bool {
        let due = now.mono >= self.next_status || active_clients != self.told_clients;
        if due {
            self.next_status = now.mono + interval * membership::KIN_REPORT_INTERVALS;
            self.told_clients = active_clients;
        }
        due
    }

    fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Counts a message of a peer; false where it says too much.
    fn hears(&mut self, peer: &Text, now: Now) -> bool {
        if now.mono >= self.heard_until {
            self.heard.clear();
            self.heard_until = now.mono + self.swim.period();
        }
        let most = MESSAGES_PER_PERIOD + MESSAGES_PER_MEMBER * self.roster.len() as u32;
        let count = self.heard.entry(peer.clone()).or_default();
        *count = count.saturating_add(1);
        *count <= most
    }
}

impl Fabric {
    /// Whether a peer understands the extension, and is of this cluster.
    pub(super) fn is_kin(&self, peer: &str) -> bool {
        let cluster = self.cluster_id();
        self.own.kin && self.membership.peer(peer).is_some_and(|p| p.extends && p.cluster_id == *cluster)
    }

    fn linked_kin(&self) -> Vec<Text> {
        self.membership.connected().map(|(node, _)| node).filter(|node| self.is_kin(node)).cloned().collect()
    }

    /// A link leads to kin now. The end that was dialled begins to compare.
    pub(super) fn greet_kin(&mut self, node: &Text, link: LinkId, now: Now, out: &mut Vec<Action>) {
        self.kin.links_changed += 1;
        self.kin.quiet.remove(node);
        self.membership.found(node);
        if !self.membership.is_dialled(link) {
            self.compare_with(node, out);
        } else if self.kin.others_told.len() > self.own.membership.dial_parallelism_max + OTHERS_TOLD_MAX {
            self.kin.others_told.retain(|_, until| now.mono < *until);
        }
    }

    /// The last link to a peer is gone.
    pub(super) fn missed_kin(&mut self, node: &Text, now: Now, out: &mut Vec<Action>) {
        self.kin.links_changed += 1;
        let was_quiet = self.kin.quiet.remove(node);
        if !self.kin.roster.contains(node) || self.stopping {
            return;
        }
        if self.kin.roster.is_large() && !was_quiet {
            // A branch of the tree may have broken: all ways are open until they are too many again.
            for node in std::mem::take(&mut self.kin.quiet) {
                self.exchange_with(&node, Exchange { graft: true, ..Exchange::default() }, out);
            }
        }
        if self.kin.roster.neighbours().contains(node) {
            self.ask_others(node, true, now, out);
        } else {
            self.kin.swim.give_up(node);
        }
    }

    /// An address could not be dialled. That alone says little: the other end may be slow, or dial itself.
    pub(super) fn unreachable(&mut self, url: &str, now: Now, out: &mut Vec<Action>) {
        let Some(node) = self.membership.node_behind(url) else { return };
        if self.membership.link_to(&node).is_none() && self.kin.roster.neighbours().contains(&node) {
            self.ask_others(&node, false, now, out);
        }
    }

    fn ask_others(&mut self, node: &Text, lost: bool, now: Now, out: &mut Vec<Action>) {
        let linked = self.linked_kin();
        let step = self.kin.swim.lost(node, lost, now.mono, &linked, &mut self.chance);
        step.into_iter().for_each(|step| self.do_step(step, now, out));
    }

    /// A peer is not of this program, or not any more: its entries live by their leases again.
    pub(super) fn disown(&mut self, node: &Text) {
        self.kin.roster.forget(node);
        self.kin.swim.clear(node);
    }

    /// What this node has changed of its own entries, as news.
    pub(super) fn tell_kin(&mut self, delta: Delta, left: bool, now: Now, out: &mut Vec<Action>) {
        let from = self.kin.roster.own_version();
        let to = self.kin.roster.raise(0, now.wall);
        self.tell_change(from, to, delta, left, out);
    }

    fn tell_change(&mut self, from: u64, to: u64, delta: Delta, left: bool, out: &mut Vec<Action>) {
        let node = self.node_id().clone();
        let linked = self.linked_kin();
        // That it lives is passed on by everybody: those who suspect it may be known to others only, as in a join.
        let empty = delta.is_empty() && !left;
        let direct = !empty && self.kin.roster.members().all(|m| linked.binary_search(m).is_ok());
        let news = News { node, from, to, delta: Compact(delta), direct, left };
        self.push(news, None, out);
    }

    /// Pushes news to linked kin. That a node lives after all must not wait for a slow one on its way.
    fn push(&mut self, news: News, except: Option<&Text>, out: &mut Vec<Action>) {
        let everywhere = news.direct || news.delta.is_empty();
        let to = self
            .linked_kin()
            .into_iter()
            .filter(|n| Some(n) != except && *n != news.node && (everywhere || !self.kin.quiet.contains(n)));
        let links: Vec<LinkId> = to.filter_map(|node| self.membership.link_to(&node)).collect();
        self.push_over(news, &links, out);
    }

    fn push_over(&mut self, news: News, links: &[LinkId], out: &mut Vec<Action>) {
        if links.is_empty() {
            return;
        }
        let own = self.node_id().clone();
        let mut count = 1;
        loop {
            let messages: Vec<Bytes> = pieces(&news, count)
                .into_iter()
                .map(|news| {
                    let rumor = Rumor { news: Some(news), suspect: None };
                    encode("rumor", &own, self.kin.number(), &rumor)
                })
                .collect();
            let largest = messages.iter().map(Bytes::len).max().unwrap_or(0);
            if largest > self.own.gossip_bytes_max && count < PIECES_MAX {
                count = (count * (largest / self.own.gossip_bytes_max.max(1) + 1)).min(PIECES_MAX);
                continue;
            }
            for link in links {
                out.extend(messages.iter().map(|bytes| Action::Send { link: *link, bytes: bytes.clone() }));
            }
            return;
        }
    }

    /// What changed of kin, for the reference nodes that this node is linked with.
    pub(super) fn tell_others_of_kin(&mut self, changed: Delta, now: Now, out: &mut Vec<Action>) {
        if !changed.is_empty() {
            self.announce_own(changed, now, out);
        }
    }

    /// Renews the leases of living kin: all of them where a reference node or another cluster is to hear of it, else
    /// those that would not last until the second time from now.
    pub(super) fn renew_kin(&mut self, now: Now, out: &mut Vec<Action>) {
        let ttl = self.own.catalog_ttl_seconds;
        let is_alone = self.strangers(now).is_empty();
        let ending_before = if is_alone { now.wall + ttl * (2.0 / 3.0) } else { f64::INFINITY };
        let mut renewed = self.renew_leases_of_kin(ending_before, now);
        if !is_alone {
            renewed.drop_local();
            self.tell_others_of_kin(renewed, now, out);
        }
    }

    pub(super) fn renew_leases_of_kin(&mut self, ending_before: f64, now: Now) -> Delta {
        let (cluster, roster) = (&self.own.membership.cluster_id, &self.kin.roster);
        let alive = |c: &str, n: &str| *c == **cluster && roster.contains(n);
        if roster.is_empty() {
            return Delta::default();
        }
        self.catalog.renew(alive, ending_before, now.wall, self.own.catalog_ttl_seconds)
    }

    /// Takes out of gossip of the protocol what is of living kin: that is known better.
    pub(super) fn refuse_vouched(&mut self, origin: &Text, delta: &mut Delta) -> Vec<(Reason, String)> {
        let (cluster, roster) = (&self.own.membership.cluster_id, &self.kin.roster);
        if roster.is_empty() {
            return Vec::new();
        }
        if roster.contains(origin) {
            delta.topic_removals.clear();
        }
        delta.screen(|claim| {
            let known_better = claim.cluster_id == cluster && roster.contains(claim.node_id);
            known_better.then_some(Reason::EntryStale)
        })
    }

    /// A node has said goodbye; true if it was kin, of which everybody hears from itself.
    pub(super) fn kin_has_left(&mut self, node: &Text, now: Now) -> bool {
        let version = self.kin.roster.version(node);
        if let Some(version) = version {
            self.kin.roster.bury(node, version, now.mono);
            self.kin.swim.clear(node);
        }
        version.is_some()
    }

    pub(super) fn kin_gossip(
        &mut self,
        link: LinkId,
        peer: &Text,
        kind: GossipKind,
        gossip: &Gossip,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        if !self.own.kin {
            return;
        }
        if !self.is_kin(peer) {
            let text = format!("{peer} speaks as if it understood {EXTENSION} and has not said so");
            return refuse(out, Reason::NotEntitled, Some(link), text);
        }
        if !self.kin.hears(peer, now) {
            return refuse(out, Reason::RumoursLimit, Some(link), peer.to_string());
        }
        self.kin.swim.heard(peer);
        let read = match kind {
            GossipKind::AntiEntropy => decode(gossip).map(|e| self.exchange(link, peer, e, now, out)),
            GossipKind::Rumor => decode(gossip).map(|r| self.rumour(link, peer, r, now, out)),
            GossipKind::MembershipProbe => decode(gossip).map(|p| self.probe(peer, p, now, out)),
            GossipKind::MembershipAck => decode(gossip).map(|p| self.ack(peer, p, out)),
            GossipKind::MembershipIndirectProbe => decode(gossip).map(|p| self.probe_for(peer, p, out)),
            _ => Ok(()),
        };
        if let Err(malformed) = read {
            refuse(out, Reason::GossipMalformed, Some(link), malformed.to_string());
        }
    }

    pub(super) fn kin_timers(&mut self, now: Now, out: &mut Vec<Action>) {
        if now.mono < self.kin.next() || !self.own.kin {
            self.kin.swim.is_awake(now.mono);
            return;
        }
        let linked = self.linked_kin();
        if self.kin.compare_at.is_some_and(|at| now.mono >= at) {
            self.kin.compare_at = None;
            for node in &linked {
                let digest = Some(self.digest());
                self.exchange_with(node, Exchange { digest, ..Exchange::default() }, out);
            }
        }
        if self.kin.accused.is_some() {
            self.contradict(now, out);
        }
        for step in self.kin.swim.tick(now.mono, &linked, &mut self.chance) {
            self.do_step(step, now, out);
        }
        self.kin.roster.expire(now.mono);
        self.find_ways(&linked, now);
        self.trim_links(now, out);
    }

    /// Whether a node is known as a living member.
    pub(super) fn kin_contains(&self, node: &str) -> bool {
        self.kin.roster.contains(node)
    }

    pub(super) fn kin_members(&self) -> impl Iterator<Item = &Text> {
        self.kin.roster.members()
    }

    /// The date of the version of this node, in seconds since 1970.
    pub(super) fn kin_date(&self) -> f64 {
        self.kin.roster.own_version() as f64 / version_at(1.0) as f64
    }

    /// The version of this node goes on after a date of a former life.
    pub(super) fn resume_kin(&mut self, date: f64, now: Now) {
        self.kin.roster.raise(version_at(date), now.wall);
    }

    /// Kin that neither needs a link with this node nor is needed by it.
    pub(super) fn is_needless(&self, node: &str) -> bool {
        is_needless(&self.kin.roster, node)
    }

    fn do_step(&mut self, step: Step, now: Now, out: &mut Vec<Action>) {
        match step {
            Step::Probe { node, number } => {
                let probe =
                    Probe { number, digest: self.digest(), suspects: self.suspects(), ..Probe::default() };
                self.send_kin(&node, "membership_probe", &probe, out);
            }
            Step::Ask { node, number, through } => {
                for via in through {
                    let probe = Probe { number, node: Some(node.clone()), ..Probe::default() };
                    self.send_kin(&via, "membership_indirect_probe", &probe, out);
                }
            }
            Step::Suspect { node, lost } => {
                let Some(version) = self.kin.roster.version(&node) else { return };
                let suspect = Suspect { node, version, by: self.node_id().clone(), lost };
                self.suspect(suspect, None, now, out);
            }
            Step::Dead { node, version } => self.found_dead(&node, version, now, out),
        }
    }

    fn suspect(&mut self, suspect: Suspect, from: Option<&Text>, now: Now, out: &mut Vec<Action>) {
        let Suspect { node, version, by, lost } = &suspect;
        let members = self.kin.roster.len();
        if !self.kin.swim.suspect(node, *version, by, *lost, members, now.mono) {
            return;
        }
        // Over all links: the ways that news take may have broken with the one who is suspected.
        let bytes = {
            let own = self.node_id().clone();
            let rumor = Rumor { news: None, suspect: Some(suspect.clone()) };
            encode("rumor", &own, self.kin.number(), &rumor)
        };
        for to in self.linked_kin().iter().filter(|n| Some(*n) != from && **n != *by) {
            let link = self.membership.link_to(to);
            out.extend(link.map(|link| Action::Send { link, bytes: bytes.clone() }));
        }
    }

    fn found_dead(&mut self, node: &Text, version: u64, now: Now, out: &mut Vec<Action>) {
        if self.kin.roster.version(node).is_none_or(|known| known > version) {
            return;
        }
        out.push(Action::Log { level: log::Level::Warn, text: format!("{node} is dead") });
        let lost = self.last_known(node, &self.cluster_id().clone(), now);
        self.membership.remember([lost]);
        self.kin.roster.bury(node, version, now.mono);
        for link in self.membership.peer(node).map(|p| p.links().collect::<Vec<_>>()).unwrap_or_default() {
            out.push(Action::Close { link, code: CLOSE_GOING_AWAY, reason: "found dead" });
        }
        // Reference nodes are not told: they see for themselves, and the leases end.
        self.forget_entries(node, now, out);
    }

    fn forget_entries(&mut self, node: &Text, now: Now, out: &mut Vec<Action>) -> Delta {
        let (cluster, ttl) = (self.cluster_id().clone(), self.own.catalog_ttl_seconds);
        let nodes = BTreeSet::from([node.clone()]);
        let gone = self.catalog.replace(&cluster, &nodes, Delta::default(), now.wall, ttl).changed;
        self.told_by.remove(&cluster, node);
        self.routes.border_lost(node, now);
        self.look_around = true;
        if !gone.is_empty() {
            out.push(Action::CatalogChanged(Box::new(gone.clone())));
        }
        gone
    }

    fn rumour(&mut self, link: LinkId, peer: &Text, rumor: Rumor, now: Now, out: &mut Vec<Action>) {
        if let Some(news) = rumor.news {
            self.news(link, peer, news, now, out);
        }
        let Some(suspect) = rumor.suspect else { return };
        match self.kin.roster.judge(&suspect.node, suspect.version) {
            Standing::Own => self.accused_by(peer, suspect.version, now, out),
            Standing::Known if self.kin.roster.version(&suspect.node) == Some(suspect.version) => {
                self.suspect(suspect, Some(peer), now, out);
            }
            // Said of a life before, or of one that is over or not known here.
            Standing::Known | Standing::Dead | Standing::Newer(_) => {}
        }
    }

    fn news(&mut self, link: LinkId, peer: &Text, mut news: News, now: Now, out: &mut Vec<Action>) {
        if !self.in_time(news.to, peer, link, now, out) {
            return;
        }
        match self.kin.roster.judge(&news.node, news.to) {
            Standing::Own => self.outdo(news.to, now, out),
            Standing::Known => {
                refuse(out, Reason::MessageRepeated, Some(link), "");
                let told_everywhere = news.direct || news.delta.is_empty();
                if self.kin.roster.is_large() && !told_everywhere && self.comes_otherwise(&news.node, peer) {
                    self.kin.quiet.insert(peer.clone());
                    self.exchange_with(peer, Exchange { prune: true, ..Exchange::default() }, out);
                }
            }
            Standing::Dead => {
                refuse(out, Reason::EntryStale, Some(link), format!("{} was found dead", news.node));
                let death = self.kin.roster.death(&news.node).unwrap_or(news.to);
                let doubts = [(news.node, death)].into();
                self.exchange_with(peer, Exchange { doubts, ..Exchange::default() }, out);
            }
            Standing::Newer(known) if news.left => {
                self.kin.roster.bury(&news.node, news.to.max(known), now.mono);
                self.kin.swim.clear(&news.node);
                let gone = self.forget_entries(&news.node.clone(), now, out);
                self.tell_others_of_kin(gone, now, out);
                if !news.direct {
                    self.push(news, Some(peer), out);
                }
            }
            Standing::Newer(known) if news.from == 0 || news.from == known => {
                self.screen_kin(&BTreeSet::from([news.node.clone()]), &mut news.delta.0, link, out);
                self.learn(
                    [(news.node.clone(), news.to)].into(),
                    news.from == 0,
                    &news.delta.0,
                    peer,
                    now,
                    out,
                );
                if !news.direct {
                    self.push(news, Some(peer), out);
                }
            }
            Standing::Newer(_) => {
                // Something in between did not come here; the sender has it.
                let pull = vec![news.node];
                self.kin.quiet.remove(peer);
                self.exchange_with(peer, Exchange { pull, graft: true, ..Exchange::default() }, out);
            }
        }
    }

    /// Whether news of a node came here from another peer that goes on telling.
    fn comes_otherwise(&self, node: &Text, peer: &Text) -> bool {
        let first = self.told_by.of(self.cluster_id(), node).filter(|first| **first != **peer);
        first.is_some_and(|first| !self.kin.quiet.contains(first) && self.membership.link_to(first).is_some())
    }

    /// Makes what members say known here: all that they say where it is `whole`, else a change of it.
    fn learn(
        &mut self,
        states: VersionList,
        whole: bool,
        delta: &Delta,
        peer: &Text,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let (cluster, ttl) = (self.cluster_id().clone(), self.own.catalog_ttl_seconds);
        let nodes: BTreeSet<Text> = states.keys().cloned().collect();
        let applied = match nodes.first() {
            Some(node) if !whole => self.catalog.vouch(&cluster, node, delta.clone(), now.wall, ttl),
            _ => self.catalog.replace(&cluster, &nodes, delta.clone(), now.wall, ttl),
        };
        super::gossip::told(applied.refused, None, out);
        for (node, version) in &states {
            self.kin.roster.learn(node, *version);
            self.kin.swim.clear(node);
            self.kin.pulling.remove(node);
            self.membership.found(node);
            self.told_by.add(&cluster, node, peer);
        }
        self.look_around = true;
        if !applied.changed.is_empty() {
            self.tell_others_of_kin(applied.changed.clone(), now, out);
            out.push(Action::CatalogChanged(Box::new(applied.changed)));
        }
    }

    /// Leaves what is of these nodes.
    fn screen_kin(&mut self, nodes: &BTreeSet<Text>, delta: &mut Delta, link: LinkId, out: &mut Vec<Action>) {
        let cluster = self.cluster_id().clone();
        delta.drop_local();
        let refused = delta.screen(|claim| {
            let theirs = *claim.cluster_id == cluster && nodes.contains(claim.node_id);
            (!theirs).then_some(Reason::NotEntitled)
        });
        super::gossip::told(refused, Some(link), out);
        self.refuse_unspeakable(delta, Some(link), out);
    }

    /// A peer has heard doubts that this node lives. Where they are contradicted already, it has not heard of that.
    fn accused_by(&mut self, peer: &Text, version: u64, now: Now, out: &mut Vec<Action>) {
        if self.stopping {
            return;
        }
        if version < self.kin.roster.own_version() {
            return self.compare_with(peer, out);
        }
        if version > version_at(now.wall + 2.0 * SKEW_SECONDS_MAX) {
            return refuse(out, Reason::ClockSkew, None, "a version of this node that it never had");
        }
        self.kin.accused = Some(self.kin.accused.map_or(version, |before| before.max(version)));
        self.contradict(now, out);
    }

    /// Says that it lives, under a version that nobody doubts yet; not more often than makes sense.
    fn contradict(&mut self, now: Now, out: &mut Vec<Action>) {
        if now.mono < self.kin.contradict_at {
            return;
        }
        let own = self.kin.roster.own_version();
        if let Some(version) = self.kin.accused.take().filter(|version| *version >= own) {
            self.kin.contradict_at = now.mono + self.kin.swim.period() / 4;
            self.kin.swim.was_suspected();
            let to = self.kin.roster.raise(version, now.wall);
            self.tell_change(own, to, Delta::default(), false, out);
        }
    }

    /// Somebody remembers a later version of this node than it has: of a life before, when its clock was ahead.
    fn outdo(&mut self, version: u64, now: Now, out: &mut Vec<Action>) {
        if version <= self.kin.roster.own_version() || self.stopping || now.mono < self.kin.contradict_at {
            return;
        }
        if version > version_at(now.wall + 2.0 * SKEW_SECONDS_MAX) {
            return refuse(out, Reason::ClockSkew, None, "a version of this node that it never had");
        }
        self.kin.contradict_at = now.mono + self.kin.swim.period() / 4;
        let to = self.kin.roster.raise(version, now.wall);
        let node = self.node_id().clone();
        let mut delta = self.catalog.excerpt_of(self.cluster_id(), std::iter::once(&node));
        delta.drop_local();
        let news = News { node, from: 0, to, delta: Compact(delta), direct: false, left: false };
        self.push(news, None, out);
    }

    fn in_time(&mut self, version: u64, peer: &Text, link: LinkId, now: Now, out: &mut Vec<Action>) -> bool {
        let good = version <= version_at(now.wall + SKEW_SECONDS_MAX);
        if !good {
            refuse(out, Reason::ClockSkew, Some(link), format!("a version that {peer} tells of"));
        }
        good
    }

    fn probe(&mut self, peer: &Text, probe: Probe, now: Now, out: &mut Vec<Action>) {
        let ack = Probe { number: probe.number, asker: probe.asker.clone(), ..Probe::default() };
        self.send_kin(peer, "membership_ack", &ack, out);
        if probe.asker.is_some() {
            return;
        }
        if probe.digest != self.digest() {
            self.compare_with(peer, out);
        }
        let own = self.node_id().clone();
        if let Some(version) = probe.suspects.get(&own) {
            self.accused_by(peer, *version, now, out);
        }
    }

    /// Probes a node on behalf of a peer, where there is a link.
    fn probe_for(&mut self, peer: &Text, asked: Probe, out: &mut Vec<Action>) {
        let Some(node) = asked.node.filter(|node| self.is_kin(node)) else { return };
        let probe = Probe { number: asked.number, asker: Some(peer.clone()), ..Probe::default() };
        self.send_kin(&node, "membership_probe", &probe, out);
    }

    fn ack(&mut self, peer: &Text, ack: Probe, out: &mut Vec<Action>) {
        match (ack.asker, ack.node) {
            (Some(asker), _) => {
                let ack = Probe { number: ack.number, node: Some(peer.clone()), ..Probe::default() };
                if self.is_kin(&asker) {
                    self.send_kin(&asker, "membership_ack", &ack, out);
                }
            }
            (None, Some(node)) => self.kin.swim.answered(&node, ack.number),
            (None, None) => self.kin.swim.answered(peer, ack.number),
        }
    }

    fn suspects(&self) -> VersionList {
        self.kin.swim.suspicions().take(SUSPECTS_TOLD_MAX).map(|(n, v)| (n.clone(), v)).collect()
    }

    pub(super) fn digest(&mut self) -> Digest {
        self.list_others();
        Digest { kin: self.kin.roster.digest(), others: self.kin.others.sum }
    }

    /// Makes the list of other nodes anew where one has come or gone.
    pub(super) fn list_others(&mut self) {
        let of = Some((self.catalog.listing_of_nodes(), self.kin.roster.generation()));
        if self.kin.others.of == of {
            return;
        }
        let own = &self.own.membership;
        let is_other = |n: &&Arc<NodeEntry>| {
            n.cluster_id != own.cluster_id
                || n.node_id != own.node_id && !self.kin.roster.contains(&n.node_id)
        };
        let (mut nodes, mut sum) = (Vec::new(), 0u64);
        for node in self.catalog.nodes().filter(is_other) {
            let key = node.key();
            if node.scope != Scope::Local && self.catalog.is_confirmed(&key) {
                sum = sum.wrapping_add(mix(hash(&node.node_id) ^ mix(hash(&node.cluster_id))));
            }
            nodes.push(key);
        }
        self.kin.others = Others { of, nodes, sum };
    }

    /// Finds the ways anew where something has changed: soon, but not for each of many changes.
    fn find_ways(&mut self, linked: &[Text], now: Now) {
        let of = self.kin.ways_now();
        if self.kin.ways_of == of || now.mono < self.kin.next_ways_at {
            return;
        }
        self.kin.ways_of = of;
        self.kin.next_ways_at = now.mono + self.kin.swim.period() / WAYS_PER_PERIOD;
        let Kin { roster, swim, .. } = &self.kin;
        self.kin.ways = match roster.is_large() {
            true => roster.ways(linked, |node| swim.suspects(node)),
            false => Ways::default(),
        };
    }

    /// Ends links that nobody needs any more, a few at a time, unless a call is under way on them.
    fn trim_links(&mut self, now: Now, out: &mut Vec<Action>) {
        if now.mono < self.kin.next_trim || !self.kin.roster.is_large() {
            return;
        }
        self.kin.next_trim = now.mono + self.kin.swim.period() * 2;
        let linked = self.linked_kin();
        let needless = linked.iter().filter(|node| self.is_needless(node));
        let links = needless.filter_map(|node| self.membership.link_to(node)).filter(|link| {
            let settled = self.membership.age(*link, now) > self.kin.swim.period() * TRIM_AFTER_PERIODS;
            self.membership.is_dialled(*link) && settled && !self.calls.are_under_way_over(*link)
        });
        let close = |link| Action::Close { link, code: CLOSE_NORMAL, reason: "not needed" };
        out.extend(links.take(TRIMMED_AT_ONCE).map(close));
    }

    fn exchange_with(&mut self, peer: &Text, exchange: Exchange, out: &mut Vec<Action>) {
        self.send_kin(peer, "anti_entropy", &exchange, out);
    }

    fn encode_exchange(&mut self, exchange: &Exchange) -> Bytes {
        let own = self.node_id().clone();
        encode("anti_entropy", &own, self.kin.number(), exchange)
    }

    fn send_kin<T: serde::Serialize>(
        &mut self,
        peer: &Text,
        kind: &'static str,
        payload: &T,
        out: &mut Vec<Action>,
    ) {
        if let Some(link) = self.membership.link_to(peer) {
            let own = self.node_id().clone();
            out.push(Action::Send { link, bytes: encode(kind, &own, self.kin.number(), payload) });
        }
    }
}

pub(super) fn is_needless(roster: &Roster, node: &str) -> bool {
    roster.is_large() && roster.contains(node) && !roster.neighbours().contains(node)
}

/// News in so many pieces, each a change of the one before: versions rise in steps that leave room for them.
fn pieces(news: &News, count: usize) -> Vec<News> {
    if count <= 1 {
        return vec![news.clone()];
    }
    let parts = news.delta.0.pieces(count);
    let count = parts.len() as u64;
    let piece = |(nth, delta): (usize, Delta)| {
        let (nth, last) = (nth as u64, nth as u64 + 1 == count);
        News {
            node: news.node.clone(),
            from: if nth == 0 { news.from } else { news.to - count + nth },
            to: news.to - count + nth + 1,
            delta: Compact(delta),
            direct: news.direct,
            left: news.left && last,
        }
    };
    parts.into_iter().enumerate().map(piece).collect()
}

/// Per period and sender; beyond, a member floods.
const MESSAGES_PER_PERIOD: u32 = 500;
const MESSAGES_PER_MEMBER: u32 = 20;
/// In a probe.
const SUSPECTS_TOLD_MAX: usize = 8;
/// Kept in mind for so many peers before the old ones are forgotten.
const OTHERS_TOLD_MAX: usize = 100;
/// Links that nobody needs are kept for so long: an order of the rings that is new may change again.
const TRIM_AFTER_PERIODS: u32 = 6;
const TRIMMED_AT_ONCE: usize = 8;
/// Ways are found anew at most so often.
const WAYS_PER_PERIOD: u32 = 10;
/// Less than the step between two versions.
const PIECES_MAX: usize = 1000;
