//! Group norm with ReLU.

use candle_core::{DType, Result, Tensor, bail};

use super::launch::Launch;
use super::linear::vector;
use super::memory::Output;

/// Pixels whose moments one block takes.
const PART: usize = 256;
/// Threads of a block.
const THREADS: usize = 256;

/// Weight, bias, groups and epsilon on the device, f32.
#[derive(Debug, Clone)]
pub(super) struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    groups: usize,
    eps: f32,
}

impl GroupNorm {
    /// Creates the norm from `weight [channels]` and `bias [channels]`.
    pub(super) fn new(weight: &Tensor, bias: &Tensor, groups: usize, eps: f64) -> Result<Self> {
        let channels = weight.elem_count();
        if groups == 0 || !channels.is_multiple_of(groups) || bias.elem_count() != channels {
            bail!("group norm: {channels} channels do not divide into {groups} groups");
        }
        Ok(Self { weight: vector(weight)?, bias: vector(bias)?, groups, eps: eps as f32 })
    }

    /// `max(norm(x), 0)` of `x [n, height, width, channels]`, each image on its own.
    pub(super) fn forward_relu(&self, x: &Tensor) -> Result<Tensor> {
        let (n, height, width, channels) = x.dims4()?;
        let pixels = height * width;
        let grid = [pixels.div_ceil(PART), self.groups, n];
        let (take_moments, apply) = if (channels / self.groups).is_multiple_of(8) {
            ("group_norm_moments8", "group_norm_relu8")
        } else {
            ("group_norm_moments", "group_norm_relu")
        };
        let mut moments = Output::new(x.device(), DType::F32, (n, self.groups, grid[0], 2))?;
        Launch::new(take_moments, x.dtype(), grid, THREADS)?
            .input(x)?
            .output(&mut moments)?
            .i32(pixels)?
            .i32(channels)?
            .i32(PART)?
            .run(x.device())?;
        let moments = moments.into_tensor();
        let mut y = Output::like(x)?;
        Launch::new(apply, x.dtype(), grid, THREADS)?
            .input(x)?
            .input(&moments)?
            .input(&self.weight)?
            .input(&self.bias)?
            .output(&mut y)?
            .i32(pixels)?
            .i32(channels)?
            .i32(PART)?
            .f32(self.eps)
            .run(x.device())?;
        Ok(y.into_tensor())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::naive_relu;
    use crate::cuda::testing::{DTYPES, assert_near, on_device};
    use crate::testing::{random, tensor};

    #[test]
    fn equals_the_definition() {
        for (groups, n, c, h, w) in [(4, 2, 64, 6, 5), (1, 1, 16, 23, 29), (2, 1, 40, 4, 4), (1, 3, 3, 2, 2)]
        {
            let x: Vec<f32> = random(n * h * w * c, 1).iter().map(|v| v * 2.0 + 3.0).collect();
            let (weight, bias) = (random(c, 2), random(c, 3));
            let v = |x: &[f32]| on_device(&tensor(x, &[c]), DType::F32).tensor;
            let norm = GroupNorm::new(&v(&weight), &v(&bias), groups, 1e-5).unwrap();
            for dtype in DTYPES {
                let x = on_device(&tensor(&x, &[n, h, w, c]), dtype);
                let values = x.rounded.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                let want: Vec<f32> = values
                    .chunks_exact(h * w * c)
                    .flat_map(|image| naive_relu(image, &weight, &bias, groups, 1e-5))
                    .collect();
                let got = norm.forward_relu(&x.tensor).unwrap();
                assert_near(&got, &tensor(&want, &[n, h, w, c]), dtype, &format!("{groups} {c}"));
            }
        }
    }
}
