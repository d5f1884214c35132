//! The metrics of a node: one table that says each name, type, unit and meaning, and where its values come from.
//!
//! Rendering takes one look at everything, with short locks and relaxed loads, and costs nothing between two looks.
//! The order of lines is always the same.

use std::fmt::{Display, Write as _};
use std::sync::atomic::Ordering::Relaxed;

use crate::core::reason::REASONS;
use crate::drive::worker::FunctionHealth;
use crate::node::hub::{Hub, Sizes};
use crate::store::Status;

/// One row of the table.
struct Metric {
    name: &'static str,
    kind: Kind,
    /// What is counted; the last word of a name where Prometheus wants it there.
    unit: &'static str,
    meaning: &'static str,
    read: fn(&View<'_>, &mut Samples<'_>),
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Only grows while the process runs.
    Counter,
    Gauge,
}

/// What a node is at one moment.
struct View<'a> {
    hub: &'a Hub,
    sizes: Sizes,
    functions: Vec<FunctionHealth>,
}

/// Takes the values of one metric.
struct Samples<'a> {
    name: &'static str,
    out: &'a mut String,
}

/// All metrics in the text form of Prometheus.
pub fn render(hub: &Hub) -> String {
    let view = View { hub, sizes: hub.sizes(), functions: hub.workers().health() };
    let mut out = String::with_capacity(TEXT_BYTES_USUAL);
    for metric in METRICS {
        let Metric { name, unit, meaning, .. } = metric;
        let kind = if metric.kind == Kind::Counter { "counter" } else { "gauge" };
        // Writing to a String does not fail.
        let _ = writeln!(out, "# HELP {name} {meaning} Unit: {unit}.\n# TYPE {name} {kind}");
        (metric.read)(&view, &mut Samples { name, out: &mut out });
    }
    out
}

impl Samples<'_> {
    fn put(&mut self, value: impl Display) {
        self.put_labelled(&[], value);
    }

    fn put_labelled(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.out.push_str(self.name);
        for (i, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.out, "{}{label}=\"", if i == 0 { '{' } else { ',' });
            for c in text.chars() {
                match c {
                    '\\' => self.out.push_str("\\\\"),
                    '"' => self.out.push_str("\\\""),
                    '\n' => self.out.push_str("\\n"),
                    c => self.out.push(c),
                }
            }
            self.out.push('"');
        }
        let _ = writeln!(self.out, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    /// One value of the store, where there is one.
    fn put_store(&mut self, view: &View<'_>, value: fn(&Status) -> u64) {
        if let Some(keeper) = view.hub.keeper() {
            self.put(value(keeper.status()));
        }
    }

    /// One value for each declared function.
    fn put_functions(&mut self, view: &View<'_>, value: fn(&FunctionHealth) -> u64) {
        for function in &view.functions {
            let labels = [("function", function.name.as_str()), ("version", function.version.as_str())];
            self.put_labelled(&labels, value(function));
        }
    }
}

macro_rules! metrics {
    ($($name:literal $kind:ident $unit:literal $meaning:literal |$view:ident, $samples:ident| $read:expr;)*) => {
        /// Every metric once.
        const METRICS: &[Metric] = &[$(Metric {
            name: $name,
            kind: Kind::$kind,
            unit: $unit,
            meaning: $meaning,
            read: |$view, $samples| $read,
        },)*];
    };
}

metrics! {
    "mpreg_build_info" Gauge "none" "Always 1; its labels say which build runs." |_view, samples| samples.put_labelled(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    "mpreg_node_info" Gauge "none" "Always 1; its labels say which node this is." |view, samples| samples.put_labelled(&[("node_id", view.hub.node_id()), ("cluster_id", view.hub.cluster_id()), ("name", view.hub.node_name())], 1);
    "mpreg_start_time_seconds" Gauge "seconds since 1970" "When the node was started." |view, samples| samples.put(view.hub.started_at());
    "mpreg_stopping" Gauge "none" "1 while the node stops and takes no new work, else 0." |view, samples| samples.put(u8::from(view.hub.is_stopping()));
    "mpreg_draining" Gauge "none" "1 while the node is drained by its operator and takes no new work, else 0." |view, samples| samples.put(u8::from(view.hub.is_draining()));
    "mpreg_connections" Gauge "connections" "Connections that count against listen.max_connections, peers and handshakes included." |view, samples| samples.put(view.hub.connections());
    "mpreg_connections_inbound" Gauge "connections" "Connections that others opened, after their handshake." |view, samples| samples.put(view.hub.inbound_connections());
    "mpreg_clients" Gauge "connections" "Connections of clients, after their handshake." |view, samples| samples.put(view.sizes.clients);
    "mpreg_peers" Gauge "nodes" "Other nodes that a link leads to." |view, samples| samples.put(view.sizes.peers);
    "mpreg_subscriptions" Gauge "subscriptions" "Subscriptions of clients of this node." |view, samples| samples.put(view.sizes.subscriptions);
    "mpreg_subscriptions_remote" Gauge "subscriptions" "Subscriptions at other nodes that this node knows." |view, samples| samples.put(view.sizes.subscriptions_remote);
    "mpreg_calls_pending" Gauge "commands" "Commands under way, which limits.pending_calls_max bounds." |view, samples| samples.put(view.sizes.calls_pending);
    "mpreg_rpc_requests_total" Counter "requests" "RPC requests of clients." |view, samples| samples.put(view.hub.counters.requests.load(Relaxed));
    "mpreg_rpc_commands_total" Counter "commands" "Commands within those requests." |view, samples| samples.put(view.hub.counters.commands.load(Relaxed));
    "mpreg_pubsub_published_total" Counter "messages" "Messages that clients published." |view, samples| samples.put(view.hub.counters.published.load(Relaxed));
    "mpreg_pubsub_delivered_total" Counter "messages" "Messages put into the way out of a subscriber, each subscription counted." |view, samples| samples.put(view.hub.counters.delivered.load(Relaxed));
    "mpreg_backlog_bytes" Gauge "bytes" "What is kept for late subscribers, which limits.backlog bounds." |view, samples| samples.put(view.sizes.backlog_bytes);
    "mpreg_backlog_messages" Gauge "messages" "Messages that are kept for late subscribers." |view, samples| samples.put(view.sizes.backlog_messages);
    "mpreg_outbound_bytes" Gauge "bytes" "What waits for all connections together." |view, samples| samples.put(view.sizes.outbound_bytes);
    "mpreg_outbound_limit_bytes" Gauge "bytes" "The bound of that: limits.memory less limits.backlog." |view, samples| samples.put(view.sizes.outbound_bytes_max);
    "mpreg_catalog_entries" Gauge "entries" "Entries of the catalog, by type." |view, samples| for (kind, count) in view.sizes.catalog { samples.put_labelled(&[("type", kind)], count) };
    "mpreg_federation_connections" Gauge "connections" "Connections with other clusters, by cluster; none with federation.emit_metrics = false." |view, samples| for (cluster, count) in &view.sizes.federation_connections { samples.put_labelled(&[("cluster", cluster)], count) };
    "mpreg_routes" Gauge "routes" "Routes to other clusters that are held, by the neighbour cluster they came from; `own` for those heard by other nodes of the own cluster." |view, samples| for (from, count) in &view.sizes.routes { samples.put_labelled(&[("from", from)], count) };
    "mpreg_link_state_entries" Gauge "updates" "Link-state updates that are held." |view, samples| samples.put(view.sizes.link_state_entries);
    "mpreg_function_instances_running" Gauge "processes" "Worker processes of a function that run." |view, samples| samples.put_functions(view, |f| f.instances_running as u64);
    "mpreg_function_instances_wanted" Gauge "processes" "Worker processes of a function that should run." |view, samples| samples.put_functions(view, |f| f.instances_wanted as u64);
    "mpreg_function_in_flight" Gauge "calls" "Calls that workers have." |view, samples| samples.put_functions(view, |f| f.in_flight as u64);
    "mpreg_function_waiting" Gauge "calls" "Calls that wait for a free place at a worker." |view, samples| samples.put_functions(view, |f| f.waiting as u64);
    "mpreg_function_calls_total" Counter "calls" "Calls of a function, refused ones included." |view, samples| samples.put_functions(view, |f| f.calls);
    "mpreg_function_failures_total" Counter "calls" "Calls of a function that ended with an error of any kind." |view, samples| samples.put_functions(view, |f| f.failures);
    "mpreg_function_restarts_total" Counter "processes" "Ends and failed starts of the worker processes of a function." |view, samples| samples.put_functions(view, |f| f.restarts);
    "mpreg_store_disk_bytes" Gauge "bytes" "What the store takes." |view, samples| samples.put_store(view, |s| s.bytes.load(Relaxed));
    "mpreg_store_queue_bytes" Gauge "bytes" "What waits to be written to the store." |view, samples| samples.put_store(view, |s| s.queue_bytes.load(Relaxed) as u64);
    "mpreg_store_commits_total" Counter "batches" "Batches that the store took." |view, samples| samples.put_store(view, |s| s.commits.load(Relaxed));
    "mpreg_store_syncs_total" Counter "syncs" "Syncs of the store; one serves all batches that wait." |view, samples| samples.put_store(view, |s| s.syncs.load(Relaxed));
    "mpreg_store_failures_total" Counter "failures" "Groups of batches that the store did not take." |view, samples| samples.put_store(view, |s| s.failures.load(Relaxed));
    "mpreg_store_refused_total" Counter "batches" "Batches that were refused because too much waited." |view, samples| samples.put_store(view, |s| s.refused.load(Relaxed));
    "mpreg_store_set_aside_total" Counter "records" "Damaged records that were set aside; a store that could not be opened counts as one." |view, samples| samples.put_store(view, |s| s.set_aside.load(Relaxed));
    "mpreg_refusals_total" Counter "events" "What was rejected, dropped, cut short or done in another way than asked, by reason." |view, samples| for meaning in REASONS { samples.put_labelled(&[("reason", meaning.name)], view.hub.counters.of(meaning.reason)) };
}

/// A node without functions of its own writes about this much.
const TEXT_BYTES_USUAL: usize = 12 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_follows_the_rules_of_prometheus() {
        let mut names: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), METRICS.len(), "a name is declared once");
        for Metric { name, kind, unit, meaning, .. } in METRICS {
            assert!(name.starts_with("mpreg_") && meaning.ends_with('.') && !unit.is_empty(), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            assert!(*unit != "bytes" || name.ends_with("_bytes"), "{name}");
            assert!(!meaning.contains(['\\', '\n']), "{name}: nothing to escape");
        }
    }

    #[test]
    fn labels_are_escaped() {
        let mut out = String::new();
        let mut samples = Samples { name: "a", out: &mut out };
        samples.put_labelled(&[("x", "1\"2\\3\n"), ("y", "")], 7);
        samples.put(0.5);
        assert_eq!(out, "a{x=\"1\\\"2\\\\3\\n\",y=\"\"} 7\na 0.5\n");
    }
}
