//! Reports about a request: its rejected categories, the time of its stages, and its cache hits.

use std::time::Duration;

use crate::stages::{Level, Rejection, stage::Stage};

/// The outcome of category early rejection for one image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RejectionReport {
    /// The rejection that was used.
    pub rejection: Rejection,
    /// One entry for each decoder level, in order.
    pub levels: Vec<LevelReport>,
}

/// The outcome of the rejection before one decoder level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelReport {
    /// The decoder level.
    pub level: Level,
    /// Number of categories before the rejection.
    pub candidates: u32,
    /// Indices of the categories that went on, rising.
    pub survivors: Vec<u32>,
    /// Indices of the categories that did not, rising.
    pub rejected: Vec<u32>,
}

impl LevelReport {
    /// Compares the categories before and after a rejection; both rising, `survivors` a part of `candidates`.
    pub(crate) fn new(level: Level, candidates: &[u32], survivors: Vec<u32>) -> Self {
        let rejected =
            candidates.iter().copied().filter(|index| survivors.binary_search(index).is_err()).collect();
        Self { level, candidates: candidates.len() as u32, survivors, rejected }
    }
}

/// The time that one request spent on one stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageTiming {
    /// The stage.
    pub stage: Stage,
    /// Waiting for it to begin.
    pub queue_wait: Duration,
    /// From its beginning to its end.
    pub duration: Duration,
    /// The batches in which the request went through it.
    pub batches: Vec<BatchTiming>,
}

/// One launch of a stage on the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchTiming {
    /// Images of all requests in it.
    pub images: u32,
    /// (Image, category) pairs of all requests in it; for text embedding its phrases.
    pub pairs: u32,
    /// Time that the device worked on it.
    pub device_time: Duration,
}

/// The cache hits and misses of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheReport {
    /// Phrases whose embeddings were at hand. A phrase that occurs twice counts once.
    pub text_hits: u32,
    /// Phrases that had to be embedded, for this request or for one that asked at the same time.
    pub text_misses: u32,
    /// The whole vocabulary was at hand.
    pub vocabulary_hit: bool,
    /// The image was not encoded for this request.
    pub image_hit: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn level_report_separates_survivors_from_rejected() {
        let report = LevelReport::new(Level::Two, &[0, 3, 4, 9], vec![3, 9]);
        assert_eq!(report.candidates, 4);
        assert_eq!(report.survivors, [3, 9]);
        assert_eq!(report.rejected, [0, 4]);
    }
}
