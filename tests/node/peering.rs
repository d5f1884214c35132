//! Nodes among themselves: they find each other, call and publish across, say goodbye, and refuse strangers.

use serde_json::{Value, json};

use super::kit::*;
use super::transports::{TLS, folder_with_authority};

/// A node of cluster `c` that knows `peers`; `more` comes first.
fn member(more: &str, peers: &[&Node]) -> Node {
    Node::start(&config("c", more, peers))
}

fn config(cluster: &str, more: &str, peers: &[&Node]) -> String {
    let urls: Vec<String> = peers.iter().map(|node| node.url()).collect();
    format!(
        "[node]\ncluster_id = \"{cluster}\"\n[fabric]\ngossip_interval = \"200ms\"\n[log]\nlevel = \"debug\"\n\
         [peers]\nstatic = {urls:?}\n{more}"
    )
}

async fn until_callable(wire: &mut Wire, fun: &str, args: Value) -> Value {
    let mut answer = Value::Null;
    eventually("an answer from the other node", async || {
        answer = wire.call(fun, args.clone()).await;
        answer["error"].is_null()
    })
    .await;
    answer["r"]["c"].clone()
}

#[test]
fn two_nodes_find_each_other_and_call_across() {
    let first = member(&function("t.add", "version = \"2.0.0\"\nresources = [\"r\"]"), &[]);
    let second = member(&function("u.given", ""), &[&first]);
    run(async |_| {
        let (mut one, mut two) = (first.wire().await, second.wire().await);
        assert_eq!(until_callable(&mut two, "t.add", json!([1, 2])).await, 3);
        let got = until_callable(&mut one, "u.given", json!([{"deep": [1, null]}])).await;
        assert_eq!(got["args"], json!([{"deep": [1, null]}]), "{got}");
        let mut asked = command("c", "t.add", json!([1]));
        asked["version_constraint"] = json!(">=3");
        let answer = two.ask(request("1", json!([asked]))).await;
        assert_eq!(answer["error"]["code"], 1001);
        assert!(answer["error"]["details"].as_str().unwrap().contains("offered: 2.0.0"), "{answer}");
        let answer = two.call("list_peers", json!([])).await;
        assert!(answer["r"]["c"].to_string().contains(&first.url()), "{answer}");
        let answer = one.call("u.given", json!("no list")).await;
        assert_eq!(answer["error"]["code"], 1003, "{answer}");
    });
    second.stop();
    first.stop();
}

#[test]
fn an_error_of_a_function_crosses_with_its_text() {
    let first = member(&(function("t.fail", "") + &function("t.die", "restart_backoff = \"50ms\"")), &[]);
    let second = member("", &[&first]);
    run(async |_| {
        let mut wire = second.wire().await;
        eventually("the function of the other node", async || {
            let answer = wire.call("t.fail", json!(["why"])).await;
            answer["error"]["code"] == 1003
                && answer["error"]["details"].as_str().unwrap().contains("ValueError: why")
        })
        .await;
        let answer = wire.call("t.die", json!([])).await;
        assert_eq!(answer["error"]["code"], 1003, "{answer}");
        assert!(answer["error"]["details"].as_str().unwrap().contains("exited with status 3"), "{answer}");
    });
}

/// A message with an id of its own: nodes pass on one of an id only once.
fn numbered(n: u64) -> Value {
    let mut wish = publish("a.b", json!({ "n": n }));
    wish["message"]["message_id"] = json!(format!("m-{n}"));
    wish
}

#[test]
fn messages_cross_to_subscribers_of_other_nodes_once() {
    let first = member("", &[]);
    let second = member("", &[&first]);
    run(async |_| {
        let (mut subscriber, mut publisher) = (second.wire().await, first.wire().await);
        subscriber.subscribe("s", "a.#", 0).await;
        // Each publication may come before the other node knows of the subscription; once one has arrived all do.
        let mut n = 0;
        let mut first_seen = None;
        eventually("a message from the other node", async || {
            n += 1;
            publisher.ask(numbered(n)).await;
            let next = async { Some(subscriber.next().await) };
            let none = async {
                smol::Timer::after(std::time::Duration::from_millis(50)).await;
                None
            };
            first_seen = smol::future::or(next, none).await;
            first_seen.is_some()
        })
        .await;
        let message = &first_seen.unwrap()["message"];
        let from = message["payload"]["n"].as_u64().unwrap();
        assert_eq!((&message["topic"], &message["publisher"]), (&json!("a.b"), &json!("test")));
        for more in 1..=20 {
            assert_eq!(publisher.ask(numbered(n + more)).await["success"], true);
        }
        for expected in from + 1..=n + 20 {
            assert_eq!(subscriber.next().await["message"]["payload"]["n"], expected);
        }
    });
}

#[test]
fn a_goodbye_takes_a_node_out_at_once() {
    let first = member("", &[]);
    let second = member(&function("t.add", ""), &[&first]);
    run(async |_| {
        let mut wire = first.wire().await;
        until_callable(&mut wire, "t.add", json!([1])).await;
        let url = second.url();
        second.stop();
        first.logged("the farewell", |line| line.contains(&url) && line.contains("has left"));
        let answer = wire.call("t.add", json!([1])).await;
        assert_eq!(answer["error"]["code"], 1001, "{answer}");
    });
}

#[test]
fn a_node_that_is_killed_fails_its_calls_at_once() {
    let first = member("", &[]);
    let second = member(&function("t.slow", ""), &[&first]);
    run(async |_| {
        let (mut wire, mut other) = (first.wire().await, first.wire().await);
        eventually("the function of the other node", async || {
            let answer = other.call("rpc_list", json!([])).await;
            answer["r"]["c"].to_string().contains("t.slow")
        })
        .await;
        wire.send(request("1", json!([command("c", "t.slow", json!(["x"]))]))).await;
        second.logged_text("slow x begins");
        second.signal(Signal::KILL);
        let answer = wire.next().await;
        assert_eq!(answer["error"]["code"], 1003, "{answer}");
        let details = answer["error"]["details"].as_str().unwrap();
        assert!(details.contains("link") || details.contains("lost"), "{details}");
    });
}

#[test]
fn a_client_that_leaves_gives_up_its_call_on_another_node() {
    let first = member("[limits]\npending_calls_max = 1\n", &[]);
    let second = member(&(function("t.slow", "") + &function("t.add", "")), &[&first]);
    run(async |_| {
        let (mut wire, mut other) = (first.wire().await, first.wire().await);
        until_callable(&mut other, "t.add", json!([1])).await;
        wire.send(request("1", json!([command("c", "t.slow", json!(["far"]))]))).await;
        second.logged_text("slow far begins");
        assert_eq!(other.call("t.add", json!([1])).await["error"]["code"], 1003);
        wire.leave().await;
        assert_eq!(until_callable(&mut other, "t.add", json!([2])).await, 2);
    });
    first.stop();
}

#[test]
fn a_node_that_comes_back_is_found_again() {
    let first = member(&function("t.add", ""), &[]);
    let second = member("", &[&first]);
    run(async |_| {
        let mut wire = second.wire().await;
        until_callable(&mut wire, "t.add", json!([1])).await;
        let text = config("c", &format!("[listen]\nport = {}\n{}", first.port, function("t.add", "")), &[]);
        drop(first);
        let again = Node::start(&text);
        assert_eq!(until_callable(&mut wire, "t.add", json!([1, 1])).await, 2);
        again.stop();
    });
}

#[test]
fn a_third_node_is_found_through_the_second() {
    let first = member(&function("t.add", ""), &[]);
    let second = member("", &[&first]);
    let third = member("", &[&second]);
    run(async |_| {
        let mut wire = third.wire().await;
        assert_eq!(until_callable(&mut wire, "t.add", json!([1, 1])).await, 2);
        // Not by way of the second.
        drop(second);
        assert_eq!(until_callable(&mut wire, "t.add", json!([1, 2])).await, 3);
    });
}

#[test]
fn nodes_meet_over_tls_and_only_where_they_trust() {
    let (folder, _authority) = folder_with_authority();
    let place = folder.path().display().to_string();
    let endpoint = "[[listen.endpoint]]\nprotocol = \"wss\"\nclass = \"internal\"\n";
    let first =
        Node::start_in(folder, &config("c", &format!("{TLS}{endpoint}{}", function("t.add", "")), &[]));
    let url = first.endpoint("wss");
    let peers = |tls: &str| config("c", tls, &[]).replace("static = []", &format!("static = [\"{url}\"]"));
    let stranger = Node::start(&peers(""));
    let second = Node::start(&peers(&format!("[tls]\nca_file = \"{place}/ca.pem\"\n")));
    run(async |_| {
        let mut wire = second.wire().await;
        assert_eq!(until_callable(&mut wire, "t.add", json!([1, 1])).await, 2);
        stranger.logged("the distrust", |line| line.contains("cannot dial") && line.contains("TLS"));
        first.logged("the refusal", |line| line.contains("reason=handshake_refused"));
    });
}

#[test]
fn a_node_of_another_cluster_is_refused_with_the_reason() {
    let first = member(&function("t.add", ""), &[]);
    let stranger = Node::start(&config("d", "", &[&first]));
    run(async |_| {
        let text = "Connection rejected: cluster_id mismatch. Local: c, Remote: d. Cross-federation connections not \
                    allowed in current federation mode.";
        let line = first.logged_text("reason=cluster_refused");
        assert!(line.contains(text), "{line}");
        stranger.logged_text("reason=turned_away");
        let answer = stranger.wire().await.call("t.add", json!([1])).await;
        assert_eq!(answer["error"]["code"], 1001, "{answer}");
    });
}

#[test]
fn a_function_of_two_nodes_runs_where_it_is_asked_until_that_node_is_much_busier() {
    let first = member(&function("t.pid", ""), &[]);
    let second = member(&function("t.pid", ""), &[&first]);
    run(async |_| {
        let (mut one, mut two) = (first.wire().await, second.wire().await);
        let near = one.call("t.pid", json!([])).await["r"]["c"].clone();
        let far = two.call("t.pid", json!([])).await["r"]["c"].clone();
        assert!(near.is_u64() && far.is_u64() && near != far, "{near} {far}");
        let crowd = async || {
            let mut crowd = Vec::new();
            for _ in 0..30 {
                crowd.push(first.wire().await);
            }
            crowd
        };
        let crowded = crowd().await;
        eventually("the other node is asked", async || one.call("t.pid", json!([])).await["r"]["c"] == far)
            .await;
        assert_eq!(two.call("t.pid", json!([])).await["r"]["c"], far);
        let said = program(&["explain", "call", "t.pid", "--url", &first.url()]).output().unwrap();
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(said.contains("higher_load") && said.contains(&second.url()), "{said}");
        drop(crowded);
        eventually("it runs here again", async || one.call("t.pid", json!([])).await["r"]["c"] == near).await;

        let _crowded = crowd().await;
        eventually("the other node is asked", async || one.call("t.pid", json!([])).await["r"]["c"] == far)
            .await;
        // Whatever becomes of the other one, this node serves it.
        second.signal(Signal::KILL);
        eventually("it runs here", async || {
            let answer = one.call("t.pid", json!([])).await;
            assert!(answer["error"].is_null() || answer["error"]["code"] == 1003, "{answer}");
            answer["r"]["c"] == near
        })
        .await;
    });
}
