//! Convolutions to one channel.

use candle_core::{DType, Device, Result, Tensor, bail};

use super::launch::{Launch, WARP};
use super::memory::Output;
use crate::conv::ScalarConv as Cpu;

/// Warps of a block; each computes one pixel.
const PIXELS: usize = 8;

/// The kernels of the CPU's layer on the device, f32.
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
    /// Takes the layer that the CPU has composed to `device`.
    pub(crate) fn new(cpu: &Cpu, device: &Device) -> Result<Self> {
        let (inputs, size) = cpu.size();
        let kernels: Vec<f32> = cpu.kernels().iter().flat_map(|kernel| kernel.0.iter().copied()).collect();
        let biases: Vec<f32> = cpu.kernels().iter().map(|kernel| kernel.1).collect();
        Ok(Self {
            kernels: Tensor::new(kernels, device)?,
            biases: Tensor::new(biases, device)?,
            inputs,
            size,
        })
    }

    /// `x [n, height, width, in]` to `[n, height, width]` in f32, whatever the dtype of `x`: these are logits.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (n, height, width, channels) = x.dims4()?;
        if channels != self.inputs {
            bail!("scalar convolution: {channels} input channels, the weights have {}", self.inputs);
        }
        let x = x.contiguous()?;
        let mut y = Output::new(x.device(), DType::F32, (n, height, width))?;
        let grid = [(height * width).div_ceil(PIXELS), n, 1];
        Launch::new("scalar_conv", x.dtype(), grid, PIXELS * WARP)?
            .input(&x)?
            .input(&self.kernels)?
            .input(&self.biases)?
            .output(&mut y)?
            .i32(height)?
            .i32(width)?
            .i32(channels)?
            .i32(self.size)?
            .i32(self.biases.elem_count())?
            .run(x.device())?;
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
        for (n, h, w, inputs, mid, a) in [(2, 5, 7, 10, 6, 7), (1, 1, 3, 8, 4, 3), (1, 12, 1, 80, 5, 7)] {
            let weight = tensor(&random(inputs * 9, 1), &[1, inputs, 3, 3]);
            let bias = tensor(&random(1, 2), &[1]);
            let inner = tensor(&random(mid * inputs * a * a, 3), &[mid, inputs, a, a]);
            let inner_bias = tensor(&random(mid, 4), &[mid]);
            let head = tensor(&random(mid * 9, 5), &[1, mid, 3, 3]);
            let x = tensor(&random(n * h * w * inputs, 6), &[n, h, w, inputs]);
            let plain = Cpu::new(&weight, &bias).unwrap();
            let composed = Cpu::composed(&inner, &inner_bias, &head, &bias).unwrap();
            for cpu in [plain, composed] {
                let conv = ScalarConv::new(&cpu, &device()).unwrap();
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
