//! The client against a scripted other end in the same process.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use smol::Executor;

use super::*;
use crate::drive::{
    handshake::{AcceptSettings, accept_link},
    link::{Incoming, Protocol},
    listen::{EndpointClass, EndpointSettings, Listener},
};

/// Runs `client` against a node that answers each message with what `node` makes of it; an empty list closes.
fn against<T>(
    node: impl Fn(&Value) -> Vec<Value> + Send + 'static,
    client: impl AsyncFnOnce(Client) -> T,
) -> T {
    over(Protocol::Ws, Options::default(), node, client)
}

fn over<T>(
    protocol: Protocol,
    options: Options,
    node: impl Fn(&Value) -> Vec<Value> + Send + 'static,
    client: impl AsyncFnOnce(Client) -> T,
) -> T {
    let executor = Arc::new(Executor::new());
    smol::block_on(executor.run(async {
        let host = "127.0.0.1".to_owned();
        let endpoint = EndpointSettings { protocol, host, port: 0, class: EndpointClass::Any, tls: None };
        let listener = Listener::bind(&endpoint).unwrap();
        let url = format!("{protocol}://{}", listener.local_addr());
        executor
            .spawn(async move {
                let settings =
                    AcceptSettings { protocol, tls: None, limits: LINK_LIMITS, tenant_header: None };
                let (mut link, _) =
                    accept_link(listener.accept().await, &settings, |_| Ok(())).await.unwrap();
                while let Ok(Incoming::Message(message)) = link.read().await {
                    let answers = node(&serde_json::from_slice(&message).unwrap());
                    if answers.is_empty() {
                        return;
                    }
                    for answer in answers {
                        link.send(Bytes::from(answer.to_string())).await.unwrap();
                    }
                }
            })
            .detach();
        let connected = Client::connect(&executor, &url, options).await.unwrap();
        client(connected).await
    }))
}

fn value(message: &Value, value: Value) -> Value {
    let name = message["cmds"][0]["name"].as_str().unwrap();
    json!({ "r": { name: value }, "error": null, "u": message["u"] })
}

#[test]
fn answers_find_their_calls_in_any_order_and_strangers_are_ignored() {
    let node = |message: &Value| {
        let fun = message["cmds"][0]["fun"].as_str().unwrap();
        // The first call is answered only when the second has come.
        match fun {
            "first" => vec![json!({ "u": "nobody" }), json!([1]), json!({ "u": 5 })],
            _ => vec![
                value(message, json!(message["cmds"][0]["args"])),
                json!({ "r": { message["cmds"][0]["kwargs"]["name"].as_str().unwrap(): 1.50 }, "error": null, "u": "1" }),
            ],
        }
    };
    against(node, async |client| {
        let options = CallOptions::default();
        let first_options =
            RequestOptions { timeout: Some(Duration::from_secs(10)), ..RequestOptions::default() };
        let (none, args) = (Map::new(), raw("", &json!([])).unwrap());
        let command = Command {
            name: "a",
            fun: "first",
            args: &args,
            kwargs: &none,
            locs: &[],
            function_id: None,
            version_constraint: None,
            target_cluster: None,
        };
        let commands = [command];
        let first = client.request("first", &commands, &first_options);
        let mut kwargs = Map::new();
        kwargs.insert("name".into(), "a".into());
        let second_args = [json!(1), json!("two")];
        let second = client.call("second", &second_args, &kwargs, &options);
        let (first, second) = smol::future::zip(first, second).await;
        assert_eq!((first.unwrap().r.get(), second.unwrap().get()), (r#"{"a":1.5}"#, r#"[1,"two"]"#));
    });
}

#[test]
fn a_limit_is_told_to_the_node_and_kept_here() {
    let node = |message: &Value| {
        assert_eq!(message["timeout_seconds"], 0.05);
        vec![json!({ "u": "nobody" })]
    };
    against(node, async |client| {
        let options = CallOptions { timeout: Some(Duration::from_millis(50)), ..CallOptions::default() };
        let error = client.call("slow", &[0; 0], &Map::new(), &options).await.unwrap_err();
        assert_eq!(error.exit_status(), 75, "{error}");
    });
}

#[test]
fn what_waits_learns_that_the_connection_ended() {
    against(
        |_| Vec::new(),
        async |client| {
            for _ in 0..2 {
                let options = CallOptions::default();
                let error = client.call("f", &[0; 0], &Map::new(), &options).await.unwrap_err();
                assert!(matches!(error, ClientError::Lost { .. }), "{error}");
            }
        },
    );
}

#[test]
fn notifications_reach_their_subscription_in_order_and_an_unwanted_one_is_refused() {
    let node = |message: &Value| {
        let ack = |success: bool, error: Value| json!({ "role": "pubsub-ack", "operation_id": message["u"], "success": success, "error": error, "u": "ack" });
        let id = &message["subscription"]["subscription_id"];
        match message["role"].as_str().unwrap() {
            "pubsub-subscribe" if message["subscription"]["patterns"][0]["pattern"] == "no" => {
                vec![ack(false, json!("not for you"))]
            }
            "pubsub-subscribe" => {
                assert_eq!(message["subscription"]["get_backlog"], true);
                let notify = |n: i32| {
                    json!({ "role": "pubsub-notification", "subscription_id": id, "u": "n", "message": {
                        "topic": "a.b", "payload": { "n": n }, "timestamp": 1.0, "message_id": "m", "publisher": "p", "headers": {} } })
                };
                vec![notify(1), ack(true, Value::Null), notify(2)]
            }
            "pubsub-unsubscribe" => vec![ack(true, Value::Null)],
            "pubsub-publish" => vec![ack(message["message"]["topic"] == "yes", Value::Null)],
            other => panic!("{other}"),
        }
    };
    against(node, async |client| {
        let error = client.subscribe(&["no".to_owned()], 0).await.err().unwrap();
        assert!(error.to_string().contains("not for you"), "{error}");
        let mut subscription = client.subscribe(&["a.*".to_owned()], 5).await.unwrap();
        for n in [1, 2] {
            let notification = subscription.next().await.unwrap();
            let message = notification.message().unwrap();
            assert_eq!((&*message.topic, message.payload.get()), ("a.b", &*format!("{{\"n\":{n}}}")));
        }
        subscription.end().await.unwrap();
        let payload = raw("", &json!(1)).unwrap();
        assert!(client.publish("yes", &payload, &Map::new()).await.is_ok());
        assert_eq!(client.publish("no", &payload, &Map::new()).await.unwrap_err().exit_status(), 1);
        client.close().await;
    });
}

#[test]
fn an_unused_connection_is_kept_alive_on_every_framing() {
    for protocol in [Protocol::Ws, Protocol::Tcp] {
        let (told, heard) = bounded(1);
        let node = move |message: &Value| {
            // Notifications say nothing to the node, so they do not put it off.
            let _ = told.try_send(message.clone());
            vec![value(message, json!(0)), json!({ "role": "pubsub-notification" })]
        };
        let options = Options { keep_alive: Duration::from_millis(5), ..Options::default() };
        over(protocol, options, node, async |client| {
            for _ in 0..3 {
                let message = heard.recv().await.unwrap();
                assert_eq!(
                    (&message["u"], &message["cmds"][0]["fun"]),
                    (&json!("keep-alive"), &json!("echo"))
                );
            }
            heard.close();
            assert!(client.call("echo", &[0], &Map::new(), &CallOptions::default()).await.is_ok());
        });
    }
}

#[test]
fn what_a_transport_cannot_carry_is_refused() {
    let options = Options { api_key: Some("secret".to_owned()), ..Options::default() };
    for url in ["tcp://127.0.0.1:1", "TCPS://127.0.0.1:1"] {
        let error = options.dial_settings(url, LINK_LIMITS).err().unwrap();
        assert!(error.exit_status() == 2 && !error.to_string().contains("secret"), "{error}");
    }
    assert!(options.dial_settings("wss://127.0.0.1:1", LINK_LIMITS).is_ok());
}

#[test]
fn addresses_that_cannot_be_dialled_are_told_apart() {
    let executor = Executor::new();
    let status = |url: &str| {
        let connecting = Client::connect(&executor, url, Options::default());
        smol::block_on(executor.run(connecting)).err().unwrap().exit_status()
    };
    assert_eq!(["http://h", "127.0.0.1:1", "ws://", ""].map(status), [2, 2, 2, 2]);
    assert_eq!(status("ws://127.0.0.1:1"), 69);
    let options = Options { token: Some("secret\n".to_owned()), ..Options::default() };
    let connecting = Client::connect(&executor, "ws://127.0.0.1:1", options);
    let error = smol::block_on(executor.run(connecting)).err().unwrap();
    assert!(error.exit_status() == 2 && !error.to_string().contains("secret"), "{error}");
}
