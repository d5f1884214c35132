//! `mpreg server`: run a node, from a file or from options. The options are only another way to write keys of the
//! file: they become overrides, which the loader checks like any other value.

use std::{path::PathBuf, process::ExitCode};

use argh::{ArgsInfo, FromArgs};

use super::{
    output::{self, Failure},
    policy::either,
};
use crate::node::{self, LoadPlan};

/// run a node
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "server")]
pub struct ServerGroup {
    #[argh(subcommand)]
    verb: ServerVerb,
}

#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
#[expect(
    clippy::large_enum_variant,
    reason = "one value in the life of the program; argh cannot describe a Box"
)]
enum ServerVerb {
    Start(StartArgs),
    StartConfig(StartConfigArgs),
}

impl ServerGroup {
    pub fn run(self, verbose: bool) -> ExitCode {
        let (path, overrides, legacy_ignore_unknown) = match self.verb {
            ServerVerb::Start(args) => (None, overrides(&args), false),
            ServerVerb::StartConfig(args) => {
                let overrides = args.set.iter().map(|set| assignment(set)).collect();
                (Some(PathBuf::from(args.path)), overrides, args.legacy_ignore_unknown)
            }
        };
        match overrides {
            Ok(mut overrides) => {
                if verbose {
                    overrides.push(("log.level".to_owned(), "debug".to_owned(), "-v".to_owned()));
                }
                node::main(LoadPlan { path, overrides, legacy_ignore_unknown })
            }
            Err(failure) => output::finish(Err(failure)),
        }
    }
}

/// run a node that is described by options alone
#[derive(FromArgs, ArgsInfo, Debug, Default)]
#[argh(
    subcommand,
    name = "start",
    example = "mpreg server start --port 7000",
    example = "mpreg server start --port 7001 --peer ws://127.0.0.1:7000 --cluster-id demo --resource market",
    example = "mpreg server start --host 0.0.0.0 --port 7000 --no-monitoring --set fabric.gossip_interval=1s",
    note = "Prints its endpoints on stdout, then runs until SIGINT or SIGTERM. For everything that has no option here use --set, or a file and start-config."
)]
pub struct StartArgs {
    /// address to listen on; default 127.0.0.1
    #[argh(option, arg_name = "address")]
    host: Option<String>,
    /// port to listen on; default: a free one is chosen and printed
    #[argh(option)]
    port: Option<u16>,
    /// name of the node in logs and answers
    #[argh(option)]
    name: Option<String>,
    /// resource that the node carries
    #[argh(option)]
    resource: Vec<String>,
    /// node to hold a link with
    #[argh(option, arg_name = "url")]
    peer: Vec<String>,
    /// one more node to hold a link with
    #[argh(option, arg_name = "url")]
    connect: Option<String>,
    /// cluster that the node belongs to
    #[argh(option, arg_name = "name")]
    cluster_id: Option<String>,
    /// address under which others reach the node
    #[argh(option, arg_name = "url")]
    advertised_url: Vec<String>,
    /// offer a cache
    #[argh(switch)]
    enable_cache: bool,
    /// offer queues
    #[argh(switch)]
    enable_queue: bool,
    /// share the cache with other nodes
    #[argh(switch)]
    enable_cache_federation: bool,
    /// region of the node
    #[argh(option, arg_name = "region")]
    cache_region: Option<String>,
    /// latitude of the node in degrees
    #[argh(option, arg_name = "degrees")]
    cache_latitude: Option<f64>,
    /// longitude of the node in degrees
    #[argh(option, arg_name = "degrees")]
    cache_longitude: Option<f64>,
    /// size of the cache in MiB
    #[argh(option, arg_name = "mib")]
    cache_capacity_mb: Option<u64>,
    /// port of the monitoring pages; default: a free one is chosen and printed
    #[argh(option, arg_name = "port")]
    monitoring_port: Option<u16>,
    /// address of the monitoring pages
    #[argh(option, arg_name = "address")]
    monitoring_host: Option<String>,
    /// serve the monitoring pages (the default)
    #[argh(switch)]
    monitoring: bool,
    /// do not serve the monitoring pages
    #[argh(switch)]
    no_monitoring: bool,
    /// let pages of other sites read them (the default)
    #[argh(switch)]
    monitoring_cors: bool,
    /// do not let pages of other sites read them
    #[argh(switch)]
    no_monitoring_cors: bool,
    /// off, memory or fjall
    #[argh(option, arg_name = "mode")]
    persistence_mode: Option<String>,
    /// directory for what is kept
    #[argh(option, arg_name = "path")]
    persistence_dir: Option<String>,
    /// accepted for old scripts: the store has no such file, which is said at start
    #[argh(option, arg_name = "name")]
    persistence_sqlite_filename: Option<String>,
    /// any other key of the configuration, as in --set dns.udp_port=5353
    #[argh(option, arg_name = "key=value")]
    set: Vec<String>,
}

/// run a node that is described by a file
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "start-config",
    example = "mpreg server start-config /etc/mpreg/server.toml",
    example = "mpreg server start-config server.toml --set listen.port=7001 --set log.level=debug",
    note = "Next to DIR/NAME.toml the files DIR/NAME.d/*.toml are read as well. Exit status 78 when anything in them is wrong; then nothing is started."
)]
pub struct StartConfigArgs {
    /// file of the node
    #[argh(positional, arg_name = "PATH")]
    path: String,
    /// key of the configuration that wins over the file
    #[argh(option, arg_name = "key=value")]
    set: Vec<String>,
    /// warn about unknown keys of a file in the old flat form instead of refusing it
    #[argh(switch)]
    legacy_ignore_unknown: bool,
}

/// What the options say, as (key of the configuration, text of its value, the option it comes from).
/// Lists are written as TOML arrays, everything else as bare text.
pub fn overrides(args: &StartArgs) -> Result<Vec<(String, String, String)>, Failure> {
    let mut all: Vec<(String, String, String)> = Vec::new();
    let mut put = |key: &str, value: Option<String>, option: &str| {
        if let Some(value) = value {
            all.push((key.to_owned(), value, option.to_owned()));
        }
    };
    put("listen.host", args.host.clone(), "--host");
    put("listen.port", args.port.map(|p| p.to_string()), "--port");
    put("node.name", args.name.clone(), "--name");
    put("node.resources", array(&args.resource), "--resource");
    put("peers.static", array(&args.peer), "--peer");
    put("peers.connect", args.connect.clone(), "--connect");
    put("node.cluster_id", args.cluster_id.clone(), "--cluster-id");
    put("listen.advertised_urls", array(&args.advertised_url), "--advertised-url");
    put("cache.enabled", on(args.enable_cache), "--enable-cache");
    put("queue.enabled", on(args.enable_queue), "--enable-queue");
    put("cache.federation", on(args.enable_cache_federation), "--enable-cache-federation");
    put("node.region", args.cache_region.clone(), "--cache-region");
    put("node.latitude", args.cache_latitude.map(|d| format!("{d:?}")), "--cache-latitude");
    put("node.longitude", args.cache_longitude.map(|d| format!("{d:?}")), "--cache-longitude");
    put("cache.capacity", args.cache_capacity_mb.map(|n| format!("{n}MiB")), "--cache-capacity-mb");
    put("monitoring.port", args.monitoring_port.map(|p| p.to_string()), "--monitoring-port");
    put("monitoring.host", args.monitoring_host.clone(), "--monitoring-host");
    for (key, yes, no) in [
        ("monitoring.enabled", ("--monitoring", args.monitoring), ("--no-monitoring", args.no_monitoring)),
        (
            "monitoring.cors.enabled",
            ("--monitoring-cors", args.monitoring_cors),
            ("--no-monitoring-cors", args.no_monitoring_cors),
        ),
    ] {
        if let Some(on) = either(yes, no)? {
            put(key, Some(on.to_string()), if on { yes.0 } else { no.0 });
        }
    }
    put("persistence.mode", args.persistence_mode.clone(), "--persistence-mode");
    put("persistence.dir", args.persistence_dir.clone(), "--persistence-dir");
    put(
        "persistence.sqlite_filename",
        args.persistence_sqlite_filename.clone(),
        "--persistence-sqlite-filename",
    );
    for set in &args.set {
        all.push(assignment(set)?);
    }
    Ok(all)
}

fn on(switch: bool) -> Option<String> {
    switch.then(|| "true".to_owned())
}

fn array(values: &[String]) -> Option<String> {
    let items: Vec<toml::Value> = values.iter().cloned().map(toml::Value::String).collect();
    (!items.is_empty()).then(|| toml::Value::Array(items).to_string())
}

fn assignment(set: &str) -> Result<(String, String, String), Failure> {
    match set.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.trim().to_owned(), "--set".to_owned()))
        }
        _ => {
            Err(Failure::usage(format!("--set wants KEY=VALUE, as in --set dns.udp_port=5353; got `{set}`")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Vec<(String, String, String)>, Failure> {
        let words: Vec<&str> = line.split_whitespace().collect();
        overrides(&StartArgs::from_args(&["start"], &words).unwrap())
    }

    #[test]
    fn options_become_keys_with_their_origin() {
        let got =
            of("--port 0 --peer ws://a --peer ws://b --cache-latitude -3 --no-monitoring --set a.b=c=d");
        let got = got.unwrap();
        let flat: Vec<_> = got.iter().map(|(k, v, o)| format!("{k} {v} {o}")).collect();
        assert_eq!(
            flat,
            [
                "listen.port 0 --port",
                "peers.static [\"ws://a\", \"ws://b\"] --peer",
                "node.latitude -3.0 --cache-latitude",
                "monitoring.enabled false --no-monitoring",
                "a.b c=d --set",
            ]
        );
    }

    #[test]
    fn what_was_not_given_overrides_nothing() {
        assert!(of("").unwrap().is_empty());
        assert!(of("--set nonsense").is_err() && of("--monitoring --no-monitoring").is_err());
    }
}
