//! Pixels of answers against pixels of labels, counted over pictures, and the resulting figures.

use std::collections::BTreeMap;

use sed_image::UNLABELLED;
use serde::Serialize;

/// Pixels of one category.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Pixels that have the category in the label.
    pub(crate) labelled: u64,
    /// Pixels that have the category in the answer, also in pictures whose label lacks it.
    pub(crate) predicted: u64,
    /// Pixels that have the category in both.
    pub(crate) right: u64,
}

impl Counts {
    /// Intersection over union, 0 to 1; `None` if no label has the category.
    pub(crate) fn iou(self) -> Option<f64> {
        let union = self.labelled + self.predicted - self.right;
        (self.labelled > 0).then(|| self.right as f64 / union as f64)
    }

    /// The share of its labelled pixels that are right, 0 to 1; `None` if no label has the category.
    pub(crate) fn accuracy(self) -> Option<f64> {
        (self.labelled > 0).then(|| self.right as f64 / self.labelled as f64)
    }

    /// The sum of two counts.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            labelled: self.labelled + other.labelled,
            predicted: self.predicted + other.predicted,
            right: self.right + other.right,
        }
    }
}

/// The confusion matrix of all categories, sparse.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Score {
    /// Number of categories that are known, also without pixels.
    known: usize,
    /// Pixels by their category in the label and that in the answer, [`UNLABELLED`] for none.
    cells: BTreeMap<(u16, u16), u64>,
    /// Pixels whose label is no category; their answers do not count.
    pub(crate) ignored: u64,
}

impl Score {
    /// A score without pixels, for categories 0 to `categories` - 1.
    pub(crate) fn new(categories: usize) -> Self {
        Self { known: categories, ..Self::default() }
    }

    /// Adds a picture: the category of every pixel in the answer and in the label, or [`UNLABELLED`]. A pixel
    /// without a category in the answer is wrong; one without in the label is ignored. Categories beyond the
    /// known ones are added.
    pub(crate) fn add(&mut self, answer: &[u16], label: &[u16]) {
        let mut pairs = label.iter().copied().zip(answer.iter().copied()).peekable();
        // Neighbours are mostly alike.
        while let Some(pair) = pairs.next() {
            let mut pixels = 1;
            while pairs.next_if_eq(&pair).is_some() {
                pixels += 1;
            }
            self.count(pair, pixels);
        }
    }

    /// Adds pixels with a category in the label and one in the answer.
    pub(crate) fn count(&mut self, (label, answer): (u16, u16), pixels: u64) {
        if label == UNLABELLED {
            self.ignored += pixels;
            return;
        }
        *self.cells.entry((label, answer)).or_default() += pixels;
        let categories = [label, answer].into_iter().filter(|category| *category != UNLABELLED);
        self.known = categories.map(|category| usize::from(category) + 1).fold(self.known, usize::max);
    }

    /// Adds the counts of another score.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.known = self.known.max(other.known);
        other.cells().for_each(|(pair, pixels)| self.count(pair, pixels));
        self.ignored += other.ignored;
    }

    /// Pixels by their category in the label and that in the answer, [`UNLABELLED`] for none.
    pub(crate) fn cells(&self) -> impl Iterator<Item = ((u16, u16), u64)> {
        self.cells.iter().map(|(pair, pixels)| (*pair, *pixels))
    }

    /// The counts of every category.
    pub(crate) fn categories(&self) -> Vec<Counts> {
        let mut categories = vec![Counts::default(); self.known];
        for ((label, answer), pixels) in self.cells() {
            categories[usize::from(label)].labelled += pixels;
            if answer != UNLABELLED {
                categories[usize::from(answer)].predicted += pixels;
            }
            if answer == label {
                categories[usize::from(label)].right += pixels;
            }
        }
        categories
    }

    /// Pixels whose label is a category.
    pub(crate) fn labelled(&self) -> u64 {
        self.cells.values().sum()
    }

    /// Mean IoU, in percent, over those labelled categories that `keep` accepts by their index.
    pub(crate) fn miou(&self, keep: impl Fn(usize) -> bool) -> Option<f64> {
        let categories = self.categories();
        let kept = categories.iter().enumerate().filter(|(index, _)| keep(*index));
        percent_mean(kept.filter_map(|(_, counts)| counts.iou()))
    }

    /// The figures over all categories.
    pub(crate) fn figures(&self) -> Figures {
        let categories = self.categories();
        let (labelled, right) = (self.labelled(), categories.iter().map(|counts| counts.right).sum());
        let weighted = categories.iter().filter_map(|counts| {
            let share = counts.labelled as f64 / labelled as f64;
            counts.iou().map(|iou| share * iou)
        });
        Figures {
            miou: self.miou(|_| true),
            frequency_weighted_iou: (labelled > 0).then(|| 100.0 * weighted.sum::<f64>()),
            mean_accuracy: percent_mean(categories.iter().filter_map(|counts| counts.accuracy())),
            pixel_accuracy: percent(right, labelled),
        }
    }
}

/// Figures in percent; `None` if no pixel has a label.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Mean IoU over the categories that some label has.
    pub miou: Option<f64>,
    /// IoU of every category, weighted by its share of the labelled pixels.
    pub frequency_weighted_iou: Option<f64>,
    /// Mean, over the categories that some label has, of the share of their pixels that is right.
    pub mean_accuracy: Option<f64>,
    /// The share of all labelled pixels that is right.
    pub pixel_accuracy: Option<f64>,
}

/// `part` of `whole` in percent; `None` if `whole` is 0.
pub(crate) fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| 100.0 * part as f64 / whole as f64)
}

/// The mean of shares of 0 to 1 in percent; `None` without any.
pub(crate) fn percent_mean(shares: impl Iterator<Item = f64>) -> Option<f64> {
    let (count, sum) = shares.fold((0_u32, 0.0), |(count, sum), share| (count + 1, sum + share));
    (count > 0).then(|| 100.0 * sum / f64::from(count))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const NONE: u16 = UNLABELLED;

    fn score(pictures: &[(&[u16], &[u16])]) -> Score {
        let mut score = Score::default();
        pictures.iter().for_each(|(answer, label)| score.add(answer, label));
        score
    }

    #[track_caller]
    fn assert_near(got: Option<f64>, want: f64) {
        assert!((got.unwrap() - want).abs() < 1e-9, "{got:?} is not {want}");
    }

    #[test]
    fn one_wrong_pixel_counts_against_both_categories() {
        // Category 0: 3 of a union of 4. Category 1: 4 of a union of 5.
        let figures = score(&[(&[0, 0, 0, 1, 1, 1, 1, 1], &[0, 0, 0, 0, 1, 1, 1, 1])]).figures();
        assert_near(figures.miou, 100.0 * (3.0 / 4.0 + 4.0 / 5.0) / 2.0);
        assert_near(figures.frequency_weighted_iou, 100.0 * (3.0 / 4.0 + 4.0 / 5.0) / 2.0);
        assert_near(figures.mean_accuracy, 100.0 * (3.0 / 4.0 + 4.0 / 4.0) / 2.0);
        assert_near(figures.pixel_accuracy, 100.0 * 7.0 / 8.0);
    }

    #[test]
    fn a_matrix_gives_the_figures_of_the_written_formulas() {
        // Rows are labels, columns answers, the last of each is no category:
        //            cow  pig  sky none
        //     cow     50   30    0   20
        //     pig     10  180   10    0
        //     sky      0    0  700    0
        //     none     5    5    5    5      ignored, also as false positives
        let matrix = [[50, 30, 0, 20], [10, 180, 10, 0], [0, 0, 700, 0], [5, 5, 5, 5]];
        let names = [0, 1, 2, NONE];
        let mut score = Score::new(4);
        for (label, row) in names.into_iter().zip(matrix) {
            for (answer, pixels) in names.into_iter().zip(row).filter(|(_, pixels)| *pixels > 0) {
                score.count((label, answer), pixels);
            }
        }
        // IoU_c = n_cc / (t_c + p_c - n_cc) with t_c pixels labelled and p_c predicted as c; category 3 has
        // no label and is in no mean.
        let iou =
            [50.0 / (100.0 + 60.0 - 50.0), 180.0 / (200.0 + 210.0 - 180.0), 700.0 / (700.0 + 710.0 - 700.0)];
        let figures = score.figures();
        assert_near(figures.miou, 100.0 * (iou[0] + iou[1] + iou[2]) / 3.0);
        let weighted = (100.0 * iou[0] + 200.0 * iou[1] + 700.0 * iou[2]) / 1000.0;
        assert_near(figures.frequency_weighted_iou, 100.0 * weighted);
        // Accuracy_c = n_cc / t_c, and of all pixels sum n_cc / sum t_c.
        assert_near(figures.mean_accuracy, 100.0 * (50.0 / 100.0 + 180.0 / 200.0 + 700.0 / 700.0) / 3.0);
        assert_near(figures.pixel_accuracy, 100.0 * (50.0 + 180.0 + 700.0) / 1000.0);
        assert_eq!((score.labelled(), score.ignored, score.categories().len()), (1000, 20, 4));
    }

    #[test]
    fn frequent_categories_weigh_more_where_they_should() {
        // Category 0: 6 labelled, IoU 1; category 1: 2 labelled, IoU 0.
        let figures = score(&[(&[0, 0, 0, 0, 0, 0, 2, 2], &[0, 0, 0, 0, 0, 0, 1, 1])]).figures();
        assert_near(figures.miou, 50.0);
        assert_near(figures.frequency_weighted_iou, 75.0);
        assert_near(figures.mean_accuracy, 50.0);
        assert_near(figures.pixel_accuracy, 75.0);
    }

    #[test]
    fn false_positives_count_in_pictures_without_the_category() {
        // Category 7 is right in the first picture and found in the second, where it is not.
        let score = score(&[(&[7, 7, 0, 0], &[7, 7, 0, 0]), (&[7, 7, 0, 0], &[0, 0, 0, 0])]);
        assert_eq!(score.categories()[7], Counts { labelled: 2, predicted: 4, right: 2 });
        assert_near(score.categories()[7].iou(), 0.5);
        assert_near(score.categories()[0].iou(), 4.0 / 6.0);
        assert_near(score.miou(|category| category == 7), 50.0);
    }

    #[test]
    fn what_no_label_has_is_in_no_mean() {
        let score = score(&[(&[0, 3], &[0, 0])]);
        assert_eq!(score.categories()[3].iou(), None);
        assert_near(score.figures().miou, 50.0);
        assert_near(score.figures().mean_accuracy, 50.0);
        assert_eq!(score.miou(|category| category == 3), None);
    }

    #[test]
    fn ignored_pixels_do_not_count_and_missing_answers_are_wrong() {
        let score = score(&[(&[0, 1, 1, NONE], &[0, NONE, NONE, 0])]);
        assert_eq!(score.ignored, 2);
        assert_eq!(score.categories(), [Counts { labelled: 2, predicted: 1, right: 1 }]);
        assert_near(score.figures().miou, 50.0);
        let nothing = Score::new(3).figures();
        assert_eq!(
            (nothing.miou, nothing.pixel_accuracy, nothing.frequency_weighted_iou),
            (None, None, None)
        );
    }

    /// The same by sets of pixels, category by category.
    fn miou_by_sets(pictures: &[(Vec<u16>, Vec<u16>)]) -> Option<f64> {
        let pixels = || pictures.iter().flat_map(|(answer, label)| answer.iter().zip(label));
        let labelled: BTreeSet<u16> = pixels().map(|(_, label)| *label).filter(|&l| l != NONE).collect();
        let iou = |category: &u16| {
            let counted = pixels().filter(|(_, label)| **label != NONE);
            let (mut both, mut either) = (0, 0);
            for (answer, label) in counted {
                both += u32::from(answer == category && label == category);
                either += u32::from(answer == category || label == category);
            }
            f64::from(both) / f64::from(either)
        };
        let ious: Vec<f64> = labelled.iter().map(iou).collect();
        (!ious.is_empty()).then(|| 100.0 * ious.iter().sum::<f64>() / ious.len() as f64)
    }

    fn pictures() -> impl Strategy<Value = Vec<(Vec<u16>, Vec<u16>)>> {
        let pixel = || prop_oneof![5 => 0u16..6, 1 => Just(NONE)];
        let picture = proptest::collection::vec((pixel(), pixel()), 1..40);
        proptest::collection::vec(picture.prop_map(|pixels| pixels.into_iter().unzip()), 0..6)
    }

    proptest! {
        #[test]
        fn parts_merged_are_the_whole(pictures in pictures(), cut in any::<prop::sample::Index>()) {
            let cut = cut.index(pictures.len() + 1);
            let of = |some: &[(Vec<u16>, Vec<u16>)]| {
                let mut score = Score::default();
                some.iter().for_each(|(answer, label)| score.add(answer, label));
                score
            };
            let (whole, mut parts) = (of(&pictures), of(&pictures[..cut]));
            parts.merge(&of(&pictures[cut..]));
            prop_assert_eq!(&parts, &whole);
            match (whole.figures().miou, miou_by_sets(&pictures)) {
                (Some(got), Some(want)) => prop_assert!((got - want).abs() < 1e-9, "{} {}", got, want),
                (got, want) => prop_assert_eq!(got, want),
            }
        }
    }
}
