//! Counters: one for each reason, and the few totals that the node itself reports.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::core::reason::{REASONS, Reason};

/// Counts since the start; reading and adding never block.
pub struct Counters {
    reasons: Box<[AtomicU64]>,
    /// When each was counted last, in seconds since 1970.
    last: Box<[AtomicU64]>,
    pub requests: AtomicU64,
    pub commands: AtomicU64,
    pub published: AtomicU64,
    pub delivered: AtomicU64,
}

impl Default for Counters {
    fn default() -> Counters {
        Counters {
            reasons: REASONS.iter().map(|_| AtomicU64::new(0)).collect(),
            last: REASONS.iter().map(|_| AtomicU64::new(0)).collect(),
            requests: AtomicU64::new(0),
            commands: AtomicU64::new(0),
            published: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
        }
    }
}

impl Counters {
    pub fn count(&self, reason: Reason) {
        self.count_many(reason, 1);
    }

    pub fn count_many(&self, reason: Reason, times: u64) {
        let place = reason as usize;
        if let (Some(counter), Some(last)) = (self.reasons.get(place), self.last.get(place))
            && times > 0
        {
            counter.fetch_add(times, Relaxed);
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            last.store(now.as_secs(), Relaxed);
        }
    }

    /// When this has happened last, in seconds since 1970; `None` where it never has.
    pub fn last(&self, reason: Reason) -> Option<u64> {
        self.last.get(reason as usize).map(|last| last.load(Relaxed)).filter(|last| *last > 0)
    }

    /// How often this has happened.
    pub fn of(&self, reason: Reason) -> u64 {
        self.reasons.get(reason as usize).map_or(0, |count| count.load(Relaxed))
    }

    /// Every reason that has happened, with how often.
    pub fn seen(&self) -> Vec<(Reason, u64)> {
        REASONS
            .iter()
            .zip(&self.reasons)
            .map(|(meaning, count)| (meaning.reason, count.load(Relaxed)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}
