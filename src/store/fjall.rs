//! The store on disk.
//!
//! An LSM store of its own directory below `persistence.dir`. Opening it tells apart what the operator can mend (the
//! disk, the owner, another process) from damage. The engine drops the damaged end of its journal in silence, and
//! directories that it misses the mark of; so what is there is held against the seal and the witness. A damaged store
//! is renamed, and a fresh one begun beside it with those tables that are whole or that do no harm with gaps.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::guard::{broken, guarded};
use super::seal::{self, Seal, Tally, Witness};
use super::tidy;
use super::{Batch, Fault, Pair, Store, StoreError, Table};

/// Where and how large.
#[derive(Debug, Clone)]
pub struct DiskSettings {
    pub directory: PathBuf,
    pub cache_bytes: u64,
    /// For the catalog; other tables have less.
    pub memtable_bytes: u64,
}

/// An open store.
pub struct DiskStore {
    settings: DiskSettings,
    engine: Engine,
    seal: Seal,
    witness: Witness,
    /// What the check at opening has read and nobody has taken or changed since.
    read: BTreeMap<Table, Vec<Pair>>,
    /// About what the engine would read of its journal if it were opened now, and how much of that is borne.
    journal_bytes: u64,
    journal_bytes_max: u64,
}

/// The storage engine with its tables. One that nothing was ever written to does not exist: to make it takes a dozen
/// syncs, for which no start shall wait.
pub(super) struct Engine {
    database: Database,
    keyspaces: BTreeMap<Table, Keyspace>,
    settings: DiskSettings,
}

/// A store, and what had to be set aside for it.
pub struct Opened {
    pub store: DiskStore,
    pub set_aside: Option<SetAside>,
}

/// A damaged store that was renamed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    pub path: PathBuf,
    /// What is wrong with it.
    pub fault: String,
    /// Records that the fresh store has from it, of each table.
    pub carried: Vec<(Table, usize)>,
}

/// What can still be had from a damaged store.
type Remains = Vec<(Table, Vec<Pair>)>;

/// Opens the store, or sets it aside and begins a fresh one where it is damaged. `now` is in seconds since 1970 and
/// names what is set aside.
pub fn open(settings: &DiskSettings, now: u64) -> Result<Opened, StoreError> {
    prepare(&settings.directory)?;
    // Where it cannot be cleared, that is told when the place is needed.
    let _ = tidy::clear(&settings.directory);
    let looked = guarded(&settings.directory, || match DiskStore::look(settings)? {
        (store, None) => Ok(Ok(store)),
        (store, Some(fault)) => Ok(Err((fault, store.remains()))),
    });
    let (fault, remains) = match looked {
        Ok(Ok(store)) => return Ok(Opened { store, set_aside: None }),
        Ok(Err(damage)) => damage,
        Err(StoreError::Damaged(fault)) => (fault, Remains::new()),
        Err(error) => return Err(error),
    };
    let path = set_aside(&settings.directory, now)?;
    let mut store = DiskStore::open(settings)?;
    let mut carried = Vec::new();
    for (table, records) in remains {
        carried.push((table, records.len()));
        let mut batch = Batch::default();
        records.into_iter().for_each(|(key, record)| batch.put(table, key, record));
        store.apply(&batch)?;
    }
    store.sync()?;
    Ok(Opened { store, set_aside: Some(SetAside { path, fault, carried }) })
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
        match guarded(&settings.directory, || DiskStore::look(settings))? {
            (store, None) => Ok(store),
            (_, Some(fault)) => Err(StoreError::Damaged(fault)),
        }
    }

    /// Opens the store, and tells what is wrong with it where it could be opened all the same.
    fn look(settings: &DiskSettings) -> Result<(DiskStore, Option<String>), StoreError> {
        let directory = &settings.directory;
        let witness_path = directory.join(WITNESS);
        examine(directory)?;
        let is_new = !directory.join("version").exists();
        let engine = Engine::open(settings)?;
        let witness = Witness::open(&witness_path).map_err(|e| system(&e, &witness_path))?;
        // A new journal is as long as the engine lets it become, and empty.
        let journal_bytes = if is_new { 0 } else { engine.database.journal_disk_space().unwrap_or_default() };
        let mut store = DiskStore {
            settings: settings.clone(),
            engine,
            seal: Seal::default(),
            witness,
            read: BTreeMap::new(),
            journal_bytes,
            journal_bytes_max: 0,
        };
        let fault = store.check()?;
        store.bear();
        Ok((store, fault))
    }

    /// Sets how long the journal may become: a part of what would have to be written anew.
    fn bear(&mut self) {
        let bytes =
            |pairs: &Vec<Pair>| pairs.iter().map(|(key, record)| key.len() + record.len()).sum::<usize>();
        let all: usize = self.read.values().map(bytes).sum();
        self.journal_bytes_max = TIDY_BYTES_LEAST.max(all as u64 / 4);
    }

    /// Holds what is there against the seal and the witness.
    fn check(&mut self) -> Result<Option<String>, StoreError> {
        match self.get(Table::Seal, seal::KEY) {
            Ok(None) => {}
            Ok(Some(record)) => match Seal::read(&record) {
                Ok(seal) => self.seal = seal,
                Err(Fault::Newer(version)) => {
                    return Err(StoreError::Newer(format!("the seal of the store has version {version}")));
                }
                Err(fault) => return Ok(Some(format!("its seal is {fault}"))),
            },
            Err(error) => return Ok(Some(format!("its seal cannot be read: {error}"))),
        }
        let mut faults = Vec::new();
        match self.witness.synced() {
            Ok(synced) if synced > self.seal.number => {
                faults
                    .push(format!("the last {} of {synced} batches are missing", synced - self.seal.number));
            }
            Ok(_) => {}
            Err(()) => faults.push(format!("the file {WITNESS} makes no sense")),
        }
        for table in Table::SEALED {
            let sealed = self.seal.tally(table);
            match self.tally_at_opening(table) {
                Ok(found) if found == sealed => {}
                Ok(found) => faults.push(format!(
                    "the table {} has {} records that do not add up to the {} that were written",
                    table.name(),
                    found.records,
                    sealed.records
                )),
                Err(error) => faults.push(format!("the table {} cannot be read: {error}", table.name())),
            }
        }
        Ok((!faults.is_empty()).then(|| faults.join("; ")))
    }

    /// As [`DiskStore::tally`]; the records are kept for who reads the table next. Nobody reads the quarantine.
    fn tally_at_opening(&mut self, table: Table) -> Result<Tally, StoreError> {
        if table == Table::Quarantine {
            return self.tally(table);
        }
        let records = self.scan(table, &[])?;
        let mut tally = Tally::default();
        records.iter().for_each(|(key, record)| tally.add(seal::weight(key, record)));
        self.read.insert(table, records);
        Ok(tally)
    }

    fn tally(&self, table: Table) -> Result<Tally, StoreError> {
        self.engine.tally(table)
    }

    pub(super) fn seal(&self) -> &Seal {
        &self.seal
    }

    /// What of a damaged store may go on: tables that nothing is missing from, and those in which a gap, or a record
    /// that had been removed, does no harm. An entry or a key that was removed must never come back.
    fn remains(self) -> Remains {
        let is_latest = self.witness.synced().is_ok_and(|synced| synced <= self.seal.number);
        let may = |table: &Table| {
            let is_whole = || self.tally(*table).is_ok_and(|found| found == self.seal.tally(*table));
            table.bears_gaps() || is_latest && is_whole()
        };
        let mut remains = Remains::new();
        for table in Table::SEALED.into_iter().filter(may) {
            let mut readable = Vec::new();
            if let Some(keyspace) = self.keyspace(table) {
                // After an error the engine may have lost its way.
                let pairs = keyspace.iter().map_while(|guard| guard.into_inner().ok());
                readable.extend(pairs.map(|(key, record)| (key.to_vec(), record.to_vec())));
            }
            remains.push((table, readable));
        }
        remains
    }

    pub(super) fn keyspace(&self, table: Table) -> Option<&Keyspace> {
        self.engine.keyspace(table)
    }

    /// As [`Store::tidy`].
    pub(super) fn tidied(mut self: Box<Self>) -> Result<Box<DiskStore>, StoreError> {
        let settings = self.settings.clone();
        if let Err(error) = tidy::copy(&self, &settings) {
            log::warn!("persistence.dir: the store could not be written anew and stays as it is: {error}");
            let _ = tidy::clear(&settings.directory);
            // There may be room, or rights, later.
            self.journal_bytes_max = self.journal_bytes * 2;
            return Ok(self);
        }
        drop(self);
        let replaced = tidy::replace(&settings.directory);
        let mut store = DiskStore::open(&settings)?;
        store.read.clear();
        if let Err(error) = replaced {
            log::warn!(
                "persistence.dir: the store could not be replaced by its copy and stays as it is: {error}"
            );
            store.journal_bytes_max = store.journal_bytes * 2;
        }
        Ok(Box::new(store))
    }

    #[cfg(test)]
    pub(super) fn engine_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }
}

impl Engine {
    pub fn open(settings: &DiskSettings) -> Result<Engine, StoreError> {
        let directory = &settings.directory;
        let place = |error| told(error, directory);
        let database = Database::builder(directory)
            .cache_size(settings.cache_bytes)
            .max_journaling_size((settings.memtable_bytes * 4).max(JOURNAL_BYTES_LEAST))
            .worker_threads(1)
            .open()
            .map_err(place)?;
        let mut engine = Engine { database, keyspaces: BTreeMap::new(), settings: settings.clone() };
        for table in Table::ALL {
            if engine.database.keyspace_exists(table.name()) {
                engine.make(table)?;
            }
        }
        Ok(engine)
    }

    /// `None` where nothing was ever written to it.
    pub fn keyspace(&self, table: Table) -> Option<&Keyspace> {
        self.keyspaces.get(&table)
    }

    /// Opens the table; makes it where it does not exist.
    pub fn make(&mut self, table: Table) -> Result<&Keyspace, StoreError> {
        if !self.keyspaces.contains_key(&table) {
            let DiskSettings { directory, memtable_bytes, .. } = &self.settings;
            let bytes = if table == Table::Catalog { *memtable_bytes } else { SMALL_MEMTABLE_BYTES };
            let options = || KeyspaceCreateOptions::default().max_memtable_size(bytes);
            let keyspace = self.database.keyspace(table.name(), options).map_err(|e| told(e, directory))?;
            self.keyspaces.insert(table, keyspace);
        }
        self.keyspaces.get(&table).ok_or(StoreError::Closed)
    }

    pub fn tally(&self, table: Table) -> Result<Tally, StoreError> {
        let mut tally = Tally::default();
        for guard in self.keyspace(table).into_iter().flat_map(Keyspace::iter) {
            let (key, record) = guard.into_inner().map_err(reading)?;
            tally.add(seal::weight(&key, &record));
        }
        Ok(tally)
    }

    /// What is in its journal and not in tables.
    #[cfg(test)]
    pub fn write_buffer_bytes(&self) -> u64 {
        self.database.write_buffer_size()
    }

    pub fn persist(&self, mode: PersistMode) -> Result<(), StoreError> {
        self.database.persist(mode).map_err(reading)
    }
}

impl Store for DiskStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(keyspace) = self.keyspace(table) else { return Ok(None) };
        Ok(keyspace.get(key).map_err(reading)?.map(|record| record.to_vec()))
    }

    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Pair>, StoreError> {
        let mut found = Vec::new();
        for guard in self.keyspace(table).into_iter().flat_map(|keyspace| keyspace.prefix(prefix)) {
            let (key, record) = guard.into_inner().map_err(reading)?;
            found.push((key.to_vec(), record.to_vec()));
        }
        Ok(found)
    }

    fn scan_first(&mut self, table: Table) -> Result<Vec<Pair>, StoreError> {
        self.read.remove(&table).map_or_else(|| self.scan(table, &[]), Ok)
    }

    fn apply(&mut self, batch: &Batch) -> Result<(), StoreError> {
        for (table, ..) in batch.changes() {
            self.read.remove(table);
        }
        let stored = |table, key: &[u8]| {
            let Some(keyspace) = self.keyspace(table) else { return Ok(None) };
            Ok(keyspace.get(key).map_err(reading)?.map(|record| seal::weight(key, &record)))
        };
        let seal = self.seal.after(batch, stored)?;
        let mut writes = self.engine.database.batch();
        for (table, key, record) in batch.changes() {
            match (record, self.engine.keyspace(*table)) {
                (Some(record), _) => {
                    writes.insert(self.engine.make(*table)?, key.as_slice(), record.as_slice());
                }
                (None, Some(keyspace)) => writes.remove(keyspace, key.as_slice()),
                (None, None) => {}
            }
        }
        writes.insert(self.engine.make(Table::Seal)?, seal::KEY, seal.record());
        writes.commit().map_err(reading)?;
        self.journal_bytes += (batch.bytes() + (batch.changes_count() + 1) * JOURNAL_ITEM_BYTES) as u64;
        self.seal = seal;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.engine.persist(PersistMode::SyncAll)?;
        self.witness.note(self.seal.number).map_err(|e| system(&e, Path::new(WITNESS)))
    }

    fn bytes(&self) -> u64 {
        self.engine.database.disk_space().unwrap_or_default()
    }

    fn is_tidy(&self) -> bool {
        self.journal_bytes <= self.journal_bytes_max
    }

    fn tidy(self: Box<Self>) -> Result<Box<dyn Store>, StoreError> {
        Ok(self.tidied()?)
    }
}

impl Drop for DiskStore {
    fn drop(&mut self) {
        // An older word is as true.
        let _ = self.witness.sync();
    }
}

/// Looks for damage at which the engine would begin anew, or delete.
fn examine(directory: &Path) -> Result<(), StoreError> {
    let damaged = |text: String| Err(StoreError::Damaged(text));
    if let Some(fault) = broken(directory) {
        return damaged(fault);
    }
    if directory.join(WITNESS).exists() && !directory.join("version").exists() {
        return damaged("the file version is missing".into());
    }
    let keyspaces = match directory.join("keyspaces").read_dir() {
        Ok(keyspaces) => keyspaces,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(system(&error, directory)),
    };
    for keyspace in keyspaces {
        let path = keyspace.map_err(|e| system(&e, directory))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() && name.parse::<u64>().is_err() {
            return damaged(format!("the directory keyspaces/{name} does not belong there"));
        }
        let has_tables = path.join("tables").read_dir().is_ok_and(|mut tables| tables.next().is_some());
        if has_tables && !path.join("current").exists() {
            return damaged(format!("the file keyspaces/{name}/current is missing"));
        }
    }
    Ok(())
}

pub(super) fn reading(error: fjall::Error) -> StoreError {
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

pub(super) fn system(error: &io::Error, place: &Path) -> StoreError {
    StoreError::System(error.kind(), format!("{}: {error}", place.display()))
}

/// Beside the files of the engine.
pub(super) const WITNESS: &str = "witness";
/// Of all tables but the catalog, which hold little.
const SMALL_MEMTABLE_BYTES: u64 = 1 << 20;
/// Reading so much of a journal back takes some 15 ms, whatever the size of the store.
const TIDY_BYTES_LEAST: u64 = 2 << 20;
/// About what the engine adds to each change, and the seal of a batch.
const JOURNAL_ITEM_BYTES: usize = 150;
/// What the engine asks for at least.
const JOURNAL_BYTES_LEAST: u64 = 64 << 20;
