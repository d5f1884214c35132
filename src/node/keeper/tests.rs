//! What is written is read, how long it takes, and what of it makes no sense.

use std::time::Instant;

use super::*;
use crate::core::catalog::FunctionEntry;

fn settings(place: &std::path::Path) -> Settings {
    let mut settings = Settings::default();
    settings.persistence.mode = PersistenceMode::Fjall;
    settings.persistence.dir = place.display().to_string();
    settings
}

fn disk(place: &std::path::Path) -> DiskSettings {
    DiskSettings { directory: place.join(DIRECTORY), cache_bytes: 32 << 20, memtable_bytes: 8 << 20 }
}

fn now() -> Now {
    Now { mono: Duration::from_secs(1), wall: 1000.0 }
}

fn function(name: &str, node: &str) -> Arc<FunctionEntry> {
    let entry = serde_json::json!({
        "identity": {"name": name, "function_id": name, "version": "1"}, "node_id": node, "cluster_id": "c",
        "advertised_at": 900.0, "ttl_seconds": 600.0
    });
    Arc::new(serde_json::from_value(entry).unwrap())
}

fn written(entries: usize) -> Written {
    let mut written = Written::default();
    let entry = |n: usize| function(&format!("f{n}"), &format!("ws://n{}", n % 100));
    written.entries.functions = (0..entries).map(entry).collect();
    for n in 0..5 {
        let seen = LastSeen { url: format!("ws://n{n}").into(), cluster_id: "c".into(), seen_at: 900.0 };
        written.peers.insert(format!("ws://n{n}").into(), seen);
    }
    written
}

fn write(place: &std::path::Path, written: &Written) {
    let mut store = store::open(&disk(place), 7).unwrap().store;
    for batch in differences(&Written::default(), written, 950.0) {
        store.apply(&batch).unwrap();
    }
    store.sync().unwrap();
}

/// The bound is for a machine that does other things too; a free one needs a small part of it.
#[test]
fn ten_thousand_entries_are_read_at_once() {
    let place = tempfile::tempdir().unwrap();
    let written = written(10_000);
    write(place.path(), &written);
    let since = Instant::now();
    let (keeper, kept) = Keeper::open(&settings(place.path()), now()).unwrap();
    let took = since.elapsed();
    println!("10 000 entries are read after {took:?}");
    assert_eq!(kept.restored.entries.functions.len(), 10_000);
    assert_eq!((kept.restored.peers.len(), kept.restored.floor, kept.set_aside), (5, 950.0, 0));
    assert!(keeper.is_some() && took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn a_record_that_makes_no_sense_is_set_aside_and_counted_once() {
    let place = tempfile::tempdir().unwrap();
    write(place.path(), &written(3));
    let mut store = store::open(&disk(place.path()), 7).unwrap().store;
    let mut batch = Batch::default();
    let bad = [
        (Table::Catalog, Kind::Entries, &b"functions/odd"[..], &b"{}"[..]),
        (Table::Catalog, Kind::Entries, b"unheard-of/x", b"{}"),
        (Table::Peers, Kind::Peer, b"ws://odd", b"[1"),
        (Table::Keys, Kind::Keys, b"d", b"null"),
    ];
    for (table, kind, key, payload) in bad {
        batch.put(table, key.to_vec(), encode(kind, key, payload));
    }
    store.apply(&batch).unwrap();
    store.sync().unwrap();
    drop(store);
    let (keeper, kept) = Keeper::open(&settings(place.path()), now()).unwrap();
    assert_eq!(keeper.unwrap().status().set_aside.load(Relaxed), 4);
    assert_eq!((kept.restored.entries.functions.len(), kept.restored.peers.len()), (3, 5));
    let (keeper, _) = Keeper::open(&settings(place.path()), now()).unwrap();
    assert_eq!(keeper.unwrap().status().set_aside.load(Relaxed), 0, "it is in the quarantine");
    let store = store::open(&disk(place.path()), 7).unwrap().store;
    assert_eq!(store.scan(Table::Quarantine, b"").unwrap().len(), 4);
}

#[test]
fn only_differences_are_written_and_what_is_gone_is_removed() {
    let mut old = written(3);
    let mut new = Written { entries: old.entries.clone(), peers: old.peers.clone(), ..Written::default() };
    let changes = |old: &Written, new: &Written| -> usize {
        differences(old, new, 1.0).iter().map(|batch| batch.changes_count()).sum()
    };
    // The date is always written.
    assert_eq!(changes(&old, &new), 1);
    new.entries.functions.pop();
    new.peers.pop_first();
    assert_eq!(changes(&old, &new), 3);
    old.unknown = true;
    assert_eq!(changes(&old, &new), 1 + 2 + 4 + 2);
}
