//! The input and the output of the engine: jobs and their outcomes.

use std::time::Instant;

use crate::{
    requests::{
        error::EngineError,
        image::{ImageFacts, PinnedImage},
        report::{CacheReport, RejectionReport, StageTiming},
        vocabulary::Vocabulary,
    },
    stages::{FinishedMap, ModelInfo, OutputSpec, Rejection, Thresholds, input::JobInput},
};

/// The priority of a request while the engine is busy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Background work.
    Low,
    /// The usual.
    #[default]
    Normal,
    /// Work that a person waits for.
    High,
}

/// The picture of a job.
#[derive(Clone, Debug)]
pub enum JobImage {
    /// Pixels at the model's input size.
    Pixels {
        /// The pixels.
        input: JobInput,
        /// The key and the facts by which the image is cached; `None` leaves it out of the cache.
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
    /// The rejection before every decoder level.
    pub rejection: Rejection,
    /// The specification of the result; thresholds of the categories asked for alone.
    pub output: OutputSpec,
    /// Start of its wait for the engine, which counts as the wait for its first stage.
    pub waiting_since: Instant,
    /// The time after which the request is dropped.
    pub deadline: Option<Instant>,
    /// Its priority among the waiting requests.
    pub priority: Priority,
}

impl SegmentJob {
    /// Refuses a job that no stage could work with.
    pub(crate) fn check(&self, model: &ModelInfo) -> Result<(), EngineError> {
        let invalid = |field, message| Err(EngineError::InvalidJob { field, message });
        let side = model.input_side;
        if let JobImage::Pixels { input, .. } = &self.image
            && let input = input.values()
            && (input.side as usize != side || input.data.len() != side * side * 3)
        {
            return invalid("input", format!("must be [{side}, {side}, 3], the model's input size"));
        }
        if self.output.width == 0 || self.output.height == 0 {
            return invalid("output", "width and height must be at least 1".into());
        }
        let (thresholds, size) = match &self.output.thresholds {
            Thresholds::Same(threshold) => (std::slice::from_ref(threshold), 1),
            Thresholds::ByCategory(thresholds) => (&**thresholds, self.vocabulary.size()),
        };
        if thresholds.len() != size {
            let message = format!("has {} entries for {size} categories", thresholds.len());
            return invalid("thresholds", message);
        }
        if !thresholds.iter().all(|threshold| (0.0..=1.0).contains(threshold)) {
            return invalid("thresholds", "must be between 0 and 1".into());
        }
        Ok(())
    }

    /// The specification of its result for the model, to which contrast words are categories without a
    /// threshold.
    pub(crate) fn model_output(&self) -> OutputSpec {
        let (output, contrast) = (self.output.clone(), self.vocabulary.contrast().len());
        if contrast == 0 {
            return output;
        }
        let asked = (0..self.vocabulary.size() as u32).map(|category| output.thresholds.of(category));
        let thresholds = asked.chain(std::iter::repeat_n(f32::INFINITY, contrast)).collect();
        OutputSpec { thresholds: Thresholds::ByCategory(thresholds), ..output }
    }
}

/// The result for one image, with its reports.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentOutcome {
    /// The index map and what was counted on it, for the categories asked for alone.
    pub map: FinishedMap,
    /// Pixels at which a contrast word is best. They are unlabelled.
    pub contrast_pixels: u64,
    /// The categories rejected before each decoder level.
    pub rejection: RejectionReport,
    /// The time that each stage took, in the order of the stages.
    pub timings: Vec<StageTiming>,
    /// The cache hits and misses of the request.
    pub caches: CacheReport,
    /// When the last stage ended.
    pub finished: Instant,
}
