//! Every command of the manual is run as it stands there, but for what depends on the machine: addresses become those
//! of a real node, ports free ones, and what would go on for long is made short.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Stdio;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustix::process::{Pid, Signal, kill_process};

use crate::kit::Node;
use crate::{page, shell};

/// Of the private key that mpreg-protocol(7) shows.
pub const PUBLIC_KEY: &str = "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8";

#[test]
fn every_command_that_is_shown_runs() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    files(folder.path());
    let log = folder.path().join("worker.log");
    let worker = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/manual/worker.py");
    let function = |name: &str, more: &str| {
        format!(
            "[[function]]\nname = \"{name}\"\ncommand = [\"python3\", \"{worker}\", \"{}\"]\nversion = \"1.4.0\"\n{more}\n",
            log.display()
        )
    };
    let text = format!(
        "[node]\ncluster_id = \"demo\"\nrole = \"resolver\"\nstandalone = true\nstate_dir = \"DIR/kept\"\n\
         [[listen.endpoint]]\nprotocol = \"wss\"\nport = 0\n[[listen.endpoint]]\nprotocol = \"tcps\"\nport = 0\n\
         [tls]\ncert_file = \"DIR/tls/node.pem\"\nkey_file = \"DIR/tls/node.key\"\n{}{}",
        function("add", ""),
        function("svc.market.quote", "resources = [\"market\"]"),
    );
    let node = Node::start_in(folder, &text);
    let folder = node.folder.path();
    let running = fs::read_to_string(folder.join("node.toml")).unwrap();
    fs::write(folder.join("new.toml"), running + "[limits]\nbacklog = \"1MiB\"\n").unwrap();
    let at = [
        ("ws://127.0.0.1:7000", node.url()),
        ("wss://node.example:7443", node.endpoint("wss")),
        ("tcps://node.example:7444", node.endpoint("tcps")),
    ];
    let (mut run, mut faults) = (0, String::new());
    for (name, _) in page::all() {
        for display in page::displays(&name) {
            let Some(line) = display.text.strip_prefix("$ ") else { continue };
            let line = at.iter().fold(line.to_owned(), |line, (shown, real)| line.replace(shown, real));
            let line = shortened(&line.replace("/etc/mpreg", &folder.display().to_string()));
            let line = meant_for(&node, &line);
            if let Err(fault) = example(folder, &node.url(), &line) {
                faults += &format!("{name}: {}\n  as {line}\n  {fault}\n", display.text);
            }
            run += 1;
        }
    }
    assert!(faults.is_empty(), "{faults}");
    assert!(run > 40, "{run}");
    node.stop();
}

/// Runs one command; a node is stopped once it serves.
fn example(folder: &Path, url: &str, line: &str) -> Result<(), String> {
    if !line.contains("mpreg server start") {
        let output = shell(folder, line).env("MPREG_URL", url).stdin(Stdio::null()).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        // Here is neither another cluster nor a subscriber, which is an answer too, and no failure of the example.
        let is_no = line.contains("mpreg explain ") && output.status.code() == Some(1);
        return if output.status.success() || is_no && told.is_empty() {
            Ok(())
        } else {
            Err(format!("{}: {told}", output.status))
        };
    }
    let mut child = shell(folder, &format!("exec {line}"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let serves = lines.map_while(Result::ok).any(|line| line.starts_with("MPREG_URL="));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let status = child.wait().unwrap();
    if serves && status.success() { Ok(()) } else { Err(format!("serves: {serves}, {status}")) }
}

/// Other nodes may run on this machine: this one is named where the manual means the only one.
fn meant_for(node: &Node, line: &str) -> String {
    let file = node.folder.path().join("node.toml").display().to_string();
    match line.split_once(" --config ") {
        Some((verb, rest)) if verb.contains("mpreg ctl ") => {
            let rest = rest.split_once(' ').map_or("", |(_, rest)| rest);
            return format!("{verb} --config {file} {rest}");
        }
        _ => {}
    }
    let two_files = line.contains("mpreg config plan") && line.matches(".toml").count() > 1;
    let asks_a_node = line.contains("mpreg ctl ") || line.contains("mpreg config plan") && !two_files;
    if !asks_a_node {
        return line.to_owned();
    }
    let line = line.replace(&file.replace("node.toml", "server.toml"), &file);
    let socket = format!(" --socket {}", node.control_socket());
    line.replace(" && ", &format!("{socket} && ")) + &socket
}

/// The same command on free ports of this machine and for a short time.
fn shortened(line: &str) -> String {
    let mut line = line.replace("0.0.0.0", "127.0.0.1");
    for long in ["--seconds 30", "--seconds 10", "--seconds 5"] {
        line = line.replace(long, "--seconds 0.3");
    }
    line =
        line.replace("--duration 60", "--duration 0.3").replace("--connections 10000", "--connections 100");
    line = line.replace("--pid 4711", &format!("--pid {}", std::process::id()));
    if line.contains("mpreg server start") {
        for port in ["--port 7000", "--port 7001"] {
            line = line.replace(port, "--port 0");
        }
        line = line.replace("listen.port=7001", "listen.port=0");
    }
    let goes_on = line.contains("mpreg client subscribe") || line.contains("mpreg discovery watch");
    if goes_on && !line.contains("--duration") {
        line += " --duration 0.3";
    }
    if line.contains("mpreg bench ") && !line.contains("--seconds") {
        line += " --seconds 0.3";
    }
    line
}

/// What the examples read.
fn files(folder: &Path) {
    let state = folder.join("state");
    let server = format!(
        "[node]\nstandalone = true\nstate_dir = \"{}\"\n[monitoring]\nenabled = false\n",
        state.display()
    );
    fs::write(folder.join("server.toml"), server).unwrap();
    fs::write(folder.join("old.toml"), "host = \"127.0.0.1\"\nport = 7000\n").unwrap();
    let rules = r#"[{"namespace": "svc"}, {"namespace": "shop"}]"#;
    fs::write(folder.join("rules.json"), rules).unwrap();
}

/// An authority, a node's certificate and a client's, in `tls/` and under the names of the examples.
pub fn certificates(folder: &Path) {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::<String>::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(authority, authority_key);
    fs::create_dir_all(folder.join("tls")).unwrap();
    fs::create_dir_all(folder.join("keys")).unwrap();
    for (certificate, private) in [("tls/node.pem", "tls/node.key"), ("me.pem", "me.key")] {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
        fs::write(folder.join(certificate), params.signed_by(&key, &issuer).unwrap().pem()).unwrap();
        private_file(&folder.join(private), &key.serialize_pem());
    }
    for name in ["ca.pem", "tls/ca.pem"] {
        fs::write(folder.join(name), &authority_pem).unwrap();
    }
}

/// A file for its owner alone.
pub fn private_file(path: &Path, text: &str) {
    use std::io::Write;
    let mut file =
        fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}
