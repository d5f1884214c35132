//! What must hold: always, and when a cluster has had the time to settle.

use std::collections::BTreeSet;
use std::sync::Arc;

use mpreg::core::catalog::{FunctionEntry, Identity, Text};
use mpreg::core::membership::overlay::{Places, neighbours, places};

use crate::world::World;

/// Holds for a node after everything that happens to it, and costs little: what else holds always is seen by
/// [`always`], and what is delivered, run or answered twice by the world itself, at once.
pub fn step(world: &World, n: usize) {
    let Some(fabric) = &world.nodes[n].fabric else { return };
    let (node, now, seed) = (&world.nodes[n], world.time_at(n), world.seed);
    // An entry leaves with its lease, whoever held it.
    let ended = fabric.catalog().next_expiry().is_some_and(|end| end + LEASE_SLACK_SECONDS < now.wall);
    assert!(!ended, "{n} holds what has ended at {} s, seed {seed}", world.seconds());
    assert!(fabric.catalog().node(&node.cluster, &node.id).is_some(), "{n} lost itself, seed {seed}");
    if world.nodes.len() <= STEPWISE_MAX {
        routes(world, n);
    }
    let held = fabric.held();
    let calls = held.calls_waiting.max(held.calls_running).max(held.calls_passed_on);
    assert!(calls <= CALLS_MAX && held.early_bytes <= EARLY_BYTES_MAX, "{n} holds {held:?}, seed {seed}");
    let waiting = world.network.waiting_bytes_max;
    let waiting_max = WAITING_BYTES_MAX + world.nodes.len() * WAITING_BYTES_PER_NODE;
    assert!(waiting <= waiting_max, "{waiting} bytes wait in one direction of a link, seed {seed}");
}

/// Holds after every step of every world; looked at now and then.
pub fn always(world: &World) {
    let seed = world.seed;
    let clusters: BTreeSet<&Text> = world.nodes.iter().map(|n| &n.cluster).collect();
    for n in world.running() {
        let own = &world.nodes[n].id;
        let catalog = world.fabric(n).catalog();
        if !world.nodes[n].stuck {
            let mine: BTreeSet<&str> = catalog.functions_of(own).map(|f| &*f.identity.name).collect();
            let declared: BTreeSet<&str> =
                world.nodes[n].functions.iter().map(|f| &*f.identity.name).collect();
            assert_eq!(mine, declared, "own functions of {n} at {} s, seed {seed}", world.seconds());
        }
        let entries: usize = clusters.iter().map(|c| catalog.entries_of_cluster(c)).sum();
        let counted = catalog.functions().count() + catalog.nodes().count() + catalog.topics().count();
        assert_eq!(entries, counted, "entries are counted wrongly at {n}, seed {seed}");
        if !world.nodes[n].stuck {
            routes(world, n);
        }
        let links = world.fabric(n).membership().links().count();
        assert!(links <= LINKS_PER_PEER_MAX * world.nodes.len(), "{n} holds {links} links, seed {seed}");
    }
    for (id, asked) in &world.calls {
        let caller = &world.nodes[asked.node];
        let alive = caller.fabric.is_some() && caller.life == asked.life && !caller.stuck;
        // The fabric leaves the request itself a tenth of a second to end in its own words.
        let overdue = world.now > asked.deadline + crate::network::SECOND * 11 / 100;
        assert!(!(alive && overdue && asked.answers.is_empty()), "{id} has no end, seed {seed}");
    }
}

/// Every route that a node holds leads from here to its destination, past no cluster twice, and lives.
fn routes(world: &World, n: usize) {
    let (seed, own, now) = (world.seed, &world.nodes[n].cluster, world.time_at(n));
    let table = world.fabric(n).routes().table();
    for (destination, routes) in table.destinations() {
        let mut count = 0;
        for route in routes {
            let whole = route.path.first() == Some(own) && route.path.last() == Some(destination);
            let passes_twice = (1..route.path.len()).any(|at| route.path[..at].contains(&route.path[at]));
            assert!(whole && !passes_twice, "{n} holds {:?}, seed {seed}", route.path);
            let ended = route.expires_at + LEASE_SLACK_SECONDS < now.wall;
            assert!(!ended, "{n} holds a route that has ended: {route:?}, seed {seed}");
            count += 1;
        }
        assert!(
            count <= ROUTES_PER_DESTINATION_MAX,
            "{n} holds {count} routes to {destination}, seed {seed}"
        );
    }
}

/// Functions as one node knows them, each with its holder.
pub fn functions(world: &World, n: usize) -> BTreeSet<(String, String)> {
    let functions = world.fabric(n).catalog().functions();
    functions.map(|f| (f.identity.name.to_string(), f.node_id.to_string())).collect()
}

/// Everybody knows exactly what those who run offer, and nothing else.
pub fn converged(world: &World) -> bool {
    if !digests_agree(world) {
        return false; // the cheapest to see
    }
    let running = world.running();
    let offered: usize = running.iter().map(|n| world.nodes[*n].functions.len()).sum();
    running.iter().all(|n| {
        let catalog = world.fabric(*n).catalog();
        catalog.nodes().count() == running.len() && catalog.functions().count() == offered
    }) && same_everywhere(world)
}

/// All nodes that speak the extension hold the same versions of each other.
pub fn digests_agree(world: &World) -> bool {
    let kin = world.running().into_iter().filter(|n| !world.nodes[*n].plain);
    let mut digests = kin.map(|n| world.fabric(n).digest_of_kin());
    let first = digests.next();
    digests.all(|digest| Some(digest) == first)
}

/// All catalogs hold the same keys, and these are of nodes that run.
pub fn same_everywhere(world: &World) -> bool {
    let running = world.running();
    let Some(first) = running.first() else { return true };
    fn key(f: &Arc<FunctionEntry>) -> (&Text, &Text, &Identity, &[Text]) {
        (&f.cluster_id, &f.node_id, &f.identity, &f.resources)
    }
    let keys = |n: usize| world.fabric(n).catalog().functions().map(key);
    let alive: BTreeSet<&Text> = running.iter().map(|n| &world.nodes[*n].id).collect();
    keys(*first).all(|(_, node, ..)| alive.contains(node))
        && running.iter().all(|n| keys(*first).eq(keys(*n)))
}

/// Every two nodes that run hold a link; in a large cluster each holds those of the overlay.
pub fn meshed(world: &World) -> bool {
    let running = world.running();
    let places: Vec<(&Text, Places)> =
        running.iter().map(|n| &world.nodes[*n].id).map(|id| (id, places(id))).collect();
    running.iter().zip(&places).all(|(n, (own, at))| {
        let others = places.iter().filter(|(node, _)| node != own).map(|(node, at)| (*node, at));
        neighbours(at, others).iter().all(|node| world.fabric(*n).membership().link_to(node).is_some())
    })
}

pub fn settled(world: &World) -> bool {
    converged(world) && meshed(world)
}

/// Two links for each pair at rest; more for a moment, while an old one dies.
const LINKS_PER_PEER_MAX: usize = 4;
/// route.max_routes_per_destination of all worlds.
const ROUTES_PER_DESTINATION_MAX: usize = 4;
/// In larger worlds all routes of a node are too much to look at after each event.
const STEPWISE_MAX: usize = 50;
const LEASE_SLACK_SECONDS: f64 = 0.1;
/// limits.calls of all worlds.
const CALLS_MAX: usize = 1000;
/// What all links together may have waiting for a STATUS.
const EARLY_BYTES_MAX: usize = 4 << 20;
/// What the keep-alive of the drivers lets gather before it ends a dead link.
const WAITING_BYTES_MAX: usize = 1 << 22;
/// And what is told at once of each node, twice: a link that is lost and made again begins with everything.
const WAITING_BYTES_PER_NODE: usize = 1 << 13;
