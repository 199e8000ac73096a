//! Memory of the host that a GPU reads and writes by itself, and the copies to and from it.

use std::ptr::NonNull;
#[cfg(feature = "cuda")]
use std::sync::Arc;
use std::sync::{Mutex, PoisonError};

#[cfg(feature = "cuda")]
use candle_core::cuda_backend::{
    WrapErr,
    cudarc::driver::{CudaContext, result, sys},
};
use candle_core::{DType, Device, Result, Tensor, bail};

use crate::cuda::memory::{Output, address};
use crate::device::synchronize;

/// Alignment of plain memory in bytes.
const ALIGNMENT: usize = 64;
/// Buffers that a pool keeps for later, and their bytes: twice the results of sixteen images of 4 megapixels. Pinned
/// memory is missing everywhere else on the host.
const KEPT: usize = 8;
const KEPT_BYTES: usize = 256 << 20;

/// Memory of the host: pinned for a GPU, plain for the CPU, which stands in for one in tests.
#[derive(Debug)]
pub(super) struct HostMemory {
    start: NonNull<u8>,
    bytes: usize,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Plain,
    /// The context that it was allocated in; every GPU reads it.
    #[cfg(feature = "cuda")]
    Pinned(Arc<CudaContext>),
}

// SAFETY: the memory belongs to this value alone, and what is not `&mut` only reads it.
unsafe impl Send for HostMemory {}
// SAFETY: as above.
unsafe impl Sync for HostMemory {}

impl HostMemory {
    /// So many bytes of zeros for copies to and from a device.
    pub(super) fn new(device: &Device, bytes: usize) -> Result<Self> {
        let bytes = bytes.max(1);
        let (start, kind) = match device {
            #[cfg(feature = "cuda")]
            Device::Cuda(device) => {
                let context = Arc::clone(device.cuda_stream().context());
                context.bind_to_thread().w()?;
                // SAFETY: the length is not 0. The memory is written below before anything reads it.
                let start = unsafe { result::malloc_host(bytes, sys::CU_MEMHOSTALLOC_PORTABLE) }.w()?;
                (start.cast(), Kind::Pinned(context))
            }
            // SAFETY: the length is not 0.
            _ => (unsafe { std::alloc::alloc(Self::layout(bytes)?) }, Kind::Plain),
        };
        let Some(start) = NonNull::new(start) else { bail!("no memory of {bytes} bytes on the host") };
        let memory = Self { start, bytes, kind };
        // SAFETY: so many bytes were allocated.
        unsafe { memory.start.as_ptr().write_bytes(0, bytes) };
        Ok(memory)
    }

    fn layout(bytes: usize) -> Result<std::alloc::Layout> {
        std::alloc::Layout::from_size_align(bytes, ALIGNMENT).map_err(candle_core::Error::wrap)
    }

    /// The first values, of which every bit pattern must be one.
    ///
    /// # Safety
    /// The device must have done all copies to this memory, and `T` must be a plain number.
    unsafe fn values<T>(&self, count: usize) -> &[T] {
        let count = count.min(self.bytes / size_of::<T>());
        // SAFETY: the memory is aligned for every number, as long as that, and all written.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast(), count) }
    }

    /// The first values, to be written.
    ///
    /// # Safety
    /// The device must have done all copies from and to this memory, and `T` must be a plain number.
    pub(super) unsafe fn values_mut<T>(&mut self, count: usize) -> &mut [T] {
        let count = count.min(self.bytes / size_of::<T>());
        // SAFETY: as above; `self` is the only way to this memory.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().cast(), count) }
    }

    /// Queues the copy of the first bytes over a contiguous tensor, all of it.
    ///
    /// # Safety
    /// The memory must neither change nor go before the copy is done.
    pub(super) unsafe fn copy_to(&self, tensor: &Tensor) -> Result<()> {
        let (to, bytes) = address(tensor)?;
        if bytes > self.bytes {
            bail!("a copy of {bytes} bytes from {} on the host", self.bytes);
        }
        match tensor.device() {
            #[cfg(feature = "cuda")]
            Device::Cuda(device) => {
                let stream = device.cuda_stream();
                stream.context().bind_to_thread().w()?;
                // SAFETY: both are so long; that the memory stays is the caller's promise.
                unsafe { result::memcpy_htod_async(to, self.values::<u8>(bytes), stream.cu_stream()) }.w()
            }
            _ => {
                // SAFETY: both are so long, and they are different memory.
                unsafe { self.start.as_ptr().copy_to_nonoverlapping(to as *mut u8, bytes) };
                Ok(())
            }
        }
    }

    /// Queues the copy of a contiguous tensor to the first bytes.
    ///
    /// # Safety
    /// The memory must neither be read nor go before the copy is done.
    unsafe fn copy_from(&mut self, tensor: &Tensor) -> Result<()> {
        let (from, bytes) = address(tensor)?;
        if bytes > self.bytes {
            bail!("a copy of {bytes} bytes to {} on the host", self.bytes);
        }
        match tensor.device() {
            #[cfg(feature = "cuda")]
            Device::Cuda(device) => {
                let stream = device.cuda_stream();
                stream.context().bind_to_thread().w()?;
                // SAFETY: both are so long; that the memory is not read before is the caller's promise.
                unsafe { result::memcpy_dtoh_async(self.values_mut::<u8>(bytes), from, stream.cu_stream()) }
                    .w()
            }
            _ => {
                // SAFETY: both are so long, and they are different memory.
                unsafe { self.start.as_ptr().copy_from_nonoverlapping(from as *const u8, bytes) };
                Ok(())
            }
        }
    }
}

impl Drop for HostMemory {
    fn drop(&mut self) {
        match &self.kind {
            Kind::Plain => {
                if let Ok(layout) = Self::layout(self.bytes) {
                    // SAFETY: it was allocated with this layout.
                    unsafe { std::alloc::dealloc(self.start.as_ptr(), layout) };
                }
            }
            #[cfg(feature = "cuda")]
            Kind::Pinned(context) => {
                // A context that is lost takes its memory along.
                if context.bind_to_thread().is_ok() {
                    // SAFETY: it was allocated by `malloc_host`, and its owner is being dropped.
                    let _ = unsafe { result::free_host(self.start.as_ptr().cast()) };
                }
            }
        }
    }
}

/// Buffers of the host that come back when they are dropped. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct HostBuffers(std::sync::Arc<Mutex<Vec<HostMemory>>>);

impl HostBuffers {
    /// A buffer of at least so many bytes: the smallest that is free, or a new one.
    fn lend(&self, device: &Device, bytes: usize) -> Result<HostBuffer> {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fitting = free.iter().enumerate().filter(|(_, memory)| memory.bytes >= bytes);
        let found = fitting.min_by_key(|(_, memory)| memory.bytes).map(|(place, _)| place);
        let memory = match found {
            Some(place) => free.swap_remove(place),
            None => HostMemory::new(device, bytes)?,
        };
        drop(free);
        Ok(HostBuffer { memory: Some(memory), home: self.clone() })
    }

    /// Copies `words` to a device as `[words]` of u32, in one copy that the host does not wait for. The buffer must be
    /// held until it is done.
    ///
    /// # Errors
    /// When the host or the device has no memory left.
    pub fn upload(&self, device: &Device, words: &[u32]) -> Result<(Tensor, HostBuffer)> {
        let block = Output::new(device, DType::U32, words.len())?.into_tensor();
        let mut buffer = self.lend(device, size_of_val(words))?;
        if let Some(memory) = &mut buffer.memory {
            // SAFETY: the buffer was free: no copy to or from it is left. The caller holds it until this one is done.
            unsafe {
                memory.values_mut::<u32>(words.len()).copy_from_slice(words);
                memory.copy_to(&block)?;
            }
        }
        Ok((block, buffer))
    }

    /// Queues the copy of a contiguous tensor of u32 to the host.
    ///
    /// # Errors
    /// When the host has no memory left.
    pub fn download(&self, block: &Tensor) -> Result<Download> {
        if block.dtype() != DType::U32 {
            bail!("words are u32, not {:?}", block.dtype());
        }
        let count = block.elem_count();
        let mut buffer = self.lend(block.device(), count * size_of::<u32>())?;
        if let Some(memory) = &mut buffer.memory {
            // SAFETY: the buffer was free, and it is first read behind the wait of `Download::wait`.
            unsafe { memory.copy_from(block)? };
        }
        Ok(Download { words: HostWords { buffer, count }, device: block.device().clone() })
    }
}

/// A copy to the host that may not be done. It must not be dropped before the device has done it: another copy would
/// get the same memory.
#[must_use]
#[derive(Debug)]
pub struct Download {
    words: HostWords,
    device: Device,
}

impl Download {
    /// Waits for all work of the device.
    ///
    /// # Errors
    /// When some of it failed.
    pub fn wait(self) -> Result<HostWords> {
        synchronize(&self.device)?;
        Ok(self.words)
    }
}

/// A buffer of [`HostBuffers`]; it goes back there when it is dropped.
#[derive(Debug)]
pub struct HostBuffer {
    /// Empty only while it is dropped.
    memory: Option<HostMemory>,
    home: HostBuffers,
}

impl Drop for HostBuffer {
    fn drop(&mut self) {
        let Some(memory) = self.memory.take() else { return };
        let mut free = self.home.0.lock().unwrap_or_else(PoisonError::into_inner);
        free.push(memory);
        let total = |free: &[HostMemory]| free.iter().map(|memory| memory.bytes).sum::<usize>();
        // A large buffer fits everything, but one of them may be larger than all that is usual.
        while total(&free) > KEPT_BYTES
            && let Some(most) = (0..free.len()).max_by_key(|place| free[*place].bytes)
        {
            free.swap_remove(most);
        }
        if free.len() > KEPT
            && let Some(least) = (0..free.len()).min_by_key(|place| free[*place].bytes)
        {
            free.swap_remove(least);
        }
    }
}

/// Words that a device has written; their memory goes back when they are dropped.
#[derive(Debug)]
pub struct HostWords {
    buffer: HostBuffer,
    count: usize,
}

impl std::ops::Deref for HostWords {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        // SAFETY: the copy to this memory is done: only `Download::wait` hands words out.
        self.buffer.memory.as_ref().map_or(&[], |memory| unsafe { memory.values(self.count) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_go_to_a_device_and_back() {
        let buffers = HostBuffers::default();
        for count in [0, 1, 1000] {
            let words: Vec<u32> = (0..count).map(|word| word * 7 + 1).collect();
            let (block, held) = buffers.upload(&Device::Cpu, &words).unwrap();
            assert_eq!(block.to_vec1::<u32>().unwrap(), words);
            let back = buffers.download(&block).unwrap().wait().unwrap();
            assert_eq!(*back, words);
            drop(held);
        }
        assert!(buffers.download(&Tensor::zeros(3, DType::F32, &Device::Cpu).unwrap()).is_err());
    }

    #[test]
    fn buffers_come_back() {
        let buffers = HostBuffers::default();
        let start = |buffer: &HostBuffer| buffer.memory.as_ref().unwrap().start;
        let first = buffers.lend(&Device::Cpu, 100).unwrap();
        let second = buffers.lend(&Device::Cpu, 50).unwrap();
        let (large, small) = (start(&first), start(&second));
        drop((first, second));
        assert_eq!(start(&buffers.lend(&Device::Cpu, 40).unwrap()), small);
        assert_eq!(start(&buffers.lend(&Device::Cpu, 60).unwrap()), large);
        let many: Vec<HostBuffer> = (0..20).map(|_| buffers.lend(&Device::Cpu, 10).unwrap()).collect();
        drop(many);
        assert_eq!(buffers.0.lock().unwrap().len(), KEPT);
        drop(buffers.lend(&Device::Cpu, KEPT_BYTES + 1).unwrap());
        assert!(buffers.0.lock().unwrap().iter().all(|memory| memory.bytes <= 100));
    }
}
