//! The tail of a matrix product.

use candle_core::{Result, Tensor};

use super::launch::Launch;
use super::memory::Output;
use crate::specs::Activation;

/// Threads of a block.
const THREADS: usize = 256;

/// `first + second + scale · activation(x + bias)`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Epilogue<'a> {
    /// `[columns]`, f32.
    pub(super) bias: Option<&'a Tensor>,
    pub(super) activation: Activation,
    /// `[columns]`, f32.
    pub(super) scale: Option<&'a Tensor>,
    /// Of the product's shape and dtype.
    pub(super) first: Option<&'a Tensor>,
    /// Of the product's shape and dtype.
    pub(super) second: Option<&'a Tensor>,
}

/// The number of an activation in `common.cuh`.
pub(super) fn number(activation: Activation) -> usize {
    match activation {
        Activation::None => 0,
        Activation::Relu => 1,
        Activation::Gelu => 2,
    }
}

impl Epilogue<'_> {
    /// Applies the tail to `x [.., columns]`.
    pub(super) fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let nothing = self.bias.is_none() && self.scale.is_none() && self.activation == Activation::None;
        if nothing && self.first.is_none() && self.second.is_none() {
            return Ok(x.clone());
        }
        let columns = x.dims().last().copied().unwrap_or(1);
        let values = x.elem_count();
        // Four values are read at once where rows and tensors start at multiples of four.
        let starts_at_four = |x: &Tensor| x.layout().start_offset().is_multiple_of(4);
        let four = columns.is_multiple_of(4)
            && [Some(x), self.first, self.second].into_iter().flatten().all(starts_at_four);
        let (kernel, width) = if four { ("epilogue4", 4) } else { ("epilogue", 1) };
        let blocks = values.div_ceil(THREADS * width);
        let mut y = Output::like(x)?;
        Launch::new(kernel, x.dtype(), [blocks, 1, 1], THREADS)?
            .input(x)?
            .optional(self.bias)?
            .optional(self.scale)?
            .optional(self.first)?
            .optional(self.second)?
            .output(&mut y)?
            .i64(values)
            .i32(columns)?
            .i32(number(self.activation))?
            .run(x.device())?;
        Ok(y.into_tensor())
    }
}
