use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::*;

const SIGNING: &str = include_str!("../../../tests/interop/fabric/vectors_route_signing.json");
const KEYS: &str = include_str!("../../../tests/interop/fabric/vectors_route_keys.json");

fn at(seconds: f64) -> Now {
    Now::at(0.0, seconds)
}

fn signer(digits: &str) -> Signer {
    Signer::parse(&digits.repeat(32), "").unwrap()
}

fn key(cluster: &str, signer: &Signer) -> ConfiguredKey {
    ConfiguredKey {
        cluster: cluster.into(),
        key: signer.public(),
        key_id: "".into(),
        primary: true,
        expires_at: None,
    }
}

fn trust(require: bool, keys: Vec<ConfiguredKey>) -> Trust {
    let settings = Settings {
        cluster_id: "me".into(),
        require_signatures: require,
        allow_unsigned: !require,
        keys,
        key_ttl_seconds: 120.0,
        rotation_overlap_seconds: 60.0,
        ..Settings::default()
    };
    Trust::new(settings, at(0.0))
}

fn raw(value: &Value) -> Box<RawValue> {
    to_raw_value(value).unwrap()
}

#[test]
fn signatures_and_key_ids_are_those_of_the_vectors() {
    let vectors: Value = serde_json::from_str(SIGNING).unwrap();
    for case in vectors["cases"].as_array().unwrap() {
        let signer = Signer::parse(case["private_key_hex"].as_str().unwrap(), "").unwrap();
        assert_eq!(&*signer.key_id, case["key_id"].as_str().unwrap());
        let seal = signer.seal(case["canonical_utf8"].as_str().unwrap().as_bytes());
        assert_eq!(&*seal.signature, case["signature_hex"].as_str().unwrap());
        assert_eq!(&*seal.public_key, case["public_key_hex"].as_str().unwrap());
    }
    for case in vectors["verification"].as_array().unwrap() {
        let read = RouteAnnouncement::decode(&raw(&case["wire_payload"]), 0.0).unwrap();
        let public = PublicKey::parse(case["public_key_hex"].as_str().unwrap()).unwrap();
        let known = ConfiguredKey { key: public, ..key("cluster-a", &signer("11")) };
        let judged = trust(true, vec![known]).judge("cluster-a", &read.canonical(), &read.seal, at(0.0));
        assert_eq!(judged.is_ok(), case["verifies"] == true, "{}", case["description"]);
    }
}

#[test]
fn the_registry_follows_the_vectors() {
    let vectors: Value = serde_json::from_str(KEYS).unwrap();
    let steps = vectors["steps"].as_array().unwrap();
    let mut registry = trust(false, Vec::new());
    let mut announced = None;
    let c1: Text = "c1".into();
    for step in steps {
        let now = step["now"].as_f64().map(at);
        let public = step["public_key"].as_str().and_then(PublicKey::from_hex);
        match step["op"].as_str().unwrap() {
            "register_key" => {
                let configured = ConfiguredKey { key: public.unwrap(), ..key("c1", &signer("11")) };
                assert_eq!(&*registry.register(configured, now.unwrap()), step["key_id"].as_str().unwrap());
            }
            "rotate_key" => {
                let overlap = step["overlap_seconds"].as_f64().unwrap();
                let id = registry.rotate(&c1, public.unwrap(), overlap, now.unwrap());
                assert_eq!(&*id, step["key_id"].as_str().unwrap());
            }
            "announcement as JSON (accepted form)" => {
                let read = RouteKeyAnnouncement::decode(&raw(&step["payload"]), 0.0).unwrap();
                assert_eq!(serde_json::to_value(&read).unwrap(), step["payload"]);
                announced = Some(read);
            }
            "apply to empty registry" => {
                let mut empty = trust(false, Vec::new());
                let applied = empty.keys_announced(&c1, announced.as_ref().unwrap(), now.unwrap());
                assert_eq!(applied, Ok(2));
                assert_eq!(empty.active("c1", at(1159.0)).len(), 2);
                assert_eq!(empty.active("c1", at(1160.0)).len(), 1);
            }
            "apply expired announcement" => {
                let mut empty = trust(false, Vec::new());
                let applied = empty.keys_announced(&c1, announced.as_ref().unwrap(), now.unwrap());
                assert_eq!(applied, Err(Reason::RouteExpired));
            }
            other => panic!("{other}"),
        }
        let after = match &step["after"] {
            Value::Array(list) => list.clone(),
            Value::Null => Vec::new(),
            one => vec![one.clone()],
        };
        for after in after {
            let active = registry.active("c1", at(after["now"].as_f64().unwrap()));
            let hex: Vec<Value> = active.iter().map(|k| Value::from(&*k.to_hex())).collect();
            assert_eq!(Value::from(hex), after["resolved_public_keys"]);
        }
    }
}

#[test]
fn a_key_that_only_the_message_carries_proves_nothing() {
    let forger = signer("22");
    let seal = forger.seal(b"words");
    let judged = |t: &mut Trust| t.judge("near", b"words", &seal, at(1.0));
    assert_eq!(judged(&mut trust(true, vec![])), Err(Reason::RouteKeyUnknown));
    assert_eq!(judged(&mut trust(true, vec![key("near", &signer("11"))])), Err(Reason::RouteForged));
    assert_eq!(judged(&mut trust(false, vec![key("near", &signer("11"))])), Err(Reason::RouteForged));
    assert_eq!(judged(&mut trust(false, vec![])), Ok(Standing::Unverified));
    let expired = ConfiguredKey { expires_at: Some(0.5), ..key("near", &forger) };
    assert_eq!(judged(&mut trust(true, vec![expired])), Err(Reason::RouteKeyUnknown));
    let unsigned = trust(true, vec![]).judge("near", b"words", &Seal::default(), at(1.0));
    assert_eq!(unsigned, Err(Reason::RouteUnsigned));
}

#[test]
fn a_key_that_was_only_claimed_verifies_nothing() {
    let near: Text = "near".into();
    let mut theirs = trust(false, vec![]);
    theirs.settings.cluster_id = near.clone();
    theirs.settings.signer = Some(signer("11"));
    let mut ours = trust(false, vec![]);
    assert_eq!(ours.keys_announced(&near, &theirs.own_keys(at(1.0)).unwrap(), at(1.0)), Ok(1));
    let judged = |t: &mut Trust, seal: Seal| t.judge("near", b"words", &seal, at(2.0));
    let (claimed, other) = (signer("11").seal(b"words"), signer("22").seal(b"words"));
    assert_eq!(judged(&mut ours, claimed.clone()), Ok(Standing::Unverified));
    assert_eq!(judged(&mut ours, other.clone()), Err(Reason::RouteForged));
    ours.settings.require_signatures = true;
    assert_eq!(judged(&mut ours, claimed.clone()), Err(Reason::RouteKeyUnknown));

    ours.register(key("near", &signer("22")), at(2.0));
    assert_eq!(judged(&mut ours, claimed), Err(Reason::RouteForged));
    assert_eq!(judged(&mut ours, other), Ok(Standing::Verified));
}

#[test]
fn signed_by_an_unknown_key_passes_where_only_unsigned_is_forbidden() {
    let seal = signer("22").seal(b"words");
    let mut ours = trust(false, vec![]);
    ours.settings.allow_unsigned = false;
    assert_eq!(ours.judge("near", b"words", &seal, at(1.0)), Ok(Standing::Unverified));
    assert_eq!(ours.judge("near", b"other", &seal, at(1.0)), Err(Reason::RouteForged));
    assert_eq!(ours.judge("near", b"words", &Seal::default(), at(1.0)), Err(Reason::RouteUnsigned));
    let bare = Seal { public_key: "".into(), ..seal.clone() };
    assert_eq!(ours.judge("near", b"words", &bare, at(1.0)), Err(Reason::RouteForged));
    let run_out = ConfiguredKey { expires_at: Some(0.5), ..key("near", &signer("22")) };
    ours.register(run_out, at(0.0));
    assert_eq!(ours.judge("near", b"words", &seal, at(1.0)), Err(Reason::RouteKeyUnknown));
}

#[test]
fn the_same_bytes_are_verified_once() {
    let mut trust = trust(true, vec![key("near", &signer("11"))]);
    let seal = signer("11").seal(b"words");
    for _ in 0..3 {
        assert_eq!(trust.judge("near", b"words", &seal, at(1.0)), Ok(Standing::Verified));
    }
    assert_eq!(trust.verifications(), 1);
    assert_eq!(trust.judge("near", b"other", &seal, at(1.0)), Err(Reason::RouteForged));
    assert_eq!(trust.verifications(), 2);
}

#[test]
fn a_cluster_changes_its_key_under_the_signature_of_the_one_before() {
    let (old, new, near) = (signer("11"), signer("22"), Text::from("near"));
    let mut theirs = trust(false, vec![]);
    theirs.settings.cluster_id = near.clone();
    theirs.settings.signer = Some(old.clone());
    theirs.sign_with(new.clone(), at(10.0));
    let mut ours = trust(true, vec![key("near", &old)]);
    let announced = theirs.own_keys(at(11.0)).unwrap();

    let mut unsigned = announced.clone();
    unsigned.seal = Seal::default();
    assert_eq!(ours.keys_announced(&near, &unsigned, at(11.0)), Err(Reason::RouteKeyRefused));
    let mut forged = announced.clone();
    forged.seal = signer("33").seal(&forged.canonical());
    assert_eq!(ours.keys_announced(&near, &forged, at(11.0)), Err(Reason::RouteKeyRefused));
    assert_eq!(ours.keys_announced(&"far".into(), &announced, at(11.0)), Err(Reason::RouteNotFromNeighbour));

    assert!(ours.judge("near", b"x", &new.seal(b"x"), at(11.0)).is_err());
    assert_eq!(ours.keys_announced(&near, &announced, at(11.0)), Ok(2));
    assert_eq!(ours.keys_announced(&near, &announced, at(11.0)), Err(Reason::RouteReplayed));
    assert!(ours.judge("near", b"x", &new.seal(b"x"), at(11.0)).is_ok());
    assert!(ours.judge("near", b"x", &old.seal(b"x"), at(69.0)).is_ok());
    assert!(ours.judge("near", b"x", &old.seal(b"x"), at(70.0)).is_err());
    assert_eq!(theirs.own_keys(at(71.0)).unwrap().keys.len(), 1);
    assert_eq!(theirs.seal(b"x"), new.seal(b"x"));
}

#[test]
fn claimed_keys_go_with_their_neighbour_and_own_keys_are_never_learned() {
    let near: Text = "near".into();
    let mut theirs = trust(false, vec![]);
    theirs.settings.cluster_id = near.clone();
    theirs.settings.signer = Some(signer("11"));
    let announced = theirs.own_keys(at(1.0)).unwrap();
    let mut ours = trust(false, vec![]);
    assert_eq!(ours.keys_announced(&near, &announced, at(1.0)), Ok(1));
    ours.forget("near");
    assert!(ours.active("near", at(1.0)).is_empty());
    assert_eq!(trust(true, vec![]).keys_announced(&near, &announced, at(1.0)), Err(Reason::RouteKeyRefused));
    ours.settings.cluster_id = near.clone();
    assert_eq!(ours.keys_announced(&near, &announced, at(1.0)), Err(Reason::RouteKeyRefused));

    let mut many = announced.clone();
    many.keys =
        (0..17).map(|n| KeyRecord { key_id: format!("{n}").into(), ..announced.keys[0].clone() }).collect();
    ours.settings.cluster_id = "me".into();
    assert_eq!(ours.keys_announced(&near, &many, at(2.0)), Err(Reason::RouteKeysLimit));
}

#[test]
fn a_claimed_key_never_makes_itself_a_proven_one() {
    let near: Text = "near".into();
    let mut theirs = trust(false, vec![]);
    theirs.settings.cluster_id = near.clone();
    theirs.settings.signer = Some(signer("11"));
    let mut ours = trust(false, vec![]);
    assert!(ours.keys_announced(&near, &theirs.own_keys(at(1.0)).unwrap(), at(1.0)).is_ok());
    let mut other = theirs.own_keys(at(2.0)).unwrap();
    other.seal = signer("33").seal(&other.canonical());
    assert_eq!(ours.keys_announced(&near, &other, at(2.0)), Err(Reason::RouteKeyRefused));
    assert!(ours.keys_announced(&near, &theirs.own_keys(at(3.0)).unwrap(), at(3.0)).is_ok());
    ours.forget("near");
    assert!(ours.active("near", at(3.0)).is_empty());

    assert!(ours.keys_announced(&near, &theirs.own_keys(at(4.0)).unwrap(), at(4.0)).is_ok());
    ours.register(key("near", &signer("22")), at(5.0));
    assert_eq!(ours.active("near", at(5.0)), [&signer("22").public()]);
    let late = theirs.own_keys(at(6.0)).unwrap();
    assert_eq!(ours.keys_announced(&near, &late, at(6.0)), Err(Reason::RouteKeyRefused));
}

#[test]
fn keys_are_read_from_pem() {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let signer = Signer::parse(&pair.serialize_pem(), "mine").unwrap();
    assert_eq!(&*signer.key_id, "mine");
    assert_eq!(PublicKey::parse(&pair.public_key_pem()).unwrap(), signer.public());
    assert!(Signer::parse("11", "").is_err() && PublicKey::parse("zz").is_err());
}
