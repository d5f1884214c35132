//! Certificates of both ends, versions, and their exchange while the node runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_rustls::TlsConnector;
use futures_rustls::rustls::crypto::ring;
use futures_rustls::rustls::pki_types::{CertificateDer, pem::PemObject};
use futures_rustls::rustls::version::TLS12;
use futures_rustls::rustls::{ClientConfig, RootCertStore};
use mpreg::core::reason::Reason;
use mpreg::drive::certificate::link_facts;
use mpreg::drive::dial::{DialError, DialSettings, dial};
use mpreg::drive::link::{Incoming, Protocol};
use mpreg::drive::tls::{ClientAuth, TlsIdentity, TlsSettings, TlsTrust, TlsVersion};
use rcgen::ExtendedKeyUsagePurpose;
use smol::net::TcpStream;

use crate::kit::*;

#[test]
fn client_certificates_are_checked_as_configured() {
    let authority = Authority::new();
    let stranger = Authority::new();
    let friend = authority.issue("friend", ExtendedKeyUsagePurpose::ClientAuth);
    let foe = stranger.issue("foe", ExtendedKeyUsagePurpose::ClientAuth);
    let masquerade = authority.issue("masquerade", ExtendedKeyUsagePurpose::ServerAuth);
    for (auth, pair, good) in [
        (ClientAuth::Required, Some(&friend), true),
        (ClientAuth::Required, None, false),
        (ClientAuth::Required, Some(&foe), false),
        (ClientAuth::Required, Some(&masquerade), false),
        (ClientAuth::Optional, Some(&friend), true),
        (ClientAuth::Optional, None, true),
        (ClientAuth::Optional, Some(&foe), false),
        (ClientAuth::None, Some(&foe), true),
    ] {
        for protocol in [Protocol::Wss, Protocol::Tcps] {
            run(async |ex| {
                let identity = authority.identity(|s| {
                    s.client_auth = auth;
                    s.ca_file = Some(authority.ca_file());
                });
                let server = Server::start(ex, protocol, identity);
                let trust = authority.trust_with(|s| {
                    s.cert_file = pair.map(|p| p.0.clone());
                    s.key_file = pair.map(|p| p.1.clone());
                });
                // With TLS 1.3 the client sees the refusal at its first reading.
                let echoed = async {
                    let mut link = server.dial(&trust).await.ok()?;
                    link.send(Bytes::from_static(b"known")).await.ok()?;
                    matches!(link.read().await, Ok(Incoming::Message(_))).then_some(())
                };
                assert_eq!(echoed.await.is_some(), good, "{protocol} {auth:?}");
                if good {
                    let chain = server.state.borrow().peers.last().unwrap().client_certificates.len();
                    assert_eq!(chain, usize::from(pair.is_some() && auth != ClientAuth::None));
                } else {
                    server.ended(|end| *end == End::Handshake(Reason::HandshakeRefused)).await;
                }
            });
        }
    }
}

#[test]
fn the_certificate_of_the_other_end_is_checked_unless_told_otherwise() {
    let authority = Authority::new();
    let stranger = Authority::new();
    run(async |ex| {
        let server = Server::start(ex, Protocol::Wss, authority.identity(|_| {}));
        match server.dial(&stranger.trust()).await {
            Err(DialError::Tls { host, error }) => {
                assert!(host == "127.0.0.1" && error.to_string().contains("UnknownIssuer"))
            }
            other => panic!("{other:?}"),
        }
        let blind = stranger.trust_with(|s| s.verify_peers = false);
        server.dial(&blind).await.unwrap();
        let other_name = authority.trust_with(|s| s.server_name = Some("elsewhere.example".to_owned()));
        assert!(matches!(server.dial(&other_name).await, Err(DialError::Tls { .. })));
        let right_name = authority.trust_with(|s| s.server_name = Some("localhost".to_owned()));
        server.dial(&right_name).await.unwrap();
        assert!(matches!(server.dial(&None).await, Err(DialError::Unusable(_))));
    });
}

#[test]
fn an_old_version_is_refused_where_the_new_one_is_demanded() {
    let authority = Authority::new();
    run(async |ex| {
        let server =
            Server::start(ex, Protocol::Wss, authority.identity(|s| s.min_version = TlsVersion::V1_3));
        server.dial(&authority.trust_with(|s| s.min_version = TlsVersion::V1_3)).await.unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority.ca_file()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&TLS12])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(server.address).await.unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let error = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap_err();
        assert!(error.to_string().contains("ProtocolVersion"), "{error}");
        server.ended(|end| *end == End::Handshake(Reason::HandshakeRefused)).await;
    });
}

#[test]
fn plain_text_on_a_tls_port_and_tls_on_a_plain_port_end_quickly() {
    let authority = Authority::new();
    run(async |ex| {
        let start = Instant::now();
        let tls = Server::start(ex, Protocol::Wss, authority.identity(|_| {}));
        let plain = Server::start(ex, Protocol::Ws, None);
        let dialled = dial(&format!("ws://{}", tls.address), &DialSettings::default()).await;
        assert!(
            matches!(dialled, Err(DialError::Refused { status: 0, .. } | DialError::Io(_))),
            "{dialled:?}"
        );
        tls.ended(|end| *end == End::Handshake(Reason::HandshakeRefused)).await;
        let settings = DialSettings { tls: authority.trust(), ..DialSettings::default() };
        let dialled = dial(&format!("wss://{}", plain.address), &settings).await;
        assert!(matches!(dialled, Err(DialError::Tls { .. })), "{dialled:?}");
        plain.ended(|end| *end == End::Handshake(Reason::HandshakeRefused)).await;
        let mut raw = Raw::connect(&tls).await;
        raw.send(b"\0\0\0\x02{}").await;
        raw.ended().await;
        assert!(start.elapsed() < Duration::from_secs(5));
    });
}

#[test]
fn a_new_certificate_is_taken_on_reload_and_open_links_go_on() {
    let (old, new) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let pair = (folder.path().join("cert.pem"), folder.path().join("cert.key"));
    let put = |source: (PathBuf, PathBuf)| {
        std::fs::copy(source.0, &pair.0).unwrap();
        std::fs::copy(source.1, &pair.1).unwrap();
    };
    put(old.server());
    run(async |ex| {
        let settings = TlsSettings {
            cert_file: Some(pair.0.clone()),
            key_file: Some(pair.1.clone()),
            ..TlsSettings::default()
        };
        let identity = Arc::new(TlsIdentity::load(settings).unwrap());
        let server = Server::start(ex, Protocol::Wss, Some(identity.clone()));
        let mut link = server.dial(&old.trust()).await.unwrap();

        std::fs::write(&pair.0, "nonsense").unwrap();
        assert_eq!(identity.reload().unwrap_err().key, "tls.cert_file");
        server.dial(&old.trust()).await.unwrap();

        put(new.server());
        identity.reload().unwrap();
        server.dial(&new.trust()).await.unwrap();
        assert!(matches!(server.dial(&old.trust()).await, Err(DialError::Tls { .. })));
        link.send(Bytes::from_static(b"still here")).await.unwrap();
        assert_eq!(link.read().await.unwrap(), Incoming::Message(Bytes::from_static(b"still here")));
    });
}

#[test]
fn faulty_certificate_files_are_named() {
    let authority = Authority::new();
    let (cert, key) = authority.server();
    let (_, other_key) = authority.issue("other", ExtendedKeyUsagePurpose::ServerAuth);
    let gone = PathBuf::from("/nowhere/cert.pem");
    let cases = [
        (Some(&gone), Some(&key), None, ClientAuth::None, "tls.cert_file: /nowhere/cert.pem: No such file"),
        (Some(&cert), Some(&gone), None, ClientAuth::None, "tls.key_file: /nowhere/cert.pem: No such file"),
        (Some(&cert), None, None, ClientAuth::None, "tls.key_file: tls.cert_file is set without its key"),
        (None, Some(&key), None, ClientAuth::None, "tls.cert_file: tls.key_file is set without"),
        (None, None, None, ClientAuth::None, "tls.cert_file: an endpoint with TLS needs a certificate"),
        (Some(&key), Some(&key), None, ClientAuth::None, "no certificate in PEM form in it"),
        (Some(&cert), Some(&cert), None, ClientAuth::None, "no private key in PEM form in it"),
        (
            Some(&cert),
            Some(&other_key),
            None,
            ClientAuth::None,
            "the key does not belong to the certificate in",
        ),
        (Some(&cert), Some(&key), None, ClientAuth::Required, "tls.ca_file: tls.client_auth needs"),
        (Some(&cert), Some(&key), Some(&gone), ClientAuth::Required, "tls.ca_file: /nowhere/cert.pem"),
    ];
    for (cert_file, key_file, ca_file, client_auth, fault) in cases {
        let settings = TlsSettings {
            cert_file: cert_file.cloned(),
            key_file: key_file.cloned(),
            ca_file: ca_file.cloned(),
            client_auth,
            ..TlsSettings::default()
        };
        let error = TlsIdentity::load(settings).unwrap_err().to_string();
        assert!(error.contains(fault), "{error}\nexpected: {fault}");
    }
    let settings = TlsSettings { ca_file: Some(gone), ..TlsSettings::default() };
    assert_eq!(TlsTrust::load(settings).unwrap_err().key, "tls.ca_file");
}

#[test]
fn a_dialled_link_says_what_the_other_end_proved() {
    let authority = Authority::new();
    run(async |ex| {
        let server = Server::start(ex, Protocol::Tcps, authority.identity(|_| {}));
        let link = server.dial(&authority.trust_with(|_| {})).await.expect("a link");
        let facts = link_facts(&link, true, true);
        let names = facts.certificate.expect("the certificate of the server");
        assert!(facts.encrypted && !(names.dns.is_empty() && names.addresses.is_empty()), "{names:?}");
        assert_eq!(link.peer_address(), Some(server.address));
        let unverified = link_facts(&link, false, true);
        assert!(unverified.encrypted && unverified.certificate.is_none());

        let plain = Server::start(ex, Protocol::Tcp, None);
        let facts = link_facts(&plain.dial(&None).await.expect("a link"), true, true);
        assert!(!facts.encrypted && facts.certificate.is_none());
    });
}
