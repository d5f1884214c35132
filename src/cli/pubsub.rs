//! `mpreg client subscribe` and `publish`, and the loop that prints notifications until it is enough.
//!
//! A line is written as soon as its message is here, and the end of the reader of stdout is the end of the verb.
//! Nothing is dropped on this side: a slow reader of stdout holds the connection back.

use std::time::Duration;

use serde_json::{Value, json};
use smol::{Timer, future::FutureExt};

use super::{
    output::{self, Failure, Outcome},
    remote::{self, Limit, json_or_text, pairs},
};
use crate::client::{Client, ClientError, Notification, Subscription};

remote_verb! {
    /// print messages as they are published, one a line
    #[argh(
        subcommand,
        name = "subscribe",
        example = "mpreg client subscribe 'orders.#' --url ws://127.0.0.1:7000",
        example = "mpreg client subscribe orders.new 'orders.*.failed' --count 10 --json",
        example = "mpreg client subscribe 'orders.#' --backlog 300 --duration 1",
        note = "Topics are words with dots between them. In a pattern * stands for one word and # for any number; quote them for the shell.",
        note = "Without --count and --duration it runs until it is interrupted. A line is the topic and the payload; with --json it is the whole message."
    )]
    struct Subscribe {
        /// topics to listen to
        #[argh(positional, arg_name = "PATTERN")]
        patterns: Vec<String>,
        /// also what was published in the last so many seconds
        #[argh(option, arg_name = "seconds", default = "0")]
        backlog: u64,
        /// end after so many messages
        #[argh(option, arg_name = "number")]
        count: Option<u64>,
        /// end after so many seconds
        #[argh(option, arg_name = "seconds")]
        duration: Option<f64>,
    }
}

impl Subscribe {
    pub fn run(self) -> Outcome {
        if self.patterns.is_empty() {
            return Err(Failure::usage(
                "subscribe to what? Give at least one PATTERN, as in: mpreg client subscribe 'orders.#'",
            ));
        }
        let until = Until::new(self.count, self.duration)?;
        let remote = self.remote();
        remote.with_client(Limit::Usual, async |client| {
            let subscription = client.subscribe(&self.patterns, self.backlog).await?;
            print_messages(subscription, until, |notification| {
                if remote.json {
                    return Ok(notification.message.get().to_owned());
                }
                let message = notification.message().map_err(not_a_message)?;
                let payload = match serde_json::from_str(message.payload.get()) {
                    Ok(Value::String(text)) => text,
                    _ => message.payload.get().to_owned(),
                };
                Ok(format!("{} {payload}", message.topic))
            })
            .await
        })
    }
}

remote_verb! {
    /// publish one message
    #[argh(
        subcommand,
        name = "publish",
        example = "mpreg client publish orders.new '{{\"id\": 7}}' --url ws://127.0.0.1:7000",
        example = "mpreg client publish alerts.disk full --header severity=high",
        note = "Success says that the node has taken the message; whether anybody listens is not known."
    )]
    struct Publish {
        /// topic, words with dots between them
        #[argh(positional, arg_name = "TOPIC")]
        topic: String,
        /// payload, read as JSON, or else as text
        #[argh(positional, arg_name = "PAYLOAD")]
        payload: String,
        /// header of the message
        #[argh(option, arg_name = "name=value")]
        header: Vec<String>,
    }
}

impl Publish {
    pub fn run(self) -> Outcome {
        let payload = json_or_text(&self.payload)?;
        let headers = pairs("--header", &self.header)?;
        let remote = self.remote();
        let message_id = remote.with_client(Limit::Usual, async |client: &Client| {
            let publishing = client.publish(&self.topic, &payload, &headers);
            Ok(output::waiting("publish", publishing).await?)
        })?;
        let result = json!({ "success": true, "topic": self.topic, "message_id": message_id });
        remote.show(&result, |_| format!("published {message_id} on {}\n", self.topic))
    }
}

/// When listening ends.
#[derive(Debug, Clone, Copy)]
pub struct Until {
    count: u64,
    duration: Option<Duration>,
}

impl Until {
    pub fn new(count: Option<u64>, duration: Option<f64>) -> Result<Until, Failure> {
        if count == Some(0) {
            return Err(Failure::usage("--count wants a number above 0"));
        }
        let duration = duration.map(|d| remote::seconds("--duration", d)).transpose()?;
        Ok(Until { count: count.unwrap_or(u64::MAX), duration })
    }
}

/// Prints a line for each message until it is enough.
pub async fn print_messages(
    mut subscription: Subscription,
    until: Until,
    line: impl Fn(&Notification) -> Result<String, Failure>,
) -> Outcome {
    let over = async {
        match until.duration {
            Some(duration) => Timer::after(duration).await,
            None => std::future::pending().await,
        };
        None
    };
    let mut over = std::pin::pin!(over);
    let mut printed = 0;
    while printed < until.count {
        let next: Option<Result<Notification, ClientError>> =
            async { Some(subscription.next().await) }.or(over.as_mut()).await;
        let Some(notification) = next else { break };
        output::print_line(&line(&notification?)?)?;
        printed += 1;
    }
    Ok(())
}

pub fn not_a_message(error: serde_json::Error) -> Failure {
    Failure::failed(format!("a notification cannot be read: {error}"))
}
