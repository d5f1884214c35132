//! How much gossip, and how many publications, one peer may send: so many messages and bytes per second, and some
//! seconds' worth at once, as a snapshot needs it. What comes beyond is refused before it is looked into; the link lives
//! on, and no other peer has less for it. Calls have limits of their own.
//!
//! A budget is the peer's, whatever links it opens and closes. It is kept as the moment at which it is whole again, and
//! forgotten when room is needed after that.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::catalog::Text;
use crate::core::reason::Reason;

/// Of each peer, per second.
#[derive(Debug, Clone, Copy)]
pub struct FloodLimits {
    /// limits.peer_gossip_per_second
    pub gossip: u32,
    /// limits.peer_gossip_bytes_per_second
    pub gossip_bytes: u64,
    /// limits.peer_publications_per_second
    pub publications: u32,
    /// limits.peer_publication_bytes_per_second
    pub publication_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Gossip,
    Publications,
}

#[derive(Debug)]
pub(super) struct Floods {
    limits: FloodLimits,
    budgets: BTreeMap<Text, Budgets>,
    /// Of all peers beyond [`PEERS_MAX`].
    others: Budgets,
}

/// When the budgets of a peer are whole again: messages and bytes of gossip, and of publications.
#[derive(Debug, Default)]
struct Budgets {
    gossip: [Duration; 2],
    publications: [Duration; 2],
}

impl Floods {
    pub fn new(limits: FloodLimits) -> Floods {
        Floods { limits, budgets: BTreeMap::new(), others: Budgets::default() }
    }

    /// For a reload; what was spent stays spent.
    pub fn set_limits(&mut self, limits: FloodLimits) {
        self.limits = limits;
    }

    /// Spends one message of `bytes`, if both budgets of the peer have anything left. One that is larger than what is
    /// left is let in, and those after it wait for it.
    pub fn spend(&mut self, peer: &Text, flow: Flow, bytes: usize, now: Duration) -> Result<(), Reason> {
        let limits = self.limits;
        let (messages_max, bytes_max, reason) = match flow {
            Flow::Gossip => (u64::from(limits.gossip), limits.gossip_bytes, Reason::GossipFlood),
            Flow::Publications => {
                (u64::from(limits.publications), limits.publication_bytes, Reason::PublicationsFlood)
            }
        };
        let budgets = self.budgets_of(peer, now);
        let whole_at = match flow {
            Flow::Gossip => &mut budgets.gossip,
            Flow::Publications => &mut budgets.publications,
        };
        if whole_at.iter().any(|at| at.saturating_sub(now) >= AT_ONCE) {
            return Err(reason);
        }
        let [messages, size] = whole_at;
        *messages = (*messages).max(now) + time_for(1, messages_max);
        *size = (*size).max(now) + time_for(bytes as u64, bytes_max);
        Ok(())
    }

    fn budgets_of(&mut self, peer: &Text, now: Duration) -> &mut Budgets {
        let is_known = self.budgets.contains_key(peer);
        if !is_known && self.budgets.len() >= PEERS_MAX {
            self.budgets.retain(|_, budgets| !budgets.are_whole(now));
        }
        if !is_known && self.budgets.len() >= PEERS_MAX {
            return &mut self.others;
        }
        self.budgets.entry(peer.clone()).or_default()
    }
}

impl Budgets {
    fn are_whole(&self, now: Duration) -> bool {
        self.gossip.iter().chain(&self.publications).all(|at| *at <= now)
    }
}

impl Default for FloodLimits {
    /// The defaults of the configuration: many times what a large cluster says at its worst.
    fn default() -> FloodLimits {
        FloodLimits {
            gossip: 2000,
            gossip_bytes: 16 << 20,
            publications: 50_000,
            publication_bytes: 64 << 20,
        }
    }
}

/// How long a budget of `per_second` takes to get so much back.
fn time_for(spent: u64, per_second: u64) -> Duration {
    Duration::from_nanos(spent.saturating_mul(1_000_000_000) / per_second.max(1))
}

/// A budget holds what it gets in this time: a snapshot of the largest catalog comes at once after a reconnect.
const AT_ONCE: Duration = Duration::from_secs(10);
/// Peers with a budget of their own that is not whole.
const PEERS_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: FloodLimits =
        FloodLimits { gossip: 10, gossip_bytes: 1000, publications: 100, publication_bytes: 1000 };

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// How many of many messages of that size are let in.
    fn let_in(floods: &mut Floods, peer: &str, flow: Flow, bytes: usize, now: f64) -> usize {
        (0..5000).filter(|_| floods.spend(&peer.into(), flow, bytes, at(now)).is_ok()).count()
    }

    #[test]
    fn a_flood_has_its_budget_and_takes_none_of_others() {
        let mut floods = Floods::new(LIMITS);
        assert_eq!(let_in(&mut floods, "a", Flow::Gossip, 0, 0.0), 100);
        assert_eq!(floods.spend(&"a".into(), Flow::Gossip, 0, at(0.0)), Err(Reason::GossipFlood));
        assert_eq!(let_in(&mut floods, "b", Flow::Gossip, 0, 0.0), 100);
        assert_eq!(let_in(&mut floods, "a", Flow::Publications, 0, 0.0), 1000);
        assert_eq!(floods.spend(&"a".into(), Flow::Publications, 0, at(0.0)), Err(Reason::PublicationsFlood));
        // What is given back, and no more than the budget holds.
        assert_eq!(let_in(&mut floods, "a", Flow::Gossip, 0, 3.0), 30);
        assert_eq!(let_in(&mut floods, "a", Flow::Gossip, 0, 500.0), 100);
    }

    #[test]
    fn bytes_count_as_well_and_one_large_message_passes() {
        let mut floods = Floods::new(LIMITS);
        assert_eq!(let_in(&mut floods, "a", Flow::Gossip, 500, 0.0), 20);
        assert_eq!(let_in(&mut floods, "b", Flow::Gossip, 50_000, 0.0), 1);
        assert_eq!(let_in(&mut floods, "b", Flow::Gossip, 100, 39.0), 0);
        assert_eq!(let_in(&mut floods, "b", Flow::Gossip, 100, 41.0), 10);
    }

    #[test]
    fn peers_without_number_share_a_budget_and_are_forgotten() {
        let mut floods = Floods::new(LIMITS);
        let name = |n: usize| Text::from(format!("n{n}"));
        (0..PEERS_MAX).for_each(|n| floods.spend(&name(n), Flow::Gossip, 1, at(0.0)).unwrap());
        let more = PEERS_MAX..PEERS_MAX + 1000;
        let passed = more.filter(|n| floods.spend(&name(*n), Flow::Gossip, 1, at(0.0)).is_ok()).count();
        assert_eq!(passed, 100);
        assert_eq!(let_in(&mut floods, "late", Flow::Gossip, 0, 100.0), 100);
        assert_eq!(floods.budgets.len(), 1);
    }
}
