//! `segment`: segments pictures by a server, or by a private one for the duration of the command.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use clap::Args;
use sed_client::{Client, SegmentRequest, v1};

use crate::{
    args::{RequestArgs, TargetArgs, WordsArgs},
    output_files::{OutputFolder, write_report},
    pictures, print, progress,
    report::{Files, Report},
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

    #[command(flatten)]
    target: TargetArgs,
}

/// Flags for the files of the results.
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

pub(crate) fn run(args: &SegmentArgs, as_json: bool) -> Result<ExitCode> {
    let vocabulary = args.words.vocabulary()?;
    let pictures = pictures::find(&args.pictures)?;
    let folder = (!args.output.no_output).then(|| OutputFolder::create(&args.output.output)).transpose()?;
    args.target.with_client(async |client| {
        let mut work = Work { client, vocabulary, folder, request: &args.request, as_json, warned: false };
        work.all(&pictures).await
    })
}

/// The state that all pictures share.
struct Work<'a> {
    client: Client,
    vocabulary: v1::Vocabulary,
    folder: Option<OutputFolder>,
    request: &'a RequestArgs,
    as_json: bool,
    /// True once the server's warnings were printed: they concern the words, which all pictures share.
    warned: bool,
}

impl Work<'_> {
    /// Segments all pictures. A failure is printed, and the next picture follows.
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
        let request = SegmentRequest::encoded(sed_client::read_picture(picture).await?)
            .vocabulary(self.vocabulary.clone())
            .options(self.request.options(self.folder.is_some()));
        let answer = self.client.segment(request).await?;
        if !std::mem::replace(&mut self.warned, true) {
            print::warnings(&answer.warnings);
        }
        let files = match &mut self.folder {
            Some(folder) => folder.write(&pictures::stem(picture), &answer, self.as_json)?,
            None => Files::default(),
        };
        let report = Report { picture: picture.display().to_string(), answer: answer.report, files };
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
