//! Skip-layer fusion.

use candle_core::{Result, Tensor};

use super::Backend;
use crate::cuda;
use crate::skip_fusion::{self as cpu, Fused, FusionOutputs, SkipFusionWeights};

/// The second half of a decoder level: upsampling by 2, concatenation with image guidance and cost-map
/// guidance, two 3×3 convolutions with group norm and ReLU, and the level's head.
#[derive(Debug, Clone)]
pub struct SkipFusion(Backend<cpu::SkipFusion, cuda::SkipFusion>);

impl SkipFusion {
    /// Folds the weights; group norms have `groups` groups and epsilon `eps`.
    pub fn new(weights: &SkipFusionWeights<'_>, groups: usize, eps: f64) -> Result<Self> {
        Ok(Self(if cuda::takes(weights.conv0) {
            Backend::Cuda(cuda::SkipFusion::new(weights, groups, eps)?)
        } else {
            Backend::Cpu(cpu::SkipFusion::new(weights, groups, eps)?)
        }))
    }

    /// Computes the image's part of the first convolution, once for all of its categories: from
    /// `guidance [n, 2h, 2w, I]` to `[n, 2h, 2w, O]`.
    pub fn guide(&self, guidance: &Tensor) -> Result<Tensor> {
        match &self.0 {
            Backend::Cpu(layer) => layer.guide(guidance),
            Backend::Cuda(layer) => layer.guide(guidance),
        }
    }

    /// Runs the layer for `n` pairs: `x [n, h, w, C]`, cost-map guidance from below
    /// `cost [n, h, w, P]`, one `guide [1, 2h, 2w, O]` per image, and the image of every pair.
    pub fn forward(
        &self,
        x: &Tensor,
        cost: &Tensor,
        guides: &[&Tensor],
        image_of_pair: &[usize],
        outputs: FusionOutputs,
    ) -> Result<Fused> {
        match &self.0 {
            Backend::Cpu(layer) => layer.forward(x, cost, guides, image_of_pair, outputs),
            Backend::Cuda(layer) => layer.forward(x, cost, guides, image_of_pair, outputs),
        }
    }
}
