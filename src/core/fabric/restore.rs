//! What a node remembers of its former life, and of those it lost in this one (fabric.md 16, 20.2 C33).
//!
//! What is gone comes first. Stored entries then come in through the same acceptance as gossip: expired ones, those of
//! clusters and functions that policy keeps out now, those of departed nodes and what was removed are refused, and no
//! lease becomes longer. They are served here, and told to nobody until somebody says them again. Entries of this node
//! are never restored: it says itself what it offers now. Peers of before are dialled like nodes of the catalog, after
//! the seeds. Route keys count where the configuration still vouches for them. What this node dates goes on after what
//! it dated before.

use serde::{Deserialize, Serialize};

use super::gossip::told;
use super::*;
use crate::core::catalog::{Graves, SKEW_SECONDS_MAX};
use crate::core::membership::{LastKnown, REMEMBERED_MAX};
use crate::core::trust::LearnedKeys;

/// What was kept.
#[derive(Debug, Default)]
pub struct Restored {
    /// Entries of others.
    pub entries: Delta,
    pub peers: Vec<LastKnown>,
    /// Route keys of other clusters.
    pub keys: Vec<LearnedKeys>,
    /// Through whom nodes were known.
    pub tellers: Vec<Teller>,
    pub gone: Gone,
    /// No date and no number of this node was later.
    pub floor: f64,
}

/// Who told of a node last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Teller {
    pub cluster_id: Text,
    pub node_id: Text,
    pub told_by: Text,
}

/// What is gone, and must not come back while somebody may still tell of it.
#[derive(Debug, Clone, Default)]
pub struct Gone {
    pub graves: Graves,
    pub dead: Vec<Dead>,
    pub left: Vec<Left>,
}

/// A node of this program that was found dead or has left, as of a version of what it said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dead {
    pub node_id: Text,
    pub version: u64,
    /// Wall clock.
    pub until: f64,
}

/// An instance of a node that said goodbye and is kept out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Left {
    pub node_id: Text,
    pub instance_id: Text,
    /// Wall clock.
    pub until: f64,
}

impl Fabric {
    pub(super) fn restore(&mut self, restored: Restored, now: Now, out: &mut Vec<Action>) {
        let Restored { entries: mut delta, peers, keys, tellers, gone, floor } = restored;
        self.resume(floor, now);
        self.remember_gone(gone, now);
        self.membership.remember(peers.into_iter().filter(|p| now.wall - p.seen_at < PEER_SECONDS_MAX));
        self.forget_forbidden();
        self.look_around = true;
        let refused = self.trust.restore(keys, now);
        let reason = |(cluster, reason)| (reason, format!("stored route keys of {cluster}"));
        told(refused.into_iter().map(reason).collect(), None, out);
        let (own, membership) = (&self.own.membership, &mut self.membership);
        let federation = &self.federation;
        let mut refused = delta.screen(|claim| {
            // Entries of clusters that nothing leads to yet do no harm: a call fails at once, and their leases end.
            if let Err(reason) = federation.may_reach(claim.cluster_id) {
                return Some(reason);
            }
            if claim.node_id == &own.node_id {
                return Some(Reason::NotEntitled);
            }
            membership.is_departed(claim.node_id, now).then_some(Reason::PeerDeparted)
        });
        delta.functions.retain(|f| match federation.offers(&f.cluster_id, &f.identity.name) {
            Ok(()) => true,
            Err(reason) => {
                refused.push((reason, format!("function {} of {}", f.identity.name, f.node_id)));
                false
            }
        });
        let own_cluster = self.own.membership.cluster_id.clone();
        refused.extend(self.admission.admit(&mut delta, &own_cluster));
        told(refused, None, out);
        self.refuse_unspeakable(&mut delta, None, out);
        delta.cluster_id = own_cluster;
        let applied = self.catalog.restore(&self.own.membership.node_id, delta, now.wall);
        told(applied.refused, None, out);
        let is_known = |t: &Teller| {
            let holds = |f: &Arc<FunctionEntry>| f.cluster_id == t.cluster_id;
            self.catalog.node(&t.cluster_id, &t.node_id).is_some()
                || self.catalog.functions_of(&t.node_id).any(holds)
        };
        for teller in tellers.iter().filter(|t| is_known(t) && t.told_by != self.own.membership.node_id) {
            self.told_by.add(&teller.cluster_id, &teller.node_id, &teller.told_by);
        }
        if !applied.changed.is_empty() {
            out.push(Action::CatalogChanged(Box::new(applied.changed)));
        }
        // The entry of the node itself was dated before the floor was known.
        let node = Arc::new(self.own_node());
        self.local(Delta { nodes: vec![node], ..Delta::default() }, now, out);
    }

    /// Who told of the nodes of the catalog, to be restored when this node starts again.
    pub fn tellers(&self) -> impl Iterator<Item = Teller> {
        self.told_by.all().map(|(cluster, node, peer)| Teller {
            cluster_id: cluster.clone(),
            node_id: node.clone(),
            told_by: peer.clone(),
        })
    }

    /// What must not come back when this node starts again.
    pub fn gone(&self, now: Now) -> Gone {
        let at = |until: Duration| now.wall + until.saturating_sub(now.mono).as_secs_f64();
        let dead = |(node, version, until): (&Text, u64, Duration)| Dead {
            node_id: node.clone(),
            version,
            until: at(until),
        };
        let left = |(node, instance, until): (&Text, &Text, Duration)| Left {
            node_id: node.clone(),
            instance_id: instance.clone(),
            until: at(until),
        };
        Gone {
            graves: self.catalog.graves(now.wall),
            dead: self.kin.roster.deaths().filter(|(_, _, until)| now.mono < *until).map(dead).collect(),
            left: self.membership.departed().filter(|(_, _, until)| now.mono < *until).map(left).collect(),
        }
    }

    fn remember_gone(&mut self, gone: Gone, now: Now) {
        let rest = |until: f64| now.mono + Duration::try_from_secs_f64(until - now.wall).unwrap_or_default();
        self.catalog.restore_graves(gone.graves, now.wall);
        for Dead { node_id, version, until } in gone.dead {
            self.kin.roster.remember_death(&node_id, version, rest(until), now.mono);
        }
        for Left { node_id, instance_id, until } in gone.left {
            self.membership.remember_departure(node_id, instance_id, rest(until), now);
        }
    }

    /// The proven route keys of other clusters, to be restored when this node starts again.
    pub fn learned_keys(&self, now: Now) -> Vec<LearnedKeys> {
        self.trust.learned(now)
    }

    /// The last date that this node gave to anything.
    pub fn last_date(&self) -> f64 {
        let dates = [self.routes.last_date(), self.trust.last_date(), self.kin_date()];
        dates.into_iter().fold(self.announcer.dated(), f64::max)
    }

    /// Goes on after `floor`, the last date of a former life, where the clock has been set back since. Nobody takes
    /// anything of the far future, so that dates stay within what others bear.
    fn resume(&mut self, floor: f64, now: Now) {
        if floor <= now.wall {
            return;
        }
        let date = floor.min(now.wall + SKEW_SECONDS_MAX / 2.0);
        self.announcer.resume(date, floor);
        self.routes.resume(date, floor);
        self.link_state.resume(floor);
        self.trust.resume(date);
        self.resume_kin(date, now);
    }

    /// The peers to be restored when this node starts again: those it is linked with, its kin, and whom it looks for.
    pub fn worth_remembering(&self, now: Now) -> Vec<LastKnown> {
        let mut found: BTreeMap<&Text, LastKnown> =
            self.membership.remembered().map(|peer| (&peer.node, peer.clone())).collect();
        found.retain(|_, peer| now.wall - peer.seen_at < PEER_SECONDS_MAX);
        let kin = self.kin_members().map(|node| (node, self.cluster_id()));
        let linked = self.membership.connected().map(|(node, peer)| (node, &peer.cluster_id));
        for (node, cluster) in kin.chain(linked) {
            found.insert(node, self.last_known(node, cluster, now));
        }
        let mut found: Vec<LastKnown> = found.into_values().collect();
        if found.len() > REMEMBERED_MAX {
            found.sort_by(|a, b| b.seen_at.total_cmp(&a.seen_at));
            found.truncate(REMEMBERED_MAX);
        }
        found
    }

    /// Where a node of a cluster is found, as of now.
    pub(super) fn last_known(&self, node: &Text, cluster: &Text, now: Now) -> LastKnown {
        let entry = self.catalog.node(cluster, node);
        let url = entry.map_or_else(|| node.clone(), |entry| Candidate::of(entry).into_url());
        LastKnown { node: node.clone(), url, cluster_id: cluster.clone(), seen_at: now.wall }
    }

    /// Looks no more for those whom the federation lets this node meet no more.
    pub(super) fn forget_forbidden(&mut self) {
        let federation = &self.federation;
        self.membership.forget_unless(|peer| federation.may_meet(&peer.cluster_id, Some(&peer.node)).is_ok());
    }
}

/// A peer that was not seen for a week is not looked for any more.
const PEER_SECONDS_MAX: f64 = 7.0 * 86400.0;
