//! The configuration as a whole: where values come from, what is refused, and what is written back.

#![allow(clippy::disallowed_methods)] // Those are for the core only.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use mpreg::config::{self, LoadRequest, Loaded, Reload, Role, Scope, Settings, Show};
use proptest::prelude::*;
use tempfile::TempDir;

const ALL: Show = Show { all: true, redact: false };

fn place() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn write(dir: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = dir.path().join(name);
    fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    fs::write(&path, text).expect("a file");
    path
}

fn request(path: PathBuf) -> LoadRequest {
    LoadRequest { path: Some(path), host_name: "this-host".into(), ..LoadRequest::default() }
}

fn load(text: &str) -> Result<Loaded, String> {
    load_as("server.toml", text)
}

fn load_as(name: &str, text: &str) -> Result<Loaded, String> {
    let dir = place();
    config::load(&request(write(&dir, name, text))).map_err(|faults| faults.to_string())
}

fn good(text: &str) -> Loaded {
    load(text).unwrap_or_else(|faults| panic!("{text}\n{faults}"))
}

fn faults(text: &str) -> String {
    match load(text) {
        Ok(_) => panic!("no fault in {text}"),
        Err(faults) => faults,
    }
}

#[test]
fn without_any_place_all_is_default() {
    let loaded = config::load(&LoadRequest::default()).expect("the defaults");
    assert_eq!(loaded.settings.node.cluster_id, "default-cluster");
    assert_eq!(loaded.settings.fabric.gossip_interval, Duration::from_secs(5));
    assert_eq!(loaded.settings.limits.memory, 256 << 20);
    assert!(loaded.warnings.is_empty() && !loaded.legacy && loaded.origins().is_empty());
    assert!(config::refuse_unserved(&loaded).is_none(), "a plain node starts");
}

#[test]
fn later_places_win_and_say_where_they_are() {
    let dir = place();
    let path =
        write(&dir, "site.toml", "[fabric]\nmax_hops = 1\nroute = 1\n".replace("route = 1\n", "").as_str());
    write(&dir, "site.d/20-b.toml", "[fabric]\nmax_hops = 3\npage_max = 300\n");
    write(&dir, "site.d/10-a.toml", "[fabric]\nmax_hops = 2\npage_max = 250\npage_default = 9\n");
    write(&dir, "site.d/30-c.toml.bak", "garbage [");
    let mut request = request(path);
    let loaded = config::load(&request).expect("good files");
    let fabric = &loaded.settings.fabric;
    assert_eq!((fabric.max_hops, fabric.page_max, fabric.page_default), (3, 300, 9));
    assert_eq!(loaded.origin("fabric.max_hops").to_string(), "site.d/20-b.toml:2");
    request.environment.push(("MPREG__FABRIC__MAX_HOPS".into(), "4".into()));
    let loaded = config::load(&request).expect("a good environment");
    assert_eq!(
        (loaded.settings.fabric.max_hops, loaded.origin("fabric.max_hops").to_string()),
        (4, "MPREG__FABRIC__MAX_HOPS".into())
    );
    request.overrides.push(("fabric.max_hops".into(), "6".into(), "--set fabric.max_hops".into()));
    assert_eq!(config::load(&request).expect("a good option").settings.fabric.max_hops, 6);
    request.overrides.push(("function.name".into(), "x".into(), "--set function.name".into()));
    request.environment.push(("MPREG__DNS__UDP_PROT".into(), "53".into()));
    let told = config::load(&request).expect_err("unknown keys").to_string();
    assert!(
        told.contains("MPREG__DNS__UDP_PROT: unknown key `dns.udp_prot`; did you mean `dns.udp_port`"),
        "{told}"
    );
    assert!(told.contains("--set function.name: `function` is set as a whole"), "{told}");
}

#[test]
fn a_list_of_tables_in_a_drop_in_replaces_the_other_and_says_so() {
    let dir = place();
    let path = write(&dir, "server.toml", "[[function]]\nname = \"a\"\ncommand = [\"/bin/cat\"]\n");
    write(&dir, "server.d/1.toml", "[[function]]\nname = \"b\"\ncommand = [\"/bin/cat\"]\n");
    let loaded = config::load(&request(path)).expect("good files");
    assert_eq!(loaded.settings.function.iter().map(|f| f.id.as_str()).collect::<Vec<_>>(), ["b"]);
    assert!(loaded.warnings.iter().any(|w| w.to_string().contains("replace")), "{:?}", loaded.warnings);
}

#[test]
fn roles_are_defaults_and_contradictions_are_told() {
    let loaded = good(
        "[node]\nrole = [\"resolver\", \"ingress\"]\nstandalone = true\n[discovery.rate_limit]\nrequests = 7\n",
    );
    assert_eq!(loaded.settings.node.role, [Role::Resolver, Role::Ingress]);
    assert!(loaded.settings.discovery.resolver.enabled);
    assert_eq!(loaded.settings.discovery.rate_limit.requests, 7);
    assert_eq!(loaded.origin("discovery.resolver.resync_interval").to_string(), "role resolver");
    assert!(config::refuse_unserved(&loaded).is_none());
    let told =
        faults("[node]\nrole = \"resolver\"\nstandalone = true\n[discovery.resolver]\nenabled = false\n");
    assert!(
        told.contains("server.toml:5:1: role \"resolver\" contradicts `discovery.resolver.enabled`"),
        "{told}"
    );
}

#[test]
fn what_is_shown_loads_as_the_same_settings() {
    let dir = place();
    for text in [
        "",
        "port = 4711\nadvertised_urls = [\"ws://203.0.113.9:4000\"]\nresources = \"solo\"\ndiscovery_summary_export_scope = \"\"\n",
        "[node]\nrole = \"hub\"\nname = \"q\\\"uote\\\\ \\u0001\\u007f ü\"\n[federation]\nallowed_clusters = [\"b\"]\n[[federation.bridge]]\ncluster = \"c\"\n",
        "[[discovery.policy.rule]]\nnamespace = \"a\"\nexport_scopes = [\"Cluster\"]\n[[discovery.policy.rule.cutover]]\nstarts_at = 2030-01-01T00:00:00.5Z\nexport_scopes = []\n[[discovery.policy.rule]]\nnamespace = \"b\"\n",
        "[[route.policy]]\ndirection = \"import\"\napplies_to = \"neighbor\"\nneighbor = \"n\"\nallow_tags = []\nweights = { hops = 2 }\n[admin]\nregister_namespaces = { \"a b\" = [\"x\"], c = [] }\n",
        "[[queue.define]]\nqueue = \"jobs\"\ntype = \"delay\"\nretention_seconds = 1.5\n[limits]\nbacklog = 1000\n[fabric]\nrpc_timeout = \"1m30s\"\n",
        "[[function]]\nname = \"f\"\ncommand = [\"a\", \"\"]\nenvironment = { A = \"b\" }\nversion = \"v1.2\"\n",
        "[[peers.discover]]\ntype = \"consul\"\nconsul = { port = 1 }\n",
    ] {
        let loaded = good(text);
        let shown = config::show(&loaded.values, ALL);
        let again = config::load(&request(write(&dir, "server.toml", &shown)))
            .unwrap_or_else(|f| panic!("{shown}\n{f}"));
        assert_eq!(loaded.settings, again.settings, "{text}");
        assert_eq!(without_comments(&shown), without_comments(&config::show(&again.values, ALL)), "{text}");
    }
}

fn without_comments(text: &str) -> Vec<&str> {
    text.lines().map(|line| line.split("  # ").next().unwrap_or(line)).collect()
}

#[test]
fn the_example_says_every_key_and_its_default() {
    let example = config::example();
    assert_eq!(good(&example).settings, good("").settings, "nothing in it is in force");
    for key in config::schema() {
        assert!(
            example.contains(&format!("#{} =", key.row.name)) || example.contains(&format!("[{}]", key.path)),
            "{}",
            key.path
        );
    }
    let active: String = example
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    // All at once contradicts itself, but every key is known and of the right type.
    let told = load(&active).err().unwrap_or_default();
    assert!(!told.contains("unknown") && !told.contains("expected a"), "{told}");
}

#[test]
fn every_fault_is_told_at_once_in_the_order_of_the_file() {
    let told = faults(
        "[dns]\nport = \"many\"\nzone = [\"a\"]\nmin_ttl = \"10s\"\nmax_ttl = \"1s\"\n[link_state]\nmode = \"preferr\"\n[node]\nlatitude = 500\nzones = []\n",
    );
    let lines: Vec<&str> =
        told.lines().map(|line| line.rsplit_once("server.toml:").map_or(line, |(_, rest)| rest)).collect();
    assert_eq!(
        lines,
        [
            "2:8: `dns.port` is \"many\"; expected a whole number from 0 to 65535",
            "3:1: unknown key `dns.zone`; did you mean `dns.zones`?",
            "4:1: `dns.min_ttl` is 10s; expected at most `dns.max_ttl`, 1s",
            "7:8: `link_state.mode` is \"preferr\"; expected one of disabled, prefer, only; did you mean \"prefer\"?",
            "9:12: `node.latitude` is 500; expected a number from -90 to 90",
            "10:1: unknown key `node.zones`; `zones` belongs to [dns]",
            "6 errors, nothing started",
        ]
    );
}

#[test]
fn flat_keys_in_a_new_file_are_told_with_their_replacement() {
    let told = faults("discovery_resolver_mode = true\n[dns]\nport = 53\n");
    assert!(told.contains("server.toml:1:1: `discovery_resolver_mode` is a key of the old flat format; it is `discovery.resolver.enabled` now; write:  [discovery.resolver]  enabled = true      (or role = \"resolver\")"), "{told}");
    assert!(told.contains("(`discovery_resolver_mode`) or of the new one (`dns`)"), "{told}");
    let told = faults("[node]\ndns_zones = [\"a\"]\n");
    assert!(told.contains("it is `dns.zones` now; write:  [dns]  zones = [\"a\"]"), "{told}");
}

#[test]
fn secrets_are_never_told() {
    const SECRET: &str = "hunter2-do-not-print";
    for text in [
        format!("[[tenants.credential]]\ntenant = \"a\"\ntoken = \"{SECRET}\"\nbogus = 1\n"),
        format!("[[tenants.credential]]\ntenant = \"a\"\ntoken = [\"{SECRET}\"]\n"),
        format!("[[tenants.credential]]\ntenant = \"a\"\ntoken = {SECRET}\n"),
        format!("[route.security]\nsigning_key = \"{SECRET}\"\n"),
        format!("discovery_tenant_credentials = [{{tenant_id = \"\", token = \"{SECRET}\"}}]\n"),
        format!("fabric_route_signer = {{private_key = \"{SECRET}\"}}\n"),
        format!(
            "[[tenants.credential]]\ntenant = \"a\"\ntoken = \"{SECRET}\"\n[[tenants.credential]]\ntenant = \"b\"\ntoken = \"{SECRET}\"\n"
        ),
    ] {
        assert!(!faults(&text).contains(SECRET), "{text}");
    }
    let loaded = good(&format!("[[tenants.credential]]\ntenant = \"a\"\ntoken = \" {SECRET} \"\n"));
    assert_eq!(loaded.settings.tenants.credential[0].token.reveal(), SECRET);
    assert!(!loaded.settings.tenants.allow_claimed, "off by itself where there are credentials");
    let told = format!(
        "{loaded:?}{}{}",
        config::show(&loaded.values, ALL),
        config::show(&loaded.values, Show { all: false, redact: true })
    );
    assert!(!told.contains(SECRET));
}

#[test]
fn secret_files_are_read_and_must_not_be_open_to_everybody() {
    let dir = place();
    let secret = write(&dir, "token", "s3cret-value\n");
    let path = write(
        &dir,
        "server.toml",
        &format!("[[tenants.credential]]\ntenant = \"a\"\ntoken_file = {:?}\n", secret.display().to_string()),
    );
    let mode = |mode| fs::set_permissions(&secret, fs::Permissions::from_mode(mode)).expect("chmod");
    for open in [0o644, 0o604, 0o601] {
        mode(open);
        let told = config::load(&request(path.clone())).expect_err("open to everybody").to_string();
        assert!(
            told.contains("server.toml:3:1: `tenants.credential.token_file`") && !told.contains("s3cret"),
            "{told}"
        );
    }
    mode(0o640);
    let old = config::load(&request(path.clone())).expect("a good file");
    assert_eq!(old.settings.tenants.credential[0].token.reveal(), "s3cret-value");
    fs::write(&secret, "another\n").expect("a file");
    let new = config::load(&request(path.clone())).expect("a good file");
    let changed: Vec<&str> = old.changed(&new).iter().map(|key| key.path.as_str()).collect();
    assert_eq!(changed, ["tenants.credential"]);
    fs::write(&secret, " \n").expect("a file");
    assert!(config::load(&request(path)).expect_err("an empty file").to_string().contains("is empty"));

    let mut by_environment =
        request(write(&dir, "env.toml", "[[tenants.credential]]\ntenant = \"a\"\ntoken_env = \"TOKEN_A\"\n"));
    assert!(config::load(&by_environment).expect_err("not set").to_string().contains("`TOKEN_A` is not set"));
    by_environment.environment.push(("TOKEN_A".into(), "t".into()));
    let loaded = config::load(&by_environment).expect("set");
    assert_eq!(loaded.settings.tenants.credential[0].token.reveal(), "t");
}

#[test]
fn tls_files_must_belong_together() {
    let dir = place();
    let make = |name: &str| {
        let pair = rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate");
        let cert = write(&dir, &format!("{name}.pem"), &pair.cert.pem());
        let key = write(&dir, &format!("{name}.key"), &pair.signing_key.serialize_pem());
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("chmod");
        (cert.display().to_string(), key.display().to_string())
    };
    let (one, other) = (make("one"), make("other"));
    let with = |cert: &str, key: &str| {
        load(&format!(
            "[tls]\ncert_file = {cert:?}\nkey_file = {key:?}\n[[listen.endpoint]]\nprotocol = \"wss\"\n"
        ))
    };
    assert!(with(&one.0, &one.1).is_ok());
    let told = with(&one.0, &other.1).expect_err("a key of another certificate");
    assert!(told.contains("server.toml:3:1: `tls.key_file` is not usable with the certificate"), "{told}");
    assert!(with(&one.0, "").expect_err("no key").contains("`tls.cert_file` needs `tls.key_file`"));
    assert!(with(&one.1, &one.1).expect_err("no certificate").contains("holds no certificate in PEM"));
    assert!(with("", "").expect_err("neither").contains("needs `tls.cert_file`"));
}

#[test]
fn functions_are_checked_as_declared() {
    let function =
        |more: &str| load(&format!("[[function]]\nname = \"a.b\"\ncommand = [\"/bin/cat\"]\n{more}"));
    let loaded = function("scope = \"cluster\"\nversion = \"v1.2\"\n").expect("a good function");
    assert_eq!(
        (loaded.settings.function[0].scope, loaded.settings.function[0].in_flight_max),
        (Scope::Zone, 64)
    );
    for (more, word) in [
        ("version = \"one\"\n", "function.version"),
        ("in_flight_max = 0\n", "function.in_flight_max"),
        ("scope = \"galaxy\"\n", "galaxy"),
        ("resorces = [\"x\"]\n", "did you mean `function.resources`"),
        ("[[function]]\nname = \"a.b\"\ncommand = [\"x\"]\n", "declared twice"),
        ("[[function]]\nname = \"cluster_map\"\ncommand = [\"x\"]\n", "a function of the node itself"),
        ("[[function]]\nname = \"x\"\ncommand = []\n", "`function.command` is empty"),
        ("[[function]]\nname = \"x\"\n", "`function` needs `command`"),
    ] {
        let told = function(more).expect_err(more);
        assert!(told.contains(word), "{told}");
    }
}

#[test]
fn a_key_of_a_missing_module_is_told_and_refused() {
    for (text, key) in [
        ("[dns]\nenabled = true\n", Some("dns.enabled")),
        ("[dns]\nudp_max = 600\n", None),
        ("[node]\nrole = \"dns-gateway\"\n", Some("role dns-gateway: `dns.enabled`")),
        ("[cache]\nenabled = true\ncapacity = 5\n", Some("cache.capacity")),
        ("[persistence]\nmode = \"memory\"\n", None),
        ("[persistence]\nmode = \"fjall\"\n", None),
        ("[federation]\nmode = \"permissive_bridging\"\n", None),
        ("[route]\nttl = \"31s\"\n", None),
        ("[link_state]\nmode = \"only\"\n", None),
        ("[admin]\nmode = \"loopback\"\n", None),
        ("[discovery.summary]\nexport = true\n[discovery.summary.resolver]\nenabled = true\n", None),
        ("[node]\nlatitude = 5.0\n", None),
        ("[log]\ndiagnostics = [\"raft\"]\n", Some("log.diagnostics")),
        ("[limits]\nmemory = \"1GiB\"\n", None),
        ("[[function]]\nname = \"a.b\"\ncommand = [\"x\"]\nidempotent = true\n", None),
        ("[[peers.discover]]\ntype = \"dns_srv\"\n", None),
        (
            "[monitoring]\nenabled = true\nport = 9100\ntoken = \"t\"\n[monitoring.cors]\norigins = [\"https://a\"]\n",
            None,
        ),
        ("[monitoring]\nhistory = \"3h\"\n", Some("monitoring.history")),
        ("[monitoring]\nsample_interval = \"1s\"\n", Some("monitoring.sample_interval")),
        ("[monitoring]\nadmin_token = \"t\"\n", Some("monitoring.admin_token")),
        ("[monitoring.alerts]\nauto_resolve = false\n", Some("monitoring.alerts.auto_resolve")),
        ("[monitoring]\nenabled = false\nhistory = \"3h\"\n", None),
        ("monitoring_enabled = false\nport = 5\n", None),
        ("enable_default_cache = true\n", Some("cache.enabled")),
        ("port = 5\n", None),
    ] {
        let loaded = good(text);
        let refused = config::refuse_unserved(&loaded).map(|faults| faults.to_string());
        match key {
            None => assert_eq!(refused, None, "{text}"),
            Some(key) => {
                assert!(refused.as_ref().is_some_and(|told| told.contains(key)), "{text}{refused:?}");
                let told: String = loaded.notices.iter().map(|notice| notice.to_string()).collect();
                assert!(told.contains(key), "{told}");
            }
        }
    }
    let keys = config::unserved();
    for served in [
        "peers.static",
        "log.level",
        "monitoring.port",
        "discovery.policy.rule",
        "limits.backlog",
        "fabric.rpc_spec.mode",
        "function",
        "federation.bridge",
        "route.policy",
    ] {
        assert!(!keys.iter().any(|(key, _)| *key == served), "{served}");
    }
}

#[test]
fn changed_keys_say_what_they_need() {
    let old = good(
        "[log]\nlevel = \"info\"\n[[discovery.policy.rule]]\nnamespace = \"a\"\n[peers]\nstatic = [\"ws://a:1\"]\n",
    );
    let new = good(
        "\n[log]\nlevel = \"debug\"\n[[discovery.policy.rule]]\nnamespace = \"b\"\n[listen]\nport = 1\n[fabric]\ngossip_interval = 5\n",
    );
    let mut changed: Vec<(&str, Reload)> =
        old.changed(&new).iter().map(|key| (key.path.as_str(), key.row.reload)).collect();
    changed.sort_by_key(|(path, _)| *path);
    assert_eq!(
        changed,
        [
            ("discovery.policy.rule", Reload::Live),
            ("listen.port", Reload::Restart),
            ("log.level", Reload::Live),
            ("peers.static", Reload::Link)
        ]
    );
    assert_eq!(
        old.needs_restart(&new).iter().map(|key| key.path.as_str()).collect::<Vec<_>>(),
        ["listen.port"]
    );
    assert!(old.changed(&old.clone()).is_empty());
}

#[test]
fn a_file_that_cannot_be_read_is_told_by_name() {
    let dir = place();
    for (name, text, word) in [
        ("server.yaml", "port: 1\n", "expected .toml, .tml or .json"),
        ("server.json", "[1, 2]", "must be an object"),
        ("server.json", "{\"port\": 1,}", "not JSON"),
        ("server.toml", "port = \n", "server.toml:1:"),
        ("server.toml", "[node]\nname = \"a\"\nname = \"b\"\n", "server.toml:3:1: duplicate key `name`"),
    ] {
        let told = config::load(&request(write(&dir, name, text))).expect_err(text).to_string();
        assert!(told.contains(word) && told.contains(name), "{told}");
    }
    fs::write(dir.path().join("server.toml"), b"[node]\n\xff").expect("a file");
    let told = config::load(&request(dir.path().join("server.toml"))).expect_err("not UTF-8").to_string();
    assert!(told.contains("server.toml:2:1: the file is not UTF-8"), "{told}");
    let told = config::load(&request(dir.path().join("absent.toml"))).expect_err("absent").to_string();
    assert!(told.contains("absent.toml: cannot be read"), "{told}");
}

#[test]
fn settings_can_be_made_without_a_file() {
    assert_eq!(Settings::default().node_id(7), "ws://127.0.0.1:7");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever a file holds, it is read or told, with the place of each fault.
    #[test]
    fn any_value_of_any_key_is_read_or_told(key in 0usize..10_000, value in 0usize..10_000, json in any::<bool>()) {
        let keys = config::schema();
        let key = &keys[key % keys.len()];
        let values = ["true", "-1", "0", "70000", "1e300", "\"\"", "\"x\"", "\"5s\"", "\"1 KiB\"", "[]", "[\"a\"]", "[1.5]", "[[]]", "{}", "[{}]",
                      "{\"a\": 1}", "[{\"a\": []}]", "null", "99999999999999999999", "\"ws://h:1\"", "\"10.0.0.0/8\"", "9223372036854775807"];
        let value = values[value % values.len()];
        let mut text = value.to_owned();
        for part in key.path.rsplit('.') {
            text = format!("{{\"{part}\": {text}}}");
        }
        let result = if json {
            load_as("server.json", &text)
        } else {
            load(&format!("{} = {}\n", key.path.split('.').map(|p| format!("\"{p}\"")).collect::<Vec<_>>().join("."), value.replace(':', " =").replace("\"ws =", "\"ws:")))
        };
        if let Err(told) = result {
            prop_assert!(told.contains("server."), "{}", told);
        }
    }

    #[test]
    fn any_text_is_read_or_told(text in "[ -~\n]{0,200}", json in any::<bool>()) {
        let _ = load_as(if json { "server.json" } else { "server.toml" }, &text);
    }
}

#[test]
fn contradictions_about_other_clusters_are_told_all_at_once() {
    let key = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let told = faults(&format!(
        "[route.security]\nsigning_key = \"{}\"\n[[route.security.key]]\ncluster = \"a\"\npublic_key = \"{key}\"\n\
         [[route.security.key]]\ncluster = \"a\"\npublic_key = \"{key}\"\n[route.security.provider]\ntype = \"http\"\nsource = \"http://k\"\n\
         [link_state]\nmode = \"prefer\"\n[link_state.areas]\nlocal = [\"x\", \"y\", \"z\"]\n\
         [[link_state.areas.area]]\nname = \"x\"\nparent = \"y\"\n[[link_state.areas.area]]\nname = \"y\"\nparent = \"x\"\n\
         [[link_state.areas.area]]\nname = \"z\"\nparent = \"x\"\n[[link_state.areas.area]]\nname = \"z\"\n\
         [[link_state.areas.neighbor]]\ncluster = \"b\"\nareas = [\"x\"]\n[[link_state.areas.neighbor]]\ncluster = \"b\"\nareas = []\n\
         [[link_state.areas.summary]]\nfrom = \"x\"\nto = \"x\"\n",
        "zz"
    ));
    for word in [
        "2:1: `route.security.signing_key` is no Ed25519 private key",
        "6:1: a second `route.security.key` route_key_",
        "11:1: `route.security.provider.source` is fetched in the clear; use https://",
        "18:1: `link_state.areas.area.parent` leads from \"x\" back to it",
        "21:1: `link_state.areas.area.parent` leads from \"y\" back to it",
        "26:1: `link_state.areas.area` has \"z\" twice",
        "31:1: `link_state.areas.neighbor` has \"b\" twice",
        "35:1: `link_state.areas.summary` from \"x\" to itself",
        "8 errors",
    ] {
        assert!(told.contains(word), "{word}\n{told}");
    }
    assert!(!told.contains("zz"), "a secret: {told}");
    let told = faults("[route.security.provider]\ntype = \"exec\"\nsource = \"sh -c 'x'\"\n");
    assert!(told.contains("split at white space"), "{told}");
    for (source, told) in [
        ("https://k/keys", ""),
        ("http://[::1]:8080/keys", ""),
        ("http://127.0.0.1/keys", ""),
        ("http://127.0.0.1.example.net/keys", "in the clear"),
        ("https://u:p@k/keys", "must be an https:// URL"),
        ("k/keys", "must be an https:// URL"),
    ] {
        let text = format!("[route.security.provider]\ntype = \"http\"\nsource = \"{source}\"\n");
        match told {
            "" => drop(good(&text)),
            told => assert!(faults(&text).contains(told), "{source}"),
        }
    }
    let text =
        "[tls]\nverify_peers = false\n[route.security.provider]\ntype = \"http\"\nsource = \"https://k\"\n";
    assert!(faults(text).contains("needs `tls.verify_peers = true`"));
}

#[test]
fn doubtful_settings_about_other_clusters_are_warnings() {
    let permissive = "[federation]\nmode = \"permissive_bridging\"\n";
    let open = "[federation.security]\nrequire_mutual_auth = false\nrequire_encryption = false\n";
    let explicit = "[federation]\nmode = \"explicit_bridging\"\nallowed_clusters = [\"b\"]\n";
    for (text, words) in [
        (format!("{permissive}{open}"), &[][..]),
        (format!("{explicit}{open}"), &[]),
        (permissive.into(), &["`federation.security.require_encryption` = true, but no"]),
        (
            format!("{permissive}[federation.security]\nrequire_encryption = false\n"),
            &["`tls.client_auth` is \"none\""],
        ),
        (
            "[federation]\nallowed_clusters = [\"b\"]\n".into(),
            &["`federation.allowed_clusters` has no effect"],
        ),
        ("[[federation.bridge]]\ncluster = \"b\"\n".into(), &["`federation.bridge` has no effect"]),
        (
            format!(
                "{explicit}{open}[[federation.bridge]]\ncluster = \"b\"\nnodes = [\"ws://n:1\"]\n[[federation.bridge]]\ncluster = \"b\"\n"
            ),
            &["lets only some nodes of \"b\" connect", "a second `federation.bridge` to \"b\""],
        ),
        (
            format!("{explicit}{open}allow_functions = [\"f\"]\ndeny_functions = [\"f\"]\n"),
            &["deny_functions` keeps \"f\""],
        ),
        (
            format!("[node]\ncluster_id = \"b\"\n{explicit}{open}"),
            &["the own cluster, which always may connect"],
        ),
        (
            format!("{permissive}health_check_interval = \"10s\"\n{open}"),
            &["`federation.health_check_interval` should be more than twice"],
        ),
        // The y of no point of the curve.
        (
            format!("[[route.security.key]]\ncluster = \"a\"\npublic_key = \"02{}\"\n", "0".repeat(62)),
            &["`route.security.key.public_key` is a key of nobody"],
        ),
        ("[route]\nttl = \"10s\"\n".into(), &["`route.ttl` should be more than"]),
        (
            "[route.stability]\nflap_threshold = 3\n".into(),
            &["`route.stability.flap_threshold` has no effect"],
        ),
        ("[link_state]\nmode = \"only\"\nttl = \"5s\"\n".into(), &["`link_state.ttl` should be more than"]),
    ] {
        let told: Vec<String> = good(&text).warnings.iter().map(|warning| warning.to_string()).collect();
        assert_eq!(told.len(), words.len(), "{text}{told:?}");
        for (told, word) in told.iter().zip(words) {
            assert!(told.contains(word), "{text}{told}");
        }
    }
}
