//! Ways to break a node from outside, for tests of those who watch it. Only in builds with the feature `test-hooks`,
//! which no package has.

use std::sync::Arc;

use async_signal::{Signal, Signals};
use smol::stream::StreamExt;

use super::hub::{Hub, lock};

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
