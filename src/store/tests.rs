//! Both stores do the same; damage is set aside; one sync serves many.

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;
use std::time::Duration;

use super::*;

mod damage;
mod kills;

fn settings(directory: &Path) -> DiskSettings {
    DiskSettings { directory: directory.join("store"), cache_bytes: 1 << 20, memtable_bytes: 8 << 20 }
}

fn put(table: Table, key: &[u8]) -> Batch {
    let mut batch = Batch::default();
    batch.put(table, key.to_vec(), encode(Kind::Peer, key, b"payload"));
    batch
}

fn check(store: &mut dyn Store) {
    let mut batch = put(Table::Peers, b"a1");
    batch.put(Table::Peers, b"a2".to_vec(), b"2".to_vec());
    batch.put(Table::Peers, b"b".to_vec(), b"3".to_vec());
    batch.put(Table::Catalog, b"a1".to_vec(), b"4".to_vec());
    store.apply(&batch).unwrap();
    let mut batch = Batch::default();
    batch.remove(Table::Peers, b"a1".to_vec());
    store.apply(&batch).unwrap();
    store.sync().unwrap();
    assert_eq!(store.scan(Table::Peers, b"a").unwrap(), [(b"a2".to_vec(), b"2".to_vec())]);
    assert_eq!(store.scan(Table::Peers, b"").unwrap().len(), 2);
    assert_eq!(store.get(Table::Catalog, b"a1").unwrap(), Some(b"4".to_vec()));
    assert_eq!(store.get(Table::Peers, b"a1").unwrap(), None);
    assert!(store.bytes() > 0);
}

#[test]
fn both_stores_do_the_same_and_the_one_on_disk_remembers() {
    check(&mut MemoryStore::default());
    let place = tempfile::tempdir().unwrap();
    check(&mut open(&settings(place.path()), 7).unwrap().store);
    let opened = open(&settings(place.path()), 7).unwrap();
    assert!(opened.set_aside.is_none());
    assert_eq!(opened.store.scan(Table::Peers, b"").unwrap().len(), 2);
    assert_eq!(DiskStore::open(&settings(place.path())).err(), Some(StoreError::Locked));
}

#[test]
fn a_damaged_record_is_set_aside_and_the_others_are_read() {
    let mut store = MemoryStore::default();
    let mut batch = put(Table::Peers, b"good");
    let mut bad = encode(Kind::Peer, b"bad", b"payload");
    bad[12] ^= 1;
    batch.put(Table::Peers, b"bad".to_vec(), bad.clone());
    store.apply(&batch).unwrap();
    store.apply(&put(Table::Peers, b"odd")).unwrap();
    let mut good = Vec::new();
    let understand = |key: &[u8], payload: &[u8]| {
        good.push((key.to_vec(), payload.to_vec()));
        key != b"odd"
    };
    let set_aside = recover(&mut store, Table::Peers, Kind::Peer, understand).unwrap();
    assert_eq!(good[0], (b"good".to_vec(), b"payload".to_vec()));
    assert_eq!(set_aside, [(b"bad".to_vec(), Fault::Checksum), (b"odd".to_vec(), Fault::Meaningless)]);
    assert_eq!(store.get(Table::Quarantine, b"peers/bad").unwrap(), Some(bad));
    assert_eq!(store.get(Table::Peers, b"bad").unwrap(), None);
    assert!(store.get(Table::Quarantine, b"peers/odd").unwrap().is_some());
    assert!(recover(&mut store, Table::Peers, Kind::Peer, |_, _| true).unwrap().is_empty());
}

#[test]
fn a_store_that_cannot_be_opened_is_renamed_and_a_fresh_one_begun() {
    let place = tempfile::tempdir().unwrap();
    let settings = settings(place.path());
    let mut opened = open(&settings, 7).unwrap();
    opened.store.apply(&put(Table::Peers, b"a")).unwrap();
    opened.store.sync().unwrap();
    drop(opened);
    let version = settings.directory.join("version");
    let mut bytes = fs::read(&version).unwrap();
    bytes.iter_mut().for_each(|byte| *byte ^= 0x55);
    fs::write(&version, bytes).unwrap();
    let opened = open(&settings, 7).unwrap();
    let aside = opened.set_aside.unwrap();
    assert_eq!(aside.path, place.path().join("store.damaged-7"));
    assert!(aside.path.is_dir());
    assert!(opened.store.scan(Table::Peers, b"").unwrap().is_empty());
}

#[test]
fn a_directory_that_is_a_file_is_told() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("a"), "").unwrap();
    let told = open(&settings(&place.path().join("a")), 7).err().unwrap();
    assert!(matches!(told, StoreError::System(..)), "{told:?}");
}

/// A store whose syncs wait for a word, and fail if it says so.
struct Slow {
    go: mpsc::Receiver<bool>,
}

impl Store for Slow {
    fn get(&self, _: Table, _: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }
    fn scan(&self, _: Table, _: &[u8]) -> Result<Vec<Pair>, StoreError> {
        Ok(Vec::new())
    }
    fn apply(&mut self, _: &Batch) -> Result<(), StoreError> {
        Ok(())
    }
    fn sync(&mut self) -> Result<(), StoreError> {
        match self.go.recv() {
            Ok(true) => Ok(()),
            _ => Err(StoreError::System(std::io::ErrorKind::StorageFull, "full".into())),
        }
    }
    fn bytes(&self) -> u64 {
        1
    }
    fn tidy(self: Box<Self>) -> Result<Box<dyn Store>, StoreError> {
        Ok(self)
    }
}

#[test]
fn one_sync_serves_all_that_wait_the_queue_is_bounded_and_a_failure_heals() {
    let (go, wait) = mpsc::channel();
    let reopen = Box::new(|| Ok((Box::new(MemoryStore::default()) as Box<dyn Store>, 3)));
    let writer = Writer::start(Box::new(Slow { go: wait }), reopen, Sync::Commit, 1000).unwrap();
    let first = writer.submit(put(Table::Peers, b"0")).unwrap();
    let mut answers = Vec::new();
    let refused = loop {
        match writer.submit(put(Table::Peers, b"k")) {
            Ok(answer) => answers.push(answer),
            Err(error) => break error,
        }
    };
    assert_eq!(refused, StoreError::QueueFull);
    assert!(answers.len() > 10 && writer.status().queue_bytes.load(Relaxed) <= 1000);
    assert!(first.is_empty(), "no answer before a sync");
    go.send(true).unwrap();
    assert_eq!(smol::block_on(first.recv()).unwrap(), Ok(()));
    go.send(true).unwrap();
    // What was queued before the first group was taken went with it.
    for answer in &answers {
        assert_eq!(smol::block_on(answer.recv()).unwrap(), Ok(()));
    }
    assert!(writer.status().syncs.load(Relaxed) <= 2);
    let spare = writer.status().syncs.load(Relaxed) == 1;
    if spare {
        assert!(smol::block_on(writer.commit(put(Table::Peers, b"s"))).is_ok());
    }
    go.send(false).unwrap();
    assert!(smol::block_on(writer.commit(put(Table::Peers, b"f"))).is_err());
    assert!(writer.status().failing.load(Relaxed));
    assert!(smol::block_on(writer.commit(put(Table::Peers, b"g"))).is_ok());
    assert!(!writer.status().failing.load(Relaxed));
    assert_eq!(writer.status().set_aside.load(Relaxed), 3, "what was set aside on the way is counted");
    assert_eq!(writer.status().reopened.load(Relaxed), 1);
}

#[test]
fn with_an_interval_the_answer_does_not_wait_for_the_sync() {
    let (go, wait) = mpsc::channel();
    let reopen = Box::new(|| Err(StoreError::Closed));
    let every = Sync::Every(Duration::from_secs(3600));
    let writer = Writer::start(Box::new(Slow { go: wait }), reopen, every, 1000).unwrap();
    assert_eq!(smol::block_on(writer.commit(put(Table::Peers, b"a"))), Ok(()));
    assert_eq!(writer.status().syncs.load(Relaxed), 0);
    go.send(true).unwrap();
    drop(writer);
}

#[test]
fn what_opening_has_read_is_given_once_and_never_when_it_was_changed() {
    let place = tempfile::tempdir().unwrap();
    let settings = settings(place.path());
    let put = |store: &mut DiskStore, table, key: &[u8]| {
        store.apply(&put(table, key)).unwrap();
        store.sync().unwrap();
    };
    let keys = |found: Vec<Pair>| found.into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    let mut store = open(&settings, 7).unwrap().store;
    put(&mut store, Table::Peers, b"a");
    put(&mut store, Table::Keys, b"k");
    drop(store);
    let mut store = open(&settings, 7).unwrap().store;
    put(&mut store, Table::Peers, b"b");
    assert_eq!(keys(store.scan_first(Table::Peers).unwrap()), [b"a", b"b"]);
    assert_eq!(keys(store.scan_first(Table::Keys).unwrap()), [b"k"]);
    put(&mut store, Table::Keys, b"l");
    assert_eq!(keys(store.scan_first(Table::Keys).unwrap()), [b"k", b"l"]);
}
