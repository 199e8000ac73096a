//! Tensor operations that candle lacks or does slowly, written for the SED network.
//!
//! Tensors are candle's, in channels-last layout. `specs` holds the weights and results. `layers` checks the
//! arguments and chooses the wing for the tensors' device, with a namesake of every layer and operation:
//!
//! - `cpu`: a kernel is written once over SIMD lanes (`simd`) and compiled for AVX-512 (with bf16 products or
//!   without), AVX2 and plain Rust, of which `SED_KERNELS_ISA` may name one; it runs on the threads of
//!   [`parallel`].
//! - `cuda`: launches of the kernels in `cuda/*.cu`, tested against the CPU's, without a GPU too.
//!
//! Large weights are kept in the dtype they are given in, and what they are multiplied with is rounded to it;
//! sums are f32. On the CPU that is f32 or bf16, and activations between the layers are f32; on CUDA f32,
//! bf16 or f16, activations too.
//!
//! Each kernel for the CPU has a naive twin in its tests and a criterion bench (`benches/kernels.rs`).

// The one crate with unsafe code: SIMD intrinsics, tiles that several tasks write, mapped files, the
// allocator's options.
#![allow(unsafe_code)]

pub mod allocator;
mod cpu;
mod cuda;
pub mod device;
mod layers;
pub mod parallel;
pub mod peak;
mod simd;
mod specs;
#[cfg(test)]
mod testing;

#[cfg(feature = "cuda-emulator")]
pub use cuda::emulate_cuda;
pub use cuda::submission;
pub use half::f16;
pub use layers::{
    ClassAttention, Conv2d, ConvNextBlock, DepthwiseConv, LayerNorm, Linear, PatchConv, ScalarConv,
    SkipFusion, activation_dtype, cost_map, cost_map_batch, finish_batch, gather_pairs, gather_rows,
    has_cuda_kernels, normalise_rows, prefix_attention, products_off_plan, reject, score_and_upsample,
    sigmoid, top_k_union, upsample_argmax, widest_of_aggregation,
};
pub use specs::{
    Activation, ArgmaxMap, ArgmaxSpec, AttentionSums, ClassAttentionWeights, ConvNextWeights, DevicePairs,
    EntryThresholds, FinishPlan, FinishSpec, FinishedImage, Fused, FusionOutputs, PatchConvWeights,
    PrefixChains, RejectionRule, ScoredMap, SkipFusionWeights, Sureness, UNLABELLED,
};
