//! Deadlines of many waiting tasks, behind one timer.
//!
//! A task that waits for something else as well, and nearly always gets it in time, should not pay for a timer: here it
//! pays for an entry in a map. The one timer is set again only where a deadline comes before all others.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use smol::Timer;
use smol::channel::{Receiver, Sender, bounded};

use super::clock::Clock;

/// See the module. Times are those of the [`Clock`].
#[derive(Clone)]
pub struct Deadlines {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    /// The first deadline is earlier than what the timer is set for.
    moved: Sender<()>,
}

struct Queue {
    waiting: BTreeMap<(Duration, u64), Waker>,
    set_for: Duration,
    last: u64,
}

/// Ends when its deadline has come.
pub struct Until {
    shared: Arc<Shared>,
    at: Duration,
    number: Option<u64>,
}

impl Deadlines {
    /// With the task that wakes those whose time has come; it has to be run.
    pub fn new(clock: Clock) -> (Deadlines, impl Future<Output = ()> + Send + 'static) {
        let (moved, receiver) = bounded(1);
        let queue = Queue { waiting: BTreeMap::new(), set_for: Duration::MAX, last: 0 };
        let shared = Arc::new(Shared { queue: Mutex::new(queue), moved });
        (Deadlines { shared: shared.clone() }, run(shared, receiver, clock))
    }

    pub fn until(&self, at: Duration) -> Until {
        Until { shared: self.shared.clone(), at, number: None }
    }
}

impl Future for Until {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut queue = lock(&this.shared.queue);
        let number = match this.number {
            Some(number) => {
                let Some(waker) = queue.waiting.get_mut(&(this.at, number)) else { return Poll::Ready(()) };
                waker.clone_from(cx.waker());
                return Poll::Pending;
            }
            None => {
                queue.last += 1;
                queue.last
            }
        };
        queue.waiting.insert((this.at, number), cx.waker().clone());
        let is_first = this.at < queue.set_for;
        drop(queue);
        this.number = Some(number);
        if is_first {
            // Full means that the timer is about to look anyway.
            let _ = this.shared.moved.try_send(());
        }
        Poll::Pending
    }
}

impl Drop for Until {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            lock(&self.shared.queue).waiting.remove(&(self.at, number));
        }
    }
}

async fn run(shared: Arc<Shared>, moved: Receiver<()>, clock: Clock) {
    loop {
        let (due, next) = {
            let mut queue = lock(&shared.queue);
            let later = queue.waiting.split_off(&(clock.now().mono, u64::MAX));
            let due = std::mem::replace(&mut queue.waiting, later);
            queue.set_for = queue.waiting.keys().next().map_or(Duration::MAX, |(at, _)| *at);
            (due, queue.set_for)
        };
        due.into_values().for_each(Waker::wake);
        let time = async {
            match next {
                Duration::MAX => smol::future::pending().await,
                next => drop(Timer::at(clock.instant(next)).await),
            }
        };
        let moved = async {
            let _ = moved.recv().await;
        };
        smol::future::or(time, moved).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_come_in_their_order_and_those_given_up_are_forgotten() {
        let clock = Clock::start();
        let (deadlines, task) = Deadlines::new(clock);
        let now = clock.now().mono;
        let at = |milliseconds| deadlines.until(now + Duration::from_millis(milliseconds));
        let order = Mutex::new(Vec::new());
        let note = async |milliseconds| {
            at(milliseconds).await;
            lock(&order).push(milliseconds);
        };
        let all = async {
            futures_util::future::join3(note(30), note(10), note(20)).await;
        };
        smol::block_on(smol::future::or(all, task));
        assert_eq!(*lock(&order), [10, 20, 30]);
        assert!(clock.now().mono >= now + Duration::from_millis(30));

        let mut given_up = Box::pin(at(1000));
        assert!(smol::block_on(smol::future::poll_once(&mut given_up)).is_none());
        assert_eq!(lock(&deadlines.shared.queue).waiting.len(), 1);
        drop(given_up);
        assert!(lock(&deadlines.shared.queue).waiting.is_empty());
    }

    #[test]
    fn what_is_over_already_ends_at_once() {
        let clock = Clock::start();
        let (deadlines, task) = Deadlines::new(clock);
        smol::block_on(smol::future::or(deadlines.until(Duration::ZERO), task));
    }
}
