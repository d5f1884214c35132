//! The log: lines for machines, and not more of them than a disk can bear.

use serde_json::{Value, json};

use super::kit::*;

#[test]
fn json_lines_are_objects_with_time_level_node_module_and_message() {
    let text = "[node]\nname = \"n \\\"1\\\"\"\n[log]\nformat = \"json\"\nlevel = \"debug\"\n".to_owned()
        + &function("t.fail", "");
    let node = Node::start(&text);
    run(async |_| {
        let mut wire = node.wire().await;
        wire.send_text("{ \"no\njson").await;
        wire.closed().await;
        node.logged_text("bad_frame");
        assert_eq!(node.wire().await.call("t.fail", json!(["a\nb"])).await["error"]["code"], 1003);
    });
    node.logged_text("\"message\":\"listening on");
    for line in node.log() {
        let parsed: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line}: {e}"));
        let members = ["time", "level", "node", "module", "message"];
        assert!(members.iter().all(|member| parsed[member].is_string()), "{line}");
        assert_eq!(parsed["node"], "n \"1\"");
        assert!(parsed["time"].as_str().unwrap().ends_with('Z'), "{line}");
    }
    let refused = node.logged_text("bad_frame");
    let refused: Value = serde_json::from_str(&refused).unwrap();
    assert_eq!((&refused["level"], &refused["reason"]), (&json!("warn"), &json!("bad_frame")), "{refused}");
    assert!(refused["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{refused}");
    node.stop();
}

#[test]
fn a_flood_of_bad_messages_is_held_back() {
    let node = Node::start("");
    run(async |_| {
        let mut wire = node.wire().await;
        for n in 0..500 {
            wire.send(json!({"role": "nonsense", "u": n.to_string()})).await;
        }
        for n in 0..500 {
            let answer = wire.next().await;
            assert_eq!((&answer["u"], &answer["error"]["code"]), (&json!(n.to_string()), &json!(1004)));
        }
        assert_eq!(wire.call("echo", json!([1])).await["r"]["c"], 1);
        // Another kind is told at once, and comes after what there was of the first.
        wire.send(json!({"role": "rpc", "u": "x"})).await;
        node.logged_text("reason=bad_request");
        let lines = node.count_logged("reason=unknown_role");
        assert!((1..=20).contains(&lines), "{lines}");
    });
}

#[test]
fn a_stranger_cannot_write_lines_of_its_own() {
    let node = Node::start("");
    run(async |_| {
        let mut wire = node.wire().await;
        let role = "x\n2026-01-01T00:00:00.000Z INFO  forged\u{1b}[2J";
        assert_eq!(wire.ask(json!({"role": role, "u": "1"})).await["error"]["code"], 1004);
        let line = node.logged_text("reason=unknown_role");
        assert!(line.contains("WARN") && line.contains("forged") && !line.contains('\u{1b}'), "{line}");
    });
}
