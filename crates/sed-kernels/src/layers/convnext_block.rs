//! ConvNeXt blocks.

use candle_core::{Result, Tensor};

use super::wing::layer;
use crate::specs::ConvNextWeights;

layer! {
    /// `x + scale · W₂ gelu(W₁ norm(depthwise(x)))`.
    pub struct ConvNextBlock;

    /// Creates the block from its weights; `eps` is the layer norm's epsilon.
    pub fn new(weights: &ConvNextWeights<'_>, eps: f64) on weights.expand_weight.device();

    /// `x [n, height, width, C]` to the same shape.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor>;
}
