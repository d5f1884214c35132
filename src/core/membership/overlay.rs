//! Which nodes of a large cluster keep links with each other, and the way to those that do not.
//!
//! Up to [`MESH_MAX`] nodes everybody is linked with everybody. Above, each node has two neighbours on each of
//! [`RINGS`] rings, whose orders are hashes of the node ids: the same for all who know the same nodes, connected, of
//! few hops (the union of random rings is an expander), and a node that comes or goes moves a constant number of
//! links. Nothing is decided here about who is alive.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::core::catalog::Text;

/// The place of a node on each ring.
pub type Places = [u64; RINGS];

pub fn places(node: &str) -> Places {
    let seed = hash(node);
    std::array::from_fn(|ring| mix(seed ^ (ring as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

/// The nodes with which one at `own` keeps links; `members` are all others.
pub fn neighbours<'a>(
    own: &Places,
    members: impl Iterator<Item = (&'a Text, &'a Places)> + Clone,
) -> BTreeSet<Text> {
    if members.clone().take(MESH_MAX).count() < MESH_MAX {
        return members.map(|(node, _)| node.clone()).collect();
    }
    let mut chosen = BTreeSet::new();
    for (ring, own) in own.iter().enumerate() {
        let distance = |places: &Places| places.get(ring).map_or(u64::MAX, |at| at.wrapping_sub(*own));
        let next = members.clone().min_by_key(|(node, places)| (distance(places), *node));
        let last = members.clone().max_by_key(|(node, places)| (distance(places), *node));
        chosen.extend(next.into_iter().chain(last).map(|(node, _)| node.clone()));
    }
    chosen
}

/// The rings as one node sees them, kept in order, so that a member that comes or goes costs no look at all others.
#[derive(Debug)]
pub struct Rings {
    own: Places,
    orders: [BTreeSet<(u64, Text)>; RINGS],
}

impl Rings {
    pub fn new(own: &str) -> Rings {
        Rings { own: places(own), orders: Default::default() }
    }

    pub fn add(&mut self, node: &Text, places: &Places) {
        for ((order, own), at) in self.orders.iter_mut().zip(&self.own).zip(places) {
            order.insert((at.wrapping_sub(*own), node.clone()));
        }
    }

    pub fn remove(&mut self, node: &Text, places: &Places) {
        for ((order, own), at) in self.orders.iter_mut().zip(&self.own).zip(places) {
            order.remove(&(at.wrapping_sub(*own), node.clone()));
        }
    }

    /// The next and the last on each ring, as [`neighbours`] finds them in a large cluster.
    pub fn neighbours(&self) -> BTreeSet<Text> {
        let ends = self.orders.iter().flat_map(|order| [order.first(), order.last()]);
        ends.flatten().map(|(_, node)| node.clone()).collect()
    }
}

/// For every member the neighbours that ways to it begin with, the shortest first.
#[derive(Debug, Default)]
pub struct Ways {
    first_hops: BTreeMap<Text, Vec<Text>>,
}

impl Ways {
    /// Of `members`, all that `own` knows, with itself. Ways begin with `linked`, and go through nobody for whom
    /// `is_closed` holds.
    pub fn find(
        own: &Text,
        members: &BTreeMap<&Text, &Places>,
        linked: &[Text],
        is_closed: impl Fn(&Text) -> bool,
    ) -> Ways {
        let names: Vec<&Text> = members.keys().copied().collect();
        let links = ring_links(members.values().copied());
        let place = |node: &Text| names.binary_search(&node).ok();
        let closed: Vec<bool> = names.iter().map(|node| *node == own || is_closed(node)).collect();
        let mut labels: Vec<Vec<usize>> = vec![Vec::new(); names.len()];
        let mut queue: VecDeque<(usize, usize)> = VecDeque::new();
        for at in linked.iter().filter_map(place) {
            labels[at].push(at);
            queue.push_back((at, at));
        }
        while let Some((at, label)) = queue.pop_front() {
            for next in links[at].iter().copied().filter(|_| !closed[at]) {
                let known = &mut labels[next];
                if known.len() < WAYS_MAX && !known.contains(&label) {
                    known.push(label);
                    queue.push_back((next, label));
                }
            }
        }
        let named = |labels: Vec<usize>| labels.into_iter().map(|at| names[at].clone()).collect();
        let of = |(at, labels): (usize, Vec<usize>)| (names[at].clone(), named(labels));
        let others = labels.into_iter().enumerate().filter(|(at, _)| names[*at] != own);
        Ways { first_hops: others.map(of).collect() }
    }

    pub fn to(&self, node: &str) -> &[Text] {
        self.first_hops.get(node).map_or(&[], Vec::as_slice)
    }
}

/// For each node, by its number, those next to it on the rings.
fn ring_links<'a>(all: impl Iterator<Item = &'a Places>) -> Vec<Vec<usize>> {
    let all: Vec<&Places> = all.collect();
    let mut links: Vec<Vec<usize>> = vec![Vec::with_capacity(2 * RINGS); all.len()];
    let mut order: Vec<usize> = (0..all.len()).collect();
    for ring in 0..RINGS {
        order.sort_unstable_by_key(|at| (place_on(all[*at], ring), *at));
        for (a, b) in order.iter().zip(order.iter().cycle().skip(1)).filter(|(a, b)| a != b) {
            links[*a].push(*b);
            links[*b].push(*a);
        }
    }
    links
}

fn place_on(places: &Places, ring: usize) -> u64 {
    places.get(ring).copied().unwrap_or(u64::MAX)
}

/// The same everywhere and for ever: versions of digests and places on rings are compared between nodes. FNV-1a.
pub fn hash(text: &str) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    text.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, fold)
}

/// Spreads a number over all its bits (the end of SplitMix64).
pub fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Up to so many nodes are linked each with each, as among reference nodes (fabric.md 4.9).
pub const MESH_MAX: usize = 20;
/// First hops that are kept for each member: one may be where a message has been, and one lost a moment ago.
const WAYS_MAX: usize = 3;
/// Ten links a node: three hops on average and five at most in a cluster of 1,000, which fabric.max_hops allows.
pub const RINGS: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn members(count: usize) -> BTreeMap<Text, Places> {
        (0..count).map(|n| Text::from(format!("ws://node-{n}:1"))).map(|n| (n.clone(), places(&n))).collect()
    }

    fn wanted(all: &BTreeMap<Text, Places>, node: &Text) -> BTreeSet<Text> {
        neighbours(&all[node], all.iter().filter(|(n, _)| *n != node))
    }

    /// Hops to the farthest node and to the average one.
    fn reach(all: &BTreeMap<Text, Places>, from: &Text) -> (usize, f64) {
        let mut far: BTreeMap<Text, usize> = [(from.clone(), 0)].into();
        let mut queue = VecDeque::from([from.clone()]);
        while let Some(node) = queue.pop_front() {
            for next in wanted(all, &node) {
                if !far.contains_key(&next) {
                    far.insert(next.clone(), far[&node] + 1);
                    queue.push_back(next);
                }
            }
        }
        assert_eq!(far.len(), all.len(), "connected");
        (far.values().copied().max().unwrap(), far.values().sum::<usize>() as f64 / all.len() as f64)
    }

    #[test]
    fn small_clusters_mesh_and_large_ones_are_near() {
        assert_eq!(wanted(&members(20), &"ws://node-3:1".into()).len(), 19);
        for (count, hops_max) in [(21, 2), (100, 4), (400, 5)] {
            let all = members(count);
            for node in all.keys() {
                let links = wanted(&all, node);
                assert!(links.len() <= 2 * RINGS && links.iter().all(|n| wanted_back(&all, n, node)));
            }
            let (farthest, average) = reach(&all, all.keys().next().unwrap());
            println!("{count} nodes: {farthest} hops at most, {average:.2} on average");
            assert!(farthest <= hops_max, "{count} nodes: {farthest} hops");
        }
    }

    fn wanted_back(all: &BTreeMap<Text, Places>, of: &Text, node: &Text) -> bool {
        wanted(all, of).contains(node)
    }

    #[test]
    fn a_node_that_comes_moves_few_links() {
        let (before, after) = (members(60), members(61));
        let moved: usize =
            before.keys().map(|n| wanted(&after, n).difference(&wanted(&before, n)).count()).sum();
        assert!(moved <= 2 * RINGS, "{moved}");
    }

    /// Where a message goes that each node hands to the first of its ways that it has not visited.
    fn walk(
        all: &BTreeMap<Text, Places>,
        from: &Text,
        to: &Text,
        dead: &BTreeSet<Text>,
    ) -> Result<usize, String> {
        let members: BTreeMap<&Text, &Places> = all.iter().collect();
        let (mut at, mut visited) = (from.clone(), vec![from.clone()]);
        while at != *to {
            let wanted: Vec<Text> = wanted(all, &at).into_iter().collect();
            let linked: Vec<Text> = wanted.iter().filter(|n| !dead.contains(*n)).cloned().collect();
            // What a node sees for itself of the dead.
            let ways = Ways::find(&at, &members, &linked, |n| wanted.contains(n) && dead.contains(n));
            let next = ways.to(to).iter().find(|n| !visited.contains(n) && linked.contains(n));
            let next = next.ok_or_else(|| format!("{from} to {to} ends at {at}"))?.clone();
            visited.push(next.clone());
            at = next;
        }
        Ok(visited.len() - 1)
    }

    #[test]
    fn messages_come_to_all_members_and_around_the_dead() {
        let all = members(100);
        let nodes: Vec<Text> = all.keys().cloned().collect();
        let dead: BTreeSet<Text> = nodes.iter().skip(3).step_by(20).cloned().collect();
        let living: Vec<&Text> = nodes.iter().filter(|n| !dead.contains(*n)).collect();
        for (from, to) in living.iter().zip(living.iter().cycle().skip(37)) {
            assert!(walk(&all, from, to, &BTreeSet::new()).unwrap() <= 4);
            assert!(walk(&all, from, to, &dead).unwrap() <= 6);
        }
    }

    #[test]
    fn ways_begin_with_a_link_and_pass_nobody_who_is_closed() {
        let all = members(200);
        let own: Text = "ws://node-0:1".into();
        let members: BTreeMap<&Text, &Places> = all.iter().collect();
        let linked: Vec<Text> = wanted(&all, &own).into_iter().collect();
        let ways = Ways::find(&own, &members, &linked, |_| false);
        for node in all.keys().filter(|n| **n != own) {
            let hops = ways.to(node);
            assert!(
                !hops.is_empty() && hops.len() <= WAYS_MAX && hops.iter().all(|hop| linked.contains(hop))
            );
            assert!(!linked.contains(node) || hops[0] == *node);
        }
        assert!(ways.to(&own).is_empty() && ways.to("nobody").is_empty());
        assert!(Ways::find(&own, &members, &[], |_| false).to(&linked[0]).is_empty());
        let ways = Ways::find(&own, &members, &linked, |n| *n != linked[0]);
        let beyond = all.keys().filter(|n| !linked.contains(n)).flat_map(|n| ways.to(n));
        assert!(beyond.clone().count() > 0 && beyond.into_iter().all(|hop| *hop == linked[0]));
    }
}
