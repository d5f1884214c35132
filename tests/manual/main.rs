//! The manual: it is what the program writes, it passes the checker of manual pages, and whatever it shows is true:
//! its commands run, its configurations pass the check, and a real node answers as its protocol examples say.

// Enforced inside `core` only, see `clippy.toml`.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod commands;
mod completions;
mod configuration;
#[path = "../node/kit.rs"]
#[allow(dead_code)]
mod kit;
mod page;
mod protocol;
mod written;

use std::path::Path;
use std::process::Command;

/// The binary, in a shell's reach as `mpreg`.
fn shell(folder: &Path, line: &str) -> Command {
    let bin = folder.join("bin");
    if !bin.exists() {
        std::fs::create_dir(&bin).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_mpreg"), bin.join("mpreg")).unwrap();
    }
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("sh");
    command.args(["-c", line]).current_dir(folder).env_clear().env("PATH", path);
    command
}

/// Whether a tool of the system is there; a test without it says so, since nobody reads about what did not run.
fn has(tool: &str, what: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {tool}")]).output().unwrap();
    if !found.status.success() {
        eprintln!("\n*** {tool} is not installed: {what} NOT checked ***\n");
    }
    found.status.success()
}
