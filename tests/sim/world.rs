//! The world: nodes, the network, the calendar, and one seed for all of it.
//!
//! One happening after the other is taken off the calendar; each may put others on. The same seed makes the same run,
//! which the hash of the log shows. The drivers' part of a node (keep-alive, refusal, time-outs of dialling) is played
//! here in its simplest form.

use std::collections::BTreeMap;
use std::time::Duration;

use mpreg::core::catalog::{Delta, FunctionEntry, Text};
use mpreg::core::error::CallError;
use mpreg::core::fabric::explain::Question;
use mpreg::core::fabric::{Action, Event, Execution, Fabric, Settings};
use mpreg::core::federation::LinkFacts;
use mpreg::core::membership::{Chance, LinkId};
use mpreg::core::reason::Reason;
use mpreg::core::time::Now;
use mpreg::wire::fabric::{Frame, Message, Rpc};

use crate::forms::{self, Shape};
use crate::network::{Conditions, Network, Piece, SECOND, Time, nanos, unit};

#[derive(Debug)]
enum Happening {
    Wake { node: usize, life: u32 },
    Arrival { connection: usize, side: usize },
    Tell { node: usize, life: u32, event: Box<Event> },
    Dialled { node: usize, life: u32, to: Option<usize>, url: mpreg::core::catalog::Text },
    KeepAlive,
}

/// One machine; its process comes and goes.
pub struct Node {
    pub id: Text,
    pub cluster: Text,
    pub fabric: Option<Fabric>,
    /// Counts the processes.
    pub life: u32,
    pub started: Time,
    /// The clock of the machine against the true time.
    pub skew_seconds: f64,
    /// The machine is there, though its process does nothing: it reads nothing and says nothing.
    pub stuck: bool,
    /// The machine is off: nobody even refuses a connection.
    pub dark: bool,
    /// Its process knows the protocol only, as a reference node does.
    pub plain: bool,
    pub functions: Vec<FunctionEntry>,
    pub topics: Vec<String>,
    pub seeds: Vec<usize>,
    wake: Option<Time>,
    pub refused: BTreeMap<Reason, usize>,
    pub sent_messages: u64,
    pub sent_bytes: u64,
    wakes: u64,
}

/// A call and everything that was said of it.
#[derive(Debug)]
pub struct Asked {
    pub node: usize,
    pub life: u32,
    pub deadline: Time,
    pub answers: Vec<(Time, Result<String, CallError>)>,
    pub executions: usize,
}

/// A call on its way.
#[derive(Debug, Default)]
struct Watched {
    /// Where it is awaited, and what is asked there.
    next: Option<(usize, Question)>,
    /// Where the node that has it sent it, or that it ran it.
    sent_to: Option<usize>,
    ran: bool,
}

/// Changes the settings of a node before it starts.
pub type Adjust = Box<dyn Fn(usize, &mut Settings)>;

pub struct World {
    pub now: Time,
    pub seed: u64,
    pub shape: Shape,
    pub nodes: Vec<Node>,
    pub network: Network,
    calendar: BTreeMap<(Time, u64), Happening>,
    last_entry: u64,
    pub chance: Chance,
    pub log_hash: u64,
    /// Told to nodes.
    pub events: u64,
    /// Calls that a node had, and did what it had said.
    pub explained: u64,
    pub calls: BTreeMap<String, Asked>,
    /// How often a message came to a process of a node.
    pub deliveries: BTreeMap<(String, usize, u32), usize>,
    /// What reaches an impostor on its connections.
    pub heard_by_impostor: Vec<bytes::Bytes>,
    /// What differs from the usual settings, by node.
    pub adjust: Adjust,
    /// Calls that have to do at each node what the node says they would.
    watched: BTreeMap<String, Watched>,
    check_every: Time,
    next_check: Time,
}

impl World {
    pub fn new(count: usize, seed: u64, shape: Shape) -> World {
        let node = |n: usize| Node {
            id: forms::url(n),
            cluster: forms::CLUSTER.into(),
            fabric: None,
            life: 0,
            started: 0,
            skew_seconds: 0.0,
            stuck: false,
            dark: false,
            plain: false,
            functions: Vec::new(),
            topics: Vec::new(),
            seeds: Vec::new(),
            wake: None,
            refused: BTreeMap::new(),
            sent_messages: 0,
            sent_bytes: 0,
            wakes: 0,
        };
        let mut world = World {
            now: 0,
            seed,
            shape,
            nodes: (0..count).map(node).collect(),
            network: Network::default(),
            calendar: BTreeMap::new(),
            last_entry: 0,
            chance: Chance::new(seed),
            log_hash: 0xcbf2_9ce4_8422_2325,
            events: 0,
            explained: 0,
            calls: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            heard_by_impostor: Vec::new(),
            adjust: Box::new(|_, _| {}),
            watched: BTreeMap::new(),
            check_every: SECOND * (1 + count as u64 / 10),
            next_check: 0,
        };
        world.put(KEEP_ALIVE_LOOK, Happening::KeepAlive);
        world
    }

    pub fn with(mut self, conditions: Conditions) -> World {
        self.network.conditions = conditions;
        self
    }

    pub fn seconds(&self) -> f64 {
        self.now as f64 / SECOND as f64
    }

    /// The time as one node sees it.
    pub fn time_at(&self, n: usize) -> Now {
        let node = &self.nodes[n];
        Now {
            wall: forms::WALL + self.seconds() + node.skew_seconds,
            mono: Duration::from_nanos(self.now.saturating_sub(node.started)),
        }
    }

    pub fn fabric(&self, n: usize) -> &Fabric {
        self.nodes[n].fabric.as_ref().unwrap_or_else(|| panic!("node {n} does not run"))
    }

    pub fn running(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|n| self.nodes[*n].fabric.is_some()).collect()
    }

    /// A new process on machine `n`.
    pub fn start(&mut self, n: usize, seeds: &[usize]) {
        let chance_seed = self.chance.draw();
        let mut settings = {
            let node = &mut self.nodes[n];
            node.life += 1;
            node.started = self.now;
            (node.wake, node.stuck, node.dark) = (None, false, false);
            node.seeds = seeds.to_vec();
            if node.functions.is_empty() {
                node.functions = forms::functions_of(n);
            }
            let settings = forms::settings(n, &node.cluster, node.life, seeds, &self.shape, chance_seed);
            Settings { kin: !node.plain, ..settings }
        };
        (self.adjust)(n, &mut settings);
        let now = self.time_at(n);
        self.nodes[n].fabric = Some(Fabric::new(settings, now));
        let functions = self.nodes[n].functions.clone();
        self.tell(n, Event::LocalFunctions(functions));
        for pattern in self.nodes[n].topics.clone() {
            let delta = Delta { topics: vec![forms::subscription(&pattern)], ..Delta::default() };
            self.tell(n, Event::Local(Box::new(delta)));
        }
    }

    pub fn set_functions(&mut self, n: usize, functions: Vec<FunctionEntry>) {
        self.nodes[n].functions = functions.clone();
        self.tell(n, Event::LocalFunctions(functions));
    }

    pub fn subscribe(&mut self, n: usize, pattern: &str) {
        self.nodes[n].topics.push(pattern.to_owned());
        if self.nodes[n].fabric.is_some() {
            let delta = Delta { topics: vec![forms::subscription(pattern)], ..Delta::default() };
            self.tell(n, Event::Local(Box::new(delta)));
        }
    }

    /// The process dies; its machine says so to everybody who is connected.
    pub fn kill(&mut self, n: usize) {
        self.nodes[n].fabric = None;
        self.close_all(n, true);
    }

    /// The machine dies, without a word.
    pub fn power_off(&mut self, n: usize) {
        self.nodes[n].fabric = None;
        self.nodes[n].dark = true;
        self.close_all(n, false);
    }

    /// An orderly stop.
    pub fn stop(&mut self, n: usize) {
        self.tell(n, Event::Stop);
        self.nodes[n].fabric = None;
        self.close_all(n, true);
    }

    /// Stops or lets go on what happens between two groups, in one direction.
    pub fn cut(&mut self, from: &[usize], to: &[usize]) {
        for a in from {
            for b in to {
                self.network.cut_way(*a, *b);
            }
        }
    }

    pub fn heal(&mut self) {
        self.network.cut.clear();
        self.unstall();
    }

    /// A process that neither reads nor does anything, or goes on.
    pub fn stick(&mut self, n: usize, stuck: bool) {
        self.nodes[n].stuck = stuck;
        if !stuck {
            self.unstall();
            self.wake_up(n);
        }
    }

    /// Ends the connections between two nodes at both ends, as a middlebox does.
    pub fn break_links(&mut self, a: usize, b: usize) {
        let between = |c: &crate::network::Connection| {
            let ends = [c.ends[0].node, c.ends[1].node];
            ends == [a, b] || ends == [b, a]
        };
        let found: Vec<usize> =
            self.network.connections.iter().filter(|(_, c)| between(c)).map(|(id, _)| *id).collect();
        for id in found {
            self.close_end(id, 0, false);
            self.close_end(id, 1, false);
        }
    }

    /// A connection that no state machine made, for an impostor on machine `from`.
    pub fn impostor(&mut self, from: usize, to: usize) -> LinkId {
        let (a, b) = ((from, self.nodes[from].life), (to, self.nodes[to].life));
        let id = self.network.connect(a, b);
        self.network.connections[&id].ends[0].link
    }

    /// All calls and publications so far are forgotten.
    pub fn forget_messages(&mut self) {
        self.calls.clear();
        self.deliveries.clear();
        self.watched.clear();
    }

    pub fn send(&mut self, link: LinkId, bytes: bytes::Bytes) {
        let Some((id, side)) = self.network.by_link.get(&link).copied() else { return };
        let twice = unit(&mut self.chance) < self.network.conditions.duplicates;
        for _ in 0..1 + usize::from(twice) {
            let piece = Piece::Message(bytes.clone());
            self.send_piece(id, side, piece);
        }
    }

    pub fn tell(&mut self, n: usize, event: Event) {
        let now = self.time_at(n);
        let mut out = Vec::new();
        self.hash(self.now ^ (n as u64) << 48);
        let Some(fabric) = &mut self.nodes[n].fabric else { return };
        self.events += 1;
        fabric.handle(event, now, &mut out);
        for action in out {
            self.act(n, action);
        }
        self.wake_up(n);
        crate::checks::step(self, n);
    }

    /// Lets time pass, happening by happening.
    pub fn run(&mut self, seconds: f64) {
        let end = self.now + nanos(seconds);
        self.run_until(end);
    }

    /// Lets time pass until something holds; says after how many seconds it did.
    pub fn run_while(&mut self, seconds: f64, mut goes_on: impl FnMut(&World) -> bool) -> Option<f64> {
        let begin = self.now;
        let end = begin + nanos(seconds);
        while self.now < end {
            if !goes_on(self) {
                return Some((self.now - begin) as f64 / SECOND as f64);
            }
            let step = (self.now + SECOND / 20).min(end);
            self.run_until(step);
        }
        (!goes_on(self)).then_some(seconds)
    }

    fn run_until(&mut self, end: Time) {
        while let Some(entry) = self.calendar.first_entry().filter(|e| e.key().0 <= end) {
            let ((at, _), happening) = entry.remove_entry();
            self.now = self.now.max(at);
            self.happen(happening);
            if self.now >= self.next_check {
                self.next_check = self.now + self.check_every;
                crate::checks::always(self);
            }
        }
        self.now = self.now.max(end);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Wake { node, life } => {
                let member = &mut self.nodes[node];
                if member.life != life || member.stuck || member.wake != Some(self.now) {
                    return;
                }
                member.wake = None;
                member.wakes += 1;
                let lived = (self.now - member.started) / SECOND + 10;
                assert!(member.wakes < lived * WAKES_PER_SECOND_MAX, "node {node} spins, seed {}", self.seed);
                self.tell(node, Event::Tick);
            }
            Happening::Arrival { connection, side } => self.arrive(connection, side),
            Happening::Tell { node, life, event } => {
                if self.nodes[node].life == life {
                    self.tell(node, *event);
                }
            }
            Happening::Dialled { node, life, to, url } => self.dialled(node, life, to, url),
            Happening::KeepAlive => {
                self.keep_alive();
                self.put(KEEP_ALIVE_LOOK, Happening::KeepAlive);
            }
        }
    }

    fn act(&mut self, n: usize, action: Action) {
        match action {
            Action::Send { link, bytes } => {
                self.nodes[n].sent_messages += 1;
                self.nodes[n].sent_bytes += bytes.len() as u64;
                let sent_to = self.network.by_link.get(&link).map(|(id, side)| (*id, *side));
                let watched = self.watched_call(&bytes).and_then(|id| self.watched.get_mut(&id));
                if let (Some(watched), Some((id, side))) = (watched, sent_to) {
                    watched.sent_to = Some(self.network.connections[&id].ends[1 - side].node);
                }
                self.send(link, bytes);
            }
            Action::Close { link, .. } => {
                if let Some((id, side)) = self.network.by_link.get(&link).copied() {
                    self.close_end(id, side, true);
                }
            }
            Action::Dial { url, .. } => self.dial(n, url),
            Action::Execute(execution) => self.execute(n, &execution),
            Action::CallAnswered { request_id, outcome } => {
                let now = self.now;
                if let Some(asked) = self.calls.get_mut(&*request_id) {
                    asked.answers.push((now, outcome.map(|r| r.get().to_owned())));
                    assert!(asked.answers.len() <= 1, "{request_id} is answered again, seed {}", self.seed);
                }
            }
            Action::Deliver { message_id, .. } => {
                let key = (message_id.to_string(), n, self.nodes[n].life);
                let count = self.deliveries.entry(key).or_default();
                *count += 1;
                assert_eq!(*count, 1, "{message_id} comes to {n} again, seed {}", self.seed);
            }
            Action::Refused { reason, count, .. } => {
                *self.nodes[n].refused.entry(reason).or_default() += count
            }
            // Functions here run to their end; what comes of one that was given up finds nobody.
            Action::CancelExecution { .. } => {}
            Action::CatalogChanged(_) | Action::Log { .. } => {}
        }
    }

    /// Does what brings a call to node `n`, and sees that `n` does with it what it says a moment before, as all do to
    /// whom it goes on.
    pub fn as_said(&mut self, n: usize, id: &str, question: Question, act: impl FnOnce(&mut World)) {
        let now = self.time_at(n);
        let Some(fabric) = &mut self.nodes[n].fabric else { return };
        let said = fabric.explain(&question, now).unwrap_or_else(|error| panic!("{error:?}"));
        self.watched.insert(id.to_owned(), Watched::default());
        act(self);
        let done = self.watched.remove(id).unwrap_or_default();
        // Calls for a node of which no entry is known are not what was asked about.
        if question.passage.is_none() && said.verdict.word == "function_not_found" {
            return;
        }
        let next = said.next.into_iter().next();
        let expected = next.as_ref().and_then(|next| forms::node_behind(&next.node));
        let runs = said.verdict.word == "runs_here";
        assert!(
            (expected, runs) == (done.sent_to, done.ran),
            "{id} at {n}: {:?} was said, {done:?} is done, {question:?}, seed {}",
            said.verdict,
            self.seed
        );
        self.explained += 1;
        let next = expected.zip(next.and_then(|next| next.question));
        self.watched.insert(id.to_owned(), Watched { next, ..Watched::default() });
    }

    /// A message comes to a node; if it is a call that is watched, as was said.
    fn bring(&mut self, n: usize, link: LinkId, bytes: bytes::Bytes) {
        let id = self.watched_call(&bytes).filter(|_| self.fabric(n).membership().speaker(link).is_some());
        let watched = id.as_ref().and_then(|id| self.watched.get_mut(id));
        let next = watched.and_then(|w| w.next.take_if(|(awaited, _)| *awaited == n));
        let event = Event::Message { link, bytes };
        match id.zip(next) {
            Some((id, (_, question))) => self.as_said(n, &id, question, |world| world.tell(n, event)),
            None => self.tell(n, event),
        }
    }

    fn watched_call(&self, bytes: &[u8]) -> Option<String> {
        if self.watched.is_empty() || !Message::begins(bytes) {
            return None;
        }
        let rpc = match Frame::decode(bytes) {
            Ok(Frame::Call(_, rpc)) => rpc,
            Ok(Frame::Message(message)) => message.rpc().ok()?,
            _ => return None,
        };
        let Rpc::Request(request) = rpc else { return None };
        self.watched.get_key_value(&*request.request_id).map(|(id, _)| id.clone())
    }

    /// `where.N` answers, `slow.N` takes its time, `fail.N` fails, `hang.N` does not answer in time.
    fn execute(&mut self, n: usize, execution: &Execution) {
        if let Some(watched) = self.watched.get_mut(&*execution.request_id) {
            watched.ran = true;
        }
        if let Some(asked) = self.calls.get_mut(&*execution.request_id) {
            asked.executions += 1;
            assert!(asked.executions <= 1, "{} runs again, seed {}", execution.request_id, self.seed);
        }
        let (outcome, seconds) = match execution.command.split('.').next() {
            // Whoever runs functions ends them when the caller has given up.
            Some("hang") => {
                let left = execution.time_left.unwrap_or(HANG_MAX).min(HANG_MAX);
                (Err(CallError::failed("it hung")), left.as_secs_f64())
            }
            Some("fail") => (Err(CallError::failed("ValueError: it broke")), 0.001),
            Some("slow") => (Ok(forms::raw("\"late\"")), 2.0),
            _ => (Ok(forms::raw(&format!("\"{n}\""))), 0.001),
        };
        let event = Box::new(Event::CallDone { execution: execution.execution, outcome });
        let life = self.nodes[n].life;
        self.put(nanos(seconds), Happening::Tell { node: n, life, event });
    }

    fn dial(&mut self, n: usize, url: mpreg::core::catalog::Text) {
        let to = forms::node_behind(&url).filter(|to| *to < self.nodes.len());
        let life = self.nodes[n].life;
        let reachable = to.is_some_and(|to| {
            self.network.open(n, to)
                && self.network.open(to, n)
                && !self.nodes[to].dark
                && !self.nodes[to].stuck
        });
        let round_trip = 3.0 * self.network.conditions.latency_seconds
            + self.network.conditions.jitter_seconds * unit(&mut self.chance);
        let after = if reachable { nanos(round_trip) } else { CONNECT_TIMEOUT };
        let to = to.filter(|_| reachable);
        self.put(after, Happening::Dialled { node: n, life, to, url });
    }

    fn dialled(&mut self, n: usize, life: u32, to: Option<usize>, url: mpreg::core::catalog::Text) {
        if self.nodes[n].life != life || self.nodes[n].fabric.is_none() {
            return;
        }
        match to.filter(|to| self.nodes[*to].fabric.is_some()) {
            Some(to) => {
                let id = self.network.connect((n, life), (to, self.nodes[to].life));
                let link = self.network.connections[&id].ends[0].link;
                self.tell(n, Event::LinkOpened { link, dialled: Some(url), facts: LinkFacts::default() });
            }
            None => self.tell(n, Event::DialFailed { url }),
        }
    }

    fn send_piece(&mut self, id: usize, side: usize, piece: Piece) {
        if self.network.connections.get(&id).is_none_or(|c| c.ends[side].closed) {
            return;
        }
        if let Some(at) = self.network.send(id, side, piece, self.now, &mut self.chance) {
            self.put_at(at, Happening::Arrival { connection: id, side });
        }
    }

    /// The first piece of a pipe has come to its other end, or would have.
    fn arrive(&mut self, id: usize, side: usize) {
        let Some(connection) = self.network.connections.get_mut(&id) else { return };
        let (from, to) = (connection.ends[side].node, connection.ends[1 - side].node);
        if self.network.cut.contains(&(from, to)) || self.nodes[to].stuck {
            connection.pipes[side].scheduled = false;
            return;
        }
        let Some((piece, next)) = self.network.take(id, side) else { return };
        if let Some(next) = next {
            self.put_at(next, Happening::Arrival { connection: id, side });
        }
        let Some(connection) = self.network.connections.get_mut(&id) else { return };
        let end = &mut connection.ends[1 - side];
        if end.life != self.nodes[to].life {
            return self.close_end(id, side, false); // a new process knows nothing of the connection
        }
        if end.closed {
            return;
        }
        let link = end.link;
        match piece {
            Piece::End => self.close_end(id, 1 - side, false),
            Piece::Message(bytes) => {
                let new = !std::mem::replace(&mut end.announced, true);
                self.log_bytes(id as u64, &bytes);
                if self.nodes[to].fabric.is_none() {
                    self.heard_by_impostor.push(bytes);
                    return;
                }
                if new {
                    self.tell(to, Event::LinkOpened { link, dialled: None, facts: LinkFacts::default() });
                }
                self.bring(to, link, bytes);
            }
        }
    }

    /// One end is closed; the other one hears of it, unless the network has failed.
    fn close_end(&mut self, id: usize, side: usize, tell_other: bool) {
        if tell_other {
            self.send_piece(id, side, Piece::End);
        }
        let Some(connection) = self.network.connections.get_mut(&id) else { return };
        let end = &mut connection.ends[side];
        if std::mem::replace(&mut end.closed, true) {
            return;
        }
        let (node, life, link, announced) = (end.node, end.life, end.link, end.announced);
        if announced {
            self.put(1, Happening::Tell { node, life, event: Box::new(Event::LinkClosed { link }) });
        }
        self.network.forget(id);
    }

    fn close_all(&mut self, n: usize, tell_others: bool) {
        let ends = |c: &crate::network::Connection| (0..2).find(|side| c.ends[*side].node == n);
        let found: Vec<(usize, usize)> =
            self.network.connections.iter().filter_map(|(id, c)| Some((*id, ends(c)?))).collect();
        for (id, side) in found {
            self.close_end(id, side, tell_others);
        }
    }

    /// Ends the connections over which nothing has been heard for too long.
    fn keep_alive(&mut self) {
        let mut deaf = Vec::new();
        for (id, connection) in &mut self.network.connections {
            for side in 0..2 {
                let (me, other) = (connection.ends[side].node, connection.ends[1 - side].node);
                let speaks = self.nodes[other].life == connection.ends[1 - side].life
                    && self.nodes[other].fabric.is_some()
                    && !self.nodes[other].stuck
                    && !connection.ends[1 - side].closed;
                let end = &mut connection.ends[side];
                if end.closed || self.nodes[me].stuck || speaks && !self.network.cut.contains(&(other, me)) {
                    end.silent_since = None;
                } else if self.now - *end.silent_since.get_or_insert(self.now) >= SILENCE_MAX {
                    deaf.push((*id, side));
                }
            }
        }
        for (id, side) in deaf {
            self.close_end(id, side, true);
        }
    }

    fn unstall(&mut self) {
        let mut again = Vec::new();
        for (id, connection) in &mut self.network.connections {
            for (side, pipe) in connection.pipes.iter_mut().enumerate() {
                if !pipe.scheduled
                    && let Some((at, _)) = pipe.waiting.front()
                {
                    pipe.scheduled = true;
                    again.push(((*at).max(self.now + 1), *id, side));
                }
            }
        }
        for (at, connection, side) in again {
            self.put_at(at, Happening::Arrival { connection, side });
        }
    }

    /// Puts the next deadline of a node on the calendar.
    fn wake_up(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        let Some(deadline) = node.fabric.as_ref().and_then(Fabric::next_deadline) else { return };
        let at = (node.started + deadline.as_nanos() as Time).max(self.now + WAKE_PAUSE);
        if node.wake.is_none_or(|planned| at != planned) {
            node.wake = Some(at);
            let life = node.life;
            self.put_at(at, Happening::Wake { node: n, life });
        }
    }

    fn put(&mut self, after: Time, happening: Happening) {
        self.put_at(self.now + after, happening);
    }

    fn put_at(&mut self, at: Time, happening: Happening) {
        self.last_entry += 1;
        self.calendar.insert((at, self.last_entry), happening);
    }

    fn log_bytes(&mut self, number: u64, bytes: &[u8]) {
        self.hash(self.now ^ number << 40);
        self.hash(bytes.len() as u64);
        for byte in bytes.iter().skip(7).step_by(37) {
            self.hash(u64::from(*byte));
        }
    }

    fn hash(&mut self, value: u64) {
        self.log_hash = (self.log_hash ^ value).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    }
}

const KEEP_ALIVE_LOOK: Time = SECOND;
/// The drivers ping after 20 s of silence and wait another 20 s.
const SILENCE_MAX: Time = 40 * SECOND;
const HANG_MAX: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Time = 10 * SECOND;
/// Deadlines in the past are met after so long.
const WAKE_PAUSE: Time = 1000;
const WAKES_PER_SECOND_MAX: u64 = 2000;
