//! One request through all stages, on the device thread.

use crate::{
    error::EngineError,
    job::{SegmentJob, SegmentOutcome},
    report::{LevelReport, RejectionReport, Stage},
    stage_clock::{StageClock, Wanted},
    stages::{DecoderLevel, FinishedMap, PairRequest, StageError, Stages},
    text::{self, wrong_number},
    text_cache::TextCache,
};

/// The model with its cache of text embeddings.
#[derive(Debug)]
pub(crate) struct Pipeline<S: Stages> {
    stages: S,
    text_cache: TextCache<S::PhraseEmbedding>,
    /// Phrases that are embedded in one call; between calls, deadline and cancellation are looked at.
    text_chunk: usize,
}

impl<S: Stages> Pipeline<S> {
    pub(crate) fn new(stages: S, text_cache_bytes: usize, text_chunk: usize) -> Self {
        Self { stages, text_cache: TextCache::new(text_cache_bytes), text_chunk: text_chunk.max(1) }
    }

    /// Takes a job through all stages.
    pub(crate) fn run(
        &mut self,
        job: &SegmentJob,
        wanted: Wanted<'_>,
    ) -> Result<SegmentOutcome, EngineError> {
        let mut clock = StageClock::new(job.waiting_since, wanted);
        let Self { stages, text_cache, text_chunk } = self;
        let (text, cached) = text::embed(stages, text_cache, *text_chunk, &job.vocabulary, &mut clock)?;

        let categories = job.vocabulary.size() as u32;
        let features =
            clock.run(Stage::Encode, 0, || only(stages.encode(std::slice::from_ref(&job.input))?))?;

        let mut levels = Vec::with_capacity(DecoderLevel::ALL.len());
        let mut candidates: Vec<u32> = (0..categories).collect();
        let (mut pairs, mut survivors) = clock.run(Stage::CostMap, categories, || {
            let request = PairRequest { features: &features, text: &text, top_k: job.top_k };
            let pairs = stages.cost_map(&[request])?;
            let survivors = stages.survivors(&pairs, 0);
            Ok((pairs, survivors))
        })?;
        drop((features, text)); // the pairs hold what they need; memory is short while they are decoded

        for level in DecoderLevel::ALL {
            levels.push(LevelReport::new(level.number(), &candidates, &survivors));
            candidates = survivors;
            (pairs, survivors) = clock.run(decode_stage(level), candidates.len() as u32, || {
                let pairs = stages.decode(level, pairs)?;
                let survivors = stages.survivors(&pairs, 0);
                Ok((pairs, survivors))
            })?;
        }

        let map = clock.run(Stage::Finish, survivors.len() as u32, || {
            let map = only(stages.finish(pairs, std::slice::from_ref(&job.output))?)?;
            check_map(&map, job)?;
            Ok(map)
        })?;
        let rejection = RejectionReport { top_k: job.top_k, levels };
        let (timings, finished) = clock.into_parts();
        Ok(SegmentOutcome { map, rejection, timings, text_cache: cached, finished })
    }
}

fn decode_stage(level: DecoderLevel) -> Stage {
    match level {
        DecoderLevel::One => Stage::DecodeLevel1,
        DecoderLevel::Two => Stage::DecodeLevel2,
        DecoderLevel::Three => Stage::DecodeLevel3,
    }
}

/// The result of a stage that was given one input.
fn only<T>(mut results: Vec<T>) -> Result<T, StageError> {
    let found = results.len();
    match results.pop() {
        Some(result) if found == 1 => Ok(result),
        _ => Err(wrong_number(found, 1)),
    }
}

/// What the model says about its map must hold, since later code indexes by it.
fn check_map(map: &FinishedMap, job: &SegmentJob) -> Result<(), StageError> {
    let area = map.width as usize * map.height as usize;
    let categories = job.vocabulary.size();
    let sizes_fit = (map.width, map.height) == (job.output.width, job.output.height)
        && map.indices.len() == area
        && map.pixels.len() == categories
        && map.mean_scores.len() == categories;
    if sizes_fit {
        Ok(())
    } else {
        Err(StageError::Failed("gave a map of another size than asked for".into()))
    }
}
