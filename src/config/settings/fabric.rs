//! Keys of what happens between nodes: fabric, routes, link state and federation.

use std::time::Duration;

use crate::config::schema::*;
use crate::config::value::Secret;

words! {
    /// How much of a function's specification travels with its catalog entry.
    RpcSpecMode {
        Summary = "summary", "Only the summary.";
        Full = "full", "All of it.";
    }
}

words! {
    /// Which announcements a policy judges.
    Direction {
        Import = "import", "Those of others.";
        Export = "export", "Those this node sends.";
    }
}

words! {
    /// Whose announcements a policy judges.
    AppliesTo {
        Global = "global", "All.";
        NeighborDefault = "neighbor-default", "Those of neighbours without a policy of their own.";
        Neighbor = "neighbor", "Those of one neighbour.";
    }
}

words! {
    /// What decides between routes of equal score.
    Tiebreaker {
        HopCount = "hop_count", "Fewer hops.";
        LatencyMs = "latency_ms", "Less latency.";
        ReliabilityScore = "reliability_score", "More reliability.";
        Advertiser = "advertiser", "The name of the advertiser.";
    }
}

words! {
    /// How announcements are signed.
    Algorithm {
        Ed25519 = "ed25519", "Ed25519.";
    }
}

words! {
    /// Where the key registry is refreshed from.
    ProviderType {
        None = "none", "Nowhere.";
        File = "file", "A registry document in a file.";
        Directory = "directory", "Registry documents in a directory.";
        Http = "http", "A registry document at a URL.";
        Exec = "exec", "The output of a command.";
    }
}

words! {
    /// Whether link-state routing is used.
    LinkStateMode {
        Disabled = "disabled", "Not at all.";
        Prefer = "prefer", "Before routes.";
        Only = "only", "Instead of routes.";
    }
}

words! {
    /// Who may connect from other clusters.
    FederationMode {
        StrictIsolation = "strict_isolation", "Nobody.";
        ExplicitBridging = "explicit_bridging", "The clusters and bridges that are listed.";
        PermissiveBridging = "permissive_bridging", "Everybody.";
    }
}

table! {
    /// `[fabric]`
    Fabric of "fabric" {
        gossip_interval: Duration = "5s", PERIOD, Restart, "How often state is gossiped; also the base of dial back-off and of staleness windows.";
        routing: bool = true, BOOL, Restart, "Whether calls and messages are forwarded to other nodes.";
        max_hops: u32 = 5, Kind::Int { min: 1, max: 255 }, Restart, "Hop budget of forwarded messages and of gossip.";
        catalog_ttl: Duration = "120s", Kind::Duration(Duration::from_secs(1)), Restart, "Lifetime of own catalog entries.";
        queue_catalog_ttl: Duration = "60s", Kind::Duration(Duration::from_secs(1)), Restart ["queue"], "Lifetime of own catalog entries for queues.";
        rpc_timeout: Duration = "30s", PERIOD, Live, "How long a call may take unless its request says less.";
        raft_request_timeout: Duration = "1s", PERIOD, Restart ["consensus"], "How long a Raft request over the fabric may take.";
        consensus_threshold: f64 = 0.6, Kind::Float { min: 0.0, max: 1.0 }, Restart ["consensus"], "Share of the nodes that makes a majority.";
        page_default: usize = 200, SOME, Restart, "Entries on a page of an answer that asks for no number.";
        page_max: usize = 2000, SOME, Restart, "Most entries on a page.";
        rpc_spec: RpcSpec = none, Kind::Table(RpcSpec::ROWS), Restart, "How much of a function's specification is gossiped.";
    }
}

table! {
    /// `[fabric.rpc_spec]`
    RpcSpec of "fabric" {
        mode: RpcSpecMode = "summary", Kind::Word(&RpcSpecMode::WORDS), Restart, "What travels with a catalog entry: summary or full.";
        namespaces: Vec<String> = [], TEXTS, Restart, "Prefixes of the functions whose specification travels; empty: all.";
        max_bytes: u64 = 0, SIZE, Restart, "Largest specification that travels; 0: unlimited.";
    }
}

table! {
    /// `[route]`
    Route of "route" {
        ttl: Duration = "30s", Kind::Duration(Duration::from_secs(1)), Restart, "Lifetime of route announcements.";
        announce_interval: Duration = "10s", PERIOD, Restart, "How often routes are announced.";
        tags: Vec<String> = [], TEXTS, Restart, "Tags put on own announcements.";
        max_routes_per_destination: usize = 4, SOME, Restart, "Most routes kept for one destination.";
        stability: Stability = none, Kind::Table(Stability::ROWS), Restart, "Damping of routes that come and go.";
        security: RouteSecurity = none, Kind::Table(RouteSecurity::ROWS), Restart, "Signatures of announcements.";
        policy: Vec<RoutePolicy> = [], Kind::Tables(RoutePolicy::ROWS), Live, "Which announcements are taken or sent, and how routes are scored; at most one for each direction, applies_to and neighbor.";
    }
}

table! {
    /// `[route.stability]`
    Stability of "route" {
        hold_down: Duration = "0s", SPAN, Restart, "How long announcements of a withdrawn route are refused; 0: not at all.";
        flap_threshold: u32 = 0, COUNT, Restart, "Withdrawals within suppression_window that suppress a route; 0: never.";
        suppression_window: Duration = "0s", SPAN, Restart, "How long withdrawals count, and how long a route is suppressed.";
    }
}

table! {
    /// `[[route.policy]]`
    RoutePolicy of "route" {
        name: String = "", TEXT, Live, "Name in logs and in answers to why.";
        direction: Direction = required, Kind::Word(&Direction::WORDS), Live, "Announcements of others (import) or own ones (export).";
        applies_to: AppliesTo = required, Kind::Word(&AppliesTo::WORDS), Live, "Whom it concerns: global, neighbor-default or neighbor.";
        neighbor: String = "", TEXT, Live, "The cluster id, for applies_to = \"neighbor\".";
        tiebreakers: Vec<Tiebreaker> = ["hop_count", "latency_ms", "reliability_score", "advertiser"], Kind::WordList(&Tiebreaker::WORDS), Live, "What decides between routes of equal score, in this order.";
        max_hops: Option<u32> = none, Kind::Int { min: 0, max: 255 }, Live, "Longest path; absent: any.";
        allow_advertisers: Option<Vec<String>> = none, TEXTS, Live, "Clusters whose announcements pass; absent: any, []: none.";
        allow_destinations: Option<Vec<String>> = none, TEXTS, Live, "Destinations that pass; absent: any, []: none.";
        allow_tags: Option<Vec<String>> = none, TEXTS, Live, "Tags of which one must be there; absent: any, []: none passes.";
        deny_tags: Option<Vec<String>> = none, TEXTS, Live, "Tags that keep an announcement out.";
        weights: Weights = none, Kind::Table(Weights::ROWS), Live, "Weights of the score; the lowest score wins.";
    }
}

table! {
    /// `weights` of `[[route.policy]]`
    Weights of "route" {
        latency: f64 = 1.0, ANY_NUMBER, Live, "For each millisecond of latency.";
        hops: f64 = 10.0, ANY_NUMBER, Live, "For each hop.";
        cost: f64 = 1.0, ANY_NUMBER, Live, "For the cost.";
        reliability: f64 = 50.0, ANY_NUMBER, Live, "For what is missing to full reliability.";
        bandwidth: f64 = 0.05, ANY_NUMBER, Live, "Taken off for each Mbit/s of bandwidth.";
    }
}

table! {
    /// `[route.security]`
    RouteSecurity of "route" {
        require_signatures: bool = false, BOOL, Restart, "Whether announcements without a valid signature are refused.";
        allow_unsigned: bool = true, BOOL, Restart, "Whether announcements without any signature are taken.";
        algorithm: Algorithm = "ed25519", Kind::Word(&Algorithm::WORDS), Restart, "How announcements are signed: ed25519.";
        signing_key: Secret = none, Kind::Secret, Restart, "The private key as 64 hexadecimal digits; better in signing_key_file.";
        signing_key_file: String = "", TEXT, Restart, "File with the private key, PKCS#8 PEM or 64 hexadecimal digits; empty: own announcements are not signed.";
        signing_key_env: String = "", TEXT, Restart, "Environment variable with the private key.";
        signing_key_id: String = "", TEXT, Restart, "Id of the key; empty: route_key_ and 16 digits of the hash of its public part.";
        rotation_overlap: Duration = "60s", SPAN, Restart, "How long a replaced key is still accepted.";
        key_ttl: Duration = "120s", PERIOD, Restart, "Lifetime of announced keys.";
        key_announce_interval: Duration = "60s", PERIOD, Restart, "How often keys are announced.";
        provider: Provider = none, Kind::Table(Provider::ROWS), Restart, "Where the key registry is refreshed from.";
        key: Vec<RouteKey> = [], Kind::Tables(RouteKey::ROWS), Live, "Public keys of other clusters.";
    }
}

table! {
    /// `[[route.security.key]]`
    RouteKey of "route" {
        cluster: String = required, NAME, Live, "The cluster that signs with it.";
        public_key: String = "", Kind::Text(Rule::Hex32), Live, "The key as 64 hexadecimal digits.";
        public_key_file: String = "", TEXT, Live, "File with the key, PEM or 64 hexadecimal digits.";
        key_id: String = "", TEXT, Live, "Id of the key; empty: route_key_ and 16 digits of its hash.";
        primary: bool = true, BOOL, Live, "Whether it is tried before other keys of the cluster.";
        expires_at: Option<f64> = none, Kind::Time, Live, "Until when it is accepted; absent: without end.";
    }
}

table! {
    /// `[route.security.provider]`
    Provider of "route" {
        r#type: ProviderType = "none", Kind::Word(&ProviderType::WORDS), Restart, "Where from: none, file, directory, http or exec.";
        source: String = "", TEXT, Restart, "Path, URL or command line; its content is the registry document.";
        refresh_interval: Duration = "60s", Kind::Duration(Duration::from_secs(1)), Restart, "How often it is read.";
    }
}

table! {
    /// `[link_state]`
    LinkState of "link-state" {
        mode: LinkStateMode = "disabled", Kind::Word(&LinkStateMode::WORDS), Restart, "Whether link state is used: disabled, prefer or only.";
        ttl: Duration = "30s", Kind::Duration(Duration::from_secs(1)), Restart, "Lifetime of link-state updates.";
        announce_interval: Duration = "10s", PERIOD, Restart, "How often they are sent.";
        ecmp_paths: u32 = 1, Kind::Int { min: 1, max: 64 }, Restart, "Paths of equal cost that are used in turn.";
        area: String = "", TEXT, Restart, "The area of this node; also the default of a node of several areas.";
        areas: Areas = none, Kind::Table(Areas::ROWS), Restart, "For a node of several areas.";
    }
}

table! {
    /// `[link_state.areas]`
    Areas of "link-state" {
        local: Vec<String> = [], TEXTS, Restart, "Areas this node belongs to.";
        default: String = "", TEXT, Restart, "Area of what names none; empty: link_state.area.";
        allow_unmapped_neighbors: bool = true, BOOL, Restart, "Whether neighbours that are not listed take part.";
        neighbor: Vec<AreaNeighbor> = [], Kind::Tables(AreaNeighbor::ROWS), Restart, "Areas of neighbours.";
        area: Vec<Area> = [], Kind::Tables(Area::ROWS), Restart, "Hierarchy and filters of areas.";
        summary: Vec<AreaSummary> = [], Kind::Tables(AreaSummary::ROWS), Restart, "What is summarised from one area to another.";
    }
}

table! {
    /// `[[link_state.areas.neighbor]]`
    AreaNeighbor of "link-state" {
        cluster: String = required, NAME, Restart, "The neighbour.";
        areas: Vec<String> = required, TEXTS, Restart, "Its areas.";
    }
}

table! {
    /// `[[link_state.areas.area]]`
    Area of "link-state" {
        name: String = required, NAME, Restart, "The area.";
        parent: String = "", TEXT, Restart, "The area above it; empty: none.";
        only_neighbors: Option<Vec<String>> = none, TEXTS, Restart, "Neighbours that take part; absent: all, []: none.";
    }
}

table! {
    /// `[[link_state.areas.summary]]`
    AreaSummary of "link-state" {
        from: String = required, NAME, Restart, "The area that is summarised.";
        to: String = required, NAME, Restart, "The area that gets the summary.";
        allow: Option<Vec<String>> = none, TEXTS, Restart, "Neighbours that are summarised; absent: any.";
        deny: Option<Vec<String>> = none, TEXTS, Restart, "Neighbours that are left out.";
    }
}

table! {
    /// `[federation]`
    Federation of "federation" {
        mode: FederationMode = "strict_isolation", Kind::Word(&FederationMode::WORDS), Link, "Who may connect from other clusters: strict_isolation, explicit_bridging or permissive_bridging.";
        allowed_clusters: Vec<String> = [], TEXTS, Link, "Clusters that may connect under explicit_bridging.";
        connection_timeout: Duration = "30s", PERIOD, Live, "How long a connection to another cluster may take.";
        retry_attempts: u32 = 3, COUNT, Live, "Failed dials in a row that are repeated at once, before backing off.";
        health_check_interval: Duration = "120s", PERIOD, Live, "A link with another cluster on which nothing comes for this long is closed and made again.";
        emit_metrics: bool = true, BOOL, Live, "Whether they are counted.";
        log: FederationLog = none, Kind::Table(FederationLog::ROWS), Restart, "What is logged.";
        security: FederationSecurity = none, Kind::Table(FederationSecurity::ROWS), Restart, "What other clusters must show and may call.";
        bridge: Vec<Bridge> = [], Kind::Tables(Bridge::ROWS), Link, "Connections to other clusters that are allowed one by one.";
    }
}

table! {
    /// `[federation.log]`
    FederationLog of "federation" {
        attempts: bool = true, BOOL, Restart, "Attempts to connect.";
        warnings: bool = false, BOOL, Restart, "Calls across clusters.";
        rejections: bool = true, BOOL, Live, "Refused connections.";
    }
}

table! {
    /// `[federation.security]`
    FederationSecurity of "federation" {
        require_mutual_auth: bool = true, BOOL, Link, "Whether nodes of other clusters must show a certificate, and those of this one where it is asked for (`tls.client_auth`).";
        require_encryption: bool = true, BOOL, Link, "Whether links with other clusters must be encrypted.";
        allow_functions: Vec<String> = [], TEXTS, Live, "Functions that other clusters may call; empty: all.";
        deny_functions: Vec<String> = [], TEXTS, Live, "Functions that they may not call.";
        max_requests_per_minute: u32 = 100, COUNT, Live, "Most calls a minute of one cluster; 0: unlimited.";
        max_connections_per_cluster: u32 = 10, SOME, Live, "Most connections of one cluster.";
    }
}

table! {
    /// `[[federation.bridge]]`
    Bridge of "federation" {
        cluster: String = required, NAME, Link, "The other cluster.";
        name: String = "", TEXT, Link, "Name in logs; empty: bridge_<local>_to_<remote>.";
        nodes: Vec<String> = [], TEXTS, Link, "Ids of the nodes that may connect; empty: any.";
        connection_timeout: Duration = "30s", PERIOD, Live, "How long a connection may take.";
        retry_attempts: u32 = 3, COUNT, Live, "Failed dials in a row that are repeated at once, before backing off.";
        health_check_interval: Duration = "60s", PERIOD, Live, "A link on which nothing comes for this long is closed and made again.";
    }
}
