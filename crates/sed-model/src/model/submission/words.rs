//! Small tables that travel between host and device in one block of u32.

use std::ops::Range;

use candle_core::Tensor;

use crate::error::Result;

/// Tables start at multiples of so many words, 256 bytes.
const ALIGNMENT: usize = 64;

/// A block that is filled table by table.
#[derive(Debug, Default)]
pub(crate) struct Words(pub(crate) Vec<u32>);

impl Words {
    /// Adds a table; returns its place in the block.
    pub(crate) fn push(&mut self, table: impl IntoIterator<Item = u32>) -> Range<usize> {
        self.0.resize(self.0.len().next_multiple_of(ALIGNMENT), 0);
        let first = self.0.len();
        self.0.extend(table);
        first..self.0.len()
    }
}

/// Places for tables in a block that the device fills.
#[derive(Debug, Default)]
pub(crate) struct Places(usize);

impl Places {
    /// Reserves a place for a table of so many words.
    pub(crate) fn reserve(&mut self, words: usize) -> Range<usize> {
        let first = self.0.next_multiple_of(ALIGNMENT);
        self.0 = first + words;
        first..self.0
    }

    /// Words of the whole block.
    pub(crate) fn words(&self) -> usize {
        self.0
    }
}

/// A table of a block `[words]` on the device.
pub(crate) fn table(block: &Tensor, place: &Range<usize>) -> Result<Tensor> {
    Ok(block.narrow(0, place.start, place.len())?)
}
