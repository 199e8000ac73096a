//! Memory of a device as kernels see it: addresses of tensors, and outputs that become tensors. Outputs lie in the
//! arena that is lent to the thread, if one is.

pub mod arena;

use candle_core::backend::BackendDevice;
#[cfg(feature = "cuda")]
use candle_core::cuda_backend::{
    CudaStorage, CudaStorageSlice, WrapErr,
    cudarc::driver::{DevicePtr, result::memset_d8_async},
};
use candle_core::{CpuStorage, DType, Device, Result, Shape, Storage, Tensor, bail};

/// The bytes of memory that was not written, on the CPU: NaN in every floating-point type, and a value of every other.
const UNWRITTEN: u8 = 0xff;

/// Address and length in bytes of a contiguous tensor. The address is good while the tensor lives.
pub(crate) fn address(x: &Tensor) -> Result<(u64, usize)> {
    let (storage, layout) = x.storage_and_layout();
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("expected a contiguous tensor of shape {:?}", x.shape());
    };
    let size = x.dtype().size_in_bytes();
    let base = match &*storage {
        Storage::Cpu(storage) => cpu_address(storage)?,
        #[cfg(feature = "cuda")]
        Storage::Cuda(storage) => cuda_address(storage)?,
        _ => bail!("no kernel for device {:?}", x.device().location()),
    };
    Ok((base + (start * size) as u64, (end - start) * size))
}

/// Memory for a kernel's result.
#[derive(Debug)]
pub(crate) struct Output {
    memory: Memory,
    shape: Shape,
}

#[derive(Debug)]
enum Memory {
    Own(Storage),
    /// That of a contiguous tensor.
    Within(Tensor),
}

impl Output {
    /// Memory without values on `device`; on the CPU (the emulator) they are NaN.
    pub(crate) fn new(device: &Device, dtype: DType, shape: impl Into<Shape>) -> Result<Self> {
        let shape = shape.into();
        if let Some(place) = arena::take(device, dtype, shape.elem_count())? {
            if device.is_cpu() {
                fill(&place, UNWRITTEN)?;
            }
            return Ok(Self { memory: Memory::Within(place.reshape(&shape)?), shape });
        }
        Self::apart(device, dtype, shape)
    }

    /// As [`Output::new`], in an allocation of its own.
    pub(crate) fn apart(device: &Device, dtype: DType, shape: impl Into<Shape>) -> Result<Self> {
        let shape = shape.into();
        let memory = allocation(&shape);
        // SAFETY: the kernel that this is the output of writes every element before any is read.
        let storage = unsafe {
            match device {
                Device::Cpu => {
                    let mut storage = candle_core::cpu_backend::CpuDevice.alloc_uninit(&memory, dtype)?;
                    let bytes = memory.elem_count() * dtype.size_in_bytes();
                    (cpu_address_mut(&mut storage)? as *mut u8).write_bytes(UNWRITTEN, bytes);
                    Storage::Cpu(storage)
                }
                Device::Cuda(device) => Storage::Cuda(device.alloc_uninit(&memory, dtype)?),
                Device::Metal(_) => bail!("no kernel for device {:?}", device.location()),
            }
        };
        Ok(Self { memory: Memory::Own(storage), shape })
    }

    /// Memory like that of `x`.
    pub(crate) fn like(x: &Tensor) -> Result<Self> {
        Self::new(x.device(), x.dtype(), x.shape())
    }

    /// Memory that starts as zeros.
    pub(crate) fn zeros(device: &Device, dtype: DType, shape: impl Into<Shape>) -> Result<Self> {
        let shape = shape.into();
        if let Some(place) = arena::take(device, dtype, shape.elem_count())? {
            fill(&place, 0)?;
            return Ok(Self { memory: Memory::Within(place.reshape(&shape)?), shape });
        }
        let memory = allocation(&shape);
        let storage = match device {
            Device::Cpu => Storage::Cpu(candle_core::cpu_backend::CpuDevice.zeros_impl(&memory, dtype)?),
            Device::Cuda(device) => Storage::Cuda(device.zeros_impl(&memory, dtype)?),
            Device::Metal(_) => bail!("no kernel for device {:?}", device.location()),
        };
        Ok(Self { memory: Memory::Own(storage), shape })
    }

    /// The memory of a tensor, whose values the kernel replaces: a part of a larger one, or an operand that is not
    /// read again.
    pub(crate) fn over(x: &Tensor) -> Result<Self> {
        address(x)?;
        Ok(Self { memory: Memory::Within(x.clone()), shape: x.shape().clone() })
    }

    pub(crate) fn dtype(&self) -> DType {
        match &self.memory {
            Memory::Own(storage) => storage.dtype(),
            Memory::Within(tensor) => tensor.dtype(),
        }
    }

    /// Address and length in bytes.
    pub(crate) fn address(&mut self) -> Result<(u64, usize)> {
        let bytes = self.shape.elem_count() * self.dtype().size_in_bytes();
        let address = match &mut self.memory {
            Memory::Own(Storage::Cpu(storage)) => cpu_address_mut(storage)?,
            #[cfg(feature = "cuda")]
            Memory::Own(Storage::Cuda(storage)) => cuda_address(storage)?,
            Memory::Own(other) => bail!("no kernel for device {:?}", other.device().location()),
            Memory::Within(tensor) => return address(tensor),
        };
        Ok((address, bytes))
    }

    /// Address of `count` values from `first` on.
    pub(crate) fn part(&mut self, first: usize, count: usize) -> Result<u64> {
        if first + count > self.shape.elem_count() {
            bail!("values {first} + {count} of an output of {:?}", self.shape);
        }
        Ok(self.address()?.0 + (first * self.dtype().size_in_bytes()) as u64)
    }

    /// Copies a tensor of the CPU to the values from `first` on: a library's result where a test emulates a GPU.
    pub(crate) fn put(&mut self, first: usize, x: &Tensor) -> Result<()> {
        let x = x.contiguous()?;
        if !x.device().is_cpu() || x.dtype() != self.dtype() {
            bail!("a tensor of {:?} cannot be copied to an output of {:?}", x.dtype(), self.dtype());
        }
        let (to, (from, bytes)) = (self.part(first, x.elem_count())?, address(&x)?);
        // SAFETY: both are memory of this process of at least so many bytes, checked above; the output's has no other
        // reader or writer meanwhile, and the tensor is another one.
        unsafe { std::ptr::copy_nonoverlapping(from as *const u8, to as *mut u8, bytes) };
        Ok(())
    }

    /// The tensor, once the launch that writes it has been made.
    pub(crate) fn into_tensor(self) -> Tensor {
        match self.memory {
            Memory::Own(storage) => Tensor::from((storage, self.shape)),
            Memory::Within(tensor) => tensor,
        }
    }
}

/// Sets every byte of a contiguous tensor, behind all work that was queued so far.
fn fill(x: &Tensor, byte: u8) -> Result<()> {
    let (address, bytes) = address(x)?;
    match x.device() {
        // SAFETY: the memory is the tensor's, which was just taken: it has no other reader or writer.
        Device::Cpu => unsafe { (address as *mut u8).write_bytes(byte, bytes) },
        #[cfg(feature = "cuda")]
        Device::Cuda(device) if bytes > 0 => {
            let stream = device.cuda_stream();
            stream.context().bind_to_thread().w()?;
            // SAFETY: the memory is the tensor's, which the device keeps until work that is queued now is done.
            unsafe { memset_d8_async(address, byte, bytes, stream.cu_stream()) }.w()?;
        }
        _ => {}
    }
    Ok(())
}

/// Shape of the allocation for a tensor of `shape`: at least one element, since a device cannot allocate 0
/// bytes.
fn allocation(shape: &Shape) -> Shape {
    Shape::from(shape.elem_count().max(1))
}

fn cpu_address(storage: &CpuStorage) -> Result<u64> {
    Ok(match storage {
        CpuStorage::F32(values) => values.as_ptr() as u64,
        CpuStorage::BF16(values) => values.as_ptr() as u64,
        CpuStorage::F16(values) => values.as_ptr() as u64,
        CpuStorage::U8(values) => values.as_ptr() as u64,
        CpuStorage::U32(values) => values.as_ptr() as u64,
        CpuStorage::I16(values) => values.as_ptr() as u64,
        CpuStorage::I64(values) => values.as_ptr() as u64,
        other => bail!("no kernel takes {:?}", candle_core::backend::BackendStorage::dtype(other)),
    })
}

fn cpu_address_mut(storage: &mut CpuStorage) -> Result<u64> {
    Ok(match storage {
        CpuStorage::F32(values) => values.as_mut_ptr() as u64,
        CpuStorage::BF16(values) => values.as_mut_ptr() as u64,
        CpuStorage::F16(values) => values.as_mut_ptr() as u64,
        CpuStorage::U8(values) => values.as_mut_ptr() as u64,
        CpuStorage::U32(values) => values.as_mut_ptr() as u64,
        CpuStorage::I16(values) => values.as_mut_ptr() as u64,
        CpuStorage::I64(values) => values.as_mut_ptr() as u64,
        other => bail!("no kernel writes {:?}", candle_core::backend::BackendStorage::dtype(other)),
    })
}

/// The address of memory on a device. It is valid while the storage lives.
#[cfg(feature = "cuda")]
fn cuda_address(storage: &CudaStorage) -> Result<u64> {
    let stream = storage.device.cuda_stream();
    // The guards record events, which are off: all work is on this one stream.
    Ok(match &storage.slice {
        CudaStorageSlice::F32(values) => values.device_ptr(&stream).0,
        CudaStorageSlice::BF16(values) => values.device_ptr(&stream).0,
        CudaStorageSlice::F16(values) => values.device_ptr(&stream).0,
        CudaStorageSlice::U8(values) => values.device_ptr(&stream).0,
        CudaStorageSlice::U32(values) => values.device_ptr(&stream).0,
        CudaStorageSlice::I16(values) => values.device_ptr(&stream).0,
        CudaStorageSlice::I64(values) => values.device_ptr(&stream).0,
        _ => bail!("no kernel takes {:?}", candle_core::backend::BackendStorage::dtype(storage)),
    })
}
