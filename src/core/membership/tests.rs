use super::*;
use crate::core::catalog::NodeEntry;

fn own() -> Settings {
    Settings {
        node_id: "ws://me:1".into(),
        cluster_id: "c1".into(),
        instance_id: "mine".into(),
        seeds: vec!["ws://seed:1".into()],
        gossip_interval_seconds: 1.0,
        goodbye_grace_seconds: 5.0,
        dial_backoff_seconds_max: 30.0,
        dial_parallelism_max: 2,
    }
}

fn at(seconds: f64) -> Now {
    Now::at(1e9, seconds)
}

fn hello<'a>(url: &'a str, instance: &'a str) -> Status<'a> {
    Status::new(url, "c1", instance, 0.0)
}

fn nodes(urls: &[&str]) -> Vec<NodeEntry> {
    urls.iter()
        .map(|u| serde_json::from_str(&format!(r#"{{"node_id":"{u}","cluster_id":"c1"}}"#)).unwrap())
        .collect()
}

fn dials(m: &mut Membership, known: &[NodeEntry], seconds: f64) -> Vec<Text> {
    m.dials(known.iter().map(Candidate::of).collect(), |_| false, at(seconds))
}

#[test]
fn seeds_and_known_nodes_are_dialled_a_few_at_a_time() {
    let mut m = Membership::new(own());
    let known = nodes(&["ws://a:1", "ws://b:1", "ws://me:1", "ws://seed:1"]);
    assert_eq!(dials(&mut m, &known, 0.0), [Text::from("ws://seed:1"), "ws://a:1".into()]);
    assert!(dials(&mut m, &known, 1.0).is_empty());
    m.opened(LinkId(1), Some("ws://a:1".into()), |_, _| true, at(1.0));
    assert_eq!(m.speaker(LinkId(1)).map(|n| &**n), Some("ws://a:1"));
    assert_eq!(dials(&mut m, &known, 1.0), [Text::from("ws://b:1")]);
}

#[test]
fn other_seeds_end_the_links_to_the_old_ones() {
    let mut m = Membership::new(own());
    assert_eq!(dials(&mut m, &[], 0.0).len(), 1);
    m.opened(LinkId(1), Some("ws://seed:1".into()), |_, _| true, at(0.0));
    m.opened(LinkId(2), None, |_, _| true, at(0.0));
    let both = vec!["ws://new:1".into(), "ws://seed:1".into(), "ws://me:1".into()];
    assert!(m.links_without(&both).is_empty());
    m.set_seeds(both);
    assert_eq!(dials(&mut m, &[], 1.0), [Text::from("ws://new:1")]);
    let unreached = m.unreached(at(1.0));
    assert_eq!(unreached.len(), 1, "the other leads to a node");
    assert!(&*unreached[0].url == "ws://new:1" && unreached[0].is_seed && unreached[0].under_way);
    assert_eq!(m.seeds_reached(at(1.0)), (1, 2));
    let new = vec!["ws://new:1".into()];
    assert_eq!(m.links_without(&new), [LinkId(1)]);
    m.set_seeds(new);
    m.closed(LinkId(1), at(2.0), &mut Chance::new(1));
    assert!(dials(&mut m, &[], 200.0).is_empty(), "nobody knows the old one any more");
}

#[test]
fn failures_slow_down_without_end_and_success_starts_over() {
    let (mut m, mut chance) = (Membership::new(own()), Chance::new(1));
    let mut now = 0.0;
    let mut pauses = Vec::new();
    for _ in 0..30 {
        assert_eq!(dials(&mut m, &[], now).len(), 1);
        m.dial_failed("ws://seed:1", at(now), &mut chance);
        assert!(dials(&mut m, &[], now).is_empty());
        let next = m.next_dial().unwrap().as_secs_f64();
        pauses.push(next - now);
        now = next;
    }
    assert!(pauses[0] <= 1.25 && pauses[3] >= 6.0, "{pauses:?}");
    assert!(pauses[10..].iter().all(|p| (22.5..=37.5).contains(p)), "{pauses:?}");
    assert!(pauses[20] != pauses[21], "no two nodes in step");
    assert_eq!(dials(&mut m, &[], now).len(), 1);
    m.opened(LinkId(1), Some("ws://seed:1".into()), |_, _| false, at(now));
    m.closed(LinkId(1), at(now + 60.0), &mut chance);
    dials(&mut m, &[], now + 60.0);
    assert!(m.next_dial().unwrap().as_secs_f64() - now - 60.0 <= 1.25);
}

#[test]
fn a_peer_over_its_own_link_is_dialled_back_once() {
    let (mut m, mut chance) = (Membership::new(own()), Chance::new(1));
    let known = nodes(&["ws://a:1"]);
    m.opened(LinkId(1), None, |_, _| false, at(0.0));
    let arrival = m.status(LinkId(1), &hello("ws://a:1", "i1"), anybody, at(0.0)).unwrap();
    assert!(arrival.new_peer && arrival.new_link && arrival.stale.is_empty());
    assert!(dials(&mut m, &known, 0.0).contains(&"ws://a:1".into()));
    m.dial_failed("ws://a:1", at(0.0), &mut chance);
    assert!(!dials(&mut m, &known, 30.0).contains(&"ws://a:1".into()));
    let lost = m.closed(LinkId(1), at(31.0), &mut chance);
    assert_eq!(lost, Some(Lost { node: "ws://a:1".into(), last: true }));
    m.dial_failed("ws://seed:1", at(31.0), &mut chance);
    assert!(dials(&mut m, &known, 32.5).contains(&"ws://a:1".into()), "now it matters");
}

#[test]
fn a_seed_under_another_name_is_one_node() {
    let mut m = Membership::new(own());
    dials(&mut m, &[], 0.0);
    assert_eq!(m.opened(LinkId(1), Some("ws://seed:1".into()), |_, _| false, at(0.0)), None);
    m.status(LinkId(1), &hello("ws://real:1", "i1"), anybody, at(0.0)).unwrap();
    assert!(dials(&mut m, &nodes(&["ws://real:1"]), 1.0).is_empty());
}

#[test]
fn a_new_instance_replaces_the_links_of_the_old_one() {
    let mut m = Membership::new(own());
    for (link, instance, seconds) in [(1, "i1", 0.0), (2, "i1", 1.0), (3, "i2", 2.0)] {
        m.opened(LinkId(link), None, |_, _| false, at(seconds));
        let arrival = m.status(LinkId(link), &hello("ws://a:1", instance), anybody, at(seconds)).unwrap();
        assert_eq!(arrival.new_peer, link != 2);
        let stale = if link == 3 { vec![LinkId(1), LinkId(2)] } else { Vec::new() };
        assert_eq!(arrival.stale, stale);
    }
    assert_eq!(m.link_to("ws://a:1"), Some(LinkId(3)));
}

#[test]
fn a_link_belongs_to_one_node_and_nobody_is_us() {
    let mut m = Membership::new(own());
    m.opened(LinkId(1), None, |_, _| false, at(0.0));
    m.status(LinkId(1), &hello("ws://a:1", "i1"), anybody, at(0.0)).unwrap();
    for url in ["ws://b:1", "ws://me:1", ""] {
        let refusal = m.status(LinkId(1), &hello(url, "i1"), anybody, at(0.0)).unwrap_err();
        assert!(refusal.closes, "{url}");
    }
    assert_eq!(m.speaker(LinkId(1)).map(|n| &**n), Some("ws://a:1"));
}

#[test]
fn load_follows_the_report_its_age_and_the_link() {
    let (mut m, mut chance) = (Membership::new(own()), Chance::new(1));
    assert_eq!(m.load_score("ws://a:1", at(0.0)), 1000.0);
    m.opened(LinkId(1), None, |_, _| false, at(0.0));
    let mut status = hello("ws://a:1", "i1");
    status.active_clients = 7;
    m.status(LinkId(1), &status, anybody, at(0.0)).unwrap();
    assert_eq!(m.load_score("ws://a:1", at(3.0)), 7.0);
    assert_eq!(m.load_score("ws://a:1", at(3.1)), 507.0);
    status.status = "degraded".into();
    m.status(LinkId(1), &status, anybody, at(4.0)).unwrap();
    assert_eq!(m.load_score("ws://a:1", at(4.0)), 1007.0);
    m.closed(LinkId(1), at(5.0), &mut chance);
    assert_eq!(m.load_score("ws://a:1", at(5.0)), 1007.0);
    assert_eq!(&*m.states(at(8.0))[0].status, "disconnected");
    assert!(m.states(at(9.5)).is_empty() && m.is_hidden("ws://a:1", at(9.5)));
    m.opened(LinkId(2), None, |_, _| false, at(10.0));
    m.status(LinkId(2), &hello("ws://a:1", "i1"), anybody, at(10.0)).unwrap();
    assert_eq!(&*m.states(at(10.0))[0].status, "ok");
}

#[test]
fn ids_look_like_uuids_and_differ() {
    let mut chance = Chance::new(7);
    let (a, b) = (chance.uuid(), chance.uuid());
    assert_ne!(a, b);
    let parts: Vec<usize> = a.split('-').map(str::len).collect();
    assert_eq!(parts, [8, 4, 4, 4, 12]);
    assert!(a.split('-').nth(2).is_some_and(|p| p.starts_with('4')));
}

fn anybody(_: &str, _: &str) -> Result<(), Refusal> {
    Ok(())
}

fn with_endpoints(node: &str, endpoints: &[(&str, &str, u16)]) -> NodeEntry {
    let endpoints: Vec<_> = endpoints
        .iter()
        .map(|(protocol, host, port)| {
            serde_json::json!({"connection_type": "internal", "protocol": protocol, "host": host, "port": port})
        })
        .collect();
    let node = serde_json::json!({"node_id": node, "cluster_id": "c1", "transport_endpoints": endpoints});
    serde_json::from_str(&node.to_string()).unwrap()
}

fn urls(list: &[&str]) -> Vec<Text> {
    list.iter().map(|url| Text::from(*url)).collect()
}

#[test]
fn a_protected_address_of_a_node_is_not_exchanged_for_others() {
    let node =
        with_endpoints("ws://n:1", &[("ws", "n", 1), ("tcps", "n", 2), ("wss", "n", 3), ("wss", "m", 3)]);
    assert_eq!(Candidate::of(&node).urls, urls(&["wss://m:3", "wss://n:3", "tcps://n:2"]));
    let plain = with_endpoints("ws://n:1", &[("tcp", "n", 2), ("ws", "n", 1)]);
    assert_eq!(Candidate::of(&plain).urls, urls(&["ws://n:1", "tcp://n:2"]));
}

#[test]
fn addresses_of_a_found_peer_have_their_turn() {
    let (mut m, mut chance) = (Membership::new(Settings { seeds: Vec::new(), ..own() }), Chance::new(1));
    m.set_found(vec![urls(&["ws://a:1", "ws://a:2"]), urls(&["ws://me:1"])]);
    assert_eq!(dials(&mut m, &[], 0.0), urls(&["ws://a:1"]), "one at a time, and never the own");
    assert!(dials(&mut m, &[], 0.1).is_empty());
    m.dial_failed("ws://a:1", at(0.2), &mut chance);
    assert_eq!(dials(&mut m, &[], 0.2), urls(&["ws://a:2"]), "the next one at once");
    m.opened(LinkId(1), Some("ws://a:2".into()), |_, _| false, at(0.3));
    assert!(dials(&mut m, &[], 1000.0).is_empty(), "one link is enough");
    m.closed(LinkId(1), at(1000.0), &mut chance);
    let next = dials(&mut m, &[], 1001.5);
    assert_eq!(next.len(), 1, "{next:?}");
}

#[test]
fn a_found_peer_that_is_gone_is_not_dialled_and_its_link_stays() {
    let mut m = Membership::new(Settings { seeds: Vec::new(), ..own() });
    m.set_found(vec![urls(&["ws://a:1"]), urls(&["ws://b:1"])]);
    assert_eq!(dials(&mut m, &[], 0.0).len(), 2);
    m.opened(LinkId(1), Some("ws://a:1".into()), |_, _| false, at(0.0));
    m.dial_failed("ws://b:1", at(0.0), &mut Chance::new(1));
    m.set_found(vec![urls(&["ws://c:1"])]);
    assert_eq!(dials(&mut m, &[], 100.0), urls(&["ws://c:1"]));
    assert!(m.closed(LinkId(1), at(101.0), &mut Chance::new(1)).is_none(), "nobody has said who that was");
}

#[test]
fn a_seed_that_is_found_too_keeps_its_link_when_it_is_no_seed_any_more() {
    let mut m = Membership::new(own());
    m.set_found(vec![urls(&["ws://seed:1"])]);
    assert_eq!(dials(&mut m, &[], 0.0), urls(&["ws://seed:1"]));
    m.opened(LinkId(1), Some("ws://seed:1".into()), |_, _| true, at(0.0));
    assert!(m.links_without(&[]).is_empty());
}

#[test]
fn who_claims_the_address_of_another_does_not_keep_it_from_being_dialled() {
    let mut m = Membership::new(Settings { seeds: Vec::new(), dial_parallelism_max: 9, ..own() });
    let known = [
        with_endpoints("ws://a:1", &[("ws", "a", 1), ("ws", "v", 1)]),
        with_endpoints("ws://v:1", &[("ws", "v", 1)]),
    ];
    assert_eq!(dials(&mut m, &known, 0.0), urls(&["ws://a:1", "ws://v:1"]));
}

#[test]
fn a_node_that_refused_us_is_left_alone_at_all_its_addresses() {
    let (mut m, mut chance) = (Membership::new(Settings { seeds: Vec::new(), ..own() }), Chance::new(1));
    m.set_found(vec![urls(&["ws://a:1", "ws://a:2"])]);
    dials(&mut m, &[], 0.0);
    m.opened(LinkId(1), Some("ws://a:1".into()), |_, _| false, at(0.0));
    m.turned_away(LinkId(1));
    m.closed(LinkId(1), at(0.1), &mut chance);
    assert!(dials(&mut m, &[], 1.0).is_empty());
    assert!(m.next_dial().unwrap() > Duration::from_secs(2));
}
