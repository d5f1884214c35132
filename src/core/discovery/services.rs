//! Services that clients register for DNS at this node (client.md 4.12). They belong to the node: they outlive the
//! client and are announced again until removed. What DNS could not say is refused when it is registered, with the
//! member that is at fault.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use super::LocalNode;
use super::payload::{Payload, kind_of, type_error, value_error};
use super::reply::{Reply, texts};
use super::settings::ServiceSettings;
use crate::core::catalog::{Scope, ServiceEntry, ServiceKey, Text};
use crate::core::error::CallError;
use crate::core::reason::Reason;
use crate::core::time::Now;

/// The registrations of this node.
#[derive(Debug)]
pub struct Services {
    settings: ServiceSettings,
    held: BTreeMap<Key, Held>,
}

/// What is unique at a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    namespace: Text,
    name: Text,
    protocol: Text,
    port: i64,
}

#[derive(Debug)]
struct Held {
    targets: Vec<Text>,
    scope: Scope,
    tags: Vec<Text>,
    capabilities: Vec<Text>,
    metadata: Map<String, Value>,
    priority: i64,
    weight: i64,
    /// Life of the catalog entry; the node's own where nothing was said.
    ttl_seconds: Option<f64>,
    /// When it has to be announced again.
    due: Duration,
    /// Wall clock of the last announcement.
    announced_at: f64,
}

/// A registration that can be carried out.
#[derive(Debug)]
pub struct Registration {
    key: Key,
    held: Held,
}

impl Services {
    pub fn new(settings: ServiceSettings) -> Services {
        Services { settings, held: BTreeMap::new() }
    }

    /// Keeps it, in the place of one with the same key; gives the entry to announce.
    pub fn register(
        &mut self,
        registration: Registration,
        node: &LocalNode,
        now: Now,
    ) -> Result<ServiceEntry, CallError> {
        let Registration { key, mut held } = registration;
        held.announced_at = self.held.get(&key).map_or(0.0, |known| known.announced_at);
        held.announced(node, now);
        if self.held.len() >= self.settings.entries_max && !self.held.contains_key(&key) {
            let text = format!("this node holds {} services and takes no more", self.held.len());
            return Err(value_error(text).because(Reason::CatalogLimit));
        }
        let entry = entry(&key, &held, node, held.announced_at);
        let bytes = serde_json::to_vec(&entry).map_or(usize::MAX, |json| json.len());
        if bytes > self.settings.bytes_max {
            let text = format!("the service has {bytes} bytes, more than {}", self.settings.bytes_max);
            return Err(value_error(text).because(Reason::MessageTooLarge));
        }
        self.held.insert(key, held);
        Ok(entry)
    }

    /// The key to withdraw, if there was such a service.
    pub fn unregister(
        &mut self,
        payload: &Payload,
        node: &LocalNode,
    ) -> Result<Option<ServiceKey>, CallError> {
        let key = Key::read(payload)?;
        Ok(self.held.remove(&key).map(|_| ServiceKey {
            cluster_id: node.cluster_id.clone(),
            node_id: node.node_id.clone(),
            namespace: key.namespace,
            name: key.name,
            protocol: key.protocol,
            port: key.port,
        }))
    }

    /// All of them as catalog entries of now.
    pub fn entries(&self, node: &LocalNode, now: Now) -> Vec<ServiceEntry> {
        self.held.iter().map(|(key, held)| entry(key, held, node, held.next_announcement(now))).collect()
    }

    /// Those of which half the life has passed, as catalog entries of now.
    pub fn due(&mut self, node: &LocalNode, now: Now) -> Vec<ServiceEntry> {
        let mut due = Vec::new();
        for (key, held) in &mut self.held {
            if held.due <= now.mono {
                held.announced(node, now);
                due.push(entry(key, held, node, held.announced_at));
            }
        }
        due
    }

    /// When the next one has to be announced again.
    pub fn next_timeout(&self) -> Option<Duration> {
        self.held.values().map(|h| h.due).min()
    }
}

impl Key {
    fn read(payload: &Payload) -> Result<Key, CallError> {
        Ok(Key {
            namespace: payload.text("namespace")?.unwrap_or_default().into(),
            name: payload.text("name")?.unwrap_or_default().into(),
            protocol: payload.text("protocol")?.unwrap_or_default().into(),
            port: payload.integer("port")?.unwrap_or_default(),
        })
    }
}

impl Held {
    /// It is announced now, and again when half its life has passed.
    fn announced(&mut self, node: &LocalNode, now: Now) {
        let half = self.ttl_seconds.unwrap_or(node.catalog_ttl_seconds) / 2.0;
        self.due = now.mono + Duration::from_secs_f64(half.clamp(0.0, HALF_LIFE_SECONDS_MAX));
        self.announced_at = self.next_announcement(now);
    }

    /// Now, but always later than before: a clock that stands still must not make an announcement look old.
    fn next_announcement(&self, now: Now) -> f64 {
        now.wall.max(self.announced_at + ANNOUNCEMENT_STEP_SECONDS)
    }
}

impl Registration {
    pub fn read(payload: &Payload) -> Result<Registration, CallError> {
        let key = Key::read(payload)?;
        let label = |member: &str, text: &str, blank: bool| {
            let fault = if text.is_empty() && !blank {
                "is empty"
            } else if text.len() > LABEL_BYTES_MAX {
                "is longer than 63 bytes"
            } else if text.contains('.') {
                "has a dot"
            } else if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
                "has a blank"
            } else {
                return Ok(());
            };
            Err(value_error(format_args!("{member} {fault}")))
        };
        label("name", &key.name, false)?;
        label("protocol", &key.protocol, true)?;
        if !key.namespace.is_empty() {
            for part in key.namespace.split('.') {
                label("namespace", part, false).map_err(|_| {
                    value_error("namespace has a part that is empty, too long, or has a blank")
                })?;
            }
        }
        let within = |member: &str, n: i64| {
            if (0..=U16_MAX).contains(&n) {
                Ok(n)
            } else {
                Err(value_error(format_args!("{member} must be from 0 to {U16_MAX}, not {n}")))
            }
        };
        within("port", key.port)?;
        let targets = payload.set("targets")?;
        for target in &targets {
            if target.len() > HOST_BYTES_MAX || target.contains(|c: char| c.is_whitespace() || c.is_control())
            {
                return Err(value_error("targets has one that is no host name or address"));
            }
        }
        let ttl_seconds = payload.float("ttl_seconds")?;
        if ttl_seconds.is_some_and(|ttl| ttl <= 0.0) {
            return Err(value_error("ttl_seconds must be above 0"));
        }
        let held = Held {
            targets: shared(targets),
            scope: payload.scope("scope")?.unwrap_or_default(),
            tags: shared(payload.set("tags")?),
            capabilities: shared(payload.set("capabilities")?),
            metadata: metadata(payload)?,
            priority: within("priority", payload.integer("priority")?.unwrap_or_default())?,
            weight: within("weight", payload.integer("weight")?.unwrap_or_default())?,
            ttl_seconds,
            due: Duration::ZERO,
            announced_at: 0.0,
        };
        Ok(Registration { key, held })
    }

    pub fn namespace(&self) -> &str {
        &self.key.namespace
    }

    /// The answer of `dns_register`.
    pub fn answer(&self, registration_id: String, now: Now) -> Value {
        let Registration { key, held } = self;
        let service = Reply::new()
            .kept("name", &*key.name)
            .kept("namespace", &*key.namespace)
            .kept("protocol", &*key.protocol)
            .kept("port", key.port)
            .kept("targets", texts(&held.targets))
            .kept("scope", held.scope.word())
            .kept("tags", texts(&held.tags))
            .kept("capabilities", texts(&held.capabilities))
            .kept("metadata", held.metadata.clone())
            .kept("priority", held.priority)
            .kept("weight", held.weight)
            .given("ttl_seconds", held.ttl_seconds)
            .done();
        Reply::new()
            .kept("registration_id", registration_id)
            .kept("service", service)
            .kept("registered_at", now.wall)
            .done()
    }
}

fn entry(key: &Key, held: &Held, node: &LocalNode, advertised_at: f64) -> ServiceEntry {
    ServiceEntry {
        name: key.name.clone(),
        namespace: key.namespace.clone(),
        protocol: key.protocol.clone(),
        port: key.port,
        targets: held.targets.clone(),
        scope: held.scope,
        tags: held.tags.clone(),
        capabilities: held.capabilities.clone(),
        metadata: held.metadata.clone(),
        priority: held.priority,
        weight: held.weight,
        node_id: node.node_id.clone(),
        cluster_id: node.cluster_id.clone(),
        advertised_at,
        ttl_seconds: held.ttl_seconds.unwrap_or(node.catalog_ttl_seconds),
    }
}

/// Nulls are dropped, lists and objects become text.
fn metadata(payload: &Payload) -> Result<Map<String, Value>, CallError> {
    match payload.get("metadata") {
        None => Ok(Map::new()),
        Some(Value::Object(members)) => Ok(members
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| match value {
                Value::Array(_) | Value::Object(_) => (name.clone(), Value::String(value.to_string())),
                scalar => (name.clone(), scalar.clone()),
            })
            .collect()),
        Some(other) => Err(type_error(format_args!("metadata is not an object but {}", kind_of(other)))),
    }
}

fn shared(list: Vec<String>) -> Vec<Text> {
    list.into_iter().map(Text::from).collect()
}

/// RFC 1035, 2.3.4.
const LABEL_BYTES_MAX: usize = 63;
/// RFC 1035, 2.3.4, without the root.
const HOST_BYTES_MAX: usize = 253;
/// Ports, priorities and weights are 16 bits in an SRV record (RFC 2782).
const U16_MAX: i64 = 65_535;
/// What a wall clock as a float still tells apart.
const ANNOUNCEMENT_STEP_SECONDS: f64 = 1e-6;
/// A life of years is announced again every half year.
const HALF_LIFE_SECONDS_MAX: f64 = 15_768_000.0;

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::{AdminSettings, DiscoverySettings, Outcome};
    use super::*;
    use serde_json::json;

    fn feed() -> Value {
        json!({"name": "feed", "namespace": "market.eu", "protocol": "tcp", "port": 9000,
            "targets": ["10.0.0.2", "10.0.0.1", "10.0.0.1"], "tags": ["t"], "metadata": {"a": 1, "b": null, "c": [1]}})
    }

    fn with(members: Value) -> Value {
        let mut service = feed();
        service.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        service
    }

    #[test]
    fn registrations_have_the_captured_shape() {
        let mut bench = Bench::new(Default::default());
        let told = bench.call("dns_register", feed());
        let captured = sample("dns_register")["result"].clone();
        same_shape(&told, &captured);
        assert_eq!(told["service"].to_string(), captured["service"].to_string());
        let ttl = json!({"name": "feed2", "namespace": "market.eu", "protocol": "udp", "port": 53, "targets": "h1", "tags": "x",
            "ttl_seconds": 5, "scope": "GLOBAL", "priority": 3, "weight": 4, "capabilities": ["c"]});
        let told = bench.call("dns_register", ttl);
        let captured = sample("dns_register_ttl")["result"].clone();
        assert_eq!(told["service"].to_string(), captured["service"].to_string());
        let mut listed = bench.call("dns_describe", json!({"name": "feed2"}));
        listed["items"][0]["metadata"] = json!({});
        same_shape(&listed, &sample("dns_describe")["result"]);
        let gone = bench.call("dns_unregister", feed());
        same_shape(&gone, &sample("dns_unregister")["result"]);
        assert_eq!(
            (&gone["removed"], &bench.call("dns_unregister", feed())["removed"]),
            (&json!(true), &json!(false))
        );
        assert!(bench.names("dns_list", json!({"name": "feed"})).is_empty());
    }

    #[test]
    fn texts_and_numbers_are_converted() {
        let mut bench = Bench::new(Default::default());
        let told = bench.call(
            "dns_register",
            with(json!({"port": "8080", "targets": "10.1.1.1", "tags": "solo", "priority": "2", "weight": 3.9, "scope": "ZONE", "ttl_seconds": "40"})),
        );
        let s = &told["service"];
        assert_eq!(
            json!([
                s["port"],
                s["targets"],
                s["tags"],
                s["priority"],
                s["weight"],
                s["scope"],
                s["ttl_seconds"]
            ]),
            json!([8080, ["10.1.1.1"], ["solo"], 2, 3, "zone", 40.0])
        );
    }

    #[test]
    fn what_dns_cannot_say_is_refused_by_name() {
        let mut bench = Bench::new(Default::default());
        for change in [
            json!({"port": "http"}),
            json!({"port": 70000}),
            json!({"port": -1}),
            json!({"priority": "high"}),
            json!({"priority": 65536}),
            json!({"weight": -1}),
            json!({"ttl_seconds": "soon"}),
            json!({"ttl_seconds": 0}),
            json!({"ttl_seconds": -5}),
            json!({"name": ""}),
            json!({"name": "x".repeat(64)}),
            json!({"name": "a.b"}),
            json!({"namespace": "a..b"}),
            json!({"scope": "planet"}),
            json!({"targets": ["bad host"]}),
            json!({"metadata": "x"}),
        ] {
            let error = bench.try_call("dns_register", with(change.clone())).unwrap_err();
            let member = change.as_object().unwrap().keys().next().unwrap();
            assert_eq!(error.code, 1003);
            assert!(error.details.as_ref().unwrap().to_string().contains(member), "{change} {error:?}");
        }
        assert!(bench.try_call("dns_register", with(json!({"namespace": ""}))).is_ok());
    }

    #[test]
    fn the_table_of_service_filters_holds() {
        let mut bench = Bench::new(Default::default());
        let base = json!({"name": "s", "namespace": "dns.kit", "protocol": "tcp", "port": 9000, "tags": ["a", "b"], "capabilities": ["h1"], "scope": "global"});
        bench.call("dns_register", base);
        bench.call(
            "dns_register",
            json!({"name": "s", "namespace": "dns.kit", "protocol": "udp", "port": 9001, "tags": ["b"]}),
        );
        for (payload, n) in [
            (json!({}), 2),
            (json!({"port": 9001}), 1),
            (json!({"port": "9001"}), 1),
            (json!({"port": ""}), 2),
            (json!({"protocol": "udp"}), 1),
            (json!({"tags": ["b"]}), 2),
            (json!({"tags": "a"}), 1),
            (json!({"tags": ["a", "z"]}), 0),
            (json!({"capabilities": "h1"}), 1),
            (json!({"namespace": "dns.kit"}), 2),
            (json!({"namespace": "dns"}), 0),
            (json!({"scope": "zone"}), 2),
            (json!({"scope": "region"}), 1),
            (json!({"scope": "global"}), 1),
            (json!({"scope": "local"}), 2),
            (json!({"cluster_id": "c9"}), 0),
            (json!({"limit": 1}), 1),
        ] {
            assert_eq!(bench.names("dns_list", payload.clone()).len(), n, "{payload}");
        }
        let found = bench.call("catalog_query", json!({"entry_type": "services", "service_name": "s", "service_protocol": "udp", "service_port": 9001}));
        assert_eq!(found["items"].as_array().unwrap().len(), 1);
        assert_eq!(bench.pages("dns_list", json!({"name": "s", "limit": 1})).1, 2);
    }

    #[test]
    fn registering_again_replaces_and_services_are_announced_again() {
        let mut bench = Bench::new(Default::default());
        let first = bench.call("dns_register", feed());
        let second = bench.call("dns_register", with(json!({"targets": ["10.0.0.9"], "ttl_seconds": 3})));
        assert_ne!(first["registration_id"], second["registration_id"]);
        let listed = bench.call("dns_list", json!({"name": "feed"}));
        assert_eq!(
            (listed["items"].as_array().unwrap().len(), &listed["items"][0]["targets"]),
            (1, &json!(["10.0.0.9"]))
        );
        assert_eq!(bench.discovery.own_services(&bench.node, bench.now()).len(), 1);
        assert!(bench.discovery.services_due(&bench.node, bench.now()).is_empty());
        bench.seconds = 1.5;
        assert_eq!(bench.discovery.services_due(&bench.node, bench.now())[0].advertised_at, 1e9 + 1.5);
        assert!(bench.discovery.services_due(&bench.node, bench.now()).is_empty());
    }

    #[test]
    fn services_are_bounded_and_may_be_bound_to_tenants() {
        let mut bench = Bench::new(DiscoverySettings {
            services: ServiceSettings { entries_max: 1, bytes_max: 1000 },
            ..Default::default()
        });
        bench.call("dns_register", feed());
        assert!(bench.try_call("dns_register", with(json!({"port": 2}))).is_err());
        bench.call("dns_register", with(json!({"weight": 2})));
        assert!(bench.try_call("dns_register", with(json!({"metadata": {"a": "x".repeat(1000)}}))).is_err());
        let admin = AdminSettings {
            register_namespaces: BTreeMap::from([("gold".into(), vec!["market".into()])]),
            ..Default::default()
        };
        let tenants =
            super::super::TenantSettings { enabled: true, allow_claimed: false, ..Default::default() };
        let mut bench = Bench::new(DiscoverySettings { admin, tenants, ..Default::default() });
        assert_eq!(bench.try_call("dns_register", feed()).unwrap_err().code, 403);
        bench.viewer.tenant = Some("gold".into());
        assert!(matches!(
            bench.outcome("dns_register", json!([feed()]), json!({})),
            Ok(Outcome::Services { .. })
        ));
        assert_eq!(
            bench.try_call("dns_register", with(json!({"namespace": "marketx"}))).unwrap_err().code,
            403
        );
    }
}
