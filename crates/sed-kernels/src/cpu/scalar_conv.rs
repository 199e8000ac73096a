//! Convolutions to one channel.

use candle_core::{Result, Tensor, bail};

use super::border::run_pad_rows;
use super::memory::{Values, cpu_values, from_values, require_cpu};
use super::scratch::with_scratch;
use crate::parallel;
use crate::simd::{Element, Isa, Lanes, kernel};
use crate::specs::ScalarTaps;

/// Outputs that share the loads of a weight.
const PIXELS: usize = 4;

/// A convolution with one output channel.
#[derive(Debug, Clone)]
pub(crate) struct ScalarConv(ScalarTaps);

impl ScalarConv {
    /// Creates the layer from its taps, which stay as they are.
    pub(crate) fn of(taps: ScalarTaps) -> Result<Self> {
        Ok(Self(taps))
    }

    /// `x [n, height, width, in]` to `[n, height, width]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        require_cpu(x, "scalar convolution")?;
        let (n, height, width, channels) = x.dims4()?;
        if channels != self.0.inputs {
            bail!("scalar convolution: {channels} input channels, the weights have {}", self.0.inputs);
        }
        let y = self.forward_values(&cpu_values(x)?, (height, width), Isa::best());
        from_values(y, (n, height, width))
    }

    fn forward_values(&self, x: &Values<'_>, (height, width): (usize, usize), isa: Isa) -> Vec<f32> {
        let image = height * width * self.0.inputs;
        let mut y = vec![0.0; x.len() / self.0.inputs];
        let padded = self.padded_len(height, width);
        parallel::chunks(&mut y, height * width, |index, out| {
            let image = &x[index * image..][..image];
            with_scratch(padded, |padded| {
                // SAFETY: the padded image and the output have the sizes that the calls state.
                unsafe {
                    run_pad_rows(isa, image, (height, width, self.0.inputs), self.0.size / 2, 0, padded);
                    run_scalar_rows::<f32>(isa, self, padded, (height, width), 0, out);
                }
            });
        });
        y
    }

    /// Values of an image with the border that [`run_scalar_rows`] reads.
    pub(crate) fn padded_len(&self, height: usize, width: usize) -> usize {
        let border = self.0.size / 2 * 2;
        (height + border) * (width + border) * self.0.inputs
    }
}

#[inline(always)]
unsafe fn scalar_rows<L: Lanes, E: Element>(
    conv: &ScalarConv,
    padded: &[E],
    (height, width): (usize, usize),
    first: usize,
    out: &mut [f32],
) {
    let line = (width + conv.0.size / 2 * 2) * conv.0.inputs;
    let varies = conv.0.kernels.len() > 1;
    for (index, y) in (first..first + out.len() / width).enumerate() {
        let vertical = usize::from(y == 0) | usize::from(y + 1 == height) << 1;
        let mut x = 0;
        while x < width {
            let horizontal = usize::from(x == 0) << 2 | usize::from(x + 1 == width) << 3;
            let edges = if varies { vertical | horizontal } else { 0 };
            // A block of pixels shares one kernel: not the first column, nor the last.
            let block = x + PIXELS < width + usize::from(!varies) && (!varies || x > 0);
            // SAFETY: padded rows y .. y + size exist, and their columns x .. x + PIXELS + size - 1.
            unsafe {
                let input = padded.as_ptr().add(y * line + x * conv.0.inputs);
                let to = out.as_mut_ptr().add(index * width + x);
                if block {
                    dot::<L, E, PIXELS>(conv, edges, input, line, to);
                    x += PIXELS;
                } else {
                    dot::<L, E, 1>(conv, edges, input, line, to);
                    x += 1;
                }
            }
        }
    }
}

/// `P` neighbouring outputs: the taps of a kernel row are one contiguous run.
#[inline(always)]
unsafe fn dot<L: Lanes, E: Element, const P: usize>(
    conv: &ScalarConv,
    edges: usize,
    input: *const E,
    line: usize,
    out: *mut f32,
) {
    let (kernel, bias) = &conv.0.kernels[edges];
    let run = conv.0.size * conv.0.inputs;
    // SAFETY: the runs of `P` pixels lie in the padded image (`scalar_rows`).
    unsafe {
        let mut acc = [L::splat(0.0); P];
        for ky in 0..conv.0.size {
            let weights = kernel.as_ptr().add(ky * run);
            let values = input.add(ky * line);
            let mut i = 0;
            while i < run {
                let n = run - i;
                let w = L::load_upto(weights.add(i), n);
                for (p, sum) in acc.iter_mut().enumerate() {
                    *sum = L::fma(E::load_lanes::<L>(values.add(p * conv.0.inputs + i), n), w, *sum);
                }
                i += L::WIDTH;
            }
        }
        for (p, sum) in acc.into_iter().enumerate() {
            *out.add(p) = L::sum(sum) + bias;
        }
    }
}

kernel! {
    /// Rows of one image `[height, width]`, from `first` on: `padded` is the whole image with a border of
    /// half the kernel, `out` holds whole rows.
    pub(crate) unsafe fn run_scalar_rows<E>(
        conv: &ScalarConv,
        padded: &[E],
        size: (usize, usize),
        first: usize,
        out: &mut [f32],
    ) = scalar_rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::conv2d::tests::naive;
    use crate::testing::{assert_close, random, tensor};

    #[test]
    fn equals_the_definition() {
        for (h, w, inputs) in [(5, 9, 16), (1, 1, 3), (12, 24, 7), (2, 5, 40)] {
            let (x, weight, bias) = (random(2 * h * w * inputs, 1), random(inputs * 9, 2), random(1, 3));
            let taps = ScalarTaps::plain(&tensor(&weight, &[1, inputs, 3, 3]), &tensor(&bias, &[1]));
            let conv = ScalarConv::of(taps.unwrap()).unwrap();
            let want: Vec<f32> = x
                .chunks_exact(h * w * inputs)
                .flat_map(|image| naive(image, (h, w, inputs), &weight, Some(&bias), (1, 3)))
                .collect();
            let x = tensor(&x, &[2, h, w, inputs]);
            for isa in Isa::available() {
                let got = conv.forward_values(&cpu_values(&x).unwrap(), (h, w), isa);
                assert_close(&got, &want, 5e-5, &format!("{isa:?} {h}×{w}×{inputs}"));
            }
        }
    }

    #[test]
    fn a_composition_equals_the_chain_at_the_edges_too() {
        for (h, w, inputs, mid) in [(6, 6, 8, 12), (24, 24, 20, 16), (1, 3, 5, 4), (2, 1, 5, 4), (1, 1, 2, 2)]
        {
            let x = random(h * w * inputs, 1);
            let (iw, ib) = (random(mid * inputs * 49, 2), random(mid, 3));
            let (hw, hb) = (random(mid * 9, 4), random(1, 5));
            let inner = naive(&x, (h, w, inputs), &iw, Some(&ib), (mid, 7));
            let want = naive(&inner, (h, w, mid), &hw, Some(&hb), (1, 3));
            let taps = ScalarTaps::composed(
                (&tensor(&iw, &[mid, inputs, 7, 7]), &tensor(&ib, &[mid])),
                (&tensor(&hw, &[1, mid, 3, 3]), &tensor(&hb, &[1])),
            );
            let conv = ScalarConv::of(taps.unwrap()).unwrap();
            let x = tensor(&x, &[1, h, w, inputs]);
            for isa in Isa::available() {
                let got = conv.forward_values(&cpu_values(&x).unwrap(), (h, w), isa);
                assert_close(&got, &want, 3e-4, &format!("{isa:?} {h}×{w}"));
            }
        }
    }
}
