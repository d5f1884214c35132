//! Nodes as clients see them: `list_peers`, `cluster_map` and `cluster_map_v2` (client.md 4.2 to 4.4), with the load by
//! which the least busy one is chosen.

use serde_json::Value;

use super::page::Page;
use super::payload::Payload;
use super::reply::{Reply, texts, value_of};
use super::row::Row;
use super::{Counters, PeerView, World};
use crate::core::catalog::{Leased, NodeEntry, Scope, Text};
use crate::core::error::CallError;

/// How busy a node is, and how sure that is.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    pub active_clients: u64,
    pub peer_count: u64,
    pub status: Text,
    pub status_timestamp: Option<f64>,
    pub counters: Counters,
    /// Smaller is better.
    pub score: f64,
}

impl Load {
    /// A silent or unwell node sorts behind every busy one.
    fn new(
        active_clients: u64,
        peer_count: u64,
        status: Text,
        at: f64,
        counters: Counters,
        world: &World<'_>,
    ) -> Load {
        let fresh_seconds = (3.0 * world.node.gossip_interval_seconds).max(1.0);
        let mut score = active_clients as f64;
        if *status != *"ok" {
            score += NOT_OK_PENALTY;
        }
        if world.now.wall - at > fresh_seconds {
            score += STALE_PENALTY;
        }
        Load { active_clients, peer_count, status, status_timestamp: Some(at), counters, score }
    }

    pub fn value(&self) -> Value {
        Reply::new()
            .kept("active_clients", self.active_clients)
            .kept("peer_count", self.peer_count)
            .kept("status", &*self.status)
            .given("status_timestamp", self.status_timestamp)
            .kept("messages_processed", self.counters.messages_processed)
            .kept("rpc_responses_skipped", self.counters.rpc_responses_skipped)
            .kept("server_messages", self.counters.server_messages)
            .kept("other_messages", self.counters.other_messages)
            .kept("load_score", self.score)
            .done()
    }
}

impl World<'_> {
    /// The load of a node as it is known here; `None` without a status.
    pub fn load(&self, cluster_id: &str, node_id: &str) -> Option<Load> {
        if self.is_own(cluster_id, node_id) {
            let node = self.node;
            let known = self.catalog.nodes().filter(|n| !n.expired(self.now.wall));
            let others = known.filter(|n| !self.is_own(&n.cluster_id, &n.node_id)).count();
            let own = (node.active_clients, others as u64 + 1);
            return Some(Load::new(own.0, own.1, "ok".into(), self.now.wall, node.counters, self));
        }
        let peer = self.peers.get(node_id)?;
        let status = peer.status.as_ref()?;
        Some(Load::new(
            status.active_clients,
            status.peer_count,
            peer.word(),
            status.timestamp,
            status.counters,
            self,
        ))
    }

    /// The URLs under which a node says it can be reached, else its id.
    pub fn advertised_urls(&self, node: &NodeEntry) -> Vec<Text> {
        let told = if self.is_own(&node.cluster_id, &node.node_id) {
            Some(&self.node.advertised_urls)
        } else {
            self.peers.get(&node.node_id).and_then(|p| p.status.as_ref()).map(|s| &s.advertised_urls)
        };
        told.filter(|urls| !urls.is_empty()).cloned().unwrap_or_else(|| vec![node.node_id.clone()])
    }

    pub fn is_own(&self, cluster_id: &str, node_id: &str) -> bool {
        *node_id == *self.node.node_id && *cluster_id == *self.node.cluster_id
    }
}

impl PeerView {
    /// `ok`, `disconnected`, or `unknown` where no status was received.
    pub fn word(&self) -> Text {
        match &self.status {
            None => "unknown".into(),
            Some(status) if self.connected => status.status.clone(),
            Some(_) => "disconnected".into(),
        }
    }
}

/// The answer of `list_peers`.
pub fn list_peers(payload: &Payload, world: &World<'_>) -> Result<Value, CallError> {
    let scope = payload.scope("scope")?;
    let cluster = payload.text("cluster_id")?;
    let own_cluster_only = scope == Some(Scope::Zone);
    let mut nodes: Vec<&NodeEntry> = world
        .catalog
        .nodes()
        .map(|n| &**n)
        .filter(|n| {
            scope != Some(Scope::Local)
                && !n.expired(world.now.wall)
                && !world.is_own(&n.cluster_id, &n.node_id)
                && (!own_cluster_only || n.cluster_id == world.node.cluster_id)
                && cluster.as_deref().is_none_or(|c| *c == *n.cluster_id)
                && !world.peers.get(&n.node_id).is_some_and(|p| p.hidden)
        })
        .collect();
    nodes.sort_unstable_by_key(|n| (&n.node_id, &n.cluster_id));
    let mut offers: Vec<_> = world.catalog.functions().filter(|f| !f.expired(world.now.wall)).collect();
    offers.sort_by_key(|f| (&f.node_id, &f.cluster_id));
    Ok(nodes
        .into_iter()
        .map(|node| {
            let place = (&node.node_id, &node.cluster_id);
            let from = offers.partition_point(|f| (&f.node_id, &f.cluster_id) < place);
            let to = offers.partition_point(|f| (&f.node_id, &f.cluster_id) <= place);
            let own = offers.get(from..to).unwrap_or_default();
            let funs = set(own.iter().map(|f| &f.identity.name));
            let locs = set(own.iter().flat_map(|f| &f.resources).chain(&node.resources));
            peer(node, funs, locs, world)
        })
        .collect())
}

/// The answer of `cluster_map`: all nodes.
pub fn cluster_map(rows: &[Row], world: &World<'_>) -> Value {
    mapped(rows, world.now.wall, world).done()
}

/// The answer of `cluster_map_v2`: a page of nodes.
pub fn cluster_map_page(page: &Page, world: &World<'_>) -> Value {
    mapped(&page.rows, page.generated_at, world).given("next_page_token", page.next_page_token.clone()).done()
}

fn mapped(rows: &[Row], generated_at: f64, world: &World<'_>) -> Reply {
    let nodes: Vec<Value> = rows
        .iter()
        .filter_map(|row| match row {
            Row::Node(node) => Some(map_node(node, world)),
            _ => None,
        })
        .collect();
    Reply::new()
        .kept("cluster_id", &*world.node.cluster_id)
        .kept("generated_at", generated_at)
        .kept("nodes", nodes)
}

fn map_node(node: &NodeEntry, world: &World<'_>) -> Value {
    Reply::new()
        .kept("node_id", &*node.node_id)
        .kept("cluster_id", &*node.cluster_id)
        .kept("resources", texts(&node.resources))
        .kept("capabilities", texts(&node.capabilities))
        .given("region", &*node.region)
        .given("scope", node.scope.word())
        .given("tags", texts(&node.tags))
        .kept("transport_endpoints", value_of(&node.transport_endpoints))
        .kept("advertised_urls", texts(world.advertised_urls(node)))
        .kept("advertised_at", node.advertised_at)
        .kept("load", world.load(&node.cluster_id, &node.node_id).map(|l| l.value()))
        .done()
}

fn peer(node: &NodeEntry, funs: Vec<&Text>, locs: Vec<&Text>, world: &World<'_>) -> Value {
    let view = world.peers.get(&node.node_id);
    let scope = if node.cluster_id == world.node.cluster_id {
        Scope::Zone
    } else if node.region.is_empty() || node.region == world.node.region {
        Scope::Region
    } else {
        Scope::Global
    };
    Reply::new()
        .kept("url", &*node.node_id)
        .kept("cluster_id", &*node.cluster_id)
        .kept("funs", texts(funs.iter().map(|f| &***f)))
        .kept("locs", texts(locs.iter().map(|l| &***l)))
        .kept("last_seen", node.advertised_at)
        .kept("status", view.map_or("unknown".into(), |v| v.word().to_string()))
        .kept("status_timestamp", view.and_then(|v| v.status.as_ref()).map(|s| s.timestamp))
        .kept("scope", scope.word())
        .given("region", &*node.region)
        .kept("advertised_urls", texts(world.advertised_urls(node)))
        .kept("transport_endpoints", value_of(&node.transport_endpoints))
        .kept("load", world.load(&node.cluster_id, &node.node_id).map(|l| l.value()))
        .done()
}

fn set<'a>(list: impl Iterator<Item = &'a Text>) -> Vec<&'a Text> {
    let mut list: Vec<&Text> = list.collect();
    list.sort_unstable();
    list.dedup();
    list
}

/// A node that is not well is chosen after all that are.
const NOT_OK_PENALTY: f64 = 1000.0;
/// A node that was not heard of lately is chosen after all that were.
const STALE_PENALTY: f64 = 500.0;

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::{Delta, PeerStatus, PeerView};
    use super::*;
    use serde_json::json;

    fn two_nodes() -> Bench {
        let mut bench = Bench::new(Default::default());
        let at = bench.wall();
        let node = entry(
            json!({"node_id": "ws://f", "cluster_id": "c1", "resources": ["edge"], "capabilities": ["rpc"],
            "transport_endpoints": [endpoint("ws://f", 9)], "region": "eu", "advertised_at": at, "ttl_seconds": 60}),
        );
        bench.learn(Delta {
            nodes: vec![node],
            functions: vec![function("peer.fn", "ws://f", at)],
            ..Delta::default()
        });
        bench.peers.insert("ws://f".into(), peer_view(at));
        bench
    }

    fn peer_view(at: f64) -> PeerView {
        let status = PeerStatus {
            status: "ok".into(),
            active_clients: 3,
            peer_count: 2,
            timestamp: at,
            advertised_urls: vec!["ws://f".into()],
            counters: Counters::default(),
        };
        PeerView { status: Some(status), connected: true, hidden: false }
    }

    #[test]
    fn peers_have_the_captured_shape() {
        let mut bench = two_nodes();
        same_shape(&bench.call("list_peers", json!({})), &sample("list_peers_two_nodes")["result"]);
        let peer = bench.call("list_peers", json!({"scope": "zone"}))[0].clone();
        assert_eq!(
            (&peer["funs"], &peer["locs"], &peer["status"]),
            (&json!(["peer.fn"]), &json!(["edge"]), &json!("ok"))
        );
        assert_eq!((&peer["scope"], &peer["load"]["load_score"]), (&json!("zone"), &json!(3.0)));
        assert_eq!(Bench::new(Default::default()).call("list_peers", json!(null)), json!([]));
    }

    #[test]
    fn filters_of_peers() {
        let mut bench = two_nodes();
        for (payload, n) in [
            (json!({"scope": "local"}), 0),
            (json!({"scope": "region"}), 1),
            (json!({"scope": "GLOBAL "}), 1),
            (json!({"cluster_id": "c1"}), 1),
            (json!({"cluster_id": "c2"}), 0),
            (json!({"scope": ""}), 1),
            (json!({"colour": "red", "scope": "zone"}), 1),
        ] {
            assert_eq!(bench.call("list_peers", payload.clone()).as_array().unwrap().len(), n, "{payload}");
        }
        bench.peers.get_mut("ws://f").unwrap().hidden = true;
        assert_eq!(bench.call("list_peers", json!({})), json!([]));
    }

    #[test]
    fn a_lost_peer_is_disconnected_then_stale() {
        let mut bench = two_nodes();
        bench.peers.get_mut("ws://f").unwrap().connected = false;
        let list = bench.call("list_peers", json!({}));
        same_shape(&list, &sample("list_peers_disconnected_peer")["result"]);
        assert_eq!(
            (&list[0]["status"], &list[0]["load"]["load_score"]),
            (&json!("disconnected"), &json!(1003.0))
        );
        bench.seconds = 3.5;
        assert_eq!(bench.call("list_peers", json!({}))[0]["load"]["load_score"], 1503.0);
        bench.peers.clear();
        let list = bench.call("list_peers", json!({}));
        assert_eq!(
            (&list[0]["status"], &list[0]["load"], &list[0]["advertised_urls"]),
            (&json!("unknown"), &json!(null), &json!(["ws://f"]))
        );
    }

    #[test]
    fn maps_have_the_captured_shape() {
        let mut bench = two_nodes();
        let map = match bench.outcome("cluster_map", json!([]), json!({})).unwrap() {
            super::super::Outcome::Value(map) => map,
            other => panic!("{other:?}"),
        };
        same_shape(&map, &sample("cluster_map_two_nodes")["result"]);
        assert_eq!(map["nodes"][0]["load"]["peer_count"], 2);
        same_shape(
            &bench.call("cluster_map_v2", json!({"limit": 1})),
            &sample("cluster_map_v2_page1")["result"],
        );
        for args in [json!([null]), json!([{}]), json!([1])] {
            assert_eq!(bench.outcome("cluster_map", args, json!({})).unwrap_err().code, 1003);
        }
    }

    #[test]
    fn the_table_of_map_filters_holds() {
        let mut bench = Bench::new(Default::default());
        for (payload, n) in [
            (json!({}), 1),
            (json!({"scope": "zone"}), 1),
            (json!({"scope": " Cluster "}), 1),
            (json!({"scope": "local"}), 1),
            (json!({"scope": "region"}), 0),
            (json!({"scope": "global"}), 0),
            (json!({"capabilities": ["rpc"]}), 1),
            (json!({"capabilities": "rpc"}), 1),
            (json!({"capabilities": ["rpc", "teleport"]}), 0),
            (json!({"resources": ["disk"]}), 1),
            (json!({"resources": ["disk", "rack7"]}), 1),
            (json!({"resources": ["tape"]}), 0),
            (json!({"cluster_id": "c1"}), 1),
            (json!({"cluster_id": "c2"}), 0),
            (json!({"namespace_filter": "rack"}), 1),
            (json!({"namespace_filter": "c1"}), 1),
            (json!({"namespace_filter": "ws://"}), 1),
            (json!({"namespace_filter": "zzz"}), 0),
            (json!({"limit": 1}), 1),
            (
                json!({"capabilities": [], "resources": [], "scope": "", "cluster_id": "", "namespace_filter": ""}),
                1,
            ),
            (json!({"scope": null}), 1),
        ] {
            let map = bench.call("cluster_map_v2", payload.clone());
            assert_eq!(map["nodes"].as_array().unwrap().len(), n, "{payload}");
            assert!(map["cluster_id"] == "c1" && map.get("next_page_token").is_none());
        }
    }

    #[test]
    fn a_node_that_is_not_announced_yet_knows_itself() {
        let mut bench = Bench::new(Default::default());
        bench.catalog = crate::core::catalog::Catalog::new(10);
        let map = bench.call("cluster_map_v2", json!({}));
        assert_eq!(map["nodes"][0]["node_id"], OWN);
        assert_eq!(
            bench.call("catalog_query", json!({"entry_type": "nodes"}))["items"][0]["resources"],
            json!(["disk", "rack7"])
        );
    }
}
