//! Images on their way to a GPU: converted by the threads that made them, in memory that the GPU reads by itself.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Device, Result, Tensor, bail};
use half::{bf16, f16};

use super::pinned::HostMemory;
use crate::cuda::memory::Output;
use crate::cuda::runs_on;

/// A bounded number of slots for images of one size and format. Cheap to clone; any thread fills slots.
#[derive(Debug, Clone)]
pub struct PinnedInputs(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    device: Device,
    dtype: DType,
    values: usize,
    most: usize,
    slots: Mutex<Slots>,
}

#[derive(Debug, Default)]
struct Slots {
    free: Vec<HostMemory>,
    /// Free or lent.
    made: usize,
}

/// An image in a slot, which it gives back when it is dropped. It must be held until the submission that reads it has
/// returned.
#[derive(Debug)]
pub struct PinnedInput {
    /// Empty only while it is dropped.
    memory: Option<HostMemory>,
    pool: Arc<Pool>,
}

impl PinnedInputs {
    /// At most `most` slots of `values_each` values of format `dtype` (f32, bf16 or f16) for a device. They are
    /// allocated when they are first needed.
    pub fn new(device: &Device, dtype: DType, values_each: usize, most: usize) -> Self {
        let slots = Mutex::default();
        Self(Arc::new(Pool { device: device.clone(), dtype, values: values_each, most, slots }))
    }

    /// Converts an image's values into a free slot, rounded as the device rounds them. `None` when no slot is free,
    /// there are not as many values as in a slot, or the device is no GPU.
    pub fn fill(&self, values: &[f32]) -> Option<PinnedInput> {
        if values.len() != self.0.values || !runs_on(&self.0.device) {
            return None;
        }
        let mut input = PinnedInput { memory: Some(self.slot()?), pool: Arc::clone(&self.0) };
        input.write(values).then_some(input)
    }

    /// A free slot, or a new one.
    fn slot(&self) -> Option<HostMemory> {
        let mut slots = self.0.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(free) = slots.free.pop() {
            return Some(free);
        }
        if slots.made == self.0.most {
            return None;
        }
        let bytes = self.0.values * self.0.dtype.size_in_bytes();
        let made = HostMemory::new(&self.0.device, bytes).ok()?;
        slots.made += 1;
        Some(made)
    }
}

impl PinnedInput {
    fn write(&mut self, values: &[f32]) -> bool {
        let Some(memory) = &mut self.memory else { return false };
        // SAFETY: the slot was free: it came back when its copy was done, or is new.
        unsafe {
            match self.pool.dtype {
                DType::F32 => memory.values_mut(values.len()).copy_from_slice(values),
                DType::BF16 => convert(values, memory.values_mut(values.len()), bf16::from_f32),
                DType::F16 => convert(values, memory.values_mut(values.len()), f16::from_f32),
                _ => return false,
            }
        }
        true
    }
}

fn convert<T>(values: &[f32], slot: &mut [T], narrow: impl Fn(f32) -> T) {
    slot.iter_mut().zip(values).for_each(|(slot, value)| *slot = narrow(*value));
}

impl Drop for PinnedInput {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            self.pool.slots.lock().unwrap_or_else(PoisonError::into_inner).free.push(memory);
        }
    }
}

/// Queues one copy for each image, to a tensor `[images, ..shape]`. The inputs must be held until the device has done
/// them.
///
/// # Errors
/// When an image has another number of values, or they are of different formats.
pub fn upload_inputs(inputs: &[&PinnedInput], shape: &[usize], device: &Device) -> Result<Tensor> {
    let Some(dtype) = inputs.first().map(|input| input.pool.dtype) else { bail!("no image to upload") };
    let whole: Vec<usize> = [inputs.len()].into_iter().chain(shape.iter().copied()).collect();
    let block = Output::new(device, dtype, whole)?.into_tensor();
    for (place, input) in inputs.iter().enumerate() {
        let image = block.narrow(0, place, 1)?;
        let Some(memory) = &input.memory else { continue };
        if (input.pool.dtype, input.pool.values) != (dtype, image.elem_count()) {
            bail!("an image of {} values of {:?} for {shape:?}", input.pool.values, input.pool.dtype);
        }
        // SAFETY: the caller holds the input until the copy is done, and a slot is written only when it was given back.
        unsafe { memory.copy_to(&image)? };
    }
    Ok(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pool as `fill` sees it on a GPU.
    fn filled(pool: &PinnedInputs, values: &[f32]) -> Option<PinnedInput> {
        let mut input = PinnedInput { memory: Some(pool.slot()?), pool: Arc::clone(&pool.0) };
        input.write(values).then_some(input)
    }

    #[test]
    fn slots_are_bounded_and_come_back() {
        let pool = PinnedInputs::new(&Device::Cpu, DType::F32, 4, 2);
        let first = filled(&pool, &[1.0; 4]).unwrap();
        let second = filled(&pool, &[2.0; 4]).unwrap();
        assert!(filled(&pool, &[3.0; 4]).is_none());
        let block = upload_inputs(&[&second, &first], &[2, 2], &Device::Cpu).unwrap();
        assert_eq!(block.dims(), [2, 2, 2]);
        assert_eq!(block.flatten_all().unwrap().to_vec1::<f32>().unwrap(), [2., 2., 2., 2., 1., 1., 1., 1.]);
        drop(first);
        assert!(filled(&pool, &[3.0; 4]).is_some());
        // The CPU has no use for slots.
        assert!(pool.fill(&[1.0; 4]).is_none());
    }

    #[test]
    fn values_are_rounded_as_a_device_rounds_them() {
        let values: Vec<f32> = (0..1000u32).map(|i| (i as f32 - 500.0) * 0.137).collect();
        for dtype in [DType::F32, DType::BF16, DType::F16] {
            let pool = PinnedInputs::new(&Device::Cpu, dtype, values.len(), 1);
            let input = filled(&pool, &values).unwrap();
            let block = upload_inputs(&[&input], &[values.len()], &Device::Cpu).unwrap();
            let want = Tensor::new(values.as_slice(), &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
            let flat = |x: &Tensor| x.flatten_all().unwrap().to_dtype(DType::F32).unwrap().to_vec1::<f32>();
            assert_eq!(flat(&block).unwrap(), flat(&want).unwrap(), "{dtype:?}");
        }
    }
}
