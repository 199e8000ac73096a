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

/// Rows `rows` of the first axis, in that order.
pub fn gather_rows(x: &Tensor, rows: &[usize]) -> Result<Tensor> {
    let mut shape = x.dims().to_vec();
    let Some(count) = shape.first_mut() else { bail!("gather rows: the input is a scalar") };
    if let Some(row) = rows.iter().find(|&row| row >= count) {
        bail!("gather rows: there is no row {row} among {count}");
    }
    let width = x.elem_count() / (*count).max(1);
    *count = rows.len();
    in_wing_of!(x.device(), gather_rows(x, rows, width, shape))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{random, tensor};

    #[test]
    fn a_row_that_is_not_there_is_refused() {
        let x = tensor(&random(12, 1), &[4, 3]);
        assert!(gather_rows(&x, &[4]).is_err());
        assert_eq!(gather_rows(&x, &[]).unwrap().dims(), [0, 3]);
    }
}
