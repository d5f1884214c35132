//! One entry of a list that is sorted and paged: a shared entry of the catalog, a summary, or a local description.

use std::cmp::Ordering;
use std::sync::Arc;

use serde_json::Value;

use super::registry::Description;
use super::reply::value_of;
use super::summary::Summary;
use crate::core::catalog::{
    CacheEntry, CacheProfileEntry, CacheRole, FunctionEntry, NodeEntry, QueueEntry, ServiceEntry, TopicEntry,
};

/// Cheap to copy: all of them are shared. A list has rows of one sort.
#[derive(Debug, Clone)]
pub enum Row {
    Function(Arc<FunctionEntry>),
    Node(Arc<NodeEntry>),
    Queue(Arc<QueueEntry>),
    Topic(Arc<TopicEntry>),
    Service(Arc<ServiceEntry>),
    Cache(Arc<CacheEntry>),
    CacheProfile(Arc<CacheProfileEntry>),
    Summary(Arc<Summary>),
    Description(Arc<Description>),
}

impl Row {
    /// The order of client.md 4.5 and 4.10; total for rows of one sort.
    pub fn order(&self, other: &Row) -> Ordering {
        match (self, other) {
            (Row::Function(a), Row::Function(b)) => (&a.identity, &a.cluster_id, &a.node_id, &a.resources)
                .cmp(&(&b.identity, &b.cluster_id, &b.node_id, &b.resources)),
            (Row::Node(a), Row::Node(b)) => (&a.cluster_id, &a.node_id).cmp(&(&b.cluster_id, &b.node_id)),
            (Row::Queue(a), Row::Queue(b)) => {
                (&a.queue_name, &a.cluster_id, &a.node_id).cmp(&(&b.queue_name, &b.cluster_id, &b.node_id))
            }
            (Row::Topic(a), Row::Topic(b)) => (&a.cluster_id, &a.node_id, &a.subscription_id).cmp(&(
                &b.cluster_id,
                &b.node_id,
                &b.subscription_id,
            )),
            (Row::Service(a), Row::Service(b)) => (
                &a.namespace,
                &a.name,
                &a.protocol,
                a.port,
                &a.cluster_id,
                &a.node_id,
            )
                .cmp(&(&b.namespace, &b.name, &b.protocol, b.port, &b.cluster_id, &b.node_id)),
            (Row::Cache(a), Row::Cache(b)) => (role_word(a.role), &a.cluster_id, &a.node_id).cmp(&(
                role_word(b.role),
                &b.cluster_id,
                &b.node_id,
            )),
            (Row::CacheProfile(a), Row::CacheProfile(b)) => {
                (&a.cluster_id, &a.node_id).cmp(&(&b.cluster_id, &b.node_id))
            }
            (Row::Summary(a), Row::Summary(b)) => (&a.namespace, &a.service_id, &a.source_cluster, a.scope)
                .cmp(&(&b.namespace, &b.service_id, &b.source_cluster, b.scope)),
            (Row::Description(a), Row::Description(b)) => a.identity.cmp(&b.identity),
            _ => Ordering::Equal,
        }
    }

    /// As an item of `catalog_query` or `summary_query`.
    pub fn value(&self) -> Value {
        match self {
            Row::Function(e) => value_of(&**e),
            Row::Node(e) => value_of(&**e),
            Row::Queue(e) => value_of(&**e),
            Row::Topic(e) => value_of(&**e),
            Row::Service(e) => value_of(&**e),
            Row::Cache(e) => value_of(&**e),
            Row::CacheProfile(e) => value_of(&**e),
            Row::Summary(s) => s.value(),
            Row::Description(d) => d.spec.clone(),
        }
    }
}

/// Roles are sorted as they are written.
fn role_word(role: CacheRole) -> &'static str {
    match role {
        CacheRole::Coordinator => "coordinator",
        CacheRole::Invalidator => "invalidator",
        CacheRole::Replica => "replica",
        CacheRole::Sync => "sync",
        CacheRole::Monitor => "monitor",
    }
}
