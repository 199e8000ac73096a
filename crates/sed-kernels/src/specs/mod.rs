//! The weights, settings and results of the layers and operations, and the checks of shapes that both wings
//! make. This module is below the wings ([`crate::cpu`], [`crate::cuda`]), which import it.

mod activation;
mod class_attention;
mod conv2d;
mod convnext_block;
mod finish;
mod host;
mod linear;
mod pairs;
mod patch_conv;
mod prefix_attention;
mod rejection;
mod scalar_conv;
mod skip_fusion;
mod tiles;
mod upsample_argmax;

pub use activation::Activation;
pub use class_attention::{AttentionSums, ClassAttentionWeights};
pub(crate) use class_attention::{attention_dims, check_offsets};
pub(crate) use conv2d::conv_sizes;
pub use convnext_block::ConvNextWeights;
pub(crate) use finish::SCORES_OF_BLOCK;
pub use finish::{EntryThresholds, FinishPlan, FinishSpec, FinishedImage};
pub(crate) use host::on_host;
pub(crate) use linear::{linear_shape, linear_sizes};
pub use pairs::DevicePairs;
pub use patch_conv::PatchConvWeights;
pub use prefix_attention::PrefixChains;
pub use rejection::RejectionRule;
pub(crate) use scalar_conv::ScalarTaps;
pub(crate) use skip_fusion::{Folded, check_fusion};
pub use skip_fusion::{Fused, FusionOutputs, SkipFusionWeights};
pub(crate) use tiles::Tiles;
pub(crate) use upsample_argmax::mean_score;
pub use upsample_argmax::{ArgmaxMap, ArgmaxSpec, ScoredMap, Sureness, UNLABELLED};
