//! Multiply-accumulates of the network as the paper writes it: those of convolutions, linear layers and sums
//! of products, counted from the sizes. The kernels do fewer where they fold layers into one.

use sed_model::config::{PROMPTS, SedConfig, VisualHead};

/// Side of the depthwise kernels of the image encoder.
const ENCODER_KERNEL: usize = 7;

/// Multiply-accumulates of the image encoder with its visual head, for one image.
pub(crate) fn encoder(config: &SedConfig) -> u64 {
    let vision = &config.vision;
    let stem = area(config, 4) * (4 * 4 * 3) * vision.dims[0];
    let stages = (0..4).map(|stage| {
        let (dim, positions) = (vision.dims[stage], area(config, 4 << stage));
        let downsample = if stage == 0 { 0 } else { 2 * 2 * vision.dims[stage - 1] * dim };
        positions * (downsample + vision.depths[stage] * next_block(dim, ENCODER_KERNEL))
    });
    let last = vision.dims[3];
    let head = area(config, 32)
        * match vision.head {
            VisualHead::Linear => last * config.embed_dim,
            VisualHead::Mlp { hidden } => last * hidden + hidden * config.embed_dim,
        };
    (stem + stages.sum::<usize>() + head) as u64
}

/// Multiply-accumulates of the projections to skip guidance, for one image.
pub(crate) fn guidance(config: &SedConfig) -> u64 {
    let level = |level: usize| {
        let (inputs, outputs) = (config.vision.dims[2 - level], config.decoder.guidance_dims[level]);
        area(config, 16 >> level) * 3 * 3 * inputs * outputs
    };
    (0..3).map(level).sum::<usize>() as u64
}

/// Multiply-accumulates for one (image, category) pair before decoder level 1: the cost map, its embedding,
/// and the head by which categories are rejected.
pub(crate) fn cost_map(config: &SedConfig) -> u64 {
    let hidden = config.decoder.hidden_dim;
    (area(config, 32) * (PROMPTS * config.embed_dim + 7 * 7 * PROMPTS * hidden + 3 * 3 * hidden)) as u64
}

/// Multiply-accumulates of decoder level 1, 2 or 3 for one pair, with its cost-map guidance and its head.
pub(crate) fn decoder_level(config: &SedConfig, level: usize) -> u64 {
    let (decoder, index) = (&config.decoder, level - 1);
    let (input, output) = (decoder.level_inputs()[index], decoder.dims[index]);
    let (guidance, corr) = (decoder.guidance_dims[index], decoder.corr_guidance_dims[index]);
    let corr_input = if index == 0 { PROMPTS } else { decoder.corr_guidance_dims[index - 1] };
    let (before, after) = (area(config, 32 >> index), area(config, 16 >> index));
    let up = input - guidance;
    let aggregation = next_block(input, decoder.kernel_size);
    // Queries, keys, values, the two layers behind them; then keys by values, queries by that, queries by the
    // sum of the keys.
    let attention = 11 * input * input + 2 * input * (input / decoder.attention_heads) + input;
    let upsampling = 2 * 2 * (input * up + corr_input * corr);
    let fusion = 3 * 3 * output * (up + guidance + corr + output);
    let head = 3 * 3 * output;
    (before * (aggregation + attention + upsampling) + after * (fusion + head)) as u64
}

/// Multiply-accumulates of everything behind the encoder for one pair that is never rejected.
pub(crate) fn pair(config: &SedConfig) -> u64 {
    cost_map(config) + (1..=3).map(|level| decoder_level(config, level)).sum::<u64>()
}

/// Depthwise convolution, then four times as wide and back, at one position.
fn next_block(dim: usize, kernel: usize) -> usize {
    kernel * kernel * dim + 2 * dim * 4 * dim
}

/// Positions of a map whose side is the input's by `stride`.
fn area(config: &SedConfig, stride: usize) -> usize {
    (config.image_size / stride).pow(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails unless a count is the given number of GMAC, in the digits that are given.
    #[track_caller]
    fn assert_giga(macs: u64, want: f64, digits: i32) {
        let off = (macs as f64 / 1e9 - want).abs();
        assert!(off <= 0.5 * 10f64.powi(-digits) + 1e-9, "{macs} is not {want} GMAC");
    }

    // The figures were counted from the layers of the official code, and published with the reference
    // outputs' specification.

    #[test]
    fn encoders_have_their_known_counts() {
        assert_giga(encoder(&SedConfig::sed_b()), 180.9, 1);
        assert_giga(encoder(&SedConfig::sed_l()), 405.9, 1);
        assert_giga(encoder(&SedConfig::sed_b()) + guidance(&SedConfig::sed_b()), 181.9, 1);
        assert_giga(encoder(&SedConfig::sed_l()) + guidance(&SedConfig::sed_l()), 407.5, 1);
    }

    #[test]
    fn pairs_have_their_known_counts() {
        let (base, large) = (SedConfig::sed_b(), SedConfig::sed_l());
        assert_giga(pair(&base), 1.915, 3);
        assert_giga(pair(&large), 1.921, 3);
        for (level, want) in [(1, 0.5229), (2, 0.5291), (3, 0.5438)] {
            assert_giga(decoder_level(&base, level), want, 4);
        }
        // .0295 for the cost map, .2890 for its embedding, .0007 for the head.
        assert_giga(cost_map(&base), 0.3192, 3);
    }

    #[test]
    fn whole_pictures_have_their_known_counts() {
        let total = |config: &SedConfig, categories: u64| {
            (encoder(config) + guidance(config) + categories * pair(config)) as f64 / 1e12
        };
        for (categories, base, large) in [(20, 0.220, 0.446), (150, 0.469, 0.696), (847, 1.804, 2.034)] {
            assert!((total(&SedConfig::sed_b(), categories) - base).abs() < 6e-4);
            assert!((total(&SedConfig::sed_l(), categories) - large).abs() < 6e-4);
        }
    }
}
