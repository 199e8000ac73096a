//! Number of multiply-accumulates of each stage, counted from the sizes: those of convolutions, linear layers
//! and sums of products, zeros at the borders included; norms, activations and resampling are not counted.
//!
//! There are two counts. [`Operations::reference`] is the network as the official code orders it.
//! [`Operations::rearranged`] is the network as this implementation computes it: the head of the first
//! rejection is folded into the convolution before it, embeddings and cost-map guidance are made for
//! survivors only, the image's part of each level's first convolution is made once for the image, and
//! upsampling is folded into that convolution.

mod text;

use crate::config::{PROMPTS, SedConfig, VisualHead};
use crate::level::Level;
pub use text::{text_per_prompt, text_rearranged};

/// Side of the depthwise kernels of the image encoder.
const ENCODER_KERNEL: usize = 7;
/// Side of the kernel of the first convolution over the cost map.
const EMBEDDING_KERNEL: usize = 7;

/// Multiply-accumulates for one unit of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operations {
    /// Encoder and guidance, for an image.
    pub image: u64,
    /// The cost map stage, for a category before the first rejection.
    pub candidate: u64,
    /// The logits that the rejections before levels 1, 2 and 3 use: for a candidate, for a pair of level 1,
    /// for one of level 2.
    pub rejection: [u64; Level::COUNT],
    /// The cost map stage, for a category that the first rejection leaves.
    pub survivor: u64,
    /// The decoder levels, for a pair that enters them.
    pub levels: [u64; Level::COUNT],
    /// Heads are computed even where nothing is rejected.
    heads_always: bool,
}

/// Units of work that went through the stages in one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchWork {
    /// Images in the encoder.
    pub images: u64,
    /// (Image, category) pairs before the first rejection.
    pub candidates: u64,
    /// Pairs that enter levels 1, 2 and 3.
    pub survivors: [u64; Level::COUNT],
    /// For levels 1, 2 and 3: true if pairs can be rejected before the level.
    pub rejects: [bool; Level::COUNT],
}

impl Operations {
    /// The network as the official code orders it.
    pub fn reference(config: &SedConfig) -> Self {
        let level = |level| aggregation(config, level) + fusion_in_order(config, level);
        let guidance = (0..Level::COUNT).map(|level| cost_guidance(config, level)).sum::<usize>();
        Self {
            image: (encoder(config) + guidance_projections(config)) as u64,
            candidate: (similarities(config) + embedding(config) + guidance) as u64,
            rejection: [
                area(config, 32) * 3 * 3 * config.decoder.hidden_dim,
                head(config, 0),
                head(config, 1),
            ]
            .map(|macs| macs as u64),
            survivor: 0,
            levels: [level(0), level(1), level(2) + head(config, 2)].map(|macs| macs as u64),
            heads_always: true,
        }
    }

    /// The network as this implementation computes it.
    pub fn rearranged(config: &SedConfig) -> Self {
        let level =
            |level| aggregation(config, level) + cost_guidance(config, level) + fusion_folded(config, level);
        let guides = (0..Level::COUNT).map(|level| guide(config, level)).sum::<usize>();
        let both_kernels = EMBEDDING_KERNEL + 3 - 1; // a convolution and the 3×3 behind it as one
        Self {
            image: (encoder(config) + guidance_projections(config) + guides) as u64,
            candidate: similarities(config) as u64,
            rejection: [area(config, 32) * both_kernels.pow(2) * PROMPTS, head(config, 0), head(config, 1)]
                .map(|macs| macs as u64),
            survivor: embedding(config) as u64,
            levels: [level(0), level(1), level(2) + head(config, 2)].map(|macs| macs as u64),
            heads_always: false,
        }
    }

    /// Multiply-accumulates of encode, cost map and the three levels for a batch.
    pub fn stages(&self, work: &BatchWork) -> [u64; 2 + Level::COUNT] {
        let rejection = |before: usize, pairs: u64| {
            if self.heads_always || work.rejects[before] { self.rejection[before] * pairs } else { 0 }
        };
        let [first, second, third] = work.survivors;
        [
            self.image * work.images,
            self.candidate * work.candidates + rejection(0, work.candidates) + self.survivor * first,
            self.levels[0] * first + rejection(1, first),
            self.levels[1] * second + rejection(2, second),
            self.levels[2] * third,
        ]
    }

    /// Multiply-accumulates of everything behind the encoder for one pair where rejection is off.
    pub fn pair(&self) -> u64 {
        let work = BatchWork {
            images: 0,
            candidates: 1,
            survivors: [1; Level::COUNT],
            rejects: [false; Level::COUNT],
        };
        self.stages(&work).iter().sum()
    }
}

/// The image encoder with its visual head.
fn encoder(config: &SedConfig) -> usize {
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
    stem + stages.sum::<usize>() + head
}

/// The projections of an image's features to skip guidance.
fn guidance_projections(config: &SedConfig) -> usize {
    let level = |level: usize| {
        let (inputs, outputs) = (config.vision.dims[2 - level], config.decoder.guidance_dims[level]);
        after(config, level) * 3 * 3 * inputs * outputs
    };
    (0..Level::COUNT).map(level).sum()
}

/// Cosine similarities of a category's prompts with every position.
fn similarities(config: &SedConfig) -> usize {
    area(config, 32) * PROMPTS * config.embed_dim
}

/// The first convolution over the cost map.
fn embedding(config: &SedConfig) -> usize {
    area(config, 32) * EMBEDDING_KERNEL.pow(2) * PROMPTS * config.decoder.hidden_dim
}

/// Feature aggregation over positions and over categories at level 0, 1 or 2.
fn aggregation(config: &SedConfig, level: usize) -> usize {
    let (decoder, input) = (&config.decoder, config.decoder.level_inputs()[level]);
    // Queries, keys, values, the two layers behind them; then keys by values, queries by that, queries by the
    // sum of the keys.
    let attention = 11 * input * input + 2 * input * (input / decoder.attention_heads) + input;
    area(config, 32 >> level) * (next_block(input, decoder.kernel_size) + attention)
}

/// Cost-map guidance for a level, from that of the level before.
fn cost_guidance(config: &SedConfig, level: usize) -> usize {
    let dims = &config.decoder.corr_guidance_dims;
    let below = if level == 0 { PROMPTS } else { dims[level - 1] };
    after(config, level) * below * dims[level]
}

/// Skip-layer fusion in the official order: upsampling, then two 3×3 convolutions.
fn fusion_in_order(config: &SedConfig, level: usize) -> usize {
    let (decoder, input) = (&config.decoder, config.decoder.level_inputs()[level]);
    let (output, guidance) = (decoder.dims[level], decoder.guidance_dims[level]);
    let up = input - guidance;
    let convolutions = 3 * 3 * output * (up + guidance + decoder.corr_guidance_dims[level] + output);
    after(config, level) * (input * up + convolutions)
}

/// Skip-layer fusion as it is computed: upsampling is a 2×2 part of the first convolution, and its part over the
/// image's guidance is there already ([`guide`]).
fn fusion_folded(config: &SedConfig, level: usize) -> usize {
    let (decoder, input) = (&config.decoder, config.decoder.level_inputs()[level]);
    let output = decoder.dims[level];
    after(config, level) * output * (2 * 2 * input + 3 * 3 * (decoder.corr_guidance_dims[level] + output))
}

/// The part of a level's first convolution over the image's guidance.
fn guide(config: &SedConfig, level: usize) -> usize {
    after(config, level) * 3 * 3 * config.decoder.guidance_dims[level] * config.decoder.dims[level]
}

/// The head behind level 0, 1 or 2.
fn head(config: &SedConfig, level: usize) -> usize {
    after(config, level) * 3 * 3 * config.decoder.dims[level]
}

/// Depthwise convolution, then four times as wide and back, at one position.
fn next_block(dim: usize, kernel: usize) -> usize {
    kernel * kernel * dim + 2 * dim * 4 * dim
}

/// Positions of a map whose side is the input's by `stride`.
fn area(config: &SedConfig, stride: usize) -> usize {
    (config.image_size / stride).pow(2)
}

/// Positions behind level 0, 1 or 2.
fn after(config: &SedConfig, level: usize) -> usize {
    area(config, 16 >> level)
}

#[cfg(test)]
mod tests;
