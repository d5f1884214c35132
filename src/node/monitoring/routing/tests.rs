use std::collections::BTreeSet;

use bytes::Bytes;

use super::*;
use crate::core::fabric::simulation::settings;
use crate::core::fabric::{Bridging, Event};
use crate::core::federation::{self, LinkFacts};
use crate::core::link_state::{Area, Summary};
use crate::core::membership::LinkId;

const WALL: f64 = 1_795_373_917.0;

/// A captured answer: the query that was asked and the body.
fn captured(name: &str) -> (String, Value) {
    let text = match name {
        "found" => include_str!("../../../../tests/interop/monitoring/get_routing_trace_found.json"),
        "avoided" => include_str!("../../../../tests/interop/monitoring/get_routing_trace_avoided.json"),
        "own" => include_str!("../../../../tests/interop/monitoring/get_routing_trace_destination_a.json"),
        "unknown" => {
            include_str!(
                "../../../../tests/interop/monitoring/get_routing_trace_destination_other_avoid_a_20b.json"
            )
        }
        "without_destination" => include_str!("../../../../tests/interop/monitoring/get_routing_trace.json"),
        "link_state_off" => {
            include_str!("../../../../tests/interop/monitoring/get_routing_link_state_unavailable.json")
        }
        "link_state" => include_str!("../../../../tests/interop/monitoring/get_routing_link_state.json"),
        _ => panic!("no capture {name}"),
    };
    let capture: Value = serde_json::from_str(text).unwrap();
    let query = capture["request"].as_str().unwrap().split_once('?').map_or("", |(_, query)| query);
    (query.to_owned(), capture["body"].clone())
}

/// The node of the captures: cluster A, linked with B and C, which are linked with each other.
fn node(mode: Mode, default_area: Option<&str>, areas: &[&str]) -> Fabric {
    let mut own = settings(0, "first", &[]);
    own.membership.cluster_id = "A".into();
    own.bridging = Bridging::none(&"A".into());
    own.bridging.federation.mode = federation::Mode::PermissiveBridging;
    own.bridging.federation.connections_per_cluster_max = 2;
    let links = &mut own.bridging.link_state;
    links.mode = mode;
    links.area = default_area.map(Text::from);
    links.areas.local = areas.iter().map(|area| Text::from(*area)).collect();
    links.areas.by_name.insert("area-b".into(), Area { parent: Some("area-a".into()), ..Area::default() });
    links.areas.summaries.push(Summary {
        from: "area-b".into(),
        to: "area-a".into(),
        allow: Some(BTreeSet::from(["C".into()])),
        deny: None,
    });
    let mut fabric = Fabric::new(own, Now::at(WALL, 0.0));
    for (link, cluster, paths) in
        [(1, "B", [vec!["B"], vec!["B", "C"]]), (2, "C", [vec!["C"], vec!["C", "B"]])]
    {
        let mut tell = |event| fabric.handle(event, Now::at(WALL, 0.1), &mut Vec::new());
        let (link, url) = (LinkId(link), format!("ws://{cluster}:1"));
        tell(Event::LinkOpened { link, dialled: None, facts: LinkFacts::default() });
        let mut say = |message: Value| tell(Event::Message { link, bytes: Bytes::from(message.to_string()) });
        say(
            json!({"role": "server", "u": "s", "server": {"what": "STATUS", "server_url": url, "cluster_id": cluster, "instance_id": "i"}}),
        );
        for (n, hops) in paths.iter().enumerate() {
            say(json!({"role": "fabric-gossip", "payload": {
                "message_id": format!("{url}:{n}"), "message_type": "route_advertisement", "sender_id": url,
                "payload": {"destination": {"cluster_id": hops.last()}, "path": {"hops": hops}, "metrics": {"hop_count": n},
                    "advertiser": cluster, "advertised_at": WALL, "ttl_seconds": 30.0, "epoch": 1, "route_tags": []}}}));
        }
        say(json!({"role": "fabric-gossip", "payload": {
            "message_id": format!("{url}:l"), "message_type": "link_state_update", "sender_id": url,
            "payload": {"origin": cluster, "neighbors": [{"cluster_id": "A"}], "advertised_at": WALL,
                "ttl_seconds": 30.0, "sequence": 1, "area": areas.first()}}}));
    }
    fabric
}

/// Every member of `captured` that `ours` has not, or has otherwise; moments are compared by their type.
fn lacks(ours: &Value, captured: &Value, place: &str, found: &mut Vec<String>) {
    match (ours, captured) {
        (Value::Object(ours), Value::Object(captured)) => {
            for (name, value) in captured {
                let place = format!("{place}.{name}");
                match ours.get(name) {
                    Some(have) if name == "timestamp" || name == "evaluated_at" => {
                        assert!(have.is_f64() && value.is_f64(), "{place}");
                    }
                    Some(have) => lacks(have, value, &place, found),
                    None => found.push(format!("{place} is missing")),
                }
            }
        }
        (Value::Array(ours), Value::Array(captured)) if ours.len() == captured.len() => {
            for (n, (have, value)) in ours.iter().zip(captured).enumerate() {
                lacks(have, value, &format!("{place}[{n}]"), found);
            }
        }
        _ if ours == captured && ours.is_f64() == captured.is_f64() => {}
        _ => found.push(format!("{place}: {ours} instead of {captured}")),
    }
}

#[test]
fn parameters_are_found_and_their_escapes_undone() {
    let query = "avoid=a%2Cb&destination=c%C3%A9%20d+e&destination=other&x";
    assert_eq!(parameter(query, "destination").as_deref(), Some("cé d e"));
    assert_eq!(parameter(query, "avoid").as_deref(), Some("a,b"));
    assert_eq!(parameter(query, "missing"), None);
    assert_eq!(unescaped("100%"), "100%");
    assert_eq!(unescaped("%zz%4"), "%zz%4");
}

#[test]
fn a_trace_says_all_that_the_captures_say() {
    let both = ["area-a", "area-b"];
    for (name, default_area, areas) in [
        ("found", Some("area-a"), &both[..1]),
        ("avoided", Some("area-a"), &both[..1]),
        ("own", None, &both[..]),
        ("unknown", None, &both[..]),
    ] {
        let (query, body) = captured(name);
        let mut fabric = node(Mode::Prefer, default_area, areas);
        let ours = traced(&mut fabric, &query, Now::at(WALL, 1.0)).unwrap();
        let mut found = Vec::new();
        lacks(&ours, &body, name, &mut found);
        assert_eq!(found, [""; 0], "{ours:#}");
        // And what the reference does not say: the decision itself (monitoring.md 4, 11).
        assert!(ours["trace"]["decision"].is_object());
    }
    let mut fabric = node(Mode::Disabled, None, &[]);
    assert_eq!(traced(&mut fabric, "avoid=b", Now::at(WALL, 1.0)), None);
    assert_eq!(traced(&mut fabric, "destination=", Now::at(WALL, 1.0)), None);
    let without = traced(&mut fabric, "destination=B", Now::at(WALL, 1.0)).unwrap();
    assert!(without["trace"].get("link_state_hint").is_none(), "only with link state");
}

#[test]
fn link_state_is_shown_with_the_members_of_the_capture() {
    let (_, mut body) = captured("link_state");
    let fabric = node(Mode::Prefer, None, &["area-a", "area-b"]);
    let mut ours = linked(&fabric, Now::at(WALL, 1.0)).unwrap();
    // What was counted differs; that it is counted does not.
    for value in [&mut ours["link_state"], &mut body["link_state"]] {
        assert!(value["entries"].as_u64().is_some_and(|n| n > 0) && value["entry_areas"][0] == "area-a");
        value["entries"] = json!(0);
        value["entry_areas"] = json!([]);
        for count in value["stats"].as_object_mut().unwrap().values_mut() {
            assert!(count.is_u64());
            *count = json!(0);
        }
    }
    let mut found = Vec::new();
    lacks(&ours, &body, "link_state", &mut found);
    lacks(&body, &ours, "capture", &mut found);
    assert_eq!(found, [""; 0], "{ours:#}");
    assert_eq!(linked(&node(Mode::Disabled, None, &[]), Now::at(WALL, 1.0)), None);
}

#[test]
fn refusals_have_the_words_of_the_captures() {
    for (name, words) in [("without_destination", DESTINATION_REQUIRED), ("link_state_off", NOT_AVAILABLE)] {
        assert_eq!(captured(name).1, json!({"status": "error", "message": words}));
    }
}
