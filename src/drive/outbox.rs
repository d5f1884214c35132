//! Bytes that wait for the socket of one link.
//!
//! Promises: many small frames leave in one system call; a big payload is never copied, so that a message to a
//! thousand subscribers exists once; an empty outbox holds next to no memory. Never drops or reorders a byte; how
//! much may wait is for the owner of the link to say, who can ask for `bytes`.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use smol::io::AsyncWrite;

#[derive(Default)]
pub(super) struct Outbox {
    chunks: VecDeque<Chunk>,
    /// How much of the first chunk is already out.
    written: usize,
    bytes: usize,
}

enum Chunk {
    /// Headers and small payloads, one behind the other.
    Copied(Vec<u8>),
    Shared(Bytes),
}

impl Outbox {
    /// How many bytes wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push_copy(&mut self, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        self.bytes += data.len();
        match self.chunks.back_mut() {
            Some(Chunk::Copied(chunk)) if chunk.len() + data.len() <= COPIED_BYTES_MAX => {
                chunk.extend_from_slice(data)
            }
            _ => {
                let mut chunk = Vec::with_capacity(data.len().max(COPIED_BYTES_MIN));
                chunk.extend_from_slice(data);
                self.chunks.push_back(Chunk::Copied(chunk));
            }
        }
    }

    pub(super) fn push(&mut self, data: Bytes) {
        if data.len() < SHARED_BYTES_MIN {
            self.push_copy(&data);
        } else {
            self.bytes += data.len();
            self.chunks.push_back(Chunk::Shared(data));
        }
    }

    /// Hands everything to the stream, with as few calls as the stream allows.
    pub(super) fn poll_flush<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.bytes > 0 {
            let count = match self.chunks.len() {
                1 => ready!(Pin::new(&mut *stream).poll_write(cx, self.first()))?,
                _ => {
                    let mut slices = [IoSlice::new(&[]); SLICES_MAX];
                    let mut skip = self.written;
                    let mut used = 0;
                    for (slice, chunk) in slices.iter_mut().zip(&self.chunks) {
                        *slice = IoSlice::new(chunk.as_slice().get(skip..).unwrap_or_default());
                        skip = 0;
                        used += 1;
                    }
                    let slices = slices.get(..used).unwrap_or_default();
                    ready!(Pin::new(&mut *stream).poll_write_vectored(cx, slices))?
                }
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.forget(count);
        }
        Pin::new(stream).poll_flush(cx)
    }

    fn first(&self) -> &[u8] {
        self.chunks.front().and_then(|chunk| chunk.as_slice().get(self.written..)).unwrap_or_default()
    }

    /// The first `count` bytes are out.
    fn forget(&mut self, count: usize) {
        self.bytes = self.bytes.saturating_sub(count);
        self.written += count;
        while let Some(chunk) = self.chunks.front() {
            let length = chunk.as_slice().len();
            if self.written < length {
                return;
            }
            self.written -= length;
            if let Some(Chunk::Copied(mut last)) = self.chunks.pop_front()
                && self.chunks.is_empty()
                && last.capacity() <= COPIED_BYTES_MIN
            {
                last.clear();
                self.chunks.push_back(Chunk::Copied(last));
                return;
            }
        }
    }
}

/// Takes everything at once; the socket is only touched by `poll_flush`.
impl Write for Outbox {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.push_copy(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Chunk {
    fn as_slice(&self) -> &[u8] {
        match self {
            Chunk::Copied(data) => data,
            Chunk::Shared(data) => data,
        }
    }
}

/// Where copying a payload begins to cost more than a further slice of the same system call.
const SHARED_BYTES_MIN: usize = 16 * 1024;
/// One chunk of small frames; also what one TLS write takes.
const COPIED_BYTES_MAX: usize = 64 * 1024;
/// The first size of such a chunk, and what an idle link may keep of it.
const COPIED_BYTES_MIN: usize = 512;
/// Slices of one system call: eight frames with big payloads.
const SLICES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a few bytes at a time, like a socket whose buffer is nearly full.
    struct Narrow {
        taken: Vec<u8>,
        width: usize,
        calls: usize,
    }

    impl AsyncWrite for Narrow {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            let this = self.get_mut();
            let count = buf.len().min(this.width);
            this.taken.extend_from_slice(&buf[..count]);
            this.calls += 1;
            Poll::Ready(Ok(count))
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let this = self.get_mut();
            let before = this.taken.len();
            this.taken.extend(bufs.iter().flat_map(|b| b.iter()).take(this.width));
            let count = this.taken.len() - before;
            this.calls += 1;
            Poll::Ready(Ok(count))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn fill(outbox: &mut Outbox) -> Vec<u8> {
        let mut all = Vec::new();
        for (i, length) in [3, 40_000, 1, 0, 70_000, 20_000, 16_384, 9, 100].into_iter().enumerate() {
            let piece = vec![i as u8; length];
            outbox.push_copy(&[b'h', i as u8]);
            all.extend([b'h', i as u8]);
            all.extend(&piece);
            outbox.push(piece.into());
        }
        all
    }

    #[test]
    fn bytes_leave_in_order_whatever_the_socket_takes() {
        for width in [1, 7, 100, 65_536, usize::MAX] {
            let mut outbox = Outbox::default();
            let mut socket = Narrow { taken: Vec::new(), width, calls: 0 };
            for _ in 0..2 {
                let all = fill(&mut outbox);
                assert_eq!(outbox.bytes(), all.len());
                let mut cx = Context::from_waker(std::task::Waker::noop());
                assert!(outbox.poll_flush(&mut socket, &mut cx).is_ready());
                assert_eq!(std::mem::take(&mut socket.taken), all);
                assert_eq!(outbox.bytes(), 0);
            }
        }
    }

    #[test]
    fn small_frames_leave_in_one_call_and_big_payloads_are_not_copied() {
        let mut outbox = Outbox::default();
        for _ in 0..500 {
            outbox.push_copy(b"head");
            outbox.push(Bytes::from_static(b"a small payload"));
        }
        let big = Bytes::from(vec![1; SHARED_BYTES_MIN]);
        outbox.push(big.clone());
        assert!(!big.is_unique());
        let mut socket = Narrow { taken: Vec::new(), width: usize::MAX, calls: 0 };
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(outbox.poll_flush(&mut socket, &mut cx).is_ready());
        assert_eq!(socket.calls, 1);
        assert!(big.is_unique());
        assert!(outbox.chunks.is_empty());
    }
}
