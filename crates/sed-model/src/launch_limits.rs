//! Limits of (image, category) pairs in one launch on a GPU.

use candle_core::DType;
use sed_kernels::widest_of_aggregation;

use crate::config::{PROMPTS, SedConfig};
use crate::level::Level;

/// The most elements of a tensor of a launch: cuBLAS and copies of candle count them in 32 bits.
const MOST_ELEMENTS: usize = i32::MAX as usize;

/// The most pairs for which every tensor of a stage can be indexed. It depends on the model's sizes and number format
/// alone, not on the memory. In a submission rows count, of which there are as many as pairs or fewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LaunchLimits {
    /// Most pairs of the cost map stage.
    pub(crate) cost_map: usize,
    /// Most pairs of each decoder level.
    pub(crate) levels: [usize; Level::COUNT],
}

impl LaunchLimits {
    /// Returns the limits for a model of these sizes and number format.
    pub(crate) fn of(config: &SedConfig, dtype: DType) -> Self {
        let side = config.image_size;
        let cost_map = (side >> 5).pow(2) * config.decoder.hidden_dim.max(PROMPTS);
        let level = |level| MOST_ELEMENTS / largest_map(config, dtype, level);
        Self { cost_map: MOST_ELEMENTS / cost_map, levels: Level::ALL.map(level) }
    }

    /// Returns the limit that holds for every stage.
    pub(crate) fn least(self) -> usize {
        self.levels.into_iter().fold(self.cost_map, usize::min)
    }
}

/// Counts the elements for each pair of the largest tensor that a decoder level makes.
fn largest_map(config: &SedConfig, dtype: DType, level: Level) -> usize {
    let (decoder, index) = (&config.decoder, level.index());
    let pixels = (config.image_size >> (5 - index)).pow(2);
    let channels = decoder.level_inputs()[index];
    // The fusion works on four times the pixels.
    let hidden = pixels * widest_of_aggregation(dtype, channels);
    let upsampled = channels.saturating_sub(decoder.guidance_dims[index]);
    let widest = upsampled.max(decoder.dims[index]).max(decoder.corr_guidance_dims[index]);
    hidden.max(4 * pixels * widest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_tensor_of_a_launch_needs_more_than_32_bits() {
        for config in [SedConfig::sed_b(), SedConfig::sed_l()] {
            let limits = LaunchLimits::of(&config, DType::F32);
            // Level 3: a hidden map of 128 channels at 96 x 96; in 16 bits the widest are 96 of attention.
            assert_eq!(LaunchLimits::of(&config, DType::BF16).least(), 2427);
            let largest = 96 * 96 * 128;
            assert_eq!((limits.least(), limits.levels[2]), (1820, 1820), "{}", config.name);
            assert!(limits.least() * largest < 1 << 31 && (limits.least() + 1) * largest >= 1 << 31);
            assert!(limits.levels.is_sorted_by(|a, b| a > b) && limits.cost_map > limits.levels[0]);
        }
    }

    #[test]
    fn the_widest_tensor_counts_wherever_it_is() {
        let mut config = SedConfig::sed_b();
        let before = LaunchLimits::of(&config, DType::F32);
        config.decoder.dims[2] *= 4; // 64 channels at 192 x 192 are more than 128 at 96 x 96
        assert_eq!(LaunchLimits::of(&config, DType::F32).levels[2], before.levels[2] / 2);
        config.image_size /= 2;
        assert_eq!(LaunchLimits::of(&config, DType::F32).cost_map, before.cost_map * 4);
    }
}
