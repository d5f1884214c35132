//! Entries of scope `local` stay with the node that holds them: what of a change others may be told.
//!
//! Others never hear of an entry that is local, nor of its removal; an entry that becomes local is to them one that
//! is removed. It changes nothing, neither in the catalog nor in what watchers of the own node see.

use super::{Catalog, Delta, Entry, Scope};

/// What a change does to entries whose scope decides whether others hear of it; made before it is applied.
#[derive(Debug, Default)]
pub struct Privacy {
    /// Removals of entries that others do not know.
    untold: Delta,
    /// Removals of entries that others know and that are local from now on.
    withdrawn: Delta,
}

macro_rules! for_all {
    ($do:ident) => {
        $do!(functions function_removals);
        $do!(queues queue_removals);
        $do!(services service_removals);
        $do!(caches cache_removals);
        $do!(cache_profiles cache_profile_removals);
        $do!(nodes node_removals);
    };
}

impl Catalog {
    /// See [`Privacy`]; for changes of own entries. Subscriptions are never local.
    pub fn privacy(&self, delta: &Delta) -> Privacy {
        let mut privacy = Privacy::default();
        macro_rules! look {
            ($list:ident $removals:ident) => {
                let is_local = |key: &_| self.$list.get(key).map(|known| known.scope == Scope::Local);
                let untold = delta.$removals.iter().filter(|key| is_local(key) == Some(true));
                privacy.untold.$removals.extend(untold.cloned());
                let local = delta.$list.iter().filter(|e| e.scope == Scope::Local).map(|e| e.key());
                privacy.withdrawn.$removals.extend(local.filter(|key| is_local(key) == Some(false)));
            };
        }
        for_all!(look);
        privacy
    }
}

impl Privacy {
    /// What others are told of what was really changed.
    pub fn outward(self, mut changed: Delta) -> Delta {
        changed.drop_local();
        macro_rules! adjust {
            ($list:ident $removals:ident) => {
                changed.$removals.retain(|key| !self.untold.$removals.contains(key));
                changed.$removals.extend(self.withdrawn.$removals);
            };
        }
        for_all!(adjust);
        changed
    }
}

impl Delta {
    /// Takes out what is local.
    pub fn drop_local(&mut self) {
        macro_rules! drop {
            ($list:ident $removals:ident) => {
                self.$list.retain(|e| e.scope != Scope::Local);
            };
        }
        for_all!(drop);
        self.topics.retain(|e| e.scope != Scope::Local);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::core::catalog::ServiceEntry;

    fn service(name: &str, scope: &str, at: f64) -> Arc<ServiceEntry> {
        let value = json!({"name": name, "namespace": "home", "protocol": "tcp", "port": 1, "targets": [], "scope": scope,
            "node_id": "n", "cluster_id": "c", "advertised_at": at, "ttl_seconds": 60});
        Arc::new(serde_json::from_value(value).unwrap())
    }

    #[test]
    fn others_hear_only_of_what_is_not_local() {
        let mut catalog = Catalog::new(100);
        let mut told = |delta: Delta, at: f64| {
            let privacy = catalog.privacy(&delta);
            let told = privacy.outward(catalog.apply_own("n", delta, at).changed);
            let added: Vec<_> = told.services.iter().map(|s| s.name.to_string()).collect();
            let removed: Vec<_> = told.service_removals.iter().map(|k| k.name.to_string()).collect();
            (added, removed)
        };
        let upsert = |services| Delta { services, ..Delta::default() };
        let none = Vec::<String>::new;
        let first = upsert(vec![service("a", "local", 10.0), service("b", "zone", 10.0)]);
        assert_eq!(told(first, 10.0), (vec!["b".to_owned()], none()));
        let turned = upsert(vec![service("a", "zone", 11.0), service("b", "local", 11.0)]);
        assert_eq!(told(turned, 11.0), (vec!["a".to_owned()], vec!["b".to_owned()]));
        let gone = Delta {
            service_removals: [service("a", "zone", 11.0), service("b", "local", 11.0)]
                .map(|s| s.key())
                .into(),
            sent_at: 12.0,
            ..Delta::default()
        };
        assert_eq!(told(gone, 12.0), (none(), vec!["a".to_owned()]));
    }
}
