//! `[[route.policy]]`: which routes pass and which of two is better (fabric.md 7.5, 7.9, 7.10). The order is total, so
//! that two nodes with the same routes choose the same one. An absent list lets all pass, an empty one none. All members
//! count in all places, and what a policy keeps in is neither announced nor withdrawn.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use crate::core::catalog::Text;
use crate::core::reason::Reason;
use crate::wire::fabric::route::Metrics;

/// The filters and preferences of one place where policies apply.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    pub weights: Weights,
    /// Most hops, counted from this cluster.
    pub hops_max: Option<i64>,
    pub allow_advertisers: Option<BTreeSet<Text>>,
    pub allow_destinations: Option<BTreeSet<Text>>,
    pub allow_tags: Option<BTreeSet<Text>>,
    pub deny_tags: BTreeSet<Text>,
    /// `None`: the usual order.
    pub tiebreakers: Option<Vec<Tiebreaker>>,
}

/// The policies of one direction: a route must pass the global one, and the one of its neighbour or else the default.
#[derive(Debug, Clone, Default)]
pub struct Policies {
    pub global: Option<Policy>,
    pub default: Option<Policy>,
    pub neighbours: BTreeMap<Text, Policy>,
}

/// What a policy looks at.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub advertiser: &'a str,
    pub destination: &'a str,
    pub tags: &'a [Text],
    /// From the cluster whose policy it is.
    pub hops: i64,
}

/// What each part of a route's metrics adds to its score; the lowest score wins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weights {
    pub latency: f64,
    pub hops: f64,
    pub cost: f64,
    pub reliability: f64,
    pub bandwidth: f64,
}

/// What decides between routes of equal score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tiebreaker {
    HopCount,
    LatencyMs,
    ReliabilityScore,
    Advertiser,
}

/// What a tiebreaker looks at; the smaller one wins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Decider<'a> {
    Number(f64),
    Name(&'a str),
}

/// What is known of the link that a route came over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    pub latency_ms: f64,
    /// `None` or not above 0: unknown.
    pub bandwidth_mbps: Option<i64>,
    pub reliability_score: f64,
    pub cost_score: f64,
}

impl Policy {
    /// Whether a route passes.
    pub fn admits(&self, route: Subject) -> Result<(), Reason> {
        let listed =
            |list: &Option<BTreeSet<Text>>, name| list.as_ref().is_none_or(|list| list.contains(name));
        let passes = listed(&self.allow_advertisers, route.advertiser)
            && listed(&self.allow_destinations, route.destination)
            && self.allow_tags.as_ref().is_none_or(|list| route.tags.iter().any(|t| list.contains(t)))
            && !route.tags.iter().any(|t| self.deny_tags.contains(t))
            && self.hops_max.is_none_or(|max| route.hops <= max);
        if passes { Ok(()) } else { Err(Reason::RoutePolicyRefused) }
    }

    pub fn score(&self, m: &Metrics) -> f64 {
        let w = &self.weights;
        m.latency_ms * w.latency
            + m.hop_count as f64 * w.hops
            + m.cost_score * w.cost
            + (1.0 - m.reliability_score) * w.reliability
            - m.bandwidth_mbps as f64 * w.bandwidth
    }

    /// What decides, after the score, where this route stands among others: name and value, in order.
    pub fn deciders<'a>(&self, m: &Metrics, advertiser: &'a str) -> Vec<(&'static str, Decider<'a>)> {
        let value = |t: Tiebreaker| match t {
            Tiebreaker::HopCount => Decider::Number(m.hop_count as f64),
            Tiebreaker::LatencyMs => Decider::Number(m.latency_ms),
            Tiebreaker::ReliabilityScore => Decider::Number(-m.reliability_score),
            Tiebreaker::Advertiser => Decider::Name(advertiser),
        };
        self.tiebreakers().iter().map(|t| (t.name(), value(*t))).collect()
    }

    /// The better of two routes, given by metrics and advertiser, comes first.
    pub fn order(&self, a: (&Metrics, &str), b: (&Metrics, &str)) -> Ordering {
        let decided = self.tiebreakers().iter().map(|t| match t {
            Tiebreaker::HopCount => a.0.hop_count.cmp(&b.0.hop_count),
            Tiebreaker::LatencyMs => a.0.latency_ms.total_cmp(&b.0.latency_ms),
            Tiebreaker::ReliabilityScore => b.0.reliability_score.total_cmp(&a.0.reliability_score),
            Tiebreaker::Advertiser => a.1.cmp(b.1),
        });
        let by_score = self.score(a.0).total_cmp(&self.score(b.0));
        decided.fold(by_score, Ordering::then)
    }

    fn tiebreakers(&self) -> &[Tiebreaker] {
        self.tiebreakers.as_deref().unwrap_or(&USUAL)
    }
}

impl Tiebreaker {
    pub fn name(self) -> &'static str {
        match self {
            Tiebreaker::HopCount => "hop_count",
            Tiebreaker::LatencyMs => "latency_ms",
            Tiebreaker::ReliabilityScore => "reliability_score",
            Tiebreaker::Advertiser => "advertiser",
        }
    }
}

impl Policies {
    /// Whether a route may come from, or go to, a neighbour.
    pub fn admits(&self, neighbour: &str, route: Subject) -> Result<(), Reason> {
        let nearer = self.neighbours.get(neighbour).or(self.default.as_ref());
        self.global.iter().chain(nearer).try_for_each(|policy| policy.admits(route))
    }
}

/// The metrics of a route after one more link (7.5). What does not fit a number stays at its end.
pub fn extended(m: &Metrics, link: &Link) -> Metrics {
    let bandwidth_mbps = match link.bandwidth_mbps.filter(|b| *b > 0) {
        Some(link) if m.bandwidth_mbps <= 0 => link,
        Some(link) => link.min(m.bandwidth_mbps),
        None => m.bandwidth_mbps,
    };
    Metrics {
        hop_count: m.hop_count.saturating_add(1),
        latency_ms: (m.latency_ms + link.latency_ms).clamp(f64::MIN, f64::MAX),
        bandwidth_mbps,
        reliability_score: m.reliability_score.min(link.reliability_score).clamp(0.0, 1.0),
        cost_score: (m.cost_score + link.cost_score).clamp(f64::MIN, f64::MAX),
    }
}

impl Default for Weights {
    fn default() -> Weights {
        Weights { latency: 1.0, hops: 10.0, cost: 1.0, reliability: 50.0, bandwidth: 0.05 }
    }
}

impl Default for Link {
    fn default() -> Link {
        Link { latency_ms: 0.0, bandwidth_mbps: None, reliability_score: 1.0, cost_score: 0.0 }
    }
}

const USUAL: [Tiebreaker; 4] =
    [Tiebreaker::HopCount, Tiebreaker::LatencyMs, Tiebreaker::ReliabilityScore, Tiebreaker::Advertiser];

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn scores_hops_and_filters_are_those_of_the_vectors() {
        const VECTORS: &str = include_str!("../../../tests/interop/fabric/vectors_route_policy.json");
        let vectors: Value = serde_json::from_str(VECTORS).unwrap();
        let metrics = |v: &Value| serde_json::from_value::<Metrics>(v.clone()).unwrap();
        for case in vectors["scores"].as_array().unwrap() {
            let score = Policy::default().score(&metrics(&case["metrics"]));
            assert!((score - case["score"].as_f64().unwrap()).abs() < 1e-9, "{case}");
        }
        for case in vectors["with_added_hop"].as_array().unwrap() {
            let link = &case["link"];
            let link = Link {
                latency_ms: link["latency_ms"].as_f64().unwrap_or(0.0),
                bandwidth_mbps: link["bandwidth_mbps"].as_i64(),
                reliability_score: link["reliability_score"].as_f64().unwrap_or(1.0),
                cost_score: link["cost_score"].as_f64().unwrap_or(0.0),
            };
            assert_eq!(extended(&metrics(&case["metrics"]), &link), metrics(&case["result"]), "{case}");
        }
        let texts = |v: &Value| -> Vec<Text> {
            v.as_array().unwrap().iter().map(|t| t.as_str().unwrap().into()).collect()
        };
        let list =
            |name: &str| -> BTreeSet<Text> { texts(&vectors["accept_policy"][name]).into_iter().collect() };
        let policy = Policy {
            allow_advertisers: Some(list("allowed_advertisers")),
            allow_destinations: Some(list("allowed_destinations")),
            allow_tags: Some(list("allowed_tags")),
            deny_tags: list("deny_tags"),
            ..Policy::default()
        };
        for case in vectors["accept_cases"].as_array().unwrap() {
            let tags = texts(&case["route_tags"]);
            let text = |name: &str| case[name].as_str().unwrap();
            let (advertiser, destination) = (text("advertiser"), text("destination"));
            let subject = Subject { advertiser, destination, tags: &tags, hops: 1 };
            assert_eq!(policy.admits(subject).is_ok(), case["accepted"] == true, "{case}");
        }
    }
}
