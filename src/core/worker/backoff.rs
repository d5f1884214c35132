//! How long a process that ended waits before it is started again: the configured time first, twice as long after
//! each further end, never more than a minute, and from the beginning once it has run well.

use std::time::Duration;

/// The waiting time of one instance of a worker.
#[derive(Debug, Clone)]
pub struct Backoff {
    base: Duration,
    next: Duration,
}

impl Backoff {
    pub fn new(base: Duration) -> Backoff {
        let base = base.clamp(BACKOFF_MIN, BACKOFF_MAX);
        Backoff { base, next: base }
    }

    /// The process ended after it had run for `ran`; returns how long to wait before the next start.
    pub fn ended(&mut self, ran: Duration) -> Duration {
        if ran >= (self.base * RAN_WELL_FACTOR).max(RAN_WELL_MIN) {
            self.next = self.base;
        }
        let wait = self.next;
        self.next = (self.next * 2).min(BACKOFF_MAX);
        wait
    }
}

/// A `restart_backoff` of nothing would be a frenzy.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// A fault that was repaired should not have to wait longer than this to be noticed.
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// A process that ran ten times as long as it would have waited costs little to start again soon.
const RAN_WELL_FACTOR: u32 = 10;
const RAN_WELL_MIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_a_minute_and_starts_over_after_running_well() {
        let mut backoff = Backoff::new(Duration::from_secs(1));
        let waits: Vec<_> = (0..8).map(|_| backoff.ended(Duration::ZERO).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff.ended(Duration::from_secs(9)).as_secs(), 60);
        assert_eq!(backoff.ended(Duration::from_secs(10)).as_secs(), 1);
    }

    #[test]
    fn no_backoff_is_still_no_frenzy() {
        assert_eq!(Backoff::new(Duration::ZERO).ended(Duration::ZERO), BACKOFF_MIN);
    }
}
