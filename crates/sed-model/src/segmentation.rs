//! The end of the path: from the last level's logits to a category for every pixel.

use std::sync::Arc;

use candle_core::{DType, Tensor};
use sed_kernels::{ArgmaxSpec, ScoredMap, UNLABELLED, score_and_upsample};

use crate::error::{ModelError, Result};
use crate::pairs::PairBatch;

/// The specification of an image's result.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputSpec {
    /// Width in pixels, at least 1.
    pub width: u32,
    /// Height in pixels, at least 1.
    pub height: u32,
    /// Only this many columns and rows, `(width, height)`, of the decoder's map hold the picture (the official
    /// evaluation cuts the map to the resized picture where that is smaller).
    pub crop: Option<(u32, u32)>,
    /// Pixels whose best score is below its category's threshold become [`UNLABELLED`].
    pub thresholds: Thresholds,
    /// True to return the survivors' scores, too, at the size of the decoder's map.
    pub score_maps: bool,
}

/// The least score of a labelled pixel, 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub enum Thresholds {
    /// The same for all categories.
    Same(f32),
    /// One for each category of the vocabulary. [`f32::INFINITY`] marks a contrast word: its pixels are
    /// [`UNLABELLED`] and are counted.
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
    /// `[height, width]`: the category of every pixel as index into the vocabulary, or [`UNLABELLED`].
    pub indices: Vec<u16>,
    /// Pixels of each category of the vocabulary in `indices`, those below the threshold count for none; of a
    /// contrast word those at which it is best.
    pub pixels: Vec<u32>,
    /// Mean score of each category over its pixels, 0 to 1; 0 where it has none.
    pub mean_scores: Vec<f32>,
    /// The scores themselves, if they were asked for.
    pub score_maps: Option<ScoreMaps>,
}

/// The scores of the categories that survived all rejections; of one with several pairs the highest of them
/// at each position.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreMaps {
    /// Width of each map in pixels.
    pub width: u32,
    /// Height of each map in pixels.
    pub height: u32,
    /// The category of each map, rising.
    pub categories: Vec<u32>,
    /// `[categories, height, width]`, 0 to 1.
    pub scores: Vec<f32>,
}

impl ScoreMaps {
    /// Scores `[pairs, height, width]` off the device, for pairs of these categories (rising).
    fn of(categories: &[u32], scores: &Tensor) -> candle_core::Result<Self> {
        let (_, height, width) = scores.dims3()?;
        let scores = scores.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        Ok(Self::highest(categories, (width, height), scores))
    }

    /// One map for each category out of those of its pairs.
    fn highest(categories: &[u32], (width, height): (usize, usize), scores: Vec<f32>) -> Self {
        let area = width * height;
        let mut maps =
            Self { width: width as u32, height: height as u32, categories: categories.to_vec(), scores };
        maps.categories.dedup();
        if maps.categories.len() == categories.len() {
            return maps;
        }
        let mut merged: Vec<f32> = Vec::with_capacity(maps.categories.len() * area);
        let mut last = None;
        for (category, map) in categories.iter().zip(maps.scores.chunks_exact(area.max(1))) {
            if last == Some(category) {
                let first = merged.len() - area;
                merged[first..].iter_mut().zip(map).for_each(|(best, score)| *best = best.max(*score));
            } else {
                merged.extend_from_slice(map);
            }
            last = Some(category);
        }
        maps.scores = merged;
        maps
    }
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
        let survivors = batch.categories(image);
        let Thresholds::Same(threshold) = output.thresholds else {
            // To be replaced by the kernels' thresholds and labels of maps.
            return Err(ModelError::input("the kernels of this build know no thresholds of categories"));
        };
        let logits = logits.narrow(0, offsets[image], survivors.len())?;
        let spec = ArgmaxSpec {
            width: output.width as usize,
            height: output.height as usize,
            crop: output.crop.map(|(width, height)| (width as usize, height as usize)),
            threshold,
        };
        let ScoredMap { scores, map, not_finite } = score_and_upsample(&logits, &spec)?;
        if not_finite > 0 {
            return Err(ModelError::NotFinite { found: not_finite, of: logits.elem_count() });
        }
        let scores = output.score_maps.then(|| ScoreMaps::of(&survivors, &scores));
        let mut result = FinishedMap {
            width: output.width,
            height: output.height,
            indices: map.indices,
            pixels: vec![0; batch.vocabulary(image)],
            mean_scores: vec![0.0; batch.vocabulary(image)],
            score_maps: scores.transpose()?,
        };
        for index in result.indices.iter_mut().filter(|index| **index != UNLABELLED) {
            let Some(&category) = survivors.get(usize::from(*index)) else {
                let reason = format!("the device gave map {index} of {}", survivors.len());
                return Err(candle_core::Error::Msg(reason).into());
            };
            *index = category as u16;
        }
        for ((&category, pixels), score) in survivors.iter().zip(map.pixels).zip(map.mean_scores) {
            result.pixels[category as usize] = pixels;
            result.mean_scores[category as usize] = score;
        }
        Ok(result)
    };
    outputs.iter().enumerate().map(finish_image).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_category_with_several_pairs_has_the_highest_of_their_maps() {
        let scores = vec![0.1, 0.9, 0.3, 0.2, 0.5, 0.6, 0.4, 0.7];
        let maps = ScoreMaps::highest(&[0, 2, 2, 5], (2, 1), scores.clone());
        assert_eq!(maps.categories, [0, 2, 5]);
        assert_eq!(maps.scores, [0.1, 0.9, 0.5, 0.6, 0.4, 0.7]);
        assert_eq!(ScoreMaps::highest(&[0, 2, 3, 5], (2, 1), scores.clone()).scores, scores);
    }

    #[test]
    fn a_category_without_a_threshold_is_never_labelled() {
        assert_eq!(Thresholds::Same(0.5).of(7), 0.5);
        let each = Thresholds::ByCategory([0.1, 0.2].into());
        assert_eq!([each.of(0), each.of(1), each.of(2)], [0.1, 0.2, f32::INFINITY]);
    }
}
