//! `bench model`: the model by itself, without any server.

mod args;
mod report;
mod show;

use std::{path::Path, process::ExitCode};

use anyhow::{Result, bail};
use sed_bench::{
    Machine,
    model::{CellResult, ModelRun, Peaks, cells},
};

use self::report::{Report, Surroundings};
use super::{bare, mix::load_pictures, plot, stop};
use crate::{args::ModelArgs, print, progress, running::runtime};

pub(crate) use args::ModelBenchArgs;

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
        stop::on_signal()?
    };
    let surroundings = Surroundings { vocabulary, machine: Machine::this(), peaks: peaks() };
    let cells = cells(&axes);
    let bar = progress::count((models.len() * cells.len()) as u64 * u64::from(args.rounds + 1));
    let mut runs: Vec<ModelRun> = Vec::with_capacity(models.len());
    for model in &models {
        if stop.is_set() {
            break;
        }
        let names = (model.device.to_string(), format_name(model));
        bar.set_message(format!("loading the model, {}, {}", names.0, names.1));
        let bare = bare::load(args.open(model)?, model, &pictures)?;
        let (run, text) = bar.suspend(|| {
            let spinner = progress::spinner(&format!("embedding {} categories", words.len()));
            let begun = ModelRun::begin(&bare, names, &words, &surroundings.peaks);
            spinner.finish_and_clear();
            begun
        })?;
        let this = runs.len();
        runs.push(run);
        for &cell in &cells {
            if !stop.is_set() {
                let run = &mut runs[this];
                bar.set_message(format!("{}, {}: {}", run.device, run.dtype, cell.line()));
                let end = bar.position() + u64::from(args.rounds) + 1;
                run.measure(&bare, &text, cell, args.rounds, &stop, &|| bar.inc(1));
                bar.set_position(end); // rounds that were skipped, too
            }
            Report::new(args, &surroundings, &runs, stop.is_set()).save()?;
        }
    }
    bar.finish_and_clear();
    let measured = runs.iter().map(|run| run.results.len()).sum::<usize>();
    if measured == 0 {
        bail!("{}", nothing(&runs));
    }
    let report = Report::new(args, &surroundings, &runs, stop.is_set());
    if as_json || args.json_file.as_deref() == Some(Path::new("-")) {
        print::json_line(&report.json())?;
    } else {
        show::show(&report)?;
    }
    report.save()?;
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

fn peaks() -> Peaks {
    let spinner = progress::spinner("measuring the processor's peak");
    let peaks = Peaks::measure(sed_model::parallel::threads());
    spinner.finish_and_clear();
    peaks
}

/// Returns the reason why nothing was measured.
fn nothing(runs: &[ModelRun]) -> String {
    match runs.iter().flat_map(|run| &run.skipped).next() {
        Some(skipped) => format!("nothing was measured; {}: {}", skipped.cell.line(), skipped.reason),
        None => "ended before anything was measured".to_owned(),
    }
}
