//! Calls between nodes (fabric.md 11, 12): those of our clients that run elsewhere, those of others that run here, and
//! those that pass through.
//!
//! Every call has an end: its answer, its deadline, or the loss of the link it went over, which is told at once. One
//! request id runs once, whichever ways it comes. Answers go back the way the request came, or another where that is
//! gone. The time that is left travels along, and so does the news that nobody waits any more. Who may ask and answer is
//! decided by the link: only peers do, in the name of clusters that they may speak for, and only the node that was asked,
//! or the one it was asked for, answers.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::value::to_raw_value;

use super::seen::Seen;
use super::way::{Hop, NoWay, Visited};
use super::*;
use crate::core::error::{NOT_FOUND, TIMED_OUT};
use crate::core::rpc::version::{BadConstraint, Constraint};
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

/// Who asks, and what a request has behind it and before it.
struct Journey {
    caller_cluster: Text,
    /// Clusters that the request has passed, without the own one at the end.
    clusters: Vec<Text>,
    /// How many more clusters it may enter.
    hops: i64,
    /// Nodes that it has passed.
    nodes: Vec<Text>,
    from_own_cluster: bool,
}

#[derive(Debug)]
struct Passed {
    asked: Asked,
    command: Text,
    hop: Text,
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
            deadlines: BTreeSet::new(),
            last_execution: 0,
            seen: Seen::new(REQUESTS_REMEMBERED),
        }
    }

    pub fn next_deadline(&self) -> Option<Duration> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    fn take_waiting(&mut self, request_id: &Text) -> Option<Waiting> {
        let waiting = self.waiting.remove(request_id)?;
        self.deadlines.remove(&(waiting.deadline, Due::Waiting(request_id.clone())));
        Some(waiting)
    }

    fn take_passed(&mut self, key: &(Text, Text)) -> Option<Passed> {
        let passed = self.passed.remove(key)?;
        self.deadlines.remove(&(passed.deadline, Due::Passed(key.clone())));
        Some(passed)
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
        let payload = to_raw_value(&request).unwrap_or_else(|_| raw("{}"));
        let bytes = Message {
            message_id: Str::from(&call.request_id),
            topic: format!("mpreg.rpc.execute.{}", call.command).into(),
            message_type: "rpc".into(),
            delivery: "at_least_once".into(),
            payload: Some(&payload),
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
        }
        .encode();
        if !self.fits_through(link, &bytes) {
            let text = format!("{} bytes do not fit through the only link to {hop}", bytes.len());
            return fail(out, Reason::MessageTooLarge, text);
        }
        let Call { request_id, command, node, deadline, .. } = call;
        self.calls.deadlines.insert((deadline, Due::Waiting(request_id.clone())));
        self.calls.waiting.insert(request_id, Waiting { command, node, hop, link, deadline });
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
        let Some(Running { asked, command }) = self.calls.running.remove(&execution) else {
            return refuse(out, Reason::ResultNotUnderstood, None, format!("execution {execution}"));
        };
        let outcome = outcome.map_err(|error| error_object(&error, &command));
        self.respond(&asked, &command, outcome.as_deref().map_err(|e| &**e), now, out);
    }

    pub(super) fn fabric_message(
        &mut self,
        link: LinkId,
        message: &Message,
        bytes: &Bytes,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let Some(peer) = self.membership.speaker(link).cloned() else {
            return refuse(out, Reason::NotEntitled, Some(link), "a message before an accepted STATUS");
        };
        match message.kind() {
            MessageKind::Rpc => match message.rpc() {
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

    /// Nobody waits for a call of ours any more.
    pub(super) fn cancel_call(&mut self, request_id: &Text, now: Now, out: &mut Vec<Action>) {
        let own = self.node_id().clone();
        if let Some(waiting) = self.calls.take_waiting(request_id) {
            self.say_cancelled(waiting.link, request_id, &own, now, out);
        }
    }

    /// A caller of another node has gone: what runs for it is stopped, what was passed on is told so.
    fn cancelled(&mut self, link: LinkId, peer: &Text, message: &Message, now: Now, out: &mut Vec<Action>) {
        let read = message.payload.and_then(|raw| serde_json::from_str::<Cancel>(raw.get()).ok());
        let Some(Cancel { request_id, reply_to }) = read else {
            return refuse(out, Reason::BadRequest, Some(link), "a cancellation without request_id");
        };
        let (request_id, reply_to) = (request_id.to_text(), reply_to.to_text());
        let of_peer = |asked: &Asked| asked.peer == *peer && asked.request_id == request_id;
        let running = self.calls.running.iter().find(|(_, r)| of_peer(&r.asked)).map(|(id, _)| *id);
        if let Some(execution) = running {
            self.calls.running.remove(&execution);
            out.push(Action::CancelExecution { execution });
        }
        let key = (request_id, reply_to);
        if self.calls.passed.get(&key).is_some_and(|p| p.asked.peer == *peer)
            && let Some(passed) = self.calls.take_passed(&key)
        {
            self.say_cancelled(passed.link, &key.0, &key.1, now, out);
        }
    }

    /// Nodes that do not know the topic ignore it (fabric.md 4.12).
    fn say_cancelled(
        &mut self,
        link: LinkId,
        request_id: &Text,
        reply_to: &Text,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let (own, cluster) = (self.node_id().clone(), self.cluster_id().clone());
        let cancel = Cancel { request_id: Str::from(request_id), reply_to: Str::from(reply_to) };
        let Ok(payload) = to_raw_value(&cancel) else { return };
        let id = self.chance.uuid();
        let bytes = Message {
            message_id: id.as_str().into(),
            topic: CANCEL_TOPIC.into(),
            message_type: "control".into(),
            delivery: "fire_and_forget".into(),
            payload: Some(&payload),
            headers: Headers {
                correlation_id: Str::from(request_id),
                source_cluster: Some(Str::from(&cluster)),
                target_cluster: None,
                routing_path: vec![Str::from(&own)],
                federation_path: Vec::new(),
                hop_budget: Some(self.own.hops_max),
                priority: "normal".into(),
                metadata: empty_object(),
            },
            timestamp: now.wall,
        }
        .encode();
        out.push(Action::Send { link, bytes });
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
        if headers.routing_path.len() as i64 - 1 > budget {
            return Err(Reason::HopBudget);
        }
        Ok(())
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
        if !self.calls.seen.add(&format!("{}\n{}", asked.reply_to, asked.request_id)) {
            return refuse(
                out,
                Reason::MessageRepeated,
                Some(link),
                format!("{command} {}", asked.request_id),
            );
        }
        let refusal = if self.stopping {
            Some(error_object(&CallError::failed("the node is shutting down"), &command))
        } else {
            self.execute_or_forward(&asked, message, request, now, out).err()
        };
        if let Some(error) = refusal {
            self.respond(&asked, &command, Err(&error), now, out);
        }
    }

    /// The steps of 12.4; an error is the object to be answered.
    fn execute_or_forward(
        &mut self,
        asked: &Asked,
        message: &Message,
        request: RpcRequest,
        now: Now,
        out: &mut Vec<Action>,
    ) -> Result<(), Box<RawValue>> {
        let own = self.node_id().clone();
        let command = request.command.to_text();
        constraint_of(&request).map_err(|bad| error_object(&bad.error(), &command))?;
        let caller_cluster = self.caller_of(asked, now).map_err(|reason| {
            let who = asked.reply_cluster.as_deref().unwrap_or_default();
            refuse(
                out,
                reason,
                Some(asked.link),
                format!("a call of {command} by {who} from {}", asked.peer),
            );
            let text = format!("{}: {}", reason.meaning().meaning, reason.meaning().remedy);
            error_object(&CallError::failed(text).because(reason), &command)
        })?;
        let cluster = request.target_cluster.as_ref().or(message.headers.target_cluster.as_ref());
        let leaves = cluster.is_some_and(|c| self.is_foreign(c));
        let here = !leaves && request.target_node.as_ref().is_none_or(|node| **node == *own);
        if !leaves && self.is_foreign(&caller_cluster) {
            self.federation.may_call(&caller_cluster, &command).map_err(|reason| {
                refuse(out, reason, Some(asked.link), format!("a call of {command} by {caller_cluster}"));
                let text =
                    format!("cluster {caller_cluster} may not call {command} here ({})", reason.name());
                error_object(&CallError::failed(text).because(reason), &command)
            })?;
        }
        if here && self.offers(&request).any(|f| f.node_id == own) {
            let left = time_left(message.headers.metadata);
            return self.execute(asked, request, caller_cluster, left, out);
        }
        if leaves && !self.is_bridging() {
            return Err(failure("fabric_route_not_found", &command));
        }
        if !self.own.routing {
            refuse(
                out,
                Reason::RoutingOff,
                Some(asked.link),
                format!("a call of {command} for another node"),
            );
            return Err(forward_failed(&command, self.cluster_id(), Reason::RoutingOff.name()));
        }
        let target = cluster.unwrap_or(&Str::from(self.cluster_id())).to_text();
        let journey = self.journey(asked, message, &request, caller_cluster);
        let journey = journey.map_err(|no_way| {
            refuse(out, no_way.reason(), Some(asked.link), format!("a call of {command} for {target}"));
            forward_failed(&command, &target, no_way.word())
        })?;
        self.forward(asked, message, request, &target, journey, now, out)
    }

    /// The cluster that asks, as far as the link vouches for it: a member of ours is believed, a neighbour may ask for
    /// itself and for those behind it.
    fn caller_of(&mut self, asked: &Asked, now: Now) -> Result<Text, Reason> {
        let own = self.cluster_id().clone();
        let Some(speaker) = self.membership.peer(&asked.peer).map(|p| p.cluster_id.clone()) else {
            return Ok(own);
        };
        let source = asked.reply_cluster.clone().filter(|c| !c.is_empty()).unwrap_or_else(|| speaker.clone());
        if speaker == own {
            return Ok(source);
        }
        self.may_speak(&speaker, &source)?;
        self.federation.spend(&speaker, now)?;
        Ok(source)
    }

    /// What 13.1 says of the clusters that a request has passed; `leaves` is not asked for within the cluster.
    fn journey(
        &self,
        asked: &Asked,
        message: &Message,
        request: &RpcRequest,
        caller_cluster: Text,
    ) -> Result<Journey, NoWay> {
        let own = self.cluster_id();
        let mut clusters: Vec<Text> = request.federation_path.iter().map(Str::to_text).collect();
        if clusters.last() == Some(own) {
            clusters.pop();
        }
        if clusters.contains(own) {
            return Err(NoWay::LoopDetected);
        }
        let max = self.own.hops_max;
        let hops = [message.headers.hop_budget, request.federation_remaining_hops].into_iter().flatten();
        Ok(Journey {
            caller_cluster,
            clusters,
            hops: hops.fold(max, i64::min),
            nodes: asked.path.iter().chain([&asked.peer]).cloned().collect(),
            from_own_cluster: self.membership.peer(&asked.peer).is_none_or(|p| p.cluster_id == *own),
        })
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
        if self.calls.running.len() >= self.calls.max {
            refuse(out, Reason::PendingCallsLimit, Some(asked.link), format!("a call of {command}"));
            let error = CallError::failed("too many calls of other nodes are running here");
            return Err(error_object(&error, &command));
        }
        self.calls.last_execution += 1;
        let execution = self.calls.last_execution;
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
        if self.calls.passed.len() >= self.calls.max {
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
        let payload = to_raw_value(&request).unwrap_or_else(|_| raw("{}"));
        let bytes = Message { payload: Some(&payload), ..next }.encode();
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
            self.calls.passed.insert(key, Passed { asked, command, hop, node, link, deadline });
        }
        Ok(())
    }

    /// Which node is to run a request that is not for this one, and the way there. Local first, then what is linked,
    /// then by load; a foreign cluster only where it is asked for or ours has nobody.
    fn next_of_call(
        &mut self,
        asked: &Asked,
        request: &RpcRequest,
        target: &Text,
        journey: &Journey,
        now: Now,
        out: &mut Vec<Action>,
    ) -> Result<(Text, Text, Hop), Box<RawValue>> {
        let (own, command) = (self.node_id().clone(), request.command.to_text());
        let named = request.target_node.as_ref().map(Str::to_text);
        let is_meant = |f: &&Arc<FunctionEntry>| {
            f.cluster_id == *target && f.node_id != own && named.as_ref().is_none_or(|t| f.node_id == *t)
        };
        let rank = |f: &Arc<FunctionEntry>| {
            let far = self.membership.link_to(&f.node_id).is_none();
            (far, self.membership.load_score(&f.node_id, now), f.node_id.clone())
        };
        let mut nodes: Vec<(bool, f64, Text)> = self.matching(request).filter(is_meant).map(rank).collect();
        nodes.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)));
        // Another cluster knows best who serves it: a node that was named there need not be known here.
        if let Some(named) = named.filter(|_| nodes.is_empty() && self.is_foreign(target)) {
            nodes.push((true, 0.0, named));
        }
        if nodes.is_empty() {
            return Err(failure("fabric_route_not_found", &command));
        }
        let visited: Vec<&str> = journey.nodes.iter().map(|n| &**n).collect();
        nodes.retain(|(_, _, node)| !visited.contains(&&**node));
        if nodes.is_empty() {
            refuse(out, Reason::RouteLoop, Some(asked.link), format!("a call of {command}"));
            return Err(failure("fabric_route_loop", &command));
        }
        let visited = Visited {
            nodes: &visited,
            clusters: &journey.clusters,
            from_own_cluster: journey.from_own_cluster,
        };
        let mut no_way = NoWay::NoFabricPath;
        if self.is_foreign(target) && journey.hops <= 0 {
            nodes.clear();
            no_way = NoWay::HopBudgetExhausted;
        }
        for (_, _, node) in nodes {
            match self.way_to(target, &node, visited) {
                Ok(hop) => return Ok((target.clone(), node, hop)),
                Err(none) => no_way = none,
            }
        }
        refuse(out, no_way.reason(), Some(asked.link), format!("a call of {command} for {target}"));
        Err(forward_failed(&command, target, no_way.word()))
    }

    /// The functions in our cluster that a request may mean.
    fn offers<'s>(&'s self, request: &'s RpcRequest<'_>) -> impl Iterator<Item = &'s Arc<FunctionEntry>> {
        self.matching(request).filter(|f| f.cluster_id == *self.cluster_id())
    }

    /// The functions of all clusters that a request may mean.
    fn matching<'s>(&'s self, request: &'s RpcRequest<'_>) -> impl Iterator<Item = &'s Arc<FunctionEntry>> {
        // One that cannot be read was answered before.
        let constraint = constraint_of(request).ok().flatten();
        self.catalog.functions_named(&request.command).filter(move |f| {
            request.function_id.as_ref().is_none_or(|id| **id == *f.identity.function_id)
                && constraint.as_ref().is_none_or(|c| c.accepts(&f.identity.version.0))
                && request.resources.iter().all(|r| f.resources.iter().any(|have| **have == **r))
        })
    }

    fn response(
        &mut self,
        link: LinkId,
        peer: &Text,
        message: &Message,
        response: &RpcResponse,
        out: &mut Vec<Action>,
    ) {
        let request_id = response.request_id.to_text();
        let not_asked = || format!("{peer} answers {request_id}, for which it was not asked");
        if let Some(waiting) = self.calls.waiting.get(&request_id) {
            if !self.may_answer(peer, &waiting.hop, &waiting.node) {
                return refuse(out, Reason::NotEntitled, Some(link), not_asked());
            }
            let outcome = match response.success {
                true => Ok(response.result.to_owned()),
                false => Err(call_error(response, &waiting.command)),
            };
            self.calls.take_waiting(&request_id);
            out.push(Action::CallAnswered { request_id, outcome });
            return;
        }
        let back = match self.calls.passed_key(response) {
            Some(key) => {
                let passed = self.calls.passed.get(&key);
                let entitled = passed.is_some_and(|p| self.may_answer(peer, &p.hop, &p.node));
                if !entitled {
                    return refuse(out, Reason::NotEntitled, Some(link), not_asked());
                }
                self.calls.take_passed(&key).map(|p| (p.asked.link, p.asked.peer))
            }
            None => self.way_back(response),
        };
        let Some((first, node)) = back else {
            return refuse(out, Reason::ResultNotUnderstood, Some(link), request_id.to_string());
        };
        let mut next = message.clone();
        if let Err(reason) = self.next_headers(&mut next.headers) {
            return refuse(out, reason, Some(link), format!("the answer to {request_id}"));
        }
        let (cluster, reply_to) = (response.reply_cluster.as_deref(), &*response.reply_to);
        let cluster = cluster.unwrap_or_else(|| &**self.cluster_id()).to_owned();
        self.send_back(first, &node, (&cluster, reply_to), &next.encode(), out);
    }

    /// Who was asked answers, or a node of the same cluster where the first way back is gone.
    fn may_answer(&self, peer: &Text, hop: &Text, node: &Text) -> bool {
        let cluster = |node: &Text| self.membership.peer(node).map(|p| &p.cluster_id);
        peer == hop || peer == node || (cluster(peer).is_some() && cluster(peer) == cluster(hop))
    }

    /// For an answer that we keep no record of: the node before us on the path of its request.
    fn way_back(&self, response: &RpcResponse) -> Option<(LinkId, Text)> {
        let own = self.node_id();
        let at = response.routing_path.iter().position(|node| **node == **own)?;
        let before = response.routing_path.get(at.checked_sub(1)?)?.to_text();
        Some((self.membership.link_to(&before)?, before))
    }

    /// Answers a request on the link it came on, in the form of 12.2.
    fn respond(
        &mut self,
        asked: &Asked,
        command: &str,
        outcome: Result<&RawValue, &RawValue>,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        if asked.reply_to.is_empty() {
            return;
        }
        let (own, cluster) = (self.node_id().clone(), self.cluster_id().clone());
        let mut response = RpcResponse::new(&asked.request_id, &own, outcome);
        response.reply_to = Str::from(&asked.reply_to);
        response.reply_cluster = asked.reply_cluster.as_ref().map(Str::from);
        response.routing_path = asked.path.iter().chain([&own]).map(Str::from).collect();
        let payload = to_raw_value(&response).unwrap_or_else(|_| raw("{}"));
        let bytes = Message {
            message_id: Str::from(&asked.request_id),
            topic: "mpreg.rpc.response".into(),
            message_type: "rpc".into(),
            delivery: "at_least_once".into(),
            payload: Some(&payload),
            headers: Headers {
                correlation_id: Str::from(&asked.request_id),
                source_cluster: Some(Str::from(&cluster)),
                target_cluster: asked.reply_cluster.as_ref().map(Str::from),
                routing_path: vec![Str::from(&own)],
                federation_path: vec![Str::from(&cluster)],
                hop_budget: Some(self.own.hops_max),
                priority: "normal".into(),
                metadata: empty_object(),
            },
            timestamp: now.wall,
        }
        .encode();
        let reply_cluster = asked.reply_cluster.as_ref().unwrap_or(&cluster);
        let target = (&**reply_cluster, &*asked.reply_to);
        if !self.send_back(asked.link, &asked.peer, target, &bytes, out) && outcome.is_ok() {
            let text = format!("an answer of {} bytes does not fit through the link", bytes.len());
            let error = CallError::failed(text).because(Reason::ResultTooLarge);
            let error = error_object(&error, command);
            self.respond(asked, command, Err(&error), now, out);
        }
    }

    /// Sends an answer on the link of its request, or on another one to that peer, or where there is none on another way
    /// to the node that asked. False if it is too large for any.
    fn send_back(
        &mut self,
        first: LinkId,
        peer: &Text,
        (cluster, node): (&str, &str),
        bytes: &Bytes,
        out: &mut Vec<Action>,
    ) -> bool {
        let alive = self.membership.speaker(first) == Some(peer);
        let links = alive.then_some(first).into_iter().chain(self.membership.link_to(peer));
        let mut links: Vec<LinkId> = links.collect();
        if links.is_empty() {
            let own = self.node_id().clone();
            let visited = Visited { nodes: &[&own, peer], ..Visited::default() };
            links.extend(self.way_to(cluster, node, visited).ok().map(|(_, link)| link));
        }
        if links.is_empty() {
            refuse(out, Reason::LinkLost, Some(first), format!("an answer for {peer}"));
            return true;
        }
        match links.into_iter().find(|link| self.fits_through(*link, bytes)) {
            Some(link) => out.push(Action::Send { link, bytes: bytes.clone() }),
            None => {
                refuse(
                    out,
                    Reason::ResultTooLarge,
                    Some(first),
                    format!("an answer of {} bytes", bytes.len()),
                );
                return false;
            }
        }
        true
    }

    /// A reference node ends a link that it dialled when more than 1 MiB comes at once (fabric.md 2).
    fn fits_through(&self, link: LinkId, bytes: &Bytes) -> bool {
        bytes.len() <= DIALLER_BYTES_MAX || self.membership.is_dialled(link)
    }
}

/// What our client is told of a failure elsewhere.
fn call_error(response: &RpcResponse, command: &str) -> CallError {
    let text = response.error.map_or("", RawValue::get);
    let Ok(error) = serde_json::from_str::<RpcError>(text) else {
        return CallError::failed(clipped(if text.is_empty() { "fabric_rpc_failed" } else { text }));
    };
    let by = &*response.responder;
    match &*error.error {
        "fabric_route_not_found" => {
            let text = format!("Command not found: {command} (fabric_route_not_found at {by})");
            CallError::new(NOT_FOUND, "Command not found", Some(text)).because(Reason::FunctionNotFound)
        }
        fabric if fabric.starts_with("fabric_") => {
            let reason = match fabric {
                "fabric_route_loop" => Reason::RouteLoop,
                "fabric_hop_budget_exhausted" => Reason::HopBudget,
                _ => match error.reason.as_deref() {
                    Some(LINK_LOST) => Reason::LinkLost,
                    Some(word) => NoWay::of_word(word).map_or(Reason::NoRoute, NoWay::reason),
                    None => Reason::NoRoute,
                },
            };
            let why = error.reason.as_ref().map(|r| format!(": {}", &**r)).unwrap_or_default();
            CallError::failed(clipped(&format!("{fabric}{why} (at {by}, for {command})"))).because(reason)
        }
        text => CallError::failed(clipped(&match &error.error_type {
            Some(class) => format!("{}: {text}", &**class),
            None => text.to_owned(),
        })),
    }
}

/// What another node is told of a failure here (12.6).
fn error_object(error: &CallError, command: &str) -> Box<RawValue> {
    if error.code == NOT_FOUND {
        return failure("fabric_route_not_found", command);
    }
    let text = match &error.details {
        Some(serde_json::Value::String(details)) => details.as_str(),
        _ => error.message.as_str(),
    };
    let is_class = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_uppercase())
            && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let (class, text) = match text.split_once(": ").filter(|(class, _)| is_class(class)) {
        Some((class, text)) => (class, text),
        None if error.code == TIMED_OUT => ("TimeoutError", text),
        None => ("RuntimeError", text),
    };
    RpcError {
        error: text.into(),
        command: Some(command.into()),
        error_type: Some(class.into()),
        ..RpcError::default()
    }
    .to_raw()
}

fn failure(error: &str, command: &str) -> Box<RawValue> {
    RpcError { error: error.into(), command: Some(command.into()), ..RpcError::default() }.to_raw()
}

fn forward_failed(command: &str, cluster: &str, reason: &str) -> Box<RawValue> {
    RpcError {
        error: "fabric_forward_failed".into(),
        command: Some(command.into()),
        target_cluster: Some(cluster.into()),
        reason: Some(reason.into()),
        ..RpcError::default()
    }
    .to_raw()
}

fn clipped(text: &str) -> String {
    text.chars().take(ERROR_CHARS_MAX).collect()
}

/// A caller has gone.
#[derive(Serialize, Deserialize)]
struct Cancel<'a> {
    #[serde(borrow)]
    request_id: Str<'a>,
    #[serde(borrow, default)]
    reply_to: Str<'a>,
}

/// The milliseconds that a request still has, in its metadata; other nodes carry them along unread.
#[derive(Deserialize)]
struct TimeLeft {
    time_left_ms: Option<u64>,
}

fn time_left(metadata: &RawValue) -> Option<Duration> {
    let read: TimeLeft = serde_json::from_str(metadata.get()).ok()?;
    read.time_left_ms.map(Duration::from_millis)
}

fn with_time_left(metadata: &RawValue, left: Duration) -> Box<RawValue> {
    let left = raw(&left.as_millis().to_string());
    if metadata.get() == "{}" {
        return raw(&format!("{{\"time_left_ms\":{}}}", left.get()));
    }
    let mut members: BTreeMap<&str, &RawValue> = serde_json::from_str(metadata.get()).unwrap_or_default();
    members.insert("time_left_ms", &left);
    to_raw_value(&members).unwrap_or_else(|_| raw("{}"))
}

/// Why a call that was passed on has no answer; it may have run.
const LINK_LOST: &str = "link_lost";
/// Control messages of this topic end a call (no other program has it).
const CANCEL_TOPIC: &str = "mpreg.rpc.cancel";
/// How much longer than its caller a passed call is remembered.
const PASSED_SLACK: Duration = Duration::from_secs(2);
/// Request ids that are kept in mind against repetition.
const REQUESTS_REMEMBERED: usize = 10_000;
/// A request that was passed on is forgotten after this long; no caller waits that long.
const PASSED_MAX: Duration = Duration::from_secs(300);
/// What a reference node takes on a socket that it dialled.
const DIALLER_BYTES_MAX: usize = 1 << 20;
/// Of an error text from elsewhere.
const ERROR_CHARS_MAX: usize = 4000;

/// The version constraint of a request, read.
fn constraint_of(request: &RpcRequest<'_>) -> Result<Option<Constraint>, BadConstraint> {
    request.version_constraint.as_ref().map(|text| Constraint::parse(text)).transpose()
}
