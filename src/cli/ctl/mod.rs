//! `mpreg ctl`: the running node of this machine, asked and told over its control socket.
//!
//! A verb sends one order and prints its answer: for people, or with `--json` the document as the node gave it. The exit
//! status is that of the node's answer (cli-config 4.9); 69 where no node answers, 77 where this user may not ask.

pub mod reach;
pub mod render;

use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};

use super::output::{self, Failure, Outcome};
use crate::node::operate::Order;
use reach::Reach;

/// ask the running node of this machine, and tell it what to do
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "ctl",
    note = "The node is found by --socket, by --config, or because it is the only one that runs here. Only root and the user of the node are answered."
)]
pub struct CtlGroup {
    #[argh(subcommand)]
    verb: CtlVerb,
}

#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
enum CtlVerb {
    Status(Status),
    Peers(Peers),
    Links(Links),
    Routes(Routes),
    Catalog(Catalog),
    Functions(Functions),
    Log(Log),
    Reload(Reload),
    Confirm(Confirm),
    Drain(Drain),
    Resume(Resume),
}

impl CtlGroup {
    pub fn run(self) -> Outcome {
        match self.verb {
            CtlVerb::Status(verb) => verb.run(),
            CtlVerb::Peers(verb) => verb.run(),
            CtlVerb::Links(verb) => verb.run(),
            CtlVerb::Routes(verb) => verb.run(),
            CtlVerb::Catalog(verb) => verb.run(),
            CtlVerb::Functions(verb) => verb.run(),
            CtlVerb::Log(verb) => verb.run(),
            CtlVerb::Reload(verb) => verb.run(),
            CtlVerb::Confirm(verb) => verb.run(),
            CtlVerb::Drain(verb) => verb.run(),
            CtlVerb::Resume(verb) => verb.run(),
        }
    }
}

/// Declares a verb: its own options, then those that all verbs share.
macro_rules! ctl_verb {
    ($(#[$meta:meta])* struct $name:ident { $($body:tt)* }) => {
        #[derive(FromArgs, ArgsInfo, Debug)]
        $(#[$meta])*
        pub struct $name {
            $($body)*
            /// control socket of the node; default: that of the only node that runs here
            #[argh(option, arg_name = "path")]
            socket: Option<PathBuf>,
            /// configuration file that the node was started with
            #[argh(option, arg_name = "path")]
            config: Option<PathBuf>,
            /// print JSON and nothing else
            #[argh(switch)]
            json: bool,
        }

        impl $name {
            fn reach(&self) -> Reach {
                Reach { socket: self.socket.clone(), config: self.config.clone(), json: self.json }
            }
        }
    };
}

ctl_verb! {
    /// how the node is: health, links, refusals, limits, and what changed last
    #[argh(
        subcommand,
        name = "status",
        example = "mpreg ctl status",
        example = "mpreg ctl status --config /etc/mpreg/server.toml --json",
        note = "Marks with ! what needs somebody. A node that is not ready is an answer too: exit status 0."
    )]
    struct Status {}
}

ctl_verb! {
    /// nodes that this one has or had a link with
    #[argh(subcommand, name = "peers", example = "mpreg ctl peers")]
    struct Peers {}
}

ctl_verb! {
    /// connections with other nodes, and addresses that none leads to
    #[argh(subcommand, name = "links", example = "mpreg ctl links --json")]
    struct Links {}
}

ctl_verb! {
    /// routes to other clusters, and which of them is taken
    #[argh(subcommand, name = "routes", example = "mpreg ctl routes", example = "mpreg ctl routes eu-west --limit 20")]
    struct Routes {
        /// only to clusters whose name contains this
        #[argh(positional, arg_name = "text")]
        filter: Option<String>,
        /// most rows; default 1000
        #[argh(option, arg_name = "number")]
        limit: Option<usize>,
    }
}

ctl_verb! {
    /// entries of the catalog: who offers what
    #[argh(
        subcommand,
        name = "catalog",
        example = "mpreg ctl catalog",
        example = "mpreg ctl catalog svc.market --type function --limit 50 --json",
        note = "Types: node, function, topic, queue, service, cache, cache_profile."
    )]
    struct Catalog {
        /// only entries with this in one of their texts
        #[argh(positional, arg_name = "text")]
        filter: Option<String>,
        /// only entries of this type
        #[argh(option, long = "type", arg_name = "type")]
        kind: Option<String>,
        /// most rows; default 1000
        #[argh(option, arg_name = "number")]
        limit: Option<usize>,
    }
}

ctl_verb! {
    /// functions that workers of this node serve
    #[argh(subcommand, name = "functions", example = "mpreg ctl functions")]
    struct Functions {}
}

ctl_verb! {
    /// show what the log tells, and set it while the node runs
    #[argh(
        subcommand,
        name = "log",
        example = "mpreg ctl log",
        example = "mpreg ctl log node::control=debug --for 10m",
        example = "mpreg ctl log node::control=default",
        note = "SCOPE=LEVEL for a part of the program, such as node::control (what the core decides), node::serve or drive::tls; LEVEL alone for all of it. A scope that no part has is refused, and the answer names them all. Levels: error, warning, info, debug, trace, off; default takes a scope back. What is set stays over a reload and ends with the process."
    )]
    struct Log {
        /// what to set; nothing: only show
        #[argh(positional, arg_name = "scope=level")]
        scopes: Vec<String>,
        /// take it back after this time, as in 10m
        #[argh(option, long = "for", arg_name = "time")]
        time: Option<String>,
    }
}

ctl_verb! {
    /// read the configuration again and put in force what can be changed while the node runs
    #[argh(
        subcommand,
        name = "reload",
        example = "mpreg ctl reload",
        example = "mpreg ctl reload --confirm 5m",
        note = "The same as SIGHUP, with an answer: 0 when it holds, 78 with all faults when nothing was changed. With --confirm it is undone after that time unless `mpreg ctl confirm` comes; a node that is restarted meanwhile starts with the file as it is."
    )]
    struct Reload {
        /// undo it after this time unless it is confirmed, as in 5m
        #[argh(option, arg_name = "time")]
        confirm: Option<String>,
    }
}

ctl_verb! {
    /// keep what `reload --confirm` has put in force
    #[argh(subcommand, name = "confirm", example = "mpreg ctl confirm")]
    struct Confirm {}
}

ctl_verb! {
    /// take no new connections and calls, and go on with what runs, until `resume`
    #[argh(
        subcommand,
        name = "drain",
        example = "mpreg ctl drain",
        note = "Readiness turns to 503, new connections get 503 and new calls an error that names the reason; other nodes are told to choose another. Links, connections and what runs stay. `mpreg ctl status` shows how much still runs."
    )]
    struct Drain {}
}

ctl_verb! {
    /// take new work again after a drain
    #[argh(subcommand, name = "resume", example = "mpreg ctl resume")]
    struct Resume {}
}

impl Status {
    fn run(self) -> Outcome {
        self.reach().show(order("status"), render::status)
    }
}

impl Peers {
    fn run(self) -> Outcome {
        self.reach().show(order("peers"), render::peers)
    }
}

impl Links {
    fn run(self) -> Outcome {
        self.reach().show(order("links"), render::links)
    }
}

impl Routes {
    fn run(self) -> Outcome {
        let order = Order { filter: self.filter.clone(), limit: self.limit, ..order("routes") };
        self.reach().show(order, render::routes)
    }
}

impl Catalog {
    fn run(self) -> Outcome {
        let (filter, kind, limit) = (self.filter.clone(), self.kind.clone(), self.limit);
        self.reach().show(Order { filter, kind, limit, ..order("catalog") }, render::catalog)
    }
}

impl Functions {
    fn run(self) -> Outcome {
        self.reach().show(order("functions"), render::functions)
    }
}

impl Log {
    fn run(self) -> Outcome {
        if self.time.is_some() && self.scopes.is_empty() {
            return Err(Failure::usage(
                "--for goes with something to set, as in mpreg ctl log debug --for 10m",
            ));
        }
        let seconds = seconds("--for", self.time.as_deref())?;
        self.reach().show(Order { scopes: self.scopes.clone(), seconds, ..order("log") }, render::log)
    }
}

impl Reload {
    fn run(self) -> Outcome {
        let seconds = seconds("--confirm", self.confirm.as_deref())?;
        let result = self.reach().send(&Order { seconds, ..order("reload") })?;
        let shown =
            if self.json { output::print_json(&result) } else { output::print(&render::reload(&result)) };
        shown?;
        match result.get("faults").and_then(serde_json::Value::as_array) {
            Some(faults) if !faults.is_empty() => Err(Failure::failed(render::lines(faults))),
            _ => Ok(()),
        }
    }
}

impl Confirm {
    fn run(self) -> Outcome {
        self.reach().show(order("confirm"), |_| "confirmed: what was reloaded last stays\n".to_owned())
    }
}

impl Drain {
    fn run(self) -> Outcome {
        self.reach().show(order("drain"), render::drain)
    }
}

impl Resume {
    fn run(self) -> Outcome {
        self.reach().show(order("resume"), render::drain)
    }
}

/// The seconds of an option such as `5m`.
fn seconds(option: &str, text: Option<&str>) -> Result<Option<f64>, Failure> {
    let Some(text) = text else { return Ok(None) };
    match crate::config::duration(text).filter(|time| !time.is_zero()) {
        Some(time) => Ok(Some(time.as_secs_f64())),
        None => Err(Failure::usage(format!("{option} wants a time such as 90s, 5m or 1h; got `{text}`"))),
    }
}

pub fn order(verb: &str) -> Order {
    Order { verb: verb.to_owned(), ..Order::default() }
}

impl Reach {
    /// Sends the order and prints its result.
    fn show(&self, order: Order, text: fn(&serde_json::Value) -> String) -> Outcome {
        let result = self.send(&order)?;
        if self.json { output::print_json(&result) } else { output::print(&text(&result)) }
    }
}

impl From<crate::node::operate::Refused> for Failure {
    fn from(refused: crate::node::operate::Refused) -> Failure {
        Failure { status: refused.status, text: refused.text }
    }
}
