//! Layer norm.

use candle_core::{Result, Tensor};

use super::Backend;
use crate::{cuda, layer_norm as cpu};

/// Weight, bias and epsilon of a layer norm over `channels` values.
#[derive(Debug, Clone)]
pub struct LayerNorm(pub(super) Backend<cpu::LayerNorm, cuda::LayerNorm>);

impl LayerNorm {
    /// Creates the norm from `weight [channels]` and `bias [channels]`.
    pub fn new(weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Self> {
        Ok(Self(if cuda::takes(weight) {
            Backend::Cuda(cuda::LayerNorm::new(weight, bias, eps)?)
        } else {
            Backend::Cpu(cpu::LayerNorm::new(weight, bias, eps)?)
        }))
    }

    /// Number of values that are normalised together.
    pub fn channels(&self) -> usize {
        match &self.0 {
            Backend::Cpu(norm) => norm.channels(),
            Backend::Cuda(norm) => norm.channels(),
        }
    }

    /// Normalises `x [.., channels]`; the result has the dtype of `x`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match &self.0 {
            Backend::Cpu(norm) => norm.forward(x),
            Backend::Cuda(norm) => norm.forward(x),
        }
    }
}
