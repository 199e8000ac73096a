//! Weights on the host, where they are folded and composed for every wing.

use candle_core::{DType, Device, Result, Tensor};

/// Copies `x` to the host, in f32 and contiguous.
pub(crate) fn on_host(x: &Tensor) -> Result<Tensor> {
    x.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.contiguous()
}

/// Copies the values of `x` to the host, in f32.
pub(super) fn host_values(x: &Tensor) -> Result<Vec<f32>> {
    on_host(x)?.flatten_all()?.to_vec1()
}
