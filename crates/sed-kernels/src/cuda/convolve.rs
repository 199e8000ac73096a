//! Convolutions without patches in memory (convolve.cu, convolve_tensor.cu).

use candle_core::{DType, Result, Tensor, bail};

use super::epilogue::number;
use super::launch::Launch;
use super::memory::Output;
use crate::specs::Activation;

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
    /// A second input of the result's size, with its weights (for the same kernel) and the size of its
    /// kernel.
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
