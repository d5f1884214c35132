//! `vectors_forwarding_plan.json` (fabric.md 13): which neighbour a call goes to, with which path and how many hops left,
//! or why it goes nowhere. What a fabric really sends is compared, for a call of a client of its own and for one that
//! another node of its cluster hands on; the graph of a case is told once as link state and once as routes.

use mpreg::core::link_state;
use serde_json::{Value, json};

use crate::table::{Table, settings};
use crate::{interop, list, texts};

/// How a fabric comes to know which cluster has a link with which.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Told {
    LinkState,
    Routes,
}

/// Where a call goes.
#[derive(Debug, PartialEq)]
struct Plan {
    /// The cluster and peer it is handed to; `None`: nowhere.
    next: Option<(String, String)>,
    planned_path: Vec<String>,
    federation_path: Vec<String>,
    remaining_hops: i64,
    /// `ok`, or why it goes nowhere.
    reason: String,
}

impl Plan {
    fn of(plan: &Value) -> Plan {
        let text = |name: &str| plan[name].as_str().map(str::to_owned);
        assert_eq!(plan["can_forward"] == true, text("next_cluster").is_some());
        Plan {
            next: text("next_cluster").zip(text("next_peer_url")),
            planned_path: texts(&plan["planned_path"]),
            federation_path: texts(&plan["federation_path"]),
            remaining_hops: plan["remaining_hops"].as_i64().unwrap(),
            reason: text("reason").unwrap(),
        }
    }
}

/// What is done here instead of what the reference does.
fn instead(description: &str, plan: Plan) -> Plan {
    if description.starts_with("REFERENCE DEFECT") {
        // 20.2 C1: the reference avoids its own cluster, which every route begins with, and so never follows one. Here the
        // route is followed, to the neighbour that announced it, and no other neighbour is tried at random (C3).
        return Plan {
            next: Some(("cf".into(), "ws://f".into())),
            planned_path: ["ca", "cf", "far"].map(str::to_owned).into(),
            reason: "ok".into(),
            ..plan
        };
    }
    if description == "fallback excludes visited" {
        // 20.2 C3: nobody has said that cf leads to far, so nothing is handed to it; the call ends at once with its reason.
        return Plan {
            next: None,
            planned_path: Vec::new(),
            federation_path: vec!["cb".into()],
            remaining_hops: 5,
            reason: "no_fabric_path".into(),
        };
    }
    plan
}

const OWN: &str = "ws://a0";
/// Another node of the own cluster, which hands calls on.
const MATE: &str = "ws://a1";
/// A little after the routes of the vectors.
const WALL: f64 = 1_795_374_200.0;

/// The world of one case.
struct Scene {
    table: Table,
    mate: u64,
    /// Peers of other clusters: link, cluster, node.
    peers: Vec<(u64, String, String)>,
}

impl Scene {
    fn of(case: &Value, told: Told) -> Scene {
        let mut own = settings(OWN, case["local"].as_str().unwrap());
        if told == Told::LinkState {
            own.bridging.link_state.mode = link_state::Mode::Prefer;
        }
        let mut table = Table::new(own, WALL);
        let mate = table.join(MATE, "ca");
        let mut peers = Vec::new();
        for (cluster, nodes) in case["connected_peers"].as_object().unwrap() {
            for node in texts(nodes) {
                peers.push((table.join(&node, cluster), cluster.clone(), node));
            }
        }
        let mut scene = Scene { table, mate, peers };
        scene.tell_graph(&case["graph_edges"], told);
        for route in list(&case["route_table"]) {
            let advertiser = route["advertiser"].as_str().unwrap().to_owned();
            scene.by(&advertiser, "route_advertisement", route);
        }
        scene.table.sent();
        scene
    }

    /// The first peer of a cluster says something.
    fn by(&mut self, cluster: &str, kind: &str, payload: Value) {
        let (link, _, node) = self.peers.iter().find(|(_, of, _)| of == cluster).cloned().unwrap();
        self.table.gossip(link, &node, kind, payload);
    }

    fn tell_graph(&mut self, edges: &Value, told: Told) {
        let edges: Vec<(String, String)> =
            list(edges).iter().map(texts).map(|e| (e[0].clone(), e[1].clone())).collect();
        let linked: Vec<String> = edges.iter().filter(|(a, _)| a == "ca").map(|(_, b)| b.clone()).collect();
        for neighbour in &linked {
            let beyond: Vec<&String> = edges.iter().filter(|(a, _)| a == neighbour).map(|(_, b)| b).collect();
            if !self.peers.iter().any(|(_, cluster, _)| cluster == neighbour) {
                // An edge without a peer: it is the other node of this cluster that has the link.
                let route = announcement(&["ca", neighbour], 1);
                self.table.gossip(self.mate, MATE, "route_advertisement", route);
                if told == Told::LinkState {
                    self.table.gossip(self.mate, MATE, "link_state_update", links(neighbour, &["ca"]));
                }
                continue;
            }
            match told {
                Told::Routes => {
                    self.by(neighbour, "route_advertisement", announcement(&[neighbour], 0));
                    for far in beyond {
                        self.by(neighbour, "route_advertisement", announcement(&[neighbour, far], 1));
                    }
                }
                Told::LinkState => {
                    let mut named = vec!["ca"];
                    named.extend(beyond.iter().map(|far| far.as_str()));
                    self.by(neighbour, "link_state_update", links(neighbour, &named));
                    for far in beyond {
                        self.by(neighbour, "link_state_update", links(far, &[neighbour]));
                    }
                }
            }
        }
    }

    /// The way as those who watch the node see it, from here to the target.
    fn shown_path(&mut self, target: &str, told: Told) -> Option<Vec<String>> {
        let now = self.table.now();
        let trace = self.table.fabric.trace(&target.into(), &[], now);
        let texts = |path: &[mpreg::core::catalog::Text]| path.iter().map(|c| c.to_string()).collect();
        let by_links = trace.link_state.and_then(|l| l.candidates.into_iter().find(|c| c.used));
        match told {
            Told::LinkState if by_links.is_some() => by_links.map(|c| texts(&c.path)),
            _ => trace.selected.map(|route| texts(&route.path.hops)),
        }
    }

    /// The answer to a handed-on call, or the call as it was sent on: the link and the message.
    fn outcome(&mut self) -> (u64, Value) {
        let mut sent = self.table.sent_as("fabric-message");
        assert_eq!(sent.len(), 1, "{sent:?}");
        let (link, message) = sent.remove(0);
        (link, message["payload"].clone())
    }

    fn peer_behind(&self, link: u64) -> (String, String) {
        let (_, cluster, node) = self.peers.iter().find(|(l, _, _)| *l == link).unwrap();
        (cluster.clone(), node.clone())
    }
}

fn announcement(path: &[&str], hop_count: i64) -> Value {
    json!({"destination": {"cluster_id": path.last()}, "path": {"hops": path}, "metrics": {"hop_count": hop_count},
        "advertiser": path[0], "advertised_at": WALL, "ttl_seconds": 30.0, "epoch": 1, "route_tags": []})
}

fn links(origin: &str, neighbours: &[&str]) -> Value {
    let neighbour = |cluster: &&str| json!({"cluster_id": cluster, "latency_ms": 5.0, "bandwidth_mbps": null, "reliability_score": 0.99, "cost_score": 5.5});
    let neighbours: Vec<Value> = neighbours.iter().map(neighbour).collect();
    json!({"origin": origin, "neighbors": neighbours, "advertised_at": WALL, "ttl_seconds": 30.0, "sequence": 1})
}

/// A call that another node of the cluster hands on.
fn handed_on(case: &Value, told: Told, expected: &Plan) {
    let (about, call) = (case["description"].as_str().unwrap(), &case["call"]);
    let mut scene = Scene::of(case, told);
    let visited = call.get("visited_clusters").cloned().unwrap_or(json!([]));
    let target = call["target_cluster"].as_str();
    let mut payload = json!({"target_cluster": target, "federation_path": visited});
    if target.is_some_and(|t| t != "ca") {
        payload["target_node"] = json!("ws://somewhere-there");
    }
    if let Some(hops) = call.get("remaining_hops") {
        payload["federation_remaining_hops"] = hops.clone();
    }
    let headers = json!({"target_cluster": target, "federation_path": visited, "hop_budget": 5});
    let request = scene.table.request("r1", "f", MATE, headers, payload);
    scene.table.say(scene.mate, &request);
    let (link, message) = scene.outcome();
    let (headers, payload) = (&message["headers"], &message["payload"]);
    let Some(next) = &expected.next else {
        assert_eq!(link, scene.mate, "{about} {told:?}");
        assert_eq!((&payload["success"], &payload["responder"]), (&json!(false), &json!(OWN)));
        let error = &payload["error"];
        if ["no_target_cluster", "already_local"].contains(&&*expected.reason) {
            // A call without a cluster, or for this one, is for a node of it and needs no way to another (12.4).
            assert_eq!(*error, json!({"error": "fabric_route_not_found", "command": "f"}), "{about}");
        } else {
            let failed = json!({"error": "fabric_forward_failed", "command": "f", "target_cluster": target, "reason": expected.reason});
            assert_eq!(*error, failed, "{about} {told:?}");
        }
        return;
    };
    assert_eq!(scene.peer_behind(link), *next, "{about} {told:?}");
    assert_eq!(message["message_id"], "r1");
    assert_eq!(texts(&payload["federation_path"]), expected.federation_path, "{about}");
    assert_eq!(texts(&headers["federation_path"]), expected.federation_path, "{about}");
    assert_eq!(payload["federation_remaining_hops"], expected.remaining_hops, "{about}");
    assert_eq!(headers["routing_path"], json!([MATE, OWN]));
    // 11.1: the budget of the headers is a maximum and is not counted down.
    assert_eq!(headers["hop_budget"], 5);
    assert_eq!((&payload["target_cluster"], &headers["target_cluster"]), (&json!(target), &json!(target)));
}

/// A call of a client of this node: such a call has been nowhere.
fn own(case: &Value, told: Told, expected: &Plan) {
    let (about, target) = (case["description"].as_str().unwrap(), case["call"]["target_cluster"].as_str());
    let Some(target) = target.filter(|t| *t != "ca") else { return };
    let mut scene = Scene::of(case, told);
    if expected.reason == "no_peer_for_next_hop" {
        // A client of this node would be led over the node that has the link; here that one is gone.
        scene.table.leave(scene.mate);
    }
    scene.table.sent();
    scene.table.call("r2", "f", target, "ws://somewhere-there");
    let Some((cluster, node)) = &expected.next else {
        let error = scene.table.answered().unwrap().unwrap_err();
        let text = error.details.unwrap().to_string();
        assert!(text.contains(&expected.reason), "{about} {told:?}: {text}");
        assert!(scene.table.sent().is_empty());
        return;
    };
    let (link, message) = scene.outcome();
    assert_eq!(scene.peer_behind(link), (cluster.clone(), node.clone()), "{about} {told:?}");
    let payload = &message["payload"];
    assert_eq!(texts(&payload["federation_path"]), expected.federation_path, "{about}");
    assert_eq!(texts(&message["headers"]["federation_path"]), expected.federation_path, "{about}");
    assert_eq!(payload["federation_remaining_hops"], expected.remaining_hops, "{about}");
    assert_eq!(message["headers"]["routing_path"], json!([OWN]));
}

/// What `/routing/trace` shows is what is done.
fn shown(case: &Value, told: Told, expected: &Plan) {
    let about = case["description"].as_str().unwrap();
    let Some(target) = case["call"]["target_cluster"].as_str() else { return };
    let mut scene = Scene::of(case, told);
    let now = scene.table.now();
    let visited: Vec<_> = case["call"]
        .get("visited_clusters")
        .map(texts)
        .unwrap_or_default()
        .iter()
        .map(|c| c.as_str().into())
        .collect();
    let decision = scene.table.fabric.trace(&target.into(), &visited, now).decision;
    let depends_on_the_call = ["hop_budget_exhausted", "no_peer_for_next_hop"].contains(&&*expected.reason)
        || visited.iter().any(|c| **c == *"ca");
    if !depends_on_the_call {
        let next = decision.next_cluster.zip(decision.next_node).map(|(c, n)| (c.to_string(), n.to_string()));
        assert_eq!(next, expected.next, "{about} {told:?}");
        let reason = decision.reason.unwrap_or("ok");
        assert_eq!(reason, expected.reason, "{about} {told:?}");
    }
    if !expected.planned_path.is_empty() {
        match scene.shown_path(target, told) {
            Some(path) => assert_eq!(path, expected.planned_path, "{about} {told:?}"),
            // A peer of the target itself needs no route.
            None => assert_eq!(case["graph_edges"], json!([]), "{about} {told:?}"),
        }
    }
}

#[test]
fn calls_go_where_the_plans_say_or_where_a_route_leads() {
    let cases = list(&interop("fabric/vectors_forwarding_plan.json")["cases"]);
    assert_eq!(cases.len(), 13);
    let mut otherwise = 0;
    for case in &cases {
        let about = case["description"].as_str().unwrap();
        let expected = instead(about, Plan::of(&case["plan"]));
        otherwise += usize::from(expected != Plan::of(&case["plan"]));
        assert_ne!(expected.reason, "fallback_neighbor", "20.2 C3: never");
        for told in [Told::LinkState, Told::Routes] {
            handed_on(case, told, &expected);
            let call = case["call"].as_object().unwrap();
            if call.keys().all(|name| name == "target_cluster") {
                own(case, told, &expected);
            }
            shown(case, told, &expected);
        }
    }
    assert_eq!(otherwise, 2, "each difference was met");
}

#[test]
fn a_neighbour_that_leads_nowhere_is_not_the_end() {
    // 20.2 C3: where the best of two routes has no peer left, the next one is taken, which the reference never does.
    let mut table = Table::new(settings(OWN, "ca"), WALL);
    let (first, second) = (table.join("ws://b", "cb"), table.join("ws://f", "cf"));
    table.gossip(first, "ws://b", "route_advertisement", announcement(&["cb", "far"], 1));
    table.gossip(second, "ws://f", "route_advertisement", announcement(&["cf", "cg", "far"], 2));
    for (id, gone, link) in [("r1", None, first), ("r2", Some(first), second)] {
        if let Some(gone) = gone {
            table.leave(gone);
        }
        table.sent();
        table.call(id, "f", "far", "ws://somewhere-there");
        let sent = table.sent_as("fabric-message");
        assert_eq!(sent.iter().map(|(l, _)| *l).collect::<Vec<_>>(), [link]);
    }
}
