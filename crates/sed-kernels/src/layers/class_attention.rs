//! Class attention, whole and in parts.

use candle_core::{Result, Tensor};

use super::wing::layer;
use crate::specs::{AttentionSums, ClassAttentionWeights, DevicePairs};

layer! {
    /// The layer `x + x2` of SED's feature aggregation: `x1 = x + attention(norm1(x))`,
    /// `x2 = x1 + W₂ relu(W₁ norm2(x1))`.
    pub struct ClassAttention;

    /// Creates the layer from its weights; `eps` is the epsilon of both norms.
    pub fn new(weights: &ClassAttentionWeights<'_>, heads: usize, eps: f64) on weights.query.0.device();

    /// `x [pairs, height, width, C]` to the same shape. `offsets` (one more than there are images,
    /// from 0 to `pairs`) says which pairs belong to which image.
    pub fn forward(&self, x: &Tensor, offsets: &[usize]) -> Result<Tensor>;

    /// The sums with those of one more part of the image's categories, `x [part, height, width, C]`. The
    /// parts together give exactly what [`ClassAttention::forward`] sums up.
    pub fn add_sums(&self, x: &Tensor, sums: &AttentionSums) -> Result<AttentionSums>;

    /// The layer for one part of an image's categories, `x [part, height, width, C]` to the same shape, from
    /// the sums over all of them.
    pub fn finish_part(&self, x: &Tensor, sums: &AttentionSums) -> Result<Tensor>;

    on_device {
        /// As [`ClassAttention::forward`] for `x [capacity, height, width, C]`, contiguous and in the
        /// weights' format; `pairs` says which rows belong to which image. Rows that do not count are
        /// unspecified in the result.
        pub fn forward_pairs(&self, x: &Tensor, pairs: &DevicePairs) -> Result<Tensor>;
    }
}
