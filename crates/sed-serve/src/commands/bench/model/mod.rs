//! `bench model`: the model by itself, stage by stage, without any server.

mod args;
mod bare;
mod fit;
mod grid;
mod memory;
mod peaks;
mod report;
mod result;
mod show;

use std::{process::ExitCode, time::Instant};

use anyhow::{Result, bail};
use indicatif::ProgressBar;
use sed_model::{
    Footprint,
    config::SedConfig,
    operations::{text_per_prompt, text_rearranged},
    prompts::Category,
    text_tower::TextEmbedding,
};
use serde::Serialize;

use super::{machine::Machine, mix::load_pictures, plot, run::Stop};
use crate::{args::ModelArgs, print, progress, running::runtime};
pub(crate) use args::ModelBenchArgs;
pub(crate) use bare::{BareModel, Work};
#[cfg(test)]
pub(crate) use fit::Line;
pub(crate) use fit::{Cost, Over};
use grid::Cell;
use peaks::Peaks;
use report::{Report, Surroundings};
pub(crate) use result::CellResult;
use result::Subject;

/// One model on one device, measured.
#[derive(Debug)]
struct ModelRun {
    device: String,
    dtype: String,
    name: String,
    digest: String,
    config: SedConfig,
    text: TextResult,
    results: Vec<CellResult>,
    skipped: Vec<Skipped>,
}

/// Time and arithmetic of embedding the words, none of them cached.
#[derive(Clone, Debug, Serialize)]
struct TextResult {
    device: String,
    dtype: String,
    categories: usize,
    /// Names and synonyms, each in 80 prompts.
    phrases: usize,
    seconds: f64,
    work: result::Work,
}

/// A combination that was not measured.
#[derive(Clone, Debug, Serialize)]
struct Skipped {
    device: String,
    dtype: String,
    #[serde(flatten)]
    cell: Cell,
    reason: String,
}

pub(crate) fn run(args: &ModelBenchArgs, as_json: bool) -> Result<ExitCode> {
    let (axes, models) = (args.axes(), args.models());
    let most = axes.categories.iter().copied().max().unwrap_or(1);
    let (vocabulary, words) = args.words(most)?;
    let Some(first) = models.first() else { bail!("there is no model to measure") };
    // A device that this build cannot use must not fail after hours.
    for model in &models {
        model.devices()?;
    }
    first.start_threads()?;
    let (pictures, sizes) = args.pictures();
    let pictures = load_pictures(pictures, sizes)?;
    let runtime = runtime()?;
    let stop = {
        let _inside = runtime.enter();
        Stop::on_signal()?
    };
    let surroundings = Surroundings {
        vocabulary,
        machine: Machine::this(),
        peaks: Peaks::measure(sed_model::parallel::threads()),
    };
    let cells = grid::cells(&axes);
    let bar = progress::count((models.len() * cells.len()) as u64 * u64::from(args.rounds + 1));
    let mut runs: Vec<ModelRun> = Vec::with_capacity(models.len());
    for model in &models {
        if stop.is_set() {
            break;
        }
        bar.set_message(format!("loading the model, {}, {}", model.device, format_name(model)));
        let bare = BareModel::load_opened(args.open(model)?, model, &pictures)?;
        let text = bar.suspend(|| embed(&bare, model, &words, &surroundings.peaks))?;
        let run = ModelRun {
            device: model.device.to_string(),
            dtype: format_name(model),
            name: bare.config().name.clone(),
            digest: bare.model().digest().to_owned(),
            config: bare.config().clone(),
            text: text.1,
            results: Vec::with_capacity(cells.len()),
            skipped: Vec::new(),
        };
        let this = runs.len();
        runs.push(run);
        for &cell in &cells {
            measure(&bare, &text.0, cell, (args.rounds, &surroundings.peaks), &stop, &bar, &mut runs[this])?;
            Report::new(args, &surroundings, &runs, stop.is_set()).save()?;
        }
    }
    bar.finish_and_clear();
    let measured = runs.iter().map(|run| run.results.len()).sum::<usize>();
    if measured == 0 {
        bail!("{}", nothing(&runs));
    }
    let report = Report::new(args, &surroundings, &runs, stop.is_set());
    report.write(as_json)?;
    if let Some(file) = &args.plot {
        let results: Vec<&CellResult> = runs.iter().flat_map(|run| &run.results).collect();
        plot::categories(file, &report.subject(), &results, &report.costs)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The name of the number format: `f32`, `bf16`.
fn format_name(model: &ModelArgs) -> String {
    candle_core::DType::from(model.dtype).as_str().to_owned()
}

/// Embeds the words and measures the time.
fn embed(
    bare: &BareModel,
    model: &ModelArgs,
    words: &[Category],
    peaks: &Peaks,
) -> Result<(Vec<TextEmbedding>, TextResult)> {
    let begin = Instant::now();
    let text = bare.embed(words)?;
    let seconds = begin.elapsed().as_secs_f64();
    let mut seen = std::collections::HashSet::new();
    let phrases: Vec<&str> = words.iter().flat_map(Category::phrases).filter(|p| seen.insert(*p)).collect();
    let (config, rows) = (bare.config(), bare.model().text_tower().rows_of(&phrases));
    let (device, dtype) = (model.device.to_string(), format_name(model));
    let peak = peaks.gflops(&device, &dtype);
    let reference = text_per_prompt(config) * rows.ends;
    let work =
        result::Work::new(text_rearranged(config, &rows) as f64, reference as f64, seconds * 1e3, peak);
    let result = TextResult { device, dtype, categories: words.len(), phrases: phrases.len(), seconds, work };
    Ok((text, result))
}

/// Measures one combination, or records in `run` why it was skipped. A failure ends only this combination.
fn measure(
    bare: &BareModel,
    text: &[TextEmbedding],
    cell: Cell,
    (rounds, peaks): (u32, &Peaks),
    stop: &Stop,
    bar: &ProgressBar,
    run: &mut ModelRun,
) -> Result<()> {
    if stop.is_set() {
        return Ok(());
    }
    bar.set_message(format!("{}, {}: {}", run.device, run.dtype, cell.line()));
    let end = bar.position() + u64::from(rounds) + 1;
    let skip = |run: &mut ModelRun, reason: String| {
        let (device, dtype) = (run.device.clone(), run.dtype.clone());
        run.skipped.push(Skipped { device, dtype, cell, reason });
        bar.set_position(end);
    };
    if let Some(reason) = too_large(bare, cell, run) {
        skip(run, reason);
        return Ok(());
    }
    let peak_of = memory::reset_peak();
    let mut taken = Vec::with_capacity(rounds as usize);
    for round in 0..=rounds as usize {
        if stop.is_set() {
            break;
        }
        let work = |image| Work {
            picture: round * cell.batch + image,
            text: &text[..cell.categories],
            rejection: cell.rejection,
        };
        match bare.run(&(0..cell.batch).map(work).collect::<Vec<_>>()) {
            Ok(once) if round > 0 => taken.push(once),
            Ok(_) => {}
            Err(error) => {
                skip(run, print::causes(&error));
                return Ok(());
            }
        }
        bar.inc(1);
    }
    let subject = Subject {
        device: &run.device,
        dtype: &run.dtype,
        config: bare.config(),
        peak: peaks.gflops(&run.device, &run.dtype),
    };
    let result = CellResult::of(&subject, cell, &taken, (memory::peak_bytes(), peak_of));
    run.results.extend(result);
    Ok(())
}

/// Returns the reason if a combination does not fit into the machine's memory. A GPU's memory is not checked.
fn too_large(bare: &BareModel, cell: Cell, run: &ModelRun) -> Option<String> {
    if !bare.model().device().is_cpu() {
        return None;
    }
    let same = |result: &&CellResult| {
        (result.cell.categories, result.cell.rejection) == (cell.categories, cell.rejection)
    };
    let seen = run.results.iter().rev().find(same).map(CellResult::most_survivors);
    let (needed, free) =
        (cell.bytes(&Footprint::of(bare.config()), seen), sed_engine::Memory::now()?.available);
    let gibibytes = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    (needed > free).then(|| {
        format!("needs up to {:.1} GiB of memory, {:.1} GiB are free", gibibytes(needed), gibibytes(free))
    })
}

/// Returns the reason why nothing was measured.
fn nothing(runs: &[ModelRun]) -> String {
    match runs.iter().flat_map(|run| &run.skipped).next() {
        Some(skipped) => format!("nothing was measured; {}: {}", skipped.cell.line(), skipped.reason),
        None => "ended before anything was measured".to_owned(),
    }
}
