//! What has been here before: a set that forgets its oldest members.

use std::collections::VecDeque;

use crate::core::catalog::Text;

/// The last so many names.
#[derive(Debug)]
pub(super) struct Seen {
    names: Names,
    order: VecDeque<Text>,
    max: usize,
}

impl Seen {
    pub fn new(max: usize) -> Seen {
        Seen { names: Names::new(), order: VecDeque::new(), max }
    }

    pub fn contains(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Remembers a name; false if it was known. What is longer than [`NAME_BYTES_MAX`] is to be refused before.
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

    /// As if it had not been here.
    pub fn forget(&mut self, name: &str) {
        self.names.remove(name);
    }
}

/// Each message asks here. Strangers choose the names, so the seed of the hash is a secret; nobody walks through the set.
#[expect(clippy::disallowed_types, reason = "only asked for members")]
type Names = std::collections::HashSet<Text>;

/// Names of nodes, clusters and messages, and what is asked for by one: nobody has longer ones, and what remembers them
/// would grow with them.
pub(super) const NAME_BYTES_MAX: usize = 1024;
/// Nodes or clusters on the path of one message; more than any hop budget allows.
pub(super) const PATH_MAX: usize = 256;

/// Whether the names of a message and its paths are of a size that can be kept.
pub(super) fn is_bounded<'n>(names: &[&str], paths: &[&'n [crate::wire::fabric::Str<'n>]]) -> bool {
    let fits = |name: &str| name.len() <= NAME_BYTES_MAX;
    names.iter().all(|name| fits(name))
        && paths.iter().all(|path| path.len() <= PATH_MAX && path.iter().all(|name| fits(name)))
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
