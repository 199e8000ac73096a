//! Fully connected layers.

use candle_core::{Result, Tensor, bail};

use super::wing::layer;

/// Function that is applied to a sum before it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// Nothing.
    #[default]
    None,
    /// `max(x, 0)`.
    Relu,
    /// GELU in its exact form (with the error function).
    Gelu,
}

layer! {
    /// `y = activation(x · Wᵀ + b)` over the last axis.
    pub struct Linear;

    /// Creates the layer from `weight [out, in]` (on the CPU f32 or bf16) and `bias [out]`; inputs are
    /// rounded to the weight's dtype.
    pub fn new(weight: &Tensor, bias: Option<&Tensor>) on weight.device();

    /// `x [.., in]` to `[.., out]`.
    pub fn forward(&self, x: &Tensor, activation: Activation) -> Result<Tensor>;
}

impl Linear {
    /// Returns the sizes `(out, in)` of `weight [out, in]`, which a bias must fit.
    pub(crate) fn sizes(weight: &Tensor, bias: Option<&Tensor>) -> Result<(usize, usize)> {
        let (out, inputs) = weight.dims2()?;
        if let Some(bias) = bias
            && bias.elem_count() != out
        {
            bail!("linear: bias has {} values, the weight has {out} rows", bias.elem_count());
        }
        Ok((out, inputs))
    }

    /// Returns the shape `[.., out]` of the result for `x [.., in]`.
    pub(crate) fn shape(x: &Tensor, inputs: usize, outputs: usize) -> Result<Vec<usize>> {
        let mut shape = x.dims().to_vec();
        let Some(width) = shape.last_mut() else { bail!("linear: the input is a scalar") };
        if *width != inputs {
            bail!("linear: the input is {width} wide, the weight takes {inputs}");
        }
        *width = outputs;
        Ok(shape)
    }
}
