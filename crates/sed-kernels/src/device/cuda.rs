//! The GPUs behind the CUDA driver.

use candle_core::cuda_backend::cudarc::cublas::result::CublasError;
use candle_core::cuda_backend::cudarc::cublas::sys::cublasStatus_t;
use candle_core::cuda_backend::cudarc::driver::result::{device as driver_device, mem_pool};
use candle_core::cuda_backend::cudarc::driver::sys::{
    self, CUdevice, CUmemPool_attribute, CUmemoryPool, CUresult,
};
use candle_core::cuda_backend::cudarc::driver::{CudaContext, DriverError};
use candle_core::cuda_backend::{CudaDevice, CudaError, WrapErr, set_gemm_reduced_precision_f32};
use candle_core::{Device, Error as TensorError};

use super::cuda_fault::unwrapped;
use super::libraries;
use super::{CudaVersion, F32Products, GpuMemory, NoGpu};

/// The oldest CUDA version of a driver that runs this program: candle's kernels are PTX of CUDA 13.0, and ours are
/// machine code of its compiler.
const OLDEST_DRIVER: CudaVersion = CudaVersion { major: 13, minor: 0 };

pub(super) fn count() -> Result<usize, NoGpu> {
    let version = driver_version()?;
    if version < OLDEST_DRIVER {
        return Err(NoGpu::DriverTooOld { found: version, needed: OLDEST_DRIVER });
    }
    let count = CudaContext::device_count().map_err(|DriverError(code)| match code {
        CUresult::CUDA_ERROR_NO_DEVICE => NoGpu::NoSuchGpu { number: 0, count: 0 },
        code => NoGpu::NoDriver(format!("{code:?}")),
    })?;
    match usize::try_from(count) {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(NoGpu::NoSuchGpu { number: 0, count: 0 }),
    }
}

/// The newest CUDA version that the driver supports.
fn driver_version() -> Result<CudaVersion, NoGpu> {
    let mut version = 0;
    // SAFETY: the pointer is to an int, which the call writes; it needs no initialised driver.
    match unsafe { sys::cuDriverGetVersion(&raw mut version) } {
        CUresult::CUDA_SUCCESS => Ok(CudaVersion { major: version / 1000, minor: version % 1000 / 10 }),
        // The shim's answer for a missing library.
        CUresult::CUDA_ERROR_UNKNOWN => Err(NoGpu::NoDriver(libraries::CUDA.why_missing())),
        code => Err(NoGpu::NoDriver(format!("{code:?}"))),
    }
}

pub(super) fn open(number: usize, products: F32Products) -> Result<Device, NoGpu> {
    let count = count()?;
    if number >= count {
        return Err(NoGpu::NoSuchGpu { number, count });
    }
    // Candle opens the other libraries; this one is opened by the first product, when a model is loaded already.
    libraries::CUBLASLT.find().map_err(|reason| NoGpu::Unusable { number, reason })?;
    let unusable = |error: TensorError| NoGpu::Unusable { number, reason: why_unusable(&error) };
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

/// The error of opening a GPU, and the library that explains it, if one is missing.
fn why_unusable(error: &TensorError) -> String {
    let missing = [libraries::CUBLAS, libraries::CURAND]
        .iter()
        .filter_map(|library| library.find().err())
        .collect::<Vec<_>>();
    // Without a backtrace, which candle adds where one is asked for.
    let error = unwrapped(error).map_or_else(|| error.to_string(), ToString::to_string);
    if missing.is_empty() { error } else { format!("{error}; {}", missing.join("; ")) }
}

/// Sets the pool's release threshold, so that freed memory stays with it: otherwise every synchronisation returns it
/// to the driver, and the next stage has to ask for it again.
fn keep_freed_memory(device: &CudaDevice) -> Result<(), DriverError> {
    let Some(pool) = pool(device)? else { return Ok(()) };
    let mut threshold = u64::MAX;
    let attribute = CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: the pool is the open device's, and the attribute is a u64.
    unsafe { mem_pool::set_attribute(pool, attribute, (&raw mut threshold).cast()) }
}

/// Waits for all work of a device. Unlike candle's own, the error keeps its code.
pub(super) fn synchronize(device: &CudaDevice) -> Result<(), TensorError> {
    device.cuda_stream().synchronize().w()
}

/// Waits for all work of a device and returns the memory that its pool holds unused to the driver, where libraries
/// that do not allocate from the pool find it.
pub(super) fn trim(device: &CudaDevice) -> Result<(), TensorError> {
    synchronize(device)?;
    if let Some(pool) = pool(device).w()? {
        // SAFETY: the pool is the open device's.
        unsafe { mem_pool::trim_to(pool, 0) }.w()?;
    }
    Ok(())
}

pub(super) fn memory(device: &CudaDevice) -> Option<GpuMemory> {
    let (free, total) = device.cuda_stream().context().mem_get_info().ok()?;
    Some(GpuMemory { free: free as u64 + idle_in_pool(device).unwrap_or(0), total: total as u64 })
}

/// Bytes that the pool holds unused.
fn idle_in_pool(device: &CudaDevice) -> Result<u64, DriverError> {
    let Some(pool) = pool(device)? else { return Ok(0) };
    let read = |attribute| -> Result<u64, DriverError> {
        let mut value = 0_u64;
        // SAFETY: the pool is the open device's, and both attributes are a u64.
        unsafe { mem_pool::get_attribute(pool, attribute, (&raw mut value).cast())? };
        Ok(value)
    };
    let reserved = read(CUmemPool_attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT)?;
    Ok(reserved.saturating_sub(read(CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT)?))
}

/// The pool that a device's memory comes from, if it has one.
fn pool(device: &CudaDevice) -> Result<Option<CUmemoryPool>, DriverError> {
    let stream = device.cuda_stream();
    if !stream.context().has_async_alloc() {
        return Ok(None);
    }
    let device: CUdevice = stream.context().cu_device();
    // SAFETY: the device is open.
    unsafe { driver_device::get_default_mem_pool(device) }.map(Some)
}

/// Reports whether an error may come from too little memory outside the pool: cuBLAS loads its kernels when
/// they are first needed, and reports a failed allocation for them as an internal error.
pub(super) fn may_lack_memory(error: &TensorError) -> bool {
    matches!(
        unwrapped(error),
        Some(CudaError::Cublas(CublasError(
            cublasStatus_t::CUBLAS_STATUS_INTERNAL_ERROR | cublasStatus_t::CUBLAS_STATUS_NOT_INITIALIZED
        )))
    )
}
