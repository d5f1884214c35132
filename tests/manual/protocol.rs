//! The examples of mpreg-protocol(7), sent to a real node and worker: what comes back has the members and values that
//! the page shows. Text in angle brackets may be anything, and of numbers with a fraction only the type counts.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use mpreg::wire::fabric::route::RouteAnnouncement;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use smol::Timer;

use crate::kit::{Node, Wire, command, eventually, request, run};
use crate::page::{Display, displays};

const PAGE: &str = "mpreg-protocol.7";
const WAIT_MAX: Duration = Duration::from_secs(5);

fn node() -> Node {
    let worker = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/manual/worker.py");
    let function = |name: &str| {
        format!(
            "[[function]]\nname = \"{name}\"\nversion = \"1.2.0\"\ncommand = [\"python3\", \"{worker}\", \"DIR/worker.log\"]\n"
        )
    };
    let functions: String = ["svc.math.sum", "svc.math.fail", "svc.math.slow"].map(function).concat();
    Node::start(&format!("[node]\ncluster_id = \"demo\"\nstandalone = true\n{functions}"))
}

/// Who speaks, and what.
fn documents(display: &Display) -> Vec<(char, String)> {
    let mut found: Vec<(char, String)> = Vec::new();
    for line in display.text.lines() {
        match line.split_once(": ") {
            Some((who @ ("C" | "N" | "W" | "F"), text)) => {
                found.push((who.chars().next().unwrap(), text.to_owned()))
            }
            _ => found.last_mut().unwrap().1.push_str(line),
        }
    }
    found
}

/// Displays of a conversation in which this letter speaks.
fn conversations(speaker: char) -> Vec<Vec<(char, String)>> {
    let shown = displays(PAGE);
    let all = shown
        .iter()
        .filter(|display| display.text.lines().any(|line| line.starts_with(&format!("{speaker}: "))));
    all.map(documents).collect()
}

/// The document for this node and this moment.
fn here(text: &str, node: &Node) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let text = text
        .replace("ws://10.0.0.1:7000", &node.url())
        // Nobody listens there.
        .replace("ws://10.0.0.9:7000", "ws://127.0.0.1:9")
        .replace("1700000000.0", &format!("{now:.3}"))
        .replace("1700000000000", &format!("{}", (now * 1000.0) as u64));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Whether a document is as the page says.
fn fits(shown: &Value, real: &Value) -> bool {
    match (shown, real) {
        (Value::Object(shown), Value::Object(real)) => {
            let is_whole = !shown.contains_key("...");
            shown
                .iter()
                .filter(|(name, _)| *name != "...")
                .all(|(name, value)| real.get(name).is_some_and(|real| fits(value, real)))
                && (!is_whole || real.keys().all(|name| shown.contains_key(name)))
        }
        (Value::Array(shown), Value::Array(real)) => {
            shown.len() == real.len() && shown.iter().zip(real).all(|(shown, real)| fits(shown, real))
        }
        (Value::String(text), Value::String(_)) if text.starts_with('<') => true,
        (Value::Number(shown), Value::Number(_)) if shown.is_f64() => true,
        _ => shown == real,
    }
}

#[test]
fn a_client_is_answered_as_the_page_says() {
    run(async |_| {
        let node = node();
        let mut wire = node.wire().await;
        let mut compared = 0;
        for conversation in conversations('C') {
            for (who, text) in conversation {
                let document = here(&text, &node);
                if who == 'C' {
                    wire.send(document).await;
                    continue;
                }
                let real = wire.next().await;
                assert!(fits(&document, &real), "shown: {document}\nreal:  {real}");
                compared += 1;
            }
        }
        assert!(compared >= 12, "{compared}");
        wire.leave().await;
    });
}

#[test]
fn a_foreign_node_is_answered_as_the_page_says() {
    run(async |_| {
        let node = node();
        let mut wire = node.wire().await;
        let mut compared = 0;
        for conversation in conversations('F') {
            for (who, text) in conversation {
                let document = here(&text, &node);
                if who == 'F' {
                    let is_catalog = document["payload"]["message_type"] == "catalog_update";
                    wire.send(document).await;
                    if is_catalog {
                        knows(&node, "ff.hello").await;
                    }
                } else {
                    // Between nodes other messages come in between.
                    expect(&mut wire, &document).await;
                    compared += 1;
                }
            }
        }
        assert!(compared >= 5, "{compared}");
    });
}

async fn expect(wire: &mut Wire, shown: &Value) {
    let mut seen = Vec::new();
    let mut over = std::pin::pin!(async {
        Timer::after(WAIT_MAX).await;
        None
    });
    loop {
        let next = async { Some(wire.next().await) };
        match smol::future::or(next, over.as_mut()).await {
            Some(real) if fits(shown, &real) => return,
            Some(real) => seen.push(real),
            None => break,
        }
    }
    panic!("shown: {shown}\nreal:  {seen:?}");
}

/// Waits until the node tells its clients that a peer offers this function.
async fn knows(node: &Node, function: &str) {
    eventually(function, async || {
        let mut client = node.wire().await;
        let answer = client.call("list_peers", json!([])).await;
        client.leave().await;
        let peers = answer["r"]["c"].as_array().cloned().unwrap_or_default();
        peers.iter().any(|peer| peer["funs"].as_array().is_some_and(|funs| funs.contains(&json!(function))))
    })
    .await;
}

#[test]
fn a_worker_is_asked_as_the_page_says() {
    run(async |_| {
        let node = node();
        let mut wire = node.wire().await;
        let log = node.folder.path().join("worker.log");
        let heard = |shown: &Value, who: char| {
            let text = fs::read_to_string(&log).unwrap_or_default();
            text.lines().filter_map(|line| line.strip_prefix(&format!("{who}: "))).any(|line| {
                let mut real: Value = serde_json::from_str(line).unwrap();
                // Ids are the node's.
                if let Some(id) = real.get_mut("id") {
                    *id = shown["id"].clone();
                } else if real["params"].get("id").is_some() {
                    real["params"]["id"] = shown["params"]["id"].clone();
                }
                fits(shown, &real)
            })
        };
        let mut compared = 0;
        for conversation in conversations('W') {
            for (who, text) in conversation {
                let shown = here(&text, &node);
                if who == 'N' {
                    let method = shown["method"].as_str().unwrap();
                    wire.call(method, shown["params"]["args"].clone()).await;
                }
                assert!(heard(&shown, who), "{shown}\n{}", fs::read_to_string(&log).unwrap());
                compared += 1;
            }
        }
        assert!(compared >= 4, "{compared}");

        let shown = displays(PAGE);
        let cancel = shown.iter().find(|display| display.text.contains("$/cancel")).unwrap();
        let mut slow = request("s", json!([command("c", "svc.math.slow", json!([]))]));
        slow["timeout_seconds"] = json!(0.1);
        let answer = wire.ask(slow).await;
        assert_eq!(answer["error"]["code"], json!(1004), "{answer}");
        let cancel = here(&cancel.text, &node);
        eventually("the cancellation", async || heard(&cancel, 'N')).await;
    });
}

#[test]
fn the_canonical_form_and_its_signature_are_those_of_the_program() {
    let shown: Vec<String> = displays(PAGE)
        .into_iter()
        .filter(|display| display.section == "NODES")
        .map(|display| display.text)
        .skip_while(|text| !text.starts_with("{\"destination\""))
        .collect();
    let [announcement, canonical, private, public, signature] = shown.as_slice() else { panic!("{shown:?}") };
    let one_line = |text: &str| text.replace('\n', "");
    let payload = RawValue::from_string(announcement.clone()).unwrap();
    let decoded = RouteAnnouncement::decode(&payload, 0.0).unwrap();
    assert_eq!(String::from_utf8(decoded.canonical()).unwrap(), one_line(canonical));
    let bytes = |text: &str| data_encoding::HEXLOWER.decode(one_line(text).as_bytes()).unwrap();
    let key = SigningKey::from_bytes(&bytes(private).try_into().unwrap());
    let verifying = VerifyingKey::from_bytes(&bytes(public).try_into().unwrap()).unwrap();
    assert_eq!(key.verifying_key(), verifying);
    assert_eq!(key.sign(&decoded.canonical()).to_bytes().to_vec(), bytes(signature));
    let id = mpreg::core::trust::PublicKey::from_hex(&one_line(public)).unwrap().id();
    let page = fs::read_to_string(crate::page::folder().join(PAGE)).unwrap();
    assert!(page.contains(&*id), "{id}");
}
