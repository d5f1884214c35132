//! The catalog: who offers what. One owner changes it by deltas; everybody else reads.
//!
//! It keeps each entry until its lease ends or its holder removes it, accepts what is newer and refuses what is
//! older, expired, in conflict or too much, each with its reason (fabric.md 6.4, 6.5). It never asks where a delta
//! came from: who may speak for whom is decided before (`membership`).

mod entry;
mod lookup;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use entry::*;

use super::reason::Reason;

/// The live entries of all types.
#[derive(Debug, Default)]
pub struct Catalog {
    functions: BTreeMap<FunctionKey, Arc<FunctionEntry>>,
    nodes: BTreeMap<NodeKey, Arc<NodeEntry>>,
    topics: BTreeMap<TopicKey, Arc<TopicEntry>>,
    queues: BTreeMap<QueueKey, Arc<QueueEntry>>,
    services: BTreeMap<ServiceKey, Arc<ServiceEntry>>,
    caches: BTreeMap<CacheKey, Arc<CacheEntry>>,
    cache_profiles: BTreeMap<NodeKey, Arc<CacheProfileEntry>>,
    /// Function name to id and id to name, with the number of entries that hold the binding.
    bindings: BTreeMap<Text, (Text, usize)>,
    ids: BTreeMap<Text, Text>,
    /// Entries of all types per cluster, against `entries_per_cluster_max`.
    per_cluster: BTreeMap<Text, usize>,
    entries_per_cluster_max: usize,
}

/// Names one subscription.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TopicKey {
    pub cluster_id: Text,
    pub node_id: Text,
    pub subscription_id: Text,
}

/// What became of a delta.
#[derive(Debug, Default)]
pub struct Applied {
    /// What really changed; what watchers are told and what is passed on.
    pub changed: Delta,
    /// What was refused: why, and which entry.
    pub refused: Vec<(Reason, String)>,
}

/// An entry with a lease and a holder.
pub trait Leased {
    fn advertised_at(&self) -> f64;
    fn ttl_seconds(&self) -> f64;
    fn node_id(&self) -> &Text;
    fn cluster_id(&self) -> &Text;
    /// Fills in the time of arrival where the sender gave none.
    fn stamp(&mut self, now: f64);

    /// Strictly after the end of the lease.
    fn expired(&self, now: f64) -> bool {
        now > self.advertised_at() + self.ttl_seconds()
    }
}

macro_rules! leased {
    ($($entry:ident)*) => { $(impl Leased for $entry {
        fn advertised_at(&self) -> f64 { self.advertised_at }
        fn ttl_seconds(&self) -> f64 { self.ttl_seconds }
        fn node_id(&self) -> &Text { &self.node_id }
        fn cluster_id(&self) -> &Text { &self.cluster_id }
        fn stamp(&mut self, now: f64) {
            if self.advertised_at == unset() {
                self.advertised_at = now;
            }
        }
    })* };
}
leased! { FunctionEntry NodeEntry TopicEntry QueueEntry ServiceEntry CacheEntry CacheProfileEntry }

impl Catalog {
    /// `entries_per_cluster_max` is limits.catalog_entries_per_cluster.
    pub fn new(entries_per_cluster_max: usize) -> Catalog {
        Catalog { entries_per_cluster_max, ..Catalog::default() }
    }

    /// Applies removals, then upserts (fabric.md 6.4). `now` is the wall clock of this node.
    pub fn apply(&mut self, delta: Delta, now: f64) -> Applied {
        let mut applied = Applied {
            changed: Delta {
                update_id: delta.update_id.clone(),
                cluster_id: delta.cluster_id.clone(),
                sent_at: delta.sent_at,
                ..Delta::default()
            },
            refused: Vec::new(),
        };
        self.remove(&delta, &mut applied.changed);
        let Applied { changed, refused } = &mut applied;
        for entry in delta.functions {
            let entry = stamped(entry, now);
            if let Some(other) = self.conflict(&entry.identity) {
                refused.push((Reason::EntryConflict, format!("{} is bound to {other}", entry.identity.name)));
                continue;
            }
            let key = entry.key();
            let is_new = !self.functions.contains_key(&key);
            if upsert(
                &mut self.functions,
                key,
                &entry,
                &mut self.per_cluster,
                self.entries_per_cluster_max,
                now,
                refused,
            ) {
                if is_new {
                    self.bind(&entry.identity);
                }
                changed.functions.push(entry);
            }
        }
        for entry in delta.topics {
            let entry = stamped(entry, now);
            if upsert(
                &mut self.topics,
                entry.key(),
                &entry,
                &mut self.per_cluster,
                self.entries_per_cluster_max,
                now,
                refused,
            ) {
                changed.topics.push(entry);
            }
        }
        for entry in delta.queues {
            let entry = stamped(entry, now);
            if upsert(
                &mut self.queues,
                entry.key(),
                &entry,
                &mut self.per_cluster,
                self.entries_per_cluster_max,
                now,
                refused,
            ) {
                changed.queues.push(entry);
            }
        }
        for entry in delta.services {
            let entry = stamped(entry, now);
            if upsert(
                &mut self.services,
                entry.key(),
                &entry,
                &mut self.per_cluster,
                self.entries_per_cluster_max,
                now,
                refused,
            ) {
                changed.services.push(entry);
            }
        }
        for entry in delta.caches {
            let entry = stamped(entry, now);
            if upsert(
                &mut self.caches,
                entry.key(),
                &entry,
                &mut self.per_cluster,
                self.entries_per_cluster_max,
                now,
                refused,
            ) {
                changed.caches.push(entry);
            }
        }
        for entry in delta.cache_profiles {
            let entry = stamped(entry, now);
            if upsert(
                &mut self.cache_profiles,
                entry.key(),
                &entry,
                &mut self.per_cluster,
                self.entries_per_cluster_max,
                now,
                refused,
            ) {
                changed.cache_profiles.push(entry);
            }
        }
        for entry in delta.nodes {
            let entry = stamped(entry, now);
            if upsert(
                &mut self.nodes,
                entry.key(),
                &entry,
                &mut self.per_cluster,
                self.entries_per_cluster_max,
                now,
                refused,
            ) {
                changed.nodes.push(entry);
            }
        }
        applied
    }

    /// Takes out what has outlived its lease; the answer lists it as removals.
    pub fn expire(&mut self, now: f64) -> Delta {
        let mut gone = Delta { sent_at: now, ..Delta::default() };
        gone.function_removals = expired_keys(&self.functions, now);
        let topics: Vec<TopicKey> = expired_keys(&self.topics, now);
        for key in &topics {
            gone.topic_removals.push(key.subscription_id.clone());
            if self.topics.remove(key).is_some() {
                release(&mut self.per_cluster, &key.cluster_id);
            }
        }
        gone.queue_removals = expired_keys(&self.queues, now);
        gone.service_removals = expired_keys(&self.services, now);
        gone.cache_removals = expired_keys(&self.caches, now);
        gone.cache_profile_removals = expired_keys(&self.cache_profiles, now);
        gone.node_removals = expired_keys(&self.nodes, now);
        let mut removed = Delta::default();
        gone.topic_removals = {
            let topics = std::mem::take(&mut gone.topic_removals);
            self.remove(&gone, &mut removed);
            topics
        };
        gone
    }

    /// The end of the lease that ends first, wall clock.
    pub fn next_expiry(&self) -> Option<f64> {
        fn ends<'a, E: Leased + 'a>(entries: impl Iterator<Item = &'a Arc<E>>) -> f64 {
            entries.map(|e| e.advertised_at() + e.ttl_seconds()).fold(f64::INFINITY, f64::min)
        }
        let first = [
            ends(self.functions.values()),
            ends(self.topics.values()),
            ends(self.queues.values()),
            ends(self.services.values()),
            ends(self.caches.values()),
            ends(self.cache_profiles.values()),
            ends(self.nodes.values()),
        ]
        .into_iter()
        .fold(f64::INFINITY, f64::min);
        first.is_finite().then_some(first)
    }

    /// Removals for everything that `node` holds, as its departure makes them.
    pub fn holdings(&self, node: &str) -> Delta {
        Delta {
            function_removals: held(&self.functions, node).map(|(k, _)| k.clone()).collect(),
            topic_removals: held(&self.topics, node).map(|(k, _)| k.subscription_id.clone()).collect(),
            queue_removals: held(&self.queues, node).map(|(k, _)| k.clone()).collect(),
            service_removals: held(&self.services, node).map(|(k, _)| k.clone()).collect(),
            cache_removals: held(&self.caches, node).map(|(k, _)| k.clone()).collect(),
            cache_profile_removals: held(&self.cache_profiles, node).map(|(k, _)| k.clone()).collect(),
            node_removals: held(&self.nodes, node).map(|(k, _)| k.clone()).collect(),
            ..Delta::default()
        }
    }

    /// All live entries as one delta, for a snapshot to a new peer.
    pub fn snapshot(&self) -> Delta {
        Delta {
            functions: self.functions.values().cloned().collect(),
            topics: self.topics.values().cloned().collect(),
            queues: self.queues.values().cloned().collect(),
            services: self.services.values().cloned().collect(),
            caches: self.caches.values().cloned().collect(),
            cache_profiles: self.cache_profiles.values().cloned().collect(),
            nodes: self.nodes.values().cloned().collect(),
            ..Delta::default()
        }
    }

    pub fn functions(&self) -> impl Iterator<Item = &Arc<FunctionEntry>> {
        self.functions.values()
    }

    pub fn topics(&self) -> impl Iterator<Item = &Arc<TopicEntry>> {
        self.topics.values()
    }

    pub fn queues(&self) -> impl Iterator<Item = &Arc<QueueEntry>> {
        self.queues.values()
    }

    pub fn services(&self) -> impl Iterator<Item = &Arc<ServiceEntry>> {
        self.services.values()
    }

    pub fn caches(&self) -> impl Iterator<Item = &Arc<CacheEntry>> {
        self.caches.values()
    }

    pub fn cache_profiles(&self) -> impl Iterator<Item = &Arc<CacheProfileEntry>> {
        self.cache_profiles.values()
    }

    pub fn nodes(&self) -> impl Iterator<Item = &Arc<NodeEntry>> {
        self.nodes.values()
    }

    pub fn node(&self, cluster_id: &str, node_id: &str) -> Option<&Arc<NodeEntry>> {
        self.nodes.get(&NodeKey { cluster_id: cluster_id.into(), node_id: node_id.into() })
    }

    fn remove(&mut self, delta: &Delta, changed: &mut Delta) {
        for key in &delta.function_removals {
            if self.functions.remove(key).is_some() {
                release(&mut self.per_cluster, &key.cluster_id);
                self.unbind(&key.identity);
                changed.function_removals.push(key.clone());
            }
        }
        for id in &delta.topic_removals {
            let keys: Vec<TopicKey> =
                self.topics.keys().filter(|k| k.subscription_id == *id).cloned().collect();
            for key in keys {
                self.topics.remove(&key);
                release(&mut self.per_cluster, &key.cluster_id);
                changed.topic_removals.push(id.clone());
            }
        }
        for key in &delta.queue_removals {
            if self.queues.remove(key).is_some() {
                release(&mut self.per_cluster, &key.cluster_id);
                changed.queue_removals.push(key.clone());
            }
        }
        for key in &delta.service_removals {
            if self.services.remove(key).is_some() {
                release(&mut self.per_cluster, &key.cluster_id);
                changed.service_removals.push(key.clone());
            }
        }
        for key in &delta.cache_removals {
            if self.caches.remove(key).is_some() {
                release(&mut self.per_cluster, &key.cluster_id);
                changed.cache_removals.push(key.clone());
            }
        }
        for key in &delta.cache_profile_removals {
            if self.cache_profiles.remove(key).is_some() {
                release(&mut self.per_cluster, &key.cluster_id);
                changed.cache_profile_removals.push(key.clone());
            }
        }
        for key in &delta.node_removals {
            if self.nodes.remove(key).is_some() {
                release(&mut self.per_cluster, &key.cluster_id);
                changed.node_removals.push(key.clone());
            }
        }
    }

    fn conflict(&self, identity: &Identity) -> Option<Text> {
        match (self.bindings.get(&identity.name), self.ids.get(&identity.function_id)) {
            (Some((id, _)), _) if *id != identity.function_id => Some(id.clone()),
            (_, Some(name)) if *name != identity.name => Some(name.clone()),
            _ => None,
        }
    }

    fn bind(&mut self, identity: &Identity) {
        self.bindings.entry(identity.name.clone()).or_insert_with(|| (identity.function_id.clone(), 0)).1 +=
            1;
        self.ids.insert(identity.function_id.clone(), identity.name.clone());
    }

    fn unbind(&mut self, identity: &Identity) {
        if let Some((_, holders)) = self.bindings.get_mut(&identity.name) {
            *holders -= 1;
            if *holders == 0 {
                self.bindings.remove(&identity.name);
                self.ids.remove(&identity.function_id);
            }
        }
    }
}

fn stamped<E: Leased + Clone>(mut entry: Arc<E>, now: f64) -> Arc<E> {
    if entry.advertised_at() == unset() {
        Arc::make_mut(&mut entry).stamp(now);
    }
    entry
}

/// The acceptance of fabric.md 6.5; true where the entry was stored.
fn upsert<K: Ord, E: Leased>(
    entries: &mut BTreeMap<K, Arc<E>>,
    key: K,
    entry: &Arc<E>,
    per_cluster: &mut BTreeMap<Text, usize>,
    entries_per_cluster_max: usize,
    now: f64,
    refused: &mut Vec<(Reason, String)>,
) -> bool {
    let told = || format!("an entry of {}", entry.node_id());
    if entry.expired(now) {
        refused.push((Reason::EntryExpired, told()));
        return false;
    }
    if let Some(known) = entries.get_mut(&key) {
        let newer = entry.advertised_at() > known.advertised_at()
            || entry.advertised_at() == known.advertised_at() && entry.ttl_seconds() > known.ttl_seconds();
        if newer {
            *known = entry.clone();
        } else {
            refused.push((Reason::EntryStale, told()));
        }
        return newer;
    }
    let count = per_cluster.entry(entry.cluster_id().clone()).or_default();
    if *count >= entries_per_cluster_max {
        refused.push((Reason::CatalogLimit, told()));
        return false;
    }
    *count += 1;
    entries.insert(key, entry.clone());
    true
}

fn release(per_cluster: &mut BTreeMap<Text, usize>, cluster_id: &Text) {
    if let Some(count) = per_cluster.get_mut(cluster_id) {
        *count -= 1;
        if *count == 0 {
            per_cluster.remove(cluster_id);
        }
    }
}

fn expired_keys<K: Clone, E: Leased>(entries: &BTreeMap<K, Arc<E>>, now: f64) -> Vec<K> {
    entries.iter().filter(|(_, e)| e.expired(now)).map(|(k, _)| k.clone()).collect()
}

fn held<'a, K, E: Leased>(
    entries: &'a BTreeMap<K, Arc<E>>,
    node: &'a str,
) -> impl Iterator<Item = (&'a K, &'a Arc<E>)> {
    entries.iter().filter(move |(_, e)| &**e.node_id() == node)
}

impl FunctionEntry {
    pub fn key(&self) -> FunctionKey {
        FunctionKey {
            cluster_id: self.cluster_id.clone(),
            node_id: self.node_id.clone(),
            identity: self.identity.clone(),
            resources: self.resources.clone(),
        }
    }
}
impl NodeEntry {
    pub fn key(&self) -> NodeKey {
        NodeKey { cluster_id: self.cluster_id.clone(), node_id: self.node_id.clone() }
    }
}
impl TopicEntry {
    pub fn key(&self) -> TopicKey {
        TopicKey {
            cluster_id: self.cluster_id.clone(),
            node_id: self.node_id.clone(),
            subscription_id: self.subscription_id.clone(),
        }
    }
}
impl QueueEntry {
    pub fn key(&self) -> QueueKey {
        QueueKey {
            cluster_id: self.cluster_id.clone(),
            node_id: self.node_id.clone(),
            queue_name: self.queue_name.clone(),
        }
    }
}
impl ServiceEntry {
    pub fn key(&self) -> ServiceKey {
        ServiceKey {
            cluster_id: self.cluster_id.clone(),
            node_id: self.node_id.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            protocol: self.protocol.clone(),
            port: self.port,
        }
    }
}
impl CacheEntry {
    pub fn key(&self) -> CacheKey {
        CacheKey { cluster_id: self.cluster_id.clone(), node_id: self.node_id.clone(), role: self.role }
    }
}
impl CacheProfileEntry {
    pub fn key(&self) -> NodeKey {
        NodeKey { cluster_id: self.cluster_id.clone(), node_id: self.node_id.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(name: &str, id: &str, at: f64, ttl: f64) -> Arc<FunctionEntry> {
        let text = format!(
            r#"{{"identity":{{"name":"{name}","function_id":"{id}","version":"1"}},"node_id":"n","cluster_id":"c","advertised_at":{at},"ttl_seconds":{ttl}}}"#
        );
        Arc::new(serde_json::from_str(&text).unwrap())
    }

    fn upserts(functions: Vec<Arc<FunctionEntry>>) -> Delta {
        Delta { functions, ..Delta::default() }
    }

    #[test]
    fn newer_wins_older_and_expired_are_refused_with_a_reason() {
        let mut catalog = Catalog::new(100);
        assert_eq!(
            catalog.apply(upserts(vec![function("f", "f", 10.0, 30.0)]), 10.0).changed.functions.len(),
            1
        );
        let refused = catalog
            .apply(upserts(vec![function("f", "f", 9.0, 30.0), function("g", "g", 1.0, 2.0)]), 10.0)
            .refused;
        assert_eq!(
            refused.iter().map(|(r, _)| *r).collect::<Vec<_>>(),
            [Reason::EntryStale, Reason::EntryExpired]
        );
        assert_eq!(
            catalog.apply(upserts(vec![function("f", "f", 11.0, 30.0)]), 11.0).changed.functions.len(),
            1
        );
        assert_eq!(catalog.next_expiry(), Some(41.0));
        assert_eq!(catalog.expire(41.0).function_removals.len(), 0);
        assert_eq!(catalog.expire(41.5).function_removals.len(), 1);
        assert_eq!(catalog.functions().count(), 0);
    }

    #[test]
    fn name_and_id_stay_one_to_one_until_the_last_holder_is_gone() {
        let mut catalog = Catalog::new(100);
        catalog.apply(upserts(vec![function("f", "id-1", 10.0, 5.0)]), 10.0);
        let refused = catalog
            .apply(upserts(vec![function("f", "id-2", 10.0, 5.0), function("g", "id-1", 10.0, 5.0)]), 10.0)
            .refused;
        assert!(refused.len() == 2 && refused.iter().all(|(r, _)| *r == Reason::EntryConflict));
        catalog.expire(20.0);
        assert!(catalog.apply(upserts(vec![function("f", "id-2", 20.0, 5.0)]), 20.0).refused.is_empty());
    }

    #[test]
    fn a_cluster_has_a_limit_and_room_is_made_again() {
        let mut catalog = Catalog::new(1);
        catalog.apply(upserts(vec![function("f", "f", 10.0, 5.0)]), 10.0);
        assert_eq!(
            catalog.apply(upserts(vec![function("g", "g", 10.0, 5.0)]), 10.0).refused[0].0,
            Reason::CatalogLimit
        );
        let gone = catalog.holdings("n");
        assert_eq!(catalog.apply(gone, 10.0).changed.function_removals.len(), 1);
        assert!(catalog.apply(upserts(vec![function("g", "g", 10.0, 5.0)]), 10.0).refused.is_empty());
    }
}
