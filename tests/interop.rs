//! Every message that was captured between clients and a node of the reference is read, and what we would send in its
//! place has the same members in the same order. A file whose members no rule below knows fails the test.

// The list of what the core may not do; this test reads files.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::path::Path;

use mpreg::core::rpc::builtin;
use mpreg::core::rpc::run::{Limits, Next, Run};
use mpreg::core::time::Now;
use mpreg::wire::client::answer::{self, FromNode, IntermediateResult};
use mpreg::wire::client::{self, Message, Role, RpcRequest, write};
use mpreg::wire::json::Json;
use serde_json::{Map, Value};

/// What stands in one member of a sample.
type Rule = fn(&Sample, &Value);

struct Sample {
    file: String,
    members: Map<String, Value>,
}

#[test]
fn every_captured_message_is_read() {
    let samples = samples();
    assert!(samples.len() >= 180, "only {} samples", samples.len());
    for sample in samples {
        for (name, value) in &sample.members {
            let rule = RULES.iter().find(|(known, _)| known == name);
            let Some((_, rule)) = rule else { panic!("{}: no rule for member {name}", sample.file) };
            rule(&sample, value);
        }
        assert!(!sample.members.is_empty(), "{} is empty", sample.file);
    }
}

/// Requests that need nothing but the two functions of every node are answered as the reference did.
#[test]
fn captured_echoes_are_answered_alike() {
    let mut compared = 0;
    for sample in samples() {
        let (Some(sent), Some(answer)) = (sample.members.get("request"), sample.members.get("response"))
        else {
            continue;
        };
        let frame = sent.to_string();
        let Ok(Message::Rpc(request)) = client::read(frame.as_bytes()) else { continue };
        let plain = request.commands.iter().all(|c| {
            matches!(&*c.fun, "echo" | "echos")
                && c.locs.is_empty()
                && (&c.function_id, &c.version_constraint, &c.target_cluster) == (&None, &None, &None)
        });
        // The topic of intermediate results makes the reference fail; here it works.
        let topic =
            request.intermediate_result_callback_topic.is_some() && request.return_intermediate_results;
        if !plain || topic || answer.get("r").is_none() {
            continue;
        }
        let ours = run(&request);
        assert_eq!(ours["r"].to_string(), answer["r"].to_string(), "{}", sample.file);
        assert_eq!(ours["u"], answer["u"], "{}", sample.file);
        assert_eq!(ours["error"]["code"], answer["error"]["code"], "{}", sample.file);
        assert_eq!(ours["error"]["message"], answer["error"]["message"], "{}", sample.file);
        compared += 1;
    }
    assert!(compared >= 10, "only {compared} compared");
}

/// The published message and the notification of one capture.
#[test]
fn captured_notification_is_what_we_would_send() {
    let samples: BTreeMap<String, Sample> = samples().into_iter().map(|s| (s.file.clone(), s)).collect();
    let sample = &samples["pubsub_publish_and_notification.json"];
    let frame = sample.members["publisher_request"].to_string();
    let Ok(Message::Publish(publish)) = client::read(frame.as_bytes()) else { panic!("no publish") };
    let mut out = Vec::new();
    write::notification(&mut out, &write::message_body(&publish), &publish.message_id, "S1");
    assert_eq!(String::from_utf8_lossy(&out), sample.members["subscriber_receives"].to_string());
}

fn samples() -> Vec<Sample> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/client");
    let mut samples: Vec<Sample> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let file = path.file_name().unwrap().to_string_lossy().into_owned();
            let Ok(Value::Object(members)) = serde_json::from_str(&std::fs::read_to_string(path).unwrap())
            else {
                panic!("{file} is not a JSON object")
            };
            Sample { file, members }
        })
        .collect();
    samples.sort_by(|a, b| a.file.cmp(&b.file));
    samples
}

fn run(request: &RpcRequest<'_>) -> Value {
    let now = Now::at(0.0, 0.0);
    let (mut run, mut step) =
        Run::start(request, Limits { time_seconds: 30.0, message_bytes_max: 1 << 20 }, now);
    let mut waiting = Vec::new();
    loop {
        match step.next {
            Next::Done(answer) => {
                let mut out = Vec::new();
                answer.write(&mut out);
                return serde_json::from_slice(&out).unwrap();
            }
            Next::Dispatch(ready) => waiting = ready,
            Next::Wait => {}
        }
        let ready = waiting.pop().unwrap();
        let result = match &*ready.command.fun {
            "echo" => builtin::echo(&ready.args, &ready.kwargs),
            _ => builtin::echos(&ready.args, &ready.kwargs),
        };
        step = run.completed(ready.index, result.map(Json::from), now);
    }
}

/// A document from a client or peer.
fn to_node(sample: &Sample, value: &Value) {
    if let Value::String(text) = value {
        return unreadable(sample, text);
    }
    let file = sample.file.as_str();
    let frame = value.to_string();
    let role = value.get("role").and_then(Value::as_str);
    let refused = REFUSED.contains(&file);
    match client::read(frame.as_bytes()) {
        Err(_) => assert!(refused && value["u"].as_str().is_none(), "{file}"),
        Ok(Message::Malformed(malformed)) => {
            assert!(refused && malformed.text.contains(&malformed.member), "{file}: {}", malformed.text);
        }
        Ok(Message::UnknownRole(unknown)) => {
            assert!(role.is_none_or(|role| Role::from_wire(role).is_none()), "{file}");
            let mut out = Vec::new();
            unknown.answer(&mut out);
            let answer = sample.members.get("response").or(sample.members.get("observed")).unwrap();
            assert_eq!(String::from_utf8_lossy(&out), answer.to_string(), "{file}");
        }
        Ok(message) => {
            assert!(!refused, "{file} was closed by the reference");
            same_members(file, value, &message);
        }
    }
}

/// What was read is what was written.
fn same_members(file: &str, value: &Value, message: &Message<'_>) {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    match message {
        Message::Rpc(request) => {
            assert_eq!((role(value), &request.u[..]), ("rpc", value["u"].as_str().unwrap()), "{file}");
            let commands = value["cmds"].as_array().unwrap();
            assert_eq!(commands.len(), request.commands.len(), "{file}");
            for (written, read) in commands.iter().zip(&request.commands) {
                assert_eq!(
                    (text(&written["name"]), text(&written["fun"])),
                    (read.name.to_string(), read.fun.to_string())
                );
                let args = written.get("args").map_or("[]".to_owned(), Value::to_string);
                let kwargs = written.get("kwargs").map_or("{}".to_owned(), Value::to_string);
                assert_eq!(
                    (args.as_str(), kwargs.as_str()),
                    (read.args().get(), read.kwargs().get()),
                    "{file}"
                );
                for (name, seen) in [
                    ("function_id", &read.function_id),
                    ("version_constraint", &read.version_constraint),
                    ("target_cluster", &read.target_cluster),
                ] {
                    assert_eq!(written.get(name).and_then(Value::as_str), seen.as_deref(), "{file}: {name}");
                }
            }
        }
        Message::Publish(publish) => {
            let written = &value["message"];
            assert_eq!(
                (role(value), &*publish.topic),
                ("pubsub-publish", written["topic"].as_str().unwrap()),
                "{file}"
            );
            assert_eq!(publish.payload.get(), written["payload"].to_string(), "{file}");
            assert_eq!(Some(publish.timestamp), written["timestamp"].as_f64(), "{file}");
        }
        Message::Subscribe(subscribe) => {
            let written = &value["subscription"];
            let patterns: Vec<_> =
                written["patterns"].as_array().unwrap().iter().map(|p| text(&p["pattern"])).collect();
            assert_eq!((&subscribe.patterns, role(value)), (&patterns, "pubsub-subscribe"), "{file}");
            assert_eq!(subscribe.subscription_id, text(&written["subscription_id"]), "{file}");
        }
        Message::Unsubscribe(unsubscribe) => {
            assert_eq!(unsubscribe.subscription_id, text(&value["subscription_id"]), "{file}");
        }
        Message::Peer(peer) => {
            assert_eq!(Role::from_wire(role(value)), Some(peer.role), "{file}");
            assert_eq!(
                peer.server.map(|body| body.get().to_owned()),
                value.get("server").map(Value::to_string)
            );
        }
        other => panic!("{file}: {other:?}"),
    }
}

/// A document from a node, or the note that it closed the connection or said nothing.
fn from_node(sample: &Sample, value: &Value) {
    let file = sample.file.as_str();
    if value.is_null() {
        return assert!(file.contains("__no_reply"), "{file}");
    }
    if value.get("__closed__").is_some() {
        return assert_eq!(value["__closed__"]["code"], 1000, "{file}");
    }
    let frame = value.to_string();
    let mut ours = Vec::new();
    match answer::read(frame.as_bytes()).unwrap_or_else(|e| panic!("{file}: {e}: {frame}")) {
        FromNode::Response(response) => {
            let intermediate: Vec<&str> = response.intermediate_results.iter().map(|raw| raw.get()).collect();
            for entry in &intermediate {
                let entry: IntermediateResult<'_> = serde_json::from_str(entry).unwrap();
                assert!(
                    entry.level_index < entry.total_levels && !entry.level_results.0.is_empty(),
                    "{file}"
                );
            }
            let summary =
                response.execution_summary.as_ref().map(|summary| serde_json::to_vec(summary).unwrap());
            match (&response.error, response.results(), response.r) {
                (Some(error), _, _) => write::error(&mut ours, &response.u, error),
                (None, Some(results), _) => {
                    let pieces = results.0.iter().map(|(name, value)| (&**name, value.get().as_bytes()));
                    let intermediate = intermediate.join(",");
                    write::response(
                        &mut ours,
                        &response.u,
                        pieces,
                        intermediate.as_bytes(),
                        summary.as_deref(),
                    );
                }
                (None, None, Some(r)) => write::plain_response(&mut ours, &response.u, r.get().as_bytes()),
                (None, None, None) => panic!("{file}: neither results nor an error"),
            }
        }
        FromNode::Ack(ack) => {
            let outcome = if ack.success { Ok(()) } else { Err(ack.error.as_deref().unwrap_or_default()) };
            write::ack(&mut ours, &ack.operation_id, outcome);
            // The one difference: the reference never says why.
            let ours = String::from_utf8(ours).unwrap().replace("\"error\":\"\"", "\"error\":null");
            return assert_eq!(ours, frame, "{file}");
        }
        FromNode::Notification(notification) => {
            let message = client::Publish {
                u: "".into(),
                topic: notification.message.topic.clone(),
                payload: notification.message.payload,
                timestamp: notification.message.timestamp,
                message_id: notification.message.message_id.clone(),
                publisher: notification.message.publisher.clone(),
                headers: notification.message.headers,
                routing_path: notification.message.routing_path,
                current_hop: notification.message.current_hop,
            };
            let prefix = if notification.u.starts_with("backlog_") { "backlog_" } else { "notification_" };
            ours.extend_from_slice(write::NOTIFICATION_HEAD);
            ours.extend_from_slice(&write::message_body(&message));
            write::notification_tail(&mut ours, prefix, &message.message_id, &notification.subscription_id);
        }
        FromNode::Other { role } => {
            return assert!(matches!(&*role, "server" | "fabric-gossip"), "{file}: {role}");
        }
    }
    assert_eq!(String::from_utf8(ours).unwrap(), frame, "{file}");
}

fn all_from_node(sample: &Sample, value: &Value) {
    value.as_array().unwrap().iter().for_each(|document| from_node(sample, document));
}

/// Both directions of a connection.
fn frames(sample: &Sample, value: &Value) {
    for frame in value.as_array().unwrap() {
        assert_eq!(frame["frame"], "binary", "{}", sample.file);
        match frame["direction"].as_str() {
            Some("client->server") => to_node(sample, &frame["json"]),
            Some("server->client") => from_node(sample, &frame["json"]),
            other => panic!("{}: direction {other:?}", sample.file),
        }
    }
}

/// Bytes that are no JSON object, one character for each byte.
fn unreadable(sample: &Sample, text: &str) {
    let bytes: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    assert!(client::read(&bytes).is_err() && sample.file.starts_with("close_"), "{}", sample.file);
}

fn fact(sample: &Sample, value: &Value) {
    assert!(value.is_string() || value.is_number(), "{}", sample.file);
}

/// The TCP prefix counts the bytes of the compact document.
fn length_prefix(sample: &Sample, value: &Value) {
    let name =
        if sample.members.get("sent_hex_prefix") == Some(value) { "sent_json" } else { "received_json" };
    let length = u32::from_be_bytes(bytes(value).try_into().unwrap());
    // The client of that capture wrote a blank after each comma and colon.
    let blanks = if name == "sent_json" { 12 } else { 0 };
    assert_eq!(length as usize, sample.members[name].to_string().len() + blanks, "{}", sample.file);
}

/// Marker, then chunks of length, flags and bytes; the last has flag 2.
fn stream(sample: &Sample, value: &Value) {
    let bytes = bytes(value);
    let (marker, mut rest) = bytes.split_at(4);
    assert_eq!(marker, [0xff; 4], "{}", sample.file);
    let (mut text, mut last) = (Vec::new(), 0);
    while let Some((head, tail)) = rest.split_at_checked(8) {
        let length = u32::from_be_bytes(head[..4].try_into().unwrap()) as usize;
        last = head[7];
        text.extend_from_slice(&tail[..length]);
        rest = &tail[length..];
    }
    assert_eq!((text.as_slice(), last, rest.len()), (&b"ABCDEFGHIJ"[..], 2, 0), "{}", sample.file);
}

/// A DNS message has a head of twelve bytes and, in these captures, one question.
fn dns_message(sample: &Sample, value: &Value) {
    let bytes = bytes(value);
    assert!(bytes.len() > 12 && bytes[4..6] == [0, 1], "{}", sample.file);
}

/// Either the number of DNS answers or a list of queries with theirs.
fn dns_answers(sample: &Sample, value: &Value) {
    match value.as_array() {
        None => fact(sample, value),
        Some(queries) => assert!(queries.iter().all(|q| q["qname"].is_string() && q["rcode"].is_string())),
    }
}

/// Patterns with whether they match, or constraints with what they accept; both are tested where they are decided.
fn table(sample: &Sample, value: &Value) {
    for row in value.as_array().unwrap() {
        let known = row["pattern"].is_string() && row["delivered"].is_boolean()
            || row["constraint"].is_string() && (row["matches"].is_array() || row["error"].is_string())
            || row["reason"].is_string() && row["allowed"].is_boolean();
        assert!(known, "{}: {row}", sample.file);
    }
}

fn http_request(sample: &Sample, value: &Value) {
    let lines: Vec<&str> = value.as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    let token = format!("Authorization: Bearer {}", sample.members["auth_token"].as_str().unwrap());
    assert!(lines.contains(&"Upgrade: websocket") && lines.contains(&token.as_str()), "{}", sample.file);
}

fn bytes(value: &Value) -> Vec<u8> {
    let hex = value.as_str().unwrap();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn role(value: &Value) -> &str {
    value["role"].as_str().unwrap_or_default()
}

/// What each member of a sample is.
const RULES: &[(&str, Rule)] = &[
    ("request", to_node),
    ("publisher_request", to_node),
    ("published_on_other_node", to_node),
    ("sent", to_node),
    ("sent_json", to_node),
    ("response", from_node),
    ("observed", from_node),
    ("publisher_response", from_node),
    ("subscriber_receives", from_node),
    ("received_json", from_node),
    ("received", all_from_node),
    ("received_in_order", all_from_node),
    ("frames", frames),
    ("note", fact),
    ("seconds", fact),
    ("seconds_until_close", fact),
    ("sent_hex_prefix", length_prefix),
    ("received_hex_prefix", length_prefix),
    ("hex", stream),
    ("query_hex", dns_message),
    ("response_hex", dns_message),
    ("response_len", fact),
    ("tc", fact),
    ("aa", fact),
    ("ra", fact),
    ("answers", dns_answers),
    ("rows", table),
    ("viewer", table),
    ("summary_export", table),
    ("http_request_lines", http_request),
    ("auth_token", fact),
    ("api_key", fact),
];

/// Over these the reference closed the connection; they are answered where they can be.
const REFUSED: &[&str] = &[
    "close_pubsub_publish_missing_fields.json",
    "close_rpc_args_not_list.json",
    "close_rpc_args_null.json",
    "close_rpc_cmd_missing_fun.json",
    "close_rpc_cmd_missing_name.json",
    "close_rpc_kwargs_null.json",
    "close_rpc_missing_cmds.json",
    "close_rpc_missing_u.json",
    "close_rpc_u_int.json",
    "rpc_unknown_role_int_u.json",
];
