//! What is written is read, how long it takes, and what of it makes no sense.

use std::time::Instant;

use super::*;
use crate::core::catalog::{Catalog, FunctionEntry};

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

/// One entry of each type, as its lease began at 900 and ends at 1500.
fn one_of_each() -> Delta {
    fn entry<E: DeserializeOwned>(more: serde_json::Value) -> Vec<Arc<E>> {
        let mut entry = serde_json::json!({
            "node_id": "ws://n", "cluster_id": "c", "advertised_at": 900.0, "ttl_seconds": 600.0
        });
        entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        vec![Arc::new(serde_json::from_value(entry).unwrap())]
    }
    use serde_json::json;
    Delta {
        cluster_id: "c".into(),
        functions: vec![function("f", "ws://n")],
        topics: entry(json!({"subscription_id": "s", "patterns": ["a.#"]})),
        queues: entry(json!({"queue_name": "q", "health": "degraded"})),
        services: entry(json!({"name": "web", "namespace": "n", "protocol": "tcp", "port": 80})),
        caches: entry(json!({"role": "replica"})),
        cache_profiles: entry(json!({"capacity_mb": 7, "coordinates": {"latitude": 1.5}})),
        nodes: entry(json!({"region": "eu"})),
        ..Delta::default()
    }
}

/// What is read back from the store, as the catalog takes it at `wall`.
fn restored(place: &std::path::Path, wall: f64) -> Catalog {
    let (_, kept) = Keeper::open(&settings(place), now()).unwrap();
    let mut catalog = Catalog::new(1000);
    assert_eq!(kept.set_aside, 0);
    let delta = Delta { cluster_id: "c".into(), ..kept.restored.entries };
    catalog.apply(delta, wall);
    catalog
}

fn counted(delta: &Delta) -> Vec<usize> {
    delta.counts().iter().map(|(_, count)| *count).filter(|count| *count > 0).collect()
}

#[test]
fn all_seven_types_come_back_whole_and_expire_when_they_would_have() {
    let place = tempfile::tempdir().unwrap();
    let kept = Written { entries: one_of_each(), ..Written::default() };
    write(place.path(), &kept);
    let mut catalog = restored(place.path(), 1000.0);
    let back = catalog.snapshot();
    assert_eq!(counted(&back), [1; 7]);
    let text = |delta: &Delta| {
        let Delta { functions, topics, queues, services, caches, cache_profiles, nodes, .. } = delta;
        serde_json::to_string(&(functions, topics, queues, services, caches, cache_profiles, nodes)).unwrap()
    };
    assert_eq!(text(&back), text(&one_of_each()));
    catalog.expire(1500.0);
    assert_eq!(counted(&catalog.snapshot()), [1; 7], "their leases last until then");
    catalog.expire(1500.1);
    assert_eq!(counted(&catalog.snapshot()), [0; 0]);
    assert_eq!(
        counted(&restored(place.path(), 1500.1).snapshot()),
        [0; 0],
        "they ended while the node was down"
    );
}

#[test]
fn what_was_removed_of_each_type_does_not_come_back() {
    let place = tempfile::tempdir().unwrap();
    let kept = Written { entries: one_of_each(), ..Written::default() };
    write(place.path(), &kept);
    let mut catalog = Catalog::new(1000);
    catalog.apply(one_of_each(), 1000.0);
    let removals = Delta { sent_at: 1000.0, cluster_id: "c".into(), ..catalog.holdings("ws://n") };
    catalog.apply(removals, 1001.0);
    let left = Written { entries: catalog.snapshot(), ..Written::default() };
    let mut store = store::open(&disk(place.path()), 7).unwrap().store;
    for batch in differences(&kept, &left, 1001.0) {
        store.apply(&batch).unwrap();
    }
    store.sync().unwrap();
    drop(store);
    assert_eq!(counted(&restored(place.path(), 1002.0).snapshot()), [0; 0]);
}
