//! Keys of discovery: resolvers, summaries, namespace policy, tenants, administration and the DNS gateway.

use std::collections::BTreeMap;
use std::time::Duration;

use super::node::Scope;
use crate::config::schema::*;
use crate::config::value::Secret;

words! {
    /// What holds where no rule does.
    PolicyDefault {
        Allow = "allow", "Visible.";
        Deny = "deny", "Hidden.";
    }
}

words! {
    /// Whose requests are counted together.
    RatePer {
        Connection = "connection", "Those of a connection.";
        Tenant = "tenant", "Those of a tenant.";
        Cluster = "cluster", "Those of a cluster, as in the reference.";
    }
}

words! {
    /// How a token is shown.
    CredentialScheme (any_case) {
        Bearer = "bearer", "`Authorization: Bearer`.";
        ApiKey = "api-key", "`X-API-Key`.";
    }
}

words! {
    /// Who may administer a node.
    AdminMode {
        Open = "open", "Everybody.";
        Loopback = "loopback", "Connections from this machine.";
        Tenants = "tenants", "The tenants that are listed.";
        Mtls = "mtls", "Whoever shows a certificate.";
    }
}

words! {
    /// Layout of DNS answers.
    DnsCompat {
        Standard = "standard", "As the standards say.";
        Reference = "reference", "As the reference answers.";
    }
}

words! {
    /// What a question for ANY gets.
    DnsAny {
        Minimal = "minimal", "One record set (RFC 8482).";
        Full = "full", "All records.";
    }
}

table! {
    /// `[discovery]`
    Discovery of "discovery" {
        resolver: Resolver = none, Kind::Table(Resolver::ROWS), Restart, "Answering from a copy of the catalog.";
        summary: Summary = none, Kind::Table(Summary::ROWS), Restart, "Summaries of services for other clusters.";
        policy: Policy = none, Kind::Table(Policy::ROWS), Restart, "Which namespaces are visible to whom.";
        rate_limit: RateLimit = none, Kind::Table(RateLimit::ROWS), Live, "How often may be asked.";
        audit: Audit = none, Kind::Table(Audit::ROWS), Restart, "The memory of refused questions.";
    }
}

table! {
    /// `[discovery.resolver]`
    Resolver of "resolver" {
        enabled: bool = false, BOOL, Restart, "Whether questions are answered from a copy of the catalog.";
        namespaces: Vec<String> = [], TEXTS, Restart, "Namespaces that are copied; empty: all.";
        seed_on_start: bool = true, BOOL, Restart, "Whether the copy starts with the catalog instead of empty.";
        prune_interval: Duration = "30s", SPAN, Restart, "How often expired entries are removed; 0: never.";
        resync_interval: Duration = "0s", SPAN, Restart, "How often the whole catalog is copied again; 0: never.";
        cache: ResolverCache = none, Kind::Table(ResolverCache::ROWS), Restart, "The memory of answers.";
    }
}

table! {
    /// `[discovery.resolver.cache]`
    ResolverCache of "resolver" {
        enabled: bool = true, BOOL, Restart, "Whether answers are remembered.";
        ttl: Duration = "10s", SPAN, Restart, "How long an answer is fresh.";
        stale: Duration = "20s", SPAN, Restart, "How long after that it may still be given.";
        negative_ttl: Duration = "5s", SPAN, Restart, "How long an empty answer is fresh.";
        max_entries: usize = 1000, COUNT, Restart, "Most answers remembered; 0: none.";
    }
}

table! {
    /// `[discovery.summary]`
    Summary of "summary-export" {
        export: bool = false, BOOL, Restart, "Whether summaries of own services are published.";
        interval: Duration = "30s", SPAN, Restart, "How often; 0: once.";
        namespaces: Vec<String> = [], TEXTS, Restart, "Namespaces that are summarised; empty: all.";
        scope: Option<Scope> = "global", Kind::WordOrNone(&Scope::WORDS), Restart, "Scope of the summaries: local, zone, region, global or empty for none.";
        include_unscoped: bool = true, BOOL, Restart, "Whether they are published on the topics without scope too.";
        hold_down: Duration = "0s", SPAN, Restart, "Least time between changes of a namespace; 0: none.";
        include_builtins: bool = false, BOOL, Restart, "Whether built-in functions are summarised; the reference does.";
        include_foreign: bool = false, BOOL, Restart, "Whether functions of other clusters are summarised as own ones; the reference does.";
        store_forward: StoreForward = none, Kind::Table(StoreForward::ROWS), Restart, "Summaries kept for late subscribers.";
        resolver: SummaryResolver = none, Kind::Table(SummaryResolver::ROWS), Restart, "Answering from summaries of others.";
    }
}

table! {
    /// `[discovery.summary.store_forward]`
    StoreForward of "summary-export" {
        window: Duration = "0s", SPAN, Restart, "How long summaries are kept; 0: not at all.";
        max_messages: usize = 100, COUNT, Restart, "Most messages kept; 0: none.";
    }
}

table! {
    /// `[discovery.summary.resolver]`
    SummaryResolver of "summary-resolver" {
        enabled: bool = false, BOOL, Restart, "Whether region and global questions are answered from summaries of others.";
        namespaces: Vec<String> = [], TEXTS, Restart, "Namespaces that are kept; empty: all.";
        scopes: Vec<Scope> = [], Kind::WordList(&Scope::WORDS), Restart, "Scopes that are kept; empty: all.";
        prune_interval: Duration = "30s", SPAN, Restart, "How often expired summaries are removed; 0: never.";
    }
}

table! {
    /// `[discovery.policy]`
    Policy of "policy" {
        enabled: bool = false, BOOL, Live, "Whether rules are enforced.";
        default: PolicyDefault = "allow", Kind::Word(&PolicyDefault::WORDS), Live, "What holds where no rule does: allow or deny.";
        persist: bool = true, BOOL, Restart, "Whether rules applied by RPC are kept in node.state_dir.";
        audit_max_entries: usize = 500, COUNT, Restart, "Most changes of rules remembered.";
        rule: Vec<PolicyRule> = [], Kind::Tables(PolicyRule::ROWS), Live, "Rules; the longest namespace that fits decides.";
    }
}

table! {
    /// `[[discovery.policy.rule]]`
    PolicyRule of "policy" {
        namespace: String = required, TEXT, Live, "The namespace, with everything below it.";
        owners: Vec<String> = [], TEXTS, Live, "Clusters that may offer it; empty: any.";
        visibility: Vec<String> = [], TEXTS, Live, "Clusters that see it; empty: any.";
        visibility_tenants: Vec<String> = [], TEXTS, Live, "Tenants that see it; empty: any.";
        export_scopes: Vec<Scope> = [], Kind::WordList(&Scope::WORDS), Live, "Scopes in which it may be summarised; empty: any.";
        allow_summaries: bool = false, BOOL, Live, "Whether it may be summarised.";
        policy_version: String = "", TEXT, Live, "A label that travels with summaries.";
        cutover: Vec<Cutover> = [], Kind::Tables(Cutover::ROWS), Live, "Times in which other export rules hold.";
    }
}

table! {
    /// `[[discovery.policy.rule.cutover]]`
    Cutover of "policy" {
        starts_at: f64 = required, Kind::Time, Live, "From when, a date-time or seconds since 1970.";
        ends_at: Option<f64> = none, Kind::Time, Live, "Until when; absent: without end.";
        export_scopes: Option<Vec<Scope>> = none, Kind::WordList(&Scope::WORDS), Live, "Scopes of that time; absent: those of the rule.";
        allow_summaries: Option<bool> = none, BOOL, Live, "Whether it may be summarised then; absent: as in the rule.";
    }
}

table! {
    /// `[discovery.rate_limit]`
    RateLimit of "rate-limit" {
        requests: u32 = 0, COUNT, Live, "Questions in a window; 0: unlimited.";
        window: Duration = "60s", SPAN, Live, "Length of the window; 0: unlimited.";
        max_keys: usize = 2000, COUNT, Live, "Most askers tracked at a time; 0: unlimited.";
        per: RatePer = "connection", Kind::Word(&RatePer::WORDS), Live, "Whose questions are counted together: connection, tenant or cluster.";
        namespace_in_key: bool = false, BOOL, Live, "Whether each namespace is counted for itself, as in the reference.";
    }
}

table! {
    /// `[discovery.audit]`
    Audit of "discovery" {
        max_entries: usize = 500, COUNT, Restart, "Most refused questions remembered.";
    }
}

table! {
    /// `[tenants]`
    Tenants of "tenants" {
        enabled: bool = false, BOOL, Live, "Whether clients are bound to tenants.";
        allow_claimed: bool = true, BOOL, Live, "Whether a client may name its tenant in a request; false by itself where credentials are given.";
        default: String = "", TEXT, Live, "Tenant of clients without one; empty: none.";
        header: String = "", TEXT, Live, "HTTP header that names the tenant where there are no credentials; empty: none.";
        reject_unknown: bool = true, BOOL, Live, "Whether a client with a token that nobody has is refused.";
        credential: Vec<Credential> = [], Kind::Tables(Credential::ROWS), Live, "Tokens of tenants.";
    }
}

table! {
    /// `[[tenants.credential]]`
    Credential of "tenants" {
        tenant: String = required, TEXT, Live, "The tenant.";
        scheme: CredentialScheme = "bearer", Kind::Word(&CredentialScheme::WORDS), Live, "How the token is shown: bearer or api-key.";
        token: Secret = none, Kind::Secret, Live, "The token; better in token_file.";
        token_file: String = "", TEXT, Live, "File with the token, not readable by others.";
        token_env: String = "", TEXT, Live, "Environment variable with the token.";
        token_sha256: String = "", Kind::Text(Rule::Hex32), Live, "Instead of the token: its SHA-256 as 64 hexadecimal digits.";
    }
}

table! {
    /// `[admin]`
    Admin of "admin" {
        mode: AdminMode = "open", Kind::Word(&AdminMode::WORDS), Live, "Who may change policy, resync and register: open, loopback, tenants or mtls.";
        tenants: Vec<String> = [], TEXTS, Live, "Tenants that may, for mode = \"tenants\".";
        register_namespaces: BTreeMap<String, Vec<String>> = {}, Kind::MapOfLists, Live, "For each tenant the prefixes of namespaces in which it may register DNS services.";
    }
}

table! {
    /// `[dns]`
    Dns of "dns" {
        enabled: bool = false, BOOL, Restart, "Whether DNS is answered.";
        host: String = "", HOST, Restart, "Address to bind; empty: listen.host.";
        port: u16 = 5353, PORT, Restart, "Port for UDP and TCP; 0: a free one, written to port_file.";
        udp_port: u16 = 0, PORT, Restart, "Port for UDP alone; 0: port.";
        tcp_port: u16 = 0, PORT, Restart, "Port for TCP alone; 0: port.";
        port_file: String = "", TEXT, Restart, "File that the bound ports are written to; empty: none.";
        zones: Vec<String> = ["mpreg"], TEXTS, Restart, "Zones that are answered.";
        min_ttl: Duration = "1s", SPAN, Restart, "Shortest lifetime in an answer.";
        max_ttl: Duration = "60s", SPAN, Restart, "Longest lifetime in an answer.";
        external_names: bool = false, BOOL, Restart, "Whether targets outside the zones are resolved.";
        external_suffixes: Vec<String> = [], TEXTS, Restart, "Domains that external_names is limited to; empty: any.";
        compat: DnsCompat = "standard", Kind::Word(&DnsCompat::WORDS), Restart, "Layout of answers: standard or reference.";
        udp_max: u32 = 1232, Kind::Int { min: 512, max: 65_535 }, Restart, "Largest answer over UDP, in bytes.";
        tcp_idle_timeout: Duration = "10s", PERIOD, Restart, "Idle TCP connections are closed after this long.";
        tcp_max_connections: usize = 256, SOME, Restart, "Most TCP connections at a time.";
        any: DnsAny = "minimal", Kind::Word(&DnsAny::WORDS), Restart, "What a question for ANY gets: minimal or full.";
        dns_sd: bool = true, BOOL, Restart, "Whether services can be browsed (RFC 6763).";
        rate_limit_per_client: u32 = 0, COUNT, Restart, "Answers a second for one /24 or /56; 0: unlimited.";
        allow_networks: Vec<String> = [], Kind::Texts(Rule::Network), Restart, "Networks that are answered; empty: all.";
        viewer: DnsViewer = none, Kind::Table(DnsViewer::ROWS), Restart, "As whom DNS clients see the catalog.";
        soa: DnsSoa = none, Kind::Table(DnsSoa::ROWS), Restart, "The records at the top of each zone.";
    }
}

table! {
    /// `[dns.viewer]`
    DnsViewer of "dns" {
        cluster: String = "", TEXT, Restart, "Cluster; empty: node.cluster_id.";
        tenant: String = "", TEXT, Restart, "Tenant; empty: none.";
    }
}

table! {
    /// `[dns.soa]`
    DnsSoa of "dns" {
        mname: String = "", HOST, Restart, "Primary name server; empty: the first of ns.";
        rname: String = "hostmaster", TEXT, Restart, "Mailbox of who is responsible.";
        refresh: Duration = "1h", PERIOD, Restart, "How often secondaries ask.";
        retry: Duration = "10m", PERIOD, Restart, "How soon they ask again after a failure.";
        expire: Duration = "1d", PERIOD, Restart, "How long they answer without having been refreshed.";
        negative_ttl: Duration = "5s", SPAN, Restart, "How long a name that does not exist is remembered.";
        ns: Vec<String> = [], Kind::Texts(Rule::Host), Restart, "Host names of the name servers of every zone.";
    }
}
