//! What other nodes want to hear: the subscriptions that they announced through the catalog (client.md 5.6).
//!
//! Subscription ids are unique only within their node, so the key is (node, id). However many subscriptions of a node
//! match a topic, the node comes out once: one copy crosses the link, and the node there does the rest.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::pattern::Pattern;
use super::registry::read_patterns;
use super::trie::Trie;
use super::{Refusal, RemoteTarget};

/// Subscriptions of other nodes.
#[derive(Debug, Default)]
pub struct RemoteSubscriptions {
    trie: Trie<u64>,
    nodes: BTreeMap<Arc<str>, RemoteNode>,
    names: BTreeMap<u64, Arc<str>>,
    last_number: u64,
    /// Over all nodes.
    len: usize,
}

#[derive(Debug)]
struct RemoteNode {
    /// Its value in the trie.
    number: u64,
    subscriptions: BTreeMap<Box<str>, Vec<Pattern>>,
    /// How many of its subscriptions have a pattern; the trie has each only once.
    uses: BTreeMap<Pattern, u32>,
}

impl RemoteSubscriptions {
    /// Makes these the patterns of a subscription. True if something changed; an announcement is repeated often.
    pub fn upsert(&mut self, node: &str, subscription_id: &str, patterns: &[&str]) -> Result<bool, Refusal> {
        let known = self.nodes.get(node).and_then(|n| n.subscriptions.get(subscription_id));
        if known.is_some_and(|known| known.iter().map(|p| &**p.text()).eq(patterns.iter().copied())) {
            return Ok(false);
        }
        let patterns = read_patterns(patterns)?;
        self.remove(node, subscription_id);
        let node: Arc<str> = node.into();
        let at = self.nodes.entry(node).or_insert_with_key(|node| {
            self.last_number += 1;
            self.names.insert(self.last_number, node.clone());
            RemoteNode { number: self.last_number, subscriptions: BTreeMap::new(), uses: BTreeMap::new() }
        });
        for pattern in &patterns {
            let uses = at.uses.entry(pattern.clone()).or_insert(0);
            *uses += 1;
            if *uses == 1 {
                self.trie.insert(pattern, at.number);
            }
        }
        at.subscriptions.insert(subscription_id.into(), patterns);
        self.len += 1;
        Ok(true)
    }

    /// False if there is no such subscription.
    pub fn remove(&mut self, node: &str, subscription_id: &str) -> bool {
        let Some(at) = self.nodes.get_mut(node) else { return false };
        let Some(patterns) = at.subscriptions.remove(subscription_id) else { return false };
        for pattern in &patterns {
            let Some(uses) = at.uses.get_mut(pattern) else { continue };
            *uses -= 1;
            if *uses == 0 {
                at.uses.remove(pattern);
                self.trie.remove(pattern, at.number);
            }
        }
        self.len -= 1;
        if at.subscriptions.is_empty() {
            self.names.remove(&at.number);
            self.nodes.remove(node);
        }
        true
    }

    /// How many subscriptions the node had.
    pub fn drop_node(&mut self, node: &str) -> usize {
        let Some(gone) = self.nodes.remove(node) else { return 0 };
        for pattern in gone.uses.keys() {
            self.trie.remove(pattern, gone.number);
        }
        self.names.remove(&gone.number);
        self.len -= gone.subscriptions.len();
        gone.subscriptions.len()
    }

    /// The nodes with a matching subscription, each once, in the order in which they were first heard of.
    pub fn matches(&self, topic: &str) -> Arc<[RemoteTarget]> {
        let mut numbers = Vec::new();
        self.trie.matches(topic, &mut numbers);
        let name = |number: &u64| self.names.get(number).map(|node| RemoteTarget { node: node.clone() });
        numbers.iter().filter_map(name).collect()
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::pattern::tests::{matches_by_the_book, pattern_text, topic_text};
    use super::super::registry::PATTERNS_MAX;
    use super::*;

    fn nodes(remote: &RemoteSubscriptions, topic: &str) -> Vec<String> {
        remote.matches(topic).iter().map(|target| target.node.to_string()).collect()
    }

    #[test]
    fn a_node_comes_out_once_and_only_while_something_of_it_matches() {
        let mut remote = RemoteSubscriptions::default();
        assert_eq!(remote.upsert("b", "one", &["a.*", "a.#"]), Ok(true));
        assert_eq!(remote.upsert("b", "two", &["a.x"]), Ok(true));
        assert_eq!(remote.upsert("c", "one", &["a.x"]), Ok(true));
        assert_eq!(nodes(&remote, "a.x"), ["b", "c"]);
        assert!(remote.remove("b", "one"));
        assert_eq!(nodes(&remote, "a.x"), ["b", "c"]);
        assert!(remote.remove("b", "two"));
        assert_eq!(nodes(&remote, "a.x"), ["c"]);
        assert!(!remote.remove("b", "two"));
    }

    #[test]
    fn an_announcement_that_says_nothing_new_changes_nothing() {
        let mut remote = RemoteSubscriptions::default();
        assert_eq!(remote.upsert("b", "one", &["a", "b"]), Ok(true));
        assert_eq!(remote.upsert("b", "one", &["a", "b"]), Ok(false));
        assert_eq!(remote.upsert("b", "one", &["b"]), Ok(true));
        assert_eq!(nodes(&remote, "a"), [""; 0]);
        assert_eq!(remote.len(), 1);
    }

    #[test]
    fn too_many_patterns_are_refused_and_what_was_known_stays() {
        let mut remote = RemoteSubscriptions::default();
        assert_eq!(remote.upsert("b", "one", &["a"]), Ok(true));
        assert!(remote.upsert("b", "one", &vec!["x"; PATTERNS_MAX + 1]).is_err());
        assert_eq!(nodes(&remote, "a"), ["b"]);
    }

    /// What to do, to which subscription of which node, with which patterns.
    fn act() -> impl Strategy<Value = (u8, u8, u8, Vec<String>)> {
        (0..8u8, 0..3u8, 0..3u8, proptest::collection::vec(pattern_text(), 0..3))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn agrees_with_a_list(
            acts in proptest::collection::vec(act(), 1..60),
            topics in proptest::collection::vec(topic_text(), 5),
        ) {
            let mut remote = RemoteSubscriptions::default();
            let mut list: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
            for (act, node, id, patterns) in acts {
                let key = (format!("n{node}"), format!("s{id}"));
                match act {
                    0 => {
                        let before = list.len();
                        list.retain(|k, _| k.0 != key.0);
                        prop_assert_eq!(remote.drop_node(&key.0), before - list.len());
                    }
                    1..3 => prop_assert_eq!(remote.remove(&key.0, &key.1), list.remove(&key).is_some()),
                    _ => {
                        let texts: Vec<&str> = patterns.iter().map(|p| &**p).collect();
                        let changed = list.get(&key) != Some(&patterns);
                        prop_assert_eq!(remote.upsert(&key.0, &key.1, &texts), Ok(changed));
                        list.insert(key, patterns);
                    }
                }
                prop_assert_eq!(remote.len(), list.len());
                for topic in &topics {
                    let matching = list.iter().filter(|(_, ps)| ps.iter().any(|p| matches_by_the_book(p, topic)));
                    let mut expected: Vec<_> = matching.map(|(key, _)| key.0.clone()).collect();
                    expected.dedup();
                    let mut found = nodes(&remote, topic);
                    found.sort_unstable();
                    prop_assert_eq!(found, expected);
                }
            }
            for node in ["n0", "n1", "n2"] {
                remote.drop_node(node);
            }
            prop_assert!(remote.is_empty() && remote.trie.is_empty() && remote.names.is_empty());
        }
    }
}
