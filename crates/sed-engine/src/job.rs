//! What goes into the engine and what comes out.

use std::time::Instant;

use crate::{
    error::EngineError,
    feature_cache::{ImageFacts, PinnedImage},
    report::{CacheReport, RejectionReport, StageTiming},
    stages::{FinishedMap, ModelInfo, NetworkInput, OutputSpec},
    vocabulary::Vocabulary,
};

/// Which requests go first while the engine is busy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Background work.
    Low,
    /// The usual.
    #[default]
    Normal,
    /// Somebody is waiting.
    High,
}

/// The picture of a job.
#[derive(Clone, Debug)]
pub enum JobImage {
    /// Pixels at the model's input size.
    Pixels {
        /// The pixels.
        input: NetworkInput,
        /// What to remember the image by; `None` leaves it out of the cache.
        facts: Option<ImageFacts>,
    },
    /// An image that [`crate::Engine::image`] found in the cache.
    Cached(PinnedImage),
}

/// One image to segment.
#[derive(Clone, Debug)]
pub struct SegmentJob {
    /// The picture.
    pub image: JobImage,
    /// The words.
    pub vocabulary: Vocabulary,
    /// Rejection keeps the union of the `top_k` best of every position; `None` turns it off.
    pub top_k: Option<usize>,
    /// What the result is to look like.
    pub output: OutputSpec,
    /// When it began to wait for the engine: where the time of its first stage's wait begins.
    pub waiting_since: Instant,
    /// After this, nobody wants the result.
    pub deadline: Option<Instant>,
    /// Its place in the queue.
    pub priority: Priority,
}

impl SegmentJob {
    /// Refuses what no stage could work with.
    pub(crate) fn check(&self, model: &ModelInfo) -> Result<(), EngineError> {
        let invalid = |field, message| Err(EngineError::InvalidJob { field, message });
        let side = model.input_side;
        if let JobImage::Pixels { input, .. } = &self.image
            && (input.side != side || input.data.len() != side * side * 3)
        {
            return invalid("input", format!("must be [{side}, {side}, 3], the model's input size"));
        }
        if self.output.width == 0 || self.output.height == 0 {
            return invalid("output", "width and height must be at least 1".into());
        }
        if !(0.0..=1.0).contains(&self.output.score_threshold) {
            return invalid("score_threshold", "must be between 0 and 1".into());
        }
        if self.top_k == Some(0) {
            return invalid("top_k", "must be at least 1; leave it out to turn rejection off".into());
        }
        Ok(())
    }
}

/// The result for one image, with its reports.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentOutcome {
    /// The index map and what was counted on it.
    pub map: FinishedMap,
    /// What was rejected.
    pub rejection: RejectionReport,
    /// Where the time went, in the order of the stages.
    pub timings: Vec<StageTiming>,
    /// What was at hand.
    pub caches: CacheReport,
    /// When the last stage ended.
    pub finished: Instant,
}
