//! The clocks of this machine, read once and handed into the core.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::core::time::Now;

/// Both clocks, the monotonic one from the start of the node.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    pub fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        Now { wall, mono: self.start.elapsed() }
    }

    /// The moment on the machine's clock at which `mono` is reached.
    pub fn instant(&self, mono: std::time::Duration) -> Instant {
        self.start + mono
    }
}
