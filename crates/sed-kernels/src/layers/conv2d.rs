//! Square convolutions.

use candle_core::{Result, Tensor, bail};

use super::Activation;
use super::wing::layer;

layer! {
    /// `activation(conv(x) + bias)`, stride 1, zero padding that keeps the size.
    pub struct Conv2d;

    /// Creates the layer from `weight [out, in, size, size]` (odd size) and `bias [out]`.
    pub fn new(weight: &Tensor, bias: Option<&Tensor>) on weight.device();

    /// `x [n, height, width, in]` to `[n, height, width, out]`.
    pub fn forward(&self, x: &Tensor, activation: Activation) -> Result<Tensor>;
}

impl Conv2d {
    /// Returns the sizes `(out, in, size)` of `weight [out, in, size, size]`, which a bias must fit.
    pub(crate) fn sizes(weight: &Tensor, bias: Option<&Tensor>) -> Result<(usize, usize, usize)> {
        let (out, inputs, size, width) = weight.dims4()?;
        if size != width || size % 2 == 0 {
            bail!("convolution: weight {:?} is not [out, in, odd, odd]", weight.shape());
        }
        if bias.is_some_and(|bias| bias.elem_count() != out) {
            bail!("convolution: the bias does not have {out} values");
        }
        Ok((out, inputs, size))
    }
}
