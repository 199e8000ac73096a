//! The closest pairs of a vocabulary, by the text embeddings of its categories.

use anyhow::Result;
use candle_core::{DType, Tensor};
use sed_model::{
    checkpoint::Weights,
    prompts::Category,
    text_tower::{TextEmbedding, TextTower},
};
use serde::Serialize;

use super::local::LocalArgs;
use crate::{opened_model::OpenedModel, progress};

/// The share of the way from a typical pair to the same word from which two categories are alike.
const ALIKE: f32 = 0.75;

/// The closest pairs of a vocabulary.
#[derive(Debug, Serialize)]
pub(super) struct Closest {
    /// The cosine similarity from which a pair is alike.
    pub(super) threshold: f32,
    /// The closest first.
    pub(super) pairs: Vec<Pair>,
}

/// Two categories, by their indices.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Pair {
    pub(super) first: usize,
    pub(super) second: usize,
    /// Cosine similarity, -1 to 1.
    pub(super) similarity: f32,
    /// True if the model will hardly tell them apart.
    pub(super) alike: bool,
}

/// Embeds categories, at least two, with the text tower alone and finds their `most` closest pairs.
pub(super) fn closest(args: &LocalArgs, categories: &[Category], most: usize) -> Result<Closest> {
    let directions = directions(args, categories)?;
    let mut pairs: Vec<Pair> = Vec::new();
    for (second, other) in directions.iter().enumerate() {
        for (first, one) in directions[..second].iter().enumerate() {
            let similarity = one.iter().zip(other).map(|(one, other)| one * other).sum();
            pairs.push(Pair { first, second, similarity, alike: false });
        }
    }
    pairs.sort_by(|one, other| other.similarity.total_cmp(&one.similarity));
    // Half of the pairs are less similar: what is usual in this vocabulary.
    let typical = pairs.get(pairs.len() / 2).map_or(0.0, |pair| pair.similarity);
    let threshold = typical + ALIKE * (1.0 - typical);
    pairs.truncate(most);
    pairs.iter_mut().for_each(|pair| pair.alike = pair.similarity >= threshold);
    Ok(Closest { threshold, pairs })
}

/// A unit vector for each category: the mean of its text embedding over the templates.
fn directions(args: &LocalArgs, categories: &[Category]) -> Result<Vec<Vec<f32>>> {
    let device = args.model().one_device()?;
    args.model().start_threads()?;
    let OpenedModel { checkpoint, config } = args.model().open()?;
    let tower = TextTower::load(&Weights::new(&checkpoint, &device), &config)?;
    let bar = progress::count(categories.len() as u64);
    bar.set_message("categories embedded");
    let direction = |category: &Category| {
        let phrases: Vec<&str> = category.phrases().collect();
        let embedding = TextEmbedding::combine(&tower.embed_phrases(&phrases)?)?;
        bar.inc(1);
        unit_mean(embedding.tensor())
    };
    let directions = categories.iter().map(direction).collect();
    bar.finish_and_clear();
    directions
}

/// The mean of rows `[rows, channels]`, made unit length.
fn unit_mean(rows: &Tensor) -> Result<Vec<f32>> {
    let mut mean = rows.to_dtype(DType::F32)?.mean(0)?.to_vec1::<f32>()?;
    let length = mean.iter().map(|value| value * value).sum::<f32>().sqrt();
    mean.iter_mut().for_each(|value| *value /= length);
    Ok(mean)
}
