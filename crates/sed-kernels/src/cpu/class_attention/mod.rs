//! Class attention: linear attention over the categories of one image, for every pixel on its own,
//! followed by its feed-forward layer, in one pass over tiles of pixels.
//!
//! Pixels are independent and categories of different images never meet, so a batch of any mix of
//! images is a list of segments; what an image gets does not depend on its neighbours in the batch.
//!
//! An image with more categories than fit the memory goes through in parts: first the sums over all of
//! them ([`ClassAttention::add_sums`]), then each part's output ([`ClassAttention::finish_part`]), with
//! the very same additions in the same order.

mod pixel;
mod sums;
#[cfg(test)]
mod tests;
mod tile;

use candle_core::{Result, Tensor, bail};

use crate::cpu::layer_norm::LayerNorm;
use crate::cpu::memory::{SharedMut, Values, cpu_values, from_values, require_cpu, to_vec, written};
use crate::cpu::product::pack::PackedMatrix;
use crate::cpu::scratch::with_scratch;
use crate::parallel;
use crate::simd::Isa;
use crate::specs::{ClassAttentionWeights, attention_dims, check_offsets};
use pixel::Heads;
use tile::{Tile, Work, run_attention_tile};

/// The layer with packed weights.
#[derive(Debug, Clone)]
pub(crate) struct ClassAttention {
    heads: usize,
    norm1: LayerNorm,
    /// Query, key and value side by side: `[C, 3C]`.
    qkv: PackedMatrix,
    qkv_bias: Vec<f32>,
    norm2: LayerNorm,
    expand: PackedMatrix,
    expand_bias: Vec<f32>,
    contract: PackedMatrix,
    contract_bias: Vec<f32>,
}

impl ClassAttention {
    /// Packs the weights; `eps` is that of both norms.
    pub(crate) fn new(weights: &ClassAttentionWeights<'_>, heads: usize, eps: f64) -> Result<Self> {
        let (hidden, channels) = weights.expand.0.dims2()?;
        if heads == 0 || channels % heads != 0 {
            bail!("class attention: {channels} channels do not divide into {heads} heads");
        }
        let (qkv, bias) = weights.qkv()?;
        let dtype = qkv.dtype();
        Ok(Self {
            heads,
            norm1: LayerNorm::new(weights.norm1.0, weights.norm1.1, eps)?,
            qkv: PackedMatrix::from_out_in(&to_vec(&qkv)?, 3 * channels, channels, dtype),
            qkv_bias: to_vec(&bias)?,
            norm2: LayerNorm::new(weights.norm2.0, weights.norm2.1, eps)?,
            expand: PackedMatrix::from_out_in(&to_vec(weights.expand.0)?, hidden, channels, dtype),
            expand_bias: to_vec(weights.expand.1)?,
            contract: PackedMatrix::from_out_in(&to_vec(weights.contract.0)?, channels, hidden, dtype),
            contract_bias: to_vec(weights.contract.1)?,
        })
    }

    /// As [`crate::ClassAttention::forward`].
    pub(crate) fn forward(&self, x: &Tensor, offsets: &[usize]) -> Result<Tensor> {
        require_cpu(x, "class attention")?;
        let (pairs, height, width, _) = attention_dims(x, self.norm1.channels())?;
        check_offsets(offsets, pairs)?;
        let y = self.forward_values(&cpu_values(x)?, height * width, offsets, Isa::best());
        from_values(y, x.shape())
    }

    fn forward_values(&self, x: &Values<'_>, pixels: usize, offsets: &[usize], isa: Isa) -> Vec<f32> {
        let tiles = Tile::count(pixels);
        let fill = |index: usize, out: SharedMut| {
            let (image, tile) = (index / tiles, index % tiles);
            let (first, end) = (offsets[image], offsets[image + 1]);
            let work = Work::new(self, end - first);
            with_scratch(work.len(), |scratch| {
                let tile = Tile::new(x, pixels, (first, end), tile);
                // SAFETY: tiles write disjoint pixels of disjoint pairs; the scratch has `work.len()`.
                unsafe { run_attention_tile(isa, self, tile, out, work, scratch) };
            });
        };
        // SAFETY: the segments cover all pairs, their tiles store every pixel.
        unsafe {
            written(x.len(), |y| {
                let out = SharedMut::new(y);
                parallel::each(tiles * (offsets.len() - 1), |index| fill(index, out));
            })
        }
    }

    fn heads(&self) -> Heads {
        Heads { channels: self.norm1.channels(), heads: self.heads }
    }
}
