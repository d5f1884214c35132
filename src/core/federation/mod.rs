//! Other clusters: who of them may connect, what their links may say, what they may call, and how much
//! (`[federation]`, fabric.md 10, 20.1).
//!
//! Every question is answered from the settings and from what a link has proved, never from what a message claims of
//! itself; each no has its [`Reason`]. The own cluster is never limited here, and nobody else speaks for it. Counts of
//! connections and requests are the only state; their size is bounded. It opens and closes nothing itself: after
//! [`Federation::revise`] the caller asks [`Federation::admits`] again for each link.

mod certificate;
mod requests;

use std::collections::{BTreeMap, BTreeSet};

pub use certificate::CertificateNames;

use super::catalog::Text;
use super::pubsub::reserved;
use super::reason::Reason;
use super::time::Now;
use certificate::Vouches;
use requests::Requests;

/// `[federation]`.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// node.cluster_id
    pub cluster_id: Text,
    pub mode: Mode,
    pub allowed_clusters: BTreeSet<Text>,
    pub bridges: Vec<Bridge>,
    pub require_mutual_auth: bool,
    pub require_encryption: bool,
    /// By name in the catalog; empty: all.
    pub allow_functions: BTreeSet<Text>,
    pub deny_functions: BTreeSet<Text>,
    /// Of one cluster; 0: unlimited.
    pub requests_per_minute_max: u32,
    /// Of one cluster. Two nodes usually hold two connections, one opened by each, and both count.
    pub connections_per_cluster_max: u32,
    /// For clusters without a bridge of their own.
    pub terms: LinkTerms,
}

/// federation.mode: which other clusters may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// None, and nothing of them is known.
    #[default]
    StrictIsolation,
    /// Those that are listed. What lies behind them may be reached through them.
    ExplicitBridging,
    PermissiveBridging,
}

/// `[[federation.bridge]]`: a cluster that may connect, wholly or with some of its nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct Bridge {
    pub cluster: Text,
    /// For logs.
    pub name: Text,
    /// Node ids; empty: any.
    pub nodes: BTreeSet<Text>,
    pub terms: LinkTerms,
}

/// How links with another cluster are made and kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinkTerms {
    /// connection_timeout: for a dial, from the name to the end of the upgrade.
    pub connect_seconds_max: f64,
    /// retry_attempts: failed dials in a row that are repeated at once before the back-off grows.
    pub dials_before_backoff: u32,
    /// health_check_interval: a link on which nothing came for so long is closed and made again.
    pub silence_seconds_max: f64,
}

/// What a link has proved about itself.
#[derive(Debug, Clone, Default)]
pub struct LinkFacts {
    pub encrypted: bool,
    /// The other end was asked for a certificate, and might have shown none.
    pub asked: bool,
    /// Of the other end's certificate. `None` without one, and for one that was not verified
    /// (tls.verify_peers = false): it proves nothing.
    pub certificate: Option<CertificateNames>,
}

/// A node was not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub reason: Reason,
    /// For the node that asked (4.6), with the keys to change.
    pub message: String,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Federation {
    settings: Settings,
    /// Open connections of other clusters; none is zero.
    connections: BTreeMap<Text, u32>,
    requests: Requests,
}

impl Federation {
    pub fn new(settings: Settings) -> Federation {
        Federation { settings, ..Federation::default() }
    }

    /// Other settings hold from now on. Connections and spent requests stay counted.
    pub fn revise(&mut self, settings: Settings) {
        self.settings = settings;
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether a node of `cluster` may be a peer on this link (4.3, step 2); `node` is its id, where it is known.
    ///
    /// A certificate that names another cluster or node is refused even from the own cluster. From another cluster
    /// it must name the node that shows it. Where certificates tell clusters apart (`require_mutual_auth` in a node that
    /// other clusters may meet), it must name the cluster too, ours as any other: else whoever has one could say that
    /// it is of ours, and who has none need only say so. For a host name the cluster is what a bridge says of the node.
    pub fn admits(&self, cluster: &str, node: Option<&str>, link: &LinkFacts) -> Result<(), Refusal> {
        self.may_meet(cluster, node)?;
        let own = self.is_own(cluster);
        if !own && self.settings.require_encryption && !link.encrypted {
            let message = format!(
                "Connection rejected: cluster '{cluster}' must connect over wss or tcps. Use such a URL, or set \
                 federation.security.require_encryption = false at the node that refuses."
            );
            return Err(Refusal { reason: Reason::EncryptionRequired, message });
        }
        let binds = self.settings.require_mutual_auth && self.settings.mode != Mode::StrictIsolation;
        let Some(names) = &link.certificate else {
            let is_needed = if own { binds && link.asked } else { self.settings.require_mutual_auth };
            if !is_needed {
                return Ok(());
            }
            let message = format!(
                "Connection rejected: cluster '{cluster}' must show a certificate that is trusted here. Set \
                 tls.cert_file and tls.key_file at the node that is refused and tls.ca_file and tls.client_auth at \
                 the one that refuses, or federation.security.require_mutual_auth = false there."
            );
            return Err(Refusal { reason: Reason::CertificateMissing, message });
        };
        let is_vouched = match names.vouch_for(cluster, node) {
            Vouches::Yes => true,
            Vouches::No => false,
            Vouches::ForHost => !binds || !own && self.names_node(cluster, node),
            // Names of hosts may stand for a load balancer within one cluster, never between two.
            Vouches::NotByName => own && !binds,
        };
        if is_vouched { Ok(()) } else { Err(mismatch(cluster, node, own)) }
    }

    /// Whether a node of `cluster` may be a peer at all, before there is a link: what may be dialled.
    pub fn may_meet(&self, cluster: &str, node: Option<&str>) -> Result<(), Refusal> {
        if self.is_own(cluster) {
            return Ok(());
        }
        let message = match self.settings.mode {
            Mode::PermissiveBridging => return Ok(()),
            Mode::ExplicitBridging if self.is_listed(cluster, node) => return Ok(()),
            Mode::ExplicitBridging => {
                format!("Connection rejected: cluster '{cluster}' not in allowed foreign clusters list.")
            }
            Mode::StrictIsolation => {
                let local = &self.settings.cluster_id;
                format!(
                    "Connection rejected: cluster_id mismatch. Local: {local}, Remote: {cluster}. \
                     Cross-federation connections not allowed in current federation mode."
                )
            }
        };
        Err(Refusal { reason: Reason::ClusterRefused, message })
    }

    /// Whether calls and publications may be sent towards `cluster`, directly or through others.
    pub fn may_reach(&self, cluster: &str) -> Result<(), Reason> {
        match self.settings.mode {
            Mode::StrictIsolation if !self.is_own(cluster) => Err(Reason::ClusterRefused),
            _ => Ok(()),
        }
    }

    /// Whether a link of `link_cluster` may tell of entries of `entry_cluster`, new ones and removals alike. `routed`:
    /// the cluster of the link has announced a route there that was accepted.
    ///
    /// Nodes of the own cluster may pass on what crossed elsewhere; other clusters speak for themselves and for what
    /// lies behind them, and never for the own cluster.
    pub fn may_speak(&self, link_cluster: &str, entry_cluster: &str, routed: bool) -> Result<(), Reason> {
        self.may_reach(link_cluster)?;
        self.may_reach(entry_cluster)?;
        let is_entitled = self.is_own(link_cluster)
            || !self.is_own(entry_cluster) && (routed || link_cluster == entry_cluster);
        if is_entitled { Ok(()) } else { Err(Reason::NotEntitled) }
    }

    /// Whether a call that came from `cluster` may be executed or passed on. `function` is the name of the function in
    /// the catalog, whatever the caller found it by.
    pub fn may_call(&self, cluster: &str, function: &str) -> Result<(), Reason> {
        self.may_reach(cluster)?;
        self.shares(cluster, function)
    }

    /// Whether a function that another cluster offers is taken into the catalog (6.6): the same lists.
    pub fn offers(&self, cluster: &str, function: &str) -> Result<(), Reason> {
        self.may_call(cluster, function)
    }

    /// Whether a publication that came from `cluster` may be delivered and passed on. Topics below `mpreg.` are the
    /// words of nodes to each other and stay within a cluster, but for summaries, which are made for others.
    pub fn may_publish(&self, cluster: &str, topic: &str) -> Result<(), Reason> {
        self.may_reach(cluster)?;
        let below = topic.strip_prefix(SUMMARIES);
        let is_summary = below.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        if self.is_own(cluster) || is_summary || !reserved::is_reserved(topic) {
            return Ok(());
        }
        Err(Reason::ReservedTopic)
    }

    /// A node of `cluster` was admitted on a connection, in either direction. On an error it was not counted and is to
    /// be closed; otherwise its end is to be told by [`Federation::closed`].
    pub fn opened(&mut self, cluster: &Text) -> Result<(), Reason> {
        if self.is_own(cluster) {
            return Ok(());
        }
        let count = self.connections.get(cluster).copied().unwrap_or(0);
        if count >= self.settings.connections_per_cluster_max {
            return Err(Reason::ClusterConnectionsLimit);
        }
        self.connections.insert(cluster.clone(), count + 1);
        Ok(())
    }

    /// A connection that was counted has ended.
    pub fn closed(&mut self, cluster: &str) {
        if let Some(count) = self.connections.get_mut(cluster) {
            *count -= 1;
            if *count == 0 {
                self.connections.remove(cluster);
            }
        }
    }

    /// Open connections of other clusters, by cluster.
    pub fn connections(&self) -> impl Iterator<Item = (&Text, u32)> {
        self.connections.iter().map(|(cluster, count)| (cluster, *count))
    }

    /// A call came on a link of `cluster`. A minute's worth may come at once, then one after the other.
    pub fn spend(&mut self, cluster: &Text, now: Now) -> Result<(), Reason> {
        if self.is_own(cluster) {
            return Ok(());
        }
        match self.requests.spend(cluster, self.settings.requests_per_minute_max, now) {
            true => Ok(()),
            false => Err(Reason::ClusterRequestsLimit),
        }
    }

    /// How links with `cluster` are made and kept: by the terms of its first bridge, else by the common ones.
    pub fn terms(&self, cluster: &str) -> &LinkTerms {
        self.bridge(cluster).map_or(&self.settings.terms, |bridge| &bridge.terms)
    }

    /// The first bridge to a cluster.
    pub fn bridge(&self, cluster: &str) -> Option<&Bridge> {
        self.bridges(cluster).next()
    }

    fn bridges(&self, cluster: &str) -> impl Iterator<Item = &Bridge> {
        self.settings.bridges.iter().filter(move |bridge| *bridge.cluster == *cluster)
    }

    /// Bridges narrow: where a cluster has some, one of them must let the node pass, listed cluster or not.
    /// Whether a bridge says of which cluster a node is.
    fn names_node(&self, cluster: &str, node: Option<&str>) -> bool {
        node.is_some_and(|node| self.bridges(cluster).any(|bridge| bridge.nodes.contains(node)))
    }

    fn is_listed(&self, cluster: &str, node: Option<&str>) -> bool {
        let lets_pass =
            |bridge: &Bridge| bridge.nodes.is_empty() || node.is_none_or(|node| bridge.nodes.contains(node));
        match self.bridge(cluster) {
            Some(_) => self.bridges(cluster).any(lets_pass),
            None => self.settings.allowed_clusters.contains(cluster),
        }
    }

    fn shares(&self, cluster: &str, function: &str) -> Result<(), Reason> {
        let Settings { allow_functions: allow, deny_functions: deny, .. } = &self.settings;
        let is_shared = !deny.contains(function) && (allow.is_empty() || allow.contains(function));
        if self.is_own(cluster) || is_shared { Ok(()) } else { Err(Reason::FunctionNotShared) }
    }

    pub fn is_own(&self, cluster: &str) -> bool {
        *self.settings.cluster_id == *cluster
    }
}

impl Default for LinkTerms {
    fn default() -> LinkTerms {
        LinkTerms { connect_seconds_max: 30.0, dials_before_backoff: 3, silence_seconds_max: 120.0 }
    }
}

fn mismatch(cluster: &str, node: Option<&str>, own: bool) -> Refusal {
    let node = node.unwrap_or("<node id>");
    let or_host = if own {
        ""
    } else {
        " or, where no name in it begins with mpreg:// and a federation.bridge of the node that refuses lists this node, \
         the host of the node id as DNS name"
    };
    let message = format!(
        "Connection rejected: the certificate is not that of node '{node}' of cluster '{cluster}'. It needs the URI \
         name {}{or_host}.",
        certificate::uri_name(cluster, node)
    );
    Refusal { reason: Reason::CertificateMismatch, message }
}

/// Topics of the summaries that clusters make for each other (discovery.md).
const SUMMARIES: &str = "mpreg.discovery.summary";

#[cfg(test)]
mod tests;
