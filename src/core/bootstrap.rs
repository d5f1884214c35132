//! Places that tell of peers (`[[peers.discover]]`): what their documents say, and which peers count now.
//!
//! Promises: a document is read as a whole or not at all; an address that cannot be dialled is passed over and told.
//! Of a peer with several addresses, of which one is protected, only protected ones count: whoever could make those
//! fail could listen at the others. A place that fails takes nothing away; a peer that a place no longer tells of
//! counts for its `registration_ttl`. Asking the places is for others.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::catalog::Text;
use super::membership::FOUND_MAX;

/// The addresses of one peer, best first; never empty.
pub type Addresses = Vec<Text>;

/// What one document says.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Told {
    pub peers: Vec<Addresses>,
    /// Addresses that were passed over, and why.
    pub refused: Vec<String>,
}

/// Which peers of a document count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Health {
    pub score_min: f64,
    pub filter_unhealthy: bool,
}

/// The peers that one place has told of.
#[derive(Debug)]
pub struct Place {
    ttl: Duration,
    /// With the time at which they were told of last.
    peers: BTreeMap<Addresses, Duration>,
    /// In the order of the last answer.
    order: Vec<Addresses>,
}

/// The shapes of a document: that of the reference, and lists.
#[derive(Deserialize)]
#[serde(untagged)]
enum Document {
    Reference { clusters: Vec<Cluster> },
    List(Vec<Item>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Item {
    Url(String),
    Cluster(Cluster),
}

#[derive(Deserialize)]
struct Cluster {
    server_url: String,
    #[serde(default)]
    bridge_url: Option<String>,
    #[serde(default)]
    health_score: Option<f64>,
    #[serde(default)]
    health_status: Option<String>,
}

/// An entry of `/v1/health/service/NAME` of Consul.
#[derive(Deserialize)]
struct Instance {
    #[serde(rename = "Node")]
    node: Node,
    #[serde(rename = "Service")]
    service: Service,
}

#[derive(Deserialize)]
struct Node {
    #[serde(rename = "Address", default)]
    address: String,
}

#[derive(Deserialize)]
struct Service {
    #[serde(rename = "Address", default)]
    address: String,
    #[serde(rename = "Port", default)]
    port: u16,
    #[serde(rename = "Meta", default)]
    meta: Option<BTreeMap<String, String>>,
}

/// Reads the document of the reference, a JSON list of addresses or clusters, or one address a line.
pub fn read_document(bytes: &[u8], health: Health) -> Result<Told, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "the document is no text in UTF-8".to_owned())?;
    let mut told = Told::default();
    if !text.trim_start().starts_with(['{', '[']) {
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        lines.filter(|line| !line.is_empty()).for_each(|line| told.add([line]));
        return told.unless_void();
    }
    let items = match serde_json::from_str(text) {
        Ok(Document::Reference { clusters }) => clusters.into_iter().map(Item::Cluster).collect(),
        Ok(Document::List(items)) => items,
        Err(error) if error.is_data() => return Err(SHAPES.to_owned()),
        Err(error) => return Err(format!("the document is no JSON: {error}")),
    };
    for item in items {
        match item {
            Item::Url(url) => told.add([url.as_str()]),
            Item::Cluster(cluster) if cluster.is_fit(health) => {
                told.add([cluster.server_url.as_str()].into_iter().chain(cluster.bridge_url.as_deref()));
            }
            Item::Cluster(_) => {}
        }
    }
    told.unless_void()
}

/// Reads what Consul answers. The service says in its `Meta` as `protocol` how it is dialled, `ws` otherwise.
pub fn read_consul(bytes: &[u8]) -> Result<Told, String> {
    let instances: Vec<Instance> = serde_json::from_slice(bytes)
        .map_err(|error| format!("the answer is not that of /v1/health/service of Consul: {error}"))?;
    let mut told = Told::default();
    for Instance { node, service } in instances {
        let host = if service.address.is_empty() { node.address } else { service.address };
        let protocol = service.meta.as_ref().and_then(|meta| meta.get("protocol"));
        let protocol = protocol.map_or("ws", String::as_str);
        told.add([url(protocol, &host, service.port).as_str()]);
    }
    told.unless_void()
}

/// How the records of a service are dialled: one whose name says so with TLS.
pub fn srv_protocol(service: &str) -> &'static str {
    match service.split('.').next().unwrap_or_default().to_ascii_lowercase().as_str() {
        "_mpregs" | "_wss" => "wss",
        _ => "ws",
    }
}

/// An address literal of version 6 gets its brackets.
pub fn url(protocol: &str, host: &str, port: u16) -> String {
    match host.contains(':') && !host.starts_with('[') {
        true => format!("{protocol}://[{host}]:{port}"),
        false => format!("{protocol}://{host}:{port}"),
    }
}

impl Told {
    /// One peer with these addresses.
    pub fn add<'u>(&mut self, urls: impl IntoIterator<Item = &'u str>) {
        let mut addresses: Vec<(bool, Text)> = Vec::new();
        for url in urls {
            match protection(url) {
                Ok(protected) if !addresses.iter().any(|(_, known)| **known == *url) => {
                    addresses.push((protected, url.into()));
                }
                Ok(_) => {}
                Err(why) => self.refuse(url, why),
            }
        }
        let protected = addresses.iter().any(|(protected, _)| *protected);
        addresses.retain(|(is_protected, _)| *is_protected == protected);
        let addresses: Addresses = addresses.into_iter().map(|(_, url)| url).collect();
        match addresses.first() {
            None => {}
            Some(_) if self.peers.contains(&addresses) => {}
            Some(first) if self.peers.len() >= FOUND_MAX => {
                let first = first.clone();
                self.refuse(&first, &format!("more than {FOUND_MAX} peers"));
            }
            Some(_) => self.peers.push(addresses),
        }
    }

    fn refuse(&mut self, url: &str, why: &str) {
        let shown: String = url.chars().take(SHOWN_MAX).flat_map(char::escape_default).collect();
        self.refused.push(format!("{shown}: {why}"));
    }

    /// A document all of whose addresses are wrong is wrong as a whole; one that names no peer is not.
    fn unless_void(self) -> Result<Told, String> {
        match self.refused.first() {
            Some(first) if self.peers.is_empty() => Err(first.clone()),
            _ => Ok(self),
        }
    }
}

impl Cluster {
    fn is_fit(&self, health: Health) -> bool {
        let status = self.health_status.as_deref().unwrap_or_default().to_ascii_lowercase();
        let unhealthy = health.filter_unhealthy && UNHEALTHY.contains(&status.as_str());
        !unhealthy && self.health_score.is_none_or(|score| score >= health.score_min)
    }
}

impl Place {
    pub fn new(ttl: Duration) -> Place {
        Place { ttl, peers: BTreeMap::new(), order: Vec::new() }
    }

    /// Takes an answer; true where other peers count now.
    pub fn told(&mut self, peers: Vec<Addresses>, now: Duration) -> bool {
        let before = self.peers().cloned().collect::<Vec<_>>();
        for peer in &peers {
            self.peers.insert(peer.clone(), now);
        }
        let ttl = self.ttl;
        self.peers.retain(|_, told| *told == now || now < *told + ttl);
        let missing =
            self.order.iter().filter(|peer| !peers.contains(peer) && self.peers.contains_key(*peer));
        let missing: Vec<Addresses> = missing.cloned().collect();
        self.order = peers;
        self.order.extend(missing);
        self.order.truncate(FOUND_MAX);
        self.peers.retain(|peer, _| self.order.contains(peer));
        !self.peers().eq(&before)
    }

    /// Those that the last answer told of come first.
    pub fn peers(&self) -> impl Iterator<Item = &Addresses> {
        self.order.iter()
    }
}

/// Whether an address is protected by TLS; the error says why it cannot be dialled.
fn protection(url: &str) -> Result<bool, &'static str> {
    let (scheme, rest) = url.split_once("://").ok_or("no URL such as ws://host:port")?;
    let protected = match scheme {
        "ws" | "tcp" => false,
        "wss" | "tcps" => true,
        _ => return Err("only ws, wss, tcp and tcps can be dialled"),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err("a URL must not carry user and password");
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once("]:").ok_or("no port")?,
        None => authority.rsplit_once(':').ok_or("no port")?,
    };
    let is_host = match authority.starts_with('[') {
        true => host.parse::<std::net::Ipv6Addr>().is_ok(),
        false => host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')),
    };
    if host.is_empty() || !is_host {
        return Err("no host");
    }
    if port.parse::<u16>().ok().is_none_or(|port| port == 0) {
        return Err("no port");
    }
    let is_plain = url.len() <= URL_BYTES_MAX && url.bytes().all(|b| b.is_ascii_graphic());
    if is_plain { Ok(protected) } else { Err("too long, or with characters that no URL has") }
}

const SHAPES: &str =
    "the document is neither {\"clusters\": [{\"server_url\": ...}]} nor a list of addresses";
/// Words of the reference, and of those who write such documents for it.
const UNHEALTHY: [&str; 6] = ["unhealthy", "critical", "down", "offline", "unavailable", "failed"];
const URL_BYTES_MAX: usize = 1024;
/// Characters of a refused address in the log.
const SHOWN_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: Health = Health { score_min: 50.0, filter_unhealthy: true };

    fn peers(text: &str) -> Vec<Vec<String>> {
        let told = read_document(text.as_bytes(), ALL).unwrap();
        told.peers.iter().map(|urls| urls.iter().map(|url| url.to_string()).collect()).collect()
    }

    #[test]
    fn all_shapes_of_a_document_are_read() {
        let reference = r#"{"version": 1, "clusters": [
            {"cluster_id": "a", "server_url": "ws://a:1", "bridge_url": "ws://a:2", "region": "eu"},
            {"cluster_id": "b", "server_url": "ws://b:1", "bridge_url": null, "health_score": 90.0},
            {"cluster_id": "c", "server_url": "ws://c:1", "health_score": 49.9},
            {"cluster_id": "d", "server_url": "ws://d:1", "health_status": "UNHEALTHY"},
            {"cluster_id": "e", "server_url": "ws://e:1", "health_status": "unknown"}]}"#;
        assert_eq!(peers(reference), [vec!["ws://a:1", "ws://a:2"], vec!["ws://b:1"], vec!["ws://e:1"]]);
        let unfiltered = Health { score_min: 0.0, filter_unhealthy: false };
        assert_eq!(read_document(reference.as_bytes(), unfiltered).unwrap().peers.len(), 5);
        assert_eq!(peers(r#" ["ws://a:1", {"server_url": "tcp://b:2"}]"#), [["ws://a:1"], ["tcp://b:2"]]);
        assert_eq!(
            peers("# all\nws://a:1\n\n  wss://[::1]:2/x # here\nws://a:1\n"),
            [["ws://a:1"], ["wss://[::1]:2/x"]]
        );
        assert!(peers("{\"clusters\": []}").is_empty() && peers("").is_empty());
    }

    #[test]
    fn a_protected_address_is_never_exchanged_for_one_that_is_not() {
        let both = |server: &str, bridge: &str| {
            peers(&format!(r#"[{{"server_url": "{server}", "bridge_url": "{bridge}"}}]"#))
        };
        assert_eq!(both("wss://a:1", "ws://a:2"), [["wss://a:1"]]);
        assert_eq!(both("ws://a:1", "tcps://a:2"), [["tcps://a:2"]]);
        assert_eq!(both("wss://a:1", "tcps://a:2"), [["wss://a:1", "tcps://a:2"]]);
    }

    #[test]
    fn what_is_no_document_is_refused_as_a_whole() {
        for (text, why) in [
            ("{\"clusters\": [", "no JSON"),
            ("{\"clusters\": 3}", "neither"),
            ("{\"nodes\": []}", "neither"),
            ("[1]", "neither"),
            ("[{\"bridge_url\": \"ws://a:1\"}]", "neither"),
            ("<html>\n", "<html>: no URL"),
            ("http://a:1\n", "only ws"),
            ("ws://u:p@a:1\n", "user and password"),
        ] {
            let told = read_document(text.as_bytes(), ALL).unwrap_err();
            assert!(told.contains(why), "{text}: {told}");
        }
        assert!(read_document(b"ws://\xff:1", ALL).is_err());
        let mixed = read_document(b"ws://a:1\nws://a\nws://b:0\nws://a b:1\nws://[a]:1\n", ALL).unwrap();
        assert_eq!((mixed.peers.len(), mixed.refused.len()), (1, 4), "{mixed:?}");
    }

    #[test]
    fn too_many_peers_are_cut_off_and_told() {
        let lines: String = (0..FOUND_MAX + 2).map(|n| format!("ws://a{n}:1\n")).collect();
        let told = read_document(lines.as_bytes(), ALL).unwrap();
        assert_eq!((told.peers.len(), told.refused.len()), (FOUND_MAX, 2));
    }

    #[test]
    fn instances_of_consul_are_read() {
        let answer = r#"[{"Node": {"Node": "n", "Address": "10.0.0.1"}, "Service": {"ID": "x", "Address": "", "Port": 7000, "Meta": null}, "Checks": []},
            {"Node": {"Address": "10.0.0.1"}, "Service": {"Address": "fd00::2", "Port": 7443, "Meta": {"protocol": "wss"}}},
            {"Node": {"Address": "10.0.0.3"}, "Service": {"Address": "", "Port": 0}},
            {"Node": {"Address": "10.0.0.4"}, "Service": {"Port": 1, "Meta": {"protocol": "http"}}}]"#;
        let told = read_consul(answer.as_bytes()).unwrap();
        assert_eq!(told.peers, [[Text::from("ws://10.0.0.1:7000")], ["wss://[fd00::2]:7443".into()]]);
        assert_eq!(told.refused.len(), 2, "{told:?}");
        assert!(read_consul(b"[]").unwrap().peers.is_empty());
        assert!(read_consul(b"No cluster leader").unwrap_err().contains("Consul"));
    }

    #[test]
    fn a_peer_counts_for_its_time_after_it_was_told_of_last() {
        let at = Duration::from_secs;
        let of = |names: &[&str]| names.iter().map(|name| vec![Text::from(*name)]).collect::<Vec<_>>();
        let mut place = Place::new(at(10));
        assert!(place.told(of(&["a", "b"]), at(0)));
        assert!(!place.told(of(&["a", "b"]), at(5)));
        assert!(place.told(of(&["c", "a"]), at(9)), "c is new");
        assert!(place.peers().cloned().eq(of(&["c", "a", "b"])));
        assert!(place.told(of(&["c", "a"]), at(15)), "b was told of ten seconds ago");
        assert!(place.peers().cloned().eq(of(&["c", "a"])));
        assert!(place.told(Vec::new(), at(1000)));
        assert_eq!(place.peers().count(), 0);
    }

    proptest! {
        #[test]
        fn any_document_is_read_within_the_limits(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[\\[{]?[wstcp:/a-z0-9\\[\\]\"{},#\n ]{0,200}") {
            for bytes in [&bytes[..], text.as_bytes()] {
                let _ = read_consul(bytes);
                if let Ok(told) = read_document(bytes, ALL) {
                    prop_assert!(told.peers.iter().all(|urls| !urls.is_empty() && urls.iter().all(|url| protection(url).is_ok())));
                }
            }
        }
    }
}
