//! What a node keeps over a restart: entries of others, peers last seen, and the last date it gave to anything.
//!
//! Kept behind the node's back: what changed is written each `persistence.snapshot_interval`, and soon after something
//! was removed, so that a node that is killed does not bring it back. Only differences are written. Where the store
//! fails, the node goes on, is not ready, and writes everything again once the store works.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use smol::Timer;
use smol::channel::{Receiver, Sender, bounded};

use super::hub::{Hub, lock};
use crate::config::{PersistenceMode, PersistenceSync, Settings};
use crate::core::catalog::{Delta, Entry, Text};
use crate::core::fabric::{Event, Restored};
use crate::core::membership::{Candidate, REMEMBERED_MAX};
use crate::core::reason::Reason;
use crate::core::time::Now;
use crate::store::{
    self, Batch, DiskSettings, Kind, MemoryStore, Status, Store, StoreError, Sync, Table, Writer, encode,
};

/// See the module.
pub struct Keeper {
    writer: Writer,
    interval: Duration,
    hurry: Sender<()>,
    hurried: Receiver<()>,
    written: Mutex<Written>,
    /// One round at a time.
    round: smol::lock::Mutex<()>,
}

/// What the store holds, as far as the node knows.
#[derive(Default)]
struct Written {
    entries: Delta,
    peers: BTreeMap<Text, LastSeen>,
    /// Nothing is known of the store: everything is written again.
    unknown: bool,
}

/// A peer in the store; its key is the node id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct LastSeen {
    url: Text,
    cluster_id: Text,
    /// Seconds since 1970.
    seen_at: f64,
}

#[derive(Serialize, Deserialize)]
struct Floor {
    dated: f64,
}

/// What was found in the store.
#[derive(Default)]
pub struct Kept {
    restored: Restored,
    set_aside: u64,
}

impl Keeper {
    /// Opens the store of the configuration and reads it; the error is one line that names the key and the remedy.
    pub fn open(settings: &Settings, now: Now) -> Result<(Option<Keeper>, Kept), String> {
        let keys = &settings.persistence;
        let fault = |error: &dyn std::fmt::Display| format!("persistence.dir: {}: {error}", keys.dir);
        let mut kept = Kept::default();
        let reopen_as: store::Reopen;
        let mut store: Box<dyn Store> = match keys.mode {
            PersistenceMode::Off => return Ok((None, kept)),
            PersistenceMode::Memory => {
                reopen_as = Box::new(|| Ok(Box::new(MemoryStore::default())));
                Box::new(MemoryStore::default())
            }
            PersistenceMode::Fjall => {
                let disk = DiskSettings {
                    directory: std::path::Path::new(&keys.dir).join(DIRECTORY),
                    cache_bytes: keys.cache_size,
                    memtable_bytes: keys.memtable_size,
                };
                let opened = open_disk(&disk, &mut kept).map_err(|e| fault(&e))?;
                reopen_as = Box::new(move || open_disk(&disk, &mut Kept::default()));
                opened
            }
        };
        let mut written = Written::default();
        read(&mut *store, &mut written, &mut kept, now).map_err(|e| fault(&e))?;
        if kept.restored.floor > now.wall {
            // The clock was set back; more was dated after the last round.
            kept.restored.floor += keys.snapshot_interval.as_secs_f64();
        }
        let sync = match keys.sync {
            PersistenceSync::Commit => Sync::Commit,
            PersistenceSync::Interval => Sync::Every(keys.sync_interval),
        };
        let queue_bytes_max = (keys.memtable_size as usize).max(2 * PIECE_BYTES);
        let writer = Writer::start(store, reopen_as, sync, queue_bytes_max).map_err(|e| fault(&e))?;
        writer.status().set_aside.store(kept.set_aside, Relaxed);
        let (hurry, hurried) = bounded(1);
        let keeper = Keeper {
            writer,
            interval: keys.snapshot_interval,
            hurry,
            hurried,
            written: Mutex::new(written),
            round: smol::lock::Mutex::new(()),
        };
        Ok((Some(keeper), kept))
    }

    pub fn status(&self) -> &Status {
        self.writer.status()
    }

    pub fn is_failing(&self) -> bool {
        self.status().failing.load(Relaxed)
    }

    /// Something was removed: it must not come back.
    pub fn hurry(&self) {
        // Full means that it hurries already.
        let _ = self.hurry.try_send(());
    }

    /// Writes what is new since the last time.
    async fn flush(&self, hub: &Hub) -> Result<(), StoreError> {
        let _round = self.round.lock().await;
        let (entries, peers, dated) = self.present(hub);
        let old =
            std::mem::replace(&mut *lock(&self.written), Written { unknown: true, ..Written::default() });
        let new = Written { entries, peers, unknown: false };
        // Tens of thousands of entries take a while: not on the thread that serves.
        let (old, new, batches) = smol::unblock(move || {
            let batches = differences(&old, &new, dated);
            (old, new, batches)
        })
        .await;
        for batch in batches {
            if let Err(error) = self.writer.commit(batch).await {
                *lock(&self.written) = Written { unknown: true, ..old };
                return Err(error);
            }
        }
        *lock(&self.written) = new;
        Ok(())
    }

    /// What is to be in the store.
    fn present(&self, hub: &Hub) -> (Delta, BTreeMap<Text, LastSeen>, f64) {
        let now = hub.clock.now();
        let mut peers = lock(&self.written).peers.clone();
        let mut control = lock(&hub.control);
        let own = hub.node_id().clone();
        let entries = control.fabric.catalog().excerpt(|_, node| *node != *own);
        for (node, peer) in control.fabric.membership().connected() {
            let entry = control.fabric.catalog().node(&peer.cluster_id, node);
            let url = entry.map_or_else(|| node.clone(), |entry| Candidate::of(entry).url);
            let seen = LastSeen { url, cluster_id: peer.cluster_id.clone(), seen_at: now.wall };
            match peers.get(node) {
                // The hour is near enough, and saves a write each round.
                Some(old) if old.url == seen.url && (now.wall - old.seen_at).abs() < 3600.0 => {}
                _ => drop(peers.insert(node.clone(), seen)),
            }
        }
        let departed: Vec<Text> =
            peers.keys().filter(|node| control.fabric.has_departed(node, now)).cloned().collect();
        departed.iter().for_each(|node| drop(peers.remove(node)));
        while peers.len() > REMEMBERED_MAX {
            let oldest = peers.iter().min_by(|a, b| a.1.seen_at.total_cmp(&b.1.seen_at));
            let Some(oldest) = oldest.map(|(node, _)| node.clone()) else { break };
            peers.remove(&oldest);
        }
        (entries, peers, now.wall.max(control.fabric.last_date()))
    }
}

impl Hub {
    /// Brings back what was kept, through the acceptance of the fabric and the policy of now.
    pub fn restore(self: &Arc<Self>, kept: Kept) {
        let Some(keeper) = self.keeper() else { return };
        self.counters.count_many(Reason::StoreDamaged, keeper.status().set_aside.load(Relaxed));
        let now = self.clock.now();
        let entries: usize = kept.restored.entries.counts().iter().map(|(_, count)| count).sum();
        let peers = kept.restored.peers.len();
        let mut control = lock(&self.control);
        self.control_locked(&mut control, Event::Restored(Box::new(kept.restored)), now);
        self.expel(&mut control, now);
        drop(control);
        if entries + peers > 0 {
            log::info!("restored {entries} entries of other nodes and {peers} peers");
        }
    }
}

/// Writes what changes until the process ends.
pub async fn keep(hub: Arc<Hub>) {
    let Some(keeper) = hub.keeper().filter(|keeper| !keeper.interval.is_zero()) else { return };
    loop {
        let interval = if keeper.is_failing() { RETRY.min(keeper.interval) } else { keeper.interval };
        let least = PAUSE.min(interval);
        Timer::after(least).await;
        smol::future::or(
            async {
                Timer::after(interval - least).await;
            },
            async {
                let _ = keeper.hurried.recv().await;
            },
        )
        .await;
        write(&hub, keeper).await;
    }
}

/// The last words of an orderly stop.
pub async fn finish(hub: &Hub) {
    if let Some(keeper) = hub.keeper() {
        write(hub, keeper).await;
    }
}

async fn write(hub: &Hub, keeper: &Keeper) {
    if let Err(error) = keeper.flush(hub).await {
        // The writer has logged the beginning of a failure.
        hub.counters.count(Reason::StoreFailed);
        log::debug!("the store: {error}");
    }
}

fn open_disk(disk: &DiskSettings, kept: &mut Kept) -> Result<Box<dyn Store>, StoreError> {
    let seconds =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
    let opened = store::open(disk, seconds)?;
    if let Some((path, fault)) = opened.set_aside {
        kept.set_aside += 1;
        log::error!(
            "persistence.dir: the store is damaged ({fault}) and was set aside as {}; a fresh one is begun, and \
             entries of other nodes, peers and the last date of this node are forgotten",
            path.display()
        );
    }
    Ok(Box::new(opened.store))
}

/// Reads all tables; what was damaged is told.
fn read(store: &mut dyn Store, written: &mut Written, kept: &mut Kept, now: Now) -> Result<(), StoreError> {
    for (key, payload) in recover(store, Table::Catalog, Kind::Entries, kept)? {
        if !restore_entry(&mut written.entries, &key, &payload) {
            log::warn!("a stored entry cannot be read and is left out: {}", String::from_utf8_lossy(&key));
        }
    }
    for (key, payload) in recover(store, Table::Peers, Kind::Peer, kept)? {
        let (Ok(node), Ok(seen)) = (std::str::from_utf8(&key), serde_json::from_slice::<LastSeen>(&payload))
        else {
            continue;
        };
        written.peers.insert(node.into(), seen);
    }
    for (_, payload) in recover(store, Table::Own, Kind::Floor, kept)? {
        kept.restored.floor = serde_json::from_slice::<Floor>(&payload).map_or(0.0, |floor| floor.dated);
    }
    let young = written.peers.iter().filter(|(_, seen)| now.wall - seen.seen_at < PEER_SECONDS_MAX);
    let peer = |(node, seen): (&Text, &LastSeen)| Candidate { node: node.clone(), url: seen.url.clone() };
    kept.restored.peers = young.map(peer).collect();
    kept.restored.entries = written.entries.clone();
    // What is in the store and what the node makes of it may differ, so the first round writes everything.
    written.unknown = true;
    Ok(())
}

fn recover(
    store: &mut dyn Store,
    table: Table,
    kind: Kind,
    kept: &mut Kept,
) -> Result<Vec<store::Pair>, StoreError> {
    let recovered = store::recover(store, table, kind)?;
    for (key, fault) in &recovered.set_aside {
        kept.set_aside += 1;
        log::error!(
            "persistence.dir: a record of the table {} is damaged ({fault}) and was set aside: {}",
            table.name(),
            String::from_utf8_lossy(key)
        );
    }
    Ok(recovered.records)
}

/// What turns the one into the other.
fn differences(old: &Written, new: &Written, dated: f64) -> Vec<Batch> {
    let mut changes = Changes { all: old.unknown, done: Vec::new(), batch: Batch::default() };
    changes.entries(&old.entries, &new.entries);
    changes.peers(&old.peers, &new.peers);
    changes.put(Table::Own, Kind::Floor, FLOOR.to_vec(), &Floor { dated });
    if !changes.batch.is_empty() {
        changes.done.push(changes.batch);
    }
    changes.done
}

/// The changes of one round, in batches of a bounded size.
struct Changes {
    all: bool,
    done: Vec<Batch>,
    batch: Batch,
}

macro_rules! kinds {
    ($($list:ident)*) => {
        impl Changes {
            fn entries(&mut self, old: &Delta, new: &Delta) {
                $(self.difference(stringify!($list), &old.$list, &new.$list);)*
            }
        }

        /// Adds a stored entry to a delta; false where it cannot be read.
        fn restore_entry(delta: &mut Delta, key: &[u8], payload: &[u8]) -> bool {
            fn add<E: DeserializeOwned>(list: &mut Vec<Arc<E>>, payload: &[u8]) -> bool {
                serde_json::from_slice(payload).map(|entry| list.push(Arc::new(entry))).is_ok()
            }
            match key.split(|byte| *byte == b'/').next() {
                $(Some(name) if name == stringify!($list).as_bytes() => add(&mut delta.$list, payload),)*
                _ => false,
            }
        }
    };
}

kinds! { functions topics queues services caches cache_profiles nodes }

impl Changes {
    fn difference<E: Entry + Serialize>(&mut self, name: &str, old: &[Arc<E>], new: &[Arc<E>])
    where
        E::Key: Serialize,
    {
        let known: BTreeMap<E::Key, &Arc<E>> = old.iter().map(|entry| (entry.key(), entry)).collect();
        let mut gone = known.clone();
        for entry in new {
            let key = entry.key();
            gone.remove(&key);
            let same = known.get(&key).is_some_and(|old| Arc::ptr_eq(old, entry));
            if self.all || !same {
                self.put(Table::Catalog, Kind::Entries, stored_key(name, &key), &**entry);
            }
        }
        for key in gone.keys() {
            self.remove(Table::Catalog, stored_key(name, key));
        }
    }

    fn peers(&mut self, old: &BTreeMap<Text, LastSeen>, new: &BTreeMap<Text, LastSeen>) {
        for (node, seen) in new {
            if self.all || old.get(node) != Some(seen) {
                self.put(Table::Peers, Kind::Peer, node.as_bytes().to_vec(), seen);
            }
        }
        for node in old.keys().filter(|node| !new.contains_key(*node)) {
            self.remove(Table::Peers, node.as_bytes().to_vec());
        }
    }

    fn put(&mut self, table: Table, kind: Kind, key: Vec<u8>, value: &impl Serialize) {
        let Ok(payload) = serde_json::to_vec(value) else { return };
        let record = encode(kind, &key, &payload);
        self.batch.put(table, key, record);
        self.cut();
    }

    fn remove(&mut self, table: Table, key: Vec<u8>) {
        self.batch.remove(table, key);
        self.cut();
    }

    fn cut(&mut self) {
        if self.batch.bytes() >= PIECE_BYTES {
            self.done.push(std::mem::take(&mut self.batch));
        }
    }
}

/// The type and the members of a key, which an operator can read in the log.
fn stored_key(name: &str, key: &impl Serialize) -> Vec<u8> {
    format!("{name}/{}", serde_json::to_string(key).unwrap_or_default()).into_bytes()
}

/// Below `persistence.dir`.
const DIRECTORY: &str = "store";
const FLOOR: &[u8] = b"floor";
/// A batch is cut at about this size, so that one round does not fill the queue.
const PIECE_BYTES: usize = 1 << 20;
/// Between two rounds, however much is removed.
const PAUSE: Duration = Duration::from_millis(200);
/// A failed store is tried again this often.
const RETRY: Duration = Duration::from_secs(1);
/// A peer that was not seen for a week is not looked for any more.
const PEER_SECONDS_MAX: f64 = 7.0 * 86400.0;
