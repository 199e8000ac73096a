//! Convolutions of patches.

use candle_core::{Result, Tensor};

use super::wing::layer;
use crate::specs::PatchConvWeights;

layer! {
    /// ConvNeXt's stem and downsampling layers: a convolution whose stride is its size, with the layer norm
    /// that goes before or after it.
    pub struct PatchConv;

    /// Creates the layer from its weights; `eps` is the epsilon of the norms.
    pub fn new(weights: &PatchConvWeights<'_>, eps: f64) on weights.weight.device();

    /// `x [n, height, width, in]` to `[n, height / size, width / size, out]`; both sides must be multiples of
    /// the size.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor>;
}
