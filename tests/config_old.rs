//! Files of the old flat format: each key lands where the mapping says, and conversion keeps the meaning.

#![allow(clippy::disallowed_methods)] // Those are for the core only.

use std::fs;
use std::path::Path;

use mpreg::config::{self, LoadRequest, Loaded, Show};

/// Each key with a value other than its default, the key that replaces it, and the value there.
const KEYS: &[(&str, &str, &str, &str)] = &[
    ("host", "\"127.0.0.9\"", "listen.host", "\"127.0.0.9\""),
    ("port", "41999", "listen.port", "41999"),
    ("name", "\"kit\"", "node.name", "\"kit\""),
    ("resources", "[\"b\", \"a\", \"b\"]", "node.resources", "[\"b\", \"a\"]"),
    ("peers", "\"ws://127.0.0.1:1\"", "peers.static", "[\"ws://127.0.0.1:1\"]"),
    ("connect", "\"ws://127.0.0.1:2\"", "peers.connect", "\"ws://127.0.0.1:2\""),
    ("cluster_id", "\"kc\"", "node.cluster_id", "\"kc\""),
    ("advertised_urls", "[\"ws://127.0.0.1:3\"]", "listen.advertised_urls", "[\"ws://127.0.0.1:3\"]"),
    ("gossip_interval", "2.5", "fabric.gossip_interval", "\"2500ms\""),
    ("goodbye_reconnect_grace_seconds", "-7.0", "peers.goodbye_grace", "\"0s\""),
    ("log_level", "\"Warn\"", "log.level", "\"warning\""),
    ("log_debug_scopes", "[\"fabric\", \" \"]", "log.debug_scopes", "[\"fabric\"]"),
    ("monitoring_enabled", "false", "monitoring.enabled", "false"),
    ("monitoring_port", "41998", "monitoring.port", "41998"),
    ("monitoring_host", "\"127.0.0.2\"", "monitoring.host", "\"127.0.0.2\""),
    ("monitoring_enable_cors", "false", "monitoring.cors.enabled", "false"),
    ("enable_default_cache", "true", "cache.enabled", "true"),
    ("enable_default_queue", "true", "queue.enabled", "true"),
    ("cache_region", "\"eu\"", "node.region", "\"eu\""),
    ("cache_latitude", "1.5", "node.latitude", "1.5"),
    ("cache_longitude", "2", "node.longitude", "2.0"),
    ("cache_capacity_mb", "64", "cache.capacity", "\"64MiB\""),
    ("persistence_config", "{mode = \"sqlite\", data_dir = \"d\"}", "persistence.mode", "\"fjall\""),
    ("fabric_routing_enabled", "false", "fabric.routing", "false"),
    ("fabric_routing_max_hops", "6", "fabric.max_hops", "6"),
    ("fabric_catalog_ttl_seconds", "99.0", "fabric.catalog_ttl", "\"99s\""),
    ("fabric_route_ttl_seconds", "31", "route.ttl", "\"31s\""),
    ("fabric_route_announce_interval_seconds", "11", "route.announce_interval", "\"11s\""),
    ("fabric_link_state_mode", "\"Prefer\"", "link_state.mode", "\"prefer\""),
    ("fabric_link_state_ttl_seconds", "32", "link_state.ttl", "\"32s\""),
    ("fabric_link_state_announce_interval_seconds", "12", "link_state.announce_interval", "\"12s\""),
    ("fabric_link_state_ecmp_paths", "0", "link_state.ecmp_paths", "1"),
    ("fabric_link_state_area", "\"area-a\"", "link_state.area", "\"area-a\""),
    (
        "fabric_link_state_area_policy",
        "{local_areas = [\"a\", \"top\"], default_area = \"a\", neighbor_areas = {b = [\"a\"]}, area_hierarchy = {a = \"top\"}, area_neighbor_filters = {a = [\"b\"]}}",
        "link_state.areas.local",
        "[\"a\", \"top\"]",
    ),
    ("fabric_route_policy", "{weight_hops = 5.0, max_hops = 3}", "route.policy", ""),
    ("fabric_route_export_policy", "{deny_tags = []}", "route.policy", ""),
    (
        "fabric_route_neighbor_policies",
        "{default_policy = {max_hops = 2}, neighbor_policies = {x = {}}}",
        "route.policy",
        "",
    ),
    (
        "fabric_route_export_neighbor_policies",
        "{neighbor_policies = {x = {allowed_tags = [\"t\"]}}}",
        "route.policy",
        "",
    ),
    (
        "fabric_route_security_config",
        "{require_signatures = false, allow_unsigned = false}",
        "route.security.allow_unsigned",
        "false",
    ),
    (
        "fabric_route_key_registry",
        "{generated_at = 1.0, clusters = {b = {primary_key_id = \"k\", keys = [{key_id = \"k\", public_key = \"abababababababababababababababababababababababababababababababab\"}]}}}",
        "route.security.key",
        "",
    ),
    (
        "fabric_route_key_refresh_interval_seconds",
        "0.1",
        "route.security.provider.refresh_interval",
        "\"1s\"",
    ),
    ("fabric_route_key_ttl_seconds", "121", "route.security.key_ttl", "\"121s\""),
    ("fabric_route_key_announce_interval_seconds", "62", "route.security.key_announce_interval", "\"62s\""),
    ("fabric_raft_request_timeout_seconds", "1.5", "fabric.raft_request_timeout", "\"1500ms\""),
    (
        "federation_config",
        "{federation_mode = \"permissive_bridging\", security_policy = {max_cross_federation_requests_per_minute = 5}}",
        "federation.security.max_requests_per_minute",
        "5",
    ),
    ("rpc_spec_gossip_mode", "\"FULL\"", "fabric.rpc_spec.mode", "\"full\""),
    ("rpc_spec_gossip_namespaces", "\"n\"", "fabric.rpc_spec.namespaces", "[\"n\"]"),
    ("rpc_spec_gossip_max_bytes", "1000", "fabric.rpc_spec.max_bytes", "1000"),
    ("discovery_resolver_mode", "true", "discovery.resolver.enabled", "true"),
    ("discovery_resolver_namespaces", "[\"n\"]", "discovery.resolver.namespaces", "[\"n\"]"),
    ("discovery_resolver_seed_on_start", "false", "discovery.resolver.seed_on_start", "false"),
    ("discovery_resolver_prune_interval_seconds", "33", "discovery.resolver.prune_interval", "\"33s\""),
    ("discovery_resolver_resync_interval_seconds", "34", "discovery.resolver.resync_interval", "\"34s\""),
    ("discovery_resolver_query_cache_enabled", "false", "discovery.resolver.cache.enabled", "false"),
    ("discovery_resolver_query_ttl_seconds", "1", "discovery.resolver.cache.ttl", "\"1s\""),
    ("discovery_resolver_query_stale_seconds", "2", "discovery.resolver.cache.stale", "\"2s\""),
    ("discovery_resolver_query_negative_ttl_seconds", "3", "discovery.resolver.cache.negative_ttl", "\"3s\""),
    ("discovery_resolver_query_cache_max_entries", "-10", "discovery.resolver.cache.max_entries", "0"),
    ("discovery_summary_resolver_mode", "true", "discovery.summary.resolver.enabled", "true"),
    ("discovery_summary_resolver_namespaces", "[\"n\"]", "discovery.summary.resolver.namespaces", "[\"n\"]"),
    (
        "discovery_summary_resolver_prune_interval_seconds",
        "35",
        "discovery.summary.resolver.prune_interval",
        "\"35s\"",
    ),
    (
        "discovery_summary_resolver_scopes",
        "[\" Cluster\"]",
        "discovery.summary.resolver.scopes",
        "[\"zone\"]",
    ),
    ("discovery_policy_enabled", "true", "discovery.policy.enabled", "true"),
    ("discovery_policy_default_allow", "false", "discovery.policy.default", "\"deny\""),
    (
        "discovery_policy_rules",
        "{namespace = \"n\", cutover_windows = [{starts_at = 5}]}",
        "discovery.policy.rule",
        "",
    ),
    ("discovery_tenant_mode", "true", "tenants.enabled", "true"),
    ("discovery_tenant_allow_request_override", "false", "tenants.allow_claimed", "false"),
    ("discovery_tenant_default_id", "\"t\"", "tenants.default", "\"t\""),
    ("discovery_tenant_header", "\" X-T\"", "tenants.header", "\"x-t\""),
    (
        "discovery_tenant_credentials",
        "[{tenant_id = \"t\", token = \" k \", scheme = \"Api-Key\"}]",
        "tenants.credential",
        "",
    ),
    ("discovery_access_audit_max_entries", "9", "discovery.audit.max_entries", "9"),
    ("discovery_summary_export_enabled", "true", "discovery.summary.export", "true"),
    ("discovery_summary_export_interval_seconds", "36", "discovery.summary.interval", "\"36s\""),
    ("discovery_summary_export_namespaces", "[\"n\"]", "discovery.summary.namespaces", "[\"n\"]"),
    ("discovery_summary_export_scope", "\"Region\"", "discovery.summary.scope", "\"region\""),
    ("discovery_summary_export_include_unscoped", "false", "discovery.summary.include_unscoped", "false"),
    ("discovery_summary_export_hold_down_seconds", "4", "discovery.summary.hold_down", "\"4s\""),
    (
        "discovery_summary_export_store_forward_seconds",
        "5",
        "discovery.summary.store_forward.window",
        "\"5s\"",
    ),
    (
        "discovery_summary_export_store_forward_max_messages",
        "8",
        "discovery.summary.store_forward.max_messages",
        "8",
    ),
    ("discovery_rate_limit_requests_per_minute", "6", "discovery.rate_limit.requests", "6"),
    ("discovery_rate_limit_window_seconds", "37", "discovery.rate_limit.window", "\"37s\""),
    ("discovery_rate_limit_max_keys", "38", "discovery.rate_limit.max_keys", "38"),
    ("dns_gateway_enabled", "true", "dns.enabled", "true"),
    ("dns_listen_host", "\"127.0.0.3\"", "dns.host", "\"127.0.0.3\""),
    ("dns_udp_port", "\"41997\"", "dns.udp_port", "41997"),
    ("dns_tcp_port", "41996", "dns.tcp_port", "41996"),
    ("dns_zones", "\"mpreg\"", "dns.zones", "[\"mpreg\"]"),
    ("dns_min_ttl_seconds", "2", "dns.min_ttl", "\"2s\""),
    ("dns_max_ttl_seconds", "39", "dns.max_ttl", "\"39s\""),
    ("dns_allow_external_names", "true", "dns.external_names", "true"),
    ("dns_viewer_cluster_id", "\"vc\"", "dns.viewer.cluster", "\"vc\""),
    ("dns_viewer_tenant_id", "\"vt\"", "dns.viewer.tenant", "\"vt\""),
];

fn load(path: &Path) -> Loaded {
    let request = LoadRequest { path: Some(path.to_owned()), ..LoadRequest::default() };
    config::load(&request)
        .unwrap_or_else(|faults| panic!("{}\n{faults}", fs::read_to_string(path).unwrap_or_default()))
}

/// The line of a key in what is shown, without its comment.
fn shown(loaded: &Loaded, key: &str) -> Option<String> {
    let text = config::show(&loaded.values, Show { all: true, redact: false });
    let (table, name) = key.rsplit_once('.')?;
    let section = text.split(&format!("\n[{table}]\n")).nth(1)?.split("\n[").next()?;
    let line = section.lines().find_map(|line| line.strip_prefix(&format!("{name} = ")))?;
    Some(line.split("  # ").next()?.to_owned())
}

/// The same meaning, whatever the form.
fn assert_converts(text: &str) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let [old, new, again] = ["old.toml", "new.toml", "again.toml"].map(|name| dir.path().join(name));
    fs::write(&old, text).expect("a file");
    let converted = mpreg::cli::config::convert(&old, false);
    assert_eq!(converted.status, 0, "{}", converted.stderr);
    fs::write(&new, &converted.stdout).expect("a file");
    fs::write(&again, mpreg::cli::config::convert(&new, false).stdout).expect("a file");
    assert_eq!(fs::read(&new).expect("new"), fs::read(&again).expect("again"));
    let (old, new) = (load(&old), load(&new));
    assert!(old.legacy && !new.legacy);
    assert_eq!(old.settings, new.settings, "{text}\n{}", converted.stdout);
    assert_eq!(old.settings.node_id(1), new.settings.node_id(1));
}

#[test]
fn each_key_lands_where_the_mapping_says_and_survives_conversion() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("server.toml");
    for (old, value, new, expected) in KEYS {
        let text = format!("[mpreg]\n{old} = {value}\n");
        fs::write(&path, &text).expect("a file");
        let loaded = load(&path);
        assert!(loaded.legacy && loaded.origin(new).is_old(), "{old}: {:?}", loaded.origin(new));
        if !expected.is_empty() {
            assert_eq!(shown(&loaded, new).as_deref(), Some(*expected), "{old}");
        }
        assert_converts(&text);
    }
    // What is not among them: two callbacks, two objects that are code or keys, and a key that needs another.
    assert_eq!(KEYS.len(), 97 - 5);
}

#[test]
fn all_keys_together_survive_conversion() {
    let text: String = KEYS.iter().map(|(old, value, ..)| format!("{old} = {value}\n")).collect();
    assert_converts(&(text + "enable_cache_federation = true\n"));
    assert_converts("port = 0\n");
    assert_converts("host = \"::1\"\nport = 5\nadvertised_urls = [\"ws://a:1\"]\n");
}

#[test]
fn an_old_node_keeps_the_behaviour_of_the_old_program() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("server.json");
    fs::write(
        &path,
        "{\"host\": \"127.0.0.5\", \"port\": 7, \"dns_udp_port\": null, \"advertised_urls\": [\"ws://a:1\"]}",
    )
    .expect("a file");
    let loaded = load(&path);
    let s = &loaded.settings;
    assert_eq!(s.node_id(7), "ws://127.0.0.5:7", "the identity is host and port");
    assert_eq!(
        (s.monitoring.host.as_str(), s.dns.udp_port, s.node.name.as_str()),
        ("127.0.0.5", 0, "NO NAME PROVIDED")
    );
    assert!(s.tenants.allow_claimed && !s.tenants.reject_unknown && s.discovery.rate_limit.namespace_in_key);
    assert!(!s.federation.security.require_encryption && s.discovery.summary.include_foreign);

    fs::create_dir(dir.path().join("server.d")).expect("a directory");
    fs::write(
        dir.path().join("server.d/1.toml"),
        "[listen]\nadvertised_urls = [\"ws://b:1\"]\n[tenants]\nreject_unknown = true\n",
    )
    .expect("a file");
    let s = load(&path).settings;
    assert_eq!(s.node_id(7), "ws://b:1", "a new drop-in may say otherwise");
    assert!(s.tenants.reject_unknown);
}

#[test]
fn unsafe_old_defaults_name_their_new_key() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("server.toml");
    fs::write(&path, "host = \"0.0.0.0\"\ndiscovery_tenant_mode = true\ndiscovery_tenant_credentials = [{tenant_id = \"a\", token = \"t\"}]\ndiscovery_rate_limit_requests_per_minute = 5\ndiscovery_summary_export_enabled = true\npersistence_config = {mode = \"sqlite\"}\n").expect("a file");
    let told: String = load(&path).warnings.iter().map(|warning| format!("{warning}\n")).collect();
    for key in [
        "monitoring.host",
        "persistence.dir",
        "include_foreign",
        "rate_limit.per",
        "tenants.allow_claimed",
        "tenants.reject_unknown",
    ] {
        assert!(told.contains(key), "{key}: {told}");
    }
}

#[test]
fn surprises_of_the_old_program_are_faults_or_warnings() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("server.toml");
    for (text, word) in [
        (
            "discovery_resolver_mode = \"no\"\n",
            "server.toml:1:27: `discovery_resolver_mode` is \"no\"; expected true or false",
        ),
        ("name = 5\n", "`name` is 5"),
        ("gossip_interval = \"soon\"\n", "`gossip_interval` is \"soon\""),
        ("gossip_interval = 0\n", "`gossip_interval` is 0"),
        ("fabric_link_state_mode = \"preferred\"\n", "did you mean \"prefer\"?"),
        ("on_port_assigned = \"f\"\n", "listen.port_file"),
        ("[persistence_config]\nmode = \"postgres\"\n", "expected one of memory, sqlite"),
        ("[persistence_config]\ndata_dirr = \"x\"\n", "did you mean `data_dir`?"),
        ("discovery_tenant_credentials = [{tenant_id = \"a\", tokn = \"x\"}]\n", "did you mean `token`?"),
        ("discovery_policy_rules = [5]\n", "expected a table"),
        ("discovery_summary_export_scope = \"planet\"\n", "expected one of local, zone, region, global"),
        ("fabric_route_key_provider = {a = 1}\n", "[route.security.provider]"),
        ("port = 5\ndiscovery_resolver_mod = true\n", "did you mean `discovery_resolver_mode`"),
        ("port = 5\n[dns]\nport = 53\n", "not both"),
    ] {
        fs::write(&path, text).expect("a file");
        let request = LoadRequest { path: Some(path.clone()), ..LoadRequest::default() };
        let told = config::load(&request).expect_err(text).to_string();
        assert!(told.contains(word), "{told}");
    }
    for text in [
        "port = \"4711\"\n",
        "[mpreg]\nport = 5\n[dns]\nport = 53\n",
        "[persistence_config]\nsqlite_wal = true\n",
    ] {
        fs::write(&path, text).expect("a file");
        assert!(!load(&path).warnings.is_empty(), "{text}");
    }
    fs::write(&path, "port = 5\nunheard_of = 1\n").expect("a file");
    let mut request = LoadRequest { path: Some(path), ..LoadRequest::default() };
    assert!(config::load(&request).is_err());
    request.environment.push(("MPREG_LEGACY_IGNORE_UNKNOWN".into(), "1".into()));
    let loaded = config::load(&request).expect("waved through");
    assert!(loaded.warnings.iter().any(|warning| warning.to_string().contains("unheard_of")));
}
