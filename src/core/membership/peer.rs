//! One peer: its links, what it last said of itself, and what follows for its load and for who is shown it (client.md
//! 4.2, 4.3).

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{LinkId, Now, Settings, UNKNOWN_LOAD};
use crate::core::catalog::Text;
use crate::wire::fabric::Status;

/// A node that has, or had, a link with this one.
#[derive(Debug)]
pub struct Peer {
    pub cluster_id: Text,
    /// Empty until it said so.
    pub instance_id: Text,
    pub report: Option<Report>,
    pub(super) latency: Latency,
    /// It understands the extension of this program.
    pub extends: bool,
    pub(super) links: Vec<LinkId>,
    /// When the last link was lost, if none is left.
    pub(super) lost_at: Option<Duration>,
}

/// The last STATUS of a peer, as far as it is of use.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    pub status: Text,
    /// By the clock of the peer.
    pub timestamp: f64,
    pub active_clients: i64,
    pub peer_count: i64,
    pub advertised_urls: Vec<Text>,
    pub counters: Counters,
    /// By our own clock.
    pub received_at: Duration,
}

/// The four counters in the metrics of a STATUS that clients are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    pub messages_processed: i64,
    pub rpc_responses_skipped: i64,
    pub server_messages: i64,
    pub other_messages: i64,
}

/// A peer as questions about it need it.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerState {
    pub node_id: Text,
    pub cluster_id: Text,
    pub connected: bool,
    /// `ok` or what the peer says instead, `disconnected`, or `unknown` where it never said anything.
    pub status: Text,
    pub report: Option<Report>,
    pub load_score: f64,
}

impl Peer {
    pub(super) fn new(cluster_id: Text) -> Peer {
        Peer {
            cluster_id,
            instance_id: "".into(),
            report: None,
            latency: Latency::default(),
            extends: false,
            links: Vec::new(),
            lost_at: None,
        }
    }

    pub fn links(&self) -> impl Iterator<Item = LinkId> {
        self.links.iter().copied()
    }

    /// Milliseconds to the peer, one way, in hundredths; 0 until it was measured.
    pub fn latency_ms(&self) -> f64 {
        self.latency.in_use_ms
    }

    pub(super) fn load_score(&self, own: &Settings, now: Now) -> f64 {
        let Some(report) = &self.report else { return UNKNOWN_LOAD };
        let age = now.mono.saturating_sub(report.received_at).as_secs_f64();
        let down = self.links.is_empty() || &*report.status != "ok";
        let seldom = if self.extends { f64::from(KIN_REPORT_INTERVALS) } else { 0.0 };
        let stale = age > ((3.0 + seldom) * own.gossip_interval_seconds).max(1.0);
        report.active_clients as f64
            + if down { DOWN_LOAD } else { 0.0 }
            + if stale { STALE_LOAD } else { 0.0 }
    }

    pub(super) fn hidden(&self, own: &Settings, expected: usize, now: Now) -> bool {
        let shown = (own.gossip_interval_seconds * (expected as f64).sqrt().max(4.0)).max(1.0);
        self.lost_at.is_some_and(|at| now.mono.saturating_sub(at).as_secs_f64() > shown)
    }

    pub(super) fn state(&self, node_id: &Text, own: &Settings, now: Now) -> PeerState {
        let connected = !self.links.is_empty();
        let status = match &self.report {
            _ if !connected => "disconnected".into(),
            Some(report) => report.status.clone(),
            None => "unknown".into(),
        };
        PeerState {
            node_id: node_id.clone(),
            cluster_id: self.cluster_id.clone(),
            connected,
            status,
            report: self.report.clone(),
            load_score: self.load_score(own, now),
        }
    }
}

/// How long a message takes to a peer: half of the shortest of the last round trips, because waiting in queues is load
/// and not distance. Hundredths of a millisecond, so that links within a building differ too, and once known changed
/// only where the difference is worth a new choice of routes: everybody behind is told of it.
#[derive(Debug, Default)]
pub(super) struct Latency {
    recent: VecDeque<Duration>,
    pub(super) is_known: bool,
    in_use_ms: f64,
}

impl Latency {
    pub(super) fn add(&mut self, round_trip: Duration) {
        self.recent.push_back(round_trip);
        if self.recent.len() > ROUND_TRIPS {
            self.recent.pop_front();
        }
        let shortest = self.recent.iter().min().filter(|_| self.recent.len() >= ROUND_TRIPS_MIN);
        let Some(shortest) = shortest else { return };
        let measured_ms = (shortest.as_secs_f64() * 1000.0 / 2.0 * LATENCY_PARTS).round() / LATENCY_PARTS;
        let difference = (measured_ms - self.in_use_ms).abs();
        let is_worth_it = difference >= LATENCY_STEP_MS && difference > self.in_use_ms * LATENCY_STEP_SHARE;
        if !self.is_known || is_worth_it {
            (self.is_known, self.in_use_ms) = (true, measured_ms);
        }
    }
}

impl Report {
    pub(super) fn of(status: &Status, now: Now) -> Report {
        Report {
            status: status.status.to_text(),
            timestamp: if status.timestamp > 0.0 { status.timestamp } else { now.wall },
            active_clients: status.active_clients,
            peer_count: status.peer_count,
            advertised_urls: status.advertised_urls.iter().map(|u| u.to_text()).collect(),
            counters: serde_json::from_str(status.metrics.get()).unwrap_or_default(),
            received_at: now.mono,
        }
    }
}

/// Nodes of this program say STATUS to each other when their load changes, and else after so many gossip intervals:
/// probes show that they live.
pub const KIN_REPORT_INTERVALS: u32 = 12;
/// Added to the load of a peer that is not `ok` or has no link.
const DOWN_LOAD: f64 = 1000.0;
/// Added where its last STATUS is older than three gossip intervals.
const STALE_LOAD: f64 = 500.0;
/// Round trips that latency is taken from, and how many it takes at least.
const ROUND_TRIPS: usize = 16;
const ROUND_TRIPS_MIN: usize = 3;
/// Of a millisecond: no clock that crosses a network is worth more digits.
const LATENCY_PARTS: f64 = 100.0;
/// Latency is changed by at least this much, absolutely and as a share of itself.
const LATENCY_STEP_MS: f64 = 0.1;
const LATENCY_STEP_SHARE: f64 = 0.2;

#[cfg(test)]
mod tests {
    use super::*;

    fn after(round_trips_us: impl IntoIterator<Item = u64>) -> f64 {
        let mut latency = Latency::default();
        round_trips_us.into_iter().for_each(|us| latency.add(Duration::from_micros(us)));
        latency.in_use_ms
    }

    #[test]
    fn links_within_a_building_differ_and_noise_changes_nothing() {
        assert_eq!(after([400, 900]), 0.0, "two are too few");
        assert_eq!(after([400, 900, 612]), 0.2);
        assert_eq!(after([90, 90, 90]), 0.05, "the first is taken, however small");
        let noisy = (0..200).map(|n| 400 + (n * 37) % 150);
        assert_eq!(after(noisy.clone()), 0.2);
        // Waiting in queues is not distance, until all of the last are late.
        assert_eq!(after(noisy.clone().chain([9000; 15])), 0.2);
        assert_eq!(after(noisy.chain([9000; 16])), 4.5);
        assert_eq!(after([40_000; 3].into_iter().chain([43_000; 50])), 20.0, "not worth a new choice");
    }
}
