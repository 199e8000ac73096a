//! The GPUs behind the CUDA driver.

use std::error::Error;

use candle_core::cuda_backend::cudarc::cublas::result::CublasError;
use candle_core::cuda_backend::cudarc::cublas::sys::cublasStatus_t;
use candle_core::cuda_backend::cudarc::driver::result::{device as driver_device, mem_pool};
use candle_core::cuda_backend::cudarc::driver::sys::{CUdevice, CUmemPool_attribute, CUresult};
use candle_core::cuda_backend::cudarc::driver::{CudaContext, DriverError};
use candle_core::cuda_backend::{CudaDevice, CudaError, set_gemm_reduced_precision_f32};
use candle_core::{Device, Error as TensorError};

use super::{F32Products, Fault, GpuMemory, NoGpu};

pub(super) fn count() -> Result<usize, NoGpu> {
    let count = CudaContext::device_count().map_err(|DriverError(code)| match code {
        CUresult::CUDA_ERROR_NO_DEVICE => NoGpu::NoSuchGpu { number: 0, count: 0 },
        // What our stand-in for the library gives where there is none.
        CUresult::CUDA_ERROR_UNKNOWN => NoGpu::NoDriver("libcuda.so.1 is missing or does not start".into()),
        code => NoGpu::NoDriver(format!("{code:?}")),
    })?;
    match usize::try_from(count) {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(NoGpu::NoSuchGpu { number: 0, count: 0 }),
    }
}

pub(super) fn open(number: usize, products: F32Products) -> Result<Device, NoGpu> {
    let count = count()?;
    if number >= count {
        return Err(NoGpu::NoSuchGpu { number, count });
    }
    let unusable = |error: TensorError| {
        let missing = match of_cublas(&error) {
            Some(cublasStatus_t::CUBLAS_STATUS_NOT_INITIALIZED) => {
                "; is libcublas.so.13 of CUDA 13 installed?"
            }
            _ => "; libcublas.so.13 and libcurand.so.10 of CUDA 13 must be where libraries are looked for",
        };
        NoGpu::Unusable { number, reason: format!("{error}{missing}") }
    };
    let device = CudaDevice::new_with_stream(number).map_err(unusable)?;
    // SAFETY: all work of this device goes to its one stream, so that it is ordered without events.
    unsafe { device.disable_event_tracking() };
    keep_freed_memory(&device).map_err(|DriverError(code)| NoGpu::Unusable {
        number,
        reason: format!("its memory pool takes no settings: {code:?}"),
    })?;
    set_gemm_reduced_precision_f32(products == F32Products::Tf32);
    Ok(Device::Cuda(device))
}

/// Freed memory goes back to the driver at every synchronisation unless the pool is told to keep it; the next stage
/// would have to ask for it again.
fn keep_freed_memory(device: &CudaDevice) -> Result<(), DriverError> {
    let stream = device.cuda_stream();
    if !stream.context().has_async_alloc() {
        return Ok(()); // there is no pool
    }
    let mut threshold = u64::MAX;
    let attribute = CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: the device is open, and the attribute is a u64.
    unsafe {
        let pool = driver_device::get_default_mem_pool(cu_device(device))?;
        mem_pool::set_attribute(pool, attribute, (&raw mut threshold).cast())
    }
}

pub(super) fn memory(device: &CudaDevice) -> Option<GpuMemory> {
    let stream = device.cuda_stream();
    let (free, total) = stream.context().mem_get_info().ok()?;
    let idle = if stream.context().has_async_alloc() { idle_in_pool(device).unwrap_or(0) } else { 0 };
    Some(GpuMemory { free: free as u64 + idle, total: total as u64 })
}

/// Bytes that the pool holds and nothing uses.
fn idle_in_pool(device: &CudaDevice) -> Result<u64, DriverError> {
    let read = |attribute| -> Result<u64, DriverError> {
        let mut value = 0_u64;
        // SAFETY: the device is open, and both attributes are a u64.
        unsafe {
            let pool = driver_device::get_default_mem_pool(cu_device(device))?;
            mem_pool::get_attribute(pool, attribute, (&raw mut value).cast())?;
        }
        Ok(value)
    };
    let reserved = read(CUmemPool_attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT)?;
    Ok(reserved.saturating_sub(read(CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT)?))
}

fn cu_device(device: &CudaDevice) -> CUdevice {
    device.cuda_stream().context().cu_device()
}

pub(super) fn fault(error: &(dyn Error + Send + Sync + 'static)) -> Fault {
    if let Some(error) = error.downcast_ref::<CudaError>() {
        return match error {
            CudaError::Cuda(DriverError(code)) | CudaError::Load { cuda: DriverError(code), .. } => {
                of_driver(*code)
            }
            CudaError::Cublas(CublasError(cublasStatus_t::CUBLAS_STATUS_ALLOC_FAILED)) => Fault::OutOfMemory,
            // cuBLAS says no more than this of an error that came up on the stream.
            CudaError::Cublas(CublasError(
                cublasStatus_t::CUBLAS_STATUS_EXECUTION_FAILED | cublasStatus_t::CUBLAS_STATUS_MAPPING_ERROR,
            )) => Fault::Lost,
            _ => Fault::None,
        };
    }
    error.downcast_ref::<DriverError>().map_or(Fault::None, |DriverError(code)| of_driver(*code))
}

fn of_driver(code: CUresult) -> Fault {
    use CUresult as Code;
    match code {
        Code::CUDA_ERROR_OUT_OF_MEMORY => Fault::OutOfMemory,
        // The first few: the GPU is gone. The rest leave the context broken: every later call gives the same.
        Code::CUDA_ERROR_DEINITIALIZED
        | Code::CUDA_ERROR_NO_DEVICE
        | Code::CUDA_ERROR_DEVICE_UNAVAILABLE
        | Code::CUDA_ERROR_ECC_UNCORRECTABLE
        | Code::CUDA_ERROR_NVLINK_UNCORRECTABLE
        | Code::CUDA_ERROR_SYSTEM_NOT_READY
        | Code::CUDA_ERROR_CONTEXT_IS_DESTROYED
        | Code::CUDA_ERROR_ILLEGAL_ADDRESS
        | Code::CUDA_ERROR_LAUNCH_TIMEOUT
        | Code::CUDA_ERROR_ASSERT
        | Code::CUDA_ERROR_HARDWARE_STACK_ERROR
        | Code::CUDA_ERROR_ILLEGAL_INSTRUCTION
        | Code::CUDA_ERROR_MISALIGNED_ADDRESS
        | Code::CUDA_ERROR_INVALID_ADDRESS_SPACE
        | Code::CUDA_ERROR_INVALID_PC
        | Code::CUDA_ERROR_LAUNCH_FAILED
        | Code::CUDA_ERROR_UNKNOWN => Fault::Lost,
        _ => Fault::None,
    }
}

fn of_cublas(error: &TensorError) -> Option<cublasStatus_t> {
    let TensorError::Cuda(error) = error else { return None };
    match error.downcast_ref::<CudaError>()? {
        CudaError::Cublas(CublasError(status)) => Some(*status),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::fault;

    #[test]
    fn errors_of_the_driver_are_told_apart() {
        let of = |code| fault(&TensorError::Cuda(Box::new(CudaError::Cuda(DriverError(code)))));
        assert_eq!(of(CUresult::CUDA_ERROR_OUT_OF_MEMORY), Fault::OutOfMemory);
        assert_eq!(of(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS), Fault::Lost);
        assert_eq!(of(CUresult::CUDA_ERROR_INVALID_VALUE), Fault::None);
        let of = |status| fault(&TensorError::Cuda(Box::new(CudaError::Cublas(CublasError(status)))));
        assert_eq!(of(cublasStatus_t::CUBLAS_STATUS_ALLOC_FAILED), Fault::OutOfMemory);
        assert_eq!(of(cublasStatus_t::CUBLAS_STATUS_INVALID_VALUE), Fault::None);
    }
}
