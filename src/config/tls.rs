//! Whether the TLS files can be used: readable, well formed, and the key that of the certificate.

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use futures_rustls::rustls::crypto::ring;
use futures_rustls::rustls::sign::CertifiedKey;

use super::fault::Faults;
use super::secret;
use super::settings::Tls;
use super::value::Layer;

/// Adds a fault for everything that would keep a listener or a dialler from using these files.
pub fn check(tls: &Tls, values: &Layer, faults: &mut Faults) {
    let origin = |key: &str| {
        let of = |key: &str| values.get(key).map(|setting| setting.origin.clone());
        of(key)
            .or_else(|| of("tls.cert_file"))
            .or_else(|| of("tls.key_file"))
            .unwrap_or(super::fault::Origin::Default)
    };
    let mut certificates = Vec::new();
    let mut key = None;
    if !tls.cert_file.is_empty() {
        match read_certificates(&tls.cert_file) {
            Ok(found) => certificates = found,
            Err(error) => faults.add(&origin("tls.cert_file"), format!("`tls.cert_file`: {error}")),
        }
    }
    if !tls.key_file.is_empty() {
        let text = secret::read_file(&tls.key_file);
        let parsed = text.and_then(|text| {
            PrivateKeyDer::from_pem_slice(text.reveal().as_bytes())
                .map_err(|error| format!("\"{}\" holds no private key in PEM: {error}", tls.key_file))
        });
        match parsed {
            Ok(found) => key = Some(found),
            Err(error) => faults.add(&origin("tls.key_file"), format!("`tls.key_file`: {error}")),
        }
    }
    match (tls.cert_file.is_empty(), tls.key_file.is_empty()) {
        (false, true) => faults.add(&origin("tls.cert_file"), "`tls.cert_file` needs `tls.key_file`"),
        (true, false) => faults.add(&origin("tls.key_file"), "`tls.key_file` needs `tls.cert_file`"),
        _ => {}
    }
    if let Some(key) = key.filter(|_| !certificates.is_empty())
        && let Err(error) = CertifiedKey::from_der(certificates, key, &ring::default_provider())
    {
        let text = format!("`tls.key_file` is not usable with the certificate of `tls.cert_file`: {error}");
        faults.add(&origin("tls.key_file"), text);
    }
    if !tls.ca_file.is_empty()
        && let Err(error) = read_certificates(&tls.ca_file)
    {
        faults.add(&origin("tls.ca_file"), format!("`tls.ca_file`: {error}"));
    }
}

fn read_certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("\"{path}\" cannot be read: {error}"))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match certificates {
        Ok(found) if found.is_empty() => Err(format!("\"{path}\" holds no certificate in PEM")),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("\"{path}\" holds no certificate in PEM: {error}")),
    }
}
