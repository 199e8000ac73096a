//! Layer norm over the last axis.

use candle_core::{Result, Tensor, bail};

use super::memory::{cpu_values, from_values, require_cpu, to_vec};
use crate::parallel;
use crate::simd::{Isa, Lanes, kernel};

/// Rows that are normalised together.
const BLOCK_ROWS: usize = 16;
/// Values of that many rows at most: they stay in the first-level cache.
const BLOCK_VALUES: usize = 4096;

/// Weight, bias and epsilon of a layer norm over `channels` values.
#[derive(Debug, Clone)]
pub(crate) struct LayerNorm {
    weight: Vec<f32>,
    bias: Vec<f32>,
    eps: f32,
}

impl LayerNorm {
    /// Creates the norm from `weight [channels]` and `bias [channels]`.
    pub(crate) fn new(weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Self> {
        require_cpu(weight, "layer norm")?;
        let (weight, bias) = (to_vec(weight)?, to_vec(bias)?);
        if weight.len() != bias.len() {
            bail!("layer norm: {} weights but {} biases", weight.len(), bias.len());
        }
        Ok(Self { weight, bias, eps: eps as f32 })
    }

    /// Number of values that are normalised together.
    pub(crate) fn channels(&self) -> usize {
        self.weight.len()
    }

    /// Normalises `x [.., channels]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        require_cpu(x, "layer norm")?;
        let channels = self.channels();
        if x.dims().last() != Some(&channels) {
            bail!("layer norm: input of shape {:?}, expected {channels} channels", x.shape());
        }
        let mut y = cpu_values(x)?.to_vec();
        let isa = Isa::best();
        parallel::chunks(&mut y, 64 * channels, |_, rows| {
            let n = rows.len() / channels;
            // SAFETY: `rows` holds `n` rows of `channels` values, one after another.
            unsafe { run_layer_norm_rows(isa, self, rows.as_mut_ptr(), n, channels) };
        });
        from_values(y, x.shape())
    }
}

/// [`layer_norm_into`] in place.
///
/// # Safety
/// `rows` must be valid for `n` rows of `norm.channels()` values, `stride` apart.
#[inline(always)]
pub(crate) unsafe fn layer_norm_rows<L: Lanes>(norm: &LayerNorm, rows: *mut f32, n: usize, stride: usize) {
    // SAFETY: the caller's.
    unsafe { layer_norm_into::<L>(norm, (rows.cast_const(), stride), (rows, stride), n) };
}

/// Normalises `n` rows, given as the first one and the values from one to the next. Mean and variance are
/// taken in two passes.
///
/// # Safety
/// `from` must be readable and `to` writable for `n` rows of `norm.channels()` values; they are the same or
/// do not overlap.
#[inline(always)]
pub(crate) unsafe fn layer_norm_into<L: Lanes>(
    norm: &LayerNorm,
    (from, from_stride): (*const f32, usize),
    (to, to_stride): (*mut f32, usize),
    n: usize,
) {
    let channels = norm.channels();
    let block = (BLOCK_VALUES / channels).clamp(1, BLOCK_ROWS);
    let share = 1.0 / channels as f32;
    // SAFETY: all accesses stay in the rows' `channels` values.
    unsafe {
        for first in (0..n).step_by(block) {
            let rows = block.min(n - first);
            let (mut means, mut scales) = ([0.0; BLOCK_ROWS], [0.0; BLOCK_ROWS]);
            for r in 0..rows {
                let row = from.add((first + r) * from_stride);
                means[r] = sum::<L>(row, channels) * share;
                scales[r] = square_sum::<L>(row, channels, means[r]) * share;
            }
            // Roots and quotients of a whole register at once: one by one they would take longer than all the
            // rest of short rows.
            for scales in scales.chunks_exact_mut(L::WIDTH) {
                let deviation = L::sqrt(L::add(L::load(scales.as_ptr()), L::splat(norm.eps)));
                L::store(scales.as_mut_ptr(), L::div(L::splat(1.0), deviation));
            }
            for r in 0..rows {
                let (row, out) = (from.add((first + r) * from_stride), to.add((first + r) * to_stride));
                let (mean, scale) = (L::splat(means[r]), L::splat(scales[r]));
                for i in (0..channels).step_by(L::WIDTH) {
                    let n = channels - i;
                    let unit = L::mul(L::sub(L::load_upto(row.add(i), n), mean), scale);
                    let weight = L::load_upto(norm.weight.as_ptr().add(i), n);
                    let bias = L::load_upto(norm.bias.as_ptr().add(i), n);
                    L::store_upto(out.add(i), L::fma(unit, weight, bias), n);
                }
            }
        }
    }
}

/// Sum of a row.
#[inline(always)]
unsafe fn sum<L: Lanes>(row: *const f32, channels: usize) -> f32 {
    // SAFETY: the row has `channels` values.
    unsafe {
        let mut sum = L::splat(0.0);
        for i in (0..channels).step_by(L::WIDTH) {
            sum = L::add(sum, L::load_upto(row.add(i), channels - i));
        }
        L::sum(sum)
    }
}

/// Sum of a row's squared distances from `mean`.
#[inline(always)]
unsafe fn square_sum<L: Lanes>(row: *const f32, channels: usize, mean: f32) -> f32 {
    let vectors = channels / L::WIDTH * L::WIDTH;
    // SAFETY: the row has `channels` values.
    unsafe {
        let mut squares = L::splat(0.0);
        for i in (0..vectors).step_by(L::WIDTH) {
            let d = L::sub(L::load(row.add(i)), L::splat(mean));
            squares = L::fma(d, d, squares);
        }
        let mut sum = L::sum(squares);
        for i in vectors..channels {
            let d = *row.add(i) - mean;
            sum += d * d;
        }
        sum
    }
}

kernel! {
    /// [`layer_norm_rows`] on a chosen instruction set.
    pub(crate) unsafe fn run_layer_norm_rows(norm: &LayerNorm, rows: *mut f32, n: usize, stride: usize) = layer_norm_rows
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::testing::{assert_close, random, tensor};

    /// The definition, in f64.
    pub(crate) fn naive(x: &[f32], weight: &[f32], bias: &[f32], eps: f64) -> Vec<f32> {
        let c = weight.len();
        let mut y = Vec::new();
        for row in x.chunks_exact(c) {
            let mean = row.iter().map(|&v| f64::from(v)).sum::<f64>() / c as f64;
            let variance = row.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / c as f64;
            for (i, &v) in row.iter().enumerate() {
                let unit = (f64::from(v) - mean) / (variance + eps).sqrt();
                y.push((unit * f64::from(weight[i]) + f64::from(bias[i])) as f32);
            }
        }
        y
    }

    #[test]
    fn equals_the_definition() {
        for channels in [1, 7, 16, 40, 128, 515] {
            let x: Vec<f32> = random(33 * channels, 4).iter().map(|v| v * 3.0 + 50.0).collect();
            let (w, b) = (random(channels, 5), random(channels, 6));
            let norm = LayerNorm::new(&tensor(&w, &[channels]), &tensor(&b, &[channels]), 1e-6).unwrap();
            let want = naive(&x, &w, &b, 1e-6);
            for isa in Isa::available() {
                let mut y = x.clone();
                // SAFETY: 33 rows of `channels` values.
                unsafe { run_layer_norm_rows(isa, &norm, y.as_mut_ptr(), 33, channels) };
                assert_close(&y, &want, 5e-5, &format!("{isa:?} {channels}"));
            }
            let y = norm.forward(&tensor(&x, &[33, channels])).unwrap();
            assert_close(&to_vec(&y).unwrap(), &want, 5e-5, "tensor");
        }
    }
}
