//! Skip-layer fusion.

use candle_core::{Result, Tensor};

use super::wing::layer;
use crate::specs::{DevicePairs, Fused, FusionOutputs, SkipFusionWeights};

layer! {
    /// The second half of a decoder level: upsampling by 2, concatenation with image guidance and cost-map
    /// guidance, two 3×3 convolutions with group norm and ReLU, and the level's head.
    pub struct SkipFusion;

    /// Folds the weights; group norms have `groups` groups and epsilon `eps`.
    pub fn new(weights: &SkipFusionWeights<'_>, groups: usize, eps: f64) on weights.conv0.device();

    /// Computes the image's part of the first convolution, once for all of its categories: from
    /// `guidance [n, 2h, 2w, I]` to `[n, 2h, 2w, O]`.
    pub fn guide(&self, guidance: &Tensor) -> Result<Tensor>;

    /// Runs the layer for `n` pairs: `x [n, h, w, C]`, cost-map guidance from below
    /// `cost [n, h, w, P]`, one `guide [1, 2h, 2w, O]` per image, and the image of every pair.
    pub fn forward(
        &self,
        x: &Tensor,
        cost: &Tensor,
        guides: &[&Tensor],
        image_of_pair: &[usize],
        outputs: FusionOutputs
    ) -> Result<Fused>;

    on_device {
        /// As [`SkipFusion::forward`] for pairs: `x [capacity, h, w, C]`, `cost [capacity, h, w, P]`, and the guides of
        /// all images, `guide [images, 2h, 2w, O]`, all in the layer's dtype.
        pub fn forward_pairs(
            &self,
            x: &Tensor,
            cost: &Tensor,
            guide: &Tensor,
            pairs: &DevicePairs,
            outputs: FusionOutputs
        ) -> Result<Fused>;
    }
}
