//! Reading single entries of the catalog by their key. Nothing is changed here.

use std::sync::Arc;

use super::{
    CacheEntry, CacheKey, CacheProfileEntry, Catalog, FunctionEntry, FunctionKey, NodeKey, QueueEntry,
    QueueKey, ServiceEntry, ServiceKey,
};

impl Catalog {
    pub fn function(&self, key: &FunctionKey) -> Option<&Arc<FunctionEntry>> {
        self.functions.get(key)
    }

    pub fn queue(&self, key: &QueueKey) -> Option<&Arc<QueueEntry>> {
        self.queues.get(key)
    }

    pub fn service(&self, key: &ServiceKey) -> Option<&Arc<ServiceEntry>> {
        self.services.get(key)
    }

    pub fn cache(&self, key: &CacheKey) -> Option<&Arc<CacheEntry>> {
        self.caches.get(key)
    }

    pub fn cache_profile(&self, key: &NodeKey) -> Option<&Arc<CacheProfileEntry>> {
        self.cache_profiles.get(key)
    }
}
