//! How soon a node that was killed knows again what ten thousand entries of others said.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::kit::*;
use super::restart::{keeping, kill, value};

/// A node of another program, by hand: it says what it and those behind it offer.
pub struct Foreign {
    wire: Wire,
    url: String,
    said: u64,
}

impl Foreign {
    /// Joins the cluster `c` of the node.
    pub async fn join(node: &Node, url: &str) -> Foreign {
        let mut wire = node.wire().await;
        let status = json!({"what": "STATUS", "server_url": url, "cluster_id": "c", "instance_id": format!("i-{}", wall()), "timestamp": wall()});
        wire.send(json!({"role": "server", "u": "s", "server": status})).await;
        Foreign { wire, url: url.to_owned(), said: 0 }
    }

    /// Gossips a delta, of its own or of the node `origin` behind it.
    pub async fn say(&mut self, origin: &str, mut delta: Value) {
        self.said += 1;
        if delta["sent_at"].is_null() {
            delta["sent_at"] = json!(wall());
        }
        delta["cluster_id"] = json!("c");
        let gossip = json!({
            "message_id": format!("{}:{}:{}", self.url, wall(), self.said), "message_type": "catalog_update",
            "sender_id": self.url, "payload": delta, "vector_clock": {origin: self.said}, "sequence_number": self.said,
            "ttl": 9, "hop_count": 1, "max_hops": 5, "digest": "", "checksum": "", "created_at": wall(),
            "expires_at": wall() + 300.0, "propagation_path": [origin], "seen_by": []
        });
        self.wire.send(json!({"role": "fabric-gossip", "payload": gossip})).await;
    }
}

pub fn wall() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// An entry of `node` in the cluster `c`, announced now for an hour.
pub fn entry(node: &str, more: Value) -> Value {
    let mut entry =
        json!({"node_id": node, "cluster_id": "c", "advertised_at": wall(), "ttl_seconds": 3600.0});
    entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    entry
}

/// A hundred entries of one node, described as nodes of this program describe theirs.
fn hundred(node: &str, nth: usize) -> Value {
    let function = |n: usize| {
        let name = format!("app{n}.f{nth}");
        let identity = json!({"name": name, "function_id": name, "version": "1.2.3"});
        let summary = json!({"identity": identity, "namespace": format!("app{n}"), "summary": "Adds numbers.", "parameter_count": 2, "required_parameter_count": 1, "spec_version": "1", "spec_digest": "a8cbc615db18c61db89ad6977c615102"});
        entry(
            node,
            json!({"identity": identity, "resources": ["gpu"], "scope": "global", "tags": ["a", "b"], "rpc_summary": summary, "spec_digest": "a8cbc615db18c61db89ad6977c615102"}),
        )
    };
    let each = |count: usize, make: &dyn Fn(usize) -> Value| (0..count).map(make).collect::<Vec<_>>();
    json!({
        "nodes": [entry(node, json!({"resources": ["gpu"], "capabilities": ["rpc"], "region": "eu"}))],
        "functions": each(59, &function),
        "topics": each(20, &|n| entry(node, json!({"subscription_id": format!("s-{nth}-{n}"), "patterns": [format!("app{n}.#")]}))),
        "queues": each(10, &|n| entry(node, json!({"queue_name": format!("app{n}.q{nth}"), "delivery_guarantees": ["at_least_once"]}))),
        "services": each(10, &|n| entry(node, json!({"name": format!("web{nth}"), "namespace": format!("app{n}"), "protocol": "tcp", "port": 80}))),
    })
}

/// All entries of a node's catalog.
fn entries(node: &Node) -> u64 {
    let kinds = ["function", "topic", "queue", "service", "node"];
    kinds.iter().map(|kind| value(node, &format!("mpreg_catalog_entries{{type=\"{kind}\"}}"))).sum()
}

/// The best of the starts counts: the others tell how busy the machine is. An unoptimised build shows only that it works.
#[test]
fn ten_thousand_entries_of_others_are_known_again_at_once() {
    const NODES: usize = 100;
    let is_optimised = !cfg!(debug_assertions) || other_binary().is_some();
    let place = tempfile::tempdir().unwrap();
    let node = Node::start(&keeping(place.path(), 0, &[], ""));
    let own = entries(&node);
    run_for(Duration::from_secs(120), async |_| {
        let mut foreign = Foreign::join(&node, "ws://127.0.0.1:1").await;
        let all = own + 100 * NODES as u64;
        // Said again, as leases are renewed: the store has written everything more than once.
        for _ in 0..if is_optimised { 4 } else { 1 } {
            for nth in 0..NODES {
                let of = format!("ws://127.0.0.1:{}", nth + 1);
                foreign.say(&of, hundred(&of, nth)).await;
            }
            let syncs = value(&node, "mpreg_store_syncs_total");
            eventually("a round", async || value(&node, "mpreg_store_syncs_total") >= syncs + 15).await;
        }
        eventually("all entries", async || entries(&node) == all).await;
        let syncs = value(&node, "mpreg_store_syncs_total");
        // A round of so many entries is written in several batches.
        eventually("two rounds", async || value(&node, "mpreg_store_syncs_total") >= syncs + 30).await;
    });
    kill(node);
    let took: Vec<Duration> = (0..if is_optimised { 5 } else { 1 })
        .map(|_| {
            let since = Instant::now();
            let again = Node::start(&keeping(place.path(), 0, &[], ""));
            let ready = since.elapsed();
            let mut answered = Duration::MAX;
            run(async |_| {
                let wanted = json!([{"entry_type": "functions", "function_name": "app7.f77"}]);
                let told = again.wire().await.call("catalog_query", wanted).await;
                answered = since.elapsed();
                let items = told["r"]["c"]["items"].as_array().unwrap();
                assert!(items.len() == 1 && items[0]["node_id"] == "ws://127.0.0.1:78", "{told}");
            });
            let told = again.logged_text("ready in");
            let told = told.rsplit("ready in").next().unwrap_or_default().to_owned();
            println!("ready after {ready:?} (its own clock:{told}), the right answer after {answered:?}");
            assert_eq!(entries(&again), own + 100 * NODES as u64);
            kill(again);
            answered
        })
        .collect();
    let best = took.into_iter().min().unwrap();
    let most = if is_optimised { ANSWERED_MAX } else { ANSWERED_UNOPTIMISED_MAX };
    assert!(best <= most, "{best:?}");
}

/// From the start of the process to an answer that needs what was restored.
const ANSWERED_MAX: Duration = Duration::from_millis(100);
/// The same for a build that nobody installs, on a machine that compiles beside.
const ANSWERED_UNOPTIMISED_MAX: Duration = Duration::from_secs(10);
