//! `mpreg bench connections`: what idle connections cost, in time to open and in memory of the node.
//!
//! Memory is read from outside, from the process table of this machine; the node is not asked and need not know.
//! The ceiling of the opening rate is a server in this program that accepts and does nothing.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_tungstenite::tungstenite::http::Uri;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use smol::{Executor, Timer, channel::bounded, future::FutureExt};

use super::{
    super::{
        output::{self, Failure, Outcome},
        remote::{self, Remote},
    },
    load::{close, connect, message, with_threads},
    process,
    raw::RawServer,
    report::{grouped, ratio},
};
use crate::{
    client::LINK_LIMITS,
    drive::link::{Link, LinkLimits},
};

remote_verb! {
    /// measure idle connections: how fast they open and how much memory each costs the node
    #[argh(
        subcommand,
        name = "connections",
        example = "mpreg bench connections --url ws://127.0.0.1:7000",
        example = "mpreg bench connections --connections 10000 --seconds 30 --pid 4711 --json",
        note = "How to read it: `opened/s` counts finished handshakes; `raw` is a plain WebSocket server inside this program that accepts and does nothing else, opened in turns with the node, and `ratio` is node / raw: with wss:// and tcps:// it holds the price of TLS. Memory is the growth of the node's resident memory divided by the connections, kernel buffers not included.",
        note = "Take a freshly started node for memory: one that has held connections before reuses what it kept.",
        note = "A small number of connections shows what the allocator happens to hold; 1000 and more show the cost.",
        note = "The node is found by its port when it runs on this machine under the same user; otherwise give --pid, or memory is not reported.",
        note = "Exit status 1 when the node closed a connection while it was idle."
    )]
    struct Connections {
        /// connections to open; default 1000
        #[argh(option, default = "1000", arg_name = "number")]
        connections: usize,
        /// how long to hold them; default 2
        #[argh(option, default = "2.0", arg_name = "seconds")]
        seconds: f64,
        /// process of the node
        #[argh(option, arg_name = "number")]
        pid: Option<u32>,
    }
}

impl Connections {
    pub fn run(self) -> Outcome {
        super::in_range(&[("--connections", self.connections, super::CONNECTIONS_MAX)])?;
        let hold = remote::seconds("--seconds", self.seconds)?;
        let remote = self.remote();
        let url = remote.url()?;
        // Ours, and both ends of the ceiling.
        allow_files(self.connections as u64 * 3 + SPARE_FILES)?;
        let pid = self.pid.or_else(|| {
            let uri: Uri = url.parse().ok()?;
            process::listener(uri.host()?, uri.port_u16()?)
        });
        let resident = || pid.and_then(process::resident_bytes);
        if self.pid.is_some() && resident().is_none() {
            return Err(Failure::usage("--pid names no process whose memory can be read"));
        }
        let raw = RawServer::start(1, LIMITS)?;
        let opened = with_threads(1, async |executor| {
            // The first connections pay for what is shared by all; they are not counted.
            let warm = open_both(executor, &url, &raw.url, &remote, WARM_UP.min(self.connections)).await?;
            let before = resident();
            let opened = open_both(executor, &url, &raw.url, &remote, self.connections).await?;
            let (links, after) = idle(executor, opened.node, hold, resident).await;
            let closed = self.connections - links.len();
            close(links.into_iter().chain(warm.node)).await;
            Ok::<_, Failure>(Measured {
                node_seconds: opened.node_seconds,
                raw_seconds: opened.raw_seconds,
                closed,
                before,
                after,
            })
        })?;
        self.report(&remote, &url, pid, &opened)
    }

    fn report(&self, remote: &Remote, url: &str, pid: Option<u32>, measured: &Measured) -> Outcome {
        let count = self.connections as f64;
        let rate = |seconds: f64| count / seconds.max(f64::MIN_POSITIVE);
        let (node, raw) = (rate(measured.node_seconds), rate(measured.raw_seconds));
        let grown = measured.before.zip(measured.after).map(|(before, after)| after.saturating_sub(before));
        let each = grown.map(|bytes| (bytes as f64 / count).round());
        let result = json!({
            "bench": "connections", "url": url, "connections": self.connections, "seconds": self.seconds,
            "closed": measured.closed,
            "node": { "opened_per_second": node, "open_seconds": measured.node_seconds },
            "raw": { "opened_per_second": raw, "open_seconds": measured.raw_seconds },
            "ratio": { "opened_per_second": node / raw },
            "memory": {
                "pid": pid, "before_bytes": measured.before, "after_bytes": measured.after,
                "bytes_per_connection": each,
            },
        });
        remote.show(&result, |_| {
            let mut text = format!(
                "connections\n  url          {url}\n  connections  {}\n  held         {} s\n\n",
                self.connections, self.seconds
            );
            text += &format!("{:10} {:>14} {:>14} {:>9}\n", "", "node", "raw accept", "ratio");
            text += &format!(
                "{:10} {:>14} {:>14} {:>9}\n\n",
                "opened/s",
                grouped(node),
                grouped(raw),
                ratio(node, raw)
            );
            text += &match (each, measured.before, measured.after) {
                (Some(each), Some(before), Some(after)) => format!(
                    "memory per connection {} bytes (process {}: {} KiB before, {} KiB with all of them)\n",
                    grouped(each),
                    output::plain(Some(&Value::from(pid))),
                    before / 1024,
                    after / 1024
                ),
                _ => "memory unknown: the node's process was not found; give --pid\n".to_owned(),
            };
            text + &format!("{} of {} were closed by the node\n", measured.closed, self.connections)
        })?;
        match measured.closed {
            0 => Ok(()),
            closed => Err(Failure::failed(format!("the node closed {closed} idle connections"))),
        }
    }
}

struct Measured {
    node_seconds: f64,
    raw_seconds: f64,
    closed: usize,
    before: Option<u64>,
    after: Option<u64>,
}

struct Opened {
    node: Vec<Link>,
    node_seconds: f64,
    raw_seconds: f64,
}

/// Opens the same number at both, in turns.
async fn open_both(
    executor: &Arc<Executor<'static>>,
    url: &str,
    raw_url: &str,
    remote: &Remote,
    count: usize,
) -> Result<Opened, Failure> {
    let mut opened = Opened { node: Vec::with_capacity(count), node_seconds: 0.0, raw_seconds: 0.0 };
    let mut held = Vec::with_capacity(count);
    while opened.node.len() < count {
        let turn = TURN.min(count - opened.node.len());
        let start = Instant::now();
        opened.node.extend(connect(executor, url, Some(remote), turn, LIMITS).await?);
        opened.node_seconds += start.elapsed().as_secs_f64();
        let start = Instant::now();
        held.extend(connect(executor, raw_url, None, turn, LIMITS).await?);
        opened.raw_seconds += start.elapsed().as_secs_f64();
    }
    Ok(opened)
}

/// Holds the connections and answers their pings; gives back those that the other end has not closed, and what
/// `at_end` sees while all are still open.
async fn idle<T>(
    executor: &Arc<Executor<'static>>,
    links: Vec<Link>,
    hold: Duration,
    at_end: impl FnOnce() -> T,
) -> (Vec<Link>, T) {
    let (stop, stopped) = bounded::<()>(1);
    let held: Vec<_> = links
        .into_iter()
        .map(|mut link| {
            let stopped = stopped.clone();
            executor.spawn(async move {
                let ended = async {
                    while message(&mut link).await.is_ok() {}
                    true
                };
                let ended = ended
                    .or(async {
                        // Fails when the other side is dropped, which is the sign to end.
                        let _ = stopped.recv().await;
                        false
                    })
                    .await;
                (!ended).then_some(link)
            })
        })
        .collect();
    Timer::after(hold).await;
    let seen = at_end();
    drop(stop);
    let mut open = Vec::new();
    for task in held {
        open.extend(task.await);
    }
    (open, seen)
}

/// Raises the limit of open files as far as this process may.
fn allow_files(needed: u64) -> Result<(), Failure> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let reachable = limit.maximum.is_none_or(|maximum| maximum >= needed);
    let raised = Rlimit { current: Some(needed), maximum: limit.maximum };
    if reachable && setrlimit(Resource::Nofile, raised).is_ok() {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "this needs {needed} open files and only {} are allowed; ask for fewer connections, or raise the limit (ulimit -n)",
        limit.maximum.unwrap_or_default()
    )))
}

/// Connections opened at one side before the other has its turn.
const TURN: usize = 100;
/// Connections before the first measured one.
const WARM_UP: usize = 50;
const SPARE_FILES: u64 = 400;
/// Nothing is sent: the buffer of an idle link of a node, at both ends.
const LIMITS: LinkLimits = LinkLimits { read_buffer_bytes: 4 << 10, ..LINK_LIMITS };
