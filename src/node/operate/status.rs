//! `mpreg ctl status`: what an operator wants to know first, most urgent things first.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use rustix::process::{Resource, getrlimit};
use serde_json::{Value, json};

use super::Operator;
use crate::core::catalog::Text;
use crate::core::time::Now;
use crate::node::hub::{Hub, Sizes, lock};
use crate::node::surroundings;

/// The whole page.
pub async fn status(operator: &Operator) -> Value {
    let hub = &operator.hub;
    let process = smol::unblock(process).await;
    let now = hub.clock.now();
    let settings = hub.settings();
    let sizes = hub.sizes();
    let look = look(hub, now);
    let roles: Vec<&str> = settings.node.role.iter().map(|role| role.as_str()).collect();
    json!({
        "node": {
            "name": hub.node_name(), "node_id": hub.node_id(), "cluster_id": hub.cluster_id(), "roles": roles,
            "version": env!("CARGO_PKG_VERSION"), "pid": std::process::id(), "config_file": operator.config_file,
            "started_at": hub.started_at(), "uptime_seconds": now.mono.as_secs_f64(),
        },
        "health": health(hub),
        "links": {
            "peers": sizes.peers, "seeds": look.seeds.1, "seeds_reached": look.seeds.0,
            "unreached": look.unreached, "connections": hub.connections(), "clients": sizes.clients,
        },
        "work": {
            "requests_total": hub.counters.requests.load(Relaxed),
            "commands_total": hub.counters.commands.load(Relaxed),
            "published_total": hub.counters.published.load(Relaxed),
            "delivered_total": hub.counters.delivered.load(Relaxed),
            "calls_pending": sizes.calls_pending,
            "subscriptions": sizes.subscriptions,
            "catalog_entries": sizes.catalog.iter().map(|(_, count)| count).sum::<usize>(),
            "routes": sizes.routes.values().sum::<usize>(),
        },
        "refusals": refusals(hub),
        "limits": limits(hub, &sizes, &look, &process),
        "memory": { "resident_bytes": process.resident_bytes },
        "store": hub.keeper().map(|keeper| {
            let status = keeper.status();
            json!({
                "bytes": status.bytes.load(Relaxed), "queue_bytes": status.queue_bytes.load(Relaxed),
                "failing": keeper.is_failing(), "failures_total": status.failures.load(Relaxed),
                "set_aside_total": status.set_aside.load(Relaxed),
            })
        }),
        "functions": hub.workers().health().iter().map(super::tables::function).collect::<Vec<_>>(),
        "clock": clock(&look.offsets),
        "certificate": operator.certificate().await,
        "reload": reload(operator),
        "log": operator.shown_log(),
        "events": hub.journal.events(EVENTS_SHOWN).iter()
            .map(|noted| json!({ "at": noted.at, "text": noted.text })).collect::<Vec<_>>(),
        "now": now.wall,
    })
}

fn health(hub: &Hub) -> Value {
    let faults = hub.unready();
    let state = match (hub.is_stopping(), hub.is_draining()) {
        (true, _) => "stopping",
        (false, true) => "draining",
        _ if faults.is_empty() => "ready",
        _ => "not ready",
    };
    json!({ "state": state, "faults": faults })
}

fn reload(operator: &Operator) -> Value {
    let shown = lock(&operator.shown);
    json!({
        "last": shown.last.as_ref().map(|told| {
            json!({ "at": told.at, "good": told.is_good, "text": told.text })
        }),
        "needs_restart": shown.needs_restart, "confirm_until": shown.confirm_until, "reloads_total": shown.reloads,
    })
}

/// What the core knows, taken under one short lock.
struct Look {
    /// Reached, and all.
    seeds: (usize, usize),
    unreached: Vec<Value>,
    /// Of the cluster that has most entries.
    cluster_entries: (Text, usize),
    /// By how many seconds the clocks of peers are ahead of ours.
    offsets: BTreeMap<Text, f64>,
}

fn look(hub: &Hub, now: Now) -> Look {
    let control = lock(&hub.control);
    let fabric = &control.fabric;
    let membership = fabric.membership();
    let mut wanted = membership.unreached(now);
    let seeds = membership.seeds_reached(now);
    let catalog = fabric.catalog();
    let clusters = catalog.nodes().map(|node| &node.cluster_id).collect::<std::collections::BTreeSet<_>>();
    let most = clusters.into_iter().map(|id| (catalog.entries_of_cluster(id), id)).max();
    let cluster_entries = most.map_or((hub.cluster_id().into(), 0), |(count, id)| (id.clone(), count));
    let offsets = surroundings::offsets(fabric, now);
    drop(control);
    wanted.sort_by_key(|w| (!w.is_seed, std::cmp::Reverse(w.failures)));
    let unreached = wanted.iter().take(UNREACHED_SHOWN).map(|wanted| {
        let fault = hub.journal.last_dial_fault(&wanted.url);
        json!({
            "url": wanted.url, "node": wanted.node, "is_seed": wanted.is_seed, "failures": wanted.failures,
            "turned_away": wanted.turned_away, "under_way": wanted.under_way,
            "next_in_seconds": wanted.next_in.as_secs_f64(),
            "fault": fault.as_ref().map(|fault| &fault.text), "fault_at": fault.as_ref().map(|fault| fault.at),
        })
    });
    Look { seeds, unreached: unreached.collect(), cluster_entries, offsets }
}

/// Every reason that has happened, the latest first; `routine` are those that happen between healthy nodes.
fn refusals(hub: &Hub) -> Vec<Value> {
    let mut seen: Vec<_> = hub
        .counters
        .seen()
        .into_iter()
        .map(|(reason, count)| (hub.counters.last(reason), reason, count))
        .collect();
    seen.sort_by_key(|(last, ..)| std::cmp::Reverse(*last));
    let shown = seen.into_iter().map(|(last, reason, count)| {
        json!({
            "reason": reason.name(), "count": count, "last_at": last, "routine": reason.is_routine(),
            "meaning": reason.meaning().meaning, "remedy": reason.meaning().remedy,
            "last_text": hub.journal.last_refusal(reason).map(|noted| noted.text),
        })
    });
    shown.collect()
}

/// Each bound with what is used of it, the fullest first.
fn limits(hub: &Hub, sizes: &Sizes, look: &Look, process: &Process) -> Vec<Value> {
    let settings = hub.settings();
    let limits = &settings.limits;
    let mut subscriptions = 0;
    hub.each_outlet(|outlet| subscriptions = subscriptions.max(outlet.subscriptions()));
    let routes = sizes.routes.values().copied().max().unwrap_or_default();
    let rows = [
        ("listen.max_connections", "connections", hub.connections(), settings.listen.max_connections),
        ("limits.pending_calls_max", "calls", sizes.calls_pending, limits.pending_calls_max),
        (
            "limits.catalog_entries_per_cluster",
            "entries",
            look.cluster_entries.1,
            limits.catalog_entries_per_cluster,
        ),
        ("limits.routes_per_neighbor", "routes", routes, limits.routes_per_neighbor),
        (
            "limits.subscriptions_per_connection",
            "subscriptions",
            subscriptions,
            limits.subscriptions_per_connection,
        ),
        ("limits.backlog", "bytes", sizes.backlog_bytes, limits.backlog as usize),
        ("limits.memory less limits.backlog", "bytes", sizes.outbound_bytes, sizes.outbound_bytes_max),
        ("open files of the process", "files", process.files, process.files_max),
    ];
    let mut rows: Vec<(f64, Value)> = rows
        .into_iter()
        .filter(|(.., max)| *max > 0)
        .map(|(key, unit, used, max)| {
            let share = used as f64 / max as f64;
            (share, json!({ "key": key, "unit": unit, "used": used, "max": max, "share": share }))
        })
        .collect();
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    rows.into_iter().map(|(_, row)| row).collect()
}

/// How the clock of this node stands to those of its peers.
fn clock(offsets: &BTreeMap<Text, f64>) -> Value {
    let middle = surroundings::middle(offsets);
    let worst = offsets.iter().max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()));
    json!({
        "peers": offsets.len(), "ahead_seconds": middle,
        "worst": worst.map(|(node, ahead)| json!({ "node": node, "ahead_seconds": ahead })),
    })
}

/// What the kernel says of this process.
struct Process {
    resident_bytes: u64,
    files: usize,
    files_max: usize,
}

fn process() -> Process {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default();
    let files_max = getrlimit(Resource::Nofile).current.unwrap_or_default();
    Process {
        resident_bytes: pages * rustix::param::page_size() as u64,
        files: std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
        files_max: usize::try_from(files_max).unwrap_or(usize::MAX),
    }
}

const UNREACHED_SHOWN: usize = 50;
const EVENTS_SHOWN: usize = 20;
