//! Requests of each cluster within a minute: a token bucket for each, kept as the one moment at which it is full again.
//!
//! A bucket that is full is as good as none and is forgotten when room is needed. Clusters beyond the room share one
//! bucket, so that names made up on the way get nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::catalog::Text;
use crate::core::time::Now;

#[derive(Debug, Default)]
pub(super) struct Requests {
    /// When the bucket of a cluster is full again.
    full_at: BTreeMap<Text, Duration>,
    /// The same for all clusters beyond [`CLUSTERS_MAX`].
    others_full_at: Duration,
}

impl Requests {
    /// Takes one token of a bucket that holds `per_minute` and gets as many back in a minute; 0: unlimited.
    pub fn spend(&mut self, cluster: &Text, per_minute: u32, now: Now) -> bool {
        if per_minute == 0 {
            self.full_at.clear();
            return true;
        }
        let token = MINUTE / per_minute;
        let capacity = token * per_minute;
        let full_at = self.bucket(cluster, now);
        let next = (*full_at).max(now.mono) + token;
        let has_token = next - now.mono <= capacity;
        if has_token {
            *full_at = next;
        }
        has_token
    }

    fn bucket(&mut self, cluster: &Text, now: Now) -> &mut Duration {
        let is_known = self.full_at.contains_key(cluster);
        if !is_known && self.full_at.len() >= CLUSTERS_MAX {
            self.full_at.retain(|_, at| *at > now.mono);
        }
        if !is_known && self.full_at.len() >= CLUSTERS_MAX {
            return &mut self.others_full_at;
        }
        self.full_at.entry(cluster.clone()).or_default()
    }
}

const MINUTE: Duration = Duration::from_secs(60);
/// Clusters that call within one minute, each with a budget of its own: more than any neighbourhood has.
const CLUSTERS_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_minutes_worth_at_once_then_one_by_one() {
        let mut requests = Requests::default();
        let a: Text = "a".into();
        let mut granted =
            |n: usize, at: f64| (0..n).filter(|_| requests.spend(&a, 6, Now::at(0.0, at))).count();
        assert_eq!(granted(10, 5.0), 6);
        assert_eq!(granted(10, 14.9), 0);
        assert_eq!(granted(10, 15.1), 1);
        assert_eq!(granted(10, 36.0), 2);
        assert_eq!(granted(10, 1000.0), 6);
    }

    #[test]
    fn clusters_do_not_pay_for_each_other_until_there_are_too_many() {
        let mut requests = Requests::default();
        let name = |n: usize| Text::from(format!("c{n}"));
        let now = Now::at(0.0, 1.0);
        for n in 0..CLUSTERS_MAX {
            assert!(requests.spend(&name(n), 1, now) && !requests.spend(&name(n), 1, now));
        }
        let late = (CLUSTERS_MAX..3 * CLUSTERS_MAX).filter(|n| requests.spend(&name(*n), 1, now)).count();
        assert_eq!(late, 1, "they share one");
        assert_eq!(requests.full_at.len(), CLUSTERS_MAX);
        assert!(requests.spend(&name(CLUSTERS_MAX), 1, Now::at(0.0, 62.0)), "full buckets have made room");
        assert_eq!(requests.full_at.len(), 1);
    }

    #[test]
    fn no_limit_and_the_largest_one_hold() {
        let mut requests = Requests::default();
        let a: Text = "a".into();
        assert!((0..10_000).all(|_| requests.spend(&a, 0, Now::at(0.0, 0.0))));
        assert!(requests.full_at.is_empty());
        assert!((0..10_000).all(|_| requests.spend(&a, u32::MAX, Now::at(0.0, 0.0))));
    }

    proptest! {
        /// Against a bucket that counts its tokens, refilled in whole steps of a millisecond.
        #[test]
        fn grants_as_a_bucket_of_tokens_does(waits in prop::collection::vec(0u64..40_000, 1..200)) {
            const PER_MINUTE: u32 = 6; // one token in exactly 10 s
            let (mut requests, a) = (Requests::default(), Text::from("a"));
            let (mut tokens_ms, mut ms) = (60_000u64, 0u64);
            for wait in waits {
                let wait = wait / 4;
                ms += wait;
                tokens_ms = (tokens_ms + wait).min(60_000);
                let expected = tokens_ms >= 10_000;
                tokens_ms -= if expected { 10_000 } else { 0 };
                let now = Now { wall: 0.0, mono: Duration::from_millis(ms) };
                prop_assert_eq!(requests.spend(&a, PER_MINUTE, now), expected);
            }
        }
    }
}
