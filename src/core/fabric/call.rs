//! Calls between nodes (fabric.md 11, 12): those of our clients that run elsewhere, those of others that run here, and
//! those that pass through.
//!
//! Every call has an end: its answer, its deadline, or the loss of the link it went over, which is told at once. One
//! request id runs once, whichever ways it comes. Answers go back the way the request came, or another where that is
//! gone. The time that is left travels along, and so does the news that nobody waits any more. Who may ask and answer is
//! decided by the link: only peers do, in the name of clusters that they may speak for, and only the node that was asked,
//! or the one it was asked for, answers.

mod answer;
mod cancel;
mod failure;
mod shares;
mod time_left;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::value::to_raw_value;

use cancel::CANCEL_TOPIC;
use failure::{LINK_LOST, call_error, error_object, failure, forward_failed};
use shares::Shares;
use time_left::{time_left, with_time_left};

use super::onward::{Journey, Stage, Stuck, constraint_of, exceeds};
use super::seen::{Seen, is_bounded};
use super::way::{Hop, NoWay, Visited};
use super::*;
use crate::core::error::{NOT_FOUND, TIMED_OUT};
use crate::wire::fabric::compact::{self, Carried};
use crate::wire::fabric::{
    Headers, Message, MessageKind, Rpc, RpcError, RpcRequest, RpcResponse, Str, empty_object,
};

/// The calls under way.
#[derive(Debug)]
pub(super) struct Calls {
    max: usize,
    /// Of our clients, by request id.
    waiting: BTreeMap<Text, Waiting>,
    /// Of other nodes, run here.
    running: BTreeMap<u64, Running>,
    /// Of other nodes, passed on: by request id and the node that asks.
    passed: BTreeMap<(Text, Text), Passed>,
    /// Of those that run and that were passed on, by the peer that asked.
    running_of: Shares,
    passed_of: Shares,
    deadlines: BTreeSet<(Duration, Due)>,
    last_execution: u64,
    /// Requests that have been here, with the node that asks.
    seen: Seen,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Waiting(Text),
    Passed((Text, Text)),
}

#[derive(Debug)]
struct Waiting {
    command: Text,
    cluster: Text,
    /// The node that is to run it.
    node: Text,
    /// The peer it was sent to.
    hop: Text,
    link: LinkId,
    deadline: Duration,
}

#[derive(Debug)]
struct Running {
    asked: Asked,
    command: Text,
}

#[derive(Debug)]
struct Passed {
    asked: Asked,
    command: Text,
    hop: Text,
    cluster: Text,
    node: Text,
    link: LinkId,
    deadline: Duration,
}

/// What it takes to answer a request.
#[derive(Debug, Clone)]
struct Asked {
    link: LinkId,
    /// The peer that the request came from.
    peer: Text,
    request_id: Text,
    reply_to: Text,
    reply_cluster: Option<Text>,
    /// The path of the request.
    path: Vec<Text>,
}

impl Calls {
    /// For a reload; calls above a smaller limit run to their end.
    pub fn set_limit(&mut self, max: usize) {
        self.max = max;
    }

    pub fn new(max: usize) -> Calls {
        Calls {
            max,
            waiting: BTreeMap::new(),
            running: BTreeMap::new(),
            passed: BTreeMap::new(),
            running_of: Shares::default(),
            passed_of: Shares::default(),
            deadlines: BTreeSet::new(),
            last_execution: 0,
            seen: Seen::new(REQUESTS_REMEMBERED),
        }
    }

    /// How many wait here, run here and were passed on.
    pub fn counts(&self) -> [usize; 3] {
        [self.waiting.len(), self.running.len(), self.passed.len()]
    }

    pub fn next_deadline(&self) -> Option<Duration> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Whether the end of this link would end a call.
    pub fn are_under_way_over(&self, link: LinkId) -> bool {
        self.waiting.values().any(|w| w.link == link)
            || self.passed.values().any(|p| p.link == link || p.asked.link == link)
            || self.running.values().any(|r| r.asked.link == link)
    }

    fn take_waiting(&mut self, request_id: &Text) -> Option<Waiting> {
        let waiting = self.waiting.remove(request_id)?;
        self.deadlines.remove(&(waiting.deadline, Due::Waiting(request_id.clone())));
        Some(waiting)
    }

    fn take_passed(&mut self, key: &(Text, Text)) -> Option<Passed> {
        let passed = self.passed.remove(key)?;
        self.deadlines.remove(&(passed.deadline, Due::Passed(key.clone())));
        self.passed_of.give_back(&passed.asked.peer);
        Some(passed)
    }

    fn take_running(&mut self, execution: u64) -> Option<Running> {
        let running = self.running.remove(&execution)?;
        self.running_of.give_back(&running.asked.peer);
        Some(running)
    }

    fn passed_key(&self, response: &RpcResponse) -> Option<(Text, Text)> {
        let key = (response.request_id.to_text(), response.reply_to.to_text());
        if self.passed.contains_key(&key) {
            return Some(key);
        }
        let of_id = self.passed.range((key.0.clone(), Text::from(""))..).next().map(|(k, _)| k.clone());
        of_id.filter(|(id, _)| response.reply_to.is_empty() && *id == key.0)
    }
}

impl Fabric {
    /// A command of our client for another node.
    pub(super) fn call(&mut self, call: Call, now: Now, out: &mut Vec<Action>) {
        let (own, cluster) = (self.node_id().clone(), self.cluster_id().clone());
        let fail = |out: &mut Vec<Action>, reason: Reason, text: String| {
            let outcome = Err(CallError::failed(text).because(reason));
            out.push(Action::CallAnswered { request_id: call.request_id.clone(), outcome });
        };
        if self.stopping {
            return fail(out, Reason::Stopping, "the node is shutting down".into());
        }
        if !self.own.routing {
            let text = format!(
                "{} is offered by {}, and this node calls no others (fabric.routing = false)",
                call.command, call.node
            );
            return fail(out, Reason::RoutingOff, text);
        }
        if self.calls.waiting.len() >= self.calls.max {
            return fail(
                out,
                Reason::PendingCallsLimit,
                "too many calls to other nodes are under way".into(),
            );
        }
        if self.calls.waiting.contains_key(&call.request_id) {
            return fail(out, Reason::BadRequest, format!("request id {} is in use", call.request_id));
        }
        let visited = Visited { nodes: &[&own], ..Visited::default() };
        let (hop, link) = match self.way_to(&call.cluster, &call.node, visited) {
            Ok(way) => way,
            Err(no_way) => {
                let (to, fun) = (format!("{} of {}", call.node, call.cluster), &call.command);
                let text = format!("no link leads to {to}, which offers {fun} ({})", no_way.word());
                return fail(out, no_way.reason(), text);
            }
        };
        let mut request = RpcRequest::new(&call.request_id, &call.command, &call.args, &call.kwargs, &own);
        request.resources = call.resources.iter().map(Str::from).collect();
        request.function_id = call.function_id.as_ref().map(Str::from);
        request.version_constraint = call.version_constraint.as_ref().map(Str::from);
        request.target_cluster = Some(Str::from(&call.cluster));
        request.target_node = Some(Str::from(&call.node));
        let leaves = self.is_foreign(&call.cluster);
        if leaves {
            request.federation_path = vec![Str::from(&cluster)];
            request.federation_remaining_hops = Some(self.own.hops_max - 1);
        }
        let metadata = with_time_left(empty_object(), call.deadline.saturating_sub(now.mono));
        let message = Message {
            message_id: Str::from(&call.request_id),
            topic: format!("mpreg.rpc.execute.{}", call.command).into(),
            message_type: "rpc".into(),
            delivery: "at_least_once".into(),
            payload: None,
            headers: Headers {
                correlation_id: Str::from(&call.request_id),
                source_cluster: Some(Str::from(&cluster)),
                target_cluster: Some(Str::from(&call.cluster)),
                routing_path: vec![Str::from(&own)],
                federation_path: leaves.then(|| Str::from(&cluster)).into_iter().collect(),
                hop_budget: Some(self.own.hops_max),
                priority: "normal".into(),
                metadata: &metadata,
            },
            timestamp: now.wall,
        };
        let bytes = self.written_for(link, &message, Carried::Request(&request));
        if !self.fits_through(link, &bytes) {
            let text = format!("{} bytes do not fit through the only link to {hop}", bytes.len());
            return fail(out, Reason::MessageTooLarge, text);
        }
        let Call { request_id, command, cluster, node, deadline, patience, .. } = call;
        let deadline = deadline + patience;
        self.calls.deadlines.insert((deadline, Due::Waiting(request_id.clone())));
        self.calls.waiting.insert(request_id, Waiting { command, cluster, node, hop, link, deadline });
        out.push(Action::Send { link, bytes });
    }

    /// A call of another node has been run here.
    pub(super) fn call_done(
        &mut self,
        execution: u64,
        outcome: Result<Box<RawValue>, CallError>,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let Some(Running { asked, command }) = self.calls.take_running(execution) else {
            return refuse(out, Reason::ResultNotUnderstood, None, format!("execution {execution}"));
        };
        let outcome = outcome.map_err(|error| error_object(&error, &command));
        self.respond(&asked, &command, outcome.as_deref().map_err(|e| &**e), now, out);
    }

    pub(super) fn fabric_message(
        &mut self,
        link: LinkId,
        message: &Message,
        rpc: Option<Rpc>,
        bytes: &Bytes,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let Some(peer) = self.membership.speaker(link).cloned() else {
            return;
        };
        let headers = &message.headers;
        let source = headers.source_cluster.as_deref().unwrap_or_default();
        let names: [&str; 4] = [&message.message_id, &headers.correlation_id, source, &message.topic];
        if !is_bounded(&names, &[&headers.routing_path, &headers.federation_path]) {
            let text = format!("a message of {peer} whose names or paths are too long");
            return refuse(out, Reason::BadRequest, Some(link), text);
        }
        match message.kind() {
            MessageKind::Rpc => match rpc.map_or_else(|| message.rpc(), Ok) {
                Ok(Rpc::Request(request))
                    if !is_bounded(
                        &[&request.request_id, &request.reply_to, &request.command],
                        &[&request.federation_path],
                    ) =>
                {
                    let text = format!("a call of {peer} whose names or path are too long");
                    refuse(out, Reason::BadRequest, Some(link), text);
                }
                Ok(Rpc::Request(request)) => self.request(link, peer, message, *request, now, out),
                Ok(Rpc::Response(response)) => self.response(link, &peer, message, &response, out),
                Err(malformed) => refuse(out, Reason::BadRequest, Some(link), malformed.to_string()),
            },
            MessageKind::Pubsub => self.publication(link, message, bytes, out),
            MessageKind::Control if *message.topic == *CANCEL_TOPIC => {
                self.cancelled(link, &peer, message, now, out)
            }
            MessageKind::Queue | MessageKind::Cache | MessageKind::Control | MessageKind::Data => {
                let text = format!("a message of kind {:?} from {peer}", message.kind());
                refuse(out, Reason::UnknownRole, Some(link), text);
            }
        }
    }

    /// Calls that went over a link which is no more.
    pub(super) fn fail_calls_over(&mut self, link: LinkId, now: Now, out: &mut Vec<Action>) {
        let calls = &mut self.calls;
        let waiting: Vec<Text> =
            calls.waiting.iter().filter(|(_, w)| w.link == link).map(|(id, _)| id.clone()).collect();
        for request_id in waiting {
            let Some(w) = self.calls.take_waiting(&request_id) else { continue };
            let text = format!("the link to {} was lost while {} ran on {}", w.hop, w.command, w.node);
            let outcome = Err(CallError::failed(text).because(Reason::LinkLost));
            out.push(Action::CallAnswered { request_id, outcome });
        }
        let calls = &mut self.calls;
        let passed: Vec<_> =
            calls.passed.iter().filter(|(_, p)| p.link == link).map(|(key, _)| key.clone()).collect();
        for key in passed {
            let Some(p) = self.calls.take_passed(&key) else { continue };
            let error = forward_failed(&p.command, self.cluster_id(), LINK_LOST);
            self.respond(&p.asked, &p.command, Err(&error), now, out);
        }
    }

    pub(super) fn fail_all_calls(&mut self, out: &mut Vec<Action>) {
        let all: Vec<Text> = self.calls.waiting.keys().cloned().collect();
        for request_id in all {
            self.calls.take_waiting(&request_id);
            let outcome = Err(CallError::failed("the node is shutting down").because(Reason::Stopping));
            out.push(Action::CallAnswered { request_id, outcome });
        }
    }

    pub(super) fn overdue_calls(&mut self, now: Now, out: &mut Vec<Action>) {
        while let Some((_, due)) = self.calls.deadlines.first().filter(|(at, _)| *at <= now.mono).cloned() {
            match due {
                Due::Waiting(request_id) => {
                    let Some(w) = self.calls.take_waiting(&request_id) else { return };
                    let text = format!("{} on {} did not answer in time", w.command, w.node);
                    let error = CallError::new(TIMED_OUT, "RPC execution timed out", Some(text));
                    let outcome = Err(error.because(Reason::DeadlinePassed));
                    out.push(Action::CallAnswered { request_id, outcome });
                }
                Due::Passed(key) => {
                    let Some(p) = self.calls.take_passed(&key) else { return };
                    let text = format!("{} for {} did not answer in time", p.node, key.1);
                    refuse(out, Reason::DeadlinePassed, Some(p.link), text);
                }
            }
        }
    }

    /// A call or an answer in the form that is best for the other end of a link. What came as JSON and goes on as JSON
    /// keeps members that this program does not know.
    fn written_for(&self, link: LinkId, message: &Message, carried: Carried) -> Bytes {
        let reads_compact = |peer: &Text| self.membership.peer(peer).is_some_and(|p| p.extends);
        if self.own.kin
            && self.membership.speaker(link).is_some_and(reads_compact)
            && let Some(bytes) = compact::encode(message, carried)
        {
            return bytes;
        }
        match (carried, message.payload) {
            (Carried::Response(_), Some(_)) => message.encode(),
            _ => carried.in_json(message),
        }
    }

    /// The headers of a message that this node passes on (11.2).
    pub(super) fn next_headers(&self, headers: &mut Headers) -> Result<(), Reason> {
        let (own, cluster, max) = (self.node_id(), self.cluster_id(), self.own.hops_max);
        if headers.routing_path.iter().any(|node| **node == **own) {
            return Err(Reason::RouteLoop);
        }
        let budget = headers.hop_budget.unwrap_or(max).min(max);
        headers.hop_budget = Some(budget);
        headers.routing_path.push(own.to_string().into());
        if headers.federation_path.last().is_none_or(|last| **last != **cluster) {
            headers.federation_path.push(cluster.to_string().into());
        }
        if exceeds(headers.routing_path.len() - 1, budget) { Err(Reason::HopBudget) } else { Ok(()) }
    }

    fn request(
        &mut self,
        link: LinkId,
        peer: Text,
        message: &Message,
        request: RpcRequest,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let given =
            if request.request_id.is_empty() { &message.headers.correlation_id } else { &request.request_id };
        let asked = Asked {
            link,
            peer,
            request_id: given.to_text(),
            reply_to: request.reply_to.to_text(),
            reply_cluster: message.headers.source_cluster.as_ref().map(Str::to_text),
            path: message.headers.routing_path.iter().map(Str::to_text).collect(),
        };
        let command = request.command.to_text();
        let caller_cluster = match self.caller_of(&asked) {
            Ok(cluster) => cluster,
            Err(reason) => {
                let error = self.refused_caller(&asked, &command, reason, out);
                return self.respond(&asked, &command, Err(&error), now, out);
            }
        };
        // By the cluster that the link vouches for: no other can use up the ids of its nodes.
        let id = format!("{caller_cluster}\n{}\n{}", asked.reply_to, asked.request_id);
        let is_open = self.calls.passed.contains_key(&(asked.request_id.clone(), asked.reply_to.clone()));
        if is_open || !self.calls.seen.add(&id) {
            let text = format!("{command} {}", asked.request_id);
            return refuse(out, Reason::MessageRepeated, Some(link), text);
        }
        let refusal = if self.stopping {
            Some(error_object(&CallError::failed("the node is shutting down"), &command))
        } else {
            self.execute_or_forward(&asked, caller_cluster, message, request, now, out).err()
        };
        if let Some(error) = refusal {
            self.respond(&asked, &command, Err(&error), now, out);
        }
    }

    /// The steps of 12.4; an error is the object to be answered.
    fn execute_or_forward(
        &mut self,
        asked: &Asked,
        caller_cluster: Text,
        message: &Message,
        request: RpcRequest,
        now: Now,
        out: &mut Vec<Action>,
    ) -> Result<(), Box<RawValue>> {
        let command = request.command.to_text();
        constraint_of(&request).map_err(|bad| error_object(&bad.error(), &command))?;
        if let Some(speaker) = self.membership.peer(&asked.peer).map(|p| p.cluster_id.clone()) {
            let spent = self.federation.spend(&speaker, now);
            spent.map_err(|reason| self.refused_caller(asked, &command, reason, out))?;
        }
        if time_left(message.headers.metadata).is_some_and(|left| left.is_zero()) {
            let text = format!("a call of {command} from {}", asked.peer);
            refuse(out, Reason::DeadlinePassed, Some(asked.link), text);
            let text = format!("no time was left for {command} when it came to {}", self.node_id());
            let error = CallError::new(TIMED_OUT, "RPC execution timed out", Some(text));
            return Err(error_object(&error, &command));
        }
        let cluster = request.target_cluster.as_ref().or(message.headers.target_cluster.as_ref());
        let stage = self.stage(&request, cluster.map(|c| &**c), &caller_cluster);
        if self.own.bridging.log_calls
            && self.is_foreign(&caller_cluster)
            && !matches!(stage, Stage::Refused(_))
        {
            let text = format!("the cluster {caller_cluster} calls {command}");
            out.push(Action::Log { level: log::Level::Info, text });
        }
        let target = match stage {
            Stage::Execute => {
                let left = time_left(message.headers.metadata);
                return self.execute(asked, request, caller_cluster, left, out);
            }
            Stage::Refused(reason) => {
                refuse(out, reason, Some(asked.link), format!("a call of {command} by {caller_cluster}"));
                let text =
                    format!("cluster {caller_cluster} may not call {command} here ({})", reason.name());
                return Err(error_object(&CallError::failed(text).because(reason), &command));
            }
            Stage::Isolated => return Err(failure("fabric_route_not_found", &command)),
            Stage::RoutingOff => {
                let text = format!("a call of {command} for another node");
                refuse(out, Reason::RoutingOff, Some(asked.link), text);
                return Err(forward_failed(&command, self.cluster_id(), Reason::RoutingOff.name()));
            }
            Stage::Forward(target) => target,
        };
        let journey = self.journey(asked, message, &request, caller_cluster);
        let journey = journey.map_err(|no_way| {
            refuse(out, no_way.reason(), Some(asked.link), format!("a call of {command} for {target}"));
            forward_failed(&command, &target, no_way.word())
        })?;
        self.forward(asked, message, request, &target, journey, now, out)
    }

    /// The cluster that asks, as far as the link vouches for it: a member of ours is believed, a neighbour may ask for
    /// itself and for those behind it, and for no node that is known to be of another cluster.
    fn caller_of(&self, asked: &Asked) -> Result<Text, Reason> {
        let speaker = self.membership.cluster_of(asked.link).ok_or(Reason::NotEntitled)?;
        self.vouched(speaker, asked.reply_cluster.as_ref(), &asked.reply_to)
    }

    /// Counts a call that is not heard, and makes its answer.
    fn refused_caller(
        &self,
        asked: &Asked,
        command: &str,
        reason: Reason,
        out: &mut Vec<Action>,
    ) -> Box<RawValue> {
        let who = asked.reply_cluster.as_deref().unwrap_or_default();
        let text = format!("a call of {command} by {} of {who} from {}", asked.reply_to, asked.peer);
        refuse(out, reason, Some(asked.link), text);
        let text = format!("{}: {}", reason.meaning().meaning, reason.meaning().remedy);
        error_object(&CallError::failed(text).because(reason), command)
    }

    /// What 13.1 says of the clusters that a request has passed; `leaves` is not asked for within the cluster.
    fn journey(
        &self,
        asked: &Asked,
        message: &Message,
        request: &RpcRequest,
        caller_cluster: Text,
    ) -> Result<Journey, NoWay> {
        let clusters = request.federation_path.iter().map(Str::to_text).collect();
        let hops = [message.headers.hop_budget, request.federation_remaining_hops];
        let nodes = asked.path.iter().chain([&asked.peer]).cloned().collect();
        self.journey_of(caller_cluster, clusters, nodes, &asked.peer, hops)
    }

    fn execute(
        &mut self,
        asked: &Asked,
        request: RpcRequest,
        caller_cluster: Text,
        time_left: Option<Duration>,
        out: &mut Vec<Action>,
    ) -> Result<(), Box<RawValue>> {
        let command = request.command.to_text();
        if !self.calls.running_of.has_room(&asked.peer, self.calls.max) {
            refuse(out, Reason::PendingCallsLimit, Some(asked.link), format!("a call of {command}"));
            let error = CallError::failed("too many calls of other nodes are running here");
            return Err(error_object(&error, &command));
        }
        self.calls.last_execution += 1;
        let execution = self.calls.last_execution;
        self.calls.running_of.take(&asked.peer);
        self.calls.running.insert(execution, Running { asked: asked.clone(), command: command.clone() });
        out.push(Action::Execute(Box::new(Execution {
            execution,
            request_id: asked.request_id.clone(),
            command,
            function_id: request.function_id.as_ref().map(Str::to_text),
            version_constraint: request.version_constraint.as_ref().map(Str::to_text),
            resources: request.resources.iter().map(Str::to_text).collect(),
            args: request.args.to_owned(),
            kwargs: request.kwargs.to_owned(),
            caller_cluster,
            caller: asked.reply_to.clone(),
            time_left,
        })));
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "a request and all that is known of it")]
    fn forward(
        &mut self,
        asked: &Asked,
        message: &Message,
        request: RpcRequest,
        target: &Text,
        journey: Journey,
        now: Now,
        out: &mut Vec<Action>,
    ) -> Result<(), Box<RawValue>> {
        let command = request.command.to_text();
        let (cluster, node, (hop, link)) = self.next_of_call(asked, &request, target, &journey, now, out)?;
        let mut next = message.clone();
        if let Err(reason) = self.next_headers(&mut next.headers) {
            refuse(out, reason, Some(asked.link), format!("a call of {command} for {node}"));
            return Err(failure("fabric_hop_budget_exhausted", &command));
        }
        if !self.calls.passed_of.has_room(&asked.peer, self.calls.max) {
            refuse(out, Reason::PendingCallsLimit, Some(asked.link), format!("a call of {command}"));
            return Err(forward_failed(&command, &cluster, "pending_calls_limit"));
        }
        let own = self.cluster_id().clone();
        let mut request = request;
        request.target_cluster = Some(Str::from(&cluster));
        request.target_node = Some(Str::from(&node));
        if self.is_foreign(&cluster) {
            let path = journey.clusters.iter().chain([&own]);
            request.federation_path = path.map(Str::from).collect();
            let crosses = self.membership.cluster_of(link).is_some_and(|c| *c != own);
            request.federation_remaining_hops = Some(journey.hops - i64::from(crosses));
        }
        next.headers.source_cluster = Some(Str::from(&journey.caller_cluster));
        let left = time_left(message.headers.metadata).unwrap_or(PASSED_MAX).min(PASSED_MAX);
        let metadata = with_time_left(next.headers.metadata, left);
        next.headers.metadata = &metadata;
        let bytes = self.written_for(link, &next, Carried::Request(&request));
        if !self.fits_through(link, &bytes) {
            return Err(forward_failed(&command, &cluster, "message_too_large"));
        }
        out.push(Action::Send { link, bytes });
        if !asked.reply_to.is_empty() {
            let key = (asked.request_id.clone(), asked.reply_to.clone());
            // A little later than the caller gives up, so that its own word comes first.
            let deadline = now.mono + left + PASSED_SLACK;
            self.calls.deadlines.insert((deadline, Due::Passed(key.clone())));
            let (asked, node) = (asked.clone(), node.clone());
            self.calls.passed_of.take(&asked.peer);
            self.calls.passed.insert(key, Passed { asked, command, hop, cluster, node, link, deadline });
        }
        Ok(())
    }

    /// Which node is to run a request that is not for this one, and the way there; else what is to be answered.
    fn next_of_call(
        &mut self,
        asked: &Asked,
        request: &RpcRequest,
        target: &Text,
        journey: &Journey,
        now: Now,
        out: &mut Vec<Action>,
    ) -> Result<(Text, Text, Hop), Box<RawValue>> {
        let command = request.command.to_text();
        match self.onward(request, target, journey, now, Fabric::way_to) {
            Ok((node, hop)) => Ok((target.clone(), node, hop)),
            Err(Stuck::NotFound) => Err(failure("fabric_route_not_found", &command)),
            Err(Stuck::Loop) => {
                refuse(out, Reason::RouteLoop, Some(asked.link), format!("a call of {command}"));
                Err(failure("fabric_route_loop", &command))
            }
            Err(Stuck::NoWay(no_way)) => {
                refuse(out, no_way.reason(), Some(asked.link), format!("a call of {command} for {target}"));
                Err(forward_failed(&command, target, no_way.word()))
            }
        }
    }
}

/// How much longer than its caller a passed call is remembered.
const PASSED_SLACK: Duration = Duration::from_secs(2);
/// Request ids that are kept in mind against repetition.
const REQUESTS_REMEMBERED: usize = 10_000;
/// A request that was passed on is forgotten after this long; no caller waits that long.
const PASSED_MAX: Duration = Duration::from_secs(300);
