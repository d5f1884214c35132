//! A node in a process of its own, and connections to it.
//!
//! Everything waits for a condition and gives up with what was seen instead. A node is killed when it is dropped.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mpreg::client::{Client, Options};
use mpreg::drive::dial::{DialSettings, dial};
use mpreg::drive::link::{Incoming, Link};
pub use rustix::process::Signal;
use serde_json::{Value, json};
use smol::{Executor, Timer};
use tempfile::TempDir;

/// Nothing here takes that long; what does hangs.
pub const TIME_MAX: Duration = Duration::from_secs(20);
/// Program of functions for tests.
pub const WORKER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/node/worker.py");

/// A running node.
pub struct Node {
    child: Child,
    pub folder: TempDir,
    pub port: u16,
    out: Arc<Lines>,
    log: Arc<Lines>,
}

/// What a process has written so far.
#[derive(Default)]
struct Lines {
    state: Mutex<(Vec<String>, bool)>,
    changed: Condvar,
}

impl Node {
    /// Starts with `text` appended to what every test wants, and waits until it serves.
    pub fn start(text: &str) -> Node {
        Node::start_in(tempfile::tempdir().unwrap(), text)
    }

    /// The same with a folder that may already hold files; `text` may name it as `DIR`.
    pub fn start_in(folder: TempDir, text: &str) -> Node {
        let mut node = Node::launch(folder, text);
        node.wait_ready();
        node
    }

    /// The same, started by a command that was changed first.
    pub fn start_by(folder: TempDir, text: &str, change: impl FnOnce(Command) -> Command) -> Node {
        let mut node = Node::launch_by(folder, text, change);
        node.wait_ready();
        node
    }

    fn launch(folder: TempDir, text: &str) -> Node {
        Node::launch_by(folder, text, |command| command)
    }

    fn launch_by(folder: TempDir, text: &str, change: impl FnOnce(Command) -> Command) -> Node {
        let file = write_config(folder.path(), text);
        let mut command = program(&["server", "start-config", &file.display().to_string()]);
        if !text.contains("state_dir") {
            // Else it would find what other nodes of this machine were told.
            command.env("MPREG__NODE__STATE_DIR", folder.path().join("state"));
        }
        command
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = change(command).spawn().unwrap();
        let out = Lines::of(child.stdout.take().unwrap());
        let log = Lines::of(child.stderr.take().unwrap());
        Node { child, folder, port: 0, out, log }
    }

    fn wait_ready(&mut self) {
        let line = self.out.wait(|line| line.starts_with("MPREG_URL="));
        let line = line.unwrap_or_else(|_| panic!("does not start: {:#?}", self.log.all()));
        self.port = line.rsplit(':').next().unwrap().parse().unwrap();
    }

    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    /// The rest of the start line that begins like this.
    pub fn told(&self, start: &str) -> String {
        match self.out.wait(|line| line.starts_with(start)) {
            Ok(line) => line.trim_start_matches(start).to_owned(),
            Err(seen) => panic!("never told: {start}: {seen:#?}"),
        }
    }

    pub fn stdout(&self) -> Vec<String> {
        self.out.all()
    }

    pub fn log(&self) -> Vec<String> {
        self.log.all()
    }

    /// The first log line of that kind, now or later.
    pub fn logged(&self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        match self.log.wait(fits) {
            Ok(line) => line,
            Err(seen) => panic!("never logged: {what}: {seen:#?}"),
        }
    }

    pub fn logged_text(&self, text: &str) -> String {
        self.logged(text, |line| line.contains(text))
    }

    /// Waits until that many lines hold this text.
    pub async fn logged_times(&self, text: &str, times: usize) {
        eventually(text, async || self.count_logged(text) == times).await;
    }

    /// How many lines so far hold this text.
    pub fn count_logged(&self, text: &str) -> usize {
        self.log().iter().filter(|line| line.contains(text)).count()
    }

    /// A value of the monitoring endpoint.
    pub fn metric(&self, series: &str) -> f64 {
        let port = self.told("MPREG_MONITORING_URL=http://127.0.0.1:").parse().unwrap();
        let request = b"GET /metrics/prometheus HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let answer = exchange_raw(port, request);
        let line = answer.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series}: {answer}")).parse().unwrap()
    }

    /// How often the node has refused something for a reason.
    pub fn refusals(&self, reason: &str) -> usize {
        self.metric(&format!("mpreg_refusals_total{{reason=\"{reason}\"}}")) as usize
    }

    pub async fn refused_times(&self, reason: &str, times: usize) {
        eventually(reason, async || self.refusals(reason) >= times).await;
    }

    /// URL of an additional listener of that protocol.
    pub fn endpoint(&self, protocol: &str) -> String {
        let end = format!("({protocol})");
        let fits =
            |line: &str| line.contains("listening on ") && line.contains(&end) && !line.contains(&self.own());
        let line = self.logged(protocol, fits);
        let address = line.split("listening on ").nth(1).unwrap().split(' ').next().unwrap();
        format!("{protocol}://{address}")
    }

    fn own(&self) -> String {
        format!("127.0.0.1:{} ", self.port)
    }

    /// Writes the configuration anew, for a reload.
    pub fn rewrite(&self, text: &str) {
        write_config(self.folder.path(), text);
    }

    /// Where `mpreg ctl` reaches it, as its file says.
    pub fn control_socket(&self) -> String {
        let text = std::fs::read_to_string(self.folder.path().join("node.toml")).unwrap();
        let document: toml::Table = text.parse().unwrap();
        document["control"]["socket"].as_str().unwrap().to_owned()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for the end of the process.
    pub fn ended(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < TIME_MAX, "does not end: {:#?}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Ends it in order.
    pub fn stop(mut self) {
        self.signal(Signal::TERM);
        assert_eq!(self.ended().code(), Some(0), "{:#?}", self.log());
    }

    pub async fn client(&self, ex: &Executor<'static>) -> Client {
        let options = Options { timeout: Some(Duration::from_secs(10)), ..Options::default() };
        Client::connect(ex, &self.url(), options).await.unwrap()
    }

    pub async fn wire(&self) -> Wire {
        Wire::open(&self.url(), &DialSettings::default()).await
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Lines {
    fn of(stream: impl Read + Send + 'static) -> Arc<Lines> {
        let lines = Arc::new(Lines::default());
        let reader = lines.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines() {
                let Ok(line) = line else { break };
                reader.state.lock().unwrap().0.push(line);
                reader.changed.notify_all();
            }
            reader.state.lock().unwrap().1 = true;
            reader.changed.notify_all();
        });
        lines
    }

    fn all(&self) -> Vec<String> {
        self.state.lock().unwrap().0.clone()
    }

    fn wait(&self, fits: impl Fn(&str) -> bool) -> Result<String, Vec<String>> {
        let deadline = Instant::now() + TIME_MAX;
        let mut state = self.state.lock().unwrap();
        loop {
            if let Some(line) = state.0.iter().find(|line| fits(line)) {
                return Ok(line.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || state.1 {
                return Err(state.0.clone());
            }
            state = self.changed.wait_timeout(state, left).unwrap().0;
        }
    }
}

/// One connection on which documents are sent by hand.
pub struct Wire {
    link: Link,
}

impl Wire {
    pub async fn open(url: &str, settings: &DialSettings) -> Wire {
        match dial(url, settings).await {
            Ok(link) => Wire { link },
            Err(error) => panic!("{url}: {error}"),
        }
    }

    pub async fn send(&mut self, document: Value) {
        self.send_text(&document.to_string()).await;
    }

    pub async fn send_text(&mut self, text: &str) {
        self.link.send(text.as_bytes().to_vec().into()).await.unwrap();
    }

    /// The next document.
    pub async fn next(&mut self) -> Value {
        loop {
            match self.link.read().await.unwrap() {
                Incoming::Message(bytes) => return serde_json::from_slice(&bytes).unwrap(),
                Incoming::Closed { code, reason } => panic!("closed: {code} {reason}"),
                Incoming::Ping(_) | Incoming::Pong(_) => self.link.flush().await.unwrap(),
            }
        }
    }

    /// Sends and reads what comes next.
    pub async fn ask(&mut self, document: Value) -> Value {
        self.send(document).await;
        self.next().await
    }

    /// One command.
    pub async fn call(&mut self, fun: &str, args: Value) -> Value {
        self.ask(request("1", json!([command("c", fun, args)]))).await
    }

    pub async fn subscribe(&mut self, id: &str, pattern: &str, backlog_seconds: i64) {
        let answer = self.ask(subscribe(id, pattern, backlog_seconds)).await;
        assert_eq!(answer["success"], json!(true), "{answer}");
    }

    pub async fn publish(&mut self, topic: &str, payload: Value) -> Value {
        self.ask(publish(topic, payload)).await
    }

    /// Code and reason of the end; what comes before is passed over.
    pub async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.link.read().await {
                Ok(Incoming::Closed { code, reason }) => {
                    // The answer to a close leaves with it.
                    let _ = self.link.close(1000, "").await;
                    return (code, reason);
                }
                Ok(_) => {}
                // An end without a close.
                Err(_) => return (1006, String::new()),
            }
        }
    }

    /// Leaves in order.
    pub async fn leave(mut self) {
        let _ = self.link.close(1000, "").await;
    }
}

/// Runs a test on an executor of its own; one that hangs fails.
pub fn run<F: Future<Output = ()>>(test: impl FnOnce(Arc<Executor<'static>>) -> F) {
    run_for(TIME_MAX, test);
}

/// The same for one that takes longer.
pub fn run_for<F: Future<Output = ()>>(time: Duration, test: impl FnOnce(Arc<Executor<'static>>) -> F) {
    let executor = Arc::new(Executor::new());
    smol::block_on(executor.run(async {
        let hang = async {
            Timer::after(time).await;
            panic!("the test hangs");
        };
        smol::future::or(test(executor.clone()), hang).await;
    }));
}

/// Looks until it is true.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < TIME_MAX, "never: {what}");
        Timer::after(Duration::from_millis(5)).await;
    }
}

pub fn request(u: &str, commands: Value) -> Value {
    json!({ "role": "rpc", "u": u, "cmds": commands })
}

pub fn command(name: &str, fun: &str, args: Value) -> Value {
    json!({ "name": name, "fun": fun, "args": args, "kwargs": {}, "locs": [] })
}

pub fn subscribe(id: &str, pattern: &str, backlog_seconds: i64) -> Value {
    json!({ "role": "pubsub-subscribe", "u": format!("u-{id}"), "subscription": {
        "subscription_id": id, "patterns": [{ "pattern": pattern, "exact_match": false }], "subscriber": "test",
        "created_at": 1.0, "get_backlog": backlog_seconds > 0, "backlog_seconds": backlog_seconds,
    }})
}

pub fn publish(topic: &str, payload: Value) -> Value {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    json!({ "role": "pubsub-publish", "u": "p", "message": {
        "topic": topic, "payload": payload, "timestamp": wall, "message_id": "m", "publisher": "test", "headers": {},
    }})
}

/// The binary with nothing of the environment but what any program needs.
pub fn program(args: &[&str]) -> Command {
    let mut command = Command::new(other_binary().unwrap_or(env!("CARGO_BIN_EXE_mpreg").into()));
    let path = std::env::var("PATH").unwrap_or_default();
    command.args(args).env_clear().env("PATH", path);
    command
}

/// Another build of the program than that of the tests, for what is measured: an optimised one.
pub fn other_binary() -> Option<PathBuf> {
    std::env::var_os("MPREG_TEST_BINARY").map(PathBuf::from)
}

/// Runs a node that is expected to end by itself.
pub fn refused(folder: &Path, text: &str) -> Output {
    let file = write_config(folder, text);
    program(&["server", "start-config", &file.display().to_string()])
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// `text` completed by what every test wants, unless it says so itself; `DIR` is the folder.
pub fn write_config(folder: &Path, text: &str) -> PathBuf {
    let text = text.replace("DIR", &folder.display().to_string());
    let mut whole = text;
    if !whole.contains("[monitoring]") {
        whole = format!("[monitoring]\nenabled = false\n{whole}");
    }
    if !whole.contains("[control]") {
        // At the end, so that lines keep their numbers.
        whole += &format!("\n[control]\nsocket = \"{}\"\n", folder.join("control.sock").display());
    }
    let file = folder.join("node.toml");
    let beside = folder.join("node.toml.new");
    std::fs::write(&beside, whole).unwrap();
    std::fs::rename(&beside, &file).unwrap();
    file
}

/// Writes the configuration of a node anew, from another thread.
pub fn rewrite_in(folder: &Path, text: &str) {
    write_config(folder, text);
}

/// `[[function]]` served by the worker program; `more` are further keys.
pub fn function(name: &str, more: &str) -> String {
    format!("\n[[function]]\nname = \"{name}\"\ncommand = [\"python3\", \"-u\", \"{WORKER}\"]\n{more}\n")
}

/// Sends bytes as they are and gives all that comes back until the end.
pub fn exchange_raw(port: u16, bytes: &[u8]) -> String {
    use std::io::Write;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(TIME_MAX)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}
