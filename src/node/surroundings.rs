//! What is wrong around the node and can come at any time: the clock of the machine, the dates of the certificate. Each
//! is one line with the remedy, logged when it begins and shown in the status for as long as it lasts.

use std::sync::Arc;
use std::time::Duration;

use smol::Timer;

use super::hub::Hub;
use crate::drive::tls::TlsIdentity;

/// Looks until the process ends.
pub async fn keep_looking(hub: Arc<Hub>, identity: Option<Arc<TlsIdentity>>) {
    let mut told = Vec::new();
    loop {
        let faults = faults(hub.clock.now().wall, identity.as_deref());
        for fault in faults.iter().filter(|fault| !told.contains(*fault)) {
            log::error!("{fault}");
        }
        told = faults;
        hub.supervisor.faults(told.clone());
        Timer::after(LOOK).await;
    }
}

fn faults(wall: f64, identity: Option<&TlsIdentity>) -> Vec<String> {
    let clock = (wall < CLOCK_LEAST).then(|| {
        "the clock of this machine is years behind: nothing that others date or sign can be judged; set it (timedatectl)"
            .to_owned()
    });
    let certificate = identity.and_then(|identity| identity.date_fault(wall)).map(|fault| fault.to_string());
    clock.into_iter().chain(certificate).collect()
}

/// 2026-01-01, in seconds since 1970. This program is younger.
const CLOCK_LEAST: f64 = 1_767_225_600.0;
const LOOK: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_years_behind_is_told_with_its_remedy() {
        let told = faults(12.0, None);
        assert!(told.len() == 1 && told[0].contains("timedatectl"), "{told:?}");
        assert!(faults(CLOCK_LEAST + 1.0, None).is_empty());
    }
}
