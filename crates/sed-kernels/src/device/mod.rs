//! Devices: the GPUs of the machine, opening one, its memory and the host's for it, recorded work, and the meaning of
//! its errors.

#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cuda")]
mod cuda_fault;
mod events;
#[cfg(feature = "cuda")]
mod libraries;
#[cfg(feature = "cuda")]
mod staging;

use std::fmt;

use candle_core::{DType, Device, Error, Tensor};

pub use events::EventTimer;

/// The reason why there is no GPU to compute on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoGpu {
    /// The program was built without the cargo feature `cuda`.
    #[error("this build computes on the cpu only; a build with `--features cuda` uses a GPU")]
    NotInThisBuild,
    /// The driver's library is missing or does not start.
    #[error("no NVIDIA driver answers ({0}); on a machine with a GPU, install driver 580 or newer")]
    NoDriver(String),
    /// The driver is there, but older than the kernels.
    #[error(
        "the NVIDIA driver supports CUDA {found}, this program needs {needed}: install driver 580 or newer"
    )]
    DriverTooOld {
        /// The newest CUDA version that it supports.
        found: CudaVersion,
        /// The oldest one that it would have to support.
        needed: CudaVersion,
    },
    /// The driver is there, the GPU is not.
    #[error("there is no GPU {number}: the driver sees {count}")]
    NoSuchGpu {
        /// The number that was asked for, from 0.
        number: usize,
        /// Number of GPUs that the driver sees.
        count: usize,
    },
    /// Something else than the driver is missing, or the GPU does not work.
    #[error("cannot compute on GPU {number}: {reason}")]
    Unusable {
        /// The GPU's number, from 0.
        number: usize,
        /// The failed call, its error, and what to do.
        reason: String,
    },
}

/// A version of CUDA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CudaVersion {
    /// The first number.
    pub major: i32,
    /// The second number.
    pub minor: i32,
}

impl fmt::Display for CudaVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A shared library of CUDA that this program calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CudaLibrary {
    /// The file name that is looked for first.
    pub name: &'static str,
    /// Its path, or the dynamic linker's reasons with what to do.
    pub found: Result<String, String>,
}

/// Precision of a GPU's products of f32 matrices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum F32Products {
    /// As f32: results as on the CPU, beyond the order of sums.
    #[default]
    Exact,
    /// Factors rounded to TF32, 10 bits of mantissa instead of 23; several times faster.
    Tf32,
}

/// Memory of a GPU, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GpuMemory {
    /// Available to this process: free, or held by its own pool.
    pub free: u64,
    /// All that the GPU has.
    pub total: u64,
}

/// State of the device after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Its memory is used up: less work may fit.
    OutOfMemory,
    /// It no longer works, and never will again in this process.
    Lost,
    /// Unaffected: the work caused the error.
    None,
}

/// Number of GPUs that the driver sees, at least one.
///
/// # Errors
/// The reason why there is none.
pub fn count_gpus() -> Result<usize, NoGpu> {
    #[cfg(feature = "cuda")]
    return cuda::count();
    #[cfg(not(feature = "cuda"))]
    Err(NoGpu::NotInThisBuild)
}

/// The libraries of CUDA that this build calls, and whether each is there. Empty for a build without CUDA.
pub fn cuda_libraries() -> Vec<CudaLibrary> {
    #[cfg(feature = "cuda")]
    return libraries::all();
    #[cfg(not(feature = "cuda"))]
    Vec::new()
}

/// Opens GPU `number`, from 0, with one stream. Its tensors belong to one thread at a time. `products` holds for
/// all GPUs of the process: the last call counts.
///
/// # Errors
/// The reason why it cannot be used.
pub fn open_gpu(number: usize, products: F32Products) -> Result<Device, NoGpu> {
    #[cfg(feature = "cuda")]
    return cuda::open(number, products);
    #[cfg(not(feature = "cuda"))]
    {
        let _ = (number, products);
        Err(NoGpu::NotInThisBuild)
    }
}

/// The memory of a GPU; `None` for the CPU, and where the driver does not report it.
pub fn gpu_memory(device: &Device) -> Option<GpuMemory> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => cuda::memory(device),
        _ => None,
    }
}

/// Waits for all work of a device.
///
/// # Errors
/// When some of that work failed. A GPU reports the fault of a kernel only here, or in a later call; unlike the error of
/// [`Device::synchronize`], this one keeps its code, so that [`fault`] recognises it.
pub fn synchronize(device: &Device) -> candle_core::Result<()> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => cuda::synchronize(device),
        device => device.synchronize(),
    }
}

/// The fault of the device that an error of a tensor operation reports.
pub fn fault(error: &Error) -> Fault {
    #[cfg(feature = "cuda")]
    return cuda_fault::fault(error);
    #[cfg(not(feature = "cuda"))]
    {
        let _ = error;
        Fault::None
    }
}

/// The fault behind an error of work on `device`, and what can be done about it at once: where memory may be missing,
/// waits for the device and returns the memory that its pool holds unused to the driver, so that smaller work, and the
/// libraries beside the pool, find it. A fault that shows only in that wait outranks the error itself.
pub fn diagnose(device: &Device, error: &Error) -> Fault {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => {
            let told = fault(error);
            if told != Fault::OutOfMemory && !cuda::may_lack_memory(error) {
                return told;
            }
            match cuda::trim(device) {
                Ok(()) => Fault::OutOfMemory,
                Err(behind) => fault(&behind),
            }
        }
        _ => fault(error),
    }
}

/// Puts `values` of the host onto a device as a tensor of `shape` in format `dtype`; onto a GPU through memory that
/// it reads by itself.
///
/// # Errors
/// When the shape does not fit, or the device has no memory left.
pub fn upload(
    values: Vec<f32>,
    shape: &[usize],
    device: &Device,
    dtype: DType,
) -> candle_core::Result<Tensor> {
    let tensor = match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => staging::upload(&values, shape, device)?,
        _ => Tensor::from_vec(values, shape, device)?,
    };
    tensor.to_dtype(dtype)
}

/// The values of a tensor of i16, from a GPU through memory that it writes by itself.
///
/// # Errors
/// When the tensor is of another type, or the copy fails.
pub(crate) fn download(tensor: &Tensor) -> candle_core::Result<Vec<i16>> {
    #[cfg(feature = "cuda")]
    {
        let (storage, layout) = tensor.storage_and_layout();
        if let candle_core::Storage::Cuda(storage) = &*storage
            && layout.contiguous_offsets().is_some_and(|(first, _)| first == 0)
        {
            return staging::download(storage, tensor.elem_count());
        }
    }
    tensor.flatten_all()?.to_vec1()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_arrive_in_their_format() {
        let values = vec![1.0, -2.5, 3.0, 0.1, 0.0, 7.0];
        let tensor = upload(values.clone(), &[2, 3], &Device::Cpu, DType::BF16).unwrap();
        assert_eq!((tensor.dims(), tensor.dtype()), ([2, 3].as_slice(), DType::BF16));
        let back = tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(back.iter().zip(&values).all(|(a, b)| (a - b).abs() <= b.abs() / 256.0));
        assert!(upload(values, &[7], &Device::Cpu, DType::F32).is_err());
    }

    #[test]
    fn an_error_of_the_work_is_no_fault_of_the_device() {
        let error = upload(vec![1.0], &[2], &Device::Cpu, DType::F32).unwrap_err();
        assert_eq!(fault(&error.context("while testing")), Fault::None);
        assert_eq!(gpu_memory(&Device::Cpu), None);
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_build_without_cuda_says_so() {
        assert_eq!(count_gpus(), Err(NoGpu::NotInThisBuild));
        assert_eq!(open_gpu(0, F32Products::Exact).unwrap_err(), NoGpu::NotInThisBuild);
    }
}
