//! Opens the link of a client, and says in the words of a client why there is none or why it ended.
//!
//! All four transports are dialled as a node dials its peers. A credential that the transport cannot carry is an
//! error and never left out in silence: the answer would depend on something that nobody sees.

use std::io;

use async_tungstenite::tungstenite::http::HeaderValue;
use futures_rustls::rustls::{CertificateError, Error as TlsFault};

use super::{ClientError, Options};
use crate::drive::{
    dial::{DialError, DialSettings, dial},
    link::{Link, LinkError, LinkLimits, Protocol, close_code},
};

/// What a client's link may hold: bigger answers than a node takes requests, and little while idle.
pub const LINK_LIMITS: LinkLimits =
    LinkLimits { message_bytes_max: 64 << 20, read_buffer_bytes: 16 << 10, write_buffer_bytes: 64 << 10 };

impl Options {
    /// How to dial `url`; fails for credentials that cannot be sent there.
    pub fn dial_settings(&self, url: &str, limits: LinkLimits) -> Result<DialSettings, ClientError> {
        let mut headers = Vec::new();
        if let Some(token) = &self.token {
            headers.push(header("token", "Authorization", format!("Bearer {token}"))?);
        }
        if let Some(key) = &self.api_key {
            headers.push(header("API key", "X-API-Key", key.clone())?);
        }
        if !headers.is_empty() && protocol(url).is_some_and(|p| !p.is_websocket()) {
            let why =
                "tcp:// and tcps:// carry neither token nor API key; use ws:// or wss://, or leave them out";
            return Err(ClientError::BadCredential { why: why.to_owned() });
        }
        let (connect_timeout, tls) = (self.connect_timeout, self.tls.clone());
        Ok(DialSettings { connect_timeout, limits, headers, tls, ..DialSettings::default() })
    }
}

/// Opens a connection to `url`.
pub async fn open(url: &str, settings: &DialSettings) -> Result<Link, ClientError> {
    dial(url, settings).await.map_err(|error| match error {
        DialError::Unusable(why) => ClientError::BadUrl { why },
        DialError::Refused { status: status @ (401 | 403), .. } => {
            ClientError::Refused { url: url.to_owned(), status }
        }
        DialError::Refused { status: status @ (429 | 503), .. } => {
            ClientError::Busy { url: url.to_owned(), status }
        }
        DialError::Tls { error, .. } => tls_fault(url, &error).unwrap_or_else(|| ClientError::TlsFailed {
            url: url.to_owned(),
            why: error.to_string(),
            remedy: NO_TLS_THERE,
        }),
        // With TLS 1.3 a node refuses a certificate only after our side of the handshake is done.
        DialError::Io(error) => match tls_fault(url, &error) {
            Some(fault) => fault,
            None => unreachable(url, DialError::Io(error).to_string()),
        },
        other => unreachable(url, other.to_string()),
    })
}

/// The scheme of a URL, where it is one that can be dialled.
pub fn protocol(url: &str) -> Option<Protocol> {
    Protocol::from_name(url.split_once("://")?.0)
}

/// Why a link ended that failed.
pub(super) fn failed(url: &str, error: LinkError) -> ClientError {
    let why = match error {
        LinkError::TooLarge { bytes, bytes_max } => {
            format!("a message of at least {bytes} bytes is larger than this client takes ({bytes_max})")
        }
        LinkError::Io(error) => match tls_fault(url, &error) {
            Some(fault) => return fault,
            None => error.to_string(),
        },
        other => other.to_string(),
    };
    ClientError::Lost { url: url.to_owned(), why }
}

/// Why a link ended that the other end closed.
pub(super) fn closed(url: &str, code: u16, reason: &str) -> ClientError {
    let why = match (code, reason) {
        (close_code::ABNORMAL, _) => "the other end broke it off without a word".to_owned(),
        (_, "") => "the node closed it".to_owned(),
        (_, reason) => format!("the node closed it: {reason} ({code})"),
    };
    ClientError::Lost { url: url.to_owned(), why }
}

fn unreachable(url: &str, why: String) -> ClientError {
    ClientError::Unreachable { url: url.to_owned(), why }
}

fn header(what: &str, name: &str, value: String) -> Result<(String, String), ClientError> {
    match HeaderValue::from_str(&value) {
        Ok(_) => Ok((name.to_owned(), value)),
        Err(_) => Err(ClientError::BadCredential {
            why: format!("the {what} has characters that no HTTP header may carry"),
        }),
    }
}

/// What TLS has against the other end, or the other end against us.
fn tls_fault(url: &str, error: &io::Error) -> Option<ClientError> {
    let fault = error.get_ref()?.downcast_ref::<TlsFault>()?;
    let remedy = match fault {
        TlsFault::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => {
            "Dial the node by a name that its certificate carries, or accept any certificate with --insecure."
        }
        TlsFault::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        ) => {
            "Renew tls.cert_file of the node and compare the clocks, or accept any certificate with --insecure."
        }
        TlsFault::InvalidCertificate(_) => {
            "Name the authority that signed it with --ca-file or MPREG_CA_FILE, or accept any certificate with --insecure."
        }
        TlsFault::AlertReceived(_) => {
            "Where the node demands a certificate of its clients (tls.client_auth), give one with --cert-file and --key-file."
        }
        _ => NO_TLS_THERE,
    };
    Some(ClientError::TlsFailed { url: url.to_owned(), why: fault.to_string(), remedy })
}

const NO_TLS_THERE: &str = "Does this port speak TLS? It needs a [[listen.endpoint]] of the node with protocol wss or tcps; ws:// and tcp:// are without TLS.";
