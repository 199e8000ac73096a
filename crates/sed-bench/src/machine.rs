//! The machine that this program runs on.

use serde::Serialize;
use sysinfo::{CpuRefreshKind, System};

/// The machine of a measurement.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// The processor's name, where the system reports it.
    pub cpu: Option<String>,
    /// Cores that this program may use.
    pub cores: usize,
    /// Memory in bytes, where the system reports it.
    pub memory_bytes: Option<u64>,
}

impl Machine {
    /// Describes this machine.
    pub fn this() -> Self {
        let mut system = System::new().ok();
        if let Some(system) = &mut system {
            system.refresh_cpu_list(CpuRefreshKind::nothing());
            system.refresh_memory();
        }
        let brand = system.as_ref().and_then(|system| Some(system.cpus().first()?.brand().trim().to_owned()));
        Self {
            cpu: brand.filter(|brand| !brand.is_empty()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: system.map(|system| system.total_memory()).filter(|bytes| *bytes > 0),
        }
    }

    /// The machine in one line.
    pub fn line(&self) -> String {
        let cpu = self.cpu.as_deref().unwrap_or(std::env::consts::ARCH);
        format!("{cpu}, {} cores", self.cores)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_cores() {
        let machine = Machine::this();
        assert!(machine.cores >= 1);
        assert!(machine.line().contains(&format!("{} cores", machine.cores)));
    }
}
