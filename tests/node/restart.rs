//! A node that is killed and started again knows what it knew, and nothing that is gone.

use std::path::Path;

use rustix::process::Signal;
use serde_json::json;

use super::kit::*;
use super::restart_time::{Foreign, entry, wall};

pub fn keeping(store: &Path, port: u16, peers: &[&Node], more: &str) -> String {
    let urls: Vec<String> = peers.iter().map(|node| node.url()).collect();
    let port = if port == 0 { String::new() } else { format!("[listen]\nport = {port}\n") };
    format!(
        "[node]\ncluster_id = \"c\"\n[fabric]\ngossip_interval = \"200ms\"\n[peers]\nstatic = {urls:?}\n\
         [persistence]\nmode = \"fjall\"\ndir = {store:?}\nsnapshot_interval = \"100ms\"\n[monitoring]\nport = 0\n{port}{more}"
    )
}

pub fn kill(mut node: Node) {
    node.signal(Signal::KILL);
    node.ended();
}

/// The names of all functions that a node knows.
pub async fn known(node: &Node) -> String {
    let mut wire = node.wire().await;
    wire.call("rpc_list", json!([{"scope": "zone", "page_size": 500}])).await.to_string()
}

pub async fn stored(node: &Node, fun: &str) {
    eventually("the function of the other node", async || known(node).await.contains(fun)).await;
    // A round that began after it was known has ended.
    let syncs = syncs(node);
    eventually("two more syncs", async || self::syncs(node) >= syncs + 2).await;
}

fn syncs(node: &Node) -> u64 {
    value(node, "mpreg_store_syncs_total")
}

/// A number of the metrics.
pub fn value(node: &Node, name: &str) -> u64 {
    let text = monitored(node, "/metrics/prometheus");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{text}")).trim().parse().unwrap()
}

/// What the node answers to a request of monitoring.
pub fn monitored(node: &Node, path: &str) -> String {
    let web: u16 = node.told("MPREG_MONITORING_URL=").rsplit(':').next().unwrap().parse().unwrap();
    exchange_raw(web, format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
}

#[test]
fn what_was_known_is_known_at_once_and_what_is_gone_stays_gone() {
    let place = tempfile::tempdir().unwrap();
    let stays = Node::start(&format!("[node]\ncluster_id = \"c\"\n{}", function("t.stays", "")));
    let leaves = Node::start(&format!("[node]\ncluster_id = \"c\"\n{}", function("t.leaves", "")));
    let node = Node::start(&keeping(place.path(), 0, &[&stays, &leaves], ""));
    run(async |_| {
        stored(&node, "t.stays").await;
        stored(&node, "t.leaves").await;
    });
    leaves.stop();
    run(async |_| {
        eventually("it is gone", async || !known(&node).await.contains("t.leaves")).await;
        let before = syncs(&node);
        eventually("two more syncs", async || syncs(&node) >= before + 2).await;
    });
    kill(node);
    kill(stays);
    let again = Node::start(&keeping(place.path(), 0, &[], ""));
    run(async |_| {
        let known = known(&again).await;
        assert!(known.contains("t.stays"), "{known}");
        assert!(!known.contains("t.leaves"), "{known}");
    });
    again.logged_text("restored ");
    again.stop();
}

/// Somebody has missed a removal, and tells of what was removed after this node was killed and started again. It is
/// refused; a node that never knew of the removal takes it.
#[test]
fn what_was_removed_is_not_taken_from_one_who_has_missed_it() {
    let (remembers, knows_nothing) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (holder, late) = ("ws://127.0.0.1:1", "ws://127.0.0.1:2");
    let identity = json!({"name": "t.gone", "function_id": "t.gone", "version": "1.0.0"});
    let function = entry(holder, json!({"identity": identity}));
    let node = Node::start(&keeping(remembers.path(), 0, &[], ""));
    run(async |_| {
        let mut foreign = Foreign::join(&node, holder).await;
        foreign.say(holder, json!({"nodes": [entry(holder, json!({}))], "functions": [function]})).await;
        stored(&node, "t.gone").await;
        let key = json!({"cluster_id": "c", "node_id": holder, "identity": identity, "resources": []});
        foreign.say(holder, json!({"sent_at": wall(), "function_removals": [key]})).await;
        eventually("it is gone", async || !known(&node).await.contains("t.gone")).await;
        let before = syncs(&node);
        eventually("two more syncs", async || syncs(&node) >= before + 2).await;
    });
    kill(node);
    for (place, is_taken) in [(&remembers, false), (&knows_nothing, true)] {
        let again = Node::start(&keeping(place.path(), 0, &[], "[log]\nlevel = \"debug\"\n"));
        run(async |_| {
            let mut foreign = Foreign::join(&again, late).await;
            foreign.say(holder, json!({"functions": [function]})).await;
            // Said after it, and so seen after it.
            let later = json!({"name": "t.later", "function_id": "t.later", "version": "1.0.0"});
            foreign.say(late, json!({"functions": [entry(late, json!({"identity": later}))]})).await;
            eventually("what was said later", async || known(&again).await.contains("t.later")).await;
            assert_eq!(known(&again).await.contains("t.gone"), is_taken);
        });
        if !is_taken {
            again.logged_text("reason=entry_stale");
        }
        again.stop();
    }
}

#[test]
fn what_has_expired_does_not_come_back() {
    let place = tempfile::tempdir().unwrap();
    let short =
        format!("[node]\ncluster_id = \"c\"\n[fabric]\ncatalog_ttl = \"2s\"\n{}", function("t.short", ""));
    let other = Node::start(&short);
    // Nodes of one program keep each other's leases, each for as long as its own.
    let keeping_short =
        keeping(place.path(), 0, &[&other], "").replace("[fabric]\n", "[fabric]\ncatalog_ttl = \"2s\"\n");
    let node = Node::start(&keeping_short);
    run(async |_| stored(&node, "t.short").await);
    kill(other);
    kill(node);
    let since = std::time::Instant::now();
    run(async |_| eventually("its lease ends", async || since.elapsed().as_secs_f64() > 2.2).await);
    let again = Node::start(&keeping(place.path(), 0, &[], ""));
    again.logged_text("entry_expired");
    run(async |_| assert!(!known(&again).await.contains("t.short")));
}

#[test]
fn two_nodes_find_each_other_again_without_seeds() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = Node::start(&keeping(one.path(), 0, &[], &function("t.add", "")));
    let second = Node::start(&keeping(two.path(), 0, &[&first], &function("u.given", "")));
    run(async |_| {
        stored(&first, "u.given").await;
        stored(&second, "t.add").await;
    });
    let ports = (first.port, second.port);
    kill(first);
    kill(second);
    let first = Node::start(&keeping(one.path(), ports.0, &[], &function("t.add", "")));
    let second = Node::start(&keeping(two.path(), ports.1, &[], &function("u.given", "")));
    run(async |_| {
        let (mut a, mut b) = (first.wire().await, second.wire().await);
        eventually("a call across", async || a.call("u.given", json!([1])).await["error"].is_null()).await;
        eventually("a call back", async || b.call("t.add", json!([1, 2])).await["error"].is_null()).await;
    });
    first.stop();
    second.stop();
}

#[test]
fn a_damaged_store_is_set_aside_and_a_busy_one_refused() {
    let place = tempfile::tempdir().unwrap();
    let text = keeping(place.path(), 0, &[], "");
    let node = Node::start(&text);
    let refusal = refused(&tempfile::tempdir().unwrap().keep(), &text);
    let told = String::from_utf8_lossy(&refusal.stderr).into_owned();
    assert!(told.contains("persistence.dir") && told.contains("another process"), "{told}");
    kill(node);
    std::fs::write(place.path().join("store/version"), "rubbish").unwrap();
    let again = Node::start(&text);
    let line = again.logged_text("was set aside as");
    assert!(line.contains("store.damaged-"), "{line}");
    again.stop();
}
