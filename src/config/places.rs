//! What must hold of `[[peers.discover]]`: each type has keys of its own, and those of another would do nothing.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::checks::member;
use super::fault::Faults;
use super::schema::{elements, join};
use super::settings::{Discover, DiscoverType, Settings};
use super::value::{Element, Layer};

pub fn check(settings: &Settings, values: &Layer, faults: &mut Faults) {
    let places = elements(values, "peers.discover");
    for (place, element) in settings.peers.discover.iter().zip(places) {
        foreign_keys(place, element, faults);
        match missing(place) {
            Some(key) => {
                let text = format!("`peers.discover` of type \"{}\" needs `{key}`", place.r#type);
                faults.add(&element.origin, text);
            }
            None => words(place, element, faults),
        }
    }
}

/// The two parts of `host:port`; an address of version 6 has brackets.
pub fn host_and_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port > 0)?;
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(six) => six.parse::<Ipv6Addr>().is_ok(),
        None => host.parse::<Ipv4Addr>().is_ok() || is_name(host),
    };
    is_host.then_some((host, port))
}

fn foreign_keys(place: &Discover, element: &Element, faults: &mut Faults) {
    let kind = place.r#type;
    for (name, setting) in &element.members {
        let own = |key: &str| name == key || name.strip_prefix(key).is_some_and(|rest| rest.starts_with('.'));
        let Some((key, of)) = OWN_KEYS.iter().find(|(key, of)| own(key) && !of.contains(&kind)) else {
            continue;
        };
        // `config show` writes every key.
        let row = super::schema::key(&join("peers.discover", name)).map(|key| key.row);
        if row.and_then(|row| row.default_value()).is_some_and(|default| default == setting.value) {
            continue;
        }
        let of: Vec<&str> = of.iter().map(|kind| kind.as_str()).collect();
        let text = format!("`{key}` of `peers.discover` is for {}, not for {kind}", of.join(" and "));
        faults.add(&setting.origin, text);
    }
}

fn missing(place: &Discover) -> Option<&'static str> {
    let consul = &place.consul;
    let keys: &[(&str, &String)] = match place.r#type {
        DiscoverType::StaticFile => &[("path", &place.path)],
        DiscoverType::Http => &[("url", &place.url)],
        DiscoverType::DnsSrv => &[("domain", &place.domain), ("service", &place.service)],
        DiscoverType::Consul => &[("consul.host", &consul.host), ("consul.service", &consul.service)],
    };
    keys.iter().find(|(_, value)| value.is_empty()).map(|(key, _)| *key)
}

/// What a place is asked with.
fn words(place: &Discover, element: &Element, faults: &mut Faults) {
    let mut fault = |key: &str, value: &str, expected: &str| {
        let text = format!("`{key}` of `peers.discover` is \"{value}\"; expected {expected}");
        faults.add(&member(element, key), text);
    };
    match place.r#type {
        DiscoverType::DnsSrv => {
            if !is_name(&place.service) {
                fault("service", &place.service, "labels such as _mpreg._tcp");
            }
            if !is_name(place.domain.strip_suffix('.').unwrap_or(&place.domain)) {
                fault("domain", &place.domain, "a domain such as example.net");
            }
            if !place.resolver.is_empty() && host_and_port(&place.resolver).is_none() {
                fault("resolver", &place.resolver, "host:port, such as 10.0.0.1:53 or [::1]:53");
            }
        }
        DiscoverType::Consul => {
            let consul = &place.consul;
            let is_plain =
                |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
            for (key, value) in
                [("consul.service", &consul.service), ("consul.datacenter", &consul.datacenter)]
            {
                if !is_plain(value) {
                    fault(key, value, "letters, digits, hyphens, underscores and dots");
                }
            }
            if consul.port == 0 {
                fault("consul.port", "0", "the port of the agent");
            }
        }
        DiscoverType::StaticFile | DiscoverType::Http => {}
    }
}

fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= 200 && text.split('.').all(is_label) && !last.bytes().all(|b| b.is_ascii_digit())
}

/// Keys that only some types have a use for.
const OWN_KEYS: &[(&str, &[DiscoverType])] = &[
    ("domain", &[DiscoverType::DnsSrv]),
    ("service", &[DiscoverType::DnsSrv]),
    ("resolver", &[DiscoverType::DnsSrv]),
    ("use_tcp", &[DiscoverType::DnsSrv]),
    ("path", &[DiscoverType::StaticFile]),
    ("url", &[DiscoverType::Http]),
    ("consul", &[DiscoverType::Consul]),
    ("min_health_score", &[DiscoverType::StaticFile, DiscoverType::Http]),
    ("filter_unhealthy", &[DiscoverType::StaticFile, DiscoverType::Http, DiscoverType::Consul]),
];
