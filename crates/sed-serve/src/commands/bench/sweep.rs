//! `bench sweep`: rising load, until the server is saturated.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::Result;
use clap::Args;
use sed_bench::{Machine, run::Pace, sweep::sweep};
use serde_json::json;

use super::{
    load::{describe, prepare},
    mix::MixArgs,
    pace::{BoundsArgs, OutstandingArgs, closed, rate},
    plot, show, stop,
    target::TargetArgs,
};
use crate::{print, progress, running::runtime};

const EXAMPLES: &str = "\
Examples:
  sed-serve bench sweep
  sed-serve bench sweep --steps 1,2,3,4,6,8 --duration 20 --categories 20 --plot sweep.svg
  sed-serve bench sweep --from-rate 2 --growth 1.25 --server http://127.0.0.1:50051

The knee is the last step whose throughput was worth it: at least 5 % more than that of every step before it. \
The sweep ends when throughput no longer grows in this sense and the median latency is at least twice that of \
the knee, or when nothing is answered. What is said of `bench load` holds for every step.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SweepArgs {
    #[command(flatten)]
    mix: MixArgs,

    #[command(flatten)]
    steps: StepsArgs,

    #[command(flatten)]
    bounds: BoundsArgs,

    /// Draw latency over throughput; .svg or .png.
    #[arg(long, value_name = "FILE", value_parser = plot::file, help_heading = "Output")]
    plot: Option<PathBuf>,

    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Load")]
struct StepsArgs {
    /// Closed loop: the numbers of clients, rising.
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1,2,4,8,16,32,64", value_parser = clap::value_parser!(u32).range(1..=4096))]
    steps: Vec<u32>,

    /// Open loop instead: requests a second of the first step.
    #[arg(long, value_name = "PER_SECOND", value_parser = rate, conflicts_with = "steps")]
    from_rate: Option<f64>,

    /// In an open loop, the factor from the rate of one step to that of the next.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.5, value_parser = growth, requires = "from_rate")]
    growth: f64,

    /// The most steps of an open loop.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=100), requires = "from_rate")]
    most_steps: u32,

    #[command(flatten)]
    outstanding: OutstandingArgs,
}

fn growth(text: &str) -> Result<f64, String> {
    let factor = text.parse().ok().filter(|factor| (1.01..=100.0).contains(factor));
    factor.ok_or_else(|| "expected a factor, 1.01 to 100".to_owned())
}

impl StepsArgs {
    fn paces(&self) -> Vec<Pace> {
        let rate = |first: f64| move |step: u32| first * self.growth.powi(step as i32);
        match self.from_rate {
            Some(first) => {
                (0..self.most_steps).map(rate(first)).map(|rate| self.outstanding.open(rate)).collect()
            }
            None => {
                let mut steps = self.steps.clone();
                steps.sort_unstable();
                steps.dedup();
                steps.into_iter().map(closed).collect()
            }
        }
    }
}

pub(crate) fn run(args: &SweepArgs, as_json: bool) -> Result<ExitCode> {
    runtime()?.block_on(async {
        let stop = stop::on_signal()?;
        let target = args.target.open().await?;
        let mix = Arc::new(args.mix.load(&target.info.vocabularies)?);
        let caller = target.caller(&mix);
        prepare(&caller, args.bounds.cold, &stop).await?;

        let machine = Machine::this();
        if !as_json {
            show::heading(&target, &machine)?;
        }
        let line = progress::spinner("");
        let progress = |pace, so_far| line.set_message(show::progress(pace, &so_far));
        let all = (args.bounds.bounds(), args.mix.seed);
        let (steps, verdict) = sweep(&caller, args.steps.paces(), all, &stop, &progress).await;
        line.finish_and_clear();
        if as_json {
            print::json_line(&json!({
                "command": "sweep",
                "version": env!("CARGO_PKG_VERSION"),
                "parameters": {
                    "loop": if args.steps.from_rate.is_some() { "open" } else { "closed" },
                    "bounds": args.bounds.describe(),
                    "mix": mix.describe(),
                },
                "server": describe(&target),
                "machine": machine,
                "steps": steps,
                "knee": verdict.knee,
                "saturated": verdict.over,
            }))?;
        } else {
            show::sweep(&steps, verdict)?;
        }
        if let Some(file) = &args.plot {
            plot::sweep(file, &show::subject(&target), &steps, verdict.knee)?;
        }
        drop(caller);
        target.close().await?;
        let any = steps.iter().any(|step| step.result.counts.succeeded > 0);
        Ok(if any { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}
