//! The flags of `eval`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum, value_parser};
use sed_client::{Contrast, SynonymMode};
use sed_eval::Exif;

use super::{official::OfficialArgs, output::OutputArgs};
use crate::args::{CompetitionArgs, RequestArgs, TargetArgs, WordsArgs};

const EXAMPLES: &str = "\
Examples:
  sed-serve eval scenes/                                every condition at every count of words
  sed-serve eval scenes/ --words-count 40 --limit 20
  sed-serve eval scenes/ --rejection 1,2,4,8            what rejection keeps, changes and saves
  sed-serve eval scenes/ --single                       one word at a time, with and without contrast words
  sed-serve eval scenes/synonyms --synonyms best        each word and the name of its category, the best of both
  sed-serve eval photos/ --labels masks/ --words \"cow, pig, grass\" --thresholds
  sed-serve eval --dataset ade20k-150 --data /datasets --model models/sed-b.safetensors
  sed-serve eval --dataset pascal-voc-20b --data /datasets --fast --limit 100
  sed-serve eval --table --data /datasets --model models/sed-l.safetensors > table.md
  sed-serve eval validation/ --labels annotations/ --vocabulary ade20k-150 --first-label 1 \\
      --resize official --model models/sed-b.safetensors --per-category
  sed-serve eval validation/ --labels annotations/ --vocabulary ade20k-150 --first-label 1 --top-k 0 \\
      --resize official --server http://127.0.0.1:50051 --resume counts.jsonl --markdown
  sed-serve eval leftImg8bit/val --picture-suffix _leftImg8bit --labels gtFine/val \\
      --label-suffix _gtFine_labelTrainIds --words \"road, sidewalk, building, ...\"

With --dataset, pictures and labels lie where the scripts of SED and CAT-Seg (datasets/prepare_*.py) put \
them below $DETECTRON2_DATASETS:
  ade20k-847          ADE20K_2021_17_01/{images_detectron2,annotations_detectron2}/validation, 16-bit TIFF
  pascal-context-459  VOCdevkit/VOC2010/{JPEGImages,annotations_detectron2/pc459_val}, 16-bit TIFF
  ade20k-150          ADEChallengeData2016/{images,annotations_detectron2}/validation
  pascal-context-59   VOCdevkit/VOC2010/{JPEGImages,annotations_detectron2/pc59_val}
  pascal-voc-20       VOCdevkit/VOC2012/{JPEGImages,annotations_detectron2/val}
  pascal-voc-20b      VOCdevkit/VOC2012/{JPEGImages,annotations_detectron2_bg/val}
  coco-stuff-171      coco-stuff/{images,annotations_detectron2}/val2017
The protocol is the official one: --resize official, rejection off (--fast: top_k 8), pictures and labels \
without each other left out. A label with a value that is neither a category nor the dataset's ignored value \
is a damaged one. The 39 words of pascal-voc-20b from the 21st on count as one category, background, with \
--labels, too.

Scenes are what `models/sed-tiny/train/evaluate.py --write FOLDER` makes: <condition>/<i>.png, <i>.label.png \
and <i>.json, which holds the words.

With --labels, a picture's label has its name, in the same subfolder: a PNG of grey values (8 or 16 bits) or \
palette indices, or a grey TIFF. Values outside the vocabulary are ignored pixels. Hidden files (.name) are \
no pictures. The figures are those of detectron2's SemSegEvaluator: means over the categories that some \
label has, false positives counted in every picture. As there, a picture with an EXIF orientation is turned \
upright and its label is not, of which a warning tells; --exif ignore takes both as they are stored.

--thresholds helps to choose --threshold: precision is the share of the pixels that are given to a category \
and belong to it, recall the share of its pixels that are found. A higher threshold gives up recall for \
precision. Label some twenty pictures like those that you will send, take for each category the threshold \
with the precision that you need, or the best balance (F1), and check it on other pictures.

Of scenes, --synonyms asks each word together with the name of its category where that is another.

With --labels, the figures are followed by confusions: the share of a category's pixels that were given to \
another. At the end stand warnings of labels that seem to be of another kind: most pixels outside the \
vocabulary, the values 0 and 255 alone, categories counted from 1, one category for all pixels.

--resume FILE makes a long run safe: a run that was killed goes on when it is called again, and ends with \
the same figures. The file holds JSON lines: first the model, the words, options and folders, then for each \
picture its counts [label, answer, pixels]. Pictures and labels must stay as they are meanwhile. A server that \
is restarted, is full or embeds words is waited for.

With --save-predictions, run.json in the folder says of which run the masks are and names their categories; \
as in `segment`, 255 (in 16 bits 65535) is no category.

A damaged picture, a damaged label or one of another size is named, again at the end, and left out of the \
figures, which are printed; the exit code is then 1. With --strict the first one ends the run.

Times are those of the server and include words that it has not met before. With --json there is one JSON \
object.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
// Scenes bring their own words.
#[command(mut_group("WordsSource", |group| group.required(false).requires("labels").conflicts_with("Official")))]
// Pictures with labels, in contrast to scenes.
#[command(group(ArgGroup::new("Labelled").args(["labels", "dataset", "table"]).multiple(true)))]
pub(crate) struct EvalArgs {
    /// A folder of scenes; with --labels a folder of pictures, in subfolders or not.
    #[arg(value_name = "FOLDER", required_unless_present = "Official", conflicts_with = "Official")]
    pub(super) folder: Option<PathBuf>,

    #[command(flatten)]
    pub(super) official: OfficialArgs,

    #[command(flatten)]
    pub(super) labels: LabelArgs,

    #[command(flatten)]
    pub(super) words: WordsArgs,

    #[command(flatten)]
    pub(super) competition: CompetitionArgs,

    #[command(flatten)]
    pub(super) what: WhatArgs,

    #[command(flatten)]
    pub(super) output: OutputArgs,

    #[command(flatten)]
    pub(super) request: RequestArgs,

    #[command(flatten)]
    pub(super) target: TargetArgs,
}

impl EvalArgs {
    /// The flags that were given and under which figures are not those of the official evaluation, options of a
    /// request aside.
    pub(super) fn unofficial(&self) -> Vec<&'static str> {
        let competition = &self.competition;
        [
            ("--limit", self.what.limit.is_some()),
            ("--list", self.labels.list.is_some()),
            ("--exif ignore", self.labels.exif == Some(ExifChoice::Ignore)),
            ("--synonyms best", competition.synonym_mode() == SynonymMode::Best),
            ("--contrast", competition.contrast().is_some_and(|contrast| contrast != Contrast::Off)),
        ]
        .into_iter()
        .filter_map(|(flag, is_given)| is_given.then_some(flag))
        .collect()
    }
}

/// Labels of a dataset in the usual layout.
#[derive(Debug, Args)]
#[command(next_help_heading = "Labels")]
pub(super) struct LabelArgs {
    /// The folder of labels: for every picture one image of the same name and size.
    #[arg(long, value_name = "FOLDER", requires = "WordsSource", conflicts_with = "Official")]
    pub(super) labels: Option<PathBuf>,

    /// Score only the pictures whose names are in this file, one a line, with or without ending and
    /// subfolder.
    #[arg(long, value_name = "FILE", requires = "Labelled", conflicts_with = "table")]
    pub(super) list: Option<PathBuf>,

    /// The end of the pictures' names before their ending, such as _leftImg8bit; others are no pictures.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, requires = "labels")]
    pub(super) picture_suffix: String,

    /// The end of the labels' names before their ending, such as _gtFine_labelTrainIds.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, requires = "labels")]
    pub(super) label_suffix: String,

    /// Treatment of the EXIF orientation of pictures: turn them upright, or take them as stored. Labels are
    /// always taken as stored. [default: apply, with a warning]
    #[arg(long, value_name = "HOW")]
    pub(super) exif: Option<ExifChoice>,

    /// The value of the first category in the labels; ADE20K as it is released counts from 1.
    #[arg(long, value_name = "N", default_value_t = 0, requires = "labels")]
    pub(super) first_label: u16,
}

/// The treatment of a picture's EXIF orientation. That of a label never counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ExifChoice {
    /// The picture is segmented as it was stored.
    Ignore,
    /// The picture is turned upright, as detectron2 does; its label stays as it was stored.
    Apply,
}

impl From<ExifChoice> for Exif {
    fn from(choice: ExifChoice) -> Self {
        match choice {
            ExifChoice::Ignore => Self::Ignore,
            ExifChoice::Apply => Self::Apply,
        }
    }
}

/// Flags that choose the measurement.
#[derive(Debug, Args)]
#[command(next_help_heading = "What to measure")]
pub(super) struct WhatArgs {
    /// Only the scenes' lists of N words.
    #[arg(long, value_name = "N", conflicts_with = "Labelled")]
    pub(super) words_count: Option<usize>,

    /// Compare rejection at these values of top_k to the full path, with up to 300 words for each scene.
    #[arg(
        long,
        value_name = "K,...",
        value_delimiter = ',',
        value_parser = value_parser!(u32).range(1..),
        conflicts_with_all = ["Labelled", "words_count", "top_k", "per_category", "synonyms"],
    )]
    pub(super) rejection: Option<Vec<u32>>,

    /// Print precision and recall over thresholds of the score, 0 to 0.95 in steps of 0.05, of each category
    /// and of all together.
    #[arg(long, conflicts_with_all = ["rejection", "threshold", "table"])]
    pub(super) thresholds: bool,

    /// Ask for each word that is in a scene alone, and for as many that are not, without contrast words and
    /// with them (those of --contrast, or auto).
    #[arg(long, conflicts_with_all = ["Labelled", "rejection", "thresholds", "words_count", "per_category"])]
    pub(super) single: bool,

    /// Also print the IoU of each category, or its curve; --json always contains them.
    #[arg(long)]
    pub(super) per_category: bool,

    /// Only the first N pictures, or scenes of each condition.
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    limit: Option<u32>,

    /// End the run at the first picture that cannot be scored.
    #[arg(long)]
    pub(super) strict: bool,

    /// Requests at the same time [default: 4; with --rejection, which compares times, 1]
    #[arg(long, value_name = "N", value_parser = value_parser!(u8).range(1..=64))]
    jobs: Option<u8>,
}

impl WhatArgs {
    /// Number of pictures, or of scenes of each condition; `None` is all.
    pub(super) fn limit(&self) -> Option<usize> {
        self.limit.map(|limit| limit as usize)
    }

    /// Requests at the same time.
    pub(super) fn jobs(&self) -> usize {
        let usual = if self.rejection.is_some() { 1 } else { 4 };
        self.jobs.map_or(usual, usize::from)
    }
}
