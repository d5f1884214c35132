//! The functions about functions: `rpc_list`, `rpc_report`, `rpc_describe` and `rpc_describe_local` (client.md 4.6 to
//! 4.9). Filters see everything and come before paging; a description is asked for at other nodes only for the
//! entries of the page that is shown.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::LocalNode;
use super::access::Viewer;
use super::filter::{at_or_below, has_all, reaches};
use super::page::{Listing, Page};
use super::payload::{Payload, shortened, value_error};
use super::policy::Policy;
use super::query::{CatalogQuery, namespace};
use super::registry::{Description, Registry};
use super::reply::{Reply, texts, value_of};
use super::row::Row;
use crate::core::catalog::{FunctionEntry, Identity, NodeKey, Scope, Text};
use crate::core::error::CallError;

/// How many nodes are asked at a time.
pub const SCATTER_PARALLEL_MAX: usize = 16;

/// `rpc_describe` as it is asked.
#[derive(Debug)]
pub struct Describe {
    pub query: CatalogQuery,
    pub mode: Mode,
    /// With the full description.
    pub full: bool,
    /// Scatter: only this many nodes.
    pub nodes_max: Option<usize>,
    /// How long one node may take.
    pub timeout: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Auto,
    Catalog,
    Scatter,
    Local,
}

/// What other nodes have to be asked before an answer can be given: call `rpc_describe_local` with `payload` at each of
/// `asks`, at most [`SCATTER_PARALLEL_MAX`] at a time, then `finish`.
#[derive(Debug)]
pub struct ScatterPlan {
    pub asks: Vec<Ask>,
    /// For each node; `None` leaves it to the time limit of the whole request.
    pub timeout: Option<Duration>,
    items: Vec<(Item, Option<usize>)>,
    /// Entries that their node does not confirm are left out.
    confirmed_only: bool,
    generated_at: f64,
    next_page_token: Option<String>,
}

/// One node to ask.
#[derive(Debug)]
pub struct Ask {
    pub cluster_id: Text,
    pub node_id: Text,
    pub payload: Value,
}

/// What came of asking one node.
#[derive(Debug, Clone)]
pub enum Answered {
    /// The value of the command.
    Value(Value),
    /// It did not work, for this reason.
    Failed(String),
    TimedOut,
}

/// One item of `rpc_list` or `rpc_describe`.
#[derive(Debug)]
struct Item {
    identity: Identity,
    namespace: String,
    node_id: Text,
    cluster_id: Text,
    resources: Vec<Text>,
    tags: Vec<Text>,
    scope: Scope,
    summary: Value,
    spec: Value,
    digest: Option<Text>,
}

impl Describe {
    pub fn read(payload: &Payload) -> Result<Describe, CallError> {
        let word = payload.trimmed("mode")?.unwrap_or_default();
        let mode = match word.to_lowercase().as_str() {
            "" | "auto" => Mode::Auto,
            "catalog" => Mode::Catalog,
            "scatter" => Mode::Scatter,
            "local" | "node" => Mode::Local,
            _ => {
                return Err(value_error(format_args!("Unsupported rpc_describe mode: {}", shortened(&word))));
            }
        };
        let timeout = payload.float("timeout_seconds")?.unwrap_or(NODE_TIMEOUT_SECONDS);
        let nodes_max = match payload.integer("max_nodes")? {
            Some(n) if n < 1 => {
                return Err(value_error(format_args!("max_nodes must be at least 1, not {n}")));
            }
            n => n.and_then(|n| usize::try_from(n).ok()),
        };
        Ok(Describe {
            query: CatalogQuery::read_functions(payload)?.with_lists(payload)?,
            mode,
            full: !payload.trimmed("detail_level")?.is_some_and(|d| d.eq_ignore_ascii_case("summary")),
            nodes_max,
            timeout: (timeout > 0.0).then(|| Duration::from_secs_f64(timeout.min(TIMEOUT_SECONDS_MAX))),
        })
    }

    /// The entries whose node is one of the first `nodes_max`.
    pub fn limit_nodes(&self, listing: Listing) -> Listing {
        let (Mode::Scatter, Some(nodes_max)) = (self.mode, self.nodes_max) else { return listing };
        let place = |row: &Row| match row {
            Row::Function(f) => Some(node_key(f)),
            _ => None,
        };
        let mut nodes: Vec<NodeKey> = listing.rows.iter().filter_map(place).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes.truncate(nodes_max);
        let chosen = |row: &&Row| place(row).is_some_and(|n| nodes.binary_search(&n).is_ok());
        let rows: Vec<Row> = listing.rows.iter().filter(chosen).cloned().collect();
        Listing { rows: rows.into(), ..listing }
    }

    /// The answer for a page of the catalog, or whom to ask for it.
    pub fn answer(&self, page: Page, registry: &Registry, node: &LocalNode) -> Result<Value, ScatterPlan> {
        let own = |f: &FunctionEntry| f.node_id == node.node_id && f.cluster_id == node.cluster_id;
        let mut asks: BTreeMap<NodeKey, (usize, Vec<Text>)> = BTreeMap::new();
        let mut items = Vec::with_capacity(page.rows.len());
        for row in &page.rows {
            let Row::Function(entry) = row else { continue };
            let mut item = Item::of_entry(entry, self.full);
            let described =
                if own(entry) && self.mode != Mode::Catalog { registry.find(&entry.identity) } else { None };
            let mut ask = None;
            if let Some(description) = described {
                item.describe(description, self.full);
            } else if self.mode == Mode::Scatter && !own(entry)
                || self.mode == Mode::Auto && self.full && item.spec.is_null() && !own(entry)
            {
                let next = asks.len();
                let (place, names) = asks.entry(node_key(entry)).or_insert((next, Vec::new()));
                names.push(entry.identity.name.clone());
                ask = Some(*place);
            }
            items.push((item, ask));
        }
        let mut asks: Vec<(usize, Ask)> =
            asks.into_iter().map(|(key, (place, names))| (place, self.ask(key, names))).collect();
        asks.sort_unstable_by_key(|(place, _)| *place);
        let plan = ScatterPlan {
            asks: asks.into_iter().map(|(_, ask)| ask).collect(),
            timeout: self.timeout,
            items,
            confirmed_only: self.mode == Mode::Scatter,
            generated_at: page.generated_at,
            next_page_token: page.next_page_token,
        };
        if plan.asks.is_empty() { Ok(plan.finish(Vec::new())) } else { Err(plan) }
    }

    fn ask(&self, node: NodeKey, mut names: Vec<Text>) -> Ask {
        names.dedup();
        let payload = json!({
            "function_names": texts(&names),
            "detail_level": if self.full { "full" } else { "summary" },
            "limit": LOCAL_LIMIT,
        });
        Ask { cluster_id: node.cluster_id, node_id: node.node_id, payload }
    }
}

impl ScatterPlan {
    /// The answer; `answers` in the order of `asks`, missing ones count as timed out.
    pub fn finish(self, answers: Vec<Answered>) -> Value {
        let mut answers = answers.into_iter();
        let mut described: Vec<Option<Vec<Value>>> = Vec::with_capacity(self.asks.len());
        let mut errors = Vec::new();
        for ask in &self.asks {
            let (items, error) = match answers.next().unwrap_or(Answered::TimedOut) {
                Answered::TimedOut => (None, Some("timeout".to_owned())),
                Answered::Failed(text) => (None, Some(text)),
                Answered::Value(Value::Object(mut members)) => match members.remove("items") {
                    Some(Value::Array(items)) => (Some(items), None),
                    _ => (
                        None,
                        Some(
                            members
                                .get("error")
                                .and_then(Value::as_str)
                                .map_or_else(unexpected, str::to_owned),
                        ),
                    ),
                },
                Answered::Value(_) => (None, Some(unexpected())),
            };
            if let Some(error) = error {
                errors
                    .push(json!({"node_id": &*ask.node_id, "cluster_id": &*ask.cluster_id, "error": error}));
            }
            described.push(items);
        }
        let items: Vec<Value> = self
            .items
            .into_iter()
            .filter_map(|(mut item, ask)| {
                let Some(ask) = ask else { return Some(item.value()) };
                let answer = described.get(ask).and_then(Option::as_ref);
                let told = answer.and_then(|items| items.iter().find(|told| item.is_told_by(told)));
                match told {
                    Some(told) => item.complete(told),
                    None if self.confirmed_only => return None,
                    None => {}
                }
                Some(item.value())
            })
            .collect();
        described_page(self.generated_at, items, errors, self.next_page_token)
    }
}

/// The own functions that fit, in order.
pub fn local_rows(
    registry: &Registry,
    query: &CatalogQuery,
    node: &LocalNode,
    viewer: &Viewer,
    policy: &Policy,
) -> Vec<Row> {
    let elsewhere = |wanted: &Option<String>, own: &Text| wanted.as_deref().is_some_and(|w| *w != **own);
    if elsewhere(&query.cluster_id, &node.cluster_id) || elsewhere(&query.node_id, &node.node_id) {
        return Vec::new();
    }
    let fits = |d: &Description| {
        reaches(d.placement.scope, query.scope)
            && query.namespace.as_deref().is_none_or(|n| at_or_below(&d.placement.namespace, n))
            && has_all(&d.placement.resources, &query.resources)
            && has_all(&d.placement.tags, &query.tags)
            && has_all(&d.placement.capabilities, &query.capabilities)
            && query.function.fits(&d.identity, Some(&d.digest), || {
                (d.placement.namespace.as_ref().into(), d.line.as_ref().into())
            })
            && policy.viewer(&d.identity.name, &viewer.cluster_id, viewer.tenant.as_deref()).allowed
    };
    registry.functions().iter().filter(|d| fits(d)).map(|d| Row::Description(d.clone())).collect()
}

/// The answer of `rpc_describe_local`.
pub fn local_answer(page: Page, full: bool, node: &LocalNode) -> Value {
    let items = page
        .rows
        .iter()
        .filter_map(|row| match row {
            Row::Description(description) => Some(Item::of_description(description, full, node).value()),
            _ => None,
        })
        .collect();
    described_page(page.generated_at, items, Vec::new(), page.next_page_token)
}

/// The answer of `rpc_list`.
pub fn listed(page: &Page) -> Value {
    let items: Vec<Value> = page
        .rows
        .iter()
        .filter_map(|row| match row {
            Row::Function(entry) => Some(Item::of_entry(entry, false).value()),
            _ => None,
        })
        .collect();
    Reply::new()
        .kept("generated_at", page.generated_at)
        .kept("items", items)
        .given("next_page_token", page.next_page_token.clone())
        .done()
}

/// The answer of `rpc_report`.
pub fn report(rows: &[Row], generated_at: f64) -> Value {
    let (mut namespaces, mut clusters, mut tags) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for row in rows {
        let Row::Function(entry) = row else { continue };
        *namespaces.entry(namespace(entry).into_owned()).or_default() += 1;
        *clusters.entry(entry.cluster_id.to_string()).or_default() += 1;
        for tag in &entry.tags {
            *tags.entry(tag.to_string()).or_default() += 1;
        }
    }
    Reply::new()
        .kept("generated_at", generated_at)
        .kept("total_functions", rows.len())
        .kept("namespace_counts", counts(namespaces))
        .kept("cluster_counts", counts(clusters))
        .kept("tag_counts", counts(tags))
        .done()
}

impl Item {
    fn of_entry(entry: &FunctionEntry, full: bool) -> Item {
        Item {
            identity: entry.identity.clone(),
            namespace: namespace(entry).into_owned(),
            node_id: entry.node_id.clone(),
            cluster_id: entry.cluster_id.clone(),
            resources: entry.resources.clone(),
            tags: entry.tags.clone(),
            scope: entry.scope,
            summary: raw_value(entry.rpc_summary.as_ref()),
            spec: if full { raw_value(entry.rpc_spec.as_ref()) } else { Value::Null },
            digest: entry.spec_digest.clone(),
        }
    }

    fn of_description(description: &Description, full: bool, node: &LocalNode) -> Item {
        let mut item = Item {
            identity: description.identity.clone(),
            namespace: description.placement.namespace.to_string(),
            node_id: node.node_id.clone(),
            cluster_id: node.cluster_id.clone(),
            resources: description.placement.resources.clone(),
            tags: description.placement.tags.clone(),
            scope: description.placement.scope,
            summary: Value::Null,
            spec: Value::Null,
            digest: None,
        };
        item.describe(description, full);
        item
    }

    fn describe(&mut self, description: &Description, full: bool) {
        self.summary = description.summary.clone();
        self.digest = Some(description.digest.clone());
        if full {
            self.spec = description.spec.clone();
        }
    }

    /// An item of another node's answer is about this function.
    fn is_told_by(&self, told: &Value) -> bool {
        told.get("identity").is_some_and(|i| {
            serde_json::from_value::<Identity>(i.clone()).is_ok_and(|identity| identity == self.identity)
        })
    }

    /// Takes over what the node that runs the function says; where it runs stays what the catalog says.
    fn complete(&mut self, told: &Value) {
        if let Some(summary @ Value::Object(_)) = told.get("summary") {
            self.summary = summary.clone();
        }
        if let Some(spec @ Value::Object(_)) = told.get("spec") {
            self.spec = spec.clone();
        }
        if let Some(digest) = told.get("spec_digest").and_then(Value::as_str) {
            self.digest = Some(digest.into());
        }
    }

    fn value(self) -> Value {
        Reply::new()
            .kept("identity", value_of(&self.identity))
            .given("namespace", self.namespace)
            .kept("node_id", &*self.node_id)
            .kept("cluster_id", &*self.cluster_id)
            .kept("resources", texts(&self.resources))
            .kept("tags", texts(&self.tags))
            .kept("scope", self.scope.word())
            .given("summary", self.summary)
            .given("spec", self.spec)
            .given("spec_digest", self.digest.as_deref())
            .done()
    }
}

fn described_page(generated_at: f64, items: Vec<Value>, errors: Vec<Value>, next: Option<String>) -> Value {
    Reply::new()
        .kept("generated_at", generated_at)
        .kept("items", items)
        .kept("errors", errors)
        .given("next_page_token", next)
        .done()
}

/// By count, the largest first, then by key.
fn counts(counted: BTreeMap<String, u64>) -> Value {
    let mut counted: Vec<_> = counted.into_iter().collect();
    counted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counted
        .into_iter()
        .map(|(key, count)| Reply::new().given("key", key).kept("count", count).done())
        .collect()
}

fn node_key(entry: &FunctionEntry) -> NodeKey {
    NodeKey { cluster_id: entry.cluster_id.clone(), node_id: entry.node_id.clone() }
}

fn raw_value(raw: Option<&Arc<RawValue>>) -> Value {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

fn unexpected() -> String {
    "unexpected_response_type".into()
}

/// What one node may take where nothing is said.
const NODE_TIMEOUT_SECONDS: f64 = 5.0;
/// More makes no sense and would not fit a duration.
const TIMEOUT_SECONDS_MAX: f64 = 86_400.0;
/// The longest page that other implementations give.
const LOCAL_LIMIT: usize = 2000;

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::super::testing::*;
    use super::*;

    fn bench() -> Bench {
        Bench::new(Default::default())
    }

    fn crowd() -> Bench {
        let mut bench = bench();
        let mut all: Vec<_> =
            (0..300).map(|i| function(&format!("crowd.n{i:03}"), "ws://f", bench.wall())).collect();
        all.push(function("zzz.secret", "ws://f", bench.wall()));
        bench.functions(all);
        bench
    }

    #[test]
    fn listed_items_have_the_captured_shape() {
        let mut bench = bench();
        bench.functions(vec![entry(
            json!({"identity": {"name": "svc.math.sq", "function_id": "math.sq", "version": "1"},
            "node_id": "ws://f", "cluster_id": "c1", "advertised_at": bench.wall(), "ttl_seconds": 60,
            "rpc_summary": sample("rpc_list")["result"]["items"][0]["summary"], "spec_digest": "00"}),
        )]);
        bench.functions(vec![function("svc.math.sqrt", "ws://f", bench.wall())]);
        let listed = bench.call("rpc_list", json!({"query": "SQ", "limit": 1}));
        same_shape(&listed, &sample("rpc_list")["result"]);
        let echo = bench.call("rpc_list", json!({"function_name": "echo"}));
        assert!(echo["items"][0].get("namespace").is_none());
        assert_eq!(echo["items"][0]["summary"]["namespace"], "");
    }

    #[test]
    fn search_report_and_lists_see_everything() {
        let mut bench = crowd();
        assert_eq!(bench.names("rpc_list", json!({"query": "SECRET"})), ["zzz.secret"]);
        assert_eq!(bench.names("rpc_list", json!({"query": "counts FUNCTIONS"})), Vec::<String>::new());
        assert_eq!(bench.names("rpc_list", json!({"query": "count functions BY"})), ["rpc_report"]);
        assert_eq!(bench.call("rpc_report", json!({"namespace": "crowd"}))["total_functions"], 300);
        let found = bench.names("rpc_describe", json!({"function_names": ["zzz.secret"], "mode": "catalog"}));
        assert_eq!(found, ["zzz.secret"]);
        let (names, pages) =
            bench.pages("catalog_query", json!({"entry_type": "functions", "namespace": "crowd"}));
        assert_eq!((names.len(), pages), (300, 2));
    }

    #[test]
    fn the_report_has_the_captured_shape() {
        let mut bench = crowd();
        let tagged = json!({"identity": {"name": "svc.t", "function_id": "svc.t", "version": "1"}, "tags": ["alpha"],
            "node_id": "ws://f", "cluster_id": "c1", "advertised_at": bench.wall()});
        bench.functions(vec![entry(tagged)]);
        let report = bench.call("rpc_report", json!({}));
        let shown = json!([{"key": "crowd", "count": 300}, {"count": 25}, {"key": "svc", "count": 1}, {"key": "zzz", "count": 1}]);
        assert_eq!(report["namespace_counts"], shown);
        assert_eq!(report["tag_counts"], json!([{"key": "alpha", "count": 1}]));
        let members = |v: &Value| v.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(members(&report), members(&sample("rpc_report")["result"]));
    }

    #[test]
    fn the_table_of_descriptions_holds_in_every_mode() {
        let mut bench = bench();
        for (payload, names) in [
            (json!({"function_name": "echo"}), vec!["echo"]),
            (json!({"function_names": ["echos", "echo"]}), vec!["echo", "echos"]),
            (json!({"function_names": "echo"}), vec!["echo"]),
            (json!({"function_ids": ["echo", "nope"]}), vec!["echo"]),
            (json!({"function_names": ["echo"], "function_ids": ["echos"]}), vec![]),
            (json!({"function_names": ["echo"], "query": "ECH"}), vec!["echo"]),
            (json!({"spec_digests": ["0".repeat(64)]}), vec![]),
            (json!({"function_name": "nope"}), vec![]),
            (json!({"function_name": "echo", "version_constraint": "<1"}), vec![]),
            (json!({"namespace": "svc"}), vec![]),
        ] {
            for mode in ["local", "auto", "scatter", "catalog", "NODE"] {
                let mut payload = payload.clone();
                payload["mode"] = mode.into();
                assert_eq!(bench.names("rpc_describe", payload.clone()), names, "{payload}");
            }
        }
        for mode in ["deep", "locals", "*"] {
            let error = bench.try_call("rpc_describe", json!({"mode": mode})).unwrap_err();
            assert_eq!(error.details.unwrap(), format!("ValueError: Unsupported rpc_describe mode: {mode}"));
        }
    }

    #[test]
    fn full_and_short_descriptions() {
        let mut bench = bench();
        for (fun, payload, full) in [
            ("rpc_describe_local", json!({}), true),
            ("rpc_describe", json!({}), true),
            ("rpc_describe", json!({"mode": "scatter"}), true),
            ("rpc_describe", json!({"detail_level": "whatever"}), true),
            ("rpc_describe", json!({"detail_level": "summary"}), false),
            ("rpc_describe", json!({"mode": "catalog"}), false),
            ("rpc_describe", json!({"mode": "local", "detail_level": "SUMMARY"}), false),
        ] {
            let page = bench.call(fun, payload.clone());
            assert_eq!((page["items"].as_array().unwrap().len(), &page["errors"]), (25, &json!([])));
            for item in page["items"].as_array().unwrap() {
                assert_eq!(item.get("spec").is_some(), full, "{payload}");
                if full {
                    assert_eq!(
                        super::super::spec::spec_digest(&item["spec"]),
                        item["spec_digest"].as_str().unwrap()
                    );
                }
            }
        }
        let members = |v: &Value| v.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let item = bench.call("rpc_describe_local", json!({"function_name": "echo"}))["items"][0].clone();
        assert_eq!(members(&item), members(&sample("rpc_describe_kw")["result"]["items"][0]));
        let short = bench.call("rpc_describe", json!({"function_name": "echo", "mode": "catalog"}));
        same_shape(
            &short,
            &sample("rpc_describe_catalog")["result"]["items"].as_array().map(|_| short.clone()).unwrap(),
        );
        assert_eq!(
            members(&short["items"][0]),
            members(&sample("rpc_describe_catalog")["result"]["items"][0])
        );
    }

    #[test]
    fn a_local_description_of_another_place_is_empty() {
        let mut bench = bench();
        assert!(bench.names("rpc_describe_local", json!({"node_id": "ws://nobody:1"})).is_empty());
        assert!(bench.names("rpc_describe_local", json!({"cluster_id": "c9"})).is_empty());
        assert_eq!(bench.names("rpc_describe_local", json!({"node_id": OWN, "limit": 1})).len(), 1);
        assert!(bench.names("rpc_describe_local", json!({"capabilities": ["rpc"]})).is_empty());
    }

    fn plan(bench: &mut Bench, payload: Value) -> ScatterPlan {
        match bench.outcome("rpc_describe", json!([payload]), json!({})).unwrap() {
            Outcome::Scatter(plan) => plan,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nodes_that_run_the_functions_are_asked_and_their_answers_merged() {
        let mut bench = bench();
        let at = bench.wall();
        bench.functions(vec![
            function("far.a", "ws://f", at),
            function("far.b", "ws://f", at),
            function("far.c", "ws://g", at),
            function("far.d", "ws://h", at),
        ]);
        let payload = json!({"namespace": "far", "timeout_seconds": "2.5"});
        let asked = plan(&mut bench, payload.clone());
        let to: Vec<_> =
            asked.asks.iter().map(|a| (&*a.node_id, a.payload["function_names"].clone())).collect();
        assert_eq!(
            to,
            [
                ("ws://f", json!(["far.a", "far.b"])),
                ("ws://g", json!(["far.c"])),
                ("ws://h", json!(["far.d"]))
            ]
        );
        assert_eq!(asked.timeout, Some(Duration::from_millis(2500)));
        let told = json!({"items": [{"identity": {"name": "far.a", "function_id": "far.a", "version": "1.0.0"},
            "node_id": "ws://liar", "summary": {"summary": "told"}, "spec": {"namespace": "far"}, "spec_digest": "ab"}]});
        let answers = || vec![Answered::Value(told.clone()), Answered::TimedOut, Answered::Value(json!("x"))];
        let page = asked.finish(answers());
        let names: Vec<String> = page["items"].as_array().unwrap().iter().map(name_of).collect();
        assert_eq!(names, ["far.a", "far.b", "far.c", "far.d"]);
        assert_eq!(
            (&page["items"][0]["node_id"], &page["items"][0]["spec_digest"]),
            (&json!("ws://f"), &json!("ab"))
        );
        assert_eq!(
            page["errors"],
            json!([{"node_id": "ws://g", "cluster_id": "c1", "error": "timeout"},
            {"node_id": "ws://h", "cluster_id": "c1", "error": "unexpected_response_type"}])
        );
        let mut scatter = payload;
        scatter["mode"] = "scatter".into();
        let page = plan(&mut bench, scatter.clone()).finish(answers());
        let names: Vec<String> = page["items"].as_array().unwrap().iter().map(name_of).collect();
        assert_eq!(names, ["far.a"]);
        scatter["max_nodes"] = 2.into();
        assert_eq!(plan(&mut bench, scatter).asks.len(), 2);
        let failed = json!({"error": "no luck", "command": "rpc_describe_local", "error_type": "E"});
        let page = plan(&mut bench, json!({"function_name": "far.d"})).finish(vec![Answered::Value(failed)]);
        assert_eq!(page["errors"][0]["error"], "no luck");
    }
}
