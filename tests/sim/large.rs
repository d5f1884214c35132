//! Clusters of many nodes: how soon one change is known to all, and what a quiet node says.
//!
//! `cargo test --release --test sim thousand -- --ignored --nocapture`; `MPREG_SIM_NODES=300` for fewer.

use crate::checks::{converged, meshed, settled};
use crate::forms::{Shape, function};
use crate::start_all;
use crate::world::World;

/// What was seen of one size.
struct Seen {
    /// Sent by a node at rest.
    bytes_per_second: f64,
    /// The slowest of several changes, from its making until all knew, in gossip intervals.
    change_intervals: f64,
}

fn measure(count: usize, functions_each: usize) -> Seen {
    let shape = Shape::usual();
    let mut world = World::new(count, 1, shape);
    for n in 0..count {
        world.nodes[n].functions = (0..functions_each).map(|f| function(&format!("where.{n}.{f}"))).collect();
    }
    start_all(&mut world);
    let took = world.run_while(120.0, |w| !settled(w));
    println!("{count} nodes, {} functions: settled {took:?} s after the last start", count * functions_each);
    assert!(took.is_some());
    let (messages, bytes) = sent(&world);
    println!(
        "{count} nodes: {} messages, {} bytes sent by each until then",
        messages / count as u64,
        bytes / count as u64
    );
    world.run(60.0); // links that nobody needs are gone, and the ways of news are found

    let before = sent(&world);
    world.run(QUIET_SECONDS);
    let (messages, bytes) = sent(&world);
    let rate = |sum: u64| sum as f64 / QUIET_SECONDS / count as f64;
    let bytes_per_second = rate(bytes - before.1);
    println!(
        "{count} nodes at rest: {:.2} messages/s, {bytes_per_second:.0} bytes/s sent by each",
        rate(messages - before.0)
    );

    let mut slowest = 0.0f64;
    for round in 0..6 {
        let node = round * count / 6;
        let name = format!("news.{round}");
        let mut functions = world.nodes[node].functions.clone();
        functions.push(function(&name));
        let before = sent(&world);
        world.set_functions(node, functions);
        let known = |w: &World| (0..count).all(|n| w.fabric(n).catalog().functions_named(&name).count() == 1);
        let took = world.run_while(10.0 * shape.gossip_interval_seconds, |w| !known(w));
        let took = took.unwrap_or_else(|| panic!("{name} of {node} is not known to all, {count} nodes"));
        let after = sent(&world);
        println!(
            "{count} nodes, a change: known to all after {took:.2} s; {:.2} messages, {:.0} bytes sent by each",
            (after.0 - before.0) as f64 / count as f64,
            (after.1 - before.1) as f64 / count as f64
        );
        slowest = slowest.max(took / shape.gossip_interval_seconds);
        world.run(5.0);
    }
    assert!(converged(&world) && meshed(&world));
    Seen { bytes_per_second, change_intervals: slowest }
}

/// Sizes that rise: no change takes longer than allowed, and quiet nodes say at most so much more as the logarithm grows.
fn hold(sizes: &[usize], functions_each: usize) {
    let seen: Vec<(usize, Seen)> =
        sizes.iter().map(|count| (*count, measure(*count, functions_each))).collect();
    for (count, seen) in &seen {
        assert!(
            seen.change_intervals <= CHANGE_INTERVALS_MAX,
            "{count} nodes: {} intervals",
            seen.change_intervals
        );
    }
    let (least, first) = &seen[0];
    for (count, seen) in &seen[1..] {
        let growth = seen.bytes_per_second / first.bytes_per_second;
        let allowed = (*count as f64).ln() / (*least as f64).ln();
        println!("from {least} to {count} nodes: a quiet node says {growth:.2} times as much");
        assert!(growth <= allowed, "{count} nodes say {growth:.2} times as much as {least}");
    }
}

#[test]
fn many_nodes_know_a_change_and_are_quiet() {
    hold(&[10, 40], 3);
}

#[test]
#[ignore = "minutes, with optimisation"]
fn a_thousand_nodes_know_a_change_and_are_quiet() {
    let most = std::env::var("MPREG_SIM_NODES").ok().and_then(|text| text.parse().ok()).unwrap_or(1000);
    hold(&[10, 100, most], 10);
}

fn sent(world: &World) -> (u64, u64) {
    world.nodes.iter().fold((0, 0), |(m, b), n| (m + n.sent_messages, b + n.sent_bytes))
}

const QUIET_SECONDS: f64 = 100.0;
/// Six were asked for; it is far fewer.
const CHANGE_INTERVALS_MAX: f64 = 3.0;
