//! The results of `bench model` as one JSON object.

use std::path::Path;

use anyhow::{Context, Result};
use sed_bench::{
    Machine,
    model::{Cost, ModelRun, Peaks, costs},
};
use sed_model::{
    config::SedConfig,
    operations::{Operations, text_per_prompt},
};
use serde_json::{Value, json};

use super::args::ModelBenchArgs;

/// The facts that all runs share.
#[derive(Debug)]
pub(super) struct Surroundings {
    pub(super) vocabulary: String,
    pub(super) machine: Machine,
    pub(super) peaks: Peaks,
}

/// All measurements, with model and machine.
#[derive(Debug)]
pub(super) struct Report<'a> {
    pub(super) args: &'a ModelBenchArgs,
    pub(super) vocabulary: &'a str,
    pub(super) machine: &'a Machine,
    pub(super) peaks: &'a Peaks,
    /// At least one when the report is shown; the last one may be incomplete.
    pub(super) runs: &'a [ModelRun],
    pub(super) costs: Vec<Cost>,
    pub(super) interrupted: bool,
}

impl<'a> Report<'a> {
    pub(super) fn new(
        args: &'a ModelBenchArgs,
        surroundings: &'a Surroundings,
        runs: &'a [ModelRun],
        interrupted: bool,
    ) -> Self {
        let Surroundings { vocabulary, machine, peaks } = surroundings;
        let costs = runs.iter().flat_map(|run| costs(run, peaks)).collect();
        Self { args, vocabulary, machine, peaks, runs, costs, interrupted }
    }

    /// Writes JSON to the file of `--json-file`, if there is one. The file is complete at all times.
    pub(super) fn save(&self) -> Result<()> {
        let Some(file) = self.args.json_file.as_deref().filter(|file| *file != Path::new("-")) else {
            return Ok(());
        };
        let write = || {
            let text = format!("{}\n", self.json());
            if file.metadata().is_ok_and(|found| !found.is_file()) {
                return std::fs::write(file, text); // a device such as /dev/stdout
            }
            let mut new = file.as_os_str().to_owned();
            new.push(".new");
            std::fs::write(&new, text)?;
            std::fs::rename(&new, file)
        };
        write().with_context(|| format!("cannot write {}", file.display()))
    }

    /// The model's name, and that its weights are random if they are.
    pub(super) fn subject(&self) -> String {
        let name = self.runs.first().map_or("", |run| run.name.as_str());
        let weights = if self.args.random() { ", random weights" } else { "" };
        format!("{name}{weights}")
    }

    /// All figures as one JSON object.
    pub(super) fn json(&self) -> Value {
        let axes = self.args.axes();
        let all = |of: fn(&ModelRun) -> Value| self.runs.iter().map(of).collect::<Vec<_>>();
        let lists = |of: fn(&ModelRun) -> Value| {
            let lists = all(of);
            lists
                .into_iter()
                .flat_map(|list| list.as_array().cloned().unwrap_or_default())
                .collect::<Vec<_>>()
        };
        json!({
            "command": "model",
            "version": env!("CARGO_PKG_VERSION"),
            "parameters": {
                "vocabulary": self.vocabulary,
                "categories": axes.categories,
                "top_k": axes.rejections,
                "batch": axes.batches,
                "rounds": self.args.rounds,
                "threads": self.peaks.threads,
            },
            "model": self.runs.first().map(|run| json!({
                "name": run.name,
                "digest": run.digest,
                "random_weights": self.args.random(),
                "gmac": gmac(&run.config),
            })),
            "machine": self.machine,
            "peak": self.peaks,
            "interrupted": self.interrupted,
            "text": all(|run| json!(run.text)),
            "results": lists(|run| json!(run.results)),
            "skipped": lists(|run| json!(run.skipped)),
            "costs": self.costs,
        })
    }
}

/// Multiply-accumulates in 10⁹ by unit of work, in this implementation and in the official order.
fn gmac(config: &SedConfig) -> Value {
    let giga = |macs: u64| macs as f64 / 1e9;
    let counts = |operations: Operations| {
        json!({
            "image": giga(operations.image),
            "candidate": giga(operations.candidate),
            "rejection": operations.rejection.map(giga),
            "survivor": giga(operations.survivor),
            "levels": operations.levels.map(giga),
            "category_without_rejection": giga(operations.pair()),
        })
    };
    json!({
        "rearranged": counts(Operations::rearranged(config)),
        "reference": counts(Operations::reference(config)),
        "reference_text_prompt": giga(text_per_prompt(config)),
    })
}
