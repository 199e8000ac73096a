//! The kernels for the CPU, written once over SIMD lanes ([`crate::simd`]) and run on the threads of
//! [`crate::parallel`].
//!
//! Products are of f32 or bf16, as the weights are; activations and sums are f32.

mod border;
mod class_attention;
mod conv2d;
mod convnext_block;
mod convolve;
mod cost_map;
mod depthwise;
mod elementwise;
mod epilogue;
mod group_norm;
mod layer_norm;
mod linear;
mod memory;
mod patch_conv;
mod prefix_attention;
mod product;
mod rejection;
mod scalar_conv;
mod scratch;
mod skip_fusion;
mod upsample_argmax;

use candle_core::DType;

pub(crate) use class_attention::ClassAttention;
pub(crate) use conv2d::Conv2d;
pub(crate) use convnext_block::ConvNextBlock;
pub(crate) use cost_map::cost_map;
pub(crate) use depthwise::DepthwiseConv;
pub(crate) use elementwise::{gather_rows, normalise_rows, sigmoid};
#[cfg(test)]
pub(crate) use group_norm::tests::naive_relu;
pub(crate) use layer_norm::LayerNorm;
pub(crate) use linear::Linear;
pub(crate) use patch_conv::PatchConv;
pub(crate) use prefix_attention::prefix_attention;
pub(crate) use rejection::top_k_union;
pub(crate) use scalar_conv::ScalarConv;
pub(crate) use skip_fusion::SkipFusion;
pub(crate) use upsample_argmax::{score_and_upsample, upsample_argmax};

/// Number format of the activations, whatever that of the weights.
pub(crate) fn activation_dtype(_: DType) -> DType {
    DType::F32
}
