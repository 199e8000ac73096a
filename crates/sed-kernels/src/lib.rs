//! Tensor operations that candle lacks or does slowly, written for the SED network.
//!
//! Every function takes and gives candle tensors in channels-last layout and chooses its
//! implementation by the tensors' device. On the CPU a kernel is written once over SIMD lanes and
//! compiled for AVX-512 (with bf16 products or without), AVX2 and plain Rust ([`Isa`]); it runs on the threads
//! of [`parallel`]. For CUDA there is a kernel in `cuda/` that is tested against the CPU's, without a GPU too.
//!
//! Large weights are kept in the dtype they are given in, and what they are multiplied with is rounded to it; sums
//! are f32. On the CPU that is f32 or bf16, and activations between the layers are f32; on CUDA f32, bf16 or f16,
//! activations too.
//!
//! Each kernel for the CPU has a naive twin in its tests and a criterion bench (`benches/kernels.rs`).

// The one crate with unsafe code: SIMD intrinsics, tiles that several tasks write, mapped files, the allocator's options.
#![allow(unsafe_code)]

pub mod allocator;
mod class_attention;
mod conv;
mod convnext_block;
mod cost_map;
mod cuda;
mod depthwise;
pub mod device;
mod elementwise;
mod gemm;
mod group_norm;
mod layer_norm;
mod layers;
mod math;
pub mod parallel;
pub mod peak;
mod prefix_attention;
mod scratch;
mod simd;
mod skip_fusion;
mod tensor;
#[cfg(test)]
mod testing;
mod top_k;
mod upsample_argmax;

pub use class_attention::ClassAttentionWeights;
pub use convnext_block::ConvNextWeights;
pub use cost_map::cost_map;
#[cfg(feature = "cuda-emulator")]
pub use cuda::emulate_cuda;
pub use elementwise::{gather_rows, normalise_rows, sigmoid};
pub use gemm::Activation;
pub use layers::{
    AttentionSums, ClassAttention, Conv2d, ConvNextBlock, DepthwiseConv, LayerNorm, Linear, PatchConv,
    ScalarConv, SkipFusion,
};
pub use prefix_attention::{PrefixChains, prefix_attention};
pub use simd::Isa;
pub use skip_fusion::{Fused, FusionOutputs, SkipFusionWeights};
pub use top_k::top_k_union;
pub use upsample_argmax::{
    ArgmaxMap, ArgmaxSpec, ScoredMap, UNLABELLED, score_and_upsample, upsample_argmax,
};
