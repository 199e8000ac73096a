//! Small operations between the large ones.

use candle_core::{Result, Shape, Tensor};

use super::memory::{cpu_values, from_values};
use crate::parallel;
use crate::simd::{Isa, Lanes, kernel, math};

/// Values of one task.
const BLOCK: usize = 1 << 14;

/// The logistic function of every value.
pub(crate) fn sigmoid(x: &Tensor) -> Result<Tensor> {
    Ok(counted_sigmoid(x)?.0)
}

/// The logistic function of every value, and how many of the values are not finite.
pub(super) fn counted_sigmoid(x: &Tensor) -> Result<(Tensor, usize)> {
    let values = cpu_values(x)?;
    let mut y = values.to_vec();
    let isa = Isa::best();
    let map_block = |_: usize, block: &mut [f32]| {
        let mut all_finite = true;
        // SAFETY: each task maps its own values in place.
        unsafe { run_sigmoid(isa, block, &mut all_finite) };
        all_finite
    };
    let all_finite = parallel::map_chunks(&mut y, BLOCK, map_block).into_iter().all(|finite| finite);
    let not_finite = if all_finite { 0 } else { values.iter().filter(|value| !value.is_finite()).count() };
    Ok((from_values(y, x.shape())?, not_finite))
}

#[inline(always)]
unsafe fn sigmoid_values<L: Lanes>(values: &mut [f32], all_finite: &mut bool) {
    // SAFETY: at most `n` values are touched.
    unsafe {
        // 0 as long as every value is finite: x - x is NaN for all others.
        let mut zero = L::splat(0.0);
        let mut i = 0;
        while i < values.len() {
            let n = values.len() - i;
            let p = values.as_mut_ptr().add(i);
            let x = L::load_upto(p, n);
            zero = L::add(zero, L::sub(x, x));
            L::store_upto(p, math::sigmoid::<L>(x), n);
            i += L::WIDTH;
        }
        *all_finite = !L::sum(zero).is_nan();
    }
}

kernel! {
    unsafe fn run_sigmoid(values: &mut [f32], all_finite: &mut bool) = sigmoid_values
}

/// Scales every row of the last axis, `width` values, to length 1.
pub(crate) fn normalise_rows(x: &Tensor, width: usize) -> Result<Tensor> {
    let mut y = cpu_values(x)?.to_vec();
    parallel::chunks(&mut y, width, |_, row| {
        let square: f64 = row.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
        let length = square.sqrt();
        // Not `max`, which makes a number of NaN.
        let scale = (1.0 / if length < 1e-12 { 1e-12 } else { length }) as f32;
        row.iter_mut().for_each(|v| *v *= scale);
    });
    from_values(y, x.shape())
}

/// Rows `rows` of the first axis, each of `width` values; together of `shape`.
pub(crate) fn gather_rows(
    x: &Tensor,
    rows: &[usize],
    width: usize,
    shape: impl Into<Shape>,
) -> Result<Tensor> {
    let values = cpu_values(x)?;
    let values: &[f32] = &values;
    let mut y = vec![0.0; rows.len() * width];
    parallel::chunks(&mut y, width, |index, to| to.copy_from_slice(&values[rows[index] * width..][..width]));
    from_values(y, shape)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::memory::to_vec;
    use crate::testing::{assert_close, random, tensor};

    #[test]
    fn sigmoid_equals_its_definition() {
        let x: Vec<f32> = random(1003, 1).iter().map(|v| v * 30.0).collect();
        let want: Vec<f32> = x.iter().map(|&v| (1.0 / (1.0 + (-f64::from(v)).exp())) as f32).collect();
        let got = sigmoid(&tensor(&x, &[17, 59])).unwrap();
        assert_close(&to_vec(&got).unwrap(), &want, 2e-7, "sigmoid");
    }

    #[test]
    fn what_is_not_finite_is_counted() {
        let mut x = random(2 * BLOCK + 5, 1);
        assert_eq!(counted_sigmoid(&tensor(&x, &[x.len()])).unwrap().1, 0);
        (x[3], x[BLOCK], x[2 * BLOCK + 4]) = (f32::NAN, f32::INFINITY, f32::NEG_INFINITY);
        let (scores, not_finite) = counted_sigmoid(&tensor(&x, &[x.len()])).unwrap();
        assert_eq!(not_finite, 3);
        assert!(to_vec(&scores).unwrap()[3].is_nan());
    }

    #[test]
    fn rows_get_length_one() {
        let got = normalise_rows(&tensor(&[3.0, 4.0, 0.0, 0.0], &[2, 2]), 2).unwrap();
        assert_close(&to_vec(&got).unwrap(), &[0.6, 0.8, 0.0, 0.0], 1e-7, "rows");
    }

    #[test]
    fn rows_are_gathered_in_order() {
        let x = tensor(&random(12, 1), &[4, 3]);
        let got = gather_rows(&x, &[2, 0, 2], 3, (3, 3)).unwrap();
        assert_eq!(got.dims(), [3, 3]);
        let values = to_vec(&x).unwrap();
        assert_eq!(to_vec(&got).unwrap(), [&values[6..9], &values[..3], &values[6..9]].concat());
    }
}
