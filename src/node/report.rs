//! What the service manager shows of a running node (`systemctl status`): one line, told when it changes.

use std::sync::Arc;
use std::time::Duration;

use smol::Timer;

use super::hub::{Hub, lock};

/// Tells it until the process ends.
pub async fn keep_told(hub: Arc<Hub>) {
    if !hub.supervisor.is_there() {
        return;
    }
    loop {
        hub.supervisor.status(line(&hub));
        Timer::after(LOOK).await;
    }
}

fn line(hub: &Hub) -> String {
    let ((linked, wanted), peers) = {
        let control = lock(&hub.control);
        let membership = control.fabric.membership();
        (membership.seeds_reached(hub.clock.now()), membership.connected().count())
    };
    let mut line = match hub.is_stopping() {
        true => format!("stopping, {} connections left", hub.connections()),
        false => format!("serving as {}", hub.node_id()),
    };
    line += &match (wanted, peers) {
        (0, peers) => format!("; peers linked: {peers}, none is configured"),
        (wanted, peers) => format!("; peers linked: {linked} of {wanted} configured, {peers} in all"),
    };
    if hub.keeper().is_some_and(|keeper| keeper.is_failing()) {
        line += "; the store cannot be written, the log says why";
    }
    line
}

/// How old what is shown may be.
const LOOK: Duration = Duration::from_secs(2);
