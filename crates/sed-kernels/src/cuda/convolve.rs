//! Convolutions without patches in memory, for any format and shape (convolve.cu).

use candle_core::{Result, Tensor};

use super::epilogue::number;
use super::launch::Launch;
use super::memory::Output;
use crate::specs::Activation;

/// The weights of a convolution, `[phases · size² · in, out]`.
#[derive(Debug, Clone)]
pub(super) struct Taps {
    weight: Tensor,
    outputs: usize,
}

impl Taps {
    /// Creates the taps from `weight [phases · size² · in, out]`.
    pub(super) fn new(weight: &Tensor) -> Result<Self> {
        let (_, outputs) = weight.dims2()?;
        Ok(Self { weight: weight.contiguous()?, outputs })
    }
}

/// Values that are added to each output, f32.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bias<'a> {
    /// `[kinds, outputs]`
    pub(super) values: &'a Tensor,
    /// 1, or 16: one for every combination of edges that a pixel lies on (1 top, 2 bottom, 4 left, 8 right).
    pub(super) kinds: usize,
}

impl<'a> Bias<'a> {
    /// The same for all pixels: `values [outputs]`.
    pub(super) fn plain(values: &'a Tensor) -> Self {
        Self { values, kinds: 1 }
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
    /// A second input of the result's size, with its weights and the size of its kernel.
    pub(super) second: Option<(&'a Tensor, &'a Taps, usize)>,
    pub(super) bias: Option<Bias<'a>>,
    /// Maps that are added, and which of them to each image.
    pub(super) guide: Option<(&'a Tensor, &'a Tensor)>,
    /// `[1]`: images that count.
    pub(super) live: Option<&'a Tensor>,
    pub(super) activation: Activation,
}

impl<'a> Convolve<'a> {
    /// A convolution of `x` that keeps its size, with nothing added.
    pub(super) fn new(x: &'a Tensor, weight: &'a Taps, size: usize) -> Self {
        let activation = Activation::None;
        Self { x, weight, size, step: 1, second: None, bias: None, guide: None, live: None, activation }
    }

    /// The kernel's name, its tile (pixels, outputs) and the threads of a block.
    fn kernel(&self) -> (&'static str, [usize; 2], usize) {
        match self.weight.outputs {
            0..=16 => ("convolve16", [128, 16], 128),
            17..=32 => ("convolve32", [128, 32], 256),
            _ => ("convolve64", [64, 64], 256),
        }
    }

    /// `[n, step · height, step · width, outputs]`; all tensors but the bias (f32) have one dtype.
    pub(super) fn run(&self) -> Result<Tensor> {
        let (n, height, width, channels) = self.x.dims4()?;
        let outputs = self.weight.outputs;
        let (kernel, [rows, columns], threads) = self.kernel();
        let grid = [(n * height * width).div_ceil(rows), outputs.div_ceil(columns), self.step * self.step];
        let shape = (n, self.step * height, self.step * width, outputs);
        let mut y = Output::new(self.x.device(), self.x.dtype(), shape)?;
        let x2 = self.second.map(|second| second.0);
        Launch::new(kernel, self.x.dtype(), grid, threads)?
            .input(self.x)?
            .input(&self.weight.weight)?
            .optional(x2)?
            .optional(self.second.map(|second| &second.1.weight))?
            .optional(self.bias.map(|bias| bias.values))?
            .optional(self.guide.map(|guide| guide.0))?
            .optional(self.guide.map(|guide| guide.1))?
            .optional(self.live)?
            .output(&mut y)?
            .i32(n)?
            .i32(height)?
            .i32(width)?
            .i32(channels)?
            .i32(self.size)?
            .i32(x2.map_or(Ok(0), |x| x.dim(3))?)?
            .i32(self.second.map_or(1, |second| second.2))?
            .i32(outputs)?
            .i32(self.step)?
            .i32(self.bias.map_or(1, |bias| bias.kinds))?
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
