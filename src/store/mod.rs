//! Durable state: tables of checksummed records behind one small trait, in memory or on disk.
//!
//! A batch is applied as a whole or not at all, and is durable after `sync`; [`Writer`] shares one sync among all that
//! wait. A damaged record is set aside and reported, a store that cannot be read is renamed and reported; neither is
//! ever emptied in silence. It knows nothing of what its records mean: that is whoever keeps them.

mod fjall;
mod guard;
mod memory;
mod record;
mod seal;
mod tidy;
mod writer;

pub use fjall::{DiskSettings, DiskStore, Opened, SetAside, open, prepare};
pub use memory::MemoryStore;
pub use record::{Fault, Kind, decode, encode};
pub use writer::{Reopen, Status, Sync, Writer};

/// What kind of state; each is kept apart from the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Entries of other nodes.
    Catalog,
    /// Nodes that this one had links with.
    Peers,
    /// What this node must remember of itself.
    Own,
    /// Route keys of other clusters.
    Keys,
    /// Damaged records, under the name of their table and their key.
    Quarantine,
    /// What a store on disk says of the others.
    Seal,
    /// What was removed, and who died or left: it must not come back.
    Gone,
    /// Who told of which node.
    Tellers,
}

/// Changes that are made together.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    changes: Vec<Change>,
    bytes: usize,
}

/// The record under a key, or its removal.
type Change = (Table, Vec<u8>, Option<Vec<u8>>);

/// Why the store could not do something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreError {
    /// Another process has it open.
    Locked,
    /// The system refused: the disk is full, the directory is not ours; the text says what.
    System(std::io::ErrorKind, String),
    /// What is on the disk cannot be read.
    Damaged(String),
    /// It was written by a later version of this program.
    Newer(String),
    /// More waits to be written than may.
    QueueFull,
    /// The writer has ended.
    Closed,
}

/// Where records are kept.
pub trait Store: Send {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// The records whose keys begin with `prefix`, in the order of their keys.
    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Pair>, StoreError>;
    /// All records of a table, for whoever reads it first: what opening has read already is not read again.
    fn scan_first(&mut self, table: Table) -> Result<Vec<Pair>, StoreError> {
        self.scan(table, &[])
    }
    /// Applies all changes or none. Durable only after [`Store::sync`].
    fn apply(&mut self, batch: &Batch) -> Result<(), StoreError>;
    fn sync(&mut self) -> Result<(), StoreError>;
    /// What it takes where it is kept.
    fn bytes(&self) -> u64;
    /// False where [`Store::tidy`] would make the next opening quicker.
    fn is_tidy(&self) -> bool {
        true
    }
    /// The same store, written anew and synced. After an error it is closed, and as whole as before.
    fn tidy(self: Box<Self>) -> Result<Box<dyn Store>, StoreError>;
}

/// Key and record.
pub type Pair = (Vec<u8>, Vec<u8>);

/// The key of a record that was set aside, and what is wrong with it.
pub type Damaged = (Vec<u8>, Fault);

impl Table {
    pub const ALL: [Table; 8] = [
        Table::Catalog,
        Table::Peers,
        Table::Own,
        Table::Keys,
        Table::Quarantine,
        Table::Seal,
        Table::Gone,
        Table::Tellers,
    ];
    /// In the order in which the seal tells of them; new ones come last.
    const SEALED: [Table; 7] = [
        Table::Catalog,
        Table::Peers,
        Table::Own,
        Table::Keys,
        Table::Quarantine,
        Table::Gone,
        Table::Tellers,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Table::Catalog => "catalog",
            Table::Peers => "peers",
            Table::Own => "own",
            Table::Keys => "keys",
            Table::Quarantine => "quarantine",
            Table::Seal => "seal",
            Table::Gone => "gone",
            Table::Tellers => "tellers",
        }
    }

    /// Whether its records are good one by one, whatever became of others.
    fn bears_gaps(self) -> bool {
        matches!(self, Table::Peers | Table::Own | Table::Gone | Table::Tellers)
    }
}

impl Batch {
    pub fn put(&mut self, table: Table, key: Vec<u8>, record: Vec<u8>) {
        self.bytes += key.len() + record.len();
        self.changes.push((table, key, Some(record)));
    }

    pub fn remove(&mut self, table: Table, key: Vec<u8>) {
        self.bytes += key.len();
        self.changes.push((table, key, None));
    }

    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Of keys and records.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many changes it holds.
    pub fn changes_count(&self) -> usize {
        self.changes.len()
    }

    fn changes(&self) -> &[Change] {
        &self.changes
    }
}

/// Reads one kind of record from a table. What is damaged is moved to the quarantine, durably, before this returns; a
/// record of a later version is an error, because whoever wrote it will want it back. `understand` takes each key and
/// payload in turn; false where it makes no sense of them, which is damage too.
pub fn recover(
    store: &mut dyn Store,
    table: Table,
    kind: Kind,
    mut understand: impl FnMut(&[u8], &[u8]) -> bool,
) -> Result<Vec<Damaged>, StoreError> {
    let mut damaged = Vec::new();
    let mut batch = Batch::default();
    for (key, record) in store.scan_first(table)? {
        let understood = decode(kind, &key, &record)
            .and_then(|payload| if understand(&key, &payload) { Ok(()) } else { Err(Fault::Meaningless) });
        match understood {
            Ok(()) => {}
            Err(Fault::Newer(version)) => {
                let text = format!("a record of the table {} has version {version}", table.name());
                return Err(StoreError::Newer(text));
            }
            Err(fault) => {
                let mut place = format!("{}/", table.name()).into_bytes();
                place.extend_from_slice(&key);
                batch.put(Table::Quarantine, place, record);
                batch.remove(table, key.clone());
                damaged.push((key, fault));
            }
        }
    }
    if !batch.is_empty() {
        store.apply(&batch)?;
        store.sync()?;
    }
    Ok(damaged)
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StoreError::Locked => {
                f.write_str("another process has the store open; stop it or choose another directory")
            }
            StoreError::System(kind, text) => {
                let remedy = match kind {
                    std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                        "make room on the disk"
                    }
                    std::io::ErrorKind::FileTooLarge => {
                        "let its files become larger (LimitFSIZE= of the unit, ulimit -f)"
                    }
                    std::io::ErrorKind::ReadOnlyFilesystem => {
                        "mount it writable (ReadWritePaths= of the unit) or choose another directory"
                    }
                    std::io::ErrorKind::PermissionDenied => {
                        "let the user of the node own the directory, or choose another"
                    }
                    _ => "look at the disk and the directory",
                };
                write!(f, "{text}; {remedy}")
            }
            StoreError::Damaged(text) => write!(f, "the store is damaged: {text}"),
            StoreError::Newer(text) => {
                write!(
                    f,
                    "{text}, which this program does not know; use the newer program or move the store away"
                )
            }
            StoreError::QueueFull => f.write_str("more waits to be written than may; the disk is too slow"),
            StoreError::Closed => f.write_str("the store is closed"),
        }
    }
}

impl std::error::Error for StoreError {}

#[cfg(test)]
mod tests;
