//! A convolution whose stride is its size: patches are laid out as rows, then it is a matrix product.

use candle_core::{Result, Tensor, bail};

use super::layer_norm::LayerNorm;
use super::linear::Linear;
use crate::gemm::Activation;

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
    /// Creates the layer from `weight [out, in, size, size]` and `bias [out]`; the norms are over `in` and
    /// `out` channels.
    pub(crate) fn new(
        weight: &Tensor,
        bias: &Tensor,
        norm_before: Option<LayerNorm>,
        norm_after: Option<LayerNorm>,
    ) -> Result<Self> {
        let (out, inputs, size, width) = weight.dims4()?;
        let before = norm_before.as_ref().is_none_or(|norm| norm.channels() == inputs);
        let after = norm_after.as_ref().is_none_or(|norm| norm.channels() == out);
        if size != width || bias.elem_count() != out || !before || !after {
            bail!("patch convolution: weight {:?} does not fit its bias or norms", weight.shape());
        }
        let rows = weight.permute((0, 2, 3, 1))?.contiguous()?.reshape((out, size * size * inputs))?;
        Ok(Self { linear: Linear::new(&rows, Some(bias))?, norm_before, norm_after, inputs, size })
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
    use crate::cuda::testing::{DTYPES, assert_near, on_device};
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
                let norm = |w: &Tensor, b: &Tensor| crate::layer_norm::LayerNorm::new(w, b, 1e-6).unwrap();
                let before = norm(&nw.rounded, &nb.rounded);
                let after = norm(&aw.rounded, &ab.rounded);
                let cpu =
                    crate::conv::PatchConv::new(&weight.rounded, &bias.rounded, Some(before), Some(after));
                let want = cpu.unwrap().forward(&x.rounded).unwrap();
                let before = LayerNorm::new(&nw.tensor, &nb.tensor, 1e-6).unwrap();
                let after = LayerNorm::new(&aw.tensor, &ab.tensor, 1e-6).unwrap();
                let conv = PatchConv::new(&weight.tensor, &bias.tensor, Some(before), Some(after)).unwrap();
                assert_near(&conv.forward(&x.tensor).unwrap(), &want, dtype, &format!("{size}"));
            }
        }
    }
}
