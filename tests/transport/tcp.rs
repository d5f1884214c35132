//! TCP framing (client.md 1.3).

use bytes::Bytes;
use mpreg::drive::link::Protocol;
use smol::future;
use smol::io::{AsyncReadExt, AsyncWriteExt};

use crate::kit::*;

#[test]
fn tcp_frames_may_be_pipelined_and_split_and_empty() {
    run(async |ex| {
        let server = Server::start(ex, Protocol::Tcp, None);
        let mut data = Vec::new();
        for i in 0..200_usize {
            let payload = vec![i as u8; i * i % 997];
            data.extend((payload.len() as u32).to_be_bytes());
            data.extend(payload);
        }
        for size in [1, 13, 4096, data.len()] {
            let mut raw = Raw::connect(&server).await;
            let (mut reader, mut writer) = (raw.stream.clone(), raw.stream.clone());
            let send = async {
                for piece in data.chunks(size) {
                    writer.write_all(piece).await.unwrap();
                    future::yield_now().await;
                }
            };
            let mut seen = vec![0; data.len()];
            future::zip(send, async { reader.read_exact(&mut seen).await.unwrap() }).await;
            assert!(seen == data, "pieces of {size}");
            raw.stream.shutdown(std::net::Shutdown::Write).unwrap();
            server.ended(|end| matches!(end, End::Closed(1000, _))).await;
            assert!(raw.ended().await.is_empty());
        }
    });
}

#[test]
fn tcp_lengths_above_the_limit_end_the_connection() {
    run(async |ex| {
        let server = Server::start(ex, Protocol::Tcp, None);
        for data in [
            b"\xff\xff\xff\xff\0\0\0\x04\0\0\0\x01ABCD".as_slice(),
            b"\x7f\xff\xff\xff{",
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"\x00\x40\x00\x01",
        ] {
            let mut raw = Raw::connect(&server).await;
            raw.send(data).await;
            assert!(raw.ended().await.is_empty());
            server.ended(|end| *end == End::TooLarge).await;
        }
        let mut raw = Raw::connect(&server).await;
        raw.send(b"\0\0\0\x09half").await;
        drop(raw);
        server.ended(|end| matches!(end, End::Closed(1006, _))).await;
    });
}

#[test]
fn tcp_has_no_pings() {
    run(async |_| {
        let (mut raw, mut link) = raw_and_link(Protocol::Tcp).await;
        assert!(!link.has_pings());
        link.start_ping(Bytes::from_static(b"x")).unwrap();
        link.send(Bytes::from_static(b"message")).await.unwrap();
        let mut seen = [0; 11];
        raw.stream.read_exact(&mut seen).await.unwrap();
        assert_eq!(&seen, b"\0\0\0\x07message");
    });
}
