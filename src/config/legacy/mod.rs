//! Files of the old flat format, which need no edit (cli-config 4.5 and 4.6).
//!
//! A flat key becomes the key that replaces it, with the place of the old one; from there on both forms are
//! checked alike. What the old program read in a surprising way is an error or a warning, never a surprise. Its
//! defaults hold for such files, where they differ from the built-in ones.

mod object;

use crate::config::check;
use crate::config::document::{Entry, Node, Raw};
use crate::config::fault::{Fault, Faults, Origin};
use crate::config::schema::{self, Kind};
use crate::config::suggest;
use crate::config::value::{Layer, Setting, Value};

/// A key of the old format and what became of it.
pub struct Flat {
    pub name: &'static str,
    /// The key, table or list of tables that replaces it.
    pub key: &'static str,
    form: Form,
}

/// How the value of a flat key is written.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Bool,
    Text,
    /// One text stands for a list.
    Texts,
    /// Seconds; the number is the least that makes sense, smaller ones mean it.
    Seconds(f64),
    /// A whole number; smaller ones than the given mean it.
    Count(i64),
    Port,
    Degrees,
    /// A word, in any case.
    Word,
    Mebibytes,
    AllowOrDeny,
    Object(object::Object),
    /// Code, which a file cannot hold.
    Callback,
}

/// What reading old files needs to know and gathers.
pub struct Reading<'a> {
    pub faults: &'a mut Faults,
    pub warnings: &'a mut Vec<Fault>,
    /// Unknown keys are warnings.
    pub ignore_unknown: bool,
}

/// The flat key of this name.
pub fn flat(name: &str) -> Option<&'static Flat> {
    FLAT.iter().find(|flat| flat.name == name)
}

/// True if a top-level entry makes its file an old one. `peers` is a list there and a table in the new form.
pub fn is_flat(entry: &Entry) -> bool {
    match entry.key.as_str() {
        "mpreg" => matches!(entry.node.raw, Raw::Table(_)),
        "peers" => matches!(entry.node.raw, Raw::List(_) | Raw::Text(_)),
        name => flat(name).is_some(),
    }
}

/// Reads the entries of an old file into a layer of new keys.
pub fn read(entries: &[Entry], reading: &mut Reading<'_>) -> Layer {
    let mut layer = Layer::new();
    let nested = entries.iter().find_map(|entry| match &entry.node.raw {
        Raw::Table(inner) if entry.key == "mpreg" => Some(inner),
        _ => None,
    });
    if nested.is_some() {
        for entry in entries.iter().filter(|entry| entry.key != "mpreg") {
            let text =
                format!("`{}` stands beside the table `mpreg` and is ignored, as it always was", entry.key);
            reading.warnings.push(Fault::new(entry.origin.clone(), text));
        }
    }
    for entry in nested.map_or(entries, |inner| inner) {
        match flat(&entry.key) {
            Some(flat) => flat.read(entry, &mut layer, reading),
            None => {
                let names = FLAT.iter().map(|flat| flat.name);
                reading.unknown(
                    &entry.origin,
                    &format!("key `{}`", entry.key),
                    suggest::nearest(&entry.key, names),
                );
            }
        }
    }
    layer
}

/// The defaults of the old format where they differ from those of the schema. Only keys that are not set are added.
pub fn add_defaults(layer: &mut Layer) {
    for (key, default) in OLD_DEFAULTS {
        put_default(layer, key, default);
    }
    if let Some(Setting { value: Value::Text(host), .. }) = layer.get("listen.host") {
        let host = format!("{host:?}");
        put_default(layer, "monitoring.host", &host);
    }
    let stored = layer.get("persistence.mode").is_some_and(|mode| mode.origin.is_old());
    if stored {
        put_default(layer, "persistence.dir", "\"/tmp/mpreg_data\"");
    }
    // The old identity is host and port, whatever is advertised; a new drop-in may say otherwise.
    if layer.get("listen.advertised_urls").is_some_and(|urls| urls.origin.is_old()) {
        let text = |key: &str| match layer.get(key).map(|s| &s.value) {
            Some(Value::Text(text)) => text.clone(),
            _ => "127.0.0.1".to_owned(),
        };
        let port = match layer.get("listen.port").map(|s| &s.value) {
            Some(Value::Int(port)) => u16::try_from(*port).unwrap_or(0),
            _ => 0,
        };
        let id = format!("{:?}", crate::config::settings::url_of("ws", &text("listen.host"), port));
        put_default(layer, "node.id", &id);
    }
}

/// Old defaults that are unsafe, with the key that changes them.
pub fn unsafe_defaults(layer: &Layer, settings: &crate::config::settings::Settings) -> Vec<String> {
    let is_old = |key: &str| layer.get(key).is_some_and(|s| s.origin == Origin::OldDefault);
    let mut out = Vec::new();
    let mut warn = |told: bool, text: &str| {
        if told {
            out.push(format!("old file: {text}"));
        }
    };
    let s = settings;
    let away = !crate::config::checks::is_loopback(&s.monitoring.host);
    warn(
        s.monitoring.enabled && away && is_old("monitoring.host"),
        "monitoring is served to other machines; set `monitoring.host` to change that",
    );
    warn(
        s.persistence.mode == crate::config::settings::PersistenceMode::Fjall && is_old("persistence.dir"),
        "state is kept in /tmp/mpreg_data, where others may write; set `persistence.dir`",
    );
    warn(
        s.discovery.summary.export && is_old("discovery.summary.include_builtins"),
        "summaries include built-in functions; set `discovery.summary.include_builtins = false`",
    );
    warn(
        s.discovery.summary.export && is_old("discovery.summary.include_foreign"),
        "functions of others are summarised as own ones; set `discovery.summary.include_foreign = false`",
    );
    warn(
        s.discovery.rate_limit.requests > 0 && is_old("discovery.rate_limit.per"),
        "all clients of a cluster share one rate limit; set `discovery.rate_limit.per`",
    );
    warn(
        s.discovery.rate_limit.requests > 0 && is_old("discovery.rate_limit.namespace_in_key"),
        "each namespace has a rate limit of its own; set `discovery.rate_limit.namespace_in_key = false`",
    );
    warn(
        s.tenants.enabled && s.tenants.allow_claimed && is_old("tenants.allow_claimed"),
        "clients may claim to be any tenant; set `tenants.allow_claimed = false`",
    );
    warn(
        s.tenants.enabled && !s.tenants.credential.is_empty() && is_old("tenants.reject_unknown"),
        "clients with an unknown token are served as anonymous; set `tenants.reject_unknown = true`",
    );
    warn(
        s.federation.mode != crate::config::settings::FederationMode::StrictIsolation
            && is_old("federation.security.require_encryption"),
        "other clusters need neither encryption nor a certificate; set `federation.security.require_encryption` \
         and `federation.security.require_mutual_auth`",
    );
    out
}

impl Flat {
    /// How the key is written in the new form.
    pub fn write(&self, node: &Node) -> String {
        let value = match (&node.raw, self.form) {
            (Raw::Text(_), Form::Texts) => format!("[{node}]"),
            (Raw::List(items), Form::Texts) => {
                let items: Vec<String> = items.iter().map(Node::to_string).collect();
                format!("[{}]", items.join(", "))
            }
            (Raw::Bool(b), Form::AllowOrDeny) => format!("{:?}", if *b { "allow" } else { "deny" }),
            (Raw::Bool(_) | Raw::Int(_) | Raw::Float(_) | Raw::Text(_), _) => node.to_string(),
            _ => "...".to_owned(),
        };
        let is_table = schema::key(self.key).is_none_or(|key| matches!(key.row.kind, Kind::Tables(_)));
        if is_table {
            return format!("write [{}]", self.key);
        }
        let role = match (self.name, &node.raw) {
            ("discovery_resolver_mode", Raw::Bool(true)) => "      (or role = \"resolver\")",
            ("discovery_summary_resolver_mode", Raw::Bool(true)) => "      (or role = \"summary-resolver\")",
            ("dns_gateway_enabled", Raw::Bool(true)) => "      (or role = \"dns-gateway\")",
            _ => "",
        };
        match self.key.rsplit_once('.') {
            Some((table, last)) => {
                format!("it is `{}` now; write:  [{table}]  {last} = {value}{role}", self.key)
            }
            None => format!("it is `{}` now; write:  {} = {value}", self.key, self.key),
        }
    }

    fn read(&self, entry: &Entry, layer: &mut Layer, reading: &mut Reading<'_>) {
        let origin = reading.old_origin(&entry.origin, self.name);
        // In JSON, null is how a key is left out.
        if matches!(entry.node.raw, Raw::Other("null")) {
            return;
        }
        let mut node = entry.node.clone();
        match self.form {
            Form::Callback => {
                let text = format!(
                    "`{}` is code, which a file cannot hold; the port is written to `{}`",
                    self.name, self.key
                );
                return reading.faults.add(&entry.origin, text);
            }
            Form::Object(object) => return object.read(entry, &origin, layer, reading),
            _ => {}
        }
        if let Err(expected) = self.normalise(&mut node, reading) {
            let text = format!("`{}` is {node}; expected {expected}", self.name);
            return reading.faults.add(&node.origin, text);
        }
        let Some(key) = schema::key(self.key) else { return };
        if let Some(value) = check::value(key.row, &node, self.name, reading.faults) {
            layer.insert(self.key.to_owned(), Setting { value, origin });
        }
    }

    /// Turns the old way to write the value into the new one, or says what is expected.
    fn normalise(&self, node: &mut Node, reading: &mut Reading<'_>) -> Result<(), String> {
        if matches!(
            self.form,
            Form::Seconds(_) | Form::Count(_) | Form::Port | Form::Degrees | Form::Mebibytes
        ) && let Raw::Text(text) = &node.raw
        {
            let number = text.trim();
            let raw = number.parse().map(Raw::Int).or_else(|_| number.parse().map(Raw::Float));
            let raw = raw.map_err(|_| "a number".to_owned())?;
            let told = format!("`{}` is text and is read as the number {number}", self.name);
            reading.warnings.push(Fault::new(node.origin.clone(), told));
            node.raw = raw;
        }
        let float = |raw: &Raw| match raw {
            Raw::Int(i) => Some(*i as f64),
            Raw::Float(x) => Some(*x),
            _ => None,
        };
        node.raw = match (self.form, &node.raw) {
            (Form::Bool | Form::AllowOrDeny, Raw::Text(_) | Raw::Int(_) | Raw::Float(_) | Raw::List(_)) => {
                return Err("true or false; anything but empty text, 0 and an empty list was read as true, \
                            even \"no\", by the old program"
                    .into());
            }
            (Form::AllowOrDeny, Raw::Bool(b)) => Raw::Text(if *b { "allow" } else { "deny" }.into()),
            (Form::Texts, Raw::Text(text)) => {
                Raw::List(vec![Node { raw: Raw::Text(text.clone()), origin: node.origin.clone() }])
            }
            (Form::Texts, Raw::List(items)) => {
                // The old program dropped blanks and kept sets.
                let mut kept: Vec<Node> = Vec::new();
                for item in items {
                    let is_new = match &item.raw {
                        Raw::Text(text) => {
                            !text.trim().is_empty()
                                && !kept.iter().any(|k| matches!(&k.raw, Raw::Text(seen) if seen == text))
                        }
                        _ => true,
                    };
                    if is_new {
                        kept.push(item.clone());
                    }
                }
                Raw::List(kept)
            }
            (Form::Seconds(least), raw @ (Raw::Int(_) | Raw::Float(_))) => {
                let seconds = float(raw).filter(|x| x.is_finite()).ok_or("a number of seconds")?;
                Raw::Float(seconds.max(least))
            }
            (Form::Seconds(_), _) => return Err("a number of seconds".into()),
            (Form::Count(least), Raw::Int(i)) => Raw::Int((*i).max(least)),
            (Form::Mebibytes, Raw::Int(i)) => Raw::Int((*i).max(1).saturating_mul(1 << 20)),
            (Form::Word, Raw::Text(text)) => Raw::Text(text.trim().to_lowercase()),
            (_, raw) => raw.clone(),
        };
        Ok(())
    }
}

impl Reading<'_> {
    /// Tells of an unknown key or member: a fault, or a warning if that is wished.
    fn unknown(&mut self, origin: &Origin, what: &str, near: Option<String>) {
        let near = near.map_or(String::new(), |names| format!("; did you mean {names}?"));
        if self.ignore_unknown {
            self.warnings.push(Fault::new(origin.clone(), format!("unknown {what} is ignored{near}")));
        } else {
            self.faults.add(origin, format!("unknown {what}{near}"));
        }
    }

    /// The origin with the name of the flat key.
    fn old_origin(&self, origin: &Origin, name: &str) -> Origin {
        match origin {
            Origin::File(place) => {
                let mut place = place.clone();
                place.old_key = Some(name.into());
                Origin::File(place)
            }
            other => other.clone(),
        }
    }
}

fn put_default(layer: &mut Layer, key: &str, toml: &str) {
    if layer.contains_key(key) {
        return;
    }
    let mut faults = Faults::default();
    let origin = Origin::OldDefault;
    let value = crate::config::document::toml_value(toml, &origin)
        .ok()
        .zip(schema::key(key))
        .and_then(|(node, key)| check::value(key.row, &node, &key.path, &mut faults));
    if let Some(value) = value {
        layer.insert(key.to_owned(), Setting { value, origin });
    }
}

/// What the old program does where a file says nothing, and where that differs from the schema.
const OLD_DEFAULTS: &[(&str, &str)] = &[
    ("node.name", "\"NO NAME PROVIDED\""),
    ("listen.port_range", "\"10000-10199\""),
    ("monitoring.port_fallback", "true"),
    ("federation.security.require_mutual_auth", "false"),
    ("federation.security.require_encryption", "false"),
    ("discovery.summary.include_builtins", "true"),
    ("discovery.summary.include_foreign", "true"),
    ("discovery.policy.persist", "false"),
    ("discovery.rate_limit.per", "\"cluster\""),
    ("discovery.rate_limit.namespace_in_key", "true"),
    ("tenants.allow_claimed", "true"),
    ("tenants.reject_unknown", "false"),
    ("dns.port", "0"),
];

const fn flat_key(name: &'static str, key: &'static str, form: Form) -> Flat {
    Flat { name, key, form }
}

/// A period: zero and less make no sense and are told by the check of the new key.
const PERIOD: Form = Form::Seconds(f64::MIN);
/// Zero and less switch something off.
const OFF: Form = Form::Seconds(0.0);
const NUMBER: Form = Form::Count(i64::MIN);

use object::Object;

/// All keys of the old format (cli-config 4.5).
pub const FLAT: &[Flat] = &[
    flat_key("host", "listen.host", Form::Text),
    flat_key("port", "listen.port", Form::Port),
    flat_key("name", "node.name", Form::Text),
    flat_key("resources", "node.resources", Form::Texts),
    flat_key("peers", "peers.static", Form::Texts),
    flat_key("connect", "peers.connect", Form::Text),
    flat_key("cluster_id", "node.cluster_id", Form::Text),
    flat_key("advertised_urls", "listen.advertised_urls", Form::Texts),
    flat_key("gossip_interval", "fabric.gossip_interval", PERIOD),
    flat_key("goodbye_reconnect_grace_seconds", "peers.goodbye_grace", OFF),
    flat_key("log_level", "log.level", Form::Word),
    flat_key("log_debug_scopes", "log.debug_scopes", Form::Texts),
    flat_key("monitoring_enabled", "monitoring.enabled", Form::Bool),
    flat_key("monitoring_port", "monitoring.port", Form::Port),
    flat_key("monitoring_host", "monitoring.host", Form::Text),
    flat_key("monitoring_enable_cors", "monitoring.cors.enabled", Form::Bool),
    flat_key("on_port_assigned", "listen.port_file", Form::Callback),
    flat_key("on_monitoring_port_assigned", "monitoring.port_file", Form::Callback),
    flat_key("federation_config", "federation", Form::Object(Object::Federation)),
    flat_key("enable_default_cache", "cache.enabled", Form::Bool),
    flat_key("enable_default_queue", "queue.enabled", Form::Bool),
    flat_key("enable_cache_federation", "cache.federation", Form::Bool),
    flat_key("cache_region", "node.region", Form::Text),
    flat_key("cache_latitude", "node.latitude", Form::Degrees),
    flat_key("cache_longitude", "node.longitude", Form::Degrees),
    flat_key("cache_capacity_mb", "cache.capacity", Form::Mebibytes),
    flat_key("persistence_config", "persistence", Form::Object(Object::Persistence)),
    flat_key("fabric_routing_enabled", "fabric.routing", Form::Bool),
    flat_key("fabric_routing_max_hops", "fabric.max_hops", NUMBER),
    flat_key("fabric_catalog_ttl_seconds", "fabric.catalog_ttl", Form::Seconds(1.0)),
    flat_key("fabric_route_ttl_seconds", "route.ttl", PERIOD),
    flat_key("fabric_route_announce_interval_seconds", "route.announce_interval", PERIOD),
    flat_key("fabric_link_state_mode", "link_state.mode", Form::Word),
    flat_key("fabric_link_state_ttl_seconds", "link_state.ttl", PERIOD),
    flat_key("fabric_link_state_announce_interval_seconds", "link_state.announce_interval", PERIOD),
    flat_key("fabric_link_state_ecmp_paths", "link_state.ecmp_paths", Form::Count(1)),
    flat_key("fabric_link_state_area", "link_state.area", Form::Text),
    flat_key("fabric_link_state_area_policy", "link_state.areas", Form::Object(Object::Areas)),
    flat_key("fabric_route_policy", "route.policy", Form::Object(Object::ImportPolicy)),
    flat_key("fabric_route_export_policy", "route.policy", Form::Object(Object::ExportPolicy)),
    flat_key("fabric_route_neighbor_policies", "route.policy", Form::Object(Object::ImportPolicies)),
    flat_key("fabric_route_export_neighbor_policies", "route.policy", Form::Object(Object::ExportPolicies)),
    flat_key("fabric_route_security_config", "route.security", Form::Object(Object::Security)),
    flat_key("fabric_route_signer", "route.security", Form::Object(Object::Signer)),
    flat_key("fabric_route_key_registry", "route.security.key", Form::Object(Object::Registry)),
    flat_key("fabric_route_key_provider", "route.security.provider", Form::Object(Object::Provider)),
    flat_key(
        "fabric_route_key_refresh_interval_seconds",
        "route.security.provider.refresh_interval",
        Form::Seconds(1.0),
    ),
    flat_key("fabric_route_key_ttl_seconds", "route.security.key_ttl", PERIOD),
    flat_key("fabric_route_key_announce_interval_seconds", "route.security.key_announce_interval", PERIOD),
    flat_key("fabric_raft_request_timeout_seconds", "fabric.raft_request_timeout", PERIOD),
    flat_key("rpc_spec_gossip_mode", "fabric.rpc_spec.mode", Form::Word),
    flat_key("rpc_spec_gossip_namespaces", "fabric.rpc_spec.namespaces", Form::Texts),
    flat_key("rpc_spec_gossip_max_bytes", "fabric.rpc_spec.max_bytes", NUMBER),
    flat_key("discovery_resolver_mode", "discovery.resolver.enabled", Form::Bool),
    flat_key("discovery_resolver_namespaces", "discovery.resolver.namespaces", Form::Texts),
    flat_key("discovery_resolver_seed_on_start", "discovery.resolver.seed_on_start", Form::Bool),
    flat_key("discovery_resolver_prune_interval_seconds", "discovery.resolver.prune_interval", OFF),
    flat_key("discovery_resolver_resync_interval_seconds", "discovery.resolver.resync_interval", OFF),
    flat_key("discovery_resolver_query_cache_enabled", "discovery.resolver.cache.enabled", Form::Bool),
    flat_key("discovery_resolver_query_ttl_seconds", "discovery.resolver.cache.ttl", OFF),
    flat_key("discovery_resolver_query_stale_seconds", "discovery.resolver.cache.stale", OFF),
    flat_key("discovery_resolver_query_negative_ttl_seconds", "discovery.resolver.cache.negative_ttl", OFF),
    flat_key(
        "discovery_resolver_query_cache_max_entries",
        "discovery.resolver.cache.max_entries",
        Form::Count(0),
    ),
    flat_key("discovery_summary_resolver_mode", "discovery.summary.resolver.enabled", Form::Bool),
    flat_key("discovery_summary_resolver_namespaces", "discovery.summary.resolver.namespaces", Form::Texts),
    flat_key(
        "discovery_summary_resolver_prune_interval_seconds",
        "discovery.summary.resolver.prune_interval",
        OFF,
    ),
    flat_key("discovery_summary_resolver_scopes", "discovery.summary.resolver.scopes", Form::Texts),
    flat_key("discovery_policy_enabled", "discovery.policy.enabled", Form::Bool),
    flat_key("discovery_policy_default_allow", "discovery.policy.default", Form::AllowOrDeny),
    flat_key("discovery_policy_rules", "discovery.policy.rule", Form::Object(Object::Rules)),
    flat_key("discovery_tenant_mode", "tenants.enabled", Form::Bool),
    flat_key("discovery_tenant_allow_request_override", "tenants.allow_claimed", Form::Bool),
    flat_key("discovery_tenant_default_id", "tenants.default", Form::Text),
    flat_key("discovery_tenant_header", "tenants.header", Form::Word),
    flat_key("discovery_tenant_credentials", "tenants.credential", Form::Object(Object::Credentials)),
    flat_key("discovery_access_audit_max_entries", "discovery.audit.max_entries", Form::Count(0)),
    flat_key("discovery_summary_export_enabled", "discovery.summary.export", Form::Bool),
    flat_key("discovery_summary_export_interval_seconds", "discovery.summary.interval", OFF),
    flat_key("discovery_summary_export_namespaces", "discovery.summary.namespaces", Form::Texts),
    flat_key("discovery_summary_export_scope", "discovery.summary.scope", Form::Word),
    flat_key("discovery_summary_export_include_unscoped", "discovery.summary.include_unscoped", Form::Bool),
    flat_key("discovery_summary_export_hold_down_seconds", "discovery.summary.hold_down", OFF),
    flat_key("discovery_summary_export_store_forward_seconds", "discovery.summary.store_forward.window", OFF),
    flat_key(
        "discovery_summary_export_store_forward_max_messages",
        "discovery.summary.store_forward.max_messages",
        Form::Count(0),
    ),
    flat_key("discovery_rate_limit_requests_per_minute", "discovery.rate_limit.requests", Form::Count(0)),
    flat_key("discovery_rate_limit_window_seconds", "discovery.rate_limit.window", OFF),
    flat_key("discovery_rate_limit_max_keys", "discovery.rate_limit.max_keys", Form::Count(0)),
    flat_key("dns_gateway_enabled", "dns.enabled", Form::Bool),
    flat_key("dns_listen_host", "dns.host", Form::Text),
    flat_key("dns_udp_port", "dns.udp_port", Form::Port),
    flat_key("dns_tcp_port", "dns.tcp_port", Form::Port),
    flat_key("dns_zones", "dns.zones", Form::Texts),
    flat_key("dns_min_ttl_seconds", "dns.min_ttl", OFF),
    flat_key("dns_max_ttl_seconds", "dns.max_ttl", OFF),
    flat_key("dns_allow_external_names", "dns.external_names", Form::Bool),
    flat_key("dns_viewer_cluster_id", "dns.viewer.cluster", Form::Text),
    flat_key("dns_viewer_tenant_id", "dns.viewer.tenant", Form::Text),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flat_key_has_a_key_or_table_of_the_schema() {
        assert_eq!(FLAT.len(), 97);
        for flat in FLAT {
            let is_object = matches!(flat.form, Form::Object(_));
            let below = format!("{}.", flat.key);
            let found = schema::key(flat.key).is_some()
                || is_object && schema::schema().iter().any(|key| key.path.starts_with(&below));
            assert!(found, "{}", flat.key);
        }
    }
}
