//! The kernels for CUDA devices: what is launched, with which arguments, and how layers are made of it.
//!
//! The kernels themselves are in `cuda/*.cu`. Tensors may be f32, bf16 or f16; products of matrices are
//! cuBLASLt's, everything around them is ours. A layer works in the dtype of its matrices: it converts
//! what it is given, and gives its results in that dtype (logits always in f32).
//!
//! With feature `cuda-emulator` the same launches run on CPU tensors, through the same kernels compiled by a
//! C++ compiler; that is how they are tested.

mod class_attention;
mod conv2d;
mod convnext_block;
mod convolve;
mod convolve_tile;
mod cost_map;
#[cfg(feature = "cuda")]
mod cublaslt;
mod depthwise;
mod elementwise;
mod epilogue;
mod finish;
mod gather;
mod group_norm;
mod launch;
mod layer_norm;
mod linear;
mod memory;
mod mlp;
mod patch_conv;
mod prefix_attention;
mod product;
mod rejection;
mod run;
mod scalar_conv;
mod skip_fusion;
pub mod submission;
mod tail;
#[cfg(test)]
mod testing;
mod tile_taps;
mod upsample_argmax;

use candle_core::{DType, Device};

pub(crate) use class_attention::ClassAttention;
pub(crate) use conv2d::Conv2d;
pub(crate) use convnext_block::ConvNextBlock;
pub(crate) use cost_map::{cost_map, cost_map_batch};
#[cfg(feature = "cuda")]
pub(crate) use cublaslt::off_plan;
pub(crate) use depthwise::DepthwiseConv;
pub(crate) use elementwise::{normalise_rows, sigmoid};
pub(crate) use finish::finish_batch;
pub(crate) use gather::{gather_pairs, gather_rows};
pub(crate) use layer_norm::LayerNorm;
pub(crate) use linear::Linear;
pub(crate) use mlp::widest_of_aggregation;
pub(crate) use patch_conv::PatchConv;
pub(crate) use prefix_attention::prefix_attention;
pub(crate) use rejection::{reject, top_k_union};
#[cfg(feature = "cuda-emulator")]
pub use run::emulator::emulate_cuda;
pub(crate) use scalar_conv::ScalarConv;
pub(crate) use skip_fusion::SkipFusion;
pub(crate) use upsample_argmax::{score_and_upsample, upsample_argmax};

/// Reports whether this wing computes on a device's tensors: on a GPU, and on the CPU while a test emulates
/// one.
pub(crate) fn runs_on(device: &Device) -> bool {
    #[cfg(feature = "cuda-emulator")]
    if run::emulator::is_on() {
        return true;
    }
    device.is_cuda()
}

/// Number format of the activations between weights of a format.
pub(crate) fn activation_dtype(weights: DType) -> DType {
    weights
}
