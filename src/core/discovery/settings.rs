//! What a node is told about discovery before it starts. Plain values with the defaults of the sectioned
//! configuration; they are checked where the configuration is read, never here.

use std::collections::BTreeMap;
use std::time::Duration;

use super::policy::PolicyRule;
use super::tenant::TenantSettings;
use crate::core::catalog::{Scope, Text};

/// All settings of [`super::Discovery`].
#[derive(Debug, Clone, Default)]
pub struct DiscoverySettings {
    /// Where the ids that are made here start; hand in something random.
    pub seed: u64,
    pub page: PageSettings,
    pub policy: PolicySettings,
    pub rate_limit: RateLimitSettings,
    pub audit: AuditSettings,
    pub tenants: TenantSettings,
    pub admin: AdminSettings,
    pub resolver: ResolverSettings,
    pub summary: SummarySettings,
    pub rpc_spec: RpcSpecSettings,
    pub services: ServiceSettings,
}

/// How long lists are cut, and for how long the list behind a page token is kept.
#[derive(Debug, Clone)]
pub struct PageSettings {
    /// Entries of a page when nothing is said (fabric.page_default).
    pub default_size: usize,
    /// No page is longer (fabric.page_max).
    pub size_max: usize,
    /// Lists that are kept for their next page, all viewers together.
    pub snapshots_max: usize,
    /// Entries in all kept lists together; each is a reference of 16 bytes.
    pub snapshot_rows_max: usize,
    /// A kept list that nobody asked for is dropped after this time.
    pub snapshot_life: Duration,
}

#[derive(Debug, Clone)]
pub struct PolicySettings {
    pub enabled: bool,
    /// The answer for names without a rule.
    pub default_allow: bool,
    pub rules: Vec<PolicyRule>,
    /// Entries of namespace_policy_audit.
    pub audit_entries_max: usize,
}

#[derive(Debug, Clone)]
pub struct RateLimitSettings {
    /// Accepted requests per key and window; 0 is off.
    pub requests: usize,
    /// Zero is off.
    pub window: Duration,
    /// Keys that have a budget of their own; further ones share one. 0 is without limit.
    pub keys_max: usize,
    pub per: RateLimitPer,
    /// Gives each namespace a budget of its own, as the reference does.
    pub namespace_in_key: bool,
}

/// Who has a budget of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateLimitPer {
    Connection,
    /// The tenant, or the connection where there is none.
    Tenant,
    /// The tenant, or the cluster where there is none: all anonymous clients together.
    Cluster,
}

#[derive(Debug, Clone)]
pub struct AuditSettings {
    /// Entries of discovery_access_audit.
    pub entries_max: usize,
}

/// Who may change policy, resync, read the audits and register services.
#[derive(Debug, Clone, Default)]
pub struct AdminSettings {
    pub mode: AdminMode,
    /// With [`AdminMode::Tenants`]: who they are.
    pub tenants: Vec<Text>,
    /// Tenant to the namespaces in which it may register services; where this is not empty, nobody else may.
    pub register_namespaces: BTreeMap<Text, Vec<Text>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AdminMode {
    #[default]
    Open,
    /// Connections from this machine.
    Loopback,
    /// Connections that are bound to one of `tenants`.
    Tenants,
    /// Connections with a verified client certificate.
    Certificate,
}

/// The private discovery cache of a resolver (client.md 4.13).
#[derive(Debug, Clone)]
pub struct ResolverSettings {
    pub enabled: bool,
    /// Only names at or below one of these are taken; empty takes all.
    pub namespaces: Vec<Text>,
    pub seed_on_start: bool,
    /// Zero is off.
    pub prune_interval: Duration,
    /// Zero is off.
    pub resync_interval: Duration,
    pub cache: QueryCacheSettings,
}

#[derive(Debug, Clone)]
pub struct QueryCacheSettings {
    pub enabled: bool,
    /// Fresh life of a result with entries.
    pub ttl: Duration,
    /// How much longer it is served while it is computed anew.
    pub stale: Duration,
    /// Fresh life of an empty result.
    pub negative_ttl: Duration,
    pub entries_max: usize,
}

/// Summaries: what is exported, and what is taken from others (discovery.md 5 and 6).
#[derive(Debug, Clone)]
pub struct SummarySettings {
    pub export: bool,
    /// Zero exports once.
    pub interval: Duration,
    /// Only summaries at or below one of these; empty is all.
    pub namespaces: Vec<Text>,
    pub scope: Option<Scope>,
    pub include_unscoped: bool,
    /// Least time between two changes of what a namespace shows.
    pub hold_down: Duration,
    pub include_builtins: bool,
    /// Also functions of other clusters, as if they were this cluster's.
    pub include_foreign: bool,
    /// How long exports are kept for late subscribers; zero is off.
    pub store_window: Duration,
    pub store_messages_max: usize,
    pub resolver: SummaryResolverSettings,
}

#[derive(Debug, Clone)]
pub struct SummaryResolverSettings {
    pub enabled: bool,
    pub namespaces: Vec<Text>,
    /// Only messages of these scopes; empty is all.
    pub scopes: Vec<Scope>,
    /// Zero is off.
    pub prune_interval: Duration,
    /// Summaries that are kept, all clusters together.
    pub entries_max: usize,
}

/// Which full descriptions are put into catalog entries (fabric.rpc_spec).
#[derive(Debug, Clone, Default)]
pub struct RpcSpecSettings {
    pub full: bool,
    /// Only functions at or below one of these namespaces; empty is all.
    pub namespaces: Vec<Text>,
    /// Longest description in canonical form.
    pub bytes_max: Option<usize>,
}

#[derive(Debug, Clone)]
pub struct ServiceSettings {
    /// Services that this node holds at most.
    pub entries_max: usize,
    /// Longest catalog entry of one of them, as JSON.
    pub bytes_max: usize,
}

impl Default for PageSettings {
    fn default() -> PageSettings {
        PageSettings {
            default_size: 200,
            size_max: 2000,
            snapshots_max: 256,
            snapshot_rows_max: 500_000,
            snapshot_life: Duration::from_secs(30),
        }
    }
}

impl Default for PolicySettings {
    fn default() -> PolicySettings {
        PolicySettings { enabled: false, default_allow: true, rules: Vec::new(), audit_entries_max: 500 }
    }
}

impl Default for RateLimitSettings {
    fn default() -> RateLimitSettings {
        RateLimitSettings {
            requests: 0,
            window: Duration::from_secs(60),
            keys_max: 2000,
            per: RateLimitPer::Connection,
            namespace_in_key: false,
        }
    }
}

impl Default for AuditSettings {
    fn default() -> AuditSettings {
        AuditSettings { entries_max: 500 }
    }
}

impl Default for ResolverSettings {
    fn default() -> ResolverSettings {
        ResolverSettings {
            enabled: false,
            namespaces: Vec::new(),
            seed_on_start: true,
            prune_interval: Duration::from_secs(30),
            resync_interval: Duration::ZERO,
            cache: QueryCacheSettings::default(),
        }
    }
}

impl Default for QueryCacheSettings {
    fn default() -> QueryCacheSettings {
        QueryCacheSettings {
            enabled: true,
            ttl: Duration::from_secs(10),
            stale: Duration::from_secs(20),
            negative_ttl: Duration::from_secs(5),
            entries_max: 1000,
        }
    }
}

impl Default for SummarySettings {
    fn default() -> SummarySettings {
        SummarySettings {
            export: false,
            interval: Duration::from_secs(30),
            namespaces: Vec::new(),
            scope: Some(Scope::Global),
            include_unscoped: true,
            hold_down: Duration::ZERO,
            include_builtins: false,
            include_foreign: false,
            store_window: Duration::ZERO,
            store_messages_max: 100,
            resolver: SummaryResolverSettings::default(),
        }
    }
}

impl Default for SummaryResolverSettings {
    fn default() -> SummaryResolverSettings {
        SummaryResolverSettings {
            enabled: false,
            namespaces: Vec::new(),
            scopes: Vec::new(),
            prune_interval: Duration::from_secs(30),
            entries_max: 100_000,
        }
    }
}

impl Default for ServiceSettings {
    fn default() -> ServiceSettings {
        ServiceSettings { entries_max: 10_000, bytes_max: 64 * 1024 }
    }
}
