//! Nodes that find each other in the places of `[[peers.discover]]`.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use simple_dns::rdata::{A, RData, SRV};
use simple_dns::{CLASS, Name, Packet, RCODE, ResourceRecord};
use tempfile::TempDir;

use super::kit::*;

/// Answers each request with what is set for its path; the thread ends with the process.
struct Web {
    address: SocketAddr,
    pages: Pages,
    asked: Arc<Mutex<Vec<String>>>,
}

/// Status and body by path.
type Pages = Arc<Mutex<BTreeMap<String, (u16, String)>>>;

impl Web {
    fn start() -> Web {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (pages, asked) = (Pages::default(), Arc::<Mutex<Vec<String>>>::default());
        let (known, seen) = (pages.clone(), asked.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                stream.set_read_timeout(Some(TIME_MAX)).unwrap();
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
                    head.push(byte[0]);
                }
                let head = String::from_utf8(head).unwrap();
                let Some(path) = head.split(' ').nth(1) else { continue };
                seen.lock().unwrap().push(path.to_owned());
                let (status, body) = known.lock().unwrap().get(path).cloned().unwrap_or((404, String::new()));
                let length = body.len();
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nLocation: http://127.0.0.1:1/\r\nConnection: close\r\n\r\n{body}"
                );
            }
        });
        Web { address, pages, asked }
    }

    fn set(&self, path: &str, status: u16, body: impl ToString) {
        self.pages.lock().unwrap().insert(path.to_owned(), (status, body.to_string()));
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// A name server that knows the places of one service, all of them on this machine.
struct Names {
    address: SocketAddr,
    ports: Arc<Mutex<Option<Vec<u16>>>>,
}

impl Names {
    fn start() -> Names {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let ports: Arc<Mutex<Option<Vec<u16>>>> = Arc::default();
        let known = ports.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 600];
            loop {
                let (length, from) = socket.recv_from(&mut bytes).unwrap();
                let asked = Packet::parse(&bytes[..length]).unwrap();
                let mut answer = Packet::new_reply(asked.id());
                answer.questions = asked.questions.clone();
                let name = asked.questions[0].qname.clone();
                let text = name.to_string();
                let target = Name::new("here.test").unwrap();
                let record = |data| ResourceRecord::new(name.clone(), CLASS::IN, 1, data);
                match (text.as_str(), &*known.lock().unwrap()) {
                    ("_mpreg._tcp.mesh.test", Some(ports)) => {
                        answer.answers.extend(ports.iter().map(|port| {
                            record(RData::SRV(SRV {
                                priority: 1,
                                weight: 1,
                                port: *port,
                                target: target.clone(),
                            }))
                        }));
                    }
                    ("here.test", _) => answer.answers.push(record(RData::A(A { address: 0x7f00_0001 }))),
                    _ => *answer.rcode_mut() = RCODE::ServerFailure,
                }
                socket.send_to(&answer.build_bytes_vec_compressed().unwrap(), from).unwrap();
            }
        });
        Names { address, ports }
    }

    fn set(&self, ports: Option<Vec<u16>>) {
        *self.ports.lock().unwrap() = ports;
    }
}

/// A node of cluster `c` with a function and no peers of its own.
fn alone(fun: &str) -> Node {
    Node::start(&format!("{BASE}{}", function(fun, "")))
}

/// One that looks for its peers in this place; `DIR` is its folder.
fn seeker(place: &str) -> Node {
    seeker_in(tempfile::tempdir().unwrap(), place)
}

fn seeker_in(folder: TempDir, place: &str) -> Node {
    Node::start_in(folder, &config(place))
}

fn config(place: &str) -> String {
    format!("{BASE}[[peers.discover]]\ninterval = \"300ms\"\nregistration_ttl = \"1s\"\n{place}\n")
}

const BASE: &str =
    "[node]\ncluster_id = \"c\"\n[fabric]\ngossip_interval = \"200ms\"\n[log]\nlevel = \"debug\"\n";

async fn until_answered(node: &Node, fun: &str) {
    let mut wire = node.wire().await;
    eventually(fun, async || wire.call(fun, json!([])).await["error"].is_null()).await;
}

fn clusters(urls: &[String]) -> Value {
    let cluster = |url: &String| json!({"cluster_id": "c", "server_url": url, "bridge_url": url, "health_score": 100.0});
    json!({ "clusters": urls.iter().map(cluster).collect::<Vec<_>>() })
}

/// Writes it beside and renames it, so that nobody reads half of it.
fn put(folder: &std::path::Path, text: impl ToString) {
    let beside = folder.join("peers.new");
    std::fs::write(&beside, text.to_string()).unwrap();
    std::fs::rename(beside, folder.join("peers")).unwrap();
}

#[test]
fn a_file_is_followed_as_it_changes_and_what_is_no_document_changes_nothing() {
    let (first, second) = (alone("one.pid"), alone("two.pid"));
    let node = seeker("type = \"static_file\"\npath = \"DIR/peers\"\n");
    let folder = node.folder.path().to_owned();
    run(async |_| {
        node.logged("the file that is not there", |line| {
            line.contains("peers.discover") && line.contains("cannot be read")
        });
        put(&folder, clusters(&[first.url()]));
        until_answered(&node, "one.pid").await;
        put(&folder, "{\"clusters\": [");
        node.logged("the bad document", |line| {
            line.contains("no JSON") && line.contains("stay as they were")
        });
        put(&folder, format!("# by hand\n{}\n{}\n", first.url(), second.url()));
        until_answered(&node, "two.pid").await;
        until_answered(&node, "one.pid").await;
    });
}

#[test]
fn a_document_over_http_may_fail_and_a_peer_may_come_back_elsewhere() {
    let web = Web::start();
    let first = alone("one.pid");
    web.set("/peers?all", 500, "");
    let node = seeker(&format!("type = \"http\"\nurl = \"http://{}/peers?all\"\n", web.address));
    run(async |_| {
        node.logged("the failure", |line| line.contains("WARN") && line.contains("HTTP 500"));
        web.set("/peers?all", 200, clusters(&[first.url()]));
        until_answered(&node, "one.pid").await;
        for (status, body, why) in [
            (302, String::new(), "redirections are not followed"),
            (200, "<html></html>".to_owned(), "no URL such as"),
            (200, " ".repeat((1 << 20) + 1), "more than 1048576 bytes"),
        ] {
            web.set("/peers?all", status, body);
            node.logged(why, |line| line.contains(why));
            web.set("/peers?all", 200, clusters(&[first.url()]));
            let asked = web.asked().len();
            eventually("another question", async || web.asked().len() > asked + 1).await;
        }
        drop(first);
        let again = alone("again.pid");
        web.set("/peers?all", 200, json!([again.url()]));
        until_answered(&node, "again.pid").await;
        assert!(web.asked().iter().all(|path| path == "/peers?all"), "{:?}", web.asked());
    });
}

#[test]
fn services_of_consul_are_found_while_they_pass() {
    let web = Web::start();
    let (first, second) = (alone("one.pid"), alone("two.pid"));
    let path = "/v1/health/service/mesh?dc=dc7&passing=true";
    let instance = |node: &Node| json!({"Node": {"Address": "127.0.0.1"}, "Service": {"Address": "", "Port": node.port}});
    web.set(path, 200, json!([instance(&first)]));
    let node = seeker(&format!(
        "type = \"consul\"\nconsul = {{ host = \"127.0.0.1\", port = {}, service = \"mesh\", datacenter = \"dc7\" }}\n",
        web.address.port()
    ));
    run(async |_| {
        until_answered(&node, "one.pid").await;
        web.set(path, 500, "No cluster leader");
        node.logged("the failure", |line| line.contains("WARN") && line.contains("HTTP 500"));
        web.set(path, 200, json!([instance(&second)]));
        until_answered(&node, "two.pid").await;
        assert!(web.asked().iter().all(|asked| asked == path), "{:?}", web.asked());
    });
}

#[test]
fn services_in_dns_are_found_with_their_addresses() {
    let names = Names::start();
    let (first, second) = (alone("one.pid"), alone("two.pid"));
    let node = seeker(&format!(
        "type = \"dns_srv\"\ndomain = \"mesh.test\"\nresolver = \"{}\"\ntimeout = \"500ms\"\n",
        names.address
    ));
    run(async |_| {
        node.logged("the failure", |line| line.contains("WARN") && line.contains("SERVFAIL"));
        names.set(Some(vec![first.port]));
        until_answered(&node, "one.pid").await;
        names.set(None);
        drop(first);
        names.set(Some(vec![second.port]));
        until_answered(&node, "two.pid").await;
    });
}

/// What the static binary could not have: the lookup of the system, and with it what NSS loads.
#[test]
fn the_program_does_not_contain_the_lookup_of_the_system() {
    let program = std::fs::read(env!("CARGO_BIN_EXE_mpreg")).unwrap();
    assert!(memchr::memmem::find(&program, b"getrandom").is_some(), "names of functions are seen");
    for name in ["getaddrinfo", "gethostbyname"] {
        assert!(memchr::memmem::find(&program, name.as_bytes()).is_none(), "{name}");
    }
}

#[test]
fn places_change_with_a_reload() {
    let (first, second) = (alone("one.pid"), alone("two.pid"));
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), first.url());
    let node = seeker_in(folder, "type = \"static_file\"\npath = \"DIR/peers\"\n");
    run(async |_| {
        until_answered(&node, "one.pid").await;
        let other = node.folder.path().join("other");
        std::fs::write(&other, second.url()).unwrap();
        let text = config("type = \"static_file\"\npath = \"DIR/other\"\n");
        node.rewrite(&text);
        node.signal(Signal::HUP);
        until_answered(&node, "two.pid").await;
        assert_eq!(node.count_logged("takes effect after a restart"), 0);
    });
}

#[test]
fn places_that_cannot_be_asked_are_refused_at_start() {
    let folder = tempfile::tempdir().unwrap();
    for (place, told) in [
        ("type = \"static_file\"", "node.toml:3:1: `peers.discover` of type \"static_file\" needs `path`"),
        ("type = \"http\"\nurl = \"ws://a:1\"", "node.toml:5:"),
        ("type = \"http\"\nurl = \"http://u:p@a\"", "expected a URL that starts with http:// or https://"),
        (
            "type = \"http\"\nurl = \"http://a\"\npath = \"x\"",
            "node.toml:6:1: `path` of `peers.discover` is for static_file, not for http",
        ),
        (
            "type = \"dns_srv\"\nmin_health_score = 1",
            "`min_health_score` of `peers.discover` is for static_file and http, not for dns_srv",
        ),
        (
            "type = \"dns_srv\"\nresolver = \"10.0.0.1\"",
            "`resolver` of `peers.discover` is \"10.0.0.1\"; expected host:port",
        ),
        ("type = \"dns_srv\"\nservice = \"_a b._tcp\"", "expected labels such as _mpreg._tcp"),
        (
            "type = \"consul\"\nconsul = { service = \"a/b\" }",
            "`consul.service` of `peers.discover` is \"a/b\"",
        ),
        (
            "type = \"static_file\"\npath = \"x\"\nconsul = { port = 1 }",
            "`consul` of `peers.discover` is for consul",
        ),
    ] {
        let refused = refused(folder.path(), &format!("[[peers.discover]]\n{place}\n"));
        let errors = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(78), "{place}: {errors}");
        assert!(errors.contains(told), "{place}: {errors}");
    }
}
