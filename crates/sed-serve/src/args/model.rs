//! Which model, and what it runs on.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use candle_core::{DType, Device};
use clap::{Args, ValueEnum};
use sed_engine::SedStages;
use sed_model::{SedModel, checkpoint::Checkpoint, config::SedConfig};

use crate::{embedded, progress};

/// The model's flags.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Model")]
pub(crate) struct ModelArgs {
    /// A checkpoint, .pth or .safetensors. Without it, the small model inside this program.
    #[arg(long, env = "SED_MODEL", value_name = "FILE")]
    pub(crate) model: Option<PathBuf>,

    /// The model's sizes, where they are neither in a config.json beside the checkpoint nor to be recognised
    /// from its tensors.
    #[arg(long, env = "SED_MODEL_CONFIG", value_name = "FILE", requires = "model", hide_short_help = true)]
    pub(crate) model_config: Option<PathBuf>,

    /// What the model runs on.
    #[arg(long, env = "SED_DEVICE", value_name = "DEVICE", default_value = "cpu", value_parser = device_name)]
    pub(crate) device: DeviceName,

    /// Number format of weights, image features and text embeddings; bf16 takes half the memory.
    #[arg(long, env = "SED_DTYPE", value_name = "FORMAT", default_value = "f32")]
    pub(crate) dtype: NumberFormat,

    /// Threads that compute; 0 is one for each core.
    #[arg(long, env = "SED_THREADS", value_name = "N", default_value_t = 0)]
    pub(crate) threads: usize,
}

/// A number format by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum NumberFormat {
    /// 32 bits.
    F32,
    /// 16 bits with the range of f32; sums stay f32.
    Bf16,
}

impl From<NumberFormat> for DType {
    fn from(format: NumberFormat) -> Self {
        match format {
            NumberFormat::F32 => Self::F32,
            NumberFormat::Bf16 => Self::BF16,
        }
    }
}

/// A device by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeviceName {
    Cpu,
    Cuda(usize),
}

impl fmt::Display for DeviceName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => write!(out, "cpu"),
            Self::Cuda(number) => write!(out, "cuda:{number}"),
        }
    }
}

/// Why a device cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum DeviceError {
    /// The program was built without it.
    #[error("this build computes on the cpu only and cannot use cuda:{0}; leave --device out")]
    NotInThisBuild(usize),
}

/// Reads a device as flags have it.
pub(crate) fn device_name(text: &str) -> Result<DeviceName, String> {
    let cuda = text.strip_prefix("cuda").map(|rest| rest.strip_prefix(':').unwrap_or(rest));
    match (text, cuda) {
        ("cpu", _) => Ok(DeviceName::Cpu),
        (_, Some("")) => Ok(DeviceName::Cuda(0)),
        (_, Some(number)) => number.parse().map(DeviceName::Cuda).map_err(|_| "not a number of a GPU".into()),
        _ => Err("expected `cpu`, `cuda` or `cuda:N`".into()),
    }
}

/// A checkpoint and the sizes that it should have; not yet loaded.
#[derive(Debug)]
pub(crate) struct OpenedModel {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) config: SedConfig,
}

impl ModelArgs {
    /// Opens the checkpoint, or the embedded one, and reads its sizes.
    pub(crate) fn open(&self) -> Result<OpenedModel> {
        match &self.model {
            Some(path) => Self::open_file(path, self.model_config.as_deref()),
            None => embedded::open(),
        }
    }

    /// Opens a checkpoint and reads its sizes, from `config` if it is given.
    pub(crate) fn open_file(path: &Path, config: Option<&Path>) -> Result<OpenedModel> {
        let checkpoint = Checkpoint::open(path)?;
        let config = match config {
            Some(file) => {
                let json = std::fs::read_to_string(file)
                    .with_context(|| format!("cannot read the configuration {}", file.display()))?;
                SedConfig::from_json(&json, &file.display().to_string())?
            }
            None => checkpoint.config()?,
        };
        Ok(OpenedModel { checkpoint, config })
    }

    /// The device, if this build has it.
    pub(crate) fn device(&self) -> Result<Device, DeviceError> {
        match self.device {
            DeviceName::Cpu => Ok(Device::Cpu),
            DeviceName::Cuda(number) => Err(DeviceError::NotInThisBuild(number)),
        }
    }

    /// Sets the number of threads that compute; to be called once, before anything computes.
    pub(crate) fn start_threads(&self) -> Result<()> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(self.threads);
        let pool = pool.thread_name(|index| format!("compute-{index}"));
        pool.build_global().context("cannot start the threads that compute")
    }

    /// Starts the threads and loads the model, with a spinner on a terminal.
    pub(crate) fn load(&self) -> Result<SedStages> {
        let device = self.device()?;
        self.start_threads()?;
        let spinner = progress::spinner("loading the model");
        let OpenedModel { checkpoint, config } = self.open()?;
        let origin = checkpoint.origin().to_owned();
        let model = SedModel::load_as(&checkpoint, config, &device, self.dtype.into())
            .with_context(|| format!("cannot load {origin}"))?;
        spinner.finish_and_clear();
        if self.model.is_none() {
            tracing::warn!("{}", embedded::CAVEAT);
        }
        tracing::info!(model = model.config().name, digest = model.digest(), origin, "loaded");
        Ok(SedStages::new(model))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named_as_everywhere() {
        assert_eq!(device_name("cpu"), Ok(DeviceName::Cpu));
        assert_eq!(device_name("cuda"), Ok(DeviceName::Cuda(0)));
        assert_eq!(device_name("cuda:3"), Ok(DeviceName::Cuda(3)));
        assert_eq!(DeviceName::Cuda(3).to_string(), "cuda:3");
        assert!(device_name("cuda:x").is_err() && device_name("gpu").is_err());
    }
}
