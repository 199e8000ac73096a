//! Behind matrix products: activations, since cuBLASLt's GELU is the tanh form and its ReLU may make a number of NaN;
//! and a second addend.

use candle_core::{Result, Tensor, bail};

use super::launch::Launch;
use super::memory::{Output, address};
use crate::specs::Activation;

/// Threads of a block.
const THREADS: usize = 256;
/// Values that a thread has.
const VALUES: usize = 8;

/// The number of an activation in `common.cuh`.
pub(super) fn number(activation: Activation) -> usize {
    match activation {
        Activation::None => 0,
        Activation::Relu => 1,
        Activation::Gelu => 2,
    }
}

/// Replaces the values of `x [rows, ..]`, the result of a product that nothing else holds, by the activation's, exact
/// GELU or ReLU. With `live [1]` only those of the first `live` rows; rows behind them hold anything.
pub(super) fn activate(x: &Tensor, activation: Activation, live: Option<&Tensor>) -> Result<()> {
    let kernel = match activation {
        Activation::None => return Ok(()),
        Activation::Relu => "relu_in_place",
        Activation::Gelu => "gelu",
    };
    if !address(x)?.0.is_multiple_of(16) {
        bail!("{kernel}: {:?} begins at no multiple of 16 bytes", x.shape());
    }
    let values = x.elem_count();
    let of_row = values / x.dims().first().copied().unwrap_or(1).max(1);
    // Where rows are not whole groups, all of them are computed.
    let live = live.filter(|_| of_row.is_multiple_of(VALUES));
    let (groups, rest) = (values / VALUES, values % VALUES);
    let mut y = Output::over(x)?;
    Launch::new(kernel, x.dtype(), [(groups + rest).div_ceil(THREADS), 1, 1], THREADS)?
        .optional(live)?
        .output(&mut y)?
        .i32(groups)?
        .i32(rest)?
        .i32(of_row / VALUES)?
        .run(x.device())
}

/// Adds `addend` to the values of `x [rows, ..]`, the result of a product that nothing else holds; both are contiguous
/// and of one format. With `live [1]` only to those of the first `live` rows; rows behind them hold anything.
pub(super) fn add(x: &Tensor, addend: &Tensor, live: Option<&Tensor>) -> Result<()> {
    let (values, rows) = (x.elem_count(), x.dims().first().copied().unwrap_or(1).max(1));
    if addend.elem_count() != values || addend.dtype() != x.dtype() {
        bail!("add: {:?} of {:?} to {:?}", addend.shape(), addend.dtype(), x.shape());
    }
    let aligned = address(x)?.0.is_multiple_of(16) && address(addend)?.0.is_multiple_of(16);
    let groups = if aligned { values / VALUES } else { 0 };
    let rest = values - VALUES * groups;
    let mut y = Output::over(x)?;
    Launch::new("add", x.dtype(), [(groups + rest).div_ceil(THREADS), 1, 1], THREADS)?
        .optional(live)?
        .input(addend)?
        .output(&mut y)?
        .i32(groups)?
        .i32(rest)?
        .i32(values / rows)?
        .run(x.device())
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;
    use crate::cuda::testing::{DTYPES, OnDevice, device, on_device};
    use crate::testing::{random, tensor};

    /// A tensor whose memory is no other's, since its values are replaced.
    fn own(x: &Tensor, dtype: DType) -> OnDevice {
        let OnDevice { tensor, rounded } = on_device(x, dtype);
        OnDevice { tensor: tensor.copy().unwrap(), rounded }
    }

    fn values(x: &Tensor) -> Vec<f32> {
        let x = x.to_device(&Device::Cpu).unwrap().to_dtype(DType::F32).unwrap();
        x.flatten_all().unwrap().to_vec1().unwrap()
    }

    /// Every number of values, near and far from 0; half a unit in the last place is the format's own.
    #[test]
    fn gelu_is_exact() {
        for count in [1, 7, 8, 9, 4100] {
            let from: Vec<f32> = (0..count).map(|i| (i as f32 / count as f32 - 0.5) * 14.0).collect();
            for (dtype, ulp) in DTYPES.into_iter().zip([2e-7, 1.0 / 256.0, 1.0 / 2048.0]) {
                let x = own(&tensor(&from, &[count]), dtype);
                activate(&x.tensor, Activation::Gelu, None).unwrap();
                for (from, got) in values(&x.rounded).into_iter().zip(values(&x.tensor)) {
                    let want = x_times_share(f64::from(from));
                    let tolerance = f64::from(from).abs() * 4e-7 + want.abs() * ulp + 1e-7;
                    assert!(
                        (f64::from(got) - want).abs() <= tolerance,
                        "{dtype:?} {from}: {got}, want {want}"
                    );
                }
            }
        }
    }

    #[test]
    fn large_values_and_nan_are_seen() {
        for dtype in DTYPES {
            let x = own(&tensor(&[3e4, -3e4, f32::NAN, f32::INFINITY, -0.0, 0.0], &[6]), dtype);
            activate(&x.tensor, Activation::Gelu, None).unwrap();
            let got = values(&x.tensor);
            assert_eq!(got[0], values(&x.rounded)[0], "{dtype:?}");
            assert!(got[1] == 0.0 && got[2].is_nan() && got[3] == f32::INFINITY, "{dtype:?} {got:?}");
            assert_eq!((got[4], got[5]), (0.0, 0.0));
        }
    }

    #[test]
    fn only_live_rows_are_replaced() {
        let (rows, width) = (6, 24);
        for dtype in DTYPES {
            let x = tensor(&random(rows * width, 1), &[rows, width]);
            let (all, some) = (own(&x, dtype), own(&x, dtype));
            let live = Tensor::new(&[4u32], &device()).unwrap();
            activate(&all.tensor, Activation::Gelu, None).unwrap();
            activate(&some.tensor, Activation::Gelu, Some(&live)).unwrap();
            let (all, got) = (values(&all.tensor), values(&some.tensor));
            assert_eq!(got[..4 * width], all[..4 * width]);
            assert_eq!(got[4 * width..], values(&some.rounded)[4 * width..]);
        }
    }

    #[test]
    fn sums_are_made_in_place() {
        for (rows, width) in [(1, 1), (6, 51), (3, 800)] {
            for dtype in DTYPES {
                let (x, addend) = (random(rows * width, 1), random(rows * width, 2));
                let x = tensor(&x, &[rows, width]);
                let addend = on_device(&tensor(&addend, &[rows, width]), dtype);
                let (all, some) = (own(&x, dtype), own(&x, dtype));
                let live = Tensor::new(&[rows as u32 - 1], &device()).unwrap();
                add(&all.tensor, &addend.tensor, None).unwrap();
                add(&some.tensor, &addend.tensor, Some(&live)).unwrap();
                let want = (&all.rounded + &addend.rounded).unwrap().to_dtype(dtype).unwrap();
                let (want, got, end) = (values(&want), values(&some.tensor), (rows - 1) * width);
                assert_eq!(values(&all.tensor), want, "{dtype:?}");
                // The last group may reach into rows that do not count.
                let untouched = end.next_multiple_of(VALUES).min(got.len());
                assert_eq!(got[..end], want[..end]);
                assert_eq!(got[untouched..], values(&some.rounded)[untouched..]);
                assert!(add(&all.tensor, &live, None).is_err());
            }
        }
    }

    /// x times the share of the normal distribution below x, by the series of the error function.
    fn x_times_share(x: f64) -> f64 {
        let z = x / 2f64.sqrt();
        if z.abs() > 5.5 {
            return x.max(0.0);
        }
        let (mut term, mut sum) = (z, z);
        for n in 1..250 {
            let n = f64::from(n);
            term *= -z * z / n;
            sum += term / (2.0 * n + 1.0);
        }
        x * (0.5 + sum / std::f64::consts::PI.sqrt())
    }
}
