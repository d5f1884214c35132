//! Watches the numbers of what one subscriber gets: what is missing, double, or late.
//!
//! Memory is bounded: of a long gap only the first numbers are remembered, and what comes late from beyond them
//! counts as doubled, so that the total of wrong deliveries is never too small.

use std::collections::BTreeSet;

use super::load::Tally;

/// The numbers that one subscriber has seen; they count up from 0.
#[derive(Debug, Default)]
pub struct Sequence {
    next: u64,
    /// Passed over, and perhaps still to come.
    missing: BTreeSet<u64>,
}

impl Sequence {
    /// One above the highest number seen.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Takes note of a number; false when it was seen before.
    pub fn see(&mut self, number: u64, tally: &mut Tally) -> bool {
        if number >= self.next {
            let passed = self.next..number;
            tally.lost += number - self.next;
            self.missing.extend(passed.take(MISSING_MAX.saturating_sub(self.missing.len())));
            self.next = number + 1;
            true
        } else if self.missing.remove(&number) {
            tally.lost = tally.lost.saturating_sub(1);
            tally.reordered += 1;
            true
        } else {
            tally.duplicated += 1;
            false
        }
    }

    /// Nothing below `end` will come any more.
    pub fn end_at(&mut self, end: u64, tally: &mut Tally) {
        tally.lost += end.saturating_sub(self.next);
        self.next = self.next.max(end);
        self.missing.clear();
    }
}

/// Remembered numbers; beyond that a late one counts as doubled.
const MISSING_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_doubled_and_late_numbers_are_told_apart() {
        let (mut sequence, mut tally) = (Sequence::default(), Tally::new());
        for number in [0, 1, 3, 2, 3, 6] {
            sequence.see(number, &mut tally);
        }
        assert_eq!((tally.lost, tally.reordered, tally.duplicated), (2, 1, 1));
        sequence.end_at(10, &mut tally);
        assert_eq!((tally.lost, sequence.next()), (5, 10));
    }
}
