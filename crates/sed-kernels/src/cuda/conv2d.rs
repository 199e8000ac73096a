//! A square convolution, stride 1, zero padding that keeps the size.

use candle_core::{Result, Tensor, bail};

use super::convolve::{Convolve, Kernel, Taps};
use super::linear::vector;
use crate::specs::{Activation, conv_sizes};

/// `activation(conv(x) + bias)`.
#[derive(Debug, Clone)]
pub(crate) struct Conv2d {
    weight: Taps,
    bias: Option<Tensor>,
    inputs: usize,
    size: usize,
}

impl Conv2d {
    /// Creates the layer from `weight [out, in, size, size]` (odd size) and `bias [out]`.
    pub(crate) fn new(weight: &Tensor, bias: Option<&Tensor>) -> Result<Self> {
        let (out, inputs, size) = conv_sizes(weight, bias)?;
        let kernel = Kernel::suiting(weight.dtype(), &[inputs], out);
        Ok(Self { weight: Taps::of(weight, kernel)?, bias: bias.map(vector).transpose()?, inputs, size })
    }

    /// `x [n, height, width, in]` to `[n, height, width, out]` in the weight's dtype.
    pub(crate) fn forward(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        let (_, _, _, channels) = x.dims4()?;
        if channels != self.inputs {
            bail!("convolution: {channels} input channels, the weights have {}", self.inputs);
        }
        let x = x.to_dtype(self.weight.dtype())?.contiguous()?;
        let bias = self.bias.as_ref();
        Convolve { bias, activation, ..Convolve::new(&x, &self.weight, self.size) }.run()
    }
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use super::*;
    use crate::cuda::testing::{DTYPES, assert_near, on_device};
    use crate::testing::{random, tensor};

    #[test]
    fn equals_the_cpu() {
        for (size, n, h, w, inputs, out) in [
            (3, 2, 7, 9, 5, 3),
            (7, 1, 6, 6, 40, 33),
            (3, 1, 6, 12, 20, 16),
            (3, 1, 1, 1, 2, 70),
            (1, 1, 3, 3, 8, 8),
            // For tensor cores: several tiles of everything, steps of k that are not whole.
            (3, 2, 9, 17, 24, 72),
            (7, 1, 6, 7, 40, 32),
            (3, 1, 12, 12, 8, 16),
        ] {
            let x = tensor(&random(n * h * w * inputs, 1), &[n, h, w, inputs]);
            let weight = tensor(&random(out * inputs * size * size, 2), &[out, inputs, size, size]);
            let bias = tensor(&random(out, 3), &[out]);
            for dtype in DTYPES {
                let (x, weight) = (on_device(&x, dtype), on_device(&weight, dtype));
                let bias = on_device(&bias, DType::F32);
                let cpu = crate::cpu::Conv2d::new(&weight.rounded, Some(&bias.rounded)).unwrap();
                let want = cpu.forward(&x.rounded, Activation::Relu).unwrap();
                let conv = Conv2d::new(&weight.tensor, Some(&bias.tensor)).unwrap();
                let got = conv.forward(&x.tensor, Activation::Relu).unwrap();
                assert_near(&got, &want, dtype, &format!("{size} {n}×{h}×{w}×{inputs}→{out}"));
            }
        }
    }
}
