//! Worlds of several clusters: which clusters there are, how they are joined, and what must hold between them.

use std::collections::BTreeSet;
use std::time::Duration;

use mpreg::core::catalog::Text;
use mpreg::core::fabric::{Held, Settings};
use mpreg::core::federation::{self, Bridge, LinkTerms};
use mpreg::core::link_state::Mode;
use mpreg::core::trust::{ConfiguredKey, Signer};

use crate::forms::{Shape, function, url};
use crate::network::unit;
use crate::world::World;

/// How clusters are joined and run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Nodes of each cluster.
    pub sizes: Vec<usize>,
    /// Pairs of clusters that dial each other.
    pub edges: Vec<(usize, usize)>,
    /// Pairs of nodes over which two clusters are joined.
    pub borders: usize,
    pub hops_max: i64,
    pub link_state: Mode,
    /// All routes are signed, and others are not taken.
    pub signed: bool,
    /// Only those who share an edge may meet, by a policy on both sides.
    pub explicit: bool,
    pub shape: Shape,
}

impl Plan {
    pub fn new(clusters: usize, nodes: usize, edges: Vec<(usize, usize)>) -> Plan {
        Plan {
            sizes: vec![nodes; clusters],
            edges,
            borders: 1,
            // Each cluster on the way may cost two hops.
            hops_max: 2 * clusters as i64 + 2,
            link_state: Mode::Disabled,
            signed: false,
            explicit: true,
            shape: Shape::fast(),
        }
    }

    pub fn chain(clusters: usize, nodes: usize) -> Plan {
        Plan::new(clusters, nodes, (1..clusters).map(|c| (c - 1, c)).collect())
    }

    pub fn ring(clusters: usize, nodes: usize) -> Plan {
        Plan::new(clusters, nodes, (0..clusters).map(|c| (c, (c + 1) % clusters)).collect())
    }

    pub fn tree(clusters: usize, nodes: usize) -> Plan {
        Plan::new(clusters, nodes, (1..clusters).map(|c| ((c - 1) / 2, c)).collect())
    }

    pub fn mesh(clusters: usize, nodes: usize) -> Plan {
        let pairs = (0..clusters).flat_map(|a| (a + 1..clusters).map(move |b| (a, b)));
        Plan::new(clusters, nodes, pairs.collect())
    }

    pub fn hub(clusters: usize, nodes: usize) -> Plan {
        Plan::new(clusters, nodes, (1..clusters).map(|c| (0, c)).collect())
    }

    /// The first `hubs` clusters in a ring with chords, so that each knows three; each other cluster has two of them.
    pub fn hubs(clusters: usize, hubs: usize, nodes: usize) -> Plan {
        let ring = (0..hubs).map(|h| (h, (h + 1) % hubs));
        let chords = (0..hubs / 2).map(|h| (h, h + hubs / 2));
        let spokes = (hubs..clusters).flat_map(|c| [(c % hubs, c), ((c + 1) % hubs, c)]);
        let edges: BTreeSet<(usize, usize)> =
            ring.chain(chords).chain(spokes).map(|(a, b)| (a.min(b), a.max(b))).collect();
        let edges = edges.into_iter().filter(|(a, b)| a != b).collect();
        Plan { hops_max: 4 + hubs as i64, ..Plan::new(clusters, nodes, edges) }
    }

    /// A connected graph with a few edges more than a tree.
    pub fn random(clusters: usize, nodes: usize, seed: u64) -> Plan {
        let mut chance = mpreg::core::membership::Chance::new(seed ^ 0x5eed);
        let mut pick = |below: usize| (unit(&mut chance) * below as f64) as usize;
        let mut edges: BTreeSet<(usize, usize)> = (1..clusters).map(|c| (pick(c), c)).collect();
        for _ in 0..clusters / 2 {
            let (a, b) = (pick(clusters), pick(clusters));
            if a != b {
                edges.insert((a.min(b), a.max(b)));
            }
        }
        let mut plan = Plan::new(clusters, nodes, edges.into_iter().collect());
        plan.sizes = (0..clusters).map(|_| 1 + pick(nodes)).collect();
        plan.borders = 1 + pick(2);
        plan.link_state = [Mode::Disabled, Mode::Prefer][pick(2)];
        plan.signed = pick(3) == 0;
        plan
    }

    pub fn name(cluster: usize) -> Text {
        format!("cluster-{cluster:03}").into()
    }

    /// The nodes of a cluster.
    pub fn nodes(&self, cluster: usize) -> Vec<usize> {
        let first: usize = self.sizes[..cluster].iter().sum();
        (first..first + self.sizes[cluster]).collect()
    }

    pub fn cluster_of(&self, node: usize) -> usize {
        (0..self.sizes.len()).find(|c| self.nodes(*c).contains(&node)).unwrap_or(0)
    }

    /// Whom a node is told of: the first node of its cluster, and across each edge somebody.
    pub fn seeds(&self, node: usize) -> Vec<usize> {
        let cluster = self.cluster_of(node);
        let first = self.nodes(cluster)[0];
        let mut seeds = if node == first { Vec::new() } else { vec![first] };
        for (a, b) in self.edges.iter().copied().filter(|(a, _)| *a == cluster) {
            seeds.extend(self.border_pairs(a, b).into_iter().filter(|(near, _)| *near == node).map(|p| p.1));
        }
        seeds
    }

    /// The pairs of nodes that join two clusters; hubs spread their neighbours over their nodes.
    pub fn border_pairs(&self, a: usize, b: usize) -> Vec<(usize, usize)> {
        let (near, far) = (self.nodes(a), self.nodes(b));
        let pairs = self.borders.min(near.len().max(far.len()));
        (0..pairs).map(|k| (near[(b + k) % near.len()], far[(a + k) % far.len()])).collect()
    }

    pub fn neighbours(&self, cluster: usize) -> BTreeSet<usize> {
        let of = |(a, b): &(usize, usize)| match cluster {
            c if c == *a => Some(*b),
            c if c == *b => Some(*a),
            _ => None,
        };
        self.edges.iter().filter_map(of).collect()
    }

    /// The world of this plan, with nobody started.
    pub fn world(&self, seed: u64) -> World {
        let count = self.sizes.iter().sum();
        let mut world = World::new(count, seed, self.shape);
        for n in 0..count {
            world.nodes[n].cluster = Plan::name(self.cluster_of(n));
            world.nodes[n].functions = ["where", "hang"].map(|f| function(&format!("{f}.{n}"))).into();
        }
        let plan = self.clone();
        world.adjust = Box::new(move |n, settings| plan.adjust(n, settings));
        world
    }

    pub fn start(&self, world: &mut World, node: usize) {
        let seeds = self.seeds(node);
        world.start(node, &seeds);
    }

    pub fn start_all(&self, world: &mut World) {
        for n in 0..world.nodes.len() {
            self.start(world, n);
            world.run(0.5 / world.nodes.len() as f64);
        }
    }

    /// A world in which all know all; and the seconds it took.
    pub fn settled(&self, seed: u64, seconds_max: f64) -> (World, f64) {
        let mut world = self.world(seed);
        self.start_all(&mut world);
        let took = world.run_while(seconds_max, |w| !self.is_settled(w));
        let took = took.unwrap_or_else(|| panic!("{}, seed {seed}", self.unsettled(&world)));
        (world, took)
    }

    fn adjust(&self, n: usize, settings: &mut Settings) {
        let cluster = self.cluster_of(n);
        settings.hops_max = self.hops_max;
        let bridging = &mut settings.bridging;
        bridging.federation.connections_per_cluster_max = 100;
        bridging.federation.mode = federation::Mode::PermissiveBridging;
        if self.explicit {
            bridging.federation.mode = federation::Mode::ExplicitBridging;
            bridging.federation.bridges =
                self.neighbours(cluster).into_iter().map(|c| self.bridge(cluster, c)).collect();
        }
        bridging.link_state.mode = self.link_state;
        bridging.link_state.ttl_seconds = 30.0;
        bridging.link_state.announce_interval = Duration::from_secs(10);
        if self.signed {
            bridging.trust.require_signatures = true;
            bridging.trust.allow_unsigned = false;
            bridging.trust.signer = Some(signer(cluster));
            bridging.trust.keys = (0..self.sizes.len()).map(key).collect();
        }
    }

    fn bridge(&self, own: usize, cluster: usize) -> Bridge {
        let pairs = self.border_pairs(own.min(cluster), own.max(cluster));
        let far = pairs.into_iter().map(|(a, b)| url(if own < cluster { b } else { a }));
        Bridge {
            cluster: Plan::name(cluster),
            name: "".into(),
            nodes: far.collect(),
            terms: LinkTerms::default(),
        }
    }

    /// Everybody who runs knows all functions of all, has a way to each cluster, and agrees with its kin.
    pub fn is_settled(&self, world: &World) -> bool {
        let running = world.running();
        let offered: usize = running.iter().map(|n| world.nodes[*n].functions.len()).sum();
        let clusters: BTreeSet<&Text> = running.iter().map(|n| &world.nodes[*n].cluster).collect();
        running.iter().all(|n| {
            let catalog = world.fabric(*n).catalog();
            catalog.functions().count() == offered
                && catalog.nodes().count() == running.len()
                && self.linked_with_kin(world, *n)
        }) && running.iter().all(|n| clusters.iter().all(|c| self.has_way(world, *n, c)))
            && self.kin_agree(world)
    }

    /// What holds between nodes that have been left alone for a while, besides being settled.
    pub fn at_rest(&self, world: &World) {
        let (seed, running) = (world.seed, world.running());
        for cluster in 0..self.sizes.len() {
            let nodes = self.nodes(cluster).into_iter().filter(|n| running.contains(n));
            let digests: BTreeSet<u64> = nodes.map(|n| world.fabric(n).digest_of_kin()).collect();
            assert!(digests.len() <= 1, "nodes of cluster {cluster} differ, seed {seed}");
        }
        let alive: BTreeSet<&Text> = running.iter().map(|n| &world.nodes[*n].id).collect();
        for n in &running {
            let catalog = world.fabric(*n).catalog();
            let holders = catalog.functions().map(|f| &f.node_id).chain(catalog.topics().map(|t| &t.node_id));
            let dead: Vec<&Text> = holders.filter(|node| !alive.contains(node)).collect();
            assert!(dead.is_empty(), "{n} holds entries of {dead:?}, seed {seed}");
            let listened: usize = running.iter().map(|n| world.nodes[*n].topics.len()).sum();
            assert_eq!(catalog.topics().count(), listened, "subscriptions known to {n}, seed {seed}");
            let held = world.fabric(*n).held();
            let idle = Held { early_bytes: 0, calls_waiting: 0, calls_running: 0, calls_passed_on: 0 };
            assert_eq!(held, idle, "{n} at {} s, seed {seed}", world.seconds());
        }
    }

    /// What is missing to be settled, for whoever reads the failure.
    pub fn unsettled(&self, world: &World) -> String {
        let running = world.running();
        let offered: usize = running.iter().map(|n| world.nodes[*n].functions.len()).sum();
        let clusters: BTreeSet<&Text> = running.iter().map(|n| &world.nodes[*n].cluster).collect();
        let mut lines = Vec::new();
        for n in &running {
            let catalog = world.fabric(*n).catalog();
            let (functions, nodes) = (catalog.functions().count(), catalog.nodes().count());
            let cut_off: Vec<&&Text> = clusters.iter().filter(|c| !self.has_way(world, *n, c)).collect();
            if functions != offered || nodes != running.len() || !cut_off.is_empty() {
                lines.push(format!(
                    "{n} of {}: {functions}/{offered} functions, {nodes}/{} nodes, no way to {cut_off:?}",
                    world.nodes[*n].cluster,
                    running.len()
                ));
            } else if !self.linked_with_kin(world, *n) {
                lines.push(format!("{n} of {} misses kin", world.nodes[*n].cluster));
            }
        }
        if !self.kin_agree(world) {
            lines.push("kin disagree about routes".to_owned());
            for n in &running {
                let table = world.fabric(*n).routes().table();
                for (_, routes) in table.destinations() {
                    lines.extend(
                        routes.take(1).map(|r| format!("{n}: {:?} by {:?}, {:?}", r.path, r.via, r.metrics)),
                    );
                }
            }
        }
        format!("{} s: {} of {} nodes: {}", world.seconds(), lines.len(), running.len(), lines.join("\n"))
    }

    fn linked_with_kin(&self, world: &World, n: usize) -> bool {
        let kin = self.nodes(self.cluster_of(n)).into_iter().filter(|k| *k != n);
        kin.filter(|k| world.nodes[*k].fabric.is_some())
            .all(|k| world.fabric(n).membership().link_to(&url(k)).is_some())
    }

    fn has_way(&self, world: &World, n: usize, cluster: &Text) -> bool {
        world.nodes[n].cluster == *cluster || world.fabric(n).reaches(cluster, "")
    }

    /// The nodes of a cluster have ways to the same clusters, of the same length.
    fn kin_agree(&self, world: &World) -> bool {
        (0..self.sizes.len()).all(|cluster| {
            let mut ways =
                self.nodes(cluster).into_iter().filter(|n| world.nodes[*n].fabric.is_some()).map(|n| {
                    let table = world.fabric(n).routes().table();
                    let best = |(d, mut routes): (&Text, _)| {
                        let first: Option<&mpreg::core::route::Route> = Iterator::next(&mut routes);
                        (d.clone(), first.map(|r| r.path.len()))
                    };
                    table.destinations().map(best).collect::<Vec<_>>()
                });
            let Some(first) = ways.next() else { return true };
            ways.all(|other| other == first)
        })
    }

    /// Clusters that a chain of live links joins with this one, it among them.
    pub fn joined_with(&self, world: &World, cluster: usize) -> BTreeSet<usize> {
        let mut found = BTreeSet::from([cluster]);
        let mut next = vec![cluster];
        while let Some(at) = next.pop() {
            for other in self.neighbours(at) {
                if !found.contains(&other) && self.is_joined(world, at, other) {
                    found.insert(other);
                    next.push(other);
                }
            }
        }
        found
    }

    /// Two clusters hold a link whose ends both know it.
    pub fn is_joined(&self, world: &World, a: usize, b: usize) -> bool {
        let is_open = |x: usize, y: usize| {
            let knows = |n: usize, other: usize| {
                let fabric = world.nodes[n].fabric.as_ref();
                fabric.is_some_and(|f| f.membership().link_to(&url(other)).is_some())
            };
            knows(x, y) && knows(y, x) && world.network.open(x, y) && world.network.open(y, x)
        };
        self.nodes(a).into_iter().any(|x| self.nodes(b).into_iter().any(|y| is_open(x, y)))
    }

    /// Some node of `cluster` still has a route whose path goes over an edge that is gone.
    pub fn believes_in(&self, world: &World, cluster: usize, edge: (usize, usize)) -> bool {
        let (a, b) = (Plan::name(edge.0), Plan::name(edge.1));
        let over = |path: &[Text]| {
            path.windows(2).any(|p| p == [a.clone(), b.clone()] || p == [b.clone(), a.clone()])
        };
        let nodes = self.nodes(cluster).into_iter().filter(|n| world.nodes[*n].fabric.is_some());
        let mut tables = nodes.map(|n| world.fabric(n).routes().table());
        tables.any(|t| t.destinations().any(|(_, mut routes)| routes.any(|r| over(&r.path))))
    }
}

fn signer(cluster: usize) -> Signer {
    let text = format!("{:064x}", cluster + 1);
    Signer::parse(&text, "").unwrap_or_else(|e| panic!("{e}"))
}

fn key(cluster: usize) -> ConfiguredKey {
    ConfiguredKey {
        cluster: Plan::name(cluster),
        key: signer(cluster).public(),
        key_id: "".into(),
        primary: true,
        expires_at: None,
    }
}
