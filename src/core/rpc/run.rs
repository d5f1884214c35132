//! One request from its first command to its answer, as a state machine (client.md 2.5, 2.9, 2.10).
//!
//! [`Run::start`] and every event after it return a [`Step`]: commands to dispatch, nothing, or the answer. The
//! driver owns the frame and the request; what a run hands out is borrowed from them. The first failure ends the
//! request at once; what still runs may be cancelled. Time is only what the events say.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::core::error::{CallError, TIMED_OUT};
use crate::core::reason::Reason;
use crate::core::rpc::plan::Plan;
use crate::core::rpc::refs::{Filler, Finished};
use crate::core::rpc::text::listed;
use crate::core::rpc::version::Constraint;
use crate::core::time::Now;
use crate::wire::client::answer::ExecutionSummary;
use crate::wire::client::{Command, Publish, RpcRequest, write};
use crate::wire::json::{self, Json};

/// What one request may use up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// For the whole request; a client may ask for less.
    pub time_seconds: f64,
    /// For one answer, and for the arguments of one command once results are filled in.
    pub message_bytes_max: usize,
}

/// A request that is under way.
#[derive(Debug)]
pub struct Run<'r> {
    request: &'r RpcRequest<'r>,
    limits: Limits,
    plan: Plan,
    /// By index of command; empty if no command has a constraint.
    constraints: Vec<Option<Constraint>>,
    started: Duration,
    deadline: Duration,
    /// The time limit that is in force.
    limit_seconds: f64,
    level: usize,
    level_started: Duration,
    /// By index of command.
    states: Vec<State>,
    /// How many commands of the level are running.
    running: usize,
    /// Results of the levels before.
    finished: Finished<'r>,
    /// Results as they came; kept only where intermediate results are asked for.
    accumulated: Vec<(&'r str, Json)>,
    held_bytes: usize,
    intermediate: Vec<u8>,
    level_times_ms: Vec<f64>,
    commands_run: usize,
    cross_cluster_hops: usize,
    ended: bool,
}

/// What to do next.
#[derive(Debug)]
pub struct Step<'r> {
    /// To be published before anything else.
    pub progress: Option<Progress<'r>>,
    pub next: Next<'r>,
}

#[derive(Debug)]
pub enum Next<'r> {
    /// Run these commands side by side and report each with [`Run::completed`].
    Dispatch(Vec<Ready<'r>>),
    /// Commands are still running, or the answer was given before.
    Wait,
    Done(Answer<'r>),
}

/// A command with its arguments filled in.
#[derive(Debug)]
pub struct Ready<'r> {
    /// What [`Run::completed`] is told.
    pub index: usize,
    pub command: &'r Command<'r>,
    pub constraint: Option<Constraint>,
    pub args: Cow<'r, RawValue>,
    pub kwargs: Cow<'r, RawValue>,
}

/// The results of one level, for the topic that the client named.
#[derive(Debug)]
pub struct Progress<'r> {
    pub topic: &'r str,
    pub message_id: String,
    pub timestamp: f64,
    payload: Json,
}

/// The answer to a request.
#[derive(Debug)]
pub struct Answer<'r> {
    pub u: &'r str,
    pub outcome: Outcome<'r>,
    bytes_max: usize,
}

#[derive(Debug)]
pub enum Outcome<'r> {
    Results {
        r: Vec<(&'r str, Json)>,
        /// Elements of `intermediate_results`, separated by commas.
        intermediate: Vec<u8>,
        summary: Option<ExecutionSummary>,
    },
    Error(CallError),
}

/// How far a command has come.
#[derive(Debug, Clone)]
enum State {
    /// Its level has not begun, or another command of its name took its place.
    Idle,
    Running,
    /// Its result is here until its level ends.
    Ended(Json),
    Taken,
}

impl Limits {
    fn held_bytes_max(self) -> usize {
        self.message_bytes_max.saturating_mul(HELD_MESSAGES_MAX)
    }
}

impl<'r> Run<'r> {
    /// Begins a request: checks all of it, then dispatches its first level.
    pub fn start(request: &'r RpcRequest<'r>, limits: Limits, now: Now) -> (Run<'r>, Step<'r>) {
        let limit_seconds = request.timeout_seconds.unwrap_or(f64::INFINITY).min(limits.time_seconds);
        let mut run = Run {
            request,
            limits,
            plan: Plan::default(),
            constraints: Vec::new(),
            started: now.mono,
            deadline: now
                .mono
                .saturating_add(Duration::try_from_secs_f64(limit_seconds).unwrap_or(Duration::MAX)),
            limit_seconds,
            level: 0,
            level_started: now.mono,
            states: vec![State::Idle; request.commands.len()],
            running: 0,
            finished: Finished::new(),
            accumulated: Vec::new(),
            held_bytes: 0,
            intermediate: Vec::new(),
            level_times_ms: Vec::new(),
            commands_run: 0,
            cross_cluster_hops: 0,
            ended: false,
        };
        let step = match run.prepare() {
            Ok(()) => run.begin(0, now),
            Err(error) => run.fail(error),
        };
        (run, step)
    }

    /// A command ended. The first error of a request is its answer.
    pub fn completed(&mut self, index: usize, result: Result<Json, CallError>, now: Now) -> Step<'r> {
        let state = self.states.get_mut(index).filter(|state| matches!(state, State::Running));
        // A command that was given up, or is reported twice, changes nothing.
        let (Some(state), false) = (state, self.ended) else { return Step::wait() };
        let result = match result.and_then(checked) {
            Ok(result) => result,
            Err(error) => return self.fail(error),
        };
        self.held_bytes = self.held_bytes.saturating_add(result.as_bytes().len());
        *state = State::Ended(result.clone());
        self.running -= 1;
        self.commands_run += 1;
        if self.held_bytes > self.limits.held_bytes_max() {
            return self.fail(too_large(self.limits.message_bytes_max));
        }
        if self.request.return_intermediate_results
            && let Some(command) = self.request.commands.get(index)
        {
            self.accumulated.push((&command.name, result));
        }
        if self.running > 0 { Step::wait() } else { self.end_level(now) }
    }

    /// The driver's clock says `now`: past the deadline the request has failed, and the error names what still ran.
    pub fn expired(&mut self, now: Now) -> Step<'r> {
        if self.ended || now.mono < self.deadline {
            return Step::wait();
        }
        let error = self.time_limit();
        self.fail(error)
    }

    /// When [`Run::expired`] should be called, on the clock that does not jump.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Counts a command that was sent to another cluster.
    pub fn left_cluster(&mut self) {
        self.cross_cluster_hops += 1;
    }

    /// The commands that were dispatched and have not ended, for cancelling or explaining.
    pub fn running(&self) -> impl Iterator<Item = &'r Command<'r>> + '_ {
        let states = self.request.commands.iter().zip(&self.states);
        states.filter(|(_, state)| matches!(state, State::Running) && !self.ended).map(|(command, _)| command)
    }

    fn prepare(&mut self) -> Result<(), CallError> {
        let commands = &self.request.commands;
        self.plan = Plan::of(commands)?;
        if commands.iter().any(|command| command.version_constraint.is_some()) {
            let constraints = commands
                .iter()
                .map(|command| command.version_constraint.as_deref().map(Constraint::parse).transpose());
            self.constraints = constraints.collect::<Result<_, _>>().map_err(|bad| bad.error())?;
        }
        if self.callback_topic().is_some_and(|topic| topic.starts_with(RESERVED_TOPICS)) {
            let text =
                "intermediate_result_callback_topic must not begin with mpreg., which belongs to the nodes";
            return Err(CallError::failed(text).because(Reason::ReservedTopic));
        }
        Ok(())
    }

    /// The topic has no effect unless intermediate results are asked for.
    fn callback_topic(&self) -> Option<&'r str> {
        let topic = self.request.intermediate_result_callback_topic.as_deref();
        topic.filter(|_| self.request.return_intermediate_results)
    }

    fn begin(&mut self, level: usize, now: Now) -> Step<'r> {
        let ready = match self.ready(level) {
            Ok(ready) => ready,
            Err(error) => return self.fail(error),
        };
        for command in &ready {
            if let Some(state) = self.states.get_mut(command.index) {
                *state = State::Running;
            }
        }
        self.level = level;
        self.level_started = now.mono;
        self.running = ready.len();
        Step { progress: None, next: Next::Dispatch(ready) }
    }

    fn ready(&self, level: usize) -> Result<Vec<Ready<'r>>, CallError> {
        let max = self.limits.message_bytes_max;
        let mut filler = Filler::new(&self.finished, max, self.limits.held_bytes_max());
        let commands = self.plan.level(level).iter();
        let known = commands.filter_map(|&index| Some((index, self.request.commands.get(index)?)));
        known
            .map(|(index, command)| {
                let constraint = self.constraints.get(index).cloned().flatten();
                let (args, kwargs) = (filler.fill(command.args())?, filler.fill(command.kwargs())?);
                Ok(Ready { index, command, constraint, args, kwargs })
            })
            .collect()
    }

    fn end_level(&mut self, now: Now) -> Step<'r> {
        let elapsed_ms = millis(now.mono.saturating_sub(self.level_started));
        self.level_times_ms.push(elapsed_ms);
        let results = self.take_results();
        let progress = match self.record(&results, elapsed_ms, now) {
            Ok(progress) => progress,
            Err(error) => return self.fail(error),
        };
        let next_index = self.level + 1;
        let step = if next_index < self.plan.levels() {
            self.finished.extend(results);
            self.begin(next_index, now)
        } else {
            self.finish(results, now)
        };
        Step { progress, ..step }
    }

    fn take_results(&mut self) -> Vec<(&'r str, Json)> {
        let mut results = Vec::with_capacity(self.plan.level(self.level).len());
        for &index in self.plan.level(self.level) {
            let state = self.states.get_mut(index).map(|state| std::mem::replace(state, State::Taken));
            if let (Some(State::Ended(result)), Some(command)) = (state, self.request.commands.get(index)) {
                results.push((&*command.name, result));
            }
        }
        results
    }

    /// Keeps an entry of `intermediate_results` and makes a message of it, each only where asked for.
    fn record(
        &mut self,
        results: &[(&'r str, Json)],
        elapsed_ms: f64,
        now: Now,
    ) -> Result<Option<Progress<'r>>, CallError> {
        if !self.request.return_intermediate_results {
            return Ok(None);
        }
        // The entry repeats everything so far, so it alone is at least as large as the results are together.
        if self.intermediate.len().saturating_add(self.held_bytes) > self.limits.message_bytes_max {
            return Err(too_large(self.limits.message_bytes_max));
        }
        let entry = self.entry(results, elapsed_ms, now);
        if !self.intermediate.is_empty() {
            self.intermediate.push(b',');
        }
        self.intermediate.extend_from_slice(&entry);
        let Some(topic) = self.callback_topic() else { return Ok(None) };
        let payload = Json::parse(Bytes::from(entry))
            .map_err(|e| CallError::failed(format!("a result of this level is not JSON: {e}")))?;
        let message_id = format!("rpc_intermediate_{}_{}", self.request.u, self.level);
        Ok(Some(Progress { topic, message_id, timestamp: now.wall, payload }))
    }

    fn entry(&self, results: &[(&'r str, Json)], elapsed_ms: f64, now: Now) -> Vec<u8> {
        let mut out = b"{\"request_id\":".to_vec();
        json::push_text(&mut out, &self.request.u);
        out.extend_from_slice(b",\"level_index\":");
        json::push(&mut out, &self.level);
        out.extend_from_slice(b",\"level_results\":");
        write::object(&mut out, pieces(results));
        out.extend_from_slice(b",\"accumulated_results\":");
        write::object(&mut out, pieces(&self.accumulated));
        out.extend_from_slice(b",\"total_levels\":");
        json::push(&mut out, &self.plan.levels());
        out.extend_from_slice(b",\"completed_levels\":");
        json::push(&mut out, &(self.level + 1));
        out.extend_from_slice(b",\"timestamp\":");
        json::push_float(&mut out, now.wall);
        out.extend_from_slice(b",\"execution_time_ms\":");
        json::push_float(&mut out, elapsed_ms);
        out.push(b'}');
        out
    }

    fn finish(&mut self, r: Vec<(&'r str, Json)>, now: Now) -> Step<'r> {
        let summary = self.request.include_execution_summary.then(|| self.summary(now));
        let intermediate = std::mem::take(&mut self.intermediate);
        self.answer(Outcome::Results { r, intermediate, summary })
    }

    fn summary(&self, now: Now) -> ExecutionSummary {
        let times = &self.level_times_ms;
        let slowest = times.iter().copied().fold(0.0, f64::max);
        ExecutionSummary {
            request_id: self.request.u.clone().into_owned(),
            total_execution_time_ms: millis(now.mono.saturating_sub(self.started)),
            total_levels: self.plan.levels(),
            level_execution_times: times.clone(),
            bottleneck_level_index: times.iter().position(|&time| time == slowest).unwrap_or(0),
            average_level_time_ms: times.iter().sum::<f64>() / times.len().max(1) as f64,
            parallel_commands_executed: self.commands_run,
            cross_cluster_hops: self.cross_cluster_hops,
        }
    }

    fn time_limit(&self) -> CallError {
        let running = listed(self.running().map(|command| &*command.fun));
        CallError::new(
            TIMED_OUT,
            format!("RPC execution timed out after {:?} seconds", self.limit_seconds),
            Some(format!("The RPC workflow took too long to complete; still running: {running}")),
        )
        .because(Reason::DeadlinePassed)
    }

    fn fail(&mut self, error: CallError) -> Step<'r> {
        self.answer(Outcome::Error(error))
    }

    fn answer(&mut self, outcome: Outcome<'r>) -> Step<'r> {
        self.ended = true;
        let answer = Answer { u: &self.request.u, outcome, bytes_max: self.limits.message_bytes_max };
        Step { progress: None, next: Next::Done(answer) }
    }
}

impl Step<'_> {
    fn wait() -> Self {
        Step { progress: None, next: Next::Wait }
    }
}

impl Progress<'_> {
    /// The message for the topic; `publisher` is the name of this node.
    pub fn message<'p>(&'p self, publisher: &'p str) -> Publish<'p> {
        Publish {
            u: Cow::Borrowed(&self.message_id),
            topic: Cow::Borrowed(self.topic),
            payload: self.payload.as_raw(),
            timestamp: self.timestamp,
            message_id: Cow::Borrowed(&self.message_id),
            publisher: Cow::Borrowed(publisher),
            headers: serde_json::from_str(PROGRESS_HEADERS).ok(),
            routing_path: None,
            current_hop: None,
        }
    }
}

impl Answer<'_> {
    /// Appends the response document. Returns the error that it carries, if any: the one that ended the request, or
    /// that the results are larger than a message may be.
    pub fn write(&self, out: &mut Vec<u8>) -> Option<Cow<'_, CallError>> {
        let start = out.len();
        match &self.outcome {
            Outcome::Error(error) => {
                write::error(out, self.u, error);
                Some(Cow::Borrowed(error))
            }
            Outcome::Results { r, intermediate, summary } => {
                let summary = summary.as_ref().and_then(|summary| serde_json::to_vec(summary).ok());
                write::response(out, self.u, pieces(r), intermediate, summary.as_deref());
                if out.len() - start <= self.bytes_max {
                    return None;
                }
                out.truncate(start);
                let error = too_large(self.bytes_max);
                write::error(out, self.u, &error);
                Some(Cow::Owned(error))
            }
        }
    }
}

/// What it takes to answer a request of one command of which nothing but the result was asked: what is kept while it
/// runs elsewhere, instead of the request.
#[derive(Debug)]
pub struct Lone {
    u: Box<str>,
    name: Box<str>,
    bytes_max: usize,
}

impl Lone {
    /// `None` where the answer says more.
    pub fn of(request: &RpcRequest<'_>, limits: Limits) -> Option<Lone> {
        match request.commands.as_slice() {
            [command] if !request.return_intermediate_results && !request.include_execution_summary => {
                let (u, name) = (Box::from(&*request.u), Box::from(&*command.name));
                Some(Lone { u, name, bytes_max: limits.message_bytes_max })
            }
            _ => None,
        }
    }

    /// Appends what [`Run::completed`] and [`Answer::write`] make of this result, and returns the same error.
    pub fn answer(&self, result: Json, out: &mut Vec<u8>) -> Option<CallError> {
        let outcome = match checked(result) {
            Ok(result) => {
                Outcome::Results { r: vec![(&self.name, result)], intermediate: Vec::new(), summary: None }
            }
            Err(error) => Outcome::Error(error),
        };
        let answer = Answer { u: &self.u, outcome, bytes_max: self.bytes_max };
        answer.write(out).map(Cow::into_owned)
    }
}

/// A result that clients can read.
fn checked(result: Json) -> Result<Json, CallError> {
    if json::is_too_deep(result.as_bytes()) {
        let text = format!("a result is nested more than {} levels deep", json::DEPTH_MAX);
        return Err(CallError::failed(text));
    }
    Ok(result)
}

fn pieces<'p>(results: &'p [(&'p str, Json)]) -> impl Iterator<Item = (&'p str, &'p [u8])> {
    results.iter().map(|(name, result)| (*name, result.as_bytes()))
}

fn too_large(bytes_max: usize) -> CallError {
    CallError::failed(format!("the results are larger than {bytes_max} bytes, the limit of one message"))
        .because(Reason::ResultTooLarge)
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Results of all levels together, and the arguments of one level, may take up as much as this many messages of the
/// largest size.
const HELD_MESSAGES_MAX: usize = 4;
/// Topics of the nodes themselves (client.md 5.5).
const RESERVED_TOPICS: &str = "mpreg.";
const PROGRESS_HEADERS: &str = "{\"event\":\"rpc.intermediate_result\"}";

#[cfg(test)]
mod tests;
