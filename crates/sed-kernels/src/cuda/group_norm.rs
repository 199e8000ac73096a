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

    /// Channels of a group.
    pub(super) fn group(&self) -> usize {
        self.weight.elem_count() / self.groups
    }

    /// `max(norm(x), 0)` of `x [n, height, width, channels]`, each image on its own; of the first `live` ones.
    pub(super) fn forward_relu(&self, x: &Tensor, live: Option<&Tensor>) -> Result<Tensor> {
        self.apply_relu(x, &self.join(&self.moments(x, live)?, live)?, live)
    }

    /// Moments of every part of every group of `x`: `[n, groups, parts, 3]` with values, mean, and sum of squared
    /// deviations.
    fn moments(&self, x: &Tensor, live: Option<&Tensor>) -> Result<Tensor> {
        let (n, height, width, channels) = x.dims4()?;
        let pixels = height * width;
        let grid = [pixels.div_ceil(PART), self.groups, n];
        let kernel =
            if self.group().is_multiple_of(8) { "group_norm_moments8" } else { "group_norm_moments" };
        let mut moments = Output::new(x.device(), DType::F32, (n, self.groups, grid[0], 3))?;
        Launch::new(kernel, x.dtype(), grid, THREADS)?
            .input(x)?
            .optional(live)?
            .output(&mut moments)?
            .i32(pixels)?
            .i32(channels)?
            .i32(PART)?
            .run(x.device())?;
        Ok(moments.into_tensor())
    }

    /// The affine maps that norms with these `moments [n, groups, parts, 3]` amount to: `[n, 2, channels]` with scales
    /// and shifts.
    pub(super) fn join(&self, moments: &Tensor, live: Option<&Tensor>) -> Result<Tensor> {
        let (n, groups, parts, _) = moments.dims4()?;
        if groups != self.groups {
            bail!("group norm: moments of {groups} groups, not {}", self.groups);
        }
        let channels = self.weight.elem_count();
        let mut affine = Output::new(moments.device(), DType::F32, (n, 2, channels))?;
        Launch::new("group_norm_join", DType::F32, [groups, n, 1], THREADS)?
            .input(moments)?
            .input(&self.weight)?
            .input(&self.bias)?
            .optional(live)?
            .output(&mut affine)?
            .i32(parts)?
            .i32(channels)?
            .f32(self.eps)
            .run(moments.device())?;
        Ok(affine.into_tensor())
    }

    /// `max(scale · x + shift, 0)`.
    fn apply_relu(&self, x: &Tensor, affine: &Tensor, live: Option<&Tensor>) -> Result<Tensor> {
        let (n, height, width, channels) = x.dims4()?;
        let pixels = height * width;
        let kernel = if channels.is_multiple_of(8) { "group_norm_relu8" } else { "group_norm_relu" };
        let mut y = Output::like(x)?;
        Launch::new(kernel, x.dtype(), [pixels.div_ceil(PART), 1, n], THREADS)?
            .input(x)?
            .input(affine)?
            .optional(live)?
            .output(&mut y)?
            .i32(pixels)?
            .i32(channels)?
            .i32(PART)?
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
                let got = norm.forward_relu(&x.tensor, None).unwrap();
                assert_near(&got, &tensor(&want, &[n, h, w, c]), dtype, &format!("{groups} {c}"));
            }
        }
    }
}
