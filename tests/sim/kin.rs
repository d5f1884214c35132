//! Nodes of this program among themselves, and among nodes that know the protocol only.

use mpreg::core::catalog::Leased;
use mpreg::core::fabric::{Event, Restored, Revision};

use crate::checks::{converged, digests_agree, functions, settled};
use crate::forms::{CLUSTER, Shape, function, settings, url};
use crate::network::{Conditions, unit};
use crate::world::World;
use crate::{cluster, seeds, start_all};

fn knows(world: &World, n: usize, other: usize) -> bool {
    let catalog = world.fabric(n).catalog();
    let holds = || catalog.functions_named(&format!("where.{other}")).next().is_some();
    catalog.node(CLUSTER, &url(other)).is_some() || holds()
}

fn sent(world: &World) -> (u64, u64) {
    let sum = |of: fn(&crate::world::Node) -> u64| world.nodes.iter().map(of).sum();
    (sum(|n| n.sent_messages), sum(|n| n.sent_bytes))
}

/// What a quiet cluster costs, and one change in it, at sizes that differ by ten: the same for each node.
#[test]
fn quiet_costs_the_same_at_any_size_and_a_change_its_own_size() {
    let shape = Shape::usual();
    let mut idle = Vec::new();
    for count in [10, 100] {
        let mut world = cluster(count, 1, shape);
        world.run(60.0); // links that nobody needs are gone, and the ways of news are found
        let before = sent(&world);
        world.run(100.0);
        let after = sent(&world);
        let rate = |after: u64, before: u64| (after - before) as f64 / 100.0 / count as f64;
        let (messages, bytes) = (rate(after.0, before.0), rate(after.1, before.1));
        println!("{count} nodes at rest: {messages:.2} messages/s, {bytes:.0} bytes/s sent per node");
        idle.push(bytes);

        let mut costs = Vec::new();
        for round in 0..12 {
            let n = round % 10;
            let more = vec![function(&format!("where.{n}")), function(&format!("news.{round}"))];
            let before = sent(&world);
            world.set_functions(n, more);
            let took = world.run_while(shape.gossip_interval_seconds, |w| !converged(w));
            let after = sent(&world);
            costs.push((after.0 - before.0) as f64 / count as f64);
            assert!(took.is_some(), "news {round} is not known within one interval, {count} nodes");
            world.run(1.0);
        }
        println!("{count} nodes: messages per node for twelve changes in turn: {costs:.2?}");
        // A copy for each node and, from time to time, a probe or a second way that is given up.
        let later: f64 = costs[6..].iter().sum::<f64>() / 6.0;
        assert!(later <= 3.0, "{costs:?}");
        let links = (0..count).map(|n| world.fabric(n).membership().links().count()).max();
        println!("{count} nodes: at most {links:?} links at one node");
        assert!(count < 100 || links.is_some_and(|links| links <= 40), "{links:?}");
    }
    assert!(idle[1] <= 2.0 * idle[0], "{idle:?}");
}

/// A node of another program that is linked with one of ours only sees everybody, always, and is seen by all.
#[test]
fn a_reference_node_behind_one_of_ours_keeps_seeing_all() {
    for seed in seeds(2) {
        let mut world = World::new(7, seed, Shape::fast());
        world.nodes[5].plain = true;
        world.nodes[6].plain = true;
        // The last but one has links with the first node only, the last one with it only.
        for n in 1..5 {
            world.cut(&[n], &[5, 6]);
            world.cut(&[5, 6], &[n]);
        }
        world.cut(&[0], &[6]);
        world.cut(&[6], &[0]);
        for n in 0..5 {
            world.start(n, if n == 0 { &[] } else { &[0] });
        }
        world.start(5, &[0]);
        world.start(6, &[5]);
        let all = |w: &World| {
            (0..7).all(|n| functions(w, n).len() == w.nodes.iter().map(|n| n.functions.len()).sum::<usize>())
        };
        assert!(world.run_while(30.0, |w| !all(w)).is_some(), "seed {seed}");
        for second in 0..120 {
            world.run(1.0);
            assert!(all(&world) && digests_agree(&world), "{second} s later, seed {seed}");
            for n in [5, 6] {
                let nodes = world.fabric(n).catalog().nodes();
                let ends = nodes.map(|e| e.ends_at()).fold(f64::INFINITY, f64::min);
                assert!(ends > world.time_at(n).wall, "{n}: a lease ends, seed {seed}");
            }
        }
        // News of ours go there, and news from there come here; so do removals.
        world.set_functions(3, vec![function("where.3"), function("ours")]);
        world.set_functions(6, vec![function("theirs")]);
        assert!(world.run_while(3.0, |w| !all(w)).is_some(), "seed {seed}");
        let has = |w: &World, n: usize, name: &str| w.fabric(n).catalog().functions_named(name).count() == 1;
        assert!(
            (0..7).all(|n| has(&world, n, "ours") && has(&world, n, "theirs") && !has(&world, n, "where.6"))
        );
        // One of ours dies: the leases that nobody renews end there too.
        world.kill(4);
        world.run(24.0 * 1.5);
        assert!((0..7).filter(|n| *n != 4).all(|n| !knows(&world, n, 4)), "seed {seed}");
        world.stop(2);
        world.run(1.0);
        assert!([0, 1, 3, 5, 6].iter().all(|n| !knows(&world, *n, 2)), "seed {seed}");
    }
}

/// Ours and others, all linked with all.
#[test]
fn a_mixed_cluster_settles_and_stays() {
    for seed in seeds(2) {
        let mut world = World::new(9, seed, Shape::fast());
        (0..9).filter(|n| n % 3 == 1).for_each(|n| world.nodes[n].plain = true);
        start_all(&mut world);
        assert!(world.run_while(60.0, |w| !settled(w)).is_some(), "seed {seed}");
        for _ in 0..30 {
            world.run(3.0);
            assert!(settled(&world), "at {} s, seed {seed}", world.seconds());
        }
        world.kill(1);
        world.kill(3);
        assert!(world.run_while(60.0, |w| !settled(w)).is_some(), "seed {seed}");
        // The same addresses, other programs.
        (world.nodes[1].plain, world.nodes[3].plain) = (false, true);
        world.start(1, &[0]);
        world.start(3, &[0]);
        assert!(world.run_while(60.0, |w| !settled(w)).is_some(), "seed {seed}");
        world.run(60.0);
        assert!(settled(&world), "seed {seed}");
    }
}

/// One of thirty is killed while the network is bad and others stand still for seconds: that one is found dead, soon,
/// and nobody else ever.
#[test]
fn a_killed_node_is_found_dead_and_slow_ones_are_not() {
    for seed in seeds(1) {
        let shape = Shape { gossip_interval_seconds: 0.5, ..Shape::fast() };
        let conditions = Conditions { loss: 0.05, jitter_seconds: 0.1, ..Conditions::default() };
        let mut world = World::new(30, seed, shape).with(conditions);
        start_all(&mut world);
        assert!(world.run_while(60.0, |w| !settled(w)).is_some(), "seed {seed}");
        let (victim, mut took) = (1 + seed as usize, None);
        for step in 0..100 {
            if step == 30 {
                world.kill(victim);
            }
            // Starved of the processor: up to a second and a half, several at a time.
            let pick = |w: &mut World| (unit(&mut w.chance) * 30.0) as usize;
            let slow: Vec<usize> = (0..3).map(|_| pick(&mut world)).filter(|n| *n != victim).collect();
            slow.iter().for_each(|n| world.stick(*n, true));
            let pause = 1.5 * unit(&mut world.chance);
            let mut passed = 0.0;
            while passed < pause {
                world.run(0.25);
                passed += 0.25;
                for n in world.running() {
                    let lost: Vec<usize> =
                        world.running().into_iter().filter(|other| !knows(&world, n, *other)).collect();
                    assert!(
                        lost.is_empty(),
                        "{n} takes {lost:?} for dead at {} s, seed {seed}",
                        world.seconds()
                    );
                }
            }
            slow.iter().for_each(|n| world.stick(*n, false));
            let known = world.running().iter().all(|n| !knows(&world, *n, victim));
            if step >= 30 && known && took.is_none() {
                took = Some(world.seconds());
            }
        }
        world.run(5.0);
        println!("killed one of thirty, others starved: known to all at {took:?} s, seed {seed}");
        assert!(took.is_some() && converged(&world), "seed {seed}");
        let mut world = cluster(30, seed, shape);
        world.kill(victim);
        let took = world.run_while(10.0, |w| w.running().iter().any(|n| knows(w, *n, victim)));
        println!("killed one of thirty: known to all after {took:?} s, seed {seed}");
        assert!(took.is_some_and(|took| took <= 7.0), "{took:?}, seed {seed}");
        assert!(converged(&world), "seed {seed}");
    }
}

/// Without seeds: each half remembers whom it has lost.
#[test]
fn halves_without_seeds_find_each_other_again() {
    for seed in seeds(2) {
        let mut world = cluster(30, seed, Shape::fast());
        for n in 0..30 {
            let own = settings(n, &CLUSTER.into(), 1, &[], &world.shape, 0);
            let revision = Revision {
                seeds: Vec::new(),
                transport_endpoints: own.transport_endpoints,
                advertised_urls: own.advertised_urls,
                catalog_entries_per_cluster_max: own.catalog_entries_per_cluster_max,
                calls_max: own.calls_max,
                floods: own.floods,
                federation: own.bridging.federation.clone(),
                route_rules: own.bridging.route_rules.clone(),
                keys: Vec::new(),
            };
            world.tell(n, Event::Revised(Box::new(revision)));
        }
        world.run(10.0);
        let (left, right): (Vec<usize>, Vec<usize>) = ((0..15).collect(), (15..30).collect());
        world.cut(&left, &right);
        world.cut(&right, &left);
        let apart =
            |w: &World| left.iter().all(|n| right.iter().all(|o| !knows(w, *n, *o) && !knows(w, *o, *n)));
        let took = world.run_while(200.0, |w| !apart(w));
        println!("halves of 30: apart after {took:?} s, seed {seed}");
        assert!(took.is_some(), "seed {seed}");
        world.run(60.0);
        world.heal();
        let took = world.run_while(120.0, |w| !settled(w));
        println!("halves of 30 without seeds: whole {took:?} s after the heal, seed {seed}");
        assert!(took.is_some(), "the halves stay apart, seed {seed}");
    }
}

/// All processes end; each begins again with no seed but what it knew before.
#[test]
fn a_cluster_without_seeds_comes_back_by_what_it_remembers() {
    for seed in seeds(2) {
        let mut world = cluster(12, seed, Shape::fast());
        let known: Vec<_> = (0..12).map(|n| world.fabric(n).worth_remembering(world.time_at(n))).collect();
        assert!(known.iter().all(|known| known.len() == 11), "seed {seed}");
        (0..12).for_each(|n| world.kill(n));
        world.run(5.0);
        for (n, known) in known.into_iter().enumerate() {
            world.start(n, &[]);
            let restored = Restored { peers: known, ..Restored::default() };
            world.tell(n, Event::Restored(Box::new(restored)));
            world.run(0.3);
        }
        let took = world.run_while(30.0, |w| !settled(w));
        println!("total restart without seeds: settled after {took:?} s, seed {seed}");
        assert!(took.is_some(), "seed {seed}");
    }
}

/// A member cannot bury another one: whoever is accused contradicts, whatever the accuser says of it.
#[test]
fn nobody_is_declared_dead_by_others() {
    for seed in seeds(1) {
        let mut world = cluster(6, seed, Shape::fast());
        let say = |world: &mut World, text: String| {
            let link = world.impostor(5, 1);
            world.send(link, hello(5));
            world.send(link, text.into_bytes().into());
            world.run(1.0);
        };
        world.kill(5);
        for attack in 0..5 {
            let version = ((crate::forms::WALL + world.seconds()) * 1e6) as u64 + 1_000_000;
            let gone = format!(
                r#"{{"news":{{"node":"{}","from":0,"to":{version},"left":true}},"suspect":{{"node":"{}","version":{version},"by":"{}","lost":true}}}}"#,
                url(2),
                url(3),
                url(5)
            );
            say(&mut world, gossip(5, "rumor", &gone));
            let told =
                format!(r#"{{"states":{{"{}":{version}}},"doubts":{{"{}":{version}}}}}"#, url(1), url(3));
            say(&mut world, gossip(5, "anti_entropy", &told));
            let took = world.run_while(10.0, |w| (0..5).any(|n| (0..5).any(|other| !knows(w, n, other))));
            assert!(took.is_some(), "attack {attack} holds, seed {seed}");
        }
        let spam = format!(r#"{{"suspect":{{"node":"{}","version":1,"by":"x"}}}}"#, url(3));
        let link = world.impostor(5, 1);
        world.send(link, hello(5));
        for _ in 0..2000 {
            world.send(link, gossip(5, "rumor", &spam).into_bytes().into());
        }
        world.run(0.5);
        assert!(world.nodes[1].refused.contains_key(&mpreg::core::reason::Reason::RumoursLimit));
        world.run(60.0);
        assert!((0..5).all(|n| (0..5).all(|other| knows(&world, n, other))), "seed {seed}");
    }
}

fn hello(n: usize) -> bytes::Bytes {
    let (node, instance) = (url(n), "impostor");
    let mut status = mpreg::wire::fabric::Status::new(&node, CLUSTER, instance, crate::forms::WALL);
    status.extensions = vec![mpreg::wire::fabric::kin::EXTENSION.into()];
    status.encode("u")
}

fn gossip(n: usize, kind: &str, payload: &str) -> String {
    format!(
        r#"{{"role":"fabric-gossip","payload":{{"message_id":"m","message_type":"{kind}","sender_id":"{}","payload":{payload}}}}}"#,
        url(n)
    )
}
