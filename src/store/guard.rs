//! Opening a store that the engine may break over.
//!
//! Over some damage the engine ends the process: by a failed assertion, or by asking for more memory than there is. A
//! word in the directory of the store tells the next start, which sets the store aside instead of breaking over it
//! again. A process that is killed while it opens a store leaves the same trace as one that ran out of memory, so that
//! two of them in a row are needed.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Once;

use super::StoreError;

/// Runs `open`, which opens the store in `directory`. Where it panics, that is damage: told at once where panics
/// unwind, and by [`broken`] at the next start where they end the process.
pub fn guarded<T>(directory: &Path, open: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let directory = OPENING.with(|opening| opening.try_borrow().ok().and_then(|o| o.clone()));
            if let Some(directory) = directory {
                // Where this fails too, nothing more can be done.
                let _ = std::fs::write(directory.join(WORD), panic.to_string().replace('\n', ": "));
            }
            before(panic);
        }));
    });
    let attempts = directory.join(ATTEMPTS);
    let before = std::fs::read(&attempts).map_or(0, |trace| trace.len());
    if before >= ATTEMPTS_MAX {
        return Err(StoreError::Damaged(format!("the process ended {before} times while it was opened")));
    }
    // Where they cannot be written, a store cannot be opened either, which says why.
    let _ = std::fs::write(&attempts, vec![b'.'; before + 1]);
    OPENING.with(|opening| opening.replace(Some(directory.to_path_buf())));
    let opened = catch_unwind(AssertUnwindSafe(open));
    OPENING.with(|opening| opening.replace(None));
    let _ = std::fs::remove_file(&attempts);
    opened.unwrap_or_else(|_| Err(StoreError::Damaged(broken(directory).unwrap_or_default())))
}

/// Why the store in `directory` could not be opened the last time, where that ended the process.
pub fn broken(directory: &Path) -> Option<String> {
    let word = std::fs::read_to_string(directory.join(WORD)).ok()?;
    Some(format!("the storage engine broke over it: {word}"))
}

thread_local! {
    static OPENING: RefCell<Option<PathBuf>> = const { RefCell::new(None) };
}

/// A file with a byte for each time that the process ended while it opened the store.
const ATTEMPTS: &str = "opening";
const ATTEMPTS_MAX: usize = 2;
/// The file of the word.
const WORD: &str = "broken";
