//! One node among strangers: what nodes of other clusters, and hostile ones, can make it do and believe.

use serde_json::{Value, json};

use super::simulation::{function, settings, url};
use super::*;
use crate::core::catalog::TopicEntry;
use crate::core::discovery::PolicyRule;
use crate::wire::fabric::{Goodbye, GoodbyeReason, Status};

const WALL: f64 = 1_700_000_000.0;

/// A node of `c1` that lets everybody in, and what it has done.
struct Lone {
    fabric: Fabric,
    seconds: f64,
    out: Vec<Action>,
    messages: u64,
}

impl Lone {
    fn new() -> Lone {
        Lone::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Settings)) -> Lone {
        let mut own = settings(0, "a", &[]);
        own.bridging.federation.mode = federation::Mode::PermissiveBridging;
        own.bridging.federation.connections_per_cluster_max = 100;
        change(&mut own);
        let mut lone =
            Lone { fabric: Fabric::new(own, Now::at(WALL, 0.0)), seconds: 0.0, out: Vec::new(), messages: 0 };
        lone.tell(Event::LocalFunctions(vec![function("here"), function("secret")]));
        lone
    }

    fn tell(&mut self, event: Event) {
        self.seconds += 0.001;
        self.fabric.handle(event, Now::at(WALL, self.seconds), &mut self.out);
    }

    fn say(&mut self, link: u64, bytes: Bytes) {
        self.tell(Event::Message { link: LinkId(link), bytes });
    }

    /// A node dials us and says who it is.
    fn meet(&mut self, link: u64, node: &str, cluster: &str) {
        self.meet_as(link, node, cluster, &format!("instance of {node}"));
    }

    fn meet_as(&mut self, link: u64, node: &str, cluster: &str, instance: &str) {
        let facts = LinkFacts::default();
        self.tell(Event::LinkOpened { link: LinkId(link), dialled: None, facts });
        self.say(link, Status::new(node, cluster, instance, WALL).encode("u"));
    }

    fn gossip(&mut self, link: u64, sender: &str, kind: &str, payload: Value) {
        self.gossip_by(link, sender, &[sender], kind, payload);
    }

    fn gossip_by(&mut self, link: u64, sender: &str, path: &[&str], kind: &str, payload: Value) {
        self.messages += 1;
        let gossip = json!({"role": "fabric-gossip", "payload": {
            "message_id": format!("g{}", self.messages), "message_type": kind, "sender_id": sender,
            "payload": payload, "propagation_path": path, "ttl": 9, "hop_count": 1, "max_hops": 5,
        }});
        self.say(link, gossip.to_string().into());
    }

    /// Everything a delta can say of one node.
    fn claim(&mut self, link: u64, sender: &str, cluster: &str, node: &str) {
        let at = WALL + self.seconds;
        let nodes =
            json!([{"node_id": node, "cluster_id": cluster, "advertised_at": at, "ttl_seconds": 30.0}]);
        let delta = json!({"cluster_id": cluster, "sent_at": at, "nodes": nodes});
        self.gossip(link, sender, "catalog_update", delta);
    }

    /// A node of the first cluster on a path announces a route along it.
    fn announce(&mut self, link: u64, sender: &str, path: &[&str]) {
        let route = json!({
            "destination": {"cluster_id": path.last()}, "path": {"hops": path}, "advertiser": path[0],
            "advertised_at": WALL + self.seconds, "ttl_seconds": 30.0, "epoch": self.messages,
        });
        self.gossip(link, sender, "route_advertisement", route);
    }

    fn message(&mut self, link: u64, kind: &str, payload: Value, headers: Value) {
        self.messages += 1;
        let id = format!("m{}", self.messages);
        let mut all = json!({"correlation_id": id});
        all.as_object_mut().unwrap().extend(headers.as_object().unwrap().clone());
        let topic = if kind == "control" { "mpreg.rpc.cancel" } else { "t.x" };
        let message = json!({"role": "fabric-message", "payload": {
            "message_id": id, "topic": topic, "message_type": kind, "payload": payload, "headers": all,
        }});
        self.say(link, message.to_string().into());
    }

    fn request(&mut self, link: u64, id: &str, command: &str, reply_to: &str, headers: Value) {
        let payload = json!({
            "kind": "rpc-request", "request_id": id, "command": command, "args": [], "kwargs": {},
            "reply_to": reply_to,
        });
        self.message(link, "rpc", payload, headers);
    }

    /// How often something was refused for a reason since the last question.
    fn refused(&mut self, wanted: Reason) -> usize {
        let counts = self.out.iter().filter_map(|a| match a {
            Action::Refused { reason, count, .. } if *reason == wanted => Some(*count),
            _ => None,
        });
        let count = counts.sum();
        self.out.clear();
        count
    }

    fn executions(&self) -> Vec<(u64, String)> {
        let executions = self.out.iter().filter_map(|a| match a {
            Action::Execute(e) => Some((e.execution, e.request_id.to_string())),
            _ => None,
        });
        executions.collect()
    }

    fn closed(&self, link: u64) -> bool {
        self.out.iter().any(|a| matches!(a, Action::Close { link: l, .. } if l.0 == link))
    }

    /// Whether a message that went out over a link contains this.
    fn sent(&self, link: u64, wanted: &str) -> bool {
        self.out.iter().any(|a| match a {
            Action::Send { link: l, bytes } => l.0 == link && String::from_utf8_lossy(bytes).contains(wanted),
            _ => false,
        })
    }
}

#[test]
fn nobody_becomes_a_peer_without_status() {
    let mut lone = Lone::new();
    let facts = LinkFacts::default();
    lone.tell(Event::LinkOpened { link: LinkId(1), dialled: None, facts });
    lone.claim(1, "ws://b:1", "c2", "ws://b:1");
    assert_eq!(lone.refused(Reason::MessageEarly), 1);
    lone.request(1, "r1", "here", "ws://b:1", json!({}));
    assert!(lone.executions().is_empty());
    assert_eq!(lone.refused(Reason::MessageEarly), 1);
    assert_eq!(lone.fabric.catalog().nodes().count(), 1);
}

/// Who was dialled by its address and only acknowledges is taken for a node of ours, as it could say itself; it speaks
/// for no other cluster, of no routes, and not against its certificate.
#[test]
fn who_only_acknowledges_speaks_for_our_cluster_at_most() {
    let acknowledged = |lone: &mut Lone, facts: LinkFacts| {
        lone.tell(Event::LinkOpened { link: LinkId(9), dialled: Some("ws://seed:1".into()), facts });
        lone.out.clear();
        lone.say(9, json!({"r": "STATUS", "error": null, "u": "u"}).to_string().into());
    };
    let mut lone = Lone::with(|own| own.membership.seeds = vec!["ws://seed:1".into()]);
    acknowledged(&mut lone, LinkFacts::default());
    lone.claim(9, "ws://seed:1", "c1", "ws://seed:1");
    assert!(lone.fabric.catalog().node("c1", "ws://seed:1").is_some());
    lone.claim(9, "ws://seed:1", "c2", "ws://b:1");
    assert_eq!(lone.refused(Reason::NotEntitled), 1);
    lone.announce(9, "ws://seed:1", &["c2"]);
    assert_eq!(lone.refused(Reason::NotEntitled), 1);
    let names = ["mpreg://c2".into()].into();
    let certificate = Some(federation::CertificateNames { uris: names, ..Default::default() });
    let mut lone = Lone::with(|own| own.membership.seeds = vec!["ws://seed:1".into()]);
    acknowledged(&mut lone, LinkFacts { encrypted: true, asked: true, certificate });
    lone.claim(9, "ws://seed:1", "c1", "ws://seed:1");
    assert!(lone.fabric.catalog().node("c1", "ws://seed:1").is_none());
}

#[test]
fn a_strict_node_lets_no_other_cluster_in_and_hears_nothing_of_it() {
    let mut lone = Lone::with(|own| own.bridging.federation.mode = federation::Mode::StrictIsolation);
    lone.meet(1, "ws://b:1", "c2");
    assert!(lone.closed(1) && !lone.sent(1, "catalog_update"));
    assert_eq!(lone.refused(Reason::ClusterRefused), 1);
    lone.claim(1, "ws://b:1", "c2", "ws://b:1");
    assert_eq!(lone.refused(Reason::NotEntitled), 1);
    // Nor from its own.
    lone.meet(2, "ws://m:1", "c1");
    lone.claim(2, "ws://m:1", "c2", "ws://b:1");
    assert_eq!(lone.refused(Reason::ClusterRefused), 1);
}

#[test]
fn a_neighbour_speaks_for_itself_only() {
    let mut lone = Lone::new();
    lone.meet(1, "ws://m:1", "c1");
    lone.claim(1, "ws://m:1", "c1", "ws://m:1");
    lone.meet(2, "ws://b:1", "c2");
    lone.claim(2, "ws://b:1", "c2", "ws://b:1");
    assert_eq!(lone.fabric.catalog().nodes().count(), 3);
    lone.out.clear();
    lone.claim(2, "ws://b:1", "c1", "ws://new:1");
    assert_eq!(lone.refused(Reason::NotEntitled), 1);
    lone.claim(2, "ws://m:1", "c2", "ws://b:1");
    assert_eq!(lone.refused(Reason::NotEntitled), 1, "under another's name");
    let removal = |cluster: &str, node: &str| {
        json!({"cluster_id": cluster, "sent_at": WALL + 1.0,
               "node_removals": [{"cluster_id": cluster, "node_id": node}]})
    };
    lone.gossip(2, "ws://b:1", "catalog_update", removal("c1", "ws://m:1"));
    assert_eq!(lone.refused(Reason::NotEntitled), 1);
    lone.gossip(1, "ws://m:1", "catalog_update", removal("c1", &url(0)));
    assert_eq!(lone.refused(Reason::NotEntitled), 1, "nobody speaks for this node");
    lone.claim(2, "ws://b:1", "c3", "ws://c:1");
    assert_eq!(lone.refused(Reason::EntryUnrouted), 1);
    assert_eq!(lone.fabric.catalog().nodes().count(), 3);
}

#[test]
fn a_node_of_ours_is_not_impersonated_by_another_cluster() {
    let mut lone = Lone::new();
    lone.meet(1, "ws://m:1", "c1");
    lone.claim(1, "ws://m:1", "c1", "ws://m:1");
    lone.out.clear();
    // While it is linked, and while only the catalog knows it.
    lone.meet(2, "ws://m:1", "c2");
    assert!(lone.closed(2) && !lone.closed(1));
    assert_eq!(lone.refused(Reason::NotEntitled), 1);
    lone.tell(Event::LinkClosed { link: LinkId(1) });
    lone.meet(3, "ws://m:1", "c2");
    assert!(lone.closed(3));
    let goodbye = Goodbye::new("ws://m:1", "c1", GoodbyeReason::GracefulShutdown, "i", WALL).encode("u");
    lone.say(3, goodbye);
    assert_eq!(lone.fabric.catalog().nodes().count(), 2);
}

#[test]
fn the_goodbye_of_a_namesake_takes_nothing_of_ours() {
    let mut lone = Lone::new();
    lone.meet(2, "ws://m:1", "c2");
    lone.claim(2, "ws://m:1", "c2", "ws://m:1");
    lone.meet(3, "ws://o:1", "c1");
    lone.claim(3, "ws://o:1", "c1", "ws://m:1");
    lone.say(2, Goodbye::new("ws://m:1", "c2", GoodbyeReason::Maintenance, "", WALL).encode("u"));
    assert!(lone.fabric.catalog().node("c1", "ws://m:1").is_some());
    assert!(lone.fabric.catalog().node("c2", "ws://m:1").is_none());
}

#[test]
fn what_another_cluster_says_of_a_namesake_leads_no_call_of_ours_to_it() {
    let mut lone = Lone::new();
    lone.meet(1, "ws://m:1", "c1");
    lone.claim(1, "ws://m:1", "c1", "ws://far:1");
    lone.meet(2, "ws://b:1", "c2");
    lone.claim(2, "ws://b:1", "c2", "ws://far:1");
    let visited = way::Visited::default();
    assert_eq!(lone.fabric.way_to("c1", "ws://far:1", visited), Ok(("ws://m:1".into(), LinkId(1))));
    // Nor does a link to a node of the same name.
    lone.meet(3, "ws://twin:1", "c2");
    assert!(lone.fabric.way_to("c1", "ws://twin:1", visited).is_err());
    assert_eq!(lone.fabric.way_to("c2", "ws://twin:1", visited), Ok(("ws://twin:1".into(), LinkId(3))));
}

#[test]
fn subscriptions_are_removed_by_their_holder() {
    let mut lone = Lone::new();
    let topic: TopicEntry =
        serde_json::from_value(json!({"subscription_id": "s", "patterns": ["t.#"]})).unwrap();
    lone.tell(Event::Local(Box::new(Delta { topics: vec![Arc::new(topic)], ..Delta::default() })));
    lone.meet(1, "ws://m:1", "c1");
    lone.meet(2, "ws://b:1", "c2");
    lone.out.clear();
    let own = url(0);
    let removal =
        |cluster: &str| json!({"cluster_id": cluster, "sent_at": WALL + 9.0, "topic_removals": ["s"]});
    lone.gossip_by(1, "ws://m:1", &[&own, "ws://m:1"], "catalog_update", removal("c1"));
    assert_eq!(lone.refused(Reason::NotEntitled), 1, "in the name of this node");
    lone.gossip_by(2, "ws://b:1", &[&own, "ws://b:1"], "catalog_update", removal("c1"));
    assert_eq!(lone.refused(Reason::NotEntitled), 1);
    assert_eq!(lone.fabric.catalog().topics().count(), 1);
}

#[test]
fn a_call_is_made_only_in_the_name_of_clusters_that_the_link_may_speak_for() {
    let mut lone = Lone::with(|own| {
        own.bridging.federation.deny_functions = ["secret".into()].into();
    });
    lone.meet(1, "ws://m:1", "c1");
    lone.claim(1, "ws://m:1", "c1", "ws://m:1");
    lone.meet(2, "ws://b:1", "c2");
    lone.out.clear();
    for (n, (reply_to, source)) in
        [("ws://b:1", "c1"), ("ws://b:1", "c3"), ("ws://m:1", "c2"), (&*url(0), "c2")].iter().enumerate()
    {
        lone.request(2, &format!("r{n}"), "here", reply_to, json!({"source_cluster": source}));
        assert!(lone.executions().is_empty());
        assert!(lone.sent(2, "rpc-response"), "an answer at once");
        assert_eq!(lone.refused(Reason::NotEntitled), 1, "{reply_to} {source}");
    }
    lone.request(2, "r9", "secret", "ws://b:1", json!({}));
    assert!(lone.executions().is_empty());
    assert_eq!(lone.refused(Reason::FunctionNotShared), 1);
    lone.request(1, "r10", "secret", "ws://x:1", json!({"source_cluster": "c2"}));
    assert_eq!(lone.refused(Reason::FunctionNotShared), 1, "behind a border node of ours as well");
    lone.request(2, "r11", "here", "ws://b:1", json!({"source_cluster": "c2"}));
    assert_eq!(lone.executions().len(), 1);
}

#[test]
fn request_ids_of_others_are_not_used_up_and_repetitions_run_once() {
    let mut lone = Lone::new();
    lone.meet(1, "ws://m:1", "c1");
    lone.meet(2, "ws://b:1", "c2");
    lone.request(2, "r1", "here", "ws://z:1", json!({}));
    lone.request(1, "r1", "here", "ws://z:1", json!({}));
    assert_eq!(lone.executions().len(), 2);
    lone.out.clear();
    lone.request(1, "r1", "here", "ws://z:1", json!({}));
    assert!(lone.executions().is_empty());
    assert_eq!(lone.refused(Reason::MessageRepeated), 1);
}

#[test]
fn a_call_is_cancelled_by_who_made_it() {
    let mut lone = Lone::new();
    lone.meet(1, "ws://m:1", "c1");
    lone.meet(2, "ws://b:1", "c2");
    lone.request(1, "r1", "here", "ws://z:1", json!({}));
    let cancels = |lone: &Lone| lone.out.iter().any(|a| matches!(a, Action::CancelExecution { .. }));
    lone.message(2, "control", json!({"request_id": "r1", "reply_to": "ws://z:1"}), json!({}));
    lone.message(1, "control", json!({"request_id": "r1", "reply_to": "ws://other:1"}), json!({}));
    assert!(!cancels(&lone));
    lone.message(1, "control", json!({"request_id": "r1", "reply_to": "ws://z:1"}), json!({}));
    assert!(cancels(&lone));
    lone.message(1, "control", json!({}), json!({}));
    assert_eq!(lone.refused(Reason::BadRequest), 1);
}

#[test]
fn a_call_with_no_time_left_does_not_run() {
    let mut lone = Lone::new();
    lone.meet(1, "ws://m:1", "c1");
    for (n, (left, runs)) in
        [(json!(0), 0), (json!(u64::MAX), 1), (json!(-1), 1), (json!("x"), 1)].into_iter().enumerate()
    {
        lone.out.clear();
        let headers = json!({"metadata": {"time_left_ms": left}});
        lone.request(1, &format!("r{n}"), "here", "ws://m:1", headers);
        assert_eq!(lone.executions().len(), runs, "{n}");
        assert_eq!(lone.refused(Reason::DeadlinePassed), 1 - runs);
    }
}

#[test]
fn a_call_that_is_passed_on_ends_within_its_budget_and_with_its_link() {
    let mut lone = Lone::new();
    lone.meet(1, "ws://m:1", "c1");
    lone.meet(2, "ws://b:1", "c2");
    let to = |node: &str, headers: Value| {
        let mut all = json!({"target_cluster": "c2", "source_cluster": "c1", "routing_path": ["ws://m:1"]});
        all.as_object_mut().unwrap().extend(headers.as_object().unwrap().clone());
        (node.to_owned(), all)
    };
    lone.out.clear();
    for (n, budget) in [0, -1, i64::MIN].into_iter().enumerate() {
        let (_, headers) = to("", json!({"hop_budget": budget}));
        let payload = json!({"kind": "rpc-request", "request_id": format!("h{n}"), "command": "far",
            "reply_to": "ws://m:1", "target_cluster": "c2", "target_node": "ws://b:1"});
        lone.message(1, "rpc", payload, headers);
        assert!(lone.sent(1, "hop_budget_exhausted") && !lone.sent(2, "rpc-request"), "{budget}");
        assert_eq!(lone.refused(Reason::HopBudget), 1, "{budget}");
    }
    let request = |id: &str| {
        json!({"kind": "rpc-request", "request_id": id, "command": "far", "reply_to": "ws://m:1",
               "target_cluster": "c2", "target_node": "ws://b:1"})
    };
    let (_, headers) =
        to("", json!({"metadata": {"time_left_ms": 5000, "other": [1]}, "hop_budget": i64::MAX}));
    lone.message(1, "rpc", request("r1"), headers.clone());
    assert!(lone.sent(2, "rpc-request") && lone.sent(2, "\"time_left_ms\":5000"));
    assert!(lone.sent(2, "\"other\":[1]"), "what is not ours is carried along");
    lone.out.clear();
    // Nobody but who was asked answers.
    lone.meet(3, "ws://d:1", "c4");
    let answer = json!({"kind": "rpc-response", "request_id": "r1", "success": true, "result": 1,
        "reply_to": "ws://m:1", "responder": "ws://b:1"});
    lone.message(3, "rpc", answer, json!({}));
    assert!(!lone.sent(1, "rpc-response"));
    assert_eq!(lone.refused(Reason::NotEntitled), 1);
    lone.tell(Event::LinkClosed { link: LinkId(2) });
    assert!(lone.sent(1, "link_lost"));
    lone.out.clear();
    lone.message(1, "rpc", request("r2"), headers);
    assert!(lone.sent(1, "fabric_forward_failed"), "nobody leads there any more");
}

#[test]
fn names_and_paths_that_are_too_long_are_refused_and_the_link_lives_on() {
    let mut lone = Lone::new();
    lone.meet(1, "ws://b:1", "c2");
    lone.out.clear();
    let long = "x".repeat(2000);
    let many: Vec<String> = (0..10_000).map(|n| format!("n{n}")).collect();
    lone.request(1, &long, "here", "ws://b:1", json!({}));
    lone.request(1, "r1", "here", &long, json!({}));
    lone.request(1, "r2", "here", "ws://b:1", json!({"routing_path": many}));
    lone.request(1, "r3", "here", "ws://b:1", json!({"federation_path": many}));
    lone.request(1, "r4", "here", "ws://b:1", json!({"source_cluster": long}));
    assert!(lone.executions().is_empty());
    assert_eq!(lone.refused(Reason::BadRequest), 5);
    let many: Vec<&str> = many.iter().map(|n| &**n).collect();
    lone.gossip_by(1, "ws://b:1", &many, "catalog_update", json!({}));
    assert_eq!(lone.refused(Reason::GossipMalformed), 1);
    lone.request(1, "r5", "here", "ws://b:1", json!({}));
    assert!(!lone.closed(1) && lone.executions().len() == 1);
}

#[test]
fn bad_gossip_has_its_reason_and_the_link_lives_on() {
    let mut lone = Lone::with(|own| own.bridging.link_state.mode = link_state::Mode::Prefer);
    lone.meet(1, "ws://b:1", "c2");
    lone.out.clear();
    for kind in ["route_advertisement", "route_withdrawal", "link_state_update", "route_key_announcement"] {
        for payload in [json!(null), json!({}), json!([1]), json!("x")] {
            lone.gossip(1, "ws://b:1", kind, payload.clone());
            let refusals = lone.out.iter().filter(|a| matches!(a, Action::Refused { .. })).count();
            assert_eq!(refusals, 1, "{kind} {payload}: {:?}", lone.out);
            lone.out.clear();
        }
    }
    lone.gossip(1, "ws://b:1", "catalog_update", json!(null));
    assert_eq!(lone.refused(Reason::GossipMalformed), 1);
    lone.gossip(1, "ws://b:1", "news_of_tomorrow", json!({}));
    assert_eq!(lone.refused(Reason::GossipUnknownKind), 1);
    lone.gossip(1, "ws://b:1", "catalog_update", json!({}));
    lone.messages -= 1;
    lone.gossip(1, "ws://b:1", "catalog_update", json!({}));
    assert_eq!(lone.refused(Reason::MessageRepeated), 1);
    let old = json!({"role": "fabric-gossip", "payload": {"message_id": "old", "message_type": "catalog_update",
        "sender_id": "ws://b:1", "payload": {}, "expires_at": WALL - 400.0}});
    lone.say(1, old.to_string().into());
    assert_eq!(lone.refused(Reason::EntryExpired), 1);
    lone.say(1, "{".into());
    assert_eq!(lone.refused(Reason::BadFrame), 1);
    lone.claim(1, "ws://b:1", "c2", "ws://b:1");
    assert!(lone.fabric.catalog().node("c2", "ws://b:1").is_some() && !lone.closed(1));
}

#[test]
fn a_flood_of_one_peer_is_refused_and_others_are_heard() {
    let mut lone = Lone::with(|own| {
        own.floods = FloodLimits { gossip: 10, publications: 10, ..FloodLimits::default() };
    });
    lone.meet(1, "ws://b:1", "c2");
    lone.meet(2, "ws://d:1", "c4");
    lone.out.clear();
    for _ in 0..150 {
        lone.gossip(1, "ws://b:1", "catalog_update", json!({}));
    }
    assert!((48..=50).contains(&lone.refused(Reason::GossipFlood)));
    lone.claim(2, "ws://d:1", "c4", "ws://d:1");
    assert!(lone.fabric.catalog().node("c4", "ws://d:1").is_some());
    let publication =
        json!({"topic": "t.x", "payload": null, "timestamp": 1.0, "message_id": "p", "publisher": "p"});
    for _ in 0..150 {
        lone.message(1, "pubsub", publication.clone(), json!({"source_cluster": "c2"}));
    }
    assert!((48..=50).contains(&lone.refused(Reason::PublicationsFlood)));
    // Calls are limited otherwise, the link lives, and after a while its peer is heard again.
    lone.request(1, "r1", "here", "ws://b:1", json!({}));
    assert!(lone.executions().len() == 1 && !lone.closed(1));
    // A new link is no new budget.
    (0..10).for_each(|_| lone.gossip(1, "ws://b:1", "catalog_update", json!({})));
    lone.out.clear();
    lone.tell(Event::LinkClosed { link: LinkId(1) });
    lone.meet(3, "ws://b:1", "c2");
    lone.claim(3, "ws://b:1", "c2", "ws://b:1");
    assert_eq!(lone.refused(Reason::GossipFlood), 1);
    lone.seconds += 1.0;
    lone.claim(3, "ws://b:1", "c2", "ws://b:1");
    assert!(lone.fabric.catalog().node("c2", "ws://b:1").is_some());
}

#[test]
fn what_waits_for_a_route_is_bounded_and_the_newest_is_kept() {
    let mut lone = Lone::new();
    lone.meet(1, "ws://b:1", "c2");
    let nodes = |from: usize, to: usize| {
        let node = |n| {
            json!({"node_id": format!("n{n}"), "cluster_id": "c3",
            "advertised_at": WALL, "ttl_seconds": 30.0})
        };
        json!({"cluster_id": "c3", "sent_at": WALL, "nodes": (from..to).map(node).collect::<Vec<_>>()})
    };
    for n in 0..3 {
        lone.gossip(1, "ws://b:1", "catalog_update", nodes(n * 4000, (n + 1) * 4000));
    }
    assert_eq!(lone.refused(Reason::CatalogLimit), 4000);
    let waiting = lone.fabric.waiting_for_route.take(&"c2".into(), &"c3".into());
    let first: Vec<&str> = waiting.iter().map(|d| &*d.nodes[0].node_id).collect();
    assert_eq!(first, ["n4000", "n8000"]);
    assert!(lone.fabric.waiting_for_route.take(&"c2".into(), &"c3".into()).is_empty());
}

#[test]
fn a_message_of_ten_thousand_clusters_is_refused_in_time() {
    let mut lone = Lone::new();
    lone.meet(1, "ws://b:1", "c2");
    let node = |n| {
        json!({"node_id": "n", "cluster_id": format!("x{n}"), "advertised_at": WALL,
        "ttl_seconds": 30.0})
    };
    let delta = json!({"cluster_id": "c2", "nodes": (0..10_000).map(node).collect::<Vec<_>>()});
    lone.gossip(1, "ws://b:1", "catalog_update", delta);
    assert_eq!(lone.refused(Reason::EntryUnrouted), 10_000);
}

#[test]
fn functions_that_come_and_go_leave_nothing_behind() {
    let mut lone = Lone::new();
    lone.meet(1, "ws://b:1", "c2");
    for round in 0..5 {
        let id = |n: usize| format!("f{round}-{n}");
        let identity = |n| json!({"name": id(n), "function_id": id(n), "version": "1.0.0"});
        let at = WALL + lone.seconds;
        let functions: Vec<Value> = (0..600)
            .map(|n| {
                json!({"identity": identity(n), "node_id": id(n), "cluster_id": "c2",
                "advertised_at": at, "ttl_seconds": 30.0})
            })
            .collect();
        let keys: Vec<Value> = (0..600)
            .map(|n| json!({"identity": identity(n), "node_id": id(n), "cluster_id": "c2"}))
            .collect();
        let delta = json!({"cluster_id": "c2", "sent_at": at, "functions": functions});
        lone.gossip(1, "ws://b:1", "catalog_update", delta);
        assert!(lone.fabric.catalog().functions().count() >= 600);
        let gone = json!({"cluster_id": "c2", "sent_at": at + 1.0, "function_removals": keys});
        lone.gossip(1, "ws://b:1", "catalog_update", gone);
    }
    assert_eq!(lone.fabric.catalog().functions().count(), 2);
    assert!(lone.fabric.told_by.len() <= 2 * TELLERS_MIN);
}

#[test]
fn publications_speak_for_their_cluster_and_come_once() {
    let mut lone = Lone::new();
    lone.meet(1, "ws://b:1", "c2");
    lone.out.clear();
    let publication = |id: &str, topic: &str| json!({"topic": topic, "payload": null, "timestamp": 1.0, "message_id": id, "publisher": "p"});
    let delivered = |lone: &Lone| lone.out.iter().filter(|a| matches!(a, Action::Deliver { .. })).count();
    lone.message(1, "pubsub", publication("p1", "t.x"), json!({"source_cluster": "c1"}));
    lone.message(1, "pubsub", publication("p2", "t.x"), json!({"source_cluster": "c3"}));
    assert_eq!(delivered(&lone), 0);
    assert_eq!(lone.refused(Reason::NotEntitled), 2);
    lone.message(1, "pubsub", publication("p3", "mpreg.discovery.delta"), json!({}));
    assert_eq!(lone.refused(Reason::ReservedTopic), 1);
    let odd = json!({"source_cluster": "c2", "metadata": [1]});
    lone.message(1, "pubsub", publication("p4", "t.x"), odd.clone());
    lone.message(1, "pubsub", publication("p4", "t.x"), odd);
    assert_eq!(delivered(&lone), 1);
    assert_eq!(lone.refused(Reason::MessageRepeated), 1);
}

#[test]
fn connections_of_one_cluster_are_counted_and_given_back() {
    let mut lone = Lone::with(|own| own.bridging.federation.connections_per_cluster_max = 1);
    lone.meet(1, "ws://b:1", "c2");
    lone.out.clear();
    lone.meet(2, "ws://b:2", "c2");
    assert!(lone.closed(2));
    assert_eq!(lone.refused(Reason::ClusterConnectionsLimit), 1);
    for link in [1, 2] {
        lone.tell(Event::LinkClosed { link: LinkId(link) });
    }
    lone.meet(3, "ws://b:2", "c2");
    assert!(!lone.closed(3));
    let fabric = &lone.fabric;
    assert_eq!((fabric.facts.len(), fabric.counted.len(), fabric.asked_at.len()), (1, 1, 1));
    lone.tell(Event::LinkClosed { link: LinkId(3) });
    let fabric = &lone.fabric;
    assert!(fabric.facts.is_empty() && fabric.counted.is_empty() && fabric.asked_at.is_empty());
    assert!(fabric.exported.is_empty());
}

#[test]
fn stricter_settings_close_the_links_that_do_not_meet_them() {
    let mut lone = Lone::new();
    lone.meet(1, "ws://b:1", "c2");
    lone.meet(2, "ws://m:1", "c1");
    lone.out.clear();
    let own = settings(0, "a", &[]);
    let federation =
        federation::Settings { require_encryption: true, ..lone.fabric.federation.settings().clone() };
    let revision = Revision {
        seeds: Vec::new(),
        transport_endpoints: own.transport_endpoints,
        advertised_urls: own.advertised_urls,
        catalog_entries_per_cluster_max: 100,
        calls_max: 10,
        floods: FloodLimits::default(),
        federation,
        route_rules: route::Rules::default(),
        keys: Vec::new(),
    };
    lone.tell(Event::Revised(Box::new(revision)));
    assert!(lone.closed(1) && !lone.closed(2));
    assert_eq!(lone.refused(Reason::EncryptionRequired), 1);
}

#[test]
fn namespace_policy_keeps_entries_of_other_clusters_out_and_their_removals_in() {
    let mut lone = Lone::new();
    let rule =
        PolicyRule { namespace: "plant".into(), owners: ["c3".into()].into(), ..PolicyRule::default() };
    lone.fabric.set_admission(Policy::new(true, true, vec![rule]));
    lone.meet(1, "ws://b:1", "c2");
    lone.meet(2, "ws://m:1", "c1");
    lone.out.clear();
    let delta = |cluster: &str, node: &str| {
        let entry = |name: &str| {
            json!({"identity": {"name": name, "function_id": name, "version": "1.0.0"}, "node_id": node,
                "cluster_id": cluster, "advertised_at": WALL, "ttl_seconds": 30.0})
        };
        json!({"cluster_id": cluster, "sent_at": WALL, "functions": [entry("plant.stop"), entry("open.see")]})
    };
    lone.gossip(1, "ws://b:1", "catalog_update", delta("c2", "ws://b:1"));
    assert!(lone.sent(2, "open.see") && !lone.sent(2, "plant.stop"), "nor are others told");
    assert_eq!(lone.refused(Reason::PolicyDenied), 1);
    let known = |lone: &Lone, name: &str| lone.fabric.catalog().functions_named(name).count();
    assert_eq!((known(&lone, "plant.stop"), known(&lone, "open.see")), (0, 1));
    lone.gossip(2, "ws://m:1", "catalog_update", delta("c1", "ws://m:1"));
    assert_eq!(known(&lone, "plant.stop"), 1, "the own cluster may");
}

mod answers;
mod links;
