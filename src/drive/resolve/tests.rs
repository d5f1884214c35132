//! Lookups against name servers on loopback.

use std::sync::atomic::AtomicU64;

use simple_dns::rdata::{AAAA, RData};
use simple_dns::{Packet, PacketFlag, RCODE};
use smol::Task;

use super::message::tests::{a, alias, answer, srv};
use super::*;

/// Answers over UDP and TCP at one port until it is dropped.
struct Server {
    address: SocketAddr,
    _tasks: [Task<()>; 2],
}

/// What a server makes of a question, given its name and whether it came over TCP; `None`: silence.
type Answering = Arc<dyn Fn(&[u8], &str, bool) -> Option<Vec<u8>> + Send + Sync>;

impl Server {
    fn start(answering: Answering) -> Server {
        let (udp, tcp) = loop {
            let udp = Async::<UdpSocket>::bind(([127, 0, 0, 1], 0)).unwrap();
            let address = udp.get_ref().local_addr().unwrap();
            if let Ok(tcp) = Async::<std::net::TcpListener>::bind(address) {
                break (udp, tcp);
            }
        };
        let address = udp.get_ref().local_addr().unwrap();
        let over_tcp = answering.clone();
        let datagrams = smol::spawn(async move {
            let mut bytes = [0; 600];
            while let Ok((length, from)) = udp.recv_from(&mut bytes).await {
                if let Some(answer) = answering(&bytes[..length], &name_of(&bytes[..length]), false) {
                    udp.send_to(&answer, from).await.unwrap();
                }
            }
        });
        let streams = smol::spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let mut length = [0; 2];
                stream.read_exact(&mut length).await.unwrap();
                let mut bytes = vec![0; u16::from_be_bytes(length).into()];
                stream.read_exact(&mut bytes).await.unwrap();
                if let Some(answer) = over_tcp(&bytes, &name_of(&bytes), true) {
                    let length = (answer.len() as u16).to_be_bytes();
                    stream.write_all(&[&length[..], &answer].concat()).await.unwrap();
                }
            }
        });
        Server { address, _tasks: [datagrams, streams] }
    }

    /// One that knows these records.
    fn with(records: &'static [(&str, Data)]) -> Server {
        Server::start(Arc::new(move |question, name, _| {
            let known: Vec<_> = records.iter().map(|(name, data)| (*name, data.record())).collect();
            let rcode = match known.iter().any(|(known, _)| *known == name) {
                true => RCODE::NoError,
                false => RCODE::NameError,
            };
            Some(answer(question, rcode, PacketFlag::RECURSION_AVAILABLE, &known))
        }))
    }

    fn resolver(&self) -> Arc<Resolver> {
        Arc::new(Resolver::asking(vec![self.address]))
    }
}

enum Data {
    A([u8; 4]),
    Six(u128),
    Alias(&'static str),
    Srv(u16, u16, &'static str, u16),
}

impl Data {
    fn record(&self) -> RData<'static> {
        match self {
            Data::A(address) => a(*address),
            Data::Six(address) => RData::AAAA(AAAA { address: *address }),
            Data::Alias(name) => alias(name),
            Data::Srv(priority, weight, target, port) => srv(*priority, *weight, target, *port),
        }
    }
}

fn name_of(question: &[u8]) -> String {
    Packet::parse(question).unwrap().questions[0].qname.to_string()
}

/// The files of a system whose name servers listen at this address.
fn system(place: &Path, hosts: &str, conf: &str, server: Option<&Server>) -> Arc<Resolver> {
    fs::write(place.join("hosts"), hosts).unwrap();
    fs::write(place.join("resolv.conf"), conf).unwrap();
    let port = server.map_or(9, |server| server.address.port());
    Arc::new(Resolver::with_files(Files::new(place.join("hosts"), place.join("resolv.conf"), port)))
}

const LONG: Duration = Duration::from_secs(20);

fn found(resolver: &Arc<Resolver>, host: &str) -> Vec<String> {
    let found = smol::block_on(resolver.addresses(host, 7, LONG)).unwrap();
    found.iter().map(|address| address.to_string()).collect()
}

fn fault(resolver: &Arc<Resolver>, host: &str, time_max: Duration) -> (io::ErrorKind, String) {
    let error = smol::block_on(resolver.addresses(host, 7, time_max)).unwrap_err();
    (error.kind(), error.to_string())
}

#[test]
fn literals_localhost_and_hosts_need_no_server() {
    let place = tempfile::tempdir().unwrap();
    let resolver = system(place.path(), "10.0.0.1 hub\nfe80::1 hub\n10.0.0.2 hub\n", "", None);
    assert_eq!(found(&resolver, "127.0.0.1"), ["127.0.0.1:7"]);
    assert_eq!(found(&resolver, "[::1]"), ["[::1]:7"]);
    assert_eq!(found(&resolver, "fe80::1%3"), ["[fe80::1%3]:7"]);
    assert_eq!(found(&resolver, "LocalHost"), ["127.0.0.1:7", "[::1]:7"]);
    assert_eq!(found(&resolver, "db.localhost."), ["127.0.0.1:7", "[::1]:7"]);
    assert_eq!(found(&resolver, "Hub"), ["10.0.0.1:7", "[fe80::1]:7", "10.0.0.2:7"], "families by turns");
    for bad in ["", "a b", "1.2.3", "256.1.1.1"] {
        assert_eq!(fault(&resolver, bad, LONG).0, io::ErrorKind::InvalidInput, "{bad}");
    }
}

#[test]
fn files_are_read_again_when_they_have_changed_or_come_back() {
    let place = tempfile::tempdir().unwrap();
    let resolver = system(place.path(), "10.0.0.1 hub\n", "", None);
    assert_eq!(found(&resolver, "hub"), ["10.0.0.1:7"]);
    fs::write(place.path().join("new"), "10.0.0.2 hub\n").unwrap();
    fs::rename(place.path().join("new"), place.path().join("hosts")).unwrap();
    assert_eq!(found(&resolver, "hub"), ["10.0.0.2:7"]);
    fs::remove_file(place.path().join("hosts")).unwrap();
    assert_eq!(fault(&resolver, "hub", Duration::from_secs(2)).0, io::ErrorKind::TimedOut);
    fs::write(place.path().join("hosts"), "10.0.0.3 hub\n").unwrap();
    assert_eq!(found(&resolver, "hub"), ["10.0.0.3:7"]);
    let server = Server::with(&[("other", Data::A([10, 0, 0, 4]))]);
    let resolver = system(place.path(), "", "nameserver 127.0.0.9\n", Some(&server));
    assert_eq!(fault(&resolver, "other", Duration::from_millis(200)).0, io::ErrorKind::TimedOut);
    fs::write(place.path().join("resolv.conf"), "nameserver 127.0.0.1\n").unwrap();
    assert_eq!(found(&resolver, "other"), ["10.0.0.4:7"]);
}

#[test]
fn both_families_are_asked_for_over_aliases_and_search_domains() {
    let server = Server::with(&[
        ("hub.b.example", Data::Alias("real.example")),
        ("real.example", Data::A([10, 0, 0, 1])),
        ("real.example", Data::A([10, 0, 0, 2])),
        ("real.example", Data::Six(1)),
        ("four.example", Data::A([10, 0, 0, 4])),
    ]);
    let place = tempfile::tempdir().unwrap();
    let conf = "nameserver 127.0.0.1\nsearch a.example b.example\n";
    let resolver = system(place.path(), "", conf, Some(&server));
    assert_eq!(found(&resolver, "hub"), ["[::1]:7", "10.0.0.1:7", "10.0.0.2:7"]);
    assert_eq!(found(&resolver, "four.example"), ["10.0.0.4:7"]);
    let (kind, told) = fault(&resolver, "none", LONG);
    assert_eq!(kind, io::ErrorKind::NotFound);
    let asked = format!("{} says that there is no none.a.example, none.b.example, none; ", server.address);
    assert!(told.starts_with(&asked), "{told}");
}

#[test]
fn an_alias_that_the_answer_leaves_open_is_asked_for() {
    let server = Server::start(Arc::new(|question, name, _| {
        let records = match name {
            "hub.example" => vec![("hub.example", alias("b.example"))],
            "b.example" => vec![("b.example", a([10, 0, 0, 1]))],
            // Each leads to another one.
            _ => vec![],
        };
        let next = format!("x{name}");
        let records = if name.ends_with("loop") { vec![(name, alias(&next))] } else { records };
        Some(answer(question, RCODE::NoError, PacketFlag::empty(), &records))
    }));
    assert_eq!(found(&server.resolver(), "hub.example"), ["10.0.0.1:7"]);
    let (_, told) = fault(&server.resolver(), "a.loop", LONG);
    assert!(told.contains("more than 8 aliases") && told.contains("name another"), "{told}");
}

#[test]
fn a_truncated_answer_is_asked_for_over_tcp() {
    let server = Server::start(Arc::new(|question, name, over_tcp| {
        let records: Vec<_> =
            (0..if over_tcp { 60 } else { 0 }).map(|n| (name, srv(1, n, "t.example", 7 + n))).collect();
        let flags = if over_tcp { PacketFlag::empty() } else { PacketFlag::TRUNCATION };
        Some(answer(question, RCODE::NoError, flags, &records))
    }));
    let services = smol::block_on(server.resolver().services("_mpreg._tcp.example", false, LONG)).unwrap();
    assert_eq!(services.len(), 60);
    assert_eq!((services[0].weight, services[59].weight), (59, 0), "the heavy ones first");
    let place = tempfile::tempdir().unwrap();
    let never_udp = system(place.path(), "", "nameserver 127.0.0.1\noptions use-vc\n", Some(&server));
    let found = never_udp.services("_mpreg._tcp.example", false, LONG);
    assert_eq!(smol::block_on(found).unwrap().len(), 60);
}

#[test]
fn a_silent_or_failing_server_does_not_cost_the_others_and_is_asked_last() {
    let asked = Arc::new(AtomicU64::new(0));
    let count = asked.clone();
    let silent = Server::start(Arc::new(move |_, _, _| {
        count.fetch_add(1, Relaxed);
        None
    }));
    let failing = Server::start(Arc::new(|question, _, _| {
        Some(answer(question, RCODE::ServerFailure, PacketFlag::empty(), &[]))
    }));
    let good = Server::with(&[("hub.example", Data::A([10, 0, 0, 1]))]);
    let servers = vec![silent.address, failing.address, good.address];
    let resolver = Arc::new(Resolver::asking(servers));
    let time_max = Duration::from_secs(2);
    for _ in 0..3 {
        let found = smol::block_on(resolver.addresses("hub.example", 7, time_max)).unwrap();
        assert_eq!(found.len(), 1);
    }
    assert_eq!(asked.load(Relaxed), 2, "one question for either family, and then no more");
    let lost = Arc::new(Resolver::asking(vec![silent.address, failing.address]));
    let (kind, told) = fault(&lost, "hub.example", Duration::from_millis(300));
    assert_eq!(kind, io::ErrorKind::TimedOut);
    assert!(told.contains(&format!("{}: no answer within 0.1 s", silent.address)), "{told}");
    assert!(told.contains(&format!("{}: it failed to find out", failing.address)), "{told}");
}

#[test]
fn answers_of_others_and_to_other_questions_are_passed_over() {
    let server = Server::start(Arc::new(|question, name, over_tcp| {
        let mut forged = answer(question, RCODE::NoError, PacketFlag::empty(), &[(name, a([6, 6, 6, 6]))]);
        forged[0] ^= 1;
        (!over_tcp).then_some(forged)
    }));
    let (kind, told) = fault(&server.resolver(), "hub.example", Duration::from_millis(300));
    assert!(kind == io::ErrorKind::TimedOut && told.contains("no answer within"), "{told}");
    let told = smol::block_on(server.resolver().services("hub.example", true, LONG)).unwrap_err().to_string();
    assert!(told.contains("closed the connection without an answer"), "{told}");
}

#[test]
fn a_port_where_nobody_listens_is_told_at_once() {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let address = socket.local_addr().unwrap();
    drop(socket);
    let resolver = Arc::new(Resolver::asking(vec![address]));
    let (_, told) = fault(&resolver, "hub.example", LONG);
    assert!(told.contains(&format!("{address}: nobody listens there")), "{told}");
}

#[test]
fn services_come_in_the_order_of_their_priority() {
    let server = Server::with(&[
        ("_mpreg._tcp.example", Data::Srv(2, 0, "c.example", 1)),
        ("_mpreg._tcp.example", Data::Srv(1, 1, "b.example", 2)),
        ("_mpreg._tcp.example", Data::Srv(1, 9, "a.example", 3)),
    ]);
    let services = smol::block_on(server.resolver().services("_mpreg._tcp.example", false, LONG)).unwrap();
    let ports: Vec<u16> = services.iter().map(|service| service.port).collect();
    assert_eq!(ports, [3, 2, 1]);
    let error = smol::block_on(server.resolver().services("_mpreg._tcp.none", false, LONG)).unwrap_err();
    assert!(error.to_string().contains("there is no _mpreg._tcp.none"), "{error}");
}

/// The lints of `clippy.toml` are on in the core only, so this looks at the rest.
#[test]
fn nothing_passes_the_resolver_by() {
    fn look(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                look(&path, found);
            } else if !path.ends_with("resolve/tests.rs") {
                let text = fs::read_to_string(&path).unwrap();
                let asks =
                    ["to_socket_addrs", "ToSocketAddrs", "smol::net::", "use smol::net", "net::lookup"];
                found.extend(asks.iter().any(|word| text.contains(word)).then_some(path));
            }
        }
    }
    let mut found = Vec::new();
    look(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.is_empty(), "ask drive::resolve: {found:?}");
}
