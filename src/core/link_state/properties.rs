//! The state against models that are too slow and too simple to be wrong.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::wire::fabric::link_state::Neighbour;

const CLUSTERS: usize = 6;
const WALL: f64 = 1_700_000_000.0;

/// What every cluster tells: reliability and latency of its link to each other, if it has one. Cluster 0 is this one.
type World = Vec<Option<Vec<Option<(f64, u8)>>>>;

fn name(cluster: usize) -> Text {
    format!("c{cluster}").into()
}

fn world() -> impl Strategy<Value = World> {
    // Few latencies, so that many ways cost the same; most links are told of by both ends.
    let link = proptest::option::weighted(0.7, (prop_oneof![9 => Just(1.0), 1 => Just(0.2)], 0u8..3));
    let told = proptest::collection::vec(link, CLUSTERS);
    let silent = proptest::option::weighted(0.9, told);
    proptest::collection::vec(silent, CLUSTERS)
}

fn told(world: &World, from: usize, to: usize) -> Option<(f64, u8)> {
    world[from].as_ref().filter(|_| from != to)?[to]
}

/// The cost of a link and of entering its end.
fn counted(world: &World, from: usize, to: usize) -> Option<f64> {
    let (reliability, latency) = told(world, from, to)?;
    let silent_leaf = from == 0 && world[to].is_none();
    let both = told(world, to, from).is_some() || silent_leaf;
    (both && reliability > 0.3).then_some(f64::from(latency) + 0.1)
}

/// The cheapest way over each neighbour of this cluster, by trying all.
fn naive(world: &World, target: usize, visited: &[usize], hops: usize) -> BTreeMap<usize, f64> {
    fn walk(
        world: &World,
        target: usize,
        shut: &mut Vec<usize>,
        at: usize,
        cost: f64,
        hops: usize,
        best: &mut f64,
    ) {
        if at == target {
            *best = best.min(cost);
            return;
        }
        shut.push(at);
        for to in (0..CLUSTERS).filter(|_| hops > 0) {
            if let (false, Some(link)) = (shut.contains(&to), counted(world, at, to)) {
                walk(world, target, shut, to, cost + link, hops - 1, best);
            }
        }
        shut.pop();
    }
    let mut found = BTreeMap::new();
    for first in (1..CLUSTERS).filter(|first| hops > 0 && target != 0 && !visited.contains(first)) {
        let Some(link) = counted(world, 0, first) else { continue };
        let (mut best, mut shut) = (f64::INFINITY, visited.to_vec());
        shut.push(0);
        walk(world, target, &mut shut, first, link, hops - 1, &mut best);
        if best.is_finite() {
            found.insert(first, best);
        }
    }
    found
}

fn state(world: &World) -> LinkState {
    let settings =
        Settings { cluster_id: name(0), mode: Mode::Only, ecmp_paths: CLUSTERS, ..Settings::default() };
    let mut state = LinkState::new(settings);
    let now = Now::at(WALL, 0.0);
    for (from, links) in world.iter().enumerate() {
        let Some(links) = links else { continue };
        let links = links.iter().enumerate().filter(|(to, _)| *to != from);
        let links = links.filter_map(|(to, link)| Some((to, (*link)?)));
        if from == 0 {
            let link = |latency: u8, reliability_score| Link {
                latency_ms: latency.into(),
                reliability_score,
                ..Link::default()
            };
            state.own_updates(&links.map(|(to, (r, l))| (name(to), link(l, r))).collect(), now);
            continue;
        }
        let neighbour = |(to, (reliability_score, latency)): (usize, (f64, u8))| Neighbour {
            cluster_id: name(to),
            latency_ms: latency.into(),
            bandwidth_mbps: None,
            reliability_score,
            cost_score: 0.0,
        };
        let update = LinkStateUpdate {
            origin: name(from),
            neighbors: links.map(neighbour).collect(),
            advertised_at: WALL,
            ttl_seconds: 30.0,
            sequence: 1,
            area: None,
        };
        assert_eq!(state.heard(update, &name(from), now).result, Ok(Applied::Changed));
    }
    state
}

/// One of a few updates; its content follows from its numbers, as it does for all who tell the truth.
fn update((origin, speaker, area, sequence, age): (u8, u8, bool, u8, u8)) -> (LinkStateUpdate, Text) {
    let neighbour = |to: u8| Neighbour {
        cluster_id: format!("o{to}").into(),
        latency_ms: f64::from(sequence),
        bandwidth_mbps: None,
        reliability_score: 1.0,
        cost_score: 0.0,
    };
    let named = (0..6).filter(|to| (sequence + 3 * age + speaker) & (1 << (to % 4)) != 0);
    let update = LinkStateUpdate {
        origin: format!("o{origin}").into(),
        neighbors: named.map(neighbour).collect(),
        advertised_at: WALL - f64::from(age) * 10.0,
        ttl_seconds: 25.0 + f64::from(sequence),
        sequence: sequence.into(),
        area: area.then(|| "a".into()),
    };
    (update, format!("n{speaker}").into())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn ways_are_those_that_trying_all_would_find(
        world in world(),
        target in 0..CLUSTERS,
        visited in proptest::collection::vec(1..CLUSTERS, 0..3),
        hops in 0u32..7,
    ) {
        let mut state = state(&world);
        let names: Vec<Text> = visited.iter().map(|v| name(*v)).collect();
        let expected = naive(&world, target, &visited, hops as usize);
        let best = expected.values().copied().min_by(f64::total_cmp).unwrap_or_default();
        let cheapest: Vec<Text> =
            expected.iter().filter(|(_, c)| **c < best + 1e-6).map(|(n, _)| name(*n)).collect();
        let found = state.paths(&name(target), &names, hops);
        prop_assert_eq!(found.iter().map(|h| h.cluster.clone()).collect::<Vec<_>>(), cheapest);
        for hop in found.iter() {
            prop_assert!((hop.cost - best).abs() < 1e-6);
        }
        let explained = state.explain(&name(target), &names, hops);
        let costs: BTreeMap<Text, f64> =
            explained.candidates.iter().filter_map(|c| Some((c.cluster.clone(), c.cost?))).collect();
        prop_assert_eq!(costs.len(), expected.len());
        for (first, cost) in &expected {
            prop_assert!((costs[&name(*first)] - cost).abs() < 1e-6);
        }
        for candidate in explained.candidates.iter().filter(|c| c.cost.is_some()) {
            let places: Vec<usize> =
                candidate.path.iter().map(|n| n[1..].parse().unwrap()).collect();
            prop_assert!(places.len() as u32 <= hops + 1);
            prop_assert_eq!((places.first(), places.last()), (Some(&0), Some(&target)));
            prop_assert!(!places.iter().any(|p| visited.contains(p)));
            let cost: f64 = places.windows(2).map(|w| counted(&world, w[0], w[1]).unwrap()).sum();
            prop_assert!((cost - candidate.cost.unwrap()).abs() < 1e-6);
        }
        prop_assert!(explained.candidates.iter().all(|c| c.cost.is_some() != c.reason.is_some()));
        let anywhere = !naive(&world, target, &[], CLUSTERS).is_empty() || target == 0;
        prop_assert_eq!(state.reaches(&name(target)), anywhere && (target != 0 || state.graph().reaches("c0")));
    }

    #[test]
    fn the_order_in_which_updates_come_does_not_matter(
        said in proptest::collection::vec((0u8..3, 0u8..2, any::<bool>(), 0u8..4, 0u8..4), 1..30),
        order in proptest::collection::vec(any::<Index>(), 0..60),
        expires_at in 0.0..30.0,
    ) {
        let now = Now::at(WALL, 0.0);
        let settings = Settings { cluster_id: "me".into(), mode: Mode::Prefer, ..Settings::default() };
        let (mut straight, mut shuffled) = (LinkState::new(settings.clone()), LinkState::new(settings));
        for (update, speaker) in said.iter().copied().map(update) {
            straight.heard(update, &speaker, now);
        }
        let again = order.iter().map(|index| *index.get(&said));
        for (update, speaker) in again.chain(said.iter().rev().copied()).map(update) {
            shuffled.heard(update, &speaker, now);
        }
        for moment in [now, Now::at(WALL, expires_at)] {
            prop_assert_eq!(straight.expire(moment), shuffled.expire(moment));
            let all = |state: &LinkState| format!("{:?}", state.database.origins().collect::<Vec<_>>());
            prop_assert_eq!(all(&straight), all(&shuffled));
            let kept: Vec<_> = straight.database.origins().flat_map(|(_, records)| records.values()).collect();
            prop_assert!(kept.iter().all(|r| r.ends > moment.mono));
            prop_assert_eq!(kept.iter().map(|r| r.neighbours.len()).sum::<usize>(), straight.database.neighbours);
            for origin in ["o0", "o1", "o2"] {
                prop_assert_eq!(straight.neighbours_of(origin), shuffled.neighbours_of(origin));
            }
        }
    }
}
