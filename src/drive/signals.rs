//! Signals of the process, as a stream of what they ask for.

use std::io;

use async_signal::{Signal, Signals};
use smol::stream::StreamExt;

/// What a signal asks the node to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// SIGTERM, SIGINT: end in order; a second one ends at once.
    Stop,
    /// SIGHUP: read the configuration again.
    Reload,
}

/// The signals that a node serves.
pub struct Asking {
    signals: Signals,
}

impl Asking {
    /// From here on these signals no longer end the process by themselves. Nor does a file that becomes larger than the
    /// system lets it: whoever writes it is told.
    pub fn listen() -> io::Result<Asking> {
        Ok(Asking { signals: Signals::new([Signal::Term, Signal::Int, Signal::Hup, Signal::Xfsz])? })
    }

    pub async fn next(&mut self) -> Asked {
        loop {
            match self.signals.next().await {
                Some(Ok(Signal::Hup)) => return Asked::Reload,
                Some(Ok(Signal::Xfsz)) => {}
                Some(Ok(_)) => return Asked::Stop,
                Some(Err(error)) => log::warn!("cannot read signals: {error}"),
                // The stream of signals never ends.
                None => smol::future::pending().await,
            }
        }
    }
}
