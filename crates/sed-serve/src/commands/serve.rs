//! `serve`: the server.

use std::{io::Write, process::ExitCode, time::Instant};

use anyhow::Result;
use clap::{Args, Command};
use sed_engine::EngineError;
use sed_server::Drain;
use sed_telemetry::Telemetry;
use serde_json::json;

use crate::{
    args::{ModelArgs, ServerArgs, print_config},
    descriptors,
    metrics::{FAMILIES, ProgramMetrics},
    print,
    running::{RunningServer, runtime},
    signals::{Hangups, Signal, Signals},
    variables::Unknown,
};

const EXAMPLES: &str = "\
Examples:
  sed-serve serve --model models/sed-b.safetensors
  sed-serve serve --listen 0.0.0.0:50051 --default-top-k 16 --threads 8
  sed-serve serve --playground          a page for the browser, at http://127.0.0.1:50051
  SED_MAX_CATEGORIES=2000 sed-serve serve --config sed.toml --print-config

One line is printed when the model is warm. On SIGHUP certificates and tokens are read again, if there are any. On SIGTERM or Ctrl-C running requests are finished first; a \
second signal ends the server at once, with the exit code of that signal (143 for SIGTERM). A server whose GPU is \
lost for this process ends with exit code 75: start it again.";

/// The exit code for a lost device (EX_TEMPFAIL of sysexits.h), which nothing else uses.
const DEVICE_LOST: u8 = 75;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    server: ServerArgs,

    /// Print the effective settings of flags, environment and file, in the form of --config, and end.
    #[arg(long, help_heading = None)]
    print_config: bool,
}

/// Serves. `command` is the whole command line, whose flags know their variables.
pub(crate) fn run(args: &ServeArgs, as_json: bool, command: &Command) -> Result<ExitCode> {
    let mut config = args.server.load()?;
    // Trouble with the largest batches must show before the first request, not during one.
    config.engine.warm_up_largest_batches = true;
    if args.print_config {
        print_config(&config.settings, as_json, &mut print::stdout())?;
        return Ok(ExitCode::SUCCESS);
    }
    for unknown in Unknown::here(command) {
        tracing::warn!("the variable {unknown}");
    }
    descriptors::raise(config.settings.max_connections());
    let runtime = runtime()?;
    // Before the model is loaded, which takes a while: from now on SIGHUP no longer ends the program.
    let hangups = Hangups::of(&runtime, &config.access)?;
    // Without the operations port, metrics cannot be read.
    let telemetry = match config.ops_listen {
        Some(_) => Telemetry::new(&FAMILIES)?,
        None => Telemetry::off(),
    };
    let begun = Instant::now();
    let stages = args.model.load()?;
    ProgramMetrics::new(&telemetry).model_load.set(begun.elapsed());
    runtime.block_on(async {
        tokio::spawn(hangups.log());
        let mut signals = Signals::new()?;
        let mut server = tokio::select! {
            started = RunningServer::start(config, stages, telemetry) => started?,
            signal = signals.next() => {
                tracing::info!(signal = signal.name, "asked to stop before the server was there");
                return Ok(ExitCode::SUCCESS);
            }
        };
        tokio::select! {
            ready = server.ready() => if let Err(error) = ready {
                return not_ready(error);
            },
            signal = signals.next() => return stop(server, signals, signal).await,
        }
        announce(&server, as_json)?;
        tokio::select! {
            ended = server.failed() => ended.map(exit_code),
            signal = signals.next() => stop(server, signals, signal).await,
        }
    })
}

/// Handles a failed start: returns the exit code for a lost device, or else the error.
fn not_ready(error: anyhow::Error) -> Result<ExitCode> {
    if !matches!(error.downcast_ref::<EngineError>(), Some(EngineError::DeviceLost(_))) {
        return Err(error);
    }
    print::error(&error);
    Ok(ExitCode::from(DEVICE_LOST))
}

/// Returns the exit code of a server that ended by itself.
pub(crate) fn exit_code(ended: Drain) -> ExitCode {
    match ended {
        Drain::Complete | Drain::Cut => ExitCode::SUCCESS,
        Drain::DeviceLost => ExitCode::from(DEVICE_LOST),
    }
}

fn announce(server: &RunningServer, as_json: bool) -> Result<()> {
    let (model, address) = (server.model(), server.address());
    if as_json {
        let ready = json!({
            "ready": true,
            "address": address,
            "ops_address": server.ops_address(),
            "model": model.name,
            "digest": model.digest,
            "device": model.device,
        });
        return print::json_line(&ready);
    }
    let mut out = print::stdout();
    Ok(writeln!(out, "ready: {} on {} at {}", model.name, model.device, address)?)
}

/// Stops the server as the settings say, or at once on a second signal.
pub(crate) async fn stop(server: RunningServer, mut signals: Signals, signal: Signal) -> Result<ExitCode> {
    tracing::info!(signal = signal.name, "asked to stop");
    tokio::select! {
        drained = server.stop() => {
            if drained? == Drain::Cut {
                tracing::warn!("the grace period was over before every request was answered");
            }
            Ok(ExitCode::SUCCESS)
        }
        signal = signals.next() => {
            tracing::warn!(signal = signal.name, "asked a second time; stopped at once");
            // Threads that compute are not waited for.
            std::process::exit(signal.exit_code())
        }
    }
}
