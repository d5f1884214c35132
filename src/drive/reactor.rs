//! Readiness of sockets and pipes: one epoll for each thread that runs tasks, looked at by that thread itself.
//!
//! Promises: data that comes in wakes the task that waits for it in the thread that is to run it, without a hop through
//! another thread; a source is registered once, not for each wait; a read that did not fill its buffer is the last one
//! before the next event (epoll(7), "edge-triggered"). Sources made outside of [`run`] work as well, at the price of
//! the hop. Has no timers: those are smol's.

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use smol::io::{AsyncRead, AsyncWrite};

/// Runs a future to its end in this thread, which meanwhile looks after the sources that are made in it. Not to be
/// called from a future that it runs.
///
/// # Panics
/// Where the process has no descriptor left for an epoll, as any other runtime.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let running = Running::start().expect("a descriptor for epoll");
    let reactor = &running.reactor;
    let waker = Waker::from(reactor.clone());
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    let mut events = Vec::with_capacity(EVENTS_MAX);
    let mut woken = Vec::new();
    loop {
        reactor.woken.store(false, Ordering::SeqCst);
        if let Poll::Ready(done) = future.as_mut().poll(&mut cx) {
            return done;
        }
        reactor.turn(&mut events, &mut woken);
    }
}

/// A descriptor that does not block, and whom it wakes.
#[derive(Debug)]
pub struct Source<T: AsFd> {
    io: T,
    readiness: Arc<Readiness>,
    place: Place,
    reactor: Arc<Reactor>,
}

impl<T: AsFd> Source<T> {
    /// Makes the descriptor a non-blocking one.
    pub fn new(io: T) -> io::Result<Source<T>> {
        rustix::io::ioctl_fionbio(&io, true)?;
        let reactor = Reactor::of_thread()?;
        let readiness = Arc::<Readiness>::default();
        let place = reactor.sources().insert(readiness.clone());
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        if let Err(error) = epoll::add(&reactor.epoll, &io, place.data(), flags) {
            reactor.sources().remove(place);
            return Err(error.into());
        }
        Ok(Source { io, readiness, place, reactor })
    }

    pub fn get_ref(&self) -> &T {
        &self.io
    }

    fn poll_input<R>(
        &mut self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(&mut T) -> io::Result<(R, More)>,
    ) -> Poll<io::Result<R>> {
        poll_side(&self.readiness.input, cx, || take(&mut self.io))
    }

    fn poll_output<R>(
        &mut self,
        cx: &mut Context<'_>,
        mut put: impl FnMut(&mut T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        // What takes less than it was given may still have room: that costs one more call, and only when it is full.
        poll_side(&self.readiness.output, cx, || put(&mut self.io).map(|done| (done, More::Perhaps)))
    }
}

impl Source<TcpListener> {
    /// The next connection. May be dropped and called again at any time without losing one.
    pub async fn accept(&self) -> io::Result<(Source<TcpStream>, SocketAddr)> {
        let (stream, address) = std::future::poll_fn(|cx| {
            poll_side(&self.readiness.input, cx, || {
                self.io.accept().map(|accepted| (accepted, More::Perhaps))
            })
        })
        .await?;
        Ok((Source::new(stream)?, address))
    }
}

impl<T: AsFd> Drop for Source<T> {
    fn drop(&mut self) {
        // The descriptor is open until after this.
        let _ = epoll::delete(&self.reactor.epoll, &self.io);
        self.reactor.sources().remove(self.place);
    }
}

impl<T: AsFd + Read + Unpin> AsyncRead for Source<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_input(cx, |io| {
            let count = io.read(buf)?;
            // The end of the input stays to be read.
            let more = if count == buf.len() || count == 0 { More::Perhaps } else { More::Not };
            Ok((count, more))
        })
    }
}

impl<T: AsFd + Write + Unpin> AsyncWrite for Source<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_output(cx, |io| io.write(buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_output(cx, |io| io.write_vectored(bufs))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Descriptors have no buffer on this side of the kernel.
        Poll::Ready(Ok(()))
    }

    /// Ends nothing before the source is dropped: what can be ended by half is a matter of its owner.
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Whether there may be more to do at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum More {
    Perhaps,
    /// Not before the next event.
    Not,
}

/// Does what can be done without waiting, or leaves word whom the next event is to wake.
fn poll_side<R>(
    side: &Mutex<Side>,
    cx: &mut Context<'_>,
    mut work: impl FnMut() -> io::Result<(R, More)>,
) -> Poll<io::Result<R>> {
    loop {
        {
            let mut side = lock(side);
            if !side.ready && !side.ended {
                match &mut side.waker {
                    Some(waker) => waker.clone_from(cx.waker()),
                    None => side.waker = Some(cx.waker().clone()),
                }
                return Poll::Pending;
            }
            // Before the work: an event that comes during it is about what the work did not see.
            side.ready = false;
        }
        match work() {
            Ok((done, more)) => {
                if more == More::Perhaps {
                    lock(side).ready = true;
                }
                return Poll::Ready(Ok(done));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => lock(side).ended = false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => lock(side).ready = true,
            Err(error) => {
                lock(side).ready = true;
                return Poll::Ready(Err(error));
            }
        }
    }
}

/// What is known of one descriptor.
#[derive(Debug, Default)]
struct Readiness {
    input: Mutex<Side>,
    output: Mutex<Side>,
}

#[derive(Debug)]
struct Side {
    /// True until the descriptor has said that it would block.
    ready: bool,
    /// The other end has closed: no event will come for what is left.
    ended: bool,
    waker: Option<Waker>,
}

impl Default for Side {
    fn default() -> Side {
        // Whoever asks first finds out.
        Side { ready: true, ended: false, waker: None }
    }
}

impl Side {
    fn happened(&mut self, ended: bool) -> Option<Waker> {
        self.ready = true;
        self.ended |= ended;
        self.waker.take()
    }
}

/// One epoll, and who waits for what it tells.
#[derive(Debug)]
struct Reactor {
    epoll: OwnedFd,
    sources: Mutex<Sources>,
    /// Ends the wait of the thread; registered for good and never read: each write is an edge.
    alarm: OwnedFd,
    /// The future has been woken since it was last polled.
    woken: AtomicBool,
    /// The thread waits, or is about to.
    asleep: AtomicBool,
}

impl Reactor {
    fn new() -> io::Result<Arc<Reactor>> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let alarm = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &alarm, EventData::new_u64(ALARM), EventFlags::IN | EventFlags::ET)?;
        Ok(Arc::new(Reactor {
            epoll,
            sources: Mutex::default(),
            alarm,
            woken: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
        }))
    }

    /// That of the running thread, else the one that has a thread of its own.
    fn of_thread() -> io::Result<Arc<Reactor>> {
        let own =
            OWN.with_borrow(|own| own.as_ref().filter(|own| own.is_running).map(|own| own.reactor.clone()));
        match own {
            Some(reactor) => Ok(reactor),
            None => Reactor::background(),
        }
    }

    fn background() -> io::Result<Arc<Reactor>> {
        static BACKGROUND: Mutex<Option<Arc<Reactor>>> = Mutex::new(None);
        let mut background = lock(&BACKGROUND);
        if let Some(reactor) = &*background {
            return Ok(reactor.clone());
        }
        let reactor = Reactor::new()?;
        let looked_after = reactor.clone();
        std::thread::Builder::new().name("mpreg-io".to_owned()).spawn(move || {
            let (mut events, mut woken) = (Vec::with_capacity(EVENTS_MAX), Vec::new());
            loop {
                looked_after.turn(&mut events, &mut woken);
            }
        })?;
        *background = Some(reactor.clone());
        Ok(reactor)
    }

    /// Waits for events unless there is something to run, and wakes whom they concern.
    fn turn(&self, events: &mut Vec<Event>, woken: &mut Vec<Waker>) {
        self.asleep.store(true, Ordering::SeqCst);
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let timeout = self.woken.load(Ordering::SeqCst).then_some(&at_once);
        events.clear();
        // The only error that can come is an interruption by a signal, which is nothing to wait for.
        let _ = epoll::wait(&self.epoll, spare_capacity(events), timeout);
        self.asleep.store(false, Ordering::SeqCst);
        {
            let sources = self.sources();
            for event in events.iter() {
                if let Some(readiness) = sources.get(event.data) {
                    readiness.happened(event.flags, woken);
                }
            }
        }
        woken.drain(..).for_each(Waker::wake);
    }

    fn sources(&self) -> MutexGuard<'_, Sources> {
        lock(&self.sources)
    }
}

impl Readiness {
    fn happened(&self, flags: EventFlags, woken: &mut Vec<Waker>) {
        let failed = flags.intersects(EventFlags::ERR | EventFlags::HUP);
        if failed || flags.intersects(EventFlags::IN | EventFlags::RDHUP) {
            let ended = failed || flags.contains(EventFlags::RDHUP);
            woken.extend(lock(&self.input).happened(ended));
        }
        if failed || flags.contains(EventFlags::OUT) {
            woken.extend(lock(&self.output).happened(failed));
        }
    }
}

impl Wake for Reactor {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::SeqCst) && self.asleep.load(Ordering::SeqCst) {
            // It fails only where it has been written 2^64 times.
            let _ = rustix::io::write(&self.alarm, &1u64.to_ne_bytes());
        }
    }
}

thread_local! {
    /// Kept between two runs: the sources of the first may live on in the second.
    static OWN: RefCell<Option<Own>> = const { RefCell::new(None) };
}

struct Own {
    reactor: Arc<Reactor>,
    is_running: bool,
}

/// A thread inside of [`run`].
struct Running {
    reactor: Arc<Reactor>,
}

impl Running {
    fn start() -> io::Result<Running> {
        OWN.with_borrow_mut(|own| {
            let reactor = match own {
                Some(own) => own.reactor.clone(),
                None => Reactor::new()?,
            };
            *own = Some(Own { reactor: reactor.clone(), is_running: true });
            Ok(Running { reactor })
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        OWN.with_borrow_mut(|own| {
            if let Some(own) = own {
                own.is_running = false;
            }
        });
    }
}

/// The registered sources by place. A place is used again, but never under the same data: an event that was fetched
/// before its source went finds nothing.
#[derive(Debug, Default)]
struct Sources {
    places: Vec<(u32, Option<Arc<Readiness>>)>,
    free: Vec<u32>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    index: u32,
    generation: u32,
}

impl Place {
    fn data(self) -> EventData {
        EventData::new_u64(u64::from(self.generation) << 32 | u64::from(self.index))
    }
}

impl Sources {
    fn insert(&mut self, readiness: Arc<Readiness>) -> Place {
        if let Some(index) = self.free.pop()
            && let Some((generation, place)) = self.places.get_mut(index as usize)
        {
            *place = Some(readiness);
            return Place { index, generation: *generation };
        }
        // There are never as many descriptors.
        let index = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        self.places.push((0, Some(readiness)));
        Place { index, generation: 0 }
    }

    fn remove(&mut self, place: Place) {
        if let Some((generation, readiness)) = self.places.get_mut(place.index as usize)
            && *generation == place.generation
        {
            *generation = generation.wrapping_add(1);
            *readiness = None;
            self.free.push(place.index);
        }
    }

    fn get(&self, data: EventData) -> Option<&Arc<Readiness>> {
        let (index, generation) = (data.u64() as u32, (data.u64() >> 32) as u32);
        let (current, readiness) = self.places.get(index as usize)?;
        readiness.as_ref().filter(|_| *current == generation)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// No source has this: its index would be beyond all descriptors.
const ALARM: u64 = u64::MAX;
/// Of one look.
const EVENTS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use smol::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn pair() -> (Source<TcpStream>, Source<TcpStream>) {
        let listener = Source::new(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
        let address = listener.get_ref().local_addr().unwrap();
        let dialled = smol::unblock(move || TcpStream::connect(address)).await.unwrap();
        (listener.accept().await.unwrap().0, Source::new(dialled).unwrap())
    }

    /// More than the kernel holds, both ways at once, read in pieces that the data does not fill.
    async fn exchange() {
        let (mut one, mut other) = pair().await;
        let sent: Vec<u8> = (0..3_000_000u32).map(|n| n as u8).collect();
        let writing = async {
            one.write_all(&sent).await.unwrap();
            one.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
            let mut back = Vec::new();
            one.read_to_end(&mut back).await.unwrap();
            back
        };
        let reading = async {
            let mut got = Vec::new();
            let mut piece = [0; 7001];
            loop {
                let count = other.read(&mut piece).await.unwrap();
                if count == 0 {
                    break;
                }
                got.extend_from_slice(&piece[..count]);
            }
            other.write_all(b"seen").await.unwrap();
            drop(other);
            got
        };
        let (back, got) = smol::future::zip(writing, reading).await;
        assert!(got == sent);
        assert_eq!(back, b"seen");
    }

    #[test]
    fn bytes_pass_inside_of_run_and_outside() {
        run(exchange());
        smol::block_on(exchange());
        // Once more: the reactor of the thread is used again.
        run(exchange());
    }

    #[test]
    fn an_end_behind_data_is_read() {
        run(async {
            let (mut one, mut other) = pair().await;
            one.write_all(b"last words").await.unwrap();
            drop(one);
            let mut got = [0; 100];
            assert_eq!(other.read(&mut got).await.unwrap(), 10);
            assert_eq!(other.read(&mut got).await.unwrap(), 0);
            assert_eq!(other.read(&mut got).await.unwrap(), 0);
        });
    }

    #[test]
    fn a_wake_of_another_thread_ends_the_wait() {
        for _ in 0..1000 {
            let (sender, receiver) = smol::channel::bounded(1);
            let thread = std::thread::spawn(move || sender.send_blocking(7).unwrap());
            assert_eq!(run(receiver.recv()).unwrap(), 7);
            thread.join().unwrap();
        }
    }

    #[test]
    fn timers_of_smol_end_the_wait() {
        run(smol::Timer::after(Duration::from_millis(5)));
    }

    #[test]
    fn a_place_that_is_used_again_hears_no_old_event() {
        let mut sources = Sources::default();
        let old = sources.insert(Arc::default());
        sources.remove(old);
        let new = sources.insert(Arc::default());
        assert_eq!(old.index, new.index);
        assert!(sources.get(old.data()).is_none());
        assert!(sources.get(new.data()).is_some());
        sources.remove(old);
        assert!(sources.get(new.data()).is_some());
        assert!(sources.get(EventData::new_u64(ALARM)).is_none());
    }
}
