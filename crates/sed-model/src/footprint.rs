//! How much memory batches need, counted from the shapes of what the stages hold at the same time.

use crate::config::{PROMPTS, SedConfig};
use crate::decoder::LEVELS;

/// Bytes of an f32.
const VALUE: usize = 4;
/// Maps of the encoder's widest stage that live at the same time: input, block output, and the tiles between.
const ENCODER_MAPS: usize = 4;
/// Maps of a decoder level's input size that live at the same time: the input (kept, so that the stage can be
/// tried again), and the results of the two aggregations.
const LEVEL_MAPS: usize = 3;

/// Upper bounds of the memory that a unit of work takes in a batch, beside weights and caches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// For each image in the encoder, in bytes.
    pub image_bytes: u64,
    /// For each (image, category) pair in the cost map stage that the first rejection removes, in bytes.
    pub candidate_bytes: u64,
    /// For each (image, category) pair in any later stage, in bytes.
    pub pair_bytes: u64,
}

impl Footprint {
    /// Of a model of these sizes.
    pub fn of(config: &SedConfig) -> Self {
        let side = config.image_size;
        let stages = config.vision.dims.iter().enumerate();
        let outputs: Vec<usize> =
            stages.map(|(index, channels)| (side >> (index + 2)).pow(2) * channels).collect();
        let widest = outputs.iter().copied().max().unwrap_or(0);
        // Every stage's output is kept for the skip guidance; the input is counted with them.
        let image = ENCODER_MAPS * widest + outputs.iter().sum::<usize>() + side * side * 3;

        let decoder = &config.decoder;
        let inputs = decoder.level_inputs();
        let level = |index: usize| {
            let pixels = (side >> (5 - index)).pow(2);
            let below = if index == 0 { PROMPTS } else { decoder.corr_guidance_dims[index - 1] };
            let last = index + 1 == LEVELS;
            let maps = if last { 1 } else { decoder.dims[index] + decoder.corr_guidance_dims[index] + 1 };
            pixels * (LEVEL_MAPS * inputs[index] + below) + 4 * pixels * maps
        };
        let cost_map = (side >> 5).pow(2) * (PROMPTS + decoder.hidden_dim + 1);
        let pair = (0..LEVELS).map(level).fold(cost_map, usize::max);
        let candidate = (side >> 5).pow(2) * (PROMPTS + 1);
        Self {
            image_bytes: (VALUE * image) as u64,
            candidate_bytes: (VALUE * candidate) as u64,
            pair_bytes: (VALUE * pair) as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sed_b_needs_what_its_shapes_say() {
        let footprint = Footprint::of(&SedConfig::sed_b());
        // 192 x 192 x 128 four times, the outputs of all stages, and the input.
        assert!((100 << 20..160 << 20).contains(&footprint.image_bytes), "{footprint:?}");
        // Similarities with 80 prompts, and the logit, at 24 x 24.
        assert_eq!(footprint.candidate_bytes, 4 * 24 * 24 * 81);
        // Level 3: 96 x 96 with three maps of 32 channels, 16 of guidance, and logits of 192 x 192.
        assert_eq!(footprint.pair_bytes, 4 * (96 * 96 * (3 * 32 + 16) + 192 * 192));
    }
}
