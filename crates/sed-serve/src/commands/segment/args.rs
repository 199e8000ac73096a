//! The command line of `segment`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, value_parser};
use sed_client::v1;

use crate::{
    args::{CompetitionArgs, Format, RequestArgs, TargetArgs, WordsArgs},
    print,
};

const EXAMPLES: &str = "\
Examples:
  sed-serve segment cat.jpg --words \"cat|kitty, sofa, floor\"
  sed-serve segment photos/ --words-file words.txt --output results
  sed-serve segment photos/ --recursive --words-file words.txt --format coco-panoptic,coco-instances
  sed-serve segment photos/ --recursive --words-file words.txt --format coco-panoptic --skip-existing   go on
  sed-serve segment cat.jpg --vocabulary ade20k-150 --top-k 4 --model models/sed-b.safetensors
  sed-serve segment cat.jpg --words \"cat, sofa\" --server http://127.0.0.1:50051
  sed-serve segment photos/ --words \"cat, sofa\" --no-output --json | jq .latency.total_ms
  sed-serve segment cow.jpg --words cow --threshold cow=0.4     one word: contrast words compete with it
  sed-serve segment room.jpg --words \"sofa|couch, chair\" --synonyms best --format overlay,sureness-npz

Without --server the model is loaded for this command, and asked in the same way.

Of a folder those files are read whose names end in jpg, jpeg, png, webp, gif, bmp, tif or tiff. Other files, \
subfolders without --recursive, links to folders and results of earlier runs are left out, and named on standard \
error. Hidden files and folders, whose names begin with a dot (macOS's ._x.png too), are left out without a word.

Results have the names of the pictures without their endings, and the subfolders of the folder that was given; \
where several paths are given, each folder has one of its own. Pictures of one folder that differ in their endings \
alone keep them: x.jpg.mask.png beside x.png.mask.png.

A picture that fails is named, and the next ones follow. The run ends early where no picture succeeded and the \
words, the server or the output folder are at fault, or ten failed like that in a row. Ctrl-C ends it, too: files \
are whole or not there, and the files for all pictures hold those that were done; a second one ends at once. \
--skip-existing goes on later. Exit codes: 0 if everything was done, 1 if a picture failed, 2 if the command line \
is wrong, 130 after Ctrl-C.

Memory does not grow with the number of pictures, but for the list of names of the folder at work and, with \
--skip-existing, the names that a COCO file holds.

With --json there is one JSON object on one line for each picture, in the order of the pictures.

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
    pub(super) pictures: Vec<PathBuf>,

    /// Segment the pictures in all subfolders, too.
    #[arg(short, long)]
    pub(super) recursive: bool,

    /// Requests at the same time.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = value_parser!(u8).range(1..=64))]
    pub(super) jobs: u8,

    #[command(flatten)]
    pub(super) words: WordsArgs,

    #[command(flatten)]
    pub(super) competition: CompetitionArgs,

    #[command(flatten)]
    pub(super) output: OutputArgs,

    #[command(flatten)]
    request: RequestArgs,

    #[command(flatten)]
    pub(super) target: TargetArgs,
}

/// Flags for the files of the results.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(super) struct OutputArgs {
    /// The folder for the results; with --json also for NAME.report.json.
    #[arg(short, long, value_name = "FOLDER", default_value = "sed-output")]
    pub(super) output: PathBuf,

    /// Write no files.
    #[arg(long, conflicts_with_all = ["output", "format", "skip_existing"])]
    pub(super) no_output: bool,

    /// The forms of the results, separated by commas. NAME is a picture's name without its ending.
    #[arg(long, value_name = "FORMAT,...", value_delimiter = ',', value_enum)]
    #[arg(default_value = "overlay,index-png")]
    format: Vec<Format>,

    /// Leave out pictures whose results are there, in all formats, whatever words they were made with. COCO
    /// files are gone on with, and must have the same words.
    #[arg(long)]
    pub(super) skip_existing: bool,

    /// Fade the overlay's colours where the margin between the best and the second best category is small.
    #[arg(long, conflicts_with = "no_output")]
    fade_unsure: bool,

    /// The earlier name of further formats.
    #[arg(long, hide = true, value_delimiter = ',', value_enum, conflicts_with = "no_output")]
    encodings: Vec<Format>,
}

impl OutputArgs {
    /// The formats, each once; none without output.
    pub(super) fn formats(&self) -> Result<Vec<Format>> {
        if self.no_output {
            return Ok(Vec::new());
        }
        if !self.encodings.is_empty() {
            print::warning("--encodings is now a part of --format, and will be removed");
        }
        let mut formats = Vec::new();
        for format in self.format.iter().chain(&self.encodings) {
            if !formats.contains(format) {
                formats.push(*format);
            }
        }
        if self.fade_unsure && !formats.contains(&Format::Overlay) {
            bail!("--fade-unsure fades the overlay, which --format does not list; add `overlay`");
        }
        Ok(formats)
    }
}

impl SegmentArgs {
    /// The options of every request.
    pub(super) fn options(&self, formats: &[Format]) -> v1::SegmentOptions {
        let mut options = self.request.options(formats.contains(&Format::Overlay));
        options.report_ambiguities = true;
        for encoding in formats.iter().flat_map(|format| format.encodings()) {
            if !options.mask_encodings.contains(&i32::from(*encoding)) {
                options.push_mask_encodings(*encoding);
            }
        }
        if let Some(overlay) = &mut options.overlay {
            overlay.fade_unsure = self.output.fade_unsure;
        }
        options
    }
}
