//! The examples: every file in `configs` passes the checker, the quick start starts, and `config example` is the
//! defaults.

// Enforced inside `core` only, see `clippy.toml`.
#![allow(clippy::disallowed_methods)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use mpreg::config::{self, LoadRequest};

fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mpreg"));
    command.args(args).current_dir(env!("CARGO_MANIFEST_DIR")).env_clear();
    command.env("PATH", std::env::var("PATH").unwrap_or_default());
    command
}

fn check(path: &Path) -> Output {
    program(&["config", "check", &path.display().to_string()]).output().unwrap()
}

fn examples(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            examples(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            found.push(path);
        }
    }
}

#[test]
fn every_example_passes_the_checker_without_a_warning() {
    let mut found = Vec::new();
    examples(&Path::new(env!("CARGO_MANIFEST_DIR")).join("configs"), &mut found);
    assert!(found.len() >= 2, "{found:?}");
    for path in found {
        let output = check(&path);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{}: {told}", path.display());
        assert!(!told.contains("warning:"), "{}: {told}", path.display());
    }
}

#[test]
fn the_quick_start_starts_and_serves_its_functions() {
    let mut child = program(&["server", "start-config", "configs/quickstart.toml", "--set", "listen.port=0"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let url = lines.map_while(Result::ok).find_map(|line| Some(line.strip_prefix("MPREG_URL=")?.to_owned()));
    let call = |args: &[&str]| url.as_deref().map(|url| program(args).args(["--url", url]).output().unwrap());
    let sum = call(&["client", "call", "demo.add", "2", "3"]);
    let upper = call(&["client", "call", "demo.upper", "\"abc\""]);
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM)
        .unwrap();
    let status = child.wait().unwrap();
    let (sum, upper) = (sum.expect("a start line"), upper.expect("a start line"));
    assert_eq!(String::from_utf8_lossy(&sum.stdout).trim(), "5", "{sum:?}");
    assert!(String::from_utf8_lossy(&upper.stdout).contains("ABC"), "{upper:?}");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn the_printed_example_is_the_defaults() {
    let output = program(&["config", "example"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.toml");
    std::fs::write(&path, &output.stdout).unwrap();
    let checked = check(&path);
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    let load = |path: Option<PathBuf>| config::load(&LoadRequest { path, ..LoadRequest::default() }).unwrap();
    assert_eq!(load(Some(path.clone())).settings, load(None).settings);

    // The keys that stand in it as comments are the defaults, too.
    let text = String::from_utf8(output.stdout).unwrap();
    let is_key = |line: &str| {
        line.strip_prefix('#')
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()) && rest.contains(" = "))
    };
    let keys = text.lines().filter(|line| is_key(line)).count();
    assert!(keys > 100, "{keys}");
}
