//! Convolutions to one channel: the decoder's heads, and head 0 composed with the convolution before it.

use candle_core::{Result, Tensor};

use super::wing::layer;
use crate::specs::ScalarTaps;

layer! {
    /// A convolution with one output channel, stride 1, zero padding that keeps the size.
    pub struct ScalarConv;

    /// Creates the layer from its taps.
    pub(crate) fn of(taps: ScalarTaps) on &taps.device;

    /// `x [n, height, width, in]` to `[n, height, width]` in f32.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor>;
}

impl ScalarConv {
    /// Creates the layer from `weight [1, in, size, size]` (odd size) and `bias [1]`.
    pub fn new(weight: &Tensor, bias: &Tensor) -> Result<Self> {
        Self::of(ScalarTaps::plain(weight, bias)?)
    }

    /// The composition `head(inner(x))` as one convolution: `inner_weight [mid, in, a, a]`,
    /// `inner_bias [mid]`, `head_weight [1, mid, b, b]`, `head_bias [1]`, both zero-padded; the result
    /// has size `a + b - 1` and equals the chain at the edges too.
    pub fn composed(
        inner_weight: &Tensor,
        inner_bias: &Tensor,
        head_weight: &Tensor,
        head_bias: &Tensor,
    ) -> Result<Self> {
        Self::of(ScalarTaps::composed((inner_weight, inner_bias), (head_weight, head_bias))?)
    }
}
