//! `mpreg discovery`: what the fabric knows, and how it changes.
//!
//! The filters of a query are handed to the node as they are. A watch asks the node for its topic first, so that
//! policy decides there who may watch what.

use argh::{ArgsInfo, FromArgs};
use serde_json::{Value, json};

use super::{
    output::{self, Failure, Outcome},
    policy::either,
    pubsub::{Until, not_a_message, print_messages},
    remote::{Limit, Payload, ask},
};
use crate::client::CallOptions;

/// ask what the fabric knows, and watch it change
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "discovery")]
pub struct DiscoveryGroup {
    #[argh(subcommand)]
    verb: DiscoveryVerb,
}

#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
enum DiscoveryVerb {
    Query(Query),
    Summary(Summary),
    Watch(Watch),
    AccessAudit(AccessAudit),
}

impl DiscoveryGroup {
    pub fn run(self) -> Outcome {
        match self.verb {
            DiscoveryVerb::Query(verb) => verb.run(),
            DiscoveryVerb::Summary(verb) => verb.run(),
            DiscoveryVerb::Watch(verb) => verb.run(),
            DiscoveryVerb::AccessAudit(verb) => verb.run(),
        }
    }
}

remote_verb! {
    /// list entries of the catalog
    #[argh(
        subcommand,
        name = "query",
        example = "mpreg discovery query --url ws://127.0.0.1:7000",
        example = "mpreg discovery query --entry-type nodes --capability cache",
        example = "mpreg discovery query --function-name svc.market.quote --version-constraint '>=1.2,<2' --json",
        note = "Entry types: functions, nodes, queues, topics, services, caches, cache_profiles."
    )]
    struct Query {
        /// which kind of entries; default functions
        #[argh(option, default = "String::from(ENTRY_TYPE)", arg_name = "type")]
        entry_type: String,
        /// namespace, with everything below it
        #[argh(option)]
        namespace: Option<String>,
        /// local, zone, region or global
        #[argh(option)]
        scope: Option<String>,
        /// cluster for which it is asked
        #[argh(option, arg_name = "cluster")]
        viewer_cluster_id: Option<String>,
        /// tenant for which it is asked
        #[argh(option, arg_name = "tenant")]
        viewer_tenant_id: Option<String>,
        /// capability it must have
        #[argh(option)]
        capability: Vec<String>,
        /// resource it must carry
        #[argh(option)]
        resource: Vec<String>,
        /// tag it must carry
        #[argh(option)]
        tag: Vec<String>,
        /// cluster it belongs to
        #[argh(option, arg_name = "cluster")]
        cluster_id: Option<String>,
        /// node it belongs to
        #[argh(option, arg_name = "node")]
        node_id: Option<String>,
        /// exact name of a function
        #[argh(option, arg_name = "name")]
        function_name: Option<String>,
        /// exact id of a function
        #[argh(option, arg_name = "id")]
        function_id: Option<String>,
        /// version of a function, as in '>=1.2,<2'
        #[argh(option, arg_name = "constraint")]
        version_constraint: Option<String>,
        /// exact name of a queue
        #[argh(option, arg_name = "name")]
        queue_name: Option<String>,
        /// topic whose subscriptions are wanted
        #[argh(option)]
        topic: Option<String>,
        /// entries of one page
        #[argh(option, arg_name = "number")]
        limit: Option<u32>,
        /// where the last page ended
        #[argh(option, arg_name = "token")]
        page_token: Option<String>,
    }
}

impl Query {
    fn run(self) -> Outcome {
        let remote = self.remote();
        let payload = Payload::new()
            .put("entry_type", Some(self.entry_type))
            .put("namespace", self.namespace)
            .put("scope", self.scope)
            .put("viewer_cluster_id", self.viewer_cluster_id)
            .put("viewer_tenant_id", self.viewer_tenant_id)
            .list("capabilities", &self.capability)
            .list("resources", &self.resource)
            .list("tags", &self.tag)
            .put("cluster_id", self.cluster_id)
            .put("node_id", self.node_id)
            .put("function_name", self.function_name)
            .put("function_id", self.function_id)
            .put("version_constraint", self.version_constraint)
            .put("queue_name", self.queue_name)
            .put("topic", self.topic)
            .put("limit", self.limit)
            .put("page_token", self.page_token)
            .done();
        let page = remote.ask("catalog_query", payload)?;
        remote.show(&page, |page| {
            let items = list(page, "items");
            let kind = page.get("entry_type").and_then(Value::as_str).unwrap_or(ENTRY_TYPE);
            let next = page.get("next_page_token").and_then(Value::as_str);
            output::table(columns(kind), items) + &output::count_line(items.len(), kind, next)
        })
    }
}

remote_verb! {
    /// list services in short: how many endpoints, in which cluster
    #[argh(
        subcommand,
        name = "summary",
        example = "mpreg discovery summary --url ws://127.0.0.1:7000",
        example = "mpreg discovery summary --scope global --namespace svc.market --include-ingress --ingress-limit 2 --json"
    )]
    struct Summary {
        /// namespace, with everything below it
        #[argh(option)]
        namespace: Option<String>,
        /// exact name of a service
        #[argh(option, arg_name = "name")]
        service_id: Option<String>,
        /// local, zone, region or global
        #[argh(option)]
        scope: Option<String>,
        /// cluster for which it is asked
        #[argh(option, arg_name = "cluster")]
        viewer_cluster_id: Option<String>,
        /// tenant for which it is asked
        #[argh(option, arg_name = "tenant")]
        viewer_tenant_id: Option<String>,
        /// also the addresses of nodes through which a cluster is entered
        #[argh(switch)]
        include_ingress: bool,
        /// without those addresses (the default)
        #[argh(switch)]
        no_include_ingress: bool,
        /// addresses for each cluster
        #[argh(option, arg_name = "number")]
        ingress_limit: Option<u32>,
        /// scope of those nodes
        #[argh(option, arg_name = "scope")]
        ingress_scope: Option<String>,
        /// capability of those nodes
        #[argh(option, arg_name = "capability")]
        ingress_capability: Vec<String>,
        /// tag of those nodes
        #[argh(option, arg_name = "tag")]
        ingress_tag: Vec<String>,
        /// entries of one page
        #[argh(option, arg_name = "number")]
        limit: Option<u32>,
        /// where the last page ended
        #[argh(option, arg_name = "token")]
        page_token: Option<String>,
    }
}

impl Summary {
    fn run(self) -> Outcome {
        let remote = self.remote();
        let ingress = either(
            ("--include-ingress", self.include_ingress),
            ("--no-include-ingress", self.no_include_ingress),
        )?;
        let payload = Payload::new()
            .put("namespace", self.namespace)
            .put("service_id", self.service_id)
            .put("scope", self.scope)
            .put("viewer_cluster_id", self.viewer_cluster_id)
            .put("viewer_tenant_id", self.viewer_tenant_id)
            .put("include_ingress", ingress)
            .put("ingress_limit", self.ingress_limit)
            .put("ingress_scope", self.ingress_scope)
            .list("ingress_capabilities", &self.ingress_capability)
            .list("ingress_tags", &self.ingress_tag)
            .put("limit", self.limit)
            .put("page_token", self.page_token)
            .done();
        let page = remote.ask("summary_query", payload)?;
        remote.show(&page, |page| {
            let items = list(page, "items");
            let mut text = output::table(SUMMARY_COLUMNS, items);
            if let Some(ingress) = page.get("ingress") {
                text += &output::outline(&json!({ "ingress": ingress }));
            }
            let next = page.get("next_page_token").and_then(Value::as_str);
            text + &output::count_line(items.len(), "services", next)
        })
    }
}

remote_verb! {
    /// print changes of the catalog as they happen, one a line
    #[argh(
        subcommand,
        name = "watch",
        example = "mpreg discovery watch --url ws://127.0.0.1:7000",
        example = "mpreg discovery watch --namespace svc.market --count 3 --json",
        example = "mpreg discovery watch --summary --scope global --duration 60",
        note = "Without --count and --duration it runs until it is interrupted. With --json a line is the whole message."
    )]
    struct Watch {
        /// watch summaries of services
        #[argh(switch)]
        summary: bool,
        /// watch changes of the catalog (the default)
        #[argh(switch)]
        delta: bool,
        /// scope of the summaries
        #[argh(option)]
        scope: Option<String>,
        /// only this namespace
        #[argh(option)]
        namespace: Option<String>,
        /// cluster to watch
        #[argh(option, arg_name = "cluster")]
        cluster_id: Option<String>,
        /// tenant for which it is watched
        #[argh(option, arg_name = "tenant")]
        viewer_tenant_id: Option<String>,
        /// end after so many seconds
        #[argh(option, arg_name = "seconds")]
        duration: Option<f64>,
        /// end after so many messages
        #[argh(option, arg_name = "number")]
        count: Option<u64>,
    }
}

impl Watch {
    fn run(self) -> Outcome {
        let until = Until::new(self.count, self.duration)?;
        let summary = either(("--summary", self.summary), ("--delta", self.delta))?.unwrap_or(false);
        let fun = if summary { "summary_watch" } else { "catalog_watch" };
        let remote = self.remote();
        let payload = Payload::new()
            .put("scope", self.scope)
            .put("namespace", self.namespace)
            .put("cluster_id", self.cluster_id)
            .put("viewer_tenant_id", self.viewer_tenant_id)
            .done();
        remote.with_client(Limit::Usual, async |client| {
            let answer = ask(client, fun, payload, &CallOptions::default()).await?;
            let topic = answer
                .get("topic")
                .and_then(Value::as_str)
                .ok_or_else(|| Failure::failed(format!("{fun}: the answer names no topic to watch")))?;
            let subscription = client.subscribe(&[topic.to_owned()], 0).await?;
            print_messages(subscription, until, |notification| {
                if remote.json {
                    return Ok(notification.message.get().to_owned());
                }
                let message = notification.message().map_err(not_a_message)?;
                let payload = serde_json::from_str(message.payload.get()).map_err(not_a_message)?;
                Ok(change_line(&payload, message.timestamp))
            })
            .await
        })
    }
}

remote_verb! {
    /// show who was denied what, and who asked too often
    #[argh(
        subcommand,
        name = "access-audit",
        example = "mpreg discovery access-audit --limit 20 --url ws://127.0.0.1:7000"
    )]
    struct AccessAudit {
        /// the newest so many; default all that are kept
        #[argh(option, arg_name = "number")]
        limit: Option<u32>,
    }
}

impl AccessAudit {
    fn run(self) -> Outcome {
        let remote = self.remote();
        let answer = remote.ask("discovery_access_audit", Payload::new().put("limit", self.limit).done())?;
        remote.show(&answer, |answer| {
            let entries = list(answer, "entries");
            output::table(ACCESS_COLUMNS, entries) + &output::count_line(entries.len(), "entries", None)
        })
    }
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice)
}

/// A change of the catalog, or a set of summaries, in one line.
fn change_line(payload: &Value, timestamp: f64) -> String {
    let at = payload.get("published_at").and_then(Value::as_f64).unwrap_or(timestamp);
    let mut line = output::utc(at);
    if let Some(update_id) = output::member(payload, "delta.update_id") {
        line += &format!(" update_id={}", output::plain(Some(update_id)));
    }
    for name in ["source_node", "source_cluster", "namespaces"] {
        line += &format!(" {name}={}", output::plain(payload.get(name)));
    }
    for (name, count) in payload.get("counts").and_then(Value::as_object).into_iter().flatten() {
        if count.as_u64() != Some(0) {
            line += &format!(" {name}={count}");
        }
    }
    for summary in list(payload, "summaries") {
        let text = |name| output::plain(summary.get(name));
        line += &format!(" {}:endpoint_count={}", text("service_id"), text("endpoint_count"));
    }
    line
}

fn columns(entry_type: &str) -> &'static [&'static str] {
    match entry_type {
        "nodes" => &["node_id", "cluster_id", "region", "scope", "resources", "capabilities", "tags"],
        "queues" => &["queue_name", "node_id", "cluster_id", "health", "current_subscribers", "tags"],
        "topics" => &["patterns", "subscription_id", "node_id", "cluster_id", "tags"],
        "services" => {
            &["namespace", "name", "protocol", "port", "targets", "tags", "metadata", "node_id", "cluster_id"]
        }
        "caches" => &["role", "node_id", "cluster_id", "scope", "tags"],
        "cache_profiles" => {
            &["node_id", "cluster_id", "region", "capacity_mb", "utilization_percent", "reliability_score"]
        }
        _ => &["identity.name", "identity.version", "node_id", "cluster_id", "scope", "resources", "tags"],
    }
}

const ENTRY_TYPE: &str = "functions";
const SUMMARY_COLUMNS: &[&str] =
    &["service_id", "namespace", "source_cluster", "endpoint_count", "regions", "health_band", "scope"];
const ACCESS_COLUMNS: &[&str] =
    &["timestamp", "event", "viewer_cluster_id", "viewer_tenant_id", "namespace", "allowed", "reason"];
