//! From the keys of the configuration to the plain settings of the modules. Nothing is decided here.

use std::path::PathBuf;

use super::fabric_settings;
use super::start::Place;
use crate::config::{self, Settings};
use crate::core::catalog::{Scope, Text, TransportEndpoint};
use crate::core::discovery as d;
use crate::core::trust::ConfiguredKey;
use crate::core::{fabric, membership};
use crate::drive::link::Protocol;
use crate::drive::listen::EndpointClass;
use crate::drive::log::LogSettings;
use crate::drive::tls::{ClientAuth, TlsSettings, TlsVersion};
use crate::drive::worker::WorkerSpec;

pub fn logs(settings: &Settings) -> LogSettings {
    LogSettings {
        level: level(settings.log.level),
        debug_scopes: settings.log.debug_scopes.clone(),
        json: settings.log.format == config::LogFormat::Json,
        node: settings.node.name.clone(),
        scopes: Vec::new(),
    }
}

pub fn level(level: config::LogLevel) -> log::LevelFilter {
    match level {
        config::LogLevel::Trace => log::LevelFilter::Trace,
        config::LogLevel::Debug => log::LevelFilter::Debug,
        config::LogLevel::Info => log::LevelFilter::Info,
        config::LogLevel::Warning => log::LevelFilter::Warn,
        config::LogLevel::Error => log::LevelFilter::Error,
    }
}

pub fn protocol(protocol: config::Protocol) -> Protocol {
    match protocol {
        config::Protocol::Ws => Protocol::Ws,
        config::Protocol::Wss => Protocol::Wss,
        config::Protocol::Tcp => Protocol::Tcp,
        config::Protocol::Tcps => Protocol::Tcps,
    }
}

pub fn class(class: config::LinkClass) -> EndpointClass {
    match class {
        config::LinkClass::Client => EndpointClass::Client,
        config::LinkClass::Internal => EndpointClass::Internal,
        config::LinkClass::Any => EndpointClass::Any,
    }
}

pub fn scope(scope: config::Scope) -> Scope {
    match scope {
        config::Scope::Local => Scope::Local,
        config::Scope::Zone => Scope::Zone,
        config::Scope::Region => Scope::Region,
        config::Scope::Global => Scope::Global,
    }
}

pub fn tls(settings: &Settings) -> TlsSettings {
    let file = |path: &str| (!path.is_empty()).then(|| PathBuf::from(path));
    TlsSettings {
        cert_file: file(&settings.tls.cert_file),
        key_file: file(&settings.tls.key_file),
        ca_file: file(&settings.tls.ca_file),
        client_auth: match settings.tls.client_auth {
            config::ClientAuth::None => ClientAuth::None,
            config::ClientAuth::Optional => ClientAuth::Optional,
            config::ClientAuth::Required => ClientAuth::Required,
        },
        min_version: match settings.tls.min_version {
            config::TlsVersion::V1_2 => TlsVersion::V1_2,
            config::TlsVersion::V1_3 => TlsVersion::V1_3,
        },
        verify_peers: settings.tls.verify_peers,
        server_name: (!settings.tls.server_name.is_empty()).then(|| settings.tls.server_name.clone()),
    }
}

/// First and last port of `listen.port_range`, which the configuration has checked.
pub fn port_range(settings: &Settings) -> (u16, u16) {
    let parts = settings.listen.port_range.split_once('-');
    let port = |text: &str| text.trim().parse().ok();
    parts.and_then(|(first, last)| Some((port(first)?, port(last)?))).unwrap_or((10_000, 16_000))
}

pub fn workers(settings: &Settings) -> Vec<WorkerSpec> {
    let spec = |f: &config::Function| WorkerSpec {
        name: f.name.clone(),
        function_id: f.id.clone(),
        // As the catalog writes it.
        version: crate::core::catalog::FunctionVersion::parse(&f.version)
            .map_or_else(|| f.version.clone(), |v| v.to_string()),
        command: f.command.clone(),
        instances: f.instances as usize,
        in_flight_max: f.in_flight_max as usize,
        timeout: f.timeout,
        restart_backoff: f.restart_backoff,
        environment: f.environment.clone(),
        user: (!f.user.is_empty()).then(|| f.user.clone()),
        idempotent: f.idempotent,
    };
    settings.function.iter().map(spec).collect()
}

pub fn fabric(
    settings: &Settings,
    node_id: &Text,
    instance_id: &Text,
    place: &Place,
    bridging: fabric::Bridging,
    chance_seed: u64,
) -> fabric::Settings {
    fabric::Settings {
        membership: membership::Settings {
            node_id: node_id.clone(),
            cluster_id: settings.node.cluster_id.as_str().into(),
            instance_id: instance_id.clone(),
            seeds: seeds(settings),
            gossip_interval_seconds: settings.fabric.gossip_interval.as_secs_f64(),
            goodbye_grace_seconds: settings.peers.goodbye_grace.as_secs_f64(),
            dial_backoff_seconds_max: DIAL_BACKOFF_SECONDS_MAX,
            dial_parallelism_max: match settings.peers.max_dial_parallelism {
                0 => DIAL_PARALLELISM_MAX,
                max => max,
            },
        },
        region: settings.node.region.as_str().into(),
        scope: place.scope,
        resources: place.resources.clone(),
        capabilities: place.capabilities.clone(),
        tags: place.tags.clone(),
        transport_endpoints: place.transport_endpoints.clone(),
        advertised_urls: place.advertised_urls.clone(),
        catalog_ttl_seconds: settings.fabric.catalog_ttl.as_secs_f64(),
        catalog_entries_per_cluster_max: settings.limits.catalog_entries_per_cluster,
        routing: settings.fabric.routing,
        hops_max: i64::from(settings.fabric.max_hops),
        calls_max: settings.limits.pending_calls_max,
        floods: fabric_settings::floods(settings),
        gossip_bytes_max: GOSSIP_BYTES_MAX,
        bridging,
        kin: true,
        chance_seed,
    }
}

/// What may change of that while the node runs; `listening` are the endpoints of its own listeners.
pub fn revision(
    settings: &Settings,
    keys: Vec<ConfiguredKey>,
    node_id: &Text,
    listening: &[TransportEndpoint],
) -> fabric::Revision {
    let (advertised_urls, transport_endpoints) = advertised(settings, node_id, listening);
    fabric::Revision {
        seeds: seeds(settings),
        transport_endpoints,
        advertised_urls,
        catalog_entries_per_cluster_max: settings.limits.catalog_entries_per_cluster,
        calls_max: settings.limits.pending_calls_max,
        floods: fabric_settings::floods(settings),
        federation: fabric_settings::federation(settings),
        route_rules: fabric_settings::route_rules(settings),
        keys,
    }
}

/// The URLs under which a node is reached, and where others can dial it.
pub fn advertised(
    settings: &Settings,
    node_id: &Text,
    listening: &[TransportEndpoint],
) -> (Vec<Text>, Vec<TransportEndpoint>) {
    let mut urls = texts(&settings.listen.advertised_urls);
    let mut endpoints = listening.to_vec();
    endpoints.extend(urls.iter().filter_map(|url| endpoint_of_url(url)));
    endpoints.sort();
    endpoints.dedup();
    if urls.is_empty() {
        urls.push(node_id.clone());
    }
    (urls, endpoints)
}

pub fn discovery(settings: &Settings, seed: u64) -> d::DiscoverySettings {
    let s = &settings.discovery;
    d::DiscoverySettings {
        seed,
        page: d::PageSettings {
            default_size: settings.fabric.page_default,
            size_max: settings.fabric.page_max,
            ..d::PageSettings::default()
        },
        policy: d::PolicySettings {
            enabled: s.policy.enabled,
            default_allow: s.policy.default == config::PolicyDefault::Allow,
            rules: policy_rules(settings),
            audit_entries_max: s.policy.audit_max_entries,
        },
        rate_limit: rate_limit(settings),
        audit: d::AuditSettings { entries_max: s.audit.max_entries },
        tenants: tenants(settings),
        admin: admin(settings),
        resolver: d::ResolverSettings {
            enabled: s.resolver.enabled,
            namespaces: texts(&s.resolver.namespaces),
            seed_on_start: s.resolver.seed_on_start,
            prune_interval: s.resolver.prune_interval,
            resync_interval: s.resolver.resync_interval,
            cache: d::QueryCacheSettings {
                enabled: s.resolver.cache.enabled,
                ttl: s.resolver.cache.ttl,
                stale: s.resolver.cache.stale,
                negative_ttl: s.resolver.cache.negative_ttl,
                entries_max: s.resolver.cache.max_entries,
            },
        },
        summary: summary(settings),
        rpc_spec: d::RpcSpecSettings {
            full: settings.fabric.rpc_spec.mode == config::RpcSpecMode::Full,
            namespaces: texts(&settings.fabric.rpc_spec.namespaces),
            bytes_max: match settings.fabric.rpc_spec.max_bytes {
                0 => None,
                max => Some(max as usize),
            },
        },
        services: d::ServiceSettings::default(),
    }
}

pub fn admin(settings: &Settings) -> d::AdminSettings {
    let s = &settings.admin;
    d::AdminSettings {
        mode: match s.mode {
            config::AdminMode::Open => d::AdminMode::Open,
            config::AdminMode::Loopback => d::AdminMode::Loopback,
            config::AdminMode::Tenants => d::AdminMode::Tenants,
            config::AdminMode::Mtls => d::AdminMode::Certificate,
        },
        tenants: texts(&s.tenants),
        register_namespaces: s
            .register_namespaces
            .iter()
            .map(|(tenant, namespaces)| (tenant.as_str().into(), texts(namespaces)))
            .collect(),
    }
}

pub fn rate_limit(settings: &Settings) -> d::RateLimitSettings {
    let s = &settings.discovery.rate_limit;
    d::RateLimitSettings {
        requests: s.requests as usize,
        window: s.window,
        keys_max: s.max_keys,
        per: match s.per {
            config::RatePer::Connection => d::RateLimitPer::Connection,
            config::RatePer::Tenant => d::RateLimitPer::Tenant,
            config::RatePer::Cluster => d::RateLimitPer::Cluster,
        },
        namespace_in_key: s.namespace_in_key,
    }
}

fn summary(settings: &Settings) -> d::SummarySettings {
    let s = &settings.discovery.summary;
    d::SummarySettings {
        export: s.export,
        interval: s.interval,
        namespaces: texts(&s.namespaces),
        scope: s.scope.map(scope),
        include_unscoped: s.include_unscoped,
        hold_down: s.hold_down,
        include_builtins: s.include_builtins,
        include_foreign: s.include_foreign,
        store_window: s.store_forward.window,
        store_messages_max: s.store_forward.max_messages,
        resolver: d::SummaryResolverSettings {
            enabled: s.resolver.enabled,
            namespaces: texts(&s.resolver.namespaces),
            scopes: s.resolver.scopes.iter().map(|s| scope(*s)).collect(),
            prune_interval: s.resolver.prune_interval,
            ..d::SummaryResolverSettings::default()
        },
    }
}

/// The policy as the configuration has it.
pub fn policy(settings: &Settings) -> d::Policy {
    let s = &settings.discovery.policy;
    d::Policy::new(s.enabled, s.default == config::PolicyDefault::Allow, policy_rules(settings))
}

pub fn tenants(settings: &Settings) -> d::TenantSettings {
    let s = &settings.tenants;
    let text = |t: &str| (!t.is_empty()).then(|| t.to_owned());
    let credential = |c: &config::Credential| {
        let tenant = Text::from(c.tenant.as_str());
        let scheme = match c.scheme {
            config::CredentialScheme::Bearer => d::CredentialScheme::Bearer,
            config::CredentialScheme::ApiKey => d::CredentialScheme::ApiKey,
        };
        match c.token_sha256.as_str() {
            "" => Some(d::Credential::from_token(tenant, scheme, c.token.reveal())),
            hex => d::Credential::from_sha256(tenant, scheme, hex),
        }
    };
    d::TenantSettings {
        enabled: s.enabled,
        allow_claimed: s.allow_claimed,
        default: text(&s.default).map(Text::from),
        header: text(&s.header),
        reject_unknown: s.reject_unknown,
        credentials: s.credential.iter().filter_map(credential).collect(),
    }
}

fn policy_rules(settings: &Settings) -> Vec<d::PolicyRule> {
    let scopes =
        |scopes: &[config::Scope]| scopes.iter().map(|s| scope(*s).word().into()).collect::<Vec<Text>>();
    let window = |c: &config::Cutover| d::CutoverWindow {
        starts_at: c.starts_at,
        ends_at: c.ends_at,
        export_scopes: c.export_scopes.as_deref().map(scopes).unwrap_or_default(),
        allow_summaries: c.allow_summaries,
    };
    let rule = |r: &config::PolicyRule| d::PolicyRule {
        namespace: r.namespace.as_str().into(),
        owners: texts(&r.owners),
        visibility: texts(&r.visibility),
        visibility_tenants: texts(&r.visibility_tenants),
        export_scopes: scopes(&r.export_scopes),
        allow_summaries: r.allow_summaries,
        cutover_windows: r.cutover.iter().map(window).collect(),
        policy_version: (!r.policy_version.is_empty()).then(|| r.policy_version.as_str().into()),
    };
    settings.discovery.policy.rule.iter().map(rule).collect()
}

pub fn seeds(settings: &Settings) -> Vec<Text> {
    let mut seeds = texts(&settings.peers.r#static);
    if !settings.peers.connect.is_empty() {
        seeds.push(settings.peers.connect.as_str().into());
    }
    seeds.sort_unstable();
    seeds.dedup();
    seeds
}

/// A list that is a set on the wire.
pub fn sorted(list: &[String]) -> Vec<Text> {
    let mut list = texts(list);
    list.sort_unstable();
    list.dedup();
    list
}

pub fn transport_endpoint(protocol: &str, host: &str, port: u16) -> TransportEndpoint {
    let authority =
        if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
    TransportEndpoint {
        connection_type: "internal".into(),
        protocol: protocol.into(),
        host: host.into(),
        port,
        endpoint: format!("{protocol}://{authority}:{port}").into(),
    }
}

/// `None` where the URL has no scheme of ours, no host or no port.
pub fn endpoint_of_url(url: &str) -> Option<TransportEndpoint> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = Protocol::from_name(scheme)?;
    let authority = rest.split(['/', '?']).next()?;
    let (host, port) = authority.rsplit_once(':')?;
    let host = host.trim_matches(['[', ']']);
    (!host.is_empty())
        .then(|| port.parse().ok())
        .flatten()
        .map(|port| transport_endpoint(scheme.name(), host, port))
}

fn texts(list: &[String]) -> Vec<Text> {
    list.iter().map(|t| t.as_str().into()).collect()
}

/// A peer that cannot be reached is tried at least this often.
const DIAL_BACKOFF_SECONDS_MAX: f64 = 60.0;
const DIAL_PARALLELISM_MAX: usize = 16;
/// Below the 1 MiB at which a reference node ends a link that it dialled (fabric.md, rule 14).
const GOSSIP_BYTES_MAX: usize = 900 * 1024;
