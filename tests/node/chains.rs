//! Calls over several clusters: given up at the far end with their caller, run elsewhere only where that does no harm,
//! ended at once with what they need; and peers that stop reading.

use std::time::Instant;

use mpreg::drive::dial::DialSettings;
use serde_json::{Value, json};

use super::kit::*;

/// A node of a cluster of its own, which lets in the clusters of its neighbours.
fn link_of(cluster: &str, allowed: &[&str], peers: &[&Node], more: &str) -> Node {
    // The first in a chain has no patience.
    let fabric = if peers.is_empty() { "rpc_timeout = \"4s\"\n" } else { "" };
    let urls: Vec<String> = peers.iter().map(|node| node.url()).collect();
    Node::start(&format!(
        "[node]\ncluster_id = \"{cluster}\"\n[fabric]\ngossip_interval = \"200ms\"\n{fabric}[monitoring]\nenabled = true\n\
         [peers]\nstatic = {urls:?}\n[federation]\nmode = \"explicit_bridging\"\nallowed_clusters = {allowed:?}\n\
         [federation.security]\nrequire_mutual_auth = false\nrequire_encryption = false\n\
         max_requests_per_minute = 0\n{more}"
    ))
}

async fn until_known(wire: &mut Wire, fun: &str) {
    eventually(fun, async || wire.call("rpc_list", json!([])).await["r"]["c"].to_string().contains(fun))
        .await;
}

fn slow(n: &str) -> Value {
    request("1", json!([command("c", "t.slow", json!([n]))]))
}

#[test]
fn a_call_over_four_clusters_is_given_up_with_its_caller_and_fails_with_its_link() {
    let a = link_of("a", &["b"], &[], "");
    let b = link_of("b", &["a", "c"], &[&a], "");
    let c = link_of("c", &["b", "d"], &[&b], "");
    let d = link_of("d", &["c"], &[&c], &function("t.slow", ""));
    run(async |_| {
        let (mut leaves, mut stays) = (a.wire().await, a.wire().await);
        until_known(&mut leaves, "t.slow").await;
        leaves.send(slow("left")).await;
        d.logged_text("slow left begins");
        leaves.leave().await;
        d.logged_text("slow left is cancelled");
        // The time of the caller is that of all on the way.
        stays.send(slow("hasty")).await;
        d.logged_text("slow hasty begins");
        assert_eq!(stays.next().await["error"]["code"], 1004);
        d.logged_text("slow hasty is cancelled");
        // A link in the middle dies.
        stays.send(slow("cut")).await;
        d.logged_text("slow cut begins");
        let begun = Instant::now();
        c.signal(Signal::KILL);
        let answer = stays.next().await;
        assert_eq!(answer["error"]["code"], 1003, "{answer}");
        assert!(answer["error"]["details"].to_string().contains("lost"), "{answer}");
        assert!(begun.elapsed().as_secs() < 3, "{:?}", begun.elapsed());
        // What is out of reach is said at once, until it is forgotten.
        let begun = Instant::now();
        let answer = stays.call("t.slow", json!(["gone"])).await;
        assert!([1001, 1003].map(Some).contains(&answer["error"]["code"].as_i64()), "{answer}");
        assert!(begun.elapsed().as_secs() < 3, "{:?}", begun.elapsed());
    });
}

#[test]
fn only_an_idempotent_call_runs_again_when_its_node_dies() {
    let near = link_of("a", &["b"], &[], "");
    let idempotent = function("t.slow", "idempotent = true") + &function("u.slow", "");
    let one = link_of("b", &["a"], &[&near], &idempotent);
    let two = link_of("b", &["a"], &[&near, &one], &idempotent);
    run(async |_| {
        let mut wire = near.wire().await;
        until_known(&mut wire, "u.slow").await;
        eventually("both nodes", async || {
            let listed = wire.call("rpc_list", json!([])).await["r"]["c"].to_string();
            listed.contains(&one.url()) && listed.contains(&two.url())
        })
        .await;
        let (mut same, mut other) = (near.wire().await, near.wire().await);
        same.send(slow("again")).await;
        other.send(request("1", json!([command("c", "u.slow", json!(["once"]))]))).await;
        let begun = |node: &Node, what: &str| node.count_logged(&format!("slow {what} begins")) > 0;
        eventually("both run", async || ["again", "once"].iter().all(|w| begun(&one, w) || begun(&two, w)))
            .await;
        // They may run on different nodes: each node dies that runs one.
        let (first, second) = if begun(&one, "again") { (&one, &two) } else { (&two, &one) };
        let once_dies = begun(first, "once");
        first.signal(Signal::KILL);
        second.logged_text("slow again begins");
        if once_dies {
            let answer = other.next().await;
            assert_eq!(answer["error"]["code"], 1003, "{answer}");
            assert!(!begun(second, "once"), "it may have run");
        }
    });
}

#[test]
fn a_peer_that_stops_reading_is_cut_and_its_memory_freed() {
    let node = link_of("a", &["b"], &[], "[limits]\noutbound_per_link = \"1MiB\"\n");
    run(async |_| {
        let mut stuck = Wire::open(&node.url(), &DialSettings::default()).await;
        let at = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        let status = json!({"what": "STATUS", "server_url": "ws://127.0.0.1:1", "cluster_id": "b",
            "instance_id": "i", "timestamp": at});
        stuck.send(json!({"role": "server", "u": "1", "server": status})).await;
        let entry = json!({"node_id": "ws://127.0.0.1:1", "cluster_id": "b", "advertised_at": at, "ttl_seconds": 60.0});
        let mut topic = entry.clone();
        topic["subscription_id"] = json!("s");
        topic["patterns"] = json!(["a.#"]);
        let delta = json!({"cluster_id": "b", "sent_at": at, "nodes": [entry], "topics": [topic]});
        let gossip = json!({"message_id": "1", "message_type": "catalog_update", "sender_id": "ws://127.0.0.1:1",
            "payload": delta, "propagation_path": ["ws://127.0.0.1:1"]});
        stuck.send(json!({"role": "fabric-gossip", "payload": gossip})).await;
        let mut client = node.wire().await;
        eventually("the subscription", async || node.metric("mpreg_subscriptions_remote") == 1.0).await;
        let before = node.refusals("outbound_limit");
        let payload = json!("x".repeat(200_000));
        eventually("the end of the stuck peer", async || {
            assert_eq!(client.publish("a.b", payload.clone()).await["success"], true);
            node.refusals("outbound_limit") > before
        })
        .await;
        eventually("room", async || node.metric("mpreg_outbound_bytes") < 100_000.0).await;
        eventually("the peer is gone", async || node.metric("mpreg_peers") == 0.0).await;
        assert_eq!(client.call("echo", json!([1])).await["r"]["c"], 1);
    });
    node.stop();
}
