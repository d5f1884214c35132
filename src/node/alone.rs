//! Requests of one command that runs on another node: the bulk of what crosses a cluster, kept without a task.
//!
//! Such a request is sent on by the task that read it and answered by whoever hears the answer: what waits is its frame.
//! A plain result is answered as it comes; for any other outcome the frame is read again, so that `core::rpc::run` decides
//! here as for every other request. Where another node has to be tried the request becomes a future as the others are.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::connection::{Connection, Origin, Served};
use super::control::{Tried, Waiting};
use super::hub::{Hub, Places, lock};
use super::outlet::{Outlet, UnderWay};
use super::request;
use crate::core::error::{CallError, TIMED_OUT};
use crate::core::fabric::{Chosen, Event};
use crate::core::rpc::run::{Lone, Next, Ready, Run, Step};
use crate::core::rpc::select::Demands;
use crate::core::time::Now;
use crate::wire::client::{Message, RpcRequest, read};
use crate::wire::json::Json;

/// A request that waits for another node.
pub struct Alone {
    outlet: Arc<Outlet>,
    origin: Arc<Origin>,
    frame: Bytes,
    lone: Option<Lone>,
    started: Now,
    chosen: Chosen,
    _places: Places,
    under_way: UnderWay,
}

impl Alone {
    pub fn is_of(&self, outlet: &Outlet) -> bool {
        self.outlet.id() == outlet.id()
    }
}

/// Sends a request on where it is of this kind; `None` for all others.
pub fn send_on(
    connection: &mut Connection,
    request: &RpcRequest<'_>,
    frame: &Bytes,
    now: Now,
) -> Option<Served> {
    let hub = connection.hub.clone();
    let [command] = request.commands.as_slice() else { return None };
    let functions = hub.functions();
    // A worker here may serve it: that is found out where it then runs, once.
    if functions.may_serve(command, hub.cluster_id()) || functions.is_forced_local(command, hub.cluster_id())
    {
        return None;
    }
    let (mut run, step) = Run::start(request, hub.rpc_limits(), now);
    let ready = match step {
        Step { next: Next::Dispatch(level), progress: None } => level.into_iter().next()?,
        Step { next: Next::Done(answer), .. } => return Some(request::finish(connection, &hub, &answer)),
        Step { .. } => return None,
    };
    let demands = Demands::of(ready.command, ready.constraint.as_ref());
    let Some(places) = hub.take_places(1) else {
        let error = request::no_place(&hub);
        return Some(request::refuse(connection, &request.u, &error));
    };
    let mut control = lock(&hub.control);
    let chosen = match control.fabric.choose_endpoint(&demands, &[], now) {
        Ok(chosen) => chosen,
        Err(error) => {
            drop(control);
            return match run.completed(ready.index, Err(error), now).next {
                Next::Done(answer) => Some(request::finish(connection, &hub, &answer)),
                Next::Dispatch(_) | Next::Wait => Some(Served::Done),
            };
        }
    };
    let Ready { args, kwargs, .. } = &ready;
    let alone = Alone {
        outlet: connection.outlet.clone(),
        origin: connection.origin.clone(),
        frame: frame.clone(),
        lone: Lone::of(request, hub.rpc_limits()),
        started: now,
        chosen: chosen.clone(),
        _places: places,
        under_way: connection.outlet.begin(),
    };
    let waiting = Waiting::Alone(Box::new(alone));
    hub.send_to(
        &mut control,
        (chosen.cluster, chosen.node),
        &demands,
        (args, kwargs),
        run.deadline(),
        waiting,
        now,
    );
    Some(Served::Done)
}

impl Hub {
    /// Another node has answered, or will not.
    pub(super) fn answer_alone(
        self: &Arc<Self>,
        alone: Alone,
        outcome: Result<Box<RawValue>, CallError>,
        now: Now,
    ) {
        let outcome = match outcome {
            Err(error) if error.may_run_elsewhere(alone.chosen.idempotent) => {
                return self.try_again(alone, error);
            }
            outcome => outcome.map(Json::from),
        };
        let outcome = match (outcome, &alone.lone) {
            (Ok(result), Some(lone)) => {
                let mut out = Vec::with_capacity(ANSWER_BYTES + result.as_bytes().len());
                if let Some(error) = lone.answer(result, &mut out) {
                    self.count_error(&error);
                }
                return alone.outlet.answer(&self.counters, out.into());
            }
            (outcome, _) => outcome,
        };
        let Ok(Message::Rpc(request)) = read(&alone.frame) else { return };
        let (mut run, _) = Run::start(&request, self.rpc_limits(), alone.started);
        if let [command] = request.commands.as_slice()
            && self.leaves_cluster(command)
        {
            run.left_cluster();
        }
        // The end of the time of a request has its own words.
        let is_late = matches!(&outcome, Err(error) if error.code == TIMED_OUT) && now.mono >= run.deadline();
        let step = if is_late { run.expired(now) } else { run.completed(0, outcome, now) };
        request::publish_progress(self, step.progress, now);
        if let Next::Done(answer) = step.next {
            let mut out = Vec::with_capacity(ANSWER_BYTES);
            if let Some(error) = answer.write(&mut out) {
                self.count_error(&error);
            }
            alone.outlet.answer(&self.counters, out.into());
        }
    }

    fn try_again(self: &Arc<Self>, alone: Alone, error: CallError) {
        self.count_error(&error);
        let Alone { outlet, origin, frame, started, chosen, under_way, .. } = alone;
        let (hub, tried) = (self.clone(), Tried::one(chosen.node, error));
        let again = async move {
            if let Some(answer) = request::run_apart(hub.clone(), origin, frame, started, tried).await {
                outlet.answer(&hub.counters, answer);
            }
            drop(under_way);
        };
        self.executor.spawn(again).detach();
    }

    /// The client of these has gone.
    pub fn cancel_alone(self: &Arc<Self>, outlet: &Outlet) {
        if outlet.under_way() == 0 {
            return;
        }
        let now = self.clock.now();
        let mut control = lock(&self.control);
        for request_id in control.take_alone(outlet) {
            self.control_locked(&mut control, Event::CancelCall { request_id }, now);
        }
    }
}

/// What most answers fit into.
const ANSWER_BYTES: usize = 512;
