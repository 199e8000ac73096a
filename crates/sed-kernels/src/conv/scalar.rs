//! Convolutions to one channel: the decoder's heads, and head 0 composed with the convolution before it.

use candle_core::{Result, Tensor, bail};

use super::border::run_pad_rows;
use crate::gemm::element::Element;
use crate::parallel;
use crate::scratch::with_scratch;
use crate::simd::{Isa, Lanes, kernel};
use crate::tensor::{Values, cpu_values, from_values, require_cpu, to_vec};

/// Outputs that share the loads of a weight.
const PIXELS: usize = 4;

/// A convolution with one output channel, stride 1, zero padding that keeps the size.
///
/// Kernels may differ at the image's edges: composing two zero-padded convolutions gives one kernel for
/// the inside and others for the outermost rows and columns, where taps of the second fall outside.
#[derive(Debug, Clone)]
pub(crate) struct ScalarConv {
    /// By edges (bit 0 top, 1 bottom, 2 left, 3 right): kernel `[(ky, kx, in)]` and bias. A plain
    /// convolution has only the first.
    kernels: Vec<(Vec<f32>, f32)>,
    inputs: usize,
    size: usize,
}

impl ScalarConv {
    /// Creates the layer from `weight [1, in, size, size]` (odd size) and `bias [1]`.
    pub(crate) fn new(weight: &Tensor, bias: &Tensor) -> Result<Self> {
        require_cpu(weight, "scalar convolution")?;
        let (out, inputs, size, width) = weight.dims4()?;
        if out != 1 || size != width || size % 2 == 0 {
            bail!("scalar convolution: weight {:?} is not [1, in, odd, odd]", weight.shape());
        }
        let taps = weight.reshape((inputs, size * size))?.t()?.contiguous()?;
        let bias = to_vec(&bias.flatten_all()?)?;
        Ok(Self { kernels: vec![(to_vec(&taps)?, bias[0])], inputs, size })
    }

    /// The composition `head(inner(x))` as one convolution: `inner_weight [mid, in, a, a]`,
    /// `inner_bias [mid]`, `head_weight [1, mid, b, b]`, `head_bias [1]`, both zero-padded; the result
    /// has size `a + b - 1` and equals the chain at the edges too.
    pub(crate) fn composed(
        inner_weight: &Tensor,
        inner_bias: &Tensor,
        head_weight: &Tensor,
        head_bias: &Tensor,
    ) -> Result<Self> {
        require_cpu(inner_weight, "scalar convolution")?;
        let (mid, inputs, a, _) = inner_weight.dims4()?;
        let (out, head_mid, b, _) = head_weight.dims4()?;
        if out != 1 || head_mid != mid || a % 2 == 0 || b != 3 {
            bail!(
                "scalar convolution: {:?} after {:?} cannot be composed",
                head_weight.shape(),
                inner_weight.shape()
            );
        }
        // Per head tap (hy, hx): the inner kernel and bias seen through it, [b², in · a²] and [b²].
        let head = head_weight.reshape((mid, b * b))?.t()?.contiguous()?;
        let through = to_vec(&head.matmul(&inner_weight.reshape((mid, inputs * a * a))?)?)?;
        let bias_through = to_vec(&head.matmul(&inner_bias.reshape((mid, 1))?)?.flatten_all()?)?;
        let head_bias = to_vec(&head_bias.flatten_all()?)?[0];
        let size = a + b - 1;
        let kernels = (0..16usize)
            .map(|edges| {
                let mut kernel = vec![0.0; size * size * inputs];
                let mut bias = head_bias;
                for (hy, hx) in (0..b).flat_map(|y| (0..b).map(move |x| (y, x))) {
                    let outside = (edges & 1 != 0 && hy == 0)
                        || (edges & 2 != 0 && hy == b - 1)
                        || (edges & 4 != 0 && hx == 0)
                        || (edges & 8 != 0 && hx == b - 1);
                    if outside {
                        continue;
                    }
                    let tap = hy * b + hx;
                    bias += bias_through[tap];
                    let inner = &through[tap * inputs * a * a..][..inputs * a * a];
                    for i in 0..inputs {
                        for (ky, kx) in (0..a).flat_map(|y| (0..a).map(move |x| (y, x))) {
                            kernel[((ky + hy) * size + kx + hx) * inputs + i] += inner[(i * a + ky) * a + kx];
                        }
                    }
                }
                (kernel, bias)
            })
            .collect();
        Ok(Self { kernels, inputs, size })
    }

    /// By edges: kernel `[(ky, kx, in)]` and bias.
    pub(crate) fn kernels(&self) -> &[(Vec<f32>, f32)] {
        &self.kernels
    }

    /// Input channels and side of the kernel.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.inputs, self.size)
    }

    /// `x [n, height, width, in]` to `[n, height, width]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        require_cpu(x, "scalar convolution")?;
        let (n, height, width, channels) = x.dims4()?;
        if channels != self.inputs {
            bail!("scalar convolution: {channels} input channels, the weights have {}", self.inputs);
        }
        let y = self.forward_values(&cpu_values(x)?, (height, width), Isa::best());
        from_values(y, (n, height, width))
    }

    fn forward_values(&self, x: &Values<'_>, (height, width): (usize, usize), isa: Isa) -> Vec<f32> {
        let image = height * width * self.inputs;
        let mut y = vec![0.0; x.len() / self.inputs];
        let padded = self.padded_len(height, width);
        parallel::chunks(&mut y, height * width, |index, out| {
            let image = &x[index * image..][..image];
            with_scratch(padded, |padded| {
                // SAFETY: the padded image and the output have the sizes that the calls state.
                unsafe {
                    run_pad_rows(isa, image, (height, width, self.inputs), self.size / 2, 0, padded);
                    run_scalar_rows::<f32>(isa, self, padded, (height, width), 0, out);
                }
            });
        });
        y
    }

    /// Values of an image with the border that [`run_scalar_rows`] reads.
    pub(crate) fn padded_len(&self, height: usize, width: usize) -> usize {
        let border = self.size / 2 * 2;
        (height + border) * (width + border) * self.inputs
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
    let line = (width + conv.size / 2 * 2) * conv.inputs;
    let varies = conv.kernels.len() > 1;
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
                let input = padded.as_ptr().add(y * line + x * conv.inputs);
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
    let (kernel, bias) = &conv.kernels[edges];
    let run = conv.size * conv.inputs;
    // SAFETY: the runs of `P` pixels lie in the padded image (`scalar_rows`).
    unsafe {
        let mut acc = [L::splat(0.0); P];
        for ky in 0..conv.size {
            let weights = kernel.as_ptr().add(ky * run);
            let values = input.add(ky * line);
            let mut i = 0;
            while i < run {
                let n = run - i;
                let w = L::load_upto(weights.add(i), n);
                for (p, sum) in acc.iter_mut().enumerate() {
                    *sum = L::fma(E::load_lanes::<L>(values.add(p * conv.inputs + i), n), w, *sum);
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
    use super::super::conv2d::tests::naive;
    use super::*;
    use crate::testing::{assert_close, random, tensor};

    #[test]
    fn equals_the_definition() {
        for (h, w, inputs) in [(5, 9, 16), (1, 1, 3), (12, 24, 7), (2, 5, 40)] {
            let (x, weight, bias) = (random(2 * h * w * inputs, 1), random(inputs * 9, 2), random(1, 3));
            let conv = ScalarConv::new(&tensor(&weight, &[1, inputs, 3, 3]), &tensor(&bias, &[1])).unwrap();
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
            let conv = ScalarConv::composed(
                &tensor(&iw, &[mid, inputs, 7, 7]),
                &tensor(&ib, &[mid]),
                &tensor(&hw, &[1, mid, 3, 3]),
                &tensor(&hb, &[1]),
            )
            .unwrap();
            let x = tensor(&x, &[1, h, w, inputs]);
            for isa in Isa::available() {
                let got = conv.forward_values(&cpu_values(&x).unwrap(), (h, w), isa);
                assert_close(&got, &want, 3e-4, &format!("{isa:?} {h}×{w}"));
            }
        }
    }
}
