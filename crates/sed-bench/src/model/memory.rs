//! The peak of this program's memory.

use sed_model::allocator::give_back_freed_memory;
use serde::Serialize;

/// The scope of a memory peak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PeakOf {
    /// The largest resident set (VmHWM) of the combination alone, with all that was loaded before.
    Combination,
    /// The largest resident set (VmHWM) since the program began: the system does not let it be reset.
    Program,
}

/// Resets the peak to the memory held now, where the system allows it, and returns the scope of the new peak.
pub(crate) fn reset_peak() -> PeakOf {
    give_back_freed_memory();
    match std::fs::write("/proc/self/clear_refs", "5") {
        Ok(()) => PeakOf::Combination,
        Err(_) => PeakOf::Program,
    }
}

/// The largest resident set since the last reset, in bytes; `None` where the system does not report it.
pub(crate) fn peak_bytes() -> Option<u64> {
    peak_of(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn peak_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_the_high_water_mark() {
        let status = "Name:\tsed-serve\nVmPeak:\t  900000 kB\nVmHWM:\t  123456 kB\nVmRSS:\t 99 kB\n";
        assert_eq!(peak_of(status), Some(123_456 * 1024));
        assert_eq!(peak_of("Name:\tx\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_large_buffer_raises_the_peak() {
        let before = peak_bytes().unwrap();
        let buffer = std::hint::black_box(vec![1u8; 64 << 20]);
        assert!(peak_bytes().unwrap() >= before.max(buffer.len() as u64));
    }
}
