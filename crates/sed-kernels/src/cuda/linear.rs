//! A fully connected layer: a matrix product with its tail.

use candle_core::{DType, Result, Tensor};

use super::epilogue::activate;
use super::product::product;
use super::tail::Tail;
use crate::specs::{Activation, linear_shape, linear_sizes};

/// Weight and bias in the dtype that the layer multiplies in.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    /// `[out, in]`
    weight: Tensor,
    /// `[out]`
    bias: Option<Tensor>,
}

impl Linear {
    /// Creates the layer from `weight [out, in]` and `bias [out]`.
    pub(crate) fn new(weight: &Tensor, bias: Option<&Tensor>) -> Result<Self> {
        linear_sizes(weight, bias)?;
        let bias = match bias {
            // A part of a larger vector is copied: a product's vectors begin at multiples of 16 bytes.
            Some(bias) => Some(vector(bias)?.to_dtype(weight.dtype())?.force_contiguous()?),
            None => None,
        };
        Ok(Self { weight: weight.contiguous()?, bias })
    }

    pub(crate) fn inputs(&self) -> usize {
        self.weight.dims()[1]
    }

    pub(crate) fn outputs(&self) -> usize {
        self.weight.dims()[0]
    }

    /// The dtype that the layer multiplies in and gives its results in.
    pub(super) fn dtype(&self) -> DType {
        self.weight.dtype()
    }

    /// `x [.., in]` to `[.., out]` in the weight's dtype: one launch, with an activation two.
    pub(crate) fn forward(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        let y = self.multiply(x, Tail { bias: self.bias.as_ref(), addend: None })?;
        activate(&y, activation, None)?;
        Ok(y)
    }

    /// `addend + x · Wᵀ + b` for an `addend [.., out]` in the weight's dtype, in one launch.
    pub(super) fn forward_onto(&self, x: &Tensor, addend: &Tensor) -> Result<Tensor> {
        let addend = addend.contiguous()?;
        self.multiply(x, Tail { bias: self.bias.as_ref(), addend: Some(&addend) })
    }

    fn multiply(&self, x: &Tensor, tail: Tail<'_>) -> Result<Tensor> {
        let shape = linear_shape(x, self.inputs(), self.outputs())?;
        let rows = x.elem_count() / self.inputs().max(1);
        let x = x.to_dtype(self.dtype())?.contiguous()?.reshape((rows, self.inputs()))?;
        product(&x, &self.weight, tail)?.reshape(shape)
    }
}

/// A vector of weights as the kernels take it: f32 and contiguous.
pub(super) fn vector(x: &Tensor) -> Result<Tensor> {
    x.flatten_all()?.to_dtype(DType::F32)?.contiguous()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::testing::{DTYPES, assert_near, on_device};
    use crate::testing::{random, tensor};

    #[test]
    fn equals_the_cpu() {
        for (rows, k, n) in [(1, 1, 1), (3, 5, 7), (29, 30, 48), (97, 51, 16)] {
            let (x, w) = (tensor(&random(rows * k, 1), &[rows, k]), tensor(&random(n * k, 2), &[n, k]));
            let b = tensor(&random(n, 3), &[n]);
            for activation in [Activation::None, Activation::Relu, Activation::Gelu] {
                for dtype in DTYPES {
                    let (x, w) = (on_device(&x, dtype), on_device(&w, dtype));
                    let b = on_device(&b, DType::F32);
                    let cpu = crate::cpu::Linear::new(&w.rounded, Some(&b.rounded)).unwrap();
                    let want = cpu.forward(&x.rounded, activation).unwrap();
                    let layer = Linear::new(&w.tensor, Some(&b.tensor)).unwrap();
                    let got = layer.forward(&x.tensor, activation).unwrap();
                    let what = format!("{rows}×{k}×{n} {activation:?}");
                    assert_near(&got, &want, dtype, &what);
                    if activation == Activation::None {
                        let addend = on_device(&tensor(&random(rows * n, 4), &[rows, n]), dtype);
                        let got = layer.forward_onto(&x.tensor, &addend.tensor).unwrap();
                        assert_near(&got, &(want + addend.rounded).unwrap(), dtype, &what);
                    }
                }
            }
        }
    }
}
