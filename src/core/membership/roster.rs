//! The roster: the nodes of this program in the own cluster, each with the version of what it says of itself.
//!
//! A version is a number that only its node may raise: it does so when it says something new, when it starts, and when
//! it hears that somebody believes it dead. The higher version is right, so what was said before can never come back,
//! whatever way it takes. Two rosters are compared by a few sums that are kept up to date with every change. It never
//! decides that a node is dead; it remembers it for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::overlay::{self, Places, Rings, Ways, hash, mix, places};
use crate::core::catalog::Text;
use crate::wire::fabric::kin::{BUCKETS, VersionList};

/// See the module.
#[derive(Debug)]
pub struct Roster {
    own: Text,
    rings: Rings,
    own_version: u64,
    members: BTreeMap<Text, Member>,
    dead: BTreeMap<Text, Dead>,
    sums: [u64; BUCKETS],
    /// Grows when a member comes or goes.
    generation: u64,
    neighbours: BTreeSet<Text>,
}

#[derive(Debug)]
struct Member {
    version: u64,
    places: Places,
}

#[derive(Debug)]
struct Dead {
    version: u64,
    until: Duration,
}

/// How a version stands to what is known of its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Of this very node.
    Own,
    /// Newer than the living version, which is 0 where the node is not known.
    Newer(u64),
    /// Known already.
    Known,
    /// Of a node that was found dead at that version or a later one.
    Dead,
}

impl Roster {
    /// `version` is that of the own node.
    pub fn new(own: Text, version: u64) -> Roster {
        let mut roster = Roster {
            rings: Rings::new(&own),
            own_version: version,
            members: BTreeMap::new(),
            dead: BTreeMap::new(),
            sums: [0; BUCKETS],
            generation: 0,
            neighbours: BTreeSet::new(),
            own,
        };
        roster.count(&roster.own.clone(), version, true);
        roster
    }

    pub fn own_version(&self) -> u64 {
        self.own_version
    }

    /// The next version of the own node, later than `at_least` and not before the clock.
    pub fn raise(&mut self, at_least: u64, wall: f64) -> u64 {
        let own = self.own.clone();
        self.count(&own, self.own_version, false);
        let clock = version_at(wall);
        self.own_version = self.own_version.max(at_least).saturating_add(VERSION_STEP).max(clock);
        self.count(&own, self.own_version, true);
        self.own_version
    }

    pub fn judge(&self, node: &str, version: u64) -> Standing {
        if *node == *self.own {
            return Standing::Own;
        }
        match (self.members.get(node), self.dead.get(node)) {
            (Some(member), _) if member.version >= version => Standing::Known,
            (Some(member), _) => Standing::Newer(member.version),
            (None, Some(dead)) if dead.version >= version => Standing::Dead,
            (None, _) => Standing::Newer(0),
        }
    }

    /// The version at which a member was found dead.
    pub fn death(&self, node: &str) -> Option<u64> {
        self.dead.get(node).map(|d| d.version)
    }

    /// The members that were found dead or have left, each with its version and until when that is remembered.
    pub fn deaths(&self) -> impl Iterator<Item = (&Text, u64, Duration)> {
        self.dead.iter().map(|(node, dead)| (node, dead.version, dead.until))
    }

    /// Takes over from a former life that a node was found dead, for as long as that is still to be remembered.
    pub fn remember_death(&mut self, node: &Text, version: u64, until: Duration, now: Duration) {
        let until = until.min(now + DEAD_FOR);
        if now < until && *node != self.own && !self.contains(node) {
            self.make_room();
            self.dead.insert(node.clone(), Dead { version, until });
        }
    }

    /// The version of a living member.
    pub fn version(&self, node: &str) -> Option<u64> {
        self.members.get(node).map(|m| m.version)
    }

    pub fn contains(&self, node: &str) -> bool {
        self.members.contains_key(node)
    }

    /// A node lives and says what it says as of `version`.
    pub fn learn(&mut self, node: &Text, version: u64) {
        self.dead.remove(node);
        match self.members.get_mut(node) {
            Some(member) => {
                let before = std::mem::replace(&mut member.version, version);
                self.count(node, before, false);
            }
            None => {
                let places = places(node);
                self.rings.add(node, &places);
                self.members.insert(node.clone(), Member { version, places });
                self.changed();
            }
        }
        self.count(node, version, true);
    }

    /// A node is dead, or has left, as of `version`.
    pub fn bury(&mut self, node: &Text, version: u64, now: Duration) {
        let version = self.members.get(node).map_or(version, |m| m.version.max(version));
        self.forget(node);
        self.make_room();
        self.dead.insert(node.clone(), Dead { version, until: now + DEAD_FOR });
    }

    fn make_room(&mut self) {
        if self.dead.len() >= DEAD_MAX
            && let Some(first) = self.dead.iter().min_by_key(|(_, d)| d.until).map(|(n, _)| n.clone())
        {
            self.dead.remove(&first);
        }
    }

    /// A node is not of this program any more.
    pub fn forget(&mut self, node: &Text) {
        if let Some(member) = self.members.remove(node) {
            self.count(node, member.version, false);
            self.rings.remove(node, &member.places);
            self.changed();
        }
    }

    pub fn expire(&mut self, now: Duration) {
        self.dead.retain(|_, d| now < d.until);
    }

    /// Living members besides the own node.
    pub fn members(&self) -> impl Iterator<Item = &Text> {
        self.members.keys()
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether there are too many nodes for everybody to be linked with everybody.
    pub fn is_large(&self) -> bool {
        self.members.len() >= overlay::MESH_MAX
    }

    /// The members that the own node keeps links with.
    pub fn neighbours(&self) -> &BTreeSet<Text> {
        &self.neighbours
    }

    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The ways to members without a link, past those for whom `is_closed` holds and neighbours without a link.
    pub fn ways(&self, linked: &[Text], is_closed: impl Fn(&Text) -> bool) -> Ways {
        let own = places(&self.own);
        let mut members: BTreeMap<&Text, &Places> =
            self.members.iter().map(|(n, m)| (n, &m.places)).collect();
        members.insert(&self.own, &own);
        let is_lost = |node: &Text| self.neighbours.contains(node) && linked.binary_search(node).is_err();
        Ways::find(&self.own, &members, linked, |node| is_lost(node) || is_closed(node))
    }

    pub fn sums(&self) -> [u64; BUCKETS] {
        self.sums
    }

    /// One number for all versions, the own among them.
    pub fn digest(&self) -> u64 {
        self.sums.iter().fold(0, |all, sum| mix(all ^ sum))
    }

    /// The buckets in which another roster differs.
    pub fn differing(&self, sums: &[u64]) -> Vec<usize> {
        (0..BUCKETS).filter(|b| sums.get(*b) != self.sums.get(*b)).collect()
    }

    /// All versions in these buckets.
    pub fn listed(&self, buckets: &[usize]) -> VersionList {
        let own = std::iter::once((&self.own, self.own_version));
        let all = self.members.iter().map(|(node, m)| (node, m.version)).chain(own);
        all.filter(|(node, _)| buckets.contains(&bucket(node))).map(|(n, v)| (n.clone(), v)).collect()
    }

    fn count(&mut self, node: &str, version: u64, add: bool) {
        let value = mix(hash(node) ^ mix(version));
        if let Some(sum) = self.sums.get_mut(bucket(node)) {
            *sum = if add { sum.wrapping_add(value) } else { sum.wrapping_sub(value) };
        }
    }

    fn changed(&mut self) {
        self.generation += 1;
        self.neighbours = match self.is_large() {
            true => self.rings.neighbours(),
            false => self.members.keys().cloned().collect(),
        };
    }
}

/// Microseconds since the epoch: versions of a later life are higher unless the clock was set back, which a node is
/// told of when it meets somebody who remembers.
pub fn version_at(wall: f64) -> u64 {
    (wall * 1e6) as u64
}

fn bucket(node: &str) -> usize {
    (mix(hash(node)) % BUCKETS as u64) as usize
}

/// Between two versions, so that one that is too large for a message can go in pieces with versions of their own.
const VERSION_STEP: u64 = 4096;
/// As long as gossip may be on its way (fabric.md 5.1).
const DEAD_FOR: Duration = Duration::from_secs(300);
const DEAD_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_judged_by_what_is_known() {
        let mut roster = Roster::new("me".into(), 5);
        let (a, now) = (Text::from("a"), Duration::ZERO);
        assert_eq!(roster.judge("me", 9), Standing::Own);
        assert_eq!(roster.judge("a", 1), Standing::Newer(0));
        roster.learn(&a, 3);
        assert_eq!(roster.judge("a", 3), Standing::Known);
        assert_eq!(roster.judge("a", 4), Standing::Newer(3));
        roster.bury(&a, 0, now);
        assert_eq!((roster.judge("a", 3), roster.judge("a", 4)), (Standing::Dead, Standing::Newer(0)));
        roster.expire(now + DEAD_FOR);
        assert_eq!(roster.judge("a", 3), Standing::Newer(0));
        assert_eq!(roster.raise(20, 0.0), 20 + VERSION_STEP);
        assert_eq!(roster.raise(0, 1.0), 1_000_000);
    }

    #[test]
    fn neighbours_are_those_of_the_overlay_however_members_come_and_go() {
        let mut roster = Roster::new("ws://node-0:1".into(), 1);
        for step in 0..300u64 {
            let node = Text::from(format!("ws://node-{}:1", 1 + mix(step) % 60));
            match roster.contains(&node) && mix(step).is_multiple_of(3) {
                true => roster.forget(&node),
                false => roster.learn(&node, step),
            }
            let all = roster.members.iter().map(|(node, member)| (node, &member.places));
            let expected = overlay::neighbours(&places("ws://node-0:1"), all);
            assert_eq!(*roster.neighbours(), expected, "step {step}, {} members", roster.len());
        }
        assert!(roster.is_large());
    }

    proptest::proptest! {
        /// The sums depend on what is known and not on the way to it.
        #[test]
        fn equal_rosters_have_equal_sums(steps in proptest::collection::vec((0..8usize, 1..50u64, 0..4u8), 0..60)) {
            let mut roster = Roster::new("me".into(), 7);
            for (node, version, what) in steps {
                let node = Text::from(format!("n{node}"));
                match what {
                    0 => roster.bury(&node, version, Duration::ZERO),
                    1 => roster.forget(&node),
                    _ if matches!(roster.judge(&node, version), Standing::Newer(_)) => roster.learn(&node, version),
                    _ => {}
                }
            }
            let mut fresh = Roster::new("me".into(), 7);
            for (node, member) in &roster.members {
                fresh.learn(node, member.version);
            }
            proptest::prop_assert_eq!(fresh.sums(), roster.sums());
            proptest::prop_assert!(fresh.differing(&roster.sums()).is_empty());
            proptest::prop_assert_eq!(fresh.neighbours(), roster.neighbours());
            let all: Vec<usize> = (0..BUCKETS).collect();
            proptest::prop_assert_eq!(roster.listed(&all).len(), roster.len() + 1);
            fresh.learn(&"another".into(), 1);
            proptest::prop_assert_eq!(fresh.differing(&roster.sums()).len(), 1);
        }
    }
}
