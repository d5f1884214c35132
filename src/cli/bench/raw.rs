//! The ceiling of every measurement: a WebSocket server in this process, on the same stack, that does nothing
//! but send frames back to their sender, or out to all subscribers. It parses no JSON.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{Arc, Mutex},
    task::Poll,
    thread::JoinHandle,
};

use bytes::Bytes;
use memchr::memmem;
use smol::{
    Executor,
    channel::{Receiver, Sender, bounded},
    stream::Stream,
};

use super::{
    super::output::Failure,
    load::{message, poll_message},
};
use crate::drive::{
    handshake::{AcceptSettings, accept_link},
    link::{Link, LinkLimits, Protocol},
    listen::{Accepted, EndpointClass, EndpointSettings, Listener},
    reactor,
};

/// A running server; it ends when this is dropped.
pub struct RawServer {
    pub url: String,
    stop: Sender<()>,
    threads: Vec<JoinHandle<()>>,
}

impl RawServer {
    /// Starts the server on a free port of this machine.
    pub fn start(threads: usize, limits: LinkLimits) -> Result<RawServer, Failure> {
        let failed = |e: std::io::Error| Failure::failed(format!("cannot start the raw echo: {e}"));
        let listener = Listener::bind(&EndpointSettings {
            protocol: Protocol::Ws,
            host: "127.0.0.1".to_owned(),
            port: 0,
            class: EndpointClass::Client,
            tls: None,
        })
        .map_err(failed)?;
        let url = format!("ws://{}", listener.local_addr());
        let executor = Arc::new(Executor::new());
        let (stop, stopped) = bounded::<()>(1);
        executor.spawn(serve(listener, executor.clone(), limits)).detach();
        let threads = (0..threads)
            .map(|_| {
                let (executor, stopped) = (executor.clone(), stopped.clone());
                std::thread::spawn(move || {
                    // Fails when the other side is dropped, which is the sign to end.
                    let _ = reactor::run(executor.run(stopped.recv()));
                })
            })
            .collect();
        Ok(RawServer { url, stop, threads })
    }
}

impl Drop for RawServer {
    fn drop(&mut self) {
        self.stop.close();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

type Subscribers = Arc<Mutex<Vec<Sender<Bytes>>>>;

async fn serve(listener: Listener, executor: Arc<Executor<'static>>, limits: LinkLimits) {
    let subscribers = Subscribers::default();
    loop {
        let accepted = listener.accept().await;
        executor.spawn(connection(accepted, limits, subscribers.clone())).detach();
    }
}

async fn connection(accepted: Accepted, limits: LinkLimits, subscribers: Subscribers) {
    let settings = AcceptSettings { protocol: Protocol::Ws, tls: None, limits, tenant_header: None };
    let Ok((mut link, _)) = accept_link(accepted, &settings, |_| Ok(())).await else { return };
    let Ok(first) = message(&mut link).await else { return };
    if memmem::find(&first, b"pubsub-subscribe").is_some() {
        let (sender, frames) = bounded(QUEUE_MAX);
        subscribers.lock().unwrap_or_else(|p| p.into_inner()).push(sender);
        if link.send(Bytes::from_static(ACK)).await.is_ok() {
            deliver(link, frames).await;
        }
    } else if memmem::find(&first, b"pubsub-publish").is_some() {
        fan_out(link, first, &subscribers).await;
    } else {
        echo(link, first).await;
    }
}

/// Sends back what has arrived and flushes once for all of it.
async fn echo(mut link: Link, first: Bytes) {
    if link.send(first).await.is_err() {
        return;
    }
    let mut unflushed = false;
    poll_fn(|cx| {
        let mut taken = 0;
        loop {
            while taken < BATCH_MAX && link.poll_ready(cx).is_ready() {
                match poll_message(&mut link, cx) {
                    Poll::Ready(Ok(frame)) => {
                        taken += 1;
                        unflushed = true;
                        if link.start_send(frame).is_err() {
                            return Poll::Ready(());
                        }
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Pending => break,
                }
            }
            let flushed = if unflushed { link.poll_flush(cx) } else { Poll::Pending };
            match flushed {
                Poll::Ready(Ok(())) => unflushed = false,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending if taken < BATCH_MAX => return Poll::Pending,
                Poll::Pending => {}
            }
            if taken >= BATCH_MAX {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    })
    .await;
}

/// Hands every frame of a publisher to every subscriber; a slow one holds the publisher back.
async fn fan_out(mut link: Link, first: Bytes, subscribers: &Subscribers) {
    let mut next = Some(first);
    while let Some(frame) = next {
        let all = subscribers.lock().unwrap_or_else(|p| p.into_inner()).clone();
        for subscriber in all {
            // A subscriber that has gone away does not want it.
            let _ = subscriber.send(frame.clone()).await;
        }
        next = message(&mut link).await.ok();
    }
}

/// Writes what is queued for a subscriber and flushes once for all of it.
async fn deliver(mut link: Link, frames: Receiver<Bytes>) {
    let mut frames = pin!(frames);
    let mut unflushed = false;
    poll_fn(|cx| {
        // Also notices that the other end has closed.
        if let Poll::Ready(Err(_)) = poll_message(&mut link, cx) {
            return Poll::Ready(());
        }
        for _ in 0..BATCH_MAX {
            if link.poll_ready(cx).is_pending() {
                break;
            }
            match frames.as_mut().poll_next(cx) {
                Poll::Ready(Some(frame)) => {
                    unflushed = true;
                    if link.start_send(frame).is_err() {
                        return Poll::Ready(());
                    }
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => {
                    if unflushed {
                        match link.poll_flush(cx) {
                            Poll::Ready(Ok(())) => unflushed = false,
                            Poll::Ready(Err(_)) => return Poll::Ready(()),
                            Poll::Pending => {}
                        }
                    }
                    return Poll::Pending;
                }
            }
        }
        if let Poll::Ready(Err(_)) = link.poll_flush(cx) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

const ACK: &[u8] = br#"{"role":"pubsub-ack","operation_id":"raw","success":true,"error":null,"u":"ack_raw"}"#;
/// Frames taken in one turn before others get theirs.
const BATCH_MAX: usize = 256;
/// Frames that wait for one subscriber.
const QUEUE_MAX: usize = 1 << 16;
