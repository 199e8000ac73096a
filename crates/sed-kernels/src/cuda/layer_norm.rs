//! Layer norm over the last axis.

use candle_core::{Result, Tensor, bail};

use super::launch::{Launch, WARP};
use super::linear::vector;
use super::memory::Output;

/// Warps of a block; each normalises one row.
const ROWS: usize = 4;

/// Weight, bias and epsilon on the device, f32.
#[derive(Debug, Clone)]
pub(crate) struct LayerNorm {
    pub(super) weight: Tensor,
    pub(super) bias: Tensor,
    pub(super) eps: f32,
}

impl LayerNorm {
    /// Creates the norm from `weight [channels]` and `bias [channels]`.
    pub(crate) fn new(weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Self> {
        if weight.elem_count() != bias.elem_count() {
            bail!("layer norm: {} weights but {} biases", weight.elem_count(), bias.elem_count());
        }
        Ok(Self { weight: vector(weight)?, bias: vector(bias)?, eps: eps as f32 })
    }

    pub(crate) fn channels(&self) -> usize {
        self.weight.elem_count()
    }

    /// Normalises `x [.., channels]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let channels = self.channels();
        if x.dims().last() != Some(&channels) {
            bail!("layer norm: input of shape {:?}, expected {channels} channels", x.shape());
        }
        let x = x.contiguous()?;
        let rows = x.elem_count() / channels;
        let mut y = Output::like(&x)?;
        Launch::new("layer_norm", x.dtype(), [rows.div_ceil(ROWS), 1, 1], ROWS * WARP)?
            .input(&x)?
            .input(&self.weight)?
            .input(&self.bias)?
            .output(&mut y)?
            .i64(rows)
            .i32(channels)?
            .f32(self.eps)
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
    fn equals_the_cpu() {
        for (rows, channels) in [(1, 1), (3, 7), (33, 40), (5, 128), (2, 515)] {
            let x: Vec<f32> = random(rows * channels, 4).iter().map(|v| v * 3.0 + 5.0).collect();
            let x = tensor(&x, &[rows, channels]);
            let (w, b) = (random(channels, 5), random(channels, 6));
            let (w, b) = (tensor(&w, &[channels]), tensor(&b, &[channels]));
            let cpu = crate::cpu::LayerNorm::new(&w, &b, 1e-6).unwrap();
            for dtype in DTYPES {
                let x = on_device(&x, dtype);
                let want = cpu.forward(&x.rounded).unwrap();
                let norm = LayerNorm::new(
                    &on_device(&w, DType::F32).tensor,
                    &on_device(&b, DType::F32).tensor,
                    1e-6,
                );
                let got = norm.unwrap().forward(&x.tensor).unwrap();
                assert_near(&got, &want, dtype, &format!("{rows}×{channels}"));
            }
        }
    }
}
