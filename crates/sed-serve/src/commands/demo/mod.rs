//! `demo`: serves the embedded model over real gRPC, and segments the pictures that come with it, with and
//! without rejection.

mod show;
mod words;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use clap::Args;
use sed_client::{Access, Client, Retries, SegmentRequest, v1};
use sed_telemetry::Telemetry;
use serde::Serialize;

use crate::{
    args::{Format, ModelArgs, RequestArgs},
    commands::serve,
    embedded::{self, Example},
    output_files::{OutputFolder, write_report},
    print, progress,
    report::Report,
    running::{RunningServer, private_config, runtime},
    signals::Signals,
};

const EXAMPLES: &str = "\
Examples:
  sed-serve demo
  sed-serve demo --picture farm --once
  sed-serve demo --model models/sed-b.safetensors    the same pictures with another model";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DemoArgs {
    /// Only this picture: farm, beach, street, savanna, winter, living-room, table or sea-floor.
    #[arg(long, value_name = "NAME")]
    picture: Option<String>,

    /// The folder for the overlay pictures and masks.
    #[arg(short, long, value_name = "FOLDER", default_value = "sed-demo")]
    output: PathBuf,

    /// The port on loopback; 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    port: u16,

    /// End after the pictures, instead of serving on.
    #[arg(long)]
    once: bool,

    #[command(flatten)]
    model: ModelArgs,
}

/// One picture: the answer with rejection, and the time without.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    report: Report,
    /// Time from the cost map to the index map with rejection.
    decoder_ms: f64,
    /// The same time with rejection off.
    decoder_ms_without_rejection: f64,
}

pub(crate) fn run(args: &DemoArgs, as_json: bool) -> Result<ExitCode> {
    let examples = chosen(args.picture.as_deref())?;
    let folder = OutputFolder::create(&args.output, &Format::USUAL, as_json)?;
    let stages = args.model.load()?;
    runtime()?.block_on(async {
        let mut signals = Signals::new()?;
        let mut server =
            RunningServer::start(private_config(args.port, true)?, stages, Telemetry::off()).await?;
        let pictures = async {
            let spinner = progress::spinner("warming up the model");
            server.ready().await?;
            spinner.finish_and_clear();
            if !as_json {
                show::introduce(&server, args.model.model.is_none())?;
            }
            let pictures = segment(&server.url(), &examples, &folder, as_json).await?;
            if !as_json {
                show::pictures(&pictures)?;
                if !args.once {
                    show::how_to_go_on(&server.url())?;
                }
            }
            anyhow::Ok(())
        };
        tokio::select! {
            done = pictures => done?,
            signal = signals.next() => return serve::stop(server, signals, signal).await,
        }
        if args.once {
            server.stop().await?;
            return Ok(ExitCode::SUCCESS);
        }
        tokio::select! {
            ended = server.failed() => ended.map(serve::exit_code),
            signal = signals.next() => serve::stop(server, signals, signal).await,
        }
    })
}

fn chosen(name: Option<&str>) -> Result<Vec<Example>> {
    let mut examples = embedded::examples()?;
    if examples.is_empty() {
        bail!("this build carries no pictures; build it with the feature embedded-model");
    }
    if let Some(name) = name {
        let known: Vec<String> = examples.iter().map(|example| example.name().to_owned()).collect();
        examples.retain(|example| example.name() == name);
        if examples.is_empty() {
            bail!("there is no picture {name:?}; there are {}", known.join(", "));
        }
    }
    Ok(examples)
}

/// Segments every picture with the usual rejection and with rejection off. The times that are compared hold
/// neither words nor encoder, which the second request finds in the caches.
async fn segment(
    url: &str,
    examples: &[Example],
    folder: &OutputFolder,
    as_json: bool,
) -> Result<Vec<Shown>> {
    let client = Client::connect(url, &Access::default()).await?.with_retries(Retries::OFF);
    let mut options = RequestArgs::default().options(true);
    options.report_ambiguities = true;
    let without = v1::SegmentOptions { top_k: Some(0), overlay: None, ..options.clone() };
    let bar = progress::count(examples.len() as u64);
    let mut pictures = Vec::with_capacity(examples.len());
    for example in examples {
        bar.set_message(example.file.clone());
        let picture = example.content().context("a picture of the demo is missing in this build")?;
        let request = SegmentRequest::encoded(picture).words(words::of(example)?);
        let asked = async |options| {
            let answer = client.segment(request.clone().options(options)).await;
            answer.with_context(|| example.file.clone())
        };
        let answer = asked(options.clone()).await?;
        let decoder_ms_without_rejection = asked(without.clone()).await?.report.latency.decoder_ms();
        let files = folder.write(Path::new(example.name()), &answer)?;
        let decoder_ms = answer.report.latency.decoder_ms();
        let report =
            Report { picture: example.file.clone(), answer: answer.report, files, usual_contrast: false };
        write_report(&report)?;
        let shown = Shown { report, decoder_ms, decoder_ms_without_rejection };
        if as_json {
            bar.suspend(|| print::json_line(&shown))?;
        }
        pictures.push(shown);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(pictures)
}
