//! A process that is killed while it writes has lost nothing that was acknowledged, also where it was just writing the
//! whole store anew.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::damage::{files, noise};
use super::*;

fn batch(n: u32) -> Batch {
    let mut batch = Batch::default();
    let key = format!("functions/{}", n % KEYS).into_bytes();
    batch.put(Table::Catalog, key.clone(), encode(Kind::Entries, &key, &noise(n, RECORD_BYTES)));
    if n % 5 == 4 {
        batch.remove(Table::Catalog, format!("functions/{}", (n - 2) % KEYS).into_bytes());
    }
    batch.put(Table::Own, b"floor".to_vec(), encode(Kind::Floor, b"floor", &n.to_le_bytes()));
    batch
}

/// What is in the catalog after the batches up to `last`.
fn model(last: u32) -> Vec<Pair> {
    let mut model = BTreeMap::new();
    for n in 0..=last {
        for (table, key, record) in batch(n).changes() {
            match record {
                _ if *table != Table::Catalog => {}
                Some(record) => drop(model.insert(key.clone(), record.clone())),
                None => drop(model.remove(key)),
            }
        }
    }
    model.into_iter().collect()
}

/// The number of the last batch in a store.
fn last(store: &DiskStore) -> Option<u32> {
    let record = store.get(Table::Own, b"floor").unwrap()?;
    let number = decode(Kind::Floor, b"floor", &record).unwrap();
    Some(u32::from_le_bytes(number.try_into().unwrap()))
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill_at_any_moment() {
    let place = tempfile::tempdir().unwrap();
    let settings = settings(place.path());
    let mut tidied = 0;
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::tests::kills::writes_until_it_is_killed", "--nocapture"])
            .env(WRITES, &settings.directory)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut acknowledged = lines.filter_map(|line| line.strip_prefix("written ")?.parse::<u32>().ok());
        // Each time after another number of batches, so that it is hit in another moment.
        let seen = acknowledged.by_ref().take(3 + (round * 37 % 61) as usize).last().unwrap();
        child.kill().unwrap();
        // What it had said before it died, and nobody had read.
        let seen = acknowledged.last().unwrap_or(seen);
        child.wait().unwrap();
        tidied += u32::from(super::super::tidy::beside(&settings.directory).exists());
        let opened = open(&settings, 7).unwrap();
        assert_eq!(opened.set_aside, None, "round {round}");
        let found = last(&opened.store).unwrap();
        assert!(found == seen || found == seen + 1, "round {round}: {found} of {seen}");
        assert!(opened.store.scan(Table::Catalog, b"").unwrap() == model(found), "round {round}");
    }
    println!("{tidied} of {ROUNDS} kills came while the store was written anew");
    assert!(journal_bytes(&settings) < 8 << 20, "it was never written anew");
}

/// What the process does that is killed.
#[test]
fn writes_until_it_is_killed() {
    let Some(directory) = std::env::var_os(WRITES).map(PathBuf::from) else { return };
    let settings = DiskSettings { directory, cache_bytes: 1 << 20, memtable_bytes: 1 << 20 };
    let store = open(&settings, 7).unwrap().store;
    let first = last(&store).map_or(0, |last| last + 1);
    let reopen = Box::new(|| Err(StoreError::Closed));
    let writer = Writer::start(Box::new(store), reopen, Sync::Commit, 8 << 20).unwrap();
    for n in first.. {
        smol::block_on(writer.commit(batch(n))).unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "written {n}").and_then(|()| out.flush()).unwrap();
    }
}

fn journal_bytes(settings: &DiskSettings) -> u64 {
    let journals =
        files(&settings.directory).into_iter().filter(|f| f.extension().is_some_and(|e| e == "jnl"));
    let used = |file: PathBuf| {
        let bytes = fs::read(file).unwrap();
        bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64)
    };
    journals.map(used).sum()
}

#[test]
fn a_store_that_was_written_anew_is_the_same_and_its_journal_short() {
    let place = tempfile::tempdir().unwrap();
    let settings = settings(place.path());
    let mut store: Box<dyn Store> = Box::new(open(&settings, 7).unwrap().store);
    let mut n = 0;
    while store.is_tidy() || n < 3 * KEYS {
        store.apply(&batch(n)).unwrap();
        n += 1;
    }
    assert!(journal_bytes(&settings) > 1 << 20);
    // What it needs is taken: it stays as it is, and is asked again only much later.
    let beside = super::super::tidy::beside(&settings.directory);
    fs::write(&beside, "").unwrap();
    let store = store.tidy().unwrap();
    assert!(store.is_tidy() && store.scan(Table::Catalog, b"").unwrap() == model(n - 1));
    drop(store);
    fs::remove_file(&beside).unwrap();
    // A copy of which a process left the half.
    fs::create_dir_all(beside.join("keyspaces/1")).unwrap();
    let store: Box<dyn Store> = Box::new(open(&settings, 7).unwrap().store);
    assert!(!store.is_tidy() && !beside.exists());
    let mut store = store.tidy().unwrap();
    assert!(store.is_tidy() && !beside.exists() && journal_bytes(&settings) < 1000);
    store.apply(&batch(n)).unwrap();
    store.sync().unwrap();
    assert!(store.scan(Table::Catalog, b"").unwrap() == model(n));
    drop(store);
    let opened = open(&settings, 7).unwrap();
    assert_eq!(opened.set_aside, None);
    assert!(opened.store.scan(Table::Catalog, b"").unwrap() == model(n) && last(&opened.store) == Some(n));
}

/// However fast it is written, what the engine holds in memory stays within what is borne of its journal.
#[test]
fn what_is_not_in_tables_yet_stays_within_its_budget() {
    let place = tempfile::tempdir().unwrap();
    let settings = DiskSettings { memtable_bytes: 64 << 20, ..settings(place.path()) };
    let mut store = Box::new(open(&settings, 7).unwrap().store);
    let (mut most, mut anew) = (0, 0);
    for n in 0..600 {
        store.apply(&batch(n)).unwrap();
        most = most.max(store.engine_mut().write_buffer_bytes());
        if !store.is_tidy() {
            store = store.tidied().unwrap();
            anew += 1;
        }
    }
    assert!(anew > 5 && (1 << 20..4 << 20).contains(&most), "{anew} {most}");
    assert!(store.scan(Table::Catalog, b"").unwrap() == model(599));
}

const WRITES: &str = "MPREG_TEST_STORE_WRITES";
const KEYS: u32 = 40;
const RECORD_BYTES: usize = 40_000;
const ROUNDS: u32 = 16;
