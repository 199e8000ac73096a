//! One model on one device, measured on the combinations of a grid.

use std::{collections::HashSet, time::Instant};

use sed_client::causes;
use sed_model::{
    Footprint,
    config::SedConfig,
    operations::{text_per_prompt, text_rearranged},
    prompts::Category,
    text_tower::TextEmbedding,
};
use serde::Serialize;

use super::{
    bare::BareModel,
    grid::Cell,
    memory,
    peaks::Peaks,
    result::{Arithmetic, CellResult, Subject},
    work::Work,
};
use crate::{error::Result, stop::Stop};

/// One model on one device, measured.
#[derive(Debug)]
pub struct ModelRun {
    /// The device.
    pub device: String,
    /// The number format.
    pub dtype: String,
    /// The model's name.
    pub name: String,
    /// SHA-256 of its weights.
    pub digest: String,
    /// Its sizes.
    pub config: SedConfig,
    /// The words.
    pub text: TextResult,
    /// The combinations that were measured.
    pub results: Vec<CellResult>,
    /// Those that were not.
    pub skipped: Vec<Skipped>,
    /// In GFLOP/s.
    peak: Option<f64>,
}

/// Time and arithmetic of embedding the words, none of them cached.
#[derive(Clone, Debug, Serialize)]
pub struct TextResult {
    /// The device.
    pub device: String,
    /// The number format.
    pub dtype: String,
    /// Number of categories.
    pub categories: usize,
    /// Names and synonyms, each in 80 prompts.
    pub phrases: usize,
    /// Time of all of them.
    pub seconds: f64,
    /// Their arithmetic.
    pub work: Arithmetic,
}

/// A combination that was not measured.
#[derive(Clone, Debug, Serialize)]
pub struct Skipped {
    /// The device.
    pub device: String,
    /// The number format.
    pub dtype: String,
    /// The combination.
    #[serde(flatten)]
    pub cell: Cell,
    /// Why it was skipped.
    pub reason: String,
}

impl ModelRun {
    /// Begins a run of a model on a device, with a number format, by embedding the words; also returns their
    /// embeddings.
    ///
    /// # Errors
    /// The model fails.
    pub fn begin(
        bare: &BareModel,
        (device, dtype): (String, String),
        words: &[Category],
        peaks: &Peaks,
    ) -> Result<(Self, Vec<TextEmbedding>)> {
        let begin = Instant::now();
        let embeddings = bare.embed(words)?;
        let seconds = begin.elapsed().as_secs_f64();
        let mut seen = HashSet::new();
        let phrases = words.iter().flat_map(Category::phrases).filter(|phrase| seen.insert(*phrase));
        let phrases: Vec<&str> = phrases.collect();
        let (config, rows) = (bare.config(), bare.model().text_tower().rows_of(&phrases));
        let peak = peaks.gflops(&device, &dtype);
        let reference = text_per_prompt(config) * rows.ends;
        let (ours, reference) = (text_rearranged(config, &rows) as f64, reference as f64);
        let text = TextResult {
            device: device.clone(),
            dtype: dtype.clone(),
            categories: words.len(),
            phrases: phrases.len(),
            seconds,
            work: Arithmetic::new(ours, reference, seconds * 1e3, peak),
        };
        let run = Self {
            device,
            dtype,
            name: config.name.clone(),
            digest: bare.model().digest().to_owned(),
            config: config.clone(),
            text,
            results: Vec::new(),
            skipped: Vec::new(),
            peak,
        };
        Ok((run, embeddings))
    }

    /// Measures one combination in `rounds` behind those of [`BareModel::warm_up`], or records why it was
    /// skipped; a failure ends only this combination. `progress` is called after the warm-up and every round.
    pub fn measure(
        &mut self,
        bare: &BareModel,
        text: &[TextEmbedding],
        cell: Cell,
        rounds: u32,
        stop: &Stop,
        progress: &dyn Fn(),
    ) {
        if let Some(reason) = self.too_large(bare, cell) {
            return self.skip(cell, reason);
        }
        let peak_of = memory::reset_peak();
        let mut taken = Vec::with_capacity(rounds as usize);
        let warm_up = bare.warm_up();
        for round in 0..warm_up + rounds as usize {
            if stop.is_set() {
                break;
            }
            let work = |image| Work {
                picture: round * cell.batch + image,
                text: &text[..cell.categories],
                rejection: cell.rejection,
            };
            match bare.run(&(0..cell.batch).map(work).collect::<Vec<_>>()) {
                Ok(_) if round + 1 < warm_up => continue,
                Ok(once) if round >= warm_up => taken.push(once),
                Ok(_) => {}
                Err(error) => return self.skip(cell, causes(&error)),
            }
            progress();
        }
        let subject =
            Subject { device: &self.device, dtype: &self.dtype, config: bare.config(), peak: self.peak };
        let result = CellResult::of(&subject, cell, &taken, (memory::peak_bytes(), peak_of));
        self.results.extend(result);
    }

    fn skip(&mut self, cell: Cell, reason: String) {
        let (device, dtype) = (self.device.clone(), self.dtype.clone());
        self.skipped.push(Skipped { device, dtype, cell, reason });
    }

    /// Returns the reason if a combination does not fit into the machine's memory. A GPU's memory is not
    /// checked.
    fn too_large(&self, bare: &BareModel, cell: Cell) -> Option<String> {
        if !bare.model().device().is_cpu() {
            return None;
        }
        let same = |result: &&CellResult| {
            (result.cell.categories, result.cell.rejection) == (cell.categories, cell.rejection)
        };
        let seen = self.results.iter().rev().find(same).map(CellResult::most_survivors);
        let (needed, free) =
            (cell.bytes(&Footprint::of(bare.config()), seen), sed_engine::Memory::now()?.available);
        let gibibytes = |bytes: u64| bytes as f64 / f64::from(1 << 30);
        (needed > free).then(|| {
            format!("needs up to {:.1} GiB of memory, {:.1} GiB are free", gibibytes(needed), gibibytes(free))
        })
    }
}
