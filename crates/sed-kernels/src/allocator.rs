//! The programs' allocator, mimalloc, set up for stages that allocate and free the same large buffers again and again.

use std::ffi::{c_int, c_long};
use std::time::Duration;

pub use mimalloc::MiMalloc;

/// Time after which freed memory goes back to the system. With mimalloc's default of one second, a stage of a
/// busy server often has to fault its pages in again, as small ones: with rejection off that took up to a
/// quarter of the time.
const KEPT: Duration = Duration::from_secs(600);

/// `mi_option_purge_delay` of mimalloc.h (milliseconds); the bindings have no name for it.
const PURGE_DELAY: c_int = 15;

/// Sets the time after which freed memory goes back to the system to ten minutes, unless
/// `MIMALLOC_PURGE_DELAY` (milliseconds) sets another. For the start of a program whose global allocator is
/// [`MiMalloc`].
pub fn keep_freed_memory() {
    let milliseconds = KEPT.as_millis() as c_long;
    // SAFETY: sets an integer; programs call this before they start a thread.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, milliseconds) };
}

/// Returns freed memory to the system at once, so that the next measurement of memory does not count it.
pub fn give_back_freed_memory() {
    // SAFETY: may be called at any time.
    unsafe { libmimalloc_sys::mi_collect(true) };
}
