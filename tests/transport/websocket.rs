//! WebSocket as a client may use and abuse it, and the upgrade before it.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use mpreg::core::reason::Reason;
use mpreg::drive::dial::{DialError, DialSettings, dial};
use mpreg::drive::handshake::accept_link;
use mpreg::drive::link::{Incoming, LinkError, Protocol, close_code};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::TcpStream;
use smol::{Timer, future};

use crate::kit::*;

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
            raw.send(&vec![b'x'; 65_536]).await;
        }
        raw.ended().await;
        server.ended(|end| *end == End::TooLarge).await;
    });
}

#[test]
fn a_flood_of_pings_whose_answers_are_not_read_ends_the_link() {
    run(async |ex| {
        let server = Server::start(ex, Protocol::Ws, None);
        let raw = Raw::upgraded(&server).await;
        let pings = frame(9, &[b'p'; 125]).repeat(1000);
        let mut stream = raw.stream.clone();
        let flood = async {
            while stream.write_all(&pings).await.is_ok() {}
            // What the server does when it is done is its own business here.
            std::future::pending().await
        };
        future::or(server.ended(|end| *end == End::AnswersUnread), flood).await;
    });
}

#[test]
fn the_sum_of_fragments_counts() {
    run(async |ex| {
        let server = Server::start(ex, Protocol::Ws, None);
        let mut raw = Raw::upgraded(&server).await;
        let piece = vec![b'x'; 100_000];
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
        // 30 times 4 MiB sent, echoed, and done with.
        let data = frame(2, &vec![b'x'; 4 << 20]);
        for _ in 0..30 {
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
        assert!(grown < 60 << 20, "{grown} bytes are held by 130 idle links");
    });
}

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
