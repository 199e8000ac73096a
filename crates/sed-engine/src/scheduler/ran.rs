//! The time of a launch.

use std::time::{Duration, Instant};

/// When a launch began and ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ran {
    pub(crate) begun: Instant,
    pub(crate) ended: Instant,
}

impl Ran {
    /// The time that the device worked.
    pub(crate) fn time(self) -> Duration {
        self.ended.saturating_duration_since(self.begun)
    }
}
