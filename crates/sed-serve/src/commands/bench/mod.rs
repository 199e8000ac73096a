//! `bench`: a server under load, where it saturates, and the model by itself.

mod bare;
mod load;
mod mix;
mod model;
mod pace;
mod plot;
mod show;
mod stop;
mod sweep;
mod target;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

const EXAMPLES: &str = "\
Examples:
  sed-serve bench load --clients 8 --duration 30
  sed-serve bench load --server http://127.0.0.1:50051 --rate 20 --vocabulary ade20k-150 --plot latency.svg
  sed-serve bench sweep --model models/sed-b.safetensors --categories 20 --plot sweep.png
  sed-serve bench model --random sed-b --categories 20,150 --top-k off,8 --plot cost.svg";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Put a server under load and report throughput, latency and the time of each stage.
    Load(Box<load::LoadArgs>),
    /// Raise the load step by step until the server is saturated, and find the knee.
    Sweep(Box<sweep::SweepArgs>),
    /// Run the model by itself, stage by stage, without any server.
    Model(Box<model::ModelBenchArgs>),
}

pub(crate) fn run(args: &BenchArgs, as_json: bool) -> Result<ExitCode> {
    match &args.what {
        What::Load(args) => load::run(args, as_json),
        What::Sweep(args) => sweep::run(args, as_json),
        What::Model(args) => model::run(args, as_json),
    }
}
