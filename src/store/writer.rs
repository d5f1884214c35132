//! The one that writes: a thread that applies what waits, syncs once for all of it, and answers.
//!
//! An answer of [`Writer::commit`] means that the batch is on the disk (or, with [`Sync::Every`], that it will be at
//! the next interval). What waits is bounded in bytes: beyond that a batch is refused, never kept. After a failure
//! nothing is acknowledged until the store has been opened anew and has taken a batch.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use smol::channel::{Receiver, Sender, bounded};

use super::{Batch, Store, StoreError};

/// When an answer is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// After a sync.
    Commit,
    /// Once applied; a sync follows within this time.
    Every(Duration),
}

/// What the writer has done and how it does, for those who watch.
#[derive(Debug, Default)]
pub struct Status {
    pub bytes: AtomicU64,
    pub commits: AtomicU64,
    pub syncs: AtomicU64,
    pub failures: AtomicU64,
    pub refused: AtomicU64,
    pub queue_bytes: AtomicUsize,
    pub set_aside: AtomicU64,
    pub failing: AtomicBool,
    /// How often the store was opened again; what it holds may then be less than was applied.
    pub reopened: AtomicU64,
}

/// See the module. The thread ends, with a last sync, when the writer is dropped.
pub struct Writer {
    shared: Arc<Shared>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

/// Opens the store again after a failure; with it comes how many damaged ones had to be set aside.
pub type Reopen = Box<dyn FnMut() -> Result<(Box<dyn Store>, u64), StoreError> + Send>;

struct Shared {
    queue: Mutex<Queue>,
    more: Condvar,
    queue_bytes_max: usize,
    status: Status,
}

/// A batch and who waits for it.
type Waiting = (Batch, Sender<Result<(), StoreError>>);

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    closed: bool,
}

impl Writer {
    pub fn start(
        store: Box<dyn Store>,
        reopen: Reopen,
        sync: Sync,
        queue_bytes_max: usize,
    ) -> std::io::Result<Writer> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            more: Condvar::new(),
            queue_bytes_max,
            status: Status::default(),
        });
        shared.status.bytes.store(store.bytes(), Relaxed);
        let own = shared.clone();
        let body =
            move || Thread { shared: own, store: Some(store), reopen, sync, unsynced_since: None }.run();
        let thread = std::thread::Builder::new().name("store".into()).spawn(body)?;
        Ok(Writer { shared, thread: Mutex::new(Some(thread)) })
    }

    pub fn status(&self) -> &Status {
        &self.shared.status
    }

    /// Puts a batch into the queue; the answer comes when it is durable. Refused where the queue is full.
    pub fn submit(&self, batch: Batch) -> Result<Receiver<Result<(), StoreError>>, StoreError> {
        let (sender, receiver) = bounded(1);
        let mut queue = lock(&self.shared.queue);
        if queue.closed {
            return Err(StoreError::Closed);
        }
        if queue.bytes > 0 && queue.bytes + batch.bytes() > self.shared.queue_bytes_max {
            self.shared.status.refused.fetch_add(1, Relaxed);
            return Err(StoreError::QueueFull);
        }
        queue.bytes += batch.bytes();
        self.shared.status.queue_bytes.store(queue.bytes, Relaxed);
        queue.waiting.push_back((batch, sender));
        self.shared.more.notify_one();
        Ok(receiver)
    }

    /// Writes a batch and waits until it is durable.
    pub async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.submit(batch)?.recv().await.unwrap_or(Err(StoreError::Closed))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        lock(&self.shared.queue).closed = true;
        self.shared.more.notify_one();
        if let Some(thread) = lock(&self.thread).take() {
            let _ = thread.join();
        }
    }
}

struct Thread {
    shared: Arc<Shared>,
    /// `None` after a failure.
    store: Option<Box<dyn Store>>,
    reopen: Reopen,
    sync: Sync,
    unsynced_since: Option<Instant>,
}

impl Thread {
    fn run(mut self) {
        while let Some(group) = self.next() {
            if group.is_empty() {
                let outcome = self.sync_now();
                self.note(&outcome);
                continue;
            }
            let outcome = self.write(&group);
            self.note(&outcome);
            let bytes: usize = group.iter().map(|(batch, _)| batch.bytes()).sum();
            {
                let mut queue = lock(&self.shared.queue);
                queue.bytes -= bytes;
                self.shared.status.queue_bytes.store(queue.bytes, Relaxed);
            }
            for (_, answer) in group {
                // Nobody may be waiting any more.
                let _ = answer.try_send(outcome.clone());
            }
            self.tidy();
        }
        if self.unsynced_since.is_some() {
            let outcome = self.sync_now();
            self.note(&outcome);
        }
    }

    /// All that waits; empty when a sync is due; `None` at the end.
    fn next(&mut self) -> Option<Vec<Waiting>> {
        let mut queue = lock(&self.shared.queue);
        loop {
            if !queue.waiting.is_empty() {
                return Some(queue.waiting.drain(..).collect());
            }
            if queue.closed {
                return None;
            }
            queue = match (self.unsynced_since, self.sync) {
                (Some(since), Sync::Every(interval)) => {
                    let left = interval.saturating_sub(since.elapsed());
                    if left.is_zero() {
                        return Some(Vec::new());
                    }
                    self.shared.more.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0
                }
                _ => self.shared.more.wait(queue).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn write(&mut self, group: &[Waiting]) -> Result<(), StoreError> {
        if self.store.is_none() {
            let (store, set_aside) = (self.reopen)()?;
            self.store = Some(store);
            self.shared.status.set_aside.fetch_add(set_aside, Relaxed);
            self.shared.status.reopened.fetch_add(1, Relaxed);
        }
        let store = self.store.as_mut().ok_or(StoreError::Closed)?;
        for (batch, _) in group {
            store.apply(batch)?;
        }
        let is_due = match self.sync {
            Sync::Commit => true,
            Sync::Every(interval) => {
                self.unsynced_since.get_or_insert_with(Instant::now).elapsed() >= interval
            }
        };
        if is_due {
            self.sync_now()?;
        }
        self.shared.status.commits.fetch_add(group.len() as u64, Relaxed);
        Ok(())
    }

    fn sync_now(&mut self) -> Result<(), StoreError> {
        self.unsynced_since = None;
        let store = self.store.as_mut().ok_or(StoreError::Closed)?;
        store.sync()?;
        self.shared.status.syncs.fetch_add(1, Relaxed);
        self.shared.status.bytes.store(store.bytes(), Relaxed);
        Ok(())
    }

    /// Writes the store anew where it is time to, when nobody waits for an answer.
    fn tidy(&mut self) {
        let Some(store) = self.store.take_if(|store| !store.is_tidy()) else { return };
        match store.tidy() {
            Ok(store) => {
                self.shared.status.bytes.store(store.bytes(), Relaxed);
                self.store = Some(store);
            }
            Err(error) => self.note(&Err(error)),
        }
    }

    /// A failed store is closed: what it holds in memory is not known to be on the disk.
    fn note(&mut self, outcome: &Result<(), StoreError>) {
        let status = &self.shared.status;
        match outcome {
            Ok(()) => {
                if status.failing.swap(false, Relaxed) {
                    log::warn!("the store works again");
                }
            }
            Err(error) => {
                self.store = None;
                status.failures.fetch_add(1, Relaxed);
                if !status.failing.swap(true, Relaxed) {
                    log::error!("persistence.dir: the store cannot be written: {error}");
                }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
