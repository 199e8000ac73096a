//! The processor's peak rate of arithmetic, measured in registers.

use std::time::Duration;

use sed_model::peak;
use serde::Serialize;

/// Duration of each measurement.
const TIME: Duration = Duration::from_millis(200);

/// Peak rates, in 10⁹ floating-point operations per second.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Peaks {
    /// Number of threads of the rates without `one_thread`.
    pub threads: usize,
    /// Rate of f32 products on all threads.
    pub f32_gflops: f64,
    /// The same on one thread.
    pub f32_gflops_one_thread: f64,
    /// Rate of dot products of bf16 numbers; `None` where the processor has no instruction for them.
    pub bf16_gflops: Option<f64>,
    /// The same on one thread.
    pub bf16_gflops_one_thread: Option<f64>,
}

impl Peaks {
    /// Measures the processor, in under a second.
    pub fn measure(threads: usize) -> Self {
        let f32_of = |threads| peak::f32_flops(threads, TIME) / 1e9;
        let bf16_of = |threads| peak::bf16_flops(threads, TIME).map(|flops| flops / 1e9);
        Self {
            threads,
            f32_gflops: f32_of(threads),
            f32_gflops_one_thread: f32_of(1),
            bf16_gflops: bf16_of(threads),
            bf16_gflops_one_thread: bf16_of(1),
        }
    }

    /// The peak for weights of a number format on a device; `None` where it was not measured. A processor
    /// without bf16 products multiplies in f32.
    pub(super) fn gflops(&self, device: &str, dtype: &str) -> Option<f64> {
        match (device, dtype) {
            ("cpu", "f32") => Some(self.f32_gflops),
            ("cpu", "bf16") => Some(self.bf16_gflops.unwrap_or(self.f32_gflops)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_measured_has_a_peak() {
        let without = Peaks {
            threads: 2,
            f32_gflops: 200.0,
            f32_gflops_one_thread: 100.0,
            bf16_gflops: None,
            bf16_gflops_one_thread: None,
        };
        let with = Peaks { bf16_gflops: Some(400.0), ..without };
        assert_eq!(with.gflops("cpu", "f32"), Some(200.0));
        assert_eq!((with.gflops("cpu", "bf16"), without.gflops("cpu", "bf16")), (Some(400.0), Some(200.0)));
        assert_eq!((with.gflops("cuda:0", "f32"), with.gflops("cpu", "f16")), (None, None));
    }
}
