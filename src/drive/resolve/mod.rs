//! Addresses of names: `/etc/hosts`, then the name servers of `/etc/resolv.conf`.
//!
//! The binary is static, so that the system's own lookup (`getaddrinfo` and what NSS loads for it) is not there to be
//! asked. Promises: literals and `localhost` need no question; both families are asked for; a lookup has a time, and
//! so has each question in it, such that the second server has its turn; ids and ports are the system's random
//! choice; the two files are read again when they have changed. Nothing is remembered but which server answered:
//! each dial asks anew. What is asked in which order is decided in `lookup`, what an answer says in `message`.

mod files;
mod lookup;
mod message;
#[cfg(test)]
mod tests;

use std::fs::{self, Metadata};
use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use smol::future::{or, zip};
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};
use smol::{Async, Timer};

use super::listen::bare_host;
use files::{Conf, Hosts, plain};
use lookup::{Ask, Lookup, Outcome, together};
use message::{Kind, Record, Reply};
pub use message::{Service, is_name};

/// See the module.
#[derive(Debug)]
pub struct Resolver {
    /// `None` where fixed servers are asked and nothing else.
    files: Option<Files>,
    fixed: Arc<Conf>,
    /// The server that is asked first.
    first: AtomicUsize,
}

/// Where the configuration of the system is; other places than the usual ones are for tests.
#[derive(Debug)]
pub struct Files {
    pub hosts: PathBuf,
    pub resolv_conf: PathBuf,
    /// Of all servers.
    pub port: u16,
    known: Mutex<Known>,
}

#[derive(Debug, Default, Clone)]
struct Known {
    hosts: (Option<Stamp>, Arc<Hosts>),
    conf: (Option<Stamp>, Arc<Conf>),
}

/// A file that has another one has changed.
type Stamp = (u64, u64, i64, i64);

impl Resolver {
    /// The one that asks as this system is configured.
    pub fn system() -> Arc<Resolver> {
        static SYSTEM: LazyLock<Arc<Resolver>> = LazyLock::new(|| {
            Arc::new(Resolver::with_files(Files::new("/etc/hosts".into(), "/etc/resolv.conf".into(), 53)))
        });
        SYSTEM.clone()
    }

    pub fn with_files(files: Files) -> Resolver {
        Resolver { files: Some(files), fixed: Arc::default(), first: AtomicUsize::new(0) }
    }

    /// One that asks these servers for whole names only.
    pub fn asking(servers: Vec<SocketAddr>) -> Resolver {
        let fixed = Conf { servers, ..Conf::default() };
        Resolver { files: None, fixed: Arc::new(fixed), first: AtomicUsize::new(0) }
    }

    /// The addresses of a host, in the order in which they should be tried: the families by turns. The error names the
    /// server that said so and what to do.
    pub async fn addresses(
        self: &Arc<Self>,
        host: &str,
        port: u16,
        time_max: Duration,
    ) -> io::Result<Vec<SocketAddr>> {
        let host = bare_host(host);
        if let Some(address) = literal(host, port) {
            return Ok(vec![address]);
        }
        let addresses = self.of_name(host, time_max).await?;
        Ok(by_turns(addresses).into_iter().map(|address| SocketAddr::new(address, port)).collect())
    }

    /// Where a service such as `_mpreg._tcp.example.net` is served, best first.
    pub async fn services(
        self: &Arc<Self>,
        name: &str,
        over_tcp: bool,
        time_max: Duration,
    ) -> io::Result<Vec<Service>> {
        let (_, conf) = self.configuration().await?;
        let conf = Conf { over_tcp: conf.over_tcp || over_tcp, ..(*conf).clone() };
        let records = self.search(name, vec![plain(name)], &conf, &[Kind::Srv], time_max).await?;
        let mut services: Vec<Service> = records
            .into_iter()
            .filter_map(|record| if let Record::Service(service) = record { Some(service) } else { None })
            .collect();
        services.sort_by(|a, b| {
            (a.priority, b.weight, &a.target, a.port).cmp(&(b.priority, a.weight, &b.target, b.port))
        });
        Ok(services)
    }

    async fn of_name(self: &Arc<Self>, host: &str, time_max: Duration) -> io::Result<Vec<IpAddr>> {
        if !is_name(&plain(host)) {
            let text = format!("{host} is neither a name nor an address; correct it");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let (hosts, conf) = self.configuration().await?;
        let known = hosts.addresses(host);
        if !known.is_empty() {
            return Ok(known.to_vec());
        }
        let name = plain(host);
        if name == "localhost" || name.ends_with(".localhost") {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let names = conf.names(host);
        let records = self.search(host, names, &conf, &[Kind::Aaaa, Kind::A], time_max).await?;
        let address = |record| if let Record::Address(address) = record { Some(address) } else { None };
        Ok(records.into_iter().filter_map(address).collect())
    }

    /// The records of the first of these names that has any.
    async fn search(
        &self,
        host: &str,
        names: Vec<String>,
        conf: &Conf,
        kinds: &[Kind],
        time_max: Duration,
    ) -> io::Result<Vec<Record>> {
        let deadline = Instant::now() + time_max;
        // Each server shall have its turn in the time there is.
        let share = time_max / u32::try_from(conf.servers.len() + 1).unwrap_or(u32::MAX);
        let patience = conf.timeout.min(share);
        let first = match conf.rotate {
            true => self.first.fetch_add(1, Relaxed),
            false => self.first.load(Relaxed),
        };
        let mut last = None;
        for name in &names {
            let look = |kind| {
                let lookup = Lookup::new(name.clone(), kind, conf, first);
                self.run(lookup, patience, deadline, !conf.rotate)
            };
            let outcome = match kinds {
                [one, other] => {
                    let (one, other) = zip(look(*one), look(*other)).await;
                    together(one, other)
                }
                [kind] => look(*kind).await,
                _ => continue,
            };
            match outcome {
                Outcome::Found(records) => return Ok(records),
                Outcome::Nothing { exists, server } => last = Some((exists, server)),
                Outcome::Failed(why) => return Err(self.fault(host, &why)),
            }
        }
        let asked = names.join(", ");
        let text = match last {
            Some((true, server)) if kinds == [Kind::Srv] => {
                format!("{server} knows no SRV record of {asked}; correct the name, or add the records there")
            }
            Some((true, server)) => {
                format!("{server} knows no address of {asked}; correct the name, or add an address there")
            }
            Some((false, server)) => {
                format!("{server} says that there is no {asked}; correct the name, or add it there")
            }
            None => format!("{host} cannot be asked for; correct the name"),
        };
        Err(io::Error::new(io::ErrorKind::NotFound, text))
    }

    fn fault(&self, host: &str, why: &str) -> io::Error {
        let remedy = match &self.files {
            Some(files) => format!(
                "look at the name servers of {}, or name {host} in {}",
                files.resolv_conf.display(),
                files.hosts.display()
            ),
            None => "look at the name server, or name another".to_owned(),
        };
        io::Error::new(io::ErrorKind::TimedOut, format!("no answer for {host}: {why}; {remedy}"))
    }

    async fn run(&self, mut lookup: Lookup, patience: Duration, deadline: Instant, sticks: bool) -> Outcome {
        loop {
            let ask = match lookup.next() {
                Ok(ask) => ask,
                Err(outcome) => return outcome,
            };
            let left = deadline.saturating_duration_since(Instant::now()).min(patience);
            if left.is_zero() {
                lookup.take(Err("no time was left to ask it".into()));
                return match lookup.next() {
                    Err(outcome) => outcome,
                    Ok(_) => Outcome::Failed(format!("{}: the time is over", ask.server)),
                };
            }
            let reply = or(exchange(&ask), async {
                Timer::after(left).await;
                Err(format!("no answer within {} s", seconds(left)))
            })
            .await;
            let answered = reply.is_ok();
            if answered && sticks {
                self.first.store(lookup.place(), Relaxed);
            }
            if let Some(outcome) = lookup.take(reply) {
                return outcome;
            }
        }
    }

    /// What the files say now. Off the thread of the executor, because a disk may take its time.
    async fn configuration(self: &Arc<Self>) -> io::Result<(Arc<Hosts>, Arc<Conf>)> {
        let own = self.clone();
        smol::unblock(move || match &own.files {
            Some(files) => files.read(),
            None => Ok((Arc::default(), own.fixed.clone())),
        })
        .await
    }
}

impl Files {
    pub fn new(hosts: PathBuf, resolv_conf: PathBuf, port: u16) -> Files {
        Files { hosts, resolv_conf, port, known: Mutex::default() }
    }

    /// A file that is not there says nothing.
    fn read(&self) -> io::Result<(Arc<Hosts>, Arc<Conf>)> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Known { hosts, conf } = &mut *known;
        if let Some((stamp, text)) = changed(&self.hosts, hosts.0)? {
            *hosts = (stamp, Arc::new(Hosts::read(&text)));
        }
        if let Some((stamp, text)) = changed(&self.resolv_conf, conf.0)? {
            *conf = (stamp, Arc::new(Conf::read(&text, self.port, interface)));
        }
        Ok((hosts.1.clone(), conf.1.clone()))
    }
}

/// The text of a file, if it has changed since it had this stamp.
fn changed(path: &Path, stamp: Option<Stamp>) -> io::Result<Option<(Option<Stamp>, String)>> {
    let fault = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let meta = match fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some((None, String::new()))),
        Err(error) => return Err(fault(error)),
    };
    if stamp == Some(stamp_of(&meta)) {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(fault)?;
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(fault)?;
    Ok(Some((Some(stamp_of(&meta)), String::from_utf8_lossy(&bytes).into_owned())))
}

fn stamp_of(meta: &Metadata) -> Stamp {
    // The time of the last change of anything, which nobody can set.
    (meta.ino(), meta.size(), meta.ctime(), meta.ctime_nsec())
}

/// The number of a network interface.
fn interface(name: &str) -> Option<u32> {
    if name.contains('/') {
        return None;
    }
    fs::read_to_string(format!("/sys/class/net/{name}/ifindex")).ok()?.trim().parse().ok()
}

/// An address literal; one of version 6 may have a zone by its number.
fn literal(host: &str, port: u16) -> Option<SocketAddr> {
    let address = host.parse::<IpAddr>().map(|address| SocketAddr::new(address, port));
    address.or_else(|_| format!("[{host}]:{port}").parse()).ok()
}

/// The family that was told of first begins.
fn by_turns(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let starts_with_six = addresses.first().is_some_and(IpAddr::is_ipv6);
    let (begins, follows): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == starts_with_six);
    let (mut begins, mut follows) = (begins.into_iter(), follows.into_iter());
    let mut turns = Vec::new();
    while turns.len() < files::ADDRESSES_MAX {
        let before = turns.len();
        turns.extend(begins.next());
        turns.extend(follows.next());
        if turns.len() == before {
            break;
        }
    }
    turns
}

/// Asks one server once.
async fn exchange(ask: &Ask) -> Result<Reply, String> {
    let mut id = [0; 2];
    rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| format!("no random id: {error}"))?;
    let id = u16::from_ne_bytes(id);
    let question =
        message::question(id, &ask.name, ask.kind).ok_or("the name cannot be asked for".to_owned())?;
    let asked = match ask.over_tcp {
        true => over_tcp(ask, id, &question).await,
        false => over_udp(ask, id, &question).await,
    };
    asked.map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused => "nobody listens there".to_owned(),
        io::ErrorKind::UnexpectedEof => "it closed the connection without an answer".to_owned(),
        _ => error.to_string(),
    })
}

async fn over_udp(ask: &Ask, id: u16, question: &[u8]) -> io::Result<Reply> {
    let any: IpAddr = match ask.server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // The system chooses the port; being connected, the socket takes what comes from that server only.
    let socket = Async::<UdpSocket>::bind((any, 0))?;
    socket.get_ref().connect(ask.server)?;
    socket.send(question).await?;
    let mut bytes = vec![0; UDP_BYTES_MAX];
    for _ in 0..STRAY_MAX {
        let length = socket.recv(&mut bytes).await?;
        if let Some(reply) = message::reply(bytes.get(..length).unwrap_or_default(), id, &ask.name, ask.kind)
        {
            return Ok(reply);
        }
    }
    Err(io::Error::other("it sends what answers no question"))
}

async fn over_tcp(ask: &Ask, id: u16, question: &[u8]) -> io::Result<Reply> {
    let mut socket = Async::<TcpStream>::connect(ask.server).await?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend_from_slice(question);
    socket.write_all(&bytes).await?;
    let mut length = [0; 2];
    socket.read_exact(&mut length).await?;
    // Read as it comes, so that a promised length costs nothing.
    let mut answer = Vec::new();
    let mut limited = socket.take(u16::from_be_bytes(length).into());
    limited.read_to_end(&mut answer).await?;
    message::reply(&answer, id, &ask.name, ask.kind)
        .ok_or_else(|| io::Error::other("what it sends answers no question"))
}

fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}

/// Without the extension for more, servers send at most 512.
const UDP_BYTES_MAX: usize = 4096;
/// Packets on one socket that answer something else; each is a guess of somebody.
const STRAY_MAX: usize = 32;
const FILE_BYTES_MAX: u64 = 1 << 20;
