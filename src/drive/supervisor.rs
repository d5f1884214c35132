//! What the service manager is told: sd_notify(3), its watchdog, and levels of lines for its journal.
//!
//! Promises: without a service manager nothing is sent and nothing costs anything. A state that did not change is not
//! told again. Never waits longer than a moment: a manager that does not listen does not hold up the node.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// See the module.
#[derive(Debug, Default)]
pub struct Supervisor {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    status: String,
    /// What an operator has to mend; shown before the status until it is mended.
    trouble: Option<String>,
    faults: Vec<String>,
    sent: String,
}

impl Supervisor {
    /// The one that started this process, if any (`NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`).
    pub fn of_process() -> Supervisor {
        let path = std::env::var_os("NOTIFY_SOCKET");
        let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
        let is_watched = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|usec| is_watched && *usec > 0);
        match path.as_deref().map(connect) {
            None => Supervisor::default(),
            Some(Ok(socket)) => Supervisor {
                socket: Some(socket),
                watchdog: watchdog.map(Duration::from_micros),
                told: Mutex::default(),
            },
            Some(Err(error)) => {
                log::warn!("cannot reach the service manager at NOTIFY_SOCKET: {error}");
                Supervisor::default()
            }
        }
    }

    /// True where somebody listens.
    pub fn is_there(&self) -> bool {
        self.socket.is_some()
    }

    /// How often it wants a sign of life: twice in the time after which it gives up.
    pub fn beat(&self) -> Option<Duration> {
        self.watchdog.map(|time| time / 2)
    }

    /// A sign of life. Only to be called where it proves that the core still decides.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// A reload begins; `ready` ends it.
    pub fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let usec = now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={usec}"));
    }

    /// The end has begun and takes at most `time`.
    pub fn stopping(&self, time: Duration) {
        let usec = (time + STOP_SLACK).as_micros();
        self.send(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={usec}"));
    }

    /// How things are, in one line.
    pub fn status(&self, status: String) {
        self.tell(|told| told.status = status);
    }

    /// What an operator has to mend, or `None` once it is mended.
    pub fn trouble(&self, trouble: Option<String>) {
        self.tell(|told| told.trouble = trouble);
    }

    /// The same for what is wrong around the node.
    pub fn faults(&self, faults: Vec<String>) {
        self.tell(|told| told.faults = faults);
    }

    fn tell(&self, change: impl FnOnce(&mut Told)) {
        if self.socket.is_none() {
            return;
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut told);
        let texts = told.trouble.iter().chain(&told.faults).chain([&told.status]);
        let line = one_line(texts.flat_map(|text| text.lines()));
        if line != told.sent {
            self.send(&format!("STATUS={line}"));
            told.sent = line;
        }
    }

    fn send(&self, state: &str) {
        if let Some(Err(error)) = self.socket.as_ref().map(|socket| socket.send(state.as_bytes())) {
            log::warn!("cannot tell the service manager: {error}");
        }
    }
}

/// A name that begins with @ is one of the abstract namespace (sd_notify(3)).
fn connect(path: &OsStr) -> io::Result<UnixDatagram> {
    let address = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(path)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_write_timeout(Some(SEND_TIME_MAX))?;
    Ok(socket)
}

/// A state is one line of bounded length.
fn one_line<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let lines: Vec<&str> = lines.map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut line = lines.join("; ");
    if line.len() > STATUS_BYTES_MAX {
        let end = (0..=STATUS_BYTES_MAX).rev().find(|at| line.is_char_boundary(*at)).unwrap_or_default();
        line.truncate(end);
        line.push_str(" ... (the rest is in the log)");
    }
    line
}

/// True where stderr is the journal (`JOURNAL_STREAM`, systemd.exec(5)), which takes the level of a line from a prefix
/// and has a clock of its own. A file that stderr was redirected to inherits the variable, but not the journal.
pub fn logs_to_journal() -> bool {
    let Some((device, inode)) = std::env::var("JOURNAL_STREAM").ok().and_then(|text| {
        let (device, inode) = text.split_once(':')?;
        Some((device.parse::<u64>().ok()?, inode.parse::<u64>().ok()?))
    }) else {
        return false;
    };
    rustix::fs::fstat(std::io::stderr()).is_ok_and(|stat| stat.st_dev == device && stat.st_ino == inode)
}

/// Lines of `error: ...`, `warning: ...` and others as stderr should get them: with levels where it is the journal.
pub fn leveled(lines: &str) -> Cow<'_, str> {
    if logs_to_journal() { Cow::Owned(with_levels(lines)) } else { Cow::Borrowed(lines) }
}

fn with_levels(lines: &str) -> String {
    let level = |line: &str| match line.split(':').next() {
        Some("error") => 3,
        Some("warning") => 4,
        Some("notice") => 5,
        _ => 6,
    };
    lines.lines().map(|line| format!("<{}>{line}\n", level(line))).collect()
}

/// What the manager reads at most in one message is 4 KiB.
const STATUS_BYTES_MAX: usize = 3800;
const SEND_TIME_MAX: Duration = Duration::from_secs(1);
/// What an end takes beyond the time in which connections end.
const STOP_SLACK: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn supervised() -> (Supervisor, UnixDatagram) {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        (Supervisor { socket: Some(ours), ..Default::default() }, theirs)
    }

    fn heard(socket: &UnixDatagram) -> Option<String> {
        let mut buffer = [0; 8192];
        let length = socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
    }

    #[test]
    fn trouble_stays_before_the_status_until_it_is_mended_and_nothing_is_told_twice() {
        let (supervisor, manager) = supervised();
        supervisor.status("2 links".into());
        supervisor.status("2 links".into());
        assert_eq!(heard(&manager).unwrap(), "STATUS=2 links");
        assert_eq!(heard(&manager), None);
        supervisor.trouble(Some("error: a\nerror: b\n".into()));
        assert_eq!(heard(&manager).unwrap(), "STATUS=error: a; error: b; 2 links");
        supervisor.status("3 links".into());
        assert_eq!(heard(&manager).unwrap(), "STATUS=error: a; error: b; 3 links");
        supervisor.trouble(None);
        assert_eq!(heard(&manager).unwrap(), "STATUS=3 links");
    }

    #[test]
    fn a_status_of_many_faults_is_cut_and_stays_one_message() {
        let (supervisor, manager) = supervised();
        supervisor.trouble(Some("error: \u{fc}\u{fc}\u{fc}\n".repeat(1000)));
        let text = heard(&manager).unwrap();
        assert!(text.len() < 4096 && !text.contains('\n') && text.ends_with("(the rest is in the log)"));
    }

    #[test]
    fn the_end_asks_for_the_time_that_it_needs() {
        let (supervisor, manager) = supervised();
        supervisor.stopping(Duration::from_secs(60));
        assert_eq!(heard(&manager).unwrap(), "STOPPING=1\nEXTEND_TIMEOUT_USEC=65000000");
        supervisor.reloading();
        assert!(heard(&manager).unwrap().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    }

    #[test]
    fn without_a_manager_nothing_happens() {
        let nobody = Supervisor::default();
        nobody.ready();
        nobody.status("x".into());
        assert!(!nobody.is_there() && nobody.beat().is_none());
    }

    #[test]
    fn lines_get_the_level_that_their_first_word_says() {
        assert_eq!(
            with_levels("error: a: b\nwarning: c\n1 error\n"),
            "<3>error: a: b\n<4>warning: c\n<6>1 error\n"
        );
    }
}
