//! Shared by the tests of the kernels for CUDA: tensors on the device that is tested, and comparisons.
//!
//! The device is the CPU with the emulator, or with `SED_TEST_DEVICE=cuda:0` (feature `cuda`) a GPU.

use candle_core::{DType, Device, Tensor};

use crate::device::{F32Products, open_gpu};

/// The storage types of the kernels.
pub(super) const DTYPES: [DType; 3] = [DType::F32, DType::BF16, DType::F16];

/// The device that is tested.
pub(super) fn device() -> Device {
    match std::env::var("SED_TEST_DEVICE") {
        Ok(name) if name.starts_with("cuda:") => {
            static DEVICE: std::sync::OnceLock<Device> = std::sync::OnceLock::new();
            let index = name["cuda:".len()..].parse().unwrap();
            DEVICE.get_or_init(|| open_gpu(index, F32Products::Exact).unwrap()).clone()
        }
        _ => Device::Cpu,
    }
}

/// A tensor on the tested device, and its values in f32 on the CPU.
pub(super) struct OnDevice {
    pub(super) tensor: Tensor,
    pub(super) rounded: Tensor,
}

/// `x` in `dtype` on the tested device.
pub(super) fn on_device(x: &Tensor, dtype: DType) -> OnDevice {
    let rounded = x.to_dtype(dtype).unwrap();
    let tensor = rounded.to_device(&device()).unwrap();
    OnDevice { tensor, rounded: rounded.to_dtype(DType::F32).unwrap() }
}

/// The bits of all values, as f32.
pub(super) fn bits(x: &Tensor) -> Vec<u32> {
    let x = x.to_device(&Device::Cpu).unwrap().to_dtype(DType::F32).unwrap();
    x.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}

/// Fails where `got` is farther from `want` (f32, CPU) than the storage type explains: 1e-4 for f32, 2⁻⁷ for
/// bf16, 2⁻¹⁰ for f16, of the value or of some part of the largest: a tenth for f32, a half for the others,
/// whose sums are rounded between a product and its tail.
#[track_caller]
pub(super) fn assert_near(got: &Tensor, want: &Tensor, dtype: DType, what: &str) {
    let (relative, of_largest) = match dtype {
        DType::F32 => (1e-4, 0.1),
        DType::BF16 => (1.0 / 128.0, 0.5),
        _ => (1.0 / 1024.0, 0.5),
    };
    compare(
        got,
        want,
        |value, largest| relative * value.max(of_largest * largest),
        &format!("{what} {dtype:?}"),
    );
}

/// Fails where `got` differs from `want` by more than `relative` of the largest value.
#[track_caller]
pub(super) fn assert_within(got: &Tensor, want: &Tensor, relative: f32, what: &str) {
    compare(got, want, |_, largest| relative * largest, what);
}

/// Compares with the tolerance for a value and for the largest one.
#[track_caller]
fn compare(got: &Tensor, want: &Tensor, tolerance: impl Fn(f32, f32) -> f32, what: &str) {
    assert_eq!(got.dims(), want.dims(), "{what}: shape");
    let values = |x: &Tensor| -> Vec<f32> {
        let x = x.to_device(&Device::Cpu).unwrap().to_dtype(DType::F32).unwrap();
        x.flatten_all().unwrap().to_vec1().unwrap()
    };
    let (got, want) = (values(got), values(want));
    let largest = want.iter().fold(0.0f32, |a, v| a.max(v.abs()));
    for (i, (g, w)) in got.iter().zip(&want).enumerate() {
        let tolerance = tolerance(w.abs(), largest);
        assert!((g - w).abs() <= tolerance, "{what}: element {i} is {g}, want {w} ± {tolerance}");
    }
}
