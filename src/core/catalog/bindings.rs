//! The functions by name, which also binds names and ids one-to-one (fabric.md 6.5).
//!
//! A binding lasts as long as an entry holds it; the end of a lease ends it like a removal does.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{FunctionEntry, FunctionKey, Identity, Text};

#[derive(Debug, Clone, Default)]
pub(super) struct Bindings {
    names: BTreeMap<Text, Bound>,
    ids: BTreeMap<Text, Text>,
}

#[derive(Debug, Clone)]
struct Bound {
    function_id: Text,
    holders: BTreeMap<Arc<FunctionKey>, Arc<FunctionEntry>>,
}

impl Bindings {
    /// What stands against this pair of name and id: the other id of the name, or the other name of the id.
    pub fn conflict(&self, identity: &Identity) -> Option<&Text> {
        match (self.names.get(&identity.name), self.ids.get(&identity.function_id)) {
            (Some(bound), _) if bound.function_id != identity.function_id => Some(&bound.function_id),
            (_, Some(name)) if *name != identity.name => Some(name),
            _ => None,
        }
    }

    pub fn holders(&self, name: &str) -> impl Iterator<Item = &Arc<FunctionEntry>> {
        self.names.get(name).into_iter().flat_map(|bound| bound.holders.values())
    }

    pub fn bind(&mut self, key: Arc<FunctionKey>, entry: Arc<FunctionEntry>) {
        let Identity { name, function_id, .. } = &entry.identity;
        if !self.names.contains_key(name) {
            self.ids.insert(function_id.clone(), name.clone());
            let bound = Bound { function_id: function_id.clone(), holders: BTreeMap::new() };
            self.names.insert(name.clone(), bound);
        }
        if let Some(bound) = self.names.get_mut(&key.identity.name) {
            bound.holders.insert(key, entry);
        }
    }

    /// Another announcement of an entry that is bound.
    pub fn renew(&mut self, key: &FunctionKey, entry: &Arc<FunctionEntry>) {
        let bound = self.names.get_mut(&key.identity.name);
        if let Some(held) = bound.and_then(|bound| bound.holders.get_mut(key)) {
            *held = entry.clone();
        }
    }

    pub fn unbind(&mut self, key: &FunctionKey) {
        if let Some(bound) = self.names.get_mut(&key.identity.name) {
            bound.holders.remove(key);
            if bound.holders.is_empty() {
                self.ids.remove(&bound.function_id);
                self.names.remove(&key.identity.name);
            }
        }
    }
}
