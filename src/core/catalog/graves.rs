//! What was removed and may still come back, of all types, so that it can be remembered over a restart.

use super::*;

/// As lists by type, each in the order of its keys.
#[derive(Debug, Clone, Default)]
pub struct Graves {
    pub functions: Vec<Buried<FunctionKey>>,
    pub topics: Vec<Buried<TopicKey>>,
    pub queues: Vec<Buried<QueueKey>>,
    pub services: Vec<Buried<ServiceKey>>,
    pub caches: Vec<Buried<CacheKey>>,
    pub cache_profiles: Vec<Buried<NodeKey>>,
    pub nodes: Vec<Buried<NodeKey>>,
}

impl Catalog {
    /// What must not come back yet.
    pub fn graves(&self, now: f64) -> Graves {
        Graves {
            functions: self.functions.graves(now).collect(),
            topics: self.topics.graves(now).collect(),
            queues: self.queues.graves(now).collect(),
            services: self.services.graves(now).collect(),
            caches: self.caches.graves(now).collect(),
            cache_profiles: self.cache_profiles.graves(now).collect(),
            nodes: self.nodes.graves(now).collect(),
        }
    }

    /// Takes over what was removed in a former life, as far as it may still come back. As many are kept as of new ones.
    pub fn restore_graves(&mut self, graves: Graves, now: f64) {
        macro_rules! restore {
            ($($list:ident)*) => { $(
                if !graves.$list.is_empty() {
                    let table = Arc::make_mut(&mut self.$list);
                    graves.$list.into_iter().for_each(|buried| table.restore_grave(buried, now));
                }
            )* };
        }
        restore!(functions topics queues services caches cache_profiles nodes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(at: f64) -> Delta {
        let text = format!(
            r#"{{"topics":[{{"subscription_id":"s","node_id":"n","cluster_id":"c","patterns":["a"],
            "advertised_at":{at},"ttl_seconds":600}}]}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn what_was_removed_is_refused_after_a_restart_until_it_cannot_come_any_more() {
        let mut catalog = Catalog::new(100);
        catalog.apply(topic(1000.0), 1000.0);
        let removals = Delta { sent_at: 1010.0, cluster_id: "c".into(), ..catalog.holdings("n") };
        catalog.apply_from("n", removals, 1010.0);
        let graves = catalog.graves(1010.0);
        assert_eq!(graves.topics.len(), 1);
        let mut again = Catalog::new(100);
        again.restore_graves(graves.clone(), 1020.0);
        assert_eq!(again.apply(topic(1000.0), 1020.0).refused[0].0, Reason::EntryStale);
        assert!(again.apply(topic(1011.0), 1020.0).refused.is_empty(), "said after the removal");
        let mut late = Catalog::new(100);
        late.restore_graves(graves.clone(), 1310.5);
        assert!(late.graves(1310.5).topics.is_empty());
        // Where the clock was set back, a grave does not last longer than a new one.
        let mut back = Catalog::new(100);
        back.restore_graves(graves, 100.0);
        assert_eq!(back.graves(100.0).topics[0].until, 400.0);
    }
}
