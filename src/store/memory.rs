//! A store that survives nothing, for `persistence.mode = "memory"` and for tests.

use std::collections::BTreeMap;

use super::{Batch, Pair, Store, StoreError, Table};

/// See the module.
#[derive(Debug, Default)]
pub struct MemoryStore {
    records: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
}

impl Store for MemoryStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.records.get(&(table, key.to_vec())).cloned())
    }

    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Pair>, StoreError> {
        let from = self.records.range((table, prefix.to_vec())..);
        let these = from.take_while(|((t, key), _)| *t == table && key.starts_with(prefix));
        Ok(these.map(|((_, key), record)| (key.clone(), record.clone())).collect())
    }

    fn apply(&mut self, batch: &Batch) -> Result<(), StoreError> {
        for (table, key, record) in batch.changes() {
            match record {
                Some(record) => drop(self.records.insert((*table, key.clone()), record.clone())),
                None => drop(self.records.remove(&(*table, key.clone()))),
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.records.iter().map(|((_, key), record)| (key.len() + record.len()) as u64).sum()
    }

    fn tidy(self: Box<Self>) -> Result<Box<dyn Store>, StoreError> {
        Ok(self)
    }
}
