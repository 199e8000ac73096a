//! Checks of fully connected layers.

use candle_core::{Result, Tensor, bail};

/// Returns the sizes `(out, in)` of `weight [out, in]`, which a bias must fit.
pub(crate) fn linear_sizes(weight: &Tensor, bias: Option<&Tensor>) -> Result<(usize, usize)> {
    let (out, inputs) = weight.dims2()?;
    if let Some(bias) = bias
        && bias.elem_count() != out
    {
        bail!("linear: bias has {} values, the weight has {out} rows", bias.elem_count());
    }
    Ok((out, inputs))
}

/// Returns the shape `[.., out]` of the result for `x [.., in]`.
pub(crate) fn linear_shape(x: &Tensor, inputs: usize, outputs: usize) -> Result<Vec<usize>> {
    let mut shape = x.dims().to_vec();
    let Some(width) = shape.last_mut() else { bail!("linear: the input is a scalar") };
    if *width != inputs {
        bail!("linear: the input is {width} wide, the weight takes {inputs}");
    }
    *width = outputs;
    Ok(shape)
}
