//! Between candle tensors and slices of f32.

use std::ops::Deref;

use candle_core::{DType, Device, Result, Shape, Storage, Tensor, bail};
use parking_lot::RwLockReadGuard;

/// The values of a contiguous f32 tensor on the CPU, borrowed from it.
pub(crate) struct Values<'a> {
    storage: RwLockReadGuard<'a, Storage>,
    start: usize,
    len: usize,
}

impl Deref for Values<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(cpu) => match cpu.as_slice::<f32>() {
                Ok(values) => &values[self.start..self.start + self.len],
                Err(_) => &[], // excluded by `cpu_values`
            },
            _ => &[], // excluded by `cpu_values`
        }
    }
}

/// Fails for a tensor that is not on the CPU.
pub(crate) fn require_cpu(x: &Tensor, operation: &str) -> Result<()> {
    if !x.device().is_cpu() {
        bail!("{operation}: no kernel for device {:?}", x.device().location());
    }
    Ok(())
}

/// Borrows the values of `x`.
pub(crate) fn cpu_values(x: &Tensor) -> Result<Values<'_>> {
    if x.dtype() != DType::F32 {
        bail!("expected an f32 tensor, got {:?}", x.dtype());
    }
    let (storage, layout) = x.storage_and_layout();
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("expected a contiguous tensor of shape {:?}", x.shape());
    };
    if !matches!(&*storage, Storage::Cpu(_)) {
        bail!("expected a tensor on the cpu, got {:?}", x.device().location());
    }
    Ok(Values { storage, start, len: end - start })
}

/// `len` values that `write` writes. They are not cleared first: for maps of many megabytes that is a pass
/// over memory by one thread, while the others wait.
///
/// # Safety
/// `write` must store every value, and read none that it has not stored.
pub(crate) unsafe fn written(len: usize, write: impl FnOnce(&mut [f32])) -> Vec<f32> {
    let mut values = Vec::with_capacity(len);
    if cfg!(test) {
        values.resize(len, f32::NAN); // a value that is left out does not go unseen
    }
    // SAFETY: there is room for `len` values, any bits are one, and none is read before it is stored.
    unsafe {
        write(std::slice::from_raw_parts_mut(values.as_mut_ptr(), len));
        values.set_len(len);
    }
    values
}

/// Copies the values of `x`, f32 or bf16.
pub(crate) fn to_vec(x: &Tensor) -> Result<Vec<f32>> {
    let x = if x.dtype() == DType::BF16 { x.to_dtype(DType::F32)? } else { x.clone() };
    Ok(cpu_values(&x.contiguous()?)?.to_vec())
}

/// A CPU tensor of `values`.
pub(crate) fn from_values(values: Vec<f32>, shape: impl Into<Shape>) -> Result<Tensor> {
    Tensor::from_vec(values, shape.into(), &Device::Cpu)
}

/// A pointer that several tasks write through, each to elements of its own.
#[derive(Clone, Copy)]
pub(crate) struct SharedMut(*mut f32);

// SAFETY: it is only a pointer; every use states why its elements are disjoint.
#[allow(unsafe_code)]
unsafe impl Send for SharedMut {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for SharedMut {}

impl SharedMut {
    pub(crate) fn new(values: &mut [f32]) -> Self {
        Self(values.as_mut_ptr())
    }

    /// The pointer, `offset` elements on.
    ///
    /// # Safety
    /// `offset` must lie in the slice that the pointer was made of.
    pub(crate) unsafe fn at(self, offset: usize) -> *mut f32 {
        // SAFETY: the caller keeps the offset inside the slice.
        unsafe { self.0.add(offset) }
    }
}
