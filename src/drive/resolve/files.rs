//! What `/etc/hosts` and `/etc/resolv.conf` say (hosts(5), resolv.conf(5)). Text in, values out; no file is opened here.
//!
//! Lines that cannot be read are passed over, as everybody does; options that concern other programs too.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

/// Addresses by names in lower case.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Hosts(BTreeMap<String, Vec<IpAddr>>);

/// Whom to ask, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conf {
    /// At most [`SERVERS_MAX`], never none.
    pub servers: Vec<SocketAddr>,
    /// Domains that short names are looked for in.
    pub search: Vec<String>,
    /// A name with this many dots is asked as it is first.
    pub dots_min: usize,
    /// For one question to one server.
    pub timeout: Duration,
    /// How often each server is asked.
    pub attempts: usize,
    /// Every question begins with another server.
    pub rotate: bool,
    /// Never ask over UDP.
    pub over_tcp: bool,
}

impl Hosts {
    pub fn read(text: &str) -> Hosts {
        let mut hosts = Hosts::default();
        for line in text.lines() {
            let mut words = before(line, &['#']).split_whitespace();
            let Some(address) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else { continue };
            for name in words {
                let addresses = hosts.0.entry(plain(name)).or_default();
                if addresses.len() < ADDRESSES_MAX && !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
        }
        hosts
    }

    /// In the order of the file; none where the name is not there.
    pub fn addresses(&self, name: &str) -> &[IpAddr] {
        self.0.get(&plain(name)).map_or(&[], Vec::as_slice)
    }
}

impl Conf {
    /// `port` is that of all servers; `interface` gives the number of an interface that an address names.
    pub fn read(text: &str, port: u16, interface: impl Fn(&str) -> Option<u32>) -> Conf {
        let mut conf = Conf { servers: Vec::new(), ..Conf::default() };
        for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let server = words.next().and_then(|word| server(word, port, &interface));
                    conf.servers.extend(server.filter(|_| conf.servers.len() < SERVERS_MAX));
                }
                // Of several lines the last one counts.
                Some("search" | "domain") => {
                    conf.search = words.take(SEARCH_MAX).map(plain).filter(|d| !d.is_empty()).collect();
                }
                Some("options") => words.for_each(|option| conf.set(option)),
                _ => {}
            }
        }
        if conf.servers.is_empty() {
            conf.servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
        }
        conf
    }

    fn set(&mut self, option: &str) {
        let (name, value) = option.split_once(':').unwrap_or((option, ""));
        let number = value.parse::<u64>();
        match (name, number) {
            ("ndots", Ok(dots)) => self.dots_min = dots.min(15) as usize,
            ("timeout", Ok(seconds)) => self.timeout = Duration::from_secs(seconds.clamp(1, 30)),
            ("attempts", Ok(attempts)) => self.attempts = attempts.clamp(1, 5) as usize,
            ("rotate", _) => self.rotate = true,
            ("use-vc", _) => self.over_tcp = true,
            _ => {}
        }
    }

    /// The names to ask for, in this order. A name that ends with a dot is whole.
    pub fn names(&self, host: &str) -> Vec<String> {
        let name = plain(host);
        if host.ends_with('.') {
            return vec![name];
        }
        let mut names: Vec<String> = self.search.iter().map(|domain| format!("{name}.{domain}")).collect();
        let dots = name.bytes().filter(|byte| *byte == b'.').count();
        let place = if dots >= self.dots_min { 0 } else { names.len() };
        names.insert(place, name);
        names
    }
}

impl Default for Conf {
    fn default() -> Conf {
        Conf {
            servers: vec![SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 53)],
            search: Vec::new(),
            dots_min: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
            rotate: false,
            over_tcp: false,
        }
    }
}

/// Names are compared without case and without the dot of the root.
pub fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

fn server(word: &str, port: u16, interface: &impl Fn(&str) -> Option<u32>) -> Option<SocketAddr> {
    let Some((address, scope)) = word.split_once('%') else {
        return Some(SocketAddr::new(word.parse().ok()?, port));
    };
    let scope = scope.parse().ok().or_else(|| interface(scope))?;
    Some(SocketAddrV6::new(address.parse().ok()?, port, 0, scope).into())
}

fn before<'t>(text: &'t str, marks: &[char]) -> &'t str {
    text.split(marks).next().unwrap_or_default()
}

/// As everywhere; the others would hardly ever have their turn.
pub const SERVERS_MAX: usize = 3;
const SEARCH_MAX: usize = 16;
/// Of one name.
pub const ADDRESSES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn conf(text: &str) -> Conf {
        Conf::read(text, 53, |name| (name == "eth0").then_some(7))
    }

    #[test]
    fn hosts_give_all_addresses_of_a_name() {
        let hosts = Hosts::read(
            "# first\n127.0.0.1 localhost\n::1 localhost ip6-localhost # six\n10.0.0.1\tHub.example hub\n10.0.0.1 hub\n\
             not-an-address hub\n10.0.0.2 hub # 10.0.0.3 hub\n10.0.0.9\n",
        );
        let of = |name: &str| hosts.addresses(name).iter().map(IpAddr::to_string).collect::<Vec<_>>();
        assert_eq!(of("localhost"), ["127.0.0.1", "::1"]);
        assert_eq!(of("hub.EXAMPLE."), ["10.0.0.1"]);
        assert_eq!(of("hub"), ["10.0.0.1", "10.0.0.2"]);
        assert!(of("first").is_empty());
    }

    #[test]
    fn servers_and_options_are_read() {
        let read = conf(
            "; old\n# new\ndomain gone.example\nnameserver 10.0.0.1 # near\nnameserver fe80::1%eth0\nnameserver fe80::2%wlan9\n\
             nameserver nonsense\nnameserver ::1\nnameserver 10.0.0.4\nsearch A.example. b.example\n\
             options ndots:2 timeout:3 attempts:9 rotate use-vc edns0 trust-ad timeout:x\n",
        );
        let servers: Vec<String> = read.servers.iter().map(SocketAddr::to_string).collect();
        assert_eq!(servers, ["10.0.0.1:53", "[fe80::1%7]:53", "[::1]:53"]);
        assert_eq!(read.search, ["a.example", "b.example"]);
        assert_eq!((read.dots_min, read.timeout, read.attempts), (2, Duration::from_secs(3), 5));
        assert!(read.rotate && read.over_tcp);
        assert_eq!(conf(""), Conf::default());
    }

    #[test]
    fn short_names_are_searched_for_first_and_whole_ones_alone() {
        let conf = conf("search a.example b.example\noptions ndots:2\n");
        assert_eq!(conf.names("Hub"), ["hub.a.example", "hub.b.example", "hub"]);
        assert_eq!(conf.names("x.hub"), ["x.hub.a.example", "x.hub.b.example", "x.hub"]);
        assert_eq!(conf.names("x.y.hub"), ["x.y.hub", "x.y.hub.a.example", "x.y.hub.b.example"]);
        assert_eq!(conf.names("hub."), ["hub"]);
    }

    proptest! {
        #[test]
        fn any_text_is_read_within_the_limits(text in ".{0,400}", lines in prop::collection::vec("(nameserver|search|options|domain) .{0,40}", 0..20)) {
            for text in [text, lines.join("\n")] {
                let read = conf(&text);
                prop_assert!((1..=SERVERS_MAX).contains(&read.servers.len()));
                prop_assert!(read.search.len() <= SEARCH_MAX && (1..=5).contains(&read.attempts));
                prop_assert!(read.names("a").len() <= SEARCH_MAX + 1);
                Hosts::read(&text);
            }
        }
    }
}
