//! The interface to the model: the stages that a request goes through, one after the other.
//!
//! Stages take many images at a time. Between [`Stages::cost_map`] and [`Stages::finish`] the work is a
//! ragged batch of pairs, each of an image with a category or one of its phrases: images may have different
//! vocabularies, different rejection and different survivors, and the result of an image never depends on the
//! others in the batch. An image with more pairs than the memory holds goes through a stage in parts.
//!
//! A GPU takes whole requests in one submission, [`Stages::submit`], of which the host sees only the end.
//! Score maps, and requests that are too large for one submission, go stage by stage.

#[cfg(any(test, feature = "test-util"))]
pub mod fake;
pub(crate) mod input;
pub(crate) mod machine;
pub(crate) mod phrases;
pub(crate) mod sed;
pub(crate) mod stage;

use std::sync::Arc;

pub use sed_image::NetworkInput;
pub use sed_model::{
    Advanced, Answered, DecodeRequest, FinishedMap, Level, OutputSpec, Question, RawMap, Rejection,
    ScoreMaps, Source, StageTimes, Submitted, Sureness, Thresholds, UNLABELLED, f16,
};

use crate::stages::{
    input::{InputSlots, JobInput},
    phrases::ReadPhrases,
};

/// A model, cut into the stages that the engine schedules. It is owned by one thread.
pub trait Stages: Send + 'static {
    /// The embeddings of all prompts of one phrase, as caches store them. Cheap to clone.
    type PhraseEmbedding: Clone + Send + Sync + 'static;
    /// The text embedding of a category, or of a phrase by itself, made of the phrases' embeddings. Cheap to
    /// clone.
    type TextEmbedding: Clone + Send + Sync + 'static;
    /// The features of an image that the later stages need. Cheap to clone.
    type ImageFeatures: Clone + Send + Sync + 'static;
    /// The pairs of one image between two stages. Cheap to clone.
    type Pairs: Clone + Send + 'static;
    /// One image on its way through a stage in several parts.
    type Parts: Send + 'static;

    /// The description of the model.
    fn info(&self) -> ModelInfo;

    /// The model's reading of phrases, for threads that do not own the model.
    fn phrase_reader(&self) -> Arc<dyn ReadPhrases>;

    /// The memory that decoding threads put inputs into for [`Stages::submit`]; `None` where that gains
    /// nothing.
    fn input_slots(&self) -> Option<Arc<dyn InputSlots>>;

    /// Reports whether a lost device can work again in this process. A GPU cannot: after an error that ends
    /// its context, every later call of the process fails.
    fn can_recover(&self) -> bool;

    /// The device memory that batches take.
    fn memory(&self) -> MemoryNeeds;

    /// Memory that the embedding of a phrase holds, in bytes.
    fn phrase_bytes(&self, embedding: &Self::PhraseEmbedding) -> usize;

    /// Memory that the embedding of a category holds, in bytes.
    fn text_bytes(&self, embedding: &Self::TextEmbedding) -> usize;

    /// Memory that the features of an image hold, in bytes.
    fn feature_bytes(&self, features: &Self::ImageFeatures) -> usize;

    /// Serializes an embedding, to store it outside of the process.
    fn store_phrase(&self, embedding: &Self::PhraseEmbedding) -> Result<Vec<u8>, StageError>;

    /// Restores an embedding from the bytes of [`Stages::store_phrase`].
    fn restore_phrase(&self, bytes: &[u8]) -> Result<Self::PhraseEmbedding, StageError>;

    /// Embeds phrases; entry i of the answer belongs to phrase i.
    fn embed_phrases(&self, phrases: &[&str]) -> Result<Vec<Self::PhraseEmbedding>, StageError>;

    /// Combines the embeddings of a category's phrases (at least one) into the category's. Takes next to no
    /// time.
    fn combine(&self, phrases: &[Self::PhraseEmbedding]) -> Result<Self::TextEmbedding, StageError>;

    /// The direction of a text embedding: a vector of unit length, by which texts are compared.
    fn direction(&self, embedding: &Self::TextEmbedding) -> Result<Vec<f32>, StageError>;

    /// Encodes images; entry i of the answer belongs to input i.
    fn encode(&self, inputs: &[&NetworkInput]) -> Result<Vec<Self::ImageFeatures>, StageError>;

    /// Pairs each image with its categories or their phrases, and rejects before decoder level 1.
    fn cost_map(
        &self,
        requests: &[DecodeRequest<'_, Self::ImageFeatures, Self::TextEmbedding>],
    ) -> Result<Vec<Self::Pairs>, StageError>;

    /// Runs one decoder level. Levels 1 and 2 end with the rejection before the next level.
    fn decode(&self, level: Level, batch: Vec<Self::Pairs>) -> Result<Vec<Self::Pairs>, StageError>;

    /// Begins [`Stages::cost_map`] for one image in parts.
    fn cost_map_parts(
        &self,
        request: &DecodeRequest<'_, Self::ImageFeatures, Self::TextEmbedding>,
    ) -> Result<Self::Parts, StageError>;

    /// Begins [`Stages::decode`] for one image in parts.
    fn decode_parts(&self, level: Level, pairs: Self::Pairs) -> Result<Self::Parts, StageError>;

    /// Works on the next part, of at most `most` pairs. All parts together give the result of the whole
    /// stage. After an error or a panic nothing has changed: the part can be tried again, or a smaller one.
    fn advance(&self, parts: &mut Self::Parts, most: usize) -> Result<Advanced<Self::Pairs>, StageError>;

    /// The pairs that are left, as indices into the image's vocabulary, rising.
    fn survivors(&self, pairs: &Self::Pairs) -> Vec<u32>;

    /// Brings the scores to each image's output size and takes the best category of every pixel.
    fn finish(&self, batch: Vec<Self::Pairs>, outputs: &[OutputSpec])
    -> Result<Vec<FinishedMap>, StageError>;

    /// Reports whether a request for this output can go through all stages in one submission: never on a
    /// device that runs them one by one.
    fn submits(&self, output: &OutputSpec) -> bool;

    /// Runs all stages behind the words for several requests: the answer to each question, in order, and the
    /// features of each input for which `keep` holds.
    fn submit(
        &self,
        inputs: &[&JobInput],
        keep: &[bool],
        questions: &[Question<'_, Self::ImageFeatures, Self::TextEmbedding>],
    ) -> Result<Submitted<Self::ImageFeatures>, StageError>;
}

/// The device memory that batches take, estimated in advance, and the sizes beyond which they gain nothing. A
/// warm-up of the largest batches checks the estimate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryNeeds {
    /// Memory that is free for batches now, in bytes; `None` where the device does not report it.
    pub free: Option<u64>,
    /// Upper bound for each image of an encoder batch, in bytes.
    pub per_image: u64,
    /// Upper bound for each (image, category) pair of a batch of any later stage, in bytes.
    pub per_pair: u64,
    /// Larger encoder batches gain no speed on this device.
    pub useful_images: usize,
    /// Larger batches of pairs gain no speed on this device.
    pub useful_pairs: usize,
    /// A launch must not have more pairs, whatever memory and settings say.
    pub most_pairs: usize,
}

/// The description of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelInfo {
    /// Its name, for example `sed-b`.
    pub name: String,
    /// `sha256:` and the hexadecimal digest of weights and configuration.
    pub digest: String,
    /// `sha256:` and the hexadecimal digest of the prompt templates.
    pub templates_digest: String,
    /// The version of the text tower's arithmetic: another one may give other embeddings.
    pub text_arithmetic: u32,
    /// Number format of the weights: `f32`, `bf16` or `f16`.
    pub dtype: String,
    /// The device that it runs on: `cpu`, `cuda:0`, ...
    pub device: String,
    /// Side of the square input, in pixels.
    pub input_side: usize,
    /// Side of the square map that the decoder ends with, in pixels.
    pub map_side: usize,
}

/// Why a stage failed.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum StageError {
    /// The device has too little memory for this batch; a smaller one may fit.
    #[error("out of device memory: {0}")]
    OutOfMemory(String),
    /// The device does not answer any more.
    #[error("device lost: {0}")]
    DeviceLost(String),
    /// The model's scores of an image are NaN or infinite. The same request fails again.
    #[error("{found} of {of} scores are not finite")]
    NotFinite {
        /// Scores that are not finite.
        found: usize,
        /// All scores of the image.
        of: usize,
    },
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}
