//! Takes requests to results: a bounded queue in front of one thread that owns the model, and the stages that
//! every request goes through. Knows nothing of gRPC or of image files.
//!
//! [`Engine::start`] takes any [`Stages`] and gives a handle to clone; [`Engine::segment`] answers one
//! [`SegmentJob`] with a [`SegmentOutcome`] or an [`EngineError`].

#![forbid(unsafe_code)]

mod device_thread;
mod engine;
mod error;
#[cfg(feature = "test-util")]
pub mod fake;
mod job;
pub mod metrics;
mod pipeline;
mod queue;
mod report;
mod sed_stages;
mod stage_clock;
mod stages;
mod state;
mod text;
mod text_cache;
mod ticket;
mod vocabulary;
mod vocabulary_book;

pub use engine::{Engine, EngineConfig};
pub use error::EngineError;
pub use job::{Priority, SegmentJob, SegmentOutcome};
pub use report::{BatchTiming, LevelReport, RejectionReport, Stage, StageTiming, TextCacheReport};
pub use sed_stages::{SedStages, builtin_vocabularies};
pub use stages::{
    DecoderLevel, FinishedMap, ModelInfo, NetworkInput, OutputSpec, PairRequest, ScoreMaps, StageError,
    Stages, UNLABELLED,
};
pub use state::EngineState;
pub use vocabulary::{Category, Phrase, Vocabulary, VocabularyError, VocabularyLimits};
pub use vocabulary_book::VocabularyBook;
