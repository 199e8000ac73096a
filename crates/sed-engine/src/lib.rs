//! The engine from requests to results: one thread owns the model and runs its stages over ragged batches of
//! the requests that wait, with caches, deadlines and reports. It does not know gRPC or image files.
//!
//! A request passes `admission` and the `inbox`, and then goes from station to station of the `scheduler`,
//! which puts launches together; the `device_thread` runs them. A device that can take a request through all
//! stages in one submission does; others run them one by one.
//!
//! [`Engine::start`] accepts any [`Stages`] and returns a handle to clone; [`Engine::segment`] answers one
//! [`SegmentJob`] with a [`SegmentOutcome`] or an [`EngineError`]; [`Engine::prepare`] embeds words in the
//! background of all requests.

#![forbid(unsafe_code)]

mod admission;
mod caches;
mod config;
mod devices;
mod engine;
pub mod metrics;
mod preparing;
mod requests;
mod scheduler;
mod similarity;
mod stages;

pub use config::EngineConfig;
pub use devices::state::EngineState;
pub use engine::Engine;
pub use preparing::{Preparation, PreparationState, Progress};
pub use requests::{
    error::{EngineError, NotReady, panic_message},
    image::{ImageFacts, ImageKey, PinnedImage},
    job::{JobImage, Priority, SegmentJob, SegmentOutcome},
    report::{BatchTiming, CacheReport, LevelReport, RejectionReport, StageTiming},
    vocabulary::{
        Category, CategoryPlace, Phrase, SynonymMode, Vocabulary, VocabularyDigest, VocabularyError,
        VocabularyLimits, VocabularyWarning, advice,
    },
    vocabulary_book::{COMMON_WORDS, VocabularyBook, builtin_vocabularies},
};
pub use similarity::{CategoryPair, ClosestPairs, Directions, Similarity, far_from};
#[cfg(any(test, feature = "test-util"))]
pub use stages::fake;
pub use stages::{
    Advanced, Answered, DecodeRequest, FinishedMap, Level, MemoryNeeds, ModelInfo, NetworkInput, OutputSpec,
    Question, RawMap, Rejection, ScoreMaps, Source, StageError, StageTimes, Stages, Submitted, Sureness,
    Thresholds, UNLABELLED, f16,
    input::{InputSlot, InputSlots, JobInput},
    machine::Memory,
    phrases::{PhraseTokens, ReadPhrases, TokenPhrase},
    sed::{SedStages, USEFUL_IMAGES_CPU, USEFUL_PAIRS_CPU, device_name},
    stage::Stage,
};
