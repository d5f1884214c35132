//! `mpreg bench rpc`: calls per second and their latency.
//!
//! A lane is one connection with a window of calls under way. It takes all answers that have arrived, sends all
//! calls that are due, and flushes once. Each payload carries the number of its call and is compared when it
//! comes back. With a rate the latency counts from the moment a call was due, sent late or not.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use memchr::memmem;
use smol::{Executor, Timer};

use super::{
    super::{
        output::{Failure, Outcome},
        remote,
    },
    load::{
        BATCH_MAX, GRACE, Slices, Tally, close, connect, digits, fault, poll_message, put_digits,
        with_threads,
    },
    raw::RawServer,
    report::Report,
};
use crate::{client::LINK_LIMITS, drive::link::Link};

remote_verb! {
    /// measure calls: how many per second, how long they take, whether the answers are right
    #[argh(
        subcommand,
        name = "rpc",
        example = "mpreg bench rpc --url ws://127.0.0.1:7000",
        example = "mpreg bench rpc --connections 16 --window 32 --payload 1024 --seconds 30",
        example = "mpreg bench rpc --rate 5000 --seconds 30 --json",
        note = "How to read it: `node` is what was measured at the node, `raw` a plain WebSocket echo inside this program with the same frames and window, measured in turns with it. `ratio` is node / raw: it cancels the machine out and can be compared between machines. For calls/s 1.00 would be as fast as an echo without a node; for a latency 2.00 means twice as long as the bare echo.",
        note = "Without --rate each connection keeps its window full: that finds the highest throughput, and latency is mostly waiting in the window (about connections * window / calls per second). For the latency at a given load use --rate below that throughput: a call's time then counts from when it was due, so a stall is seen in full. When calls/s stays below --rate, the node does not keep up.",
        note = "This program needs a processor of its own beside the node's; on a small machine both share, which the ratio shows as well.",
        note = "Exit status 1 when any answer was an error, lost, doubled, or not the payload that was sent."
    )]
    struct Rpc {
        /// function to call with one text; default echo
        #[argh(option, default = "String::from(\"echo\")", arg_name = "name")]
        function: String,
        /// cluster whose function is called, to measure the way there; default: the nearest that has it
        #[argh(option, arg_name = "name")]
        target_cluster: Option<String>,
        /// connections; default 4
        #[argh(option, default = "4", arg_name = "number")]
        connections: usize,
        /// calls under way on each connection; default 64
        #[argh(option, default = "64", arg_name = "number")]
        window: usize,
        /// length of the text; default 128
        #[argh(option, default = "128", arg_name = "bytes")]
        payload: usize,
        /// how long to measure the node; default 5
        #[argh(option, default = "5.0", arg_name = "seconds")]
        seconds: f64,
        /// calls per second over all connections; default: as many as the window allows
        #[argh(option, arg_name = "per-second")]
        rate: Option<f64>,
        /// threads of this program; default 1
        #[argh(option, default = "1", arg_name = "number")]
        threads: usize,
        /// do not compare answers, for functions that do not return their argument
        #[argh(switch)]
        any_answer: bool,
    }
}

impl Rpc {
    pub fn run(self) -> Outcome {
        super::in_range(&[
            ("--connections", self.connections, super::CONNECTIONS_MAX),
            ("--window", self.window, super::WINDOW_MAX),
            ("--payload", self.payload, super::PAYLOAD_BYTES_MAX),
            ("--threads", self.threads, super::THREADS_MAX),
        ])?;
        let total = remote::seconds("--seconds", self.seconds)?;
        let per_lane = super::interval(self.rate)?.map(|interval| interval * self.connections as u32);
        let remote = self.remote();
        let url = remote.url()?;
        let raw = RawServer::start(self.threads, LINK_LIMITS)?;
        // With a rate the window only bounds memory: what is due must not wait for an answer.
        let window = if self.rate.is_some() { self.window.max(OPEN_WINDOW) } else { self.window };
        let call = Call::new(&self.function, self.target_cluster.as_deref(), self.payload);
        let slices = Slices::of(total);
        let (node, ceiling) = with_threads(self.threads, async |executor| {
            let lanes = |links: Vec<Link>, compare: bool| -> Vec<Lane> {
                links.into_iter().map(|link| Lane::new(link, call.clone(), window, compare)).collect()
            };
            let links = connect(executor, &url, Some(&remote), self.connections, LINK_LIMITS).await?;
            let mut node = lanes(links, !self.any_answer);
            let links = connect(executor, &raw.url, None, self.connections, LINK_LIMITS).await?;
            let mut ceiling = lanes(links, true);

            let warm = run_slice(executor, &mut node, slices.warm_up, per_lane).await?;
            if warm.right == 0 {
                let sample = warm.sample.unwrap_or_else(|| "no answer came".to_owned());
                let remedy = match warm.corrupt {
                    0 => "",
                    _ => {
                        "\nThe answer is not what was sent. Measure an echo, or do not compare: --any-answer."
                    }
                };
                let text = format!("{} cannot be measured: {sample}{remedy}", self.function);
                return Err(Failure::failed(text));
            }
            run_slice(executor, &mut ceiling, slices.warm_up, per_lane).await?;
            let (mut node_tally, mut raw_tally) = (Tally::new(), Tally::new());
            for _ in 0..slices.count {
                node_tally.after(&run_slice(executor, &mut node, slices.node, per_lane).await?);
                raw_tally.after(&run_slice(executor, &mut ceiling, slices.raw, per_lane).await?);
            }
            close(node.into_iter().chain(ceiling).map(|lane| lane.link)).await;
            Ok((node_tally, raw_tally))
        })?;
        Report {
            bench: "rpc",
            unit: "calls/s",
            raw_name: "raw echo",
            settings: vec![
                ("url", url.into()),
                ("function", self.function.clone().into()),
                ("target_cluster", self.target_cluster.clone().into()),
                ("connections", self.connections.into()),
                ("window", if self.rate.is_some() { None } else { Some(self.window) }.into()),
                ("payload_bytes", self.payload.into()),
                ("seconds", self.seconds.into()),
                ("rate", self.rate.into()),
                ("threads", self.threads.into()),
                ("any_answer", self.any_answer.into()),
            ],
            node,
            raw: ceiling,
        }
        .show(remote.json)
    }
}

/// One slice on all lanes; they run side by side as tasks of the executor.
async fn run_slice(
    executor: &Arc<Executor<'static>>,
    lanes: &mut Vec<Lane>,
    length: Duration,
    interval: Option<Duration>,
) -> Result<Tally, Failure> {
    let count = lanes.len() as u32;
    let running: Vec<_> = (0..count)
        .zip(lanes.drain(..))
        .map(|(n, mut lane)| {
            // Lanes take turns, so that calls of a given rate are spread evenly.
            let phase = interval.unwrap_or_default() * n / count;
            executor.spawn(async move {
                let tally = lane.slice(length, interval, phase).await;
                (lane, tally)
            })
        })
        .collect();
    let mut all = Tally::new();
    for task in running {
        let (lane, tally) = task.await;
        lanes.push(lane);
        all.beside(&tally.map_err(|why| Failure { status: 69, text: format!("a connection ended: {why}") })?);
    }
    all.measured = length;
    Ok(all)
}

/// The frame of a call, with the places that change.
#[derive(Clone)]
struct Call {
    frame: Vec<u8>,
    id_at: usize,
    payload_at: usize,
    /// The payload as it must come back, with its quotes.
    payload: Vec<u8>,
    /// Digits of the call's number in the payload.
    digits: usize,
}

impl Call {
    fn new(function: &str, target_cluster: Option<&str>, payload_bytes: usize) -> Call {
        let mut payload = vec![b'x'; payload_bytes + 2];
        for quote in [0, payload_bytes + 1] {
            payload[quote] = b'"';
        }
        let mut frame = br#"{"role":"rpc","u":""#.to_vec();
        let id_at = frame.len();
        frame.extend_from_slice(&[b'0'; ID_DIGITS]);
        // A name that no payload begins with: text that equals a command name would be replaced.
        frame.extend_from_slice(br#"","cmds":[{"name":"r","fun":"#);
        frame.extend_from_slice(serde_json::Value::from(function).to_string().as_bytes());
        if let Some(cluster) = target_cluster {
            frame.extend_from_slice(br#","target_cluster":"#);
            frame.extend_from_slice(serde_json::Value::from(cluster).to_string().as_bytes());
        }
        frame.extend_from_slice(br#","args":["#);
        let payload_at = frame.len() + 1;
        frame.extend_from_slice(&payload);
        frame.extend_from_slice(br#"],"kwargs":{},"locs":[]}]}"#);
        Call { frame, id_at, payload_at, payload, digits: payload_bytes.min(ID_DIGITS) }
    }

    fn frame(&self, id: u64) -> Bytes {
        let mut frame = self.frame.clone();
        put_digits(&mut frame[self.id_at..self.id_at + ID_DIGITS], id);
        put_digits(&mut frame[self.payload_at..self.payload_at + self.digits], id);
        Bytes::from(frame)
    }

    /// Whether this answer holds the payload of this call, unchanged.
    fn is_answered_by(&mut self, id: u64, answer: &[u8]) -> bool {
        put_digits(&mut self.payload[1..1 + self.digits], id);
        // The head is short, so that searching needs no preparation; the rest is compared in place.
        let head = &self.payload[..(2 + self.digits).min(self.payload.len())];
        memmem::find(answer, head)
            .and_then(|at| answer.get(at..at + self.payload.len()))
            .is_some_and(|found| found == self.payload)
    }
}

struct Lane {
    link: Link,
    call: Call,
    window: usize,
    compare: bool,
    next: u64,
    under_way: usize,
    /// Calls under way by the low bits of their number: (number, when it was due).
    sent: Vec<Option<(u64, Instant)>>,
}

impl Lane {
    fn new(link: Link, call: Call, window: usize, compare: bool) -> Lane {
        // Some room for answers out of order.
        let slots = (window * 4).next_power_of_two();
        Lane { link, call, window, compare, next: 1, under_way: 0, sent: vec![None; slots] }
    }

    async fn slice(
        &mut self,
        length: Duration,
        interval: Option<Duration>,
        phase: Duration,
    ) -> Result<Tally, String> {
        let mut tally = Tally::new();
        let start = Instant::now();
        let mut run = Run { until: start + length, due: start + phase, interval, unflushed: false };
        let mut timer = Timer::at(run.until);
        let mut armed = run.until;
        poll_fn(|cx| {
            loop {
                match self.turn(cx, &mut run, &mut tally)? {
                    Turn::Over => return Poll::Ready(Ok::<(), String>(())),
                    // Other lanes first: one that keeps finding answers must not let theirs wait.
                    Turn::Moved => {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    Turn::Idle => {}
                }
                let now = Instant::now();
                let wake = match run.interval {
                    _ if now >= run.until => run.until + GRACE,
                    Some(_) if self.under_way < self.window && run.due > now => run.due.min(run.until),
                    _ => run.until,
                };
                if wake != armed {
                    timer.set_at(wake);
                    armed = wake;
                }
                if Pin::new(&mut timer).poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await?;
        Ok(tally)
    }

    /// Takes what has arrived, sends what is due, flushes.
    fn turn(&mut self, cx: &mut Context<'_>, run: &mut Run, tally: &mut Tally) -> Result<Turn, String> {
        let mut taken = 0;
        while taken < BATCH_MAX {
            match poll_message(&mut self.link, cx)? {
                Poll::Ready(answer) => {
                    taken += 1;
                    self.answered(&answer, run.until, tally);
                }
                Poll::Pending => break,
            }
        }
        let mut moved = taken > 0;
        let now = Instant::now();
        if now < run.until {
            while self.may_send(run, now) && self.link.poll_ready(cx).map_err(fault)?.is_ready() {
                let at = if run.interval.is_some() { run.due } else { now };
                self.send(at)?;
                run.due += run.interval.unwrap_or_default();
                run.unflushed = true;
                moved = true;
            }
        } else if self.under_way == 0 {
            return Ok(Turn::Over);
        } else if now >= run.until + GRACE {
            tally.lost += self.under_way as u64;
            self.under_way = 0;
            self.sent.fill(None);
            return Ok(Turn::Over);
        }
        if run.unflushed && self.link.poll_flush(cx).map_err(fault)?.is_ready() {
            run.unflushed = false;
        }
        Ok(if moved { Turn::Moved } else { Turn::Idle })
    }

    fn may_send(&self, run: &Run, now: Instant) -> bool {
        self.under_way < self.window
            && (run.interval.is_none() || run.due <= now)
            && self.sent[self.slot(self.next)].is_none()
    }

    fn slot(&self, id: u64) -> usize {
        id as usize & (self.sent.len() - 1)
    }

    fn send(&mut self, at: Instant) -> Result<(), String> {
        let id = self.next;
        let slot = self.slot(id);
        self.sent[slot] = Some((id, at));
        self.next += 1;
        self.under_way += 1;
        self.link.start_send(self.call.frame(id)).map_err(fault)
    }

    fn answered(&mut self, answer: &[u8], until: Instant, tally: &mut Tally) {
        let id =
            memmem::find(answer, ID_KEY).and_then(|at| answer.get(at + ID_KEY.len()..)).map_or(0, digits);
        let slot = self.slot(id);
        let at = match self.sent[slot] {
            Some((sent, at)) if sent == id => at,
            _ => {
                tally.duplicated += 1;
                tally.remember(answer);
                return;
            }
        };
        self.sent[slot] = None;
        self.under_way -= 1;
        let failed = || memmem::find(answer, ERROR_KEY).is_some();
        if self.compare && self.call.is_answered_by(id, answer) || !self.compare && !failed() {
            let now = Instant::now();
            tally.right += 1;
            tally.in_time += u64::from(now < until);
            tally.latency.record(now.saturating_duration_since(at).as_nanos() as u64);
        } else {
            tally.remember(answer);
            if failed() {
                tally.errors += 1;
            } else {
                tally.corrupt += 1;
            }
        }
    }
}

struct Run {
    until: Instant,
    /// When the next call is due, if there is an interval.
    due: Instant,
    interval: Option<Duration>,
    unflushed: bool,
}

enum Turn {
    Moved,
    Idle,
    Over,
}

const ID_DIGITS: usize = 16;
const ID_KEY: &[u8] = br#""u":""#;
const ERROR_KEY: &[u8] = br#""error":{"#;
/// Calls under way on one connection when a rate is asked for and the node does not keep up.
const OPEN_WINDOW: usize = 1 << 14;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_valid_json_and_knows_its_answer() {
        for payload in [1, 8, 16, 17, 500] {
            let mut call = Call::new("a\"b", Some("c"), payload);
            let frame = call.frame(42);
            let value: serde_json::Value = serde_json::from_slice(&frame).unwrap();
            let text = value["cmds"][0]["args"][0].as_str().unwrap();
            assert_eq!((value["cmds"][0]["fun"].as_str(), text.len()), (Some("a\"b"), payload));
            assert_eq!(value["cmds"][0]["target_cluster"], "c");
            let answer = |text: &str| format!("{{\"r\":{{\"r\":\"{text}\"}},\"error\":null,\"u\":\"42\"}}");
            assert!(call.is_answered_by(42, answer(text).as_bytes()), "{payload}");
            assert!(call.is_answered_by(42, &frame));
            assert!(!call.is_answered_by(43, answer(text).as_bytes()));
            assert!(!call.is_answered_by(42, answer(&text[1..]).as_bytes()));
            assert!(!call.is_answered_by(42, answer(&format!("{}y", &text[1..])).as_bytes()));
        }
    }

    #[test]
    fn an_echo_answers_every_call_once() {
        let raw = RawServer::start(1, LINK_LIMITS).unwrap();
        for interval in [None, Some(Duration::from_millis(1))] {
            let tally = with_threads(1, async |executor| {
                let links = connect(executor, &raw.url, None, 3, LINK_LIMITS).await.unwrap();
                let call = Call::new("echo", None, 100);
                let mut lanes =
                    links.into_iter().map(|link| Lane::new(link, call.clone(), 8, true)).collect();
                run_slice(executor, &mut lanes, Duration::from_millis(50), interval).await.unwrap()
            });
            assert!(tally.right > 10 && tally.wrong() == 0, "{} {:?}", tally.right, tally.sample);
            assert_eq!(tally.latency.total(), tally.right);
            assert!(interval.is_none() || tally.right <= 3 * 51, "{}", tally.right);
        }
    }
}
