//! A node under a service manager: what it tells, the sockets that it takes over, and lines for the journal.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::kit::*;

/// Hears what a node tells.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
    _folder: TempDir,
}

impl Manager {
    fn new() -> Manager {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(TIME_MAX)).unwrap();
        Manager { socket, path, _folder: folder }
    }

    fn supervise(&self, command: &mut Command) {
        command.env("NOTIFY_SOCKET", &self.path);
    }

    fn heard(&self) -> String {
        let mut buffer = [0; 8192];
        let length = self.socket.recv(&mut buffer).expect("the node tells nothing");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// The next message that begins like this; others are passed over.
    fn hears(&self, start: &str) -> String {
        loop {
            let heard = self.heard();
            if heard.starts_with(start) {
                return heard;
            }
        }
    }

    fn hears_nothing(&self) -> bool {
        self.socket.set_nonblocking(true).unwrap();
        self.socket.recv(&mut [0; 1]).is_err()
    }
}

#[test]
fn a_manager_hears_of_the_start_reloads_and_the_end() {
    let manager = Manager::new();
    let mut node = Node::start_by(tempfile::tempdir().unwrap(), "", |mut command| {
        manager.supervise(&mut command);
        command
    });
    assert_eq!(manager.heard(), "READY=1");
    let status = manager.hears("STATUS=");
    assert!(
        status.starts_with(&format!("STATUS=serving as {}; peers linked: 0, none is configured", node.url())),
        "{status}"
    );

    node.rewrite("[listen]\nport = \"x\"\n[node]\nnonsense = 1\n");
    node.signal(Signal::HUP);
    assert!(manager.hears("RELOADING=1").starts_with("RELOADING=1\nMONOTONIC_USEC="));
    let status = manager.heard();
    assert!(status.starts_with("STATUS=reload refused, the old configuration stays in force: "), "{status}");
    assert!(
        status.contains("port") && status.contains("nonsense") && status.contains("; serving as "),
        "{status}"
    );
    assert_eq!(manager.heard(), "READY=1");

    node.rewrite("");
    node.signal(Signal::HUP);
    manager.hears("RELOADING=1");
    assert!(manager.heard().starts_with("STATUS=serving as "));
    assert_eq!(manager.heard(), "READY=1");

    node.signal(Signal::TERM);
    assert_eq!(manager.hears("STOPPING=1"), "STOPPING=1\nEXTEND_TIMEOUT_USEC=15000000");
    assert_eq!(node.ended().code(), Some(0));
}

#[test]
fn peers_that_are_missing_are_in_the_status() {
    let manager = Manager::new();
    let other = Node::start("");
    let peers = format!("[peers]\nstatic = [\"{}\", \"ws://127.0.0.1:1\"]\n", other.url());
    let node = Node::start_by(tempfile::tempdir().unwrap(), &peers, |mut command| {
        manager.supervise(&mut command);
        command
    });
    let status = format!("STATUS=serving as {}; peers linked: 1 of 2 configured, 1 in all", node.url());
    manager.hears(&status);
}

#[test]
fn the_watchdog_is_fed_at_half_its_time_and_only_where_it_is_meant_for_this_process() {
    let manager = Manager::new();
    let supervised = |pid: Option<&str>| {
        Node::start_by(tempfile::tempdir().unwrap(), "", |mut command| {
            manager.supervise(&mut command);
            command.env("WATCHDOG_USEC", "200000").envs(pid.map(|pid| ("WATCHDOG_PID", pid)));
            command
        })
    };
    let node = supervised(None);
    for _ in 0..3 {
        manager.hears("WATCHDOG=1");
    }
    node.stop();
    manager.hears("STOPPING=1");
    let node = supervised(Some("1"));
    manager.hears("READY=1");
    node.stop();
    while let heard = manager.heard()
        && !heard.starts_with("STOPPING=1")
    {
        assert_ne!(heard, "WATCHDOG=1");
    }
}

#[test]
fn every_fault_of_a_configuration_is_in_the_status() {
    let folder = tempfile::tempdir().unwrap();
    let file =
        write_config(folder.path(), "[listen]\nport = \"x\"\n[node]\nnonsense = 1\n").display().to_string();
    for arguments in [["server", "start-config", &file], ["config", "check", &file]] {
        let manager = Manager::new();
        let mut command = program(&arguments);
        manager.supervise(&mut command);
        assert_eq!(command.output().unwrap().status.code(), Some(78));
        let status = manager.heard();
        assert!(status.starts_with("STATUS=configuration refused: "), "{status}");
        assert!(status.contains("nonsense") && status.contains("listen.port"), "{status}");
    }
    // While a node runs, its status is its own.
    let manager = Manager::new();
    let mut command = program(&["config", "check", &file]);
    manager.supervise(&mut command);
    assert_eq!(command.env("MAINPID", "1").output().unwrap().status.code(), Some(78));
    assert!(manager.hears_nothing());
}

/// Makes `socket` the descriptor that a service manager passes to the process.
fn pass(socket: OwnedFd, name: &str, command: Command) -> Command {
    let become_it = "import os, sys; os.dup2(0, 3); os.environ['LISTEN_PID'] = str(os.getpid()); \
                     os.execv(sys.argv[1], sys.argv[1:])";
    let mut passing = Command::new("python3");
    passing
        .args(["-c", become_it])
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap_or_default())
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDNAMES", name)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::from(socket))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    passing
}

fn listener() -> (TcpListener, u16) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

#[test]
fn who_connects_while_a_node_with_a_passed_socket_restarts_is_served_by_the_next() {
    let (socket, port) = listener();
    let text = format!("[listen]\nport = {port}\n");
    let start = || {
        let socket: OwnedFd = socket.try_clone().unwrap().into();
        Node::start_by(tempfile::tempdir().unwrap(), &text, |command| pass(socket, "mpreg.socket", command))
    };
    let mut first = start();
    assert_eq!(first.port, port);
    let running = run_held_call(&first);
    first.signal(Signal::TERM);
    first.logged_text("stopping");
    // The node drains: nobody accepts, and nobody is refused.
    let waiting: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    drop(running);
    assert_eq!(first.ended().code(), Some(0));
    let later = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let second = start();
    for stream in waiting.into_iter().chain([later]) {
        let answer = upgrade(stream);
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    }
    second.stop();
}

#[test]
fn who_was_let_in_before_a_stop_is_still_heard_and_answered() {
    use std::io::Write;
    let mut node = Node::start("");
    let mut half = run_held_call(&node);
    run(async |_| {
        let (mut silent, mut known) = (node.wire().await, node.wire().await);
        assert_eq!(known.call("echo", json!([1])).await["r"]["c"], 1);
        node.signal(Signal::TERM);
        node.logged_text("stopping");
        half.write_all(REST_OF_UPGRADE.as_bytes()).unwrap();
        let answer = answered(half.try_clone().unwrap());
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        assert_eq!(silent.call("echo", json!([2])).await["r"]["c"], 2);
        assert_eq!(known.closed().await, (1001, "the node stops".to_owned()));
        assert_eq!(silent.closed().await, (1001, "the node stops".to_owned()));
    });
    drop(half);
    assert_eq!(node.ended().code(), Some(0));
}

/// A connection that a stop waits for, because its handshake is not complete.
fn run_held_call(node: &Node) -> TcpStream {
    use std::io::Write;
    let mut stream = TcpStream::connect(("127.0.0.1", node.port)).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    // Served only once the first one was accepted.
    run(async |_| {
        assert!(node.wire().await.call("echo", json!([1])).await["r"]["c"] == 1);
    });
    stream
}

fn upgrade(mut stream: TcpStream) -> String {
    use std::io::Write;
    stream.write_all(format!("GET / HTTP/1.1\r\n{REST_OF_UPGRADE}").as_bytes()).unwrap();
    answered(stream)
}

const REST_OF_UPGRADE: &str = "Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                               Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn answered(mut stream: TcpStream) -> String {
    use std::io::Read;
    stream.set_read_timeout(Some(TIME_MAX)).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned() + " "
}

#[test]
fn a_passed_socket_is_taken_by_its_name_where_the_port_is_open() {
    let (socket, port) = listener();
    let node =
        Node::start_by(tempfile::tempdir().unwrap(), "", |command| pass(socket.into(), "listen", command));
    assert_eq!(node.port, port);
    node.stop();
}

#[test]
fn a_passed_socket_that_no_listener_wants_is_refused() {
    let datagram: OwnedFd = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into();
    let (socket, port) = listener();
    for (socket, name, fault) in [
        (
            socket.into(),
            "other.socket",
            format!("127.0.0.1:{port} (other.socket), where the configuration has no"),
        ),
        (
            datagram,
            "udp.socket",
            "descriptor 3 (udp.socket) of the service manager is no listening TCP".into(),
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = write_config(folder.path(), "").display().to_string();
        let output = pass(socket, name, program(&["server", "start-config", &file])).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(log.contains(&fault), "{log}");
    }
}

#[test]
fn lines_have_levels_exactly_where_stderr_is_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let (_taken, port) = listener();
    let good = write_config(folder.path(), &format!("[listen]\nport = {port}\n")).display().to_string();
    let bad = folder.path().join("bad.toml");
    std::fs::write(&bad, "[node]\nnonsense = 1\n").unwrap();
    let bad = bad.display().to_string();
    for (arguments, first) in [
        (["server", "start-config", &good], "<3>listen.port: "),
        (["server", "start-config", &bad], "<3>error: "),
        (["config", "check", &bad], "<3>error: "),
    ] {
        let path = folder.path().join("journal");
        let journal = File::create(&path).unwrap();
        let of_journal = journal.metadata().unwrap();
        for (inode, has_levels) in [(of_journal.ino(), true), (of_journal.ino() + 1, false)] {
            let stream = format!("{}:{inode}", of_journal.dev());
            let output = File::create(&path).unwrap();
            program(&arguments).env("JOURNAL_STREAM", stream).stderr(output).status().unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(text.lines().any(|line| line.starts_with(first)), has_levels, "{text}");
            assert!(text.lines().all(|line| line.starts_with('<') == has_levels), "{text}");
        }
    }
}

#[test]
fn what_libraries_say_of_their_own_works_is_not_logged() {
    let text = "[persistence]\nmode = \"fjall\"\ndir = \"DIR/store\"\n[log]\nformat = \"json\"\n";
    let node = Node::start(text);
    node.logged_text("ready in");
    for line in node.log() {
        let parsed: Value = serde_json::from_str(&line).unwrap();
        let module = parsed["module"].as_str().unwrap();
        assert!(!module.starts_with("fjall") && !module.starts_with("lsm_tree"), "{line}");
    }
    node.stop();
}

#[test]
fn a_certificate_that_has_expired_is_in_the_log_and_in_the_status_until_it_is_renewed() {
    let folder = tempfile::tempdir().unwrap();
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    std::fs::write(folder.path().join("server.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    let file = folder.path().join("server.key");
    std::fs::write(&file, key.serialize_pem()).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let manager = Manager::new();
    let node = Node::start_by(folder, super::transports::TLS, |mut command| {
        manager.supervise(&mut command);
        command
    });
    let line = node.logged_text("tls.cert_file: ");
    assert!(line.contains("has expired") && line.contains("renew it and reload the node"), "{line}");
    manager.hears("STATUS=tls.cert_file: ");
    node.stop();
}
