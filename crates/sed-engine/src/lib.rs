//! The engine from requests to results: one thread owns the model and runs its stages over ragged batches of
//! the requests that wait, with caches, deadlines and reports. It does not know gRPC or image files.
//!
//! A request passes `admission` and the `inbox`, and then goes from station to station of the `scheduler`,
//! which puts launches together; the `device_thread` runs them.
//!
//! [`Engine::start`] accepts any [`Stages`] and returns a handle to clone; [`Engine::segment`] answers one
//! [`SegmentJob`] with a [`SegmentOutcome`] or an [`EngineError`].

#![forbid(unsafe_code)]

mod admission;
mod budget;
mod byte_lru;
mod charge;
mod cost_model;
mod device_thread;
mod engine;
mod engine_config;
mod error;
#[cfg(any(test, feature = "test-util"))]
pub mod fake;
mod feature_cache;
mod fit;
mod inbox;
mod job;
mod lanes;
mod launch;
mod machine;
mod member;
pub mod metrics;
mod phrases;
mod pixels;
mod place;
mod report;
mod scheduler;
mod sed_stages;
mod stages;
mod state;
mod task;
mod text_cache;
mod text_store;
mod ticket;
mod timeline;
mod vocabulary;
mod vocabulary_book;
mod warm_up;

pub use engine::Engine;
pub use engine_config::EngineConfig;
pub use error::{EngineError, panic_message};
pub use feature_cache::{ImageFacts, ImageKey, PinnedImage};
pub use job::{JobImage, Priority, SegmentJob, SegmentOutcome};
pub use machine::Memory;
pub use phrases::{PhraseTokens, ReadPhrases, TokenPhrase};
pub use report::{BatchTiming, CacheReport, LevelReport, RejectionReport, Stage, StageTiming};
pub use sed_stages::{SedStages, USEFUL_IMAGES_CPU, USEFUL_PAIRS_CPU, builtin_vocabularies, device_name};
pub use stages::{
    Advanced, DecodeRequest, FinishedMap, Level, MemoryNeeds, ModelInfo, NetworkInput, OutputSpec, Rejection,
    ScoreMaps, StageError, Stages, UNLABELLED,
};
pub use state::EngineState;
pub use vocabulary::{
    Category, Phrase, Vocabulary, VocabularyDigest, VocabularyError, VocabularyLimits, VocabularyWarning,
};
pub use vocabulary_book::VocabularyBook;
