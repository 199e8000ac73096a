//! A fully connected layer.

use candle_core::{Result, Tensor};

use super::epilogue::Epilogue;
use super::memory::{Values, cpu_values, from_values, require_cpu, to_vec, written};
use super::product::pack::PackedMatrix;
use super::product::{Product, run_product};
use super::scratch::with_scratch;
use crate::parallel;
use crate::simd::Isa;
use crate::specs::{Activation, linear_shape, linear_sizes};

/// Rows that one task multiplies; they and their outputs stay in the second-level cache.
const ROW_BLOCK: usize = 96;

/// `y = activation(x · Wᵀ + b)` over the last axis, with the weight packed once.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    weight: PackedMatrix,
    bias: Option<Vec<f32>>,
}

impl Linear {
    /// Packs `weight [out, in]` (f32, or bf16, to which the rows of `x` are then rounded) and `bias [out]`.
    pub(crate) fn new(weight: &Tensor, bias: Option<&Tensor>) -> Result<Self> {
        require_cpu(weight, "linear")?;
        let (out, inputs) = linear_sizes(weight, bias)?;
        let packed = PackedMatrix::from_out_in(&to_vec(weight)?, out, inputs, weight.dtype());
        Ok(Self { weight: packed, bias: bias.map(to_vec).transpose()? })
    }

    /// `x [.., in]` to `[.., out]`.
    pub(crate) fn forward(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        require_cpu(x, "linear")?;
        let shape = linear_shape(x, self.weight.k, self.weight.n)?;
        let y = self.forward_values(&cpu_values(x)?, activation, Isa::best());
        from_values(y, shape)
    }

    fn forward_values(&self, x: &Values<'_>, activation: Activation, isa: Isa) -> Vec<f32> {
        let (k, n) = (self.weight.k, self.weight.n);
        let rows = x.len() / k.max(1);
        let threads = parallel::threads();
        let block = rows.div_ceil(threads).next_multiple_of(8).clamp(8, ROW_BLOCK);
        let fill = |index: usize, y: &mut [f32]| {
            let x = &x[index * block * k..][..y.len() / n * k];
            // A padded row stride keeps the rows of a tile out of each other's cache sets.
            let stride = k + 16;
            with_scratch(block * stride, |a| {
                for (to, from) in a.chunks_mut(stride).zip(x.chunks_exact(k)) {
                    to[..k].copy_from_slice(from);
                }
                let epilogue = Epilogue { bias: self.bias.as_deref(), activation, ..Epilogue::default() };
                let rows = x.len() / k;
                let (a, c) = ((a.as_ptr(), stride), (y.as_mut_ptr(), n));
                let product = Product::whole(a, rows, &self.weight, c, Some(epilogue));
                // SAFETY: `a` holds `rows` padded rows, `y` has room for `rows` rows of `n`.
                unsafe { run_product(isa, &product) };
            });
        };
        // SAFETY: the products store every row of the output.
        unsafe { written(rows * n, |y| parallel::chunks(y, block * n, fill)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, random, tensor};

    #[test]
    fn equals_the_naive_product() {
        for (rows, k, n) in [(1, 1, 1), (3, 5, 7), (8, 32, 32), (29, 300, 47), (200, 64, 100), (97, 513, 16)]
        {
            let (x, w, b) = (random(rows * k, 1), random(n * k, 2), random(n, 3));
            let layer = Linear::new(&tensor(&w, &[n, k]), Some(&tensor(&b, &[n]))).unwrap();
            let mut want = vec![0.0; rows * n];
            for r in 0..rows {
                for c in 0..n {
                    let sum: f64 = (0..k).map(|i| f64::from(x[r * k + i]) * f64::from(w[c * k + i])).sum();
                    want[r * n + c] = ((sum + f64::from(b[c])) as f32).max(0.0);
                }
            }
            let x = tensor(&x, &[rows, k]);
            for isa in Isa::available() {
                let got = layer.forward_values(&cpu_values(&x).unwrap(), Activation::Relu, isa);
                assert_close(&got, &want, 2e-6 * (k as f32).sqrt(), &format!("{isa:?} {rows}×{k}×{n}"));
            }
        }
    }

    #[test]
    fn a_bf16_weight_multiplies_rounded_rows() {
        let bf16 = candle_core::DType::BF16;
        for (rows, k, n) in [(21, 70, 40), (9, 33, 16), (1, 1, 1), (30, 1100, 50)] {
            let weight = tensor(&random(n * k, 2), &[n, k]).to_dtype(bf16).unwrap();
            let rounded = Linear::new(&weight.to_dtype(candle_core::DType::F32).unwrap(), None).unwrap();
            let layer = Linear::new(&weight, None).unwrap();
            let x = tensor(&random(rows * k, 1), &[rows, k]);
            let x_rounded = x.to_dtype(bf16).unwrap().to_dtype(candle_core::DType::F32).unwrap();
            for isa in Isa::available() {
                let want =
                    rounded.forward_values(&cpu_values(&x_rounded).unwrap(), Activation::None, Isa::Portable);
                let got = layer.forward_values(&cpu_values(&x).unwrap(), Activation::None, isa);
                assert_close(&got, &want, 2e-6 * (k as f32).sqrt(), &format!("{isa:?} {rows}×{k}×{n}"));
            }
        }
    }

    #[test]
    fn a_wrong_width_is_an_error() {
        let layer = Linear::new(&tensor(&random(6, 1), &[2, 3]), None).unwrap();
        let error = layer.forward(&tensor(&random(8, 1), &[2, 4]), Activation::None).unwrap_err();
        assert!(error.to_string().contains("4 wide"), "{error}");
    }
}
