//! The built program against a scripted node in this process: what each verb sends, prints and exits with.

// Enforced inside `core` only, see `clippy.toml`.
#![allow(clippy::disallowed_methods)]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
};

use async_tungstenite::{
    accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{ErrorResponse, Request, Response},
        http::StatusCode,
    },
};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use smol::{
    Executor,
    channel::{Sender, unbounded},
    future::FutureExt,
    net::{TcpListener, TcpStream},
    stream::StreamExt,
};

/// A node that answers by script and remembers what it was asked.
struct Node {
    url: String,
    seen: Arc<Mutex<Vec<Value>>>,
}

/// Where a message goes on a topic of the bench: (subscription, connection).
type Subscribers = Arc<Mutex<Vec<(String, Sender<Value>)>>>;

impl Node {
    fn start() -> Node {
        let listener = smol::block_on(TcpListener::bind(("127.0.0.1", 0))).unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let node = Node { url, seen: seen.clone() };
        std::thread::spawn(move || {
            let executor = Arc::new(Executor::new());
            let subscribers = Subscribers::default();
            smol::block_on(executor.run(async {
                while let Ok((stream, _)) = listener.accept().await {
                    executor.spawn(serve(stream, seen.clone(), subscribers.clone())).detach();
                }
            }));
        });
        node
    }

    fn run(&self, line: &str) -> Output {
        let mut words = words(line);
        words.extend(["--url".to_owned(), self.url.clone()]);
        program(&words, &[])
    }

    /// What a verb that must succeed prints.
    fn ok(&self, line: &str) -> String {
        let output = self.run(line);
        assert_eq!(output.status.code(), Some(0), "{line}: {output:?}");
        assert!(output.stderr.is_empty(), "{line}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The reason of a verb that must fail with this status and print nothing.
    fn fails(&self, line: &str, status: i32) -> String {
        let output = self.run(line);
        assert_eq!(output.status.code(), Some(status), "{line}: {output:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{line}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// The last message of the program.
    fn last(&self) -> Value {
        self.seen.lock().unwrap().last().unwrap().clone()
    }

    /// The argument of the last call.
    fn last_payload(&self) -> Value {
        self.last()["cmds"][0]["args"][0].clone()
    }
}

async fn serve(stream: TcpStream, seen: Arc<Mutex<Vec<Value>>>, subscribers: Subscribers) {
    let credentials = Arc::new(Mutex::new(Value::Null));
    let found = credentials.clone();
    #[expect(clippy::result_large_err, reason = "the shape of the library's callback")]
    let check = move |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        let header = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok());
        *found.lock().unwrap() =
            json!({ "authorization": header("authorization"), "x-api-key": header("x-api-key") });
        if header("authorization") == Some("Bearer bad-token") {
            let mut refusal = ErrorResponse::new(None);
            *refusal.status_mut() = StatusCode::UNAUTHORIZED;
            return Err(refusal);
        }
        Ok(response)
    };
    let Ok(mut socket) = accept_hdr_async(stream, check).await else { return };
    let (sender, notifications) = unbounded();
    loop {
        let arrived = async { Ok(socket.next().await) };
        let answers = match arrived.or(async { Err(notifications.recv().await) }).await {
            Ok(Some(Ok(Message::Binary(bytes)))) => {
                let message: Value = serde_json::from_slice(&bytes).unwrap();
                let credentials = credentials.lock().unwrap().clone();
                if message["message"]["topic"].as_str().is_some_and(|topic| topic.starts_with("bench.")) {
                    let lossy = credentials["authorization"] == "Bearer lossy";
                    fan_out(&message, &subscribers.lock().unwrap(), lossy);
                } else {
                    seen.lock().unwrap().push(message.clone());
                }
                if let Some(id) = message["subscription"]["subscription_id"].as_str() {
                    subscribers.lock().unwrap().push((id.to_owned(), sender.clone()));
                }
                answers(&message, credentials)
            }
            Ok(Some(Ok(Message::Close(_)) | Err(_)) | None) => return,
            Ok(Some(Ok(_))) => continue,
            Err(notification) => vec![notification.unwrap()],
        };
        for answer in answers {
            if socket.send(Message::Binary(answer.to_string().into())).await.is_err() {
                return;
            }
        }
    }
}

/// Hands a message of the bench to its subscribers; a lossy node sometimes forgets one of them.
fn fan_out(message: &Value, subscribers: &[(String, Sender<Value>)], lossy: bool) {
    let message = &message["message"];
    let run = message["topic"].as_str().unwrap().rsplit('.').next().unwrap();
    let mine: Vec<_> = subscribers.iter().filter(|(id, _)| id.contains(run)).collect();
    let id = message["message_id"].as_str().unwrap();
    // Amid what is measured, so that nobody has to wait for a last message that never comes.
    let forget = lossy && ["137", "147", "157"].iter().any(|number| id.ends_with(number));
    for (id, subscriber) in &mine[..mine.len() - usize::from(forget)] {
        let notification =
            json!({ "role": "pubsub-notification", "message": message, "subscription_id": id, "u": "n" });
        // One that has gone away does not want it.
        let _ = subscriber.try_send(notification);
    }
}

fn answers(message: &Value, credentials: Value) -> Vec<Value> {
    let u = &message["u"];
    let ack = json!({ "role": "pubsub-ack", "operation_id": u, "success": true, "error": null, "u": "ack" });
    let id = &message["subscription"]["subscription_id"];
    match message["role"].as_str().unwrap() {
        "pubsub-subscribe" => {
            let topic = message["subscription"]["patterns"][0]["pattern"].as_str().unwrap();
            let notify = |payload: Value| {
                json!({ "role": "pubsub-notification", "subscription_id": id, "u": "n", "message": {
                    "topic": topic, "payload": payload, "timestamp": 0.0, "message_id": "m", "publisher": "p", "headers": {} } })
            };
            let change = json!({ "delta": { "update_id": "u-1" }, "namespaces": ["ns"], "published_at": 0.0,
                "source_node": "n", "source_cluster": "c", "counts": { "services_added": 1, "nodes_added": 0 } });
            match topic.split('.').next() {
                Some("mpreg") => vec![ack, notify(change.clone()), notify(change)],
                Some("bench") => vec![ack],
                _ => vec![notify(json!("early")), ack, notify(json!({ "n": 1 }))],
            }
        }
        "pubsub-publish" if message["message"]["topic"] == "mpreg.x" => {
            vec![
                json!({ "role": "pubsub-ack", "operation_id": u, "success": false, "error": "reserved_topic", "u": "ack" }),
            ]
        }
        "rpc" => {
            let command = &message["cmds"][0];
            match value(command, credentials) {
                Some(Ok(value)) => {
                    vec![json!({ "r": { command["name"].as_str().unwrap(): value }, "error": null, "u": u })]
                }
                Some(Err((code, text))) => {
                    vec![
                        json!({ "r": null, "error": { "code": code, "message": text, "details": format!("{text}: {}", command["fun"]) }, "u": u }),
                    ]
                }
                None => Vec::new(),
            }
        }
        _ => vec![ack],
    }
}

fn value(command: &Value, credentials: Value) -> Option<Result<Value, (i64, &'static str)>> {
    let payload = &command["args"][0];
    let function = |name: &str| json!({ "identity": { "name": name, "function_id": name, "version": "1.2.3" }, "node_id": "ws://n", "cluster_id": "c", "resources": ["r"], "tags": [], "scope": "zone", "summary": { "name": name, "summary": "what it does" } });
    Some(Ok(match command["fun"].as_str().unwrap() {
        "echo" => payload.clone(),
        "echos" => command["args"].clone(),
        "who" => credentials,
        "slow" => return None,
        "denied" | "summary_watch" => return Some(Err((403, "discovery_access_denied"))),
        "limited" => return Some(Err((429, "discovery_rate_limited"))),
        "list_peers" => json!([]),
        "rpc_list" => match payload["page_token"].as_str() {
            None => json!({ "items": [function("a.one")], "next_page_token": "1:1" }),
            Some(_) => json!({ "items": [function("b.two")] }),
        },
        "catalog_query" => {
            json!({ "entry_type": "functions", "generated_at": 1.0, "items": [function("a.one")], "next_page_token": "1:1" })
        }
        "summary_query" => {
            json!({ "generated_at": 1.0, "items": [{ "service_id": "a.one" }], "ingress": { "c": ["ws://n"] } })
        }
        "catalog_watch" => json!({ "topic": "mpreg.discovery.delta" }),
        "dns_register" => json!({ "registration_id": "x", "service": payload }),
        "dns_unregister" => json!({ "removed": payload["port"] == 1 }),
        "dns_list" | "dns_describe" => {
            json!({ "items": [{ "name": "web", "namespace": "shop", "port": 80, "metadata": { "shard": "3" } }] })
        }
        "namespace_policy_validate" => match payload["rules"][0]["namespace"].as_str() {
            Some("") => json!({ "valid": false, "errors": ["rules[0].namespace is empty"] }),
            _ => json!({ "valid": true, "errors": [] }),
        },
        "namespace_policy_apply" => json!({ "applied": true, "valid": true, "errors": [] }),
        "namespace_policy_export" => json!({ "enabled": true, "rules": [{ "namespace": "svc" }] }),
        "namespace_policy_audit" => json!({ "entries": [{ "event": "apply", "actor": "me" }] }),
        "discovery_access_audit" => json!({ "entries": [] }),
        "resolver_cache_stats" => json!({ "enabled": true, "entry_counts": { "functions": 3 } }),
        "resolver_resync" => {
            json!({ "enabled": false, "resynced": false, "error": "resolver_mode_disabled" })
        }
        _ => return Some(Err((1001, "Command not found"))),
    }))
}

/// Words of a line; single quotes keep blanks.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (n, part) in line.split('\'').enumerate() {
        match n % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    words
}

fn command(words: &[String], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mpreg"));
    command.args(words).stdin(Stdio::null());
    for name in ["MPREG_URL", "MPREG_TOKEN", "MPREG_API_KEY", "MPREG_CA_FILE"] {
        command.env_remove(name);
    }
    command.envs(environment.iter().copied());
    command
}

fn program(words: &[String], environment: &[(&str, &str)]) -> Output {
    command(words, environment).output().unwrap()
}

fn status(line: &str, environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let output = program(&words(line), environment);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn every_verb_and_group_has_help_on_stdout() {
    fn visit(path: &str, verb: &argh::CommandInfoWithArgs) {
        let (code, out, err) = status(&format!("{path} --help"), &[]);
        assert!(code == Some(0) && err.is_empty(), "{path}: {code:?} {err}");
        assert!(out.starts_with(&format!("Usage: mpreg{path}")), "{out}");
        for flag in verb.flags {
            assert!(out.contains(flag.long), "{path} {}", flag.long);
        }
        for inner in &verb.commands {
            let is_hidden = path.is_empty() && inner.name == "docs";
            assert_ne!(out.contains(&format!("\n  {} ", inner.name)), is_hidden, "{path} {}", inner.name);
            visit(&format!("{path} {}", inner.name), &inner.command);
        }
    }
    visit("", &mpreg::cli::commands());
}

#[test]
fn the_version_is_printed() {
    assert_eq!(status("--version", &[]).1, concat!("mpreg ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn usage_errors_are_two_and_say_what_was_meant() {
    for (line, hint) in [
        ("", "Usage: mpreg"),
        ("client", "Usage: mpreg client"),
        ("clint call f", "did you mean `mpreg client`"),
        ("client cal f", "did you mean `mpreg client call`"),
        ("client call", "FUN"),
        ("client call f --bogus --url ws://127.0.0.1:1", "--bogus"),
        ("client call f --timeout soon --url ws://127.0.0.1:1", "--timeout"),
        ("client call f --timeout 0 --url ws://127.0.0.1:1", "--timeout"),
        ("client call f", "MPREG_URL"),
        ("client call f --url http://127.0.0.1:1", "ws://"),
        ("client call f --url ws://127.0.0.1:1 --token a --token-file b", "not both"),
        ("client call f --url tcp://127.0.0.1:1 --token a", "ws:// or wss://"),
        ("client call f --url ws://127.0.0.1:1 --ca-file a", "--ca-file needs a URL with wss://"),
        ("bench rpc --url tcp://127.0.0.1:1 --insecure", "--insecure needs a URL with wss://"),
        ("client call f --url wss://127.0.0.1:1 --cert-file a", "--key-file"),
        ("client call f --url wss://127.0.0.1:1 --ca-file a --insecure", "not both"),
        ("client call f --url tcps://127.0.0.1:1 --ca-file /nowhere/ca.pem", "--ca-file /nowhere/ca.pem"),
        ("client subscribe --url ws://127.0.0.1:1", "PATTERN"),
        ("client publish t 1 --header x --url ws://127.0.0.1:1", "NAME=VALUE"),
        ("client dns-register --url ws://127.0.0.1:1 --name x", "--namespace"),
        ("discovery watch --summary --delta --url ws://127.0.0.1:1", "not both"),
        ("server start --monitoring --no-monitoring", "not both"),
        ("bench rpc --window 0 --url ws://127.0.0.1:1", "--window"),
    ] {
        let (code, out, err) = status(line, &[("MPREG_URL", "")]);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{line}: {err}");
        assert!(err.contains(hint), "{line}: {err}");
    }
}

#[test]
fn nobody_there_is_sixty_nine() {
    for (line, url) in [
        ("client call echo 1", "ws://127.0.0.1:1"),
        ("client list-peers", "wss://127.0.0.1:1"),
        ("discovery watch", "tcp://127.0.0.1:1"),
        ("client publish a b", "tcps://127.0.0.1:1"),
        ("bench rpc", "ws://127.0.0.1:1"),
    ] {
        let (code, out, err) = status(&format!("{line} --url {url}"), &[]);
        assert_eq!((code, out.as_str()), (Some(69), ""), "{line}");
        assert!(err.contains(url) && !err.contains("panicked"), "{err}");
    }
}

#[test]
fn a_call_prints_its_value() {
    let node = Node::start();
    for (argument, shown) in [
        ("hello", "hello"),
        ("'\"quoted\"'", "quoted"),
        ("42", "42"),
        ("-5", "-5"),
        ("3.5", "3.5"),
        ("null", "null"),
    ] {
        assert_eq!(node.ok(&format!("client call echo {argument}")), format!("{shown}\n"));
    }
    assert_eq!(node.ok("client call echo '{\"a\":1}'"), "{\n  \"a\": 1\n}\n");
    assert_eq!(node.ok("client call echos 1 help --json"), "[1,\"help\"]\n");
    let environment = [("MPREG_URL", node.url.as_str())];
    assert_eq!(status("client call echo -- --json", &environment).1, "--json\n");
}

#[test]
fn a_call_says_all_that_it_was_told() {
    let node = Node::start();
    node.ok("client call echo x --locs gpu --locs eu --function-id i --version-constraint >=1,<2 --target-cluster c --timeout 2.5");
    let (message, command) = (node.last(), node.last()["cmds"][0].clone());
    assert_eq!(message["timeout_seconds"], 2.5);
    assert_eq!((&command["locs"], &command["function_id"]), (&json!(["gpu", "eu"]), &json!("i")));
    assert_eq!((&command["version_constraint"], &command["target_cluster"]), (&json!(">=1,<2"), &json!("c")));
    node.ok("client call echo x");
    assert_eq!(node.last().get("timeout_seconds"), None);
}

#[test]
fn failures_have_a_reason_and_a_status() {
    let node = Node::start();
    let reason = node.fails("client call no.such.function", 1);
    assert!(reason.contains("no.such.function") && reason.to_lowercase().contains("not found"), "{reason}");
    assert!(node.fails("client call limited", 75).contains("rate"));
    assert!(node.fails("client call denied", 77).contains("denied"));
    assert!(node.fails("discovery watch --summary", 77).contains("denied"));
    assert!(node.fails("client call slow --timeout 0.05", 75).contains("0.05 s"));
    assert!(node.fails("client resolver-resync", 1).contains("resolver_mode_disabled"));
    assert!(node.fails("client publish mpreg.x 1", 1).contains("reserved_topic"));
    assert!(
        node.fails("client dns-unregister --name a --namespace b --port 2", 1).contains("holds no service")
    );
}

#[test]
fn credentials_are_sent_and_never_shown() {
    let node = Node::start();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    fs::File::create(&path).unwrap().write_all(b"from-file\n").unwrap();
    let file = format!("client call who --json --token-file {}", path.display());

    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(node.fails(&file, 2).contains("chmod 600"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(node.ok(&file).contains("Bearer from-file"));
    assert!(node.ok("client call who --json --token opt").contains("Bearer opt"));
    assert!(node.ok("client call who --json --api-key key-1").contains("\"x-api-key\":\"key-1\""));
    let environment =
        [("MPREG_URL", node.url.as_str()), ("MPREG_TOKEN", "env-t"), ("MPREG_API_KEY", "env-k")];
    let shown = status("client call who --json", &environment).1;
    assert!(shown.contains("Bearer env-t") && shown.contains("env-k"), "{shown}");

    let reason = node.fails("client list-peers --token bad-token", 77);
    assert!(reason.contains("--token-file") && !reason.contains("bad-token"), "{reason}");
}

#[test]
fn json_is_one_document_and_nothing_else() {
    let node = Node::start();
    for line in [
        "client list-peers",
        "client functions",
        "client dns-list",
        "client dns-describe",
        "client dns-register --name a --namespace b --port 1",
        "client dns-unregister --name a --namespace b --port 1",
        "client namespace-policy export",
        "client namespace-policy audit",
        "client resolver-cache-stats",
        "client publish a.b 1",
        "discovery query",
        "discovery summary --include-ingress",
        "discovery access-audit",
    ] {
        let out = node.ok(&format!("{line} --json"));
        assert!(serde_json::from_str::<Value>(&out).is_ok(), "{line}: {out}");
    }
}

#[test]
fn text_is_aligned_and_counts_what_it_shows() {
    let node = Node::start();
    assert_eq!(node.ok("client list-peers").lines().last(), Some("[0 peers]"));
    let out = node.ok("client functions");
    let title = out.lines().next().unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(title, ["name", "version", "node", "cluster", "resources", "tags", "summary"]);
    assert!(
        out.lines().nth(2).is_some_and(|l| l.starts_with("b.two") && l.ends_with("  what it does")),
        "{out}"
    );
    assert_eq!(out.lines().last(), Some("[2 functions]"));
    assert_eq!(node.ok("client functions --limit 1").lines().last(), Some("[1 functions]"));
    let out = node.ok("discovery query --function-name a.one --capability rpc --limit 1");
    assert_eq!(out.lines().last(), Some("[1 functions; more with --page-token 1:1]"));
    let asked = node.last_payload();
    assert_eq!(
        asked,
        json!({ "entry_type": "functions", "capabilities": ["rpc"], "function_name": "a.one", "limit": 1 })
    );
    assert!(node.ok("client resolver-cache-stats").contains("entry_counts\n  functions  3\n"));
    assert!(node.ok("client dns-list").contains("shard=3"));
    assert!(node.ok("client dns-describe").contains("metadata\n  shard  3\n"));
    assert!(node.ok("discovery summary --include-ingress").contains("ws://n"));
    assert!(node.ok("discovery access-audit").contains("[0 entries]"));
}

#[test]
fn a_service_is_registered_with_all_its_members() {
    let node = Node::start();
    node.ok("client dns-register --name web --namespace shop --port 80 --target 192.0.2.8 --target h --tag t --metadata shard=3 --priority 4 --weight 6 --ttl 90");
    let sent = node.last_payload();
    assert_eq!((&sent["protocol"], &sent["targets"]), (&json!("tcp"), &json!(["192.0.2.8", "h"])));
    assert_eq!((&sent["metadata"], &sent["ttl_seconds"]), (&json!({ "shard": "3" }), &json!(90.0)));
}

#[test]
fn labels_of_nodes_need_no_node() {
    let label = "b32-o5ztulzpgezdolrqfyyc4mj2gqytamjr";
    assert_eq!(status("client dns-node-encode ws://127.0.0.1:41011", &[]).1, format!("{label}\n"));
    assert_eq!(status(&format!("client dns-node-decode {label}"), &[]).1, "ws://127.0.0.1:41011\n");
    for line in
        ["client dns-node-encode ''", "client dns-node-decode bad_label", "client dns-node-decode b32-!!!"]
    {
        assert_eq!(status(line, &[]).0, Some(1), "{line}");
    }
}

#[test]
fn policy_comes_from_a_file_and_its_verdict_decides() {
    let node = Node::start();
    let directory = tempfile::tempdir().unwrap();
    let file = |text: &str| {
        let path = directory.path().join("rules.json");
        fs::write(&path, text).unwrap();
        format!("--rules-file {}", path.display())
    };
    let good = file(r#"{"namespace": "svc"}"#);
    node.ok(&format!("client namespace-policy validate {good} --actor me"));
    assert_eq!(node.last_payload(), json!({ "rules": [{ "namespace": "svc" }], "actor": "me" }));
    node.ok(&format!("client namespace-policy apply {good} --no-enabled --default-deny"));
    assert_eq!(
        node.last_payload(),
        json!({ "rules": [{ "namespace": "svc" }], "enabled": false, "default_allow": false })
    );
    let output = node.run(&format!("client namespace-policy validate {}", file(r#"[{"namespace": ""}]"#)));
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.code() == Some(1) && shown.contains("namespace is empty"), "{shown}");
    assert!(
        node.fails(&format!("client namespace-policy validate {}", file("{not")), 1).contains("rules.json")
    );
    assert!(node.ok("client namespace-policy export").contains("namespace=svc"));
}

#[test]
fn listening_prints_a_line_for_each_message_and_ends_when_told() {
    let node = Node::start();
    assert_eq!(node.ok("client subscribe a.b --count 2"), "a.b early\na.b {\"n\":1}\n");
    let out = node.ok("client subscribe a.b --backlog 60 --count 2 --duration 30 --json");
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[1]["payload"]), (2, &json!({ "n": 1 })));
    let subscribed = node.seen.lock().unwrap().iter().rfind(|m| m["role"] == "pubsub-subscribe").cloned();
    assert_eq!(subscribed.unwrap()["subscription"]["backlog_seconds"], 60);

    assert!(node.ok("client subscribe a.b --count 9 --duration 0.05").lines().count() <= 2);
    let out = node.ok("discovery watch --count 2 --json");
    assert!(out.lines().count() == 2 && out.lines().all(|line| line.contains("update_id")), "{out}");
    let out = node.ok("discovery watch --namespace ns --count 1");
    assert_eq!(
        out,
        "1970-01-01T00:00:00Z update_id=u-1 source_node=n source_cluster=c namespaces=ns services_added=1\n"
    );
}

#[test]
fn publishing_sends_what_was_given() {
    let node = Node::start();
    let out = node.ok("client publish a.b '{\"id\": 7}' --header severity=high");
    let message = node.last()["message"].clone();
    assert_eq!(
        (&message["payload"], &message["headers"]),
        (&json!({ "id": 7 }), &json!({ "severity": "high" }))
    );
    assert!(out.contains(message["message_id"].as_str().unwrap()), "{out}");
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let node = Node::start();
    for line in [
        "client call echo hello",
        "discovery watch --count 2",
        "--help",
        "bench connections --connections 1 --seconds 0.05",
    ] {
        let mut child = command(&words(line), &[("MPREG_URL", &node.url)])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{line}: {output:?}");
        assert!(output.stderr.is_empty(), "{line}: {output:?}");
    }
}

#[test]
fn verbose_shows_the_messages_on_stderr() {
    let node = Node::start();
    let output = node.run("-v client call echo hello");
    let shown = String::from_utf8(output.stderr).unwrap();
    assert!(shown.contains("-> {\"role\":\"rpc\"") && shown.contains("<- "), "{shown}");
    assert_eq!(output.stdout, b"hello\n");
}

#[test]
fn a_bench_reports_its_ratio_and_fails_on_wrong_answers() {
    let node = Node::start();
    let out = node.ok("bench rpc --connections 2 --window 4 --seconds 0.2 --json");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert!(report["ratio"]["per_second"].as_f64().unwrap() > 0.0, "{out}");
    assert!(report["node"]["latency_microseconds"]["p99_9"].as_f64().unwrap() > 0.0, "{out}");
    assert!(node.ok("bench rpc --rate 200 --seconds 0.1").contains("ratio"));
    assert!(node.fails("bench rpc --function denied --seconds 0.1", 1).contains("discovery_access_denied"));
    assert!(node.fails("bench rpc --function who --seconds 0.1", 1).contains("--any-answer"));
    node.ok("bench rpc --function who --any-answer --seconds 0.1");
    let out = node.ok("bench pubsub --subscribers 3 --window 8 --payload 64 --seconds 0.2 --json");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert!(report["ratio"]["per_second"].as_f64().unwrap() > 0.0, "{out}");
    let output = node.run("bench pubsub --subscribers 3 --rate 500 --seconds 0.2 --json --token lossy");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.code() == Some(1) && report["node"]["lost"].as_u64().unwrap() > 0, "{report}");
    let out = node.ok("bench connections --connections 20 --seconds 0.05 --json");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&report["closed"], &report["memory"]["pid"]), (&json!(0), &json!(std::process::id())));
}

/// A real node with a listener for each transport, and an authority that signs for `localhost`.
struct RealNode {
    child: Child,
    directory: tempfile::TempDir,
    /// Protocol and port of each listener.
    listeners: Vec<(String, String)>,
}

impl RealNode {
    fn start(client_auth: &str) -> RealNode {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        issue(directory.path());
        let mut config = "[node]\nstandalone = true\n[monitoring]\nenabled = false\n".to_owned();
        for protocol in ["wss", "tcp", "tcps"] {
            config += &format!("[[listen.endpoint]]\nprotocol = \"{protocol}\"\n");
        }
        config += &format!("[tls]\nclient_auth = \"{client_auth}\"\n");
        for (key, name) in [("cert_file", "me.pem"), ("key_file", "me.key"), ("ca_file", "ca.pem")] {
            config += &format!("{key} = \"{}\"\n", path(name).display());
        }
        let file = path("node.toml");
        fs::write(&file, config).unwrap();
        let words = ["server".to_owned(), "start-config".to_owned(), file.display().to_string()];
        let mut child = command(&words, &[]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let listeners = lines
            .by_ref()
            .take_while(|line| !line.contains(" ready in "))
            .filter_map(|line| {
                let (_, listener) = line.split_once("listening on 127.0.0.1:")?;
                let (port, protocol) = listener.split_once(' ')?;
                Some((protocol.trim_matches(['(', ')']).to_owned(), port.to_owned()))
            })
            .collect();
        // Whatever else it says must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        RealNode { child, directory, listeners }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn port(&self, protocol: &str) -> &str {
        &self.listeners.iter().find(|(p, _)| p == protocol).unwrap().1
    }

    fn url(&self, protocol: &str) -> String {
        format!("{protocol}://localhost:{}", self.port(protocol))
    }

    /// Runs a verb against one of the listeners with the authority in the environment.
    fn run(&self, protocol: &str, line: &str) -> (Option<i32>, String, String) {
        let (url, authority) = (self.url(protocol), self.path("ca.pem"));
        status(line, &[("MPREG_URL", &url), ("MPREG_CA_FILE", authority.to_str().unwrap())])
    }
}

impl Drop for RealNode {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `ca.pem`, and `me.pem` with `me.key`, which it has signed for both ends.
fn issue(directory: &Path) {
    let write = |name: &str, pem: String| fs::write(directory.join(name), pem).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    write("ca.pem", authority.self_signed(&key).unwrap().pem());
    let issuer = Issuer::new(authority, key);
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    write("me.pem", params.signed_by(&key, &issuer).unwrap().pem());
    write("me.key", key.serialize_pem());
    fs::set_permissions(directory.join("me.key"), fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn every_transport_of_a_node_carries_every_kind_of_verb() {
    let node = RealNode::start("none");
    for protocol in ["ws", "wss", "tcp", "tcps"] {
        let ok = |line: &str| {
            let (code, out, err) = node.run(protocol, line);
            assert_eq!((code, err.as_str()), (Some(0), ""), "{protocol} {line}: {out}");
            out
        };
        assert_eq!(ok("client call echo hi"), "hi\n");
        let topic = format!("cli.{protocol}");
        assert!(ok(&format!("client publish {topic} 7")).contains(&topic));
        assert_eq!(ok(&format!("client subscribe {topic} --backlog 60 --count 1")), format!("{topic} 7\n"));
        ok("discovery watch --duration 0.01");
        let out = ok("bench rpc --connections 2 --window 4 --seconds 0.1 --json");
        let report: Value = serde_json::from_str(&out).unwrap();
        assert!(report["ratio"]["per_second"].as_f64().unwrap() > 0.0, "{out}");
    }
    for (protocol, verb) in
        [("tcp", "pubsub --subscribers 2 --window 8"), ("wss", "connections --connections 5")]
    {
        let (code, out, err) = node.run(protocol, &format!("bench {verb} --seconds 0.1 --json"));
        assert_eq!((code, err.as_str()), (Some(0), ""), "{protocol} {verb}: {out}");
    }
}

#[test]
fn a_certificate_that_is_not_accepted_is_sixty_nine_and_names_the_option() {
    let node = RealNode::start("none");
    let refused = |line: &str, environment: &[(&str, &str)], hint: &str| {
        let (code, out, err) = status(line, environment);
        assert_eq!((code, out.as_str()), (Some(69), ""), "{line}: {err}");
        assert!(err.contains(hint), "{line}: {err}");
    };
    let authority = node.path("ca.pem");
    let authority = authority.to_str().unwrap();
    for protocol in ["wss", "tcps"] {
        let url = node.url(protocol);
        let call = format!("client call echo hi --url {url}");
        refused(&call, &[], "--ca-file");
        assert_eq!(status(&format!("{call} --ca-file {authority}"), &[]).0, Some(0));
        let (code, out, err) = status(&format!("{call} --insecure"), &[("MPREG_CA_FILE", "/nowhere")]);
        assert_eq!((code, out.as_str()), (Some(0), "hi\n"));
        assert!(err.contains("--insecure") && err.lines().count() == 1, "{err}");
        let elsewhere = call.replace("localhost", "127.0.0.1");
        refused(&elsewhere, &[("MPREG_CA_FILE", authority)], "by a name that its certificate carries");
    }
    let plain = format!("client list-peers --url wss://localhost:{}", node.port("tcp"));
    refused(&plain, &[("MPREG_CA_FILE", authority)], "speak TLS");
}

#[test]
fn a_node_that_demands_certificates_gets_the_one_that_was_named() {
    let node = RealNode::start("required");
    for protocol in ["wss", "tcps"] {
        let (code, _, err) = node.run(protocol, "client call echo hi");
        assert!(code == Some(69) && err.contains("--cert-file"), "{err}");
        let (cert, key) = (node.path("me.pem"), node.path("me.key"));
        let line = format!("client call echo hi --cert-file {} --key-file {}", cert.display(), key.display());
        assert_eq!(node.run(protocol, &line), (Some(0), "hi\n".to_owned(), String::new()));
    }
}
