//! One table of the catalog: the live entries of one type, when their leases end, and the graves of what was removed.
//!
//! A grave remembers for a while up to when something was removed, so that a delayed older announcement does not
//! bring it back (the protocol has no dated removals, fabric.md 20.2 C25). Graves are bounded in number and age.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Text;
use super::lease::Entry;
use crate::core::reason::Reason;

/// Live entries by key.
#[derive(Debug, Clone)]
pub(super) struct Table<E: Entry> {
    live: BTreeMap<Arc<E::Key>, Arc<E>>,
    /// The same keys by the node that holds them.
    holders: BTreeMap<Text, BTreeSet<Arc<E::Key>>>,
    /// The same keys by the end of the lease.
    ends: BTreeSet<(Moment, Arc<E::Key>)>,
    /// Announcements older than this are of something that was removed.
    graves: BTreeMap<Arc<E::Key>, Grave>,
    /// Keys of entries that are known from a former life alone.
    unconfirmed: BTreeSet<Arc<E::Key>>,
    grave_ends: BTreeSet<(Moment, Arc<E::Key>)>,
    version: u64,
    listing: u64,
}

#[derive(Debug, Clone, Copy)]
struct Grave {
    older_than: f64,
    until: Moment,
}

/// That something was removed: for a while nothing older of it is taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Buried<K> {
    pub key: Arc<K>,
    /// What was announced before this is refused; wall clock, as `until`.
    pub older_than: f64,
    pub until: f64,
}

/// Wall time that has an order.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Moment(f64);

/// When a removal happened, for the clock that dated the entries it removes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Removal {
    /// When its sender sent it.
    pub sent_at: f64,
    /// True where the sender is the holder of the entries, so that both dates are of one clock.
    pub by_holder: bool,
}

impl<E: Entry> Default for Table<E> {
    fn default() -> Table<E> {
        Table {
            live: BTreeMap::new(),
            holders: BTreeMap::new(),
            ends: BTreeSet::new(),
            graves: BTreeMap::new(),
            unconfirmed: BTreeSet::new(),
            grave_ends: BTreeSet::new(),
            version: 0,
            listing: 0,
        }
    }
}

impl<E: Entry> Table<E> {
    pub fn get(&self, key: &E::Key) -> Option<&Arc<E>> {
        self.live.get(key)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<E>> {
        self.live.values()
    }

    /// The entries of one node, in whatever cluster.
    pub fn held_by(&self, node: &str) -> impl Iterator<Item = &Arc<E>> {
        self.holders.get(node).into_iter().flatten().filter_map(|key| self.live.get(key))
    }

    pub fn keys(&self) -> impl Iterator<Item = &Arc<E::Key>> {
        self.live.keys()
    }

    /// Grows with every change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Grows when a key comes, goes or is confirmed, or an entry goes further or less far than before.
    pub fn listing(&self) -> u64 {
        self.listing
    }

    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Everything that is not held by `own` was known in a former life, and nobody has said it in this one.
    pub fn doubt_all_but(&mut self, own: &str) {
        let others = self.live.iter().filter(|(_, entry)| **entry.node_id() != *own);
        self.unconfirmed = others.map(|(key, _)| key.clone()).collect();
        self.listing += 1;
    }

    /// The entries that somebody has said since this node was started.
    pub fn confirmed(&self) -> impl Iterator<Item = &Arc<E>> {
        let all = self.live.iter();
        all.filter(|(key, _)| self.unconfirmed.is_empty() || !self.unconfirmed.contains(*key)).map(|(_, e)| e)
    }

    pub fn is_confirmed(&self, key: &E::Key) -> bool {
        !self.unconfirmed.contains(key)
    }

    /// Wall time at which the first lease ends.
    pub fn first_end(&self) -> Option<f64> {
        self.ends.first().map(|(end, _)| end.0)
    }

    /// Whether fabric.md 6.5 takes the entry, and whether its key is a new one.
    pub fn judge(&self, key: &E::Key, entry: &E, now: f64) -> Result<bool, Reason> {
        if entry.expired(now) {
            return Err(Reason::EntryExpired);
        }
        if let Some(known) = self.live.get(key) {
            let newer = entry.advertised_at() > known.advertised_at()
                || entry.advertised_at() == known.advertised_at()
                    && (entry.ttl_seconds() > known.ttl_seconds() || !self.is_confirmed(key));
            return if newer { Ok(false) } else { Err(Reason::EntryStale) };
        }
        match self.graves.get(key) {
            Some(grave) if entry.advertised_at() < grave.older_than => Err(Reason::EntryStale),
            _ => Ok(true),
        }
    }

    pub fn insert(&mut self, key: Arc<E::Key>, entry: Arc<E>) {
        self.version += 1;
        self.ends.insert((Moment(entry.ends_at()), key.clone()));
        if let Some(grave) = self.graves.remove(&key) {
            self.grave_ends.remove(&(grave.until, key.clone()));
        }
        self.listing += u64::from(self.unconfirmed.remove(&key));
        if let Some(old) = self.live.get_mut(&key) {
            let end = Moment(old.ends_at());
            if end.0 != entry.ends_at() {
                self.ends.remove(&(end, key));
            }
            self.listing += u64::from(old.scope() != entry.scope());
            *old = entry;
        } else {
            self.holders.entry(entry.node_id().clone()).or_default().insert(key.clone());
            self.live.insert(key, entry);
            self.listing += 1;
        }
    }

    /// Makes the entries that are `due` announced at `now`, for `ttl_seconds`; the answer is these entries.
    pub fn renew(
        &mut self,
        mut due: impl FnMut(&E) -> bool,
        now: f64,
        ttl_seconds: f64,
    ) -> Vec<(Arc<E::Key>, Arc<E>)> {
        let mut renewed = Vec::new();
        for (key, entry) in self.live.iter_mut().filter(|(_, entry)| due(entry)) {
            let mut fresh = E::clone(entry);
            fresh.stamp(now);
            fresh.limit(ttl_seconds);
            *entry = Arc::new(fresh);
            renewed.push((key.clone(), entry.clone()));
        }
        if !renewed.is_empty() {
            self.version += 1;
            // All at once: one by one they would each be looked for, and lie close together.
            let mut ends: Vec<_> = self.live.iter().map(|(k, e)| (Moment(e.ends_at()), k.clone())).collect();
            ends.sort_by_key(|(end, _)| *end);
            self.ends = ends.into_iter().collect();
        }
        renewed
    }

    /// Takes an entry out and buries its key. A removal that was sent before the entry was announced does nothing.
    pub fn remove(&mut self, key: &E::Key, removal: Removal, now: f64) -> Result<Option<Arc<E>>, Reason> {
        let older_than = if removal.by_holder { removal.sent_at } else { f64::NEG_INFINITY };
        let Some((key, entry)) = self.live.get_key_value(key) else {
            if removal.by_holder {
                self.bury(Arc::new(key.clone()), older_than, now);
            }
            return Ok(None);
        };
        if entry.advertised_at() > removal.sent_at {
            return Err(Reason::EntryStale);
        }
        let older_than = older_than.max(entry.advertised_at().next_up());
        let key = key.clone();
        let gone = self.take(&key);
        self.bury(key, older_than, now);
        Ok(gone)
    }

    /// Takes out what has outlived its lease.
    pub fn expire(&mut self, now: f64) -> Vec<Arc<E::Key>> {
        while let Some((until, key)) = self.grave_ends.first().filter(|(until, _)| until.0 < now).cloned() {
            self.grave_ends.remove(&(until, key.clone()));
            self.graves.remove(&key);
        }
        let mut gone = Vec::new();
        while let Some((_, key)) = self.ends.first().filter(|(end, _)| now > end.0).cloned() {
            self.take(&key);
            gone.push(key);
        }
        gone
    }

    fn take(&mut self, key: &Arc<E::Key>) -> Option<Arc<E>> {
        let entry = self.live.remove(key)?;
        self.unconfirmed.remove(key);
        if let Some(keys) = self.holders.get_mut(entry.node_id()) {
            keys.remove(key);
            if keys.is_empty() {
                self.holders.remove(entry.node_id());
            }
        }
        self.ends.remove(&(Moment(entry.ends_at()), key.clone()));
        self.version += 1;
        self.listing += 1;
        Some(entry)
    }

    /// What was removed and may still come back, by key.
    pub fn graves(&self, now: f64) -> impl Iterator<Item = Buried<E::Key>> {
        let graves = self.graves.iter().filter(move |(_, grave)| grave.until.0 > now);
        graves.map(|(key, Grave { older_than, until })| Buried {
            key: key.clone(),
            older_than: *older_than,
            until: until.0,
        })
    }

    /// Takes over a grave of a former life. However the clock was set since, it lasts no longer than a new one.
    pub fn restore_grave(&mut self, buried: Buried<E::Key>, now: f64) {
        let until = buried.until.min(now + GRAVE_SECONDS);
        if until > now && !self.live.contains_key(&buried.key) {
            self.dig(buried.key, buried.older_than.min(now + GRAVE_SECONDS), Moment(until));
        }
    }

    fn bury(&mut self, key: Arc<E::Key>, older_than: f64, now: f64) {
        self.dig(key, older_than.min(now + GRAVE_SECONDS), Moment(now + GRAVE_SECONDS));
    }

    fn dig(&mut self, key: Arc<E::Key>, older_than: f64, until: Moment) {
        if let Some(old) = self.graves.insert(key.clone(), Grave { older_than, until }) {
            self.grave_ends.remove(&(old.until, key.clone()));
        }
        self.grave_ends.insert((until, key));
        if self.graves.len() > GRAVES_MAX
            && let Some((_, first)) = self.grave_ends.pop_first()
        {
            self.graves.remove(&first);
        }
    }
}

impl Eq for Moment {}

impl PartialOrd for Moment {
    fn partial_cmp(&self, other: &Moment) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Moment {
    fn cmp(&self, other: &Moment) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Gossip lives for 300 s (fabric.md 5.1); nothing older than that can still be on its way.
const GRAVE_SECONDS: f64 = 300.0;
/// Per table.
const GRAVES_MAX: usize = 10_000;
