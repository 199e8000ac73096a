//! Words to text embeddings: from the cache, or through the text tower, a few phrases at a time.

use std::collections::{HashMap, HashSet};

use crate::{
    error::EngineError,
    report::{Stage, TextCacheReport},
    stage_clock::{BatchSize, StageClock},
    stages::{StageError, Stages},
    text_cache::TextCache,
    vocabulary::{Category, Vocabulary},
};

/// The embeddings of all categories, and how many phrases were at hand. At most `chunk` phrases are computed
/// in one launch, so that a long vocabulary can be abandoned in between.
pub(crate) fn embed<S: Stages>(
    stages: &S,
    cache: &mut TextCache<S::PhraseEmbedding>,
    chunk: usize,
    vocabulary: &Vocabulary,
    clock: &mut StageClock<'_>,
) -> Result<(Vec<S::TextEmbedding>, TextCacheReport), EngineError> {
    let mut running = clock.begin(Stage::TextEmbedding)?;
    let mut known: HashMap<&str, S::PhraseEmbedding> = HashMap::new();
    let mut missing: Vec<&str> = Vec::new();
    let mut seen = HashSet::new();
    for phrase in vocabulary.categories().iter().flat_map(Category::phrases) {
        if !seen.insert(phrase) {
            continue;
        }
        match cache.get(phrase) {
            Some(embedding) => drop(known.insert(phrase, embedding)),
            None => missing.push(phrase),
        }
    }
    let report = TextCacheReport { hits: known.len() as u32, misses: missing.len() as u32 };

    for phrases in missing.chunks(chunk) {
        let size = BatchSize { images: 0, pairs: phrases.len() as u32 };
        let embeddings = running.launch(size, || embed_sized(stages, phrases))?;
        for (phrase, (embedding, bytes)) in phrases.iter().zip(embeddings) {
            cache.insert(phrase, embedding.clone(), bytes);
            known.insert(phrase, embedding);
        }
    }

    let mut combined = Vec::with_capacity(vocabulary.size());
    for category in vocabulary.categories() {
        let parts: Vec<_> = category.phrases().filter_map(|phrase| known.get(phrase).cloned()).collect();
        combined.push(running.guard(|| stages.combine(&parts))?);
    }
    clock.end(running);
    Ok((combined, report))
}

/// The embeddings of some phrases, each with the bytes that it holds.
fn embed_sized<S: Stages>(
    stages: &S,
    phrases: &[&str],
) -> Result<Vec<(S::PhraseEmbedding, usize)>, StageError> {
    let embeddings = stages.embed_phrases(phrases)?;
    if embeddings.len() != phrases.len() {
        return Err(wrong_number(embeddings.len(), phrases.len()));
    }
    let sized = |embedding| {
        let bytes = stages.phrase_bytes(&embedding);
        (embedding, bytes)
    };
    Ok(embeddings.into_iter().map(sized).collect())
}

pub(crate) fn wrong_number(found: usize, expected: usize) -> StageError {
    StageError::Failed(format!("gave {found} results for {expected} inputs"))
}
