//! One worker process: started in a process group of its own with a small environment and bounded resources,
//! noticed at once when it ends, and ended together with everything it started.
//!
//! The process stays a zombie until its group has been killed, so that a signal never reaches a stranger who was
//! given the same number.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open,
    prlimit, waitid,
};
use smol::{Async, Timer};

use super::WorkerSpec;
use crate::drive::reactor::Source;

/// What is run: functions that agree in all of it share their processes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Command {
    argv: Vec<String>,
    environment: BTreeMap<String, String>,
    user: Option<String>,
}

/// A process that was started and not yet reaped.
pub(super) struct Process {
    child: Child,
    pid: Pid,
    /// Readable when the process has ended; kernels before 5.3 have none.
    end: Option<Async<OwnedFd>>,
    reaped: bool,
}

/// The pipes to it. The thread that is to run what reads them watches them, not the one that started the process.
pub(super) struct Pipes {
    stdin: ChildStdin,
    stdout: ChildStdout,
    stderr: ChildStderr,
}

pub(super) struct Watched {
    pub stdin: Source<ChildStdin>,
    pub stdout: Source<ChildStdout>,
    pub stderr: Source<ChildStderr>,
}

/// Why a process could not be started.
pub(super) struct Refused {
    /// For the log, with the whole command.
    pub logged: String,
    /// For callers, in the manner of `exited with status 3`.
    pub told: String,
}

impl Command {
    pub fn of(spec: &WorkerSpec) -> Command {
        let user = spec.user.clone().filter(|u| !u.is_empty());
        Command { argv: spec.command.clone(), environment: spec.environment.clone(), user }
    }

    /// Blocks for as long as the system needs to start a program.
    pub fn start(&self) -> Result<(Process, Pipes), Refused> {
        let program = self.argv.first().map_or("", String::as_str);
        self.try_start(program).map_err(|error| {
            let name = Path::new(program).file_name().unwrap_or_default().to_string_lossy();
            Refused {
                logged: format!("cannot start {:?}: {error}", self.argv.join(" ")),
                told: format!("cannot be started ({name}: {error})"),
            }
        })
    }

    fn try_start(&self, program: &str) -> io::Result<(Process, Pipes)> {
        if program.is_empty() {
            return Err(io::Error::other("the command is empty"));
        }
        let mut command = std::process::Command::new(program);
        command.args(self.argv.iter().skip(1)).env_clear().process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for name in INHERITED {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        if let Some(user) = &self.user {
            let account = Account::find(user)?;
            if account.uid != rustix::process::getuid().as_raw() {
                // Starting fails by itself where the daemon may not do this. The groups of the daemon are given up.
                command.uid(account.uid).gid(account.gid);
            }
            command.env("HOME", &account.home).env("USER", &account.name).env("LOGNAME", &account.name);
        }
        command.envs(&self.environment);
        let mut child = command.spawn()?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let pid = Pid::from_child(&child);
        let end = pidfd_open(pid, PidfdFlags::empty()).ok().and_then(|fd| Async::new(fd).ok());
        let process = Process { child, pid, end, reaped: false };
        process.limit_resources();
        match pipes {
            (Some(stdin), Some(stdout), Some(stderr)) => Ok((process, Pipes { stdin, stdout, stderr })),
            _ => Err(io::Error::other("a pipe to it is missing")),
        }
    }
}

impl Pipes {
    pub fn watch(self) -> io::Result<Watched> {
        Ok(Watched {
            stdin: Source::new(self.stdin)?,
            stdout: Source::new(self.stdout)?,
            stderr: Source::new(self.stderr)?,
        })
    }
}

impl Process {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Resolves when the process has ended; it is not reaped by that.
    pub async fn ended(&self) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        while let Ok(None) = waitid(WaitId::Pid(self.pid), options) {
            match &self.end {
                Some(end) if end.readable().await.is_ok() => {}
                _ => {
                    Timer::after(POLL_INTERVAL).await;
                }
            }
        }
    }

    /// Sends a signal to the process and all that it started in its group.
    pub fn signal(&self, signal: Signal) {
        if !self.reaped {
            // It fails when there is nobody left, which is what was wanted.
            let _ = kill_process_group(self.pid, signal);
        }
    }

    /// Takes the exit status of a process that has ended.
    pub fn reap(&mut self) -> io::Result<Option<ExitStatus>> {
        let status = self.child.try_wait()?;
        self.reaped |= status.is_some();
        Ok(status)
    }

    /// A worker that crashes shall not fill the disk, nor inherit the many files that the daemon may open. It may
    /// have ended already, so no result is expected.
    fn limit_resources(&self) {
        let none = Rlimit { current: Some(0), maximum: Some(0) };
        let _ = prlimit(Some(self.pid), Resource::Core, none);
        let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
        let current = maximum.map_or(FILES_OPEN_MAX, |m| m.min(FILES_OPEN_MAX));
        let _ = prlimit(Some(self.pid), Resource::Nofile, Rlimit { current: Some(current), maximum });
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.reap();
    }
}

/// How a process ended, as in `worker of demo.add exited with status 3`.
pub(super) fn how_it_ended(status: io::Result<Option<ExitStatus>>) -> String {
    match status {
        Ok(Some(status)) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("exited with status {code}"),
            (None, Some(signal)) => format!("was ended by signal {signal}"),
            (None, None) => format!("ended: {status}"),
        },
        Ok(None) => "did not end when it was killed".into(),
        Err(error) => format!("ended, nobody knows how: {error}"),
    }
}

/// A line of `/etc/passwd`.
#[derive(Debug, PartialEq)]
struct Account {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

impl Account {
    fn find(name: &str) -> io::Result<Account> {
        let accounts = std::fs::read_to_string("/etc/passwd")?;
        let unknown = || io::Error::new(io::ErrorKind::NotFound, format!("there is no user {name}"));
        Account::find_in(&accounts, name).ok_or_else(unknown)
    }

    fn find_in(accounts: &str, name: &str) -> Option<Account> {
        accounts.lines().find_map(|line| {
            let mut fields = line.split(':');
            let found = fields.next().filter(|n| *n == name)?.to_owned();
            let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
            Some(Account { name: found, uid, gid, home: fields.nth(1)?.to_owned() })
        })
    }
}

/// What a worker gets of the daemon's environment.
pub(in crate::drive) const INHERITED: [&str; 5] = ["PATH", "HOME", "LANG", "LC_ALL", "TZ"];
/// What programs expect that use `select`.
const FILES_OPEN_MAX: u64 = 1024;
/// How often an old kernel is asked whether a process has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    fn command(argv: &[&str], user: Option<&str>) -> Command {
        Command {
            argv: argv.iter().map(|a| (*a).into()).collect(),
            environment: BTreeMap::new(),
            user: user.map(Into::into),
        }
    }

    #[test]
    fn accounts_are_found_by_their_whole_name() {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\nbroken:x\nmp:x:5:6::/m:\nmpreg:x:998:997:a,b:/var/lib/mpreg:/x\n";
        let home = "/var/lib/mpreg".to_owned();
        let account = Account { name: "mpreg".into(), uid: 998, gid: 997, home };
        assert_eq!(Account::find_in(passwd, "mpreg"), Some(account));
        assert_eq!(Account::find_in(passwd, "mpr"), None);
        assert_eq!(Account::find_in(passwd, "broken"), None);
    }

    #[test]
    fn what_cannot_run_says_why_and_callers_see_no_path() {
        for (argv, user, word) in [
            (&["/nonexistent/worker"][..], None, "No such file"),
            (&["/etc/passwd"][..], None, "denied"),
            (&[][..], None, "empty"),
            (&["/bin/true"][..], Some("nobody-of-that-name"), "no user nobody-of-that-name"),
        ] {
            let Err(refused) = command(argv, user).start() else { panic!("{argv:?}") };
            assert!(refused.told.contains(word) && !refused.told.contains('/'), "{}", refused.told);
            assert!(argv.iter().all(|a| refused.logged.contains(a)), "{}", refused.logged);
        }
    }

    #[test]
    fn a_worker_may_run_as_another_user_if_the_daemon_is_root() {
        if !rustix::process::getuid().is_root() {
            return;
        }
        smol::block_on(async {
            let script = "echo $(id -u) $(id -G) $USER $HOME";
            let Ok((process, pipes)) = command(&["/bin/sh", "-c", script], Some("daemon")).start() else {
                panic!("no shell")
            };
            let mut pipes = pipes.watch().unwrap();
            let mut said = String::new();
            smol::io::AsyncReadExt::read_to_string(&mut pipes.stdout, &mut said).await.unwrap();
            let account = Account::find("daemon").unwrap();
            let (uid, gid) = (account.uid, account.gid);
            assert_eq!(said.trim(), format!("{uid} {gid} daemon {}", account.home));
            process.ended().await;
        });
    }

    #[test]
    fn an_end_is_noticed_with_and_without_a_pidfd() {
        smol::block_on(async {
            for with_pidfd in [true, false] {
                let Ok((mut process, _pipes)) = command(&["/bin/sh", "-c", "exit 3"], None).start() else {
                    panic!("no shell")
                };
                if !with_pidfd {
                    process.end = None;
                }
                process.ended().await;
                process.ended().await;
                assert_eq!(how_it_ended(process.reap()), "exited with status 3");
            }
        });
    }

    #[test]
    fn a_signal_reaches_the_whole_group_and_limits_are_set() {
        smol::block_on(async {
            let Ok((mut process, pipes)) = command(
                &["/bin/sh", "-c", "trap '' TERM; sleep 600 & read x; ulimit -c; ulimit -n; wait"],
                None,
            )
            .start() else {
                panic!("no shell")
            };
            use smol::io::{AsyncReadExt, AsyncWriteExt};
            let mut pipes = pipes.watch().unwrap();
            pipes.stdin.write_all(b"\n").await.unwrap();
            let mut said = [0; 64];
            let n = pipes.stdout.read(&mut said).await.unwrap();
            let said = String::from_utf8_lossy(&said[..n]).into_owned();
            assert!(said.starts_with("0\n"), "{said}");
            process.signal(Signal::KILL);
            process.ended().await;
            assert_eq!(how_it_ended(process.reap()), "was ended by signal 9");
            // Only when the background process has gone too is there nobody who holds the pipe.
            let mut rest = Vec::new();
            pipes.stdout.read_to_end(&mut rest).await.unwrap();
        });
    }
}
