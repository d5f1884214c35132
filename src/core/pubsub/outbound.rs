//! What waits for one connection: answers and deliveries, in the order in which they were pushed.
//!
//! Two budgets hold. The connection's (`limits.outbound_per_link`) covers everything that waits; a subscription's
//! (`pubsub.outbound_per_subscription`) covers its deliveries, so that a busy one cannot push out a quiet one. A
//! subscriber that reads too slowly loses messages or its connection, as `pubsub.slow_subscriber` says; it never makes
//! a publisher wait. Answers are never dropped: they displace deliveries, and when answers alone go over the
//! connection's budget the connection is to be cut.
//!
//! A frame that alone is larger than a budget passes all the same, but only one at a time, and beside the budget: it
//! neither uses up the room of others nor is lost to them. So what waits is at most the connection's budget, one
//! larger answer and one larger delivery. The order within a subscription is always kept. Whatever is dropped is
//! returned to the pusher with its reason, and told to the subscriber through `take_drop_notices`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use super::lanes::{Lane, LaneQueue};
use super::{Reason, SubscriptionHandle};

/// The queue of one connection.
#[derive(Debug)]
pub struct Outbound {
    limits: OutboundLimits,
    answers: VecDeque<Answer>,
    deliveries: LaneQueue<Delivery>,
    subscriptions: BTreeMap<SubscriptionHandle, Waiting>,
    /// Subscriptions with drops that nobody was told of.
    untold: Vec<SubscriptionHandle>,
    /// Everything that waits, except the frames larger than the budget.
    bytes: usize,
    /// The part of `bytes` that are answers.
    answer_bytes: usize,
    large_answer: Option<usize>,
    large_delivery: Option<usize>,
    last_sequence: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboundLimits {
    /// `limits.outbound_per_link`
    pub link_bytes_max: usize,
    /// `pubsub.outbound_per_subscription`
    pub subscription_bytes_max: usize,
    pub slow_subscriber: SlowSubscriber,
}

/// `pubsub.slow_subscriber`: what a subscription loses when its budget is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SlowSubscriber {
    /// Its messages that wait longest make room for the new one.
    DropOldest,
    /// The new message.
    DropNewest,
    /// Its connection: it sees every message or its end.
    Disconnect,
}

/// What goes out as one message of the transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// An answer, an ack, or a notification made for this connection alone.
    Owned(Bytes),
    /// A notification: `body` followed by `tail`.
    Delivery {
        /// The beginning, with the message; shared by all subscribers.
        body: Bytes,
        /// The end, with what is particular to this subscription.
        tail: Bytes,
        subscription: SubscriptionHandle,
    },
}

/// What became of something that was pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Push {
    /// It waits, and these were dropped to make room for it.
    Queued(Losses),
    /// It was dropped itself, after these; all of them are to be counted.
    Dropped(Reason, Losses),
    /// The subscription ended before; nothing is to be counted.
    Closed,
    /// It was not taken; the connection is to be closed for this reason.
    Cut(Reason),
}

/// How many waiting deliveries were dropped, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Losses {
    /// The budget of their subscription was used up: `Reason::SlowSubscriberDropOldest`.
    pub by_subscription: u64,
    /// The budget of the connection was used up: `Reason::OutboundLimit`.
    pub by_link: u64,
}

/// News for a subscriber that messages for it were dropped. The driver sends it as a notification on
/// `reserved::DROPPED_TOPIC` to the subscription itself; serialized, this is the payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DropNotice {
    pub subscription_id: Arc<str>,
    /// Since the last notice.
    pub dropped: u64,
    /// Since the subscription was made.
    pub total: u64,
    pub policy: SlowSubscriber,
}

/// Frames on their way out; see `Outbound::drain`.
#[derive(Debug)]
pub struct Drain<'a> {
    outbound: &'a mut Outbound,
    bytes_left: usize,
    begun: bool,
}

#[derive(Debug)]
struct Answer {
    sequence: u64,
    frame: Bytes,
    large: bool,
}

#[derive(Debug)]
struct Delivery {
    sequence: u64,
    subscription: SubscriptionHandle,
    kind: Kind,
    body: Bytes,
    tail: Bytes,
    /// Larger than the budget of its subscription, and of the connection.
    large: bool,
    large_for_link: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Live,
    /// From before the subscription was made. It is not the subscriber's slowness that brings much of it at once, so
    /// only the connection's budget counts.
    Backlog,
}

/// What waits for one subscription.
#[derive(Debug)]
struct Waiting {
    subscription_id: Arc<str>,
    live: Lane,
    backlog: Lane,
    /// Of `live`, without the larger one.
    live_bytes: usize,
    large: bool,
    dropped: u64,
    total_dropped: u64,
    closed: bool,
}

impl Outbound {
    pub fn new(limits: OutboundLimits) -> Outbound {
        Outbound {
            limits,
            answers: VecDeque::new(),
            deliveries: LaneQueue::new(),
            subscriptions: BTreeMap::new(),
            untold: Vec::new(),
            bytes: 0,
            answer_bytes: 0,
            large_answer: None,
            large_delivery: None,
            last_sequence: 0,
        }
    }

    /// For a reload. Smaller budgets hold from the next push on.
    pub fn set_limits(&mut self, limits: OutboundLimits) {
        self.limits = limits;
    }

    /// Lets deliveries for a subscription in. To be called before anybody can match it.
    pub fn open(&mut self, subscription: SubscriptionHandle, subscription_id: Arc<str>) {
        self.subscriptions.entry(subscription).or_insert_with(|| Waiting::new(subscription_id));
    }

    /// No more deliveries for this subscription, also not from a publisher who still holds an old match. What waits
    /// goes out.
    pub fn close(&mut self, subscription: SubscriptionHandle) {
        if let Some(waiting) = self.subscriptions.get_mut(&subscription) {
            waiting.closed = true;
            self.forget_if_done(subscription);
        }
    }

    /// An answer, an ack or a notice: never dropped, but it may displace deliveries.
    pub fn push(&mut self, frame: Bytes) -> Push {
        let cost = frame.len() + FRAME_BYTES;
        let link_max = self.limits.link_bytes_max;
        let large = cost > link_max;
        let mut losses = Losses::default();
        if large {
            if self.large_answer.is_some() {
                return Push::Cut(Reason::OutboundLimit);
            }
            self.large_answer = Some(cost);
        } else {
            if self.answer_bytes + cost > link_max {
                return Push::Cut(Reason::OutboundLimit);
            }
            while self.bytes + cost > link_max {
                if self.limits.slow_subscriber == SlowSubscriber::Disconnect {
                    return Push::Cut(Reason::OutboundLimit);
                }
                if !self.drop_oldest() {
                    break;
                }
                losses.by_link += 1;
            }
            self.bytes += cost;
            self.answer_bytes += cost;
        }
        let sequence = self.next_sequence();
        self.answers.push_back(Answer { sequence, frame, large });
        Push::Queued(losses)
    }

    /// A message for a subscription.
    pub fn push_delivery(&mut self, subscription: SubscriptionHandle, body: Bytes, tail: Bytes) -> Push {
        let cost = body.len() + tail.len() + FRAME_BYTES;
        let large = cost > self.limits.subscription_bytes_max;
        let large_for_link = cost > self.limits.link_bytes_max;
        if self.subscriptions.get(&subscription).is_none_or(|waiting| waiting.closed) {
            return Push::Closed;
        }
        let mut losses = Losses::default();
        if !large_for_link && self.answer_bytes + cost > self.limits.link_bytes_max {
            // No delivery that could be dropped would make room.
            return self.refuse(subscription, Reason::OutboundLimit, losses);
        }
        while !self.subscription_has_room(subscription, cost, large) {
            if !self.drops_oldest() || !self.drop_of(subscription, Kind::Live) {
                return self.refuse(subscription, self.limits.slow_subscriber.reason(), losses);
            }
            losses.by_subscription += 1;
        }
        if large_for_link && self.large_delivery.is_some() {
            return self.refuse(subscription, Reason::OutboundLimit, losses);
        }
        while !large_for_link && self.bytes + cost > self.limits.link_bytes_max {
            // The subscription that wants more pays first.
            if !self.drops_oldest() || !(self.drop_of(subscription, Kind::Live) || self.drop_oldest()) {
                return self.refuse(subscription, Reason::OutboundLimit, losses);
            }
            losses.by_link += 1;
        }
        self.append(subscription, Kind::Live, body, tail);
        Push::Queued(losses)
    }

    /// A message for a subscription that cannot be taken for a reason outside of this queue.
    pub fn lose(&mut self, subscription: SubscriptionHandle, reason: Reason) -> Push {
        if self.subscriptions.get(&subscription).is_none_or(|waiting| waiting.closed) {
            return Push::Closed;
        }
        self.refuse(subscription, reason, Losses::default())
    }

    /// What a new subscription gets of the past, oldest first, as pairs of `body` and `tail`. Of more than half of
    /// the connection's budget only the newest are taken; the others are dropped (`Losses::by_link`), as the other
    /// half is for what happens meanwhile.
    pub fn push_backlog(&mut self, subscription: SubscriptionHandle, messages: Vec<(Bytes, Bytes)>) -> Push {
        if self.subscriptions.get(&subscription).is_none_or(|waiting| waiting.closed) {
            return Push::Closed;
        }
        let link_max = self.limits.link_bytes_max;
        let mut room = (link_max / 2).saturating_sub(self.bytes);
        let mut fitting = 0;
        for (body, tail) in messages.iter().rev() {
            let cost = body.len() + tail.len() + FRAME_BYTES;
            let alone = fitting == 0
                && self.deliveries.is_empty()
                && (cost > link_max || self.bytes + cost <= link_max);
            if cost > room && !alone {
                break;
            }
            room = room.saturating_sub(cost);
            fitting += 1;
        }
        let left_out = messages.len() - fitting;
        self.note_drops(subscription, left_out as u64);
        for (body, tail) in messages.into_iter().skip(left_out) {
            self.append(subscription, Kind::Backlog, body, tail);
        }
        Push::Queued(Losses { by_subscription: 0, by_link: left_out as u64 })
    }

    /// Takes frames in order, up to `bytes_max` (as they are accounted), but at least one if any waits. What the
    /// iterator has not yielded stays.
    pub fn drain(&mut self, bytes_max: usize) -> Drain<'_> {
        Drain { outbound: self, bytes_left: bytes_max, begun: false }
    }

    /// What subscribers lost since the last call, one notice for each subscription. To be asked when the connection
    /// takes data again, not more often, so that a deaf connection is not told a thousand times; and to be sent at
    /// once, ahead of what `drain` gives, where under `drop_oldest` the gap is: pushed here they could displace more.
    pub fn take_drop_notices(&mut self) -> Vec<DropNotice> {
        let policy = self.limits.slow_subscriber;
        let mut notices = Vec::new();
        for subscription in std::mem::take(&mut self.untold) {
            let Some(waiting) = self.subscriptions.get_mut(&subscription) else { continue };
            let dropped = std::mem::take(&mut waiting.dropped);
            let subscription_id = waiting.subscription_id.clone();
            notices.push(DropNotice { subscription_id, dropped, total: waiting.total_dropped, policy });
            self.forget_if_done(subscription);
        }
        notices
    }

    /// Whether answers take so much of the budget that no further request of this connection should be read before
    /// some went out. Keeps a client that sends many requests at once from being cut.
    pub fn is_congested(&self) -> bool {
        self.large_answer.is_some() || self.answer_bytes > self.limits.link_bytes_max / 2
    }

    /// How many messages this subscription has lost since it was made.
    pub fn dropped(&self, subscription: SubscriptionHandle) -> u64 {
        self.subscriptions.get(&subscription).map_or(0, |waiting| waiting.total_dropped)
    }

    /// Frames that wait.
    pub fn len(&self) -> usize {
        self.answers.len() + self.deliveries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.answers.is_empty() && self.deliveries.is_empty()
    }

    /// Everything that waits, as it is accounted.
    pub fn bytes(&self) -> usize {
        self.bytes + self.large_answer.unwrap_or(0) + self.large_delivery.unwrap_or(0)
    }

    fn drops_oldest(&self) -> bool {
        self.limits.slow_subscriber == SlowSubscriber::DropOldest
    }

    fn subscription_has_room(&self, subscription: SubscriptionHandle, cost: usize, large: bool) -> bool {
        self.subscriptions.get(&subscription).is_some_and(|waiting| match large {
            true => !waiting.large,
            false => waiting.live_bytes + cost <= self.limits.subscription_bytes_max,
        })
    }

    /// The message that was to be pushed is lost, or the connection.
    fn refuse(&mut self, subscription: SubscriptionHandle, reason: Reason, losses: Losses) -> Push {
        if self.limits.slow_subscriber == SlowSubscriber::Disconnect {
            return Push::Cut(reason);
        }
        self.note_drops(subscription, 1);
        Push::Dropped(reason, losses)
    }

    fn append(&mut self, subscription: SubscriptionHandle, kind: Kind, body: Bytes, tail: Bytes) {
        let sequence = self.next_sequence();
        let cost = body.len() + tail.len() + FRAME_BYTES;
        let Some(waiting) = self.subscriptions.get_mut(&subscription) else { return };
        let large = cost > self.limits.subscription_bytes_max;
        let large_for_link = cost > self.limits.link_bytes_max;
        match large_for_link {
            true => self.large_delivery = Some(cost),
            false => self.bytes += cost,
        }
        match (kind, large) {
            (Kind::Live, true) => waiting.large = true,
            (Kind::Live, false) => waiting.live_bytes += cost,
            (Kind::Backlog, _) => {}
        }
        let delivery = Delivery { sequence, subscription, kind, body, tail, large, large_for_link };
        self.deliveries.push(waiting.lane(kind), delivery);
    }

    /// Takes the oldest of that kind that waits for a subscription.
    fn take(&mut self, subscription: SubscriptionHandle, kind: Kind) -> Option<Delivery> {
        let waiting = self.subscriptions.get_mut(&subscription)?;
        let delivery = self.deliveries.pop(waiting.lane(kind))?;
        let cost = delivery.cost();
        match (kind, delivery.large) {
            (Kind::Live, true) => waiting.large = false,
            (Kind::Live, false) => waiting.live_bytes -= cost,
            (Kind::Backlog, _) => {}
        }
        match delivery.large_for_link {
            true => self.large_delivery = None,
            false => self.bytes -= cost,
        }
        Some(delivery)
    }

    fn drop_of(&mut self, subscription: SubscriptionHandle, kind: Kind) -> bool {
        let dropped = self.take(subscription, kind).is_some();
        self.note_drops(subscription, u64::from(dropped));
        dropped
    }

    /// Drops the delivery that waits longest of all.
    fn drop_oldest(&mut self) -> bool {
        let oldest = self.deliveries.front().map(|oldest| (oldest.subscription, oldest.kind));
        oldest.is_some_and(|(subscription, kind)| self.drop_of(subscription, kind))
    }

    fn note_drops(&mut self, subscription: SubscriptionHandle, dropped: u64) {
        let Some(waiting) = self.subscriptions.get_mut(&subscription) else { return };
        if dropped > 0 && waiting.dropped == 0 {
            self.untold.push(subscription);
        }
        waiting.dropped += dropped;
        waiting.total_dropped += dropped;
    }

    fn pop(&mut self) -> Option<Frame> {
        let answer = self.answers.front().map(|answer| answer.sequence);
        let delivery = self.deliveries.front().map(|d| (d.sequence, d.subscription, d.kind));
        if let Some((sequence, subscription, kind)) = delivery
            && answer.is_none_or(|answer| sequence < answer)
        {
            let Delivery { body, tail, .. } = self.take(subscription, kind)?;
            self.forget_if_done(subscription);
            return Some(Frame::Delivery { body, tail, subscription });
        }
        let Answer { frame, large, .. } = self.answers.pop_front()?;
        let cost = frame.len() + FRAME_BYTES;
        if large {
            self.large_answer = None;
        } else {
            self.bytes -= cost;
            self.answer_bytes -= cost;
        }
        if self.answers.is_empty() && self.answers.capacity() > KEPT_ANSWERS {
            self.answers = VecDeque::new();
        }
        Some(Frame::Owned(frame))
    }

    /// The cost of what `pop` would give.
    fn next_cost(&self) -> Option<usize> {
        let answer = self.answers.front().map(|a| (a.sequence, a.frame.len() + FRAME_BYTES));
        let delivery = self.deliveries.front().map(|d| (d.sequence, d.cost()));
        answer.into_iter().chain(delivery).min().map(|(_, cost)| cost)
    }

    /// A closed subscription stays until all of it went out and its losses were told.
    fn forget_if_done(&mut self, subscription: SubscriptionHandle) {
        let done = self.subscriptions.get(&subscription).is_some_and(|waiting| {
            waiting.closed && waiting.live.is_empty() && waiting.backlog.is_empty() && waiting.dropped == 0
        });
        if done {
            self.subscriptions.remove(&subscription);
        }
    }

    fn next_sequence(&mut self) -> u64 {
        self.last_sequence += 1;
        self.last_sequence
    }
}

impl Iterator for Drain<'_> {
    type Item = Frame;

    fn next(&mut self) -> Option<Frame> {
        let cost = self.outbound.next_cost()?;
        if self.begun && cost > self.bytes_left {
            return None;
        }
        self.begun = true;
        self.bytes_left = self.bytes_left.saturating_sub(cost);
        self.outbound.pop()
    }
}

impl SlowSubscriber {
    /// What a loss under this policy is counted as.
    pub fn reason(self) -> Reason {
        match self {
            SlowSubscriber::DropOldest => Reason::SlowSubscriberDropOldest,
            SlowSubscriber::DropNewest => Reason::SlowSubscriberDropNewest,
            SlowSubscriber::Disconnect => Reason::SlowSubscriberDisconnected,
        }
    }
}

impl Losses {
    /// To be counted; nothing of what is not there.
    pub fn by_reason(self) -> impl Iterator<Item = (Reason, u64)> {
        let both =
            [(Reason::SlowSubscriberDropOldest, self.by_subscription), (Reason::OutboundLimit, self.by_link)];
        both.into_iter().filter(|(_, n)| *n > 0)
    }
}

impl Frame {
    /// Bytes on the wire, without the transport's own framing.
    pub fn len(&self) -> usize {
        match self {
            Frame::Owned(frame) => frame.len(),
            Frame::Delivery { body, tail, .. } => body.len() + tail.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Delivery {
    fn cost(&self) -> usize {
        self.body.len() + self.tail.len() + FRAME_BYTES
    }
}

impl Waiting {
    fn new(subscription_id: Arc<str>) -> Waiting {
        Waiting {
            subscription_id,
            live: Lane::new(),
            backlog: Lane::new(),
            live_bytes: 0,
            large: false,
            dropped: 0,
            total_dropped: 0,
            closed: false,
        }
    }

    fn lane(&mut self, kind: Kind) -> &mut Lane {
        match kind {
            Kind::Live => &mut self.live,
            Kind::Backlog => &mut self.backlog,
        }
    }
}

/// What a frame takes besides its bytes: its place in the queue and the allocation of its tail. Without it a flood of
/// tiny frames would cost more than its budget.
const FRAME_BYTES: usize = 128;
/// A queue of answers that once was longer gives its memory back when it is empty: most connections are idle.
const KEPT_ANSWERS: usize = 32;

#[cfg(test)]
mod tests;
