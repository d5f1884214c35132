//! Listeners, dialers and both framings over real sockets on the loopback (client.md 1, cli-config.md 4.3).

// Outside the core sockets, files and clocks are what it is about.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod dial;
mod fetch;
mod kit;
mod tcp;
mod tls;
mod websocket;

use std::future::poll_fn;
use std::task::Poll;

use bytes::Bytes;
use mpreg::drive::link::{Incoming, LinkError, Protocol, close_code};

use kit::*;

#[test]
fn echo_over_each_protocol() {
    let authority = Authority::new();
    for protocol in [Protocol::Ws, Protocol::Wss, Protocol::Tcp, Protocol::Tcps] {
        run(async |ex| {
            let server = Server::start(ex, protocol, authority.identity(|_| {}));
            let mut link = server.dial(&authority.trust()).await.unwrap();
            for length in [0, 1, 125, 126, 127, 4096, 65_535, 65_536, 3_000_000] {
                let message = Bytes::from(vec![b'q'; length]);
                link.send(message.clone()).await.unwrap();
                assert_eq!(link.read().await.unwrap(), Incoming::Message(message), "{protocol} {length}");
            }
            link.close(close_code::NORMAL, "bye").await.unwrap();
            server.ended(|end| matches!(end, End::Closed(1000, _))).await;
        });
    }
}

#[test]
fn a_batch_goes_out_and_comes_back_in_order() {
    let authority = Authority::new();
    for protocol in [Protocol::Ws, Protocol::Wss, Protocol::Tcp, Protocol::Tcps] {
        run(async |ex| {
            let server = Server::start(ex, protocol, authority.identity(|_| {}));
            let mut link = server.dial(&authority.trust()).await.unwrap();
            let (mut sent, mut received) = (0, 0);
            let message = |i: usize| Bytes::from(format!("{i:05}").repeat(1 + i % 300));
            poll_fn(|cx| {
                while sent < 5000 && link.poll_ready(cx)?.is_ready() {
                    link.start_send(message(sent))?;
                    sent += 1;
                }
                let _ = link.poll_flush(cx)?;
                while received < 5000 {
                    match link.poll_read(cx)? {
                        Poll::Ready(Incoming::Message(m)) => assert_eq!(m, message(received)),
                        Poll::Ready(other) => panic!("{other:?}"),
                        Poll::Pending => return Poll::Pending,
                    }
                    received += 1;
                }
                Poll::Ready(Ok::<_, LinkError>(()))
            })
            .await
            .unwrap();
        });
    }
}

#[test]
fn nothing_is_written_before_the_flush() {
    run(async |ex| {
        let server = Server::start(ex, Protocol::Ws, None);
        let mut link = server.dial(&None).await.unwrap();
        for _ in 0..10 {
            link.start_send(Bytes::from_static(b"waits")).unwrap();
        }
        assert_eq!(link.outbound_bytes(), 10 * (2 + 4 + 5));
        link.flush().await.unwrap();
        assert_eq!(link.outbound_bytes(), 0);
        for _ in 0..10 {
            assert_eq!(link.read().await.unwrap(), Incoming::Message(Bytes::from_static(b"waits")));
        }
    });
}
