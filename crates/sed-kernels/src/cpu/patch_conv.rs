//! A convolution whose stride is its size: every patch becomes one row of a matrix product.

use candle_core::{Result, Tensor, bail};

use super::convolve::pack_taps;
use super::epilogue::Epilogue;
use super::layer_norm::{LayerNorm, run_layer_norm_rows};
use super::memory::{Values, cpu_values, from_values, require_cpu, to_vec, written};
use super::product::pack::PackedMatrix;
use super::product::{Product, run_product};
use super::scratch::with_scratch;
use crate::parallel;
use crate::simd::Isa;
use crate::specs::PatchConvWeights;

/// Patches that one task multiplies.
const PATCHES: usize = 96;

/// ConvNeXt's stem and downsampling layers, with the layer norm that goes before or after them.
#[derive(Debug, Clone)]
pub(crate) struct PatchConv {
    weights: PackedMatrix,
    bias: Vec<f32>,
    norm_before: Option<LayerNorm>,
    norm_after: Option<LayerNorm>,
    inputs: usize,
    size: usize,
}

impl PatchConv {
    /// Packs the weights; `eps` is that of the norms.
    pub(crate) fn new(weights: &PatchConvWeights<'_>, eps: f64) -> Result<Self> {
        require_cpu(weights.weight, "patch convolution")?;
        let (out, inputs, size) = weights.sizes()?;
        let norm = |(weight, bias)| LayerNorm::new(weight, bias, eps);
        let dtype = weights.weight.dtype();
        Ok(Self {
            weights: pack_taps(&to_vec(weights.weight)?, (out, inputs, size), 0..inputs, dtype),
            bias: to_vec(weights.bias)?,
            norm_before: weights.norm_before.map(norm).transpose()?,
            norm_after: weights.norm_after.map(norm).transpose()?,
            inputs,
            size,
        })
    }

    /// As [`crate::PatchConv::forward`].
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        require_cpu(x, "patch convolution")?;
        let (n, height, width, channels) = x.dims4()?;
        if channels != self.inputs || height % self.size != 0 || width % self.size != 0 {
            bail!("patch convolution: input {:?} is not a whole number of patches", x.shape());
        }
        let y = self.forward_values(&cpu_values(x)?, width, Isa::best());
        from_values(y, (n, height / self.size, width / self.size, self.weights.n))
    }

    fn forward_values(&self, x: &Values<'_>, width: usize, isa: Isa) -> Vec<f32> {
        let (size, inputs, outputs) = (self.size, self.inputs, self.weights.n);
        let (values, run) = (size * size * inputs, size * inputs);
        let columns = width / size;
        let patches = x.len() / values;
        let block = patches.div_ceil(parallel::threads()).clamp(1, PATCHES);
        let stride = values + 16;
        let fill = |index: usize, out: &mut [f32]| {
            let count = out.len() / outputs;
            with_scratch(block * stride, |rows| {
                for (row, patch) in rows.chunks_mut(stride).take(count).zip(index * block..) {
                    // The image's index drops out: patch rows follow each other across images.
                    let (py, px) = (patch / columns, patch % columns);
                    for (ky, to) in row[..values].chunks_exact_mut(run).enumerate() {
                        let from = ((py * size + ky) * width + px * size) * inputs;
                        to.copy_from_slice(&x[from..from + run]);
                    }
                    if let Some(norm) = &self.norm_before {
                        // SAFETY: the row holds size² pixels of `inputs` channels.
                        unsafe { run_layer_norm_rows(isa, norm, row.as_mut_ptr(), size * size, inputs) };
                    }
                }
                let epilogue = Epilogue { bias: Some(&self.bias), ..Epilogue::default() };
                let (a, c) = ((rows.as_ptr(), stride), (out.as_mut_ptr(), outputs));
                // SAFETY: `rows` holds `count` padded patches, `out` has room for their outputs.
                unsafe {
                    run_product(isa, &Product::whole(a, count, &self.weights, c, Some(epilogue)));
                    if let Some(norm) = &self.norm_after {
                        run_layer_norm_rows(isa, norm, out.as_mut_ptr(), count, outputs);
                    }
                }
            });
        };
        // SAFETY: the products store the outputs of every patch.
        unsafe { written(patches * outputs, |y| parallel::chunks(y, block * outputs, fill)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, random, tensor};

    #[test]
    fn equals_the_definition() {
        for (size, n, h, w, inputs, out) in [(4, 2, 8, 12, 3, 40), (2, 1, 6, 4, 16, 32)] {
            let x = random(n * h * w * inputs, 1);
            let (weight, bias) = (random(out * inputs * size * size, 2), random(out, 3));
            let (nw, nb) = (random(inputs, 4), random(inputs, 5));
            let (aw, ab) = (random(out, 6), random(out, 7));
            let v = |values: &[f32]| tensor(values, &[values.len()]);
            let conv = PatchConv::new(
                &PatchConvWeights {
                    weight: &tensor(&weight, &[out, inputs, size, size]),
                    bias: &v(&bias),
                    norm_before: Some((&v(&nw), &v(&nb))),
                    norm_after: Some((&v(&aw), &v(&ab))),
                },
                1e-6,
            )
            .unwrap();
            let normed = crate::cpu::layer_norm::tests::naive(&x, &nw, &nb, 1e-6);
            let mut sums = Vec::new();
            for image in normed.chunks_exact(h * w * inputs) {
                for (oy, ox) in (0..h / size).flat_map(|y| (0..w / size).map(move |x| (y, x))) {
                    for o in 0..out {
                        let mut sum = bias[o];
                        for (ky, kx) in (0..size).flat_map(|y| (0..size).map(move |x| (y, x))) {
                            for i in 0..inputs {
                                let pixel = (oy * size + ky) * w + ox * size + kx;
                                sum += image[pixel * inputs + i]
                                    * weight[((o * inputs + i) * size + ky) * size + kx];
                            }
                        }
                        sums.push(sum);
                    }
                }
            }
            let want = crate::cpu::layer_norm::tests::naive(&sums, &aw, &ab, 1e-6);
            let x = tensor(&x, &[n, h, w, inputs]);
            for isa in Isa::available() {
                let got = conv.forward_values(&cpu_values(&x).unwrap(), w, isa);
                assert_close(&got, &want, 2e-5, &format!("{isa:?} {size}"));
            }
        }
    }
}
