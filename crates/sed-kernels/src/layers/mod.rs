//! The network's layers and operations: their weights and results, the checks of their arguments, and the
//! choice of the wing that computes them ([`crate::cpu`], [`crate::cuda`]).

mod class_attention;
mod conv2d;
mod convnext_block;
mod cost_map;
mod depthwise;
mod elementwise;
mod host;
mod layer_norm;
mod linear;
mod patch_conv;
mod prefix_attention;
mod rejection;
mod scalar_conv;
mod skip_fusion;
mod upsample_argmax;
mod wing;

pub use class_attention::{AttentionSums, ClassAttention, ClassAttentionWeights};
pub use conv2d::Conv2d;
pub use convnext_block::{ConvNextBlock, ConvNextWeights};
pub use cost_map::cost_map;
pub use depthwise::DepthwiseConv;
pub use elementwise::{gather_rows, normalise_rows, sigmoid};
pub(crate) use host::on_host;
pub use layer_norm::LayerNorm;
pub use linear::{Activation, Linear};
pub use patch_conv::{PatchConv, PatchConvWeights};
pub use prefix_attention::{PrefixChains, prefix_attention};
pub use rejection::top_k_union;
pub use scalar_conv::ScalarConv;
pub(crate) use scalar_conv::ScalarTaps;
pub(crate) use skip_fusion::Folded;
pub use skip_fusion::{Fused, FusionOutputs, SkipFusion, SkipFusionWeights};
pub use upsample_argmax::{
    ArgmaxMap, ArgmaxSpec, ScoredMap, UNLABELLED, score_and_upsample, upsample_argmax,
};
pub(crate) use wing::{Wing, in_wing_of};
