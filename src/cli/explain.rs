//! `mpreg explain`: why a call, a publication or a message for a cluster goes where it goes.
//!
//! One question to one node, which asks the nodes on the way; nothing is executed. The way is printed hop by hop: what
//! was chosen, by what, and what speaks against everything else.

use argh::{ArgsInfo, FromArgs};
use serde_json::{Map, Value};

use super::{
    output::{self, Failure, Outcome},
    remote::{Payload, Remote},
};
use crate::core::fabric::explain::FUNCTION;

/// say why a call or a message goes where it goes, hop by hop, without executing anything
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "explain")]
pub struct ExplainGroup {
    #[argh(subcommand)]
    verb: ExplainVerb,
}

#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
enum ExplainVerb {
    Call(ExplainCall),
    Topic(ExplainTopic),
    Route(ExplainRoute),
}

impl ExplainGroup {
    pub fn run(self) -> Outcome {
        match self.verb {
            ExplainVerb::Call(verb) => verb.run(),
            ExplainVerb::Topic(verb) => verb.run(),
            ExplainVerb::Route(verb) => verb.run(),
        }
    }
}

remote_verb! {
    /// say which node would run a function, by which way, and why no other
    #[argh(
        subcommand,
        name = "call",
        example = "mpreg explain call svc.market.quote --url ws://127.0.0.1:7000",
        example = "mpreg explain call svc.market.quote --version-constraint '>=1.2,<2' --locs market",
        example = "mpreg explain call svc.market.quote --target-cluster eu-north --json",
        note = "The options are those of `mpreg client call`. Exit status 1: the call would reach nobody.",
        note = "A node that cannot explain (an older program) ends the explanation, not the call."
    )]
    struct ExplainCall {
        /// name of the function
        #[argh(positional, arg_name = "FUN")]
        fun: String,
        /// resource that the function must carry
        #[argh(option, arg_name = "resource")]
        locs: Vec<String>,
        /// id that the function must have
        #[argh(option, arg_name = "id")]
        function_id: Option<String>,
        /// version that the function must have, as in '>=1.2,<2'
        #[argh(option, arg_name = "constraint")]
        version_constraint: Option<String>,
        /// cluster that must run it
        #[argh(option, arg_name = "cluster")]
        target_cluster: Option<String>,
    }
}

impl ExplainCall {
    fn run(self) -> Outcome {
        let remote = self.remote();
        let sought = Payload::new()
            .put("fun", Some(self.fun.as_str()))
            .list("locs", &self.locs)
            .put("function_id", self.function_id)
            .put("version_constraint", self.version_constraint)
            .put("target_cluster", self.target_cluster)
            .done();
        explain(&remote, "call", sought, &format!("call {}", self.fun))
    }
}

remote_verb! {
    /// say which nodes a publication would reach, by which ways
    #[argh(
        subcommand,
        name = "topic",
        example = "mpreg explain topic weather.berlin --url ws://127.0.0.1:7000",
        note = "Exit status 1: the publication would reach nobody."
    )]
    struct ExplainTopic {
        /// topic of the publication
        #[argh(positional, arg_name = "TOPIC")]
        topic: String,
    }
}

impl ExplainTopic {
    fn run(self) -> Outcome {
        let remote = self.remote();
        let about = Payload::new().put("topic", Some(self.topic.as_str())).done();
        explain(&remote, "topic", about, &format!("topic {}", self.topic))
    }
}

remote_verb! {
    /// say which way leads to a cluster, and what each node on it knows of others
    #[argh(
        subcommand,
        name = "route",
        example = "mpreg explain route eu-north --url ws://127.0.0.1:7000",
        example = "mpreg explain route eu-north --avoid transit-1 --avoid transit-2 --json",
        note = "Exit status 1: no way leads there."
    )]
    struct ExplainRoute {
        /// cluster to go to
        #[argh(positional, arg_name = "CLUSTER")]
        cluster: String,
        /// cluster that the way must not enter
        #[argh(option, arg_name = "cluster")]
        avoid: Vec<String>,
    }
}

impl ExplainRoute {
    fn run(self) -> Outcome {
        let remote = self.remote();
        let about =
            Payload::new().put("cluster", Some(self.cluster.as_str())).list("avoid", &self.avoid).done();
        explain(&remote, "route", about, &format!("route {}", self.cluster))
    }
}

fn explain(remote: &Remote, kind: &str, what: Map<String, Value>, title: &str) -> Outcome {
    let about = Map::from_iter([(kind.to_owned(), Value::Object(what))]);
    let answer = remote.ask(FUNCTION, Payload::new().put("about", Some(about)).done())?;
    let found = is_true(&answer, "found");
    remote.show(&answer, |answer| {
        let mut text = format!("{title}: {}\n", if found { "found" } else { "NOT FOUND" });
        hop_into(&mut text, answer, "1");
        text
    })?;
    // The result has said why.
    if found { Ok(()) } else { Err(Failure { status: 1, text: String::new() }) }
}

/// One node and what comes after it; where the way forks, the numbers do: 2.1, 2.2.
fn hop_into(out: &mut String, step: &Value, number: &str) {
    let verdict = |name| plain(step, &format!("verdict.{name}"));
    *out += &format!("{number}. {} ({}): {}", plain(step, "node"), plain(step, "cluster"), verdict("word"));
    *out += &format!(", {}\n", verdict("text"));
    for endpoint in list(step, "candidates") {
        *out += &endpoint_line(endpoint);
    }
    for subscriber in list(step, "subscribers") {
        *out += &subscriber_line(subscriber);
    }
    match step.get("left_off").and_then(Value::as_u64) {
        None | Some(0) => {}
        Some(count) => *out += &format!("   and {count} more that are not shown\n"),
    }
    for route in output::member(step, "trace.candidates").and_then(Value::as_array).into_iter().flatten() {
        let avoided = route.get("filtered_reason").is_some_and(|r| !r.is_null());
        *out += &format!("   {:8}  {}\n", if avoided { "avoided" } else { "route" }, route_text(route));
    }
    for way in
        output::member(step, "trace.link_state.candidates").and_then(Value::as_array).into_iter().flatten()
    {
        *out += &link_state_line(way);
    }
    let next = list(step, "next");
    for (n, hop) in next.iter().enumerate() {
        *out += &next_line(hop);
        let after = match (number.rsplit_once('.'), next.len()) {
            (None, 1) => (number.parse::<u32>().unwrap_or_default() + 1).to_string(),
            (Some((before, last)), 1) => format!("{before}.{}", last.parse::<u32>().unwrap_or_default() + 1),
            _ => format!("{number}.{}", n + 1),
        };
        match hop.get("answer") {
            Some(answer) if answer.get("unanswered").is_some() => {
                let (word, text) = (plain(answer, "unanswered"), plain(answer, "text"));
                *out += &format!("{after}. {}: not explained ({word}), {text}\n", plain(hop, "node"));
            }
            Some(answer) => hop_into(out, answer, &after),
            None => {}
        }
    }
}

fn endpoint_line(endpoint: &Value) -> String {
    let text = |name| plain(endpoint, name);
    let chosen = is_true(endpoint, "chosen");
    let mut line = format!("   {:8}  ", if chosen { "chosen" } else { "rejected" });
    line += &format!("{} of {}, version {}", text("node"), text("cluster"), text("version"));
    if !list(endpoint, "resources").is_empty() {
        line += &format!(", resources {}", text("resources"));
    }
    line += &format!(", load {}{}", text("load"), fact_text(endpoint));
    if !chosen {
        line += &format!("\n             {}: {}", text("rejected_for"), text("text"));
    }
    line + "\n"
}

fn subscriber_line(subscriber: &Value) -> String {
    let text = |name| plain(subscriber, name);
    let word = if is_true(subscriber, "served") { "reached" } else { "LOST" };
    let (node, cluster, patterns) = (text("node"), text("cluster"), text("patterns"));
    let fact = fact_text(subscriber);
    format!("   {word:8}  {node} of {cluster}, patterns {patterns}{fact}: {}\n", text("text"))
}

fn fact_text(entry: &Value) -> String {
    let mut text = format!(", told {} ago", seconds(entry, "age_seconds"));
    if let Some(teller) = entry.get("told_by").and_then(Value::as_str) {
        text += &format!(" by {teller}");
    }
    if let Some(signature) = entry.get("route_signature").and_then(Value::as_str) {
        text += &format!(", route {signature}");
    }
    text
}

fn next_line(next: &Value) -> String {
    let text = |name| plain(next, name);
    let mut line =
        format!("   -> {} ({}) by {}", text("node"), text("cluster"), text("by").replace('_', " "));
    if let Some(route) = next.get("route") {
        line += &format!(" {}", route_text(route));
    }
    if let Some(ways) = next.get("ways") {
        line += &format!(" {} at cost {}", path_text(ways.get("path")), plain(ways, "cost"));
    }
    if let Some(teller) = next.get("told_by").and_then(Value::as_str) {
        line += &format!(", {teller} told of the target");
    }
    if !list(next, "relays_to").is_empty() {
        line += &format!(", to pass on to {}", text("relays_to"));
    }
    line + "\n"
}

fn route_text(route: &Value) -> String {
    let text = |name| plain(route, name);
    let mut line = path_text(output::member(route, "path.hops"));
    if let Some(border) = route.get("border_node").and_then(Value::as_str) {
        line += &format!(" over {border}");
    }
    line += &format!(
        ", score {}, {}, told {} ago",
        text("score"),
        text("signature"),
        seconds(route, "age_seconds")
    );
    line + &format!(" by {}", text("advertiser"))
}

fn link_state_line(way: &Value) -> String {
    let word = if is_true(way, "used") { "by links" } else { "rejected" };
    match way.get("reason").and_then(Value::as_str) {
        Some(reason) => format!("   rejected  links by {}: {reason}\n", plain(way, "cluster")),
        None => format!("   {word:8}  {} at cost {}\n", path_text(way.get("path")), plain(way, "cost")),
    }
}

fn path_text(path: Option<&Value>) -> String {
    let clusters = path.and_then(Value::as_array).into_iter().flatten();
    clusters.map(|cluster| output::plain(Some(cluster))).collect::<Vec<_>>().join(" > ")
}

fn seconds(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_f64).map_or_else(|| "-".to_owned(), |s| format!("{s:.1} s"))
}

fn plain(value: &Value, path: &str) -> String {
    output::plain(output::member(value, path))
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice)
}

fn is_true(value: &Value, name: &str) -> bool {
    value.get(name) == Some(&Value::Bool(true))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_way_is_read_from_top_to_bottom() {
        let endpoint = |node: &str, against: Option<&str>| {
            json!({
                "node": node, "cluster": "b", "version": "1.0.0", "resources": [], "load": 3.0, "age_seconds": 2.04,
                "told_by": "hub", "route_signature": "verified", "chosen": against.is_none(),
                "rejected_for": against, "text": "its version is 1.0.0",
            })
        };
        let unanswered = json!({"unanswered": "not_supported", "text": "it does not explain"});
        let end = json!({
            "node": "y", "cluster": "b", "verdict": {"word": "forwarded", "text": "goes on to z"}, "left_off": 0,
            "next": [{"node": "z", "cluster": "b", "by": "own_cluster", "answer": unanswered}],
        });
        let step = json!({
            "node": "x", "cluster": "a", "verdict": {"word": "forwarded", "text": "goes on to y"}, "left_off": 2,
            "candidates": [endpoint("z", None), endpoint("w", Some("version"))],
            "next": [{
                "node": "y", "cluster": "b", "by": "route", "answer": end,
                "route": {
                    "path": {"hops": ["a", "b"]}, "score": 10.0, "signature": "unsigned", "age_seconds": 1.0,
                    "advertiser": "b", "border_node": null,
                },
            }],
        });
        let mut text = String::new();
        hop_into(&mut text, &step, "1");
        assert_eq!(
            text,
            "1. x (a): forwarded, goes on to y\n   \
             chosen    z of b, version 1.0.0, load 3.0, told 2.0 s ago by hub, route verified\n   \
             rejected  w of b, version 1.0.0, load 3.0, told 2.0 s ago by hub, route verified\n             \
             version: its version is 1.0.0\n   \
             and 2 more that are not shown\n   \
             -> y (b) by route a > b, score 10.0, unsigned, told 1.0 s ago by b\n\
             2. y (b): forwarded, goes on to z\n   \
             -> z (b) by own cluster\n\
             3. z: not explained (not_supported), it does not explain\n"
        );
    }
}
