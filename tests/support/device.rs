//! The device that a test runs on, and how exact it has to be.

use std::sync::OnceLock;

use candle_core::{DType, Device, Tensor};
use sed_model::device::{F32Products, open_gpu};

/// Names the GPU that tests run on, as `cuda:0`.
const VARIABLE: &str = "SED_TEST_DEVICE";
const PERCENT_VARIABLE: &str = "SED_TEST_PERCENT";

/// The device that `SED_TEST_DEVICE` names, the CPU where it is not set.
pub fn under_test() -> Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(|| std::env::var(VARIABLE).map_or(Device::Cpu, |name| named(&name))).clone()
}

/// The device of a name: `cpu` or `cuda:N`.
pub fn named(name: &str) -> Device {
    if name == "cpu" {
        return Device::Cpu;
    }
    let number = name.strip_prefix("cuda:").and_then(|number| number.parse().ok());
    let number = number.unwrap_or_else(|| panic!("device `{name}`; expected cpu or cuda:N"));
    open_gpu(number, F32Products::Exact).unwrap()
}

/// The number of `all` cases to run: a slow device takes the percentage that `SED_TEST_PERCENT` names, but one at least.
pub fn share(all: usize) -> usize {
    let percent = std::env::var(PERCENT_VARIABLE).map_or(100, |percent| percent.parse::<usize>().unwrap());
    (all * percent / 100).clamp(1, all)
}

/// The most that results may differ from the reference's.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Times the reference's own rounding error (f32 beside f64).
    pub slack: f64,
    /// Between the scores of a request alone and the same in a batch or in parts.
    pub company: f64,
    /// Categories may be kept or rejected otherwise where their margin is within rounding.
    pub near_ties: bool,
}

impl Bounds {
    /// A GPU's library adds in another order than the reference, and its products always in the same one. Where the CPU
    /// emulates a GPU, candle's products stand in, whose order depends on the number of rows.
    pub fn of(device: &Device) -> Self {
        if device.is_cpu() {
            Self { slack: 5.0, company: 1e-5, near_ties: false }
        } else {
            Self { slack: 20.0, company: 0.0, near_ties: true }
        }
    }
}

/// A tensor in the host's memory, in f32.
pub fn host(x: &Tensor) -> Tensor {
    x.to_device(&Device::Cpu).unwrap().to_dtype(DType::F32).unwrap()
}
