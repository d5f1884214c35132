//! The life of one worker process after another: start it, feed it, read it, notice its end, wait, start it again.
//!
//! Requests are written by one task that takes everything that is ready at once; answers are read by another that
//! cuts and parses them in its own buffer. What the worker says on stderr, and what on stdout is no answer, goes to
//! the log, within bounds.

use std::process::{ChildStderr, ChildStdin, ChildStdout};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::value::RawValue;
use smol::channel::{Receiver, Sender};
use smol::future::{or, yield_now};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::{Executor, Task, Timer};

use crate::core::reason::Reason;
use crate::core::worker::{Answer, Line, Lines, LogLines, Throttle, printable, read_answer};
use crate::drive::reactor::Source;

use super::pool::{Pool, Told};
use super::process::{Pipes, Process, how_it_ended};
use super::stopping;

/// Keeps one instance of a pool running until the node stops its workers.
pub(super) async fn run(
    pool: Arc<Pool>,
    index: usize,
    executor: Weak<Executor<'static>>,
    stop: Receiver<()>,
) {
    loop {
        pool.starting(index);
        let starter = pool.clone();
        let wait = match smol::unblock(move || starter.command.start()).await {
            Ok((process, pipes)) => {
                let id = process.id();
                let Some(how) = serve(&pool, index, process, pipes, &executor, &stop).await else { return };
                let wait = pool.down(index, &how);
                if stop.is_closed() {
                    log::info!("{} (pid {id}) {how}", pool.label);
                    return;
                }
                log::warn!("{} (pid {id}) {how}; it is started again in {wait:?}", pool.label);
                wait
            }
            Err(refused) => {
                let wait = pool.refused(index, &refused.told);
                log::error!("{}: {}; the next try is in {wait:?}", pool.label, refused.logged);
                wait
            }
        };
        let stopped = async {
            stopping(&stop).await;
            true
        };
        let waited = async {
            Timer::after(wait).await;
            false
        };
        if or(stopped, waited).await {
            return;
        }
    }
}

/// Serves calls with one process until it has ended; says how it did, or None when the executor is gone.
async fn serve(
    pool: &Arc<Pool>,
    index: usize,
    mut process: Process,
    pipes: Pipes,
    executor: &Weak<Executor<'static>>,
    stop: &Receiver<()>,
) -> Option<String> {
    enum End {
        Ended,
        Broken(Option<String>),
        Stopped,
    }

    let pipes = match pipes.watch() {
        Ok(pipes) => pipes,
        Err(error) => {
            process.signal(Signal::KILL);
            within(KILL_WAIT, process.ended()).await;
            let _ = process.reap();
            return Some(format!("was ended because its pipes cannot be watched ({error})"));
        }
    };
    let (broken_in, broken) = smol::channel::bounded(BROKEN_WORDS_MAX);
    let who = format!("{} (pid {})", pool.label, process.id());
    pool.up(index, broken_in.clone());
    log::info!("{who} runs");
    let (reader, listener, writer) = {
        let executor = executor.upgrade()?;
        (
            executor.spawn(read(pool.clone(), index, pipes.stdout, who.clone(), broken_in.clone())),
            executor.spawn(listen(pool.clone(), pipes.stderr, who.clone())),
            executor.spawn(write(pool.clone(), index, pipes.stdin, broken_in)),
        )
    };

    let ended = async {
        process.ended().await;
        End::Ended
    };
    let broke = async { End::Broken(broken.recv().await.ok()) };
    let stopped = async {
        stopping(stop).await;
        End::Stopped
    };
    let why = match or(ended, or(stopped, broke)).await {
        End::Ended => None,
        End::Broken(why) => {
            // The pipes of a process that ends break a moment before its end is noticed.
            if within(END_WAIT, process.ended()).await { None } else { why }
        }
        End::Stopped => {
            process.signal(Signal::TERM);
            within(pool.grace(), process.ended()).await;
            None
        }
    };
    // Also when the worker itself has ended: what it started may hold its pipes.
    process.signal(Signal::KILL);
    within(KILL_WAIT, process.ended()).await;
    writer.cancel().await;
    drain(reader).await;
    drain(listener).await;
    let status = process.reap();
    Some(why.unwrap_or_else(|| how_it_ended(status)))
}

/// Writes requests until the pool closes the feed; the worker's stdin is closed by that.
async fn write(pool: Arc<Pool>, index: usize, mut stdin: Source<ChildStdin>, broken: Sender<String>) {
    let mut batch = Vec::new();
    while pool.next_batch(index, &mut batch).await {
        if let Err(error) = stdin.write_all(&batch).await {
            tell(&broken, format!("was ended because it takes no requests ({error})"));
            return;
        }
        batch.clear();
        if batch.capacity() > BATCH_KEPT_BYTES_MAX {
            batch = Vec::new();
        }
    }
}

/// Reads answers until the worker closes its stdout.
async fn read(
    pool: Arc<Pool>,
    index: usize,
    mut stdout: Source<ChildStdout>,
    who: String,
    broken: Sender<String>,
) {
    let mut lines = Lines::new(pool.limits.message_bytes_max);
    let mut garbage =
        Quoted::new(format!("{who} wrote what is no answer"), log::Level::Warn, GARBAGE_THROTTLE);
    let mut told = Vec::new();
    let mut turns: u32 = 0;
    let why = loop {
        match timely(&garbage, stdout.read(lines.space())).await {
            None => {
                garbage.quote_suppressed();
                continue;
            }
            Some(Ok(0)) => break "was ended because it closed its output".to_owned(),
            Some(Ok(bytes)) => lines.filled(bytes),
            Some(Err(error)) => break format!("was ended because its output cannot be read ({error})"),
        }
        let mut unreadable = 0;
        let mut lost = false;
        while let Some(line) = lines.take() {
            match line {
                Line::Whole(line) => match read_answer(line) {
                    Ok((id, answer)) => told.push((id, told_by(answer))),
                    Err(_) if line.trim_ascii().is_empty() => {}
                    Err(_) => {
                        unreadable += 1;
                        garbage.quote(&pool, || printable(line, GARBAGE_CHARS_SHOWN_MAX));
                    }
                },
                Line::TooLong { id } => told.push((id, Told::TooLong)),
                Line::Lost => lost = true,
            }
        }
        if !told.is_empty() {
            pool.note(Reason::ResultNotUnderstood, pool.answered(index, &mut told));
        }
        pool.note(Reason::WorkerGarbage, unreadable);
        if lost {
            pool.note(Reason::ResultTooLarge, 1);
            let max = pool.limits.message_bytes_max;
            break format!("was ended because it wrote a line of more than {max} bytes without a known id");
        }
        turns = turns.wrapping_add(1);
        if turns.is_multiple_of(READS_PER_TURN) {
            yield_now().await;
        }
    };
    let rest = lines.rest();
    if !rest.trim_ascii().is_empty() {
        pool.note(Reason::WorkerGarbage, 1);
        garbage.quote(&pool, || printable(rest, GARBAGE_CHARS_SHOWN_MAX));
    }
    garbage.quote_suppressed();
    tell(&broken, why);
}

/// Brings the worker's stderr to the log.
async fn listen(pool: Arc<Pool>, mut stderr: Source<ChildStderr>, who: String) {
    let mut words = Quoted::new(who, log::Level::Info, STDERR_THROTTLE);
    let mut lines = LogLines::default();
    let mut buffer = vec![0; STDERR_READ_BYTES];
    let mut turns: u32 = 0;
    loop {
        match timely(&words, stderr.read(&mut buffer)).await {
            None => words.quote_suppressed(),
            Some(Ok(0)) | Some(Err(_)) => break,
            Some(Ok(bytes)) => lines.add(&buffer[..bytes], |line| words.quote(&pool, || line)),
        }
        turns = turns.wrapping_add(1);
        if turns.is_multiple_of(READS_PER_TURN) {
            yield_now().await;
        }
    }
    lines.end(|line| words.quote(&pool, || line));
    words.quote_suppressed();
}

/// Lines of a worker on their way to the log.
struct Quoted {
    head: String,
    level: log::Level,
    throttle: Throttle,
}

impl Quoted {
    fn new(head: String, level: log::Level, (burst, interval): (u32, Duration)) -> Quoted {
        Quoted { head, level, throttle: Throttle::new(burst, interval) }
    }

    fn quote(&mut self, pool: &Pool, line: impl FnOnce() -> String) {
        if self.throttle.admit(pool.now()) {
            log::log!(self.level, "{}: {}", self.head, line());
        }
    }

    fn quote_suppressed(&mut self) {
        let suppressed = self.throttle.take_suppressed();
        if suppressed > 0 {
            log::log!(self.level, "{}: {suppressed} more lines, not shown", self.head);
        }
    }
}

/// A read that is interrupted (None) when lines were left out of the log and nobody has said so for a while.
async fn timely<R>(quoted: &Quoted, read: impl Future<Output = R>) -> Option<R> {
    if !quoted.throttle.has_suppressed() {
        return Some(read.await);
    }
    let pause = async {
        Timer::after(SUPPRESSED_TOLD_AFTER).await;
        None
    };
    or(async { Some(read.await) }, pause).await
}

fn told_by(answer: Answer<'_>) -> Told {
    match answer {
        Answer::Result(result) => Told::Result(RawValue::to_owned(result)),
        Answer::Error(message) => Told::Error(message),
        Answer::Empty => Told::Empty,
    }
}

/// Says that a worker is of no use any longer; the first word counts.
fn tell(broken: &Sender<String>, why: String) {
    let _ = broken.try_send(why);
}

/// Whether `event` happened within `time`.
async fn within(time: Duration, event: impl Future<Output = ()>) -> bool {
    let happened = async {
        event.await;
        true
    };
    let over = async {
        Timer::after(time).await;
        false
    };
    or(happened, over).await
}

/// Lets a task read what the process left in its pipe.
async fn drain(task: Task<()>) {
    if !within(DRAIN_WAIT, task).await {
        // Somebody outside the process group holds the pipe; the task was cancelled by the wait.
        log::debug!("a pipe of a worker that ended is still open");
    }
}

/// Room for the words of the reader, the writer and the group.
const BROKEN_WORDS_MAX: usize = 4;
/// A buffer that grew beyond this for a large request is given back.
const BATCH_KEPT_BYTES_MAX: usize = 256 * 1024;
/// A worker that never stops writing must let other tasks run.
const READS_PER_TURN: u32 = 16;
const STDERR_READ_BYTES: usize = 8 * 1024;
/// Enough for a stack trace at once, then ten lines a second.
const STDERR_THROTTLE: (u32, Duration) = (100, Duration::from_millis(100));
const GARBAGE_THROTTLE: (u32, Duration) = (10, Duration::from_secs(1));
const GARBAGE_CHARS_SHOWN_MAX: usize = 200;
const SUPPRESSED_TOLD_AFTER: Duration = Duration::from_secs(1);
/// How long the end of a process may be noticed after the end of its pipes.
const END_WAIT: Duration = Duration::from_millis(200);
/// The kernel ends a killed process at once, unless it hangs in a device.
const KILL_WAIT: Duration = Duration::from_secs(5);
const DRAIN_WAIT: Duration = Duration::from_millis(500);
