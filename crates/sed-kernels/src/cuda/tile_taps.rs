//! Weights of the convolutions on tensor cores (convolve_tile.cuh), in the order in which their lanes read them.

use candle_core::{DType, Device, Result, Tensor, bail};

use super::launch::WARP;
use crate::specs::on_host;

/// Dynamic shared memory of a block at most, in bytes.
const SHARED_BYTES: usize = 48 * 1024;
/// Products of a step: `k` of m16n8k16.
const STEP: usize = 16;
/// Outputs of a product: `n` of m16n8k16.
const TILE: usize = 8;

/// An instance of the kernels: the constants that it is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tile {
    /// Its name without the format's suffix.
    pub(super) kernel: &'static str,
    /// Channels of the first input that are in shared memory together.
    pub(super) channels: usize,
    /// Outputs of a block.
    pub(super) columns: usize,
    /// Warps of a block that share its outputs; each has as many.
    pub(super) across: usize,
    /// Pixels of the first input that a block has, down and across.
    pub(super) pixels: [usize; 2],
}

const fn tile(
    kernel: &'static str,
    channels: usize,
    [columns, across]: [usize; 2],
    pixels: [usize; 2],
) -> Tile {
    Tile { kernel, channels, columns, across, pixels }
}

/// Of convolve_tensor.cu, 7×7.
const EMBEDDING: Tile = tile("convolve7_80", 80, [128, 2], [8, 8]);
/// Of convolve_tensor.cu, 3×3 through a normalised input.
const NORMED: [Tile; 3] = [
    tile("convolve3_normed64", 64, [64, 1], [16, 8]),
    tile("convolve3_normed32", 32, [32, 1], [16, 16]),
    tile("convolve3_normed16", 16, [16, 1], [16, 16]),
];
/// Of convolve_tensor.cu, any size: for up to 16 outputs in a block, the others for up to 32.
const ANY: [Tile; 6] = [
    tile("convolve_any64_16", 64, [16, 1], [8, 8]),
    tile("convolve_any16_16", 16, [16, 1], [8, 8]),
    tile("convolve_any8_16", 8, [16, 1], [8, 8]),
    tile("convolve_any64_32", 64, [32, 1], [8, 8]),
    tile("convolve_any16_32", 16, [32, 1], [8, 8]),
    tile("convolve_any8_32", 8, [32, 1], [8, 8]),
];
/// Of convolve_phases.cu, transposed.
const TRANSPOSED: [Tile; 3] = [
    tile("phases1_80", 80, [32, 1], [8, 8]),
    tile("phases1_32", 32, [16, 1], [8, 8]),
    tile("phases1_16", 16, [8, 1], [8, 8]),
];
/// Of convolve_phases.cu, with the channels of the second input.
const FOLDED: [(Tile, usize); 3] = [
    (tile("phases2_128", 128, [64, 1], [4, 8]), 32),
    (tile("phases2_64", 64, [32, 1], [8, 8]), 16),
    (tile("phases2_32", 32, [16, 1], [8, 8]), 8),
];
/// Of normed_head.cu.
const HEADS: [Tile; 3] = [
    tile("normed_head64", 64, [8, 1], [16, 8]),
    tile("normed_head32", 32, [8, 1], [16, 16]),
    tile("normed_head16", 16, [8, 1], [16, 16]),
];

impl Tile {
    /// The instance for a plain convolution, if tensor cores compute the format and channels come in eights.
    pub(super) fn plain(dtype: DType, size: usize, inputs: usize, outputs: usize) -> Option<Self> {
        if !has_tensor_cores(dtype) || !outputs.is_multiple_of(8) {
            return None;
        }
        if (size, inputs) == (7, EMBEDDING.channels) && outputs.is_multiple_of(EMBEDDING.columns) {
            return Some(EMBEDDING);
        }
        let narrow = if outputs <= 16 { 16 } else { 32 };
        ANY.into_iter().find(|tile| {
            tile.columns == narrow
                && inputs.is_multiple_of(tile.channels)
                && tile.shared_bytes(size - 1) <= SHARED_BYTES
        })
    }

    /// The instance for a 3×3 convolution between as many channels, through a normalised input.
    pub(super) fn normed(dtype: DType, channels: usize) -> Option<Self> {
        Self::of_channels(&NORMED, dtype, channels)
    }

    /// The instance for a transposed convolution.
    pub(super) fn transposed(dtype: DType, inputs: usize, outputs: usize) -> Option<Self> {
        Self::of_channels(&TRANSPOSED, dtype, inputs).filter(|tile| tile.columns == outputs)
    }

    /// The instance for a transposed convolution folded into the one behind it, beside a second input.
    pub(super) fn folded(dtype: DType, inputs: usize, second: usize, outputs: usize) -> Option<Self> {
        let suits = |(tile, channels): &(Self, usize)| {
            (tile.channels, *channels, tile.columns) == (inputs, second, outputs)
        };
        FOLDED.iter().copied().find(suits).map(|(tile, _)| tile).filter(|_| has_tensor_cores(dtype))
    }

    /// The instance for a head through a normalised input.
    pub(super) fn head(dtype: DType, channels: usize) -> Option<Self> {
        Self::of_channels(&HEADS, dtype, channels)
    }

    fn of_channels(tiles: &[Self], dtype: DType, channels: usize) -> Option<Self> {
        tiles.iter().copied().find(|tile| tile.channels == channels).filter(|_| has_tensor_cores(dtype))
    }

    /// Tiles of an image.
    pub(super) fn count(&self, height: usize, width: usize) -> usize {
        height.div_ceil(self.pixels[0]) * width.div_ceil(self.pixels[1])
    }

    /// Bytes of the first input in shared memory, with `beyond` pixels more down and across.
    pub(super) fn shared_bytes(&self, beyond: usize) -> usize {
        (self.pixels[0] + beyond) * (self.pixels[1] + beyond) * pixel_bytes(self.channels)
    }
}

/// Bytes from one pixel to the next in shared memory: `PIXEL` of convolve_tile.cuh.
pub(super) fn pixel_bytes(channels: usize) -> usize {
    2 * if channels.is_multiple_of(STEP) { channels + 8 } else { channels }
}

fn has_tensor_cores(dtype: DType) -> bool {
    matches!(dtype, DType::BF16 | DType::F16)
}

/// The weights of a convolution by one of the instances.
#[derive(Debug, Clone)]
pub(super) struct TileTaps {
    pub(super) tile: Tile,
    pub(super) stream: Tensor,
    pub(super) size: usize,
    pub(super) outputs: usize,
}

impl TileTaps {
    /// Arranges `weight [phases · size² · in, out]` for `tile`; with `channels` an input's own number where the tile
    /// names that of another one.
    pub(super) fn new(
        weight: &Tensor,
        (phases, size): (usize, usize),
        tile: Tile,
        channels: usize,
    ) -> Result<Self> {
        let (rows, outputs) = weight.dims2()?;
        let (taps, device, dtype) = (size * size, weight.device(), weight.dtype());
        if rows % (phases * taps * channels) != 0 {
            bail!(
                "convolution: {rows} rows of weights are not {phases} × {taps} taps of {channels} channels"
            );
        }
        let values: Vec<f32> = on_host(weight)?.flatten_all()?.to_vec1()?;
        let order = Order { taps, inputs: rows / phases / taps, outputs, channels };
        let mut stream = Vec::with_capacity(values.len() * 2);
        for phase in values.chunks_exact(rows / phases * outputs) {
            for first in (0..outputs).step_by(tile.columns) {
                order.push(&mut stream, phase, first, tile);
            }
        }
        // The step that lanes load while they multiply the last one.
        stream.resize(stream.len() + STEP * tile.columns, 0.0);
        let count = stream.len();
        let stream = Tensor::from_vec(stream, count, &Device::Cpu)?.to_dtype(dtype)?.to_device(device)?;
        Ok(Self { tile, stream, size, outputs })
    }
}

/// The layout of weights `[taps, inputs, outputs]`, and the channels that a block has in shared memory together.
#[derive(Debug, Clone, Copy)]
struct Order {
    taps: usize,
    inputs: usize,
    outputs: usize,
    channels: usize,
}

impl Order {
    /// Appends the steps of outputs `first .. first + columns`: for each of 16 k, for each warp's outputs, for each
    /// lane two words of every tile of 8 outputs, tiles in pairs.
    fn push(self, stream: &mut Vec<f32>, weights: &[f32], first: usize, tile: Tile) {
        let of_warp = tile.columns / tile.across;
        let tiles = of_warp / TILE;
        // Tiles whose outputs a lane stores together.
        let together = tiles.min(4);
        for step in self.steps() {
            for (warp, pair) in (0..tile.across).flat_map(|w| (0..tiles.div_ceil(2)).map(move |p| (w, p))) {
                for lane in 0..WARP {
                    for c in pair * 2..tiles.min(pair * 2 + 2) {
                        // Column n of the product, of which lane n / 2 of four holds the result.
                        let n = lane / 4;
                        let run =
                            c / together * together * TILE + n / 2 * 2 * together + c % together * 2 + n % 2;
                        let output = first + warp * of_warp + run;
                        for i in 0..4 {
                            let k = lane % 4 * 2 + i % 2 + i / 2 * 8;
                            let (tap, channel) = step(k);
                            let there = tap < self.taps && output < self.outputs;
                            let at = (tap * self.inputs + channel) * self.outputs + output;
                            stream.push(if there { weights[at] } else { 0.0 });
                        }
                    }
                }
            }
        }
    }

    /// Tap and channel of each k of each step, as `multiply_taps` goes through them.
    fn steps(self) -> impl Iterator<Item = impl Fn(usize) -> (usize, usize)> {
        let Self { taps, inputs, channels, .. } = self;
        let chunks = inputs / channels;
        let paired = channels < STEP;
        let of_chunk = if paired { taps.div_ceil(2) } else { taps * channels / STEP };
        (0..chunks * of_chunk).map(move |i| {
            let (chunk, step) = (i / of_chunk, i % of_chunk);
            move |k: usize| {
                if paired {
                    (step * 2 + k / 8, chunk * channels + k % 8)
                } else {
                    let of_tap = channels / STEP;
                    (step / of_tap, chunk * channels + step % of_tap * STEP + k)
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instance_finds_its_shapes() {
        let name = |tile: Option<Tile>| tile.map_or("none", |tile| tile.kernel);
        assert_eq!(name(Tile::plain(DType::BF16, 7, 80, 128)), "convolve7_80");
        assert_eq!(name(Tile::plain(DType::BF16, 7, 80, 96)), "convolve_any16_32");
        assert_eq!(name(Tile::plain(DType::F16, 3, 512, 32)), "convolve_any64_32");
        assert_eq!(name(Tile::plain(DType::F16, 3, 24, 8)), "convolve_any8_16");
        assert_eq!(name(Tile::plain(DType::F16, 3, 20, 16)), "none");
        assert_eq!(name(Tile::plain(DType::F32, 3, 16, 16)), "none");
        // More edges than shared memory has room for.
        assert_eq!(name(Tile::plain(DType::BF16, 13, 64, 8)), "convolve_any16_16");
        assert_eq!(name(Tile::plain(DType::BF16, 63, 64, 8)), "none");
        assert_eq!(name(Tile::folded(DType::BF16, 64, 16, 32)), "phases2_64");
        assert_eq!(name(Tile::folded(DType::BF16, 64, 8, 32)), "none");
        assert_eq!(name(Tile::transposed(DType::BF16, 16, 16)), "none");
    }

    #[test]
    fn streams_have_every_weight_once() {
        // 3 taps squared of 8 channels to 40 outputs, in two blocks of 32 and steps of two taps.
        let (size, inputs, outputs) = (3, 8, 40);
        let rows = size * size * inputs;
        let weight: Vec<f32> = (1..=rows * outputs).map(|i| i as f32).collect();
        let weight = Tensor::from_vec(weight, (rows, outputs), &Device::Cpu).unwrap();
        let taps = TileTaps::new(&weight, (1, size), ANY[5], 8).unwrap();
        let mut values: Vec<f32> = taps.stream.to_vec1().unwrap();
        assert_eq!(values.len(), 2 * 5 * 16 * 32 + 16 * 32);
        values.retain(|&v| v != 0.0);
        values.sort_by(f32::total_cmp);
        assert!(values.iter().zip(1..).all(|(&v, i)| v == i as f32) && values.len() == rows * outputs);
    }
}
