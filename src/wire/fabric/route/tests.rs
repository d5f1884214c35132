use serde_json::Value;

use super::*;

const SIGNING: &str = include_str!("../../../../tests/interop/fabric/vectors_route_signing.json");

fn raw(value: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap()
}

#[test]
fn the_canonical_bytes_are_those_of_the_vectors_and_messages_are_written_as_they_came() {
    let vectors: Value = serde_json::from_str(SIGNING).unwrap();
    for case in vectors["cases"].as_array().unwrap() {
        let payload = raw(&case["wire_payload"]);
        let (bytes, again) = if case["kind"] == "announcement" {
            let read = RouteAnnouncement::decode(&payload, 0.0).unwrap();
            (read.canonical(), serde_json::to_value(&read).unwrap())
        } else {
            let read = RouteWithdrawal::decode(&payload, 0.0).unwrap();
            (read.canonical(), serde_json::to_value(&read).unwrap())
        };
        assert_eq!(String::from_utf8(bytes).unwrap(), case["canonical_utf8"].as_str().unwrap());
        assert_eq!(again, case["wire_payload"], "{}", case["description"]);
    }
}

#[test]
fn members_of_a_wrong_type_have_their_default() {
    let odd = r#"{"destination":5,"path":{"hops":[1]},"metrics":{"latency_ms":"x","reliability_score":null},
        "advertiser":[],"advertised_at":"now","ttl_seconds":{},"epoch":1.5,"route_tags":"gold","signature":"zz",
        "public_key":"abc","signature_algorithm":7,"more":1}"#;
    let read: &RawValue = serde_json::from_str(odd).unwrap();
    let read = RouteAnnouncement::decode(read, 77.0).unwrap();
    let empty = RouteAnnouncement::decode(serde_json::from_str("{}").unwrap(), 77.0).unwrap();
    assert_eq!(read, empty);
    assert_eq!((read.advertised_at, read.ttl_seconds, read.metrics.reliability_score), (77.0, 30.0, 1.0));
    assert!(RouteAnnouncement::decode(serde_json::from_str("[]").unwrap(), 0.0).is_err());
}

#[test]
fn letters_and_numbers_are_written_as_the_reference_does() {
    let written = |value: &Value| String::from_utf8(canonical(value)).unwrap();
    assert_eq!(written(&serde_json::json!(["\u{7f}é\n\"\\😀"])), r#"["\u007f\u00e9\n\"\\\ud83d\ude00"]"#);
    for (number, text) in [(1e15, "1000000000000000.0"), (1e22, "1e+22"), (-0.0, "-0.0"), (1e-4, "0.0001")] {
        assert_eq!(written(&serde_json::json!(number)), text);
    }
    assert_eq!(written(&serde_json::json!(-1.5e-7)), "-1.5e-07");
    assert_eq!(written(&serde_json::json!(1e-310)), "1e-310");
}

#[test]
fn a_captured_key_announcement_is_read_and_written_the_same() {
    let sample = include_str!("../../../../tests/interop/fabric/gossip_route_key_announcement_accepted.json");
    let payload = serde_json::from_str::<Value>(sample).unwrap()["payload"]["payload"].clone();
    let read = RouteKeyAnnouncement::decode(&raw(&payload), 0.0).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), payload);
    assert!(
        read.canonical()
            .starts_with(br#"{"advertised_at":1795373164.4905844,"cluster_id":"c1","keys":[{"added"#)
    );
}
