//! Listeners: framings, TLS, classes and limits.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mpreg::drive::dial::{DialSettings, dial};
use mpreg::drive::tls::{TlsSettings, TlsTrust};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use serde_json::json;
use tempfile::TempDir;

use super::kit::*;

/// A certificate authority whose files are in the folder of a node.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Writes `ca.pem`, and `server.pem` with its key.
    pub fn new(folder: &Path) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, folder.display().to_string());
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(folder.join("ca.pem"), certificate.pem()).unwrap();
        let authority = Authority { issuer: Issuer::new(params, key) };
        authority.issue(folder, "server", ExtendedKeyUsagePurpose::ServerAuth);
        authority
    }

    pub fn issue(&self, folder: &Path, name: &str, usage: ExtendedKeyUsagePurpose) -> (PathBuf, PathBuf) {
        self.issue_with(folder, name, usage, &[])
    }

    /// The same with names of nodes or clusters.
    pub fn issue_with(
        &self,
        folder: &Path,
        name: &str,
        usage: ExtendedKeyUsagePurpose,
        uris: &[&str],
    ) -> (PathBuf, PathBuf) {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        let uris = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap()));
        params.subject_alt_names.extend(uris);
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let (file, key_file) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        std::fs::write(&file, certificate.pem()).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(0o600)).unwrap();
        (file, key_file)
    }
}

/// Trusts the authority in `folder` alone.
pub fn trust(folder: &Path, own: Option<(PathBuf, PathBuf)>) -> DialSettings {
    let (cert_file, key_file) = own.unzip();
    let settings =
        TlsSettings { ca_file: Some(folder.join("ca.pem")), cert_file, key_file, ..TlsSettings::default() };
    DialSettings { tls: Some(Arc::new(TlsTrust::load(settings).unwrap())), ..DialSettings::default() }
}

pub fn folder_with_authority() -> (TempDir, Authority) {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    (folder, authority)
}

pub const TLS: &str = "[tls]\ncert_file = \"DIR/server.pem\"\nkey_file = \"DIR/server.key\"\n";

fn endpoint(protocol: &str, more: &str) -> String {
    format!("[[listen.endpoint]]\nprotocol = \"{protocol}\"\n{more}\n")
}

#[test]
fn calls_and_messages_go_over_every_transport() {
    let (folder, _authority) = folder_with_authority();
    let text = TLS.to_owned() + &endpoint("tcp", "") + &endpoint("tcps", "") + &endpoint("wss", "");
    let node = Node::start_in(folder, &text);
    run(async |_| {
        let settings = trust(node.folder.path(), None);
        let mut main = node.wire().await;
        main.subscribe("main", "a.#", 0).await;
        for (n, protocol) in ["tcp", "tcps", "wss"].into_iter().enumerate() {
            let mut wire = Wire::open(&node.endpoint(protocol), &settings).await;
            assert_eq!(wire.call("echo", json!([protocol])).await["r"]["c"], protocol);
            wire.subscribe("s", "b.#", 0).await;
            assert_eq!(wire.publish("a.b", json!(n)).await["success"], true);
            assert_eq!(main.next().await["message"]["payload"], json!(n));
            wire.leave().await;
        }
    });
    node.stop();
}

#[test]
fn a_client_must_show_a_certificate_where_that_is_required() {
    let (folder, authority) = folder_with_authority();
    let own = authority.issue(folder.path(), "client", ExtendedKeyUsagePurpose::ClientAuth);
    let text =
        TLS.to_owned() + "ca_file = \"DIR/ca.pem\"\nclient_auth = \"required\"\n" + &endpoint("wss", "");
    let node = Node::start_in(folder, &text);
    run(async |_| {
        let url = node.endpoint("wss");
        assert!(dial(&url, &trust(node.folder.path(), None)).await.is_err());
        node.logged("the refusal", |line| {
            line.contains("reason=handshake_refused") && line.contains("TLS handshake failed")
        });
        let mut wire = Wire::open(&url, &trust(node.folder.path(), Some(own))).await;
        assert_eq!(wire.call("echo", json!([1])).await["r"]["c"], 1);
    });
}

#[test]
fn classes_decide_who_is_served_on_a_listener() {
    let text = endpoint("ws", "class = \"internal\"") + &endpoint("tcp", "class = \"client\"");
    let node = Node::start(&text);
    run(async |_| {
        let mut wire = Wire::open(&node.endpoint("ws"), &DialSettings::default()).await;
        wire.send(request("1", json!([command("c", "echo", json!([1]))]))).await;
        assert_eq!(wire.closed().await, (1008, "not served on this listener".to_owned()));
        let mut wire = Wire::open(&node.endpoint("tcp"), &DialSettings::default()).await;
        assert_eq!(wire.call("echo", json!([1])).await["r"]["c"], 1);
        wire.send(json!({"role": "server", "u": "1", "server": {"what": "STATUS"}})).await;
        wire.closed().await;
        node.logged_times("wrong class of listener", 2).await;
    });
}

#[test]
fn connections_are_limited() {
    let node = Node::start("[listen]\nmax_connections = 2\n");
    run(async |_| {
        let (one, mut two) = (node.wire().await, node.wire().await);
        let refused = dial(&node.url(), &DialSettings::default()).await.unwrap_err().to_string();
        assert!(refused.contains("503") && refused.contains("listen.max_connections"), "{refused}");
        let line = node.logged_text("reason=connections_limit");
        assert!(line.contains("listen.max_connections"), "{line}");
        assert_eq!(two.call("echo", json!([1])).await["r"]["c"], 1);
        one.leave().await;
        eventually("room", async || dial(&node.url(), &DialSettings::default()).await.is_ok()).await;
    });
}

/// More than are answered at a time, and none of them asks anything.
#[test]
fn a_stampede_at_a_full_node_is_counted_and_hurts_nobody() {
    let node = Node::start("[listen]\nmax_connections = 1\n[monitoring]\nenabled = true\n");
    run(async |_| {
        let mut one = node.wire().await;
        let connect = || std::net::TcpStream::connect(("127.0.0.1", node.port)).unwrap();
        let crowd: Vec<_> = (0..200).map(|_| connect()).collect();
        node.refused_times("connections_limit", 200).await;
        assert_eq!(one.call("echo", json!([1])).await["r"]["c"], 1);
        drop(crowd);
        one.leave().await;
        eventually("room", async || dial(&node.url(), &DialSettings::default()).await.is_ok()).await;
    });
}

#[test]
fn connections_count_from_their_first_byte() {
    let node = Node::start("[listen]\nmax_connections = 2\n");
    run(async |_| {
        let connect = || std::net::TcpStream::connect(("127.0.0.1", node.port)).unwrap();
        let silent = [connect(), connect()];
        assert!(dial(&node.url(), &DialSettings::default()).await.is_err());
        node.logged_text("reason=connections_limit");
        drop(silent);
        eventually("room", async || dial(&node.url(), &DialSettings::default()).await.is_ok()).await;
    });
}

#[test]
fn a_message_above_the_limit_ends_its_connection_with_1009() {
    let node = Node::start(&("[listen]\nmax_message = \"64KiB\"\n".to_owned() + &endpoint("tcp", "")));
    run(async |_| {
        let mut other = node.wire().await;
        for url in [node.url(), node.endpoint("tcp")] {
            let mut wire = Wire::open(&url, &DialSettings::default()).await;
            let value = "x".repeat(60_000);
            assert_eq!(wire.call("echo", json!([value])).await["r"]["c"], json!(value));
            wire.send(request("2", json!([command("c", "echo", json!(["x".repeat(70_000)]))]))).await;
            let (code, text) = wire.closed().await;
            if url.starts_with("ws") {
                assert_eq!((code, text.as_str()), (1009, "message of more than 65536 bytes"));
            }
        }
        node.logged_times("reason=message_too_large", 2).await;
        assert_eq!(other.call("echo", json!([1])).await["r"]["c"], 1);
    });
}

#[test]
fn what_is_no_upgrade_is_answered_in_http() {
    let node = Node::start("");
    let answer = exchange_raw(node.port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    let answer = exchange_raw(node.port, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    node.logged_text("reason=handshake_refused");
}

#[test]
fn idle_clients_are_sent_away_and_those_who_wait_for_something_are_not() {
    let text =
        "[listen]\nidle_timeout = \"300ms\"\n".to_owned() + &endpoint("tcp", "") + &function("t.slow", "");
    let node = Node::start(&(text + &function("t.release", "")));
    run(async |_| {
        let url = node.endpoint("tcp");
        let settings = DialSettings::default();
        let (mut idle, mut subscriber) =
            (Wire::open(&url, &settings).await, Wire::open(&url, &settings).await);
        let mut caller = Wire::open(&url, &settings).await;
        subscriber.subscribe("s", "a", 0).await;
        caller.send(request("1", json!([command("c", "t.slow", json!(["x"]))]))).await;
        idle.closed().await;
        let mut other = node.wire().await;
        assert_eq!(other.publish("a", json!(1)).await["success"], true);
        assert_eq!(subscriber.next().await["message"]["payload"], 1);
        assert_eq!(other.call("t.release", json!([])).await["r"]["c"], true);
        assert_eq!(caller.next().await["r"]["c"], "x");
        caller.closed().await;
        // Those on WebSocket answer pings, and are not idle.
        assert_eq!(other.call("t.release", json!([])).await["r"]["c"], true);
    });
}
