//! The division of the budget.

/// Receive window, headers and read buffers that every connection is sure to get, in bytes: HTTP/2's smallest
/// window of 64 KiB, and as much again for frames, headers and TLS records.
pub(crate) const CONNECTION_FLOOR: u64 = 128 << 10;

/// The parts of the budget, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Split {
    /// For [`CONNECTION_FLOOR`] of every connection that may be open.
    pub(crate) floors: u64,
    /// For windows above the floor.
    pub(crate) windows: u64,
    /// For everything that calls cause.
    pub(crate) calls: u64,
}

impl Split {
    /// An eighth for windows; what the floors need, but no more than an eighth; the rest for calls.
    pub(crate) fn of(total: u64, max_connections: usize) -> Self {
        let floors = (max_connections as u64).saturating_mul(CONNECTION_FLOOR).min(total / 8);
        let windows = total / 8;
        Self { floors, windows, calls: total - floors - windows }
    }

    /// The most that one connection may hold of the part for calls: half, so that a second one always gets
    /// something.
    pub(crate) fn connection_share(calls: u64) -> u64 {
        calls / 2
    }

    /// The most connections whose floors an eighth of the budget holds.
    pub(crate) fn most_connections(total: u64) -> usize {
        usize::try_from(total / 8 / CONNECTION_FLOOR).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_make_the_whole() {
        for (total, connections) in [(256 << 20, 4096), (4 << 30, 4096), (64 << 20, 1), (1 << 20, 1)] {
            let split = Split::of(total, connections);
            assert_eq!(split.floors + split.windows + split.calls, total);
            assert!(split.calls >= total / 4 * 3, "{split:?}");
        }
        assert_eq!(Split::most_connections(256 << 20), 256);
        assert_eq!(Split::of(4 << 30, 4096).floors, 512 << 20);
    }
}
