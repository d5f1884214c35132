//! Configurations in the manual, and the one that is installed: each passes the check.

use std::fs;
use std::path::Path;

use mpreg::config::{self, Kind, LoadRequest};

use crate::{commands, page};

#[test]
fn every_configuration_that_is_shown_passes_the_check() {
    let folder = tempfile::tempdir().unwrap();
    commands::certificates(folder.path());
    let key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    commands::private_file(&folder.path().join("keys/route.pem"), key);
    fs::write(folder.path().join("keys/us-east.pub"), commands::PUBLIC_KEY).unwrap();
    let mut checked = 0;
    for display in page::displays("mpreg.toml.5").iter().filter(|display| display.text.starts_with('[')) {
        let text = display.text.replace("/etc/mpreg", &folder.path().display().to_string());
        let path = folder.path().join("server.toml");
        fs::write(&path, &text).unwrap();
        match config::load(&request(&path)) {
            Ok(loaded) => assert!(loaded.notices.is_empty(), "{text}{:?}", loaded.notices),
            Err(faults) => panic!("{text}{faults}"),
        }
        checked += 1;
    }
    assert!(checked >= 4, "{checked}");
}

/// As it is installed it makes a safe node, and taking away any one # gives a configuration that passes.
#[test]
fn every_key_of_the_example_can_be_taken_on_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.toml");
    let text = config::example();
    fs::write(&path, &text).unwrap();
    let settings = config::load(&request(&path)).unwrap().settings;
    assert_eq!(settings, config::load(&LoadRequest::default()).unwrap().settings);
    assert!(settings.listen.host == "127.0.0.1" && settings.monitoring.host == "127.0.0.1");
    assert!(settings.listen.endpoint.is_empty() && !settings.dns.enabled);

    let lines: Vec<&str> = text.lines().collect();
    let mut faults = String::new();
    let mut seen = Vec::new();
    let mut table = String::new();
    for (n, line) in lines.iter().enumerate() {
        if let Some(header) = header(line) {
            table = header.to_owned();
        } else if let Some(name) = key(line) {
            let full = if table.is_empty() { name.to_owned() } else { format!("{table}.{name}") };
            let mut taken = needed(&lines, &table);
            taken.push(n);
            let text: String = lines
                .iter()
                .enumerate()
                .map(|(at, line)| {
                    let line = if taken.contains(&at) { line.trim_start_matches('#') } else { line };
                    let filled = FILLED.iter().find(|(empty, _)| taken.contains(&at) && line == *empty);
                    format!("{}\n", filled.map_or(line, |(_, filled)| filled))
                })
                .collect();
            fs::write(&path, text).unwrap();
            let loaded = config::load(&request(&path));
            // A private key that everybody knows would be worse than a refusal.
            if full == "route.security.signing_key" {
                assert!(loaded.is_err(), "a key that stands in an example");
            } else if let Err(fault) = loaded {
                faults += &format!("{full}: {fault}");
            }
            seen.push(full);
        }
    }
    assert!(faults.is_empty(), "{faults}");
    let keys = config::schema().iter().filter(|key| !matches!(key.row.kind, Kind::Tables(_)));
    let missing: Vec<&str> =
        keys.map(|key| key.path.as_str()).filter(|path| !seen.iter().any(|s| s == path)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// One member of the element must be filled in, whichever; the others may stay empty.
const FILLED: &[(&str, &str)] = &[
    (
        "public_key = \"\"",
        "public_key = \"03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8\"",
    ),
    ("token = \"...\"", "token = \"t\""),
];

/// The table that a line begins, commented out or not.
fn header(line: &str) -> Option<&str> {
    let line = line.strip_prefix('#').unwrap_or(line);
    line.starts_with('[').then(|| line.trim_matches(['[', ']']))
}

/// The key of a line `#key = value`.
fn key(line: &str) -> Option<&str> {
    let (name, _) = line.strip_prefix('#')?.split_once(" = ")?;
    name.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit()).then_some(name)
}

/// The lines without which nothing in this table can stand: the headers around it, and what their elements require.
fn needed(lines: &[&str], table: &str) -> Vec<usize> {
    let mut taken = Vec::new();
    let mut current = "";
    for (n, line) in lines.iter().enumerate() {
        if let Some(header) = header(line) {
            current = header;
        }
        let is_around = table == current || table.starts_with(&format!("{current}."));
        let required = key(line).is_some_and(|name| {
            let is_required = |key: &config::Key| key.row.default == "required";
            config::key(&format!("{current}.{name}")).is_some_and(is_required)
                || matches!(
                    (current, name),
                    ("route.security.key", "public_key") | ("tenants.credential", "token")
                )
        });
        if !current.is_empty() && is_around && (header(line).is_some() || required) {
            taken.push(n);
        }
    }
    taken
}

fn request(path: &Path) -> LoadRequest {
    LoadRequest { path: Some(path.to_owned()), ..LoadRequest::default() }
}
