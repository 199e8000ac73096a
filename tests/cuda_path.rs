//! The reduced model through the kernels for CUDA equals the reference: on the GPU that `SED_TEST_DEVICE` names
//! (`cuda:0`), else on the CPU, which emulates one. Weights, layouts, launches, formats and stages are those of a GPU
//! in both; the emulated matrix products are the CPU's.

#![allow(missing_docs)]

use candle_core::{DType, Device};
use sed_tests::{device, reduced_parity, submission_parity};

fn device() -> Device {
    let device = device::under_test();
    if device.is_cpu() {
        sed_kernels::emulate_cuda(true);
    }
    device
}

#[test]
fn f32_is_as_exact_as_on_the_cpu() {
    reduced_parity::f32(&device()).assert_good();
}

#[test]
fn bf16_and_f16_stay_close() {
    for dtype in [DType::BF16, DType::F16] {
        reduced_parity::sixteen_bits(&device(), dtype).assert_good();
    }
}

#[test]
fn batches_and_parts_change_nothing() {
    reduced_parity::company(&device()).assert_good();
}

#[test]
fn submissions_are_their_stages() {
    for dtype in [DType::F32, DType::BF16, DType::F16] {
        submission_parity::check(&device(), dtype).assert_good();
    }
}
