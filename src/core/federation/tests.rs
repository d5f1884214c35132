use proptest::prelude::*;

use super::*;

const MISMATCH: &str = "Connection rejected: cluster_id mismatch. Local: own, Remote: other. Cross-federation \
                        connections not allowed in current federation mode.";
const NOT_LISTED: &str = "Connection rejected: cluster 'other' not in allowed foreign clusters list.";
const NODE: &str = "wss://n1.other.net:7443";
const MODES: [Mode; 3] = [Mode::StrictIsolation, Mode::ExplicitBridging, Mode::PermissiveBridging];

fn set(names: &[&str]) -> BTreeSet<Text> {
    names.iter().map(|n| Text::from(*n)).collect()
}

fn settings(mode: Mode) -> Settings {
    Settings { cluster_id: "own".into(), mode, connections_per_cluster_max: 10, ..Settings::default() }
}

fn allowing(clusters: &[&str]) -> Settings {
    Settings { allowed_clusters: set(clusters), ..settings(Mode::ExplicitBridging) }
}

fn bridged(bridges: &[(&str, &[&str])]) -> Settings {
    let bridge = |(cluster, nodes): &(&str, &[&str])| Bridge {
        cluster: (*cluster).into(),
        name: "".into(),
        nodes: set(nodes),
        terms: LinkTerms::default(),
    };
    Settings { bridges: bridges.iter().map(bridge).collect(), ..settings(Mode::ExplicitBridging) }
}

fn plain() -> LinkFacts {
    LinkFacts::default()
}

fn certified(uris: &[&str], dns: &[&str]) -> LinkFacts {
    let texts = |list: &[&str]| list.iter().map(|t| Text::from(*t)).collect();
    let names = CertificateNames { uris: texts(uris), dns: texts(dns), addresses: Vec::new() };
    LinkFacts { encrypted: true, asked: true, certificate: Some(names) }
}

fn refused(federation: &Federation, cluster: &str, link: &LinkFacts) -> Option<Reason> {
    federation.admits(cluster, Some(NODE), link).err().map(|refusal| refusal.reason)
}

// The modes of fabric.md 10

#[test]
fn who_is_let_in_by_each_mode() {
    for (case, settings, cluster, message) in [
        ("strict, own", settings(Mode::StrictIsolation), "own", None),
        ("strict, foreign", settings(Mode::StrictIsolation), "other", Some(MISMATCH)),
        ("explicit, own", allowing(&["friend"]), "own", None),
        ("explicit, listed", allowing(&["pal", "other"]), "other", None),
        ("explicit, unlisted", allowing(&["friend"]), "other", Some(NOT_LISTED)),
        ("explicit, nobody", allowing(&[]), "other", Some(NOT_LISTED)),
        ("explicit, bridged", bridged(&[("other", &[])]), "other", None),
        ("explicit, bridged node", bridged(&[("other", &[NODE])]), "other", None),
        ("explicit, another node", bridged(&[("other", &["ws://x:1"])]), "other", Some(NOT_LISTED)),
        ("explicit, second bridge", bridged(&[("other", &["ws://x:1"]), ("other", &[NODE])]), "other", None),
        ("explicit, bridge elsewhere", bridged(&[("friend", &[])]), "other", Some(NOT_LISTED)),
        ("permissive", settings(Mode::PermissiveBridging), "other", None),
        ("permissive, own", settings(Mode::PermissiveBridging), "own", None),
    ] {
        let federation = Federation::new(settings);
        let told = federation.admits(cluster, Some(NODE), &plain()).err();
        assert_eq!(told.as_ref().map(|refusal| &*refusal.message), message, "{case}");
        assert!(told.iter().all(|refusal| refusal.reason == Reason::ClusterRefused), "{case}");
        assert_eq!(federation.may_meet(cluster, Some(NODE)).err(), told, "{case}");
    }
}

#[test]
fn a_bridge_narrows_a_listed_cluster() {
    let mut settings = bridged(&[("other", &["ws://x:1"])]);
    settings.allowed_clusters = set(&["other"]);
    let federation = Federation::new(settings);
    assert_eq!(refused(&federation, "other", &plain()), Some(Reason::ClusterRefused));
    assert_eq!(federation.may_meet("other", Some("ws://x:1")), Ok(()));
}

#[test]
fn the_mode_is_asked_at_every_point_of_the_table() {
    for mode in MODES {
        let mut federation =
            Federation::new(Settings { allowed_clusters: set(&["friend"]), ..settings(mode) });
        let is_strict = mode == Mode::StrictIsolation;
        let lets_in = |cluster| {
            mode == Mode::PermissiveBridging || mode != Mode::StrictIsolation && cluster == "friend"
        };
        for cluster in ["friend", "other"] {
            // First STATUS on a connection, accepted or dialled, and whatever else might be said there first.
            assert_eq!(
                federation.admits(cluster, Some(NODE), &plain()).is_ok(),
                lets_in(cluster),
                "{mode:?}"
            );
            // Dialling a discovered node.
            assert_eq!(federation.may_meet(cluster, None).is_ok(), lets_in(cluster));
            // Content of the catalog: what lies behind an allowed cluster is taken, too.
            assert_eq!(federation.offers(cluster, "f").is_ok(), !is_strict);
            assert_eq!(federation.may_speak("friend", "friend", false).is_ok(), !is_strict);
            // Origination and forwarding of calls, planning of publications.
            assert_eq!(federation.may_reach(cluster).is_ok(), !is_strict);
            // Execution for a foreign caller, and its publications.
            assert_eq!(federation.may_call(cluster, "f").is_ok(), !is_strict);
            assert_eq!(federation.may_publish(cluster, "news.x").is_ok(), !is_strict);
        }
        // A seed whose cluster is not known yet is dialled; it is asked for by what answers. The own cluster always may.
        assert!(
            federation.admits("own", Some(NODE), &plain()).is_ok()
                && federation.may_meet("own", None).is_ok()
        );
        assert!(federation.offers("own", "f").is_ok() && federation.may_call("own", "f").is_ok());
        assert!(federation.may_reach("own").is_ok() && federation.may_speak("own", "own", false).is_ok());
        assert!(
            federation.opened(&"own".into()).is_ok()
                && federation.spend(&"own".into(), Now::at(0.0, 0.0)).is_ok()
        );
    }
}

// Encryption and certificates (20.1, S1)

#[test]
fn encryption_is_required_of_other_clusters_alone() {
    let demanding = Settings { require_encryption: true, ..settings(Mode::PermissiveBridging) };
    let federation = Federation::new(demanding);
    let refusal = federation.admits("other", Some(NODE), &plain()).unwrap_err();
    assert_eq!(refusal.reason, Reason::EncryptionRequired);
    assert!(refusal.message.contains("federation.security.require_encryption"), "{}", refusal.message);
    assert!(
        federation
            .admits("other", Some(NODE), &LinkFacts { encrypted: true, ..LinkFacts::default() })
            .is_ok()
    );
    assert!(federation.admits("own", Some(NODE), &plain()).is_ok());
}

#[test]
fn a_certificate_is_required_of_other_clusters_and_of_ours_where_it_is_asked_for() {
    let demanding = |mode| Federation::new(Settings { require_mutual_auth: true, ..settings(mode) });
    let federation = demanding(Mode::PermissiveBridging);
    let encrypted = LinkFacts { encrypted: true, ..LinkFacts::default() };
    let refusal = federation.admits("other", Some(NODE), &encrypted).unwrap_err();
    assert_eq!(refusal.reason, Reason::CertificateMissing);
    assert!(refusal.message.contains("federation.security.require_mutual_auth"), "{}", refusal.message);
    assert!(federation.admits("own", Some(NODE), &encrypted).is_ok(), "none was asked for");
    let asked = LinkFacts { asked: true, ..encrypted };
    assert_eq!(refused(&federation, "own", &asked), Some(Reason::CertificateMissing));
    assert_eq!(refused(&demanding(Mode::StrictIsolation), "own", &asked), None, "nobody else comes");
}

#[test]
fn where_certificates_tell_clusters_apart_a_host_name_alone_does_not() {
    let demanding = Settings { require_mutual_auth: true, ..bridged(&[("other", &[]), ("third", &[NODE])]) };
    let federation = Federation::new(demanding);
    let (host, mismatch) = (certified(&[], &["n1.other.net"]), Some(Reason::CertificateMismatch));
    for (cluster, link, expected) in [
        ("own", &host, mismatch),
        ("own", &certified(&[], &["balancer.own.net"]), mismatch),
        ("own", &certified(&["mpreg://own"], &[]), None),
        ("other", &host, mismatch),
        ("other", &certified(&["mpreg://other"], &[]), None),
        ("third", &host, None),
        ("third", &certified(&[], &["n2.other.net"]), mismatch),
    ] {
        assert_eq!(refused(&federation, cluster, link), expected, "{cluster} {link:?}");
    }
    let text = federation.admits("other", Some(NODE), &host).unwrap_err().message;
    assert!(
        text.contains("mpreg://other/wss://n1.other.net:7443") && text.contains("federation.bridge"),
        "{text}"
    );
}

#[test]
fn a_certificate_binds_node_and_cluster() {
    let federation = Federation::new(settings(Mode::PermissiveBridging));
    let precise = "mpreg://other/wss://n1.other.net:7443";
    let mismatch = Some(Reason::CertificateMismatch);
    for (cluster, uris, dns, expected) in [
        ("other", &[precise][..], &[][..], None),
        ("other", &["mpreg://other"], &["elsewhere.net"], None),
        ("other", &[], &["n1.other.net"], None),
        ("other", &[], &["n2.other.net"], mismatch),
        ("other", &[], &[], mismatch),
        ("third", &[precise], &["n1.other.net"], mismatch),
        ("other", &["mpreg://other/wss://n2.other.net:7443"], &["n1.other.net"], mismatch),
        ("own", &[], &["balancer.own.net"], None),
        ("own", &["mpreg://own"], &[], None),
        ("own", &[precise], &["n1.other.net"], mismatch),
        ("own", &["mpreg://own/ws://x:1"], &["n1.other.net"], mismatch),
    ] {
        assert_eq!(
            refused(&federation, cluster, &certified(uris, dns)),
            expected,
            "{cluster} {uris:?} {dns:?}"
        );
    }
    let refusal = federation.admits("third", Some(NODE), &certified(&[precise], &[])).unwrap_err();
    assert!(refusal.message.contains("mpreg://third/wss://n1.other.net:7443 "), "{}", refusal.message);
}

#[test]
fn the_mode_speaks_before_the_link_is_looked_at() {
    let federation = Federation::new(settings(Mode::StrictIsolation));
    let best = certified(&["mpreg://other"], &[]);
    assert_eq!(federation.admits("other", Some(NODE), &best).unwrap_err().message, MISMATCH);
}

// What a link may say, and what may be called over it (20.1, S3, S4)

#[test]
fn each_link_speaks_for_its_side() {
    use Reason::{ClusterRefused, NotEntitled};
    let bridging = Federation::new(allowing(&["friend"]));
    let strict = Federation::new(settings(Mode::StrictIsolation));
    for (link, entry, routed, expected, expected_strict) in [
        ("own", "own", false, Ok(()), Ok(())),
        ("own", "friend", false, Ok(()), Err(ClusterRefused)),
        ("friend", "friend", false, Ok(()), Err(ClusterRefused)),
        ("friend", "far", false, Err(NotEntitled), Err(ClusterRefused)),
        ("friend", "far", true, Ok(()), Err(ClusterRefused)),
        ("friend", "own", false, Err(NotEntitled), Err(ClusterRefused)),
        ("friend", "own", true, Err(NotEntitled), Err(ClusterRefused)),
    ] {
        assert_eq!(bridging.may_speak(link, entry, routed), expected, "{link} {entry} {routed}");
        assert_eq!(strict.may_speak(link, entry, routed), expected_strict, "strict: {link} {entry} {routed}");
    }
}

#[test]
fn function_lists_hold_for_what_comes_and_for_what_is_asked() {
    for (allow, deny, shared, kept) in [
        (&[][..], &[][..], &["secret", "public"][..], &[][..]),
        (&[], &["secret"], &["public", "secrets"], &["secret"]),
        (&["public"], &[], &["public"], &["secret", "publi", ""]),
        (&["secret", "public"], &[], &["secret", "public"], &["other"]),
        (&["secret"], &["secret"], &[], &["secret", "public"]),
    ] {
        let lists =
            Settings { allow_functions: set(allow), deny_functions: set(deny), ..allowing(&["friend"]) };
        let federation = Federation::new(lists);
        for (names, expected) in [(shared, Ok(())), (kept, Err(Reason::FunctionNotShared))] {
            for name in names {
                assert_eq!(federation.offers("friend", name), expected, "{allow:?} {deny:?} {name}");
                assert_eq!(federation.may_call("friend", name), expected, "{allow:?} {deny:?} {name}");
                assert_eq!(federation.may_call("own", name), Ok(()));
                assert_eq!(federation.offers("own", name), Ok(()));
            }
        }
    }
}

#[test]
fn topics_of_the_nodes_stay_within_a_cluster() {
    let federation = Federation::new(allowing(&["friend"]));
    for topic in [
        "mpreg.discovery.delta",
        "mpreg.queue.jobs",
        "mpreg.rpc.execute.echo",
        "mpreg.fabric.raft.rpc",
        "mpreg.cache.sync.operation",
        "mpreg",
        "mpreg.discovery.summaryx",
    ] {
        assert_eq!(federation.may_publish("friend", topic), Err(Reason::ReservedTopic), "{topic}");
        assert_eq!(federation.may_publish("own", topic), Ok(()), "{topic}");
    }
    for topic in ["open.x", "mpregular.news", "mpreg.discovery.summary", "mpreg.discovery.summary.global.svc"]
    {
        assert_eq!(federation.may_publish("friend", topic), Ok(()), "{topic}");
    }
}

// Limits

#[test]
fn connections_of_a_cluster_are_limited_and_given_back() {
    let limit = |max| Settings { connections_per_cluster_max: max, ..allowing(&["a", "b"]) };
    let mut federation = Federation::new(limit(2));
    let (a, b): (Text, Text) = ("a".into(), "b".into());
    let full = Err(Reason::ClusterConnectionsLimit);
    assert_eq!([federation.opened(&a), federation.opened(&a), federation.opened(&a)], [Ok(()), Ok(()), full]);
    assert_eq!(federation.opened(&b), Ok(()));
    federation.closed(&a);
    assert_eq!([federation.opened(&a), federation.opened(&a)], [Ok(()), full]);
    federation.revise(limit(1));
    federation.closed(&a);
    assert_eq!(federation.opened(&a), full, "those that are open stay counted");
    federation.closed(&a);
    federation.closed(&a);
    assert_eq!(federation.opened(&a), Ok(()));
    federation.closed(&a);
    federation.closed(&b);
    assert_eq!(federation.connections().count(), 0);
}

#[test]
fn requests_of_a_cluster_are_limited_and_a_revision_gives_none_back() {
    let limit = |max| Settings { requests_per_minute_max: max, ..allowing(&["a"]) };
    let mut federation = Federation::new(limit(3));
    let a: Text = "a".into();
    let granted = |federation: &mut Federation, at: f64| {
        (0..100).filter(|_| federation.spend(&a, Now::at(0.0, at)) == Ok(())).count()
    };
    assert_eq!(granted(&mut federation, 1.0), 3);
    federation.revise(limit(6));
    assert_eq!(granted(&mut federation, 1.0), 0);
    assert_eq!(federation.spend(&"a".into(), Now::at(0.0, 1.0)), Err(Reason::ClusterRequestsLimit));
    assert_eq!(granted(&mut federation, 12.0), 1);
    federation.revise(limit(0));
    assert_eq!(granted(&mut federation, 12.0), 100);
}

#[test]
fn terms_are_those_of_the_bridge_where_there_is_one() {
    let mut settings = bridged(&[("other", &[])]);
    let quick = LinkTerms { connect_seconds_max: 1.0, dials_before_backoff: 0, silence_seconds_max: 2.0 };
    settings.bridges.iter_mut().for_each(|bridge| bridge.terms = quick);
    let federation = Federation::new(settings);
    assert_eq!((federation.terms("other"), federation.terms("friend")), (&quick, &LinkTerms::default()));
}

proptest! {
    /// Nothing that a link proves or a route says makes a foreign cluster one that speaks for this one.
    #[test]
    fn nobody_else_speaks_for_the_own_cluster(mode in 0usize..3, link in "[a-c]", routed in any::<bool>()) {
        let federation = Federation::new(settings(MODES[mode]));
        prop_assert!(federation.may_speak(&link, "own", routed).is_err());
    }

    /// The count of connections is that of a list of open ones.
    #[test]
    fn connections_are_counted_as_a_list_would(steps in prop::collection::vec((0usize..3, any::<bool>()), 0..200)) {
        let mut federation = Federation::new(Settings { connections_per_cluster_max: 3, ..settings(Mode::PermissiveBridging) });
        let mut open = [0u32; 3];
        for (n, opens) in steps {
            let cluster = Text::from(["a", "b", "c"][n]);
            if opens {
                let is_granted = federation.opened(&cluster).is_ok();
                prop_assert_eq!(is_granted, open[n] < 3);
                open[n] += u32::from(is_granted);
            } else if open[n] > 0 {
                federation.closed(&cluster);
                open[n] -= 1;
            }
            prop_assert_eq!(federation.connections().map(|(_, count)| count).sum::<u32>(), open.iter().sum::<u32>());
        }
    }
}
