//! `vectors_gossip_digest.json` (fabric.md 5.1): the envelope of gossip on its first and second hop.
//!
//! Digest and checksum are not computed here. The digest of the reference is made of type, origin and sequence number and
//! repeats after a restart, which keeps news from being passed on (20.2 C8), and the checksum is of a Python text that
//! nobody verifies; receivers fill both in where they are empty. So own gossip leaves them empty and is numbered by the
//! clock, gossip of others keeps theirs, and a message is told from others by its id alone.

use mpreg::core::reason::Reason;
use mpreg::wire::fabric::Frame;
use serde_json::{Value, json};

use crate::table::{Table, function, settings};
use crate::{interop, list};

const RELAY: &str = "ws://relay:1";
const THIRD: &str = "ws://third:1";
/// When the gossip of the vectors was made.
const WALL: f64 = 1_700_000_000.0;

fn case(kind: &str) -> Value {
    let cases = list(&interop("fabric/vectors_gossip_digest.json")["cases"]);
    cases.into_iter().find(|case| case["message_type"] == kind).unwrap()
}

fn framed(gossip: &Value) -> Value {
    json!({"role": "fabric-gossip", "payload": gossip})
}

/// The relay of the vectors between the origin of a case and a third node, all of one cluster: with the links.
fn relay_of(case: &Value) -> (Table, u64, u64) {
    let mut table = Table::new(settings(RELAY, "c1"), WALL);
    let origin = table.join(case["sender_id"].as_str().unwrap(), "c1");
    let third = table.join(THIRD, "c1");
    table.sent();
    (table, origin, third)
}

/// What the relay passes on of a message, which is for the third node alone.
fn passed_on(table: &mut Table, third: u64) -> Option<Value> {
    let mut sent = table.sent_as("fabric-gossip");
    assert!(sent.len() <= 1 && sent.iter().all(|(link, _)| *link == third), "{sent:?}");
    sent.pop().map(|(_, message)| message["payload"].clone())
}

fn without_payload(gossip: &Value) -> Value {
    let mut gossip = gossip.clone();
    gossip.as_object_mut().unwrap().shift_remove("payload");
    gossip
}

fn second_hop(case: &Value) -> &Value {
    &case["second_hop_by_ws://relay:1"]
}

#[test]
fn messages_of_both_hops_are_read_and_written_the_same() {
    let cases = list(&interop("fabric/vectors_gossip_digest.json")["cases"]);
    assert_eq!(cases.len(), 3);
    for case in &cases {
        for hop in [&case["first_hop"], second_hop(case)] {
            let text = framed(hop).to_string();
            let Frame::Gossip(gossip) = Frame::decode(text.as_bytes()).unwrap() else { panic!() };
            assert_eq!(String::from_utf8(gossip.encode().to_vec()).unwrap(), text);
            assert_eq!(
                (&*gossip.digest, &*gossip.checksum),
                (case["digest"].as_str().unwrap(), case["checksum"].as_str().unwrap())
            );
            let preimage = format!(
                "{}:{}:{}",
                &*gossip.message_type,
                case["sender_id"].as_str().unwrap(),
                gossip.sequence_number
            );
            assert_eq!(preimage, case["digest_preimage"].as_str().unwrap(), "of the origin, at each hop");
        }
    }
}

#[test]
fn a_catalog_update_goes_on_with_the_envelope_of_the_second_hop() {
    let case = case("catalog_update");
    let (mut table, origin, third) = relay_of(&case);
    let sender = case["sender_id"].as_str().unwrap().to_owned();
    table.say(origin, &framed(&case["first_hop"]));
    assert_eq!(passed_on(&mut table, third), None, "as the reference: it has changed nothing");

    // The same, now that there is something to be removed.
    let (mut table, origin, third) = relay_of(&case);
    let topic = json!({"subscription_id": "s'1", "patterns": ["t"], "node_id": sender, "cluster_id": "c1", "advertised_at": WALL, "ttl_seconds": 60.0});
    table.gossip(origin, &sender, "catalog_update", json!({"cluster_id": "c1", "topics": [topic]}));
    assert_eq!(table.fabric.catalog().topics().count(), 1);
    table.sent();
    table.say(origin, &framed(&case["first_hop"]));
    assert_eq!(table.fabric.catalog().topics().count(), 0);
    let passed = passed_on(&mut table, third).unwrap();
    assert_eq!(without_payload(&passed), without_payload(second_hop(&case)));
    for (name, value) in case["payload"].as_object().unwrap() {
        assert_eq!(passed["payload"][name], *value, "{name}");
    }
}

#[test]
fn the_second_hop_is_believed_as_the_first() {
    let case = case("catalog_update");
    let sender = case["sender_id"].as_str().unwrap();
    let mut table = Table::new(settings(THIRD, "c1"), WALL);
    let relay = table.join(RELAY, "c1");
    let topic = json!({"subscription_id": "s'1", "patterns": ["t"], "node_id": sender, "cluster_id": "c1", "advertised_at": WALL, "ttl_seconds": 60.0});
    table.gossip(relay, RELAY, "catalog_update", json!({"cluster_id": "c1", "topics": [topic]}));
    table.say(relay, &framed(second_hop(&case)));
    assert_eq!(table.fabric.catalog().topics().count(), 0);
    // The same news by the first hop is known by its id.
    let origin = table.join(sender, "c1");
    table.say(origin, &framed(&case["first_hop"]));
    assert!(table.refused(Reason::MessageRepeated));
}

#[test]
fn a_link_state_update_goes_on_word_for_word() {
    let case = case("link_state_update");
    let (mut table, origin, third) = relay_of(&case);
    table.say(origin, &framed(&case["first_hop"]));
    assert_eq!(passed_on(&mut table, third).unwrap(), *second_hop(&case));
    table.say(origin, &framed(&case["first_hop"]));
    assert_eq!(passed_on(&mut table, third), None);
    // 20.2 C8: a node that starts again counts from 0 and makes the digests of before. Here they silence nobody.
    let mut later = case["first_hop"].clone();
    later["message_id"] = json!("ws://b:2:of-another-life");
    table.say(origin, &framed(&later));
    assert_eq!(passed_on(&mut table, third).unwrap()["digest"], case["digest"]);
}

#[test]
fn route_control_goes_on_within_the_cluster_if_it_is_some() {
    let case = case("route_advertisement");
    let (mut table, origin, third) = relay_of(&case);
    // The payload of the vector says of a cluster what its own member knows: no route, for which the reference floods it
    // all the same (7.4, 20.3 P1).
    table.say(origin, &framed(&case["first_hop"]));
    assert_eq!(passed_on(&mut table, third), None);
    assert_eq!(table.fabric.shown_table(table.now()).len(), 0);
    // A route in the same envelope goes on, to this cluster alone.
    let abroad = table.join("ws://far:1", "c2");
    table.sent();
    let mut real = case["first_hop"].clone();
    real["message_id"] = json!("ws://127.0.0.1:9001:y");
    real["payload"] = json!({"destination": {"cluster_id": "c3"}, "path": {"hops": ["c1", "c3"]}, "metrics": {"hop_count": 1},
        "advertiser": "c1", "advertised_at": WALL, "ttl_seconds": 30.0, "epoch": 1, "route_tags": []});
    let mut expected = second_hop(&case).clone();
    expected["message_id"] = real["message_id"].clone();
    expected["payload"] = real["payload"].clone();
    table.say(origin, &framed(&real));
    let sent = table.sent_as("fabric-gossip");
    let to =
        |wanted: u64| sent.iter().filter(move |(link, _)| *link == wanted).map(|(_, m)| m["payload"].clone());
    assert_eq!(to(third).collect::<Vec<_>>(), [expected]);
    // 7.7: another cluster is told by an announcement of this one.
    let told: Vec<Value> = to(abroad).collect();
    assert_eq!((told.len(), &told[0]["sender_id"], &told[0]["hop_count"]), (1, &json!(RELAY), &json!(1)));
    assert_eq!(told[0]["payload"]["path"]["hops"], json!(["c1", "c3"]));
}

#[test]
fn own_gossip_has_neither_digest_nor_checksum_and_numbers_of_the_clock() {
    let mut table = Table::new(settings(RELAY, "c1"), WALL);
    table.serve(&[function("f")]);
    table.join(THIRD, "c1");
    table.join("ws://far:1", "c2");
    table.run(60.0);
    let said = table.sent_as("fabric-gossip");
    assert!(said.len() >= 10, "{}", said.len());
    let mut numbers = Vec::new();
    for (_, message) in &said {
        let gossip = &message["payload"];
        assert_eq!((&gossip["digest"], &gossip["checksum"]), (&json!(""), &json!("")), "{gossip}");
        if gossip["propagation_path"] == json!([RELAY]) {
            numbers.push(gossip["sequence_number"].as_i64().unwrap());
        }
    }
    // Rule 9 of fabric.md 1: milliseconds since 1970, so that no life of a node uses the numbers of another.
    assert!(numbers.iter().all(|n| (0..=61_000).contains(&(n - WALL as i64 * 1000))), "{numbers:?}");
}
