//! Receive windows of connections: large while few are open, smaller as more of their budget is promised.

use std::sync::{Arc, Mutex, PoisonError};

/// HTTP/2's smallest window of a connection (RFC 9113, section 6.9.2); the floor of every connection holds
/// it.
pub(crate) const SMALLEST_WINDOW: u32 = 65_535;
/// A new connection gets at most this part of what is left, so that later ones get something too.
const PART: u64 = 4;

/// The budget of windows. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Windows {
    left: Arc<Mutex<u64>>,
    largest: u32,
}

/// One connection's window, until it is dropped.
#[derive(Debug)]
pub(crate) struct Window {
    left: Arc<Mutex<u64>>,
    promised: u64,
    bytes: u32,
}

impl Windows {
    /// Windows of at most `largest` bytes from a budget of `total` bytes.
    pub(crate) fn new(total: u64, largest: u32) -> Self {
        Self { left: Arc::new(Mutex::new(total)), largest }
    }

    /// The window of a connection that begins now.
    pub(crate) fn open(&self) -> Window {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let most = u32::try_from(*left / PART).unwrap_or(u32::MAX);
        let bytes = self.largest.min(most).max(SMALLEST_WINDOW);
        let promised = u64::from(bytes - SMALLEST_WINDOW);
        *left -= promised; // at most a part of what was left, or nothing
        Window { left: Arc::clone(&self.left), promised, bytes }
    }
}

impl Window {
    /// Its size in bytes.
    pub(crate) fn bytes(&self) -> u32 {
        self.bytes
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) += self.promised;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_shrink_as_their_budget_is_promised_and_come_back() {
        let windows = Windows::new(32 << 20, 4 << 20);
        let open: Vec<_> = (0..1000).map(|_| windows.open()).collect();
        assert_eq!(open[0].bytes(), 4 << 20);
        assert_eq!(open[999].bytes(), SMALLEST_WINDOW);
        let promised: u64 = open.iter().map(|window| u64::from(window.bytes() - SMALLEST_WINDOW)).sum();
        assert!(promised <= 32 << 20 && open.windows(2).all(|pair| pair[0].bytes() >= pair[1].bytes()));
        drop(open);
        assert_eq!(windows.open().bytes(), 4 << 20);
    }
}
