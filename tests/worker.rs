//! Functions served by real worker processes: calls, limits, faults, restarts, stop.

// Those are for the core only, see `clippy.toml`.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use mpreg::core::error::{CallError, FAILED, TIMED_OUT};
use mpreg::core::reason::Reason;
use mpreg::drive::worker::{Call, FunctionKey, WorkerEvent, WorkerLimits, WorkerSpec, Workers};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use smol::{Executor, Timer};

/// Workers under test and what they reported.
struct Bench {
    workers: Workers,
    events: Arc<Mutex<Vec<WorkerEvent>>>,
}

impl Bench {
    fn begin(&self, key: usize, args: Value) -> Call {
        begin(&self.workers, key, args, DEADLINE)
    }

    async fn call(&self, key: usize, args: Value) -> Result<Value, CallError> {
        self.begin(key, args).await.map(|r| serde_json::from_str(r.get()).unwrap())
    }

    async fn value(&self, key: usize, args: Value) -> Value {
        self.call(key, args).await.unwrap()
    }

    async fn error(&self, key: usize, args: Value) -> CallError {
        self.call(key, args).await.unwrap_err()
    }

    fn noted(&self, wanted: Reason) -> u64 {
        let noted = |e: &WorkerEvent| match e {
            WorkerEvent::Noted { reason, count } if *reason == wanted => *count,
            _ => 0,
        };
        self.events.lock().unwrap().iter().map(noted).sum()
    }

    fn happened(&self, event: WorkerEvent) -> usize {
        self.events.lock().unwrap().iter().filter(|e| **e == event).count()
    }

    fn in_flight(&self, key: usize) -> usize {
        self.workers.health()[key].in_flight
    }
}

/// Runs a test against workers, which must all be gone after it.
fn with<F: Future<Output = ()>>(specs: Vec<WorkerSpec>, test: impl FnOnce(Arc<Bench>) -> F) {
    with_limits(specs, WorkerLimits { message_bytes_max: 16 << 20, waiting_max: 1000 }, test)
}

fn with_limits<F: Future<Output = ()>>(
    specs: Vec<WorkerSpec>,
    limits: WorkerLimits,
    test: impl FnOnce(Arc<Bench>) -> F,
) {
    log_lines();
    let executor = Arc::new(Executor::new());
    smol::block_on(executor.run(async {
        let events = Arc::new(Mutex::new(Vec::new()));
        let told = events.clone();
        let workers = Workers::start(specs, limits, &executor, move |e| told.lock().unwrap().push(e));
        let bench = Arc::new(Bench { workers, events });
        let over = async {
            Timer::after(TEST_TIME_MAX).await;
            panic!("the test hangs: {:?}", bench.workers.health());
        };
        smol::future::or(test(bench.clone()), over).await;
        bench.workers.stop(Duration::from_secs(5)).await;
        assert!(bench.workers.health().iter().all(|h| h.instances_running == 0));
    }));
}

fn spec(name: &str, command: &[&str]) -> WorkerSpec {
    WorkerSpec {
        name: name.into(),
        function_id: name.into(),
        version: "1.0.0".into(),
        command: command.iter().map(|c| (*c).to_owned()).collect(),
        instances: 1,
        in_flight_max: 64,
        timeout: Duration::from_secs(20),
        restart_backoff: Duration::from_millis(50),
        environment: BTreeMap::new(),
        user: None,
        idempotent: false,
    }
}

/// A function of `fixture.py`; `kind` sets the processes of different functions apart.
fn python(name: &str, kind: &str) -> WorkerSpec {
    spec(name, &["python3", "-u", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/worker/fixture.py"), kind])
}

fn shell(name: &str, script: &str) -> WorkerSpec {
    spec(name, &["/bin/sh", "-c", script])
}

fn begin(workers: &Workers, key: usize, args: Value, deadline: Duration) -> Call {
    let kwargs = RawValue::from_string("{}".into()).unwrap();
    workers.call(FunctionKey(key), &to_raw_value(&args).unwrap(), &kwargs, deadline)
}

async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < Duration::from_secs(15), "never: {what}");
        Timer::after(Duration::from_millis(5)).await;
    }
}

fn text(error: &CallError) -> &str {
    error.details.as_ref().and_then(Value::as_str).unwrap_or_default()
}

fn runs(pid: &Value) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // A zombie that nobody reaps yet does not run.
    stat.rsplit(')').next().is_some_and(|s| !s.is_empty() && !s.trim_start().starts_with('Z'))
}

/// All log lines of this test program so far.
fn log_lines() -> Vec<String> {
    struct Collect(Mutex<Vec<String>>);
    impl log::Log for Collect {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &log::Record<'_>) {
            self.0.lock().unwrap().push(format!("{} {}", record.level(), record.args()));
        }
        fn flush(&self) {}
    }
    static LOG: OnceLock<&'static Collect> = OnceLock::new();
    let log = LOG.get_or_init(|| {
        let log: &'static Collect = Box::leak(Box::new(Collect(Mutex::new(Vec::new()))));
        log::set_logger(log).unwrap();
        log::set_max_level(log::LevelFilter::Debug);
        log
    });
    log.0.lock().unwrap().clone()
}

fn logged(words: &[&str]) -> usize {
    log_lines().iter().filter(|l| words.iter().all(|w| l.contains(w))).count()
}

const DEADLINE: Duration = Duration::from_secs(20);
const TEST_TIME_MAX: Duration = Duration::from_secs(40);

// --- calls -----------------------------------------------------------------------------------------------------

#[test]
fn arguments_reach_the_worker_and_the_result_comes_back() {
    with(vec![python("t.calls", "calls")], |b| async move {
        let args = json!(["echo", 1, "zwei ☃\n\u{2028}", null, {"four": [4.5]}, i64::MIN]);
        let kwargs = RawValue::from_string("{\r\n  \"k\": [\n1]\n}".into()).unwrap();
        let r =
            b.workers.call(FunctionKey(0), &to_raw_value(&args).unwrap(), &kwargs, DEADLINE).await.unwrap();
        let r: Value = serde_json::from_str(r.get()).unwrap();
        assert_eq!(r["args"].as_array().unwrap()[..], args.as_array().unwrap()[1..]);
        assert_eq!(r["kwargs"], json!({"k": [1]}));
        assert_eq!(b.value(0, json!([])).await, "t.calls");
        assert_eq!(b.value(0, json!(["release"])).await, Value::Null);
        assert_eq!(b.happened(WorkerEvent::Up(FunctionKey(0))), 1);
        let health = &b.workers.health()[0];
        assert_eq!((health.calls, health.failures, health.instances_running, health.in_flight), (3, 0, 1, 0));
        assert_eq!(b.workers.key("t.calls", "t.calls", "1.0.0"), Some(FunctionKey(0)));
        assert_eq!(b.workers.key("t.calls", "t.calls", "2.0.0"), None);
    });
}

#[test]
fn functions_come_and_go_and_processes_that_serve_the_same_go_on() {
    let gone = WorkerSpec { timeout: Duration::from_secs(1), ..python("t.gone", "gone") };
    with(vec![python("t.kept", "kept"), gone], |b| async move {
        let pid = b.value(0, json!(["pid"])).await;
        let held = b.begin(1, json!(["hold"]));
        eventually("a call", async || b.in_flight(1) == 1).await;
        let kept = WorkerSpec { version: "2.0.0".into(), ..python("t.kept", "kept") };
        b.workers.revise(vec![python("t.new", "new"), kept.clone()]);
        let health = b.workers.health();
        let names: Vec<&str> = health.iter().map(|h| h.name.as_str()).collect();
        assert_eq!((names, health[1].version.as_str()), (vec!["t.new", "t.kept"], "2.0.0"));
        assert_eq!(b.workers.key("t.kept", "t.kept", "2.0.0"), Some(FunctionKey(0)));
        assert_eq!(b.value(0, json!(["pid"])).await, pid);
        let new = b.workers.key("t.new", "t.new", "1.0.0").unwrap().0;
        assert!(new > 1, "a key is never used twice");
        assert_eq!(b.value(new, json!([])).await, "t.new");
        assert_eq!(b.error(1, json!([])).await.reason, Some(Reason::WorkerUnavailable));
        // The last call of the one that has gone keeps its process, at most for the time that it may take.
        assert_eq!(b.happened(WorkerEvent::Down(FunctionKey(1))), 0);
        drop(held);
        eventually("the end of the process", async || b.happened(WorkerEvent::Down(FunctionKey(1))) == 1)
            .await;
        // Another command under the same name is another process; both answer while they change places.
        b.workers.revise(vec![python("t.kept", "other")]);
        let other = b.workers.key("t.kept", "t.kept", "1.0.0").unwrap().0;
        assert_ne!(b.value(other, json!(["pid"])).await, pid);
        assert_eq!(b.workers.health().len(), 1);
    });
}

#[test]
fn big_arguments_and_results() {
    with(vec![python("t.big", "big")], |b| async move {
        let text = "w".repeat(3_000_000);
        assert_eq!(b.value(0, json!(["echo", text])).await["args"], json!([text]));
        assert_eq!(b.value(0, json!(["size", 5_000_000])).await.as_str().unwrap().len(), 5_000_000);
    });
}

#[test]
fn an_error_of_the_worker_comes_with_its_message_and_nothing_else() {
    with(vec![python("t.errors", "errors")], |b| async move {
        let error = b.error(0, json!(["fail", "the disk is full"])).await;
        assert_eq!((error.code, text(&error)), (FAILED, "ValueError: the disk is full"));
        assert_eq!(b.workers.health()[0].failures, 1);
    });
}

#[test]
fn answers_out_of_order_find_their_callers() {
    with(vec![python("t.order", "order")], |b| async move {
        let held = b.begin(0, json!(["hold", "late"]));
        for i in 0..200 {
            assert_eq!(b.value(0, json!(["echo", i])).await["args"], json!([i]));
        }
        b.value(0, json!(["release"])).await;
        assert_eq!(held.await.unwrap().get(), "\"late\"");
    });
}

#[test]
fn many_calls_at_once() {
    with(vec![WorkerSpec { instances: 2, ..python("t.many", "many") }], |b| async move {
        let calls: Vec<_> = (0..600).map(|i| b.begin(0, json!(["echo", i]))).collect();
        for (i, call) in calls.into_iter().enumerate() {
            assert_eq!(call.await.unwrap().get(), format!(r#"{{"args": [{i}], "kwargs": {{}}}}"#));
        }
    });
}

#[test]
fn no_more_in_flight_than_allowed_and_the_rest_waits_in_order() {
    let limits = WorkerLimits { message_bytes_max: 1 << 20, waiting_max: 3 };
    with_limits(
        ["t.limited", "t.free"].map(|name| WorkerSpec { in_flight_max: 2, ..python(name, "limited") }).into(),
        limits,
        |b| async move {
            assert_eq!(b.value(0, json!([])).await, "t.limited");
            let calls: Vec<_> = (0..5).map(|i| b.begin(0, json!(["hold", i]))).collect();
            let health = &b.workers.health()[0];
            assert_eq!((health.in_flight, health.waiting), (2, 3));
            let refused = b.error(0, json!(["hold"])).await;
            assert_eq!((refused.code, refused.reason), (FAILED, Some(Reason::PendingCallsLimit)));
            b.value(1, json!(["release"])).await;
            for (i, call) in calls.into_iter().enumerate() {
                assert_eq!(call.await.unwrap().get(), i.to_string());
            }
            // The release ran beside them.
            assert!(b.value(0, json!(["peak"])).await.as_u64().unwrap() <= 3);
        },
    );
}

#[test]
fn functions_with_one_command_share_its_processes_and_others_do_not() {
    let environment = BTreeMap::from([("WORD".into(), "swordfish".into())]);
    let specs = vec![
        python("t.a", "shared"),
        python("t.b", "shared"),
        WorkerSpec { environment, ..python("t.c", "shared") },
        WorkerSpec { in_flight_max: 3, ..python("t.d", "shared") },
    ];
    with(specs, |b| async move {
        let pid = b.value(0, json!(["pid"])).await;
        assert_eq!(b.value(1, json!(["pid"])).await, pid);
        assert_ne!(b.value(2, json!(["pid"])).await, pid);
        assert_ne!(b.value(3, json!(["pid"])).await, pid);
        assert_eq!(b.value(1, json!([])).await, "t.b");
        let environment = b.value(2, json!(["env"])).await;
        assert_eq!(environment["WORD"], "swordfish");
        assert!(environment.get("PATH").is_some() && environment.get("CARGO_MANIFEST_DIR").is_none());
    });
}

#[test]
fn instances_share_the_work_and_each_is_restarted() {
    with(vec![WorkerSpec { instances: 3, in_flight_max: 1, ..python("t.three", "three") }], |b| async move {
        eventually("three instances", async || b.workers.health()[0].instances_running == 3).await;
        let pids: Vec<_> = (0..3).map(|_| b.begin(0, json!(["pid"]))).collect();
        let mut seen = std::collections::BTreeSet::new();
        for pid in pids {
            seen.insert(pid.await.unwrap().get().to_owned());
        }
        assert_eq!(seen.len(), 3);
        let killed = seen.first().unwrap().clone();
        assert!(std::process::Command::new("kill").args(["-9", &killed]).status().unwrap().success());
        eventually("restart", async || {
            let health = &b.workers.health()[0];
            (health.instances_running, health.restarts) == (3, 1)
        })
        .await;
        assert_eq!(b.workers.health()[0].last_exit.as_deref(), Some("was ended by signal 9"));
        assert_eq!(b.happened(WorkerEvent::Down(FunctionKey(0))), 0, "two others went on");
    });
}

// --- ends of calls ---------------------------------------------------------------------------------------------

#[test]
fn a_call_that_takes_too_long_ends_and_its_late_answer_is_nobodys() {
    let hasty = WorkerSpec { timeout: Duration::from_millis(150), ..python("t.hasty", "hasty") };
    with(vec![hasty, python("t.patient", "hasty")], |b| async move {
        b.value(1, json!([])).await;
        let error = b.error(0, json!(["hold"])).await;
        assert_eq!((error.code, error.reason), (TIMED_OUT, Some(Reason::DeadlinePassed)));
        assert_eq!(text(&error), "t.hasty did not answer within 0.15 seconds");
        let short = Duration::from_millis(100);
        let error = begin(&b.workers, 1, json!(["hold"]), short).await.unwrap_err();
        assert_eq!(error.code, TIMED_OUT);
        assert_eq!(b.value(1, json!(["cancelled"])).await.as_array().unwrap().len(), 2);
        assert_eq!((b.in_flight(0), b.in_flight(1)), (1, 1));
        b.value(1, json!(["release"])).await;
        eventually("late answers", async || b.noted(Reason::ResultNotUnderstood) == 2).await;
        assert_eq!((b.in_flight(0), b.in_flight(1)), (0, 0));
    });
}

#[test]
fn a_dropped_call_is_taken_back() {
    with(
        ["t.drop", "t.see"].map(|name| WorkerSpec { in_flight_max: 1, ..python(name, "drop") }).into(),
        |b| async move {
            b.value(0, json!([])).await;
            let held = b.begin(0, json!(["hold"]));
            let waiting = b.begin(0, json!(["hold"]));
            assert_eq!((b.in_flight(0), b.workers.health()[0].waiting), (1, 1));
            drop(waiting);
            assert_eq!((b.in_flight(0), b.workers.health()[0].waiting), (1, 0));
            drop(held);
            eventually("the notice", async || b.value(1, json!(["cancelled"])).await == json!([2])).await;
            let next = b.begin(0, json!(["echo"]));
            b.value(1, json!(["release"])).await;
            next.await.unwrap();
            assert_eq!((b.in_flight(0), b.workers.health()[0].failures), (0, 0));
        },
    );
}

#[test]
fn a_result_beyond_the_limit_fails_its_call_and_only_it() {
    let limits = WorkerLimits { message_bytes_max: 1 << 20, waiting_max: 10 };
    with_limits(vec![python("t.huge", "huge")], limits, |b| async move {
        let held = b.begin(0, json!(["hold", 5]));
        assert_eq!(b.value(0, json!(["size", 1_000_000])).await.as_str().unwrap().len(), 1_000_000);
        for kwargs in ["{}", r#"{"id_last":true}"#] {
            let (args, kwargs) = (json!(["size", 3_000_000]), RawValue::from_string(kwargs.into()).unwrap());
            let args = to_raw_value(&args).unwrap();
            let error = b.workers.call(FunctionKey(0), &args, &kwargs, DEADLINE).await.unwrap_err();
            assert_eq!((error.code, error.reason), (FAILED, Some(Reason::ResultTooLarge)));
            assert!(text(&error).contains("t.huge"));
        }
        b.value(0, json!(["release"])).await;
        assert_eq!(held.await.unwrap().get(), "5");
        // Nobody can tell whose answer it is: the worker is started again.
        let kwargs = RawValue::from_string(r#"{"no_id":true}"#.into()).unwrap();
        let args = to_raw_value(&json!(["size", 3_000_000])).unwrap();
        let error = b.workers.call(FunctionKey(0), &args, &kwargs, DEADLINE).await.unwrap_err();
        assert_eq!((error.code, error.reason), (FAILED, Some(Reason::WorkerFailed)));
        assert_eq!(b.value(0, json!([])).await, "t.huge");
    });
}

// --- faults ----------------------------------------------------------------------------------------------------

#[test]
fn a_crash_fails_what_runs_at_once_and_the_worker_comes_back() {
    with(vec![python("t.fragile", "fragile"), python("t.other", "other")], |b| async move {
        let pid = b.value(0, json!(["pid"])).await;
        let child = b.value(0, json!(["child"])).await;
        let held: Vec<_> = (0..3).map(|_| b.begin(0, json!(["hold"]))).collect();
        for error in [b.error(0, json!(["die", 3])).await].into_iter().chain({
            let mut errors = Vec::new();
            for call in held {
                errors.push(call.await.unwrap_err());
            }
            errors
        }) {
            assert_eq!((error.code, error.reason), (FAILED, Some(Reason::WorkerFailed)));
            assert_eq!(text(&error), "worker of t.fragile exited with status 3");
        }
        assert_ne!(b.value(0, json!(["pid"])).await, pid, "the call waits for the restart");
        assert!(!runs(&child), "what the worker started went with it");
        assert_eq!(b.value(1, json!([])).await, "t.other");
        assert!(logged(&["WARN", "t.fragile", "exited with status 3"]) >= 1);
        for (event, count) in [(WorkerEvent::Up(FunctionKey(0)), 2), (WorkerEvent::Down(FunctionKey(0)), 1)] {
            assert_eq!(b.happened(event), count);
        }
    });
}

#[test]
fn a_worker_that_closes_its_output_is_started_again() {
    with(vec![python("t.mute", "mute")], |b| async move {
        let error = b.error(0, json!(["close"])).await;
        assert_eq!(text(&error), "worker of t.mute was ended because it closed its output");
        assert_eq!(b.value(0, json!([])).await, "t.mute");
    });
}

#[test]
fn garbage_is_logged_counted_and_confuses_nobody() {
    with(vec![python("t.garbage", "garbage")], |b| async move {
        assert_eq!(b.value(0, json!(["garbage"])).await, "clean after all");
        assert_eq!(b.value(0, json!([])).await, "t.garbage");
        assert_eq!(b.noted(Reason::WorkerGarbage), 5);
        assert_eq!(logged(&["t.garbage", "this is not JSON"]), 1);
    });
}

#[test]
fn stderr_goes_to_the_log_but_does_not_flood_it() {
    with(vec![python("t.loud", "loud")], |b| async move {
        b.value(0, json!(["complain", 5000])).await;
        assert_eq!(b.value(0, json!([])).await, "t.loud");
        eventually("the count", async || logged(&["t.loud", "more lines, not shown"]) > 0).await;
        assert_eq!(logged(&["INFO", "t.loud", "complaint 0"]), 1);
        assert!(logged(&["t.loud", "complaint"]) < 2000);
    });
}

#[test]
fn a_worker_that_dies_at_start_is_not_restarted_in_a_frenzy() {
    let doomed = WorkerSpec { restart_backoff: Duration::from_millis(100), ..python("t.doomed", "doomed") };
    with(vec![doomed, python("t.fine", "fine")], |b| async move {
        eventually("three ends", async || b.workers.health()[0].restarts >= 3).await;
        assert!(logged(&["t.doomed"]) < 20);
        let error = b.error(0, json!([])).await;
        assert_eq!(error.code, FAILED);
        assert!(text(&error).contains("exited with status 7"), "{error:?}");
        assert_eq!(b.value(1, json!([])).await, "t.fine");
    });
}

#[test]
fn a_command_that_cannot_run_is_told_and_fails_calls_at_once() {
    let specs = vec![
        spec("t.missing", &["/nonexistent/folder/worker"]),
        spec("t.text", &["/etc/hostname"]),
        spec("t.empty", &[]),
        WorkerSpec { user: Some("nobody-of-that-name".into()), ..shell("t.user", "exit") },
    ];
    with(specs, |b| async move {
        for (key, name) in ["t.missing", "t.text", "t.empty", "t.user"].into_iter().enumerate() {
            eventually("a try", async || b.workers.health()[key].restarts > 0).await;
            let error = b.error(key, json!([])).await;
            assert_eq!((error.code, error.reason), (FAILED, Some(Reason::WorkerUnavailable)));
            assert!(text(&error).contains(name) && !text(&error).contains('/'), "{error:?}");
            assert_eq!(b.happened(WorkerEvent::Up(FunctionKey(key))), 0);
        }
        assert!(logged(&["ERROR", "t.missing", "/nonexistent/folder/worker"]) >= 1);
        assert!(logged(&["ERROR", "t.text", "/etc/hostname"]) >= 1);
    });
}

// --- stop ------------------------------------------------------------------------------------------------------

#[test]
fn workers_end_with_the_node_also_deaf_ones() {
    let deaf = shell("t.deaf", r#"trap '' TERM INT; echo '{"id":1,"result":1}'; while :; do sleep 1; done"#);
    with(vec![python("t.tame", "tame"), deaf], |b| async move {
        let tame = b.value(0, json!(["pid"])).await;
        // Its word shows that it is deaf by now; it may come before the call, and then belongs to nobody.
        let call = b.begin(1, json!([]));
        eventually("a word of the deaf one", async || {
            b.noted(Reason::ResultNotUnderstood) > 0 || b.in_flight(1) == 0
        })
        .await;
        drop(call);
        let held = b.begin(0, json!(["hold"]));
        assert!(runs(&tame));
        b.workers.stop(Duration::from_millis(200)).await;
        assert!(!runs(&tame));
        assert_eq!(held.await.unwrap_err().reason, Some(Reason::Stopping));
        assert_eq!(b.error(0, json!([])).await.reason, Some(Reason::Stopping));
        assert!(logged(&["t.deaf", "was ended by signal 9"]) == 1);
        assert_eq!(b.happened(WorkerEvent::Down(FunctionKey(1))), 1);
    });
}

#[test]
fn a_worker_that_ends_with_its_stdin_ends_well() {
    let script = r#"trap '' TERM; echo '{"id":1,"result":1}'; while read -r line; do :; done; exit 0"#;
    with(vec![shell("t.well", script)], |b| async move {
        // Its word shows that it is deaf to signals by now.
        eventually("its word", async || b.noted(Reason::ResultNotUnderstood) > 0).await;
        b.workers.stop(Duration::from_secs(10)).await;
        assert_eq!(logged(&["t.well", "exited with status 0"]), 1);
    });
}

#[test]
fn dropped_workers_are_killed() {
    let executor = Arc::new(Executor::new());
    smol::block_on(executor.run(async {
        let limits = WorkerLimits { message_bytes_max: 1 << 20, waiting_max: 10 };
        let workers = Workers::start(vec![python("t.dropped", "dropped")], limits, &executor, |_| ());
        let pid = begin(&workers, 0, json!(["pid"]), DEADLINE).await.unwrap();
        let pid: Value = serde_json::from_str(pid.get()).unwrap();
        assert!(runs(&pid));
        drop(workers);
        eventually("its end", async || !runs(&pid)).await;
    }));
}

// --- the examples of the package -------------------------------------------------------------------------------

#[test]
fn the_examples_work() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/functions");
    let example = |name: &str, file: &str| spec(name, &[folder.join(file).to_str().unwrap()]);
    let specs = vec![
        example("demo.add", "worker.py"),
        example("demo.upper", "worker.py"),
        WorkerSpec { timeout: Duration::from_millis(400), ..example("demo.slow", "worker.py") },
        example("demo.hostname", "worker.sh"),
        example("demo.uptime", "worker.sh"),
        example("demo.unknown", "worker.sh"),
        example("demo.nothing", "worker.py"),
    ];
    with(specs, |b| async move {
        let sums: Vec<_> = (0..50).map(|i| b.begin(0, json!([i, 1]))).collect();
        for (i, sum) in sums.into_iter().enumerate() {
            assert_eq!(sum.await.unwrap().get(), (i + 1).to_string());
        }
        assert_eq!(b.value(1, json!(["groß ☃"])).await, "GROSS ☃");
        assert!(text(&b.error(1, json!([])).await).starts_with("TypeError"));
        assert_eq!(b.value(2, json!([0.01])).await, 0.01);
        assert_eq!(b.error(2, json!([15])).await.code, TIMED_OUT);
        eventually("the notice is heeded", async || b.in_flight(2) == 0).await;
        eventually("its word", async || logged(&["demo.slow: cancelled"]) == 1).await;
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_eq!(b.value(3, json!([])).await, host.trim());
        assert!(b.value(4, json!([])).await.as_f64().unwrap() > 0.0);
        assert!(text(&b.error(5, json!(["\"id\":99}"])).await).contains("no such function"));
        assert!(text(&b.error(6, json!([])).await).contains("demo.nothing"));
    });
}
