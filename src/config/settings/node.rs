//! Keys of the node itself: identity, listeners, TLS, peers, limits, log, monitoring and persistence.

use std::time::Duration;

use crate::config::schema::*;
use crate::config::value::Secret;

words! {
    /// A named set of defaults (cli-config 4.2).
    Role {
        Ingress = "ingress", "Routes and serves clients without functions of its own.";
        Resolver = "resolver", "Answers questions from a catalog cache.";
        SummaryResolver = "summary-resolver", "Answers region and global questions from summaries.";
        DnsGateway = "dns-gateway", "Answers DNS over the catalog.";
        Hub = "hub", "Relays between clusters.";
    }
}

words! {
    /// How far an entry is visible; each scope includes those before it.
    Scope (any_case) {
        Local = "local", "The node.";
        Zone = "zone" ["cluster"], "The cluster.";
        Region = "region", "The clusters of a region.";
        Global = "global", "Everywhere.";
    }
}

words! {
    /// What a listener speaks.
    Protocol {
        Ws = "ws", "WebSocket.";
        Wss = "wss", "WebSocket over TLS.";
        Tcp = "tcp", "Frames with a length in front.";
        Tcps = "tcps", "The same over TLS.";
    }
}

words! {
    /// Who a listener is for.
    LinkClass {
        Client = "client", "Clients only; nodes are refused.";
        Internal = "internal", "Nodes only; clients are refused.";
        Any = "any", "Both.";
    }
}

words! {
    /// Whether clients show a certificate.
    ClientAuth {
        None = "none", "Not asked for.";
        Optional = "optional", "Checked when shown.";
        Required = "required", "Refused without.";
    }
}

words! {
    /// The oldest TLS that is spoken.
    TlsVersion {
        V1_2 = "1.2", "TLS 1.2.";
        V1_3 = "1.3", "TLS 1.3.";
    }
}

words! {
    /// Where a discovery backend looks.
    DiscoverType {
        DnsSrv = "dns_srv", "SRV records.";
        StaticFile = "static_file", "A file with addresses.";
        Consul = "consul", "A Consul agent.";
        Http = "http", "A document with addresses.";
    }
}

words! {
    /// Where state is kept.
    PersistenceMode {
        Off = "off", "Nowhere.";
        Memory = "memory", "In memory, until the end of the process.";
        Fjall = "fjall", "On disk.";
    }
}

words! {
    /// When written state is on disk.
    PersistenceSync {
        Commit = "commit", "Before an answer; a group of writers shares one sync.";
        Interval = "interval", "Every sync_interval.";
    }
}

words! {
    /// What happens to the routes of a neighbour beyond its limit.
    RoutesAction {
        Refuse = "refuse", "They are refused.";
        Warn = "warn", "They are taken, with a warning.";
        DropLink = "drop_link", "The link is closed.";
    }
}

words! {
    /// How much the log tells.
    LogLevel (any_case) {
        Error = "error" ["critical"], "What failed.";
        Warning = "warning" ["warn"], "What may go wrong.";
        Info = "info" ["success"], "What changed.";
        Debug = "debug", "What was done.";
        Trace = "trace", "Each step.";
    }
}

words! {
    /// How a log line looks.
    LogFormat {
        Text = "text", "For people.";
        Json = "json", "One object a line.";
    }
}

words! {
    /// Subjects that can be watched closely, at the level of a warning.
    Diagnostic {
        PeerDial = "peer_dial", "Dialling.";
        PeerDialPolicy = "peer_dial_policy", "Whom to dial.";
        DiscoveryLoop = "discovery_loop", "Discovery backends.";
        SummaryIngress = "summary_ingress", "Hints to ingress nodes.";
        DiscoverySummary = "discovery_summary", "Exported summaries.";
        CatalogSnapshot = "catalog_snapshot", "The whole catalog.";
        PeerSnapshot = "peer_snapshot", "All peers.";
        GossipSched = "gossip_sched", "When gossip is sent.";
        Raft = "raft", "Consensus.";
    }
}

table! {
    /// `[node]`
    Node of "node" {
        name: String = "", TEXT, Restart, "Name in logs, metrics and status; empty: the host name.";
        cluster_id: String = "default-cluster", NAME, Restart, "The cluster this node belongs to.";
        role: Vec<Role> = [], Kind::WordList(&Role::WORDS), Restart, "Named sets of defaults: ingress, resolver, summary-resolver, dns-gateway, hub; one or a list.";
        id: String = "", Kind::Text(Rule::Url), Restart, "Node id as known to others; empty: the first advertised URL, else ws://<listen.host>:<port>. Port 0 stands for the bound port.";
        resources: Vec<String> = [], TEXTS, Restart, "Resources that calls can ask for; they are advertised with the node.";
        tags: Vec<String> = [], TEXTS, Restart, "Tags of the node in the catalog.";
        scope: Scope = "zone", Kind::Word(&Scope::WORDS), Restart, "How far the node is visible: local, zone, region or global.";
        region: String = "local", TEXT, Restart, "The region of the node, its cache and its summaries.";
        latitude: f64 = 0.0, Kind::Float { min: -90.0, max: 90.0 }, Restart ["cache"], "Where the node stands, in degrees; used to choose near caches.";
        longitude: f64 = 0.0, Kind::Float { min: -180.0, max: 180.0 }, Restart ["cache"], "Where the node stands, in degrees; used to choose near caches.";
        standalone: bool = false, BOOL, Restart, "True for a node that is meant to have no peers.";
        state_dir: String = "/var/lib/mpreg", NAME, Restart, "Directory for everything that survives a restart.";
        stop_timeout: Duration = "10s", SPAN, Live, "How long an orderly stop may take.";
    }
}

table! {
    /// `[listen]`
    Listen of "listen" {
        host: String = "127.0.0.1", Kind::Text(Rule::Host), Restart, "Address or name to bind.";
        port: u16 = 0, PORT, Restart, "Port to bind; 0: a free one of port_range, written to port_file.";
        port_file: String = "", TEXT, Restart, "File that the bound port is written to; empty: none.";
        port_range: String = "10000-16000", Kind::Text(Rule::PortRange), Restart, "Ports to choose from when port is 0.";
        advertised_urls: Vec<String> = [], Kind::Texts(Rule::Url), Live, "URLs under which others reach this node, if they differ from host and port.";
        max_message: u64 = "16MiB", Kind::Size(1024), Restart, "Largest message accepted or sent.";
        max_connections: usize = 10000, SOME, Live, "Most connections at a time.";
        idle_timeout: Duration = "0s", SPAN, Live, "A client on TCP that says nothing for this long and has no subscription is disconnected, one on WebSocket is pinged and stays if it answers; 0: never, and a ping every 20 s.";
        endpoint: Vec<ListenEndpoint> = [], Kind::Tables(ListenEndpoint::ROWS), Restart, "Additional listeners.";
    }
}

table! {
    /// `[[listen.endpoint]]`
    ListenEndpoint of "listen" {
        protocol: Protocol = required, Kind::Word(&Protocol::WORDS), Restart, "What is spoken: ws, wss, tcp or tcps.";
        host: String = "127.0.0.1", HOST, Restart, "Address or name to bind.";
        port: u16 = 0, PORT, Restart, "Port to bind; 0: a free one.";
        class: LinkClass = "client", Kind::Word(&LinkClass::WORDS), Restart, "Who may connect: client, internal or any.";
    }
}

table! {
    /// `[tls]`
    Tls of "tls" {
        cert_file: String = "", TEXT, Live, "Certificate chain in PEM, own certificate first.";
        key_file: String = "", TEXT, Live, "Private key of the certificate in PEM; not readable by others.";
        ca_file: String = "", TEXT, Live, "Certificates in PEM that peers and clients are trusted by; empty: those of the system, for outgoing links.";
        client_auth: ClientAuth = "none", Kind::Word(&ClientAuth::WORDS), Live, "Whether clients must show a certificate: none, optional or required.";
        min_version: TlsVersion = "1.2", Kind::Word(&TlsVersion::WORDS), Live, "Oldest version of TLS: 1.2 or 1.3.";
        verify_peers: bool = true, BOOL, Live, "Whether certificates of dialled peers are verified.";
        server_name: String = "", HOST, Live, "Name to verify dialled peers against; empty: the host of their URL.";
    }
}

table! {
    /// `[control]`
    Control of "control" {
        enabled: bool = true, BOOL, Restart, "Whether mpreg ctl is answered, on a UNIX socket for root and the user of the node.";
        socket: String = "", TEXT, Restart, "Absolute path of the socket; empty: control.sock in the runtime directory of the systemd unit, else in node.state_dir where that is set, else node-PID.sock in the mpreg folder of the user's runtime directory.";
    }
}

table! {
    /// `[peers]`
    Peers of "peers" {
        r#static: Vec<String> = [], Kind::Texts(Rule::Url), Link, "Peers that are dialled at start and kept connected.";
        connect: String = "", Kind::Text(Rule::Url), Link, "One more peer that is dialled at start and kept connected.";
        goodbye_grace: Duration = "5s", SPAN, Restart, "How long a node that said goodbye is neither dialled nor let in again; 0: not at all.";
        connect_timeout: Duration = "10s", PERIOD, Live, "How long one attempt to connect to a peer may take.";
        max_dial_parallelism: usize = 0, COUNT, Restart, "Most peers dialled at a time; 0: by the number of peers.";
        discover: Vec<Discover> = [], Kind::Tables(Discover::ROWS), Live ["bootstrap"], "Places to find more peers in.";
    }
}

table! {
    /// `[[peers.discover]]`
    Discover of "bootstrap" {
        r#type: DiscoverType = required, Kind::Word(&DiscoverType::WORDS), Live, "Where to look: dns_srv, static_file, consul or http.";
        domain: String = "mpreg.local", HOST, Live, "For dns_srv: the domain that is asked.";
        service: String = "_mpreg._tcp", TEXT, Live, "For dns_srv: the service that is asked for. Peers of _mpregs and _wss are dialled with wss, others with ws.";
        resolver: String = "", TEXT, Live, "For dns_srv: host:port of the name server, which is asked for the addresses too; empty: those of the system.";
        use_tcp: bool = false, BOOL, Live, "For dns_srv: ask over TCP.";
        timeout: Duration = "2s", PERIOD, Live, "How long one question may take, names and connections included.";
        interval: Duration = "2m", PERIOD, Live, "How often is asked, within a quarter of it more or less.";
        path: String = "", TEXT, Live, "For static_file: the file; it is read again as soon as it has changed.";
        url: String = "", Kind::Text(Rule::HttpUrl), Live, "For http: the document.";
        registration_ttl: Duration = "2m", PERIOD, Live, "How long a found peer counts without being found again, while the place answers.";
        consul: Consul = none, Kind::Table(Consul::ROWS), Live, "For consul: the agent.";
        min_health_score: f64 = 50.0, Kind::Float { min: 0.0, max: 100.0 }, Live, "For static_file and http: peers below this health score are left out.";
        filter_unhealthy: bool = true, BOOL, Live, "For static_file, http and consul: whether unhealthy peers are left out.";
    }
}

table! {
    /// `consul` of `[[peers.discover]]`
    Consul of "bootstrap" {
        host: String = "localhost", HOST, Live, "Host of the agent.";
        port: u16 = 8500, PORT, Live, "Port of the agent.";
        service: String = "mpreg-federation", TEXT, Live, "Service that is asked for.";
        datacenter: String = "dc1", TEXT, Live, "Data centre that is asked for; empty: that of the agent.";
    }
}

table! {
    /// `[persistence]`
    Persistence of "store" {
        mode: PersistenceMode = "off", Kind::Word(&PersistenceMode::WORDS), Restart, "Where state is kept: off, memory or fjall (on disk).";
        dir: String = "", TEXT, Restart, "Directory of the store; empty: node.state_dir.";
        sync: PersistenceSync = "commit", Kind::Word(&PersistenceSync::WORDS), Restart, "When written state is on disk: commit (before an answer, shared by a group) or interval.";
        sync_interval: Duration = "1s", PERIOD, Restart, "How often it is synced when sync is interval.";
        cache_size: u64 = "32MiB", SIZE, Restart, "Memory for reading the store.";
        memtable_size: u64 = "8MiB", BYTES, Restart, "Memory for writing the store, for each kind of state.";
        snapshot_interval: Duration = "60s", SPAN, Restart, "How often state that lives in memory is written; 0: only at an orderly stop.";
        persist_services: bool = true, BOOL, Restart ["dns"], "Whether DNS registrations survive a restart.";
    }
}

table! {
    /// `[limits]`
    Limits of "limits" {
        memory: u64 = "256MiB", BYTES, Live, "Accounted memory: buffers, backlog, level 1 cache and queues in memory.";
        outbound_per_link: u64 = "8MiB", BYTES, Live, "Bytes that wait for one connection to read.";
        pending_calls_max: usize = 10000, SOME, Live, "Most calls under way; of those of other nodes no peer holds more than three quarters.";
        subscriptions_per_connection: usize = 1000, SOME, Live, "Most subscriptions of one connection.";
        catalog_entries_per_cluster: usize = 100000, SOME, Live, "Most catalog entries of one cluster.";
        routes_per_neighbor: usize = 100000, SOME, Live ["route"], "Most routes learned from one neighbour.";
        routes_action: RoutesAction = "refuse", Kind::Word(&RoutesAction::WORDS), Live ["route"], "What happens beyond that: refuse, warn or drop_link.";
        peer_gossip_per_second: u32 = 2000, SOME, Live, "Gossip messages of one peer a second, over ten seconds.";
        peer_gossip_bytes_per_second: u64 = "16MiB", BYTES, Live, "Their bytes.";
        peer_publications_per_second: u32 = 50000, SOME, Live, "Publications that one peer passes on a second, over ten seconds.";
        peer_publication_bytes_per_second: u64 = "64MiB", BYTES, Live, "Their bytes.";
        backlog: u64 = "64MiB", SIZE, Live, "Bytes of published messages kept for late subscribers.";
    }
}

table! {
    /// `[monitoring]`
    Monitoring of "monitoring" {
        enabled: bool = true, BOOL, Restart, "Whether HTTP endpoints are served.";
        host: String = "127.0.0.1", HOST, Restart, "Address or name to bind.";
        port: u16 = 0, PORT, Restart, "Port to bind; 0: a free one, written to port_file.";
        port_file: String = "", TEXT, Restart, "File that the bound port is written to; empty: none.";
        port_fallback: bool = false, BOOL, Restart, "Whether a busy port is replaced by a free one instead of stopping the start.";
        prometheus: bool = true, BOOL, Live, "Whether metrics are served in the form of Prometheus.";
        token: Secret = none, Kind::Secret, Live, "Bearer token that readers must show; better in token_file.";
        token_file: String = "", TEXT, Live, "File with the bearer token that readers must show; empty: none is asked for.";
        token_env: String = "", TEXT, Live, "Environment variable with that token.";
        admin_token: Secret = none, Kind::Secret, Restart ["monitoring-history"], "Bearer token for changes; better in admin_token_file.";
        admin_token_file: String = "", TEXT, Restart ["monitoring-history"], "File with the bearer token for changes; empty: changes are refused.";
        admin_token_env: String = "", TEXT, Restart ["monitoring-history"], "Environment variable with that token.";
        sample_interval: Duration = "5s", PERIOD, Restart ["monitoring-history"], "How often metrics are sampled.";
        history: Duration = "2h", SPAN, Restart ["monitoring-history"], "How long samples are kept.";
        cors: Cors = none, Kind::Table(Cors::ROWS), Restart, "Which web pages of other origins may read.";
        alerts: Alerts = none, Kind::Table(Alerts::ROWS), Live ["monitoring-history"], "When an alert is raised.";
    }
}

table! {
    /// `[monitoring.cors]`
    Cors of "monitoring" {
        enabled: bool = true, BOOL, Live, "Whether CORS headers are sent.";
        origins: Vec<String> = ["*"], TEXTS, Live, "Origins that may read; * means all.";
    }
}

table! {
    /// `[monitoring.alerts]`
    Alerts of "monitoring-history" {
        latency_warning: Duration = "100ms", PERIOD, Live, "Mean latency that raises a warning.";
        latency_error: Duration = "500ms", PERIOD, Live, "Mean latency that raises an error.";
        latency_critical: Duration = "1s", PERIOD, Live, "Mean latency that raises a critical alert.";
        error_rate: Vec<f64> = [1.0, 5.0, 10.0], Kind::Numbers(3), Live, "Percent of failures for warning, error and critical.";
        health_score: Vec<f64> = [80.0, 60.0, 40.0], Kind::Numbers(3), Live, "Health scores below which warning, error and critical are raised.";
        throughput_drop: Vec<f64> = [0.5, 0.2, 0.05], Kind::Numbers(3), Live, "Share of the usual throughput below which warning, error and critical are raised.";
        auto_resolve: bool = true, BOOL, Live, "Whether alerts end by themselves.";
    }
}

table! {
    /// `[log]`
    Log of "log" {
        level: LogLevel = "info", Kind::Word(&LogLevel::WORDS), Live, "How much is told: error, warning, info, debug or trace.";
        debug_scopes: Vec<String> = [], TEXTS, Live, "Modules that tell debug lines whatever the level.";
        diagnostics: Vec<Diagnostic> = [], Kind::WordList(&Diagnostic::WORDS), Restart ["diagnostics"], "Subjects that are told in all detail: peer_dial, peer_dial_policy, discovery_loop, summary_ingress, discovery_summary, catalog_snapshot, peer_snapshot, gossip_sched, raft.";
        format: LogFormat = "text", Kind::Word(&LogFormat::WORDS), Live, "Form of a line: text or json.";
    }
}
