//! Convolutions without patches in memory (convolve.cu, convolve_tensor.cu), and the layers that are one.

use candle_core::{DType, Result, Tensor, bail};

use super::epilogue::number;
use super::launch::Launch;
use super::linear::vector;
use super::memory::Output;
use crate::gemm::Activation;

/// The weights of a convolution, laid out for the kernel that reads them.
#[derive(Debug, Clone)]
pub(super) struct Taps {
    /// For tensor cores `[phases · out, size² · in]`, otherwise `[phases · size² · in, out]`.
    weight: Tensor,
    outputs: usize,
    kernel: Kernel,
}

/// The kernel of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kernel {
    /// convolve.cu: f32 multiply-adds, any shape.
    MultiplyAdd,
    /// convolve_tensor.cu: tensor cores, 16-bit formats, channels and outputs in eights.
    TensorCores,
}

impl Kernel {
    /// The fastest for inputs of so many `channels` each, and so many outputs.
    pub(super) fn suiting(dtype: DType, channels: &[usize], outputs: usize) -> Self {
        let eights = channels.iter().chain([&outputs]).all(|count| count.is_multiple_of(8));
        if eights && matches!(dtype, DType::BF16 | DType::F16) {
            Self::TensorCores
        } else {
            Self::MultiplyAdd
        }
    }
}

impl Taps {
    /// Creates the taps from `weight [phases · size² · in, out]`, in the layout that `kernel` reads.
    pub(super) fn new(weight: &Tensor, phases: usize, kernel: Kernel) -> Result<Self> {
        let (rows, outputs) = weight.dims2()?;
        let weight = match kernel {
            Kernel::MultiplyAdd => weight.contiguous()?,
            Kernel::TensorCores => {
                let by_phase = weight.reshape((phases, rows / phases, outputs))?;
                by_phase.transpose(1, 2)?.contiguous()?.reshape((phases * outputs, rows / phases))?
            }
        };
        Ok(Self { weight, outputs, kernel })
    }

    /// Creates the taps from the `weight [out, in, size, size]` of a plain convolution.
    pub(super) fn of(weight: &Tensor, kernel: Kernel) -> Result<Self> {
        Self::new(&taps(weight)?, 1, kernel)
    }

    pub(super) fn outputs(&self) -> usize {
        self.outputs
    }

    pub(super) fn dtype(&self) -> DType {
        self.weight.dtype()
    }
}

/// A launch of one of the kernels; the names and meanings are those of `convolve.cu`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Convolve<'a> {
    /// `[n, height, width, channels]`
    pub(super) x: &'a Tensor,
    pub(super) weight: &'a Taps,
    pub(super) size: usize,
    /// 1, or 2 for a result of twice the size.
    pub(super) step: usize,
    /// A second input of the result's size, with its weights (for the same kernel) and the size of its kernel.
    pub(super) second: Option<(&'a Tensor, &'a Taps, usize)>,
    pub(super) bias: Option<&'a Tensor>,
    /// Maps that are added, and which of them to each image.
    pub(super) guide: Option<(&'a Tensor, &'a Tensor)>,
    pub(super) activation: Activation,
}

impl<'a> Convolve<'a> {
    /// A convolution of `x` that keeps its size, with nothing added.
    pub(super) fn new(x: &'a Tensor, weight: &'a Taps, size: usize) -> Self {
        let activation = Activation::None;
        Self { x, weight, size, step: 1, second: None, bias: None, guide: None, activation }
    }

    /// The kernel's name, its tile (pixels, outputs) and the threads of a block.
    fn launch(&self) -> (&'static str, [usize; 2], usize) {
        match (self.weight.kernel, self.weight.outputs) {
            (Kernel::MultiplyAdd, 0..=16) => ("convolve16", [128, 16], 128),
            (Kernel::MultiplyAdd, 17..=32) => ("convolve32", [128, 32], 256),
            (Kernel::MultiplyAdd, _) => ("convolve64", [64, 64], 256),
            (Kernel::TensorCores, 0..=16) => ("convolve_tensor16", [128, 16], 128),
            (Kernel::TensorCores, 17..=32) => ("convolve_tensor32", [128, 32], 128),
            (Kernel::TensorCores, _) => ("convolve_tensor64", [128, 64], 128),
        }
    }

    /// `[n, step · height, step · width, outputs]`; all tensors but the bias (f32) have one dtype.
    pub(super) fn run(&self) -> Result<Tensor> {
        let (n, height, width, channels) = self.x.dims4()?;
        let outputs = self.weight.outputs;
        let (kernel, [rows, columns], threads) = self.launch();
        let grid = [(n * height * width).div_ceil(rows), outputs.div_ceil(columns), self.step * self.step];
        let shape = (n, self.step * height, self.step * width, outputs);
        let mut y = Output::new(self.x.device(), self.x.dtype(), shape)?;
        let (x2, weight2, size2) = match self.second {
            Some((_, weight, _)) if weight.kernel != self.weight.kernel => {
                bail!("convolution: the weights of both inputs must be laid out for one kernel")
            }
            Some((x, weight, size)) => (Some(x), Some(&weight.weight), size),
            None => (None, None, 1),
        };
        Launch::new(kernel, self.x.dtype(), grid, threads)?
            .input(self.x)?
            .input(&self.weight.weight)?
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
    weight: Taps,
    bias: Option<Tensor>,
    inputs: usize,
    size: usize,
}

impl Conv2d {
    /// Creates the layer from `weight [out, in, size, size]` (odd size) and `bias [out]`.
    pub(crate) fn new(weight: &Tensor, bias: Option<&Tensor>) -> Result<Self> {
        let (out, inputs, size, width) = weight.dims4()?;
        if size != width || size % 2 == 0 {
            bail!("convolution: weight {:?} is not [out, in, odd, odd]", weight.shape());
        }
        if bias.is_some_and(|bias| bias.elem_count() != out) {
            bail!("convolution: the bias does not have {out} values");
        }
        let kernel = Kernel::suiting(weight.dtype(), &[inputs], out);
        Ok(Self { weight: Taps::of(weight, kernel)?, bias: bias.map(vector).transpose()?, inputs, size })
    }

    pub(crate) fn outputs(&self) -> usize {
        self.weight.outputs()
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
            // For tensor cores: several tiles of everything, steps of k that are not whole.
            (3, 2, 9, 17, 24, 72),
            (7, 1, 6, 7, 40, 32),
            (3, 1, 12, 12, 8, 16),
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
