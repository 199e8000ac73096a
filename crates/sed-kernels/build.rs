//! Compiles the CUDA kernels, where a feature asks for them.

#[cfg(feature = "cuda")]
#[path = "build/nvcc.rs"]
mod nvcc;

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "cuda")]
    nvcc::compile()?;
    Ok(())
}
