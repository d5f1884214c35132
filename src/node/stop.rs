//! The orderly end of a node: nobody is let in any more, who just came is still heard, then no new work; what runs may
//! finish, a farewell to the peers, and the store written. All of it within `node.stop_timeout`; a second signal ends it
//! where it is.

use std::sync::Arc;
use std::time::Duration;

use smol::Timer;

use super::hub::Hub;
use super::keeper;
use crate::core::fabric::Event;
use crate::drive::link::close_code;
use crate::drive::signals::{Asked, Asking};

/// Ends the node, as far as the time allows.
pub async fn stop(hub: &Arc<Hub>, asking: &mut Asking) {
    let time = hub.settings().node.stop_timeout;
    hub.supervisor.stopping(time);
    log::info!("stopping; at most {} s", time.as_secs_f64());
    hub.stop();
    let last = LAST_SHARE_MAX.min(time / 3);
    let in_order = async {
        hear_newcomers(hub, FIRST_WORDS_TIME.min(time / 10)).await;
        hub.refuse();
        drain(hub, time - last).await;
        let workers = hub.workers().stop(last / 2);
        let stored = keeper::finish(hub);
        smol::future::zip(workers, stored).await;
    };
    let in_time = smol::future::or(
        async {
            in_order.await;
            true
        },
        async {
            Timer::after(time).await;
            false
        },
    );
    let in_time = async {
        if !in_time.await {
            log::error!("node.stop_timeout is over; what was not written to the store is lost");
        }
    };
    let again = async {
        while asking.next().await != Asked::Stop {}
        log::warn!("told to stop again; ending at once");
    };
    smol::future::or(in_time, again).await;
}

/// Who was let in has been promised an answer: it gets a moment to say what it came for. With sockets that outlive this
/// node, who comes later waits for the next one.
async fn hear_newcomers(hub: &Hub, time: Duration) {
    let heard = async {
        while hub.newcomers() > 0 {
            Timer::after(DRAIN_LOOK).await;
        }
    };
    let late = async {
        Timer::after(time).await;
    };
    smol::future::or(heard, late).await;
}

/// What runs may finish; then the peers hear a farewell and the connections end.
async fn drain(hub: &Arc<Hub>, time: Duration) {
    let finished = async {
        // What runs for clients and peers is finished first, over the links that are still up.
        while hub.clients() > 0 || hub.executing() > 0 {
            Timer::after(DRAIN_LOOK).await;
        }
        hub.control(Event::Stop);
        hub.each_outlet(|outlet| outlet.close(close_code::GOING_AWAY, "the node stops".into()));
        while hub.connections() > 0 {
            Timer::after(DRAIN_LOOK).await;
        }
    };
    let late = async {
        Timer::after(time).await;
        log::warn!("{} connections did not end in time", hub.connections());
        // Said as well as it can be: peers need not find out by themselves.
        hub.control(Event::Stop);
        hub.each_outlet(|outlet| outlet.close(close_code::GOING_AWAY, "the node stops".into()));
        Timer::after(LAST_WORDS_TIME.min(time / 10)).await;
    };
    smol::future::or(finished, late).await;
}

/// For connections that were accepted and have said nothing yet; a tenth of node.stop_timeout at most.
const FIRST_WORDS_TIME: Duration = Duration::from_secs(1);
/// The ends of workers and the store get this much of node.stop_timeout, or a third of it.
const LAST_SHARE_MAX: Duration = Duration::from_secs(3);
/// For a farewell to leave, where the time for everything else is over.
const LAST_WORDS_TIME: Duration = Duration::from_millis(100);
/// How often a stopping node looks whether its connections have ended.
const DRAIN_LOOK: Duration = Duration::from_millis(10);
