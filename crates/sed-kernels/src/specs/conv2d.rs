//! Checks of square convolutions.

use candle_core::{Result, Tensor, bail};

/// Returns the sizes `(out, in, size)` of `weight [out, in, size, size]`, which a bias must fit.
pub(crate) fn conv_sizes(weight: &Tensor, bias: Option<&Tensor>) -> Result<(usize, usize, usize)> {
    let (out, inputs, size, width) = weight.dims4()?;
    if size != width || size % 2 == 0 {
        bail!("convolution: weight {:?} is not [out, in, odd, odd]", weight.shape());
    }
    if bias.is_some_and(|bias| bias.elem_count() != out) {
        bail!("convolution: the bias does not have {out} values");
    }
    Ok((out, inputs, size))
}
