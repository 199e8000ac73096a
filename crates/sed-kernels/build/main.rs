//! Compiles what is not Rust: the CUDA kernels, with feature `cuda` for GPUs (nvcc), with feature `cuda-emulator` for
//! the CPU (a C++ compiler).

#![allow(clippy::print_stdout)] // cargo reads it

#[cfg(feature = "cuda")]
mod nvcc;

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build");
    #[cfg(feature = "cuda")]
    nvcc::compile()?;
    #[cfg(feature = "cuda-emulator")]
    emulator();
    Ok(())
}

/// The kernels in `cuda/`, compiled by a C++ compiler together with what stands in for a GPU.
#[cfg(feature = "cuda-emulator")]
fn emulator() {
    println!("cargo::rerun-if-changed=cuda");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .opt_level(2)
        .flag("-Wno-unknown-pragmas") // `#pragma unroll`
        .flag("-fno-strict-aliasing") // four neighbouring values are read as one, as on the device
        .file("cuda/emulator/emulator.cpp")
        .compile("sed_emulator");
}
