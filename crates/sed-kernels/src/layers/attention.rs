//! Class attention, whole and in parts.

use candle_core::{Result, Tensor, bail};

use super::Backend;
use crate::class_attention::{self as cpu, ClassAttentionWeights};
use crate::cuda;

/// The layer `x + x2` of SED's feature aggregation: `x1 = x + attention(norm1(x))`,
/// `x2 = x1 + W₂ relu(W₁ norm2(x1))`.
#[derive(Debug, Clone)]
pub struct ClassAttention(Backend<cpu::ClassAttention, cuda::ClassAttention>);

/// Sums over all categories of an image, for every pixel: of the keys, and of the products of keys and
/// values. Class attention reads nothing else of the other categories. The sums are `C / heads + 1` times as
/// large as one pair's map.
#[derive(Debug, Clone)]
pub struct AttentionSums(Sums);

/// On the CPU of the CPU's own form, on CUDA `[1, pixels, C / heads + 1, C]` in f32 or, without any sum yet,
/// the number of pixels.
#[derive(Debug, Clone)]
enum Sums {
    Cpu(cpu::AttentionSums),
    Cuda(Tensor),
    Empty(usize),
}

impl ClassAttention {
    /// Creates the layer from its weights; `eps` is the epsilon of both norms.
    pub fn new(weights: &ClassAttentionWeights<'_>, heads: usize, eps: f64) -> Result<Self> {
        Ok(Self(if cuda::takes(weights.query.0) {
            Backend::Cuda(cuda::ClassAttention::new(weights, heads, eps)?)
        } else {
            Backend::Cpu(cpu::ClassAttention::new(weights, heads, eps)?)
        }))
    }

    /// `x [pairs, height, width, C]` to the same shape. `offsets` (one more than there are images,
    /// from 0 to `pairs`) says which pairs belong to which image.
    pub fn forward(&self, x: &Tensor, offsets: &[usize]) -> Result<Tensor> {
        match &self.0 {
            Backend::Cpu(layer) => layer.forward(x, offsets),
            Backend::Cuda(layer) => layer.forward(x, offsets),
        }
    }

    /// The sums of no categories, for maps of `pixels` pixels.
    pub fn no_sums(&self, pixels: usize) -> AttentionSums {
        AttentionSums(match &self.0 {
            Backend::Cpu(layer) => Sums::Cpu(layer.no_sums(pixels)),
            Backend::Cuda(_) => Sums::Empty(pixels),
        })
    }

    /// The sums with those of one more part of the image's categories, `x [part, height, width, C]`. The
    /// parts together give exactly what [`ClassAttention::forward`] sums up.
    pub fn add_sums(&self, x: &Tensor, sums: &AttentionSums) -> Result<AttentionSums> {
        Ok(AttentionSums(match (&self.0, &sums.0) {
            (Backend::Cpu(layer), Sums::Cpu(sums)) => Sums::Cpu(layer.add_sums(x, sums)?),
            (Backend::Cuda(layer), Sums::Cuda(sums)) => Sums::Cuda(layer.add_sums(x, sums)?),
            (Backend::Cuda(layer), &Sums::Empty(pixels)) => {
                Sums::Cuda(layer.add_sums(x, &layer.no_sums(pixels)?)?)
            }
            _ => bail!("class attention: the sums are of another device"),
        }))
    }

    /// The layer for one part of an image's categories, `x [part, height, width, C]` to the same shape, from
    /// the sums over all of them.
    pub fn finish_part(&self, x: &Tensor, sums: &AttentionSums) -> Result<Tensor> {
        match (&self.0, &sums.0) {
            (Backend::Cpu(layer), Sums::Cpu(sums)) => layer.finish_part(x, sums),
            (Backend::Cuda(layer), Sums::Cuda(sums)) => layer.finish_part(x, sums),
            (Backend::Cuda(layer), &Sums::Empty(pixels)) => layer.finish_part(x, &layer.no_sums(pixels)?),
            _ => bail!("class attention: the sums are of another device"),
        }
    }
}
