//! The names in the certificate of the other end.
//!
//! Promises: what cannot be read has no names. Never verifies anything: only certificates whose chain and dates the TLS
//! handshake has checked may come here.

use std::net::IpAddr;

use std::time::Duration;

use futures_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::{EndEntityCert, Error, KeyUsage};

use super::link::Link;
use crate::core::federation::{CertificateNames, LinkFacts};

/// What a link proves about the other end. `is_verified` is false where any certificate would have been accepted:
/// for a link that was dialled with tls.verify_peers = false.
pub fn link_facts(link: &Link, is_verified: bool) -> LinkFacts {
    let certificates = link.peer_certificates();
    let shown = certificates.first().filter(|_| is_verified).zip(link.peer_address());
    LinkFacts {
        encrypted: link.protocol().is_tls(),
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
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    // Its dates are judged before anything else; to whom it leads does not matter.
    let judged =
        certificate.verify_for_usage(&[], &[], &[], END_OF_TIME, KeyUsage::server_auth(), None, None);
    match judged {
        Err(Error::CertExpired { not_after, .. }) => Some(not_after.as_secs() as f64),
        _ => None,
    }
}

/// A certificate that has no end says the last second of 9999 (RFC 5280 4.1.2.5).
const END_OF_TIME: UnixTime = UnixTime::since_unix_epoch(Duration::from_secs(253_402_300_799));

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
    fn what_names_nothing_has_no_names() {
        let address = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(certificate_names(&made(Vec::new()), address), CertificateNames::default());
        let garbage = CertificateDer::from(vec![0x30, 0x82, 0xff]);
        assert_eq!(certificate_names(&garbage, address), CertificateNames::default());
    }
}
