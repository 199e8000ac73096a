//! Rows of tensors that go on.

use candle_core::{Result, Shape, Tensor, bail};

use super::launch::{GRID_LIMIT, Launch};
use super::memory::{Output, address};
use crate::specs::DevicePairs;

/// Threads of a block.
const THREADS: usize = 256;
/// Pieces of a row that a thread copies, as in gather.cu.
const PIECES: usize = 4;
/// Bytes of the copies of rows that allow it.
const PIECE_BYTES: usize = 16;
/// Tensors of one launch.
const TENSORS: usize = 3;

/// As [`crate::gather_pairs`], which has checked the arguments.
pub(crate) fn gather_pairs(x: &[&Tensor], rows: &Tensor, after: &DevicePairs) -> Result<Vec<Tensor>> {
    gather(x, rows, Some(&after.live()?))
}

/// Rows `rows` of the first axis, each of `width` values; together of `shape`.
pub(crate) fn gather_rows(
    x: &Tensor,
    rows: &[usize],
    width: usize,
    shape: impl Into<Shape>,
) -> Result<Tensor> {
    if rows.is_empty() {
        return Ok(Output::new(x.device(), x.dtype(), shape)?.into_tensor());
    }
    let numbers: Vec<u32> = rows.iter().map(|&row| row as u32).collect();
    let x = x.contiguous()?.reshape((x.elem_count() / width.max(1), width))?;
    gather(&[&x], &Tensor::new(numbers, x.device())?, None)?.remove(0).reshape(shape)
}

/// Rows `rows [count]` of up to [`TENSORS`] tensors, of which `live` (all, where it is `None`) are written.
fn gather(x: &[&Tensor], rows: &Tensor, live: Option<&Tensor>) -> Result<Vec<Tensor>> {
    let count = rows.elem_count();
    if count > GRID_LIMIT {
        // Rows are the second dimension of the grid.
        bail!("gather rows: {count} rows are too many for one launch; cut the batch");
    }
    let (device, dtype) = (rows.device(), x[0].dtype());
    let size = dtype.size_in_bytes();
    let x = x.iter().map(|x| x.contiguous()).collect::<Result<Vec<_>>>()?;
    let widths: Vec<usize> = x.iter().map(|x| x.dims()[1..].iter().product()).collect();
    let mut outputs = Vec::with_capacity(x.len());
    let mut wide = true;
    for (x, width) in x.iter().zip(&widths) {
        let shape: Vec<usize> = [count].into_iter().chain(x.dims()[1..].iter().copied()).collect();
        let mut output = Output::new(device, dtype, shape)?;
        let aligned = address(x)?.0 | output.address()?.0 | (width * size) as u64;
        wide &= aligned.is_multiple_of(PIECE_BYTES as u64);
        outputs.push(output);
    }
    let (kernel, values) = if wide { ("gather_pairs16", PIECE_BYTES / size) } else { ("gather_pairs", 1) };
    let widest = widths.iter().copied().max().unwrap_or(0);
    let blocks = widest.div_ceil(values * PIECES * THREADS);
    let mut launch = Launch::new(kernel, dtype, [blocks, count, x.len()], THREADS)?;
    for i in 0..TENSORS {
        launch = launch.optional(x.get(i))?;
    }
    launch = launch.input(rows)?.optional(live)?;
    for i in 0..TENSORS {
        launch = match outputs.get_mut(i) {
            Some(output) => launch.output(output)?,
            None => launch.optional(None)?,
        };
    }
    for i in 0..TENSORS {
        launch = launch.i64(widths.get(i).copied().unwrap_or(0));
    }
    launch.run(device)?;
    Ok(outputs.into_iter().map(Output::into_tensor).collect())
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use super::*;
    use crate::cuda::testing::{DTYPES, assert_near, device, on_device};
    use crate::testing::{random, tensor};

    #[test]
    fn rows_equal_the_cpu() {
        for (rows, columns) in [(1, 1), (17, 59), (5, 300), (9, 2048), (3, 9000)] {
            for dtype in DTYPES {
                let x = on_device(&tensor(&random(rows * columns, 1), &[rows, columns]), dtype);
                let kept = [rows - 1, 0, rows / 2];
                let want = crate::gather_rows(&x.rounded, &kept).unwrap();
                let got = gather_rows(&x.tensor, &kept, columns, (3, columns)).unwrap();
                assert_near(&got, &want, dtype, "gather rows");
            }
        }
    }

    #[test]
    fn rows_of_pairs_that_count_are_gathered_together() {
        let (images, capacity) = (2, 4);
        let mut words = vec![0u32; DevicePairs::words(images, capacity)];
        words[1..3].copy_from_slice(&[1, 3]); // three pairs
        let count = words.len();
        let block = Tensor::from_vec(words, count, &device()).unwrap();
        let after = DevicePairs::within(&block, images, capacity).unwrap();
        let rows = Tensor::new(&[5u32, 0, 3, 0], &device()).unwrap();
        for (widths, dtype) in [[64, 1024, 8], [7, 64, 3]].into_iter().zip([DType::BF16, DType::F32]) {
            let x: Vec<_> = widths
                .iter()
                .map(|&width| on_device(&tensor(&random(6 * width, 1), &[6, 1, width]), dtype))
                .collect();
            for most in 1..=3 {
                let tensors: Vec<&Tensor> = x[..most].iter().map(|x| &x.tensor).collect();
                let gathered = gather_pairs(&tensors, &rows, &after).unwrap();
                assert_eq!(gathered.len(), most);
                for (got, x) in gathered.iter().zip(&x) {
                    assert_eq!(got.dims()[0], capacity);
                    let want = crate::gather_rows(&x.rounded, &[5, 0, 3]).unwrap();
                    assert_near(&got.narrow(0, 0, 3).unwrap(), &want, dtype, "gather pairs");
                    if device().is_cpu() {
                        let behind = got.narrow(0, 3, 1).unwrap().to_dtype(DType::F32).unwrap();
                        let behind = behind.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                        assert!(behind.iter().all(|value| value.is_nan()), "not written");
                    }
                }
            }
        }
    }
}
