//! The closest pairs of a vocabulary, by the text embeddings of its categories.

use anyhow::Result;
use sed_engine::{CategoryPair, ClosestPairs};
use sed_model::prompts::{COMMON_WORDS, Category};
use serde::Serialize;

use super::local::{Local, LocalArgs};
use crate::{args::built_in, running::runtime};

/// Vocabularies of fewer categories are measured by the spread of the common words.
const SMALL: usize = 16;

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

/// Embeds the categories of the indices `among`, at least two, and finds their `most` closest pairs.
pub(super) fn closest(
    args: &LocalArgs,
    categories: &[Category],
    among: &[usize],
    title: &str,
    most: usize,
) -> Result<Closest> {
    let asked: Vec<Category> = among.iter().map(|index| categories[*index].clone()).collect();
    let mut local = Local::start(args, args.folder())?;
    let found = runtime()?.block_on(async {
        local.ready().await?;
        let directions = local.directions(&asked, title).await?;
        let common = if asked.len() < SMALL {
            Some(local.directions(&built_in(COMMON_WORDS)?, COMMON_WORDS).await?)
        } else {
            None
        };
        local.stop().await;
        anyhow::Ok(ClosestPairs::of(&directions, common.as_deref(), most))
    })?;
    let pair = |pair: &CategoryPair| Pair {
        first: among[pair.first],
        second: among[pair.second],
        similarity: pair.similarity.get(),
        alike: pair.similarity >= found.threshold,
    };
    Ok(Closest { threshold: found.threshold.get(), pairs: found.pairs.iter().map(pair).collect() })
}
