//! Whether the engine can work, as others watch it.

/// What the engine is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineState {
    /// The model is being warmed up.
    Starting,
    /// Requests are answered.
    Ready,
    /// The model could not even do its warm-up. The engine tries again from time to time.
    Failed {
        /// What went wrong.
        reason: String,
    },
    /// The device does not answer. The engine tries it from time to time.
    DeviceLost {
        /// What it said last.
        reason: String,
    },
    /// The device thread has ended.
    Stopped,
}

impl EngineState {
    /// Whether a request sent now would be worked on.
    pub fn is_ready(&self) -> bool {
        *self == Self::Ready
    }
}
