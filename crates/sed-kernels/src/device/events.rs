//! Times of a GPU's work by its own clock.

#[cfg(feature = "cuda")]
pub use on_a_gpu::EventTimer;
#[cfg(not(feature = "cuda"))]
pub use without_gpus::EventTimer;

#[cfg(feature = "cuda")]
mod on_a_gpu {
    use std::sync::Arc;
    use std::time::Duration;

    use candle_core::cuda_backend::WrapErr;
    use candle_core::cuda_backend::cudarc::driver::result::event::elapsed;
    use candle_core::cuda_backend::cudarc::driver::sys::CUevent_flags;
    use candle_core::cuda_backend::cudarc::driver::{CudaEvent, CudaStream};
    use candle_core::{Device, Result};

    /// Marks in a GPU's queue of work, and the time that passes on the GPU between them. It includes gaps in which the
    /// GPU waits for the host, and excludes work of the host while the GPU is busy.
    #[derive(Debug)]
    pub struct EventTimer {
        stream: Arc<CudaStream>,
        marks: Vec<CudaEvent>,
    }

    impl EventTimer {
        /// Sets the first mark behind all work that was queued so far; `None` on the CPU, which has no queue.
        ///
        /// # Errors
        /// When the driver has no event to give, or the device is lost.
        pub fn start(device: &Device) -> Result<Option<Self>> {
            let Device::Cuda(device) = device else { return Ok(None) };
            let mut timer = Self { stream: device.cuda_stream(), marks: Vec::new() };
            timer.mark()?;
            Ok(Some(timer))
        }

        /// Sets another mark behind all work that was queued so far. Does not wait.
        ///
        /// # Errors
        /// As [`EventTimer::start`].
        pub fn mark(&mut self) -> Result<()> {
            // Without a flag cudarc makes events that keep no time.
            self.marks.push(self.stream.record_event(Some(CUevent_flags::CU_EVENT_DEFAULT)).w()?);
            Ok(())
        }

        /// Returns the time between each two neighbouring marks, for which the host has waited already.
        ///
        /// # Errors
        /// When the device is lost, or has not come to the last mark.
        pub fn passed(self) -> Result<Vec<Duration>> {
            self.stream.context().bind_to_thread().w()?;
            let between = |pair: &[CudaEvent]| -> Result<Duration> {
                // SAFETY: both events live and keep time.
                let milliseconds = unsafe { elapsed(pair[0].cu_event(), pair[1].cu_event()) }.w()?;
                Ok(Duration::from_secs_f64(f64::from(milliseconds.max(0.0)) / 1e3))
            };
            self.marks.windows(2).map(between).collect()
        }
    }
}

#[cfg(not(feature = "cuda"))]
mod without_gpus {
    use std::time::Duration;

    use candle_core::{Device, Result};

    /// A timer of a GPU's work. In a build without the feature `cuda` there is none.
    #[derive(Debug)]
    pub enum EventTimer {}

    impl EventTimer {
        /// Returns `None`: the CPU has no queue.
        ///
        /// # Errors
        /// Never.
        pub fn start(_: &Device) -> Result<Option<Self>> {
            Ok(None)
        }

        /// Sets another mark.
        ///
        /// # Errors
        /// Never.
        pub fn mark(&mut self) -> Result<()> {
            match *self {}
        }

        /// Returns the time between each two neighbouring marks.
        ///
        /// # Errors
        /// Never.
        pub fn passed(self) -> Result<Vec<Duration>> {
            match self {}
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn the_cpu_has_no_events() {
        assert!(EventTimer::start(&Device::Cpu).unwrap().is_none());
    }

    /// On a GPU, if `SED_TEST_DEVICE` names one: times add up to no more than the host has waited.
    #[cfg(feature = "cuda")]
    #[test]
    fn marks_of_a_cuda_device_lie_within_the_time_of_the_host() {
        use std::time::{Duration, Instant};

        use candle_core::{DType, Tensor};

        let Some(number) =
            std::env::var("SED_TEST_DEVICE").ok().and_then(|name| name.strip_prefix("cuda:")?.parse().ok())
        else {
            return; // the CPU's case is above
        };
        let device = crate::device::open_gpu(number, crate::device::F32Products::Exact).unwrap();
        let x = Tensor::ones((256, 256), DType::F32, &device).unwrap();
        let begin = Instant::now();
        let mut timer = EventTimer::start(&device).unwrap().unwrap();
        for _ in 0..2 {
            x.matmul(&x).unwrap();
            timer.mark().unwrap();
        }
        device.synchronize().unwrap();
        let times = timer.passed().unwrap();
        assert_eq!(times.len(), 2);
        assert!(times.iter().all(|time| !time.is_zero()), "{times:?}");
        assert!(times.iter().sum::<Duration>() <= begin.elapsed(), "{times:?}");
    }
}
