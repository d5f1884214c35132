//! Who may speak for whom, and what each neighbour is told.
//!
//! A member of the own cluster may speak for its nodes and pass on what other clusters said; nobody speaks for this
//! node. A neighbour cluster may speak for itself and for the clusters that it has announced accepted routes to, and
//! for no member of ours. Entries that come before the route that entitles their sender wait for it, in bounded room.

use std::collections::{BTreeSet, VecDeque};

use super::*;
use crate::core::catalog::{Claim, TopicEntry, TopicKey};
use crate::core::link_state::Stored;

/// What was told of clusters that no accepted route leads to yet, by the neighbour that told it, oldest first. Entries
/// are told again and again: where there is no room, the newest are kept.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    neighbours: BTreeMap<Text, Parts>,
    /// The last of each area by each node, of each origin.
    links: BTreeMap<Text, BTreeMap<Text, BTreeMap<LinksOf, Stored>>>,
}

/// Area and node.
type LinksOf = (Option<Text>, Text);

#[derive(Debug, Default)]
struct Parts {
    parts: VecDeque<Part>,
    lines: usize,
}

#[derive(Debug)]
struct Part {
    cluster: Text,
    delta: Delta,
    lines: usize,
}

impl Waiting {
    /// The number of lines that are forgotten for it.
    fn add(&mut self, neighbour: &Text, cluster: &Text, delta: Delta) -> usize {
        let lines = lines_of(&delta);
        if lines > WAITING_ENTRIES_MAX {
            return lines;
        }
        let waiting = self.neighbours.entry(neighbour.clone()).or_default();
        let mut forgotten = 0;
        while waiting.lines + lines > WAITING_ENTRIES_MAX {
            let Some(oldest) = waiting.parts.pop_front() else { break };
            waiting.lines -= oldest.lines;
            forgotten += oldest.lines;
        }
        waiting.lines += lines;
        waiting.parts.push_back(Part { cluster: cluster.clone(), delta, lines });
        forgotten
    }

    /// All that waits for a route to one cluster, in the order in which it was told.
    pub fn take(&mut self, neighbour: &Text, cluster: &Text) -> Vec<Delta> {
        let Some(waiting) = self.neighbours.get_mut(neighbour) else { return Vec::new() };
        let parts = std::mem::take(&mut waiting.parts);
        let (taken, kept): (VecDeque<Part>, VecDeque<Part>) =
            parts.into_iter().partition(|part| part.cluster == *cluster);
        waiting.parts = kept;
        waiting.lines -= taken.iter().map(|part| part.lines).sum::<usize>();
        taken.into_iter().map(|part| part.delta).collect()
    }

    /// False where there is no room.
    pub fn add_links(&mut self, neighbour: &Text, links: Stored) -> bool {
        let waiting = self.links.entry(neighbour.clone()).or_default();
        let count: usize = waiting.values().map(BTreeMap::len).sum();
        let of_origin = waiting.entry(links.update.origin.clone()).or_default();
        let key = (links.update.area.clone(), links.speaker.clone());
        if count >= WAITING_LINKS_MAX && !of_origin.contains_key(&key) {
            waiting.retain(|_, of_origin| !of_origin.is_empty());
            return false;
        }
        of_origin.insert(key, links);
        true
    }

    pub fn take_links(&mut self, neighbour: &Text, origin: &Text) -> Vec<Stored> {
        let waiting = self.links.get_mut(neighbour).and_then(|waiting| waiting.remove(origin));
        waiting.into_iter().flat_map(BTreeMap::into_values).collect()
    }

    /// The last link to a neighbour is gone.
    pub fn forget(&mut self, neighbour: &Text) {
        self.neighbours.remove(neighbour);
        self.links.remove(neighbour);
    }
}

fn lines_of(delta: &Delta) -> usize {
    delta.counts().iter().map(|(_, n)| n).sum()
}

impl Fabric {
    /// Whether nodes of `speaker` may say something about `cluster`.
    pub(super) fn may_speak(&self, speaker: &str, cluster: &str) -> Result<(), Reason> {
        let routed = self.is_foreign(speaker)
            && *speaker != *cluster
            && self.leads_to(speaker, cluster, || self.link_state.reaches(cluster));
        let verdict = self.federation.may_speak(speaker, cluster, routed);
        // What lies behind a neighbour may come to be routed.
        let unrouted = verdict == Err(Reason::NotEntitled) && self.is_foreign(cluster);
        if unrouted { Err(Reason::EntryUnrouted) } else { verdict }
    }

    /// Whether a neighbour leads to a cluster: it has announced a route there that was accepted. Where nobody has, link
    /// state may say so instead, of what route policy would let in.
    pub(super) fn leads_to(&self, neighbour: &str, cluster: &str, by_links: impl FnOnce() -> bool) -> bool {
        let routes = self.routes.table();
        routes.is_routed_by(neighbour, cluster)
            || routes.best(cluster).is_none() && self.routes.may_lead(neighbour, cluster) && by_links()
    }

    /// Whether a message that nodes of `speaker` hand on may be of `source`. While ways change, a message may come over a
    /// neighbour that has announced no route to where it is from: any route there will do.
    pub(super) fn may_come_from(&self, speaker: &str, source: &str) -> Result<(), Reason> {
        match self.may_speak(speaker, source) {
            Err(Reason::EntryUnrouted) if self.routes.table().best(source).is_some() => Ok(()),
            // Entries may wait for a route, messages do not.
            Err(Reason::EntryUnrouted) => Err(Reason::NotEntitled),
            verdict => verdict,
        }
    }

    /// Takes out of a delta what its sender has no right to say, and what this cluster wants to hear of nobody.
    pub(super) fn refuse_unentitled(
        &mut self,
        (speaker, origin): (&Text, &Text),
        delta: &mut Delta,
        link: LinkId,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        self.set_aside(speaker, delta, link, out);
        let own_cluster = self.cluster_id().clone();
        let last_word = self.announcer.dated;
        let own_node = self.node_id().clone();
        let mut departed = delta.node_ids();
        departed.retain(|node| self.membership.is_departed(node, now));
        let catalog = &self.catalog;
        let is_confirmed = self.membership.is_confirmed(link);
        let known = |claim: &Claim| catalog.node(claim.cluster_id, claim.node_id).map(|n| n.advertised_at);
        let mut refused = delta.screen(|claim: Claim| {
            if claim.node_id == &own_node {
                // Our own words come back all the time; only what we never said is worth a thought.
                let echo = claim.advertised_at.is_some_and(|at| at <= last_word);
                return Some(if echo { Reason::EntryStale } else { Reason::NotEntitled });
            }
            if let Err(reason) = self.may_speak(speaker, claim.cluster_id) {
                // So do those of the others of our cluster, from neighbours that pass everything on.
                let echo = claim.cluster_id == &own_cluster
                    && claim.advertised_at.is_some_and(|at| known(&claim).is_some_and(|known| at <= known));
                return Some(if echo { Reason::EntryStale } else { reason });
            }
            if !is_confirmed && claim.cluster_id != &own_cluster {
                return Some(Reason::NotEntitled);
            }
            departed.contains(claim.node_id).then_some(Reason::PeerDeparted)
        });
        delta.functions.retain(|f| match self.federation.offers(&f.cluster_id, &f.identity.name) {
            Ok(()) => true,
            Err(reason) => {
                refused.push((reason, format!("function {} of {}", f.identity.name, f.node_id)));
                false
            }
        });
        refused.extend(self.admission.admit(delta, &own_cluster));
        self.refuse_topic_removals((speaker, origin), delta, &mut refused);
        gossip::told(refused, Some(link), out);
    }

    /// A subscription id alone does not say whose it is: it may be removed by its holder, or by somebody who may speak
    /// for every holder of it.
    fn refuse_topic_removals(
        &self,
        (speaker, origin): (&Text, &Text),
        delta: &mut Delta,
        refused: &mut Vec<(Reason, String)>,
    ) {
        if self.may_speak(speaker, &delta.cluster_id).is_err() {
            delta.cluster_id = speaker.clone();
        }
        let (own, cluster) = (self.node_id(), delta.cluster_id.clone());
        let of_origin = |id: &Text| {
            let (cluster_id, node_id) = (cluster.clone(), origin.clone());
            let key = TopicKey { cluster_id, node_id, subscription_id: id.clone() };
            origin != own && self.catalog.topic(&key).is_some()
        };
        let (kept, others): (Vec<Text>, Vec<Text>) =
            std::mem::take(&mut delta.topic_removals).into_iter().partition(of_origin);
        delta.topic_removals = kept;
        if others.is_empty() {
            return;
        }
        let named: BTreeSet<&Text> = others.iter().collect();
        // Of living kin everybody hears from itself, and nobody would say it again.
        let leaves = |t: &TopicEntry| delta.node_removals.iter().any(|n| n.node_id == t.node_id);
        let is_kin = |t: &TopicEntry| {
            t.cluster_id == *self.cluster_id() && self.kin_contains(&t.node_id) && !leaves(t)
        };
        let holders = self.catalog.topics().filter(|t| named.contains(&t.subscription_id));
        let others_hold: BTreeSet<Text> = holders
            .filter(|t| t.node_id == *own || is_kin(t) || self.may_speak(speaker, &t.cluster_id).is_err())
            .map(|t| t.subscription_id.clone())
            .collect();
        for id in others {
            // What nobody holds any more, its holder has said before.
            if others_hold.contains(&id) {
                refused.push((Reason::NotEntitled, format!("removal of the subscription {id}")));
            } else if origin != own {
                delta.topic_removals.push(id);
            }
        }
    }

    /// Keeps what a neighbour says of clusters that it has no route to yet, where it may still get one.
    fn set_aside(&mut self, speaker: &Text, delta: &mut Delta, link: LinkId, out: &mut Vec<Action>) {
        if *speaker == *self.cluster_id() {
            return;
        }
        let unrouted: BTreeSet<Text> = delta
            .cluster_ids()
            .into_iter()
            .filter(|cluster| self.may_speak(speaker, cluster) == Err(Reason::EntryUnrouted))
            .collect();
        let told = |reason: Reason, count: usize, out: &mut Vec<Action>| {
            let text = format!("entries of clusters to which {speaker} has announced no route");
            out.push(Action::Refused { reason, link: Some(link), count, text });
        };
        for cluster in unrouted.iter().take(WAITING_CLUSTERS_MAX) {
            let part = delta.split_off(cluster);
            told(Reason::EntryUnrouted, lines_of(&part), out);
            let forgotten = self.waiting_for_route.add(speaker, cluster, part);
            if forgotten > 0 {
                told(Reason::CatalogLimit, forgotten, out);
            }
        }
    }

    /// What of a change nodes of `cluster` are told: nothing of themselves, of others what they have a route to by us,
    /// and no function that they may not call.
    pub(super) fn outward(&self, cluster: &str, mut delta: Delta) -> Delta {
        if *cluster == **self.cluster_id() {
            return delta;
        }
        let own = self.cluster_id();
        let exported = self.exported.get(cluster);
        let told = |of: &Text| of == own || exported.is_some_and(|e| e.contains(of));
        delta.screen(|claim| {
            let told = **claim.cluster_id != *cluster && told(claim.cluster_id);
            (!told).then_some(Reason::RoutePolicyRefused)
        });
        delta
            .functions
            .retain(|f| f.cluster_id != *own || self.federation.may_call(cluster, &f.identity.name).is_ok());
        delta
    }
}

/// Clusters of which one message may tell before their routes; what it says of more is refused.
const WAITING_CLUSTERS_MAX: usize = 256;
/// Entries of one neighbour that wait for a route.
const WAITING_ENTRIES_MAX: usize = 10_000;
/// Link-state updates of one neighbour that wait for routes.
const WAITING_LINKS_MAX: usize = 1024;
