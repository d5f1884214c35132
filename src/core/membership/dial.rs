//! What to dial and when (fabric.md 4.9, 4.10): seeds, addresses that were found, and the nodes that the catalog tells
//! of.
//!
//! A node may have several addresses. One of them is dialled at a time; where it fails, the others have their turn.
//! There is no last attempt: an address that fails is tried again, ever slower up to a bound, each time at a
//! somewhat random moment. A node that holds a link to us is dialled back once, because reference nodes call only over
//! sockets of their own making and expect the same of others; if that fails, it is left alone for long.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Chance, LinkId, Now, Settings};
use crate::core::catalog::{NodeEntry, Text};

#[derive(Debug)]
pub(super) struct Dialling {
    seeds: Vec<Text>,
    /// Addresses of each peer that sources of peers tell of.
    found: Vec<Vec<Text>>,
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
    /// Where it is dialled, best first; never empty.
    pub urls: Vec<Text>,
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

/// Whose turn it is among the addresses of one peer.
enum Turn {
    Of(Text),
    /// Not before then.
    At(Duration),
    OfNone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Dialling,
    Open { link: LinkId, since: Duration },
}

impl Candidate {
    /// The addresses of a node: of its internal endpoints, or all, the most protected first; else its id, which is a
    /// URL. A protected address is never exchanged for one that is not: whoever can make it fail could listen then.
    pub fn of(node: &NodeEntry) -> Candidate {
        let rank = |protocol: &str| PROTOCOLS.iter().position(|p| *p == protocol);
        let mut usable: Vec<_> = node
            .transport_endpoints
            .iter()
            .filter(|e| !e.host.is_empty() && e.port > 0)
            .filter_map(|e| Some((&*e.connection_type != "internal", rank(&e.protocol)?, e)))
            .collect();
        usable.sort_by_key(|(public, rank, _)| (*public, *rank));
        let class = usable.first().map(|(public, _, e)| (*public, is_protected(&e.protocol)));
        let alike =
            usable.iter().filter(|(public, _, e)| Some((*public, is_protected(&e.protocol))) == class);
        let mut urls: Vec<Text> = Vec::new();
        for (_, _, e) in alike {
            let url = match e.endpoint.is_empty() {
                false => e.endpoint.clone(),
                true => format!("{}://{}:{}", e.protocol, e.host, e.port).into(),
            };
            if urls.len() < ADDRESSES_MAX && !urls.contains(&url) {
                urls.push(url);
            }
        }
        if urls.is_empty() {
            urls.push(node.node_id.clone());
        }
        Candidate { node: node.node_id.clone(), urls }
    }

    /// The best address.
    pub fn into_url(self) -> Text {
        self.urls.into_iter().next().unwrap_or(self.node)
    }
}

impl Dialling {
    pub fn new(own: &Settings) -> Dialling {
        Dialling {
            seeds: without_own(own.seeds.clone(), &own.node_id),
            found: Vec::new(),
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

    /// Whether a source of peers tells of it.
    pub fn is_found(&self, url: &Text) -> bool {
        self.found.iter().flatten().any(|found| found == url)
    }

    /// The addresses of each peer that was found elsewhere, all anew. Those that are gone are not dialled any more.
    pub fn set_found(&mut self, found: Vec<Vec<Text>>, own: &Text) {
        self.found = found;
        self.found.retain(|urls| !urls.is_empty() && !urls.contains(own));
        self.found.iter_mut().for_each(|urls| urls.truncate(ADDRESSES_MAX));
        self.found.truncate(FOUND_MAX);
    }

    /// Addresses to be dialled now, of the seeds, the found peers and these candidates. Each counts as being dialled
    /// until it is reported as opened or failed.
    pub fn due(
        &mut self,
        candidates: Vec<Candidate>,
        now: Now,
        mut reach: impl FnMut(&str, &str) -> Reach,
    ) -> Vec<Text> {
        let wanted = self.all_candidates(candidates);
        let urls: BTreeSet<&Text> = wanted.iter().flat_map(|candidate| &candidate.urls).collect();
        self.targets.retain(|url, t| urls.contains(url) || t.state != State::Idle);
        self.expected = wanted.len();
        self.next = None;
        let mut under_way = self.targets.values().filter(|t| t.state == State::Dialling).count();
        let mut due = Vec::new();
        for Candidate { node, urls } in wanted {
            for url in &urls {
                self.targets.entry(url.clone()).or_insert_with(|| Target::new(node.clone()));
            }
            let unwanted = urls.iter().any(|url| {
                let standing = reach(&node, url);
                let back = standing.linked && (standing.extends || self.expected >= DIAL_BACK_BELOW);
                standing.needless || standing.departed || standing.dialled || back
            });
            if unwanted {
                continue;
            }
            match self.turn_of(&urls, now) {
                Turn::Of(_) if under_way >= self.parallelism_max => break, // the end of one of them asks again
                Turn::Of(url) => {
                    under_way += 1;
                    if let Some(target) = self.targets.get_mut(&url) {
                        target.state = State::Dialling;
                    }
                    due.push(url);
                }
                Turn::At(at) => self.next = Some(self.next.map_or(at, |next| next.min(at))),
                Turn::OfNone => {}
            }
        }
        due
    }

    /// Seeds, found peers and candidates, in this order. Those that share an address with a seed or a found peer are one
    /// with it. Two nodes of the catalog stay two: whoever claims the address of another would keep it from being
    /// dialled.
    fn all_candidates(&self, candidates: Vec<Candidate>) -> Vec<Candidate> {
        let seed = |url: &Text| Candidate { node: self.known_as(url), urls: vec![url.clone()] };
        let found = |urls: &Vec<Text>| {
            let node = urls.first().map(|url| self.known_as(url)).unwrap_or_default();
            Candidate { node, urls: urls.clone() }
        };
        let told = self.seeds.iter().map(seed).chain(self.found.iter().map(found));
        let mut wanted: Vec<Candidate> = Vec::new();
        let mut places: BTreeMap<Text, usize> = BTreeMap::new();
        let all =
            told.map(|told| (told, true)).chain(candidates.into_iter().map(|candidate| (candidate, false)));
        for (Candidate { node, urls }, is_told) in all {
            let place = urls.iter().find_map(|url| places.get(url)).copied();
            let Some(known) = place.and_then(|place| wanted.get_mut(place)) else {
                if is_told {
                    places.extend(urls.iter().map(|url| (url.clone(), wanted.len())));
                }
                wanted.push(Candidate { node, urls });
                continue;
            };
            let fresh: Vec<Text> = urls.into_iter().filter(|url| !known.urls.contains(url)).collect();
            known.urls.extend(fresh.iter().take(ADDRESSES_MAX.saturating_sub(known.urls.len())).cloned());
            if is_told {
                places.extend(fresh.into_iter().zip(std::iter::repeat(place.unwrap_or_default())));
            }
        }
        wanted
    }

    /// Which of the addresses of one peer is to be dialled: of those whose time has come the one that failed least, and
    /// none while one of them is in use, is our own, or did not want us.
    fn turn_of(&self, urls: &[Text], now: Now) -> Turn {
        let targets = || urls.iter().filter_map(|url| Some((url, self.targets.get(url)?)));
        if targets().any(|(_, t)| t.own || t.state != State::Idle) {
            return Turn::OfNone;
        }
        let refused = targets().filter(|(_, t)| t.turned_away).map(|(_, t)| t.not_before).max();
        if let Some(at) = refused.filter(|at| now.mono < *at) {
            return Turn::At(at);
        }
        let ready = targets().filter(|(_, t)| now.mono >= t.not_before).min_by_key(|(_, t)| t.failures);
        match (ready, targets().map(|(_, t)| t.not_before).min()) {
            (Some((url, _)), _) => Turn::Of(url.clone()),
            (None, Some(at)) => Turn::At(at),
            (None, None) => Turn::OfNone,
        }
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

fn is_protected(protocol: &str) -> bool {
    matches!(protocol, "wss" | "tcps")
}

/// Best first. Only these can be dialled.
const PROTOCOLS: [&str; 4] = ["wss", "ws", "tcps", "tcp"];
/// Of one peer; more are not tried.
const ADDRESSES_MAX: usize = 8;
/// Peers from all sources; those behind them are known by the catalog as soon as one of these is met.
pub const FOUND_MAX: usize = 1000;
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
