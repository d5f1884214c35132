//! The routes that are held: the best few of each destination, in order of preference.
//!
//! The order is total and looks at nothing that differs between the nodes of a cluster, but that a node prefers what it
//! heard itself to the equal of another node. So no two of them ever send a message to each other. Of one destination a
//! route of each neighbour is kept before a second one of any: what is lost together does not help.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::policy::{Decider, Policy, Subject};
use super::{Outward, Via};
use crate::core::catalog::Text;
use crate::core::trust::Standing;
use crate::wire::fabric::route::Metrics;

/// A way to another cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    pub destination: Text,
    pub via: Via,
    /// The neighbour cluster that it leads through, here or at the node that heard it.
    pub advertiser: Text,
    /// This cluster first.
    pub path: Arc<[Text]>,
    /// From here, the hop to the neighbour included.
    pub metrics: Metrics,
    /// The lowest is the best.
    pub score: f64,
    pub tags: Arc<[Text]>,
    pub epoch: i64,
    /// Wall clocks: of its advertiser, and of this node.
    pub advertised_at: f64,
    pub received_at: f64,
    pub expires_at: f64,
    pub ttl_seconds: f64,
    pub standing: Standing,
    pub(super) ends: Duration,
}

/// The routes to all destinations. A clone shares them and stays as it is: the snapshot that readers get.
#[derive(Debug, Clone, Default)]
pub struct Table {
    destinations: BTreeMap<Text, Vec<Arc<Route>>>,
    /// Each destination once, by the first end among its routes.
    ends: BTreeSet<(Duration, Text)>,
    held: BTreeMap<Via, usize>,
    preference: Policy,
    per_destination_max: usize,
}

impl Table {
    pub(super) fn new(preference: Policy, per_destination_max: usize) -> Table {
        Table { preference, per_destination_max: per_destination_max.max(1), ..Table::default() }
    }

    /// The best route there is.
    pub fn best(&self, destination: &str) -> Option<&Route> {
        self.candidates(destination, &[]).next()
    }

    /// The routes to a destination through none of the clusters to avoid, the best first. This cluster, with which all
    /// of them start, cannot be avoided.
    pub fn candidates<'a>(
        &'a self,
        destination: &str,
        avoid: &'a [Text],
    ) -> impl Iterator<Item = &'a Route> + use<'a> {
        let free = |route: &&Route| !route.path.iter().skip(1).any(|cluster| avoid.contains(cluster));
        self.routes(destination).iter().map(Arc::as_ref).filter(free)
    }

    /// Only those over links of this node: by these a message leaves that another node of this cluster sent here.
    pub fn candidates_here<'a>(
        &'a self,
        destination: &str,
        avoid: &'a [Text],
    ) -> impl Iterator<Item = &'a Route> + use<'a> {
        self.candidates(destination, avoid).filter(|route| matches!(route.via, Via::Neighbour { .. }))
    }

    /// Each destination with its routes, the best first.
    pub fn destinations(&self) -> impl Iterator<Item = (&Text, impl Iterator<Item = &Route>)> {
        self.destinations.iter().map(|(name, routes)| (name, routes.iter().map(Arc::as_ref)))
    }

    /// Whether a neighbour leads to a destination, by a route that was accepted from it.
    pub fn is_routed_by(&self, neighbour: &str, destination: &str) -> bool {
        let from = |via: &Via| matches!(via, Via::Neighbour { cluster } if **cluster == *neighbour);
        self.routes(destination).iter().any(|route| from(&route.via))
    }

    /// How many routes came from where.
    pub fn held(&self) -> impl Iterator<Item = (&Via, usize)> {
        self.held.iter().map(|(via, count)| (via, *count))
    }

    pub fn held_from(&self, via: &Via) -> usize {
        self.held.get(via).copied().unwrap_or(0)
    }

    /// What decides between routes of equal score: name and value, in order.
    pub fn tiebreakers<'a>(&self, route: &'a Route) -> Vec<(&'static str, Decider<'a>)> {
        self.preference.deciders(&route.metrics, &route.advertiser)
    }

    pub fn is_empty(&self) -> bool {
        self.destinations.is_empty()
    }

    pub(super) fn routes(&self, destination: &str) -> &[Arc<Route>] {
        self.destinations.get(destination).map_or(&[], Vec::as_slice)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &Text> {
        self.destinations.keys()
    }

    pub(super) fn next_end(&self) -> Option<Duration> {
        self.ends.first().map(|(end, _)| *end)
    }

    /// A destination that has routes which are over.
    pub(super) fn next_over(&self, now: Duration) -> Option<Text> {
        self.ends.first().filter(|(end, _)| *end <= now).map(|(_, destination)| destination.clone())
    }

    /// Puts a route in the place of the one of the same way, or beside the others.
    pub(super) fn put(&mut self, route: Route) -> Edited {
        let destination = route.destination.clone();
        let route = Arc::new(Route { score: self.preference.score(&route.metrics), ..route });
        self.edit(&destination, |routes| {
            routes.retain(|r| !(r.via == route.via && r.path == route.path));
            routes.push(route);
        })
    }

    /// Keeps the routes of a destination that `keep` wants.
    pub(super) fn retain(&mut self, destination: &Text, keep: impl Fn(&Route) -> bool) -> Edited {
        self.edit(destination, |routes| routes.retain(|route| keep(route)))
    }

    /// Another preference, and which routes may stay under it; the routes that went.
    pub(super) fn prefer(&mut self, preference: Policy, keep: impl Fn(&Route) -> bool) -> Vec<Arc<Route>> {
        let scored = |route: &Arc<Route>| {
            let score = preference.score(&route.metrics);
            Arc::new(Route { score, ..Route::clone(route) })
        };
        let all: Vec<Text> = self.destinations.keys().cloned().collect();
        self.preference = preference.clone();
        let mut gone = Vec::new();
        for destination in all {
            let edited = self.edit(&destination, |routes| {
                routes.retain(|route| keep(route));
                routes.iter_mut().for_each(|route| *route = scored(route));
            });
            gone.extend(edited.gone);
        }
        gone
    }

    /// Changes the routes of a destination and brings them, the counts and the ends in order.
    fn edit(&mut self, destination: &Text, change: impl FnOnce(&mut Vec<Arc<Route>>)) -> Edited {
        let before = self.destinations.remove(destination).unwrap_or_default();
        let mut after = before.clone();
        change(&mut after);
        after.sort_by(|a, b| self.order(a, b));
        self.thin(&mut after);
        self.count(destination, &before, &after);
        let told = |route: Option<&Arc<Route>>| route.map(|best| (Outward::of(best), best.via.clone()));
        let best_changed = told(before.first()) != told(after.first())
            || told(best_heard(&before)) != told(best_heard(&after));
        let stays = |route: &Arc<Route>| after.iter().any(|r| r.via == route.via && r.path == route.path);
        let gone = before.into_iter().filter(|route| !stays(route)).collect();
        if !after.is_empty() {
            self.destinations.insert(destination.clone(), after);
        }
        Edited { gone, best_changed }
    }

    fn count(&mut self, destination: &Text, before: &[Arc<Route>], after: &[Arc<Route>]) {
        let first_end = |routes: &[Arc<Route>]| routes.iter().map(|route| route.ends).min();
        if let Some(end) = first_end(before) {
            self.ends.remove(&(end, destination.clone()));
        }
        if let Some(end) = first_end(after) {
            self.ends.insert((end, destination.clone()));
        }
        for route in after {
            *self.held.entry(route.via.clone()).or_default() += 1;
        }
        for route in before {
            let held = self.held.entry(route.via.clone()).or_default();
            *held = held.saturating_sub(1);
            if *held == 0 {
                self.held.remove(&route.via);
            }
        }
    }

    /// Leaves as many as are kept: of each source the best, then the best of the rest.
    fn thin(&self, routes: &mut Vec<Arc<Route>>) {
        if routes.len() <= self.per_destination_max {
            return;
        }
        let mut sources = BTreeSet::new();
        let (first, second): (Vec<_>, Vec<_>) =
            routes.drain(..).partition(|route| sources.insert(route.via.clone()));
        routes.extend(first.into_iter().chain(second).take(self.per_destination_max));
        routes.sort_by(|a, b| self.order(a, b));
    }

    fn order(&self, a: &Route, b: &Route) -> Ordering {
        self.preference
            .order((&a.metrics, &a.advertiser), (&b.metrics, &b.advertiser))
            .then_with(|| a.via.cmp(&b.via))
            .then_with(|| a.path.cmp(&b.path))
    }
}

/// The best of the routes that were heard over links of this node.
pub(super) fn best_heard(routes: &[Arc<Route>]) -> Option<&Arc<Route>> {
    routes.iter().find(|route| matches!(route.via, Via::Neighbour { .. }))
}

/// What a change of the routes to one destination did.
#[derive(Debug)]
pub(super) struct Edited {
    pub gone: Vec<Arc<Route>>,
    /// What is told of the destination is another thing now.
    pub best_changed: bool,
}

impl Route {
    pub(super) fn subject(&self) -> Subject<'_> {
        // The count is what the neighbour says; the path is at least as long as it is.
        let clusters = i64::try_from(self.path.len()).unwrap_or(i64::MAX);
        Subject {
            advertiser: &self.advertiser,
            destination: &self.destination,
            tags: &self.tags,
            hops: self.metrics.hop_count.max(clusters.saturating_sub(1)),
        }
    }
}
