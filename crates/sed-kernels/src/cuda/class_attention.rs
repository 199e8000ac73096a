//! Class attention: projections by matrix products, the attention itself by two kernels around the sums over
//! an image's categories.
//!
//! Four launches where mlp.cu has kernels for the channels and the format: queries, keys and values behind
//! their norm; sums; attention; the feed-forward layer with its norm.

use candle_core::{DType, Result, Tensor, bail};

use super::epilogue::add;
use super::launch::{Launch, WARP};
use super::layer_norm::LayerNorm;
use super::linear::Linear;
use super::memory::Output;
use super::mlp::{FusedMlp, Live, NormLinear};
use crate::specs::{
    Activation, AttentionSums, ClassAttentionWeights, DevicePairs, attention_dims, check_offsets,
};

/// `ATTENTION_WARPS` and `ATTENTION_CHANNELS` of class_attention.cu.
const WARPS: usize = 2;
const WARP_CHANNELS: usize = 64;
/// Depths of heads that have kernels of their own.
const DEPTHS: [usize; 4] = [4, 8, 16, 32];
/// The deepest heads, and the most channels, of the kernels for any depth.
const MOST_DEPTH: usize = 64;
const MOST_CHANNELS: usize = 512;

/// Queries, keys and values from the rows before their norm.
#[derive(Debug, Clone)]
enum Projection {
    Fused(NormLinear),
    Layers { norm: LayerNorm, qkv: Linear },
}

/// The feed-forward layer.
#[derive(Debug, Clone)]
enum Feed {
    Fused(FusedMlp),
    Layers { norm: LayerNorm, expand: Linear, contract: Linear },
}

/// The layer's weights; it works in the dtype of its matrices.
#[derive(Debug, Clone)]
pub(crate) struct ClassAttention {
    heads: usize,
    channels: usize,
    dtype: DType,
    projection: Projection,
    feed: Feed,
}

impl ClassAttention {
    /// Creates the layer from its weights; `eps` is the epsilon of both norms.
    pub(crate) fn new(weights: &ClassAttentionWeights<'_>, heads: usize, eps: f64) -> Result<Self> {
        let (qkv, bias) = weights.qkv()?;
        let channels = qkv.dim(1)?;
        let depth = if heads > 0 && channels % heads == 0 { channels / heads } else { usize::MAX };
        if !DEPTHS.contains(&depth) && (depth > MOST_DEPTH || channels > MOST_CHANNELS) {
            bail!("class attention: no kernel for {channels} channels in {heads} heads");
        }
        let norm1 = LayerNorm::new(weights.norm1.0, weights.norm1.1, eps)?;
        let projection = match NormLinear::new(&norm1, &qkv, &bias)? {
            Some(fused) => Projection::Fused(fused),
            None => Projection::Layers { norm: norm1, qkv: Linear::new(&qkv, Some(&bias))? },
        };
        let norm2 = LayerNorm::new(weights.norm2.0, weights.norm2.1, eps)?;
        let feed = match FusedMlp::new(weights.expand, weights.contract, Some(&norm2), Activation::Relu)? {
            Some(fused) => Feed::Fused(fused),
            None => Feed::Layers {
                norm: norm2,
                expand: Linear::new(weights.expand.0, Some(weights.expand.1))?,
                contract: Linear::new(weights.contract.0, Some(weights.contract.1))?,
            },
        };
        Ok(Self { heads, channels, dtype: qkv.dtype(), projection, feed })
    }

    /// As [`crate::ClassAttention::forward`].
    pub(crate) fn forward(&self, x: &Tensor, offsets: &[usize]) -> Result<Tensor> {
        let (pairs, ..) = attention_dims(x, self.channels)?;
        check_offsets(offsets, pairs)?;
        let x = x.to_dtype(self.dtype)?.contiguous()?;
        self.whole(&x, &offsets_on(&x, offsets)?, None)
    }

    /// As [`crate::ClassAttention::forward_pairs`].
    pub(crate) fn forward_pairs(&self, x: &Tensor, pairs: &DevicePairs) -> Result<Tensor> {
        let (_, height, width, _) = attention_dims(x, self.channels)?;
        pairs.check(x)?;
        if x.dtype() != self.dtype || !x.is_contiguous() {
            bail!("class attention: {:?} of {:?} would have to be copied", x.layout(), x.dtype());
        }
        self.whole(x, &pairs.offsets, Some((&pairs.live()?, height * width)))
    }

    /// The layer for the pairs of `offsets`, of which `live` says how many there are if not all of `x`.
    fn whole(&self, x: &Tensor, offsets: &Tensor, live: Live<'_>) -> Result<Tensor> {
        let qkv = self.project(x, live)?;
        let sums = self.sums(&qkv, offsets, None)?;
        self.finish(x, &qkv, offsets, &sums, live)
    }

    /// As [`crate::ClassAttention::add_sums`].
    pub(crate) fn add_sums(&self, x: &Tensor, sums: &AttentionSums) -> Result<AttentionSums> {
        let before = self.sums_for(x, sums)?;
        let x = x.to_dtype(self.dtype)?.contiguous()?;
        let values = self.sums(&self.project(&x, None)?, &offsets_on(&x, &[0, x.dim(0)?])?, Some(&before))?;
        Ok(AttentionSums { pixels: sums.pixels, values: Some(values) })
    }

    /// As [`crate::ClassAttention::finish_part`].
    pub(crate) fn finish_part(&self, x: &Tensor, sums: &AttentionSums) -> Result<Tensor> {
        let sums = self.sums_for(x, sums)?;
        let x = x.to_dtype(self.dtype)?.contiguous()?;
        self.finish(&x, &self.project(&x, None)?, &offsets_on(&x, &[0, x.dim(0)?])?, &sums, None)
    }

    /// The values of the sums, zeros before the first part, which must fit `x`.
    fn sums_for(&self, x: &Tensor, sums: &AttentionSums) -> Result<Tensor> {
        sums.check(x, self.channels, self.heads)?;
        match &sums.values {
            Some(values) => Ok(values.clone()),
            None => {
                let shape = (1, sums.pixels, self.depth() + 1, self.channels);
                Ok(Output::zeros(x.device(), DType::F32, shape)?.into_tensor())
            }
        }
    }

    /// Channels of a head.
    fn depth(&self) -> usize {
        self.channels / self.heads
    }

    /// Queries, keys and values, `[pairs, height, width, 3C]`.
    fn project(&self, x: &Tensor, live: Live<'_>) -> Result<Tensor> {
        match &self.projection {
            Projection::Fused(fused) => fused.forward(x, live),
            Projection::Layers { norm, qkv } => qkv.forward(&norm.forward(x)?, Activation::None),
        }
    }

    fn launch(&self, kernel: &str, qkv: &Tensor, offsets: &Tensor) -> Result<Launch> {
        let (_, height, width, _) = qkv.dims4()?;
        let (pixels, images) = (height * width, offsets.elem_count() - 1);
        let launch = if DEPTHS.contains(&self.depth()) {
            let blocks = (pixels * self.channels).div_ceil(WARPS * WARP_CHANNELS);
            let kernel = format!("{kernel}{}", self.depth());
            Launch::new(&kernel, qkv.dtype(), [blocks, images, 1], WARPS * WARP)?
        } else {
            let threads = self.channels.next_multiple_of(WARP);
            Launch::new(&format!("{kernel}_any"), qkv.dtype(), [pixels, images, 1], threads)?
                .shared(2 * self.channels * size_of::<f32>())
        };
        launch.input(qkv)?.input(offsets)
    }

    /// Adds the sizes, which come last, and runs the launch.
    fn run(&self, launch: Launch, qkv: &Tensor) -> Result<()> {
        let (_, height, width, _) = qkv.dims4()?;
        let launch = launch.i32(height * width)?.i32(self.channels)?;
        let any_depth = !DEPTHS.contains(&self.depth());
        let launch = if any_depth { launch.i32(self.depth())? } else { launch };
        launch.run(qkv.device())
    }

    /// Sums of every image, `[images, pixels, C / heads + 1, C]`, on top of `before`.
    fn sums(&self, qkv: &Tensor, offsets: &Tensor, before: Option<&Tensor>) -> Result<Tensor> {
        let (_, height, width, _) = qkv.dims4()?;
        let shape = (offsets.elem_count() - 1, height * width, self.depth() + 1, self.channels);
        let mut sums = Output::new(qkv.device(), DType::F32, shape)?;
        let launch = self.launch("attention_sums", qkv, offsets)?.optional(before)?.output(&mut sums)?;
        self.run(launch, qkv)?;
        Ok(sums.into_tensor())
    }

    /// Attention from the sums, and the feed-forward layer.
    fn finish(
        &self,
        x: &Tensor,
        qkv: &Tensor,
        offsets: &Tensor,
        sums: &Tensor,
        live: Live<'_>,
    ) -> Result<Tensor> {
        let mut attended = Output::like(x)?;
        let launch = self.launch("attention_apply", qkv, offsets)?;
        self.run(launch.input(sums)?.input(x)?.output(&mut attended)?, qkv)?;
        let attended = attended.into_tensor();
        match &self.feed {
            Feed::Fused(mlp) => mlp.forward(&attended, [Some(&attended), Some(x)], live),
            Feed::Layers { norm, expand, contract } => {
                let hidden = expand.forward(&norm.forward(&attended)?, Activation::Relu)?;
                let sum = contract.forward_onto(&hidden, &attended)?;
                add(&sum, x, live.map(|(live, _)| live))?;
                Ok(sum)
            }
        }
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

    /// Weights of a layer of C channels: small ones, as trained ones are, so that rounding is not blown up.
    fn tensors(c: usize, dtype: DType) -> Vec<OnDevice> {
        let sizes = [c, c, c * c, c, c * c, c, c * c, c, c, c, 4 * c * c, 4 * c, 4 * c * c, c];
        let one = |(i, &size): (usize, &usize)| {
            let scale = if size > 4 * c { 1.0 / (c as f32).sqrt() } else { 0.5 };
            let values: Vec<f32> = random(size, i as u64 + 1).iter().map(|v| v * scale).collect();
            match i {
                2 | 4 | 6 | 12 => on_device(&tensor(&values, &[c, size / c]), dtype),
                10 => on_device(&tensor(&values, &[4 * c, c]), dtype),
                _ => on_device(&tensor(&values, &[size]), DType::F32),
            }
        };
        sizes.iter().enumerate().map(one).collect()
    }

    #[test]
    fn equals_the_cpu_whole_and_in_parts() {
        for (c, heads, h, w, offsets) in [
            (32, 4, 3, 5, vec![0, 3, 3, 12, 13]),
            (40, 4, 2, 2, vec![0, 17]),
            (128, 4, 1, 3, vec![0, 9, 12]),
            (64, 1, 1, 2, vec![0, 5]),
            (64, 4, 2, 3, vec![0, 6]),
            (16, 4, 5, 1, vec![0, 4, 9]),
        ] {
            let pairs = *offsets.last().unwrap();
            let x = tensor(&random(pairs * h * w * c, 50), &[pairs, h, w, c]);
            for dtype in DTYPES {
                let x = on_device(&x, dtype);
                let t = tensors(c, dtype);
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

    /// Pairs that the device counts: those that are there come out as if there were no others, and each
    /// image's as if it were alone.
    #[test]
    fn pairs_on_the_device_equal_those_of_the_host() {
        let (c, heads, h, w, capacity) = (32, 4, 3, 5, 9);
        let bits = |x: &Tensor| -> Vec<u32> {
            let x = x.to_device(&candle_core::Device::Cpu).unwrap().to_dtype(DType::F32).unwrap();
            let values = x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            values.into_iter().map(f32::to_bits).collect()
        };
        for dtype in DTYPES {
            let t = tensors(c, dtype);
            let layer = ClassAttention::new(&weights(&t, |t| &t.tensor), heads, 1e-5).unwrap();
            let x = on_device(&tensor(&random(capacity * h * w * c, 50), &[capacity, h, w, c]), dtype).tensor;
            let mut words = vec![0u32; DevicePairs::words(2, capacity)];
            words[1..3].copy_from_slice(&[4, 7]);
            let block = Tensor::new(words, x.device()).unwrap();
            let pairs = DevicePairs::within(&block, 2, capacity).unwrap();
            let got = layer.forward_pairs(&x, &pairs).unwrap();
            for (first, count) in [(0, 4), (4, 3)] {
                let alone = x.narrow(0, first, count).unwrap().contiguous().unwrap();
                let want = layer.forward(&alone, &[0, count]).unwrap();
                let got = got.narrow(0, first, count).unwrap();
                if dtype == DType::F32 {
                    // The product that stands in for the library's depends on the number of rows.
                    let want = want.to_device(&candle_core::Device::Cpu).unwrap();
                    assert_within(&got, &want, 1e-5, "pairs on the device");
                } else {
                    assert_eq!(bits(&got), bits(&want), "{dtype:?}: {first} + {count}");
                }
            }
        }
    }
}
