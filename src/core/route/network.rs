//! Clusters wired at random, with links that come and go: what all tables together must hold once nothing is on its way.

use std::collections::{BTreeSet, VecDeque};

use proptest::prelude::*;

use super::tests::{neighbour, rules, settings};
use super::*;

/// A node: which cluster, and which of its nodes.
type Node = (usize, usize);

/// Nodes, and what is on its way between them, in order for each pair.
struct Network {
    nodes: BTreeMap<Node, Routes>,
    links: BTreeSet<(Node, Node)>,
    wires: BTreeMap<(Node, Node), VecDeque<Told>>,
    seconds: f64,
}

/// A link between two nodes, to be turned up or down, and how many messages arrive before the next.
#[derive(Debug, Clone)]
struct Step {
    from: Node,
    to: Node,
    deliveries: usize,
}

impl Network {
    fn new(clusters: usize, nodes_each: usize) -> Network {
        let mut network =
            Network { nodes: BTreeMap::new(), links: BTreeSet::new(), wires: BTreeMap::new(), seconds: 0.0 };
        for cluster in 0..clusters {
            for node in 0..nodes_each {
                let settings = Settings { routes_per_destination_max: 64, ..settings(&name(cluster)) };
                network.nodes.insert((cluster, node), Routes::new(settings, rules()));
            }
            for (a, b) in (0..nodes_each).flat_map(|a| (0..a).map(move |b| (a, b))) {
                network.up((cluster, a), (cluster, b));
            }
        }
        network
    }

    fn now(&self) -> Now {
        super::tests::at(self.seconds)
    }

    fn toggle(&mut self, a: Node, b: Node) {
        match self.links.contains(&(a, b)) {
            true => self.down(a, b),
            false => self.up(a, b),
        }
    }

    fn up(&mut self, a: Node, b: Node) {
        for (a, b) in [(a, b), (b, a)] {
            self.links.insert((a, b));
            let now = self.now();
            let told = self.nodes.get_mut(&a).unwrap().joined(&hearer(a, b), now);
            self.wires.insert((a, b), told.into());
        }
    }

    fn down(&mut self, a: Node, b: Node) {
        for (a, b) in [(a, b), (b, a)] {
            self.links.remove(&(a, b));
            self.wires.remove(&(a, b));
        }
        for (a, b) in [(a, b), (b, a)] {
            if !self.links.iter().any(|(from, to)| *from == a && to.0 == b.0) {
                let now = self.now();
                self.nodes.get_mut(&a).unwrap().neighbour_lost(&name(b.0).into(), now);
            }
            self.speak(a);
        }
    }

    /// Puts on the wires what a node has to say.
    fn speak(&mut self, node: Node) {
        let now = self.now();
        for (to, told) in self.nodes.get_mut(&node).unwrap().updates(now) {
            for ((from, hears), wire) in &mut self.wires {
                if *from == node && hearer(node, *hears) == to {
                    wire.extend(told.iter().cloned());
                }
            }
        }
    }

    /// Delivers the next message of one of the wires that have any.
    fn deliver(&mut self, choice: usize) -> bool {
        let busy: Vec<_> = self.wires.iter().filter(|(_, w)| !w.is_empty()).map(|(l, _)| *l).collect();
        if busy.is_empty() {
            return false;
        }
        let (from, to) = busy[choice % busy.len()];
        let told = self.wires.get_mut(&(from, to)).unwrap().pop_front().unwrap();
        self.seconds += 0.001;
        let now = self.now();
        let via = match from.0 == to.0 {
            true => Via::Border { node: format!("{from:?}").into() },
            false => neighbour(&name(from.0)),
        };
        let routes = self.nodes.get_mut(&to).unwrap();
        match told {
            Told::Announce { announcement, .. } => {
                let taken = routes.announced(&via, &announcement, Standing::Unsigned, &Link::default(), now);
                let routine = [Reason::RouteReplayed, Reason::RoutePathLoop];
                assert!(taken.is_ok() || routine.contains(&taken.unwrap_err()), "{taken:?}");
            }
            Told::Withdraw { withdrawal, .. } => {
                let _ = routes.withdrawn(&via, &withdrawal, now);
            }
        }
        self.speak(to);
        true
    }

    /// Lets time pass up to then, with all that is due and all that is on its way.
    fn run(&mut self, until: f64) {
        loop {
            let mut choice = 0;
            while self.deliver(choice) {
                choice += 7;
                assert!(choice < 1_000_000, "it never becomes quiet");
            }
            let deadlines = self.nodes.values().filter_map(Routes::next_deadline);
            let next = deadlines.min().map_or(until, |next| next.as_secs_f64().max(self.seconds));
            if next >= until {
                self.seconds = self.seconds.max(until);
                return;
            }
            self.seconds = next + 1e-6;
            let now = self.now();
            for node in self.nodes.keys().copied().collect::<Vec<_>>() {
                self.nodes.get_mut(&node).unwrap().expire(now);
                self.speak(node);
            }
        }
    }

    /// The clusters that a cluster has a way to; the nodes of one are all linked.
    fn reachable(&self, cluster: usize) -> BTreeSet<usize> {
        let mut reached = BTreeSet::from([cluster]);
        let mut open = vec![cluster];
        while let Some(next) = open.pop() {
            let linked = self.links.iter().filter(|(a, _)| a.0 == next).map(|(_, b)| b.0);
            open.extend(linked.filter(|b| reached.insert(*b)));
        }
        reached
    }

    /// Every cluster that can be reached has a route everywhere, no other one has, and no path has a cluster twice.
    fn check_reach(&self) {
        for (node, routes) in &self.nodes {
            let mut expected: BTreeSet<Text> =
                self.reachable(node.0).into_iter().map(|c| name(c).into()).collect();
            expected.remove(&Text::from(name(node.0)));
            let held: BTreeSet<Text> = routes.table().destinations().map(|(d, _)| d.clone()).collect();
            assert_eq!(held, expected, "{node:?}");
            for (_, routes) in routes.table().destinations() {
                for route in routes {
                    let different: BTreeSet<_> = route.path.iter().collect();
                    assert_eq!(different.len(), route.path.len(), "{route:?}");
                }
            }
        }
    }

    /// Whoever follows the best routes, over any node of the next cluster, arrives.
    fn check_forwarding(&self) {
        for start in self.nodes.keys() {
            for (destination, _) in self.nodes[start].table().destinations() {
                self.follow(*start, destination, vec![*start], false);
            }
        }
    }

    fn follow(&self, at: Node, destination: &str, way: Vec<Node>, from_border: bool) {
        if *name(at.0) == *destination {
            return;
        }
        assert!(way.len() <= 2 * self.nodes.len(), "a loop to {destination}: {way:?}");
        let table = self.nodes[&at].table();
        let best = if from_border {
            table.candidates_here(destination, &[]).next()
        } else {
            table.best(destination)
        };
        let best = best.unwrap_or_else(|| panic!("{way:?} ends on the way to {destination}"));
        let linked = self.links.iter().filter(|(a, _)| *a == at).map(|(_, b)| *b);
        let next: Vec<Node> = match &best.via {
            Via::Neighbour { cluster } => linked.filter(|b| *name(b.0) == **cluster).collect(),
            Via::Border { node } => linked.filter(|b| *format!("{b:?}") == **node).collect(),
        };
        assert!(!next.is_empty(), "{at:?} has no link for {best:?}");
        for b in next {
            let way = way.iter().copied().chain([b]).collect();
            self.follow(b, destination, way, b.0 == at.0);
        }
    }

    /// What was told over a link between two clusters of one node each is what the other one holds from it.
    fn check_told(&self) {
        for (a, b) in &self.links {
            let told = self.nodes[a].tell.told(&hearer(*a, *b));
            let told: BTreeSet<Vec<Text>> = told.into_values().collect();
            let held = self.nodes[b].table().destinations().flat_map(|(_, routes)| routes);
            let held: BTreeSet<Vec<Text>> =
                held.filter(|r| r.via == neighbour(&name(a.0))).map(|r| r.path[1..].to_vec()).collect();
            assert_eq!(told, held, "{a:?} to {b:?}");
        }
    }
}

fn name(cluster: usize) -> String {
    format!("c{cluster}")
}

fn hearer(from: Node, to: Node) -> Hearer {
    if from.0 == to.0 { Hearer::OwnCluster } else { Hearer::Cluster(name(to.0).into()) }
}

fn steps(clusters: usize, nodes_each: usize, count: usize) -> impl Strategy<Value = Vec<Step>> {
    let node = move || (0..clusters, 0..nodes_each);
    let step = (node(), node(), 0..40_usize).prop_map(|(from, to, deliveries)| Step { from, to, deliveries });
    let between = |step: &Step| step.from.0 != step.to.0;
    prop::collection::vec(step.prop_filter("between clusters", between), 1..count)
}

fn play(network: &mut Network, steps: &[Step]) {
    for step in steps {
        network.toggle(step.from, step.to);
        for n in 0..step.deliveries {
            network.deliver(n * 5 + step.deliveries);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn clusters_agree_soon_after_the_last_change(steps in steps(6, 1, 40)) {
        let mut network = Network::new(6, 1);
        play(&mut network, &steps);
        // Long before any lease ends and before anything is said again: what is gone was withdrawn.
        network.run(network.seconds + 4.0);
        network.check_reach();
        network.check_forwarding();
        network.check_told();
        network.run(network.seconds + 60.0);
        network.check_reach();
        network.check_told();
    }

    #[test]
    fn clusters_of_several_border_nodes_agree_in_the_end(steps in steps(5, 2, 40)) {
        let mut network = Network::new(5, 2);
        play(&mut network, &steps);
        network.run(network.seconds + 45.0);
        network.check_reach();
        network.check_forwarding();
    }
}
