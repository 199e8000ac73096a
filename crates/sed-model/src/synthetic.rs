//! Weights made by rule, bit for bit those of the reference outputs in `tests/golden` (its README describes
//! them): a test or a measurement needs no download, and every implementation can make the same ones. A model of
//! such weights finds nothing in a picture; it takes as much work as a trained one.

use std::collections::BTreeMap;

use rayon::prelude::*;
use safetensors::Dtype;

use crate::checkpoint::safe;
use crate::config::SedConfig;

/// Numbers that one task makes.
const CHUNK: usize = 1 << 16;

/// A `.safetensors` file of all weights of a model of these sizes. SED-B takes 0.7 GB and about a second.
pub fn safetensors(config: &SedConfig, seed: u64) -> Vec<u8> {
    let tensors: BTreeMap<String, Vec<usize>> =
        config.expected_tensors().into_iter().map(|tensor| (tensor.name, tensor.shape)).collect();
    let entries = tensors.iter().map(|(name, shape)| (name, shape.as_slice(), Dtype::F32));
    #[expect(clippy::expect_used, reason = "no two tensors have the same name")]
    let mut bytes = safe::header(entries).expect("the header of any sizes is valid");
    let numbers = tensors.values().map(|shape| shape.iter().product::<usize>()).sum::<usize>();
    let start = bytes.len();
    bytes.resize(start + 4 * numbers, 0);
    let mut rest = &mut bytes[start..];
    for (name, shape) in &tensors {
        let (tensor, after) = rest.split_at_mut(4 * shape.iter().product::<usize>());
        fill(name, shape, seed, tensor);
        rest = after;
    }
    bytes
}

/// The values of one tensor, row-major.
pub fn values(name: &str, shape: &[usize], seed: u64) -> Vec<f32> {
    let mut bytes = vec![0; 4 * shape.iter().product::<usize>()];
    fill(name, shape, seed, &mut bytes);
    bytes.as_chunks().0.iter().map(|&chunk| f32::from_le_bytes(chunk)).collect()
}

fn fill(name: &str, shape: &[usize], seed: u64, bytes: &mut [u8]) {
    let rule = Rule::of(name, shape, seed);
    let uniform = Uniform::of(name, seed);
    bytes.par_chunks_mut(4 * CHUNK).enumerate().for_each(|(chunk, bytes)| {
        for (value, i) in bytes.as_chunks_mut().0.iter_mut().zip((chunk * CHUNK) as u64..) {
            *value = rule.value(&uniform, i).to_le_bytes();
        }
    });
}

/// A stream of numbers in [-1, 1): splitmix64 from the FNV-1a hash of a name and a seed.
#[derive(Clone, Copy)]
struct Uniform(u64);

impl Uniform {
    fn of(name: &str, seed: u64) -> Self {
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(hash ^ seed)
    }

    fn at(self, i: u64) -> f32 {
        let z = self.0.wrapping_add((i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }
}

/// The rule that makes a tensor's values from its stream.
enum Rule {
    Constant(f32),
    /// `offset + scale * u`
    Affine {
        offset: f32,
        scale: f32,
    },
    /// `scale * (u + smooth)`, the second term constant over each kernel of `area` values: smooth kernels keep
    /// offsets between categories through the up-convolutions.
    Kernel {
        scale: f32,
        smooth: Uniform,
        area: u64,
    },
}

impl Rule {
    fn of(name: &str, shape: &[usize], seed: u64) -> Self {
        let affine = |offset, scale| Self::Affine { offset, scale };
        match shape {
            _ if name.ends_with("logit_scale") => Self::Constant(4.605_170_2),
            _ if name.ends_with(".gamma") => affine(0.5, 0.4),
            [_] if name.ends_with(".weight") => affine(1.0, 0.1),
            _ if name.ends_with("visual.trunk.head.norm.bias") => affine(0.0, 0.25),
            [_] => affine(0.0, 0.02),
            _ if name.ends_with("token_embedding.weight") => affine(0.0, 0.5),
            _ if name.ends_with("positional_embedding") => affine(0.0, 0.125),
            _ => Self::scaled(name, shape, seed),
        }
    }

    fn scaled(name: &str, shape: &[usize], seed: u64) -> Self {
        let corr = "decoder_corr_guidance_projection";
        let inputs_first =
            name.ends_with("text_projection") || name.ends_with(".up.weight") || name.contains(corr);
        let fan_in = if inputs_first { shape[0] } else { shape[1..].iter().product() };
        let gain = match name {
            _ if name.ends_with("attn.in_proj_weight") => 2.0,
            _ if name.ends_with("predictor.transformer.conv1.weight") => 4.0,
            _ if name.ends_with("decoder_corr_guidance_projection.0.0.weight") => 8.0,
            _ => 1.0,
        };
        let scale = |fan_in: usize| (gain * (3.0 / fan_in as f64).sqrt()) as f32;
        match shape {
            [_, _, height, width] if name.contains(".predictor.transformer.") && height * width > 1 => {
                let smooth = Uniform::of(&format!("{name}#dc"), seed);
                Self::Kernel { scale: scale(2 * fan_in), smooth, area: (height * width) as u64 }
            }
            _ => Self::Affine { offset: 0.0, scale: scale(fan_in) },
        }
    }

    fn value(&self, uniform: &Uniform, i: u64) -> f32 {
        match self {
            Self::Constant(value) => *value,
            Self::Affine { offset, scale } => offset + scale * uniform.at(i),
            Self::Kernel { scale, smooth, area } => scale * (uniform.at(i) + smooth.at(i / area)),
        }
    }
}
