use proptest::prelude::*;
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

/// What another node reads of a message that was written here.
fn written<T: Serialize>(message: &T) -> Box<RawValue> {
    serde_json::value::to_raw_value(message).unwrap()
}

fn path(hops: &[&str]) -> Path {
    Path { hops: hops.iter().map(|hop| Text::from(*hop)).collect() }
}

#[test]
fn the_digits_of_the_vectors_are_read_to_the_last_bit() {
    // More digits than a fast parser gets right; one bit off and the signature is another's.
    for (text, bits) in [
        ("1795374199.8752723", 1_795_374_199.875_272_3_f64),
        ("1.2345678901234568e+17", 123_456_789_012_345_680.0),
        ("0.30000000000000004", 0.1 + 0.2),
        ("9007199254740993.0", 9_007_199_254_740_992.0),
        ("2.2250738585072011e-308", f64::from_bits(0x000f_ffff_ffff_ffff)),
    ] {
        let payload = format!(r#"{{"advertised_at":{text},"metrics":{{"cost_score":{text}}}}}"#);
        let read = RouteAnnouncement::decode(serde_json::from_str(&payload).unwrap(), 0.0).unwrap();
        assert_eq!(read.advertised_at.to_bits(), bits.to_bits(), "{text}");
        assert_eq!(read.metrics.cost_score.to_bits(), bits.to_bits(), "{text}");
    }
}

proptest! {
    #[test]
    fn a_signed_message_is_the_same_after_its_way_over_the_wire(
        times in proptest::array::uniform3(1.6e9..4.0e9),
        scores in proptest::array::uniform3(proptest::num::f64::POSITIVE | proptest::num::f64::ZERO),
        whole in 0u32..4_000_000_000,
        epoch: i64,
    ) {
        let [at, ttl_seconds, added_at] = times;
        let [latency_ms, reliability_score, cost_score] = scores;
        for advertised_at in [at, f64::from(whole)] {
            let announcement = RouteAnnouncement {
                destination: Destination { cluster_id: "far".into() },
                path: path(&["near", "far"]),
                metrics: Metrics { hop_count: 1, latency_ms, bandwidth_mbps: 0, reliability_score, cost_score },
                advertiser: "near".into(),
                advertised_at,
                ttl_seconds,
                epoch,
                route_tags: vec!["b".into(), "a".into()],
                seal: Seal::default(),
            };
            let again = RouteAnnouncement::decode(&written(&announcement), 0.0).unwrap();
            prop_assert_eq!(text(again.canonical()), text(announcement.canonical()));
            prop_assert_eq!(&again, &announcement);
            // As it is handed on once more, and as one made by a program that writes numbers in its own way.
            let third = RouteAnnouncement::decode(&written(&again), 0.0).unwrap();
            prop_assert_eq!(text(third.canonical()), text(announcement.canonical()));
            let foreign = RawValue::from_string(text(announcement.canonical())).unwrap();
            let foreign = RouteAnnouncement::decode(&foreign, 0.0).unwrap();
            prop_assert_eq!(text(foreign.canonical()), text(announcement.canonical()));

            let withdrawal = RouteWithdrawal {
                destination: announcement.destination.clone(),
                path: announcement.path.clone(),
                advertiser: "near".into(),
                withdrawn_at: advertised_at,
                epoch,
                route_tags: Vec::new(),
                seal: Seal::default(),
            };
            let again = RouteWithdrawal::decode(&written(&withdrawal), 0.0).unwrap();
            prop_assert_eq!(text(again.canonical()), text(withdrawal.canonical()));

            let record = KeyRecord { key_id: "k".into(), public_key: "00".into(), added_at, expires_at: Some(at) };
            let keys = RouteKeyAnnouncement {
                cluster_id: "near".into(),
                keys: vec![record],
                primary_key_id: None,
                advertised_at,
                ttl_seconds,
                seal: Seal { signature: "00".into(), ..Seal::default() },
            };
            let again = RouteKeyAnnouncement::decode(&written(&keys), 0.0).unwrap();
            prop_assert_eq!(text(again.canonical()), text(keys.canonical()));
        }
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}
