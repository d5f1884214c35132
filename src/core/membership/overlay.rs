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

/// For every member the neighbour that a shortest way to it begins with; only ways that begin with one of `linked`.
pub fn first_hops(members: &BTreeMap<Text, Places>, linked: &BTreeSet<Text>) -> BTreeMap<Text, Text> {
    let mut links: BTreeMap<&Text, Vec<&Text>> = BTreeMap::new();
    for ring in 0..RINGS {
        let mut order: Vec<(u64, &Text)> =
            members.iter().filter_map(|(node, places)| Some((*places.get(ring)?, node))).collect();
        order.sort_unstable();
        let nexts = order.iter().cycle().skip(1);
        for ((_, a), (_, b)) in order.iter().zip(nexts) {
            links.entry(a).or_default().push(b);
            links.entry(b).or_default().push(a);
        }
    }
    let mut hops: BTreeMap<Text, Text> = linked.iter().map(|n| (n.clone(), n.clone())).collect();
    let mut queue: VecDeque<Text> = linked.iter().cloned().collect();
    while let Some(node) = queue.pop_front() {
        let Some(first) = hops.get(&node).cloned() else { continue };
        for next in links.get(&node).into_iter().flatten() {
            if !hops.contains_key(*next) {
                hops.insert((*next).clone(), first.clone());
                queue.push_back((*next).clone());
            }
        }
    }
    hops
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

    #[test]
    fn every_member_has_a_first_hop() {
        let mut all = members(200);
        let own: Text = "ws://node-0:1".into();
        let linked = wanted(&all, &own);
        all.remove(&own);
        let hops = first_hops(&all, &linked);
        assert_eq!(hops.len(), 199);
        assert!(hops.values().all(|hop| linked.contains(hop)));
        assert!(first_hops(&all, &BTreeSet::new()).is_empty());
    }
}
