//! The end of the path for all images of a submission, whose pairs only the device has counted.

use std::sync::Arc;

use candle_core::Tensor;
use sed_kernels::{DevicePairs, EntryThresholds, FinishPlan, FinishSpec, finish_batch};

use super::labels::{Labels, category};
use super::{FinishedMap, OutputSpec, Thresholds};
use crate::error::{ModelError, Result};

/// A vocabulary's number of pairs, and the category of each where a category has several.
pub(crate) type Vocabulary<'a> = (usize, Option<&'a [u32]>);

/// The results of a batch: what the device has to know of them before, and how they are taken from the words
/// that it leaves.
#[derive(Debug)]
pub(crate) struct BatchFinish {
    plan: FinishPlan,
    images: Vec<Image>,
    /// Values of a map of logits.
    area: usize,
}

/// An image of a batch.
#[derive(Debug)]
struct Image {
    size: (u32, u32),
    /// Number of categories of its vocabulary.
    categories: usize,
    groups: Option<Arc<[u32]>>,
}

impl BatchFinish {
    /// Plans the results `outputs` of images with their `vocabularies`. There are at most `capacity` pairs,
    /// with logits of `(rows, columns)`.
    ///
    /// # Errors
    /// When thresholds are not one for each category, score maps are asked for, or a size does not fit.
    pub(crate) fn plan(
        outputs: &[&OutputSpec],
        vocabularies: &[Vocabulary<'_>],
        capacity: usize,
        maps: (usize, usize),
    ) -> Result<Self> {
        let mut images = Vec::with_capacity(outputs.len());
        let mut thresholds = Vec::with_capacity(outputs.len());
        for (output, &(pairs, groups)) in outputs.iter().zip(vocabularies) {
            if output.score_maps {
                return Err(ModelError::input("score maps come of the stages, not of a submission"));
            }
            let categories = groups.and_then(<[u32]>::last).map_or(pairs, |last| *last as usize + 1);
            output.thresholds.check(categories)?;
            let of_pair = |pair| output.thresholds.of(category(pair, groups));
            thresholds.push(match output.thresholds {
                Thresholds::Same(_) => Vec::new(),
                Thresholds::ByCategory(_) => (0..pairs as u32).map(of_pair).collect(),
            });
            let size = (output.width, output.height);
            images.push(Image { size, categories, groups: groups.map(Arc::from) });
        }
        let each = outputs.iter().zip(vocabularies).zip(&thresholds);
        let specs: Vec<FinishSpec<'_>> = each.map(|((output, of), each)| spec(output, *of, each)).collect();
        let plan = FinishPlan::new(&specs, capacity, maps)?;
        Ok(Self { plan, images, area: maps.0 * maps.1 })
    }

    /// The words that the device reads, for [`BatchFinish::launch`].
    pub(crate) fn parameters(&self) -> &[u32] {
        self.plan.parameters()
    }

    /// Words of the block of results. It begins at a multiple of 8 bytes.
    pub(crate) fn words(&self) -> usize {
        self.plan.words()
    }

    /// Finds the best category of every pixel of every image, in two launches. `logits [capacity, h, w]` hold
    /// scores afterwards; `parameters` and `block` are words (u32) on the device.
    ///
    /// # Errors
    /// When the tensors are not of the plan's sizes, or a launch fails.
    pub(crate) fn launch(
        &self,
        logits: &Tensor,
        pairs: &DevicePairs,
        parameters: &Tensor,
        block: &Tensor,
    ) -> Result<()> {
        Ok(finish_batch(logits, pairs, &self.plan, parameters, block)?)
    }

    /// Reads the result of an image from a copy of the block. Its pairs are `survivors`, indices into its
    /// vocabulary, in the rows from `first` on. Runs on any thread.
    ///
    /// # Errors
    /// [`ModelError::NotFinite`] when logits of the image are not finite.
    pub(crate) fn unpack(
        &self,
        image: usize,
        block: &[u32],
        first: usize,
        survivors: &[u32],
    ) -> Result<FinishedMap> {
        let found = self.plan.unpack(image, block, first..first + survivors.len())?;
        if found.not_finite > 0 {
            return Err(ModelError::NotFinite { found: found.not_finite, of: survivors.len() * self.area });
        }
        let image = &self.images[image];
        let labels = Labels::of(survivors, image.groups.as_deref(), image.categories);
        Ok(labels.finished(image.size, found.map, None))
    }
}

/// An output in the kernels' terms; `each` are the thresholds of pairs, where they differ.
fn spec<'a>(output: &OutputSpec, (pairs, groups): Vocabulary<'a>, each: &'a [f32]) -> FinishSpec<'a> {
    FinishSpec {
        width: output.width as usize,
        height: output.height as usize,
        crop: output.crop(),
        vocabulary: pairs,
        labels: groups,
        thresholds: match output.thresholds {
            Thresholds::Same(threshold) => EntryThresholds::Same(threshold),
            Thresholds::ByCategory(_) => EntryThresholds::Each(each),
        },
        sureness: output.sureness,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output() -> OutputSpec {
        OutputSpec {
            width: 3,
            height: 1,
            crop: None,
            thresholds: Thresholds::ByCategory([0.25, 0.5].into()),
            score_maps: false,
            sureness: true,
        }
    }

    /// A plan for an image of two categories with three pairs, behind one of a single pair.
    fn planned() -> BatchFinish {
        let (single, grouped) = (OutputSpec { thresholds: Thresholds::Same(0.5), ..output() }, output());
        BatchFinish::plan(&[&single, &grouped], &[(1, None), (3, Some(&[0, 0, 1]))], 4, (2, 2)).unwrap()
    }

    #[test]
    fn results_are_taken_from_their_words() {
        let batch = planned();
        // Counts of faults, pixels and sums of four pairs; then planes of two words, each of four.
        assert_eq!(batch.words(), 4 + 4 + 8 + 2 * 4 * 4);
        let mut block = vec![0; batch.words()];
        block[4..8].copy_from_slice(&[7, 1, 2, 0]); // pixels
        block[10..14].copy_from_slice(&[1 << 31, 0, 1 << 30, 1]); // sums: a half, one and a quarter
        block[32..34].copy_from_slice(&[0xffff_0000, 1]); // indices
        let map = batch.unpack(1, &block, 1, &[0, 2]).unwrap();
        assert_eq!((map.width, map.height, map.indices), (3, 1, vec![0, 0xffff, 1]));
        assert_eq!((map.pixels, map.mean_scores), (vec![1, 2], vec![0.5, 0.625]));
        assert_eq!(map.sureness.map(|sureness| sureness.runner_up.len()), Some(3));
        block[2] = 3;
        let error = batch.unpack(1, &block, 1, &[0, 2]).unwrap_err();
        assert!(matches!(error, ModelError::NotFinite { found: 3, of: 8 }), "{error}");
        assert!(batch.unpack(0, &block, 0, &[0]).is_ok());
    }

    #[test]
    fn thresholds_of_pairs_are_those_of_their_categories() {
        let batch = planned();
        let parameters = batch.parameters();
        // Behind two records of eleven words: thresholds, then labels.
        assert_eq!(parameters[22..25], [0.25f32, 0.25, 0.5].map(f32::to_bits));
        assert_eq!(parameters[25..], [0, 0, 1]);
    }

    #[test]
    fn outputs_that_do_not_fit_are_refused() {
        let plan = |output: &OutputSpec| BatchFinish::plan(&[output], &[(3, Some(&[0, 0, 1]))], 4, (2, 2));
        assert!(plan(&output()).is_ok());
        assert!(plan(&OutputSpec { score_maps: true, ..output() }).is_err());
        assert!(plan(&OutputSpec { crop: Some((3, 2)), ..output() }).is_err());
        let three = Thresholds::ByCategory([0.5; 3].into());
        let error = plan(&OutputSpec { thresholds: three, ..output() }).unwrap_err().to_string();
        assert_eq!(error, "3 score thresholds for 2 categories; give one for each");
    }
}
