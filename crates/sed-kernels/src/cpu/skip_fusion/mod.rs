//! Skip-layer fusion, the second half of a decoder level, fused for one pair at a time so that its
//! maps stay in the cache: upsampling by 2, concatenation with image guidance and cost-map guidance,
//! two 3×3 convolutions with group norm and ReLU, and the level's head.
//!
//! Three rearrangements, none of which changes the result beyond rounding: the transposed convolution
//! has no nonlinearity behind it and is folded into the 3×3 convolution (four 2×2 convolutions of the
//! low-resolution map, one for each output phase); the part of that convolution that sees the image
//! guidance is the same for all categories of an image and computed once ([`SkipFusion::guide`]); the
//! bias of the transposed convolution becomes a fixed map in it.

mod pair;

use candle_core::{Result, Tensor};

use crate::cpu::conv2d::Conv2d;
use crate::cpu::convolve::pack_taps;
use crate::cpu::group_norm::GroupNorm;
use crate::cpu::memory::{cpu_values, from_values, require_cpu, to_vec, written};
use crate::cpu::product::pack::PackedMatrix;
use crate::cpu::scalar_conv::ScalarConv;
use crate::parallel;
use crate::simd::Isa;
use crate::specs::{Activation, Folded, Fused, FusionOutputs, ScalarTaps, SkipFusionWeights, check_fusion};
use pair::Pair;

/// The layer with packed weights.
#[derive(Debug, Clone)]
pub(crate) struct SkipFusion {
    /// Upsampling folded into conv0, for output phases (0,0), (0,1), (1,0), (1,1): `[(2, 2, C), O]`.
    phases: [PackedMatrix; 4],
    /// Cost-map guidance, by output phase: `[P, G]`.
    cost: [PackedMatrix; 4],
    cost_bias: Vec<f32>,
    /// conv0's part that sees the cost-map guidance: `[(3, 3, G), O]`.
    conv0_cost: PackedMatrix,
    /// conv0's part that sees the image guidance.
    conv0_guide: Conv2d,
    /// conv0 seen through the bias of the transposed convolution, by tap: `[9][O]`.
    bias_taps: Vec<f32>,
    norm0: GroupNorm,
    conv1: PackedMatrix,
    norm1: GroupNorm,
    head: ScalarConv,
}

impl SkipFusion {
    /// Folds and packs the weights; group norms have `groups` groups and epsilon `eps`.
    pub(crate) fn new(weights: &SkipFusionWeights<'_>, groups: usize, eps: f64) -> Result<Self> {
        require_cpu(weights.conv0, "skip fusion")?;
        let folded = Folded::new(weights)?;
        let Folded { channels, below, guidance, outputs, .. } = folded;
        let dtype = weights.conv0.dtype();
        let cost = to_vec(weights.cost.0)?;
        let inputs = folded.image.end + guidance;
        let guide = weights.conv0.narrow(1, folded.image.start, folded.image.len())?.contiguous()?;
        Ok(Self {
            phases: folded.phases.map(|phase| {
                PackedMatrix::from_runs((2, 2 * channels), outputs, dtype, |k, n| phase[k * outputs + n])
            }),
            cost: std::array::from_fn(|phase| {
                PackedMatrix::from_fn(below, guidance, dtype, |k, n| cost[(k * guidance + n) * 4 + phase])
            }),
            cost_bias: to_vec(weights.cost.1)?,
            conv0_cost: pack_taps(
                &to_vec(&folded.conv0)?,
                (outputs, inputs, 3),
                folded.image.end..inputs,
                dtype,
            ),
            conv0_guide: Conv2d::new(&guide, None)?,
            bias_taps: folded.bias_taps,
            norm0: GroupNorm::new(weights.norm0.0, weights.norm0.1, groups, eps)?,
            conv1: pack_taps(&to_vec(weights.conv1)?, (outputs, outputs, 3), 0..outputs, dtype),
            norm1: GroupNorm::new(weights.norm1.0, weights.norm1.1, groups, eps)?,
            head: ScalarConv::of(ScalarTaps::plain(weights.head.0, weights.head.1)?)?,
        })
    }

    /// As [`crate::SkipFusion::guide`].
    pub(crate) fn guide(&self, guidance: &Tensor) -> Result<Tensor> {
        let (n, height, width, _) = guidance.dims4()?;
        let guide = self.conv0_guide.forward(guidance, Activation::None)?;
        let mut guide = to_vec(&guide)?;
        let map = bias_map(&self.bias_taps, (height, width));
        for image in guide.chunks_exact_mut(map.len()) {
            image.iter_mut().zip(&map).for_each(|(value, bias)| *value += bias);
        }
        from_values(guide, (n, height, width, self.conv1.n))
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
        self.forward_on(x, cost, guides, image_of_pair, outputs, Isa::best())
    }

    fn forward_on(
        &self,
        x: &Tensor,
        cost: &Tensor,
        guides: &[&Tensor],
        image_of_pair: &[usize],
        outputs: FusionOutputs,
        isa: Isa,
    ) -> Result<Fused> {
        require_cpu(x, "skip fusion")?;
        let (n, height, width, channels) = x.dims4()?;
        let (out, guidance, below) = (self.conv1.n, self.cost[0].n, self.cost[0].k);
        check_fusion((x, cost), guides, image_of_pair, [self.phases[0].k / 4, below, out])?;
        let (high, wide) = (2 * height, 2 * width);
        let (x, cost) = (cpu_values(x)?, cpu_values(cost)?);
        let guides = guides.iter().map(|g| cpu_values(g)).collect::<Result<Vec<_>>>()?;
        let len = |wanted: bool, channels: usize| if wanted { n * high * wide * channels } else { 0 };
        // Values, not guards: lock guards do not cross threads.
        let guides: Vec<&[f32]> = guides.iter().map(|g| &**g).collect();
        let (x, cost): (&[f32], &[f32]) = (&x, &cost);
        let run = |features: &mut [f32], cost_guidance: &mut [f32], logits: &mut [f32]| {
            let mut pairs: Vec<Option<Pair<'_>>> = split(features, n)
                .into_iter()
                .zip(split(cost_guidance, n))
                .zip(split(logits, n))
                .enumerate()
                .map(|(index, ((features, cost_guidance), logits))| {
                    Some(Pair {
                        x: &x[index * height * width * channels..][..height * width * channels],
                        cost: &cost[index * height * width * below..][..height * width * below],
                        guide: guides[image_of_pair[index]],
                        height,
                        width,
                        features,
                        cost_guidance,
                        logits,
                    })
                })
                .collect();
            parallel::each_nested(&mut pairs, |pair| pair.run(self, isa));
        };
        let (mut cost_guidance, mut logits) = (Vec::new(), Vec::new());
        // SAFETY: every pair stores all of its part of whatever is wanted.
        let features = unsafe {
            written(len(outputs.features, out), |features| {
                cost_guidance = written(len(outputs.features, guidance), |guidance| {
                    logits = written(len(outputs.logits, 1), |logits| run(features, guidance, logits));
                });
            })
        };
        let tensor = |wanted: bool, values: Vec<f32>, channels: usize| {
            wanted.then(|| from_values(values, (n, high, wide, channels))).transpose()
        };
        Ok(Fused {
            features: tensor(outputs.features, features, out)?,
            cost_guidance: tensor(outputs.features, cost_guidance, guidance)?,
            logits: outputs.logits.then(|| from_values(logits, (n, high, wide))).transpose()?,
        })
    }
}

/// The sum of the taps that lie inside an image `[height, width]`, for every pixel and output channel.
fn bias_map(taps: &[f32], (height, width): (usize, usize)) -> Vec<f32> {
    let outputs = taps.len() / 9;
    let mut map = vec![0.0; height * width * outputs];
    for (pixel, values) in map.chunks_exact_mut(outputs).enumerate() {
        let (y, x) = (pixel / width, pixel % width);
        for (ty, tx) in (0..3).flat_map(|y| (0..3).map(move |x| (y, x))) {
            let inside = y + ty > 0 && y + ty <= height && x + tx > 0 && x + tx <= width;
            if inside {
                let tap = &taps[(ty * 3 + tx) * outputs..][..outputs];
                values.iter_mut().zip(tap).for_each(|(value, tap)| *value += tap);
            }
        }
    }
    map
}

/// Cuts a buffer into `n` equal parts; an empty one into `n` empty parts.
fn split(values: &mut [f32], n: usize) -> Vec<&mut [f32]> {
    if values.is_empty() {
        return (0..n).map(|_| <&mut [f32]>::default()).collect();
    }
    let part = values.len() / n;
    values.chunks_exact_mut(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::conv2d::tests::naive as naive_conv;
    use crate::cpu::group_norm::tests::naive_relu;
    use crate::testing::{assert_close, random, tensor};

    /// Transposed convolution, size and stride 2: `x [h, w, c]`, `weight [c, out, 2, 2]`.
    fn naive_up(x: &[f32], (h, w, c): (usize, usize, usize), weight: &[f32], bias: &[f32]) -> Vec<f32> {
        let out = bias.len();
        let mut y = Vec::new();
        for (oy, ox) in (0..2 * h).flat_map(|y| (0..2 * w).map(move |x| (y, x))) {
            let pixel = &x[(oy / 2 * w + ox / 2) * c..][..c];
            for o in 0..out {
                let tap = |i: usize| weight[((i * out + o) * 2 + oy % 2) * 2 + ox % 2];
                y.push(bias[o] + pixel.iter().enumerate().map(|(i, v)| v * tap(i)).sum::<f32>());
            }
        }
        y
    }

    #[test]
    fn equals_the_chain_of_its_parts() {
        for (h, w, c, g, below, out, groups) in [
            (6, 5, 32, 16, 80, 16, 1),
            (3, 8, 24, 8, 16, 40, 2),
            (1, 1, 16, 8, 8, 16, 1),
            (12, 12, 128, 32, 80, 64, 4),
        ] {
            let (n, images) = (3, 2);
            let up = c - g;
            let (x, cost) = (random(n * h * w * c, 1), random(n * h * w * below, 2));
            let ig = g - 1; // as many channels as there are of the cost map's is not required
            let guidance = random(images * 4 * h * w * ig, 3);
            let (uw, ub) = (random(c * up * 4, 4), random(up, 5));
            let (cw, cb) = (random(below * g * 4, 6), random(g, 7));
            let (w0, w1) = (random(out * (c + ig) * 9, 8), random(out * out * 9, 9));
            let norms: Vec<_> = (10..14).map(|seed| random(out, seed)).collect();
            let (hw, hb) = (random(out * 9, 14), random(1, 15));
            let v = |values: &[f32]| tensor(values, &[values.len()]);
            let layer = SkipFusion::new(
                &SkipFusionWeights {
                    up: (&tensor(&uw, &[c, up, 2, 2]), &v(&ub)),
                    cost: (&tensor(&cw, &[below, g, 2, 2]), &v(&cb)),
                    conv0: &tensor(&w0, &[out, c + ig, 3, 3]),
                    norm0: (&v(&norms[0]), &v(&norms[1])),
                    conv1: &tensor(&w1, &[out, out, 3, 3]),
                    norm1: (&v(&norms[2]), &v(&norms[3])),
                    head: (&tensor(&hw, &[1, out, 3, 3]), &v(&hb)),
                },
                groups,
                1e-5,
            )
            .unwrap();
            let image_of_pair = [0, 1, 1];
            let (mut features, mut cost_guidance, mut logits) = (vec![], vec![], vec![]);
            let high = (2 * h, 2 * w);
            for (pair, image) in image_of_pair.into_iter().enumerate() {
                let upsampled = naive_up(&x[pair * h * w * c..][..h * w * c], (h, w, c), &uw, &ub);
                let mut guided =
                    naive_up(&cost[pair * h * w * below..][..h * w * below], (h, w, below), &cw, &cb);
                guided.iter_mut().for_each(|v| *v = v.max(0.0));
                let pixels = 4 * h * w;
                let joined: Vec<f32> = (0..pixels)
                    .flat_map(|p| {
                        let image = &guidance[(image * pixels + p) * ig..][..ig];
                        [&upsampled[p * up..][..up], image, &guided[p * g..][..g]].concat()
                    })
                    .collect();
                let first = naive_conv(&joined, (high.0, high.1, c + ig), &w0, None, (out, 3));
                let first = naive_relu(&first, &norms[0], &norms[1], groups, 1e-5);
                let second = naive_conv(&first, (high.0, high.1, out), &w1, None, (out, 3));
                let second = naive_relu(&second, &norms[2], &norms[3], groups, 1e-5);
                logits.extend(naive_conv(&second, (high.0, high.1, out), &hw, Some(&hb), (1, 3)));
                features.extend(second);
                cost_guidance.extend(guided);
            }
            let guides = layer.guide(&tensor(&guidance, &[images, 2 * h, 2 * w, ig])).unwrap();
            let guides: Vec<_> = (0..images).map(|i| guides.narrow(0, i, 1).unwrap()).collect();
            let guides: Vec<_> = guides.iter().collect();
            let (x, cost) = (tensor(&x, &[n, h, w, c]), tensor(&cost, &[n, h, w, below]));
            for isa in Isa::available() {
                let all = FusionOutputs { features: true, logits: true };
                let got = layer.forward_on(&x, &cost, &guides, &image_of_pair, all, isa).unwrap();
                let what = format!("{isa:?} {h}×{w}×{c}→{out}");
                assert_close(&to_vec(&got.features.unwrap()).unwrap(), &features, 2e-3, &what);
                assert_close(&to_vec(&got.cost_guidance.unwrap()).unwrap(), &cost_guidance, 2e-4, &what);
                assert_close(&to_vec(&got.logits.unwrap()).unwrap(), &logits, 2e-3, &what);
                let only = FusionOutputs { features: false, logits: true };
                let got = layer.forward_on(&x, &cost, &guides, &image_of_pair, only, isa).unwrap();
                assert!(got.features.is_none() && got.cost_guidance.is_none());
                assert_close(&to_vec(&got.logits.unwrap()).unwrap(), &logits, 2e-3, &what);
            }
        }
    }
}
