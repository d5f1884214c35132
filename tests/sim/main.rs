//! Clusters of many nodes in one process: virtual time, a network that misbehaves, one seed.
//!
//! Each scenario runs real fabrics of the core through something that happens to clusters and says what must hold.
//! What is measured on the way is printed (`--nocapture`). More seeds: `MPREG_SIM_SEEDS=1,2,3` or `MPREG_SIM_SEEDS=20`
//! for the first twenty; more nodes: `MPREG_SIM_NODES=300`.

// Forbidden in the core only; here the environment says how much is to be run.
#![allow(clippy::disallowed_methods)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod checks;
mod forms;
mod network;
mod plan;
mod world;

mod clusters;
mod failures;
mod joining;
mod kin;
mod large;
mod messages;
mod restarts;

use forms::Shape;
use world::World;

/// The seeds of a scenario: `usual` many, or what the environment says.
fn seeds(usual: u64) -> Vec<u64> {
    match std::env::var("MPREG_SIM_SEEDS") {
        Ok(text) if text.contains(',') => text.split(',').filter_map(|s| s.trim().parse().ok()).collect(),
        Ok(text) => (1..=text.trim().parse().unwrap_or(usual)).collect(),
        Err(_) => (1..=usual).collect(),
    }
}

/// Runs a scenario for each seed, on all processors. All are run, and those that fail are named at the end, each after
/// what it had to say.
fn for_each_seed<T: Send>(seeds: &[u64], scenario: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.push((*seed, catch_unwind(AssertUnwindSafe(|| scenario(*seed))).ok()));
        }
        done
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let done: Vec<(u64, Option<T>)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..processors).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|w| w.join().unwrap_or_else(|p| std::panic::resume_unwind(p))).collect()
    });
    let failed: Vec<u64> = done.iter().filter(|(_, seen)| seen.is_none()).map(|(seed, _)| *seed).collect();
    assert!(failed.is_empty(), "these seeds fail: {failed:?}");
    done.into_iter().filter_map(|(_, seen)| seen).collect()
}

/// `count` nodes that were told of the first one only, all started within a second, and settled.
fn cluster(count: usize, seed: u64, shape: Shape) -> World {
    let mut world = World::new(count, seed, shape);
    start_all(&mut world);
    let took = world.run_while(120.0, |w| !checks::settled(w));
    assert!(took.is_some(), "{count} nodes do not settle, seed {seed}");
    world
}

fn start_all(world: &mut World) {
    for n in 0..world.nodes.len() {
        world.start(n, if n == 0 { &[] } else { &[0] });
        world.run(0.5 / world.nodes.len() as f64);
    }
}
