//! Every way in which the engine can fail a request.

use std::{any::Any, path::PathBuf, time::Duration};

use crate::stages::stage::Stage;

/// Why a request got no result.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum EngineError {
    /// The job does not fit the model. The message names what is wrong.
    #[error("{field}: {message}")]
    InvalidJob {
        /// The part of the job.
        field: &'static str,
        /// The rule that it breaks.
        message: String,
    },
    /// The queue is full.
    #[error("the queue of {capacity} {unit} is full; retry in {} ms", retry_after.as_millis())]
    QueueFull {
        /// The unit that is counted: `requests`, or `(image, category) pairs`.
        unit: &'static str,
        /// Number of units that the queue holds.
        capacity: usize,
        /// When there will probably be room.
        retry_after: Duration,
    },
    /// The deadline leaves less time than the request takes on an idle server.
    #[error(
        "the request takes some {} ms, its deadline, or the longest time of a request, leaves {} ms; give \
         it more time, or ask for fewer categories",
        needed.as_millis(), left.as_millis()
    )]
    DeadlineTooShort {
        /// Predicted device time.
        needed: Duration,
        /// Time until the deadline.
        left: Duration,
    },
    /// Behind the work that waits already, the request would be finished too late.
    #[error(
        "behind the waiting requests this one would take {} ms, its deadline leaves {} ms; retry in {} ms \
         with a new deadline",
        predicted.as_millis(), left.as_millis(), retry_after.as_millis()
    )]
    DeadlineUnreachable {
        /// Predicted time to the answer.
        predicted: Duration,
        /// Time until the deadline.
        left: Duration,
        /// When it would probably be in time.
        retry_after: Duration,
    },
    /// The words cannot be embedded within the deadline, or cannot be prepared at all.
    #[error("{embedded} of {phrases} names and synonyms have text embeddings; {why}{}", retry(*retry_after))]
    VocabularyNotReady {
        /// Different phrases of the vocabulary whose embeddings are in the memory of every device that works.
        embedded: usize,
        /// Different phrases of the vocabulary.
        phrases: usize,
        /// Delay after which the words will probably be ready, 1 to 30 s; `None` if they are not prepared.
        retry_after: Option<Duration>,
        /// The state of the others.
        why: NotReady,
    },
    /// The deadline passed. The rest of the work was dropped.
    #[error("the deadline passed before the request was finished")]
    DeadlineExceeded,
    /// The caller has gone. Only the log shows this error.
    #[error("the caller cancelled the request")]
    Cancelled,
    /// The model is being warmed up.
    #[error("the model is not ready yet; retry in a moment")]
    NotReady,
    /// The model's warm-up failed. It is tried again from time to time.
    #[error("the model's warm-up failed: {0}")]
    WarmUpFailed(String),
    /// The engine stops, or has stopped.
    #[error("the server is shutting down; retry on another replica")]
    ShuttingDown,
    /// The device does not answer.
    #[error("the device does not answer: {0}")]
    DeviceLost(String),
    /// The device has too little memory for this request.
    #[error("the device has too little memory in stage {}: ask for fewer categories or smaller masks", stage.name())]
    DeviceOutOfMemory {
        /// The stage in which memory ran out.
        stage: Stage,
    },
    /// The model's scores are NaN or infinite. The same request fails again.
    #[error(
        "the model's scores are not finite ({found} of {of} values): check its weights, and use bf16 or f32 where f16 \
         overflows"
    )]
    ResultNotFinite {
        /// Scores that are not finite.
        found: usize,
        /// All scores of the image.
        of: usize,
    },
    /// A stage failed, or panicked. The message is for the log, not for the caller.
    #[error("stage {} failed: {message}", stage.name())]
    StageFailed {
        /// The stage that failed.
        stage: Stage,
        /// The message of the error or panic.
        message: String,
    },
    /// The directory of text embeddings cannot be used.
    #[error("cannot use {} for text embeddings: {message}", folder.display())]
    TextStore {
        /// The directory.
        folder: PathBuf,
        /// The error message of the operating system.
        message: String,
    },
    /// The operating system gave no thread.
    #[error("cannot start the device thread: {0}")]
    NoThread(String),
}

/// The state of words that are not ready.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum NotReady {
    /// They are being prepared in the background.
    #[error("those that are missing are prepared in the background")]
    Preparing,
    /// As many phrases are being prepared as may be.
    #[error(
        "{preparing} are being prepared of at most {limit}, so that these are not; wait for the others, or ask for \
         fewer words"
    )]
    TooMany {
        /// Phrases that are being prepared, for all callers or for this one.
        preparing: usize,
        /// The largest number.
        limit: usize,
    },
    /// Their embeddings fit neither cache, so that each request would compute them again.
    #[error(
        "they need {needed} bytes of text_cache_bytes, which has {text_cache}, or {assembled} bytes of \
         vocabulary_cache_bytes, which has {vocabulary_cache}; ask for fewer words, or raise one of the two"
    )]
    TooLarge {
        /// Bytes of the embeddings of all phrases.
        needed: u64,
        /// Bytes that the cache of phrases holds.
        text_cache: u64,
        /// Bytes of the embeddings of all categories.
        assembled: u64,
        /// Bytes that the cache of vocabularies holds.
        vocabulary_cache: u64,
    },
}

/// The end of a message that names a delay.
fn retry(after: Option<Duration>) -> String {
    after.map_or_else(String::new, |delay| format!("; retry in {} ms", delay.as_millis()))
}

/// The message of a panic that was caught, if it has one.
pub fn panic_message(payload: &(dyn Any + Send)) -> Option<&str> {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied())
}
