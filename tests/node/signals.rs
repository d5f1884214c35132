//! SIGTERM, SIGINT and SIGHUP: an orderly end, an end at once, and a reload that does all or nothing.

use std::time::{Duration, Instant};

use mpreg::drive::dial::dial;
use rcgen::ExtendedKeyUsagePurpose;
use serde_json::{Value, json};

use super::kit::*;
use super::transports::{TLS, folder_with_authority, trust};

/// Slow calls that end when a file is there.
fn slow_function() -> String {
    function("t.slow", "environment = { RELEASE_FILE = \"DIR/release\" }")
}

#[test]
fn a_stop_lets_running_calls_finish_and_says_goodbye_to_clients() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut node = Node::start(&slow_function());
        run(async |_| {
            let (mut idle, mut caller, mut other) = (node.wire().await, node.wire().await, node.wire().await);
            caller.send(request("slow", json!([command("c", "t.slow", json!(["kept"]))]))).await;
            other.send(request("held", json!([command("c", "t.slow", json!(["also"]))]))).await;
            node.logged_text("slow kept begins");
            node.logged_text("slow also begins");
            node.signal(signal);
            assert_eq!(idle.closed().await, (1001, "the node stops".to_owned()));
            assert!(dial(&node.url(), &Default::default()).await.is_err(), "nobody new is served");
            // Nothing new on a connection that is still there, either; then the worker ends both calls.
            let answer = caller.ask(request("new", json!([command("c", "echo", json!([1]))]))).await;
            assert_eq!(answer["error"]["code"], 1003, "{answer}");
            assert!(answer["error"]["details"].as_str().unwrap().contains("stopping"), "{answer}");
            let answer = caller.publish("a", json!(1)).await;
            assert!(answer["error"].as_str().unwrap().contains("stopping"), "{answer}");
            assert!(node.is_running());
            release(&node);
            for wire in [&mut caller, &mut other] {
                assert!(wire.next().await["r"]["c"].is_string());
                assert_eq!(wire.closed().await, (1001, "the node stops".to_owned()));
            }
            assert_eq!(node.ended().code(), Some(0));
        });
    }
}

/// Lets the slow calls of a node end that takes no calls any more.
fn release(node: &Node) {
    std::fs::write(node.folder.path().join("release"), "").unwrap();
}

#[test]
fn what_was_answered_before_a_stop_still_arrives() {
    let mut node = Node::start("");
    run(async |_| {
        let (mut slow, mut watcher) = (node.wire().await, node.wire().await);
        watcher.subscribe("s", "done", 0).await;
        let value = "x".repeat(ANSWER_BYTES);
        slow.send(request("1", json!([command("c", "echo", json!([value]))]))).await;
        slow.send(publish("done", json!(1))).await;
        assert_eq!(watcher.next().await["message"]["topic"], "done");
        node.signal(Signal::TERM);
        watcher.closed().await;
        assert_eq!(slow.next().await["r"]["c"].as_str().map(str::len), Some(ANSWER_BYTES));
        assert_eq!(slow.next().await["success"], true);
        assert_eq!(slow.closed().await.0, 1001);
        assert_eq!(node.ended().code(), Some(0));
    });
}

/// More than a socket holds, less than `limits.outbound_per_link`.
const ANSWER_BYTES: usize = 7 << 20;

#[test]
fn a_stop_takes_no_longer_than_stop_timeout_whatever_workers_and_clients_do() {
    let deaf = "[[function]]\nname = \"t.deaf\"\n\
                command = [\"/bin/sh\", \"-c\", \"trap '' TERM; echo up >&2; while :; do sleep 5; done\"]\n";
    let mut node = Node::start(&format!("[node]\nstop_timeout = \"600ms\"\n{}{deaf}", slow_function()));
    run(async |_| {
        let mut caller = node.wire().await;
        caller.send(request("1", json!([command("c", "t.slow", json!(["x"]))]))).await;
        node.logged_text("slow x begins");
        node.logged_text(": up");
        let start = Instant::now();
        node.signal(Signal::TERM);
        assert_eq!(node.ended().code(), Some(0));
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(400) && took < Duration::from_millis(1200), "{took:?}");
        node.logged_text("connections did not end in time");
        assert_eq!(caller.closed().await.0, 1001);
    });
}

#[test]
fn a_stop_that_runs_out_of_time_still_says_goodbye_and_what_a_peer_asked_for_is_finished() {
    let stuck = function("t.slow", "environment = { RELEASE_FILE = \"DIR/release\" }");
    for (time, is_released) in [("700ms", false), ("30s", true)] {
        let mut node = Node::start(&format!("[node]\nstop_timeout = \"{time}\"\n{stuck}"));
        let other = Node::start(&format!("[peers]\nstatic = [\"{}\"]\n", node.url()));
        run(async |_| {
            let mut wire = other.wire().await;
            eventually("the function", async || {
                let answer = wire.call("catalog_query", json!([{ "entry_type": "functions" }])).await;
                answer.to_string().contains("t.slow")
            })
            .await;
            wire.send(request("1", json!([command("c", "t.slow", json!(["kept"]))]))).await;
            node.logged_text("slow kept begins");
            node.signal(Signal::TERM);
            node.logged_text("stopping");
            if is_released {
                release(&node);
                assert_eq!(wire.next().await["r"]["c"], "kept");
            }
            assert_eq!(node.ended().code(), Some(0));
            other.logged_text(&format!("{} has left", node.url()));
        });
    }
}

#[test]
fn a_second_signal_ends_at_once_and_leaves_no_worker_behind() {
    let mut node = Node::start(&(slow_function() + &function("t.pid", "")));
    run(async |_| {
        let mut caller = node.wire().await;
        let pid = caller.call("t.pid", json!([])).await["r"]["c"].clone();
        caller.send(request("1", json!([command("c", "t.slow", json!(["x"]))]))).await;
        node.logged_text("slow x begins");
        let start = Instant::now();
        node.signal(Signal::TERM);
        node.logged_text("stopping");
        node.signal(Signal::TERM);
        assert_eq!(node.ended().code(), Some(0));
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        eventually("the end of the worker", async || !runs(&pid)).await;
    });
}

#[test]
fn a_node_that_is_killed_leaves_no_worker_behind() {
    let mut node = Node::start(&function("t.pid", ""));
    run(async |_| {
        let pid = node.wire().await.call("t.pid", json!([])).await["r"]["c"].clone();
        node.signal(Signal::KILL);
        assert_eq!(node.ended().code(), None);
        eventually("the end of the worker", async || !runs(&pid)).await;
    });
}

/// A zombie that nobody reaps yet does not run.
fn runs(pid: &Value) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|state| !state.is_empty() && !state.trim_start().starts_with('Z'))
}

#[test]
fn an_orderly_stop_leaves_no_worker_behind() {
    let mut node = Node::start(&function("t.pid", ""));
    run(async |_| {
        let mut wire = node.wire().await;
        let pid = wire.call("t.pid", json!([])).await["r"]["c"].clone();
        node.signal(Signal::TERM);
        wire.closed().await;
        assert_eq!(node.ended().code(), Some(0));
        assert!(!runs(&pid));
    });
}

#[test]
fn a_reload_with_faults_changes_nothing_and_says_why() {
    let node = Node::start("[log]\nlevel = \"info\"\n[limits]\nsubscriptions_per_connection = 1\n");
    run(async |_| {
        let mut wire = node.wire().await;
        for (bad, why) in [
            ("[log]\nlevel = \"loud\"\n", "log.level"),
            ("[limits]\nsubscriptions_per_connection = 2\nbacklock = 1\n", "did you mean `limits.backlog`"),
            ("[[", "node.toml:3:"),
        ] {
            node.rewrite(bad);
            node.signal(Signal::HUP);
            node.logged("the fault", |line| line.contains("reload: nothing changed") && line.contains(why));
        }
        wire.subscribe("a", "x", 0).await;
        assert_eq!(wire.ask(subscribe("b", "x", 0)).await["success"], false);
        assert_eq!(node.count_logged("reloaded"), 0);
    });
    node.stop();
}

#[test]
fn a_reload_brings_level_limits_and_tokens_and_names_what_needs_a_restart() {
    let tenants = |token: &str, more: &str| {
        format!(
            "{more}[tenants]\nenabled = true\n[[tenants.credential]]\ntenant = \"a\"\ntoken = \"{token}\"\n"
        )
    };
    let node = Node::start(&tenants("old-token", "[limits]\nsubscriptions_per_connection = 1\n"));
    run(async |_| {
        let mut wire = node.wire().await;
        assert_eq!(node.count_logged("DEBUG"), 0);
        let more = "[log]\nlevel = \"debug\"\n[limits]\nsubscriptions_per_connection = 2\n\
                    [listen]\nmax_message = \"1MiB\"\n[node]\nname = \"new\"\n[route]\nttl = \"31s\"\n";
        node.rewrite(&tenants("new-token", more));
        node.signal(Signal::HUP);
        node.logged("the end of the reload", |line| line.ends_with("reloaded"));
        for key in ["listen.max_message", "node.name", "route.ttl"] {
            node.logged_text(&format!("reload: {key} takes effect after a restart"));
        }
        node.logged_times("takes effect after a restart", 3).await;
        wire.subscribe("a", "x", 0).await;
        wire.subscribe("b", "x", 0).await;
        let with = |token: &str| mpreg::drive::dial::DialSettings {
            headers: vec![("Authorization".to_owned(), format!("Bearer {token}"))],
            ..Default::default()
        };
        assert!(dial(&node.url(), &with("old-token")).await.is_err());
        let mut known = Wire::open(&node.url(), &with("new-token")).await;
        assert_eq!(known.call("echo", json!([1])).await["r"]["c"], 1);
        known.leave().await;
        node.logged_text("DEBUG");
    });
    node.stop();
}

#[test]
fn a_reload_brings_new_certificates_and_keeps_the_old_ones_if_they_are_bad() {
    let (folder, authority) = folder_with_authority();
    let text = TLS.to_owned() + "[[listen.endpoint]]\nprotocol = \"wss\"\n";
    let node = Node::start_in(folder, &text);
    run(async |_| {
        let place = node.folder.path();
        let (url, old) = (node.endpoint("wss"), trust(place, None));
        Wire::open(&url, &old).await.leave().await;
        std::fs::write(place.join("server.pem"), "garbage").unwrap();
        node.signal(Signal::HUP);
        node.logged("the fault", |line| {
            line.contains("reload: nothing changed") && line.contains("tls.cert_file")
        });
        Wire::open(&url, &old).await.leave().await;
        // From another authority, so that a client sees which one is in use.
        let other = super::transports::Authority::new(place);
        other.issue(place, "server", ExtendedKeyUsagePurpose::ServerAuth);
        node.signal(Signal::HUP);
        node.logged("the end of the reload", |line| line.ends_with("reloaded"));
        assert!(dial(&url, &old).await.is_err());
        Wire::open(&url, &trust(place, None)).await.leave().await;
    });
    drop(authority);
}

#[test]
fn what_a_reload_cannot_bring_is_said() {
    let (folder, authority) = folder_with_authority();
    authority.issue(folder.path(), "second", ExtendedKeyUsagePurpose::ServerAuth);
    let node = Node::start_in(folder, TLS);
    let text = "[node]\nregion = \"elsewhere\"\n[tls]\ncert_file = \"DIR/second.pem\"\nkey_file = \"DIR/second.key\"\n\
                [listen]\nadvertised_urls = [\"ws://a.example:1\"]\n[discovery.rate_limit]\nrequests = 5\n\
                [peers]\nstatic = [\"ws://127.0.0.1:9\"]\n";
    node.rewrite(text);
    node.signal(Signal::HUP);
    node.logged("the end of the reload", |line| line.ends_with("reloaded"));
    node.logged_text("reload: node.region takes effect after a restart");
    for key in [
        "tls.cert_file",
        "tls.key_file",
        "listen.advertised_urls",
        "discovery.rate_limit.requests",
        "peers.static",
    ] {
        assert_eq!(node.count_logged(&format!("{key} takes effect after a restart")), 0);
    }
    node.rewrite("[dns]\nenabled = true\nport = 0\n");
    node.signal(Signal::HUP);
    node.logged("what a restart would say", |line| {
        line.contains("a restart will fail") && line.contains("module dns")
    });
}
