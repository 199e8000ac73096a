//! `segment`: pictures against a server, or against a private one for the time of the command.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use sed_proto::v1;

use crate::{
    args::{ModelArgs, WordsArgs},
    client::Client,
    output_files::{OutputFolder, write_report},
    pictures, print, progress,
    report::{Files, Report},
    running::{RunningServer, private_config, runtime},
};

const EXAMPLES: &str = "\
Examples:
  sed-serve segment cat.jpg --words \"cat|kitty, sofa, floor\"
  sed-serve segment photos/ --words-file words.txt --output results
  sed-serve segment cat.jpg --vocabulary ade20k-150 --top-k 4 --model models/sed-b.safetensors
  sed-serve segment cat.jpg --words \"cat, sofa\" --server http://127.0.0.1:50051
  sed-serve segment photos/ --words \"cat, sofa\" --no-output --json | jq .latency.total_ms

Without --server the model is loaded for this command, and asked in the same way.

The mask is an index PNG: the value of a pixel is the index of its category in the words, counted from 0; 255 \
(in 16 bits 65535) is no category. With --json there is one JSON object on one line for each picture.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SegmentArgs {
    /// Pictures (JPEG, PNG, WebP, GIF, BMP, TIFF), and folders of them.
    #[arg(required = true, value_name = "PICTURE|FOLDER")]
    pictures: Vec<PathBuf>,

    #[command(flatten)]
    words: WordsArgs,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    request: RequestArgs,

    /// Ask this server, http://host:port, instead of loading a model; what is said of a model then counts for
    /// nothing.
    #[arg(long, value_name = "URL", help_heading = "Server")]
    server: Option<String>,

    /// Give up on a picture after this time; it is the deadline of the request.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, help_heading = "Server")]
    timeout: Option<Duration>,

    #[command(flatten)]
    model: ModelArgs,
}

/// Where results go.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
struct OutputArgs {
    /// The folder for <name>.overlay.png and <name>.mask.png, and with --json also <name>.report.json.
    #[arg(short, long, value_name = "FOLDER", default_value = "sed-output")]
    output: PathBuf,

    /// Write no files.
    #[arg(long, conflicts_with = "output")]
    no_output: bool,
}

/// What a request says beside its picture and its words.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "How to segment")]
pub(crate) struct RequestArgs {
    /// Rejection: before each decoder level, only categories stay that are among the N best somewhere in the
    /// picture. Smaller is faster; 0 turns it off. [default: the server's, usually 8]
    #[arg(long, value_name = "N")]
    top_k: Option<u32>,

    /// How the picture is brought to the model's size: in one step, or as the official evaluation does.
    #[arg(long, value_name = "HOW", default_value = "direct")]
    resize: Resize,

    /// A pixel whose best score is below this, 0 to 1, belongs to no category.
    #[arg(long, value_name = "SCORE")]
    threshold: Option<f32>,

    /// Regions of fewer pixels are taken out.
    #[arg(long, value_name = "PIXELS", default_value_t = 0, hide_default_value = true)]
    min_area: u32,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Resize {
    #[default]
    Direct,
    Official,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || "expected seconds, above 0".to_owned();
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(seconds).ok().filter(|time| !time.is_zero()).ok_or_else(wrong)
}

impl RequestArgs {
    /// A request for the index mask, and the overlay if it is wanted.
    pub(crate) fn request(
        &self,
        picture: impl Into<Vec<u8>>,
        vocabulary: v1::Vocabulary,
        with_overlay: bool,
    ) -> v1::SegmentRequest {
        let mut options = v1::SegmentOptions {
            top_k: self.top_k,
            score_threshold: self.threshold,
            min_area: self.min_area,
            overlay: with_overlay.then(v1::Overlay::default),
            list_rejected: true,
            ..v1::SegmentOptions::default()
        };
        options.set_resize_mode(match self.resize {
            Resize::Direct => v1::ResizeMode::Direct,
            Resize::Official => v1::ResizeMode::TwoStep,
        });
        options.push_mask_encodings(v1::MaskEncoding::IndexPng);
        let encoded = v1::image::Source::Encoded(picture.into().into());
        v1::SegmentRequest {
            image: Some(v1::Image { source: Some(encoded) }),
            vocabulary: Some(vocabulary),
            options: Some(options),
            request_id: String::new(),
        }
    }
}

pub(crate) fn run(args: &SegmentArgs, as_json: bool) -> Result<ExitCode> {
    let vocabulary = args.words.vocabulary()?;
    let pictures = pictures::find(&args.pictures)?;
    let folder = (!args.output.no_output).then(|| OutputFolder::create(&args.output.output)).transpose()?;
    let stages = args.server.is_none().then(|| args.model.load()).transpose()?;
    runtime()?.block_on(async {
        let mut private = match stages {
            Some(stages) => Some(RunningServer::start(private_config(0)?, stages).await?),
            None => None,
        };
        let url = match (&mut private, &args.server) {
            (Some(server), _) => {
                let spinner = progress::spinner("warming up the model");
                server.ready().await?;
                spinner.finish_and_clear();
                server.url()
            }
            (None, Some(url)) => url.clone(),
            // There is a private server where no other is named.
            (None, None) => bail!("no server; give --server"),
        };
        let mut work = Work {
            client: Client::connect(&url, args.timeout).await?,
            vocabulary,
            folder,
            request: &args.request,
            as_json,
        };
        let code = work.all(&pictures).await?;
        drop(work);
        if let Some(server) = private {
            server.stop().await?;
        }
        Ok(code)
    })
}

/// What is the same for all pictures.
struct Work<'a> {
    client: Client,
    vocabulary: v1::Vocabulary,
    folder: Option<OutputFolder>,
    request: &'a RequestArgs,
    as_json: bool,
}

impl Work<'_> {
    /// Segments all pictures. One that fails is reported and does not keep the others from their turn.
    async fn all(&mut self, pictures: &[PathBuf]) -> Result<ExitCode> {
        let bar = progress::count(pictures.len() as u64);
        let mut failed = 0;
        for picture in pictures {
            bar.set_message(picture.display().to_string());
            let report = self.one(picture).await.with_context(|| picture.display().to_string());
            bar.suspend(|| match &report {
                Ok(report) => self.print(report),
                Err(error) => {
                    failed += 1;
                    print::error(error);
                    Ok(())
                }
            })?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        if failed > 0 && pictures.len() > 1 {
            bail!("{failed} of {} pictures failed", pictures.len());
        }
        Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    async fn one(&mut self, picture: &Path) -> Result<Report> {
        let content = read(picture).await?;
        let request = self.request.request(content, self.vocabulary.clone(), self.folder.is_some());
        let answer = self.client.segment(request).await?;
        let files = match &mut self.folder {
            Some(folder) => folder.write(&pictures::stem(picture), &answer, self.as_json)?,
            None => Files::default(),
        };
        let report = Report::new(picture.display().to_string(), answer, files);
        write_report(&report)?;
        Ok(report)
    }

    fn print(&self, report: &Report) -> Result<()> {
        if self.as_json {
            return print::json_line(report);
        }
        Ok(print::report(report, &mut print::stdout())?)
    }
}

/// No server takes a larger message, so a larger file is not even read.
const MOST_BYTES: u64 = 1 << 30;

async fn read(picture: &Path) -> Result<Vec<u8>> {
    let bytes = tokio::fs::metadata(picture).await.context("cannot read the picture")?.len();
    if bytes > MOST_BYTES {
        bail!("the file has {bytes} bytes, more than any server takes ({MOST_BYTES}); make it smaller");
    }
    tokio::fs::read(picture).await.context("cannot read the picture")
}
