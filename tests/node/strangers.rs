//! What others make a node do by hand-written messages: each refusal has its own reason in the metrics, a flood hurts
//! nobody else, and who only dials is called all the same.

use std::time::{Duration, Instant};

use mpreg::drive::dial::DialSettings;
use rcgen::ExtendedKeyUsagePurpose::ClientAuth;
use serde_json::{Value, json};

use super::kit::*;
use super::transports::{TLS, folder_with_authority, trust};

/// A node written by hand that only dials; nobody listens where it says that it is.
struct Stranger {
    wire: Wire,
    id: String,
    cluster: String,
    messages: u64,
}

impl Stranger {
    async fn dial(url: &str, cluster: &str, id: &str, settings: &DialSettings) -> Stranger {
        let wire = Wire::open(url, settings).await;
        Stranger { wire, id: id.into(), cluster: cluster.into(), messages: 0 }
    }

    /// Says STATUS; the answer to it.
    async fn greet(&mut self) -> Value {
        let status = json!({"what": "STATUS", "server_url": self.id, "cluster_id": self.cluster,
            "instance_id": format!("{} of {}", self.id, self.cluster), "timestamp": wall()});
        self.wire.send(json!({"role": "server", "u": "hello", "server": status})).await;
        loop {
            let answer = self.wire.next().await;
            if answer["u"] == "hello" {
                return answer;
            }
        }
    }

    async fn gossip(&mut self, kind: &str, payload: Value) {
        self.messages += 1;
        let (id, at) = (format!("{}:{}", self.id, self.messages), wall());
        let gossip = json!({"message_id": id, "message_type": kind, "sender_id": self.id, "payload": payload,
            "ttl": 9, "hop_count": 1, "max_hops": 5, "propagation_path": [self.id], "created_at": at,
            "expires_at": at + 300.0, "sequence_number": self.messages, "vector_clock": {}});
        self.wire.send(json!({"role": "fabric-gossip", "payload": gossip})).await;
    }

    /// Announces itself and a function.
    async fn offer(&mut self, function: &str) {
        let at = wall();
        let common =
            json!({"node_id": self.id, "cluster_id": self.cluster, "advertised_at": at, "ttl_seconds": 60.0});
        let mut offered = common.clone();
        offered["identity"] = json!({"name": function, "function_id": function, "version": "1.0.0"});
        let delta =
            json!({"cluster_id": self.cluster, "sent_at": at, "nodes": [common], "functions": [offered]});
        self.gossip("catalog_update", delta).await;
    }

    /// Answers the next call with what was sent.
    async fn serve_one(&mut self) {
        self.answer_one(|asked| (true, asked["args"].clone(), Value::Null)).await;
    }

    /// Says of the next call that it went no further than here.
    async fn lose_one(&mut self) {
        let error = json!({"error": "fabric_forward_failed", "reason": "no_peer_for_next_hop"});
        self.answer_one(|_| (false, Value::Null, error)).await;
    }

    async fn answer_one(&mut self, outcome: impl FnOnce(&Value) -> (bool, Value, Value)) {
        let request = loop {
            let message = self.wire.next().await;
            if message["payload"]["payload"]["kind"] == "rpc-request" {
                break message["payload"].clone();
            }
        };
        let (asked, mut path) = (&request["payload"], request["headers"]["routing_path"].clone());
        path.as_array_mut().unwrap().push(json!(self.id));
        let source = &request["headers"]["source_cluster"];
        let (success, result, error) = outcome(asked);
        let answer = json!({"kind": "rpc-response", "request_id": asked["request_id"], "success": success,
            "result": result, "error": error, "responder": self.id, "reply_to": asked["reply_to"],
            "reply_cluster": source, "routing_path": path});
        let headers = json!({"correlation_id": asked["request_id"], "source_cluster": self.cluster,
            "target_cluster": source, "routing_path": [self.id], "federation_path": [self.cluster], "hop_budget": 5});
        let message = json!({"message_id": asked["request_id"], "topic": "mpreg.rpc.response",
            "message_type": "rpc", "delivery": "at_least_once", "payload": answer, "headers": headers,
            "timestamp": wall()});
        self.wire.send(json!({"role": "fabric-message", "payload": message})).await;
    }
}

async fn until_listed(client: &mut Wire, function: &str) {
    eventually("the function of the other node", async || {
        client.call("rpc_list", json!([])).await["r"]["c"].to_string().contains(function)
    })
    .await;
}

fn wall() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64()
}

const MONITORED: &str = "[monitoring]\nenabled = true\n";
const BRIDGING: &str = "[federation]\nmode = \"explicit_bridging\"\nallowed_clusters = [\"d\", \"e\"]\n\
    [federation.security]\nrequire_mutual_auth = false\nrequire_encryption = false\n";

fn node(more: &str) -> Node {
    Node::start(&format!(
        "[node]\ncluster_id = \"c\"\n[fabric]\ngossip_interval = \"200ms\"\n{MONITORED}{more}"
    ))
}

#[test]
fn each_kind_of_bad_route_has_its_reason_and_the_link_lives() {
    let key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let node = node(&format!(
        "{BRIDGING}[route.security]\nrequire_signatures = true\nallow_unsigned = false\n\
         [[route.security.key]]\ncluster = \"d\"\npublic_key = \"{key}\"\n"
    ));
    run(async |_| {
        let plain = DialSettings::default();
        let mut d = Stranger::dial(&node.url(), "d", "ws://127.0.0.1:1", &plain).await;
        let mut e = Stranger::dial(&node.url(), "e", "ws://127.0.0.1:2", &plain).await;
        assert_eq!(d.greet().await["r"], "STATUS");
        assert_eq!(e.greet().await["r"], "STATUS");
        let route = |path: &[&str], more: Value| {
            let mut route = json!({"destination": {"cluster_id": path.last()}, "path": {"hops": path},
                "advertiser": path[0], "advertised_at": wall(), "ttl_seconds": 30.0, "epoch": 1});
            route.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            route
        };
        let forged = json!({"signature": "00".repeat(64), "public_key": key});
        for (payload, reason) in [
            (route(&["d"], json!({})), "route_unsigned"),
            (route(&["d"], forged.clone()), "route_forged"),
            (route(&["e", "d"], forged), "route_not_from_neighbour"),
        ] {
            d.gossip("route_advertisement", payload).await;
            node.refused_times(reason, 1).await;
        }
        // A key that comes along with the message proves nothing.
        e.gossip(
            "route_advertisement",
            route(&["e"], json!({"signature": "00".repeat(64), "public_key": key})),
        )
        .await;
        node.refused_times("route_key_unknown", 1).await;
        assert_eq!(d.greet().await["r"], "STATUS", "the link lives");
    });
    node.stop();
}

#[test]
fn what_is_over_looping_or_said_twice_has_its_reason_and_the_link_lives() {
    let node = node(BRIDGING);
    run(async |_| {
        let mut d = Stranger::dial(&node.url(), "d", "ws://127.0.0.1:1", &DialSettings::default()).await;
        assert_eq!(d.greet().await["r"], "STATUS");
        let route = |path: &[&str], at: f64| {
            json!({"destination": {"cluster_id": path.last()}, "path": {"hops": path}, "advertiser": path[0],
                "advertised_at": at, "ttl_seconds": 30.0, "epoch": 1})
        };
        let now = wall();
        for (payload, reason) in [
            (route(&["d", "c", "x"], now), "route_path_loop"),
            (route(&["d"], now - 40.0), "route_expired"),
            (route(&["d", "x", "d"], now), "route_malformed"),
            (route(&["d"], now + 1000.0), "clock_skew"),
        ] {
            d.gossip("route_advertisement", payload).await;
            node.refused_times(reason, 1).await;
        }
        for _ in 0..2 {
            d.gossip("route_advertisement", route(&["d"], now)).await;
        }
        node.refused_times("route_replayed", 1).await;
        d.messages -= 1;
        d.gossip("route_advertisement", route(&["d"], now)).await;
        node.refused_times("message_repeated", 1).await;
        let entry = |cluster: &str, id: &str, at: f64| {
            json!({"cluster_id": "d", "nodes": [
                {"node_id": id, "cluster_id": cluster, "advertised_at": at, "ttl_seconds": 30.0}]})
        };
        for (payload, reason) in [
            (entry("c", "ws://127.0.0.1:9", now), "not_entitled"),
            (entry("z", "ws://127.0.0.1:9", now), "entry_unrouted"),
            (entry("d", "ws://127.0.0.1:1", now - 60.0), "entry_expired"),
            (entry("d", "ws://127.0.0.1:1", now + 1000.0), "clock_skew"),
            (json!({"functions": [{"identity": {"name": "x"}}]}), "entry_malformed"),
            (json!({"functions": null}), "gossip_malformed"),
        ] {
            let before = node.refusals(reason);
            d.gossip("catalog_update", payload).await;
            node.refused_times(reason, before + 1).await;
        }
        d.gossip("gossip_of_tomorrow", json!({})).await;
        node.refused_times("gossip_unknown_kind", 1).await;
        let goodbye = json!({"what": "GOODBYE", "departing_node_url": node.url(), "cluster_id": "c",
            "reason": "maintenance"});
        let before = node.refusals("not_entitled");
        d.wire.send(json!({"role": "server", "u": "1", "server": goodbye})).await;
        node.refused_times("not_entitled", before + 1).await;
        let mut e = Stranger::dial(&node.url(), "e", "ws://127.0.0.1:2", &DialSettings::default()).await;
        assert_eq!(e.greet().await["r"], "STATUS");
        e.offer("far.f").await;
        let mut client = node.wire().await;
        until_listed(&mut client, "far.f").await;
        let looping = json!({"kind": "rpc-request", "request_id": "r", "command": "far.f", "args": [],
            "reply_to": d.id, "target_cluster": "e"});
        let headers =
            json!({"correlation_id": "r", "source_cluster": "d", "routing_path": [node.url(), d.id]});
        let message = json!({"message_id": "r", "topic": "mpreg.rpc.execute.far.f", "message_type": "rpc",
            "payload": looping, "headers": headers});
        d.wire.send(json!({"role": "fabric-message", "payload": message})).await;
        node.refused_times("route_loop", 1).await;
        assert_eq!(d.greet().await["r"], "STATUS", "the link lives");
    });
    node.stop();
}

#[test]
fn a_certificate_speaks_for_its_node_and_cluster_and_no_other() {
    let (folder, authority) = folder_with_authority();
    let place = folder.path().to_owned();
    let endpoint = "ca_file = \"DIR/ca.pem\"\nclient_auth = \"optional\"\n\
        [[listen.endpoint]]\nprotocol = \"wss\"\nclass = \"internal\"\n";
    let text = format!(
        "[node]\ncluster_id = \"c\"\n{MONITORED}[federation]\nmode = \"explicit_bridging\"\n\
         allowed_clusters = [\"d\", \"e\"]\n{TLS}{endpoint}"
    );
    let node = Node::start_in(folder, &text);
    let issue =
        |name: &str, uri: &str| trust(&place, Some(authority.issue_with(&place, name, ClientAuth, &[uri])));
    let of_node = issue("node", "mpreg://d/ws://127.0.0.1:1");
    let of_cluster = issue("cluster", "mpreg://e");
    let wss = node.endpoint("wss");
    run(async |_| {
        let answer = async |url: &str, cluster: &str, id: &str, settings: &DialSettings| {
            Stranger::dial(url, cluster, id, settings).await.greet().await
        };
        assert_eq!(answer(&wss, "d", "ws://127.0.0.1:1", &of_node).await["r"], "STATUS");
        assert_eq!(answer(&wss, "e", "ws://127.0.0.1:7", &of_cluster).await["r"], "STATUS");
        let cases = [
            (&wss, "d", "ws://127.0.0.1:2", &of_node, "certificate_mismatch"),
            (&wss, "e", "ws://127.0.0.1:1", &of_node, "certificate_mismatch"),
            // Not even as a node of our own.
            (&wss, "c", "ws://127.0.0.1:1", &of_node, "certificate_mismatch"),
            (&wss, "d", "ws://127.0.0.1:1", &of_cluster, "certificate_mismatch"),
            (&wss, "d", "ws://127.0.0.1:1", &trust(&place, None), "certificate_missing"),
            (&node.url(), "d", "ws://127.0.0.1:1", &DialSettings::default(), "encryption_required"),
            (&wss, "f", "ws://127.0.0.1:1", &of_node, "cluster_refused"),
        ];
        for (n, (url, cluster, id, settings, reason)) in cases.into_iter().enumerate() {
            let before = node.refusals(reason);
            let answer = answer(url, cluster, id, settings).await;
            assert_eq!(answer["error"]["code"], 1003, "{n}: {answer}");
            assert_eq!(node.refusals(reason), before + 1, "{n}: {reason}");
        }
    });
    node.stop();
}

#[test]
fn a_flood_of_gossip_slows_nobody_else() {
    let worker = function("t.add", "");
    let first = node(&format!("{BRIDGING}[limits]\npeer_gossip_per_second = 100\n{worker}"));
    let second = node(&format!("[peers]\nstatic = [\"{}\"]\n{}", first.url(), function("u.given", "")));
    run(async |_| {
        let mut client = first.wire().await;
        eventually("the function of the other node", async || {
            client.call("u.given", json!([1])).await["error"].is_null()
        })
        .await;
        let mut d = Stranger::dial(&first.url(), "d", "ws://127.0.0.1:1", &DialSettings::default()).await;
        assert_eq!(d.greet().await["r"], "STATUS");
        // In a thread of its own: it never waits for anything.
        let (ends, is_over) = std::sync::mpsc::channel::<()>();
        let flood = std::thread::spawn(move || {
            smol::block_on(async {
                while is_over.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                    // Whoever answers no ping is taken for dead.
                    smol::future::poll_once(d.wire.next()).await;
                    let at = wall();
                    let node =
                        json!({"node_id": d.id, "cluster_id": "d", "advertised_at": at, "ttl_seconds": 60.0});
                    d.gossip("catalog_update", json!({"cluster_id": "d", "sent_at": at, "nodes": [node]}))
                        .await;
                }
            });
        });
        first.refused_times("gossip_flood", 1000).await;
        let mut slowest = Duration::ZERO;
        for n in 0..50 {
            let begun = Instant::now();
            assert_eq!(client.call("u.given", json!([n])).await["r"]["c"]["args"], json!([n]));
            slowest = slowest.max(begun.elapsed());
        }
        assert!(slowest < Duration::from_secs(5), "{slowest:?}");
        // News of an honest peer comes through at once as well.
        let third = node(&format!("[peers]\nstatic = [\"{}\"]\n{}", second.url(), function("v.given", "")));
        let begun = Instant::now();
        eventually("news in the flood", async || client.call("v.given", json!([1])).await["error"].is_null())
            .await;
        println!("slowest call {slowest:?}, news after {:?}", begun.elapsed());
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        assert!(!flood.is_finished(), "the flooding link lives");
        drop((ends, third));
        flood.join().unwrap();
    });
}

#[test]
fn who_only_dials_is_called_over_its_link_by_all_and_after_a_new_one() {
    let hub = node("");
    let far = node(&format!("[peers]\nstatic = [\"{}\"]\n", hub.url()));
    run(async |_| {
        for _ in 0..2 {
            let mut edge =
                Stranger::dial(&hub.url(), "c", "ws://127.0.0.1:1", &DialSettings::default()).await;
            assert_eq!(edge.greet().await["r"], "STATUS");
            edge.offer("edge.f").await;
            for node in [&hub, &far] {
                let mut client = node.wire().await;
                until_listed(&mut client, "edge.f").await;
                client.send(request("9", json!([command("c", "edge.f", json!(["x"]))]))).await;
                edge.serve_one().await;
                assert_eq!(client.next().await["r"]["c"], json!(["x"]));
            }
            edge.wire.leave().await;
        }
    });
}

#[test]
fn a_call_that_went_astray_is_sent_once_more_and_not_twice() {
    let hub = node("");
    run(async |_| {
        let mut edge = Stranger::dial(&hub.url(), "c", "ws://127.0.0.1:1", &DialSettings::default()).await;
        assert_eq!(edge.greet().await["r"], "STATUS");
        edge.offer("edge.f").await;
        let mut client = hub.wire().await;
        until_listed(&mut client, "edge.f").await;
        client.send(request("1", json!([command("c", "edge.f", json!(["x"]))]))).await;
        edge.lose_one().await;
        edge.serve_one().await;
        assert_eq!(client.next().await["r"]["c"], json!(["x"]));
        client.send(request("2", json!([command("c", "edge.f", json!(["x"]))]))).await;
        edge.lose_one().await;
        edge.lose_one().await;
        let answer = client.next().await;
        assert_eq!(answer["error"]["code"], 1003, "{answer}");
        assert!(answer["error"]["details"].to_string().contains("no_peer_for_next_hop"), "{answer}");
    });
}

/// A real node behind a wall: its id leads nowhere.
#[test]
fn an_edge_behind_a_wall_is_called_by_its_cluster_and_after_its_hub_started_again() {
    let hub = node("");
    let config = |more: &str| {
        format!("[node]\ncluster_id = \"c\"\n[fabric]\ngossip_interval = \"200ms\"\n{MONITORED}{more}")
    };
    let edge = config(&format!("[peers]\nstatic = [\"{}\"]\n{}", hub.url(), function("edge.add", "")))
        .replace("[node]\n", "[node]\nid = \"ws://127.0.0.1:1\"\n");
    let edge = Node::start(&edge);
    let far = node(&format!("[peers]\nstatic = [\"{}\"]\n", hub.url()));
    let port = hub.port;
    run(async |_| {
        let is_called = async |node: &Node| {
            let mut client = node.wire().await;
            eventually("the edge", async || client.call("edge.add", json!([1, 2])).await["r"]["c"] == 3)
                .await;
        };
        is_called(&hub).await;
        is_called(&far).await;
        drop(hub);
        let hub = Node::start(&config(&format!("[listen]\nport = {port}\n")));
        is_called(&hub).await;
        is_called(&far).await;
        hub.stop();
    });
    drop(edge);
}
