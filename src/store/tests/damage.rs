//! Whatever happens to the files of a store: it holds what was written, or says that it does not.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;

/// All records of a store.
type Content = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

fn content(store: &DiskStore) -> Content {
    let tables = [Table::Catalog, Table::Peers, Table::Own, Table::Gone];
    let all = tables.into_iter().flat_map(|table| {
        let pairs = store.scan(table, b"").unwrap();
        pairs.into_iter().map(move |(key, record)| ((table, key), record))
    });
    all.collect()
}

/// Writes `batches`, each synced; some records are overwritten and some removed.
fn fill(settings: &DiskSettings, batches: u32, record_bytes: usize) -> Content {
    let mut store = open(settings, 7).unwrap().store;
    for n in 0..batches {
        let mut batch = Batch::default();
        let key = format!("functions/{}", n % (batches * 2 / 3 + 1)).into_bytes();
        batch.put(Table::Catalog, key.clone(), encode(Kind::Entries, &key, &noise(n, record_bytes)));
        batch.put(Table::Peers, vec![(n % 5) as u8], encode(Kind::Peer, &[(n % 5) as u8], &noise(n, 20)));
        if n % 7 == 6 {
            batch.remove(Table::Catalog, format!("functions/{}", n - 3).into_bytes());
        }
        batch.put(Table::Own, b"floor".to_vec(), encode(Kind::Floor, b"floor", &n.to_le_bytes()));
        store.apply(&batch).unwrap();
        if n % 16 == 0 || n + 1 == batches {
            store.sync().unwrap();
        }
    }
    content(&store)
}

/// Bytes that no compression makes shorter.
pub fn noise(seed: u32, length: usize) -> Vec<u8> {
    let word =
        |n: usize| xxhash_rust::xxh3::xxh3_64(&[seed.to_le_bytes(), (n as u32).to_le_bytes()].concat());
    (0..length.div_ceil(8)).flat_map(|n| word(n).to_le_bytes()).take(length).collect()
}

pub fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(file, target).unwrap();
    }
}

/// Does something to a copy of a store; true where it was noticed. What is left after it must be what was there before.
///
/// The engine may end the process over it, so that a process of its own opens the store, as often as a service would be
/// started again.
fn is_noticed(filled: &DiskSettings, before: u64, harm: impl Fn(&Path), what: &str) -> bool {
    let place = filled.directory.with_extension("copy");
    copy(&filled.directory, &place);
    harm(&place);
    for _ in 0..STARTS_MAX {
        let probe = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::tests::damage::probe", "--nocapture"])
            .env(PROBE, &place)
            .env("RUST_BACKTRACE", "0")
            .output()
            .unwrap();
        if probe.status.success() {
            let told = String::from_utf8_lossy(&probe.stdout).into_owned();
            let is_noticed = told.contains("noticed");
            assert!(is_noticed || told.contains(&format!("whole {before}")), "{what}: unnoticed: {told}");
            return is_noticed;
        }
    }
    panic!("{what}: the store breaks each start");
}

/// What the process does that opens a store for another test.
#[test]
fn probe() {
    let Some(directory) = std::env::var_os(PROBE).map(PathBuf::from) else { return };
    let settings = DiskSettings { directory, cache_bytes: 1 << 20, memtable_bytes: 64 << 10 };
    match DiskStore::open(&settings) {
        Ok(store) => println!("whole {}", digest(&content(&store))),
        Err(StoreError::Damaged(fault)) => println!("noticed: {fault}"),
        Err(other) => panic!("{other}"),
    }
}

fn digest(content: &Content) -> u64 {
    let mut sum = xxhash_rust::xxh3::Xxh3::new();
    for ((table, key), record) in content {
        sum.update(table.name().as_bytes());
        sum.update(key);
        sum.update(record);
    }
    sum.digest()
}

const PROBE: &str = "MPREG_TEST_STORE";
const STARTS_MAX: usize = 3;

fn flip(path: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x55], at).unwrap();
}

fn cut(path: &Path, length: u64) {
    OpenOptions::new().write(true).open(path).unwrap().set_len(length).unwrap();
}

/// The length without the room that was taken in advance.
fn used(path: &Path) -> u64 {
    let bytes = fs::read(path).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
}

#[test]
fn a_journal_may_lose_or_change_any_byte_and_it_is_noticed() {
    let place = tempfile::tempdir().unwrap();
    let settings = settings(place.path());
    let before = digest(&fill(&settings, 9, 30));
    let journal = files(&settings.directory).into_iter().find(|f| f.extension().is_some_and(|e| e == "jnl"));
    let name = journal.unwrap().strip_prefix(&settings.directory).unwrap().to_path_buf();
    let length = used(&settings.directory.join(&name));
    assert!(length > 500);
    let mut noticed = 0;
    for at in (0..length).step_by(23) {
        noticed +=
            u32::from(is_noticed(&settings, before, |d| flip(&d.join(&name), at), &format!("byte {at}")));
    }
    for length in (0..length).step_by(211) {
        let what = format!("cut to {length}");
        noticed += u32::from(is_noticed(&settings, before, |d| cut(&d.join(&name), length), &what));
    }
    assert!(noticed > 20, "{noticed}");
}

#[test]
fn any_file_of_a_store_may_change_shrink_or_vanish_and_it_is_noticed() {
    let place = tempfile::tempdir().unwrap();
    let settings = DiskSettings { memtable_bytes: 64 << 10, ..settings(place.path()) };
    let before = digest(&fill(&settings, 1500, 300));
    // A store that was opened again has its tables written.
    eventually_has_tables(&settings);
    let files = files(&settings.directory);
    let tables = files.iter().filter(|f| is_table(f)).count();
    assert!(tables > 0, "{files:?}");
    let mut noticed = 0;
    for file in files {
        let name = file.strip_prefix(&settings.directory).unwrap().to_path_buf();
        let length = used(&file);
        let told = |what: &str| format!("{}: {what}", name.display());
        let changes = (0..length).step_by(length.div_ceil(3).max(1) as usize);
        for at in changes {
            let what = told(&format!("byte {at}"));
            noticed += u32::from(is_noticed(&settings, before, |d| flip(&d.join(&name), at), &what));
        }
        for length in [0, length / 2] {
            let what = told(&format!("cut to {length}"));
            noticed += u32::from(is_noticed(&settings, before, |d| cut(&d.join(&name), length), &what));
        }
        let gone = |d: &Path| fs::remove_file(d.join(&name)).unwrap();
        let is_missed = is_noticed(&settings, before, gone, &told("gone"));
        assert!(is_missed || !is_table(&file), "{}", name.display());
        noticed += u32::from(is_missed);
    }
    assert!(noticed > 20, "{noticed}");
}

fn is_table(file: &Path) -> bool {
    file.parent().is_some_and(|d| d.ends_with("1/tables") || d.ends_with("tables"))
}

fn eventually_has_tables(settings: &DiskSettings) {
    let store = open(settings, 7).unwrap().store;
    let since = std::time::Instant::now();
    while !files(&settings.directory)
        .iter()
        .any(|f| is_table(f) && !f.starts_with(settings.directory.join("keyspaces/0")))
    {
        assert!(since.elapsed() < Duration::from_secs(20), "no tables: {:?}", files(&settings.directory));
        std::thread::yield_now();
    }
    drop(store);
}

/// The engine ended the process over it; the next start must not do so again.
#[test]
fn a_store_that_broke_the_engine_is_set_aside_at_the_next_start() {
    let place = tempfile::tempdir().unwrap();
    let settings = settings(place.path());
    fill(&settings, 3, 30);
    let told =
        super::super::guard::guarded(&settings.directory, || -> Result<(), StoreError> { panic!("ouch") });
    assert!(matches!(&told, Err(StoreError::Damaged(text)) if text.contains("ouch")), "{told:?}");
    let aside = open(&settings, 9).unwrap().set_aside.unwrap();
    assert!(aside.fault.contains("broke over it") && aside.fault.contains("ouch"), "{}", aside.fault);
    assert!(open(&settings, 10).unwrap().set_aside.is_none());
}

#[test]
fn a_store_over_which_two_processes_ended_is_set_aside_and_one_is_not_enough() {
    let place = tempfile::tempdir().unwrap();
    let settings = settings(place.path());
    fill(&settings, 3, 30);
    let traces = settings.directory.join("opening");
    fs::write(&traces, ".").unwrap();
    assert!(open(&settings, 9).unwrap().set_aside.is_none());
    assert!(!traces.exists());
    fs::write(&traces, "..").unwrap();
    let aside = open(&settings, 9).unwrap().set_aside.unwrap();
    assert!(aside.fault.contains("ended 2 times"), "{}", aside.fault);
}

#[test]
fn what_is_whole_or_bears_gaps_is_carried_over_and_the_catalog_never_comes_back_with_gaps() {
    let place = tempfile::tempdir().unwrap();
    let settings = settings(place.path());
    let before = fill(&settings, 40, 30);
    let journal = files(&settings.directory).into_iter().find(|f| f.extension().is_some_and(|e| e == "jnl"));
    let journal = journal.unwrap();
    cut(&journal, used(&journal) * 3 / 4);
    let opened = open(&settings, 9).unwrap();
    let aside = opened.set_aside.clone().unwrap();
    assert!(aside.fault.contains("of 40 batches are missing"), "{}", aside.fault);
    let carried = [(Table::Peers, 5), (Table::Own, 1), (Table::Gone, 0), (Table::Tellers, 0)];
    assert_eq!(aside.carried, carried);
    assert!(opened.store.scan(Table::Catalog, b"").unwrap().is_empty() && !before.is_empty());
    assert_eq!(opened.store.scan(Table::Peers, b"").unwrap().len(), 5);
    drop(opened);
    assert!(open(&settings, 10).unwrap().set_aside.is_none(), "the fresh one is whole");

    // Where one table does not add up, the others go on.
    let mut store = DiskStore::open(&settings).unwrap();
    store.apply(&put(Table::Catalog, b"functions/x")).unwrap();
    store.sync().unwrap();
    store.engine_mut().make(Table::Quarantine).unwrap().insert("stray", "record").unwrap();
    drop(store);
    let opened = open(&settings, 11).unwrap();
    let aside = opened.set_aside.clone().unwrap();
    assert!(aside.fault.contains("the table quarantine has 1 records"), "{}", aside.fault);
    assert!(aside.carried.contains(&(Table::Catalog, 1)), "{:?}", aside.carried);
}
