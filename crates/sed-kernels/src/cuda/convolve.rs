//! Convolutions without patches in memory (convolve.cu), and the layers that are one.

use candle_core::{DType, Result, Tensor, bail};

use super::epilogue::number;
use super::launch::Launch;
use super::linear::vector;
use super::memory::Output;
use crate::gemm::Activation;

/// A launch of `convolve.cu`; the names and meanings are its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Convolve<'a> {
    /// `[n, height, width, channels]`
    pub(super) x: &'a Tensor,
    /// `[step² · size² · channels, outputs]`
    pub(super) weight: &'a Tensor,
    pub(super) size: usize,
    /// 1, or 2 for a result of twice the size.
    pub(super) step: usize,
    /// A second input of the result's size, with its weights and the size of its kernel.
    pub(super) second: Option<(&'a Tensor, &'a Tensor, usize)>,
    pub(super) bias: Option<&'a Tensor>,
    /// Maps that are added, and which of them to each image.
    pub(super) guide: Option<(&'a Tensor, &'a Tensor)>,
    pub(super) activation: Activation,
}

impl<'a> Convolve<'a> {
    /// A convolution of `x` that keeps its size, with nothing added.
    pub(super) fn new(x: &'a Tensor, weight: &'a Tensor, size: usize) -> Self {
        let activation = Activation::None;
        Self { x, weight, size, step: 1, second: None, bias: None, guide: None, activation }
    }

    /// `[n, step · height, step · width, outputs]`; all tensors but the bias (f32) have one dtype.
    pub(super) fn run(&self) -> Result<Tensor> {
        let (n, height, width, channels) = self.x.dims4()?;
        let outputs = self.weight.dims()[1];
        let (kernel, rows, columns) = match outputs {
            0..=16 => ("convolve16", 128, 16),
            17..=32 => ("convolve32", 128, 32),
            _ => ("convolve64", 64, 64),
        };
        let grid = [(n * height * width).div_ceil(rows), outputs.div_ceil(columns), self.step * self.step];
        let shape = (n, self.step * height, self.step * width, outputs);
        let mut y = Output::new(self.x.device(), self.x.dtype(), shape)?;
        let (x2, weight2, size2) = match self.second {
            Some((x, weight, size)) => (Some(x), Some(weight), size),
            None => (None, None, 1),
        };
        Launch::new(kernel, self.x.dtype(), grid, rows * columns / 16)?
            .input(self.x)?
            .input(self.weight)?
            .optional(x2)?
            .optional(weight2)?
            .optional(self.bias)?
            .optional(self.guide.map(|guide| guide.0))?
            .optional(self.guide.map(|guide| guide.1))?
            .output(&mut y)?
            .i32(n)?
            .i32(height)?
            .i32(width)?
            .i32(channels)?
            .i32(self.size)?
            .i32(x2.map_or(Ok(0), |x| x.dim(3))?)?
            .i32(size2)?
            .i32(outputs)?
            .i32(self.step)?
            .i32(number(self.activation))?
            .run(self.x.device())?;
        Ok(y.into_tensor())
    }
}

/// `weight [out, in, size, size]` as `[size² · in, out]`.
pub(super) fn taps(weight: &Tensor) -> Result<Tensor> {
    let (out, inputs, size, _) = weight.dims4()?;
    weight.permute((2, 3, 1, 0))?.contiguous()?.reshape((size * size * inputs, out))
}

/// `activation(conv(x) + bias)`.
#[derive(Debug, Clone)]
pub(crate) struct Conv2d {
    weight: Tensor,
    bias: Option<Tensor>,
    inputs: usize,
    size: usize,
}

impl Conv2d {
    /// Takes `weight [out, in, size, size]` (odd size) and `bias [out]`.
    pub(crate) fn new(weight: &Tensor, bias: Option<&Tensor>) -> Result<Self> {
        let (out, inputs, size, width) = weight.dims4()?;
        if size != width || size % 2 == 0 {
            bail!("convolution: weight {:?} is not [out, in, odd, odd]", weight.shape());
        }
        if bias.is_some_and(|bias| bias.elem_count() != out) {
            bail!("convolution: the bias does not have {out} values");
        }
        Ok(Self { weight: taps(weight)?, bias: bias.map(vector).transpose()?, inputs, size })
    }

    pub(crate) fn outputs(&self) -> usize {
        self.weight.dims()[1]
    }

    pub(super) fn dtype(&self) -> DType {
        self.weight.dtype()
    }

    /// `x [n, height, width, in]` to `[n, height, width, out]` in the weight's dtype.
    pub(crate) fn forward(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        let (_, _, _, channels) = x.dims4()?;
        if channels != self.inputs {
            bail!("convolution: {channels} input channels, the weights have {}", self.inputs);
        }
        let x = x.to_dtype(self.dtype())?.contiguous()?;
        let bias = self.bias.as_ref();
        Convolve { bias, activation, ..Convolve::new(&x, &self.weight, self.size) }.run()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::testing::{DTYPES, assert_near, on_device};
    use crate::testing::{random, tensor};

    #[test]
    fn equals_the_cpu() {
        for (size, n, h, w, inputs, out) in [
            (3, 2, 7, 9, 5, 3),
            (7, 1, 6, 6, 40, 33),
            (3, 1, 6, 12, 20, 16),
            (3, 1, 1, 1, 2, 70),
            (1, 1, 3, 3, 8, 8),
        ] {
            let x = tensor(&random(n * h * w * inputs, 1), &[n, h, w, inputs]);
            let weight = tensor(&random(out * inputs * size * size, 2), &[out, inputs, size, size]);
            let bias = tensor(&random(out, 3), &[out]);
            for dtype in DTYPES {
                let (x, weight) = (on_device(&x, dtype), on_device(&weight, dtype));
                let bias = on_device(&bias, DType::F32);
                let cpu = crate::conv::Conv2d::new(&weight.rounded, Some(&bias.rounded)).unwrap();
                let want = cpu.forward(&x.rounded, Activation::Relu).unwrap();
                let conv = Conv2d::new(&weight.tensor, Some(&bias.tensor)).unwrap();
                let got = conv.forward(&x.tensor, Activation::Relu).unwrap();
                assert_near(&got, &want, dtype, &format!("{size} {n}×{h}×{w}×{inputs}→{out}"));
            }
        }
    }
}
