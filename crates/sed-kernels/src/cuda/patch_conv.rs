//! A convolution whose stride is its size: patches are laid out as rows, then it is a matrix product.

use candle_core::{Result, Tensor, bail};

use super::layer_norm::LayerNorm;
use super::linear::Linear;
use crate::specs::{Activation, PatchConvWeights};

/// ConvNeXt's stem and downsampling layers.
#[derive(Debug, Clone)]
pub(crate) struct PatchConv {
    linear: Linear,
    norm_before: Option<LayerNorm>,
    norm_after: Option<LayerNorm>,
    inputs: usize,
    size: usize,
}

impl PatchConv {
    /// Creates the layer from its weights; `eps` is the epsilon of the norms.
    pub(crate) fn new(weights: &PatchConvWeights<'_>, eps: f64) -> Result<Self> {
        let (out, inputs, size) = weights.sizes()?;
        let rows =
            weights.weight.permute((0, 2, 3, 1))?.contiguous()?.reshape((out, size * size * inputs))?;
        let norm = |(weight, bias)| LayerNorm::new(weight, bias, eps);
        Ok(Self {
            linear: Linear::new(&rows, Some(weights.bias))?,
            norm_before: weights.norm_before.map(norm).transpose()?,
            norm_after: weights.norm_after.map(norm).transpose()?,
            inputs,
            size,
        })
    }

    /// `x [n, height, width, in]` to `[n, height / size, width / size, out]` in the weight's dtype.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (n, height, width, channels) = x.dims4()?;
        let size = self.size;
        if channels != self.inputs || height % size != 0 || width % size != 0 {
            bail!("patch convolution: input {:?} is not a whole number of patches", x.shape());
        }
        let x = x.to_dtype(self.linear.dtype())?;
        let x = self.norm_before.as_ref().map_or(Ok(x.clone()), |norm| norm.forward(&x))?;
        let (rows, columns) = (height / size, width / size);
        let patches = x
            .reshape((n, rows, size, columns, size * channels))?
            .permute((0, 1, 3, 2, 4))?
            .contiguous()?
            .reshape((n, rows, columns, size * size * channels))?;
        let y = self.linear.forward(&patches, Activation::None)?;
        self.norm_after.as_ref().map_or(Ok(y.clone()), |norm| norm.forward(&y))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use super::*;
    use crate::cuda::testing::{DTYPES, OnDevice, assert_near, on_device};
    use crate::testing::{random, tensor};

    #[test]
    fn equals_the_cpu() {
        for (size, n, h, w, inputs, out) in [(4, 2, 8, 12, 3, 20), (2, 1, 6, 4, 16, 32)] {
            let x = tensor(&random(n * h * w * inputs, 1), &[n, h, w, inputs]);
            let weight = tensor(&random(out * inputs * size * size, 2), &[out, inputs, size, size]);
            let v = |n: usize, seed| on_device(&tensor(&random(n, seed), &[n]), DType::F32);
            let (bias, nw, nb, aw, ab) = (v(out, 3), v(inputs, 4), v(inputs, 5), v(out, 6), v(out, 7));
            for dtype in DTYPES {
                let (x, weight) = (on_device(&x, dtype), on_device(&weight, dtype));
                let weights = |of: fn(&OnDevice) -> &Tensor| PatchConvWeights {
                    weight: of(&weight),
                    bias: of(&bias),
                    norm_before: Some((of(&nw), of(&nb))),
                    norm_after: Some((of(&aw), of(&ab))),
                };
                let cpu = crate::cpu::PatchConv::new(&weights(|x| &x.rounded), 1e-6).unwrap();
                let want = cpu.forward(&x.rounded).unwrap();
                let conv = PatchConv::new(&weights(|x| &x.tensor), 1e-6).unwrap();
                assert_near(&conv.forward(&x.tensor).unwrap(), &want, dtype, &format!("{size}"));
            }
        }
    }
}
