//! The pairs of a submission as the host knows them, and as tables for the device.

use std::ops::Range;

use candle_core::Tensor;
use sed_kernels::{DevicePairs, RejectionRule};

use super::capacity::Candidates;
use super::words::{Places, Words, table};
use super::{Question, Source};
use crate::error::{ModelError, Result};
use crate::level::Level;
use crate::pairs::DecodeRequest;
use crate::rejection::Rejection;

/// The pairs that the questions ask for, before any rejection.
#[derive(Debug)]
pub(super) struct Asked {
    /// Pairs of each question.
    pub(super) vocabularies: Vec<usize>,
    pub(super) candidates: Candidates,
}

/// Tables in the block of the host.
#[derive(Debug)]
pub(super) struct HostTables {
    pairs: Range<usize>,
    top_k: Range<usize>,
    groups: Option<Range<usize>>,
    starts: Range<usize>,
    images: usize,
}

impl Asked {
    /// Checks the questions and counts their pairs.
    ///
    /// # Errors
    /// When a question has no pair, its groups do not fit, or it names an input that there is not.
    pub(super) fn of(questions: &[Question<'_>], inputs: usize) -> Result<Self> {
        let mut candidates = Candidates { fixed: 0, rejectable: 0 };
        for question in questions {
            let Question { text, groups, rejection, .. } = *question;
            DecodeRequest { features: &(), text, groups, rejection }.check()?;
            if let Source::Input(place) = question.image
                && place >= inputs
            {
                return Err(ModelError::input(format!("a question names input {place} of {inputs}")));
            }
            if question.output.score_maps {
                return Err(ModelError::input("a submission has no score maps; ask stage by stage"));
            }
            if can_reject(question) {
                candidates.rejectable += text.len();
            } else {
                candidates.fixed += text.len();
            }
        }
        Ok(Self { vocabularies: questions.iter().map(|question| question.text.len()).collect(), candidates })
    }
}

/// Reports whether a rejection may remove pairs of a question.
fn can_reject(question: &Question<'_>) -> bool {
    let categories = question
        .groups
        .map_or(question.text.len(), |groups| groups.last().map_or(0, |last| *last as usize + 1));
    question.rejection.kept(categories) < question.text.len()
}

impl HostTables {
    /// Adds the tables of all pairs and of the rejection to a block.
    pub(super) fn add(words: &mut Words, asked: &Asked, questions: &[Question<'_>]) -> Self {
        let starts: Vec<u32> = std::iter::once(0)
            .chain(asked.vocabularies.iter().scan(0, |end, pairs| {
                *end += *pairs as u32;
                Some(*end)
            }))
            .collect();
        let sizes = || asked.vocabularies.iter().copied();
        let images = sizes().enumerate().flat_map(|(image, pairs)| std::iter::repeat_n(image as u32, pairs));
        let survivors = sizes().flat_map(|pairs| 0..pairs as u32);
        let all = asked.candidates.all() as u32;
        let pairs = words.push(starts.iter().copied().chain(images).chain(survivors).chain([all]));
        // A rejection that can remove nothing is none; it would only be computed.
        let top_k = questions.iter().map(|question| match question.rejection {
            Rejection::TopK(top_k) if can_reject(question) => top_k.get(),
            _ => 0,
        });
        let top_k = words.push(top_k);
        let has_groups = questions.iter().any(|question| question.groups.is_some());
        let group_of = |question: &Question<'_>| match question.groups {
            Some(groups) => groups.to_vec(),
            None => (0..question.text.len() as u32).collect(),
        };
        let groups = has_groups.then(|| words.push(questions.iter().flat_map(group_of)));
        Self { pairs, top_k, groups, starts: words.push(starts), images: questions.len() }
    }

    /// All pairs, on the device.
    pub(super) fn pairs(&self, block: &Tensor, asked: &Asked) -> Result<DevicePairs> {
        Ok(DevicePairs::within(&table(block, &self.pairs)?, self.images, asked.candidates.all())?)
    }

    /// The rule of the rejections, on the device.
    pub(super) fn rule(&self, block: &Tensor) -> Result<RejectionRule> {
        Ok(RejectionRule {
            top_k: table(block, &self.top_k)?,
            groups: self.groups.as_ref().map(|groups| table(block, groups)).transpose()?,
            starts: table(block, &self.starts)?,
        })
    }
}

/// The pairs that enter the levels, in the block that the device fills.
#[derive(Debug)]
pub(super) struct Entering {
    /// For each level the place of its tables, and their capacity. Empty where no rejection can remove anything.
    levels: Vec<(Range<usize>, usize)>,
    vocabularies: Vec<usize>,
}

impl Entering {
    /// Reserves the tables of every level.
    pub(super) fn reserve(places: &mut Places, asked: &Asked, capacities: [usize; Level::COUNT]) -> Self {
        let images = asked.vocabularies.len();
        let capacities = if asked.candidates.rejectable > 0 { &capacities[..] } else { &[] };
        let levels = capacities
            .iter()
            .map(|&capacity| (places.reserve(DevicePairs::words(images, capacity)), capacity))
            .collect();
        Self { levels, vocabularies: asked.vocabularies.clone() }
    }

    /// The tables of a level, on the device. `None` where all pairs enter it.
    pub(super) fn pairs(&self, block: &Tensor, level: Level) -> Result<Option<DevicePairs>> {
        let Some((place, capacity)) = self.levels.get(level.index()) else { return Ok(None) };
        Ok(Some(DevicePairs::within(&table(block, place)?, self.vocabularies.len(), *capacity)?))
    }

    /// The number of pairs that enter each level, from the words of the block. `None` where a level had not rows for
    /// all of them.
    pub(super) fn counts(&self, words: &[u32]) -> Option<[usize; Level::COUNT]> {
        let mut counts = [self.vocabularies.iter().sum(); Level::COUNT];
        for ((place, capacity), count) in self.levels.iter().zip(&mut counts) {
            let wanted = words[place.end - 1] as usize;
            if wanted > *capacity {
                return None;
            }
            *count = wanted;
        }
        Some(counts)
    }

    /// The pairs of an image that enter each level, as indices into its vocabulary, rising.
    ///
    /// # Errors
    /// When the device's tables are no tables.
    pub(super) fn survivors(&self, words: &[u32], image: usize) -> Result<[Vec<u32>; Level::COUNT]> {
        let images = self.vocabularies.len();
        let of_level = |(place, capacity): &(Range<usize>, usize)| {
            let table = &words[place.clone()];
            let rows = table[image] as usize..table[image + 1] as usize;
            let survivors = &table[images + 1 + capacity..][..*capacity];
            survivors.get(rows).map(<[u32]>::to_vec)
        };
        let mut survivors = Level::ALL.map(|_| (0..self.vocabularies[image] as u32).collect());
        for (level, survivors) in self.levels.iter().zip(&mut survivors) {
            let Some(found) = of_level(level) else {
                let reason = format!("the device gave no rows for image {image}");
                return Err(candle_core::Error::Msg(reason).into());
            };
            *survivors = found;
        }
        Ok(survivors)
    }
}
