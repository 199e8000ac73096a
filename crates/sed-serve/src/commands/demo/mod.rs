//! `demo`: serves the embedded model over real gRPC, and segments the pictures that come with it.

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail};
use clap::Args;
use sed_client::{Access, Client, Retries, SegmentRequest};
use sed_telemetry::Telemetry;

use crate::{
    args::{ModelArgs, RequestArgs},
    commands::serve,
    embedded::{self, Example},
    output_files::{OutputFolder, write_report},
    print::{self, BOLD, Cell, FAINT, Table, WARNING, gap, styled},
    progress,
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

pub(crate) fn run(args: &DemoArgs, as_json: bool) -> Result<ExitCode> {
    let examples = chosen(args.picture.as_deref())?;
    let mut folder = OutputFolder::create(&args.output)?;
    let stages = args.model.load()?;
    runtime()?.block_on(async {
        let mut signals = Signals::new()?;
        let mut server = RunningServer::start(private_config(args.port)?, stages, Telemetry::off()).await?;
        let pictures = async {
            let spinner = progress::spinner("warming up the model");
            server.ready().await?;
            spinner.finish_and_clear();
            if !as_json {
                introduce(&server, args.model.model.is_none())?;
            }
            let reports = segment(&server.url(), &examples, &mut folder, as_json).await?;
            if !as_json {
                show(&reports)?;
                if !args.once {
                    tell_how_to_go_on(&server.url())?;
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

fn introduce(server: &RunningServer, embedded_model: bool) -> Result<()> {
    let (model, out) = (server.model(), &mut print::stdout());
    let facts = format!("{} × {0} pixels in, on {}", model.input_side, model.device);
    writeln!(out, "{}  {}", styled(BOLD, format!("serving {} at {}", model.name, server.url())), facts)?;
    if embedded_model {
        writeln!(out, "{}", styled(WARNING, embedded::CAVEAT))?;
    }
    Ok(gap(out)?)
}

async fn segment(
    url: &str,
    examples: &[Example],
    folder: &mut OutputFolder,
    as_json: bool,
) -> Result<Vec<Report>> {
    let client = Client::connect(url, &Access::default()).await?.with_retries(Retries::OFF);
    let options = RequestArgs::default().options(true);
    let bar = progress::count(examples.len() as u64);
    let mut reports = Vec::with_capacity(examples.len());
    for example in examples {
        bar.set_message(example.file.clone());
        let picture = example.content().context("a picture of the demo is missing in this build")?;
        let request = SegmentRequest::encoded(picture).words(&example.words).options(options.clone());
        let answer = client.segment(request).await.with_context(|| example.file.clone())?;
        let files = folder.write(example.name(), &answer, as_json)?;
        let report = Report { picture: example.file.clone(), answer: answer.report, files };
        write_report(&report)?;
        if as_json {
            bar.suspend(|| print::json_line(&report))?;
        }
        reports.push(report);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(reports)
}

/// Prints the report on the first picture, and a line for each of the others.
fn show(reports: &[Report]) -> Result<()> {
    let out = &mut print::stdout();
    let Some((first, others)) = reports.split_first() else { return Ok(()) };
    print::report(first, out)?;
    if others.is_empty() {
        return Ok(());
    }
    let mut table = Table::default();
    let heads = ["picture", "time", "categories left", "largest", "overlay"];
    table.row(heads.map(|head| Cell::left(head).styled(FAINT)));
    others.iter().for_each(|report| table.row(print::summary(report)));
    table.write("", out)?;
    Ok(gap(out)?)
}

fn tell_how_to_go_on(url: &str) -> Result<()> {
    let out = &mut print::stdout();
    let host = url.trim_start_matches("http://");
    writeln!(out, "{}", styled(BOLD, "try your own picture and words"))?;
    writeln!(out, "  sed-serve segment picture.jpg --words \"cat, grass, sky\" --server {url}")?;
    writeln!(out, "{}", styled(BOLD, "call it from anything that speaks gRPC (reflection is on)"))?;
    writeln!(out, "  grpcurl -plaintext {host} describe sed.v1.SegmentationService")?;
    writeln!(out, "  grpcurl -plaintext {host} sed.v1.SegmentationService/GetServerInfo")?;
    let request = r#"{"image":{"encoded":"%s"},"vocabulary":{"categories":{"categories":[{"name":"cat"}]}}}"#;
    writeln!(out, "  printf '{request}' \"$(base64 < picture.jpg | tr -d '\\n')\" |")?;
    writeln!(out, "    grpcurl -plaintext -d @ {host} sed.v1.SegmentationService/Segment")?;
    gap(out)?;
    Ok(writeln!(out, "serving on; Ctrl-C ends it")?)
}
