//! What must hold between keys (cli-config 4.2 and 4.8). Contradictions are faults, doubtful things warnings.

use std::collections::BTreeMap;
use std::net::IpAddr;

use sha2::{Digest, Sha256};

use super::fault::{Fault, Faults, Origin};
use super::places;
use super::schema::elements;
use super::settings::*;
use super::tls;
use super::value::{Element, Layer, Value};
use crate::core::catalog::Text;
use crate::core::trust::{PublicKey, Signer};

/// Checks everything that takes more than one key to judge.
pub fn all(settings: &Settings, values: &Layer, faults: &mut Faults, warnings: &mut Vec<Fault>) {
    places::check(settings, values, faults);
    let mut check = Check { s: settings, values, faults, warnings };
    check.roles();
    check.listeners();
    check.fabric();
    check.routes();
    check.link_state();
    check.federation();
    check.discovery();
    check.credentials();
    check.services();
    check.functions();
}

/// True for a host that only this machine can reach.
pub fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    bare.parse::<IpAddr>().map_or(bare.eq_ignore_ascii_case("localhost"), |ip| ip.is_loopback())
}

struct Check<'a> {
    s: &'a Settings,
    values: &'a Layer,
    faults: &'a mut Faults,
    warnings: &'a mut Vec<Fault>,
}

impl Check<'_> {
    fn roles(&mut self) {
        let s = self.s;
        if s.config_version != CONFIG_VERSION {
            let text =
                format!("`config_version` is {}; this program knows {CONFIG_VERSION}", s.config_version);
            self.fault(&["config_version"], text);
        }
        let has_peers =
            !s.peers.r#static.is_empty() || !s.peers.connect.is_empty() || !s.peers.discover.is_empty();
        for role in &s.node.role {
            match role {
                Role::Ingress | Role::Resolver if !has_peers && !s.node.standalone => self.fault(
                    &["node.role"],
                    format!(
                        "role \"{role}\" needs `peers.static`, `peers.connect` or `peers.discover`, \
                         or `node.standalone = true`"
                    ),
                ),
                Role::SummaryResolver if s.federation.mode == FederationMode::StrictIsolation => self.warn(
                    &["node.role"],
                    "role \"summary-resolver\" gets no summaries while `federation.mode` is \"strict_isolation\"",
                ),
                Role::Hub if s.route.security.signing_key.is_empty() => {
                    self.warn(&["node.role"], "role \"hub\" without `route.security.signing_key_file`: routes are not signed");
                }
                _ => {}
            }
        }
    }

    fn listeners(&mut self) {
        let s = self.s;
        tls::check(&s.tls, self.values, self.faults);
        let has_tls = !s.tls.cert_file.is_empty();
        if s.tls.client_auth != ClientAuth::None && s.tls.ca_file.is_empty() {
            self.fault(
                &["tls.client_auth"],
                format!("`tls.client_auth` = \"{}\" needs `tls.ca_file`", s.tls.client_auth),
            );
        }
        let places = elements(self.values, "listen.endpoint");
        for (endpoint, element) in s.listen.endpoint.iter().zip(places) {
            if matches!(endpoint.protocol, Protocol::Wss | Protocol::Tcps) && !has_tls {
                let text = format!(
                    "`listen.endpoint` with protocol \"{}\" needs `tls.cert_file`",
                    endpoint.protocol
                );
                self.faults.add(&member(element, "protocol"), text);
            }
        }
        if !s.control.socket.is_empty() && !std::path::Path::new(&s.control.socket).is_absolute() {
            // Whoever looks for it stands elsewhere than the node.
            self.fault(&["control.socket"], "`control.socket` must begin with a slash");
        }
        if !is_loopback(&s.listen.host) {
            if !has_tls {
                self.warn(&["listen.host"], "`listen.host` is open to other machines without [tls]");
            }
            if s.admin.mode == AdminMode::Open {
                self.warn(
                    &["admin.mode", "listen.host"],
                    "`admin.mode` is \"open\": whoever can connect may change policy",
                );
            }
        }
        self.ports();
    }

    /// No two listeners on one port of one address.
    fn ports(&mut self) {
        let s = self.s;
        let origin =
            |key: &str| self.values.get(key).map_or(Origin::Default, |setting| setting.origin.clone());
        let mut tcp = vec![("listen.port", s.listen.host.as_str(), s.listen.port, origin("listen.port"))];
        let places = elements(self.values, "listen.endpoint");
        for (endpoint, element) in s.listen.endpoint.iter().zip(places) {
            tcp.push(("listen.endpoint", &endpoint.host, endpoint.port, member(element, "port")));
        }
        if s.monitoring.enabled {
            tcp.push(("monitoring.port", &s.monitoring.host, s.monitoring.port, origin("monitoring.port")));
        }
        if s.dns.enabled {
            let key = if self.values.contains_key("dns.tcp_port") { "dns.tcp_port" } else { "dns.port" };
            tcp.push((key, &s.dns.host, s.dns.tcp_port, origin(key)));
        }
        for (i, (name, host, port, place)) in tcp.iter().enumerate() {
            let same = tcp.iter().take(i).find(|(_, h, p, _)| *p != 0 && p == port && overlap(h, host));
            if let Some((other, _, _, other_place)) = same {
                let place = if place.is_written() { place } else { other_place };
                self.faults.add(place, format!("`{name}` and `{other}` are both {port}"));
            }
        }
    }

    fn fabric(&mut self) {
        let fabric = &self.s.fabric;
        if fabric.catalog_ttl <= 2 * fabric.gossip_interval {
            let text = "`fabric.catalog_ttl` should be more than twice `fabric.gossip_interval`: entries expire \
                        between two rounds of gossip";
            self.warn(&["fabric.catalog_ttl", "fabric.gossip_interval"], text);
        }
        if fabric.page_default > fabric.page_max {
            let text = format!(
                "`fabric.page_default` is {}; expected at most `fabric.page_max`, {}",
                fabric.page_default, fabric.page_max
            );
            self.fault(&["fabric.page_default", "fabric.page_max"], text);
        }
    }

    fn routes(&mut self) {
        let s = self.s;
        let mut seen: BTreeMap<(Direction, AppliesTo, &str), &Origin> = BTreeMap::new();
        let places = elements(self.values, "route.policy");
        for (policy, element) in s.route.policy.iter().zip(places) {
            let has_neighbor = !policy.neighbor.is_empty();
            let names_one = policy.applies_to == AppliesTo::Neighbor;
            if names_one != has_neighbor {
                let text = match names_one {
                    true => "`route.policy` with applies_to = \"neighbor\" needs `neighbor`, a cluster id",
                    false => "`route.policy.neighbor` is only for applies_to = \"neighbor\"",
                };
                self.faults.add(&member(element, "neighbor"), text);
            }
            let key = (policy.direction, policy.applies_to, policy.neighbor.as_str());
            if let Some(first) = seen.insert(key, &element.origin) {
                let text = format!(
                    "a second `route.policy` with direction = \"{}\", applies_to = \"{}\"; the first is at {first}",
                    policy.direction, policy.applies_to
                );
                self.faults.add(&element.origin, text);
            }
        }
        let security = &s.route.security;
        if security.require_signatures && security.allow_unsigned {
            let text = "`route.security.require_signatures` = true contradicts `route.security.allow_unsigned` = true";
            self.fault(&["route.security.allow_unsigned", "route.security.require_signatures"], text);
        }
        if security.require_signatures && security.signing_key.is_empty() {
            // With keys of others it can verify, and only its own announcements are of no use to strict neighbours.
            let text = "`route.security.require_signatures` = true without a key for the own cluster; \
                        set `route.security.signing_key_file`";
            match security.key.is_empty() {
                true => self.fault(&["route.security.require_signatures"], text),
                false => self.warn(&["route.security.require_signatures"], text),
            }
        }
        if !security.signing_key.is_empty()
            && let Err(fault) = Signer::parse(security.signing_key.reveal(), &security.signing_key_id)
        {
            self.fault(
                &[
                    "route.security.signing_key_file",
                    "route.security.signing_key_env",
                    "route.security.signing_key",
                ],
                format!("`route.security.signing_key` {fault}"),
            );
        }
        self.route_keys();
        if security.provider.r#type != ProviderType::None && security.provider.source.is_empty() {
            let text =
                format!("`route.security.provider.type` = \"{}\" needs `source`", security.provider.r#type);
            self.fault(&["route.security.provider.type"], text);
        }
        let (provider, keys) =
            (&security.provider, ["route.security.provider.source", "route.security.provider.type"]);
        match provider.r#type {
            ProviderType::Http => {
                if let Some(text) = http_provider_fault(s, &provider.source) {
                    self.fault(&keys, text);
                }
            }
            ProviderType::Exec if provider.source.contains(['"', '\'', '\\']) => {
                let text = "`route.security.provider.source` is split at white space, and quotes mean nothing there; \
                            put the command into a script";
                self.fault(&keys, text);
            }
            _ => {}
        }
        if s.route.ttl <= s.route.announce_interval {
            let text = "`route.ttl` should be more than `route.announce_interval`: routes expire between two announcements";
            self.warn(&["route.ttl", "route.announce_interval"], text);
        }
        if !security.signing_key.is_empty() && security.key_ttl <= security.key_announce_interval {
            let text = "`route.security.key_ttl` should be more than `route.security.key_announce_interval`: announced \
                        keys expire between two announcements";
            self.warn(&["route.security.key_ttl", "route.security.key_announce_interval"], text);
        }
        if s.route.stability.flap_threshold > 0 && s.route.stability.suppression_window.is_zero() {
            let text = "`route.stability.flap_threshold` has no effect while `route.stability.suppression_window` is 0";
            self.warn(&["route.stability.flap_threshold"], text);
        }
    }

    fn route_keys(&mut self) {
        let keys = &self.s.route.security.key;
        let mut seen: Vec<(&str, Text)> = Vec::new();
        let mut primary: Vec<&str> = Vec::new();
        let places = elements(self.values, "route.security.key");
        for (key, element) in keys.iter().zip(places) {
            let (name, parsed) = match (key.public_key.is_empty(), key.public_key_file.is_empty()) {
                (true, true) => {
                    self.faults
                        .add(&element.origin, "`route.security.key` needs `public_key` or `public_key_file`");
                    continue;
                }
                (false, false) => {
                    let text = "`route.security.key` has both `public_key` and `public_key_file`";
                    self.faults.add(&element.origin, text);
                    continue;
                }
                (false, true) => ("public_key", PublicKey::parse(&key.public_key)),
                (true, false) => {
                    let text = std::fs::read_to_string(&key.public_key_file);
                    let parsed = text.map_err(|error| format!("cannot be read: {error}"));
                    let parsed = parsed.and_then(|text| PublicKey::parse(&text));
                    (
                        "public_key_file",
                        parsed.map_err(|fault| format!("\"{}\" {fault}", key.public_key_file)),
                    )
                }
            };
            let parsed = match parsed {
                Ok(parsed) => parsed,
                Err(fault) => {
                    self.faults.add(&member(element, name), format!("`route.security.key.{name}` {fault}"));
                    continue;
                }
            };
            if !parsed.is_usable() {
                let text = format!("`route.security.key.{name}` is a key of nobody: no signature fits it");
                self.warnings.push(Fault::new(member(element, name), text));
            }
            let id = if key.key_id.is_empty() { parsed.id() } else { key.key_id.as_str().into() };
            if seen.iter().any(|(cluster, other)| *cluster == key.cluster && *other == id) {
                let text = format!("a second `route.security.key` {id} of cluster \"{}\"", key.cluster);
                self.faults.add(&element.origin, text);
            }
            seen.push((&key.cluster, id));
            // Primary is the default; only where two say it is one of them wrong.
            if key.primary && element.members.contains_key("primary") {
                if primary.contains(&key.cluster.as_str()) {
                    let text =
                        format!("a second primary `route.security.key` of cluster \"{}\"", key.cluster);
                    self.warnings.push(Fault::new(member(element, "primary"), text));
                }
                primary.push(&key.cluster);
            }
        }
    }

    fn link_state(&mut self) {
        let link_state = &self.s.link_state;
        let areas = &link_state.areas;
        let written = self.written("link_state.", &["link_state.area"], "link_state.areas.");
        if link_state.mode == LinkStateMode::Disabled
            && let Some((key, origin)) = written
        {
            let text = format!("`{key}` has no effect while `link_state.mode` is \"disabled\"");
            self.warnings.push(Fault::new(origin, text));
        }
        let fallback = if areas.default.is_empty() { &link_state.area } else { &areas.default };
        // Without local areas the default area is the only one; without that every area is accepted.
        let is_local = |name: &str| match (areas.local.is_empty(), fallback.is_empty()) {
            (false, _) => areas.local.iter().any(|area| area == name),
            (true, false) => fallback == name,
            (true, true) => true,
        };
        if !areas.default.is_empty() && !is_local(&areas.default) {
            let text = format!(
                "`link_state.areas.default` is \"{}\", which is not in `link_state.areas.local`",
                areas.default
            );
            self.fault(&["link_state.areas.default"], text);
        }
        if link_state.mode != LinkStateMode::Disabled && link_state.ttl <= link_state.announce_interval {
            let text = "`link_state.ttl` should be more than `link_state.announce_interval`: updates expire between two \
                        announcements";
            self.warn(&["link_state.ttl", "link_state.announce_interval"], text);
        }
        self.twice("link_state.areas.area", "name", areas.area.iter().map(|area| &area.name));
        self.twice("link_state.areas.neighbor", "cluster", areas.neighbor.iter().map(|n| &n.cluster));
        let pairs: Vec<_> = areas.summary.iter().map(|s| format!("{} to {}", s.from, s.to)).collect();
        self.twice("link_state.areas.summary", "from", pairs.iter());
        let places = elements(self.values, "link_state.areas.area");
        for (area, element) in areas.area.iter().zip(places) {
            if is_below_itself(&areas.area, &area.name) {
                let text = format!("`link_state.areas.area.parent` leads from \"{}\" back to it", area.name);
                self.faults.add(&member(element, "parent"), text);
            }
            if !area.parent.is_empty() && !is_local(&area.parent) {
                let text = format!(
                    "`link_state.areas.area.parent` is \"{}\", which is not a local area",
                    area.parent
                );
                self.faults.add(&member(element, "parent"), text);
            }
        }
        let places = elements(self.values, "link_state.areas.summary");
        for (summary, element) in areas.summary.iter().zip(places) {
            if summary.from == summary.to && !summary.to.is_empty() {
                let text = format!("`link_state.areas.summary` from \"{}\" to itself", summary.from);
                self.faults.add(&member(element, "to"), text);
            }
            for (name, area) in [("from", &summary.from), ("to", &summary.to)] {
                if !area.is_empty() && !is_local(area) {
                    let text =
                        format!("`link_state.areas.summary.{name}` is \"{area}\", which is not a local area");
                    self.faults.add(&member(element, name), text);
                }
            }
        }
    }

    fn federation(&mut self) {
        let s = self.s;
        let places = elements(self.values, "federation.bridge");
        for (bridge, element) in s.federation.bridge.iter().zip(places) {
            if bridge.cluster == s.node.cluster_id {
                let text = format!("`federation.bridge` to \"{}\", which is the own cluster", bridge.cluster);
                self.faults.add(&member(element, "cluster"), text);
            }
        }
        let explicit = s.federation.mode == FederationMode::ExplicitBridging;
        if explicit && s.federation.allowed_clusters.is_empty() && s.federation.bridge.is_empty() {
            let text = "`federation.mode` = \"explicit_bridging\" allows nobody; \
                        set `federation.allowed_clusters` or add a [[federation.bridge]]";
            self.fault(&["federation.mode", "node.role"], text);
        }
        self.void_federation();
        self.proofs_of_others();
    }

    /// What is written about other clusters and has no effect.
    fn void_federation(&mut self) {
        let federation = &self.s.federation;
        let mode = federation.mode;
        if mode != FederationMode::ExplicitBridging && !federation.allowed_clusters.is_empty() {
            let text =
                format!("`federation.allowed_clusters` has no effect while `federation.mode` is \"{mode}\"");
            self.warn(&["federation.allowed_clusters"], text);
        }
        if mode == FederationMode::StrictIsolation && !federation.bridge.is_empty() {
            let text = "`federation.bridge` has no effect while `federation.mode` is \"strict_isolation\"";
            self.warn(&["federation.bridge"], text);
        }
        let own = &self.s.node.cluster_id;
        if federation.allowed_clusters.contains(own) {
            let text = format!(
                "`federation.allowed_clusters` names \"{own}\", the own cluster, which always may connect"
            );
            self.warn(&["federation.allowed_clusters"], text);
        }
        let mut seen: Vec<&str> = Vec::new();
        let places = elements(self.values, "federation.bridge");
        for (bridge, element) in federation.bridge.iter().zip(places) {
            if seen.contains(&bridge.cluster.as_str()) {
                let text = format!(
                    "a second `federation.bridge` to \"{}\": its nodes may connect too, its times have no effect",
                    bridge.cluster
                );
                self.warnings.push(Fault::new(element.origin.clone(), text));
            } else if federation.allowed_clusters.contains(&bridge.cluster) && !bridge.nodes.is_empty() {
                let text = format!(
                    "`federation.bridge` lets only some nodes of \"{}\" connect, although `federation.allowed_clusters` \
                     names the cluster",
                    bridge.cluster
                );
                self.warnings.push(Fault::new(member(element, "nodes"), text));
            }
            seen.push(&bridge.cluster);
        }
        let security = &federation.security;
        if let Some(both) = security.allow_functions.iter().find(|f| security.deny_functions.contains(f)) {
            let text = format!(
                "`federation.security.deny_functions` keeps \"{both}\", which is also in `allow_functions`"
            );
            self.warn(&["federation.security.deny_functions"], text);
        }
    }

    /// What nodes of other clusters must show, and whether they can.
    fn proofs_of_others(&mut self) {
        let s = self.s;
        let security = &s.federation.security;
        if s.federation.mode == FederationMode::StrictIsolation {
            return;
        }
        let is_encrypted = |e: &ListenEndpoint| {
            matches!(e.protocol, Protocol::Wss | Protocol::Tcps) && e.class != LinkClass::Client
        };
        let told = ["federation.mode", "node.role"];
        if security.require_encryption && !s.listen.endpoint.iter().any(is_encrypted) {
            let text = "`federation.security.require_encryption` = true, but no `listen.endpoint` for nodes is wss or \
                        tcps: nodes of other clusters cannot connect to this one";
            self.warn(&["federation.security.require_encryption", told[0], told[1]], text);
        } else if security.require_mutual_auth && s.tls.client_auth == ClientAuth::None {
            let text = "`federation.security.require_mutual_auth` = true, but `tls.client_auth` is \"none\": nodes of other \
                        clusters cannot connect to this one";
            self.warn(&["federation.security.require_mutual_auth", told[0], told[1]], text);
        }
        let open =
            |e: &ListenEndpoint| !is_loopback(&e.host) && e.class != LinkClass::Client && !is_encrypted(e);
        if security.require_mutual_auth
            && (!is_loopback(&s.listen.host) || s.listen.endpoint.iter().any(open))
        {
            let text = "`federation.security.require_mutual_auth` = true, but an address that is open to other machines \
                        asks for no certificate: whoever reaches it may say that it is of this cluster; let nodes come \
                        in by an endpoint with wss or tcps";
            self.warn(&["listen.host", "listen.endpoint", told[0], told[1]], text);
        }
        if s.federation.health_check_interval <= 2 * s.fabric.gossip_interval {
            let text = "`federation.health_check_interval` should be more than twice `fabric.gossip_interval`: links are \
                        closed between two rounds of gossip";
            self.warn(&["federation.health_check_interval", "fabric.gossip_interval"], text);
        }
        if security.require_mutual_auth && !s.tls.verify_peers {
            let text = "`federation.security.require_mutual_auth` = true, but `tls.verify_peers` is false: this node cannot \
                        connect to other clusters";
            self.warn(&["tls.verify_peers"], text);
        }
    }

    fn discovery(&mut self) {
        let s = self.s;
        let summary = &s.discovery.summary;
        if !summary.export
            && let Some((key, origin)) = self.written("discovery.summary.", &[], "discovery.summary.")
        {
            let text = format!("`{key}` has no effect while `discovery.summary.export` is false");
            self.warnings.push(Fault::new(origin, text));
        }
        if summary.export {
            if !summary.hold_down.is_zero() && summary.hold_down < summary.interval {
                let text = "`discovery.summary.hold_down` is shorter than `discovery.summary.interval` and has no effect";
                self.warn(&["discovery.summary.hold_down"], text);
            }
            // An export is a message for each namespace and one for all, with scope and without.
            let per_topic = 1 + usize::from(summary.include_unscoped && summary.scope.is_some());
            let messages = (summary.namespaces.len() + 1) * per_topic;
            let store = &summary.store_forward;
            if !store.window.is_zero() && store.max_messages < messages {
                let text = format!(
                    "`discovery.summary.store_forward.max_messages` is {}, but one export has at least {messages}",
                    store.max_messages
                );
                self.warn(&["discovery.summary.store_forward.max_messages"], text);
            }
        }
        let mut seen: Vec<&str> = Vec::new();
        let places = elements(self.values, "discovery.policy.rule");
        for (i, (rule, element)) in s.discovery.policy.rule.iter().zip(places).enumerate() {
            let namespace = rule.namespace.trim();
            if namespace.is_empty() {
                self.faults.add(&member(element, "namespace"), format!("rules[{i}].namespace is empty"));
            } else if seen.contains(&namespace) {
                self.faults.add(
                    &member(element, "namespace"),
                    format!("rules[{i}].namespace duplicate: {namespace}"),
                );
            }
            seen.push(namespace);
            let windows = elements(&element.members, "cutover");
            for (j, (window, place)) in rule.cutover.iter().zip(windows).enumerate() {
                let at = format!("rules[{i}].cutover_windows[{j}]");
                if window.starts_at <= 0.0 {
                    self.faults.add(&member(place, "starts_at"), format!("{at}.starts_at invalid"));
                }
                if window.ends_at.is_some_and(|ends_at| ends_at <= window.starts_at) {
                    self.faults.add(&member(place, "ends_at"), format!("{at}.ends_at before starts_at"));
                }
            }
        }
    }

    fn credentials(&mut self) {
        let mut seen: Vec<([u8; 32], CredentialScheme)> = Vec::new();
        let places = elements(self.values, "tenants.credential");
        for (credential, element) in self.s.tenants.credential.iter().zip(places) {
            if credential.tenant.trim().is_empty() {
                self.faults.add(&member(element, "tenant"), "`tenants.credential.tenant` is empty");
            }
            let has_hash = !credential.token_sha256.is_empty();
            let has_token = !credential.token.is_empty();
            let is_promised = !credential.token_file.is_empty() || !credential.token_env.is_empty();
            match (has_hash, has_token || is_promised) {
                (false, false) => self.faults.add(
                    &member(element, "token"),
                    "`tenants.credential` needs a token that is not empty: \
                     one of `token`, `token_file`, `token_env` and `token_sha256`",
                ),
                (true, true) => self.faults.add(
                    &member(element, "token_sha256"),
                    "`tenants.credential` has both a token and `token_sha256`",
                ),
                _ => {}
            }
            let hash = match (has_token, has_hash) {
                (true, _) => Sha256::digest(credential.token.reveal().as_bytes()).into(),
                (false, true) => hex32(&credential.token_sha256),
                (false, false) => continue,
            };
            if seen.contains(&(hash, credential.scheme)) {
                let text = "duplicate token: another `tenants.credential` has the same";
                self.faults.add(&member(element, "token"), text);
            }
            seen.push((hash, credential.scheme));
        }
        let admin = &self.s.admin;
        if admin.mode == AdminMode::Tenants && admin.tenants.is_empty() {
            self.warn(
                &["admin.mode"],
                "`admin.mode` = \"tenants\" without `admin.tenants`: nobody may administer",
            );
        }
        if admin.mode == AdminMode::Mtls && self.s.tls.client_auth == ClientAuth::None {
            let text = "`admin.mode` = \"mtls\" while `tls.client_auth` is \"none\": nobody may administer";
            self.warn(&["admin.mode"], text);
        }
    }

    fn services(&mut self) {
        let s = self.s;
        if s.cache.federation && !s.cache.enabled {
            self.fault(&["cache.federation"], "`cache.federation` = true needs `cache.enabled = true`");
        }
        if s.limits.backlog > s.limits.memory {
            let text = format!(
                "`limits.backlog` is {}; expected at most `limits.memory`, {}, of which it is a part",
                super::units::size_text(s.limits.backlog),
                super::units::size_text(s.limits.memory)
            );
            self.fault(&["limits.backlog", "limits.memory"], text);
        }
        if s.dns.min_ttl > s.dns.max_ttl {
            let text = format!(
                "`dns.min_ttl` is {}; expected at most `dns.max_ttl`, {}",
                super::units::duration_text(s.dns.min_ttl),
                super::units::duration_text(s.dns.max_ttl)
            );
            self.fault(&["dns.min_ttl", "dns.max_ttl"], text);
        }
        if s.dns.enabled && s.dns.zones.is_empty() {
            self.fault(&["dns.zones", "dns.enabled"], "`dns.zones` is empty, but DNS is to be answered");
        }
        let mut seen: Vec<&str> = Vec::new();
        let places = elements(self.values, "queue.define");
        for (queue, element) in s.queue.define.iter().zip(places) {
            if seen.contains(&queue.queue.as_str()) {
                self.faults
                    .add(&member(element, "queue"), format!("`queue.define` has \"{}\" twice", queue.queue));
            }
            seen.push(&queue.queue);
            if queue.visibility_timeout_seconds.as_secs() > VISIBILITY_SECONDS_MAX {
                let text = format!(
                    "`queue.define.visibility_timeout_seconds` is more than {VISIBILITY_SECONDS_MAX}"
                );
                self.faults.add(&member(element, "visibility_timeout_seconds"), text);
            }
            if queue.durable == Some(true) && s.persistence.mode == PersistenceMode::Off {
                let text = "`queue.define.durable` = true needs `persistence.mode`";
                self.faults.add(&member(element, "durable"), text);
            }
        }
    }

    fn functions(&mut self) {
        let mut seen: Vec<(&str, &str)> = Vec::new();
        let places = elements(self.values, "function");
        for (function, element) in self.s.function.iter().zip(places) {
            let name = function.name.as_str();
            if BUILT_IN.contains(&name) {
                let text = format!(
                    "`function.name` is \"{name}\", a function of the node itself; choose another name"
                );
                self.faults.add(&member(element, "name"), text);
            }
            // A missing or empty one of which the type was wrong has been told.
            if function.command.first().is_none_or(|program| program.trim().is_empty())
                && element.members.contains_key("command")
            {
                let text = "`function.command` is empty; expected a program and its arguments";
                self.faults.add(&member(element, "command"), text);
            }
            let is_named = !name.is_empty();
            if is_named && seen.contains(&(name, &function.version)) {
                let text = format!("`function` \"{name}\" of version {} is declared twice", function.version);
                self.faults.add(&member(element, "name"), text);
            }
            seen.push((name, &function.version));
        }
    }

    /// The first written key below `prefix` that is one of `keys` or below `below`; switches and the summary
    /// resolver, which has a switch of its own, do not count. Values at their default do not count either.
    fn written(&self, prefix: &str, keys: &[&str], below: &str) -> Option<(String, Origin)> {
        let found = self.values.iter().find(|(key, setting)| {
            let default = super::schema::key(key).and_then(|key| key.row.default_value());
            let is_empty = matches!(&setting.value, Value::Elements(elements) if elements.is_empty());
            key.starts_with(prefix)
                && (keys.contains(&key.as_str()) || key.starts_with(below))
                && !key.starts_with("discovery.summary.resolver.")
                && setting.origin.is_written()
                && default.as_ref() != Some(&setting.value)
                && !is_empty
        });
        found.map(|(key, setting)| (key.clone(), setting.origin.clone()))
    }

    /// A fault for each element of a list whose name another had before.
    fn twice<'n>(&mut self, list: &str, name: &str, names: impl Iterator<Item = &'n String>) {
        let mut seen: Vec<&str> = Vec::new();
        for (value, element) in names.zip(elements(self.values, list)) {
            if seen.contains(&value.as_str()) && !value.is_empty() {
                self.faults.add(&member(element, name), format!("`{list}` has \"{value}\" twice"));
            }
            seen.push(value);
        }
    }

    /// A fault at the first of these keys that somebody set.
    fn fault(&mut self, keys: &[&str], text: impl Into<String>) {
        let origin = self.place(keys);
        self.faults.add(&origin, text);
    }

    fn warn(&mut self, keys: &[&str], text: impl Into<String>) {
        let origin = self.place(keys);
        self.warnings.push(Fault::new(origin, text));
    }

    fn place(&self, keys: &[&str]) -> Origin {
        let of = |key: &&str| self.values.get(*key).map(|setting| setting.origin.clone());
        let written = keys.iter().filter_map(of).find(Origin::is_written);
        written.or_else(|| keys.iter().find_map(of)).unwrap_or(Origin::Default)
    }
}

/// Who says the keys says whom to believe: nobody on the way may change them.
fn http_provider_fault(s: &Settings, source: &str) -> Option<&'static str> {
    let of = |scheme: &str| source.strip_prefix(scheme).filter(|rest| !rest.contains('@'));
    let host = |rest: &str| {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        match authority.strip_prefix('[') {
            Some(six) => six.split(']').next().unwrap_or_default().to_owned(),
            None => authority.split(':').next().unwrap_or_default().to_owned(),
        }
    };
    match (of("https://"), of("http://")) {
        (Some(rest), _) if !host(rest).is_empty() => (!s.tls.verify_peers)
            .then_some("`route.security.provider.type` = \"http\" needs `tls.verify_peers = true`"),
        (_, Some(rest)) if is_loopback(&host(rest)) => None,
        (_, Some(_)) => Some(
            "`route.security.provider.source` is fetched in the clear; use https:// (http:// only from this machine)",
        ),
        _ => Some("`route.security.provider.source` must be an https:// URL without user and password"),
    }
}

/// The place of a member of an element, or of the element if it is not there.
pub(super) fn member(element: &Element, name: &str) -> Origin {
    element.members.get(name).map_or(&element.origin, |setting| &setting.origin).clone()
}

/// True if binding both hosts to one port cannot work.
fn overlap(a: &str, b: &str) -> bool {
    let wild = |host: &str| matches!(host, "0.0.0.0" | "::" | "[::]");
    a == b || wild(a) || wild(b)
}

/// True where the areas above an area lead back to it.
fn is_below_itself(areas: &[Area], name: &str) -> bool {
    let parent = |name: &str| {
        let parent = areas.iter().find(|area| area.name == name).map(|area| area.parent.as_str());
        parent.filter(|parent| !parent.is_empty())
    };
    // A way without circle visits each area once.
    let above = std::iter::successors(parent(name), |above| parent(above));
    above.take(areas.len()).any(|above| above == name)
}

/// The bytes of 64 hexadecimal digits.
fn hex32(text: &str) -> [u8; 32] {
    let mut out = [0; 32];
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte =
            std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()).unwrap_or(0);
    }
    out
}

/// The version of the file format.
const CONFIG_VERSION: u64 = 1;

/// Twelve hours (queue-cache-extension 3.2).
const VISIBILITY_SECONDS_MAX: u64 = 43_200;

/// Functions that every node has (client.md 3.1).
const BUILT_IN: &[&str] = &[
    "echo",
    "echos",
    "list_peers",
    "cluster_map",
    "cluster_map_v2",
    "catalog_query",
    "catalog_watch",
    "dns_register",
    "dns_unregister",
    "dns_list",
    "dns_describe",
    "summary_query",
    "summary_watch",
    "resolver_cache_stats",
    "resolver_resync",
    "discovery_access_audit",
    "rpc_list",
    "rpc_describe",
    "rpc_describe_local",
    "rpc_report",
    "namespace_status",
    "namespace_policy_validate",
    "namespace_policy_apply",
    "namespace_policy_export",
    "namespace_policy_audit",
];
