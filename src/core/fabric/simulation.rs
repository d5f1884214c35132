//! A few fabrics in one thread, in virtual time, over links in memory.

use std::collections::{BTreeSet, VecDeque};

use super::*;
use crate::core::catalog::{FunctionVersion, Identity, TopicEntry};

const WALL: f64 = 1_700_000_000.0;

/// A small world of nodes. Links carry one message a millisecond; a node answers `where` with its id, fails `fail` and
/// never answers `hang`.
struct World {
    seconds: f64,
    nodes: Vec<Member>,
    /// End of a link to its other end and the nodes of both.
    ends: BTreeMap<LinkId, (LinkId, usize, usize)>,
    last_link: u64,
    flight: VecDeque<(usize, Event)>,
    sent: usize,
    /// Of those, calls and publications.
    messages: usize,
}

struct Member {
    url: Text,
    fabric: Option<Fabric>,
    listens: bool,
    seen: Vec<Action>,
}

impl World {
    fn new(count: usize) -> World {
        let mut world = World {
            seconds: 0.0,
            nodes: Vec::new(),
            ends: BTreeMap::new(),
            last_link: 0,
            flight: VecDeque::new(),
            sent: 0,
            messages: 0,
        };
        for n in 0..count {
            world.nodes.push(Member { url: url(n), fabric: None, listens: true, seen: Vec::new() });
        }
        world
    }

    fn now(&self) -> Now {
        Now::at(WALL, self.seconds)
    }

    fn start(&mut self, n: usize, instance: &str, seeds: &[usize]) {
        self.start_with(n, settings(n, instance, seeds));
    }

    fn start_with(&mut self, n: usize, settings: Settings) {
        self.nodes[n].fabric = Some(Fabric::new(settings, self.now()));
        let functions = ["where", "fail", "hang"].map(|f| function(&format!("{f}.{n}")));
        self.tell(n, Event::LocalFunctions(functions.into_iter().chain([function("where")]).collect()));
    }

    fn tell(&mut self, n: usize, event: Event) {
        let now = self.now();
        let mut out = Vec::new();
        if let Some(fabric) = &mut self.nodes[n].fabric {
            fabric.handle(event, now, &mut out);
        }
        for action in out {
            self.act(n, action);
        }
    }

    fn act(&mut self, n: usize, action: Action) {
        match action {
            Action::Send { link, bytes } => {
                if let Some((other, _, to)) = self.ends.get(&link) {
                    self.sent += 1;
                    self.messages += usize::from(Message::begins(&bytes));
                    self.flight.push_back((*to, Event::Message { link: *other, bytes }));
                }
            }
            Action::Close { link, .. } => {
                if let Some((other, from, to)) = self.ends.get(&link).copied() {
                    self.flight.push_back((from, Event::LinkClosed { link }));
                    self.flight.push_back((to, Event::LinkClosed { link: other }));
                }
            }
            Action::Dial { url, .. } => {
                let to = self.nodes.iter().position(|m| m.url == url && m.listens && m.fabric.is_some());
                match to {
                    Some(to) => self.connect(n, to, url),
                    None => self.flight.push_back((n, Event::DialFailed { url })),
                }
            }
            Action::Execute(execution) => {
                let outcome = match execution.command.split('.').next() {
                    Some("where") => Ok(raw(&format!("{:?}", self.nodes[n].url))),
                    Some("fail") => Err(CallError::failed("ValueError: it broke")),
                    _ => return,
                };
                self.flight.push_back((n, Event::CallDone { execution: execution.execution, outcome }));
            }
            other => self.nodes[n].seen.push(other),
        }
    }

    fn connect(&mut self, from: usize, to: usize, url: Text) {
        let (near, far) = (LinkId(self.last_link + 1), LinkId(self.last_link + 2));
        self.last_link += 2;
        self.ends.insert(near, (far, from, to));
        self.ends.insert(far, (near, to, from));
        self.flight
            .push_back((to, Event::LinkOpened { link: far, dialled: None, facts: LinkFacts::default() }));
        self.flight.push_back((
            from,
            Event::LinkOpened { link: near, dialled: Some(url), facts: LinkFacts::default() },
        ));
    }

    /// Lets time pass, event by event.
    fn run(&mut self, seconds: f64) {
        let end = self.seconds + seconds;
        loop {
            if let Some((to, event)) = self.flight.pop_front() {
                if let Event::LinkClosed { link } = &event {
                    self.ends.remove(link);
                }
                self.seconds += 0.000_01;
                self.tell(to, event);
                continue;
            }
            let deadline = |m: &Member| m.fabric.as_ref().and_then(|f| f.next_deadline());
            let next =
                self.nodes.iter().filter_map(deadline).min().map_or(f64::INFINITY, |d| d.as_secs_f64());
            if next > end {
                break;
            }
            self.seconds = self.seconds.max(next) + 0.000_001;
            for n in 0..self.nodes.len() {
                let due = deadline(&self.nodes[n]).is_some_and(|d| d.as_secs_f64() <= self.seconds);
                if due {
                    self.tell(n, Event::Tick);
                }
            }
        }
        self.seconds = self.seconds.max(end);
    }

    /// Dies without a word.
    fn kill(&mut self, n: usize) {
        self.nodes[n].fabric = None;
        let cut: Vec<(LinkId, usize)> = self
            .ends
            .iter()
            .filter(|(_, (_, near, far))| *far == n && *near != n)
            .map(|(l, e)| (*l, e.1))
            .collect();
        self.ends.retain(|_, (_, near, far)| *near != n && *far != n);
        for (link, near) in cut {
            self.flight.push_back((near, Event::LinkClosed { link }));
        }
    }

    fn fabric(&self, n: usize) -> &Fabric {
        self.nodes[n].fabric.as_ref().unwrap()
    }

    fn names(&self, n: usize) -> BTreeSet<String> {
        let entries = self.fabric(n).catalog().functions();
        entries.map(|f| format!("{} {}", f.identity.name, f.node_id)).collect()
    }

    fn call(&mut self, n: usize, id: &str, command: &str, node: usize) {
        let deadline = self.now().mono + Duration::from_secs(30);
        let call = Call {
            request_id: id.into(),
            command: command.into(),
            function_id: None,
            version_constraint: None,
            resources: Vec::new(),
            cluster: "c1".into(),
            node: url(node),
            args: raw("[]"),
            kwargs: raw("{}"),
            deadline,
            patience: Duration::ZERO,
        };
        self.tell(n, Event::Call(Box::new(call)));
    }

    fn answer(&mut self, n: usize, id: &str) -> Option<Result<String, CallError>> {
        let is_it = |a: &Action| matches!(a, Action::CallAnswered { request_id, .. } if **request_id == *id);
        let at = self.nodes[n].seen.iter().position(is_it)?;
        match self.nodes[n].seen.remove(at) {
            Action::CallAnswered { outcome, .. } => Some(outcome.map(|r| r.get().to_owned())),
            _ => None,
        }
    }

    fn delivered(&self, n: usize) -> usize {
        self.nodes[n].seen.iter().filter(|a| matches!(a, Action::Deliver { .. })).count()
    }

    fn refused(&self, n: usize, wanted: Reason) -> bool {
        self.nodes[n].seen.iter().any(|a| matches!(a, Action::Refused { reason, .. } if *reason == wanted))
    }

    fn subscribe(&mut self, n: usize, id: &str, pattern: &str) {
        let topic: TopicEntry =
            serde_json::from_str(&format!(r#"{{"subscription_id":"{id}","patterns":["{pattern}"]}}"#))
                .unwrap();
        let delta = Delta { topics: vec![Arc::new(topic)], ..Delta::default() };
        self.tell(n, Event::Local(Box::new(delta)));
    }

    fn publish(&mut self, n: usize, id: &str, topic: &str) {
        let message = format!(
            r#"{{"topic":"{topic}","payload":1,"timestamp":1.0,"message_id":"{id}","publisher":"p","headers":{{}}}}"#
        );
        let event = Event::Publish {
            topic: topic.into(),
            message_id: id.into(),
            timestamp: 1.0,
            message: message.into_bytes().into(),
        };
        self.tell(n, event);
    }
}

pub(super) fn url(n: usize) -> Text {
    format!("ws://node-{n}:{}", 9000 + n).into()
}

/// Of a node of the cluster c1 that holds no links with other clusters.
pub(crate) fn settings(n: usize, instance: &str, seeds: &[usize]) -> Settings {
    Settings {
        membership: membership::Settings {
            node_id: url(n),
            cluster_id: "c1".into(),
            instance_id: instance.into(),
            seeds: seeds.iter().map(|s| url(*s)).collect(),
            gossip_interval_seconds: 1.0,
            goodbye_grace_seconds: 60.0,
            dial_backoff_seconds_max: 20.0,
            dial_parallelism_max: 4,
        },
        region: "local".into(),
        scope: Scope::Zone,
        resources: Vec::new(),
        capabilities: vec!["rpc".into()],
        tags: Vec::new(),
        transport_endpoints: vec![TransportEndpoint::internal(&url(n))],
        advertised_urls: vec![url(n)],
        catalog_ttl_seconds: 30.0,
        catalog_entries_per_cluster_max: 10_000,
        routing: true,
        hops_max: 5,
        calls_max: 100,
        floods: FloodLimits::default(),
        gossip_bytes_max: 1 << 19,
        bridging: Bridging::none(&"c1".into()),
        kin: true,
        chance_seed: n as u64 + 1,
    }
}

pub(super) fn function(name: &str) -> FunctionEntry {
    let identity = Identity {
        name: name.into(),
        function_id: name.into(),
        version: FunctionVersion::parse("1").unwrap(),
    };
    FunctionEntry {
        identity,
        resources: Vec::new(),
        node_id: "".into(),
        cluster_id: "".into(),
        scope: Scope::Zone,
        tags: Vec::new(),
        advertised_at: unset(),
        ttl_seconds: 0.0,
        rpc_summary: None,
        rpc_spec: None,
        spec_digest: None,
    }
}

/// Nodes in a full mesh, each seeded with the first.
fn mesh(count: usize) -> World {
    let mut world = World::new(count);
    for n in 0..count {
        world.start(n, &format!("first-{n}"), if n == 0 { &[] } else { &[0] });
    }
    world.run(5.0);
    world
}

#[test]
fn three_nodes_with_one_seed_mesh_and_their_catalogs_are_one() {
    let world = mesh(3);
    for n in 0..3 {
        assert_eq!(world.names(n).len(), 12, "{n}: {:?}", world.names(n));
        assert_eq!(world.names(n), world.names(0));
        assert_eq!(world.fabric(n).membership().connected().count(), 2);
        assert!(world.fabric(n).membership().states(world.now()).iter().all(|p| &*p.status == "ok"));
        assert!(world.fabric(n).membership().load_score(&url((n + 1) % 3), world.now()) < 100.0);
    }
}

#[test]
fn a_quiet_cluster_keeps_its_catalog_and_says_little() {
    let mut world = mesh(3);
    let before = world.sent;
    world.run(100.0); // three times the lease
    assert_eq!(world.names(0).len(), 12);
    // Each second: a STATUS on each of four link ends a node and their answers; refreshes and their relays besides.
    assert!(world.sent - before < 100 * 36, "{}", world.sent - before);
}

#[test]
fn news_cost_one_message_for_each_node() {
    let mut world = mesh(6);
    world.run(0.5);
    let before = world.sent;
    world.tell(2, Event::LocalFunctions(vec![function("news")]));
    let told = world.sent - before;
    for _ in 0..told {
        let (to, event) = world.flight.pop_front().unwrap();
        world.tell(to, event);
    }
    assert_eq!((told, world.sent - before), (5, 5));
    assert!((0..6).all(|n| world.fabric(n).catalog().functions_named("news").count() == 1));
}

#[test]
fn a_node_that_was_held_up_for_long_keeps_its_own_entries() {
    let mut world = mesh(2);
    world.seconds += 100.0; // three leases, and nobody was told
    world.run(2.0);
    for n in 0..2 {
        assert_eq!(world.names(n).len(), 8, "{n}");
    }
    // A clock that is set forward ends no lease of one's own either, nor of kin that lives.
    let fabric = world.nodes[0].fabric.as_mut().unwrap();
    let later = Now { wall: WALL + world.seconds + 1000.0, mono: Duration::from_secs_f64(world.seconds) };
    fabric.handle(Event::Tick, later, &mut Vec::new());
    let own = fabric.catalog().functions().filter(|f| f.node_id == url(0)).count();
    assert_eq!((own, fabric.catalog().nodes().count()), (4, 2));
}

#[test]
fn who_was_left_out_is_told_by_others() {
    let mut world = mesh(4);
    let links: Vec<LinkId> =
        world.ends.iter().filter(|(_, e)| [(1, 2), (2, 1)].contains(&(e.1, e.2))).map(|(l, _)| *l).collect();
    for link in links {
        if let Some((_, near, _)) = world.ends.get(&link).copied() {
            world.act(near, Action::Close { link, code: 1000, reason: "test" });
        }
    }
    world.run(0.000_1);
    world.tell(1, Event::LocalFunctions(vec![function("news")]));
    world.run(0.001);
    assert_eq!(world.fabric(2).catalog().functions_named("news").count(), 1);
}

#[test]
fn a_call_runs_on_the_node_it_is_for() {
    let mut world = mesh(2);
    world.call(0, "r1", "where.1", 1);
    world.call(0, "r2", "fail.1", 1);
    world.run(0.1);
    assert_eq!(world.answer(0, "r1"), Some(Ok(format!("{:?}", url(1)))));
    let error = world.answer(0, "r2").unwrap().unwrap_err();
    assert_eq!((error.code, error.details), (1003, Some("ValueError: it broke".into())));
    world.call(0, "r3", "nobody.has.it", 1);
    world.run(0.1);
    assert_eq!(world.answer(0, "r3").unwrap().unwrap_err().code, 1001);
}

#[test]
fn the_death_of_a_node_fails_its_calls_at_once_and_its_entries_expire() {
    let mut world = mesh(3);
    world.call(0, "r1", "hang.1", 1);
    world.run(0.5);
    assert_eq!(world.answer(0, "r1"), None);
    world.kill(1);
    world.run(0.01);
    let error = world.answer(0, "r1").unwrap().unwrap_err();
    assert_eq!((error.code, error.reason), (1003, Some(Reason::LinkLost)));
    assert!(world.fabric(0).membership().load_score(&url(1), world.now()) >= 1000.0);
    world.call(0, "r2", "where.1", 1);
    world.run(0.01);
    assert!(world.answer(0, "r2").unwrap().is_err());
    world.run(4.5);
    assert!(world.fabric(0).membership().is_hidden(&url(1), world.now()));
    world.run(40.0);
    assert_eq!(world.names(0).len(), 8);
    assert_eq!(world.names(0), world.names(2));
}

#[test]
fn a_node_that_does_not_route_keeps_calls_and_publications_at_home() {
    let mut world = World::new(2);
    world.start_with(0, Settings { routing: false, ..settings(0, "a", &[]) });
    world.start(1, "b", &[0]);
    world.run(3.0);
    world.subscribe(0, "s0", "t.#");
    world.subscribe(1, "s1", "t.#");
    world.run(1.0);
    world.call(0, "r1", "where.1", 1);
    let error = world.answer(0, "r1").unwrap().unwrap_err();
    assert_eq!((error.code, error.reason), (1003, Some(Reason::RoutingOff)));
    assert!(error.details.unwrap().to_string().contains("fabric.routing"));
    world.publish(0, "p1", "t.a");
    world.run(1.0);
    assert_eq!(world.delivered(1), 0);
    assert!(world.refused(0, Reason::RoutingOff));
    // What others ask of it, it does.
    world.call(1, "r2", "where.0", 0);
    world.publish(1, "p2", "t.a");
    world.run(1.0);
    assert!(world.answer(1, "r2").unwrap().is_ok());
    assert_eq!(world.delivered(0), 1);
}

#[test]
fn what_is_local_is_told_to_nobody() {
    let mut world = World::new(2);
    world.start_with(0, Settings { scope: Scope::Local, ..settings(0, "a", &[]) });
    world.start(1, "b", &[0]);
    let local = FunctionEntry { scope: Scope::Local, ..function("private") };
    world.tell(0, Event::LocalFunctions(vec![local, function("public")]));
    world.run(60.0);
    let held = |world: &World, name: &str| world.names(1).contains(&format!("{name} {}", url(0)));
    assert!(held(&world, "public") && !held(&world, "private"));
    assert!(world.fabric(1).catalog().node("c1", &url(0)).is_none());
    assert!(world.names(0).contains(&format!("private {}", url(0))));
    // What becomes local is withdrawn.
    let now_local = FunctionEntry { scope: Scope::Local, ..function("public") };
    world.tell(0, Event::LocalFunctions(vec![now_local]));
    world.run(1.0);
    assert!(!held(&world, "public") && world.names(0).contains(&format!("public {}", url(0))));
}

#[test]
fn what_policy_expels_goes_here_and_nowhere_else() {
    let mut world = mesh(3);
    let mut gone = world.fabric(0).catalog().holdings(&url(1));
    gone.node_removals.clear();
    world.tell(0, Event::Expelled(Box::new(gone)));
    assert_eq!(world.names(0).len(), 8);
    let told = world.nodes[0].seen.last();
    assert!(matches!(told, Some(Action::CatalogChanged(delta)) if delta.function_removals.len() == 4));
    world.run(0.5);
    assert_eq!((world.names(1).len(), world.names(2).len()), (12, 12));
}

#[test]
fn a_revision_moves_links_and_tells_new_addresses() {
    let mut world = World::new(3);
    for n in 1..3 {
        // Nobody tells the others of these two.
        world.start_with(n, Settings { scope: Scope::Local, ..settings(n, "i", &[]) });
    }
    let seeds = |n: usize| settings(0, "a", &[n]);
    world.start_with(0, seeds(1));
    world.run(2.0);
    let linked = |world: &World, n: usize| world.fabric(0).membership().link_to(&url(n)).is_some();
    assert!(linked(&world, 1) && !linked(&world, 2));
    // The first does not dial back for the rest of the test.
    world.nodes[1].listens = false;
    world.kill(1);
    world.run(1.0);
    let revision = Revision {
        seeds: vec![url(2)],
        transport_endpoints: vec![TransportEndpoint::internal("ws://elsewhere:1")],
        advertised_urls: vec!["ws://elsewhere:1".into()],
        catalog_entries_per_cluster_max: 1,
        calls_max: 1,
        floods: FloodLimits::default(),
        federation: federation::Settings { cluster_id: "c1".into(), ..federation::Settings::default() },
        route_rules: route::Rules::default(),
        keys: Vec::new(),
    };
    world.tell(0, Event::Revised(Box::new(revision)));
    world.run(1.0);
    assert!(linked(&world, 2));
    let told = world.fabric(2).catalog().node("c1", &url(0)).unwrap();
    assert_eq!(&*told.transport_endpoints[0].endpoint, "ws://elsewhere:1");
    let peer = world.fabric(2).membership().peer(&url(0)).unwrap();
    assert_eq!(*peer.report.as_ref().unwrap().advertised_urls[0], *"ws://elsewhere:1");
}

#[test]
fn a_call_that_is_not_answered_ends_with_its_deadline() {
    let mut world = mesh(2);
    world.call(0, "r1", "hang.1", 1);
    world.run(29.0);
    assert_eq!(world.answer(0, "r1"), None);
    world.run(1.5);
    assert_eq!(world.answer(0, "r1").unwrap().unwrap_err().code, 1004);
}

#[test]
fn goodbye_takes_a_node_out_everywhere_and_a_new_instance_comes_back() {
    let mut world = mesh(3);
    world.tell(1, Event::Stop);
    world.run(0.1);
    for n in [0, 2] {
        assert_eq!(world.names(n).len(), 8, "{n}");
        assert!(world.fabric(n).membership().peer(&url(1)).is_none());
    }
    world.nodes[1].fabric = None;
    world.run(1.0);
    world.start(1, "second-1", &[0]);
    world.run(3.0);
    for n in 0..3 {
        assert_eq!(world.names(n).len(), 12, "{n}");
        assert_eq!(world.fabric(n).membership().connected().count(), 2, "{n}");
    }
    world.call(2, "r1", "where.1", 1);
    world.run(0.1);
    assert_eq!(world.answer(2, "r1"), Some(Ok(format!("{:?}", url(1)))));
}

#[test]
fn the_departed_instance_is_kept_out_until_its_grace_is_over() {
    let mut world = mesh(2);
    world.tell(1, Event::Stop);
    world.run(0.1);
    world.nodes[1].fabric = None;
    world.start(1, "first-1", &[0]);
    world.run(30.0);
    assert!(world.refused(0, Reason::PeerDeparted));
    assert_eq!(world.fabric(0).membership().connected().count(), 0);
    world.run(120.0);
    assert_eq!(world.fabric(0).membership().connected().count(), 1);
}

#[test]
fn a_killed_node_that_starts_again_is_whole_again() {
    let mut world = mesh(2);
    world.kill(1);
    world.start(1, "second-1", &[0]);
    world.run(3.0);
    assert_eq!(world.names(1).len(), 8);
    world.call(0, "r1", "where.1", 1);
    world.run(0.1);
    assert!(world.answer(0, "r1").unwrap().is_ok());
}

#[test]
fn a_node_that_only_dials_is_called_over_its_own_link_and_through_its_peer() {
    let mut world = World::new(3);
    world.nodes[2].listens = false;
    world.start(0, "a", &[]);
    world.start(1, "b", &[0]);
    let mut only = settings(2, "c", &[0]);
    only.membership.dial_parallelism_max = 1;
    world.start_with(2, only);
    world.run(0.02);
    // Before the third has dialled the second as well, the second reaches it through the first.
    let cut: Vec<LinkId> = world
        .ends
        .iter()
        .filter(|(_, (_, n, f))| [*n, *f] == [1, 2] || [*n, *f] == [2, 1])
        .map(|(l, _)| *l)
        .collect();
    for link in cut {
        world.act(world.ends[&link].1, Action::Close { link, code: 1000, reason: "test" });
    }
    world.run(0.01);
    for (n, id) in [(0, "r1"), (1, "r2")] {
        world.call(n, id, "where.2", 2);
        world.run(0.01);
        assert_eq!(world.answer(n, id), Some(Ok(format!("{:?}", url(2)))), "{id}");
    }
}

#[test]
fn dialling_never_ends_and_slows_down() {
    let mut world = World::new(2);
    world.start(0, "a", &[1]);
    world.run(600.0);
    world.start(1, "b", &[]);
    world.run(30.0);
    assert_eq!(world.names(0).len(), 8);
}

#[test]
fn a_node_that_is_its_own_seed_does_not_meet_itself() {
    let mut world = World::new(1);
    let mut settings = settings(0, "a", &[]);
    settings.membership.seeds = vec!["ws://alias:9000".into(), url(0)];
    world.nodes.push(Member { url: "ws://alias:9000".into(), fabric: None, listens: true, seen: Vec::new() });
    world.start_with(0, settings);
    world.run(5.0);
    assert_eq!(world.fabric(0).membership().connected().count(), 0);
}

#[test]
fn a_publication_reaches_each_subscriber_node_once_and_costs_one_message_each() {
    let mut world = mesh(5);
    for n in 1..5 {
        world.subscribe(n, "same-id", "news.#");
    }
    world.run(0.1);
    world.publish(0, "m1", "news.x");
    world.publish(0, "m2", "other");
    world.run(0.05);
    assert_eq!((1..5).map(|n| world.delivered(n)).collect::<Vec<_>>(), [1; 4]);
    assert_eq!(world.messages, 4);
}

#[test]
fn an_unsubscribed_topic_is_not_sent_any_more() {
    let mut world = mesh(2);
    world.subscribe(1, "s", "off.x");
    world.run(0.1);
    let delta = Delta { topic_removals: vec!["s".into()], ..Delta::default() };
    world.tell(1, Event::Local(Box::new(delta)));
    world.run(0.1);
    assert_eq!(world.fabric(0).catalog().topics().count(), 0);
    world.publish(0, "m1", "off.x");
    world.run(0.1);
    assert_eq!(world.delivered(1), 0);
}

#[test]
fn a_large_catalog_travels_in_pieces() {
    let mut world = World::new(3);
    world.start(0, "a", &[]);
    let many = (0..3000).map(|n| function(&format!("crowd.function-number-{n}"))).collect();
    world.tell(0, Event::LocalFunctions(many));
    world.start(1, "b", &[0]);
    world.start(2, "c", &[0]);
    world.run(3.0);
    assert_eq!(world.names(1).len(), 3008);
    assert_eq!(world.names(2).len(), 3008);
}

#[test]
fn the_same_seed_makes_the_same_run() {
    let trace = || {
        let mut world = mesh(3);
        world.run(20.0);
        (world.sent, format!("{:?}", world.nodes[0].seen.len()))
    };
    assert_eq!(trace(), trace());
}

mod explanations;
mod floods;
