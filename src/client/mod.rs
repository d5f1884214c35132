//! A client of a node: calls, requests, subscriptions and publishing over one connection.
//!
//! One task owns the connection; calls hand it frames and wait for the answer that carries their id, so any number
//! of calls may be under way at once. The task pings a silent node and ends the connection when no sign of life
//! comes back: nothing here waits for a dead peer. It also says something harmless on a connection that nobody uses. A subscriber that does not take its notifications holds the
//! reading back (and with it the answers of the same connection); it never loses messages on this side.
//! There is no reconnecting: when the connection ends, everything that waits fails with the reason.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use smol::{
    Executor, Timer,
    channel::{Receiver, Sender, bounded},
    future::FutureExt,
};

mod connection;
mod error;
mod messages;
mod open;

pub use error::ClientError;
pub use messages::{Command, Notification};

pub use crate::wire::client::answer::Published;
pub use open::{LINK_LIMITS, open, protocol};

use crate::drive::tls::TlsTrust;
use messages::{Answer, Envelope, Publish, Request, Subscribe, SubscriptionBody, Unsubscribe};

/// How to reach a node and how long to wait for it.
#[derive(Clone)]
pub struct Options {
    /// Sent as `Authorization: Bearer`.
    pub token: Option<String>,
    /// Sent as `X-API-Key`.
    pub api_key: Option<String>,
    /// Needed for wss and tcps.
    pub tls: Option<Arc<TlsTrust>>,
    /// Until the connection is open, name resolution and handshake included.
    pub connect_timeout: Duration,
    /// For everything that is asked without a limit of its own; `None` waits as long as the connection lives.
    pub timeout: Option<Duration>,
    /// After so long without a message of ours a harmless one is sent: nodes of the older implementation close a
    /// connection on which they get none for 60 s, and pings do not count.
    pub keep_alive: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            token: None,
            api_key: None,
            tls: None,
            connect_timeout: CONNECT_TIMEOUT,
            timeout: None,
            keep_alive: KEEP_ALIVE,
        }
    }
}

/// What may be said about one call besides its name and arguments.
#[derive(Debug, Clone, Default)]
pub struct CallOptions {
    /// Resources that the function must carry.
    pub locs: Vec<String>,
    pub function_id: Option<String>,
    pub version_constraint: Option<String>,
    pub target_cluster: Option<String>,
    /// Also sent to the node, which cancels the work when it has passed.
    pub timeout: Option<Duration>,
}

/// What may be said about a request of several commands.
#[derive(Debug, Clone, Default)]
pub struct RequestOptions {
    pub return_intermediate_results: bool,
    pub include_execution_summary: bool,
    /// Also sent to the node, which cancels the work when it has passed.
    pub timeout: Option<Duration>,
}

/// The answer to a request that succeeded.
#[derive(Debug)]
pub struct Results {
    /// `{command name: value}` of the last round.
    pub r: Box<RawValue>,
    pub intermediate_results: Option<Box<RawValue>>,
    pub execution_summary: Option<Box<RawValue>>,
}

/// One connection to a node. Clones share it.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    outgoing: Sender<Outgoing>,
    ended: Receiver<()>,
}

impl Client {
    /// Opens a connection; its task runs on `executor`, which the caller must keep running.
    pub async fn connect(
        executor: &Executor<'static>,
        url: &str,
        options: Options,
    ) -> Result<Client, ClientError> {
        let link = open(url, &options.dial_settings(url, LINK_LIMITS)?).await?;
        log::debug!("connected to {url}");
        let shared = Arc::new(Shared {
            url: url.to_owned(),
            timeout: options.timeout,
            state: Mutex::new(State::default()),
        });
        let (outgoing, frames) = bounded(OUTGOING_MAX);
        let (alive, ended) = bounded(1);
        let task = connection::run(link, frames, shared.clone(), options.keep_alive, alive);
        executor.spawn(task).detach();
        Ok(Client { shared, outgoing, ended })
    }

    /// Calls one function. `args` must be something that becomes a JSON array.
    pub async fn call<A: Serialize + ?Sized>(
        &self,
        fun: &str,
        args: &A,
        kwargs: &serde_json::Map<String, serde_json::Value>,
        options: &CallOptions,
    ) -> Result<Box<RawValue>, ClientError> {
        let args = raw(fun, args)?;
        let name = command_name();
        let command = Command {
            name: &name,
            fun,
            args: &args,
            kwargs,
            locs: &options.locs,
            function_id: options.function_id.as_deref(),
            version_constraint: options.version_constraint.as_deref(),
            target_cluster: options.target_cluster.as_deref(),
        };
        let request = RequestOptions { timeout: options.timeout, ..RequestOptions::default() };
        let results = self.request(fun, &[command], &request).await?;
        let mut values: BTreeMap<String, &RawValue> =
            serde_json::from_str(results.r.get()).map_err(|e| ClientError::NotUnderstood {
                what: fun.to_owned(),
                why: format!("the member `r` of the answer is no object: {e}"),
            })?;
        match values.remove(&name) {
            Some(value) => Ok(value.to_owned()),
            None => Err(ClientError::NotUnderstood {
                what: fun.to_owned(),
                why: "the answer does not hold the value of the call".to_owned(),
            }),
        }
    }

    /// Sends several commands as one request (client.md 2.3); `what` names it in errors.
    pub async fn request(
        &self,
        what: &str,
        commands: &[Command<'_>],
        options: &RequestOptions,
    ) -> Result<Results, ClientError> {
        let (u, id) = self.shared.next_id();
        let frame = Request {
            role: "rpc",
            u: &u,
            cmds: commands,
            return_intermediate_results: options.return_intermediate_results,
            include_execution_summary: options.include_execution_summary,
            timeout_seconds: options.timeout.map(|t| t.as_secs_f64()),
        };
        let bytes = self.exchange(what, id, &frame, options.timeout).await?;
        let answer: Answer = decode(what, &bytes)?;
        match (answer.error, answer.r) {
            (Some(error), _) => Err(ClientError::Answered { what: what.to_owned(), error: Box::new(error) }),
            (None, Some(r)) => Ok(Results {
                r: r.to_owned(),
                intermediate_results: answer.intermediate_results.map(RawValue::to_owned),
                execution_summary: answer.execution_summary.map(RawValue::to_owned),
            }),
            (None, None) => Err(ClientError::NotUnderstood {
                what: what.to_owned(),
                why: "the answer has neither a result nor an error".to_owned(),
            }),
        }
    }

    /// Subscribes to topics; with `backlog_seconds` above 0 also asks for what was published before.
    pub async fn subscribe(
        &self,
        patterns: &[String],
        backlog_seconds: u64,
    ) -> Result<Subscription, ClientError> {
        let subscription_id = format!("s-{}", command_name());
        let (sender, notifications) = bounded(NOTIFICATIONS_MAX);
        // Before the request: stored messages may arrive ahead of the acknowledgement.
        self.shared.lock().subscriptions.insert(subscription_id.clone(), sender);
        let (u, id) = self.shared.next_id();
        let frame = Subscribe {
            role: "pubsub-subscribe",
            u: &u,
            subscription: SubscriptionBody::new(&subscription_id, patterns, wall_seconds(), backlog_seconds),
        };
        let what = format!("subscribe to {}", patterns.join(" "));
        let acknowledged = self.exchange(&what, id, &frame, None).await.and_then(|b| acknowledged(&what, &b));
        match acknowledged {
            Ok(()) => Ok(Subscription { client: self.clone(), subscription_id, notifications }),
            Err(error) => {
                self.shared.lock().subscriptions.remove(&subscription_id);
                Err(error)
            }
        }
    }

    /// Publishes one message and waits until the node has taken it; answers with the id of the message.
    pub async fn publish(
        &self,
        topic: &str,
        payload: &RawValue,
        headers: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<String, ClientError> {
        let message_id = format!("m-{}", command_name());
        let (u, id) = self.shared.next_id();
        let frame = Publish {
            role: "pubsub-publish",
            u: &u,
            message: messages::PublishBody {
                topic,
                payload,
                timestamp: wall_seconds(),
                message_id: &message_id,
                publisher: PUBLISHER,
                headers,
            },
        };
        let what = format!("publish on {topic}");
        let bytes = self.exchange(&what, id, &frame, None).await?;
        acknowledged(&what, &bytes)?;
        Ok(message_id)
    }

    /// Ends the connection in order: what was handed over is sent first.
    pub async fn close(self) {
        if self.outgoing.send(Outgoing::Close).await.is_ok() {
            // An error here is the sign that the task has ended.
            let _ = within(Some(CLOSE_TIMEOUT), self.ended.recv()).await;
        }
    }

    async fn exchange<F: Serialize>(
        &self,
        what: &str,
        id: u64,
        frame: &F,
        timeout: Option<Duration>,
    ) -> Result<Bytes, ClientError> {
        let frame = Bytes::from(
            serde_json::to_vec(frame)
                .map_err(|e| ClientError::NotSent { what: what.to_owned(), why: e.to_string() })?,
        );
        log::debug!("-> {}", String::from_utf8_lossy(&frame));
        let (sender, answer) = bounded(1);
        {
            let mut state = self.shared.lock();
            if let Some(end) = &state.end {
                return Err(end.clone());
            }
            state.waiting.insert(id, sender);
        }
        let limit = timeout.or(self.shared.timeout);
        let exchanged = within(limit.map(|l| l + ANSWER_GRACE), async {
            // When the task has ended it has also answered everything that waits.
            let _ = self.outgoing.send(Outgoing::Frame(frame)).await;
            answer.recv().await
        })
        .await;
        match exchanged {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(self.shared.end()),
            None => {
                self.shared.lock().waiting.remove(&id);
                Err(ClientError::TimedOut { what: what.to_owned(), after: limit.unwrap_or_default() })
            }
        }
    }
}

/// Notifications of one subscription, in the order in which the node sent them.
pub struct Subscription {
    client: Client,
    subscription_id: String,
    notifications: Receiver<Notification>,
}

impl Subscription {
    /// The next notification; fails when the connection ends.
    pub async fn next(&mut self) -> Result<Notification, ClientError> {
        self.notifications.recv().await.map_err(|_| self.client.shared.end())
    }

    /// Ends the subscription; what has arrived and was not taken is dropped.
    pub async fn end(self) -> Result<(), ClientError> {
        self.client.shared.lock().subscriptions.remove(&self.subscription_id);
        self.notifications.close();
        let (u, id) = self.client.shared.next_id();
        let frame = Unsubscribe { role: "pubsub-unsubscribe", u: &u, subscription_id: &self.subscription_id };
        let bytes = self.client.exchange("unsubscribe", id, &frame, None).await?;
        acknowledged("unsubscribe", &bytes)
    }
}

/// Runs `future` for at most `limit`.
pub(crate) async fn within<T>(limit: Option<Duration>, future: impl Future<Output = T>) -> Option<T> {
    match limit {
        None => Some(future.await),
        Some(limit) => {
            async { Some(future.await) }
                .or(async {
                    Timer::after(limit).await;
                    None
                })
                .await
        }
    }
}

/// What the task of a connection is asked to do.
enum Outgoing {
    Frame(Bytes),
    Close,
}

struct Shared {
    url: String,
    timeout: Option<Duration>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last_id: u64,
    waiting: BTreeMap<u64, Sender<Result<Bytes, ClientError>>>,
    subscriptions: BTreeMap<String, Sender<Notification>>,
    /// Why the connection ended.
    end: Option<ClientError>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn next_id(&self) -> (String, u64) {
        let mut state = self.lock();
        state.last_id += 1;
        (state.last_id.to_string(), state.last_id)
    }

    fn end(&self) -> ClientError {
        self.lock().end.clone().unwrap_or_else(|| ClientError::Lost {
            url: self.url.clone(),
            why: "the connection was closed on this side".to_owned(),
        })
    }

    /// Hands an answer to whoever waits for it; says which subscriber a notification is for.
    fn accept(&self, bytes: Bytes) -> Option<(Sender<Notification>, Notification)> {
        log::debug!("<- {}", String::from_utf8_lossy(&bytes));
        let envelope: Envelope = match serde_json::from_slice(&bytes) {
            Ok(envelope) => envelope,
            Err(e) => {
                log::debug!("ignored a message that is not of the protocol: {e}");
                return None;
            }
        };
        if envelope.role.as_deref() == Some("pubsub-notification") {
            let notification: Notification = serde_json::from_slice(&bytes)
                .inspect_err(|e| log::debug!("ignored a notification that cannot be read: {e}"))
                .ok()?;
            let sender = self.lock().subscriptions.get(&notification.subscription_id).cloned()?;
            return Some((sender, notification));
        }
        let id = envelope.operation_id.or(envelope.u).and_then(|u| u.parse::<u64>().ok());
        match id.and_then(|id| self.lock().waiting.remove(&id)) {
            // The channel has room for the one answer; a caller that has gone away does not want it.
            Some(waiting) => drop(waiting.try_send(Ok(bytes))),
            None => log::debug!("ignored an answer that nobody waits for"),
        }
        None
    }

    /// The connection is over: everything that waits learns why.
    fn finish(&self, end: ClientError) {
        let mut state = self.lock();
        for (_, waiting) in std::mem::take(&mut state.waiting) {
            let _ = waiting.try_send(Err(end.clone()));
        }
        state.subscriptions.clear();
        state.end = Some(end);
    }
}

fn raw<T: Serialize + ?Sized>(what: &str, value: &T) -> Result<Box<RawValue>, ClientError> {
    serde_json::value::to_raw_value(value)
        .map_err(|e| ClientError::NotSent { what: what.to_owned(), why: e.to_string() })
}

fn decode<'a, T: serde::Deserialize<'a>>(what: &str, bytes: &'a Bytes) -> Result<T, ClientError> {
    serde_json::from_slice(bytes)
        .map_err(|e| ClientError::NotUnderstood { what: what.to_owned(), why: e.to_string() })
}

fn acknowledged(what: &str, bytes: &Bytes) -> Result<(), ClientError> {
    let ack: messages::Acknowledgement = decode(what, bytes)?;
    if ack.success {
        return Ok(());
    }
    // A node may answer with the error of a call instead of a refusing acknowledgement.
    Err(match ack.error {
        Some(messages::AckError::Call(error)) => {
            ClientError::Answered { what: what.to_owned(), error: Box::new(error) }
        }
        Some(messages::AckError::Text(why)) => ClientError::NotAccepted { what: what.to_owned(), why },
        None => ClientError::NotAccepted { what: what.to_owned(), why: "no reason was given".to_owned() },
    })
}

/// A name that no argument can contain by accident: a text argument that equals the name of a command, or begins
/// with it and a dot, would be replaced by its result (client.md 2.3).
fn command_name() -> String {
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = std::hash::RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    let elapsed = UNIX_EPOCH.elapsed().unwrap_or_default();
    hasher.write_u128(elapsed.as_nanos());
    format!("{:016x}", hasher.finish())
}

fn wall_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Half of what an older node waits.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// A node that was told the limit answers with a better reason than our own clock: it gets this much longer.
const ANSWER_GRACE: Duration = Duration::from_millis(200);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Frames handed over and not yet written.
const OUTGOING_MAX: usize = 256;
/// Notifications that wait for a subscriber before reading stops.
const NOTIFICATIONS_MAX: usize = 4096;
const PUBLISHER: &str = "mpreg-client";

#[cfg(test)]
mod tests;
