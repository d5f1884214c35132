//! Publish and subscribe: who gets what, in which order, and what happens to those who do not read.

use serde_json::{Value, json};

use super::kit::*;

/// Payloads of notifications up to `last`, with those that tell of losses apart.
async fn until(wire: &mut Wire, last: u64) -> (Vec<u64>, Vec<Value>) {
    let (mut seen, mut notices) = (Vec::new(), Vec::new());
    while seen.last() != Some(&last) {
        let message = wire.next().await["message"].clone();
        match message["topic"] == "mpreg.pubsub.dropped" {
            true => notices.push(message["payload"].clone()),
            false => seen.push(message["payload"]["n"].as_u64().unwrap()),
        }
    }
    (seen, notices)
}

#[test]
fn a_notification_carries_the_message_as_published() {
    let node = Node::start("");
    run(async |ex| {
        let mut wire = node.wire().await;
        wire.subscribe("s1", "weather.*", 0).await;
        let mut publisher = node.wire().await;
        let mut wish = publish("weather.berlin", json!({"c": [21]}));
        wish["message"]["timestamp"] = json!(1.5);
        let answer = publisher.ask(wish).await;
        assert_eq!((&answer["operation_id"], &answer["success"]), (&json!("p"), &json!(true)), "{answer}");
        let notification = wire.next().await;
        assert_eq!(notification["role"], "pubsub-notification", "{notification}");
        assert_eq!(notification["subscription_id"], "s1");
        let message = &notification["message"];
        for (member, value) in [
            ("topic", json!("weather.berlin")),
            ("payload", json!({"c": [21]})),
            ("timestamp", json!(1.5)),
            ("message_id", json!("m")),
            ("publisher", json!("test")),
            ("headers", json!({})),
        ] {
            assert_eq!(message[member], value, "{member}: {message}");
        }
        let client = node.client(&ex).await;
        let mut subscription = client.subscribe(&["weather.#".to_owned()], 0).await.unwrap();
        publisher.publish("weather.a.b", json!(1)).await;
        assert_eq!(subscription.next().await.unwrap().message().unwrap().topic, "weather.a.b");
        subscription.end().await.unwrap();
        client.close().await;
    });
    node.stop();
}

#[test]
fn many_messages_arrive_in_the_order_of_their_publisher() {
    let node = Node::start("");
    run(async |_| {
        let (mut wire, mut publisher) = (node.wire().await, node.wire().await);
        wire.subscribe("s", "t.#", 0).await;
        for n in 0..500 {
            publisher.send(publish(&format!("t.{}", n % 7), json!({ "n": n }))).await;
        }
        let (seen, notices) = until(&mut wire, 499).await;
        assert!(seen.iter().copied().eq(0..500) && notices.is_empty(), "{seen:?}");
        for _ in 0..500 {
            assert_eq!(publisher.next().await["success"], true);
        }
    });
}

#[test]
fn each_fitting_subscription_gets_a_message_once() {
    let node = Node::start("");
    run(async |_| {
        let (mut one, mut two, mut publisher) = (node.wire().await, node.wire().await, node.wire().await);
        one.subscribe("exact", "a.b.c", 0).await;
        one.subscribe("star", "a.*.c", 0).await;
        two.subscribe("hash", "a.#", 0).await;
        two.subscribe("other", "b.#", 0).await;
        publisher.publish("a.b.c", json!({"n": 1})).await;
        publisher.publish("b.c", json!({"n": 2})).await;
        let mut ids = [one.next().await, one.next().await].map(|n| n["subscription_id"].to_string());
        ids.sort();
        assert_eq!(ids, ["\"exact\"", "\"star\""]);
        let ids = [two.next().await, two.next().await].map(|n| n["subscription_id"].to_string());
        assert_eq!(ids, ["\"hash\"", "\"other\""]);
    });
}

#[test]
fn the_same_id_on_two_connections_is_two_subscriptions() {
    let node = Node::start("");
    run(async |_| {
        let (mut one, mut two, mut publisher) = (node.wire().await, node.wire().await, node.wire().await);
        one.subscribe("same", "a.#", 0).await;
        two.subscribe("same", "a.#", 0).await;
        publisher.publish("a.1", json!({"n": 1})).await;
        assert_eq!(until(&mut one, 1).await.0, [1]);
        assert_eq!(until(&mut two, 1).await.0, [1]);
        let end = json!({"role": "pubsub-unsubscribe", "u": "e", "subscription_id": "same"});
        assert_eq!(one.ask(end.clone()).await["success"], true);
        publisher.publish("a.2", json!({"n": 2})).await;
        assert_eq!(until(&mut two, 2).await.0, [2]);
        let answer = one.ask(end).await;
        assert_eq!(answer["success"], false, "the next that arrives is no message: {answer}");
        assert!(answer["error"].as_str().unwrap().contains("no subscription \"same\""), "{answer}");
        two.leave().await;
        assert_eq!(publisher.publish("a.3", json!({"n": 3})).await["success"], true);
    });
}

#[test]
fn late_subscribers_get_what_is_kept_if_they_ask() {
    let node = Node::start("");
    run(async |_| {
        let mut publisher = node.wire().await;
        for n in 1..=3 {
            publisher.publish("a.b", json!({ "n": n })).await;
        }
        let (mut late, mut new) = (node.wire().await, node.wire().await);
        new.subscribe("s", "a.#", 0).await;
        late.subscribe("s", "a.#", 60).await;
        publisher.publish("a.b", json!({"n": 4})).await;
        assert_eq!(until(&mut late, 4).await.0, [1, 2, 3, 4]);
        assert_eq!(until(&mut new, 4).await.0, [4]);
    });
    let node = Node::start("[limits]\nbacklog = 0\n");
    run(async |_| {
        let (mut publisher, mut late) = (node.wire().await, node.wire().await);
        publisher.publish("a.b", json!({"n": 1})).await;
        late.subscribe("s", "a.#", 60).await;
        publisher.publish("a.b", json!({"n": 2})).await;
        assert_eq!(until(&mut late, 2).await.0, [2]);
    });
}

#[test]
fn topics_of_the_nodes_cannot_be_published_on() {
    let node = Node::start("");
    run(async |_| {
        let (mut wire, mut watcher) = (node.wire().await, node.wire().await);
        watcher.subscribe("s", "mpreg.#", 0).await;
        for topic in ["mpreg", "mpreg.pubsub.dropped", "mpreg.x"] {
            let answer = wire.publish(topic, json!(1)).await;
            assert_eq!(answer["success"], false, "{answer}");
            assert!(answer["error"].as_str().unwrap().contains("belong to the nodes"), "{answer}");
        }
        assert_eq!(wire.publish("mpregular", json!(1)).await["success"], true);
        node.logged_text("reason=reserved_topic");
    });
}

#[test]
fn subscriptions_of_a_connection_are_limited() {
    let node = Node::start("[limits]\nsubscriptions_per_connection = 2\n");
    run(async |_| {
        let (mut wire, mut other) = (node.wire().await, node.wire().await);
        wire.subscribe("a", "x", 0).await;
        wire.subscribe("b", "x", 0).await;
        wire.subscribe("a", "y", 0).await;
        let answer = wire.ask(subscribe("c", "x", 0)).await;
        assert_eq!(answer["success"], false);
        assert!(
            answer["error"].as_str().unwrap().contains("limits.subscriptions_per_connection"),
            "{answer}"
        );
        other.subscribe("c", "x", 0).await;
        let end = json!({"role": "pubsub-unsubscribe", "u": "e", "subscription_id": "a"});
        assert_eq!(wire.ask(end).await["success"], true);
        wire.subscribe("c", "x", 0).await;
    });
}

/// One that did not read while others did, until `messages` were published or the node has said `enough`; and how many
/// deliveries the publisher was told were lost.
async fn slow_subscriber(node: &Node, messages: u64, enough: &str) -> (Wire, u64) {
    let (mut slow, mut healthy, mut publisher) = (node.wire().await, node.wire().await, node.wire().await);
    slow.subscribe("slow", "t.#", 0).await;
    healthy.subscribe("healthy", "t.#", 0).await;
    let filling = "x".repeat(FILLING_BYTES);
    let mut told = 0;
    for n in 0..messages {
        let answer = publisher.publish("t.x", json!({ "n": n, "filling": filling })).await;
        assert_eq!(answer["success"], true, "a publisher never waits for a subscriber");
        told += answer["dropped"].as_u64().unwrap_or_default();
        assert_eq!(until(&mut healthy, n).await, (vec![n], vec![]), "others are unaffected");
        if node.count_logged(enough) > 0 {
            break;
        }
    }
    (slow, told)
}

#[test]
fn a_slow_subscriber_loses_the_oldest_and_is_told() {
    let node = Node::start("[pubsub]\noutbound_per_subscription = \"256KiB\"\n");
    run(async |_| {
        let (mut slow, told) = slow_subscriber(&node, MESSAGES, "never said").await;
        let (seen, notices) = until(&mut slow, MESSAGES - 1).await;
        assert!(seen.is_sorted() && seen[0] == 0, "{seen:?}");
        let lost = MESSAGES - seen.len() as u64;
        assert!(lost > 0, "{seen:?}");
        assert_eq!(told, lost, "the publisher knows as well");
        let notice = notices.last().unwrap();
        assert_eq!(
            (&notice["subscription_id"], &notice["policy"]),
            (&json!("slow"), &json!("drop_oldest")),
            "{notice}"
        );
        assert_eq!(notice["total"], json!(lost), "{notices:?}");
        assert_eq!(slow.call("echo", json!([1])).await["r"]["c"], 1);
    });
}

#[test]
fn a_slow_subscriber_loses_the_newest_where_that_is_the_policy() {
    let text = "[pubsub]\noutbound_per_subscription = \"256KiB\"\nslow_subscriber = \"drop_newest\"\n";
    let node = Node::start(text);
    run(async |_| {
        let (mut slow, told) = slow_subscriber(&node, MESSAGES, "never said").await;
        let mut seen = Vec::new();
        // The answer comes after everything that waited.
        slow.send(request("end", json!([command("c", "echo", json!([1]))]))).await;
        let mut notices = Vec::new();
        loop {
            let document = slow.next().await;
            match document["message"]["topic"].as_str() {
                None => break,
                Some("mpreg.pubsub.dropped") => notices.push(document["message"]["payload"].clone()),
                Some(_) => seen.push(document["message"]["payload"]["n"].as_u64().unwrap()),
            }
        }
        assert!(seen.iter().copied().eq(0..seen.len() as u64), "{seen:?}");
        let notice = notices.last().unwrap();
        assert_eq!(notice["policy"], "drop_newest");
        assert_eq!(notice["total"], json!(MESSAGES - seen.len() as u64), "{seen:?}");
        assert_eq!(told, MESSAGES - seen.len() as u64, "the publisher knows as well");
    });
}

#[test]
fn a_slow_subscriber_is_disconnected_where_that_is_the_policy() {
    let text = "[pubsub]\noutbound_per_subscription = \"256KiB\"\nslow_subscriber = \"disconnect\"\n";
    let node = Node::start(text);
    run(async |_| {
        let (mut slow, _) = slow_subscriber(&node, 10 * MESSAGES, "slow_subscriber_disconnected").await;
        let (code, text) = slow.closed().await;
        assert!(code == 1013 && text.contains("pubsub.outbound_per_subscription"), "{code} {text}");
        node.logged_text("reason=slow_subscriber_disconnected");
    });
}

/// Together more than two sockets hold.
const MESSAGES: u64 = 160;
const FILLING_BYTES: usize = 60_000;
