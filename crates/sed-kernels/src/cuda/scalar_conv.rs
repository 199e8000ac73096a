//! Convolutions to one channel.

use candle_core::{DType, Result, Tensor, bail};

use super::launch::{Launch, WARP};
use super::memory::Output;
use crate::specs::ScalarTaps;

/// Warps of a block, where each computes one pixel.
const PIXELS: usize = 8;
/// Threads of a block, where each computes one pixel.
const THREADS: usize = 128;
/// The largest kernel that a thread computes alone.
const SMALL_BYTES: usize = 4096;

/// The taps on the device, f32.
#[derive(Debug, Clone)]
pub(crate) struct ScalarConv {
    /// `[kinds, size, size, in]`
    kernels: Tensor,
    /// `[kinds]`
    biases: Tensor,
    inputs: usize,
    size: usize,
}

impl ScalarConv {
    /// Copies the taps to their device.
    pub(crate) fn of(taps: ScalarTaps) -> Result<Self> {
        let kernels: Vec<f32> = taps.kernels.iter().flat_map(|kernel| kernel.0.iter().copied()).collect();
        let biases: Vec<f32> = taps.kernels.iter().map(|kernel| kernel.1).collect();
        Ok(Self {
            kernels: Tensor::new(kernels, &taps.device)?,
            biases: Tensor::new(biases, &taps.device)?,
            inputs: taps.inputs,
            size: taps.size,
        })
    }

    /// `x [n, height, width, in]` to `[n, height, width]` in f32, whatever the dtype of `x`: these are
    /// logits.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (n, height, width, channels) = x.dims4()?;
        if channels != self.inputs {
            bail!("scalar convolution: {channels} input channels, the weights have {}", self.inputs);
        }
        let x = x.contiguous()?;
        let mut y = Output::new(x.device(), DType::F32, (n, height, width))?;
        let kinds = self.biases.elem_count();
        let kernel_bytes = self.size * self.size * channels * size_of::<f32>();
        // Few taps: a pixel is too little work for a warp.
        let small = kinds == 1 && channels.is_multiple_of(8) && kernel_bytes <= SMALL_BYTES;
        let (kernel, threads, pixels) = if small {
            ("scalar_conv_small", THREADS, THREADS)
        } else {
            ("scalar_conv", PIXELS * WARP, PIXELS)
        };
        let launch = Launch::new(kernel, x.dtype(), [(height * width).div_ceil(pixels), n, 1], threads)?
            .shared(if small { kernel_bytes } else { 0 })
            .input(&x)?
            .input(&self.kernels)?
            .input(&self.biases)?
            .output(&mut y)?
            .i32(height)?
            .i32(width)?
            .i32(channels)?
            .i32(self.size)?;
        let launch = if small { launch } else { launch.i32(kinds)? };
        launch.run(x.device())?;
        Ok(y.into_tensor())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::testing::{DTYPES, assert_near, device, on_device};
    use crate::testing::{random, tensor};

    #[test]
    fn equals_the_cpu_plain_and_composed() {
        for (n, h, w, inputs, mid, a) in
            [(2, 5, 7, 10, 6, 7), (1, 1, 3, 8, 4, 3), (1, 12, 1, 80, 5, 7), (2, 9, 33, 16, 8, 3)]
        {
            let weight = tensor(&random(inputs * 9, 1), &[1, inputs, 3, 3]);
            let bias = tensor(&random(1, 2), &[1]);
            let inner = tensor(&random(mid * inputs * a * a, 3), &[mid, inputs, a, a]);
            let inner_bias = tensor(&random(mid, 4), &[mid]);
            let head = tensor(&random(mid * 9, 5), &[1, mid, 3, 3]);
            let x = tensor(&random(n * h * w * inputs, 6), &[n, h, w, inputs]);
            let plain = ScalarTaps::plain(&weight, &bias).unwrap();
            let composed = ScalarTaps::composed((&inner, &inner_bias), (&head, &bias)).unwrap();
            for taps in [plain, composed] {
                let cpu = crate::cpu::ScalarConv::of(taps.clone()).unwrap();
                let conv = ScalarConv::of(ScalarTaps { device: device(), ..taps }).unwrap();
                for dtype in DTYPES {
                    let x = on_device(&x, dtype);
                    let want = cpu.forward(&x.rounded).unwrap();
                    let got = conv.forward(&x.tensor).unwrap();
                    assert_near(&got, &want, DType::F32, &format!("{n}×{h}×{w}×{inputs} {dtype:?}"));
                }
            }
        }
    }
}
