//! Depthwise convolutions.

use candle_core::{Result, Tensor};

use super::wing::layer;

layer! {
    /// A depthwise convolution, stride 1, zero padding that keeps the size.
    pub struct DepthwiseConv;

    /// Creates the layer from `weight [channels, 1, size, size]` with an odd size (on CUDA 3, 5, 7 or 9), and
    /// `bias [channels]`.
    pub fn new(weight: &Tensor, bias: &Tensor) on weight.device();

    /// `x [n, height, width, channels]` to the same shape.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor>;
}
