//! What all entries have in common: a holder, a lease and a key.

use std::sync::Arc;

use super::*;

/// An entry with a lease and a holder.
pub trait Leased {
    fn advertised_at(&self) -> f64;
    fn ttl_seconds(&self) -> f64;
    fn node_id(&self) -> &Text;
    fn cluster_id(&self) -> &Text;
    fn scope(&self) -> Scope;
    /// Dates the entry.
    fn stamp(&mut self, now: f64);
    /// Shortens the lease.
    fn limit(&mut self, ttl_seconds: f64);

    /// Wall time at which the lease ends.
    fn ends_at(&self) -> f64 {
        self.advertised_at() + self.ttl_seconds()
    }

    /// Strictly after the end of the lease.
    fn expired(&self, now: f64) -> bool {
        now > self.ends_at()
    }
}

/// A leased entry of one table.
pub trait Entry: Leased + Clone {
    type Key: Ord + Clone + std::fmt::Debug;
    fn key(&self) -> Self::Key;
}

macro_rules! entries {
    ($($entry:ident $key:ident { $($member:ident)* })*) => { $(
        impl Leased for $entry {
            fn advertised_at(&self) -> f64 { self.advertised_at }
            fn ttl_seconds(&self) -> f64 { self.ttl_seconds }
            fn node_id(&self) -> &Text { &self.node_id }
            fn cluster_id(&self) -> &Text { &self.cluster_id }
            fn scope(&self) -> Scope { self.scope }
            fn stamp(&mut self, now: f64) { self.advertised_at = now; }
            fn limit(&mut self, ttl_seconds: f64) { self.ttl_seconds = ttl_seconds; }
        }

        impl Entry for $entry {
            type Key = $key;
            #[allow(clippy::clone_on_copy)] // some members of keys are plain numbers
            fn key(&self) -> $key {
                $key {
                    cluster_id: self.cluster_id.clone(),
                    node_id: self.node_id.clone(),
                    $($member: self.$member.clone(),)*
                }
            }
        }
    )* };
}

entries! {
    FunctionEntry FunctionKey { identity resources }
    NodeEntry NodeKey {}
    TopicEntry TopicKey { subscription_id }
    QueueEntry QueueKey { queue_name }
    ServiceEntry ServiceKey { namespace name protocol port }
    CacheEntry CacheKey { role }
    CacheProfileEntry NodeKey {}
}

/// The entry, with the time of arrival where its sender gave none, and no longer lease than any may have: what nobody
/// renews must go some day.
pub(super) fn dated<E: Leased + Clone>(mut entry: Arc<E>, now: f64) -> Arc<E> {
    if entry.advertised_at() == unset() {
        Arc::make_mut(&mut entry).stamp(now);
    }
    if entry.ttl_seconds() > LEASE_SECONDS_MAX {
        Arc::make_mut(&mut entry).limit(LEASE_SECONDS_MAX);
    }
    entry
}

/// A day.
const LEASE_SECONDS_MAX: f64 = 86_400.0;
