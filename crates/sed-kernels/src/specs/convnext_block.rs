//! Weights of ConvNeXt blocks.

use candle_core::{Result, Tensor, bail};

/// The tensors of a block, in torch's layouts; C channels.
#[derive(Debug, Clone, Copy)]
pub struct ConvNextWeights<'a> {
    /// `[C, 1, k, k]`
    pub depthwise_weight: &'a Tensor,
    /// `[C]`
    pub depthwise_bias: &'a Tensor,
    /// `[C]`
    pub norm_weight: &'a Tensor,
    /// `[C]`
    pub norm_bias: &'a Tensor,
    /// `[4C, C]`
    pub expand_weight: &'a Tensor,
    /// `[4C]`
    pub expand_bias: &'a Tensor,
    /// `[C, 4C]`
    pub contract_weight: &'a Tensor,
    /// `[C]`
    pub contract_bias: &'a Tensor,
    /// `[C]`
    pub layer_scale: &'a Tensor,
}

impl ConvNextWeights<'_> {
    /// Returns the channels of the block and its hidden channels, which all weights must fit.
    pub(crate) fn sizes(&self) -> Result<(usize, usize)> {
        let (hidden, channels) = self.expand_weight.dims2()?;
        let (out, inner) = self.contract_weight.dims2()?;
        if (out, inner) != (channels, hidden) || channels != self.depthwise_weight.dim(0)? || channels == 0 {
            bail!(
                "convnext block: expand {hidden}×{channels} and contract {out}×{inner} do not fit together"
            );
        }
        Ok((channels, hidden))
    }
}
