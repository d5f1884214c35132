//! The tables of the black-box tests, asked of the functions themselves.

use serde_json::{Value, json};

use super::super::settings::*;
use super::super::tenant::TenantSettings;
use super::super::testing::*;
use super::super::{Delta, is_builtin, read_rules};
use super::*;
use crate::core::catalog::Entry as _;
use crate::core::reason::Reason;

fn bench() -> Bench {
    Bench::new(Default::default())
}

fn ruled(rules: Value, default_allow: bool) -> Bench {
    let rules = read_rules(&rules).unwrap().rules;
    let policy = PolicySettings { enabled: true, default_allow, rules, ..Default::default() };
    Bench::new(DiscoverySettings { policy, ..Default::default() })
}

fn limited(requests: usize) -> Bench {
    let rate_limit = RateLimitSettings {
        requests,
        per: RateLimitPer::Cluster,
        namespace_in_key: true,
        ..Default::default()
    };
    Bench::new(DiscoverySettings { rate_limit, ..Default::default() })
}

fn details(error: CallError) -> String {
    error.details.unwrap().as_str().unwrap().to_owned()
}

#[test]
fn every_built_in_is_answered_and_nothing_else() {
    let mut bench = bench();
    for fun in super::super::FORCED_LOCAL {
        let args = if fun == "cluster_map" { json!([]) } else { json!([{}]) };
        match bench.outcome(fun, args, json!({})) {
            Ok(_) => {}
            Err(error) => {
                assert!(error.code == 1003 && matches!(fun, "catalog_query" | "dns_register"), "{fun}")
            }
        }
        assert!(is_builtin(fun));
    }
    assert_eq!(bench.try_call("echo", json!({})).unwrap_err().code, 1001);
}

#[test]
fn no_payload_means_all_defaults() {
    let mut bench = bench();
    for fun in super::super::FORCED_LOCAL {
        if matches!(fun, "cluster_map" | "catalog_query" | "dns_register") {
            continue;
        }
        for args in [json!([]), json!([null]), json!([{}]), json!([[]])] {
            assert!(bench.outcome(fun, args, json!({})).is_ok(), "{fun}");
        }
        for args in [json!([{}, {}]), json!([["qq"]]), json!(["text"])] {
            let ignores =
                matches!(fun, "resolver_cache_stats" | "resolver_resync" | "namespace_policy_export");
            let refused = bench.outcome(fun, args.clone(), json!({})).is_err();
            assert_eq!(refused, !ignores || args.as_array().unwrap().len() == 2, "{fun} {args}");
        }
    }
}

#[test]
fn entry_types_in_all_their_forms() {
    let mut bench = bench();
    for (given, normal) in [
        ("functions", "functions"),
        ("Function", "functions"),
        ("node", "nodes"),
        ("QUEUES", "queues"),
        ("topic", "topics"),
        ("service", "services"),
        ("cache", "caches"),
        ("cache_profile", "cache_profiles"),
        ("Cache-Profile", "cache_profiles"),
    ] {
        assert_eq!(bench.call("catalog_query", json!({"entry_type": given}))["entry_type"], normal);
    }
    for payload in
        [json!({}), json!({"entry_type": "gadgets"}), json!({"entry_type": ""}), json!({"limit": 1})]
    {
        let told = details(bench.try_call("catalog_query", payload).unwrap_err());
        assert!(told.starts_with("ValueError: Unsupported catalog entry_type: "));
    }
    let told = details(bench.try_call("catalog_query", json!({"entry_type": ["functions"]})).unwrap_err());
    assert!(told.contains("entry_type"));
}

#[test]
fn the_table_of_function_filters_holds() {
    let mut bench = bench();
    for (payload, there) in [
        (json!({}), true),
        (json!({"function_name": "echos"}), true),
        (json!({"function_name": "ech"}), false),
        (json!({"function_id": "echos"}), true),
        (json!({"function_id": "qq"}), false),
        (json!({"function_name": ""}), true),
        (json!({"version_constraint": ">=1,<2"}), true),
        (json!({"version_constraint": "2"}), false),
        (json!({"version_constraint": ""}), true),
        (json!({"cluster_id": "c1"}), true),
        (json!({"cluster_id": "c9"}), false),
        (json!({"node_id": "ws://nobody:1"}), false),
        (json!({"tags": ["qq"]}), false),
        (json!({"tags": "qq"}), false),
        (json!({"tags": []}), true),
        (json!({"resources": ["disk"]}), false),
        (json!({"resources": []}), true),
        (json!({"capabilities": ["rpc"]}), true),
        (json!({"capabilities": "rpc"}), true),
        (json!({"capabilities": ["rpc", "fly"]}), false),
        (json!({"namespace": "svc"}), false),
        (json!({"namespace": ""}), true),
        (json!({"scope": "zone"}), true),
        (json!({"scope": "local"}), true),
        (json!({"scope": "region"}), false),
        (json!({"scope": "global"}), false),
        (json!({"scope": "ZONE"}), true),
        (json!({"scope": "local", "node_id": "ws://nobody:1"}), false),
        (json!({"scope": "zone", "cluster_id": "c9"}), false),
    ] {
        let mut with_type = payload.clone();
        with_type["entry_type"] = "functions".into();
        for names in [bench.names("catalog_query", with_type), bench.names("rpc_list", payload.clone())] {
            assert_eq!(names.iter().any(|n| n == "echos"), there, "{payload}");
            assert!(there || names.is_empty(), "{payload}");
        }
    }
    for fun in ["list_peers", "cluster_map_v2", "rpc_list", "summary_query"] {
        for scope in ["galaxy", "zones"] {
            let told = details(bench.try_call(fun, json!({"scope": scope})).unwrap_err());
            assert_eq!(told, format!("ValueError: Unsupported discovery scope: {scope}"));
        }
    }
}

/// A node with one of everything that another node announced.
fn populated() -> Bench {
    let mut bench = bench();
    let at = bench.wall();
    let of = |members: Value| {
        let mut all =
            json!({"node_id": "ws://f", "cluster_id": "c1", "advertised_at": at, "ttl_seconds": 60});
        all.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        all
    };
    let f = |name: &str, version: &str, more: Value| {
        let mut all = of(more);
        all["identity"] = json!({"name": name, "function_id": name, "version": version});
        entry(all)
    };
    let delta = Delta {
        nodes: vec![entry(of(
            json!({"resources": ["cpu", "gpu"], "capabilities": ["rpc", "queue"], "tags": ["blue"]}),
        ))],
        functions: vec![
            f("cat.one", "1", json!({"tags": ["fast"], "scope": "global"})),
            f("cat.two", "1", json!({"resources": ["gpu"]})),
            f("cat.sub.three", "2.1", json!({"scope": "region"})),
            f("cattle.four", "1", json!({"scope": "local"})),
        ],
        queues: vec![
            entry(of(json!({"queue_name": "cat.jobs", "tags": ["slow"]}))),
            entry(of(json!({"queue_name": "dog.jobs"}))),
        ],
        topics: vec![entry(of(json!({"subscription_id": "sub", "patterns": ["cat.news.*"]})))],
        services: vec![
            entry(of(
                json!({"name": "db", "namespace": "cat", "protocol": "tcp", "port": 1, "tags": ["blue"], "capabilities": ["sql"]}),
            )),
            entry(of(
                json!({"name": "db", "namespace": "cat.eu", "protocol": "tcp", "port": 2, "scope": "global"}),
            )),
            entry(of(json!({"name": "log", "namespace": "dog", "protocol": "udp", "port": 1}))),
        ],
        caches: vec![entry(of(json!({"role": "sync"}))), entry(of(json!({"role": "monitor"})))],
        cache_profiles: vec![entry(of(json!({"region": "eu-1", "capacity_mb": 64})))],
        ..Delta::default()
    };
    bench.learn(delta);
    bench
}

#[test]
fn the_table_of_catalog_queries_holds() {
    let mut bench = populated();
    for (kind, query, expected) in [
        ("functions", json!({"namespace": "cat"}), vec!["cat.one", "cat.sub.three", "cat.two"]),
        ("functions", json!({"namespace": " cat.sub "}), vec!["cat.sub.three"]),
        ("functions", json!({"namespace": "ca"}), vec![]),
        ("functions", json!({"namespace": "cat.one"}), vec![]),
        ("functions", json!({"namespace": "cat", "resources": ["gpu"]}), vec!["cat.two"]),
        ("functions", json!({"namespace": "cat", "tags": "fast"}), vec!["cat.one"]),
        (
            "functions",
            json!({"function_name": "cat.sub.three", "version_constraint": ">=2.0.0"}),
            vec!["cat.sub.three"],
        ),
        ("functions", json!({"function_name": "cat.sub.three", "version_constraint": "<2.0.0"}), vec![]),
        ("functions", json!({"namespace": "cat", "scope": "global"}), vec!["cat.one"]),
        ("functions", json!({"namespace": "cat", "scope": "region"}), vec!["cat.one", "cat.sub.three"]),
        ("functions", json!({"namespace": "cattle", "scope": "zone"}), vec![]),
        ("functions", json!({"namespace": "cattle"}), vec!["cattle.four"]),
        ("functions", json!({"namespace": "cat", "scope": "local"}), vec![]),
        (
            "functions",
            json!({"namespace": "cat", "capabilities": ["queue"]}),
            vec!["cat.one", "cat.sub.three", "cat.two"],
        ),
        ("functions", json!({"namespace": "cat", "capabilities": ["cache"]}), vec![]),
        ("queues", json!({}), vec!["cat.jobs", "dog.jobs"]),
        ("queues", json!({"queue_name": "dog.jobs"}), vec!["dog.jobs"]),
        ("queues", json!({"namespace": "cat"}), vec!["cat.jobs"]),
        ("queues", json!({"tags": ["slow"]}), vec!["cat.jobs"]),
        ("services", json!({"namespace": "cat"}), vec!["db"]),
        ("services", json!({"service_name": "db"}), vec!["db", "db"]),
        ("services", json!({"service_protocol": "udp"}), vec!["log"]),
        ("services", json!({"service_port": "2"}), vec!["db"]),
        ("services", json!({"capabilities": ["sql"]}), vec!["db"]),
        ("services", json!({"scope": "global"}), vec!["db"]),
        ("topics", json!({"topic": "cat.news.today"}), vec!["sub"]),
        ("topics", json!({"topic": "cat.weather"}), vec![]),
        ("topics", json!({"namespace": "cat"}), vec!["sub"]),
        ("caches", json!({}), vec!["monitor", "sync"]),
        ("cache_profiles", json!({}), vec!["ws://f"]),
        ("nodes", json!({"resources": ["gpu"]}), vec!["ws://f"]),
        ("nodes", json!({"scope": "local"}), vec![OWN]),
    ] {
        let mut payload = query.clone();
        payload["entry_type"] = kind.into();
        assert_eq!(bench.names("catalog_query", payload), expected, "{kind} {query}");
    }
    let named = bench.outcome(
        "catalog_query",
        json!([{"entry_type": "nodes", "limit": 1}]),
        json!({"entry_type": "functions", "limit": 2}),
    );
    let Ok(Outcome::Value(page)) = named else { panic!("{named:?}") };
    assert_eq!((&page["entry_type"], page["items"].as_array().unwrap().len()), (&json!("functions"), 2));
}

#[test]
fn entries_have_the_captured_shape() {
    let mut bench = bench();
    same_shape(
        &bench.call("catalog_query", json!({"entry_type": "node"})),
        &sample("catalog_query_nodes")["result"],
    );
    let topic = entry(
        json!({"subscription_id": "XN", "patterns": ["xn.*"], "node_id": "n", "cluster_id": "c1", "advertised_at": bench.wall()}),
    );
    bench.learn(Delta { topics: vec![topic], ..Delta::default() });
    same_shape(
        &bench.call("catalog_query", json!({"entry_type": "topics"})),
        &sample("catalog_query_topics")["result"],
    );
    let page = bench.call("catalog_query", json!({"entry_type": "functions", "limit": 2}));
    let captured = sample("catalog_query_functions")["result"].clone();
    let members = |v: &Value| v.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(members(&page), members(&captured));
    assert_eq!(members(&page["items"][0]), members(&captured["items"][0]));
    assert_eq!(members(&page["items"][0]["rpc_summary"]), members(&captured["items"][0]["rpc_summary"]));
    assert_eq!(page["next_page_token"], "2:2");
    bench.seconds = 200.0;
    assert!(bench.names("rpc_list", json!({})).is_empty(), "leases have ended");
}

#[test]
fn pages_put_together_are_the_whole() {
    let mut bench = bench();
    let functions = json!({"entry_type": "functions"});
    for (fun, payload) in [
        ("catalog_query", functions),
        ("rpc_list", json!({})),
        ("rpc_describe_local", json!({})),
        ("summary_query", json!({})),
    ] {
        let whole = bench.names(fun, payload.clone());
        assert!(whole.is_sorted() && whole.len() == 25);
        for (limit, size) in [
            (json!(1), 1),
            (json!(7), 7),
            (json!(24), 24),
            (json!(5000), 5000),
            (json!("6"), 6),
            (json!(6.7), 6),
        ] {
            let mut payload = payload.clone();
            payload["limit"] = limit;
            assert_eq!(bench.pages(fun, payload), (whole.clone(), 25usize.div_ceil(size)));
        }
    }
    let first = bench.call("rpc_list", json!({"limit": 4}));
    let second = bench.names("rpc_list", json!({"page_token": first["next_page_token"]}));
    assert_eq!(second.len(), 4);
    for (fun, mut payload) in [
        ("catalog_query", json!({"entry_type": "functions"})),
        ("rpc_list", json!({})),
        ("cluster_map_v2", json!({})),
        ("summary_query", json!({})),
        ("dns_list", json!({})),
        ("rpc_describe", json!({})),
        ("discovery_access_audit", json!({})),
        ("namespace_policy_audit", json!({})),
    ] {
        payload["limit"] = 0.into();
        assert!(details(bench.try_call(fun, payload).unwrap_err()).contains("limit"));
    }
}

#[test]
fn a_list_stays_the_same_while_it_is_read() {
    let mut bench = bench();
    let at = bench.wall();
    bench.functions((0..10).map(|i| function(&format!("list.n{i}"), "ws://f", at)).collect());
    let ask = json!({"namespace": "list", "limit": 4});
    let first = bench.call("rpc_list", ask.clone());
    bench.functions(vec![function("list.a", "ws://f", at)]);
    let gone = vec![function("list.n5", "ws://f", at).key(), function("list.n0", "ws://f", at).key()];
    bench.learn(Delta { function_removals: gone, ..Delta::default() });
    let mut ask = ask;
    ask["page_token"] = first["next_page_token"].clone();
    assert_eq!(bench.names("rpc_list", ask.clone()), ["list.n4", "list.n5", "list.n6", "list.n7"]);
    bench.viewer.connection = 2;
    assert_eq!(
        bench.names("rpc_list", ask)[0],
        "list.n4",
        "another connection has no list; a token is an offset"
    );
}

#[test]
fn ten_thousand_functions_page_quickly_and_whole() {
    let mut bench = bench();
    let at = bench.wall();
    let summary = json!({"namespace": "big", "summary": "One of very many functions"});
    let all = (0..10_000).map(|i| {
        entry(json!({"identity": {"name": format!("big.n{i:05}"), "function_id": format!("big.n{i:05}"), "version": "1"},
            "node_id": "ws://f", "cluster_id": "c1", "advertised_at": at, "ttl_seconds": 60, "rpc_summary": summary}))
    });
    bench.functions(all.collect());
    let (names, pages) = bench.pages("rpc_list", json!({"namespace": "big"}));
    assert_eq!((names.len(), pages, names.is_sorted()), (10_000, 50, true));
    assert_eq!(bench.names("rpc_list", json!({"query": "n09999"})), ["big.n09999"]);
    assert_eq!(bench.pages("rpc_list", json!({"query": "VERY many", "limit": 2000})).1, 5);
}

const STATUS_RULES: &str = r#"[{"namespace": "svc.mine", "visibility": ["c1", "c2"]},
    {"namespace": "svc.theirs", "visibility": ["c2"]}, {"namespace": "svc.theirs.open"}]"#;

#[test]
fn decisions_for_a_viewer() {
    for default_allow in [true, false] {
        let mut bench = ruled(serde_json::from_str(STATUS_RULES).unwrap(), default_allow);
        for (namespace, allowed, reason) in [
            ("svc.mine", true, "viewer_allowed"),
            ("svc.mine.deep.x", true, "viewer_allowed"),
            ("svc.theirs", false, "viewer_denied"),
            ("svc.theirs.x", false, "viewer_denied"),
            ("svc.theirsx", default_allow, "no_policy"),
            ("svc.theirs.open", true, "visibility_unrestricted"),
            ("svc.theirs.open.x", true, "visibility_unrestricted"),
            ("svc", default_allow, "no_policy"),
        ] {
            let told =
                bench.call("namespace_status", json!({"namespace": namespace, "viewer_cluster_id": "c2"}));
            assert_eq!(
                json!([told["allowed"], told["reason"], told["namespace"]]),
                json!([allowed, reason, namespace])
            );
            assert_eq!(told.get("rule").is_some(), reason != "no_policy");
            assert_eq!((&told["viewer_cluster_id"], &told["viewer_tenant_id"]), (&json!("c1"), &Value::Null));
        }
    }
    let captured = sample("namespace_status_denied")["result"].clone();
    let mut bench = ruled(json!([captured["rule"]]), true);
    same_shape(&bench.call("namespace_status", json!({"namespace": "svc.secret.key"})), &captured);
    assert!(bench.call("namespace_status", json!({})).get("namespace").is_none());
}

#[test]
fn a_denied_namespace_is_empty_or_403_and_audited() {
    let mut bench = ruled(json!([{"namespace": "hidden", "visibility": ["c2"]}]), true);
    let at = bench.wall();
    bench.functions(vec![function("hidden.x.fn", "ws://f", at)]);
    bench.services(vec![service("s", "hidden", at, 60.0), service("t", "", at, 60.0)]);
    for (fun, mut payload) in [
        ("catalog_query", json!({"entry_type": "functions"})),
        ("rpc_list", json!({})),
        ("rpc_describe", json!({})),
        ("rpc_describe_local", json!({})),
        ("dns_list", json!({})),
        ("summary_query", json!({})),
    ] {
        payload["namespace"] = "hidden.x".into();
        assert_eq!(bench.call(fun, payload)["items"], json!([]), "{fun}");
    }
    assert_eq!(bench.call("cluster_map_v2", json!({"namespace_filter": "hidden.x"}))["nodes"], json!([]));
    assert_eq!(bench.call("rpc_report", json!({"namespace": "hidden"}))["total_functions"], 0);
    for fun in ["catalog_watch", "summary_watch"] {
        let error = bench.try_call(fun, json!({"namespace": "hidden.x"})).unwrap_err();
        assert_eq!(
            (error.code, error.message.as_str(), error.reason),
            (403, "discovery_access_denied", Some(Reason::PolicyDenied))
        );
        assert_eq!(details(error), format!("{fun} denied for namespace hidden.x"));
    }
    let audit = bench.call("discovery_access_audit", json!({"limit": 3}));
    same_shape(&audit, &sample("discovery_access_audit")["result"]);
    let events: Vec<_> = audit["entries"].as_array().unwrap().iter().map(|e| e["event"].clone()).collect();
    assert_eq!(events, ["catalog_query", "catalog_watch", "summary_watch"]);
    assert_eq!(bench.call("discovery_access_audit", json!({}))["entries"].as_array().unwrap().len(), 10);
    assert!(!bench.names("rpc_list", json!({})).contains(&"hidden.x.fn".to_owned()));
    assert!(bench.names("summary_query", json!({"service_id": "hidden.x.fn"})).is_empty());
    assert_eq!(bench.names("dns_list", json!({})), ["t"]);
}

#[test]
fn commands_are_limited_under_their_counted_name() {
    let mut bench = limited(3);
    for _ in 0..3 {
        bench.call("catalog_query", json!({"entry_type": "nodes"}));
    }
    for fun in ["rpc_list", "rpc_report", "dns_list", "rpc_describe"] {
        let error = bench.try_call(fun, json!({})).unwrap_err();
        assert_eq!((error.code, error.reason), (429, Some(Reason::RateLimited)));
        assert_eq!(details(error), "Rate limit exceeded for catalog_query (viewer=cluster:c1, namespace=)");
    }
    for (fun, payload) in [
        ("cluster_map_v2", json!({})),
        ("catalog_watch", json!({"namespace": "m"})),
        ("summary_query", json!({})),
        ("summary_watch", json!({})),
        ("namespace_status", json!({"namespace": "m"})),
        ("rpc_describe_local", json!({})),
    ] {
        let admitted: Vec<bool> = (0..5).map(|_| bench.try_call(fun, payload.clone()).is_ok()).collect();
        assert_eq!(admitted, [true, true, true, false, false], "{fun}");
    }
    let error = bench.try_call("rpc_describe", json!({"mode": "local"})).unwrap_err();
    assert!(details(error).starts_with("Rate limit exceeded for rpc_describe ("));
    for fun in ["list_peers", "discovery_access_audit", "namespace_policy_export", "resolver_cache_stats"] {
        for _ in 0..5 {
            bench.call(fun, json!({}));
        }
    }
    let captured = sample("rate_limited_429")["error"].clone();
    assert_eq!(
        captured["details"],
        "Rate limit exceeded for catalog_query (viewer=cluster:cluster-a, namespace=svc)"
    );
    bench.seconds = 60.0;
    assert!(bench.try_call("rpc_list", json!({})).is_ok());
}

#[test]
fn a_policy_that_cannot_be_stored_is_taken_back() {
    let mut bench = Bench::new(DiscoverySettings::default());
    let export = |bench: &mut Bench| {
        let shown = bench.call("namespace_policy_export", json!({}));
        json!([shown["enabled"], shown["default_allow"], shown["rules"]])
    };
    bench.call("namespace_policy_apply", json!({"rules": [{"namespace": "a"}]}));
    let before = export(&mut bench);
    let unstored =
        bench.outcome("namespace_policy_apply", json!([{"rules": [], "enabled": true}]), json!({}));
    let Ok(Outcome::PolicyChanged { former, .. }) = unstored else { panic!("{unstored:?}") };
    let now = bench.now();
    bench.discovery.revert_policy(former, "the disk is full", now);
    assert_eq!(export(&mut bench), before);
    let last = bench.call("namespace_policy_audit", json!({"limit": 1}))["entries"][0].clone();
    assert_eq!(json!([last["valid"], last["errors"]]), json!([false, ["the disk is full"]]));
}

#[test]
fn policy_is_applied_as_a_whole_or_not_at_all() {
    let mut bench = bench();
    let export = |bench: &mut Bench| {
        let mut told = bench.call("namespace_policy_export", json!(null));
        told["generated_at"] = json!(0);
        told
    };
    let before = export(&mut bench);
    assert_eq!(
        json!([before["enabled"], before["default_allow"], before["rule_count"]]),
        json!([false, true, 0])
    );
    for payload in [
        json!({"rules": "everything", "enabled": true}),
        json!({"rules": [{"namespace": "ok"}, 5], "enabled": true}),
        json!({"rules": [{"namespace": "ok"}], "enabled": "perhaps"}),
        json!({"rules": [{"namespace": "ok"}], "default_allow": []}),
    ] {
        assert_eq!(bench.try_call("namespace_policy_apply", payload).unwrap_err().code, 1003);
    }
    let told = bench
        .call("namespace_policy_apply", json!({"rules": [{"namespace": ""}], "enabled": true, "actor": "x"}));
    assert_eq!(
        json!([told["applied"], told["valid"], told["errors"]]),
        json!([false, false, ["rules[0].namespace is empty"]])
    );
    assert_eq!(export(&mut bench), before);
    let rule = json!({"namespace": "svc.m", "owners": ["c1"], "visibility": "c9", "policy_version": "v7"});
    let applied = bench.outcome("namespace_policy_apply", json!([{"rules": [rule, {"namespace": "svc"}], "enabled": true, "default_allow": true, "actor": "kit"}]), json!({}));
    let Ok(Outcome::PolicyChanged { value, .. }) = applied else { panic!("{applied:?}") };
    same_shape(&value, &sample("namespace_policy_apply")["result"]);
    assert_eq!(bench.call("namespace_status", json!({"namespace": "svc.m.x"}))["reason"], "viewer_denied");
    bench.call("namespace_policy_apply", json!({"default_allow": false}));
    let after = export(&mut bench);
    assert_eq!(
        json!([after["enabled"], after["default_allow"], after["rule_count"]]),
        json!([true, false, 2])
    );
    assert_eq!(
        after["rules"][0].to_string(),
        r#"{"namespace":"svc.m","owners":["c1"],"visibility":["c9"],"export_scopes":[],"allow_summaries":false,"policy_version":"v7"}"#
    );
    let validated =
        bench.call("namespace_policy_validate", json!({"rules": {"namespace": "single"}, "actor": "anna"}));
    assert_eq!(json!([validated["valid"], validated["rule_count"]]), json!([true, 1]));
    let faulty = json!([{"namespace": ""}, {"namespace": "a"}, {"namespace": "a", "cutover_windows": [{"starts_at": 0}, {"starts_at": 10, "ends_at": 5}]}]);
    let validated = bench.call("namespace_policy_validate", json!({"rules": faulty, "actor": "me"}));
    let captured = sample("namespace_policy_validate_errors")["result"].clone();
    same_shape(&validated, &captured);
    assert_eq!(validated["errors"], captured["errors"]);
    let audit = bench.call("namespace_policy_audit", json!({}));
    let entries = audit["entries"].as_array().unwrap();
    let told: Vec<_> =
        entries.iter().map(|e| json!([e["event"], e.get("actor"), e["valid"], e["rule_count"]])).collect();
    assert_eq!(
        told,
        [
            json!(["apply", "x", false, 1]),
            json!(["apply", "kit", true, 2]),
            json!(["apply", null, true, 2]),
            json!(["validate", "anna", true, 1]),
            json!(["validate", "me", false, 3]),
        ]
    );
    same_shape(&json!(entries[1]), &sample("namespace_policy_audit")["result"]["entries"][0]);
}

#[test]
fn a_change_of_policy_holds_for_lists_that_are_being_read() {
    let mut bench = bench();
    let at = bench.wall();
    bench.functions((0..6).map(|i| function(&format!("later.n{i}"), "ws://f", at)).collect());
    let first = bench.call("rpc_list", json!({"namespace": "later", "limit": 2}));
    bench.call(
        "namespace_policy_apply",
        json!({"rules": [{"namespace": "later.n3", "visibility": ["c9"]}], "enabled": true}),
    );
    let next = json!({"namespace": "later", "limit": 2, "page_token": first["next_page_token"]});
    assert_eq!(bench.names("rpc_list", next), ["later.n2", "later.n4"]);
}

#[test]
fn tenants_are_bound_claimed_or_given() {
    let rules = json!([{"namespace": "vip", "visibility_tenants": ["gold"]}]);
    let status = |tenants: TenantSettings, bound: Option<&str>, claimed: Value| {
        let mut bench = ruled(rules.clone(), true);
        bench.discovery.tenants = tenants;
        bench.viewer.tenant = bound.map(Into::into);
        let told = bench.call("namespace_status", json!({"namespace": "vip", "viewer_tenant_id": claimed}));
        (told["viewer_tenant_id"].clone(), told["reason"].clone())
    };
    let on = |allow_claimed| TenantSettings { enabled: true, allow_claimed, ..Default::default() };
    let denied = (Value::Null, json!("viewer_denied"));
    assert_eq!(status(TenantSettings::default(), Some("gold"), json!("gold")), denied);
    assert_eq!(status(on(false), None, json!("gold")), denied);
    assert_eq!(status(on(true), None, json!("gold")), (json!("gold"), json!("tenant_allowed")));
    assert_eq!(status(on(true), Some("silver"), json!("gold")), (json!("silver"), json!("viewer_denied")));
    let given = TenantSettings { default: Some("gold".into()), ..on(false) };
    assert_eq!(status(given, None, Value::Null), (json!("gold"), json!("tenant_allowed")));
}

#[test]
fn administration_is_for_bound_tenants_not_for_claims() {
    let tenants = TenantSettings {
        enabled: true,
        allow_claimed: true,
        default: Some("gold".into()),
        ..Default::default()
    };
    let admin =
        AdminSettings { mode: AdminMode::Tenants, tenants: vec!["gold".into()], ..Default::default() };
    let mut bench = Bench::new(DiscoverySettings { tenants, admin, ..Default::default() });
    let calls = [
        (
            "namespace_policy_apply",
            json!({"rules": [], "actor": "somebody else", "viewer_tenant_id": "gold"}),
        ),
        ("resolver_resync", json!({})),
        ("discovery_access_audit", json!({"viewer_tenant_id": "gold"})),
        ("namespace_policy_audit", json!({"viewer_tenant_id": "gold"})),
    ];
    for (fun, payload) in &calls {
        assert_eq!(bench.try_call(fun, payload.clone()).unwrap_err().code, 403, "{fun}");
    }
    bench.viewer.tenant = Some("gold".into());
    for (fun, payload) in &calls {
        assert!(bench.try_call(fun, payload.clone()).is_ok(), "{fun}");
    }
    assert_eq!(bench.call("namespace_policy_audit", json!({}))["entries"][0]["actor"], "gold");
}

#[test]
fn deltas_are_shown_and_admitted_by_policy() {
    let bench = ruled(json!([{"namespace": "secret", "visibility": ["elsewhere"], "owners": ["c2"]}]), true);
    let at = bench.wall();
    let far = |name: &str, cluster: &str| {
        entry(
            json!({"identity": {"name": name, "function_id": name, "version": "1"}, "node_id": "n", "cluster_id": cluster, "advertised_at": at}),
        )
    };
    let delta = Delta {
        functions: vec![
            far("secret.f", "c2"),
            far("secret.g", "c3"),
            far("secret.h", "c1"),
            far("open.f", "c3"),
        ],
        services: vec![service("hidden", "secret", at, 9.0), service("shown", "open", at, 9.0)],
        service_removals: vec![service("gone", "secret.x", at, 9.0).key()],
        topics: vec![
            entry(json!({"subscription_id": "s", "patterns": ["secret.#"]})),
            entry(json!({"subscription_id": "t", "patterns": ["#"]})),
        ],
        ..Delta::default()
    };
    let names = |d: &Delta| d.functions.iter().map(|f| f.identity.name.to_string()).collect::<Vec<_>>();
    let shown = bench.discovery.visible(&delta, &bench.viewer);
    assert_eq!(
        (names(&shown), shown.services.len(), shown.service_removals.len(), shown.topics.len()),
        (vec!["open.f".to_owned()], 1, 0, 1)
    );
    let (taken, refused) = bench.discovery.admissible(&delta, "c1");
    assert_eq!(names(&taken), ["secret.f", "secret.h", "open.f"]);
    assert_eq!(
        refused.iter().map(|(r, _)| *r).collect::<Vec<_>>(),
        [Reason::PolicyDenied, Reason::PolicyDenied]
    );
    assert_eq!((taken.service_removals.len(), taken.topics.len()), (1, 1));
    let mut bench = bench;
    bench.learn(Delta { topic_removals: Vec::new(), service_removals: Vec::new(), ..delta.clone() });
    let expelled = bench.discovery.expelled(&bench.catalog, "c1");
    let keys = expelled.function_removals.iter().map(|k| &*k.identity.name).collect::<Vec<_>>();
    assert_eq!(
        (keys, expelled.topic_removals, expelled.service_removals),
        (vec!["secret.g"], vec!["s".into()], vec![])
    );
    let open = Bench::new(Default::default());
    assert_eq!(open.discovery.visible(&delta, &open.viewer).functions.len(), 4);
}

#[test]
fn no_payload_makes_it_panic_and_every_error_is_one_line() {
    const MEMBERS: &str = "entry_type namespace scope viewer_tenant_id capabilities resources tags cluster_id node_id \
        function_name function_id version_constraint queue_name service_name service_port topic limit page_token query \
        mode detail_level spec_digests function_names max_nodes timeout_seconds service_id include_ingress ingress_limit \
        ingress_scope ingress_tags namespace_filter name protocol port targets metadata priority weight ttl_seconds rules \
        enabled default_allow actor payload";
    let odd = [
        json!(null),
        json!(""),
        json!(" é.😀\u{0}\n"),
        json!("9223372036854775808:-1"),
        json!(-1),
        json!(1e308),
        json!(u64::MAX),
        json!(true),
        json!([null, [], {}]),
        json!([1, "a.b", "a.b"]),
        json!({"a": {"starts_at": -0.0}}),
        json!([{"namespace": ".", "cutover_windows": [[], {"ends_at": "x"}]}]),
    ];
    let mut bench = populated();
    for fun in super::super::FORCED_LOCAL {
        for member in MEMBERS.split_whitespace() {
            for value in &odd {
                // By name, so that it is converted like any other member; short pages keep this fast.
                let payload = json!({"entry_type": "functions", "name": "n", "limit": 2});
                let (args, kwargs) = (json!([payload]), json!({member: value}));
                {
                    if let Err(error) = bench.outcome(fun, args, kwargs) {
                        assert!(matches!(error.code, 1003 | 403), "{error:?}");
                        let told = details(error);
                        assert!(
                            told.len() < 2000 && !told.contains("src/") && !told.contains("panicked"),
                            "{told}"
                        );
                    }
                }
            }
        }
    }
}
