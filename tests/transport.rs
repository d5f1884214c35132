//! Listeners, dialers and both framings over real sockets on the loopback (client.md 1, cli-config.md 4.3).

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mpreg::core::reason::Reason;
use mpreg::drive::dial::{DialError, DialSettings, dial};
use mpreg::drive::handshake::{AcceptSettings, HandshakeError, PeerInfo, Refusal, accept_link};
use mpreg::drive::link::{Incoming, Link, LinkError, LinkLimits, Protocol, close_code};
use mpreg::drive::listen::{EndpointClass, EndpointSettings, Listener};
use mpreg::drive::tls::{ClientAuth, TlsIdentity, TlsSettings, TlsTrust, TlsVersion};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::TcpStream;
use smol::{LocalExecutor, Timer, future};

// --- echo --------------------------------------------------------------------------------------------------------

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

// --- WebSocket ---------------------------------------------------------------------------------------------------

#[test]
fn answers_are_binary_and_fragments_make_one_message() {
    run(async |ex| {
        let server = Server::start(ex, Protocol::Ws, None);
        let mut raw = Raw::upgraded(&server).await;
        let text = "zwölf 😀 over the wire".as_bytes();
        raw.send(&frame(1, text)).await;
        assert_eq!(raw.read_frame().await, (2, text.to_vec()));
        for size in [1, 2, 7] {
            let pieces: Vec<_> = text.chunks(size).collect();
            let mut data = Vec::new();
            for (i, piece) in pieces.iter().enumerate() {
                let last = i + 1 == pieces.len();
                data.extend(framed(if i == 0 { 1 } else { 0 }, piece, last, true, 0));
                if i == 0 {
                    data.extend(frame(9, b"between"));
                }
            }
            raw.send(&data).await;
            assert_eq!(raw.read_frame().await, (10, b"between".to_vec()));
            assert_eq!(raw.read_frame().await, (2, text.to_vec()));
        }
    });
}

#[test]
fn pings_are_answered_with_their_payload_and_pongs_reported() {
    run(async |ex| {
        let server = Server::start(ex, Protocol::Ws, None);
        let mut raw = Raw::upgraded(&server).await;
        for payload in [b"".as_slice(), b"x", &[b'p'; 125]] {
            raw.send(&frame(9, payload)).await;
            assert_eq!(raw.read_frame().await, (10, payload.to_vec()));
        }
        raw.send(&frame(10, b"nobody asked")).await;
        raw.send(&frame(2, b"still here")).await;
        assert_eq!(raw.read_frame().await, (2, b"still here".to_vec()));

        let mut link = server.dial(&None).await.unwrap();
        assert!(link.has_pings());
        link.start_ping(Bytes::from_static(b"there?")).unwrap();
        link.flush().await.unwrap();
        assert_eq!(link.read().await.unwrap(), Incoming::Pong(Bytes::from_static(b"there?")));
    });
}

#[test]
fn messages_right_behind_the_upgrade_request_are_not_lost() {
    run(async |ex| {
        let server = Server::start(ex, Protocol::Ws, None);
        let mut raw = Raw::connect(&server).await;
        let mut data = upgrade_request(&[]).into_bytes();
        for i in 0..300 {
            data.extend(frame(2, format!("message {i}").as_bytes()));
        }
        raw.send(&data).await;
        assert!(raw.head().await.starts_with("HTTP/1.1 101"));
        for i in 0..300 {
            assert_eq!(raw.read_frame().await, (2, format!("message {i}").into_bytes()));
        }
    });
}

#[test]
fn messages_right_behind_the_answer_are_not_lost() {
    run(async |ex| {
        let listener = smol::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let serving = ex.spawn(async move {
            let mut raw = Raw { stream: listener.accept().await.unwrap().0 };
            let head = raw.head().await;
            let key = head.lines().find_map(|l| l.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
            let accept = async_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
            let mut data = format!(
                "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nconnection: upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            )
            .into_bytes();
            data.extend(framed(2, b"server speaks first", true, false, 0));
            raw.send(&data).await;
            raw
        });
        let mut link = dial(&url, &DialSettings::default()).await.unwrap();
        assert_eq!(link.read().await.unwrap(), Incoming::Message(Bytes::from_static(b"server speaks first")));
        drop(serving.await);
        assert_eq!(link.read().await.unwrap(), Incoming::Closed { code: 1006, reason: String::new() });
    });
}

#[test]
fn a_frame_may_arrive_byte_by_byte() {
    run(async |ex| {
        let server = Server::start(ex, Protocol::Ws, None);
        let mut raw = Raw::connect(&server).await;
        for byte in upgrade_request(&[]).into_bytes() {
            raw.send(&[byte]).await;
            future::yield_now().await;
        }
        assert!(raw.head().await.starts_with("HTTP/1.1 101"));
        for byte in frame(2, &[b'x'; 200]) {
            raw.send(&[byte]).await;
            future::yield_now().await;
        }
        assert_eq!(raw.read_frame().await, (2, vec![b'x'; 200]));
    });
}

#[test]
fn broken_framing_is_refused_with_a_close_code() {
    let cases: &[(&str, Vec<u8>, u16)] = &[
        ("unmasked", framed(2, b"x", true, false, 0), 1002),
        ("reserved opcode", frame(3, b"x"), 1002),
        ("reserved control opcode", frame(11, b"x"), 1002),
        ("reserved bit", framed(2, b"x", true, true, 2), 1002),
        ("long ping", frame(9, &[b'p'; 126]), 1002),
        ("fragmented ping", framed(9, b"p", false, true, 0), 1002),
        ("continuation of nothing", frame(0, b"x"), 1002),
        ("new message inside another", [framed(1, b"x", false, true, 0), frame(1, b"x")].concat(), 1002),
        ("text that is not UTF-8", frame(1, b"{\"role\":\"\xff\xfe\"}"), 1007),
        ("close with one byte", frame(8, b"\x03"), 1002),
        ("length with the top bit", [b"\x82\xff".as_slice(), &[255; 8], b"abcd"].concat(), 1009),
    ];
    run(async |ex| {
        let server = Server::start(ex, Protocol::Ws, None);
        for (name, data, code) in cases {
            let mut raw = Raw::upgraded(&server).await;
            raw.send(data).await;
            let (opcode, body) = raw.read_frame().await;
            assert_eq!((opcode, &body[..2]), (8, code.to_be_bytes().as_slice()), "{name}");
            assert!(body.len() > 2, "{name}");
            raw.ended().await;
            server.ended(|end| matches!(end, End::Protocol | End::TooLarge)).await;
        }
    });
}

#[test]
fn a_close_is_answered_with_the_same_code_and_the_server_ends_the_connection() {
    run(async |ex| {
        let server = Server::start(ex, Protocol::Ws, None);
        for (sent, seen, reported) in [
            (1000_u16.to_be_bytes().to_vec(), 1000_u16.to_be_bytes().to_vec(), 1000),
            (3001_u16.to_be_bytes().to_vec(), 3001_u16.to_be_bytes().to_vec(), 3001),
            (Vec::new(), Vec::new(), 1005),
        ] {
            let mut raw = Raw::upgraded(&server).await;
            raw.send(&frame(8, &sent)).await;
            assert_eq!(raw.read_frame().await, (8, seen));
            assert!(raw.ended().await.is_empty());
            server.ended(|end| matches!(end, End::Closed(code, _) if *code == reported)).await;
        }
        let mut raw = Raw::upgraded(&server).await;
        raw.send(&frame(2, b"whole message")[..5]).await;
        drop(raw);
        server.ended(|end| matches!(end, End::Closed(1006, _))).await;
    });
}

#[test]
fn a_close_of_ours_waits_for_the_answer_and_sends_nothing_after() {
    run(async |_| {
        let (mut raw, mut link) = raw_and_link(Protocol::Ws).await;
        link.start_send(Bytes::from_static(b"last words")).unwrap();
        link.start_close(close_code::GOING_AWAY, &"é".repeat(200));
        assert!(matches!(link.start_send(Bytes::from_static(b"too late")), Err(LinkError::Closed)));
        let closing = poll_fn(|cx| link.poll_close(cx));
        let peer = async {
            assert_eq!(raw.read_frame().await, (2, b"last words".to_vec()));
            let (opcode, body) = raw.read_frame().await;
            assert_eq!((opcode, &body[..2]), (8, 1001_u16.to_be_bytes().as_slice()));
            assert_eq!(std::str::from_utf8(&body[2..]).unwrap(), "é".repeat(61));
            raw.send(&frame(2, b"was under way")).await;
            raw.send(&frame(8, &body[..2])).await;
            assert!(raw.ended().await.is_empty());
        };
        let (closed, ()) = future::zip(closing, peer).await;
        closed.unwrap();
    });
}

// --- limits ------------------------------------------------------------------------------------------------------

#[test]
fn announced_giants_are_refused_at_once_and_the_peer_is_told() {
    run(async |ex| {
        let server = Server::start(ex, Protocol::Ws, None);
        let mut raw = Raw::upgraded(&server).await;
        let giant = [b"\x82\xff".as_slice(), &(3_u64 << 30).to_be_bytes(), b"abcd", &[b'x'; 1000]].concat();
        raw.send(&giant).await;
        let (opcode, body) = raw.read_frame().await;
        assert_eq!((opcode, &body[..2]), (8, 1009_u16.to_be_bytes().as_slice()));
        assert!(String::from_utf8_lossy(&body[2..]).contains("4194304"));
        // The peer has not noticed yet and goes on: it must still find the close frame, not a reset.
        for _ in 0..50 {
            raw.send(&[b'x'; 65_536]).await;
        }
        raw.ended().await;
        server.ended(|end| *end == End::TooLarge).await;
    });
}

#[test]
fn the_sum_of_fragments_counts() {
    run(async |ex| {
        let server = Server::start(ex, Protocol::Ws, None);
        let mut raw = Raw::upgraded(&server).await;
        let piece = [b'x'; 100_000];
        raw.send(&framed(2, &piece, false, true, 0)).await;
        for _ in 0..60 {
            raw.send(&framed(0, &piece, false, true, 0)).await;
        }
        let (opcode, body) = raw.read_frame().await;
        assert_eq!((opcode, &body[..2]), (8, 1009_u16.to_be_bytes().as_slice()));
        raw.ended().await;
        server.ended(|end| *end == End::TooLarge).await;
    });
}

#[test]
fn neither_announced_nor_past_messages_hold_memory() {
    run(async |ex| {
        let server = Server::start(ex, Protocol::Ws, None);
        let mut raws = Vec::new();
        let before = rss_bytes();
        // 100 times 4 MiB announced and not sent.
        for _ in 0..100 {
            let mut raw = Raw::upgraded(&server).await;
            raw.send(
                &[b"\x82\xff".as_slice(), &(4_u64 << 20).to_be_bytes(), b"abcd", &[b'x'; 1000]].concat(),
            )
            .await;
            raws.push(raw);
        }
        // 60 times 4 MiB sent, echoed, and done with.
        let data = frame(2, &vec![b'x'; 4 << 20]);
        for _ in 0..60 {
            let mut raw = Raw::upgraded(&server).await;
            let (mut reader, mut writer) = (raw.stream.clone(), raw.stream.clone());
            let send = async { writer.write_all(&data).await.unwrap() };
            let read = async {
                let mut answer = vec![0; (4 << 20) + 10];
                reader.read_exact(&mut answer).await.unwrap();
            };
            future::zip(send, read).await;
            raw.send(&frame(9, b"")).await;
            assert_eq!(raw.read_frame().await, (10, Vec::new()));
            raws.push(raw);
        }
        let grown = rss_bytes().saturating_sub(before);
        assert!(grown < 100 << 20, "{grown} bytes are held by 160 idle links");
    });
}

// --- upgrade -----------------------------------------------------------------------------------------------------

#[test]
fn requests_that_are_no_upgrade_get_an_http_error() {
    let good = upgrade_request(&[]);
    let without = |name: &str| -> String {
        good.split_inclusive("\r\n").filter(|l| !l.starts_with(&format!("{name}: "))).collect()
    };
    let with = |name: &str, value: &str| upgrade_request(&[(name, value)]);
    let cases = [
        ("plain GET", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 426),
        ("HTTP/1.0", "GET / HTTP/1.0\r\n\r\n".to_owned(), 426),
        ("no upgrade", without("Upgrade"), 426),
        ("no connection", without("Connection"), 400),
        ("no key", without("Sec-WebSocket-Key"), 400),
        ("no version", without("Sec-WebSocket-Version"), 426),
        ("bad key", with("Sec-WebSocket-Key", "short"), 400),
        ("old version", with("Sec-WebSocket-Version", "7"), 426),
        ("other upgrade", with("Upgrade", "h2c"), 426),
        ("POST", good.replace("GET ", "POST "), 400),
        ("old HTTP", good.replace("HTTP/1.1", "HTTP/1.0"), 400),
        ("SSH", "SSH-2.0-x\r\n".to_owned(), 400),
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), 400),
        ("TLS", "\x16\x03\x01\x02\0\x01\0\x01".to_owned(), 400),
        ("long path", format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(200_000)), 431),
        ("long header", format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(300_000)), 431),
        ("many headers", format!("GET / HTTP/1.1\r\n{}\r\n", "H: v\r\n".repeat(5000)), 431),
        ("newlines", "\n".repeat(100_000), 431),
    ];
    run(async |ex| {
        let server = Server::start(ex, Protocol::Ws, None);
        for (name, request, status) in &cases {
            let mut raw = Raw::connect(&server).await;
            raw.send(request.as_bytes()).await;
            let answer = String::from_utf8(raw.ended().await).unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{name}: {answer}");
            assert_eq!(
                answer.to_lowercase().contains("\r\nupgrade: websocket\r\n"),
                *status == 426,
                "{name}"
            );
            assert!(!answer.split_once("\r\n\r\n").unwrap().1.is_empty(), "{name}");
            server.ended(|end| *end == End::Handshake(Reason::HandshakeRefused)).await;
        }
    });
}

#[test]
fn neither_subprotocol_nor_extension_is_selected_and_any_path_will_do() {
    run(async |ex| {
        let server = Server::start(ex, Protocol::Ws, None);
        for path in ["/", "/any/path?token=1&y=%20", "/a//b/../c", "*"] {
            let mut raw = Raw::connect(&server).await;
            let offers = [
                ("Sec-WebSocket-Protocol", "chat, json"),
                (
                    "Sec-WebSocket-Extensions",
                    "permessage-deflate; client_max_window_bits, x-made-up; level=9",
                ),
                ("Origin", "https://somewhere.example"),
            ];
            raw.send(upgrade_request(&offers).replacen(" / ", &format!(" {path} "), 1).as_bytes()).await;
            let head = raw.head().await.to_lowercase();
            assert!(head.starts_with("http/1.1 101"), "{head}");
            assert!(!head.contains("protocol:") && !head.contains("extensions:"), "{head}");
            raw.send(&frame(2, b"x")).await;
            assert_eq!(raw.read_frame().await, (2, b"x".to_vec()));
        }
    });
}

#[test]
fn authorize_sees_the_headers_and_its_refusal_reaches_the_peer() {
    run(async |ex| {
        let server = Server::start(ex, Protocol::Ws, None);
        let headers =
            [("Authorization", "Bearer good"), ("x-api-key", "k"), ("X-Tenant", "t"), ("User-Agent", "kit")];
        let mut settings = DialSettings {
            headers: headers.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect(),
            ..DialSettings::default()
        };
        assert!(!format!("{settings:?}").contains("good"));
        let mut link = dial(&server.url(), &settings).await.unwrap();
        link.send(Bytes::from_static(b"x")).await.unwrap();
        link.read().await.unwrap();
        let peer = server.state.borrow().peers.last().cloned().unwrap();
        assert_eq!(peer.authorization.as_deref(), Some("Bearer good"));
        assert_eq!(peer.api_key.as_deref(), Some("k"));
        assert_eq!(peer.tenant_header.as_deref(), Some("t"));
        assert_eq!(peer.user_agent.as_deref(), Some("kit"));
        assert!(peer.address.ip().is_loopback());
        assert!(!format!("{peer:?}").contains("good"));

        settings.headers = vec![("Authorization".to_owned(), "Bearer unknown".to_owned())];
        match dial(&server.url(), &settings).await {
            Err(DialError::Refused { status: 401, text }) => assert_eq!(text, "no such tenant"),
            other => panic!("{other:?}"),
        }
        server.ended(|end| *end == End::Handshake(Reason::CredentialRefused)).await;

        settings.headers = vec![("Authorization".to_owned(), "Bearer a\r\nX-Forged: b".to_owned())];
        assert!(matches!(dial(&server.url(), &settings).await, Err(DialError::Unusable(_))));
    });
}

#[test]
fn a_handshake_can_be_cut_by_a_deadline_at_any_point() {
    let authority = Authority::new();
    let request = upgrade_request(&[]);
    for (protocol, data) in [
        (Protocol::Ws, &b""[..]),
        (Protocol::Ws, &request.as_bytes()[..40]),
        (Protocol::Wss, b""),
        (Protocol::Wss, b"\x16\x03\x01\x02\x00\x01"),
    ] {
        run(async |_| {
            let (listener, settings) = bind(protocol, authority.identity(|_| {}));
            let mut raw = Raw { stream: TcpStream::connect(listener.local_addr()).await.unwrap() };
            raw.send(data).await;
            let accepted = listener.accept().await;
            let deadline = async {
                Timer::after(Duration::from_millis(20)).await;
                None
            };
            let shaken = async { Some(accept_link(accepted, &settings, |_| Ok(())).await) };
            assert!(future::or(shaken, deadline).await.is_none());
            raw.ended().await;
        });
    }
}

// --- TCP framing -------------------------------------------------------------------------------------------------

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

// --- TLS ---------------------------------------------------------------------------------------------------------

#[test]
fn client_certificates_are_checked_as_configured() {
    let authority = Authority::new();
    let stranger = Authority::new();
    let friend = authority.issue("friend", ExtendedKeyUsagePurpose::ClientAuth);
    let foe = stranger.issue("foe", ExtendedKeyUsagePurpose::ClientAuth);
    let masquerade = authority.issue("masquerade", ExtendedKeyUsagePurpose::ServerAuth);
    for (auth, pair, good) in [
        (ClientAuth::Required, Some(&friend), true),
        (ClientAuth::Required, None, false),
        (ClientAuth::Required, Some(&foe), false),
        (ClientAuth::Required, Some(&masquerade), false),
        (ClientAuth::Optional, Some(&friend), true),
        (ClientAuth::Optional, None, true),
        (ClientAuth::Optional, Some(&foe), false),
        (ClientAuth::None, Some(&foe), true),
    ] {
        for protocol in [Protocol::Wss, Protocol::Tcps] {
            run(async |ex| {
                let identity = authority.identity(|s| {
                    s.client_auth = auth;
                    s.ca_file = Some(authority.ca_file());
                });
                let server = Server::start(ex, protocol, identity);
                let trust = authority.trust_with(|s| {
                    s.cert_file = pair.map(|p| p.0.clone());
                    s.key_file = pair.map(|p| p.1.clone());
                });
                // With TLS 1.3 the client sees the refusal at its first reading.
                let echoed = async {
                    let mut link = server.dial(&trust).await.ok()?;
                    link.send(Bytes::from_static(b"known")).await.ok()?;
                    matches!(link.read().await, Ok(Incoming::Message(_))).then_some(())
                };
                assert_eq!(echoed.await.is_some(), good, "{protocol} {auth:?}");
                if good {
                    let chain = server.state.borrow().peers.last().unwrap().client_certificates.len();
                    assert_eq!(chain, usize::from(pair.is_some() && auth != ClientAuth::None));
                } else {
                    server.ended(|end| *end == End::Handshake(Reason::HandshakeRefused)).await;
                }
            });
        }
    }
}

#[test]
fn the_certificate_of_the_other_end_is_checked_unless_told_otherwise() {
    let authority = Authority::new();
    let stranger = Authority::new();
    run(async |ex| {
        let server = Server::start(ex, Protocol::Wss, authority.identity(|_| {}));
        match server.dial(&stranger.trust()).await {
            Err(DialError::Tls { host, error }) => {
                assert!(host == "127.0.0.1" && error.to_string().contains("nknown"))
            }
            other => panic!("{other:?}"),
        }
        let blind = stranger.trust_with(|s| s.verify_peers = false);
        server.dial(&blind).await.unwrap();
        let other_name = authority.trust_with(|s| s.server_name = Some("elsewhere.example".to_owned()));
        assert!(matches!(server.dial(&other_name).await, Err(DialError::Tls { .. })));
        let right_name = authority.trust_with(|s| s.server_name = Some("localhost".to_owned()));
        server.dial(&right_name).await.unwrap();
        assert!(matches!(server.dial(&None).await, Err(DialError::Unusable(_))));
    });
}

#[test]
fn an_old_version_is_refused_where_the_new_one_is_demanded() {
    let authority = Authority::new();
    run(async |ex| {
        let server =
            Server::start(ex, Protocol::Wss, authority.identity(|s| s.min_version = TlsVersion::V1_3));
        server.dial(&authority.trust_with(|s| s.min_version = TlsVersion::V1_3)).await.unwrap();
        // A hello of TLS 1.2 by hand: no supported_versions, one common cipher suite.
        let body = [b"\x03\x03".as_slice(), &[7; 32], b"\0", b"\0\x02\xc0\x2b", b"\x01\0", b"\0\0"].concat();
        let message = [&[1, 0, 0, body.len() as u8], body.as_slice()].concat();
        let record = [&[22, 3, 1, 0, message.len() as u8], message.as_slice()].concat();
        let mut raw = Raw::connect(&server).await;
        raw.send(&record).await;
        let answer = raw.ended().await;
        assert!(answer.starts_with(&[21, 3, 3, 0, 2, 2, 70]), "{answer:?}");
        server.ended(|end| *end == End::Handshake(Reason::HandshakeRefused)).await;
    });
}

#[test]
fn plain_text_on_a_tls_port_and_tls_on_a_plain_port_end_quickly() {
    let authority = Authority::new();
    run(async |ex| {
        let start = Instant::now();
        let tls = Server::start(ex, Protocol::Wss, authority.identity(|_| {}));
        let plain = Server::start(ex, Protocol::Ws, None);
        let dialled = dial(&format!("ws://{}", tls.address), &DialSettings::default()).await;
        assert!(
            matches!(dialled, Err(DialError::Refused { status: 0, .. } | DialError::Io(_))),
            "{dialled:?}"
        );
        tls.ended(|end| *end == End::Handshake(Reason::HandshakeRefused)).await;
        let settings = DialSettings { tls: authority.trust(), ..DialSettings::default() };
        let dialled = dial(&format!("wss://{}", plain.address), &settings).await;
        assert!(matches!(dialled, Err(DialError::Tls { .. })), "{dialled:?}");
        plain.ended(|end| *end == End::Handshake(Reason::HandshakeRefused)).await;
        let mut raw = Raw::connect(&tls).await;
        raw.send(b"\0\0\0\x02{}").await;
        raw.ended().await;
        assert!(start.elapsed() < Duration::from_secs(5));
    });
}

#[test]
fn a_new_certificate_is_taken_on_reload_and_open_links_go_on() {
    let (old, new) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let pair = (folder.path().join("cert.pem"), folder.path().join("cert.key"));
    let put = |source: (PathBuf, PathBuf)| {
        std::fs::copy(source.0, &pair.0).unwrap();
        std::fs::copy(source.1, &pair.1).unwrap();
    };
    put(old.server());
    run(async |ex| {
        let settings = TlsSettings {
            cert_file: Some(pair.0.clone()),
            key_file: Some(pair.1.clone()),
            ..TlsSettings::default()
        };
        let identity = Arc::new(TlsIdentity::load(settings).unwrap());
        let server = Server::start(ex, Protocol::Wss, Some(identity.clone()));
        let mut link = server.dial(&old.trust()).await.unwrap();

        std::fs::write(&pair.0, "nonsense").unwrap();
        assert_eq!(identity.reload().unwrap_err().key, "tls.cert_file");
        server.dial(&old.trust()).await.unwrap();

        put(new.server());
        identity.reload().unwrap();
        server.dial(&new.trust()).await.unwrap();
        assert!(matches!(server.dial(&old.trust()).await, Err(DialError::Tls { .. })));
        link.send(Bytes::from_static(b"still here")).await.unwrap();
        assert_eq!(link.read().await.unwrap(), Incoming::Message(Bytes::from_static(b"still here")));
    });
}

#[test]
fn faulty_certificate_files_are_named() {
    let authority = Authority::new();
    let (cert, key) = authority.server();
    let (_, other_key) = authority.issue("other", ExtendedKeyUsagePurpose::ServerAuth);
    let gone = PathBuf::from("/nowhere/cert.pem");
    let cases = [
        (Some(&gone), Some(&key), None, ClientAuth::None, "tls.cert_file: /nowhere/cert.pem: No such file"),
        (Some(&cert), Some(&gone), None, ClientAuth::None, "tls.key_file: /nowhere/cert.pem: No such file"),
        (Some(&cert), None, None, ClientAuth::None, "tls.key_file: tls.cert_file is set without its key"),
        (None, Some(&key), None, ClientAuth::None, "tls.cert_file: tls.key_file is set without"),
        (None, None, None, ClientAuth::None, "tls.cert_file: an endpoint with TLS needs a certificate"),
        (Some(&key), Some(&key), None, ClientAuth::None, "no certificate in PEM form in it"),
        (Some(&cert), Some(&cert), None, ClientAuth::None, "no private key in PEM form in it"),
        (
            Some(&cert),
            Some(&other_key),
            None,
            ClientAuth::None,
            "the key does not belong to the certificate in",
        ),
        (Some(&cert), Some(&key), None, ClientAuth::Required, "tls.ca_file: tls.client_auth needs"),
        (Some(&cert), Some(&key), Some(&gone), ClientAuth::Required, "tls.ca_file: /nowhere/cert.pem"),
    ];
    for (cert_file, key_file, ca_file, client_auth, fault) in cases {
        let settings = TlsSettings {
            cert_file: cert_file.cloned(),
            key_file: key_file.cloned(),
            ca_file: ca_file.cloned(),
            client_auth,
            ..TlsSettings::default()
        };
        let error = TlsIdentity::load(settings).unwrap_err().to_string();
        assert!(error.contains(fault), "{error}\nexpected: {fault}");
    }
    let settings = TlsSettings { ca_file: Some(gone), ..TlsSettings::default() };
    assert_eq!(TlsTrust::load(settings).unwrap_err().key, "tls.ca_file");
}

// --- dialling and listening --------------------------------------------------------------------------------------

#[test]
fn dial_errors_say_what_failed() {
    run(async |ex| {
        let settings =
            DialSettings { connect_timeout: Duration::from_millis(100), ..DialSettings::default() };
        for url in [
            "",
            "nonsense",
            "http://localhost:1",
            "tcp://localhost",
            "ws://",
            "ws://:7000",
            "ws://a:0",
            "ws://a:b",
        ] {
            match dial(url, &settings).await {
                Err(DialError::Unusable(why)) => assert!(why.starts_with(url), "{why}"),
                other => panic!("{url}: {other:?}"),
            }
        }
        let closed = {
            let (listener, _) = bind(Protocol::Ws, None);
            listener.local_addr()
        };
        match dial(&format!("ws://{closed}"), &settings).await {
            Err(DialError::Connect { address, error }) => {
                assert_eq!(address, closed);
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
            }
            other => panic!("{other:?}"),
        }
        let (deaf, _) = bind(Protocol::Ws, None);
        let dialled = dial(&format!("ws://{}", deaf.local_addr()), &settings).await;
        assert!(matches!(dialled, Err(DialError::TimedOut(_))), "{dialled:?}");
        let framed = Server::start(ex, Protocol::Tcp, None);
        let dialled = dial(&format!("ws://{}", framed.address), &settings).await;
        assert!(matches!(dialled, Err(DialError::Io(_))), "{dialled:?}");
    });
}

#[test]
fn names_and_addresses_of_both_versions_can_be_dialled() {
    run(async |ex| {
        for (host, literal) in
            [("127.0.0.1", "127.0.0.1"), ("localhost", "localhost"), ("::1", "[::1]"), ("[::1]", "[::1]")]
        {
            let endpoint = EndpointSettings {
                protocol: Protocol::Ws,
                host: host.to_owned(),
                port: 0,
                class: EndpointClass::Any,
                tls: None,
            };
            let listener = match Listener::bind(&endpoint) {
                Ok(listener) => listener,
                // A machine without IPv6.
                Err(e) if host.contains(':') => {
                    assert!(!matches!(e.kind(), std::io::ErrorKind::InvalidInput), "{e}");
                    continue;
                }
                Err(e) => panic!("{e}"),
            };
            let port = listener.local_addr().port();
            let _serving = ex.spawn(async move {
                let accepted = listener.accept().await;
                let settings = accept_settings(Protocol::Ws, None);
                accept_link(accepted, &settings, |_| Ok(())).await
            });
            dial(&format!("ws://{literal}:{port}/path"), &DialSettings::default()).await.unwrap();
        }
    });
}

#[test]
fn a_port_in_use_is_an_error_and_a_port_just_closed_is_not() {
    run(async |_| {
        let (listener, _) = bind(Protocol::Ws, None);
        let mut endpoint = listener.settings().clone();
        endpoint.port = listener.local_addr().port();
        let error = Listener::bind(&endpoint).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&endpoint.port.to_string()), "{error}");
        // Leave a connection in TIME_WAIT on the server's side, then bind again.
        let raw = TcpStream::connect(listener.local_addr()).await.unwrap();
        drop(listener.accept().await);
        drop((raw, listener));
        Listener::bind(&endpoint).unwrap();
        endpoint.protocol = Protocol::Wss;
        assert_eq!(Listener::bind(&endpoint).unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    });
}

#[test]
fn handshakes_may_run_on_any_executor() {
    fn needs_send<F: Future + Send>(_: F) {}
    let (listener, settings) = bind(Protocol::Ws, None);
    let dial_settings = DialSettings::default();
    needs_send(dial("ws://127.0.0.1:1", &dial_settings));
    needs_send(async {
        let accepted = listener.accept().await;
        accept_link(accepted, &settings, |_| Ok(())).await
    });
}

// --- kit ---------------------------------------------------------------------------------------------------------

/// Runs one test with an executor for its servers; a test that hangs fails.
fn run<T>(test: impl AsyncFnOnce(&LocalExecutor<'static>) -> T) -> T {
    let ex = LocalExecutor::new();
    let hang = async {
        Timer::after(Duration::from_secs(20)).await;
        panic!("the test hangs");
    };
    smol::block_on(ex.run(future::or(test(&ex), hang)))
}

/// How a connection of the echo server ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Closed(u16, String),
    TooLarge,
    Protocol,
    Io,
    Handshake(Reason),
}

#[derive(Default)]
struct State {
    ends: Vec<End>,
    peers: Vec<PeerInfo>,
}

/// An echo server. A message may have up to 4 MiB; the token `unknown` is refused.
struct Server {
    protocol: Protocol,
    address: SocketAddr,
    state: Rc<RefCell<State>>,
    _task: smol::Task<()>,
}

impl Server {
    fn start(ex: &LocalExecutor<'static>, protocol: Protocol, tls: Option<Arc<TlsIdentity>>) -> Server {
        let (listener, settings) = bind(protocol, tls);
        let address = listener.local_addr();
        let state = Rc::new(RefCell::new(State::default()));
        let shared = state.clone();
        let task = ex.spawn(async move {
            let connections = LocalExecutor::new();
            connections
                .run(async {
                    loop {
                        let accepted = listener.accept().await;
                        let (state, settings) = (shared.clone(), settings.clone());
                        let connection = async move {
                            let end = match accept_link(accepted, &settings, authorize).await {
                                Ok((mut link, peer)) => {
                                    state.borrow_mut().peers.push(peer);
                                    let end = echo(&mut link).await;
                                    let _ = poll_fn(|cx| link.poll_close(cx)).await;
                                    end
                                }
                                Err(e) => {
                                    assert!(!e.to_string().is_empty());
                                    End::Handshake(e.reason())
                                }
                            };
                            state.borrow_mut().ends.push(end);
                        };
                        connections.spawn(connection).detach();
                    }
                })
                .await
        });
        Server { protocol, address, state, _task: task }
    }

    fn url(&self) -> String {
        format!("{}://{}", self.protocol, self.address)
    }

    async fn dial(&self, tls: &Option<Arc<TlsTrust>>) -> Result<Link, DialError> {
        dial(&self.url(), &DialSettings { tls: tls.clone(), ..DialSettings::default() }).await
    }

    /// Waits until the next connection that ended has ended in that way.
    async fn ended(&self, expected: impl Fn(&End) -> bool) {
        loop {
            let end = self.state.borrow_mut().ends.pop();
            match end {
                Some(end) => return assert!(expected(&end), "{end:?}"),
                None => Timer::after(Duration::from_millis(1)).await,
            };
        }
    }
}

fn authorize(peer: &PeerInfo) -> Result<(), Refusal> {
    match peer.authorization.as_deref() {
        Some("Bearer unknown") => {
            Err(Refusal { reason: Reason::CredentialRefused, status: 401, text: "no such tenant".to_owned() })
        }
        _ => Ok(()),
    }
}

/// Echoes as a node serves: everything that is ready, then one flush.
async fn echo(link: &mut Link) -> End {
    let done = poll_fn(|cx| {
        loop {
            match link.poll_read(cx)? {
                Poll::Ready(Incoming::Message(message)) => link.start_send(message)?,
                Poll::Ready(Incoming::Closed { code, reason }) => {
                    return Poll::Ready(Ok(End::Closed(code, reason)));
                }
                Poll::Ready(Incoming::Ping(_) | Incoming::Pong(_)) => {}
                Poll::Pending => {
                    let _ = link.poll_flush(cx)?;
                    return Poll::Pending;
                }
            }
        }
    });
    match done.await {
        Ok(end) => end,
        Err(LinkError::TooLarge { .. }) => End::TooLarge,
        Err(LinkError::Protocol(_)) => End::Protocol,
        Err(LinkError::Io(_) | LinkError::Closed) => End::Io,
    }
}

fn bind(protocol: Protocol, tls: Option<Arc<TlsIdentity>>) -> (Listener, AcceptSettings) {
    let endpoint = EndpointSettings {
        protocol,
        host: "127.0.0.1".to_owned(),
        port: 0,
        class: EndpointClass::Any,
        tls: tls.clone(),
    };
    (Listener::bind(&endpoint).unwrap(), accept_settings(protocol, tls))
}

fn accept_settings(protocol: Protocol, tls: Option<Arc<TlsIdentity>>) -> AcceptSettings {
    let limits = LinkLimits { message_bytes_max: 4 << 20, ..LinkLimits::default() };
    AcceptSettings { protocol, tls, limits, tenant_header: Some("X-Tenant".to_owned()) }
}

/// Both ends of one connection: bytes by hand, and the server's link.
async fn raw_and_link(protocol: Protocol) -> (Raw, Link) {
    let (listener, settings) = bind(protocol, None);
    let mut raw = Raw { stream: TcpStream::connect(listener.local_addr()).await.unwrap() };
    if protocol.is_websocket() {
        raw.send(upgrade_request(&[]).as_bytes()).await;
    }
    let accepted = listener.accept().await;
    let (link, _) = accept_link(accepted, &settings, |_| Ok(()))
        .await
        .map_err(|e: HandshakeError| e.to_string())
        .unwrap();
    if protocol.is_websocket() {
        assert!(raw.head().await.starts_with("HTTP/1.1 101"));
    }
    (raw, link)
}

/// Bytes on a TCP connection; frames are made by hand so that they can be wrong.
struct Raw {
    stream: TcpStream,
}

impl Raw {
    async fn connect(server: &Server) -> Raw {
        Raw { stream: TcpStream::connect(server.address).await.unwrap() }
    }

    async fn upgraded(server: &Server) -> Raw {
        let mut raw = Raw::connect(server).await;
        raw.send(upgrade_request(&[]).as_bytes()).await;
        let head = raw.head().await;
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        raw
    }

    async fn send(&mut self, data: &[u8]) {
        self.stream.write_all(data).await.unwrap();
    }

    async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).await.unwrap();
            head.extend(byte);
        }
        String::from_utf8(head).unwrap()
    }

    async fn read_frame(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).await.unwrap();
        assert_eq!(head[1] & 0x80, 0, "a server must not mask");
        let length = match head[1] {
            126 => {
                let mut more = [0; 2];
                self.stream.read_exact(&mut more).await.unwrap();
                u16::from_be_bytes(more).into()
            }
            127 => {
                let mut more = [0; 8];
                self.stream.read_exact(&mut more).await.unwrap();
                u64::from_be_bytes(more) as usize
            }
            n => usize::from(n),
        };
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await.unwrap();
        (head[0] & 0x0f, payload)
    }

    /// Everything up to an orderly end of the connection; a reset fails the test.
    async fn ended(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).await.unwrap();
        self.stream.shutdown(std::net::Shutdown::Both).ok();
        rest
    }
}

fn upgrade_request(headers: &[(&str, &str)]) -> String {
    let mut all = vec![
        ("Host", "localhost"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    all.retain(|(name, _)| headers.iter().all(|(n, _)| n != name));
    all.extend(headers);
    let lines: String = all.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("GET / HTTP/1.1\r\n{lines}\r\n")
}

fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    framed(opcode, payload, true, true, 0)
}

fn framed(opcode: u8, payload: &[u8], last: bool, masked: bool, reserved: u8) -> Vec<u8> {
    let mut data = vec![u8::from(last) << 7 | reserved << 4 | opcode];
    let bit = u8::from(masked) << 7;
    match payload.len() {
        n if n < 126 => data.push(bit | n as u8),
        n if n < 65_536 => {
            data.push(bit | 126);
            data.extend((n as u16).to_be_bytes());
        }
        n => {
            data.push(bit | 127);
            data.extend((n as u64).to_be_bytes());
        }
    }
    let key = [0x5a, 0x13, 0xe7, 0x88];
    if masked {
        data.extend(key);
        data.extend(payload.iter().zip(key.iter().cycle()).map(|(b, k)| b ^ k));
    } else {
        data.extend(payload);
    }
    data
}

fn rss_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// A certificate authority in a folder of its own.
struct Authority {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        Authority { folder, issuer: Issuer::new(params, key) }
    }

    fn ca_file(&self) -> PathBuf {
        self.path("ca.pem")
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::join(self.folder.path(), name)
    }

    fn issue(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> (PathBuf, PathBuf) {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), name.to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let pair = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        std::fs::write(&pair.0, certificate.pem()).unwrap();
        std::fs::write(&pair.1, key.serialize_pem()).unwrap();
        pair
    }

    fn server(&self) -> (PathBuf, PathBuf) {
        self.issue("server", ExtendedKeyUsagePurpose::ServerAuth)
    }

    fn identity(&self, change: impl FnOnce(&mut TlsSettings)) -> Option<Arc<TlsIdentity>> {
        let (cert, key) = self.server();
        let mut settings =
            TlsSettings { cert_file: Some(cert), key_file: Some(key), ..TlsSettings::default() };
        change(&mut settings);
        Some(Arc::new(TlsIdentity::load(settings).unwrap()))
    }

    fn trust(&self) -> Option<Arc<TlsTrust>> {
        self.trust_with(|_| {})
    }

    fn trust_with(&self, change: impl FnOnce(&mut TlsSettings)) -> Option<Arc<TlsTrust>> {
        let mut settings = TlsSettings { ca_file: Some(self.ca_file()), ..TlsSettings::default() };
        change(&mut settings);
        Some(Arc::new(TlsTrust::load(settings).unwrap()))
    }
}
