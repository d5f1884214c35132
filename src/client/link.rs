//! An open connection that carries whole messages, and the one function that opens it.
//!
//! A link is polled: feed what is ready, flush once, take what has arrived. That keeps one system call for many
//! small messages and lets one task read while its writes are held back, so two ends that both push never wait
//! for each other. Pings are answered inside.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use async_tungstenite::{
    WebSocketStream, accept_async_with_config, client_async_with_config,
    tungstenite::{
        self, Error as WsError,
        client::IntoClientRequest,
        http::{HeaderValue, StatusCode, Uri},
        protocol::{Message, WebSocketConfig},
    },
};
use bytes::Bytes;
use futures_sink::Sink;
use smol::{net::TcpStream, stream::Stream};

use super::ClientError;

/// Who we say we are.
#[derive(Clone, Default)]
pub struct Credentials {
    pub token: Option<String>,
    pub api_key: Option<String>,
}

/// Sizes of a link, in bytes.
#[derive(Debug, Clone)]
pub struct LinkLimits {
    /// Of each of the two buffers; allocated with the connection.
    pub buffer_bytes: usize,
    /// A bigger message ends the connection.
    pub message_bytes_max: usize,
}

impl Default for LinkLimits {
    fn default() -> LinkLimits {
        LinkLimits { buffer_bytes: 16 << 10, message_bytes_max: 64 << 20 }
    }
}

impl LinkLimits {
    fn websocket(&self) -> WebSocketConfig {
        WebSocketConfig::default()
            .read_buffer_size(self.buffer_bytes)
            .write_buffer_size(self.buffer_bytes)
            .max_write_buffer_size(2 * self.message_bytes_max + self.buffer_bytes)
            .max_message_size(Some(self.message_bytes_max))
            .max_frame_size(Some(self.message_bytes_max))
            .accept_unmasked_frames(false)
    }
}

/// Opens a connection to `url`.
pub async fn open(url: &str, credentials: &Credentials, limits: &LinkLimits) -> Result<Link, ClientError> {
    let bad_url = |why: &str| ClientError::BadUrl { url: url.to_owned(), why: why.to_owned() };
    let unreachable = |why: String| ClientError::Unreachable { url: url.to_owned(), why };
    let uri: Uri = url.parse().map_err(|_| bad_url("it cannot be read"))?;
    match uri.scheme_str() {
        Some("ws") => {}
        Some(other) => return Err(bad_url(&format!("the scheme {other} is not spoken here"))),
        None => return Err(bad_url("it has no scheme")),
    }
    let host = uri.host().filter(|h| !h.is_empty()).ok_or_else(|| bad_url("it names no host"))?;
    let port = uri.port_u16().unwrap_or(PORT_WS);
    let mut request = url.into_client_request().map_err(|e| bad_url(&e.to_string()))?;
    let headers = request.headers_mut();
    if let Some(token) = &credentials.token {
        headers.insert("authorization", header("token", &format!("Bearer {token}"))?);
    }
    if let Some(key) = &credentials.api_key {
        headers.insert("x-api-key", header("API key", key)?);
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, port)).await.map_err(|e| unreachable(e.to_string()))?;
    // Small messages must not wait for the acknowledgement of the last one.
    stream.set_nodelay(true).map_err(|e| unreachable(e.to_string()))?;
    match client_async_with_config(request, stream, Some(limits.websocket())).await {
        Ok((socket, _)) => Ok(Link { socket }),
        Err(WsError::Http(response)) => Err(match response.status() {
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                ClientError::Refused { url: url.to_owned(), status: status.as_u16() }
            }
            status @ (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) => {
                ClientError::Busy { url: url.to_owned(), status: status.as_u16() }
            }
            status => unreachable(format!("it answered with HTTP {status}, not as a node does")),
        }),
        Err(e) => Err(unreachable(explain(&e))),
    }
}

/// One open connection.
pub struct Link {
    socket: WebSocketStream<TcpStream>,
}

impl Link {
    /// The other end of [`open`]; a plain WebSocket without a protocol of its own.
    pub async fn accept(stream: TcpStream, limits: &LinkLimits) -> Result<Link, String> {
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        let socket = accept_async_with_config(stream, Some(limits.websocket())).await;
        Ok(Link { socket: socket.map_err(|e| explain(&e))? })
    }

    /// The next message, or `None` when the other end has closed in order.
    pub fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, String>> {
        loop {
            match Pin::new(&mut self.socket).poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(Ok(None)),
                Poll::Ready(Some(Ok(Message::Binary(bytes)))) => return Poll::Ready(Ok(Some(bytes))),
                Poll::Ready(Some(Ok(Message::Text(text)))) => return Poll::Ready(Ok(Some(text.into()))),
                Poll::Ready(Some(Ok(Message::Pong(_)))) => return Poll::Ready(Ok(Some(Bytes::new()))),
                // The library answers pings and closing frames while it is polled.
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(e))) => return Poll::Ready(Err(explain(&e))),
            }
        }
    }

    /// Whether a message may be fed now.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), String>> {
        Pin::new(&mut self.socket).poll_ready(cx).map_err(|e| explain(&e))
    }

    /// Takes a message; it leaves with the next flush at the latest.
    pub fn feed(&mut self, message: Bytes) -> Result<(), String> {
        Pin::new(&mut self.socket).start_send(Message::Binary(message)).map_err(|e| explain(&e))
    }

    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), String>> {
        Pin::new(&mut self.socket).poll_flush(cx).map_err(|e| explain(&e))
    }

    /// Asks for a sign of life; the answer is received as an empty message.
    pub fn ping(&mut self) -> Result<(), String> {
        Pin::new(&mut self.socket).start_send(Message::Ping(Bytes::new())).map_err(|e| explain(&e))
    }

    /// Feeds and flushes one message.
    pub async fn send(&mut self, message: Bytes) -> Result<(), String> {
        poll_fn(|cx| self.poll_ready(cx)).await?;
        self.feed(message)?;
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// The next message, as [`Link::poll_receive`].
    pub async fn receive(&mut self) -> Result<Option<Bytes>, String> {
        poll_fn(|cx| self.poll_receive(cx)).await
    }

    /// Says goodbye; does not wait for the other end to do the same.
    pub async fn close(&mut self) {
        // An error only says that the other end was faster.
        let _ = self.socket.close(None).await;
    }
}

fn header(what: &str, text: &str) -> Result<HeaderValue, ClientError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| ClientError::BadCredential {
        why: format!("the {what} has characters that no HTTP header may carry"),
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn explain(error: &WsError) -> String {
    use tungstenite::error::{CapacityError, ProtocolError};
    match error {
        WsError::ConnectionClosed | WsError::AlreadyClosed => "it is closed".to_owned(),
        WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            "the other end broke it off without a word".to_owned()
        }
        WsError::Protocol(ProtocolError::HandshakeIncomplete) => {
            "the other end closed it during the handshake".to_owned()
        }
        WsError::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
            format!("a message of {size} bytes is larger than this client takes ({max_size})")
        }
        other => other.to_string(),
    }
}

const PORT_WS: u16 = 80;
