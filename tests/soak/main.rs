//! A long mixed load on a server in a process of its own, and the accounts of both sides afterwards. `README.md` says
//! how to run it and how to read what it prints.

// A failure here is a failed run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]
#![allow(clippy::print_stdout, clippy::print_stderr)] // it is a program

mod acts;
mod answers;
mod audit;
mod calls;
mod catalogue;
mod child;
mod counters;
mod fit;
mod judgement;
mod line;
mod load;
mod planes;
mod plot;
mod report;
mod serve;
mod tally;
mod watch;
mod wrong;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use sed_model::allocator::{MiMalloc, keep_freed_memory};

/// The allocator of `sed-serve`, which also counts the bytes that are allocated now.
#[global_allocator]
static ALLOCATOR: cap::Cap<MiMalloc> = cap::Cap::new(MiMalloc, usize::MAX);

/// Puts a server under a long mixed load, and compares its accounts with those of its clients.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    load: LoadArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The server under load; started by the program itself.
    #[command(hide = true)]
    Serve(serve::ServeArgs),
}

#[derive(Clone, Debug, Args)]
struct LoadArgs {
    /// Duration of the load.
    #[arg(long, default_value_t = 2.0)]
    minutes: f64,
    /// Clients, each with a connection of its own.
    #[arg(long, default_value_t = 16)]
    clients: usize,
    /// Decides what the clients do and which faults the model has.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Also writes the figures to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Draws memory, descriptors, threads and answers over time to this file.
    #[arg(long)]
    plot: Option<PathBuf>,
}

fn main() -> ExitCode {
    let Cli { command, load } = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match command {
        Some(Command::Serve(args)) => {
            keep_freed_memory(); // as `sed-serve` does
            runtime.block_on(serve::run(args));
            ExitCode::SUCCESS
        }
        None => runtime.block_on(run(load)),
    }
}

/// Runs the load and reports it. The exit code is 1 where anything was wrong.
async fn run(args: LoadArgs) -> ExitCode {
    let report = load::run(&args).await;
    print!("{}", report.table());
    if let Some(file) = &args.json {
        std::fs::write(file, report.json()).unwrap();
    }
    if let Some(file) = &args.plot {
        std::fs::write(file, plot::svg(&report)).unwrap();
    }
    if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
