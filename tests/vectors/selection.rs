//! `vectors_function_selection.json` (fabric.md 12.8): which endpoint a command goes to.

use std::borrow::Cow;

use mpreg::core::catalog::FunctionEntry;
use mpreg::core::rpc::select::{Candidate, Demands, choose};

use crate::table::{Table, settings};
use crate::{interop, list};

#[test]
fn endpoints_are_chosen_as_in_the_vectors_but_for_the_highest_version() {
    let cases = list(&interop("fabric/vectors_function_selection.json")["cases"]);
    assert_eq!(cases.len(), 9);
    let mut several_versions = 0;
    for case in &cases {
        let about = case["description"].as_str().unwrap();
        let own_cluster = case["local_cluster"].as_str().unwrap();
        let endpoints: Vec<FunctionEntry> = serde_json::from_value(case["endpoints"].clone()).unwrap();
        let table = Table::new(settings("ws://own:1", own_cluster), 1_700_000_000.0);
        // Of whom nothing has been heard, the load is what the fabric takes it for.
        let unheard = |node: &str| table.fabric.membership().load_score(node, table.now());
        let candidate = |local: Option<&'static str>| {
            endpoints.iter().map(move |e| Candidate {
                name: &e.identity.name,
                function_id: &e.identity.function_id,
                version: &e.identity.version.0,
                resources: &e.resources,
                cluster: &e.cluster_id,
                node: &e.node_id,
                load: case["load_scores"][&*e.node_id].as_f64().unwrap_or_else(|| unheard(&e.node_id)),
                local: local == Some(&*e.node_id),
            })
        };
        let candidates: Vec<Candidate> = candidate(None).collect();
        let asked = case["query"].get("resources").map(list).unwrap_or_default();
        let locs: Vec<Cow<str>> = asked.iter().map(|r| r.as_str().unwrap().into()).collect();
        // The case without a match asked for a name that the vector does not show.
        let fun = if case["reason"] == "no_match" { "nobody.has.it" } else { "f" };
        let demands = Demands {
            fun,
            locs: &locs,
            target_cluster: case["query"]["cluster_id"].as_str(),
            ..Demands::default()
        };
        let chosen = choose(candidates.iter().copied(), &demands, own_cluster);
        let Some(node) = case["selected_node"].as_str() else {
            assert_eq!(chosen.unwrap_err().code, 1001, "{about}");
            continue;
        };
        let chosen = chosen.unwrap_or_else(|e| panic!("{about}: {e:?}"));
        assert_eq!(
            (chosen.node, chosen.cluster),
            (node, case["selected_cluster"].as_str().unwrap()),
            "{about}"
        );
        // "local" is the cluster; the reason of the others only says that the vector was made without a planner.
        assert_eq!(chosen.cluster == own_cluster, case["is_local"] == true, "{about}");
        assert_eq!(case["reason"] == "local_match", case["is_local"] == true);

        // 20.2 C21: of several versions the reference takes the lowest, ordered as text; here it is the highest one.
        let versions = candidates.iter().filter(|c| c.node == node).map(|c| c.version);
        several_versions += usize::from(versions.clone().count() > 1);
        assert_eq!(Some(chosen.version), versions.max(), "{about}");

        // 20.2 C20: what this node has itself is not sent elsewhere for a few connections more.
        if about == "lowest load" {
            assert_eq!(node, "ws://2");
            let chosen = choose(candidate(Some("ws://1")), &demands, own_cluster).unwrap();
            assert_eq!((chosen.node, chosen.load), ("ws://1", 5.0));
        }
    }
    assert_eq!(several_versions, 1, "the difference was met");
}

#[test]
fn versions_are_numbers_and_not_text() {
    // 20.2 C21, as 12.8 tells of it: as text 1.10.0 comes before 1.9.0.
    let versions = ["1.9.0", "1.10.0"].map(|v| v.parse().unwrap());
    let candidates = versions.iter().map(|version| Candidate {
        name: "f",
        function_id: "f",
        version,
        resources: &[],
        cluster: "c1",
        node: "ws://1",
        load: 0.0,
        local: false,
    });
    let demands = Demands { fun: "f", ..Demands::default() };
    assert_eq!(choose(candidates, &demands, "c1").unwrap().version.to_string(), "1.10.0");
}
