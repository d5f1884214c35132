//! bench
use super::output::Outcome;
use argh::{ArgsInfo, FromArgs};
/// measure a node
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "bench", example = "mpreg bench")]
pub struct BenchGroup {}
impl BenchGroup {
    pub fn run(self) -> Outcome {
        Ok(())
    }
}
