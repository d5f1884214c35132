//! `mpreg docs`: the manual pages and the completions of shells, for whoever packages this program.
//!
//! A page is a text written by hand (`pages/`) in which lines between `@` stand for what is declared elsewhere: verbs,
//! keys, roles, reasons. Displays (`.Bd -literal`, `.Dl`) are written there as they are to be read. So a page cannot say what the program does not do. Nothing depends on the machine, so that
//! the files under `man/` and `packaging/completions/` can be compared with what the program writes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use argh::{ArgsInfo, CommandInfoWithArgs, FromArgs};

use super::output::{self, Failure, Outcome};

mod completions;
mod mdoc;
mod reasons;
mod settings;
mod values;
mod verbs;

/// write the manual pages and completions of this program, for packages
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "docs")]
pub struct DocsGroup {
    #[argh(subcommand)]
    verb: DocsVerb,
}

#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
enum DocsVerb {
    Man(Man),
    Completions(Completions),
}

/// write the manual pages into a directory
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "man", example = "mpreg docs man man")]
struct Man {
    /// directory, made if it is not there
    #[argh(positional, arg_name = "DIR")]
    folder: PathBuf,
}

/// write the completions of bash, zsh and fish into a directory
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "completions", example = "mpreg docs completions packaging/completions")]
struct Completions {
    /// directory, made if it is not there
    #[argh(positional, arg_name = "DIR")]
    folder: PathBuf,
}

/// One file of the documentation.
#[derive(Debug, PartialEq, Eq)]
pub struct Document {
    pub name: &'static str,
    pub text: String,
}

impl DocsGroup {
    pub fn run(self) -> ExitCode {
        let commands = super::commands();
        output::finish(match self.verb {
            DocsVerb::Man(verb) => write(&verb.folder, manual(&commands)),
            DocsVerb::Completions(verb) => write(&verb.folder, completions::all(&commands)),
        })
    }
}

/// Every page for a program with these verbs; that of `ctl` only where there is such a group.
pub fn manual(commands: &CommandInfoWithArgs) -> Vec<Document> {
    let has_ctl = verbs::group(commands, CTL).is_some();
    PAGES
        .iter()
        .filter(|(name, _)| has_ctl || *name != CTL_PAGE)
        .map(|(name, template)| Document { name, text: page(template, commands) })
        .collect()
}

/// Fills in what stands between `@` on a line of its own.
fn page(template: &str, commands: &CommandInfoWithArgs) -> String {
    let mut out = String::new();
    let (mut left_out, mut in_display) = (false, false);
    for line in template.lines() {
        match line {
            "@if ctl@" => left_out = verbs::group(commands, CTL).is_none(),
            "@end@" => left_out = false,
            _ if left_out => {}
            "@verbs@" => out += &verbs::reference(commands, &[CTL]),
            "@verbs ctl@" => out += &verbs::of_group(commands, CTL),
            "@settings@" => out += &settings::reference(),
            "@roles@" => out += &settings::roles(),
            "@reasons@" => out += &reasons::reference(),
            _ => {
                in_display &= line != ".Ed";
                out += &match line.strip_prefix(".Dl ") {
                    Some(example) => format!(".Dl {}", mdoc::literal(example)),
                    None if in_display => mdoc::literal(line),
                    None => line.replace("@date@", DATE),
                };
                out.push('\n');
                in_display |= line.starts_with(".Bd -literal");
            }
        }
    }
    out
}

fn write(folder: &Path, documents: Vec<Document>) -> Outcome {
    let failed = |path: &Path, error: std::io::Error| Failure::failed(format!("{}: {error}", path.display()));
    fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    for document in documents {
        let path = folder.join(document.name);
        fs::write(&path, document.text).map_err(|error| failed(&path, error))?;
    }
    Ok(())
}

/// The group of verbs that has a page of its own.
const CTL: &str = "ctl";
const CTL_PAGE: &str = "mpreg-ctl.1";
/// When the text of the pages was last looked through; a date of the build would make each build differ.
const DATE: &str = "November 23, 2026";

/// Names and texts of the pages.
const PAGES: &[(&str, &str)] = &[
    ("mpreg.1", include_str!("pages/mpreg.1")),
    (CTL_PAGE, include_str!("pages/mpreg-ctl.1")),
    ("mpreg.toml.5", include_str!("pages/mpreg.toml.5")),
    ("mpreg-protocol.7", include_str!("pages/mpreg-protocol.7")),
    ("mpreg-reasons.7", include_str!("pages/mpreg-reasons.7")),
];
