//! One accepted or dialled connection, its framing hidden: messages in, messages out.
//!
//! A link belongs to one task, which polls it; there is no lock, no split and no task behind it. Promises: what is
//! sent waits in memory until `poll_flush` and then leaves in one system call per wake-up; an idle link costs 6.3 KB
//! with its task, or 1.6 KB with TCP framing; what a stranger announces costs no resident memory before it arrives;
//! what is too large or not the protocol is refused with a close code that the peer gets to see. Never decides what a
//! message means, and never limits what waits to be sent: its owner asks `outbound_bytes` for that.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_tungstenite::tungstenite::protocol::Role;
use bytes::Bytes;
use futures_rustls::rustls::pki_types::CertificateDer;
use smol::io::AsyncRead;

use super::outbox::Outbox;
use super::stream::ByteStream;
use super::tcp::TcpFraming;
use super::websocket::WebSocket;
use crate::core::reason::Reason;

/// How a connection is framed, and whether inside TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    Ws,
    Wss,
    Tcp,
    Tcps,
}

/// What a link may hold, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct LinkLimits {
    /// Largest inbound message; for WebSocket the sum of its fragments.
    pub message_bytes_max: usize,
    /// Held per idle WebSocket link, and the size of the first read.
    pub read_buffer_bytes: usize,
    /// From here on `poll_ready` writes before it takes more.
    pub write_buffer_bytes: usize,
}

/// One thing that came in.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A text or binary message. It shares memory with what was read around it: copy what is kept for long.
    Message(Bytes),
    /// Already answered; the pong leaves with the next flush.
    Ping(Bytes),
    Pong(Bytes),
    /// The peer ends the link: its code, or 1005 if it named none, or 1006 if it just went away. Nothing comes after.
    Closed {
        code: u16,
        reason: String,
    },
}

/// Why a link ended from our side.
#[derive(Debug)]
pub enum LinkError {
    /// A message or what was announced of it is above `message_bytes_max`.
    TooLarge {
        bytes: u64,
        bytes_max: usize,
    },
    /// The peer broke the framing; the text names the rule.
    Protocol(String),
    /// The peer sends pings and does not read the answers.
    AnswersUnread,
    /// Something was sent on a link that is already closing.
    Closed,
    Io(io::Error),
}

/// See the module.
pub struct Link {
    stream: ByteStream,
    outbox: Outbox,
    framing: Framing,
    protocol: Protocol,
    stage: Stage,
    limits: LinkLimits,
    /// Pongs since the outbox was last empty, at most.
    answer_bytes: usize,
    discarded_bytes: usize,
}

/// Close codes of RFC 6455 section 7.4.1 that a node sends.
pub mod close_code {
    pub const NORMAL: u16 = 1000;
    pub const GOING_AWAY: u16 = 1001;
    pub const PROTOCOL: u16 = 1002;
    /// Never on the wire: the peer named no code.
    pub const NONE: u16 = 1005;
    /// Never on the wire: the connection ended without a close.
    pub const ABNORMAL: u16 = 1006;
    pub const NOT_UTF8: u16 = 1007;
    pub const POLICY: u16 = 1008;
    pub const TOO_LARGE: u16 = 1009;
    pub const INTERNAL: u16 = 1011;
    pub const TRY_AGAIN_LATER: u16 = 1013;
}

impl Link {
    pub(super) fn new(
        stream: ByteStream,
        protocol: Protocol,
        role: Role,
        already_read: Vec<u8>,
        limits: LinkLimits,
    ) -> Link {
        let framing = match protocol {
            Protocol::Ws | Protocol::Wss => {
                Framing::WebSocket(Box::new(WebSocket::new(role, already_read, &limits)))
            }
            Protocol::Tcp | Protocol::Tcps => Framing::Tcp(TcpFraming::new(&limits)),
        };
        Link {
            stream,
            outbox: Outbox::default(),
            framing,
            protocol,
            stage: Stage::Open,
            limits,
            answer_bytes: 0,
            discarded_bytes: 0,
        }
    }

    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The certificates that the other end showed, its own first, DER; empty without TLS.
    pub fn peer_certificates(&self) -> Vec<CertificateDer<'static>> {
        self.stream.peer_certificates()
    }

    /// The other end of the socket; `None` once that is gone.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        self.stream.peer_address()
    }

    /// False for TCP framing, where a ping would be taken for a message (client.md 1.3).
    pub fn has_pings(&self) -> bool {
        matches!(self.framing, Framing::WebSocket(_))
    }

    /// How many bytes wait for the socket.
    pub fn outbound_bytes(&self) -> usize {
        self.outbox.bytes()
    }

    /// The next thing that came in. Does not flush: the owner takes everything that is ready and flushes once. After
    /// `Closed` or an error only `poll_close` makes sense; until it was called every further read is `Closed` 1006.
    ///
    /// However much the peer sends: after 256 KiB this is `Pending` once, with the task already woken, so that a loop
    /// until `Pending` lets other tasks run and flushes what it has.
    pub fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, LinkError>> {
        if self.stage != Stage::Open {
            return Poll::Ready(Ok(ended()));
        }
        let mut incoming = ready!(self.framing.poll_read(&mut self.stream, &mut self.outbox, cx));
        if let Ok(Incoming::Ping(payload)) = &incoming {
            self.answer_bytes += payload.len() + PONG_HEADER_BYTES;
            if self.answer_bytes > ANSWER_BYTES_MAX {
                incoming = Err(LinkError::AnswersUnread);
            }
        }
        match &incoming {
            Ok(Incoming::Closed { .. }) => self.stage = Stage::PeerClosed,
            Ok(_) => {}
            Err(error) => self.give_up(error),
        }
        Poll::Ready(incoming)
    }

    /// Whether more should be given to `start_send`. Writes only if more than `write_buffer_bytes` wait.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        if self.outbox.bytes() < self.limits.write_buffer_bytes {
            return Poll::Ready(Ok(()));
        }
        match self.outbox.poll_flush(&mut self.stream, cx) {
            Poll::Pending if self.outbox.bytes() < self.limits.write_buffer_bytes => Poll::Ready(Ok(())),
            done => done.map_err(LinkError::Io),
        }
    }

    /// Takes one message, without a system call: binary on a WebSocket, one frame on TCP.
    pub fn start_send(&mut self, message: Bytes) -> Result<(), LinkError> {
        if self.stage != Stage::Open {
            return Err(LinkError::Closed);
        }
        match &mut self.framing {
            Framing::WebSocket(ws) => ws.start_send(&mut self.outbox, message),
            Framing::Tcp(tcp) => tcp.start_send(&mut self.outbox, message),
        }
    }

    /// `start_send` for a message that is somebody's scratch; it is copied.
    pub fn start_send_slice(&mut self, message: &[u8]) -> Result<(), LinkError> {
        if self.stage != Stage::Open {
            return Err(LinkError::Closed);
        }
        match &mut self.framing {
            Framing::WebSocket(ws) => ws.start_send_slice(&mut self.outbox, message),
            Framing::Tcp(tcp) => tcp.start_send_slice(&mut self.outbox, message),
        }
    }

    /// Takes one message whose end is not beside its beginning, so that what many links share need not be copied.
    pub fn start_send_parts(&mut self, start: Bytes, end: Bytes) -> Result<(), LinkError> {
        if self.stage != Stage::Open {
            return Err(LinkError::Closed);
        }
        match &mut self.framing {
            Framing::WebSocket(ws) => ws.start_send_parts(&mut self.outbox, start, end),
            Framing::Tcp(tcp) => tcp.start_send_parts(&mut self.outbox, start, end),
        }
    }

    /// Takes a ping; `payload` is cut to the 125 bytes of a control frame. Does nothing where `has_pings` is false.
    pub fn start_ping(&mut self, payload: Bytes) -> Result<(), LinkError> {
        match &mut self.framing {
            Framing::WebSocket(ws) if self.stage == Stage::Open => ws.start_ping(&mut self.outbox, payload),
            Framing::WebSocket(_) => Err(LinkError::Closed),
            Framing::Tcp(_) => Ok(()),
        }
    }

    /// Writes what waits. Pending means that the socket is full; the task is woken when it has room.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        if let Framing::WebSocket(ws) = &mut self.framing {
            ws.collect_answers(&mut self.outbox);
        }
        let flushed = self.outbox.poll_flush(&mut self.stream, cx);
        if self.outbox.bytes() == 0 {
            self.answer_bytes = 0;
        }
        flushed.map_err(LinkError::Io)
    }

    /// Says that the link ends; TCP framing has no words for it. Nothing can be sent afterwards, what is already
    /// taken still leaves. `reason` is cut to what a close frame holds.
    pub fn start_close(&mut self, code: u16, reason: &str) {
        if self.stage == Stage::Open {
            self.stage = Stage::Closing;
            if let Framing::WebSocket(ws) = &mut self.framing {
                ws.start_close(&mut self.outbox, code, reason);
            }
        }
    }

    /// Ends the link in good order: writes what waits, waits for the peer's answer to a close of ours, ends our side
    /// and reads on until the peer has ended its own, so that the close reaches it and not a reset. A peer may
    /// take as long as it likes: the caller sets the deadline and drops the link when it passes.
    pub fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        self.start_close(close_code::NORMAL, "");
        loop {
            match self.stage {
                Stage::Open | Stage::Closing => {
                    ready!(self.poll_flush(cx))?;
                    self.stage = Stage::AwaitingClose;
                }
                Stage::AwaitingClose => {
                    if matches!(self.framing, Framing::Tcp(_)) {
                        self.stage = Stage::Broken;
                        continue;
                    }
                    match ready!(self.framing.poll_read(&mut self.stream, &mut self.outbox, cx)) {
                        Ok(Incoming::Closed { .. }) => self.stage = Stage::PeerClosed,
                        Ok(Incoming::Message(data) | Incoming::Ping(data) | Incoming::Pong(data)) => {
                            self.discarded_bytes += data.len() + 1;
                            if self.discarded_bytes > DISCARDED_BYTES_MAX {
                                self.stage = Stage::Broken;
                            }
                        }
                        Err(_) => self.stage = Stage::Broken,
                    }
                }
                Stage::PeerClosed | Stage::Broken => {
                    ready!(self.poll_flush(cx))?;
                    ready!(self.stream.poll_shutdown(cx)).map_err(LinkError::Io)?;
                    // After a complete close the server ends the connection first (RFC 6455 section 7.1.1).
                    let server_side = self.framing.role() == Some(Role::Server);
                    let complete = self.stage == Stage::PeerClosed && server_side;
                    self.stage = if complete { Stage::Done } else { Stage::Discarding };
                }
                Stage::Discarding => {
                    let mut scrap = [0; 4096];
                    match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut scrap)) {
                        Ok(0) | Err(_) => self.stage = Stage::Done,
                        Ok(n) => {
                            self.discarded_bytes += n;
                            if self.discarded_bytes > DISCARDED_BYTES_MAX {
                                self.stage = Stage::Done;
                            }
                        }
                    }
                }
                Stage::Done => return Poll::Ready(Ok(())),
            }
        }
    }

    /// `poll_read` for callers that have nothing else to wait for.
    pub async fn read(&mut self) -> Result<Incoming, LinkError> {
        poll_fn(|cx| self.poll_read(cx)).await
    }

    /// Sends one message and flushes.
    pub async fn send(&mut self, message: Bytes) -> Result<(), LinkError> {
        poll_fn(|cx| self.poll_ready(cx)).await?;
        self.start_send(message)?;
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    pub async fn flush(&mut self) -> Result<(), LinkError> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// `start_close` and `poll_close`; the caller sets a deadline.
    pub async fn close(&mut self, code: u16, reason: &str) -> Result<(), LinkError> {
        self.start_close(code, reason);
        poll_fn(|cx| self.poll_close(cx)).await
    }

    /// Puts the reason into a close frame where there is a peer that may still read it.
    fn give_up(&mut self, error: &LinkError) {
        self.stage = Stage::Broken;
        let Framing::WebSocket(ws) = &mut self.framing else { return };
        let (code, text) = match error {
            LinkError::TooLarge { bytes_max, .. } => {
                (close_code::TOO_LARGE, format!("message of more than {bytes_max} bytes"))
            }
            LinkError::Protocol(rule) => (ws.fault_code(), rule.clone()),
            LinkError::AnswersUnread => (close_code::POLICY, error.to_string()),
            LinkError::Closed | LinkError::Io(_) => return,
        };
        ws.start_close(&mut self.outbox, code, &text);
    }
}

impl Protocol {
    pub fn is_tls(self) -> bool {
        matches!(self, Protocol::Wss | Protocol::Tcps)
    }

    pub fn is_websocket(self) -> bool {
        matches!(self, Protocol::Ws | Protocol::Wss)
    }

    /// As in a URL and in `listen.endpoint`.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Ws => "ws",
            Protocol::Wss => "wss",
            Protocol::Tcp => "tcp",
            Protocol::Tcps => "tcps",
        }
    }

    pub fn from_name(name: &str) -> Option<Protocol> {
        [Protocol::Ws, Protocol::Wss, Protocol::Tcp, Protocol::Tcps]
            .into_iter()
            .find(|p| p.name().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Default for LinkLimits {
    fn default() -> LinkLimits {
        LinkLimits {
            message_bytes_max: 16 * 1024 * 1024,
            read_buffer_bytes: 4096,
            write_buffer_bytes: 64 * 1024,
        }
    }
}

impl LinkError {
    /// What to count it under; `None` where a peer just went away.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            LinkError::TooLarge { .. } => Some(Reason::MessageTooLarge),
            LinkError::Protocol(_) => Some(Reason::BadFrame),
            LinkError::AnswersUnread => Some(Reason::OutboundLimit),
            LinkError::Closed | LinkError::Io(_) => None,
        }
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkError::TooLarge { bytes, bytes_max } => {
                write!(
                    f,
                    "a message of at least {bytes} bytes is too large, the limit is {bytes_max} (listen.max_message)"
                )
            }
            LinkError::Protocol(rule) => write!(f, "the peer broke the framing: {rule}"),
            LinkError::AnswersUnread => f.write_str("pings are sent and their answers not read"),
            LinkError::Closed => f.write_str("the link is closing"),
            LinkError::Io(e) => write!(f, "the connection failed: {e}"),
        }
    }
}

impl std::error::Error for LinkError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LinkError::Io(e) => Some(e),
            _ => None,
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("protocol", &self.protocol)
            .field("stage", &self.stage)
            .field("outbound_bytes", &self.outbox.bytes())
            .finish_non_exhaustive()
    }
}

/// The end of a link that the peer did not announce.
pub(super) fn ended() -> Incoming {
    Incoming::Closed { code: close_code::ABNORMAL, reason: String::new() }
}

enum Framing {
    WebSocket(Box<WebSocket>),
    Tcp(TcpFraming),
}

impl Framing {
    fn poll_read(
        &mut self,
        stream: &mut ByteStream,
        outbox: &mut Outbox,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Incoming, LinkError>> {
        match self {
            Framing::WebSocket(ws) => ws.poll_read(stream, outbox, cx),
            Framing::Tcp(tcp) => tcp.poll_read(stream, cx),
        }
    }

    fn role(&self) -> Option<Role> {
        match self {
            Framing::WebSocket(ws) => Some(ws.role()),
            Framing::Tcp(_) => None,
        }
    }
}

/// Where a link is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// We said that it ends.
    Closing,
    /// That is out; the peer has not answered yet.
    AwaitingClose,
    /// The peer said that it ends, or went away.
    PeerClosed,
    /// The framing cannot be followed any more.
    Broken,
    /// Our side is shut; what still comes is thrown away.
    Discarding,
    Done,
}

/// What a peer may still send after our close before it is cut off: a whole message at the reference's own limit
/// (20 MiB) may be under way.
const DISCARDED_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Pongs that may wait. Twice what the pings of one turn can ask for, so an owner that flushes after each turn meets
/// this only with a peer that does not read.
const ANSWER_BYTES_MAX: usize = 2 * TURN_BYTES_MAX;
const PONG_HEADER_BYTES: usize = 2;
/// What `poll_read` takes from the socket before other tasks get their turn.
pub(super) const TURN_BYTES_MAX: usize = 256 * 1024;
