//! The memory of the machine, or of the container where that has less.

/// Memory in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// All that this process can have.
    pub total: u64,
    /// What is left of it now.
    pub available: u64,
    /// Whether a container's limit is below the machine's memory.
    pub in_container: bool,
}

impl Memory {
    /// What there is now; `None` where the system does not tell.
    pub fn now() -> Option<Self> {
        let mut system = sysinfo::System::new().ok()?;
        system.refresh_memory();
        let machine =
            Self { total: system.total_memory(), available: system.available_memory(), in_container: false };
        Some(match system.cgroup_limits() {
            Some(limits) if limits.total_memory < machine.total => Self {
                total: limits.total_memory,
                available: limits.free_memory.min(machine.available),
                in_container: true,
            },
            _ => machine,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_memory() {
        let memory = Memory::now().unwrap();
        assert!(memory.total > 1 << 20 && memory.available <= memory.total, "{memory:?}");
    }
}
