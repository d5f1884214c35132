//! Who may speak for whom, and what each neighbour is told.
//!
//! A member of the own cluster may speak for its nodes and pass on what other clusters said; nobody speaks for this
//! node. A neighbour cluster may speak for itself and for the clusters that it has announced accepted routes to, and
//! for no member of ours. Entries that come before the route that entitles their sender wait for it, in bounded room.

use std::collections::BTreeSet;

use super::*;
use crate::core::catalog::{Claim, TopicKey};

/// Entries of clusters that no accepted route leads to yet, by the neighbour that told of them and their cluster.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    deltas: BTreeMap<(Text, Text), Delta>,
    entries: BTreeMap<Text, usize>,
}

impl Waiting {
    /// False where the neighbour has as many waiting as it may.
    fn add(&mut self, neighbour: &Text, cluster: &Text, delta: Delta) -> bool {
        let count: usize = delta.counts().iter().map(|(_, n)| n).sum();
        let entries = self.entries.entry(neighbour.clone()).or_default();
        if *entries + count > WAITING_ENTRIES_MAX {
            return false;
        }
        *entries += count;
        let key = (neighbour.clone(), cluster.clone());
        self.deltas.entry(key).or_default().append(delta);
        true
    }

    pub fn take(&mut self, neighbour: &Text, cluster: &Text) -> Option<Delta> {
        let delta = self.deltas.remove(&(neighbour.clone(), cluster.clone()))?;
        let count: usize = delta.counts().iter().map(|(_, n)| n).sum();
        if let Some(entries) = self.entries.get_mut(neighbour) {
            *entries = entries.saturating_sub(count);
        }
        Some(delta)
    }

    /// The last link to a neighbour is gone.
    pub fn forget(&mut self, neighbour: &Text) {
        self.deltas.retain(|(n, _), _| n != neighbour);
        self.entries.remove(neighbour);
    }
}

impl Fabric {
    /// Whether nodes of `speaker` may say something about `cluster`.
    pub(super) fn may_speak(&self, speaker: &str, cluster: &str) -> Result<(), Reason> {
        let routed = self.is_foreign(speaker)
            && *speaker != *cluster
            && (self.routes.table().is_routed_by(speaker, cluster) || self.link_state.reaches(cluster));
        let verdict = self.federation.may_speak(speaker, cluster, routed);
        // What lies behind a neighbour may come to be routed.
        let unrouted = verdict == Err(Reason::NotEntitled) && self.is_foreign(cluster);
        if unrouted { Err(Reason::EntryUnrouted) } else { verdict }
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
        let catalog = &self.catalog;
        delta.topic_removals.retain(|id| {
            let key = |cluster: &Text, node: &Text| TopicKey {
                cluster_id: cluster.clone(),
                node_id: node.clone(),
                subscription_id: id.clone(),
            };
            if catalog.topic(&key(&cluster, origin)).is_some() {
                return true;
            }
            let mut holders = catalog.topics().filter(|t| t.subscription_id == *id);
            let entitled =
                holders.all(|t| t.node_id != *own && self.may_speak(speaker, &t.cluster_id).is_ok());
            if !entitled {
                refused.push((Reason::NotEntitled, format!("removal of the subscription {id}")));
            }
            entitled
        });
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
        for cluster in unrouted {
            let part = delta.split_off(&cluster);
            let lines: usize = part.counts().iter().map(|(_, n)| n).sum();
            let kept = self.waiting_for_route.add(speaker, &cluster, part);
            let reason = if kept { Reason::EntryUnrouted } else { Reason::CatalogLimit };
            let text = format!("{lines} entries of {cluster}, to which {speaker} has announced no route");
            out.push(Action::Refused { reason, link: Some(link), count: lines, text });
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

/// Entries of one neighbour that wait for a route.
const WAITING_ENTRIES_MAX: usize = 10_000;
