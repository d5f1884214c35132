//! What the node remembers of itself for its operator: the last events, the last words on each reason, and why each
//! address could not be dialled. Bounded in entries and in characters; lost at the end of the process, which the log is
//! not.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use super::hub::lock;
use crate::core::catalog::Text;
use crate::core::reason::Reason;

/// See the module.
#[derive(Debug, Default)]
pub struct Journal {
    events: Mutex<VecDeque<Noted>>,
    refusals: Mutex<BTreeMap<Reason, Noted>>,
    dials: Mutex<BTreeMap<Text, Noted>>,
}

/// What happened, and when, in seconds since 1970.
#[derive(Debug, Clone, PartialEq)]
pub struct Noted {
    pub at: f64,
    pub text: String,
}

impl Journal {
    /// Something that an operator wants to know at three in the morning.
    pub fn happened(&self, at: f64, text: &str) {
        let mut events = lock(&self.events);
        if events.len() >= EVENTS_MAX {
            events.pop_front();
        }
        events.push_back(Noted::new(at, text));
    }

    pub fn refused(&self, reason: Reason, at: f64, text: &str) {
        lock(&self.refusals).insert(reason, Noted::new(at, text));
    }

    /// An address did not lead to a peer.
    pub fn not_reached(&self, url: &Text, at: f64, text: &str) {
        let mut dials = lock(&self.dials);
        if dials.len() >= DIALS_MAX && !dials.contains_key(url) {
            let oldest = dials.iter().min_by(|a, b| a.1.at.total_cmp(&b.1.at)).map(|(url, _)| url.clone());
            oldest.map(|url| dials.remove(&url));
        }
        dials.insert(url.clone(), Noted::new(at, text));
    }

    /// The last ones, the newest first.
    pub fn events(&self, count_max: usize) -> Vec<Noted> {
        lock(&self.events).iter().rev().take(count_max).cloned().collect()
    }

    pub fn last_refusal(&self, reason: Reason) -> Option<Noted> {
        lock(&self.refusals).get(&reason).cloned()
    }

    pub fn last_dial_fault(&self, url: &str) -> Option<Noted> {
        lock(&self.dials).get(url).cloned()
    }
}

impl Noted {
    fn new(at: f64, text: &str) -> Noted {
        Noted { at, text: text.chars().take(TEXT_CHARS_MAX).collect() }
    }
}

const EVENTS_MAX: usize = 200;
const DIALS_MAX: usize = 1000;
const TEXT_CHARS_MAX: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_much_is_remembered() {
        let journal = Journal::default();
        for n in 0..2 * DIALS_MAX {
            journal.happened(n as f64, &n.to_string());
            journal.not_reached(&Text::from(n.to_string()), n as f64, &"x".repeat(2 * TEXT_CHARS_MAX));
        }
        let newest = (2 * DIALS_MAX - 1).to_string();
        assert_eq!(journal.events(usize::MAX).len(), EVENTS_MAX);
        assert_eq!(journal.events(1)[0].text, newest);
        assert_eq!(lock(&journal.dials).len(), DIALS_MAX);
        assert_eq!(journal.last_dial_fault(&newest).unwrap().text.len(), TEXT_CHARS_MAX);
        assert_eq!(journal.last_dial_fault("0"), None);
    }
}
