//! Requests of the simulation.

use std::time::{Duration, Instant};

use crate::{
    requests::{
        image::{ImageFacts, ImageKey},
        job::{JobImage, Priority, SegmentJob},
        vocabulary::{Category, SynonymMode, Vocabulary, VocabularyLimits},
    },
    stages::{NetworkInput, OutputSpec, Rejection, Thresholds, fake::FakeReader},
};

/// A request of a test.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) words: Vec<String>,
    /// 0 is rejection off.
    pub(super) top_k: u32,
    pub(super) priority: Priority,
    /// Which picture; two requests with the same one share its features.
    pub(super) picture: u8,
    /// Of the output.
    pub(super) height: u32,
    pub(super) timeout: Option<Duration>,
    pub(super) poisoned: bool,
    /// Only stages one by one make them.
    pub(super) score_maps: bool,
    /// Synonyms of each word; with any, every phrase is a pair of its own.
    pub(super) synonyms: usize,
    /// Contrast words beside them.
    pub(super) contrast: usize,
}

impl Asked {
    /// So many words that other requests share, about a picture.
    pub(super) fn words(count: usize, picture: u8) -> Self {
        let words = (0..count).map(|word| format!("word {word}")).collect();
        Self {
            words,
            top_k: 2,
            priority: Priority::Normal,
            picture,
            height: 3,
            timeout: None,
            poisoned: false,
            score_maps: false,
            synonyms: 0,
            contrast: 0,
        }
    }

    fn vocabulary(&self) -> Vocabulary {
        let category = |name: &String| Category {
            name: name.clone(),
            synonyms: (0..self.synonyms).map(|synonym| format!("{name} as {synonym}")).collect(),
        };
        let asked = self.words.iter().map(category).collect();
        let contrast = (0..self.contrast).map(|word| category(&format!("contrast {word}"))).collect();
        let mode = if self.synonyms > 0 { SynonymMode::Best } else { SynonymMode::Mean };
        let limits = VocabularyLimits { categories: 10_000, phrases: 10_000, ..VocabularyLimits::default() };
        let asked = Vocabulary::built_in(asked, &FakeReader).unwrap();
        asked.with(mode, contrast, &limits, &FakeReader).unwrap()
    }

    pub(super) fn job(&self, number: usize, now: Instant) -> SegmentJob {
        let mut data: Vec<f32> =
            (0..32 * 32 * 3).map(|i| ((i * (3 + usize::from(self.picture))) % 89) as f32 / 40.0).collect();
        if self.poisoned {
            data[0] = crate::stages::fake::POISONED_PIXEL;
        }
        let key = ImageKey([self.picture; 32]);
        let facts = (!self.poisoned).then_some(ImageFacts { key, width: 3, height: 2, crop: None });
        SegmentJob {
            image: JobImage::Pixels { input: NetworkInput::new(32, data).into(), facts },
            vocabulary: self.vocabulary(),
            rejection: Rejection::from_top_k(self.top_k),
            // The width tells requests apart in the launches.
            output: OutputSpec {
                width: number as u32 + 1,
                height: self.height,
                crop: None,
                thresholds: Thresholds::Same(0.1),
                score_maps: self.score_maps,
                sureness: false,
            },
            waiting_since: now,
            deadline: self.timeout.map(|timeout| now + timeout),
            priority: self.priority,
        }
    }
}
