//! Weights of convolutions of patches.

use candle_core::{Result, Tensor, bail};

/// The tensors of the layer, in torch's layouts.
#[derive(Debug, Clone, Copy)]
pub struct PatchConvWeights<'a> {
    /// `[out, in, size, size]`
    pub weight: &'a Tensor,
    /// `[out]`
    pub bias: &'a Tensor,
    /// `[in]`, `[in]`: a layer norm of the input.
    pub norm_before: Option<(&'a Tensor, &'a Tensor)>,
    /// `[out]`, `[out]`: a layer norm of the output.
    pub norm_after: Option<(&'a Tensor, &'a Tensor)>,
}

impl PatchConvWeights<'_> {
    /// Returns the sizes `(out, in, size)` of the weight, which bias and norms must fit.
    pub(crate) fn sizes(&self) -> Result<(usize, usize, usize)> {
        let (out, inputs, size, width) = self.weight.dims4()?;
        let before = self.norm_before.is_none_or(|norm| norm.0.elem_count() == inputs);
        let after = self.norm_after.is_none_or(|norm| norm.0.elem_count() == out);
        if size != width || self.bias.elem_count() != out || !before || !after {
            bail!("patch convolution: weight {:?} does not fit its bias or norms", self.weight.shape());
        }
        Ok((out, inputs, size))
    }
}
