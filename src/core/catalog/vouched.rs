//! Entries of nodes that somebody vouches for: their leases are renewed here, without a word from them.
//!
//! What such a node says is ordered by the versions of `membership::Roster` and not by the dates of its entries, so
//! these are taken as they come, dated by the clock of this node. Limits and the one-to-one of names and ids hold as
//! for all others.

use std::collections::BTreeSet;

use super::*;

impl Catalog {
    /// Applies a change that `node` of `cluster` made to its entries. Whatever is of others is to be taken out before.
    pub fn vouch(
        &mut self,
        cluster: &Text,
        node: &Text,
        mut delta: Delta,
        now: f64,
        ttl_seconds: f64,
    ) -> Applied {
        let ids = std::mem::take(&mut delta.topic_removals);
        let key =
            |id: Text| TopicKey { cluster_id: cluster.clone(), node_id: node.clone(), subscription_id: id };
        delta.share_texts(cluster, &BTreeSet::from([node.clone()]));
        self.put_in(delta, ids.into_iter().map(key).collect(), now, ttl_seconds)
    }

    /// Makes `delta` all that these nodes of `cluster` hold.
    pub fn replace(
        &mut self,
        cluster: &Text,
        nodes: &BTreeSet<Text>,
        mut delta: Delta,
        now: f64,
        ttl_seconds: f64,
    ) -> Applied {
        fn gone<E: Entry>(table: &Table<E>, kept: &[Arc<E>], of: (&Text, &BTreeSet<Text>)) -> Vec<E::Key> {
            let kept: BTreeSet<E::Key> = kept.iter().map(|e| e.key()).collect();
            let (cluster, nodes) = of;
            let theirs =
                nodes.iter().flat_map(|node| table.held_by(node)).filter(|e| e.cluster_id() == cluster);
            theirs.map(|e| e.key()).filter(|key| !kept.contains(key)).collect()
        }
        let of = (cluster, nodes);
        delta.function_removals = gone(&self.functions, &delta.functions, of);
        let topics = gone(&self.topics, &delta.topics, of);
        delta.queue_removals = gone(&self.queues, &delta.queues, of);
        delta.service_removals = gone(&self.services, &delta.services, of);
        delta.cache_removals = gone(&self.caches, &delta.caches, of);
        delta.cache_profile_removals = gone(&self.cache_profiles, &delta.cache_profiles, of);
        delta.node_removals = gone(&self.nodes, &delta.nodes, of);
        delta.topic_removals.clear();
        delta.share_texts(cluster, nodes);
        self.put_in(delta, topics, now, ttl_seconds)
    }

    /// Renews the leases that end before a time, of the holders that are `alive`; the answer is their entries.
    pub fn renew(
        &mut self,
        alive: impl Fn(&str, &str) -> bool,
        ending_before: f64,
        now: f64,
        ttl_seconds: f64,
    ) -> Delta {
        let mut changed = Delta { sent_at: now, ..Delta::default() };
        let functions =
            renewed(&mut self.functions, &alive, ending_before, now, ttl_seconds, &mut changed.functions);
        if !functions.is_empty() {
            let bindings = Arc::make_mut(&mut self.bindings);
            functions.iter().for_each(|(key, entry)| bindings.renew(key, entry));
        }
        macro_rules! renew {
            ($($list:ident)*) => { $(
                renewed(&mut self.$list, &alive, ending_before, now, ttl_seconds, &mut changed.$list);
            )* };
        }
        renew!(topics queues services caches cache_profiles nodes);
        changed
    }

    fn put_in(&mut self, mut delta: Delta, topics: Vec<TopicKey>, now: f64, ttl_seconds: f64) -> Applied {
        delta.stamp(now, ttl_seconds);
        let mut applied = Applied::default();
        let Applied { changed, refused } = &mut applied;
        changed.sent_at = now;
        let mut room = Room { per_cluster: &mut self.per_cluster, max: self.entries_per_cluster_max };
        let gone = take_out(&mut self.functions, delta.function_removals, &mut room, now, |k| &k.cluster_id);
        for key in &gone {
            Arc::make_mut(&mut self.bindings).unbind(key);
        }
        changed.function_removals = gone;
        let gone = take_out(&mut self.topics, topics, &mut room, now, |k| &k.cluster_id);
        changed.topic_removals = gone.into_iter().map(|k| k.subscription_id).collect();
        for entry in delta.functions {
            if let Some(other) = self.bindings.conflict(&entry.identity) {
                refused.push((Reason::EntryConflict, format!("{} is bound to {other}", entry.identity.name)));
            } else if let Some(key) = put(&mut self.functions, &entry, &mut room, refused) {
                Arc::make_mut(&mut self.bindings).bind(key, entry.clone());
                changed.functions.push(entry);
            }
        }
        for entry in delta.topics {
            if put(&mut self.topics, &entry, &mut room, refused).is_some() {
                changed.topics.push(entry);
            }
        }
        macro_rules! both {
            ($($list:ident $removals:ident)*) => { $(
                changed.$removals =
                    take_out(&mut self.$list, delta.$removals, &mut room, now, |k| &k.cluster_id);
                for entry in delta.$list {
                    if put(&mut self.$list, &entry, &mut room, refused).is_some() {
                        changed.$list.push(entry);
                    }
                }
            )* };
        }
        both! {
            queues queue_removals services service_removals caches cache_removals
            cache_profiles cache_profile_removals nodes node_removals
        }
        applied
    }
}

fn take_out<E: Entry>(
    table: &mut Arc<Table<E>>,
    keys: Vec<E::Key>,
    room: &mut Room,
    now: f64,
    cluster: impl Fn(&E::Key) -> &Text,
) -> Vec<E::Key> {
    let removal = Removal { sent_at: f64::INFINITY, by_holder: false };
    let there = keys.into_iter().filter(|key| {
        let known = table.get(key).is_some();
        known && Arc::make_mut(table).remove(key, removal, now).is_ok_and(|gone| gone.is_some())
    });
    let gone: Vec<E::Key> = there.collect();
    gone.iter().for_each(|key| room.release(cluster(key)));
    gone
}

/// Renews entries of one type and lists them.
fn renewed<E: Entry>(
    table: &mut Arc<Table<E>>,
    alive: &impl Fn(&str, &str) -> bool,
    ending_before: f64,
    now: f64,
    ttl_seconds: f64,
    list: &mut Vec<Arc<E>>,
) -> Vec<(Arc<E::Key>, Arc<E>)> {
    if table.first_end().is_none_or(|end| end >= ending_before) {
        return Vec::new();
    }
    // The entries of one holder come one after the other.
    let mut last: Option<(Text, Text, bool)> = None;
    let due = |entry: &E| {
        let (cluster, node) = (entry.cluster_id(), entry.node_id());
        let known = last.as_ref().filter(|(c, n, _)| n == node && c == cluster).map(|(.., alive)| *alive);
        let is_alive = known.unwrap_or_else(|| {
            let is_alive = alive(cluster, node);
            last = Some((cluster.clone(), node.clone(), is_alive));
            is_alive
        });
        is_alive && entry.ends_at() < ending_before
    };
    let renewed = Arc::make_mut(table).renew(due, now, ttl_seconds);
    list.extend(renewed.iter().map(|(_, entry)| entry.clone()));
    renewed
}

/// The key, unless there is no room.
fn put<E: Entry>(
    table: &mut Arc<Table<E>>,
    entry: &Arc<E>,
    room: &mut Room,
    refused: &mut Vec<(Reason, String)>,
) -> Option<Arc<E::Key>> {
    let key = Arc::new(entry.key());
    if table.get(&key).is_none() && !room.take(entry.cluster_id()) {
        refused.push((Reason::CatalogLimit, format!("an entry of {}", entry.node_id())));
        return None;
    }
    Arc::make_mut(table).insert(key.clone(), entry.clone());
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delta(nodes: &[&str], topics: &[(&str, &str)]) -> Delta {
        let node = |n: &&str| {
            let text = format!(r#"{{"node_id":"{n}","cluster_id":"c","advertised_at":1,"ttl_seconds":2}}"#);
            Arc::new(serde_json::from_str(&text).unwrap())
        };
        let topic = |(n, id): &(&str, &str)| {
            let text =
                format!(r#"{{"subscription_id":"{id}","node_id":"{n}","cluster_id":"c","patterns":["a"]}}"#);
            Arc::new(serde_json::from_str(&text).unwrap())
        };
        Delta {
            nodes: nodes.iter().map(node).collect(),
            topics: topics.iter().map(topic).collect(),
            ..Delta::default()
        }
    }

    #[test]
    fn a_renewed_function_is_found_by_its_name_and_leaves_at_its_new_end() {
        let (mut catalog, c, n) = (Catalog::new(100), Text::from("c"), Text::from("n"));
        let text =
            r#"{"identity":{"name":"f","function_id":"f","version":"1"},"node_id":"n","cluster_id":"c"}"#;
        let functions = vec![Arc::new(serde_json::from_str(text).unwrap())];
        catalog.vouch(&c, &n, Delta { functions, ..Delta::default() }, 100.0, 10.0);
        let version = catalog.version(Kind::Functions);
        assert_eq!(catalog.renew(|_, _| true, f64::INFINITY, 105.0, 10.0).functions.len(), 1);
        assert!(catalog.version(Kind::Functions) > version);
        let named: Vec<f64> = catalog.functions_named("f").map(|f| f.advertised_at).collect();
        assert_eq!((named, catalog.next_expiry()), (vec![105.0], Some(115.0)));
        assert!(catalog.expire(112.0).is_empty());
        assert_eq!(catalog.expire(116.0).function_removals.len(), 1);
        assert_eq!(catalog.functions_named("f").count(), 0);
    }

    #[test]
    fn what_is_vouched_for_lives_by_our_clock_and_leaves_by_name() {
        let (mut catalog, c) = (Catalog::new(100), Text::from("c"));
        let both = BTreeSet::from(["n".into(), "m".into()]);
        // Dated long ago by its holder: the version decided that it is news.
        let told = delta(&["n", "m"], &[("n", "same"), ("m", "same")]);
        assert_eq!(catalog.replace(&c, &both, told, 100.0, 10.0).changed.topics.len(), 2);
        assert_eq!(catalog.next_expiry(), Some(110.0));
        assert!(catalog.renew(|_, node| node == "n", 110.0, 105.0, 10.0).is_empty());
        let renewed = catalog.renew(|_, node| node == "n", f64::INFINITY, 105.0, 10.0);
        assert_eq!((renewed.nodes.len(), renewed.topics.len()), (1, 1));
        let removal = Delta { topic_removals: vec!["same".into()], ..Delta::default() };
        assert_eq!(catalog.vouch(&c, &"n".into(), removal, 106.0, 10.0).changed.topic_removals.len(), 1);
        assert_eq!(catalog.topics().map(|t| &*t.node_id).collect::<Vec<_>>(), ["m"]);
        let gone = catalog.expire(112.0);
        assert_eq!((gone.node_removals.len(), gone.topic_removals.len()), (1, 1));
        let nobody = catalog.replace(&c, &BTreeSet::from(["n".into()]), Delta::default(), 112.0, 10.0);
        assert_eq!((nobody.changed.node_removals.len(), catalog.entries_of_cluster("c")), (1, 0));
    }
}
