//! Discovery functions, answered from the control state, and what follows from them: announcements, messages to
//! watchers, questions to other nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use smol::Timer;

use super::control::Control;
use super::hub::{Hub, lock};
use super::outlet::Outlet;
use crate::core::catalog::{Delta, Text};
use crate::core::discovery::{
    Answered, Counters, DiscoveryMessage, LocalNode, Outcome, PeerStatus, PeerView, Policy,
    SCATTER_PARALLEL_MAX, ScatterPlan, Viewer, World, delta_messages,
};
use crate::core::error::CallError;
use crate::core::fabric::{Event, Fabric};
use crate::core::membership::Report;
use crate::core::pubsub::pattern::Pattern;
use crate::core::pubsub::{Message, Target};
use crate::core::rpc::select::Demands;
use crate::core::time::Now;
use crate::wire::client::{Publish, write};
use crate::wire::json::Json;

/// Answers at once; what would have to ask other nodes is refused.
pub fn answer(
    hub: &Arc<Hub>,
    fun: &str,
    args: &RawValue,
    kwargs: &RawValue,
    viewer: &Viewer,
    now: Now,
) -> Result<Json, CallError> {
    match ask_control(hub, fun, args, kwargs, viewer, now)? {
        Asked::Value(value) => encoded(&value),
        Asked::Scatter(plan) => encoded(&plan.finish(Vec::new())),
    }
}

/// Answers, after other nodes were asked where that is needed.
pub async fn answer_or_ask(
    hub: &Arc<Hub>,
    fun: &str,
    args: &RawValue,
    kwargs: &RawValue,
    viewer: &Viewer,
) -> Result<Json, CallError> {
    let plan = match ask_control(hub, fun, args, kwargs, viewer, hub.clock.now())? {
        Asked::Value(value) => return encoded(&value),
        Asked::Scatter(plan) => plan,
    };
    let time = plan.timeout.unwrap_or(hub.settings().fabric.rpc_timeout);
    let questions: Vec<_> = plan
        .asks
        .iter()
        .map(|ask| Question {
            cluster: ask.cluster_id.clone(),
            node: ask.node_id.clone(),
            payload: ask.payload.clone(),
        })
        .map(|question| ask_node(hub.clone(), question, viewer.clone(), time))
        .collect();
    let answers = futures_util::stream::iter(questions).buffered(SCATTER_PARALLEL_MAX).collect().await;
    encoded(&plan.finish(answers))
}

/// One node of a scatter, with what it is asked.
struct Question {
    cluster: Text,
    node: Text,
    payload: Value,
}

enum Asked {
    Value(Value),
    Scatter(ScatterPlan),
}

fn ask_control(
    hub: &Arc<Hub>,
    fun: &str,
    args: &RawValue,
    kwargs: &RawValue,
    viewer: &Viewer,
    now: Now,
) -> Result<Asked, CallError> {
    let mut control = lock(&hub.control);
    let Control { fabric, discovery, local, .. } = &mut *control;
    local.active_clients = hub.inbound_connections() as u64;
    let peers = peer_views(fabric, now);
    let world = World { catalog: fabric.catalog(), node: local, peers: &peers, now };
    match discovery.call(fun, args, kwargs, viewer, world)? {
        Outcome::Value(value) => Ok(Asked::Value(value)),
        Outcome::PolicyChanged { value, former } => {
            keep_policy(&mut control, former, now)?;
            hub.expel(&mut control, now);
            Ok(Asked::Value(value))
        }
        Outcome::Scatter(plan) => Ok(Asked::Scatter(plan)),
        Outcome::Services { value, upsert, remove } => {
            let services = upsert.into_iter().map(Arc::new).collect();
            let delta = Delta { services, service_removals: remove, ..Delta::default() };
            hub.control_locked(&mut control, Event::Local(Box::new(delta)), now);
            Ok(Asked::Value(value))
        }
    }
}

/// Stores a policy that was just applied, where it is to be kept; if that fails, the former one holds again. The
/// caller waits for the disk under the lock, so that what is in force and what is stored change in the same order.
fn keep_policy(control: &mut Control, former: Policy, now: Now) -> Result<(), CallError> {
    let Some(file) = &control.policy_file else { return Ok(()) };
    let Err(error) = file.store(control.discovery.policy()) else { return Ok(()) };
    log::error!("node.state_dir: cannot store the policy in {}: {error}", file.path().display());
    let fault = format!("the policy stays as it was, because it cannot be stored in node.state_dir: {error}");
    control.discovery.revert_policy(former, &fault, now);
    Err(CallError::failed(fault))
}

/// One node of a scatter.
async fn ask_node(hub: Arc<Hub>, ask: Question, viewer: Viewer, time: Duration) -> Answered {
    let Ok(args) = to_raw_value(&[&ask.payload]) else {
        return Answered::Failed("unreadable question".into());
    };
    let kwargs = RawValue::from_string("{}".to_owned()).unwrap_or_else(|_| RawValue::NULL.to_owned());
    let asking = async {
        let outcome = if ask.node == *hub.node_id() {
            answer(&hub, "rpc_describe_local", &args, &kwargs, &viewer, hub.clock.now())
        } else {
            let demands = Demands { fun: "rpc_describe_local", ..Demands::default() };
            let deadline = hub.clock.now().mono + time;
            hub.call_node(&ask.cluster, &ask.node, &demands, &args, &kwargs, deadline).await
        };
        match outcome.map(|json| serde_json::from_slice::<Value>(json.as_bytes())) {
            Ok(Ok(value)) => Answered::Value(value),
            Ok(Err(error)) => Answered::Failed(error.to_string()),
            Err(error) => Answered::Failed(error.message),
        }
    };
    let limit = async {
        if time.is_zero() {
            return smol::future::pending().await;
        }
        Timer::after(time).await;
        Answered::TimedOut
    };
    smol::future::or(asking, limit).await
}

impl Hub {
    /// Publishes what changed for those who watch the catalog; costs nothing where nobody does.
    pub(super) fn tell_watchers(self: &Arc<Self>, control: &Control, delta: &Delta, now: Now) {
        if delta.is_empty() || !self.with_subscriptions(|subscriptions| subscriptions.anybody_watches()) {
            return;
        }
        let peers = BTreeMap::new();
        let world = World { catalog: control.fabric.catalog(), node: &control.local, peers: &peers, now };
        let mut delta = delta.clone();
        if delta.update_id.is_empty() {
            delta.update_id = self.next_message_id().into();
        }
        // One message serves all subscribers who see the same: those of one tenant, and those of none.
        let tenants =
            if control.discovery.policy().enabled() { self.bound_tenants() } else { BTreeSet::new() };
        for tenant in std::iter::once(None).chain(tenants.iter().cloned().map(Some)) {
            let viewer = Viewer { tenant: tenant.clone(), ..Viewer::of_cluster(&control.local.cluster_id) };
            let shown = control.discovery.visible(&delta, &control.discovery.unclaimed(&viewer));
            if shown.is_empty() {
                continue;
            }
            let messages = delta_messages(&shown, &world);
            for message in messages.iter().filter_map(|m| self.message_of_discovery(m, now)) {
                match (&tenant, tenants.is_empty()) {
                    (None, true) => self.deliver_here(message, now),
                    (tenant, _) => self.deliver_to(tenant.as_ref(), message, now),
                }
            }
        }
    }

    /// Delivers to the connections of a tenant, or to those of none. What all may see is kept for late subscribers.
    fn deliver_to(&self, tenant: Option<&Text>, message: Arc<Message>, now: Now) {
        let targets = self.with_subscriptions(|subscriptions| subscriptions.matches(&message.topic));
        let heard: Vec<_> = self
            .outlets_of(&targets)
            .into_iter()
            .filter(|(_, target)| self.tenant_of(target.connection).as_ref() == tenant)
            .collect();
        for (outlet, target) in &heard {
            outlet.deliver(&self.counters, target, &message);
        }
        self.counters.delivered.fetch_add(heard.len() as u64, Relaxed);
        if tenant.is_none() {
            self.keep(message, now);
        }
    }

    /// Puts the policy in force at the door of the catalog, and takes out what it does not let in.
    pub(super) fn expel(self: &Arc<Self>, control: &mut Control, now: Now) {
        control.fabric.set_admission(control.discovery.policy().clone());
        let gone = control.discovery.expelled(control.fabric.catalog(), self.cluster_id());
        self.control_locked(control, Event::Expelled(Box::new(gone)), now);
    }

    /// Sends a new subscriber the summaries that are kept for those who come late.
    pub(super) fn tell_stored_summaries(
        &self,
        outlet: &Outlet,
        target: &Target,
        patterns: &[Pattern],
        backlog_seconds: u64,
        now: Now,
    ) {
        let control = lock(&self.control);
        let wanted = |topic: &str| patterns.iter().any(|pattern| pattern.matches(topic));
        for kept in control.discovery.stored_summaries(wanted, backlog_seconds, now) {
            let Ok(headers) = to_raw_value(&kept.headers) else { continue };
            let mut frame = write::notification_body(&Publish {
                u: (&*kept.message_id).into(),
                topic: kept.topic.as_str().into(),
                payload: &kept.payload,
                timestamp: kept.timestamp,
                message_id: (&*kept.message_id).into(),
                publisher: self.node_name().into(),
                headers: Some(&headers),
                routing_path: None,
                current_hop: None,
            })
            .to_vec();
            write::notification_tail(&mut frame, "backlog_", &kept.message_id, &target.subscription_id);
            outlet.answer(&self.counters, frame.into());
        }
    }

    /// Publishes a summary here and, where it says so, to other nodes.
    fn publish_summary(self: &Arc<Self>, control: &mut Control, summary: &DiscoveryMessage, now: Now) {
        let Some(message) = self.message_of_discovery(summary, now) else { return };
        let store = self.settings().discovery.summary.store_forward.clone();
        if store.window.is_zero() || store.max_messages == 0 {
            self.deliver_here(message.clone(), now);
        } else {
            // Late subscribers get it from the exporter's own store.
            self.spread(&self.audience(&message.topic), &message);
        }
        if summary.forward {
            let event = Event::Publish {
                topic: message.topic.clone(),
                message_id: message.message_id.clone(),
                timestamp: message.timestamp,
                message: write::message_of(&message.body),
            };
            self.control_locked(control, event, now);
        }
    }

    fn next_message_id(&self) -> String {
        format!("{}-{}", self.instance_id, self.last_own_message.fetch_add(1, Relaxed))
    }

    fn message_of_discovery(&self, message: &DiscoveryMessage, now: Now) -> Option<Arc<Message>> {
        let id = match &message.message_id {
            Some(id) => id.to_string(),
            None => self.next_message_id(),
        };
        let headers = to_raw_value(&message.headers).ok()?;
        let publish = Publish {
            u: id.as_str().into(),
            topic: message.topic.as_str().into(),
            payload: &message.payload,
            timestamp: now.wall,
            message_id: id.as_str().into(),
            publisher: self.node_name().into(),
            headers: Some(&headers),
            routing_path: None,
            current_hop: None,
        };
        Some(Arc::new(Message {
            topic: message.topic.as_str().into(),
            message_id: id.as_str().into(),
            timestamp: now.wall,
            body: write::notification_body(&publish),
        }))
    }

    /// What discovery has to do now and then.
    pub(super) fn discovery_timeout(self: &Arc<Self>, now: Now) {
        let mut control = lock(&self.control);
        let Control { fabric, discovery, local, .. } = &mut *control;
        let peers = peer_views(fabric, now);
        discovery.handle_timeout(World { catalog: fabric.catalog(), node: local, peers: &peers, now });
        for (reason, count) in discovery.take_notes() {
            self.counters.count_many(reason, count);
        }
        let services: Vec<_> = discovery.services_due(local, now).into_iter().map(Arc::new).collect();
        let world = World { catalog: fabric.catalog(), node: local, peers: &peers, now };
        let summaries = discovery.exports_due(world);
        if !services.is_empty() {
            self.control_locked(
                &mut control,
                Event::Local(Box::new(Delta { services, ..Delta::default() })),
                now,
            );
        }
        for summary in &summaries {
            self.publish_summary(&mut control, summary, now);
        }
    }
}

/// What discovery wants to know of other nodes.
fn peer_views(fabric: &Fabric, now: Now) -> BTreeMap<Text, PeerView> {
    let membership = fabric.membership();
    let hidden = fabric.catalog().nodes().filter(|n| membership.is_hidden(&n.node_id, now));
    let mut views: BTreeMap<Text, PeerView> =
        hidden.map(|n| (n.node_id.clone(), PeerView { hidden: true, ..PeerView::default() })).collect();
    for state in membership.states(now) {
        let status = state.report.as_ref().map(|report| peer_status(report, &state.status));
        views.insert(state.node_id, PeerView { status, connected: state.connected, hidden: false });
    }
    views
}

fn peer_status(report: &Report, status: &Text) -> PeerStatus {
    let count = |n: i64| u64::try_from(n).unwrap_or_default();
    PeerStatus {
        status: status.clone(),
        active_clients: count(report.active_clients),
        peer_count: count(report.peer_count),
        timestamp: report.timestamp,
        advertised_urls: report.advertised_urls.clone(),
        counters: Counters {
            messages_processed: count(report.counters.messages_processed),
            rpc_responses_skipped: count(report.counters.rpc_responses_skipped),
            server_messages: count(report.counters.server_messages),
            other_messages: count(report.counters.other_messages),
        },
    }
}

fn encoded(value: &Value) -> Result<Json, CallError> {
    Json::from_value(value).ok_or_else(|| CallError::failed("the answer cannot be written as JSON"))
}

/// The facts of the own node that discovery shows.
pub fn local_node(
    hub_settings: &crate::config::Settings,
    node_id: &Text,
    fabric: &super::start::Place,
) -> LocalNode {
    LocalNode {
        node_id: node_id.clone(),
        cluster_id: hub_settings.node.cluster_id.as_str().into(),
        region: hub_settings.node.region.as_str().into(),
        resources: fabric.resources.clone(),
        capabilities: fabric.capabilities.clone(),
        tags: fabric.tags.clone(),
        scope: fabric.scope,
        advertised_urls: fabric.advertised_urls.clone(),
        transport_endpoints: fabric.transport_endpoints.clone(),
        active_clients: 0,
        counters: Counters::default(),
        gossip_interval_seconds: hub_settings.fabric.gossip_interval.as_secs_f64(),
        catalog_ttl_seconds: hub_settings.fabric.catalog_ttl.as_secs_f64(),
    }
}
