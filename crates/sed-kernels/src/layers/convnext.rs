//! ConvNeXt blocks.

use candle_core::{Result, Tensor};

use super::Backend;
use crate::convnext_block::{self as cpu, ConvNextWeights};
use crate::cuda;

/// `x + scale · W₂ gelu(W₁ norm(depthwise(x)))`.
#[derive(Debug, Clone)]
pub struct ConvNextBlock(Backend<cpu::ConvNextBlock, cuda::ConvNextBlock>);

impl ConvNextBlock {
    /// Creates the block from its weights; `eps` is the layer norm's epsilon.
    pub fn new(weights: &ConvNextWeights<'_>, eps: f64) -> Result<Self> {
        Ok(Self(if cuda::takes(weights.expand_weight) {
            Backend::Cuda(cuda::ConvNextBlock::new(weights, eps)?)
        } else {
            Backend::Cpu(cpu::ConvNextBlock::new(weights, eps)?)
        }))
    }

    /// `x [n, height, width, C]` to the same shape.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match &self.0 {
            Backend::Cpu(block) => block.forward(x),
            Backend::Cuda(block) => block.forward(x),
        }
    }
}
