//! Gossip: what this node tells of itself, what it passes on, and what it believes (fabric.md 5).
//!
//! Own entries are announced when they change and refreshed long before they expire. What changed something here is
//! passed on once, to everybody but those who have it or are being told by its sender. A node speaks for itself and its cluster; nobody speaks for
//! this node. A message is known by its id alone: the digest of the reference repeats after a restart and would
//! silence news (20.2 C8).

use std::collections::BTreeSet;

use serde_json::value::to_raw_value;

use super::seen::{Seen, is_bounded};
use super::*;
use crate::core::catalog::{Entry, FunctionKey, SKEW_SECONDS_MAX};
use crate::core::membership::Peer;
use crate::wire::fabric::{Clock, Gossip, GossipKind, Str};

/// When and under which numbers this node speaks.
#[derive(Debug)]
pub(super) struct Announcer {
    pub seen: Seen,
    sequence: i64,
    /// The last date given to an own entry; the next is later, so that no two announcements tie.
    pub dated: f64,
    /// All own entries are dated then or later.
    all_dated: f64,
    next_node: Duration,
    next_all: Duration,
    node_every_seconds: f64,
    all_every_seconds: f64,
}

/// A peer that gossip goes to.
#[derive(Clone)]
pub(super) struct Listener {
    pub node: Text,
    pub cluster: Text,
    pub link: LinkId,
    /// Has said STATUS lately.
    pub lively: bool,
}

impl Announcer {
    pub fn new(own: &Settings, now: Now, chance: &mut Chance) -> Announcer {
        let (ttl, interval) = (own.catalog_ttl_seconds, own.membership.gossip_interval_seconds);
        let node_every_seconds = (2.0 * interval).max(NODE_REFRESH_SECONDS_MIN).min(ttl / 4.0);
        let all_every_seconds = ttl / 3.0;
        Announcer {
            seen: Seen::new(MESSAGES_REMEMBERED),
            sequence: 0,
            dated: 0.0,
            all_dated: now.wall,
            next_node: later(now, node_every_seconds, chance),
            next_all: later(now, all_every_seconds, chance),
            node_every_seconds,
            all_every_seconds,
        }
    }

    pub fn next(&self) -> Duration {
        self.next_node.min(self.next_all)
    }

    /// The last date given to an own entry.
    pub fn dated(&self) -> f64 {
        self.dated
    }

    /// Goes on after `date`, and with numbers after those of `floor`.
    pub fn resume(&mut self, date: f64, floor: f64) {
        self.dated = self.dated.max(date);
        self.sequence = self.sequence.max((floor * 1000.0) as i64);
    }

    fn date(&mut self, now: Now) -> f64 {
        self.dated = now.wall.max(self.dated + DATE_STEP);
        self.dated
    }

    /// Numbers follow the clock, so that those of a former life are not used again.
    fn number(&mut self, now: Now) -> i64 {
        self.sequence = (self.sequence + 1).max((now.wall * 1000.0) as i64);
        self.sequence
    }
}

impl Fabric {
    pub(super) fn local_functions(&mut self, functions: Vec<FunctionEntry>, now: Now, out: &mut Vec<Action>) {
        let mut delta =
            Delta { functions: functions.into_iter().map(Arc::new).collect(), ..Delta::default() };
        delta.claim(&self.own.membership.cluster_id, &self.own.membership.node_id);
        let kept: BTreeSet<FunctionKey> = delta.functions.iter().map(|f| f.key()).collect();
        let mut gone = self.catalog.holdings(self.node_id()).function_removals;
        gone.retain(|key| !kept.contains(key));
        delta.function_removals = gone;
        self.local(delta, now, out);
    }

    /// Own entries come or go: here, and by gossip everywhere unless they are local.
    pub(super) fn local(&mut self, mut delta: Delta, now: Now, out: &mut Vec<Action>) {
        delta.claim(&self.own.membership.cluster_id, &self.own.membership.node_id);
        let privacy = self.catalog.privacy(&delta);
        let changed = privacy.outward(self.change_own(delta, now, out));
        if !changed.is_empty() {
            self.announce_own(changed.clone(), now, out);
            self.tell_kin(changed, false, now, out);
        }
    }

    /// Applies a change of own entries, dated now; the answer is what it changed.
    pub(super) fn change_own(&mut self, mut delta: Delta, now: Now, out: &mut Vec<Action>) -> Delta {
        let date = self.announcer.date(now);
        delta.stamp(date, self.own.catalog_ttl_seconds);
        delta.cluster_id = self.cluster_id().clone();
        delta.sent_at = date;
        self.refuse_unspeakable(&mut delta, None, out);
        let own = self.node_id().clone();
        let applied = self.catalog.apply_own(&own, delta, now.wall);
        told(applied.refused, None, out);
        if !applied.changed.is_empty() {
            out.push(Action::CatalogChanged(Box::new(applied.changed.clone())));
        }
        applied.changed
    }

    /// Refreshes what is due of the own entries. They never expire here: where a process was held up for longer than
    /// a lease, or its clock was set, all of them are due.
    pub(super) fn refresh(&mut self, now: Now, out: &mut Vec<Action>) {
        let lapsed = now.wall > self.announcer.all_dated + self.own.catalog_ttl_seconds;
        if now.mono < self.announcer.next() && !lapsed {
            return;
        }
        let own = self.node_id().clone();
        let all = lapsed || now.mono >= self.announcer.next_all;
        let delta = if all {
            self.catalog.excerpt_of(self.cluster_id(), std::iter::once(&own))
        } else {
            Delta { nodes: vec![Arc::new(self.own_node())], ..Delta::default() }
        };
        if all {
            self.announcer.all_dated = now.wall;
            self.announcer.next_all = later(now, self.announcer.all_every_seconds, &mut self.chance);
        }
        self.announcer.next_node = later(now, self.announcer.node_every_seconds, &mut self.chance);
        let privacy = self.catalog.privacy(&delta);
        let changed = privacy.outward(self.change_own(delta, now, out));
        // Other clusters of this program take the word of a lease; reference nodes are told as they tell others.
        let mut to = self.strangers(now);
        to.retain(|listener| all || self.membership.peer(&listener.node).is_none_or(|peer| !peer.extends));
        if !changed.is_empty() && !to.is_empty() {
            self.say(changed, "", true, &to, now, out);
        }
        if all {
            self.renew_kin(now, out);
        }
    }

    /// Tells a new link everything: first the own entries, for it to pass on, then those of the others; a member of the
    /// own cluster gets these for itself alone, another cluster for all its nodes. Routes go before the entries that
    /// they entitle us to pass on.
    pub(super) fn introduce(&mut self, link: LinkId, now: Now, out: &mut Vec<Action>) {
        let (own, own_cluster) = (self.node_id().clone(), self.cluster_id().clone());
        let Some(cluster) = self.membership.cluster_of(link).cloned() else { return };
        let to = [Listener { node: "".into(), cluster: cluster.clone(), link, lively: false }];
        let mut mine = self.catalog.excerpt_of(&own_cluster, std::iter::once(&own));
        mine.drop_local();
        if !mine.is_empty() {
            self.say(mine, "", true, &to, now, out);
        }
        self.introduce_routes(&cluster, &to, now, out);
        self.renew_leases_of_kin(f64::INFINITY, now);
        let mut others = self.catalog.confirmed(|_, node| *node != *own);
        others.drop_local();
        if !others.is_empty() {
            let (label, passed_on) = if cluster == own_cluster { ("snapshot:", false) } else { ("", true) };
            self.say(others, label, passed_on, &to, now, out);
        }
    }

    /// Tells a new link to kin what it does not hear of kin itself.
    pub(super) fn introduce_others(&mut self, link: LinkId, now: Now, out: &mut Vec<Action>) {
        let to = [Listener { node: "".into(), cluster: self.cluster_id().clone(), link, lively: false }];
        let own = &self.own.membership;
        let is_kin = |node: &str| *node == *own.node_id || self.kin.roster.contains(node);
        let mut others = self.catalog.confirmed(|c, node| *c != *own.cluster_id || !is_kin(node));
        others.drop_local();
        if !others.is_empty() {
            self.say(others, "snapshot:", false, &to, now, out);
        }
    }

    /// Gossips a change that this node made or vouches for to the reference nodes among its peers.
    pub(super) fn announce_own(&mut self, delta: Delta, now: Now, out: &mut Vec<Action>) {
        let to = self.strangers(now);
        if !to.is_empty() {
            self.say(delta, "", true, &to, now, out);
        }
    }

    /// The peers that hear of this node by gossip of the protocol.
    pub(super) fn strangers(&self, now: Now) -> Vec<Listener> {
        // A member of the roster that has not said STATUS on its new link yet is no stranger.
        let is_own = |listener: &Listener| {
            self.is_kin(&listener.node)
                || listener.cluster == *self.cluster_id() && self.kin_contains(&listener.node)
        };
        let mut all = self.listeners(&[], now);
        all.retain(|listener| !is_own(listener));
        all
    }

    /// A node has left: what it held goes, here and, by our word, everywhere.
    pub(super) fn withdraw_node(&mut self, cluster: &Text, node: &Text, now: Now, out: &mut Vec<Action>) {
        let is_own = !self.is_foreign(cluster);
        let was_kin = is_own && self.kin_has_left(node, now);
        self.told_by.remove(cluster, node);
        if is_own {
            self.routes.border_lost(node, now);
        }
        let mut delta = self.catalog.departure(cluster, node);
        if delta.is_empty() {
            return;
        }
        let leaves = delta.node_removals.clone();
        delta.sent_at = now.wall + SKEW_SECONDS_MAX; // whatever the clock of the departed says
        let own = self.node_id().clone();
        let mut applied = self.catalog.apply_from(&own, delta, now.wall);
        told(applied.refused, None, out);
        out.push(Action::CatalogChanged(Box::new(applied.changed.clone())));
        let mut to = self.listeners(&[], now);
        to.retain(|listener| !was_kin || !self.is_kin(&listener.node));
        if !to.is_empty() {
            // Subscriptions without their node would be taken for everybody's.
            applied.changed.node_removals = leaves;
            self.say(applied.changed, "", true, &to, now, out);
        }
    }

    pub(super) fn gossip(&mut self, link: LinkId, gossip: &Gossip, now: Now, out: &mut Vec<Action>) {
        let Some(peer) = self.membership.speaker(link).cloned() else {
            return;
        };
        if *gossip.sender_id != *peer {
            let text = format!("{peer} sends gossip as {}", &*gossip.sender_id);
            return refuse(out, Reason::NotEntitled, Some(link), text);
        }
        let Some(kind) = gossip.kind() else {
            let text = format!("{peer} sends gossip of kind {:?}", &*gossip.message_type);
            return refuse(out, Reason::GossipUnknownKind, Some(link), text);
        };
        if !is_bounded(&[&gossip.message_id], &[&gossip.propagation_path]) {
            let text = format!("the id or the path of gossip of {peer} is too long");
            return refuse(out, Reason::GossipMalformed, Some(link), text);
        }
        if matches!(
            kind,
            GossipKind::AntiEntropy
                | GossipKind::Rumor
                | GossipKind::MembershipProbe
                | GossipKind::MembershipAck
                | GossipKind::MembershipIndirectProbe
        ) {
            return self.kin_gossip(link, &peer, kind, gossip, now, out);
        }
        if gossip.expires_at > 0.0 && now.wall > gossip.expires_at + SKEW_SECONDS_MAX {
            return refuse(out, Reason::EntryExpired, Some(link), "a gossip message that has expired");
        }
        if !self.announcer.seen.add(&gossip.message_id) {
            return refuse(out, Reason::MessageRepeated, Some(link), "");
        }
        if kind != GossipKind::CatalogUpdate && !self.membership.is_confirmed(link) {
            let text = format!("{peer} speaks of routes before its STATUS");
            return refuse(out, Reason::NotEntitled, Some(link), text);
        }
        match kind {
            GossipKind::CatalogUpdate => self.catalog_update(link, &peer, gossip, now, out),
            GossipKind::RouteAdvertisement => self.route_advertisement(link, &peer, gossip, now, out),
            GossipKind::RouteWithdrawal => self.route_withdrawal(link, &peer, gossip, now, out),
            GossipKind::LinkStateUpdate => self.link_state_update(link, &peer, gossip, now, out),
            GossipKind::RouteKeyAnnouncement => self.route_keys(link, gossip, now, out),
            _ => {}
        }
    }

    fn catalog_update(
        &mut self,
        link: LinkId,
        peer: &Text,
        gossip: &Gossip,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let (mut delta, bad) = match gossip.delta() {
            Ok(read) => read,
            Err(malformed) => {
                return refuse(out, Reason::GossipMalformed, Some(link), malformed.to_string());
            }
        };
        told(bad.into_iter().map(|m| (Reason::EntryMalformed, m.to_string())).collect(), Some(link), out);
        let origin = gossip.propagation_path.first().unwrap_or(&gossip.sender_id).to_text();
        let Some(speaker) = self.membership.cluster_of(link).cloned() else { return };
        self.refuse_unentitled((&speaker, &origin), &mut delta, link, now, out);
        let known_better = self.refuse_vouched(&origin, &mut delta);
        told(known_better, Some(link), out);
        self.refuse_unspeakable(&mut delta, Some(link), out);
        let Some(changed) = self.take_in(delta, &origin, peer, link, now, out) else { return };
        if !changed.is_empty() {
            self.pass_on(link, peer, gossip, &changed, now, out);
        }
    }

    /// Applies what a peer told; the answer is what is to be passed on, `None` where nothing has changed.
    pub(super) fn take_in(
        &mut self,
        delta: Delta,
        origin: &Text,
        peer: &Text,
        link: LinkId,
        now: Now,
        out: &mut Vec<Action>,
    ) -> Option<Delta> {
        let mut passed_on = delta.clone();
        passed_on.drop_local();
        let listing = self.catalog.listing_of_nodes();
        let applied = self.catalog.apply_from(origin, delta, now.wall);
        told(applied.refused, Some(link), out);
        if applied.changed.is_empty() {
            return None;
        }
        // Nodes that are only renewed are nobody new to dial.
        self.look_around |= self.catalog.listing_of_nodes() != listing;
        let functions = applied.changed.functions.iter().map(|f| (&f.cluster_id, &f.node_id));
        let nodes = applied.changed.nodes.iter().map(|n| (&n.cluster_id, &n.node_id));
        for (cluster, node) in nodes.chain(functions) {
            self.told_by.add(cluster, node, peer);
        }
        self.forget_tellers();
        for gone in &applied.changed.node_removals {
            self.told_by.remove(&gone.cluster_id, &gone.node_id);
            if !self.is_foreign(&gone.cluster_id) {
                self.routes.border_lost(&gone.node_id, now);
            }
        }
        out.push(Action::CatalogChanged(Box::new(applied.changed)));
        Some(passed_on)
    }

    /// Nodes whose functions came and went without an entry of their own would be remembered for ever.
    fn forget_tellers(&mut self) {
        if self.told_by.len() <= self.tellers_max {
            return;
        }
        let functions = self.catalog.functions().map(|f| (&f.cluster_id, &f.node_id));
        let nodes = self.catalog.nodes().map(|n| (&n.cluster_id, &n.node_id));
        let known: BTreeSet<(&Text, &Text)> = nodes.chain(functions).collect();
        self.told_by.retain(|cluster, node| known.contains(&(cluster, node)));
        self.tellers_max = TELLERS_MIN.max(self.told_by.len() * 2);
    }

    /// Takes out what reference nodes could not read: they would end the link over it.
    pub(super) fn refuse_unspeakable(&self, delta: &mut Delta, link: Option<LinkId>, out: &mut Vec<Action>) {
        delta.functions.retain(|f| {
            let plain = f.identity.version.0.pre.is_empty();
            if !plain {
                let text = format!("function {}: a version with a pre-release part", f.identity.name);
                refuse(out, Reason::EntryMalformed, link, text);
            }
            plain
        });
    }

    /// Passes a change on to the peers that have not had it.
    fn pass_on(
        &mut self,
        link: LinkId,
        from: &Text,
        gossip: &Gossip,
        delta: &Delta,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let Some(to) = self.next_listeners(link, from, gossip, now, out) else { return };
        for (cluster, to) in by_cluster(&to) {
            let part = self.outward(&cluster, delta.clone());
            if let Some(payload) = to_raw_value(&part).ok().filter(|_| !part.is_empty()) {
                self.relay(gossip, &payload, &cluster, &to, out);
            }
        }
    }

    /// Passes gossip on whose payload stays as it is, to the peers of clusters for which `wanted` holds.
    pub(super) fn pass_on_as_it_is(
        &mut self,
        link: LinkId,
        from: &Text,
        gossip: &Gossip,
        wanted: impl Fn(&str) -> bool,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let Some(payload) = gossip.payload else { return };
        let Some(to) = self.next_listeners(link, from, gossip, now, out) else { return };
        for (cluster, to) in by_cluster(&to).into_iter().filter(|(cluster, _)| wanted(cluster)) {
            self.relay(gossip, payload, &cluster, &to, out);
        }
    }

    /// Who has not had a message, under the rules of 5.1; `None` where it goes no further.
    fn next_listeners(
        &self,
        link: LinkId,
        from: &Text,
        gossip: &Gossip,
        now: Now,
        out: &mut Vec<Action>,
    ) -> Option<Vec<Listener>> {
        let own = self.node_id();
        if gossip.ttl <= 0 || gossip.hop_count >= gossip.max_hops {
            if gossip.max_hops > 0 {
                refuse(out, Reason::HopBudget, Some(link), "gossip that has gone far enough");
            }
            return None;
        }
        if gossip.propagation_path.iter().any(|node| **node == **own) {
            refuse(out, Reason::RouteLoop, Some(link), "gossip that has been here");
            return None;
        }
        let mut visited: Vec<&str> = gossip.propagation_path.iter().map(|n| &**n).collect();
        visited.extend(gossip.seen_by.iter().map(|n| &**n));
        visited.push(from);
        Some(self.listeners(&visited, now)).filter(|to| !to.is_empty())
    }

    /// Sends the next hop of gossip.
    pub(super) fn relay(
        &self,
        gossip: &Gossip,
        payload: &RawValue,
        cluster: &str,
        to: &[Listener],
        out: &mut Vec<Action>,
    ) {
        let own = self.node_id().clone();
        let mut next = gossip.clone();
        next.sender_id = Str::from(&own);
        next.payload = Some(payload);
        next.vector_clock = next.vector_clock.tick(&own);
        next.ttl -= 1;
        next.hop_count += 1;
        next.propagation_path.push(Str::from(&own));
        if *cluster != **self.cluster_id() {
            // Hops are counted within a cluster; a chain of clusters may be longer. Loops end by path, id and content.
            next.ttl = next.ttl.max(GOSSIP_TTL - 1);
            next.max_hops = next.max_hops.max(next.hop_count.saturating_add(self.own.hops_max));
        }
        send_to_all(next, to, out);
    }

    /// Peers that are not in `except`.
    pub(super) fn listeners(&self, except: &[&str], now: Now) -> Vec<Listener> {
        let fresh = gossip_interval(&self.own) * REPORTS_MISSED_MAX;
        let peers = self.membership.connected().filter(|(node, _)| !except.contains(&&***node));
        let listener = |(node, peer): (&Text, &Peer)| {
            let heard = peer.report.as_ref().map(|r| now.mono.saturating_sub(r.received_at));
            let lively = peer.extends || heard.is_some_and(|ago| ago <= fresh);
            let (node, cluster) = (node.clone(), peer.cluster_id.clone());
            Some(Listener { link: self.membership.link_to(&node)?, node, cluster, lively })
        };
        peers.filter_map(listener).collect()
    }

    /// Sends a delta as gossip of this node to those who may know of it. What is `passed_on` goes through the whole
    /// cluster, the rest one hop.
    pub(super) fn say(
        &mut self,
        delta: Delta,
        label: &str,
        passed_on: bool,
        to: &[Listener],
        now: Now,
        out: &mut Vec<Action>,
    ) {
        for (cluster, to) in by_cluster(to) {
            let part = self.outward(&cluster, delta.clone());
            if !part.is_empty() {
                self.say_alike(part, label, passed_on, &to, now, out);
            }
        }
    }

    /// The same for listeners of one cluster, in as many messages as the size of the delta needs.
    fn say_alike(
        &mut self,
        mut delta: Delta,
        label: &str,
        passed_on: bool,
        to: &[Listener],
        now: Now,
        out: &mut Vec<Action>,
    ) {
        if delta.cluster_id.is_empty() {
            delta.cluster_id = self.cluster_id().clone();
        }
        if delta.sent_at <= 0.0 || delta.sent_at > now.wall {
            delta.sent_at = now.wall.max(self.announcer.dated);
        }
        let around = ENVELOPE_BYTES + to.iter().map(|l| l.node.len() + 3).sum::<usize>();
        let max = self.own.gossip_bytes_max.saturating_sub(around);
        let mut waiting = vec![delta];
        while let Some(mut delta) = waiting.pop() {
            let kind = if passed_on { "" } else { "catalog-snapshot:" };
            delta.update_id = format!("{kind}{}", self.chance.uuid()).into();
            let payload = to_raw_value(&delta).unwrap_or_else(|_| raw("{}"));
            let (lines, size) = (delta.counts().iter().map(|(_, n)| n).sum(), payload.get().len());
            if size <= max {
                self.say_one("catalog_update", &payload, label, passed_on, to, now, out);
            } else if lines > 1 {
                let pieces = delta.pieces((size / max.max(1) + 1).clamp(2, lines));
                waiting.extend(pieces.into_iter().rev());
            } else {
                refuse(out, Reason::MessageTooLarge, None, format!("an entry of {size} bytes"));
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one envelope has that many parts")]
    pub(super) fn say_one(
        &mut self,
        kind: &str,
        payload: &RawValue,
        label: &str,
        passed_on: bool,
        to: &[Listener],
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let own = self.node_id().clone();
        let id = format!("{own}:{label}{}", self.chance.uuid());
        let (hops, ttl, max_hops) =
            if passed_on { (1, GOSSIP_TTL - 1, self.own.hops_max) } else { (0, 0, 0) };
        let sequence_number = self.announcer.number(now);
        self.announcer.seen.add(&id);
        let gossip = Gossip {
            message_id: id.into(),
            message_type: kind.into(),
            sender_id: Str::from(&own),
            payload: Some(payload),
            vector_clock: Clock::default().tick(&own),
            sequence_number,
            ttl,
            hop_count: hops,
            max_hops,
            digest: "".into(),
            checksum: "".into(),
            created_at: now.wall,
            expires_at: now.wall + GOSSIP_SECONDS,
            propagation_path: if passed_on { vec![Str::from(&own)] } else { Vec::new() },
            seen_by: Vec::new(),
        };
        send_to_all(gossip, to, out);
    }
}

/// Listeners by their cluster.
fn by_cluster(to: &[Listener]) -> BTreeMap<Text, Vec<Listener>> {
    let mut groups: BTreeMap<Text, Vec<Listener>> = BTreeMap::new();
    for listener in to {
        groups.entry(listener.cluster.clone()).or_default().push(listener.clone());
    }
    groups
}

/// Sends gossip to each of these, with the others in its list of who has seen it, so that nobody of them is told again:
/// news in a full mesh cost one message for each node. Nobody is in its own list, because a reference node passes on
/// nothing that it is said to have seen (5.5), and nobody who has been silent, because what we send may not arrive.
pub(super) fn send_to_all<'a>(mut gossip: Gossip<'a>, to: &'a [Listener], out: &mut Vec<Action>) {
    let before = gossip.seen_by.len();
    for Listener { node, link, .. } in to {
        gossip.seen_by.truncate(before);
        let others = to.iter().filter(|other| other.lively && other.node != *node);
        gossip.seen_by.extend(others.map(|other| Str::from(&other.node)));
        out.push(Action::Send { link: *link, bytes: gossip.encode() });
    }
}

/// Refusals of one message, one action for each reason.
pub(super) fn told(refused: Vec<(Reason, String)>, link: Option<LinkId>, out: &mut Vec<Action>) {
    let mut by_reason: BTreeMap<Reason, (usize, String)> = BTreeMap::new();
    for (reason, text) in refused {
        by_reason.entry(reason).or_insert((0, text)).0 += 1;
    }
    let action = |(reason, (count, text))| Action::Refused { reason, link, count, text };
    out.extend(by_reason.into_iter().map(action));
}

fn later(now: Now, seconds: f64, chance: &mut Chance) -> Duration {
    // Only ever earlier than asked: the lease must not run out.
    let seconds = chance.jittered(seconds * 0.8);
    now.mono + Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// As the reference (fabric.md 5.1).
pub(super) const GOSSIP_TTL: i64 = 10;
const GOSSIP_SECONDS: f64 = 300.0;
/// As the reference (5.3).
const MESSAGES_REMEMBERED: usize = 10_000;
/// A node says that it is there no more often than this.
const NODE_REFRESH_SECONDS_MIN: f64 = 2.0;
/// Seconds; a difference that a float of today's time still shows.
const DATE_STEP: f64 = 1e-6;
/// At most, around the payload of gossip of this node, besides lists of nodes.
const ENVELOPE_BYTES: usize = 2048;
/// A peer that has missed this many times to say STATUS may not hear us either.
const REPORTS_MISSED_MAX: u32 = 3;
