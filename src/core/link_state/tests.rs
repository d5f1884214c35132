use serde_json::{Value, json};

use super::*;
use crate::wire::fabric::link_state::Neighbour;

const VECTORS: &str = include_str!("../../../tests/interop/fabric/vectors_link_state.json");
const WALL: f64 = 1_700_000_000.0;

fn at(seconds: f64) -> Now {
    Now::at(WALL, seconds)
}

fn texts(names: &[&str]) -> Vec<Text> {
    names.iter().map(|n| (*n).into()).collect()
}

fn set(names: &[&str]) -> BTreeSet<Text> {
    names.iter().map(|n| (*n).into()).collect()
}

fn link(latency_ms: f64) -> Link {
    Link { latency_ms, ..Link::default() }
}

fn links(names: &[&str]) -> BTreeMap<Text, Link> {
    names.iter().map(|n| ((*n).into(), link(1.0))).collect()
}

fn settings() -> Settings {
    Settings { cluster_id: "home".into(), mode: Mode::Prefer, ecmp_paths: 4, ..Settings::default() }
}

fn state() -> LinkState {
    LinkState::new(settings())
}

fn in_area(area: &str) -> LinkState {
    LinkState::new(Settings { area: Some(area.into()), ..settings() })
}

/// What `origin` says at the start of the tests: names and latencies of its neighbours.
fn says(origin: &str, neighbours: &[(&str, f64)], sequence: i64) -> LinkStateUpdate {
    let neighbour = |(name, latency_ms): &(&str, f64)| Neighbour {
        cluster_id: (*name).into(),
        latency_ms: *latency_ms,
        bandwidth_mbps: None,
        reliability_score: 1.0,
        cost_score: 0.0,
    };
    LinkStateUpdate {
        origin: origin.into(),
        neighbors: neighbours.iter().map(neighbour).collect(),
        advertised_at: WALL,
        ttl_seconds: 60.0,
        sequence,
        area: None,
    }
}

fn of_area(area: &str, update: LinkStateUpdate) -> LinkStateUpdate {
    LinkStateUpdate { area: Some(area.into()), ..update }
}

fn hears(state: &mut LinkState, update: LinkStateUpdate) -> Result<Applied, Reason> {
    let speaker = format!("node of {}", update.origin).into();
    state.heard(update, &speaker, at(1.0)).result
}

/// The next hops to a cluster: their names, and the cost that they share.
fn ways(state: &mut LinkState, target: &str) -> (Vec<String>, f64) {
    let found = state.paths(&target.into(), &[], 8);
    let cost = found.first().map_or(0.0, |h| (h.cost * 1000.0).round() / 1000.0);
    (found.iter().map(|h| h.cluster.to_string()).collect(), cost)
}

fn via(names: &[&str], cost: f64) -> (Vec<String>, f64) {
    (names.iter().map(|n| (*n).to_owned()).collect(), cost)
}

/// home - aa - far and home - bb - far, with the latencies of the second halves.
fn diamond(aa: f64, bb: f64) -> LinkState {
    let mut state = state();
    state.own_updates(&links(&["aa", "bb"]), at(0.0));
    for update in [
        says("aa", &[("home", 1.0), ("far", aa)], 1),
        says("bb", &[("home", 1.0), ("far", bb)], 1),
        says("far", &[("aa", aa), ("bb", bb)], 1),
    ] {
        assert_eq!(hears(&mut state, update), Ok(Applied::Changed));
    }
    state
}

// ---- vectors -----------------------------------------------------------------------------------------------------

/// What the reference does, but for two things. Its links count in both directions on the word of one end; here a link
/// counts where both ends name it. And one of an area counts towards a cluster that names nobody there.
#[test]
fn the_database_follows_the_vectors() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let wall = 4_102_444_800.0;
    for (case, area) in [("no_area_filter", None), ("allowed_areas_area0", Some("area0"))] {
        let mut state = area.map_or_else(state, in_area);
        for (number, step) in vectors[case].as_array().unwrap().iter().enumerate() {
            let update: LinkStateUpdate = serde_json::from_value(step["payload"].clone()).unwrap();
            let heard = state.heard(update, &"node".into(), Now::at(wall, 1.0));
            assert_eq!(heard.result.is_ok(), step["applied"] == true, "{case} {number}");
            assert_eq!(serde_json::to_value(state.stats).unwrap(), step["stats"], "{case} {number}");
            let mut stored = Vec::new();
            let mut mutual: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for (origin, records) in state.database.origins() {
                for ((area, _), record) in records {
                    let sequence = serde_json::to_value(record.sequence).unwrap();
                    let names: Vec<&Text> = record.neighbours.keys().collect();
                    stored.push(
                        json!({"origin": origin, "area": area, "neighbors": names, "sequence": sequence}),
                    );
                }
            }
            assert_eq!(Value::from(stored), step["lsdb"], "{case} {number}");
            for cluster in ["a", "b", "c", "d", "x", "y"] {
                let counted = state.neighbours_of(cluster);
                if !counted.is_empty() {
                    mutual.insert(cluster.to_owned(), counted.iter().map(|n| n.to_string()).collect());
                }
            }
            let expected = match (case, number) {
                ("no_area_filter", 4) => json!({"a": ["b"], "b": ["a"]}),
                ("no_area_filter", _) => json!({}),
                _ => json!({"a": ["b"]}),
            };
            assert_eq!(serde_json::to_value(mutual).unwrap(), expected, "{case} {number}");
        }
    }
}

#[test]
fn links_cost_what_they_cost_in_the_vectors() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    for case in vectors["edge_weights"].as_array().unwrap() {
        let edge = &case["edge"];
        let link = Link {
            latency_ms: edge["latency_ms"].as_f64().unwrap(),
            bandwidth_mbps: edge["bandwidth_mbps"].as_i64(),
            reliability_score: edge["reliability_score"].as_f64().unwrap(),
            // The factor follows from the score that is on the wire.
            cost_score: edge["cost_factor"].as_f64().map_or(0.0, |factor| (factor - 1.0) * 10.0),
        };
        assert_eq!(edge_cost(&link), case["weight"].as_f64(), "{case}");
    }
    assert_eq!(vectors["node_weight_default"], cost::NODE_COST);
}

// ---- what is believed --------------------------------------------------------------------------------------------

#[test]
fn only_what_is_newer_is_taken() {
    let mut state = state();
    let first = says("near", &[("home", 1.0)], 100);
    assert_eq!(hears(&mut state, first.clone()), Ok(Applied::Changed));
    for (refused, reason) in [
        (first.clone(), Reason::LinkStateStale),
        (
            LinkStateUpdate { sequence: 99, advertised_at: WALL + 0.5, ..first.clone() },
            Reason::LinkStateStale,
        ),
        (LinkStateUpdate { advertised_at: WALL - 0.5, ..first.clone() }, Reason::LinkStateStale),
        (LinkStateUpdate { sequence: 101, advertised_at: 1.0, ..first.clone() }, Reason::LinkStateExpired),
        (LinkStateUpdate { sequence: 101, advertised_at: WALL + 302.0, ..first.clone() }, Reason::ClockSkew),
    ] {
        let heard = state.heard(refused, &"node of near".into(), at(1.0));
        assert_eq!((heard.result, heard.pass_on), (Err(reason), false));
    }
    let later = LinkStateUpdate { advertised_at: WALL + 0.5, ..first.clone() };
    assert_eq!(hears(&mut state, later), Ok(Applied::Renewed));
    let next = says("near", &[("home", 1.0), ("beyond", 1.0)], 101);
    let heard = state.heard(next, &"node of near".into(), at(1.0));
    assert_eq!((heard.result, heard.pass_on), (Ok(Applied::Changed), true));
    let ahead = LinkStateUpdate { sequence: 102, advertised_at: WALL + 300.0, ..first };
    assert_eq!(hears(&mut state, ahead), Ok(Applied::Changed));
    let stats = Stats { updates_received: 9, updates_applied: 4, updates_rejected: 5, ..Stats::default() };
    assert_eq!(state.status().stats, stats);
}

#[test]
fn a_speaker_that_starts_again_is_believed_once_its_record_has_ended() {
    let mut state = state();
    let mut again = says("near", &[("home", 1.0)], 1);
    assert!(hears(&mut state, says("near", &[("home", 1.0)], 900)).is_ok());
    again.advertised_at = WALL + 59.9;
    let speaker: Text = "node of near".into();
    assert_eq!(state.heard(again.clone(), &speaker, at(59.9)).result, Err(Reason::LinkStateStale));
    assert_eq!(state.heard(again, &speaker, at(60.0)).result, Ok(Applied::Changed));
    assert_eq!(state.status().stats.entries_expired, 1);
}

#[test]
fn neither_a_date_in_the_future_nor_a_long_ttl_keeps_what_nobody_renews() {
    let mut state = state();
    let ahead = LinkStateUpdate { advertised_at: WALL + 200.0, ..says("near", &[("home", 1.0)], 1) };
    assert!(hears(&mut state, ahead).is_ok());
    assert_eq!(state.database.next_end(), Some(Duration::from_secs(61)));
    assert_eq!((state.expire(at(60.9)), state.expire(at(61.0)), state.expire(at(99.0))), (0, 1, 0));
    let long = LinkStateUpdate { ttl_seconds: 86_400.0, ..says("near", &[("home", 1.0)], i64::MAX) };
    assert!(hears(&mut state, long).is_ok());
    assert_eq!(state.database.next_end(), Some(Duration::from_secs(3601)));
}

#[test]
fn nobody_speaks_for_this_cluster() {
    let mut state = state();
    let heard = state.heard(says("home", &[("nonsense", 1.0)], 1 << 40), &"node of near".into(), at(1.0));
    assert_eq!((heard.result, heard.pass_on), (Err(Reason::LinkStateOwnOrigin), false));
    let own = state.own_updates(&links(&["near"]), at(1.0));
    assert_eq!(own[0].neighbors.len(), 1);
    assert_eq!(&*own[0].neighbors[0].cluster_id, "near");
    assert!(!state.reaches("nonsense"));
}

#[test]
fn what_nodes_of_a_cluster_say_is_united_and_ends_apart() {
    let mut state = state();
    state.own_updates(&links(&["near"]), at(0.0));
    assert!(hears(&mut state, says("x", &[("near", 1.0)], 1)).is_ok());
    assert!(hears(&mut state, says("y", &[("near", 1.0)], 1)).is_ok());
    let first = says("near", &[("home", 1.0), ("x", 9.0)], 500);
    let second = LinkStateUpdate { ttl_seconds: 30.0, ..says("near", &[("x", 3.0), ("y", 1.0)], 1) };
    assert_eq!(state.heard(first, &"n1".into(), at(1.0)).result, Ok(Applied::Changed));
    assert_eq!(state.heard(second, &"n2".into(), at(1.0)).result, Ok(Applied::Changed));
    assert_eq!(state.neighbours_of("near"), texts(&["home", "x", "y"]));
    assert_eq!(ways(&mut state, "x"), via(&["near"], 4.2));
    state.expire(at(30.0));
    assert_eq!(state.neighbours_of("near"), texts(&["home", "x"]));
    assert_eq!(ways(&mut state, "x"), via(&["near"], 10.2));
    assert_eq!(ways(&mut state, "y").0, [""; 0]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let long = "x".repeat(257);
    let good = says("near", &[("home", 1.0)], 1);
    let bad = |change: &dyn Fn(&mut LinkStateUpdate)| {
        let mut update = good.clone();
        change(&mut update);
        let heard = state().heard(update, &"n".into(), at(1.0));
        assert_eq!((heard.result, heard.pass_on), (Err(Reason::LinkStateMalformed), false));
    };
    bad(&|u| u.origin = "".into());
    bad(&|u| u.origin = long.as_str().into());
    bad(&|u| u.area = Some(long.as_str().into()));
    bad(&|u| u.neighbors[0].cluster_id = long.as_str().into());
    bad(&|u| u.neighbors[0].cluster_id = "".into());
    bad(&|u| u.neighbors = vec![u.neighbors[0].clone(); 1025]);
    for ttl in [0.0, -1.0, 86_401.0, f64::NAN, f64::INFINITY] {
        bad(&|u| u.ttl_seconds = ttl);
    }
    for date in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        bad(&|u| u.advertised_at = date);
    }
    let heard = state().heard(good.clone(), &long.as_str().into(), at(1.0));
    assert_eq!(heard.result, Err(Reason::LinkStateMalformed));
    let mut most = good.clone();
    most.neighbors = vec![most.neighbors[0].clone(); 1024];
    most.ttl_seconds = 86_400.0;
    assert_eq!(hears(&mut state(), most), Ok(Applied::Changed));
}

#[test]
fn odd_metrics_do_no_harm() {
    let mut state = state();
    state.own_updates(&BTreeMap::from([("aa".into(), link(f64::NAN)), ("bb".into(), link(-7.0))]), at(0.0));
    let mut odd = says("aa", &[("home", -1e300), ("far", 1e300)], 1);
    odd.neighbors[1].cost_score = -5.0;
    odd.neighbors[1].reliability_score = 7.0;
    assert!(hears(&mut state, odd).is_ok() && hears(&mut state, says("far", &[("aa", 0.0)], 1)).is_ok());
    assert_eq!(ways(&mut state, "far"), via(&["aa"], 1e9 + 0.2));
    assert_eq!(ways(&mut state, "bb"), via(&["bb"], 0.1));
}

#[test]
fn no_more_is_kept_than_may_be() {
    let limits = Limits { neighbours_per_update: 9, origins: 2, speakers_per_origin: 2, neighbours: 5 };
    let mut state = LinkState::new(Settings { limits, ..settings() });
    let tell = |state: &mut LinkState, speaker: &str, update: LinkStateUpdate| {
        let heard = state.heard(update, &speaker.into(), at(1.0));
        assert_eq!(heard.pass_on, heard.result.is_ok() || heard.result == Err(Reason::LinkStateLimit));
        heard.result
    };
    let full = Err(Reason::LinkStateLimit);
    assert_eq!(tell(&mut state, "n1", says("a", &[("x", 1.0), ("y", 1.0)], 1)), Ok(Applied::Changed));
    assert_eq!(tell(&mut state, "n2", says("a", &[("x", 1.0)], 1)), Ok(Applied::Changed));
    assert_eq!(tell(&mut state, "n3", says("a", &[("x", 1.0)], 1)), full);
    assert_eq!(tell(&mut state, "n1", of_area("a1", says("a", &[], 2))), full);
    assert_eq!(tell(&mut state, "n4", says("b", &[("x", 1.0)], 1)), Ok(Applied::Changed));
    assert_eq!(tell(&mut state, "n5", says("c", &[("x", 1.0)], 1)), full);
    assert_eq!(tell(&mut state, "n4", says("b", &[("x", 1.0), ("y", 1.0), ("z", 1.0)], 2)), full);
    assert_eq!(tell(&mut state, "n4", says("b", &[("x", 1.0), ("y", 1.0)], 3)), Ok(Applied::Changed));
    assert_eq!(tell(&mut state, "n1", says("a", &[], 2)), Ok(Applied::Changed));
    assert_eq!(
        tell(&mut state, "n4", says("b", &[("x", 1.0), ("y", 1.0), ("z", 1.0)], 4)),
        Ok(Applied::Changed)
    );
    assert_eq!(state.status().entries, 3);
    assert_eq!(state.expire(at(60.0)), 3);
    assert_eq!(
        state
            .heard(LinkStateUpdate { advertised_at: WALL + 60.0, ..says("c", &[], 1) }, &"n".into(), at(60.0))
            .result,
        Ok(Applied::Changed)
    );
}

#[test]
fn when_it_is_off_nothing_is_told_or_kept_and_all_is_passed_on() {
    let mut state = LinkState::new(Settings { mode: Mode::Disabled, ..settings() });
    let heard = state.heard(says("near", &[("home", 1.0)], 1), &"n".into(), at(1.0));
    assert_eq!(heard, Heard { result: Ok(Applied::Ignored), pass_on: true });
    assert!(state.own_updates(&links(&["near"]), at(1.0)).is_empty());
    assert_eq!(
        (state.next_deadline(), state.status().entries, state.status().stats),
        (None, 0, Stats::default())
    );
    assert!(!state.reaches("near"));
}

// ---- areas -------------------------------------------------------------------------------------------------------

#[test]
fn only_the_own_areas_are_believed() {
    for (area, good) in [(Some("a1"), true), (Some("a2"), false), (None, false)] {
        let mut state = in_area("a1");
        let update = says("near", &[("home", 1.0)], 1);
        let update = LinkStateUpdate { area: area.map(Text::from), ..update };
        let heard = state.heard(update.clone(), &"n".into(), at(1.0));
        let expected = if good { Ok(Applied::Changed) } else { Err(Reason::LinkStateArea) };
        assert_eq!((heard.result, heard.pass_on), (expected, true));
        let Status { stats, area_mismatch_rejects, .. } = state.status();
        assert_eq!((stats.updates_applied, stats.updates_filtered), (u64::from(good), u64::from(!good)));
        assert_eq!(area_mismatch_rejects, stats.updates_filtered);
        let late = state.heard(LinkStateUpdate { sequence: 2, ..update }, &"n".into(), at(100.0));
        assert!(!late.pass_on);
    }
    let mut everywhere = state();
    for (sequence, area) in [(1, Some("a1")), (1, Some("a2")), (1, None)] {
        let update =
            LinkStateUpdate { area: area.map(Text::from), ..says("near", &[("home", 1.0)], sequence) };
        assert_eq!(hears(&mut everywhere, update), Ok(Applied::Changed));
    }
    assert_eq!(everywhere.status().entries, 3);
    let local = Areas { local: set(&["a2", "a3"]), default: Some("a1".into()), ..Areas::default() };
    let several = LinkState::new(Settings { areas: local, area: Some("a0".into()), ..settings() });
    assert_eq!(several.status().allowed_areas, Some(set(&["a2", "a3"])));
    let by_default = Areas { default: Some("a1".into()), ..Areas::default() };
    let one = LinkState::new(Settings { areas: by_default, area: Some("a0".into()), ..settings() });
    assert_eq!(one.status().allowed_areas, Some(set(&["a1"])));
}

/// What is told in each area, by area and neighbour.
fn told(updates: &[LinkStateUpdate]) -> Vec<(String, Vec<String>)> {
    let names = |u: &LinkStateUpdate| u.neighbors.iter().map(|n| n.cluster_id.to_string()).collect();
    updates.iter().map(|u| (u.area.as_deref().unwrap_or("-").to_owned(), names(u))).collect()
}

fn areas(local: &[&str], neighbours: &[(&str, &[&str])]) -> Areas {
    let neighbours = neighbours.iter().map(|(name, areas)| ((*name).into(), set(areas))).collect();
    Areas { local: set(local), neighbours, ..Areas::default() }
}

fn told_with(areas: Areas, neighbours: &[&str]) -> Vec<(String, Vec<String>)> {
    let mut state = LinkState::new(Settings { areas, ..settings() });
    told(&state.own_updates(&links(neighbours), at(0.0)))
}

fn expected(told: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
    told.iter().map(|(area, n)| ((*area).to_owned(), n.iter().map(|n| (*n).to_owned()).collect())).collect()
}

#[test]
fn neighbours_are_named_in_their_areas() {
    let mapped =
        || areas(&["a1", "a2"], &[("near", &["a1"]), ("other", &["a2"]), ("both", &["a1", "a2", "a9"])]);
    let all = ["near", "other", "both", "stray"];
    // Without a default area the stray is named nowhere, and the rest works all the same.
    assert_eq!(told_with(mapped(), &all), expected(&[("a1", &["both", "near"]), ("a2", &["both", "other"])]));
    let default = Areas { default: Some("a1".into()), ..mapped() };
    let with_stray: &[(&str, &[&str])] = &[("a1", &["both", "near", "stray"]), ("a2", &["both", "other"])];
    assert_eq!(told_with(default.clone(), &all), expected(with_stray));
    let strict = Areas { allow_unmapped_neighbours: false, ..default.clone() };
    assert_eq!(told_with(strict, &all), expected(&[("a1", &["both", "near"]), ("a2", &["both", "other"])]));
    let only = |names: &[&str]| Area { only_neighbours: Some(set(names)), parent: None };
    let by_name = BTreeMap::from([("a1".into(), only(&["near"])), ("a2".into(), only(&[]))]);
    assert_eq!(told_with(Areas { by_name, ..default }, &all), expected(&[("a1", &["near"])]));
    assert_eq!(told_with(Areas::default(), &["home", "near"]), expected(&[("-", &["near"])]));
    let elsewhere = areas(&[], &[("near", &["a1"])]);
    assert_eq!(told_with(elsewhere, &["near", "stray"]), expected(&[("-", &["stray"]), ("a1", &["near"])]));
}

#[test]
fn an_area_is_summarised_in_its_parent_and_where_the_settings_say() {
    let parent =
        |of: &str, parent: &str| (of.into(), Area { parent: Some(parent.into()), only_neighbours: None });
    let base = areas(&["low", "top"], &[("l1", &["low"]), ("l2", &["low"]), ("t1", &["top"])]);
    let tree = Areas { by_name: BTreeMap::from([parent("low", "top")]), ..base.clone() };
    let all = ["l1", "l2", "t1"];
    assert_eq!(
        told_with(tree.clone(), &all),
        expected(&[("low", &["l1", "l2"]), ("top", &["l1", "l2", "t1"])])
    );
    let summary = |to: &str, allow: Option<&[&str]>, deny: Option<&[&str]>| Summary {
        from: "low".into(),
        to: to.into(),
        allow: allow.map(set),
        deny: deny.map(set),
    };
    for (allow, deny, passes) in [
        (Some(&["l1"][..]), None, &["l1", "t1"][..]),
        (None, Some(&["l1"][..]), &["l2", "t1"][..]),
        (Some(&["l1", "l2"][..]), Some(&["l2"][..]), &["l1", "t1"][..]),
        (Some(&[][..]), None, &["t1"][..]),
    ] {
        let filtered = Areas { summaries: vec![summary("top", allow, deny)], ..tree.clone() };
        assert_eq!(told_with(filtered, &all), expected(&[("low", &["l1", "l2"]), ("top", passes)]));
    }
    // A target that this node does not belong to: it names its neighbours there too, so that links to them count there.
    let outside =
        Areas { local: set(&["low"]), summaries: vec![summary("top", Some(&["l2"]), None)], ..base };
    assert_eq!(told_with(outside.clone(), &all), expected(&[("low", &["l1", "l2"]), ("top", &["l2", "t1"])]));
    assert_eq!(
        LinkState::new(Settings { areas: outside, ..settings() }).status().allowed_areas,
        Some(set(&["low"]))
    );
}

#[test]
fn a_summary_makes_leaves_of_clusters_that_are_not_heard() {
    let mut state = in_area("top");
    let own = state.own_updates(&links(&["edge"]), at(0.0));
    assert_eq!(told(&own), expected(&[("top", &["edge"])]));
    assert!(hears(&mut state, of_area("top", says("edge", &[("home", 1.0), ("l1", 5.0)], 1))).is_ok());
    assert_eq!(ways(&mut state, "l1"), via(&["edge"], 6.2));
    assert!(hears(&mut state, of_area("top", says("l1", &[], 1))).is_ok());
    assert_eq!(ways(&mut state, "l1"), via(&["edge"], 6.2));
    // As soon as it names anybody, it must name the other end as well.
    assert!(hears(&mut state, of_area("top", says("l1", &[("x", 1.0)], 2))).is_ok());
    assert!(!state.reaches("l1"));
    let mut unrestricted = self::state();
    unrestricted.own_updates(&links(&["edge"]), at(0.0));
    assert!(hears(&mut unrestricted, of_area("top", says("edge", &[("home", 1.0), ("l1", 5.0)], 1))).is_ok());
    assert!(!unrestricted.reaches("l1"));
}

#[test]
fn the_status_has_the_members_of_the_protocol() {
    let by_name =
        BTreeMap::from([("area-b".into(), Area { parent: Some("area-a".into()), only_neighbours: None })]);
    let allowed =
        Summary { from: "area-b".into(), to: "area-a".into(), allow: Some(set(&["C"])), deny: None };
    let areas =
        Areas { local: set(&["area-a", "area-b"]), by_name, summaries: vec![allowed], ..Areas::default() };
    let mut state = LinkState::new(Settings { areas, ..settings() });
    for (area, origin) in [("area-a", "x"), ("area-b", "x"), ("area-b", "y")] {
        assert!(hears(&mut state, of_area(area, says(origin, &[("home", 1.0)], 1))).is_ok());
    }
    assert!(hears(&mut state, of_area("area-c", says("x", &[], 1))).is_err());
    assert_eq!(
        serde_json::to_value(state.status()).unwrap(),
        json!({
            "mode": "prefer", "area": null, "area_hierarchy": {"area-b": "area-a"},
            "summary_filters": [{"source_area": "area-b", "target_area": "area-a", "allowed_neighbors": ["C"], "denied_neighbors": null}],
            "allowed_areas": ["area-a", "area-b"], "entries": 3, "entry_areas": ["area-a", "area-b"], "area_mismatch_rejects": 1,
            "stats": {"updates_received": 3, "updates_applied": 3, "updates_rejected": 0, "updates_filtered": 1, "entries_expired": 0},
        })
    );
}

// ---- own updates -------------------------------------------------------------------------------------------------

#[test]
fn changes_are_told_at_once_and_all_is_told_again_in_time() {
    let mut state = state();
    assert_eq!(state.next_announcement(), Some(Duration::ZERO));
    let first = state.own_updates(&links(&["home", "near"]), at(0.0));
    assert_eq!(told(&first), expected(&[("-", &["near"])]));
    assert_eq!((first[0].ttl_seconds, first[0].advertised_at), (30.0, WALL));
    assert_eq!(state.next_announcement(), Some(Duration::from_secs(10)));
    assert!(state.own_updates(&links(&["near"]), at(1.0)).is_empty());
    // A latency moves all the time: it counts here at once, and is told when the time comes.
    let mut slower = links(&["near"]);
    slower.insert("near".into(), link(7.0));
    assert!(state.own_updates(&slower, at(2.0)).is_empty());
    assert_eq!(ways(&mut state, "near").1, 7.1);
    let both = state.own_updates(&links(&["near", "other"]), at(3.0));
    assert_eq!(told(&both), expected(&[("-", &["near", "other"])]));
    let mut broken = links(&["near", "other"]);
    broken.insert("near".into(), Link { reliability_score: 0.3, ..link(1.0) });
    assert_eq!(state.own_updates(&broken, at(4.0)).len(), 1);
    assert_eq!(told(&state.own_updates(&links(&[]), at(5.0))), expected(&[("-", &[])]));
    assert!(state.own_updates(&links(&[]), at(9.9)).is_empty());
    assert_eq!(told(&state.own_updates(&links(&[]), at(10.0))), expected(&[("-", &[])]));
    assert_eq!(state.next_deadline(), Some(Duration::from_secs(20)));
}

#[test]
fn an_area_is_spoken_in_for_good_and_alone_where_it_alone_changed() {
    let areas = areas(&["a1", "a2"], &[("near", &["a1"]), ("other", &["a2"])]);
    let mut state = LinkState::new(Settings { areas, ..settings() });
    assert!(state.own_updates(&links(&[]), at(0.0)).is_empty());
    assert_eq!(told(&state.own_updates(&links(&["near"]), at(1.0))), expected(&[("a1", &["near"])]));
    assert_eq!(
        told(&state.own_updates(&links(&["near", "other"]), at(2.0))),
        expected(&[("a2", &["other"])])
    );
    assert_eq!(told(&state.own_updates(&links(&["other"]), at(3.0))), expected(&[("a1", &[])]));
    let all = state.own_updates(&links(&["other"]), at(10.0));
    assert_eq!(told(&all), expected(&[("a1", &[]), ("a2", &["other"])]));
    assert_ne!(all[0].label(), all[1].label());
}

#[test]
fn numbers_rise_over_areas_restarts_and_a_clock_that_is_set_back() {
    let mut numbers = Vec::new();
    let areas = areas(&["a1", "a2"], &[("near", &["a1", "a2"])]);
    for start in [0.0, 100.0] {
        let mut state = LinkState::new(Settings { areas: areas.clone(), ..settings() });
        for (seconds, wall) in
            [(start, WALL + start), (start + 10.0, WALL - 5000.0), (start + 20.0, WALL + start + 0.001)]
        {
            let now = Now { wall, mono: Duration::from_secs_f64(seconds) };
            numbers.extend(state.own_updates(&links(&["near"]), now).iter().map(|u| u.sequence));
        }
    }
    assert_eq!(numbers.len(), 12);
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    assert_eq!(numbers[0], (WALL * 1000.0) as i64);
}

// ---- ways --------------------------------------------------------------------------------------------------------

#[test]
fn the_cheapest_way_is_taken_and_left_when_it_goes() {
    assert_eq!(ways(&mut diamond(50.0, 2.0), "far"), via(&["bb"], 3.2));
    let mut state = diamond(2.0, 50.0);
    assert_eq!(ways(&mut state, "far"), via(&["aa"], 3.2));
    let path = &state.paths(&"far".into(), &[], 8)[0].path;
    assert_eq!(*path, texts(&["home", "aa", "far"]));
    assert!(hears(&mut state, says("aa", &[("home", 1.0)], 2)).is_ok());
    assert_eq!(ways(&mut state, "far"), via(&["bb"], 51.2));
    state.own_updates(&links(&["aa"]), at(2.0));
    assert_eq!(ways(&mut state, "far"), via(&[], 0.0));
    assert!(state.reaches("aa") && !state.reaches("far") && !state.reaches("bb"));
}

#[test]
fn ways_hold_for_as_long_as_they_are_renewed() {
    let mut state = diamond(5.0, 5.0);
    for seconds in [50.0, 100.0, 350.0, 400.0] {
        for (origin, neighbours) in
            [("aa", &[("home", 1.0), ("far", 5.0)][..]), ("far", &[("aa", 5.0), ("bb", 5.0)][..])]
        {
            let again = LinkStateUpdate {
                advertised_at: WALL + seconds,
                ttl_seconds: 300.0,
                ..says(origin, neighbours, seconds as i64)
            };
            let speaker = format!("node of {origin}").into();
            assert_eq!(state.heard(again, &speaker, at(seconds)).result, Ok(Applied::Renewed));
        }
        let left: &[&str] = if seconds < 60.0 { &["aa", "bb"] } else { &["aa"] };
        assert_eq!(ways(&mut state, "far"), via(left, 6.2));
    }
    // What bb said has ended with its own lease, which leaves bb as somebody who tells nothing.
    assert_eq!((state.status().stats.entries_expired, state.status().entries), (1, 2));
    assert_eq!(ways(&mut state, "bb"), via(&["bb"], 1.1));
}

#[test]
fn equal_ways_share_and_unequal_ones_do_not() {
    let mut state = diamond(5.0, 5.0);
    assert_eq!(ways(&mut state, "far"), via(&["aa", "bb"], 6.2));
    let mut taken: BTreeMap<Text, usize> = BTreeMap::new();
    for call in 0..12 {
        let next = state.next(&"far".into(), &[], 8).unwrap();
        *taken.entry(next.cluster).or_default() += 1;
        // Neither other targets nor news in between make one way be taken more often.
        assert_eq!(&*state.next(&"aa".into(), &[], 8).unwrap().cluster, "aa");
        if call % 3 == 0 {
            let mut other = links(&["aa", "bb"]);
            other.insert(format!("cc{call}").into(), link(1.0));
            state.own_updates(&other, at(2.0));
        }
    }
    assert_eq!(taken, BTreeMap::from([("aa".into(), 6), ("bb".into(), 6)]));
    let mut unequal = diamond(5.0, 5.001);
    assert_eq!(ways(&mut unequal, "far"), via(&["aa"], 6.2));
    let mut single = diamond(5.0, 5.0);
    single.settings.ecmp_paths = 0;
    single.changed();
    assert_eq!(ways(&mut single, "far"), via(&["aa"], 6.2));
}

#[test]
fn a_link_counts_where_both_ends_tell_of_it() {
    let mut state = state();
    state.own_updates(&links(&["aa", "bb"]), at(0.0));
    // bb tells nothing: a leaf. aa tells, and must name us.
    assert!(state.reaches("aa") && state.reaches("bb"));
    assert!(hears(&mut state, says("aa", &[("far", 1.0), ("bb", 1.0)], 1)).is_ok());
    assert!(!state.reaches("aa") && state.reaches("bb"));
    assert!(hears(&mut state, says("aa", &[("home", 1.0), ("far", 1.0)], 2)).is_ok());
    assert!(state.reaches("aa") && !state.reaches("far"));
    assert!(hears(&mut state, says("far", &[("aa", 40.0), ("bb", 1.0)], 1)).is_ok());
    // Each direction costs what its beginning says, and far alone does not make a link to bb.
    assert_eq!(ways(&mut state, "far"), via(&["aa"], 2.2));
    assert_eq!(state.neighbours_of("far"), texts(&["aa"]));
    assert_eq!(state.neighbours_of("aa"), texts(&["far", "home"]));
    // What far takes back ends the link from far and the trust in the one to it, not what aa said.
    assert!(hears(&mut state, says("far", &[("bb", 1.0)], 2)).is_ok());
    assert!(!state.reaches("far"));
    assert!(hears(&mut state, says("far", &[("aa", 40.0)], 3)).is_ok());
    assert_eq!(ways(&mut state, "far"), via(&["aa"], 2.2));
}

#[test]
fn unreliable_links_are_not_used() {
    for (reliability, used) in [(0.3, false), (0.31, true)] {
        let mut state = diamond(1.0, 90.0);
        let mut update = says("aa", &[("home", 1.0), ("far", 1.0)], 2);
        update.neighbors[1].reliability_score = reliability;
        assert!(hears(&mut state, update).is_ok());
        let expected = if used { via(&["aa"], 36.7) } else { via(&["bb"], 91.2) };
        assert_eq!(ways(&mut state, "far"), expected);
    }
}

/// home - aa - mid - far is cheap, home - bb - far is short.
fn long_and_short() -> LinkState {
    let mut state = diamond(500.0, 90.0);
    for update in [
        says("aa", &[("home", 1.0), ("mid", 1.0), ("bb", 1.0)], 2),
        says("bb", &[("home", 1.0), ("aa", 1.0), ("far", 90.0)], 2),
        says("mid", &[("aa", 1.0), ("far", 1.0)], 1),
        says("far", &[("mid", 1.0), ("bb", 90.0)], 2),
    ] {
        assert!(hears(&mut state, update).is_ok());
    }
    state
}

#[test]
fn a_hop_budget_chooses_a_dearer_way_that_fits() {
    let mut state = long_and_short();
    let mut found = |visited: &[&str], hops: u32| {
        let hops = state.paths(&"far".into(), &texts(visited), hops);
        hops.iter().map(|h| h.path.join(" ")).collect::<Vec<_>>()
    };
    assert_eq!(found(&[], 3), ["home aa mid far"]);
    assert_eq!(found(&[], 2), ["home bb far"]);
    assert!(found(&[], 1).is_empty() && found(&[], 0).is_empty());
    assert_eq!(found(&["mid"], 8), ["home bb far"]);
    assert_eq!(found(&["home", "mid"], 8), ["home bb far"]);
    assert_eq!(found(&["bb"], u32::MAX), ["home aa mid far"]);
    assert!(found(&["bb", "mid"], 8).is_empty() && found(&["far"], 8).is_empty());
    assert!(
        state.paths(&"home".into(), &[], 8).is_empty() && state.paths(&"nowhere".into(), &[], 8).is_empty()
    );
    assert!(state.next(&"nowhere".into(), &[], 8).is_none());
}

#[test]
fn answers_are_kept_within_bounds() {
    let mut state = diamond(1.0, 2.0);
    for n in 0..3 * WAYS_MAX {
        state.paths(&format!("t{n}").into(), &[], 5);
    }
    assert!(state.ways.len() <= WAYS_MAX);
    assert_eq!(ways(&mut state, "far"), via(&["aa"], 2.2));
}

#[test]
fn an_explanation_names_all_ways_and_why_others_are_none() {
    let mut state = long_and_short();
    state.own_updates(&links(&["aa", "bb", "leaf", "mute"]), at(0.0));
    assert!(hears(&mut state, says("mute", &[("far", 1.0)], 1)).is_ok());
    let mut weak = says("bb", &[("home", 1.0), ("aa", 1.0), ("far", 90.0)], 3);
    weak.neighbors[1].reliability_score = 0.1;
    assert!(hears(&mut state, weak).is_ok());
    let mut told = state.explain(&"far".into(), &[], 2);
    for cost in told.candidates.iter_mut().filter_map(|c| c.cost.as_mut()) {
        *cost = (*cost * 1000.0).round() / 1000.0;
    }
    assert_eq!(
        serde_json::to_value(&told).unwrap(),
        json!({
            "target": "far",
            "candidates": [
                {"cluster": "aa", "cost": null, "path": [], "used": false, "reason": "hop_budget"},
                {"cluster": "bb", "cost": 91.2, "path": ["home", "bb", "far"], "used": true, "reason": null},
                {"cluster": "leaf", "cost": null, "path": [], "used": false, "reason": "no_route"},
                {"cluster": "mute", "cost": null, "path": [], "used": false, "reason": "link_state_one_way"},
            ],
            "refused_links": [
                {"from": "bb", "to": "aa", "reason": "link_state_unreliable"},
                {"from": "home", "to": "mute", "reason": "link_state_one_way"},
                {"from": "mute", "to": "far", "reason": "link_state_one_way"},
            ],
            "neighbours_without_area": [],
            "refused_areas": {},
        })
    );
    let avoided = state.explain(&"far".into(), &texts(&["bb"]), 8);
    let reasons: Vec<_> = avoided.candidates.iter().map(|c| (c.used, c.reason)).collect();
    let (loops, nowhere, one_way) = (Reason::RouteLoop, Reason::NoRoute, Reason::LinkStateOneWay);
    assert_eq!(reasons, [(true, None), (false, Some(loops)), (false, Some(nowhere)), (false, Some(one_way))]);

    let mut areas = LinkState::new(Settings { areas: areas(&["a1"], &[("aa", &["a2"])]), ..settings() });
    areas.own_updates(&links(&["aa", "bb"]), at(0.0));
    assert!(hears(&mut areas, of_area("a2", says("aa", &[], 1))).is_err());
    assert!(hears(&mut areas, says("aa", &[], 1)).is_err());
    let told = areas.explain(&"aa".into(), &[], 8);
    assert_eq!(told.neighbours_without_area, texts(&["aa", "bb"]));
    assert_eq!(told.refused_areas, BTreeMap::from([("".into(), 1), ("a2".into(), 1)]));
}
