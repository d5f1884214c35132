//! The control state of a node and what is done on its behalf.
//!
//! Catalog, membership and discovery have one owner: `Control`, behind one lock. An event goes in, the actions that
//! come out are carried out before the lock is given back, so that messages to a peer keep their order. Nothing here
//! waits: dialling and execution are tasks of their own, and what they bring comes back as an event.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use smol::channel::{Receiver, Sender, bounded};
use smol::{Task, Timer};

use super::alone::Alone;
use super::bootstrap::Bootstrap;
use super::hub::{Hub, lock};
use super::outlet::Outlet;
use super::policy_file::PolicyFile;
use super::route_keys::RouteKeys;
use super::{request, serve};
use crate::core::catalog::{Delta, Text, TopicEntry, unset};
use crate::core::discovery::{Discovery, LocalNode, Viewer};
use crate::core::error::CallError;
use crate::core::fabric::{Action, Call, Chosen, Event, Execution, Fabric};
use crate::core::membership::LinkId;
use crate::core::pubsub::pattern::Pattern;
use crate::core::pubsub::{ConnectionId, Message};
use crate::core::reason::Reason;
use crate::core::rpc::select::Demands;
use crate::core::rpc::version::Constraint;
use crate::core::time::Now;
use crate::drive::tls::TlsTrust;
use crate::wire::client::{Command, write};
use crate::wire::json::{self, Json};

/// See the module.
pub struct Control {
    pub fabric: Fabric,
    pub discovery: Discovery,
    /// The facts of this node that discovery shows.
    pub local: LocalNode,
    /// Which nodes have told of a subscription id; removals name only the id.
    remote_topics: BTreeMap<Text, Vec<Text>>,
    /// Where policies that are applied by RPC are kept; `None` where they are not.
    pub(super) policy_file: Option<PolicyFile>,
    /// Topics of the summaries that this node takes over from others.
    summaries: Vec<Pattern>,
    /// Calls of other nodes that run on this one.
    executing: BTreeMap<u64, Task<()>>,
    /// Calls of this node that run on other nodes.
    waiting: BTreeMap<Text, Waiting>,
    /// The keys of other clusters, from the configuration and its provider.
    pub(super) route_keys: RouteKeys,
    /// The places that tell of peers.
    pub(super) bootstrap: Bootstrap,
    /// Whom this node trusts when it dials TLS.
    pub(super) trust: Option<Arc<TlsTrust>>,
    /// Wakes the timer where the next deadline comes before that.
    moved: Sender<()>,
    timer_set_for: Option<Duration>,
    last_request: u64,
    /// Makes request ids of this start unlike those of any other.
    instance_id: Text,
}

/// Who waits for the answer of a call.
pub(super) enum Waiting {
    Task(Sender<Result<Box<RawValue>, CallError>>),
    Alone(Box<Alone>),
}

/// Where the answer of a call arrives.
type Awaited = Receiver<Result<Box<RawValue>, CallError>>;

/// The nodes that a call was tried at, and what the last one said.
#[derive(Debug, Clone, Default)]
pub struct Tried {
    pub nodes: Vec<Text>,
    pub failed: Option<CallError>,
    /// One of them is asked a second time.
    asks_again: bool,
}

impl Tried {
    pub fn one(node: Text, failed: CallError) -> Tried {
        Tried { nodes: vec![node], failed: Some(failed), asks_again: false }
    }

    /// Whom to ask again, once, where a call went astray on its way: by the time that is known here, so is what was wrong
    /// with the way.
    fn once_more(&mut self, fabric: &Fabric, demands: &Demands<'_>, now: Now) -> Option<Chosen> {
        let astray = |e: &CallError| matches!(e.reason, Some(Reason::NoRoute | Reason::RouteLoop));
        if !self.failed.as_ref().is_some_and(astray) || std::mem::replace(&mut self.asks_again, true) {
            return None;
        }
        let chosen = fabric.choose_endpoint(demands, &[], now).ok()?;
        fabric.reaches(&chosen.cluster, &chosen.node).then_some(chosen)
    }
}

impl Control {
    pub fn new(
        mut fabric: Fabric,
        discovery: Discovery,
        local: LocalNode,
        policy_file: Option<PolicyFile>,
        trust: Option<Arc<TlsTrust>>,
        instance_id: Text,
    ) -> (Control, Receiver<()>) {
        let (moved, receiver) = bounded(1);
        fabric.set_admission(discovery.policy().clone());
        let summaries = discovery.summary_patterns().iter().map(|text| Pattern::parse(text)).collect();
        let control = Control {
            fabric,
            discovery,
            local,
            remote_topics: BTreeMap::new(),
            policy_file,
            summaries,
            executing: BTreeMap::new(),
            route_keys: RouteKeys::default(),
            waiting: BTreeMap::new(),
            bootstrap: Bootstrap::default(),
            trust,
            moved,
            timer_set_for: None,
            last_request: 0,
            instance_id,
        };
        (control, receiver)
    }
}

impl Control {
    /// How many calls of other nodes run on this one.
    pub fn executing(&self) -> usize {
        self.executing.len()
    }

    /// When something is to be done without any event.
    fn next_deadline(&self) -> Option<Duration> {
        let times = [self.fabric.next_deadline(), self.discovery.next_timeout()];
        times.into_iter().flatten().min()
    }

    /// The ids of the requests of a connection that wait without a task; nobody waits for them any more.
    pub(super) fn take_alone(&mut self, outlet: &Outlet) -> Vec<Text> {
        let is_its = |waiting: &Waiting| matches!(waiting, Waiting::Alone(alone) if alone.is_of(outlet));
        let its = self.waiting.iter().filter(|(_, waiting)| is_its(waiting));
        let its: Vec<Text> = its.map(|(id, _)| id.clone()).collect();
        self.waiting.retain(|_, waiting| !is_its(waiting));
        its
    }

    /// Wakes the timer if it would come too late. One that is set for an earlier time looks then, and is set again.
    pub(super) fn mind_the_timer(&self) {
        let is_late = |next| self.timer_set_for.is_none_or(|set_for| next < set_for);
        if self.next_deadline().is_some_and(is_late) {
            // Full means that the timer is about to look anyway.
            let _ = self.moved.try_send(());
        }
    }
}

impl Hub {
    /// One event for the fabric.
    pub fn control(self: &Arc<Self>, event: Event) {
        let now = self.clock.now();
        let mut control = lock(&self.control);
        self.control_locked(&mut control, event, now);
    }

    /// The same for callers that hold the lock.
    pub(super) fn control_locked(self: &Arc<Self>, control: &mut Control, event: Event, now: Now) {
        let mut actions = Vec::new();
        control.fabric.handle(event, now, &mut actions);
        // What a function that answers at once says is told before anything else happens.
        let mut answered = Vec::new();
        while !actions.is_empty() {
            for action in actions.drain(..) {
                answered.extend(self.perform(control, action, now));
            }
            for event in answered.drain(..) {
                control.fabric.handle(event, now, &mut actions);
            }
        }
        control.mind_the_timer();
    }

    /// Does what the fabric wants; the answer is what has happened by it already.
    fn perform(self: &Arc<Self>, control: &mut Control, action: Action, now: Now) -> Option<Event> {
        match action {
            Action::Send { link, bytes } => {
                if let Some(outlet) = self.outlet(ConnectionId(link.0)) {
                    outlet.answer(&self.counters, bytes);
                }
            }
            Action::Close { link, code, reason } => {
                if let Some(outlet) = self.outlet(ConnectionId(link.0)) {
                    outlet.close(code, reason.to_owned());
                }
            }
            Action::Dial { url, timeout } => {
                let trust = control.trust.clone();
                self.executor.spawn(serve::dial_peer(self.clone(), url, timeout, trust)).detach();
            }
            Action::Execute(execution) => {
                if let Some((reason, text)) = self.takes_no_work() {
                    let error = CallError::failed(text).because(reason);
                    self.count_error(&error);
                    return Some(Event::CallDone { execution: execution.execution, outcome: Err(error) });
                }
                if let Some(outcome) = request::echo_for_peer(self, &execution) {
                    if let Err(error) = &outcome {
                        self.count_error(error);
                    }
                    return Some(Event::CallDone { execution: execution.execution, outcome });
                }
                let id = execution.execution;
                control.executing.insert(id, self.executor.spawn(execute(self.clone(), execution)));
            }
            // The task ends where it is; what it has already done stays done.
            Action::CancelExecution { execution } => drop(control.executing.remove(&execution)),
            Action::CallAnswered { request_id, outcome } => match control.waiting.remove(&request_id) {
                // Nobody waits any more if the client has gone.
                Some(Waiting::Task(waiting)) => drop(waiting.try_send(outcome)),
                Some(Waiting::Alone(alone)) => self.answer_alone(*alone, outcome, now),
                None => self.counters.count(Reason::ResultNotUnderstood),
            },
            Action::Deliver { topic, message_id, message } => {
                if control.summaries.iter().any(|pattern| pattern.matches(&topic)) {
                    let payload = json::navigate(&message, &["payload"]);
                    let payload = payload.and_then(|raw| serde_json::from_slice::<&RawValue>(raw).ok());
                    control.discovery.observe_summary(payload.unwrap_or(RawValue::NULL), now);
                }
                let timestamp = write::timestamp_of(&message).unwrap_or(now.wall);
                let body = write::notification_body_of(&message);
                self.deliver_here(Arc::new(Message { topic, message_id, timestamp, body }), now);
            }
            Action::CatalogChanged(delta) => self.catalog_changed(control, &delta, now),
            Action::Refused { reason, link, count, text } => {
                self.counters.count_many(reason, count as u64);
                if reason == Reason::TurnedAway
                    && let Some(url) = link.and_then(|link| control.fabric.membership().address(link))
                {
                    self.journal.not_reached(url, now.wall, &text);
                }
                self.journal.refused(reason, now.wall, &text);
                let link = link.map(|LinkId(id)| id).unwrap_or_default();
                let is_told = reason == Reason::ClockSkew
                    && self.outlet(ConnectionId(link)).is_some_and(|outlet| outlet.tell_skew());
                let is_quiet = reason.is_routine()
                    || is_told
                    || reason.is_of_federation() && !self.settings().federation.log.rejections;
                let level = if is_quiet { log::Level::Debug } else { log::Level::Warn };
                log::log!(level, reason = reason.name(), link = link, count = count; "refused: {text}");
            }
            Action::Log { level, text } => {
                if level <= log::Level::Info {
                    self.journal.happened(now.wall, &text);
                }
                log::log!(level, "{text}");
            }
        }
        None
    }

    /// Tells the data path and the watchers what is new.
    fn catalog_changed(self: &Arc<Self>, control: &mut Control, delta: &Delta, now: Now) {
        if !delta.topics.is_empty() || !delta.topic_removals.is_empty() {
            self.remember_remote_topics(control, delta);
        }
        control.discovery.observe_delta(delta, now);
        if let Some(keeper) = self.keeper().filter(|_| has_removals(delta)) {
            keeper.hurry();
        }
        self.tell_watchers(control, delta, now);
    }

    /// Brings the remote subscriptions of the data path in line with the catalog.
    fn remember_remote_topics(&self, control: &mut Control, delta: &Delta) {
        let own = self.node_id();
        let Control { fabric, remote_topics, .. } = control;
        // One walk through the topics, however many are told: after a restart that is all of them.
        let mut told: BTreeMap<&Text, Vec<&Arc<TopicEntry>>> = delta
            .topic_removals
            .iter()
            .chain(delta.topics.iter().map(|t| &t.subscription_id))
            .map(|id| (id, Vec::new()))
            .collect();
        for topic in fabric.catalog().topics().filter(|topic| topic.node_id != *own) {
            if let Some(holders) = told.get_mut(&topic.subscription_id) {
                holders.push(topic);
            }
        }
        self.with_subscriptions(|subscriptions| {
            for (id, now) in told {
                for node in remote_topics.remove(id).unwrap_or_default() {
                    if !now.iter().any(|t| t.node_id == node) {
                        subscriptions.remote_remove(&node, id);
                    }
                }
                for topic in &now {
                    upsert_remote(subscriptions, topic);
                }
                if !now.is_empty() {
                    remote_topics.insert(id.clone(), now.iter().map(|t| t.node_id.clone()).collect());
                }
            }
        });
    }

    /// Asks the other nodes for the summaries that this one takes over, if it does.
    pub fn subscribe_to_summaries(self: &Arc<Self>) {
        let mut patterns: Vec<Text> = {
            let control = lock(&self.control);
            control.discovery.summary_patterns().into_iter().map(Text::from).collect()
        };
        if patterns.is_empty() {
            return;
        }
        patterns.sort_unstable();
        let topic = self.topic_entry(format!("summaries-{}", self.instance_id).into(), patterns);
        self.control(Event::Local(Box::new(Delta { topics: vec![Arc::new(topic)], ..Delta::default() })));
    }

    fn topic_entry(&self, subscription_id: Text, patterns: Vec<Text>) -> TopicEntry {
        TopicEntry {
            subscription_id,
            node_id: self.node_id().clone(),
            cluster_id: self.cluster_id().into(),
            patterns,
            scope: Default::default(),
            tags: Vec::new(),
            advertised_at: unset(),
            ttl_seconds: self.settings().fabric.catalog_ttl.as_secs_f64(),
        }
    }

    /// Announces what a subscription id now stands for, or that it is gone.
    pub fn announce_subscription(self: &Arc<Self>, subscription_id: &str) {
        let advertised = self.with_subscriptions(|subscriptions| subscriptions.advertised(subscription_id));
        let delta = match advertised {
            Some(advertised) => Delta {
                topics: vec![Arc::new(self.topic_entry(advertised.subscription_id, advertised.patterns))],
                ..Delta::default()
            },
            None => Delta { topic_removals: vec![subscription_id.into()], ..Delta::default() },
        };
        self.control(Event::Local(Box::new(delta)));
    }

    /// Finds another node for a command and waits for what it says. Ends early with the deadline of the request. `None`:
    /// this node, which serves it too, is the best one.
    pub async fn call_elsewhere(
        self: &Arc<Self>,
        demands: &Demands<'_>,
        args: &RawValue,
        kwargs: &RawValue,
        deadline: Duration,
        mut tried: Tried,
        serves_it: bool,
    ) -> Option<Result<Json, CallError>> {
        loop {
            let (answer, _cancel, chosen) = {
                let now = self.clock.now();
                let mut control = lock(&self.control);
                let chosen = match control.fabric.choose_endpoint(demands, &tried.nodes, now) {
                    Ok(chosen) if serves_it && chosen.node == *self.node_id() => return None,
                    Err(_) if serves_it => return None,
                    Ok(chosen) => chosen,
                    Err(error) => match tried.once_more(&control.fabric, demands, now) {
                        Some(chosen) => chosen,
                        None => return Some(Err(tried.failed.unwrap_or(error))),
                    },
                };
                let to = (chosen.cluster.clone(), chosen.node.clone());
                let (answer, cancel) = self.ask(&mut control, to, demands, (args, kwargs), deadline, now);
                (answer, cancel, chosen)
            };
            let error = match answer.recv().await {
                Ok(Ok(outcome)) => return Some(Ok(Json::from(outcome))),
                Ok(Err(error)) => error,
                Err(_) => CallError::failed("the call was given up").because(Reason::LinkLost),
            };
            tried.nodes.push(chosen.node);
            if tried.nodes.len() >= NODES_TRIED_MAX || !error.may_run_elsewhere(chosen.idempotent) {
                return Some(Err(error));
            }
            self.count_error(&error);
            tried.failed = Some(error);
        }
    }

    /// Calls a function of a node that is already chosen.
    pub async fn call_node(
        self: &Arc<Self>,
        cluster: &Text,
        node: &Text,
        demands: &Demands<'_>,
        args: &RawValue,
        kwargs: &RawValue,
        deadline: Duration,
    ) -> Result<Json, CallError> {
        let (answer, _cancel) = {
            let now = self.clock.now();
            let mut control = lock(&self.control);
            let to = (cluster.clone(), node.clone());
            self.ask(&mut control, to, demands, (args, kwargs), deadline, now)
        };
        match answer.recv().await {
            Ok(outcome) => outcome.map(Json::from),
            Err(_) => Err(CallError::failed("the call was given up").because(Reason::LinkLost)),
        }
    }

    /// A call whose answer a task waits for.
    fn ask(
        self: &Arc<Self>,
        control: &mut Control,
        to: (Text, Text),
        demands: &Demands<'_>,
        arguments: (&RawValue, &RawValue),
        deadline: Duration,
        now: Now,
    ) -> (Awaited, CancelCall) {
        let (sender, receiver) = bounded(1);
        let waiting = Waiting::Task(sender);
        let request_id = self.send_to(control, to, demands, arguments, deadline, waiting, now);
        (receiver, CancelCall { hub: self.clone(), request_id })
    }

    #[expect(clippy::too_many_arguments, reason = "one call has that many parts")]
    pub(super) fn send_to(
        self: &Arc<Self>,
        control: &mut Control,
        (cluster, node): (Text, Text),
        demands: &Demands<'_>,
        (args, kwargs): (&RawValue, &RawValue),
        deadline: Duration,
        waiting: Waiting,
        now: Now,
    ) -> Text {
        // The request that a task waits for ends in its own words.
        let patience = match waiting {
            Waiting::Task(_) => WAITING_SLACK,
            Waiting::Alone(_) => Duration::ZERO,
        };
        control.last_request += 1;
        // What tells two of them apart comes first: they are compared at each look for one.
        let request_id = Text::from(format!("{}-{}", control.last_request, control.instance_id));
        control.waiting.insert(request_id.clone(), waiting);
        let call = Call {
            request_id: request_id.clone(),
            command: demands.fun.into(),
            function_id: demands.function_id.map(Text::from),
            version_constraint: (!demands.constraint_text.is_empty()).then(|| demands.constraint_text.into()),
            resources: demands.locs.iter().map(|l| Text::from(&**l)).collect(),
            cluster,
            node,
            args: args.to_owned(),
            kwargs: kwargs.to_owned(),
            deadline,
            patience,
        };
        self.control_locked(control, Event::Call(Box::new(call)), now);
        request_id
    }

    pub fn leaves_cluster(&self, command: &Command<'_>) -> bool {
        command.target_cluster.as_deref().is_some_and(|cluster| cluster != self.cluster_id())
    }

    /// A discovery function, answered under the lock of the control state.
    pub fn discover_now(
        self: &Arc<Self>,
        fun: &str,
        args: &RawValue,
        kwargs: &RawValue,
        viewer: &Viewer,
        now: Now,
    ) -> Result<Json, CallError> {
        super::discover::answer(self, fun, args, kwargs, viewer, now)
    }

    /// A discovery function that may have to ask other nodes.
    pub async fn discover(
        self: &Arc<Self>,
        fun: &str,
        args: &RawValue,
        kwargs: &RawValue,
        viewer: &Viewer,
    ) -> Result<Json, CallError> {
        super::discover::answer_or_ask(self, fun, args, kwargs, viewer).await
    }
}

/// Gives a call up when its client does.
struct CancelCall {
    hub: Arc<Hub>,
    request_id: Text,
}

impl Drop for CancelCall {
    fn drop(&mut self) {
        let now = self.hub.clock.now();
        let mut control = lock(&self.hub.control);
        if control.waiting.remove(&self.request_id).is_some() {
            let request_id = self.request_id.clone();
            self.hub.control_locked(&mut control, Event::CancelCall { request_id }, now);
        }
    }
}

/// Tells the fabric and discovery that time has passed, when one of them wants to know. Each sign of life for the
/// watchdog follows a turn of this loop that went through the lock and the decisions of the control state: a core that
/// is stuck gives none, and neither does a connection that keeps the one thread of the node for itself.
pub async fn keep_time(hub: Arc<Hub>, moved: Receiver<()>) {
    let mut beat = hub.supervisor.beat().map(|interval| (hub.clock.now().mono, interval));
    loop {
        let deadline = {
            let mut control = lock(&hub.control);
            let next = [control.next_deadline(), beat.map(|(at, _)| at)].into_iter().flatten().min();
            control.timer_set_for = next;
            next
        };
        let due = async {
            match deadline {
                Some(deadline) => drop(Timer::at(hub.clock.instant(deadline)).await),
                None => smol::future::pending().await,
            }
            true
        };
        let is_due = smol::future::or(due, async {
            let _ = moved.recv().await;
            false
        });
        if is_due.await {
            hub.discovery_timeout(hub.clock.now());
            hub.control(Event::ActiveClients(hub.inbound_connections() as i64));
        }
        let now = hub.clock.now().mono;
        if let Some((at, interval)) = beat.as_mut().filter(|(at, _)| *at <= now) {
            hub.supervisor.alive();
            *at = now + *interval;
        }
    }
}

/// Runs a call of another node and reports what became of it.
async fn execute(hub: Arc<Hub>, execution: Box<Execution>) {
    let outcome = execute_here(&hub, &execution).await;
    if let Err(error) = &outcome {
        hub.count_error(error);
    }
    let outcome = outcome.map(|json| json.as_raw().to_owned());
    let now = hub.clock.now();
    let mut control = lock(&hub.control);
    if let Some(this) = control.executing.remove(&execution.execution) {
        this.detach();
    }
    hub.control_locked(&mut control, Event::CallDone { execution: execution.execution, outcome }, now);
}

async fn execute_here(hub: &Arc<Hub>, execution: &Execution) -> Result<Json, CallError> {
    let constraint = execution.version_constraint.as_deref().map(Constraint::parse).transpose();
    let constraint = constraint.map_err(|bad| bad.error())?;
    let locs: Vec<_> = execution.resources.iter().map(|r| std::borrow::Cow::Borrowed(&**r)).collect();
    let demands = Demands {
        fun: &execution.command,
        function_id: execution.function_id.as_deref(),
        constraint: constraint.as_ref(),
        constraint_text: execution.version_constraint.as_deref().unwrap_or_default(),
        locs: &locs,
        target_cluster: None,
    };
    let Some(_place) = hub.take_places(1) else {
        return Err(CallError::failed("too many calls are under way").because(Reason::PendingCallsLimit));
    };
    let viewer = Viewer::of_cluster(&execution.caller_cluster);
    let time = hub.settings().fabric.rpc_timeout.min(execution.time_left.unwrap_or(Duration::MAX));
    let running = request::execute_for_peer(hub, &demands, &viewer, &execution.args, &execution.kwargs, time);
    let limit = async {
        Timer::after(time).await;
        let text = format!("{} did not end within {} s", execution.command, time.as_secs_f64());
        Err(CallError::new(crate::core::error::TIMED_OUT, text, None).because(Reason::DeadlinePassed))
    };
    smol::future::or(running, limit).await
}

/// Nodes that a call is tried at, one after the other.
const NODES_TRIED_MAX: usize = 3;
/// How much longer than its request the call of a task is waited for.
const WAITING_SLACK: Duration = Duration::from_millis(100);

fn has_removals(delta: &Delta) -> bool {
    delta.counts().iter().skip(1).step_by(2).any(|(_, count)| *count > 0)
}

fn upsert_remote(subscriptions: &mut crate::core::pubsub::registry::Subscriptions, topic: &TopicEntry) {
    let patterns: Vec<&str> = topic.patterns.iter().map(|p| &**p).collect();
    if let Err(refusal) = subscriptions.remote_upsert(&topic.node_id, &topic.subscription_id, &patterns) {
        log::warn!(peer = &*topic.node_id; "{}", refusal.text);
    }
}
