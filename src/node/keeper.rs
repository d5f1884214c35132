//! What a node keeps over a restart: entries of others and who told of them, what is gone and must not come back, peers
//! last seen, route keys that other clusters announced, and the last date it gave to anything.
//!
//! Kept behind the node's back: what changed is written each `persistence.snapshot_interval`, and soon after something
//! was removed, so that a node that is killed does not bring it back. Only differences are written. Where the store
//! fails, the node goes on, is not ready, and writes everything again once the store works.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use smol::Timer;
use smol::channel::{Receiver, Sender, bounded};

use super::hub::{Hub, lock};
use crate::config::{PersistenceMode, PersistenceSync, Settings};
use crate::core::catalog::{Delta, Entry, SKEW_SECONDS_MAX, Text};
use crate::core::fabric::{Event, Gone, Restored, Teller};
use crate::core::membership::LastKnown;
use crate::core::reason::Reason;
use crate::core::time::Now;
use crate::core::trust::LearnedKeys;
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
    /// Of what was set aside, how much `Reason::StoreDamaged` has counted.
    counted: AtomicU64,
    /// One round at a time.
    round: smol::lock::Mutex<()>,
}

/// What the store holds, as far as the node knows.
#[derive(Default)]
struct Written {
    entries: Delta,
    peers: BTreeMap<Text, LastSeen>,
    keys: BTreeMap<Text, LearnedKeys>,
    /// By cluster and node.
    tellers: BTreeMap<(Text, Text), Teller>,
    gone: BTreeMap<Vec<u8>, GoneRecord>,
    /// When the store was opened that all this is in.
    reopened: u64,
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

/// What is gone, under a key that says what it is.
#[derive(Debug, Clone, PartialEq)]
struct GoneRecord {
    payload: Vec<u8>,
    /// What of it must not differ; the end may by a little, where it is kept on another clock.
    what: String,
    /// Wall clock.
    until: f64,
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
                reopen_as = Box::new(|| Ok((Box::new(MemoryStore::default()), 0)));
                Box::new(MemoryStore::default())
            }
            PersistenceMode::Fjall => {
                let disk = DiskSettings {
                    directory: std::path::Path::new(&keys.dir).join(DIRECTORY),
                    cache_bytes: keys.cache_size,
                    memtable_bytes: keys.memtable_size,
                };
                let opened = open_disk(&disk, &mut kept).map_err(|e| fault(&e))?;
                reopen_as = Box::new(move || {
                    let mut kept = Kept::default();
                    Ok((open_disk(&disk, &mut kept)?, kept.set_aside))
                });
                opened
            }
        };
        let mut written = Written::default();
        read(&mut *store, &mut written, &mut kept).map_err(|e| fault(&e))?;
        if kept.restored.floor > now.wall {
            let behind = kept.restored.floor - now.wall;
            if behind > SKEW_SECONDS_MAX {
                log::error!(
                    "the clock of this machine is {behind:.0} s behind the end of the last run: others may not believe \
                     what this node dates; set it (timedatectl)"
                );
            }
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
            counted: AtomicU64::new(0),
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

    fn count_damage(&self, hub: &Hub) {
        let set_aside = self.status().set_aside.load(Relaxed);
        let counted = self.counted.swap(set_aside, Relaxed);
        hub.counters.count_many(Reason::StoreDamaged, set_aside.saturating_sub(counted));
    }

    /// Writes what is new since the last time.
    async fn flush(&self, hub: &Hub) -> Result<(), StoreError> {
        let _round = self.round.lock().await;
        let reopened = self.status().reopened.load(Relaxed);
        let (new, dated) = self.present(hub, reopened);
        let mut old =
            std::mem::replace(&mut *lock(&self.written), Written { unknown: true, ..Written::default() });
        old.unknown |= old.reopened != reopened;
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

    /// What is to be in the store, and the last date of this node.
    fn present(&self, hub: &Hub, reopened: u64) -> (Written, f64) {
        let now = hub.clock.now();
        let control = lock(&hub.control);
        let fabric = &control.fabric;
        let own = hub.node_id();
        let entries = fabric.catalog().excerpt(|_, node| *node != **own);
        let peers = fabric.worth_remembering(now);
        let keys = fabric.learned_keys(now);
        let tellers = fabric.tellers().map(|t| ((t.cluster_id.clone(), t.node_id.clone()), t)).collect();
        let gone = fabric.gone(now);
        let dated = now.wall.max(fabric.last_date());
        drop(control);
        let written = lock(&self.written);
        let peer = |peer: LastKnown| {
            let seen = LastSeen { url: peer.url, cluster_id: peer.cluster_id, seen_at: peer.seen_at };
            // The hour is near enough, and saves a write each round.
            let known = written.peers.get(&peer.node).filter(|old| {
                let same_place = old.url == seen.url && old.cluster_id == seen.cluster_id;
                same_place && (seen.seen_at - old.seen_at).abs() < PEER_SEEN_SECONDS
            });
            (peer.node, known.cloned().unwrap_or(seen))
        };
        let peers = peers.into_iter().map(peer).collect();
        let keys = keys.into_iter().map(|keys| (keys.cluster_id.clone(), keys)).collect();
        let gone = gone_records(&gone, &written.gone);
        (Written { entries, peers, keys, tellers, gone, reopened, unknown: false }, dated)
    }
}

impl Hub {
    /// Brings back what was kept, through the acceptance of the fabric and the policy of now.
    pub fn restore(self: &Arc<Self>, kept: Kept) {
        let Some(keeper) = self.keeper() else { return };
        keeper.count_damage(self);
        let now = self.clock.now();
        let entries: usize = kept.restored.entries.counts().iter().map(|(_, count)| count).sum();
        let peers = kept.restored.peers.len();
        let mut control = lock(&self.control);
        self.control_locked(&mut control, Event::Restored(Box::new(kept.restored)), now);
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
    keeper.count_damage(hub);
}

fn open_disk(disk: &DiskSettings, kept: &mut Kept) -> Result<Box<dyn Store>, StoreError> {
    let seconds =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
    let opened = store::open(disk, seconds)?;
    if let Some(store::SetAside { path, fault, carried }) = opened.set_aside {
        kept.set_aside += 1;
        log::error!(
            "persistence.dir: the store is damaged ({fault}) and was set aside as {}; a fresh one is begun{}",
            path.display(),
            told_of(&carried)
        );
    }
    Ok(Box::new(opened.store))
}

/// Which tables go on in the fresh store and which are forgotten.
fn told_of(carried: &[(Table, usize)]) -> String {
    let mut told = String::new();
    for (table, what) in [
        (Table::Catalog, "entries of other nodes"),
        (Table::Peers, "peers"),
        (Table::Own, "the last date of this node"),
        (Table::Keys, "route keys of other clusters"),
        (Table::Gone, "what was removed lately"),
        (Table::Tellers, "who told of which node"),
    ] {
        match carried.iter().find(|(carried, _)| *carried == table) {
            Some((_, records)) => told += &format!("; {what}: {records} records go on"),
            None => told += &format!("; {what} are forgotten"),
        }
    }
    told
}

/// Reads all tables; what was damaged is told.
fn read(store: &mut dyn Store, written: &mut Written, kept: &mut Kept) -> Result<(), StoreError> {
    let Written { entries, peers, keys, tellers, gone: written_gone, .. } = written;
    recover(store, Table::Catalog, Kind::Entries, kept, |key, payload| restore_entry(entries, key, payload))?;
    recover(store, Table::Peers, Kind::Peer, kept, |key, payload| {
        let Ok(seen) = serde_json::from_slice::<LastSeen>(payload) else { return false };
        std::str::from_utf8(key).map(|node| peers.insert(node.into(), seen)).is_ok()
    })?;
    recover(store, Table::Keys, Kind::Keys, kept, |_, payload| {
        let learned = serde_json::from_slice::<LearnedKeys>(payload);
        learned.map(|learned| keys.insert(learned.cluster_id.clone(), learned)).is_ok()
    })?;
    let mut found = Vec::new();
    recover(store, Table::Tellers, Kind::Teller, kept, |_, payload| {
        serde_json::from_slice::<Teller>(payload).map(|teller| found.push(teller)).is_ok()
    })?;
    *tellers = found.iter().map(|t| ((t.cluster_id.clone(), t.node_id.clone()), t.clone())).collect();
    kept.restored.tellers = found;
    let mut gone = Gone::default();
    recover(store, Table::Gone, Kind::Gone, kept, |key, payload| restore_gone(&mut gone, key, payload))?;
    *written_gone = gone_records(&gone, &BTreeMap::new());
    kept.restored.gone = gone;
    let mut dated = 0.0;
    recover(store, Table::Own, Kind::Floor, kept, |_, payload| {
        serde_json::from_slice::<Floor>(payload).map(|floor| dated = floor.dated).is_ok()
    })?;
    let peer = |(node, seen): (&Text, &LastSeen)| LastKnown {
        node: node.clone(),
        url: seen.url.clone(),
        cluster_id: seen.cluster_id.clone(),
        seen_at: seen.seen_at,
    };
    kept.restored.floor = dated;
    kept.restored.peers = peers.iter().map(peer).collect();
    kept.restored.keys = keys.values().cloned().collect();
    kept.restored.entries = entries.clone();
    Ok(())
}

fn recover(
    store: &mut dyn Store,
    table: Table,
    kind: Kind,
    kept: &mut Kept,
    understand: impl FnMut(&[u8], &[u8]) -> bool,
) -> Result<(), StoreError> {
    for (key, fault) in store::recover(store, table, kind, understand)? {
        kept.set_aside += 1;
        log::error!(
            "persistence.dir: a record of the table {} is damaged ({fault}) and was set aside: {}",
            table.name(),
            String::from_utf8_lossy(&key)
        );
    }
    Ok(())
}

/// What turns the one into the other.
fn differences(old: &Written, new: &Written, dated: f64) -> Vec<Batch> {
    let mut changes = Changes { all: old.unknown, done: Vec::new(), batch: Batch::default() };
    // First what is gone: a process that ends in between must not bring it back.
    changes.gone(&old.gone, &new.gone);
    changes.entries(&old.entries, &new.entries);
    changes.tellers(&old.tellers, &new.tellers);
    changes.named(Table::Peers, Kind::Peer, &old.peers, &new.peers);
    changes.named(Table::Keys, Kind::Keys, &old.keys, &new.keys);
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
        /// What is gone, as it is stored; what was known before keeps its words where only the clocks differ.
        fn gone_records(gone: &Gone, known: &BTreeMap<Vec<u8>, GoneRecord>) -> BTreeMap<Vec<u8>, GoneRecord> {
            let mut records = BTreeMap::new();
            let mut add = |key: Vec<u8>, payload: serde_json::Result<Vec<u8>>, what: String, until: f64| {
                let Ok(payload) = payload else { return };
                let same = |old: &&GoneRecord| {
                    old.what == what && (old.until - until).abs() < GONE_SLACK_SECONDS
                };
                let old = known.get(&key).filter(same).cloned();
                records.insert(key, old.unwrap_or(GoneRecord { payload, what, until }));
            };
            $(for buried in &gone.graves.$list {
                let (key, what) = (stored_key(stringify!($list), &buried.key), buried.older_than.to_string());
                add(key, serde_json::to_vec(buried), what, buried.until);
            })*
            for dead in &gone.dead {
                let what = dead.version.to_string();
                add(stored_key(DEAD, &dead.node_id), serde_json::to_vec(dead), what, dead.until);
            }
            for left in &gone.left {
                let what = left.instance_id.to_string();
                add(stored_key(LEFT, &left.node_id), serde_json::to_vec(left), what, left.until);
            }
            records
        }

        /// Adds something stored to what is gone; false where it cannot be read.
        fn restore_gone(gone: &mut Gone, key: &[u8], payload: &[u8]) -> bool {
            fn add<T: DeserializeOwned>(list: &mut Vec<T>, payload: &[u8]) -> bool {
                serde_json::from_slice(payload).map(|gone| list.push(gone)).is_ok()
            }
            match key.split(|byte| *byte == b'/').next() {
                $(Some(name) if name == stringify!($list).as_bytes() => add(&mut gone.graves.$list, payload),)*
                Some(name) if name == DEAD.as_bytes() => add(&mut gone.dead, payload),
                Some(name) if name == LEFT.as_bytes() => add(&mut gone.left, payload),
                _ => false,
            }
        }

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

    fn gone(&mut self, old: &BTreeMap<Vec<u8>, GoneRecord>, new: &BTreeMap<Vec<u8>, GoneRecord>) {
        for (key, record) in new {
            if self.all || old.get(key) != Some(record) {
                let record = encode(Kind::Gone, key, &record.payload);
                self.batch.put(Table::Gone, key.clone(), record);
                self.cut();
            }
        }
        for key in old.keys().filter(|key| !new.contains_key(*key)) {
            self.remove(Table::Gone, key.clone());
        }
    }

    fn tellers(&mut self, old: &BTreeMap<(Text, Text), Teller>, new: &BTreeMap<(Text, Text), Teller>) {
        for (of, teller) in new {
            if self.all || old.get(of) != Some(teller) {
                self.put(Table::Tellers, Kind::Teller, stored_key(TELLER, of), teller);
            }
        }
        for of in old.keys().filter(|of| !new.contains_key(*of)) {
            self.remove(Table::Tellers, stored_key(TELLER, of));
        }
    }

    fn named<V: Serialize + PartialEq>(
        &mut self,
        table: Table,
        kind: Kind,
        old: &BTreeMap<Text, V>,
        new: &BTreeMap<Text, V>,
    ) {
        for (name, value) in new {
            if self.all || old.get(name) != Some(value) {
                self.put(table, kind, name.as_bytes().to_vec(), value);
            }
        }
        for name in old.keys().filter(|name| !new.contains_key(*name)) {
            self.remove(table, name.as_bytes().to_vec());
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
const TELLER: &str = "told_by";
const DEAD: &str = "dead";
const LEFT: &str = "left";
/// Ends of what is gone that are this near are the same: some are kept on one clock and stored on another.
const GONE_SLACK_SECONDS: f64 = 1.0;
/// A batch is cut at about this size, so that one round does not fill the queue.
const PIECE_BYTES: usize = 1 << 20;
/// Between two rounds, however much is removed.
const PAUSE: Duration = Duration::from_millis(200);
/// A failed store is tried again this often.
const RETRY: Duration = Duration::from_secs(1);
/// How far the stored time of a peer may be from when it was last seen.
const PEER_SEEN_SECONDS: f64 = 3600.0;

#[cfg(test)]
mod tests;
