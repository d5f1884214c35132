//! The verbs of the program, one file per family.
//!
//! The argh structs are the one declaration of a verb: parsing, `--help`, suggestions and [`commands`] (from which
//! `docs` makes completions and manual pages) all come from them. Exit statuses are those of cli-config 4.9.
//! Results go to stdout, reasons to stderr; a failure prints nothing on stdout.

use argh::{ArgsInfo, CommandInfoWithArgs, FromArgs};
use std::{
    io::{self, Write},
    process::ExitCode,
};

#[macro_use]
mod remote;

mod arguments;
mod bench;
mod client;
pub mod config;
mod ctl;
mod discovery;
mod dns;
pub mod docs;
mod explain;
mod help;
mod node_label;
mod output;
mod policy;
mod pubsub;
mod server;
mod verbose;

use output::Outcome;

pub use server::{StartArgs, overrides};

/// One routing fabric for RPC, pub/sub, queues and cache: runs a node, and talks to nodes.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    name = "mpreg",
    example = "mpreg server start-config /etc/mpreg/server.toml",
    example = "mpreg client call echo hello --url ws://127.0.0.1:7000",
    example = "MPREG_URL=ws://127.0.0.1:7000 mpreg client functions",
    example = "mpreg explain call svc.market.quote --url ws://127.0.0.1:7000",
    example = "MPREG_CA_FILE=/etc/mpreg/ca.pem mpreg client functions --url wss://node.example:7443",
    note = "Exit status: 0 done, 1 failed, 2 wrong usage, 69 nobody reached, 75 try again, 77 refused, 78 bad configuration.",
    note = "Put arguments that begin with a dash behind `--`."
)]
struct Top {
    /// print the version and end
    #[argh(switch)]
    #[expect(dead_code, reason = "answered before the arguments are parsed")]
    version: bool,
    /// say on stderr what is sent and received; a node logs at debug level
    #[argh(switch, short = 'v')]
    verbose: bool,
    #[argh(subcommand)]
    group: Group,
}

#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
enum Group {
    Server(server::ServerGroup),
    Client(client::ClientGroup),
    Discovery(discovery::DiscoveryGroup),
    Explain(explain::ExplainGroup),
    Bench(bench::BenchGroup),
    Config(config::ConfigCommand),
    Ctl(ctl::CtlGroup),
    Docs(docs::DocsGroup),
}

/// Runs the program: parses the arguments, runs the verb, answers with the exit status.
pub fn main() -> ExitCode {
    let words: Result<Vec<String>, _> = std::env::args_os().skip(1).map(|w| w.into_string()).collect();
    let Ok(words) = words else {
        return output::complain(2, "an argument is not valid UTF-8");
    };
    match arguments::parse(&words) {
        Ok(top) => run(top),
        Err(arguments::Stop::Help(text)) => output::finish(output::print(&text)),
        Err(arguments::Stop::Version) => {
            output::finish(output::print(concat!("mpreg ", env!("CARGO_PKG_VERSION"), "\n")))
        }
        Err(arguments::Stop::NoVerb(text)) => {
            // Nobody can be told when stderr is closed; the status says it.
            let _ = io::stderr().write_all(text.as_bytes());
            ExitCode::from(2)
        }
        Err(arguments::Stop::Usage(text)) => output::complain(2, &text),
    }
}

/// Every verb with its options, as declared.
pub fn commands() -> CommandInfoWithArgs {
    Top::get_args_info()
}

fn run(top: Top) -> ExitCode {
    let verbose = top.verbose;
    match top.group {
        Group::Server(group) => group.run(verbose),
        Group::Client(group) => talk(verbose, || group.run()),
        Group::Discovery(group) => talk(verbose, || group.run()),
        Group::Explain(group) => talk(verbose, || group.run()),
        Group::Bench(group) => talk(verbose, || group.run()),
        Group::Config(group) => group.run(),
        Group::Ctl(group) => talk(verbose, || group.run()),
        Group::Docs(group) => group.run(),
    }
}

fn talk(verbose: bool, verb: impl FnOnce() -> Outcome) -> ExitCode {
    if verbose {
        verbose::start();
    }
    output::finish(verb())
}
