//! A view of a checkpoint under a prefix, for the parts of the network to load themselves from.

use candle_core::{DType, Device, Tensor};

use super::Checkpoint;
use crate::config::ROOT;
use crate::error::Result;

/// Reads the tensors under a prefix onto one device: large matrices in a chosen format, the rest as f32.
#[derive(Clone, Debug)]
pub struct Weights<'a> {
    checkpoint: &'a Checkpoint,
    device: &'a Device,
    matrix_dtype: DType,
    prefix: String,
}

impl<'a> Weights<'a> {
    /// The model's tensors: everything under `sem_seg_head.predictor`.
    pub fn new(checkpoint: &'a Checkpoint, device: &'a Device) -> Self {
        Self { checkpoint, device, matrix_dtype: DType::F32, prefix: ROOT.to_owned() }
    }

    /// The same tensors with [`Weights::matrix`] in another format: f32, bf16 or f16.
    pub fn with_matrices(self, matrix_dtype: DType) -> Self {
        Self { matrix_dtype, ..self }
    }

    /// The tensors under a longer prefix, for example `trunk.stem.0`.
    pub fn at(&self, name: &str) -> Self {
        Self { prefix: self.key(name), ..self.clone() }
    }

    /// The device that tensors are read onto.
    pub fn device(&self) -> &'a Device {
        self.device
    }

    /// The format of [`Weights::matrix`].
    pub fn matrix_dtype(&self) -> DType {
        self.matrix_dtype
    }

    /// Tensor `name` under the prefix, f32, on the device.
    ///
    /// # Errors
    /// When it is missing or mis-shaped; the error has the full key and the expected shape.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        Ok(self.checkpoint.tensor(&self.key(name), shape)?.to_device(self.device)?)
    }

    /// As [`Weights::tensor`], for the weight of a matrix product: in the format of
    /// [`Weights::with_matrices`].
    ///
    /// # Errors
    /// As [`Weights::tensor`], and for a value that the format does not reach.
    pub fn matrix(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        // Converted before it travels.
        let matrix = self.checkpoint.tensor_as(&self.key(name), shape, self.matrix_dtype)?;
        Ok(matrix.to_device(self.device)?)
    }

    /// The numbers of tensor `name` under the prefix, row-major, in host memory.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        self.checkpoint.values(&self.key(name), shape)
    }

    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }
}
