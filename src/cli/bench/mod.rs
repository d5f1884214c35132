//! `mpreg bench`: what a node does on this machine, always beside the ceiling of the same machine in the same run.
//! A figure alone depends on the machine and on what else it does; its ratio to the ceiling hardly does.
//! Everything that comes back is checked; a run with wrong answers fails, because its figures mean nothing.

use std::time::Duration;

use argh::{ArgsInfo, FromArgs};

use super::output::{Failure, Outcome};

mod connections;
mod histogram;
mod load;
mod process;
mod pubsub;
mod raw;
mod report;
mod rpc;
mod sequence;

/// measure a node, beside the ceiling of the same machine
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "bench")]
pub struct BenchGroup {
    #[argh(subcommand)]
    verb: BenchVerb,
}

#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
enum BenchVerb {
    Rpc(rpc::Rpc),
    Pubsub(pubsub::Pubsub),
    Connections(connections::Connections),
}

impl BenchGroup {
    pub fn run(self) -> Outcome {
        match self.verb {
            BenchVerb::Rpc(verb) => verb.run(),
            BenchVerb::Pubsub(verb) => verb.run(),
            BenchVerb::Connections(verb) => verb.run(),
        }
    }
}

/// Checks (option, value, largest value): a bench allocates by these numbers before it asks anybody.
fn in_range(options: &[(&str, usize, usize)]) -> Result<(), Failure> {
    match options.iter().find(|(_, value, max)| !(1..=*max).contains(value)) {
        Some((option, _, max)) => Err(Failure::usage(format!("{option} wants a number from 1 to {max}"))),
        None => Ok(()),
    }
}

/// The time between two events of a rate.
fn interval(rate: Option<f64>) -> Result<Option<Duration>, Failure> {
    rate.map(|rate| {
        Duration::try_from_secs_f64(1.0 / rate)
            .ok()
            .filter(|interval| !interval.is_zero() && rate >= RATE_MIN)
            .ok_or_else(|| Failure::usage(format!("--rate wants at least {RATE_MIN} per second, got {rate}")))
    })
    .transpose()
}

const RATE_MIN: f64 = 0.01;
const CONNECTIONS_MAX: usize = 1_000_000;
const WINDOW_MAX: usize = 1_000_000;
/// Below what the client takes as one message.
const PAYLOAD_BYTES_MAX: usize = 60 << 20;
const THREADS_MAX: usize = 1_024;
