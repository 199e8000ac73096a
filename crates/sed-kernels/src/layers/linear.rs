//! Fully connected layers.

use candle_core::{Result, Tensor};

use super::wing::layer;
use crate::specs::Activation;

layer! {
    /// `y = activation(x · Wᵀ + b)` over the last axis.
    pub struct Linear;

    /// Creates the layer from `weight [out, in]` (on the CPU f32 or bf16) and `bias [out]`; inputs are
    /// rounded to the weight's dtype.
    pub fn new(weight: &Tensor, bias: Option<&Tensor>) on weight.device();

    /// `x [.., in]` to `[.., out]`.
    pub fn forward(&self, x: &Tensor, activation: Activation) -> Result<Tensor>;
}
