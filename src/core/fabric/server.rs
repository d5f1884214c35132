//! How peers meet and part: STATUS, its answers, and GOODBYE (fabric.md 4.2 to 4.8).

use std::collections::btree_map::Entry;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::*;
use crate::core::catalog::FunctionVersion;
use crate::core::membership::{Arrival, Refusal};
use crate::wire::fabric::kin::EXTENSION;
use crate::wire::fabric::{Ask, Goodbye, GoodbyeReason, Status, Str};

impl Fabric {
    pub(super) fn link_opened(
        &mut self,
        link: LinkId,
        dialled: Option<Text>,
        facts: LinkFacts,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        if self.stopping {
            out.push(Action::Close { link, code: CLOSE_GOING_AWAY, reason: "going away" });
            return;
        }
        let own_cluster = &self.own.membership.cluster_id;
        let catalog = &self.catalog;
        // Only members of this cluster are believed before their STATUS, and none with the certificate of another.
        let federation = &self.federation;
        let knows = |node: &str, is_peer: bool| {
            (is_peer || catalog.node(own_cluster, node).is_some())
                && federation.admits(own_cluster, Some(node), &facts).is_ok()
        };
        self.look_around = true;
        let we_dialled = dialled.is_some();
        let arrival = self.membership.opened(link, dialled, knows, now);
        self.facts.insert(link, facts);
        if we_dialled {
            self.say_status(link, now, out);
        }
        if let Some(arrival) = arrival {
            self.arrived(link, &arrival, now, out);
        }
    }

    pub(super) fn link_closed(&mut self, link: LinkId, now: Now, out: &mut Vec<Action>) {
        self.look_around = true;
        let cluster = self.membership.cluster_of(link).cloned();
        self.facts.remove(&link);
        self.drop_early(link, out);
        self.asked_at.remove(&link);
        if let Some((cluster, _)) = self.counted.remove(&link) {
            self.federation.closed(&cluster);
        }
        let lost = self.membership.closed(link, now, &mut self.chance).filter(|lost| lost.last);
        if let Some(lost) = &lost {
            let text = format!("no link to {} is left", lost.node);
            out.push(Action::Log { level: log::Level::Info, text });
            self.missed_kin(&lost.node, now, out);
            // Of kin their own judge whether they are gone.
            if let Some(cluster) = cluster.as_ref().filter(|_| !self.is_kin(&lost.node)) {
                let peer = self.last_known(&lost.node, cluster, now);
                self.membership.remember([peer]);
                self.forget_forbidden();
            }
        }
        self.fail_calls_over(link, now, out);
        if let Some(cluster) = cluster.filter(|_| lost.is_some()) {
            self.peer_lost(&cluster, now, out);
        }
    }

    pub(super) fn status(&mut self, link: LinkId, status: &Status, u: Ask, now: Now, out: &mut Vec<Action>) {
        let dialled = self.membership.is_dialled(link);
        if self.stopping {
            return;
        }
        let is_foreign = self.is_foreign(&status.cluster_id);
        let is_first = is_foreign && !self.counted.contains_key(&link);
        if is_first && self.own.bridging.log_attempts {
            let (node, cluster) = (&*status.server_url, &*status.cluster_id);
            let bridge = self.federation.bridge(cluster).map(|b| format!(" over {}", b.name));
            let text = format!("{node} of the cluster {cluster} connects{}", bridge.unwrap_or_default());
            out.push(Action::Log { level: log::Level::Info, text });
        }
        match self.admitted(link, status, now) {
            Ok(arrival) => {
                if !self.is_kin(&arrival.node) {
                    self.disown(&arrival.node);
                }
                if !dialled {
                    if arrival.new_link {
                        self.say_status(link, now, out);
                    }
                    out.push(Action::Send { link, bytes: Answer::accepted("STATUS", u) });
                }
                self.arrived(link, &arrival, now, out);
                self.take_early(link, now, out);
            }
            Err(refusal) => {
                if dialled {
                    self.membership.turned_away(link);
                }
                if refusal.closes {
                    self.turn_away_early(link, out);
                    // Nothing that is still on its way is believed.
                    let cluster = self.membership.cluster_of(link).cloned();
                    self.membership.disown(link, now);
                    if let Some(cluster) = cluster {
                        self.peer_lost(&cluster, now, out);
                    }
                }
                self.refused_peer(link, &refusal, u, out);
            }
        }
    }

    /// The federation policy on a STATUS, on whichever side dialled, and what membership makes of it.
    fn admitted(&mut self, link: LinkId, status: &Status, now: Now) -> Result<Arrival, Refusal> {
        if self.is_taken(status) {
            let message = format!(
                "Connection rejected: {} is a node of another cluster than '{}'.",
                &*status.server_url, &*status.cluster_id
            );
            return Err(Refusal { reason: Reason::NotEntitled, message, closes: true });
        }
        let plain = LinkFacts::default();
        let facts = self.facts.get(&link).unwrap_or(&plain);
        let (federation, counted) = (&mut self.federation, &mut self.counted);
        let admits = |cluster: &str, node: &str| {
            let closing =
                |reason: Reason, message: String| membership::Refusal { reason, message, closes: true };
            federation.admits(cluster, Some(node), facts).map_err(|r| closing(r.reason, r.message))?;
            if !federation.is_own(cluster)
                && let Entry::Vacant(uncounted) = counted.entry(link)
            {
                let cluster = Text::from(cluster);
                federation.opened(&cluster).map_err(|reason| {
                    let message = "Connection rejected: too many connections of this cluster \
                                   (federation.security.max_connections_per_cluster).";
                    closing(reason, message.to_owned())
                })?;
                uncounted.insert((cluster, now.mono));
            }
            Ok(())
        };
        self.membership.status(link, status, admits, now)
    }

    /// Whether a STATUS of another cluster names a node of ours, or one that is linked with us as a node of a third.
    fn is_taken(&self, status: &Status) -> bool {
        let (node, cluster) = (&*status.server_url, &*status.cluster_id);
        let linked_elsewhere = self.membership.peer(node).is_some_and(|peer| {
            peer.report.is_some() && peer.links().next().is_some() && *peer.cluster_id != *cluster
        });
        self.is_foreign(cluster) && (linked_elsewhere || self.catalog.node(self.cluster_id(), node).is_some())
    }

    pub(super) fn goodbye(
        &mut self,
        link: LinkId,
        goodbye: &Goodbye,
        u: Ask,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let cluster = self.membership.cluster_of(link).cloned();
        match self.membership.goodbye(link, goodbye, now) {
            Ok(departed) => {
                if !self.membership.is_dialled(link) {
                    out.push(Action::Send { link, bytes: Answer::accepted("GOODBYE_PROCESSED", u) });
                }
                let text = format!("{} has left: {:?}", departed.node, goodbye.reason);
                out.push(Action::Log { level: log::Level::Info, text });
                for link in departed.links {
                    self.fail_calls_over(link, now, out);
                    out.push(Action::Close { link, code: CLOSE_NORMAL, reason: "goodbye" });
                }
                if let Some(cluster) = cluster {
                    self.withdraw_node(&cluster, &departed.node, now, out);
                    self.peer_lost(&cluster, now, out);
                }
                self.look_around = true;
            }
            Err(refusal) => self.refused_peer(link, &refusal, u, out),
        }
    }

    /// The answer to a STATUS or GOODBYE of ours.
    pub(super) fn answer(&mut self, link: LinkId, answer: &Answer, now: Now, out: &mut Vec<Action>) {
        if let Some(error) = &answer.error {
            let text = format!("refused by the other end: {} {}", error.code, &*error.message);
            if error.code == REFUSED && self.membership.is_dialled(link) {
                self.membership.turned_away(link);
                out.push(Action::Close { link, code: CLOSE_NORMAL, reason: "refused" });
            }
            let reason = if error.code == REFUSED { Reason::TurnedAway } else { Reason::BadRequest };
            refuse(out, reason, Some(link), text);
        } else if answer.welcomes() {
            let asked_at = self.asked_at.remove(&link);
            let wants_more =
                asked_at.is_some_and(|at| self.membership.measured(link, now.mono.saturating_sub(at)));
            let plain = LinkFacts::default();
            let facts = self.facts.get(&link).unwrap_or(&plain);
            let own_cluster = &self.own.membership.cluster_id;
            let admits = |node: &str| self.federation.admits(own_cluster, Some(node), facts).is_ok();
            if let Some(arrival) = self.membership.acknowledged(link, admits) {
                self.arrived(link, &arrival, now, out);
            }
            // A link of unknown length looks like the shortest of all, so it does not stay so.
            if wants_more {
                self.say_status(link, now, out);
            }
        }
    }

    /// One STATUS for all links; kin need it less often.
    pub(super) fn report(&mut self, now: Now, out: &mut Vec<Action>) {
        self.end_silent_links(now, out);
        let to_kin = self.kin.status_due(self.active_clients, gossip_interval(&self.own), now);
        let mut to: Vec<LinkId> = Vec::new();
        for (node, peer) in self.membership.connected() {
            match self.is_kin(node) {
                true if to_kin => to.extend(self.membership.link_to(node)),
                true => {}
                false => to.extend(peer.links()),
            }
        }
        if to.is_empty() {
            return;
        }
        let bytes = self.own_status(now);
        for link in to {
            self.asked_at.entry(link).or_insert(now.mono);
            out.push(Action::Send { link, bytes: bytes.clone() });
        }
    }

    /// Ends links with other clusters over which nothing has come for as long as federation allows.
    fn end_silent_links(&mut self, now: Now, out: &mut Vec<Action>) {
        for (link, (cluster, heard)) in &self.counted {
            let max = self.federation.terms(cluster).silence_seconds_max;
            let silent = now.mono.saturating_sub(*heard).as_secs_f64();
            if silent > max {
                let text = format!("nothing came from {cluster} for {silent:.0} s");
                refuse(out, Reason::PeerSilent, Some(*link), text);
                out.push(Action::Close { link: *link, code: CLOSE_NORMAL, reason: "silent" });
            }
        }
    }

    fn say_status(&mut self, link: LinkId, now: Now, out: &mut Vec<Action>) {
        let bytes = self.own_status(now);
        self.asked_at.entry(link).or_insert(now.mono);
        out.push(Action::Send { link, bytes });
    }

    /// Every peer of this program hears of it at once, others with the next STATUS: they answer it, and would lose over
    /// that the farewell which often follows in the same moment.
    pub(super) fn drain(&mut self, draining: bool, now: Now, out: &mut Vec<Action>) {
        if std::mem::replace(&mut self.draining, draining) == draining || self.stopping {
            return;
        }
        let peers = self.membership.connected().filter(|(_, peer)| peer.extends);
        let links: Vec<LinkId> = peers.filter_map(|(node, _)| self.membership.link_to(node)).collect();
        for link in links {
            self.say_status(link, now, out);
        }
    }

    pub(super) fn stop(&mut self, now: Now, out: &mut Vec<Action>) {
        if std::mem::replace(&mut self.stopping, true) {
            return;
        }
        // The removals go first: a reference node forgets services by them and not by the goodbye.
        let own = self.node_id().clone();
        let delta = self.catalog.holdings(&own);
        self.announce_own(delta, now, out);
        self.tell_kin(Delta::default(), true, now, out);
        let (own, u) = (&self.own.membership, self.chance.uuid());
        let reason = GoodbyeReason::GracefulShutdown;
        let bytes =
            Goodbye::new(&own.node_id, &own.cluster_id, reason, &own.instance_id, now.wall).encode(&u);
        let peers: Vec<Text> = self.membership.connected().map(|(node, _)| node.clone()).collect();
        for link in peers.iter().filter_map(|node| self.membership.link_to(node)) {
            out.push(Action::Send { link, bytes: bytes.clone() });
        }
        for link in self.membership.links() {
            out.push(Action::Close { link, code: CLOSE_GOING_AWAY, reason: "going away" });
        }
        self.fail_all_calls(out);
    }

    fn own_status(&mut self, now: Now) -> Bytes {
        #[derive(Serialize)]
        struct Listed<'a> {
            name: &'a str,
            function_id: &'a str,
            version: &'a FunctionVersion,
            resources: &'a [Text],
        }
        let u = self.chance.uuid();
        let own = &self.own.membership;
        let functions = || self.catalog.functions_of(&own.node_id);
        let list = |value: Result<Box<RawValue>, _>| value.unwrap_or_else(|_: serde_json::Error| raw("[]"));
        let funs = list(to_raw_value(&functions().map(|f| &*f.identity.name).collect::<Vec<_>>()));
        let listed = |f: &'_ std::sync::Arc<FunctionEntry>| -> Box<RawValue> {
            list(to_raw_value(&Listed {
                name: &f.identity.name,
                function_id: &f.identity.function_id,
                version: &f.identity.version,
                resources: &f.resources,
            }))
        };
        let function_catalog = list(to_raw_value(&functions().map(listed).collect::<Vec<_>>()));
        let locs = list(to_raw_value(&self.own.resources));
        let metrics = to_raw_value(&self.counters).unwrap_or_else(|_| raw("{}"));
        let mut status = Status::new(&own.node_id, &own.cluster_id, &own.instance_id, now.wall);
        status.status = self.own_word().into();
        status.active_clients = self.active_clients;
        status.peer_count = self.catalog.node_count() as i64;
        status.funs = &funs;
        status.locs = &locs;
        status.function_catalog = &function_catalog;
        status.advertised_urls = self.own.advertised_urls.iter().map(Str::from).collect();
        status.metrics = &metrics;
        status.extensions = if self.own.kin { vec![EXTENSION.into()] } else { Vec::new() };
        status.encode(&u)
    }

    /// A peer is there, or there again over one more link.
    fn arrived(&mut self, link: LinkId, arrival: &Arrival, now: Now, out: &mut Vec<Action>) {
        for stale in &arrival.stale {
            self.fail_calls_over(*stale, now, out);
            out.push(Action::Close { link: *stale, code: CLOSE_NORMAL, reason: "replaced" });
        }
        if arrival.new_peer {
            let text = format!("{} is a peer", arrival.node);
            out.push(Action::Log { level: log::Level::Info, text });
        }
        if arrival.new_link {
            self.look_around = true;
            // A second link to the same instance that we dialled tells it nothing new.
            if self.is_kin(&arrival.node) || self.kin.roster.contains(&arrival.node) {
                self.greet_kin(&arrival.node, link, now, out);
                if arrival.new_peer {
                    self.introduce_routes_to(link, now, out);
                }
            } else if arrival.new_peer || !self.membership.is_dialled(link) {
                self.introduce(link, now, out);
            }
        }
    }

    fn refused_peer(&mut self, link: LinkId, refusal: &Refusal, u: Ask, out: &mut Vec<Action>) {
        if !self.membership.is_dialled(link) {
            out.push(Action::Send { link, bytes: Answer::refused(REFUSED, &refusal.message, u) });
        }
        if refusal.closes {
            out.push(Action::Close { link, code: CLOSE_NORMAL, reason: "refused" });
        }
        refuse(out, refusal.reason, Some(link), refusal.message.clone());
    }
}
