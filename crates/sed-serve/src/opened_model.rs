//! A checkpoint before it is loaded onto a device.

use std::path::Path;

use anyhow::Result;
use sed_model::{checkpoint::Checkpoint, config::SedConfig};

/// A checkpoint and the sizes that it should have; not yet loaded.
#[derive(Debug)]
pub(crate) struct OpenedModel {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) config: SedConfig,
}

impl OpenedModel {
    /// Opens a checkpoint and reads its sizes, from `config` if it is given.
    pub(crate) fn read(path: &Path, config: Option<&Path>) -> Result<Self> {
        let checkpoint = Checkpoint::open(path)?;
        let config = match config {
            Some(file) => SedConfig::from_file(file)?,
            None => checkpoint.config()?,
        };
        Ok(Self { checkpoint, config })
    }
}
