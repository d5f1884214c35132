//! Assembly of a node: from a checked config to running modules.

use std::{path::PathBuf, process::ExitCode};

/// Where the settings of a node come from.
#[derive(Debug)]
pub struct LoadPlan {
    pub path: Option<PathBuf>,
    /// (key, text of its value, the option it comes from), lowest first.
    pub overrides: Vec<(String, String, String)>,
    pub legacy_ignore_unknown: bool,
}

/// Runs a node until it is told to stop; the exit status of cli-config 4.9.
pub fn main(plan: LoadPlan) -> ExitCode {
    eprintln!("mpreg: this build runs no node yet ({plan:?})");
    ExitCode::FAILURE
}
