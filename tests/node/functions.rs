//! Functions in worker processes, as callers see them.

use serde_json::json;

use super::kit::*;

#[test]
fn arguments_reach_the_worker_as_they_were_sent() {
    let node = Node::start(&function("t.given", ""));
    run(async |_| {
        let mut wire = node.wire().await;
        let mut asked = command("c", "t.given", json!([1, {"a": "ü"}, null]));
        asked["kwargs"] = json!({"k": [1.5]});
        let answer = wire.ask(request("1", json!([asked]))).await;
        assert_eq!(
            answer["r"]["c"],
            json!({"args": [1, {"a": "ü"}, null], "kwargs": {"k": [1.5]}}),
            "{answer}"
        );
    });
}

#[test]
fn functions_of_one_command_share_their_process_and_are_listed() {
    let text =
        function("t.pid", "version = \"2.1.0\"\nsummary = \"who\"\ntags = [\"x\"]") + &function("u.pid", "");
    let node = Node::start(&text);
    run(async |_| {
        let mut wire = node.wire().await;
        let pid = wire.call("t.pid", json!([])).await["r"]["c"].clone();
        assert!(pid.is_u64());
        assert_eq!(wire.call("u.pid", json!([])).await["r"]["c"], pid);
        let answer = wire.call("rpc_list", json!([])).await;
        let items = answer["r"]["c"]["items"].as_array().unwrap().clone();
        let listed = items.iter().find(|item| item.to_string().contains("t.pid")).unwrap().to_string();
        assert!(listed.contains("2.1.0") && listed.contains("who"), "{listed}");
    });
}

#[test]
fn a_worker_that_crashes_fails_its_calls_at_once_and_comes_back() {
    let more = "restart_backoff = \"50ms\"";
    let node = Node::start(&(function("t.die", more) + &function("t.slow", more) + &function("t.pid", more)));
    run(async |_| {
        let (mut wire, mut other) = (node.wire().await, node.wire().await);
        let before = wire.call("t.pid", json!([])).await["r"]["c"].clone();
        other.send(request("o", json!([command("c", "t.slow", json!(["victim"]))]))).await;
        node.logged_text("slow victim begins");
        for answer in [wire.call("t.die", json!([])).await, other.next().await] {
            assert_eq!(answer["error"]["code"], 1003, "{answer}");
            let details = answer["error"]["details"].as_str().unwrap();
            assert!(details.contains("exited with status 3"), "{details}");
        }
        node.logged_text("exited with status 3; it is started again in");
        eventually("a new process", async || {
            let pid = wire.call("t.pid", json!([])).await["r"]["c"].clone();
            pid.is_u64() && pid != before
        })
        .await;
    });
}

#[test]
fn a_worker_that_cannot_be_started_is_said_to_callers_and_in_the_log() {
    let text = "[[function]]\nname = \"t.none\"\ncommand = [\"/nowhere/worker\"]\n[[function]]\nname = \"t.ends\"\n\
                command = [\"/bin/sh\", \"-c\", \"exit 7\"]\n";
    let node = Node::start(text);
    run(async |_| {
        node.logged_text("/nowhere/worker");
        let mut wire = node.wire().await;
        eventually("a refusal", async || {
            let answer = wire.call("t.none", json!([])).await;
            assert_eq!(answer["error"]["code"], 1003, "{answer}");
            let details = answer["error"]["details"].as_str().unwrap().to_owned();
            details.contains("t.none") || details.contains("worker")
        })
        .await;
        node.logged_text("exited with status 7");
        let answer = wire.call("t.ends", json!([])).await;
        assert_eq!(answer["error"]["code"], 1003, "{answer}");
        assert_eq!(wire.call("echo", json!([1])).await["r"]["c"], 1);
    });
}

#[test]
fn what_is_no_answer_is_quoted_and_passed_over() {
    let node = Node::start(&(function("t.garbage", "") + &function("t.fail", "")));
    run(async |_| {
        let mut wire = node.wire().await;
        assert_eq!(wire.call("t.garbage", json!([])).await["r"]["c"], "after garbage");
        let line = node.logged_text("this is no JSON");
        assert!(line.contains("wrote what is no answer"), "{line}");
        let answer = wire.call("t.fail", json!(["with reason"])).await;
        assert_eq!(answer["error"]["code"], 1003);
        assert!(answer["error"]["details"].as_str().unwrap().contains("ValueError: with reason"), "{answer}");
    });
}

#[test]
fn a_worker_has_at_most_in_flight_max_calls_and_the_rest_waits() {
    let more = "in_flight_max = 1";
    let node = Node::start(&["t.slow", "t.release", "t.pid"].map(|name| function(name, more)).concat());
    run(async |_| {
        let mut wire = node.wire().await;
        for name in ["first", "second"] {
            wire.send(request(name, json!([command("c", "t.slow", json!([name]))]))).await;
        }
        node.logged_text("slow first begins");
        // The same process serves it, so what was sent to the worker before has been read by now.
        wire.send(request("r", json!([command("c", "t.pid", json!([]))]))).await;
        assert_eq!(wire.next().await["u"], "r");
        assert_eq!(node.count_logged("slow second begins"), 0);
        wire.send(request("r2", json!([command("c", "t.release", json!([]))]))).await;
        for _ in 0..3 {
            assert!(wire.next().await["error"].is_null());
        }
        node.logged_times("slow second begins", 1).await;
    });
}

#[test]
fn the_timeout_of_a_function_holds_where_the_client_names_none() {
    let node = Node::start(&(function("t.slow", "timeout = \"300ms\"") + &function("t.pid", "")));
    run(async |_| {
        let mut wire = node.wire().await;
        assert!(wire.call("t.pid", json!([])).await["r"]["c"].is_u64());
        let answer = wire.call("t.slow", json!(["long"])).await;
        assert_eq!(answer["error"]["code"], 1004, "{answer}");
        node.logged_text("slow long is cancelled");
    });
}
