//! Where a message goes next (fabric.md 13): straight to its node, through the own cluster, or over the clusters that
//! link state and routes name, in that order. Nothing is ever handed to a neighbour at random: where nobody leads to
//! the target, that is the answer, with its reason.

use super::*;
use crate::core::link_state::{Mode, NextHop};
use crate::core::route::{Route, Via};

/// Where a message has been, and so does not go.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Visited<'a> {
    pub nodes: &'a [&'a str],
    pub clusters: &'a [Text],
    /// The message came from another node of our cluster, which chose this one as its way out: it leaves over links
    /// of this node where there are any, so that two border nodes never hand it to each other.
    pub from_own_cluster: bool,
}

/// Why a message goes nowhere; the words of 13.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoWay {
    LoopDetected,
    HopBudgetExhausted,
    NoFabricPath,
    NoPeerForNextHop,
}

impl NoWay {
    pub fn word(self) -> &'static str {
        match self {
            NoWay::LoopDetected => "loop_detected",
            NoWay::HopBudgetExhausted => "hop_budget_exhausted",
            NoWay::NoFabricPath => "no_fabric_path",
            NoWay::NoPeerForNextHop => "no_peer_for_next_hop",
        }
    }

    pub fn of_word(word: &str) -> Option<NoWay> {
        use NoWay::*;
        let all = [LoopDetected, HopBudgetExhausted, NoFabricPath, NoPeerForNextHop];
        all.into_iter().find(|no_way| no_way.word() == word)
    }

    pub fn reason(self) -> Reason {
        match self {
            NoWay::LoopDetected => Reason::RouteLoop,
            NoWay::HopBudgetExhausted => Reason::HopBudget,
            NoWay::NoFabricPath | NoWay::NoPeerForNextHop => Reason::NoRoute,
        }
    }
}

/// What led to a hop.
#[derive(Debug)]
pub(super) enum By<'a> {
    /// A link to the very node.
    Link,
    /// Within the own cluster, the peer that told of the node.
    OwnCluster,
    LinkState(&'a NextHop),
    Route(&'a Route),
    /// No route is known, but a node of that cluster is linked.
    Neighbour,
}

/// A node to send to and the link to it.
pub(super) type Hop = (Text, LinkId);

/// Who told of a node last, by its cluster and itself: a node id says nothing outside of its cluster.
#[derive(Debug, Default)]
pub(super) struct Tellers {
    peers: BTreeMap<Text, BTreeMap<Text, Text>>,
    count: usize,
}

impl Tellers {
    pub fn of(&self, cluster: &str, node: &str) -> Option<&str> {
        self.peers.get(cluster)?.get(node).map(|peer| &**peer)
    }

    pub fn add(&mut self, cluster: &Text, node: &Text, peer: &Text) {
        if self.of(cluster, node) == Some(peer) {
            return;
        }
        let nodes = self.peers.entry(cluster.clone()).or_default();
        self.count += usize::from(nodes.insert(node.clone(), peer.clone()).is_none());
    }

    pub fn remove(&mut self, cluster: &str, node: &str) {
        let Some(nodes) = self.peers.get_mut(cluster) else { return };
        self.count -= usize::from(nodes.remove(node).is_some());
        if nodes.is_empty() {
            self.peers.remove(cluster);
        }
    }

    /// Cluster, node, and who told of it.
    pub fn all(&self) -> impl Iterator<Item = (&Text, &Text, &Text)> {
        self.peers
            .iter()
            .flat_map(|(cluster, nodes)| nodes.iter().map(move |(node, peer)| (cluster, node, peer)))
    }

    /// Forgets nodes for which `is_known` does not hold.
    pub fn retain(&mut self, is_known: impl Fn(&Text, &Text) -> bool) {
        self.peers.retain(|cluster, nodes| {
            nodes.retain(|node, _| is_known(cluster, node));
            !nodes.is_empty()
        });
        self.count = self.peers.values().map(BTreeMap::len).sum();
    }

    pub fn len(&self) -> usize {
        self.count
    }
}

impl Fabric {
    /// Whether a peer that handed a message here is of this cluster.
    pub(super) fn is_from_own_cluster(&self, peer: &str) -> bool {
        self.membership.peer(peer).is_none_or(|p| p.cluster_id == *self.cluster_id())
    }

    /// Whether a message for `node` can be sent at all; this node reaches itself.
    pub fn reaches(&self, cluster: &str, node: &str) -> bool {
        let anywhere = Visited::default();
        if self.linked(cluster, node).is_some() {
            return true;
        }
        if *cluster == **self.cluster_id() {
            return *node == **self.node_id() || self.hop_within(node, anywhere).is_some();
        }
        let mode = self.link_state.mode();
        let by_routes = || mode != Mode::Only && self.by_routes(cluster, node, anywhere).is_ok();
        let by_links = || mode != Mode::Disabled && self.link_state.reaches(cluster);
        self.is_bridging()
            && (self.gateway(cluster, (cluster, node), anywhere).is_some() || by_links() || by_routes())
    }

    /// The next hop of a message for `node` of `cluster`; `node` may be empty where any of that cluster will do.
    pub(super) fn way_to(&mut self, cluster: &str, node: &str, visited: Visited) -> Result<Hop, NoWay> {
        self.way(cluster, node, visited, LinkState::next, &mut |_| ())
    }

    /// The same as an answer to a question, with what led there: who comes after it goes where he would have gone.
    pub(super) fn way_without_turn(
        &mut self,
        cluster: &str,
        node: &str,
        visited: Visited,
        note: &mut dyn FnMut(By<'_>),
    ) -> Result<Hop, NoWay> {
        self.way(cluster, node, visited, LinkState::peek, note)
    }

    /// `note` hears what led to the hop, once, where there is one.
    fn way(
        &mut self,
        cluster: &str,
        node: &str,
        visited: Visited,
        next_by_links: impl FnOnce(&mut LinkState, &Text, &[Text], u32) -> Option<NextHop>,
        note: &mut dyn FnMut(By<'_>),
    ) -> Result<Hop, NoWay> {
        if let Some(link) = self.linked(cluster, node).filter(|_| !visited.nodes.contains(&node)) {
            note(By::Link);
            return Ok((node.into(), link));
        }
        if *cluster == **self.cluster_id() {
            let hop = self.hop_within(node, visited).ok_or(NoWay::NoPeerForNextHop)?;
            note(By::OwnCluster);
            return Ok(hop);
        }
        if visited.clusters.iter().any(|c| **c == *cluster) {
            return Err(NoWay::LoopDetected);
        }
        let mode = self.link_state.mode();
        if mode != Mode::Disabled
            && let Some((hop, next)) = self.by_links((cluster, node), visited, next_by_links)
        {
            note(By::LinkState(&next));
            return Ok(hop);
        }
        let by_routes = match mode {
            Mode::Only => Err(NoWay::NoFabricPath),
            Mode::Disabled | Mode::Prefer => self.by_routes(cluster, node, visited),
        };
        match by_routes {
            Ok((hop, route)) => {
                note(By::Route(route));
                Ok(hop)
            }
            Err(no_way) => {
                let hop = self.gateway(cluster, (cluster, node), visited).ok_or(no_way)?;
                note(By::Neighbour);
                Ok(hop)
            }
        }
    }

    /// A way that leads nowhere here is one that its neighbours still speak of: then the others are tried. So are they at
    /// a border node that another one of ours chose, whose own next cluster may lie behind that one.
    fn by_links(
        &mut self,
        (cluster, node): (&str, &str),
        visited: Visited,
        next_by_links: impl FnOnce(&mut LinkState, &Text, &[Text], u32) -> Option<NextHop>,
    ) -> Option<(Hop, NextHop)> {
        let (target, hops_max) = (Text::from(cluster), u32::try_from(self.own.hops_max).unwrap_or(u32::MAX));
        let best = next_by_links(&mut self.link_state, &target, visited.clusters, hops_max)?;
        let hop_to = |next: &NextHop| match self.gateway(&next.cluster, (cluster, node), visited) {
            None if !visited.from_own_cluster => self.border_to(&next.cluster, visited),
            here => here,
        };
        if let Some(hop) = hop_to(&best) {
            return Some((hop, best));
        }
        let others = self.link_state.ways_out(&target, visited.clusters, hops_max);
        others.into_iter().find_map(|next| Some((hop_to(&next)?, next)))
    }

    fn by_routes<'s>(
        &'s self,
        cluster: &str,
        node: &str,
        visited: Visited<'s>,
    ) -> Result<(Hop, &'s Route), NoWay> {
        let here = self.routes.table().candidates_here(cluster, visited.clusters);
        let all = self.routes.table().candidates(cluster, visited.clusters);
        let first: Vec<&Route> = if visited.from_own_cluster { here.collect() } else { Vec::new() };
        let mut no_way = NoWay::NoFabricPath;
        for route in first.into_iter().chain(all) {
            match self.hop_of(route, (cluster, node), visited) {
                Some(hop) => return Ok((hop, route)),
                None => no_way = NoWay::NoPeerForNextHop,
            }
        }
        Err(no_way)
    }

    fn hop_of(&self, route: &Route, target: (&str, &str), visited: Visited) -> Option<Hop> {
        match &route.via {
            Via::Neighbour { cluster } => self.gateway(cluster, target, visited),
            Via::Border { node } => self.hop_within(node, visited),
        }
    }

    /// A border node of ours that is linked with the cluster `next`.
    fn border_to(&self, next: &str, visited: Visited) -> Option<Hop> {
        let direct =
            self.routes.table().candidates(next, visited.clusters).filter(|route| route.path.len() == 2);
        direct.filter_map(|route| self.hop_of(route, (next, ""), visited)).next()
    }

    /// A peer of `cluster` on the way to a node of `target`: that node itself, who told of it, or the nearest.
    fn gateway(&self, cluster: &str, (target, node): (&str, &str), visited: Visited) -> Option<Hop> {
        let teller = self.told_by.of(target, node);
        let rank = |(id, peer): &(&Text, &Peer)| {
            let named =
                if ***id == *node && *target == *cluster { 0 } else { 1 + u8::from(teller != Some(&***id)) };
            (named, peer.latency_ms() as u64)
        };
        let peers = self.membership.connected_of(cluster).filter(|(id, _)| !visited.nodes.contains(&&***id));
        let (id, _) = peers.min_by(|a, b| rank(a).cmp(&rank(b)).then(a.0.cmp(b.0)))?;
        Some((id.clone(), self.membership.link_to(id)?))
    }

    /// Within the own cluster: straight there, a short way through the overlay, or to the peer that told of the node
    /// last.
    pub(super) fn hop_within(&self, node: &str, visited: Visited) -> Option<Hop> {
        if visited.nodes.contains(&node) {
            return None; // it sent the message on, and would not know better now
        }
        let own = self.cluster_id();
        let ways = self.kin.first_hops(node).iter().map(|t| &**t);
        let mut hops = std::iter::once(node)
            .chain(ways)
            .chain(self.told_by.of(own, node))
            .filter(|hop| !visited.nodes.contains(hop));
        hops.find_map(|hop| Some((Text::from(hop), self.linked(own, hop)?)))
    }

    /// The link to a node, where the peer of that name is of that cluster: elsewhere it is another node.
    pub(super) fn linked(&self, cluster: &str, node: &str) -> Option<LinkId> {
        self.membership.peer(node).filter(|peer| *peer.cluster_id == *cluster)?;
        self.membership.link_to(node)
    }
}
