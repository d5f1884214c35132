//! Listening sockets.
//!
//! Promises: accepting goes on whatever happens to single connections; when the process is out of descriptors or
//! memory it waits a moment instead of spinning, and says so once. Never does a handshake: what it accepts is a bare
//! socket for `handshake::accept_link`.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
use smol::Timer;

use super::link::Protocol;
use super::passed::Passed;
use super::reactor::Source;
use super::resolve::Resolver;
use super::tls::TlsIdentity;

/// One `[[listen.endpoint]]`, or the `host` and `port` of `[listen]`.
#[derive(Debug, Clone)]
pub struct EndpointSettings {
    pub protocol: Protocol,
    /// A name or an address literal.
    pub host: String,
    /// 0 lets the system choose.
    pub port: u16,
    pub class: EndpointClass,
    /// Needed where the protocol is wss or tcps.
    pub tls: Option<Arc<TlsIdentity>>,
}

/// Who may use an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointClass {
    Client,
    Internal,
    Any,
}

/// A bound endpoint.
#[derive(Debug)]
pub struct Listener {
    socket: Source<TcpListener>,
    address: SocketAddr,
    settings: EndpointSettings,
    pauses: AtomicU64,
    /// Since the last connection accepting has failed, and that was said.
    starved: AtomicBool,
}

/// A connection before its handshake.
#[derive(Debug)]
pub struct Accepted {
    pub stream: Source<TcpStream>,
    pub address: SocketAddr,
}

impl Listener {
    /// Binds and listens. A port that was in use by a process that just ended can be bound again at once.
    pub fn bind(endpoint: &EndpointSettings) -> io::Result<Listener> {
        Listener::bind_or_take(endpoint, None, &mut Passed::default())
    }

    /// The same, unless a socket was passed to the process that has this name or is bound there.
    pub fn bind_or_take(
        endpoint: &EndpointSettings,
        name: Option<&str>,
        passed: &mut Passed,
    ) -> io::Result<Listener> {
        if endpoint.protocol.is_tls() && endpoint.tls.is_none() {
            let text = format!("{} needs tls.cert_file and tls.key_file", endpoint.protocol);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        if let Some(socket) = name.and_then(|name| passed.take_named(name)) {
            let bound = socket.local_addr()?;
            if endpoint.port != 0 && endpoint.port != bound.port() {
                let text = format!("the service manager listens on {bound} instead");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
            return Listener::new(socket, endpoint);
        }
        let mut fault = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
        // Binding happens at the start, when nobody waits for this thread; a literal asks nothing.
        let addresses = Resolver::system();
        let addresses = addresses.addresses(&endpoint.host, endpoint.port, RESOLVE_TIME_MAX);
        for address in smol::block_on(addresses)? {
            if let Some(socket) = passed.take_bound(address) {
                return Listener::new(socket, endpoint);
            }
            match bind_address(address) {
                Ok(socket) => return Listener::new(socket, endpoint),
                Err(e) => fault = io::Error::new(e.kind(), format!("{address}: {e}")),
            }
        }
        Err(fault)
    }

    fn new(socket: TcpListener, endpoint: &EndpointSettings) -> io::Result<Listener> {
        Ok(Listener {
            address: socket.local_addr()?,
            socket: Source::new(socket)?,
            settings: endpoint.clone(),
            pauses: AtomicU64::new(0),
            starved: AtomicBool::new(false),
        })
    }

    /// The address with the port that was really bound.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    pub fn settings(&self) -> &EndpointSettings {
        &self.settings
    }

    /// How often accepting had to pause because the process was out of descriptors or memory.
    pub fn pauses(&self) -> u64 {
        self.pauses.load(Ordering::Relaxed)
    }

    /// The next connection. May be dropped and called again at any time without losing one.
    pub async fn accept(&self) -> Accepted {
        loop {
            match self.socket.accept().await {
                Ok((stream, address)) => {
                    self.starved.store(false, Ordering::Relaxed);
                    return Accepted { stream, address };
                }
                Err(e) if concerns_one_connection(&e) => {}
                Err(e) => {
                    self.pauses.fetch_add(1, Ordering::Relaxed);
                    if !self.starved.swap(true, Ordering::Relaxed) {
                        log::warn!("cannot accept connections on {}, trying again: {e}", self.address);
                    }
                    Timer::after(PAUSE).await;
                }
            }
        }
    }
}

/// An address literal of version 6 is written in brackets in URLs and often in configs.
pub(super) fn bare_host(host: &str) -> &str {
    host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host)
}

fn bind_address(address: SocketAddr) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// The connection that was to be accepted is already gone; the next one may be fine (accept(2), "Error handling").
fn concerns_one_connection(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
    )
}

/// Connections the kernel completes ahead of us; it cuts this to net.core.somaxconn.
const BACKLOG: i32 = 4096;
/// For the name of a listener that is no literal.
const RESOLVE_TIME_MAX: Duration = Duration::from_secs(10);
/// Long enough not to spin, short enough not to be felt.
const PAUSE: Duration = Duration::from_millis(50);
