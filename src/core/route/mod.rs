//! Routes between clusters, told from neighbour to neighbour with the path they take (fabric.md 7).
//!
//! What is announced is taken only from the cluster that says it, only if it is whole, timely, free of loops and let in by
//! policy, and never twice or after its withdrawal. Whether its signature may be believed was judged before
//! (`core::trust`). A route lives until its lease ends, it is withdrawn, or the last link to its neighbour is gone. What is
//! told on follows from what is held, and from nothing else (`tell`). Everything is bounded: sizes, lifetimes, routes of a
//! destination and of a neighbour, and what is remembered.
//!
//! A cluster may have several border nodes. Each tells the others the best of what it heard itself, as a [`Via::Border`]
//! route; what it knows from them it tells foreign neighbours alone.

mod check;
mod memory;
mod policy;
mod table;
mod tell;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub use policy::{Decider, Link, Policies, Policy, Subject, Tiebreaker, Weights, extended};
pub use table::{Route, Table};
pub use tell::{Hearer, Told};

use super::catalog::Text;
use super::reason::Reason;
use super::time::Now;
use super::trust::Standing;
use crate::wire::fabric::route::{RouteAnnouncement, RouteWithdrawal};
use memory::{Damping, Withdrawals};
use table::Edited;
use tell::{Outward, Tell, Voice};

/// `[route]`, with what of it does not change at run time.
#[derive(Debug, Clone)]
pub struct Settings {
    pub cluster_id: Text,
    /// route.ttl
    pub ttl_seconds: f64,
    pub announce_interval_seconds: f64,
    pub tags: Vec<Text>,
    /// route.max_routes_per_destination
    pub routes_per_destination_max: usize,
    pub stability: Stability,
}

/// `[route.stability]`
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stability {
    pub hold_down_seconds: f64,
    /// 0: no suppression.
    pub flap_threshold: u32,
    pub suppression_window_seconds: f64,
}

/// What may change at run time: `[[route.policy]]` and the limits.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The global one also says which of two routes is better.
    pub import: Policies,
    pub export: Policies,
    /// limits.routes_per_neighbor
    pub routes_per_neighbour_max: usize,
    /// limits.routes_action
    pub over_limit: OverLimit,
}

/// What happens when a neighbour announces more routes than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OverLimit {
    /// `Reason::RoutesLimit` for each route beyond.
    #[default]
    Refuse,
    /// They are taken, and it is said once.
    Warn,
    /// `Reason::RoutesLimitCut`, at which the caller cuts the link.
    DropLink,
}

/// Where a route is from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Via {
    /// A neighbour cluster said it over a link of this node.
    Neighbour { cluster: Text },
    /// Another node of this cluster heard it over a link of its own.
    Border { node: Text },
}

/// What became of an announcement that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    pub change: Change,
    /// Under `OverLimit::Warn`: the first beyond the limit.
    pub over_limit: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    New,
    /// It was known, with other metrics or tags.
    Changed,
    /// It lives longer, and nothing else.
    Prolonged,
    /// Not kept: enough better ones are known.
    Worse,
}

/// All routes of a node and who was told of them.
#[derive(Debug)]
pub struct Routes {
    settings: Settings,
    rules: Rules,
    table: Table,
    sources: BTreeMap<Via, Source>,
    tell: Tell,
}

/// What is known of a source beside its routes.
#[derive(Debug, Default)]
struct Source {
    withdrawals: Withdrawals,
    damping: Damping,
    warned: bool,
}

impl Routes {
    pub fn new(settings: Settings, rules: Rules) -> Routes {
        let table = Table::new(rules.preference(), settings.routes_per_destination_max);
        Routes { settings, rules, table, sources: BTreeMap::new(), tell: Tell::new() }
    }

    /// Goes on after `date`, and with epochs after those of `floor`, both of a former life of this node.
    pub fn resume(&mut self, date: f64, floor: f64) {
        self.tell.resume(date, floor);
    }

    /// The last date that was given to an announcement.
    pub fn last_date(&self) -> f64 {
        self.tell.last_date()
    }

    /// Whether policy would let in a plain route of a neighbour to a destination behind it.
    pub fn may_lead(&self, neighbour: &str, destination: &str) -> bool {
        let route = Subject { advertiser: neighbour, destination, tags: &[], hops: 2 };
        self.rules.import.admits(neighbour, route).is_ok()
    }

    /// What is held; all questions go there.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Takes an announcement or says why not. `link` is what is known of the link that it came over; between nodes of
    /// one cluster it does not count, so that all of them see a route alike.
    pub fn announced(
        &mut self,
        via: &Via,
        announcement: &RouteAnnouncement,
        standing: Standing,
        link: &Link,
        now: Now,
    ) -> Result<Taken, Reason> {
        let route = self.read(via, announcement, standing, link, now)?;
        self.rules.imports(&route)?;
        let source = self.sources.get(via);
        source.map_or(Ok(()), |s| s.damping.judge(&route.destination, now.mono))?;
        if source.is_some_and(|s| s.withdrawals.outdate(&route.destination, route.advertised_at)) {
            return Err(Reason::RouteReplayed);
        }
        let same = |r: &&Arc<Route>| r.via == *via && r.path == route.path;
        let known = self.table.routes(&route.destination).iter().find(same).cloned();
        // One that is over and not yet taken out says nothing: its sender may have started again.
        let live = known.as_ref().filter(|known| known.ends > now.mono);
        if live.is_some_and(|k| (route.epoch, route.advertised_at) <= (k.epoch, k.advertised_at)) {
            return Err(Reason::RouteReplayed);
        }
        let over_limit = known.is_none() && self.over_limit(via)?;
        let change = match live {
            None => Change::New,
            Some(known) if Outward::of(known) == Outward::of(&route) => Change::Prolonged,
            Some(_) => Change::Changed,
        };
        let destination = route.destination.clone();
        let path = route.path.clone();
        let edited = self.table.put(route);
        self.settle(&destination, edited);
        let kept = self.table.routes(&destination).iter().any(|r| r.via == *via && r.path == path);
        Ok(Taken { change: if kept { change } else { Change::Worse }, over_limit })
    }

    /// Takes a withdrawal or says why not; the number of routes that went (7.8). Of several paths it takes the one that
    /// it names; one that names none of them takes all.
    pub fn withdrawn(&mut self, via: &Via, withdrawal: &RouteWithdrawal, now: Now) -> Result<usize, Reason> {
        let (destination, at) = (&withdrawal.destination.cluster_id, withdrawal.withdrawn_at);
        let own = &self.settings.cluster_id;
        let path = check::path(own, via, &withdrawal.advertiser, destination, &withdrawal.path.hops)?;
        check::tags(&withdrawal.route_tags)?;
        check::date(at, now)?;
        let held = || self.table.routes(destination).iter().filter(|r| r.via == *via);
        let named = held().any(|r| *r.path == *path);
        let source = self.sources.entry(via.clone()).or_default();
        // Several nodes of a cluster withdraw the same: what its others say meanwhile is not meant.
        let repeated = !named && source.withdrawals.name(destination, &path);
        let meant = |r: &Route| r.via == *via && !repeated && (!named || *r.path == *path);
        let goes = |r: &Route| meant(r) && r.advertised_at <= at;
        let older = held().any(|r| meant(r)) && !held().any(|r| goes(r));
        if older {
            return Err(Reason::RouteReplayed);
        }
        source.withdrawals.remember(destination, &path, at, now.mono + REMEMBERED);
        let edited = self.table.retain(destination, |r| !goes(r));
        let count = edited.gone.len();
        self.gone(destination, edited, now);
        Ok(count)
    }

    /// The last link to a cluster is gone, by a goodbye or otherwise; the routes that went with it.
    pub fn neighbour_lost(&mut self, cluster: &Text, now: Now) -> Vec<Arc<Route>> {
        self.tell.left(&Hearer::Cluster(cluster.clone()));
        self.lose(&Via::Neighbour { cluster: cluster.clone() }, now)
    }

    /// A node of this cluster is gone; the routes that went with it.
    pub fn border_lost(&mut self, node: &Text, now: Now) -> Vec<Arc<Route>> {
        self.lose(&Via::Border { node: node.clone() }, now)
    }

    /// Takes out what was not renewed in time.
    pub fn expire(&mut self, now: Now) -> Vec<Arc<Route>> {
        let mut gone = Vec::new();
        while let Some(destination) = self.table.next_over(now.mono) {
            let edited = self.table.retain(&destination, |r| r.ends > now.mono);
            gone.extend(edited.gone.iter().cloned());
            self.gone(&destination, edited, now);
        }
        let held = &self.table;
        self.sources.retain(|via, source| {
            source.withdrawals.expire(now.mono);
            source.damping.expire(now.mono);
            !source.is_empty() || held.held_from(via) > 0
        });
        gone
    }

    /// Other policies and limits; the routes that they do not let in any more. Those that were refused before come with
    /// the next announcement, and those beyond a smaller limit stay until they go by themselves.
    pub fn revise(&mut self, rules: Rules) -> Vec<Arc<Route>> {
        self.rules = rules;
        let rules = &self.rules;
        let gone = self.table.prefer(rules.preference(), |route| rules.imports(route).is_ok());
        let (voice, tell) = self.voice();
        tell.all_changed(&voice);
        gone
    }

    /// A link has come up: what to tell the node behind it, and nobody else. From now on its cluster hears of changes.
    pub fn joined(&mut self, hearer: &Hearer, now: Now) -> Vec<Told> {
        let (voice, tell) = self.voice();
        tell.joined(hearer, &voice, now)
    }

    /// The last other node of this cluster is gone; for other clusters [`Routes::neighbour_lost`] does it.
    pub fn left(&mut self, hearer: &Hearer) {
        self.tell.left(hearer);
    }

    /// What is to be told now to all links of those who are told, in this order. To be asked after each event and when
    /// the next deadline has come.
    pub fn updates(&mut self, now: Now) -> Vec<(Hearer, Vec<Told>)> {
        let hearers: Vec<Hearer> = self.tell.hearers().cloned().collect();
        let told = hearers.into_iter().map(|hearer| {
            let told = self.updates_for(&hearer, now);
            (hearer, told)
        });
        told.filter(|(_, told)| !told.is_empty()).collect()
    }

    /// What is to be told now to all links of one hearer.
    pub fn updates_for(&mut self, hearer: &Hearer, now: Now) -> Vec<Told> {
        let (voice, tell) = self.voice();
        tell.updates_for(hearer, &voice, now)
    }

    /// When [`Routes::expire`] and [`Routes::updates`] have something to do without any event; zero: at once.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.table.next_end().into_iter().chain(self.tell.next_deadline()).min()
    }

    /// The route that an announcement means, seen from here (7.4, 7.5).
    fn read(
        &self,
        via: &Via,
        a: &RouteAnnouncement,
        standing: Standing,
        link: &Link,
        now: Now,
    ) -> Result<Route, Reason> {
        let destination = &a.destination.cluster_id;
        let path = check::path(&self.settings.cluster_id, via, &a.advertiser, destination, &a.path.hops)?;
        check::tags(&a.route_tags)?;
        check::date(a.advertised_at, now)?;
        let lease = check::lease(a.advertised_at, a.ttl_seconds, now)?;
        let metrics = match via {
            Via::Neighbour { .. } => extended(&a.metrics, link),
            Via::Border { .. } => a.metrics,
        };
        Ok(Route {
            destination: destination.clone(),
            via: via.clone(),
            advertiser: path.get(1).unwrap_or(destination).clone(),
            path: path.into(),
            metrics,
            score: 0.0, // the table's to say
            tags: a.route_tags.clone().into(),
            epoch: a.epoch,
            advertised_at: a.advertised_at,
            received_at: now.wall,
            expires_at: lease.expires_at,
            ttl_seconds: lease.ttl_seconds,
            standing,
            ends: lease.ends,
        })
    }

    /// Whether a source is at its limit, which only foreign ones have: what the nodes of this cluster tell is bounded by
    /// their own limits.
    fn over_limit(&mut self, via: &Via) -> Result<bool, Reason> {
        let over = self.table.held_from(via) >= self.rules.routes_per_neighbour_max;
        if !over || matches!(via, Via::Border { .. }) {
            if let Some(source) = self.sources.get_mut(via) {
                source.warned = false;
            }
            return Ok(false);
        }
        match self.rules.over_limit {
            OverLimit::Refuse => Err(Reason::RoutesLimit),
            OverLimit::DropLink => Err(Reason::RoutesLimitCut),
            OverLimit::Warn => {
                let source = self.sources.entry(via.clone()).or_default();
                Ok(!std::mem::replace(&mut source.warned, true))
            }
        }
    }

    fn lose(&mut self, via: &Via, now: Now) -> Vec<Arc<Route>> {
        let mut gone = Vec::new();
        let destinations: Vec<Text> = self.table.names().cloned().collect();
        for destination in destinations {
            if self.table.routes(&destination).iter().any(|r| r.via == *via) {
                let edited = self.table.retain(&destination, |r| r.via != *via);
                gone.extend(edited.gone.iter().cloned());
                self.gone(&destination, edited, now);
            }
        }
        gone
    }

    /// Routes were withdrawn, lost or not renewed: the neighbours that have no other there are damped.
    fn gone(&mut self, destination: &Text, edited: Edited, now: Now) {
        let left = self.table.routes(destination);
        let lost: BTreeSet<&Via> = edited.gone.iter().map(|route| &route.via).collect();
        for via in lost.into_iter().filter(|via| matches!(via, Via::Neighbour { .. })) {
            if !left.iter().any(|route| route.via == *via) {
                let source = self.sources.entry(via.clone()).or_default();
                source.damping.gone(destination, &self.settings.stability, now.mono);
            }
        }
        self.settle(destination, edited);
    }

    fn settle(&mut self, destination: &Text, edited: Edited) {
        if edited.best_changed {
            self.tell.changed(destination);
        }
    }

    fn voice(&mut self) -> (Voice<'_>, &mut Tell) {
        let voice = Voice { settings: &self.settings, export: &self.rules.export, table: &self.table };
        (voice, &mut self.tell)
    }
}

impl Settings {
    /// The defaults of the configuration for a cluster.
    pub fn of(cluster_id: &Text) -> Settings {
        Settings {
            cluster_id: cluster_id.clone(),
            ttl_seconds: 30.0,
            announce_interval_seconds: 10.0,
            tags: Vec::new(),
            routes_per_destination_max: 4,
            stability: Stability::default(),
        }
    }

    fn announce_interval(&self) -> Duration {
        Duration::try_from_secs_f64(self.announce_interval_seconds)
            .unwrap_or(Duration::MAX / 2)
            .max(INTERVAL_MIN)
    }
}

impl Default for Rules {
    /// Everything passes, within the default limit.
    fn default() -> Rules {
        Rules {
            import: Policies::default(),
            export: Policies::default(),
            routes_per_neighbour_max: 100_000,
            over_limit: OverLimit::Refuse,
        }
    }
}

impl Rules {
    fn preference(&self) -> Policy {
        self.import.global.clone().unwrap_or_default()
    }

    /// Whether a route may come in. What another node of this cluster heard is judged as if it had been heard here.
    fn imports(&self, route: &Route) -> Result<(), Reason> {
        self.import.admits(&route.advertiser, route.subject())
    }
}

impl Source {
    fn is_empty(&self) -> bool {
        self.withdrawals.is_empty() && self.damping.is_empty()
    }
}

/// Longer than an announcement that was caught before its withdrawal can live, its clock being ahead or not.
const REMEMBERED: Duration = Duration::from_secs(check::TTL_SECONDS_MAX as u64 + 600);
/// Nobody needs it more often, and a mistaken 0 must not fill all links.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

#[cfg(test)]
mod network;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
