//! Requests of one connection: run here at once where everything asked for answers at once, sent on as they are where
//! another node serves their one command (see [`super::alone`]), else as a future of the connection.
//!
//! The order of commands, references, debug outputs and the answer are decided by `core::rpc::run`; this module finds
//! where each command runs and carries arguments and results.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::value::RawValue;

use super::alone;
use super::connection::{Connection, Origin, Served};
use super::control::Tried;
use super::explain;
use super::functions::Local;
use super::hub::Hub;
use crate::core::discovery::Viewer;
use crate::core::error::CallError;
use crate::core::fabric::Execution;
use crate::core::reason::Reason;
use crate::core::rpc::builtin;
use crate::core::rpc::run::{Answer, Limits, Next, Progress, Ready, Run};
use crate::core::rpc::select::Demands;
use crate::core::time::Now;
use crate::wire::client::{Message, RpcRequest, read, write};
use crate::wire::json::Json;

/// Serves one request of a client.
pub fn serve(connection: &mut Connection, request: &RpcRequest<'_>, frame: &Bytes, now: Now) -> Served {
    let hub = connection.hub.clone();
    hub.counters.requests.fetch_add(1, Relaxed);
    hub.counters.commands.fetch_add(request.commands.len() as u64, Relaxed);
    if let Some((reason, text)) = hub.takes_no_work() {
        let error = CallError::failed(text).because(reason);
        return refuse(connection, &request.u, &error);
    }
    let functions = hub.functions();
    if !request.commands.iter().all(|command| functions.answers_at_once(command, hub.cluster_id())) {
        if let Some(served) = alone::send_on(connection, request, frame, now) {
            return served;
        }
        let work = run_apart(hub, connection.origin.clone(), frame.clone(), now, Tried::default());
        return Served::Later(Box::pin(work));
    }
    let origin = connection.origin.clone();
    let (mut run, mut step) = Run::start(request, hub.rpc_limits(), now);
    loop {
        publish_progress(&hub, step.progress.take(), now);
        match step.next {
            Next::Done(answer) => return finish(connection, &hub, &answer),
            // A level that was dispatched has been reported in full, so nothing is left to wait for.
            Next::Wait => return Served::Done,
            Next::Dispatch(level) => {
                let mut last = None;
                for ready in level {
                    let result = at_once(&hub, &origin.viewer, &ready, now);
                    let after = run.completed(ready.index, result, hub.clock.now());
                    if !matches!(after.next, Next::Wait) {
                        last = Some(after);
                    }
                }
                match last {
                    Some(after) => step = after,
                    None => return Served::Done,
                }
            }
        }
    }
}

/// Runs a local command for another node; what is not served here fails with 1001.
pub async fn execute_for_peer(
    hub: &Arc<Hub>,
    demands: &Demands<'_>,
    viewer: &Viewer,
    args: &RawValue,
    kwargs: &RawValue,
    time: Duration,
) -> Result<Json, CallError> {
    let functions = hub.functions();
    match functions.find(demands, hub.cluster_id())? {
        Local::Echo => builtin::echo(args, kwargs).map(Json::from),
        Local::Echos => builtin::echos(args, kwargs).map(Json::from),
        Local::Discovery => hub.discover(demands.fun, args, kwargs, viewer).await,
        Local::Explain => explain::answer(hub, args, viewer, time).await,
        Local::Worker(key) => hub.workers().call(key, args, kwargs, time).await.map(Json::from),
    }
}

/// The outcome of a call of another node for a function that answers at once and looks at nothing; `None` for others.
pub fn echo_for_peer(hub: &Hub, call: &Execution) -> Option<Result<Box<RawValue>, CallError>> {
    let plain = call.function_id.is_none() && call.version_constraint.is_none() && call.resources.is_empty();
    let functions = hub.functions();
    match functions.plain(&call.command).filter(|_| plain)? {
        Local::Echo => Some(builtin::echo(&call.args, &call.kwargs).map(RawValue::to_owned)),
        Local::Echos => Some(builtin::echos(&call.args, &call.kwargs).map(RawValue::to_owned)),
        Local::Discovery | Local::Explain | Local::Worker(_) => None,
    }
}

/// Index of a command, and what became of it.
type Reported = (usize, Result<Json, CallError>);

/// A request that has to wait for something. The frame is read again, so that everything may be borrowed from it.
///
/// `tried` is not empty where it failed at other nodes already: then it has one command.
pub async fn run_apart(
    hub: Arc<Hub>,
    origin: Arc<Origin>,
    frame: Bytes,
    started: Now,
    tried: Tried,
) -> Option<Bytes> {
    let Ok(Message::Rpc(request)) = read(&frame) else { return None };
    let Some(_place) = hub.take_places(request.commands.len()) else {
        let error = no_place(&hub);
        hub.count_error(&error);
        let mut out = Vec::new();
        write::error(&mut out, &request.u, &error);
        return Some(out.into());
    };
    let (mut run, mut step) = Run::start(&request, hub.rpc_limits(), started);
    let mut deadline = hub.deadlines.until(run.deadline());
    let mut calls = FuturesUnordered::new();
    loop {
        publish_progress(&hub, step.progress.take(), hub.clock.now());
        match step.next {
            Next::Done(answer) => {
                let mut out = Vec::new();
                if let Some(error) = answer.write(&mut out) {
                    hub.count_error(&error);
                }
                return Some(out.into());
            }
            Next::Wait => {}
            Next::Dispatch(level) => {
                let deadline = run.deadline();
                for ready in level {
                    if hub.leaves_cluster(ready.command) {
                        run.left_cluster();
                    }
                    let (hub, viewer, tried) = (&hub, &origin.viewer, tried.clone());
                    let call: Pin<Box<dyn Future<Output = Reported> + Send + '_>> = Box::pin(async move {
                        (ready.index, command(hub, viewer, &ready, deadline, tried).await)
                    });
                    calls.push(call);
                }
            }
        }
        let ended = smol::future::or(async { calls.next().await }, async {
            (&mut deadline).await;
            None
        });
        step = match ended.await {
            Some((index, result)) => run.completed(index, result, hub.clock.now()),
            None => run.expired(hub.clock.now()),
        };
    }
}

/// One command, wherever it runs.
async fn command(
    hub: &Arc<Hub>,
    viewer: &Viewer,
    ready: &Ready<'_>,
    deadline: Duration,
    tried: Tried,
) -> Result<Json, CallError> {
    let time = deadline.saturating_sub(hub.clock.now().mono);
    let functions = hub.functions();
    let demands = Demands::of(ready.command, ready.constraint.as_ref());
    if functions.is_forced_local(ready.command, hub.cluster_id()) {
        return hub.discover(&ready.command.fun, &ready.args, &ready.kwargs, viewer).await;
    }
    let local = functions.find(&demands, hub.cluster_id());
    // What every node has runs where it is asked.
    if matches!(local, Ok(Local::Worker(_)) | Err(_)) {
        let serves_it = local.is_ok();
        let elsewhere =
            hub.call_elsewhere(&demands, &ready.args, &ready.kwargs, deadline, tried, serves_it).await;
        if let Some(outcome) = elsewhere {
            return outcome;
        }
    }
    match local {
        Ok(Local::Echo) => builtin::echo(&ready.args, &ready.kwargs).map(Json::from),
        Ok(Local::Echos) => builtin::echos(&ready.args, &ready.kwargs).map(Json::from),
        Ok(Local::Discovery) => hub.discover(&ready.command.fun, &ready.args, &ready.kwargs, viewer).await,
        Ok(Local::Explain) => explain::answer(hub, &ready.args, viewer, time).await,
        Ok(Local::Worker(key)) => {
            let call: Pin<Box<dyn Future<Output = _> + Send + '_>> =
                Box::pin(hub.workers().call(key, &ready.args, &ready.kwargs, time));
            call.await.map(Json::from)
        }
        Err(error) => Err(error),
    }
}

/// A command of which `answers_at_once` is true.
fn at_once(hub: &Arc<Hub>, viewer: &Viewer, ready: &Ready<'_>, now: Now) -> Result<Json, CallError> {
    let functions = hub.functions();
    if functions.is_forced_local(ready.command, hub.cluster_id()) {
        return hub.discover_now(&ready.command.fun, &ready.args, &ready.kwargs, viewer, now);
    }
    match functions.plain(&ready.command.fun) {
        Some(Local::Echo) => builtin::echo(&ready.args, &ready.kwargs).map(Json::from),
        Some(Local::Echos) => builtin::echos(&ready.args, &ready.kwargs).map(Json::from),
        _ => Err(CallError::not_found(&ready.command.fun)),
    }
}

pub fn finish(connection: &mut Connection, hub: &Hub, answer: &Answer<'_>) -> Served {
    connection.answer(|out| {
        if let Some(error) = answer.write(out) {
            hub.count_error(&error);
        }
    })
}

/// Answers a request that is not served.
pub fn refuse(connection: &mut Connection, u: &str, error: &CallError) -> Served {
    connection.hub.count_error(error);
    connection.answer(|out| write::error(out, u, error))
}

pub fn no_place(hub: &Hub) -> CallError {
    let limit = hub.settings().limits.pending_calls_max;
    let text = format!("{limit} calls are under way, the limit (limits.pending_calls_max); try again later");
    CallError::failed(text).because(Reason::PendingCallsLimit)
}

pub fn publish_progress(hub: &Arc<Hub>, progress: Option<Progress<'_>>, now: Now) {
    if let Some(progress) = progress {
        let message = progress.message(hub.node_name());
        hub.publish_own(&message, now);
    }
}

impl Hub {
    pub fn rpc_limits(&self) -> Limits {
        let settings = self.settings();
        Limits {
            time_seconds: settings.fabric.rpc_timeout.as_secs_f64(),
            message_bytes_max: settings.listen.max_message as usize,
        }
    }
}
