//! The task that owns a connection: writes what it is handed, gives out what arrives, and watches for silence.
//! It ends when it is told to, when every client is gone, or when the connection ends, and then says why.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use smol::{
    Timer,
    channel::{Receiver, Sender},
    stream::Stream,
};

use super::{ClientError, Link, Outgoing, Shared, within};

pub(super) async fn run(
    mut link: Link,
    outgoing: Receiver<Outgoing>,
    shared: Arc<Shared>,
    _alive: Sender<()>,
) {
    let end = serve(&mut link, outgoing, &shared).await;
    log::debug!("connection ended: {end}");
    shared.finish(end);
}

enum Event {
    Arrived(Bytes),
    Silent,
    Closing,
    Lost(String),
}

async fn serve(link: &mut Link, outgoing: Receiver<Outgoing>, shared: &Shared) -> ClientError {
    let lost = |why: &str| ClientError::Lost { url: shared.url.clone(), why: why.to_owned() };
    let mut outgoing = pin!(outgoing);
    let mut silence = Timer::after(PING_AFTER);
    let (mut unflushed, mut pinged) = (false, false);
    loop {
        let event = poll_fn(|cx| {
            loop {
                match link.poll_ready(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(why)) => return Poll::Ready(Event::Lost(why)),
                    Poll::Pending => break,
                }
                match outgoing.as_mut().poll_next(cx) {
                    Poll::Ready(Some(Outgoing::Frame(frame))) => {
                        unflushed = true;
                        if let Err(why) = link.feed(frame) {
                            return Poll::Ready(Event::Lost(why));
                        }
                    }
                    Poll::Ready(Some(Outgoing::Close) | None) => return Poll::Ready(Event::Closing),
                    Poll::Pending => break,
                }
            }
            if unflushed {
                match link.poll_flush(cx) {
                    Poll::Ready(Ok(())) => unflushed = false,
                    Poll::Ready(Err(why)) => return Poll::Ready(Event::Lost(why)),
                    Poll::Pending => {}
                }
            }
            match link.poll_receive(cx) {
                Poll::Ready(Ok(Some(bytes))) => return Poll::Ready(Event::Arrived(bytes)),
                Poll::Ready(Ok(None)) => return Poll::Ready(Event::Lost("the node closed it".to_owned())),
                Poll::Ready(Err(why)) => return Poll::Ready(Event::Lost(why)),
                Poll::Pending => {}
            }
            Pin::new(&mut silence).poll(cx).map(|_| Event::Silent)
        })
        .await;
        match event {
            Event::Arrived(bytes) => {
                silence.set_after(PING_AFTER);
                pinged = false;
                if bytes.is_empty() {
                    continue;
                }
                if let Some((subscriber, notification)) = shared.accept(bytes) {
                    // A subscriber that has gone away does not want it.
                    let _ = subscriber.send(notification).await;
                }
            }
            Event::Silent if pinged => return lost("it gave no sign of life"),
            Event::Silent => {
                pinged = true;
                unflushed = true;
                silence.set_after(PING_AFTER);
                if let Err(why) = link.ping() {
                    return lost(&why);
                }
            }
            Event::Closing => {
                within(Some(CLOSE_WITHIN), link.close()).await;
                return lost("it was closed on this side");
            }
            Event::Lost(why) => return lost(&why),
        }
    }
}

/// A connection that is silent for this long is asked for a sign of life, and given up after as long again.
const PING_AFTER: Duration = Duration::from_secs(20);
const CLOSE_WITHIN: Duration = Duration::from_millis(500);
