//! Small operations between the large ones.

use candle_core::{Result, Shape, Tensor, bail};

use super::launch::{GRID_LIMIT, Launch, WARP};
use super::memory::Output;

/// Threads of a block.
const THREADS: usize = 256;

/// The logistic function of every value.
pub(crate) fn sigmoid(x: &Tensor) -> Result<Tensor> {
    let x = x.contiguous()?;
    let mut y = Output::like(&x)?;
    Launch::new("sigmoid", x.dtype(), [x.elem_count().div_ceil(THREADS), 1, 1], THREADS)?
        .input(&x)?
        .output(&mut y)?
        .i64(x.elem_count())
        .run(x.device())?;
    Ok(y.into_tensor())
}

/// Scales every row of the last axis to length 1.
pub(crate) fn normalise_rows(x: &Tensor) -> Result<Tensor> {
    let x = x.contiguous()?;
    let columns = x.dims().last().copied().unwrap_or(1);
    let rows = x.elem_count() / columns.max(1);
    let warps = THREADS / WARP;
    let mut y = Output::like(&x)?;
    Launch::new("normalise_rows", x.dtype(), [rows.div_ceil(warps), 1, 1], THREADS)?
        .input(&x)?
        .output(&mut y)?
        .i64(rows)
        .i32(columns)?
        .run(x.device())?;
    Ok(y.into_tensor())
}

/// Rows `rows` of the first axis, each of `width` values; together of `shape`.
pub(crate) fn gather_rows(
    x: &Tensor,
    rows: &[usize],
    width: usize,
    shape: impl Into<Shape>,
) -> Result<Tensor> {
    let x = x.contiguous()?;
    if rows.is_empty() {
        return Ok(Output::new(x.device(), x.dtype(), shape)?.into_tensor());
    }
    let numbers: Vec<u32> = rows.iter().map(|&row| row as u32).collect();
    let numbers = Tensor::new(numbers, x.device())?;
    if rows.len() > GRID_LIMIT {
        // Rows are the second dimension of the grid.
        bail!("gather rows: {} rows are too many for one launch; cut the batch", rows.len());
    }
    let mut y = Output::new(x.device(), x.dtype(), shape)?;
    Launch::new("gather_rows", x.dtype(), [width.div_ceil(THREADS), rows.len(), 1], THREADS)?
        .input(&x)?
        .input(&numbers)?
        .output(&mut y)?
        .i64(width)
        .run(x.device())?;
    Ok(y.into_tensor())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::testing::{DTYPES, assert_near, on_device};
    use crate::testing::{random, tensor};

    #[test]
    fn equal_the_cpu() {
        for (rows, columns) in [(1, 1), (17, 59), (5, 300)] {
            let x: Vec<f32> = random(rows * columns, 1).iter().map(|v| v * 5.0).collect();
            for dtype in DTYPES {
                let x = on_device(&tensor(&x, &[rows, columns]), dtype);
                let want = crate::sigmoid(&x.rounded).unwrap();
                assert_near(&sigmoid(&x.tensor).unwrap(), &want, dtype, "sigmoid");
                let want = crate::normalise_rows(&x.rounded).unwrap();
                assert_near(&normalise_rows(&x.tensor).unwrap(), &want, dtype, "normalise rows");
                let kept = [rows - 1, 0, rows / 2];
                let want = crate::gather_rows(&x.rounded, &kept).unwrap();
                let got = gather_rows(&x.tensor, &kept, columns, (3, columns)).unwrap();
                assert_near(&got, &want, dtype, "gather rows");
            }
        }
    }
}
