//! Numbers in a file of either byte order; `None` beyond its end.

/// A file and its byte order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbers<'a> {
    bytes: &'a [u8],
    little: bool,
}

impl<'a> Numbers<'a> {
    /// Least significant byte first.
    pub(super) fn little(bytes: &'a [u8]) -> Self {
        Self { bytes, little: true }
    }

    /// Most significant byte first.
    pub(super) fn big(bytes: &'a [u8]) -> Self {
        Self { bytes, little: false }
    }

    /// The unsigned number of `length` bytes (at most 8) at `at`.
    pub(super) fn at(&self, at: u64, length: usize) -> Option<u64> {
        let at = usize::try_from(at).ok()?;
        let field = self.bytes.get(at..at.checked_add(length)?)?;
        let join = |sum: u64, byte: &u8| (sum << 8) | u64::from(*byte);
        Some(if self.little { field.iter().rev().fold(0, join) } else { field.iter().fold(0, join) })
    }

    /// The unsigned number of at most 4 bytes at `at`.
    pub(super) fn u32_at(&self, at: u64, length: usize) -> Option<u32> {
        self.at(at, length.min(4)).map(|number| number as u32) // at most 4 bytes
    }
}
