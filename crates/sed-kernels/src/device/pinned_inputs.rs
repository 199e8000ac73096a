//! Memory of the host that a GPU reads inputs from by itself.

use std::convert::Infallible;

use candle_core::{DType, Device, Result};

/// Slots of pinned memory for inputs, which any thread fills. Cheap to clone; a CPU has none.
#[derive(Debug, Clone)]
pub struct PinnedInputs;

/// A slot with the values of an input, free again on drop.
#[derive(Debug)]
pub struct PinnedInput(Infallible);

impl PinnedInputs {
    /// At most `most` slots of `values_each` values in format `dtype` for `device`.
    ///
    /// # Errors
    /// When the system has no memory to pin.
    pub fn new(_device: &Device, _dtype: DType, _values_each: usize, _most: usize) -> Result<Self> {
        Ok(Self)
    }

    /// Copies values into a slot; `None` where none is free.
    pub fn fill(&self, _values: &[f32]) -> Option<PinnedInput> {
        None
    }
}
