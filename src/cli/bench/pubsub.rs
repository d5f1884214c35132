//! `mpreg bench pubsub`: one publisher, any number of subscribers, deliveries per second and their latency.
//!
//! Every message carries its number and the moment it was due; every subscriber checks the number, so that lost,
//! doubled and reordered deliveries are counted. Without a rate the publisher keeps at most a window of messages
//! between itself and the slowest subscriber.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use memchr::memmem;
use smol::{Executor, Timer};

use super::{
    super::{
        output::{Failure, Outcome},
        remote::{self, Remote},
    },
    load::{
        BATCH_MAX, GRACE, Slices, Tally, close, connect, digits, fault, message, poll_message, put_digits,
        with_threads,
    },
    raw::RawServer,
    report::Report,
    sequence::Sequence,
};
use crate::{
    client::{LINK_LIMITS, within},
    drive::link::Link,
};

remote_verb! {
    /// measure publishing: how many deliveries per second, how late they are, whether any is lost
    #[argh(
        subcommand,
        name = "pubsub",
        example = "mpreg bench pubsub --url ws://127.0.0.1:7000",
        example = "mpreg bench pubsub --subscribers 100 --payload 1024 --seconds 30",
        example = "mpreg bench pubsub --subscribers 10 --rate 1000 --json",
        note = "How to read it: a delivery is one message at one subscriber, so messages per second are deliveries divided by subscribers. `raw` is a server inside this program that hands every frame to every subscriber and does nothing else, measured in turns with the node. `ratio` is node / raw: it cancels the machine out and can be compared between machines.",
        note = "Without --rate the publisher is at most --window messages ahead of the slowest subscriber: that finds the highest throughput, and latency is mostly waiting in the window. The window is cut to 512 KiB of messages, because a node drops what a subscriber leaves unread for too long; with --rate only that cut holds. For the latency at a given load use --rate below that: a delivery's time then counts from when the message was due.",
        note = "Exit status 1 when any delivery was lost, doubled, reordered or changed, or a publish was refused."
    )]
    struct Pubsub {
        /// subscribers, each with a connection of its own; default 4
        #[argh(option, default = "4", arg_name = "number")]
        subscribers: usize,
        /// messages between the publisher and the slowest subscriber; default 256
        #[argh(option, default = "256", arg_name = "number")]
        window: usize,
        /// length of the payload, at least 38; default 128
        #[argh(option, default = "128", arg_name = "bytes")]
        payload: usize,
        /// how long to measure the node; default 5
        #[argh(option, default = "5.0", arg_name = "seconds")]
        seconds: f64,
        /// messages published per second; default: as many as the window allows
        #[argh(option, arg_name = "per-second")]
        rate: Option<f64>,
        /// threads of this program; default 1
        #[argh(option, default = "1", arg_name = "number")]
        threads: usize,
    }
}

impl Pubsub {
    pub fn run(self) -> Outcome {
        super::in_range(&[
            ("--subscribers", self.subscribers, super::CONNECTIONS_MAX),
            ("--window", self.window, super::WINDOW_MAX),
            ("--payload", self.payload, super::PAYLOAD_BYTES_MAX),
            ("--threads", self.threads, super::THREADS_MAX),
        ])?;
        if self.payload < HEAD {
            return Err(Failure::usage(format!("--payload wants at least {HEAD} bytes: number and time")));
        }
        let total = remote::seconds("--seconds", self.seconds)?;
        let interval = super::interval(self.rate)?;
        let remote = self.remote();
        let url = remote.url()?;
        let raw = RawServer::start(self.threads, LINK_LIMITS)?;
        let slices = Slices::of(total);
        // With a rate the window only bounds what waits at the node: what is due must not wait for a subscriber.
        let wanted = if interval.is_some() { self.window.max(OPEN_WINDOW) } else { self.window };
        let window = wanted.min(UNDELIVERED_BYTES_MAX / (self.payload + FRAME_BYTES)).max(1);
        let shape = Shape { subscribers: self.subscribers, payload: self.payload, window };
        let (node, ceiling) = with_threads(self.threads, async |executor| {
            let mut node = Stage::open(executor, &url, Some(&remote), shape).await?;
            let mut ceiling = Stage::open(executor, &raw.url, None, shape).await?;
            node.slice(executor, slices.warm_up, interval).await?;
            ceiling.slice(executor, slices.warm_up, interval).await?;
            let (mut node_tally, mut raw_tally) = (Tally::new(), Tally::new());
            for _ in 0..slices.count {
                node_tally.after(&node.slice(executor, slices.node, interval).await?);
                raw_tally.after(&ceiling.slice(executor, slices.raw, interval).await?);
            }
            node.close().await;
            ceiling.close().await;
            Ok::<_, Failure>((node_tally, raw_tally))
        })?;
        Report {
            bench: "pubsub",
            unit: "deliv./s",
            raw_name: "raw fan-out",
            settings: vec![
                ("url", url.into()),
                ("subscribers", self.subscribers.into()),
                ("window", window.into()),
                ("payload_bytes", self.payload.into()),
                ("seconds", self.seconds.into()),
                ("rate", self.rate.into()),
                ("threads", self.threads.into()),
            ],
            node,
            raw: ceiling,
        }
        .show(remote.json)
    }
}

#[derive(Clone, Copy)]
struct Shape {
    subscribers: usize,
    payload: usize,
    window: usize,
}

/// A publisher and its subscribers at one server. Between slices they rest here.
struct Stage {
    publisher: Option<Publisher>,
    subscribers: Vec<Subscriber>,
    flow: Arc<Flow>,
}

impl Stage {
    async fn open(
        executor: &Arc<Executor<'static>>,
        url: &str,
        remote: Option<&Remote>,
        shape: Shape,
    ) -> Result<Stage, Failure> {
        // A name of its own for each run, so that runs side by side do not meet.
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let run = format!("{:x}-{:x}", std::process::id(), clock.as_nanos());
        let flow = Arc::new(Flow {
            epoch: Instant::now(),
            received: (0..shape.subscribers).map(|_| AtomicU64::new(0)).collect(),
            end: AtomicU64::new(OPEN_END),
            publisher: Mutex::new(None),
        });
        let links = connect(executor, url, remote, shape.subscribers + 1, LINK_LIMITS).await?;
        let mut links = links.into_iter();
        let link = links.next().ok_or_else(|| Failure::failed("no connection"))?;
        let mut subscribers = Vec::new();
        for (index, mut link) in links.enumerate() {
            subscribe(&mut link, &run, index).await?;
            let tail = tail(shape.payload);
            subscribers.push(Subscriber { link, index, sequence: Sequence::default(), tail });
        }
        let publisher = Publisher {
            link,
            publish: Publish::new(&run, shape.payload, clock.as_secs_f64()),
            window: shape.window as u64,
            next: 0,
            // The raw server acknowledges nothing.
            acknowledged: remote.is_some().then_some(0),
        };
        Ok(Stage { publisher: Some(publisher), subscribers, flow })
    }

    async fn slice(
        &mut self,
        executor: &Arc<Executor<'static>>,
        length: Duration,
        interval: Option<Duration>,
    ) -> Result<Tally, Failure> {
        let lost = |why: String| Failure { status: 69, text: format!("a connection ended: {why}") };
        self.flow.end.store(OPEN_END, Ordering::Release);
        let until = Instant::now() + length;
        let receiving: Vec<_> = self
            .subscribers
            .drain(..)
            .map(|mut subscriber| {
                let flow = self.flow.clone();
                executor.spawn(async move {
                    let tally = subscriber.slice(&flow, until).await;
                    (subscriber, tally)
                })
            })
            .collect();
        let mut all = Tally::new();
        if let Some(mut publisher) = self.publisher.take() {
            let flow = self.flow.clone();
            let publishing = executor.spawn(async move {
                let tally = publisher.slice(&flow, until, interval).await;
                flow.end.store(publisher.next, Ordering::Release);
                (publisher, tally)
            });
            let (publisher, tally) = publishing.await;
            self.publisher = Some(publisher);
            all.beside(&tally.map_err(lost)?);
        }
        for task in receiving {
            let (subscriber, tally) = task.await;
            self.subscribers.push(subscriber);
            all.beside(&tally.map_err(lost)?);
        }
        all.measured = length;
        Ok(all)
    }

    async fn close(self) {
        let subscribers = self.subscribers.into_iter().map(|subscriber| subscriber.link);
        close(subscribers.chain(self.publisher.map(|publisher| publisher.link))).await;
    }
}

/// How far everybody is.
struct Flow {
    epoch: Instant,
    /// One above the highest number that each subscriber has seen.
    received: Vec<AtomicU64>,
    /// One above the last number of the slice, once it is known.
    end: AtomicU64,
    /// To be woken when a subscriber gets on.
    publisher: Mutex<Option<Waker>>,
}

impl Flow {
    fn slowest(&self) -> u64 {
        self.received.iter().map(|n| n.load(Ordering::Acquire)).min().unwrap_or_default()
    }

    fn wait(&self, waker: &Waker) {
        let mut waiting = self.publisher.lock().unwrap_or_else(|p| p.into_inner());
        if !waiting.as_ref().is_some_and(|w| w.will_wake(waker)) {
            *waiting = Some(waker.clone());
        }
    }

    fn advance(&self, index: usize, next: u64) {
        if let Some(received) = self.received.get(index) {
            received.store(next, Ordering::Release);
        }
        let waiting = self.publisher.lock().unwrap_or_else(|p| p.into_inner()).take();
        if let Some(waker) = waiting {
            waker.wake();
        }
    }

    fn nanoseconds(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.epoch).as_nanos() as u64
    }
}

struct Publisher {
    link: Link,
    publish: Publish,
    window: u64,
    next: u64,
    /// How many publishes were acknowledged, where there are acknowledgements.
    acknowledged: Option<u64>,
}

impl Publisher {
    async fn slice(
        &mut self,
        flow: &Flow,
        until: Instant,
        interval: Option<Duration>,
    ) -> Result<Tally, String> {
        let mut tally = Tally::new();
        let mut due = Instant::now();
        let mut unflushed = false;
        let mut timer = Timer::at(until);
        poll_fn(|cx| {
            let mut moved = true;
            while moved {
                moved = self.acknowledge(cx, &mut tally)?;
                let now = Instant::now();
                if now >= until {
                    let open = self.acknowledged.is_some_and(|n| n < self.next);
                    if !open && !unflushed {
                        return Poll::Ready(Ok::<(), String>(()));
                    }
                    if now >= until + GRACE {
                        tally.errors += self.acknowledged.map_or(0, |n| self.next.saturating_sub(n));
                        self.acknowledged = self.acknowledged.map(|_| self.next);
                        return Poll::Ready(Ok::<(), String>(()));
                    }
                }
                flow.wait(cx.waker());
                let mut batch = 0;
                while now < until
                    && batch < BATCH_MAX
                    && self.next < flow.slowest() + self.window
                    && interval.is_none_or(|_| due <= now)
                    && self.link.poll_ready(cx).map_err(fault)?.is_ready()
                {
                    let at = if interval.is_some() { due } else { now };
                    let frame = self.publish.frame(self.next, flow.nanoseconds(at));
                    self.link.start_send(frame).map_err(fault)?;
                    self.next += 1;
                    due += interval.unwrap_or_default();
                    batch += 1;
                }
                unflushed |= batch > 0;
                moved |= batch > 0;
                if unflushed && self.link.poll_flush(cx).map_err(fault)?.is_ready() {
                    unflushed = false;
                }
                if batch == BATCH_MAX {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                if !moved {
                    let wake = match interval {
                        _ if now >= until => until + GRACE,
                        Some(_) if due > now => due.min(until),
                        _ => until,
                    };
                    timer.set_at(wake);
                    moved = Pin::new(&mut timer).poll(cx).is_ready();
                }
            }
            Poll::Pending
        })
        .await?;
        Ok(tally)
    }

    fn acknowledge(&mut self, cx: &mut Context<'_>, tally: &mut Tally) -> Result<bool, String> {
        let mut moved = false;
        for _ in 0..BATCH_MAX {
            match poll_message(&mut self.link, cx)? {
                Poll::Ready(ack) => {
                    moved = true;
                    self.acknowledged = self.acknowledged.map(|n| n + 1);
                    if memmem::find(&ack, ACCEPTED).is_none() {
                        tally.errors += 1;
                        tally.remember(&ack);
                    }
                }
                Poll::Pending => break,
            }
        }
        Ok(moved)
    }
}

struct Subscriber {
    link: Link,
    index: usize,
    sequence: Sequence,
    /// How a payload ends, with its quote.
    tail: Vec<u8>,
}

impl Subscriber {
    async fn slice(&mut self, flow: &Flow, until: Instant) -> Result<Tally, String> {
        let mut tally = Tally::new();
        let mut timer = Timer::at(until);
        poll_fn(|cx| {
            loop {
                let mut taken = 0;
                while taken < BATCH_MAX {
                    match poll_message(&mut self.link, cx)? {
                        Poll::Ready(message) => {
                            taken += 1;
                            self.delivered(&message, flow, until, &mut tally);
                        }
                        Poll::Pending => break,
                    }
                }
                if taken > 0 {
                    flow.advance(self.index, self.sequence.next());
                }
                if taken == BATCH_MAX {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                let now = Instant::now();
                if now >= until {
                    let end = flow.end.load(Ordering::Acquire);
                    if end != OPEN_END && (self.sequence.next() >= end || now >= until + GRACE) {
                        self.sequence.end_at(end, &mut tally);
                        flow.advance(self.index, self.sequence.next());
                        return Poll::Ready(Ok::<(), String>(()));
                    }
                    timer.set_at(now + END_CHECK);
                }
                if Pin::new(&mut timer).poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await?;
        Ok(tally)
    }

    fn delivered(&mut self, message: &[u8], flow: &Flow, until: Instant, tally: &mut Tally) {
        let payload = memmem::find(message, MARK).and_then(|at| message.get(at + MARK.len()..));
        let parts = payload.and_then(|p| Some((p.get(..DIGITS)?, p.get(DIGITS + 1..)?)));
        let Some((number, rest)) = parts.filter(|_| payload.is_some_and(|p| p.get(DIGITS) == Some(&b':')))
        else {
            tally.corrupt += 1;
            tally.remember(message);
            return;
        };
        let at = digits(rest);
        if rest.get(DIGITS..DIGITS + self.tail.len()) != Some(self.tail.as_slice()) {
            tally.corrupt += 1;
            tally.remember(message);
        } else if self.sequence.see(digits(number), tally) {
            let now = Instant::now();
            tally.right += 1;
            tally.in_time += u64::from(now < until);
            tally.latency.record(flow.nanoseconds(now).saturating_sub(at));
        }
    }
}

/// The frame of a publish, with the places that change.
struct Publish {
    frame: Vec<u8>,
    id_at: usize,
    message_id_at: usize,
    payload_at: usize,
}

impl Publish {
    fn new(run: &str, payload_bytes: usize, wall_seconds: f64) -> Publish {
        let zeros = "0".repeat(DIGITS);
        let mut frame = format!("{{\"role\":\"pubsub-publish\",\"u\":\"{zeros}\"");
        let id_at = frame.len() - 1 - DIGITS;
        frame += &format!(",\"message\":{{\"topic\":\"{TOPIC}.{run}\",\"payload\":\"mpb:");
        let payload_at = frame.len();
        frame += &format!("{zeros}:{zeros}");
        frame += &String::from_utf8_lossy(&tail(payload_bytes));
        frame += &format!(",\"timestamp\":{wall_seconds:.3},\"message_id\":\"{run}-{zeros}\"");
        let message_id_at = frame.len() - 1 - DIGITS;
        frame += ",\"publisher\":\"mpreg-bench\",\"headers\":{}}}";
        Publish { frame: frame.into_bytes(), id_at, message_id_at, payload_at }
    }

    fn frame(&self, number: u64, at_nanoseconds: u64) -> Bytes {
        let mut frame = self.frame.clone();
        put_digits(&mut frame[self.id_at..self.id_at + DIGITS], number);
        put_digits(&mut frame[self.payload_at..self.payload_at + DIGITS], number);
        let at = self.payload_at + DIGITS + 1;
        put_digits(&mut frame[at..at + DIGITS], at_nanoseconds);
        put_digits(&mut frame[self.message_id_at..self.message_id_at + DIGITS], number);
        Bytes::from(frame)
    }
}

async fn subscribe(link: &mut Link, run: &str, index: usize) -> Result<(), Failure> {
    let frame = serde_json::json!({
        "role": "pubsub-subscribe", "u": format!("s{index}"),
        "subscription": {
            "subscription_id": format!("bench-{run}-{index}"),
            "patterns": [{ "pattern": format!("{TOPIC}.{run}"), "exact_match": true }],
            "subscriber": "mpreg-bench", "created_at": 0.0, "get_backlog": false, "backlog_seconds": 0,
        },
    });
    let refused = |why: String| Failure::failed(format!("cannot subscribe: {why}"));
    link.send(Bytes::from(frame.to_string())).await.map_err(|e| refused(e.to_string()))?;
    match within(Some(GRACE), message(link)).await {
        Some(Ok(ack)) if memmem::find(&ack, ACCEPTED).is_some() => Ok(()),
        Some(Ok(ack)) => Err(refused(String::from_utf8_lossy(&ack).into_owned())),
        Some(Err(why)) => Err(refused(why)),
        None => Err(refused("no answer came".to_owned())),
    }
}

fn tail(payload_bytes: usize) -> Vec<u8> {
    let mut tail = vec![b':'];
    tail.resize(1 + payload_bytes.saturating_sub(HEAD), b'x');
    tail.push(b'"');
    tail
}

const TOPIC: &str = "bench.pubsub";
const MARK: &[u8] = b"\"mpb:";
const DIGITS: usize = 16;
/// `mpb:` number `:` time `:`
const HEAD: usize = 4 + DIGITS + 1 + DIGITS + 1;
const ACCEPTED: &[u8] = b"\"success\":true";
/// The last number is not known yet.
const OPEN_END: u64 = u64::MAX;
/// How often a subscriber looks whether everything has come, when nothing comes.
const END_CHECK: Duration = Duration::from_millis(10);
/// A node drops what one subscriber leaves unread beyond limits.outbound_per_subscription (1 MiB unless it is told
/// otherwise). Half of that, so that what a bench counts as lost was not lost by its own overrun.
const UNDELIVERED_BYTES_MAX: usize = 512 << 10;
/// What a notification holds beside its payload, at most.
const FRAME_BYTES: usize = 512;
/// Messages between publisher and slowest subscriber when a rate is asked for and the node does not keep up.
const OPEN_WINDOW: usize = 1 << 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publish_is_valid_json_of_the_length_asked_for() {
        for payload in [HEAD, 128] {
            let frame = Publish::new("run", payload, 1.5).frame(7, 99);
            let value: serde_json::Value = serde_json::from_slice(&frame).unwrap();
            let message = &value["message"];
            assert_eq!(value["u"], "0000000000000007");
            assert_eq!(message["message_id"], "run-0000000000000007");
            let text = message["payload"].as_str().unwrap();
            assert!(
                text.starts_with("mpb:0000000000000007:0000000000000099:") && text.len() == payload,
                "{text}"
            );
        }
    }

    #[test]
    fn a_plain_fan_out_delivers_everything_in_order() {
        let raw = RawServer::start(1, LINK_LIMITS).unwrap();
        for interval in [None, Some(Duration::from_millis(2))] {
            let shape = Shape { subscribers: 3, payload: 64, window: 16 };
            let tally = with_threads(1, async |executor| {
                let mut stage = Stage::open(executor, &raw.url, None, shape).await.unwrap();
                let first = stage.slice(executor, Duration::from_millis(30), interval).await.unwrap();
                let mut both = stage.slice(executor, Duration::from_millis(30), interval).await.unwrap();
                both.after(&first);
                both
            });
            assert!(tally.right >= 30 && tally.wrong() == 0, "{} {}", tally.right, tally.wrong());
            assert_eq!(tally.right % 3, 0);
        }
    }
}
