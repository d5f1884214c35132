//! Certificates and trust, from files (`[tls]`, cli-config.md 4.3).
//!
//! Promises: a faulty file is named with its key and what is wrong with it, and never replaces what was loaded
//! before; a reload concerns new connections only. The ring provider is given explicitly, so nothing depends on a
//! default of the process. Offers no ALPN and no early data.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use futures_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use futures_rustls::rustls::pki_types::pem::{self, PemObject};
use futures_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use futures_rustls::rustls::server::WebPkiClientVerifier;
use futures_rustls::rustls::{
    ALL_VERSIONS, ClientConfig, DigitallySignedStruct, Error, InconsistentKeys, RootCertStore, ServerConfig,
    SignatureScheme, SupportedProtocolVersion, version,
};

use super::certificate::{date_fault, expires_at};

/// `[tls]`.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    pub cert_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
    pub client_auth: ClientAuth,
    pub min_version: TlsVersion,
    /// False accepts any certificate of a peer we dial.
    pub verify_peers: bool,
    /// What to expect in the certificate of a peer we dial, instead of the host in its URL.
    pub server_name: Option<String>,
}

/// `tls.client_auth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    None,
    /// A client may come without a certificate; one it presents must be good.
    Optional,
    Required,
}

/// `tls.min_version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    V1_2,
    V1_3,
}

/// What the wss and tcps endpoints of a node present and demand: at any moment one [`ServerTls`].
#[derive(Debug)]
pub struct TlsIdentity {
    current: ArcSwap<ServerTls>,
}

/// Whom a node trusts when it dials wss or tcps, and what it presents: at any moment one [`ClientTls`].
#[derive(Debug)]
pub struct TlsTrust {
    current: ArcSwap<ClientTls>,
}

/// The files of a listening side as they were read.
#[derive(Debug)]
pub struct ServerTls {
    settings: TlsSettings,
    presented: Presented,
}

#[derive(Debug)]
struct Presented {
    config: Arc<ServerConfig>,
    /// Of the node itself.
    certificate: CertificateDer<'static>,
    expires_at: Option<f64>,
}

/// The files of a dialling side as they were read.
#[derive(Debug)]
pub struct ClientTls {
    settings: TlsSettings,
    config: Arc<ClientConfig>,
}

/// One fault of `[tls]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsError {
    /// The key of the config, for example `tls.cert_file`.
    pub key: &'static str,
    pub file: Option<PathBuf>,
    pub fault: String,
}

impl ServerTls {
    pub fn load(settings: TlsSettings) -> Result<ServerTls, TlsError> {
        let presented = build_server(&settings)?;
        Ok(ServerTls { settings, presented })
    }

    pub fn settings(&self) -> &TlsSettings {
        &self.settings
    }

    /// When the certificate of the chain that ends first does, in seconds since 1970.
    pub fn expires_at(&self) -> Option<f64> {
        self.presented.expires_at
    }
}

impl ClientTls {
    /// Also reads the certificates that the system trusts.
    pub fn load(settings: TlsSettings) -> Result<ClientTls, TlsError> {
        let config = Arc::new(build_client(&settings)?);
        Ok(ClientTls { settings, config })
    }

    pub(super) fn config(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }

    pub fn settings(&self) -> &TlsSettings {
        &self.settings
    }
}

impl TlsIdentity {
    pub fn load(settings: TlsSettings) -> Result<TlsIdentity, TlsError> {
        Ok(TlsIdentity { current: ArcSwap::from_pointee(ServerTls::load(settings)?) })
    }

    /// Reads the files again. On an error the old certificate stays in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        let settings = self.current().settings.clone();
        self.install(Arc::new(ServerTls::load(settings)?));
        Ok(())
    }

    /// For the handshakes that come; what is open goes on.
    pub fn install(&self, tls: Arc<ServerTls>) {
        self.current.store(tls);
    }

    pub fn current(&self) -> Arc<ServerTls> {
        self.current.load_full()
    }

    /// What is wrong with the dates of the certificate at this time, in seconds since 1970, or will be soon.
    pub fn date_fault(&self, wall: f64) -> Option<TlsError> {
        let current = self.current.load();
        let fault = date_fault(&current.presented.certificate, wall)?;
        let file = current.settings.cert_file.clone();
        Some(TlsError { key: "tls.cert_file", file, fault: format!("{fault}; renew it and reload the node") })
    }

    pub(super) fn server_config(&self) -> Arc<ServerConfig> {
        self.current.load().presented.config.clone()
    }
}

impl TlsTrust {
    pub fn load(settings: TlsSettings) -> Result<TlsTrust, TlsError> {
        Ok(TlsTrust::of(Arc::new(ClientTls::load(settings)?)))
    }

    pub fn of(tls: Arc<ClientTls>) -> TlsTrust {
        TlsTrust { current: ArcSwap::new(tls) }
    }

    /// For the links that are dialled from now on.
    pub fn install(&self, tls: Arc<ClientTls>) {
        self.current.store(tls);
    }

    pub fn current(&self) -> Arc<ClientTls> {
        self.current.load_full()
    }
}

impl Default for TlsSettings {
    fn default() -> TlsSettings {
        TlsSettings {
            cert_file: None,
            key_file: None,
            ca_file: None,
            client_auth: ClientAuth::None,
            min_version: TlsVersion::V1_2,
            verify_peers: true,
            server_name: None,
        }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{}: {}: {}", self.key, file.display(), self.fault),
            None => write!(f, "{}: {}", self.key, self.fault),
        }
    }
}

impl std::error::Error for TlsError {}

fn build_server(settings: &TlsSettings) -> Result<Presented, TlsError> {
    let Some((chain, key)) = own_certificate(settings)? else {
        return Err(TlsError {
            key: "tls.cert_file",
            file: None,
            fault: "an endpoint with TLS needs a certificate; set tls.cert_file and tls.key_file".to_owned(),
        });
    };
    let expires_at = chain.iter().filter_map(expires_at).reduce(f64::min);
    let Some(certificate) = chain.first().cloned() else {
        return Err(TlsError::missing("tls.cert_file", "no certificate in it"));
    };
    let provider = Arc::new(ring::default_provider());
    let verifier = match settings.client_auth {
        ClientAuth::None => WebPkiClientVerifier::no_client_auth(),
        ClientAuth::Optional | ClientAuth::Required => {
            let Some(file) = &settings.ca_file else {
                return Err(TlsError {
                    key: "tls.ca_file",
                    file: None,
                    fault: "tls.client_auth needs the authority that signs the clients' certificates"
                        .to_owned(),
                });
            };
            let mut roots = RootCertStore::empty();
            add_authorities(&mut roots, file)?;
            let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
            let builder = match settings.client_auth {
                ClientAuth::Required => builder,
                _ => builder.allow_unauthenticated(),
            };
            builder.build().map_err(|e| TlsError::new("tls.ca_file", file, e.to_string()))?
        }
    };
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(settings.min_version.versions())
        .map_err(TlsError::version)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|e| settings.key_fault(e))?;
    Ok(Presented { config: Arc::new(config), certificate, expires_at })
}

fn build_client(settings: &TlsSettings) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(settings.min_version.versions())
        .map_err(TlsError::version)?;
    let builder = if settings.verify_peers {
        let mut roots = RootCertStore::empty();
        let system = rustls_native_certs::load_native_certs();
        for e in &system.errors {
            log::debug!("a part of the system's trusted certificates cannot be read: {e}");
        }
        roots.add_parsable_certificates(system.certs);
        if let Some(file) = &settings.ca_file {
            add_authorities(&mut roots, file)?;
        }
        builder.with_root_certificates(roots)
    } else {
        let verifier = Arc::new(AcceptAnyCertificate { provider });
        builder.dangerous().with_custom_certificate_verifier(verifier)
    };
    match own_certificate(settings)? {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|e| settings.key_fault(e)),
        None => Ok(builder.with_no_client_auth()),
    }
}

type CertifiedKey = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn own_certificate(settings: &TlsSettings) -> Result<Option<CertifiedKey>, TlsError> {
    let (cert_file, key_file) = match (&settings.cert_file, &settings.key_file) {
        (Some(cert), Some(key)) => (cert, key),
        (None, None) => return Ok(None),
        (Some(_), None) => {
            return Err(TlsError::missing("tls.key_file", "tls.cert_file is set without its key"));
        }
        (None, Some(_)) => {
            return Err(TlsError::missing("tls.cert_file", "tls.key_file is set without a certificate"));
        }
    };
    let chain = read_certificates("tls.cert_file", cert_file)?;
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(|e| {
        let fault = match e {
            pem::Error::NoItemsFound => "no private key in PEM form in it".to_owned(),
            pem::Error::Io(e) => e.to_string(),
            e => e.to_string(),
        };
        TlsError::new("tls.key_file", key_file, fault)
    })?;
    Ok(Some((chain, key)))
}

fn add_authorities(roots: &mut RootCertStore, file: &Path) -> Result<(), TlsError> {
    for certificate in read_certificates("tls.ca_file", file)? {
        roots.add(certificate).map_err(|e| {
            TlsError::new("tls.ca_file", file, format!("not the certificate of an authority: {e}"))
        })?;
    }
    Ok(())
}

fn read_certificates(key: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let fault = |e: pem::Error| {
        let fault = match e {
            pem::Error::Io(e) => e.to_string(),
            e => e.to_string(),
        };
        TlsError::new(key, file, fault)
    };
    let chain: Vec<_> = CertificateDer::pem_file_iter(file).and_then(Iterator::collect).map_err(fault)?;
    if chain.is_empty() {
        return Err(TlsError::new(key, file, "no certificate in PEM form in it".to_owned()));
    }
    Ok(chain)
}

impl TlsSettings {
    /// rustls checks certificate and key together; say which of both is to blame.
    fn key_fault(&self, error: Error) -> TlsError {
        let (key, file, fault) = match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => (
                "tls.key_file",
                &self.key_file,
                format!(
                    "the key does not belong to the certificate in {}",
                    self.cert_file.as_deref().unwrap_or(Path::new("tls.cert_file")).display()
                ),
            ),
            Error::InvalidCertificate(e) => {
                ("tls.cert_file", &self.cert_file, format!("not a usable certificate: {e}"))
            }
            e => ("tls.key_file", &self.key_file, format!("not a usable key: {e}")),
        };
        TlsError { key, file: file.clone(), fault }
    }
}

impl TlsVersion {
    fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            TlsVersion::V1_2 => ALL_VERSIONS,
            TlsVersion::V1_3 => ONLY_1_3,
        }
    }
}

impl TlsError {
    fn new(key: &'static str, file: &Path, fault: String) -> TlsError {
        TlsError { key, file: Some(file.to_owned()), fault }
    }

    fn missing(key: &'static str, fault: &str) -> TlsError {
        TlsError { key, file: None, fault: fault.to_owned() }
    }

    fn version(error: Error) -> TlsError {
        TlsError::missing("tls.min_version", &error.to_string())
    }
}

/// `tls.verify_peers = false`. Whoever can get between two nodes can then read and change everything, so this is for
/// tests and for networks that are protected otherwise. Signatures of the handshake are still checked.
#[derive(Debug)]
struct AcceptAnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AcceptAnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

static ONLY_1_3: &[&SupportedProtocolVersion] = &[&version::TLS13];
