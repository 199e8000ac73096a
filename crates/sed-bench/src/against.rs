//! The service against the model alone: the same requests through both, in turns.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use sed_model::{Rejection, prompts::Category, text_tower::TextEmbedding};
use serde::Serialize;

use crate::{
    error::Result,
    mix::Mix,
    model::{BareModel, Work},
    run::End,
    stop::Stop,
};

/// A second copy of the server's model, and the text embeddings of all vocabularies of the mix.
#[derive(Clone, Debug)]
pub struct Against {
    bare: Arc<BareModel>,
    /// The text embeddings of each vocabulary of the mix.
    texts: Arc<Vec<Vec<TextEmbedding>>>,
    mix: Arc<Mix>,
    default_rejection: Rejection,
    batch: u64,
}

/// The throughput of one turn of both.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Round {
    /// Of the model alone.
    pub model_images_per_second: f64,
    /// Of the service.
    pub service_images_per_second: f64,
}

/// The throughput of all turns.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Comparison {
    /// Images in a batch of the model alone.
    pub model_batch: u32,
    /// The rounds that both completed.
    pub rounds: Vec<Round>,
    /// Of the model alone, a mean over the rounds.
    pub model_images_per_second: f64,
    /// Of the service, a mean over the rounds.
    pub service_images_per_second: f64,
    /// Throughput of the service divided by that of the model alone.
    pub ratio: f64,
}

impl Against {
    /// Embeds the words of a mix with a model that is ready for the mix's pictures, and tells `embedding` the
    /// number of categories before. `batch` is the number of images in a batch of the model alone.
    ///
    /// # Errors
    /// A vocabulary is not built in, or the model fails.
    pub fn new(
        bare: BareModel,
        mix: &Arc<Mix>,
        default_rejection: Rejection,
        batch: u32,
        embedding: impl FnOnce(usize),
    ) -> Result<Self> {
        let vocabularies = mix.vocabularies.iter().map(|weighted| weighted.words.categories());
        let vocabularies: Vec<Vec<Category>> = vocabularies.collect::<Result<_>>()?;
        let mut seen = HashSet::new();
        let categories = vocabularies.iter().flatten().filter(|category| seen.insert(*category));
        let categories: Vec<Category> = categories.cloned().collect();
        embedding(categories.len());
        let embeddings = bare.embed(&categories)?;
        let known: HashMap<&Category, TextEmbedding> = categories.iter().zip(embeddings).collect();
        let text = |vocabulary: &Vec<Category>| {
            vocabulary.iter().filter_map(|category| known.get(category).cloned()).collect()
        };
        let texts = Arc::new(vocabularies.iter().map(text).collect());
        let mix = Arc::clone(mix);
        Ok(Self { bare: Arc::new(bare), texts, mix, default_rejection, batch: batch.into() })
    }

    /// Runs requests from number `first` on through the model alone, after batches that do not count, and
    /// returns images per second.
    ///
    /// # Errors
    /// The model fails.
    pub async fn model_alone(&self, first: u64, end: End, stop: &Stop) -> Result<f64> {
        let (own, stop) = (self.clone(), stop.clone());
        let run = tokio::task::spawn_blocking(move || own.run(first, end, &stop));
        run.await?
    }

    fn run(&self, first: u64, end: End, stop: &Stop) -> Result<f64> {
        (0..self.bare.warm_up()).try_for_each(|_| self.batch(first))?;
        let (mut images, begin) = (0, Instant::now());
        let enough = |images: u64, passed: Duration| match end {
            End::After(time) => passed >= time,
            End::Requests(requests) => images >= requests,
        };
        while !stop.is_set() && !enough(images, begin.elapsed()) {
            self.batch(first + images)?;
            images += self.batch;
        }
        Ok(images as f64 / begin.elapsed().as_secs_f64().max(1e-9))
    }

    fn batch(&self, first: u64) -> Result<()> {
        let work = |number: u64| {
            let drawn = self.mix.draw(number);
            Work {
                picture: drawn.picture,
                text: &self.texts[drawn.vocabulary],
                rejection: drawn.top_k.map_or(self.default_rejection, Rejection::from_top_k),
            }
        };
        self.bare.run(&(first..first + self.batch).map(work).collect::<Vec<_>>())?;
        Ok(())
    }
}

impl Comparison {
    /// Computes the means over the rounds.
    pub fn of(model_batch: u32, rounds: Vec<Round>) -> Self {
        let count = rounds.len().max(1) as f64;
        let mean = |of: fn(&Round) -> f64| rounds.iter().map(of).sum::<f64>() / count;
        let model = mean(|round| round.model_images_per_second);
        let service = mean(|round| round.service_images_per_second);
        Self {
            model_batch,
            model_images_per_second: model,
            service_images_per_second: service,
            ratio: if model > 0.0 { service / model } else { 0.0 },
            rounds,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_that_of_the_means() {
        let round =
            |model, service| Round { model_images_per_second: model, service_images_per_second: service };
        let comparison = Comparison::of(2, vec![round(10.0, 8.0), round(30.0, 28.0)]);
        assert!((comparison.ratio - 0.9).abs() < 1e-9);
        assert_eq!(Comparison::of(1, Vec::new()).ratio, 0.0);
    }
}
