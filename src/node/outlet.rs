//! The way out of a connection: anybody may push, the connection's own task takes.
//!
//! Nobody ever waits here: what does not fit is decided at once by `core::pubsub::outbound`, counted, and told. A
//! connection that has to be cut learns it the next time it looks.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use bytes::Bytes;
use futures_util::task::AtomicWaker;

use super::memory::Memory;
use crate::core::membership::LinkId;
use crate::core::pubsub::outbound::{DropNotice, Frame, Losses, Outbound, OutboundLimits, Push};
use crate::core::pubsub::{ConnectionId, Message, Target};
use crate::core::reason::Reason;
use crate::drive::counters::Counters;
use crate::drive::link::close_code;
use crate::wire::client::write;

/// What waits for one connection.
pub struct Outlet {
    id: ConnectionId,
    memory: Arc<Memory>,
    waiting: Mutex<Outbound>,
    closing: Mutex<Option<(u16, String)>>,
    /// Spares the look behind the two locks.
    has_frames: AtomicBool,
    has_closing: AtomicBool,
    congested: AtomicBool,
    is_peer: AtomicBool,
    skew_is_told: AtomicBool,
    subscriptions: AtomicUsize,
    /// Requests whose answers come from elsewhere.
    under_way: AtomicUsize,
    waker: AtomicWaker,
}

/// A request whose answer comes from elsewhere, for as long as this lives.
pub struct UnderWay(Arc<Outlet>);

impl Outlet {
    pub fn new(id: ConnectionId, limits: OutboundLimits, memory: Arc<Memory>) -> Outlet {
        Outlet {
            id,
            memory,
            waiting: Mutex::new(Outbound::new(limits)),
            closing: Mutex::new(None),
            has_frames: AtomicBool::new(false),
            has_closing: AtomicBool::new(false),
            congested: AtomicBool::new(false),
            is_peer: AtomicBool::new(false),
            skew_is_told: AtomicBool::new(false),
            subscriptions: AtomicUsize::new(0),
            under_way: AtomicUsize::new(0),
            waker: AtomicWaker::new(),
        }
    }

    pub fn id(&self) -> ConnectionId {
        self.id
    }

    pub fn link_id(&self) -> LinkId {
        LinkId(self.id.0)
    }

    /// An answer, an ack, or a message to a peer.
    pub fn answer(&self, counters: &Counters, frame: Bytes) {
        let memory = &self.memory;
        let push = self.with(|waiting| match memory.is_full() && waiting.bytes() > 0 {
            true => Push::Cut(Reason::MemoryLimit),
            false => waiting.push(frame),
        });
        self.settle(counters, push);
    }

    /// A published message for one subscription of this connection; how many deliveries were lost over it.
    pub fn deliver(&self, counters: &Counters, target: &Target, message: &Message) -> u64 {
        let memory = &self.memory;
        let push = self.with(|waiting| {
            if memory.is_full() && waiting.bytes() > 0 {
                return waiting.lose(target.subscription, Reason::MemoryLimit);
            }
            let tail = tail("notification_", message, target);
            waiting.push_delivery(target.subscription, message.body.clone(), tail)
        });
        self.settle(counters, push)
    }

    /// What a new subscription gets of the past.
    pub fn deliver_backlog(&self, counters: &Counters, target: &Target, messages: &[Arc<Message>]) {
        let messages = messages.iter().map(|m| (m.body.clone(), tail("notification_", m, target))).collect();
        let push = self.with(|waiting| waiting.push_backlog(target.subscription, messages));
        self.settle(counters, push);
    }

    pub fn subscribed(&self, target: &Target) {
        self.lock().open(target.subscription, target.subscription_id.clone());
        self.subscriptions.fetch_add(1, Relaxed);
    }

    pub fn unsubscribed(&self, target: &Target) {
        self.lock().close(target.subscription);
        self.subscriptions.fetch_sub(1, Relaxed);
    }

    /// What waits for the other end to read.
    pub fn waiting_bytes(&self) -> usize {
        self.lock().bytes()
    }

    pub fn subscriptions(&self) -> usize {
        self.subscriptions.load(Relaxed)
    }

    pub fn begin(self: &Arc<Self>) -> UnderWay {
        self.under_way.fetch_add(1, Relaxed);
        UnderWay(self.clone())
    }

    pub fn under_way(&self) -> usize {
        self.under_way.load(Acquire)
    }

    /// The connection leads to another node.
    pub fn becomes_peer(&self) {
        self.is_peer.store(true, Relaxed);
    }

    /// Whether it was told already that the clock at the other end is wrong, which it is in every message; now it is.
    pub fn tell_skew(&self) -> bool {
        self.skew_is_told.swap(true, Relaxed)
    }

    pub fn is_peer(&self) -> bool {
        self.is_peer.load(Relaxed)
    }

    pub fn set_limits(&self, limits: OutboundLimits) {
        self.lock().set_limits(limits);
    }

    /// Asks the connection to end with this code.
    pub fn close(&self, code: u16, text: String) {
        let mut closing = self.closing.lock().unwrap_or_else(PoisonError::into_inner);
        closing.get_or_insert((code, text));
        self.has_closing.store(true, Release);
        drop(closing);
        self.waker.wake();
    }

    pub fn wake(&self) {
        self.waker.wake();
    }

    // What follows is for the connection's own task.

    pub fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Gives frames to `take` until it says no or `bytes_max` are out; true if there were any.
    pub fn drain(&self, bytes_max: usize, mut take: impl FnMut(Frame)) -> bool {
        if !self.has_frames.load(Acquire) {
            return false;
        }
        let mut waiting = self.lock();
        for notice in waiting.take_drop_notices() {
            take(Frame::Owned(dropped(&notice)));
        }
        let before = waiting.bytes();
        waiting.drain(bytes_max).for_each(&mut take);
        self.memory.moved(before, waiting.bytes());
        self.has_frames.store(!waiting.is_empty(), Release);
        self.congested.store(waiting.is_congested(), Relaxed);
        true
    }

    pub fn is_empty(&self) -> bool {
        !self.has_frames.load(Acquire)
    }

    /// True while answers take so much room, here or in the whole node, that no further request should be read.
    pub fn is_congested(&self) -> bool {
        self.congested.load(Relaxed) || self.memory.is_tight() && !self.is_empty()
    }

    pub fn closing(&self) -> Option<(u16, String)> {
        if !self.has_closing.load(Acquire) {
            return None;
        }
        self.closing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn with(&self, push: impl FnOnce(&mut Outbound) -> Push) -> Push {
        let mut waiting = self.lock();
        let before = waiting.bytes();
        let outcome = push(&mut waiting);
        self.memory.moved(before, waiting.bytes());
        self.congested.store(waiting.is_congested(), Relaxed);
        if !self.has_frames.swap(true, AcqRel) {
            drop(waiting);
            self.waker.wake();
        }
        outcome
    }

    /// Counts what a push cost; how many deliveries were lost.
    fn settle(&self, counters: &Counters, push: Push) -> u64 {
        let count = |losses: Losses| {
            losses.by_reason().map(|(reason, n)| (counters.count_many(reason, n), n).1).sum::<u64>()
        };
        match push {
            Push::Queued(losses) => count(losses),
            Push::Dropped(reason, losses) => {
                counters.count(reason);
                1 + count(losses)
            }
            Push::Closed => 0,
            Push::Cut(reason) => {
                counters.count(reason);
                log::warn!(reason = reason.name(), connection = self.id.0; "cut: the other end does not read");
                self.close(close_code::TRY_AGAIN_LATER, cut_text(reason).to_owned());
                1
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Outbound> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        // A connection that takes no more, or that is about to end, waits for this.
        if self.0.under_way.fetch_sub(1, AcqRel) % UNDER_WAY_STEP == 1 {
            self.0.waker.wake();
        }
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        let left = self.lock().bytes();
        self.memory.moved(left, 0);
    }
}

fn tail(prefix: &str, message: &Message, target: &Target) -> Bytes {
    let (id, subscription) = (&message.message_id, &target.subscription_id);
    let mut tail = Vec::with_capacity(write::notification_tail_bytes(prefix, id, subscription));
    write::notification_tail(&mut tail, prefix, &message.message_id, &target.subscription_id);
    tail.into()
}

/// Tells a subscriber that it lost messages: a notification to that subscription on a topic of the node.
fn dropped(notice: &DropNotice) -> Bytes {
    let topic = crate::core::pubsub::reserved::DROPPED_TOPIC;
    let id = format!("dropped_{}", notice.total);
    let message = serde_json::json!({
        "topic": topic, "payload": notice, "timestamp": 0.0, "message_id": id, "publisher": "mpreg",
        "headers": {"event": "pubsub.dropped"}, "routing_path": null, "current_hop": null,
    });
    let mut out = Vec::new();
    write::notification(&mut out, message.to_string().as_bytes(), &id, &notice.subscription_id);
    out.into()
}

fn cut_text(reason: Reason) -> &'static str {
    match reason {
        Reason::MemoryLimit => "too slow: limits.memory is used up",
        Reason::SlowSubscriberDisconnected => "too slow: pubsub.outbound_per_subscription is used up",
        _ => "too slow: limits.outbound_per_link is used up",
    }
}

/// A connection is woken when so many of its requests have ended, and at the last one; its answers wake it besides.
const UNDER_WAY_STEP: usize = 64;
