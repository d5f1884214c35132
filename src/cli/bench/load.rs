//! What all benches share: connections, threads, slices of time that alternate between the node and the ceiling,
//! and the tallies that come out of them.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use smol::{Executor, channel::bounded};

use super::{
    super::{output::Failure, remote::Remote},
    histogram::Histogram,
};
use crate::{
    client::{Options, open, within},
    drive::link::{Incoming, Link, LinkError, LinkLimits, close_code},
    drive::reactor,
};

/// What came out of one slice, or of several.
#[derive(Clone)]
pub struct Tally {
    /// Answers or deliveries that were right.
    pub right: u64,
    /// Those of them that came before the slice was over.
    pub in_time: u64,
    /// Answers that are errors.
    pub errors: u64,
    /// Answers or deliveries whose content is not what was sent.
    pub corrupt: u64,
    /// Answers or deliveries that did not come.
    pub lost: u64,
    /// Answers or deliveries that came more than once, or that nobody asked for.
    pub duplicated: u64,
    /// Deliveries that came after a later one.
    pub reordered: u64,
    pub latency: Histogram,
    /// The first answer that was wrong.
    pub sample: Option<String>,
    /// How long it was measured.
    pub measured: Duration,
}

impl Tally {
    pub fn new() -> Tally {
        Tally {
            right: 0,
            in_time: 0,
            errors: 0,
            corrupt: 0,
            lost: 0,
            duplicated: 0,
            reordered: 0,
            latency: Histogram::new(),
            sample: None,
            measured: Duration::ZERO,
        }
    }

    /// Adds what another connection did in the same time.
    pub fn beside(&mut self, other: &Tally) {
        self.right += other.right;
        self.in_time += other.in_time;
        self.errors += other.errors;
        self.corrupt += other.corrupt;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.latency.merge(&other.latency);
        if self.sample.is_none() {
            self.sample = other.sample.clone();
        }
    }

    /// Adds what was done in a later slice.
    pub fn after(&mut self, other: &Tally) {
        self.beside(other);
        self.measured += other.measured;
    }

    pub fn per_second(&self) -> f64 {
        let seconds = self.measured.as_secs_f64();
        if seconds > 0.0 { self.in_time as f64 / seconds } else { 0.0 }
    }

    /// Whether anything was not as it should be.
    pub fn wrong(&self) -> u64 {
        self.errors + self.corrupt + self.lost + self.duplicated + self.reordered
    }

    /// Remembers the first wrong answer, cut to a readable length.
    pub fn remember(&mut self, answer: &[u8]) {
        if self.sample.is_none() {
            let head = answer.get(..SAMPLE_MAX).unwrap_or(answer);
            self.sample = Some(String::from_utf8_lossy(head).into_owned());
        }
    }
}

/// How the measured time is cut.
#[derive(Debug, Clone, Copy)]
pub struct Slices {
    /// Before anything is counted: connections, caches and branch predictors settle.
    pub warm_up: Duration,
    pub count: u32,
    pub node: Duration,
    pub raw: Duration,
}

impl Slices {
    /// Alternating slices: each condition of the machine then meets both sides.
    pub fn of(total: Duration) -> Slices {
        let count = (total.as_secs() as u32).clamp(1, SLICES_MAX);
        let node = total / count;
        let raw = (node / 2).max(RAW_MIN.min(node));
        Slices { warm_up: WARM_UP.min(total), count, node, raw }
    }
}

/// Runs `work` with this many threads for its tasks.
pub fn with_threads<T>(threads: usize, work: impl AsyncFnOnce(&Arc<Executor<'static>>) -> T) -> T {
    let executor = Arc::new(Executor::new());
    let (stop, stopped) = bounded::<()>(1);
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| {
                // Fails when the other side is dropped, which is the sign to end.
                let _ = reactor::run(executor.run(stopped.recv()));
            });
        }
        let result = reactor::run(executor.run(work(&executor)));
        drop(stop);
        result
    })
}

/// Opens `count` connections, a few at a time.
pub async fn connect(
    executor: &Arc<Executor<'static>>,
    url: &str,
    remote: Option<&Remote>,
    count: usize,
    limits: LinkLimits,
) -> Result<Vec<Link>, Failure> {
    let options = remote.map_or_else(|| Ok(Options::default()), |remote| remote.options(url))?;
    let settings = options.dial_settings(url, limits)?;
    let mut links = Vec::with_capacity(count);
    while links.len() < count {
        let batch: Vec<_> = (links.len()..count.min(links.len() + DIALS_AT_ONCE))
            .map(|_| {
                let (url, settings) = (url.to_owned(), settings.clone());
                executor.spawn(async move { open(&url, &settings).await })
            })
            .collect();
        let opened = links.len();
        for dial in batch {
            links.push(dial.await.map_err(|error| {
                let mut failure = Failure::from(error);
                failure.text += &format!("\n{opened} of {count} connections were open.");
                failure
            })?);
        }
    }
    Ok(links)
}

/// The next message. Pings are answered here; whatever else the node sends beside messages is passed over.
pub fn poll_message(link: &mut Link, cx: &mut Context<'_>) -> Poll<Result<Bytes, String>> {
    loop {
        return match link.poll_read(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(Incoming::Message(message))) => Poll::Ready(Ok(message)),
            Poll::Ready(Ok(Incoming::Ping(_))) => {
                // What does not leave now leaves with what is sent next.
                if let Poll::Ready(Err(error)) = link.poll_flush(cx) {
                    return Poll::Ready(Err(error.to_string()));
                }
                continue;
            }
            Poll::Ready(Ok(Incoming::Pong(_))) => continue,
            Poll::Ready(Ok(Incoming::Closed { .. })) => {
                Poll::Ready(Err("the other end closed it".to_owned()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.to_string())),
        };
    }
}

/// The next message, for those who have nothing else to do.
pub async fn message(link: &mut Link) -> Result<Bytes, String> {
    poll_fn(|cx| poll_message(link, cx)).await
}

/// The text of a link's fault.
pub fn fault(error: LinkError) -> String {
    error.to_string()
}

/// Ends connections in good order, as far as the other end joins in.
pub async fn close(links: impl IntoIterator<Item = Link>) {
    let mut links: Vec<Link> = links.into_iter().collect();
    let closing = async {
        for link in &mut links {
            link.start_close(close_code::NORMAL, "");
            // Those that cannot be told are dropped.
            let _ = link.flush().await;
        }
        for link in &mut links {
            let _ = link.close(close_code::NORMAL, "").await;
        }
    };
    within(Some(CLOSE_WITHIN), closing).await;
}

/// Digits of a number at a fixed width, as they stand in a frame.
pub fn put_digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// The number that begins here.
pub fn digits(bytes: &[u8]) -> u64 {
    let digits = bytes.iter().take_while(|b| b.is_ascii_digit()).take(DIGITS_MAX);
    digits.fold(0u64, |number, digit| number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')))
}

const WARM_UP: Duration = Duration::from_millis(500);
/// So long after a slice its last answers are waited for.
pub const GRACE: Duration = Duration::from_secs(5);
/// Messages taken in one turn before other connections get theirs.
pub const BATCH_MAX: usize = 256;

const SLICES_MAX: u32 = 10;
const RAW_MIN: Duration = Duration::from_millis(200);
const DIALS_AT_ONCE: usize = 64;
const CLOSE_WITHIN: Duration = Duration::from_secs(2);
const SAMPLE_MAX: usize = 500;
const DIGITS_MAX: usize = 19;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_from_their_digits() {
        let mut place = [b'x'; 16];
        put_digits(&mut place, 1_234);
        assert_eq!(&place, b"0000000000001234");
        assert_eq!(digits(b"0000000000001234\",..."), 1_234);
        assert_eq!(digits(b"x"), 0);
    }

    #[test]
    fn slices_add_up_to_the_time_asked_for() {
        for seconds in [0.3, 1.0, 5.0, 60.0] {
            let total = Duration::from_secs_f64(seconds);
            let slices = Slices::of(total);
            assert!((slices.node * slices.count).abs_diff(total) < Duration::from_micros(1), "{slices:?}");
        }
    }
}
