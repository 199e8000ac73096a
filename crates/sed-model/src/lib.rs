//! The SED network (Xie et al., "SED: A Simple Encoder-Decoder for Open-Vocabulary Semantic
//! Segmentation", CVPR 2024): checkpoint, text tower, encoder, cost map, decoder and category rejection.
//!
//! [`SedModel`] is the whole of it, cut into stages. Between the cost map and the result the work is a
//! ragged batch of (image, category) pairs ([`PairBatch`]); what an image gets does not depend on the
//! others in its batch. All maps are channels-last.

pub mod checkpoint;
pub mod config;
mod cost_map;
pub mod decoder;
mod encoder;
pub mod error;
mod features;
mod footprint;
mod launch_limits;
mod level;
mod model;
pub mod operations;
mod pairs;
mod parts;
pub mod prompts;
mod rejection;
mod segmentation;
pub mod synthetic;
pub mod text_tower;
pub mod tokenizer;

pub use cost_map::CostMap;
pub use encoder::{EncodedImages, Encoder};
pub use error::{ModelError, Result};
pub use features::{GuidanceProjection, ImageFeatures};
pub use footprint::Footprint;
pub use level::Level;
pub use model::{Answered, Input, Question, RawMap, SedModel, Source, StageTimes, Submitted};
pub use pairs::{DecodeRequest, PairBatch};
pub use parts::{Advanced, Parts};
pub use rejection::{ParseRejectionError, Rejection};
pub use sed_kernels::submission::{PinnedInput, PinnedInputs};
pub use sed_kernels::{
    Sureness, UNLABELLED, activation_dtype, allocator, device, f16, parallel, peak, products_off_plan,
};
pub use segmentation::{FinishedMap, OutputSpec, ScoreMaps, Thresholds};
