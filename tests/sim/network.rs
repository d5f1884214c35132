//! The network between simulated nodes: connections that keep order, take time, and stall or break.
//!
//! A connection is two pipes. A pipe delivers in order, each piece after latency, jitter and its share of the
//! bandwidth; what a real network loses comes later, because it is sent again. A way that is cut stalls its pipes; an
//! end that hears nothing for as long as the drivers allow is closed. Nothing here knows what the bytes mean.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use mpreg::core::membership::{Chance, LinkId};

/// Nanoseconds since the start of the world.
pub type Time = u64;

pub const SECOND: Time = 1_000_000_000;

/// How good the ways between nodes are.
#[derive(Debug, Clone, Copy)]
pub struct Conditions {
    pub latency_seconds: f64,
    /// Up to so much more, different for each message.
    pub jitter_seconds: f64,
    /// How often a piece is lost, and comes one retransmission later.
    pub loss: f64,
    pub bytes_per_second: f64,
    /// How often a message comes twice, as a relay or a confused peer would have it.
    pub duplicates: f64,
}

impl Default for Conditions {
    fn default() -> Conditions {
        Conditions {
            latency_seconds: 0.002,
            jitter_seconds: 0.003,
            loss: 0.0,
            bytes_per_second: 100e6,
            duplicates: 0.0,
        }
    }
}

#[derive(Debug)]
pub enum Piece {
    Message(Bytes),
    /// The other end has closed after everything before.
    End,
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub struct Pipe {
    pub waiting: VecDeque<(Time, Piece)>,
    pub waiting_bytes: usize,
    /// When what was sent last arrives at the earliest.
    pub last_at: Time,
    /// A delivery of the first piece is on the calendar.
    pub scheduled: bool,
}

#[derive(Debug)]
pub struct End {
    pub node: usize,
    /// Which process of that node.
    pub life: u32,
    pub link: LinkId,
    /// The process has been told of this link.
    pub announced: bool,
    pub closed: bool,
    pub silent_since: Option<Time>,
}

/// End 0 has dialled. Pipe n leads away from end n.
#[derive(Debug)]
pub struct Connection {
    pub ends: [End; 2],
    pub pipes: [Pipe; 2],
}

#[derive(Debug, Default)]
pub struct Network {
    pub conditions: Conditions,
    pub connections: BTreeMap<usize, Connection>,
    pub by_link: BTreeMap<LinkId, (usize, usize)>,
    /// Ways that carry nothing, from and to.
    pub cut: BTreeSet<(usize, usize)>,
    last_connection: usize,
    last_link: u64,
    /// The most that ever waited in one pipe.
    pub waiting_bytes_max: usize,
}

impl Network {
    pub fn connect(&mut self, from: (usize, u32), to: (usize, u32)) -> usize {
        self.last_connection += 1;
        let id = self.last_connection;
        let mut end = |(node, life): (usize, u32), side: usize| {
            self.last_link += 1;
            let link = LinkId(self.last_link);
            self.by_link.insert(link, (id, side));
            End { node, life, link, announced: side == 0, closed: false, silent_since: None }
        };
        let ends = [end(from, 0), end(to, 1)];
        self.connections.insert(id, Connection { ends, pipes: Default::default() });
        id
    }

    /// Puts a piece in; the answer is when to deliver, where nothing is scheduled yet.
    pub fn send(
        &mut self,
        id: usize,
        side: usize,
        piece: Piece,
        now: Time,
        chance: &mut Chance,
    ) -> Option<Time> {
        let conditions = self.conditions;
        let pipe = &mut self.connections.get_mut(&id)?.pipes[side];
        let size = if let Piece::Message(bytes) = &piece { bytes.len() } else { 0 };
        let lost = if unit(chance) < conditions.loss { RETRANSMISSION_SECONDS } else { 0.0 };
        let way = conditions.latency_seconds + conditions.jitter_seconds * unit(chance) + lost;
        let transmission = nanos(size as f64 / conditions.bytes_per_second);
        let at = (now + nanos(way)).max(pipe.last_at) + transmission + 1;
        pipe.last_at = at;
        pipe.waiting_bytes += size;
        self.waiting_bytes_max = self.waiting_bytes_max.max(pipe.waiting_bytes);
        pipe.waiting.push_back((at, piece));
        (!std::mem::replace(&mut pipe.scheduled, true)).then_some(at)
    }

    /// Takes the first piece out of a pipe that is not stalled, and says when the next is due.
    pub fn take(&mut self, id: usize, side: usize) -> Option<(Piece, Option<Time>)> {
        let pipe = &mut self.connections.get_mut(&id)?.pipes[side];
        pipe.scheduled = false;
        let (_, piece) = pipe.waiting.pop_front()?;
        if let Piece::Message(bytes) = &piece {
            pipe.waiting_bytes -= bytes.len();
        }
        let next = pipe.waiting.front().map(|(at, _)| *at);
        pipe.scheduled = next.is_some();
        Some((piece, next))
    }

    pub fn open(&self, from: usize, to: usize) -> bool {
        !self.cut.contains(&(from, to))
    }

    /// Stalls what is under way from one node to the other.
    pub fn cut_way(&mut self, from: usize, to: usize) {
        self.cut.insert((from, to));
    }

    /// Forgets connections that neither end knows any more.
    pub fn forget(&mut self, id: usize) {
        let Some(connection) = self.connections.get(&id) else { return };
        if connection.ends.iter().all(|e| e.closed) {
            for end in &connection.ends {
                self.by_link.remove(&end.link);
            }
            self.connections.remove(&id);
        }
    }
}

/// At least 0, less than 1.
pub fn unit(chance: &mut Chance) -> f64 {
    (chance.draw() >> 11) as f64 / (1u64 << 53) as f64
}

pub fn nanos(seconds: f64) -> Time {
    (seconds * SECOND as f64) as Time
}

const RETRANSMISSION_SECONDS: f64 = 0.25;
