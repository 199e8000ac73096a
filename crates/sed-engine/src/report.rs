//! Reports about a request: its rejected categories, the time of its stages, and its cache hits.

use std::time::Duration;

use crate::stages::{Level, Rejection};

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

/// The stages that a request goes through inside the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Categories to text embeddings.
    TextEmbedding,
    /// Image to features.
    Encode,
    /// Features and text embeddings to pairs, and rejection before level 1.
    CostMap,
    /// A decoder level; behind all but the last the rejection before the next.
    Decode(Level),
    /// Scores to the index map.
    Finish,
}

impl Stage {
    /// Their number.
    pub const COUNT: usize = 4 + Level::COUNT;
    /// All stages, in order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::TextEmbedding,
        Self::Encode,
        Self::CostMap,
        Self::Decode(Level::One),
        Self::Decode(Level::Two),
        Self::Decode(Level::Three),
        Self::Finish,
    ];

    /// Its place in lists of all stages.
    pub fn index(self) -> usize {
        match self {
            Self::TextEmbedding => 0,
            Self::Encode => 1,
            Self::CostMap => 2,
            Self::Decode(level) => 3 + level.index(),
            Self::Finish => 3 + Level::COUNT,
        }
    }

    /// Returns the stage that follows; `None` behind the last.
    pub(crate) fn next(self) -> Option<Self> {
        Self::ALL.get(self.index() + 1).copied()
    }

    /// A stable name in snake case, for logs and error metadata.
    pub fn name(self) -> &'static str {
        match self {
            Self::TextEmbedding => "text_embedding",
            Self::Encode => "encode",
            Self::CostMap => "cost_map",
            Self::Decode(Level::One) => "decode_level_1",
            Self::Decode(Level::Two) => "decode_level_2",
            Self::Decode(Level::Three) => "decode_level_3",
            Self::Finish => "finish",
        }
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
    fn stages_know_their_places() {
        assert_eq!(
            Stage::ALL.map(Stage::index),
            std::array::from_fn::<_, { Stage::COUNT }, _>(|index| index)
        );
        let from_first = std::iter::successors(Some(Stage::ALL[0]), |stage| stage.next());
        assert_eq!(from_first.collect::<Vec<_>>(), Stage::ALL);
    }

    #[test]
    fn level_report_separates_survivors_from_rejected() {
        let report = LevelReport::new(Level::Two, &[0, 3, 4, 9], vec![3, 9]);
        assert_eq!(report.candidates, 4);
        assert_eq!(report.survivors, [3, 9]);
        assert_eq!(report.rejected, [0, 4]);
    }
}
