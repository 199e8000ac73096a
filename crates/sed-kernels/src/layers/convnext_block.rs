//! ConvNeXt blocks.

use candle_core::{Result, Tensor};

use super::wing::layer;
use crate::specs::{ConvNextWeights, DevicePairs};

layer! {
    /// `x + scale · W₂ gelu(W₁ norm(depthwise(x)))`.
    pub struct ConvNextBlock;

    /// Creates the block from its weights; `eps` is the layer norm's epsilon.
    pub fn new(weights: &ConvNextWeights<'_>, eps: f64) on weights.expand_weight.device();

    /// `x [n, height, width, C]` to the same shape.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor>;

    on_device {
        /// As [`ConvNextBlock::forward`] for `x [capacity, height, width, C]`, of which the pairs' rows count;
        /// rows behind them hold anything, before and after.
        pub fn forward_pairs(&self, x: &Tensor, pairs: &DevicePairs) -> Result<Tensor>;
    }
}
