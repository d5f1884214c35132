use super::*;
use crate::core::error::FAILED;
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

fn function(name: &str, in_flight_max: usize) -> Function {
    Function { name: name.into(), in_flight_max, timeout: SECOND * 5 }
}

fn group(in_flight_max: usize, instances: usize) -> Group<u32> {
    let functions = vec![function("a.one", in_flight_max), function("a.two", 1)];
    let mut group = Group::new(functions, instances, SECOND, 3);
    for i in 0..instances {
        group.instance_up(at(0.0), i);
    }
    assert_eq!(drain(&mut group), ["up"]);
    group
}

fn at(seconds: f64) -> Now {
    Now::at(0.0, seconds)
}

/// The actions as short words: `send 1 to 0`, `cancel 1 at 0`, `fail #ticket code reason`.
fn drain(group: &mut Group<u32>) -> Vec<String> {
    std::iter::from_fn(|| group.poll_action())
        .map(|a| match a {
            Action::Send { instance, id } => format!("send {id} to {instance}"),
            Action::Cancel { instance, id } => format!("cancel {id} at {instance}"),
            Action::Finish { ticket, error } => {
                format!("fail #{ticket} {} {}", error.code, error.reason.unwrap())
            }
            Action::Kill { instance, .. } => format!("kill {instance}"),
            Action::Up => "up".into(),
            Action::Down => "down".into(),
        })
        .collect()
}

#[test]
fn calls_are_spread_and_the_rest_waits_in_order() {
    let mut g = group(1, 2);
    for ticket in 10..15 {
        g.submit(at(0.0), 0, SECOND * 9, ticket);
    }
    assert_eq!(drain(&mut g), ["send 1 to 0", "send 2 to 1"]);
    assert_eq!(g.state(0), FunctionState { in_flight: 2, waiting: 3, calls: 5, failures: 0 });
    g.submit(at(0.0), 0, SECOND, 15);
    assert_eq!(drain(&mut g), ["fail #15 1003 pending_calls_limit"]);
    assert_eq!(g.answered(1, 2, false), Some(11));
    assert_eq!(g.answered(0, 1, true), Some(10));
    assert_eq!(drain(&mut g), ["send 3 to 1", "send 4 to 0"]);
    assert_eq!(g.state(0), FunctionState { in_flight: 2, waiting: 1, calls: 6, failures: 2 });
}

#[test]
fn functions_of_one_process_have_limits_of_their_own() {
    let mut g = group(1, 1);
    g.submit(at(0.0), 0, SECOND, 1);
    g.submit(at(0.0), 1, SECOND, 2);
    g.submit(at(0.0), 1, SECOND, 3);
    assert_eq!(drain(&mut g), ["send 1 to 0", "send 2 to 0"]);
    g.answered(0, 1, false);
    assert_eq!(drain(&mut g), [""; 0]);
    g.answered(0, 2, false);
    assert_eq!(drain(&mut g), ["send 3 to 0"]);
}

#[test]
fn answers_of_the_wrong_instance_unknown_or_twice_belong_to_nobody() {
    let mut g = group(4, 2);
    g.submit(at(0.0), 0, SECOND, 1);
    assert_eq!(g.answered(1, 1, false), None);
    assert_eq!(g.answered(0, 77, false), None);
    assert_eq!(g.answered(0, 1, false), Some(1));
    assert_eq!(g.answered(0, 1, false), None);
}

#[test]
fn deadline_of_the_caller_or_of_the_function_whichever_is_shorter() {
    let mut g = group(1, 1);
    g.submit(at(0.0), 0, SECOND * 60, 1);
    g.submit(at(0.0), 0, SECOND, 2);
    drain(&mut g);
    assert_eq!(g.poll_timeout(), Some(SECOND));
    g.handle_timeout(at(1.0));
    assert_eq!(drain(&mut g), ["fail #2 1004 deadline_passed"]);
    g.handle_timeout(at(4.9));
    assert_eq!(drain(&mut g), [""; 0]);
    g.handle_timeout(at(5.0));
    assert_eq!(drain(&mut g), ["cancel 1 at 0", "fail #1 1004 deadline_passed"]);
    assert_eq!(g.state(0).in_flight, 1, "the place is kept until the answer");
    assert_eq!(g.answered(0, 1, false), None, "a late answer is nobody's");
    assert_eq!(g.state(0).in_flight, 0);
    assert_eq!(g.poll_timeout(), None);
}

#[test]
fn a_timeout_without_measure_is_no_overflow() {
    let endless = Function { timeout: Duration::MAX, ..function("f", 1) };
    let mut g = Group::new(vec![endless], 1, Duration::MAX, 1);
    g.instance_up(at(0.0), 0);
    let id = g.submit(at(1.0), 0, Duration::MAX, 1);
    g.cancel(id);
    assert_eq!(g.answered(0, id, false), None);
}

#[test]
fn text_of_a_timeout_names_the_function() {
    let mut g = group(1, 1);
    g.submit(at(0.0), 0, Duration::from_millis(500), 1);
    g.handle_timeout(at(0.5));
    let error = std::iter::from_fn(|| g.poll_action()).find_map(|a| match a {
        Action::Finish { error, .. } => Some(error),
        _ => None,
    });
    let error = error.unwrap();
    assert_eq!(error.message, "RPC execution timed out after 0.5 seconds");
    assert_eq!(error.details.unwrap(), "a.one did not answer within 0.5 seconds");
}

#[test]
fn a_caller_that_leaves_frees_its_waiting_place_or_has_the_call_cancelled() {
    let mut g = group(1, 1);
    g.submit(at(0.0), 0, SECOND, 1);
    g.submit(at(0.0), 0, SECOND, 2);
    g.submit(at(0.0), 0, SECOND, 3);
    drain(&mut g);
    g.cancel(2);
    assert_eq!((drain(&mut g).len(), g.state(0).waiting), (0, 1));
    g.cancel(1);
    g.cancel(1);
    assert_eq!(drain(&mut g), ["cancel 1 at 0"]);
    assert_eq!(g.answered(0, 1, true), None);
    assert_eq!(drain(&mut g), ["send 3 to 0"]);
    assert_eq!(g.state(0).failures, 0);
}

#[test]
fn an_instance_that_answers_nothing_is_started_anew() {
    let mut g = group(2, 1);
    g.submit(at(0.0), 0, SECOND, 1);
    g.submit(at(0.0), 0, SECOND, 2);
    g.handle_timeout(at(1.0));
    drain(&mut g);
    g.handle_timeout(at(10.9));
    assert_eq!(drain(&mut g), [""; 0]);
    g.handle_timeout(at(11.0));
    assert_eq!(drain(&mut g), ["kill 0"]);
    g.instance_down(at(11.1), 0, "was ended");
    g.instance_up(at(12.1), 0);
    assert_eq!(drain(&mut g), ["down", "up"]);
    assert_eq!((g.state(0).in_flight, g.poll_timeout()), (0, None));
}

#[test]
fn a_late_answer_after_the_patience_counts_the_instance_as_alive() {
    let mut g = group(2, 1);
    g.submit(at(0.0), 0, SECOND, 1);
    g.submit(at(5.0), 0, SECOND, 2);
    g.handle_timeout(at(1.0));
    g.handle_timeout(at(6.0));
    g.handle_timeout(at(11.5));
    drain(&mut g);
    g.answered(0, 1, false);
    g.handle_timeout(at(16.5));
    assert_eq!(drain(&mut g), [""; 0]);
}

#[test]
fn a_crash_fails_what_was_in_flight_and_others_wait_for_the_restart() {
    let mut g = group(1, 1);
    g.submit(at(0.0), 0, SECOND * 5, 1);
    g.submit(at(0.0), 0, SECOND * 5, 2);
    drain(&mut g);
    assert_eq!(g.instance_down(at(0.5), 0, "exited with status 3"), SECOND);
    assert_eq!(drain(&mut g), ["fail #1 1003 worker_failed", "down"]);
    g.submit(at(0.6), 0, SECOND * 5, 3);
    g.submit(at(0.6), 0, SECOND / 4, 4);
    assert_eq!(drain(&mut g), ["fail #4 1003 worker_unavailable"]);
    g.instance_starting(0);
    g.instance_up(at(1.5), 0);
    assert_eq!(drain(&mut g), ["up", "send 2 to 0"]);
    assert_eq!(g.instance_down(at(1.6), 0, "exited with status 3"), SECOND * 2);
    assert_eq!(g.instance_down(at(1.6), 0, "exited twice"), Duration::ZERO);
    g.instance_starting(0);
    g.instance_up(at(3.6), 0);
    assert_eq!(g.instance_down(at(3.7), 0, "exited with status 3"), SECOND * 4);
    drain(&mut g);
    g.submit(at(3.8), 0, SECOND * 5, 5);
    assert_eq!(drain(&mut g), ["fail #5 1003 worker_unavailable"]);
    assert_eq!((g.restarts(), g.last_exit()), (3, Some("exited with status 3")));
}

#[test]
fn a_command_that_cannot_be_started_fails_calls_at_once() {
    let mut g: Group<u32> = Group::new(vec![function("ghost", 1)], 1, SECOND, 3);
    g.submit(at(0.0), 0, SECOND * 5, 1);
    assert_eq!(g.instance_refused(at(0.1), 0, "cannot be started"), SECOND);
    g.submit(at(0.2), 0, SECOND * 5, 2);
    let errors: Vec<_> = std::iter::from_fn(|| g.poll_action())
        .map(|a| match a {
            Action::Finish { error, .. } => error,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(errors.len(), 2);
    assert!(errors.iter().all(|e| e.code == FAILED && e.reason == Some(Reason::WorkerUnavailable)));
    assert_eq!(errors[1].details.as_ref().unwrap(), "no worker of ghost runs: it cannot be started");
}

#[test]
fn a_stop_ends_what_waits_and_takes_nothing_more() {
    let mut g = group(1, 1);
    g.submit(at(0.0), 0, SECOND, 1);
    g.submit(at(0.0), 0, SECOND, 2);
    drain(&mut g);
    g.stop();
    g.submit(at(0.0), 0, SECOND, 3);
    assert_eq!(drain(&mut g), ["fail #2 1003 stopping", "fail #3 1003 stopping"]);
    g.instance_down(at(0.1), 0, "exited with status 0");
    assert_eq!(drain(&mut g), ["fail #1 1003 stopping", "down"]);
    assert_eq!(g.restarts(), 0);
}

proptest! {
    /// Whatever happens in whatever order: no instance has more than it may, and every call ends exactly once.
    #[test]
    fn every_call_ends_once_and_limits_hold(steps in prop::collection::vec((0u8..7, 0u64..40, 0u32..4), 1..200)) {
        let mut g: Group<u32> = Group::new(vec![function("f", 2)], 2, SECOND, 5);
        let mut clock = 0.0;
        let (mut open, mut ended) = (std::collections::BTreeMap::new(), 0);
        let mut up = [false; 2];
        let mut at_worker: Vec<(u64, usize)> = Vec::new();
        let mut made = 0u32;
        for (what, id, pause) in steps {
            clock += f64::from(pause) * 0.7;
            let now = at(clock);
            let i = (id % 2) as usize;
            match what {
                0..=2 => {
                    made += 1;
                    open.insert(made, g.submit(now, 0, SECOND * 3, made));
                }
                3 if !at_worker.is_empty() => {
                    let (id, instance) = at_worker.remove(id as usize % at_worker.len());
                    if let Some(ticket) = g.answered(instance, id, false) {
                        prop_assert_eq!(open.remove(&ticket), Some(id));
                        ended += 1;
                    }
                }
                4 if !open.is_empty() => {
                    let ticket = *open.keys().nth(id as usize % open.len()).unwrap();
                    g.cancel(open.remove(&ticket).unwrap());
                    ended += 1;
                }
                5 if up[i] => {
                    g.instance_down(now, i, "exited");
                    at_worker.retain(|(_, at)| *at != i);
                    up[i] = false;
                }
                5 => {
                    g.instance_up(now, i);
                    up[i] = true;
                }
                _ => g.handle_timeout(now),
            }
            while let Some(action) = g.poll_action() {
                match action {
                    Action::Send { instance, id } => {
                        prop_assert!(up[instance]);
                        at_worker.push((id, instance));
                    }
                    Action::Finish { ticket, .. } => {
                        prop_assert!(open.remove(&ticket).is_some());
                        ended += 1;
                    }
                    _ => {}
                }
            }
            for i in 0..2 {
                prop_assert!(at_worker.iter().filter(|(_, at)| *at == i).count() <= 2);
            }
            prop_assert_eq!(g.state(0).in_flight, at_worker.len());
            prop_assert!(g.state(0).waiting <= 5);
            prop_assert_eq!(open.len() + ended, made as usize);
        }
        g.handle_timeout(at(clock + 100.0));
        while let Some(action) = g.poll_action() {
            if let Action::Finish { ticket, .. } = action {
                prop_assert!(open.remove(&ticket).is_some());
            }
        }
        prop_assert!(open.is_empty());
    }
}
