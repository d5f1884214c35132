//! The calls of all functions that share one command: which instance gets which call, who waits, and how each
//! call ends.
//!
//! A call is known by the number that the worker hands back. A call whose caller has given up keeps its place with
//! the instance until the instance answers, so that `in_flight_max` holds even for late workers; an instance whose
//! every place of a function is kept like that for long is stuck, and is to be started anew.
//! `T` is what the caller of this module keeps with a call: whom to tell, and the bytes to write.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::core::error::{CallError, TIMED_OUT};
use crate::core::reason::Reason;
use crate::core::time::Now;

use super::backoff::Backoff;

/// What the group must know of a function.
#[derive(Debug, Clone)]
pub struct Function {
    pub name: String,
    /// Calls that one instance may have at a time.
    pub in_flight_max: usize,
    /// Longest time from the call to its answer.
    pub timeout: Duration,
}

/// What is to be done, in this order.
#[derive(Debug, PartialEq)]
pub enum Action<T> {
    /// Write the call to the instance.
    Send { instance: usize, id: u64 },
    /// Tell the instance that nobody waits for the call any longer.
    Cancel { instance: usize, id: u64 },
    /// The call ended without an answer of a worker.
    Finish { ticket: T, error: CallError },
    /// End the process of the instance; it is of no use.
    Kill { instance: usize, why: String },
    /// The first instance runs.
    Up,
    /// No instance runs any longer.
    Down,
}

/// The present state of one function.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FunctionState {
    /// Calls that instances work on, also those whose caller has given up.
    pub in_flight: usize,
    pub waiting: usize,
    /// Calls ever made, also those that were refused.
    pub calls: u64,
    /// Calls that ended with an error of any kind.
    pub failures: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Group<T> {
    functions: Vec<Served>,
    instances: Vec<Instance>,
    calls: BTreeMap<u64, Call<T>>,
    /// When something is due for a call; every call has one alarm.
    alarms: BTreeSet<(Duration, u64)>,
    actions: VecDeque<Action<T>>,
    waiting_max: usize,
    last_id: u64,
    /// Where the search for a free instance starts, so that equals take turns.
    turn: usize,
    stopping: bool,
    restarts: u64,
    last_exit: Option<String>,
}

#[derive(Debug)]
struct Served {
    function: Function,
    /// Numbers grow, so the smallest came first.
    waiting: BTreeSet<u64>,
    calls: u64,
    failures: u64,
}

#[derive(Debug)]
struct Instance {
    phase: Phase,
    backoff: Backoff,
    /// Per function: places taken, and how many of them are kept for far too long.
    in_flight: Vec<usize>,
    overdue: Vec<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    Down { start_at: Duration, startable: bool },
    Starting,
    Running { since: Duration },
}

#[derive(Debug)]
struct Call<T> {
    function: usize,
    /// None while it waits.
    instance: Option<usize>,
    /// None when its caller has given up.
    ticket: Option<T>,
    alarm: Duration,
    /// The time it was given, for the text of its error.
    allowed: Duration,
    /// Given up so long ago that it speaks against the instance.
    overdue: bool,
}

impl<T> Group<T> {
    /// All instances are about to be started.
    pub fn new(
        functions: Vec<Function>,
        instances: usize,
        restart_backoff: Duration,
        waiting_max: usize,
    ) -> Group<T> {
        let count = functions.len();
        let instance = || Instance {
            phase: Phase::Starting,
            backoff: Backoff::new(restart_backoff),
            in_flight: vec![0; count],
            overdue: vec![0; count],
        };
        Group {
            functions: functions
                .into_iter()
                .map(|mut function| {
                    function.timeout = function.timeout.min(TIMEOUT_MAX);
                    Served { function, waiting: BTreeSet::new(), calls: 0, failures: 0 }
                })
                .collect(),
            instances: (0..instances.max(1)).map(|_| instance()).collect(),
            calls: BTreeMap::new(),
            alarms: BTreeSet::new(),
            actions: VecDeque::new(),
            waiting_max,
            last_id: 0,
            turn: 0,
            stopping: false,
            restarts: 0,
            last_exit: None,
        }
    }

    /// A call, to be answered within `allowed` or the function's own timeout, whichever is shorter. Returns its
    /// number; what becomes of it is told by actions.
    pub fn submit(&mut self, now: Now, function: usize, allowed: Duration, ticket: T) -> u64 {
        self.last_id += 1;
        let id = self.last_id;
        let Some(served) = self.functions.get_mut(function) else {
            let error = CallError::failed("there is no such function").because(Reason::WorkerUnavailable);
            self.actions.push_back(Action::Finish { ticket, error });
            return id;
        };
        served.calls += 1;
        let allowed = allowed.min(served.function.timeout);
        let deadline = now.mono + allowed;
        let instance = if self.stopping { None } else { self.free_instance(function) };
        if instance.is_none() {
            if let Some(error) = self.refusal(now, function, deadline) {
                self.finish(function, Some(ticket), error);
                return id;
            }
            self.functions[function].waiting.insert(id);
        }
        let ticket = Some(ticket);
        let call = Call { function, instance: None, ticket, alarm: deadline, allowed, overdue: false };
        self.calls.insert(id, call);
        self.alarms.insert((deadline, id));
        if let Some(instance) = instance {
            self.assign(id, function, instance);
        }
        id
    }

    /// An instance answered. Returns the ticket of the call, or None when no call of that instance has the number
    /// or its caller has given up.
    pub fn answered(&mut self, instance: usize, id: u64, failed: bool) -> Option<T> {
        let call = self.calls.get(&id).filter(|c| c.instance == Some(instance))?;
        let function = call.function;
        let call = self.remove(id)?;
        if failed && call.ticket.is_some() {
            self.functions[function].failures += 1;
        }
        self.fill(function);
        call.ticket
    }

    /// The caller gave up.
    pub fn cancel(&mut self, id: u64) {
        let Some(call) = self.calls.get(&id) else { return };
        if call.instance.is_none() {
            self.remove(id);
        } else if call.ticket.is_some() {
            self.abandon(id);
        }
    }

    /// What is kept with a call that is still expected.
    pub fn ticket_mut(&mut self, id: u64) -> Option<&mut T> {
        self.calls.get_mut(&id)?.ticket.as_mut()
    }

    pub fn function_of(&self, id: u64) -> Option<&Function> {
        Some(&self.functions[self.calls.get(&id)?.function].function)
    }

    /// The process of an instance is being started.
    pub fn instance_starting(&mut self, instance: usize) {
        self.instances[instance].phase = Phase::Starting;
    }

    pub fn instance_up(&mut self, now: Now, instance: usize) {
        self.instances[instance].phase = Phase::Running { since: now.mono };
        if self.running() == 1 {
            self.actions.push_back(Action::Up);
        }
        for function in 0..self.functions.len() {
            self.fill(function);
        }
    }

    /// The process of an instance ended, `how` as in `exited with status 3`. Its calls fail. Returns how long to wait
    /// before it is started again.
    pub fn instance_down(&mut self, now: Now, instance: usize, how: &str) -> Duration {
        let Phase::Running { since } = self.instances[instance].phase else { return Duration::ZERO };
        let wait = self.instances[instance].backoff.ended(now.mono.saturating_sub(since));
        self.fell(instance, Phase::Down { start_at: now.mono + wait, startable: true }, how);
        if self.running() == 0 {
            self.actions.push_back(Action::Down);
        }
        self.refuse_waiting(now);
        wait
    }

    /// The process of an instance could not be started at all. Returns how long to wait before the next try.
    pub fn instance_refused(&mut self, now: Now, instance: usize, how: &str) -> Duration {
        let wait = self.instances[instance].backoff.ended(Duration::ZERO);
        self.fell(instance, Phase::Down { start_at: now.mono + wait, startable: false }, how);
        self.refuse_waiting(now);
        wait
    }

    /// No further calls are taken, and those that wait end.
    pub fn stop(&mut self) {
        self.stopping = true;
        for function in 0..self.functions.len() {
            for id in std::mem::take(&mut self.functions[function].waiting) {
                if let Some(call) = self.calls.remove(&id) {
                    self.alarms.remove(&(call.alarm, id));
                    self.finish(function, call.ticket, self.stopped());
                }
            }
        }
    }

    /// Ends the calls whose time is over.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some((at, id)) = self.alarms.first().copied().filter(|(at, _)| *at <= now.mono) {
            self.alarms.remove(&(at, id));
            let Some(call) = self.calls.get_mut(&id) else { continue };
            let (function, instance, allowed) = (call.function, call.instance, call.allowed);
            match (call.ticket.take(), instance) {
                (Some(ticket), Some(_)) => {
                    self.abandon_from(id, at);
                    let error = self.too_late(function, allowed, "did not answer");
                    self.finish(function, Some(ticket), error);
                }
                (ticket @ Some(_), None) => {
                    self.functions[function].waiting.remove(&id);
                    self.calls.remove(&id);
                    let error = self.too_late(function, allowed, "had no free worker");
                    self.finish(function, ticket, error);
                }
                (None, Some(instance)) => {
                    call.overdue = true;
                    self.overdue(function, instance);
                }
                (None, None) => {}
            }
        }
    }

    /// When `handle_timeout` is due.
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.alarms.first().map(|(at, _)| *at)
    }

    pub fn poll_action(&mut self) -> Option<Action<T>> {
        self.actions.pop_front()
    }

    /// Instances whose process runs.
    pub fn running(&self) -> usize {
        self.instances.iter().filter(|i| matches!(i.phase, Phase::Running { .. })).count()
    }

    pub fn wanted(&self) -> usize {
        self.instances.len()
    }

    /// How often a process ended or could not be started, outside a stop.
    pub fn restarts(&self) -> u64 {
        self.restarts
    }

    pub fn last_exit(&self) -> Option<&str> {
        self.last_exit.as_deref()
    }

    pub fn state(&self, function: usize) -> FunctionState {
        let Some(served) = self.functions.get(function) else { return FunctionState::default() };
        FunctionState {
            in_flight: self.instances.iter().map(|i| i.in_flight[function]).sum(),
            waiting: served.waiting.len(),
            calls: served.calls,
            failures: served.failures,
        }
    }

    /// The instance with the fewest calls of this function that may have one more.
    fn free_instance(&mut self, function: usize) -> Option<usize> {
        let count = self.instances.len();
        let max = self.functions[function].function.in_flight_max.max(1);
        let best = (0..count)
            .map(|i| (self.turn + i) % count)
            .filter(|i| matches!(self.instances[*i].phase, Phase::Running { .. }))
            .min_by_key(|i| self.instances[*i].in_flight[function])
            .filter(|i| self.instances[*i].in_flight[function] < max)?;
        self.turn = (best + 1) % count;
        Some(best)
    }

    fn assign(&mut self, id: u64, function: usize, instance: usize) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.instance = Some(instance);
            self.instances[instance].in_flight[function] += 1;
            self.actions.push_back(Action::Send { instance, id });
        }
    }

    /// Gives waiting calls to instances that have room.
    fn fill(&mut self, function: usize) {
        while !self.functions[function].waiting.is_empty() {
            let Some(instance) = self.free_instance(function) else { return };
            let Some(id) = self.functions[function].waiting.pop_first() else { return };
            self.assign(id, function, instance);
        }
    }

    /// Why a call that nobody can take now may not wait either.
    fn refusal(&self, now: Now, function: usize, deadline: Duration) -> Option<CallError> {
        let served = &self.functions[function];
        if self.stopping {
            return Some(self.stopped());
        }
        if !self.may_wait(now, deadline) {
            return Some(self.unavailable(function));
        }
        (served.waiting.len() >= self.waiting_max).then(|| {
            CallError::failed(format!("{} calls wait for {} already", self.waiting_max, served.function.name))
                .because(Reason::PendingCallsLimit)
        })
    }

    /// Whether an instance runs, or will soon enough for a call that must end at `deadline`.
    fn may_wait(&self, now: Now, deadline: Duration) -> bool {
        self.instances.iter().any(|i| match i.phase {
            Phase::Running { .. } | Phase::Starting => true,
            Phase::Down { start_at, startable } => {
                startable && start_at < deadline && start_at <= now.mono + START_WAIT_MAX
            }
        })
    }

    fn refuse_waiting(&mut self, now: Now) {
        for function in 0..self.functions.len() {
            let hopeless: Vec<u64> = self.functions[function]
                .waiting
                .iter()
                .copied()
                .filter(|id| !self.calls.get(id).is_some_and(|c| self.may_wait(now, c.alarm)))
                .collect();
            for id in hopeless {
                if let Some(call) = self.remove(id) {
                    self.finish(function, call.ticket, self.unavailable(function));
                }
            }
        }
    }

    /// Common to every end of an instance.
    fn fell(&mut self, instance: usize, phase: Phase, how: &str) {
        self.instances[instance].phase = phase;
        self.last_exit = Some(how.to_owned());
        if !self.stopping {
            self.restarts += 1;
        }
        let lost: Vec<u64> =
            self.calls.iter().filter(|(_, c)| c.instance == Some(instance)).map(|(id, _)| *id).collect();
        for id in lost {
            let Some(call) = self.remove(id) else { continue };
            let error = if self.stopping {
                self.stopped()
            } else {
                let name = &self.functions[call.function].function.name;
                CallError::failed(format!("worker of {name} {how}")).because(Reason::WorkerFailed)
            };
            self.finish(call.function, call.ticket, error);
        }
        // Calls that were still in the queue of actions went with the process.
        self.actions.retain(|a| match a {
            Action::Send { instance: i, .. } | Action::Cancel { instance: i, .. } => *i != instance,
            Action::Kill { instance: i, .. } => *i != instance,
            _ => true,
        });
    }

    fn remove(&mut self, id: u64) -> Option<Call<T>> {
        let call = self.calls.remove(&id)?;
        self.alarms.remove(&(call.alarm, id));
        match call.instance {
            Some(i) => {
                self.instances[i].in_flight[call.function] -= 1;
                self.instances[i].overdue[call.function] -= usize::from(call.overdue);
            }
            None => {
                self.functions[call.function].waiting.remove(&id);
            }
        }
        Some(call)
    }

    fn finish(&mut self, function: usize, ticket: Option<T>, error: CallError) {
        if let Some(ticket) = ticket {
            self.functions[function].failures += 1;
            self.actions.push_back(Action::Finish { ticket, error });
        }
    }

    /// Keeps the place of a call whose caller has gone, and sets the alarm by which it must be answered.
    fn abandon(&mut self, id: u64) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.ticket = None;
            let deadline = call.alarm;
            self.alarms.remove(&(deadline, id));
            self.abandon_from(id, deadline);
        }
    }

    fn abandon_from(&mut self, id: u64, deadline: Duration) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let patience = self.functions[call.function].function.timeout.max(PATIENCE_MIN);
        call.alarm = deadline + patience;
        self.alarms.insert((call.alarm, id));
        if let Some(instance) = call.instance {
            self.actions.push_back(Action::Cancel { instance, id });
        }
    }

    /// A call that was given up long ago is still not answered.
    fn overdue(&mut self, function: usize, instance: usize) {
        let max = self.functions[function].function.in_flight_max.max(1);
        let name = &self.functions[function].function.name;
        let state = &mut self.instances[instance];
        state.overdue[function] += 1;
        if state.overdue[function] == max {
            let why = format!("was ended because it answered none of {max} calls of {name}");
            self.actions.push_back(Action::Kill { instance, why });
        }
    }

    fn too_late(&self, function: usize, allowed: Duration, what: &str) -> CallError {
        let name = &self.functions[function].function.name;
        let seconds = allowed.as_secs_f64();
        CallError::new(
            TIMED_OUT,
            format!("RPC execution timed out after {seconds:?} seconds"),
            Some(format!("{name} {what} within {seconds:?} seconds")),
        )
        .because(Reason::DeadlinePassed)
    }

    fn unavailable(&self, function: usize) -> CallError {
        let name = &self.functions[function].function.name;
        let text = match &self.last_exit {
            Some(how) => format!("no worker of {name} runs: it {how}"),
            None => format!("no worker of {name} runs"),
        };
        CallError::failed(text).because(Reason::WorkerUnavailable)
    }

    fn stopped(&self) -> CallError {
        CallError::failed("the node is stopping").because(Reason::Stopping)
    }
}

/// As good as no limit, and far from where sums of durations overflow.
const TIMEOUT_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
/// How soon a restart must be due for a call to wait for it: longer, and the caller is better off knowing.
const START_WAIT_MAX: Duration = Duration::from_secs(2);
/// How long past its deadline an answer may come, at least, before the instance counts as stuck.
const PATIENCE_MIN: Duration = Duration::from_secs(10);

#[cfg(test)]
#[path = "group_tests.rs"]
mod tests;
