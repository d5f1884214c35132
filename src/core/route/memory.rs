//! What is remembered of routes that are gone. It ends by itself, and is bounded for each neighbour: when one fills it,
//! what would end first goes first, and only the routes of that neighbour are judged less exactly.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Stability;
use crate::core::catalog::Text;
use crate::core::reason::Reason;

/// A bounded map by destination whose values end by themselves.
#[derive(Debug)]
struct Memory<T> {
    kept: BTreeMap<Text, (Duration, T)>,
    ends: BTreeSet<(Duration, Text)>,
}

/// The withdrawals of one neighbour: what was announced before must not come back, however it is kept and sent again.
#[derive(Debug, Default)]
pub(super) struct Withdrawals {
    last: Memory<Withdrawn>,
    /// The latest withdrawal that was forgotten for lack of room.
    floor: Option<f64>,
}

#[derive(Debug)]
struct Withdrawn {
    at: f64,
    path: Vec<Text>,
}

/// Hold-down and suppression of the routes of one neighbour (7.11).
#[derive(Debug, Default)]
pub(super) struct Damping(Memory<Flaps>);

#[derive(Debug, Clone, Copy, Default)]
struct Flaps {
    count: u32,
    last: Duration,
    held_until: Duration,
    suppressed_until: Duration,
}

impl Withdrawals {
    pub fn remember(&mut self, destination: &Text, path: &[Text], at: f64, until: Duration) {
        let before = self.last.get(destination).map_or(at, |w| w.at);
        let withdrawn = Withdrawn { at: at.max(before), path: path.to_vec() };
        if let Some(forgotten) = self.last.insert(destination.clone(), until, withdrawn) {
            self.floor = Some(self.floor.map_or(forgotten.at, |floor| floor.max(forgotten.at)));
        }
    }

    /// Whether an announcement of that date comes from before the last withdrawal.
    pub fn outdate(&self, destination: &str, advertised_at: f64) -> bool {
        let after = self.last.get(destination).map(|w| w.at).or(self.floor);
        after.is_some_and(|at| advertised_at <= at)
    }

    /// Whether this very path was the last to be withdrawn.
    pub fn name(&self, destination: &str, path: &[Text]) -> bool {
        self.last.get(destination).is_some_and(|w| w.path == path)
    }

    pub fn expire(&mut self, now: Duration) {
        self.last.expire(now);
        if self.is_empty() {
            self.floor = None; // it is older than what was kept
        }
    }

    pub fn is_empty(&self) -> bool {
        self.last.kept.is_empty()
    }
}

impl Damping {
    /// The last route of the neighbour to a destination is gone.
    pub fn gone(&mut self, destination: &Text, stability: &Stability, now: Duration) {
        let seconds = |s: f64| Duration::try_from_secs_f64(s).unwrap_or(Duration::ZERO);
        let window = seconds(stability.suppression_window_seconds);
        let mut flaps = self.0.get(destination).copied().unwrap_or_default();
        flaps.count =
            if now <= flaps.last.saturating_add(window) { flaps.count.saturating_add(1) } else { 1 };
        flaps.last = now;
        flaps.held_until = now.saturating_add(seconds(stability.hold_down_seconds));
        if stability.flap_threshold > 0 && flaps.count >= stability.flap_threshold {
            flaps.suppressed_until = now.saturating_add(window);
        }
        let counts_until = if stability.flap_threshold > 0 { now.saturating_add(window) } else { now };
        let until = flaps.held_until.max(flaps.suppressed_until).max(counts_until);
        if until > now {
            self.0.insert(destination.clone(), until, flaps);
        }
    }

    /// Whether a route to that destination may come now.
    pub fn judge(&self, destination: &str, now: Duration) -> Result<(), Reason> {
        match self.0.get(destination) {
            Some(flaps) if now < flaps.held_until => Err(Reason::RouteHoldDown),
            Some(flaps) if now < flaps.suppressed_until => Err(Reason::RouteSuppressed),
            _ => Ok(()),
        }
    }

    pub fn expire(&mut self, now: Duration) {
        self.0.expire(now);
    }

    pub fn is_empty(&self) -> bool {
        self.0.kept.is_empty()
    }
}

impl<T> Memory<T> {
    fn get(&self, destination: &str) -> Option<&T> {
        self.kept.get(destination).map(|(_, value)| value)
    }

    /// The answer is what had to go for it.
    fn insert(&mut self, destination: Text, until: Duration, value: T) -> Option<T> {
        if let Some((end, _)) = self.kept.insert(destination.clone(), (until, value)) {
            self.ends.remove(&(end, destination.clone()));
        }
        self.ends.insert((until, destination));
        if self.kept.len() <= REMEMBERED_MAX {
            return None;
        }
        self.ends.pop_first().and_then(|(_, first)| self.kept.remove(&first)).map(|(_, value)| value)
    }

    fn expire(&mut self, now: Duration) {
        while self.ends.first().is_some_and(|(end, _)| *end <= now) {
            if let Some((_, destination)) = self.ends.pop_first() {
                self.kept.remove(&destination);
            }
        }
    }
}

impl<T> Default for Memory<T> {
    fn default() -> Self {
        Memory { kept: BTreeMap::new(), ends: BTreeSet::new() }
    }
}

/// Destinations of each neighbour; some 200 bytes each.
pub(super) const REMEMBERED_MAX: usize = 16_384;
