//! TCP framing (client.md 1.3): four bytes of length, big-endian, then one message.
//!
//! Promises: memory grows with what arrives, not with what is announced; an idle link holds no buffer. Zero-length
//! frames are delivered as empty messages; the marker of the streaming extension is a length above any limit.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use smol::io::AsyncRead;

use super::link::{Incoming, LinkError, LinkLimits, TURN_BYTES_MAX, close_code, ended};
use super::outbox::Outbox;
use super::stream::ByteStream;

pub(super) struct TcpFraming {
    input: BytesMut,
    message_bytes_max: usize,
    read_bytes_min: usize,
    /// Size of the next read; grows while the peer has more than we ask for.
    read_bytes: usize,
    /// Taken since the last `Pending`.
    turn_bytes: usize,
}

impl TcpFraming {
    pub(super) fn new(limits: &LinkLimits) -> TcpFraming {
        let read_bytes_min = limits.read_buffer_bytes.max(HEADER_BYTES);
        TcpFraming {
            input: BytesMut::new(),
            message_bytes_max: limits.message_bytes_max,
            read_bytes_min,
            read_bytes: read_bytes_min,
            turn_bytes: 0,
        }
    }

    pub(super) fn poll_read(
        &mut self,
        stream: &mut ByteStream,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Incoming, LinkError>> {
        loop {
            if let Some(message) = self.next_message()? {
                return Poll::Ready(Ok(Incoming::Message(message)));
            }
            if self.turn_bytes >= TURN_BYTES_MAX {
                self.turn_bytes = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let filled = self.input.len();
            self.input.resize(filled + self.read_bytes, 0);
            let space = self.input.get_mut(filled..).unwrap_or_default();
            let outcome = Pin::new(&mut *stream).poll_read(cx, space);
            let count = match &outcome {
                Poll::Ready(Ok(count)) => *count,
                _ => 0,
            };
            self.input.truncate(filled + count);
            match outcome {
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Ok(match filled {
                        // TCP framing has no close: an end between two frames is the orderly one.
                        0 => Incoming::Closed { code: close_code::NORMAL, reason: String::new() },
                        _ => ended(),
                    }));
                }
                Poll::Ready(Ok(count)) => {
                    self.turn_bytes += count;
                    if count == self.read_bytes {
                        self.read_bytes = READ_BYTES_MAX.max(self.read_bytes_min);
                    }
                }
                Poll::Ready(Err(e)) => return Poll::Ready(Err(LinkError::Io(e))),
                Poll::Pending => {
                    self.turn_bytes = 0;
                    self.read_bytes = self.read_bytes_min;
                    if self.input.is_empty() {
                        self.input = BytesMut::new();
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    pub(super) fn start_send(&mut self, outbox: &mut Outbox, message: Bytes) -> Result<(), LinkError> {
        self.start_send_parts(outbox, message, Bytes::new())
    }

    pub(super) fn start_send_slice(&mut self, outbox: &mut Outbox, message: &[u8]) -> Result<(), LinkError> {
        let Ok(length) = u32::try_from(message.len()) else {
            return Err(LinkError::TooLarge { bytes: message.len() as u64, bytes_max: u32::MAX as usize });
        };
        outbox.push_copy(&length.to_be_bytes());
        outbox.push_copy(message);
        Ok(())
    }

    pub(super) fn start_send_parts(
        &mut self,
        outbox: &mut Outbox,
        start: Bytes,
        end: Bytes,
    ) -> Result<(), LinkError> {
        let bytes = start.len() + end.len();
        let Ok(length) = u32::try_from(bytes) else {
            return Err(LinkError::TooLarge { bytes: bytes as u64, bytes_max: u32::MAX as usize });
        };
        outbox.push_copy(&length.to_be_bytes());
        outbox.push(start);
        outbox.push(end);
        Ok(())
    }

    fn next_message(&mut self) -> Result<Option<Bytes>, LinkError> {
        let Some(header) = self.input.first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*header) as usize;
        if length > self.message_bytes_max {
            return Err(LinkError::TooLarge { bytes: length as u64, bytes_max: self.message_bytes_max });
        }
        if self.input.len() < HEADER_BYTES + length {
            return Ok(None);
        }
        self.input.advance(HEADER_BYTES);
        Ok(Some(self.input.split_to(length).freeze()))
    }
}

const HEADER_BYTES: usize = 4;
/// Largest single read: sixteen times fewer system calls for big messages than with the idle size.
const READ_BYTES_MAX: usize = 64 * 1024;
