//! `segment`: segments pictures by a server, or by a private one for the duration of the command.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::Args;
use indicatif::ProgressBar;
use sed_client::{Answer, Client, MaskEncoding, Retries, SegmentRequest, v1};

use crate::{
    args::{CompetitionArgs, RequestArgs, TargetArgs, WordsArgs, plane_encoding},
    output_files::{OutputFolder, write_report},
    pictures, preparing, print, progress,
    report::{Files, Report},
};

const EXAMPLES: &str = "\
Examples:
  sed-serve segment cat.jpg --words \"cat|kitty, sofa, floor\"
  sed-serve segment photos/ --words-file words.txt --output results
  sed-serve segment cat.jpg --vocabulary ade20k-150 --top-k 4 --model models/sed-b.safetensors
  sed-serve segment cat.jpg --words \"cat, sofa\" --server http://127.0.0.1:50051
  sed-serve segment photos/ --words \"cat, sofa\" --no-output --json | jq .latency.total_ms
  sed-serve segment cow.jpg --words cow --threshold cow=0.4     one word: contrast words compete with it
  sed-serve segment room.jpg --words \"sofa|couch, chair\" --synonyms best --encodings score-png,margin-png

Without --server the model is loaded for this command, and asked in the same way.

The mask is an index PNG: the value of a pixel is the index of its category in the words, counted from 0; \
255 (in 16 bits 65535) is no category. With --json there is one JSON object on one line for each picture.

An arg-max over one word has no choice: it claims every pixel. So a request of fewer than five words has \
contrast words (--contrast auto), whose pixels stay unlabelled; the output says so, and --contrast off turns \
it off. \"unsure\" lines name pairs of words between which the model could hardly choose: make them synonyms \
of one category if they mean the same.

Words that are new to a server may take longer to embed than a request may; then the server prepares them \
while this command waits (--ready-timeout). `sed-serve vocabulary prepare` does that beforehand.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SegmentArgs {
    /// Pictures (JPEG, PNG, WebP, GIF, BMP, TIFF), and folders of them.
    #[arg(required = true, value_name = "PICTURE|FOLDER")]
    pictures: Vec<PathBuf>,

    #[command(flatten)]
    words: WordsArgs,

    #[command(flatten)]
    competition: CompetitionArgs,

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

    /// Write these planes of every pixel, too: the best score (<name>.score.png, grey, 0 to 255 for 0 to 1;
    /// raw: <name>.score.f16), the second best category (<name>.runner-up.png, as the mask), and the
    /// difference of their scores (<name>.margin.png, <name>.margin.f16).
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_parser = plane_encoding())]
    #[arg(conflicts_with = "no_output")]
    encodings: Vec<MaskEncoding>,

    /// Fade the overlay's colours where the margin between the best and the second best category is small.
    #[arg(long, conflicts_with = "no_output")]
    fade_unsure: bool,
}

impl SegmentArgs {
    /// The options of every request.
    fn options(&self) -> v1::SegmentOptions {
        let OutputArgs { no_output, encodings, fade_unsure, .. } = &self.output;
        let mut options = self.request.options(!no_output);
        options.report_ambiguities = true;
        encodings.iter().for_each(|plane| options.push_mask_encodings(*plane));
        if let Some(overlay) = &mut options.overlay {
            overlay.fade_unsure = *fade_unsure;
        }
        options
    }
}

pub(crate) fn run(args: &SegmentArgs, as_json: bool) -> Result<ExitCode> {
    let mut vocabulary = args.words.vocabulary()?;
    let usual_contrast = args.competition.apply_to_few(&mut vocabulary);
    let pictures = pictures::find(&args.pictures)?;
    let folder = (!args.output.no_output).then(|| OutputFolder::create(&args.output.output)).transpose()?;
    args.target.with_client(async |client| {
        let mut work = Work {
            client,
            vocabulary,
            folder,
            options: args.options(),
            ready_timeout: args.target.ready_timeout(),
            usual_contrast,
            as_json,
            warned: false,
            bar: progress::count(pictures.len() as u64),
        };
        work.all(&pictures).await
    })
}

/// Reports whether a server refused a request only until its words are ready.
fn is_not_ready(error: &sed_client::Error) -> bool {
    error.reason().as_deref() == Some("VOCABULARY_NOT_READY") && error.retry_after().is_some()
}

/// The state that all pictures share.
struct Work {
    client: Client,
    vocabulary: v1::Vocabulary,
    folder: Option<OutputFolder>,
    options: v1::SegmentOptions,
    ready_timeout: Duration,
    /// True if the contrast words are this program's choice.
    usual_contrast: bool,
    as_json: bool,
    /// True once the server's warnings were printed: they concern the words, which all pictures share.
    warned: bool,
    /// The bar over the pictures, which also shows the wait for words.
    bar: ProgressBar,
}

impl Work {
    /// Segments all pictures. A failure is printed, and the next picture follows.
    async fn all(&mut self, pictures: &[PathBuf]) -> Result<ExitCode> {
        let bar = self.bar.clone();
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
            .options(self.options.clone());
        let answer = self.ask(request).await?;
        if !std::mem::replace(&mut self.warned, true) {
            print::warnings(&answer.warnings);
        }
        let files = match &mut self.folder {
            Some(folder) => folder.write(&pictures::stem(picture), &answer, self.as_json)?,
            None => Files::default(),
        };
        let usual_contrast = self.usual_contrast;
        let report =
            Report { picture: picture.display().to_string(), answer: answer.report, files, usual_contrast };
        write_report(&report)?;
        Ok(report)
    }

    /// Segments one picture. Where its words are not ready, shows how the server prepares them, and asks
    /// again.
    async fn ask(&self, request: SegmentRequest) -> Result<Answer> {
        let at_once = self.client.clone().with_retries(Retries::OFF);
        match at_once.segment(request.clone()).await {
            Err(error) if is_not_ready(&error) && !self.ready_timeout.is_zero() => {}
            answered => return Ok(answered?),
        }
        let picture = self.bar.message();
        let prepared = preparing::beside(&self.bar, &self.client, self.vocabulary.clone());
        tokio::time::timeout(self.ready_timeout, prepared).await.with_context(|| {
            let seconds = self.ready_timeout.as_secs_f64();
            format!("the server's words were not ready within {seconds} s; give it more with --ready-timeout")
        })??;
        self.bar.set_message(picture);
        Ok(self.client.segment(request).await?)
    }

    fn print(&self, report: &Report) -> Result<()> {
        if self.as_json {
            return print::json_line(report);
        }
        Ok(print::report(report, &mut print::stdout())?)
    }
}
