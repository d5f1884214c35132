//! Why a call, a publication or a message for a cluster goes where it goes: the answer of one node, and the question
//! for the next.
//!
//! Questions only: what forwarding decides is asked of the very functions that forwarding uses. Nothing is executed,
//! sent or counted, and the rotation over ways of equal cost is not moved. Whoever asks for a whole way puts the
//! question of each [`Next`] to its node, which goes on from there as the message itself would.

mod shape;
mod topic;

use super::onward::{Stage, Stuck, constraint_of, exceeds};
use super::publish::{Copies, Relay};
use super::trace::{Trace, TracedRoute, signature};
use super::way::{By, Hop, NoWay, Visited};
use super::*;
use crate::core::catalog::Leased;
use crate::core::discovery::{is_builtin, is_builtin_name};
use crate::core::pubsub::pattern::Pattern;
use crate::core::rpc::select::{Demands, Field, choose, least_load, unmet};
use crate::core::rpc::version::Constraint;
use crate::wire::fabric::{RpcRequest, Str, empty_object};
use shape::NODES_MAX;
pub use shape::{About, Endpoint, Fact, Next, Passage, Question, Sought, Step, Subscriber, Verdict};

/// The function by which clients and nodes ask; it is in no catalog.
pub const FUNCTION: &str = "mpreg.explain";

/// Why there is a hop, kept beyond the question.
#[derive(Default)]
struct Because {
    by: &'static str,
    ways: Option<link_state::NextHop>,
    route: Option<Route>,
}

type Route = crate::core::route::Route;

impl Because {
    fn note(&mut self, by: By<'_>) {
        let (word, ways, route) = match by {
            By::Link => ("link", None, None),
            By::OwnCluster => ("own_cluster", None, None),
            By::LinkState(next) => ("link_state", Some(next.clone()), None),
            By::Route(route) => ("route", None, Some(route.clone())),
            By::Neighbour => ("neighbour", None, None),
        };
        *self = Because { by: word, ways, route };
    }
}

impl Fabric {
    /// What this node does with what a question is about.
    pub fn explain(&mut self, question: &Question, now: Now) -> Result<Step, CallError> {
        question.check()?;
        let budget = question.nodes_max.min(NODES_MAX).saturating_sub(1);
        let mut step = match (&question.about, &question.passage) {
            (About::Call(sought), None) => self.explain_call(sought, now)?,
            (About::Call(sought), Some(passage)) => self.explain_passing(sought, passage, now)?,
            (About::Topic { topic }, passage) => self.explain_topic(topic, passage.as_ref(), now),
            (About::Route { cluster, avoid }, passage) => {
                self.explain_route(cluster, avoid, passage.as_ref(), now)
            }
        };
        let mut left = budget;
        let mut waiting = step.next.iter().filter(|n| n.question.is_some()).count() as u32;
        for next in &mut step.next {
            let Some(asked) = &mut next.question else { continue };
            let share = left.checked_div(waiting).unwrap_or_default();
            (left, waiting) = (left - share, waiting - 1);
            asked.nodes_max = share;
        }
        Ok(step)
    }

    /// A call of a client of this node.
    pub fn explain_call(&mut self, sought: &Sought, now: Now) -> Result<Step, CallError> {
        let constraint = sought.version_constraint.as_deref().map(Constraint::parse).transpose();
        let constraint = constraint.map_err(|bad| bad.error())?;
        let locs: Vec<_> = sought.locs.iter().map(|l| std::borrow::Cow::Borrowed(&**l)).collect();
        let demands = Demands {
            fun: &sought.fun,
            function_id: sought.function_id.as_deref(),
            constraint: constraint.as_ref(),
            constraint_text: sought.version_constraint.as_deref().unwrap_or_default(),
            locs: &locs,
            target_cluster: sought.target_cluster.as_deref(),
        };
        let (own, home) = (self.node_id().clone(), self.cluster_id().clone());
        let at_home = sought.target_cluster.as_deref().is_none_or(|c| !self.is_foreign(c));
        if (is_builtin(&sought.fun) || *sought.fun == *FUNCTION) && at_home {
            let demands = Demands { fun: &sought.fun, ..Demands::default() };
            let candidates = self.endpoints(&demands, Some((&home, &own, None)), now);
            let text = format!("{} is answered by every node itself", sought.fun);
            return Ok(self.step(now, Verdict::reached("runs_here", text)).with_candidates(candidates));
        }
        let functions: Vec<_> = self.catalog.functions_named(&sought.fun).cloned().collect();
        let here = functions.iter().map(|f| self.candidate(f, now)).filter(|c| c.local);
        let here = choose(here, &demands, self.cluster_id()).ok().map(|chosen| chosen.version.clone());
        let chosen = self.choose_endpoint(&demands, &[], now);
        let is_best = chosen.as_ref().is_ok_and(|chosen| chosen.node == own && chosen.cluster == home);
        // What every node has runs where it is asked, whatever the load.
        if let Some(version) = here.filter(|_| is_best || is_builtin_name(&sought.fun)) {
            let candidates = self.endpoints(&demands, Some((&home, &own, Some(&version))), now);
            let verdict = Verdict::reached("runs_here", "this node serves it itself");
            return Ok(self.step(now, verdict).with_candidates(candidates));
        }
        let chosen = match chosen {
            Ok(chosen) => chosen,
            Err(error) => {
                let candidates = self.endpoints(&demands, None, now);
                let text = error.details.as_ref().and_then(|d| d.as_str()).unwrap_or(&error.message);
                let verdict = Verdict::ended("function_not_found", text);
                return Ok(self.step(now, verdict).with_candidates(candidates));
            }
        };
        let it = (&chosen.cluster, &chosen.node, Some(&chosen.version));
        let candidates = self.endpoints(&demands, Some(it), now);
        if !self.own.routing {
            let verdict = Verdict::because(Reason::RoutingOff);
            return Ok(self.step(now, verdict).with_candidates(candidates));
        }
        let leaves = self.is_foreign(&chosen.cluster);
        let passage = Passage {
            nodes: vec![own.clone()],
            clusters: leaves.then(|| home.clone()).into_iter().collect(),
            caller_cluster: home,
            hop_budget: Some(self.own.hops_max),
            remaining_hops: leaves.then_some(self.own.hops_max - 1),
            target_cluster: Some(chosen.cluster.clone()),
            target_node: Some(chosen.node.clone()),
            ..Passage::default()
        };
        let mut because = Because::default();
        let visited = Visited { nodes: &[&own], ..Visited::default() };
        let way = self.way_without_turn(&chosen.cluster, &chosen.node, visited, &mut |by| because.note(by));
        let step = match way {
            Ok(hop) => {
                let question = Question { passage: Some(passage), ..call(sought) };
                let next = self.next_step(hop, because, (&chosen.cluster, &chosen.node), Some(question), now);
                self.step(now, Verdict::forwarded(&next.node)).with_next(vec![next])
            }
            Err(no_way) => self.step(now, Verdict::no_way(no_way)),
        };
        Ok(step.with_candidates(candidates))
    }

    /// A call that another node would send here.
    fn explain_passing(&mut self, sought: &Sought, passage: &Passage, now: Now) -> Result<Step, CallError> {
        let mut request = RpcRequest::new("", &sought.fun, empty_object(), empty_object(), "");
        request.resources = sought.locs.iter().map(Str::from).collect();
        request.function_id = sought.function_id.as_ref().map(Str::from);
        request.version_constraint = sought.version_constraint.as_ref().map(Str::from);
        request.target_node = passage.target_node.as_ref().map(Str::from);
        constraint_of(&request).map_err(|bad| bad.error())?;
        let peer = passage.nodes.last().map(|n| &**n).unwrap_or_default();
        let caller = passage.nodes.first().map(|n| &**n).unwrap_or_default();
        let speaker = self.membership.peer(peer).map_or(self.cluster_id(), |p| &p.cluster_id);
        let verdict = match self.vouched(speaker, Some(&passage.caller_cluster), caller) {
            Err(reason) => Err(Verdict::because(reason)),
            Ok(caller) => match self.stage(&request, passage.target_cluster.as_deref(), &caller) {
                Stage::Execute => Err(Verdict::reached("runs_here", "this node serves it")),
                Stage::Refused(reason) => Err(Verdict::because(reason)),
                Stage::Isolated => Err(Verdict::because(Reason::ClusterRefused)),
                Stage::RoutingOff => Err(Verdict::because(Reason::RoutingOff)),
                Stage::Forward(target) => Ok((caller, target)),
            },
        };
        let (step, chosen) = match verdict {
            Err(verdict) => {
                let it = passage.target_node.clone().filter(|_| verdict.found);
                (self.step(now, verdict), it)
            }
            Ok((caller, target)) => self.explain_onward(&request, (sought, passage), caller, &target, now),
        };
        let named = passage.target_node.as_deref();
        let home = self.cluster_id().clone();
        let target = passage.target_cluster.as_ref().unwrap_or(&home);
        let demands = Demands {
            fun: &sought.fun,
            function_id: sought.function_id.as_deref(),
            target_cluster: Some(target),
            ..Demands::default()
        };
        let it = chosen.as_ref().map(|node| (target, node, None));
        // Whom the first node did not choose is its own matter.
        let mut candidates = self.endpoints(&demands, it, now);
        candidates.0.retain(|c| named.is_some_and(|named| *c.node == *named));
        Ok(step.with_candidates((candidates.0, 0)))
    }

    fn explain_onward(
        &mut self,
        request: &RpcRequest,
        (sought, passage): (&Sought, &Passage),
        caller: Text,
        target: &Text,
        now: Now,
    ) -> (Step, Option<Text>) {
        let peer = passage.nodes.last().cloned().unwrap_or_else(|| "".into());
        let hops = [passage.hop_budget, passage.remaining_hops];
        let journey =
            match self.journey_of(caller, passage.clusters.clone(), passage.nodes.clone(), &peer, hops) {
                Ok(journey) => journey,
                Err(no_way) => return (self.step(now, Verdict::no_way(no_way)), None),
            };
        let mut because = Because::default();
        let way = |fabric: &mut Fabric, cluster: &str, node: &str, visited: Visited<'_>| {
            fabric.way_without_turn(cluster, node, visited, &mut |by| because.note(by))
        };
        let (node, hop) = match self.onward(request, target, &journey, now, way) {
            Ok(onward) => onward,
            Err(stuck) => {
                let verdict = match stuck {
                    Stuck::NotFound => Verdict::because(Reason::FunctionNotFound),
                    Stuck::Loop => Verdict::because(Reason::RouteLoop),
                    Stuck::NoWay(no_way) => Verdict::no_way(no_way),
                };
                return (self.step(now, verdict), None);
            }
        };
        let budget = passage.hop_budget.unwrap_or(self.own.hops_max).min(self.own.hops_max);
        if let Some(verdict) = self.header_refusal(passage, budget) {
            return (self.step(now, verdict), Some(node));
        }
        let mut onward = Passage {
            caller_cluster: journey.caller_cluster.clone(),
            hop_budget: Some(budget),
            target_cluster: Some(target.clone()),
            target_node: Some(node.clone()),
            ..passage.clone()
        };
        onward.nodes.push(self.node_id().clone());
        if self.is_foreign(target) {
            onward.clusters = journey.clusters.iter().chain([self.cluster_id()]).cloned().collect();
            let crosses = self.membership.cluster_of(hop.1).is_some_and(|c| c != self.cluster_id());
            onward.remaining_hops = Some(journey.hops - i64::from(crosses));
        }
        let question = Question { passage: Some(onward), ..call(sought) };
        let next = self.next_step(hop, because, (target, &node), Some(question), now);
        (self.step(now, Verdict::forwarded(&next.node)).with_next(vec![next]), Some(node))
    }

    /// What 11.2 says of a message that this node would pass on.
    fn header_refusal(&self, passage: &Passage, budget: i64) -> Option<Verdict> {
        if passage.nodes.contains(self.node_id()) {
            return Some(Verdict::because(Reason::RouteLoop));
        }
        exceeds(passage.nodes.len(), budget).then(|| Verdict::because(Reason::HopBudget))
    }

    /// A message for any node of a cluster, around those to avoid.
    pub fn explain_route(
        &mut self,
        cluster: &Text,
        avoid: &[Text],
        passage: Option<&Passage>,
        now: Now,
    ) -> Step {
        let mut onward = passage.cloned().unwrap_or_default();
        let budget = onward.hop_budget.unwrap_or(self.own.hops_max).min(self.own.hops_max);
        let from_own_cluster = onward.nodes.last().is_some_and(|peer| self.is_from_own_cluster(peer));
        if !self.is_foreign(cluster) {
            let text = format!("this node is one of {cluster}");
            return self.step(now, Verdict::reached("arrived", text));
        }
        let behind: Vec<Text> = onward.clusters.iter().filter(|c| *c != self.cluster_id()).cloned().collect();
        let avoided: Vec<Text> = avoid.iter().chain(&behind).cloned().collect();
        let trace = Box::new(self.trace(cluster, &avoided, now));
        let verdict = if !self.is_bridging() {
            Some(Verdict::because(Reason::ClusterRefused))
        } else if !self.own.routing {
            Some(Verdict::because(Reason::RoutingOff))
        } else {
            passage.and_then(|p| self.header_refusal(p, budget))
        };
        if let Some(verdict) = verdict {
            return Step { trace: Some(trace), ..self.step(now, verdict) };
        }
        onward.hop_budget = Some(budget);
        onward.nodes.push(self.node_id().clone());
        let nodes: Vec<&str> = onward.nodes.iter().map(|n| &**n).collect();
        let visited = Visited { nodes: &nodes, clusters: &avoided, from_own_cluster };
        let mut because = Because::default();
        let way = self.way_without_turn(cluster, "", visited, &mut |by| because.note(by));
        let step = match way {
            Ok(hop) => {
                if onward.clusters.last() != Some(self.cluster_id()) {
                    onward.clusters.push(self.cluster_id().clone());
                }
                let about = About::Route { cluster: cluster.clone(), avoid: avoid.to_vec() };
                let question = Question { passage: Some(onward), ..Question::new(about) };
                let next = self.next_step(hop, because, (cluster, ""), Some(question), now);
                self.step(now, Verdict::forwarded(&next.node)).with_next(vec![next])
            }
            Err(no_way) => self.step(now, Verdict::no_way(no_way)),
        };
        Step { trace: Some(trace), ..step }
    }

    fn step(&self, now: Now, verdict: Verdict) -> Step {
        Step {
            node: self.node_id().clone(),
            cluster: self.cluster_id().clone(),
            evaluated_at: now.wall,
            candidates: None,
            subscribers: None,
            left_off: 0,
            trace: None,
            verdict,
            next: Vec::new(),
        }
    }

    fn next_step(
        &self,
        (node, _): Hop,
        because: Because,
        (cluster, target): (&str, &str),
        question: Option<Question>,
        now: Now,
    ) -> Next {
        Next {
            cluster: self.membership.peer(&node).map(|p| p.cluster_id.clone()),
            by: because.by,
            told_by: self.told_by.of(cluster, target).filter(|_| because.by != "link").map(Text::from),
            ways: because.ways,
            route: because.route.map(|route| self.shown(&route, &[], now)),
            relays_to: Vec::new(),
            question,
            node,
        }
    }

    /// All endpoints of a name, the chosen one first, each with the first thing that speaks against it; and how many
    /// are left off. The version says which of several functions of the chosen node it is.
    fn endpoints(
        &mut self,
        demands: &Demands<'_>,
        chosen: Option<(&Text, &Text, Option<&semver::Version>)>,
        now: Now,
    ) -> (Vec<Endpoint>, usize) {
        let functions: Vec<_> = self.catalog.functions_named(demands.fun).cloned().collect();
        let is_chosen = |f: &FunctionEntry| {
            chosen.is_some_and(|(cluster, node, version)| {
                f.cluster_id == *cluster
                    && f.node_id == *node
                    && version.is_none_or(|v| f.identity.version.0 == *v)
                    && unmet(&self.candidate(f, now), demands).is_none()
            })
        };
        let winner = functions.iter().position(|f| is_chosen(f));
        let reachable = functions.iter().filter(|f| self.reaches(&f.cluster_id, &f.node_id));
        let candidates = reachable.map(|f| self.candidate(f, now));
        let least = least_load(candidates, demands, self.cluster_id());
        let mut shown = Vec::new();
        for (n, entry) in functions.iter().enumerate() {
            let against = match winner {
                Some(w) if w == n => None,
                _ => {
                    let winner = winner.and_then(|w| functions.get(w));
                    Some(self.against(entry, winner.map(|w| &**w), demands, (least, now)))
                }
            };
            let candidate = self.candidate(entry, now);
            shown.push(Endpoint {
                cluster: entry.cluster_id.clone(),
                node: entry.node_id.clone(),
                function_id: entry.identity.function_id.clone(),
                version: candidate.version.to_string(),
                resources: entry.resources.clone(),
                load: candidate.load,
                fact: self.fact(&**entry, now),
                chosen: against.is_none(),
                rejected_for: against.as_ref().map(|(word, _)| *word),
                text: against.map(|(_, text)| text).unwrap_or_default(),
            });
        }
        shown.sort_by_key(|e| !e.chosen);
        let left_off = shown.len().saturating_sub(SHOWN_MAX);
        shown.truncate(SHOWN_MAX);
        (shown, left_off)
    }

    /// The first thing that speaks against an endpoint, as a word and in full.
    fn against(
        &mut self,
        entry: &FunctionEntry,
        winner: Option<&FunctionEntry>,
        demands: &Demands<'_>,
        (least_load, now): (f64, Now),
    ) -> (&'static str, String) {
        let candidate = self.candidate(entry, now);
        if let Some(demand) = unmet(&candidate, demands) {
            return (demand.word(), format!("its {} is {}", demand.word(), demand.offered(&candidate)));
        }
        if !candidate.local && !self.reaches(&entry.cluster_id, &entry.node_id) {
            let own = self.node_id().clone();
            let visited = Visited { nodes: &[&own], ..Visited::default() };
            let decision = self.decision(&entry.cluster_id, &entry.node_id, visited);
            let why = decision.reason.unwrap_or("no link");
            return ("unreachable", format!("no way leads to it ({why})"));
        }
        let Some(winner) = winner.map(|w| self.candidate(w, now)) else {
            return ("not_asked", "another node was asked".to_owned());
        };
        if winner.local && is_builtin_name(demands.fun) {
            return ("other_node", "this node answers it itself".to_owned());
        }
        let field = Field { demands, own_cluster: self.cluster_id(), least_load };
        let rank = field.deciding(&winner, &candidate);
        let text = match rank.map(|r| r.word()) {
            Some("higher_load") => {
                let silent = self.membership.peer(candidate.node).is_none();
                let unknown = if silent { ", which counts so where it is not known" } else { "" };
                format!("load {}{unknown}; the chosen one has {}", candidate.load, winner.load)
            }
            Some("lower_version") => format!("the chosen one has the higher version {}", winner.version),
            Some("unasked_prerelease") => "a pre-release that was not asked for".to_owned(),
            Some("other_node") => "this node serves it itself and is not much busier".to_owned(),
            Some("other_cluster") => format!("{} offers it itself", self.cluster_id()),
            Some("later_name") => "equal in all; the first name is taken".to_owned(),
            _ => "the same as the chosen one".to_owned(),
        };
        (rank.map_or("same", |r| r.word()), text)
    }

    fn fact(&self, entry: &impl Leased, now: Now) -> Fact {
        let (cluster, node) = (entry.cluster_id(), entry.node_id());
        let told_by = match self.membership.link_to(node) {
            _ if node == self.node_id() => None,
            Some(_) => Some(node.clone()),
            None => self.told_by.of(cluster, node).map(Text::from),
        };
        let best = self.routes.table().best(cluster).filter(|_| self.is_foreign(cluster));
        Fact {
            age_seconds: (now.wall - entry.advertised_at()).max(0.0),
            expires_in_seconds: entry.ends_at() - now.wall,
            told_by,
            route_signature: best.map(signature),
        }
    }
}

fn call(sought: &Sought) -> Question {
    Question::new(About::Call(sought.clone()))
}

/// Candidates and subscribers that one node shows.
const SHOWN_MAX: usize = 64;
