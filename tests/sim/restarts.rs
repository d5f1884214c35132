//! A node that was down while others left knows nothing of it, and remembers what it knew: neither may bring anybody back.

use bytes::Bytes;
use mpreg::core::fabric::{Event, Gone, Restored};
use mpreg::wire::fabric::Status;
use mpreg::wire::fabric::kin::{Compact, EXTENSION, Exchange, encode};

use crate::checks::settled;
use crate::forms::{CLUSTER, Shape, url};
use crate::world::World;
use crate::{cluster, seeds};

fn knows(world: &World, n: usize, other: usize) -> bool {
    let catalog = world.fabric(n).catalog();
    catalog.node(CLUSTER, &url(other)).is_some() || catalog.functions().any(|f| f.node_id == url(other))
}

/// What a node would find in its store. Its leases run as long as they can: the clocks of the others say less.
fn kept(world: &World, n: usize) -> Restored {
    let fabric = world.fabric(n);
    let now = world.time_at(n);
    let mut entries = fabric.catalog().excerpt(|_, node| *node != *url(n));
    entries.stamp(now.wall, 3600.0);
    Restored {
        entries,
        peers: fabric.worth_remembering(now),
        tellers: fabric.tellers().collect(),
        gone: fabric.gone(now),
        ..Restored::default()
    }
}

fn restart(world: &mut World, n: usize, restored: Restored) {
    world.start(n, &[0]);
    world.tell(n, Event::Restored(Box::new(restored)));
}

/// The others buried a node while another one was down; that one knows it still, under later dates than they do.
#[test]
fn who_died_while_a_node_was_down_is_not_told_of_by_it() {
    for (seed, plain) in seeds(2).into_iter().flat_map(|seed| [(seed, false), (seed, true)]) {
        let mut world = match plain {
            false => cluster(5, seed, Shape::fast()),
            true => cluster_of_plain(5, seed),
        };
        let (down, dead) = (3, 4);
        let kept = kept(&world, down);
        world.kill(down);
        world.kill(dead);
        let gone = |w: &World| (0..down).all(|n| !knows(w, n, dead));
        let took = world.run_while(300.0, |w| !gone(w));
        assert!(took.is_some(), "it is not missed, seed {seed}, plain {plain}");
        // Nobody remembers by now that it was removed.
        world.run(if plain { 1.0 } else { 310.0 });
        restart(&mut world, down, kept);
        assert!(knows(&world, down, dead), "it is restored, seed {seed}, plain {plain}");
        let back = world.run_while(60.0, |w| gone(w));
        assert!(back.is_none(), "it is back after {back:?} s, seed {seed}, plain {plain}");
        assert!((0..down).all(|n| knows(&world, n, down)), "seed {seed}, plain {plain}");
    }
}

/// Nodes that know the protocol and not how kin speak.
fn cluster_of_plain(count: usize, seed: u64) -> World {
    let mut world = World::new(count, seed, Shape::fast());
    world.nodes.iter_mut().for_each(|node| node.plain = true);
    (0..count).for_each(|n| world.start(n, &[0]));
    let took = world.run_while(120.0, |w| (0..count).any(|n| (0..count).any(|other| !knows(w, n, other))));
    assert!(took.is_some(), "seed {seed}");
    world
}

/// Somebody who has missed a death tells of the dead node: a node that was started anew since must not believe it, as
/// it does where it has forgotten.
#[test]
fn who_was_found_dead_stays_dead_over_a_restart() {
    for (seed, remembers) in seeds(2).into_iter().flat_map(|seed| [(seed, false), (seed, true)]) {
        let mut world = cluster(5, seed, Shape::fast());
        let (late, anew, dead) = (1, 3, 4);
        let entries = world.fabric(late).catalog().excerpt(|_, n| *n == *url(dead));
        world.kill(dead);
        let took = world.run_while(60.0, |w| !settled(w) || (0..dead).any(|n| knows(w, n, dead)));
        assert!(took.is_some(), "seed {seed}");
        let mut kept = kept(&world, anew);
        let death = kept.gone.dead.iter().find(|d| d.node_id == url(dead)).unwrap();
        let states = [(url(dead), death.version)].into();
        let exchange = Exchange { states, delta: Compact(entries), ..Exchange::default() };
        let told = encode("anti_entropy", &url(late), 1, &exchange);
        if !remembers {
            kept.gone = Gone::default();
        }
        world.kill(anew);
        restart(&mut world, anew, kept);
        world.run(2.0);
        world.kill(late);
        let link = world.impostor(late, anew);
        let hello = hello(&world, late);
        world.send(link, hello);
        world.send(link, told);
        let back = world.run_while(2.0, |w| !knows(w, anew, dead));
        assert_eq!(back.is_none(), remembers, "back after {back:?} s, seed {seed}");
    }
}

fn hello(world: &World, n: usize) -> Bytes {
    let node = url(n);
    let mut status = Status::new(&node, CLUSTER, "late", world.time_at(n).wall);
    status.extensions = vec![EXTENSION.into()];
    status.encode("u")
}
