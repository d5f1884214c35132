//! Calls and publications over a network that misbehaves, and a peer that lies.
//!
//! That nothing is delivered, run or answered twice, and that each call has an end, is checked at every step of every
//! world (`checks::always`).

use std::time::Duration;

use mpreg::core::error::TIMED_OUT;
use mpreg::core::fabric::explain::{About, Question, Sought};
use mpreg::core::fabric::{Call, Event};
use mpreg::core::membership::LinkId;
use mpreg::core::reason::Reason;
use mpreg::wire::fabric::{Goodbye, GoodbyeReason, Status};

use crate::checks::{functions, settled};
use crate::forms::{CLUSTER, Shape, function, raw, url};
use crate::network::{Conditions, SECOND, unit};
use crate::world::{Asked, World};
use crate::{cluster, seeds};

pub fn call(world: &mut World, n: usize, id: &str, command: &str, target: usize, seconds: u64) {
    let deadline = world.time_at(n).mono + Duration::from_secs(seconds);
    let asked = Asked {
        node: n,
        life: world.nodes[n].life,
        deadline: world.now + seconds * SECOND,
        answers: Vec::new(),
        executions: 0,
    };
    world.calls.insert(id.to_owned(), asked);
    let call = Call {
        request_id: id.into(),
        command: command.into(),
        function_id: None,
        version_constraint: None,
        resources: Vec::new(),
        cluster: world.nodes[target].cluster.clone(),
        node: url(target),
        args: raw("[]"),
        kwargs: raw("{}"),
        deadline,
        patience: Duration::from_millis(100),
    };
    world.tell(n, Event::Call(Box::new(call)));
}

/// Calls as [`call`] does, and sees that what `explain` says is what is done, at each node on the way.
pub fn explained_call(world: &mut World, n: usize, id: &str, command: &str, target: usize, seconds: u64) {
    let sought = Sought { fun: command.into(), ..Sought::default() };
    let question = Question { nodes_max: 64, ..Question::new(About::Call(sought)) };
    world.as_said(n, id, question, |world| call(world, n, id, command, target, seconds));
}

pub fn publish(world: &mut World, n: usize, id: &str) {
    let message = format!(
        r#"{{"topic":"news.x","payload":1,"timestamp":1.0,"message_id":"{id}","publisher":"p","headers":{{}}}}"#
    );
    let message = message.into_bytes().into();
    world.tell(n, Event::Publish { topic: "news.x".into(), message_id: id.into(), timestamp: 1.0, message });
}

/// A cluster whose nodes offer what answers, takes time, fails and hangs.
fn callable(count: usize, seed: u64, conditions: Conditions) -> World {
    let mut world = World::new(count, seed, Shape::fast()).with(conditions);
    for n in 0..count {
        world.nodes[n].functions =
            ["where", "slow", "fail", "hang"].map(|f| function(&format!("{f}.{n}"))).into();
    }
    crate::start_all(&mut world);
    assert!(world.run_while(60.0, |w| !settled(w)).is_some(), "seed {seed}");
    world
}

#[test]
fn each_call_has_one_end_while_nodes_and_links_die() {
    for seed in seeds(3) {
        let conditions = Conditions { loss: 0.02, duplicates: 0.1, ..Conditions::default() };
        let mut world = callable(5, seed, conditions);
        for round in 0..150 {
            let pick = |w: &mut World, below: f64| (unit(&mut w.chance) * below) as usize;
            let (a, b, what) = (pick(&mut world, 4.0), pick(&mut world, 5.0), pick(&mut world, 4.0));
            if a != b {
                let command = format!("{}.{b}", ["where", "slow", "fail", "hang"][what]);
                call(&mut world, a, &format!("call-{round}"), &command, b, 8);
            }
            match round {
                40 => world.kill(4),
                70 => world.start(4, &[0]),
                90 => world.stop(4),
                110 => world.start(4, &[0]),
                n if n % 13 == 0 => world.break_links(a, b),
                _ => {}
            }
            let pause = 0.3 * unit(&mut world.chance);
            world.run(pause);
        }
        world.run(9.0);
        let ends: Vec<_> = world.calls.values().filter_map(|c| c.answers.first()).collect();
        let good = ends.iter().filter(|(_, outcome)| outcome.is_ok()).count();
        let lost = ends.iter().filter(|(_, o)| o.as_ref().is_err_and(|e| e.reason == Some(Reason::LinkLost)));
        let late = ends.iter().filter(|(_, o)| o.as_ref().is_err_and(|e| e.code == TIMED_OUT)).count();
        println!(
            "calls: {} with one end each, {good} answered, {} lost with a link, {late} out of time, seed {seed}",
            ends.len(),
            lost.count()
        );
        assert_eq!(ends.len(), world.calls.len(), "seed {seed}");
        assert!(good > 0, "seed {seed}");
    }
}

#[test]
fn calls_in_flight_to_a_killed_node_fail_at_once() {
    for seed in seeds(2) {
        let mut world = callable(4, seed, Conditions::default());
        for n in [0, 1, 3] {
            call(&mut world, n, &format!("in-flight-{n}"), "hang.2", 2, 30);
        }
        world.run(0.5);
        assert!(world.calls.values().all(|c| c.answers.is_empty()), "seed {seed}");
        world.kill(2);
        world.run(0.02);
        for (id, asked) in &world.calls {
            let reason = asked.answers.first().and_then(|(_, o)| o.as_ref().err()?.reason);
            assert_eq!(reason, Some(Reason::LinkLost), "{id}, seed {seed}");
        }
    }
}

#[test]
fn publications_come_once_while_links_are_up_and_never_twice() {
    for seed in seeds(2) {
        let conditions =
            Conditions { loss: 0.05, duplicates: 0.2, jitter_seconds: 0.02, ..Conditions::default() };
        let mut world = World::new(8, seed, Shape::fast()).with(conditions);
        for n in 2..8 {
            world.subscribe(n, "news.#");
        }
        crate::start_all(&mut world);
        assert!(world.run_while(60.0, |w| !settled(w)).is_some(), "seed {seed}");
        world.run(2.0);
        for m in 0..40 {
            publish(&mut world, m % 8, &format!("up-{m}"));
            world.run(0.05);
        }
        world.run(2.0);
        // A node does not deliver what it published itself: its own subscribers are served before the fabric.
        let expected: usize = (0..40).map(|m| if m % 8 < 2 { 6 } else { 5 }).sum();
        // What a node without subscribers passes on goes past it as well.
        let delivered = |w: &World| w.deliveries.keys().filter(|(_, n, _)| *n >= 2).count();
        assert_eq!(delivered(&world), expected, "seed {seed}");
        for m in 0..40 {
            world.break_links(m % 8, (m * 3 + 1) % 8);
            publish(&mut world, (m * 5) % 8, &format!("down-{m}"));
            world.run(0.1);
        }
        println!(
            "publications: {} of {} delivered while links flapped, seed {seed}",
            delivered(&world) - expected,
            (0..40).map(|m| if (m * 5) % 8 < 2 { 6 } else { 5 }).sum::<usize>()
        );
    }
}

/// So many that most have no link with each other: a call finds its way within the hop budget, also around nodes that
/// have just died, and a publication comes to all subscribers once (`checks::always` looks for a second time). A hundred
/// with optimisation, half of them without.
#[test]
fn a_hundred_nodes_reach_each_other() {
    let count = if cfg!(debug_assertions) { 50 } else { 100 };
    let mut world = World::new(count, 1, Shape::usual()).with(Conditions {
        loss: 0.01,
        jitter_seconds: 0.01,
        ..Conditions::default()
    });
    (0..count).for_each(|n| world.subscribe(n, "news.#"));
    crate::start_all(&mut world);
    assert!(world.run_while(60.0, |w| !settled(w)).is_some());
    // While links that nobody needs are still being closed, and when they are gone.
    each_calls_each(&mut world, "joined");
    world.run(60.0);
    each_calls_each(&mut world, "settled");
    for n in 0..count {
        publish(&mut world, n, &format!("of-{n}"));
        world.run(0.05);
    }
    world.run(5.0);
    assert_eq!(world.deliveries.len(), count * (count - 1));
    for n in [7, 19, 31] {
        world.kill(n);
    }
    // So long it takes until those who were linked with them know.
    world.run(0.5);
    each_calls_each(&mut world, "three-died");
}

fn each_calls_each(world: &mut World, round: &str) {
    let running = world.running();
    for step in 1..running.len() {
        for (at, n) in running.iter().enumerate() {
            let target = running[(at + step) % running.len()];
            call(world, *n, &format!("{round}-{n}-{target}"), &format!("where.{target}"), target, 8);
        }
        world.run(0.2);
    }
    world.run(8.0);
    let bad: Vec<_> =
        world.calls.iter().filter(|(_, c)| !c.answers.first().is_some_and(|(_, o)| o.is_ok())).collect();
    let (bad_count, all) = (bad.len(), world.calls.len());
    println!("{} nodes, {round}: {bad_count} of {all} calls have failed", running.len());
    assert!(bad.is_empty(), "{:?}", bad.iter().take(3).collect::<Vec<_>>());
    world.calls.clear();
}

fn status(n: usize, cluster: &str) -> bytes::Bytes {
    Status::new(&url(n), cluster, "liar", crate::forms::WALL).encode("u1")
}

fn gossip(sender: usize, id: &str, payload: &str) -> bytes::Bytes {
    let (sender, wall) = (url(sender), crate::forms::WALL);
    format!(
        r#"{{"role":"fabric-gossip","payload":{{"message_id":"{id}","message_type":"catalog_update",
        "sender_id":"{sender}","payload":{payload},"vector_clock":{{}},"sequence_number":1,"ttl":9,"hop_count":1,
        "max_hops":5,"created_at":{wall},"expires_at":{},"propagation_path":["{sender}"],"seen_by":[]}}}}"#,
        wall + 300.0
    )
    .into_bytes()
    .into()
}

/// A removal of everything that a node offers.
fn removal(n: usize) -> String {
    format!(
        r#"{{"update_id":"u","cluster_id":"{CLUSTER}","sent_at":{},"node_removals":[{{"cluster_id":"{CLUSTER}",
        "node_id":"{}"}}],"function_removals":[{{"identity":{{"name":"where.{n}","function_id":"where.{n}",
        "version":"1.0.0"}},"cluster_id":"{CLUSTER}","node_id":"{}","resources":[]}}]}}"#,
        crate::forms::WALL + 200.0,
        url(n),
        url(n)
    )
}

#[test]
fn a_peer_that_speaks_for_others_changes_nothing() {
    for seed in seeds(2) {
        let mut world = World::new(5, seed, Shape::fast());
        for n in 0..4 {
            world.start(n, if n == 0 { &[] } else { &[0] });
        }
        assert!(world.run_while(30.0, |w| !settled(w)).is_some(), "seed {seed}");
        let before: Vec<_> = (0..4).map(|n| functions(&world, n)).collect();
        let say = |world: &mut World, link: LinkId, bytes: bytes::Bytes| {
            world.send(link, bytes);
            world.run(0.1);
        };
        // Before it has said who it is, and as a node of another cluster.
        let stranger = world.impostor(4, 1);
        say(&mut world, stranger, gossip(4, "g0", &removal(2)));
        say(&mut world, stranger, status(4, "elsewhere"));
        say(&mut world, stranger, gossip(4, "g1", &removal(2)));
        // As itself, for others.
        let link = world.impostor(4, 1);
        say(&mut world, link, status(4, CLUSTER));
        assert!(world.fabric(1).membership().link_to(&url(4)).is_some(), "seed {seed}");
        say(&mut world, link, gossip(2, "g2", &removal(2)));
        say(&mut world, link, gossip(4, "g3", &removal(1)));
        say(&mut world, link, status(2, CLUSTER));
        let link = world.impostor(4, 1);
        say(&mut world, link, status(4, CLUSTER));
        let reason = GoodbyeReason::GracefulShutdown;
        let goodbye = Goodbye::new(&url(2), CLUSTER, reason, "", crate::forms::WALL).encode("u2");
        say(&mut world, link, goodbye);
        say(&mut world, link, b"{\"role\":\"fabric-gossip\"".as_slice().into());
        world.run(1.0);
        for (n, known) in before.iter().enumerate() {
            assert_eq!(functions(&world, n), *known, "{n} believes a liar, seed {seed}");
            assert_eq!(world.fabric(n).catalog().nodes().count(), 4, "{n}, seed {seed}");
        }
        let refused = &world.nodes[1].refused;
        for reason in [Reason::NotEntitled, Reason::ClusterRefused] {
            assert!(refused.contains_key(&reason), "{refused:?}, seed {seed}");
        }
        assert!(!world.heard_by_impostor.is_empty(), "seed {seed}");
    }
}

/// To a node whose clock is far behind, everybody else speaks from the future: it believes nobody, with a reason; nobody
/// else suffers, and its own life before, which looks younger, does not come back.
#[test]
fn a_clock_that_is_far_behind_hurts_its_own_node_only() {
    for seed in seeds(1) {
        let mut world = cluster(4, seed, Shape::usual());
        world.stop(3);
        world.nodes[3].skew_seconds = -6000.0;
        world.start(3, &[0]);
        world.run(200.0);
        for n in 0..3 {
            assert_eq!(functions(&world, n).len(), 3, "{n}, seed {seed}");
        }
        assert!(world.nodes[3].refused.contains_key(&Reason::ClockSkew), "no reason, seed {seed}");
        world.stop(3);
        world.nodes[3].skew_seconds = 0.0;
        world.start(3, &[0]);
        assert!(world.run_while(10.0, |w| !settled(w)).is_some(), "no way back, seed {seed}");
    }
}
