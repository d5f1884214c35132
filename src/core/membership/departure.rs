//! Who said goodbye, and for how long that instance is kept out (fabric.md 4.8).

use std::collections::BTreeMap;
use std::time::Duration;

use super::Now;
use crate::core::catalog::Text;

#[derive(Debug)]
pub(super) struct Departures {
    grace: Duration,
    records: BTreeMap<Text, Record>,
}

#[derive(Debug)]
struct Record {
    instance: Text,
    /// By our own clock: the sender's may differ.
    until: Duration,
}

impl Departures {
    pub fn new(grace_seconds: f64) -> Departures {
        let grace = Duration::try_from_secs_f64(grace_seconds).unwrap_or_default();
        Departures { grace, records: BTreeMap::new() }
    }

    pub fn add(&mut self, node: Text, instance: Text, now: Now) {
        self.add_until(node, instance, now.mono + self.grace, now);
    }

    /// As [`Departures::add`] for the rest of a grace that began in a former life; never longer than a new one.
    pub fn add_until(&mut self, node: Text, instance: Text, until: Duration, now: Now) {
        let until = until.min(now.mono + self.grace);
        if until <= now.mono {
            return;
        }
        self.expire(now);
        if self.records.len() >= RECORDS_MAX
            && let Some(first) = self.records.iter().min_by_key(|(_, r)| r.until).map(|(n, _)| n.clone())
        {
            self.records.remove(&first);
        }
        self.records.insert(node, Record { instance, until });
    }

    /// True while the departed instance is kept out. A question for another instance ends the record: the node lives
    /// again.
    pub fn holds(&mut self, node: &str, instance: Option<&str>, now: Now) -> bool {
        let Some(record) = self.records.get(node) else { return false };
        let reborn =
            instance.is_some_and(|i| !i.is_empty() && !record.instance.is_empty() && *i != *record.instance);
        if reborn || now.mono >= record.until {
            self.records.remove(node);
            return false;
        }
        true
    }

    /// Who is kept out: node, instance, and until when.
    pub fn all(&self) -> impl Iterator<Item = (&Text, &Text, Duration)> {
        self.records.iter().map(|(node, record)| (node, &record.instance, record.until))
    }

    pub fn expire(&mut self, now: Now) {
        self.records.retain(|_, r| now.mono < r.until);
    }
}

/// More leave in one grace period only where somebody makes nodes up.
const RECORDS_MAX: usize = 10_000;
