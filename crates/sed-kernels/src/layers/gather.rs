//! Rows of tensors that go on.

use candle_core::{Result, Tensor, bail};

use super::wing::{Wing, in_wing_of};
use crate::specs::DevicePairs;

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

/// The rows `rows [capacity]` (u32) of the first axis of each of up to three tensors of one format, in one launch. Only
/// the first [`DevicePairs::live`] rows of the results, which have a row for each of `after`'s capacity, are written.
///
/// # Errors
/// When the tensors are on the CPU, they are none or more than three, of several formats or numbers of rows, or there is
/// not a row for each pair.
pub fn gather_pairs(x: &[&Tensor], rows: &Tensor, after: &DevicePairs) -> Result<Vec<Tensor>> {
    let Some(first) = x.first() else { bail!("gather pairs: no tensor") };
    after.check(rows)?;
    let alike = |x: &&Tensor| x.dtype() == first.dtype() && x.dims().first() == first.dims().first();
    if x.len() > 3 || first.dims().is_empty() || !x.iter().all(alike) {
        bail!("gather pairs: {} tensors like {:?} do not go together", x.len(), first.shape());
    }
    match Wing::of(first.device()) {
        Wing::Cuda(()) => crate::cuda::gather_pairs(x, rows, after),
        Wing::Cpu(()) => bail!("gather pairs: pairs on the device, but the tensors are on the CPU"),
    }
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
