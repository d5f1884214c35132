//! Documents over HTTP and HTTPS: sizes, times, and what is no answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_rustls::TlsAcceptor;
use futures_rustls::rustls::ServerConfig;
use mpreg::drive::fetch::{FetchError, FetchSettings, fetch};
use mpreg::drive::resolve::Resolver;
use mpreg::drive::tls::TlsTrust;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use smol::LocalExecutor;
use smol::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use smol::net::TcpListener;

use crate::kit::*;

/// Gives `answer` to every request; the requests go into the channel.
async fn serve(
    ex: &LocalExecutor<'static>,
    tls: Option<TlsAcceptor>,
    answer: &'static str,
) -> (SocketAddr, smol::channel::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, requests) = smol::channel::unbounded();
    ex.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            match &tls {
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => exchange(stream, answer, &asked).await,
                    Err(_) => continue,
                },
                None => exchange(stream, answer, &asked).await,
            }
        }
    })
    .detach();
    (address, requests)
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: &str,
    asked: &smol::channel::Sender<String>,
) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).await.is_ok_and(|n| n == 1) {
        head.push(byte[0]);
    }
    asked.send(String::from_utf8(head).unwrap()).await.unwrap();
    if answer == "silence" {
        smol::future::pending::<()>().await;
    }
    // The other end may have had enough.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.close().await;
}

fn how(time_max: Duration, tls: Option<Arc<TlsTrust>>) -> FetchSettings {
    FetchSettings { time_max, bytes_max: 8, tls, resolver: Resolver::system() }
}

const LONG: Duration = Duration::from_secs(10);

#[test]
fn a_document_is_fetched_by_one_request() {
    run(async |ex| {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
            "HTTP/1.0 200 OK\r\n\r\nhello",
        ] {
            let (address, requests) = serve(ex, None, answer).await;
            let url = format!("http://localhost:{}/a/b?c=d", address.port());
            assert_eq!(fetch(&url, &how(LONG, None)).await.unwrap(), b"hello");
            let request = requests.recv().await.unwrap().to_lowercase();
            assert!(request.starts_with("get /a/b?c=d http/1.1\r\n"), "{request}");
            assert!(request.contains(&format!("\r\nhost: localhost:{}\r\n", address.port())), "{request}");
        }
    });
}

#[test]
fn what_is_no_document_is_told() {
    run(async |ex| {
        for (answer, told) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123456789", "more than 8 bytes"),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n123456789\r\n0\r\n\r\n",
                "more than 8 bytes",
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", "no document came"),
            ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "HTTP 404"),
            ("HTTP/1.1 204 No Content\r\n\r\n", "HTTP 204"),
            (
                "HTTP/1.1 301 Moved\r\nLocation: http://localhost/\r\nContent-Length: 0\r\n\r\n",
                "redirections are not followed",
            ),
            ("SSH-2.0-x\r\n", "no document came"),
            ("", "no document came"),
        ] {
            let (address, _requests) = serve(ex, None, answer).await;
            let error = fetch(&format!("http://{address}/"), &how(LONG, None)).await.unwrap_err();
            assert!(error.to_string().contains(told), "{answer}: {error}");
        }
        let (address, _requests) = serve(ex, None, "silence").await;
        let short = how(Duration::from_millis(100), None);
        let error = fetch(&format!("http://{address}/"), &short).await.unwrap_err();
        assert!(matches!(error, FetchError::TimedOut(_)), "{error}");
        for url in ["ftp://a/", "http://", "http://a:b/", "http://me:secret@a/", "https://localhost:1/"] {
            let error = fetch(url, &how(LONG, None)).await.unwrap_err();
            let unusable = matches!(&error, FetchError::Unusable(why) if !why.contains("secret"));
            assert!(unusable || url.starts_with("https"), "{url}: {error}");
        }
    });
}

#[test]
fn a_protected_document_needs_a_certificate_that_is_trusted() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (chain, key) = authority.server();
    let chain = CertificateDer::pem_file_iter(chain).unwrap().collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    run(async |ex| {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        let (address, _requests) = serve(ex, Some(Arc::new(config).into()), answer).await;
        let url = format!("https://localhost:{}/", address.port());
        assert_eq!(fetch(&url, &how(LONG, authority.trust())).await.unwrap(), b"ok");
        let error = fetch(&url, &how(LONG, stranger.trust())).await.unwrap_err();
        assert!(error.to_string().contains("TLS handshake"), "{error}");
    });
}
