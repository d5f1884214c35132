//! From the keys of the configuration to the settings of federation, routes, keys and link state. Nothing is decided
//! here: what contradicts itself was refused when the configuration was checked. Only key files are read again, since
//! they may have changed; a fault of theirs names its key and its place.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{self, Element, Fault, Faults, Loaded, Origin, Settings, Value};
use crate::core::catalog::Text;
use crate::core::fabric::{Bridging, FloodLimits};
use crate::core::federation::{self, Bridge, LinkTerms, Mode};
use crate::core::link_state::{self, Area, Areas, Summary};
use crate::core::route::{self, OverLimit, Policies, Policy, Stability, Tiebreaker, Weights};
use crate::core::trust::{self, ConfiguredKey, PublicKey, Signer};
use crate::drive::key_source::KeySource;
use crate::drive::tls::TlsTrust;

pub fn federation(settings: &Settings) -> federation::Settings {
    let s = &settings.federation;
    let bridge = |b: &config::Bridge| Bridge {
        cluster: b.cluster.as_str().into(),
        name: b.name.as_str().into(),
        nodes: set(&b.nodes),
        terms: terms(b.connection_timeout, b.retry_attempts, b.health_check_interval),
    };
    federation::Settings {
        cluster_id: settings.node.cluster_id.as_str().into(),
        mode: match s.mode {
            config::FederationMode::StrictIsolation => Mode::StrictIsolation,
            config::FederationMode::ExplicitBridging => Mode::ExplicitBridging,
            config::FederationMode::PermissiveBridging => Mode::PermissiveBridging,
        },
        allowed_clusters: set(&s.allowed_clusters),
        bridges: s.bridge.iter().map(bridge).collect(),
        require_mutual_auth: s.security.require_mutual_auth,
        require_encryption: s.security.require_encryption,
        allow_functions: set(&s.security.allow_functions),
        deny_functions: set(&s.security.deny_functions),
        requests_per_minute_max: s.security.max_requests_per_minute,
        connections_per_cluster_max: s.security.max_connections_per_cluster,
        terms: terms(s.connection_timeout, s.retry_attempts, s.health_check_interval),
    }
}

/// `[route]`
pub fn routes(settings: &Settings) -> route::Settings {
    let s = &settings.route;
    route::Settings {
        cluster_id: settings.node.cluster_id.as_str().into(),
        ttl_seconds: s.ttl.as_secs_f64(),
        announce_interval_seconds: s.announce_interval.as_secs_f64(),
        tags: set(&s.tags).into_iter().collect(),
        routes_per_destination_max: s.max_routes_per_destination,
        stability: Stability {
            hold_down_seconds: s.stability.hold_down.as_secs_f64(),
            flap_threshold: s.stability.flap_threshold,
            suppression_window_seconds: s.stability.suppression_window.as_secs_f64(),
        },
    }
}

/// `[[route.policy]]` and the limits of routes, which may change while the node runs.
pub fn route_rules(settings: &Settings) -> route::Rules {
    route::Rules {
        import: policies(settings, config::Direction::Import),
        export: policies(settings, config::Direction::Export),
        routes_per_neighbour_max: settings.limits.routes_per_neighbor,
        over_limit: match settings.limits.routes_action {
            config::RoutesAction::Refuse => OverLimit::Refuse,
            config::RoutesAction::Warn => OverLimit::Warn,
            config::RoutesAction::DropLink => OverLimit::DropLink,
        },
    }
}

/// What one peer may send.
pub fn floods(settings: &Settings) -> FloodLimits {
    FloodLimits {
        gossip: settings.limits.peer_gossip_per_second,
        gossip_bytes: settings.limits.peer_gossip_bytes_per_second,
        publications: settings.limits.peer_publications_per_second,
        publication_bytes: settings.limits.peer_publication_bytes_per_second,
    }
}

/// Everything that concerns other clusters.
pub fn bridging(loaded: &Loaded) -> Result<Bridging, Faults> {
    let settings = &loaded.settings;
    Ok(Bridging {
        federation: federation(settings),
        route: routes(settings),
        route_rules: route_rules(settings),
        trust: trust(loaded)?,
        link_state: link_state(settings),
        key_announce_interval: settings.route.security.key_announce_interval,
        log_attempts: settings.federation.log.attempts,
        log_calls: settings.federation.log.warnings,
    })
}

fn policies(settings: &Settings, direction: config::Direction) -> Policies {
    let mut policies = Policies::default();
    for written in settings.route.policy.iter().filter(|p| p.direction == direction) {
        let policy = policy(written);
        match written.applies_to {
            config::AppliesTo::Global => policies.global = Some(policy),
            config::AppliesTo::NeighborDefault => policies.default = Some(policy),
            config::AppliesTo::Neighbor => {
                policies.neighbours.insert(written.neighbor.as_str().into(), policy);
            }
        }
    }
    policies
}

/// `[route.security]` with its keys read.
pub fn trust(loaded: &Loaded) -> Result<trust::Settings, Faults> {
    let s = &loaded.settings.route.security;
    let mut faults = Faults::default();
    let keys = read_keys(loaded, &mut faults);
    let signer = signer(loaded, &mut faults);
    if !faults.is_empty() {
        return Err(faults.sorted());
    }
    Ok(trust::Settings {
        cluster_id: loaded.settings.node.cluster_id.as_str().into(),
        require_signatures: s.require_signatures,
        allow_unsigned: s.allow_unsigned,
        keys,
        signer,
        key_ttl_seconds: s.key_ttl.as_secs_f64(),
        rotation_overlap_seconds: s.rotation_overlap.as_secs_f64(),
    })
}

/// `[[route.security.key]]`, which may change while the node runs.
pub fn keys(loaded: &Loaded) -> Result<Vec<ConfiguredKey>, Faults> {
    let mut faults = Faults::default();
    let keys = read_keys(loaded, &mut faults);
    if faults.is_empty() { Ok(keys) } else { Err(faults.sorted()) }
}

/// `[route.security.provider]`: where further keys are read from, and how often.
pub fn key_source(settings: &Settings, trust: Option<Arc<TlsTrust>>) -> Option<(KeySource, Duration)> {
    let s = &settings.route.security.provider;
    let source = match s.r#type {
        config::ProviderType::File => KeySource::File(s.source.as_str().into()),
        config::ProviderType::Directory => KeySource::Directory(s.source.as_str().into()),
        config::ProviderType::Exec => {
            KeySource::Exec(s.source.split_whitespace().map(str::to_owned).collect())
        }
        config::ProviderType::Http => KeySource::Http(s.source.clone(), trust),
        config::ProviderType::None => return None,
    };
    Some((source, s.refresh_interval))
}

/// `[link_state]`
pub fn link_state(settings: &Settings) -> link_state::Settings {
    let s = &settings.link_state;
    let area = text(&s.area);
    link_state::Settings {
        cluster_id: settings.node.cluster_id.as_str().into(),
        mode: match s.mode {
            config::LinkStateMode::Disabled => link_state::Mode::Disabled,
            config::LinkStateMode::Prefer => link_state::Mode::Prefer,
            config::LinkStateMode::Only => link_state::Mode::Only,
        },
        ttl_seconds: s.ttl.as_secs_f64(),
        announce_interval: s.announce_interval,
        ecmp_paths: s.ecmp_paths as usize,
        areas: areas(&s.areas),
        area,
        limits: link_state::Limits::default(),
    }
}

fn areas(s: &config::Areas) -> Areas {
    let neighbour = |n: &config::AreaNeighbor| (Text::from(n.cluster.as_str()), set(&n.areas));
    let described = |a: &config::Area| {
        let area = Area { parent: text(&a.parent), only_neighbours: a.only_neighbors.as_deref().map(set) };
        (Text::from(a.name.as_str()), area)
    };
    let summary = |s: &config::AreaSummary| Summary {
        from: s.from.as_str().into(),
        to: s.to.as_str().into(),
        allow: s.allow.as_deref().map(set),
        deny: s.deny.as_deref().map(set),
    };
    Areas {
        local: set(&s.local),
        default: text(&s.default),
        allow_unmapped_neighbours: s.allow_unmapped_neighbors,
        neighbours: s.neighbor.iter().map(neighbour).collect(),
        by_name: s.area.iter().map(described).collect(),
        summaries: s.summary.iter().map(summary).collect(),
    }
}

fn policy(p: &config::RoutePolicy) -> Policy {
    let tiebreaker = |t: &config::Tiebreaker| match t {
        config::Tiebreaker::HopCount => Tiebreaker::HopCount,
        config::Tiebreaker::LatencyMs => Tiebreaker::LatencyMs,
        config::Tiebreaker::ReliabilityScore => Tiebreaker::ReliabilityScore,
        config::Tiebreaker::Advertiser => Tiebreaker::Advertiser,
    };
    Policy {
        weights: Weights {
            latency: p.weights.latency,
            hops: p.weights.hops,
            cost: p.weights.cost,
            reliability: p.weights.reliability,
            bandwidth: p.weights.bandwidth,
        },
        hops_max: p.max_hops.map(i64::from),
        allow_advertisers: p.allow_advertisers.as_deref().map(set),
        allow_destinations: p.allow_destinations.as_deref().map(set),
        allow_tags: p.allow_tags.as_deref().map(set),
        deny_tags: p.deny_tags.as_deref().map(set).unwrap_or_default(),
        tiebreakers: Some(p.tiebreakers.iter().map(tiebreaker).collect()),
    }
}

fn signer(loaded: &Loaded, faults: &mut Faults) -> Option<Signer> {
    let s = &loaded.settings.route.security;
    if s.signing_key.is_empty() {
        return None;
    }
    let parsed = Signer::parse(s.signing_key.reveal(), &s.signing_key_id);
    parsed
        .map_err(|fault| {
            let keys = ["_file", "_env", ""].map(|end| format!("route.security.signing_key{end}"));
            let origin = keys.iter().map(|key| loaded.origin(key)).find(Origin::is_written);
            faults.add(&origin.unwrap_or(Origin::Default), format!("`route.security.signing_key` {fault}"));
        })
        .ok()
}

fn read_keys(loaded: &Loaded, faults: &mut Faults) -> Vec<ConfiguredKey> {
    let places: &[Element] = match loaded.values.get("route.security.key").map(|setting| &setting.value) {
        Some(Value::Elements(elements)) => elements,
        _ => &[],
    };
    let mut keys = Vec::new();
    for (key, place) in loaded.settings.route.security.key.iter().zip(places) {
        match public_key(key) {
            Ok(parsed) => keys.push(ConfiguredKey {
                cluster: key.cluster.as_str().into(),
                key: parsed,
                key_id: key.key_id.as_str().into(),
                primary: key.primary,
                expires_at: key.expires_at,
            }),
            Err(fault) => faults.0.push(Fault::new(place.origin.clone(), fault)),
        }
    }
    keys
}

fn public_key(key: &config::RouteKey) -> Result<PublicKey, String> {
    if key.public_key_file.is_empty() {
        return PublicKey::parse(&key.public_key)
            .map_err(|fault| format!("`route.security.key.public_key` {fault}"));
    }
    let file = &key.public_key_file;
    let text = std::fs::read_to_string(file).map_err(|error| format!("cannot be read: {error}"));
    let parsed = text.and_then(|text| PublicKey::parse(&text));
    parsed.map_err(|fault| format!("`route.security.key.public_key_file`: \"{file}\" {fault}"))
}

fn terms(timeout: Duration, attempts: u32, check_interval: Duration) -> LinkTerms {
    LinkTerms {
        connect_seconds_max: timeout.as_secs_f64(),
        dials_before_backoff: attempts,
        silence_seconds_max: check_interval.as_secs_f64(),
    }
}

fn set(list: &[String]) -> BTreeSet<Text> {
    list.iter().map(|name| name.as_str().into()).collect()
}

fn text(text: &str) -> Option<Text> {
    (!text.is_empty()).then(|| text.into())
}

#[cfg(test)]
mod tests;
