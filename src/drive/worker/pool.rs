//! The processes of one command as their callers see them: one lock around the decisions of the core, a buffer of
//! bytes to write per instance, and a slot per call that its answer is put into.
//!
//! The lock is held for the time of a few map operations; nobody is woken and nothing is reported while it is.

use std::io::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use memchr::memchr2;
use serde_json::value::RawValue;
use smol::Timer;
use smol::channel::Sender;
use smol::future::{or, poll_fn};

use crate::core::error::CallError;
use crate::core::reason::Reason;
use crate::core::time::Now;
use crate::core::worker::{Action, Group};

use super::process::Command;
use super::{FunctionKey, WorkerEvent, WorkerLimits, WorkerSpec, function_of};

pub(super) type Outcome = Result<Box<RawValue>, CallError>;

/// See the module.
pub(super) struct Pool {
    state: Mutex<State>,
    /// Held over a change of instances and its report, so that reports come in the order of the changes.
    order: Mutex<()>,
    started: Instant,
    keys: Vec<FunctionKey>,
    /// Per function, a request up to its arguments.
    heads: Vec<String>,
    /// For the log, as in `worker of demo.add`.
    pub label: String,
    pub command: Command,
    pub limits: WorkerLimits,
    report: Arc<dyn Fn(WorkerEvent) + Send + Sync>,
    grace: OnceLock<Duration>,
}

struct State {
    group: Group<Ticket>,
    feeds: Vec<Feed>,
    alarm: Alarm,
}

/// What is kept with a call.
pub(super) struct Ticket {
    slot: Arc<Slot>,
    /// The request up to its id; empty once it is written.
    line: Vec<u8>,
}

/// What is to be written to an instance.
#[derive(Default)]
struct Feed {
    bytes: Vec<u8>,
    writer: Option<Waker>,
    closed: bool,
    broken: Option<Sender<String>>,
}

/// The next deadline that somebody waits for.
#[derive(Default)]
struct Alarm {
    set_for: Option<Duration>,
    sleeper: Option<Waker>,
    ended: bool,
}

/// What a worker said about a call.
pub(super) enum Told {
    Result(Box<RawValue>),
    Error(String),
    Empty,
    TooLong,
}

/// Where a caller waits for the outcome of a call.
#[derive(Default)]
pub(super) struct Slot(Mutex<Filling>);

#[derive(Default)]
struct Filling {
    outcome: Option<Outcome>,
    caller: Option<Waker>,
}

/// What is left to do once the lock is released.
#[derive(Default)]
struct Aftermath {
    wake: Vec<Waker>,
    finish: Vec<(Arc<Slot>, Outcome)>,
    up: Option<bool>,
}

impl Pool {
    pub fn new(
        keys: &[FunctionKey],
        specs: &[&WorkerSpec],
        command: Command,
        instances: usize,
        limits: WorkerLimits,
        report: Arc<dyn Fn(WorkerEvent) + Send + Sync>,
    ) -> Pool {
        let backoff = specs.iter().map(|s| s.restart_backoff).max().unwrap_or_default();
        let functions = specs.iter().map(|s| function_of(s)).collect();
        let state = State {
            group: Group::new(functions, instances, backoff, limits.waiting_max),
            feeds: (0..instances).map(|_| Feed::default()).collect(),
            alarm: Alarm::default(),
        };
        Pool {
            state: Mutex::new(state),
            order: Mutex::new(()),
            started: Instant::now(),
            keys: keys.to_vec(),
            heads: specs.iter().map(|s| head_of(&s.name)).collect(),
            label: label_of(specs),
            command,
            limits,
            report,
            grace: OnceLock::new(),
        }
    }

    /// Hands a call to the group; returns its number and where its outcome will be.
    pub fn submit(
        &self,
        place: usize,
        args: &RawValue,
        kwargs: &RawValue,
        deadline: Duration,
    ) -> (u64, Arc<Slot>) {
        let slot = Arc::new(Slot::default());
        let line = line_of(self.heads.get(place).map_or("", String::as_str), args.get(), kwargs.get());
        let ticket = Ticket { slot: slot.clone(), line };
        (self.step(|group, now| group.submit(now, place, deadline, ticket)), slot)
    }

    pub fn cancel(&self, id: u64) {
        self.step(|group, _| group.cancel(id));
    }

    /// Brings answers to their callers; returns how many belong to nobody.
    pub fn answered(&self, instance: usize, told: &mut Vec<(u64, Told)>) -> u64 {
        let mut strays = 0;
        let mut ends = Vec::with_capacity(told.len());
        let answer_bytes_max = self.limits.message_bytes_max;
        self.step(|group, _| {
            for (id, told) in told.drain(..) {
                let outcome = match told {
                    Told::Result(result) => Ok(result),
                    Told::Error(message) => Err(CallError::failed(message)),
                    Told::Empty | Told::TooLong => {
                        let name = group.function_of(id).map_or("?", |f| f.name.as_str());
                        Err(match told {
                            Told::TooLong => CallError::failed(format!(
                                "the answer of {name} is larger than {answer_bytes_max} bytes"
                            ))
                            .because(Reason::ResultTooLarge),
                            _ => CallError::failed(format!(
                                "the worker of {name} answered with neither a result nor an error"
                            ))
                            .because(Reason::WorkerGarbage),
                        })
                    }
                };
                match group.answered(instance, id, outcome.is_err()) {
                    Some(ticket) => ends.push((ticket.slot, outcome)),
                    None => strays += 1,
                }
            }
        });
        for (slot, outcome) in ends {
            slot.fill(outcome);
        }
        strays
    }

    pub fn starting(&self, instance: usize) {
        self.step(|group, _| group.instance_starting(instance));
    }

    /// The process of an instance runs; `broken` takes the word that it must be ended.
    pub fn up(&self, instance: usize, broken: Sender<String>) {
        let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(feed) = self.lock().feeds.get_mut(instance) {
            let closed = self.grace.get().is_some();
            *feed = Feed { closed, broken: Some(broken), ..Feed::default() };
        }
        self.step(|group, now| group.instance_up(now, instance));
    }

    /// Returns how long to wait before the next start.
    pub fn down(&self, instance: usize, how: &str) -> Duration {
        let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        self.step(|group, now| group.instance_down(now, instance, how))
    }

    /// Returns how long to wait before the next try.
    pub fn refused(&self, instance: usize, how: &str) -> Duration {
        self.step(|group, now| group.instance_refused(now, instance, how))
    }

    /// Swaps what is ready to be written to an instance into `batch`, which is empty; false when there will be no more.
    pub async fn next_batch(&self, instance: usize, batch: &mut Vec<u8>) -> bool {
        poll_fn(|cx| {
            let mut state = self.lock();
            let Some(feed) = state.feeds.get_mut(instance) else { return Poll::Ready(false) };
            if !feed.bytes.is_empty() {
                std::mem::swap(&mut feed.bytes, batch);
                return Poll::Ready(true);
            }
            feed.writer = Some(cx.waker().clone());
            if feed.closed { Poll::Ready(false) } else { Poll::Pending }
        })
        .await
    }

    /// Takes no further calls. The instances themselves are ended by their tasks.
    pub fn stop(&self, grace: Duration) {
        let _ = self.grace.set(grace);
        let mut wake = Vec::new();
        {
            let mut state = self.lock();
            for feed in &mut state.feeds {
                feed.closed = true;
                wake.extend(feed.writer.take());
            }
            state.alarm.ended = true;
            wake.extend(state.alarm.sleeper.take());
        }
        self.step(|group, _| group.stop());
        wake.into_iter().for_each(Waker::wake);
    }

    /// How long instances may take to end, once they were told to.
    pub fn grace(&self) -> Duration {
        self.grace.get().copied().unwrap_or_default()
    }

    /// Waits until a call's time may be over; false when the pool has stopped.
    pub async fn until_deadline(&self) -> bool {
        let due = {
            let mut state = self.lock();
            state.alarm.set_for = state.group.poll_timeout();
            state.alarm.set_for
        };
        let moved = poll_fn(|cx| {
            let mut state = self.lock();
            let sooner = match (state.group.poll_timeout(), due) {
                (Some(next), Some(due)) => next < due,
                (next, None) => next.is_some(),
                (None, Some(_)) => false,
            };
            if state.alarm.ended || sooner {
                return Poll::Ready(());
            }
            state.alarm.sleeper = Some(cx.waker().clone());
            Poll::Pending
        });
        match due {
            Some(due) => {
                let rings = async {
                    Timer::at(self.started + due).await;
                };
                or(moved, rings).await;
            }
            None => moved.await,
        }
        !self.lock().alarm.ended
    }

    pub fn handle_timeout(&self) {
        self.step(|group, now| group.handle_timeout(now));
    }

    pub fn note(&self, reason: Reason, count: u64) {
        if count > 0 {
            (self.report)(WorkerEvent::Noted { reason, count });
        }
    }

    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        Now { wall, mono: self.started.elapsed() }
    }

    pub fn look<R>(&self, view: impl FnOnce(&Group<Ticket>) -> R) -> R {
        view(&self.lock().group)
    }

    /// Tells the group what happened and does what it decides.
    fn step<R>(&self, event: impl FnOnce(&mut Group<Ticket>, Now) -> R) -> R {
        let now = self.now();
        let mut after = Aftermath::default();
        let mut state = self.lock();
        let result = event(&mut state.group, now);
        state.carry_out(&mut after);
        drop(state);
        after.wake.into_iter().for_each(Waker::wake);
        for (slot, outcome) in after.finish {
            slot.fill(outcome);
        }
        if let Some(up) = after.up {
            for key in &self.keys {
                (self.report)(if up { WorkerEvent::Up(*key) } else { WorkerEvent::Down(*key) });
            }
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Carries out the actions of the group as far as the lock must be held for it.
    fn carry_out(&mut self, after: &mut Aftermath) {
        while let Some(action) = self.group.poll_action() {
            match action {
                Action::Send { instance, id } => {
                    let Some(ticket) = self.group.ticket_mut(id) else { continue };
                    let line = std::mem::take(&mut ticket.line);
                    if let Some(feed) = self.feeds.get_mut(instance) {
                        feed.add_request(line, id);
                        after.wake.extend(feed.writer.take());
                    }
                }
                Action::Cancel { instance, id } => {
                    if let Some(feed) = self.feeds.get_mut(instance) {
                        feed.add_notice(id);
                        after.wake.extend(feed.writer.take());
                    }
                }
                Action::Finish { ticket, error } => after.finish.push((ticket.slot, Err(error))),
                Action::Kill { instance, why } => {
                    if let Some(broken) = self.feeds.get(instance).and_then(|f| f.broken.as_ref()) {
                        // Full means that its end has been asked for already.
                        let _ = broken.try_send(why);
                    }
                }
                Action::Up => after.up = Some(true),
                Action::Down => after.up = Some(false),
            }
        }
        let sooner = match (self.group.poll_timeout(), self.alarm.set_for) {
            (Some(next), Some(set_for)) => next < set_for,
            (next, None) => next.is_some(),
            (None, Some(_)) => false,
        };
        if sooner {
            after.wake.extend(self.alarm.sleeper.take());
        }
    }
}

impl Feed {
    fn add_request(&mut self, line: Vec<u8>, id: u64) {
        if self.bytes.is_empty() && line.len() > self.bytes.capacity() {
            self.bytes = line;
        } else {
            self.bytes.extend_from_slice(&line);
        }
        // Writing to a Vec does not fail.
        let _ = writeln!(self.bytes, "{id}}}");
    }

    fn add_notice(&mut self, id: u64) {
        let _ = writeln!(self.bytes, r#"{{"jsonrpc":"2.0","method":"$/cancel","params":{{"id":{id}}}}}"#);
    }
}

impl Slot {
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<Outcome> {
        let mut filling = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match filling.outcome.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                filling.caller = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn fill(&self, outcome: Outcome) {
        let caller = {
            let mut filling = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            filling.outcome = Some(outcome);
            filling.caller.take()
        };
        if let Some(caller) = caller {
            caller.wake();
        }
    }
}

/// The beginning of each request of a function.
fn head_of(name: &str) -> String {
    let name = serde_json::Value::from(name);
    format!(r#"{{"jsonrpc":"2.0","method":{name},"params":{{"args":"#)
}

/// A request up to its id, as one line: an end of line can stand only between the parts of a JSON document, where
/// a blank is as good.
fn line_of(head: &str, args: &str, kwargs: &str) -> Vec<u8> {
    let mut line = Vec::with_capacity(head.len() + args.len() + kwargs.len() + REST_BYTES);
    line.extend_from_slice(head.as_bytes());
    line.extend_from_slice(args.as_bytes());
    line.extend_from_slice(br#","kwargs":"#);
    line.extend_from_slice(kwargs.as_bytes());
    line.extend_from_slice(br#"},"id":"#);
    let mut from = 0;
    while let Some(at) = memchr2(b'\n', b'\r', &line[from..]) {
        from += at;
        line[from] = b' ';
    }
    line
}

/// Names the functions of a pool without filling the log line.
fn label_of(specs: &[&WorkerSpec]) -> String {
    let mut names: Vec<&str> = specs.iter().map(|s| s.name.as_str()).collect();
    names.dedup();
    let more = names.len().saturating_sub(NAMES_SHOWN_MAX);
    names.truncate(NAMES_SHOWN_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("worker of {}{more}", names.join(", "))
}

/// The members of a request besides head and arguments, with its id and its end.
const REST_BYTES: usize = 48;
const NAMES_SHOWN_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_line_of_json() {
        let line = line_of(&head_of("a \"name\""), "[1,\r\n \"two\\n\"]", "{\n}");
        let mut feed = Feed::default();
        feed.add_request(line, 77);
        feed.add_notice(78);
        let lines: Vec<serde_json::Value> =
            feed.bytes.split(|b| *b == b'\n').take(2).map(|l| serde_json::from_slice(l).unwrap()).collect();
        assert_eq!(feed.bytes.iter().filter(|b| **b == b'\n').count(), 2);
        assert_eq!(
            lines[0],
            serde_json::json!({"jsonrpc": "2.0", "method": "a \"name\"", "params": {"args": [1, "two\n"], "kwargs": {}}, "id": 77})
        );
        assert_eq!(
            lines[1],
            serde_json::json!({"jsonrpc": "2.0", "method": "$/cancel", "params": {"id": 78}})
        );
    }
}
