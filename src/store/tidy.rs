//! Writing a store anew, so that opening it stays quick.
//!
//! The engine reads its journal from the beginning each time it is opened, also what is in its tables by then, and keeps
//! a journal until it has 64 MB. So a store whose journal has become long is copied into tables of a fresh one beside
//! it, which is read back, and then put into its place in one step. Until that step the old one is the store; where
//! anything fails before, it stays so. A process that ends on the way leaves one of them whole.

use std::path::{Path, PathBuf};

use fjall::{Keyspace, PersistMode};

use super::fjall::{DiskStore, Engine, reading, system};
use super::seal::{self, Witness};
use super::{DiskSettings, StoreError, Table};

/// Where a store is copied to.
pub(super) fn beside(directory: &Path) -> PathBuf {
    let mut name = directory.as_os_str().to_owned();
    name.push(".next");
    PathBuf::from(name)
}

/// Removes what a process left that ended on the way.
pub(super) fn clear(directory: &Path) -> Result<(), StoreError> {
    let beside = beside(directory);
    match std::fs::remove_dir_all(&beside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(system(&error, &beside)),
        _ => Ok(()),
    }
}

/// Writes all records of an open store beside it, durably, and reads them back.
pub(super) fn copy(store: &DiskStore, settings: &DiskSettings) -> Result<(), StoreError> {
    clear(&settings.directory)?;
    let directory = beside(&settings.directory);
    let mut fresh = Engine::open(&DiskSettings { directory: directory.clone(), ..settings.clone() })?;
    for table in Table::SEALED.into_iter().filter(|table| store.seal().tally(*table).records > 0) {
        let mut writing = fresh.make(table)?.start_ingestion().map_err(reading)?;
        for guard in store.keyspace(table).into_iter().flat_map(Keyspace::iter) {
            let (key, record) = guard.into_inner().map_err(reading)?;
            writing.write(&*key, &*record).map_err(reading)?;
        }
        writing.finish().map_err(reading)?;
        if fresh.tally(table)? != store.seal().tally(table) {
            return Err(StoreError::Damaged(format!("a copy of the table {} differs", table.name())));
        }
    }
    fresh.make(Table::Seal)?.insert(seal::KEY, store.seal().record()).map_err(reading)?;
    fresh.persist(PersistMode::SyncAll)?;
    let path = directory.join(super::fjall::WITNESS);
    let noted = Witness::open(&path).and_then(|mut witness| {
        witness.note(store.seal().number)?;
        witness.sync()
    });
    noted.map_err(|e| system(&e, &path))?;
    sync_directory(&directory)
}

/// Puts the copy in the place of the store, neither of which may be open; what was the store is removed.
pub(super) fn replace(directory: &Path) -> Result<(), StoreError> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let beside = beside(directory);
    renameat_with(CWD, &beside, CWD, directory, RenameFlags::EXCHANGE)
        .map_err(|e| system(&e.into(), directory))?;
    let above = directory.parent().filter(|p| *p != Path::new("")).unwrap_or(Path::new("."));
    sync_directory(above)?;
    // Else the next opening removes it.
    let _ = clear(directory);
    Ok(())
}

fn sync_directory(directory: &Path) -> Result<(), StoreError> {
    let synced = std::fs::File::open(directory).and_then(|file| file.sync_all());
    synced.map_err(|e| system(&e, directory))
}
