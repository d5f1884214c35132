//! Limits on gossip are for those who flood: whoever is honest never meets them, however much he knows.

use super::*;

/// Entries as large as they are with the description of a function.
fn crowd(count: usize) -> Vec<FunctionEntry> {
    let entry = |n: usize| {
        let mut entry = function(&format!("crowd.function-number-{n}"));
        entry.rpc_summary = Some(Arc::from(raw(&format!(r#"{{"summary":"{}"}}"#, "x".repeat(300)))));
        entry
    };
    (0..count).map(entry).collect()
}

/// Two nodes, `second` changed, the first of which knows ten thousand entries; their links are cut again and again.
fn flapping(second: impl FnOnce(&mut Settings)) -> World {
    let mut world = World::new(2);
    let of = |n: usize, seeds: &[usize]| {
        let mut own = settings(n, "a", seeds);
        own.catalog_entries_per_cluster_max = 20_000;
        own.bridging.federation.mode = federation::Mode::PermissiveBridging;
        own.bridging.federation.connections_per_cluster_max = 100;
        own
    };
    world.start_with(0, of(0, &[]));
    world.tell(0, Event::LocalFunctions(crowd(10_000)));
    let mut other = of(1, &[0]);
    second(&mut other);
    world.start_with(1, other);
    world.run(1.0);
    for _ in 0..2 {
        let links: Vec<(LinkId, usize)> = world.ends.iter().map(|(link, end)| (*link, end.1)).collect();
        for (link, node) in links {
            world.act(node, Action::Close { link, code: 1000, reason: "test" });
        }
        world.run(2.0);
    }
    world
}

fn assert_unhurt(world: &World, what: &str) {
    assert!(world.names(1).len() >= 10_000, "{what}: {}", world.names(1).len());
    for n in 0..2 {
        for limit in [Reason::GossipFlood, Reason::CatalogLimit, Reason::MessageTooLarge] {
            assert!(!world.refused(n, limit), "{what}: {limit}");
        }
    }
    assert!(world.fabric(1).membership().link_to(&url(0)).is_some(), "{what}");
}

#[test]
fn ten_thousand_entries_after_each_reconnect_are_no_flood() {
    assert_unhurt(&flapping(|_| ()), "between nodes of this program");
    assert_unhurt(&flapping(|own| own.kin = false), "to a node without the extension");
    let foreign = |own: &mut Settings| {
        let federation = federation::Settings { cluster_id: "c2".into(), ..own.bridging.federation.clone() };
        own.membership.cluster_id = "c2".into();
        own.bridging = Bridging { federation, ..Bridging::none(&"c2".into()) };
    };
    assert_unhurt(&flapping(foreign), "to another cluster");
}
