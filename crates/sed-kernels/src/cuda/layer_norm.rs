//! Layer norm over the last axis.

use candle_core::{Result, Tensor, bail};

use super::launch::{Launch, WARP};
use super::linear::vector;
use super::memory::Output;

/// Threads of a block.
const THREADS: usize = 128;
/// Kernels that hold rows in registers: the most channels of each, and the lanes that have a row together.
const HELD: [(usize, usize, &str); 7] = [
    (32, 4, "layer_norm32"),
    (64, 8, "layer_norm64"),
    (128, 16, "layer_norm128"),
    (256, 16, "layer_norm256"),
    (512, WARP, "layer_norm512"),
    (1024, WARP, "layer_norm1024"),
    (1536, WARP, "layer_norm1536"),
];

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
        if x.dims().last() != Some(&self.channels()) {
            bail!("layer norm: input of shape {:?}, expected {} channels", x.shape(), self.channels());
        }
        let mut y = Output::like(x)?;
        self.launch(&x.contiguous()?, &mut y, (1, 1))?;
        Ok(y.into_tensor())
    }

    /// Normalises every pixel of `x [n, height, width, channels]`, whose sides are multiples of `size`, and lays
    /// them out as patches: `[n, height / size, width / size, size · size · channels]`.
    pub(super) fn forward_patches(&self, x: &Tensor, size: usize) -> Result<Tensor> {
        let (n, height, width, channels) = x.dims4()?;
        if channels != self.channels() || height % size != 0 || width % size != 0 {
            bail!("layer norm: {:?} is not a whole number of patches of {}", x.shape(), self.channels());
        }
        let shape = (n, height / size, width / size, size * size * channels);
        let mut y = Output::new(x.device(), x.dtype(), shape)?;
        self.launch(&x.contiguous()?, &mut y, (width, size))?;
        Ok(y.into_tensor())
    }

    fn launch(&self, x: &Tensor, y: &mut Output, (width, size): (usize, usize)) -> Result<()> {
        let channels = self.channels();
        let rows = x.elem_count() / channels.max(1);
        // Those read four values at once.
        let fours = channels.is_multiple_of(4)
            && [x, &self.weight, &self.bias].iter().all(|x| x.layout().start_offset().is_multiple_of(4));
        let held = HELD.iter().find(|(most, ..)| fours && channels <= *most);
        let (lanes, kernel) = held.map_or((WARP, "layer_norm"), |&(_, lanes, kernel)| (lanes, kernel));
        Launch::new(kernel, x.dtype(), [rows.div_ceil(THREADS / lanes), 1, 1], THREADS)?
            .input(x)?
            .input(&self.weight)?
            .input(&self.bias)?
            .output(y)?
            .i32(rows)?
            .i32(channels)?
            .f32(1.0 / channels as f32)
            .f32(self.eps)
            .i32(width)?
            .i32(size)?
            .run(x.device())
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
        for (rows, channels) in [
            (1, 1),
            (3, 7),
            (2, 515),
            (2, 1540),
            // Held in registers, by whole and by parts of warps, full and not.
            (33, 32),
            (18, 20),
            (9, 64),
            (33, 40),
            (5, 128),
            (6, 132),
            (3, 300),
            (2, 768),
            (2, 1536),
        ] {
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

    /// The pixels of patches are those of the norm, bit for bit, where the layout wants them.
    #[test]
    fn patches_are_the_norm_in_another_order() {
        for (size, n, h, w, channels) in [(2, 2, 6, 4, 20), (3, 1, 3, 9, 7), (1, 1, 2, 3, 16)] {
            let x = tensor(&random(n * h * w * channels, 1), &[n, h, w, channels]);
            let vector = |seed| on_device(&tensor(&random(channels, seed), &[channels]), DType::F32).tensor;
            let norm = LayerNorm::new(&vector(2), &vector(3), 1e-6).unwrap();
            for dtype in DTYPES {
                let x = on_device(&x, dtype).tensor;
                let want = norm.forward(&x).unwrap();
                let want = want.reshape((n, h / size, size, w / size, size * channels)).unwrap();
                let want = want.permute((0, 1, 3, 2, 4)).unwrap().contiguous().unwrap();
                let got = norm.forward_patches(&x, size).unwrap();
                assert_eq!(got.dims(), [n, h / size, w / size, size * size * channels]);
                let values = |x: &Tensor| -> Vec<f32> {
                    x.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
                };
                assert_eq!(values(&got), values(&want), "{size} {dtype:?}");
            }
            assert!(norm.forward_patches(&on_device(&x, DType::F32).tensor, 4).is_err());
        }
    }
}
