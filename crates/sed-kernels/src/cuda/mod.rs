//! The kernels for CUDA devices: what is launched, with which arguments, and how layers are made of it.
//!
//! The kernels themselves are in `cuda/*.cu`. Tensors may be f32, bf16 or f16; products of matrices are
//! candle's (cuBLAS), everything around them is ours. With feature `cuda-emulator` the same launches run on
//! CPU tensors, through the same kernels compiled by a C++ compiler; that is how they are tested.

#[cfg(feature = "cuda")]
mod driver;
#[cfg(feature = "cuda-emulator")]
mod emulator;
mod launch;
mod layer_norm;
mod memory;
#[cfg(test)]
mod testing;

use candle_core::Device;

#[cfg(feature = "cuda-emulator")]
pub use emulator::emulate_cuda;
pub(crate) use layer_norm::LayerNorm;

/// Whether tensors on a device go to these kernels: on a GPU, and on the CPU while a test has it emulated.
pub(crate) fn runs_on(device: &Device) -> bool {
    match device {
        Device::Cuda(_) => true,
        #[cfg(feature = "cuda-emulator")]
        Device::Cpu => emulator::is_on(),
        _ => false,
    }
}
