use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::wire::fabric::route::Metrics;

pub fn settings(cluster: &str) -> Settings {
    Settings {
        cluster_id: cluster.into(),
        ttl_seconds: 30.0,
        announce_interval_seconds: 10.0,
        tags: vec!["home-tag".into()],
        routes_per_destination_max: 4,
        stability: Stability::default(),
    }
}

pub fn rules() -> Rules {
    Rules {
        import: Policies::default(),
        export: Policies::default(),
        routes_per_neighbour_max: 1000,
        over_limit: OverLimit::Refuse,
    }
}

pub fn at(seconds: f64) -> Now {
    Now::at(START, seconds)
}

pub fn neighbour(cluster: &str) -> Via {
    Via::Neighbour { cluster: cluster.into() }
}

fn border(node: &str) -> Via {
    Via::Border { node: node.into() }
}

fn cluster(name: &str) -> Hearer {
    Hearer::Cluster(name.into())
}

fn home() -> Routes {
    Routes::new(settings("home"), rules())
}

fn texts(names: &[&str]) -> Vec<Text> {
    names.iter().map(|name| Text::from(*name)).collect()
}

/// As the first of the hops says it at that time.
fn announcement(hops: &[&str], seconds: f64) -> RouteAnnouncement {
    let (first, last) = (hops.first().unwrap_or(&""), hops.last().unwrap_or(&""));
    serde_json::from_value(json!({
        "destination": {"cluster_id": last},
        "path": {"hops": hops},
        "advertiser": first,
        "advertised_at": START + seconds,
        "epoch": (seconds * 1000.0) as i64,
        "metrics": {"hop_count": hops.len().saturating_sub(1)},
    }))
    .unwrap()
}

fn withdrawal(hops: &[&str], seconds: f64) -> RouteWithdrawal {
    let (first, last) = (hops.first().unwrap_or(&""), hops.last().unwrap_or(&""));
    serde_json::from_value(json!({
        "destination": {"cluster_id": last},
        "path": {"hops": hops},
        "advertiser": first,
        "withdrawn_at": START + seconds,
    }))
    .unwrap()
}

impl Routes {
    fn hear(&mut self, via: &Via, a: &RouteAnnouncement, seconds: f64) -> Result<Change, Reason> {
        let taken = self.announced(via, a, Standing::Unsigned, &Link::default(), at(seconds));
        taken.map(|taken| taken.change)
    }

    /// What the first of the hops, a neighbour, says now.
    fn near(&mut self, hops: &[&str], seconds: f64) -> Result<Change, Reason> {
        self.hear(&neighbour(hops[0]), &announcement(hops, seconds), seconds)
    }

    fn paths(&self, destination: &str) -> Vec<String> {
        self.table().candidates(destination, &[]).map(|r| r.path.join(" ")).collect()
    }

    fn told(&mut self, hearer: &str, seconds: f64) -> Vec<String> {
        shown(&self.updates_for(&cluster(hearer), at(seconds)))
    }
}

/// `+ path` for what is announced, `- path` for what is withdrawn.
fn shown(told: &[Told]) -> Vec<String> {
    let show = |told: &Told| match told {
        Told::Announce { announcement, .. } => format!("+ {}", announcement.path.hops.join(" ")),
        Told::Withdraw { withdrawal, .. } => format!("- {}", withdrawal.path.hops.join(" ")),
    };
    told.iter().map(show).collect()
}

fn dated(told: &Told) -> (f64, i64) {
    match told {
        Told::Announce { announcement: a, .. } => (a.advertised_at, a.epoch),
        Told::Withdraw { withdrawal: w, .. } => (w.withdrawn_at, w.epoch),
    }
}

// ---- what is taken -----------------------------------------------------------------------------------------------

#[test]
fn only_the_sending_cluster_may_announce_what_starts_with_it() {
    let mut routes = home();
    let near = neighbour("near");
    let mut hear = |hops: &[&str]| routes.hear(&near, &announcement(hops, 1.0), 1.0);
    assert_eq!(hear(&["far", "target"]), Err(Reason::RouteNotFromNeighbour));
    assert_eq!(hear(&["near", "home", "target"]), Err(Reason::RoutePathLoop));
    assert_eq!(hear(&["near", "home"]), Err(Reason::RoutePathLoop));
    assert_eq!(hear(&["near", "x", "x", "target"]), Err(Reason::RouteMalformed));
    assert_eq!(hear(&["near", "x", "near"]), Err(Reason::RouteMalformed));
    assert_eq!(hear(&["near", "", "target"]), Err(Reason::RouteMalformed));
    assert_eq!(hear(&["near", "target"]), Ok(Change::New));
    assert_eq!(hear(&["near"]), Ok(Change::New));
    let own = routes.hear(&neighbour("home"), &announcement(&["home", "target"], 1.0), 1.0);
    assert_eq!(own, Err(Reason::RouteNotFromNeighbour));
}

#[test]
fn a_path_leads_from_its_advertiser_to_its_destination_and_sizes_are_bounded() {
    let mut routes = home();
    let good = announcement(&["near", "target"], 1.0);
    let mut refused = |change: &dyn Fn(&mut RouteAnnouncement)| {
        let mut bad = good.clone();
        change(&mut bad);
        assert_eq!(routes.hear(&neighbour("near"), &bad, 1.0), Err(Reason::RouteMalformed));
    };
    refused(&|a| a.path.hops.clear());
    refused(&|a| a.path.hops = texts(&["x", "target"]));
    refused(&|a| a.path.hops = texts(&["near", "x"]));
    refused(&|a| a.route_tags = vec!["t".into(); 65]);
    refused(&|a| a.route_tags = vec!["t".repeat(256).into()]);
    refused(&|a| a.path.hops.insert(1, "m".repeat(256).into()));
    refused(&|a| {
        let between = (0..64).map(|n| Text::from(format!("m{n}")));
        a.path.hops.splice(1..1, between);
    });
    refused(&|a| a.advertised_at = f64::NAN);
}

#[test]
fn what_is_over_or_from_the_future_is_refused() {
    let mut routes = home();
    let mut with = |advertised: f64, ttl: f64| {
        let a = RouteAnnouncement { ttl_seconds: ttl, ..announcement(&["near", "target"], advertised) };
        routes.hear(&neighbour("near"), &a, 1000.0)
    };
    assert_eq!(with(960.0, 30.0), Err(Reason::RouteExpired));
    assert_eq!(with(1000.0, 0.0), Err(Reason::RouteExpired));
    assert_eq!(with(1000.0, -1.0), Err(Reason::RouteExpired));
    assert_eq!(with(1301.0, 30.0), Err(Reason::ClockSkew));
    assert_eq!(with(1299.0, 30.0), Ok(Change::New));
    // Neither a clock that is ahead nor a huge lifetime makes it last.
    assert_eq!(routes.table().best("target").unwrap().expires_at, START + 1030.0);
    let ages = RouteAnnouncement { ttl_seconds: 1e17, ..announcement(&["near", "old"], 1000.0) };
    assert_eq!(routes.hear(&neighbour("near"), &ages, 1000.0), Ok(Change::New));
    assert_eq!(routes.table().best("old").unwrap().expires_at, START + 1000.0 + 86_400.0);
}

#[test]
fn only_what_is_newer_than_a_live_record_counts() {
    let mut routes = home();
    let near = neighbour("near");
    let first = announcement(&["near", "target"], 5.0);
    assert_eq!(routes.hear(&near, &first, 5.0), Ok(Change::New));
    assert_eq!(routes.hear(&near, &first, 6.0), Err(Reason::RouteReplayed));
    let lower = RouteAnnouncement { epoch: 1, ..announcement(&["near", "target"], 7.0) };
    assert_eq!(routes.hear(&near, &lower, 7.0), Err(Reason::RouteReplayed));
    let later = RouteAnnouncement { epoch: first.epoch, ..announcement(&["near", "target"], 8.0) };
    assert_eq!(routes.hear(&near, &later, 8.0), Ok(Change::Prolonged));
    let mut better = RouteAnnouncement { epoch: first.epoch + 1, ..first.clone() };
    better.metrics.latency_ms = 4.0;
    assert_eq!(routes.hear(&near, &better, 8.0), Ok(Change::Changed));
    assert_eq!(routes.expire(at(35.0)).len(), 1);
    assert_eq!(
        routes.hear(&near, &RouteAnnouncement { epoch: 0, ..announcement(&["near", "target"], 36.0) }, 36.0),
        Ok(Change::New)
    );
}

#[test]
fn an_announcement_from_before_a_withdrawal_does_not_come_back() {
    let mut routes = home();
    let near = neighbour("near");
    let caught = RouteAnnouncement { ttl_seconds: 1e6, ..announcement(&["near", "target"], 1.0) };
    assert_eq!(routes.hear(&near, &caught, 1.0), Ok(Change::New));
    assert_eq!(routes.withdrawn(&near, &withdrawal(&["near", "target"], 2.0), at(2.0)), Ok(1));
    for later in [3.0, 1000.0, 86_000.0] {
        routes.expire(at(later));
        assert_eq!(routes.hear(&near, &caught, later), Err(Reason::RouteReplayed));
    }
    routes.neighbour_lost(&"near".into(), at(86_000.0));
    assert_eq!(routes.hear(&near, &caught, 86_000.0), Err(Reason::RouteReplayed));
    // The clock decides: neighbours count announcements and withdrawals apart.
    let again = RouteAnnouncement { epoch: -5, ..announcement(&["near", "target"], 86_001.0) };
    assert_eq!(routes.hear(&near, &again, 86_001.0), Ok(Change::New));
    // In the end the route cannot be alive any more.
    routes.expire(at(200_000.0));
    assert!(routes.sources.is_empty() && routes.table().is_empty());
    assert_eq!(routes.hear(&near, &caught, 200_000.0), Err(Reason::RouteExpired));
}

#[test]
fn a_withdrawal_that_overtakes_its_announcement_keeps_it_out() {
    let mut routes = home();
    assert_eq!(routes.withdrawn(&neighbour("near"), &withdrawal(&["near", "target"], 2.0), at(2.0)), Ok(0));
    let late = announcement(&["near", "target"], 1.5);
    assert_eq!(routes.hear(&neighbour("near"), &late, 2.0), Err(Reason::RouteReplayed));
}

#[test]
fn what_is_remembered_of_withdrawals_is_bounded_and_forgets_nothing() {
    let mut withdrawals = Withdrawals::default();
    for n in 0..memory::REMEMBERED_MAX + 5 {
        let until = Duration::from_secs(1000 + n as u64);
        withdrawals.remember(&format!("d{n}").into(), &[], n as f64, until);
    }
    assert!(withdrawals.outdate("d9", 9.0) && !withdrawals.outdate("d9", 9.5));
    // The first five went: what is older than they were is refused, be it what it may.
    assert!(withdrawals.outdate("d0", 0.0) && withdrawals.outdate("other", 4.0));
    assert!(!withdrawals.outdate("other", 4.5));
    withdrawals.expire(Duration::from_secs(1_000_000));
    assert!(withdrawals.is_empty() && !withdrawals.outdate("other", 0.0));
}

#[test]
fn which_withdrawals_count() {
    let mut routes = home();
    let near = neighbour("near");
    for hops in [&["near", "target"][..], &["near", "m", "target"]] {
        routes.near(hops, 5.0).unwrap();
    }
    routes.near(&["other", "target"], 5.0).unwrap();
    let mut hear = |hops: &[&str], seconds| routes.withdrawn(&near, &withdrawal(hops, seconds), at(10.0));
    assert_eq!(hear(&["other", "target"], 6.0), Err(Reason::RouteNotFromNeighbour));
    assert_eq!(hear(&["near", "home", "target"], 6.0), Err(Reason::RoutePathLoop));
    assert_eq!(hear(&["near", "target"], 4.0), Err(Reason::RouteReplayed));
    assert_eq!(hear(&["near", "target"], 311.0), Err(Reason::ClockSkew));
    assert_eq!(hear(&["near", "target"], 6.0), Ok(1));
    // The same from another node of that cluster is not about what else it leads by.
    assert_eq!(hear(&["near", "target"], 6.5), Ok(0));
    assert_eq!(hear(&["near", "nowhere", "target"], 7.0), Ok(1));
    let mut bad = withdrawal(&["near", "target"], 8.0);
    for hops in [&["near", "x"][..], &["x", "target"], &[]] {
        bad.path.hops = texts(hops);
        assert_eq!(routes.withdrawn(&near, &bad, at(10.0)), Err(Reason::RouteMalformed));
    }
    assert_eq!(routes.paths("target"), ["home other target"]);
}

#[test]
fn lost_neighbours_take_their_routes_along_and_no_others() {
    let mut routes = home();
    for hops in [&["near"][..], &["near", "target"], &["other", "target"]] {
        routes.near(hops, 1.0).unwrap();
    }
    routes.hear(&border("b"), &announcement(&["home", "far", "target"], 1.0), 1.0).unwrap();
    assert_eq!(routes.neighbour_lost(&"near".into(), at(2.0)).len(), 2);
    assert_eq!(routes.paths("target"), ["home far target", "home other target"]);
    assert_eq!(routes.border_lost(&"b".into(), at(2.0)).len(), 1);
    assert_eq!(routes.paths("target"), ["home other target"]);
    assert!(routes.near(&["near"], 3.0).is_ok());
}

// ---- policies and limits -----------------------------------------------------------------------------------------

fn only(names: &[&str]) -> Option<BTreeSet<Text>> {
    Some(names.iter().map(|n| Text::from(*n)).collect())
}

#[test]
fn a_neighbours_own_policy_stands_for_the_default_and_beside_the_global_one() {
    let global = Policy { deny_tags: only(&["bad"]).unwrap(), ..Policy::default() };
    let neighbours = BTreeMap::from([("near".into(), Policy { hops_max: Some(2), ..Policy::default() })]);
    let default = Policy { allow_destinations: only(&[]), ..Policy::default() };
    let import = Policies { global: Some(global), default: Some(default), neighbours };
    let mut routes = Routes::new(settings("home"), Rules { import, ..rules() });
    assert_eq!(routes.near(&["other", "target"], 1.0), Err(Reason::RoutePolicyRefused));
    assert_eq!(routes.near(&["near", "target"], 1.0), Ok(Change::New));
    assert_eq!(routes.near(&["near", "m", "target"], 1.0), Err(Reason::RoutePolicyRefused));
    let mut lie = announcement(&["near", "m", "target"], 1.0);
    lie.metrics.hop_count = 0;
    assert_eq!(routes.hear(&neighbour("near"), &lie, 1.0), Err(Reason::RoutePolicyRefused));
    let tagged = RouteAnnouncement { route_tags: texts(&["bad"]), ..announcement(&["near", "t"], 1.0) };
    assert_eq!(routes.hear(&neighbour("near"), &tagged, 1.0), Err(Reason::RoutePolicyRefused));
    // What another node heard from `other` is as refused as if it had been heard here.
    let inner = announcement(&["home", "other", "target"], 1.0);
    assert_eq!(routes.hear(&border("b"), &inner, 1.0), Err(Reason::RoutePolicyRefused));
}

#[test]
fn other_policies_take_out_what_they_refuse_and_tell_it() {
    let mut routes = home();
    routes.joined(&cluster("watch"), at(0.0));
    routes.near(&["near", "target"], 1.0).unwrap();
    routes.near(&["near", "m", "other"], 1.0).unwrap();
    assert_eq!(routes.told("watch", 1.0), ["+ home near m other", "+ home near target"]);
    let weights = Weights { hops: 100.0, ..Weights::default() };
    let global = Policy { hops_max: Some(2), weights, ..Policy::default() };
    let import = Policies { global: Some(global), ..Policies::default() };
    assert_eq!(routes.revise(Rules { import: import.clone(), ..rules() }).len(), 1);
    assert_eq!(routes.told("watch", 2.0), ["- home near m other"]);
    assert_eq!(routes.table().best("target").unwrap().score, 200.0);
    // An export policy that comes later takes back what was told.
    let hidden = Policy { allow_destinations: only(&["home"]), ..Policy::default() };
    let export = Policies { global: Some(hidden), ..Policies::default() };
    routes.revise(Rules { import, export, ..rules() });
    assert_eq!(routes.told("watch", 3.0), ["- home near target"]);
    routes.revise(rules());
    assert_eq!(routes.told("watch", 4.0), ["+ home near target"]);
}

#[test]
fn an_export_policy_holds_for_withdrawals_too() {
    let only_shown = Policy { allow_destinations: only(&["shown"]), ..Policy::default() };
    let neighbours = BTreeMap::from([("watch".into(), only_shown)]);
    let export = Policies { neighbours, ..Policies::default() };
    let mut routes = Routes::new(settings("home"), Rules { export, ..rules() });
    assert!(routes.joined(&cluster("watch"), at(0.0)).is_empty());
    assert_eq!(shown(&routes.joined(&cluster("trusted"), at(0.0))), ["+ home"]);
    for destination in ["hidden", "shown"] {
        routes.near(&["near", destination], 1.0).unwrap();
    }
    assert_eq!(routes.told("watch", 1.0), ["+ home near shown"]);
    assert_eq!(routes.told("trusted", 1.0).len(), 2);
    routes.neighbour_lost(&"near".into(), at(2.0));
    assert_eq!(routes.told("watch", 2.0), ["- home near shown"]);
    assert_eq!(routes.told("trusted", 2.0).len(), 2);
}

#[test]
fn exported_hops_are_counted_from_here() {
    let near = Policy { hops_max: Some(1), ..Policy::default() };
    let export = Policies { global: Some(near), ..Policies::default() };
    let mut routes = Routes::new(settings("home"), Rules { export, ..rules() });
    routes.joined(&cluster("watch"), at(0.0));
    routes.near(&["near"], 1.0).unwrap();
    routes.near(&["near", "target"], 1.0).unwrap();
    assert_eq!(routes.told("watch", 1.0), ["+ home near"]);
}

#[test]
fn a_neighbour_has_a_limit_of_routes() {
    let limited = |over_limit| {
        let rules = Rules { routes_per_neighbour_max: 2, over_limit, ..rules() };
        let mut routes = Routes::new(settings("home"), rules);
        routes.near(&["near", "a"], 1.0).unwrap();
        routes.near(&["near", "b"], 1.0).unwrap();
        routes
    };
    let mut refuse = limited(OverLimit::Refuse);
    assert_eq!(refuse.near(&["near", "c"], 2.0), Err(Reason::RoutesLimit));
    assert_eq!(refuse.near(&["near", "b"], 2.0), Ok(Change::Prolonged));
    assert_eq!(refuse.near(&["other", "c"], 2.0), Ok(Change::New));
    assert_eq!(refuse.table().held_from(&neighbour("near")), 2);
    refuse.withdrawn(&neighbour("near"), &withdrawal(&["near", "a"], 3.0), at(3.0)).unwrap();
    assert_eq!(refuse.near(&["near", "c"], 4.0), Ok(Change::New));

    assert_eq!(limited(OverLimit::DropLink).near(&["near", "c"], 2.0), Err(Reason::RoutesLimitCut));

    let mut warn = limited(OverLimit::Warn);
    let mut over = |name, seconds| {
        let a = announcement(&["near", name], seconds);
        let taken = warn.announced(&neighbour("near"), &a, Standing::Unsigned, &Link::default(), at(seconds));
        taken.unwrap().over_limit
    };
    assert_eq!([over("c", 2.0), over("d", 2.0), over("c", 3.0)], [true, false, false]);
}

#[test]
fn hold_down_and_suppression_end_and_path_changes_do_not_count() {
    let stability = Stability { hold_down_seconds: 5.0, flap_threshold: 2, suppression_window_seconds: 20.0 };
    let mut routes = Routes::new(Settings { stability, ..settings("home") }, rules());
    let near = neighbour("near");
    routes.near(&["near", "target"], 1.0).unwrap();
    routes.near(&["near", "m", "target"], 1.5).unwrap();
    routes.withdrawn(&near, &withdrawal(&["near", "target"], 1.6), at(1.6)).unwrap();
    assert_eq!(routes.near(&["near", "target"], 1.7), Ok(Change::New));
    routes.neighbour_lost(&"near".into(), at(2.0));
    assert_eq!(routes.near(&["near", "target"], 3.0), Err(Reason::RouteHoldDown));
    assert_eq!(routes.near(&["other", "target"], 3.0), Ok(Change::New));
    assert_eq!(routes.near(&["near", "target"], 7.0), Ok(Change::New));
    assert_eq!(routes.expire(at(40.0)).len(), 2);
    assert_eq!(routes.near(&["near", "target"], 46.0), Ok(Change::New)); // the first flap is long ago
    routes.withdrawn(&near, &withdrawal(&["near", "target"], 47.0), at(47.0)).unwrap();
    assert_eq!(routes.near(&["near", "target"], 53.0), Err(Reason::RouteSuppressed));
    assert_eq!(routes.near(&["near", "target"], 67.0), Ok(Change::New));
    routes.expire(at(200_000.0));
    routes.expire(at(400_000.0));
    assert!(routes.sources.is_empty());
}

// ---- which is chosen ---------------------------------------------------------------------------------------------

#[test]
fn the_best_are_kept_but_first_one_of_each_neighbour() {
    let mut routes = Routes::new(Settings { routes_per_destination_max: 2, ..settings("home") }, rules());
    routes.near(&["a", "target"], 1.0).unwrap();
    routes.near(&["a", "x", "target"], 1.0).unwrap();
    assert_eq!(routes.near(&["b", "x", "y", "target"], 1.0), Ok(Change::New));
    assert_eq!(routes.paths("target"), ["home a target", "home b x y target"]);
    assert_eq!(routes.near(&["a", "z", "target"], 1.0), Ok(Change::Worse));
    assert_eq!(routes.near(&["c", "x", "y", "z", "target"], 1.0), Ok(Change::Worse));
    assert_eq!(routes.near(&["d", "target"], 1.0), Ok(Change::New));
    assert_eq!(routes.paths("target"), ["home a target", "home d target"]);
    assert_eq!(routes.table().held().map(|(_, count)| count).sum::<usize>(), 2);
}

#[test]
fn own_routes_come_before_equal_ones_of_other_nodes_and_after_better_ones() {
    let mut routes = home();
    let inner = |hops: &[&str]| RouteAnnouncement {
        metrics: Metrics { hop_count: hops.len() as i64 - 1, ..Metrics::default() },
        ..announcement(hops, 1.0)
    };
    routes.hear(&border("b1"), &inner(&["home", "near", "target"]), 1.0).unwrap();
    routes.near(&["near", "target"], 1.0).unwrap();
    assert_eq!(routes.table().best("target").unwrap().via, neighbour("near"));
    routes.hear(&border("b2"), &inner(&["home", "target"]), 1.0).unwrap();
    let best = routes.table().best("target").unwrap();
    assert_eq!((&best.via, &*best.advertiser, best.metrics.hop_count), (&border("b2"), "target", 1));
    let here: Vec<_> = routes.table().candidates_here("target", &[]).map(|r| r.via.clone()).collect();
    assert_eq!(here, [neighbour("near")]);
    assert!(
        routes.table().is_routed_by("near", "target") && !routes.table().is_routed_by("target", "target")
    );
    assert_eq!(routes.hear(&border("b"), &inner(&["near", "x"]), 1.0), Err(Reason::RouteNotFromNeighbour));
    assert_eq!(routes.hear(&border("b"), &inner(&["home"]), 1.0), Err(Reason::RouteMalformed));
    assert_eq!(routes.hear(&border("b"), &inner(&["home", "x", "home"]), 1.0), Err(Reason::RoutePathLoop));
}

#[test]
fn clusters_are_avoided_wherever_they_are_on_the_path() {
    let mut routes = home();
    routes.near(&["a", "target"], 1.0).unwrap();
    routes.near(&["b", "c", "target"], 1.0).unwrap();
    let chosen = |avoid: &[&str]| {
        let avoid = texts(avoid);
        routes.table().candidates("target", &avoid).map(|r| r.advertiser.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(chosen(&["home"]), ["a", "b"]);
    assert_eq!(chosen(&["a"]), ["b"]);
    assert_eq!(chosen(&["c"]), ["a"]);
    assert!(chosen(&["target"]).is_empty());
    let best = routes.table().best("target").unwrap();
    let shown = routes.table().tiebreakers(best);
    assert_eq!(shown[0], ("hop_count", Decider::Number(2.0)));
    assert_eq!(shown[3], ("advertiser", Decider::Name("a")));
}

// ---- what is told ------------------------------------------------------------------------------------------------

#[test]
fn who_joins_is_told_everything_and_own_announcements_are_as_configured() {
    let mut routes = home();
    let mut a = announcement(&["near", "target"], 1.0);
    a.metrics = Metrics { hop_count: 1, latency_ms: 3.25, reliability_score: 0.9, ..Metrics::default() };
    a.route_tags = texts(&["gold"]);
    a.ttl_seconds = 60.0;
    routes.hear(&neighbour("near"), &a, 1.0).unwrap();
    let told = routes.joined(&cluster("watch"), at(2.0));
    let [
        Told::Announce { announcement: own, learned_from: None },
        Told::Announce { announcement: relayed, learned_from: Some(from) },
    ] = &told[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!(
        (own.path.hops.clone(), own.metrics, own.ttl_seconds),
        (texts(&["home"]), Metrics::default(), 30.0)
    );
    assert_eq!(
        (own.route_tags.clone(), &*own.advertiser, own.advertised_at),
        (texts(&["home-tag"]), "home", START + 2.0)
    );
    assert_eq!(relayed.path.hops, texts(&["home", "near", "target"]));
    let expected = Metrics { hop_count: 2, ..a.metrics };
    assert_eq!(
        (relayed.metrics, relayed.ttl_seconds, relayed.route_tags.clone()),
        (expected, 60.0, a.route_tags)
    );
    assert_eq!((&*relayed.advertiser, from), ("home", &neighbour("near")));
    // A second node of the same cluster hears the same, and nobody twice.
    assert_eq!(shown(&routes.joined(&cluster("watch"), at(3.0))), shown(&told));
    assert!(routes.updates(at(3.0)).is_empty());
}

#[test]
fn dates_and_epochs_only_grow_and_follow_the_clock() {
    let mut routes = home();
    for destination in ["a", "b", "c"] {
        routes.near(&["near", destination], 1.0).unwrap();
    }
    let mut told: Vec<_> = routes.joined(&cluster("watch"), at(2.0)).iter().map(dated).collect();
    told.extend(routes.joined(&cluster("watch"), at(2.0)).iter().map(dated));
    assert!(told.len() == 8 && told.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 < w[1].1));
    let mut restarted = home();
    let later = restarted.joined(&cluster("watch"), at(2.1));
    assert!(dated(&later[0]) > *told.last().unwrap() && dated(&later[0]).1 > told.last().unwrap().1);
    // A clock that is set back a little is not followed, one that was far ahead is.
    let mut date = |wall: f64| {
        let told = routes.joined(&cluster("watch"), Now { wall, mono: Duration::from_secs(3) });
        dated(&told[0])
    };
    let before = date(START + 100.0);
    let little = date(START + 90.0);
    assert!(little.0 > before.0 && little.1 > before.1);
    let far = date(START + 1.0);
    assert!(far.0 == START + 1.0 && far.1 > little.1);
}

#[test]
fn everything_is_said_again_after_the_interval() {
    let mut routes = home();
    routes.joined(&cluster("watch"), at(0.0));
    routes.near(&["near", "target"], 1.0).unwrap();
    assert_eq!(routes.next_deadline(), Some(Duration::ZERO));
    assert_eq!(routes.told("watch", 1.0), ["+ home near target"]);
    routes.near(&["near", "target"], 5.0).unwrap();
    assert!(routes.told("watch", 9.9).is_empty());
    assert_eq!(routes.next_deadline(), Some(Duration::from_secs(10)));
    assert_eq!(routes.told("watch", 10.0), ["+ home", "+ home near target"]);
    // The route of the neighbour runs out; it is withdrawn, not left to die.
    assert_eq!(routes.told("watch", 20.0), ["+ home", "+ home near target"]);
    assert_eq!(routes.expire(at(35.0)).len(), 1);
    assert_eq!(routes.told("watch", 35.0), ["+ home", "- home near target"]);
}

#[test]
fn a_route_is_not_told_to_whom_it_leads_through() {
    let mut routes = home();
    for name in ["near", "mid", "target"] {
        routes.joined(&cluster(name), at(0.0));
    }
    routes.near(&["near", "mid", "target"], 1.0).unwrap();
    for name in ["near", "mid", "target"] {
        assert!(routes.told(name, 1.0).is_empty(), "{name}");
    }
    // One that was told before is taken back when the best now leads through the hearer.
    routes.near(&["near", "far"], 1.0).unwrap();
    assert_eq!(routes.told("mid", 1.0), ["+ home near far"]);
    routes.near(&["mid", "far"], 2.0).unwrap();
    assert_eq!(routes.told("mid", 2.0), ["- home near far"]);
    assert_eq!(routes.told("near", 2.0), ["+ home mid far"]);
}

#[test]
fn another_path_is_there_before_the_one_that_goes() {
    let mut routes = home();
    routes.joined(&cluster("watch"), at(0.0));
    routes.near(&["near", "m", "target"], 1.0).unwrap();
    assert_eq!(routes.told("watch", 1.0), ["+ home near m target"]);
    routes.near(&["other", "target"], 2.0).unwrap();
    let told = routes.updates_for(&cluster("watch"), at(2.0));
    assert_eq!(shown(&told), ["+ home other target", "- home near m target", "+ home other target"]);

    let mut watch = Routes::new(settings("watch"), rules());
    let hear = |watch: &mut Routes, told: &Told| match told {
        Told::Announce { announcement, .. } => {
            watch.hear(&neighbour("home"), announcement, 2.0).map(|_| ()).unwrap();
        }
        Told::Withdraw { withdrawal, .. } => {
            assert_eq!(watch.withdrawn(&neighbour("home"), withdrawal, at(2.0)), Ok(1));
        }
    };
    watch.near(&["home", "near", "m", "target"], 1.0).unwrap();
    for message in &told {
        hear(&mut watch, message);
        assert!(watch.table().best("target").is_some());
    }
    assert_eq!(watch.paths("target"), ["watch home other target"]);
}

#[test]
fn a_storm_of_changes_is_told_as_its_last_state() {
    let mut routes = home();
    routes.joined(&cluster("watch"), at(0.0));
    let near = neighbour("near");
    let mut told = Vec::new();
    for n in 0..10 {
        let seconds = 1.0 + f64::from(n) * 0.01;
        let mut a = announcement(&["near", "target"], seconds);
        a.metrics.latency_ms = f64::from(n);
        routes.hear(&near, &a, seconds).unwrap();
        told.extend(routes.updates_for(&cluster("watch"), at(seconds)));
    }
    assert_eq!(told.len(), 1);
    assert_eq!(routes.next_deadline(), Some(Duration::from_millis(1200)));
    let last = routes.updates_for(&cluster("watch"), at(1.2));
    let [Told::Announce { announcement, .. }] = &last[..] else { panic!("{last:?}") };
    assert_eq!(announcement.metrics.latency_ms, 9.0);
    // A withdrawal never waits; what comes after it does.
    routes.withdrawn(&near, &withdrawal(&["near", "target"], 1.21), at(1.21)).unwrap();
    assert_eq!(routes.told("watch", 1.21), ["- home near target"]);
    routes.near(&["near", "target"], 1.22).unwrap();
    assert!(routes.told("watch", 1.22).is_empty());
    assert_eq!(routes.told("watch", 1.42), ["+ home near target"]);
    assert_eq!(routes.next_deadline(), Some(Duration::from_secs(10)));
}

#[test]
fn a_route_that_came_and_went_between_two_questions_is_not_told() {
    let mut routes = home();
    routes.joined(&cluster("watch"), at(0.0));
    routes.near(&["near", "target"], 1.0).unwrap();
    routes.neighbour_lost(&"near".into(), at(1.0));
    assert!(routes.updates(at(1.0)).is_empty());
    assert_eq!(routes.tell.told(&cluster("watch")).len(), 1);
}

#[test]
fn nodes_of_the_own_cluster_hear_what_this_one_heard_itself() {
    let mut routes = home();
    routes.joined(&cluster("watch"), at(0.0));
    routes.hear(&border("b"), &announcement(&["home", "far", "target"], 1.0), 1.0).unwrap();
    assert!(routes.joined(&Hearer::OwnCluster, at(1.0)).is_empty());
    assert_eq!(routes.told("watch", 1.0), ["+ home far target"]);
    // The same path, now heard here: news to the own cluster alone.
    routes.near(&["far", "target"], 2.0).unwrap();
    let updates = routes.updates(at(2.0));
    let [(Hearer::OwnCluster, told)] = &updates[..] else { panic!("{updates:?}") };
    assert_eq!(shown(told), ["+ home far target"]);
    // And back again.
    routes.neighbour_lost(&"far".into(), at(3.0));
    let updates = routes.updates(at(3.0));
    let [(Hearer::OwnCluster, told)] = &updates[..] else { panic!("{updates:?}") };
    assert_eq!(shown(told), ["- home far target"]);
    routes.left(&Hearer::OwnCluster);
    routes.near(&["far", "target"], 4.0).unwrap();
    assert!(routes.updates(at(4.0)).is_empty());
}

/// Else all nodes of a cluster would be without a way between the loss of the better one and the word of the worse.
#[test]
fn the_own_cluster_knows_a_worse_way_out_before_the_better_one_is_lost() {
    let mut routes = home();
    routes.joined(&cluster("watch"), at(0.0));
    routes.joined(&Hearer::OwnCluster, at(0.0));
    routes.hear(&border("b"), &announcement(&["home", "far", "target"], 1.0), 1.0).unwrap();
    assert_eq!(routes.told("watch", 1.0), ["+ home far target"]);
    routes.near(&["near", "middle", "target"], 2.0).unwrap();
    let updates = routes.updates(at(2.0));
    let [(Hearer::OwnCluster, told)] = &updates[..] else { panic!("{updates:?}") };
    assert_eq!(shown(told), ["+ home near middle target"]);
    routes.border_lost(&"b".into(), at(3.0));
    let updates = routes.updates(at(3.0));
    let [(Hearer::Cluster(_), told)] = &updates[..] else { panic!("{updates:?}") };
    assert_eq!(shown(told).last().map(String::as_str), Some("+ home near middle target"));
}

/// Wall clock at which these nodes start.
const START: f64 = 1_700_000_000.0;
