//! `mpreg config`: check, show, convert and example (cli-config 4.10).
//!
//! The verbs are functions of their parameters that say what to print and how to end; nothing is started, and no
//! file is written. Reasons go to stderr, results to stdout.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use argh::{ArgsInfo, FromArgs};

use super::ctl::{self, reach::Reach, render};
use super::output::{self, Failure, Outcome};
use crate::config::{self, Fault, Faults, LoadRequest, Show};
use crate::drive::supervisor::{self, Supervisor};
use crate::node::operate::{Order, absolute, reload};

/// Look at the configuration of a node without starting one
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "config")]
pub struct ConfigCommand {
    #[argh(subcommand)]
    pub verb: ConfigVerb,
}

/// The verbs of `config`.
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand)]
pub enum ConfigVerb {
    Check(CheckCommand),
    Show(ShowCommand),
    Plan(PlanCommand),
    Convert(ConvertCommand),
    Example(ExampleCommand),
}

/// Tell everything that is wrong with a configuration
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(
    subcommand,
    name = "check",
    example = "mpreg config check server.toml",
    example = "mpreg config check server.toml --set dns.port=5353"
)]
pub struct CheckCommand {
    /// the file; by default /etc/mpreg/server.toml
    #[argh(positional)]
    pub path: Option<PathBuf>,
    /// set a key, as in --set dns.port=5353
    #[argh(option, arg_name = "key=value")]
    pub set: Vec<String>,
    /// ignore unknown keys of the old flat format
    #[argh(switch)]
    pub legacy_ignore_unknown: bool,
}

/// Print the settings as TOML, with the origin of each
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "show", example = "mpreg config show server.toml --effective")]
pub struct ShowCommand {
    /// the file; by default /etc/mpreg/server.toml
    #[argh(positional)]
    pub path: Option<PathBuf>,
    /// print every key; otherwise only those that are set
    #[argh(switch)]
    pub effective: bool,
    /// leave out where secrets are kept, too; the secrets themselves are never printed
    #[argh(switch)]
    pub redact: bool,
    /// set a key, as in --set dns.port=5353
    #[argh(option, arg_name = "key=value")]
    pub set: Vec<String>,
    /// ignore unknown keys of the old flat format
    #[argh(switch)]
    pub legacy_ignore_unknown: bool,
}

/// Tell key by key what a new configuration would change: at once, by closing links, or only with a restart
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(
    subcommand,
    name = "plan",
    example = "mpreg config plan /etc/mpreg/server.toml",
    example = "mpreg config plan new.toml --running",
    example = "mpreg config plan new.toml /etc/mpreg/server.toml",
    note = "Compares with the running node, which is asked over its control socket and names the links that would be closed; or with another file. Nothing is changed. Exit status 78 where the new configuration has faults."
)]
pub struct PlanCommand {
    /// the new configuration
    #[argh(positional)]
    pub new: PathBuf,
    /// the configuration to compare with, instead of the running node
    #[argh(positional)]
    pub old: Option<PathBuf>,
    /// compare with the running node; so it is done where no other file is named
    #[argh(switch)]
    pub running: bool,
    /// control socket of the node; default: that of the only node that runs here
    #[argh(option, arg_name = "path")]
    pub socket: Option<PathBuf>,
    /// print JSON and nothing else
    #[argh(switch)]
    pub json: bool,
}

/// Print a file of the old flat format in the new form, with its secrets
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "convert", example = "mpreg config convert old.toml")]
pub struct ConvertCommand {
    /// the old file
    #[argh(positional)]
    pub old: PathBuf,
    /// ignore unknown keys of the old flat format
    #[argh(switch)]
    pub legacy_ignore_unknown: bool,
}

/// Print a file with every key, its meaning and its default
#[derive(FromArgs, ArgsInfo, Debug, PartialEq)]
#[argh(subcommand, name = "example", example = "mpreg config example")]
pub struct ExampleCommand {}

/// What a verb prints, and the exit status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Printed {
    pub stdout: String,
    pub stderr: String,
    pub status: u8,
}

impl ConfigCommand {
    pub fn run(self) -> ExitCode {
        match self.verb {
            ConfigVerb::Check(c) => match request(c.path, &c.set, c.legacy_ignore_unknown) {
                Ok(request) => checked(&request),
                Err(usage) => usage,
            },
            ConfigVerb::Show(c) => match request(c.path, &c.set, c.legacy_ignore_unknown) {
                Ok(request) => show(&request, Show { all: c.effective, redact: c.redact }),
                Err(usage) => usage,
            },
            ConfigVerb::Plan(c) => return output::finish(plan(c)),
            ConfigVerb::Convert(c) => {
                let by_environment =
                    std::env::var("MPREG_LEGACY_IGNORE_UNKNOWN").is_ok_and(|value| value == "1");
                convert(&c.old, c.legacy_ignore_unknown || by_environment)
            }
            ConfigVerb::Example(_) => example(),
        }
        .print()
    }
}

impl Printed {
    /// Writes both streams; a reader that went away is no failure of ours.
    pub fn print(&self) -> ExitCode {
        let _ = std::io::stderr().write_all(supervisor::leveled(&self.stderr).as_bytes());
        let _ = std::io::stdout().write_all(self.stdout.as_bytes());
        ExitCode::from(self.status)
    }
}

/// The request for the process's own environment, a file and `--set KEY=VALUE` options.
pub fn request(path: Option<PathBuf>, set: &[String], ignore_unknown: bool) -> Result<LoadRequest, Printed> {
    let mut request = LoadRequest::of_process(Some(path.unwrap_or_else(|| DEFAULT_PATH.into())));
    request.legacy_ignore_unknown = ignore_unknown;
    for option in set {
        let Some((key, value)) = option.split_once('=') else {
            let stderr = format!("--set takes KEY=VALUE, as in --set dns.port=5353; got \"{option}\"\n");
            return Err(Printed { stdout: String::new(), stderr, status: USAGE });
        };
        let key = key.trim();
        request.overrides.push((key.to_owned(), value.to_owned(), format!("--set {key}")));
    }
    Ok(request)
}

/// The check; one that comes before a start tells the service manager, too, so that its status holds every fault. While
/// a node runs (`MAINPID`, systemd.exec(5)) the status is the node's.
fn checked(request: &LoadRequest) -> Printed {
    let printed = check(request);
    if printed.status != 0 && std::env::var_os("MAINPID").is_none() {
        Supervisor::of_process().trouble(Some(format!("configuration refused: {}", printed.stderr)));
    }
    printed
}

/// All faults, warnings and notices; 0 or 78.
pub fn check(request: &LoadRequest) -> Printed {
    match config::load(request) {
        Ok(loaded) => {
            let mut stderr = told("warning", &loaded.warnings);
            stderr += &told("notice", &loaded.notices);
            let files: Vec<String> = loaded.files.iter().map(|file| file.display().to_string()).collect();
            Printed { stdout: format!("no errors in {}\n", files.join(", ")), stderr, status: 0 }
        }
        Err(faults) => refused(&faults),
    }
}

/// What a new configuration would change.
fn plan(command: PlanCommand) -> Outcome {
    let value = match &command.old {
        Some(_) if command.running || command.socket.is_some() => {
            return Err(Failure::usage("compare with a file or with the running node, not both"));
        }
        Some(old) => compared(old, &command.new)?,
        None => {
            let reach = Reach { socket: command.socket.clone(), config: None, json: command.json };
            reach.send(&Order { path: Some(absolute(&command.new)), ..ctl::order("plan") })?
        }
    };
    if command.json {
        return output::print_json(&value);
    }
    let text = render::plan(&value);
    output::print(if text.is_empty() { "nothing would change\n" } else { &text })
}

/// What differs between two files.
fn compared(old: &Path, new: &Path) -> Result<serde_json::Value, Failure> {
    let read = |path: &Path| {
        let loaded = config::load(&LoadRequest::of_process(Some(path.to_owned())));
        loaded.map_err(|faults| Failure { status: CONFIGURATION, text: reload::listed(&faults) })
    };
    let (old, new) = (read(old)?, read(new)?);
    let fault = |faults: Faults| Failure { status: CONFIGURATION, text: reload::listed(&faults) };
    old.revised(&new).map_err(fault)?;
    let changes: Vec<serde_json::Value> =
        config::changes(&old, &new).iter().map(|change| reload::row(change, None)).collect();
    let warnings: Vec<String> = new.warnings.iter().map(Fault::to_string).collect();
    let unserved = config::refuse_unserved(&new).as_ref().map(reload::listed);
    Ok(serde_json::json!({ "changes": changes, "warnings": warnings, "restart_will_fail": unserved }))
}

/// The settings with their origins, as TOML that loads as the same settings (but for secrets, which are left out).
pub fn show(request: &LoadRequest, how: Show) -> Printed {
    match config::load(request) {
        Ok(loaded) => Printed { stdout: config::show(&loaded.values, how), stderr: String::new(), status: 0 },
        Err(faults) => refused(&faults),
    }
}

/// An old file in the new form; a new file as it is.
pub fn convert(path: &Path, ignore_unknown: bool) -> Printed {
    match config::read_alone(path, ignore_unknown) {
        Ok(alone) => {
            let is_toml = path.extension().is_none_or(|extension| extension != "json");
            let stdout = if alone.legacy || !is_toml { config::convert(&alone.values) } else { alone.text };
            Printed { stdout, stderr: told("warning", &alone.warnings), status: 0 }
        }
        Err(faults) => refused(&faults),
    }
}

/// The full commented file.
pub fn example() -> Printed {
    Printed { stdout: config::example(), stderr: String::new(), status: 0 }
}

/// Faults as they are told at a start: on stderr, with status 78.
pub fn refused(faults: &Faults) -> Printed {
    Printed { stdout: String::new(), stderr: faults.to_string(), status: CONFIGURATION }
}

/// One line for each, after `word`.
pub fn told(word: &str, findings: &[Fault]) -> String {
    findings.iter().map(|finding| format!("{word}: {finding}\n")).collect()
}

/// Where the package puts the file.
pub const DEFAULT_PATH: &str = "/etc/mpreg/server.toml";

/// Exit statuses of cli-config 4.9.
pub const USAGE: u8 = 2;
pub const CONFIGURATION: u8 = 78;
