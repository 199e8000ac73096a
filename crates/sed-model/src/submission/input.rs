//! The inputs of a submission.

use sed_kernels::device::PinnedInput;

use super::{Question, Submitted};
use crate::error::{ModelError, Result};
use crate::model::SedModel;

/// An image for a submission: the `S·S·3` values of normalised pixels.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// In any memory of the host.
    Values(&'a [f32]),
    /// In memory that the device reads by itself.
    Pinned(&'a PinnedInput),
}

impl SedModel {
    /// Reports whether the model's device takes questions through all stages in one go.
    pub fn submits(&self) -> bool {
        false
    }

    /// All stages: answers questions about inputs, and about images that were encoded before. `keep` says of
    /// each input whether its features are returned.
    ///
    /// # Errors
    /// On a CPU, which runs stages one by one.
    pub fn submit(
        &self,
        _inputs: &[Input<'_>],
        _keep: &[bool],
        _questions: &[Question<'_>],
    ) -> Result<Submitted> {
        Err(ModelError::input("the CPU runs stages one by one"))
    }
}
