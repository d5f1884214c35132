//! What a role presets, and what it asks for (cli-config 4.2). A role is nothing but defaults: every key that is
//! written wins, but one that takes the role's own purpose away is a contradiction.

use super::settings::Role;

/// A key that a role sets, as TOML.
pub struct Preset {
    pub key: &'static str,
    pub value: &'static str,
    /// True where another written value contradicts the role.
    pub is_purpose: bool,
}

/// The presets of a role. `privileged`: the process may bind ports below 1024.
pub fn presets(role: Role, privileged: bool) -> Vec<Preset> {
    let preset = |key, value| Preset { key, value, is_purpose: false };
    let purpose = |key| Preset { key, value: "true", is_purpose: true };
    match role {
        Role::Ingress => {
            vec![preset("discovery.rate_limit.requests", "600"), preset("monitoring.enabled", "true")]
        }
        Role::Resolver => vec![
            purpose("discovery.resolver.enabled"),
            preset("discovery.resolver.seed_on_start", "true"),
            preset("discovery.resolver.resync_interval", "\"5m\""),
        ],
        Role::SummaryResolver => vec![
            purpose("discovery.summary.resolver.enabled"),
            preset("discovery.summary.resolver.scopes", "[\"global\"]"),
        ],
        Role::DnsGateway => {
            vec![purpose("dns.enabled"), preset("dns.port", if privileged { "53" } else { "5353" })]
        }
        Role::Hub => vec![
            preset("federation.mode", "\"explicit_bridging\""),
            preset("link_state.mode", "\"prefer\""),
            preset("discovery.summary.export", "true"),
            preset("fabric.max_hops", "8"),
            // Five withdrawals within a minute are a fault of the line, not news.
            preset("route.stability.hold_down", "\"5s\""),
            preset("route.stability.flap_threshold", "5"),
            preset("route.stability.suppression_window", "\"60s\""),
        ],
    }
}
