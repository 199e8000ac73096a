//! The devices that the model runs on: the CPU, or GPUs.

use std::fmt;

use candle_core::Device;
use sed_model::device::{F32Products, NoGpu, count_gpus, open_gpu};

/// A choice of devices by their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DeviceChoice {
    /// The first GPU, or the CPU where there is none.
    Auto,
    Cpu,
    /// GPUs by their numbers, each once.
    Gpus(Vec<usize>),
}

/// The devices of a choice, at least one.
#[derive(Debug)]
pub(crate) struct Devices {
    pub(crate) first: Device,
    pub(crate) others: Vec<Device>,
    /// The reason why `auto` fell back to the CPU, in a build that can use GPUs.
    pub(crate) instead_of_gpu: Option<NoGpu>,
}

impl From<Device> for Devices {
    fn from(first: Device) -> Self {
        Self { first, others: Vec::new(), instead_of_gpu: None }
    }
}

/// Reads `auto`, `cpu`, `cuda`, `cuda:N` or several of the last, separated by commas.
pub(crate) fn device_choice(text: &str) -> Result<DeviceChoice, String> {
    match text {
        "auto" => return Ok(DeviceChoice::Auto),
        "cpu" => return Ok(DeviceChoice::Cpu),
        "cuda" => return Ok(DeviceChoice::Gpus(vec![0])),
        _ => {}
    }
    let mut gpus = Vec::new();
    for name in text.split(',').map(str::trim) {
        let number = name.strip_prefix("cuda:").and_then(|number| number.parse().ok());
        let number: usize = number.ok_or("expected `auto`, `cpu`, `cuda`, `cuda:N` or `cuda:N,cuda:M`")?;
        if gpus.contains(&number) {
            return Err(format!("cuda:{number} is there twice"));
        }
        gpus.push(number);
    }
    Ok(DeviceChoice::Gpus(gpus))
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => write!(out, "auto"),
            Self::Cpu => write!(out, "cpu"),
            Self::Gpus(numbers) => {
                let names: Vec<String> = numbers.iter().map(|number| format!("cuda:{number}")).collect();
                write!(out, "{}", names.join(","))
            }
        }
    }
}

impl DeviceChoice {
    /// Opens the devices.
    ///
    /// # Errors
    /// A GPU that was asked for by name cannot be used.
    pub(super) fn open(&self, products: F32Products) -> Result<Devices, NoGpu> {
        match self {
            Self::Cpu => Ok(Device::Cpu.into()),
            Self::Auto => Ok(match count_gpus().and_then(|_| open_gpu(0, products)) {
                Ok(gpu) => gpu.into(),
                Err(NoGpu::NotInThisBuild) => Device::Cpu.into(),
                Err(reason) => Devices { instead_of_gpu: Some(reason), ..Device::Cpu.into() },
            }),
            Self::Gpus(numbers) => {
                let gpus = numbers.iter().map(|&number| open_gpu(number, products));
                let mut gpus = gpus.collect::<Result<Vec<_>, _>>()?.into_iter();
                // The parser returns at least one number.
                let first = gpus.next().unwrap_or(Device::Cpu);
                Ok(Devices { first, others: gpus.collect(), instead_of_gpu: None })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named_as_everywhere() {
        assert_eq!(device_choice("cpu"), Ok(DeviceChoice::Cpu));
        assert_eq!(device_choice("auto"), Ok(DeviceChoice::Auto));
        assert_eq!(device_choice("cuda"), Ok(DeviceChoice::Gpus(vec![0])));
        assert_eq!(device_choice("cuda:3"), Ok(DeviceChoice::Gpus(vec![3])));
        assert_eq!(device_choice("cuda:1, cuda:0"), Ok(DeviceChoice::Gpus(vec![1, 0])));
        assert_eq!(device_choice("cuda:1, cuda:0").unwrap().to_string(), "cuda:1,cuda:0");
        for wrong in ["cuda:x", "gpu", "cuda:1,cuda:1", "cuda:0,cpu", "", "cuda:"] {
            assert!(device_choice(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn without_a_gpu_auto_is_the_cpu_and_a_named_gpu_an_error() {
        if count_gpus().is_ok() {
            return; // this machine has one
        }
        let devices = DeviceChoice::Auto.open(F32Products::Exact).unwrap();
        assert!(devices.first.is_cpu() && devices.others.is_empty());
        assert_eq!(devices.instead_of_gpu.is_some(), cfg!(feature = "cuda"));
        assert!(DeviceChoice::Gpus(vec![0]).open(F32Products::Exact).is_err());
    }
}
