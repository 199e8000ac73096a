//! Copies to a GPU through pinned memory, which it reads by itself and at full speed.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use candle_core::cuda_backend::cudarc::driver::PinnedHostSlice;
use candle_core::cuda_backend::{CudaDevice, CudaStorage, DeviceId, WrapErr};
use candle_core::op::BackpropOp;
use candle_core::{Result, Shape, Storage, Tensor, bail};

/// Smaller copies are not worth the detour.
const LEAST_VALUES: usize = 1 << 14;

/// One buffer for each device, as large as its largest copy so far.
static BUFFERS: Mutex<Option<HashMap<DeviceId, PinnedHostSlice<f32>>>> = Mutex::new(None);

pub(super) fn upload(values: &[f32], shape: &[usize], device: &CudaDevice) -> Result<Tensor> {
    let shape = Shape::from(shape);
    if shape.elem_count() != values.len() {
        bail!("upload: {} values do not make a tensor of shape {shape:?}", values.len());
    }
    let stream = device.cuda_stream();
    let slice = if values.len() < LEAST_VALUES {
        stream.clone_htod(values).w()?
    } else {
        // A buffer is whole whatever happened while it was locked.
        let mut buffers = BUFFERS.lock().unwrap_or_else(PoisonError::into_inner);
        let buffers = buffers.get_or_insert_default();
        if buffers.get(&device.id()).is_none_or(|buffer| buffer.len() < values.len()) {
            // SAFETY: f32 has no invalid bits, and what is read was written just before.
            let buffer = unsafe { stream.context().alloc_pinned::<f32>(values.len()) }.w()?;
            buffers.insert(device.id(), buffer);
        }
        let Some(buffer) = buffers.get_mut(&device.id()) else { bail!("upload: no pinned memory") };
        let pinned = &mut buffer.as_mut_slice().w()?[..values.len()];
        pinned.copy_from_slice(values);
        // SAFETY: all of it is written by the copy behind, on the same stream.
        let mut slice = unsafe { stream.alloc::<f32>(values.len()) }.w()?;
        stream.memcpy_htod(pinned, &mut slice).w()?;
        // The GPU reads the buffer by itself, so the next copy must not write it before that is over.
        stream.synchronize().w()?;
        slice
    };
    let storage = Storage::Cuda(CudaStorage::wrap_cuda_slice(slice, device.clone()));
    Ok(Tensor::from_storage(storage, shape, BackpropOp::none(), false))
}
