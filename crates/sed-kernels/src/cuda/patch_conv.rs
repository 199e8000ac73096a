//! A convolution whose stride is its size: a launch lays patches out as rows, then it is a matrix product.

use candle_core::{Result, Tensor, bail};

use super::launch::Launch;
use super::layer_norm::LayerNorm;
use super::linear::Linear;
use super::memory::Output;
use crate::specs::{Activation, PatchConvWeights};

/// Threads of a block.
const THREADS: usize = 256;

/// ConvNeXt's stem and downsampling layers: patches (normalised first, or as they are), a product, a norm. A
/// layer is two launches, with a norm behind the product three.
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
        let (_, height, width, channels) = x.dims4()?;
        let size = self.size;
        if channels != self.inputs || height % size != 0 || width % size != 0 {
            bail!("patch convolution: input {:?} is not a whole number of patches", x.shape());
        }
        let x = x.to_dtype(self.linear.dtype())?;
        let patches = match &self.norm_before {
            Some(norm) => norm.forward_patches(&x, size)?,
            None => patches(&x, size)?,
        };
        let y = self.linear.forward(&patches, Activation::None)?;
        self.norm_after.as_ref().map_or(Ok(y.clone()), |norm| norm.forward(&y))
    }
}

/// `x [n, height, width, C]`, whose sides are multiples of `size`, as rows of patches:
/// `[n, height / size, width / size, size · size · C]`.
fn patches(x: &Tensor, size: usize) -> Result<Tensor> {
    let (n, height, width, channels) = x.dims4()?;
    let x = x.contiguous()?;
    let (rows, columns, run) = (height / size, width / size, size * channels);
    // Four values are read at once where runs and the map start at multiples of four.
    let four = run.is_multiple_of(4) && x.layout().start_offset().is_multiple_of(4);
    let (kernel, width) = if four { ("patches4", 4) } else { ("patches", 1) };
    let parts = (columns * size * run).div_ceil(THREADS * width);
    let mut y = Output::new(x.device(), x.dtype(), (n, rows, columns, size * run))?;
    Launch::new(kernel, x.dtype(), [n * rows, parts, 1], THREADS)?
        .input(&x)?
        .output(&mut y)?
        .i32(columns)?
        .i32(size)?
        .i32(run)?
        .run(x.device())?;
    Ok(y.into_tensor())
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use super::*;
    use crate::cuda::testing::{DTYPES, OnDevice, assert_near, on_device};
    use crate::testing::{random, tensor};

    #[test]
    fn equals_the_cpu() {
        // Runs of 12 values are copied by fours, those of 9 one by one.
        for (size, n, h, w, inputs, out) in [(4, 2, 8, 12, 3, 20), (2, 1, 6, 4, 16, 32), (3, 1, 3, 6, 3, 8)] {
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
                let weights = |of| PatchConvWeights { norm_before: None, ..weights(of) };
                let cpu = crate::cpu::PatchConv::new(&weights(|x| &x.rounded), 1e-6).unwrap();
                let conv = PatchConv::new(&weights(|x| &x.tensor), 1e-6).unwrap();
                let (got, want) = (conv.forward(&x.tensor).unwrap(), cpu.forward(&x.rounded).unwrap());
                assert_near(&got, &want, dtype, &format!("{size}, pixels as they are"));
            }
        }
    }
}
