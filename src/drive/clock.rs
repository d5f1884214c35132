//! The clocks of this machine, read once and handed into the core.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::core::time::Now;

/// Both clocks, the monotonic one from the start of the node.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
    #[cfg(feature = "test-hooks")]
    ahead_seconds: f64,
}

impl Clock {
    pub fn start() -> Clock {
        Clock {
            start: Instant::now(),
            #[cfg(feature = "test-hooks")]
            ahead_seconds: clock_ahead_seconds(),
        }
    }

    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        #[cfg(feature = "test-hooks")]
        let wall = wall + self.ahead_seconds;
        Now { wall, mono: self.start.elapsed() }
    }

    /// The moment on the machine's clock at which `mono` is reached.
    pub fn instant(&self, mono: std::time::Duration) -> Instant {
        self.start + mono
    }
}

/// How far the clock of this node is ahead of that of the machine, for tests: `MPREG_TEST_CLOCK_AHEAD`.
#[cfg(feature = "test-hooks")]
fn clock_ahead_seconds() -> f64 {
    std::env::var("MPREG_TEST_CLOCK_AHEAD").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or_default()
}
