//! Layer norm.

use candle_core::{Result, Tensor};

use super::wing::layer;

layer! {
    /// Weight, bias and epsilon of a layer norm over `channels` values.
    pub struct LayerNorm;

    /// Creates the norm from `weight [channels]` and `bias [channels]`.
    pub fn new(weight: &Tensor, bias: &Tensor, eps: f64) on weight.device();

    /// Normalises `x [.., channels]`; the result has the dtype of `x`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor>;
}
