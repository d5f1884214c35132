//! From the options of a verb to the control socket of one node, and one order over it.
//!
//! A node is never guessed: where several run, they are named, and somebody chooses.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::order;
use crate::cli::config::DEFAULT_PATH;
use crate::cli::output::Failure;
use crate::config::{self, LoadRequest, PACKAGE_SOCKET, RuntimePlaces};
use crate::node::operate::{Order, Refused, absolute};

/// The options that all verbs share.
pub struct Reach {
    pub socket: Option<PathBuf>,
    pub config: Option<PathBuf>,
    pub json: bool,
}

/// What a node answers.
#[derive(Deserialize)]
struct Said {
    ok: bool,
    #[serde(default)]
    result: Value,
    #[serde(default)]
    status: u8,
    #[serde(default)]
    error: String,
}

impl Reach {
    /// Sends one order; the error is what the node said, or why none was reached.
    pub fn send(&self, order: &Order) -> Result<Value, Failure> {
        let path = self.find()?;
        ask(&path, order, ANSWER_TIME_MAX).map_err(Failure::from)
    }

    /// The socket of the node that is meant.
    fn find(&self) -> Result<PathBuf, Failure> {
        match (&self.socket, &self.config) {
            (Some(_), Some(_)) => Err(Failure::usage("give --socket or --config, not both")),
            (Some(socket), None) => Ok(socket.clone()),
            (None, Some(config)) => of_config(config),
            (None, None) => only_one(),
        }
    }
}

/// The node that was started with this file.
fn of_config(file: &Path) -> Result<PathBuf, Failure> {
    let wanted = absolute(file);
    let runs_it = |path: &PathBuf| {
        let who = ask(path, &order("who"), WHO_TIME_MAX).ok();
        who.and_then(|who| Some(Path::new(who.get("config_file")?.as_str()?) == wanted)).unwrap_or(false)
    };
    if let Some(path) = running().into_iter().find(runs_it) {
        return Ok(path);
    }
    // The file may be broken, which the node shall say when it is told to read it: then only the place counts.
    let written = match config::load(&LoadRequest::of_process(Some(file.to_owned()))) {
        Ok(loaded) => config::lasting_socket(&loaded, &RuntimePlaces::of_process()),
        Err(faults) => match place_in(file) {
            Some(path) => Some(path),
            None => {
                return Err(Failure { status: 78, text: faults.to_string() });
            }
        },
    };
    match written {
        Some(path) => Ok(path),
        None => Err(unreached(format!("no node runs here with {}", file.display()))),
    }
}

/// `control.socket`, or the place in `node.state_dir`, of a file that has faults elsewhere.
fn place_in(file: &Path) -> Option<PathBuf> {
    let document: toml::Table = fs::read_to_string(file).ok()?.parse().ok()?;
    let text = |table: &str, key: &str| document.get(table)?.get(key)?.as_str().map(PathBuf::from);
    text("control", "socket").or_else(|| Some(text("node", "state_dir")?.join("control.sock")))
}

/// The only node that runs here.
fn only_one() -> Result<PathBuf, Failure> {
    let mut running = running();
    let default = Path::new(DEFAULT_PATH);
    if running.is_empty() && default.exists() {
        return of_config(default);
    }
    match running.len() {
        0 => Err(unreached(format!("no node runs here: nobody answers at {PACKAGE_SOCKET}"))),
        1 => Ok(running.remove(0)),
        n => {
            let mut text = format!("{n} nodes run here; choose one with --socket:");
            for path in running {
                let who = ask(&path, &order("who"), WHO_TIME_MAX).unwrap_or_default();
                let name = |key: &str| who.get(key).and_then(Value::as_str).unwrap_or("?").to_owned();
                text += &format!("\n  --socket {}  {} {}", path.display(), name("name"), name("node_id"));
            }
            Err(Failure::usage(text))
        }
    }
}

/// The sockets in the usual places behind which somebody listens, or that this user may not try.
fn running() -> Vec<PathBuf> {
    let package = PathBuf::from(PACKAGE_SOCKET);
    let system = package.parent().map(Path::to_owned);
    let mut paths = vec![package];
    for directory in [system, RuntimePlaces::of_process().user].into_iter().flatten() {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
        paths.extend(entries.filter(|path| path.extension().is_some_and(|ext| ext == "sock")));
    }
    paths.sort();
    paths.dedup();
    paths.retain(|path| match UnixStream::connect(path) {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::PermissionDenied,
    });
    paths
}

fn unreached(text: String) -> Failure {
    let remedy = "start it, or name its socket with --socket";
    Failure { status: UNREACHED, text: format!("{text}; {remedy}") }
}

/// One order, one answer.
fn ask(path: &Path, order: &Order, time: Duration) -> Result<Value, Refused> {
    let fault = |error: std::io::Error| {
        let at = path.display();
        let (status, text) = match error.kind() {
            ErrorKind::PermissionDenied => {
                (77, format!("{at}: only root and the user of the node may connect; use sudo"))
            }
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                (UNREACHED, format!("no node answers at {at}; is it started?"))
            }
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                (75, format!("the node at {at} does not answer within {} s", time.as_secs()))
            }
            _ => (UNREACHED, format!("{at}: {error}")),
        };
        Refused { status, text }
    };
    let mut stream = UnixStream::connect(path).map_err(fault)?;
    stream.set_read_timeout(Some(time)).and_then(|()| stream.set_write_timeout(Some(time))).map_err(fault)?;
    let mut line = serde_json::to_vec(order).map_err(|error| Refused::failed(error.to_string()))?;
    line.push(b'\n');
    let mut answer = Vec::new();
    // A node that refuses somebody may close before it has read what was said: its words are still there.
    let sent = stream.write_all(&line);
    let read = BufReader::new(&mut stream).read_until(b'\n', &mut answer);
    if answer.is_empty() {
        sent.and(read).map_err(fault)?;
        return Err(Refused { status: UNREACHED, text: format!("the node at {} ended", path.display()) });
    }
    let said: Said = serde_json::from_slice(&answer).map_err(|error| {
        Refused::failed(format!("the answer of the node cannot be read: {error}; is it of another version?"))
    })?;
    if said.ok { Ok(said.result) } else { Err(Refused { status: said.status, text: said.error }) }
}

/// Exit status of cli-config 4.9.
const UNREACHED: u8 = 69;
/// A reload reads files and starts workers.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);
const WHO_TIME_MAX: Duration = Duration::from_secs(2);
