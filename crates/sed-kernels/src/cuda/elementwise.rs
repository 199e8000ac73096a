//! Small operations between the large ones.

use candle_core::{Result, Tensor, bail};

use super::launch::{GRID_LIMIT, Launch, WARP};
use super::memory::{Output, address};

/// Threads of a block.
const THREADS: usize = 256;

/// The logistic function of every value.
pub(crate) fn sigmoid(x: &Tensor) -> Result<Tensor> {
    let mut y = Output::like(x)?;
    let x = x.contiguous()?;
    sigmoid_launch(&x, &mut y)?.optional(None)?.i32(0)?.run(x.device())?;
    Ok(y.into_tensor())
}

/// The logistic function of every value; the values that are not finite are added to element `counter` of
/// `counts`.
pub(super) fn counted_sigmoid(x: &Tensor, counts: &mut Output, counter: usize) -> Result<Tensor> {
    let mut y = Output::like(x)?;
    let x = x.contiguous()?;
    sigmoid_launch(&x, &mut y)?.output(counts)?.i32(counter)?.run(x.device())?;
    Ok(y.into_tensor())
}

fn sigmoid_launch(x: &Tensor, y: &mut Output) -> Result<Launch> {
    let blocks = x.elem_count().div_ceil(THREADS);
    let launch = Launch::new("sigmoid", x.dtype(), [blocks, 1, 1], THREADS)?;
    Ok(launch.input(x)?.output(y)?.i64(x.elem_count()))
}

/// Scales every row of the last axis, `width` values, to length 1.
pub(crate) fn normalise_rows(x: &Tensor, width: usize) -> Result<Tensor> {
    let x = x.contiguous()?;
    let rows = x.elem_count() / width.max(1);
    let warps = THREADS / WARP;
    let mut y = Output::like(&x)?;
    Launch::new("normalise_rows", x.dtype(), [rows.div_ceil(warps), 1, 1], THREADS)?
        .input(&x)?
        .output(&mut y)?
        .i64(rows)
        .i32(width)?
        .run(x.device())?;
    Ok(y.into_tensor())
}

/// Tensors of one shape as one with a new first axis, in one launch however many there are.
pub(crate) fn stack(tensors: &[&Tensor]) -> Result<Tensor> {
    let Some(first) = tensors.first() else { bail!("stack: no tensor") };
    let (device, dtype, width) = (first.device(), first.dtype(), first.elem_count());
    if let Some(other) = tensors.iter().find(|x| x.dims() != first.dims() || x.dtype() != dtype) {
        bail!("stack: {:?} and {:?} do not go together", first.shape(), other.shape());
    }
    if tensors.len() > GRID_LIMIT {
        bail!("stack: {} tensors are too many for one launch; cut the batch", tensors.len());
    }
    // They must live until the launch is made.
    let held = tensors.iter().map(|x| x.contiguous()).collect::<Result<Vec<_>>>()?;
    let addresses = held.iter().map(|x| Ok(address(x)?.0.cast_signed())).collect::<Result<Vec<i64>>>()?;
    let shape: Vec<usize> = [tensors.len()].into_iter().chain(first.dims().iter().copied()).collect();
    let mut y = Output::new(device, dtype, shape)?;
    Launch::new("stack", dtype, [width.div_ceil(THREADS), tensors.len(), 1], THREADS)?
        .input(&Tensor::new(addresses, device)?)?
        .output(&mut y)?
        .i64(width)
        .run(device)?;
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
                assert_near(&normalise_rows(&x.tensor, columns).unwrap(), &want, dtype, "normalise rows");
                let columns_of = |x: &Tensor| x.narrow(1, columns / 2, columns - columns / 2).unwrap();
                let want = Tensor::stack(&[columns_of(&x.rounded), columns_of(&x.rounded)], 0).unwrap();
                let got = stack(&[&columns_of(&x.tensor), &columns_of(&x.tensor)]).unwrap();
                assert_near(&got, &want, dtype, "stack");
            }
        }
    }

    #[test]
    fn what_does_not_go_together_is_not_stacked() {
        let (one, other) = (tensor(&[1.0, 2.0], &[2]), tensor(&[1.0], &[1]));
        assert!(stack(&[&one, &other]).is_err() && stack(&[]).is_err());
    }
}
