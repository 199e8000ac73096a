//! Directions of categories, and the cosine similarity of two of them.

use std::fmt;

/// Directions that are compared with each other while they lie in the cache: 64 of 768 channels take 192 KiB.
const BLOCK: usize = 64;
/// Independent sums of a dot product, which the compiler turns into vector registers.
const LANES: usize = 16;
/// Categories that are compared with each other at most, in some seconds; pairs of later ones are left out.
const MOST_COMPARED: usize = 4096;

/// Cosine similarity of two directions, -1 to 1; never NaN.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Similarity(f32);

impl Similarity {
    /// Brings a number into the range; NaN, which weights that are not finite lead to, becomes 0.
    pub(super) fn new(value: f32) -> Self {
        Self(if value.is_nan() { 0.0 } else { value.clamp(-1.0, 1.0) })
    }

    /// The number.
    pub fn get(self) -> f32 {
        self.0
    }
}

// A similarity is never NaN, so equality is reflexive.
impl Eq for Similarity {}

impl fmt::Display for Similarity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

/// The directions of a vocabulary's categories: for each the unit vector of its text embedding, the mean over
/// the templates. Those of contrast words stand behind those of the categories that are asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Directions {
    asked: usize,
    dimension: usize,
    /// `[categories, dimension]`.
    values: Vec<f32>,
}

impl Directions {
    /// The directions `rows` (unit vectors of one length) in the order of the categories; the first `asked`
    /// are asked for, the others are contrast words.
    pub fn new(rows: &[Vec<f32>], asked: usize) -> Self {
        let dimension = rows.first().map_or(0, Vec::len);
        debug_assert!(rows.iter().all(|row| row.len() == dimension));
        Self { asked: asked.min(rows.len()), dimension, values: rows.concat() }
    }

    /// Number of categories that are asked for.
    pub fn asked(&self) -> usize {
        self.asked
    }

    /// The direction of a category, `[dimension]`; empty if there is no such category.
    pub fn row(&self, category: usize) -> &[f32] {
        let start = category * self.dimension;
        self.values.get(start..start + self.dimension).unwrap_or_default()
    }

    /// Compares two categories by their indices.
    pub fn similarity(&self, one: usize, other: usize) -> Similarity {
        Self::between(self.row(one), self.row(other))
    }

    /// Compares two directions.
    pub(super) fn between(one: &[f32], other: &[f32]) -> Similarity {
        Similarity::new(dot(one, other))
    }

    /// Calls `visit` once for each pair of the categories that are asked for (of the first 4096 of them), the
    /// lower index first, in no order to rely on.
    pub(super) fn for_each_pair(&self, mut visit: impl FnMut(usize, usize, Similarity)) {
        let asked = self.asked.min(MOST_COMPARED);
        let blocks = || (0..asked).step_by(BLOCK);
        for lower in blocks() {
            for upper in blocks().skip_while(|&upper| upper < lower) {
                for first in lower..(lower + BLOCK).min(asked) {
                    for second in upper.max(first + 1)..(upper + BLOCK).min(asked) {
                        visit(first, second, self.similarity(first, second));
                    }
                }
            }
        }
    }
}

/// The dot product of two vectors of one length, in an order of additions that only the length decides.
fn dot(one: &[f32], other: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (one, other) = (one.chunks_exact(LANES), other.chunks_exact(LANES));
    let rest: f32 = one.remainder().iter().zip(other.remainder()).map(|(a, b)| a * b).sum();
    for (one, other) in one.zip(other) {
        for ((sum, a), b) in sums.iter_mut().zip(one).zip(other) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Directions of made-up vectors, each made unit length.
    pub(crate) fn directions(rows: &[&[f32]]) -> Directions {
        let unit = |row: &&[f32]| {
            let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
            row.iter().map(|x| x / length).collect::<Vec<f32>>()
        };
        let rows: Vec<Vec<f32>> = rows.iter().map(unit).collect();
        Directions::new(&rows, rows.len())
    }

    /// Random unit vectors, the same for the same seed.
    pub(crate) fn random(count: usize, dimension: usize, seed: u64) -> Vec<Vec<f32>> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        };
        let row = |_| {
            let row: Vec<f32> = (0..dimension).map(|_| next()).collect();
            let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
            row.into_iter().map(|x| x / length).collect()
        };
        (0..count).map(row).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// Numbers of categories on both sides of a block, channels on both sides of the lanes.
        #[test]
        fn all_pairs_equal_the_plain_dot_product(count in 0usize..150, dimension in 1usize..40, seed: u64) {
            let rows = random(count, dimension, seed);
            let directions = Directions::new(&rows, count);
            let mut seen = BTreeMap::new();
            directions.for_each_pair(|first, second, similarity| {
                assert!(first < second && seen.insert((first, second), similarity).is_none());
            });
            prop_assert_eq!(seen.len(), count * count.saturating_sub(1) / 2);
            for ((first, second), similarity) in seen {
                let plain: f64 =
                    rows[first].iter().zip(&rows[second]).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                prop_assert!((plain - f64::from(similarity.get())).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn contrast_words_are_behind_those_asked_for() {
        let rows = [vec![1.0, 0.0], vec![0.6, 0.8], vec![0.0, 1.0]];
        let directions = Directions::new(&rows, 2);
        assert_eq!(directions.asked(), 2);
        assert_eq!(directions.row(2), [0.0, 1.0]);
        assert_eq!(directions.row(3), [0.0; 0]);
        let mut pairs = Vec::new();
        directions.for_each_pair(|first, second, _| pairs.push((first, second)));
        assert_eq!(pairs, [(0, 1)]);
    }

    #[test]
    fn a_similarity_is_a_number_in_its_range() {
        let numbers = [f32::NAN, f32::INFINITY, -1.5, 0.25].map(|value| Similarity::new(value).get());
        assert_eq!(numbers, [0.0, 1.0, -1.0, 0.25]);
        assert_eq!(Similarity::new(0.8764).to_string(), "0.876");
    }
}
