//! An echo server over the library, bytes by hand, and certificates.

use std::cell::RefCell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use mpreg::core::reason::Reason;
use mpreg::drive::dial::{DialError, DialSettings, dial};
use mpreg::drive::handshake::{AcceptSettings, HandshakeError, PeerInfo, Refusal, accept_link};
use mpreg::drive::link::{Incoming, Link, LinkError, LinkLimits, Protocol};
use mpreg::drive::listen::{EndpointClass, EndpointSettings, Listener};
use mpreg::drive::tls::{TlsIdentity, TlsSettings, TlsTrust};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::TcpStream;
use smol::{LocalExecutor, Timer, future};

/// Runs one test with an executor for its servers; a test that hangs fails.
pub fn run<T>(test: impl AsyncFnOnce(&LocalExecutor<'static>) -> T) -> T {
    let ex = LocalExecutor::new();
    let hang = async {
        Timer::after(Duration::from_secs(20)).await;
        panic!("the test hangs");
    };
    smol::block_on(ex.run(future::or(test(&ex), hang)))
}

/// How a connection of the echo server ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    Closed(u16, String),
    TooLarge,
    Protocol,
    AnswersUnread,
    Io,
    Handshake(Reason),
}

#[derive(Default)]
pub struct State {
    ends: Vec<End>,
    pub peers: Vec<PeerInfo>,
}

/// An echo server. A message may have up to 4 MiB; the token `unknown` is refused.
pub struct Server {
    protocol: Protocol,
    pub address: SocketAddr,
    pub state: Rc<RefCell<State>>,
    _task: smol::Task<()>,
}

impl Server {
    pub fn start(ex: &LocalExecutor<'static>, protocol: Protocol, tls: Option<Arc<TlsIdentity>>) -> Server {
        let (listener, settings) = bind(protocol, tls);
        let address = listener.local_addr();
        let state = Rc::new(RefCell::new(State::default()));
        let shared = state.clone();
        let task = ex.spawn(async move {
            let connections = LocalExecutor::new();
            connections
                .run(async {
                    loop {
                        let accepted = listener.accept().await;
                        let (state, settings) = (shared.clone(), settings.clone());
                        let connection = async move {
                            match accept_link(accepted, &settings, authorize).await {
                                Ok((mut link, peer)) => {
                                    state.borrow_mut().peers.push(peer);
                                    let end = echo(&mut link).await;
                                    state.borrow_mut().ends.push(end);
                                    let _ = poll_fn(|cx| link.poll_close(cx)).await;
                                }
                                Err(e) => {
                                    assert!(!e.to_string().is_empty());
                                    state.borrow_mut().ends.push(End::Handshake(e.reason()));
                                }
                            }
                        };
                        connections.spawn(connection).detach();
                    }
                })
                .await
        });
        Server { protocol, address, state, _task: task }
    }

    pub fn url(&self) -> String {
        format!("{}://{}", self.protocol, self.address)
    }

    pub async fn dial(&self, tls: &Option<Arc<TlsTrust>>) -> Result<Link, DialError> {
        dial(&self.url(), &DialSettings { tls: tls.clone(), ..DialSettings::default() }).await
    }

    /// Waits until the next connection that ended has ended in that way.
    pub async fn ended(&self, expected: impl Fn(&End) -> bool) {
        loop {
            let end = self.state.borrow_mut().ends.pop();
            match end {
                Some(end) => return assert!(expected(&end), "{end:?}"),
                None => Timer::after(Duration::from_millis(1)).await,
            };
        }
    }
}

pub fn authorize(peer: &PeerInfo) -> Result<(), Refusal> {
    match peer.authorization.as_deref() {
        Some("Bearer unknown") => {
            Err(Refusal { reason: Reason::CredentialRefused, status: 401, text: "no such tenant".to_owned() })
        }
        _ => Ok(()),
    }
}

/// Echoes as a node serves: everything that is ready, then one flush.
pub async fn echo(link: &mut Link) -> End {
    let done = poll_fn(|cx| {
        loop {
            match link.poll_read(cx)? {
                Poll::Ready(Incoming::Message(message)) => link.start_send(message)?,
                Poll::Ready(Incoming::Closed { code, reason }) => {
                    return Poll::Ready(Ok(End::Closed(code, reason)));
                }
                Poll::Ready(Incoming::Ping(_) | Incoming::Pong(_)) => {}
                Poll::Pending => {
                    let _ = link.poll_flush(cx)?;
                    return Poll::Pending;
                }
            }
        }
    });
    match done.await {
        Ok(end) => end,
        Err(LinkError::TooLarge { .. }) => End::TooLarge,
        Err(LinkError::Protocol(_)) => End::Protocol,
        Err(LinkError::AnswersUnread) => End::AnswersUnread,
        Err(LinkError::Io(_) | LinkError::Closed) => End::Io,
    }
}

pub fn bind(protocol: Protocol, tls: Option<Arc<TlsIdentity>>) -> (Listener, AcceptSettings) {
    let endpoint = EndpointSettings {
        protocol,
        host: "127.0.0.1".to_owned(),
        port: 0,
        class: EndpointClass::Any,
        tls: tls.clone(),
    };
    (Listener::bind(&endpoint).unwrap(), accept_settings(protocol, tls))
}

pub fn accept_settings(protocol: Protocol, tls: Option<Arc<TlsIdentity>>) -> AcceptSettings {
    let limits = LinkLimits { message_bytes_max: 4 << 20, ..LinkLimits::default() };
    AcceptSettings { protocol, tls, limits, tenant_header: Some("X-Tenant".to_owned()) }
}

/// Both ends of one connection: bytes by hand, and the server's link.
pub async fn raw_and_link(protocol: Protocol) -> (Raw, Link) {
    let (listener, settings) = bind(protocol, None);
    let mut raw = Raw { stream: TcpStream::connect(listener.local_addr()).await.unwrap() };
    if protocol.is_websocket() {
        raw.send(upgrade_request(&[]).as_bytes()).await;
    }
    let accepted = listener.accept().await;
    let (link, _) = accept_link(accepted, &settings, |_| Ok(()))
        .await
        .map_err(|e: HandshakeError| e.to_string())
        .unwrap();
    if protocol.is_websocket() {
        assert!(raw.head().await.starts_with("HTTP/1.1 101"));
    }
    (raw, link)
}

/// Bytes on a TCP connection; frames are made by hand so that they can be wrong.
pub struct Raw {
    pub stream: TcpStream,
}

impl Raw {
    pub async fn connect(server: &Server) -> Raw {
        Raw { stream: TcpStream::connect(server.address).await.unwrap() }
    }

    pub async fn upgraded(server: &Server) -> Raw {
        let mut raw = Raw::connect(server).await;
        raw.send(upgrade_request(&[]).as_bytes()).await;
        let head = raw.head().await;
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        raw
    }

    pub async fn send(&mut self, data: &[u8]) {
        self.stream.write_all(data).await.unwrap();
    }

    pub async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).await.unwrap();
            head.extend(byte);
        }
        String::from_utf8(head).unwrap()
    }

    pub async fn read_frame(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).await.unwrap();
        assert_eq!(head[1] & 0x80, 0, "a server must not mask");
        let length = match head[1] {
            126 => {
                let mut more = [0; 2];
                self.stream.read_exact(&mut more).await.unwrap();
                u16::from_be_bytes(more).into()
            }
            127 => {
                let mut more = [0; 8];
                self.stream.read_exact(&mut more).await.unwrap();
                u64::from_be_bytes(more) as usize
            }
            n => usize::from(n),
        };
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await.unwrap();
        (head[0] & 0x0f, payload)
    }

    /// Everything up to an orderly end of the connection; a reset fails the test.
    pub async fn ended(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).await.unwrap();
        self.stream.shutdown(std::net::Shutdown::Both).ok();
        rest
    }
}

pub fn upgrade_request(headers: &[(&str, &str)]) -> String {
    let mut all = vec![
        ("Host", "localhost"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    all.retain(|(name, _)| headers.iter().all(|(n, _)| n != name));
    all.extend(headers);
    let lines: String = all.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("GET / HTTP/1.1\r\n{lines}\r\n")
}

pub fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    framed(opcode, payload, true, true, 0)
}

pub fn framed(opcode: u8, payload: &[u8], last: bool, masked: bool, reserved: u8) -> Vec<u8> {
    let mut data = vec![u8::from(last) << 7 | reserved << 4 | opcode];
    let bit = u8::from(masked) << 7;
    match payload.len() {
        n if n < 126 => data.push(bit | n as u8),
        n if n < 65_536 => {
            data.push(bit | 126);
            data.extend((n as u16).to_be_bytes());
        }
        n => {
            data.push(bit | 127);
            data.extend((n as u64).to_be_bytes());
        }
    }
    let key = [0x5a, 0x13, 0xe7, 0x88];
    if masked {
        data.extend(key);
        data.extend(payload.iter().zip(key.iter().cycle()).map(|(b, k)| b ^ k));
    } else {
        data.extend(payload);
    }
    data
}

pub fn rss_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// A certificate authority in a folder of its own.
pub struct Authority {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Authority {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // Two authorities of one name would be told apart by their signatures only.
        let name = folder.path().display().to_string();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        Authority { folder, issuer: Issuer::new(params, key) }
    }

    pub fn ca_file(&self) -> PathBuf {
        self.path("ca.pem")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        Path::join(self.folder.path(), name)
    }

    pub fn issue(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> (PathBuf, PathBuf) {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), name.to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let pair = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        std::fs::write(&pair.0, certificate.pem()).unwrap();
        std::fs::write(&pair.1, key.serialize_pem()).unwrap();
        pair
    }

    pub fn server(&self) -> (PathBuf, PathBuf) {
        self.issue("server", ExtendedKeyUsagePurpose::ServerAuth)
    }

    pub fn identity(&self, change: impl FnOnce(&mut TlsSettings)) -> Option<Arc<TlsIdentity>> {
        let (cert, key) = self.server();
        let mut settings =
            TlsSettings { cert_file: Some(cert), key_file: Some(key), ..TlsSettings::default() };
        change(&mut settings);
        Some(Arc::new(TlsIdentity::load(settings).unwrap()))
    }

    pub fn trust(&self) -> Option<Arc<TlsTrust>> {
        self.trust_with(|_| {})
    }

    pub fn trust_with(&self, change: impl FnOnce(&mut TlsSettings)) -> Option<Arc<TlsTrust>> {
        let mut settings = TlsSettings { ca_file: Some(self.ca_file()), ..TlsSettings::default() };
        change(&mut settings);
        Some(Arc::new(TlsTrust::load(settings).unwrap()))
    }
}
