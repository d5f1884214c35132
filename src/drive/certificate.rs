//! The names in the certificate of the other end, and the dates of our own.
//!
//! Promises: what cannot be read has no names. Never verifies anything: only certificates whose chain and dates the TLS
//! handshake has checked may be asked for names.

use std::net::IpAddr;

use std::time::Duration;

use futures_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::{EndEntityCert, Error, KeyUsage};

use super::link::Link;
use crate::core::federation::{CertificateNames, LinkFacts};

/// What a link proves about the other end. `is_verified` is false where any certificate would have been accepted:
/// for a link that was dialled with tls.verify_peers = false; `asks` where the other end of TLS had to show one or might.
pub fn link_facts(link: &Link, is_verified: bool, asks: bool) -> LinkFacts {
    let certificates = link.peer_certificates();
    let shown = certificates.first().filter(|_| is_verified).zip(link.peer_address());
    LinkFacts {
        encrypted: link.protocol().is_tls(),
        asked: link.protocol().is_tls() && asks,
        certificate: shown.map(|(certificate, address)| certificate_names(certificate, address.ip())),
    }
}

/// The names of a certificate; of its addresses the one that was connected to or from, if it is among them.
pub fn certificate_names(certificate: &CertificateDer<'_>, address: IpAddr) -> CertificateNames {
    let Ok(certificate) = EndEntityCert::try_from(certificate) else { return CertificateNames::default() };
    // The socket of a listener for both families shows IPv4 as a part of IPv6.
    let address = address.to_canonical();
    let is_named = certificate.verify_is_valid_for_subject_name(&ServerName::from(address)).is_ok();
    CertificateNames {
        uris: certificate.valid_uri_names().map(Into::into).collect(),
        dns: certificate.valid_dns_names().map(Into::into).collect(),
        addresses: is_named.then_some(address).into_iter().collect(),
    }
}

/// When a certificate ends, in seconds since 1970; `None` where it cannot be read or has no end.
pub fn expires_at(certificate: &CertificateDer<'_>) -> Option<f64> {
    match date_error(certificate, END_OF_TIME)? {
        Error::CertExpired { not_after, .. } => Some(not_after.as_secs() as f64),
        _ => None,
    }
}

/// What is wrong with the dates of a certificate at this time, in seconds since 1970, or will be within [`SOON`].
pub fn date_fault(certificate: &CertificateDer<'_>, wall: f64) -> Option<String> {
    let now = Duration::try_from_secs_f64(wall).unwrap_or_default();
    let days = |time: Duration| time.as_secs() / SECONDS_OF_A_DAY;
    match date_error(certificate, now)? {
        Error::CertExpired { not_after, .. } => {
            let ago = now.saturating_sub(Duration::from_secs(not_after.as_secs()));
            Some(format!("the certificate has expired {} days ago: nobody who checks it connects", days(ago)))
        }
        Error::CertNotValidYet { not_before, .. } => {
            let ahead = Duration::from_secs(not_before.as_secs()).saturating_sub(now);
            Some(format!(
                "the certificate is valid only in {} days; or the clock of this machine is wrong",
                days(ahead)
            ))
        }
        Error::InvalidCertValidity => {
            Some("the certificate ends before it begins: nobody who checks it connects".to_owned())
        }
        _ => match date_error(certificate, now + SOON)? {
            Error::CertExpired { not_after, .. } => {
                let left = Duration::from_secs(not_after.as_secs()).saturating_sub(now);
                Some(format!("the certificate expires in {} days", days(left)))
            }
            _ => None,
        },
    }
}

/// Dates are looked at before anything else, and without trusted authorities nothing else can be right: any other error
/// means that the dates are.
fn date_error(certificate: &CertificateDer<'_>, time: Duration) -> Option<Error> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    let (time, usage) = (UnixTime::since_unix_epoch(time), KeyUsage::server_auth());
    certificate.verify_for_usage(&[], &[], &[], time, usage, None, None).err()
}

/// How long ahead an end is said.
const SOON: Duration = Duration::from_secs(14 * SECONDS_OF_A_DAY);
const SECONDS_OF_A_DAY: u64 = 86_400;
/// A certificate that has no end says the last second of 9999 (RFC 5280 4.1.2.5).
const END_OF_TIME: Duration = Duration::from_secs(253_402_300_799);

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    fn made(names: Vec<SanType>) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    #[test]
    fn names_of_every_kind_are_found() {
        let uri = "mpreg://b/wss://[fd00::1]:7443";
        let certificate = made(vec![
            SanType::DnsName("n1.b.net".try_into().unwrap()),
            SanType::URI(uri.try_into().unwrap()),
            SanType::DnsName("*.c.net".try_into().unwrap()),
            SanType::IpAddress("10.0.0.1".parse().unwrap()),
            SanType::IpAddress("fd00::1".parse().unwrap()),
        ]);
        for (address, expected) in [
            ("10.0.0.1", Some("10.0.0.1")),
            ("::ffff:10.0.0.1", Some("10.0.0.1")),
            ("10.0.0.2", None),
            ("fd00::1", Some("fd00::1")),
        ] {
            let names = certificate_names(&certificate, address.parse().unwrap());
            let expected: Vec<IpAddr> = expected.iter().map(|a| a.parse().unwrap()).collect();
            assert_eq!(names.addresses, expected, "{address}");
            assert_eq!((&*names.uris[0], &*names.dns[0], &*names.dns[1]), (uri, "n1.b.net", "*.c.net"));
            assert_eq!((names.uris.len(), names.dns.len()), (1, 2));
        }
    }

    #[test]
    fn the_end_of_a_certificate_is_known() {
        for (year, expected) in [(2030, Some(1_893_456_000.0)), (9999, Some(253_370_764_800.0))] {
            let mut params = CertificateParams::default();
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
            let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
            assert_eq!(expires_at(certificate.der()), expected);
        }
        assert_eq!(expires_at(&CertificateDer::from(vec![0x30])), None);
    }

    #[test]
    fn dates_are_told_before_during_and_after() {
        let mut params = CertificateParams::new(["n1.b.net".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2030, 1, 1);
        params.not_after = rcgen::date_time_ymd(2030, 3, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        // 2030-01-01, in days since 1970.
        let at = |day: f64| date_fault(&certificate, (21_915.0 + day) * 86_400.0);
        assert!(at(-3.0).unwrap().contains("only in 3 days"), "{:?}", at(-3.0));
        assert_eq!(at(10.0), None);
        assert!(at(50.0).unwrap().contains("expires in 9 days"), "{:?}", at(50.0));
        assert!(at(60.0).unwrap().contains("expired 1 days ago"), "{:?}", at(60.0));
        params.not_before = rcgen::date_time_ymd(2030, 4, 1);
        let never = params.self_signed(&key).unwrap().der().clone();
        assert!(date_fault(&never, 22_000.0 * 86_400.0).unwrap().contains("ends before it begins"));
    }

    #[test]
    fn what_names_nothing_has_no_names() {
        let address = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(certificate_names(&made(Vec::new()), address), CertificateNames::default());
        let garbage = CertificateDer::from(vec![0x30, 0x82, 0xff]);
        assert_eq!(certificate_names(&garbage, address), CertificateNames::default());
    }
}
