//! The scenario of the reference's table, step by step, with the deviations that are meant.

use serde_json::Value;
use serde_json::value::to_raw_value;

use super::tests::{rules, settings};
use super::*;

const VECTORS: &str = include_str!("../../../tests/interop/fabric/vectors_route_table.json");

/// Steps of the first scenario in which this table does not do what the reference does.
#[derive(Debug, PartialEq)]
enum Deviation {
    /// The reference compares with records that are over and keeps them for ever (20.2 C7). Here they are gone.
    LiveOnly,
    /// The reference can avoid the own cluster, with which every path starts, and so finds nothing (20.2 C1).
    OwnNeverAvoided,
}

/// Every other step is followed to the letter.
fn deviation(scenario: &str, step: usize) -> Option<Deviation> {
    match (scenario, step) {
        ("default_stability", 8) => Some(Deviation::OwnNeverAvoided),
        ("default_stability", 18) => Some(Deviation::LiveOnly),
        _ => None,
    }
}

#[test]
fn the_table_follows_the_vectors() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let damped = Stability { hold_down_seconds: 5.0, flap_threshold: 2, suppression_window_seconds: 20.0 };
    let scenarios =
        [("default_stability", Stability::default()), ("hold_down_5s_flap_2_suppress_20s", damped)];
    for (scenario, stability) in scenarios {
        let mut routes = Routes::new(Settings { stability, ..settings("me") }, rules());
        for (n, step) in vectors[scenario].as_array().unwrap().iter().enumerate() {
            let deviation = deviation(scenario, n);
            follow(&mut routes, step, deviation.as_ref());
            if deviation != Some(Deviation::LiveOnly) {
                assert_eq!(held(&routes), listed(&step["table"]), "{scenario} {n}");
            }
        }
    }
}

fn follow(routes: &mut Routes, step: &Value, deviation: Option<&Deviation>) {
    let now = Now::at(0.0, step["now"].as_f64().unwrap());
    let text = |name: &str| Text::from(step[name].as_str().unwrap());
    let payload = to_raw_value(&step["payload"]).unwrap();
    let from = || Via::Neighbour { cluster: text("received_from") };
    match step["op"].as_str().unwrap() {
        "announce" => {
            let announcement = RouteAnnouncement::decode(&payload, now.wall).unwrap();
            let taken = routes.announced(&from(), &announcement, Standing::Unsigned, &Link::default(), now);
            match deviation {
                Some(Deviation::LiveOnly) => assert_eq!(taken.unwrap().change, Change::New, "{step}"),
                _ => assert_eq!(taken.err(), reason(&step["reject_reason"]), "{step}"),
            }
        }
        "withdraw" => {
            let withdrawal = RouteWithdrawal::decode(&payload, now.wall).unwrap();
            let removed = routes.withdrawn(&from(), &withdrawal, now).unwrap_or(0);
            assert_eq!(removed, step["removed"].as_array().unwrap().len(), "{step}");
        }
        "neighbor_lost" => {
            let gone = routes.neighbour_lost(&text("cluster"), now);
            let paths: Vec<Value> = gone.iter().map(|r| serde_json::json!(*r.path)).collect();
            // The route to c, never renewed since 102, is over for long.
            let expected = &step["removed"].as_array().unwrap()[..1];
            assert_eq!(paths, expected, "{step}");
        }
        "select" => {
            let avoid: Vec<Text> = serde_json::from_value(step["avoid"].clone()).unwrap();
            let chosen = routes.table().candidates(step["destination"].as_str().unwrap(), &avoid).next();
            match deviation {
                Some(Deviation::OwnNeverAvoided) => assert_eq!(&*chosen.unwrap().advertiser, "d"),
                _ => assert_eq!(serde_json::json!(&chosen.unwrap().path[..]), step["selected_path"]),
            }
        }
        other => panic!("{other}"),
    }
    routes.expire(now);
}

fn reason(name: &Value) -> Option<Reason> {
    name.as_str().map(|name| match name {
        "stale" => Reason::RouteReplayed,
        "loop" => Reason::RoutePathLoop,
        "self" => Reason::RouteNotFromNeighbour,
        "expired" => Reason::RouteExpired,
        "hold_down" => Reason::RouteHoldDown,
        "suppressed" => Reason::RouteSuppressed,
        "advertiser_mismatch" | "destination_mismatch" | "empty_path" => Reason::RouteMalformed,
        other => panic!("{other}"),
    })
}

type Row = (String, Vec<String>, String, i64, f64, Value);

fn held(routes: &Routes) -> Vec<Row> {
    let mut rows = Vec::new();
    for (destination, routes) in routes.table().destinations() {
        rows.extend(routes.map(|r| {
            let path = r.path.iter().map(|c| c.to_string()).collect();
            let metrics = serde_json::to_value(r.metrics).unwrap();
            (destination.to_string(), path, r.advertiser.to_string(), r.epoch, r.score, metrics)
        }));
    }
    rows
}

fn listed(table: &Value) -> Vec<Row> {
    let mut rows = Vec::new();
    for (destination, routes) in table.as_object().unwrap() {
        rows.extend(routes.as_array().unwrap().iter().map(|r| {
            let path = serde_json::from_value(r["path"].clone()).unwrap();
            let (next, epoch) = (r["next_hop"].as_str().unwrap(), r["epoch"].as_i64().unwrap());
            let score = r["score"].as_f64().unwrap();
            (destination.clone(), path, next.to_owned(), epoch, score, r["metrics"].clone())
        }));
    }
    rows
}
