//! Reports about a request: its rejected categories, the time of its stages, and its cache hits.

use std::time::Duration;

use crate::{
    requests::vocabulary::Vocabulary,
    stages::{Level, Rejection, stage::Stage},
};

/// The outcome of category early rejection for one image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RejectionReport {
    /// The rejection that was used.
    pub rejection: Rejection,
    /// One entry for each decoder level, in order.
    pub levels: Vec<LevelReport>,
}

/// The outcome of the rejection before one decoder level. Categories are those asked for, each once however
/// many of its phrases are pairs; contrast words are counted apart.
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
    /// Number of contrast words before the rejection.
    pub contrast_candidates: u32,
    /// Number of contrast words that went on.
    pub contrast_survivors: u32,
}

impl LevelReport {
    /// Compares a vocabulary's categories before a rejection, which are those that the last one left or all,
    /// with those of the pairs that went on (rising).
    pub(crate) fn new(level: Level, vocabulary: &Vocabulary, before: Option<&Self>, pairs: &[u32]) -> Self {
        let size = vocabulary.size() as u32;
        let mut survivors = vocabulary.categories_of(pairs);
        let contrast = survivors.split_off(survivors.partition_point(|category| *category < size));
        let (candidates, contrast_candidates) = match before {
            Some(before) => (before.survivors.clone(), before.contrast_survivors),
            None => ((0..size).collect(), vocabulary.contrast().len() as u32),
        };
        let is_rejected = |category: &u32| survivors.binary_search(category).is_err();
        Self {
            level,
            candidates: candidates.len() as u32,
            rejected: candidates.into_iter().filter(is_rejected).collect(),
            survivors,
            contrast_candidates,
            contrast_survivors: contrast.len() as u32,
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
    use crate::{
        requests::vocabulary::{Category, SynonymMode, VocabularyLimits},
        stages::fake::FakeReader,
    };

    fn vocabulary(mode: SynonymMode) -> Vocabulary {
        let limits = VocabularyLimits::default();
        let category = |name: &str| Category { name: name.into(), synonyms: vec![format!("{name} also")] };
        let asked = ["a", "b", "c"].map(category).to_vec();
        let contrast = ["x", "y"].map(category).to_vec();
        let asked = Vocabulary::new(asked, &limits, &FakeReader).unwrap();
        asked.with(mode, contrast, &limits, &FakeReader).unwrap()
    }

    #[test]
    fn a_report_separates_survivors_from_rejected_and_counts_contrast_words_apart() {
        let words = vocabulary(SynonymMode::Mean);
        let first = LevelReport::new(Level::One, &words, None, &[0, 2, 4]);
        assert_eq!((first.candidates, first.contrast_candidates, first.contrast_survivors), (3, 2, 1));
        assert_eq!((first.survivors.as_slice(), first.rejected.as_slice()), (&[0, 2][..], &[1][..]));
        let second = LevelReport::new(Level::Two, &words, Some(&first), &[2]);
        assert_eq!((second.candidates, second.contrast_candidates, second.contrast_survivors), (2, 1, 0));
        assert_eq!((second.survivors, second.rejected), (vec![2], vec![0]));
    }

    #[test]
    fn a_category_counts_once_however_many_of_its_phrases_survive() {
        let words = vocabulary(SynonymMode::Best);
        assert_eq!(words.pairs(), 10);
        let report = LevelReport::new(Level::One, &words, None, &[0, 1, 5, 6, 7]);
        assert_eq!((report.survivors, report.rejected), (vec![0, 2], vec![1]));
        assert_eq!((report.contrast_candidates, report.contrast_survivors), (2, 1));
    }
}
