//! What waits in memory for all connections together, against `limits.memory`.
//!
//! Each connection has a budget of its own; this is the one above them all, so that many slow readers cannot do
//! together what one of them may not do alone. The share of the backlog, which has its own limit, is set aside.

use std::sync::atomic::{AtomicUsize, Ordering::*};

use crate::config::Settings;

/// Bytes that wait, and how many may.
#[derive(Debug)]
pub struct Memory {
    used: AtomicUsize,
    max: AtomicUsize,
}

impl Memory {
    pub fn new(settings: &Settings) -> Memory {
        Memory { used: AtomicUsize::new(0), max: AtomicUsize::new(share(settings)) }
    }

    /// For a reload.
    pub fn set_limit(&self, settings: &Settings) {
        self.max.store(share(settings), Relaxed);
    }

    /// A queue went from `before` to `after` bytes.
    pub fn moved(&self, before: usize, after: usize) {
        if after >= before {
            self.used.fetch_add(after - before, Relaxed);
        } else {
            self.used.fetch_sub(before - after, Relaxed);
        }
    }

    /// Bytes that wait now, and how many may.
    pub fn bytes(&self) -> (usize, usize) {
        (self.used.load(Relaxed), self.max.load(Relaxed))
    }

    /// No more is taken in.
    pub fn is_full(&self) -> bool {
        self.used.load(Relaxed) >= self.max.load(Relaxed)
    }

    /// Nearly full: no request is read whose answer would have to wait.
    pub fn is_tight(&self) -> bool {
        self.used.load(Relaxed) >= self.max.load(Relaxed) / 4 * 3
    }
}

fn share(settings: &Settings) -> usize {
    settings.limits.memory.saturating_sub(settings.limits.backlog) as usize
}
