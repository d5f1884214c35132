//! The examples of several nodes in `configs`: each is started as real processes, on free ports, and serves the calls
//! that it is made for.

// Enforced inside `core` only, see `clippy.toml`.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The nodes of one folder of `configs`, by the name of their file.
struct Topology {
    nodes: BTreeMap<String, Child>,
    urls: BTreeMap<String, String>,
    _folder: tempfile::TempDir,
}

impl Topology {
    fn start(name: &str) -> Topology {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut files: BTreeMap<String, String> = BTreeMap::new();
        for entry in std::fs::read_dir(root.join("configs").join(name)).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
            files.insert(stem, std::fs::read_to_string(path).unwrap());
        }
        let ports: Vec<String> =
            files.values().map(|text| after(text, "\nport = ").to_owned()).collect::<Vec<_>>();
        let free: Vec<String> = free_ports(ports.len());
        let folder = tempfile::tempdir().unwrap();
        let mut topology = Topology { nodes: BTreeMap::new(), urls: BTreeMap::new(), _folder: folder };
        for (stem, text) in &files {
            let mut text = text.clone();
            for (from, to) in ports.iter().zip(&free) {
                text = text.replace(&format!(":{from}\""), &format!(":{to}\""));
                text = text.replace(&format!("\nport = {from}\n"), &format!("\nport = {to}\n"));
            }
            let url = format!("ws://127.0.0.1:{}", after(&text, "\nport = "));
            let path = topology._folder.path().join(format!("{stem}.toml"));
            std::fs::write(&path, text).unwrap();
            let child = program(&["server", "start-config", &path.display().to_string()])
                .env("MPREG__NODE__STATE_DIR", topology._folder.path().join(stem))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            topology.nodes.insert(stem.clone(), child);
            topology.urls.insert(stem.clone(), url);
        }
        topology
    }

    /// Calls until it succeeds, and gives up after a while.
    fn answers(&self, node: &str, function: &str, args: &[&str], expected: &str) {
        let end = Instant::now() + Duration::from_secs(40);
        loop {
            let output = program(&["client", "call", function])
                .args(args)
                .args(["--url", &self.urls[node]])
                .output()
                .unwrap();
            if String::from_utf8_lossy(&output.stdout).contains(expected) {
                return;
            }
            assert!(Instant::now() < end, "{function} at {node}: {output:?}");
            std::thread::yield_now();
        }
    }

    /// Two functions, called at every node.
    fn answers_everywhere(&self, functions: &[(&str, &[&str], &str)]) {
        for node in self.urls.keys() {
            for (function, args, expected) in functions {
                self.answers(node, function, args, expected);
            }
        }
    }
}

impl Drop for Topology {
    fn drop(&mut self) {
        for child in self.nodes.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Explains until a line of the answer says what is expected, and gives up after a while.
fn explains(topology: &Topology, node: &str, args: &[&str], expected: &str) -> Value {
    let end = Instant::now() + Duration::from_secs(40);
    loop {
        let run = |more: &[&str]| {
            let url = &topology.urls[node];
            program(&["explain"]).args(args).args(["--url", url]).args(more).output().unwrap()
        };
        let output = run(&[]);
        let text = String::from_utf8_lossy(&output.stdout);
        if text.contains(expected) && !text.contains("NOT FOUND") {
            assert_eq!(output.status.code(), Some(0), "{text}");
            return serde_json::from_slice(&run(&["--json"]).stdout).unwrap();
        }
        assert!(Instant::now() < end, "{args:?} at {node}: {output:?}");
        std::thread::yield_now();
    }
}

fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mpreg"));
    command.args(args).current_dir(env!("CARGO_MANIFEST_DIR")).env_clear();
    command.env("PATH", std::env::var("PATH").unwrap_or_default());
    command
}

fn after<'a>(text: &'a str, word: &str) -> &'a str {
    let rest = text.split_once(word).unwrap().1;
    rest.lines().next().unwrap()
}

/// Held together until all are known, so that none is given twice.
fn free_ports(count: usize) -> Vec<String> {
    let held: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    held.iter().map(|l| l.local_addr().unwrap().port().to_string()).collect()
}

const ADD: (&str, &[&str], &str) = ("demo.add", &["2", "3"], "5");
const UPPER: (&str, &[&str], &str) = ("demo.upper", &["\"abc\""], "ABC");

#[test]
fn every_node_of_the_mesh_calls_a_function_of_one() {
    Topology::start("mesh").answers_everywhere(&[ADD]);
}

#[test]
fn spokes_call_each_other_through_the_hub() {
    Topology::start("hub-and-spoke").answers_everywhere(&[ADD, UPPER]);
}

#[test]
fn a_mesh_and_an_edge_reach_each_other_through_a_hub() {
    Topology::start("hybrid").answers_everywhere(&[ADD, UPPER]);
}

#[test]
fn two_federated_clusters_call_each_other() {
    Topology::start("federated").answers_everywhere(&[ADD, UPPER]);
}

#[test]
fn a_call_through_the_hub_is_explained_hop_by_hop() {
    let topology = Topology::start("hub-and-spoke");
    topology.answers("spoke-1", UPPER.0, UPPER.1, UPPER.2);
    let clusters = |mut step: &Value| {
        let mut clusters = vec![step["cluster"].clone()];
        while !step["next"][0]["answer"].is_null() {
            step = &step["next"][0]["answer"];
            clusters.push(step["cluster"].clone());
        }
        (clusters, step["verdict"]["word"].clone())
    };
    let whole = vec![json!("spoke-1"), json!("hub"), json!("spoke-2")];
    let step = explains(&topology, "spoke-1", &["call", "demo.upper"], "runs_here");
    assert_eq!(clusters(&step), (whole.clone(), json!("runs_here")), "{step:#}");
    let chosen = &step["candidates"][0];
    assert_eq!((&chosen["cluster"], &chosen["chosen"]), (&json!("spoke-2"), &json!(true)));
    assert!(chosen["age_seconds"].is_f64() && chosen["told_by"].is_string(), "{chosen}");
    assert_eq!(step["next"][0]["route"]["path"]["hops"], json!(whole), "{step:#}");
    assert_eq!(step["next"][0]["route"]["signature"], "unsigned");
    let step = explains(&topology, "spoke-1", &["route", "spoke-2"], "arrived");
    assert_eq!(clusters(&step), (whole, json!("arrived")));
    assert_eq!(step["trace"]["candidates"][0]["path"]["hops"], json!(["spoke-1", "hub", "spoke-2"]));

    let fails = |args: &[&str], expected: &str| {
        let output = program(&["explain"]).args(args).args(["--url", &topology.urls["spoke-1"]]).output();
        let output = output.unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(text.contains("NOT FOUND") && text.contains(expected), "{text}");
    };
    fails(&["call", "demo.upper", "--version-constraint", ">=9"], "version: its version is 1.0.0");
    fails(&["call", "demo.upper", "--target-cluster", "hub"], "cluster: its cluster is spoke-2");
    fails(&["call", "demo.nobody"], "function_not_found");
    fails(&["route", "spoke-2", "--avoid", "hub"], "no_fabric_path");
    fails(&["route", "elsewhere"], "no_fabric_path");
    fails(&["topic", "nobody.listens"], "no_subscribers");
}
