//! Fully connected layers.

use candle_core::{Result, Tensor};

use super::Backend;
use crate::gemm::Activation;
use crate::{cuda, gemm as cpu};

/// `y = activation(x · Wᵀ + b)` over the last axis.
#[derive(Debug, Clone)]
pub struct Linear(Backend<cpu::Linear, cuda::Linear>);

impl Linear {
    /// Creates the layer from `weight [out, in]` (on the CPU f32 or bf16) and `bias [out]`; inputs are
    /// rounded to the weight's dtype.
    pub fn new(weight: &Tensor, bias: Option<&Tensor>) -> Result<Self> {
        Ok(Self(if cuda::takes(weight) {
            Backend::Cuda(cuda::Linear::new(weight, bias)?)
        } else {
            Backend::Cpu(cpu::Linear::new(weight, bias)?)
        }))
    }

    /// Input width.
    pub fn inputs(&self) -> usize {
        match &self.0 {
            Backend::Cpu(linear) => linear.inputs(),
            Backend::Cuda(linear) => linear.inputs(),
        }
    }

    /// Output width.
    pub fn outputs(&self) -> usize {
        match &self.0 {
            Backend::Cpu(linear) => linear.outputs(),
            Backend::Cuda(linear) => linear.outputs(),
        }
    }

    /// `x [.., in]` to `[.., out]`.
    pub fn forward(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        match &self.0 {
            Backend::Cpu(linear) => linear.forward(x, activation),
            Backend::Cuda(linear) => linear.forward(x, activation),
        }
    }
}
