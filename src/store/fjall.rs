//! The store on disk.
//!
//! An LSM store of its own directory below `persistence.dir`. Opening it tells apart what the operator can mend (the
//! disk, the owner, another process) from damage: a damaged store is renamed and a fresh one begun beside it.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{Batch, Pair, Store, StoreError, Table};

/// Where and how large.
#[derive(Debug, Clone)]
pub struct DiskSettings {
    pub directory: PathBuf,
    pub cache_bytes: u64,
    /// For each table.
    pub memtable_bytes: u64,
}

/// An open store.
pub struct DiskStore {
    database: Database,
    keyspaces: BTreeMap<Table, Keyspace>,
}

/// A store, and what had to be set aside for it.
pub struct Opened {
    pub store: DiskStore,
    /// Where the damaged store is now, and what is wrong with it.
    pub set_aside: Option<(PathBuf, String)>,
}

/// Opens the store, or sets it aside and begins a fresh one where it is damaged. `now` is in seconds since 1970 and
/// names what is set aside.
pub fn open(settings: &DiskSettings, now: u64) -> Result<Opened, StoreError> {
    prepare(&settings.directory)?;
    match DiskStore::open(settings) {
        Ok(store) => Ok(Opened { store, set_aside: None }),
        Err(StoreError::Damaged(fault)) => {
            let aside = set_aside(&settings.directory, now)?;
            let store = DiskStore::open(settings)?;
            Ok(Opened { store, set_aside: Some((aside, fault)) })
        }
        Err(error) => Err(error),
    }
}

/// Makes sure that the directory above the store is there and may be written to.
pub fn prepare(directory: &Path) -> Result<(), StoreError> {
    let above = directory.parent().filter(|p| *p != Path::new("")).unwrap_or(Path::new("."));
    if !above.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(above).map_err(|e| system(&e, above))?;
    }
    let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    for place in [above, directory] {
        if place.exists() {
            rustix::fs::access(place, access).map_err(|e| system(&e.into(), place))?;
        }
    }
    Ok(())
}

/// Renames a damaged store; the new name.
fn set_aside(directory: &Path, now: u64) -> Result<PathBuf, StoreError> {
    let named = |number: u32| {
        let mut name = directory.as_os_str().to_owned();
        name.push(format!(".damaged-{now}"));
        if number > 0 {
            name.push(format!("-{number}"));
        }
        PathBuf::from(name)
    };
    let aside = (0..).map(named).find(|path| !path.exists()).unwrap_or_else(|| named(u32::MAX));
    std::fs::rename(directory, &aside).map_err(|e| system(&e, directory))?;
    Ok(aside)
}

impl DiskStore {
    pub fn open(settings: &DiskSettings) -> Result<DiskStore, StoreError> {
        let place = |error| told(error, &settings.directory);
        let database = Database::builder(&settings.directory)
            .cache_size(settings.cache_bytes)
            .worker_threads(1)
            .open()
            .map_err(place)?;
        let mut keyspaces = BTreeMap::new();
        for table in Table::ALL {
            let options = || KeyspaceCreateOptions::default().max_memtable_size(settings.memtable_bytes);
            keyspaces.insert(table, database.keyspace(table.name(), options).map_err(place)?);
        }
        Ok(DiskStore { database, keyspaces })
    }

    fn keyspace(&self, table: Table) -> Result<&Keyspace, StoreError> {
        self.keyspaces.get(&table).ok_or(StoreError::Closed)
    }
}

impl Store for DiskStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self.keyspace(table)?.get(key).map_err(reading)?;
        Ok(found.map(|record| record.to_vec()))
    }

    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Pair>, StoreError> {
        let mut found = Vec::new();
        for guard in self.keyspace(table)?.prefix(prefix) {
            let (key, record) = guard.into_inner().map_err(reading)?;
            found.push((key.to_vec(), record.to_vec()));
        }
        Ok(found)
    }

    fn apply(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let mut writes = self.database.batch();
        for (table, key, record) in batch.changes() {
            let keyspace = self.keyspace(*table)?;
            match record {
                Some(record) => writes.insert(keyspace, key.as_slice(), record.as_slice()),
                None => writes.remove(keyspace, key.as_slice()),
            }
        }
        writes.commit().map_err(reading)
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.database.persist(PersistMode::SyncAll).map_err(reading)
    }

    fn bytes(&self) -> u64 {
        self.database.disk_space().unwrap_or_default()
    }
}

fn reading(error: fjall::Error) -> StoreError {
    told(error, Path::new("the store"))
}

/// What the operator can mend, apart from damage.
fn told(error: fjall::Error, place: &Path) -> StoreError {
    use io::ErrorKind::*;
    let text = format!("{error:?}");
    let io = match &error {
        fjall::Error::Locked => return StoreError::Locked,
        // The disk refused earlier; what it said then was reported then.
        fjall::Error::Poisoned => {
            return StoreError::System(Other, "the disk refused an earlier write".into());
        }
        fjall::Error::Io(io) | fjall::Error::Storage(fjall::LsmError::Io(io)) => io,
        _ => return StoreError::Damaged(text),
    };
    match io.kind() {
        UnexpectedEof | InvalidData | InvalidInput | NotFound => StoreError::Damaged(text),
        _ => system(io, place),
    }
}

fn system(error: &io::Error, place: &Path) -> StoreError {
    StoreError::System(error.kind(), format!("{}: {error}", place.display()))
}
