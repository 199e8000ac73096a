//! Skip-layer fusion with the same foldings as on the CPU (`crate::cpu`).

mod steps;
#[cfg(test)]
mod tests;

use candle_core::{DType, Device, Result, Tensor, bail};

use self::steps::{Inputs, Steps};
use super::convolve::{Bias, Convolve, Taps, taps};
use super::convolve_tile::TileConvolve;
use super::tile_taps::{Tile, TileTaps};
use crate::specs::{DevicePairs, Folded, Fused, FusionOutputs, SkipFusionWeights, check_fusion};

/// Kinds of pixels by the edges that they lie on: 1 top, 2 bottom, 4 left, 8 right.
const KINDS: usize = 16;

/// The layer's weights; it works in the dtype of `conv0`.
#[derive(Debug, Clone)]
pub(crate) struct SkipFusion {
    steps: Steps,
    guide: Guide,
    /// conv0 seen through the bias of the transposed convolution, by the edges of a pixel: `[16, O]`.
    guide_bias: Tensor,
    dtype: DType,
    /// Channels of the features, of the cost map and of the result.
    channels: [usize; 3],
}

/// conv0's part that sees the image guidance: `[(3, 3, I), O]`.
#[derive(Debug, Clone)]
enum Guide {
    Any(Taps),
    Tile(TileTaps),
}

impl SkipFusion {
    /// Folds the weights; group norms have `groups` groups and epsilon `eps`.
    pub(crate) fn new(weights: &SkipFusionWeights<'_>, groups: usize, eps: f64) -> Result<Self> {
        let folded = Folded::new(weights)?;
        let (device, dtype) = (weights.conv0.device(), weights.conv0.dtype());
        let (image, outputs) = (folded.image.len(), folded.outputs);
        let guide = taps(&folded.conv0.narrow(1, folded.image.start, image)?)?;
        let guide = guide.to_dtype(dtype)?.to_device(device)?;
        let guide = match Tile::plain(dtype, 3, image, outputs) {
            Some(tile) => Guide::Tile(TileTaps::new(&guide, (1, 3), tile, tile.channels)?),
            None => Guide::Any(Taps::new(&guide)?),
        };
        let by_edges =
            Tensor::from_vec(by_edges(&folded.bias_taps, outputs), (KINDS, outputs), &Device::Cpu)?;
        Ok(Self {
            guide,
            guide_bias: by_edges.to_device(device)?,
            dtype,
            channels: [folded.channels, folded.below, outputs],
            steps: Steps::new(weights, &folded, groups, eps)?,
        })
    }

    /// As [`crate::SkipFusion::guide`].
    pub(crate) fn guide(&self, guidance: &Tensor) -> Result<Tensor> {
        let guidance = guidance.to_dtype(self.dtype)?.contiguous()?;
        // The bias passes through the taps that lie inside: fewer of them at the edges.
        let bias = Some(Bias { values: &self.guide_bias, kinds: KINDS });
        match &self.guide {
            Guide::Any(taps) => Convolve { bias, ..Convolve::new(&guidance, taps, 3) }.run(),
            Guide::Tile(taps) => TileConvolve { bias, ..TileConvolve::new(&guidance, taps) }.run(),
        }
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
        check_fusion((x, cost), guides, image_of_pair, self.channels)?;
        let guide = Tensor::cat(guides, 0)?.to_dtype(self.dtype)?.contiguous()?;
        let guide_of: Vec<u32> = image_of_pair.iter().map(|&image| image as u32).collect();
        let guide_of = Tensor::new(guide_of, x.device())?;
        let (x, cost) = (x.to_dtype(self.dtype)?.contiguous()?, cost.to_dtype(self.dtype)?.contiguous()?);
        let guide = (&guide, &guide_of);
        self.steps.run(&Inputs { x: &x, cost: &cost, guide, live: None }, outputs)
    }

    /// As [`crate::SkipFusion::forward_pairs`].
    pub(crate) fn forward_pairs(
        &self,
        x: &Tensor,
        cost: &Tensor,
        guide: &Tensor,
        pairs: &DevicePairs,
        outputs: FusionOutputs,
    ) -> Result<Fused> {
        pairs.check(x)?;
        let (n, height, width, found) = x.dims4()?;
        let [channels, below, out] = self.channels;
        if found != channels || cost.dims() != [n, height, width, below] {
            bail!("skip fusion: {:?} and {:?} do not fit the weights", x.shape(), cost.shape());
        }
        let wanted = [pairs.image_count(), 2 * height, 2 * width, out];
        if guide.dims() != wanted {
            bail!("skip fusion: guide {:?} is not {wanted:?}", guide.shape());
        }
        if [x, cost, guide].iter().any(|x| x.dtype() != self.dtype) {
            bail!("skip fusion: pairs in another format than the weights' {:?}", self.dtype);
        }
        let live = pairs.live()?;
        let guide = (guide, &pairs.images);
        self.steps.run(&Inputs { x, cost, guide, live: Some(&live) }, outputs)
    }
}

/// Sums of `taps [9][outputs]` over those that lie inside, by the edges of the pixel in the middle: `[16][outputs]`.
fn by_edges(taps: &[f32], outputs: usize) -> Vec<f32> {
    let mut sums = vec![0.0; KINDS * outputs];
    for (edges, sum) in sums.chunks_exact_mut(outputs).enumerate() {
        let is_on = |bit: usize| edges & bit != 0;
        for (tap, values) in taps.chunks_exact(outputs).enumerate() {
            let (y, x) = (tap / 3, tap % 3);
            let outside =
                (y == 0 && is_on(1)) || (y == 2 && is_on(2)) || (x == 0 && is_on(4)) || (x == 2 && is_on(8));
            if !outside {
                sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
            }
        }
    }
    sums
}
