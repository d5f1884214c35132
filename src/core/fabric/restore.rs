//! What a node remembers of its former life (fabric.md 16, 20.2 C33).
//!
//! Stored entries come in through the same acceptance as gossip: expired ones, those of other clusters and those of
//! departed nodes are refused. Entries of this node are never restored: it says itself what it offers now. Peers of
//! before are dialled like nodes of the catalog, after the seeds.

use super::gossip::told;
use super::*;
use crate::core::membership::Candidate;

/// What was kept.
#[derive(Debug, Default)]
pub struct Restored {
    /// Entries of others.
    pub entries: Delta,
    pub peers: Vec<Candidate>,
    /// No date and no number of this node was later.
    pub floor: f64,
}

impl Fabric {
    pub(super) fn restore(&mut self, restored: Restored, now: Now, out: &mut Vec<Action>) {
        let Restored { entries: mut delta, peers, floor } = restored;
        self.announcer.resume(floor, now);
        self.membership.remember(peers);
        self.look_around = true;
        let (own, membership) = (&self.own.membership, &mut self.membership);
        let federation = &self.federation;
        let refused = delta.screen(|claim| {
            // Entries of clusters that nothing leads to yet do no harm: a call fails at once, and their leases end.
            if let Err(reason) = federation.may_reach(claim.cluster_id) {
                return Some(reason);
            }
            if claim.node_id == &own.node_id {
                return Some(Reason::NotEntitled);
            }
            membership.is_departed(claim.node_id, now).then_some(Reason::PeerDeparted)
        });
        told(refused, None, out);
        self.refuse_unspeakable(&mut delta, None, out);
        delta.cluster_id = self.cluster_id().clone();
        let applied = self.catalog.apply(delta, now.wall);
        told(applied.refused, None, out);
        if !applied.changed.is_empty() {
            out.push(Action::CatalogChanged(Box::new(applied.changed)));
        }
        // The entry of the node itself was dated before the floor was known.
        let node = Arc::new(self.own_node());
        self.local(Delta { nodes: vec![node], ..Delta::default() }, now, out);
    }

    /// Whether a node said goodbye and its grace is not over.
    pub fn has_departed(&mut self, node: &str, now: Now) -> bool {
        self.membership.is_departed(node, now)
    }

    /// The last date that this node gave to anything.
    pub fn last_date(&self) -> f64 {
        self.announcer.dated()
    }
}
