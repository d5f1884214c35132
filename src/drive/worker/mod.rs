//! Functions served by worker processes: one JSON-RPC 2.0 message a line on stdin and stdout, in any language.
//!
//! Functions that agree in command, environment, user, instances, `in_flight_max` and restart back-off share their
//! processes; each keeps its own timeout. Every call ends: with the worker's answer, with an error that says why, or at its deadline. A
//! dropped call is taken back from the worker with a notice. Nothing here looks into arguments or results, blocks
//! a thread, or lets a worker's memory, output or end harm the node. The decisions are in `core::worker`.
//!
//! What a worker is told and has to do:
//! - A request is `{"jsonrpc":"2.0","method":"<function>","params":{"args":[..],"kwargs":{..}},"id":<number>}`.
//! - It answers one line, in any order, with the `id` and a `result` or an `error` with a `message`.
//! - `{"jsonrpc":"2.0","method":"$/cancel","params":{"id":<number>}}` says that nobody waits for that call any
//!   longer. It may be ignored; to answer it early frees the place that the call keeps.
//! - A worker whose every place of a function is taken by calls that ended at least ten seconds ago is stuck; it is
//!   killed and started again, as is one that closes its stdout or does not take a request.
//! - The end of stdin means that the node has gone, also by a crash or `kill -9`: end then.
//! - SIGTERM to its process group means the same; what is left after the node's grace is killed.
//! - Its environment is what was declared plus PATH, HOME, LANG, LC_ALL and TZ; it writes no core dumps and may
//!   open 1024 files unless it raises that itself.

mod instance;
mod pool;
mod process;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use serde_json::value::RawValue;
use smol::channel::{Receiver, Sender};
use smol::{Executor, Task};

use crate::core::error::CallError;
use crate::core::reason::Reason;
use crate::core::worker::Function;

use pool::{Pool, Slot};
use process::Command;
pub(in crate::drive) use process::INHERITED;

/// One declared function (cli-config.md 4.3).
#[derive(Debug, Clone)]
pub struct WorkerSpec {
    pub name: String,
    pub function_id: String,
    pub version: String,
    pub command: Vec<String>,
    /// Processes.
    pub instances: usize,
    /// Calls of this function that one process may have at a time.
    pub in_flight_max: usize,
    pub timeout: Duration,
    /// First wait before a process that ended is started again.
    pub restart_backoff: Duration,
    pub environment: BTreeMap<String, String>,
    pub user: Option<String>,
    /// Carried for whoever routes calls; a worker is never sent the same call twice.
    pub idempotent: bool,
}

/// Limits for all workers.
#[derive(Debug, Clone, Copy)]
pub struct WorkerLimits {
    /// Longest line that a worker may answer.
    pub message_bytes_max: usize,
    /// Calls of one function that may wait for a free place.
    pub waiting_max: usize,
}

/// A function by its place among the specs that `Workers::start` was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionKey(pub usize);

/// What happens besides the calls. Told in order; whoever is told must not block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerEvent {
    /// The function can be served: its first process runs.
    Up(FunctionKey),
    /// No process of the function runs any longer.
    Down(FunctionKey),
    /// To be counted. A reason within a `CallError` is its caller's to count and does not come here.
    Noted { reason: Reason, count: u64 },
}

/// How one function is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionHealth {
    pub key: FunctionKey,
    pub name: String,
    pub version: String,
    pub instances_running: usize,
    pub instances_wanted: usize,
    /// Calls that the processes work on.
    pub in_flight: usize,
    pub waiting: usize,
    pub calls: u64,
    /// Calls that ended with an error of any kind.
    pub failures: u64,
    /// Ends and failed starts of the processes that serve it.
    pub restarts: u64,
    pub last_exit: Option<String>,
}

/// All worker processes of the node.
///
/// Dropped without a `stop`, it kills them.
pub struct Workers {
    functions: Vec<Served>,
    pools: Vec<Arc<Pool>>,
    tasks: Mutex<Vec<Task<()>>>,
    stop: Sender<()>,
}

struct Served {
    spec: WorkerSpec,
    pool: Arc<Pool>,
    /// Place within the pool.
    place: usize,
}

impl Workers {
    /// Starts all processes; they are up a little later, as `report` tells. Calls may come at once.
    pub fn start(
        specs: Vec<WorkerSpec>,
        limits: WorkerLimits,
        executor: &Arc<Executor<'static>>,
        report: impl Fn(WorkerEvent) + Send + Sync + 'static,
    ) -> Workers {
        let report = Arc::new(report);
        let mut shared: BTreeMap<(Command, usize, usize, Duration), Vec<usize>> = BTreeMap::new();
        for (key, spec) in specs.iter().enumerate() {
            let alike = (Command::of(spec), spec.instances, spec.in_flight_max, spec.restart_backoff);
            shared.entry(alike).or_default().push(key);
        }
        let (stop, stopped) = smol::channel::bounded(1);
        let mut pools = Vec::new();
        let mut tasks = Vec::new();
        let mut places = BTreeMap::new();
        for ((command, instances, ..), keys) in shared {
            let members: Vec<&WorkerSpec> = keys.iter().map(|key| &specs[*key]).collect();
            let instances = instances.max(1);
            let pool = Arc::new(Pool::new(&keys, &members, command, instances, limits, report.clone()));
            for (place, key) in keys.iter().enumerate() {
                places.insert(*key, (pool.clone(), place));
            }
            tasks.push(executor.spawn(keep_time(pool.clone())));
            for index in 0..instances {
                let spawner = Arc::downgrade(executor);
                tasks.push(executor.spawn(instance::run(pool.clone(), index, spawner, stopped.clone())));
            }
            pools.push(pool);
        }
        let functions = specs
            .into_iter()
            .zip(places.into_values())
            .map(|(spec, (pool, place))| Served { spec, pool, place })
            .collect();
        Workers { functions, pools, tasks: Mutex::new(tasks), stop }
    }

    /// The function with this name, id and version.
    pub fn key(&self, name: &str, function_id: &str, version: &str) -> Option<FunctionKey> {
        let fits = |s: &WorkerSpec| s.name == name && s.function_id == function_id && s.version == version;
        self.functions.iter().position(|f| fits(&f.spec)).map(FunctionKey)
    }

    pub fn spec(&self, key: FunctionKey) -> Option<&WorkerSpec> {
        self.functions.get(key.0).map(|f| &f.spec)
    }

    /// Calls a function with `args` (a JSON array) and `kwargs` (a JSON object). The answer comes within `deadline`
    /// or the function's own timeout. Dropping the future takes the call back.
    pub fn call(&self, key: FunctionKey, args: &RawValue, kwargs: &RawValue, deadline: Duration) -> Call {
        match self.functions.get(key.0) {
            Some(f) => {
                let (id, slot) = f.pool.submit(f.place, args, kwargs, deadline);
                Call(Progress::Under { pool: f.pool.clone(), id, slot })
            }
            None => Call(Progress::Refused(
                CallError::failed("there is no such function").because(Reason::WorkerUnavailable),
            )),
        }
    }

    /// All functions, in the order of their specs.
    pub fn health(&self) -> Vec<FunctionHealth> {
        let health = |(key, f): (usize, &Served)| {
            f.pool.look(|group| {
                let state = group.state(f.place);
                FunctionHealth {
                    key: FunctionKey(key),
                    name: f.spec.name.clone(),
                    version: f.spec.version.clone(),
                    instances_running: group.running(),
                    instances_wanted: group.wanted(),
                    in_flight: state.in_flight,
                    waiting: state.waiting,
                    calls: state.calls,
                    failures: state.failures,
                    restarts: group.restarts(),
                    last_exit: group.last_exit().map(str::to_owned),
                }
            })
        };
        self.functions.iter().enumerate().map(health).collect()
    }

    /// Ends all processes: their stdin is closed and their process groups get SIGTERM; what still runs after
    /// `grace` is killed. Calls in flight fail with the end of their process, so finish those that matter before.
    pub async fn stop(&self, grace: Duration) {
        for pool in &self.pools {
            pool.stop(grace);
        }
        self.stop.close();
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(|e| e.into_inner()));
        for task in tasks {
            task.await;
        }
    }
}

/// A call under way.
#[must_use = "a call that is dropped is taken back"]
pub struct Call(Progress);

enum Progress {
    Under { pool: Arc<Pool>, id: u64, slot: Arc<Slot> },
    Refused(CallError),
    Over,
}

impl Future for Call {
    type Output = Result<Box<RawValue>, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = match &self.0 {
            Progress::Under { slot, .. } => match slot.poll(cx) {
                Poll::Ready(outcome) => outcome,
                Poll::Pending => return Poll::Pending,
            },
            Progress::Refused(error) => Err(error.clone()),
            Progress::Over => return Poll::Pending,
        };
        self.0 = Progress::Over;
        Poll::Ready(outcome)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Progress::Under { pool, id, .. } = &self.0 {
            pool.cancel(*id);
        }
    }
}

/// Waits for the deadlines of a pool until it stops.
async fn keep_time(pool: Arc<Pool>) {
    while pool.until_deadline().await {
        pool.handle_timeout();
    }
}

/// Resolves when the node stops its workers.
async fn stopping(stop: &Receiver<()>) {
    // Nothing is ever sent; the channel is closed.
    while stop.recv().await.is_ok() {}
}

/// The function as the core needs it.
fn function_of(spec: &WorkerSpec) -> Function {
    Function { name: spec.name.clone(), in_flight_max: spec.in_flight_max, timeout: spec.timeout }
}
