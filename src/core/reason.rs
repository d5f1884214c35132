//! Why something was rejected, dropped, cut short, evicted or done in another way than asked.
//!
//! Each such event of the node is one of these values. It feeds a counter, a rate-limited log line, `explain`
//! and the manual: the table below is the only place where a reason is declared.

/// What the table says about one reason.
pub struct Meaning {
    pub reason: Reason,
    /// Name in counters, logs and JSON, in snake case.
    pub name: &'static str,
    /// What happened.
    pub meaning: &'static str,
    /// What its reader can do about it.
    pub remedy: &'static str,
}

macro_rules! reasons {
    ($($variant:ident $name:literal $meaning:literal $remedy:literal;)*) => {
        /// Why something was not done, or not done as asked.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason { $(#[doc = $meaning] $variant,)* }

        /// Every reason once, in the order of the enum.
        pub const REASONS: &[Meaning] = &[
            $(Meaning { reason: Reason::$variant, name: $name, meaning: $meaning, remedy: $remedy },)*
        ];
    };
}

reasons! {
    FunctionNotFound "function_not_found" "No node offers a function of that name, id, version, resources and cluster." "Ask `mpreg client functions` what is offered; compare name, version constraint, locs and target cluster.";
    CallFailed "call_failed" "The function was called and answered with an error, or its arguments do not fit." "Read the details of the error; they come from the function.";
    BadRequest "bad_request" "A request was JSON but not a message of its role." "Compare the member that the error names with the protocol.";
    BadFrame "bad_frame" "A frame was not a JSON object, so nobody could be answered." "Find the client by the address in the log; it does not speak this protocol.";
    UnknownRole "unknown_role" "A message had a role that a node does not serve." "Use one of the roles rpc, pubsub-publish, pubsub-subscribe, pubsub-unsubscribe.";
    Cycle "cycle" "Commands of one request refer to each other in a circle." "Rename a command, or remove one of the references that the error names.";
    BadVersionConstraint "bad_version_constraint" "A version constraint could not be read." "Write it as in `>=1.2,<2`, `^1.4` or `~1.4.2`.";
    DeadlinePassed "deadline_passed" "A call did not end within its time." "Look at the function that the error names; raise fabric.rpc_timeout or the function's timeout if it is meant to take that long.";
    PendingCallsLimit "pending_calls_limit" "More calls are under way than limits.pending_calls_max allows." "Slow down, or raise limits.pending_calls_max.";
    MessageTooLarge "message_too_large" "A message was larger than listen.max_message." "Send less at once, or raise listen.max_message.";
    ConnectionsLimit "connections_limit" "More connections were opened than listen.max_connections allows." "Close idle clients, or raise listen.max_connections.";
    HandshakeTimeout "handshake_timeout" "A connection did not finish its handshake in time." "Usually a port scanner or a stalled client; the address is in the log.";
    HandshakeRefused "handshake_refused" "A connection asked for something other than a WebSocket upgrade, or its TLS handshake failed." "Check the scheme and port that the client uses.";
    PeerSilent "peer_silent" "A connection answered no ping within its time and was closed." "The other end is gone or stuck.";
    OutboundLimit "outbound_limit" "A connection did not read, and its share of memory (limits.outbound_per_link) was used up." "The other end reads too slowly.";
    SlowSubscriberDropOldest "slow_subscriber_drop_oldest" "A subscriber read too slowly and lost its oldest waiting message." "Read faster, raise pubsub.outbound_per_subscription, or choose another pubsub.slow_subscriber.";
    SlowSubscriberDropNewest "slow_subscriber_drop_newest" "A subscriber read too slowly and lost the newest message." "Read faster, raise pubsub.outbound_per_subscription, or choose another pubsub.slow_subscriber.";
    SlowSubscriberDisconnected "slow_subscriber_disconnected" "A subscriber read too slowly and was disconnected." "Read faster, raise pubsub.outbound_per_subscription, or choose another pubsub.slow_subscriber.";
    SubscriptionsLimit "subscriptions_limit" "A connection asked for more subscriptions than limits.subscriptions_per_connection." "Use patterns instead of many topics, or raise the limit.";
    ReservedTopic "reserved_topic" "A client, or a node of another cluster, published on a topic below mpreg., which belongs to the nodes of a cluster." "Publish on another topic.";
    UnknownSubscription "unknown_subscription" "A client ended a subscription that its connection does not have." "Subscriptions belong to the connection that made them.";
    BacklogEvicted "backlog_evicted" "A stored message was dropped because limits.backlog or its age was reached." "Raise limits.backlog if late subscribers need more.";
    MemoryLimit "memory_limit" "The accounted memory reached limits.memory." "Raise limits.memory, or look at `mpreg ctl status` for who uses it.";
    WorkerFailed "worker_failed" "A worker process ended while it served a call." "Read the log line with its exit status and its error stream.";
    WorkerUnavailable "worker_unavailable" "A function has no running worker." "Read the log for why its worker ends or cannot be started.";
    WorkerGarbage "worker_garbage" "A worker wrote a line that is no JSON-RPC answer." "Workers must write only answers to stdout; put everything else on stderr.";
    ResultTooLarge "result_too_large" "An answer was larger than listen.max_message." "Return less at once, or raise listen.max_message.";
    MonitoringConnectionsLimit "monitoring_connections_limit" "More connections to the monitoring endpoint were opened than it serves at a time." "Close idle ones; a scraper needs one.";
    MonitoringTimeout "monitoring_timeout" "A connection to the monitoring endpoint did not send its first request, or did not read an answer, in time." "Usually a port scanner or a stalled client; the address is in the log.";
    MonitoringMalformed "monitoring_malformed" "What came to the monitoring endpoint was no HTTP request, or its head was too large." "Check the scheme and port that the client uses.";
    MonitoringUnauthorized "monitoring_unauthorized" "A request to the monitoring endpoint showed no token, or a wrong one." "Send `Authorization: Bearer` with the token of monitoring.token_file.";
    PolicyDenied "policy_denied" "Namespace policy hides something from its viewer." "See namespace_status for the rule that decided.";
    RateLimited "rate_limited" "A viewer asked more often than discovery.rate_limit allows." "Ask less often, or raise discovery.rate_limit.requests.";
    BudgetShared "budget_shared" "More viewers asked than discovery.rate_limit.max_keys; the latest share one budget." "Raise discovery.rate_limit.max_keys.";
    PageListEvicted "page_list_evicted" "A list that waited for its next page was dropped for lack of room; the next page is cut from a new one." "Nothing, unless it happens often: then clients open lists without reading them.";
    SummaryMalformed "summary_malformed" "A received summary message could not be read." "See the log for the cluster that sends it.";
    SummaryLimit "summary_limit" "A received summary was refused because as many are kept as may be." "Narrow discovery.summary.resolver.namespaces.";
    CredentialRefused "credential_refused" "A connection sent a token that belongs to no tenant." "Check the token against tenants.credential.";
    ClusterRefused "cluster_refused" "A node of a cluster that federation does not allow tried to connect." "See [federation].";
    TurnedAway "turned_away" "Another node refused a link of this one." "The log has its words; it is asked again, ever more rarely.";
    PeerDeparted "peer_departed" "A node that said goodbye tried to return as the same instance within its grace." "It may return with a new instance, or after peers.goodbye_grace.";
    NotEntitled "not_entitled" "A peer spoke for a node or cluster that it is not entitled to speak for." "Only a node itself, or its own cluster, may announce or remove its entries.";
    EntryExpired "entry_expired" "A catalog entry arrived after its lease had ended." "Check the clock of the node that sent it.";
    EntryStale "entry_stale" "A catalog entry is older than the one already known." "Nothing; it is normal after reconnects.";
    EntryConflict "entry_conflict" "A function name is bound to another id, or an id to another name." "Use one id for one name everywhere.";
    EntryMalformed "entry_malformed" "A catalog entry could not be read." "See the log for the peer and the field.";
    ClockSkew "clock_skew" "A catalog entry, route, link-state update or announcement of keys is dated more than 300 s in the future." "Set the clock of the node that sent it.";
    CatalogLimit "catalog_limit" "A cluster announced more entries than limits.catalog_entries_per_cluster." "Raise the limit if the entries are wanted.";
    GossipMalformed "gossip_malformed" "A gossip message could not be read; the link stays." "See the log for the peer and the field.";
    GossipUnknownKind "gossip_unknown_kind" "A gossip message was of a kind this node does not know." "Nothing; newer nodes may say more.";
    MessageRepeated "message_repeated" "A message with the same id had come before, on this way or another." "Nothing; a mesh delivers many messages twice.";
    HopBudget "hop_budget" "A message was forwarded as often as its hop budget allows." "Shorten the path, or raise fabric.max_hops.";
    RouteLoop "route_loop" "A message came back to a node it had already passed." "See `mpreg explain` for the path.";
    NoRoute "no_route" "The target is known but no link leads to it." "See `mpreg client list-peers` for the links that are up.";
    RoutingOff "routing_off" "A call or message for another node was kept back because fabric.routing is false." "Ask a node that routes, or set fabric.routing = true.";
    LinkLost "link_lost" "The link to the node that ran a call was lost before it answered." "The call may or may not have run; repeat it only if that does no harm.";
    Stopping "stopping" "The node is shutting down and takes no new work." "Use another node.";
    ResultNotUnderstood "result_not_understood" "An answer from elsewhere belongs to no waiting call." "Nothing; it came too late or twice.";
    RouteNotFromNeighbour "route_not_from_neighbour" "A route or withdrawal was not advertised by the neighbour that sent it." "Nothing where nodes pass gossip on as it is; otherwise look at that neighbour.";
    RouteMalformed "route_malformed" "A route announcement could not be read, is too large, or its path does not lead from its advertiser to its destination." "See the log for the neighbour and the member.";
    RouteExpired "route_expired" "A route, withdrawal or key announcement was over when it came, or a stored route was not renewed in time." "Check the clock of its sender, and route.ttl against route.announce_interval.";
    RouteReplayed "route_replayed" "A route, withdrawal or key announcement is not newer than what is known." "Nothing; it is normal where messages come on several ways.";
    RouteUnsigned "route_unsigned" "A route or withdrawal has no signature." "Give the neighbour a route.security.signing_key_file, or set route.security.allow_unsigned.";
    RouteForged "route_forged" "A signature fits none of the keys of the cluster that is said to have made it." "Compare route.security.key with the key that the neighbour signs with.";
    RouteKeyUnknown "route_key_unknown" "A signature cannot be checked: no valid key of its cluster is known, and the key that it carries proves nothing." "Add the cluster's public key to route.security.key.";
    RouteKeyRefused "route_key_refused" "Announced keys were refused: not signed by a known key of that cluster, or of this cluster itself." "A cluster changes its keys by signing the new ones with the old; otherwise set route.security.key.";
    RouteKeysLimit "route_keys_limit" "More route keys were announced than are kept." "Configure the keys that matter in route.security.key.";
    RoutePolicyRefused "route_policy_refused" "A policy does not let a route in or out." "See [[route.policy]].";
    EncryptionRequired "encryption_required" "A node of another cluster connected without TLS." "Use a wss or tcps URL, or set federation.security.require_encryption.";
    CertificateMissing "certificate_missing" "A node of another cluster showed no certificate that is trusted here." "See [tls] at both nodes, or set federation.security.require_mutual_auth.";
    CertificateMismatch "certificate_mismatch" "A certificate is not that of the node or cluster that showed it." "Give it the URI name mpreg://CLUSTER/NODE_ID, or the host of the node id as DNS name.";
    ClusterConnectionsLimit "cluster_connections_limit" "A cluster opened more connections than federation.security.max_connections_per_cluster." "Raise the limit; two nodes usually hold two connections.";
    ClusterRequestsLimit "cluster_requests_limit" "A cluster called more often than federation.security.max_requests_per_minute." "Call less often, or raise the limit.";
    FunctionNotShared "function_not_shared" "A function was not called for, or not taken over from, another cluster." "See federation.security.allow_functions and deny_functions.";
    LinkStateMalformed "link_state_malformed" "A link-state update could not be read, or has no origin, too long an id, too many neighbours, or an impossible date or ttl." "See the log for the node that made it.";
    LinkStateExpired "link_state_expired" "A link-state update was over when it came, or a stored one was not renewed in time." "Check the clock of its sender, and link_state.ttl against link_state.announce_interval.";
    LinkStateStale "link_state_stale" "A link-state update is not newer than the one known of the same node." "Nothing; it is normal where messages come on several ways, and for one ttl after a reference node restarts.";
    LinkStateOwnOrigin "link_state_own_origin" "A link-state update speaks for this cluster, whose links this node knows itself." "Nothing if another node of this cluster made it; otherwise look at the node that did.";
    LinkStateArea "link_state_area" "A link-state update or neighbour belongs to no area of this node." "See link_state.area and [link_state.areas].";
    LinkStateLimit "link_state_limit" "A link-state update was refused because as much is kept as may be: origins, nodes that speak for one, or neighbours." "Look for a node that names clusters which do not exist, or divide the clusters into areas.";
    LinkStateOneWay "link_state_one_way" "A link is not used because only one of its ends tells of it." "See whether link state is on at the other end, and whether its link is up.";
    LinkStateUnreliable "link_state_unreliable" "A link is not used because its reliability is 0.3 or less." "Look at the link between the two clusters.";
    RoutePathLoop "route_path_loop" "A route was announced that leads back through this cluster." "Nothing; it is normal where neighbours announce to all what they know.";
    RouteHoldDown "route_hold_down" "A route was announced again too soon after it was withdrawn." "Nothing; it is taken after route.stability.hold_down.";
    RouteSuppressed "route_suppressed" "A route that comes and goes is suppressed." "Look for what is unstable on its path; it is taken again after route.stability.suppression_window.";
    RoutesLimit "routes_limit" "A neighbour announced more routes than limits.routes_per_neighbor." "Raise the limit if the routes are wanted, or refuse them by [[route.policy]].";
    RoutesLimitCut "routes_limit_cut" "A link was cut because a neighbour announced more routes than limits.routes_per_neighbor." "Raise the limit if the routes are wanted, or choose another limits.routes_action.";
    EntryUnrouted "entry_unrouted" "An entry of a cluster to which its sender has announced no accepted route; it waits for one." "Nothing, unless it goes on: then see [[route.policy]] for why the route is refused.";
    LinkStateNotFromOrigin "link_state_not_from_origin" "A cluster spoke of the links of a neighbour of ours, which speaks for itself." "Nothing where nodes pass gossip on as it is; otherwise look at the cluster that the log names.";
    RumoursLimit "rumours_limit" "A node of the own cluster sent more membership messages in one gossip interval than a cluster of its size needs." "Look at that node; it floods or is confused.";
    StoreFailed "store_failed" "The store could not be written; what waits is written again later." "The log says why: make room on the disk, or give the directory back to the user of the node.";
    StoreDamaged "store_damaged" "A stored record, or the whole store, could not be read and was set aside." "The log says what and where; look at the disk. What is lost is learned again from the peers.";
    MessageEarly "message_early" "A message came on a link whose other end has not said STATUS yet; it waits for that." "Nothing if the STATUS follows: reference nodes send requests on a new link first. Otherwise look at the node that opened the link.";
    ControlRefused "control_refused" "A process of another user spoke to the control socket." "Only root and the user of the node may; use sudo.";
    ControlMalformed "control_malformed" "What came to the control socket could not be read, or not in time." "Speak to it with `mpreg ctl` of the same version.";
    ControlConnectionsLimit "control_connections_limit" "More connections to the control socket were opened than it serves at a time." "End what holds them; an operator needs one.";
    Draining "draining" "The node is drained: it takes no new connections and calls, and finishes what runs." "Use another node, or end it with `mpreg ctl resume`.";
    PeerSourceFailed "peer_source_failed" "A place of `peers.discover` could not be asked, or what it said was not understood." "The log says which and why. The peers that it told of last stay until it answers again.";
    PeerAddressRefused "peer_address_refused" "A place of `peers.discover` named an address that cannot be dialled, or too many." "The log names place and address: correct them there.";
    GossipFlood "gossip_flood" "A peer sent more gossip than limits.peer_gossip_per_second or limits.peer_gossip_bytes_per_second allows." "Look at that peer; raise the limit if so much is right for its cluster.";
    PublicationsFlood "publications_flood" "A peer sent more publications than limits.peer_publications_per_second or limits.peer_publication_bytes_per_second allows." "Look at who publishes through that peer; raise the limit if so much is wanted.";
    LinkStateOff "link_state_off" "A link-state update was passed on and not used, because link state is off here." "Set link_state.mode to prefer or only if calls are to follow link state.";
    LinkStateUnrouted "link_state_unrouted" "A link-state update of a cluster to which its sender has announced no accepted route; it waits for one." "Nothing, unless it goes on: then see [[route.policy]] for why the route is refused, and whether the sender should know that cluster.";
    PeerStopping "peer_stopping" "The node that a call was sent to is stopping or drained and takes no new work; nothing has run." "Nothing where another node serves the function: then that one is asked. Else see that node.";
}

impl Reason {
    pub fn meaning(self) -> &'static Meaning {
        &REASONS[self as usize]
    }

    /// True for what happens all the time between healthy nodes: counted, but not worth a line of the log.
    pub fn is_routine(self) -> bool {
        matches!(
            self,
            Reason::EntryStale
                | Reason::MessageRepeated
                | Reason::GossipUnknownKind
                | Reason::RoutingOff
                | Reason::RouteNotFromNeighbour
                | Reason::RouteReplayed
                | Reason::LinkStateStale
                | Reason::LinkStateArea
                | Reason::RoutePathLoop
                | Reason::EntryUnrouted
                | Reason::LinkStateNotFromOrigin
                | Reason::MessageEarly
                | Reason::LinkStateOff
                | Reason::LinkStateUnrouted
        )
    }

    /// A node of another cluster was not let in.
    pub fn is_of_federation(self) -> bool {
        matches!(
            self,
            Reason::ClusterRefused
                | Reason::EncryptionRequired
                | Reason::CertificateMissing
                | Reason::CertificateMismatch
                | Reason::ClusterConnectionsLimit
        )
    }

    pub fn name(self) -> &'static str {
        self.meaning().name
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum_and_names_are_unique() {
        let mut names: Vec<_> = REASONS.iter().map(|m| m.name).collect();
        assert!(REASONS.iter().enumerate().all(|(i, m)| m.reason as usize == i));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), REASONS.len());
    }
}
