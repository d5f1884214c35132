//! The verbs of the program, one file per family.

pub mod config;

use std::process::ExitCode;

/// Runs the program: parses the arguments, runs the verb, answers with the exit status of cli-config 4.9.
pub fn main() -> ExitCode {
    ExitCode::from(2)
}
