//! Convolutions to one channel.

use candle_core::{DType, Device, Result, Tensor, bail};

use super::launch::{Launch, WARP};
use super::memory::Output;
use crate::specs::ScalarTaps;

/// Warps of a block, where each computes one pixel.
const PIXELS: usize = 8;
/// Threads of a block, where each computes one pixel.
const THREADS: usize = 128;
/// The largest kernel that a thread computes alone.
const SMALL_BYTES: usize = 4096;

/// Warps of a block, the rows of a kernel, where tensor cores compute; then also its size.
const TENSOR_SIZE: usize = 9;
/// Channels of a kernel for tensor cores.
const TENSOR_CHANNELS: usize = 80;
/// Rows and columns of a block's tile inside the map, and rows of one at its first and last column, as in
/// scalar_conv_tensor.cu.
const TENSOR_TILE: (usize, usize) = (8, 24);
const TENSOR_EDGE_ROWS: usize = 16;

/// The taps on the device.
#[derive(Debug, Clone)]
pub(crate) struct ScalarConv {
    /// `[kinds, size, size, in]`, f32
    kernels: Tensor,
    /// The same in bf16 and in f16, for tensor cores, `[kinds * size * size + 1, in]` with zeros at the end; none where
    /// they do not compute kernels of these sizes.
    short: Vec<Tensor>,
    /// `[kinds]`, f32
    biases: Tensor,
    inputs: usize,
    size: usize,
}

impl ScalarConv {
    /// Copies the taps to their device.
    pub(crate) fn of(taps: ScalarTaps) -> Result<Self> {
        let kernels: Vec<f32> = taps.kernels.iter().flat_map(|kernel| kernel.0.iter().copied()).collect();
        let biases: Vec<f32> = taps.kernels.iter().map(|kernel| kernel.1).collect();
        let (kinds, size) = (biases.len(), taps.size);
        let kernels = Tensor::from_vec(kernels, (kinds, size, size, taps.inputs), &Device::Cpu)?;
        let on_tensor_cores = (kinds, size, taps.inputs) == (16, TENSOR_SIZE, TENSOR_CHANNELS);
        let formats: &[DType] = if on_tensor_cores { &[DType::BF16, DType::F16] } else { &[] };
        let in_format = |&dtype: &DType| {
            let taps_in_format = kernels.flatten_to(2)?.pad_with_zeros(0, 0, 1)?.to_dtype(dtype)?;
            taps_in_format.to_device(&taps.device)
        };
        Ok(Self {
            short: formats.iter().map(in_format).collect::<Result<_>>()?,
            kernels: kernels.to_device(&taps.device)?,
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
        if let Some(kernels) = self.short.iter().find(|kernels| kernels.dtype() == x.dtype()) {
            let (rows, columns) = TENSOR_TILE;
            let inside = height.div_ceil(rows) * width.saturating_sub(2).div_ceil(columns);
            let blocks = inside + height.div_ceil(TENSOR_EDGE_ROWS) * width.min(2);
            Launch::new("scalar_conv_tensor", x.dtype(), [blocks, n, 1], TENSOR_SIZE * WARP)?
                .input(&x)?
                .input(kernels)?
                .input(&self.biases)?
                .output(&mut y)?
                .i32(height)?
                .i32(width)?
                .run(x.device())?;
            return Ok(y.into_tensor());
        }
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
    use crate::cuda::testing::{DTYPES, assert_near, bits, device, on_device};
    use crate::testing::{random, tensor};

    #[test]
    fn equals_the_cpu_plain_and_composed() {
        for (n, h, w, inputs, mid, a) in
            [(2, 5, 7, 10, 6, 7), (1, 1, 3, 8, 4, 3), (1, 12, 1, 72, 5, 7), (2, 9, 33, 16, 8, 3)]
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

    /// The head of the cost map, on maps of all edges, alone and in a batch.
    #[test]
    fn the_head_equals_the_cpu_at_all_edges() {
        let (inputs, mid) = (80, 3);
        let inner = tensor(&random(mid * inputs * 49, 1), &[mid, inputs, 7, 7]);
        let inner_bias = tensor(&random(mid, 2), &[mid]);
        let head = tensor(&random(mid * 9, 3), &[1, mid, 3, 3]);
        let bias = tensor(&random(1, 4), &[1]);
        let taps = ScalarTaps::composed((&inner, &inner_bias), (&head, &bias)).unwrap();
        let cpu = crate::cpu::ScalarConv::of(taps.clone()).unwrap();
        let conv = ScalarConv::of(ScalarTaps { device: device(), ..taps }).unwrap();
        for (h, w) in [(1, 1), (1, 30), (19, 1), (2, 2), (3, 27), (17, 26), (24, 24), (9, 55)] {
            let x = tensor(&random(2 * h * w * inputs, 5), &[2, h, w, inputs]);
            for dtype in DTYPES {
                let x = on_device(&x, dtype);
                let want = cpu.forward(&x.rounded).unwrap();
                let got = conv.forward(&x.tensor).unwrap();
                assert_near(&got, &want, dtype, &format!("{h}×{w} {dtype:?}"));
                let second = conv.forward(&x.tensor.narrow(0, 1, 1).unwrap()).unwrap();
                assert_eq!(bits(&second), bits(&got.narrow(0, 1, 1).unwrap()), "{h}×{w} {dtype:?}");
            }
        }
    }
}
