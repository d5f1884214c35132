//! How much of a limit each peer holds: all of them together at most the whole, none so much that nothing is left for
//! the others.

use std::collections::BTreeMap;

use crate::core::catalog::Text;

/// Places that peers hold.
#[derive(Debug, Default)]
pub(super) struct Shares {
    by_peer: BTreeMap<Text, usize>,
    total: usize,
}

impl Shares {
    /// Whether there is a place for one more of this peer.
    pub fn has_room(&self, peer: &Text, max: usize) -> bool {
        // A quarter is for the others.
        let own_max = max - max / 4;
        self.total < max && self.by_peer.get(peer).is_none_or(|held| *held < own_max)
    }

    pub fn take(&mut self, peer: &Text) {
        self.total += 1;
        match self.by_peer.get_mut(peer) {
            Some(held) => *held += 1,
            None => drop(self.by_peer.insert(peer.clone(), 1)),
        }
    }

    pub fn give_back(&mut self, peer: &Text) {
        let Some(held) = self.by_peer.get_mut(peer) else { return };
        self.total -= 1;
        *held -= 1;
        if *held == 0 {
            self.by_peer.remove(peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_peer_leaves_a_quarter_to_the_others() {
        let mut shares = Shares::default();
        let (a, b) = (Text::from("a"), Text::from("b"));
        let fill = |shares: &mut Shares, peer: &Text| {
            (0..20)
                .filter(|_| {
                    shares.has_room(peer, 8) && {
                        shares.take(peer);
                        true
                    }
                })
                .count()
        };
        assert_eq!((fill(&mut shares, &a), fill(&mut shares, &b)), (6, 2));
        shares.give_back(&b);
        assert_eq!((fill(&mut shares, &a), fill(&mut shares, &b)), (0, 1));
        (0..6).for_each(|_| shares.give_back(&a));
        shares.give_back(&a);
        assert_eq!((fill(&mut shares, &b), shares.by_peer.len()), (4, 1));
        // The smallest limits are for anybody.
        let empty = Shares::default();
        assert!(empty.has_room(&a, 1) && !empty.has_room(&a, 0));
    }
}
