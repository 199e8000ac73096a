//! An engine in this program that embeds words, into a folder if one is named.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use clap::Args;
use sed_engine::{Directions, Engine, EngineConfig, TokenPhrase, Vocabulary, metrics::EngineMetrics};
use sed_model::prompts::Category;
use sed_telemetry::Telemetry;

use crate::{args::ModelArgs, progress};

/// Phrases between two steps of the bar: some seconds with a large model on few cores.
const CHUNK: usize = 8;
/// Counters of what the folder holds.
const KEPT: [&str; 2] = ["sed_text_store_writes_total ", "sed_text_store_reads_total "];

/// The flags of a model that embeds words in this program.
#[derive(Debug, Args)]
pub(super) struct LocalArgs {
    #[command(flatten)]
    model: ModelArgs,

    /// Without --server: a folder that keeps text embeddings, as the setting of `serve`.
    #[arg(long, env = "SED_TEXT_CACHE_DIR", value_name = "FOLDER", help_heading = "Model")]
    text_cache_dir: Option<PathBuf>,
}

/// A running engine on one device.
#[derive(Debug)]
pub(super) struct Local {
    engine: Engine,
    telemetry: Telemetry,
    /// All phrases so far.
    embedded: HashSet<TokenPhrase>,
}

/// Counts of the phrases that were embedded, and of those that the folder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) embedded: usize,
    pub(super) stored: usize,
}

impl LocalArgs {
    /// The folder of text embeddings.
    pub(super) fn folder(&self) -> Option<&Path> {
        self.text_cache_dir.as_deref()
    }

    /// The flags of the model.
    pub(super) fn model(&self) -> &ModelArgs {
        &self.model
    }
}

impl Local {
    /// Loads the model and starts the engine, with an unbounded `folder`: a bound would remove what others
    /// wrote.
    pub(super) fn start(args: &LocalArgs, folder: Option<&Path>) -> Result<Self> {
        // What one device embeds, the folder gives to all.
        let stages = args.model.load()?.into_iter().next().context("there is no device")?;
        let telemetry = Telemetry::new(&[&EngineMetrics::DEFINITIONS])?;
        let config = EngineConfig {
            text_cache_dir: folder.map(Path::to_owned),
            text_cache_dir_bytes: u64::MAX,
            // The chunks below are no vocabularies that are asked for again.
            vocabulary_cache_bytes: 0,
            ..EngineConfig::default()
        };
        let engine = Engine::start(stages, &config, &telemetry)?;
        Ok(Self { engine, telemetry, embedded: HashSet::new() })
    }

    /// Waits until the model is warm.
    pub(super) async fn ready(&self) -> Result<()> {
        let spinner = progress::spinner("warming up the model");
        let ready = self.engine.ready().await;
        spinner.finish_and_clear();
        Ok(ready?)
    }

    /// Embeds the different phrases of categories in small launches, with a bar, and returns their number.
    pub(super) async fn embed(&mut self, categories: &[Category], title: &str) -> Result<usize> {
        let reader = self.engine.phrase_reader();
        let vocabulary = Vocabulary::built_in(categories.to_vec(), &*reader)?;
        let phrases: HashSet<&TokenPhrase> = vocabulary.phrases().iter().collect();
        // In the vocabulary's order, so that an early end leaves its beginning.
        let new: Vec<_> =
            vocabulary.phrases().iter().filter(|phrase| self.embedded.insert((*phrase).clone())).collect();
        let bar = progress::count(phrases.len() as u64);
        bar.set_message(format!("names and synonyms embedded, {title}"));
        bar.set_position((phrases.len() - new.len()) as u64);
        for chunk in new.chunks(CHUNK) {
            let words = chunk.iter().map(|phrase| Category::new(phrase.text())).collect();
            self.engine.embed(Vocabulary::built_in(words, &*reader)?, None).await?;
            bar.inc(chunk.len() as u64);
        }
        bar.finish_and_clear();
        Ok(phrases.len())
    }

    /// The directions of categories, which are embedded first, with a bar.
    pub(super) async fn directions(
        &mut self,
        categories: &[Category],
        title: &str,
    ) -> Result<Arc<Directions>> {
        self.embed(categories, title).await?;
        let vocabulary = Vocabulary::built_in(categories.to_vec(), &*self.engine.phrase_reader())?;
        Ok(self.engine.directions(&vocabulary, None).await?)
    }

    /// Ends the engine, which writes what waits for the folder, and returns the counts. The warm-up's own
    /// phrase is in the second one, too.
    pub(super) async fn stop(self) -> Stored {
        self.engine.shutdown().await;
        let metrics = self.telemetry.render().unwrap_or_default();
        let stored = KEPT.map(|name| count(&metrics, name)).iter().sum();
        Stored { embedded: self.embedded.len(), stored }
    }
}

/// The value of a counter without labels, by the beginning of its line.
fn count(metrics: &str, line: &str) -> usize {
    let value = metrics.lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok());
    value.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_by_their_names() {
        let telemetry = Telemetry::new(&[&EngineMetrics::DEFINITIONS]).unwrap();
        let metrics = EngineMetrics::new(&telemetry);
        metrics.text_store_writes.add(3);
        metrics.text_store_reads.add(4);
        let text = telemetry.render().unwrap();
        assert_eq!(KEPT.map(|name| count(&text, name)), [3, 4]);
        assert_eq!(count(&text, "sed_no_such_total "), 0);
    }
}
