//! The flags of `bench model`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum, builder::BoolishValueParser};
use sed_bench::{
    mix::{Size, WordSource},
    model::Axes,
};
use sed_model::{
    Rejection, checkpoint::Checkpoint, config::SedConfig, prompts::Category, prompts::builtin_vocabulary,
    synthetic,
};

use crate::{
    args::{DeviceChoice, ModelArgs, NumberFormat, device_choice},
    commands::bench::plot,
    opened_model::OpenedModel,
};

/// Values that `--full` measures for flags that are not given.
const ALL_CATEGORIES: [usize; 6] = [1, 20, 59, 150, 459, 847];
const ALL_TOP_K: [u32; 5] = [0, 1, 2, 4, 8];
const ALL_BATCHES: [usize; 6] = [1, 2, 4, 8, 16, 32];
const ALL_FORMATS: [NumberFormat; 2] = [NumberFormat::F32, NumberFormat::Bf16];
/// Values that are measured without `--full`: minutes, not hours.
const FEW_CATEGORIES: [usize; 3] = [1, 20, 150];
const FEW_TOP_K: [u32; 2] = [0, 8];
/// The seed of random weights, so that every run measures the same survivors.
const SEED: u64 = 1;
/// Vocabularies that the words come from: the first that is large enough.
const VOCABULARIES: [&str; 2] = ["ade20k-150", "ade20k-847"];

const EXAMPLES: &str = "\
Examples:
  sed-serve bench model                                     the embedded model, a small grid
  sed-serve bench model --random sed-b --plot cost.svg      SED-B's sizes, with nothing to download
  sed-serve bench model --model models/sed-b.safetensors --categories 20,150 --top-k off,8 --dtype f32,bf16
  sed-serve bench model --random sed-b --full --json-file grid.json

Every combination of --device, --dtype, --categories, --top-k and --batch is measured: one round that does not \
count, then --rounds that do; figures are medians over the rounds. Pictures are decoded and scaled before, words \
are embedded before. A combination that would need more memory than is free is passed over. Ctrl-C ends early \
and keeps what was measured.

GFLOP are two for each multiply-accumulate that this implementation makes, counted from the sizes; those of the \
official order are given beside them. The processor's peak is measured at the start, in registers, for both \
number formats; the share of the peak is of the format that weights are kept in.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ModelBenchArgs {
    /// Pictures, and folders of them. [default: those of the demo]
    #[arg(value_name = "PICTURE|FOLDER")]
    pictures: Vec<PathBuf>,

    /// Scale every picture to these sizes first; they are the sizes of the results.
    #[arg(long, value_name = "WxH,...", value_delimiter = ',')]
    sizes: Vec<Size>,

    /// The built-in vocabulary that the words come from. [default: ade20k-150, or ade20k-847 for more words]
    #[arg(long, value_name = "NAME")]
    vocabulary: Option<String>,

    /// Batches that are measured of every combination.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) rounds: u32,

    /// Also write the figures as JSON to this file, again after every combination, so that a run that ends
    /// early leaves the figures until then; `-` is standard output, as is --json.
    #[arg(long, value_name = "FILE|-")]
    pub(super) json_file: Option<PathBuf>,

    /// Draw time over categories, as .svg or .png.
    #[arg(long, value_name = "FILE", value_parser = plot::file)]
    pub(super) plot: Option<PathBuf>,

    #[command(flatten)]
    grid: GridArgs,

    #[command(flatten)]
    weights: WeightsArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Grid")]
struct GridArgs {
    /// The whole grid: 1 to 847 categories, top_k off to 8, batches of 1 to 32, f32 and bf16. Hours.
    #[arg(long)]
    full: bool,

    /// Numbers of categories to look for. [default: 1,20,150]
    #[arg(long, value_name = "N,...", value_delimiter = ',', value_parser = positive)]
    categories: Vec<usize>,

    /// Values of top_k; `off` or 0 turns rejection off. [default: off,8]
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    top_k: Vec<Rejection>,

    /// Images in a batch. [default: 1]
    #[arg(long, value_name = "N,...", value_delimiter = ',', value_parser = positive)]
    batch: Vec<usize>,

    /// Number formats of weights, image features and text embeddings. [default: f32]
    #[arg(long, env = "SED_DTYPE", value_name = "FORMAT,...", value_delimiter = ',')]
    dtype: Vec<NumberFormat>,

    /// Devices that the model runs on, one after the other.
    #[arg(
        long,
        env = "SED_DEVICE",
        value_name = "DEVICE,...",
        value_delimiter = ',',
        default_value = "cpu",
        value_parser = device_choice
    )]
    device: Vec<DeviceChoice>,

    /// Let a GPU round the factors of f32 products to TF32.
    #[arg(long, env = "SED_TF32", value_parser = BoolishValueParser::new(), hide_short_help = true)]
    tf32: bool,

    /// Threads that compute; 0 is one for each core.
    #[arg(long, env = "SED_THREADS", value_name = "N", default_value_t = 0)]
    threads: usize,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
struct WeightsArgs {
    /// A checkpoint, .pth or .safetensors. Without it, the small model inside this program.
    #[arg(long, env = "SED_MODEL", value_name = "FILE")]
    model: Option<PathBuf>,

    /// The model's sizes, where they are neither in a config.json beside the checkpoint nor to be recognised
    /// from its tensors.
    #[arg(long, env = "SED_MODEL_CONFIG", value_name = "FILE", requires = "model", hide_short_help = true)]
    model_config: Option<PathBuf>,

    /// Random weights, the same each time, for a model of full size. It finds nothing; its work is the same.
    #[arg(long, value_name = "SIZE", conflicts_with = "model")]
    random: Option<RandomModel>,
}

/// A model whose weights can be generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RandomModel {
    /// ConvNeXt-B, 181 million parameters.
    SedB,
    /// ConvNeXt-L, 353 million parameters.
    SedL,
}

fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| (1..=65_536).contains(number)).ok_or("expected 1 to 65536".into())
}

/// The values of a flag: those that were given, or else `all` with `--full` and `few` without it.
fn values<T: Copy>(given: &[T], full: bool, all: &[T], few: &[T]) -> Vec<T> {
    match (given, full) {
        ([], true) => all.to_vec(),
        ([], false) => few.to_vec(),
        (given, _) => given.to_vec(),
    }
}

fn sorted<T: Ord>(mut values: Vec<T>) -> Vec<T> {
    values.sort_unstable();
    values.dedup();
    values
}

impl ModelBenchArgs {
    /// Returns the axes of the grid on every model.
    pub(super) fn axes(&self) -> Axes {
        let grid = &self.grid;
        let (all, few) = (ALL_TOP_K.map(Rejection::from_top_k), FEW_TOP_K.map(Rejection::from_top_k));
        Axes {
            categories: sorted(values(&grid.categories, grid.full, &ALL_CATEGORIES, &FEW_CATEGORIES)),
            rejections: sorted(values(&grid.top_k, grid.full, &all, &few)),
            batches: sorted(values(&grid.batch, grid.full, &ALL_BATCHES, &[1])),
        }
    }

    /// Returns the models to load, one after the other.
    pub(super) fn models(&self) -> Vec<ModelArgs> {
        let formats = values(&self.grid.dtype, self.grid.full, &ALL_FORMATS, &[NumberFormat::F32]);
        let model = |device: &DeviceChoice, dtype| ModelArgs {
            model: self.weights.model.clone(),
            model_config: self.weights.model_config.clone(),
            device: device.clone(),
            dtype,
            tf32: self.grid.tf32,
            threads: self.grid.threads,
        };
        let devices = self.grid.device.iter();
        devices.flat_map(|device| formats.iter().map(move |&dtype| model(device, dtype))).collect()
    }

    /// Opens the weights of one of [`ModelBenchArgs::models`], or generates them.
    pub(super) fn open(&self, model: &ModelArgs) -> Result<OpenedModel> {
        let config = match self.weights.random {
            None => return model.open(),
            Some(RandomModel::SedB) => SedConfig::sed_b(),
            Some(RandomModel::SedL) => SedConfig::sed_l(),
        };
        let origin = format!("random weights of {}", config.name);
        Ok(OpenedModel {
            checkpoint: Checkpoint::from_bytes(synthetic::safetensors(&config, SEED), &origin)?,
            config,
        })
    }

    /// Reports whether the weights are generated and not read from a file.
    pub(super) fn random(&self) -> bool {
        self.weights.random.is_some()
    }

    /// The first `most` words of the vocabulary, with its name.
    pub(super) fn words(&self, most: usize) -> Result<(String, Vec<Category>)> {
        let large_enough = |name: &&&str| builtin_vocabulary(name).is_some_and(|words| words.len() >= most);
        let name = match &self.vocabulary {
            Some(name) => name.clone(),
            None => (*VOCABULARIES.iter().find(large_enough).unwrap_or(&VOCABULARIES[1])).to_owned(),
        };
        let mut words = WordSource::Named(name.clone()).categories()?;
        if words.len() < most {
            bail!(
                "{name} has {} categories, fewer than {most}; ask for fewer with --categories",
                words.len()
            );
        }
        words.truncate(most);
        Ok((name, words))
    }

    /// The pictures and the sizes that they are scaled to.
    pub(super) fn pictures(&self) -> (&[PathBuf], &[Size]) {
        (&self.pictures, &self.sizes)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ModelBenchArgs,
    }

    fn parsed(flags: &[&str]) -> ModelBenchArgs {
        Line::parse_from([&["bench"], flags].concat()).args
    }

    #[test]
    fn flags_take_lists_and_may_be_repeated() {
        let args = parsed(&["--top-k", "8,off", "--top-k", "1", "--categories", "20,5,20", "--batch", "2"]);
        let axes = args.axes();
        assert_eq!(axes.rejections, [0, 1, 8].map(Rejection::from_top_k));
        assert_eq!((axes.categories, axes.batches), (vec![5, 20], vec![2]));
        assert!(Line::try_parse_from(["bench", "--top-k", "some"]).is_err());
        assert!(Line::try_parse_from(["bench", "--random", "sed-b", "--model", "x"]).is_err());
    }

    #[test]
    fn the_full_grid_fills_what_no_flag_says() {
        let args = parsed(&["--full", "--batch", "1", "--dtype", "bf16"]);
        let axes = args.axes();
        assert_eq!((axes.categories.len(), axes.rejections.len(), axes.batches.len()), (6, 5, 1));
        assert_eq!(args.models().len(), 1);
        assert_eq!(parsed(&["--full"]).models().len(), 2);
    }

    #[test]
    fn the_vocabulary_is_the_first_that_is_large_enough() {
        let args = parsed(&[]);
        assert_eq!(args.words(150).unwrap().0, "ade20k-150");
        let (name, words) = args.words(459).unwrap();
        assert_eq!((name.as_str(), words.len()), ("ade20k-847", 459));
        assert!(args.words(848).is_err());
        assert!(parsed(&["--vocabulary", "pascal-voc-20"]).words(21).is_err());
    }
}
