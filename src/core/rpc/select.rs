//! Where a command runs, and if nowhere, why (client.md 2.6).
//!
//! Choosing is a pure function over the endpoints of a snapshot. The own cluster comes before others; among those with
//! about the lowest load the own node comes first, then the highest version; ties are broken by load and name, never by
//! chance. A failure says which demand nothing fulfils and what there is instead, in a text of bounded length.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use semver::Version;

use crate::core::error::CallError;
use crate::core::rpc::text::{clipped, listed};
use crate::core::rpc::version::Constraint;
use crate::wire::client::Command;

/// A place where a function is served.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    pub name: &'a str,
    pub function_id: &'a str,
    pub version: &'a Version,
    pub resources: &'a [Arc<str>],
    pub cluster: &'a str,
    pub node: &'a str,
    pub load: f64,
    /// Served by this node itself.
    pub local: bool,
}

/// What a command asks of its endpoint.
#[derive(Debug, Clone, Copy, Default)]
pub struct Demands<'a> {
    pub fun: &'a str,
    pub function_id: Option<&'a str>,
    pub constraint: Option<&'a Constraint>,
    /// The constraint as it was written, for the text of a failure.
    pub constraint_text: &'a str,
    pub locs: &'a [Cow<'a, str>],
    pub target_cluster: Option<&'a str>,
}

impl<'a> Demands<'a> {
    pub fn of(command: &'a Command<'a>, constraint: Option<&'a Constraint>) -> Demands<'a> {
        Demands {
            fun: &command.fun,
            function_id: command.function_id.as_deref(),
            constraint,
            constraint_text: command.version_constraint.as_deref().unwrap_or_default(),
            locs: &command.locs,
            target_cluster: command.target_cluster.as_deref(),
        }
    }
}

/// Chooses among the endpoints of `candidates`, which may hold other functions too. Without a match the error is 1001.
pub fn choose<'a>(
    candidates: impl Iterator<Item = Candidate<'a>> + Clone,
    demands: &Demands<'_>,
    own_cluster: &str,
) -> Result<Candidate<'a>, CallError> {
    let matching = || candidates.clone().filter(|c| DEMANDS.iter().all(|demand| demand.is_met(c, demands)));
    let least_load = least_load(candidates.clone(), demands, own_cluster);
    let field = Field { demands, own_cluster, least_load };
    matching().min_by(|a, b| field.order(a, b)).ok_or_else(|| explain(candidates, demands))
}

/// Among whom is chosen, and for what.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
    pub demands: &'a Demands<'a>,
    pub own_cluster: &'a str,
    /// See [`least_load`].
    pub least_load: f64,
}

impl Field<'_> {
    /// The first is the better one.
    fn order(&self, a: &Candidate<'_>, b: &Candidate<'_>) -> Ordering {
        let decides = |rank: &Rank| rank.compare(a, b, self);
        RANKS.iter().map(decides).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }

    /// Which rank sets two endpoints apart that both meet the demands; `None` where they are the same to a caller.
    pub fn deciding(&self, a: &Candidate<'_>, b: &Candidate<'_>) -> Option<Rank> {
        RANKS.iter().copied().find(|rank| rank.compare(a, b, self).is_ne())
    }

    /// Load is a count of connections that is some seconds old: small differences say nothing.
    fn is_crowded(&self, c: &Candidate<'_>) -> bool {
        c.load > self.least_load * NEAR_SHARE + NEAR_CONNECTIONS
    }
}

/// The least load of those that meet the demands, as far as what counts before load leaves them in the choice.
pub fn least_load<'a>(
    candidates: impl Iterator<Item = Candidate<'a>>,
    demands: &Demands<'_>,
    own_cluster: &str,
) -> f64 {
    let field = Field { demands, own_cluster, least_load: 0.0 };
    let matching = candidates.filter(|c| DEMANDS.iter().all(|demand| demand.is_met(c, demands)));
    let before_load = |a: &Candidate<'_>, b: &Candidate<'_>| {
        BEFORE_LOAD.iter().fold(Ordering::Equal, |o, r| o.then(r.compare(a, b, &field)))
    };
    let least = matching.min_by(|a, b| before_load(a, b).then(a.load.total_cmp(&b.load)));
    least.map_or(0.0, |c| c.load)
}

/// The first demand that an endpoint does not meet.
pub fn unmet(candidate: &Candidate<'_>, demands: &Demands<'_>) -> Option<Demand> {
    DEMANDS.iter().copied().find(|demand| !demand.is_met(candidate, demands))
}

/// What an endpoint is preferred for, in the order in which it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    Release,
    OwnCluster,
    /// Its load is about the lowest.
    Crowd,
    OwnNode,
    Version,
    Load,
    Name,
}

const BEFORE_LOAD: &[Rank] = &[Rank::Release, Rank::OwnCluster];
const RANKS: &[Rank] =
    &[Rank::Release, Rank::OwnCluster, Rank::Crowd, Rank::OwnNode, Rank::Version, Rank::Load, Rank::Name];
/// A load is near the least one up to this share of it and so many connections more.
const NEAR_SHARE: f64 = 1.25;
const NEAR_CONNECTIONS: f64 = 8.0;

impl Rank {
    /// The lesser is the better one.
    fn compare(self, a: &Candidate<'_>, b: &Candidate<'_>, field: &Field<'_>) -> Ordering {
        let Field { demands, own_cluster, .. } = *field;
        // Who does not ask for a pre-release gets one only where nothing else is offered.
        let unasked = |c: &Candidate<'_>| {
            demands.constraint.is_none_or(Constraint::is_any) && !c.version.pre.is_empty()
        };
        match self {
            Rank::Release => unasked(a).cmp(&unasked(b)),
            Rank::OwnCluster => (a.cluster != own_cluster).cmp(&(b.cluster != own_cluster)),
            Rank::OwnNode => b.local.cmp(&a.local),
            Rank::Crowd => field.is_crowded(a).cmp(&field.is_crowded(b)),
            Rank::Load => a.load.total_cmp(&b.load),
            Rank::Version => b.version.cmp(a.version),
            Rank::Name => (a.cluster, a.node, a.function_id).cmp(&(b.cluster, b.node, b.function_id)),
        }
    }

    /// Why the one that lost is not chosen, in a word.
    pub fn word(self) -> &'static str {
        match self {
            Rank::Release => "unasked_prerelease",
            Rank::OwnCluster => "other_cluster",
            Rank::OwnNode => "other_node",
            Rank::Crowd | Rank::Load => "higher_load",
            Rank::Version => "lower_version",
            Rank::Name => "later_name",
        }
    }
}

/// What can be asked for, in the order in which a failure is explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    Name,
    Id,
    Version,
    Resources,
    Cluster,
}

const DEMANDS: &[Demand] = &[Demand::Name, Demand::Id, Demand::Version, Demand::Resources, Demand::Cluster];

impl Demand {
    fn is_met(self, c: &Candidate<'_>, demands: &Demands<'_>) -> bool {
        match self {
            Demand::Name => c.name == demands.fun,
            Demand::Id => demands.function_id.is_none_or(|id| id == c.function_id),
            Demand::Version => demands.constraint.is_none_or(|constraint| constraint.accepts(c.version)),
            Demand::Resources => demands.locs.iter().all(|loc| c.resources.iter().any(|r| **r == **loc)),
            Demand::Cluster => demands.target_cluster.is_none_or(|cluster| cluster == c.cluster),
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Demand::Name => "name",
            Demand::Id => "function_id",
            Demand::Version => "version",
            Demand::Resources => "resources",
            Demand::Cluster => "cluster",
        }
    }

    /// What was looked for.
    fn wanted(self, demands: &Demands<'_>) -> String {
        let short = |text: &str| clipped(text, TEXT_CHARS_MAX);
        match self {
            Demand::Name => "has that name".to_owned(),
            Demand::Id => format!("has function_id {}", short(demands.function_id.unwrap_or_default())),
            Demand::Version => format!("has version {}", short(demands.constraint_text)),
            Demand::Resources => {
                format!("has the resources {}", listed(demands.locs.iter().map(|loc| &**loc)))
            }
            Demand::Cluster => format!("is in cluster {}", short(demands.target_cluster.unwrap_or_default())),
        }
    }

    /// What an endpoint has in its place.
    pub fn offered(self, c: &Candidate<'_>) -> String {
        match self {
            Demand::Name => c.name.to_owned(),
            Demand::Id => c.function_id.to_owned(),
            Demand::Version => c.version.to_string(),
            Demand::Resources if c.resources.is_empty() => "no resources".to_owned(),
            Demand::Resources => {
                c.resources.iter().take(RESOURCES_MAX).map(|r| &**r).collect::<Vec<_>>().join("+")
            }
            Demand::Cluster => c.cluster.to_owned(),
        }
    }
}

/// Takes one demand after the other and names the first that leaves nothing.
fn explain<'a>(candidates: impl Iterator<Item = Candidate<'a>> + Clone, demands: &Demands<'_>) -> CallError {
    let not_found = CallError::not_found(demands.fun);
    for (met, demand) in DEMANDS.iter().enumerate().skip(1) {
        let before = DEMANDS.get(..met).unwrap_or_default();
        let left = || candidates.clone().filter(|c| before.iter().all(|d| d.is_met(c, demands)));
        if left().any(|c| demand.is_met(&c, demands)) {
            continue;
        }
        // Sorted and bounded, so that a text is the same for the same catalog.
        let mut offered = BTreeSet::new();
        let mut more = false;
        for candidate in left() {
            offered.insert(demand.offered(&candidate));
            if offered.len() > OFFERED_MAX {
                offered.pop_last();
                more = true;
            }
        }
        if offered.is_empty() {
            return not_found;
        }
        let text = format!(
            "Command not found: {} (no endpoint{} {}; offered: {}{})",
            clipped(demands.fun, FUN_CHARS_MAX),
            among(before, demands),
            demand.wanted(demands),
            listed(offered.iter().map(String::as_str)),
            if more { " and others" } else { "" },
        );
        return CallError { details: Some(text.into()), ..not_found };
    }
    not_found
}

/// The demands that narrowed the choice before.
fn among(before: &[Demand], demands: &Demands<'_>) -> String {
    let asked: Vec<String> = before
        .iter()
        .filter(|demand| match demand {
            Demand::Name => false,
            Demand::Id => demands.function_id.is_some(),
            Demand::Version => demands.constraint.is_some_and(|c| !c.is_any()),
            Demand::Resources => !demands.locs.is_empty(),
            Demand::Cluster => demands.target_cluster.is_some(),
        })
        .map(|demand| demand.wanted(demands))
        .collect();
    if asked.is_empty() { String::new() } else { format!(" that {}", asked.join(" and ")) }
}

/// With these no part of the text is longer than about 500 characters, nor the whole than 1500.
const TEXT_CHARS_MAX: usize = 60;
const FUN_CHARS_MAX: usize = 150;
const OFFERED_MAX: usize = 8;
const RESOURCES_MAX: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    /// name, id, version, resources, cluster, node, load, local
    type Row<'a> = (&'a str, &'a str, &'a str, &'a [&'a str], &'a str, &'a str, f64, bool);

    /// Versions and resources in the form that candidates borrow, beside the row they are of.
    struct Catalog<'a>(Vec<(Row<'a>, Version, Vec<Arc<str>>)>);

    impl<'a> Catalog<'a> {
        fn of(rows: &[Row<'a>]) -> Catalog<'a> {
            let entry = |row: &Row<'a>| {
                let resources = row.3.iter().map(|r| Arc::from(*r)).collect();
                (*row, Version::parse(row.2).unwrap(), resources)
            };
            Catalog(rows.iter().map(entry).collect())
        }

        fn candidates(&self) -> impl Iterator<Item = Candidate<'_>> + Clone {
            self.0.iter().map(
                |((name, function_id, _, _, cluster, node, load, local), version, resources)| Candidate {
                    name,
                    function_id,
                    version,
                    resources,
                    cluster,
                    node,
                    load: *load,
                    local: *local,
                },
            )
        }

        fn node(&self, demands: &Demands<'_>) -> String {
            choose(self.candidates(), demands, "c1")
                .map_or_else(|e| format!("{:?}", e.details), |c| c.node.to_owned())
        }

        fn why_not(&self, demands: &Demands<'_>) -> String {
            let error = choose(self.candidates(), demands, "c1").unwrap_err();
            assert_eq!((error.code, error.message.as_str()), (1001, "Command not found"));
            error.details.unwrap().as_str().unwrap().to_owned()
        }
    }

    fn asks(fun: &str) -> Demands<'_> {
        Demands { fun, ..Demands::default() }
    }

    #[test]
    fn own_cluster_then_about_the_least_load_then_own_node_then_version() {
        let catalog = Catalog::of(&[
            ("f", "f", "9.0.0", &[], "c2", "far", 0.0, false),
            ("f", "f", "1.0.0", &[], "c1", "busy", 7.0, false),
            ("f", "f", "1.0.0", &[], "c1", "idle-old", 1.0, false),
            ("f", "f", "1.1.0", &[], "c1", "idle-new", 1.0, false),
        ]);
        assert_eq!(catalog.node(&asks("f")), "idle-new");
        assert_eq!(catalog.node(&Demands { target_cluster: Some("c2"), ..asks("f") }), "far");
        let with_own = |load: f64| {
            let mut catalog = Catalog::of(&catalog.0.iter().map(|(row, ..)| *row).collect::<Vec<_>>());
            catalog.0.extend(Catalog::of(&[("f", "f", "0.1.0", &[], "c1", "me", load, true)]).0);
            catalog
        };
        assert_eq!(
            [0.0, 9.0, 10.0, 1000.0].map(|load| with_own(load).node(&asks("f"))),
            ["me", "me", "idle-new", "idle-new"]
        );
        let with_own = with_own(0.0);
        let constraint = Constraint::parse(">=1").unwrap();
        assert_eq!(with_own.node(&Demands { constraint: Some(&constraint), ..asks("f") }), "idle-new");
    }

    #[test]
    fn the_highest_version_goes_before_small_differences_of_load() {
        let of = |load: f64| {
            let catalog = Catalog::of(&[
                ("f", "f", "1.9.0", &[], "c1", "old", 10.0, false),
                ("f", "f", "1.10.0", &[], "c1", "new", load, false),
                ("f", "f", "1.10.0", &[], "c2", "far", 0.0, false),
            ]);
            catalog.node(&asks("f"))
        };
        assert_eq!([0.0, 10.0, 20.0, 21.0, 510.0].map(of), ["new", "new", "new", "old", "old"]);
    }

    #[test]
    fn prereleases_are_for_those_who_ask() {
        let catalog = Catalog::of(&[
            ("f", "f", "2.0.0-beta.1", &[], "c1", "canary", 0.0, true),
            ("f", "f", "1.0.0", &[], "c1", "stable", 5.0, false),
            ("g", "g", "1.0.0-rc.1", &[], "c1", "only", 5.0, false),
        ]);
        assert_eq!(
            (catalog.node(&asks("f")), catalog.node(&asks("g"))),
            ("stable".to_owned(), "only".to_owned())
        );
        let constraint = Constraint::parse("2.0.0-beta.1").unwrap();
        assert_eq!(catalog.node(&Demands { constraint: Some(&constraint), ..asks("f") }), "canary");
    }

    #[test]
    fn ties_do_not_depend_on_the_order_of_the_catalog() {
        let mut catalog = Catalog::of(&[
            ("f", "f", "1.0.0", &[], "c1", "b", 1.0, false),
            ("f", "f", "1.0.0", &[], "c1", "a", 1.0, false),
        ]);
        assert_eq!(catalog.node(&asks("f")), "a");
        catalog.0.reverse();
        assert_eq!(catalog.node(&asks("f")), "a");
    }

    #[test]
    fn a_name_that_nobody_has_is_simply_not_found() {
        let catalog = Catalog::of(&[("f", "id-77", "1.0.0", &[], "c1", "n", 1.0, false)]);
        let error = |fun| choose(catalog.candidates(), &asks(fun), "c1").unwrap_err();
        assert_eq!(error("work.do"), CallError::not_found("work.do"));
        assert_eq!(error("work.do").details, Some("Command not found: work.do".into()));
        assert_eq!((error("").details, error("id-77").code), (None, 1001));
        let by_id = Demands { function_id: Some("id-77"), ..asks("id-77") };
        assert_eq!(catalog.why_not(&by_id), "Command not found: id-77");
    }

    #[test]
    fn an_unmet_demand_is_named_with_what_there_is() {
        let catalog = Catalog::of(&[
            ("work.do", "id-77", "1.4.0", &["big", "gpu"], "c1", "n", 1.0, false),
            ("work.do", "id-77", "1.5.0", &[], "c2", "n", 1.0, false),
        ]);
        let nine = Constraint::parse(">=9").unwrap();
        let newer = Constraint::parse(">=1.5").unwrap();
        let locs = [Cow::Borrowed("gpu"), Cow::Borrowed("tape")];
        let gpu = [Cow::Borrowed("gpu")];
        let work = asks("work.do");
        for (demands, text) in [
            (
                Demands { constraint: Some(&nine), constraint_text: ">=9", ..work },
                "Command not found: work.do (no endpoint has version >=9; offered: 1.4.0, 1.5.0)",
            ),
            (
                Demands { function_id: Some("x"), ..work },
                "Command not found: work.do (no endpoint has function_id x; offered: id-77)",
            ),
            (
                Demands { locs: &locs, ..work },
                "Command not found: work.do (no endpoint has the resources gpu, tape; offered: big+gpu, no resources)",
            ),
            (
                Demands { target_cluster: Some("c3"), ..work },
                "Command not found: work.do (no endpoint is in cluster c3; offered: c1, c2)",
            ),
            (
                Demands { constraint: Some(&newer), constraint_text: ">=1.5", locs: &gpu, ..work },
                "Command not found: work.do (no endpoint that has version >=1.5 has the resources gpu; offered: no resources)",
            ),
        ] {
            assert_eq!(catalog.why_not(&demands), text);
        }
    }

    #[test]
    fn the_text_has_a_bound() {
        let long = "ö".repeat(5000);
        let versions: Vec<String> = (0..300).map(|i| format!("1.{i}.0-{}", "x".repeat(200))).collect();
        let resources: Vec<String> = (0..30).map(|i| format!("{i}{long}")).collect();
        let resources: Vec<&str> = resources.iter().map(String::as_str).collect();
        let rows: Vec<Row<'_>> = versions
            .iter()
            .map(|v| (long.as_str(), long.as_str(), v.as_str(), &resources[..], "c1", "n", 1.0, false))
            .collect();
        let catalog = Catalog::of(&rows);
        let constraint = Constraint::parse(">1").unwrap();
        let locs: Vec<Cow<'_, str>> = resources.iter().map(|r| Cow::Borrowed(*r)).collect();
        let all = Demands { function_id: Some(&long), constraint_text: &long, locs: &locs, ..asks(&long) };
        for demands in [
            Demands { constraint: Some(&constraint), ..all },
            Demands { target_cluster: Some("far"), ..all },
            Demands { locs: &[Cow::Borrowed("gpu")], ..all },
        ] {
            let text = catalog.why_not(&demands);
            assert!(text.chars().count() < 1500, "{}", text.chars().count());
        }
    }
}
