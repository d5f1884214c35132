//! The fabric against facts of the wire: captured messages and vectors (tests/interop/fabric), and a conversation with
//! a foreign node that says no more than the protocol asks of it.

#![allow(clippy::disallowed_methods)] // a rule for the core, not for its tests

use std::path::PathBuf;

use bytes::Bytes;
use mpreg::core::catalog::{Catalog, Delta, FunctionEntry, FunctionVersion, Identity, Scope};
use mpreg::core::catalog::{Text, TransportEndpoint, unset};
use mpreg::core::error::CallError;
use mpreg::core::fabric::{Action, Bridging, Event, Execution, Fabric, Restored, Settings};
use mpreg::core::federation::LinkFacts;
use mpreg::core::membership::{self, LinkId};
use mpreg::core::reason::Reason;
use mpreg::core::time::Now;
use mpreg::wire::fabric::{Answer, Frame, GossipKind, MessageKind, Rpc};
use serde_json::value::RawValue;
use serde_json::{Value, json};

fn samples(prefix: &str) -> Vec<(String, Vec<u8>)> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/interop/fabric");
    let mut found: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap())
        .map(|e| (e.file_name().into_string().unwrap(), std::fs::read(e.path()).unwrap()))
        .filter(|(name, _)| name.starts_with(prefix))
        .collect();
    found.sort();
    assert!(!found.is_empty(), "{prefix}");
    found
}

fn compact(json: &[u8]) -> String {
    serde_json::from_slice::<Value>(json).unwrap().to_string()
}

fn text(bytes: impl AsRef<[u8]>) -> String {
    String::from_utf8(bytes.as_ref().to_vec()).unwrap()
}

fn word(u: Option<&RawValue>) -> String {
    serde_json::from_str(u.unwrap().get()).unwrap()
}

// ---- captured messages -----------------------------------------------------------------------------------------------

#[test]
fn captured_server_messages_are_read_and_written_the_same() {
    for (name, sample) in samples("server_") {
        let sample = compact(&sample);
        match Frame::decode(sample.as_bytes()).unwrap_or_else(|e| panic!("{name}: {e}")) {
            Frame::Status(status, u) => {
                assert_eq!(text(status.encode(&word(u))), sample, "{name}");
            }
            Frame::Goodbye(goodbye, u) => {
                assert_eq!(text(goodbye.encode(&word(u))), sample, "{name}");
            }
            Frame::Answer(answer) => {
                let again = match (&answer.r, &answer.error) {
                    (Some(r), None) if r.get() == "\"STATUS\"" => Answer::accepted("STATUS", answer.u),
                    (Some(_), None) => Answer::accepted("GOODBYE_PROCESSED", answer.u),
                    (None, Some(error)) => Answer::refused(error.code, &error.message, answer.u),
                    _ => panic!("{name}"),
                };
                assert_eq!(text(again), sample, "{name}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn captured_gossip_is_read_and_written_the_same() {
    for (name, sample) in samples("gossip_") {
        let sample = compact(&sample);
        let Frame::Gossip(gossip) = Frame::decode(sample.as_bytes()).unwrap() else { panic!("{name}") };
        if sample.contains("digest") {
            assert_eq!(text(gossip.encode()), sample, "{name}");
        } // else made by hand, without the members that every node fills in
        if gossip.kind() == Some(GossipKind::CatalogUpdate) {
            let (delta, bad) = gossip.delta().unwrap();
            assert_eq!(bad, []);
            let again = serde_json::to_string(&delta).unwrap();
            assert_eq!(again, gossip.payload.unwrap().get(), "{name}");
        } else {
            assert!(gossip.kind().is_some(), "{name}");
        }
    }
}

#[test]
fn captured_messages_are_read_and_written_the_same() {
    for (name, sample) in samples("fabric_") {
        let sample = compact(&sample);
        let Frame::Message(message) = Frame::decode(sample.as_bytes()).unwrap() else { panic!("{name}") };
        assert_eq!(text(message.encode()), sample, "{name}");
        let payload = message.payload.unwrap().get();
        match message.kind() {
            MessageKind::Rpc => {
                let again = match message.rpc().unwrap() {
                    Rpc::Request(request) => serde_json::to_string(&*request).unwrap(),
                    Rpc::Response(response) => serde_json::to_string(&*response).unwrap(),
                };
                assert_eq!(again, payload, "{name}");
            }
            MessageKind::Pubsub => {
                let (raw, publication) = message.publication().unwrap();
                assert_eq!((raw.get(), &*publication.message_id), (payload, &*message.message_id));
            }
            MessageKind::Control => {}
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn what_is_wrong_with_a_message_is_named() {
    let gossip = |payload: &str| {
        format!(
            r#"{{"role":"fabric-gossip","payload":{{"message_id":"m","message_type":"catalog_update","sender_id":"s","payload":{payload}}}}}"#
        )
    };
    let frame = |text: &str| Frame::decode(text.as_bytes()).map(drop).unwrap_err().to_string();
    assert!(frame("{{{").starts_with("frame"));
    assert_eq!(frame(r#"{"role":"fabric-gossip"}"#), "fabric-gossip: missing field `payload`");
    assert!(frame(r#"{"role":"fabric-gossip","payload":{"message_id":"m"}}"#).contains("message_type"));
    let clock = r#"{"role":"fabric-gossip","payload":{"message_id":"m","vector_clock":{"a":-1}}}"#;
    assert!(frame(clock).starts_with("gossip.vector_clock"), "{}", frame(clock));
    assert!(frame(r#"{"role":"server","server":{"what":"STATUS","server_url":"u"}}"#).contains("cluster_id"));
    let deep = format!("{{\"role\":\"fabric-gossip\",\"payload\":{}{}}}", "[".repeat(2000), "]".repeat(2000));
    assert!(frame(&deep).starts_with("gossip"));
    let delta = |payload: &str| {
        let text = gossip(payload);
        let Ok(Frame::Gossip(gossip)) = Frame::decode(text.as_bytes()) else { panic!() };
        gossip.delta().map(|(d, bad)| (d, bad.iter().map(ToString::to_string).collect::<Vec<_>>()))
    };
    assert!(delta(r#"{"functions":null}"#).unwrap_err().to_string().starts_with("payload.functions"));
    let mixed = r#"{"functions":[{"identity":{"name":"bad","function_id":"bad","version":"one"}},
        {"identity":{"name":"good","function_id":"good","version":"1"}}],"queues":[{"health":"sleepy"}]}"#;
    let (kept, bad) = delta(mixed).unwrap();
    assert_eq!((kept.functions.len(), kept.queues.len()), (1, 0));
    assert_eq!(bad[0], "payload.functions.identity.version: Invalid semantic version: one");
    assert!(bad[1].starts_with("payload.queues.health: unknown variant `sleepy`"), "{bad:?}");
}

// ---- vectors of the catalog --------------------------------------------------------------------------------------------

fn vectors(name: &str) -> Value {
    serde_json::from_slice(&samples(name)[0].1).unwrap()
}

/// Summaries of functions are passed on as they came; the reference fills in their defaults.
fn without_summaries(mut delta: Value) -> Value {
    let functions = delta["functions"].as_array_mut().into_iter().flatten();
    for function in functions.filter_map(Value::as_object_mut) {
        function.shift_remove("rpc_summary");
    }
    delta
}

#[test]
fn entries_and_deltas_are_normalised_as_the_reference_does() {
    let vectors = vectors("vectors_catalog_delta");
    for (list, cases) in vectors["entries"].as_object().unwrap() {
        for (case, pair) in cases.as_object().unwrap() {
            let given = json!({ list.as_str(): [pair["input"]] });
            let delta: Delta = serde_json::from_value(given).unwrap_or_else(|e| panic!("{list} {case}: {e}"));
            let again = without_summaries(serde_json::to_value(&delta).unwrap());
            let expected = without_summaries(json!({ list.as_str(): [pair["normalized"]] }));
            assert_eq!(again[list], expected[list], "{list} {case}");
        }
    }
    for name in ["full_delta", "removal_delta"] {
        let delta: Delta = serde_json::from_value(vectors[name]["input"].clone()).unwrap();
        let again = without_summaries(serde_json::to_value(&delta).unwrap());
        let expected = without_summaries(vectors[name]["normalized"].clone());
        assert_eq!(again.to_string(), expected.to_string(), "{name}");
    }
    let mut catalog = Catalog::new(100);
    let steps = vectors["apply_sequence"].as_array().unwrap();
    for (step, name) in steps.iter().zip(["full_delta", "full_delta", "removal_delta", "removal_delta"]) {
        let delta: Delta = serde_json::from_value(vectors[name]["input"].clone()).unwrap();
        let changed = catalog.apply(delta, 1_700_000_000.0).changed;
        for (counter, n) in changed.counts() {
            assert_eq!(step["counts"][counter], n, "{} {counter}", step["step"]);
        }
    }
}

#[test]
fn conflicts_end_as_in_the_reference() {
    let mut catalog = Catalog::new(100);
    for step in vectors("vectors_catalog_conflict")["steps"].as_array().unwrap() {
        let about = step["description"].as_str().unwrap();
        let now = step["now"].as_f64().unwrap();
        let delta: Delta = serde_json::from_value(json!({ "functions": [step["entry"]] })).unwrap();
        if about.contains("nothing prunes") {
            // The reference never lets go of a name; here it is free once its holders are gone (fabric.md C29).
            catalog.expire(now);
            assert_eq!(catalog.apply(delta, now).changed.functions.len(), 1, "{about}");
            continue;
        }
        let applied = catalog.apply(delta, now);
        let taken = applied.changed.functions.len() == 1;
        assert_eq!(taken, step["registered"] == true, "{about}");
        if step["error"].is_string() {
            assert_eq!(applied.refused[0].0, Reason::EntryConflict, "{about}");
        }
    }
}

#[test]
fn what_was_removed_stays_removed_until_it_is_announced_anew() {
    let entry = |at: f64| {
        json!({"identity": {"name": "f", "function_id": "f", "version": "1"}, "node_id": "n", "cluster_id": "c",
               "advertised_at": at, "ttl_seconds": 60.0})
    };
    let delta = |value: Value| serde_json::from_value::<Delta>(value).unwrap();
    let add = |at: f64| delta(json!({ "functions": [entry(at)] }));
    let key = json!({"identity": {"name": "f", "function_id": "f", "version": "1"}, "node_id": "n", "cluster_id": "c", "resources": []});
    let gone = |at: f64| delta(json!({ "sent_at": at, "function_removals": [key.clone()] }));
    let mut catalog = Catalog::new(100);
    let mut taken = |origin: &str, d: Delta| !catalog.apply_from(origin, d, 100.0).changed.is_empty();
    assert!(taken("n", add(90.0)));
    assert!(taken("n", gone(95.0)));
    assert!(!taken("n", add(90.0)) && !taken("n", add(94.0)), "older than the removal");
    assert!(taken("n", add(95.0)), "announced after it");
    assert!(!taken("n", gone(94.0)), "a removal that was overtaken");
    assert!(taken("other", gone(99.0)), "somebody else's word: only what it removed stays out");
    assert!(!taken("n", add(95.0)));
    assert!(taken("n", add(96.0)));
    assert!(!taken("n", add(500.0)), "from the future");
}

// ---- a foreign node ----------------------------------------------------------------------------------------------------

const WALL: f64 = 1_700_000_000.0;
const ME: &str = "ws://127.0.0.1:1";
const F: &str = "ws://127.0.0.1:2";
const G: &str = "ws://127.0.0.1:3";

/// One fabric and what it does; frames are written by hand.
struct Table {
    fabric: Fabric,
    seconds: f64,
    done: Vec<Action>,
    ids: u64,
}

impl Table {
    fn new() -> Table {
        let settings = Settings {
            membership: membership::Settings {
                node_id: ME.into(),
                cluster_id: "c1".into(),
                instance_id: "mine".into(),
                seeds: Vec::new(),
                gossip_interval_seconds: 5.0,
                goodbye_grace_seconds: 5.0,
                dial_backoff_seconds_max: 30.0,
                dial_parallelism_max: 8,
            },
            region: "local".into(),
            scope: mpreg::core::catalog::Scope::Zone,
            resources: Vec::new(),
            capabilities: vec!["rpc".into()],
            tags: Vec::new(),
            transport_endpoints: vec![TransportEndpoint::internal(ME)],
            advertised_urls: vec![ME.into()],
            catalog_ttl_seconds: 120.0,
            catalog_entries_per_cluster_max: 1000,
            routing: true,
            hops_max: 5,
            calls_max: 10,
            floods: mpreg::core::fabric::FloodLimits::default(),
            gossip_bytes_max: 1 << 19,
            bridging: Bridging::none(&"c1".into()),
            kin: true,
            chance_seed: 1,
        };
        let fabric = Fabric::new(settings, Now::at(WALL, 0.0));
        let mut table = Table { fabric, seconds: 0.0, done: Vec::new(), ids: 0 };
        let identity = Identity {
            name: "echo".into(),
            function_id: "echo".into(),
            version: FunctionVersion::parse("1").unwrap(),
        };
        let echo = FunctionEntry {
            identity,
            resources: Vec::new(),
            node_id: "".into(),
            cluster_id: "".into(),
            scope: Scope::Zone,
            tags: Vec::new(),
            advertised_at: unset(),
            ttl_seconds: 0.0,
            rpc_summary: None,
            rpc_spec: None,
            spec_digest: None,
        };
        table.tell(Event::LocalFunctions(vec![echo]));
        table.tell(Event::Tick);
        table.done.clear();
        table
    }

    fn tell(&mut self, event: Event) {
        self.seconds += 0.01;
        self.fabric.handle(event, Now::at(WALL, self.seconds), &mut self.done);
    }

    fn open(&mut self, link: u64) {
        self.tell(Event::LinkOpened { link: LinkId(link), dialled: None, facts: LinkFacts::default() });
    }

    fn say(&mut self, link: u64, message: Value) {
        self.tell(Event::Message { link: LinkId(link), bytes: Bytes::from(message.to_string()) });
    }

    /// Frames sent on a link, and forgets them along with everything else.
    fn sent(&mut self, link: u64) -> Vec<Value> {
        let sent = self.done.iter().filter_map(|a| match a {
            Action::Send { link: to, bytes } if *to == LinkId(link) => {
                Some(serde_json::from_slice(bytes).unwrap())
            }
            _ => None,
        });
        let sent = sent.collect();
        self.done.clear();
        sent
    }

    fn refused(&self, wanted: Reason) -> bool {
        self.done.iter().any(|a| matches!(a, Action::Refused { reason, .. } if *reason == wanted))
    }

    fn closes(&self, link: u64) -> bool {
        self.done.iter().any(|a| matches!(a, Action::Close { link: l, .. } if *l == LinkId(link)))
    }

    fn join(&mut self, link: u64, url: &str) {
        self.open(link);
        self.say(link, status(url, "c1", "i1"));
        let gossip = self.gossip(url, json!({"nodes": [node(url)]}));
        self.say(link, gossip);
        self.done.clear();
    }

    fn gossip(&mut self, from: &str, payload: Value) -> Value {
        self.ids += 1;
        json!({"role": "fabric-gossip", "payload": {"message_id": format!("{from}:{}", self.ids), "message_type": "catalog_update",
            "sender_id": from, "vector_clock": {from: 1}, "sequence_number": 7, "ttl": 9, "hop_count": 1, "max_hops": 5,
            "created_at": WALL, "expires_at": WALL + 300.0, "propagation_path": [from], "seen_by": [], "payload": payload}})
    }

    fn names(&self) -> Vec<String> {
        self.fabric.catalog().functions().map(|f| f.identity.name.to_string()).collect()
    }

    fn execution(&mut self) -> Option<Execution> {
        let at = self.done.iter().position(|a| matches!(a, Action::Execute(_)))?;
        match self.done.remove(at) {
            Action::Execute(execution) => Some(*execution),
            _ => None,
        }
    }
}

fn status(url: &str, cluster: &str, instance: &str) -> Value {
    json!({"role": "server", "u": "s1", "server": {"what": "STATUS", "server_url": url, "cluster_id": cluster, "instance_id": instance}})
}

fn goodbye(url: &str) -> Value {
    json!({"role": "server", "u": "g1", "server": {"what": "GOODBYE", "departing_node_url": url, "cluster_id": "c1",
        "reason": "graceful_shutdown", "instance_id": "i1", "timestamp": WALL}})
}

fn node(url: &str) -> Value {
    json!({"node_id": url, "cluster_id": "c1", "advertised_at": WALL, "ttl_seconds": 60.0})
}

fn function(name: &str, url: &str) -> Value {
    json!({"identity": {"name": name, "function_id": name, "version": "1.0.0"}, "node_id": url, "cluster_id": "c1",
        "advertised_at": WALL, "ttl_seconds": 60.0})
}

fn request(id: &str, command: &str, from: &str, more: Value) -> Value {
    let mut message = json!({"role": "fabric-message", "payload": {"message_id": id, "topic": format!("mpreg.rpc.execute.{command}"),
        "message_type": "rpc", "delivery": "at_least_once", "timestamp": WALL,
        "payload": {"kind": "rpc-request", "request_id": id, "command": command, "args": [1, {"a": null}], "kwargs": {}, "reply_to": from},
        "headers": {"correlation_id": id, "source_cluster": "c1", "routing_path": [from]}}});
    for (name, value) in more.as_object().unwrap() {
        let at = if name == "routing_path" || name == "hop_budget" { "headers" } else { "payload" };
        message["payload"][at][name] = value.clone();
    }
    message
}

#[test]
fn the_first_status_is_answered_by_status_acknowledgement_and_catalog() {
    let mut t = Table::new();
    t.open(1);
    t.say(1, status(F, "c1", "i1"));
    let sent = t.sent(1);
    assert_eq!(
        (&sent[0]["server"]["what"], &sent[0]["server"]["server_url"]),
        (&json!("STATUS"), &json!(ME))
    );
    assert_eq!(sent[0]["server"]["funs"], json!(["echo"]));
    let ack = json!({"r": "STATUS", "error": null, "u": "s1", "intermediate_results": [], "execution_summary": null});
    assert_eq!(sent[1], ack);
    let own = &sent[2]["payload"];
    assert_eq!(
        (&own["hop_count"], &own["ttl"], &own["propagation_path"]),
        (&json!(1), &json!(9), &json!([ME]))
    );
    assert_eq!(own["payload"]["functions"][0]["identity"]["name"], "echo");
    assert_eq!(own["payload"]["nodes"][0]["node_id"], ME);
    t.say(1, status(F, "c1", "i1"));
    let again = t.sent(1);
    assert_eq!((again.len(), &again[0]["r"]), (1, &json!("STATUS")));
}

#[test]
fn who_may_not_come_in_is_told_so_in_the_words_of_the_protocol() {
    let mut t = Table::new();
    t.open(1);
    t.say(1, status(F, "c2", "i1"));
    assert!(t.closes(1) && t.refused(Reason::ClusterRefused));
    let text = "Connection rejected: cluster_id mismatch. Local: c1, Remote: c2. Cross-federation connections not allowed in current federation mode.";
    let refusal = json!({"r": null, "error": {"code": 1003, "message": text, "details": null}, "u": "s1", "intermediate_results": [], "execution_summary": null});
    assert_eq!(t.sent(1), [refusal]);

    t.join(2, F);
    t.say(2, goodbye(G));
    assert!(t.refused(Reason::NotEntitled) && !t.closes(2));
    t.done.clear();
    t.say(2, goodbye(F));
    assert!(t.closes(2));
    assert_eq!(t.sent(2)[0]["r"], "GOODBYE_PROCESSED");
    for (link, instance, welcome) in [(3, "i1", false), (4, "", false), (5, "i2", true)] {
        t.open(link);
        t.say(link, status(F, "c1", instance));
        assert_eq!(t.closes(link), !welcome);
        let answer = t.sent(link).into_iter().find(|m| m.get("role").is_none()).unwrap();
        match welcome {
            true => assert_eq!(answer["r"], "STATUS"),
            false => assert_eq!(answer["error"]["message"], "Peer is marked departed"),
        }
    }
}

/// A node behind a peer is reached through that peer after a restart too: by what was kept of who told of it, and where
/// that is lost, as soon as somebody says again what was known. Until then nobody is told of it.
#[test]
fn a_node_that_is_known_from_before_is_reached_through_who_told_of_it() {
    let mut before = Table::new();
    before.join(1, F);
    let told = json!({"nodes": [node(G)], "functions": [function("behind", G)]});
    let gossip = before.gossip(F, told.clone());
    before.say(1, gossip);
    assert!(before.fabric.reaches("c1", G));
    let entries = before.fabric.catalog().excerpt(|_, node| node != ME);
    let tellers: Vec<_> = before.fabric.tellers().collect();
    for tellers in [tellers, Vec::new()] {
        let is_kept = !tellers.is_empty();
        let mut after = Table::new();
        let restored = Restored { entries: entries.clone(), tellers, ..Restored::default() };
        after.tell(Event::Restored(Box::new(restored)));
        assert!(after.names().contains(&"behind".into()) && !after.fabric.reaches("c1", G));
        after.join(1, F);
        assert_eq!(after.fabric.reaches("c1", G), is_kept);
        after.open(2);
        after.say(2, status("ws://third:1", "c1", "i3"));
        let named = |sent: &[Value]| sent.iter().any(|message| message.to_string().contains("behind"));
        assert!(!named(&after.sent(2)), "it may be gone by now");
        let gossip = after.gossip(F, told.clone());
        after.say(1, gossip);
        assert!(after.fabric.reaches("c1", G) && named(&after.sent(2)), "somebody has said it again");
    }
}

#[test]
fn nobody_is_believed_before_a_status() {
    let mut t = Table::new();
    t.open(1);
    let gossip = t.gossip(F, json!({"functions": [function("f", F)]}));
    t.say(1, gossip);
    assert!(t.refused(Reason::MessageEarly));
    t.say(1, request("r", "echo", F, json!({})));
    assert!(!t.closes(1) && t.execution().is_none());
    assert_eq!(t.names(), ["echo"]);
    t.say(1, status(F, "c2", "i1"));
    assert!(t.refused(Reason::ClusterRefused) && t.refused(Reason::NotEntitled) && t.closes(1));
    assert!(t.execution().is_none());
    assert_eq!(t.names(), ["echo"]);
}

#[test]
fn what_comes_before_a_status_waits_for_it_in_bounded_room() {
    let mut t = Table::new();
    t.open(1);
    let gossip = t.gossip(F, json!({"functions": [function("f", F)]}));
    t.say(1, gossip);
    t.say(1, request("r", "echo", F, json!({})));
    t.say(1, status(F, "c1", "i1"));
    let execution = t.execution().unwrap();
    assert_eq!((&*execution.request_id, t.names()), ("r", vec!["echo".to_owned(), "f".to_owned()]));
    assert!(!t.refused(Reason::NotEntitled));

    t.open(2);
    for n in 0..64 {
        t.say(2, request(&format!("{n}"), "echo", G, json!({})));
    }
    assert!(!t.refused(Reason::NotEntitled));
    t.say(2, request("one too many", "echo", G, json!({})));
    assert!(t.refused(Reason::NotEntitled));
    t.done.clear();
    t.tell(Event::LinkClosed { link: LinkId(2) });
    let lost = |a: &Action| matches!(a, Action::Refused { reason: Reason::NotEntitled, count: 64, .. });
    assert!(t.done.iter().any(lost));

    t.open(3);
    t.say(3, request("old", "echo", G, json!({})));
    t.seconds += 31.0;
    t.say(3, status(G, "c1", "i1"));
    assert!(t.refused(Reason::NotEntitled) && t.execution().is_none());
}

/// A reference node that is linked only by our dial opens one more link for a request, and reads nothing on it.
#[test]
fn an_answer_goes_over_the_link_that_we_dialled() {
    let mut t = Table::new();
    t.tell(Event::LinkOpened { link: LinkId(1), dialled: Some(F.into()), facts: LinkFacts::default() });
    t.say(1, status(F, "c1", "i1"));
    t.open(2);
    t.say(2, request("r", "echo", F, json!({})));
    assert!(t.execution().is_none());
    t.say(2, status(F, "c1", "i1"));
    let execution = t.execution().unwrap().execution;
    t.done.clear();
    let result = RawValue::from_string("5".to_owned()).unwrap();
    t.tell(Event::CallDone { execution, outcome: Ok(result) });
    assert!(t.done.iter().all(|a| !matches!(a, Action::Send { link: LinkId(2), .. })));
    assert_eq!(t.sent(1)[0]["payload"]["payload"]["result"], 5);
}

#[test]
fn gossip_goes_on_to_the_others_and_not_back() {
    let mut t = Table::new();
    t.join(1, F);
    t.join(2, G);
    let gossip = t.gossip(F, json!({"functions": [function("f", F)]}));
    t.say(1, gossip.clone());
    assert!(!t.done.iter().any(|a| matches!(a, Action::Send { link: LinkId(1), .. })));
    let passed = t.sent(2).remove(0)["payload"].clone();
    assert_eq!((&passed["sender_id"], &passed["propagation_path"]), (&json!(ME), &json!([F, ME])));
    assert_eq!((&passed["hop_count"], &passed["ttl"]), (&json!(2), &json!(8)));
    assert_eq!(passed["message_id"], gossip["payload"]["message_id"]);
    assert_eq!(passed["vector_clock"], json!({F: 1, ME: 1}));
    assert_eq!(passed["payload"]["functions"][0]["identity"]["name"], "f");
    t.say(1, gossip);
    assert!(t.refused(Reason::MessageRepeated) && t.sent(2).is_empty());
    let same_number = t.gossip(F, json!({"functions": [function("g", F)]}));
    t.say(1, same_number);
    assert_eq!(t.sent(2).len(), 1);
}

#[test]
fn nobody_speaks_for_this_node_or_another_cluster() {
    let mut t = Table::new();
    t.join(1, F);
    let mut later = function("echo", ME);
    later["advertised_at"] = json!(WALL + 100.0);
    let gossip = t.gossip(F, json!({"functions": [later]}));
    t.say(1, gossip);
    assert!(t.refused(Reason::NotEntitled));
    t.done.clear();
    let key = json!({"cluster_id": "c1", "node_id": ME, "resources": [], "identity": {"name": "echo", "function_id": "echo", "version": "1"}});
    let gossip = t.gossip(
        F,
        json!({"function_removals": [key], "node_removals": [{"cluster_id": "c1", "node_id": ME}]}),
    );
    t.say(1, gossip);
    assert!(t.refused(Reason::NotEntitled));
    let mut foreign = function("far", "ws://far:1");
    foreign["cluster_id"] = json!("c2");
    let gossip = t.gossip(F, json!({"functions": [foreign]}));
    t.say(1, gossip);
    assert!(t.refused(Reason::ClusterRefused));
    let gossip = t.gossip(G, json!({"functions": [function("as.g", G)]}));
    t.say(1, gossip);
    assert_eq!(t.names(), ["echo"]);
}

#[test]
fn a_malformed_message_does_not_end_the_link() {
    let mut t = Table::new();
    t.join(1, F);
    for text in
        ["{{{", "[1,2]", "7", "", r#"{"role":"fabric-gossip"}"#, r#"{"role":"fabric-gossip","payload":"x"}"#]
    {
        t.tell(Event::Message { link: LinkId(1), bytes: Bytes::from(text) });
    }
    let mut odd = t
        .gossip(F, json!({"functions": [{"node_id": F}, function("good", F)], "caches": [{"role": "king"}]}));
    t.say(1, odd.clone());
    odd["payload"]["message_type"] = json!("no_such_type");
    t.say(1, odd);
    t.say(
        1,
        json!({"role": "fabric-message", "payload": {"topic": "t", "headers": {"correlation_id": "x"}}}),
    );
    t.say(1, json!({"role": "server", "u": "x", "server": {"what": "WHATEVER"}}));
    for reason in [
        Reason::BadFrame,
        Reason::GossipMalformed,
        Reason::EntryMalformed,
        Reason::GossipUnknownKind,
        Reason::BadRequest,
    ] {
        assert!(t.refused(reason), "{reason}");
    }
    assert!(!t.closes(1));
    assert_eq!(t.names(), ["echo", "good"]);
    t.say(1, json!({"role": "no-such-role", "u": "odd"}));
    assert_eq!(t.sent(1).pop().unwrap()["error"]["code"], 1004);
}

#[test]
fn a_request_is_run_once_and_answered_on_its_link() {
    let mut t = Table::new();
    t.join(1, F);
    let ask = request("r1", "echo", F, json!({"target_node": ME, "target_cluster": "c1"}));
    t.say(1, ask.clone());
    let execution = t.execution().unwrap();
    assert_eq!((&*execution.command, execution.args.get()), ("echo", r#"[1,{"a":null}]"#));
    t.say(1, ask);
    assert!(t.execution().is_none() && t.refused(Reason::MessageRepeated));
    t.done.clear();
    let result = RawValue::from_string("[1.50]".into()).unwrap();
    t.tell(Event::CallDone { execution: execution.execution, outcome: Ok(result) });
    let answer = t.sent(1).remove(0)["payload"].clone();
    assert_eq!(answer["topic"], "mpreg.rpc.response");
    let body = json!({"kind": "rpc-response", "request_id": "r1", "success": true, "result": [1.5], "error": null, "responder": ME,
        "reply_to": F, "reply_cluster": "c1", "routing_path": [F, ME]});
    assert_eq!(answer["payload"], body);
    assert_eq!(
        answer["headers"],
        json!({"correlation_id": "r1", "source_cluster": "c1", "target_cluster": "c1", "routing_path": [ME],
        "federation_path": ["c1"], "hop_budget": 5, "priority": "normal", "metadata": {}})
    );

    t.say(1, request("r2", "echo", F, json!({})));
    let execution = t.execution().unwrap().execution;
    t.done.clear();
    t.tell(Event::CallDone {
        execution,
        outcome: Err(CallError::failed("TypeError: one argument is missing")),
    });
    let answer = t.sent(1).remove(0)["payload"]["payload"].clone();
    assert_eq!(
        answer["error"],
        json!({"error": "one argument is missing", "command": "echo", "error_type": "TypeError"})
    );

    for (id, more) in [("r3", json!({"version_constraint": ">>x"})), ("r4", json!({"args": 7}))] {
        t.say(1, request(id, "echo", F, more));
        assert!(t.execution().is_none());
    }
    assert_eq!(t.sent(1).len(), 1, "the first is answered; the second is no request");
}

#[test]
fn a_request_is_passed_on_within_its_bounds_and_its_answer_comes_back() {
    let mut t = Table::new();
    t.join(1, F);
    t.join(2, G);
    let gossip = t.gossip(G, json!({"functions": [function("g.f", G)]}));
    t.say(2, gossip);
    t.done.clear();
    let failure = |t: &mut Table| t.sent(1).remove(0)["payload"]["payload"]["error"].clone();
    t.say(1, request("r0", "g.f", F, json!({"hop_budget": 0})));
    assert_eq!(failure(&mut t), json!({"error": "fabric_hop_budget_exhausted", "command": "g.f"}));
    t.say(1, request("r1", "g.f", F, json!({"routing_path": [G, F]})));
    assert_eq!(failure(&mut t), json!({"error": "fabric_route_loop", "command": "g.f"}));
    t.say(1, request("r2", "no.such", F, json!({})));
    assert_eq!(failure(&mut t), json!({"error": "fabric_route_not_found", "command": "no.such"}));

    t.say(1, request("r3", "g.f", F, json!({})));
    let passed = t.sent(2).remove(0)["payload"].clone();
    assert_eq!(passed["headers"]["routing_path"], json!([F, ME]));
    assert_eq!(
        (&passed["payload"]["target_node"], &passed["payload"]["args"]),
        (&json!(G), &json!([1, {"a": null}]))
    );
    let answer = json!({"role": "fabric-message", "payload": {"message_id": "r3", "topic": "mpreg.rpc.response", "message_type": "rpc", "timestamp": WALL,
        "payload": {"kind": "rpc-response", "request_id": "r3", "success": true, "result": 5, "error": null, "responder": G, "reply_to": F,
            "reply_cluster": "c1", "routing_path": [F, ME, G]},
        "headers": {"correlation_id": "r3", "routing_path": [G], "federation_path": ["c1"], "hop_budget": 5}}});
    t.say(2, answer.clone());
    let back = t.sent(1).remove(0)["payload"].clone();
    assert_eq!((&back["payload"]["result"], &back["headers"]["routing_path"]), (&json!(5), &json!([G, ME])));

    t.say(1, request("r4", "g.f", F, json!({})));
    t.done.clear();
    t.tell(Event::LinkClosed { link: LinkId(2) });
    assert_eq!(failure(&mut t)["reason"], "link_lost");
}

#[test]
fn a_publication_is_delivered_once_and_goes_on_to_who_has_not_had_it() {
    let mut t = Table::new();
    t.join(1, F);
    t.join(2, G);
    let topic = json!({"subscription_id": "s", "patterns": ["in.#"], "node_id": G, "cluster_id": "c1", "advertised_at": WALL, "ttl_seconds": 60.0});
    let gossip = t.gossip(G, json!({"topics": [topic]}));
    t.say(2, gossip);
    t.done.clear();
    let publication = |id: &str, metadata: Value| {
        json!({"role": "fabric-message", "payload": {"message_id": id, "topic": "in.x", "message_type": "pubsub", "delivery": "broadcast", "timestamp": WALL,
            "payload": {"topic": "in.x", "payload": {"v": 1}, "timestamp": WALL, "message_id": id, "publisher": "p", "headers": {}},
            "headers": {"correlation_id": id, "source_cluster": "c1", "routing_path": [F], "federation_path": [], "hop_budget": 5, "metadata": metadata}}})
    };
    t.say(1, publication("m1", json!({"kept": true})));
    t.say(1, publication("m1", json!({})));
    let delivered: Vec<Text> = t
        .done
        .iter()
        .filter_map(|a| match a {
            Action::Deliver { message_id, .. } => Some(message_id.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(delivered, [Text::from("m1")]);
    let passed = t.sent(2);
    assert_eq!(passed.len(), 1);
    let headers = &passed[0]["payload"]["headers"];
    assert_eq!(headers["routing_path"], json!([F, ME]));
    assert_eq!(headers["metadata"], json!({"kept": true, "relay": {}, "sent_to": [G]}));
    t.say(1, publication("m2", json!({"sent_to": [ME, G]})));
    assert!(t.sent(2).is_empty());
}

#[test]
fn an_announced_node_is_dialled_back_and_greeted() {
    let mut t = Table::new();
    t.open(1);
    t.say(1, status(F, "c1", "i1"));
    t.done.clear();
    let gossip = t.gossip(F, json!({"nodes": [node(F)]}));
    t.say(1, gossip);
    assert!(t.done.iter().any(|a| matches!(a, Action::Dial { url, .. } if **url == *F)));
    t.tell(Event::LinkOpened { link: LinkId(2), dialled: Some(F.into()), facts: LinkFacts::default() });
    let greeting = t.sent(2);
    assert_eq!((greeting.len(), &greeting[0]["server"]["what"]), (1, &json!("STATUS")));
    t.say(2, request("r1", "echo", F, json!({})));
    assert!(t.execution().is_some(), "served on the link that we dialled as well");
}
