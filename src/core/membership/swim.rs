//! Failure detection between nodes of this program: SWIM with the additions of Lifeguard.
//!
//! Each period one linked member is probed; who does not answer is probed through others, then suspected, and only
//! found dead when nobody, first of all the member itself, has contradicted for a time that grows with the logarithm
//! of the cluster and shrinks with the number of those who suspect it too. A node that is itself slow, which it sees
//! by its own late timers and missed answers, waits longer before it accuses anybody. It never sends or removes
//! anything: it says what is to be done.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Chance;
use crate::core::catalog::Text;

/// See the module.
#[derive(Debug)]
pub struct Swim {
    period: Duration,
    next_round: Duration,
    /// Members still to be probed before the order is drawn anew.
    order: Vec<Text>,
    checks: BTreeMap<Text, Check>,
    suspicions: BTreeMap<Text, Suspicion>,
    /// 0: in good health; each step makes the waits for answers longer.
    slowness: u32,
    /// Grows when anybody comes under suspicion or is cleared of it.
    turns: u64,
    /// When this process was last seen to run.
    awake_at: Duration,
    last_number: u64,
}

/// A question whether somebody lives, not answered yet.
#[derive(Debug)]
struct Check {
    number: u64,
    indirect: bool,
    lost: bool,
    deadline: Duration,
}

#[derive(Debug)]
struct Suspicion {
    version: u64,
    since: Duration,
    /// At most and at least so long after `since` the member is found dead.
    max: Duration,
    min: Duration,
    by: BTreeSet<Text>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Probe {
        node: Text,
        number: u64,
    },
    /// Ask `through`, up to [`THROUGH`] others, to probe it.
    Ask {
        node: Text,
        number: u64,
        through: Vec<Text>,
    },
    Suspect {
        node: Text,
        lost: bool,
    },
    Dead {
        node: Text,
        version: u64,
    },
}

impl Swim {
    /// Starts at `now`; the period is the gossip interval.
    pub fn new(period: Duration, now: Duration) -> Swim {
        let period = period.max(PERIOD_MIN);
        Swim {
            period,
            next_round: now + period,
            order: Vec::new(),
            checks: BTreeMap::new(),
            suspicions: BTreeMap::new(),
            slowness: 0,
            turns: 0,
            awake_at: now,
            last_number: 0,
        }
    }

    pub fn period(&self) -> Duration {
        self.period
    }

    pub fn next(&self) -> Duration {
        let checks = self.checks.values().map(|c| c.deadline);
        let suspicions = self.suspicions.values().map(|s| s.deadline(self.slowness));
        checks.chain(suspicions).fold(self.next_round, Duration::min)
    }

    /// This process runs, and nothing is due.
    pub fn is_awake(&mut self, now: Duration) {
        self.awake_at = now;
    }

    /// What is due. `linked` are the members with a link, in order.
    pub fn tick(&mut self, now: Duration, linked: &[Text], chance: &mut Chance) -> Vec<Step> {
        // What a confirmation or better health has brought forward into the past is due at once, and not late.
        self.make_up_for(now.saturating_sub(self.next().max(self.awake_at)));
        self.awake_at = now;
        let mut steps = Vec::new();
        let due: Vec<Text> =
            self.checks.iter().filter(|(_, c)| c.deadline <= now).map(|(n, _)| n.clone()).collect();
        for node in due {
            let wait = self.wait();
            let Some(check) = self.checks.get_mut(&node) else { continue };
            if check.indirect {
                let lost = check.lost;
                self.checks.remove(&node);
                steps.push(Step::Suspect { node, lost });
            } else {
                (check.indirect, check.deadline) = (true, now + wait);
                let number = check.number;
                self.slowness = (self.slowness + 1).min(SLOWNESS_MAX);
                steps.push(Step::Ask { through: through(&node, linked, chance), node, number });
            }
        }
        if now >= self.next_round {
            self.next_round = now + self.period.mul_f64(chance.jittered(1.0).clamp(0.9, 1.1));
            if let Some(node) = self.draw(linked, chance) {
                let number = self.ask(&node, false, false, now + self.wait());
                steps.push(Step::Probe { node, number });
            }
        }
        let over: Vec<Text> = self
            .suspicions
            .iter()
            .filter(|(_, s)| s.deadline(self.slowness) <= now)
            .map(|(n, _)| n.clone())
            .collect();
        for node in over {
            if let Some(suspicion) = self.unsuspect(&node) {
                self.checks.remove(&node);
                steps.push(Step::Dead { node, version: suspicion.version });
            }
        }
        steps
    }

    /// An answer of `node`, straight or through others. That it lives is certain then, so this node drops what it
    /// suspected.
    pub fn answered(&mut self, node: &str, number: u64) {
        if self.checks.get(node).is_some_and(|c| c.number == number) {
            self.checks.remove(node);
            self.unsuspect(node);
            self.slowness = self.slowness.saturating_sub(1);
        }
    }

    /// Something came from the member itself: it lives, whatever others say. The question whether it answers stays.
    pub fn heard(&mut self, node: &str) {
        self.unsuspect(node);
    }

    /// The last link to a member was closed (`lost`), or none could be made: others are asked at once.
    pub fn lost(
        &mut self,
        node: &Text,
        lost: bool,
        now: Duration,
        linked: &[Text],
        chance: &mut Chance,
    ) -> Option<Step> {
        if self.suspicions.contains_key(node) || self.checks.get(node).is_some_and(|c| c.lost || !lost) {
            return None;
        }
        // Not all at the same time: who is told of a suspicion has none to tell.
        let wait = self.wait().mul_f64(chance.jittered(1.25));
        let number = self.ask(node, true, lost, now + wait);
        let through = through(node, linked, chance);
        Some(Step::Ask { node: node.clone(), number, through })
    }

    /// A link that nobody needed is gone: an answer that was to come over it says nothing.
    pub fn give_up(&mut self, node: &str) {
        self.checks.remove(node);
    }

    /// Somebody, or this node, suspects a member of `members`; true if others are to be told.
    pub fn suspect(
        &mut self,
        node: &Text,
        version: u64,
        by: &Text,
        lost: bool,
        members: usize,
        now: Duration,
    ) -> bool {
        let min = self.period.mul_f64(PATIENCE * (members as f64 + 1.0).log10().max(1.0));
        let max = if lost { min } else { min * SILENT_FACTOR };
        let suspicion = self.suspicions.entry(node.clone()).or_insert_with(|| {
            self.turns += 1;
            Suspicion { version, since: now, max, min, by: BTreeSet::new() }
        });
        if suspicion.version > version {
            return false;
        }
        suspicion.version = version;
        let sooner = max < suspicion.max;
        suspicion.max = suspicion.max.min(max);
        let confirms = suspicion.by.len() <= CONFIRMATIONS && suspicion.by.insert(by.clone());
        sooner || confirms
    }

    pub fn suspects(&self, node: &str) -> bool {
        self.suspicions.contains_key(node)
    }

    /// Another number each time somebody comes under suspicion or is cleared of it.
    pub fn turns(&self) -> u64 {
        self.turns
    }

    /// Some of those under suspicion.
    pub fn suspicions(&self) -> impl Iterator<Item = (&Text, u64)> {
        self.suspicions.iter().map(|(node, s)| (node, s.version))
    }

    /// A member has said something newer, has left or is forgotten.
    pub fn clear(&mut self, node: &str) {
        self.checks.remove(node);
        self.unsuspect(node);
    }

    /// This node had to contradict a suspicion: it is slow, and doubts its own view first.
    pub fn was_suspected(&mut self) {
        self.slowness = (self.slowness + 1).min(SLOWNESS_MAX);
    }

    fn unsuspect(&mut self, node: &str) -> Option<Suspicion> {
        let suspicion = self.suspicions.remove(node);
        self.turns += u64::from(suspicion.is_some());
        suspicion
    }

    /// This process stood still: nobody else is to blame for what did not come in the meantime. Short delays count as
    /// well, since a starved process has many of them.
    fn make_up_for(&mut self, late: Duration) {
        if late >= self.period / 4 {
            self.slowness = (self.slowness + 1).min(SLOWNESS_MAX);
        }
        self.checks.values_mut().for_each(|c| c.deadline += late);
        self.suspicions.values_mut().for_each(|s| s.since += late);
    }

    fn wait(&self) -> Duration {
        self.period / 2 * (1 + self.slowness)
    }

    fn ask(&mut self, node: &Text, indirect: bool, lost: bool, deadline: Duration) -> u64 {
        self.last_number += 1;
        let number = self.last_number;
        self.checks.insert(node.clone(), Check { number, indirect, lost, deadline });
        number
    }

    /// The next member to probe: all in turn, in an order that changes each time.
    fn draw(&mut self, linked: &[Text], chance: &mut Chance) -> Option<Text> {
        for _ in 0..2 {
            while let Some(node) = self.order.pop() {
                if linked.binary_search(&node).is_ok() && !self.checks.contains_key(&node) {
                    return Some(node);
                }
            }
            self.order = linked.to_vec();
            shuffle(&mut self.order, chance);
        }
        None
    }
}

impl Suspicion {
    /// A slow node is more patient, up to twice as much: what would contradict may be on its way through its own queues.
    fn deadline(&self, slowness: u32) -> Duration {
        let share = (self.by.len().max(1) as f64).ln() / (1.0 + CONFIRMATIONS as f64).ln();
        let wait = self.max.saturating_sub(self.max.saturating_sub(self.min).mul_f64(share.min(1.0)));
        self.since + wait + wait * slowness.min(SLOWNESS_MAX) / SLOWNESS_MAX
    }
}

fn through(node: &Text, linked: &[Text], chance: &mut Chance) -> Vec<Text> {
    let mut others: Vec<Text> = linked.iter().filter(|n| *n != node).cloned().collect();
    shuffle(&mut others, chance);
    others.truncate(THROUGH);
    others
}

fn shuffle(nodes: &mut [Text], chance: &mut Chance) {
    for at in (1..nodes.len()).rev() {
        nodes.swap(at, (chance.draw() % (at as u64 + 1)) as usize);
    }
}

/// A probe more often would cost more than it tells.
const PERIOD_MIN: Duration = Duration::from_millis(200);
/// Others asked to probe a member that does not answer (SWIM's k).
const THROUGH: usize = 3;
/// Periods that a suspicion lasts at least, times the logarithm of the size of the cluster.
const PATIENCE: f64 = 4.5;
/// A member that is only silent has so much longer, until others confirm it.
const SILENT_FACTOR: u32 = 6;
/// So many confirmations bring a suspicion to its shortest.
const CONFIRMATIONS: usize = 3;
/// Waits become at most so many times longer, and one more.
const SLOWNESS_MAX: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(count: usize) -> Vec<Text> {
        (0..count).map(|n| format!("n{n}").into()).collect()
    }

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// Runs timer by timer until `end`; every member but `silent` answers at once.
    fn run(swim: &mut Swim, linked: &[Text], silent: &str, end: f64) -> Vec<(Duration, Step)> {
        let (mut chance, mut seen) = (Chance::new(3), Vec::new());
        while swim.next() <= at(end) {
            let now = swim.next();
            for step in swim.tick(now, linked, &mut chance) {
                match &step {
                    Step::Probe { node, number } if **node != *silent => swim.answered(node, *number),
                    Step::Suspect { node, lost } => {
                        swim.suspect(node, 1, &"me".into(), *lost, linked.len(), now);
                        seen.push((now, step));
                    }
                    Step::Dead { .. } => seen.push((now, step)),
                    _ => {}
                }
            }
        }
        seen
    }

    #[test]
    fn who_answers_is_never_suspected_and_who_is_silent_is_found_dead() {
        let mut swim = Swim::new(at(1.0), at(0.0));
        assert!(run(&mut swim, &nodes(9), "nobody", 200.0).is_empty());
        let seen = run(&mut swim, &nodes(9), "n4", 260.0);
        assert_eq!(seen[0].1, Step::Suspect { node: "n4".into(), lost: false });
        let dead = seen.iter().find(|(_, step)| matches!(step, Step::Dead { .. })).unwrap();
        assert_eq!(dead.1, Step::Dead { node: "n4".into(), version: 1 });
        // Nobody else has confirmed it: the longest wait.
        assert!(dead.0 - seen[0].0 >= at(PATIENCE) * SILENT_FACTOR);
    }

    #[test]
    fn a_closed_link_and_confirmations_shorten_the_wait() {
        let (linked, n4) = (nodes(9), Text::from("n4"));
        let mut swim = Swim::new(at(1.0), at(0.0));
        let step = swim.lost(&n4, true, at(0.1), &linked, &mut Chance::new(1));
        assert!(
            matches!(step, Some(Step::Ask { through, .. }) if through.len() == THROUGH && !through.contains(&n4))
        );
        let seen = run(&mut swim, &linked, "n4", 20.0);
        assert_eq!(seen[0].1, Step::Suspect { node: n4.clone(), lost: true });
        assert!(seen[1].0 < at(9.0), "{seen:?}");

        let mut swim = Swim::new(at(1.0), at(0.0));
        for by in ["a", "b", "c", "d"] {
            assert!(swim.suspect(&n4, 1, &by.into(), false, 9, at(0.0)));
        }
        assert!(!swim.suspect(&n4, 1, &"e".into(), false, 9, at(0.0)));
        let seen = run(&mut swim, &linked, "n4", 8.0);
        let dead = seen.iter().find(|(_, step)| matches!(step, Step::Dead { .. })).unwrap();
        assert!(dead.0 >= at(PATIENCE) && dead.0 < at(PATIENCE + 1.0), "{seen:?}");
    }

    #[test]
    fn what_a_suspect_says_itself_ends_the_suspicion() {
        let (linked, n4) = (nodes(9), Text::from("n4"));
        let mut swim = Swim::new(at(1.0), at(0.0));
        assert!(swim.suspect(&n4, 1, &"a".into(), true, 9, at(0.0)));
        swim.heard("n4");
        assert!(!swim.suspects("n4"));
        assert!(run(&mut swim, &linked, "nobody", 30.0).is_empty());
    }

    #[test]
    fn a_slow_node_waits_longer_before_it_takes_anybody_for_dead() {
        let wait = |slowness: u32| {
            let mut swim = Swim::new(at(1.0), at(0.0));
            (0..slowness).for_each(|_| swim.was_suspected());
            swim.suspect(&"n4".into(), 1, &"a".into(), true, 9, at(0.0));
            swim.suspicions.values().map(|s| s.deadline(swim.slowness)).next().unwrap()
        };
        assert_eq!(wait(0), at(PATIENCE));
        assert_eq!(wait(SLOWNESS_MAX / 2), at(PATIENCE) + at(PATIENCE) / 2);
        assert_eq!(wait(100), at(PATIENCE) * 2);
    }

    #[test]
    fn many_short_delays_count_as_much_as_a_long_one() {
        let mut swim = Swim::new(at(1.0), at(0.0));
        swim.suspect(&"n1".into(), 1, &"n2".into(), true, 5, at(0.0));
        let before = swim.suspicions.values().map(|s| s.since).next().unwrap();
        for _ in 0..4 {
            swim.tick(swim.next() + at(0.1), &[], &mut Chance::new(1));
        }
        let after = swim.suspicions.values().map(|s| s.since).next().unwrap();
        assert!(after.abs_diff(before + at(0.4)) < at(0.001), "{after:?}");
    }

    #[test]
    fn a_suspicion_that_is_confirmed_late_ends_at_once() {
        let (n4, mut chance) = (Text::from("n4"), Chance::new(1));
        let mut swim = Swim::new(at(1.0), at(0.0));
        swim.suspect(&n4, 1, &"a".into(), false, 9, at(0.0));
        (0..391).for_each(|n| drop(swim.tick(at(0.05 * f64::from(n)), &[], &mut chance)));
        for by in ["b", "c", "d"] {
            swim.suspect(&n4, 1, &by.into(), false, 9, at(19.6));
        }
        let steps = swim.tick(at(19.7), &[], &mut chance);
        assert!(steps.contains(&Step::Dead { node: n4, version: 1 }), "{steps:?}");
        assert_eq!(swim.slowness, 0);
    }

    #[test]
    fn a_node_that_stood_still_blames_nobody_for_it() {
        let (linked, mut chance) = (nodes(5), Chance::new(1));
        let mut swim = Swim::new(at(1.0), at(0.0));
        swim.suspect(&"n1".into(), 1, &"n2".into(), true, 5, at(0.0));
        let steps = swim.tick(at(100.0), &linked, &mut chance);
        assert!(matches!(&steps[..], [Step::Probe { .. }]), "{steps:?}");
        for step in steps {
            if let Step::Probe { node, number } = step {
                swim.answered(&node, number);
            }
        }
        swim.clear("n1");
        assert!(run(&mut swim, &linked, "nobody", 130.0).is_empty());
    }
}
