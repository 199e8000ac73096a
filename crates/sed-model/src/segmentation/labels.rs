//! Categories of an image's maps.

use sed_kernels::{ArgmaxMap, UNLABELLED};

use super::{FinishedMap, ScoreMaps, Thresholds};
use crate::error::{ModelError, Result};

/// The categories of an image's maps.
pub(super) struct Labels {
    /// By map, rising.
    pub(super) of_map: Vec<u16>,
    /// Number of categories of the vocabulary.
    categories: usize,
}

impl Labels {
    /// Of the maps of the pairs `survivors`, indices into a vocabulary of so many categories. `groups` has
    /// the category of each of its pairs; without, pairs are categories.
    pub(super) fn of(survivors: &[u32], groups: Option<&[u32]>, categories: usize) -> Self {
        let category = |pair: &u32| category(*pair, groups) as u16;
        Self { of_map: survivors.iter().map(category).collect(), categories }
    }

    /// The threshold of each map.
    pub(super) fn thresholds(&self, thresholds: &Thresholds) -> Result<Vec<f32>> {
        thresholds.check(self.categories)?;
        Ok(self.of_map.iter().map(|label| thresholds.of((*label).into())).collect())
    }

    /// Replaces the maps' indices by their categories.
    pub(super) fn name(&self, indices: &mut [u16]) -> Result<()> {
        for index in indices.iter_mut().filter(|index| **index != UNLABELLED) {
            let Some(&category) = self.of_map.get(usize::from(*index)) else {
                let reason = format!("the device gave map {index} of {}", self.of_map.len());
                return Err(candle_core::Error::Msg(reason).into());
            };
            *index = category;
        }
        Ok(())
    }

    /// The result for an image of a size, whose pixels are named already.
    pub(super) fn finished(
        &self,
        (width, height): (u32, u32),
        map: ArgmaxMap,
        score_maps: Option<ScoreMaps>,
    ) -> FinishedMap {
        let (pixels, mean_scores) = self.totals(&map.pixels, &map.mean_scores);
        let (indices, sureness) = (map.indices, map.sureness);
        FinishedMap { width, height, indices, pixels, mean_scores, score_maps, sureness }
    }

    /// Pixels and mean scores of each category from those of each map.
    fn totals(&self, pixels: &[u32], mean_scores: &[f32]) -> (Vec<u32>, Vec<f32>) {
        let (mut totals, mut sums) = (vec![0; self.categories], vec![0.0; self.categories]);
        for ((&label, &pixels), &mean) in self.of_map.iter().zip(pixels).zip(mean_scores) {
            totals[usize::from(label)] += pixels;
            sums[usize::from(label)] += f64::from(mean) * f64::from(pixels);
        }
        let mean = |(sum, pixels): (&f64, &u32)| (sum / f64::from((*pixels).max(1))) as f32;
        let means = sums.iter().zip(&totals).map(mean).collect();
        (totals, means)
    }
}

/// The category of a pair of a vocabulary.
pub(super) fn category(pair: u32, groups: Option<&[u32]>) -> u32 {
    groups.map_or(pair, |groups| groups[pair as usize])
}

impl Thresholds {
    /// Checks that there is one for each category.
    ///
    /// # Errors
    /// When there are more or fewer.
    pub(super) fn check(&self, categories: usize) -> Result<()> {
        if let Self::ByCategory(all) = self
            && all.len() != categories
        {
            let given = all.len();
            let reason = format!("{given} score thresholds for {categories} categories; give one for each");
            return Err(ModelError::input(reason));
        }
        Ok(())
    }
}
