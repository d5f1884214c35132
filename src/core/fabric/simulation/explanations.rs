//! What is explained is what then happens.

use super::*;
use crate::core::fabric::explain::{About, Question, Sought, Step};
use crate::core::membership::Chance;
use crate::core::rpc::select::Demands;

/// Nodes of several clusters, each dialling some before it; `links` as the settings of link state say.
fn clusters(of: &[usize], seeds: &[Vec<usize>], links: link_state::Mode) -> World {
    let mut world = World::new(of.len());
    for (n, cluster) in of.iter().enumerate() {
        let mut settings = settings(n, &format!("first-{n}"), &seeds[n]);
        let name: Text = format!("k{cluster}").into();
        settings.membership.cluster_id = name.clone();
        settings.bridging = Bridging::none(&name);
        settings.bridging.federation.mode = federation::Mode::PermissiveBridging;
        settings.bridging.federation.connections_per_cluster_max = 100;
        settings.bridging.link_state.mode = links;
        settings.hops_max = 8;
        world.start_with(n, settings);
    }
    world.run(15.0);
    world
}

fn sought(fun: &str) -> Sought {
    Sought { fun: fun.into(), ..Sought::default() }
}

fn number(node: &str) -> usize {
    node.rsplit_once(':').unwrap().1.parse::<usize>().unwrap() - 9000
}

fn ask(world: &mut World, n: usize, question: &Question) -> Step {
    let now = world.now();
    world.nodes[n].fabric.as_mut().unwrap().explain(question, now).unwrap()
}

/// The nodes of a way in their order, and the word of the last one.
fn way(world: &mut World, n: usize, about: About) -> (Vec<usize>, &'static str) {
    let (mut nodes, mut question) = (vec![n], Question::new(about));
    loop {
        let step = ask(world, *nodes.last().unwrap(), &question);
        let Some(next) = step.next.into_iter().next() else { return (nodes, step.verdict.word) };
        nodes.push(number(&next.node));
        question = next.question.unwrap();
        assert!(nodes.len() < 20, "{nodes:?}");
    }
}

/// All nodes that a publication would come to, by asking everybody who has somebody to care for.
fn copies(world: &mut World, n: usize, topic: &str) -> (BTreeSet<usize>, usize) {
    let question = Question::new(About::Topic { topic: topic.into() });
    let (mut asked, mut reached, mut sent) = (vec![(n, question)], BTreeSet::new(), 0);
    while let Some((n, question)) = asked.pop() {
        let step = ask(world, n, &question);
        sent += step.next.len();
        for next in step.next {
            let to = number(&next.node);
            reached.insert(to);
            asked.extend(next.question.map(|question| (to, question)));
        }
    }
    (reached, sent)
}

/// Random clusters in a random tree of links, some with a function of the same name.
fn random(seed: u64) -> (World, Chance) {
    let mut chance = Chance::new(seed);
    let mut below = |max: usize| (chance.draw() % max as u64) as usize;
    let count = 4 + below(5);
    let of: Vec<usize> = (0..count).map(|_| below(4)).collect();
    let seeds = (0..count).map(|n| if n == 0 { Vec::new() } else { vec![below(n)] }).collect::<Vec<_>>();
    let modes = [link_state::Mode::Disabled, link_state::Mode::Prefer, link_state::Mode::Only];
    let links = modes[below(3)];
    let mut world = clusters(&of, &seeds, links);
    for n in 0..count {
        let mut offered = vec![function(&format!("where.{n}"))];
        if below(2) == 0 {
            offered.push(function("where"));
        }
        world.tell(n, Event::LocalFunctions(offered));
        world.tell(n, Event::ActiveClients(below(4) as i64));
    }
    world.run(5.0);
    (world, chance)
}

#[test]
fn a_call_runs_where_its_explanation_says_and_takes_that_way() {
    let (mut ran, mut far, mut lost) = (0, 0, 0);
    for seed in 1..20 {
        let (mut world, _) = random(seed);
        for n in 0..world.nodes.len() {
            let names: Vec<String> =
                world.fabric(n).catalog().functions().map(|f| f.identity.name.to_string()).collect();
            for fun in names.into_iter().collect::<BTreeSet<_>>() {
                let (nodes, word) = way(&mut world, n, About::Call(sought(&fun)));
                assert_eq!(
                    way(&mut world, n, About::Call(sought(&fun))),
                    (nodes.clone(), word),
                    "asking moves nothing"
                );
                if nodes.len() == 1 && word == "runs_here" {
                    assert!(world.fabric(n).catalog().functions_named(&fun).any(|f| f.node_id == url(n)));
                    continue;
                }
                let demands = Demands { fun: &fun, ..Demands::default() };
                let chosen = world.fabric(n).choose_endpoint(&demands, &[], world.now()).unwrap();
                let (id, before) = (format!("{seed}-{n}-{fun}"), world.messages);
                let call = Call {
                    request_id: id.as_str().into(),
                    command: fun.as_str().into(),
                    function_id: None,
                    version_constraint: None,
                    resources: Vec::new(),
                    cluster: chosen.cluster,
                    node: chosen.node,
                    args: raw("[]"),
                    kwargs: raw("{}"),
                    deadline: world.now().mono + Duration::from_secs(30),
                    patience: Duration::ZERO,
                };
                world.tell(n, Event::Call(Box::new(call)));
                world.run(0.1);
                let answer = world.answer(n, &id);
                if word == "runs_here" {
                    let last = *nodes.last().unwrap();
                    assert_eq!(
                        answer.unwrap().unwrap(),
                        format!("{:?}", url(last)),
                        "seed {seed}: {fun} at {n}"
                    );
                    // There and back, over every hop.
                    assert_eq!(
                        world.messages - before,
                        2 * (nodes.len() - 1),
                        "seed {seed}: {fun} at {n}: {nodes:?}"
                    );
                    ran += 1;
                    far += usize::from(nodes.len() > 2);
                } else {
                    assert!(answer.unwrap().is_err(), "seed {seed}: {fun} at {n}: {word}");
                    lost += 1;
                }
            }
        }
    }
    assert!(ran > 100 && far > 25, "{ran} ran, {far} of them far away, {lost} did not");
}

#[test]
fn a_publication_comes_to_those_that_its_explanation_names() {
    let mut reached_in_all = 0;
    for seed in 100..115 {
        let (mut world, mut chance) = random(seed);
        let count = world.nodes.len();
        for n in 0..count {
            if chance.draw() % 2 == 0 {
                world.subscribe(n, &format!("s{n}"), "news.#");
            }
        }
        world.run(3.0);
        for n in 0..count {
            let (reached, sent) = copies(&mut world, n, "news.x");
            let delivered: Vec<usize> = (0..count).map(|n| world.delivered(n)).collect();
            let before = world.messages;
            world.publish(n, &format!("m-{seed}-{n}"), "news.x");
            world.run(0.1);
            let got: BTreeSet<usize> = (0..count).filter(|n| world.delivered(*n) > delivered[*n]).collect();
            assert_eq!(got, reached, "seed {seed}, from {n}");
            assert_eq!(world.messages - before, sent, "seed {seed}, from {n}");
            reached_in_all += got.len();
        }
    }
    assert!(reached_in_all > 100, "{reached_in_all}");
}

/// Three clusters in a chain: k0 - k1 - k2.
fn chain() -> World {
    clusters(&[0, 1, 2], &[vec![], vec![0], vec![1]], link_state::Mode::Disabled)
}

#[test]
fn every_verdict_against_an_endpoint_is_named() {
    let mut world = clusters(&[0, 0, 0, 1], &[vec![], vec![0], vec![0], vec![0]], link_state::Mode::Disabled);
    let versioned = |version: &str, resources: &[&str]| {
        let mut f = function("work.do");
        f.identity.version = FunctionVersion::parse(version).unwrap();
        f.resources = resources.iter().map(|r| Text::from(*r)).collect();
        f
    };
    world.tell(1, Event::LocalFunctions(vec![versioned("1.0.0", &["gpu"]), versioned("1.1.0", &["gpu"])]));
    world.tell(2, Event::LocalFunctions(vec![versioned("0.9.0", &["gpu"]), versioned("1.1.0", &[])]));
    world.tell(3, Event::LocalFunctions(vec![versioned("1.1.0", &["gpu"])]));
    world.run(5.0);
    let verdicts = |world: &mut World, sought: Sought| {
        let step = ask(world, 0, &Question::new(About::Call(sought)));
        let candidates = step.candidates.unwrap();
        assert!(candidates.iter().all(|c| c.fact.age_seconds < 30.0 && c.fact.told_by.is_some()));
        assert!(candidates.iter().all(|c| c.chosen == c.rejected_for.is_none()));
        let word = |c: &crate::core::fabric::explain::Endpoint| {
            format!("{} {} {}", number(&c.node), c.version, c.rejected_for.unwrap_or("chosen"))
        };
        let mut words: Vec<String> = candidates.iter().map(word).collect();
        words.sort();
        (words, step.verdict.word)
    };
    let work = sought("work.do");
    let (words, _) = verdicts(&mut world, work.clone());
    let expected = [
        "1 1.0.0 lower_version",
        "1 1.1.0 chosen",
        "2 0.9.0 lower_version",
        "2 1.1.0 later_name",
        "3 1.1.0 other_cluster",
    ];
    assert_eq!(words, expected);
    let gpu = Sought { locs: vec!["gpu".into()], version_constraint: Some("<1.1".into()), ..work.clone() };
    let (words, word) = verdicts(&mut world, gpu);
    assert_eq!(
        (words[3].as_str(), words[4].as_str(), word),
        ("2 1.1.0 version", "3 1.1.0 version", "forwarded")
    );
    let (words, _) = verdicts(&mut world, Sought { locs: vec!["gpu".into()], ..work.clone() });
    assert_eq!(words[3], "2 1.1.0 resources");
    let (words, _) = verdicts(&mut world, Sought { target_cluster: Some("k1".into()), ..work.clone() });
    assert_eq!((words[0].as_str(), words[4].as_str()), ("1 1.0.0 cluster", "3 1.1.0 chosen"));
    let (words, word) = verdicts(&mut world, Sought { function_id: Some("x".into()), ..work.clone() });
    assert_eq!((words[0].as_str(), word), ("1 1.0.0 function_id", "function_not_found"));
    world.tell(1, Event::ActiveClients(50));
    world.run(3.0);
    let (words, _) = verdicts(&mut world, work.clone());
    assert_eq!((words[1].as_str(), words[3].as_str()), ("1 1.1.0 higher_load", "2 1.1.0 chosen"));
    world.tell(0, Event::LocalFunctions(vec![function("where")]));
    let step = ask(&mut world, 0, &Question::new(About::Call(sought("where"))));
    let of = |n| step.candidates.iter().flatten().find(|c| c.node == url(n)).unwrap();
    assert!(of(0).chosen && of(0).fact.told_by.is_none());
    assert_eq!((step.verdict.word, step.next.len()), ("runs_here", 0));
}

#[test]
fn a_route_is_followed_through_its_clusters_and_ends_with_a_word() {
    let mut world = chain();
    let route = |cluster: &str, avoid: &[&str]| About::Route {
        cluster: cluster.into(),
        avoid: avoid.iter().map(|c| Text::from(*c)).collect(),
    };
    assert_eq!(way(&mut world, 0, route("k2", &[])), (vec![0, 1, 2], "arrived"));
    assert_eq!(way(&mut world, 0, route("k0", &[])), (vec![0], "arrived"));
    assert_eq!(way(&mut world, 0, route("k2", &["k1"])), (vec![0], "no_fabric_path"));
    assert_eq!(way(&mut world, 0, route("k9", &[])), (vec![0], "no_fabric_path"));
    let step = ask(&mut world, 0, &Question::new(route("k2", &[])));
    let next = &step.next[0];
    let told = next.route.as_ref().unwrap();
    assert_eq!((next.by, told.signature, told.path.hops.len()), ("route", "unsigned", 3));
    assert!(told.age_seconds < 60.0 && step.verdict.found);
    assert_eq!(step.trace.unwrap().decision.next_node, Some(url(1)));
}

#[test]
fn what_a_question_says_of_its_way_is_judged_as_a_message_is() {
    let mut world = chain();
    let question = Question::new(About::Call(sought("where.2")));
    let asked = ask(&mut world, 0, &question).next.remove(0).question.unwrap();
    let with = |change: &dyn Fn(&mut crate::core::fabric::explain::Passage)| {
        let mut question = asked.clone();
        change(question.passage.as_mut().unwrap());
        question
    };
    let mut word = |question: Question| ask(&mut world, 1, &question).verdict.word;
    assert_eq!(word(asked.clone()), "forwarded");
    assert_eq!(word(with(&|p| p.hop_budget = Some(0))), "hop_budget_exhausted");
    assert_eq!(word(with(&|p| p.remaining_hops = Some(0))), "hop_budget_exhausted");
    assert_eq!(word(with(&|p| p.nodes = vec![url(0), url(1), url(0)])), "route_loop");
    assert_eq!(word(with(&|p| p.nodes = vec![url(0), url(2), url(0)])), "route_loop");
    assert_eq!(word(with(&|p| p.clusters.insert(0, "k1".into()))), "loop_detected");
    assert_eq!(word(with(&|p| p.caller_cluster = "k2".into())), "not_entitled");
    let mut large = asked.clone();
    large.passage.as_mut().unwrap().nodes = vec![url(5); 20_000];
    let now = world.now();
    assert!(world.nodes[1].fabric.as_mut().unwrap().explain(&large, now).is_err());
}

/// The members that monitoring.md 3.11 names; ours may be more.
#[test]
fn a_trace_has_the_members_that_its_readers_know() {
    for links in [link_state::Mode::Disabled, link_state::Mode::Prefer] {
        let mut world = clusters(&[0, 1, 2], &[vec![], vec![0], vec![1]], links);
        let now = world.now();
        let fabric = world.nodes[0].fabric.as_mut().unwrap();
        let trace = serde_json::to_value(fabric.trace(&"k2".into(), &[], now)).unwrap();
        for path in [
            "/destination/cluster_id",
            "/evaluated_at",
            "/avoid_clusters",
            "/selected",
            "/decision/next_node",
        ] {
            assert!(trace.pointer(path).is_some(), "{path}: {trace}");
        }
        let candidate = &trace["candidates"][0];
        assert_eq!(candidate, &trace["selected"]);
        for path in [
            "/destination/cluster_id",
            "/next_hop",
            "/advertiser",
            "/path/hops/2",
            "/metrics/hop_count",
            "/metrics/latency_ms",
            "/metrics/bandwidth_mbps",
            "/metrics/reliability_score",
            "/metrics/cost_score",
            "/score",
            "/expired",
            "/filtered_reason",
        ] {
            assert!(candidate.pointer(path).is_some(), "{path}: {candidate}");
        }
        let names: Vec<&str> = candidate["tiebreakers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|t| t["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["hop_count", "latency_ms", "reliability_score", "advertiser"]);
        let hint = trace.pointer("/link_state_hint/area_mismatch_rejects");
        assert_eq!(hint.is_some(), links == link_state::Mode::Prefer);
        let avoided = fabric.trace(&"k2".into(), &["k1".into()], now);
        assert!(avoided.selected.is_none());
        assert_eq!(avoided.candidates[0].filtered_reason, Some("avoid_clusters"));
    }
}
