//! The meaning of CUDA's errors for the device.

use candle_core::Error as TensorError;
use candle_core::cuda_backend::CudaError;
use candle_core::cuda_backend::cudarc::cublas::result::CublasError;
use candle_core::cuda_backend::cudarc::cublas::sys::cublasStatus_t;
use candle_core::cuda_backend::cudarc::driver::DriverError;
use candle_core::cuda_backend::cudarc::driver::sys::CUresult;

use super::Fault;

/// As [`super::fault`].
pub(super) fn fault(error: &TensorError) -> Fault {
    match unwrapped(error) {
        Some(CudaError::Cuda(DriverError(code)) | CudaError::Load { cuda: DriverError(code), .. }) => {
            of_driver(*code)
        }
        Some(CudaError::Cublas(CublasError(status))) => of_cublas(*status),
        _ => Fault::None,
    }
}

/// The error of CUDA inside an error of a tensor operation.
pub(super) fn unwrapped(error: &TensorError) -> Option<&CudaError> {
    match error {
        TensorError::Cuda(error) => error.downcast_ref(),
        TensorError::Context { inner, .. }
        | TensorError::WithPath { inner, .. }
        | TensorError::WithBacktrace { inner, .. } => unwrapped(inner),
        _ => None,
    }
}

fn of_driver(code: CUresult) -> Fault {
    use CUresult as Code;
    match code {
        Code::CUDA_ERROR_OUT_OF_MEMORY => Fault::OutOfMemory,
        // The GPU itself is gone or broken.
        Code::CUDA_ERROR_DEINITIALIZED
        | Code::CUDA_ERROR_NO_DEVICE
        | Code::CUDA_ERROR_DEVICE_UNAVAILABLE
        | Code::CUDA_ERROR_ECC_UNCORRECTABLE
        | Code::CUDA_ERROR_NVLINK_UNCORRECTABLE
        | Code::CUDA_ERROR_SYSTEM_NOT_READY
        | Code::CUDA_ERROR_MPS_RPC_FAILURE
        | Code::CUDA_ERROR_MPS_CLIENT_TERMINATED
        // The context is broken: every later call of this process fails with the same code.
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
        | Code::CUDA_ERROR_EXTERNAL_DEVICE
        | Code::CUDA_ERROR_CONTAINED
        | Code::CUDA_ERROR_TENSOR_MEMORY_LEAK
        | Code::CUDA_ERROR_UNKNOWN => Fault::Lost,
        _ => Fault::None,
    }
}

fn of_cublas(status: cublasStatus_t) -> Fault {
    match status {
        cublasStatus_t::CUBLAS_STATUS_ALLOC_FAILED => Fault::OutOfMemory,
        // cuBLAS reports an earlier fault of the stream as one of these, without its code.
        cublasStatus_t::CUBLAS_STATUS_EXECUTION_FAILED | cublasStatus_t::CUBLAS_STATUS_MAPPING_ERROR => {
            Fault::Lost
        }
        _ => Fault::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(error: impl Into<CudaError>) -> Fault {
        fault(&TensorError::from(error.into()).context("in a stage"))
    }

    #[test]
    fn errors_of_the_driver_are_told_apart() {
        let of = |code| of(DriverError(code));
        assert_eq!(of(CUresult::CUDA_ERROR_OUT_OF_MEMORY), Fault::OutOfMemory);
        assert_eq!(of(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS), Fault::Lost);
        assert_eq!(of(CUresult::CUDA_ERROR_CONTAINED), Fault::Lost);
        assert_eq!(of(CUresult::CUDA_ERROR_INVALID_VALUE), Fault::None);
    }

    #[test]
    fn errors_of_cublas_are_told_apart() {
        let of = |status| of(CublasError(status));
        assert_eq!(of(cublasStatus_t::CUBLAS_STATUS_ALLOC_FAILED), Fault::OutOfMemory);
        assert_eq!(of(cublasStatus_t::CUBLAS_STATUS_EXECUTION_FAILED), Fault::Lost);
        assert_eq!(of(cublasStatus_t::CUBLAS_STATUS_INVALID_VALUE), Fault::None);
    }
}
