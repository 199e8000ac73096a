//! Memory, tables and experience that stay from one submission to the next.

use candle_core::{DType, Device};
use sed_kernels::submission::{Arena, HostBuffers, PinnedInputs};

use super::capacity::Seen;
use super::graphs::Graphs;
use super::vocabulary::Vocabularies;

/// Memory, tables and experience of submissions; one submission has them at a time.
#[derive(Debug)]
pub(crate) struct State {
    pub(super) arena: Arena,
    pub(super) kept: Kept,
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
        Self { arena: Arena::new(device), kept }
    }

    /// Drops all memory of the device.
    pub(super) fn clear(&mut self) {
        self.kept.graphs.clear();
        self.kept.vocabularies.clear();
        self.arena.clear();
    }

    /// Makes room for what the last submission needed. Where there is none, the next one allocates as it goes.
    pub(super) fn grow(&mut self) {
        if self.arena.is_outgrown() {
            // They hold the old slabs.
            self.kept.graphs.clear();
            self.arena.grow().unwrap_or_default();
        }
    }
}
