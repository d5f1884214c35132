use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::config::LoadRequest;

const SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
const PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

struct Place(TempDir);

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn load(&self, text: &str) -> Result<Loaded, String> {
        let path = Some(self.write("server.toml", text, 0o644));
        config::load(&LoadRequest { path, ..LoadRequest::default() }).map_err(|faults| faults.to_string())
    }
}

fn loaded(text: &str) -> Loaded {
    Place::new().load(text).unwrap_or_else(|faults| panic!("{faults}"))
}

fn names(set: &BTreeSet<Text>) -> Vec<&str> {
    set.iter().map(|name| &**name).collect()
}

#[test]
fn federation_of_a_plain_node_is_strict_and_demanding() {
    let s = federation(&Settings::default());
    assert_eq!((&*s.cluster_id, s.mode), ("default-cluster", Mode::StrictIsolation));
    assert!(s.require_encryption && s.require_mutual_auth);
    assert_eq!((s.requests_per_minute_max, s.connections_per_cluster_max), (100, 10));
    assert_eq!(s.terms, LinkTerms::default());
    assert!(s.allowed_clusters.is_empty() && s.bridges.is_empty());
}

#[test]
fn every_key_of_federation_arrives() {
    let text = "[node]\ncluster_id = \"a\"\n[federation]\nmode = \"explicit_bridging\"\nallowed_clusters = [\"c\", \"b\"]\n\
                connection_timeout = \"3s\"\nretry_attempts = 1\nhealth_check_interval = \"9s\"\n\
                [federation.security]\nrequire_mutual_auth = false\nrequire_encryption = false\nallow_functions = [\"f\"]\n\
                deny_functions = [\"g\"]\nmax_requests_per_minute = 7\nmax_connections_per_cluster = 4\n\
                [[federation.bridge]]\ncluster = \"d\"\nnodes = [\"ws://d:1\"]\nconnection_timeout = \"1s\"\nretry_attempts = 5\n\
                health_check_interval = \"2s\"\n";
    let s = federation(&loaded(text).settings);
    assert_eq!((&*s.cluster_id, s.mode), ("a", Mode::ExplicitBridging));
    assert_eq!(names(&s.allowed_clusters), ["b", "c"]);
    assert!(!s.require_encryption && !s.require_mutual_auth);
    assert_eq!((names(&s.allow_functions), names(&s.deny_functions)), (vec!["f"], vec!["g"]));
    assert_eq!((s.requests_per_minute_max, s.connections_per_cluster_max), (7, 4));
    let terms = |connect_seconds_max, dials_before_backoff, silence_seconds_max| LinkTerms {
        connect_seconds_max,
        dials_before_backoff,
        silence_seconds_max,
    };
    assert_eq!(s.terms, terms(3.0, 1, 9.0));
    let bridge = Bridge {
        cluster: "d".into(),
        name: "bridge_a_to_d".into(),
        nodes: ["ws://d:1".into()].into(),
        terms: terms(1.0, 5, 2.0),
    };
    assert_eq!(s.bridges, [bridge]);
}

#[test]
fn every_key_of_routes_arrives() {
    let text = "[route]\nttl = \"40s\"\nannounce_interval = \"11s\"\ntags = [\"z\", \"a\"]\nmax_routes_per_destination = 2\n\
                [route.stability]\nhold_down = \"1s\"\nflap_threshold = 3\nsuppression_window = \"5s\"\n\
                [limits]\nroutes_per_neighbor = 8\nroutes_action = \"drop_link\"\n\
                [[route.policy]]\ndirection = \"import\"\napplies_to = \"global\"\nmax_hops = 3\nallow_tags = []\n\
                weights = { hops = 2, latency = 3, cost = 4, reliability = 5, bandwidth = 6 }\ntiebreakers = [\"advertiser\"]\n\
                [[route.policy]]\ndirection = \"export\"\napplies_to = \"neighbor\"\nneighbor = \"b\"\nallow_advertisers = [\"c\"]\n\
                allow_destinations = [\"d\"]\ndeny_tags = [\"e\"]\n\
                [[route.policy]]\ndirection = \"export\"\napplies_to = \"neighbor-default\"\n";
    let (s, rules) = (routes(&loaded(text).settings), route_rules(&loaded(text).settings));
    assert_eq!((s.ttl_seconds, s.announce_interval_seconds, s.routes_per_destination_max), (40.0, 11.0, 2));
    assert_eq!(s.tags.iter().map(|t| &**t).collect::<Vec<_>>(), ["a", "z"]);
    assert_eq!((rules.routes_per_neighbour_max, rules.over_limit), (8, OverLimit::DropLink));
    let stability = Stability { hold_down_seconds: 1.0, flap_threshold: 3, suppression_window_seconds: 5.0 };
    assert_eq!(s.stability, stability);
    let global = rules.import.global.unwrap();
    let weights = Weights { latency: 3.0, hops: 2.0, cost: 4.0, reliability: 5.0, bandwidth: 6.0 };
    assert_eq!((global.weights, global.hops_max), (weights, Some(3)));
    assert_eq!((global.allow_tags, global.allow_advertisers), (Some(BTreeSet::new()), None));
    assert_eq!(global.tiebreakers, Some(vec![Tiebreaker::Advertiser]));
    assert!(rules.import.default.is_none() && rules.import.neighbours.is_empty());
    assert!(rules.export.global.is_none());
    let one = &rules.export.neighbours["b"];
    assert_eq!(one.allow_advertisers.as_ref().map(names), Some(vec!["c"]));
    assert_eq!(one.allow_destinations.as_ref().map(names), Some(vec!["d"]));
    assert_eq!(names(&one.deny_tags), ["e"]);
    let default = rules.export.default.unwrap();
    assert_eq!((default.weights, default.tiebreakers.unwrap().len()), (Weights::default(), 4));
    let plain = route_rules(&Settings::default());
    assert_eq!(
        (plain.over_limit, routes(&Settings::default()).stability.flap_threshold),
        (OverLimit::Refuse, 0)
    );
}

#[test]
fn keys_of_every_form_are_read() {
    let place = Place::new();
    let pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n";
    let file = place.write("b.pub", pem, 0o644);
    let signing = place.write("own.key", &format!("{SEED}\n"), 0o600);
    let text = format!(
        "[node]\ncluster_id = \"a\"\n[route.security]\nrequire_signatures = true\nallow_unsigned = false\n\
         signing_key_file = \"{}\"\nsigning_key_id = \"mine\"\nkey_ttl = \"90s\"\nrotation_overlap = \"5s\"\n\
         [[route.security.key]]\ncluster = \"b\"\npublic_key_file = \"{}\"\nkey_id = \"kb\"\nprimary = false\nexpires_at = 5.0\n\
         [[route.security.key]]\ncluster = \"c\"\npublic_key = \"{PUBLIC}\"\n",
        signing.display(),
        file.display()
    );
    let loaded = place.load(&text).unwrap();
    let s = trust(&loaded).unwrap();
    assert_eq!((&*s.cluster_id, s.require_signatures, s.allow_unsigned), ("a", true, false));
    assert_eq!((s.key_ttl_seconds, s.rotation_overlap_seconds), (90.0, 5.0));
    let signer = s.signer.unwrap();
    assert_eq!((&*signer.key_id, &*signer.public().to_hex()), ("mine", PUBLIC));
    let key = |cluster: &str, key_id: &str, primary, expires_at| ConfiguredKey {
        cluster: cluster.into(),
        key: PublicKey::from_hex(PUBLIC).unwrap(),
        key_id: key_id.into(),
        primary,
        expires_at,
    };
    assert_eq!(s.keys, [key("b", "kb", false, Some(5.0)), key("c", "", true, None)]);
    assert_eq!(keys(&loaded).unwrap(), s.keys);

    // What has become of a file since then is told with its place.
    fs::write(&file, "no key").unwrap();
    let told = trust(&loaded).unwrap_err().to_string();
    assert!(told.contains("server.toml:10:") && told.contains("b.pub\" is no Ed25519 public key"), "{told}");
    assert!(keys(&loaded).is_err());
    let plain = trust(&place.load("").unwrap()).unwrap();
    assert!(plain.signer.is_none() && plain.keys.is_empty() && plain.allow_unsigned);
}

#[test]
fn a_private_key_that_everybody_may_read_is_refused() {
    let place = Place::new();
    let signing = place.write("own.key", SEED, 0o644);
    let text = format!("[route.security]\nsigning_key_file = \"{}\"\n", signing.display());
    let told = place.load(&text).unwrap_err();
    assert!(told.contains("open to everybody") && told.contains("chmod o="), "{told}");
}

#[test]
fn a_signing_key_may_come_from_the_environment() {
    let place = Place::new();
    let path = Some(place.write("server.toml", "[route.security]\nsigning_key_env = \"KEY\"\n", 0o644));
    let environment = vec![("KEY".to_owned(), SEED.to_owned())];
    let loaded = config::load(&LoadRequest { path, environment, ..LoadRequest::default() }).unwrap();
    let signer = trust(&loaded).unwrap().signer.unwrap();
    assert_eq!(&*signer.public().to_hex(), PUBLIC);
    assert_eq!(signer.key_id, signer.public().id());
}

#[test]
fn sources_of_keys_are_those_that_can_be_read() {
    for (text, expected) in [
        ("", "None"),
        ("type = \"file\"\nsource = \"/k\"\n", "Some((File(\"/k\"), 7s))"),
        ("type = \"directory\"\nsource = \"/k\"\n", "Some((Directory(\"/k\"), 7s))"),
        (
            "type = \"exec\"\nsource = \"curl -fsS  http://k\"\n",
            "Some((Exec([\"curl\", \"-fsS\", \"http://k\"]), 7s))",
        ),
        ("type = \"http\"\nsource = \"https://k/keys\"\n", "Some((Http(\"https://k/keys\", None), 7s))"),
        (
            "type = \"http\"\nsource = \"http://localhost:1/\"\n",
            "Some((Http(\"http://localhost:1/\", None), 7s))",
        ),
    ] {
        let text = format!("[route.security.provider]\nrefresh_interval = \"7s\"\n{text}");
        assert_eq!(format!("{:?}", key_source(&loaded(&text).settings, None)), expected);
    }
}

#[test]
fn every_key_of_link_state_arrives() {
    let text = "[link_state]\nmode = \"only\"\nttl = \"40s\"\nannounce_interval = \"11s\"\necmp_paths = 3\narea = \"x\"\n\
                [link_state.areas]\nlocal = [\"x\", \"y\"]\nallow_unmapped_neighbors = false\n\
                [[link_state.areas.neighbor]]\ncluster = \"b\"\nareas = [\"y\", \"x\"]\n\
                [[link_state.areas.area]]\nname = \"y\"\nparent = \"x\"\nonly_neighbors = []\n\
                [[link_state.areas.summary]]\nfrom = \"y\"\nto = \"x\"\nallow = [\"b\"]\ndeny = [\"c\"]\n\
                [[link_state.areas.summary]]\nfrom = \"x\"\nto = \"y\"\n";
    let s = link_state(&loaded(text).settings);
    let eleven = Duration::from_secs(11);
    assert_eq!((s.mode, s.ttl_seconds, s.announce_interval), (link_state::Mode::Only, 40.0, eleven));
    assert_eq!((s.ecmp_paths, s.area.as_deref()), (3, Some("x")));
    assert_eq!((names(&s.areas.local), s.areas.default.as_deref()), (vec!["x", "y"], None));
    assert!(!s.areas.allow_unmapped_neighbours);
    assert_eq!(names(&s.areas.neighbours["b"]), ["x", "y"]);
    let area = Area { parent: Some("x".into()), only_neighbours: Some(BTreeSet::new()) };
    assert_eq!(s.areas.by_name, [("y".into(), area)].into());
    let summary =
        |from: &str, to: &str, allow, deny| Summary { from: from.into(), to: to.into(), allow, deny };
    let first = summary("y", "x", Some(["b".into()].into()), Some(["c".into()].into()));
    assert_eq!(s.areas.summaries, [first, summary("x", "y", None, None)]);
    let plain = link_state(&Settings::default());
    assert_eq!((plain.mode, plain.area, plain.areas.default), (link_state::Mode::Disabled, None, None));
    assert!(plain.areas.allow_unmapped_neighbours && plain.areas.by_name.is_empty());
}
