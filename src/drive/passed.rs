//! Sockets that the service manager opened for this process (sd_listen_fds(3)).
//!
//! Promises: a listener takes the socket that has its name or its address, and otherwise binds one of its own; a socket
//! that no listener takes is a fault, never left listening with nobody behind it. They outlive the node, so that those
//! who connect while it restarts wait instead of being refused.

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{SocketType, sockopt};

/// See the module.
#[derive(Debug, Default)]
pub struct Passed {
    sockets: Vec<PassedSocket>,
}

#[derive(Debug)]
struct PassedSocket {
    /// `FileDescriptorName=` of the socket unit; by default the name of the unit.
    name: String,
    address: SocketAddr,
    socket: TcpListener,
}

impl Passed {
    /// What this process was started with; an error is one line with the remedy. To be called once.
    pub fn of_process() -> Result<Passed, String> {
        let passed = sd_listen_fds::get().map_err(|_| {
            "LISTEN_FDS or LISTEN_PID is no number; they are set by the service manager".to_owned()
        })?;
        let mut sockets = Vec::new();
        for (index, (name, descriptor)) in passed.into_iter().enumerate() {
            let name = name.unwrap_or_default();
            let socket = PassedSocket::new(name.clone(), descriptor.into_std()).map_err(|fault| {
                let number = FIRST_DESCRIPTOR + index;
                format!(
                    "descriptor {number} ({name}) of the service manager {fault}; \
                     its socket unit should have ListenStream=ADDRESS:PORT and Accept=no"
                )
            })?;
            sockets.push(socket);
        }
        Ok(Passed { sockets })
    }

    pub fn has_named(&self, name: &str) -> bool {
        self.sockets.iter().any(|socket| socket.name == name)
    }

    /// The socket of that name.
    pub fn take_named(&mut self, name: &str) -> Option<TcpListener> {
        self.take(|socket| socket.name == name)
    }

    /// The socket that is bound there.
    pub fn take_bound(&mut self, address: SocketAddr) -> Option<TcpListener> {
        self.take(|socket| covers(socket.address, address))
    }

    fn take(&mut self, fits: impl Fn(&PassedSocket) -> bool) -> Option<TcpListener> {
        let index = self.sockets.iter().position(fits)?;
        Some(self.sockets.remove(index).socket)
    }

    /// An error where a socket is left that nobody took.
    pub fn refuse_rest(self) -> Result<(), String> {
        if self.sockets.is_empty() {
            return Ok(());
        }
        let rest: Vec<String> = self.sockets.iter().map(ToString::to_string).collect();
        Err(format!(
            "the service manager listens on {}, where the configuration has no listener; correct ListenStream= of the \
             socket unit, or host and port in [listen]",
            rest.join(" and ")
        ))
    }
}

impl PassedSocket {
    fn new(name: String, descriptor: OwnedFd) -> Result<PassedSocket, String> {
        let fault = |error: rustix::io::Errno| format!("cannot be used: {error}");
        // Not for workers.
        fcntl_setfd(&descriptor, FdFlags::CLOEXEC).map_err(fault)?;
        let is_stream = sockopt::socket_type(&descriptor).is_ok_and(|kind| kind == SocketType::STREAM);
        if !is_stream || !sockopt::socket_acceptconn(&descriptor).unwrap_or(false) {
            return Err("is no listening TCP socket".into());
        }
        let socket = TcpListener::from(descriptor);
        let address = socket.local_addr().map_err(|_| "is no listening TCP socket".to_owned())?;
        Ok(PassedSocket { name, address, socket })
    }
}

impl fmt::Display for PassedSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.address, self.name)
    }
}

/// Two ways to write "every address" mean the same.
fn covers(bound: SocketAddr, wanted: SocketAddr) -> bool {
    let is_any = |address: SocketAddr| address.ip().is_unspecified();
    bound.port() == wanted.port() && (bound.ip() == wanted.ip() || is_any(bound) && is_any(wanted))
}

/// SD_LISTEN_FDS_START.
const FIRST_DESCRIPTOR: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(names: &[&str]) -> (Passed, Vec<SocketAddr>) {
        let sockets: Vec<PassedSocket> = names
            .iter()
            .map(|name| {
                let socket = TcpListener::bind("127.0.0.1:0").unwrap();
                PassedSocket::new((*name).to_owned(), socket.into()).unwrap()
            })
            .collect();
        let addresses = sockets.iter().map(|socket| socket.address).collect();
        (Passed { sockets }, addresses)
    }

    #[test]
    fn a_listener_takes_the_socket_of_its_name_or_its_address_once() {
        let (mut passed, addresses) = passed(&["mpreg.socket", "monitoring"]);
        assert!(passed.take_named("listen").is_none());
        assert_eq!(passed.take_named("monitoring").unwrap().local_addr().unwrap(), addresses[1]);
        assert!(passed.take_bound(addresses[1]).is_none());
        assert_eq!(passed.take_bound(addresses[0]).unwrap().local_addr().unwrap(), addresses[0]);
        assert!(passed.refuse_rest().is_ok());
    }

    #[test]
    fn what_nobody_wants_is_named() {
        let (passed, addresses) = passed(&["other.socket"]);
        let fault = passed.refuse_rest().unwrap_err();
        assert!(fault.contains(&format!("{} (other.socket)", addresses[0])), "{fault}");
    }

    #[test]
    fn only_listening_tcp_sockets_are_taken() {
        let datagram: OwnedFd = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into();
        let file: OwnedFd = tempfile::tempfile().unwrap().into();
        let path = tempfile::tempdir().unwrap();
        let unix: OwnedFd = std::os::unix::net::UnixListener::bind(path.path().join("s")).unwrap().into();
        for descriptor in [datagram, file, unix] {
            assert_eq!(PassedSocket::new("x".into(), descriptor).unwrap_err(), "is no listening TCP socket");
        }
    }

    #[test]
    fn every_address_is_one_place_however_it_is_written() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert!(covers(address("[::]:7000"), address("0.0.0.0:7000")));
        assert!(!covers(address("[::]:7000"), address("127.0.0.1:7000")));
        assert!(!covers(address("127.0.0.1:7001"), address("127.0.0.1:7000")));
    }
}
