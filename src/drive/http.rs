//! One HTTP/1.1 connection of the pages that a node serves itself.
//!
//! Promises: a request head has a size and a time, and so has the reading of an answer, so that no client holds a
//! connection without using it; connections are kept alive between requests for as long as a head may take. Bodies
//! of requests are never read. What is answered is decided elsewhere, and at once: the answer is made in the task
//! of its connection.

use std::error::Error;
use std::future::{Future, ready};
use std::io;
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use smol::Timer;
use smol::io::{AsyncRead, AsyncWrite};
use smol_hyper::rt::{FuturesIo, SmolTimer};

use super::reactor::Source;

pub type Request = hyper::Request<Incoming>;
/// The length of a body is known, so HEAD tells it too.
pub type Response = hyper::Response<String>;

/// How long a client may take.
#[derive(Debug, Clone, Copy)]
pub struct HttpTimes {
    /// From the connection, or the end of the last answer, to a complete request head.
    pub head_max: Duration,
    /// Without taking a byte of an answer.
    pub write_max: Duration,
}

/// How a connection ended.
#[derive(Debug)]
pub enum HttpEnd {
    /// The client left, or was idle for too long between two requests.
    Left,
    /// No first request came in time, or an answer was not read.
    Silent,
    /// No HTTP, or too large a head; the client was told by status where it could be.
    Malformed(String),
    /// The socket failed.
    Failed(String),
}

impl Default for HttpTimes {
    fn default() -> HttpTimes {
        HttpTimes { head_max: Duration::from_secs(10), write_max: Duration::from_secs(10) }
    }
}

/// Serves requests until the connection ends.
pub async fn serve_http(
    stream: Source<TcpStream>,
    times: HttpTimes,
    answer: impl Fn(&Request) -> Response,
) -> HttpEnd {
    let is_first = AtomicBool::new(true);
    let service = service_fn(|request: Request| {
        is_first.store(false, Relaxed);
        ready(Ok::<Response, std::convert::Infallible>(answer(&request)))
    });
    let patient = Patient { stream, time_max: times.write_max, stalled: None };
    let served = http1::Builder::new()
        .timer(SmolTimer::new())
        .header_read_timeout(times.head_max)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(FuturesIo::new(patient), service)
        .await;
    match served {
        Ok(()) => HttpEnd::Left,
        Err(error) if is_stall(&error) => HttpEnd::Silent,
        Err(error) if error.is_timeout() && !is_first.load(Relaxed) => HttpEnd::Left,
        Err(error) if error.is_timeout() => HttpEnd::Silent,
        Err(error) if error.is_parse() => HttpEnd::Malformed(error.to_string()),
        Err(error) => HttpEnd::Failed(error.to_string()),
    }
}

/// A socket that gives up when it takes no byte of an answer for too long.
struct Patient {
    stream: Source<TcpStream>,
    time_max: Duration,
    stalled: Option<Timer>,
}

impl Patient {
    /// Watches the time while the socket takes nothing.
    fn watch<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let time_max = self.time_max;
        let timer = self.stalled.get_or_insert_with(|| Timer::after(time_max));
        match Pin::new(timer).poll(cx) {
            Poll::Ready(_) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

fn is_stall(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut)
}

/// Request line and headers together.
const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use smol::future::zip;
    use smol::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Serves one connection, on which the client sends and then waits for the end, reading or not.
    fn ends(sent: &str, body_bytes: usize, reads: bool) -> (HttpEnd, String) {
        let times = HttpTimes { head_max: Duration::from_millis(30), write_max: Duration::from_millis(30) };
        smol::block_on(async {
            let listener = Source::new(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
            let mut client =
                smol::Async::<TcpStream>::connect(listener.get_ref().local_addr().unwrap()).await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            client.write_all(sent.as_bytes()).await.unwrap();
            let served = serve_http(stream, times, |_| Response::new("x".repeat(body_bytes)));
            let mut got = Vec::new();
            if !reads {
                return (served.await, String::new());
            }
            let (end, _) = zip(served, client.read_to_end(&mut got)).await;
            (end, String::from_utf8_lossy(&got).into_owned())
        })
    }

    #[test]
    fn a_client_that_asks_nothing_or_half_is_left() {
        for sent in ["", "GET / HTTP/1.1\r\nHost: x\r\n"] {
            let (end, got) = ends(sent, 1, true);
            assert!(matches!(end, HttpEnd::Silent) && got.is_empty(), "{end:?} {got}");
        }
    }

    #[test]
    fn a_connection_is_kept_between_requests_until_it_is_idle() {
        let (end, got) = ends(&"GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(2), 1, true);
        assert!(matches!(end, HttpEnd::Left), "{end:?}");
        assert_eq!(got.matches("HTTP/1.1 200 OK").count(), 2, "{got}");
    }

    #[test]
    fn an_answer_that_nobody_reads_is_given_up() {
        let (end, _) = ends("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 64 << 20, false);
        assert!(matches!(end, HttpEnd::Silent), "{end:?}");
    }

    #[test]
    fn what_is_no_request_or_too_large_is_told() {
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(HEAD_BYTES_MAX));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(HEADERS_MAX + 1));
        for (sent, status) in [("\0\x01\r\n\r\n", "400"), (&long, "4"), (&many, "431")] {
            let (end, got) = ends(sent, 1, true);
            assert!(matches!(end, HttpEnd::Malformed(_)), "{end:?}");
            assert!(got.starts_with(&format!("HTTP/1.1 {status}")), "{got}");
        }
    }
}
