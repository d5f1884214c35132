//! Link state: who may speak of which links, and what a new neighbour hears of them.

use super::*;

#[test]
fn link_state_that_is_not_used_is_counted_and_a_new_neighbour_hears_what_is_known() {
    let update = |origin: &str, to: &str| {
        json!({"origin": origin, "neighbors": [{"cluster_id": to}], "advertised_at": WALL, "ttl_seconds": 30.0,
            "sequence": 7})
    };
    let mut lone = Lone::new();
    lone.meet(1, "ws://b:1", "c2");
    lone.gossip(1, "ws://b:1", "link_state_update", update("c2", "c3"));
    assert_eq!(lone.refused(Reason::LinkStateOff), 1);
    let mut lone = Lone::with(|own| own.bridging.link_state.mode = link_state::Mode::Prefer);
    lone.meet(1, "ws://b:1", "c2");
    lone.gossip(1, "ws://b:1", "link_state_update", update("c2", "c3"));
    lone.announce(1, "ws://b:1", &["c2", "c3"]);
    lone.gossip_by(1, "ws://b:1", &["ws://e:1", "ws://b:1"], "link_state_update", update("c3", "c2"));
    assert_eq!(lone.refused(Reason::LinkStateOff), 0);
    lone.meet(2, "ws://d:1", "c4");
    for (origin, path) in [("c2", r#"["ws://b:1","#), ("c3", r#"["ws://e:1","#)] {
        assert!(lone.sent(2, &format!(r#""origin":"{origin}""#)) && lone.sent(2, path), "{origin}");
    }
    // Nobody is told of itself.
    lone.out.clear();
    lone.meet(3, "ws://b:2", "c2");
    assert!(lone.sent(3, r#""origin":"c3""#) && !lone.sent(3, r#""origin":"c2""#));
    // What was said of our own links when the first of c2 came, the second hears as well.
    assert!(lone.sent(3, r#""origin":"c1""#));
}

#[test]
fn a_neighbour_speaks_of_the_links_of_clusters_that_it_leads_to() {
    let update = |origin: &str, to: &str| {
        json!({"origin": origin, "neighbors": [{"cluster_id": "c1"}, {"cluster_id": to}], "advertised_at": WALL,
            "ttl_seconds": 30.0, "sequence": 7})
    };
    let destinations = ["c2", "c4", "c6", "c7", "c8"].map(Text::from);
    let mut lone = Lone::with(|own| {
        own.bridging.link_state.mode = link_state::Mode::Prefer;
        let policy = route::Policy { allow_destinations: Some(destinations.into()), ..Default::default() };
        own.bridging.route_rules.import.global = Some(policy);
    });
    lone.meet(1, "ws://b:1", "c2");
    lone.meet(2, "ws://d:1", "c4");
    lone.gossip(1, "ws://b:1", "link_state_update", update("c2", "c9"));
    let far = |lone: &mut Lone, link: u64, sender: &str, origin: &str, to: &str| {
        lone.gossip_by(link, sender, &["ws://x:1", sender], "link_state_update", update(origin, to));
    };
    // Both ends of a link are made up by one who leads to neither.
    far(&mut lone, 1, "ws://b:1", "c8", "c2");
    far(&mut lone, 1, "ws://b:1", "c7", "c8");
    assert_eq!(lone.refused(Reason::LinkStateUnrouted), 2);
    // Nor may it speak of what route policy keeps out, though it says itself that it is linked.
    far(&mut lone, 1, "ws://b:1", "c9", "c2");
    assert_eq!(lone.refused(Reason::LinkStateUnrouted), 1);
    assert!(["c7", "c8", "c9"].iter().all(|far| !lone.fabric.link_state.reaches(far)));
    // Nor does link state alone give a right to speak of entries.
    lone.claim(1, "ws://b:1", "c9", "ws://x:9");
    assert_eq!(lone.refused(Reason::EntryUnrouted), 1);
    // Where nobody has a route, link state entitles those who are named in it.
    lone.gossip(2, "ws://d:1", "link_state_update", update("c4", "c6"));
    far(&mut lone, 2, "ws://d:1", "c6", "c4");
    assert!(lone.fabric.link_state.reaches("c6"));
    // The same message counts where it comes from one that leads there.
    lone.announce(2, "ws://d:1", &["c4", "c7"]);
    let mut both = update("c4", "c6");
    both["sequence"] = 8.into();
    both["neighbors"].as_array_mut().unwrap().extend([json!({"cluster_id": "c7"})]);
    lone.gossip(2, "ws://d:1", "link_state_update", both);
    let message = json!({"role": "fabric-gossip", "payload": {
        "message_id": "one", "message_type": "link_state_update", "payload": update("c7", "c4"),
        "ttl": 9, "hop_count": 2, "max_hops": 5,
    }});
    for (link, sender) in [(1, "ws://b:1"), (2, "ws://d:1")] {
        let mut message = message.clone();
        message["payload"]["sender_id"] = sender.into();
        message["payload"]["propagation_path"] = json!(["ws://x:1", sender]);
        lone.say(link, message.to_string().into());
    }
    assert_eq!(lone.refused(Reason::LinkStateUnrouted), 1);
    // What came before its route is taken with it, and passed on.
    let mut all = update("c2", "c8");
    all["sequence"] = 8.into();
    lone.gossip(1, "ws://b:1", "link_state_update", all);
    lone.announce(1, "ws://b:1", &["c2", "c8"]);
    assert!(lone.fabric.link_state.reaches("c8"));
    assert!(lone.sent(2, r#""origin":"c8""#) && !lone.sent(2, r#""origin":"c9""#));
    // Of a neighbour it speaks in no case, and what waits is bounded.
    far(&mut lone, 1, "ws://b:1", "c4", "c2");
    assert_eq!(lone.refused(Reason::LinkStateNotFromOrigin), 1);
    (0..1100).for_each(|n| far(&mut lone, 1, "ws://b:1", &format!("x{n}"), "c2"));
    assert!(lone.refused(Reason::LinkStateLimit) >= 76);
}
