//! One question to a name server and what its answer says. Bytes in, values out; no socket is opened here.
//!
//! Promises: what does not answer exactly this question (id, name, type, class) is no answer; of an answer only the
//! records count that follow from the name asked for, over its aliases; the number of records and aliases is bounded.
//! Names that cannot be those of hosts are passed over, for they end in URLs and logs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use simple_dns::rdata::RData;
use simple_dns::{
    CLASS, Name, OPCODE, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE, header_buffer,
};

use super::files::{ADDRESSES_MAX, plain};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    A,
    Aaaa,
    Srv,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    Address(IpAddr),
    Service(Service),
}

/// A place where a service is served (RFC 2782); lower priorities first, heavier ones before others of the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Service {
    pub priority: u16,
    pub weight: u16,
    pub target: String,
    pub port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Never empty.
    Found(Vec<Record>),
    /// The name is another name of this one, of which the answer says nothing.
    Alias(String),
    /// No such name, or (true) no such record of it.
    Nothing { exists: bool },
    /// The whole answer is to be had over TCP.
    Truncated,
    /// Another server may know better.
    Failed(&'static str),
}

/// The question as it is sent; `None` where the name cannot be asked for.
pub fn question(id: u16, name: &str, kind: Kind) -> Option<Vec<u8>> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let name = is_name(name).then(|| Name::new(name).ok())??;
    packet.questions.push(Question::new(name, QTYPE::TYPE(kind.code()), QCLASS::CLASS(CLASS::IN), false));
    packet.build_bytes_vec().ok()
}

/// What these bytes answer; `None` where they are no answer to this question.
pub fn reply(bytes: &[u8], id: u16, name: &str, kind: Kind) -> Option<Reply> {
    let records = [header_buffer::answers, header_buffer::name_servers, header_buffer::additional_records]
        .into_iter()
        .try_fold(0, |sum, count| Some(sum + usize::from(count(bytes).ok()?)))?;
    if records > bytes.len() / RECORD_BYTES_MIN {
        return None; // a promise that it cannot keep
    }
    let packet = Packet::parse(bytes).ok()?;
    let [asked] = packet.questions.as_slice() else { return None };
    let name = Name::new(name).ok()?;
    let is_ours = packet.id() == id
        && packet.has_flags(PacketFlag::RESPONSE)
        && packet.opcode() == OPCODE::StandardQuery
        && asked.qname == name
        && asked.qtype == QTYPE::TYPE(kind.code())
        && asked.qclass == QCLASS::CLASS(CLASS::IN);
    if !is_ours {
        return None;
    }
    if packet.has_flags(PacketFlag::TRUNCATION) {
        return Some(Reply::Truncated);
    }
    Some(match packet.rcode() {
        RCODE::NoError => records_of(&packet, &name, kind),
        RCODE::NameError => Reply::Nothing { exists: false },
        RCODE::ServerFailure => Reply::Failed("it failed to find out (SERVFAIL)"),
        RCODE::Refused => Reply::Failed("it refuses to answer (REFUSED)"),
        RCODE::FormatError => Reply::Failed("it does not understand the question (FORMERR)"),
        RCODE::NotImplemented => Reply::Failed("it cannot answer such questions (NOTIMP)"),
        _ => Reply::Failed("it answers with an unusual error"),
    })
}

fn records_of(packet: &Packet<'_>, name: &Name<'_>, kind: Kind) -> Reply {
    let mut owner = name.clone();
    for _ in 0..=ALIASES_MAX {
        let mut found = Vec::new();
        let mut alias = None;
        let of_owner = packet.answers.iter().filter(|r| r.class == CLASS::IN && r.name == owner);
        for record in of_owner {
            match (&record.rdata, kind) {
                (RData::CNAME(cname), _) => alias = Some(cname.0.clone()),
                (RData::A(a), Kind::A) => found.push(Record::Address(Ipv4Addr::from(a.address).into())),
                (RData::AAAA(a), Kind::Aaaa) => found.push(Record::Address(Ipv6Addr::from(a.address).into())),
                (RData::SRV(srv), Kind::Srv) => found.extend(service(srv)),
                _ => {}
            }
        }
        if !found.is_empty() {
            found.truncate(kind.records_max());
            return Reply::Found(found);
        }
        match alias {
            Some(alias) => owner = alias,
            None if owner == *name => return Reply::Nothing { exists: true },
            None => {
                let text = plain(&owner.to_string());
                return if is_name(&text) { Reply::Alias(text) } else { Reply::Failed(BAD_ALIAS) };
            }
        }
    }
    Reply::Failed("the name is an alias of an alias without end")
}

/// `None` where the service is said not to be offered (RFC 2782: the target is the root) or cannot be dialled.
fn service(srv: &simple_dns::rdata::SRV<'_>) -> Option<Record> {
    let target = plain(&srv.target.to_string());
    if !is_name(&target) || srv.port == 0 {
        return None;
    }
    Some(Record::Service(Service { priority: srv.priority, weight: srv.weight, target, port: srv.port }))
}

/// Letters, digits, hyphens and underscores between dots. A name that ends with a number would be an address.
pub fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= 253 && name.split('.').all(is_label) && !last.bytes().all(|b| b.is_ascii_digit())
}

impl Kind {
    fn code(self) -> TYPE {
        match self {
            Kind::A => TYPE::A,
            Kind::Aaaa => TYPE::AAAA,
            Kind::Srv => TYPE::SRV,
        }
    }

    fn records_max(self) -> usize {
        match self {
            Kind::A | Kind::Aaaa => ADDRESSES_MAX,
            Kind::Srv => SERVICES_MAX,
        }
    }
}

const BAD_ALIAS: &str = "the name is an alias of something that is no name of a host";
/// A name of one byte, type, class, life and length.
const RECORD_BYTES_MIN: usize = 11;
/// In one answer, and one after the other.
pub const ALIASES_MAX: usize = 8;
const SERVICES_MAX: usize = 256;

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use simple_dns::ResourceRecord;
    use simple_dns::rdata::{A, AAAA, CNAME, SRV};

    use super::*;

    pub fn a(address: [u8; 4]) -> RData<'static> {
        RData::A(A { address: u32::from_be_bytes(address) })
    }

    pub fn alias(name: &str) -> RData<'_> {
        RData::CNAME(CNAME(Name::new(name).unwrap()))
    }

    pub fn srv(priority: u16, weight: u16, target: &str, port: u16) -> RData<'_> {
        RData::SRV(SRV { priority, weight, port, target: Name::new(target).unwrap() })
    }

    /// An answer to these bytes of a question.
    pub fn answer(
        question: &[u8],
        rcode: RCODE,
        flags: PacketFlag,
        records: &[(&str, RData<'_>)],
    ) -> Vec<u8> {
        let asked = Packet::parse(question).unwrap();
        let mut packet = Packet::new_reply(asked.id());
        packet.questions = asked.questions.clone();
        *packet.rcode_mut() = rcode;
        packet.set_flags(flags);
        for (name, data) in records {
            let name = Name::new(name).unwrap();
            packet.answers.push(ResourceRecord::new(name, CLASS::IN, 60, data.clone()));
        }
        packet.build_bytes_vec_compressed().unwrap()
    }

    fn answered(kind: Kind, records: &[(&str, RData<'_>)]) -> Option<Reply> {
        let asked = question(7, "hub.example", kind).unwrap();
        reply(&answer(&asked, RCODE::NoError, PacketFlag::empty(), records), 7, "hub.example", kind)
    }

    #[test]
    fn records_of_the_name_and_its_aliases_count() {
        let six = RData::AAAA(AAAA { address: 1 });
        let records = [
            ("HUB.example", alias("b.example")),
            ("other.example", a([9, 9, 9, 9])),
            ("c.example", a([10, 0, 0, 1])),
            ("c.example", six.clone()),
            ("b.example", alias("C.example")),
        ];
        let found = answered(Kind::A, &records);
        assert_eq!(found, Some(Reply::Found(vec![Record::Address([10, 0, 0, 1].into())])));
        let found = answered(Kind::Aaaa, &records);
        assert_eq!(found, Some(Reply::Found(vec![Record::Address(Ipv6Addr::LOCALHOST.into())])));
        assert_eq!(answered(Kind::A, &records[..1]), Some(Reply::Alias("b.example".into())));
        assert_eq!(answered(Kind::A, &records[1..2]), Some(Reply::Nothing { exists: true }));
    }

    #[test]
    fn aliases_without_end_and_bad_names_are_refused() {
        let circle = [("hub.example", alias("b.example")), ("b.example", alias("hub.example"))];
        assert!(matches!(answered(Kind::A, &circle), Some(Reply::Failed(_))));
        let bad = [("hub.example", alias("a\\032b.example"))];
        assert_eq!(answered(Kind::A, &bad), Some(Reply::Failed(BAD_ALIAS)));
    }

    #[test]
    fn services_are_read_and_those_without_a_place_are_not() {
        let records = [
            ("hub.example", srv(10, 5, "One.Example", 7000)),
            ("hub.example", srv(0, 0, "", 7000)),
            ("hub.example", srv(0, 0, "two.example", 0)),
            ("hub.example", srv(0, 0, "a/b.example", 1)),
        ];
        let one = Service { priority: 10, weight: 5, target: "one.example".into(), port: 7000 };
        assert_eq!(answered(Kind::Srv, &records), Some(Reply::Found(vec![Record::Service(one)])));
    }

    #[test]
    fn only_an_answer_to_the_very_question_counts() {
        let asked = question(7, "hub.example", Kind::A).unwrap();
        let good = answer(&asked, RCODE::NoError, PacketFlag::empty(), &[("hub.example", a([1, 1, 1, 1]))]);
        assert!(matches!(reply(&good, 7, "Hub.example", Kind::A), Some(Reply::Found(_))));
        assert_eq!(reply(&good, 8, "hub.example", Kind::A), None);
        assert_eq!(reply(&good, 7, "hub.exampl", Kind::A), None);
        assert_eq!(reply(&good, 7, "hub.example", Kind::Aaaa), None);
        assert_eq!(reply(&asked, 7, "hub.example", Kind::A), None, "a question is no answer");
        let cut = answer(&asked, RCODE::NoError, PacketFlag::TRUNCATION, &[]);
        assert_eq!(reply(&cut, 7, "hub.example", Kind::A), Some(Reply::Truncated));
        let none = answer(&asked, RCODE::NameError, PacketFlag::empty(), &[]);
        assert_eq!(reply(&none, 7, "hub.example", Kind::A), Some(Reply::Nothing { exists: false }));
        let failed = answer(&asked, RCODE::ServerFailure, PacketFlag::empty(), &[]);
        assert!(matches!(reply(&failed, 7, "hub.example", Kind::A), Some(Reply::Failed(_))));
        let mut promising = good.clone();
        promising[6] = 0xff;
        assert_eq!(reply(&promising, 7, "hub.example", Kind::A), None);
    }

    #[test]
    fn what_is_no_name_is_not_asked_for() {
        let long = format!("{}.example", "a".repeat(64));
        for name in ["", "a..b", "1.2.3", "a b", "a/b", "ä.example", &long, &"a.".repeat(130)] {
            assert_eq!(question(1, name, Kind::A), None, "{name}");
        }
        assert!(question(1, "_mpreg._tcp.example", Kind::Srv).is_some());
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            reply(&bytes, 7, "hub.example", Kind::Srv);
        }

        /// Bytes of a good answer changed, cut and repeated: at worst it is another answer within the limits.
        #[test]
        fn damaged_answers_never_do_harm(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            cut in any::<prop::sample::Index>(),
            kind in prop::sample::select(vec![Kind::A, Kind::Aaaa, Kind::Srv]),
        ) {
            let asked = question(7, "hub.example", kind).unwrap();
            let records = [
                ("hub.example", alias("b.example")),
                ("b.example", a([1, 2, 3, 4])),
                ("b.example", srv(1, 2, "c.example", 5)),
                ("b.example", RData::AAAA(AAAA { address: 5 })),
            ];
            let mut bytes = answer(&asked, RCODE::NoError, PacketFlag::empty(), &records);
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.truncate(cut.index(bytes.len()) + bytes.len() / 2);
            match reply(&bytes, 7, "hub.example", kind) {
                Some(Reply::Found(found)) => prop_assert!((1..=kind.records_max()).contains(&found.len())),
                Some(Reply::Alias(name)) => prop_assert!(is_name(&name)),
                _ => {}
            }
        }
    }
}
