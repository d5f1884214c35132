//! The monitoring endpoint of a node, asked by hand.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};

use serde_json::{Value, json};

use super::kit::*;

/// An answer: status, headers with lower-case names, body.
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        assert_eq!(self.headers["content-type"], "application/json; charset=utf-8");
        serde_json::from_str(&self.body).unwrap()
    }
}

fn port_of(node: &Node) -> u16 {
    node.told("MPREG_MONITORING_URL=http://127.0.0.1:").parse().unwrap()
}

/// One request; `more` are further header lines.
fn ask(port: u16, request: &str, more: &str) -> Answer {
    let got = exchange_raw(
        port,
        format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}\r\n").as_bytes(),
    );
    let (head, body) = got.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {got:?}"));
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let header = |line: &str| line.split_once(": ").map(|(k, v)| (k.to_lowercase(), v.to_owned()));
    Answer { status, headers: lines.filter_map(header).collect(), body: body.to_owned() }
}

/// The samples of a node; every line must be well formed and every series come once.
fn samples(port: u16) -> BTreeMap<String, f64> {
    let answer = ask(port, "GET /metrics/prometheus", "");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let (mut samples, mut helps, mut types) = (BTreeMap::new(), Vec::new(), Vec::new());
    for line in answer.body.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            helps.push(rest.split(' ').next().unwrap());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            types.push(rest.split(' ').next().unwrap());
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert_eq!(series.split('{').next(), types.last().copied(), "{line}");
            assert!(samples.insert(series.to_owned(), value.parse().unwrap()).is_none(), "twice: {line}");
        }
    }
    assert_eq!(helps, types);
    samples
}

#[test]
fn probes_errors_and_methods() {
    let node = Node::start("[monitoring]\nport_file = \"DIR/web\"\n");
    let web = port_of(&node);
    assert_eq!(std::fs::read_to_string(node.folder.path().join("web")).unwrap(), format!("{web}\n"));
    let url = format!("http://127.0.0.1:{web}");
    assert_eq!(
        node.stdout()[2..],
        [format!("Monitoring endpoint: {url}"), format!("MPREG_MONITORING_URL={url}")]
    );
    for path in ["/healthz", "/readyz", "/healthz?x=1"] {
        let answer = ask(web, &format!("GET {path}"), "");
        assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("ok")));
        let head = ask(web, &format!("HEAD {path}"), "");
        assert_eq!((head.status, head.body.as_str()), (200, ""));
        assert!(head.headers["content-length"].parse::<usize>().unwrap() > 20);
    }
    let missing = ask(web, "GET /health/", "");
    assert_eq!((missing.status, &missing.json()["status"]), (404, &json!("error")));
    assert!(missing.body.contains("no such page") && missing.body.contains("/metrics/prometheus"));
    for method in ["POST", "DELETE", "OPTIONS"] {
        let answer = ask(web, &format!("{method} /readyz"), "");
        assert_eq!((answer.status, answer.headers["allow"].as_str()), (405, "GET, HEAD"));
        answer.json();
    }
    node.stop();
}

#[test]
fn metrics_count_what_happens() {
    let node = Node::start(&format!("[monitoring]\nenabled = true\n{}", function("t.add", "")));
    let web = port_of(&node);
    let before = samples(web);
    let reasons = before.keys().filter(|series| series.starts_with("mpreg_refusals_total{")).count();
    assert_eq!(reasons, mpreg::core::reason::REASONS.len());
    run(async |_| {
        let mut wire = node.wire().await;
        wire.subscribe("s", "a.#", 0).await;
        wire.publish("a.b", json!(1)).await;
        wire.call("t.add", json!([1, 2])).await;
        wire.call("no.such", json!([])).await;
        let after = samples(web);
        let function = "{function=\"t.add\",version=\"1.0.0\"}";
        for (series, grown) in [
            ("mpreg_connections".to_owned(), 1.0),
            ("mpreg_clients".to_owned(), 1.0),
            ("mpreg_subscriptions".to_owned(), 1.0),
            ("mpreg_rpc_requests_total".to_owned(), 2.0),
            ("mpreg_rpc_commands_total".to_owned(), 2.0),
            ("mpreg_pubsub_published_total".to_owned(), 1.0),
            ("mpreg_pubsub_delivered_total".to_owned(), 1.0),
            ("mpreg_backlog_messages".to_owned(), 1.0),
            ("mpreg_catalog_entries{type=\"topic\"}".to_owned(), 1.0),
            ("mpreg_refusals_total{reason=\"function_not_found\"}".to_owned(), 1.0),
            ("mpreg_refusals_total{reason=\"cycle\"}".to_owned(), 0.0),
            (format!("mpreg_function_calls_total{function}"), 1.0),
            (format!("mpreg_function_failures_total{function}"), 0.0),
        ] {
            assert_eq!(after[&series] - before[&series], grown, "{series}");
        }
        assert!(
            after["mpreg_backlog_bytes"] > 0.0 && after["mpreg_catalog_entries{type=\"function\"}"] > 20.0
        );
        assert_eq!(after[&format!("mpreg_function_instances_wanted{function}")], 1.0);
        assert!(after["mpreg_start_time_seconds"] == before["mpreg_start_time_seconds"]);
    });
}

#[test]
fn a_stopping_node_lives_but_is_not_ready() {
    let text = format!("[monitoring]\n{}", function("t.slow", "environment = { RELEASE_FILE = \"DIR/go\" }"));
    let mut node = Node::start(&text);
    let web = port_of(&node);
    run(async |_| {
        let mut wire = node.wire().await;
        wire.send(request("1", json!([command("c", "t.slow", json!(["x"]))]))).await;
        node.logged_text("slow x begins");
        node.signal(Signal::TERM);
        node.logged_text("stopping");
        eventually("not ready", async || ask(web, "GET /readyz", "").status == 503).await;
        assert!(ask(web, "GET /readyz", "").json()["message"].as_str().unwrap().contains("stopping"));
        assert_eq!(ask(web, "GET /healthz", "").status, 200);
        std::fs::write(node.folder.path().join("go"), "").unwrap();
        assert_eq!(wire.next().await["r"]["c"], "x");
    });
    assert_eq!(node.ended().code(), Some(0));
}

#[test]
fn a_token_guards_everything_but_the_probes() {
    let node = Node::start("[monitoring]\ntoken = \"s3cret-token\"\n");
    let web = port_of(&node);
    for probe in ["/healthz", "/readyz"] {
        assert_eq!(ask(web, &format!("GET {probe}"), "").status, 200);
    }
    for (more, status) in [
        ("", 401),
        ("Authorization: Bearer wrong\r\n", 401),
        ("Authorization: Basic s3cret-token\r\n", 401),
        ("Authorization: Bearer s3cret-toke\r\n", 401),
        ("Authorization: Bearer s3cret-token\r\n", 200),
        ("authorization: bearer s3cret-token\r\n", 200),
    ] {
        assert_eq!(ask(web, "GET /metrics/prometheus", more).status, status, "{more}");
    }
    let refused = ask(web, "GET /nope", "");
    assert_eq!((refused.status, refused.headers["www-authenticate"].as_str()), (401, "Bearer"));
    assert!(node.logged_text("monitoring_unauthorized").contains("WARN"));
    assert!(!node.log().concat().contains("s3cret"));
}

#[test]
fn pages_of_other_origins_read_what_cors_allows() {
    let origin = |name: &str| format!("Origin: https://{name}.example\r\n");
    let node = Node::start("[monitoring]\n");
    let web = port_of(&node);
    for path in ["/healthz", "/nope"] {
        let answer = ask(web, &format!("GET {path}"), &origin("a"));
        assert_eq!(answer.headers["access-control-allow-origin"], "*");
    }
    let preflight = origin("a") + "Access-Control-Request-Method: GET\r\n";
    let answer = ask(web, "OPTIONS /metrics/prometheus", &preflight);
    assert_eq!(answer.status, 204);
    assert!(answer.headers["access-control-allow-headers"].contains("Authorization"));

    let node = Node::start("[monitoring]\n[monitoring.cors]\norigins = [\"https://good.example\"]\n");
    let web = port_of(&node);
    let good = ask(web, "GET /healthz", &origin("good"));
    assert_eq!(good.headers["access-control-allow-origin"], "https://good.example");
    assert_eq!(good.headers["vary"], "Origin");
    let bad = ask(web, "GET /healthz", &origin("bad"));
    assert!(!bad.headers.contains_key("access-control-allow-origin"));

    let node = Node::start("[monitoring]\nprometheus = false\n[monitoring.cors]\nenabled = false\n");
    let web = port_of(&node);
    let plain = ask(web, "GET /healthz", &origin("good"));
    assert!(!plain.headers.contains_key("access-control-allow-origin"));
    assert_eq!(ask(web, "OPTIONS /healthz", &preflight).status, 405);
    let off = ask(web, "GET /metrics/prometheus", "");
    assert_eq!(off.status, 404);
    assert!(off.body.contains("monitoring.prometheus is off"), "{}", off.body);
}

#[test]
fn a_busy_port_ends_the_start_unless_a_fallback_is_allowed() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    let output = refused(folder.path(), &format!("[monitoring]\nport = {port}\n"));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("monitoring.port: ") && told.contains(&format!("127.0.0.1:{port}")), "{told}");
    assert!(told.contains("in use; stop what listens there") && output.stdout.is_empty(), "{told}");

    let node = Node::start(&format!("[monitoring]\nport = {port}\nport_fallback = true\n"));
    let web = port_of(&node);
    assert_ne!(web, port);
    assert_eq!(ask(web, "GET /healthz", "").status, 200);
    node.logged_text(&format!("monitoring.port: {port} is in use"));
}

#[test]
fn connections_beyond_the_limit_are_refused_and_counted() {
    let node = Node::start("[monitoring]\n");
    let web = port_of(&node);
    let open: Vec<TcpStream> = (0..64).map(|_| TcpStream::connect(("127.0.0.1", web)).unwrap()).collect();
    let mut late = TcpStream::connect(("127.0.0.1", web)).unwrap();
    assert_eq!(late.read(&mut [0]).unwrap_or(0), 0);
    node.logged_text("monitoring_connections_limit");
    drop(open);
    run(async |_| {
        let counted = "mpreg_refusals_total{reason=\"monitoring_connections_limit\"} ";
        eventually("room again", async || {
            let told = exchange_raw(web, b"GET /metrics/prometheus HTTP/1.0\r\n\r\n");
            told.lines().any(|line| line.strip_prefix(counted).is_some_and(|n| n != "0"))
        })
        .await;
    });
}
