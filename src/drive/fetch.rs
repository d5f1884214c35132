//! Documents over HTTP and HTTPS.
//!
//! Promises: one request on one connection, within a time and a size; a name is looked up anew each time; nothing but
//! status 200 is an answer, and no redirection is followed, for it could lead from a protected address to one that is
//! not. Never sends anything but the request; what a document says is judged elsewhere.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_tungstenite::tungstenite::http::Uri;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, HOST, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use smol::future::or;
use smol::{Timer, future};
use smol_hyper::rt::FuturesIo;

use super::dial::{DialError, connect_host, start_tls};
use super::listen::bare_host;
use super::resolve::Resolver;
use super::stream::ByteStream;
use super::tls::TlsTrust;
use super::upgrade::SERVER;

/// How to ask.
#[derive(Clone)]
pub struct FetchSettings {
    /// For everything from the name to the last byte.
    pub time_max: Duration,
    pub bytes_max: usize,
    /// Needed for https.
    pub tls: Option<Arc<TlsTrust>>,
    pub resolver: Arc<Resolver>,
}

/// Why there is no document.
#[derive(Debug)]
pub enum FetchError {
    /// The URL or a setting can never work; the text says why.
    Unusable(String),
    Dial(DialError),
    Status(StatusCode),
    TooLarge {
        bytes_max: usize,
    },
    /// No HTTP, or the connection was lost.
    Http(hyper::Error),
    TimedOut(Duration),
}

/// The document at an `http` or `https` URL.
pub async fn fetch(url: &str, settings: &FetchSettings) -> Result<Vec<u8>, FetchError> {
    let give_up = async {
        Timer::after(settings.time_max).await;
        Err(FetchError::TimedOut(settings.time_max))
    };
    or(ask(url, settings), give_up).await
}

async fn ask(url: &str, settings: &FetchSettings) -> Result<Vec<u8>, FetchError> {
    let target = Target::parse(url)?;
    let socket = connect_host(&settings.resolver, &target.host, target.port, settings.time_max)
        .await
        .map_err(FetchError::Dial)?;
    let stream = match (target.is_tls, &settings.tls) {
        (false, _) => ByteStream::Plain(socket),
        (true, Some(trust)) => {
            start_tls(&target.host, socket, &trust.current()).await.map_err(FetchError::Dial)?
        }
        (true, None) => return Err(FetchError::Unusable("https needs TLS settings".to_owned())),
    };
    let request = Request::get(target.path.as_str())
        .header(HOST, target.authority.as_str())
        .header(USER_AGENT, SERVER)
        .header(ACCEPT, "application/json, text/plain;q=0.9")
        .body(String::new())
        .map_err(|error| FetchError::Unusable(error.to_string()))?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(FuturesIo::new(stream))
        .await
        .map_err(FetchError::Http)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(FetchError::Http)?;
        read(response, settings.bytes_max).await
    };
    let driven = async {
        // An error of the connection is told to whoever waits for the answer.
        let _ = connection.await;
        future::pending().await
    };
    or(exchange, driven).await
}

async fn read(response: Response<Incoming>, bytes_max: usize) -> Result<Vec<u8>, FetchError> {
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status()));
    }
    let mut body = pin!(response.into_body());
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let Ok(data) = frame.map_err(FetchError::Http)?.into_data() else { continue };
        if bytes.len() + data.len() > bytes_max {
            return Err(FetchError::TooLarge { bytes_max });
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

struct Target {
    is_tls: bool,
    host: String,
    port: u16,
    /// As the `Host` header wants it.
    authority: String,
    path: String,
}

impl Target {
    fn parse(url: &str) -> Result<Target, FetchError> {
        let uri: Uri =
            url.parse().map_err(|error| FetchError::Unusable(format!("{url}: not a URL: {error}")))?;
        let unusable = |why: &str| FetchError::Unusable(format!("{url}: {why}"));
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(unusable("the URL must begin with http:// or https://")),
        };
        let authority = uri.authority().map(|a| a.as_str()).unwrap_or_default();
        if authority.contains('@') {
            // Without the URL, which would show them.
            let why = "a URL must not carry user and password";
            return Err(FetchError::Unusable(why.to_owned()));
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| unusable("it names no host"))?;
        let port = match uri.port_u16() {
            Some(0) => return Err(unusable("the port in the URL is 0")),
            Some(port) => port,
            // The parser passes over a port that is no number.
            None if authority != host => return Err(unusable("the port in the URL is no number")),
            None if is_tls => 443,
            None => 80,
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Target {
            is_tls,
            host: bare_host(host).to_owned(),
            port,
            authority: authority.to_owned(),
            path: path.to_owned(),
        })
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FetchError::Unusable(why) => f.write_str(why),
            FetchError::Dial(error) => error.fmt(f),
            FetchError::Status(status) if status.is_redirection() => {
                write!(f, "it answers with HTTP {status}; redirections are not followed, name the last URL")
            }
            FetchError::Status(status) => write!(f, "it answers with HTTP {status}"),
            FetchError::TooLarge { bytes_max } => write!(f, "the document has more than {bytes_max} bytes"),
            FetchError::Http(error) => write!(f, "no document came: {error}"),
            FetchError::TimedOut(limit) => write!(f, "no document within {} s", limit.as_secs_f64()),
        }
    }
}

impl std::error::Error for FetchError {}

/// Status line and headers of an answer.
const HEAD_BYTES_MAX: usize = 16 * 1024;
