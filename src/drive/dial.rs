//! From a URL to a link: name, socket, TLS and WebSocket upgrade within one deadline.
//!
//! Promises: a name is looked up anew at each dial and all its addresses are tried, of both families by turns; an error names the URL's part that failed and what to look
//! at; credentials go into the upgrade request only, never into an error or a log line. Never retries; when to dial
//! again is the core's decision.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_tungstenite::tungstenite::client::IntoClientRequest;
use async_tungstenite::tungstenite::handshake::client::generate_request;
use async_tungstenite::tungstenite::http::{HeaderName, HeaderValue, Uri};
use async_tungstenite::tungstenite::protocol::Role;
use futures_rustls::TlsConnector;
use futures_rustls::rustls::pki_types::ServerName;
use smol::io::AsyncWriteExt;
use smol::{Async, Timer, future};

use super::link::{Link, LinkLimits, Protocol};
use super::listen::bare_host;
use super::reactor::Source;
use super::resolve::Resolver;
use super::stream::{ByteStream, prepare_socket};
use super::tls::{ClientTls, TlsTrust};
use super::upgrade::{Head, HeadError, SERVER};

/// How to dial.
#[derive(Clone)]
pub struct DialSettings {
    /// For everything from the name to the end of the upgrade.
    pub connect_timeout: Duration,
    pub limits: LinkLimits,
    /// Headers of the upgrade request, for example `Authorization` and `X-API-Key`. TCP framing cannot carry any.
    pub headers: Vec<(String, String)>,
    /// Needed for wss and tcps.
    pub tls: Option<Arc<TlsTrust>>,
    /// Who knows the addresses of names.
    pub resolver: Arc<Resolver>,
}

/// Why there is no link.
#[derive(Debug)]
pub enum DialError {
    /// The URL, a header or a setting can never work; the text says why.
    Unusable(String),
    Resolve {
        host: String,
        error: io::Error,
    },
    Connect {
        address: SocketAddr,
        error: io::Error,
    },
    Tls {
        host: String,
        error: io::Error,
    },
    /// The other end answered, but not with a WebSocket. Status 0: not even with HTTP.
    Refused {
        status: u16,
        text: String,
    },
    /// The connection was lost during the upgrade.
    Io(io::Error),
    TimedOut(Duration),
}

/// Connects to a `ws`, `wss`, `tcp` or `tcps` URL.
pub async fn dial(url: &str, settings: &DialSettings) -> Result<Link, DialError> {
    let give_up = async {
        Timer::after(settings.connect_timeout).await;
        Err(DialError::TimedOut(settings.connect_timeout))
    };
    // On the heap, so that the task of a link does not carry the size of its handshake through its whole life.
    Box::pin(future::or(connect(url, settings), give_up)).await
}

async fn connect(url: &str, settings: &DialSettings) -> Result<Link, DialError> {
    let target = Target::parse(url)?;
    let socket =
        connect_host(&settings.resolver, &target.host, target.port, settings.connect_timeout).await?;
    let mut stream = match (target.protocol.is_tls(), &settings.tls) {
        (false, _) => ByteStream::Plain(socket),
        (true, Some(trust)) => {
            let tls = trust.current();
            let name = tls.settings().server_name.as_deref().unwrap_or(&target.host);
            start_tls(name, socket, &tls).await?
        }
        (true, None) => {
            return Err(DialError::Unusable(format!("{} needs TLS settings", target.protocol)));
        }
    };
    let mut already_read = Vec::new();
    if target.protocol.is_websocket() {
        already_read = upgrade(&target, &mut stream, settings).await?;
    }
    Ok(Link::new(stream, target.protocol, Role::Client, already_read, settings.limits))
}

/// A socket to the first address of a host that answers. Looking the name up may take half of the time; of what is left
/// each address gets its share, so that one that swallows packets does not cost the others.
pub(super) async fn connect_host(
    resolver: &Arc<Resolver>,
    host: &str,
    port: u16,
    time_max: Duration,
) -> Result<Source<TcpStream>, DialError> {
    let deadline = Instant::now() + time_max;
    let unresolved = |error| DialError::Resolve { host: host.to_owned(), error };
    let mut addresses = resolver.addresses(host, port, time_max / 2).await.map_err(unresolved)?;
    addresses.truncate(ADDRESSES_MAX);
    let mut fault = unresolved(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    let count = addresses.len();
    for (place, address) in addresses.into_iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(count - place).unwrap_or(u32::MAX);
        let give_up = async {
            Timer::after(share).await;
            Err(io::ErrorKind::TimedOut.into())
        };
        let connected = future::or(Async::<TcpStream>::connect(address), give_up).await;
        let connected = connected.and_then(|socket| Source::new(socket.into_inner()?));
        match connected.and_then(|socket| prepare_socket(&socket).map(|()| socket)) {
            Ok(socket) => return Ok(socket),
            Err(error) => fault = DialError::Connect { address, error },
        }
    }
    Err(fault)
}

/// The other end must show a certificate for `name`.
pub(super) async fn start_tls(
    name: &str,
    socket: Source<TcpStream>,
    tls: &ClientTls,
) -> Result<ByteStream, DialError> {
    let server_name = ServerName::try_from(name.to_owned())
        .map_err(|_| DialError::Unusable(format!("{name} is no name a certificate can carry")))?;
    let connector = TlsConnector::from(tls.config());
    let session = connector
        .connect(server_name, socket)
        .await
        .map_err(|error| DialError::Tls { host: name.to_owned(), error })?;
    Ok(ByteStream::Tls(Box::new(session.into())))
}

/// Sends the upgrade request and checks the answer; returns what came behind it.
async fn upgrade(
    target: &Target,
    stream: &mut ByteStream,
    settings: &DialSettings,
) -> Result<Vec<u8>, DialError> {
    let unusable = |e: &dyn fmt::Display| DialError::Unusable(e.to_string());
    let mut request = target.uri.clone().into_client_request().map_err(|e| unusable(&e))?;
    let headers = request.headers_mut();
    headers.insert("user-agent", HeaderValue::from_static(SERVER));
    for (name, value) in &settings.headers {
        let name: HeaderName =
            name.parse().map_err(|_| DialError::Unusable(format!("{name} is no name of a header")))?;
        let mut value = HeaderValue::from_str(value).map_err(|_| {
            DialError::Unusable(format!("the value for the header {name} has forbidden characters"))
        })?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    let (request, key) = generate_request(request).map_err(|e| unusable(&e))?;
    stream.write_all(&request).await.map_err(DialError::Io)?;
    stream.flush().await.map_err(DialError::Io)?;
    let head = Head::read_response(stream).await.map_err(|e| match e {
        HeadError::TooLarge => DialError::refused("the head of the answer is too large"),
        HeadError::NotHttp(_) => DialError::refused("the answer is not HTTP"),
        HeadError::Ended => DialError::Io(io::ErrorKind::UnexpectedEof.into()),
        HeadError::Io(e) => DialError::Io(e),
    })?;
    head.check_response(&key)
        .map_err(|refusal| DialError::Refused { status: refusal.status, text: refusal.text })?;
    Ok(head.into_rest())
}

struct Target {
    protocol: Protocol,
    host: String,
    port: u16,
    uri: Uri,
}

impl Target {
    fn parse(url: &str) -> Result<Target, DialError> {
        let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
        if authority.split(['/', '?', '#']).next().is_some_and(|a| a.contains('@')) {
            // Without the URL, which would show them.
            let why = "a URL must not carry user and password; credentials belong into headers";
            return Err(DialError::Unusable(why.to_owned()));
        }
        let unusable = |why: &str| DialError::Unusable(format!("{url}: {why}"));
        let uri: Uri = url.parse().map_err(|e| unusable(&format!("not a URL: {e}")))?;
        let protocol = uri
            .scheme_str()
            .and_then(Protocol::from_name)
            .ok_or_else(|| unusable("the URL must begin with ws://, wss://, tcp:// or tcps://"))?;
        let host = match uri.host() {
            None | Some("") => return Err(unusable("the URL names no host")),
            Some(host) => host,
        };
        // The parser passes over a port that is no number.
        if uri.port_u16().is_none() && uri.authority().is_some_and(|a| a.as_str() != host) {
            return Err(unusable("the port in the URL is no number"));
        }
        let host = bare_host(host).to_owned();
        let port = match (uri.port_u16(), protocol) {
            (Some(0), _) | (None, Protocol::Tcp | Protocol::Tcps) => {
                return Err(unusable("the URL names no port"));
            }
            (Some(port), _) => port,
            (None, Protocol::Ws) => 80,
            (None, Protocol::Wss) => 443,
        };
        Ok(Target { protocol, host, port, uri })
    }
}

/// Of one name; there is no time for more.
const ADDRESSES_MAX: usize = 16;

impl Default for DialSettings {
    fn default() -> DialSettings {
        DialSettings {
            connect_timeout: Duration::from_secs(10),
            limits: LinkLimits::default(),
            headers: Vec::new(),
            tls: None,
            resolver: Resolver::system(),
        }
    }
}

/// Names the headers, never their values.
impl fmt::Debug for DialSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("DialSettings")
            .field("connect_timeout", &self.connect_timeout)
            .field("limits", &self.limits)
            .field("headers", &names)
            .field("tls", &self.tls.is_some())
            .finish()
    }
}

impl DialError {
    fn refused(text: &str) -> DialError {
        DialError::Refused { status: 0, text: text.to_owned() }
    }
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DialError::Unusable(why) => f.write_str(why),
            DialError::Resolve { host, error } => write!(f, "cannot resolve {host}: {error}"),
            DialError::Connect { address, error } => write!(f, "cannot connect to {address}: {error}"),
            DialError::Tls { host, error } => write!(f, "the TLS handshake with {host} failed: {error}"),
            DialError::Refused { status: 0, text } => write!(f, "no WebSocket at the other end: {text}"),
            DialError::Refused { status, text } => {
                write!(f, "the other end refused with HTTP {status}: {text}")
            }
            DialError::Io(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                f.write_str("the other end closed the connection during the WebSocket upgrade")
            }
            DialError::Io(e) => write!(f, "the connection was lost during the WebSocket upgrade: {e}"),
            DialError::TimedOut(limit) => write!(f, "no connection within {} s", limit.as_secs_f64()),
        }
    }
}

impl std::error::Error for DialError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            DialError::Resolve { error, .. }
            | DialError::Connect { error, .. }
            | DialError::Tls { error, .. } => Some(error),
            DialError::Io(error) => Some(error),
            _ => None,
        }
    }
}
