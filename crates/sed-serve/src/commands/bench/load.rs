//! `bench load`: one load on one server.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::{Result, bail};
use clap::Args;
use sed_bench::{
    Caller, Machine, Stop,
    against::{Against, Comparison, Round},
    mix::Mix,
    run::{Plan, drive},
    tally::Tally,
};
use sed_client::v1;
use sed_model::Rejection;
use serde_json::{Value, json};

use super::{
    bare,
    mix::MixArgs,
    pace::{BoundsArgs, PaceArgs},
    plot, show, stop,
    target::{Target, TargetArgs, log_refused},
};
use crate::{print, progress, running::runtime};

const EXAMPLES: &str = "\
Examples:
  sed-serve bench load
  sed-serve bench load --server http://127.0.0.1:50051 --clients 16 --duration 60 --vocabulary ade20k-150
  sed-serve bench load --rate 20 --sizes 640x480,1920x1080 --categories 20,150 --plot latency.svg
  sed-serve bench load --clients 16 --against-model --json

Without --server a private server is started, with the settings of `serve`; it then shares the machine with \
the clients. Every vocabulary is sent once before, so that its words are embedded (but for --cold). \
Throughput is what was answered within the measured time, by its length. Latency is the client's and \
of answered requests, from when one was due to its answer; in a closed loop it is due when the client is free. Ctrl-C ends the run early \
and still gives the results. The exit code is 1 if nothing was answered.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct LoadArgs {
    #[command(flatten)]
    mix: MixArgs,

    #[command(flatten)]
    pace: PaceArgs,

    #[command(flatten)]
    bounds: BoundsArgs,

    /// Draw the percentiles of latency; .svg or .png.
    #[arg(long, value_name = "FILE", value_parser = plot::file, help_heading = "Output")]
    plot: Option<PathBuf>,

    #[command(flatten)]
    against: AgainstArgs,

    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Comparison")]
struct AgainstArgs {
    /// Compare with the model alone: it gets the same requests, in turns with the private server, and is
    /// loaded a second time for that. Give enough clients to saturate the server.
    #[arg(long, conflicts_with_all = ["server", "rate"])]
    against_model: bool,

    /// Images in a batch of the model alone.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024), requires = "against_model")]
    model_batch: u32,

    /// Turns of each, the model and the server.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1000), requires = "against_model")]
    turns: u32,
}

pub(crate) fn run(args: &LoadArgs, as_json: bool) -> Result<ExitCode> {
    runtime()?.block_on(async {
        let stop = stop::on_signal()?;
        let target = args.target.open().await?;
        let mix = Arc::new(args.mix.load(&target.info.vocabularies)?);
        let caller = target.caller(&mix);
        prepare(&caller, args.bounds.cold, &stop).await?;

        let plan = Plan { pace: args.pace.pace(), bounds: args.bounds.bounds(), seed: args.mix.seed };
        let mut tally = Tally::default();
        let comparison = if args.against.against_model {
            Some(compare(args, &target, &mix, &plan, &stop, &mut tally).await?)
        } else {
            measure(&caller, &plan, &stop, &mut tally).await;
            None
        };
        let (result, machine) = (tally.result(stop.is_set()), Machine::this());
        if as_json {
            print::json_line(&json!({
                "command": "load",
                "version": env!("CARGO_PKG_VERSION"),
                "parameters": {
                    "pace": plan.pace,
                    "bounds": args.bounds.describe(),
                    "mix": mix.describe(),
                },
                "server": describe(&target),
                "machine": machine,
                "result": result,
                "against_model": comparison,
            }))?;
        } else {
            show::heading(&target, &machine)?;
            show::load(&plan, &result)?;
            if let Some(comparison) = &comparison {
                show::comparison(comparison)?;
            }
        }
        if let Some(file) = &args.plot {
            plot::percentiles(file, &show::subject(&target), plan.pace, &tally)?;
        }
        drop(caller);
        target.close().await?;
        Ok(if result.counts.succeeded > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// Lets the server embed the vocabularies, unless a cold start is wanted.
pub(crate) async fn prepare(caller: &Caller, cold: bool, stop: &Stop) -> Result<()> {
    if cold {
        return Ok(());
    }
    let spinner = progress::spinner("embedding the vocabularies");
    tokio::select! {
        () = caller.prime(log_refused) => {}
        () = stop.wait() => bail!("ended before anything was measured"),
    }
    spinner.finish_and_clear();
    Ok(())
}

/// Carries out a plan, with a line on the terminal.
async fn measure(caller: &Caller, plan: &Plan, stop: &Stop, tally: &mut Tally) {
    let line = progress::spinner("");
    let progress = |pace, so_far| line.set_message(show::progress(pace, &so_far));
    drive(caller, plan, stop, tally, &progress).await;
    line.finish_and_clear();
}

/// Measures the model alone and the service in turns.
async fn compare(
    args: &LoadArgs,
    target: &Target,
    mix: &Arc<Mix>,
    plan: &Plan,
    stop: &Stop,
    tally: &mut Tally,
) -> Result<Comparison> {
    let AgainstArgs { model_batch, turns, .. } = args.against;
    let defaults = target.info.defaults.as_ref();
    let rejection = defaults.map_or(Rejection::Off, |defaults| Rejection::from_top_k(defaults.top_k));
    let spinner = progress::spinner("loading the model");
    let model = &args.target.model;
    let bare = bare::load(model.open()?, model, &mix.pictures)?;
    let embedding = |count: usize| spinner.set_message(format!("embedding {count} categories"));
    let against = Against::new(bare, mix, rejection, model_batch, embedding)?;
    spinner.finish_and_clear();
    let caller = target.caller(mix);
    let mut rounds = Vec::new();
    for turn in 0..turns {
        let spinner = progress::spinner(&format!("the model alone, turn {} of {turns}", turn + 1));
        let model = against.model_alone(0, plan.bounds.end, stop).await?;
        spinner.finish_and_clear();
        let before = tally.measured();
        measure(&caller, plan, stop, tally).await;
        if stop.is_set() {
            break;
        }
        let service = tally.throughput_since(before);
        rounds.push(Round { model_images_per_second: model, service_images_per_second: service });
    }
    Ok(Comparison::of(model_batch, rounds))
}

/// The server's description in the JSON results.
pub(crate) fn describe(target: &Target) -> Value {
    let v1::GetServerInfoResponse { server_version, model, defaults, .. } = &target.info;
    let model = model.clone().unwrap_or_default();
    json!({
        "version": server_version,
        "private": target.is_private(),
        "model": model.name,
        "digest": model.digest,
        "dtype": model.dtype,
        "device": model.device,
        "input_side": model.input_side,
        "default_top_k": defaults.as_ref().map(|defaults| defaults.top_k),
    })
}
