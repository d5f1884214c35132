use proptest::prelude::*;

use super::*;

const ONE: SubscriptionHandle = SubscriptionHandle(1);
const TWO: SubscriptionHandle = SubscriptionHandle(2);

/// Room for ten deliveries of `UNIT` for a subscription, and for a hundred on the link.
fn queue(slow_subscriber: SlowSubscriber) -> Outbound {
    let mut queue = Outbound::new(OutboundLimits {
        link_bytes_max: 100_000,
        subscription_bytes_max: 10_000,
        slow_subscriber,
    });
    queue.open(ONE, "one".into());
    queue.open(TWO, "two".into());
    queue
}

/// A frame that is accounted with `cost` and begins with a number.
fn frame(number: usize, cost: usize) -> Bytes {
    let mut bytes = format!("{number};").into_bytes();
    bytes.resize(cost - FRAME_BYTES, b'.');
    bytes.into()
}

fn deliver(queue: &mut Outbound, to: SubscriptionHandle, number: usize, cost: usize) -> Push {
    let mut body = frame(number, cost);
    let tail = body.split_off(body.len() - 1);
    queue.push_delivery(to, body, tail)
}

fn number(bytes: &Bytes) -> usize {
    std::str::from_utf8(bytes).unwrap().split(';').next().unwrap().parse().unwrap()
}

/// Everything that goes out: (subscription or 0 for an answer, number).
fn drained(queue: &mut Outbound, bytes_max: usize) -> Vec<(u64, usize)> {
    let seen = queue.drain(bytes_max).map(|frame| match frame {
        Frame::Owned(bytes) => (0, number(&bytes)),
        Frame::Delivery { body, subscription, .. } => (subscription.0, number(&body)),
    });
    let seen = seen.collect();
    check(queue);
    seen
}

fn numbers(queue: &mut Outbound, subscription: u64) -> Vec<usize> {
    drained(queue, usize::MAX).into_iter().filter(|(s, _)| *s == subscription).map(|(_, n)| n).collect()
}

fn queued(by_subscription: u64, by_link: u64) -> Push {
    Push::Queued(Losses { by_subscription, by_link })
}

const FREELY: Push = Push::Queued(Losses { by_subscription: 0, by_link: 0 });
const POLICIES: [SlowSubscriber; 3] =
    [SlowSubscriber::DropOldest, SlowSubscriber::DropNewest, SlowSubscriber::Disconnect];
const UNIT: usize = 1000;

/// Whatever happened, the books agree with what waits and no budget is exceeded.
fn check(queue: &Outbound) {
    let (mut bytes, mut large_for_link) = (0, 0);
    for waiting in queue.subscriptions.values() {
        let live: Vec<_> = queue.deliveries.iter(&waiting.live).collect();
        let sum: usize = live.iter().filter(|d| !d.large).map(|d| d.cost()).sum();
        assert_eq!(sum, waiting.live_bytes);
        assert!(sum <= queue.limits.subscription_bytes_max);
        let large = live.iter().filter(|d| d.large).count();
        assert!(large == usize::from(waiting.large));
        for delivery in live.into_iter().chain(queue.deliveries.iter(&waiting.backlog)) {
            match delivery.large_for_link {
                true => large_for_link += 1,
                false => bytes += delivery.cost(),
            }
        }
        assert!(waiting.total_dropped >= waiting.dropped);
    }
    assert_eq!(large_for_link, usize::from(queue.large_delivery.is_some()));
    let (large, small): (Vec<_>, Vec<_>) = queue.answers.iter().partition(|answer| answer.large);
    assert_eq!(large.len(), usize::from(queue.large_answer.is_some()));
    assert_eq!(small.iter().map(|a| a.frame.len() + FRAME_BYTES).sum::<usize>(), queue.answer_bytes);
    assert_eq!(bytes + queue.answer_bytes, queue.bytes);
    assert!(queue.bytes <= queue.limits.link_bytes_max);
    let frames = queue.answers.len() + queue.deliveries.len();
    assert_eq!((queue.len(), queue.is_empty()), (frames, frames == 0));
    assert_eq!(queue.bytes() == 0, frames == 0);
}

#[test]
fn answers_and_deliveries_keep_the_order_in_which_they_came() {
    let mut q = queue(SlowSubscriber::DropOldest);
    assert_eq!(deliver(&mut q, ONE, 1, UNIT), FREELY);
    assert_eq!(q.push(frame(2, UNIT)), FREELY);
    assert_eq!(deliver(&mut q, TWO, 3, UNIT), FREELY);
    assert_eq!(deliver(&mut q, ONE, 4, UNIT), FREELY);
    assert_eq!(q.push(frame(5, UNIT)), FREELY);
    assert_eq!((q.len(), q.bytes()), (5, 5 * UNIT));
    assert_eq!(drained(&mut q, usize::MAX), [(1, 1), (0, 2), (2, 3), (1, 4), (0, 5)]);
    assert!(q.is_empty() && q.bytes() == 0);
}

#[test]
fn a_delivery_is_its_body_and_its_tail() {
    let mut q = queue(SlowSubscriber::DropOldest);
    let (body, tail) = (Bytes::from_static(b"the message"), Bytes::from_static(b", for one"));
    assert_eq!(q.push_delivery(ONE, body.clone(), tail.clone()), FREELY);
    let out: Vec<_> = q.drain(usize::MAX).collect();
    assert_eq!(out[0].len(), 20);
    assert_eq!(out, [Frame::Delivery { body, tail, subscription: ONE }]);
}

#[test]
fn drain_stops_at_its_bytes_but_gives_one_frame_at_least() {
    let mut q = queue(SlowSubscriber::DropOldest);
    for n in 0..6 {
        assert_eq!(q.push(frame(n, UNIT)), FREELY);
    }
    assert_eq!(drained(&mut q, 2 * UNIT + 999).len(), 2);
    assert_eq!(drained(&mut q, 0).len(), 1);
    assert_eq!(q.drain(usize::MAX).next(), Some(Frame::Owned(frame(3, UNIT))));
    assert_eq!(q.len(), 2);
}

#[test]
fn drop_oldest_makes_room_for_the_new() {
    let mut q = queue(SlowSubscriber::DropOldest);
    for n in 0..10 {
        assert_eq!(deliver(&mut q, ONE, n, UNIT), FREELY);
    }
    assert_eq!(deliver(&mut q, ONE, 10, UNIT), queued(1, 0));
    assert_eq!(deliver(&mut q, ONE, 11, 3 * UNIT), queued(3, 0));
    assert_eq!(deliver(&mut q, TWO, 12, UNIT), FREELY);
    assert_eq!((q.dropped(ONE), q.dropped(TWO)), (4, 0));
    assert_eq!(numbers(&mut q, 1), [4, 5, 6, 7, 8, 9, 10, 11]);
}

#[test]
fn drop_newest_keeps_what_waits() {
    let mut q = queue(SlowSubscriber::DropNewest);
    for n in 0..10 {
        assert_eq!(deliver(&mut q, ONE, n, UNIT), FREELY);
    }
    let lost = Push::Dropped(Reason::SlowSubscriberDropNewest, Losses::default());
    assert_eq!(deliver(&mut q, ONE, 10, UNIT), lost);
    assert_eq!(deliver(&mut q, TWO, 11, UNIT), FREELY);
    assert_eq!(q.dropped(ONE), 1);
    assert_eq!(numbers(&mut q, 1), Vec::from_iter(0..10));
}

#[test]
fn disconnect_loses_nothing_but_the_connection() {
    let mut q = queue(SlowSubscriber::Disconnect);
    for n in 0..10 {
        assert_eq!(deliver(&mut q, ONE, n, UNIT), FREELY);
    }
    assert_eq!(deliver(&mut q, ONE, 10, UNIT), Push::Cut(Reason::SlowSubscriberDisconnected));
    assert_eq!((q.dropped(ONE), q.take_drop_notices()), (0, vec![]));
}

#[test]
fn one_message_larger_than_the_subscriptions_budget_passes() {
    for policy in POLICIES {
        let mut q = queue(policy);
        assert_eq!(deliver(&mut q, ONE, 0, UNIT), FREELY);
        assert_eq!(deliver(&mut q, ONE, 1, 40_000), FREELY);
        // Smaller ones behind it neither fail nor push it out.
        for n in 2..11 {
            assert_eq!(deliver(&mut q, ONE, n, UNIT), FREELY);
        }
        check(&q);
        let second = deliver(&mut q, ONE, 11, 40_000);
        match policy {
            SlowSubscriber::DropOldest => assert_eq!(second, queued(2, 0)),
            SlowSubscriber::DropNewest => {
                assert_eq!(second, Push::Dropped(Reason::SlowSubscriberDropNewest, Losses::default()));
            }
            SlowSubscriber::Disconnect => {
                assert_eq!(second, Push::Cut(Reason::SlowSubscriberDisconnected));
            }
        }
        check(&q);
    }
}

#[test]
fn one_message_larger_than_the_links_budget_passes_beside_it() {
    let mut q = queue(SlowSubscriber::DropOldest);
    assert_eq!(deliver(&mut q, ONE, 0, 400_000), FREELY);
    assert_eq!(deliver(&mut q, ONE, 1, UNIT), FREELY);
    assert_eq!(deliver(&mut q, TWO, 2, UNIT), FREELY);
    assert_eq!(q.push(frame(3, 90_000)), FREELY);
    let lost = Push::Dropped(Reason::OutboundLimit, Losses::default());
    assert_eq!(deliver(&mut q, TWO, 4, 400_000), lost);
    assert_eq!(q.bytes(), 492_000);
    assert_eq!(drained(&mut q, usize::MAX), [(1, 0), (1, 1), (2, 2), (0, 3)]);
    assert_eq!(deliver(&mut q, TWO, 5, 400_000), FREELY);
}

#[test]
fn over_the_links_budget_the_subscription_pays_first_and_then_the_oldest() {
    let mut q = queue(SlowSubscriber::DropOldest);
    let others: Vec<_> = (10..20).map(SubscriptionHandle).collect();
    for (k, other) in others.iter().enumerate() {
        q.open(*other, format!("other {k}").into());
        for n in 0..10 {
            assert_eq!(deliver(&mut q, *other, n, UNIT), FREELY);
        }
    }
    assert_eq!(deliver(&mut q, ONE, 0, 2 * UNIT), queued(0, 2));
    assert_eq!(q.dropped(others[0]), 2);
    assert_eq!(deliver(&mut q, ONE, 1, UNIT), queued(0, 1));
    assert_eq!((q.dropped(ONE), q.dropped(others[0])), (1, 2));
    assert_eq!(deliver(&mut q, others[1], 10, UNIT), queued(1, 0));
    check(&q);

    let mut q = queue(SlowSubscriber::DropNewest);
    assert_eq!(q.push(frame(0, 95_000)), FREELY);
    for n in 0..5 {
        assert_eq!(deliver(&mut q, ONE, n, UNIT), FREELY);
    }
    assert_eq!(deliver(&mut q, TWO, 5, UNIT), Push::Dropped(Reason::OutboundLimit, Losses::default()));
}

#[test]
fn answers_displace_deliveries_and_are_never_dropped() {
    for policy in [SlowSubscriber::DropOldest, SlowSubscriber::DropNewest] {
        let mut q = queue(policy);
        for n in 0..10 {
            assert_eq!(deliver(&mut q, ONE, n, UNIT), FREELY);
        }
        assert_eq!(q.push(frame(100, 92_000)), queued(0, 2));
        assert_eq!(q.push(frame(101, 8_000)), queued(0, 8));
        // Answers take it all: a delivery would only push out others for nothing.
        assert_eq!(deliver(&mut q, TWO, 1, UNIT), Push::Dropped(Reason::OutboundLimit, Losses::default()));
        assert_eq!(q.push(frame(102, UNIT)), Push::Cut(Reason::OutboundLimit));
        assert_eq!(drained(&mut q, usize::MAX), [(0, 100), (0, 101)]);
    }
    let mut q = queue(SlowSubscriber::Disconnect);
    assert_eq!(deliver(&mut q, ONE, 0, UNIT), FREELY);
    assert_eq!(q.push(frame(1, 100_000)), Push::Cut(Reason::OutboundLimit));
}

#[test]
fn one_answer_larger_than_the_budget_passes_and_holds_nobody_up() {
    let mut q = queue(SlowSubscriber::DropOldest);
    assert_eq!(deliver(&mut q, ONE, 0, UNIT), FREELY);
    assert_eq!(q.push(frame(1, 500_000)), FREELY);
    assert!(q.is_congested());
    assert_eq!(q.push(frame(2, UNIT)), FREELY);
    assert_eq!(deliver(&mut q, ONE, 3, UNIT), FREELY);
    assert_eq!(q.push(frame(4, 500_000)), Push::Cut(Reason::OutboundLimit));
    assert_eq!(drained(&mut q, usize::MAX), [(1, 0), (0, 1), (0, 2), (1, 3)]);
    assert!(!q.is_congested());
    assert_eq!(q.push(frame(5, 50_000)), FREELY);
    assert!(!q.is_congested());
    assert_eq!(q.push(frame(6, UNIT)), FREELY);
    assert!(q.is_congested());
}

#[test]
fn drops_are_told_once_for_each_subscription() {
    let mut q = queue(SlowSubscriber::DropOldest);
    for n in 0..13 {
        let _ = deliver(&mut q, TWO, n, UNIT);
    }
    for n in 0..11 {
        let _ = deliver(&mut q, ONE, n, UNIT);
    }
    let notices = q.take_drop_notices();
    let told: Vec<_> = notices.iter().map(|n| (&*n.subscription_id, n.dropped, n.total)).collect();
    assert_eq!(told, [("two", 3, 3), ("one", 1, 1)]);
    assert_eq!(
        serde_json::to_string(&notices[0]).unwrap(),
        r#"{"subscription_id":"two","dropped":3,"total":3,"policy":"drop_oldest"}"#
    );
    assert_eq!(q.take_drop_notices(), []);
    let _ = deliver(&mut q, TWO, 13, UNIT);
    let told: Vec<_> = q.take_drop_notices().iter().map(|n| (n.dropped, n.total)).collect();
    assert_eq!(told, [(1, 4)]);
}

#[test]
fn a_closed_subscription_takes_nothing_more_and_leaves_nothing_behind() {
    let mut q = queue(SlowSubscriber::DropOldest);
    assert_eq!(deliver(&mut q, SubscriptionHandle(9), 0, UNIT), Push::Closed);
    for n in 0..11 {
        let _ = deliver(&mut q, ONE, n, UNIT);
    }
    q.close(ONE);
    q.close(TWO);
    assert_eq!(deliver(&mut q, ONE, 11, UNIT), Push::Closed);
    assert_eq!(q.push_backlog(TWO, vec![(frame(0, UNIT), Bytes::new())]), Push::Closed);
    assert_eq!(numbers(&mut q, 1), Vec::from_iter(1..11));
    assert_eq!(q.subscriptions.len(), 1);
    assert_eq!(q.take_drop_notices().len(), 1);
    assert!(q.subscriptions.is_empty());
}

fn past(numbers: std::ops::Range<usize>, cost: usize) -> Vec<(Bytes, Bytes)> {
    numbers.map(|n| (frame(n, cost), Bytes::new())).collect()
}

#[test]
fn the_backlog_is_not_the_subscribers_slowness() {
    for policy in POLICIES {
        let mut q = queue(policy);
        assert_eq!(q.push_backlog(ONE, past(0..40, UNIT)), FREELY);
        for n in 40..50 {
            assert_eq!(deliver(&mut q, ONE, n, UNIT), FREELY);
        }
        check(&q);
        assert_eq!(numbers(&mut q, 1), Vec::from_iter(0..50));
    }
}

#[test]
fn of_a_backlog_beyond_half_the_link_the_newest_are_taken() {
    let mut q = queue(SlowSubscriber::DropOldest);
    assert_eq!(q.push_backlog(ONE, past(0..70, UNIT)), queued(0, 20));
    assert_eq!(q.push_backlog(TWO, past(0..2, UNIT)), queued(0, 2));
    assert_eq!(q.take_drop_notices().len(), 2);
    assert_eq!(numbers(&mut q, 1), Vec::from_iter(20..70));
    assert_eq!(q.push_backlog(TWO, past(0..3, 70_000)), queued(0, 2));
    assert_eq!(numbers(&mut q, 2), [2]);
    assert_eq!(q.push_backlog(TWO, past(0..3, 700_000)), queued(0, 2));
    assert_eq!(numbers(&mut q, 2), [2]);
    assert_eq!(q.push_backlog(TWO, vec![]), FREELY);
}

#[test]
fn smaller_limits_hold_from_the_next_push_on() {
    let mut q = queue(SlowSubscriber::DropOldest);
    for n in 0..10 {
        assert_eq!(deliver(&mut q, ONE, n, UNIT), FREELY);
    }
    let slow_subscriber = SlowSubscriber::DropOldest;
    q.set_limits(OutboundLimits { link_bytes_max: 3000, subscription_bytes_max: 2000, slow_subscriber });
    assert_eq!(deliver(&mut q, ONE, 10, UNIT), queued(9, 0));
    check(&q);
    assert_eq!(numbers(&mut q, 1), [9, 10]);
}

#[test]
fn losses_are_counted_by_their_reasons() {
    let losses = Losses { by_subscription: 2, by_link: 0 };
    assert_eq!(losses.by_reason().collect::<Vec<_>>(), [(Reason::SlowSubscriberDropOldest, 2)]);
    assert_eq!(Losses { by_link: 1, ..losses }.by_reason().count(), 2);
}

#[derive(Debug, Clone)]
enum Act {
    Answer(usize),
    Deliver(u64, usize),
    Backlog(u64, usize, usize),
    Drain(usize),
    Tell,
    Close(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let cost = || prop_oneof![8 => 200..4000usize, 2 => 9_000..12_000usize, 1 => 90_000..110_000usize];
    prop_oneof![
        3 => cost().prop_map(Act::Answer),
        12 => (1..5u64, cost()).prop_map(|(s, c)| Act::Deliver(s, c)),
        1 => (1..5u64, 0..60usize, cost()).prop_map(|(s, n, c)| Act::Backlog(s, n, c)),
        2 => (0..30_000usize).prop_map(Act::Drain),
        1 => Just(Act::Tell),
        1 => (1..5u64).prop_map(Act::Close),
    ]
}

#[derive(Default, Clone)]
struct Seen {
    pushed: u64,
    drained: Vec<usize>,
    lost: u64,
    told: u64,
    closed: bool,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn nothing_is_lost_uncounted_and_no_budget_is_exceeded(
        policy in proptest::sample::select(&POLICIES),
        acts in proptest::collection::vec(act(), 1..200),
    ) {
        let mut q = queue(policy);
        for (handle, id) in [(3, "3"), (4, "4")] {
            q.open(SubscriptionHandle(handle), id.into());
        }
        let mut seen: [Seen; 5] = Default::default();
        let mut all_lost = 0;
        let mut note = |push: Push| match push {
            Push::Queued(losses) => { all_lost += losses.by_link + losses.by_subscription; true }
            Push::Dropped(_, losses) => { all_lost += losses.by_link + losses.by_subscription + 1; true }
            Push::Closed | Push::Cut(_) => false,
        };
        let see = |seen: &mut [Seen; 5], out: Vec<(u64, usize)>| for (s, n) in out {
            seen[s as usize].drained.push(n);
        };
        for (n, act) in acts.into_iter().enumerate() {
            match act {
                Act::Answer(cost) => seen[0].pushed += u64::from(note(q.push(frame(n, cost)))),
                Act::Deliver(s, cost) => {
                    let push = deliver(&mut q, SubscriptionHandle(s), n, cost);
                    prop_assert_eq!(push == Push::Closed, seen[s as usize].closed);
                    seen[s as usize].pushed += u64::from(note(push));
                }
                Act::Backlog(s, count, cost) => {
                    let push = q.push_backlog(SubscriptionHandle(s), vec![(frame(n, cost), Bytes::new()); count]);
                    seen[s as usize].pushed += if note(push) { count as u64 } else { 0 };
                }
                Act::Drain(bytes) => { let out = drained(&mut q, bytes); see(&mut seen, out); }
                Act::Tell => for notice in q.take_drop_notices() {
                    let s = ["", "one", "two", "3", "4"].iter().position(|id| **id == *notice.subscription_id).unwrap();
                    seen[s].told += notice.dropped;
                    prop_assert!(notice.dropped > 0);
                    prop_assert_eq!(seen[s].told, notice.total);
                },
                Act::Close(s) => { q.close(SubscriptionHandle(s)); seen[s as usize].closed = true; }
            }
            check(&q);
            for (s, seen) in (0..).zip(&mut seen) {
                // A closed subscription is forgotten when all of its losses were told.
                seen.lost = q.dropped(SubscriptionHandle(s)).max(seen.lost);
            }
        }
        let out = drained(&mut q, usize::MAX);
        see(&mut seen, out);
        for s in &seen {
            prop_assert!(s.drained.is_sorted());
            prop_assert_eq!(s.pushed, s.drained.len() as u64 + s.lost);
        }
        prop_assert_eq!(all_lost, seen.iter().map(|s| s.lost).sum::<u64>());
        prop_assert_eq!((q.len(), q.bytes()), (0, 0));
    }
}
