//! The encoder as recorded graphs, one for each number of images that comes again.

use std::collections::HashMap;

use candle_core::{Device, Tensor};
use sed_kernels::submission::arena::{self, Position};
use sed_kernels::submission::{Graph, Recording, record};

use crate::error::{ModelError, Result};

/// Works launch by launch behind a recording that failed, before the next try. Each that fails doubles them: what passes
/// costs little, and what stays is not tried all the time.
const PATIENCE: u32 = 16;

/// Features of a batch, all images in one tensor each.
#[derive(Debug, Clone)]
pub(crate) struct BatchFeatures {
    /// Unit-length embedding of every position, `[images, S/32, S/32, D]`.
    pub(crate) dense: Tensor,
    /// The images' part of each decoder level's first convolution, `[images, h, w, O]`.
    pub(crate) guides: Vec<Tensor>,
}

/// The graphs, by number of images. They hold for the slabs that they were recorded with.
#[derive(Debug, Default)]
pub(super) struct Graphs {
    sizes: HashMap<usize, Size>,
    /// Reasons why sizes have no graph.
    spoiled: Vec<String>,
}

#[derive(Debug)]
enum Size {
    /// It was computed once: its kernels are loaded and its memory is known.
    Seen,
    Recorded(Box<Recorded>),
    /// The device has no graphs.
    Plain,
    /// The last recording failed; the next one is tried behind `left` of `patience` works.
    Spoiled {
        left: u32,
        patience: u32,
    },
}

#[derive(Debug)]
struct Recorded {
    graph: Graph,
    /// Fill of the arena before and behind.
    between: (Position, Position),
    features: BatchFeatures,
}

impl Graphs {
    /// Does `work` on so many images: as it is, or from the second time on as a graph.
    ///
    /// # Errors
    /// When the work fails.
    pub(super) fn run(
        &mut self,
        device: &Device,
        images: usize,
        work: impl Fn() -> Result<BatchFeatures>,
    ) -> Result<BatchFeatures> {
        self.run_with(images, &work, || record(device, || work().map_err(tensor_error)))
    }

    /// As [`Graphs::run`], with what records the work.
    fn run_with(
        &mut self,
        images: usize,
        work: impl Fn() -> Result<BatchFeatures>,
        record: impl FnOnce() -> Recording<BatchFeatures>,
    ) -> Result<BatchFeatures> {
        let before = arena::position();
        let patience = match self.sizes.get_mut(&images) {
            None => {
                let features = work()?;
                self.sizes.insert(images, Size::Seen);
                return Ok(features);
            }
            Some(Size::Recorded(recorded)) if recorded.between.0 == before => return recorded.launch(),
            Some(Size::Recorded(_) | Size::Plain) => return work(),
            Some(Size::Spoiled { left, .. }) if *left > 0 => {
                *left -= 1;
                return work();
            }
            Some(Size::Spoiled { patience, .. }) => patience.saturating_mul(2),
            Some(Size::Seen) => PATIENCE,
        };
        let size = match record() {
            Recording::Graph(graph, features) => {
                let between = (before, arena::position());
                Size::Recorded(Box::new(Recorded { graph, between, features }))
            }
            Recording::Unsupported => Size::Plain,
            Recording::Spoiled(reason) => {
                self.spoiled.push(format!("{images} images: {reason}"));
                Size::Spoiled { left: patience, patience }
            }
        };
        arena::restore(&before);
        self.sizes.insert(images, size);
        match self.sizes.get_mut(&images) {
            Some(Size::Recorded(recorded)) => recorded.launch(),
            _ => work(),
        }
    }

    /// Forgets all graphs, with the memory that they hold.
    pub(super) fn clear(&mut self) {
        self.sizes.clear();
    }

    /// Reasons why sizes have no graph, since the last call.
    pub(super) fn take_spoiled(&mut self) -> Vec<String> {
        std::mem::take(&mut self.spoiled)
    }
}

impl Recorded {
    fn launch(&mut self) -> Result<BatchFeatures> {
        self.graph.launch()?;
        arena::restore(&self.between.1);
        Ok(self.features.clone())
    }
}

/// The error of a tensor operation behind one of the model.
fn tensor_error(error: ModelError) -> candle_core::Error {
    match error {
        ModelError::Tensor(error) => error,
        other => candle_core::Error::Msg(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Error};

    use super::*;

    fn features() -> Result<BatchFeatures> {
        let dense = Tensor::zeros(1, DType::F32, &Device::Cpu)?;
        Ok(BatchFeatures { dense, guides: Vec::new() })
    }

    #[test]
    fn a_recording_that_failed_is_tried_again_ever_more_rarely() {
        let mut graphs = Graphs::default();
        let mut tries = Vec::new();
        for round in 0..200 {
            let record = || {
                tries.push(round);
                Recording::Spoiled(Error::Msg("busy".to_owned()))
            };
            graphs.run_with(3, features, record).unwrap();
        }
        assert_eq!(tries, [1, 18, 51, 116]);
        assert_eq!(graphs.take_spoiled(), vec!["3 images: busy"; tries.len()]);
    }

    #[test]
    fn a_device_without_graphs_is_asked_once() {
        let mut graphs = Graphs::default();
        let mut tries = 0;
        for _ in 0..50 {
            let record = || {
                tries += 1;
                Recording::Unsupported
            };
            graphs.run_with(1, features, record).unwrap();
        }
        assert_eq!(tries, 1);
    }
}
