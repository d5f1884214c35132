//! Which node runs a call, and where a call that passes through goes on (fabric.md 12.4, 12.8, 13). Forwarding and
//! explanations ask the same questions here; nothing is sent or counted.

use super::way::{Hop, NoWay, Visited};
use super::*;
use crate::core::catalog::IDEMPOTENT_TAG;
use crate::core::rpc::select::{Candidate, Demands, choose, unmet};
use crate::core::rpc::version::{BadConstraint, Constraint};
use crate::wire::fabric::RpcRequest;

/// A node that offers what is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    pub cluster: Text,
    pub node: Text,
    pub version: semver::Version,
    pub idempotent: bool,
}

/// Who asks, and what a request has behind it and before it.
#[derive(Debug)]
pub(super) struct Journey {
    pub caller_cluster: Text,
    /// Clusters that the request has passed, without the own one at the end.
    pub clusters: Vec<Text>,
    /// How many more clusters it may enter.
    pub hops: i64,
    /// Nodes that it has passed.
    pub nodes: Vec<Text>,
    pub from_own_cluster: bool,
}

/// What this node does with a request of another one (12.4).
#[derive(Debug, PartialEq)]
pub(super) enum Stage {
    Execute,
    /// The cluster that asks may not call it.
    Refused(Reason),
    /// It is for another cluster, and this one has nothing to do with others.
    Isolated,
    RoutingOff,
    /// It goes on to this cluster.
    Forward(Text),
}

/// Why a call does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stuck {
    /// Nobody here offers it.
    NotFound,
    /// Everybody who offers it has passed it on already.
    Loop,
    NoWay(NoWay),
}

impl Fabric {
    /// The node for a command of a client of this one, from all that the catalog knows but the nodes that were tried.
    pub fn choose_endpoint(
        &self,
        demands: &Demands<'_>,
        tried: &[Text],
        now: Now,
    ) -> Result<Chosen, CallError> {
        let functions = self.catalog.functions_named(demands.fun);
        let functions: Vec<_> = functions.filter(|f| !tried.contains(&f.node_id)).collect();
        let candidates = functions.iter().map(|f| self.candidate(f, now));
        // A node without a link is only chosen where nobody better offers the function.
        let fits = |c: &Candidate<'_>| unmet(c, demands).is_none() && self.reaches(c.cluster, c.node);
        let reachable: Vec<_> = candidates.clone().filter(fits).collect();
        let chosen = choose(reachable.iter().copied(), demands, self.cluster_id())
            .or_else(|_| choose(candidates, demands, self.cluster_id()))?;
        let is_it = |f: &&&Arc<FunctionEntry>| {
            *f.node_id == *chosen.node
                && *f.cluster_id == *chosen.cluster
                && f.identity.version.0 == *chosen.version
        };
        let idempotent =
            functions.iter().find(is_it).is_some_and(|f| f.tags.iter().any(|t| **t == *IDEMPOTENT_TAG));
        Ok(Chosen {
            cluster: chosen.cluster.into(),
            node: chosen.node.into(),
            version: chosen.version.clone(),
            idempotent,
        })
    }

    /// The load is that of this moment, the same for each function of a node.
    pub(super) fn candidate<'a>(&self, f: &'a FunctionEntry, now: Now) -> Candidate<'a> {
        let local = f.node_id == *self.node_id();
        Candidate {
            name: &f.identity.name,
            function_id: &f.identity.function_id,
            version: &f.identity.version.0,
            resources: &f.resources,
            cluster: &f.cluster_id,
            node: &f.node_id,
            load: if local {
                self.active_clients as f64
            } else {
                self.membership.load_score(&f.node_id, now)
            },
            local,
        }
    }

    /// The cluster in whose name a member of the cluster `speaker` asks, as far as it may be believed: a member of ours is,
    /// a neighbour may ask for itself and for those behind it, and for no node that is known to be of another cluster.
    pub(super) fn vouched(
        &self,
        speaker: &Text,
        source: Option<&Text>,
        caller: &str,
    ) -> Result<Text, Reason> {
        let source = source.filter(|c| !c.is_empty()).unwrap_or(speaker);
        if *speaker == *self.cluster_id() {
            return Ok(source.clone());
        }
        self.may_come_from(speaker, source)?;
        // What a peer has not said of itself is only supposed.
        let said = self.membership.peer(caller).filter(|peer| peer.report.is_some());
        let elsewhere = said.is_some_and(|peer| peer.cluster_id != *source);
        let is_ours = *caller == **self.node_id() || self.catalog.node(self.cluster_id(), caller).is_some();
        if elsewhere || is_ours { Err(Reason::NotEntitled) } else { Ok(source.clone()) }
    }

    pub(super) fn stage(&self, request: &RpcRequest, cluster: Option<&str>, caller_cluster: &str) -> Stage {
        let own = self.node_id();
        let leaves = cluster.is_some_and(|c| self.is_foreign(c));
        let here = !leaves && request.target_node.as_ref().is_none_or(|node| **node == **own);
        if !leaves
            && self.is_foreign(caller_cluster)
            && let Err(reason) = self.federation.may_call(caller_cluster, &request.command)
        {
            return Stage::Refused(reason);
        }
        // A question between nodes: no entry of the catalog says who answers it.
        let is_question = *request.command == *explain::FUNCTION && request.target_node.is_some();
        if here && (is_question || self.offers(request).any(|f| f.node_id == *own)) {
            return Stage::Execute;
        }
        if leaves && !self.is_bridging() {
            return Stage::Isolated;
        }
        if !self.own.routing {
            return Stage::RoutingOff;
        }
        Stage::Forward(cluster.unwrap_or(self.cluster_id()).into())
    }

    pub(super) fn journey_of(
        &self,
        caller_cluster: Text,
        mut clusters: Vec<Text>,
        nodes: Vec<Text>,
        peer: &str,
        hops: [Option<i64>; 2],
    ) -> Result<Journey, NoWay> {
        let own = self.cluster_id();
        if clusters.last() == Some(own) {
            clusters.pop();
        }
        if clusters.contains(own) {
            return Err(NoWay::LoopDetected);
        }
        Ok(Journey {
            caller_cluster,
            clusters,
            hops: hops.into_iter().flatten().fold(self.own.hops_max, i64::min),
            nodes,
            from_own_cluster: self.is_from_own_cluster(peer),
        })
    }

    /// Which node is to run a request that is not for this one, and the way there. Local first, then what is linked,
    /// then by load; a foreign cluster only where it is asked for or ours has nobody.
    pub(super) fn onward(
        &mut self,
        request: &RpcRequest,
        target: &Text,
        journey: &Journey,
        now: Now,
        mut way: impl FnMut(&mut Fabric, &str, &str, Visited) -> Result<Hop, NoWay>,
    ) -> Result<(Text, Hop), Stuck> {
        let mut nodes = self.who_may_run(request, target, now);
        if nodes.is_empty() {
            return Err(Stuck::NotFound);
        }
        let visited: Vec<&str> = journey.nodes.iter().map(|n| &**n).collect();
        nodes.retain(|node| !visited.contains(&&**node));
        if nodes.is_empty() {
            return Err(Stuck::Loop);
        }
        if self.is_foreign(target) && journey.hops <= 0 {
            return Err(Stuck::NoWay(NoWay::HopBudgetExhausted));
        }
        let visited = Visited {
            nodes: &visited,
            clusters: &journey.clusters,
            from_own_cluster: journey.from_own_cluster,
        };
        let mut no_way = NoWay::NoFabricPath;
        for node in nodes {
            match way(self, target, &node, visited) {
                Ok(hop) => return Ok((node, hop)),
                Err(none) => no_way = none,
            }
        }
        Err(Stuck::NoWay(no_way))
    }

    /// The other nodes of the target that a request may be for, the best first.
    fn who_may_run(&self, request: &RpcRequest, target: &Text, now: Now) -> Vec<Text> {
        let named = request.target_node.as_deref();
        let is_meant = |f: &&Arc<FunctionEntry>| {
            f.cluster_id == *target
                && f.node_id != *self.node_id()
                && named.is_none_or(|named| *f.node_id == *named)
        };
        let rank = |f: &Arc<FunctionEntry>| {
            let far = self.membership.link_to(&f.node_id).is_none();
            (far, self.membership.load_score(&f.node_id, now), f.node_id.clone())
        };
        let mut nodes: Vec<(bool, f64, Text)> = self.matching(request).filter(is_meant).map(rank).collect();
        nodes.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)));
        let nodes: Vec<Text> = nodes.into_iter().map(|(_, _, node)| node).collect();
        match named {
            // Another cluster knows best who serves it: a node that was named there need not be known here.
            Some(named) if nodes.is_empty() && self.is_foreign(target) => vec![named.into()],
            _ => nodes,
        }
    }

    /// The functions in our cluster that a request may mean.
    fn offers<'s>(&'s self, request: &'s RpcRequest<'_>) -> impl Iterator<Item = &'s Arc<FunctionEntry>> {
        self.matching(request).filter(|f| f.cluster_id == *self.cluster_id())
    }

    /// The functions of all clusters that a request may mean.
    fn matching<'s>(&'s self, request: &'s RpcRequest<'_>) -> impl Iterator<Item = &'s Arc<FunctionEntry>> {
        // One that cannot be read was answered before.
        let constraint = constraint_of(request).ok().flatten();
        self.catalog.functions_named(&request.command).filter(move |f| {
            request.function_id.as_ref().is_none_or(|id| **id == *f.identity.function_id)
                && constraint.as_ref().is_none_or(|c| c.accepts(&f.identity.version.0))
                && request.resources.iter().all(|r| f.resources.iter().any(|have| **have == **r))
        })
    }
}

/// The version constraint of a request, read.
pub(super) fn constraint_of(request: &RpcRequest<'_>) -> Result<Option<Constraint>, BadConstraint> {
    request.version_constraint.as_ref().map(|text| Constraint::parse(text)).transpose()
}

/// Whether a message that `passed` nodes have sent, this one not counted, has gone too far (11.2).
pub(super) fn exceeds(passed: usize, budget: i64) -> bool {
    i64::try_from(passed).unwrap_or(i64::MAX) > budget
}
