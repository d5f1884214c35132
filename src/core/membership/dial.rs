//! What to dial and when (fabric.md 4.9, 4.10): seeds and the nodes that the catalog tells of.
//!
//! There is no last attempt: an address that fails is tried again, ever slower up to a bound, each time at a
//! somewhat random moment. A node that holds a link to us is dialled back once, because reference nodes call only over
//! sockets of their own making and expect the same of others; if that fails, it is left alone for long.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Chance, LinkId, Now, Settings};
use crate::core::catalog::{NodeEntry, Text};

#[derive(Debug)]
pub(super) struct Dialling {
    seeds: Vec<Text>,
    first_delay_seconds: f64,
    delay_seconds_max: f64,
    parallelism_max: usize,
    targets: BTreeMap<Text, Target>,
    expected: usize,
    next: Option<Duration>,
}

/// A node that could be dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub node: Text,
    pub url: Text,
}

/// An address that is dialled until it leads somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub url: Text,
    /// Who was met there last; the address itself where that is not known.
    pub node: Text,
    /// The configuration names it.
    pub is_seed: bool,
    /// A dial is under way, or a link is open whose other end has not said who it is.
    pub under_way: bool,
    /// Dials in a row that led nowhere.
    pub failures: u32,
    /// The other end answered that it does not want us.
    pub turned_away: bool,
    /// Until the next dial; zero where it is due.
    pub next_in: Duration,
}

/// How things stand with the node behind a candidate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reach {
    pub departed: bool,
    /// Any link leads there.
    pub linked: bool,
    /// A link that we dialled leads there.
    pub dialled: bool,
    /// The node is of this program, to which one link is as good as two.
    pub extends: bool,
    /// No link is wanted.
    pub needless: bool,
}

#[derive(Debug)]
struct Target {
    node: Text,
    state: State,
    failures: u32,
    not_before: Duration,
    /// The other end answered that it does not want us.
    turned_away: bool,
    /// The address is our own.
    own: bool,
    /// Failures in a row before the pauses grow.
    patience: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Dialling,
    Open { link: LinkId, since: Duration },
}

impl Candidate {
    /// The address of a node: of its internal endpoints, or all, the most protected; else its id, which is a URL.
    pub fn of(node: &NodeEntry) -> Candidate {
        let usable = || node.transport_endpoints.iter().filter(|e| !e.host.is_empty() && e.port > 0);
        let rank = |protocol: &str| PROTOCOLS.iter().position(|p| *p == protocol);
        let best = usable()
            .filter_map(|e| Some((&*e.connection_type != "internal", rank(&e.protocol)?, e)))
            .min_by_key(|(public, rank, _)| (*public, *rank));
        let url = match best {
            Some((_, _, e)) if !e.endpoint.is_empty() => e.endpoint.clone(),
            Some((_, _, e)) => format!("{}://{}:{}", e.protocol, e.host, e.port).into(),
            None => node.node_id.clone(),
        };
        Candidate { node: node.node_id.clone(), url }
    }
}

impl Dialling {
    pub fn new(own: &Settings) -> Dialling {
        Dialling {
            seeds: without_own(own.seeds.clone(), &own.node_id),
            first_delay_seconds: own.gossip_interval_seconds.clamp(FIRST_DELAY_MIN, FIRST_DELAY_MAX),
            delay_seconds_max: own.dial_backoff_seconds_max.max(FIRST_DELAY_MAX),
            parallelism_max: own.dial_parallelism_max.max(1),
            targets: BTreeMap::new(),
            expected: 0,
            next: None,
        }
    }

    /// Puts other seeds in force.
    pub fn set_seeds(&mut self, seeds: Vec<Text>, own: &Text) {
        self.seeds = without_own(seeds, own);
    }

    pub fn is_seed(&self, url: &Text) -> bool {
        self.seeds.contains(url)
    }

    /// Addresses to be dialled now, of the seeds and these candidates. Each counts as being dialled until it is reported
    /// as opened or failed.
    pub fn due(
        &mut self,
        candidates: Vec<Candidate>,
        now: Now,
        mut reach: impl FnMut(&str, &str) -> Reach,
    ) -> Vec<Text> {
        let seeds = self.seeds.iter().map(|url| Candidate { node: self.known_as(url), url: url.clone() });
        let mut wanted: BTreeMap<Text, Text> = BTreeMap::new();
        let mut order: Vec<Text> = Vec::new();
        for Candidate { node, url } in seeds.collect::<Vec<_>>().into_iter().chain(candidates) {
            if let std::collections::btree_map::Entry::Vacant(vacant) = wanted.entry(url) {
                order.push(vacant.key().clone());
                vacant.insert(node);
            }
        }
        self.targets.retain(|url, t| wanted.contains_key(url) || t.state != State::Idle);
        self.expected = wanted.len();
        self.next = None;
        let mut under_way = self.targets.values().filter(|t| t.state == State::Dialling).count();
        let mut due = Vec::new();
        for url in order {
            let Some(node) = wanted.remove(&url) else { continue };
            let standing = reach(&node, &url);
            let target = self.targets.entry(url.clone()).or_insert_with(|| Target::new(node.clone()));
            let back = standing.linked && (standing.extends || self.expected >= DIAL_BACK_BELOW);
            if target.own
                || standing.needless
                || standing.departed
                || standing.dialled
                || back
                || target.state != State::Idle
            {
                continue;
            }
            if now.mono < target.not_before {
                let at = target.not_before;
                self.next = Some(self.next.map_or(at, |next| next.min(at)));
                continue;
            }
            if under_way >= self.parallelism_max {
                break; // the end of one of them asks again
            }
            under_way += 1;
            target.state = State::Dialling;
            due.push(url);
        }
        due
    }

    pub fn next(&self) -> Option<Duration> {
        self.next
    }

    /// Seeds, but for an address of this node itself, and other addresses that were tried in vain.
    pub fn wanted(&self, now: Now) -> Vec<Wanted> {
        let described = |url: &Text, is_seed: bool| {
            let target = self.targets.get(url);
            Wanted {
                url: url.clone(),
                node: self.known_as(url),
                is_seed,
                under_way: target.is_some_and(|t| t.state != State::Idle),
                failures: target.map_or(0, |t| t.failures),
                turned_away: target.is_some_and(|t| t.turned_away),
                next_in: target.map_or(Duration::ZERO, |t| t.not_before.saturating_sub(now.mono)),
            }
        };
        let is_own = |url: &Text| self.targets.get(url).is_some_and(|t| t.own);
        let seeds = self.seeds.iter().filter(|url| !is_own(url)).map(|url| described(url, true));
        let tried = |t: &Target| t.failures > 0 && !t.own;
        let others = self.targets.iter().filter(|(url, t)| tried(t) && !self.seeds.contains(url));
        seeds.chain(others.map(|(url, _)| described(url, false))).collect()
    }

    /// How many nodes this one expects to have links with.
    pub fn expected(&self) -> usize {
        self.expected
    }

    /// The node that an address is dialled for.
    pub fn opened(&mut self, url: &Text, link: LinkId, now: Now) -> Text {
        let target = self.targets.entry(url.clone()).or_insert_with(|| Target::new(url.clone()));
        target.state = State::Open { link, since: now.mono };
        target.turned_away = false;
        target.node.clone()
    }

    pub fn failed(&mut self, url: &str, linked: bool, now: Now, chance: &mut Chance) {
        let (first, max) = (self.first_delay_seconds, self.delay_seconds_max);
        if let Some(target) = self.targets.get_mut(url) {
            target.state = State::Idle;
            target.retry_later(linked, first, max, now, chance);
        }
    }

    pub fn closed(&mut self, url: &str, link: LinkId, linked: bool, now: Now, chance: &mut Chance) {
        let (first, max) = (self.first_delay_seconds, self.delay_seconds_max);
        let Some(target) = self.targets.get_mut(url) else { return };
        let State::Open { link: open, since } = target.state else { return };
        if open != link {
            return;
        }
        target.state = State::Idle;
        if now.mono.saturating_sub(since) >= SETTLED && !target.turned_away {
            target.failures = 0;
        }
        target.retry_later(linked, first, max, now, chance);
    }

    /// So many failures in a row are tried again before the pauses grow.
    pub fn be_patient(&mut self, url: &str, patience: u32) {
        if let Some(target) = self.targets.get_mut(url) {
            target.patience = patience;
        }
    }

    /// The address leads to this very node: never again.
    pub fn is_own(&mut self, url: &str) {
        if let Some(target) = self.targets.get_mut(url) {
            target.own = true;
        }
    }

    pub fn turned_away(&mut self, url: &str) {
        if let Some(target) = self.targets.get_mut(url) {
            target.turned_away = true;
        }
    }

    /// A node came to us: it is up, so it is dialled back at once.
    pub fn appeared(&mut self, node: &str, now: Now) {
        for target in self.targets.values_mut().filter(|t| *t.node == *node) {
            target.failures = 0;
            target.not_before = now.mono;
        }
    }

    /// The last link to a node is gone: dialling it matters again, however it went before.
    pub fn disappeared(&mut self, node: &str, now: Now) {
        let soon = now.mono + seconds(self.first_delay_seconds);
        for target in self.targets.values_mut().filter(|t| *t.node == *node && !t.turned_away) {
            target.failures = target.failures.min(1);
            target.not_before = target.not_before.min(soon);
        }
    }

    pub fn departed(&mut self, node: &str) {
        for target in self.targets.values_mut().filter(|t| *t.node == *node) {
            target.failures = 0;
        }
    }

    pub fn node_behind(&self, url: &str) -> Option<Text> {
        self.targets.get(url).map(|t| t.node.clone())
    }

    /// A seed may be another name of a node; what it answered last counts.
    fn known_as(&self, url: &Text) -> Text {
        self.targets.get(url).map_or_else(|| url.clone(), |t| t.node.clone())
    }

    /// The node at the other end of a dialled link turned out to have another id than its address.
    pub fn answered_as(&mut self, url: &str, node: &Text) {
        if let Some(target) = self.targets.get_mut(url) {
            target.node = node.clone();
        }
    }
}

impl Target {
    fn new(node: Text) -> Target {
        Target {
            node,
            state: State::Idle,
            failures: 0,
            not_before: Duration::ZERO,
            turned_away: false,
            own: false,
            patience: 0,
        }
    }

    fn retry_later(&mut self, linked: bool, first: f64, max: f64, now: Now, chance: &mut Chance) {
        self.failures = self.failures.saturating_add(1);
        let doublings = (self.failures - 1).saturating_sub(self.patience).min(16);
        let (first, max) = match (linked, self.turned_away) {
            (true, _) => (BACK_DELAY, BACK_DELAY_MAX),
            (false, true) => (first * 4.0, max.max(REFUSED_DELAY_MAX)),
            (false, false) => (first, max),
        };
        let delay = (first * f64::from(1u32 << doublings)).min(max);
        self.not_before = now.mono + seconds(chance.jittered(delay));
    }
}

fn without_own(mut seeds: Vec<Text>, own: &Text) -> Vec<Text> {
    seeds.retain(|seed| seed != own);
    seeds.sort();
    seeds.dedup();
    seeds
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// Best first. Only these can be dialled.
const PROTOCOLS: [&str; 4] = ["wss", "ws", "tcps", "tcp"];
/// From this many expected nodes on, a link that the other end made is enough (fabric.md 4.1).
const DIAL_BACK_BELOW: usize = 20;
/// The first pause follows the gossip interval within these seconds.
const FIRST_DELAY_MIN: f64 = 0.25;
const FIRST_DELAY_MAX: f64 = 2.0;
/// Pauses for a peer that we reach over its own link anyway.
const BACK_DELAY: f64 = 60.0;
const BACK_DELAY_MAX: f64 = 600.0;
/// A node that does not want us is asked this rarely in the end.
const REFUSED_DELAY_MAX: f64 = 120.0;
/// A link that lived this long was a success.
const SETTLED: Duration = Duration::from_secs(10);
