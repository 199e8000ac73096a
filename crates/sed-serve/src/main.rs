//! The `sed-serve` program.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use sed_model::allocator::MiMalloc;

#[global_allocator]
static GLOBAL: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    sed_serve::run(std::env::args_os())
}
