//! The embedded model, read from its files.

use std::path::{Path, PathBuf};

use candle_core::{DType, Device};
use sed_model::{SedModel, checkpoint::Checkpoint, config::SedConfig};

/// A file of the folder `models/sed-tiny`.
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/sed-tiny").join(name)
}

/// The model on a device, in f32.
pub fn model(device: &Device) -> SedModel {
    let text = std::fs::read_to_string(path("config.json")).unwrap();
    let config = SedConfig::from_json(&text, "config.json").unwrap();
    let checkpoint = Checkpoint::open(&path("sed-tiny.safetensors")).unwrap();
    SedModel::load_as(&checkpoint, config, device, DType::F32).unwrap()
}
