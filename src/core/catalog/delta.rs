//! A change of the catalog on its way: what is new and what is gone (fabric.md 6.1).
//!
//! It can be counted, screened entry by entry and cut into pieces. It never decides whether an entry is taken: that
//! is the catalog's (6.5) and, before it, the question who may speak for whom.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::*;
use crate::core::reason::Reason;

/// A change of the catalog (fabric.md 6.1): what is new and what is gone. All sixteen lists are written.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Delta {
    pub update_id: Text,
    pub cluster_id: Text,
    /// Seconds since the epoch by the clock of the sender; 0 where it gave none.
    pub sent_at: f64,
    pub functions: Vec<Arc<FunctionEntry>>,
    pub function_removals: Vec<FunctionKey>,
    pub topics: Vec<Arc<TopicEntry>>,
    /// Subscription ids.
    pub topic_removals: Vec<Text>,
    pub queues: Vec<Arc<QueueEntry>>,
    pub queue_removals: Vec<QueueKey>,
    pub services: Vec<Arc<ServiceEntry>>,
    pub service_removals: Vec<ServiceKey>,
    pub caches: Vec<Arc<CacheEntry>>,
    pub cache_removals: Vec<CacheKey>,
    pub cache_profiles: Vec<Arc<CacheProfileEntry>>,
    pub cache_profile_removals: Vec<NodeKey>,
    pub nodes: Vec<Arc<NodeEntry>>,
    pub node_removals: Vec<NodeKey>,
}

impl Delta {
    /// True where nothing would change.
    pub fn is_empty(&self) -> bool {
        self.counts().into_iter().all(|(_, n)| n == 0)
    }

    /// The fourteen counters of a delta, in the order and with the names of the discovery topics (client.md 5.8).
    pub fn counts(&self) -> [(&'static str, usize); 14] {
        [
            ("functions_added", self.functions.len()),
            ("functions_removed", self.function_removals.len()),
            ("topics_added", self.topics.len()),
            ("topics_removed", self.topic_removals.len()),
            ("queues_added", self.queues.len()),
            ("queues_removed", self.queue_removals.len()),
            ("services_added", self.services.len()),
            ("services_removed", self.service_removals.len()),
            ("caches_added", self.caches.len()),
            ("caches_removed", self.cache_removals.len()),
            ("cache_profiles_added", self.cache_profiles.len()),
            ("cache_profiles_removed", self.cache_profile_removals.len()),
            ("nodes_added", self.nodes.len()),
            ("nodes_removed", self.node_removals.len()),
        ]
    }
    /// Takes out what `verdict` gives a reason against and returns those reasons, each with what it was about.
    /// Subscription ids to be removed name no node and are not asked about; where they are of nodes to be removed, they
    /// stay as long as one of these does: alone they would mean everybody's.
    pub fn screen(&mut self, mut verdict: impl FnMut(Claim<'_>) -> Option<Reason>) -> Vec<(Reason, String)> {
        let mut refused = Vec::new();
        let of_nodes = !self.node_removals.is_empty();
        macro_rules! screen {
            ($($upserts:ident $removals:ident)*) => { $(
                self.$upserts.retain(|e| {
                    let claim = Claim { cluster_id: &e.cluster_id, node_id: &e.node_id, advertised_at: Some(e.advertised_at) };
                    keep(verdict(claim), &mut refused, || format!("{} of {}", stringify!($upserts), e.node_id))
                });
                screen!(@removals $removals);
            )* };
            (@removals topic_removals) => {};
            (@removals $removals:ident) => {
                self.$removals.retain(|k| {
                    let claim = Claim { cluster_id: &k.cluster_id, node_id: &k.node_id, advertised_at: None };
                    keep(verdict(claim), &mut refused, || format!("{} of {}", stringify!($removals), k.node_id))
                });
            };
        }
        screen! {
            functions function_removals topics topic_removals queues queue_removals services service_removals
            caches cache_removals cache_profiles cache_profile_removals nodes node_removals
        }
        if of_nodes && self.node_removals.is_empty() {
            self.topic_removals.clear();
        }
        refused
    }

    /// The clusters that entries and keys of the delta are of.
    pub fn cluster_ids(&self) -> BTreeSet<Text> {
        let mut ids = BTreeSet::new();
        self.each_claim(|claim| {
            if !ids.contains(claim.cluster_id) {
                ids.insert(claim.cluster_id.clone());
            }
        });
        ids
    }

    /// The nodes that entries and keys of the delta are of.
    pub fn node_ids(&self) -> BTreeSet<Text> {
        let mut ids = BTreeSet::new();
        self.each_claim(|claim| {
            if !ids.contains(claim.node_id) {
                ids.insert(claim.node_id.clone());
            }
        });
        ids
    }

    /// Takes out what is of one cluster. Subscription ids to be removed name none and stay.
    pub fn split_off(&mut self, cluster: &Text) -> Delta {
        let mut part = Delta {
            update_id: self.update_id.clone(),
            cluster_id: cluster.clone(),
            sent_at: self.sent_at,
            ..Delta::default()
        };
        macro_rules! split {
            ($($list:ident)*) => { $(
                part.$list = self.$list.extract_if(.., |line| line.cluster_id == *cluster).collect();
            )* };
        }
        split! {
            functions function_removals topics queues queue_removals services service_removals caches cache_removals
            cache_profiles cache_profile_removals nodes node_removals
        }
        part
    }

    fn each_claim<'a>(&'a self, mut visit: impl FnMut(Claim<'a>)) {
        macro_rules! each {
            ($($list:ident)*; $($keys:ident)*) => {
                $(for e in &self.$list {
                    visit(Claim {
                        cluster_id: &e.cluster_id,
                        node_id: &e.node_id,
                        advertised_at: Some(e.advertised_at),
                    });
                })*
                $(for k in &self.$keys {
                    visit(Claim { cluster_id: &k.cluster_id, node_id: &k.node_id, advertised_at: None });
                })*
            };
        }
        each! {
            functions topics queues services caches cache_profiles nodes;
            function_removals queue_removals service_removals cache_removals cache_profile_removals node_removals
        }
    }

    /// Makes all entries of the delta announced at `now`, for `ttl_seconds`.
    pub fn stamp(&mut self, now: f64, ttl_seconds: f64) {
        macro_rules! stamp {
            ($($list:ident)*) => { $(
                for entry in &mut self.$list {
                    let entry = Arc::make_mut(entry);
                    (entry.advertised_at, entry.ttl_seconds) = (now, ttl_seconds);
                }
            )* };
        }
        stamp!(functions topics queues services caches cache_profiles nodes);
    }

    /// Lets all entries that say the same of their holder share one text: a node keeps very many of them.
    pub(super) fn share_texts(&mut self, cluster: &Text, nodes: &BTreeSet<Text>) {
        macro_rules! share {
            ($($list:ident)*) => { $(
                for entry in &mut self.$list {
                    let entry = Arc::make_mut(entry);
                    if entry.cluster_id == *cluster {
                        entry.cluster_id = cluster.clone();
                    }
                    if let Some(node) = nodes.get(&entry.node_id) {
                        entry.node_id = node.clone();
                    }
                }
            )* };
        }
        share!(functions topics queues services caches cache_profiles nodes);
        for entry in &mut self.functions {
            let identity = &mut Arc::make_mut(entry).identity;
            if identity.function_id == identity.name {
                identity.function_id = identity.name.clone();
            }
        }
    }

    /// Makes `node` of `cluster` the holder of all entries and keys of the delta.
    pub fn claim(&mut self, cluster_id: &Text, node_id: &Text) {
        macro_rules! claim {
            (entries $($list:ident)*; keys $($keys:ident)*) => {
                $(for entry in &mut self.$list {
                    let entry = Arc::make_mut(entry);
                    (entry.cluster_id, entry.node_id) = (cluster_id.clone(), node_id.clone());
                })*
                $(for key in &mut self.$keys {
                    (key.cluster_id, key.node_id) = (cluster_id.clone(), node_id.clone());
                })*
            };
        }
        claim! {
            entries functions topics queues services caches cache_profiles nodes;
            keys function_removals queue_removals service_removals cache_removals cache_profile_removals node_removals
        }
    }

    /// The same change in `count` deltas of about equal size; ids and time are those of the whole.
    pub fn pieces(&self, count: usize) -> Vec<Delta> {
        fn part<T: Clone>(list: &[T], nth: usize, count: usize) -> Vec<T> {
            list[list.len() * nth / count..list.len() * (nth + 1) / count].to_vec()
        }
        let count = count.max(1);
        macro_rules! piece {
            ($nth:ident: $($list:ident)*) => { Delta {
                update_id: self.update_id.clone(),
                cluster_id: self.cluster_id.clone(),
                sent_at: self.sent_at,
                $($list: part(&self.$list, $nth, count),)*
            } };
        }
        (0..count)
            .map(|nth| {
                piece! { nth:
                    functions function_removals topics topic_removals queues queue_removals services
                    service_removals caches cache_removals cache_profiles cache_profile_removals nodes
                    node_removals
                }
            })
            .filter(|piece| count == 1 || !piece.is_empty())
            .collect()
    }
}

/// What one line of a delta says, for whoever judges it: whose entry it is, and since when; `None` is a removal.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    pub cluster_id: &'a Text,
    pub node_id: &'a Text,
    pub advertised_at: Option<f64>,
}

fn keep(verdict: Option<Reason>, refused: &mut Vec<(Reason, String)>, what: impl Fn() -> String) -> bool {
    if let Some(reason) = verdict {
        refused.push((reason, what()));
    }
    verdict.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_together_are_the_whole() {
        let text =
            r#"{"topic_removals":["a","b","c","d","e"],"node_removals":[{"cluster_id":"c","node_id":"n"}]}"#;
        let whole: Delta = serde_json::from_str(text).unwrap();
        for count in [1, 2, 3, 7, 20] {
            let pieces = whole.pieces(count);
            assert!(pieces.len() <= count);
            let ids: Vec<_> = pieces.iter().flat_map(|p| p.topic_removals.clone()).collect();
            assert_eq!(ids, whole.topic_removals, "{count}");
            assert_eq!(pieces.iter().map(|p| p.node_removals.len()).sum::<usize>(), 1);
        }
    }

    #[test]
    fn subscriptions_of_nodes_that_may_not_be_removed_stay() {
        let text = r#"{"topic_removals":["a"],"node_removals":[{"cluster_id":"c","node_id":"n"},{"cluster_id":"c","node_id":"m"}]}"#;
        let mut delta: Delta = serde_json::from_str(text).unwrap();
        delta.screen(|claim| (&**claim.node_id == "n").then_some(Reason::NotEntitled));
        assert_eq!((delta.topic_removals.len(), delta.node_removals.len()), (1, 1));
        delta.screen(|_| Some(Reason::NotEntitled));
        assert!(delta.is_empty());
    }

    #[test]
    fn null_is_no_list() {
        assert!(serde_json::from_str::<Delta>(r#"{"functions":null}"#).is_err());
    }
}
