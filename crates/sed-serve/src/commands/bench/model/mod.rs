//! `bench model`: the model by itself, stage by stage, without any server.

mod bare;
mod macs;
mod memory;
mod show;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::{
    machine::Machine,
    mix::{Size, WordSource, load_pictures},
    run::Stop,
};
use crate::{args::ModelArgs, print, progress, running::runtime};
use bare::{STAGES, Taken};

pub(crate) use bare::{BareModel, Work};

const EXAMPLES: &str = "\
Examples:
  sed-serve bench model --model models/sed-b.safetensors --categories 20,150 --top-k 0,8
  sed-serve bench model --batch 1,2,4,8 --rounds 20 --json

Every combination of --categories, --top-k and --batch is measured: one round that does not count, then \
--rounds that do. The figures are medians over the rounds. Pictures are decoded and scaled before; words are \
embedded before. GFLOP/s are those of the encode stage: two operations for each multiply-accumulate of image \
encoder and guidance projections as the paper writes them. Peak memory is the program's, from the beginning \
of the combination where the system can tell that, with all that was loaded before.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ModelBenchArgs {
    /// Pictures, and folders of them. [default: those of the demo]
    #[arg(value_name = "PICTURE|FOLDER")]
    pictures: Vec<PathBuf>,

    /// Scale every picture to these sizes first; they are the sizes of the results.
    #[arg(long, value_name = "WxH,...", value_delimiter = ',')]
    sizes: Vec<Size>,

    /// The built-in vocabulary that the words come from.
    #[arg(long, value_name = "NAME", default_value = "ade20k-150")]
    vocabulary: String,

    /// How many of its categories are looked for.
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "20", value_parser = positive)]
    categories: Vec<usize>,

    /// Rejection; 0 is off.
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "8")]
    top_k: Vec<usize>,

    /// Images in a batch.
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1", value_parser = positive)]
    batch: Vec<usize>,

    /// Batches that are measured.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    #[command(flatten)]
    model: ModelArgs,
}

fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| (1..=65_536).contains(number)).ok_or("expected 1 to 65536".into())
}

/// One combination, measured; times are medians over the rounds, of a whole batch.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ModelResult {
    pub(crate) categories: usize,
    /// 0 is rejection off.
    pub(crate) top_k: usize,
    pub(crate) batch: usize,
    pub(crate) rounds: usize,
    pub(crate) stages: Vec<StageMedian>,
    pub(crate) batch_ms: f64,
    pub(crate) images_per_second: f64,
    /// Pairs that went into each decoder level, a mean over images.
    pub(crate) survivors: [f64; 3],
    /// Of the encode stage.
    pub(crate) encoder_gflops: f64,
    pub(crate) peak_memory_bytes: Option<u64>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct StageMedian {
    pub(crate) stage: &'static str,
    pub(crate) median_ms: f64,
}

pub(crate) fn run(args: &ModelBenchArgs, as_json: bool) -> Result<ExitCode> {
    args.model.start_threads()?;
    let pictures = load_pictures(&args.pictures, &args.sizes)?;
    let words = WordSource::Named(args.vocabulary.clone()).categories()?;
    let most = args.categories.iter().copied().max().unwrap_or(1);
    if most > words.len() {
        bail!(
            "{} has {} categories, fewer than {most}; give another --vocabulary",
            args.vocabulary,
            words.len()
        );
    }
    let runtime = runtime()?;
    let stop = {
        let _inside = runtime.enter();
        Stop::on_signal()?
    };
    let bare = BareModel::load(&args.model, &pictures)?;
    let text = bare.embed(&words[..most])?;

    let mut combinations = Vec::new();
    for &categories in &args.categories {
        for &top_k in &args.top_k {
            combinations.extend(args.batch.iter().map(|&batch| (categories, top_k, batch)));
        }
    }
    let bar = progress::count(combinations.len() as u64 * u64::from(args.rounds + 1));
    let mut results = Vec::with_capacity(combinations.len());
    for (categories, top_k, batch) in combinations {
        bar.set_message(format!("{categories} categories, top_k {top_k}, batch {batch}"));
        memory::reset_peak();
        let mut taken = Vec::with_capacity(args.rounds as usize);
        for round in 0..=args.rounds as usize {
            if stop.is_set() {
                break;
            }
            let work = |image| Work {
                picture: round * batch + image,
                text: &text[..categories],
                top_k: (top_k > 0).then_some(top_k),
            };
            let once = bare.run(&(0..batch).map(work).collect::<Vec<_>>())?;
            if round > 0 {
                taken.push(once);
            }
            bar.inc(1);
        }
        results.extend(result(&bare, categories, top_k, batch, &taken));
    }
    bar.finish_and_clear();
    if results.is_empty() {
        bail!("ended before anything was measured");
    }
    report(args, &bare, &results, stop.is_set(), as_json)?;
    Ok(ExitCode::SUCCESS)
}

/// The figures of one combination; none where no round was measured.
fn result(
    bare: &BareModel,
    categories: usize,
    top_k: usize,
    batch: usize,
    taken: &[Taken],
) -> Option<ModelResult> {
    let total = median_ms(taken.iter().map(Taken::total))?;
    let stage = |(index, stage): (usize, &&'static str)| {
        let times = taken.iter().map(|taken| taken.stages[index]);
        Some(StageMedian { stage, median_ms: median_ms(times)? })
    };
    let stages: Vec<StageMedian> = STAGES.iter().enumerate().filter_map(stage).collect();
    let images = (batch * taken.len()) as f64;
    let survivors =
        [0, 1, 2].map(|level| taken.iter().map(|taken| taken.survivors[level] as f64).sum::<f64>() / images);
    let encode_macs = (macs::encoder(bare.config()) + macs::guidance(bare.config())) * batch as u64;
    let encode_ms = stages.first()?.median_ms;
    Some(ModelResult {
        categories,
        top_k,
        batch,
        rounds: taken.len(),
        stages,
        batch_ms: total,
        images_per_second: batch as f64 / (total / 1e3),
        survivors,
        encoder_gflops: 2.0 * encode_macs as f64 / (encode_ms / 1e3) / 1e9,
        peak_memory_bytes: memory::peak_bytes(),
    })
}

/// The median in milliseconds; none of no times.
fn median_ms(times: impl Iterator<Item = Duration>) -> Option<f64> {
    let mut times: Vec<f64> = times.map(|time| time.as_secs_f64() * 1e3).collect();
    times.sort_by(f64::total_cmp);
    let (low, high) = (times.len().checked_sub(1)? / 2, times.len() / 2);
    Some(f64::midpoint(times[low], times[high]))
}

fn report(
    args: &ModelBenchArgs,
    bare: &BareModel,
    results: &[ModelResult],
    interrupted: bool,
    as_json: bool,
) -> Result<()> {
    let (model, config, machine) = (bare.model(), bare.config(), Machine::this());
    let threads = rayon::current_num_threads();
    if !as_json {
        return show::show(config, model.dtype().as_str(), threads, &machine, results);
    }
    let giga = |macs: u64| macs as f64 / 1e9;
    print::json_line(&json!({
        "command": "model",
        "version": env!("CARGO_PKG_VERSION"),
        "parameters": {
            "vocabulary": args.vocabulary,
            "categories": args.categories,
            "top_k": args.top_k,
            "batch": args.batch,
            "rounds": args.rounds,
            "threads": threads,
        },
        "model": {
            "name": config.name,
            "digest": model.digest(),
            "dtype": model.dtype().as_str(),
            "device": sed_engine::device_name(model.device()),
            "gmac": {
                "encoder": giga(macs::encoder(config)),
                "guidance": giga(macs::guidance(config)),
                "cost_map_per_category": giga(macs::cost_map(config)),
                "per_category": giga(macs::pair(config)),
            },
        },
        "machine": machine,
        "interrupted": interrupted,
        "results": results,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_lie_in_the_middle() {
        let median = |times: &[u64]| median_ms(times.iter().map(|&time| Duration::from_millis(time)));
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[7]), Some(7.0));
        assert_eq!(median(&[9, 1, 5]), Some(5.0));
        assert_eq!(median(&[9, 1, 5, 6]), Some(5.5));
    }
}
