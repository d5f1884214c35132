//! The links that count, and the cheapest ways over them (fabric.md 9.6).
//!
//! The search goes backwards from the target, one link further in each round, and keeps for every cluster its cheapest
//! ways by number of links: a way that is cheaper but longer replaces none that is needed where hops are few. All links
//! cost something, so no way passes a cluster twice. Clusters are taken by name; nothing is left to chance.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::cost::{NODE_COST, edge_cost};
use super::database::{Database, cheaper};
use crate::core::catalog::Text;
use crate::core::reason::Reason;
use crate::core::route::Link;

/// A neighbour of this cluster that leads to a target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NextHop {
    pub cluster: Text,
    /// Of the whole way: the costs of its links, and of each cluster that it enters.
    pub cost: f64,
    /// The whole way, this cluster first and the target last.
    pub path: Vec<Text>,
}

/// What is said of links, by whom, before it is judged.
pub(super) struct Claims<'a> {
    own: &'a Text,
    links: &'a BTreeMap<Text, Link>,
    told: BTreeMap<&'a Text, BTreeMap<&'a Text, Told>>,
    /// Some areas are not heard.
    restricted: bool,
}

struct Told {
    link: Link,
    in_area: bool,
}

#[derive(Debug)]
pub(super) struct Graph {
    /// Sorted; the clusters are known by their places here.
    names: Vec<Text>,
    own: usize,
    /// For each cluster the ends of the links from it, with what it costs to go there.
    from: Vec<Vec<(usize, f64)>>,
    /// For each cluster the beginnings of the links to it, with what it costs to come here.
    to: Vec<Vec<(usize, f64)>>,
    reached: Vec<bool>,
}

/// A way from a cluster to the target.
#[derive(Debug, Clone, Copy)]
struct Label {
    hops: u32,
    cost: f64,
    next: usize,
}

impl<'a> Claims<'a> {
    pub fn new(
        own: &'a Text,
        links: &'a BTreeMap<Text, Link>,
        database: &'a Database,
        restricted: bool,
    ) -> Claims<'a> {
        let mut told: BTreeMap<&Text, BTreeMap<&Text, Told>> = BTreeMap::new();
        for (origin, records) in database.origins() {
            let united = told.entry(origin).or_default();
            for ((area, _), record) in records {
                for (name, link) in &record.neighbours {
                    let in_area = area.is_some();
                    let told = united.entry(name).or_insert(Told { link: *link, in_area });
                    told.link = cheaper(told.link, *link);
                    told.in_area |= in_area;
                }
            }
        }
        Claims { own, links, told, restricted }
    }

    /// All links that somebody tells of, by the names of their ends, with their cost or why they do not count.
    pub fn links(&self) -> impl Iterator<Item = (&'a Text, &'a Text, Result<f64, Reason>)> {
        let own = self.links.iter().map(|(to, link)| (self.own, to, self.judge(link, self.own_counts(to))));
        let others = self.told.iter().flat_map(move |(from, links)| {
            links
                .iter()
                .map(move |(to, told)| (*from, *to, self.judge(&told.link, self.counts(from, to, told))))
        });
        own.chain(others)
    }

    fn judge(&self, link: &Link, confirmed: bool) -> Result<f64, Reason> {
        if !confirmed {
            return Err(Reason::LinkStateOneWay);
        }
        edge_cost(link).ok_or(Reason::LinkStateUnreliable)
    }

    fn own_counts(&self, to: &Text) -> bool {
        self.told.get(to).is_none_or(|back| back.contains_key(self.own))
    }

    fn counts(&self, from: &Text, to: &Text, told: &Told) -> bool {
        if to == self.own {
            return self.links.contains_key(from);
        }
        let back = self.told.get(to);
        let summary = self.restricted && told.in_area && back.is_none_or(BTreeMap::is_empty);
        summary || back.is_some_and(|back| back.contains_key(from))
    }
}

impl Graph {
    pub fn of(claims: &Claims) -> Graph {
        let counted: Vec<(&Text, &Text, f64)> =
            claims.links().filter_map(|(from, to, cost)| Some((from, to, cost.ok()?))).collect();
        let ends = counted.iter().flat_map(|(from, to, _)| [*from, *to]);
        let names: BTreeSet<&Text> = ends.chain([claims.own]).collect();
        let places: BTreeMap<&Text, usize> = names.iter().copied().zip(0..).collect();
        let mut graph = Graph {
            own: places.get(claims.own).copied().unwrap_or_default(),
            from: vec![Vec::new(); names.len()],
            to: vec![Vec::new(); names.len()],
            reached: vec![false; names.len()],
            names: names.into_iter().cloned().collect(),
        };
        for (from, to, cost) in counted {
            let (Some(&a), Some(&b)) = (places.get(from), places.get(to)) else { continue };
            graph.from[a].push((b, cost + NODE_COST));
            graph.to[b].push((a, cost + NODE_COST));
        }
        graph.spread();
        graph
    }

    pub fn reaches(&self, cluster: &str) -> bool {
        self.place(cluster).is_some_and(|place| self.reached[place])
    }

    pub fn neighbours_of(&self, cluster: &str) -> Vec<Text> {
        let links = self.place(cluster).map_or(&[][..], |place| &self.from[place]);
        let names: BTreeSet<&Text> = links.iter().map(|(to, _)| &self.names[*to]).collect();
        names.into_iter().cloned().collect()
    }

    /// Every neighbour from which a way leads on to `target`, by name, each with its cheapest.
    pub fn candidates(&self, target: &str, visited: &BTreeSet<Text>, hops_max: u32) -> Vec<NextHop> {
        let Some(goal) = self.place(target).filter(|goal| *goal != self.own) else { return Vec::new() };
        let Some(left) = hops_max.checked_sub(1) else { return Vec::new() };
        let mut closed: Vec<bool> = self.names.iter().map(|name| visited.contains(name)).collect();
        closed[self.own] = true;
        if closed[goal] {
            return Vec::new();
        }
        let ways = self.ways_to(goal, &closed, left);
        let hops = self.from[self.own].iter().filter_map(|&(place, cost)| {
            let label = ways[place].last()?;
            Some(NextHop {
                cluster: self.names[place].clone(),
                cost: cost + label.cost,
                path: self.path(&ways, place, *label),
            })
        });
        let mut hops: Vec<NextHop> = hops.collect();
        hops.sort_by(|a, b| a.cluster.cmp(&b.cluster));
        hops
    }

    /// For each cluster its ways to `goal` of at most `hops_max` links, each longer and cheaper than the one before.
    fn ways_to(&self, goal: usize, closed: &[bool], hops_max: u32) -> Vec<Vec<Label>> {
        let mut ways: Vec<Vec<Label>> = vec![Vec::new(); self.names.len()];
        ways[goal].push(Label { hops: 0, cost: 0.0, next: goal });
        let mut fresh = vec![goal];
        for hops in 1..=hops_max {
            let mut found: BTreeMap<usize, Label> = BTreeMap::new();
            for next in fresh {
                let Some(beyond) = ways[next].last().map(|label| label.cost) else { continue };
                for &(place, cost) in self.to[next].iter().filter(|(place, _)| !closed[*place]) {
                    let label = Label { hops, cost: cost + beyond, next };
                    let known = found.get(&place).or(ways[place].last());
                    if known.is_none_or(|known| label.cost < known.cost) {
                        found.insert(place, label);
                    }
                }
            }
            if found.is_empty() {
                break;
            }
            fresh = found.keys().copied().collect();
            for (place, label) in found {
                ways[place].push(label);
            }
        }
        ways
    }

    fn path(&self, ways: &[Vec<Label>], first: usize, mut label: Label) -> Vec<Text> {
        let mut path = vec![self.names[self.own].clone(), self.names[first].clone()];
        while let Some(left) = label.hops.checked_sub(1) {
            path.push(self.names[label.next].clone());
            // The way that this one was made of: exactly one link shorter.
            match ways[label.next].iter().rev().find(|next| next.hops <= left) {
                Some(next) => label = *next,
                None => break,
            }
        }
        path
    }

    fn spread(&mut self) {
        let mut open = vec![self.own];
        self.reached[self.own] = true;
        while let Some(place) = open.pop() {
            for &(next, _) in &self.from[place] {
                if !std::mem::replace(&mut self.reached[next], true) {
                    open.push(next);
                }
            }
        }
    }

    fn place(&self, cluster: &str) -> Option<usize> {
        self.names.binary_search_by(|name| (**name).cmp(cluster)).ok()
    }
}

/// Leaves the cheapest, and those that cost the same.
pub(super) fn keep_equal(hops: &mut Vec<NextHop>) {
    let Some(best) = hops.iter().map(|h| h.cost).min_by(f64::total_cmp) else { return };
    hops.retain(|h| h.cost - best <= COST_TOLERANCE * best.max(1.0));
}

/// Sums of the same numbers in another order differ by less, of this share or of this number of milliseconds.
const COST_TOLERANCE: f64 = 1e-9;
