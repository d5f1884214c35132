//! What has been here before: a set that forgets its oldest members.

use std::collections::{BTreeSet, VecDeque};

use crate::core::catalog::Text;

/// The last so many names.
#[derive(Debug)]
pub(super) struct Seen {
    names: BTreeSet<Text>,
    order: VecDeque<Text>,
    max: usize,
}

impl Seen {
    pub fn new(max: usize) -> Seen {
        Seen { names: BTreeSet::new(), order: VecDeque::new(), max }
    }

    pub fn contains(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Remembers a name; false if it was known.
    pub fn add(&mut self, name: &str) -> bool {
        if self.names.contains(name) {
            return false;
        }
        if self.order.len() >= self.max
            && let Some(oldest) = self.order.pop_front()
        {
            self.names.remove(&oldest);
        }
        let name = Text::from(name);
        self.names.insert(name.clone());
        self.order.push_back(name);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten() {
        let mut seen = Seen::new(2);
        assert!(seen.add("a") && seen.add("b") && !seen.add("a"));
        assert!(seen.add("c") && seen.add("a") && !seen.add("c"));
    }
}
