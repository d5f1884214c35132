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

fn at_least_one(options: &[(&str, usize)]) -> Result<(), Failure> {
    match options.iter().find(|(_, value)| *value == 0) {
        Some((option, _)) => Err(Failure::usage(format!("{option} wants a number above 0"))),
        None => Ok(()),
    }
}

/// The time between two events of a rate.
fn interval(rate: Option<f64>) -> Result<Option<Duration>, Failure> {
    rate.map(|rate| {
        Duration::try_from_secs_f64(1.0 / rate)
            .ok()
            .filter(|interval| !interval.is_zero() && rate > 0.0)
            .ok_or_else(|| Failure::usage(format!("--rate wants a number per second above 0, got {rate}")))
    })
    .transpose()
}
