//! What this node says of its own links, and when (fabric.md 9.3).
//!
//! Numbers follow the clock and are never used twice, in no area: a node that starts again is believed at once, and the
//! ids of its messages do not collide (20.2 C5). An area that was spoken in is spoken in for good, if only to say that no
//! link is left.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Settings, edge_cost};
use crate::core::catalog::Text;
use crate::core::route::Link;
use crate::core::time::Now;
use crate::wire::fabric::link_state::{LinkStateUpdate, Neighbour};

#[derive(Debug)]
pub(super) struct Announcer {
    /// What was said last in each area: the neighbours, and whether the link to each can be used.
    told: BTreeMap<Option<Text>, BTreeMap<Text, bool>>,
    /// The same in the words in which it was said.
    said: BTreeMap<Option<Text>, LinkStateUpdate>,
    sequence: i64,
    due: Duration,
}

impl Announcer {
    pub fn new(settings: &Settings) -> Announcer {
        let mut told = BTreeMap::new();
        // Without links a node of a single area says so; in several, each waits for its first link.
        if settings.areas.local.is_empty() {
            told.insert(settings.default_area().cloned(), BTreeMap::new());
        }
        Announcer { told, said: BTreeMap::new(), sequence: 0, due: Duration::ZERO }
    }

    /// Goes on with numbers after those of `floor`, the last date of a former life.
    pub fn resume(&mut self, floor: f64) {
        self.sequence = self.sequence.max((floor * 1000.0) as i64);
    }

    pub fn due(&self) -> Duration {
        self.due
    }

    /// The last update of each area.
    pub fn said(&self) -> impl Iterator<Item = &LinkStateUpdate> {
        self.said.values()
    }

    /// The updates of all areas when they are due, of those that changed otherwise.
    pub fn updates(
        &mut self,
        settings: &Settings,
        links: &BTreeMap<Text, Link>,
        now: Now,
    ) -> Vec<LinkStateUpdate> {
        let all = now.mono >= self.due;
        if all {
            self.due = now.mono + settings.announce_interval;
        }
        let mut shares = settings.shares(links);
        let areas: BTreeSet<Option<Text>> = self.told.keys().chain(shares.keys()).cloned().collect();
        let mut updates = Vec::new();
        for area in areas {
            let links = shares.remove(&area).unwrap_or_default();
            let usable = links.iter().map(|(name, link)| (name.clone(), edge_cost(link).is_some())).collect();
            if all || self.told.get(&area) != Some(&usable) {
                let update = LinkStateUpdate {
                    origin: settings.cluster_id.clone(),
                    neighbors: links.iter().map(neighbour).collect(),
                    advertised_at: now.wall,
                    ttl_seconds: settings.ttl_seconds,
                    sequence: self.number(now),
                    area: area.clone(),
                };
                self.said.insert(area.clone(), update.clone());
                updates.push(update);
                self.told.insert(area, usable);
            }
        }
        updates
    }

    fn number(&mut self, now: Now) -> i64 {
        self.sequence = self.sequence.saturating_add(1).max((now.wall * 1000.0) as i64);
        self.sequence
    }
}

pub(super) fn neighbour((name, link): (&Text, &Link)) -> Neighbour {
    Neighbour {
        cluster_id: name.clone(),
        latency_ms: link.latency_ms,
        bandwidth_mbps: link.bandwidth_mbps,
        reliability_score: link.reliability_score,
        cost_score: link.cost_score,
    }
}
