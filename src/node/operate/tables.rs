//! The lists behind `mpreg ctl`: peers, links, routes, the catalog and the functions of this node.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use super::{Answer, Order, Refused};
use crate::core::membership::LinkId;
use crate::drive::worker::FunctionHealth;
use crate::node::hub::{Hub, lock};

/// Every node that this one has or had a link with.
pub fn peers(hub: &Hub) -> Value {
    let now = hub.clock.now();
    let control = lock(&hub.control);
    let membership = control.fabric.membership();
    let shown = membership.states(now).into_iter().map(|state| {
        let peer = membership.peer(&state.node_id);
        let report = state.report.as_ref();
        json!({
            "node_id": state.node_id, "cluster_id": state.cluster_id, "connected": state.connected,
            "status": state.status, "links": peer.map_or(0, |p| p.links().count()),
            "latency_ms": peer.map(|p| p.latency_ms()), "load": state.load_score,
            "extends": peer.is_some_and(|p| p.extends),
            "clients": report.map(|r| r.active_clients), "peers": report.map(|r| r.peer_count),
            "reported_seconds_ago": report.map(|r| now.mono.saturating_sub(r.received_at).as_secs_f64()),
        })
    });
    let peers: Vec<Value> = shown.collect();
    drop(control);
    json!({ "peers": peers, "total": peers.len() })
}

/// Every connection between this node and another, and every address that one is wanted to.
pub fn links(hub: &Hub) -> Value {
    let now = hub.clock.now();
    let control = lock(&hub.control);
    let fabric = &control.fabric;
    let membership = fabric.membership();
    let shown = membership.links().map(|link| {
        let node = membership.speaker(link);
        let facts = fabric.facts(link);
        json!({
            "link": link.0, "node_id": node, "cluster_id": membership.cluster_of(link),
            "dialled": membership.address(link), "age_seconds": membership.age(link, now).as_secs_f64(),
            "encrypted": facts.is_some_and(|f| f.encrypted),
            "certified": facts.is_some_and(|f| f.certificate.is_some()),
            "preferred": node.and_then(|node| membership.link_to(node)) == Some(link),
        })
    });
    let links: Vec<Value> = shown.collect();
    let wanted = membership.unreached(now);
    drop(control);
    let waiting =
        |id: u64| hub.outlet(crate::core::pubsub::ConnectionId(id)).map(|outlet| outlet.waiting_bytes());
    let links: Vec<Value> = links
        .into_iter()
        .map(|mut link| {
            let id = link.get("link").and_then(Value::as_u64).unwrap_or_default();
            link["waiting_bytes"] = json!(waiting(LinkId(id).0));
            link
        })
        .collect();
    let unreached: Vec<Value> = wanted
        .iter()
        .map(|wanted| {
            let fault = hub.journal.last_dial_fault(&wanted.url);
            json!({
                "url": wanted.url, "is_seed": wanted.is_seed, "failures": wanted.failures,
                "turned_away": wanted.turned_away, "next_in_seconds": wanted.next_in.as_secs_f64(),
                "fault": fault.map(|fault| fault.text),
            })
        })
        .collect();
    json!({ "links": links, "unreached": unreached, "total": links.len() })
}

/// The routes to other clusters, all or those to clusters whose name contains a text.
pub fn routes(hub: &Hub, order: &Order) -> Value {
    let now = hub.clock.now();
    let shown = lock(&hub.control).fabric.shown_table(now);
    let fits = |text: &str| order.filter.as_deref().is_none_or(|wanted| text.contains(wanted));
    let mut routes: Vec<_> = shown.into_iter().filter(|route| fits(&route.destination.cluster_id)).collect();
    let total = routes.len();
    routes.truncate(order.limit.unwrap_or(ROWS_USUAL));
    json!({ "routes": routes, "total": total, "left_out": total - routes.len() })
}

/// Entries of the catalog, each with its type; written apart from the thread that serves.
pub async fn catalog(hub: &Hub, order: &Order) -> Answer {
    let kinds = ["function", "topic", "queue", "service", "cache", "cache_profile", "node"];
    if let Some(kind) = order.kind.as_deref().filter(|kind| !kinds.contains(kind)) {
        let text = format!("the catalog has no type `{kind}`; there are {}", kinds.join(", "));
        return Err(Refused { status: 2, text });
    }
    let wants = |kind: &str| order.kind.as_deref().is_none_or(|wanted| wanted == kind);
    let entries: Vec<Entry> = {
        let control = lock(&hub.control);
        let catalog = control.fabric.catalog();
        let mut entries = Vec::new();
        macro_rules! gather {
            ($($kind:literal $list:ident $variant:ident;)*) => {
                $(if wants($kind) {
                    entries.extend(catalog.$list().cloned().map(Entry::$variant));
                })*
            };
        }
        gather! {
            "node" nodes Node;
            "function" functions Function;
            "topic" topics Topic;
            "queue" queues Queue;
            "service" services Service;
            "cache" caches Cache;
            "cache_profile" cache_profiles CacheProfile;
        }
        entries
    };
    let filter = order.filter.clone();
    let limit = order.limit.unwrap_or(ROWS_USUAL);
    let shown = smol::unblock(move || {
        let mut total = 0;
        let mut rows = Vec::new();
        for entry in entries {
            let Ok(row) = serde_json::to_value(&entry) else { continue };
            if filter.as_ref().is_none_or(|text| mentions(&row, text)) {
                total += 1;
                if rows.len() < limit {
                    rows.push(row);
                }
            }
        }
        json!({ "entries": rows, "total": total, "left_out": total - rows.len() })
    });
    Ok(shown.await)
}

/// The functions that this node runs by workers.
pub fn functions(hub: &Hub) -> Value {
    let functions: Vec<Value> = hub.workers().health().iter().map(function).collect();
    json!({ "functions": functions, "total": functions.len() })
}

pub fn function(health: &FunctionHealth) -> Value {
    json!({
        "name": health.name, "version": health.version, "running": health.instances_running,
        "wanted": health.instances_wanted, "in_flight": health.in_flight, "waiting": health.waiting,
        "calls_total": health.calls, "failures_total": health.failures, "restarts_total": health.restarts,
        "last_exit": health.last_exit,
    })
}

/// One entry with its type.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Entry {
    Node(Arc<crate::core::catalog::NodeEntry>),
    Function(Arc<crate::core::catalog::FunctionEntry>),
    Topic(Arc<crate::core::catalog::TopicEntry>),
    Queue(Arc<crate::core::catalog::QueueEntry>),
    Service(Arc<crate::core::catalog::ServiceEntry>),
    Cache(Arc<crate::core::catalog::CacheEntry>),
    CacheProfile(Arc<crate::core::catalog::CacheProfileEntry>),
}

/// Whether any text of a row contains this one.
fn mentions(row: &Value, text: &str) -> bool {
    match row {
        Value::String(here) => here.contains(text),
        Value::Array(items) => items.iter().any(|item| mentions(item, text)),
        Value::Object(members) => members.values().any(|member| mentions(member, text)),
        _ => false,
    }
}

/// Rows of an answer that asks for no number.
const ROWS_USUAL: usize = 1000;
