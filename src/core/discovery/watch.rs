//! Topics on which discovery tells what changed: `catalog_watch`, `summary_watch` (client.md 4.11) and the messages
//! that a change of the catalog makes (5.8). The namespaces of a change are those of what came and of what went.

use std::sync::Arc;

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use super::filter::{literal_prefix, own_namespace};
use super::payload::Payload;
use super::reply::Reply;
use super::{LocalNode, World};
use crate::core::catalog::{Delta, Text};
use crate::core::error::CallError;
use crate::core::time::Now;

/// Base of the topics on which deltas are told.
pub const DELTA_TOPIC: &str = "mpreg.discovery.delta";
/// Base of the topics on which summaries are told.
pub const SUMMARY_TOPIC: &str = "mpreg.discovery.summary";

/// A message that the node itself publishes, to its own subscribers only unless `forward` says otherwise.
#[derive(Debug, Clone)]
pub struct DiscoveryMessage {
    pub topic: String,
    /// Encoded once; the messages of one change share it.
    pub payload: Arc<RawValue>,
    pub headers: Map<String, Value>,
    /// `None`: any fresh id will do.
    pub message_id: Option<Text>,
    /// Also for subscribers on other nodes.
    pub forward: bool,
}

/// What is asked of one of the two watch functions.
#[derive(Debug)]
pub struct Watch {
    base: &'static str,
    scope: Option<crate::core::catalog::Scope>,
    namespace: Option<String>,
    cluster_id: Option<String>,
}

impl Watch {
    pub fn read(base: &'static str, payload: &Payload) -> Result<Watch, CallError> {
        Ok(Watch {
            base,
            scope: payload.scope("scope")?,
            namespace: payload.text("namespace")?,
            cluster_id: payload.text("cluster_id")?,
        })
    }

    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref().map(str::trim).filter(|n| !n.is_empty())
    }

    pub fn answer(&self, node: &LocalNode, now: Now) -> Value {
        let scope = self.scope.filter(|_| self.base == SUMMARY_TOPIC);
        Reply::new()
            .kept("topic", topic(self.base, scope.map(|s| s.word()), self.namespace()))
            .kept("generated_at", now.wall)
            .given("scope", self.scope.map(|s| s.word()))
            .given("namespace", self.namespace.clone())
            .kept("cluster_id", self.cluster_id.as_deref().unwrap_or(&node.cluster_id))
            .done()
    }
}

/// `base[.scope][.namespace]`
pub fn topic(base: &str, scope: Option<&str>, namespace: Option<&str>) -> String {
    [Some(base), scope, namespace].into_iter().flatten().collect::<Vec<_>>().join(".")
}

/// What watchers are told of a change of the catalog: one message on the base topic, one for each namespace.
pub fn delta_messages(delta: &Delta, world: &World<'_>) -> Vec<DiscoveryMessage> {
    let mut namespaces = namespaces(delta);
    if namespaces.is_empty() {
        let cluster = if delta.cluster_id.is_empty() { &world.node.cluster_id } else { &delta.cluster_id };
        namespaces.push(cluster.to_string());
    }
    let counts: Map<String, Value> =
        delta.counts().into_iter().map(|(name, n)| (name.into(), n.into())).collect();
    let payload = Told {
        delta,
        counts,
        namespaces: &namespaces,
        source_node: &world.node.node_id,
        source_cluster: &world.node.cluster_id,
        published_at: world.now.wall,
    };
    let Ok(payload) = to_raw_value(&payload).map(Arc::<RawValue>::from) else { return Vec::new() };
    let headers = json!({"event": "discovery.catalog_delta", "cluster_id": &*world.node.cluster_id});
    let Value::Object(headers) = headers else { return Vec::new() };
    let message = |topic, message_id| DiscoveryMessage {
        topic,
        payload: payload.clone(),
        headers: headers.clone(),
        message_id,
        forward: false,
    };
    let id = Some(delta.update_id.clone()).filter(|id| !id.is_empty());
    let mut messages = vec![message(DELTA_TOPIC.to_owned(), id)];
    messages.extend(namespaces.iter().map(|n| message(topic(DELTA_TOPIC, None, Some(n)), None)));
    messages
}

#[derive(serde::Serialize)]
struct Told<'a> {
    delta: &'a Delta,
    counts: Map<String, Value>,
    namespaces: &'a [String],
    source_node: &'a str,
    source_cluster: &'a str,
    published_at: f64,
}

/// The namespaces that a change touches, sorted; removed topics are told by id only and touch none.
fn namespaces(delta: &Delta) -> Vec<String> {
    let service = |namespace: &'_ Text, name: &'_ Text| -> Text {
        if namespace.is_empty() { name.clone() } else { namespace.clone() }
    };
    let mut all: Vec<String> = Vec::new();
    let mut add = |namespace: &str| {
        if !namespace.is_empty() {
            all.push(namespace.to_owned());
        }
    };
    delta.functions.iter().for_each(|f| add(own_namespace(&f.identity.name)));
    delta.function_removals.iter().for_each(|f| add(own_namespace(&f.identity.name)));
    delta.queues.iter().for_each(|q| add(own_namespace(&q.queue_name)));
    delta.queue_removals.iter().for_each(|q| add(own_namespace(&q.queue_name)));
    delta.services.iter().for_each(|s| add(&service(&s.namespace, &s.name)));
    delta.service_removals.iter().for_each(|s| add(&service(&s.namespace, &s.name)));
    delta.topics.iter().flat_map(|t| &t.patterns).for_each(|p| add(literal_prefix(p)));
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::core::catalog::Entry as _;
    use std::collections::BTreeMap;

    #[test]
    fn the_table_of_topics_holds() {
        let mut bench = Bench::new(Default::default());
        for (fun, payload, topic) in [
            ("catalog_watch", json!({}), "mpreg.discovery.delta"),
            ("catalog_watch", json!({"namespace": " svc.a "}), "mpreg.discovery.delta.svc.a"),
            ("catalog_watch", json!({"namespace": "qq", "scope": "global"}), "mpreg.discovery.delta.qq"),
            ("summary_watch", json!({}), "mpreg.discovery.summary"),
            ("summary_watch", json!({"scope": "cluster"}), "mpreg.discovery.summary.zone"),
            (
                "summary_watch",
                json!({"scope": "REGION", "namespace": "svc.a"}),
                "mpreg.discovery.summary.region.svc.a",
            ),
            ("summary_watch", json!({"namespace": "svc"}), "mpreg.discovery.summary.svc"),
        ] {
            assert_eq!(bench.call(fun, payload.clone())["topic"], topic, "{fun} {payload}");
        }
        let told = bench
            .call("catalog_watch", json!({"scope": "zone", "namespace": "svc.market", "cluster_id": "x"}));
        same_shape(&told, &sample("catalog_watch_namespace")["result"]);
        let told = bench.call("summary_watch", json!({"scope": "global", "namespace": "svc.market"}));
        same_shape(&told, &sample("summary_watch")["result"]);
        assert!(bench.call("catalog_watch", json!({})).get("namespace").is_none());
    }

    fn messages(delta: &Delta) -> Vec<DiscoveryMessage> {
        let bench = Bench::new(Default::default());
        let peers = BTreeMap::new();
        delta_messages(
            delta,
            &World { catalog: &bench.catalog, node: &bench.node, peers: &peers, now: bench.now() },
        )
    }

    #[test]
    fn a_change_is_told_on_the_base_topic_and_for_each_namespace() {
        let delta = Delta {
            update_id: "u1".into(),
            cluster_id: "c1".into(),
            sent_at: 5.0,
            services: vec![service("feed", "market.eu", 5.0, 60.0)],
            function_removals: vec![function("svc.f", "n", 1.0).key()],
            nodes: vec![Arc::new(local_node().entry(5.0))],
            ..Delta::default()
        };
        let told = messages(&delta);
        let topics: Vec<_> = told.iter().map(|m| (m.topic.as_str(), m.message_id.as_deref())).collect();
        assert_eq!(
            topics,
            [
                ("mpreg.discovery.delta", Some("u1")),
                ("mpreg.discovery.delta.market.eu", None),
                ("mpreg.discovery.delta.svc", None),
            ]
        );
        let payload: Value = serde_json::from_str(told[0].payload.get()).unwrap();
        assert_eq!(payload["namespaces"], json!(["market.eu", "svc"]));
        assert_eq!(
            (&payload["counts"]["services_added"], &payload["counts"]["functions_removed"]),
            (&json!(1), &json!(1))
        );
    }

    #[test]
    fn the_message_has_the_captured_shape() {
        let captured = sample("discovery_delta_notification_service_added")["message"].clone();
        let delta: Delta = serde_json::from_value(captured["payload"]["delta"].clone()).unwrap();
        let told = messages(&delta);
        let payload: Value = serde_json::from_str(told[0].payload.get()).unwrap();
        same_shape(&payload, &captured["payload"]);
        assert_eq!(payload["delta"].to_string(), captured["payload"]["delta"].to_string());
        assert_eq!(
            Value::Object(told[0].headers.clone()),
            json!({"event": "discovery.catalog_delta", "cluster_id": "c1"})
        );
    }

    #[test]
    fn a_change_without_namespace_is_told_under_its_cluster() {
        let topic = entry(
            json!({"subscription_id": "s", "patterns": ["#", "a.b.*"], "node_id": "n", "cluster_id": "c1"}),
        );
        let topics = |delta: &Delta| messages(delta).into_iter().map(|m| m.topic).collect::<Vec<_>>();
        assert_eq!(
            topics(&Delta { topics: vec![topic], ..Delta::default() })[1],
            "mpreg.discovery.delta.a.b"
        );
        let gone = Delta { topic_removals: vec!["s".into()], ..Delta::default() };
        assert_eq!(topics(&gone)[1], "mpreg.discovery.delta.c1");
    }
}
