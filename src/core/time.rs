//! Time as the core sees it: handed in with each event, never read.

use std::time::Duration;

/// One moment, on both clocks that matter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Now {
    /// Seconds since the Unix epoch. Everything on the wire that says when (advertised_at, timestamp) is of this clock.
    pub wall: f64,
    /// Time since the node started; never goes backwards. Deadlines and intervals are of this clock.
    pub mono: Duration,
}

impl Now {
    /// A moment `seconds` after the start of a node that started at `wall_start`; for tests and simulation.
    pub fn at(wall_start: f64, seconds: f64) -> Now {
        Now { wall: wall_start + seconds, mono: Duration::from_secs_f64(seconds) }
    }
}
