//! The control socket: a UNIX stream on which the operator of the machine talks to the node.
//!
//! Promises: who is at the other end is taken from the kernel, never from what is said; a socket that a dead process left
//! is replaced, one behind which somebody answers never; a line is bounded in bytes and in time. What a line means is for
//! whoever reads it.

use std::fmt;
use std::fs;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::sockopt::socket_peercred;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::{Async, Timer};

/// A bound control socket. Its file goes with it, unless somebody else has put another in its place.
#[derive(Debug)]
pub struct ControlListener {
    socket: Async<UnixListener>,
    path: PathBuf,
    /// Device and inode of the file.
    file: (u64, u64),
}

/// Why there is no control socket.
#[derive(Debug)]
pub enum ControlBindError {
    /// A process answers behind it.
    InUse(PathBuf),
    Io(PathBuf, io::Error),
}

/// A process that connected, as the kernel names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    pub uid: u32,
    pub pid: i32,
}

/// A connection, read and written line by line.
#[derive(Debug)]
pub struct ControlConnection {
    stream: Async<UnixStream>,
    pub caller: Caller,
    read: Vec<u8>,
}

/// Why no line came.
#[derive(Debug)]
pub enum LineError {
    /// The other end has gone.
    Ended,
    TooLong,
    TimedOut,
    Io(io::Error),
}

impl ControlListener {
    /// Binds at `path`, whose directory is made if it is missing; for its owner and group to connect.
    pub fn bind(path: &Path) -> Result<ControlListener, ControlBindError> {
        if answers(path) {
            return Err(ControlBindError::InUse(path.to_owned()));
        }
        bind(path).map_err(|error| ControlBindError::Io(path.to_owned(), error))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next connection. May be dropped and called again at any time.
    pub async fn accept(&self) -> io::Result<ControlConnection> {
        let (stream, _) = self.socket.accept().await?;
        let cred = socket_peercred(&stream)?;
        let caller = Caller { uid: cred.uid.as_raw(), pid: cred.pid.as_raw_nonzero().get() };
        Ok(ControlConnection { stream, caller, read: Vec::new() })
    }

    /// Takes the file away. Called again when it is dropped, which does no harm.
    pub fn remove(&self) {
        if identity(&self.path).is_ok_and(|file| file == self.file) {
            // What cannot be removed is replaced by the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Drop for ControlListener {
    fn drop(&mut self) {
        self.remove();
    }
}

impl ControlConnection {
    /// The next line, without its end, of at most `bytes_max` bytes, within `time`.
    pub async fn line(&mut self, bytes_max: usize, time: Duration) -> Result<Vec<u8>, LineError> {
        let reading = async {
            loop {
                if let Some(end) = memchr::memchr(b'\n', &self.read) {
                    let rest = self.read.split_off(end + 1);
                    let mut line = std::mem::replace(&mut self.read, rest);
                    line.pop();
                    return Ok(line);
                }
                if self.read.len() > bytes_max {
                    return Err(LineError::TooLong);
                }
                let mut piece = [0; READ_BYTES];
                match self.stream.read(&mut piece).await {
                    Ok(0) => return Err(LineError::Ended),
                    Ok(bytes) => self.read.extend_from_slice(piece.get(..bytes).unwrap_or_default()),
                    Err(error) => return Err(LineError::Io(error)),
                }
            }
        };
        let line = smol::future::or(reading, async {
            Timer::after(time).await;
            Err(LineError::TimedOut)
        })
        .await?;
        if line.len() > bytes_max { Err(LineError::TooLong) } else { Ok(line) }
    }

    /// Writes one line within `time`.
    pub async fn say(&mut self, mut line: Vec<u8>, time: Duration) -> Result<(), LineError> {
        line.push(b'\n');
        let writing = async { self.stream.write_all(&line).await.map_err(LineError::Io) };
        smol::future::or(writing, async {
            Timer::after(time).await;
            Err(LineError::TimedOut)
        })
        .await
    }
}

/// Takes away what processes that were killed have left in a directory of sockets.
pub fn sweep(directory: &Path) {
    for path in fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()) {
        let is_ours = path.extension().is_some_and(|ext| ext == "sock");
        // One gets this name only once it listens, see `bind`; what cannot be removed does no harm.
        let left =
            || matches!(UnixStream::connect(&path), Err(e) if e.kind() == io::ErrorKind::ConnectionRefused);
        if is_ours && left() {
            let _ = fs::remove_file(&path);
        }
    }
}

/// Whether somebody accepts connections at a socket.
pub fn answers(path: &Path) -> bool {
    UnixStream::connect(path).is_ok()
}

fn bind(path: &Path) -> io::Result<ControlListener> {
    if path.as_os_str().len() > PATH_BYTES_MAX {
        let text = format!("the path is longer than the {PATH_BYTES_MAX} bytes that a socket may have");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    match fs::symlink_metadata(path) {
        Ok(there) if !std::os::unix::fs::FileTypeExt::is_socket(&there.file_type()) => {
            let text = "something that is no socket is there; move it away";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        _ => {}
    }
    if let Some(directory) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory)?;
    }
    // Made under another name and renamed, so that nobody ever meets one that does not listen or has other modes.
    let beside = PathBuf::from(format!("{}.new", path.display()));
    let _ = fs::remove_file(&beside);
    let socket = UnixListener::bind(&beside)?;
    fs::set_permissions(&beside, fs::Permissions::from_mode(MODE))?;
    let file = identity(&beside)?;
    fs::rename(&beside, path)?;
    Ok(ControlListener { socket: Async::new(socket)?, path: path.to_owned(), file })
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let meta = fs::symlink_metadata(path)?;
    Ok((meta.dev(), meta.ino()))
}

impl fmt::Display for ControlBindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ControlBindError::InUse(path) => write!(
                f,
                "control.socket: another node runs here, it answers at {}; stop it, or give this one a \
                 node.state_dir or control.socket of its own",
                path.display()
            ),
            ControlBindError::Io(path, error) => {
                write!(f, "control.socket: cannot listen at {}: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for ControlBindError {}

/// For the owner and the group; who may give orders is decided by who the caller is.
const MODE: u32 = 0o660;
/// Of a directory that is made for it.
const DIRECTORY_MODE: u32 = 0o750;
/// `sun_path` holds 108 bytes with the zero at the end (unix(7)), and the name beside it has four more.
const PATH_BYTES_MAX: usize = 103;
const READ_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn a_left_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run").join("control.sock");
        let first = ControlListener::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        let refused = ControlListener::bind(&path).unwrap_err().to_string();
        assert!(refused.contains("another node runs here"), "{refused}");
        drop(first);
        assert!(!path.exists());
        // As a process leaves it that is killed.
        drop(UnixListener::bind(&path).unwrap());
        let second = ControlListener::bind(&path).unwrap();
        assert!(answers(&path));
        // The file of somebody else stays.
        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
        drop(second);
        assert!(path.exists());
        let refused = ControlListener::bind(&path).unwrap_err().to_string();
        assert!(refused.contains("no socket"), "{refused}");
        let long = folder.path().join("x".repeat(PATH_BYTES_MAX));
        assert!(ControlListener::bind(&long).unwrap_err().to_string().contains("longer than"));
    }

    #[test]
    fn what_dead_processes_left_is_swept_away_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let live = ControlListener::bind(&at("node-1.sock")).unwrap();
        drop(UnixListener::bind(at("node-2.sock")).unwrap());
        drop(UnixListener::bind(at("other")).unwrap());
        fs::write(at("file.sock"), "").unwrap();
        sweep(folder.path());
        assert!(answers(live.path()) && at("other").exists());
        assert!(!at("node-2.sock").exists());
        sweep(&at("missing"));
    }

    #[test]
    fn lines_are_bounded_in_bytes_and_time_and_the_caller_is_known() {
        smol::block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("control.sock");
            let listener = ControlListener::bind(&path).unwrap();
            let mut other = UnixStream::connect(&path).unwrap();
            let mut here = listener.accept().await.unwrap();
            assert_eq!(here.caller.uid, rustix::process::getuid().as_raw());
            assert_eq!(here.caller.pid, rustix::process::getpid().as_raw_nonzero().get());
            other.write_all(b"one\ntwo\nthr").unwrap();
            assert_eq!(here.line(9, SOON).await.unwrap(), b"one");
            assert_eq!(here.line(9, SOON).await.unwrap(), b"two");
            let late = here.line(9, Duration::from_millis(1)).await;
            assert!(matches!(late, Err(LineError::TimedOut)));
            other.write_all(b"ee\n1234567890\n").unwrap();
            assert_eq!(here.line(9, SOON).await.unwrap(), b"three");
            assert!(matches!(here.line(9, SOON).await, Err(LineError::TooLong)));
            here.say(b"answer".to_vec(), SOON).await.unwrap();
            drop(here);
            let mut said = String::new();
            // Unread input makes the end a reset.
            let _ = other.read_to_string(&mut said);
            assert_eq!(said, "answer\n");
        });
    }
}
