//! What goes wrong with nodes and networks, and that a cluster is whole again afterwards.

use std::collections::BTreeSet;

use crate::checks::{converged, meshed, settled};
use crate::forms::{CLUSTER, Shape, url};
use crate::network::{Conditions, unit};
use crate::world::World;
use crate::{cluster, seeds, start_all};

/// The lease of an entry, and the time that an own entry may be old when its holder dies.
const LEASE: f64 = 24.0;
/// A silent end is noticed after this long (node::connection).
const SILENCE: f64 = 41.0;
/// Slower than this no address is dialled, jitter included, plus the time-out of one attempt.
const BACKOFF: f64 = 12.0 * 1.25 + 10.0;

fn knows(world: &World, n: usize, other: usize) -> bool {
    let catalog = world.fabric(n).catalog();
    catalog.node(CLUSTER, &url(other)).is_some() || catalog.functions().any(|f| f.node_id == url(other))
}

fn linked(world: &World, n: usize, other: usize) -> bool {
    world.fabric(n).membership().link_to(&url(other)).is_some()
}

#[test]
fn a_killed_node_is_dropped_within_its_lease_and_marked_at_once() {
    for seed in seeds(2) {
        let mut world = cluster(8, seed, Shape::fast());
        let victim = 1 + (seed as usize) % 7;
        world.kill(victim);
        world.run(0.1);
        for n in world.running() {
            assert!(!linked(&world, n, victim), "{n} holds a link to the dead, seed {seed}");
            let states = world.fabric(n).membership().states(world.time_at(n));
            let state = states.iter().find(|s| s.node_id == url(victim));
            assert!(state.is_some_and(|s| !s.connected && &*s.status == "disconnected"), "seed {seed}");
        }
        let took = world.run_while(LEASE + 1.0, |w| w.running().iter().any(|n| knows(w, *n, victim)));
        println!("killed: dropped after {took:?} s of a lease of {LEASE} s, seed {seed}");
        assert!(took.is_some() && settled(&world), "seed {seed}");
        world.start(victim, &[0]);
        assert!(world.run_while(BACKOFF, |w| !settled(w)).is_some(), "no way back, seed {seed}");
    }
}

#[test]
fn a_machine_that_goes_dark_is_noticed_by_silence() {
    for seed in seeds(2) {
        let mut world = cluster(6, seed, Shape::fast());
        world.power_off(2);
        let took = world.run_while(SILENCE, |w| w.running().iter().any(|n| linked(w, *n, 2)));
        assert!(took.is_some(), "links to a dark machine stay, seed {seed}");
        world.run(LEASE);
        assert!(settled(&world), "seed {seed}");
        world.start(2, &[0]);
        assert!(world.run_while(BACKOFF, |w| !settled(w)).is_some(), "no way back, seed {seed}");
    }
}

#[test]
fn an_orderly_stop_is_known_at_once() {
    for seed in seeds(2) {
        let mut world = cluster(8, seed, Shape::fast());
        world.stop(3);
        world.run(0.2);
        assert!(settled(&world), "seed {seed}");
        world.start(3, &[0]);
        assert!(world.run_while(3.0, |w| !settled(w)).is_some(), "no way back, seed {seed}");
    }
}

#[test]
fn two_halves_find_each_other_again() {
    for seed in seeds(2) {
        let mut world = cluster(10, seed, Shape::fast());
        let (left, right): (Vec<usize>, Vec<usize>) = ((0..5).collect(), (5..10).collect());
        world.cut(&left, &right);
        world.cut(&right, &left);
        world.run(SILENCE + LEASE + 5.0);
        for n in 0..10 {
            let other_half = if n < 5 { &right } else { &left };
            assert!(other_half.iter().all(|o| !knows(&world, n, *o)), "{n} keeps the lost, seed {seed}");
        }
        world.heal();
        let took = world.run_while(BACKOFF, |w| !settled(w));
        println!("halves: whole again {took:?} s after the heal, seed {seed}");
        assert!(took.is_some(), "the halves stay apart, seed {seed}");
    }
}

#[test]
fn a_one_way_partition_ends_the_links_and_heals() {
    for seed in seeds(2) {
        let mut world = cluster(6, seed, Shape::usual());
        world.cut(&[4], &[0, 1, 2]);
        world.run(SILENCE + 1.0);
        for n in [0, 1, 2] {
            assert!(!linked(&world, n, 4), "{n} holds a link that carries nothing, seed {seed}");
            assert!(knows(&world, n, 4), "{n} is not told of 4 by those who hear it, seed {seed}");
        }
        world.heal();
        assert!(world.run_while(5.0 * BACKOFF, |w| !settled(w)).is_some(), "seed {seed}");
    }
}

#[test]
fn a_stuck_process_holds_up_nobody() {
    for seed in seeds(2) {
        let mut world = cluster(6, seed, Shape::fast());
        world.stick(5, true);
        world.run(2.0);
        let mut more = world.nodes[1].functions.clone();
        more.push(crate::forms::function("news"));
        world.set_functions(1, more);
        world.run(0.2);
        for n in 0..5 {
            assert_eq!(world.fabric(n).catalog().functions_named("news").count(), 1, "{n}, seed {seed}");
        }
        world.run(SILENCE + LEASE);
        assert!((0..5).all(|n| !linked(&world, n, 5) && !knows(&world, n, 5)), "seed {seed}");
        world.stick(5, false);
        assert!(world.run_while(BACKOFF + LEASE, |w| !settled(w)).is_some(), "no way back, seed {seed}");
        println!("stuck: at most {} bytes waited in one pipe, seed {seed}", world.network.waiting_bytes_max);
    }
}

#[test]
fn all_nodes_start_anew() {
    for seed in seeds(2) {
        let mut world = cluster(10, seed, Shape::fast());
        for n in 0..10 {
            world.kill(n);
        }
        world.run(5.0);
        start_all(&mut world);
        let took = world.run_while(BACKOFF, |w| !settled(w));
        println!("total restart: settled after {took:?} s, seed {seed}");
        assert!(took.is_some(), "seed {seed}");
    }
}

/// The seed node comes last, so that nobody finds anybody before.
#[test]
fn nodes_wait_for_their_seed() {
    for seed in seeds(2) {
        let mut world = World::new(6, seed, Shape::fast());
        for n in 1..6 {
            world.start(n, &[0]);
        }
        world.run(60.0);
        world.start(0, &[]);
        let took = world.run_while(BACKOFF, |w| !settled(w));
        assert!(took.is_some(), "seed {seed}");
    }
}

#[test]
fn links_that_flap_come_back_and_lose_nothing() {
    for seed in seeds(2) {
        let conditions = Conditions { loss: 0.05, jitter_seconds: 0.05, ..Conditions::default() };
        let mut world = World::new(6, seed, Shape::fast()).with(conditions);
        start_all(&mut world);
        for round in 0..60 {
            let pick = |w: &mut World| (unit(&mut w.chance) * 6.0) as usize;
            let (a, b) = (pick(&mut world), pick(&mut world));
            if a != b {
                world.break_links(a, b);
            }
            if round % 10 == 0 {
                let functions = vec![
                    crate::forms::function(&format!("where.{a}")),
                    crate::forms::function(&format!("round.{round}")),
                ];
                world.set_functions(a, functions);
            }
            world.run(0.5);
        }
        assert!(world.run_while(BACKOFF, |w| !meshed(w)).is_some(), "a link stays down, seed {seed}");
        // A removal that was lost with its link is made good by the lease.
        let took = world.run_while(LEASE + 1.0, |w| !converged(w));
        println!("flapping: catalogs equal {took:?} s after the last break, seed {seed}");
        assert!(took.is_some(), "catalogs differ, seed {seed}");
    }
}

/// Clocks of machines may differ by a lease less the age of an entry before it is refreshed: 120 - 40 seconds.
#[test]
fn clocks_that_differ_do_not_divide() {
    for seed in seeds(2) {
        let mut world = World::new(6, seed, Shape::usual());
        let skews = [0.0, -35.0, 40.0, -20.0, 35.0, 10.0];
        for (n, skew) in skews.into_iter().enumerate() {
            world.nodes[n].skew_seconds = skew;
        }
        start_all(&mut world);
        assert!(world.run_while(10.0, |w| !settled(w)).is_some(), "seed {seed}");
        for _ in 0..30 {
            world.run(10.0);
            assert!(settled(&world), "a clock divides the cluster at {} s, seed {seed}", world.seconds());
        }
        world.stop(1);
        world.stop(4);
        world.run(1.0);
        let left: BTreeSet<usize> = world.running().into_iter().filter(|n| knows(&world, *n, 4)).collect();
        assert!(converged(&world), "goodbye is not heard by {left:?}, seed {seed}");
        world.start(1, &[0]);
        world.start(4, &[0]);
        assert!(world.run_while(10.0, |w| !settled(w)).is_some(), "no way back, seed {seed}");
    }
}

/// Everything at once, then quiet.
#[test]
fn chaos_ends_in_order() {
    for seed in seeds(3) {
        let conditions =
            Conditions { loss: 0.02, duplicates: 0.02, jitter_seconds: 0.03, ..Conditions::default() };
        let mut world = World::new(7, seed, Shape::fast()).with(conditions);
        start_all(&mut world);
        for _ in 0..40 {
            let pick = |w: &mut World, below: f64| (unit(&mut w.chance) * below) as usize;
            let (what, a, b) = (pick(&mut world, 9.0), pick(&mut world, 7.0), pick(&mut world, 7.0));
            let runs = world.nodes[a].fabric.is_some();
            match what {
                0 if runs => world.kill(a),
                1 if runs => world.stop(a),
                2 if runs => world.power_off(a),
                0..=3 if !runs => world.start(a, if a == 0 { &[] } else { &[0] }),
                4 if a != b => world.cut(&[a], &[b]),
                5 => world.heal(),
                6 if runs && !world.nodes[a].stuck => world.stick(a, true),
                7 if world.nodes[a].stuck => world.stick(a, false),
                8 if a != b => world.break_links(a, b),
                _ => {}
            }
            let pause = 4.0 * unit(&mut world.chance);
            world.run(pause);
        }
        world.heal();
        for n in 0..7 {
            if world.nodes[n].fabric.is_none() {
                world.start(n, if n == 0 { &[1, 2] } else { &[0] });
            } else if world.nodes[n].stuck {
                world.stick(n, false);
            }
        }
        let took = world.run_while(SILENCE + LEASE + BACKOFF, |w| !settled(w));
        println!("chaos: settled after {took:?} s, seed {seed}");
        assert!(took.is_some(), "no order after chaos, seed {seed}");
        world.run(30.0);
        assert!(settled(&world), "order does not last, seed {seed}");
    }
}
