//! Questions to the catalog: what is asked, and the sorted list of references that answers it.
//!
//! All filters see all entries; nothing is turned into JSON here, so that a list of ten thousand costs what
//! comparing and sorting references costs. Entries whose lease has ended are never shown.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;

use super::LocalNode;
use super::access::Viewer;
use super::filter::{at_or_below, has_all, literal_prefix, reaches};
use super::payload::{Payload, shortened, value_error};
use super::policy::Policy;
use super::row::Row;
use crate::core::catalog::{Catalog, FunctionEntry, Leased, NodeEntry, Scope, Text, namespace_of};
use crate::core::error::CallError;
use crate::core::pubsub::pattern::Pattern;
use crate::core::rpc::version::Constraint;

/// The seven entry types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Functions,
    Nodes,
    Queues,
    Topics,
    Services,
    Caches,
    CacheProfiles,
}

/// What is asked of the catalog; lists are sets, so that equal questions are equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CatalogQuery {
    pub kind: Kind,
    pub namespace: Option<String>,
    pub scope: Option<Scope>,
    pub capabilities: Vec<String>,
    pub resources: Vec<String>,
    pub tags: Vec<String>,
    pub cluster_id: Option<String>,
    pub node_id: Option<String>,
    pub function: FunctionFilter,
    pub queue_name: Option<String>,
    pub service_name: Option<String>,
    pub service_protocol: Option<String>,
    pub service_port: Option<i64>,
    pub topic: Option<String>,
}

/// The filters that only functions have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct FunctionFilter {
    pub name: Option<String>,
    pub id: Option<String>,
    pub version: Constraint,
    /// Lower case; looked for in name, namespace, id and the line of documentation.
    pub text: Option<String>,
    /// Empty lists do not filter.
    pub names: Vec<String>,
    pub ids: Vec<String>,
    pub digests: Vec<String>,
}

/// What is asked of the cluster map.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MapQuery {
    pub scope: Option<Scope>,
    /// A plain beginning of node id, cluster id, a resource or a capability.
    pub namespace_filter: Option<String>,
    pub capabilities: Vec<String>,
    pub resources: Vec<String>,
    pub cluster_id: Option<String>,
}

/// One of both, as the query cache keeps them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Query {
    Catalog(Box<CatalogQuery>),
    ClusterMap(MapQuery),
}

/// What a question is answered from.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub catalog: &'a Catalog,
    pub node: &'a LocalNode,
    pub policy: &'a Policy,
    pub viewer: &'a Viewer,
    /// Wall clock.
    pub now: f64,
    /// Adds the own node where the catalog does not have it.
    pub with_own_node: bool,
}

/// The parts of a short description that are searched.
#[derive(Deserialize, Default)]
pub struct SummaryText<'a> {
    #[serde(borrow, default)]
    namespace: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    summary: Option<Cow<'a, str>>,
}

impl Kind {
    /// Singular or plural, any case, `-` or `_`.
    pub fn parse(word: &str) -> Option<Kind> {
        Some(match word.trim().to_ascii_lowercase().replace('-', "_").as_str() {
            "functions" | "function" => Kind::Functions,
            "nodes" | "node" => Kind::Nodes,
            "queues" | "queue" => Kind::Queues,
            "topics" | "topic" => Kind::Topics,
            "services" | "service" => Kind::Services,
            "caches" | "cache" => Kind::Caches,
            "cache_profiles" | "cache_profile" => Kind::CacheProfiles,
            _ => return None,
        })
    }

    pub fn word(self) -> &'static str {
        match self {
            Kind::Functions => "functions",
            Kind::Nodes => "nodes",
            Kind::Queues => "queues",
            Kind::Topics => "topics",
            Kind::Services => "services",
            Kind::Caches => "caches",
            Kind::CacheProfiles => "cache_profiles",
        }
    }
}

impl CatalogQuery {
    /// Everything of one type.
    pub fn all(kind: Kind) -> CatalogQuery {
        CatalogQuery {
            kind,
            namespace: None,
            scope: None,
            capabilities: Vec::new(),
            resources: Vec::new(),
            tags: Vec::new(),
            cluster_id: None,
            node_id: None,
            function: FunctionFilter::default(),
            queue_name: None,
            service_name: None,
            service_protocol: None,
            service_port: None,
            topic: None,
        }
    }

    /// The payload of `catalog_query`.
    pub fn read(payload: &Payload) -> Result<CatalogQuery, CallError> {
        let word = payload.text("entry_type")?.unwrap_or_default();
        let kind = Kind::parse(&word).ok_or_else(|| {
            value_error(format_args!("Unsupported catalog entry_type: {}", shortened(&word)))
        })?;
        let port = match payload.text("service_port")? {
            None => None,
            Some(_) => payload.integer("service_port")?,
        };
        Ok(CatalogQuery {
            queue_name: payload.text("queue_name")?,
            service_name: payload.text("service_name")?,
            service_protocol: payload.text("service_protocol")?,
            service_port: port,
            topic: payload.text("topic")?,
            ..CatalogQuery::common(kind, payload)?
        })
    }

    /// The payload of `dns_list` and `dns_describe`.
    pub fn read_services(payload: &Payload) -> Result<CatalogQuery, CallError> {
        let port = match payload.text("port")? {
            None => None,
            Some(_) => payload.integer("port")?,
        };
        Ok(CatalogQuery {
            service_name: payload.text("name")?,
            service_protocol: payload.text("protocol")?,
            service_port: port,
            ..CatalogQuery::common(Kind::Services, payload)?
        })
    }

    /// The payload of `rpc_list`, `rpc_report` and `rpc_describe`.
    pub fn read_functions(payload: &Payload) -> Result<CatalogQuery, CallError> {
        let mut query = CatalogQuery::common(Kind::Functions, payload)?;
        query.function.text = payload.trimmed("query")?.map(|t| t.to_lowercase());
        Ok(query)
    }

    /// The lists that only `rpc_describe` and `rpc_describe_local` have.
    pub fn with_lists(mut self, payload: &Payload) -> Result<CatalogQuery, CallError> {
        self.function.digests = payload.set("spec_digests")?;
        self.function.names = payload.set("function_names")?;
        self.function.ids = payload.set("function_ids")?;
        // The single ones join the lists: an entry has to be in the list, not to be both.
        if !self.function.names.is_empty() {
            self.function.names.extend(self.function.name.take());
        }
        if !self.function.ids.is_empty() {
            self.function.ids.extend(self.function.id.take());
        }
        Ok(self)
    }

    fn common(kind: Kind, payload: &Payload) -> Result<CatalogQuery, CallError> {
        let version = payload.text("version_constraint")?.unwrap_or_default();
        let version = Constraint::parse(&version).map_err(|bad| bad.error())?;
        Ok(CatalogQuery {
            namespace: payload.trimmed("namespace")?,
            scope: payload.scope("scope")?,
            capabilities: payload.set("capabilities")?,
            resources: payload.set("resources")?,
            tags: payload.set("tags")?,
            cluster_id: payload.text("cluster_id")?,
            node_id: payload.text("node_id")?,
            function: FunctionFilter {
                name: payload.text("function_name")?,
                id: payload.text("function_id")?,
                version,
                ..FunctionFilter::default()
            },
            ..CatalogQuery::all(kind)
        })
    }
}

impl MapQuery {
    /// The payload of `cluster_map_v2`.
    pub fn read(payload: &Payload) -> Result<MapQuery, CallError> {
        Ok(MapQuery {
            scope: payload.scope("scope")?,
            namespace_filter: payload.trimmed("namespace_filter")?,
            capabilities: payload.set("capabilities")?,
            resources: payload.set("resources")?,
            cluster_id: payload.text("cluster_id")?,
        })
    }
}

impl Query {
    /// Everything that fits, in order.
    pub fn run(&self, context: &Context<'_>) -> Vec<Row> {
        let mut rows = match self {
            Query::Catalog(query) => context.entries(query),
            Query::ClusterMap(query) => context.map(query),
        };
        rows.sort_unstable_by(Row::order);
        rows
    }
}

impl Query {
    /// About how much text a question holds.
    pub fn text_bytes(&self) -> usize {
        let lists =
            |lists: &[&Vec<String>]| lists.iter().copied().flatten().map(|t| t.len() + 24).sum::<usize>();
        let texts =
            |texts: &[&Option<String>]| texts.iter().copied().flatten().map(String::len).sum::<usize>();
        match self {
            Query::ClusterMap(q) => {
                lists(&[&q.capabilities, &q.resources]) + texts(&[&q.namespace_filter, &q.cluster_id])
            }
            Query::Catalog(q) => {
                let f = &q.function;
                lists(&[&q.capabilities, &q.resources, &q.tags, &f.names, &f.ids, &f.digests])
                    + texts(&[&q.namespace, &q.cluster_id, &q.node_id, &f.name, &f.id, &f.text])
                    + texts(&[&q.queue_name, &q.service_name, &q.service_protocol, &q.topic])
            }
        }
    }
}

impl FunctionFilter {
    /// All filters on one function; `about` is read only where it is needed.
    pub fn fits<'a>(
        &self,
        identity: &crate::core::catalog::Identity,
        digest: Option<&str>,
        about: impl FnOnce() -> (Cow<'a, str>, Cow<'a, str>),
    ) -> bool {
        let is = |wanted: &Option<String>, there: &str| wanted.as_deref().is_none_or(|w| w == there);
        let listed = |list: &[String], there: &str| list.is_empty() || list.iter().any(|l| l == there);
        if !is(&self.name, &identity.name)
            || !is(&self.id, &identity.function_id)
            || !listed(&self.names, &identity.name)
            || !listed(&self.ids, &identity.function_id)
            || !listed(&self.digests, digest.unwrap_or_default())
            || !self.version.accepts(&identity.version.0)
        {
            return false;
        }
        let Some(text) = &self.text else { return true };
        let holds = |there: &str| there.to_lowercase().contains(text.as_str());
        if holds(&identity.name) || holds(&identity.function_id) {
            return true;
        }
        let (namespace, line) = about();
        holds(&namespace) || holds(&line)
    }
}

impl Context<'_> {
    /// May the viewer see this name?
    pub fn shows(&self, name: &str) -> bool {
        self.policy.viewer(name, &self.viewer.cluster_id, self.viewer.tenant.as_deref()).allowed
    }

    /// All nodes whose lease has not ended.
    pub fn nodes(&self) -> Vec<Arc<NodeEntry>> {
        let mut nodes: Vec<_> = self.catalog.nodes().filter(|n| !n.expired(self.now)).cloned().collect();
        let own = |n: &Arc<NodeEntry>| n.node_id == self.node.node_id && n.cluster_id == self.node.cluster_id;
        if self.with_own_node && !nodes.iter().any(own) {
            nodes.push(Arc::new(self.node.entry(self.now)));
        }
        nodes
    }

    fn entries(&self, query: &CatalogQuery) -> Vec<Row> {
        let place = Place::of(query.scope, query.cluster_id.as_deref(), query.node_id.as_deref(), self.node);
        let Some(place) = place else { return Vec::new() };
        let here = |cluster: &str, node: &str| place.has(cluster, node);
        let in_namespace = |name: &str| query.namespace.as_deref().is_none_or(|n| at_or_below(name, n));
        let is = |wanted: &Option<String>, there: &str| wanted.as_deref().is_none_or(|w| w == there);
        match query.kind {
            Kind::Functions => self.functions(query, &place),
            Kind::Nodes => self
                .nodes()
                .into_iter()
                .filter(|n| {
                    here(&n.cluster_id, &n.node_id)
                        && has_all(&n.resources, &query.resources)
                        && has_all(&n.capabilities, &query.capabilities)
                })
                .map(Row::Node)
                .collect(),
            Kind::Queues => live(self.catalog.queues(), self.now)
                .filter(|q| {
                    here(&q.cluster_id, &q.node_id)
                        && is(&query.queue_name, &q.queue_name)
                        && in_namespace(&q.queue_name)
                        && reaches(q.scope, query.scope)
                        && has_all(&q.tags, &query.tags)
                        && self.shows(&q.queue_name)
                })
                .map(|q| Row::Queue(q.clone()))
                .collect(),
            Kind::Topics => live(self.catalog.topics(), self.now)
                .filter(|t| {
                    here(&t.cluster_id, &t.node_id)
                        && query
                            .topic
                            .as_deref()
                            .is_none_or(|topic| t.patterns.iter().any(|p| Pattern::parse(p).matches(topic)))
                        && (query.namespace.is_none() || t.patterns.iter().any(|p| in_namespace(p)))
                        && reaches(t.scope, query.scope)
                        && has_all(&t.tags, &query.tags)
                        && t.patterns.iter().all(|p| self.shows_pattern(p))
                })
                .map(|t| Row::Topic(t.clone()))
                .collect(),
            Kind::Services => live(self.catalog.services(), self.now)
                .filter(|s| {
                    here(&s.cluster_id, &s.node_id)
                        && is(&query.service_name, &s.name)
                        && is(&query.service_protocol, &s.protocol)
                        && query.service_port.is_none_or(|port| port == s.port)
                        && is(&query.namespace, &s.namespace)
                        && reaches(s.scope, query.scope)
                        && has_all(&s.tags, &query.tags)
                        && has_all(&s.capabilities, &query.capabilities)
                        && (s.namespace.is_empty() || self.shows(&s.namespace))
                })
                .map(|s| Row::Service(s.clone()))
                .collect(),
            Kind::Caches => live(self.catalog.caches(), self.now)
                .filter(|c| {
                    here(&c.cluster_id, &c.node_id)
                        && reaches(c.scope, query.scope)
                        && has_all(&c.tags, &query.tags)
                })
                .map(|c| Row::Cache(c.clone()))
                .collect(),
            Kind::CacheProfiles => live(self.catalog.cache_profiles(), self.now)
                .filter(|c| {
                    here(&c.cluster_id, &c.node_id)
                        && reaches(c.scope, query.scope)
                        && has_all(&c.tags, &query.tags)
                })
                .map(|c| Row::CacheProfile(c.clone()))
                .collect(),
        }
    }

    fn functions(&self, query: &CatalogQuery, place: &Place<'_>) -> Vec<Row> {
        // Entries come grouped by node, so the answer for the last node is the answer for most.
        let mut last_node: Option<(Text, Text, bool)> = None;
        let mut able = |cluster: &Text, node: &Text| {
            if query.capabilities.is_empty() {
                return true;
            }
            if let Some((c, n, able)) = &last_node
                && c == cluster
                && n == node
            {
                return *able;
            }
            let able = match self.catalog.node(cluster, node) {
                Some(entry) => has_all(&entry.capabilities, &query.capabilities),
                None => {
                    *cluster == self.node.cluster_id
                        && *node == self.node.node_id
                        && has_all(&self.node.capabilities, &query.capabilities)
                }
            };
            last_node = Some((cluster.clone(), node.clone(), able));
            able
        };
        live(self.catalog.functions(), self.now)
            .filter(|f| {
                place.has(&f.cluster_id, &f.node_id)
                    && reaches(f.scope, query.scope)
                    && has_all(&f.resources, &query.resources)
                    && has_all(&f.tags, &query.tags)
                    && query.function.fits(&f.identity, f.spec_digest.as_deref(), || about(f))
                    && query.namespace.as_deref().is_none_or(|n| at_or_below(&namespace(f), n))
                    && able(&f.cluster_id, &f.node_id)
                    && self.shows(&f.identity.name)
            })
            .map(|f| Row::Function(f.clone()))
            .collect()
    }

    fn map(&self, query: &MapQuery) -> Vec<Row> {
        let Some(place) = Place::of(query.scope, query.cluster_id.as_deref(), None, self.node) else {
            return Vec::new();
        };
        let begins = |n: &NodeEntry| {
            query.namespace_filter.as_deref().is_none_or(|f| {
                [&n.node_id, &n.cluster_id]
                    .into_iter()
                    .chain(&n.resources)
                    .chain(&n.capabilities)
                    .any(|text| text.starts_with(f))
            })
        };
        self.nodes()
            .into_iter()
            .filter(|n| {
                place.has(&n.cluster_id, &n.node_id)
                    && reaches(n.scope, query.scope)
                    && has_all(&n.capabilities, &query.capabilities)
                    && has_all(&n.resources, &query.resources)
                    && begins(n)
            })
            .map(Row::Node)
            .collect()
    }

    fn shows_pattern(&self, pattern: &str) -> bool {
        let prefix = literal_prefix(pattern);
        prefix.is_empty() || self.shows(prefix)
    }
}

/// The namespace of a function: what its description says, else the name up to the last dot.
pub fn namespace(entry: &FunctionEntry) -> Cow<'_, str> {
    let said = entry.rpc_summary.as_deref().and_then(|s| serde_json::from_str::<SummaryText>(s.get()).ok());
    said.and_then(|s| s.namespace).unwrap_or_else(|| namespace_of(&entry.identity.name).into())
}

/// Namespace and line of documentation.
fn about(entry: &FunctionEntry) -> (Cow<'_, str>, Cow<'_, str>) {
    let said = entry.rpc_summary.as_deref().and_then(|s| serde_json::from_str::<SummaryText>(s.get()).ok());
    let said = said.unwrap_or_default();
    (
        said.namespace.unwrap_or_else(|| namespace_of(&entry.identity.name).into()),
        said.summary.unwrap_or_default(),
    )
}

fn live<'a, E: Leased + 'a>(
    entries: impl Iterator<Item = &'a Arc<E>>,
    now: f64,
) -> impl Iterator<Item = &'a Arc<E>> {
    entries.filter(move |e| !e.expired(now))
}

/// Where entries must be.
struct Place<'a> {
    cluster: Option<&'a str>,
    node: Option<&'a str>,
}

impl<'a> Place<'a> {
    /// `None` where scope and ids contradict each other.
    fn of(
        scope: Option<Scope>,
        cluster: Option<&'a str>,
        node: Option<&'a str>,
        own: &'a LocalNode,
    ) -> Option<Place<'a>> {
        let own_cluster = matches!(scope, Some(Scope::Local | Scope::Zone)).then_some(&*own.cluster_id);
        let own_node = matches!(scope, Some(Scope::Local)).then_some(&*own.node_id);
        Some(Place { cluster: both(own_cluster, cluster)?, node: both(own_node, node)? })
    }

    fn has(&self, cluster: &str, node: &str) -> bool {
        self.cluster.is_none_or(|c| c == cluster) && self.node.is_none_or(|n| n == node)
    }
}

/// The one that is given, if they are not two different ones.
fn both<'a>(a: Option<&'a str>, b: Option<&'a str>) -> Option<Option<&'a str>> {
    match (a, b) {
        (Some(a), Some(b)) if a != b => None,
        (a, b) => Some(a.or(b)),
    }
}
