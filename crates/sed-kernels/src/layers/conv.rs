//! Convolutions.

use candle_core::{Result, Tensor, bail};

use super::{Backend, LayerNorm};
use crate::gemm::Activation;
use crate::tensor::on_cpu;
use crate::{conv as cpu, cuda, depthwise};

/// `activation(conv(x) + bias)`, stride 1, zero padding that keeps the size.
#[derive(Debug, Clone)]
pub struct Conv2d(Backend<cpu::Conv2d, cuda::Conv2d>);

impl Conv2d {
    /// Creates the layer from `weight [out, in, size, size]` (odd size) and `bias [out]`.
    pub fn new(weight: &Tensor, bias: Option<&Tensor>) -> Result<Self> {
        Ok(Self(if cuda::takes(weight) {
            Backend::Cuda(cuda::Conv2d::new(weight, bias)?)
        } else {
            Backend::Cpu(cpu::Conv2d::new(weight, bias)?)
        }))
    }

    /// Output channels.
    pub fn outputs(&self) -> usize {
        match &self.0 {
            Backend::Cpu(conv) => conv.outputs(),
            Backend::Cuda(conv) => conv.outputs(),
        }
    }

    /// `x [n, height, width, in]` to `[n, height, width, out]`.
    pub fn forward(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        match &self.0 {
            Backend::Cpu(conv) => conv.forward(x, activation),
            Backend::Cuda(conv) => conv.forward(x, activation),
        }
    }
}

/// A depthwise convolution, stride 1, zero padding that keeps the size.
#[derive(Debug, Clone)]
pub struct DepthwiseConv(Backend<depthwise::DepthwiseConv, cuda::DepthwiseConv>);

impl DepthwiseConv {
    /// Creates the layer from `weight [channels, 1, size, size]` with an odd size (on CUDA 3, 5, 7 or 9), and
    /// `bias [channels]`.
    pub fn new(weight: &Tensor, bias: &Tensor) -> Result<Self> {
        Ok(Self(if cuda::takes(weight) {
            Backend::Cuda(cuda::DepthwiseConv::new(weight, bias)?)
        } else {
            Backend::Cpu(depthwise::DepthwiseConv::new(weight, bias)?)
        }))
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        match &self.0 {
            Backend::Cpu(conv) => conv.channels(),
            Backend::Cuda(conv) => conv.channels(),
        }
    }

    /// `x [n, height, width, channels]` to the same shape.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match &self.0 {
            Backend::Cpu(conv) => conv.forward(x),
            Backend::Cuda(conv) => conv.forward(x),
        }
    }
}

/// ConvNeXt's stem and downsampling layers: a convolution whose stride is its size, with the layer norm
/// that goes before or after it.
#[derive(Debug, Clone)]
pub struct PatchConv(Backend<cpu::PatchConv, cuda::PatchConv>);

impl PatchConv {
    /// Creates the layer from `weight [out, in, size, size]` and `bias [out]`; the norms are over `in` and
    /// `out` channels.
    pub fn new(
        weight: &Tensor,
        bias: &Tensor,
        norm_before: Option<LayerNorm>,
        norm_after: Option<LayerNorm>,
    ) -> Result<Self> {
        Ok(Self(if cuda::takes(weight) {
            let on = |norm: LayerNorm| match norm.0 {
                Backend::Cuda(norm) => Ok(norm),
                Backend::Cpu(_) => bail!("patch convolution: the norm is on another device"),
            };
            let (before, after) = (norm_before.map(on).transpose()?, norm_after.map(on).transpose()?);
            Backend::Cuda(cuda::PatchConv::new(weight, bias, before, after)?)
        } else {
            let on = |norm: LayerNorm| match norm.0 {
                Backend::Cpu(norm) => Ok(norm),
                Backend::Cuda(_) => bail!("patch convolution: the norm is on another device"),
            };
            let (before, after) = (norm_before.map(on).transpose()?, norm_after.map(on).transpose()?);
            Backend::Cpu(cpu::PatchConv::new(weight, bias, before, after)?)
        }))
    }

    /// `x [n, height, width, in]` to `[n, height / size, width / size, out]`; both sides must be
    /// multiples of the size.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match &self.0 {
            Backend::Cpu(conv) => conv.forward(x),
            Backend::Cuda(conv) => conv.forward(x),
        }
    }
}

/// A convolution with one output channel, stride 1, zero padding that keeps the size.
#[derive(Debug, Clone)]
pub struct ScalarConv(Backend<cpu::ScalarConv, cuda::ScalarConv>);

impl ScalarConv {
    /// Creates the layer from `weight [1, in, size, size]` (odd size) and `bias [1]`.
    pub fn new(weight: &Tensor, bias: &Tensor) -> Result<Self> {
        let conv = cpu::ScalarConv::new(&on_cpu(weight)?, &on_cpu(bias)?)?;
        Self::on_device_of(weight, conv)
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
        let (inner, bias) = (on_cpu(inner_weight)?, on_cpu(inner_bias)?);
        let conv = cpu::ScalarConv::composed(&inner, &bias, &on_cpu(head_weight)?, &on_cpu(head_bias)?)?;
        Self::on_device_of(inner_weight, conv)
    }

    fn on_device_of(weight: &Tensor, conv: cpu::ScalarConv) -> Result<Self> {
        Ok(Self(if cuda::takes(weight) {
            Backend::Cuda(cuda::ScalarConv::new(&conv, weight.device())?)
        } else {
            Backend::Cpu(conv)
        }))
    }

    /// `x [n, height, width, in]` to `[n, height, width]` in f32.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match &self.0 {
            Backend::Cpu(conv) => conv.forward(x),
            Backend::Cuda(conv) => conv.forward(x),
        }
    }
}
