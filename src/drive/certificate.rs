//! The names in the certificate of the other end.
//!
//! Promises: what cannot be read has no names. Never verifies anything: only certificates whose chain and dates the TLS
//! handshake has checked may come here.

use std::net::IpAddr;

use futures_rustls::rustls::pki_types::{CertificateDer, ServerName};
use webpki::EndEntityCert;

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
    fn what_names_nothing_has_no_names() {
        let address = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(certificate_names(&made(Vec::new()), address), CertificateNames::default());
        let garbage = CertificateDer::from(vec![0x30, 0x82, 0xff]);
        assert_eq!(certificate_names(&garbage, address), CertificateNames::default());
    }
}
