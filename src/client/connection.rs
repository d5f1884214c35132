//! The task that owns a connection: writes what it is handed, gives out what arrives, and watches for silence.
//! It ends when it is told to, when every client is gone, or when the connection ends, and then says why.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use bytes::Bytes;
use smol::{
    Timer,
    channel::{Receiver, Sender},
    stream::Stream,
};

use super::{
    ClientError, Outgoing, Shared,
    open::{closed, failed},
    within,
};
use crate::drive::link::{Incoming, Link, LinkError, close_code};

pub(super) async fn run(
    mut link: Link,
    outgoing: Receiver<Outgoing>,
    shared: Arc<Shared>,
    keep_alive: Duration,
    _alive: Sender<()>,
) {
    let end = serve(&mut link, outgoing, &shared, keep_alive).await;
    log::debug!("connection ended: {end}");
    shared.finish(end);
    // An error only says that the other end was faster.
    let _ = within(Some(CLOSE_WITHIN), link.close(close_code::NORMAL, "")).await;
}

enum Event {
    Arrived(Incoming),
    Due,
    Closing,
    Failed(LinkError),
}

async fn serve(
    link: &mut Link,
    outgoing: Receiver<Outgoing>,
    shared: &Shared,
    keep_alive: Duration,
) -> ClientError {
    let lost = |why: &str| ClientError::Lost { url: shared.url.clone(), why: why.to_owned() };
    let mut outgoing = pin!(outgoing);
    let mut pulse = Pulse::new(keep_alive);
    let mut due = Timer::at(pulse.due());
    let mut unflushed = false;
    loop {
        let event = poll_fn(|cx| {
            loop {
                match link.poll_ready(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Event::Failed(error)),
                    Poll::Pending => break,
                }
                match outgoing.as_mut().poll_next(cx) {
                    Poll::Ready(Some(Outgoing::Frame(frame))) => {
                        unflushed = true;
                        pulse.said = Instant::now();
                        if let Err(error) = link.start_send(frame) {
                            return Poll::Ready(Event::Failed(error));
                        }
                    }
                    Poll::Ready(Some(Outgoing::Close) | None) => return Poll::Ready(Event::Closing),
                    Poll::Pending => break,
                }
            }
            if unflushed {
                match link.poll_flush(cx) {
                    Poll::Ready(Ok(())) => unflushed = false,
                    Poll::Ready(Err(error)) => return Poll::Ready(Event::Failed(error)),
                    Poll::Pending => {}
                }
            }
            match link.poll_read(cx) {
                Poll::Ready(Ok(incoming)) => return Poll::Ready(Event::Arrived(incoming)),
                Poll::Ready(Err(error)) => return Poll::Ready(Event::Failed(error)),
                Poll::Pending => {}
            }
            Pin::new(&mut due).poll(cx).map(|_| Event::Due)
        })
        .await;
        match event {
            Event::Arrived(incoming) => {
                pulse.heard = Instant::now();
                pulse.asked = None;
                match incoming {
                    Incoming::Message(bytes) => {
                        if let Some((subscriber, notification)) = shared.accept(bytes) {
                            // A subscriber that has gone away does not want it.
                            let _ = subscriber.send(notification).await;
                        }
                    }
                    // The answer waits for the next flush.
                    Incoming::Ping(_) => unflushed = true,
                    Incoming::Pong(_) => {}
                    Incoming::Closed { code, reason } => return closed(&shared.url, code, &reason),
                }
            }
            Event::Due => {
                let now = Instant::now();
                if pulse.is_dead(now) {
                    return lost("it gave no sign of life");
                }
                let asks = pulse.wants_sign(now);
                let pings = asks && link.has_pings();
                let sent = if pings { link.start_ping(Bytes::new()) } else { Ok(()) };
                // Without pings the answer to a message is the sign of life.
                let speaks = pulse.is_quiet(now) || asks && !pings;
                let sent = sent.and_then(|()| if speaks { keep_alive_on(link) } else { Ok(()) });
                if let Err(error) = sent {
                    return failed(&shared.url, error);
                }
                pulse.asked = if asks { Some(now) } else { pulse.asked };
                pulse.said = if speaks { now } else { pulse.said };
                unflushed |= asks || speaks;
                due.set_at(pulse.due());
            }
            Event::Closing => return lost("it was closed on this side"),
            Event::Failed(error) => return failed(&shared.url, error),
        }
    }
}

/// When either end last gave a sign of life.
struct Pulse {
    heard: Instant,
    said: Instant,
    /// A sign of life was asked for and has not come yet.
    asked: Option<Instant>,
    keep_alive: Duration,
}

impl Pulse {
    fn new(keep_alive: Duration) -> Pulse {
        let now = Instant::now();
        Pulse {
            heard: now,
            said: now,
            asked: None,
            keep_alive: keep_alive.clamp(KEEP_ALIVE_MIN, KEEP_ALIVE_MAX),
        }
    }

    /// When to look again; earlier is harmless.
    fn due(&self) -> Instant {
        (self.asked.unwrap_or(self.heard) + SILENCE_MAX).min(self.said + self.keep_alive)
    }

    fn is_dead(&self, now: Instant) -> bool {
        self.asked.is_some_and(|asked| now >= asked + SILENCE_MAX)
    }

    fn wants_sign(&self, now: Instant) -> bool {
        self.asked.is_none() && now >= self.heard + SILENCE_MAX
    }

    fn is_quiet(&self, now: Instant) -> bool {
        now >= self.said + self.keep_alive
    }
}

fn keep_alive_on(link: &mut Link) -> Result<(), LinkError> {
    log::debug!("-> {KEEP_ALIVE}");
    link.start_send(Bytes::from_static(KEEP_ALIVE.as_bytes()))
}

/// The cheapest request there is. Its id is none of ours, so that its answer finds nobody.
const KEEP_ALIVE: &str =
    r#"{"role":"rpc","u":"keep-alive","cmds":[{"name":"k","fun":"echo","args":[0],"kwargs":{},"locs":[]}]}"#;
/// A connection that is silent for this long is asked for a sign of life, and given up after as long again.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// Neither a busy loop nor a moment that the clock cannot express.
const KEEP_ALIVE_MIN: Duration = Duration::from_millis(1);
const KEEP_ALIVE_MAX: Duration = Duration::from_secs(86_400);
const CLOSE_WITHIN: Duration = Duration::from_millis(500);
