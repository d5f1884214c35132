//! How a node starts, and how it refuses to.

use std::net::TcpListener;

use serde_json::json;

use super::kit::*;

#[test]
fn start_lines_port_file_and_node_id_agree() {
    let node = Node::start("[node]\nname = \"n1\"\n[listen]\nport_file = \"DIR/port\"\n");
    let url = node.url();
    assert_eq!(node.stdout(), [format!("Server endpoint: {url}"), format!("MPREG_URL={url}")]);
    assert_eq!(std::fs::read_to_string(node.folder.path().join("port")).unwrap(), format!("{}\n", node.port));
    assert!((10_000..=16_000).contains(&node.port), "{}", node.port);
    let ready = node.logged_text("ready in");
    assert!(
        ready.contains(&format!("node_id={url}")) && ready.contains("cluster=default-cluster"),
        "{ready}"
    );
    node.stop();
}

#[test]
fn a_node_knows_itself_in_its_catalog() {
    let node = Node::start(
        "[node]\ncluster_id = \"c7\"\nresources = [\"r\"]\n[listen]\nport_range = \"16100-16900\"\n",
    );
    assert!((16_100..=16_900).contains(&node.port));
    run(async |_| {
        let mut wire = node.wire().await;
        let answer = wire.call("cluster_map", json!([])).await;
        let nodes = &answer["r"]["c"]["nodes"];
        assert_eq!(nodes[0]["node_id"], json!(node.url()), "{answer}");
        assert_eq!(nodes[0]["cluster_id"], "c7");
        assert_eq!(nodes[0]["resources"], json!(["r"]));
    });
}

#[test]
fn an_id_with_port_0_stands_for_the_bound_port() {
    let node = Node::start("[node]\nid = \"ws://node.example:0\"\n");
    node.logged_text(&format!("node_id=ws://node.example:{}", node.port));
}

#[test]
fn all_faults_of_a_configuration_are_told_and_nothing_is_created() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[node]\nstop_timeout = \"soon\"\nstate_dir = \"DIR/state\"\n[listen]\nport = 70000\n\
                port_file = \"DIR/port\"\nprot = 1\n[limits]\nbacklog = \"-1\"\n";
    let output = refused(folder.path(), text);
    assert_eq!(output.status.code(), Some(78));
    let told = String::from_utf8(output.stderr).unwrap();
    for (line, key) in
        [(4, "node.stop_timeout"), (7, "listen.port"), (9, "listen.prot"), (11, "limits.backlog")]
    {
        let place = format!("node.toml:{line}:");
        assert!(told.lines().any(|l| l.contains(&place) && l.contains(key)), "{key}: {told}");
    }
    assert!(
        told.contains("4 errors, nothing started") && told.contains("did you mean `listen.port`"),
        "{told}"
    );
    assert!(output.stdout.is_empty());
    let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(files, ["node.toml"]);
}

#[test]
fn a_file_that_is_not_there_or_no_toml_is_a_fault_of_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.toml").display().to_string();
    let output = program(&["server", "start-config", &missing]).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stderr).contains(&missing));
    let output = refused(folder.path(), "[listen\n");
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stderr).contains("node.toml:3:"), "{output:?}");
}

#[test]
fn a_key_that_is_not_served_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let output = refused(folder.path(), "[dns]\nenabled = true\nport = 0\n[queue]\nenabled = true\n");
    assert_eq!(output.status.code(), Some(78));
    let told = String::from_utf8(output.stderr).unwrap();
    for (key, module) in [("dns.enabled", "dns"), ("queue.enabled", "queue")] {
        let text = format!("`{key}` needs the module {module}, which this build does not have");
        assert!(told.contains(&text), "{told}");
    }
}

#[test]
fn a_port_in_use_ends_with_one_line_that_says_what_to_do() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    let output = refused(folder.path(), &format!("[listen]\nport = {port}\nport_file = \"DIR/port\"\n"));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<_> = told.lines().filter(|l| l.contains("ERROR")).collect();
    assert_eq!(lines.len(), 1, "{told}");
    assert!(lines[0].contains("listen.port: ") && lines[0].contains(&format!("127.0.0.1:{port}")), "{told}");
    assert!(lines[0].contains("in use; stop what listens there or choose another"), "{told}");
    assert!(output.stdout.is_empty() && !folder.path().join("port").exists());

    let text = format!("[[listen.endpoint]]\nprotocol = \"tcp\"\nport = {port}\n");
    let output = refused(folder.path(), &text);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("listen.endpoint[0].port: "), "{output:?}");
}

#[test]
fn a_full_port_range_is_named() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    let output = refused(folder.path(), &format!("[listen]\nport_range = \"{port}-{port}\"\n"));
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("listen.port_range: no free port") && told.contains("widen the range"), "{told}");
}

#[test]
fn a_port_file_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let output = refused(folder.path(), "[listen]\nport_file = \"DIR/nowhere/port\"\n");
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains("listen.port_file: cannot write") && told.contains("create the directory"),
        "{told}"
    );
}

#[test]
fn missing_tls_files_are_named_with_their_keys() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[tls]\ncert_file = \"DIR/no.pem\"\nkey_file = \"DIR/no.key\"\n\
                [[listen.endpoint]]\nprotocol = \"wss\"\n";
    let output = refused(folder.path(), text);
    assert_eq!(output.status.code(), Some(78));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("`tls.cert_file`: ") && told.contains("`tls.key_file`: "), "{told}");
    assert!(told.contains("no.pem") && told.contains("no.key"), "{told}");
    let output = refused(folder.path(), "[[listen.endpoint]]\nprotocol = \"tcps\"\n");
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stderr).contains("needs `tls.cert_file`"), "{output:?}");
}

#[test]
fn options_of_the_command_line_win_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("node.toml");
    std::fs::write(&file, "[listen]\nport = 1\n[monitoring]\nenabled = false\n").unwrap();
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let set = format!("listen.port={port}");
    let output =
        program(&["server", "start-config", &file.display().to_string(), "--set", &set]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains(&format!("127.0.0.1:{port}")), "{output:?}");
}
