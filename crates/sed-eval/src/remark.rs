//! Remarks on figures that are probably not about the model: labels of another kind, or counted otherwise.

use std::collections::{BTreeMap, BTreeSet};

use sed_image::UNLABELLED;
use serde::Serialize;

use crate::{plan::Names, score::Score};

/// Values that usually stand for ignored pixels, in 8 and 16 bits.
const USUAL_IGNORED: [u16; 2] = [255, 65_535];
/// The share of pixels from which on labels outside the vocabulary are remarked on.
const MANY_OUTSIDE: f64 = 0.5;
/// The share of pixels below which a value is rare.
const RARE: f64 = 0.1;

/// A remark on the figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remark {
    /// Its kind.
    pub kind: RemarkKind,
    /// One sentence with advice.
    pub message: String,
}

/// The kinds of remarks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RemarkKind {
    /// Most pixels of the labels have values outside the vocabulary.
    OutsideVocabulary,
    /// The labels hold the values 0 and 255 alone.
    BinaryMask,
    /// The labels seem to count from 1.
    CountedFromOne,
    /// All answers are one category.
    OneCategory,
    /// Pictures were turned upright by their EXIF orientation while their labels were not.
    Turned,
    /// Masks of an earlier run were written again.
    PredictionsReplaced,
}

/// The facts about labels and answers that remarks are made of.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    /// The value of the first category in the labels; `None` where their values are those of scenes.
    pub(crate) first_label: Option<u16>,
    /// Number of categories of a request.
    pub(crate) words: usize,
    /// The values of the labels and their pixels.
    pub(crate) values: &'a BTreeMap<u16, u64>,
    pub(crate) score: &'a Score,
    pub(crate) turned: &'a [String],
    pub(crate) replaced: u64,
    pub(crate) names: &'a Names,
}

impl Facts<'_> {
    /// All remarks, those on labels first.
    pub(crate) fn remarks(&self) -> Vec<Remark> {
        let of_labels = self.first_label.into_iter().flat_map(|first| {
            [
                (RemarkKind::OutsideVocabulary, self.outside(first)),
                (RemarkKind::BinaryMask, self.binary()),
                (RemarkKind::CountedFromOne, self.counted_from_one(first)),
            ]
        });
        let others = [
            (RemarkKind::OneCategory, self.one_category()),
            (RemarkKind::Turned, self.turned()),
            (RemarkKind::PredictionsReplaced, self.replaced()),
        ];
        let remark = |(kind, message): (RemarkKind, Option<String>)| Some(Remark { kind, message: message? });
        of_labels.chain(others).filter_map(remark).collect()
    }

    fn pixels(&self) -> u64 {
        self.values.values().sum()
    }

    fn outside(&self, first: u16) -> Option<String> {
        let last = usize::from(first) + self.words.saturating_sub(1);
        let is_outside = |value: u16| {
            let is_category = value >= first && usize::from(value) <= last;
            let is_ignored = USUAL_IGNORED.contains(&value) || (value == 0 && first == 1);
            !is_category && !is_ignored
        };
        let mut outside = self.values.iter().filter(|(value, _)| is_outside(**value)).collect::<Vec<_>>();
        let share = outside.iter().map(|(_, pixels)| **pixels).sum::<u64>() as f64 / self.pixels() as f64;
        outside.sort_by_key(|(_, pixels)| std::cmp::Reverse(**pixels));
        let (value, _) = outside.first().filter(|_| share > MANY_OUTSIDE)?;
        Some(format!(
            "{:.0} % of the labels' pixels have values outside the vocabulary ({first} to {last}) and do not \
             count, most of them {value}; are the labels those of these words?",
            100.0 * share
        ))
    }

    fn binary(&self) -> Option<String> {
        let is_binary = self.values.keys().eq([0, 255].iter());
        is_binary.then(|| {
            "the labels hold the values 0 and 255 alone, of which 255 is ignored; if they are binary masks, \
             write the index of the category in place of 255"
                .to_owned()
        })
    }

    fn counted_from_one(&self, first: u16) -> Option<String> {
        let largest = self.values.keys().rfind(|value| !USUAL_IGNORED.contains(value))?;
        let zeros = self.values.get(&0).copied().unwrap_or(0) as f64;
        let seems = first == 0 && usize::from(*largest) == self.words && zeros < RARE * self.pixels() as f64;
        let right = |shift: u16| -> u64 {
            let is_right = |(label, answer): (u16, u16)| answer.checked_add(shift) == Some(label);
            self.score.cells().filter(|(pair, _)| is_right(*pair)).map(|(_, pixels)| pixels).sum()
        };
        // Labels that count from 0 may have the number of categories for ignored pixels.
        (seems && right(1) > right(0)).then(|| {
            format!(
                "the labels seem to count their categories from 1: their largest value is {largest}, the \
                 number of categories, and 0 is rare; give --first-label 1"
            )
        })
    }

    fn one_category(&self) -> Option<String> {
        let labels: BTreeSet<u16> = self.score.cells().map(|((label, _), _)| label).collect();
        let answers: BTreeSet<u16> = self.score.cells().map(|((_, answer), _)| answer).collect();
        let only = answers.first().copied().filter(|_| answers.len() == 1 && labels.len() > 1)?;
        let taken = match only {
            UNLABELLED => "no category".to_owned(),
            category => self.names.name(usize::from(category)).to_owned(),
        };
        Some(format!(
            "every labelled pixel of every picture was taken for {taken}; do the words fit the pictures, and \
             is the model the one that you mean?"
        ))
    }

    fn turned(&self) -> Option<String> {
        let first = self.turned.first()?;
        Some(format!(
            "{} of the pictures, such as {first}, were turned upright by their EXIF orientation while their \
             labels were taken as stored, as detectron2 does; where the labels are of the pictures as \
             stored, give --exif ignore, and --exif apply where they are not",
            self.turned.len()
        ))
    }

    fn replaced(&self) -> Option<String> {
        (self.replaced > 0).then(|| {
            format!(
                "{} masks of an earlier run with the same model, words and options were written again",
                self.replaced
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kinds of the remarks on labels with these (value, pixels), answered as `answer` says.
    fn kinds(
        first: u16,
        words: usize,
        values: &[(u16, u64)],
        answer: impl Fn(u16) -> u16,
    ) -> Vec<RemarkKind> {
        let mut score = Score::new(words);
        for (value, pixels) in values {
            let category = value.checked_sub(first).filter(|category| usize::from(*category) < words);
            score.count((category.unwrap_or(UNLABELLED), answer(*value)), *pixels);
        }
        let values = values.iter().copied().collect();
        let names = Names::default();
        let (values, score, turned) = (&values, &score, &[]);
        let facts =
            Facts { first_label: Some(first), words, values, score, turned, replaced: 0, names: &names };
        facts.remarks().into_iter().map(|remark| remark.kind).collect()
    }

    #[test]
    fn sound_labels_are_not_remarked_on() {
        let values = [(0, 40), (1, 30), (2, 30), (255, 900)];
        assert_eq!(kinds(0, 3, &values, |value| value.min(2)), []);
        assert_eq!(kinds(1, 3, &[(0, 400), (1, 30), (3, 30)], |value| value.saturating_sub(1)), []);
        // PASCAL Context has the number of categories for ignored pixels.
        assert_eq!(kinds(0, 3, &[(0, 1), (1, 50), (2, 49), (3, 30)], |value| value.min(2)), []);
    }

    #[test]
    fn labels_outside_the_vocabulary_are_remarked_on_from_half_of_them() {
        let outside = [RemarkKind::OutsideVocabulary];
        assert_eq!(kinds(0, 2, &[(0, 20), (1, 20), (7, 30), (9, 11)], |value| value.min(1)), outside);
        assert_eq!(kinds(0, 2, &[(0, 30), (1, 20), (7, 30), (9, 20)], |value| value.min(1)), []);
    }

    #[test]
    fn binary_masks_are_remarked_on() {
        assert_eq!(kinds(0, 4, &[(0, 50), (255, 50)], |_| 0), [RemarkKind::BinaryMask]);
        assert_eq!(kinds(0, 4, &[(0, 50), (1, 5), (255, 50)], |value| value.min(1)), []);
    }

    #[test]
    fn labels_that_count_from_one_are_remarked_on_if_the_answers_agree() {
        let values = [(0, 5), (1, 40), (2, 30), (3, 30)];
        let right = |value: u16| value.saturating_sub(1);
        assert_eq!(kinds(0, 3, &values, right), [RemarkKind::CountedFromOne]);
        assert_eq!(kinds(1, 3, &values, right), []);
        assert_eq!(kinds(0, 3, &[(0, 50), (1, 40), (2, 30), (3, 30)], right), []);
        assert_eq!(kinds(0, 4, &values, right), []);
    }

    #[test]
    fn one_category_for_all_is_remarked_on_where_labels_have_more() {
        assert_eq!(kinds(0, 3, &[(0, 50), (1, 50), (2, 3)], |_| 2), [RemarkKind::OneCategory]);
        assert_eq!(kinds(0, 3, &[(0, 50), (1, 50), (2, 3)], |_| UNLABELLED), [RemarkKind::OneCategory]);
        assert_eq!(kinds(0, 3, &[(2, 50)], |_| 2), []);
    }
}
