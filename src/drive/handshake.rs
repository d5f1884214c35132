//! From an accepted socket to a link: TLS where the endpoint has it, then the WebSocket upgrade where it speaks that.
//!
//! Promises: bounded memory before the peer has said who it is; the caller's `authorize` decides before anything is
//! agreed to, and its refusal reaches the peer; every failure is a value that names the cause. Sets no deadline: the
//! future can be dropped at any point, so its caller races it against a timer.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use async_tungstenite::tungstenite::protocol::Role;
use futures_rustls::TlsAcceptor;
use futures_rustls::rustls::pki_types::CertificateDer;
use smol::io::AsyncWriteExt;

use super::link::{Link, LinkLimits, Protocol};
use super::listen::Accepted;
use super::stream::{ByteStream, prepare_socket};
use super::tls::TlsIdentity;
pub use super::upgrade::HttpRefusal;
use super::upgrade::{Head, HeadError, UpgradeRequest};
use crate::core::reason::Reason;

/// How an endpoint turns sockets into links.
#[derive(Debug, Clone)]
pub struct AcceptSettings {
    pub protocol: Protocol,
    pub tls: Option<Arc<TlsIdentity>>,
    pub limits: LinkLimits,
    /// `tenants.header`: a further header to hand upstream.
    pub tenant_header: Option<String>,
}

/// Who is at the other end, as far as the handshake tells. What it claims is not checked here, except the client
/// certificate: if there is one, it was signed by an authority in `tls.ca_file`.
#[derive(Clone)]
pub struct PeerInfo {
    pub address: SocketAddr,
    pub protocol: Protocol,
    /// `Authorization`, as sent.
    pub authorization: Option<String>,
    /// `X-API-Key`, as sent.
    pub api_key: Option<String>,
    /// The value of `AcceptSettings::tenant_header`.
    pub tenant_header: Option<String>,
    pub user_agent: Option<String>,
    /// DER, the peer's own certificate first.
    pub client_certificates: Vec<CertificateDer<'static>>,
}

/// `authorize` says no: an HTTP status and text where the protocol has them, else just the end of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub reason: Reason,
    pub status: u16,
    pub text: String,
}

/// Why a connection did not become a link. The socket is already closed.
#[derive(Debug)]
pub enum HandshakeError {
    /// The peer went away or the connection failed.
    Io(io::Error),
    /// No TLS at all, no common version, or a certificate that is not accepted.
    Tls(io::Error),
    /// No WebSocket upgrade; the peer was told so.
    Http(HttpRefusal),
    /// `authorize` said no; the peer was told so.
    Refused(Refusal),
}

/// Does the handshake of one connection.
pub async fn accept_link<A>(
    accepted: Accepted,
    settings: &AcceptSettings,
    authorize: A,
) -> Result<(Link, PeerInfo), HandshakeError>
where
    A: FnOnce(&PeerInfo) -> Result<(), Refusal>,
{
    // On the heap, so that the task of a connection does not carry the size of its handshake through its whole life.
    Box::pin(shake_hands(accepted, settings, authorize)).await
}

async fn shake_hands<A>(
    accepted: Accepted,
    settings: &AcceptSettings,
    authorize: A,
) -> Result<(Link, PeerInfo), HandshakeError>
where
    A: FnOnce(&PeerInfo) -> Result<(), Refusal>,
{
    let Accepted { stream, address } = accepted;
    prepare_socket(&stream).map_err(HandshakeError::Io)?;
    let mut stream = match &settings.tls {
        Some(identity) if settings.protocol.is_tls() => {
            let acceptor = TlsAcceptor::from(identity.server_config());
            let session = acceptor.accept(stream).await.map_err(HandshakeError::Tls)?;
            ByteStream::Tls(Box::new(session.into()))
        }
        None if settings.protocol.is_tls() => {
            return Err(HandshakeError::Tls(io::Error::other("the endpoint has no certificate")));
        }
        _ => ByteStream::Plain(stream),
    };
    let mut peer = PeerInfo {
        address,
        protocol: settings.protocol,
        authorization: None,
        api_key: None,
        tenant_header: None,
        user_agent: None,
        client_certificates: stream.peer_certificates(),
    };
    let mut already_read = Vec::new();
    if settings.protocol.is_websocket() {
        let (request, rest) = match read_upgrade(&mut stream).await {
            Ok(upgrade) => upgrade,
            Err(HandshakeError::Http(refusal)) => {
                refusal.send(&mut stream).await;
                return Err(HandshakeError::Http(refusal));
            }
            Err(e) => return Err(e),
        };
        peer.authorization = request.header("Authorization");
        peer.api_key = request.header("X-API-Key");
        peer.user_agent = request.header("User-Agent");
        peer.tenant_header = settings.tenant_header.as_deref().and_then(|name| request.header(name));
        if let Err(refusal) = authorize(&peer) {
            HttpRefusal::new(refusal.status, refusal.text.clone()).send(&mut stream).await;
            return Err(HandshakeError::Refused(refusal));
        }
        let answer = request.answer();
        stream.write_all(answer.as_bytes()).await.map_err(HandshakeError::Io)?;
        stream.flush().await.map_err(HandshakeError::Io)?;
        already_read = rest;
    } else {
        authorize(&peer).map_err(HandshakeError::Refused)?;
    }
    let link = Link::new(stream, settings.protocol, Role::Server, already_read, settings.limits);
    Ok((link, peer))
}

async fn read_upgrade(stream: &mut ByteStream) -> Result<(UpgradeRequest, Vec<u8>), HandshakeError> {
    let head = Head::read_request(stream).await.map_err(|e| match e {
        HeadError::TooLarge => HandshakeError::Http(HttpRefusal::new(431, "the request head is too large")),
        HeadError::NotHttp(e) => {
            HandshakeError::Http(HttpRefusal::new(400, format!("this is not HTTP: {e}")))
        }
        HeadError::Ended => HandshakeError::Io(io::ErrorKind::UnexpectedEof.into()),
        HeadError::Io(e) => HandshakeError::Io(e),
    })?;
    let request = head.upgrade_request().map_err(HandshakeError::Http)?;
    Ok((request, head.into_rest()))
}

impl HandshakeError {
    pub fn reason(&self) -> Reason {
        match self {
            HandshakeError::Refused(refusal) => refusal.reason,
            _ => Reason::HandshakeRefused,
        }
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandshakeError::Io(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                f.write_str("the peer went away during the handshake")
            }
            HandshakeError::Io(e) => write!(f, "the connection failed during the handshake: {e}"),
            HandshakeError::Tls(e) => write!(f, "the TLS handshake failed: {e}"),
            HandshakeError::Http(refusal) => {
                write!(f, "no WebSocket upgrade ({}): {}", refusal.status, refusal.text)
            }
            HandshakeError::Refused(refusal) => write!(f, "refused ({}): {}", refusal.status, refusal.text),
        }
    }
}

impl std::error::Error for HandshakeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            HandshakeError::Io(e) | HandshakeError::Tls(e) => Some(e),
            _ => None,
        }
    }
}

/// Says whether there are credentials, never what they are.
impl fmt::Debug for PeerInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerInfo")
            .field("address", &self.address)
            .field("protocol", &self.protocol)
            .field("authorization", &self.authorization.is_some())
            .field("api_key", &self.api_key.is_some())
            .field("tenant_header", &self.tenant_header.is_some())
            .field("user_agent", &self.user_agent)
            .field("client_certificates", &self.client_certificates.len())
            .finish()
    }
}
