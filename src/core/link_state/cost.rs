//! What a link costs (fabric.md 9.6), of the parts that are on the wire: latency, reliability and cost score. Nobody tells
//! of load, loss or jitter, so they add nothing.

use crate::core::route::Link;
use crate::wire::fabric::link_state::Neighbour;

/// The cost of a link in milliseconds of latency; `None`: it is not to be used.
pub fn edge_cost(link: &Link) -> Option<f64> {
    let link = bounded(*link);
    let cost_factor = 1.0 + link.cost_score / COST_SCORE_UNIT;
    let cost = link.latency_ms
        + (1.0 - link.reliability_score) * UNRELIABILITY_COST
        + (cost_factor - 1.0) * COST_FACTOR_COST;
    (link.reliability_score > RELIABILITY_UNUSABLE).then_some(cost)
}

/// Metrics that can be added up: nothing below zero, endless or undefined.
pub(super) fn bounded(link: Link) -> Link {
    let number = |n: f64, max: f64| if n.is_nan() { 0.0 } else { n.clamp(0.0, max) };
    Link {
        latency_ms: number(link.latency_ms, METRIC_MAX),
        bandwidth_mbps: link.bandwidth_mbps,
        reliability_score: number(link.reliability_score, 1.0),
        cost_score: number(link.cost_score, METRIC_MAX),
    }
}

pub(super) fn link_of(neighbour: &Neighbour) -> Link {
    bounded(Link {
        latency_ms: neighbour.latency_ms,
        bandwidth_mbps: neighbour.bandwidth_mbps,
        reliability_score: neighbour.reliability_score,
        cost_score: neighbour.cost_score,
    })
}

/// Added for each cluster that a way enters: of ways that cost nothing the shortest is taken.
pub(super) const NODE_COST: f64 = 0.1;

const UNRELIABILITY_COST: f64 = 50.0;
const COST_FACTOR_COST: f64 = 20.0;
const COST_SCORE_UNIT: f64 = 10.0;
/// A link that is no more reliable than this is not used.
const RELIABILITY_UNUSABLE: f64 = 0.3;
/// Larger ones count as this; eleven days of latency.
const METRIC_MAX: f64 = 1e9;
