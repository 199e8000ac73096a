//! Square convolutions.

use candle_core::{Result, Tensor};

use super::wing::layer;
use crate::specs::{Activation, DevicePairs};

layer! {
    /// `activation(conv(x) + bias)`, stride 1, zero padding that keeps the size.
    pub struct Conv2d;

    /// Creates the layer from `weight [out, in, size, size]` (odd size) and `bias [out]`.
    pub fn new(weight: &Tensor, bias: Option<&Tensor>) on weight.device();

    /// `x [n, height, width, in]` to `[n, height, width, out]`.
    pub fn forward(&self, x: &Tensor, activation: Activation) -> Result<Tensor>;

    on_device {
        /// As [`Conv2d::forward`] for pairs: `x [capacity, height, width, in]`.
        pub fn forward_pairs(&self, x: &Tensor, activation: Activation, pairs: &DevicePairs) -> Result<Tensor>;
    }
}
