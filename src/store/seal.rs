//! What a store on disk says of itself, so that no loss goes unnoticed.
//!
//! The seal is written with each batch: the number of the batch, and of each table how many records it holds and the
//! sum of them all. A store whose tables do not add up to its seal has lost something, or has got something back. The
//! witness is a small file beside: the number of the last batch that was synced. Batches after it may be missing,
//! none before it. A store that was cut off cleanly is noticed by this alone.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::{Batch, Fault, Kind, Table, decode, encode};

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seal {
    /// Of the last batch.
    pub number: u64,
    tallies: BTreeMap<Table, Tally>,
}

/// Of one table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub records: u64,
    sum: u64,
}

/// Two places for the number of the last synced batch; they are written in turns, so that one of them is whole.
#[derive(Debug)]
pub struct Witness {
    file: File,
    synced: u64,
    /// What was in the file made no sense.
    is_damaged: bool,
}

impl Seal {
    /// The key and the record under which it is stored.
    pub fn record(&self) -> Vec<u8> {
        let mut payload = self.number.to_le_bytes().to_vec();
        for table in Table::SEALED {
            let tally = self.tally(table);
            payload.extend_from_slice(&tally.records.to_le_bytes());
            payload.extend_from_slice(&tally.sum.to_le_bytes());
        }
        encode(Kind::Seal, KEY, &payload)
    }

    pub fn read(record: &[u8]) -> Result<Seal, Fault> {
        let payload = decode(Kind::Seal, KEY, record)?;
        let mut numbers =
            payload.chunks_exact(8).filter_map(|b| Some(u64::from_le_bytes(b.try_into().ok()?)));
        let mut seal = Seal { number: numbers.next().ok_or(Fault::TooShort)?, tallies: BTreeMap::new() };
        // A table that came later is not told of, and was empty.
        for table in Table::SEALED {
            if let (Some(records), Some(sum)) = (numbers.next(), numbers.next()) {
                seal.tallies.insert(table, Tally { records, sum });
            }
        }
        Ok(seal)
    }

    pub fn tally(&self, table: Table) -> Tally {
        self.tallies.get(&table).copied().unwrap_or_default()
    }

    /// The seal after `batch`; `stored` reads what is there before it.
    pub fn after<E>(
        &self,
        batch: &Batch,
        mut stored: impl FnMut(Table, &[u8]) -> Result<Option<u64>, E>,
    ) -> Result<Seal, E> {
        let mut last = BTreeMap::new();
        for (table, key, record) in batch.changes() {
            last.insert((*table, key.as_slice()), record.as_deref());
        }
        let mut next = self.clone();
        next.number += 1;
        for ((table, key), record) in last {
            let before = stored(table, key)?;
            let tally = next.tallies.entry(table).or_default();
            if let Some(weight) = before {
                tally.records = tally.records.wrapping_sub(1);
                tally.sum = tally.sum.wrapping_sub(weight);
            }
            if let Some(record) = record {
                tally.add(weight(key, record));
            }
        }
        Ok(next)
    }
}

impl Tally {
    pub fn add(&mut self, weight: u64) {
        self.records = self.records.wrapping_add(1);
        self.sum = self.sum.wrapping_add(weight);
    }
}

/// What a record adds to the sum of its table.
pub fn weight(key: &[u8], record: &[u8]) -> u64 {
    let mut sum = Xxh3::new();
    sum.update(&(key.len() as u64).to_le_bytes());
    sum.update(key);
    sum.update(record);
    sum.digest()
}

impl Witness {
    /// Opens or makes the file.
    pub fn open(path: &Path) -> io::Result<Witness> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let mut slots = [0; 2 * SLOT_BYTES as usize];
        let length = file.metadata()?.len().min(slots.len() as u64) as usize;
        file.read_exact_at(slots.get_mut(..length).unwrap_or_default(), 0)?;
        // A file that was made just before the power went may be there without its content.
        let is_blank = slots.iter().all(|byte| *byte == 0);
        let synced = slots.chunks_exact(SLOT_BYTES as usize).filter_map(in_slot).max();
        Ok(Witness { file, synced: synced.unwrap_or(0), is_damaged: !is_blank && synced.is_none() })
    }

    /// The last batch of which it is known that it was synced; `Err` where the file was damaged.
    pub fn synced(&self) -> Result<u64, ()> {
        if self.is_damaged { Err(()) } else { Ok(self.synced) }
    }

    /// Batch `number` is synced. That the word itself is on the disk is not waited for: a process that is killed does
    /// not take it along, and after a loss of power an older word is as true.
    pub fn note(&mut self, number: u64) -> io::Result<()> {
        if number == self.synced && !self.is_damaged {
            return Ok(());
        }
        let mut slot = number.to_le_bytes().to_vec();
        slot.extend_from_slice(&xxh3_64(&slot).to_le_bytes());
        self.file.write_all_at(&slot, (number % 2) * SLOT_BYTES)?;
        self.synced = number;
        self.is_damaged = false;
        Ok(())
    }

    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn in_slot(slot: &[u8]) -> Option<u64> {
    let (number, sum) = slot.split_first_chunk::<8>()?;
    (xxh3_64(number).to_le_bytes() == *sum).then(|| u64::from_le_bytes(*number))
}

/// The one key of [`Table::Seal`].
pub const KEY: &[u8] = b"seal";
/// A number and its checksum.
const SLOT_BYTES: u64 = 16;

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The sums follow whatever is written, as if all had been added up anew.
        #[test]
        fn a_seal_is_the_sum_of_what_is_there(
            batches in prop::collection::vec(
                prop::collection::vec((0u8..6, prop::option::of(any::<u8>())), 0..6), 0..20)
        ) {
            let mut model = BTreeMap::<Vec<u8>, Vec<u8>>::new();
            let mut seal = Seal::default();
            for changes in batches {
                let mut batch = Batch::default();
                for (key, record) in &changes {
                    match record {
                        Some(record) => batch.put(Table::Peers, vec![*key], vec![*record]),
                        None => batch.remove(Table::Peers, vec![*key]),
                    }
                }
                let stored = |_, key: &[u8]| Ok::<_, Infallible>(model.get(key).map(|r| weight(key, r)));
                seal = seal.after(&batch, stored).unwrap();
                for (key, record) in changes {
                    match record {
                        Some(record) => drop(model.insert(vec![key], vec![record])),
                        None => drop(model.remove(&vec![key])),
                    }
                }
                let mut sum = Tally::default();
                model.iter().for_each(|(key, record)| sum.add(weight(key, record)));
                prop_assert_eq!(seal.tally(Table::Peers), sum);
                let read = Seal::read(&seal.record()).unwrap();
                prop_assert_eq!((read.number, read.tally(Table::Peers)), (seal.number, sum));
            }
        }
    }

    #[test]
    fn a_witness_survives_a_torn_write_and_says_where_it_is_damaged() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("witness");
        let mut witness = Witness::open(&path).unwrap();
        assert_eq!(witness.synced(), Ok(0));
        witness.note(7).unwrap();
        witness.note(8).unwrap();
        assert_eq!(Witness::open(&path).unwrap().synced(), Ok(8));
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[3] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(Witness::open(&path).unwrap().synced(), Ok(7));
        bytes[20] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let mut damaged = Witness::open(&path).unwrap();
        assert_eq!(damaged.synced(), Err(()));
        damaged.note(9).unwrap();
        assert_eq!(Witness::open(&path).unwrap().synced(), Ok(9));
    }
}
