//! Calls over one connection: what is answered, with which code, and that a connection survives what can be answered.

use std::time::Duration;

use mpreg::client::{CallOptions, ClientError};
use mpreg::core::error::CallError;
use serde_json::{Map, Value, json};

use super::kit::*;

/// Code, message and details of an answer that is an error.
fn error(answer: &Value) -> (i64, String, String) {
    let error = &answer["error"];
    assert!(answer["r"].is_null(), "{answer}");
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    (error["code"].as_i64().unwrap_or_default(), text(&error["message"]), text(&error["details"]))
}

fn answered(outcome: Result<Box<serde_json::value::RawValue>, ClientError>) -> CallError {
    match outcome {
        Err(ClientError::Answered { error, .. }) => *error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn echo_and_echos_give_back_what_they_got() {
    let node = Node::start("");
    run(async |ex| {
        let mut wire = node.wire().await;
        let value = json!({"a": [1, 2.5, null, "ü"], "b": {"c": true}});
        let answer = wire.call("echo", json!([value])).await;
        assert_eq!((&answer["u"], &answer["error"]), (&json!("1"), &Value::Null), "{answer}");
        assert_eq!(answer["r"], json!({ "c": value }));
        assert_eq!(wire.call("echos", json!([1, "2", [3]])).await["r"]["c"], json!([1, "2", [3]]));
        let client = node.client(&ex).await;
        let got = client.call("echo", &["x"], &Map::new(), &CallOptions::default()).await.unwrap();
        assert_eq!(got.get(), "\"x\"");
        client.close().await;
        let wrong = error(&wire.call("echo", json!([1, 2])).await);
        assert_eq!((wrong.0, wrong.1.as_str()), (1003, "RPC execution failed"));
        assert!(wrong.2.contains("echo() takes exactly one argument") && wrong.2.contains("2 were given"));
        wire.leave().await;
    });
    node.stop();
}

#[test]
fn commands_run_in_levels_and_refer_to_results() {
    let node = Node::start(&function("t.add", ""));
    run(async |_| {
        let mut wire = node.wire().await;
        let commands = json!([
            command("sum", "t.add", json!(["a", "b"])),
            command("a", "echo", json!([20])),
            command("b", "t.add", json!([1, 2])),
            command("last", "echos", json!(["sum", "plain", "m.x"])),
            command("m", "echo", json!([{"x": [7]}])),
        ]);
        let mut asked = request("levels", commands);
        asked["return_intermediate_results"] = json!(true);
        asked["include_execution_summary"] = json!(true);
        let answer = wire.ask(asked).await;
        assert_eq!(answer["u"], "levels");
        assert_eq!(answer["r"], json!({"last": [23, "plain", [7]]}), "{answer}");
        assert_eq!(answer["intermediate_results"].as_array().unwrap().len(), 3, "{answer}");
        assert_eq!(answer["execution_summary"]["parallel_commands_executed"], 5, "{answer}");
    });
}

#[test]
fn results_of_levels_are_published_where_the_client_wants_them() {
    let node = Node::start(&function("t.add", ""));
    run(async |_| {
        let (mut wire, mut watcher) = (node.wire().await, node.wire().await);
        watcher.subscribe("s", "progress.#", 0).await;
        let commands = json!([command("a", "t.add", json!([1])), command("b", "echo", json!(["a"]))]);
        let mut asked = request("levels", commands);
        asked["return_intermediate_results"] = json!(true);
        asked["intermediate_result_callback_topic"] = json!("progress.of.me");
        assert_eq!(wire.ask(asked.clone()).await["r"], json!({"b": 1}));
        for (level, results) in [json!({"a": 1}), json!({"b": 1})].into_iter().enumerate() {
            let message = watcher.next().await["message"].clone();
            assert_eq!(message["topic"], "progress.of.me");
            assert_eq!(
                (&message["payload"]["level_index"], &message["payload"]["level_results"]),
                (&json!(level), &results)
            );
        }
        asked["intermediate_result_callback_topic"] = json!("mpreg.forged");
        let (code, _, details) = error(&wire.ask(asked).await);
        assert!(code == 1003 && details.contains("belongs to the nodes"), "{code} {details}");
    });
}

#[test]
fn what_is_not_there_is_1001_and_says_what_is() {
    let node = Node::start(&function(
        "t.add",
        "version = \"1.4.0\"\nid = \"add-id\"\nresources = [\"cpu\", \"ram\"]",
    ));
    run(async |_| {
        let mut wire = node.wire().await;
        let mut ask = async |more: Value| {
            let mut command = command("c", "t.add", json!([1]));
            command.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let answer = wire.ask(request("1", json!([command]))).await;
            if answer["error"].is_null() {
                (0, answer["r"].to_string(), String::new())
            } else {
                error(&answer)
            }
        };
        for (more, offered) in [
            (json!({"fun": "t.sub"}), "Command not found: t.sub"),
            (json!({"version_constraint": ">=2"}), "no endpoint has version >=2; offered: 1.4.0"),
            (json!({"locs": ["gpu"]}), "no endpoint has the resources gpu; offered: cpu+ram"),
            (json!({"target_cluster": "other"}), "no endpoint is in cluster other; offered: default-cluster"),
            (json!({"function_id": "sub-id"}), "no endpoint has function_id sub-id; offered: add-id"),
        ] {
            let (code, message, details) = ask(more).await;
            assert_eq!((code, message.as_str()), (1001, "Command not found"), "{details}");
            assert!(details.contains(offered), "{details}");
        }
        let (code, _, details) = ask(json!({"version_constraint": "new"})).await;
        assert!(code == 1003 && details.contains("new"), "{code} {details}");
        let all = json!({"version_constraint": "^1.2", "locs": ["ram"], "function_id": "add-id",
            "target_cluster": "default-cluster"});
        assert_eq!(ask(all).await.1, r#"{"c":1}"#);
    });
}

#[test]
fn a_circle_is_1003_and_names_its_commands() {
    let node = Node::start("");
    run(async |_| {
        let mut wire = node.wire().await;
        let circle = json!([command("one", "echo", json!(["two"])), command("two", "echo", json!(["one"]))]);
        let (code, _, details) = error(&wire.ask(request("c", circle)).await);
        assert!(code == 1003 && details.contains("one") && details.contains("two"), "{code} {details}");
        assert_eq!(wire.call("echo", json!([1])).await["r"]["c"], 1);
    });
}

#[test]
fn malformed_requests_are_answered_with_their_u_and_the_connection_survives() {
    let node = Node::start("");
    run(async |_| {
        let mut wire = node.wire().await;
        for (bad, member) in [
            (json!({"role": "rpc", "u": "b"}), "cmds"),
            (json!({"role": "rpc", "u": "b", "cmds": 7}), "cmds"),
            (json!({"role": "rpc", "u": "b", "cmds": []}), "cmds"),
            (json!({"role": "rpc", "u": "b", "cmds": [{"name": "n"}]}), "cmds[0].fun"),
            (
                json!({"role": "rpc", "u": "b", "cmds": [{"name": "n", "fun": "echo", "args": 1}]}),
                "cmds[0].args",
            ),
            (json!({"role": "rpc", "u": "b", "cmds": [], "timeout_seconds": -1}), "timeout_seconds"),
        ] {
            let answer = wire.ask(bad).await;
            assert_eq!(answer["u"], "b");
            let (code, _, details) = error(&answer);
            assert!(code == 1003 && details.contains(member), "{member}: {details}");
        }
        let (code, message, _) = error(&wire.ask(json!({"role": "dance", "u": "r"})).await);
        assert_eq!((code, message.as_str()), (1004, "Invalid RPC request role: dance"));
        let answer = wire.ask(json!({"role": "pubsub-subscribe", "u": "s", "subscription": {}})).await;
        assert_eq!((&answer["operation_id"], &answer["success"]), (&json!("s"), &json!(false)), "{answer}");
        assert_eq!(wire.call("echo", json!([1])).await["r"]["c"], 1);
        node.logged_text("reason=bad_request");
        node.logged_text("reason=unknown_role");
    });
}

#[test]
fn what_cannot_be_answered_ends_its_connection_with_a_reason() {
    let node = Node::start("");
    run(async |_| {
        let mut other = node.wire().await;
        for (bad, reason) in [
            ("{\"role\":", ""),
            ("no json", ""),
            ("[1]", "a message must be an object, not an array"),
            ("{\"role\":\"rpc\",\"cmds\":[]}", "a message without u"),
            ("{\"role\":\"rpc\",\"u\":5,\"cmds\":[]}", "u must be a string"),
        ] {
            let mut wire = node.wire().await;
            wire.send(request("before", json!([command("c", "echo", json!([1]))]))).await;
            wire.send_text(bad).await;
            assert_eq!(wire.next().await["u"], "before", "what came before is still answered");
            let (code, text) = wire.closed().await;
            assert!(code == 1008 && text.contains(reason) && !text.is_empty(), "{bad}: {code} {text}");
        }
        assert_eq!(other.call("echo", json!([1])).await["r"]["c"], 1, "others are unaffected");
        node.logged_text("reason=bad_frame");
    });
}

#[test]
fn requests_of_one_connection_run_side_by_side() {
    let node = Node::start(&(function("t.slow", "") + &function("t.release", "")));
    run(async |_| {
        let mut wire = node.wire().await;
        wire.send(request("slow", json!([command("c", "t.slow", json!(["x"]))]))).await;
        let answer = wire.ask(request("quick", json!([command("c", "echo", json!([1]))]))).await;
        assert_eq!(answer["u"], "quick");
        node.logged_text("slow x begins");
        wire.send(request("release", json!([command("c", "t.release", json!([]))]))).await;
        let mut both = [wire.next().await["u"].clone(), wire.next().await["u"].clone()];
        both.sort_by_key(|u| u.to_string());
        assert_eq!(both, ["release", "slow"]);
    });
}

#[test]
fn a_client_that_waits_no_longer_cancels_the_work() {
    let node = Node::start(&function("t.slow", ""));
    run(async |ex| {
        let client = node.client(&ex).await;
        // Starts the worker, so that the limit covers the call alone.
        node.logged_text(" runs");
        let mut wire = node.wire().await;
        let mut asked = request("1", json!([command("c", "t.slow", json!(["timed"]))]));
        asked["timeout_seconds"] = json!(0.5);
        let (code, _, details) = error(&wire.ask(asked).await);
        assert!(code == 1004 && details.contains("t.slow"), "{code} {details}");
        node.logged_text("slow timed is cancelled");
        let options = CallOptions { timeout: Some(Duration::from_millis(500)), ..CallOptions::default() };
        let outcome = client.call("t.slow", &["client"], &Map::new(), &options).await;
        assert_eq!(answered(outcome).code, 1004);
        node.logged_text("slow client is cancelled");
    });
}

#[test]
fn a_client_that_leaves_cancels_its_calls() {
    let node = Node::start(&function("t.slow", ""));
    run(async |_| {
        let mut wire = node.wire().await;
        wire.send(request("1", json!([command("c", "t.slow", json!(["left"]))]))).await;
        node.logged_text("slow left begins");
        wire.leave().await;
        node.logged_text("slow left is cancelled");
        let mut wire = node.wire().await;
        wire.send(request("1", json!([command("c", "t.slow", json!(["gone"]))]))).await;
        node.logged_text("slow gone begins");
        drop(wire);
        node.logged_text("slow gone is cancelled");
    });
}

#[test]
fn calls_under_way_are_limited_and_places_come_back() {
    let text =
        "[limits]\npending_calls_max = 2\n".to_owned() + &function("t.slow", "") + &function("t.add", "");
    let node = Node::start(&text);
    run(async |_| {
        let (mut one, mut two) = (node.wire().await, node.wire().await);
        one.send(request("1", json!([command("c", "t.slow", json!(["a"]))]))).await;
        one.send(request("2", json!([command("c", "t.slow", json!(["b"]))]))).await;
        node.logged_text("slow a begins");
        node.logged_text("slow b begins");
        let (code, _, details) = error(&two.call("t.add", json!([1])).await);
        assert!(code == 1003 && details.contains("limits.pending_calls_max"), "{code} {details}");
        assert_eq!(two.call("echo", json!([1])).await["r"]["c"], 1, "what waits for nothing needs no place");
        one.leave().await;
        eventually("a free place", async || two.call("t.add", json!([1, 2])).await["r"]["c"] == 3).await;
        let many = json!([
            command("a", "t.add", json!([])),
            command("b", "t.add", json!([])),
            command("c", "t.add", json!([]))
        ]);
        assert_eq!(error(&two.ask(request("m", many)).await).0, 1003);
        assert_eq!(two.call("t.add", json!([2, 2])).await["r"]["c"], 4, "a refusal takes no place");
    });
}

#[test]
fn an_answer_above_the_message_size_is_an_error() {
    let node = Node::start(&("[listen]\nmax_message = \"64KiB\"\n".to_owned() + &function("t.size", "")));
    run(async |_| {
        let mut wire = node.wire().await;
        let (code, _, details) = error(&wire.call("t.size", json!([100_000])).await);
        assert!(code == 1003 && details.contains("65536"), "{code} {details}");
        let answer = wire.call("t.size", json!([60_000])).await;
        assert_eq!(answer["r"]["c"].as_str().map(str::len), Some(60_000));
    });
}

#[test]
fn a_client_that_reads_late_gets_every_answer() {
    let node = Node::start("[limits]\noutbound_per_link = \"64KiB\"\n");
    run(async |_| {
        let mut wire = node.wire().await;
        let value = "x".repeat(30_000);
        for n in 0..60 {
            wire.send(request(&n.to_string(), json!([command("c", "echo", json!([value]))]))).await;
        }
        let mut other = node.wire().await;
        assert_eq!(other.call("echo", json!([1])).await["r"]["c"], 1);
        for n in 0..60 {
            let answer = wire.next().await;
            assert_eq!((&answer["u"], &answer["r"]["c"]), (&json!(n.to_string()), &json!(value)));
        }
    });
}
