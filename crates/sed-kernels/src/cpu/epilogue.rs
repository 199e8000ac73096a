//! The tail of a matrix product: bias, activation, scale, residual.

use crate::simd::{Lanes, math};
use crate::specs::Activation;

/// The fused tail of a product: `residual + scale · activation(sum + bias)`.
#[derive(Clone, Copy, Default)]
pub(crate) struct Epilogue<'a> {
    /// Per output column.
    pub(crate) bias: Option<&'a [f32]>,
    pub(crate) activation: Activation,
    /// Per output column.
    pub(crate) scale: Option<&'a [f32]>,
    /// Added last: pointer to row 0, column 0 of the output's twin, and its row stride.
    pub(crate) residual: Option<(*const f32, usize)>,
}

impl Epilogue<'_> {
    /// Applies the tail to `n` lanes of row `row` that start at column `column`.
    #[inline(always)]
    pub(crate) unsafe fn apply<L: Lanes>(&self, v: L::V, row: usize, column: usize, n: usize) -> L::V {
        // SAFETY: bias and scale have a value for every column, the residual for every element.
        unsafe {
            let mut v = v;
            if let Some(bias) = self.bias {
                v = L::add(v, L::load_upto(bias.as_ptr().add(column), n));
            }
            v = match self.activation {
                Activation::None => v,
                Activation::Relu => L::max(L::splat(0.0), v),
                Activation::Gelu => math::gelu::<L>(v),
            };
            if let Some(scale) = self.scale {
                v = L::mul(v, L::load_upto(scale.as_ptr().add(column), n));
            }
            if let Some((base, stride)) = self.residual {
                v = L::add(v, L::load_upto(base.add(row * stride + column), n));
            }
            v
        }
    }
}
