//! A square convolution, stride 1, zero padding that keeps the size.

use candle_core::{Result, Tensor, bail};
use half::bf16;

use super::border::{clear, pad_rows};
use super::convolve::{OutputRow, Taps, convolve_row, pack_taps};
use super::epilogue::Epilogue;
use super::memory::{Values, cpu_values, from_values, require_cpu, to_vec, written};
use super::product::pack::PackedMatrix;
use super::scratch::Scratch;
use crate::parallel;
use crate::simd::{Element, Isa, Lanes, kernel};
use crate::specs::{Activation, conv_sizes};

/// Values of a padded strip of rows: about what the second-level cache holds beside the weights.
const STRIP_VALUES: usize = 96 * 1024;

/// `activation(conv(x) + bias)` with packed weights.
#[derive(Debug, Clone)]
pub(crate) struct Conv2d {
    weights: PackedMatrix,
    bias: Option<Vec<f32>>,
    inputs: usize,
    size: usize,
}

impl Conv2d {
    /// Packs `weight [out, in, size, size]` (odd size) and `bias [out]`.
    pub(crate) fn new(weight: &Tensor, bias: Option<&Tensor>) -> Result<Self> {
        require_cpu(weight, "convolution")?;
        let (out, inputs, size) = conv_sizes(weight, bias)?;
        let weights = pack_taps(&to_vec(weight)?, (out, inputs, size), 0..inputs, weight.dtype());
        Ok(Self { weights, bias: bias.map(to_vec).transpose()?, inputs, size })
    }

    /// `x [n, height, width, in]` to `[n, height, width, out]`.
    pub(crate) fn forward(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        require_cpu(x, "convolution")?;
        let (n, height, width, channels) = x.dims4()?;
        if channels != self.inputs {
            bail!("convolution: {channels} input channels, the weights have {}", self.inputs);
        }
        let y = self.forward_values(&cpu_values(x)?, (height, width), activation, Isa::best());
        from_values(y, (n, height, width, self.weights.n))
    }

    fn forward_values(
        &self,
        x: &Values<'_>,
        (height, width): (usize, usize),
        activation: Activation,
        isa: Isa,
    ) -> Vec<f32> {
        let radius = self.size / 2;
        let image = height * width * self.inputs;
        let images = x.len() / image.max(1);
        let line = (width + 2 * radius) * self.inputs;
        let rows = (STRIP_VALUES / line).saturating_sub(2 * radius).clamp(1, height);
        // Few images: smaller strips, so that every thread has work.
        let tasks = parallel::threads().div_ceil(images.max(1));
        let rows = rows.min(height.div_ceil(tasks));
        let out_line = width * self.weights.n;
        let strips = height.div_ceil(rows);
        let fill = |index: usize, out: &mut [f32]| {
            let (image, first) = (&x[index / strips * image..][..image], index % strips * rows);
            let padded = Strip { conv: self, image, height, width, first, activation };
            // SAFETY: the strip has whole rows of the image's output.
            unsafe { run_strip(isa, padded, out) };
        };
        // SAFETY: every strip stores all of its rows.
        unsafe {
            written(images * height * out_line, |y| {
                let images = y.chunks_mut((height * out_line).max(1));
                let mut strips: Vec<_> = images.flat_map(|image| image.chunks_mut(rows * out_line)).collect();
                parallel::chunks(&mut strips, 1, |index, strip| {
                    strip.iter_mut().for_each(|out| fill(index, out))
                });
            })
        }
    }
}

/// A strip of output rows of one image.
#[derive(Clone, Copy)]
struct Strip<'a> {
    conv: &'a Conv2d,
    image: &'a [f32],
    height: usize,
    width: usize,
    /// Its first row.
    first: usize,
    activation: Activation,
}

#[inline(always)]
unsafe fn strip<L: Lanes>(at: Strip<'_>, out: &mut [f32]) {
    // SAFETY: the caller's.
    unsafe {
        if at.conv.weights.is_bf16() { strip_of::<L, bf16>(at, out) } else { strip_of::<L, f32>(at, out) }
    }
}

#[inline(always)]
unsafe fn strip_of<L: Lanes, E: Element>(at: Strip<'_>, out: &mut [f32]) {
    let Strip { conv, image, height, width, first, activation } = at;
    let radius = conv.size / 2;
    let values = (out.len() / (width * conv.weights.n) + 2 * radius) * (width + 2 * radius) * conv.inputs;
    let mut scratch = Scratch::lend(E::room(values + E::STEP));
    let padded = E::view(&mut scratch, values + E::STEP);
    clear(&mut padded[values..]);
    // SAFETY: the instruction set is the caller's duty.
    unsafe { pad_rows::<L, E>(image, (height, width, conv.inputs), radius, first, &mut padded[..values]) };
    let outputs = conv.weights.n;
    let line = (width + 2 * radius) * conv.inputs;
    let rows = out.len() / (width * outputs);
    let epilogue = Epilogue { bias: conv.bias.as_deref(), activation, ..Epilogue::default() };
    let mut panel = 0;
    while panel < conv.weights.panels() {
        let mut done = 0;
        for row in 0..rows {
            // SAFETY: padded rows `row .. row + size` exist for every output row.
            unsafe {
                let taps = Taps {
                    input: padded.as_ptr().add(row * line),
                    pixel_stride: conv.inputs,
                    run_stride: line,
                    run: conv.size * conv.inputs,
                    runs: conv.size,
                    weights: &conv.weights,
                };
                let out = out.as_mut_ptr().add(row * width * outputs);
                let to = OutputRow { pixels: width, out, stride: outputs, epilogue };
                done = convolve_row::<L, E, f32>(&[taps], &to, panel);
            }
        }
        panel += done;
    }
}

kernel! {
    unsafe fn run_strip(at: Strip<'_>, out: &mut [f32]) = strip
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::testing::{assert_close, random, tensor};

    /// The definition for one image `x [h, w, inputs]`, `weight [out, inputs, size, size]`.
    pub(crate) fn naive(
        x: &[f32],
        (h, w, inputs): (usize, usize, usize),
        weight: &[f32],
        bias: Option<&[f32]>,
        (out, size): (usize, usize),
    ) -> Vec<f32> {
        let radius = size / 2;
        let mut y = Vec::with_capacity(h * w * out);
        for oy in 0..h {
            for ox in 0..w {
                for o in 0..out {
                    let mut sum = bias.map_or(0.0, |b| f64::from(b[o]));
                    for ky in 0..size {
                        for kx in 0..size {
                            let (iy, ix) = (oy + ky, ox + kx);
                            if iy < radius || ix < radius || iy - radius >= h || ix - radius >= w {
                                continue;
                            }
                            let pixel = ((iy - radius) * w + ix - radius) * inputs;
                            for i in 0..inputs {
                                let tap = weight[((o * inputs + i) * size + ky) * size + kx];
                                sum += f64::from(x[pixel + i]) * f64::from(tap);
                            }
                        }
                    }
                    y.push(sum as f32);
                }
            }
        }
        y
    }

    #[test]
    fn equals_the_definition() {
        for (size, n, h, w, inputs, out) in [
            (3, 2, 7, 9, 5, 3),
            (7, 1, 6, 6, 80, 33),
            (3, 1, 12, 24, 40, 16),
            (3, 1, 1, 1, 2, 50),
            (1, 1, 3, 3, 8, 8),
        ] {
            let x = random(n * h * w * inputs, 1);
            let (weight, bias) = (random(out * inputs * size * size, 2), random(out, 3));
            let conv =
                Conv2d::new(&tensor(&weight, &[out, inputs, size, size]), Some(&tensor(&bias, &[out])))
                    .unwrap();
            let want: Vec<f32> = x
                .chunks_exact(h * w * inputs)
                .flat_map(|image| naive(image, (h, w, inputs), &weight, Some(&bias), (out, size)))
                .map(|v| v.max(0.0))
                .collect();
            let x = tensor(&x, &[n, h, w, inputs]);
            for isa in Isa::available() {
                let got = conv.forward_values(&cpu_values(&x).unwrap(), (h, w), Activation::Relu, isa);
                assert_close(&got, &want, 1e-4, &format!("{isa:?} {size} {n}×{h}×{w}×{inputs}→{out}"));
            }
        }
    }

    #[test]
    fn bf16_convolves_rounded_values() {
        let f32_of = |x: &Tensor| x.to_dtype(candle_core::DType::F32).unwrap();
        for (size, n, h, w, inputs, out) in [(3, 2, 7, 9, 5, 3), (7, 1, 6, 6, 80, 33), (3, 1, 5, 1, 1, 20)] {
            let bf16 = |values: &[f32], shape: &[usize]| {
                tensor(values, shape).to_dtype(candle_core::DType::BF16).unwrap()
            };
            let x = bf16(&random(n * h * w * inputs, 1), &[n, h, w, inputs]);
            let weight = bf16(&random(out * inputs * size * size, 2), &[out, inputs, size, size]);
            let bias = tensor(&random(out, 3), &[out]);
            let conv = Conv2d::new(&weight, Some(&bias)).unwrap();
            let rounded = Conv2d::new(&f32_of(&weight), Some(&bias)).unwrap();
            let x = f32_of(&x);
            for isa in Isa::available() {
                let x = cpu_values(&x).unwrap();
                let got = conv.forward_values(&x, (h, w), Activation::None, isa);
                let want = rounded.forward_values(&x, (h, w), Activation::None, isa);
                assert_close(&got, &want, 1e-4, &format!("{isa:?} {size} {n}×{h}×{w}×{inputs}→{out}"));
            }
        }
    }
}
