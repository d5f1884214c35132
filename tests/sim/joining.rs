//! Nodes that find each other, and news that go round; what it costs.

use mpreg::core::catalog::Leased;

use crate::checks::{converged, settled};
use crate::forms::{Shape, function, url};
use crate::network::Conditions;
use crate::world::World;
use crate::{cluster, seeds, start_all};

#[test]
fn the_same_seed_makes_the_same_run() {
    let run = |seed| {
        let conditions = Conditions { loss: 0.05, duplicates: 0.05, ..Conditions::default() };
        let mut world = World::new(5, seed, Shape::fast()).with(conditions);
        start_all(&mut world);
        world.run(20.0);
        world.kill(3);
        world.run(10.0);
        world.log_hash
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

/// Joins, one news, one loss of news and idleness, measured at one size.
fn life_of_a_cluster(count: usize, seed: u64, idle_seconds: f64) {
    let shape = Shape::usual();
    let interval = shape.gossip_interval_seconds;
    let mut world = World::new(count, seed, shape);
    start_all(&mut world);
    let known = world.run_while(60.0, |w| !converged(w));
    let known = known.unwrap_or_else(|| panic!("not everybody knows everything, seed {seed}"));
    let whole = world.run_while(120.0, |w| !settled(w));
    let whole = known + whole.unwrap_or_else(|| panic!("not everybody is linked, seed {seed}"));
    let sent: u64 = world.nodes.iter().map(|n| n.sent_bytes).sum();
    println!(
        "{count} nodes, seed {seed}: all known {:.2} intervals after the last start, all linked after {:.2}, {:.0} \
         KB sent per node",
        known / interval,
        whole / interval,
        sent as f64 / 1e3 / count as f64
    );
    assert!(known <= 3.0 * interval, "{known} s");

    let changed = count / 2;
    let mut more = world.nodes[changed].functions.clone();
    more.push(function("news"));
    world.set_functions(changed, more);
    let added = world.run_while(10.0 * interval, |w| !converged(w)).unwrap_or(f64::INFINITY);
    let fewer = world.nodes[changed].functions[..1].to_vec();
    world.set_functions(changed, fewer);
    let removed = world.run_while(10.0 * interval, |w| !converged(w)).unwrap_or(f64::INFINITY);
    println!("    news: {added:.2} s, removal: {removed:.2} s = {:.3} intervals", removed / interval);
    assert!(added <= interval && removed <= interval);

    let (messages, bytes) = traffic(&world);
    world.run(idle_seconds);
    let (messages, bytes) = {
        let after = traffic(&world);
        let rate = |after: u64, before: u64| (after - before) as f64 / idle_seconds / count as f64;
        (rate(after.0, messages), rate(after.1, bytes))
    };
    println!("    idle: {messages:.1} messages/s and {bytes:.0} bytes/s sent per node");
    let ends = world.fabric(0).catalog().node("c1", &url(1)).map(|e| e.ends_at());
    assert!(ends.is_some_and(|e| e > world.time_at(0).wall));
    // STATUS and answer on both links of each pair, news of each node by its holder, and a margin of a half.
    let links = 2.0 * (count - 1) as f64;
    assert!(messages <= links * 1.5 * (2.0 / interval + 1.0 / 8.0), "{messages} messages/s per node at rest");
}

fn traffic(world: &World) -> (u64, u64) {
    let sum = |of: fn(&crate::world::Node) -> u64| world.nodes.iter().map(of).sum();
    (sum(|n| n.sent_messages), sum(|n| n.sent_bytes))
}

#[test]
fn ten_nodes() {
    for seed in seeds(1) {
        life_of_a_cluster(10, seed, 100.0);
    }
}

#[test]
fn thirty_nodes() {
    for seed in seeds(1) {
        life_of_a_cluster(30, seed, 20.0);
    }
}

#[test]
fn clusters_of_all_sizes_settle() {
    for seed in seeds(1) {
        for count in [1, 2, 3, 5, 19, 21] {
            cluster(count, seed, Shape::fast());
        }
    }
}

/// MPREG_SIM_NODES=100 takes a minute in a debug build.
#[test]
fn as_many_nodes_as_asked_for() {
    let asked = std::env::var("MPREG_SIM_NODES").ok().and_then(|text| text.parse().ok());
    for seed in seeds(1) {
        life_of_a_cluster(asked.unwrap_or(20), seed, 20.0);
    }
}
