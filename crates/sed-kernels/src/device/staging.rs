//! Copies to and from a GPU through pinned memory, which it reads and writes by itself and at full speed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{DeviceRepr, PinnedHostSlice, ValidAsZeroBits, sys};
use candle_core::cuda_backend::{CudaDevice, CudaStorage, DeviceId, WrapErr};
use candle_core::op::BackpropOp;
use candle_core::{Result, Shape, Storage, Tensor, bail};

/// Smaller copies are not worth the detour.
const LEAST_VALUES: usize = 1 << 14;

/// A device's buffer, as large as its largest copy so far.
type Buffer<T> = Mutex<Option<PinnedHostSlice<T>>>;
/// The buffer of each device. The lock is held only to find it, so that devices do not wait for each other's copies.
type Buffers<T> = Mutex<Option<HashMap<DeviceId, Arc<Buffer<T>>>>>;
static UPLOADS: Buffers<f32> = Mutex::new(None);
static DOWNLOADS: Buffers<i16> = Mutex::new(None);

pub(super) fn upload(values: &[f32], shape: &[usize], device: &CudaDevice) -> Result<Tensor> {
    let shape = Shape::from(shape);
    if shape.elem_count() != values.len() {
        bail!("upload: {} values do not make a tensor of shape {shape:?}", values.len());
    }
    let stream = device.cuda_stream();
    let slice = if values.len() < LEAST_VALUES {
        stream.clone_htod(values).w()?
    } else {
        // The processor only ever writes this memory, so it need not be in its cache.
        with_buffer(&UPLOADS, device, values.len(), sys::CU_MEMHOSTALLOC_WRITECOMBINED, |pinned| {
            pinned.copy_from_slice(values);
            // SAFETY: all of it is written by the copy behind, on the same stream.
            let mut slice = unsafe { stream.alloc::<f32>(values.len()) }.w()?;
            stream.memcpy_htod(pinned, &mut slice).w()?;
            // The GPU reads the buffer by itself, so the next copy must not write it before that is over.
            stream.synchronize().w()?;
            Ok(slice)
        })?
    };
    let storage = Storage::Cuda(CudaStorage::wrap_cuda_slice(slice, device.clone()));
    Ok(Tensor::from_storage(storage, shape, BackpropOp::none(), false))
}

/// The values of a contiguous tensor of a GPU that begins where its memory does.
pub(super) fn download(storage: &CudaStorage, count: usize) -> Result<Vec<i16>> {
    let (device, slice) = (storage.device(), storage.as_cuda_slice::<i16>()?);
    let (stream, slice) = (device.cuda_stream(), slice.slice(..count));
    if count < LEAST_VALUES {
        return stream.clone_dtoh(&slice).w();
    }
    with_buffer(&DOWNLOADS, device, count, 0, |pinned| {
        stream.memcpy_dtoh(&slice, pinned).w()?;
        stream.synchronize().w()?;
        Ok(pinned.to_vec())
    })
}

/// Lends so many values of a device's pinned memory, allocated with `flags` where there is not enough yet.
fn with_buffer<T: DeviceRepr + ValidAsZeroBits, R>(
    buffers: &Buffers<T>,
    device: &CudaDevice,
    count: usize,
    flags: u32,
    work: impl FnOnce(&mut [T]) -> Result<R>,
) -> Result<R> {
    let buffer = Arc::clone(locked(buffers).get_or_insert_default().entry(device.id()).or_default());
    let mut buffer = locked(&buffer);
    if buffer.as_ref().is_none_or(|buffer| buffer.len() < count) {
        let stream = device.cuda_stream();
        // SAFETY: the values have no invalid bits, and what is read was written just before.
        let larger = unsafe { stream.context().alloc_pinned_with_flags::<T>(count, flags) }.w()?;
        *buffer = Some(larger);
    }
    let Some(buffer) = buffer.as_mut() else { bail!("there is no pinned memory") };
    work(&mut buffer.as_mut_slice().w()?[..count])
}

/// Locks a mutex, poisoned or not: a panic leaves buffers and their table whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
