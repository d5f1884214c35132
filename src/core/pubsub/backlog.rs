//! Recent messages, for subscribers that come late (client.md 5.4).
//!
//! What is kept is bounded in bytes (`limits.backlog`), in messages per topic, and by the time since a message
//! arrived (`pubsub.backlog_window`); the oldest goes first. How far back a subscriber asks is counted by the
//! messages' own timestamps, which their publishers chose. Keeping a message costs one lookup of its topic, whatever
//! else is stored; with a budget of nothing it costs nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use super::Message;
use super::lanes::{Lane, LaneQueue};
use super::pattern::Pattern;
use crate::core::time::Now;

/// The stored messages.
#[derive(Debug)]
pub struct Backlog {
    limits: BacklogLimits,
    messages: LaneQueue<Kept>,
    topics: BTreeMap<Arc<str>, Lane>,
    bytes: usize,
    last_arrival: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BacklogLimits {
    /// `limits.backlog`; 0 keeps nothing. Counts bodies, topics and ids, and a fixed amount for each message.
    pub bytes_max: usize,
    /// `pubsub.backlog_window`: how long a message is kept after it arrived.
    pub window: Duration,
}

/// What became of a message that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Storing {
    pub stored: bool,
    /// How many messages went: to be counted as `Reason::BacklogEvicted`. The offered one is among them if it is
    /// larger than the whole budget.
    pub evicted: u64,
}

/// The most messages of one topic.
pub const TOPIC_MESSAGES_MAX: usize = 1000;

#[derive(Debug)]
struct Kept {
    message: Arc<Message>,
    arrived: Duration,
    arrival: u64,
}

impl Backlog {
    pub fn new(limits: BacklogLimits) -> Backlog {
        Backlog { limits, messages: LaneQueue::new(), topics: BTreeMap::new(), bytes: 0, last_arrival: 0 }
    }

    /// For a reload; how many messages went because of it (`Reason::BacklogEvicted`).
    pub fn set_limits(&mut self, limits: BacklogLimits, now: Now) -> u64 {
        self.limits = limits;
        self.expire(now) + self.make_room(0)
    }

    /// Whether anything is kept at all; if not, a caller need not even build the message.
    pub fn is_enabled(&self) -> bool {
        self.limits.bytes_max > 0
    }

    pub fn store(&mut self, message: Arc<Message>, now: Now) -> Storing {
        if !self.is_enabled() {
            return Storing::default();
        }
        let cost = cost(&message);
        let mut evicted = self.expire(now);
        if cost > self.limits.bytes_max {
            return Storing { stored: false, evicted: evicted + 1 };
        }
        evicted += self.make_room(cost);
        self.bytes += cost;
        self.last_arrival += 1;
        let kept = Kept { message: message.clone(), arrived: now.mono, arrival: self.last_arrival };
        match self.topics.get_mut(&message.topic) {
            Some(lane) => {
                // The usual case: one lookup, whatever else is stored.
                if lane.len() >= TOPIC_MESSAGES_MAX
                    && let Some(oldest) = self.messages.pop(lane)
                {
                    self.bytes -= self::cost(&oldest.message);
                    evicted += 1;
                }
                self.messages.push(lane, kept);
            }
            None => {
                let lane = self.topics.entry(message.topic.clone()).or_insert_with(Lane::new);
                self.messages.push(lane, kept);
            }
        }
        Storing { stored: true, evicted }
    }

    /// The messages on matching topics whose own timestamp is at most `seconds` ago, each once, sorted by timestamp;
    /// equal ones in the order of their arrival.
    pub fn query(&self, patterns: &[Pattern], seconds: f64, now: Now) -> Vec<Arc<Message>> {
        let mut topics: BTreeSet<&str> = BTreeSet::new();
        for pattern in patterns {
            // Only the topics that begin like the pattern are looked at.
            let prefix = pattern.literal_prefix();
            let from = (Bound::Included(prefix), Bound::Unbounded);
            let near = self.topics.range::<str, _>(from).map(|(topic, _)| &**topic);
            let near = near.take_while(|topic| match pattern.is_literal() {
                true => *topic == prefix,
                false => topic.starts_with(prefix),
            });
            topics.extend(near.filter(|topic| pattern.matches(topic)));
        }
        let lanes = topics.into_iter().filter_map(|topic| self.topics.get(topic));
        let mut found: Vec<&Kept> = lanes
            .flat_map(|lane| self.messages.iter(lane))
            .filter(|kept| now.wall - kept.message.timestamp <= seconds && !self.is_over(kept, now))
            .collect();
        found.sort_unstable_by(|a, b| {
            a.message.timestamp.total_cmp(&b.message.timestamp).then(a.arrival.cmp(&b.arrival))
        });
        found.into_iter().map(|kept| kept.message.clone()).collect()
    }

    /// Drops what is older than the window; how many (`Reason::BacklogEvicted`). `store` does it as well.
    pub fn expire(&mut self, now: Now) -> u64 {
        let mut evicted = 0;
        while self.messages.front().is_some_and(|kept| self.is_over(kept, now)) {
            self.evict_oldest();
            evicted += 1;
        }
        evicted
    }

    /// When `expire` next has something to do.
    pub fn next_expiry(&self) -> Option<Duration> {
        self.messages.front().map(|kept| kept.arrived.saturating_add(self.limits.window))
    }

    pub fn len(&self) -> usize {
        self.messages.len()
    }

    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// What is accounted; never more than `bytes_max`.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn is_over(&self, kept: &Kept, now: Now) -> bool {
        now.mono >= kept.arrived.saturating_add(self.limits.window)
    }

    fn make_room(&mut self, cost: usize) -> u64 {
        let mut evicted = 0;
        while self.bytes + cost > self.limits.bytes_max && self.evict_oldest() {
            evicted += 1;
        }
        evicted
    }

    fn evict_oldest(&mut self) -> bool {
        let Some(topic) = self.messages.front().map(|kept| kept.message.topic.clone()) else { return false };
        self.evict(&topic);
        true
    }

    /// Drops the oldest message of a topic.
    fn evict(&mut self, topic: &str) {
        let Some(lane) = self.topics.get_mut(topic) else { return };
        if let Some(kept) = self.messages.pop(lane) {
            self.bytes -= cost(&kept.message);
        }
        if lane.is_empty() {
            self.topics.remove(topic);
        }
    }
}

fn cost(message: &Message) -> usize {
    message.body.len() + message.topic.len() + message.message_id.len() + MESSAGE_BYTES
}

/// What a message takes besides its texts: its place in the queue, the shared header, the allocations' own overhead,
/// and a topic of its own at worst. Without it a flood of empty messages would be free.
const MESSAGE_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::super::pattern::tests::{matches_by_the_book, pattern_text, topic_text};
    use super::*;

    const START: f64 = 1_000_000.0;

    fn backlog(bytes_max: usize) -> Backlog {
        Backlog::new(BacklogLimits { bytes_max, window: Duration::from_secs(300) })
    }

    fn at(seconds: f64) -> Now {
        Now::at(START, seconds)
    }

    fn message(topic: &str, id: impl ToString, timestamp: f64, bytes: usize) -> Arc<Message> {
        let body = Bytes::from(vec![b'm'; bytes]);
        Arc::new(Message {
            topic: topic.into(),
            message_id: id.to_string().into(),
            timestamp: START + timestamp,
            body,
        })
    }

    fn asked(backlog: &Backlog, patterns: &[&str], seconds: f64, now: Now) -> String {
        let patterns: Vec<_> = patterns.iter().map(|p| Pattern::parse(p)).collect();
        let ids: Vec<_> =
            backlog.query(&patterns, seconds, now).iter().map(|m| m.message_id.clone()).collect();
        ids.join(" ")
    }

    #[test]
    fn each_message_once_and_only_what_matches_in_order() {
        let mut b = backlog(1 << 20);
        for i in 0..5 {
            assert_eq!(
                b.store(message(&format!("t.{}", i % 2), i, 0.0, 10), at(0.0)),
                Storing { stored: true, evicted: 0 }
            );
        }
        b.store(message("t.y.z", "deep", 0.0, 10), at(0.0));
        b.store(message("tt", "like", 0.0, 10), at(0.0));
        assert_eq!(asked(&b, &["t.*", "t.1", "t.#.1"], 300.0, at(1.0)), "0 1 2 3 4");
        assert_eq!(asked(&b, &["t.1"], 300.0, at(1.0)), "1 3");
        assert_eq!(asked(&b, &["t.#"], 300.0, at(1.0)), "0 1 2 3 4 deep");
        assert_eq!(asked(&b, &["#"], 300.0, at(1.0)), "0 1 2 3 4 deep like");
        assert_eq!(
            (asked(&b, &["t"], 300.0, at(1.0)), asked(&b, &[], 300.0, at(1.0))),
            ("".into(), "".into())
        );
    }

    #[test]
    fn the_messages_own_timestamps_say_how_far_back_they_are() {
        let mut b = backlog(1 << 20);
        for age in [500, 50, 1] {
            b.store(message("t", age, -f64::from(age), 10), at(0.0));
        }
        assert_eq!(asked(&b, &["t"], 20.0, at(0.1)), "1");
        assert_eq!(asked(&b, &["t"], 100.0, at(0.1)), "50 1");
        assert_eq!(asked(&b, &["t"], 1000.0, at(0.1)), "500 50 1");
        b.store(message("t", "future", 100.0, 10), at(0.0));
        b.store(message("t", "between", -10.0, 10), at(0.0));
        assert_eq!(asked(&b, &["t"], 60.0, at(0.1)), "50 between 1 future");
        assert_eq!(asked(&b, &["t"], 0.0, at(0.1)), "future");
    }

    #[test]
    fn the_window_counts_from_arrival() {
        let mut b = backlog(1 << 20);
        b.store(message("t", "first", 0.0, 10), at(0.0));
        b.store(message("u", "second", 0.0, 10), at(200.0));
        assert_eq!(b.next_expiry(), Some(Duration::from_secs(300)));
        assert_eq!(asked(&b, &["#"], 1e9, at(299.0)), "first second");
        assert_eq!(asked(&b, &["#"], 1e9, at(300.0)), "second");
        assert_eq!(b.expire(at(299.0)), 0);
        assert_eq!(b.expire(at(300.0)), 1);
        assert_eq!((b.len(), b.topics.len()), (1, 1));
        assert_eq!(b.store(message("t", "third", 0.0, 10), at(500.0)), Storing { stored: true, evicted: 1 });
        assert_eq!(b.expire(at(9000.0)), 1);
        assert_eq!((b.is_empty(), b.bytes(), b.topics.len(), b.next_expiry()), (true, 0, 0, None));
    }

    #[test]
    fn a_topic_keeps_its_last_thousand() {
        let mut b = backlog(1 << 30);
        b.store(message("other", "o", 0.0, 10), at(0.0));
        let evicted: u64 = (0..1200).map(|i| b.store(message("t", i, 0.0, 10), at(0.0)).evicted).sum();
        assert_eq!((evicted, b.len()), (200, 1001));
        let expected: Vec<_> = (200..1200).map(|i| i.to_string()).collect();
        assert_eq!(asked(&b, &["t"], 300.0, at(0.0)), expected.join(" "));
    }

    #[test]
    fn the_budget_holds_and_the_oldest_goes_first() {
        let mut b = backlog(4 << 20);
        for i in 0..120 {
            let s = b.store(message(&format!("fill.{}", i % 10), i, 0.0, 500_000), at(0.0));
            assert_eq!(s, Storing { stored: true, evicted: u64::from(i >= 8) });
            assert!(b.bytes() <= 4 << 20);
        }
        assert_eq!(asked(&b, &["fill.#"], 300.0, at(0.0)), "112 113 114 115 116 117 118 119");
        assert_eq!(b.topics.len(), 8);
    }

    #[test]
    fn what_is_larger_than_the_budget_is_not_kept_and_drives_nothing_out() {
        let mut b = backlog(10_000);
        b.store(message("t", "small", 0.0, 10), at(0.0));
        assert_eq!(
            b.store(message("t", "huge", 0.0, 10_000), at(0.0)),
            Storing { stored: false, evicted: 1 }
        );
        assert_eq!(asked(&b, &["t"], 300.0, at(0.0)), "small");
    }

    #[test]
    fn no_budget_no_backlog() {
        let mut b = backlog(0);
        assert!(!b.is_enabled());
        assert_eq!(b.store(message("t", 1, 0.0, 0), at(0.0)), Storing { stored: false, evicted: 0 });
        assert!(b.is_empty());
    }

    #[test]
    fn empty_messages_are_not_free() {
        let mut b = backlog(100_000);
        for i in 0..10_000 {
            b.store(message(&i.to_string(), "", 0.0, 0), at(0.0));
        }
        assert!(b.len() <= 100_000 / MESSAGE_BYTES && b.topics.len() == b.len());
    }

    #[test]
    fn smaller_limits_hold_at_once() {
        let mut b = backlog(1 << 20);
        for i in 0..10 {
            b.store(message("t", i, 0.0, 1000), at(f64::from(i)));
        }
        let window = Duration::from_secs(300);
        assert_eq!(b.set_limits(BacklogLimits { bytes_max: 6000, window }, at(9.0)), 6);
        assert_eq!(asked(&b, &["t"], 300.0, at(9.0)), "6 7 8 9");
        let window = Duration::from_secs(3);
        assert_eq!(b.set_limits(BacklogLimits { bytes_max: 6000, window }, at(9.5)), 1);
        assert_eq!(b.set_limits(BacklogLimits { bytes_max: 0, window }, at(9.5)), 3);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn agrees_with_a_list(
            offers in proptest::collection::vec((topic_text(), -50..50i32, 0..900usize, 0..20u32), 1..60),
            patterns in proptest::collection::vec(pattern_text(), 0..4),
            seconds in 0..60u32,
        ) {
            let mut b = backlog(8000);
            let mut list: Vec<(Arc<Message>, f64)> = Vec::new();
            let mut time = 0.0;
            for (n, (topic, stamp, bytes, step)) in offers.into_iter().enumerate() {
                time += f64::from(step);
                let m = message(&topic, n, f64::from(stamp), bytes);
                let before = list.len() + 1;
                list.push((m.clone(), time));
                list.retain(|(_, arrived)| time - arrived < 300.0);
                while list.iter().map(|(m, _)| cost(m)).sum::<usize>() > 8000 {
                    list.remove(0);
                }
                prop_assert_eq!(b.store(m, at(time)), Storing { stored: true, evicted: (before - list.len()) as u64 });
                prop_assert_eq!(b.bytes(), list.iter().map(|(m, _)| cost(m)).sum::<usize>());
                let wanted = |m: &Message| {
                    patterns.iter().any(|p| matches_by_the_book(p, &m.topic))
                        && START + time - m.timestamp <= f64::from(seconds)
                };
                let mut expected: Vec<_> = list.iter().map(|(m, _)| m.clone()).filter(|m| wanted(m)).collect();
                expected.sort_by(|a, b| a.timestamp.total_cmp(&b.timestamp));
                let parsed: Vec<_> = patterns.iter().map(|p| Pattern::parse(p)).collect();
                prop_assert_eq!(b.query(&parsed, f64::from(seconds), at(time)), expected);
            }
        }
    }
}
