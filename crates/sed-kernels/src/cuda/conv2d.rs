//! A square convolution, stride 1, zero padding that keeps the size.

use candle_core::{DType, Result, Tensor, bail};

use super::convolve::{Bias, Convolve, Taps, taps};
use super::convolve_tile::TileConvolve;
use super::linear::vector;
use super::tile_taps::{Tile, TileTaps};
use crate::specs::{Activation, DevicePairs, conv_sizes};

/// `activation(conv(x) + bias)`.
#[derive(Debug, Clone)]
pub(crate) struct Conv2d {
    weight: Weight,
    bias: Option<Tensor>,
    dtype: DType,
    inputs: usize,
    size: usize,
}

/// The weights, laid out for the kernel that suits them.
#[derive(Debug, Clone)]
enum Weight {
    Any(Taps),
    Tile(TileTaps),
}

impl Conv2d {
    /// Creates the layer from `weight [out, in, size, size]` (odd size) and `bias [out]`.
    pub(crate) fn new(weight: &Tensor, bias: Option<&Tensor>) -> Result<Self> {
        let (out, inputs, size) = conv_sizes(weight, bias)?;
        let (taps, dtype) = (taps(weight)?, weight.dtype());
        let weight = match Tile::plain(dtype, size, inputs, out) {
            Some(tile) => Weight::Tile(TileTaps::new(&taps, (1, size), tile, tile.channels)?),
            None => Weight::Any(Taps::new(&taps)?),
        };
        Ok(Self { weight, bias: bias.map(vector).transpose()?, dtype, inputs, size })
    }

    /// `x [n, height, width, in]` to `[n, height, width, out]` in the weight's dtype.
    pub(crate) fn forward(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        self.run(x, activation, None)
    }

    /// As [`crate::Conv2d::forward_pairs`].
    pub(crate) fn forward_pairs(
        &self,
        x: &Tensor,
        activation: Activation,
        pairs: &DevicePairs,
    ) -> Result<Tensor> {
        pairs.check(x)?;
        self.run(x, activation, Some(&pairs.live()?))
    }

    fn run(&self, x: &Tensor, activation: Activation, live: Option<&Tensor>) -> Result<Tensor> {
        let (_, _, _, channels) = x.dims4()?;
        if channels != self.inputs {
            bail!("convolution: {channels} input channels, the weights have {}", self.inputs);
        }
        let x = x.to_dtype(self.dtype)?.contiguous()?;
        let bias = self.bias.as_ref().map(Bias::plain);
        match (&self.weight, activation) {
            (Weight::Any(weight), _) => {
                Convolve { bias, live, activation, ..Convolve::new(&x, weight, self.size) }.run()
            }
            (Weight::Tile(_), Activation::Gelu) => {
                bail!("convolution: no kernel of {:?} ends in GELU", self.dtype)
            }
            (Weight::Tile(weight), _) => {
                let relu = activation == Activation::Relu;
                TileConvolve { bias, live, relu, ..TileConvolve::new(&x, weight) }.run()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use super::*;
    use crate::cuda::testing::{DTYPES, assert_near, device, on_device};
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
            // The embedding of similarities, and more channels than are in shared memory together.
            (7, 1, 9, 3, 80, 128),
            (3, 1, 3, 10, 128, 16),
            (5, 1, 10, 3, 16, 24),
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
    #[test]
    fn pairs_that_count_are_those_of_a_batch() {
        for (size, inputs, out) in [(3, 5, 3), (3, 16, 40), (7, 80, 128)] {
            let (n, h, w) = (3, 2, 9);
            let x = tensor(&random(n * h * w * inputs, 1), &[n, h, w, inputs]);
            let weight = tensor(&random(out * inputs * size * size, 2), &[out, inputs, size, size]);
            for dtype in DTYPES {
                let (x, weight) = (on_device(&x, dtype).tensor, on_device(&weight, dtype).tensor);
                let conv = Conv2d::new(&weight, None).unwrap();
                let bits = |x: &Tensor, first: usize, count: usize| -> Vec<u32> {
                    let x = x.narrow(0, first, count).unwrap().to_dtype(DType::F32).unwrap();
                    let x: Vec<f32> = x.flatten_all().unwrap().to_vec1().unwrap();
                    x.into_iter().map(f32::to_bits).collect()
                };
                let batch = conv.forward(&x, Activation::None).unwrap();
                let alone = conv.forward(&x.narrow(0, 1, 1).unwrap(), Activation::None).unwrap();
                assert_eq!(bits(&alone, 0, 1), bits(&batch, 1, 1), "{size} {inputs}→{out} {dtype:?}");
                let block = Tensor::new(vec![0u32, 2, 0, 0, 0, 0, 0, 0, 2], &device()).unwrap();
                let pairs = DevicePairs::within(&block, 1, n).unwrap();
                let got = conv.forward_pairs(&x, Activation::None, &pairs).unwrap();
                assert_eq!(bits(&got, 0, 2), bits(&batch, 0, 2), "{size} {inputs}→{out} {dtype:?}");
            }
        }
    }
}
