//! Ambiguities: pairs of categories between which the model could hardly choose in a noticeable part of the
//! picture.
//!
//! A pixel is in doubt if it has a category, the second best is one, too, the margin between the two is small,
//! and the score of the best is not: where no word fits, all scores are low and so are all margins, and that is
//! no choice between two. A pair of categories is ambiguous if the pixels that are in doubt between the two, whichever is
//! best, make a noticeable share of the mask. Each such pixel counts for two categories, so at most 200
//! categories have a share that large; pairs are counted among those only, which bounds the memory whatever
//! the picture shows. All sums are of integers: the report does not depend on the number of threads.

use std::{cmp::Reverse, ops::AddAssign};

use rayon::prelude::*;
use sed_engine::{Directions, UNLABELLED};
use sed_proto::v1;

/// A smaller margin leaves a pixel in doubt.
const SMALL_MARGIN: f32 = 0.1;
/// The lowest best score at which a word fits.
const LEAST_SCORE: f32 = 0.1;
/// Pixels in doubt that make a pair noticeable, in percent of the mask.
const NOTICEABLE_PERCENT: usize = 1;
/// Pairs of a report.
const MOST_PAIRS: usize = 16;
/// Bands that are counted at once, each in tables of at most 640 KiB.
const MOST_BANDS: usize = 8;
/// Steps of a margin in a sum: those of a 16 bit float, so that the sum is exact.
const STEPS: f32 = (1 << 24) as f32;
/// The place of a category with too few pixels in doubt.
const NO_PLACE: usize = usize::MAX;

/// The planes of a finished map, a value for each pixel. `M` is the number format of scores and margins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planes<'a, M> {
    /// The model's index map: the best category, where it passed its threshold; before `min_area`.
    pub(crate) indices: &'a [u16],
    /// The second best category, or the unlabelled index.
    pub(crate) runner_up: &'a [u16],
    /// The score of the best, 0 to 1.
    pub(crate) scores: &'a [M],
    /// The score of the best less that of the second best, 0 to 1.
    pub(crate) margins: &'a [M],
}

/// Two categories that share pixels in doubt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ambiguity {
    pub(crate) first: u16,
    /// Higher than the first.
    pub(crate) second: u16,
    pub(crate) pixels: u64,
    /// Mean margin of these pixels.
    pub(crate) mean_margin: f32,
}

/// Finds the ambiguous pairs among so many categories, the largest part of the picture first, 16 at most.
pub(crate) fn ambiguities<M>(planes: Planes<'_, M>, categories: usize) -> Vec<Ambiguity>
where
    M: Copy + Into<f32> + Sync,
{
    in_bands(planes, categories, rayon::current_num_threads().min(MOST_BANDS))
}

/// Converts ambiguities of a mask of so many pixels, without the similarity of their texts.
pub(crate) fn report(found: &[Ambiguity], mask_pixels: u64) -> Vec<v1::Ambiguity> {
    let convert = |pair: &Ambiguity| v1::Ambiguity {
        first_index: pair.first.into(),
        second_index: pair.second.into(),
        pixels: pair.pixels,
        area_share: (pair.pixels as f64 / mask_pixels as f64) as f32,
        mean_margin: pair.mean_margin,
        text_similarity: None,
    };
    found.iter().map(convert).collect()
}

/// Fills in the similarity of the texts, whose directions are those of the vocabulary.
pub(crate) fn add_similarities(report: &mut [v1::Ambiguity], directions: &Directions) {
    for pair in report {
        let similarity = directions.similarity(pair.first_index as usize, pair.second_index as usize);
        pair.text_similarity = Some(similarity.get());
    }
}

/// Pixels in doubt and the sum of their margins.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    pixels: u64,
    margin_steps: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.pixels += other.pixels;
        self.margin_steps += other.margin_steps;
    }
}

fn in_bands<M>(planes: Planes<'_, M>, categories: usize, bands: usize) -> Vec<Ambiguity>
where
    M: Copy + Into<f32> + Sync,
{
    let least = (planes.indices.len() * NOTICEABLE_PERCENT).div_ceil(100).max(1) as u64;
    let noticed = noticed_categories(planes, categories, bands, least);
    let side = noticed.len();
    let mut places = vec![NO_PLACE; categories];
    for (place, &category) in noticed.iter().enumerate() {
        places[usize::from(category)] = place;
    }
    let tallies = sum_up(planes, bands, side * side, |tallies: &mut [Tally], pair, margin| {
        let [first, second] =
            pair.map(|category| places.get(usize::from(category)).copied().unwrap_or(NO_PLACE));
        if first != NO_PLACE && second != NO_PLACE {
            tallies[first * side + second] += Tally { pixels: 1, margin_steps: (margin * STEPS) as u64 };
        }
    });
    let mut found = Vec::new();
    for (place, &Tally { pixels, margin_steps }) in tallies.iter().enumerate() {
        if pixels >= least {
            let mean_margin = (margin_steps as f64 / f64::from(STEPS) / pixels as f64) as f32;
            let (first, second) = (noticed[place / side], noticed[place % side]);
            found.push(Ambiguity { first, second, pixels, mean_margin });
        }
    }
    found.sort_by_key(|pair| (Reverse(pair.pixels), pair.first, pair.second));
    found.truncate(MOST_PAIRS);
    found
}

/// The categories that `least` pixels or more are in doubt about, rising.
fn noticed_categories<M>(planes: Planes<'_, M>, categories: usize, bands: usize, least: u64) -> Vec<u16>
where
    M: Copy + Into<f32> + Sync,
{
    let pixels = sum_up(planes, bands, categories, |pixels: &mut [u64], pair, _| {
        for category in pair {
            if let Some(pixels) = pixels.get_mut(usize::from(category)) {
                *pixels += 1;
            }
        }
    });
    let noticed = (0..=u16::MAX).zip(pixels).filter(|(_, pixels)| *pixels >= least);
    noticed.map(|(category, _)| category).collect()
}

/// Adds up `size` sums over the pixels in doubt, in at most so many bands at once. `add` gets the sums of a
/// band, the two categories of a pixel, the lower first, and its margin.
fn sum_up<M, S>(
    planes: Planes<'_, M>,
    bands: usize,
    size: usize,
    add: impl Fn(&mut [S], [u16; 2], f32) + Sync,
) -> Vec<S>
where
    M: Copy + Into<f32> + Sync,
    S: Copy + Default + AddAssign + Send,
{
    let band = planes.indices.len().div_ceil(bands.max(1)).max(1);
    let rows = planes.indices.par_chunks(band);
    let rows = rows.zip(planes.runner_up.par_chunks(band));
    let values = planes.scores.par_chunks(band).zip(planes.margins.par_chunks(band));
    let sums = rows.zip(values).map(|((indices, runner_up), (scores, margins))| {
        let mut sums = vec![S::default(); size];
        let pairs = indices.iter().zip(runner_up);
        for ((&best, &second), (&score, &margin)) in pairs.zip(scores.iter().zip(margins)) {
            let (score, margin): (f32, f32) = (score.into(), margin.into());
            let is_choice = best != second && best.max(second) != UNLABELLED;
            if is_choice && margin < SMALL_MARGIN && score >= LEAST_SCORE {
                add(&mut sums, [best.min(second), best.max(second)], margin);
            }
        }
        sums
    });
    let merge = |mut left: Vec<S>, right: Vec<S>| {
        left.iter_mut().zip(right).for_each(|(left, right)| *left += right);
        left
    };
    sums.reduce_with(merge).unwrap_or_else(|| vec![S::default(); size])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// The rule, pixel by pixel.
    fn naive(indices: &[u16], runner_up: &[u16], scores: &[f32], margins: &[f32]) -> Vec<Ambiguity> {
        let mut pairs: BTreeMap<(u16, u16), Vec<f32>> = BTreeMap::new();
        for (((&best, &second), &score), &margin) in indices.iter().zip(runner_up).zip(scores).zip(margins) {
            let is_choice = best != UNLABELLED && second != UNLABELLED && best != second;
            if is_choice && margin < 0.1 && score >= 0.1 {
                pairs.entry((best.min(second), best.max(second))).or_default().push(margin);
            }
        }
        pairs.retain(|_, margins| margins.len() * 100 >= indices.len());
        let mut found: Vec<Ambiguity> = pairs
            .into_iter()
            .map(|((first, second), margins)| Ambiguity {
                first,
                second,
                pixels: margins.len() as u64,
                mean_margin: (margins.iter().map(|&margin| f64::from(margin)).sum::<f64>()
                    / margins.len() as f64) as f32,
            })
            .collect();
        found.sort_by_key(|pair| Reverse(pair.pixels)); // stable: the map is in order
        found.truncate(16);
        found
    }

    proptest! {
        #[test]
        fn any_number_of_bands_finds_what_the_rule_says(
            pixels in prop::collection::vec(
                // Margins are multiples of a step, as those of 16 bit floats are.
                (0u16..9, 0u16..9, 0.0f32..0.5, (0u32..1 << 22).prop_map(|steps| steps as f32 / STEPS)),
                0..700,
            ),
            bands in 1usize..9,
        ) {
            let index = |index: u16| if index == 8 { UNLABELLED } else { index };
            let indices: Vec<u16> = pixels.iter().map(|pixel| index(pixel.0)).collect();
            let runner_up: Vec<u16> = pixels.iter().map(|pixel| index(pixel.1)).collect();
            let scores: Vec<f32> = pixels.iter().map(|pixel| pixel.2).collect();
            let margins: Vec<f32> = pixels.iter().map(|pixel| pixel.3).collect();
            let planes =
                Planes { indices: &indices, runner_up: &runner_up, scores: &scores, margins: &margins };
            prop_assert_eq!(in_bands(planes, 8, bands), naive(&indices, &runner_up, &scores, &margins));
        }
    }

    #[test]
    fn a_pair_counts_in_both_directions_from_one_percent_on() {
        let (scores, margins) = (vec![0.5; 300], vec![0.0625f32; 300]);
        let found = |doubts: &[(u16, u16)]| {
            let (mut indices, mut runner_up) = (vec![3; 300], vec![UNLABELLED; 300]);
            for (place, &(best, second)) in doubts.iter().enumerate() {
                (indices[place * 100], runner_up[place * 100]) = (best, second);
            }
            let planes =
                Planes { indices: &indices, runner_up: &runner_up, scores: &scores, margins: &margins };
            ambiguities(planes, 9)
        };
        assert_eq!(found(&[(7, 5), (5, 7)]), []);
        assert_eq!(found(&[(7, 5), (5, 7), (5, 3)]), []);
        let pair = Ambiguity { first: 5, second: 7, pixels: 3, mean_margin: 0.0625 };
        assert_eq!(found(&[(7, 5), (5, 7), (7, 5)]), [pair]);
    }

    #[test]
    fn the_largest_sixteen_of_many_pairs_are_reported() {
        // Pair k of 20 has 10 + k pixels, of 500 or so.
        let pair = |k: u16| vec![(2 * k, 2 * k + 1); 10 + usize::from(k)];
        let pixels: Vec<(u16, u16)> = (0..20).flat_map(pair).collect();
        let (indices, runner_up): (Vec<u16>, Vec<u16>) = pixels.into_iter().unzip();
        let (scores, margins) = (vec![0.5; indices.len()], vec![0.0f32; indices.len()]);
        let planes = Planes { indices: &indices, runner_up: &runner_up, scores: &scores, margins: &margins };
        let found = ambiguities(planes, 40);
        let firsts: Vec<u16> = found.iter().map(|pair| pair.first).collect();
        assert_eq!(firsts, (4..20).rev().map(|k| 2 * k).collect::<Vec<u16>>());
    }

    #[test]
    fn a_report_holds_shares_and_the_similarity_of_the_words() {
        let found = [Ambiguity { first: 0, second: 1, pixels: 25, mean_margin: 0.03 }];
        let words = Directions::new(&[vec![1.0, 0.0], vec![0.6, 0.8]], 2);
        let mut reported = report(&found, 200);
        assert_eq!(reported[0].text_similarity, None);
        add_similarities(&mut reported, &words);
        assert_eq!((reported[0].first_index, reported[0].second_index), (0, 1));
        assert_eq!((reported[0].area_share, reported[0].mean_margin), (0.125, 0.03));
        assert_eq!(reported[0].text_similarity, Some(0.6));
    }
}
