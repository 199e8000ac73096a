//! The end of the path: from the last level's logits to a category for every pixel.

use candle_core::Tensor;
use sed_kernels::{ArgmaxSpec, ScoredMap, UNLABELLED, score_and_upsample};

use crate::error::{ModelError, Result};
use crate::pairs::PairBatch;

/// Size, crop and threshold of an image's result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutputSpec {
    /// Rows of the result.
    pub height: usize,
    /// Columns of the result.
    pub width: usize,
    /// Only the first so many rows and columns of the decoder's map are used (the official evaluation
    /// cuts the map to the resized picture where that is smaller).
    pub crop: Option<(usize, usize)>,
    /// Pixels whose best score is lower become [`UNLABELLED`]; 0 to 1.
    pub score_threshold: f32,
    /// Also returns the survivors' scores at the size of the decoder's map.
    pub score_maps: bool,
}

/// The result for one image.
#[derive(Debug, Clone)]
pub struct SegmentationMap {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// `[height, width]`: category of every pixel as index into the vocabulary, or [`UNLABELLED`].
    pub indices: Vec<u16>,
    /// Pixels of each category of the vocabulary.
    pub pixels: Vec<u32>,
    /// Mean score of each category of the vocabulary over its pixels, 0 to 1; 0 where it has none.
    pub mean_scores: Vec<f32>,
    /// Scores `[survivors, S/4, S/4]`, 0 to 1, if they were asked for.
    pub score_maps: Option<Tensor>,
}

/// Finds the best category of every pixel of every image of a fully decoded batch.
pub(crate) fn finish(batch: &PairBatch, outputs: &[OutputSpec]) -> Result<Vec<SegmentationMap>> {
    let Some(logits) = &batch.logits else {
        return Err(ModelError::input("the batch has no logits; run decoder levels 1, 2 and 3 first"));
    };
    if outputs.len() != batch.images() {
        return Err(ModelError::input(format!("{} outputs for {} images", outputs.len(), batch.images())));
    }
    let offsets = batch.offsets();
    let finish_image = |(image, output): (usize, &OutputSpec)| {
        let survivors = batch.survivors(image);
        let logits = logits.narrow(0, offsets[image], survivors.len())?;
        let spec = ArgmaxSpec {
            height: output.height,
            width: output.width,
            crop: output.crop,
            threshold: output.score_threshold,
        };
        let ScoredMap { scores, map, not_finite } = score_and_upsample(&logits, &spec)?;
        if not_finite > 0 {
            return Err(ModelError::NotFinite { found: not_finite, of: logits.elem_count() });
        }
        let mut result = SegmentationMap {
            height: output.height,
            width: output.width,
            indices: map.indices,
            pixels: vec![0; batch.vocabulary(image)],
            mean_scores: vec![0.0; batch.vocabulary(image)],
            score_maps: output.score_maps.then_some(scores),
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
