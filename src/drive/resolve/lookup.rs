//! Which server is asked for what, one question after the other: the part of a lookup that no socket is needed for.
//!
//! Promises: a lookup ends, after so many servers, attempts and aliases; a name that was not found is looked for under
//! the next name only if a server said so, since a server that is silent may only be late, and the next name may be
//! that of somebody else.

use std::net::SocketAddr;

use super::files::Conf;
use super::message::{ALIASES_MAX, Kind, Record, Reply};

/// One name and one kind of records.
#[derive(Debug)]
pub struct Lookup {
    name: String,
    kind: Kind,
    servers: Vec<SocketAddr>,
    /// Whose turn it is.
    at: usize,
    /// Questions that are left for this name.
    left: usize,
    over_tcp: bool,
    always_tcp: bool,
    aliases: usize,
    faults: Vec<String>,
}

/// The next question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    pub server: SocketAddr,
    pub name: String,
    pub kind: Kind,
    pub over_tcp: bool,
}

/// How a lookup ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Found(Vec<Record>),
    /// Said by this server; the name may have records of other kinds.
    Nothing {
        exists: bool,
        server: SocketAddr,
    },
    /// What each server said or did not say.
    Failed(String),
}

impl Lookup {
    /// `first` is the place of the server that is asked first.
    pub fn new(name: String, kind: Kind, conf: &Conf, first: usize) -> Lookup {
        Lookup {
            name,
            kind,
            left: conf.attempts * conf.servers.len(),
            at: first % conf.servers.len().max(1),
            servers: conf.servers.clone(),
            over_tcp: conf.over_tcp,
            always_tcp: conf.over_tcp,
            aliases: 0,
            faults: Vec::new(),
        }
    }

    /// What to ask now; the outcome where nothing is left to be asked.
    pub fn next(&self) -> Result<Ask, Outcome> {
        match self.servers.get(self.at).filter(|_| self.left > 0) {
            Some(server) => {
                Ok(Ask { server: *server, name: self.name.clone(), kind: self.kind, over_tcp: self.over_tcp })
            }
            None => Err(Outcome::Failed(self.faults.join("; "))),
        }
    }

    /// Takes what came of the question; `Some` where the lookup is over.
    pub fn take(&mut self, outcome: Result<Reply, String>) -> Option<Outcome> {
        let server = self.servers.get(self.at).copied()?;
        match outcome {
            Ok(Reply::Found(records)) => return Some(Outcome::Found(records)),
            Ok(Reply::Nothing { exists }) => return Some(Outcome::Nothing { exists, server }),
            Ok(Reply::Alias(name)) if self.aliases < ALIASES_MAX => {
                self.aliases += 1;
                self.name = name;
            }
            Ok(Reply::Alias(_)) => {
                return Some(Outcome::Failed(format!("{server}: more than {ALIASES_MAX} aliases")));
            }
            Ok(Reply::Truncated) if !self.over_tcp => self.over_tcp = true,
            Ok(Reply::Truncated) => self.fail(format!("{server}: the answer is cut off even over TCP")),
            Ok(Reply::Failed(why)) => self.fail(format!("{server}: {why}")),
            Err(fault) => self.fail(format!("{server}: {fault}")),
        }
        None
    }

    /// The place of the server that was asked last.
    pub fn place(&self) -> usize {
        self.at
    }

    fn fail(&mut self, fault: String) {
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
        self.over_tcp = self.always_tcp;
        self.left = self.left.saturating_sub(1);
        self.at = (self.at + 1) % self.servers.len().max(1);
    }
}

/// What two lookups of one name, for either family, come to together: one family is enough.
pub fn together(first: Outcome, second: Outcome) -> Outcome {
    match (first, second) {
        (Outcome::Found(mut records), Outcome::Found(more)) => {
            records.extend(more);
            Outcome::Found(records)
        }
        (found @ Outcome::Found(_), _) | (_, found @ Outcome::Found(_)) => found,
        (failed @ Outcome::Failed(_), _) | (_, failed @ Outcome::Failed(_)) => failed,
        (Outcome::Nothing { exists: one, server }, Outcome::Nothing { exists: other, .. }) => {
            Outcome::Nothing { exists: one || other, server }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn conf(servers: usize) -> Conf {
        let servers = (0..servers).map(|n| SocketAddr::from(([10, 0, 0, n as u8], 53))).collect();
        Conf { servers, ..Conf::default() }
    }

    fn found() -> Reply {
        Reply::Found(vec![Record::Address([1, 1, 1, 1].into())])
    }

    #[test]
    fn servers_have_their_turn_until_one_knows() {
        let mut lookup = Lookup::new("a".into(), Kind::A, &conf(2), 1);
        let hosts = |lookup: &Lookup| lookup.next().unwrap().server.ip().to_string();
        assert_eq!(hosts(&lookup), "10.0.0.1");
        assert_eq!(lookup.take(Err("silent".into())), None);
        assert_eq!(hosts(&lookup), "10.0.0.0");
        assert_eq!(lookup.take(Ok(Reply::Failed("SERVFAIL"))), None);
        assert_eq!(hosts(&lookup), "10.0.0.1");
        assert!(matches!(lookup.take(Ok(found())), Some(Outcome::Found(_))));
        assert_eq!(lookup.place(), 1);
    }

    #[test]
    fn a_lookup_that_fails_tells_of_each_server_once() {
        let mut lookup = Lookup::new("a".into(), Kind::A, &conf(2), 0);
        for _ in 0..4 {
            assert_eq!(lookup.take(Err("silent".into())), None);
        }
        let told = "10.0.0.0:53: silent; 10.0.0.1:53: silent".to_owned();
        assert_eq!(lookup.next(), Err(Outcome::Failed(told)));
    }

    #[test]
    fn a_truncated_answer_is_asked_for_over_tcp_at_the_same_server() {
        let mut lookup = Lookup::new("a".into(), Kind::Srv, &conf(2), 0);
        assert!(!lookup.next().unwrap().over_tcp);
        assert_eq!(lookup.take(Ok(Reply::Truncated)), None);
        let ask = lookup.next().unwrap();
        assert!(ask.over_tcp && ask.server.ip().to_string() == "10.0.0.0");
        assert_eq!(lookup.take(Ok(Reply::Truncated)), None);
        let ask = lookup.next().unwrap();
        assert!(!ask.over_tcp && ask.server.ip().to_string() == "10.0.0.1");
    }

    #[test]
    fn aliases_are_followed_and_have_an_end() {
        let mut lookup = Lookup::new("a".into(), Kind::A, &conf(1), 0);
        for n in 0..ALIASES_MAX {
            assert_eq!(lookup.take(Ok(Reply::Alias(format!("a{n}")))), None);
            assert_eq!(lookup.next().unwrap().name, format!("a{n}"));
        }
        assert!(matches!(lookup.take(Ok(Reply::Alias("more".into()))), Some(Outcome::Failed(_))));
    }

    #[test]
    fn one_family_is_enough_and_silence_is_no_absence() {
        let server = SocketAddr::from(([10, 0, 0, 0], 53));
        let records = Outcome::Found(vec![Record::Address([1, 1, 1, 1].into())]);
        let none = |exists| Outcome::Nothing { exists, server };
        let failed = Outcome::Failed("why".into());
        assert_eq!(together(failed.clone(), records.clone()), records);
        assert_eq!(together(records.clone(), none(true)), records);
        assert_eq!(together(none(false), failed.clone()), failed);
        assert_eq!(together(none(false), none(true)), none(true));
    }

    proptest! {
        #[test]
        fn every_lookup_ends(replies in prop::collection::vec(0u8..6, 200), servers in 1usize..4) {
            let mut lookup = Lookup::new("a".into(), Kind::A, &conf(servers), 0);
            let mut asked = 0;
            for reply in replies {
                if lookup.next().is_err() {
                    break;
                }
                asked += 1;
                let over = lookup.take(match reply {
                    0 => Ok(found()),
                    1 => Ok(Reply::Nothing { exists: true }),
                    2 => Ok(Reply::Alias("b".into())),
                    3 => Ok(Reply::Truncated),
                    4 => Ok(Reply::Failed("x")),
                    _ => Err("y".into()),
                });
                if over.is_some() {
                    break;
                }
            }
            prop_assert!(asked <= 2 * (2 * servers) + ALIASES_MAX + 1, "{asked}");
        }
    }
}
