//! The catalog: who offers what. One owner changes it by deltas; everybody else reads.
//!
//! It keeps each entry until its lease ends or its holder removes it, accepts what is newer and refuses what is
//! older, expired, removed since, in conflict, dated in the future or too much, each with its reason (fabric.md 6.4,
//! 6.5). It never asks whether somebody may speak for somebody else: that is decided before (`core::fabric`).
//!
//! A clone is cheap, shares all tables, and stays as it is while the original changes: it is the snapshot that
//! readers get.

mod bindings;
mod delta;
mod entry;
mod graves;
mod identity;
mod lease;
mod lookup;
mod privacy;
mod table;
mod vouched;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use delta::*;
pub use entry::*;
pub use graves::Graves;
pub use identity::*;
pub use lease::{Entry, Leased};
pub use table::Buried;

use super::reason::Reason;
use bindings::Bindings;
use lease::dated;
use table::{Removal, Table};

/// The live entries of all types.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    functions: Arc<Table<FunctionEntry>>,
    nodes: Arc<Table<NodeEntry>>,
    topics: Arc<Table<TopicEntry>>,
    queues: Arc<Table<QueueEntry>>,
    services: Arc<Table<ServiceEntry>>,
    caches: Arc<Table<CacheEntry>>,
    cache_profiles: Arc<Table<CacheProfileEntry>>,
    bindings: Arc<Bindings>,
    /// Entries of all types per cluster, against `entries_per_cluster_max`.
    per_cluster: BTreeMap<Text, usize>,
    entries_per_cluster_max: usize,
}

/// The seven types of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Functions,
    Nodes,
    Topics,
    Queues,
    Services,
    Caches,
    CacheProfiles,
}

/// A function with this tag may run twice: a call whose outcome is unknown is tried at another node.
pub const IDEMPOTENT_TAG: &str = "idempotent";

/// What became of a delta.
#[derive(Debug, Default)]
pub struct Applied {
    /// What really changed; what watchers are told and what is passed on.
    pub changed: Delta,
    /// What was refused: why, and which entry.
    pub refused: Vec<(Reason, String)>,
}

impl Catalog {
    /// `entries_per_cluster_max` is limits.catalog_entries_per_cluster.
    pub fn new(entries_per_cluster_max: usize) -> Catalog {
        Catalog { entries_per_cluster_max, ..Catalog::default() }
    }

    /// For a reload; entries above a smaller limit stay until they go by themselves.
    pub fn set_limit(&mut self, entries_per_cluster_max: usize) {
        self.entries_per_cluster_max = entries_per_cluster_max;
    }

    /// Applies a delta whose sender holds none of the entries it removes; see [`Catalog::apply_from`].
    pub fn apply(&mut self, delta: Delta, now: f64) -> Applied {
        self.apply_from("", delta, now)
    }

    /// Applies removals, then upserts (fabric.md 6.4). `now` is the wall clock of this node. `origin` is the node that
    /// made the delta: where it removes entries of its own, the time it sent that is on the clock that dated them, and
    /// nothing older of them is taken any more. Other removals bury what they remove and nothing newer.
    pub fn apply_from(&mut self, origin: &str, delta: Delta, now: f64) -> Applied {
        self.apply_within(origin, delta, now, self.entries_per_cluster_max)
    }

    /// Applies what was known before this node was started, as [`Catalog::apply`] does. It is served here, and told to
    /// nobody until somebody says it again: while the node was down, it may have been unsaid.
    pub fn restore(&mut self, own: &str, delta: Delta, now: f64) -> Applied {
        let applied = self.apply(delta, now);
        macro_rules! doubt {
            ($($list:ident)*) => { $(
                if !applied.changed.$list.is_empty() {
                    Arc::make_mut(&mut self.$list).doubt_all_but(own);
                }
            )* };
        }
        doubt!(functions topics queues services caches cache_profiles nodes);
        applied
    }

    /// Applies what the node `own`, which is this one, says of itself: no limit counts, so that others cannot crowd
    /// it out.
    pub fn apply_own(&mut self, own: &str, delta: Delta, now: f64) -> Applied {
        self.apply_within(own, delta, now, usize::MAX)
    }

    /// Takes out what has outlived its lease; the answer lists it as removals.
    pub fn expire(&mut self, now: f64) -> Delta {
        let mut gone = Delta { sent_at: now, ..Delta::default() };
        if self.next_expiry().is_none_or(|end| now <= end) {
            return gone;
        }
        let room = &mut Room { per_cluster: &mut self.per_cluster, max: self.entries_per_cluster_max };
        gone.function_removals = ended(&mut self.functions, room, now, |k| &k.cluster_id);
        for key in &gone.function_removals {
            Arc::make_mut(&mut self.bindings).unbind(key);
        }
        let topics = ended(&mut self.topics, room, now, |k| &k.cluster_id);
        gone.topic_removals = topics.into_iter().map(|k| k.subscription_id).collect();
        gone.queue_removals = ended(&mut self.queues, room, now, |k| &k.cluster_id);
        gone.service_removals = ended(&mut self.services, room, now, |k| &k.cluster_id);
        gone.cache_removals = ended(&mut self.caches, room, now, |k| &k.cluster_id);
        gone.cache_profile_removals = ended(&mut self.cache_profiles, room, now, |k| &k.cluster_id);
        gone.node_removals = ended(&mut self.nodes, room, now, |k| &k.cluster_id);
        gone
    }

    /// The end of the lease that ends first, wall clock.
    pub fn next_expiry(&self) -> Option<f64> {
        let ends = [
            self.functions.first_end(),
            self.nodes.first_end(),
            self.topics.first_end(),
            self.queues.first_end(),
            self.services.first_end(),
            self.caches.first_end(),
            self.cache_profiles.first_end(),
        ];
        ends.into_iter().flatten().reduce(f64::min)
    }

    /// Removals for everything that `node` holds, as its departure makes them.
    pub fn holdings(&self, node: &str) -> Delta {
        fn keys<E: Entry>(table: &Table<E>, node: &str) -> Vec<E::Key> {
            table.held_by(node).map(|e| e.key()).collect()
        }
        Delta {
            function_removals: keys(&self.functions, node),
            topic_removals: keys(&self.topics, node).into_iter().map(|k| k.subscription_id).collect(),
            queue_removals: keys(&self.queues, node),
            service_removals: keys(&self.services, node),
            cache_removals: keys(&self.caches, node),
            cache_profile_removals: keys(&self.cache_profiles, node),
            node_removals: keys(&self.nodes, node),
            ..Delta::default()
        }
    }

    /// Removals for everything that `node` of `cluster` holds, if anything. The node itself is among them even where its
    /// entry is gone: by it its subscriptions are told from those of others.
    pub fn departure(&self, cluster: &Text, node: &Text) -> Delta {
        // A node of the same name in another cluster has not left.
        let mut all = self.holdings(node);
        let mut delta = all.split_off(cluster);
        let key = |id: &Text| TopicKey {
            cluster_id: cluster.clone(),
            node_id: node.clone(),
            subscription_id: id.clone(),
        };
        delta.topic_removals = all.topic_removals;
        delta.topic_removals.retain(|id| self.topics.get(&key(id)).is_some());
        if !delta.is_empty() {
            delta.node_removals = vec![NodeKey { cluster_id: cluster.clone(), node_id: node.clone() }];
        }
        delta
    }

    /// The live entries for which `wanted` holds, given their cluster and node, as one delta.
    pub fn excerpt(&self, wanted: impl Fn(&str, &str) -> bool) -> Delta {
        macro_rules! part {
            ($($list:ident)*) => { Delta {
                $($list: part(self.$list.iter(), &wanted),)*
                ..Delta::default()
            } };
        }
        part!(functions topics queues services caches cache_profiles nodes)
    }

    /// The same without what is known from before the start alone: what others may be told.
    pub fn confirmed(&self, wanted: impl Fn(&str, &str) -> bool) -> Delta {
        macro_rules! part {
            ($($list:ident)*) => { Delta {
                $($list: part(self.$list.confirmed(), &wanted),)*
                ..Delta::default()
            } };
        }
        part!(functions topics queues services caches cache_profiles nodes)
    }

    /// Whether the entry of a node is not known from before the start alone.
    pub fn is_confirmed(&self, node: &NodeKey) -> bool {
        self.nodes.is_confirmed(node)
    }

    /// The live entries of these nodes of a cluster, as one delta.
    pub fn excerpt_of<'a>(&self, cluster: &str, nodes: impl Iterator<Item = &'a Text> + Clone) -> Delta {
        fn part<'a, E: Entry>(
            table: &Table<E>,
            cluster: &str,
            nodes: impl Iterator<Item = &'a Text>,
        ) -> Vec<Arc<E>> {
            let theirs = nodes.flat_map(|node| table.held_by(node).filter(|e| **e.cluster_id() == *cluster));
            theirs.cloned().collect()
        }
        Delta {
            functions: part(&self.functions, cluster, nodes.clone()),
            topics: part(&self.topics, cluster, nodes.clone()),
            queues: part(&self.queues, cluster, nodes.clone()),
            services: part(&self.services, cluster, nodes.clone()),
            caches: part(&self.caches, cluster, nodes.clone()),
            cache_profiles: part(&self.cache_profiles, cluster, nodes.clone()),
            nodes: part(&self.nodes, cluster, nodes),
            ..Delta::default()
        }
    }

    /// All live entries as one delta, for a snapshot to a new peer.
    pub fn snapshot(&self) -> Delta {
        self.excerpt(|_, _| true)
    }

    /// Grows with every change of the entries of one type; what is computed from them stays right until it does.
    pub fn version(&self, kind: Kind) -> u64 {
        match kind {
            Kind::Functions => self.functions.version(),
            Kind::Nodes => self.nodes.version(),
            Kind::Topics => self.topics.version(),
            Kind::Queues => self.queues.version(),
            Kind::Services => self.services.version(),
            Kind::Caches => self.caches.version(),
            Kind::CacheProfiles => self.cache_profiles.version(),
        }
    }

    /// Entries of all types that a cluster has in the catalog.
    pub fn entries_of_cluster(&self, cluster_id: &str) -> usize {
        self.per_cluster.get(cluster_id).copied().unwrap_or(0)
    }

    pub fn functions(&self) -> impl Iterator<Item = &Arc<FunctionEntry>> {
        self.functions.iter()
    }

    /// The functions of one name, by cluster, node, version and resources.
    pub fn functions_named(&self, name: &str) -> impl Iterator<Item = &Arc<FunctionEntry>> {
        self.bindings.holders(name)
    }

    /// The functions of one node, in whatever cluster.
    pub fn functions_of(&self, node: &str) -> impl Iterator<Item = &Arc<FunctionEntry>> {
        self.functions.held_by(node)
    }

    pub fn topics(&self) -> impl Iterator<Item = &Arc<TopicEntry>> {
        self.topics.iter()
    }

    pub fn topic(&self, key: &TopicKey) -> Option<&Arc<TopicEntry>> {
        self.topics.get(key)
    }

    pub fn queues(&self) -> impl Iterator<Item = &Arc<QueueEntry>> {
        self.queues.iter()
    }

    pub fn services(&self) -> impl Iterator<Item = &Arc<ServiceEntry>> {
        self.services.iter()
    }

    pub fn caches(&self) -> impl Iterator<Item = &Arc<CacheEntry>> {
        self.caches.iter()
    }

    pub fn cache_profiles(&self) -> impl Iterator<Item = &Arc<CacheProfileEntry>> {
        self.cache_profiles.iter()
    }

    pub fn nodes(&self) -> impl Iterator<Item = &Arc<NodeEntry>> {
        self.nodes.iter()
    }

    /// The entries of nodes of this id, one in each cluster that has such a node.
    pub fn nodes_named(&self, node: &str) -> impl Iterator<Item = &Arc<NodeEntry>> {
        self.nodes.held_by(node)
    }

    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// Grows when a node comes, goes or is confirmed, or its scope changes, and not when it is only renewed.
    pub fn listing_of_nodes(&self) -> u64 {
        self.nodes.listing()
    }

    pub fn node(&self, cluster_id: &str, node_id: &str) -> Option<&Arc<NodeEntry>> {
        self.nodes.get(&NodeKey { cluster_id: cluster_id.into(), node_id: node_id.into() })
    }

    fn apply_within(&mut self, origin: &str, delta: Delta, now: f64, max: usize) -> Applied {
        let mut applied = Applied {
            changed: Delta {
                update_id: delta.update_id.clone(),
                cluster_id: delta.cluster_id.clone(),
                sent_at: delta.sent_at,
                ..Delta::default()
            },
            refused: Vec::new(),
        };
        self.remove(origin, &delta, now, &mut applied);
        let Catalog { functions, nodes, topics, queues, services, caches, cache_profiles, bindings, .. } =
            self;
        let mut room = Room { per_cluster: &mut self.per_cluster, max };
        let Applied { changed, refused } = &mut applied;
        for entry in delta.functions {
            if let Some(other) = bindings.conflict(&entry.identity) {
                refused.push((Reason::EntryConflict, format!("{} is bound to {other}", entry.identity.name)));
                continue;
            }
            let entry = dated(entry, now);
            match upsert(functions, &entry, &mut room, now) {
                Ok(key) => {
                    Arc::make_mut(bindings).bind(key, entry.clone());
                    changed.functions.push(entry);
                }
                Err(reason) => {
                    refused.push((reason, format!("function {} of {}", entry.identity.name, entry.node_id)))
                }
            }
        }
        take(topics, delta.topics, &mut room, now, &mut changed.topics, refused);
        take(queues, delta.queues, &mut room, now, &mut changed.queues, refused);
        take(services, delta.services, &mut room, now, &mut changed.services, refused);
        take(caches, delta.caches, &mut room, now, &mut changed.caches, refused);
        take(cache_profiles, delta.cache_profiles, &mut room, now, &mut changed.cache_profiles, refused);
        take(nodes, delta.nodes, &mut room, now, &mut changed.nodes, refused);
        applied
    }

    fn remove(&mut self, origin: &str, delta: &Delta, now: f64, applied: &mut Applied) {
        let sent_at = if delta.sent_at > 0.0 { delta.sent_at } else { now };
        let topics = self.removed_topics(origin, delta);
        let Applied { changed, refused } = applied;
        let room = &mut Room { per_cluster: &mut self.per_cluster, max: self.entries_per_cluster_max };
        macro_rules! remove {
            ($table:ident $keys:expr, |$key:ident| $done:block) => {
                for $key in $keys {
                    let removal = Removal { sent_at, by_holder: &*$key.node_id == origin };
                    match Arc::make_mut(&mut self.$table).remove($key, removal, now) {
                        Ok(None) => {}
                        Ok(Some(_)) => {
                            room.release(&$key.cluster_id);
                            $done
                        }
                        Err(reason) => refused.push((
                            reason,
                            format!("removal from the {} of {}", stringify!($table), $key.node_id),
                        )),
                    }
                }
            };
        }
        remove!(functions & delta.function_removals, |key| {
            Arc::make_mut(&mut self.bindings).unbind(key);
            changed.function_removals.push(key.clone());
        });
        remove!(topics & topics, |key| { changed.topic_removals.push(key.subscription_id.clone()) });
        remove!(queues & delta.queue_removals, |key| { changed.queue_removals.push(key.clone()) });
        remove!(services & delta.service_removals, |key| { changed.service_removals.push(key.clone()) });
        remove!(caches & delta.cache_removals, |key| { changed.cache_removals.push(key.clone()) });
        remove!(cache_profiles & delta.cache_profile_removals, |key| {
            changed.cache_profile_removals.push(key.clone())
        });
        remove!(nodes & delta.node_removals, |key| { changed.node_removals.push(key.clone()) });
    }

    /// Which subscriptions are meant by the bare ids of a delta: where it takes whole nodes out, those of these nodes;
    /// else those of its origin; else all of that id.
    fn removed_topics(&self, origin: &str, delta: &Delta) -> Vec<TopicKey> {
        let mut keys = Vec::new();
        for id in &delta.topic_removals {
            let key = TopicKey {
                cluster_id: delta.cluster_id.clone(),
                node_id: origin.into(),
                subscription_id: id.clone(),
            };
            let leaving: Vec<TopicKey> = delta
                .node_removals
                .iter()
                .map(|n| TopicKey {
                    cluster_id: n.cluster_id.clone(),
                    node_id: n.node_id.clone(),
                    subscription_id: id.clone(),
                })
                .filter(|k| self.topics.get(k).is_some())
                .collect();
            if !delta.node_removals.is_empty() {
                // They may be gone from here already, or not be here yet.
                let leaves_itself = delta.node_removals.iter().any(|n| *n.node_id == *origin);
                let all = if leaving.is_empty() && leaves_itself { vec![key] } else { leaving };
                keys.extend(all);
            } else if self.topics.get(&key).is_some() {
                keys.push(key);
            } else {
                let before = keys.len();
                keys.extend(self.topics.keys().filter(|k| k.subscription_id == *id).map(|k| (**k).clone()));
                if keys.len() == before {
                    keys.push(key); // not here yet: the announcement may be on its way
                }
            }
        }
        keys
    }
}

/// Counts entries per cluster against the limit.
struct Room<'a> {
    per_cluster: &'a mut BTreeMap<Text, usize>,
    max: usize,
}

impl Room<'_> {
    fn take(&mut self, cluster_id: &Text) -> bool {
        let count = self.per_cluster.entry(cluster_id.clone()).or_default();
        let free = *count < self.max;
        *count += usize::from(free);
        free
    }

    fn release(&mut self, cluster_id: &Text) {
        if let Some(count) = self.per_cluster.get_mut(cluster_id) {
            *count -= 1;
            if *count == 0 {
                self.per_cluster.remove(cluster_id);
            }
        }
    }
}

fn part<'a, E: Entry + 'a>(
    entries: impl Iterator<Item = &'a Arc<E>>,
    wanted: impl Fn(&str, &str) -> bool,
) -> Vec<Arc<E>> {
    entries.filter(|e| wanted(e.cluster_id(), e.node_id())).cloned().collect()
}

fn take<E: Entry>(
    table: &mut Arc<Table<E>>,
    entries: Vec<Arc<E>>,
    room: &mut Room,
    now: f64,
    changed: &mut Vec<Arc<E>>,
    refused: &mut Vec<(Reason, String)>,
) {
    for entry in entries {
        let entry = dated(entry, now);
        match upsert(table, &entry, room, now) {
            Ok(_) => changed.push(entry),
            Err(reason) => refused.push((reason, format!("an entry of {}", entry.node_id()))),
        }
    }
}

/// The acceptance of fabric.md 6.5; the key where the entry was stored.
fn upsert<E: Entry>(
    table: &mut Arc<Table<E>>,
    entry: &Arc<E>,
    room: &mut Room,
    now: f64,
) -> Result<Arc<E::Key>, Reason> {
    if entry.advertised_at() > now + SKEW_SECONDS_MAX {
        return Err(Reason::ClockSkew);
    }
    let key = entry.key();
    if table.judge(&key, entry, now)? && !room.take(entry.cluster_id()) {
        return Err(Reason::CatalogLimit);
    }
    let key = Arc::new(key);
    Arc::make_mut(table).insert(key.clone(), entry.clone());
    Ok(key)
}

fn ended<E: Entry>(
    table: &mut Arc<Table<E>>,
    room: &mut Room,
    now: f64,
    cluster: impl Fn(&E::Key) -> &Text,
) -> Vec<E::Key> {
    if table.first_end().is_none_or(|end| now <= end) {
        return Vec::new();
    }
    let gone = Arc::make_mut(table).expire(now);
    gone.iter().for_each(|key| room.release(cluster(key)));
    gone.into_iter().map(Arc::unwrap_or_clone).collect()
}

/// How far the clock of a holder may be ahead. Without a bound, an entry from the future beats all honest refreshes.
pub const SKEW_SECONDS_MAX: f64 = 300.0;

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
    fn what_a_departed_node_listened_to_is_taken_from_nobody_else() {
        let topic = |node: &str| {
            let text =
                format!(r#"{{"subscription_id":"s","node_id":"{node}","cluster_id":"c","patterns":["a"]}}"#);
            Arc::new(serde_json::from_str(&text).unwrap())
        };
        let mut catalog = Catalog::new(100);
        catalog.apply(Delta { topics: vec![topic("n"), topic("m")], ..Delta::default() }, 10.0);
        let gone = Delta {
            cluster_id: "c".into(),
            sent_at: 11.0,
            topic_removals: vec!["s".into()],
            node_removals: vec![NodeKey { cluster_id: "c".into(), node_id: "n".into() }],
            ..Delta::default()
        };
        // Two peers that saw it go say so, one after the other.
        for (by, removed) in [("p", 1), ("q", 0)] {
            let changed = catalog.apply_from(by, gone.clone(), 11.0).changed;
            assert_eq!(changed.topic_removals.len(), removed, "{by}");
        }
        assert_eq!(catalog.topics().map(|t| &*t.node_id).collect::<Vec<_>>(), ["m"]);
    }

    #[test]
    fn a_departure_takes_only_what_is_of_the_node_though_its_own_entry_is_gone() {
        let topic = |node: &str, cluster: &str| {
            let text = format!(
                r#"{{"subscription_id":"s","node_id":"{node}","cluster_id":"{cluster}","patterns":["a"]}}"#
            );
            Arc::new(serde_json::from_str(&text).unwrap())
        };
        let mut catalog = Catalog::new(100);
        let topics = vec![topic("n", "c"), topic("n", "d"), topic("own", "c")];
        catalog.apply(Delta { topics, ..Delta::default() }, 10.0);
        let gone = catalog.departure(&"c".into(), &"n".into());
        assert_eq!(
            catalog
                .apply_from("own", Delta { cluster_id: "c".into(), ..gone }, 10.0)
                .changed
                .topic_removals
                .len(),
            1
        );
        let left: Vec<_> = catalog.topics().map(|t| (&*t.cluster_id, &*t.node_id)).collect();
        assert_eq!(left, [("c", "own"), ("d", "n")]);
        assert!(catalog.departure(&"c".into(), &"n".into()).is_empty());
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
