//! Layer norm over the last axis.

use candle_core::{Result, Tensor, bail};
use rayon::prelude::*;

use crate::simd::{Isa, Lanes, kernel};
use crate::tensor::{cpu_values, from_values, require_cpu, to_vec};

/// Weight, bias and epsilon of a layer norm over `channels` values.
#[derive(Debug, Clone)]
pub(crate) struct LayerNorm {
    weight: Vec<f32>,
    bias: Vec<f32>,
    eps: f32,
}

impl LayerNorm {
    /// Takes `weight [channels]` and `bias [channels]`.
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
        y.par_chunks_mut(64 * channels).for_each(|rows| {
            let n = rows.len() / channels;
            // SAFETY: `rows` holds `n` rows of `channels` values, one after another.
            unsafe { run_layer_norm_rows(isa, self, rows.as_mut_ptr(), n, channels) };
        });
        from_values(y, x.shape())
    }
}

/// Normalises `n` rows in place, `stride` elements apart. Mean and variance are taken in two passes.
///
/// # Safety
/// `rows` must be valid for `n` rows of `norm.channels()` values, `stride` apart.
#[inline(always)]
pub(crate) unsafe fn layer_norm_rows<L: Lanes>(norm: &LayerNorm, rows: *mut f32, n: usize, stride: usize) {
    let channels = norm.channels();
    let vectors = channels / L::WIDTH * L::WIDTH;
    let tail = channels - vectors;
    // SAFETY: all accesses stay in the row's `channels` values.
    unsafe {
        for r in 0..n {
            let row = rows.add(r * stride);
            let mut sum = L::splat(0.0);
            for i in (0..vectors).step_by(L::WIDTH) {
                sum = L::add(sum, L::load(row.add(i)));
            }
            if tail > 0 {
                sum = L::add(sum, L::load_n(row.add(vectors), tail));
            }
            let mean = L::sum(sum) / channels as f32;
            let mean_v = L::splat(mean);
            let mut squares = L::splat(0.0);
            for i in (0..vectors).step_by(L::WIDTH) {
                let d = L::sub(L::load(row.add(i)), mean_v);
                squares = L::fma(d, d, squares);
            }
            let mut square_sum = L::sum(squares);
            for i in vectors..channels {
                let d = *row.add(i) - mean;
                square_sum += d * d;
            }
            let scale = L::splat(1.0 / (square_sum / channels as f32 + norm.eps).sqrt());
            let (w, b) = (norm.weight.as_ptr(), norm.bias.as_ptr());
            for i in (0..vectors).step_by(L::WIDTH) {
                let d = L::mul(L::sub(L::load(row.add(i)), mean_v), scale);
                L::store(row.add(i), L::fma(d, L::load(w.add(i)), L::load(b.add(i))));
            }
            if tail > 0 {
                let i = vectors;
                let d = L::mul(L::sub(L::load_n(row.add(i), tail), mean_v), scale);
                let v = L::fma(d, L::load_n(w.add(i), tail), L::load_n(b.add(i), tail));
                L::store_n(row.add(i), v, tail);
            }
        }
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
