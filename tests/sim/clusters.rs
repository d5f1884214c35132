//! Several clusters: all forms of federation settle, carry calls and publications, lose borders and links, and are
//! whole again. That no route visits a cluster twice, nothing runs or is delivered twice, and no lease is outlived is
//! checked at every step of every world (`checks::always`).

use mpreg::core::link_state::Mode;
use mpreg::core::reason::Reason;

use crate::forms::Shape;
use crate::messages::{call, explained_call, publish};
use crate::network::{Conditions, unit};
use crate::plan::Plan;
use crate::world::World;
use crate::{for_each_seed, seeds};

/// Each cluster calls a node of each other; all are answered within a second.
fn all_call_all(plan: &Plan, world: &mut World, label: &str) {
    let clusters = plan.sizes.len();
    let mut asked = Vec::new();
    for from in 0..clusters {
        for to in (0..clusters).filter(|to| *to != from) {
            let (near, far) = (plan.nodes(from), plan.nodes(to));
            let (a, b) = (near[(from + to) % near.len()], far[(2 * from + to) % far.len()]);
            let id = format!("{label}-{a}-{b}");
            explained_call(world, a, &id, &format!("where.{b}"), b, 20);
            asked.push((id, b));
        }
    }
    world.run(2.0);
    for (id, b) in asked {
        let answers = &world.calls[&id].answers;
        let good = matches!(answers.first(), Some((_, Ok(text))) if *text == format!("\"{b}\""));
        assert!(good, "{id}: {answers:?}, seed {}\n{}", world.seed, plan.unsettled(world));
    }
}

/// A publication of some nodes comes to each subscriber once.
fn all_hear_all(plan: &Plan, world: &mut World, label: &str) {
    for from in 0..plan.sizes.len() {
        let n = plan.nodes(from)[from % plan.sizes[from]];
        let id = format!("{label}-{n}");
        publish(world, n, &id);
        world.run(1.5);
        let listeners = (0..world.nodes.len()).filter(|l| *l != n && !world.nodes[*l].topics.is_empty());
        let missed: Vec<usize> = listeners
            .filter(|l| world.nodes[*l].fabric.is_some())
            .filter(|l| !world.deliveries.contains_key(&(id.clone(), *l, world.nodes[*l].life)))
            .collect();
        assert!(missed.is_empty(), "{id} did not come to {missed:?}, seed {}", world.seed);
    }
}

fn listen(world: &mut World, every: usize) {
    for n in (0..world.nodes.len()).step_by(every) {
        world.subscribe(n, "news.#");
    }
}

/// Settles, calls, publishes, loses and regains an edge and a border node.
fn life_of(name: &str, plan: &Plan, seed: u64) {
    let (mut world, took) = plan.settled(seed, SETTLE);
    listen(&mut world, 2);
    // A new link is told the own links only; of those behind it the next announcement tells, after 10 s.
    let rest = if plan.link_state == Mode::Only { 13.0 } else { 3.0 };
    world.run(rest);
    all_call_all(plan, &mut world, "first");
    all_hear_all(plan, &mut world, "first");

    let (a, b) = plan.edges[seed as usize % plan.edges.len()];
    let border = plan.border_pairs(a, b)[0].0;
    world.kill(border);
    world.run(3.0);
    plan.start(&mut world, border);
    let back = world.run_while(BACKOFF + 10.0, |w| !plan.is_settled(w));
    let back =
        back.unwrap_or_else(|| panic!("{name}: border {border}: {}, seed {seed}", plan.unsettled(&world)));
    // A neighbour has to have told whom it leads to before it may ask in their name.
    world.run(rest);
    all_call_all(plan, &mut world, "second");
    all_hear_all(plan, &mut world, "second");
    println!(
        "{name}: settled after {took:.2} s, after the restart of a border after {back:.2} s, seed {seed}"
    );
}

#[test]
fn all_forms_settle_and_carry() {
    for seed in seeds(1) {
        life_of("chain", &Plan::chain(5, 2), seed);
        life_of("ring", &Plan::ring(5, 2), seed);
        life_of("tree", &Plan::tree(6, 2), seed);
        life_of("mesh", &Plan::mesh(4, 2), seed);
        life_of("hub", &Plan::hub(5, 3), seed);
        life_of("hubs", &Plan::hubs(8, 3, 2), seed);
        life_of("two borders", &Plan { borders: 2, ..Plan::ring(4, 3) }, seed);
        life_of("permissive", &Plan { explicit: false, ..Plan::ring(4, 3) }, seed);
        life_of("signed", &Plan { signed: true, ..Plan::ring(4, 2) }, seed);
        life_of("link state first", &Plan { link_state: Mode::Prefer, ..Plan::ring(5, 2) }, seed);
        life_of("link state only", &Plan { link_state: Mode::Only, ..Plan::ring(5, 2) }, seed);
    }
}

#[test]
fn random_graphs_settle_and_carry() {
    for seed in seeds(2) {
        life_of("random", &Plan::random(5, 3, seed), seed);
    }
}

/// What two clusters know of a third that nothing leads to any more goes at once with the links, cannot be told back
/// and forth, and calls are told so and do not wait.
#[test]
fn where_no_way_leads_calls_fail_at_once_and_routes_do_not_come_back() {
    for seed in seeds(2) {
        // Cluster 4 hangs on a ring of four, which would hand its route round for as long as it could.
        let mut plan = Plan::ring(4, 2);
        plan.sizes.push(2);
        plan.edges.push((0, 4));
        let (mut world, _) = plan.settled(seed, SETTLE);
        world.run(3.0);
        for n in plan.nodes(4) {
            world.kill(n);
        }
        let believes = |w: &World| (0..4).any(|c| plan.believes_in(w, c, (0, 4)));
        let gone = world.run_while(10.0, |w| believes(w));
        println!("routes to a lost cluster are gone after {gone:?} s, seed {seed}");
        assert!(gone.is_some_and(|s| s <= ROUTE_NEWS * 5.0), "{gone:?}, seed {seed}");
        let target = plan.nodes(4)[0];
        for (round, from) in (0..4).flat_map(|c| plan.nodes(c)).enumerate() {
            let id = format!("lost-{round}");
            call(&mut world, from, &id, &format!("where.{target}"), target, 20);
            world.run(0.5);
            let answers = &world.calls[&id].answers;
            let reason = answers.first().and_then(|(_, outcome)| outcome.as_ref().err()?.reason);
            assert_eq!(reason, Some(Reason::NoRoute), "{id}: {answers:?}, seed {seed}");
            for _ in 0..10 {
                world.run(0.5);
                assert!(!believes(&world), "a route came back at {} s, seed {seed}", world.seconds());
            }
        }
        for n in plan.nodes(4) {
            plan.start(&mut world, n);
        }
        let back = world.run_while(BACKOFF, |w| !plan.is_settled(w));
        assert!(back.is_some(), "{}, seed {seed}", plan.unsettled(&world));
    }
}

/// Two halves of a chain, cut in one direction or both, live on alone and are one again after the heal.
#[test]
fn halves_of_a_federation_find_each_other_again() {
    for seed in seeds(2) {
        let plan = Plan::ring(6, 2);
        let (mut world, _) = plan.settled(seed, SETTLE);
        let left: Vec<usize> = (0..3).flat_map(|c| plan.nodes(c)).collect();
        let right: Vec<usize> = (3..6).flat_map(|c| plan.nodes(c)).collect();
        world.cut(&left, &right);
        if seed % 2 == 0 {
            world.cut(&right, &left);
        }
        world.run(SILENCE + LEASE + 5.0);
        for c in 0..3 {
            assert_eq!(plan.joined_with(&world, c), (0..3).collect(), "seed {seed}");
            assert!(!plan.believes_in(&world, c, (2, 3)), "seed {seed}");
        }
        world.heal();
        let took = world.run_while(BACKOFF + 10.0, |w| !plan.is_settled(w));
        println!("halves of a federation: whole again {took:?} s after the heal, seed {seed}");
        assert!(took.is_some(), "{}, seed {seed}", plan.unsettled(&world));
        world.run(3.0);
        all_call_all(&plan, &mut world, "after");
    }
}

/// The budget of hops ends a call where it is too small, and says so; where it is large enough the call arrives.
#[test]
fn a_long_chain_needs_a_large_budget() {
    for (hops_max, arrives) in [(5, false), (30, true)] {
        let plan = Plan { hops_max, ..Plan::chain(12, 1) };
        let mut world = plan.world(1);
        plan.start_all(&mut world);
        world.run(20.0);
        call(&mut world, 0, "far", "where.11", 11, 20);
        world.run(2.0);
        let answers = &world.calls["far"].answers;
        assert_eq!(answers.len(), 1);
        let outcome = &answers[0].1;
        assert_eq!(outcome.is_ok(), arrives, "{outcome:?}");
        let reason = outcome.as_ref().err().and_then(|e| e.reason);
        assert!(arrives || matches!(reason, Some(Reason::HopBudget)), "{outcome:?}");
    }
}

/// Random graphs under everything at once, then quiet: all is as if nothing had been. `MPREG_SIM_SEEDS` and
/// `MPREG_SIM_HOURS`, the hours of all clusters of all seeds together, make it long.
#[test]
fn federations_survive_chaos() {
    let asked = std::env::var("MPREG_SIM_HOURS").ok().and_then(|text| text.parse::<f64>().ok());
    let seeds = seeds(3);
    let each = asked.map(|hours| hours / seeds.len() as f64);
    let begun = std::time::Instant::now();
    // Long runs live with the default intervals for the most part, short ones have not the time.
    let is_usual = |seed: u64| asked.is_some() && !(seed / 4).is_multiple_of(3);
    let lived = for_each_seed(&seeds, |seed| survive(seed, each, is_usual(seed)));
    let sum = |of: fn(&Lived) -> f64| lived.iter().map(of).sum::<f64>();
    println!(
        "{:.2} cluster-hours of chaos and quiet, {} seeds, {:.0} rounds, {:.0} events, {:.0} times a call did what \
         was said: {:.1} s",
        sum(|l| l.cluster_hours),
        seeds.len(),
        sum(|l| l.rounds as f64),
        sum(|l| l.events as f64),
        sum(|l| l.explained as f64),
        begun.elapsed().as_secs_f64()
    );
}

/// What a world has been through.
struct Lived {
    cluster_hours: f64,
    rounds: usize,
    events: u64,
    explained: u64,
}

fn survive(seed: u64, cluster_hours: Option<f64>, is_usual: bool) -> Lived {
    let clusters = 3 + seed as usize % 4;
    let shape = if is_usual { Shape::usual() } else { Shape::fast() };
    let plan = Plan { explicit: !seed.is_multiple_of(3), shape, ..Plan::random(clusters, 2, seed) };
    // How much slower all goes than in the worlds of the other tests.
    let pace = shape.gossip_interval_seconds / Shape::fast().gossip_interval_seconds;
    let again = SILENCE + pace * (LEASE + BACKOFF);
    let conditions =
        Conditions { loss: 0.02, duplicates: 0.02, jitter_seconds: 0.02, ..Conditions::default() };
    let mut world = plan.world(seed).with(conditions);
    plan.start_all(&mut world);
    listen(&mut world, 1);
    let seconds = cluster_hours.map_or(72.0, |hours| hours / clusters as f64 * 3600.0);
    let mut rounds = 0;
    while world.seconds() < seconds {
        chaos(&plan, &mut world, rounds, pace);
        calm(&plan, &mut world);
        let took = world.run_while(again, |w| !plan.is_settled(w));
        assert!(took.is_some(), "{}, seed {seed}, {plan:?}", plan.unsettled(&world));
        world.run(12.0 * pace);
        // A latency may be measured anew at this moment; who is near hears of it first.
        let lasts = world.run_while(ROUTE_NEWS, |w| !plan.is_settled(w)).is_some();
        assert!(lasts, "order does not last: {}, seed {seed}", plan.unsettled(&world));
        plan.at_rest(&world);
        all_call_all(&plan, &mut world, &format!("calm-{rounds}"));
        all_hear_all(&plan, &mut world, &format!("calm-{rounds}"));
        world.forget_messages();
        rounds += 1;
    }
    let cluster_hours = world.seconds() / 3600.0 * clusters as f64;
    Lived { cluster_hours, rounds, events: world.events, explained: world.explained }
}

fn chaos(plan: &Plan, world: &mut World, round: usize, pace: f64) {
    let count = world.nodes.len();
    for step in 0..25 {
        let pick = |w: &mut World, below: usize| (unit(&mut w.chance) * below as f64) as usize;
        let (what, a, b) = (pick(world, 10), pick(world, count), pick(world, count));
        let runs = world.nodes[a].fabric.is_some();
        match what {
            0 if runs => world.kill(a),
            1 if runs => world.stop(a),
            2 if runs => world.power_off(a),
            0..=3 if !runs => plan.start(world, a),
            4 if a != b => world.cut(&[a], &[b]),
            5 => world.heal(),
            6 if a != b => world.break_links(a, b),
            7 if runs => publish(world, a, &format!("chaos-{round}-{step}")),
            _ if runs && a != b => {
                let name = if what == 8 { "hang" } else { "where" };
                explained_call(world, a, &format!("chaos-{round}-{step}"), &format!("{name}.{b}"), b, 8);
            }
            _ => {}
        }
        let pause = 3.0 * pace * unit(&mut world.chance);
        world.run(pause);
    }
}

fn calm(plan: &Plan, world: &mut World) {
    world.heal();
    for n in 0..world.nodes.len() {
        if world.nodes[n].fabric.is_none() {
            plan.start(world, n);
        }
    }
}

/// The table of tests/bench/RESULTS.md for 200 clusters of 5 nodes behind 10 hubs; `MPREG_SIM_CLUSTERS` makes it
/// smaller.
#[test]
#[ignore = "minutes with optimisation, hours without"]
fn two_hundred_clusters_in_hubs() {
    let clusters: usize =
        std::env::var("MPREG_SIM_CLUSTERS").ok().and_then(|text| text.parse().ok()).unwrap_or(200);
    let (found, asked) = many_clusters(
        &Plan { shape: Shape::usual(), ..Plan::hubs(clusters, (clusters / 20).max(3), 5) },
        1,
        (400, 10),
    );
    let share = percent(found, asked);
    assert!(share >= LIVE_ROUTES_FOUND, "{share} %");
}

/// The same in small: of some twenty links one is broken each second, which is much more than one in a hundred.
#[test]
fn clusters_in_hubs_answer_while_links_flap() {
    let counts = seeds(1).into_iter().map(|seed| many_clusters(&Plan::hubs(10, 3, 2), seed, (100, 1)));
    let (found, asked) = counts.fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
    let share = percent(found, asked);
    println!("clusters in hubs: {found} of {asked} calls found a live way");
    assert!(share >= LIVE_ROUTES_FOUND_IN_SMALL, "{share} %");
}

fn percent(found: usize, asked: usize) -> f64 {
    100.0 * found as f64 / asked as f64
}

/// How many calls found a live way, of those for which there was one. There are `rounds` of a tenth of a second, with so
/// many calls in each.
fn many_clusters(plan: &Plan, seed: u64, (rounds, calls): (usize, usize)) -> (usize, usize) {
    let count = plan.sizes.len();
    let (mut world, took) = plan.settled(seed, 120.0);
    world.run(10.0);
    let sent = |w: &World| w.nodes.iter().map(|n| (n.sent_messages, n.sent_bytes)).collect::<Vec<_>>();
    let (before, idle) = (sent(&world), 20.0);
    world.run(idle);
    let after = sent(&world);
    let rates =
        before.iter().zip(&after).map(|(b, a)| ((a.0 - b.0) as f64 / idle, (a.1 - b.1) as f64 / idle));
    let (messages, bytes): (Vec<f64>, Vec<f64>) = rates.unzip();
    let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
    println!(
        "{count} clusters, {} nodes: settled after {took:.2} s; idle {:.1} messages/s and {:.0} bytes/s a node, most {:.0}",
        world.nodes.len(),
        mean(&messages),
        mean(&bytes),
        messages.iter().copied().fold(0.0, f64::max)
    );

    // One link in a hundred, and at least one, is broken each second, and dialled again.
    let (mut live, mut good, mut dead) = (0, 0, 0);
    let mut asked = Vec::new();
    for round in 0..rounds {
        let pick = |w: &mut World, below: usize| (unit(&mut w.chance) * below as f64) as usize;
        if round % 10 == 0 {
            for _ in 0..plan.edges.len().div_ceil(100) {
                let (a, b) = plan.edges[pick(&mut world, plan.edges.len())];
                for (x, y) in
                    plan.nodes(a).into_iter().flat_map(|x| plan.nodes(b).into_iter().map(move |y| (x, y)))
                {
                    world.break_links(x, y);
                }
            }
        }
        for n in 0..calls {
            let nodes = plan.sizes.iter().sum();
            let (a, b) = (pick(&mut world, nodes), pick(&mut world, nodes));
            let (from, to) = (plan.cluster_of(a), plan.cluster_of(b));
            if from != to {
                let id = format!("flap-{round}-{n}");
                let is_live = plan.joined_with(&world, from).contains(&to);
                call(&mut world, a, &id, &format!("where.{b}"), b, 20);
                asked.push((id, is_live));
            }
            world.run(0.1 / calls as f64);
        }
    }
    world.run(1.0);
    let mut reasons: std::collections::BTreeMap<String, usize> = Default::default();
    for (id, is_live) in asked {
        let answer = world.calls[&id].answers.first();
        let answer = answer.unwrap_or_else(|| panic!("{id} waits for nothing, seed {seed}"));
        live += usize::from(is_live);
        dead += usize::from(!is_live);
        // A link that breaks under a call has been found before.
        let found = match &answer.1 {
            Ok(_) => true,
            Err(error) => error.reason == Some(Reason::LinkLost),
        };
        good += usize::from(is_live && found);
        if let Err(error) = &answer.1 {
            let text = format!("{:?} live={is_live} {:?}", error.reason, error.details);
            *reasons.entry(text.chars().take(110).collect()).or_default() += 1;
        }
    }
    let share = percent(good, live);
    println!(
        "{count} clusters, flapping: {good} of {live} calls with a live way found it = {share:.2} %, {dead} without"
    );
    for (reason, count) in reasons {
        println!("    {count} {reason}");
    }

    // A hub starts again.
    world.run(10.0);
    for n in plan.nodes(0) {
        world.kill(n);
    }
    world.run(2.0);
    for n in plan.nodes(0) {
        plan.start(&mut world, n);
    }
    let took = world.run_while(90.0, |w| !plan.is_settled(w));
    println!("{count} clusters: all as before {took:?} s after the restart of a hub, seed {seed}");
    assert!(took.is_some(), "{}, seed {seed}", plan.unsettled(&world));
    (good, live)
}

/// Percent.
const LIVE_ROUTES_FOUND: f64 = 99.9;
const LIVE_ROUTES_FOUND_IN_SMALL: f64 = 99.0;
/// How long news of a route may rest at each cluster (`core::route::tell`).
const ROUTE_NEWS: f64 = 0.25;
const LEASE: f64 = 24.0;
/// A silent end is noticed after this long.
const SILENCE: f64 = 41.0;
/// Long enough for the first exchange and one repetition of everything.
const SETTLE: f64 = 30.0;
/// Slower than this no address is dialled.
const BACKOFF: f64 = 12.0 * 1.25 + 10.0;
