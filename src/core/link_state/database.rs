//! What has been heard: one record for each origin, area and node that speaks, until its lease ends (fabric.md 9.4).
//!
//! The end of a record is counted on the clock that never goes back, from what was left of the lease when it came.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::announce::neighbour;
use super::{Limits, cost};
use crate::core::catalog::{SKEW_SECONDS_MAX, Text};
use crate::core::reason::Reason;
use crate::core::route::Link;
use crate::core::time::Now;
use crate::wire::fabric::link_state::LinkStateUpdate;

/// What an update did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It says something new.
    Changed,
    /// It says what was known, for longer.
    Renewed,
    /// Link state is off.
    Ignored,
}

/// An update that is kept, and the node that made it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    pub update: LinkStateUpdate,
    pub speaker: Text,
}

#[derive(Debug, Default)]
pub(super) struct Database {
    origins: BTreeMap<Text, BTreeMap<Speaker, Record>>,
    /// Neighbours of all records.
    pub neighbours: usize,
    /// How many records name a cluster as a neighbour.
    named: BTreeMap<Text, usize>,
    /// No record ends earlier; it may be that none ends then.
    next_end: Option<Duration>,
}

/// Area and node.
pub(super) type Speaker = (Option<Text>, Text);

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record {
    pub sequence: i64,
    advertised_at: f64,
    ttl_seconds: f64,
    /// On the clock that never goes back.
    pub ends: Duration,
    pub neighbours: BTreeMap<Text, Link>,
}

/// Whether an update is of a shape that can be kept.
pub(super) fn fits(update: &LinkStateUpdate, speaker: &Text, limits: &Limits) -> Result<(), Reason> {
    let named = |id: &Text| !id.is_empty() && id.len() <= ID_BYTES_MAX;
    let whole = named(&update.origin)
        && named(speaker)
        && update.area.as_ref().is_none_or(named)
        && update.neighbors.len() <= limits.neighbours_per_update
        && update.neighbors.iter().all(|n| named(&n.cluster_id))
        && update.ttl_seconds > 0.0
        && update.ttl_seconds <= TTL_SECONDS_MAX
        && update.advertised_at.is_finite();
    if whole { Ok(()) } else { Err(Reason::LinkStateMalformed) }
}

/// Whether an update is of these days.
pub(super) fn timely(update: &LinkStateUpdate, now: Now) -> Result<(), Reason> {
    if update.advertised_at > now.wall + SKEW_SECONDS_MAX {
        return Err(Reason::ClockSkew);
    }
    if now.wall >= update.advertised_at + update.ttl_seconds {
        return Err(Reason::LinkStateExpired);
    }
    Ok(())
}

impl Database {
    /// Takes an update that fits and is timely. What has expired must have been taken out before: it blocks nothing.
    pub fn take(
        &mut self,
        update: LinkStateUpdate,
        speaker: &Text,
        now: Now,
        limits: &Limits,
    ) -> Result<Applied, Reason> {
        // Neither a date in the future nor a long ttl keeps what nobody renews.
        let left = update.advertised_at + update.ttl_seconds - now.wall;
        let left = left.min(update.ttl_seconds).min(LEASE_SECONDS_MAX);
        let record = Record {
            sequence: update.sequence,
            advertised_at: update.advertised_at,
            ttl_seconds: update.ttl_seconds,
            ends: now.mono + Duration::try_from_secs_f64(left).unwrap_or_default(),
            neighbours: neighbours(&update),
        };
        let key = (update.area, speaker.clone());
        let known = self.origins.get(&update.origin).and_then(|records| records.get(&key));
        if known.is_some_and(|k| !record.is_newer(k)) {
            return Err(Reason::LinkStateStale);
        }
        let before = known.map_or(0, |k| k.neighbours.len());
        let changed = known.is_none_or(|k| k.neighbours != record.neighbours);
        let total = self.neighbours - before + record.neighbours.len();
        let grows = total > self.neighbours;
        if grows && total > limits.neighbours || !self.has_room(&update.origin, &key, limits) {
            return Err(Reason::LinkStateLimit);
        }
        self.neighbours = total;
        for name in known.into_iter().flat_map(|k| k.neighbours.keys()) {
            unname(&mut self.named, name);
        }
        for name in record.neighbours.keys() {
            *self.named.entry(name.clone()).or_default() += 1;
        }
        self.next_end = Some(self.next_end.map_or(record.ends, |end| end.min(record.ends)));
        self.origins.entry(update.origin).or_default().insert(key, record);
        Ok(if changed { Applied::Changed } else { Applied::Renewed })
    }

    /// Takes out the records that have ended; their number.
    pub fn expire(&mut self, now: Now) -> usize {
        if self.next_end.is_none_or(|end| now.mono < end) {
            return 0;
        }
        let before = self.records();
        for records in self.origins.values_mut() {
            for over in records.values().filter(|r| r.ends <= now.mono) {
                over.neighbours.keys().for_each(|name| unname(&mut self.named, name));
            }
            records.retain(|_, r| r.ends > now.mono);
        }
        self.origins.retain(|_, records| !records.is_empty());
        let records = || self.origins.values().flat_map(BTreeMap::values);
        self.next_end = records().map(|r| r.ends).min();
        self.neighbours = records().map(|r| r.neighbours.len()).sum();
        before - self.records()
    }

    pub fn next_end(&self) -> Option<Duration> {
        self.next_end
    }

    /// Whether some record names a cluster as a neighbour.
    pub fn names(&self, cluster: &str) -> bool {
        self.named.contains_key(cluster)
    }

    pub fn records(&self) -> usize {
        self.origins.values().map(BTreeMap::len).sum()
    }

    /// The areas that records name.
    pub fn areas(&self) -> BTreeSet<Text> {
        let keys = self.origins.values().flat_map(BTreeMap::keys);
        keys.filter_map(|(area, _)| area.clone()).collect()
    }

    /// Origins with what each of their nodes says.
    pub fn origins(&self) -> impl Iterator<Item = (&Text, &BTreeMap<Speaker, Record>)> {
        self.origins.iter()
    }

    /// All updates that are kept, as they were told.
    pub fn stored(&self) -> impl Iterator<Item = Stored> {
        self.origins.iter().flat_map(|(origin, records)| {
            records.iter().map(|((area, speaker), record)| Stored {
                update: LinkStateUpdate {
                    origin: origin.clone(),
                    neighbors: record.neighbours.iter().map(neighbour).collect(),
                    area: area.clone(),
                    advertised_at: record.advertised_at,
                    ttl_seconds: record.ttl_seconds,
                    sequence: record.sequence,
                },
                speaker: speaker.clone(),
            })
        })
    }

    fn has_room(&self, origin: &Text, key: &Speaker, limits: &Limits) -> bool {
        match self.origins.get(origin) {
            Some(records) => records.contains_key(key) || records.len() < limits.speakers_per_origin,
            None => self.origins.len() < limits.origins,
        }
    }
}

impl Record {
    fn is_newer(&self, known: &Record) -> bool {
        self.sequence > known.sequence
            || self.sequence == known.sequence && self.advertised_at > known.advertised_at
    }
}

fn unname(named: &mut BTreeMap<Text, usize>, name: &Text) {
    if let Some(count) = named.get_mut(name) {
        *count -= 1;
        if *count == 0 {
            named.remove(name);
        }
    }
}

/// Each neighbour once, at the cheapest that was said, and nobody as his own.
fn neighbours(update: &LinkStateUpdate) -> BTreeMap<Text, Link> {
    let mut kept: BTreeMap<Text, Link> = BTreeMap::new();
    for neighbour in update.neighbors.iter().filter(|n| n.cluster_id != update.origin) {
        let link = cost::link_of(neighbour);
        let known = kept.entry(neighbour.cluster_id.clone()).or_insert(link);
        *known = cheaper(*known, link);
    }
    kept
}

/// The one of two descriptions of a link that costs less; what is not to be used costs most.
pub(super) fn cheaper(a: Link, b: Link) -> Link {
    let cost = |link: &Link| cost::edge_cost(link).unwrap_or(f64::INFINITY);
    // Equal costs are told apart as well, so that the order in which they came does not matter.
    let rank = |l: &Link| [cost(l), l.latency_ms, l.cost_score, l.bandwidth_mbps.unwrap_or(0) as f64];
    let order =
        rank(&a).iter().zip(rank(&b)).fold(std::cmp::Ordering::Equal, |o, (a, b)| o.then(a.total_cmp(&b)));
    if order.is_gt() { b } else { a }
}

/// Ids longer than this are of no cluster, area or node.
const ID_BYTES_MAX: usize = 256;
/// A ttl longer than a day is a mistake.
const TTL_SECONDS_MAX: f64 = 86_400.0;
/// A record with the highest sequence blocks all others of its speaker until it ends.
const LEASE_SECONDS_MAX: f64 = 3600.0;
