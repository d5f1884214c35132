//! The captured messages of the reference (fabric.md 18.1): all of them are read, and what a fabric really sends of the
//! same kind has the same members with the same types.

use std::collections::BTreeSet;
use std::path::PathBuf;

use bytes::Bytes;
use mpreg::core::catalog::Delta;
use mpreg::core::discovery::spec_digest;
use mpreg::core::error::CallError;
use mpreg::core::fabric::{Event, Settings};
use mpreg::core::federation::{LinkFacts, Mode};
use mpreg::core::link_state;
use mpreg::core::membership::LinkId;
use mpreg::core::reason::Reason;
use mpreg::core::trust::Signer;
use mpreg::wire::fabric::Frame;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::interop;
use crate::shape::{Leave, differences};
use crate::table::{Table, function, settings, status};

const WALL: f64 = 1_700_000_000.0;
const OWN: &str = "ws://own:1";
const F: &str = "ws://f:1";
const G: &str = "ws://g:1";

/// Kinds that no node of this program sends: it has no queues or cache to report about, no Raft and no consensus.
const NOT_SENT: [&str; 4] = [
    "server_status_with_subsystem_metrics",
    "fabric_control_raft_request_vote",
    "consensus_proposal",
    "consensus_vote",
];

/// Opaque to the fabric: arguments and results, what an application put beside them, the default of a parameter, and a
/// clock with a member for each node.
const OPAQUE: [&str; 6] = ["vector_clock", "args", "kwargs", "result", "metadata", "default"];

/// Counters of the routes in a STATUS, which is {} where a node tells nothing of itself and decides nothing (4.5): here
/// they are metrics of the monitoring endpoint.
const LESS: [&str; 1] = ["route_metrics"];

fn names() -> BTreeSet<String> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/interop/fabric");
    let files = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    files.filter(|n| !n.starts_with("vectors_")).map(|n| n.trim_end_matches(".json").to_owned()).collect()
}

fn capture(name: &str) -> Value {
    interop(&format!("fabric/{name}.json"))
}

#[test]
fn every_capture_is_read() {
    assert_eq!(names().len(), 50);
    for name in names() {
        let text = capture(&name).to_string();
        let frame = Frame::decode(text.as_bytes()).unwrap_or_else(|e| panic!("{name}: {e}"));
        let family = name.split('_').next().unwrap();
        match (family, &frame) {
            ("server", Frame::Status(..) | Frame::Goodbye(..) | Frame::Answer(_)) => {}
            ("gossip", Frame::Gossip(gossip)) => assert!(gossip.kind().is_some(), "{name}"),
            ("fabric", Frame::Message(_)) => {}
            ("consensus", Frame::Other(role, Some(u))) => {
                let own: Value = serde_json::from_str(&text).unwrap();
                assert_eq!((&**role, u.get()), (own["role"].as_str().unwrap(), &*own["u"].to_string()));
            }
            _ => panic!("{name}: {frame:?}"),
        }
    }
}

#[test]
fn consensus_is_refused_and_ends_nothing() {
    // 14.4: nothing depends on it, and the reference itself ignores it unless an application asks; here it is counted as
    // a role that is not served, on links of either direction (20.2 C30), and what answers it is skipped unread (4.6).
    for name in ["consensus_proposal", "consensus_vote"] {
        for dialled in [None, Some(F.into())] {
            let mut table = Table::new(settings(OWN, "c1"), WALL);
            table.tell(Event::LinkOpened { link: LinkId(1), dialled, facts: LinkFacts::default() });
            table.say(1, &status(F, "c1"));
            table.done.clear();
            table.say(1, &capture(name));
            assert!(table.refused(Reason::UnknownRole) && !table.closes(1), "{name}");
            for (_, answer) in table.sent() {
                assert_eq!((&answer["r"], &answer["error"]["code"]), (&Value::Null, &json!(1004)), "{name}");
            }
        }
    }
}

/// Messages that were sent, each beside the capture of the same kind.
#[derive(Default)]
struct Sent(Vec<(&'static str, Value)>);

impl Sent {
    fn add(&mut self, name: &'static str, message: Value) {
        self.0.push((name, message));
    }

    /// The first gossip of that kind in which that list of the payload is not empty.
    fn add_gossip(&mut self, name: &'static str, kind: &str, filled: &str, sent: &[(u64, Value)]) {
        let is_it = |message: &Value| {
            let gossip = &message["payload"];
            gossip["message_type"] == kind
                && (filled.is_empty() || gossip["payload"][filled].as_array().is_some_and(|l| !l.is_empty()))
        };
        let found = sent.iter().find(|(_, message)| message["role"] == "fabric-gossip" && is_it(message));
        self.add(name, found.unwrap_or_else(|| panic!("{name}: {sent:?}")).1.clone());
    }

    /// The only message of the role fabric-message.
    fn add_message(&mut self, name: &'static str, table: &mut Table) {
        let mut sent = table.sent_as("fabric-message");
        assert_eq!(sent.len(), 1, "{name}: {sent:?}");
        self.add(name, sent.remove(0).1);
    }
}

fn table(change: impl FnOnce(&mut Settings)) -> Table {
    let mut own = settings(OWN, "c1");
    change(&mut own);
    let mut table = Table::new(own, WALL);
    let vector = interop("fabric/vectors_rpc_spec_digest.json");
    let mut described = function("svc.add");
    described["resources"] = json!(["gpu"]);
    described["tags"] = json!(["a"]);
    described["rpc_summary"] = vector["summary"].clone();
    described["rpc_spec"] = vector["spec"].clone();
    described["spec_digest"] = vector["sha256"].clone();
    table.serve(&[described]);
    table.done.clear();
    table
}

fn server(out: &mut Sent) {
    let mut t = table(|_| {});
    t.join(F, "c1");
    let sent = t.sent();
    out.add("server_status_reply_from_listener", sent[0].1.clone());
    out.add("server_status_ack", sent[1].1.clone());
    let goodbye = json!({"role": "server", "u": "g", "server": {"what": "GOODBYE", "departing_node_url": F,
        "cluster_id": "c1", "reason": "graceful_shutdown", "instance_id": "i1", "timestamp": WALL}});
    t.join(G, "c1");
    t.gossip(1, F, "catalog_update", json!({"cluster_id": "c1", "functions": [foreign("f.f", "c1", F)]}));
    t.sent();
    t.say(1, &goodbye);
    let sent = t.sent();
    out.add("server_goodbye_ack", sent.iter().find(|(link, _)| *link == 1).unwrap().1.clone());
    out.add_gossip("gossip_catalog_departure", "catalog_update", "node_removals", &sent);
    t.tell(Event::LinkClosed { link: LinkId(1) });
    t.tell(Event::LinkOpened { link: LinkId(7), dialled: None, facts: LinkFacts::default() });
    t.done.clear();
    t.say(7, &status(F, "c1"));
    out.add("server_departed_peer_error", t.sent().remove(0).1);
    t.tell(Event::LinkOpened {
        link: LinkId(8),
        dialled: Some("ws://h:1".into()),
        facts: LinkFacts::default(),
    });
    out.add("server_status_from_dialer", t.sent().remove(0).1);
    t.tell(Event::Stop);
    let sent = t.sent();
    let said = |what: &str| sent.iter().find(|(_, m)| m["server"]["what"] == what).unwrap().1.clone();
    out.add("server_goodbye", said("GOODBYE"));
    out.add_gossip("gossip_catalog_self_removal", "catalog_update", "node_removals", &sent);

    let mut strict = table(|own| own.bridging.federation.mode = Mode::StrictIsolation);
    strict.tell(Event::LinkOpened { link: LinkId(1), dialled: None, facts: LinkFacts::default() });
    strict.done.clear();
    strict.say(1, &status(F, "c9"));
    out.add("server_status_disallowed_cluster_error", strict.sent().remove(0).1);
}

fn foreign(name: &str, cluster: &str, node: &str) -> Value {
    let mut entry = function(name);
    for (member, value) in
        [("cluster_id", json!(cluster)), ("node_id", json!(node)), ("advertised_at", json!(WALL))]
    {
        entry[member] = value;
    }
    entry
}

fn catalog(out: &mut Sent) {
    let mut t = table(|_| {});
    t.join(F, "c1");
    let sent = t.sent();
    out.add_gossip("gossip_catalog_function_add", "catalog_update", "functions", &sent);
    t.join(G, "c1");
    let sent = t.sent();
    // What others said is told to a new peer for itself alone.
    let snapshot: Vec<_> = sent.iter().filter(|(_, m)| m["payload"]["ttl"] == 0).cloned().collect();
    out.add_gossip("gossip_catalog_snapshot_on_connect", "catalog_update", "nodes", &snapshot);
    out.add_gossip("gossip_catalog_node_snapshot", "catalog_update", "nodes", &snapshot);
    let news = json!({"cluster_id": "c1", "functions": [foreign("f.f", "c1", F)]});
    t.gossip(1, F, "catalog_update", news);
    out.add_gossip("gossip_catalog_foreign_function_relayed", "catalog_update", "functions", &t.sent());
    let node = json!({"node_id": F, "cluster_id": "c1", "advertised_at": WALL + 0.5, "ttl_seconds": 60.0, "region": "local"});
    t.gossip(1, F, "catalog_update", json!({"cluster_id": "c1", "nodes": [node]}));
    out.add_gossip("gossip_catalog_node_refresh_relayed", "catalog_update", "nodes", &t.sent());
    t.run(15.0);
    out.add_gossip("gossip_catalog_node_refresh", "catalog_update", "nodes", &t.sent());

    let mut local = |delta: Value| {
        let delta: Delta = serde_json::from_value(delta).unwrap();
        t.tell(Event::Local(Box::new(delta)));
        t.sent()
    };
    let topic = json!({"subscription_id": "s1", "patterns": ["orders.#"]});
    let sent = local(json!({"topics": [topic]}));
    out.add_gossip("gossip_catalog_topic_add", "catalog_update", "topics", &sent);
    let sent = local(json!({"topic_removals": ["s1"]}));
    out.add_gossip("gossip_catalog_topic_remove", "catalog_update", "topic_removals", &sent);
    let queue = json!({"queue_name": "q", "delivery_guarantees": ["at_least_once"], "metadata": {"queue_type": "fifo"}});
    out.add_gossip(
        "gossip_catalog_queue_add",
        "catalog_update",
        "queues",
        &local(json!({"queues": [queue]})),
    );
    let service = json!({"name": "web", "namespace": "ns", "protocol": "tcp", "port": 80, "targets": ["t"], "metadata": {"k": "v"}});
    out.add_gossip(
        "gossip_catalog_service_add",
        "catalog_update",
        "services",
        &local(json!({"services": [service]})),
    );
    let key = json!({"cluster_id": "c1", "node_id": OWN, "namespace": "ns", "name": "web", "protocol": "tcp", "port": 80});
    let sent = local(json!({"service_removals": [key]}));
    out.add_gossip("gossip_catalog_service_remove", "catalog_update", "service_removals", &sent);
    let sent = local(
        json!({"cache_profiles": [{"region": "local", "capacity_mb": 5}], "caches": [{"role": "sync"}]}),
    );
    out.add_gossip("gossip_catalog_cache_profile", "catalog_update", "cache_profiles", &sent);
    out.add_gossip("gossip_catalog_snapshot_with_cache_entries", "catalog_update", "caches", &sent);
}

fn routes(out: &mut Sent) {
    let seed = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    for signed in [false, true] {
        let mut t = table(|own| {
            if signed {
                own.bridging.trust.signer = Some(Signer::parse(seed, "").unwrap());
            }
        });
        t.join("ws://b:1", "cb");
        let own = t.sent();
        let far = json!({"destination": {"cluster_id": "cc"}, "path": {"hops": ["cc"]}, "metrics": {"hop_count": 0},
            "advertiser": "cc", "advertised_at": WALL, "ttl_seconds": 30.0, "epoch": 1, "route_tags": []});
        let link = t.join("ws://c:1", "cc");
        t.sent();
        t.gossip(link, "ws://c:1", "route_advertisement", far.clone());
        let relayed = t.sent();
        match signed {
            false => {
                out.add_gossip("gossip_route_advertisement_local", "route_advertisement", "", &own);
                out.add_gossip("gossip_route_advertisement_relay", "route_advertisement", "", &relayed);
            }
            true => {
                out.add_gossip("gossip_route_advertisement_signed", "route_advertisement", "", &own);
                out.add_gossip(
                    "gossip_route_advertisement_signed_relay",
                    "route_advertisement",
                    "",
                    &relayed,
                );
                let keys = |(_, m): &&(u64, Value)| m["payload"]["message_type"] == "route_key_announcement";
                let mut announced = own.iter().find(keys).unwrap().1.clone();
                // The capture was made by hand, without the members that every node fills in.
                for absent in ["digest", "checksum"] {
                    announced["payload"].as_object_mut().unwrap().shift_remove(absent);
                }
                out.add("gossip_route_key_announcement_accepted", announced);
                continue;
            }
        }
        t.tell(Event::LinkClosed { link: LinkId(link) });
        t.run(1.0);
        let withdrawn = t.sent();
        out.add_gossip("gossip_route_withdrawal", "route_withdrawal", "", &withdrawn);
        out.add_gossip("gossip_route_withdrawal_relay", "route_withdrawal", "", &withdrawn);
    }
    // Within the cluster a route goes on as it came; between clusters there are no such copies (7.4).
    let mut t = table(|_| {});
    t.join(F, "c1");
    t.join(G, "c1");
    t.sent();
    let route = json!({"destination": {"cluster_id": "cc"}, "path": {"hops": ["c1", "cc"]},
        "metrics": {"hop_count": 1, "latency_ms": 0.0, "bandwidth_mbps": 0, "reliability_score": 1.0, "cost_score": 0.0},
        "advertiser": "c1", "advertised_at": WALL, "ttl_seconds": 30.0, "epoch": 1, "route_tags": [], "signature": "",
        "public_key": "", "signature_algorithm": "ed25519"});
    t.gossip(1, F, "route_advertisement", route);
    out.add_gossip("gossip_route_advertisement_gossip_copy", "route_advertisement", "", &t.sent());
}

fn links(out: &mut Sent) {
    for area in [None, Some("area-a")] {
        let mut t = table(|own| {
            own.bridging.link_state.mode = link_state::Mode::Prefer;
            own.bridging.link_state.area = area.map(Into::into);
            own.bridging.link_state.areas.allow_unmapped_neighbours = true;
        });
        t.join("ws://b:1", "cb");
        t.run(15.0);
        let sent = t.sent();
        match area {
            Some(_) => {
                out.add_gossip("gossip_link_state_update_area", "link_state_update", "neighbors", &sent)
            }
            None => {
                out.add_gossip("gossip_link_state_update", "link_state_update", "neighbors", &sent);
                t.join(F, "c1");
                t.sent();
                let mut update = capture("gossip_link_state_update_relayed")["payload"]["payload"].clone();
                update["origin"] = json!("cb");
                update["advertised_at"] = json!(t.now().wall);
                t.gossip(1, "ws://b:1", "link_state_update", update);
                out.add_gossip("gossip_link_state_update_relayed", "link_state_update", "", &t.sent());
            }
        }
    }
}

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

fn calls(out: &mut Sent) {
    let mut t = table(|_| {});
    let (mate, other, abroad) = (t.join(F, "c1"), t.join(G, "c1"), t.join("ws://b:1", "cb"));
    t.gossip(other, G, "catalog_update", json!({"cluster_id": "c1", "functions": [foreign("g.f", "c1", G)]}));
    t.gossip(
        abroad,
        "ws://b:1",
        "catalog_update",
        json!({"cluster_id": "cb", "functions": [foreign("b.f", "cb", "ws://b:1")]}),
    );
    t.sent();
    t.call("r1", "b.f", "cb", "ws://b:1");
    out.add_message("fabric_rpc_request_first_hop", &mut t);
    t.call("r2", "g.f", "c1", G);
    out.add_message("fabric_rpc_request_same_cluster", &mut t);

    let abroad_fields = json!({"target_cluster": "cb", "target_node": "ws://b:1"});
    let request = t.request("r3", "b.f", F, json!({"target_cluster": "cb"}), abroad_fields);
    t.say(mate, &request);
    out.add_message("fabric_rpc_request_second_hop", &mut t);
    let mut response = capture("fabric_rpc_response_first_hop");
    for (member, value) in
        [("request_id", json!("r3")), ("responder", json!("ws://b:1")), ("reply_to", json!(F))]
    {
        response["payload"]["payload"][member] = value;
    }
    response["payload"]["headers"]["correlation_id"] = json!("r3");
    t.say(abroad, &response);
    out.add_message("fabric_rpc_response_second_hop", &mut t);
    let request = t.request("r4", "g.f", F, json!({}), json!({}));
    t.say(mate, &request);
    out.add_message("fabric_rpc_request_same_cluster_forwarded", &mut t);

    for (name, outcome) in [
        ("fabric_rpc_response_first_hop", Ok(raw(r#"{"fn":"x"}"#))),
        ("fabric_rpc_response_error_exception", Err(CallError::failed("ValueError: it broke"))),
    ] {
        let request = t.request(name, "svc.add", F, json!({}), json!({}));
        t.say(mate, &request);
        let execution = t.execution().unwrap().execution;
        t.tell(Event::CallDone { execution, outcome });
        out.add_message(name, &mut t);
    }
    for (name, command, headers, payload) in [
        ("fabric_rpc_response_error_route_not_found", "no.such", json!({}), json!({})),
        ("fabric_rpc_response_error_route_loop", "g.f", json!({"routing_path": [G, F]}), json!({})),
        ("fabric_rpc_response_error_hop_budget_exhausted", "g.f", json!({"hop_budget": 0}), json!({})),
        (
            "fabric_rpc_response_error_forward_failed",
            "f.f",
            json!({}),
            json!({"target_cluster": "nowhere", "target_node": "ws://nowhere:1"}),
        ),
    ] {
        let request = t.request(name, command, F, headers, payload);
        t.say(mate, &request);
        out.add_message(name, &mut t);
    }
}

fn publications(out: &mut Sent) {
    let mut t = table(|_| {});
    t.join(F, "c1");
    let other = t.join(G, "c1");
    let topic = json!({"subscription_id": "s", "patterns": ["orders.#"], "node_id": G, "cluster_id": "c1", "advertised_at": WALL, "ttl_seconds": 60.0});
    t.gossip(other, G, "catalog_update", json!({"cluster_id": "c1", "topics": [topic]}));
    t.sent();
    let mut first = capture("fabric_pubsub_first_hop");
    let message = first["payload"]["payload"].to_string();
    t.tell(Event::Publish {
        topic: "orders.new".into(),
        message_id: "m-1".into(),
        timestamp: WALL,
        message: Bytes::from(message),
    });
    out.add_message("fabric_pubsub_first_hop", &mut t);
    first["payload"]["message_id"] = json!("m-2");
    first["payload"]["payload"]["message_id"] = json!("m-2");
    first["payload"]["headers"]["correlation_id"] = json!("m-2");
    first["payload"]["headers"]["routing_path"] = json!([F]);
    t.say(1, &first);
    out.add_message("fabric_pubsub_second_hop", &mut t);
}

#[test]
fn what_is_sent_has_the_members_and_types_of_the_captures() {
    let mut out = Sent::default();
    for part in [server, catalog, routes, links, calls, publications] {
        part(&mut out);
    }
    let mut found = Vec::new();
    for (name, message) in &out.0 {
        // A member more is dropped by the reference unread: the extensions of a STATUS, and the seal of route keys, which
        // make a rotation believable (20.1 S7).
        let more: &[&str] = match *name {
            name if name.starts_with("server_status_") => &["extensions"],
            "gossip_route_key_announcement_accepted" => &["signature", "public_key", "signature_algorithm"],
            _ => &[],
        };
        let leave = Leave { less: &LESS, more, opaque: &OPAQUE };
        found.extend(differences(message, &capture(name), leave).iter().map(|d| format!("{name}{d}")));
    }
    assert_eq!(found, [""; 0], "{found:#?}");
    let sent: BTreeSet<String> = out.0.iter().map(|(name, _)| (*name).to_owned()).collect();
    let expected: BTreeSet<String> =
        names().into_iter().filter(|n| !NOT_SENT.contains(&n.as_str())).collect();
    assert_eq!(sent, expected, "each kind is sent");
}

#[test]
fn a_description_travels_unchanged() {
    // 6.8: the digest is of the text, so that whoever passes a description on changes nothing in it.
    let vector = interop("fabric/vectors_rpc_spec_digest.json");
    let mut t = table(|_| {});
    t.join(F, "c1");
    t.join(G, "c1");
    let mut far = foreign("f.f", "c1", F);
    far["rpc_spec"] = vector["spec"].clone();
    far["rpc_summary"] = vector["summary"].clone();
    far["spec_digest"] = vector["sha256"].clone();
    let first = t.sent();
    t.gossip(1, F, "catalog_update", json!({"cluster_id": "c1", "functions": [far]}));
    let relayed = t.sent();
    for (sent, name) in [(first, "svc.add"), (relayed, "f.f")] {
        let of_gossip = sent.iter().filter_map(|(_, m)| m["payload"]["payload"]["functions"].as_array());
        let told = of_gossip.flatten().find(|f| f["identity"]["name"] == name).unwrap();
        assert_eq!(told["rpc_spec"].to_string(), vector["spec"].to_string(), "{name}");
        assert_eq!(told["rpc_summary"].to_string(), vector["summary"].to_string(), "{name}");
        assert_eq!(spec_digest(&told["rpc_spec"]), told["spec_digest"].as_str().unwrap(), "{name}");
    }
}
