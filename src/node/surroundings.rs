//! What is wrong around the node and can come at any time: the clock of the machine, the dates of the certificate. Each
//! is one line with the remedy, logged when it begins and shown in the status for as long as it lasts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use smol::Timer;

use super::hub::{Hub, lock};
use crate::core::catalog::{SKEW_SECONDS_MAX, Text};
use crate::core::fabric::Fabric;
use crate::core::time::Now;
use crate::drive::tls::TlsIdentity;

/// Looks until the process ends.
pub async fn keep_looking(hub: Arc<Hub>, identity: Option<Arc<TlsIdentity>>) {
    let mut told = Vec::new();
    loop {
        let now = hub.clock.now();
        let offsets = offsets(&lock(&hub.control).fabric, now);
        let faults = faults(now.wall, identity.as_deref(), &offsets);
        for fault in faults.iter().filter(|fault| !told.contains(&fault.key)) {
            log::error!("{}", fault.text);
        }
        told = faults.iter().map(|fault| fault.key.clone()).collect();
        hub.supervisor.faults(faults.into_iter().map(|fault| fault.text).collect());
        Timer::after(LOOK).await;
    }
}

/// By how many seconds the clocks of the peers that are linked are ahead of ours.
pub fn offsets(fabric: &Fabric, now: Now) -> BTreeMap<Text, f64> {
    let connected = fabric.membership().connected();
    let offset = |(node, peer): (&Text, &crate::core::membership::Peer)| {
        let report = peer.report.as_ref()?;
        let age = now.mono.saturating_sub(report.received_at).as_secs_f64();
        Some((node.clone(), report.timestamp - (now.wall - age)))
    };
    connected.filter_map(offset).collect()
}

/// The one in the middle: one wrong clock among many is theirs, and many that agree mean that ours is wrong.
pub fn middle(offsets: &BTreeMap<Text, f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = offsets.values().copied().collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

/// What is wrong, and what stays the same in it while its text follows the time.
struct Fault {
    key: String,
    text: String,
}

fn faults(wall: f64, identity: Option<&TlsIdentity>, offsets: &BTreeMap<Text, f64>) -> Vec<Fault> {
    let clock = (wall < CLOCK_LEAST).then(|| {
        "the clock of this machine is years behind: nothing that others date or sign can be judged; set it (timedatectl)"
            .to_owned()
    });
    let certificate = identity.and_then(|identity| identity.date_fault(wall)).map(|fault| fault.to_string());
    let far_off = middle(offsets).filter(|ahead| ahead.abs() > SKEW_SECONDS_MAX).map(|ahead| Fault {
        key: "peers".to_owned(),
        text: format!(
            "the clock of this machine is {:.0} s {} of {}: entries, routes and keys that are dated more than \
             {SKEW_SECONDS_MAX} s ahead are refused; set the clock that is wrong (timedatectl)",
            ahead.abs(),
            if ahead > 0.0 { "behind that" } else { "ahead of that" },
            match offsets.len() {
                1 => offsets.keys().map(|node| &**node).collect(),
                many => format!("the middle one of its {many} peers"),
            },
        ),
    });
    let lasting = clock.into_iter().chain(certificate).map(|text| Fault { key: text.clone(), text });
    lasting.chain(far_off).collect()
}

/// 2026-01-01, in seconds since 1970. This program is younger.
const CLOCK_LEAST: f64 = 1_767_225_600.0;
const LOOK: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn told(wall: f64, offsets: &[(&str, f64)]) -> Vec<String> {
        let offsets = offsets.iter().map(|(node, ahead)| (Text::from(*node), *ahead)).collect();
        faults(wall, None, &offsets).into_iter().map(|fault| fault.text).collect()
    }

    #[test]
    fn a_clock_that_is_years_behind_is_told_with_its_remedy() {
        let years = told(12.0, &[]);
        assert!(years.len() == 1 && years[0].contains("timedatectl"), "{years:?}");
        assert!(told(CLOCK_LEAST + 1.0, &[]).is_empty());
    }

    #[test]
    fn a_clock_that_is_far_from_that_of_most_peers_is_told_and_one_wrong_peer_is_not() {
        let now = CLOCK_LEAST + 1.0;
        let text = told(now, &[("ws://a", 3600.0)]);
        assert!(text.len() == 1 && text[0].contains("3600 s behind that of ws://a: "), "{text:?}");
        let text = told(now, &[("ws://a", -400.0), ("ws://b", -500.0), ("ws://c", 0.0)]);
        assert!(text[0].contains("400 s ahead of that of the middle one of its 3 peers"), "{text:?}");
        assert!(told(now, &[("ws://a", 0.1), ("ws://b", 3600.0), ("ws://c", -0.2)]).is_empty());
        assert!(told(now, &[("ws://a", SKEW_SECONDS_MAX)]).is_empty());
    }
}
