//! The object settings of the old format, given as tables with the names of their members there.
//!
//! Each becomes entries with the names of the new form, which are then checked as if they had been written so.

use super::Reading;
use crate::config::check;
use crate::config::document::{Entry, Node, Raw};
use crate::config::fault::{Fault, Origin};
use crate::config::schema::{self, Kind, Row, Table};
use crate::config::settings::Settings;
use crate::config::suggest;
use crate::config::value::{Layer, Setting, Value};

/// The objects that a flat key may hold.
#[derive(Clone, Copy, PartialEq)]
pub enum Object {
    Federation,
    Persistence,
    Areas,
    ImportPolicy,
    ExportPolicy,
    ImportPolicies,
    ExportPolicies,
    Security,
    Signer,
    Registry,
    Provider,
    Rules,
    Credentials,
}

/// An old member, its new name (dotted below the table), and what it holds.
type Member = (&'static str, &'static str, Shape);

#[derive(Clone, Copy)]
enum Shape {
    Same,
    /// Text in any case.
    Lower,
    Table(&'static [Member]),
    List(&'static [Member]),
    /// Accepted and without effect; the text says why.
    Void(&'static str),
}

impl Object {
    pub fn read(self, entry: &Entry, origin: &Origin, layer: &mut Layer, reading: &mut Reading<'_>) {
        let of_list = match self {
            Object::Rules => Some(("discovery.policy.rule", RULE)),
            Object::Credentials => Some(("tenants.credential", CREDENTIAL)),
            _ => None,
        };
        if let Some((path, members)) = of_list {
            let node = list(entry, &entry.node, members, reading);
            return append(path, entry, origin, node, layer, reading);
        }
        let Raw::Table(members) = &entry.node.raw else {
            let text = format!("`{}` is {}; expected a table", entry.key, entry.node.kind());
            return reading.faults.add(&entry.node.origin, text);
        };
        match self {
            Object::Federation => self.table("federation", FEDERATION, entry, origin, layer, reading),
            Object::Security => self.table("route.security", SECURITY, entry, origin, layer, reading),
            Object::Signer => self.table("route.security", SIGNER, entry, origin, layer, reading),
            Object::Persistence => {
                self.table("persistence", PERSISTENCE, entry, origin, layer, reading);
                if !members.iter().any(|member| member.key == "mode") {
                    let value = Value::Word("memory");
                    layer.insert("persistence.mode".into(), Setting { value, origin: origin.clone() });
                }
            }
            Object::Areas => {
                self.table("link_state.areas", AREAS, entry, origin, layer, reading);
                let node = |name: &str| members.iter().find(|member| member.key == name);
                let neighbors = pairs(node("neighbor_areas"), "cluster", "areas", reading);
                append("link_state.areas.neighbor", entry, origin, neighbors, layer, reading);
                let filters = pairs(node("area_neighbor_filters"), "name", "only_neighbors", reading);
                let parents = pairs(node("area_hierarchy"), "name", "parent", reading);
                append("link_state.areas.area", entry, origin, joined(filters, parents), layer, reading);
            }
            Object::ImportPolicy | Object::ExportPolicy => {
                let node = self.policy(&entry.node, "global", "", reading);
                append("route.policy", entry, origin, one(node, entry), layer, reading);
            }
            Object::ImportPolicies | Object::ExportPolicies => {
                let mut policies = Vec::new();
                for member in members {
                    match (member.key.as_str(), &member.node.raw) {
                        (_, Raw::Other("null")) => {}
                        ("default_policy", _) => {
                            policies.push(self.policy(&member.node, "neighbor-default", "", reading));
                        }
                        ("neighbor_policies", Raw::Table(neighbors)) => policies.extend(
                            neighbors.iter().map(|n| self.policy(&n.node, "neighbor", &n.key, reading)),
                        ),
                        ("neighbor_policies", _) => {
                            let text =
                                format!("`neighbor_policies` is {}; expected a table", member.node.kind());
                            reading.faults.add(&member.node.origin, text);
                        }
                        _ => unknown(member, entry, &["default_policy", "neighbor_policies"], reading),
                    }
                }
                let node = Node { raw: Raw::List(policies), origin: entry.origin.clone() };
                append("route.policy", entry, origin, node, layer, reading);
            }
            Object::Registry => {
                let keys = registry(members, entry, reading);
                append("route.security.key", entry, origin, keys, layer, reading);
            }
            Object::Provider => reading.faults.add(
                &entry.origin,
                format!("`{}` is code, which a file cannot hold; write [route.security.provider]", entry.key),
            ),
            Object::Rules | Object::Credentials => {}
        }
    }

    /// Reads members into the table `path`.
    fn table(
        self,
        path: &str,
        members: &[Member],
        entry: &Entry,
        origin: &Origin,
        layer: &mut Layer,
        reading: &mut Reading<'_>,
    ) {
        let Some(rows) = rows_of(path) else { return };
        let entries = renamed(&entry.key, &entry.node, members, reading);
        let mut read = Layer::new();
        check::table(rows, &entries, path, "", &mut read, reading.faults);
        for (key, mut setting) in read {
            if let (Origin::File(place), Origin::File(old)) = (&mut setting.origin, origin) {
                place.old_key = old.old_key.clone();
            }
            layer.insert(key, setting);
        }
    }

    fn policy(self, node: &Node, applies_to: &str, neighbor: &str, reading: &mut Reading<'_>) -> Node {
        let direction = match self {
            Object::ImportPolicy | Object::ImportPolicies => "import",
            _ => "export",
        };
        let mut entries = renamed("the policy", node, POLICY, reading);
        for (key, text) in [("direction", direction), ("applies_to", applies_to), ("neighbor", neighbor)] {
            if !text.is_empty() {
                put(&mut entries, key, text_node(text, &node.origin), &node.origin);
            }
        }
        Node { raw: Raw::Table(entries), origin: node.origin.clone() }
    }
}

/// Adds the checked elements of `node` to the list `path`.
fn append(
    path: &str,
    entry: &Entry,
    origin: &Origin,
    node: Node,
    layer: &mut Layer,
    reading: &mut Reading<'_>,
) {
    let Some(key) = schema::key(path) else { return };
    if matches!(&node.raw, Raw::List(items) if items.is_empty()) && !matches!(&entry.node.raw, Raw::List(_)) {
        return;
    }
    let Some(Value::Elements(new)) = check::value(key.row, &node, &entry.key, reading.faults) else { return };
    let setting = layer
        .entry(path.to_owned())
        .or_insert_with(|| Setting { value: Value::Elements(Vec::new()), origin: origin.clone() });
    if let Value::Elements(elements) = &mut setting.value {
        elements.extend(new);
    }
}

/// A list of objects; one object stands for a list of one.
fn list(entry: &Entry, node: &Node, members: &[Member], reading: &mut Reading<'_>) -> Node {
    let items = match &node.raw {
        Raw::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let items = items
        .iter()
        .map(|item| match &item.raw {
            Raw::Table(_) => {
                let entries = renamed(&entry.key, item, members, reading);
                Node { raw: Raw::Table(entries), origin: item.origin.clone() }
            }
            _ => item.clone(),
        })
        .collect();
    Node { raw: Raw::List(items), origin: node.origin.clone() }
}

/// The entries of an object under their new names.
fn renamed(what: &str, node: &Node, members: &[Member], reading: &mut Reading<'_>) -> Vec<Entry> {
    let mut out = Vec::new();
    let Raw::Table(entries) = &node.raw else {
        reading.faults.add(&node.origin, format!("`{what}` holds {}; expected a table", node.kind()));
        return out;
    };
    for entry in entries {
        if matches!(entry.node.raw, Raw::Other("null")) {
            continue;
        }
        let Some((_, new, shape)) = members.iter().find(|(old, ..)| *old == entry.key) else {
            let names = members.iter().map(|(old, ..)| *old);
            let near = suggest::nearest(&entry.key, names);
            reading.unknown(&entry.origin, &format!("member `{}` of `{what}`", entry.key), near);
            continue;
        };
        let mut node = entry.node.clone();
        match (shape, &mut node.raw) {
            (Shape::Void(why), raw) => {
                // The old way to trade safety for speed keeps its meaning.
                if entry.key == "sqlite_synchronous"
                    && matches!(raw, Raw::Text(t) if t.eq_ignore_ascii_case("off"))
                {
                    put(&mut out, "sync", text_node("interval", &entry.origin), &entry.origin);
                } else if !why.is_empty() {
                    let text = format!("`{what}.{}` has no effect: {why}", entry.key);
                    reading.warnings.push(Fault::new(entry.origin.clone(), text));
                }
                continue;
            }
            (Shape::Lower, Raw::Text(text)) => *text = text.trim().to_lowercase(),
            (Shape::Table(inner), Raw::Table(_)) => {
                let name = format!("{what}.{}", entry.key);
                node.raw = Raw::Table(renamed(&name, &entry.node, inner, reading));
            }
            (Shape::List(inner), Raw::List(_)) => node = list(entry, &entry.node, inner, reading),
            _ => {}
        }
        if what == "persistence_config" && entry.key == "mode" {
            match &mut node.raw {
                Raw::Text(text) if text == "sqlite" => {
                    *text = "fjall".into();
                    let told =
                        "`persistence_config.mode` is \"sqlite\": the store is fjall now, and starts empty";
                    reading.warnings.push(Fault::new(entry.origin.clone(), told));
                }
                Raw::Text(text) if text == "memory" => {}
                _ => {
                    let text = format!("`persistence_config.mode` is {node}; expected one of memory, sqlite");
                    reading.faults.add(&entry.origin, text);
                    continue;
                }
            }
        }
        put(&mut out, new, node, &entry.origin);
    }
    out
}

/// Puts a value under a dotted name.
fn put(entries: &mut Vec<Entry>, name: &str, node: Node, origin: &Origin) {
    let Some((head, rest)) = name.split_once('.') else {
        entries.push(Entry { key: name.to_owned(), origin: origin.clone(), node });
        return;
    };
    if !entries.iter().any(|entry| entry.key == head) {
        let table = Node { raw: Raw::Table(Vec::new()), origin: origin.clone() };
        entries.push(Entry { key: head.to_owned(), origin: origin.clone(), node: table });
    }
    for entry in entries.iter_mut().filter(|entry| entry.key == head) {
        if let Raw::Table(inner) = &mut entry.node.raw {
            return put(inner, rest, node, origin);
        }
    }
}

/// `{a = x, b = y}` as `[{key = a, value = x}, {key = b, value = y}]`.
fn pairs(member: Option<&Entry>, key: &str, value: &str, reading: &mut Reading<'_>) -> Node {
    let Some(member) = member else {
        return empty(Origin::Default);
    };
    let Raw::Table(entries) = &member.node.raw else {
        let text = format!("`{}` is {}; expected a table", member.key, member.node.kind());
        reading.faults.add(&member.node.origin, text);
        return empty(member.origin.clone());
    };
    let items = entries.iter().map(|entry| {
        let mut item = Vec::new();
        put(&mut item, key, text_node(&entry.key, &entry.origin), &entry.origin);
        put(&mut item, value, entry.node.clone(), &entry.origin);
        Node { raw: Raw::Table(item), origin: entry.origin.clone() }
    });
    Node { raw: Raw::List(items.collect()), origin: member.origin.clone() }
}

/// Two lists of tables in one; items with the same `name` become one.
fn joined(a: Node, b: Node) -> Node {
    let name = |node: &Node| match &node.raw {
        Raw::Table(entries) => {
            entries.iter().find(|entry| entry.key == "name").map(|entry| entry.node.to_string())
        }
        _ => None,
    };
    let (Raw::List(mut items), Raw::List(more)) = (a.raw, b.raw) else { return empty(a.origin) };
    for item in more {
        let same = items.iter_mut().find(|other| name(other) == name(&item));
        match (same, item.raw) {
            (Some(Node { raw: Raw::Table(entries), .. }), Raw::Table(extra)) => {
                entries.extend(extra.into_iter().filter(|entry| entry.key != "name"));
            }
            (_, raw) => items.push(Node { raw, origin: item.origin }),
        }
    }
    Node { raw: Raw::List(items), origin: a.origin }
}

fn empty(origin: Origin) -> Node {
    Node { raw: Raw::List(Vec::new()), origin }
}

/// The keys of a registry document: `{clusters: {ID: {primary_key_id, keys: [RECORD]}}}`.
fn registry(members: &[Entry], entry: &Entry, reading: &mut Reading<'_>) -> Node {
    let mut items = Vec::new();
    for member in members {
        let Raw::Table(clusters) = &member.node.raw else {
            if member.key != "generated_at" {
                unknown(member, entry, &["clusters", "generated_at"], reading);
            }
            continue;
        };
        if member.key != "clusters" {
            unknown(member, entry, &["clusters", "generated_at"], reading);
            continue;
        }
        for cluster in clusters {
            let Raw::Table(parts) = &cluster.node.raw else {
                let text = format!("`clusters.{}` is {}; expected a table", cluster.key, cluster.node.kind());
                reading.faults.add(&cluster.node.origin, text);
                continue;
            };
            let part = |name: &str| parts.iter().find(|part| part.key == name);
            for other in parts.iter().filter(|p| !["primary_key_id", "keys"].contains(&p.key.as_str())) {
                unknown(other, entry, &["primary_key_id", "keys"], reading);
            }
            let primary = part("primary_key_id").map(|part| part.node.to_string());
            let Some(keys) = part("keys") else { continue };
            let Raw::List(keys) = list(keys, &keys.node, KEY_RECORD, reading).raw else { continue };
            for mut key in keys {
                if let Raw::Table(entries) = &mut key.raw {
                    let id = entries
                        .iter()
                        .find(|entry| entry.key == "key_id")
                        .map(|entry| entry.node.to_string());
                    let is_primary =
                        Node { raw: Raw::Bool(id.is_some() && id == primary), origin: key.origin.clone() };
                    put(entries, "cluster", text_node(&cluster.key, &key.origin), &key.origin);
                    put(entries, "primary", is_primary, &key.origin);
                }
                items.push(key);
            }
        }
    }
    Node { raw: Raw::List(items), origin: entry.origin.clone() }
}

fn unknown(member: &Entry, entry: &Entry, names: &[&str], reading: &mut Reading<'_>) {
    let near = suggest::nearest(&member.key, names.iter().copied());
    reading.unknown(&member.origin, &format!("member `{}` of `{}`", member.key, entry.key), near);
}

fn one(node: Node, entry: &Entry) -> Node {
    Node { raw: Raw::List(vec![node]), origin: entry.origin.clone() }
}

fn text_node(text: &str, origin: &Origin) -> Node {
    Node { raw: Raw::Text(text.to_owned()), origin: origin.clone() }
}

fn rows_of(path: &str) -> Option<&'static [Row]> {
    path.split('.').try_fold(Settings::ROWS, |rows, name| {
        match rows.iter().find(|row| row.name == name).map(|row| row.kind) {
            Some(Kind::Table(rows)) => Some(rows),
            _ => None,
        }
    })
}

const SQLITE: &str = "the store is fjall";
const DERIVED: &str = "it is derived from the other keys";

const PERSISTENCE: &[Member] = &[
    ("mode", "mode", Shape::Same),
    ("data_dir", "dir", Shape::Same),
    ("sqlite_filename", "", Shape::Void(SQLITE)),
    ("sqlite_wal", "", Shape::Void(SQLITE)),
    ("sqlite_synchronous", "", Shape::Void(SQLITE)),
    ("sqlite_foreign_keys", "", Shape::Void(SQLITE)),
];

const FEDERATION: &[Member] = &[
    ("federation_mode", "mode", Shape::Same),
    ("local_cluster_id", "", Shape::Void("the own cluster is `cluster_id`")),
    ("allowed_foreign_cluster_ids", "allowed_clusters", Shape::Same),
    ("explicit_bridges", "bridge", Shape::List(BRIDGE)),
    ("cross_federation_connection_timeout_seconds", "connection_timeout", Shape::Same),
    ("connection_retry_attempts", "retry_attempts", Shape::Same),
    ("connection_health_check_interval_seconds", "health_check_interval", Shape::Same),
    ("security_policy", "security", Shape::Table(FEDERATION_SECURITY)),
    ("log_cross_federation_attempts", "log.attempts", Shape::Same),
    ("log_cross_federation_warnings", "log.warnings", Shape::Same),
    ("log_connection_rejections", "log.rejections", Shape::Same),
    ("emit_federation_metrics", "emit_metrics", Shape::Same),
];

const BRIDGE: &[Member] = &[
    ("local_cluster_id", "", Shape::Void("the own cluster is `cluster_id`")),
    ("remote_cluster_id", "cluster", Shape::Same),
    ("allowed_remote_nodes", "nodes", Shape::Same),
    ("bridge_name", "name", Shape::Same),
    ("connection_timeout_seconds", "connection_timeout", Shape::Same),
    ("retry_attempts", "retry_attempts", Shape::Same),
    ("health_check_interval_seconds", "health_check_interval", Shape::Same),
];

const FEDERATION_SECURITY: &[Member] = &[
    ("require_mutual_authentication", "require_mutual_auth", Shape::Same),
    ("require_encrypted_connections", "require_encryption", Shape::Same),
    ("allowed_functions_cross_federation", "allow_functions", Shape::Same),
    ("blocked_functions_cross_federation", "deny_functions", Shape::Same),
    ("max_cross_federation_requests_per_minute", "max_requests_per_minute", Shape::Same),
    ("connection_rate_limit_per_cluster", "max_connections_per_cluster", Shape::Same),
];

const AREAS: &[Member] = &[
    ("local_areas", "local", Shape::Same),
    ("default_area", "default", Shape::Same),
    ("allow_unmapped_neighbors", "allow_unmapped_neighbors", Shape::Same),
    ("summary_filters", "summary", Shape::List(AREA_SUMMARY)),
    // These become lists, see `Object::read`.
    ("neighbor_areas", "", Shape::Void("")),
    ("area_neighbor_filters", "", Shape::Void("")),
    ("area_hierarchy", "", Shape::Void("")),
];

const AREA_SUMMARY: &[Member] = &[
    ("source_area", "from", Shape::Same),
    ("target_area", "to", Shape::Same),
    ("allowed_neighbors", "allow", Shape::Same),
    ("denied_neighbors", "deny", Shape::Same),
];

const POLICY: &[Member] = &[
    ("weight_latency", "weights.latency", Shape::Same),
    ("weight_hops", "weights.hops", Shape::Same),
    ("weight_cost", "weights.cost", Shape::Same),
    ("weight_reliability", "weights.reliability", Shape::Same),
    ("weight_bandwidth", "weights.bandwidth", Shape::Same),
    ("max_hops", "max_hops", Shape::Same),
    ("allowed_advertisers", "allow_advertisers", Shape::Same),
    ("allowed_destinations", "allow_destinations", Shape::Same),
    ("allowed_tags", "allow_tags", Shape::Same),
    ("deny_tags", "deny_tags", Shape::Same),
    ("deterministic_tiebreakers", "tiebreakers", Shape::Same),
];

const SECURITY: &[Member] = &[
    ("require_signatures", "require_signatures", Shape::Same),
    ("allow_unsigned", "allow_unsigned", Shape::Same),
    ("signature_algorithm", "algorithm", Shape::Same),
];

const SIGNER: &[Member] = &[
    ("private_key", "signing_key", Shape::Same),
    ("public_key", "", Shape::Void(DERIVED)),
    ("algorithm", "algorithm", Shape::Same),
];

const KEY_RECORD: &[Member] = &[
    ("key_id", "key_id", Shape::Same),
    ("public_key", "public_key", Shape::Same),
    ("expires_at", "expires_at", Shape::Same),
    ("added_at", "", Shape::Void("")),
    ("created_at", "", Shape::Void("")),
];

const RULE: &[Member] = &[
    ("namespace", "namespace", Shape::Same),
    ("owners", "owners", Shape::Same),
    ("visibility", "visibility", Shape::Same),
    ("visibility_tenants", "visibility_tenants", Shape::Same),
    ("export_scopes", "export_scopes", Shape::Same),
    ("allow_summaries", "allow_summaries", Shape::Same),
    ("policy_version", "policy_version", Shape::Same),
    ("cutover_windows", "cutover", Shape::List(WINDOW)),
];

const WINDOW: &[Member] = &[
    ("starts_at", "starts_at", Shape::Same),
    ("ends_at", "ends_at", Shape::Same),
    ("export_scopes", "export_scopes", Shape::Same),
    ("allow_summaries", "allow_summaries", Shape::Same),
];

const CREDENTIAL: &[Member] = &[
    ("tenant_id", "tenant", Shape::Same),
    ("token", "token", Shape::Same),
    ("scheme", "scheme", Shape::Lower),
];
