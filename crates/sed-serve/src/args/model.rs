//! Flags that choose the model, its devices and its number format.

use std::path::PathBuf;

use anyhow::{Context, Result};
use candle_core::{DType, Device};
use clap::{
    Args, ValueEnum,
    builder::{BoolishValueParser, RangedU64ValueParser},
};
use sed_engine::SedStages;
use sed_model::{
    SedModel,
    device::{F32Products, NoGpu},
};

use super::device::{DeviceChoice, Devices, device_choice};
use crate::{embedded, opened_model::OpenedModel, progress};

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

    /// Devices that the model runs on: cpu, cuda:0, several GPUs as cuda:0,cuda:1, or auto, the first GPU if
    /// there is one, else the CPU.
    #[arg(long, env = "SED_DEVICE", value_name = "DEVICE", default_value = "auto", value_parser = device_choice)]
    pub(crate) device: DeviceChoice,

    /// Number format of weights, image features and text embeddings, and on a GPU of all values between them;
    /// bf16 and f16 take half the memory. f16 is for GPUs only.
    #[arg(long, env = "SED_DTYPE", value_name = "FORMAT", default_value = "f32")]
    pub(crate) dtype: NumberFormat,

    /// Let a GPU round the factors of f32 products to TF32, which is several times faster.
    #[arg(long, env = "SED_TF32", value_parser = BoolishValueParser::new(), hide_short_help = true)]
    pub(crate) tf32: bool,

    /// Threads that compute; 0 is one for each core.
    #[arg(long, env = "SED_THREADS", value_name = "N", default_value_t = 0, value_parser = RangedU64ValueParser::<usize>::new().range(..=1024))]
    pub(crate) threads: usize,
}

/// A number format by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum NumberFormat {
    /// 32 bits.
    F32,
    /// 16 bits with the range of f32; sums stay f32.
    Bf16,
    /// 16 bits with more digits and a smaller range; sums stay f32.
    F16,
}

impl From<NumberFormat> for DType {
    fn from(format: NumberFormat) -> Self {
        match format {
            NumberFormat::F32 => Self::F32,
            NumberFormat::Bf16 => Self::BF16,
            NumberFormat::F16 => Self::F16,
        }
    }
}

impl ModelArgs {
    /// Opens the checkpoint, or the embedded one, and reads its sizes.
    pub(crate) fn open(&self) -> Result<OpenedModel> {
        match &self.model {
            Some(path) => OpenedModel::read(path, self.model_config.as_deref()),
            None => embedded::open(),
        }
    }

    /// Opens the devices. A GPU that is opened twice becomes two devices, each with its own tensors.
    ///
    /// # Errors
    /// A GPU that was asked for by name cannot be used.
    pub(crate) fn devices(&self) -> Result<Devices, NoGpu> {
        self.device.open(if self.tf32 { F32Products::Tf32 } else { F32Products::Exact })
    }

    /// Opens the devices and returns the first, for commands that use one. Logs a fallback to the CPU.
    ///
    /// # Errors
    /// As [`ModelArgs::devices`].
    pub(crate) fn one_device(&self) -> Result<Device, NoGpu> {
        let devices = self.devices()?;
        tell(&devices);
        Ok(devices.first)
    }

    /// Sets the number of threads that compute; to be called once, before anything computes.
    pub(crate) fn start_threads(&self) -> Result<()> {
        sed_model::parallel::start_threads(self.threads)?;
        // The few operations that are candle's run on rayon's.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(self.threads);
        let pool = pool.thread_name(|index| format!("candle-{index}"));
        pool.build_global().context("cannot start the threads that compute")
    }

    /// Starts the threads and loads the model onto every device, with a spinner on a terminal.
    pub(crate) fn load(&self) -> Result<Vec<SedStages>> {
        let devices = self.devices()?;
        tell(&devices);
        self.start_threads()?;
        let spinner = progress::spinner("loading the model");
        let OpenedModel { checkpoint, config } = self.open()?;
        let origin = checkpoint.origin();
        let onto = |device: &Device| {
            let model = SedModel::load_as(&checkpoint, config.clone(), device, self.dtype.into())
                .with_context(|| format!("cannot load {origin}"))?;
            tracing::info!(
                model = config.name,
                digest = model.digest(),
                origin,
                device = sed_engine::device_name(device),
                "loaded"
            );
            Ok(SedStages::new(model))
        };
        let loaded = std::iter::once(&devices.first).chain(&devices.others).map(onto);
        let loaded = loaded.collect::<Result<_>>()?;
        spinner.finish_and_clear();
        if self.model.is_none() {
            tracing::warn!("{}", embedded::CAVEAT);
        }
        Ok(loaded)
    }
}

fn tell(devices: &Devices) {
    if let Some(reason) = &devices.instead_of_gpu {
        tracing::warn!("{reason}; computing on the cpu");
    }
}
