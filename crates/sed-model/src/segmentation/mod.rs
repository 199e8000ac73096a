//! The end of the path: from the last level's logits to a category for every pixel.

mod batch;
mod labels;

use std::sync::Arc;

use candle_core::{DType, Tensor};
use sed_kernels::{ArgmaxSpec, ScoredMap, Sureness, score_and_upsample};

pub(crate) use batch::BatchFinish;
use labels::Labels;

use crate::error::{ModelError, Result};
use crate::pairs::PairBatch;

/// The specification of an image's result.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputSpec {
    /// Width in pixels, at least 1.
    pub width: u32,
    /// Height in pixels, at least 1.
    pub height: u32,
    /// Only this many columns and rows, `(width, height)`, of the decoder's map hold the picture (the
    /// official evaluation cuts the map to the resized picture where that is smaller).
    pub crop: Option<(u32, u32)>,
    /// Pixels whose best score is below its category's threshold become [`crate::UNLABELLED`].
    pub thresholds: Thresholds,
    /// True to return the survivors' scores, too, at the size of the decoder's map.
    pub score_maps: bool,
    /// True to return every pixel's score, runner-up and margin, too.
    pub sureness: bool,
}

impl OutputSpec {
    /// The crop in sizes of memory.
    fn crop(&self) -> Option<(usize, usize)> {
        self.crop.map(|(width, height)| (width as usize, height as usize))
    }
}

/// The least score of a labelled pixel, 0 to 1. It decides after the arg-max: the second best category does
/// not get the pixel.
#[derive(Clone, Debug, PartialEq)]
pub enum Thresholds {
    /// The same for all categories.
    Same(f32),
    /// One for each category of the vocabulary. [`f32::INFINITY`] marks a contrast word: its pixels are
    /// [`crate::UNLABELLED`] and are counted.
    ByCategory(Arc<[f32]>),
}

impl Thresholds {
    /// The threshold of a category; infinite for one that has none.
    pub fn of(&self, category: u32) -> f32 {
        match self {
            Self::Same(threshold) => *threshold,
            Self::ByCategory(thresholds) => {
                thresholds.get(category as usize).copied().unwrap_or(f32::INFINITY)
            }
        }
    }
}

/// The result for one image.
#[derive(Clone, Debug, PartialEq)]
pub struct FinishedMap {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// `[height, width]`: the category of every pixel as index into the vocabulary, or [`crate::UNLABELLED`].
    pub indices: Vec<u16>,
    /// Pixels of each category of the vocabulary in `indices`; those below the threshold count for none. Of a
    /// contrast word all that it has won, although they are [`crate::UNLABELLED`] in `indices`.
    pub pixels: Vec<u32>,
    /// Mean score of each category over its pixels, 0 to 1; 0 where it has none.
    pub mean_scores: Vec<f32>,
    /// The scores themselves, if they were asked for.
    pub score_maps: Option<ScoreMaps>,
    /// Every pixel's score, runner-up and margin, if they were asked for. Runners-up are categories as in
    /// `indices`.
    pub sureness: Option<Sureness>,
}

/// The scores of the categories that survived all rejections.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreMaps {
    /// Width of each map in pixels.
    pub width: u32,
    /// Height of each map in pixels.
    pub height: u32,
    /// The category of each map, rising.
    pub categories: Vec<u32>,
    /// `[categories, height, width]`, 0 to 1: at every position the score of the category's best pair.
    pub scores: Vec<f32>,
}

impl ScoreMaps {
    /// Scores `[survivors, height, width]` off the device, those of one label merged.
    fn of(labels: &[u16], scores: &Tensor) -> candle_core::Result<Self> {
        let (_, height, width) = scores.dims3()?;
        let mut scores: Vec<f32> = scores.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        let categories = merge(labels, &mut scores, height * width);
        Ok(Self { width: width as u32, height: height as u32, categories, scores })
    }
}

/// Merges neighbouring maps `[labels, area]` of one label to their largest values, in place. Returns the
/// labels that are left.
fn merge(labels: &[u16], scores: &mut Vec<f32>, area: usize) -> Vec<u32> {
    let mut categories: Vec<u32> = Vec::with_capacity(labels.len());
    for (map, &label) in labels.iter().enumerate() {
        if categories.last() == Some(&u32::from(label)) {
            let (merged, rest) = scores.split_at_mut(map * area);
            let best = &mut merged[(categories.len() - 1) * area..][..area];
            best.iter_mut().zip(&rest[..area]).for_each(|(best, score)| *best = best.max(*score));
        } else {
            if categories.len() < map {
                scores.copy_within(map * area..(map + 1) * area, categories.len() * area);
            }
            categories.push(label.into());
        }
    }
    scores.truncate(categories.len() * area);
    categories
}

/// Finds the best category of every pixel of every image of a fully decoded batch.
pub(crate) fn finish(batch: &PairBatch, outputs: &[OutputSpec]) -> Result<Vec<FinishedMap>> {
    let Some(logits) = &batch.logits else {
        return Err(ModelError::input("the batch has no logits; run decoder levels 1, 2 and 3 first"));
    };
    if outputs.len() != batch.images() {
        return Err(ModelError::input(format!("{} outputs for {} images", outputs.len(), batch.images())));
    }
    let offsets = batch.offsets();
    let finish_image = |(image, output): (usize, &OutputSpec)| {
        let survivors = batch.survivors(image);
        let labels = Labels::of(survivors, batch.groups(image), batch.vocabulary(image));
        let logits = logits.narrow(0, offsets[image], survivors.len())?;
        finish_image(&logits, &labels, output)
    };
    outputs.iter().enumerate().map(finish_image).collect()
}

/// Finds the best category of every pixel of an image with the logits `[maps, h, w]`.
fn finish_image(logits: &Tensor, labels: &Labels, output: &OutputSpec) -> Result<FinishedMap> {
    let spec = ArgmaxSpec {
        width: output.width as usize,
        height: output.height as usize,
        crop: output.crop(),
        labels: &labels.of_map,
        thresholds: &labels.thresholds(&output.thresholds)?,
        sureness: output.sureness,
    };
    let ScoredMap { scores, mut map, not_finite } = score_and_upsample(logits, &spec)?;
    if not_finite > 0 {
        return Err(ModelError::NotFinite { found: not_finite, of: logits.elem_count() });
    }
    let score_maps = output.score_maps.then(|| ScoreMaps::of(&labels.of_map, &scores)).transpose()?;
    labels.name(&mut map.indices)?;
    if let Some(sureness) = &mut map.sureness {
        labels.name(&mut sureness.runner_up)?;
    }
    Ok(labels.finished((output.width, output.height), map, score_maps))
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use sed_kernels::UNLABELLED;

    use super::*;

    /// Logits `[maps, 2, 2]` of two phrases of category 0, one of category 1 and one of category 2, a
    /// contrast word.
    fn logits() -> Tensor {
        let values: [f32; 16] = [
            4.0, -2.0, -2.0, 2.0, // wins the first pixel, before its synonym
            3.0, 2.0, -3.0, 1.0, // wins the second
            1.0, 1.0, 0.5, 0.0, // runner-up of the first two, below its threshold in the third
            0.0, -1.0, 0.0, 3.0, // wins the last
        ];
        Tensor::from_slice(&values, (4, 2, 2), &Device::Cpu).unwrap()
    }

    fn labels() -> Labels {
        // Of a vocabulary whose categories have two, three and one phrase.
        Labels::of(&[0, 1, 4, 5], Some(&[0, 0, 1, 1, 1, 2]), 3)
    }

    fn output() -> OutputSpec {
        OutputSpec {
            width: 2,
            height: 2,
            crop: None,
            thresholds: Thresholds::ByCategory([0.0, 0.7, f32::INFINITY].into()),
            score_maps: true,
            sureness: true,
        }
    }

    fn sigmoid(x: f32) -> f32 {
        1.0 / (1.0 + (-x).exp())
    }

    #[test]
    fn phrases_of_a_category_are_one_in_the_result() {
        let map = finish_image(&logits(), &labels(), &output()).unwrap();
        assert_eq!(map.indices, [0, 0, UNLABELLED, UNLABELLED]);
        // A contrast word's pixels are counted, those below a threshold are not.
        assert_eq!(map.pixels, [2, 0, 1]);
        let mean = (sigmoid(4.0) + sigmoid(2.0)) / 2.0;
        for (found, wanted) in map.mean_scores.iter().zip([mean, 0.0, sigmoid(3.0)]) {
            assert!((found - wanted).abs() < 1e-5, "{:?}", map.mean_scores);
        }
        let sureness = map.sureness.unwrap();
        // Never the synonym, and no contrast word.
        assert_eq!(sureness.runner_up, [1, 1, UNLABELLED, 0]);
        let scores = [4.0, 2.0, 0.5, 3.0].map(sigmoid);
        let seconds = [sigmoid(1.0), sigmoid(1.0), 0.0, sigmoid(2.0)];
        for pixel in 0..4 {
            assert!((sureness.scores[pixel].to_f32() - scores[pixel]).abs() < 1e-3, "{sureness:?}");
            let margin = scores[pixel] - seconds[pixel];
            assert!((sureness.margins[pixel].to_f32() - margin).abs() < 1e-3, "{sureness:?}");
        }
        let maps = map.score_maps.unwrap();
        assert_eq!((maps.categories.as_slice(), maps.scores.len()), ([0, 1, 2].as_slice(), 12));
        for (found, wanted) in
            maps.scores.iter().zip([4.0, 2.0, -2.0, 2.0, 1.0, 1.0, 0.5, 0.0, 0.0, -1.0, 0.0, 3.0])
        {
            assert!((found - sigmoid(wanted)).abs() < 1e-5, "{:?}", maps.scores);
        }
    }

    #[test]
    fn without_groups_pairs_are_categories() {
        let labels = Labels::of(&[0, 2, 3, 4], None, 5);
        let spec = OutputSpec { thresholds: Thresholds::Same(0.7), ..output() };
        let map = finish_image(&logits(), &labels, &spec).unwrap();
        assert_eq!(map.indices, [0, 2, UNLABELLED, 4]);
        assert_eq!(map.pixels, [1, 0, 1, 0, 1]);
        assert_eq!(map.sureness.unwrap().runner_up, [2, 3, 4, 0]);
        assert_eq!(map.score_maps.unwrap().categories, [0, 2, 3, 4]);
        let plain = OutputSpec { sureness: false, score_maps: false, ..spec };
        let map = finish_image(&logits(), &labels, &plain).unwrap();
        assert_eq!((map.sureness, map.score_maps), (None, None));
    }

    #[test]
    fn a_category_without_a_threshold_is_never_labelled() {
        assert_eq!(Thresholds::Same(0.5).of(7), 0.5);
        let each = Thresholds::ByCategory([0.1, 0.2].into());
        assert_eq!([each.of(0), each.of(1), each.of(2)], [0.1, 0.2, f32::INFINITY]);
    }

    #[test]
    fn thresholds_of_other_categories_are_refused() {
        let spec = OutputSpec { thresholds: Thresholds::ByCategory([0.5; 2].into()), ..output() };
        let error = finish_image(&logits(), &labels(), &spec).unwrap_err().to_string();
        assert_eq!(error, "2 score thresholds for 3 categories; give one for each");
    }
}
