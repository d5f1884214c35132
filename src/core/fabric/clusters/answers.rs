//! Answers and cancellations: who may give them, and on which ways they come.

use super::*;

#[test]
fn an_answer_comes_from_who_was_asked_or_in_its_clusters_name() {
    let mut lone = Lone::new();
    lone.meet(1, "ws://x:1", "c1");
    lone.meet(2, "ws://e:1", "c2");
    lone.meet(3, "ws://m:1", "c1");
    let call = |id: &str| Call {
        request_id: id.into(),
        command: "far".into(),
        function_id: None,
        version_constraint: None,
        resources: Vec::new(),
        cluster: "c1".into(),
        node: "ws://x:1".into(),
        args: raw("[]"),
        kwargs: raw("{}"),
        deadline: Duration::from_secs(30),
        patience: Duration::ZERO,
    };
    let own = url(0);
    let answer = |id: &str, path: &[&str]| {
        json!({"kind": "rpc-response", "request_id": id, "success": true, "result": 1, "responder": "ws://x:1",
            "reply_to": path[0], "routing_path": path})
    };
    let answered = |lone: &Lone| lone.out.iter().any(|a| matches!(a, Action::CallAnswered { .. }));
    lone.tell(Event::Call(Box::new(call("r1"))));
    lone.out.clear();
    for source in ["c1", "c2", ""] {
        lone.message(2, "rpc", answer("r1", &[&own]), json!({"source_cluster": source}));
        assert!(!answered(&lone));
        assert_eq!(lone.refused(Reason::NotEntitled), 1);
    }
    // Nor is an answer to another node of ours passed on in our own name.
    lone.message(2, "rpc", answer("r9", &["ws://m:1", &own]), json!({"source_cluster": "c1"}));
    assert!(!lone.sent(3, "rpc-response"));
    assert_eq!(lone.refused(Reason::NotEntitled), 1);
    lone.message(3, "rpc", answer("r1", &[&own]), json!({"source_cluster": "c2"}));
    assert!(!answered(&lone));
    lone.message(3, "rpc", answer("r1", &[&own]), json!({"source_cluster": "c1"}));
    assert!(answered(&lone));
    lone.out.clear();
    lone.message(1, "rpc", answer("r1", &[&own]), json!({"source_cluster": "c1"}));
    assert!(!answered(&lone), "once");
}

#[test]
fn an_answer_comes_round_where_its_way_back_is_broken() {
    let mut lone = Lone::new();
    let own = url(0);
    for (link, node, cluster) in [(1, "ws://b:1", "c2"), (2, "ws://d:1", "c4"), (3, "ws://e:1", "c5")] {
        lone.meet(link, node, cluster);
        lone.claim(link, node, cluster, node);
    }
    let answer = |id: &str, reply_to: &str, cluster: &str, path: &[&str]| {
        json!({"kind": "rpc-response", "request_id": id, "success": true, "result": 1, "responder": "ws://x:1",
            "reply_to": reply_to, "reply_cluster": cluster, "routing_path": path})
    };
    // We pass on an answer of c2 to d, though the request did not come this way; but not twice, nor in a circle.
    let back = answer("r1", "ws://d:1", "c4", &["ws://d:1", "ws://gone:1", "ws://b:1"]);
    let headers =
        |path: &[&str]| json!({"source_cluster": "c2", "routing_path": path, "federation_path": ["c2"]});
    lone.message(1, "rpc", back.clone(), headers(&["ws://b:1"]));
    assert!(lone.sent(2, "rpc-response"));
    lone.out.clear();
    lone.message(1, "rpc", back.clone(), headers(&[&own, "ws://b:1"]));
    assert_eq!(lone.refused(Reason::RouteLoop), 1);
    lone.message(1, "rpc", back.clone(), headers(&["ws://d:1", "ws://b:1"]));
    assert_eq!(lone.refused(Reason::ResultNotUnderstood), 1);
    let mut foreign = headers(&["ws://b:1"]);
    foreign["source_cluster"] = "c9".into();
    lone.message(1, "rpc", back, foreign);
    assert_eq!(lone.refused(Reason::NotEntitled), 1);

    // A call of ours to c3 goes through c2; its answer may come by c4, which leads there too, and by nobody else.
    lone.announce(1, "ws://b:1", &["c2", "c3"]);
    lone.announce(2, "ws://d:1", &["c4", "x", "c3"]);
    let call = Call {
        request_id: "r2".into(),
        command: "far".into(),
        function_id: None,
        version_constraint: None,
        resources: Vec::new(),
        cluster: "c3".into(),
        node: "ws://x:1".into(),
        args: raw("[]"),
        kwargs: raw("{}"),
        deadline: Duration::from_secs(30),
        patience: Duration::ZERO,
    };
    lone.tell(Event::Call(Box::new(call)));
    assert!(lone.sent(1, "rpc-request"));
    lone.out.clear();
    let answered = |lone: &Lone| lone.out.iter().any(|a| matches!(a, Action::CallAnswered { .. }));
    let answer = answer("r2", &own, "c1", &[&own, "ws://b:1", "ws://x:1"]);
    for (link, source) in [(3, "c3"), (2, "c4")] {
        lone.message(link, "rpc", answer.clone(), json!({"source_cluster": source}));
        assert!(!answered(&lone));
        assert_eq!(lone.refused(Reason::NotEntitled), 1);
    }
    lone.message(2, "rpc", answer, json!({"source_cluster": "c3"}));
    assert!(answered(&lone));
}

#[test]
fn a_cancellation_follows_its_call() {
    let mut lone = Lone::new();
    lone.meet(1, "ws://b:1", "c2");
    lone.meet(2, "ws://d:1", "c4");
    let payload = json!({"kind": "rpc-request", "request_id": "r1", "command": "far", "args": [], "kwargs": {},
        "reply_to": "ws://b:1", "target_cluster": "c4", "target_node": "ws://d:1"});
    lone.message(1, "rpc", payload, json!({"source_cluster": "c2", "routing_path": ["ws://b:1"]}));
    assert!(lone.sent(2, "rpc-request"));
    lone.out.clear();
    let cancel = json!({"request_id": "r1", "reply_to": "ws://b:1"});
    lone.message(2, "control", cancel.clone(), json!({}));
    assert!(!lone.sent(2, "mpreg.rpc.cancel"), "only who made the call gives it up");
    lone.message(1, "control", cancel, json!({}));
    assert!(lone.sent(2, "mpreg.rpc.cancel") && lone.sent(2, r#""reply_to":"ws://b:1""#));
}

#[test]
fn one_peer_with_many_calls_leaves_room_for_others() {
    let mut lone = Lone::with(|own| {
        own.calls_max = 8;
        own.bridging.federation.requests_per_minute_max = 0;
    });
    lone.meet(1, "ws://b:1", "c2");
    lone.meet(2, "ws://d:1", "c4");
    (0..20).for_each(|n| lone.request(1, &format!("b{n}"), "here", "ws://b:1", json!({})));
    assert_eq!(lone.executions().len(), 6);
    assert_eq!(lone.refused(Reason::PendingCallsLimit), 14);
    lone.request(2, "d", "here", "ws://d:1", json!({}));
    let (execution, _) = lone.executions()[0];
    lone.tell(Event::CallDone { execution, outcome: Ok(raw("1")) });
    assert!(lone.sent(2, "rpc-response"));
    // Those that only pass through are bounded alike.
    let to_d = |n: usize| {
        json!({"kind": "rpc-request", "request_id": format!("p{n}"), "command": "far", "args": [], "kwargs": {},
            "reply_to": "ws://b:1", "target_cluster": "c4", "target_node": "ws://d:1"})
    };
    lone.out.clear();
    (0..20).for_each(|n| lone.message(1, "rpc", to_d(n), json!({"routing_path": ["ws://b:1"]})));
    assert_eq!(lone.refused(Reason::PendingCallsLimit), 14);
    // With the link they went over, all places come back.
    lone.tell(Event::LinkClosed { link: LinkId(2) });
    lone.meet(3, "ws://d:1", "c4");
    lone.out.clear();
    (20..40).for_each(|n| lone.message(1, "rpc", to_d(n), json!({"routing_path": ["ws://b:1"]})));
    assert_eq!(lone.refused(Reason::PendingCallsLimit), 14);
}
