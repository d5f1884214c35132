//! The dull side: listeners, dialers, TLS, timers, workers, signals, logs. It does what the core says.

pub mod counters;
pub mod log;
