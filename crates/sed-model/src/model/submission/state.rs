//! Memory, tables and experience that stay from one submission to the next.

use candle_core::{DType, Device};
use sed_kernels::submission::{Arena, HostBuffers, PinnedInputs};

use super::capacity::Seen;
use super::graphs::Graphs;
use super::vocabulary::Vocabularies;

/// Submissions that allocate as they go before slabs are tried again for which there was no room: a try gives all memory
/// back and asks the driver for more.
const PATIENCE: u32 = 64;

/// Memory, tables and experience of submissions; one submission has them at a time.
#[derive(Debug)]
pub(crate) struct State {
    pub(super) arena: Arena,
    pub(super) kept: Kept,
    /// Submissions until slabs are tried again.
    patience: u32,
}

/// All but the memory of the device.
#[derive(Debug)]
pub(super) struct Kept {
    /// For inputs that come as values.
    pub(super) staging: PinnedInputs,
    pub(super) host: HostBuffers,
    pub(super) vocabularies: Vocabularies,
    pub(super) seen: Seen,
    pub(super) graphs: Graphs,
}

impl State {
    /// Nothing yet, for images of so many values of a format.
    pub(crate) fn new(device: &Device, dtype: DType, values: usize) -> Self {
        let kept = Kept {
            staging: PinnedInputs::new(device, dtype, values, usize::MAX),
            host: HostBuffers::default(),
            vocabularies: Vocabularies::default(),
            seen: Seen::default(),
            graphs: Graphs::default(),
        };
        Self { arena: Arena::new(device), kept, patience: 0 }
    }

    /// Drops all memory of the device.
    pub(super) fn clear(&mut self) {
        self.kept.graphs.clear();
        self.kept.vocabularies.clear();
        self.arena.clear();
    }

    /// Makes room for what the last submission needed. Where there is none, the next ones allocate as they go.
    pub(super) fn grow(&mut self) {
        if self.patience > 0 {
            self.patience -= 1;
        } else if self.arena.is_outgrown() {
            // They hold the old slabs.
            self.kept.graphs.clear();
            if self.arena.grow().is_err() {
                self.patience = PATIENCE;
            }
        }
    }
}
