//! One connection, client or peer, from its first message to its last.
//!
//! One task owns the link. At each wake-up it takes what came in, serves it, moves what waits in the outlet to the
//! link and flushes once. What can be answered at once is answered in this task; calls that run elsewhere are
//! futures of this task, so that they end with the connection. It never waits for another connection.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use smol::Timer;

use super::hub::{Hub, Newcomer};
use super::outlet::Outlet;
use super::publish::MatchCache;
use super::{publish, request};
use crate::core::discovery::Viewer;
use crate::core::fabric::Event;
use crate::core::federation::LinkFacts;
use crate::core::pubsub::outbound::Frame;
use crate::core::reason::Reason;
use crate::core::time::Now;
use crate::drive::link::{Incoming, Link, LinkError, close_code};
use crate::wire::client::{Message, read};
use crate::wire::fabric::is_of_a_node;

/// Who is at the other end of a link.
pub struct Origin {
    /// For logs: address and port, or the URL that was dialled.
    pub address: String,
    /// The URL, where this node dialled.
    pub dialled: Option<Arc<str>>,
    /// False on a listener of class `client`: nobody becomes a peer there.
    pub may_be_peer: bool,
    /// False on a listener of class `internal`: only peers are served there.
    pub may_be_client: bool,
    pub viewer: Viewer,
    /// What the link proves of its other end.
    pub facts: LinkFacts,
}

/// What one message costs its connection.
pub enum Served {
    /// Answered, or nothing to answer.
    Done,
    /// The answer comes when this ends; dropping it cancels the work.
    Later(Pin<Box<dyn Future<Output = Option<Bytes>> + Send>>),
    /// The link must end.
    Close { code: u16, text: String },
}

/// The state of a connection between its wake-ups.
pub struct Connection {
    pub hub: Arc<Hub>,
    pub origin: Arc<Origin>,
    pub outlet: Arc<Outlet>,
    pub matches: MatchCache,
    /// Scratch for answers, so that small ones cost one allocation.
    pub scratch: Vec<u8>,
    link: Link,
    running: FuturesUnordered<Pin<Box<dyn Future<Output = Option<Bytes>> + Send>>>,
    /// True once the fabric knows this link.
    is_peer: bool,
    /// Until the first message.
    newcomer: Option<Newcomer>,
    last_heard: Instant,
    ping_sent: Option<Instant>,
    timer: Timer,
}

impl Connection {
    /// `newcomer` counts it, where it was accepted, until it says something.
    pub fn new(hub: Arc<Hub>, link: Link, mut origin: Origin, newcomer: Option<Newcomer>) -> Connection {
        let outlet = hub.open_outlet(origin.dialled.is_none());
        origin.viewer.connection = outlet.id().0;
        let now = Instant::now();
        let idle_timeout = hub.settings().listen.idle_timeout;
        Connection {
            matches: MatchCache::default(),
            scratch: Vec::new(),
            running: FuturesUnordered::new(),
            is_peer: false,
            newcomer,
            last_heard: now,
            ping_sent: None,
            timer: Timer::after(ping_interval(idle_timeout)),
            origin: Arc::new(origin),
            outlet,
            link,
            hub,
        }
    }

    /// Serves the link to its end.
    pub async fn serve(mut self) {
        if self.origin.dialled.is_some() {
            self.become_peer();
        }
        let end = poll_fn(|cx| self.poll(cx)).await;
        self.running.clear();
        self.newcomer = None;
        self.hub.cancel_alone(&self.outlet);
        self.hub.close_outlet(&self.outlet, self.origin.dialled.is_none());
        if self.is_peer {
            self.hub.control(Event::LinkClosed { link: self.outlet.link_id() });
        }
        let (code, text) = match end {
            End::Peer { code, reason } => {
                log::debug!(peer = self.origin.address.as_str(); "closed by the other end: {code} {reason}");
                (close_code::NORMAL, String::new())
            }
            End::Ours { code, text } => {
                log::debug!(peer = self.origin.address.as_str(); "closing: {code} {text}");
                (code, text)
            }
            End::Failed(error) => {
                if let Some(reason) = error.reason() {
                    self.hub.counters.count(reason);
                    log::warn!(peer = self.origin.address.as_str(), reason = reason.name(); "link ended: {error}");
                } else {
                    log::debug!(peer = self.origin.address.as_str(); "link ended: {error}");
                }
                (close_code::NORMAL, String::new())
            }
        };
        let closing = async {
            let _ = self.link.close(code, &text).await;
        };
        smol::future::or(closing, async {
            Timer::after(CLOSE_TIME_MAX).await;
        })
        .await;
        self.hub.link_ended();
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.outlet.register(cx.waker());
        let mut turns = 0;
        loop {
            let mut progress = false;
            if let Poll::Ready(end) = self.take_in(cx, &mut progress) {
                // What was answered before the end still leaves.
                let _ = self.put_out(cx, &mut progress);
                return Poll::Ready(end);
            }
            while let Poll::Ready(Some(answer)) = self.running.poll_next_unpin(cx) {
                progress = true;
                if let Some(answer) = answer {
                    self.outlet.answer(&self.hub.counters, answer);
                }
            }
            if let Poll::Ready(end) = self.put_out(cx, &mut progress) {
                return Poll::Ready(end);
            }
            if let Poll::Ready(end) = self.watch_time(cx) {
                return Poll::Ready(end);
            }
            if let Some(end) = self.drained() {
                return Poll::Ready(end);
            }
            if !progress {
                return Poll::Pending;
            }
            turns += 1;
            if turns >= TURNS_MAX {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    /// Serves what came in, up to a batch; stops where this connection has enough under way or unread.
    fn take_in(&mut self, cx: &mut Context<'_>, progress: &mut bool) -> Poll<End> {
        let now = self.hub.clock.now();
        let heard_at = self.hub.clock.instant(now.mono);
        for _ in 0..BATCH_MESSAGES_MAX {
            if self.running.len() + self.outlet.under_way() >= RUNNING_MAX || self.outlet.is_congested() {
                return Poll::Pending;
            }
            let Poll::Ready(incoming) = self.link.poll_read(cx) else { return Poll::Pending };
            *progress = true;
            match incoming {
                Ok(Incoming::Message(frame)) => {
                    self.heard(heard_at);
                    self.newcomer = None;
                    match self.message(&frame, now) {
                        Served::Done => {}
                        Served::Later(work) => self.running.push(work),
                        Served::Close { code, text } => return Poll::Ready(End::Ours { code, text }),
                    }
                }
                Ok(Incoming::Ping(_) | Incoming::Pong(_)) => self.heard(heard_at),
                Ok(Incoming::Closed { code, reason }) => return Poll::Ready(End::Peer { code, reason }),
                Err(error) => return Poll::Ready(End::Failed(error)),
            }
        }
        Poll::Pending
    }

    fn message(&mut self, frame: &Bytes, now: Now) -> Served {
        // There is no client behind a link that this node dialled, and the answers of a peer have no role.
        if self.origin.dialled.is_some() || (self.is_peer && is_of_a_node(frame)) {
            return self.peer_message(frame);
        }
        match read(frame) {
            Ok(Message::Rpc(rpc)) if self.origin.may_be_client => request::serve(self, &rpc, frame, now),
            Ok(Message::Publish(message)) if self.origin.may_be_client => {
                publish::publish(self, &message, now)
            }
            Ok(Message::Subscribe(wish)) if self.origin.may_be_client => publish::subscribe(self, wish, now),
            Ok(Message::Unsubscribe(wish)) if self.origin.may_be_client => publish::unsubscribe(self, &wish),
            Ok(Message::Peer(_)) if self.origin.may_be_peer => {
                self.become_peer();
                self.peer_message(frame)
            }
            Ok(Message::Malformed(fault)) => {
                self.hub.refused(Reason::BadRequest, &self.origin.address, &fault.text);
                self.answer(|out| fault.answer(out))
            }
            Ok(Message::UnknownRole(fault)) => {
                self.hub.refused(Reason::UnknownRole, &self.origin.address, &fault.role);
                self.answer(|out| fault.answer(out))
            }
            Ok(_) => {
                self.hub.refused(
                    Reason::NotEntitled,
                    &self.origin.address,
                    "a message of the wrong class of listener",
                );
                Served::Close { code: close_code::POLICY, text: "not served on this listener".into() }
            }
            // Between nodes one bad message costs no link (fabric.md 20).
            Err(fault) if self.is_peer => {
                self.hub.refused(Reason::BadFrame, &self.origin.address, &fault.text);
                Served::Done
            }
            Err(fault) => {
                self.hub.refused(Reason::BadFrame, &self.origin.address, &fault.text);
                Served::Close { code: close_code::POLICY, text: fault.text }
            }
        }
    }

    fn peer_message(&mut self, frame: &Bytes) -> Served {
        self.hub.control(Event::Message { link: self.outlet.link_id(), bytes: frame.clone() });
        Served::Done
    }

    /// Puts one answer into the outlet.
    pub fn answer(&mut self, fill: impl FnOnce(&mut Vec<u8>)) -> Served {
        self.scratch.clear();
        fill(&mut self.scratch);
        if self.scratch.len() > SCRATCH_BYTES_MAX {
            self.outlet.answer(&self.hub.counters, std::mem::take(&mut self.scratch).into());
        } else if self.outlet.is_empty() && self.link.outbound_bytes() < DIRECT_BYTES_MAX {
            // Nothing is waiting before it, and nobody else writes to this link. A link that has ended says so when it
            // is read next.
            let _ = self.link.start_send_slice(&self.scratch);
        } else {
            self.outlet.answer(&self.hub.counters, Bytes::copy_from_slice(&self.scratch));
        }
        Served::Done
    }

    fn become_peer(&mut self) {
        if !self.is_peer {
            self.is_peer = true;
            self.outlet.becomes_peer();
            let dialled = self.origin.dialled.clone();
            let facts = self.origin.facts.clone();
            self.hub.control(Event::LinkOpened { link: self.outlet.link_id(), dialled, facts });
        }
    }

    /// Moves what waits to the link and writes it with one flush.
    fn put_out(&mut self, cx: &mut Context<'_>, progress: &mut bool) -> Poll<End> {
        loop {
            match self.link.poll_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(End::Failed(error)),
                Poll::Pending => break,
            }
            let mut failure = None;
            let link = &mut self.link;
            let any = self.outlet.drain(DRAIN_BYTES, |frame| {
                let sent = match frame {
                    Frame::Owned(frame) => link.start_send(frame),
                    Frame::Delivery { body, tail, .. } => link.start_send_parts(body, tail),
                };
                if let Err(error) = sent {
                    failure = Some(error);
                }
            });
            if let Some(error) = failure {
                return Poll::Ready(End::Failed(error));
            }
            if !any {
                break;
            }
            *progress = true;
        }
        if let Poll::Ready(Err(error)) = self.link.poll_flush(cx) {
            return Poll::Ready(End::Failed(error));
        }
        match self.outlet.closing() {
            // What waits for a link that reads nothing is given up with the link.
            Some((code, text)) if code == close_code::TRY_AGAIN_LATER || self.outlet.is_empty() => {
                Poll::Ready(End::Ours { code, text })
            }
            _ => Poll::Pending,
        }
    }

    fn heard(&mut self, at: Instant) {
        self.last_heard = at;
        self.ping_sent = None;
    }

    /// Pings a quiet link and ends a deaf one; ends an idle one where the configuration says so.
    fn watch_time(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        while let Poll::Ready(now) = Pin::new(&mut self.timer).poll(cx) {
            let idle_timeout = self.hub.settings().listen.idle_timeout;
            if self.ping_sent.is_some_and(|sent| now.duration_since(sent) >= PONG_TIME_MAX) {
                self.hub.refused(Reason::PeerSilent, &self.origin.address, "no answer to a ping");
                let text = "keepalive ping timeout".to_owned();
                return Poll::Ready(End::Ours { code: close_code::INTERNAL, text });
            }
            // A link that answers pings is alive, however little its client says (client.md 1.5).
            let quiet = now.duration_since(self.last_heard);
            let idle = !idle_timeout.is_zero() && !self.link.has_pings() && quiet >= idle_timeout;
            if idle && self.outlet.subscriptions() == 0 && !self.is_working() && !self.is_peer {
                let text = format!("idle for {} s", idle_timeout.as_secs_f64());
                return Poll::Ready(End::Ours { code: close_code::NORMAL, text });
            }
            if self.ping_sent.is_none() && self.link.has_pings() && quiet >= ping_interval(idle_timeout) {
                if let Err(error) = self.link.start_ping(Bytes::from_static(b"mpreg")) {
                    return Poll::Ready(End::Failed(error));
                }
                self.ping_sent = Some(now);
                let _ = self.link.poll_flush(cx);
            }
            let next = self.next_look(now, idle_timeout);
            self.timer.set_after(next);
        }
        Poll::Pending
    }

    /// How long the clock can mean nothing to this connection.
    fn next_look(&self, now: Instant, idle_timeout: Duration) -> Duration {
        let until_ping = match self.ping_sent {
            Some(sent) => PONG_TIME_MAX.saturating_sub(now.duration_since(sent)),
            None if self.link.has_pings() => {
                ping_interval(idle_timeout).saturating_sub(now.duration_since(self.last_heard))
            }
            None => PING_INTERVAL,
        };
        let until_idle = match idle_timeout.saturating_sub(now.duration_since(self.last_heard)) {
            _ if idle_timeout.is_zero() || self.link.has_pings() => Duration::MAX,
            // It may be idle, and is looked at again later.
            Duration::ZERO => idle_timeout,
            left => left,
        };
        until_ping.min(until_idle).max(TIMER_MIN)
    }

    fn is_working(&self) -> bool {
        !self.running.is_empty() || self.outlet.under_way() > 0
    }

    /// The end of a connection of a node that stops: when nothing runs for it any more.
    fn drained(&self) -> Option<End> {
        (self.hub.is_refusing() && !self.is_peer && !self.is_working() && self.outlet.is_empty())
            .then(|| End::Ours { code: close_code::GOING_AWAY, text: "the node stops".into() })
    }
}

/// How long a link may be quiet before it is asked whether anybody is there.
fn ping_interval(idle_timeout: Duration) -> Duration {
    if idle_timeout.is_zero() { PING_INTERVAL } else { PING_INTERVAL.min(idle_timeout) }
}

/// How a connection ended.
enum End {
    Peer { code: u16, reason: String },
    Ours { code: u16, text: String },
    Failed(LinkError),
}

/// Times of the reference's library, so that both ends give up at about the same time (client.md 1.2).
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PONG_TIME_MAX: Duration = Duration::from_secs(20);
/// How long the other end may take to answer a close.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(2);
const TIMER_MIN: Duration = Duration::from_millis(10);
/// Messages of one link served before its answers leave.
const BATCH_MESSAGES_MAX: usize = 64;
/// Rounds before other connections get their turn.
const TURNS_MAX: usize = 2;
/// Requests of one connection under way at once; more wait in the socket.
const RUNNING_MAX: usize = 1024;
/// Moved from the outlet to the link at once; what the link then holds beside it.
const DRAIN_BYTES: usize = 64 * 1024;
/// Kept for the next answer; a larger one is handed on as it is.
const SCRATCH_BYTES_MAX: usize = 16 * 1024;
/// What may wait in the link itself before answers queue in the outlet.
const DIRECT_BYTES_MAX: usize = 64 * 1024;
