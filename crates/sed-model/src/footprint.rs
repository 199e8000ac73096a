//! Memory that batches need, counted from the shapes of the tensors that the stages hold at the same time.

use crate::config::{PROMPTS, SedConfig};
use crate::level::Level;

/// Memory use of a device's kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kernels {
    /// Bytes of a value.
    value: usize,
    /// Maps of the encoder's widest stage that live at the same time.
    encoder_maps: usize,
    /// Maps of a decoder level's input size that live at the same time.
    level_maps: usize,
    /// Maps of a decoder level's output size, as wide as the level, that live beside its result.
    output_maps: usize,
}

/// On the CPU a block works in tiles. Encoder: input, block output, and the tiles. Level: the input (kept, so that
/// the stage can be tried again), and the results of the two aggregations.
const CPU: Kernels = Kernels { value: 4, encoder_maps: 4, level_maps: 3, output_maps: 0 };
/// On a GPU every step leaves a whole map. A block: its input, the normed map, the hidden map of four times the
/// width before and after GELU, the output. A level adds the kept input and an aggregation's result, and the fusion
/// has the results of both convolutions and of their norms.
///
/// A submission has the same tensors in an arena that gives memory back step by step. In the encoder a step is a block,
/// whose scratch goes with it; beside its maps are the batch's features, less than a map. In the decoder a step is a
/// level: its input, the result of the first block, and three projections, the sum, the hidden map of four times the
/// width and the result of the attention, eleven maps in all, lie beside the fusion's; the rows that stay behind the
/// rejection are one more result. Until something is known of earlier submissions, and where more pairs stay than
/// expected, there are rows for all pairs of a batch.
const GPU: Kernels = Kernels { value: 4, encoder_maps: 12, level_maps: 13, output_maps: 5 };

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
    /// The footprint of a model of these sizes on the CPU.
    pub fn of(config: &SedConfig) -> Self {
        Self::with(config, CPU)
    }

    /// The footprint of a model of these sizes on a GPU, in a number format of `value_bytes` bytes. Counted
    /// from the launches, not measured; an engine that runs out of memory uses smaller batches.
    pub fn on_gpu(config: &SedConfig, value_bytes: usize) -> Self {
        Self::with(config, Kernels { value: value_bytes, ..GPU })
    }

    fn with(config: &SedConfig, kernels: Kernels) -> Self {
        let side = config.image_size;
        let stages = config.vision.dims.iter().enumerate();
        let outputs: Vec<usize> =
            stages.map(|(index, channels)| (side >> (index + 2)).pow(2) * channels).collect();
        let widest = outputs.iter().copied().max().unwrap_or(0);
        // Every stage's output is kept for the skip guidance; the input is counted with them.
        let image = kernels.encoder_maps * widest + outputs.iter().sum::<usize>() + side * side * 3;

        let decoder = &config.decoder;
        let inputs = decoder.level_inputs();
        let of_level = |level: Level| {
            let index = level.index();
            let pixels = (side >> (5 - index)).pow(2);
            let below = if index == 0 { PROMPTS } else { decoder.corr_guidance_dims[index - 1] };
            let results =
                if level.is_last() { 1 } else { decoder.dims[index] + decoder.corr_guidance_dims[index] + 1 };
            let guidance = if kernels.output_maps > 0 { decoder.corr_guidance_dims[index] } else { 0 };
            let maps = results + kernels.output_maps * decoder.dims[index] + guidance;
            pixels * (kernels.level_maps * inputs[index] + below) + 4 * pixels * maps
        };
        let cost_map = (side >> 5).pow(2) * (PROMPTS + decoder.hidden_dim + 1);
        let pair = Level::ALL.into_iter().map(of_level).fold(cost_map, usize::max);
        let candidate = (side >> 5).pow(2) * (PROMPTS + 1);
        Self {
            image_bytes: (kernels.value * image) as u64,
            candidate_bytes: (kernels.value * candidate) as u64,
            pair_bytes: (kernels.value * pair) as u64,
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

    #[test]
    fn a_gpu_holds_whole_maps_in_the_format_of_the_model() {
        let (cpu, gpu) = (Footprint::of(&SedConfig::sed_b()), Footprint::on_gpu(&SedConfig::sed_b(), 4));
        assert!(gpu.image_bytes > cpu.image_bytes && gpu.pair_bytes > 3 * cpu.pair_bytes, "{gpu:?}");
        let half = Footprint::on_gpu(&SedConfig::sed_b(), 2);
        assert_eq!((2 * half.image_bytes, 2 * half.pair_bytes), (gpu.image_bytes, gpu.pair_bytes));
    }
}
