//! Why calls to a cluster go where they go: all ways that there are, and what was not taken into account.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Serialize, Serializer};

use super::{LinkState, graph};
use crate::core::catalog::Text;
use crate::core::reason::Reason;

/// The ways to a cluster, and why there are no more.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    pub target: Text,
    /// Every cluster that this one has a link with, by name.
    pub candidates: Vec<Candidate>,
    /// Links that somebody tells of and that do not count, by name; a large number is cut.
    pub refused_links: Vec<RefusedLink>,
    /// Own neighbours that are named in no area.
    pub neighbours_without_area: Vec<Text>,
    /// Refused updates by their area; the empty text is none.
    pub refused_areas: BTreeMap<Text, u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Candidate {
    pub cluster: Text,
    /// Absent where no way leads on.
    pub cost: Option<f64>,
    pub path: Vec<Text>,
    /// Calls go this way, maybe in turn with others.
    pub used: bool,
    /// Why it leads nowhere; absent where it does, but at a higher cost.
    #[serde(serialize_with = "optional_name")]
    pub reason: Option<Reason>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RefusedLink {
    pub from: Text,
    pub to: Text,
    #[serde(serialize_with = "name")]
    pub reason: Reason,
}

pub(super) fn explain(state: &mut LinkState, target: &Text, visited: &[Text], hops_max: u32) -> Explanation {
    let avoid: BTreeSet<Text> = visited.iter().cloned().collect();
    let used = state.paths(target, visited, hops_max);
    let found = state.graph().candidates(target, &avoid, hops_max);
    let longer = state.graph().candidates(target, &avoid, HOPS_ANY);
    let claims = state.claims();
    let own = &state.settings.cluster_id;
    let mut refused_links: Vec<RefusedLink> = claims
        .links()
        .filter_map(|(from, to, cost)| {
            Some(RefusedLink { from: from.clone(), to: to.clone(), reason: cost.err()? })
        })
        .collect();
    refused_links.sort_by(|a, b| (&a.from, &a.to).cmp(&(&b.from, &b.to)));
    let candidates = state.links.keys().map(|cluster| {
        let of = |hops: &[graph::NextHop]| hops.iter().find(|h| h.cluster == *cluster).cloned();
        let refused = refused_links.iter().find(|l| l.from == *own && l.to == *cluster).map(|l| l.reason);
        let way = of(&found);
        let reason = match &way {
            Some(_) => None,
            None if refused.is_some() => refused,
            None if avoid.contains(cluster) || avoid.contains(target) => Some(Reason::RouteLoop),
            None if of(&longer).is_some() => Some(Reason::HopBudget),
            None => Some(Reason::NoRoute),
        };
        Candidate {
            cluster: cluster.clone(),
            cost: way.as_ref().map(|w| w.cost),
            path: way.map(|w| w.path).unwrap_or_default(),
            used: used.iter().any(|h| h.cluster == *cluster),
            reason,
        }
    });
    let candidates = candidates.collect();
    refused_links.truncate(REFUSED_LINKS_MAX);
    let homeless = state.links.keys().filter(|name| state.settings.areas_of(name).is_empty());
    Explanation {
        target: target.clone(),
        candidates,
        refused_links,
        neighbours_without_area: homeless.cloned().collect(),
        refused_areas: state.refused_areas.clone(),
    }
}

fn name<S: Serializer>(reason: &Reason, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(reason.name())
}

fn optional_name<S: Serializer>(reason: &Option<Reason>, serializer: S) -> Result<S::Ok, S::Error> {
    reason.map(Reason::name).serialize(serializer)
}

/// More links than any way has: none passes a cluster twice, and the search ends with the last cluster.
const HOPS_ANY: u32 = u32::MAX;
/// For a person to read.
const REFUSED_LINKS_MAX: usize = 256;
