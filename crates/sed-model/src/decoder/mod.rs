//! The gradual fusion decoder: three levels of feature aggregation and skip-layer fusion, each twice the
//! size of the one before, with category early rejection between them (SED sections 3.3 and 3.4).

mod level;

use candle_core::Tensor;

use crate::checkpoint::Weights;
use crate::config::SedConfig;
use crate::error::{ModelError, Result};
use crate::level::Level;
use crate::pairs::PairBatch;
pub use level::DecoderLevel;
pub use sed_kernels::{Fused, FusionOutputs};

/// The three levels with packed weights.
#[derive(Debug)]
pub struct Decoder {
    levels: Vec<DecoderLevel>,
}

impl Decoder {
    /// Loads `transformer.decoder1` to `decoder3` with their heads and guidance.
    ///
    /// # Errors
    /// When a tensor is missing or mis-shaped.
    pub fn load(weights: &Weights<'_>, config: &SedConfig) -> Result<Self> {
        let load = |level| DecoderLevel::load(weights, config, level);
        Ok(Self { levels: Level::ALL.into_iter().map(load).collect::<Result<_>>()? })
    }

    /// One of its levels.
    pub fn level(&self, level: Level) -> &DecoderLevel {
        &self.levels[level.index()]
    }

    /// Computes the images' part of each level's first convolution, from their skip guidance.
    pub(crate) fn guides(&self, guidance: &[Tensor]) -> Result<Vec<Tensor>> {
        self.levels.iter().zip(guidance).map(|(level, x)| Ok(level.fusion().guide(x)?)).collect()
    }

    /// Runs a level, and behind levels 1 and 2 the rejection before the next.
    ///
    /// # Errors
    /// When the batch is not at this level, or a tensor operation fails.
    pub fn forward(&self, level: Level, mut batch: PairBatch) -> Result<PairBatch> {
        let (Some(features), Some(cost)) = (batch.features.take(), batch.cost_guidance.take()) else {
            return Err(ModelError::input("the batch has no features; run the cost map first"));
        };
        batch.check_level(level)?;
        let last = level.is_last();
        let logits = last || batch.rejects();
        let (guides, image_of_pair) = (batch.guides(level, features.dtype())?, batch.image_of_pair());
        let guides: Vec<&Tensor> = guides.iter().collect();
        let fused = self.level(level).forward(
            features,
            &cost,
            &guides,
            (&batch.offsets(), &image_of_pair),
            sed_kernels::FusionOutputs { features: !last, logits },
        )?;
        drop(cost);
        (batch.features, batch.cost_guidance) = (fused.features, fused.cost_guidance);
        batch.end_level(level, fused.logits)?;
        Ok(batch)
    }
}
