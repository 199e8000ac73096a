//! A ConvNeXt block in two launches, depthwise convolution with norm and the rest; where no kernel has all of the
//! rest, a product, GELU and a product with the residual.

use candle_core::{DType, Result, Tensor};

use super::depthwise::DepthwiseConv;
use super::epilogue::activate;
use super::layer_norm::LayerNorm;
use super::linear::{Linear, vector};
use super::memory::arena;
use super::mlp::FusedMlp;
use crate::specs::{Activation, ConvNextWeights, DevicePairs};

/// The block's layers; it works in the dtype of its matrices.
#[derive(Debug, Clone)]
pub(crate) struct ConvNextBlock {
    dtype: DType,
    depthwise: DepthwiseConv,
    norm: LayerNorm,
    feed: FeedForward,
}

/// `W₂ gelu(W₁ n + b₁) + b₂`, with the layer scale in W₂ and b₂.
#[derive(Debug, Clone)]
enum FeedForward {
    Fused(FusedMlp),
    Products { expand: Linear, contract: Linear },
}

impl ConvNextBlock {
    /// Creates the block from its weights; `eps` is the layer norm's epsilon.
    pub(crate) fn new(weights: &ConvNextWeights<'_>, eps: f64) -> Result<Self> {
        let depthwise = DepthwiseConv::new(weights.depthwise_weight, weights.depthwise_bias)?;
        let (channels, _) = weights.sizes()?;
        let dtype = weights.expand_weight.dtype();
        let scale = vector(weights.layer_scale)?;
        // Computed in f32 and rounded once: an output channel is a row of the weight.
        let contract = weights.contract_weight.to_dtype(DType::F32)?;
        let contract = contract.broadcast_mul(&scale.reshape((channels, 1))?)?.to_dtype(dtype)?;
        let contract_bias = (vector(weights.contract_bias)? * &scale)?;
        let expand = (weights.expand_weight, weights.expand_bias);
        let feed = match FusedMlp::new(expand, (&contract, &contract_bias), None, Activation::Gelu)? {
            Some(fused) => FeedForward::Fused(fused),
            None => FeedForward::Products {
                expand: Linear::new(expand.0, Some(expand.1))?,
                contract: Linear::new(&contract, Some(&contract_bias))?,
            },
        };
        let norm = LayerNorm::new(weights.norm_weight, weights.norm_bias, eps)?;
        Ok(Self { dtype, depthwise, norm, feed })
    }

    /// `x [n, height, width, C]` to the same shape.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.run(x, None)
    }

    /// As [`crate::ConvNextBlock::forward_pairs`].
    pub(crate) fn forward_pairs(&self, x: &Tensor, pairs: &DevicePairs) -> Result<Tensor> {
        pairs.check(x)?;
        self.run(x, Some(&pairs.live()?))
    }

    /// With `live [1]` only the first `live` images count, and the others' results hold anything.
    fn run(&self, x: &Tensor, live: Option<&Tensor>) -> Result<Tensor> {
        let x = x.to_dtype(self.dtype)?.contiguous()?;
        let (_, height, width, _) = x.dims4()?;
        let scratch = arena::scratch();
        let normed = self.depthwise.forward_normed(&x, Some(&self.norm), live)?;
        match &self.feed {
            FeedForward::Fused(mlp) => {
                scratch.results();
                mlp.forward(&normed, [Some(&x), None], live.map(|live| (live, height * width)))
            }
            FeedForward::Products { expand, contract } => {
                let hidden = expand.forward(&normed, Activation::None)?;
                activate(&hidden, Activation::Gelu, live)?;
                scratch.results();
                contract.forward_onto(&hidden, &x)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;
    use crate::cuda::testing::{DTYPES, assert_near, on_device};
    use crate::testing::{random, tensor};

    #[test]
    fn equals_the_cpu() {
        for (size, n, h, w, c) in [(7, 2, 5, 9, 24), (9, 1, 6, 6, 16), (7, 1, 3, 4, 128)] {
            let vectors: Vec<Tensor> = (1..6).map(|seed| tensor(&random(c, seed), &[c])).collect();
            let dw = tensor(&random(c * size * size, 6), &[c, 1, size, size]);
            // Small weights, as trained ones are.
            let small = |n: usize, seed| random(n, seed).iter().map(|v| v * 0.2).collect::<Vec<f32>>();
            let ew = tensor(&small(4 * c * c, 7), &[4 * c, c]);
            let eb = tensor(&random(4 * c, 8), &[4 * c]);
            let cw = tensor(&small(4 * c * c, 9), &[c, 4 * c]);
            let x = tensor(&random(n * h * w * c, 10), &[n, h, w, c]);
            for dtype in DTYPES {
                let x = on_device(&x, dtype);
                let (ew, cw) = (on_device(&ew, dtype), on_device(&cw, dtype));
                let f32s: Vec<_> =
                    vectors.iter().chain([&dw, &eb]).map(|v| on_device(v, DType::F32)).collect();
                let weights = |of: fn(&crate::cuda::testing::OnDevice) -> &Tensor| {
                    let v: Vec<&Tensor> = f32s.iter().map(of).collect();
                    (v, of(&ew).clone(), of(&cw).clone())
                };
                let (v, ew_cpu, cw_cpu) = weights(|x| &x.rounded);
                let cpu = block(&v, &ew_cpu, &cw_cpu);
                let want = crate::cpu::ConvNextBlock::new(&cpu, 1e-6).unwrap();
                let want = want.forward(&x.rounded).unwrap();
                let (v, ew_on, cw_on) = weights(|x| &x.tensor);
                let layer = ConvNextBlock::new(&block(&v, &ew_on, &cw_on), 1e-6).unwrap();
                let got = layer.forward(&x.tensor).unwrap();
                assert_near(&got, &want, dtype, &format!("{size} {n}×{h}×{w}×{c}"));
            }
        }
    }

    /// Rows of pairs that count are those of the same tensor without a count, and those of each image alone.
    #[test]
    fn rows_depend_on_themselves_alone() {
        let (size, c, capacity, live, h, w) = (7, 16, 3, 2, 4, 5);
        let random = |shape: &[usize], seed| tensor(&random(shape.iter().product(), seed), shape);
        for dtype in DTYPES {
            let vectors: Vec<_> =
                (1..6).map(|seed| on_device(&random(&[c], seed), DType::F32).tensor).collect();
            let dw = on_device(&random(&[c, 1, size, size], 6), DType::F32).tensor;
            let eb = on_device(&random(&[4 * c], 7), DType::F32).tensor;
            let v: Vec<&Tensor> = vectors.iter().chain([&dw, &eb]).collect();
            let (ew, cw) =
                (on_device(&random(&[4 * c, c], 8), dtype), on_device(&random(&[c, 4 * c], 9), dtype));
            let layer = ConvNextBlock::new(&block(&v, &ew.tensor, &cw.tensor), 1e-6).unwrap();
            let x = on_device(&random(&[capacity, h, w, c], 10), dtype).tensor;
            let bits = |x: &Tensor| -> Vec<u32> {
                let x = x.to_device(&Device::Cpu).unwrap().to_dtype(DType::F32).unwrap();
                x.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
            };
            let whole = bits(&layer.forward(&x).unwrap());
            let mut words = vec![0u32; DevicePairs::words(1, capacity)];
            words[1] = live as u32;
            let words = Tensor::new(words, x.device()).unwrap();
            let pairs = DevicePairs::within(&words, 1, capacity).unwrap();
            let of_image = h * w * c;
            let counted = bits(&layer.forward_pairs(&x, &pairs).unwrap());
            assert_eq!(counted[..live * of_image], whole[..live * of_image], "{dtype:?}");
            assert!(layer.forward_pairs(&x.narrow(0, 0, 2).unwrap(), &pairs).is_err());
            // The CPU's product, which stands in without a GPU, may add in another order for fewer rows.
            if !x.device().is_cpu() {
                let alone = bits(&layer.forward(&x.narrow(0, 1, 1).unwrap()).unwrap());
                assert_eq!(alone, whole[of_image..2 * of_image], "{dtype:?}");
            }
        }
    }

    fn block<'a>(v: &[&'a Tensor], expand: &'a Tensor, contract: &'a Tensor) -> ConvNextWeights<'a> {
        ConvNextWeights {
            depthwise_weight: v[5],
            depthwise_bias: v[0],
            norm_weight: v[1],
            norm_bias: v[2],
            expand_weight: expand,
            expand_bias: v[6],
            contract_weight: contract,
            contract_bias: v[3],
            layer_scale: v[4],
        }
    }
}
