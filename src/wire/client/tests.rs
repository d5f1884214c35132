use proptest::prelude::*;

use super::answer::FromNode;
use super::*;

fn rpc(frame: &str) -> RpcRequest<'_> {
    match read(frame.as_bytes()) {
        Ok(Message::Rpc(request)) => request,
        other => panic!("{frame}: {other:?}"),
    }
}

fn publish(frame: &str) -> Publish<'_> {
    match read(frame.as_bytes()) {
        Ok(Message::Publish(publish)) => publish,
        other => panic!("{frame}: {other:?}"),
    }
}

fn malformed(frame: &str) -> Malformed<'_> {
    match read(frame.as_bytes()) {
        Ok(Message::Malformed(malformed)) => malformed,
        other => panic!("{frame}: {other:?}"),
    }
}

fn answered(frame: &str) -> String {
    let mut out = Vec::new();
    match read(frame.as_bytes()) {
        Ok(Message::Malformed(malformed)) => malformed.answer(&mut out),
        Ok(Message::UnknownRole(unknown)) => unknown.answer(&mut out),
        other => panic!("{frame}: {other:?}"),
    }
    String::from_utf8(out).unwrap()
}

fn with_command(members: &str) -> String {
    format!(r#"{{"role":"rpc","u":"b-1","cmds":[{{"name":"c1","fun":"echo","args":[1]{members}}}]}}"#)
}

fn with_message(members: &str) -> String {
    format!(r#"{{"role":"pubsub-publish","u":"b-1","message":{{{members}}}}}"#)
}

const MESSAGE: &str = r#""topic":"t","payload":1,"timestamp":1.0,"message_id":"m","publisher":"k""#;

#[test]
fn defaults_of_a_request() {
    let request = rpc(r#"{"role":"rpc","u":"","cmds":[{"name":"","fun":"f"}]}"#);
    let command = &request.commands[0];
    assert_eq!((&*request.u, &*command.name, &*command.fun), ("", "", "f"));
    assert_eq!((command.args().get(), command.kwargs().get()), ("[]", "{}"));
    assert!(command.locs.is_empty() && command.function_id.is_none() && request.timeout_seconds.is_none());
    assert!(!request.return_intermediate_results && !request.include_execution_summary);
}

#[test]
fn texts_are_borrowed_and_values_stay_as_they_came() {
    let frame = r#"{"role":"rpc","u":"u-1","cmds":[{"name":"c1","fun":"f","args":[ 1,{"a": 1e2} ],"kwargs":{"k" :[]}}]}"#;
    let request = rpc(frame);
    let command = &request.commands[0];
    assert!(matches!((&request.u, &command.name), (Cow::Borrowed("u-1"), Cow::Borrowed("c1"))));
    assert_eq!((command.args().get(), command.kwargs().get()), (r#"[ 1,{"a": 1e2} ]"#, r#"{"k" :[]}"#));
}

#[test]
fn null_and_the_empty_text_mean_not_given() {
    for nothing in ["null", "\"\""] {
        let frame = with_command(&format!(
            r#","function_id":{nothing},"version_constraint":{nothing},"target_cluster":{nothing},"routing_topic":{nothing}"#
        ));
        let command = rpc(&frame).commands[0].clone();
        assert_eq!(
            (command.function_id, command.version_constraint, command.target_cluster),
            (None, None, None)
        );
    }
}

#[test]
fn of_equal_names_the_last_counts_at_every_level() {
    let request = rpc(
        r#"{"role":"bogus","role":"rpc","u":"first","u":"second","cmds":5,"cmds":[{"name":"c1","fun":"nope","fun":"echo","args":"x","args":[2]}]}"#,
    );
    assert_eq!((&*request.u, &*request.commands[0].fun), ("second", "echo"));
    assert_eq!(request.commands[0].args().get(), "[2]");
    let frame = with_message(
        r#""topic":5,"topic":"t","payload":1,"payload":2,"timestamp":"now","timestamp":1.0,"message_id":"m","publisher":"k""#,
    );
    assert_eq!((&*publish(&frame).topic, publish(&frame).payload.get()), ("t", "2"));
}

#[test]
fn resources_are_a_set() {
    assert_eq!(rpc(&with_command(r#","locs":["gpu","big","gpu"]"#)).commands[0].locs, ["big", "gpu"]);
}

#[test]
fn names_may_be_written_with_escapes() {
    let request = rpc(r#"{"r\u006fle":"rp\u0063","u":"\u00fc\"","cmds":[{"n\u0061me":"c\n","fun":"f"}]}"#);
    assert_eq!((&*request.u, &*request.commands[0].name), ("ü\"", "c\n"));
}

#[test]
fn flags_accept_what_the_reference_accepts() {
    for (value, is) in
        [("true", true), ("1", true), ("1.0", true), ("\"yes\"", true), ("\"TRUE\"", true), ("\"on\"", true)]
            .into_iter()
            .chain([("false", false), ("0", false), ("\"no\"", false), ("\"f\"", false), ("\"Off\"", false)])
    {
        let frame = format!(r#"{{"role":"rpc","u":"b-1","cmds":[],"include_execution_summary":{value}}}"#);
        assert_eq!(rpc(&frame).include_execution_summary, is, "{value}");
    }
}

#[test]
fn numbers_accept_what_the_reference_accepts() {
    for (value, is) in
        [("0", 0.0), ("1.5", 1.5), ("\"12.5\"", 12.5), ("-7.0", -7.0), ("4e9", 4e9), ("true", 1.0)]
    {
        let frame = with_message(&MESSAGE.replace("1.0", value));
        assert_eq!(publish(&frame).timestamp, is);
    }
    for (value, is) in [("300", 300), ("2.0", 2), ("\"5\"", 5), ("\" 5 \"", 5), ("-1", -1)] {
        let frame = format!(
            r#"{{"role":"pubsub-subscribe","u":"s","subscription":{{"subscription_id":"i","patterns":[],"subscriber":"k","created_at":1,"backlog_seconds":{value}}}}}"#
        );
        let Ok(Message::Subscribe(subscribe)) = read(frame.as_bytes()) else { panic!("{value}") };
        assert_eq!(subscribe.backlog_seconds, is);
    }
}

#[test]
fn a_client_may_name_its_deadline() {
    assert_eq!(rpc(r#"{"role":"rpc","u":"","cmds":[],"timeout_seconds":2}"#).timeout_seconds, Some(2.0));
    assert_eq!(rpc(r#"{"role":"rpc","u":"","cmds":[],"timeout_seconds":null}"#).timeout_seconds, None);
    assert_eq!(malformed(r#"{"role":"rpc","u":"","cmds":[],"timeout_seconds":0}"#).member, "timeout_seconds");
}

#[test]
fn malformed_requests_name_the_member() {
    let commands = [
        (r#","args":"x""#, "cmds[0].args"),
        (r#","args":null"#, "cmds[0].args"),
        (r#","args":{"arg":1}"#, "cmds[0].args"),
        (r#","kwargs":null"#, "cmds[0].kwargs"),
        (r#","kwargs":[1]"#, "cmds[0].kwargs"),
        (r#","locs":null"#, "cmds[0].locs"),
        (r#","locs":"gpu""#, "cmds[0].locs"),
        (r#","locs":[1]"#, "cmds[0].locs"),
        (r#","name":1"#, "cmds[0].name"),
        (r#","name":null"#, "cmds[0].name"),
        (r#","name":"\ud800""#, "cmds[0].name"),
        (r#","fun":["echo"]"#, "cmds[0].fun"),
        (r#","function_id":5"#, "cmds[0].function_id"),
        (r#","version_constraint":[]"#, "cmds[0].version_constraint"),
        (r#","target_cluster":{}"#, "cmds[0].target_cluster"),
        (r#"},null,{"name":5"#, "cmds[1]"),
        (r#"},{"name":"c2""#, "cmds[1].fun"),
        (r#"},{"fun":"c2""#, "cmds[1].name"),
    ];
    for (members, at) in commands {
        let frame = with_command(members);
        let fault = malformed(&frame);
        assert_eq!((fault.member.as_str(), fault.role, &*fault.u), (at, Role::Rpc, "b-1"), "{}", fault.text);
        assert!(fault.text.starts_with(at), "{}", fault.text);
    }
    let requests = [
        ("", "cmds"),
        (r#","cmds":null"#, "cmds"),
        (r#","cmds":{}"#, "cmds"),
        (r#","cmds":"echo""#, "cmds"),
        (r#","cmds":["echo"]"#, "cmds[0]"),
        (r#","cmds":[[],5]"#, "cmds[0]"),
        (r#","cmds":[{}]"#, "cmds[0].name"),
        (r#","cmds":[],"return_intermediate_results":"perhaps""#, "return_intermediate_results"),
        (r#","cmds":[],"include_execution_summary":[]"#, "include_execution_summary"),
        (r#","cmds":[],"debug_mode":2"#, "debug_mode"),
    ];
    for (members, at) in requests {
        assert_eq!(malformed(&format!(r#"{{"role":"rpc","u":"b-1"{members}}}"#)).member, at);
    }
}

#[test]
fn malformed_messages_name_the_member() {
    let message = |name: &str, value: &str| {
        let kept = MESSAGE.split(',').filter(|member| !member.starts_with(&format!("\"{name}\"")));
        let value = (!value.is_empty()).then(|| format!("\"{name}\":{value}"));
        with_message(&kept.map(str::to_owned).chain(value).collect::<Vec<_>>().join(","))
    };
    let faults = [
        ("topic", ""),
        ("topic", "5"),
        ("payload", ""),
        ("timestamp", ""),
        ("timestamp", "\"now\""),
        ("timestamp", "\"nan\""),
        ("message_id", "7"),
        ("publisher", ""),
        ("headers", "null"),
        ("headers", "[]"),
        ("routing_path", "[1]"),
        ("current_hop", "1.5"),
    ];
    for (name, value) in faults {
        assert_eq!(malformed(&message(name, value)).member, format!("message.{name}"), "{value}");
    }
    assert_eq!(publish(&message("payload", "null")).payload.get(), "null");
    for value in ["", r#","message":null"#, r#","message":"hi""#] {
        assert_eq!(malformed(&format!(r#"{{"role":"pubsub-publish","u":"b-1"{value}}}"#)).member, "message");
    }
    let subscription = |members: &str| {
        malformed(&format!(
            r#"{{"role":"pubsub-subscribe","u":"b-1","subscription":{{"subscription_id":"s","patterns":[],"subscriber":"k","created_at":1{members}}}}}"#
        ))
        .member
    };
    assert_eq!(subscription(r#","patterns":null"#), "subscription.patterns");
    assert_eq!(subscription(r#","patterns":["b.x"]"#), "subscription.patterns[0]");
    assert_eq!(subscription(r#","patterns":[{"pattern":"a"},{}]"#), "subscription.patterns[1].pattern");
    assert_eq!(subscription(r#","patterns":[{"pattern":1}]"#), "subscription.patterns[0].pattern");
    assert_eq!(subscription(r#","subscription_id":3"#), "subscription.subscription_id");
    assert_eq!(subscription(r#","backlog_seconds":1.5"#), "subscription.backlog_seconds");
    assert_eq!(subscription(r#","get_backlog":"perhaps""#), "subscription.get_backlog");
    assert_eq!(malformed(r#"{"role":"pubsub-unsubscribe","u":"b-1"}"#).member, "subscription_id");
}

#[test]
fn lists_have_a_bound() {
    let list = |item: &str, count: usize| vec![item; count].join(",");
    let most = format!(
        r#"{{"role":"rpc","u":"b","cmds":[{}]}}"#,
        list(r#"{"name":"c","fun":"f"}"#, scalar::ITEMS_MAX)
    );
    assert_eq!(rpc(&most).commands.len(), scalar::ITEMS_MAX);
    let cmds = format!(r#"{{"role":"rpc","u":"b","cmds":[{}]}}"#, list("{}", 1_000_000));
    assert!(malformed(&cmds).text.contains("10000"));
    let locs = with_command(&format!(r#","locs":[{}]"#, list("\"\"", 1_000_000)));
    assert!(malformed(&locs).text.contains("10000"));
    let patterns = format!(
        r#"{{"role":"pubsub-subscribe","u":"b","subscription":{{"subscription_id":"s","patterns":[{}],"subscriber":"k","created_at":1}}}}"#,
        list("{}", 1_000_000)
    );
    assert!(malformed(&patterns).text.contains("10000"));
}

#[test]
fn malformed_messages_can_be_answered() {
    assert_eq!(
        answered(r#"{"role":"rpc","u":"b-1"}"#),
        r#"{"r":null,"error":{"code":1003,"message":"RPC execution failed","details":"cmds is missing"},"u":"b-1","intermediate_results":[],"execution_summary":null}"#
    );
    assert_eq!(
        answered(r#"{"role":"pubsub-unsubscribe","u":"b-1","subscription_id":4}"#),
        r#"{"role":"pubsub-ack","operation_id":"b-1","success":false,"error":"subscription_id must be a string, not 4","u":"ack_b-1"}"#
    );
    let long = format!(r#"{{"role":"rpc","u":"b","cmds":[{{"name":{}}}]}}"#, "1".repeat(10_000));
    assert!(malformed(&long).text.len() < 200);
}

#[test]
fn unknown_roles_are_answered_with_1004() {
    let long = "a".repeat(2000);
    for role in ["bogus", "RPC", "rpc ", "", "rpc-response", "pubsub-ack", "rôle", &long] {
        assert_eq!(
            answered(&format!(r#"{{"role":"{role}","u":"b-9"}}"#)),
            format!(
                r#"{{"r":null,"error":{{"code":1004,"message":"Invalid RPC request role: {role}","details":null}},"u":"b-9","intermediate_results":[],"execution_summary":null}}"#
            )
        );
    }
    for frame in [r#"{"u":"b-9"}"#, r#"{"u":"b-9","role":null}"#] {
        assert!(answered(frame).contains(r#""Invalid RPC request role: None""#));
    }
    assert!(answered(r#"{"role":"bogus"}"#).contains(r#""u":"unknown""#));
}

#[test]
fn what_cannot_be_answered_is_unreadable() {
    let frames: &[&[u8]] = &[
        b"",
        b"   \n",
        b"hello",
        br#"{"role":"rpc","u":"b-1""#,
        br#"{"role":"rpc"}{"role":"rpc"}"#,
        br#"{"role":"rpc","u":"b-1",}"#,
        b"[]",
        b"5",
        b"null",
        b"\"rpc\"",
        b"{\"role\":\"\xff\xfe\",\"u\":\"b-1\"}",
        b"\xef\xbb\xbf{\"role\":\"rpc\",\"u\":\"b-1\",\"cmds\":[]}",
        b"{\"role\":\"r\x01pc\",\"u\":\"b-1\"}",
        br#"{"role":"rpc","cmds":[]}"#,
        br#"{"role":"rpc","u":5,"cmds":[]}"#,
        br#"{"role":"rpc","u":null,"cmds":[]}"#,
        br#"{"role":"bogus","u":[]}"#,
        br#"{"role":"rpc","u":"b-1","cmds":[{"name":"c1","fun":"echo","args":[NaN]}]}"#,
        br#"{"role":"rpc","u":"b-1","cmds":[{"name":"c1","fun":"echo","args":[01]}]}"#,
        b"{\"role\":\"rpc\",\"u\":\"b-1\",\"cmds\":[{\"name\":\"c1\",\"fun\":\"echo\",\"args\":[\"a\tb\"]}]}",
    ];
    for frame in frames {
        assert!(read(frame).is_err(), "{}", String::from_utf8_lossy(frame));
    }
    for bytes in [b"[".repeat(100_000), b"{\"a\":".repeat(50_000), b"1".repeat(100_000)] {
        assert!(read(&bytes).is_err());
    }
}

#[test]
fn deep_nesting_costs_no_stack() {
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let frame = with_command(&format!(r#","args":[1],"unknown":{deep}"#));
    assert_eq!(rpc(&frame).commands[0].args().get(), "[1]");
    let objects = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    for (frame, member) in [
        (with_command(&format!(r#","args":[{deep}]"#)), "cmds[0].args"),
        (with_command(&format!(r#","kwargs":{{"k":{deep}}}"#)), "cmds[0].kwargs"),
        (with_message(&format!("{MESSAGE},\"headers\":{objects}")), "message.headers"),
    ] {
        let Ok(Message::Malformed(fault)) = read(frame.as_bytes()) else { panic!() };
        assert_eq!(fault.member, member);
    }
    for place in ["cmds", "message", "u", "role", "server"] {
        let _ = read(format!(r#"{{"role":"rpc","u":"b","{place}":{deep}}}"#).as_bytes());
    }
}

#[test]
fn messages_of_nodes_keep_their_body_as_text() {
    let Ok(Message::Peer(peer)) = read(br#"{"role":"server","u":"s","server":{"what":"STATUS"}}"#) else {
        panic!()
    };
    assert_eq!((peer.role, peer.server.unwrap().get()), (Role::Server, r#"{"what":"STATUS"}"#));
    let Ok(Message::Peer(peer)) = read(br#"{"role":"fabric-gossip","payload":[1]}"#) else { panic!() };
    assert_eq!((peer.role, peer.u, peer.payload.unwrap().get()), (Role::Gossip, None, "[1]"));
    assert_eq!(role(br#"{"role":"fabric-message"}"#), Some(Role::Fabric));
    assert_eq!((role(b"{}"), role(b"[")), (None, None));
}

#[test]
fn a_notification_is_the_shared_body_and_a_tail() {
    let frame = with_message(
        r#""topic":"a.b","payload":{"a": [1]},"timestamp":12,"message_id":"m\"1","publisher":"p","headers":{"k":"v"},"routing_path":["x"],"current_hop":2.0,"colour":"red""#,
    );
    let message = publish(&frame);
    let body = write::message_body(&message);
    let mut out = Vec::new();
    write::notification(&mut out, &body, &message.message_id, "s1");
    assert_eq!(
        String::from_utf8(out).unwrap(),
        r#"{"role":"pubsub-notification","message":{"topic":"a.b","payload":{"a": [1]},"timestamp":12.0,"message_id":"m\"1","publisher":"p","headers":{"k":"v"},"routing_path":["x"],"current_hop":2},"subscription_id":"s1","u":"notification_m\"1_s1"}"#
    );
    let plain = with_message(MESSAGE);
    let body = write::message_body(&publish(&plain));
    assert_eq!(
        &*body,
        br#"{"topic":"t","payload":1,"timestamp":1.0,"message_id":"m","publisher":"k","headers":{},"routing_path":null,"current_hop":null}"#
    );
    let mut tail = Vec::new();
    write::notification_tail(&mut tail, "backlog_", "m", "ü");
    assert_eq!(String::from_utf8(tail).unwrap(), r#","subscription_id":"ü","u":"backlog_m_ü"}"#);
}

#[test]
fn what_a_node_writes_a_client_reads() {
    let mut out = Vec::new();
    write::response(&mut out, "req-1", [("c1", &b"\"hi\""[..]), ("c\"2", b"[1]")], b"", None);
    assert_eq!(
        String::from_utf8(out.clone()).unwrap(),
        r#"{"r":{"c1":"hi","c\"2":[1]},"error":null,"u":"req-1","intermediate_results":[],"execution_summary":null}"#
    );
    let FromNode::Response(response) = answer::read(&out).unwrap() else { panic!() };
    assert_eq!(response.results().unwrap().get("c\"2").unwrap().get(), "[1]");

    out.clear();
    write::error(&mut out, "ü", &CallError::not_found("f"));
    let FromNode::Response(response) = answer::read(&out).unwrap() else { panic!() };
    assert!(response.results().is_none() && response.u == "ü");
    assert_eq!(response.error.unwrap().details, Some("Command not found: f".into()));

    out.clear();
    write::ack(&mut out, "pub-1", Ok(()));
    assert_eq!(
        String::from_utf8(out.clone()).unwrap(),
        r#"{"role":"pubsub-ack","operation_id":"pub-1","success":true,"error":null,"u":"ack_pub-1"}"#
    );
    assert!(matches!(answer::read(&out), Ok(FromNode::Ack(ack)) if ack.success));

    out.clear();
    write::plain_response(&mut out, "gb-1", b"\"GOODBYE_PROCESSED\"");
    let FromNode::Response(response) = answer::read(&out).unwrap() else { panic!() };
    assert_eq!((response.r.unwrap().get(), response.results().is_none()), ("\"GOODBYE_PROCESSED\"", true));

    assert!(matches!(answer::read(br#"{"role":"fabric-gossip"}"#), Ok(FromNode::Other { .. })));
    assert!(matches!(answer::read(br#"{"role":"rpc-response","u":"x"}"#), Ok(FromNode::Response(_))));
    assert!(answer::read(b"[]").is_err() && answer::read(br#"{"r":1}"#).is_err());
}

proptest! {
    /// A frame with a few bytes changed, cut or doubled is read, refused or unreadable, and never a panic.
    #[test]
    fn damaged_frames_harm_nobody(which in 0usize..3, damage in prop::collection::vec((any::<u16>(), 0u8..4, any::<u8>()), 0..6)) {
        let mut frame = [
            with_command(r#","kwargs":{"a":"\u00e9"},"locs":["x"],"version_constraint":">=1""#),
            with_message(&format!(r#"{MESSAGE},"headers":{{"k":[1.5e3,"\\"]}},"current_hop":2"#)),
            r#"{"role":"pubsub-subscribe","u":"s","subscription":{"subscription_id":"i","patterns":[{"pattern":"a.*"}],"subscriber":"k","created_at":"1.5"}}"#.to_owned(),
        ][which].clone().into_bytes();
        for (at, how, byte) in damage {
            let at = usize::from(at) % frame.len().max(1);
            match how {
                0 if at < frame.len() => frame[at] = byte,
                1 => frame.truncate(at),
                2 => frame.insert(at, byte),
                _ => frame.extend_from_within(at.min(frame.len())..),
            }
        }
        let mut out = Vec::new();
        match read(&frame) {
            Ok(Message::Rpc(request)) => _ = crate::core::rpc::plan::Plan::of(&request.commands),
            Ok(Message::Publish(publish)) => out.extend_from_slice(&write::message_body(&publish)),
            Ok(Message::Malformed(malformed)) => malformed.answer(&mut out),
            Ok(Message::UnknownRole(unknown)) => unknown.answer(&mut out),
            _ => {}
        }
        let _ = answer::read(&frame);
        prop_assert!(out.is_empty() || serde_json::from_slice::<&RawValue>(&out).is_ok());
    }
}
