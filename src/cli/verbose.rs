//! `-v`: the log lines of the client on stderr, for verbs that talk to a node; a node logs in its own way.
//!
//! They show what is sent and received, payloads included, but never a credential: those travel in the headers
//! of the handshake.

use std::io::{self, Write};

use log::{LevelFilter, Log, Metadata, Record};

pub fn start() {
    // Refused only if somebody has already installed a logger; then that one is used.
    if log::set_logger(&ToStderr).is_ok() {
        log::set_max_level(LevelFilter::Debug);
    }
}

struct ToStderr;

impl Log for ToStderr {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.target().starts_with("mpreg")
    }

    fn log(&self, record: &Record) {
        if self.enabled(record.metadata()) {
            // Nobody is left to be told when stderr is closed.
            let _ = writeln!(io::stderr(), "{}", record.args());
        }
    }

    fn flush(&self) {}
}
