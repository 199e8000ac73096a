//! Launches on a GPU: the compiled kernels, loaded once for each device.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::cuda_backend::cudarc::driver::sys::CUresult;
use candle_core::cuda_backend::cudarc::driver::{
    CudaFunction, CudaModule, DriverError, LaunchConfig, PushKernelArg,
};
use candle_core::cuda_backend::cudarc::nvrtc::Ptx;
use candle_core::cuda_backend::{CudaDevice, DeviceId, WrapErr};
use candle_core::{Result, bail};

use crate::cuda::launch::{Arg, Launch};

/// Machine code of each source file, as `build/nvcc.rs` compiled it.
const IMAGES: &[&[u8]] = &include!(concat!(env!("OUT_DIR"), "/images.rs"));

/// Modules and kernels that are loaded on each device, from its first launch on.
static LOADED: Mutex<Option<HashMap<DeviceId, Loaded>>> = Mutex::new(None);

#[derive(Default)]
struct Loaded {
    modules: Vec<Arc<CudaModule>>,
    /// The kernels that were launched before.
    kernels: HashMap<String, CudaFunction>,
}

/// Puts a launch on the device's stream.
pub(super) fn run(device: &CudaDevice, launch: &Launch) -> Result<()> {
    let kernel = kernel(device, &launch.kernel)?;
    let stream = device.cuda_stream();
    let mut builder = stream.launch_builder(&kernel);
    for arg in &launch.args {
        match arg {
            Arg::Pointer { address, .. } => builder.arg(address),
            Arg::I32(value) => builder.arg(value),
            Arg::I64(value) => builder.arg(value),
            Arg::F32(value) => builder.arg(value),
        };
    }
    let config = LaunchConfig {
        grid_dim: sizes(launch, launch.grid)?,
        block_dim: sizes(launch, launch.block)?,
        shared_mem_bytes: launch.shared_bytes as u32, // at most 48 KiB
    };
    // SAFETY: the wrapper that made the launch passes what the kernel declares, with buffers of the sizes
    // that it reads and writes; the tests run the same launches on guarded memory.
    unsafe { builder.launch(config) }.w()?;
    Ok(())
}

fn sizes(launch: &Launch, [x, y, z]: [usize; 3]) -> Result<(u32, u32, u32)> {
    match (u32::try_from(x), u32::try_from(y), u32::try_from(z)) {
        (Ok(x), Ok(y), Ok(z)) => Ok((x, y, z)),
        _ => bail!("{}: a grid of {:?} blocks is too large; cut the batch", launch.kernel, launch.grid),
    }
}

fn kernel(device: &CudaDevice, name: &str) -> Result<CudaFunction> {
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
                loaded.kernels.insert(name.to_owned(), kernel.clone());
                return Ok(kernel);
            }
            Err(DriverError(CUresult::CUDA_ERROR_NOT_FOUND)) => {}
            Err(error) => return Err(error).w(),
        }
    }
    bail!("no CUDA kernel `{name}` was compiled into this program")
}
