//! Ways to break a node from outside, for tests of those who watch it. Only in builds with the feature `test-hooks`,
//! which no package has.

use std::sync::Arc;

use async_signal::{Signal, Signals};
use smol::stream::StreamExt;

use super::hub::{Hub, lock};

/// How far the clock of this node is ahead of that of the machine: `MPREG_TEST_CLOCK_AHEAD`.
pub fn clock_ahead_seconds() -> f64 {
    std::env::var("MPREG_TEST_CLOCK_AHEAD").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or_default()
}

/// At SIGUSR1 the core gets stuck: its lock is taken and never given back.
pub async fn get_stuck_on_signal(hub: Arc<Hub>) {
    let Ok(mut signals) = Signals::new([Signal::Usr1]) else { return };
    if signals.next().await.is_some() {
        log::warn!("test-hooks: the core gets stuck");
        let _held = lock(&hub.control);
        loop {
            std::thread::park();
        }
    }
}
