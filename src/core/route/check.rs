//! What a route or withdrawal must look like, whoever sends it (fabric.md 7.4, 7.8): who may say it, which way it leads, how
//! large it may be and how long it lasts. Nothing here looks at what is stored.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Via;
use crate::core::catalog::{SKEW_SECONDS_MAX, Text};
use crate::core::reason::Reason;
use crate::core::time::Now;

/// Until when a route counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lease {
    /// Wall clock.
    pub expires_at: f64,
    pub ends: Duration,
    pub ttl_seconds: f64,
}

/// The path seen from here, this cluster first, of what `via` says of a destination.
pub(super) fn path(
    own: &Text,
    via: &Via,
    advertiser: &str,
    destination: &str,
    hops: &[Text],
) -> Result<Vec<Text>, Reason> {
    let sender = match via {
        Via::Neighbour { cluster } if cluster == own => return Err(Reason::RouteNotFromNeighbour),
        Via::Neighbour { cluster } => cluster,
        Via::Border { .. } => own,
    };
    if *advertiser != **sender {
        return Err(Reason::RouteNotFromNeighbour);
    }
    let fits = |id: &Text| !id.is_empty() && id.len() <= NAME_BYTES_MAX;
    let ends_meet = hops.first().is_some_and(|first| **first == *advertiser)
        && hops.last().is_some_and(|last| **last == *destination);
    if !ends_meet || hops.len() > HOPS_MAX || !hops.iter().all(fits) {
        return Err(Reason::RouteMalformed);
    }
    let beyond = match via {
        Via::Neighbour { .. } => hops,
        Via::Border { .. } => hops.get(1..).unwrap_or_default(),
    };
    if beyond.contains(own) {
        return Err(Reason::RoutePathLoop);
    }
    if beyond.is_empty() || beyond.iter().collect::<BTreeSet<_>>().len() != beyond.len() {
        return Err(Reason::RouteMalformed);
    }
    Ok(std::iter::once(own).chain(beyond).cloned().collect())
}

pub(super) fn tags(tags: &[Text]) -> Result<(), Reason> {
    let fit = tags.len() <= TAGS_MAX && tags.iter().all(|tag| tag.len() <= NAME_BYTES_MAX);
    if fit { Ok(()) } else { Err(Reason::RouteMalformed) }
}

/// What is dated that far in the future would outlive and outrank all that is honest.
pub(super) fn date(at: f64, now: Now) -> Result<(), Reason> {
    if !at.is_finite() {
        return Err(Reason::RouteMalformed);
    }
    if at > now.wall + SKEW_SECONDS_MAX { Err(Reason::ClockSkew) } else { Ok(()) }
}

pub(super) fn lease(advertised_at: f64, ttl_seconds: f64, now: Now) -> Result<Lease, Reason> {
    let ttl_seconds = ttl_seconds.min(TTL_SECONDS_MAX);
    // A clock that is ahead does not make a route last longer.
    let left = ttl_seconds.min(advertised_at + ttl_seconds - now.wall);
    match Duration::try_from_secs_f64(left) {
        Ok(left) if !left.is_zero() => {
            Ok(Lease { expires_at: now.wall + left.as_secs_f64(), ends: now.mono + left, ttl_seconds })
        }
        _ => Err(Reason::RouteExpired),
    }
}

/// A day: whoever announces so rarely is not worth believing longer.
pub(super) const TTL_SECONDS_MAX: f64 = 86_400.0;
/// Clusters on a path; no hop budget is used up that far.
const HOPS_MAX: usize = 64;
const TAGS_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 255;
