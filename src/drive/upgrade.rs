//! The HTTP part of a WebSocket connection: one request head, one answer (client.md 1.2).
//!
//! Promises: a head is bounded in bytes and headers, and bytes behind it belong to the first frames; a request that is
//! no upgrade gets an HTTP status that says what is wrong. Selects no subprotocol and no extension, looks at no path
//! and no origin.

use std::io;
use std::time::Duration;

use async_tungstenite::tungstenite::handshake::derive_accept_key;
use smol::Timer;
use smol::future;
use smol::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Everything up to the empty line, and what was read behind it.
pub(super) struct Head {
    bytes: Vec<u8>,
    length: usize,
}

/// Why there is no head.
#[derive(Debug)]
pub(super) enum HeadError {
    TooLarge,
    NotHttp(httparse::Error),
    /// The peer went away first.
    Ended,
    Io(io::Error),
}

/// What a request asks for, as far as a node cares.
pub(super) struct UpgradeRequest {
    pub accept_key: String,
    pub headers: Vec<(String, Vec<u8>)>,
}

/// An HTTP answer other than 101.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRefusal {
    pub status: u16,
    pub text: String,
}

impl Head {
    /// Reads a request head. The caller sets the deadline.
    pub(super) async fn read_request<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Head, HeadError> {
        Head::read(stream, |bytes| {
            let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
            httparse::Request::new(&mut headers).parse(bytes)
        })
        .await
    }

    /// Reads the head of an answer to a request of ours.
    pub(super) async fn read_response<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Head, HeadError> {
        Head::read(stream, |bytes| {
            let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
            httparse::Response::new(&mut headers).parse(bytes)
        })
        .await
    }

    async fn read<S: AsyncRead + Unpin>(
        stream: &mut S,
        parse: impl Fn(&[u8]) -> httparse::Result<usize>,
    ) -> Result<Head, HeadError> {
        let mut bytes = Vec::new();
        loop {
            let filled = bytes.len();
            if filled >= HEAD_BYTES_MAX {
                return Err(HeadError::TooLarge);
            }
            bytes.resize(HEAD_BYTES_MAX.min(filled + HEAD_READ_BYTES), 0);
            let space = bytes.get_mut(filled..).unwrap_or_default();
            let count = stream.read(space).await.map_err(HeadError::Io)?;
            bytes.truncate(filled + count);
            if count == 0 {
                return Err(HeadError::Ended);
            }
            match parse(&bytes) {
                Ok(httparse::Status::Complete(length)) => return Ok(Head { bytes, length }),
                Ok(httparse::Status::Partial) => {}
                Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooLarge),
                Err(e) => return Err(HeadError::NotHttp(e)),
            }
        }
    }

    /// The bytes behind the head.
    pub(super) fn into_rest(mut self) -> Vec<u8> {
        self.bytes.split_off(self.length)
    }

    /// Checks the request against RFC 6455 section 4.2.1.
    pub(super) fn upgrade_request(&self) -> Result<UpgradeRequest, HttpRefusal> {
        let mut space = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut space);
        if request.parse(&self.bytes).is_err() {
            return Err(HttpRefusal::new(400, "this is not an HTTP request"));
        }
        let headers = &*request.headers;
        if !has_token(headers, "Upgrade", "websocket") {
            return Err(HttpRefusal::new(426, "this port speaks WebSocket: connect with a WebSocket client"));
        }
        if request.method != Some("GET") || request.version != Some(1) {
            return Err(HttpRefusal::new(400, "a WebSocket upgrade is a GET of HTTP/1.1"));
        }
        if !has_token(headers, "Connection", "upgrade") {
            return Err(HttpRefusal::new(400, "the header Connection does not say Upgrade"));
        }
        if find(headers, "Sec-WebSocket-Version") != Some(b"13") {
            return Err(HttpRefusal::new(426, "only version 13 of WebSocket is spoken here"));
        }
        match find(headers, "Sec-WebSocket-Key") {
            Some(key) if is_key(key) => Ok(UpgradeRequest {
                accept_key: derive_accept_key(key),
                headers: headers.iter().map(|h| (h.name.to_owned(), h.value.to_vec())).collect(),
            }),
            Some(_) => Err(HttpRefusal::new(400, "the header Sec-WebSocket-Key is not 16 bytes in base64")),
            None => Err(HttpRefusal::new(400, "the header Sec-WebSocket-Key is missing")),
        }
    }

    /// Checks an answer against RFC 6455 section 4.1; the error says what it was instead.
    pub(super) fn check_response(&self, key: &str) -> Result<(), HttpRefusal> {
        let mut space = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut space);
        if response.parse(&self.bytes).is_err() {
            return Err(HttpRefusal::new(0, "the answer is not HTTP"));
        }
        let status = response.code.unwrap_or_default();
        if status != 101 {
            let body = self.bytes.get(self.length..).unwrap_or_default();
            let text = match body {
                [] => response.reason.unwrap_or_default().to_owned(),
                body => String::from_utf8_lossy(body.get(..200).unwrap_or(body)).trim().to_owned(),
            };
            return Err(HttpRefusal::new(status, text));
        }
        let headers = &*response.headers;
        if !has_token(headers, "Upgrade", "websocket") || !has_token(headers, "Connection", "upgrade") {
            return Err(HttpRefusal::new(status, "the answer agrees to no WebSocket"));
        }
        if find(headers, "Sec-WebSocket-Accept") != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
            return Err(HttpRefusal::new(status, "the answer belongs to another request"));
        }
        if find(headers, "Sec-WebSocket-Extensions").is_some()
            || find(headers, "Sec-WebSocket-Protocol").is_some()
        {
            return Err(HttpRefusal::new(status, "the answer selects an extension nobody offered"));
        }
        Ok(())
    }
}

impl UpgradeRequest {
    /// The first value of a header. Bytes that are no text are replaced and not left out: a credential that nobody
    /// can know must not pass for no credential.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        let (_, value) = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name))?;
        Some(String::from_utf8_lossy(value).into_owned())
    }

    /// The answer that makes a WebSocket of the connection.
    pub(super) fn answer(&self) -> String {
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\nServer: {SERVER}\r\n\r\n",
            self.accept_key
        )
    }
}

impl HttpRefusal {
    pub fn new(status: u16, text: impl Into<String>) -> HttpRefusal {
        HttpRefusal { status, text: text.into() }
    }

    /// Sends the refusal, ends our side, and reads what the peer still sends for a moment: a socket closed with
    /// unread input is reset, and a reset overtakes the answer.
    pub(super) async fn send<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: &mut S) {
        let say = async {
            stream.write_all(self.answer().as_bytes()).await?;
            stream.close().await?;
            let mut scrap = vec![0; 4096];
            let mut discarded_bytes = 0;
            while discarded_bytes < LINGER_BYTES_MAX {
                match stream.read(&mut scrap).await? {
                    0 => break,
                    n => discarded_bytes += n,
                }
            }
            io::Result::Ok(())
        };
        let give_up = async {
            Timer::after(LINGER).await;
            Ok(())
        };
        // Whether the peer heard it makes no difference to what happens next.
        let _ = future::or(say, give_up).await;
    }

    fn answer(&self) -> String {
        let phrase = match self.status {
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            426 => "Upgrade Required",
            429 => "Too Many Requests",
            431 => "Request Header Fields Too Large",
            503 => "Service Unavailable",
            _ => "Refused",
        };
        let more = match self.status {
            401 => "WWW-Authenticate: Bearer\r\n",
            426 => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            _ => "",
        };
        let connection = if self.status == 426 { "Upgrade, close" } else { "close" };
        format!(
            "HTTP/1.1 {} {phrase}\r\n{more}Connection: {connection}\r\nServer: {SERVER}\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\r\n{}\n",
            self.status,
            self.text.len() + 1,
            self.text
        )
    }
}

fn find<'a>(headers: &[httparse::Header<'a>], name: &str) -> Option<&'a [u8]> {
    headers.iter().find(|h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value.trim_ascii())
}

/// Whether one of the headers of that name lists the token.
fn has_token(headers: &[httparse::Header<'_>], name: &str, token: &str) -> bool {
    headers
        .iter()
        .filter(|h| h.name.eq_ignore_ascii_case(name))
        .flat_map(|h| h.value.split(|b| *b == b','))
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// Sixteen bytes in base64 are 22 characters and two signs of padding.
fn is_key(key: &[u8]) -> bool {
    matches!(key.split_at_checked(22), Some((digits, b"==")) if
        digits.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/')))
}

/// What one head may take. The tokens and cookies of a browser fit; the reference's own bound is of that order.
const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 128;
/// A usual upgrade request is about 300 bytes.
const HEAD_READ_BYTES: usize = 1024;
/// How long and how much a refused peer may go on talking.
const LINGER: Duration = Duration::from_millis(500);
const LINGER_BYTES_MAX: usize = 1024 * 1024;
pub(super) const SERVER: &str = concat!("mpreg/", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(text: &str) -> Result<UpgradeRequest, HttpRefusal> {
        match smol::block_on(Head::read_request(&mut text.as_bytes())) {
            Ok(head) => head.upgrade_request(),
            Err(e) => panic!("{e:?}"),
        }
    }

    #[test]
    fn lists_of_tokens_and_any_case_are_taken() {
        let request = "GET /x?y HTTP/1.1\r\nhost: a\r\nuPGRADE: h2c, WebSocket\r\nconnection: keep-alive, UPGRADE\r\n\
                       sec-websocket-version: 13\r\nSEC-WEBSOCKET-KEY: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        assert_eq!(ask(request).unwrap().accept_key, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn keys_of_another_length_are_no_keys() {
        for bad in
            ["", "short", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQ===", "dGhlIHNhbXBsZSBub25j:Q=="]
        {
            assert!(!is_key(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn a_head_is_bounded() {
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(HEAD_BYTES_MAX));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(HEADERS_MAX + 1));
        let empty = "\n".repeat(HEAD_BYTES_MAX);
        for text in [long, many, empty] {
            let read = smol::block_on(Head::read_request(&mut text.as_bytes()));
            assert!(matches!(read, Err(HeadError::TooLarge)));
        }
    }
}
