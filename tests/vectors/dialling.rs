//! `vectors_dial_timing.json` (fabric.md 4.5, 4.10): when peers are dialled and told of the state of this node.
//!
//! The numbers are how the reference plans its own work; nothing of them is on the wire but the moments. Here the pauses
//! follow another plan, and what a mesh needs of any plan is asserted for each case of the grid: a node that starts late
//! is found within the time that the reference gives its seeds, nobody is dialled more often than the pauses say, they
//! grow up to a bound below every silence that ends something, targets do not move in step, nothing is given up, and a
//! STATUS comes often enough.

use std::collections::BTreeMap;
use std::time::Duration;

use mpreg::config::Settings;
use mpreg::core::fabric::{Action, Event};
use mpreg::core::federation::LinkFacts;
use mpreg::core::membership::LinkId;

use crate::table::{Table, settings, status};
use crate::{interop, list};

const OWN: &str = "ws://own:1";
/// How long each case is watched.
const SECONDS: f64 = 100.0;
/// `dial_backoff_seconds_max` of the settings of these tests, and how far chance moves a pause.
const PAUSE_MAX: f64 = 30.0;
const JITTER: f64 = 0.25;
/// `dial_parallelism_max` of the same.
const PARALLELISM_MAX: usize = 8;

/// What becomes of a dial.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Fails,
    Opens,
    /// The node answers a STATUS with error 1003.
    Refuses,
}

/// What a node did about its peers.
#[derive(Debug, Default)]
struct Record {
    /// The moments of dials, by address.
    dials: BTreeMap<String, Vec<f64>>,
    /// The moments of STATUS, by link.
    reports: BTreeMap<u64, Vec<f64>>,
    under_way_max: usize,
}

fn seed(n: usize) -> String {
    format!("ws://seed-{n:03}:1")
}

/// A node with these seeds is watched for a while.
fn watched(gossip_interval: f64, seeds: &[End], seconds: f64) -> Record {
    let mut own = settings(OWN, "c1");
    own.membership.gossip_interval_seconds = gossip_interval;
    own.membership.seeds = (0..seeds.len()).map(|n| seed(n).into()).collect();
    let mut table = Table::new(own, 1_700_000_000.0);
    let (mut record, mut links) = (Record::default(), BTreeMap::new());
    table.tell(Event::Tick);
    loop {
        let done = std::mem::take(&mut table.done);
        let dials = done.iter().filter(|a| matches!(a, Action::Dial { .. })).count();
        record.under_way_max = record.under_way_max.max(dials);
        for action in done {
            match action {
                Action::Dial { url, timeout } => {
                    assert_eq!(timeout, None, "peers.connect_timeout holds");
                    record.dials.entry(url.to_string()).or_default().push(table.seconds);
                    let n: usize = url[10..13].parse().unwrap();
                    if seeds[n] == End::Fails {
                        table.tell(Event::DialFailed { url });
                        continue;
                    }
                    let link = record.dials.values().map(|at| at.len() as u64).sum();
                    links.insert(link, n);
                    table.tell(Event::LinkOpened {
                        link: LinkId(link),
                        dialled: Some(url),
                        facts: LinkFacts::default(),
                    });
                    if seeds[n] == End::Opens {
                        table.say(link, &status(&seed(n), "c1"));
                    }
                }
                Action::Send { link, bytes } => {
                    if !bytes.starts_with(br#"{"role":"server","server":{"what":"STATUS""#) {
                        continue;
                    }
                    record.reports.entry(link.0).or_default().push(table.seconds);
                    let answer = match seeds[links[&link.0]] {
                        End::Refuses => {
                            r#"{"r":null,"error":{"code":1003,"message":"no","details":null},"u":"s"}"#
                        }
                        _ => r#"{"r":"STATUS","error":null,"u":"s"}"#,
                    };
                    table.tell(Event::Message { link, bytes: answer.into() });
                }
                Action::Close { link, .. } => table.tell(Event::LinkClosed { link }),
                _ => {}
            }
        }
        if !table.done.is_empty() {
            continue;
        }
        let next = table.fabric.next_deadline().map(|at| at.as_secs_f64()).filter(|at| *at <= seconds);
        let Some(next) = next else { return record };
        table.seconds = table.seconds.max(next);
        table.tell(Event::Tick);
    }
}

fn pauses(moments: &[f64]) -> Vec<f64> {
    moments.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[test]
fn dials_come_soon_grow_rare_and_never_end() {
    let cases = list(&interop("fabric/vectors_dial_timing.json")["cases"]);
    assert_eq!(cases.len(), 48);
    for case in &cases {
        let number = |name: &str| case[name].as_f64().unwrap();
        let (interval, ratio, targets) =
            (number("gossip_interval"), number("connected_ratio"), number("targets") as usize);
        let connected = (targets as f64 * ratio).ceil() as usize;
        let mut seeds = vec![End::Opens; connected];
        seeds.resize(targets, End::Fails);
        let record = watched(interval, &seeds, SECONDS);
        let about = format!("{targets} targets, {connected} connected, every {interval} s");
        assert_eq!(record.dials.len(), targets, "{about}");
        assert!(record.under_way_max <= PARALLELISM_MAX, "{about}: {}", record.under_way_max);

        let (mut first, mut pauses_max) = (Vec::new(), 0.0_f64);
        for n in connected..targets {
            let moments = &record.dials[&seed(n)];
            // 4.10: the reference dials its seeds anew for max(2.5, g) seconds after the start.
            let start_up = interval.max(2.5);
            assert!(moments[0] < 0.5 && moments[1] <= moments[0] + start_up, "{about}: {moments:?}");
            let pauses = pauses(moments);
            first.push(pauses[0]);
            // Each pause is twice the one before, up to the bound and but for chance.
            let plan =
                std::iter::successors(Some(interval.min(2.0)), |pause| Some((pause * 2.0).min(PAUSE_MAX)));
            for (pause, planned) in pauses.iter().zip(plan) {
                let (from, to) = (planned * (1.0 - JITTER) - 0.01, planned * (1.0 + JITTER) + 0.1);
                assert!((from..to).contains(pause), "{about}: {pause} for {planned} in {pauses:?}");
                pauses_max = pauses_max.max(*pause);
            }
            // Nothing is given up: the last dial is less than a pause ago.
            assert!(SECONDS - moments.last().unwrap() <= PAUSE_MAX * (1.0 + JITTER), "{about}: {moments:?}");
        }
        // A dial of the reference is several connects with short pauses between them; one of ours is one connect, which
        // has at least the time that all of those have for one each.
        let fast = &case["fast_policy_failures_0"];
        let base_delay = fast["base_delay"].as_f64().unwrap();
        assert!(first.iter().all(|pause| *pause >= base_delay), "{about}: {first:?}");
        let patience = Duration::from_secs_f64(fast["connect_timeout"].as_f64().unwrap());
        assert!(Settings::default().peers.connect_timeout >= patience, "{about}");
        // Shorter than the silence that ends a link, and than half a lease (5.8).
        assert!(pauses_max < 60.0, "{about}: {pauses_max}");
        // The first is never longer than the longest of the reference.
        let slowest = (number("backoff_cap") * (1.0 + JITTER)).max(2.5);
        assert!(first.iter().all(|pause| *pause <= slowest), "{about}: {first:?}");
        if first.len() >= 5 {
            first.sort_by(f64::total_cmp);
            first.dedup_by(|a, b| (*a - *b).abs() < 0.001);
            assert!(first.len() >= 4, "{about}: in step, {first:?}");
        }

        for n in 0..connected {
            assert_eq!(record.dials[&seed(n)].len(), 1, "{about}: a link that holds is not made again");
        }
        assert_eq!(record.reports.len(), connected, "{about}");
        for moments in record.reports.values() {
            // 12.8: after max(3 g, 1) seconds without STATUS a node counts as busy; after 60 s its socket is closed.
            let gaps = pauses(moments);
            let longest = gaps.iter().fold(SECONDS - moments.last().unwrap(), |a, b| a.max(*b));
            for period in [longest, number("reconcile_interval")] {
                assert!(period <= (3.0 * interval).max(1.0) && period < 60.0, "{about}: {period}");
            }
        }
    }
}

#[test]
fn who_refuses_is_asked_ever_more_rarely() {
    // 20.2 C32: the reference takes a refused STATUS for success, dials again with every tick and sends everything anew.
    let record = watched(1.0, &[End::Refuses], 600.0);
    let pauses = pauses(&record.dials[&seed(0)]);
    assert!(pauses[0] >= 4.0 * (1.0 - JITTER), "{pauses:?}");
    assert!(pauses.iter().all(|pause| *pause <= 120.0 * (1.0 + JITTER) + 1.0), "{pauses:?}");
    assert!(pauses.last().unwrap() >= &(120.0 * (1.0 - JITTER)), "{pauses:?}");
    assert!((6..=12).contains(&pauses.len()), "{pauses:?}");
}
