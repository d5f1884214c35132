//! WebSocket framing over one byte stream; the protocol itself is tungstenite's.
//!
//! Promises: reading causes no write to the socket (answers to pings and closes go to the outbox); sending from the
//! server's side copies nothing but small payloads; an idle link holds one read buffer and no write buffer, also
//! after a big message has passed. Offers no extension, so a message is its frames and nothing else.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use async_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use async_tungstenite::tungstenite::protocol::frame::FrameHeader;
use async_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use async_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext};
use async_tungstenite::tungstenite::{Error, Message};
use bytes::Bytes;
use smol::io::AsyncRead;

use super::link::{Incoming, LinkError, LinkLimits, TURN_BYTES_MAX, close_code, ended};
use super::outbox::Outbox;
use super::stream::ByteStream;

pub(super) struct WebSocket {
    context: WebSocketContext,
    config: WebSocketConfig,
    role: Role,
    inlet: Inlet,
    /// Bytes of whole messages that came out of the context. A lower bound: headers of fragments are not counted.
    consumed_bytes: u64,
    /// Largest message in or out since the context was made.
    message_bytes: usize,
    fault_code: u16,
}

impl WebSocket {
    pub(super) fn new(role: Role, already_read: Vec<u8>, limits: &LinkLimits) -> WebSocket {
        let config = WebSocketConfig::default()
            .read_buffer_size(limits.read_buffer_bytes)
            // The outbox collects what is written, and always has room.
            .write_buffer_size(0)
            .max_write_buffer_size(usize::MAX)
            .max_message_size(Some(limits.message_bytes_max))
            .max_frame_size(Some(limits.message_bytes_max))
            .accept_unmasked_frames(false);
        WebSocket {
            inlet: Inlet { received_bytes: already_read.len() as u64, ..Inlet::default() },
            context: WebSocketContext::from_partially_read(already_read, role, Some(config)),
            config,
            role,
            consumed_bytes: 0,
            message_bytes: 0,
            fault_code: close_code::PROTOCOL,
        }
    }

    pub(super) fn role(&self) -> Role {
        self.role
    }

    /// The close code that fits the last `LinkError::Protocol`.
    pub(super) fn fault_code(&self) -> u16 {
        self.fault_code
    }

    pub(super) fn poll_read(
        &mut self,
        stream: &mut ByteStream,
        outbox: &mut Outbox,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Incoming, LinkError>> {
        let mut port = Port { input: Some(Input { stream, inlet: &mut self.inlet, cx }), outbox };
        let message = match self.context.read(&mut port) {
            Ok(message) => message,
            Err(Error::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => {
                self.inlet.turn_bytes = 0;
                self.renew();
                return Poll::Pending;
            }
            Err(e) => return Poll::Ready(self.fault(e)),
        };
        let length = message.len();
        self.consumed_bytes += (self.header_bytes(length) + length) as u64;
        self.message_bytes = self.message_bytes.max(length);
        Poll::Ready(Ok(match message {
            Message::Text(text) => Incoming::Message(text.into()),
            Message::Binary(data) => Incoming::Message(data),
            Message::Ping(data) => Incoming::Ping(data),
            Message::Pong(data) => Incoming::Pong(data),
            Message::Close(Some(frame)) => {
                Incoming::Closed { code: frame.code.into(), reason: frame.reason.to_string() }
            }
            Message::Close(None) => Incoming::Closed { code: close_code::NONE, reason: String::new() },
            // tungstenite never returns this one from a read.
            Message::Frame(frame) => Incoming::Message(frame.into_payload()),
        }))
    }

    pub(super) fn start_send(&mut self, outbox: &mut Outbox, message: Bytes) -> Result<(), LinkError> {
        if !self.context.can_write() {
            return Err(LinkError::Closed);
        }
        self.message_bytes = self.message_bytes.max(message.len());
        match self.role {
            // Nothing to mask, so the payload need not pass through the context's own buffer.
            Role::Server => {
                self.start_frame(outbox, message.len())?;
                outbox.push(message);
                Ok(())
            }
            Role::Client => self.write(outbox, Message::Binary(message)),
        }
    }

    pub(super) fn start_send_slice(&mut self, outbox: &mut Outbox, message: &[u8]) -> Result<(), LinkError> {
        if self.role == Role::Client {
            return self.start_send(outbox, Bytes::copy_from_slice(message));
        }
        if !self.context.can_write() {
            return Err(LinkError::Closed);
        }
        self.message_bytes = self.message_bytes.max(message.len());
        self.start_frame(outbox, message.len())?;
        outbox.push_copy(message);
        Ok(())
    }

    pub(super) fn start_send_parts(
        &mut self,
        outbox: &mut Outbox,
        start: Bytes,
        end: Bytes,
    ) -> Result<(), LinkError> {
        match self.role {
            Role::Server if self.context.can_write() => {
                let length = start.len() + end.len();
                self.message_bytes = self.message_bytes.max(length);
                self.start_frame(outbox, length)?;
                outbox.push(start);
                outbox.push(end);
                Ok(())
            }
            Role::Server => Err(LinkError::Closed),
            Role::Client => self.start_send(outbox, [start, end].concat().into()),
        }
    }

    pub(super) fn start_ping(&mut self, outbox: &mut Outbox, mut payload: Bytes) -> Result<(), LinkError> {
        payload.truncate(CONTROL_BYTES_MAX);
        self.write(outbox, Message::Ping(payload))
    }

    pub(super) fn start_close(&mut self, outbox: &mut Outbox, code: u16, reason: &str) {
        let frame = CloseFrame { code: CloseCode::from(code), reason: cut(reason).to_owned().into() };
        // The outbox takes everything, so the only error is that the link is already closed.
        let _ = self.context.close(&mut Port { input: None, outbox }, Some(frame));
    }

    /// Moves answers that the context made by itself (pong, close) to the outbox.
    pub(super) fn collect_answers(&mut self, outbox: &mut Outbox) {
        // The only error is the one that says that the closing is complete.
        let _ = self.context.flush(&mut Port { input: None, outbox });
    }

    /// The header of an unmasked binary frame.
    fn start_frame(&self, outbox: &mut Outbox, length: usize) -> Result<(), LinkError> {
        let header = FrameHeader { opcode: OpCode::Data(Data::Binary), ..FrameHeader::default() };
        header.format(length as u64, outbox).map_err(|e| LinkError::Protocol(e.to_string()))
    }

    fn write(&mut self, outbox: &mut Outbox, message: Message) -> Result<(), LinkError> {
        match self.context.write(&mut Port { input: None, outbox }, message) {
            Ok(()) => Ok(()),
            Err(_) => Err(LinkError::Closed),
        }
    }

    fn fault(&mut self, error: Error) -> Result<Incoming, LinkError> {
        match error {
            Error::Io(e) => Err(LinkError::Io(e)),
            Error::ConnectionClosed
            | Error::AlreadyClosed
            | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Ok(ended()),
            Error::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
                Err(LinkError::TooLarge { bytes: size as u64, bytes_max: max_size })
            }
            Error::Utf8(_) => {
                self.fault_code = close_code::NOT_UTF8;
                Err(LinkError::Protocol("a text message is not UTF-8".to_owned()))
            }
            other => {
                self.fault_code = close_code::PROTOCOL;
                Err(LinkError::Protocol(other.to_string()))
            }
        }
    }

    fn header_bytes(&self, length: usize) -> usize {
        let header =
            FrameHeader { mask: (self.role == Role::Server).then_some([0; 4]), ..FrameHeader::default() };
        header.len(length as u64)
    }

    /// The context's buffers never shrink: after one message of 16 MiB an idle link would hold that much for good. So
    /// it is replaced as soon as nothing is in it. `consumed_bytes` never runs ahead, so equality proves that no byte
    /// of a frame or of a fragmented message is left inside.
    fn renew(&mut self) {
        if self.message_bytes > self.config.read_buffer_size
            && self.consumed_bytes == self.inlet.received_bytes
            && self.context.can_write()
        {
            self.context = WebSocketContext::new(self.role, Some(self.config));
            self.message_bytes = 0;
        }
    }
}

/// What tungstenite sees as its socket: reads come from the stream, writes go to the outbox.
struct Port<'a, 'b> {
    input: Option<Input<'a, 'b>>,
    outbox: &'a mut Outbox,
}

struct Input<'a, 'b> {
    stream: &'a mut ByteStream,
    inlet: &'a mut Inlet,
    cx: &'a mut Context<'b>,
}

impl Read for Port<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(input) = &mut self.input else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        match input.inlet.poll_read(input.stream, input.cx, buf) {
            Poll::Ready(done) => done,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for Port<'_, '_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.outbox.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads ahead while the peer is busy. tungstenite asks for one idle-sized read at a time; when such a read comes
/// back full there is more, and it is fetched in bigger pieces until the socket is empty.
#[derive(Default)]
struct Inlet {
    ahead: Vec<u8>,
    taken: usize,
    filled: usize,
    busy: bool,
    received_bytes: u64,
    /// Taken since the last `Pending`.
    turn_bytes: usize,
}

impl Inlet {
    fn poll_read(
        &mut self,
        stream: &mut ByteStream,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.turn_bytes >= TURN_BYTES_MAX {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let count = std::task::ready!(self.poll_next(stream, cx, buf))?;
        self.turn_bytes += count;
        self.received_bytes += count as u64;
        Poll::Ready(Ok(count))
    }

    fn poll_next(
        &mut self,
        stream: &mut ByteStream,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.taken == self.filled {
            // rustls hands out one record at a time, so there is nothing to read ahead from.
            if !self.busy || !stream.is_plain() {
                let outcome = Pin::new(stream).poll_read(cx, buf);
                self.busy = matches!(outcome, Poll::Ready(Ok(count)) if count == buf.len());
                return outcome;
            }
            self.ahead.resize(AHEAD_BYTES, 0);
            self.taken = 0;
            self.filled = 0;
            match Pin::new(stream).poll_read(cx, &mut self.ahead) {
                Poll::Ready(Ok(count)) => self.filled = count,
                other => {
                    self.busy = false;
                    self.ahead = Vec::new();
                    return other;
                }
            }
        }
        let rest = self.ahead.get(self.taken..self.filled).unwrap_or_default();
        let count = rest.len().min(buf.len());
        if let (Some(from), Some(to)) = (rest.get(..count), buf.get_mut(..count)) {
            to.copy_from_slice(from);
        }
        self.taken += count;
        Poll::Ready(Ok(count))
    }
}

/// As much of a reason as fits into a close frame behind the code.
fn cut(reason: &str) -> &str {
    let length_max = reason.len().min(CONTROL_BYTES_MAX - 2);
    let end = (0..=length_max).rev().find(|end| reason.is_char_boundary(*end));
    reason.get(..end.unwrap_or_default()).unwrap_or_default()
}

/// RFC 6455 section 5.5.
const CONTROL_BYTES_MAX: usize = 125;
/// One read while the peer is busy. Measured per core on the loopback with 4, 16, 64 and 256 KiB: 4.8, 5.9, 6.1 and
/// 8.0 million messages of 150 bytes a second, and 1.6, 2.0, 3.1 and 3.9 GB/s in messages of 1 MB.
const AHEAD_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_cut_between_characters() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"a".repeat(500)).len(), CONTROL_BYTES_MAX - 2);
        assert_eq!(cut(&"ü".repeat(500)).len(), CONTROL_BYTES_MAX - 3);
    }
}
