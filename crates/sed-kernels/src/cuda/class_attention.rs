//! Class attention: projections by matrix products, the attention itself by two kernels around the sums over
//! an image's categories.

use candle_core::{DType, Result, Tensor, bail};

use super::launch::{Launch, WARP};
use super::layer_norm::LayerNorm;
use super::linear::{Linear, vector};
use super::memory::Output;
use crate::specs::{Activation, AttentionSums, ClassAttentionWeights, attention_dims, check_offsets};

/// `ATTENTION_PAIRS` of class_attention.cu.
const PAIRS: usize = 4;

/// The depth of heads that the kernel for heads of `depth` channels holds in registers.
fn kernel_depth(depth: usize) -> usize {
    match depth {
        0..=8 => 8,
        9..=16 => 16,
        17..=32 => 32,
        _ => 64,
    }
}

/// The most channels that heads of `depth` channels can have together: a thread for each, as many as the
/// registers of their kernel allow (class_attention.cu). 0 for heads that are too deep for all kernels.
fn most_channels(depth: usize) -> usize {
    match (depth, kernel_depth(depth)) {
        (65.., _) => 0,
        (_, 64) => 512,
        (_, 32) => 768,
        _ => 1024,
    }
}

/// The layer's weights; it works in the dtype of its matrices.
#[derive(Debug, Clone)]
pub(crate) struct ClassAttention {
    heads: usize,
    norm1: LayerNorm,
    /// Query, key and value side by side.
    qkv: Linear,
    qkv_bias: Tensor,
    norm2: LayerNorm,
    expand: Linear,
    contract: Linear,
}

impl ClassAttention {
    /// Creates the layer from its weights; `eps` is the epsilon of both norms.
    pub(crate) fn new(weights: &ClassAttentionWeights<'_>, heads: usize, eps: f64) -> Result<Self> {
        let channels = weights.expand.0.dim(1)?;
        let fits = heads > 0 && channels % heads == 0 && most_channels(channels / heads) >= channels;
        if !fits {
            bail!("class attention: no kernel for {channels} channels in {heads} heads");
        }
        let (qkv, bias) = weights.qkv()?;
        Ok(Self {
            heads,
            norm1: LayerNorm::new(weights.norm1.0, weights.norm1.1, eps)?,
            qkv: Linear::new(&qkv, None)?,
            qkv_bias: vector(&bias)?,
            norm2: LayerNorm::new(weights.norm2.0, weights.norm2.1, eps)?,
            expand: Linear::new(weights.expand.0, Some(weights.expand.1))?,
            contract: Linear::new(weights.contract.0, Some(weights.contract.1))?,
        })
    }

    /// As [`crate::ClassAttention::forward`].
    pub(crate) fn forward(&self, x: &Tensor, offsets: &[usize]) -> Result<Tensor> {
        let (pairs, ..) = attention_dims(x, self.norm1.channels())?;
        check_offsets(offsets, pairs)?;
        let x = x.to_dtype(self.qkv.dtype())?.contiguous()?;
        let qkv = self.project(&x)?;
        let offsets = offsets_on(&x, offsets)?;
        let sums = self.sums(&qkv, &offsets, None)?;
        self.finish(&x, &qkv, &offsets, &sums)
    }

    /// As [`crate::ClassAttention::add_sums`].
    pub(crate) fn add_sums(&self, x: &Tensor, sums: &AttentionSums) -> Result<AttentionSums> {
        let before = self.sums_for(x, sums)?;
        let x = x.to_dtype(self.qkv.dtype())?.contiguous()?;
        let values = self.sums(&self.project(&x)?, &offsets_on(&x, &[0, x.dim(0)?])?, Some(&before))?;
        Ok(AttentionSums { pixels: sums.pixels, values: Some(values) })
    }

    /// As [`crate::ClassAttention::finish_part`].
    pub(crate) fn finish_part(&self, x: &Tensor, sums: &AttentionSums) -> Result<Tensor> {
        let sums = self.sums_for(x, sums)?;
        let x = x.to_dtype(self.qkv.dtype())?.contiguous()?;
        self.finish(&x, &self.project(&x)?, &offsets_on(&x, &[0, x.dim(0)?])?, &sums)
    }

    /// The values of the sums, zeros before the first part, which must fit `x`.
    fn sums_for(&self, x: &Tensor, sums: &AttentionSums) -> Result<Tensor> {
        let channels = self.norm1.channels();
        sums.check(x, channels, self.heads)?;
        match &sums.values {
            Some(values) => Ok(values.clone()),
            None => {
                let shape = (1, sums.pixels, channels / self.heads + 1, channels);
                Ok(Output::zeros(self.qkv_bias.device(), DType::F32, shape)?.into_tensor())
            }
        }
    }

    /// Queries, keys and values without their bias, `[pairs, height, width, 3C]`.
    fn project(&self, x: &Tensor) -> Result<Tensor> {
        self.qkv.product(&self.norm1.forward(x)?)
    }

    fn launch(&self, kernel: &str, qkv: &Tensor, offsets: &Tensor) -> Result<Launch> {
        let (_, height, width, _) = qkv.dims4()?;
        let channels = self.norm1.channels();
        let depth = kernel_depth(channels / self.heads);
        let grid = [height * width, offsets.elem_count() - 1, 1];
        let threads = channels.next_multiple_of(WARP);
        Launch::new(&format!("{kernel}{depth}"), qkv.dtype(), grid, threads)?
            .shared((PAIRS + 1) * channels * size_of::<f32>())
            .input(qkv)?
            .input(&self.qkv_bias)?
            .input(offsets)
    }

    /// Sums of every image, `[images, pixels, C / heads + 1, C]`, on top of `before`.
    fn sums(&self, qkv: &Tensor, offsets: &Tensor, before: Option<&Tensor>) -> Result<Tensor> {
        let (_, height, width, _) = qkv.dims4()?;
        let (pixels, channels) = (height * width, self.norm1.channels());
        let depth = channels / self.heads;
        let shape = (offsets.elem_count() - 1, pixels, depth + 1, channels);
        let mut sums = Output::new(qkv.device(), DType::F32, shape)?;
        self.launch("attention_sums", qkv, offsets)?
            .optional(before)?
            .output(&mut sums)?
            .i32(pixels)?
            .i32(channels)?
            .i32(depth)?
            .run(qkv.device())?;
        Ok(sums.into_tensor())
    }

    /// Attention from the sums, and the feed-forward layer.
    fn finish(&self, x: &Tensor, qkv: &Tensor, offsets: &Tensor, sums: &Tensor) -> Result<Tensor> {
        let (_, height, width, channels) = x.dims4()?;
        let mut attended = Output::like(x)?;
        self.launch("attention_apply", qkv, offsets)?
            .input(sums)?
            .input(x)?
            .output(&mut attended)?
            .i32(height * width)?
            .i32(channels)?
            .i32(channels / self.heads)?
            .run(x.device())?;
        let attended = attended.into_tensor();
        let hidden = self.expand.forward(&self.norm2.forward(&attended)?, Activation::Relu)?;
        self.contract.forward_onto(&hidden, &attended)? + x
    }
}

/// Offsets as the kernels take them.
fn offsets_on(x: &Tensor, offsets: &[usize]) -> Result<Tensor> {
    Tensor::new(offsets.iter().map(|&offset| offset as u32).collect::<Vec<_>>(), x.device())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::testing::{DTYPES, OnDevice, assert_near, assert_within, on_device};
    use crate::testing::{random, tensor};

    fn weights<'a>(t: &'a [OnDevice], of: fn(&OnDevice) -> &Tensor) -> ClassAttentionWeights<'a> {
        let pair = |i: usize| (of(&t[i]), of(&t[i + 1]));
        ClassAttentionWeights {
            norm1: pair(0),
            query: pair(2),
            key: pair(4),
            value: pair(6),
            norm2: pair(8),
            expand: pair(10),
            contract: pair(12),
        }
    }

    #[test]
    fn equals_the_cpu_whole_and_in_parts() {
        for (c, heads, h, w, offsets) in [
            (32, 4, 3, 5, vec![0, 3, 3, 12, 13]),
            (40, 4, 2, 2, vec![0, 17]),
            (128, 4, 1, 3, vec![0, 9, 12]),
            (64, 1, 1, 2, vec![0, 5]),
        ] {
            let sizes = [c, c, c * c, c, c * c, c, c * c, c, c, c, 4 * c * c, 4 * c, 4 * c * c, c];
            let pairs = *offsets.last().unwrap();
            let x = tensor(&random(pairs * h * w * c, 50), &[pairs, h, w, c]);
            for dtype in DTYPES {
                let x = on_device(&x, dtype);
                let t: Vec<OnDevice> = (0..14)
                    .map(|i| {
                        // Small weights, as trained ones are, so that rounding is not blown up.
                        let scale = if sizes[i] > 4 * c { 1.0 / (c as f32).sqrt() } else { 0.5 };
                        let values: Vec<f32> =
                            random(sizes[i], i as u64 + 1).iter().map(|v| v * scale).collect();
                        match i {
                            2 | 4 | 6 | 12 => on_device(&tensor(&values, &[c, sizes[i] / c]), dtype),
                            10 => on_device(&tensor(&values, &[4 * c, c]), dtype),
                            _ => on_device(&tensor(&values, &[sizes[i]]), DType::F32),
                        }
                    })
                    .collect();
                let cpu = crate::cpu::ClassAttention::new(&weights(&t, |t| &t.rounded), heads, 1e-5);
                let want = cpu.unwrap().forward(&x.rounded, &offsets).unwrap();
                let layer = ClassAttention::new(&weights(&t, |t| &t.tensor), heads, 1e-5).unwrap();
                let got = layer.forward(&x.tensor, &offsets).unwrap();
                assert_near(&got, &want, dtype, &format!("{c} {heads}"));
                assert!(layer.forward(&x.tensor, &[0, pairs + 1]).is_err());
                for segment in offsets.windows(2).filter(|s| s[0] < s[1]) {
                    let whole = got.narrow(0, segment[0], segment[1] - segment[0]).unwrap();
                    let parts: Vec<Tensor> = (segment[0]..segment[1])
                        .step_by(3)
                        .map(|first| x.tensor.narrow(0, first, 3.min(segment[1] - first)).unwrap())
                        .collect();
                    let sums = parts
                        .iter()
                        .fold(AttentionSums::none(h * w), |sums, x| layer.add_sums(x, &sums).unwrap());
                    let out: Vec<Tensor> =
                        parts.iter().map(|x| layer.finish_part(x, &sums).unwrap()).collect();
                    // Only the library's products may round otherwise for other numbers of rows.
                    let whole =
                        whole.to_dtype(DType::F32).unwrap().to_device(&candle_core::Device::Cpu).unwrap();
                    let tolerance = if dtype == DType::F32 { 1e-5 } else { 1.0 / 128.0 };
                    assert_within(&Tensor::cat(&out, 0).unwrap(), &whole, tolerance, "in parts");
                }
            }
        }
    }
}
