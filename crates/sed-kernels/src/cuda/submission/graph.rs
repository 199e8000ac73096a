//! Work that is recorded once and then queued as a whole.

use candle_core::{Device, Result};

#[cfg(feature = "cuda")]
pub use on_a_gpu::Graph;
#[cfg(not(feature = "cuda"))]
pub use without_gpus::Graph;

/// The outcome of [`record`].
#[derive(Debug)]
pub enum Recording<R> {
    /// The work as a graph, and its result: tensors at places that every launch of the graph writes. Nothing has been
    /// computed yet.
    Graph(Graph, R),
    /// The device has no graphs: the work was not begun.
    Unsupported,
    /// The work cannot be recorded, for this reason; the device is as before.
    Spoiled(candle_core::Error),
}

/// Records `work`, which may only make launches and must have all of its memory from the arena.
pub fn record<R>(device: &Device, work: impl FnOnce() -> Result<R>) -> Recording<R> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => on_a_gpu::record(device, work),
        _ => {
            drop(work);
            Recording::Unsupported
        }
    }
}

#[cfg(feature = "cuda")]
mod on_a_gpu {
    use std::sync::Arc;

    use candle_core::cuda_backend::cudarc::driver::{CudaGraph, CudaStream, sys};
    use candle_core::cuda_backend::{CudaDevice, WrapErr};
    use candle_core::{Error, Result};

    use super::Recording;
    use crate::cuda::memory::arena;

    /// Recorded launches. The memory that they use must not go before the graph.
    pub struct Graph(CudaGraph);

    // SAFETY: graphs may be used by any one thread at a time, and this one gives no way to use it from two: `launch`
    // takes `&mut self`.
    unsafe impl Send for Graph {}

    impl std::fmt::Debug for Graph {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Graph")
        }
    }

    impl Graph {
        /// Queues the recorded work behind all that was queued so far.
        ///
        /// # Errors
        /// When the device is lost.
        pub fn launch(&mut self) -> Result<()> {
            self.0.launch().w()
        }
    }

    /// A recording that has begun. It is ended in any case, a panic included: otherwise everything behind it would be
    /// recorded, too.
    struct Open<'a>(&'a Arc<CudaStream>);

    impl Open<'_> {
        fn end(self) -> Result<Option<CudaGraph>> {
            std::mem::ManuallyDrop::new(self).ended()
        }

        fn ended(&self) -> Result<Option<CudaGraph>> {
            arena::fix(false);
            self.0.end_capture(sys::CUgraphInstantiate_flags(0)).w()
        }
    }

    impl Drop for Open<'_> {
        fn drop(&mut self) {
            // The panic is reported, and not what was recorded until then.
            drop(self.ended());
        }
    }

    pub(super) fn record<R>(device: &CudaDevice, work: impl FnOnce() -> Result<R>) -> Recording<R> {
        let stream = device.cuda_stream();
        // Other threads may allocate pinned memory meanwhile.
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        if let Err(error) = stream.begin_capture(mode).w() {
            return Recording::Spoiled(error);
        }
        arena::fix(true);
        let open = Open(&stream);
        let result = work();
        let graph = open.end();
        match (result, graph) {
            (Ok(result), Ok(Some(graph))) => Recording::Graph(Graph(graph), result),
            (Err(error), _) | (_, Err(error)) => Recording::Spoiled(error),
            (Ok(_), Ok(None)) => Recording::Spoiled(Error::Msg("nothing was recorded".to_owned())),
        }
    }
}

#[cfg(not(feature = "cuda"))]
mod without_gpus {
    use candle_core::Result;

    /// Recorded launches. In a build without the feature `cuda` there are none.
    #[derive(Debug)]
    pub enum Graph {}

    impl Graph {
        /// Queues the recorded work.
        ///
        /// # Errors
        /// Never.
        pub fn launch(&mut self) -> Result<()> {
            match *self {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_has_no_graphs() {
        assert!(matches!(record(&Device::Cpu, || Ok(())), Recording::Unsupported));
    }
}
