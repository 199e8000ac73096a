//! A ConvNeXt block: depthwise convolution with norm, two matrix products with their tails.

use candle_core::{Result, Tensor};

use super::depthwise::DepthwiseConv;
use super::epilogue::Epilogue;
use super::layer_norm::LayerNorm;
use super::linear::{Linear, vector};
use crate::specs::{Activation, ConvNextWeights};

/// The block's layers; it works in the dtype of its matrices.
#[derive(Debug, Clone)]
pub(crate) struct ConvNextBlock {
    depthwise: DepthwiseConv,
    norm: LayerNorm,
    expand: Linear,
    contract: Linear,
    layer_scale: Tensor,
}

impl ConvNextBlock {
    /// Creates the block from its weights; `eps` is the layer norm's epsilon.
    pub(crate) fn new(weights: &ConvNextWeights<'_>, eps: f64) -> Result<Self> {
        let depthwise = DepthwiseConv::new(weights.depthwise_weight, weights.depthwise_bias)?;
        weights.sizes()?;
        Ok(Self {
            depthwise,
            norm: LayerNorm::new(weights.norm_weight, weights.norm_bias, eps)?,
            expand: Linear::new(weights.expand_weight, Some(weights.expand_bias))?,
            contract: Linear::new(weights.contract_weight, Some(weights.contract_bias))?,
            layer_scale: vector(weights.layer_scale)?,
        })
    }

    /// `x [n, height, width, C]` to the same shape.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = x.to_dtype(self.expand.dtype())?.contiguous()?;
        let normed = self.depthwise.forward_normed(&x, Some(&self.norm), None)?;
        let hidden = self.expand.forward(&normed, Activation::Gelu)?;
        let tail = Epilogue {
            bias: self.contract.bias.as_ref(),
            scale: Some(&self.layer_scale),
            first: Some(&x),
            ..Epilogue::default()
        };
        tail.apply(&self.contract.product(&hidden)?)
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
        for (size, n, h, w, c) in [(7, 2, 5, 9, 24), (9, 1, 6, 6, 16)] {
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
