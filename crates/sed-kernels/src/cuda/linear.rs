//! A fully connected layer: a matrix product and our tail.

use candle_core::{DType, Result, Tensor};

use super::epilogue::Epilogue;
use super::product::product;
use crate::specs::{Activation, linear_shape, linear_sizes};

/// A weight in the dtype that it is multiplied in, and a bias in f32.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    /// `[out, in]`
    weight: Tensor,
    pub(super) bias: Option<Tensor>,
}

impl Linear {
    /// Creates the layer from `weight [out, in]` and `bias [out]`.
    pub(crate) fn new(weight: &Tensor, bias: Option<&Tensor>) -> Result<Self> {
        linear_sizes(weight, bias)?;
        let bias = bias.map(vector).transpose()?;
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

    /// `x [.., in]` to `[.., out]` in the weight's dtype.
    pub(crate) fn forward(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        let tail = Epilogue { bias: self.bias.as_ref(), activation, ..Epilogue::default() };
        tail.apply(&self.product(x)?)
    }

    /// The product alone.
    pub(super) fn product(&self, x: &Tensor) -> Result<Tensor> {
        let shape = linear_shape(x, self.inputs(), self.outputs())?;
        let rows = x.elem_count() / self.inputs().max(1);
        let x = x.to_dtype(self.dtype())?.contiguous()?.reshape((rows, self.inputs()))?;
        product(&x, &self.weight)?.reshape(shape)
    }
}

/// A vector of weights as the kernels take it: f32 and contiguous.
pub(super) fn vector(x: &Tensor) -> Result<Tensor> {
    x.flatten_all()?.to_dtype(DType::F32)?.contiguous()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::testing::{DTYPES, assert_near, assert_within, on_device};
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
                    assert_near(&got, &want, dtype, &format!("{rows}×{k}×{n} {activation:?}"));
                }
            }
        }
    }

    #[test]
    fn scales_and_adds() {
        let (rows, columns) = (7, 12);
        let random = |seed| on_device(&tensor(&random(rows * columns, seed), &[rows, columns]), DType::F32);
        let (x, first, second) = (random(1), random(2), random(3));
        let scale = on_device(&tensor(&crate::testing::random(columns, 4), &[columns]), DType::F32);
        let tail = Epilogue {
            scale: Some(&scale.tensor),
            first: Some(&first.tensor),
            second: Some(&second.tensor),
            ..Epilogue::default()
        };
        let want = x.rounded.broadcast_mul(&scale.rounded).unwrap();
        let want = ((want + first.rounded).unwrap() + second.rounded).unwrap();
        assert_within(&tail.apply(&x.tensor).unwrap(), &want, 1e-6, "tail");
    }
}
