//! Small operations between the large ones.

use candle_core::{Result, Tensor, bail};

use super::wing::in_wing_of;

/// The logistic function of every value.
pub fn sigmoid(x: &Tensor) -> Result<Tensor> {
    in_wing_of!(x.device(), sigmoid(x))
}

/// Scales every row of the last axis to length 1 (rows shorter than 1e-12 are divided by that).
pub fn normalise_rows(x: &Tensor) -> Result<Tensor> {
    let Some(&width) = x.dims().last() else { bail!("normalise rows: the input is a scalar") };
    in_wing_of!(x.device(), normalise_rows(x, width))
}
