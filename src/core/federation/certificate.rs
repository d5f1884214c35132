//! Which node of which cluster a certificate stands for.
//!
//! The precise name is the URI `mpreg://<cluster>/<node id>`, or `mpreg://<cluster>` for every node of a cluster; what
//! a URI cannot hold is written as `%` and two digits. A certificate with such names stands for those nodes alone.
//! Without them it stands for the nodes whose id has one of its DNS names or addresses as host, and says nothing of
//! their cluster. Nothing here verifies a signature or a date; that has been done where the connection was made.

use std::net::IpAddr;

use crate::core::catalog::Text;

/// The names in a verified certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CertificateNames {
    pub uris: Vec<Text>,
    /// `*` may stand for the first label.
    pub dns: Vec<Text>,
    pub addresses: Vec<IpAddr>,
}

/// What a certificate says about a node of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vouches {
    /// For the node and its cluster.
    Yes,
    /// For the host of the node id, in whatever cluster.
    ForHost,
    /// It names clusters or nodes, and not this one.
    No,
    /// It names no cluster, and not this host.
    NotByName,
}

impl CertificateNames {
    /// A node whose id is not known yet is vouched for with its cluster.
    pub(super) fn vouch_for(&self, cluster: &str, node: Option<&str>) -> Vouches {
        let mut uris = self.uris.iter().filter_map(|uri| uri.strip_prefix(SCHEME)).peekable();
        if uris.peek().is_some() {
            let is_named = uris.any(|name| names(name, cluster, node));
            return if is_named { Vouches::Yes } else { Vouches::No };
        }
        let Some(node) = node else { return Vouches::NotByName };
        let is_host = host(node).is_some_and(|host| match host.parse::<IpAddr>() {
            Ok(address) => self.addresses.contains(&address),
            Err(_) => self.dns.iter().any(|name| is_dns_name(name, host)),
        });
        if is_host { Vouches::ForHost } else { Vouches::NotByName }
    }
}

/// The precise name of a node.
pub(super) fn uri_name(cluster: &str, node: &str) -> String {
    let mut name = SCHEME.to_owned();
    write_escaped(cluster, "", &mut name);
    name.push('/');
    write_escaped(node, "/:[]", &mut name);
    name
}

/// Whether `<cluster>[/<node id>]` is this one.
fn names(name: &str, cluster: &str, node: Option<&str>) -> bool {
    let (named_cluster, named_node) = name.split_once('/').unwrap_or((name, ""));
    unescaped(named_cluster).as_deref() == Some(cluster)
        && (named_node.is_empty() || node.is_none_or(|node| unescaped(named_node).as_deref() == Some(node)))
}

/// The host of a node id, without brackets.
fn host(node: &str) -> Option<&str> {
    let (_, rest) = node.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next().filter(|a| !a.contains('@'))?;
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split_once(']')?.0,
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    (!host.is_empty()).then_some(host)
}

/// Whether a DNS name of a certificate is that of a host (RFC 6125, 6.4).
fn is_dns_name(name: &str, host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let Some(parent) = name.strip_prefix("*.") else { return name.eq_ignore_ascii_case(host) };
    // A star over a whole top level domain would be everybody.
    let is_below = |(first, rest): (&str, &str)| !first.is_empty() && rest.eq_ignore_ascii_case(parent);
    parent.contains('.') && host.split_once('.').is_some_and(is_below)
}

fn write_escaped(text: &str, plain: &str, out: &mut String) {
    for byte in text.bytes() {
        let c = char::from(byte);
        if c.is_ascii_alphanumeric() || "-._~".contains(c) || plain.contains(c) {
            out.push(c);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

/// `None` where an escape is no byte or the whole is no text.
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend(parts.next()?.bytes());
    for part in parts {
        let digits = part.get(..2).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend(part.get(2..)?.bytes());
    }
    String::from_utf8(bytes).ok()
}

const SCHEME: &str = "mpreg://";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn certificate(uris: &[&str], dns: &[&str], addresses: &[&str]) -> CertificateNames {
        let texts = |list: &[&str]| list.iter().map(|t| Text::from(*t)).collect();
        let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
        CertificateNames { uris: texts(uris), dns: texts(dns), addresses }
    }

    #[test]
    fn a_uri_names_a_node_or_a_whole_cluster_and_nothing_else_counts_then() {
        use Vouches::*;
        let node = "wss://n1.b.net:7443";
        for (uris, expected) in [
            (&["mpreg://b/wss://n1.b.net:7443"][..], Yes),
            (&["mpreg://b"], Yes),
            (&["mpreg://b/"], Yes),
            (&["mpreg://c/wss://n1.b.net:7443", "mpreg://b/wss://n1.b.net:7443"], Yes),
            (&["mpreg://b/wss://n2.b.net:7443"], No),
            (&["mpreg://b/wss://n1.b.net:7443x"], No),
            (&["mpreg://c/wss://n1.b.net:7443"], No),
            (&["mpreg://c"], No),
            (&["mpreg://"], No),
            (&["mpreg://%ZZ"], No),
            (&["mpreg://b%"], No),
            (&["mpreg://B"], No),
            // Somebody else's names do not matter.
            (&["spiffe://b/n1"], ForHost),
        ] {
            assert_eq!(
                certificate(uris, &["n1.b.net"], &[]).vouch_for("b", Some(node)),
                expected,
                "{uris:?}"
            );
        }
        let whole = certificate(&["mpreg://b/ws://x:1"], &[], &[]);
        assert_eq!(whole.vouch_for("b", None), Yes, "the node comes later");
        assert_eq!(whole.vouch_for("c", None), No);
        assert_eq!(certificate(&["mpreg://a%20b"], &[], &[]).vouch_for("a b", Some(node)), Yes);
    }

    #[test]
    fn without_one_the_host_of_the_node_id_is_looked_for() {
        let names = certificate(&[], &["n1.b.net", "*.c.net", "*.net"], &["10.0.0.1", "fd00::1"]);
        for (node, expected) in [
            ("wss://n1.b.net:7443", true),
            ("ws://N1.B.net", true),
            ("ws://n1.b.net.:1/path", true),
            ("ws://x.c.net:1", true),
            ("ws://x.y.c.net:1", false),
            ("ws://c.net:1", false),
            ("ws://.c.net:1", false),
            ("ws://d.net:1", false),
            ("ws://n2.b.net:1", false),
            ("tcp://10.0.0.1:1", true),
            ("tcp://10.0.0.2:1", false),
            ("tcp://[fd00::1]:1", true),
            ("tcp://[fd00:0::1]:1", true),
            ("ws://n1.b.net:1@evil:2", false),
            ("ws://evil:2/n1.b.net", false),
            ("n1.b.net", false),
            ("ws://", false),
            ("", false),
        ] {
            let found = names.vouch_for("any", Some(node));
            assert_eq!(found, if expected { Vouches::ForHost } else { Vouches::NotByName }, "{node}");
        }
        assert_eq!(names.vouch_for("any", None), Vouches::NotByName);
        assert_eq!(CertificateNames::default().vouch_for("b", Some("ws://n1.b.net:1")), Vouches::NotByName);
    }

    proptest! {
        #[test]
        fn the_precise_name_of_a_node_is_its_own(cluster in "\\PC{1,20}", node in "\\PC{1,40}", other in "\\PC{1,40}") {
            let names = certificate(&[&uri_name(&cluster, &node)], &[], &[]);
            prop_assert!(names.uris[0].is_ascii());
            prop_assert_eq!(names.vouch_for(&cluster, Some(&node)), Vouches::Yes);
            if other != node {
                prop_assert_eq!(names.vouch_for(&cluster, Some(&other)), Vouches::No);
            }
        }

        #[test]
        fn any_text_is_taken(uri in "\\PC{0,40}", dns in "\\PC{0,40}", node in "\\PC{0,40}") {
            let uri = format!("mpreg://{uri}");
            certificate(&[&uri], &[&dns], &[]).vouch_for("b", Some(&node));
            certificate(&[], &[&dns], &[]).vouch_for("b", Some(&node));
        }
    }
}
