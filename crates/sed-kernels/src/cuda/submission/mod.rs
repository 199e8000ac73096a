//! The host's side of a submission: memory that is planned, copies through pinned memory, recorded work.

mod graph;
mod inputs;
mod pinned;

use candle_core::{DType, Device, Tensor};

pub use super::memory::arena::{self, Arena};
use super::memory::{Output, address};
pub use graph::{Graph, Recording, record};
pub use inputs::{PinnedInput, PinnedInputs, upload_inputs};
pub use pinned::{Download, HostBuffer, HostBuffers, HostWords};

/// Memory without values for a tensor, in the arena if one is lent to this thread.
///
/// # Errors
/// When the device has no memory left.
pub fn room(device: &Device, dtype: DType, shape: &[usize]) -> candle_core::Result<Tensor> {
    Ok(Output::new(device, dtype, shape)?.into_tensor())
}

/// Copies a contiguous tensor over another of as many bytes on the same device, behind all work that was queued so far.
///
/// # Errors
/// When one is not contiguous, or they are of different lengths.
pub fn copy(from: &Tensor, to: &Tensor) -> candle_core::Result<()> {
    let ((source, bytes), (target, room)) = (address(from)?, address(to)?);
    if bytes != room {
        candle_core::bail!("a copy of {bytes} bytes over {room}");
    }
    match to.device() {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => on_gpu::copy(device, source, target, bytes),
        Device::Cpu => {
            // SAFETY: both tensors have so many bytes; one may lie in the other's memory.
            unsafe { std::ptr::copy(source as *const u8, target as *mut u8, bytes) };
            Ok(())
        }
        other => candle_core::bail!("no copies on {:?}", other.location()),
    }
}

#[cfg(feature = "cuda")]
mod on_gpu {
    use candle_core::Result;
    use candle_core::cuda_backend::cudarc::driver::result::memcpy_dtod_async;
    use candle_core::cuda_backend::{CudaDevice, WrapErr};

    /// Queues a copy between two places of a device, both of so many bytes.
    pub(super) fn copy(device: &CudaDevice, from: u64, to: u64, bytes: usize) -> Result<()> {
        let stream = device.cuda_stream();
        stream.context().bind_to_thread().w()?;
        // SAFETY: the places are those of tensors of this device, which it keeps until work that is queued now is done.
        unsafe { memcpy_dtod_async(to, from, bytes, stream.cu_stream()) }.w()
    }
}
