//! Link state between clusters: which clusters have links with which, and the cheapest ways over them (fabric.md 9).
//!
//! Promises: a link counts only in the direction of the cluster that tells of it, and only if the other end tells of it
//! too; what one node said ends with that node's own lease and with nothing else (20.2 C2, C26); the nodes of a cluster
//! speak beside each other, each with numbers of its own (C6); equal ways share evenly. What clusters say of themselves
//! cannot be proven here (20.1 S8): nobody speaks for this cluster, and one cluster alone cannot invent a link to another.
//! All that is kept is bounded. It never decides whether a way is taken: that is done by who asks for it.
//!
//! Two kinds of links count on the word of one end. An own link to a cluster that tells nothing makes that cluster a leaf.
//! So does, for a node that believes certain areas only, a link told inside an area to a cluster that names nobody there:
//! that is how summaries of other areas look, whose ends cannot be heard.

mod announce;
mod areas;
mod cost;
mod database;
mod explain;
mod graph;

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

pub use areas::{Area, Areas, Summary};
pub use cost::edge_cost;
pub use database::{Applied, Stored};
pub use explain::{Candidate, Explanation, RefusedLink};
pub use graph::NextHop;

use super::catalog::Text;
use super::reason::Reason;
use super::route::Link;
use super::time::Now;
use crate::wire::fabric::link_state::LinkStateUpdate;
use announce::Announcer;
use database::{Database, fits, timely};
use graph::{Claims, Graph};

/// `[link_state]`, as far as the core needs it.
#[derive(Debug, Clone)]
pub struct Settings {
    pub cluster_id: Text,
    pub mode: Mode,
    /// link_state.ttl: lifetime of own updates.
    pub ttl_seconds: f64,
    pub announce_interval: Duration,
    /// Most ways of equal cost that are used in turn; 0 counts as 1.
    pub ecmp_paths: usize,
    /// link_state.area; `None`: none.
    pub area: Option<Text>,
    pub areas: Areas,
    pub limits: Limits,
}

/// Whether link state is used (fabric.md 9.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Nothing is told or kept; what others say is passed on.
    #[default]
    Disabled,
    /// Before routes.
    Prefer,
    /// Instead of routes.
    Only,
}

/// How much is kept of what others say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub neighbours_per_update: usize,
    pub origins: usize,
    /// Nodes that speak for one origin, in each area of theirs.
    pub speakers_per_origin: usize,
    /// Neighbours of all stored updates together.
    pub neighbours: usize,
}

/// What became of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    pub result: Result<Applied, Reason>,
    /// Others may want to hear it. False for what is stale, over, out of shape, or said in this cluster's name; an update
    /// that another node of this cluster made is known as such, and passed on, only by who knows the nodes.
    pub pass_on: bool,
}

/// The counters of `/routing/link-state` (monitoring.md 3.12). An update outside the areas counts as filtered alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Stats {
    pub updates_received: u64,
    pub updates_applied: u64,
    pub updates_rejected: u64,
    pub updates_filtered: u64,
    pub entries_expired: u64,
}

/// `link_state` of `/routing/link-state` (monitoring.md 3.12).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    pub mode: Mode,
    pub area: Option<Text>,
    /// Parent by area.
    pub area_hierarchy: BTreeMap<Text, Text>,
    pub summary_filters: Vec<Summary>,
    /// The areas that are believed; null: all.
    pub allowed_areas: Option<BTreeSet<Text>>,
    /// Stored updates: one for each origin, area and node that speaks.
    pub entries: usize,
    pub entry_areas: BTreeSet<Text>,
    pub area_mismatch_rejects: u64,
    pub stats: Stats,
}

/// What is known of the links between clusters.
#[derive(Debug)]
pub struct LinkState {
    settings: Settings,
    /// The areas that are believed; `None`: all, and updates that name none.
    accepted: Option<BTreeSet<Text>>,
    database: Database,
    /// Own links, without the own cluster.
    links: BTreeMap<Text, Link>,
    announcer: Announcer,
    stats: Stats,
    /// Updates by the area that kept them out; the empty text is none.
    refused_areas: BTreeMap<Text, u64>,
    /// Of the database and links as they are now; `None`: they have changed.
    graph: OnceCell<Graph>,
    ways: BTreeMap<Question, Ways>,
    /// Choices among several ways, ever.
    turns: usize,
}

/// A target, the clusters to avoid, and the hops that are left.
type Question = (Text, BTreeSet<Text>, u32);

#[derive(Debug, Clone)]
struct Ways {
    hops: Arc<[NextHop]>,
    turn: usize,
}

impl LinkState {
    pub fn new(settings: Settings) -> LinkState {
        LinkState {
            accepted: settings.accepted_areas(),
            announcer: Announcer::new(&settings),
            settings,
            database: Database::default(),
            links: BTreeMap::new(),
            stats: Stats::default(),
            refused_areas: BTreeMap::new(),
            graph: OnceCell::new(),
            ways: BTreeMap::new(),
            turns: 0,
        }
    }

    pub fn mode(&self) -> Mode {
        self.settings.mode
    }

    /// Takes what the node `speaker` said, on whichever way it came (9.4).
    pub fn heard(&mut self, update: LinkStateUpdate, speaker: &Text, now: Now) -> Heard {
        if self.settings.mode == Mode::Disabled {
            return Heard { result: Ok(Applied::Ignored), pass_on: true };
        }
        self.expire(now);
        let in_time = timely(&update, now);
        let shape = fits(&update, speaker, &self.settings.limits);
        if shape.is_ok() && !self.accepts(&update.area) {
            self.stats.updates_filtered += 1;
            self.refused_area(update.area);
            return Heard { result: Err(Reason::LinkStateArea), pass_on: in_time.is_ok() };
        }
        self.stats.updates_received += 1;
        let own = update.origin == self.settings.cluster_id;
        let result = shape
            .and(if own { Err(Reason::LinkStateOwnOrigin) } else { Ok(()) })
            .and(in_time)
            .and_then(|()| self.database.take(update, speaker, now, &self.settings.limits));
        match result {
            Ok(applied) => {
                self.stats.updates_applied += 1;
                if applied == Applied::Changed {
                    self.changed();
                }
            }
            Err(_) => self.stats.updates_rejected += 1,
        }
        // For what found no room here there may be room elsewhere.
        Heard { result, pass_on: matches!(result, Ok(_) | Err(Reason::LinkStateLimit)) }
    }

    /// The own links as they are now, one for each connected cluster, and the updates to send for them at once: of all
    /// areas when it is time, of those that name other clusters than before in between. Metrics alone wait for the next
    /// time, but count here from now on. To be called when a link comes or goes, and at [`Self::next_announcement`].
    pub fn own_updates(&mut self, neighbours: &BTreeMap<Text, Link>, now: Now) -> Vec<LinkStateUpdate> {
        if self.settings.mode == Mode::Disabled {
            return Vec::new();
        }
        self.expire(now);
        let own = &self.settings.cluster_id;
        let links = neighbours.iter().filter(|(name, _)| *name != own);
        let links: BTreeMap<Text, Link> =
            links.map(|(name, link)| (name.clone(), cost::bounded(*link))).collect();
        if links != self.links {
            self.links = links;
            self.changed();
        }
        self.announcer.updates(&self.settings, &self.links, now)
    }

    /// Goes on with numbers after those of `floor`, the last date of a former life of this node.
    pub fn resume(&mut self, floor: f64) {
        self.announcer.resume(floor);
    }

    /// When own updates are due without any change; `None`: never.
    pub fn next_announcement(&self) -> Option<Duration> {
        (self.settings.mode != Mode::Disabled).then(|| self.announcer.due())
    }

    /// When `expire` or `own_updates` may have something to do; nothing is to be done earlier.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.next_announcement().into_iter().chain(self.database.next_end()).min()
    }

    /// What others have told and is still right, for who has not heard it.
    pub fn stored(&self) -> impl Iterator<Item = Stored> {
        self.database.stored()
    }

    /// The own updates that are told now, for who has not heard them.
    pub fn said(&self) -> impl Iterator<Item = &LinkStateUpdate> {
        self.announcer.said()
    }

    /// Forgets what was not renewed in time, and nothing else; the number of stored updates that went.
    pub fn expire(&mut self, now: Now) -> usize {
        let gone = self.database.expire(now);
        if gone > 0 {
            self.stats.entries_expired += gone as u64;
            self.changed();
        }
        gone
    }

    /// The next hops of all ways to `target` that cost the same as the cheapest, by name, at most `ecmp_paths` of them.
    /// A way has at most `hops_max` links and enters no cluster of `visited` (the own cluster, if named, means nothing).
    /// Costs are equal if they differ by no more than a billionth.
    pub fn paths(&mut self, target: &Text, visited: &[Text], hops_max: u32) -> Arc<[NextHop]> {
        self.ways(target, visited, hops_max).hops.clone()
    }

    /// One of [`Self::paths`]: each in turn.
    pub fn next(&mut self, target: &Text, visited: &[Text], hops_max: u32) -> Option<NextHop> {
        let ways = self.ways(target, visited, hops_max);
        let hops = ways.hops.clone();
        let turn = ways.turn;
        ways.turn = turn.wrapping_add(1);
        if hops.len() > 1 {
            self.turns = self.turns.wrapping_add(1);
        }
        hops.get(turn.checked_rem(hops.len())?).cloned()
    }

    /// The one that [`Self::next`] would give, which stays whose turn it is.
    pub fn peek(&mut self, target: &Text, visited: &[Text], hops_max: u32) -> Option<NextHop> {
        let ways = self.ways(target, visited, hops_max);
        ways.hops.get(ways.turn.checked_rem(ways.hops.len())?).cloned()
    }

    /// Every neighbour from which a way leads on to `target`, whatever it costs, the cheapest first.
    pub fn ways_out(&self, target: &Text, visited: &[Text], hops_max: u32) -> Vec<NextHop> {
        let mut hops = self.graph().candidates(target, &visited.iter().cloned().collect(), hops_max);
        hops.sort_by(|a, b| a.cost.total_cmp(&b.cost));
        hops
    }

    /// Whether any way leads to `cluster`, however long.
    pub fn reaches(&self, cluster: &str) -> bool {
        self.graph().reaches(cluster)
    }

    /// Whether somebody tells of a link to `cluster`.
    pub fn names(&self, cluster: &str) -> bool {
        self.database.names(cluster)
    }

    /// The clusters that a usable link leads to from `cluster`, by name.
    pub fn neighbours_of(&self, cluster: &str) -> Vec<Text> {
        self.graph().neighbours_of(cluster)
    }

    /// Why calls to `target` go where they go.
    pub fn explain(&mut self, target: &Text, visited: &[Text], hops_max: u32) -> Explanation {
        explain::explain(self, target, visited, hops_max)
    }

    pub fn status(&self) -> Status {
        let areas = &self.settings.areas;
        let parents = areas.by_name.iter().filter_map(|(name, a)| Some((name.clone(), a.parent.clone()?)));
        Status {
            mode: self.settings.mode,
            area: self.settings.area.clone(),
            area_hierarchy: parents.collect(),
            summary_filters: areas.summaries.clone(),
            allowed_areas: self.accepted.clone(),
            entries: self.database.records(),
            entry_areas: self.database.areas(),
            area_mismatch_rejects: self.stats.updates_filtered,
            stats: self.stats,
        }
    }

    fn accepts(&self, area: &Option<Text>) -> bool {
        let Some(accepted) = &self.accepted else { return true };
        area.as_ref().is_some_and(|area| accepted.contains(area))
    }

    fn refused_area(&mut self, area: Option<Text>) {
        let area = area.unwrap_or_default();
        if self.refused_areas.len() < REFUSED_AREAS_MAX || self.refused_areas.contains_key(&area) {
            *self.refused_areas.entry(area).or_default() += 1;
        }
    }

    fn changed(&mut self) {
        self.graph = OnceCell::new();
        self.ways.clear();
    }

    fn claims(&self) -> Claims<'_> {
        Claims::new(&self.settings.cluster_id, &self.links, &self.database, self.accepted.is_some())
    }

    /// Made when it is first asked for after a change.
    fn graph(&self) -> &Graph {
        self.graph.get_or_init(|| Graph::of(&self.claims()))
    }

    fn ways(&mut self, target: &Text, visited: &[Text], hops_max: u32) -> &mut Ways {
        let question = (target.clone(), visited.iter().cloned().collect(), hops_max);
        if !self.ways.contains_key(&question) {
            if self.ways.len() >= WAYS_MAX {
                self.ways.clear();
            }
            let ecmp_paths = self.settings.ecmp_paths.max(1);
            let mut hops = self.graph().candidates(target, &question.1, hops_max);
            graph::keep_equal(&mut hops);
            hops.truncate(ecmp_paths);
            let ways = Ways { hops: hops.into(), turn: self.turns };
            self.ways.insert(question.clone(), ways);
        }
        let turn = self.turns;
        self.ways.entry(question).or_insert_with(|| Ways { hops: Arc::new([]), turn })
    }
}

impl Default for Settings {
    /// The defaults of the configuration, for a cluster without a name.
    fn default() -> Settings {
        Settings {
            cluster_id: Text::default(),
            mode: Mode::Disabled,
            ttl_seconds: 30.0,
            announce_interval: Duration::from_secs(10),
            ecmp_paths: 1,
            area: None,
            areas: Areas::default(),
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    /// Some 20 MB when all is full.
    fn default() -> Limits {
        Limits { neighbours_per_update: 1024, origins: 4096, speakers_per_origin: 64, neighbours: 200_000 }
    }
}

/// Answers that are kept until something changes, some 500 bytes each.
const WAYS_MAX: usize = 1024;
/// Areas whose refused updates are counted one by one.
const REFUSED_AREAS_MAX: usize = 64;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
