//! The routes of a node as those who watch it see them (monitoring.md 3.11). Questions only; nothing is changed but the
//! computed ways of link state, which are kept for the next question.

use serde::Serialize;

use super::way::Visited;
use super::*;
use crate::core::route::{Decider, Route, Via};
use crate::core::trust::Standing;
use crate::wire::fabric::route::{Destination, Metrics, Path};

/// The routes to one cluster, and where a message for it would go now.
#[derive(Debug, Serialize)]
pub struct Trace {
    pub destination: Destination,
    /// Wall clock.
    pub evaluated_at: f64,
    pub avoid_clusters: Vec<Text>,
    pub candidates: Vec<TracedRoute>,
    /// The best of the routes; with link state a message may go elsewhere, see `decision`.
    pub selected: Option<TracedRoute>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_state_hint: Option<LinkStateHint>,
    /// All ways that link state knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_state: Option<link_state::Explanation>,
    pub decision: Decision,
}

/// A route as it is shown.
#[derive(Debug, Clone, Serialize)]
pub struct TracedRoute {
    pub destination: Destination,
    /// The neighbour cluster.
    pub next_hop: Text,
    /// The node of this cluster that heard it, where it was not this one.
    pub border_node: Option<Text>,
    pub advertiser: Text,
    /// This cluster first.
    pub path: Path,
    pub metrics: Metrics,
    /// The lowest wins.
    pub score: f64,
    pub tiebreakers: Vec<TracedTiebreaker>,
    pub tags: Vec<Text>,
    pub epoch: i64,
    pub age_seconds: f64,
    pub expires_in_seconds: f64,
    /// `verified`, `unverified` or `unsigned`.
    pub signature: &'static str,
    pub expired: bool,
    pub filtered_reason: Option<&'static str>,
}

#[derive(Debug, Clone, Serialize)]
pub struct TracedTiebreaker {
    pub name: &'static str,
    pub value: TiebreakerValue,
}

#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum TiebreakerValue {
    Number(f64),
    Name(Text),
}

#[derive(Debug, Serialize)]
pub struct LinkStateHint {
    pub mode: link_state::Mode,
    pub area: Option<Text>,
    pub allowed_areas: Option<BTreeSet<Text>>,
    pub area_mismatch_rejects: u64,
}

/// What the node would do with a message.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decision {
    /// The node that it would be sent to.
    pub next_node: Option<Text>,
    /// The cluster of that node.
    pub next_cluster: Option<Text>,
    /// Why it would go nowhere (fabric.md 13.2).
    pub reason: Option<&'static str>,
}

impl Fabric {
    /// Why a message for `destination` goes where it goes, around the clusters to avoid.
    pub fn trace(&mut self, destination: &Text, avoid: &[Text], now: Now) -> Trace {
        let candidates = self.shown_routes(destination, avoid, now);
        let selected = candidates.iter().find(|c| c.filtered_reason.is_none()).cloned();
        let is_enabled = self.link_state.mode() != link_state::Mode::Disabled;
        let status = is_enabled.then(|| self.link_state.status());
        let hops_max = u32::try_from(self.own.hops_max).unwrap_or(u32::MAX);
        let link_state = is_enabled.then(|| self.link_state.explain(destination, avoid, hops_max));
        let visited = Visited { clusters: avoid, ..Visited::default() };
        let decision = if !self.is_foreign(destination) {
            Decision { next_node: None, next_cluster: None, reason: Some("already_local") }
        } else {
            self.decision(destination, "", visited)
        };
        Trace {
            destination: Destination { cluster_id: destination.clone() },
            evaluated_at: now.wall,
            avoid_clusters: avoid.to_vec(),
            candidates,
            selected,
            link_state_hint: status.map(|s| LinkStateHint {
                mode: s.mode,
                area: s.area,
                allowed_areas: s.allowed_areas,
                area_mismatch_rejects: s.area_mismatch_rejects,
            }),
            link_state,
            decision,
        }
    }

    /// All routes, by destination, the best first.
    pub fn shown_table(&self, now: Now) -> Vec<TracedRoute> {
        let all = self.routes.table().destinations();
        all.flat_map(|(_, routes)| routes).map(|route| self.shown(route, &[], now)).collect()
    }

    /// The same way that a message takes, without sending one. The rotation over ways of equal cost is not moved.
    pub(super) fn decision(&mut self, cluster: &str, node: &str, visited: Visited) -> Decision {
        match self.way_without_turn(cluster, node, visited, &mut |_| ()) {
            Ok((node, _)) => Decision {
                next_cluster: self.membership.peer(&node).map(|p| p.cluster_id.clone()),
                next_node: Some(node),
                reason: None,
            },
            Err(no_way) => Decision { next_node: None, next_cluster: None, reason: Some(no_way.word()) },
        }
    }

    fn shown_routes(&self, destination: &str, avoid: &[Text], now: Now) -> Vec<TracedRoute> {
        let routes = self.routes.table().candidates(destination, &[]);
        routes.map(|route| self.shown(route, avoid, now)).collect()
    }

    pub(super) fn shown(&self, route: &Route, avoid: &[Text], now: Now) -> TracedRoute {
        let tiebreaker = |(name, value): (&'static str, Decider)| TracedTiebreaker {
            name,
            value: match value {
                Decider::Number(number) => TiebreakerValue::Number(number),
                Decider::Name(name) => TiebreakerValue::Name(name.into()),
            },
        };
        let avoided = route.path.iter().skip(1).any(|cluster| avoid.contains(cluster));
        TracedRoute {
            destination: Destination { cluster_id: route.destination.clone() },
            next_hop: route.advertiser.clone(),
            border_node: match &route.via {
                Via::Neighbour { .. } => None,
                Via::Border { node } => Some(node.clone()),
            },
            advertiser: route.advertiser.clone(),
            path: Path { hops: route.path.to_vec() },
            metrics: route.metrics,
            score: route.score,
            tiebreakers: self.routes.table().tiebreakers(route).into_iter().map(tiebreaker).collect(),
            tags: route.tags.to_vec(),
            epoch: route.epoch,
            age_seconds: (now.wall - route.received_at).max(0.0),
            expires_in_seconds: route.expires_at - now.wall,
            signature: signature(route),
            expired: route.expires_at < now.wall,
            filtered_reason: avoided.then_some("avoid_clusters"),
        }
    }
}

/// What is known of who made a route.
pub(super) fn signature(route: &Route) -> &'static str {
    match route.standing {
        Standing::Verified => "verified",
        Standing::Unverified => "unverified",
        Standing::Unsigned => "unsigned",
    }
}
