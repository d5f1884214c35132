//! The bytes of one connection, plain or inside TLS, behind one type.
//!
//! Promises: nothing is spawned, no lock is taken, and an end that a TLS peer did not announce looks like any other
//! end of input. Never interprets a byte; the framings above it do.

use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_rustls::TlsStream;
use futures_rustls::rustls::pki_types::CertificateDer;
use rustix::net::sockopt;
use smol::io::{AsyncRead, AsyncWrite};

use super::reactor::Source;

/// One connected socket. The TLS session is boxed because it is ten times the size of a socket and most links are
/// plain.
pub(super) enum ByteStream {
    Plain(Source<TcpStream>),
    Tls(Box<TlsStream<Source<TcpStream>>>),
}

impl ByteStream {
    pub(super) fn is_plain(&self) -> bool {
        matches!(self, ByteStream::Plain(_))
    }

    /// The certificates that the other end presented, its own first; empty without TLS or without a certificate.
    pub(super) fn peer_certificates(&self) -> Vec<CertificateDer<'static>> {
        match self {
            ByteStream::Plain(_) => Vec::new(),
            ByteStream::Tls(tls) => tls
                .get_ref()
                .1
                .peer_certificates()
                .map(|chain| chain.iter().map(|c| c.clone().into_owned()).collect())
                .unwrap_or_default(),
        }
    }

    pub(super) fn peer_address(&self) -> Option<SocketAddr> {
        let socket = match self {
            ByteStream::Plain(socket) => socket,
            ByteStream::Tls(tls) => tls.get_ref().0,
        };
        socket.get_ref().peer_addr().ok()
    }

    /// Ends our side: close-notify where there is TLS, then FIN. What the peer sends can still be read.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = match self {
            ByteStream::Plain(socket) => socket,
            ByteStream::Tls(tls) => {
                ready!(Pin::new(&mut **tls).poll_close(cx))?;
                tls.get_ref().0
            }
        };
        Poll::Ready(match socket.get_ref().shutdown(Shutdown::Write) {
            Err(e) if e.kind() == io::ErrorKind::NotConnected => Ok(()),
            done => done,
        })
    }
}

impl AsyncRead for ByteStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            ByteStream::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            ByteStream::Tls(tls) => match ready!(Pin::new(&mut **tls).poll_read(cx, buf)) {
                // No close-notify: many clients just close the socket. Both framings say by themselves where a
                // message ends, so a cut cannot pass for a whole message.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(0)),
                done => Poll::Ready(done),
            },
        }
    }
}

impl AsyncWrite for ByteStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            ByteStream::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            ByteStream::Tls(tls) => Pin::new(&mut **tls).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            ByteStream::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            ByteStream::Tls(tls) => Pin::new(&mut **tls).poll_write_vectored(cx, bufs),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            // A socket has no buffer of its own on this side of the kernel.
            ByteStream::Plain(_) => Poll::Ready(Ok(())),
            ByteStream::Tls(tls) => Pin::new(&mut **tls).poll_flush(cx),
        }
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_shutdown(cx)
    }
}

/// What every socket gets before its first byte: small messages leave at once, and a peer that vanished without a
/// word is noticed by the kernel. The three times are those of the reference's clients (client.md 1.3).
pub(super) fn prepare_socket(socket: &Source<TcpStream>) -> io::Result<()> {
    let socket = socket.get_ref();
    sockopt::set_tcp_nodelay(socket, true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(socket, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(socket, KEEPALIVE_PROBES)?;
    Ok(())
}

const KEEPALIVE_IDLE: Duration = Duration::from_secs(300);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_PROBES: u32 = 3;
