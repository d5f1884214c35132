//! Dialling, binding, and what both say when it fails.

use std::future::Future;
use std::time::Duration;

use mpreg::drive::dial::{DialError, DialSettings, dial};
use mpreg::drive::handshake::accept_link;
use mpreg::drive::link::{Link, Protocol};
use mpreg::drive::listen::{EndpointClass, EndpointSettings, Listener};
use smol::net::TcpStream;

use crate::kit::*;

#[test]
fn dial_errors_say_what_failed() {
    run(async |ex| {
        let settings =
            DialSettings { connect_timeout: Duration::from_millis(100), ..DialSettings::default() };
        for url in [
            "",
            "nonsense",
            "http://localhost:1",
            "tcp://localhost",
            "ws://",
            "ws://:7000",
            "ws://a:0",
            "ws://a:b",
        ] {
            match dial(url, &settings).await {
                Err(DialError::Unusable(why)) => assert!(why.starts_with(url), "{why}"),
                other => panic!("{url}: {other:?}"),
            }
        }
        match dial("ws://me:secret@localhost:1/", &settings).await {
            Err(DialError::Unusable(why)) => assert!(!why.contains("secret"), "{why}"),
            other => panic!("{other:?}"),
        }
        let closed = {
            let (listener, _) = bind(Protocol::Ws, None);
            listener.local_addr()
        };
        match dial(&format!("ws://{closed}"), &settings).await {
            Err(DialError::Connect { address, error }) => {
                assert_eq!(address, closed);
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
            }
            other => panic!("{other:?}"),
        }
        let (deaf, _) = bind(Protocol::Ws, None);
        let dialled = dial(&format!("ws://{}", deaf.local_addr()), &settings).await;
        assert!(matches!(dialled, Err(DialError::TimedOut(_))), "{dialled:?}");
        let framed = Server::start(ex, Protocol::Tcp, None);
        let dialled = dial(&format!("ws://{}", framed.address), &settings).await;
        assert!(matches!(dialled, Err(DialError::Io(_))), "{dialled:?}");
    });
}

#[test]
fn names_and_addresses_of_both_versions_can_be_dialled() {
    run(async |ex| {
        for (host, literal) in
            [("127.0.0.1", "127.0.0.1"), ("localhost", "localhost"), ("::1", "[::1]"), ("[::1]", "[::1]")]
        {
            let endpoint = EndpointSettings {
                protocol: Protocol::Ws,
                host: host.to_owned(),
                port: 0,
                class: EndpointClass::Any,
                tls: None,
            };
            let listener = match Listener::bind(&endpoint) {
                Ok(listener) => listener,
                // A machine without IPv6.
                Err(e) if host.contains(':') => {
                    assert!(!matches!(e.kind(), std::io::ErrorKind::InvalidInput), "{e}");
                    continue;
                }
                Err(e) => panic!("{e}"),
            };
            let port = listener.local_addr().port();
            let _serving = ex.spawn(async move {
                let accepted = listener.accept().await;
                let settings = accept_settings(Protocol::Ws, None);
                accept_link(accepted, &settings, |_| Ok(())).await
            });
            dial(&format!("ws://{literal}:{port}/path"), &DialSettings::default()).await.unwrap();
        }
    });
}

#[test]
fn a_port_in_use_is_an_error_and_a_port_just_closed_is_not() {
    run(async |_| {
        let (listener, _) = bind(Protocol::Ws, None);
        let mut endpoint = listener.settings().clone();
        endpoint.port = listener.local_addr().port();
        let error = Listener::bind(&endpoint).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&endpoint.port.to_string()), "{error}");
        // Leave a connection in TIME_WAIT on the server's side, then bind again.
        let raw = TcpStream::connect(listener.local_addr()).await.unwrap();
        drop(listener.accept().await);
        drop((raw, listener));
        Listener::bind(&endpoint).unwrap();
        endpoint.protocol = Protocol::Wss;
        assert_eq!(Listener::bind(&endpoint).unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    });
}

#[test]
fn handshakes_may_run_on_any_executor() {
    fn needs_send<F: Future + Send>(_: F) {}
    fn is_send<T: Send>() {}
    is_send::<Link>();
    let (listener, settings) = bind(Protocol::Ws, None);
    let dial_settings = DialSettings::default();
    needs_send(dial("ws://127.0.0.1:1", &dial_settings));
    needs_send(async {
        let accepted = listener.accept().await;
        accept_link(accepted, &settings, |_| Ok(())).await
    });
}
