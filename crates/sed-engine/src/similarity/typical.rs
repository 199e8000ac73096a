//! The similarity of a typical pair of categories, against which closeness is measured.

use super::directions::{Directions, Similarity};

/// Categories from which a vocabulary has a spread of its own.
const OWN_SPREAD: usize = 16;
/// Categories that have at least some spread, where no common words are known to measure with.
const SOME_SPREAD: usize = 5;
/// Categories whose pairs are counted; of more, every second, third and so on.
const SAMPLE: usize = 1024;
/// The similarity of two that are surely close, where nothing is known of the spread. In the models that were
/// tried, only other spellings, plurals and other orders of the same words come so near.
const SURELY_CLOSE: f32 = 0.95;

/// The yardstick for the closeness of two categories.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Typical {
    /// The similarity of a typical pair; `None` if there is no spread to measure.
    similarity: Option<f32>,
}

impl Typical {
    /// Measures a vocabulary: by the median of its own pairs, or, if it is too small for that, of the pairs
    /// of the `common` words.
    pub(super) fn of(directions: &Directions, common: Option<&Directions>) -> Self {
        let large = |directions: &&Directions| directions.asked() >= OWN_SPREAD;
        let measured = Some(directions)
            .filter(large)
            .or(common.filter(large))
            .or(Some(directions).filter(|directions| directions.asked() >= SOME_SPREAD));
        Self { similarity: measured.map(median) }
    }

    /// The similarity at which two categories are this `share` of the way from a typical pair to the same
    /// word.
    pub(super) fn at(self, share: f32) -> Similarity {
        Similarity::new(match self.similarity {
            Some(typical) => typical + share * (1.0 - typical),
            None => SURELY_CLOSE,
        })
    }
}

/// The median similarity of the pairs of at least two categories.
fn median(directions: &Directions) -> f32 {
    let step = directions.asked().div_ceil(SAMPLE).max(1);
    let rows: Vec<&[f32]> =
        (0..directions.asked()).step_by(step).map(|category| directions.row(category)).collect();
    let mut similarities = Vec::with_capacity(rows.len() * rows.len() / 2);
    for (index, one) in rows.iter().enumerate() {
        similarities.extend(rows[..index].iter().map(|other| Directions::between(one, other).get()));
    }
    let middle = similarities.len() / 2;
    *similarities.select_nth_unstable_by(middle, f32::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::similarity::directions::tests::random;

    /// Directions of which each pair has this similarity.
    fn all_alike(count: usize, similarity: f32) -> Directions {
        let row = |index| {
            let mut row = vec![0.0; count + 1];
            row[count] = similarity.sqrt();
            row[index] = (1.0 - similarity).sqrt();
            row
        };
        let rows: Vec<Vec<f32>> = (0..count).map(row).collect();
        Directions::new(&rows, count)
    }

    fn threshold(directions: &Directions, common: Option<&Directions>) -> f32 {
        Typical::of(directions, common).at(0.75).get()
    }

    #[test]
    fn a_vocabulary_is_measured_by_its_own_pairs_once_it_is_large() {
        let common = all_alike(16, 0.2);
        for (count, own) in [(2, 0.8), (5, 0.8), (15, 0.8), (16, 0.85), (300, 0.85)] {
            let found = threshold(&all_alike(count, 0.4), Some(&common));
            assert!((found - own).abs() < 1e-5, "{count}: {found}");
        }
    }

    #[test]
    fn without_common_words_a_small_vocabulary_measures_itself_or_is_sure() {
        for (count, own) in [(1, SURELY_CLOSE), (2, SURELY_CLOSE), (4, SURELY_CLOSE), (5, 0.85), (15, 0.85)] {
            for common in [None, Some(&all_alike(15, 0.2))] {
                let found = threshold(&all_alike(count, 0.4), common);
                assert!((found - own).abs() < 1e-5, "{count}: {found}");
            }
        }
    }

    #[test]
    fn the_median_of_many_is_that_of_a_sample() {
        let rows = random(2100, 12, 7);
        let all = median(&Directions::new(&rows, rows.len()));
        let third: Vec<Vec<f32>> = rows.into_iter().step_by(3).collect();
        assert_eq!(all, median(&Directions::new(&third, third.len())));
        assert!(all.abs() < 0.02, "{all}");
    }
}
