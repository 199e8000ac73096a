//! Skip-layer fusion with the same foldings as on the CPU (`crate::cpu`), a launch for each step.

use candle_core::{Device, Result, Tensor};

use super::convolve::{Convolve, Kernel, Taps, taps};
use super::group_norm::GroupNorm;
use super::linear::vector;
use super::scalar_conv::ScalarConv;
use crate::specs::{
    Activation, Folded, Fused, FusionOutputs, ScalarTaps, SkipFusionWeights, check_fusion, on_host,
};

/// The layer's weights; it works in the dtype of `conv0`.
#[derive(Debug, Clone)]
pub(crate) struct SkipFusion {
    /// Upsampling folded into conv0, by output phase: `[(2, 2, 2, 2, C), O]`.
    phases: Taps,
    /// Cost-map guidance, by output phase: `[(2, 2, P), G]`.
    cost: Taps,
    cost_bias: Tensor,
    /// conv0's part that sees the cost-map guidance: `[(3, 3, G), O]`.
    conv0_cost: Taps,
    /// conv0's part that sees the image guidance: `[(3, 3, I), O]`.
    conv0_guide: Taps,
    /// conv0 seen through the bias of the transposed convolution, by tap: `[(3, 3), O]`.
    bias_taps: Taps,
    norm0: GroupNorm,
    conv1: Taps,
    norm1: GroupNorm,
    head: ScalarConv,
    /// Channels of the features.
    channels: usize,
    /// Channels of the cost map.
    below: usize,
}

impl SkipFusion {
    /// Folds the weights; group norms have `groups` groups and epsilon `eps`.
    pub(crate) fn new(weights: &SkipFusionWeights<'_>, groups: usize, eps: f64) -> Result<Self> {
        let folded = Folded::new(weights)?;
        let Folded { channels, below, guidance, outputs, .. } = folded;
        let (device, dtype) = (weights.conv0.device(), weights.conv0.dtype());
        let phases = Tensor::from_vec(folded.phases.concat(), (16 * channels, outputs), &Device::Cpu)?;
        let bias_taps = Tensor::from_vec(folded.bias_taps, (9, outputs), &Device::Cpu)?;
        let cost = on_host(weights.cost.0)?.permute((2, 3, 0, 1))?.contiguous()?;
        let cost = cost.reshape((4 * below, guidance))?;
        let part = |first, count| taps(&folded.conv0.narrow(1, first, count)?);
        let to = |x: &Tensor| x.to_dtype(dtype)?.to_device(device);
        // What both inputs of a launch suit, and the guide's input of one channel does not.
        let fused = Kernel::suiting(dtype, &[channels, guidance], outputs);
        Ok(Self {
            phases: Taps::new(&to(&phases)?, 4, fused)?,
            cost: Taps::new(&to(&cost)?, 4, Kernel::suiting(dtype, &[below], guidance))?,
            cost_bias: vector(weights.cost.1)?,
            conv0_cost: Taps::new(&to(&part(folded.image.end, guidance)?)?, 1, fused)?,
            conv0_guide: Taps::new(
                &to(&part(folded.image.start, folded.image.len())?)?,
                1,
                Kernel::MultiplyAdd,
            )?,
            bias_taps: Taps::new(&to(&bias_taps)?, 1, Kernel::MultiplyAdd)?,
            norm0: GroupNorm::new(weights.norm0.0, weights.norm0.1, groups, eps)?,
            conv1: Taps::new(
                &to(&taps(&on_host(weights.conv1)?)?)?,
                1,
                Kernel::suiting(dtype, &[outputs], outputs),
            )?,
            norm1: GroupNorm::new(weights.norm1.0, weights.norm1.1, groups, eps)?,
            head: ScalarConv::of(ScalarTaps::plain(weights.head.0, weights.head.1)?)?,
            channels,
            below,
        })
    }

    /// As [`crate::SkipFusion::guide`].
    pub(crate) fn guide(&self, guidance: &Tensor) -> Result<Tensor> {
        let (n, height, width, _) = guidance.dims4()?;
        let guidance = guidance.to_dtype(self.conv0_guide.dtype())?.contiguous()?;
        // The bias is a convolution of a map of ones: fewer of them reach the pixels at the edges.
        let ones = Tensor::ones((n, height, width, 1), guidance.dtype(), guidance.device())?;
        let second = Some((&ones, &self.bias_taps, 3));
        Convolve { second, ..Convolve::new(&guidance, &self.conv0_guide, 3) }.run()
    }

    /// As [`crate::SkipFusion::forward`].
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        cost: &Tensor,
        guides: &[&Tensor],
        image_of_pair: &[usize],
        outputs: FusionOutputs,
    ) -> Result<Fused> {
        check_fusion((x, cost), guides, image_of_pair, [self.channels, self.below, self.conv1.outputs()])?;
        let dtype = self.phases.dtype();
        let (x, cost) = (x.to_dtype(dtype)?.contiguous()?, cost.to_dtype(dtype)?.contiguous()?);
        let guide = Tensor::cat(guides, 0)?.to_dtype(dtype)?.contiguous()?;
        let guide_of: Vec<u32> = image_of_pair.iter().map(|&image| image as u32).collect();
        let guide_of = Tensor::new(guide_of, x.device())?;
        let cost_guidance = Convolve {
            step: 2,
            bias: Some(&self.cost_bias),
            activation: Activation::Relu,
            ..Convolve::new(&cost, &self.cost, 1)
        };
        let cost_guidance = cost_guidance.run()?;
        let first = Convolve {
            step: 2,
            second: Some((&cost_guidance, &self.conv0_cost, 3)),
            guide: Some((&guide, &guide_of)),
            ..Convolve::new(&x, &self.phases, 2)
        };
        let first = self.norm0.forward_relu(&first.run()?)?;
        let second = self.norm1.forward_relu(&Convolve::new(&first, &self.conv1, 3).run()?)?;
        let logits = outputs.logits.then(|| self.head.forward(&second)).transpose()?;
        Ok(Fused {
            features: outputs.features.then_some(second),
            cost_guidance: outputs.features.then_some(cost_guidance),
            logits,
        })
    }
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use super::*;
    use crate::cuda::testing::{DTYPES, OnDevice, assert_near, assert_within, on_device};
    use crate::testing::{random, tensor};

    fn weights<'a>(t: &'a [OnDevice], of: fn(&OnDevice) -> &Tensor) -> SkipFusionWeights<'a> {
        let pair = |i: usize| (of(&t[i]), of(&t[i + 1]));
        SkipFusionWeights {
            up: pair(0),
            cost: pair(2),
            conv0: of(&t[4]),
            norm0: pair(5),
            conv1: of(&t[7]),
            norm1: pair(8),
            head: pair(10),
        }
    }

    #[test]
    fn equals_the_cpu() {
        for (h, w, c, g, below, out, groups) in [
            (6, 5, 20, 12, 17, 16, 1),
            (3, 8, 24, 8, 16, 40, 2),
            (1, 1, 16, 8, 8, 16, 1),
            (4, 4, 16, 8, 8, 32, 2),
        ] {
            let (n, images, up, ig) = (3, 2, c - g, g - 1);
            let shapes: [&[usize]; 12] = [
                &[c, up, 2, 2],
                &[up],
                &[below, g, 2, 2],
                &[g],
                &[out, c + ig, 3, 3],
                &[out],
                &[out],
                &[out, out, 3, 3],
                &[out],
                &[out],
                &[1, out, 3, 3],
                &[1],
            ];
            let values = |shape: &[usize], seed| tensor(&random(shape.iter().product(), seed), shape);
            let (x, cost) = (values(&[n, h, w, c], 20), values(&[n, h, w, below], 21));
            let guidance = values(&[images, 2 * h, 2 * w, ig], 22);
            let image_of_pair = [0, 1, 1];
            for dtype in DTYPES {
                let t: Vec<OnDevice> = shapes
                    .iter()
                    .enumerate()
                    .map(|(i, shape)| {
                        on_device(&values(shape, i as u64 + 1), if i == 4 { dtype } else { DType::F32 })
                    })
                    .collect();
                let (x, cost, guidance) =
                    (on_device(&x, dtype), on_device(&cost, dtype), on_device(&guidance, dtype));
                let cpu = crate::cpu::SkipFusion::new(&weights(&t, |t| &t.rounded), groups, 1e-5).unwrap();
                let layer = SkipFusion::new(&weights(&t, |t| &t.tensor), groups, 1e-5).unwrap();
                let want_guides = cpu.guide(&guidance.rounded).unwrap();
                let guides = layer.guide(&guidance.tensor).unwrap();
                assert_near(&guides, &want_guides, dtype, "guide");
                let split =
                    |x: &Tensor| -> Vec<Tensor> { (0..images).map(|i| x.narrow(0, i, 1).unwrap()).collect() };
                let (want_guides, guides) = (split(&want_guides), split(&guides));
                let all = FusionOutputs { features: true, logits: true };
                let want = cpu
                    .forward(
                        &x.rounded,
                        &cost.rounded,
                        &want_guides.iter().collect::<Vec<_>>(),
                        &image_of_pair,
                        all,
                    )
                    .unwrap();
                let got = layer
                    .forward(&x.tensor, &cost.tensor, &guides.iter().collect::<Vec<_>>(), &image_of_pair, all)
                    .unwrap();
                // Two convolutions and two norms: roundings of 16 bit add up.
                let tolerance = match dtype {
                    DType::F32 => 5e-4,
                    DType::BF16 => 0.03,
                    _ => 0.004,
                };
                let what = format!("{h}×{w}×{c}→{out} {dtype:?}");
                assert_near(&got.cost_guidance.unwrap(), &want.cost_guidance.unwrap(), dtype, &what);
                assert_within(&got.features.unwrap(), &want.features.unwrap(), tolerance, &what);
                assert_within(&got.logits.unwrap(), &want.logits.unwrap(), tolerance, &what);
            }
        }
    }
}
