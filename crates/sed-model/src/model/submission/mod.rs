//! Questions that go through all stages in one go: between the upload of their images and the download of their
//! answers the host waits for nothing.

mod capacity;
mod clock;
mod graphs;
mod run;
mod state;
mod submit;
mod tables;
mod vocabulary;
mod words;

use std::time::Duration;

use crate::error::ModelError;
use crate::features::ImageFeatures;
use crate::level::Level;
use crate::rejection::Rejection;
use crate::segmentation::{FinishedMap, OutputSpec};
use crate::text_tower::TextEmbedding;
pub(crate) use state::State;
pub use submit::Input;
pub(crate) use vocabulary::MOST_BYTES as MOST_VOCABULARY_BYTES;

/// An image and the categories that are looked for in it, for a submission.
#[derive(Debug)]
pub struct Question<'a, Features = ImageFeatures, Text = TextEmbedding> {
    /// The image.
    pub image: Source<'a, Features>,
    /// Its vocabulary, as in [`crate::DecodeRequest`].
    pub text: &'a [Text],
    /// The category of each pair, as in [`crate::DecodeRequest`].
    pub groups: Option<&'a [u32]>,
    /// The rejection before every decoder level.
    pub rejection: Rejection,
    /// The specification of the result, without score maps.
    pub output: &'a OutputSpec,
}

/// The image of a question.
#[derive(Debug)]
pub enum Source<'a, Features = ImageFeatures> {
    /// An input of the submission, by its place.
    Input(usize),
    /// An image that was encoded before.
    Features(&'a Features),
}

/// The results of a submission.
#[derive(Debug)]
pub struct Submitted<Features = ImageFeatures> {
    /// The features of each input that were to be kept.
    pub features: Vec<Option<Features>>,
    /// The answer to each question.
    pub answers: Vec<Answered>,
    /// Time on the device.
    pub times: StageTimes,
}

/// The answer to a question.
#[derive(Debug)]
pub struct Answered {
    /// The pairs that enter decoder levels 1, 2 and 3, as indices into the vocabulary, rising.
    pub survivors: [Vec<u32>; Level::COUNT],
    /// The result as the device left it.
    pub map: RawMap,
}

/// A result that is still to be brought into its form, which takes some time of any thread.
pub struct RawMap(pub(crate) Box<dyn FnOnce() -> Result<FinishedMap, ModelError> + Send>);

impl RawMap {
    /// A result of work that is done later.
    pub fn new(work: impl FnOnce() -> Result<FinishedMap, ModelError> + Send + 'static) -> Self {
        Self(Box::new(work))
    }

    /// The result.
    ///
    /// # Errors
    /// [`ModelError::NotFinite`] when scores of the image are not finite.
    pub fn finish(self) -> Result<FinishedMap, ModelError> {
        (self.0)()
    }
}

impl std::fmt::Debug for RawMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RawMap")
    }
}

/// The time that the device spent on each stage of a submission.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StageTimes {
    /// Upload of the images and their encoding.
    pub encode: Duration,
    /// Cost map and the rejection before level 1.
    pub cost_map: Duration,
    /// The decoder levels, each but the last with the rejection before the next.
    pub levels: [Duration; Level::COUNT],
    /// From the scores to the index maps in the host's memory.
    pub finish: Duration,
}
