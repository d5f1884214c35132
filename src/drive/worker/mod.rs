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
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use serde_json::value::RawValue;
use smol::channel::{Receiver, Sender};
use smol::{Executor, Task, Timer};

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

/// Names a function from the moment it is declared until it is not any more; never used twice. Those of the start are
/// numbered in the order of their specs.
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
    serving: ArcSwap<Serving>,
    limits: WorkerLimits,
    executor: Weak<Executor<'static>>,
    report: Arc<dyn Fn(WorkerEvent) + Send + Sync>,
    next_key: AtomicUsize,
    /// Held while the functions change.
    revising: Mutex<()>,
    /// The ends of processes that serve nothing any more.
    retiring: Mutex<Vec<(Arc<Processes>, Task<()>)>>,
}

/// What is served at one time.
#[derive(Default)]
struct Serving {
    functions: BTreeMap<FunctionKey, Served>,
    /// In the order of the specs.
    order: Vec<FunctionKey>,
    processes: Vec<Arc<Processes>>,
}

#[derive(Clone)]
struct Served {
    spec: WorkerSpec,
    processes: Arc<Processes>,
    /// Place within the pool.
    place: usize,
}

/// A pool with the tasks that keep its processes.
struct Processes {
    alike: Alike,
    members: Vec<Member>,
    pool: Arc<Pool>,
    tasks: Mutex<Vec<Task<()>>>,
    stop: Sender<()>,
}

/// Functions that agree in these share processes: command, instances, calls in flight, and the wait before a restart.
type Alike = (Command, usize, usize, Duration);
/// What a pool knows of a function, in the order of its places.
type Member = (String, Duration);

impl Workers {
    /// Starts all processes; they are up a little later, as `report` tells. Calls may come at once.
    pub fn start(
        specs: Vec<WorkerSpec>,
        limits: WorkerLimits,
        executor: &Arc<Executor<'static>>,
        report: impl Fn(WorkerEvent) + Send + Sync + 'static,
    ) -> Workers {
        let workers = Workers {
            serving: ArcSwap::default(),
            limits,
            executor: Arc::downgrade(executor),
            report: Arc::new(report),
            next_key: AtomicUsize::new(0),
            revising: Mutex::new(()),
            retiring: Mutex::default(),
        };
        workers.revise(specs);
        workers
    }

    /// Serves these functions from now on. Processes that serve the same as before go on; new ones are started, and take
    /// calls at once; those that serve nothing any more finish the calls that they have and are ended.
    pub fn revise(&self, specs: Vec<WorkerSpec>) {
        let _revising = self.revising.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.serving.load_full();
        let mut shared: BTreeMap<Alike, Vec<usize>> = BTreeMap::new();
        for (place, spec) in specs.iter().enumerate() {
            let alike = (Command::of(spec), spec.instances.max(1), spec.in_flight_max, spec.restart_backoff);
            shared.entry(alike).or_default().push(place);
        }
        // Which processes serve a spec, and as what.
        let mut served: Vec<Option<(Arc<Processes>, usize, FunctionKey)>> = vec![None; specs.len()];
        let mut after = Serving::default();
        let first_key = self.next_key.load(Relaxed);
        for (alike, places) in shared {
            let members: Vec<&WorkerSpec> = places.iter().filter_map(|place| specs.get(*place)).collect();
            let names: Vec<Member> = members.iter().map(|s| (s.name.clone(), s.timeout)).collect();
            let kept = before.processes.iter().find(|p| p.alike == alike && p.members == names);
            let (processes, keys) = match kept {
                Some(kept) => (kept.clone(), before.keys_of(kept)),
                None => {
                    let keys: Vec<FunctionKey> =
                        places.iter().map(|place| FunctionKey(first_key + place)).collect();
                    (self.begin(alike, names, &members, &keys), keys)
                }
            };
            for ((member, place), key) in places.iter().enumerate().zip(keys) {
                if let Some(served) = served.get_mut(*place) {
                    *served = Some((processes.clone(), member, key));
                }
            }
            after.processes.push(processes);
        }
        self.next_key.fetch_add(specs.len(), Relaxed);
        for (spec, served) in specs.into_iter().zip(served) {
            let Some((processes, place, key)) = served else { continue };
            after.order.push(key);
            after.functions.insert(key, Served { spec, processes, place });
        }
        let gone = before.processes.iter().filter(|p| !after.processes.iter().any(|q| Arc::ptr_eq(p, q)));
        let gone: Vec<Arc<Processes>> = gone.cloned().collect();
        self.serving.store(Arc::new(after));
        for processes in gone {
            self.retire(processes);
        }
    }

    /// Starts the processes of a pool.
    fn begin(
        &self,
        alike: Alike,
        members: Vec<Member>,
        specs: &[&WorkerSpec],
        keys: &[FunctionKey],
    ) -> Arc<Processes> {
        let (stop, stopped) = smol::channel::bounded(1);
        let (command, instances) = (alike.0.clone(), alike.1);
        let pool = Arc::new(Pool::new(keys, specs, command, instances, self.limits, self.report.clone()));
        let mut tasks = Vec::new();
        if let Some(executor) = self.executor.upgrade() {
            tasks.push(executor.spawn(keep_time(pool.clone())));
            for index in 0..instances {
                let life = instance::run(pool.clone(), index, self.executor.clone(), stopped.clone());
                tasks.push(executor.spawn(life));
            }
        }
        Arc::new(Processes { alike, members, pool, tasks: Mutex::new(tasks), stop })
    }

    /// Ends processes once nobody waits for them.
    fn retire(&self, processes: Arc<Processes>) {
        let Some(executor) = self.executor.upgrade() else { return };
        let ending = processes.clone();
        let patience = ending.members.iter().map(|(_, timeout)| *timeout).max().unwrap_or_default();
        let task = executor.spawn(async move {
            let idle = async {
                while ending.is_busy() {
                    Timer::after(RETIRE_LOOK).await;
                }
            };
            smol::future::or(idle, async {
                Timer::after(patience).await;
            })
            .await;
            ending.end(RETIRE_GRACE).await;
        });
        let mut retiring = self.retiring.lock().unwrap_or_else(PoisonError::into_inner);
        retiring.retain(|(_, task)| !task.is_finished());
        retiring.push((processes, task));
    }

    /// The function with this name, id and version.
    pub fn key(&self, name: &str, function_id: &str, version: &str) -> Option<FunctionKey> {
        let fits = |s: &WorkerSpec| s.name == name && s.function_id == function_id && s.version == version;
        let serving = self.serving.load();
        serving.functions.iter().find(|(_, f)| fits(&f.spec)).map(|(key, _)| *key)
    }

    /// Calls a function with `args` (a JSON array) and `kwargs` (a JSON object). The answer comes within `deadline`
    /// or the function's own timeout. Dropping the future takes the call back.
    pub fn call(&self, key: FunctionKey, args: &RawValue, kwargs: &RawValue, deadline: Duration) -> Call {
        match self.serving.load().functions.get(&key) {
            Some(f) => {
                let pool = f.processes.pool.clone();
                let (id, slot) = pool.submit(f.place, args, kwargs, deadline);
                Call(Progress::Under { pool, id, slot })
            }
            None => Call(Progress::Refused(
                CallError::failed("there is no such function").because(Reason::WorkerUnavailable),
            )),
        }
    }

    /// All functions, in the order of their specs.
    pub fn health(&self) -> Vec<FunctionHealth> {
        let serving = self.serving.load();
        let health = |key: &FunctionKey| {
            let f = serving.functions.get(key)?;
            Some(f.processes.pool.look(|group| {
                let state = group.state(f.place);
                FunctionHealth {
                    key: *key,
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
            }))
        };
        serving.order.iter().filter_map(health).collect()
    }

    /// Ends all processes: their stdin is closed and their process groups get SIGTERM; what still runs after
    /// `grace` is killed. Calls in flight fail with the end of their process, so finish those that matter before.
    pub async fn stop(&self, grace: Duration) {
        let retiring = std::mem::take(&mut *self.retiring.lock().unwrap_or_else(PoisonError::into_inner));
        let mut all = self.serving.load_full().processes.clone();
        // Their own end is as good, and later.
        all.extend(retiring.into_iter().map(|(processes, _ends_with_this)| processes));
        for processes in &all {
            processes.pool.stop(grace);
            processes.stop.close();
        }
        for processes in &all {
            processes.ended().await;
        }
    }
}

impl Serving {
    /// Of the functions of a pool, in the order of their places.
    fn keys_of(&self, processes: &Arc<Processes>) -> Vec<FunctionKey> {
        let own = self.functions.iter().filter(|(_, f)| Arc::ptr_eq(&f.processes, processes));
        let mut own: Vec<(usize, FunctionKey)> = own.map(|(key, f)| (f.place, *key)).collect();
        own.sort_unstable();
        own.into_iter().map(|(_, key)| key).collect()
    }
}

impl Processes {
    fn is_busy(&self) -> bool {
        let places = 0..self.members.len();
        self.pool.look(|group| {
            places.clone().any(|place| {
                let state = group.state(place);
                state.in_flight + state.waiting > 0
            })
        })
    }

    async fn end(&self, grace: Duration) {
        self.pool.stop(grace);
        self.stop.close();
        self.ended().await;
    }

    async fn ended(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
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

/// How often processes that serve nothing any more are looked at, whether their last call has ended.
const RETIRE_LOOK: Duration = Duration::from_millis(20);
/// Until a process is killed that was told to end because nothing is wanted of it.
const RETIRE_GRACE: Duration = Duration::from_secs(3);
