//! Whom to believe about routes: the public keys of each cluster, the signatures made with them, and the key that this
//! node signs with (fabric.md 7.3, 8).
//!
//! A key comes from the configuration, or from the cluster itself in an announcement that a known key of it has signed.
//! Where signatures are required nothing else counts, and a key that a message carries never proves anything. Where they
//! are not, the first keys that a neighbour claims are kept as long as it is connected; what they sign is whole, and no
//! more than that. A cluster of which a key was known and ran out has none. Keys of the own cluster are never learned. All that is kept is bounded, and the same bytes are verified once.

mod cache;
mod key;
mod learned;
mod registry;

use std::collections::BTreeMap;

pub use key::{PublicKey, Signer};
pub use learned::LearnedKeys;
pub use registry::read_registry;

use super::catalog::{SKEW_SECONDS_MAX, Text};
use super::reason::Reason;
use super::time::Now;
use crate::wire::fabric::route::*;
use cache::Verified;

/// `[route.security]`, with its keys read.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub cluster_id: Text,
    pub require_signatures: bool,
    pub allow_unsigned: bool,
    pub keys: Vec<ConfiguredKey>,
    /// What own announcements are signed with; without it they are not.
    pub signer: Option<Signer>,
    /// route.security.key_ttl: lifetime of announced keys.
    pub key_ttl_seconds: f64,
    /// route.security.rotation_overlap: how long a replaced key still counts.
    pub rotation_overlap_seconds: f64,
}

/// `[[route.security.key]]`
#[derive(Debug, Clone, PartialEq)]
pub struct ConfiguredKey {
    pub cluster: Text,
    pub key: PublicKey,
    /// Empty: the id that follows from the key.
    pub key_id: Text,
    pub primary: bool,
    /// Wall clock.
    pub expires_at: Option<f64>,
}

/// How a message that was let in is vouched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Signed with a key of its cluster that was configured, or announced under the signature of such a key.
    Verified,
    /// Signed, but with a key for which nobody but its bearer vouches.
    Unverified,
    Unsigned,
}

/// The keys of all clusters and what follows from them.
#[derive(Debug, Default)]
pub struct Trust {
    settings: Settings,
    clusters: BTreeMap<Text, Keys>,
    verified: Verified,
    replaced: Option<(Signer, f64)>,
    /// The date of the last announcement of own keys.
    dated: f64,
}

#[derive(Debug, Default)]
struct Keys {
    by_id: BTreeMap<Text, Known>,
    primary: Option<Text>,
    /// When the last key announcement that counted was made.
    announced_at: Option<f64>,
}

#[derive(Debug, Clone)]
struct Known {
    key: PublicKey,
    added_at: f64,
    expires_at: Option<f64>,
    origin: Origin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Configured,
    /// Announced under the signature of a known key.
    Learned,
    /// Announced without one, by a neighbour of which no key was known.
    Claimed,
}

impl Trust {
    pub fn new(settings: Settings, now: Now) -> Trust {
        let mut trust = Trust { settings, ..Trust::default() };
        for key in std::mem::take(&mut trust.settings.keys) {
            trust.register(key, now);
        }
        trust
    }

    /// Replaces the configured keys; learned ones stay, except where they would now contradict the configuration.
    pub fn configure(&mut self, keys: Vec<ConfiguredKey>, now: Now) {
        for cluster in self.clusters.values_mut() {
            cluster.by_id.retain(|_, k| k.origin != Origin::Configured);
        }
        for key in &keys {
            if let Some(known) = self.clusters.get_mut(&key.cluster) {
                known.by_id.retain(|_, k| k.origin == Origin::Configured);
            }
        }
        for key in keys {
            self.register(key, now);
        }
        self.clusters.retain(|_, keys| !keys.by_id.is_empty());
    }

    /// Adds a configured key and returns its id.
    pub fn register(&mut self, key: ConfiguredKey, now: Now) -> Text {
        let id = if key.key_id.is_empty() { key.key.id() } else { key.key_id };
        let keys = self.clusters.entry(key.cluster).or_default();
        let known = Known {
            key: key.key,
            added_at: now.wall,
            expires_at: key.expires_at,
            origin: Origin::Configured,
        };
        // Claims were for want of something better.
        keys.by_id.retain(|_, k| k.is_proven());
        keys.by_id.insert(id.clone(), known);
        if key.primary {
            keys.primary = Some(id.clone());
        }
        id
    }

    /// Makes `key` the primary one of a cluster; the one before counts for the overlap (8.2).
    pub fn rotate(&mut self, cluster: &Text, key: PublicKey, overlap_seconds: f64, now: Now) -> Text {
        if let Some(keys) = self.clusters.get_mut(cluster)
            && let Some(old) = keys.primary.as_ref().and_then(|id| keys.by_id.get_mut(id))
        {
            old.expires_at = Some(now.wall + overlap_seconds);
        }
        let (cluster, key_id) = (cluster.clone(), key.id());
        self.register(ConfiguredKey { cluster, key, key_id, primary: true, expires_at: None }, now)
    }

    /// Signs with `signer` from now on; the key before stays announced, and signs the announcements, for the overlap.
    pub fn sign_with(&mut self, signer: Signer, now: Now) {
        let until = now.wall + self.settings.rotation_overlap_seconds;
        self.replaced = self.settings.signer.replace(signer).map(|old| (old, until));
    }

    /// The keys of a cluster that count now, the primary one first, then by id.
    pub fn active(&self, cluster: &str, now: Now) -> Vec<&PublicKey> {
        let Some(keys) = self.clusters.get(cluster) else { return Vec::new() };
        let primary = keys.primary.as_ref();
        let mut active: Vec<_> = keys.by_id.iter().filter(|(_, k)| k.is_active(now)).collect();
        active.sort_by_key(|(id, _)| Some(*id) != primary);
        active.into_iter().map(|(_, k)| &k.key).collect()
    }

    /// Whether a message of `cluster` may be believed: its canonical bytes and its seal (7.4, step 3).
    pub fn judge(
        &mut self,
        cluster: &str,
        canonical: &[u8],
        seal: &Seal,
        now: Now,
    ) -> Result<Standing, Reason> {
        let required = self.settings.require_signatures;
        if seal.is_absent() {
            let lax = self.settings.allow_unsigned && !required;
            return if lax { Ok(Standing::Unsigned) } else { Err(Reason::RouteUnsigned) };
        }
        let known = self.clusters.get(cluster);
        if required || known.is_some_and(Keys::has_proven) {
            let keys = known.map_or_else(Vec::new, |k| k.signers(Origin::Learned, now));
            return match self.verified.check_any(&keys, canonical, seal) {
                true => Ok(Standing::Verified),
                false if keys.is_empty() => Err(Reason::RouteKeyUnknown),
                false => Err(Reason::RouteForged),
            };
        }
        // What vouches for these was said by whoever is to be judged.
        let mut claimed = known.map_or_else(Vec::new, |k| k.signers(Origin::Claimed, now));
        if claimed.is_empty() {
            claimed.extend(PublicKey::from_hex(&seal.public_key));
        }
        let whole = self.verified.check_any(&claimed, canonical, seal);
        if whole { Ok(Standing::Unverified) } else { Err(Reason::RouteForged) }
    }

    /// The same for a message of another node of this cluster. Where no key of the own cluster is known here, the link
    /// within the cluster is all that vouches for it.
    pub fn judge_own(&mut self, canonical: &[u8], seal: &Seal, now: Now) -> Result<Standing, Reason> {
        let own = self.settings.cluster_id.clone();
        let mut keys: Vec<PublicKey> = self.active(&own, now).into_iter().cloned().collect();
        let replaced = self.replaced.as_ref().map(|(old, _)| old);
        keys.extend(self.settings.signer.iter().chain(replaced).map(Signer::public));
        if keys.is_empty() || seal.is_absent() && !self.settings.require_signatures {
            return Ok(Standing::Unsigned);
        }
        if seal.is_absent() {
            return Err(Reason::RouteUnsigned);
        }
        let proven = self.verified.check_any(&keys, canonical, seal);
        if proven { Ok(Standing::Verified) } else { Err(Reason::RouteForged) }
    }

    /// Keys that a neighbour announces as those of its cluster (8.3); the number of keys that are new or changed.
    pub fn keys_announced(
        &mut self,
        neighbour: &Text,
        announced: &RouteKeyAnnouncement,
        now: Now,
    ) -> Result<usize, Reason> {
        if announced.cluster_id != *neighbour {
            return Err(Reason::RouteNotFromNeighbour);
        }
        if *neighbour == self.settings.cluster_id {
            return Err(Reason::RouteKeyRefused);
        }
        if now.wall > announced.advertised_at + announced.ttl_seconds {
            return Err(Reason::RouteExpired);
        }
        if announced.advertised_at > now.wall + SKEW_SECONDS_MAX {
            return Err(Reason::ClockSkew);
        }
        if announced.keys.len() > KEYS_PER_CLUSTER_MAX {
            return Err(Reason::RouteKeysLimit);
        }
        let before = self.clusters.get(neighbour).and_then(|k| k.announced_at);
        if before.is_some_and(|at| announced.advertised_at <= at) {
            return Err(Reason::RouteReplayed);
        }
        // A cluster whose keys have all run out is as one with keys: only the configuration brings it back.
        let proven = self.clusters.get(neighbour).is_some_and(Keys::has_proven);
        let origin =
            if proven || self.settings.require_signatures { Origin::Learned } else { Origin::Claimed };
        // What was only claimed proves nothing: its signature keeps the claim with its maker and never makes it more.
        let signers: Vec<PublicKey> =
            self.clusters.get(neighbour).map_or_else(Vec::new, |k| k.signers(origin, now));
        let first_claim = origin == Origin::Claimed && signers.is_empty();
        let canonical = announced.canonical();
        if !first_claim && !self.verified.check_any(&signers, &canonical, &announced.seal) {
            return Err(Reason::RouteKeyRefused);
        }
        if !self.clusters.contains_key(neighbour) && self.clusters.len() >= CLUSTERS_MAX {
            return Err(Reason::RouteKeysLimit);
        }
        self.clusters.entry(neighbour.clone()).or_default().learn(announced, origin, now)
    }

    /// The keys of this cluster for its neighbours, signed with the key that they know longest. `None` without a key.
    pub fn own_keys(&mut self, now: Now) -> Option<RouteKeyAnnouncement> {
        self.replaced.take_if(|(_, until)| *until <= now.wall);
        let at = self.date(now);
        let signer = self.settings.signer.as_ref()?;
        let record = |signer: &Signer, expires_at| KeyRecord {
            key_id: signer.key_id.clone(),
            public_key: signer.public().to_hex(),
            added_at: 0.0,
            expires_at,
        };
        let mut keys = vec![record(signer, None)];
        keys.extend(self.replaced.as_ref().map(|(old, until)| record(old, Some(*until))));
        let mut announced = RouteKeyAnnouncement {
            cluster_id: self.settings.cluster_id.clone(),
            keys,
            primary_key_id: Some(signer.key_id.clone()),
            advertised_at: at,
            ttl_seconds: self.settings.key_ttl_seconds,
            seal: Seal::default(),
        };
        let known = self.replaced.as_ref().map_or(signer, |(old, _)| old);
        announced.seal = known.seal(&announced.canonical());
        Some(announced)
    }

    fn date(&mut self, now: Now) -> f64 {
        // After a clock that was far ahead has been set right, dates follow it; neighbours would refuse others.
        let ahead = self.dated > now.wall + SKEW_SECONDS_MAX;
        self.dated = if ahead { now.wall } else { now.wall.max(self.dated + DATE_STEP_SECONDS) };
        self.dated
    }

    /// The seal for a message of this cluster; empty without a key.
    pub fn seal(&self, canonical: &[u8]) -> Seal {
        // Neighbours may not have heard of the new key yet: during the overlap the old one still signs.
        let known = self.replaced.as_ref().map(|(old, _)| old).or(self.settings.signer.as_ref());
        known.map(|signer| signer.seal(canonical)).unwrap_or_default()
    }

    /// The last link to a cluster is gone: what it only claimed is forgotten.
    pub fn forget(&mut self, cluster: &str) {
        if let Some(keys) = self.clusters.get_mut(cluster) {
            keys.by_id.retain(|_, k| k.is_proven());
            if keys.by_id.is_empty() {
                self.clusters.remove(cluster);
            }
        }
    }

    /// Signatures that were computed, not remembered.
    pub fn verifications(&self) -> u64 {
        self.verified.computed()
    }
}

impl Keys {
    /// Whether one is known that is more than a claim, be it run out.
    fn has_proven(&self) -> bool {
        self.by_id.values().any(Known::is_proven)
    }

    /// The active keys under whose signature keys of this origin may come.
    fn signers(&self, origin: Origin, now: Now) -> Vec<PublicKey> {
        let may = |k: &&Known| k.is_active(now) && (origin == Origin::Claimed || k.is_proven());
        self.by_id.values().filter(may).map(|k| k.key.clone()).collect()
    }

    fn learn(&mut self, announced: &RouteKeyAnnouncement, origin: Origin, now: Now) -> Result<usize, Reason> {
        let mut next = self.by_id.clone();
        let mut changed = 0;
        for record in &announced.keys {
            let key = PublicKey::from_hex(&record.public_key).ok_or(Reason::RouteMalformed)?;
            if record.key_id.len() > KEY_ID_BYTES_MAX {
                return Err(Reason::RouteMalformed);
            }
            let (mut expires_at, mut kept) = (record.expires_at, origin);
            if let Some(known) = next.get(&record.key_id)
                && known.origin == Origin::Configured
            {
                // The configuration has the last word on a key, but its cluster may give it up earlier.
                if known.key != key {
                    continue;
                }
                kept = Origin::Configured;
                expires_at = match (known.expires_at, expires_at) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
            }
            let known = Known { key, added_at: record.added_at, expires_at, origin: kept };
            changed += usize::from(next.get(&record.key_id) != Some(&known));
            next.insert(record.key_id.clone(), known);
        }
        next.retain(|_, k| k.is_active(now) || k.origin == Origin::Configured);
        if next.len() > KEYS_PER_CLUSTER_MAX {
            return Err(Reason::RouteKeysLimit);
        }
        self.by_id = next;
        self.announced_at = Some(announced.advertised_at);
        if let Some(primary) = announced.primary_key_id.as_ref().filter(|id| self.by_id.contains_key(*id)) {
            self.primary = Some(primary.clone());
        }
        Ok(changed)
    }
}

impl Known {
    fn is_active(&self, now: Now) -> bool {
        self.expires_at.is_none_or(|at| at > now.wall)
    }

    fn is_proven(&self) -> bool {
        self.origin != Origin::Claimed
    }
}

impl PartialEq for Known {
    fn eq(&self, other: &Known) -> bool {
        self.key == other.key && self.expires_at == other.expires_at && self.added_at == other.added_at
    }
}

/// Larger than the distance of two numbers that tell the time of day.
const DATE_STEP_SECONDS: f64 = 1e-6;
/// Configured keys and those of two rotations fit; more is an attack on the processor: each is tried.
const KEYS_PER_CLUSTER_MAX: usize = 16;
/// Clusters with keys: more than any neighbourhood has.
const CLUSTERS_MAX: usize = 10_000;
const KEY_ID_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests;
