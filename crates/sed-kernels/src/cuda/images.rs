//! The compiled kernels on a GPU, and their launches.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::cuda_backend::cudarc::driver::sys::{CUfunction_attribute, CUresult};
use candle_core::cuda_backend::cudarc::driver::{
    CudaFunction, CudaModule, DriverError, LaunchConfig, PushKernelArg,
};
use candle_core::cuda_backend::cudarc::nvrtc::Ptx;
use candle_core::cuda_backend::{CudaDevice, DeviceId, WrapErr};
use candle_core::{Result, bail};

use super::launch::{Arg, Launch};

/// Machine code of each source file, as `build/nvcc.rs` compiled it.
const IMAGES: &[&[u8]] = &include!(concat!(env!("OUT_DIR"), "/images.rs"));

/// Dynamic shared memory that every kernel may have; more must be asked for.
const USUAL_SHARED_BYTES: u32 = 48 << 10;

/// What each device has loaded; filled when it launches its first kernel.
static LOADED: Mutex<Option<HashMap<DeviceId, Loaded>>> = Mutex::new(None);

#[derive(Default)]
struct Loaded {
    modules: Vec<Arc<CudaModule>>,
    /// The kernels that were launched before.
    kernels: HashMap<&'static str, CudaFunction>,
}

/// Puts a launch on the device's stream.
pub(super) fn launch(device: &CudaDevice, launch: &Launch) -> Result<()> {
    let kernel = kernel(device, launch.kernel)?;
    if launch.shared_bytes > USUAL_SHARED_BYTES {
        let attribute = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        kernel.set_attribute(attribute, launch.shared_bytes as i32).w()?;
    }
    let stream = device.cuda_stream();
    let mut builder = stream.launch_builder(&kernel);
    for arg in &launch.args {
        match arg {
            Arg::Pointer(value) => builder.arg(value),
            Arg::I32(value) => builder.arg(value),
            Arg::I64(value) => builder.arg(value),
            Arg::F32(value) => builder.arg(value),
        };
    }
    let ([gx, gy, gz], [bx, by, bz]) = (launch.grid, launch.block);
    let config = LaunchConfig {
        grid_dim: (gx, gy, gz),
        block_dim: (bx, by, bz),
        shared_mem_bytes: launch.shared_bytes,
    };
    // SAFETY: the wrapper that made the launch passes what the kernel declares, with buffers of the sizes that it
    // reads and writes; the tests run the same launches on guarded memory.
    unsafe { builder.launch(config) }.w()?;
    Ok(())
}

fn kernel(device: &CudaDevice, name: &'static str) -> Result<CudaFunction> {
    // The table is whole whatever happened while it was locked.
    let mut all = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    let loaded = all.get_or_insert_default().entry(device.id()).or_default();
    if let Some(kernel) = loaded.kernels.get(name) {
        return Ok(kernel.clone());
    }
    if loaded.modules.is_empty() {
        let stream = device.cuda_stream();
        let load = |image: &&[u8]| stream.context().load_module(Ptx::from_binary(image.to_vec()));
        loaded.modules = IMAGES.iter().map(load).collect::<std::result::Result<_, _>>().w()?;
    }
    for module in &loaded.modules {
        match module.load_function(name) {
            Ok(kernel) => {
                loaded.kernels.insert(name, kernel.clone());
                return Ok(kernel);
            }
            Err(DriverError(CUresult::CUDA_ERROR_NOT_FOUND)) => {}
            Err(error) => return Err(error).w(),
        }
    }
    bail!("no CUDA kernel `{name}` was compiled into this program")
}
