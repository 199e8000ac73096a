//! The memory of the machine, or of the container where that has less.

/// Memory in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// All that this process can have.
    pub total: u64,
    /// The part of it that is available now.
    pub available: u64,
    /// True if a container's limit is below the machine's memory.
    pub in_container: bool,
}

impl Memory {
    /// Returns the memory that there is now; `None` where the system does not report it.
    pub fn now() -> Option<Self> {
        let mut system = sysinfo::System::new().ok()?;
        system.refresh_memory();
        let container = system.cgroup_limits().map(|limits| (limits.total_memory, limits.free_memory));
        Self::of(system.total_memory(), system.available_memory(), container)
    }

    /// Of a system with `total` bytes, 0 where it reports nothing, and a container with its total and free
    /// bytes.
    fn of(total: u64, available: u64, container: Option<(u64, u64)>) -> Option<Self> {
        let machine = Self { total, available, in_container: false };
        let memory = match container {
            Some((total, free)) => Self {
                total: total.min(machine.total),
                available: free.min(available),
                in_container: total < machine.total,
            },
            None => machine,
        };
        (total > 0).then_some(memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_at_its_limit_has_no_memory_and_an_unknown_system_is_unknown() {
        let available = |total, available, container| {
            Memory::of(total, available, container).map(|memory| memory.available)
        };
        assert_eq!(available(1000, 400, None), Some(400));
        assert_eq!(available(1000, 400, Some((500, 300))), Some(300));
        assert_eq!(available(1000, 400, Some((500, 0))), Some(0));
        assert_eq!(available(1000, 0, None), Some(0));
        assert_eq!(available(0, 0, None), None);
        assert_eq!(Memory::of(1000, 400, Some((500, 300))).map(|memory| memory.total), Some(500));
    }

    #[test]
    fn there_is_memory() {
        let memory = Memory::now().unwrap();
        assert!(memory.total > 1 << 20 && memory.available <= memory.total, "{memory:?}");
    }
}
