//! Depthwise convolution, alone or with the layer norm behind it.

use candle_core::{Result, Tensor, bail};

use super::launch::{Launch, WARP};
use super::layer_norm::LayerNorm;
use super::linear::vector;
use super::memory::Output;

/// `DEPTHWISE_PIXELS` of depthwise.cu.
const PIXELS: usize = 8;

/// Kernel and bias on the device, f32.
#[derive(Debug, Clone)]
pub(crate) struct DepthwiseConv {
    /// `[size, size, channels]`
    weight: Tensor,
    bias: Tensor,
    kernel: &'static str,
}

impl DepthwiseConv {
    /// Creates the layer from `weight [channels, 1, size, size]` with a size of 3, 5, 7 or 9, and
    /// `bias [channels]`.
    pub(crate) fn new(weight: &Tensor, bias: &Tensor) -> Result<Self> {
        let (channels, one, size, width) = weight.dims4()?;
        let kernel = match size {
            3 => "depthwise3",
            5 => "depthwise5",
            7 => "depthwise7",
            9 => "depthwise9",
            other => bail!("depthwise convolution: no kernel of size {other} for this device; 3, 5, 7 or 9"),
        };
        if one != 1 || size != width || bias.elem_count() != channels {
            bail!("depthwise convolution: weight {:?} does not fit its bias", weight.shape());
        }
        let taps = weight.reshape((channels, size * size))?.t()?;
        Ok(Self { weight: vector(&taps.contiguous()?)?, bias: vector(bias)?, kernel })
    }

    pub(crate) fn channels(&self) -> usize {
        self.bias.elem_count()
    }

    /// `x [n, height, width, channels]` to the same shape.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_normed(x, None, None)
    }

    /// As [`DepthwiseConv::forward`], with `norm` over the channels of every output pixel.
    pub(super) fn forward_normed(
        &self,
        x: &Tensor,
        norm: Option<&LayerNorm>,
        _live: Option<&Tensor>,
    ) -> Result<Tensor> {
        let (n, height, width, channels) = x.dims4()?;
        if channels != self.channels() {
            bail!("depthwise convolution: {channels} channels, the kernel has {}", self.channels());
        }
        let x = x.contiguous()?;
        let shared = norm.map_or(0, |_| PIXELS * channels * size_of::<f32>());
        if shared > 48 * 1024 {
            bail!("depthwise convolution: {channels} channels are too many to normalise in shared memory");
        }
        let mut y = Output::like(&x)?;
        let threads = channels.next_multiple_of(WARP).min(256);
        Launch::new(self.kernel, x.dtype(), [width.div_ceil(PIXELS), height, n], threads)?
            .shared(shared)
            .input(&x)?
            .input(&self.weight)?
            .input(&self.bias)?
            .optional(norm.map(|norm| &norm.weight))?
            .optional(norm.map(|norm| &norm.bias))?
            .output(&mut y)?
            .i32(height)?
            .i32(width)?
            .i32(channels)?
            .f32(norm.map_or(0.0, |norm| norm.eps))
            .run(x.device())?;
        Ok(y.into_tensor())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use super::*;
    use crate::cuda::testing::{DTYPES, assert_near, on_device};
    use crate::testing::{random, tensor};

    #[test]
    fn equals_the_cpu_with_and_without_norm() {
        for (size, n, h, w, c) in [
            (7, 2, 11, 13, 40),
            (9, 1, 5, 31, 16),
            (7, 1, 3, 2, 1),
            (9, 1, 9, 8, 290),
            (3, 1, 1, 20, 33),
            (5, 3, 4, 4, 8),
        ] {
            let x = tensor(&random(n * h * w * c, 1), &[n, h, w, c]);
            let weight = tensor(&random(c * size * size, 2), &[c, 1, size, size]);
            let v: Vec<Tensor> = (3..6).map(|seed| tensor(&random(c, seed), &[c])).collect();
            let conv = crate::cpu::DepthwiseConv::new(&weight, &v[0]).unwrap();
            let norm = crate::cpu::LayerNorm::new(&v[1], &v[2], 1e-6).unwrap();
            let at = |x: &Tensor| on_device(x, DType::F32).tensor;
            let on = DepthwiseConv::new(&at(&weight), &at(&v[0])).unwrap();
            let norm_on = LayerNorm::new(&at(&v[1]), &at(&v[2]), 1e-6).unwrap();
            for dtype in DTYPES {
                let x = on_device(&x, dtype);
                let what = format!("{size} {n}×{h}×{w}×{c}");
                let want = conv.forward(&x.rounded).unwrap();
                assert_near(&on.forward(&x.tensor).unwrap(), &want, dtype, &what);
                let want = norm.forward(&want).unwrap();
                let got = on.forward_normed(&x.tensor, Some(&norm_on), None).unwrap();
                // One channel is normalised to zero times anything; its rounding is all that is left.
                if c > 1 {
                    assert_near(&got, &want, dtype, &what);
                }
            }
        }
    }
}
