//! Where registries of route keys are read from: a file, a directory, a command or a URL (`[route.security.provider]`).
//!
//! Promises: reading never blocks the executor; what is read has a size, and a command a time, after which it is killed
//! with everything it started. A file that everybody may write is refused, for whoever writes it says whom to believe.
//! Nothing is interpreted here. From a network a registry comes over TLS or from this machine alone, which the check of
//! the configuration sees to.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use smol::future::{or, zip};
use smol::io::{AsyncRead, AsyncReadExt as _};
use smol::{Async, Timer};

use super::fetch::{FetchSettings, fetch};
use super::file::read_bounded;
use super::resolve::Resolver;
use super::tls::TlsTrust;
use super::worker::INHERITED;

/// One place to read from.
#[derive(Debug, Clone)]
pub enum KeySource {
    File(PathBuf),
    /// Every `*.json` in it, in the order of their names.
    Directory(PathBuf),
    /// Its output; the program and its arguments.
    Exec(Vec<String>),
    /// The document at a URL; the trust is needed for https.
    Http(String, Option<Arc<TlsTrust>>),
}

/// One document, and what to call it in a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyDocument {
    pub name: String,
    pub bytes: Vec<u8>,
}

impl KeySource {
    /// Reads everything that is there now; the error names what could not be read.
    pub async fn read(&self) -> Result<Vec<KeyDocument>, String> {
        match self {
            KeySource::File(path) => {
                let path = path.clone();
                smol::unblock(move || Ok(vec![read_file(&path)?])).await
            }
            KeySource::Directory(path) => {
                let path = path.clone();
                smol::unblock(move || read_directory(&path)).await
            }
            KeySource::Exec(argv) => run(argv, EXEC_TIME_MAX).await.map(|document| vec![document]),
            KeySource::Http(url, tls) => get(url, tls.clone()).await.map(|document| vec![document]),
        }
    }
}

async fn get(url: &str, tls: Option<Arc<TlsTrust>>) -> Result<KeyDocument, String> {
    let resolver = Resolver::system();
    let how = FetchSettings { time_max: HTTP_TIME_MAX, bytes_max: BYTES_MAX, tls, resolver };
    let bytes = fetch(url, &how).await.map_err(|error| format!("{url}: {error}"))?;
    Ok(KeyDocument { name: url.to_owned(), bytes })
}

fn read_directory(path: &Path) -> Result<Vec<KeyDocument>, String> {
    let fault = |error: io::Error| format!("{}: {error}", path.display());
    check_writers(path, &fs::metadata(path).map_err(fault)?).map_err(fault)?;
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(fault)? {
        let file = entry.map_err(fault)?.path();
        if file.extension().is_some_and(|extension| extension == "json") {
            files.push(file);
        }
        if files.len() > FILES_MAX {
            return Err(format!("{}: more than {FILES_MAX} files", path.display()));
        }
    }
    files.sort();
    let (mut documents, mut bytes) = (Vec::new(), 0);
    for file in files {
        let document = read_file(&file)?;
        bytes += document.bytes.len();
        if bytes > BYTES_MAX {
            return Err(format!("{}: more than {BYTES_MAX} bytes", path.display()));
        }
        documents.push(document);
    }
    Ok(documents)
}

fn read_file(path: &Path) -> Result<KeyDocument, String> {
    let name = path.display().to_string();
    match read_bounded(path, BYTES_MAX, |meta| check_writers(path, meta)) {
        Ok(bytes) => Ok(KeyDocument { name, bytes }),
        Err(error) => Err(format!("{name}: {error}")),
    }
}

fn check_writers(path: &Path, meta: &fs::Metadata) -> io::Result<()> {
    if meta.mode() & WRITABLE_BY_OTHERS == 0 {
        return Ok(());
    }
    let mode = meta.mode() & 0o7777;
    Err(io::Error::other(format!("everybody may write it (mode {mode:o}); chmod o-w {}", path.display())))
}

/// A process that does not outlive its value, nor does what it started.
struct Running {
    child: Child,
    is_reaped: bool,
}

impl Running {
    /// Its own status where it had ended by itself.
    fn end(&mut self) -> io::Result<ExitStatus> {
        if !self.is_reaped {
            // Until it is reaped the number of its group cannot be that of somebody else.
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            self.is_reaped = true;
        }
        self.child.wait()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

async fn run(argv: &[String], time_max: Duration) -> Result<KeyDocument, String> {
    let name = argv.first().cloned().unwrap_or_default();
    let told = |fault: String| format!("{name}: {fault}");
    let argv = argv.to_vec();
    let child = smol::unblock(move || start(&argv)).await.map_err(|error| told(error.to_string()))?;
    let mut running = Running { child, is_reaped: false };
    let read = or(output(&mut running.child), async {
        Timer::after(time_max).await;
        Err(format!("not done after {} s", time_max.as_secs_f64()))
    })
    .await;
    let (bytes, errors) = read.map_err(told)?;
    let status = running.end().map_err(|error| told(error.to_string()))?;
    if bytes.len() > BYTES_MAX {
        return Err(told(format!("wrote more than {BYTES_MAX} bytes")));
    }
    if !status.success() {
        let errors = String::from_utf8_lossy(&errors);
        let line = errors.lines().last().unwrap_or_default().trim();
        return Err(told(format!("{status}{}{line}", if line.is_empty() { "" } else { ": " })));
    }
    Ok(KeyDocument { name, bytes })
}

fn start(argv: &[String]) -> io::Result<Child> {
    let (program, arguments) = argv.split_first().ok_or_else(|| io::Error::other("the command is empty"))?;
    let mut command = std::process::Command::new(program);
    command.args(arguments).env_clear().process_group(0);
    for name in INHERITED {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

/// What it wrote until both its outputs ended and it ended itself, or until it wrote too much. It is not reaped.
async fn output(child: &mut Child) -> Result<(Vec<u8>, Vec<u8>), String> {
    let fault = |error: io::Error| error.to_string();
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err("a pipe to it is missing".into());
    };
    let stdout = Async::new(stdout).map_err(fault)?;
    let stderr = Async::new(stderr).map_err(fault)?;
    let (bytes, errors) = zip(read_all(stdout, BYTES_MAX), read_all(stderr, ERRORS_BYTES_MAX)).await;
    let (bytes, errors) = (bytes.map_err(fault)?, errors.map_err(fault)?);
    // A program that closes its outputs is about to end.
    while bytes.len() <= BYTES_MAX && matches!(waitid(WaitId::Pid(Pid::from_child(child)), NO_WAIT), Ok(None))
    {
        Timer::after(EXIT_LOOK).await;
    }
    Ok((bytes, errors))
}

/// Up to one byte more than `bytes_max`; what follows is left in the pipe, which is closed.
async fn read_all(pipe: impl AsyncRead + Unpin, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    pipe.take(bytes_max as u64 + 1).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

/// Ten thousand clusters with two keys each have 4 MB.
const BYTES_MAX: usize = 8 << 20;
const FILES_MAX: usize = 10_000;
/// The end of what a command says about a failure goes into the log.
const ERRORS_BYTES_MAX: usize = 64 << 10;
/// Below the refresh interval anybody would choose.
const HTTP_TIME_MAX: Duration = Duration::from_secs(30);
const EXEC_TIME_MAX: Duration = Duration::from_secs(30);
const EXIT_LOOK: Duration = Duration::from_millis(5);
/// Whether a process has ended, without reaping it.
const NO_WAIT: WaitIdOptions =
    WaitIdOptions::EXITED.union(WaitIdOptions::NOWAIT).union(WaitIdOptions::NOHANG);
const WRITABLE_BY_OTHERS: u32 = 0o002;

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Instant;

    use super::*;

    fn shell(script: &str, time_max: Duration) -> Result<KeyDocument, String> {
        let argv = ["sh", "-c", script].map(str::to_owned);
        smol::block_on(run(&argv, time_max))
    }

    fn read(source: KeySource) -> Result<Vec<KeyDocument>, String> {
        smol::block_on(source.read())
    }

    #[test]
    fn a_file_is_read_and_one_that_everybody_may_write_is_not() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("keys.json");
        let source = KeySource::File(path.clone());
        assert!(read(source.clone()).unwrap_err().contains("keys.json: "));
        fs::write(&path, "{}").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o664)).unwrap();
        assert_eq!(read(source.clone()).unwrap()[0].bytes, b"{}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        let told = read(source).unwrap_err();
        assert!(told.contains("mode 666") && told.contains("chmod o-w"), "{told}");
        assert!(read(KeySource::File(place.path().into())).unwrap_err().ends_with("not a file"));
    }

    #[test]
    fn a_directory_gives_its_documents_in_the_order_of_their_names() {
        let place = tempfile::tempdir().unwrap();
        for (name, text) in [("b.json", "B"), ("a.json", "A"), ("c.txt", "no"), ("d.json.new", "no")] {
            let path = place.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        }
        let source = KeySource::Directory(place.path().into());
        let texts: Vec<_> = read(source.clone()).unwrap().into_iter().map(|d| d.bytes).collect();
        assert_eq!(texts, [b"A", b"B"]);
        fs::write(place.path().join("z.json"), vec![b' '; BYTES_MAX]).unwrap();
        assert!(read(source).unwrap_err().contains("more than"));
        assert!(read(KeySource::Directory(place.path().join("none"))).is_err());
    }

    #[test]
    fn a_url_gives_its_document_or_says_why_not() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let serving = std::thread::spawn(move || {
            for status in ["200 OK", "503 Busy"] {
                let (mut stream, _) = listener.accept().unwrap();
                let mut asked = [0; 1024];
                assert!(stream.read(&mut asked).unwrap() > 0);
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{{}}");
                io::Write::write_all(&mut stream, answer.as_bytes()).unwrap();
            }
        });
        let source = KeySource::Http(url.clone(), None);
        assert_eq!(read(source.clone()).unwrap(), [KeyDocument { name: url.clone(), bytes: b"{}".to_vec() }]);
        let told = read(source).unwrap_err();
        assert!(told.starts_with(&url) && told.contains("HTTP 503"), "{told}");
        serving.join().unwrap();
    }

    #[test]
    fn a_command_gives_what_it_prints_or_says_why_not() {
        let long = Duration::from_secs(20);
        assert_eq!(shell("echo '{}'; echo noise >&2", long).unwrap().bytes, b"{}\n");
        let told = shell("echo half; echo first >&2; echo 'no such host' >&2; exit 3", long).unwrap_err();
        assert!(told.starts_with("sh: exit status: 3") && told.ends_with("no such host"), "{told}");
        let told = smol::block_on(run(&["/nonexistent/program".to_owned()], long)).unwrap_err();
        assert!(told.starts_with("/nonexistent/program: "), "{told}");
        assert!(smol::block_on(run(&[], long)).unwrap_err().contains("empty"));
        assert!(shell("cat /dev/zero", long).unwrap_err().contains("wrote more than"));
    }

    #[test]
    fn a_command_that_does_not_end_is_killed_with_its_children() {
        let place = tempfile::tempdir().unwrap();
        let mark = place.path().join("pid");
        let began = Instant::now();
        let script = format!("sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; wait", mark.display());
        let told = shell(&script, Duration::from_millis(300)).unwrap_err();
        assert!(told.contains("not done after 0.3 s") && began.elapsed() < Duration::from_secs(20), "{told}");
        let Ok(pid) = fs::read_to_string(&mark) else { return }; // killed before it came that far
        let state = || fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
        // An orphan that was killed is gone, or waits as a zombie for whoever adopted it.
        while state().is_ok_and(|s| !s.contains(") Z ") && !s.contains(") X ")) {
            assert!(began.elapsed() < Duration::from_secs(20), "it still runs");
            std::thread::yield_now();
        }
    }
}
