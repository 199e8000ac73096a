//! The layers as the network uses them: each is made for the device that its weights are on.

mod attention;
mod conv;
mod convnext;
mod fusion;
mod linear;
mod norm;

pub use attention::{AttentionSums, ClassAttention};
pub use conv::{Conv2d, DepthwiseConv, PatchConv, ScalarConv};
pub use convnext::ConvNextBlock;
pub use fusion::SkipFusion;
pub use linear::Linear;
pub use norm::LayerNorm;

/// A layer for the CPU or one for CUDA.
#[derive(Debug, Clone)]
enum Backend<C, G> {
    Cpu(C),
    Cuda(G),
}
