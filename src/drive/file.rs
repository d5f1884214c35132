//! Files that others write, read whole and with a bound.

use std::fs::{self, Metadata};
use std::io::{self, Read as _};
use std::path::Path;

/// A file of at most this many bytes that `check` agrees to; the error says what is wrong with it, without its name.
pub fn read_bounded(
    path: &Path,
    bytes_max: usize,
    check: impl FnOnce(&Metadata) -> io::Result<()>,
) -> io::Result<Vec<u8>> {
    // Asked before it is opened: opening a pipe would wait for whoever writes to it.
    let meta = fs::metadata(path)?;
    if !meta.is_file() {
        return Err(io::Error::other("not a file"));
    }
    check(&meta)?;
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    match bytes.len() > bytes_max {
        true => Err(io::Error::other(format!("more than {bytes_max} bytes"))),
        false => Ok(bytes),
    }
}
