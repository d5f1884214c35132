//! What the neighbours are told, and what each of them was told before.
//!
//! Of each destination the best route is told, and nothing else, so that what a neighbour believes is what this node does;
//! to the own cluster the best that was heard here, because each node chooses among all ways out.
//! A neighbour is never told a route through itself, nor one that an export policy keeps in, and of what it was not told it
//! hears no withdrawal. A change is told at once, but one destination changes at most once in a while, and in the end all
//! have heard the last state. A route never comes after its withdrawal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::policy::{Policies, Subject};
use super::table::{Route, Table, best_heard};
use super::{Settings, Via};
use crate::core::catalog::Text;
use crate::core::time::Now;
use crate::wire::fabric::route::{Destination, Metrics, Path, RouteAnnouncement, RouteWithdrawal, Seal};

/// Who is told: all nodes of another cluster the same, and all other nodes of this one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hearer {
    Cluster(Text),
    OwnCluster,
}

/// One message, to be signed and sent in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// `learned_from` is where the route is from; `None`: it leads to this cluster.
    Announce {
        announcement: RouteAnnouncement,
        learned_from: Option<Via>,
    },
    Withdraw {
        withdrawal: RouteWithdrawal,
        learned_from: Option<Via>,
    },
}

/// A route as it is told.
#[derive(Debug, Clone)]
pub(super) struct Outward {
    path: Arc<[Text]>,
    metrics: Metrics,
    tags: Arc<[Text]>,
    ttl_seconds: f64,
    via: Option<Via>,
}

/// All who are told, and how messages are dated.
#[derive(Debug)]
pub(super) struct Tell {
    hearings: BTreeMap<Hearer, Hearing>,
    dates: Dates,
}

/// What one hearer was told.
#[derive(Debug)]
struct Hearing {
    told: BTreeMap<Text, Record>,
    /// Destinations of which it may have to be told something.
    due: BTreeSet<Text>,
    /// Those of which it was told something so lately that the next waits.
    waiting: BTreeSet<(Duration, Text)>,
    refresh_at: Duration,
}

#[derive(Debug)]
struct Record {
    /// `None`: that there is no route any more.
    said: Option<Outward>,
    changed_at: Duration,
}

/// Dates and epochs that only grow, also over a restart: both follow the clock.
#[derive(Debug, Default)]
struct Dates {
    at: f64,
    epoch: i64,
}

/// What all messages are made from.
pub(super) struct Voice<'a> {
    pub settings: &'a Settings,
    pub export: &'a Policies,
    pub table: &'a Table,
}

impl Tell {
    pub fn new() -> Tell {
        Tell { hearings: BTreeMap::new(), dates: Dates::default() }
    }

    /// Goes on after `date`, and with epochs after those of `floor`, both of a former life.
    pub fn resume(&mut self, date: f64, floor: f64) {
        self.dates.resume(date, floor);
    }

    /// The last date that was given.
    pub fn last_date(&self) -> f64 {
        self.dates.at
    }

    pub fn hearers(&self) -> impl Iterator<Item = &Hearer> {
        self.hearings.keys()
    }

    /// What to say to a link that has come up: all that its cluster was told before, and what is new.
    pub fn joined(&mut self, hearer: &Hearer, voice: &Voice, now: Now) -> Vec<Told> {
        if self.hearings.contains_key(hearer) {
            return self.everything(hearer, voice, now);
        }
        let mut due: BTreeSet<Text> = voice.table.names().cloned().collect();
        due.insert(voice.settings.cluster_id.clone());
        let hearing = Hearing {
            told: BTreeMap::new(),
            due,
            waiting: BTreeSet::new(),
            refresh_at: now.mono + voice.settings.announce_interval(),
        };
        self.hearings.insert(hearer.clone(), hearing);
        self.updates_for(hearer, voice, now)
    }

    pub fn left(&mut self, hearer: &Hearer) {
        self.hearings.remove(hearer);
    }

    /// The best route to a destination is another one, or there is none.
    pub fn changed(&mut self, destination: &Text) {
        for hearing in self.hearings.values_mut() {
            hearing.due.insert(destination.clone());
        }
    }

    /// Everything may be told in another way now.
    pub fn all_changed(&mut self, voice: &Voice) {
        for hearing in self.hearings.values_mut() {
            hearing.due.extend(hearing.told.keys().chain(voice.table.names()).cloned());
            hearing.due.insert(voice.settings.cluster_id.clone());
        }
    }

    /// What a hearer was told and has not been taken back, said again.
    pub fn everything(&mut self, hearer: &Hearer, voice: &Voice, now: Now) -> Vec<Told> {
        let Some(hearing) = self.hearings.get(hearer) else { return Vec::new() };
        let said = hearing.told.iter().filter_map(|(d, record)| Some((d, record.said.as_ref()?)));
        said.map(|(destination, said)| voice.announce(destination, said, self.dates.next(now))).collect()
    }

    /// What is to be told to a hearer now.
    pub fn updates_for(&mut self, hearer: &Hearer, voice: &Voice, now: Now) -> Vec<Told> {
        let mut out = Vec::new();
        let Some(hearing) = self.hearings.get_mut(hearer) else { return out };
        let refresh = hearing.take_due(voice.settings.announce_interval(), now.mono);
        for destination in std::mem::take(&mut hearing.due) {
            let wanted = voice.outward(hearer, &destination);
            out.extend(hearing.tell(destination, wanted, refresh, voice, &mut self.dates, now));
        }
        out
    }

    pub fn next_deadline(&self) -> Option<Duration> {
        self.hearings.values().map(Hearing::next_deadline).min()
    }

    /// The paths that a hearer believes.
    #[cfg(test)]
    pub fn told(&self, hearer: &Hearer) -> BTreeMap<Text, Vec<Text>> {
        let told = self.hearings.get(hearer).into_iter().flat_map(|hearing| &hearing.told);
        told.filter_map(|(d, record)| Some((d.clone(), record.said.as_ref()?.path.to_vec()))).collect()
    }
}

impl Hearing {
    /// Collects what is due; true if everything is to be said again.
    fn take_due(&mut self, interval: Duration, now: Duration) -> bool {
        while self.waiting.first().is_some_and(|(at, _)| *at <= now) {
            self.due.extend(self.waiting.pop_first().map(|(_, destination)| destination));
        }
        let refresh = now >= self.refresh_at;
        if refresh {
            self.refresh_at = now + interval;
            self.due.extend(self.told.keys().cloned());
        }
        refresh
    }

    /// What has to be said of one destination, so that `wanted` is what is believed; nothing, if it is or must wait.
    fn tell(
        &mut self,
        destination: Text,
        wanted: Option<Outward>,
        refresh: bool,
        voice: &Voice,
        dates: &mut Dates,
        now: Now,
    ) -> Vec<Told> {
        let record = self.told.get(&destination);
        let rested_at = record.map(|record| record.changed_at + CHANGE_INTERVAL);
        let rests = rested_at.is_none_or(|at| at <= now.mono);
        let out = match (record.and_then(|record| record.said.as_ref()), &wanted) {
            (None, None) => {
                match rested_at.filter(|_| !rests) {
                    Some(at) => self.waiting.insert((at, destination)),
                    None => self.told.remove(&destination).is_some(),
                };
                return Vec::new();
            }
            (Some(said), Some(like)) if said.is_much_like(like) => {
                if !refresh {
                    return Vec::new();
                }
                let again = voice.announce(&destination, like, dates.next(now));
                if let Some(record) = self.told.get_mut(&destination) {
                    record.said = wanted;
                }
                return vec![again];
            }
            (_, Some(_)) if !rests => {
                self.waiting.extend(rested_at.map(|at| (at, destination)));
                return Vec::new();
            }
            // A withdrawal takes one path away from those who tell them apart, and all from those who do not: so the new
            // one is there before, and comes again behind it.
            (Some(said), Some(wanted)) if said.path != wanted.path => vec![
                voice.announce(&destination, wanted, dates.next(now)),
                voice.withdraw(&destination, said, dates.next(now)),
                voice.announce(&destination, wanted, dates.next(now)),
            ],
            (_, Some(wanted)) => vec![voice.announce(&destination, wanted, dates.next(now))],
            (Some(said), None) => vec![voice.withdraw(&destination, said, dates.next(now))],
        };
        if wanted.is_none() {
            self.waiting.insert((now.mono + CHANGE_INTERVAL, destination.clone()));
        }
        self.told.insert(destination, Record { said: wanted, changed_at: now.mono });
        out
    }

    fn next_deadline(&self) -> Duration {
        if !self.due.is_empty() {
            return Duration::ZERO;
        }
        self.waiting.first().map_or(self.refresh_at, |(at, _)| self.refresh_at.min(*at))
    }
}

impl Voice<'_> {
    /// What a hearer is to believe of a destination.
    fn outward(&self, hearer: &Hearer, destination: &Text) -> Option<Outward> {
        let own = &self.settings.cluster_id;
        let outward = if destination == own {
            Outward {
                path: Arc::from([own.clone()]),
                metrics: Metrics::default(),
                tags: self.settings.tags.clone().into(),
                ttl_seconds: self.settings.ttl_seconds,
                via: None,
            }
        } else {
            let routes = self.table.routes(destination);
            // The other nodes are told of this way out also while another one is better: when that is lost they know it.
            let best = match hearer {
                Hearer::OwnCluster => best_heard(routes),
                Hearer::Cluster(_) => routes.first(),
            };
            let mut best = Outward::of(best?);
            best.ttl_seconds = best.ttl_seconds.max(self.settings.ttl_seconds);
            best
        };
        let told = match hearer {
            Hearer::OwnCluster => matches!(outward.via, Some(Via::Neighbour { .. })),
            Hearer::Cluster(cluster) => {
                !outward.path.contains(cluster)
                    && self.export.admits(cluster, self.subject(destination, &outward)).is_ok()
            }
        };
        told.then_some(outward)
    }

    fn subject<'b>(&'b self, destination: &'b str, outward: &'b Outward) -> Subject<'b> {
        let clusters = i64::try_from(outward.path.len()).unwrap_or(i64::MAX);
        Subject {
            advertiser: &self.settings.cluster_id,
            destination,
            tags: &outward.tags,
            hops: outward.metrics.hop_count.max(clusters.saturating_sub(1)),
        }
    }

    fn announce(&self, destination: &Text, outward: &Outward, (at, epoch): (f64, i64)) -> Told {
        let announcement = RouteAnnouncement {
            destination: Destination { cluster_id: destination.clone() },
            path: Path { hops: outward.path.to_vec() },
            metrics: outward.metrics,
            advertiser: self.settings.cluster_id.clone(),
            advertised_at: at,
            ttl_seconds: outward.ttl_seconds,
            epoch,
            route_tags: outward.tags.to_vec(),
            seal: Seal::default(),
        };
        Told::Announce { announcement, learned_from: outward.via.clone() }
    }

    fn withdraw(&self, destination: &Text, said: &Outward, (at, epoch): (f64, i64)) -> Told {
        let withdrawal = RouteWithdrawal {
            destination: Destination { cluster_id: destination.clone() },
            path: Path { hops: said.path.to_vec() },
            advertiser: self.settings.cluster_id.clone(),
            withdrawn_at: at,
            epoch,
            route_tags: said.tags.to_vec(),
            seal: Seal::default(),
        };
        Told::Withdraw { withdrawal, learned_from: said.via.clone() }
    }
}

impl Outward {
    pub fn of(route: &Route) -> Outward {
        Outward {
            path: route.path.clone(),
            metrics: route.metrics,
            tags: route.tags.clone(),
            ttl_seconds: route.ttl_seconds,
            via: Some(route.via.clone()),
        }
    }

    /// Whether what is different can wait until all is said again: a latency that moves by less than a choice of routes
    /// is worth would else travel through all clusters each time, and hold up what is news.
    fn is_much_like(&self, other: &Outward) -> bool {
        let apart_ms = (self.metrics.latency_ms - other.metrics.latency_ms).abs();
        let metrics = Metrics { latency_ms: self.metrics.latency_ms, ..other.metrics };
        (&self.path, &self.tags) == (&other.path, &other.tags)
            && self.metrics == metrics
            && (apart_ms < LATENCY_NEWS_MS || self.metrics.latency_ms == other.metrics.latency_ms)
    }

    /// Whether a hearer knows it already; how long it lives and who said it here are not news to it.
    fn says(&self) -> (&[Text], &Metrics, &[Text]) {
        (&self.path, &self.metrics, &self.tags)
    }
}

impl PartialEq for Outward {
    fn eq(&self, other: &Outward) -> bool {
        self.says() == other.says()
    }
}

impl Dates {
    fn resume(&mut self, date: f64, floor: f64) {
        self.at = self.at.max(date);
        self.epoch = self.epoch.max((floor * EPOCHS_PER_SECOND) as i64);
    }

    fn next(&mut self, now: Now) -> (f64, i64) {
        // After a clock that was far ahead has been set right, dates follow it; neighbours would refuse others.
        let ahead = self.at > now.wall + AHEAD_SECONDS_MAX;
        self.at = if ahead { now.wall } else { now.wall.max(self.at + DATE_STEP_SECONDS) };
        self.epoch = self.epoch.saturating_add(1).max((now.wall * EPOCHS_PER_SECOND) as i64);
        (self.at, self.epoch)
    }
}

/// How often a hearer is told of changes of one destination. Long enough that a storm of changes ends as one, short
/// enough that nobody waits for it.
pub(super) const CHANGE_INTERVAL: Duration = Duration::from_millis(200);
/// A latency that changed by less is told with the next repetition.
const LATENCY_NEWS_MS: f64 = 1.0;
/// Larger than the distance of two numbers that tell the time of day.
const DATE_STEP_SECONDS: f64 = 1e-6;
const AHEAD_SECONDS_MAX: f64 = 60.0;
/// Microseconds: more messages than one a millisecond are sent for long, and must not run ahead of the clock.
const EPOCHS_PER_SECOND: f64 = 1e6;
