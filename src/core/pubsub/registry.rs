//! Who has subscribed to what: the clients of this node, and other nodes on behalf of theirs.
//!
//! A subscription belongs to the connection that made it; its id means something only there, so nobody can end or
//! take over the subscription of another. Subscribing again with an id replaces the patterns. Nothing outlives its
//! connection. `generation` grows with each change of what could match, so a caller may keep the result of a match
//! per topic for as long as the generation stays the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::pattern::{Pattern, Segment};
use super::remote::RemoteSubscriptions;
use super::reserved::RESERVED_SEGMENT;
use super::trie::Trie;
use super::{ConnectionId, Reason, Refusal, RemoteTarget, SubscriptionHandle, Target};
use crate::core::time::Now;

/// All subscriptions that this node knows.
#[derive(Debug)]
pub struct Subscriptions {
    trie: Trie<SubscriptionHandle>,
    /// Patterns that may match topics of the nodes.
    watching: usize,
    by_handle: BTreeMap<SubscriptionHandle, Subscription>,
    by_connection: BTreeMap<ConnectionId, BTreeMap<Arc<str>, SubscriptionHandle>>,
    /// For the catalog, which knows ids only.
    by_id: BTreeMap<Arc<str>, Vec<SubscriptionHandle>>,
    remote: RemoteSubscriptions,
    per_connection_max: usize,
    last_handle: u64,
    generation: u64,
}

/// A subscription of a client of this node.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscription {
    pub connection: ConnectionId,
    pub subscription_id: Arc<str>,
    pub patterns: Vec<Pattern>,
    /// When it was made or last changed, in Unix seconds of this node.
    pub created: f64,
}

/// What a subscribe did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribed {
    pub target: Target,
    /// The connection had the id already; its handle stayed.
    pub replaced: bool,
}

/// What the catalog says of a subscription id. Two connections may use the same id, the catalog has one entry for it:
/// with the patterns of both.
#[derive(Debug, Clone, PartialEq)]
pub struct Advertised {
    pub subscription_id: Arc<str>,
    /// As written, sorted, each once.
    pub patterns: Vec<Arc<str>>,
    /// When the oldest of them was made, in Unix seconds.
    pub created: f64,
}

/// The most patterns of one subscription; a client may have `limits.subscriptions_per_connection` of those.
pub const PATTERNS_MAX: usize = 10_000;

impl Subscriptions {
    /// `per_connection_max` is `limits.subscriptions_per_connection`.
    pub fn new(per_connection_max: usize) -> Subscriptions {
        Subscriptions {
            trie: Trie::new(),
            watching: 0,
            by_handle: BTreeMap::new(),
            by_connection: BTreeMap::new(),
            by_id: BTreeMap::new(),
            remote: RemoteSubscriptions::default(),
            per_connection_max,
            last_handle: 0,
            generation: 0,
        }
    }

    /// For a reload; subscriptions above a smaller limit stay until they end.
    pub fn set_limit(&mut self, per_connection_max: usize) {
        self.per_connection_max = per_connection_max;
    }

    /// Grows whenever the result of a match could have changed.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Makes a subscription, or replaces the patterns of the one with this id. No patterns is legal and never matches.
    pub fn subscribe(
        &mut self,
        connection: ConnectionId,
        subscription_id: &str,
        patterns: &[&str],
        now: Now,
    ) -> Result<Subscribed, Refusal> {
        let patterns = read_patterns(patterns)?;
        let own = self.by_connection.get(&connection);
        let known = own.and_then(|own| own.get_key_value(subscription_id)).map(|(id, h)| (id.clone(), *h));
        let (id, handle, replaced) = match known {
            Some((id, handle)) => (id, handle, true),
            None if own.map_or(0, BTreeMap::len) >= self.per_connection_max => {
                return Err(self.too_many());
            }
            None => {
                self.last_handle += 1;
                (Arc::from(subscription_id), SubscriptionHandle(self.last_handle), false)
            }
        };
        let target = Target { connection, subscription: handle, subscription_id: id.clone() };
        let subscription =
            Subscription { connection, subscription_id: id.clone(), patterns, created: now.wall };
        let unchanged = self.by_handle.get(&handle).is_some_and(|old| old.patterns == subscription.patterns);
        if !unchanged {
            for pattern in self.by_handle.get(&handle).iter().flat_map(|old| &old.patterns) {
                self.watching -= usize::from(may_watch(pattern));
                self.trie.remove(pattern, handle);
            }
            for pattern in &subscription.patterns {
                self.watching += usize::from(may_watch(pattern));
                self.trie.insert(pattern, handle);
            }
            self.generation += 1;
        }
        if !replaced {
            self.by_connection.entry(connection).or_default().insert(id.clone(), handle);
            self.by_id.entry(id).or_default().push(handle);
        }
        self.by_handle.insert(handle, subscription);
        Ok(Subscribed { target, replaced })
    }

    /// Ends a subscription of this connection; what it was comes back.
    pub fn unsubscribe(
        &mut self,
        connection: ConnectionId,
        subscription_id: &str,
    ) -> Result<Target, Refusal> {
        let handle = self.by_connection.get_mut(&connection).and_then(|own| own.remove(subscription_id));
        if self.by_connection.get(&connection).is_some_and(BTreeMap::is_empty) {
            self.by_connection.remove(&connection);
        }
        match handle.and_then(|handle| self.end(handle)) {
            Some(target) => Ok(target),
            None => Err(unknown(subscription_id)),
        }
    }

    /// Ends all subscriptions of a connection; what they were comes back, in order of their ids.
    pub fn drop_connection(&mut self, connection: ConnectionId) -> Vec<Target> {
        let own = self.by_connection.remove(&connection).unwrap_or_default();
        own.into_values().filter_map(|handle| self.end(handle)).collect()
    }

    /// The subscriptions of this node that match, each once, in the order in which they were made.
    pub fn matches(&self, topic: &str) -> Arc<[Target]> {
        let mut handles = Vec::new();
        self.trie.matches(topic, &mut handles);
        handles.iter().filter_map(|handle| self.target(*handle)).collect()
    }

    /// Whether any client may hear what the node itself publishes below `mpreg.`; false spares the making of it.
    pub fn anybody_watches(&self) -> bool {
        self.watching > 0
    }

    pub fn get(&self, handle: SubscriptionHandle) -> Option<&Subscription> {
        self.by_handle.get(&handle)
    }

    /// Subscriptions of clients of this node, in the order in which they were made.
    pub fn iter(&self) -> impl Iterator<Item = (SubscriptionHandle, &Subscription)> {
        self.by_handle.iter().map(|(handle, subscription)| (*handle, subscription))
    }

    /// How many subscriptions clients of this node have.
    pub fn len(&self) -> usize {
        self.by_handle.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_handle.is_empty()
    }

    /// What the catalog should say of an id now; none means that the id is to be withdrawn. To be asked after each
    /// change of a subscription with that id.
    pub fn advertised(&self, subscription_id: &str) -> Option<Advertised> {
        let (id, handles) = self.by_id.get_key_value(subscription_id)?;
        Some(self.advertise(id, handles))
    }

    /// All that the catalog should say, in order of the ids.
    pub fn advertised_all(&self) -> impl Iterator<Item = Advertised> {
        self.by_id.iter().map(|(id, handles)| self.advertise(id, handles))
    }

    /// A subscription on another node, as the catalog announces it. True if it was new or had other patterns. Too
    /// many patterns are refused, and what was known before stays.
    pub fn remote_upsert(
        &mut self,
        node: &str,
        subscription_id: &str,
        patterns: &[&str],
    ) -> Result<bool, Refusal> {
        let changed = self.remote.upsert(node, subscription_id, patterns)?;
        self.generation += u64::from(changed);
        Ok(changed)
    }

    /// False if that node had no such subscription.
    pub fn remote_remove(&mut self, node: &str, subscription_id: &str) -> bool {
        let removed = self.remote.remove(node, subscription_id);
        self.generation += u64::from(removed);
        removed
    }

    /// How many subscriptions the node had.
    pub fn remote_drop_node(&mut self, node: &str) -> usize {
        let removed = self.remote.drop_node(node);
        self.generation += u64::from(removed > 0);
        removed
    }

    /// The other nodes with a matching subscription, each once, in the order in which they were first heard of.
    pub fn remote_matches(&self, topic: &str) -> Arc<[RemoteTarget]> {
        self.remote.matches(topic)
    }

    /// How many subscriptions other nodes have announced.
    pub fn remote_len(&self) -> usize {
        self.remote.len()
    }

    fn end(&mut self, handle: SubscriptionHandle) -> Option<Target> {
        let target = self.target(handle)?;
        let gone = self.by_handle.remove(&handle)?;
        for pattern in &gone.patterns {
            self.watching -= usize::from(may_watch(pattern));
            self.trie.remove(pattern, handle);
        }
        if let Some(handles) = self.by_id.get_mut(&gone.subscription_id) {
            handles.retain(|h| *h != handle);
            if handles.is_empty() {
                self.by_id.remove(&gone.subscription_id);
            }
        }
        self.generation += 1;
        Some(target)
    }

    fn target(&self, handle: SubscriptionHandle) -> Option<Target> {
        let of = self.by_handle.get(&handle)?;
        let subscription_id = of.subscription_id.clone();
        Some(Target { connection: of.connection, subscription: handle, subscription_id })
    }

    fn advertise(&self, id: &Arc<str>, handles: &[SubscriptionHandle]) -> Advertised {
        let all = || handles.iter().filter_map(|handle| self.by_handle.get(handle));
        let mut patterns: Vec<_> = all().flat_map(|s| &s.patterns).map(|p| p.text().clone()).collect();
        patterns.sort_unstable();
        patterns.dedup();
        let created = all().map(|s| s.created).fold(f64::INFINITY, f64::min);
        Advertised { subscription_id: id.clone(), patterns, created }
    }

    fn too_many(&self) -> Refusal {
        Refusal {
            reason: Reason::SubscriptionsLimit,
            text: format!(
                "this connection has {} subscriptions, the most it may have \
                 (limits.subscriptions_per_connection); end one, or use patterns",
                self.per_connection_max
            ),
        }
    }
}

pub(super) fn read_patterns(texts: &[&str]) -> Result<Vec<Pattern>, Refusal> {
    if texts.len() > PATTERNS_MAX {
        let text = format!("{} patterns in one subscription; it may have {PATTERNS_MAX}", texts.len());
        return Err(Refusal { reason: Reason::SubscriptionsLimit, text });
    }
    Ok(texts.iter().map(|text| Pattern::parse(text)).collect())
}

fn unknown(subscription_id: &str) -> Refusal {
    let shown: String = subscription_id.chars().take(SHOWN_CHARACTERS).collect();
    Refusal {
        reason: Reason::UnknownSubscription,
        text: format!("this connection has no subscription {shown:?}"),
    }
}

/// An id has no limit of its own; an error text has.
const SHOWN_CHARACTERS: usize = 200;

/// Whether a pattern may match a topic that begins with the segment of the nodes.
fn may_watch(pattern: &Pattern) -> bool {
    match pattern.segments().next() {
        Some(Segment::Text(text)) => text == RESERVED_SEGMENT,
        Some(Segment::One | Segment::Any) => true,
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ConnectionId = ConnectionId(1);
    const B: ConnectionId = ConnectionId(2);

    fn now() -> Now {
        Now::at(1000.0, 5.0)
    }

    fn registry() -> Subscriptions {
        Subscriptions::new(5)
    }

    fn hit(registry: &Subscriptions, topic: &str) -> Vec<(u64, String)> {
        registry.matches(topic).iter().map(|t| (t.connection.0, t.subscription_id.to_string())).collect()
    }

    fn hits(expected: &[(u64, &str)]) -> Vec<(u64, String)> {
        expected.iter().map(|(c, id)| (*c, id.to_string())).collect()
    }

    #[test]
    fn every_matching_subscription_comes_out_once() {
        let mut r = registry();
        r.subscribe(A, "one", &["a.*", "a.#", "#"], now()).unwrap();
        r.subscribe(A, "two", &["a.x"], now()).unwrap();
        r.subscribe(B, "three", &["a.x", "a.x"], now()).unwrap();
        r.subscribe(B, "none", &[], now()).unwrap();
        assert_eq!(hit(&r, "a.x"), hits(&[(1, "one"), (1, "two"), (2, "three")]));
        assert_eq!(hit(&r, ""), hits(&[(1, "one")]));
        assert_eq!(r.len(), 4);
    }

    #[test]
    fn the_same_id_on_two_connections_stays_apart() {
        let mut r = registry();
        let first = r.subscribe(A, "shared", &["one"], now()).unwrap();
        let second = r.subscribe(B, "shared", &["two"], now()).unwrap();
        assert_ne!(first.target.subscription, second.target.subscription);
        assert_eq!(hit(&r, "one"), hits(&[(1, "shared")]));
        assert_eq!(r.unsubscribe(B, "shared").unwrap(), second.target);
        assert_eq!((hit(&r, "one"), hit(&r, "two")), (hits(&[(1, "shared")]), vec![]));
    }

    #[test]
    fn nobody_ends_the_subscription_of_another() {
        let mut r = registry();
        r.subscribe(A, "mine", &["x"], now()).unwrap();
        let refusal = r.unsubscribe(B, "mine").unwrap_err();
        assert_eq!(refusal.reason, Reason::UnknownSubscription);
        assert!(refusal.text.contains("\"mine\""));
        assert_eq!(hit(&r, "x"), hits(&[(1, "mine")]));
        assert!(r.unsubscribe(A, "mine").is_ok() && r.unsubscribe(A, "mine").is_err());
    }

    #[test]
    fn subscribing_again_replaces_the_patterns_and_keeps_the_handle() {
        let mut r = registry();
        let first = r.subscribe(A, "s", &["old.#", "old"], now()).unwrap();
        let second = r.subscribe(A, "s", &["new", "old.#"], Now::at(1000.0, 9.0)).unwrap();
        assert_eq!((first.replaced, second.replaced, &first.target), (false, true, &second.target));
        assert_eq!(hit(&r, "new"), hits(&[(1, "s")]));
        r.subscribe(A, "s", &["new"], now()).unwrap();
        assert_eq!((hit(&r, "old"), r.len()), (vec![], 1));
        r.unsubscribe(A, "s").unwrap();
        assert_ne!(r.subscribe(A, "s", &["new"], now()).unwrap().target, first.target);
    }

    #[test]
    fn the_limit_is_for_each_connection_and_says_its_number() {
        let mut r = registry();
        for i in 0..5 {
            r.subscribe(A, &format!("s{i}"), &["x"], now()).unwrap();
        }
        let refusal = r.subscribe(A, "too-many", &["y"], now()).unwrap_err();
        assert_eq!(refusal.reason, Reason::SubscriptionsLimit);
        assert!(refusal.text.contains('5'), "{refusal}");
        assert_eq!(hit(&r, "y"), []);
        assert!(r.subscribe(A, "s0", &["changed"], now()).unwrap().replaced);
        assert!(r.subscribe(B, "too-many", &["y"], now()).is_ok());
        r.unsubscribe(A, "s1").unwrap();
        assert!(r.subscribe(A, "fits-now", &["y"], now()).is_ok());
        r.set_limit(1);
        assert!(r.subscribe(A, "s9", &["y"], now()).unwrap_err().text.contains('1'));
        assert_eq!(r.len(), 6);
    }

    #[test]
    fn too_many_patterns_are_refused() {
        let mut r = registry();
        assert!(r.subscribe(A, "s", &vec!["x"; PATTERNS_MAX], now()).is_ok());
        let refusal = r.subscribe(A, "s", &vec!["x"; PATTERNS_MAX + 1], now()).unwrap_err();
        assert!(refusal.text.contains("10000"));
    }

    #[test]
    fn a_connection_takes_its_subscriptions_with_it() {
        let mut r = registry();
        r.subscribe(A, "one", &["x", "y"], now()).unwrap();
        r.subscribe(A, "two", &["x"], now()).unwrap();
        r.subscribe(B, "one", &["x"], now()).unwrap();
        let gone: Vec<_> = r.drop_connection(A).into_iter().map(|t| t.subscription_id.to_string()).collect();
        assert_eq!(gone, ["one", "two"]);
        assert_eq!(hit(&r, "x"), hits(&[(2, "one")]));
        assert_eq!(r.drop_connection(A), []);
        r.drop_connection(B);
        assert!(r.is_empty() && r.trie.is_empty() && r.by_connection.is_empty() && r.by_id.is_empty());
    }

    #[test]
    fn the_generation_grows_with_each_change_and_not_otherwise() {
        let mut r = registry();
        let mut last = r.generation();
        let mut changed = |r: &Subscriptions| std::mem::replace(&mut last, r.generation()) != r.generation();
        r.subscribe(A, "s", &["x"], now()).unwrap();
        assert!(changed(&r));
        r.subscribe(A, "s", &["x"], now()).unwrap();
        assert!(!changed(&r));
        r.subscribe(A, "s", &["y"], now()).unwrap();
        assert!(changed(&r));
        let _ = (r.unsubscribe(A, "other"), r.drop_connection(B), r.matches("y"));
        assert!(!changed(&r));
        r.unsubscribe(A, "s").unwrap();
        assert!(changed(&r));
        r.remote_upsert("n", "s", &["x"]).unwrap();
        assert!(changed(&r));
        r.remote_upsert("n", "s", &["x"]).unwrap();
        assert!(!changed(&r) && !r.remote_remove("n", "t") && r.remote_drop_node("m") == 0 && !changed(&r));
        assert_eq!((r.remote_matches("x").len(), r.remote_len(), r.matches("x").len()), (1, 1, 0));
        assert!(r.remote_remove("n", "s") && changed(&r));
        r.remote_upsert("n", "s", &["x"]).unwrap();
        assert!(changed(&r) && r.remote_drop_node("n") == 1 && changed(&r));
    }

    #[test]
    fn the_catalog_sees_one_entry_for_an_id() {
        let mut r = registry();
        r.subscribe(A, "s", &["a.*", "a.x.#"], Now::at(1000.0, 1.0)).unwrap();
        r.subscribe(B, "s", &["b", "a.*"], Now::at(1000.0, 2.0)).unwrap();
        r.subscribe(B, "r", &["z"], now()).unwrap();
        let all: Vec<_> = r.advertised_all().map(|a| a.subscription_id.to_string()).collect();
        assert_eq!(all, ["r", "s"]);
        let both = r.advertised("s").unwrap();
        assert_eq!((both.patterns.join(" "), both.created), ("a.* a.x.# b".into(), 1001.0));
        r.drop_connection(A);
        assert_eq!(r.advertised("s").unwrap().patterns.join(" "), "a.* b");
        r.drop_connection(B);
        assert_eq!(r.advertised("s"), None);
        assert_eq!(r.iter().count(), 0);
    }
}
