//! Categories whose pixels were given to others.

use sed_image::UNLABELLED;
use serde::Serialize;

use crate::{plan::Names, score::Score};

/// The smallest share, in percent, of a category's pixels that is listed.
const LEAST: f64 = 1.0;

/// Pixels of one category that were given to another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Confusion {
    /// The category in the label.
    pub category: String,
    /// The category in the answer.
    pub taken_for: String,
    /// The share of the category's labelled pixels that were given to the other, in percent.
    pub share: f64,
    /// Their number.
    pub pixels: u64,
}

/// The confusions of more than one percent of a category's pixels, the largest share first.
pub(crate) fn list(score: &Score, names: &Names) -> Vec<Confusion> {
    let categories = score.categories();
    let mut all = Vec::new();
    for ((label, answer), pixels) in score.cells() {
        let share = 100.0 * pixels as f64 / categories[usize::from(label)].labelled as f64;
        if label != answer && answer != UNLABELLED && share > LEAST {
            let [category, taken_for] = [label, answer].map(|id| names.name(usize::from(id)).to_owned());
            all.push(Confusion { category, taken_for, share, pixels });
        }
    }
    // Equal shares keep the order of the categories.
    all.sort_by(|left, right| right.share.total_cmp(&left.share));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_the_labelled_category_and_the_largest_is_first() {
        let mut names = Names::default();
        ["sofa", "couch", "wall"].iter().for_each(|name| drop(names.id(name, false)));
        let mut score = Score::new(3);
        let cells = [
            ((0, 0), 60),
            ((0, 1), 31),
            ((0, UNLABELLED), 9),
            ((1, 0), 400),
            ((1, 1), 600),
            ((2, 2), 9_899),
            ((2, 0), 100),
            ((2, 1), 1),
            ((UNLABELLED, 0), 5_000),
        ];
        cells.into_iter().for_each(|(pair, pixels)| score.count(pair, pixels));
        let found = list(&score, &names);
        let one = |category: &str, taken_for: &str, share, pixels| {
            let [category, taken_for] = [category, taken_for].map(str::to_owned);
            Confusion { category, taken_for, share, pixels }
        };
        // Exactly one percent of the wall is not more than one.
        assert_eq!(found, [one("couch", "sofa", 40.0, 400), one("sofa", "couch", 31.0, 31)]);
    }
}
