use serde_json::{Value, json};

use super::*;
use crate::core::rpc::builtin;
use crate::wire::client::{self, Message};

const LIMITS: Limits = Limits { time_seconds: 30.0, message_bytes_max: 1 << 20 };

fn request(cmds: Value, members: Value) -> String {
    let mut frame = json!({"role": "rpc", "u": "u-1", "cmds": cmds});
    frame.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    frame.to_string()
}

fn decode(frame: &str) -> RpcRequest<'_> {
    match client::read(frame.as_bytes()) {
        Ok(Message::Rpc(request)) => request,
        other => panic!("{frame}: {other:?}"),
    }
}

fn at(seconds: f64) -> Now {
    Now::at(1000.0, seconds)
}

fn e(name: &str, value: Value) -> Value {
    json!({"name": name, "fun": "echo", "args": [value]})
}

fn cmd(name: &str, fun: &str, args: Value, kwargs: Value) -> Value {
    json!({"name": name, "fun": fun, "args": args, "kwargs": kwargs})
}

/// A node with a few functions; the commands of a level end in reverse order, each half a second after the other.
fn execute(ready: &Ready<'_>) -> Result<Json, CallError> {
    let args: Value = serde_json::from_str(ready.args.get()).unwrap();
    let kwargs: Value = serde_json::from_str(ready.kwargs.get()).unwrap();
    let value = match &*ready.command.fun {
        "echo" => return builtin::echo(&ready.args, &ready.kwargs).map(Json::from),
        "echos" => return builtin::echos(&ready.args, &ready.kwargs).map(Json::from),
        "add" => json!(args[0].as_i64().unwrap() + args[1].as_i64().unwrap()),
        "kw" => json!({"args": args, "kwargs": kwargs}),
        "fail" => return Err(CallError::failed("the cupboard is bare")),
        fun => return Err(CallError::not_found(fun)),
    };
    Ok(Json::from_value(&value).unwrap())
}

/// Runs a request to its end: the answer, the messages for the topic, and the functions in the order of their calls.
fn drive(frame: &str) -> (Value, Vec<Value>, Vec<String>) {
    let request = decode(frame);
    let mut seconds = 0.0;
    let (mut run, mut step) = Run::start(&request, LIMITS, at(seconds));
    let (mut messages, mut calls, mut under_way) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        if let Some(progress) = &step.progress {
            let message = progress.message("node-a");
            let body = write::message_body(&message);
            messages.push(serde_json::from_slice(&body).unwrap());
        }
        match step.next {
            Next::Done(answer) => {
                let mut out = Vec::new();
                let error = answer.write(&mut out).map(Cow::into_owned);
                let document: Value = serde_json::from_slice(&out).unwrap();
                assert_eq!(error.map_or(Value::Null, |e| json!(e)), document["error"]);
                return (document, messages, calls);
            }
            Next::Dispatch(ready) => under_way = ready,
            Next::Wait => {}
        }
        let ready = under_way.pop().expect("commands to run while there is no answer");
        calls.push(ready.command.fun.to_string());
        seconds += 0.5;
        step = run.completed(ready.index, execute(&ready), at(seconds));
    }
}

fn r(cmds: Value) -> Value {
    let (answer, ..) = drive(&request(cmds, json!({})));
    assert_eq!(answer["error"], Value::Null, "{answer}");
    answer["r"].clone()
}

fn failure(cmds: Value) -> (i64, String) {
    let (answer, ..) = drive(&request(cmds, json!({})));
    assert_eq!((&answer["r"], &answer["intermediate_results"]), (&Value::Null, &json!([])));
    assert_eq!(answer["execution_summary"], Value::Null);
    (
        answer["error"]["code"].as_i64().unwrap(),
        answer["error"]["details"].as_str().unwrap_or_default().to_owned(),
    )
}

#[test]
fn an_answer_has_five_members_in_their_order() {
    let frame = request(json!([e("c1", json!("hi"))]), json!({}));
    let request = decode(&frame);
    let (mut run, step) = Run::start(&request, LIMITS, at(0.0));
    let Next::Dispatch(ready) = step.next else { panic!() };
    assert_eq!((ready.len(), ready[0].index, ready[0].args.get()), (1, 0, "[\"hi\"]"));
    assert!(matches!(ready[0].args, Cow::Borrowed(_)) && step.progress.is_none());
    let Next::Done(answer) = run.completed(0, execute(&ready[0]), at(0.1)).next else { panic!() };
    let mut out = Vec::new();
    assert_eq!(answer.write(&mut out), None);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        r#"{"r":{"c1":"hi"},"error":null,"u":"u-1","intermediate_results":[],"execution_summary":null}"#
    );
}

#[test]
fn references() {
    let object = json!({"list": [10, 20], "nest": {"s": "deep"}, "num": 7});
    let both = |name: &str, args: Value| cmd(name, "echos", args, json!({}));
    let rows = [
        (json!([e("s1", json!(3)), e("s2", json!("s1"))]), json!({"s2": 3})),
        (json!([e("s1", object.clone()), e("s2", json!("s1.nest.s"))]), json!({"s2": "deep"})),
        (
            json!([e("s1", json!("other")), e("other2", json!("s2x")), both("s3", json!(["s1", "other2"]))]),
            json!({"s3": ["other", "s2x"]}),
        ),
        (json!([e("1", json!("one")), e("s2", json!([1, 1.0, "1"]))]), json!({"s2": [1, 1.0, "one"]})),
        (json!([e("a.b", json!(1)), e("s2", json!("a.b"))]), json!({"s2": "a.b"})),
        (json!([e("", json!({"x": 8})), e("s2", json!(".x"))]), json!({"s2": 8})),
        (
            json!([
                e("s1", object.clone()),
                cmd("s2", "kw", json!(["s1.num"]), json!({"b": "s1.nest.s", "s1": ["s1.list"]}))
            ]),
            json!({"s2": {"args": [7], "kwargs": {"b": "deep", "s1": [[10, 20]]}}}),
        ),
        (
            json!([
                e("top", json!(2)),
                cmd("left", "add", json!(["top", 1]), json!({})),
                cmd("right", "add", json!(["top", 10]), json!({})),
                cmd("end", "add", json!(["left", "right"]), json!({}))
            ]),
            json!({"end": 15}),
        ),
        (json!([e("s1", json!("old")), e("s1", json!("new")), e("s2", json!("s1"))]), json!({"s2": "new"})),
        (
            json!([e("s1", json!(1)), e("s2", json!("s1")), both("s3", json!(["s1", "s2"]))]),
            json!({"s3": [1, 1]}),
        ),
        // In a named argument a reference neither orders commands nor closes a circle.
        (
            json!([e("s1", json!(1)), cmd("s2", "kw", json!([]), json!({"b": "s1"}))]),
            json!({"s1": 1, "s2": {"args": [], "kwargs": {"b": "s1"}}}),
        ),
        (
            json!([cmd("s1", "kw", json!([]), json!({"b": "s1"}))]),
            json!({"s1": {"args": [], "kwargs": {"b": "s1"}}}),
        ),
    ];
    for (cmds, expected) in rows {
        assert_eq!(r(cmds.clone()), expected, "{cmds}");
    }
}

#[test]
fn only_the_last_level_is_returned_in_the_order_of_the_request() {
    assert_eq!(r(json!([e("a", json!(1)), e("b", json!("a"))])).to_string(), r#"{"b":1}"#);
    assert_eq!(
        r(json!([e("b", json!(1)), e("a", json!(2)), e("c", json!(3))])).to_string(),
        r#"{"b":1,"a":2,"c":3}"#
    );
    assert_eq!(
        r(json!([e("a", json!(1)), e("lonely", json!(2)), e("c", json!("a")), e("b", json!("a"))]))
            .to_string(),
        r#"{"c":1,"b":1}"#
    );
    let chain = (0..60).map(|i| {
        if i == 0 { e("s0", json!({"v": 1})) } else { e(&format!("s{i}"), json!(format!("s{}", i - 1))) }
    });
    assert_eq!(r(chain.collect()), json!({"s59": {"v": 1}}));
    let wide: Vec<Value> = (0..400).map(|i| e(&format!("w{i}"), json!(i))).collect();
    assert_eq!(r(json!(wide)).as_object().unwrap().len(), 400);
}

#[test]
fn failures() {
    assert_eq!(failure(json!([])).0, 1003);
    assert_eq!(
        failure(json!([cmd("c1", "nowhere", json!([]), json!({}))])),
        (1001, "Command not found: nowhere".to_owned())
    );
    assert_eq!(
        failure(json!([e("ok", json!(1)), cmd("bad", "fail", json!([]), json!({}))])),
        (1003, "the cupboard is bare".to_owned())
    );
    let circle = failure(json!([e("a", json!("b")), e("b", json!("a")), e("ok", json!(1))]));
    assert!(circle.0 == 1003 && circle.1.contains("a, b"));
    let mut bad = e("c1", json!(1));
    bad["version_constraint"] = json!("!=1.0.0");
    assert_eq!(failure(json!([bad])), (1003, "ValueError: Invalid semantic version: !=1.0.0".to_owned()));
    // The level after a failure does not run.
    let (_, _, calls) = drive(&request(
        json!([cmd("first", "fail", json!([]), json!({})), e("second", json!("first"))]),
        json!({}),
    ));
    assert_eq!(calls, ["fail"]);
}

#[test]
fn the_first_failure_is_the_answer_and_what_comes_later_changes_nothing() {
    let frame = request(json!([e("a", json!(1)), e("b", json!(2)), e("c", json!("a"))]), json!({}));
    let request = decode(&frame);
    let (mut run, _) = Run::start(&request, LIMITS, at(0.0));
    assert!(
        matches!(run.completed(2, Ok(Json::null()), at(0.1)).next, Next::Wait),
        "of a level that has not begun"
    );
    assert!(matches!(run.completed(9, Ok(Json::null()), at(0.1)).next, Next::Wait), "of no command");
    assert!(matches!(run.completed(0, Ok(Json::null()), at(0.1)).next, Next::Wait));
    assert!(matches!(run.completed(0, Ok(Json::null()), at(0.1)).next, Next::Wait), "reported twice");
    assert_eq!(run.running().map(|c| &*c.name).collect::<Vec<_>>(), ["b"]);
    let Next::Done(answer) = run.completed(1, Err(CallError::failed("first")), at(0.2)).next else {
        panic!()
    };
    assert!(matches!(answer.outcome, Outcome::Error(error) if error.details == Some("first".into())));
    assert_eq!(run.running().count(), 0);
    assert!(matches!(run.completed(1, Err(CallError::failed("second")), at(0.3)).next, Next::Wait));
    assert!(matches!(run.expired(at(99.0)).next, Next::Wait));
}

#[test]
fn the_time_limit_names_what_still_runs() {
    let cmds = json!([
        e("a", json!(1)),
        cmd("b", "slow.one", json!([]), json!({})),
        cmd("c", "slow.two", json!([]), json!({}))
    ]);
    let frame = request(cmds, json!({}));
    let request = decode(&frame);
    let (mut run, _) = Run::start(&request, LIMITS, at(5.0));
    assert_eq!(run.deadline(), Duration::from_secs(35));
    run.completed(0, Ok(Json::null()), at(6.0));
    assert!(matches!(run.expired(at(34.9)).next, Next::Wait));
    let Next::Done(Answer { outcome: Outcome::Error(error), .. }) = run.expired(at(35.0)).next else {
        panic!()
    };
    assert_eq!((error.code, error.reason), (1004, Some(Reason::DeadlinePassed)));
    assert_eq!(error.message, "RPC execution timed out after 30.0 seconds");
    let details = error.details.unwrap().to_string();
    assert!(
        details.contains("took too long to complete") && details.contains("slow.one, slow.two"),
        "{details}"
    );
}

#[test]
fn a_client_may_ask_for_less_time_but_not_for_more() {
    for (asked, limit, text) in
        [(json!(0.5), 0.5, "0.5"), (json!(99), 30.0, "30.0"), (json!(1e300), 30.0, "30.0")]
    {
        let frame = request(json!([e("a", json!(1))]), json!({"timeout_seconds": asked}));
        let request = decode(&frame);
        let (mut run, _) = Run::start(&request, LIMITS, at(0.0));
        assert_eq!(run.deadline(), Duration::from_secs_f64(limit));
        let Next::Done(Answer { outcome: Outcome::Error(error), .. }) = run.expired(at(31.0)).next else {
            panic!()
        };
        assert_eq!(error.message, format!("RPC execution timed out after {text} seconds"));
    }
}

#[test]
fn debug_outputs() {
    let chain = json!([e("s1", json!(3)), e("s1b", json!("y")), e("s2", json!("s1"))]);
    let (answer, messages, _) = drive(&request(
        chain.clone(),
        json!({"return_intermediate_results": true, "include_execution_summary": true, "debug_mode": true}),
    ));
    assert_eq!((&answer["r"], messages.len()), (&json!({"s2": 3}), 0));
    assert_eq!(
        answer["intermediate_results"].to_string(),
        r#"[{"request_id":"u-1","level_index":0,"level_results":{"s1":3,"s1b":"y"},"accumulated_results":{"s1b":"y","s1":3},"total_levels":2,"completed_levels":1,"timestamp":1001.0,"execution_time_ms":1000.0},{"request_id":"u-1","level_index":1,"level_results":{"s2":3},"accumulated_results":{"s1b":"y","s1":3,"s2":3},"total_levels":2,"completed_levels":2,"timestamp":1001.5,"execution_time_ms":500.0}]"#
    );
    assert_eq!(
        answer["execution_summary"].to_string(),
        r#"{"request_id":"u-1","total_execution_time_ms":1500.0,"total_levels":2,"level_execution_times":[1000.0,500.0],"bottleneck_level_index":0,"average_level_time_ms":750.0,"parallel_commands_executed":3,"cross_cluster_hops":0}"#
    );
    let (answer, ..) =
        drive(&request(chain, json!({"debug_mode": true, "intermediate_result_callback_topic": "t"})));
    assert_eq!((&answer["intermediate_results"], &answer["execution_summary"]), (&json!([]), &Value::Null));
}

#[test]
fn errors_are_the_same_with_debug_outputs() {
    let flags = json!({"return_intermediate_results": true, "include_execution_summary": true});
    let cmds = json!([e("s1", json!(1)), cmd("s2", "echo", json!(["s1", 2]), json!({}))]);
    let (answer, ..) = drive(&request(cmds, flags));
    assert_eq!((&answer["error"]["code"], &answer["intermediate_results"]), (&json!(1003), &json!([])));
    assert_eq!(answer["execution_summary"], Value::Null);
}

#[test]
fn a_lone_command_is_answered_without_its_request_as_with_it() {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let large = format!("\"{}\"", "x".repeat(LIMITS.message_bytes_max));
    let results = ["1.50".to_owned(), "null".to_owned(), deep(json::DEPTH_MAX + 1), large];
    let frame = request(json!([e("a \"name\"", json!(1))]), json!({"u": "ü\n"}));
    let asked = decode(&frame);
    for result in results {
        let result = Json::parse(result.into()).unwrap();
        let (mut run, _) = Run::start(&asked, LIMITS, at(0.0));
        let Next::Done(answer) = run.completed(0, Ok(result.clone()), at(1.0)).next else {
            panic!("not done")
        };
        let (mut with, mut without) = (Vec::new(), Vec::new());
        let error = answer.write(&mut with).map(Cow::into_owned);
        assert_eq!(Lone::of(&asked, LIMITS).unwrap().answer(result, &mut without), error);
        assert_eq!(without, with);
    }
    for more in [json!({"include_execution_summary": true}), json!({"return_intermediate_results": true})] {
        assert!(Lone::of(&decode(&request(json!([e("a", json!(1))]), more)), LIMITS).is_none());
    }
    let two = request(json!([e("a", json!(1)), e("b", json!(1))]), json!({}));
    assert!(Lone::of(&decode(&two), LIMITS).is_none());
}

#[test]
fn the_callback_topic_gets_one_message_per_level() {
    let cmds = json!([e("s1", json!(3)), e("s2", json!("s1"))]);
    let flags = |topic: &str| json!({"return_intermediate_results": true, "intermediate_result_callback_topic": topic});
    let (answer, messages, _) = drive(&request(cmds.clone(), flags("kit.progress")));
    assert_eq!(messages.len(), 2);
    for (level, message) in messages.iter().enumerate() {
        assert_eq!(message["payload"], answer["intermediate_results"][level]);
        assert_eq!(message["message_id"], format!("rpc_intermediate_u-1_{level}"));
        assert_eq!(message["headers"], json!({"event": "rpc.intermediate_result"}));
        assert_eq!((&message["topic"], &message["publisher"]), (&json!("kit.progress"), &json!("node-a")));
    }
    let (answer, messages, calls) = drive(&request(cmds, flags("mpreg.discovery.delta")));
    assert!(answer["error"]["details"].as_str().unwrap().contains("mpreg."));
    assert!(messages.is_empty() && calls.is_empty());
}

#[test]
fn commands_that_left_the_cluster_are_counted() {
    let frame = request(json!([e("a", json!(1))]), json!({"include_execution_summary": true}));
    let request = decode(&frame);
    let (mut run, _) = Run::start(&request, LIMITS, at(0.0));
    run.left_cluster();
    let Next::Done(Answer { outcome: Outcome::Results { summary, .. }, .. }) =
        run.completed(0, Ok(Json::null()), at(0.0)).next
    else {
        panic!()
    };
    assert_eq!(summary.unwrap().cross_cluster_hops, 1);
}

#[test]
fn results_have_a_bound() {
    let big = json!("x".repeat(600 << 10));
    let pair = json!([e("a", big.clone()), e("b", big.clone())]);
    let (code, details) = failure(pair);
    assert!(code == 1003 && details.contains("1048576"), "{details}");
    // Small in the end, but large on the way.
    let cmds: Vec<Value> =
        (0..8).map(|i| e(&format!("n{i}"), big.clone())).chain([e("end", json!(["n0.x"]))]).collect();
    let (answer, ..) = drive(&request(json!(cmds), json!({"return_intermediate_results": true})));
    assert_eq!((&answer["error"]["code"], &answer["r"]), (&json!(1003), &Value::Null));
    // Doubled by each level.
    let mut cmds = vec![e("d0", json!("0123456789abcdef"))];
    cmds.extend((1..40).map(|i| e(&format!("d{i}"), json!(vec![format!("d{}", i - 1); 2]))));
    let (answer, _, calls) = drive(&request(json!(cmds), json!({})));
    assert!(answer["error"]["details"].as_str().unwrap().contains("1048576") && calls.len() < 20, "{answer}");
}

#[test]
fn deep_results_pass_through_up_to_what_readers_can_follow() {
    for (levels, passes) in [(400, true), (499, false)] {
        deep_result(levels, passes);
    }
}

fn deep_result(levels: usize, passes: bool) {
    let deep = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let frame = format!(
        r#"{{"role":"rpc","u":"u","cmds":[{{"name":"a","fun":"echo","args":[{deep}]}},{{"name":"b","fun":"echo","args":[[["a"]]]}}]}}"#
    );
    let request = decode(&frame);
    let (mut run, step) = Run::start(&request, LIMITS, at(0.0));
    let Next::Dispatch(ready) = step.next else { panic!() };
    let Next::Dispatch(ready) =
        run.completed(0, builtin::echo(&ready[0].args, &ready[0].kwargs).map(Json::from), at(0.0)).next
    else {
        panic!()
    };
    let Next::Done(answer) =
        run.completed(1, builtin::echo(&ready[0].args, &ready[0].kwargs).map(Json::from), at(0.0)).next
    else {
        panic!()
    };
    let mut out = Vec::new();
    assert_eq!(answer.write(&mut out).is_none(), passes);
    let start = if passes { format!(r#"{{"r":{{"b":[[{deep}]]}}"#) } else { r#"{"r":null"#.to_owned() };
    assert!(String::from_utf8(out).unwrap().starts_with(&start));
}
