//! The progress of a preparation, as its callers watch it.

use std::time::Duration;

use crate::requests::error::EngineError;

/// The progress of a preparation. Counts never fall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The different phrases of the vocabulary.
    pub phrases: usize,
    /// Those whose embeddings every device had when the preparation began.
    pub known: usize,
    /// Those whose embeddings every device has, the known ones included.
    pub embedded: usize,
    /// Predicted time until every device has all; `None` while nothing is known of it.
    pub remaining: Option<Duration>,
    /// The devices that take part, each with its name and the phrases whose embeddings it has. A device that
    /// is lost leaves the list.
    pub devices: Vec<(String, usize)>,
    /// The state.
    pub state: PreparationState,
}

/// The state of a preparation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PreparationState {
    /// Some device still works on it.
    Running,
    /// The next request with these words does not wait for them.
    Ready,
    /// It has ended before that. What was embedded stays in the caches.
    Failed(EngineError),
}
