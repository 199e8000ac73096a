//! The pairs of a vocabulary whose categories the model will hardly tell apart.

use std::cmp::Ordering;

use super::{
    directions::{Directions, Similarity},
    typical::Typical,
};

/// The share of the way from a typical pair to the same word from which two categories are alike: then they
/// are less than half as far apart as two categories usually are. Among the words that the embedded model
/// knows, two thirds of the synonyms are that close, and two of 11,325 pairs of different things.
const ALIKE: f32 = 0.75;

/// Two categories of a vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CategoryPair {
    /// Index of the first.
    pub first: usize,
    /// Index of the second, which is higher.
    pub second: usize,
    /// Similarity of the two.
    pub similarity: Similarity,
}

impl CategoryPair {
    /// Orders the closer pair first; of pairs that are equally close the one with lower indices.
    fn closer(&self, other: &Self) -> Ordering {
        let closer = other.similarity.get().total_cmp(&self.similarity.get());
        closer.then((self.first, self.second).cmp(&(other.first, other.second)))
    }
}

/// The closest pairs of a vocabulary, and the similarity from which a pair is alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosestPairs {
    /// Pairs of at least this similarity are alike.
    pub threshold: Similarity,
    /// The closest first.
    pub pairs: Vec<CategoryPair>,
}

impl ClosestPairs {
    /// Finds the `most` closest pairs of the categories that are asked for (of the first 4096 of them).
    /// `common` are the directions of common words, by which a vocabulary of fewer than 16 categories is
    /// measured; without them it is measured by itself, and below 5 categories only a similarity of 0.95 is
    /// alike. 2048 categories of 768 channels take 1.6 billion multiplications.
    pub fn of(directions: &Directions, common: Option<&Directions>, most: usize) -> Self {
        let mut pairs: Vec<CategoryPair> = Vec::new();
        directions.for_each_pair(|first, second, similarity| {
            let pair = CategoryPair { first, second, similarity };
            let place = pairs.partition_point(|earlier| earlier.closer(&pair).is_lt());
            if place < most {
                pairs.truncate(most - 1);
                pairs.insert(place, pair);
            }
        });
        Self { threshold: Typical::of(directions, common).at(ALIKE), pairs }
    }

    /// Those of the pairs that are alike, the closest first.
    pub fn alike(&self) -> &[CategoryPair] {
        &self.pairs[..self.pairs.partition_point(|pair| pair.similarity >= self.threshold)]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::similarity::directions::tests::{directions, random};

    fn indices(pairs: &[CategoryPair]) -> Vec<(usize, usize)> {
        pairs.iter().map(|pair| (pair.first, pair.second)).collect()
    }

    /// Random directions with near copies of some of them.
    fn planted(dimension: usize, copies: &[(usize, usize)]) -> Directions {
        let mut rows = random(40, dimension, 11);
        for (original, copy) in copies {
            let near = rows[*original].iter().zip(&rows[*copy]).map(|(near, own)| near + 0.2 * own);
            rows[*copy] = near.collect();
        }
        let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
        directions(&rows)
    }

    #[test]
    fn planted_pairs_are_found_and_no_other() {
        let copies = [(3, 17), (0, 39), (20, 21)];
        let found = ClosestPairs::of(&planted(64, &copies), None, 50);
        let mut alike = indices(found.alike());
        alike.sort_unstable();
        assert_eq!(alike, [(0, 39), (3, 17), (20, 21)]);
        assert_eq!(found.pairs.len(), 50);
        assert!((0.7..0.8).contains(&found.threshold.get()), "{}", found.threshold);
    }

    #[test]
    fn a_common_offset_changes_nothing() {
        // All embeddings of CLIP point more or less the same way; a channel that all share stands for that.
        let mut rows = random(40, 64, 11);
        let near: Vec<f32> = rows[5].iter().zip(&rows[9]).map(|(near, own)| near + 0.2 * own).collect();
        let length = near.iter().map(|x| x * x).sum::<f32>().sqrt();
        rows[9] = near.into_iter().map(|x| x / length).collect();
        for offset in [0.0, 1.0, 2.0] {
            let shifted: Vec<Vec<f32>> =
                rows.iter().map(|row| [row.as_slice(), &[offset]].concat()).collect();
            let shifted: Vec<&[f32]> = shifted.iter().map(Vec::as_slice).collect();
            let found = ClosestPairs::of(&directions(&shifted), None, 50);
            assert_eq!(indices(found.alike()), [(5, 9)], "{offset}");
        }
    }

    #[test]
    fn two_words_are_measured_by_the_common_words() {
        let common = Directions::new(&random(64, 32, 3), 64);
        let two = directions(&[&[1.0, 0.0], &[0.8, 0.6]]);
        assert_eq!(indices(ClosestPairs::of(&two, Some(&common), 50).alike()), [(0, 1)]);
        assert_eq!(indices(ClosestPairs::of(&two, None, 50).alike()), [(0, 0); 0]);
        let same = directions(&[&[1.0, 0.0], &[1.0, 0.1]]);
        assert_eq!(indices(ClosestPairs::of(&same, None, 50).alike()), [(0, 1)]);
    }

    #[test]
    fn one_word_and_weights_that_are_not_finite_have_no_pairs_alike() {
        let one = Directions::new(&[vec![1.0]], 1);
        assert_eq!(ClosestPairs::of(&one, None, 50).pairs, []);
        let broken = Directions::new(&vec![vec![f32::NAN; 4]; 20], 20);
        assert_eq!(ClosestPairs::of(&broken, None, 50).alike(), []);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn the_closest_pairs_head_the_order_of_all_pairs(count in 0usize..90, most in 0usize..30, seed: u64) {
            // Few channels of few values, so that many pairs are equally close.
            let coarse = |row: Vec<f32>| row.into_iter().map(f32::round).collect::<Vec<f32>>();
            let rows: Vec<Vec<f32>> = random(count, 3, seed).into_iter().map(coarse).collect();
            let directions = Directions::new(&rows, count);
            let mut all = Vec::new();
            for second in 0..count {
                for first in 0..second {
                    let similarity = directions.similarity(first, second);
                    all.push(CategoryPair { first, second, similarity });
                }
            }
            all.sort_by(CategoryPair::closer);
            all.truncate(most);
            prop_assert_eq!(ClosestPairs::of(&directions, None, most).pairs, all);
        }
    }
}
