//! Routes, link state and route keys between nodes: what neighbours say of them is judged here and handed to their
//! state machines, and what those want told is sent (fabric.md 7, 8, 9).
//!
//! Route control crosses a link between clusters once and is not flooded: each cluster makes its own announcement of
//! what it takes over. Within a cluster it goes to every node, from the border node that heard it. Link state is
//! flooded, and goes on only where it was news.

use serde_json::value::to_raw_value;

use super::gossip::{GOSSIP_TTL, Listener};
use super::*;
use crate::core::link_state::{Applied, Mode, Stored};
use crate::core::route::{Change, Hearer, Link, Told, Via};
use crate::wire::fabric::link_state::LinkStateUpdate;
use crate::wire::fabric::route::{Path, RouteAnnouncement, RouteKeyAnnouncement, RouteWithdrawal, Seal};
use crate::wire::fabric::{Clock, Gossip, Str};

impl Fabric {
    pub(super) fn route_advertisement(
        &mut self,
        link: LinkId,
        peer: &Text,
        gossip: &Gossip,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let read = readable(link, gossip, |raw| RouteAnnouncement::decode(raw, now.wall), out);
        let Some(announcement) = read else { return };
        let destination = announcement.destination.cluster_id.clone();
        let advertiser = (&announcement.advertiser, "announces");
        let source = self.route_source(link, peer, gossip, &destination, advertiser, out);
        let Some((via, cluster)) = source else { return };
        let judged = self.judge(&cluster, &announcement.canonical(), &announcement.seal, now);
        let metrics = self.link_metrics(link);
        let taken =
            judged.and_then(|standing| self.routes.announced(&via, &announcement, standing, &metrics, now));
        match taken {
            Ok(taken) => {
                if taken.over_limit {
                    let text =
                        format!("{cluster} announces more than limits.routes_per_neighbor; they are taken");
                    refuse(out, Reason::RoutesLimit, Some(link), text);
                }
                self.pass_route_on(link, peer, &cluster, gossip, now, out);
                self.tell_routes(now, out);
                if taken.change != Change::Prolonged && self.is_link_of_ours(&cluster, &announcement.path) {
                    self.tell_links(now, out);
                }
                self.take_what_waited(link, &cluster, &destination, now, out);
            }
            Err(reason) => {
                refuse(out, reason, Some(link), format!("a route to {destination} of {cluster} from {peer}"));
                if reason == Reason::RoutesLimitCut {
                    out.push(Action::Close { link, code: CLOSE_POLICY, reason: "too many routes" });
                }
            }
        }
    }

    pub(super) fn route_withdrawal(
        &mut self,
        link: LinkId,
        peer: &Text,
        gossip: &Gossip,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let read = readable(link, gossip, |raw| RouteWithdrawal::decode(raw, now.wall), out);
        let Some(withdrawal) = read else { return };
        let destination = withdrawal.destination.cluster_id.clone();
        let advertiser = (&withdrawal.advertiser, "withdraws");
        let source = self.route_source(link, peer, gossip, &destination, advertiser, out);
        let Some((via, cluster)) = source else { return };
        let judged = self.judge(&cluster, &withdrawal.canonical(), &withdrawal.seal, now);
        match judged.and_then(|_| self.routes.withdrawn(&via, &withdrawal, now)) {
            Ok(_) => {
                self.pass_route_on(link, peer, &cluster, gossip, now, out);
                self.tell_routes(now, out);
                if self.is_link_of_ours(&cluster, &withdrawal.path) {
                    self.tell_links(now, out);
                }
            }
            Err(reason) => {
                let text = format!("the withdrawal of a route to {destination} of {cluster} from {peer}");
                refuse(out, reason, Some(link), text);
            }
        }
    }

    pub(super) fn route_keys(&mut self, link: LinkId, gossip: &Gossip, now: Now, out: &mut Vec<Action>) {
        let read = readable(link, gossip, |raw| RouteKeyAnnouncement::decode(raw, now.wall), out);
        let (Some(keys), Some(cluster)) = (read, self.membership.cluster_of(link).cloned()) else { return };
        if let Err(reason) = self.trust.keys_announced(&cluster, &keys, now) {
            refuse(out, reason, Some(link), format!("route keys of {} from {cluster}", keys.cluster_id));
        }
    }

    pub(super) fn link_state_update(
        &mut self,
        link: LinkId,
        peer: &Text,
        gossip: &Gossip,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let read = readable(link, gossip, |raw| LinkStateUpdate::decode(raw, now.wall), out);
        let (Some(update), Some(cluster)) = (read, self.membership.cluster_of(link).cloned()) else { return };
        let speaker = gossip.propagation_path.first().unwrap_or(&gossip.sender_id).to_text();
        let (origin, own) = (&update.origin, self.cluster_id());
        if origin == own && cluster == *own {
            // The node that speaks for this cluster; its links are known here from the routes of the border nodes.
            return self.pass_on_as_it_is(link, peer, gossip, |_| true, now, out);
        }
        // A neighbour is the only one to speak of itself; of what is further away those may that lead there.
        if cluster != *own && cluster != *origin {
            let may_speak = if self.membership.connected_of(origin).next().is_some() {
                Err(Reason::LinkStateNotFromOrigin)
            } else if origin == own || self.leads_to(&cluster, origin, || self.link_state.names(origin)) {
                Ok(())
            } else {
                Err(Reason::LinkStateUnrouted)
            };
            if let Err(reason) = may_speak {
                // The same message may come from somebody who is entitled.
                self.announcer.seen.forget(&gossip.message_id);
                let text = format!("{peer} of {cluster} speaks of the links of {origin}");
                refuse(out, reason, Some(link), text);
                let waits = reason == Reason::LinkStateUnrouted && self.link_state.mode() != Mode::Disabled;
                if waits && !self.waiting_for_route.add_links(&cluster, Stored { update, speaker }) {
                    let text = format!("too much of what {cluster} says of links waits for routes");
                    refuse(out, Reason::LinkStateLimit, Some(link), text);
                }
                return;
            }
        }
        self.take_links((link, peer), update, &speaker, gossip, now, out);
    }

    /// Takes what a node may say of links, and passes on what was news.
    fn take_links(
        &mut self,
        (link, peer): (LinkId, &Text),
        update: LinkStateUpdate,
        speaker: &Text,
        gossip: &Gossip,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let origin = update.origin.clone();
        let heard = self.link_state.heard(update, speaker, now);
        let unused = match heard.result {
            Ok(Applied::Ignored) => Some(Reason::LinkStateOff),
            Ok(Applied::Changed | Applied::Renewed) => None,
            Err(reason) => Some(reason),
        };
        if let Some(reason) = unused {
            refuse(out, reason, Some(link), format!("link state of {origin} from {peer}"));
        }
        if heard.pass_on {
            self.pass_on_as_it_is(link, peer, gossip, |_| true, now, out);
        }
    }

    /// The same for a node that hears of the rest on other ways.
    pub(super) fn introduce_routes_to(&mut self, link: LinkId, now: Now, out: &mut Vec<Action>) {
        let Some(cluster) = self.membership.cluster_of(link).cloned() else { return };
        let to = [Listener { node: "".into(), cluster: cluster.clone(), link, lively: false }];
        self.introduce_routes(&cluster, &to, now, out);
    }

    /// Routes for a node that has just become a peer, and what else neighbours are told of at once.
    pub(super) fn introduce_routes(
        &mut self,
        cluster: &Text,
        to: &[Listener],
        now: Now,
        out: &mut Vec<Action>,
    ) {
        if self.is_foreign(cluster) {
            self.tell_keys(to, now, out);
        }
        // What was due before goes to those who were there before.
        self.tell_routes(now, out);
        let hearer = self.hearer(cluster);
        let told = self.routes.joined(&hearer, now);
        self.say_routes(cluster, told, to, now, out);
        if self.is_foreign(cluster) {
            self.tell_links(now, out);
        }
        self.introduce_link_state(cluster, to, out);
    }

    /// What is known of the links of others, in the words of those who made it, and of those of this cluster if it is
    /// on this node to tell of them: a new peer would hear of them only with their next announcements. Nobody is told of
    /// itself.
    fn introduce_link_state(&self, cluster: &Text, to: &[Listener], out: &mut Vec<Action>) {
        let own = self.node_id();
        let stored = self.link_state.stored().filter(|s| s.update.origin != *cluster && s.speaker != *own);
        for stored in stored.filter(|s| to.iter().all(|l| l.node != s.speaker)) {
            self.retell(&stored, cluster, to, out);
        }
        // The nodes of this cluster know its links from the routes of the border nodes.
        if self.is_foreign(cluster) && self.links_of_cluster().1 {
            for update in self.link_state.said() {
                self.retell(&Stored { update: update.clone(), speaker: own.clone() }, cluster, to, out);
            }
        }
    }

    fn retell(&self, stored: &Stored, cluster: &str, to: &[Listener], out: &mut Vec<Action>) {
        let Ok(payload) = to_raw_value(&stored.update) else { return };
        let gossip = gossip_of(stored, &payload, self.own.hops_max);
        if stored.speaker == *self.node_id() {
            return gossip::send_to_all(gossip, to, out);
        }
        self.relay(&gossip, &payload, cluster, to, out);
    }

    /// A node of `cluster` has no link left; it may have been the last of its cluster.
    pub(super) fn peer_lost(&mut self, cluster: &Text, now: Now, out: &mut Vec<Action>) {
        if self.membership.connected_of(cluster).next().is_some() {
            return;
        }
        if !self.is_foreign(cluster) {
            return self.routes.left(&Hearer::OwnCluster);
        }
        self.routes.neighbour_lost(cluster, now);
        self.trust.forget(cluster);
        self.exported.remove(cluster);
        self.waiting_for_route.forget(cluster);
        let text = format!("no link to the cluster {cluster} is left");
        out.push(Action::Log { level: log::Level::Warn, text });
        self.tell_routes(now, out);
        self.tell_links(now, out);
    }

    /// What is due by the clock, or since the last event.
    pub(super) fn routing_timers(&mut self, now: Now, out: &mut Vec<Action>) {
        let is_due = |at: Option<Duration>| at.is_some_and(|at| now.mono >= at);
        if is_due(self.routes.next_deadline()) {
            for route in self.routes.expire(now) {
                let text = format!("the route to {} by {}", route.destination, route.advertiser);
                refuse(out, Reason::RouteExpired, None, text);
            }
            self.tell_routes(now, out);
        }
        if now.mono >= self.next_keys {
            self.next_keys = now.mono + self.own.bridging.key_announce_interval;
            let mut to = self.listeners(&[], now);
            to.retain(|listener| self.is_foreign(&listener.cluster));
            self.tell_keys(&to, now, out);
        }
        if is_due(self.link_state.next_deadline()) {
            self.link_state.expire(now);
            if is_due(self.link_state.next_announcement()) {
                self.tell_links(now, out);
            }
        }
    }

    pub(super) fn next_routing(&self) -> Duration {
        let others = [self.routes.next_deadline(), self.link_state.next_deadline()];
        others.into_iter().flatten().fold(self.next_keys, Duration::min)
    }

    /// Tells everybody what is new of the routes, each neighbour what it may know.
    pub(super) fn tell_routes(&mut self, now: Now, out: &mut Vec<Action>) {
        let updates = self.routes.updates(now);
        if updates.is_empty() {
            return;
        }
        let all = self.listeners(&[], now);
        for (hearer, told) in updates {
            let cluster = match &hearer {
                Hearer::Cluster(cluster) => cluster.clone(),
                Hearer::OwnCluster => self.cluster_id().clone(),
            };
            let to: Vec<Listener> = all.iter().filter(|l| l.cluster == cluster).cloned().collect();
            self.say_routes(&cluster, told, &to, now, out);
        }
    }

    /// Says routes in their order, and after the first route to a cluster what is known of it.
    fn say_routes(
        &mut self,
        cluster: &Text,
        told: Vec<Told>,
        to: &[Listener],
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let own = self.cluster_id().clone();
        for told in told {
            let (kind, payload, news) = match told {
                Told::Announce { mut announcement, .. } => {
                    announcement.seal = self.trust.seal(&announcement.canonical());
                    let destination = announcement.destination.cluster_id.clone();
                    let exported = self.exported.entry(cluster.clone()).or_default();
                    let is_new = exported.insert(destination.clone()) && destination != own;
                    ("route_advertisement", to_raw_value(&announcement), is_new.then_some(destination))
                }
                Told::Withdraw { mut withdrawal, .. } => {
                    withdrawal.seal = self.trust.seal(&withdrawal.canonical());
                    if let Some(exported) = self.exported.get_mut(cluster) {
                        exported.remove(&withdrawal.destination.cluster_id);
                    }
                    ("route_withdrawal", to_raw_value(&withdrawal), None)
                }
            };
            if let Ok(payload) =
                payload.map_err(drop).and_then(|p| if to.is_empty() { Err(()) } else { Ok(p) })
            {
                self.say_one(kind, &payload, "", true, to, now, out);
            }
            if let Some(destination) = news.filter(|_| self.is_foreign(cluster)) {
                let mut known = self.catalog.confirmed(|of, _| *of == *destination);
                known.drop_local();
                self.say(known, "", true, to, now, out);
            }
        }
    }

    fn tell_keys(&mut self, to: &[Listener], now: Now, out: &mut Vec<Action>) {
        if to.is_empty() {
            return;
        }
        if let Some(keys) = self.trust.own_keys(now).and_then(|keys| to_raw_value(&keys).ok()) {
            self.say_one("route_key_announcement", &keys, "", true, to, now, out);
        }
    }

    /// Tells everybody the links of this cluster, if it is on this node to do so: one border node speaks for all, so
    /// that nodes which keep one list for a cluster keep the whole one (20.2 C6).
    pub(super) fn tell_links(&mut self, now: Now, out: &mut Vec<Action>) {
        if self.link_state.mode() == Mode::Disabled {
            return;
        }
        let (links, speaks) = self.links_of_cluster();
        let updates = self.link_state.own_updates(&links, now);
        let to = self.listeners(&[], now);
        for update in updates.into_iter().filter(|_| speaks && !to.is_empty()) {
            if let Ok(payload) = to_raw_value(&update) {
                self.say_one("link_state_update", &payload, "", true, &to, now, out);
            }
        }
    }

    /// The links of this cluster with others, and whether it is on this node to tell of them.
    fn links_of_cluster(&self) -> (BTreeMap<Text, Link>, bool) {
        let own = self.node_id();
        let mut links: BTreeMap<Text, Link> = BTreeMap::new();
        for (_, peer) in self.membership.connected().filter(|(_, p)| self.is_foreign(&p.cluster_id)) {
            let link = links.entry(peer.cluster_id.clone()).or_insert_with(|| link_of(peer.latency_ms()));
            link.latency_ms = link.latency_ms.min(peer.latency_ms());
        }
        let mut speaker = (!links.is_empty()).then_some(own);
        for (neighbour, routes) in self.routes.table().destinations() {
            for route in routes.filter(|r| r.path.len() == 2) {
                if let Via::Border { node } = &route.via {
                    links.entry(neighbour.clone()).or_insert_with(|| link_of(route.metrics.latency_ms));
                    speaker = Some(speaker.map_or(node, |speaker| speaker.min(node)));
                }
            }
        }
        let speaks = speaker.is_none_or(|speaker| speaker == own);
        (links, speaks)
    }

    /// Route control that came from a node of this cluster goes to all others of it.
    fn pass_route_on(
        &mut self,
        link: LinkId,
        peer: &Text,
        cluster: &Text,
        gossip: &Gossip,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        if !self.is_foreign(cluster) {
            self.pass_on_as_it_is(link, peer, gossip, |to| *to == **cluster, now, out);
        }
    }

    /// Entries that came before the route that lets their sender speak of them.
    fn take_what_waited(
        &mut self,
        link: LinkId,
        speaker: &Text,
        cluster: &Text,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let Some(peer) = self.membership.speaker(link).cloned() else { return };
        for mut delta in self.waiting_for_route.take(speaker, cluster) {
            self.refuse_unentitled((speaker, &peer), &mut delta, link, now, out);
            self.refuse_unspeakable(&mut delta, Some(link), out);
            if let Some(changed) = self.take_in(delta, &peer, &peer, link, now, out) {
                let to = self.listeners(&[&peer], now);
                self.say(changed, "", true, &to, now, out);
            }
        }
        for stored in self.waiting_for_route.take_links(speaker, cluster) {
            let Ok(payload) = to_raw_value(&stored.update) else { continue };
            let gossip = gossip_of(&stored, &payload, self.own.hops_max);
            self.take_links((link, &peer), stored.update.clone(), &stored.speaker, &gossip, now, out);
        }
    }

    /// Whether a route that a node of `cluster` speaks of is a link between ours and a neighbour.
    fn is_link_of_ours(&self, cluster: &str, path: &Path) -> bool {
        !self.is_foreign(cluster) && path.hops.len() == 2
    }

    fn judge(
        &mut self,
        cluster: &Text,
        canonical: &[u8],
        seal: &Seal,
        now: Now,
    ) -> Result<trust::Standing, Reason> {
        match self.is_foreign(cluster) {
            true => self.trust.judge(cluster, canonical, seal, now),
            false => self.trust.judge_own(canonical, seal, now),
        }
    }

    /// Where a route on this link is from, and the cluster that must have made it. `None` for what members of our
    /// cluster say of the cluster itself: the reference does, and everybody knows. `None` with a refusal where another
    /// cluster is the one that `says` it.
    fn route_source(
        &self,
        link: LinkId,
        peer: &Text,
        gossip: &Gossip,
        destination: &str,
        (advertiser, says): (&Text, &str),
        out: &mut Vec<Action>,
    ) -> Option<(Via, Text)> {
        let cluster = self.membership.cluster_of(link)?.clone();
        let via = if self.is_foreign(&cluster) {
            Via::Neighbour { cluster: cluster.clone() }
        } else {
            let node = gossip.propagation_path.first().unwrap_or(&gossip.sender_id).to_text();
            if *destination == *cluster || node == *self.node_id() {
                return None;
            }
            Via::Border { node }
        };
        if *advertiser != cluster {
            let text = format!("{peer} passes on what {advertiser} {says}");
            refuse(out, Reason::RouteNotFromNeighbour, Some(link), text);
            return None;
        }
        Some((via, cluster))
    }

    fn hearer(&self, cluster: &Text) -> Hearer {
        if self.is_foreign(cluster) { Hearer::Cluster(cluster.clone()) } else { Hearer::OwnCluster }
    }

    /// What is known of the link that a message came over.
    fn link_metrics(&self, link: LinkId) -> Link {
        let peer = self.membership.speaker(link).and_then(|node| self.membership.peer(node));
        link_of(peer.map_or(0.0, Peer::latency_ms))
    }
}

/// Link state as the node sent it that made it.
fn gossip_of<'a>(stored: &'a Stored, payload: &'a RawValue, hops_max: i64) -> Gossip<'a> {
    let Stored { update, speaker } = stored;
    let area = update.area.as_deref().unwrap_or_default();
    Gossip {
        // The same wherever it comes from, so that it is passed on once.
        message_id: format!("{speaker}:link-state:{area}:{}", update.sequence).into(),
        message_type: "link_state_update".into(),
        sender_id: Str::from(speaker),
        payload: Some(payload),
        vector_clock: Clock::default(),
        sequence_number: update.sequence,
        ttl: GOSSIP_TTL - 1,
        hop_count: 1,
        max_hops: hops_max,
        digest: "".into(),
        checksum: "".into(),
        created_at: update.advertised_at,
        expires_at: update.advertised_at + update.ttl_seconds,
        propagation_path: vec![Str::from(speaker)],
        seen_by: Vec::new(),
    }
}

fn readable<T>(
    link: LinkId,
    gossip: &Gossip,
    decode: impl FnOnce(&RawValue) -> Result<T, Malformed>,
    out: &mut Vec<Action>,
) -> Option<T> {
    match decode(gossip.payload.unwrap_or(RawValue::NULL)) {
        Ok(read) => Some(read),
        Err(malformed) => {
            refuse(out, Reason::GossipMalformed, Some(link), malformed.to_string());
            None
        }
    }
}

fn link_of(latency_ms: f64) -> Link {
    Link { latency_ms, ..Link::default() }
}

/// WebSocket close code for a peer that does what it may not.
const CLOSE_POLICY: u16 = 1008;
