//! Per-thread work buffers that are kept between calls, so that no kernel allocates in its loops.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

thread_local! {
    static POOL: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Lends `f` a buffer of `len` values with unspecified contents.
///
/// Calls may nest: each takes a buffer of its own from the thread's pool and puts it back. Buffers only grow,
/// to the largest size that their thread ever asked for.
pub(crate) fn with_scratch<R>(len: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    f(&mut Scratch::lend(len))
}

/// A lent buffer, for code that a closure would cut off from its instruction set.
pub(crate) struct Scratch {
    buffer: Vec<f32>,
    len: usize,
}

impl Scratch {
    /// A buffer of `len` values with unspecified contents, back in the thread's pool when dropped.
    pub(crate) fn lend(len: usize) -> Self {
        let mut buffer = POOL.with_borrow_mut(|pool| take_best(pool, len));
        if buffer.len() < len {
            buffer.resize(len, 0.0);
        }
        Self { buffer, len }
    }
}

impl Deref for Scratch {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.buffer[..self.len]
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.buffer[..self.len]
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        POOL.with_borrow_mut(|pool| pool.push(std::mem::take(&mut self.buffer)));
    }
}

/// The smallest buffer that is large enough, else the largest one.
fn take_best(pool: &mut Vec<Vec<f32>>, len: usize) -> Vec<f32> {
    let fits = pool.iter().enumerate().filter(|(_, b)| b.len() >= len).min_by_key(|(_, b)| b.len());
    let best = fits.or_else(|| pool.iter().enumerate().max_by_key(|(_, b)| b.len())).map(|(i, _)| i);
    best.map(|i| pool.swap_remove(i)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_calls_get_different_buffers() {
        with_scratch(10, |outer| {
            outer.fill(1.0);
            with_scratch(20, |inner| inner.fill(2.0));
            assert!(outer.iter().all(|&v| v == 1.0));
        });
        POOL.with_borrow(|pool| assert_eq!(pool.len(), 2));
        with_scratch(15, |b| assert_eq!(b.len(), 15));
        POOL.with_borrow(|pool| assert_eq!(pool.len(), 2));
    }
}
