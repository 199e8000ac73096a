//! The network's layers and operations: checks of the arguments, and the choice of the wing that computes
//! ([`crate::cpu`], [`crate::cuda`]). Weights and results are in [`crate::specs`].

mod class_attention;
mod conv2d;
mod convnext_block;
mod cost_map;
mod depthwise;
mod elementwise;
mod finish;
mod gather;
mod layer_norm;
mod linear;
mod patch_conv;
mod prefix_attention;
mod rejection;
mod scalar_conv;
mod skip_fusion;
mod upsample_argmax;
mod wing;

pub use class_attention::ClassAttention;
pub use conv2d::Conv2d;
pub use convnext_block::ConvNextBlock;
pub use cost_map::{cost_map, cost_map_batch};
pub use depthwise::DepthwiseConv;
pub use elementwise::{normalise_rows, sigmoid};
pub use finish::finish_batch;
pub use gather::{gather_pairs, gather_rows};
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use patch_conv::PatchConv;
pub use prefix_attention::prefix_attention;
pub use rejection::{reject, top_k_union};
pub use scalar_conv::ScalarConv;
pub use skip_fusion::SkipFusion;
pub use upsample_argmax::{score_and_upsample, upsample_argmax};
pub(crate) use wing::Wing;
pub use wing::{activation_dtype, has_cuda_kernels, products_off_plan, widest_of_aggregation};
